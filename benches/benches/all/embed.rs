//! What an application that embeds Airlock does often: typed calls, instances made ready, calls of
//! its own functions, and the same work as a guest and natively.

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{Functions, Host, Input, LimitKind, LoadOptions, Plugin, Session, Source};
use wasmtime::{Caller, Config, Extern, Linker, Module, Store, TypedFunc};

use crate::floor::{self, Floor};
use crate::guests::{ADD, load, repository};
use kernels::Inputs;

#[path = "../../guests/kernels/src/kernels.rs"]
mod kernels;

/// A guest with memory of its own that does nothing.
const EMPTY: &str = r#"(module (memory (export "memory") 1) (func (export "nothing")))"#;

/// Calls two functions of the application in loops.
const LOOPS: &str = r#"(module
    (import "app" "add" (func $add (param i32 i32) (result i32)))
    (import "app" "length" (func $length (param i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 64) "hello world, äöü")
    (func (export "adds") (param $times i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (call $add (local.get $sum) (i32.const 1)))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (local.get $sum))
    (func (export "lengths") (param $times i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $length (i32.const 64) (i32.const 19))))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (local.get $sum)))"#;

/// A kernel's name, what it does, and what does it natively.
type Kernel = (&'static str, &'static str, fn(&Inputs) -> u64);

const KERNELS: [Kernel; 6] = [
    ("fnv", "FNV-1a of 1 MiB", kernels::fnv),
    ("sha256", "SHA-256 of 1 MiB", kernels::sha256),
    ("json", "100 KB of JSON parsed", kernels::json),
    ("matrix", "two matrices of 128 x 128 multiplied", kernels::matrix),
    ("words", "words of 1 MiB counted", kernels::words),
    ("reverse", "1 MiB of text reversed", kernels::reverse),
];

pub(crate) fn run(report: &mut Report) {
    calls(report);
    ready(report);
    functions(report);
    for kernel in KERNELS {
        work(report, kernel);
    }
}

fn calls(report: &mut Report) {
    let (add, floor) = (load(&Host::new().unwrap(), ADD), Floor::new(ADD.as_bytes()));
    let (mut store, instance) = floor.instantiate();
    let typed = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add").unwrap();
    let mut session = add.session_blocking().unwrap();
    let func = session.func::<(i32, i32), i32>("add").unwrap();
    let mut by_name = add.session_blocking().unwrap();
    report.compare(
        "a call, two numbers in, one out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime, typed", || {
                std::hint::black_box(typed.call(&mut store, (1, 2)).unwrap());
            }),
            Contender::new("airlock, typed handle", || {
                std::hint::black_box(func.call_blocking(&mut session, (1, 2)).unwrap());
            })
            .target(Target::OfFloor(1.3)),
            Contender::new("airlock, by name", || {
                let sum = by_name.call_func_blocking::<(i32, i32), i32>("add", (1, 2)).unwrap();
                std::hint::black_box(sum);
            })
            .target(Target::Nanos(60.0)),
        ],
    );
}

/// From what is prepared to an instance that can be called, and its end.
fn ready(report: &mut Report) {
    for (work, config, host, most) in [
        ("an instance made ready, called and dropped, pooled", floor::config(), Host::builder(), 3_000.0),
        (
            "the same on demand",
            Config::new().epoch_interruption(true).clone(),
            Host::builder().on_demand(),
            20_000.0,
        ),
    ] {
        let floor = Floor::with(&config, EMPTY.as_bytes());
        let plugin = load(&host.build().unwrap(), EMPTY);
        report.compare(
            work,
            Clock::Thread,
            vec![
                Contender::new("wasmtime", || {
                    let (mut store, instance) = floor.instantiate();
                    let nothing = instance.get_typed_func::<(), ()>(&mut store, "nothing").unwrap();
                    nothing.call(&mut store, ()).unwrap();
                }),
                Contender::new("airlock, fresh call", || {
                    plugin.invoke_blocking("nothing", Input::Values(Vec::new())).unwrap();
                })
                .target(Target::Nanos(most)),
            ],
        );
    }
    let floor = Floor::with(Config::new().epoch_interruption(true), EMPTY.as_bytes());
    let plugin = load(&Host::new().unwrap(), EMPTY);
    report.compare(
        "a session made and dropped",
        Clock::Thread,
        vec![
            Contender::new("wasmtime, on demand", || {
                let (mut store, instance) = floor.instantiate();
                std::hint::black_box(instance.get_typed_func::<(), ()>(&mut store, "nothing").unwrap());
            }),
            Contender::new("airlock", || {
                let mut session = plugin.session_blocking().unwrap();
                std::hint::black_box(session.func::<(), ()>("nothing").unwrap());
            })
            .target(Target::Nanos(20_000.0)),
        ],
    );
}

/// Bare wasmtime's functions for [`LOOPS`], which check what Airlock's check.
fn bare_loops(name: &str) -> (Store<()>, TypedFunc<i32, i32>) {
    let floor = Floor::new(LOOPS.as_bytes());
    let mut linker = Linker::new(&floor.engine);
    linker.func_wrap("app", "add", |one: i32, other: i32| one.wrapping_add(other)).unwrap();
    linker
        .func_wrap("app", "length", |mut caller: Caller<'_, ()>, pointer: u32, length: u32| {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
            let (from, length) = (pointer as usize, length as usize);
            let bytes = memory.data(&caller).get(from..from + length);
            let text = std::str::from_utf8(bytes.ok_or_else(|| wasmtime::Error::msg("outside"))?)?;
            Ok(text.chars().count() as u32)
        })
        .unwrap();
    let module = Module::new(&floor.engine, wat::parse_str(LOOPS).unwrap()).unwrap();
    let mut store = floor.store();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let function = instance.get_typed_func(&mut store, name).unwrap();
    (store, function)
}

/// A plugin of [`LOOPS`], which may call as often as it is measured.
fn loops() -> Plugin {
    let functions = Functions::of("app")
        .func("add", |_, (one, other): (i32, i32)| Ok(one.wrapping_add(other)))
        .func("length", |call, (pointer, length): (u32, u32)| {
            Ok(call.memory()?.text(pointer, length)?.chars().count() as u32)
        });
    let host = Host::builder().functions(functions).build().unwrap();
    let options = LoadOptions::new().wat(true).limit(LimitKind::HostCalls, u64::MAX);
    host.load_blocking(Source::from(LOOPS.as_bytes()), options).unwrap()
}

/// What a guest's call of a function of the application takes: one turn of a loop in the guest.
fn functions(report: &mut Report) {
    let plugin = loops();
    for (name, work, most) in [
        ("adds", "a function of the application, two numbers in, one out", 20.0),
        ("lengths", "the same with a text of 19 bytes read from memory", 60.0),
    ] {
        let (mut store, bare) = bare_loops(name);
        let mut session = plugin.session_blocking().unwrap();
        let func = session.func::<u32, u32>(name).unwrap();
        report.compare(
            work,
            Clock::Thread,
            vec![
                Contender::batched("wasmtime, func_wrap", |times| {
                    bare.call(&mut store, times.cast_signed()).unwrap();
                }),
                Contender::batched("airlock", |times| {
                    func.call_blocking(&mut session, times).unwrap();
                })
                .target(Target::Nanos(most)),
            ],
        );
    }
}

/// One kernel natively and as a guest, without and with what stops it.
fn work(report: &mut Report, (name, work, native): Kernel) {
    let wasm = std::fs::read(repository("benches/guests/kernels.wasm")).unwrap();
    let inputs = Inputs::new();
    let unmetered = Floor::with(&Config::new(), &wasm);
    let mut store = Store::new(&unmetered.engine, ());
    let instance = unmetered.pre.instantiate(&mut store).unwrap();
    let bare = instance.get_typed_func::<(), u64>(&mut store, name).unwrap();
    let host = Host::new().unwrap();
    let session = |options: LoadOptions| {
        let mut session = host.load_blocking(wasm.clone(), options).unwrap().session_blocking().unwrap();
        let func = session.func::<(), u64>(name).unwrap();
        assert_eq!(func.call_blocking(&mut session, ()).unwrap(), native(&inputs));
        move || call(&mut session, &func)
    };
    report.compare(
        work,
        Clock::Thread,
        vec![
            Contender::new("natively", || {
                std::hint::black_box(native(std::hint::black_box(&inputs)));
            }),
            Contender::new("wasmtime that can be neither stopped nor counted", || {
                std::hint::black_box(bare.call(&mut store, ()).unwrap());
            })
            .target(Target::OfFloor(1.6)),
            Contender::new("airlock, trusted", session(LoadOptions::new().trusted(true)))
                .target(Target::OfFloor(1.6)),
            Contender::new("airlock, deadline (epochs)", session(LoadOptions::new())),
            Contender::new(
                "airlock, deadline and fuel",
                session(LoadOptions::new().limit(LimitKind::Fuel, u64::MAX / 2)),
            ),
        ],
    );
}

fn call(session: &mut Session, func: &airlock_host::Func<(), u64>) {
    std::hint::black_box(func.call_blocking(session, ()).unwrap());
}
