//! Bare wasmtime: pooled, with epochs, and without a limit of any kind.

use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module,
    PoolingAllocationConfig, Store, TypedFunc,
};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

pub(crate) fn config() -> Config {
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
    config
}

/// A module that imports nothing.
pub(crate) struct Floor {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<()>,
}

/// An instance with the functions of an echo.
pub(crate) struct Echo {
    pub(crate) store: Store<()>,
    pub(crate) memory: Memory,
    pub(crate) alloc: TypedFunc<i32, i32>,
    pub(crate) call: TypedFunc<(i32, i32), i32>,
}

impl Floor {
    pub(crate) fn new(wasm: &[u8]) -> Self {
        Floor::with(&config(), wasm)
    }

    pub(crate) fn with(config: &Config, wasm: &[u8]) -> Self {
        let engine = Engine::new(config).unwrap();
        let module = Module::new(&engine, wat::parse_bytes(wasm).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        Floor { engine, pre }
    }

    pub(crate) fn store(&self) -> Store<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        store
    }

    pub(crate) fn instantiate(&self) -> (Store<()>, Instance) {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut store).unwrap();
        (store, instance)
    }

    pub(crate) fn echo(&self, alloc: &str, function: &str) -> Echo {
        let (mut store, instance) = self.instantiate();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let alloc = instance.get_typed_func(&mut store, alloc).unwrap();
        let call = instance.get_typed_func(&mut store, function).unwrap();
        Echo { store, memory, alloc, call }
    }

    /// The work of [`Echo::call`] on a fresh instance, on a fiber.
    pub(crate) async fn echo_awaited(&self, input: &[u8], output: &mut Vec<u8>) {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let alloc = instance.get_typed_func::<i32, i32>(&mut store, "alloc").unwrap();
        let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "f").unwrap();
        let length = i32::try_from(input.len()).unwrap();
        let pointer = alloc.call_async(&mut store, length).await.unwrap();
        memory.write(&mut store, usize::try_from(pointer).unwrap(), input).unwrap();
        let result = call.call_async(&mut store, (pointer, length)).await.unwrap();
        let result = usize::try_from(result).unwrap();
        output.clear();
        output.extend_from_slice(&memory.data(&store)[result..result + input.len()]);
    }
}

impl Echo {
    /// Input to the guest, output to `output`.
    pub(crate) fn call(&mut self, input: &[u8], output: &mut Vec<u8>) {
        let length = i32::try_from(input.len()).unwrap();
        let pointer = self.alloc.call(&mut self.store, length).unwrap();
        self.memory.write(&mut self.store, usize::try_from(pointer).unwrap(), input).unwrap();
        let result = self.call.call(&mut self.store, (pointer, length)).unwrap();
        let result = usize::try_from(result).unwrap();
        output.clear();
        output.extend_from_slice(&self.memory.data(&self.store)[result..result + input.len()]);
    }
}

/// A WASI preview 1 program.
pub(crate) struct Program {
    engine: Engine,
    pre: InstancePre<WasiP1Ctx>,
}

impl Program {
    pub(crate) fn new(wat: &str) -> Self {
        let engine = Engine::new(&config()).unwrap();
        let module = Module::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |context| context).unwrap();
        Program { pre: linker.instantiate_pre(&module).unwrap(), engine }
    }

    pub(crate) async fn run(&self) {
        self.run_in(&[]).await;
    }

    /// With these folders, to be read.
    pub(crate) async fn run_in(&self, folders: &[&std::path::Path]) {
        let mut builder = WasiCtxBuilder::new();
        for (index, folder) in folders.iter().enumerate() {
            builder.preopened_dir(folder, format!("/{index}"), wasmtime_wasi::FsPerms::ReadOnly).unwrap();
        }
        let mut store = Store::new(&self.engine, builder.build_p1());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
        let error = start.call_async(&mut store, ()).await.unwrap_err();
        assert!(error.is::<wasmtime_wasi::I32Exit>());
    }
}
