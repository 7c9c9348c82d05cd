//! Sessions of plugins that keep state: their life, and what becomes of them when they crash.

use std::time::{Duration, Instant};

use airlock_host::manager::{CrashPolicy, Manager, PluginState};
use airlock_host::{CallOptions, Cancel};

use super::{ADD, COUNTER, awaited, invoke, one, told, unload, until, words};
use crate::support::{MODES, Mode, host, limits, source, text};

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
        awaited(mode).wait(managed.restart()).unwrap();
        assert_eq!(count().unwrap(), "1");
        awaited(mode).wait(managed.stop()).unwrap();
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
        let error = invoke("count").unwrap_err();
        assert_eq!(error.code(), "crashed");
        assert_eq!(
            error.to_string(),
            "`counter` has crashed and is not called until it is restarted: the plugin trapped while running: unreachable"
        );
    }
    futures_executor::block_on(managed.restart()).unwrap();
    assert_eq!(invoke("count").unwrap().value.to_json_text(), "1");

    let hour = Duration::from_secs(3600);
    managed.on_crash(CrashPolicy::BackOff { first: hour, longest: hour });
    invoke("trap").unwrap_err();
    assert_eq!(invoke("count").unwrap_err().code(), "crashed", "it rests");
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

/// Has something to be run at each end of its life.
const HOOKS: &str = r#"(module
    (global $n (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $n (i32.const 10)))
    (func (export "plugin_init") (global.set $n (i32.mul (global.get $n) (i32.const 2))))
    (func (export "plugin_destroy") (global.set $n (i32.const 7)))
    (func (export "_cleanup") (if (i32.ne (global.get $n) (i32.const 7)) (then unreachable))
        (unreachable))
    (func (export "count") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;

#[test]
fn a_plugin_is_initialised_before_its_first_call_and_cleans_up_after_its_last() {
    for mode in MODES {
        let manager = Manager::new(host());
        let options = text().abi(airlock_host::AbiId::Raw);
        let managed = manager.load_blocking("hooks", source(HOOKS), options).unwrap();
        assert_eq!(managed.plugin().functions(), ["count"], "what is run at its time is not called");
        assert_eq!(invoke(mode, &manager, "hooks", "count").unwrap(), "21", "both, once, in order");
        assert_eq!(invoke(mode, &manager, "hooks", "count").unwrap(), "22");
        let mut events = manager.events();
        awaited(mode).wait(managed.stop()).unwrap();
        // It fails after `plugin_destroy` has run, which shows that both have.
        let left = "hooks left: the plugin trapped while cleaning up: unreachable";
        assert_eq!(told(&mut events), [left, "hooks ready > stopped"], "{mode:?}");
        assert_eq!(invoke(mode, &manager, "hooks", "count").unwrap(), "21", "begun anew");
        let _ = told(&mut events);
        unload(mode, &manager, "hooks").unwrap();
        assert_eq!(told(&mut events), [left, "hooks unloaded"], "{mode:?}");
    }
}

#[test]
fn a_clean_up_that_never_ends_is_stopped_like_a_call_and_disturbs_nobody() {
    let spins = r#"(module (func (export "_cleanup") (loop (br 0)))
        (func (export "f") (result i32) i32.const 1))"#;
    for mode in MODES {
        let manager = Manager::new(host());
        manager.load_blocking("spins", source(spins), limits(&[("timeout", "100ms")])).unwrap();
        manager.load_blocking("other", source(ADD), text()).unwrap();
        assert_eq!(invoke(mode, &manager, "spins", "f").unwrap(), "1");
        let mut events = manager.events();
        std::thread::scope(|scope| {
            let unloading = scope.spawn(|| unload(mode, &manager, "spins").unwrap());
            until("unloading", || manager.list().len() == 1);
            manager.invoke_blocking("other", "answer", one()).unwrap();
            unloading.join().unwrap();
        });
        let told = told(&mut events);
        let left = "spins left: stopped while cleaning up: the deadline of 100ms passed".to_owned();
        assert!(told.contains(&left) && told.contains(&"spins unloaded".to_owned()), "{told:?}");
        assert_eq!(manager.host().memory_used(), 0);
    }
}

#[test]
fn a_session_that_cannot_be_started_says_why() {
    let traps =
        r#"(module (func (export "_initialize") unreachable) (func (export "f") (result i32) i32.const 1))"#;
    for mode in MODES {
        let manager = Manager::new(host());
        let managed = manager.load_blocking("traps", source(traps), text()).unwrap();
        let error = invoke(mode, &manager, "traps", "f").unwrap_err();
        assert_eq!(error.to_string(), "the plugin trapped while initialising: unreachable");
        assert_eq!(managed.state(), PluginState::Failed(error.to_string()), "{mode:?}");
        assert_eq!((managed.metrics().crashes, managed.metrics().failures.guest), (1, 1));
    }
}

#[test]
fn each_call_inside_a_session_has_limits_of_its_own() {
    for mode in MODES {
        let manager = Manager::new(host());
        // Enough for one call at a time, not for three together.
        let options = limits(&[("fuel", "30"), ("host_calls", "2")]);
        manager.load_blocking("counter", source(COUNTER), options).unwrap();
        for expected in ["1", "2", "3", "4"] {
            assert_eq!(invoke(mode, &manager, "counter", "count").unwrap(), expected, "{mode:?}");
        }
        let managed = manager.get("counter").unwrap();
        let short = CallOptions::new().timeout(Duration::from_millis(30));
        let spin = managed.invoke_blocking_with("spin", words(), &short).unwrap_err();
        assert!(["limit-fuel", "deadline"].contains(&spin.code()), "{spin}");
    }
}

#[test]
fn a_session_that_nobody_calls_is_stopped_and_begins_anew() {
    for mode in MODES {
        let manager = Manager::new(host());
        let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
        managed.stop_idle_after(Some(Duration::from_millis(40)));
        assert_eq!(managed.state(), PluginState::Created, "nothing to stop");
        let mut events = manager.events();
        let before = Instant::now();
        assert_eq!(invoke(mode, &manager, "counter", "count").unwrap(), "1");
        until("the stop", || managed.state() == PluginState::Stopped);
        assert!(before.elapsed() >= Duration::from_millis(30), "not before its time");
        assert_eq!(manager.host().memory_used(), 0, "its memory is given back");
        until("what is told of it", || {
            told(&mut events).ends_with(&["counter idle".to_owned(), "counter ready > stopped".to_owned()])
                || managed.metrics().calls > 1
        });
        assert_eq!(invoke(mode, &manager, "counter", "count").unwrap(), "1", "{mode:?}");
        // It is looked after again.
        until("the second stop", || managed.state() == PluginState::Stopped);
    }
}

#[test]
fn a_session_that_is_called_is_not_idle() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
    managed.stop_idle_after(Some(Duration::from_millis(500)));
    let started = Instant::now();
    let mut last = 0;
    while started.elapsed() < Duration::from_millis(900) {
        let count = managed.call_func_blocking::<(), i32>("count", ()).unwrap();
        assert_eq!(count, last + 1, "it goes on");
        last = count;
        std::thread::yield_now();
    }
}

#[test]
fn a_call_is_ended_by_its_handle_and_its_siblings_are_not() {
    for mode in MODES {
        let manager = Manager::new(host());
        let counter = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
        let adder = manager.load_blocking("adder", source(ADD), text()).unwrap();
        counter.on_crash(CrashPolicy::Fail);
        let cancel = Cancel::new();
        let options = CallOptions::new().cancel(&cancel);
        std::thread::scope(|scope| {
            let (counter, adder, options) = (&counter, &adder, &options);
            let spin = move |in_session: bool, input| {
                let managed = if in_session { counter } else { adder };
                match mode {
                    Mode::Blocking => managed.invoke_blocking_with("spin", input, options).unwrap_err(),
                    _ => mode.wait(managed.invoke_with("spin", input, options)).unwrap_err(),
                }
            };
            let cut = [scope.spawn(move || spin(true, words())), scope.spawn(move || spin(false, one()))];
            let other = Cancel::new();
            let ends_later = CallOptions::new().cancel(&other);
            let sibling =
                scope.spawn(move || adder.invoke_blocking_with("spin", one(), &ends_later).unwrap_err());
            until("the session's call", || counter.state() == PluginState::Running);
            let waiting = scope.spawn(move || counter.invoke_blocking("count", words()).unwrap());
            until("three calls", || manager.host().memory_used() >= 3 * 65_536);
            cancel.cancel();
            for call in cut {
                assert_eq!(call.join().unwrap().code(), "cancelled", "{mode:?}");
            }
            assert_eq!(waiting.join().unwrap().value.to_json_text(), "1", "it is no crash: begun afresh");
            assert!(!sibling.is_finished());
            other.cancel();
            assert_eq!(sibling.join().unwrap().code(), "cancelled");
        });
        assert_eq!((counter.metrics().crashes, adder.metrics().crashes), (0, 0));
    }
}

#[test]
fn a_crash_policy_is_for_plugins_that_keep_nothing_too() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("adder", source(ADD), limits(&[("timeout", "30ms")])).unwrap();
    let mut events = manager.events();
    managed
        .on_crash(CrashPolicy::BackOff { first: Duration::from_secs(60), longest: Duration::from_secs(90) });
    managed.invoke_blocking("spin", one()).unwrap_err();
    let error = managed.invoke_blocking("answer", one()).unwrap_err();
    assert_eq!(error.code(), "crashed");
    assert!(error.to_string().starts_with("`adder` has crashed and is not called for another "), "{error}");
    assert!(matches!(managed.state(), PluginState::Failed(_)));
    futures_executor::block_on(managed.restart()).unwrap();
    assert_eq!(managed.state(), PluginState::Ready);
    managed.invoke_blocking("answer", one()).unwrap();
    let told = told(&mut events);
    let changes: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|told| told.contains(" > ") || told.contains("rests"))
        .collect();
    let reason = "stopped while running: the deadline of 30ms passed";
    let failed = format!("adder ready > failed: {reason}");
    assert_eq!(
        changes,
        [failed.as_str(), "adder rests Some(60000) after 1", &format!("adder failed: {reason} > ready")]
    );
}

#[test]
fn the_time_of_a_back_off_doubles_up_to_its_longest_and_each_is_told() {
    for mode in MODES {
        let manager = Manager::new(host());
        let managed = manager.load_blocking("counter", source(COUNTER), text()).unwrap();
        let (first, longest) = (Duration::from_millis(4), Duration::from_millis(10));
        managed.on_crash(CrashPolicy::BackOff { first, longest });
        let mut events = manager.events();
        let mut of_crashes = Vec::new();
        let mut calls = |function: &str, code: &str| {
            until("the next start", || {
                let called = invoke(mode, &manager, "counter", function);
                let told = told(&mut events).into_iter();
                of_crashes.extend(told.filter(|told| told.contains("rests") || told.contains("restarted")));
                called.map_or_else(|error| error.code(), |_| "ok") == code
            });
        };
        (0..4).for_each(|_| calls("trap", "trap"));
        calls("count", "ok");
        calls("trap", "trap");
        let expected = [
            "counter rests Some(4) after 1",
            "counter restarted after 1",
            "counter rests Some(8) after 2",
            "counter restarted after 2",
            "counter rests Some(10) after 3",
            "counter restarted after 3",
            "counter rests Some(10) after 4",
            "counter restarted after 4",
            "counter rests Some(4) after 1",
        ];
        assert_eq!(of_crashes, expected, "{mode:?}");
        let metrics = managed.metrics();
        assert_eq!((metrics.crashes, metrics.restarts), (5, 4));
    }
}
