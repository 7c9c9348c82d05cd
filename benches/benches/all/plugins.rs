//! Many plugins under one manager: what it costs their calls, and what they cost.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use airlock_bench::{Clock, Contender, Figure, Report, Target};
use airlock_host::manager::{Happened, Manager, Notice, ReloadStrategy, WatchOptions};
use airlock_host::{Cache, CacheSettings, Host, Input, LimitKind, LoadOptions, Mapping, Plugin, Source};
use tokio::runtime::Runtime;

use crate::guests::{ADD, ECHO, load};
use crate::memory::{resident, resident_now};

/// How long one measurement of a rate lasts; the median of several is taken.
const LENGTH: Duration = Duration::from_millis(400);
const ROUNDS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let host = Host::new().unwrap();
    warm(report, &host, &runtime);
    fresh(report, &host);
    rates(report, &host);
    thousand(report);
    reload(report);
}

fn warm(report: &mut Report, host: &Host, runtime: &Runtime) {
    let plugin = load(host, ADD);
    let (manager, mut session) = (Manager::new(host.clone()), plugin.session_blocking().unwrap());
    let managed = manager.insert("add", &plugin).unwrap();
    let heard = Manager::new(host.clone());
    let listened = heard.insert("add", &plugin).unwrap();
    let _events = heard.events();
    let numbers = (1, 2);
    report.compare(
        "warm call of two numbers, by name",
        Clock::Thread,
        vec![
            Contender::new("airlock, the plugin's own session", || {
                session.call_func_blocking::<(i32, i32), i32>("add", numbers).unwrap();
            }),
            Contender::new("managed, by reference", || {
                managed.call_func_blocking::<(i32, i32), i32>("add", numbers).unwrap();
            })
            .target(Target::OverFloor(100.0)),
            Contender::new("managed, by the plugin's name", || {
                manager.call_func_blocking::<(i32, i32), i32>("add", "add", numbers).unwrap();
            })
            .target(Target::OverFloor(100.0)),
            Contender::new("the same with a listener", || {
                listened.call_func_blocking::<(i32, i32), i32>("add", numbers).unwrap();
            }),
        ],
    );
    let mut session = plugin.session_blocking().unwrap();
    report.compare(
        "the same, awaited",
        Clock::Thread,
        vec![
            Contender::batched("airlock, the plugin's own session", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        session.call_func::<(i32, i32), i32>("add", numbers).await.unwrap();
                    }
                });
            }),
            Contender::batched("managed, by reference", |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        managed.call_func::<(i32, i32), i32>("add", numbers).await.unwrap();
                    }
                });
            })
            .target(Target::OverFloor(100.0)),
        ],
    );
}

fn fresh(report: &mut Report, host: &Host) {
    let (plugin, text) = (load(host, ECHO), format!("\"{}\"", "x".repeat(62)));
    let manager = Manager::new(host.clone());
    let managed = manager.insert("echo", &plugin).unwrap();
    report.compare(
        "fresh instance, 64 B of JSON in and out, managed",
        Clock::Thread,
        vec![
            Contender::new("airlock, the plugin", || {
                plugin.invoke_blocking("f", Input::Json(text.clone())).unwrap();
            }),
            Contender::new("managed, by reference", || {
                managed.invoke_blocking("f", Input::Json(text.clone())).unwrap();
            })
            .target(Target::OverFloor(100.0)),
            Contender::new("managed, by the plugin's name", || {
                manager.invoke_blocking("echo", "f", Input::Json(text.clone())).unwrap();
            })
            .target(Target::OverFloor(100.0)),
        ],
    );
}

/// Warm calls a second, on one thread and on two, of a plugin for each.
fn rates(report: &mut Report, host: &Host) {
    let (plugin, manager) = (load(host, ADD), Manager::new(host.clone()));
    for name in ["one", "two"] {
        manager.insert(name, &plugin).unwrap();
    }
    let rate = |names: &[&str]| {
        let barrier = Barrier::new(names.len());
        let call = |name: &str| {
            manager.call_func_blocking::<(i32, i32), i32>(name, "add", (1, 2)).unwrap();
        };
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| {
                    let (barrier, call) = (&barrier, &call);
                    scope.spawn(move || {
                        barrier.wait();
                        let (start, mut count) = (Instant::now(), 0_u64);
                        while start.elapsed() < LENGTH {
                            (0..1000).for_each(|_| call(name));
                            count += 1000;
                        }
                        count
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        counts as f64 / LENGTH.as_secs_f64()
    };
    let (mut one, mut two, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, both) = (rate(&["one"]), rate(&["one", "two"]));
        one.push(alone);
        two.push(both);
        ratios.push(both / alone);
    }
    let figure = |who: &str, mut sample: Vec<f64>, unit, target| {
        sample.sort_by(f64::total_cmp);
        Figure { who: who.to_owned(), value: sample[ROUNDS / 2], unit, target }
    };
    report.figures(
        "warm managed calls a second, by name",
        &[
            figure("one plugin, one thread", one, "/s", Some(Target::AtLeast(3e6))),
            figure("two plugins, two threads", two, "/s", None),
        ],
    );
    report.figures(
        "two plugins on two threads to one on one",
        &[figure("airlock", ratios, "x", Some(Target::AtLeast(1.9)))],
    );
}

/// A thousand plugins of the same bytes.
fn thousand(report: &mut Report) {
    let (host, wasm) = (Host::new().unwrap(), wat::parse_str(ECHO).unwrap());
    let manager = Manager::new(host);
    let names: Vec<String> = (0..1000).map(|index| format!("plugin{index}")).collect();
    let text = "\"hello\"";
    let load = |name: &str| {
        let managed = manager.load_blocking(name, Source::from(wasm.as_slice()), LoadOptions::new()).unwrap();
        managed.invoke_blocking("f", Input::Json(text.to_owned())).unwrap();
    };
    report.compare(
        "1000 plugins of the same bytes, wall time",
        Clock::Wall,
        vec![
            Contender::new("loaded, called and unloaded, one by one", || {
                for name in &names {
                    load(name);
                    manager.unload_blocking(name).unwrap();
                }
            })
            .target(Target::Nanos(20e6)),
            Contender::new("all loaded and called, then all unloaded", || {
                names.iter().for_each(|name| load(name));
                assert_eq!(manager.unload_all_blocking(), names.len());
            })
            .target(Target::Nanos(20e6)),
        ],
    );
    for (what, name) in [("managed", "kept in a session"), ("managed-fresh", "called afresh")] {
        let few = resident(what, 10);
        let each = (resident(what, 1010) - few) / 1000.0 / 1024.0;
        let target = Some(Target::AtMost(16.0));
        report.figures(
            &format!("memory of a resident plugin after a call, 1000 of the same bytes, {name}"),
            &[Figure { who: "airlock, each".to_owned(), value: each, unit: "KiB", target }],
        );
    }
    let grown = resident("unloaded", 1000) / 1024.0;
    report.figures(
        "memory that a process grew by, loading, calling and unloading 1000 plugins twice more",
        &[Figure {
            who: "airlock, in all".to_owned(),
            value: grown,
            unit: "KiB",
            target: Some(Target::AtMost(1024.0)),
        }],
    );
}

/// Makes so many plugins that live in sessions, and calls each.
pub(crate) fn managed(host: &Host, count: usize, wat: &str) -> Manager {
    let manager = Manager::new(host.clone());
    let wasm = wat::parse_str(wat).unwrap();
    for index in 0..count {
        let options = LoadOptions::new().limit(LimitKind::Instances, 100_000);
        let managed = manager.load_blocking(&format!("p{index}"), wasm.as_slice(), options).unwrap();
        match managed.plugin().keeps_state() {
            true => managed.call_func_blocking::<(), ()>("f", ()).unwrap(),
            false => {
                managed.invoke_blocking("f", Input::Json("1".to_owned())).unwrap();
            }
        }
    }
    manager
}

/// What is still there of so many that came and went twice, beyond what they left the first time:
/// the allocator keeps what it was given back, for those to come.
pub(crate) fn unloaded(host: &Host, count: usize, wat: &str) -> u64 {
    let round = || {
        let manager = managed(host, count, wat);
        assert_eq!(manager.unload_all_blocking(), count);
        resident_now()
    };
    let first = round();
    round();
    round().saturating_sub(first)
}

/// How long after a write was over a cached plugin is another.
fn reload(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(CacheSettings {
        folder: folder.path().join("code"),
        key_file: folder.path().join("cache.key"),
        maximum_bytes: 1 << 30,
        mapping: Mapping::Shared,
    });
    // In memory it would be there before it is asked for.
    let host = Host::builder().cache(cache.unwrap()).memory_cache(0).build().unwrap();
    let builds: Vec<Vec<u8>> = (0..2)
        .map(|number| wat::parse_str(ECHO.replace("1024", &(1024 + number).to_string())).unwrap())
        .collect();
    let compiled: Vec<Plugin> =
        builds.iter().map(|wasm| host.load_blocking(wasm.as_slice(), LoadOptions::new()).unwrap()).collect();
    drop(compiled);
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let path: &Path = &plugins.join("p.wasm");
    std::fs::write(path, &builds[0]).unwrap();
    let manager = Manager::new(host);
    let debounce = Duration::from_millis(50);
    let options = WatchOptions::new().strategy(ReloadStrategy::Debounced(debounce));
    let _watch = manager.watch_blocking([&plugins], options).unwrap();
    let mut events = manager.events();
    let mut times: Vec<f64> = (1..=ROUNDS * 3)
        .map(|round| {
            let beside = folder.path().join("new.wasm");
            std::fs::write(&beside, &builds[round % 2]).unwrap();
            std::fs::rename(&beside, path).unwrap();
            let written = Instant::now();
            loop {
                match events.try_next() {
                    Some(Notice::Event(event)) if matches!(event.what, Happened::Reloaded { .. }) => break,
                    Some(_) => {}
                    None => std::thread::yield_now(),
                }
            }
            written.elapsed().saturating_sub(debounce).as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let figure = |who: &str, value, target| Figure { who: who.to_owned(), value, unit: "ms", target };
    report.figures(
        "reload of a cached plugin, after its debounce of 50 ms",
        &[
            figure("airlock, median", times[times.len() / 2], Some(Target::AtMost(50.0))),
            figure("airlock, worst", times[times.len() - 1], None),
        ],
    );
}
