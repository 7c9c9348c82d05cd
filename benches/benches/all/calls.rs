//! Calls: fresh and warm, blocking and awaited.

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{Host, Input, LoadOptions, Plugin, ProgramInput, Source, Value};
use tokio::runtime::Runtime;

use crate::floor::{Floor, Program};
use crate::guests::{ADD, ECHO, EXIT, FOLDERS, LARGE_ECHO, load, repository};

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let host = Host::new().unwrap();
    fresh(report, &host, &runtime);
    rust_guest(report, &host, &runtime);
    program(report, &host, &runtime);
    program_with_folders(report, &host, &runtime);
    warm(report, &host, &runtime);
    bytes(report, &host);
    warm_json(report, &host);
}

fn json(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length - 2))
}

/// Calls `function` so many times with the same JSON, awaited.
fn awaited<'a>(
    runtime: &'a Runtime,
    plugin: &'a Plugin,
    function: &'a str,
    text: &'a str,
) -> impl FnMut(u32) + 'a {
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                plugin.invoke(function, Input::Json(text.to_owned())).await.unwrap();
            }
        });
    }
}

fn fresh(report: &mut Report, host: &Host, runtime: &Runtime) {
    let (echo, floor, text) = (load(host, ECHO), Floor::new(ECHO.as_bytes()), json(64));
    let mut output = Vec::new();
    report.compare(
        "fresh instance, 64 B of JSON in and out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || floor.echo("alloc", "f").call(text.as_bytes(), &mut output)),
            Contender::new("airlock", || {
                echo.invoke_blocking("f", Input::Json(text.clone())).unwrap();
            })
            .target(Target::Nanos(2_500.0))
            .target(Target::OfFloor(1.5)),
        ],
    );
    let mut output = Vec::new();
    report.compare(
        "the same, awaited",
        Clock::Thread,
        vec![
            Contender::batched("wasmtime", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        floor.echo_awaited(text.as_bytes(), &mut output).await;
                    }
                });
            }),
            Contender::batched("airlock", awaited(runtime, &echo, "f", &text)).target(Target::Nanos(3_500.0)),
        ],
    );
    let (add, floor) = (load(host, ADD), Floor::new(ADD.as_bytes()));
    report.compare(
        "fresh instance, two numbers in, one out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || {
                let (mut store, instance) = floor.instantiate();
                let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add").unwrap();
                add.call(&mut store, (1, 2)).unwrap();
            }),
            Contender::new("airlock", || {
                let numbers = Input::Values(vec![Value::I32(1), Value::I32(2)]);
                add.invoke_blocking("add", numbers).unwrap();
            }),
        ],
    );
}

/// A real plugin, with the small stack that plugins here are linked with and with the
/// linker's own.
fn rust_guest(report: &mut Report, host: &Host, runtime: &Runtime) {
    let text = r#"{"text":"hello world","mode":"reverse"}"#;
    let folder = repository("plugins/text-processor");
    let wasm = std::fs::read(folder.join("text_processor.wasm")).unwrap();
    let floor = Floor::new(&wasm);
    let plugin = host.load_blocking(folder, LoadOptions::new()).unwrap();
    let bare = host.load_blocking(wasm, LoadOptions::new()).unwrap();
    let mut output = Vec::new();
    report.compare(
        "fresh Rust guest (text-processor), stack of 64 KiB",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || {
                floor.echo("malloc", "transform").call(text.as_bytes(), &mut output)
            }),
            Contender::new("airlock", || {
                bare.invoke_blocking("transform", Input::Json(text.to_owned())).unwrap();
            })
            .target(Target::OfFloor(1.5)),
            Contender::new("airlock, memory grown as its manifest asks", || {
                plugin.invoke_blocking("transform", Input::Json(text.to_owned())).unwrap();
            }),
            Contender::batched("airlock, awaited", awaited(runtime, &bare, "transform", text)),
        ],
    );
    let default = std::fs::read(repository("benches/guests/text_processor_default_stack.wasm")).unwrap();
    let floor = Floor::new(&default);
    let plugin = host.load_blocking(default, LoadOptions::new()).unwrap();
    let mut output = Vec::new();
    report.compare(
        "the same, linked with the default stack of 1 MiB",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || {
                floor.echo("malloc", "transform").call(text.as_bytes(), &mut output)
            }),
            Contender::new("airlock", || {
                plugin.invoke_blocking("transform", Input::Json(text.to_owned())).unwrap();
            })
            .target(Target::OfFloor(1.5)),
        ],
    );
}

fn program(report: &mut Report, host: &Host, runtime: &Runtime) {
    let (exit, floor) = (load(host, EXIT), Program::new(EXIT));
    report.compare(
        "fresh WASI preview 1 program, awaited",
        Clock::Thread,
        vec![
            Contender::batched("wasmtime-wasi", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        floor.run().await;
                    }
                });
            }),
            Contender::batched("airlock", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        exit.run(ProgramInput::new()).await.unwrap();
                    }
                });
            })
            .target(Target::Nanos(5_000.0)),
        ],
    );
}

/// The same with two folders opened for it.
fn program_with_folders(report: &mut Report, host: &Host, runtime: &Runtime) {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options =
        [(&one, "/0"), (&two, "/1")].iter().fold(LoadOptions::new().wat(true), |options, (folder, guest)| {
            options.allow(format!("fs.read={}::{guest}", folder.path().display()).parse().unwrap())
        });
    let plugin = host.load_blocking(Source::from(FOLDERS.as_bytes()), options).unwrap();
    let floor = Program::new(FOLDERS);
    assert_eq!(plugin.run_blocking(ProgramInput::new()).unwrap().value.code, 0);
    report.compare(
        "fresh WASI preview 1 program with two folders, awaited",
        Clock::Thread,
        vec![
            Contender::batched("wasmtime-wasi", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        floor.run_in(&[one.path(), two.path()]).await;
                    }
                });
            }),
            Contender::batched("airlock", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        plugin.run(ProgramInput::new()).await.unwrap();
                    }
                });
            })
            .target(Target::Nanos(9_000.0)),
        ],
    );
}

fn warm(report: &mut Report, host: &Host, runtime: &Runtime) {
    let (add, floor) = (load(host, ADD), Floor::new(ADD.as_bytes()));
    let (mut store, instance) = floor.instantiate();
    let typed = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add").unwrap();
    let mut session = add.session_blocking().unwrap();
    let func = session.func::<(i32, i32), i32>("add").unwrap();
    let (mut by_name, mut dynamic) = (add.session_blocking().unwrap(), add.session_blocking().unwrap());
    report.compare(
        "warm call, two numbers in, one out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime, typed", || {
                std::hint::black_box(typed.call(&mut store, (1, 2)).unwrap());
            }),
            Contender::new("airlock, typed", || {
                std::hint::black_box(func.call_blocking(&mut session, (1, 2)).unwrap());
            })
            .target(Target::Nanos(20.0)),
            Contender::new("airlock, typed, by name", || {
                let sum = by_name.call_func_blocking::<(i32, i32), i32>("add", (1, 2)).unwrap();
                std::hint::black_box(sum);
            })
            .target(Target::Nanos(60.0)),
            Contender::new("airlock, dynamic values, by name, with an outcome", || {
                let numbers = Input::Values(vec![Value::I32(1), Value::I32(2)]);
                dynamic.invoke_blocking("add", numbers).unwrap();
            }),
        ],
    );
    let mut session = runtime.block_on(add.session()).unwrap();
    let func = session.func::<(i32, i32), i32>("add").unwrap();
    report.compare(
        "the same, awaited",
        Clock::Thread,
        vec![
            Contender::batched("wasmtime, typed", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        std::hint::black_box(typed.call_async(&mut store, (1, 2)).await.unwrap());
                    }
                });
            }),
            Contender::batched("airlock, typed", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        std::hint::black_box(func.call(&mut session, (1, 2)).await.unwrap());
                    }
                });
            })
            .target(Target::Nanos(160.0)),
        ],
    );
}

/// Bytes through pointer and length, into a buffer that is used again.
fn bytes(report: &mut Report, host: &Host) {
    let (plugin, floor) = (load(host, LARGE_ECHO), Floor::new(LARGE_ECHO.as_bytes()));
    for (length, name) in [(16, "16 B"), (1 << 10, "1 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")] {
        let input = vec![b'x'; length];
        let mut echo = floor.echo("alloc", "copy");
        let mut session = plugin.session_blocking().unwrap();
        let alloc = session.func::<u32, u32>("alloc").unwrap();
        let copy = session.func::<(u32, u32), u32>("copy").unwrap();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        report.compare(
            &format!("warm call, {name} in and out"),
            Clock::Thread,
            vec![
                Contender::new("wasmtime", || echo.call(&input, &mut one)),
                Contender::new("airlock", || {
                    let length = u32::try_from(input.len()).unwrap();
                    let mut steps = session.steps_blocking().unwrap();
                    let pointer = steps.call_blocking(&alloc, length).unwrap();
                    steps.memory().unwrap().write(pointer, &input).unwrap();
                    let result = steps.call_blocking(&copy, (pointer, length)).unwrap();
                    other.clear();
                    other.extend_from_slice(steps.memory().unwrap().read(result, length).unwrap());
                })
                .target(Target::OfFloor(1.5)),
            ],
        );
    }
}

/// JSON into a session and back, checked on both ways.
fn warm_json(report: &mut Report, host: &Host) {
    for (length, name) in [(64, "64 B"), (1 << 10, "1 KiB"), (1 << 20, "1 MiB")] {
        let (plugin, floor, text) = (load(host, LARGE_ECHO), Floor::new(LARGE_ECHO.as_bytes()), json(length));
        let mut echo = floor.echo("alloc", "copy");
        let mut session = plugin.session_blocking().unwrap();
        let mut output = Vec::new();
        report.compare(
            &format!("warm call, {name} of JSON in and out"),
            Clock::Thread,
            vec![
                Contender::new("wasmtime, as bytes", || echo.call(text.as_bytes(), &mut output)),
                Contender::new("airlock, with an outcome", || {
                    session.invoke_blocking("copy", Input::Json(text.clone())).unwrap();
                }),
            ],
        );
    }
}
