//! The two call modes, on every kind of executor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airlock_host::{Host, LoadOptions};
use serde_json::{Value, json};

use crate::support::{MODES, Mode, host, limits, load, repository, source, text};

#[test]
fn every_mode_gives_the_same_answer() {
    let host = host();
    let plugin = host.load_blocking(repository("plugins/text-processor"), LoadOptions::new()).unwrap();
    for mode in MODES {
        let outcome = mode.invoke(&plugin, "transform", &[r#"{"text":"abc","mode":"reverse"}"#]).unwrap();
        assert!(outcome.value.to_json_text().starts_with(r#"{"result":"cba""#), "{mode:?}");
    }
}

#[test]
fn plugins_are_loaded_on_every_executor() {
    for mode in [Mode::MultiThread, Mode::CurrentThread, Mode::NoRuntime] {
        let host = host();
        let plugin = mode.wait(host.load(repository("plugins/text-processor"), LoadOptions::new())).unwrap();
        let input = json!({ "text": "abc", "mode": "uppercase" });
        let outcome = mode.wait(plugin.call::<_, Value>("transform", &input)).unwrap();
        assert_eq!(outcome.value["result"], "ABC", "{mode:?}");
    }
}

#[tokio::test]
async fn blocking_inside_a_runtime_is_refused_when_imports_may_wait() {
    let host = Host::new().unwrap();
    let greet = host.load(repository("plugins/greet/greet.wasm"), LoadOptions::new()).await.unwrap();
    let error = greet.run_blocking(airlock_host::ProgramInput::new()).expect_err("inside tokio");
    assert_eq!((error.code(), error.hint()), ("blocking-in-runtime", Some("await the call instead")));
    // A module whose imports never wait may block anywhere.
    let plugin = load(&host, r#"(module (func (export "f") (result i32) i32.const 7))"#, text());
    assert_eq!(plugin.call_blocking::<_, i32>("f", &()).unwrap().value, 7);
}

#[tokio::test]
async fn a_spinning_guest_leaves_a_current_thread_runtime_its_timers() {
    let plugin =
        load(&host(), r#"(module (func (export "spin") (loop (br 0))))"#, limits(&[("timeout", "500ms")]));
    let done = AtomicBool::new(false);
    let ticks = async {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            count += 1;
        }
        count
    };
    let call = async {
        let error = plugin.call::<_, ()>("spin", &()).await.expect_err("it spins");
        done.store(true, Ordering::Relaxed);
        error
    };
    let (error, count) = tokio::join!(call, ticks);
    assert_eq!((error.code(), error.exit_code()), ("deadline", 124));
    // 50 where nothing else runs; none at all where a guest never yields.
    assert!(count >= 5, "{count} ticks in half a second");
}

#[tokio::test]
async fn dropping_the_future_ends_the_call_and_gives_everything_back() {
    let host = Host::builder().slots(1).build().unwrap();
    let wat = r#"(module (memory 4) (func (export "spin") (loop (br 0))) (func (export "f")))"#;
    let plugin = load(&host, wat, text());
    let gave_up = tokio::time::timeout(Duration::from_millis(50), plugin.call::<_, ()>("spin", &())).await;
    assert!(gave_up.is_err());
    assert_eq!(host.memory_used(), 0);
    // The only slot is free again.
    plugin.call::<_, ()>("f", &()).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_session_has_ended() {
    let wat = r#"(module (func (export "spin") (loop (br 0))) (func (export "f")))"#;
    let plugin = host().load(source(wat), text()).await.unwrap();
    let mut session = plugin.session().await.unwrap();
    session.call::<_, ()>("f", &()).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), session.call::<_, ()>("spin", &())).await.is_err()
    );
    let error = session.call::<_, ()>("f", &()).await.expect_err("ended");
    assert_eq!(error.to_string(), "the session has ended: a call of it was cancelled");
}

#[test]
fn a_full_host_lets_calls_wait_only_so_long() {
    let host = Host::builder().slots(1).build().unwrap();
    let spin = load(
        &host,
        r#"(module (memory 1) (func (export "spin") (loop (br 0))))"#,
        limits(&[("timeout", "2s")]),
    );
    let quick = r#"(module (func (export "f") (result i32) i32.const 1))"#;
    let hasty = load(&host, quick, limits(&[("wait", "50ms")]));
    let short = load(&host, quick, limits(&[("timeout", "50ms")]));
    let patient = load(&host, quick, text());
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| spin.call_blocking::<_, ()>("spin", &()));
        while host.memory_used() == 0 {
            std::thread::yield_now();
        }
        let error = hasty.call_blocking::<_, i32>("f", &()).expect_err("no slot");
        assert_eq!(error.to_string(), "limit `wait` of 50ms hit while waiting for a slot");
        assert_eq!((error.code(), error.exit_code()), ("limit-wait", 123));
        let error = short.call_blocking::<_, i32>("f", &()).expect_err("no time");
        assert_eq!(error.to_string(), "stopped while waiting for a slot: the deadline of 50ms passed");
        assert_eq!(patient.call_blocking::<_, i32>("f", &()).unwrap().value, 1);
        assert_eq!(spinning.join().unwrap().expect_err("it spins").code(), "deadline");
    });
}

#[tokio::test]
async fn many_calls_at_once_all_finish() {
    let host = Host::builder().slots(4).build().unwrap();
    let plugin = load(
        &host,
        r#"(module (memory 1) (func (export "f") (param i32) (result i32) local.get 0))"#,
        text(),
    );
    let calls = (0..200).map(|number| {
        let plugin = plugin.clone();
        tokio::spawn(async move { plugin.call::<_, i32>("f", &number).await.map(|outcome| outcome.value) })
    });
    let calls: Vec<_> = calls.collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), i32::try_from(number).unwrap());
    }
    assert_eq!(host.memory_used(), 0);
}

#[test]
fn a_module_that_does_not_fit_the_pool_runs_on_demand() {
    let wat = r#"(module (table 30000 funcref) (func (export "f") (result i32) (table.size 0)))"#;
    let plugin = load(&host(), wat, text());
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "f", &[]).unwrap().value.to_json_text(), "30000", "{mode:?}");
    }
    let host = Host::builder().on_demand().build().unwrap();
    crate::support::survives(&host);
}
