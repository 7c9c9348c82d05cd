//! The work through Extism: with its defaults, which bound nothing, or with a timeout and
//! a cap on memory when `bounded` is the first argument.

#![forbid(unsafe_code)]

use std::time::Duration;

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use peer_worker::guest::{self, Shape};
use peer_worker::{Job, Peer, Spin, TIMEOUT, Work, each, on_threads};

struct Extism {
    bounded: bool,
}

fn main() {
    let bounded = std::env::args().nth(1).is_some_and(|arg| arg == "bounded");
    peer_worker::serve(&Extism { bounded });
}

impl Extism {
    fn manifest(&self, wasm: Vec<u8>) -> Manifest {
        let manifest = Manifest::new([Wasm::data(wasm)]);
        if !self.bounded {
            return manifest;
        }
        // What Airlock's defaults are: 30 s, and 64 MiB in pages.
        manifest.with_timeout(Duration::from_secs(30)).with_memory_max(1024)
    }

    fn compile(&self, wasm: Vec<u8>) -> CompiledPlugin {
        compile(self.manifest(wasm))
    }
}

impl Peer for Extism {
    fn job(&self, work: Work) -> Option<Job> {
        Some(match work {
            Work::FreshBytes => {
                let (plugin, input) = (self.compile(guest::extism(Shape::bytes(64))), input(64));
                each(move || fresh(&plugin, &input))
            }
            Work::WarmBytes(bytes) => warm(self.compile(guest::extism(Shape::bytes(bytes))), input(bytes)),
            Work::WarmInPlace => warm(self.compile(guest::extism_in_place()), input(1 << 20)),
            Work::Load => {
                let manifest = self.manifest(guest::extism(Shape::loaded()));
                each(move || drop(compile(manifest.clone())))
            }
            Work::CachedLoad => {
                let folder = tempfile::tempdir().expect("a folder");
                // Beside the cache and not in it, where a stray file is swept away.
                let config = folder.path().join("cache.toml");
                let cache = folder.path().join("cache");
                std::fs::write(&config, format!("[cache]\ndirectory = '{}'\n", cache.display()))
                    .expect("room for a file");
                let manifest = self.manifest(guest::extism(Shape::loaded()));
                let load = move || {
                    // The folder goes when this does.
                    let config = folder.path().join("cache.toml");
                    let builder = PluginBuilder::new(manifest.clone()).with_cache_config(config);
                    drop(builder.compile().expect("the guest compiles"));
                };
                load();
                each(load)
            }
            Work::FreshBytesRate(threads) => {
                let (plugin, input) = (self.compile(guest::extism(Shape::bytes(64))), input(64));
                on_threads(threads, move |share| (0..share).for_each(|_| fresh(&plugin, &input)))
            }
            Work::FreshNumbers | Work::WarmNumbers | Work::FreshNumbersRate(_) => return None,
        })
    }

    fn spin(&self, spin: Spin) -> String {
        let mut manifest = self.manifest(guest::extism(Shape::spin(spin)));
        if self.bounded {
            manifest = manifest.with_timeout(TIMEOUT);
        }
        let mut plugin = Plugin::new_from_compiled(&compile(manifest)).expect("a plugin");
        plugin.call::<&[u8], &[u8]>("f", &input(64)).expect_err("it loops for ever").to_string()
    }
}

fn compile(manifest: Manifest) -> CompiledPlugin {
    PluginBuilder::new(manifest).with_cache_disabled().compile().expect("the guest compiles")
}

fn fresh(compiled: &CompiledPlugin, input: &[u8]) {
    let mut plugin = Plugin::new_from_compiled(compiled).expect("a plugin");
    let output = plugin.call::<&[u8], &[u8]>("f", input).expect("an answer");
    assert_eq!(output.len(), input.len(), "the echo is wrong");
}

fn warm(compiled: CompiledPlugin, input: Vec<u8>) -> Job {
    let mut plugin = Plugin::new_from_compiled(&compiled).expect("a plugin");
    assert_eq!(plugin.call::<&[u8], &[u8]>("f", &input).expect("an answer"), input, "the echo is wrong");
    each(move || assert!(plugin.call::<&[u8], &[u8]>("f", &input).is_ok(), "no answer"))
}

fn input(bytes: u32) -> Vec<u8> {
    b"x".repeat(bytes as usize)
}
