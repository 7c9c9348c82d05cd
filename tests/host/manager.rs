//! Many plugins by their names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant, SystemTime};

use airlock_host::manager::{CrashPolicy, Happened, Manager, Notice, PluginEvents, PluginState};
use airlock_host::{AbiId, Input, LoadOptions, Outcome};

use crate::support::{MODES, Mode, host, limits, source, survives, text};

/// Keeps a number between calls, as `raw` plugins do.
const COUNTER: &str = r#"(module (memory (export "memory") 1)
    (global $n (mut i32) (i32.const 0))
    (func (export "count") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
    (func (export "trap") unreachable)
    (func (export "spin") (loop $again (br $again))))"#;

const ADD: &str = r#"(module (memory (export "memory") 1)
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (data (i32.const 16) "42")
    (func (export "answer") (param i32 i32) (result i32) (i32.const 16))
    (func (export "spin") (param i32 i32) (result i32) (loop $again (br $again)) unreachable))"#;

fn words() -> Input {
    Input::Words(Vec::new())
}

fn invoke(mode: Mode, manager: &Manager, name: &str, function: &str) -> Result<String, airlock_host::Error> {
    let outcome: Result<Outcome<_>, _> = match mode {
        Mode::Blocking => manager.invoke_blocking(name, function, words()),
        _ => mode.wait(manager.invoke(name, function, words())),
    };
    outcome.map(|outcome| outcome.value.to_json_text())
}

fn names(manager: &Manager) -> Vec<String> {
    manager.list().iter().map(ToString::to_string).collect()
}

/// What happened so far, of the plugins by name.
fn told(events: &mut PluginEvents) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .map(|notice| match notice {
            Notice::Event(event) => match event.what {
                Happened::Executed { function, outcome, .. } => {
                    format!("{} {function} {outcome}", event.plugin)
                }
                Happened::StateChanged { from, to } => format!("{} {from} > {to}", event.plugin),
                Happened::Loaded { .. } => format!("{} loaded", event.plugin),
                Happened::Initialised => format!("{} initialised", event.plugin),
                Happened::Trapped { function, reason } => {
                    format!("{} {function} trapped: {reason}", event.plugin)
                }
                Happened::LimitHit { function, limit } => format!("{} {function} hit {limit}", event.plugin),
                Happened::Unloaded => format!("{} unloaded", event.plugin),
                other => format!("{other:?}"),
            },
            Notice::Missed(count) => format!("missed {count}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn of_racing_loads_of_one_name_exactly_one_wins() {
    let manager = Manager::new(host());
    for round in 0..20 {
        let (start, won) = (Barrier::new(8), AtomicUsize::new(0));
        let name = format!("one {round}");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    match manager.load_blocking(&name, source(COUNTER), text()) {
                        Ok(_) => {
                            won.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(
                            (error.code(), error.to_string()),
                            ("name-taken", format!("a plugin is loaded as `{name}` already"))
                        ),
                    }
                });
            }
        });
        assert_eq!(won.load(Ordering::SeqCst), 1);
    }
    assert_eq!(manager.list().len(), 20);
    assert_eq!(manager.unload_all(), 20);
    assert_eq!(manager.list().len(), 0);
}

#[test]
fn a_load_that_fails_gives_its_name_back() {
    let manager = Manager::new(host());
    let error = manager.load_blocking("one", b"no wasm".as_slice(), LoadOptions::new()).unwrap_err();
    assert_eq!(error.code(), "not-wasm");
    // Also one that is given up while it runs.
    futures_executor::block_on(async {
        let mut load = Box::pin(manager.load("one", source(COUNTER), text()));
        let poll = std::future::poll_fn(|context| std::task::Poll::Ready(load.as_mut().poll(context))).await;
        drop(poll);
    });
    manager.load_blocking("one", source(COUNTER), text()).unwrap();
}

#[test]
fn an_unknown_name_is_an_error_with_what_is_near() {
    let manager = Manager::new(host());
    manager.load_blocking("weather", source(ADD), text()).unwrap();
    for error in [
        manager.get("wether").unwrap_err(),
        manager.unload("wether").unwrap_err(),
        manager.info("wether").unwrap_err(),
        manager.invoke_blocking("wether", "f", words()).unwrap_err(),
    ] {
        assert_eq!((error.code(), error.exit_code()), ("not-loaded", 127));
        assert_eq!(error.to_string(), "no plugin is loaded as `wether`");
        assert_eq!(error.hint(), Some("did you mean `weather`?"));
    }
}

#[test]
fn plugins_are_listed_and_looked_up_by_what_they_are() {
    let manager = Manager::new(host());
    let before = SystemTime::now();
    for name in ["c", "a", "b"] {
        manager.load_blocking(name, source(if name == "b" { COUNTER } else { ADD }), text()).unwrap();
    }
    let after = SystemTime::now();
    assert_eq!(names(&manager), ["a", "b", "c"]);
    let by_abi = |abi| manager.with_abi(abi).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (by_abi(AbiId::Raw), by_abi(AbiId::Json)),
        (vec!["b".to_owned()], vec!["a".into(), "c".into()])
    );
    let millis = |time: SystemTime| {
        u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    };
    let info = manager.info("a").unwrap();
    assert!(
        (millis(before)..=millis(after)).contains(&info.loaded_at) && info.last_call.is_none(),
        "{info:?}"
    );
    manager.invoke_blocking("a", "answer", Input::Words(vec!["1".to_owned()])).unwrap();
    let called = manager.info("a").unwrap();
    assert_eq!(called.loaded_at, info.loaded_at, "it is when it was loaded and not when it is asked");
    assert!(called.last_call.is_some_and(|at| at >= info.loaded_at));
}

#[test]
fn what_may_be_used_is_looked_up_in_what_is_in_force() {
    let manager = Manager::new(host());
    let clock: airlock_host::Capability = "clock".parse().unwrap();
    let asks = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (memory (export "memory") 1) (func (export "f") (result i32) i32.const 1))"#;
    manager.load_blocking("with", source(asks), text().allow(clock.clone())).unwrap();
    manager.load_blocking("without", source(asks), text()).unwrap();
    assert_eq!(manager.with_capability(&clock), ["with".into()]);
}

#[test]
fn unloading_waits_for_nobody_and_ends_what_spins() {
    let host = host();
    let manager = Manager::new(host.clone());
    for mode in MODES {
        manager.load_blocking("spinning", source(ADD), text()).unwrap();
        manager.load_blocking("other", source(ADD), text()).unwrap();
        let kept = manager.get("spinning").unwrap();
        std::thread::scope(|scope| {
            let spinning = scope.spawn(|| {
                let call = |function: &'static str| {
                    let input = Input::Words(vec!["1".to_owned()]);
                    match mode {
                        Mode::Blocking => kept.invoke_blocking(function, input),
                        _ => mode.wait(kept.invoke(function, input)),
                    }
                };
                (call("spin").unwrap_err(), call("answer").unwrap_err())
            });
            while host.memory_used() == 0 {
                std::thread::yield_now();
            }
            // While it spins, others are listed and called.
            assert_eq!(names(&manager), ["other", "spinning"]);
            let input = Input::Words(vec!["1".to_owned()]);
            assert_eq!(manager.invoke_blocking("other", "answer", input).unwrap().value.to_json_text(), "42");
            manager.unload("spinning").unwrap();
            assert_eq!(names(&manager), ["other"], "it is gone at once");
            let (running, later) = spinning.join().unwrap();
            assert_eq!((running.code(), later.code()), ("cancelled", "not-loaded"), "{mode:?}");
        });
        assert_eq!(host.memory_used(), 0, "memory is given back");
        manager.unload("other").unwrap();
    }
    survives(&host);
}

#[test]
fn two_plugins_one_command_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let manifest = format!(
            r#"{{"name":"{name}","version":"1.0.0","entryPoint":"p.wasm","cliCommands":[{{"name":"greet"}}]}}"#
        );
        std::fs::write(path.join("cortex.json"), manifest).unwrap();
        std::fs::write(path.join("p.wasm"), wat::parse_str(ADD).unwrap()).unwrap();
        path
    };
    let (one, two) = (put("one"), put("two"));
    let manager = Manager::new(host());
    manager.load_blocking("first", one.as_path(), LoadOptions::new()).unwrap();
    let error = manager.load_blocking("second", two.as_path(), LoadOptions::new()).unwrap_err();
    assert_eq!(error.code(), "command-taken");
    assert!(error.to_string().contains("first") && error.to_string().contains("second"), "{error}");
    assert_eq!(manager.command("greet").unwrap().name().as_ref(), "first");
    assert_eq!(manager.info("first").unwrap().commands, ["greet"]);
    manager.unload("first").unwrap();
    assert_eq!(manager.command("greet").unwrap_err().code(), "not-loaded");
    manager.load_blocking("second", two.as_path(), LoadOptions::new()).unwrap();
    assert_eq!(manager.command("greet").unwrap().name().as_ref(), "second");

    let found = manager.discover([folder.path(), "/nowhere/at/all".as_ref()]);
    let plugins: Vec<&str> = found.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(
        (plugins, found.plugins[0].commands.as_slice()),
        (vec!["one", "two"], &["greet".to_owned()][..])
    );
    assert_eq!(found.failures.len(), 1, "{:?}", found.failures);
}

#[test]
fn discovery_lists_what_it_cannot_read_and_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.wasm"), wat::parse_str(ADD).unwrap()).unwrap();
    std::fs::write(folder.path().join("a.wasm"), "no wasm").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "text").unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let found = Manager::new(host()).discover([folder.path()]);
    assert_eq!(found.plugins.len(), 1);
    assert_eq!((found.plugins[0].name.as_str(), found.plugins[0].version.clone()), ("b", None));
    let [(path, error)] = found.failures.as_slice() else { panic!("{:?}", found.failures) };
    assert!(path.ends_with("a.wasm") && error.code() == "not-wasm", "{error}");
}

#[test]
fn calls_are_counted_and_told_and_calls_are_all_of_them() {
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = || limits(&[("timeout", "60ms")]);
    let managed = manager.load_blocking("adder", source(ADD), options()).unwrap();
    let one = || Input::Words(vec!["1".to_owned()]);
    managed.invoke_blocking("answer", one()).unwrap();
    managed.invoke_blocking("spin", one()).unwrap_err();
    managed.invoke_blocking("nothing", one()).unwrap_err();
    manager.unload("adder").unwrap();
    let metrics = managed.metrics();
    assert_eq!((metrics.calls, metrics.successes), (3, 1));
    assert_eq!((metrics.failures.guest, metrics.failures.operator, metrics.limited), (1, 1, 1));
    assert_eq!((metrics.input_bytes, metrics.peak_memory_bytes), (1, 65_536));
    assert!(metrics.latency.maximum_ns >= 60_000_000 && metrics.latency.minimum_ns < 60_000_000);
    assert_eq!(manager.metrics().calls, 3, "also what is unloaded");
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!((&json["calls"], &json["failures"]["guest"]), (&3.into(), &1.into()));
    assert_eq!(
        told(&mut events),
        [
            "adder loaded",
            "adder answer ok",
            "adder spin hit timeout",
            "adder spin deadline",
            "adder nothing unknown-function",
            "adder unloaded"
        ]
    );
}

#[test]
fn a_slow_listener_is_told_how_many_it_missed() {
    let manager = Manager::new(host());
    let mut events = manager.events();
    let managed = manager.load_blocking("adder", source(ADD), text()).unwrap();
    for _ in 0..1100 {
        managed.invoke_blocking("answer", Input::Words(vec!["1".to_owned()])).unwrap();
    }
    let told = told(&mut events);
    assert_eq!((told.len(), told[0].as_str(), told[1].as_str()), (1025, "missed 77", "adder answer ok"));
}

#[test]
fn what_keeps_state_lives_in_a_session_and_begins_afresh_after_a_failure() {
    for mode in MODES {
        let manager = Manager::new(host());
        let mut events = manager.events();
        let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
        assert_eq!(managed.state(), PluginState::Created);
        let count = || invoke(mode, &manager, "counter", "count");
        assert_eq!([count().unwrap(), count().unwrap()], ["1", "2"], "{mode:?}");
        assert_eq!(managed.state(), PluginState::Ready);
        assert_eq!(invoke(mode, &manager, "counter", "trap").unwrap_err().code(), "trap");
        assert!(matches!(managed.state(), PluginState::Failed(reason) if reason.contains("unreachable")));
        assert_eq!(count().unwrap(), "1", "it begins afresh");
        assert_eq!(managed.metrics().restarts, 1);
        let wait = |mode: Mode| if mode == Mode::Blocking { Mode::NoRuntime } else { mode };
        wait(mode).wait(managed.restart()).unwrap();
        assert_eq!(count().unwrap(), "1");
        wait(mode).wait(managed.stop()).unwrap();
        assert_eq!(managed.state(), PluginState::Stopped);
        let told = told(&mut events);
        let expected = [
            "counter loaded",
            "counter initialised",
            "counter created > running",
            "counter running > ready",
            "counter count ok",
        ];
        assert_eq!(told[..5], expected, "{mode:?}");
        assert!(told.contains(&"counter ready > stopped".to_owned()), "{told:?}");
    }
}

#[test]
fn a_crash_policy_says_what_becomes_of_the_next_call() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
    let invoke = |function| managed.invoke_blocking(function, words());
    managed.on_crash(CrashPolicy::Fail);
    invoke("trap").unwrap_err();
    for _ in 0..2 {
        assert_eq!(invoke("count").unwrap_err().code(), "session-ended");
    }
    futures_executor::block_on(managed.restart()).unwrap();
    assert_eq!(invoke("count").unwrap().value.to_json_text(), "1");

    let hour = Duration::from_secs(3600);
    managed.on_crash(CrashPolicy::BackOff { first: hour, longest: hour });
    invoke("trap").unwrap_err();
    assert_eq!(invoke("count").unwrap_err().code(), "session-ended", "it rests");
    managed.on_crash(CrashPolicy::BackOff { first: Duration::from_millis(20), longest: hour });
    futures_executor::block_on(managed.restart()).unwrap();
    invoke("trap").unwrap_err();
    let failed = Instant::now();
    while invoke("count").is_err() {
        assert!(failed.elapsed() < Duration::from_secs(10));
    }
    assert!(failed.elapsed() >= Duration::from_millis(20));
}

#[test]
fn calls_of_a_session_come_one_after_another_and_wait_no_longer_than_they_may() {
    let manager = Manager::new(host());
    let options = limits(&[("timeout", "300ms"), ("wait", "50ms")]);
    let managed = manager.load_blocking("counter", source(COUNTER), options).unwrap();
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| managed.invoke_blocking("spin", words()).unwrap_err());
        while managed.state() != PluginState::Running {
            std::thread::yield_now();
        }
        let error = managed.invoke_blocking("count", words()).unwrap_err();
        assert_eq!(error.to_string(), "limit `wait` of 50ms hit while waiting for a slot");
        assert_eq!(spinning.join().unwrap().code(), "deadline");
    });
    let many = Manager::new(host());
    let managed = many.load_blocking("counter", source(COUNTER), text()).unwrap();
    let managed = Arc::new(managed);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    managed.invoke_blocking("count", words()).unwrap();
                }
            });
        }
    });
    assert_eq!(managed.invoke_blocking("count", words()).unwrap().value.to_json_text(), "401");
}

#[test]
fn a_call_that_is_given_up_takes_its_session_with_it() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
    assert_eq!(managed.invoke_blocking("count", words()).unwrap().value.to_json_text(), "1");
    Mode::MultiThread.wait(async {
        let call = managed.invoke("spin", words());
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    });
    assert!(matches!(managed.state(), PluginState::Failed(_)));
    assert_eq!(managed.invoke_blocking("count", words()).unwrap().value.to_json_text(), "1", "afresh");
}

#[test]
fn calls_in_flight_finish_on_what_they_were_begun_with_and_later_ones_are_of_the_new() {
    let host = host();
    let manager = Manager::new(host.clone());
    let plugin = |answer: &str| {
        host.load_blocking(source(&ADD.replace("\"42\"", &format!("\"{answer}\""))), text()).unwrap()
    };
    let one = || Input::Words(vec!["1".to_owned()]);
    let answer =
        |manager: &Manager| manager.invoke_blocking("p", "answer", one()).unwrap().value.to_json_text();
    let managed = manager.insert("p", plugin("42")).unwrap();
    let old = managed.plugin().digest();
    let mut events = manager.events();
    std::thread::scope(|scope| {
        let (cancel, host) = (airlock_host::Cancel::new(), &host);
        let options = airlock_host::CallOptions::new().cancel(&cancel);
        let managed = &managed;
        let spinning = scope.spawn(move || {
            futures_executor::block_on(managed.invoke_with("spin", one(), &options)).unwrap_err()
        });
        while host.memory_used() == 0 {
            std::thread::yield_now();
        }
        futures_executor::block_on(manager.replace("p", plugin("43"), async |new: &airlock_host::Plugin| {
            let healthy = new.invoke("answer", one()).await?;
            assert_eq!(healthy.value.to_json_text(), "43");
            Ok(())
        }))
        .unwrap();
        assert_eq!(answer(&manager), "43");
        assert!(!spinning.is_finished(), "it goes on");
        cancel.cancel();
        assert_eq!(spinning.join().unwrap().code(), "cancelled");
    });
    assert_ne!(managed.plugin().digest(), old);

    let unwell = async |_: &airlock_host::Plugin| Err(airlock_host::Error::host("it is not well"));
    let error = futures_executor::block_on(manager.replace("p", plugin("44"), unwell)).unwrap_err();
    assert_eq!((error.code(), answer(&manager).as_str()), ("host", "43"), "the old one stays");
    manager.roll_back("p").unwrap();
    assert_eq!(answer(&manager), "42");
    manager.roll_back("p").unwrap();
    assert_eq!(answer(&manager), "43");
    let told = told(&mut events);
    let reloads: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|told| told.starts_with("Reload"))
        .map(|told| told.split(' ').next().unwrap())
        .collect();
    assert_eq!(reloads, ["Reloaded", "ReloadFailed", "Reloaded", "Reloaded"]);
    assert_eq!(managed.metrics().calls, 5, "of all bytes together");
    let nothing = manager.insert("q", plugin("1")).map(|_| manager.roll_back("q").unwrap_err()).unwrap();
    assert_eq!(nothing.code(), "invalid-setting");
}
