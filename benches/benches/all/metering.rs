//! What counting costs a guest that works: an interpreter in a loop.

use airlock_bench::{Clock, Contender, Report};
use airlock_host::{Host, Input, LimitKind, LoadOptions};
use wasmtime::Config;

use crate::floor::Floor;
use crate::guests::repository;

const SCRIPT: &str = r#"{"script":"let x = 0; for i in 0..20000 { x += i % 7; } x"}"#;

pub(crate) fn run(report: &mut Report) {
    let wasm = std::fs::read(repository("plugins/script/script.wasm")).unwrap();
    let host = Host::new().unwrap();
    let plain = host.load_blocking(wasm.clone(), LoadOptions::new()).unwrap();
    let fuel = LoadOptions::new().limit(LimitKind::Fuel, u64::MAX / 2);
    let fuelled = host.load_blocking(wasm.clone(), fuel).unwrap();
    let unmetered = Floor::with(&Config::new(), &wasm);
    let mut output = Vec::new();
    report.compare(
        "an interpreter's loop (script), fresh instance",
        Clock::Thread,
        vec![
            Contender::new("wasmtime that can be neither stopped nor counted", || {
                let mut store = wasmtime::Store::new(&unmetered.engine, ());
                let instance = unmetered.pre.instantiate(&mut store).unwrap();
                let memory = instance.get_memory(&mut store, "memory").unwrap();
                let alloc = instance.get_typed_func::<i32, i32>(&mut store, "malloc").unwrap();
                let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "eval").unwrap();
                crate::floor::Echo { store, memory, alloc, call }.call(SCRIPT.as_bytes(), &mut output);
            }),
            Contender::new("airlock, deadline (epochs)", || {
                plain.invoke_blocking("eval", Input::Json(SCRIPT.to_owned())).unwrap();
            }),
            Contender::new("airlock, deadline and fuel", || {
                fuelled.invoke_blocking("eval", Input::Json(SCRIPT.to_owned())).unwrap();
            }),
        ],
    );
}
