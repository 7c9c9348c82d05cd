//! Many calls at once: how many run, who waits for how long, and who comes next.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airlock_host::manager::{Happened, Managed, Manager, Notice, PluginState};
use airlock_host::service::Services;
use airlock_host::{CallOptions, Cancel, Host, Input, Kv, KvChange, Permit, ServiceError, ServiceFuture};

use super::{ADD, COUNTER, one, until, words};
use crate::support::{MODES, Mode, host, limits, source, text};

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
fn as_many_calls_of_a_plugin_run_as_may_and_the_next_in_line_follows() {
    for mode in MODES {
        let host = host();
        let manager = Manager::new(host.clone());
        let options = limits(&[("concurrency", "2"), ("queue", "3"), ("wait", "20s")]);
        let managed = manager.load_blocking("adder", source(ADD), options).unwrap();
        manager.load_blocking("other", source(ADD), text()).unwrap();
        let ended = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let cancels: Vec<Cancel> = (0..5).map(|_| Cancel::new()).collect();
            let mut calls = Vec::new();
            for (index, cancel) in cancels.iter().enumerate() {
                let (managed, ended, options) = (&managed, &ended, CallOptions::new().cancel(cancel));
                calls.push(scope.spawn(move || {
                    let error = match mode {
                        Mode::Blocking => managed.invoke_blocking_with("spin", one(), &options).unwrap_err(),
                        _ => mode.wait(managed.invoke_with("spin", one(), &options)).unwrap_err(),
                    };
                    ended.lock().unwrap().push(index);
                    error
                }));
                // One after another, so that they are in line in this order.
                let running = (index + 1).min(2) as u64;
                until("the call", || host.memory_used() == running * 65_536);
                until("its place in line", || waiting(managed) == index.saturating_sub(1));
            }
            let error = managed.invoke_blocking("answer", one()).unwrap_err();
            assert_eq!(error.to_string(), "limit `queue` of 3 hit while waiting for a slot");
            assert_eq!(error.code(), "limit-queue");
            manager.invoke_blocking("other", "answer", one()).unwrap();
            // Whoever ends makes room for the first in line, who is then the only one to end.
            for (index, cancel) in cancels.iter().enumerate() {
                cancel.cancel();
                until("its end", || ended.lock().unwrap().len() == index + 1);
            }
            for call in calls {
                assert_eq!(call.join().unwrap().to_string(), "cancelled while running", "it had its turn");
            }
        });
        assert_eq!(*ended.lock().unwrap(), [0, 1, 2, 3, 4], "{mode:?}");
        assert_eq!(managed.invoke_blocking("answer", one()).unwrap().value.to_json_text(), "42");
    }
}

/// How many calls of a plugin wait, as it says itself.
fn waiting(managed: &Managed) -> usize {
    managed.waiting()
}

#[test]
fn who_waits_too_long_is_told_so_and_leaves_the_line() {
    for mode in MODES {
        let host = host();
        let manager = Manager::new(host.clone());
        let options = limits(&[("concurrency", "1"), ("wait", "40ms"), ("timeout", "20s")]);
        let managed = manager.load_blocking("adder", source(ADD), options).unwrap();
        let cancel = Cancel::new();
        let options = CallOptions::new().cancel(&cancel);
        std::thread::scope(|scope| {
            let spinning = scope.spawn(|| managed.invoke_blocking_with("spin", one(), &options).unwrap_err());
            until("the call", || host.memory_used() > 0);
            let error = match mode {
                Mode::Blocking => managed.invoke_blocking("answer", one()).unwrap_err(),
                _ => mode.wait(managed.invoke("answer", one())).unwrap_err(),
            };
            assert_eq!(error.to_string(), "limit `wait` of 40ms hit while waiting for a slot", "{mode:?}");
            assert_eq!(waiting(&managed), 0);
            cancel.cancel();
            spinning.join().unwrap();
        });
        managed.invoke_blocking("answer", one()).unwrap();
    }
}

#[test]
fn a_session_is_as_fair_and_as_bounded_as_slots_are() {
    let manager = Manager::new(host());
    let options = limits(&[("queue", "2"), ("wait", "20s")]);
    let managed = manager.load_blocking("counter", source(COUNTER), options).unwrap();
    let cancel = Cancel::new();
    let options = CallOptions::new().cancel(&cancel);
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| managed.invoke_blocking_with("spin", words(), &options).unwrap_err());
        until("the call", || managed.state() == PluginState::Running);
        for index in 0..2 {
            let (managed, order) = (&managed, &order);
            scope.spawn(move || {
                let count = managed.call_func_blocking::<(), i32>("count", ()).unwrap();
                order.lock().unwrap().push((index, count));
            });
            until("its place in line", || waiting(managed) == index + 1);
        }
        let error = managed.call_func_blocking::<(), i32>("count", ()).unwrap_err();
        assert_eq!(error.to_string(), "limit `queue` of 2 hit while waiting for a slot");
        cancel.cancel();
        spinning.join().unwrap();
    });
    let mut order = order.into_inner().unwrap();
    order.sort_unstable();
    assert_eq!(order, [(0, 1), (1, 2)], "in the order in which they came");
}

/// A guest's data, which are the answer of a plugin that is called for it.
#[derive(Debug, Default)]
struct Calls {
    managed: Mutex<Option<Managed>>,
    errors: Mutex<Vec<String>>,
}

impl Kv for Calls {
    fn get<'a>(&'a self, permit: &'a Permit, _key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let managed = self.managed.lock().unwrap().clone().unwrap();
            match managed.invoke_within(permit, "answer", Input::Json("1".to_owned())).await {
                Ok(answer) => Ok(Some(answer.value.to_json_text().into_bytes())),
                Err(error) => {
                    self.errors.lock().unwrap().push(error.to_string());
                    Err(ServiceError::Failed(error.to_string()))
                }
            }
        })
    }

    fn keys<'a>(
        &'a self,
        _permit: &'a Permit,
        _prefix: &'a str,
        _after: Option<&'a str>,
        _count: usize,
    ) -> ServiceFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn apply<'a>(
        &'a self,
        _permit: &'a Permit,
        _changes: &'a [KvChange<'a>],
    ) -> ServiceFuture<'a, Vec<bool>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn usage<'a>(&'a self, _permit: &'a Permit) -> ServiceFuture<'a, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

/// Asks for what is kept, and answers.
const NESTED: &str = r#"(module
    (import "env" "host_get_state" (func $get (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "42")
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (func (export "answer") (param i32 i32) (result i32) (i32.const 16))
    (func (export "nested") (param i32 i32) (result i32)
        (drop (call $get (i32.const 16) (i32.const 1) (i32.const 256) (i32.const 64)))
        (i32.const 16)))"#;

#[test]
fn slot_starvation_nested_calls_of_a_plugin_that_runs_once_at_a_time_need_no_turn() {
    for mode in MODES {
        let kept = Arc::new(Calls::default());
        let mut services = Services::default();
        services.kv = kept.clone();
        let host = Host::builder().slots(1).services(services).build().unwrap();
        let manager = Manager::new(host);
        let options = limits(&[("concurrency", "1"), ("timeout", "20s"), ("wait", "5s")]);
        let options = options.allow("kv".parse().unwrap()).abi(airlock_host::AbiId::Json);
        let managed = manager.load_blocking("nested", source(NESTED), options).unwrap();
        *kept.managed.lock().unwrap() = Some(managed.clone());
        let outcome = match mode {
            Mode::Blocking => managed.invoke_blocking("nested", one()),
            _ => mode.wait(managed.invoke("nested", one())),
        };
        assert_eq!(outcome.unwrap().value.to_json_text(), "42", "{mode:?}");
        assert_eq!(*kept.errors.lock().unwrap(), Vec::<String>::new(), "{mode:?}");
        assert_eq!(managed.metrics().calls, 2, "the inner one too");
        *kept.managed.lock().unwrap() = None;
    }
}

#[test]
fn shutdown_lets_calls_finish_and_ends_the_rest_and_closes_sessions() {
    for mode in [Mode::MultiThread, Mode::CurrentThread, Mode::NoRuntime] {
        let host = host();
        let manager = Manager::new(host.clone());
        let mut events = manager.events();
        manager.load_blocking("counter", source(COUNTER), text()).unwrap();
        manager.invoke_blocking("counter", "count", words()).unwrap();
        let adder = manager.load_blocking("adder", source(ADD), text()).unwrap();
        std::thread::scope(|scope| {
            let spinning = scope.spawn(|| adder.invoke_blocking("spin", one()).unwrap_err());
            until("the call", || host.memory_used() == 2 * 65_536);
            let cut = mode.wait(manager.shutdown(Duration::from_millis(50)));
            assert_eq!((cut, spinning.join().unwrap().code()), (1, "cancelled"), "{mode:?}");
        });
        assert_eq!((manager.list().len(), host.memory_used()), (0, 0));
        assert_eq!(adder.invoke_blocking("answer", one()).unwrap_err().code(), "not-loaded");
        // Who listens has been told everything, and that there is no more.
        let told: Vec<Notice> = std::iter::from_fn(|| events.next_blocking()).collect();
        let unloaded =
            |notice: &&Notice| matches!(notice, Notice::Event(event) if event.what == Happened::Unloaded);
        assert_eq!(told.iter().filter(unloaded).count(), 2, "{told:?}");
        assert_eq!(manager.events().next_blocking(), None);
        let late = manager.load_blocking("late", source(ADD), text()).unwrap();
        assert_eq!(late.invoke_blocking("answer", one()).unwrap_err().code(), "shutting-down");
    }
}

#[test]
fn neighbour_a_managed_plugins_timeout_leaves_its_sibling_and_its_queue_alone() {
    for mode in MODES {
        let manager = Manager::new(host());
        let options = || limits(&[("timeout", "400ms")]);
        let slow = manager.load_blocking("slow", source(ADD), options()).unwrap();
        let counter = manager.load_blocking("counter", source(COUNTER), options()).unwrap();
        std::thread::scope(|scope| {
            let short = CallOptions::new().timeout(Duration::from_millis(150));
            let (slow, counter) = (&slow, &counter);
            // Of one plugin: one call with less time, another with all of it.
            let first = scope.spawn(move || slow.invoke_blocking_with("spin", one(), &short).unwrap_err());
            let cancel = Cancel::new();
            let options = CallOptions::new().cancel(&cancel);
            let second = scope.spawn(move || slow.invoke_blocking_with("spin", one(), &options).unwrap_err());
            let session = scope.spawn(move || counter.invoke_blocking("spin", words()).unwrap_err());
            assert_eq!(
                first.join().unwrap().to_string(),
                "stopped while running: the deadline of 150ms passed"
            );
            assert!(!second.is_finished(), "{mode:?}");
            cancel.cancel();
            assert_eq!(second.join().unwrap().code(), "cancelled");
            assert_eq!(session.join().unwrap().code(), "deadline");
        });
        assert_eq!(slow.invoke_blocking("answer", one()).unwrap().value.to_json_text(), "42");
    }
}

#[test]
fn host_budget_sessions_of_many_plugins_stay_under_it_and_make_room_when_they_stop() {
    for mode in MODES {
        let host =
            Host::builder().slots(4).limit(airlock_host::LimitKind::HostMemory, 10 * 65_536).build().unwrap();
        let manager = Manager::new(host.clone());
        let plugin = host.load_blocking(source(COUNTER), text()).unwrap();
        let call = |index: usize| {
            let name = format!("p{index}");
            let managed = manager.get(&name).or_else(|_| manager.insert(&name, &plugin)).unwrap();
            match mode {
                Mode::Blocking => managed.call_func_blocking::<(), i32>("count", ()),
                _ => mode.wait(managed.call_func::<(), i32>("count", ())),
            }
        };
        for index in 0..10 {
            assert_eq!(call(index).unwrap(), 1, "{mode:?}");
        }
        let error = call(10).unwrap_err();
        assert_eq!(error.code(), "limit-host-memory", "{error}");
        assert_eq!(host.memory_used(), 10 * 65_536);
        assert_eq!(call(0).unwrap(), 2, "those that are there go on");
        manager.unload_blocking("p3").unwrap();
        assert_eq!(call(10).unwrap(), 1, "and one that goes makes room");
    }
}

#[test]
fn a_call_whose_future_is_dropped_ends_and_its_siblings_go_on() {
    let host = host();
    let manager = Manager::new(host.clone());
    let managed = manager.load_blocking("adder", source(ADD), text()).unwrap();
    Mode::CurrentThread.wait(async {
        let mut dropped = Box::pin(managed.invoke("spin", one()));
        let mut sibling = Box::pin(managed.invoke("spin", one()));
        let both = async {
            let first = std::pin::pin!(async { dropped.as_mut().await.map(|_| ()) });
            let second = std::pin::pin!(async { sibling.as_mut().await.map(|_| ()) });
            tokio::select! { _ = first => {}, _ = second => {} }
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), both).await.is_err());
        assert_eq!(host.memory_used(), 2 * 65_536);
        drop(dropped);
        assert_eq!(host.memory_used(), 65_536, "what it had is given back at once");
        assert!(
            tokio::time::timeout(Duration::from_millis(50), sibling.as_mut()).await.is_err(),
            "it goes on"
        );
        let answer = managed.invoke("answer", one()).await.unwrap();
        assert_eq!(answer.value.to_json_text(), "42");
    });
    assert_eq!(host.memory_used(), 0);
    // Both that were given up are counted, like the one that was not.
    let metrics = managed.metrics();
    assert_eq!((metrics.calls, metrics.successes, metrics.failures.operator), (3, 1, 2));
}
