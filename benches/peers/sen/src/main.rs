//! The work through sen-plugin-host. Its plain loader keeps one instance, so the warm calls
//! are that one's; its WASI loader makes an instance for each call, so the fresh calls are
//! that one's. Neither keeps compiled code, and fuel is the only thing that stops a guest.

use std::error::Error;
use std::path::PathBuf;

use peer_worker::guest::{self, Shape};
use peer_worker::{Job, Peer, Spin, Work, each, on_threads};
use sen_plugin_api::{API_VERSION, Capabilities, CommandSpec, ExecuteResult, PluginManifest};
use sen_plugin_host::PluginLoader;
use sen_plugin_host::wasi::{WasiLoadedPlugin, WasiPluginLoader};

struct Sen {
    plain: PluginLoader,
    wasi: WasiPluginLoader,
    manifest: Vec<u8>,
}

fn main() {
    let manifest = PluginManifest {
        api_version: API_VERSION,
        command: CommandSpec {
            name: "echo".to_owned(),
            about: String::new(),
            version: None,
            author: None,
            args: Vec::new(),
            subcommands: Vec::new(),
        },
        capabilities: Capabilities::none(),
    };
    peer_worker::serve(&Sen {
        plain: PluginLoader::new().expect("a loader"),
        wasi: WasiPluginLoader::with_working_directory(PathBuf::from("/")).expect("a loader"),
        manifest: rmp_serde::to_vec_named(&manifest).expect("a manifest is data"),
    });
}

impl Sen {
    fn guest(&self, shape: Shape) -> Vec<u8> {
        guest::sen(shape, &self.manifest)
    }

    fn echo(&self) -> WasiLoadedPlugin {
        let plugin = self.wasi.load(&self.guest(Shape::bytes(64))).expect("the guest loads");
        check(plugin.instance.execute(&text(64)).expect("an answer"), 64);
        plugin
    }
}

impl Peer for Sen {
    fn job(&self, work: Work) -> Option<Job> {
        Some(match work {
            Work::FreshBytes => {
                let (plugin, text) = (self.echo(), text(64));
                each(move || drop(plugin.instance.execute(&text).expect("an answer")))
            }
            Work::WarmBytes(bytes) => {
                let mut plugin = self.plain.load(&self.guest(Shape::bytes(bytes))).expect("the guest loads");
                let text = text(bytes);
                check(plugin.instance.execute(&text).expect("an answer"), bytes);
                each(move || drop(plugin.instance.execute(&text).expect("an answer")))
            }
            // Its guests have their input in their own memory from the start.
            Work::WarmInPlace => return self.job(Work::WarmBytes(1 << 20)),
            Work::Load => {
                let loader = PluginLoader::new().expect("a loader");
                let wasm = self.guest(Shape::loaded());
                each(move || drop(loader.load(&wasm).expect("the guest loads")))
            }
            Work::FreshBytesRate(threads) => {
                let (plugin, text) = (self.echo(), text(64));
                on_threads(threads, move |share| {
                    for _ in 0..share {
                        plugin.instance.execute(&text).expect("an answer");
                    }
                })
            }
            Work::FreshNumbers | Work::WarmNumbers | Work::FreshNumbersRate(_) | Work::CachedLoad => {
                return None;
            }
        })
    }

    /// It has no timeout; its plain loader's fuel cannot be set.
    fn spin(&self, spin: Spin) -> String {
        let result = self.plain.load(&self.guest(Shape::spin(spin)));
        let error = match result {
            Ok(mut plugin) => plugin.instance.execute(&text(64)).expect_err("it loops for ever"),
            Err(error) => error,
        };
        // The reason of a trap is at the end of its causes.
        let mut cause: &dyn Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    }
}

/// One argument of this many bytes.
fn text(bytes: u32) -> [String; 1] {
    ["x".repeat(bytes as usize)]
}

fn check(answer: ExecuteResult, bytes: u32) {
    assert!(
        matches!(answer, ExecuteResult::Success(text) if text.len() == bytes as usize),
        "the echo is wrong"
    );
}
