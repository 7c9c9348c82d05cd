//! What is counted, and what listeners are told.

use airlock_host::manager::{Happened, Manager, Notice, Snapshot};
use airlock_host::{Capability, Host};

use super::{ADD, COUNTER, one, told, until, words};
use crate::support::{MODES, Mode, host, limits, source, text};

#[test]
fn calls_are_counted_and_told_and_calls_are_all_of_them() {
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = || limits(&[("timeout", "60ms")]);
    let managed = manager.load_blocking("adder", source(ADD), options()).unwrap();
    managed.invoke_blocking("answer", one()).unwrap();
    managed.invoke_blocking("spin", one()).unwrap_err();
    managed.invoke_blocking("nothing", one()).unwrap_err();
    manager.unload_blocking("adder").unwrap();
    let metrics = managed.metrics();
    assert_eq!((metrics.calls, metrics.successes), (3, 1));
    assert_eq!((metrics.failures.guest, metrics.failures.operator, metrics.limited), (1, 1, 1));
    // Calls that failed are accounted for like the one that did not.
    assert_eq!((metrics.input_bytes, metrics.peak_memory_bytes, metrics.crashes), (3, 65_536, 1));
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
        managed.invoke_blocking("answer", one()).unwrap();
    }
    let told = told(&mut events);
    assert_eq!((told.len(), told[0].as_str(), told[1].as_str()), (1025, "missed 77", "adder answer ok"));
}

/// Asks for the time and goes on whatever it is told.
const ASKS: &str = r#"(module
    (import "env" "host_set_state" (func $set (param i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "42")
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (func (export "answer") (param i32 i32) (result i32)
        (call $set (i32.const 16) (i32.const 1) (i32.const 16) (i32.const 2))
        (call $set (i32.const 16) (i32.const 1) (i32.const 16) (i32.const 2))
        (i32.const 16)))"#;

#[test]
fn what_is_denied_to_a_call_that_goes_on_is_counted_and_told() {
    for mode in MODES {
        let manager = Manager::new(host());
        let managed = manager.load_blocking("asks", source(ASKS), text()).unwrap();
        let mut events = manager.events();
        match mode {
            Mode::Blocking => managed.invoke_blocking("answer", one()).unwrap(),
            _ => mode.wait(managed.invoke("answer", one())).unwrap(),
        };
        let metrics = managed.metrics();
        assert_eq!((metrics.successes, metrics.denied, metrics.host_calls), (1, 2, 2), "{mode:?}");
        assert_eq!(told(&mut events), ["asks denied kv=1MiB 2 times", "asks answer ok"]);
        let kv: Capability = "kv".parse().unwrap();
        assert!(!managed.plugin().policy().allows(&kv));
    }
}

#[test]
fn a_listener_that_is_gone_costs_nothing_and_one_that_comes_hears_what_comes_after() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("adder", source(ADD), text()).unwrap();
    let early = manager.events();
    managed.invoke_blocking("answer", one()).unwrap();
    drop(early);
    managed.invoke_blocking("answer", one()).unwrap();
    let mut late = manager.events();
    managed.invoke_blocking("answer", one()).unwrap();
    assert_eq!(told(&mut late), ["adder answer ok"]);
    drop((managed, manager));
    assert_eq!(futures_executor::block_on(late.next()), None, "nothing comes any more");
}

#[test]
fn events_are_waited_for_on_any_runtime() {
    for mode in [Mode::MultiThread, Mode::CurrentThread, Mode::NoRuntime] {
        let manager = Manager::new(host());
        let mut events = manager.events();
        let listener = std::thread::spawn(move || mode.wait(async move { events.next().await }));
        manager.load_blocking("adder", source(ADD), text()).unwrap();
        let Some(Notice::Event(event)) = listener.join().unwrap() else { panic!("an event comes") };
        assert!(matches!(event.what, Happened::Loaded { .. }) && *event.plugin == *"adder", "{event:?}");
    }
}

#[test]
fn a_snapshot_is_of_one_moment_and_is_read_as_it_was_written() {
    let host = Host::builder().slots(8).build().unwrap();
    let manager = Manager::new(host);
    let plugin = manager.host().load_blocking(source(COUNTER), text()).unwrap();
    let sum = |snapshot: &Snapshot| snapshot.plugins.values().map(|metrics| metrics.calls).sum::<u64>();
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for round in 0..100 {
                let managed = manager.insert("p", &plugin).unwrap();
                for _ in 0..20 {
                    managed.call_func_blocking::<(), i32>("count", ()).unwrap();
                }
                if round % 2 == 0 {
                    manager.unload_blocking("p").unwrap();
                    managed.call_func_blocking::<(), i32>("count", ()).unwrap_err();
                } else {
                    manager.unload_blocking("p").unwrap();
                }
            }
        });
        let mut last = 0;
        while !calls.is_finished() {
            let snapshot = manager.snapshot();
            let (total, failures) = (&snapshot.total, &snapshot.total.failures);
            assert_eq!(total.calls, total.successes + failures.operator, "{total:?}");
            assert!(total.calls >= last && sum(&snapshot) <= total.calls);
            last = total.calls;
        }
    });
    until("the last call's count", || manager.metrics().calls == 2_050);
    manager.insert("left", &plugin).unwrap().invoke_blocking("count", words()).unwrap();
    let snapshot = manager.snapshot();
    assert_eq!((snapshot.total.calls, snapshot.plugins["left"].calls), (2_051, 1));
    assert_eq!(snapshot.total.restarts, 0);
    let json = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    assert!(json.starts_with(r#"{"schema":1,"taken_at":"#), "{json}");
}
