//! Functions with their types, and the guest's memory.

use airlock_host::{Error, Func, Session, V128};

use crate::support::{host, limits, load, text};

const MATHS: &str = r#"(module (memory (export "memory") 1) (global $calls (mut i32) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "mix") (param i64 f32 f64) (result f64 i64)
        (f64.add (f64.promote_f32 (local.get 1)) (local.get 2)) (i64.add (local.get 0) (i64.const 1)))
    (func (export "count") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (global.get $calls))
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "twice") (param i32 i32) (result i32)
        (memory.copy (i32.add (local.get 0) (local.get 1)) (local.get 0) (local.get 1))
        (i32.mul (local.get 1) (i32.const 2)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "spin") (loop (br 0)))
    (func (export "trap") unreachable))"#;

fn session() -> Session {
    load(&host(), MATHS, limits(&[("timeout", "300ms")])).session_blocking().unwrap()
}

#[test]
fn numbers_go_in_and_out_with_their_types() {
    let mut session = session();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    assert_eq!(add.call_blocking(&mut session, (i32::MAX, 1)).unwrap(), i32::MIN);
    let unsigned = session.func::<(u32, u32), u32>("add").unwrap();
    assert_eq!(unsigned.call_blocking(&mut session, (u32::MAX, 2)).unwrap(), 1);
    let mixed: (f64, i64) = session.call_func_blocking("mix", (i64::MAX, 0.5_f32, 0.25_f64)).unwrap();
    assert_eq!(mixed, (0.75, i64::MIN));
    let count = |session: &mut Session| session.call_func_blocking::<(), i32>("count", ()).unwrap();
    assert_eq!([count(&mut session), count(&mut session), count(&mut session)], [1, 2, 3]);
}

#[test]
fn vectors_are_numbers_too() {
    let wat = r#"(module (func (export "add") (param v128 v128) (result v128)
        (i32x4.add (local.get 0) (local.get 1))))"#;
    let mut session = load(&host(), wat, text()).session_blocking().unwrap();
    let lanes = |a: u128, b: u128, c: u128, d: u128| V128::from(a | b << 32 | c << 64 | d << 96);
    let add = session.func::<(V128, V128), V128>("add").unwrap();
    let sum = add.call_blocking(&mut session, (lanes(1, 2, 3, 4), lanes(10, 20, 30, 0xffff_fffc))).unwrap();
    assert_eq!(sum.as_u128(), lanes(11, 22, 33, 0).as_u128());
}

#[test]
fn the_wrong_name_or_type_is_said_and_ends_nothing() {
    let mut session = session();
    let of = |session: &mut Session, name: &str| {
        session.func::<(i32, i64), ()>(name).map(drop).expect_err("wrong")
    };
    let error: Error = of(&mut session, "add");
    assert_eq!(
        error.to_string(),
        "export `add` cannot be called: it is a func (i32, i32) -> (i32), not a func (i32, i64) -> ()"
    );
    assert_eq!(of(&mut session, "memory").code(), "unsuitable-export");
    let error = of(&mut session, "ad");
    assert_eq!(
        (error.to_string().as_str(), error.hint()),
        ("`plugin` has no function `ad`", Some("did you mean `add`?"))
    );
    assert_eq!(session.call_func_blocking::<(i32, i32), i32>("add", (1, 2)).unwrap(), 3);
    // The same name with other types is looked at again.
    assert_eq!(session.call_func_blocking::<(u32, u32), u32>("add", (1, 2)).unwrap(), 3);
    assert!(session.call_func_blocking::<(i32,), i32>("add", (1,)).is_err());
    assert!(session.is_alive());
}

#[test]
fn a_function_belongs_to_its_session() {
    let (mut one, mut other) = (session(), session());
    let add: Func<(i32, i32), i32> = one.func("add").unwrap();
    let error = add.call_blocking(&mut other, (1, 2)).expect_err("another session's");
    assert_eq!(error.to_string(), "`add`: it is a function of another session");
    assert_eq!(add.call_blocking(&mut one, (1, 2)).unwrap(), 3);
}

#[test]
fn typed_calls_have_every_limit() {
    let spin =
        |session: &mut Session| session.call_func_blocking::<(), ()>("spin", ()).expect_err("for ever");
    let mut once = session();
    assert_eq!(spin(&mut once).to_string(), "stopped while running: the deadline of 300ms passed");
    assert_eq!(spin(&mut once).code(), "session-ended");
    let short = load(&host(), MATHS, limits(&[("timeout", "3ms")]));
    assert_eq!(spin(&mut short.session_blocking().unwrap()).code(), "deadline");
    let fuelled = load(&host(), MATHS, limits(&[("fuel", "1000")]));
    let mut session = fuelled.session_blocking().unwrap();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    for _ in 0..1000 {
        add.call_blocking(&mut session, (1, 2)).unwrap();
    }
    assert!(session.usage().unwrap().fuel.is_some_and(|fuel| fuel > 0 && fuel < 100));
    assert_eq!(spin(&mut session).code(), "limit-fuel");
    let small = load(&host(), MATHS, limits(&[("memory", "128KiB")]));
    let mut session = small.session_blocking().unwrap();
    assert_eq!(session.call_func_blocking::<i32, i32>("grow", 1).unwrap(), 1);
    assert_eq!(session.call_func_blocking::<i32, i32>("grow", 1).unwrap(), -1);
}

#[test]
fn a_trap_ends_the_session_and_its_functions() {
    let mut session = session();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    let error = session.call_func_blocking::<(), ()>("trap", ()).expect_err("it traps");
    assert_eq!((error.code(), error.exit_code()), ("trap", 122));
    let ended = add.call_blocking(&mut session, (1, 2)).expect_err("over");
    assert_eq!(ended.to_string(), "the session has ended: the plugin trapped while running: unreachable");
    assert!(
        session.memory().is_err() && session.func::<(), ()>("spin").is_err() && session.usage().is_none()
    );
}

#[test]
fn memory_is_read_and_written_within_its_bounds() {
    let mut session = session();
    let pointer = session.call_func_blocking::<u32, u32>("alloc", 5).unwrap();
    session.memory().unwrap().write(pointer, b"hello").unwrap();
    let length = session.call_func_blocking::<(u32, u32), u32>("twice", (pointer, 5)).unwrap();
    let mut memory = session.memory().unwrap();
    assert_eq!(memory.read(pointer, length).unwrap(), b"hellohello");
    assert_eq!((memory.size(), memory.read(65536, 0).unwrap()), (65536, &[][..]));
    for (pointer, length) in [(65535, 2), (65536, 1), (u32::MAX, 1), (1, u32::MAX)] {
        assert_eq!(memory.read(pointer, length).expect_err("outside").code(), "bad-guest");
    }
    let error = memory.write(65533, b"four").expect_err("outside");
    assert_eq!(
        error.to_string(),
        "`memory` broke its ABI's rules: the range at 65533, 4 bytes long, is outside its memory of 65536 bytes"
    );
    assert_eq!(memory.read(65533, 3).unwrap(), [0, 0, 0], "nothing was written");
    session.call_func_blocking::<i32, i32>("grow", 1).unwrap();
    assert_eq!(session.memory().unwrap().size(), 2 << 16);
    let without = load(&host(), r#"(module (func (export "f")))"#, text());
    let error = without.session_blocking().unwrap().memory().map(drop).expect_err("none");
    assert_eq!(error.code(), "unsuitable-export");
}

#[tokio::test]
async fn awaited_functions_yield_and_can_be_given_up() {
    let plugin = load(&host(), MATHS, limits(&[("timeout", "20s")]));
    let mut session = plugin.session().await.unwrap();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    assert_eq!(add.call(&mut session, (1, 2)).await.unwrap(), 3);
    assert_eq!(session.call_func::<(i32, i32), i32>("add", (3, 4)).await.unwrap(), 7);
    let spin = session.func::<(), ()>("spin").unwrap();
    tokio::select! {
        result = spin.call(&mut session, ()) => panic!("it never ends: {result:?}"),
        () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
    }
    let error = add.call(&mut session, (1, 2)).await.expect_err("given up in the middle");
    assert_eq!(error.to_string(), "the session has ended: a call of it was cancelled");
    let mut blocking = plugin.session_blocking().unwrap();
    let add = blocking.func::<(i32, i32), i32>("add").unwrap();
    assert_eq!(add.call(&mut blocking, (1, 2)).await.unwrap(), 3, "however it was opened");
    let spin = blocking.func::<(), ()>("spin").unwrap();
    let given_up =
        tokio::time::timeout(std::time::Duration::from_millis(50), spin.call(&mut blocking, ())).await;
    assert!(given_up.is_err(), "it yields all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_and_cuts_sessions_too() {
    let host = host();
    let plugin = load(&host, MATHS, text());
    let (mut idle, mut busy) = (plugin.session_blocking().unwrap(), plugin.session_blocking().unwrap());
    let (started, has_started) = tokio::sync::oneshot::channel();
    let spinning = std::thread::spawn(move || {
        let spin = busy.func::<(), ()>("spin").unwrap();
        let _ = started.send(());
        spin.call_blocking(&mut busy, ()).expect_err("for ever")
    });
    has_started.await.unwrap();
    while !format!("{host:?}").contains("running: 1") {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.shutdown(std::time::Duration::from_millis(50)).await, 1);
    assert_eq!(spinning.join().unwrap().to_string(), "cancelled while running");
    let error = idle.call_func_blocking::<(i32, i32), i32>("add", (1, 2)).expect_err("closed");
    assert_eq!(error.code(), "shutting-down");
}

#[test]
fn steps_are_one_call() {
    let plugin = load(&host(), MATHS, limits(&[("fuel", "200")]));
    let mut session = plugin.session_blocking().unwrap();
    let (alloc, twice) =
        (session.func::<u32, u32>("alloc").unwrap(), session.func::<(u32, u32), u32>("twice").unwrap());
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    for _ in 0..3 {
        let mut steps = session.steps_blocking().unwrap();
        let pointer = steps.call_blocking(&alloc, 2).unwrap();
        steps.memory().unwrap().write(pointer, b"ab").unwrap();
        let length = steps.call_blocking(&twice, (pointer, 2)).unwrap();
        assert_eq!(steps.memory().unwrap().read(pointer, length).unwrap(), b"abab");
    }
    // One tank of fuel for all steps.
    let mut steps = session.steps_blocking().unwrap();
    let error = (0..1000).find_map(|_| steps.call_blocking(&add, (1, 2)).err()).expect("it runs dry");
    assert_eq!(error.code(), "limit-fuel");
    assert_eq!(steps.call_blocking(&add, (1, 2)).expect_err("over").code(), "session-ended");
    assert!(steps.memory().is_err());
    drop(steps);
    assert_eq!(session.steps_blocking().map(drop).expect_err("over").code(), "session-ended");
}

#[test]
fn steps_share_one_deadline() {
    let mut session = session();
    let spin = session.func::<(), ()>("spin").unwrap();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    let start = std::time::Instant::now();
    let mut steps = session.steps_blocking().unwrap();
    let error = loop {
        if let Err(error) = steps.call_blocking(&add, (1, 2)) {
            break error;
        }
    };
    assert_eq!(error.to_string(), "stopped while running: the deadline of 300ms passed");
    assert!(start.elapsed() < std::time::Duration::from_secs(20));
    assert!(steps.call_blocking(&spin, ()).is_err());
}

#[tokio::test]
async fn steps_are_awaited_too() {
    let plugin = load(&host(), MATHS, text());
    let mut session = plugin.session().await.unwrap();
    let add = session.func::<(i32, i32), i32>("add").unwrap();
    let mut steps = session.steps().unwrap();
    assert_eq!(steps.call(&add, (1, 2)).await.unwrap(), 3);
    assert_eq!(steps.call(&add, (3, 4)).await.unwrap(), 7);
    drop(steps);
    assert!(session.is_alive());
}

#[tokio::test]
async fn a_session_that_was_awaited_is_called_blocking_across_ticks() {
    let plugin = load(&host(), MATHS, limits(&[("timeout", "300ms")]));
    let mut session = plugin.session().await.unwrap();
    assert_eq!(session.call_func_blocking::<(i32, i32), i32>("add", (1, 2)).unwrap(), 3);
    let error = session.call_func_blocking::<(), ()>("spin", ()).expect_err("for ever");
    assert_eq!(error.to_string(), "stopped while running: the deadline of 300ms passed");
}

/// A call that begins without a look at anything must find nothing of the one before: neither what that
/// used, nor what it was refused, nor when it had to end.
#[test]
fn a_typed_call_finds_nothing_of_the_one_before() {
    let wat = r#"(module (import "env" "wait" (func $wait (param i32)))
        (memory (export "memory") 1)
        (func (export "wait") (param i32)
            (call $wait (local.get 0)) (loop (br_if 0 (i32.eqz (i32.const 1)))))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "nothing") (loop (br_if 0 (i32.eqz (i32.const 1)))))
        (func (export "trap") unreachable))"#;
    let functions = airlock_host::Functions::of("env").func("wait", |_, millis: u32| {
        std::thread::sleep(std::time::Duration::from_millis(millis.into()));
        Ok(())
    });
    let host = airlock_host::Host::builder().functions(functions).build().unwrap();
    let plugin = load(&host, wat, limits(&[("timeout", "1s"), ("memory", "1MiB")]));
    let mut session = plugin.session_blocking().unwrap();
    let wait = session.func::<u32, ()>("wait").unwrap();
    let nothing = session.func::<(), ()>("nothing").unwrap();
    // Long enough for a tick, which sets its deadline.
    wait.call_blocking(&mut session, 30).unwrap();
    assert_eq!(session.usage().unwrap().host_calls, 1);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    nothing.call_blocking(&mut session, ()).expect("it has a time of its own");
    assert_eq!(session.usage().unwrap().host_calls, 0);
    assert_eq!(session.call_func_blocking::<i32, i32>("grow", 100).unwrap(), -1);
    let error = session.call_func_blocking::<(), ()>("trap", ()).expect_err("it traps");
    assert_eq!(error.code(), "trap");
}
