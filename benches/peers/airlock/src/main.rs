//! The work through Airlock, with its defaults: every limit on.

use airlock_host::{
    AbiId, Answer, Cache, CacheSettings, Host, Input, LimitKind, LoadOptions, Mapping, Origin, Plugin, Value,
};
use peer_worker::guest::{self, Shape};
use peer_worker::{Job, Peer, Spin, TIMEOUT, Work, each, on_threads};

struct Airlock(Host);

fn main() {
    peer_worker::serve(&Airlock(Host::new().expect("a host")));
}

impl Airlock {
    fn load(&self, wasm: Vec<u8>, options: LoadOptions) -> Plugin {
        self.0.load_blocking(wasm, options).expect("the guest loads")
    }

    fn echo(&self, bytes: u32) -> Plugin {
        self.load(guest::json(Shape::bytes(bytes)), json())
    }

    fn sum(&self) -> Plugin {
        self.load(guest::numbers(Shape::default()), LoadOptions::new().abi(AbiId::Raw))
    }
}

impl Peer for Airlock {
    fn job(&self, work: Work) -> Option<Job> {
        Some(match work {
            Work::FreshBytes => {
                let (plugin, text) = (self.echo(64), text(64));
                check_echo(&plugin, &text);
                each(move || drop(plugin.invoke_blocking("f", Input::Json(text.clone())).expect("an answer")))
            }
            Work::FreshNumbers => {
                let plugin = self.sum();
                check_sum(&plugin);
                each(move || drop(plugin.invoke_blocking("add", two()).expect("an answer")))
            }
            Work::WarmBytes(bytes) => {
                let (plugin, text) = (self.echo(bytes), text(bytes));
                check_echo(&plugin, &text);
                let mut session = plugin.session_blocking().expect("a session");
                each(move || {
                    drop(session.invoke_blocking("f", Input::Json(text.clone())).expect("an answer"))
                })
            }
            // Its guests have their input in their own memory from the start.
            Work::WarmInPlace => return self.job(Work::WarmBytes(1 << 20)),
            Work::WarmNumbers => {
                let plugin = self.sum();
                check_sum(&plugin);
                let mut session = plugin.session_blocking().expect("a session");
                each(move || {
                    let sum = session.call_func_blocking::<(i32, i32), i32>("add", (1, 2));
                    std::hint::black_box(sum.expect("an answer"));
                })
            }
            Work::Load => {
                let (host, wasm) = (self.0.clone(), guest::json(Shape::loaded()));
                each(move || drop(host.load_blocking(wasm.as_slice(), json()).expect("the guest loads")))
            }
            Work::CachedLoad => {
                let folder = tempfile::tempdir().expect("a folder");
                let settings = CacheSettings {
                    folder: folder.path().join("code"),
                    key_file: folder.path().join("cache.key"),
                    maximum_bytes: 1 << 30,
                    mapping: Mapping::Shared,
                };
                let cache = Cache::open(settings).expect("a cache");
                let host = Host::builder().cache(cache).memory_cache(0).build();
                let (host, wasm) = (host.expect("a host"), guest::json(Shape::loaded()));
                host.load_blocking(wasm.as_slice(), json()).expect("the guest compiles");
                each(move || {
                    let plugin = host.load_blocking(wasm.as_slice(), json()).expect("the guest loads");
                    assert_eq!(plugin.code_origin(), Origin::Cache, "in {}", folder.path().display());
                })
            }
            Work::FreshBytesRate(threads) => {
                let (plugin, text) = (self.echo(64), text(64));
                on_threads(threads, move |share| {
                    for _ in 0..share {
                        plugin.invoke_blocking("f", Input::Json(text.clone())).expect("an answer");
                    }
                })
            }
            Work::FreshNumbersRate(threads) => {
                let plugin = self.sum();
                on_threads(threads, move |share| {
                    for _ in 0..share {
                        plugin.invoke_blocking("add", two()).expect("an answer");
                    }
                })
            }
        })
    }

    fn spin(&self, spin: Spin) -> String {
        let nanos = u64::try_from(TIMEOUT.as_nanos()).expect("it is short");
        let plugin = self.load(guest::json(Shape::spin(spin)), json().limit(LimitKind::Timeout, nanos));
        plugin.invoke_blocking("f", Input::Json(text(64))).expect_err("it loops for ever").to_string()
    }
}

fn json() -> LoadOptions {
    LoadOptions::new().abi(AbiId::Json)
}

/// A JSON string of this many bytes.
fn text(bytes: u32) -> String {
    format!("\"{}\"", "x".repeat(bytes as usize - 2))
}

fn two() -> Input {
    Input::Values(vec![Value::I32(1), Value::I32(2)])
}

fn check_echo(plugin: &Plugin, text: &str) {
    let answer = plugin.invoke_blocking("f", Input::Json(text.to_owned())).expect("an answer");
    assert!(matches!(answer.value, Answer::Json(raw) if raw.get() == text), "the echo is wrong");
}

fn check_sum(plugin: &Plugin) {
    let answer = plugin.invoke_blocking("add", two()).expect("an answer");
    assert!(matches!(answer.value, Answer::Values(sum) if sum == [Value::I32(3)]), "the sum is wrong");
}
