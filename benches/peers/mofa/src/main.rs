//! The work through mofa-plugins. Its calls take and give numbers; it has no way to hand
//! bytes to a guest. As in its own examples, fuel and epochs are off: with its defaults
//! every call traps, since the epoch deadline is never set.

use std::sync::Arc;

use mofa_plugins::wasm_runtime::{
    CompiledModule, ResourceLimits, RuntimeConfig, WasmPlugin, WasmPluginConfig, WasmRuntime,
};
use peer_worker::guest::{self, Shape};
use peer_worker::{Job, Peer, Spin, TIMEOUT, Work, on_threads};
use tokio::runtime::Runtime;
use wasmtime::Val;

/// The two numbers.
const TWO: [Val; 2] = [Val::I32(1), Val::I32(2)];

struct Mofa;

fn main() {
    peer_worker::serve(&Mofa);
}

/// One of its runtimes with one module compiled.
struct Compiled {
    runtime: WasmRuntime,
    module: Arc<CompiledModule>,
}

impl Compiled {
    async fn new(wasm: &[u8]) -> Self {
        let runtime = WasmRuntime::new(config()).expect("a runtime");
        let module = runtime.compile("sum", wasm).await.expect("the guest compiles");
        Compiled { runtime, module }
    }

    async fn instance(&self) -> WasmPlugin {
        let plugin = self.runtime.create_plugin(&self.module, plugin_config()).await.expect("a plugin");
        plugin.initialize().await.expect("an instance");
        plugin
    }

    async fn fresh(&self) {
        assert_eq!(add(&self.instance().await).await, 3);
    }
}

impl Peer for Mofa {
    fn job(&self, work: Work) -> Option<Job> {
        let tokio = tokio();
        Some(match work {
            Work::FreshNumbers => {
                let compiled = tokio.block_on(Compiled::new(&guest::numbers(Shape::default())));
                Box::new(move |times| {
                    tokio.block_on(async {
                        for _ in 0..times {
                            compiled.fresh().await;
                        }
                    });
                })
            }
            Work::WarmNumbers => {
                let compiled = tokio.block_on(Compiled::new(&guest::numbers(Shape::default())));
                let plugin = tokio.block_on(compiled.instance());
                Box::new(move |times| {
                    tokio.block_on(async {
                        for _ in 0..times {
                            assert_eq!(add(&plugin).await, 3);
                        }
                    });
                })
            }
            Work::Load | Work::CachedLoad => {
                let wasm = guest::numbers(Shape::loaded());
                let runtime = WasmRuntime::new(config()).expect("a runtime");
                Box::new(move |times| {
                    tokio.block_on(async {
                        for _ in 0..times {
                            if work == Work::Load {
                                runtime.clear_cache().await;
                            }
                            let plugin = runtime.create_plugin_from_bytes(&wasm, plugin_config()).await;
                            plugin.expect("the guest loads");
                        }
                    });
                })
            }
            Work::FreshNumbersRate(threads) => {
                let compiled = tokio.block_on(Compiled::new(&guest::numbers(Shape::default())));
                on_threads(threads, move |share| {
                    self::tokio().block_on(async {
                        for _ in 0..share {
                            compiled.fresh().await;
                        }
                    });
                })
            }
            Work::FreshBytes | Work::WarmBytes(_) | Work::WarmInPlace | Work::FreshBytesRate(_) => {
                return None;
            }
        })
    }

    fn spin(&self, spin: Spin) -> String {
        let wasm = guest::numbers(Shape::spin(spin));
        tokio().block_on(async {
            let runtime = WasmRuntime::new(config()).expect("a runtime");
            let plugin = runtime.create_plugin_from_bytes(&wasm, plugin_config()).await.expect("a plugin");
            match plugin.initialize().await {
                Ok(()) => plugin.call_i32("add", &TWO).await.expect_err("it loops for ever").to_string(),
                Err(error) => error.to_string(),
            }
        })
    }
}

async fn add(plugin: &WasmPlugin) -> i32 {
    plugin.call_i32("add", &TWO).await.expect("an answer")
}

fn config() -> RuntimeConfig {
    let mut config = RuntimeConfig::new();
    config.execution_config.fuel_metering = false;
    config.execution_config.epoch_interruption = false;
    config
}

/// With fuel off, a plugin that asks for fuel does not start.
fn plugin_config() -> WasmPluginConfig {
    let time = u64::try_from(TIMEOUT.as_millis()).expect("it is short");
    let limits = ResourceLimits { max_fuel: None, max_execution_time_ms: time, ..ResourceLimits::default() };
    WasmPluginConfig::new("sum").with_resource_limits(limits)
}

fn tokio() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("an executor")
}
