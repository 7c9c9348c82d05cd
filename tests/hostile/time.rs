//! Guests that do not end.

use std::time::{Duration, Instant};

use airlock_host::{Capability, CapabilityKind, Error, Host, ProgramInput};

use super::case;
use crate::support::{MODES, Mode, host, limits, load, survives, text};

/// Longer than this and nothing stopped the guest: it would have gone on for ever.
const FOREVER: Duration = Duration::from_secs(20);

fn is_cut_off(wat: &str, timeout: &str) {
    let host = host();
    let plugin = load(&host, wat, limits(&[("timeout", timeout)]));
    for mode in MODES {
        let start = Instant::now();
        let error = mode.invoke(&plugin, "f", &[]).expect_err("it never ends");
        assert_eq!((error.code(), error.exit_code()), ("deadline", 124), "{mode:?}: {error}");
        assert!(start.elapsed() < FOREVER, "{mode:?}");
        assert_eq!(host.memory_used(), 0, "{mode:?}");
    }
    survives(&host);
}

#[test]
fn init_loop() {
    let _case = case(1, "deadline", "300 ms in every mode");
    is_cut_off(r#"(module (func (export "_initialize") (loop (br 0))) (func (export "f")))"#, "300ms");
}

#[test]
fn ctor_loop() {
    let _case = case(2, "deadline", "300 ms in every mode");
    is_cut_off(r#"(module (func (export "__wasm_call_ctors") (loop (br 0))) (func (export "f")))"#, "300ms");
}

#[test]
fn start_section_loop() {
    let _case = case(3, "deadline", "300 ms in every mode");
    is_cut_off(r#"(module (func $s (loop (br 0))) (start $s) (func (export "f")))"#, "300ms");
}

#[test]
fn spin() {
    let _case = case(4, "deadline", "300 ms in every mode");
    is_cut_off(r#"(module (memory 1) (func (export "f") (loop (br 0))))"#, "300ms");
}

#[test]
fn spin_in_every_abi() {
    let _case = case(4, "deadline", "200 ms for every ABI and place");
    let json = |allocate: &str, call: &str, before: &str| {
        format!(
            r#"(module (memory (export "memory") 1) {before}
                (func (export "alloc") (param i32) (result i32) {allocate} i32.const 64)
                (func (export "f_len") (result i32) i32.const 1)
                (func (export "f") (param i32 i32) (result i32) {call} i32.const 64))"#
        )
    };
    let spin = "(loop (br 0))";
    let initialise = |name: &str| format!(r#"(func (export "{name}") {spin})"#);
    let host = host();
    for wat in [
        json(spin, "", ""),
        json("", spin, ""),
        json("", "", &initialise("_initialize")),
        json("", "", &initialise("__wasm_call_ctors")),
        json("", "", "(func $start (loop (br 0))) (start $start)"),
        json("", "", "").replace("(result i32) i32.const 1)", "(result i32) (loop (br 0)) i32.const 1)"),
    ] {
        let plugin = load(&host, &wat, limits(&[("timeout", "200ms")]));
        for mode in [Mode::Blocking, Mode::CurrentThread] {
            let error = mode.invoke(&plugin, "f", &["1"]).expect_err("it never ends");
            assert_eq!(error.code(), "deadline", "{mode:?} {wat}");
        }
    }
    for body in ["", "(func $start (loop (br 0))) (start $start)"] {
        let wat = format!(r#"(module {body} (func (export "_start") {spin}))"#);
        let plugin = load(&host, &wat, limits(&[("timeout", "200ms")]));
        for mode in [Mode::Blocking, Mode::CurrentThread] {
            let error = mode.run(&plugin, ProgramInput::new()).expect_err("it never ends");
            assert_eq!(error.code(), "deadline", "{mode:?} {wat}");
        }
    }
    survives(&host);
}

/// `_start` sleeps 75 s on the monotonic clock and leaves with `poll_oneoff`'s errno.
const SLEEP_75: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store8 (i32.const 8) (i32.const 0))
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 75000000000))
        (call $exit (call $poll (i32.const 0) (i32.const 104) (i32.const 1) (i32.const 200)))))"#;

#[test]
fn sleep_75_without_a_clock_passes_at_once() {
    let _case = case(5, "exit code 0", "1 s");
    let plugin = load(&host(), SLEEP_75, limits(&[("timeout", "1s")]));
    for mode in MODES {
        assert_eq!(mode.run(&plugin, ProgramInput::new()).unwrap().value.code, 0, "{mode:?}");
    }
}

#[test]
fn sleep_75_with_a_clock_is_cut_at_the_deadline() {
    let _case = case(5, "deadline", "1 s in every mode");
    let host = host();
    let options = limits(&[("timeout", "1s")]).allow(Capability::all_of(CapabilityKind::Clock));
    let plugin = load(&host, SLEEP_75, options);
    for mode in MODES {
        let start = Instant::now();
        let error = mode.run(&plugin, ProgramInput::new()).expect_err("it sleeps");
        assert_eq!(error.to_string(), "stopped while running: the deadline of 1s passed", "{mode:?}");
        assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < FOREVER, "{mode:?}");
    }
    survives(&host);
}

#[test]
fn slow_standard_input_does_not_hold_the_call() {
    let _case = case(6, "deadline", "300 ms in every mode");
    struct Never;
    impl std::io::Read for Never {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            std::thread::sleep(FOREVER);
            Ok(0)
        }
    }
    let host = Host::new().unwrap();
    let path = crate::support::repository("plugins/greet/greet.wasm");
    let plugin = host.load_blocking(path, limits(&[("timeout", "300ms")])).unwrap();
    for mode in MODES {
        let start = Instant::now();
        let input = ProgramInput::new().stdin(airlock_host::StdinSource::reader(Never));
        assert_eq!(mode.run(&plugin, input).expect_err("nothing comes").code(), "deadline", "{mode:?}");
        assert!(start.elapsed() < FOREVER, "{mode:?}");
    }
}

/// `spin` never ends; `work` reads the real clock until 1.2 s have passed.
const NEIGHBOURS: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func $time (result i64) (drop (call $now (i32.const 1) (i64.const 0) (i32.const 0))) (i64.load (i32.const 0)))
    (func (export "spin") (loop (br 0)))
    (func (export "work") (result i32) (local $end i64)
        (local.set $end (i64.add (call $time) (i64.const 1200000000)))
        (loop (br_if 0 (i64.lt_u (call $time) (local.get $end))))
        i32.const 7))"#;

#[test]
fn neighbour_a_timeout_of_one_call_leaves_another_of_the_same_plugin_alone() {
    let _case = case(7, "deadline; the other one answers", "each its own");
    let options = limits(&[("timeout", "2s")]).allow(Capability::all_of(CapabilityKind::Clock));
    let plugin = load(&host(), NEIGHBOURS, options);
    for mode in [Mode::Blocking, Mode::CurrentThread] {
        std::thread::scope(|scope| {
            let spinning = scope.spawn(|| mode.invoke(&plugin, "spin", &[]));
            // The other starts when half of the first one's time is over, and ends after it.
            std::thread::sleep(Duration::from_secs(1));
            let working = scope.spawn(|| mode.invoke(&plugin, "work", &[]));
            assert_eq!(spinning.join().unwrap().expect_err("it spins").code(), "deadline");
            assert_eq!(working.join().unwrap().expect("it had time left").value.to_json_text(), "7");
        });
    }
}

#[test]
fn clock_spin_a_virtual_clock_moves_at_every_read() {
    let _case = case(47, "it ends", "its own reads");
    let plugin = load(&host(), NEIGHBOURS, limits(&[("timeout", "10s")]));
    assert_eq!(Mode::Blocking.invoke(&plugin, "work", &[]).unwrap().value.to_json_text(), "7");
}

#[test]
fn bulk_ops_are_bounded_by_deadline_or_fuel() {
    let _case = case(9, "deadline, limit-fuel", "deadline + 0.4 ms a MiB, or fuel by size");
    let wat = r#"(module (memory 1024) (table 1000000 funcref)
        (func (export "fill") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864)) (br 0)))
        (func (export "copy") (loop (memory.copy (i32.const 0) (i32.const 33554432) (i32.const 33554432)) (br 0)))
        (func (export "table") (loop (table.fill (i32.const 0) (ref.null func) (i32.const 1000000)) (br 0))))"#;
    let host = host();
    let timed = load(&host, wat, limits(&[("timeout", "200ms"), ("memory", "100MiB")]));
    let fuelled = load(&host, wat, limits(&[("fuel", "100_000_000"), ("memory", "100MiB")]));
    for function in ["fill", "copy", "table"] {
        for mode in [Mode::Blocking, Mode::CurrentThread] {
            let error: Error = mode.invoke(&timed, function, &[]).expect_err("it never ends");
            assert_eq!(error.code(), "deadline", "{function} {mode:?}");
            let error: Error = mode.invoke(&fuelled, function, &[]).expect_err("it never ends");
            assert_eq!(error.code(), "limit-fuel", "{function} {mode:?}");
        }
    }
    survives(&host);
}

#[test]
fn random_flood_is_cut_at_the_deadline() {
    let _case = case(9, "deadline", "200 ms in every mode");
    let wat = r#"(module (import "wasi_snapshot_preview1" "random_get" (func $get (param i32 i32) (result i32)))
        (memory (export "memory") 512)
        (func (export "f") (loop (drop (call $get (i32.const 0) (i32.const 33554432))) (br 0))))"#;
    is_cut_off(wat, "200ms");
}

#[test]
fn denied_spin_ends_like_any_loop() {
    let _case = case(49, "deadline, limit-host-calls", "200 ms, host_calls");
    // A path is opened over and over, where there is nothing to open it in.
    let wat = r#"(module (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "/etc/passwd")
        (func (export "f") (loop
            (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 11) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 64))) (br 0))))"#;
    is_cut_off(wat, "200ms");
    let host = host();
    let plugin = load(&host, wat, limits(&[("host_calls", "1000")]));
    for mode in MODES {
        assert_eq!(
            mode.invoke(&plugin, "f", &[]).expect_err("too many").code(),
            "limit-host-calls",
            "{mode:?}"
        );
    }
    survives(&host);
}

#[test]
fn cancel_an_awaited_call_that_is_dropped_runs_no_further() {
    let _case = case(54, "nothing more happens", "the next tick");
    let host = host();
    let plugin = load(&host, r#"(module (memory 1) (func (export "f") (loop (br 0))))"#, text());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let call = plugin.call::<_, ()>("f", &());
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err(), "it never ends");
    });
    // Its instance went with the future, slot and memory with it.
    assert_eq!(host.memory_used(), 0);
    survives(&host);
}

#[test]
fn many_traps_stay_cheap_and_bounded() {
    let _case = case(55, "trap", "30 frames");
    let wat = r#"(module (func $f (export "f") (param i32)
        (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))) (else unreachable))))"#;
    let host = host();
    let plugin = load(&host, wat, limits(&[]));
    for _ in 0..200 {
        let error = plugin.call_blocking::<_, ()>("f", &1000).expect_err("it traps");
        let airlock_host::ErrorKind::Trap { frames, .. } = error.kind() else { panic!("{error}") };
        assert!(frames.len() <= 30);
    }
    survives(&host);
}

#[test]
fn fuel_then_again_the_next_call_starts_with_a_full_tank() {
    let _case = case(8, "limit-fuel", "fuel a call");
    let wat = r#"(module (func (export "f") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))))"#;
    let plugin = load(&host(), wat, limits(&[("fuel", "1000")]));
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..20 {
        session.call_blocking::<_, ()>("f", &50).unwrap();
    }
    assert_eq!(session.call_blocking::<_, ()>("f", &5000).expect_err("empty").code(), "limit-fuel");
    assert_eq!(session.call_blocking::<_, ()>("f", &5).expect_err("over").code(), "session-ended");
    let mut session = plugin.session_blocking().unwrap();
    session.call_blocking::<_, ()>("f", &50).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_then_cuts_in_both_modes() {
    let _case = case(57, "cancelled", "grace of 50 ms");
    let host = host();
    let wat = r#"(module (memory 1) (func (export "spin") (loop (br 0))) (func (export "f")))"#;
    let plugin = load(&host, wat, text());
    let awaited = tokio::spawn({
        let plugin = plugin.clone();
        async move { plugin.call::<_, ()>("spin", &()).await }
    });
    let blocking = std::thread::spawn({
        let plugin = plugin.clone();
        move || plugin.call_blocking::<_, ()>("spin", &())
    });
    while host.memory_used() < 2 << 16 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    assert_eq!(host.shutdown(Duration::from_millis(50)).await, 2);
    assert!(start.elapsed() >= Duration::from_millis(50));
    for error in [awaited.await.unwrap(), blocking.join().unwrap()] {
        assert_eq!(error.expect_err("it spins").to_string(), "cancelled while running");
    }
    let error = plugin.call::<_, ()>("f", &()).await.expect_err("closed");
    assert_eq!((error.code(), error.exit_code()), ("shutting-down", 125));
}

#[tokio::test]
async fn shutdown_of_an_idle_host_cuts_nobody() {
    let _case = case(57, "nobody is cut", "at once");
    let host = host();
    let plugin = load(&host, r#"(module (func (export "f")))"#, text());
    plugin.call::<_, ()>("f", &()).await.unwrap();
    assert_eq!(host.shutdown(Duration::from_secs(60)).await, 0);
}
