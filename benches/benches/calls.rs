//! Calls: bare wasmtime, set up as PERFORMANCE asks, beside Airlock with every limit on.
//!
//! `cargo bench -p airlock-bench --profile dist`

#![allow(clippy::unwrap_used, reason = "a benchmark that fails to get what it needs has failed")]

use airlock_bench::{Contender, Report};
use airlock_host::{Host, Input, LoadOptions, Plugin, ProgramInput, Source, Value};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
};

/// Gives its input back; the smallest guest of the `json` ABI.
const ECHO: &str = r#"(module (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "f") (param i32 i32) (result i32) local.get 0))"#;

const ADD: &str =
    r#"(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#;

const EXIT: &str = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 0))))"#;

fn main() {
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let host = Host::new().unwrap();
    let load =
        |wat: &str| host.load_blocking(Source::from(wat.as_bytes()), LoadOptions::new().wat(true)).unwrap();

    let (echo, text) = (load(ECHO), format!("\"{}\"", "x".repeat(62)));
    let floor = Floor::new(ECHO);
    report.compare(
        "fresh instance, 64 B in and out",
        vec![
            Contender::new("wasmtime", || floor.echo(text.as_bytes())),
            Contender::new("airlock blocking", || {
                echo.invoke_blocking("f", Input::Json(text.clone())).unwrap();
            }),
            Contender::batched("airlock awaited", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        echo.invoke("f", Input::Json(text.clone())).await.unwrap();
                    }
                });
            }),
        ],
    );

    let add = load(ADD);
    let floor = Floor::new(ADD);
    let mut store = Store::new(&floor.engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = floor.pre.instantiate(&mut store).unwrap();
    let typed = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add").unwrap();
    let (mut blocking, mut awaited) =
        (add.session_blocking().unwrap(), runtime.block_on(add.session()).unwrap());
    let values = || Input::Values(vec![Value::I32(1), Value::I32(2)]);
    report.compare(
        "warm call, two numbers in, one out",
        vec![
            Contender::new("wasmtime, typed", || {
                typed.call(&mut store, (1, 2)).unwrap();
            }),
            Contender::new("airlock blocking, by name", || {
                blocking.invoke_blocking("add", values()).unwrap();
            }),
            Contender::batched("airlock awaited, by name", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        awaited.invoke("add", values()).await.unwrap();
                    }
                });
            }),
        ],
    );

    let (exit, fresh) = (load(EXIT), load(ADD));
    report.compare(
        "fresh instance, nothing in",
        vec![
            Contender::new("wasmtime", || floor.instantiate()),
            Contender::new("airlock blocking, raw", || {
                fresh.invoke_blocking("add", values()).unwrap();
            }),
            Contender::batched("airlock awaited, WASI preview 1", |times| {
                runtime.block_on(run(&exit, times));
            }),
        ],
    );
    report.print();
}

async fn run(plugin: &Plugin, times: u32) {
    for _ in 0..times {
        plugin.run(ProgramInput::new()).await.unwrap();
    }
}

/// Bare wasmtime with a pool, epochs and nothing else.
struct Floor {
    engine: Engine,
    pre: InstancePre<()>,
}

impl Floor {
    fn new(wat: &str) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(128)
            .total_memories(128)
            .total_tables(128)
            .total_stacks(128)
            .linear_memory_keep_resident(256 << 10)
            .table_keep_resident(64 << 10)
            .decommit_batch_size(1);
        let mut config = Config::new();
        config.epoch_interruption(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        Floor { engine, pre }
    }

    fn store(&self) -> Store<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        store
    }

    fn instantiate(&self) {
        let mut store = self.store();
        self.pre.instantiate(&mut store).unwrap();
    }

    fn echo(&self, input: &[u8]) {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let alloc = instance.get_typed_func::<i32, i32>(&mut store, "alloc").unwrap();
        let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "f").unwrap();
        let length = i32::try_from(input.len()).unwrap();
        let pointer = alloc.call(&mut store, length).unwrap();
        memory.write(&mut store, usize::try_from(pointer).unwrap(), input).unwrap();
        let result = usize::try_from(call.call(&mut store, (pointer, length)).unwrap()).unwrap();
        let output = memory.data(&store)[result..result + input.len()].to_vec();
        assert_eq!(output.len(), input.len());
    }
}
