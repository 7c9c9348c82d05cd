//! Plugins of sen-rs: executed afresh, without WASI and with capabilities.

use std::sync::Arc;

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{Host, LoadOptions, OnAuditFailure, Plugin, Source};
use airlock_store::AuditLog;
use serde::Serialize as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::floor::{self, Floor};
use crate::guests::repository;

/// A plugin that gives its one argument of 64 bytes back. With `wasi` it first asks for its
/// variables and for its folder, which have to be there by then.
fn guest(capabilities: &Value, wasi: bool) -> String {
    let manifest =
        json!({ "api_version": 2, "command": { "name": "echo", "about": "" }, "capabilities": capabilities });
    let mut bytes = Vec::new();
    manifest.serialize(&mut rmp_serde::Serializer::new(&mut bytes)).unwrap();
    let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let (imports, looks) = match wasi {
        false => ("", ""),
        true => (
            r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
               (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))"#,
            "(if (i32.or (call $environ (i32.const 0) (i32.const 4)) (call $folder (i32.const 3) (i32.const 8)))
                (then (unreachable)))",
        ),
    };
    // An argument is two bytes of header and the text; an answer has nine before those.
    format!(
        r#"(module {imports} (memory (export "memory") 1)
            (data (i32.const 1024) "\81\a7Success") (data (i32.const 4096) "{data}")
            (func (export "plugin_manifest") (result i64) (i64.const {manifest}))
            (func (export "plugin_alloc") (param i32) (result i32) (i32.const 2048))
            (func (export "plugin_dealloc") (param i32 i32))
            (func (export "plugin_execute") (param i32 i32) (result i64) {looks}
                (memory.copy (i32.const 1033) (i32.add (local.get 0) (i32.const 1)) (i32.const 66))
                (i64.const {answer})))"#,
        manifest = (4096_u64 << 32) | bytes.len() as u64,
        answer = (1024_u64 << 32) | 75,
    )
}

fn load(host: &Host, wat: &str, options: LoadOptions) -> Plugin {
    let plugin = host.load_blocking(Source::from(wat.as_bytes()), options.wat(true)).unwrap();
    let outcome = plugin.execute_blocking(&[text()]).unwrap();
    assert_eq!(outcome.value, airlock_host::sen::ExecuteResult::Success(text()));
    plugin
}

fn text() -> String {
    "x".repeat(64)
}

/// Executes it so many times, awaited.
fn awaited<'a>(runtime: &'a Runtime, plugin: &'a Plugin) -> impl FnMut(u32) + 'a {
    let text = [text()];
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                plugin.execute(&text).await.unwrap();
            }
        });
    }
}

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let host = Host::new().unwrap();
    plain(report, &host, &runtime);
    with_capabilities(report, &host, &runtime);
    published(report, &host);
}

/// The same through bare wasmtime, which counts fuel too.
fn bare(wat: &str) -> impl FnMut() {
    let mut config = floor::config();
    config.consume_fuel(true);
    let floor = Floor::with(&config, wat.as_bytes());
    let input = [b"\x91\xd9\x40".as_slice(), text().as_bytes()].concat();
    move || {
        let mut store = floor.store();
        store.set_fuel(10_000_000).unwrap();
        let instance = floor.pre.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let alloc = instance.get_typed_func::<i32, i32>(&mut store, "plugin_alloc").unwrap();
        let execute = instance.get_typed_func::<(i32, i32), i64>(&mut store, "plugin_execute").unwrap();
        let dealloc = instance.get_typed_func::<(i32, i32), ()>(&mut store, "plugin_dealloc").unwrap();
        let at = alloc.call(&mut store, 67).unwrap();
        memory.write(&mut store, at as usize, &input).unwrap();
        let packed = execute.call(&mut store, (at, 67)).unwrap();
        let mut answer = vec![0; (packed & 0xFFFF) as usize];
        memory.read(&store, (packed >> 32) as usize, &mut answer).unwrap();
        dealloc.call(&mut store, (at, 67)).unwrap();
        dealloc.call(&mut store, ((packed >> 32) as i32, 75)).unwrap();
        std::hint::black_box(answer);
    }
}

fn plain(report: &mut Report, host: &Host, runtime: &Runtime) {
    let wat = guest(&json!({}), false);
    let plugin = load(host, &wat, LoadOptions::new());
    let text = [text()];
    report.compare(
        "sen: fresh execute, 64 B in and out",
        Clock::Thread,
        vec![
            Contender::new("wasmtime, metered", bare(&wat)),
            Contender::new("airlock", || drop(plugin.execute_blocking(&text).unwrap()))
                .target(Target::Nanos(6_000.0)),
            Contender::batched("airlock, awaited", awaited(runtime, &plugin)).target(Target::Nanos(6_000.0)),
        ],
    );
}

fn with_capabilities(report: &mut Report, host: &Host, runtime: &Runtime) {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let asks = json!({ "fs_read": [{ "pattern": "./data", "recursive": true }], "env_read": ["HOME", "USER"],
        "stdio": { "stdin": false, "stdout": true, "stderr": true } });
    let wat = guest(&asks, true);
    let options = || LoadOptions::new().allow_all_requested().working_folder(folder.path());
    let plugin = load(host, &wat, options());
    let strict = load(host, &wat, options().require_paths(true));
    let asks_more = json!({ "fs_read": [{ "pattern": "./data", "recursive": true }], "env_read": ["LC_*"] });
    let beginnings = load(host, &guest(&asks_more, true), options());
    let log = Arc::new(AuditLog::open(home.path(), None).unwrap());
    let audited = Host::builder().audit(log, OnAuditFailure::Refuse).build().unwrap();
    let audited = load(&audited, &wat, options());
    let text = [text()];
    report.compare(
        "sen: fresh execute through WASI with a folder and variables",
        Clock::Thread,
        vec![
            Contender::batched("airlock, awaited", awaited(runtime, &plugin)).target(Target::Nanos(9_000.0)),
            Contender::batched("airlock, awaited, folders required", awaited(runtime, &strict))
                .target(Target::Nanos(9_000.0)),
            Contender::new("airlock", || drop(plugin.execute_blocking(&text).unwrap()))
                .target(Target::Nanos(9_000.0)),
            // All that there are have to be looked through.
            Contender::new("airlock, variables by how they begin", || {
                drop(beginnings.execute_blocking(&text).unwrap());
            }),
        ],
    );
    report.compare(
        "the same, wall time",
        Clock::Wall,
        vec![
            Contender::batched("airlock, awaited", awaited(runtime, &plugin)),
            Contender::batched("airlock, awaited, each call in the audit log", awaited(runtime, &audited)),
        ],
    );
}

/// Plugins by its published SDK.
fn published(report: &mut Report, host: &Host) {
    let load = |file: &str| {
        let options = LoadOptions::new().allow_all_requested();
        host.load_blocking(repository(&format!("plugins/{file}")), options).unwrap()
    };
    let (greet, cat) = (load("sen-greet/sen_greet.wasm"), load("sen-cat/sen_cat.wasm"));
    report.compare(
        "sen: fresh execute of a plugin by its SDK",
        Clock::Thread,
        vec![
            Contender::new("airlock, sen-greet", || drop(greet.execute_blocking(&["Ann"]).unwrap())),
            Contender::new("airlock, sen-cat, which lists its variables", || {
                drop(cat.execute_blocking(&["env"]).unwrap());
            }),
        ],
    );
}
