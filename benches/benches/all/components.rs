//! Components: calls of fresh instances and of sessions, typed and as JSON, and loading a large one.

use std::path::PathBuf;

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_engine::{Cache, CacheSettings, Mapping, Origin};
use airlock_host::{Host, Input, LoadOptions, Plugin, Source};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::floor;
use crate::guests::repository;

/// A component that imports nothing: adds, and gives texts and bytes back.
const PLAIN: &str = r#"(component
    (core module $m (memory (export "memory") 40)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0))
        (func (export "copy") (param i32 i32) (result i32)
            (memory.copy (i32.const 1310720) (local.get 0) (local.get 1))
            (i32.store (i32.const 0) (i32.const 1310720)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0)))
    (core instance $m (instantiate $m))
    (alias core export $m "memory" (core memory $memory))
    (alias core export $m "realloc" (core func $realloc))
    (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add")))
    (func (export "echo") (param "text" string) (result string)
        (canon lift (core func $m "echo") (memory $memory) (realloc $realloc)))
    (func (export "copy") (param "bytes" (list u8)) (result (list u8))
        (canon lift (core func $m "copy") (memory $memory) (realloc $realloc))))"#;

/// The same memory in one page, as a fresh instance of a small guest has.
const SMALL: &str = r#"(component
    (core module $m (memory 1)
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
    (core instance $m (instantiate $m))
    (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add"))))"#;

/// What stands for a large language's component in the row about loading; `scripts/large-component` makes it.
const LARGE: &str = "target/large-component.wasm";

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let host = Host::new().unwrap();
    let values = std::fs::read(repository("plugins/wit-values/wit_values.wasm")).unwrap();
    fresh(report, &host);
    fresh_wasi(report, &host, &values, &runtime);
    warm(report, &host, &runtime);
    json(report, &host, &values, &runtime);
    load(report);
}

/// The state of a component in bare wasmtime.
struct Bare {
    context: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// A component in bare wasmtime, pooled.
struct Floor {
    engine: Engine,
    pre: InstancePre<Bare>,
}

impl Floor {
    fn new(wasm: &[u8]) -> Self {
        let engine = Engine::new(&config()).unwrap();
        let component = Component::new(&engine, wat::parse_bytes(wasm).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        Floor { pre: linker.instantiate_pre(&component).unwrap(), engine }
    }

    fn store(&self) -> Store<Bare> {
        let context = WasiCtxBuilder::new().build();
        let mut store = Store::new(&self.engine, Bare { context, table: ResourceTable::new() });
        store.set_epoch_deadline(u64::MAX / 2);
        store
    }
}

fn config() -> wasmtime::Config {
    let mut config = floor::config();
    config.wasm_component_model(true);
    config
}

fn plugin(host: &Host, wasm: &[u8]) -> Plugin {
    host.load_blocking(Source::from(wasm), LoadOptions::new().wat(true)).unwrap()
}

fn fresh(report: &mut Report, host: &Host) {
    let (floor, plugin) = (Floor::new(SMALL.as_bytes()), plugin(host, SMALL.as_bytes()));
    let bare = || {
        let mut store = floor.store();
        let instance = floor.pre.instantiate(&mut store).unwrap();
        let add = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "add").unwrap();
        assert_eq!(add.call(&mut store, (40, 2)).unwrap(), (42,));
    };
    report.compare(
        "component: fresh call, two numbers as JSON, without imports",
        Clock::Thread,
        vec![
            Contender::new("wasmtime, typed", bare),
            Contender::new("airlock", || {
                let outcome = plugin.invoke_blocking("add", Input::Json("[40,2]".to_owned())).unwrap();
                assert_eq!(outcome.value.to_json_text(), "42");
            })
            .target(Target::Nanos(4_000.0)),
        ],
    );
}

fn fresh_wasi(report: &mut Report, host: &Host, values: &[u8], runtime: &tokio::runtime::Runtime) {
    let (floor, plugin) = (Floor::new(values), plugin(host, values));
    let bare = |times: u32| {
        runtime.block_on(async {
            for _ in 0..times {
                let mut store = floor.store();
                let instance = floor.pre.instantiate_async(&mut store).await.unwrap();
                let add = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "add").unwrap();
                assert_eq!(add.call_async(&mut store, (40, 2)).await.unwrap(), (42,));
            }
        });
    };
    let ours = |times: u32| {
        runtime.block_on(async {
            for _ in 0..times {
                let outcome = plugin.invoke("add", Input::Json("[40,2]".to_owned())).await.unwrap();
                assert_eq!(outcome.value.to_json_text(), "42");
            }
        });
    };
    report.compare(
        "component: fresh call of wit-values (wasip2, Rust), awaited",
        Clock::Thread,
        vec![
            Contender::batched("wasmtime, typed", bare),
            Contender::batched("airlock", ours).target(Target::Nanos(10_000.0)),
        ],
    );
}

fn warm(report: &mut Report, host: &Host, runtime: &tokio::runtime::Runtime) {
    let (floor, plugin) = (Floor::new(PLAIN.as_bytes()), plugin(host, PLAIN.as_bytes()));
    let mut session = plugin.session_blocking().unwrap();
    let mut store = floor.store();
    let instance = floor.pre.instantiate(&mut store).unwrap();
    let text = "sixteen bytes ..";
    let bare = instance.get_typed_func::<(&str,), (String,)>(&mut store, "echo").unwrap();
    let ours = session.component_func::<(&str,), (String,)>("echo").unwrap();
    let mut other = plugin.session_blocking().unwrap();
    let awaited = other.component_func::<(&str,), (String,)>("echo").unwrap();
    report.compare(
        "component: warm typed call, 16 B of text in and out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || assert_eq!(bare.call(&mut store, (text,)).unwrap().0.len(), 16)),
            Contender::new("airlock", || {
                assert_eq!(ours.call_blocking(&mut session, (text,)).unwrap().0.len(), 16);
            })
            .target(Target::Nanos(250.0)),
            Contender::batched("airlock, awaited", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        assert_eq!(awaited.call(&mut other, (text,)).await.unwrap().0.len(), 16);
                    }
                });
            }),
        ],
    );
    let bytes = vec![7_u8; 1 << 20];
    let mut store = floor.store();
    let instance = floor.pre.instantiate(&mut store).unwrap();
    let bare = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, "copy").unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let ours = session.component_func::<(&[u8],), (Vec<u8>,)>("copy").unwrap();
    report.compare(
        "component: warm typed call, 1 MiB list<u8> in and out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime", || {
                assert_eq!(bare.call(&mut store, (&bytes,)).unwrap().0.len(), 1 << 20);
            }),
            Contender::new("airlock", || {
                assert_eq!(ours.call_blocking(&mut session, (&bytes,)).unwrap().0.len(), 1 << 20);
            })
            .target(Target::OfFloor(1.5)),
        ],
    );
}

/// A list of records of 100 KB.
fn records() -> String {
    let points: Vec<String> = (0..5_600).map(|at| format!(r#"{{"x":{at},"y":{}}}"#, -at)).collect();
    format!(r#"[{{"polygon":[{}]}}]"#, points.join(","))
}

/// The same list, as wasmtime has it.
fn record_values() -> Vec<Val> {
    let point = |at: i32| {
        let fields = [("x", at), ("y", -at)];
        Val::Record(fields.map(|(name, value)| (name.to_owned(), Val::S32(value))).to_vec())
    };
    let points = Val::List((0..5_600).map(point).collect());
    vec![Val::Variant("polygon".to_owned(), Some(Box::new(points)))]
}

fn json(report: &mut Report, host: &Host, values: &[u8], runtime: &tokio::runtime::Runtime) {
    let (floor, plugin) = (Floor::new(values), plugin(host, values));
    let mut session = plugin.session_blocking().unwrap();
    let text = records();
    let mut store = floor.store();
    let instance = runtime.block_on(floor.pre.instantiate_async(&mut store)).unwrap();
    let all = instance.get_export_index(&mut store, None, "airlock:values/all@0.1.0").unwrap();
    let echo = instance.get_export_index(&mut store, Some(&all), "echo-shape").unwrap();
    let echo = instance.get_func(&mut store, echo).unwrap();
    let params = record_values();
    report.compare(
        &format!("component: warm call, a list of 5600 records, {} KB of JSON both ways", text.len() / 1000),
        Clock::Thread,
        vec![
            Contender::batched("wasmtime, values in place of JSON", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        let mut results = [Val::Bool(false)];
                        echo.call_async(&mut store, &params, &mut results).await.unwrap();
                        assert!(matches!(results[0], Val::Variant(..)));
                    }
                });
            }),
            Contender::new("airlock", || {
                let outcome = session.invoke_blocking("echo-shape", Input::Json(text.clone())).unwrap();
                assert_eq!(outcome.value.to_json_text().len(), text.len() - 2);
            })
            .target(Target::OverFloor(3_000_000.0)),
            Contender::new("serde_json's reading and writing of a tree", || {
                let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(serde_json::to_string(&tree).unwrap().len(), text.len());
            }),
        ],
    );
}

/// A component of a language that brings its interpreter along.
fn load(report: &mut Report) {
    let large: PathBuf = repository(LARGE);
    // Left out where nobody has made one.
    let Ok(wasm) = std::fs::read(&large) else { return };
    let folder = tempfile::tempdir().unwrap();
    let host = |mapping: Mapping| {
        let settings = CacheSettings {
            folder: folder.path().join("code"),
            key_file: folder.path().join("cache.key"),
            maximum_bytes: 1 << 30,
            mapping,
        };
        Host::builder().cache(Cache::open(settings).unwrap()).memory_cache(0).build().unwrap()
    };
    let load = |host: &Host| {
        let plugin = host.load_blocking(Source::from(wasm.as_slice()), LoadOptions::new()).unwrap();
        plugin.code_origin()
    };
    let (mapped, private) = (host(Mapping::Shared), host(Mapping::Copy));
    load(&mapped);
    load(&private);
    report.compare(
        &format!("component: load of cached code, {:.1} MB of wasm", wasm.len() as f64 / 1e6),
        // Several threads look at it.
        Clock::Wall,
        vec![
            Contender::new("airlock, from bytes to a plugin", || assert_eq!(load(&mapped), Origin::Cache))
                .target(Target::Nanos(30_000_000.0)),
            Contender::new("the same, from a private copy", || assert_eq!(load(&private), Origin::Cache)),
            Contender::new("of that, the digest of the bytes", || {
                std::hint::black_box(airlock_host::Digest::of(&wasm));
            }),
        ],
    );
}
