//! Functions of the application that plugins import.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airlock_host::{
    AbiId, CallOptions, Capability, CapabilityKind, ErrorKind, Functions, Host, Input, LimitKind,
    LoadOptions, Need, Plugin, block_on,
};

use crate::support::{MODES, Mode, load, source, text};

fn capability(text: &str) -> Capability {
    text.parse().unwrap()
}

fn offering(functions: Functions) -> Host {
    Host::builder().slots(8).functions(functions).build().unwrap()
}

/// For a module whose `(i32, i32) -> i32` is no pointer and length of JSON.
fn numbers() -> LoadOptions {
    text().abi(AbiId::Raw)
}

fn run(plugin: &Plugin) -> Result<i32, airlock_host::Error> {
    plugin.call_blocking::<_, i32>("run", &()).map(|outcome| outcome.value)
}

/// A guest whose `run` calls `env.f` with nothing and gives what that gives.
const CALLS: &str = r#"(module (import "env" "f" (func $f (result i32)))
    (func (export "run") (result i32) (call $f)))"#;

#[test]
fn numbers_of_every_type_go_in_and_come_out() {
    let functions = Functions::of("env")
        .func("none", |_, ()| Ok(()))
        .func("one", |_, number: i32| Ok(number + 1))
        .func("wide", |_, (a, b): (u64, i64)| Ok(a.wrapping_add_signed(b)))
        .func("floats", |_, (a, b): (f32, f64)| Ok((b, a)));
    let wat = r#"(module
        (import "env" "none" (func $none))
        (import "env" "one" (func $one (param i32) (result i32)))
        (import "env" "wide" (func $wide (param i64 i64) (result i64)))
        (import "env" "floats" (func $floats (param f32 f64) (result f64 f32)))
        (func (export "one") (param i32) (result i32) (call $none) (call $one (local.get 0)))
        (func (export "wide") (param i64 i64) (result i64) (call $wide (local.get 0) (local.get 1)))
        (func (export "floats") (param f32 f64) (result f64 f32) (call $floats (local.get 0) (local.get 1))))"#;
    let plugin = load(&offering(functions), wat, text());
    assert_eq!(plugin.call_blocking::<_, i32>("one", &41).unwrap().value, 42);
    assert_eq!(plugin.call_blocking::<_, i64>("wide", &(i64::MAX, -1)).unwrap().value, i64::MAX - 1);
    assert_eq!(plugin.call_blocking::<_, (f64, f32)>("floats", &(1.5, 2.5)).unwrap().value, (2.5, 1.5));
}

#[test]
fn env_log_of_a_number_as_mofas_page_has_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let functions = Functions::of("env").func("log", {
        let seen = seen.clone();
        move |_, message: i32| {
            seen.lock().unwrap().push(message);
            Ok(())
        }
    });
    let wat = r#"(module (import "env" "log" (func $log (param i32)))
        (func (export "run") (result i32) (call $log (i32.const 7)) (i32.const 1)))"#;
    let plugin = load(&offering(functions), wat, text());
    assert_eq!((plugin.abi(), run(&plugin).unwrap()), (AbiId::Raw, 1));
    assert_eq!(*seen.lock().unwrap(), [7]);
}

#[test]
fn a_function_of_the_application_goes_before_an_abis() {
    // `host_log` of the JSON ABI takes two numbers and gives none.
    let functions = Functions::of("env").func("host_log", |_, (a, b, c): (i32, i32, i32)| Ok(a + b + c));
    let wat = r#"(module (import "env" "host_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "run") (param i32 i32) (result i32)
            (i32.store8 (i32.const 64) (i32.add (i32.const 48) (call $log (i32.const 1) (i32.const 2) (i32.const 3))))
            (i32.const 64)))"#;
    let plugin = load(&offering(functions), wat, text().abi(AbiId::Json));
    let answer = plugin.invoke_blocking("run", Input::json(&()).unwrap()).unwrap();
    assert_eq!(answer.value.to_json_text(), "6");
}

#[test]
fn of_two_functions_with_one_name_the_later_one_holds() {
    let first = Functions::of("env").func("f", |_, ()| Ok(1)).func("f", |_, ()| Ok(2));
    assert_eq!(run(&load(&offering(first.clone()), CALLS, text())).unwrap(), 2);
    let host = Host::builder().functions(first).functions(Functions::of("env").func("f", |_, ()| Ok(3)));
    assert_eq!(run(&load(&host.build().unwrap(), CALLS, text())).unwrap(), 3);
}

#[test]
fn a_function_with_another_type_than_is_imported_is_named() {
    let host = offering(Functions::of("env").func("f", |_, number: i64| Ok(number)));
    let error = host.load_blocking(source(CALLS), text()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::IncompatibleImport { module, name, .. } if module == "env" && name == "f"),
        "{error}"
    );
}

/// A guest that hands a text over, and one that has an allocator.
const TEXTS: &str = r#"(module
    (import "app" "shout" (func $shout (param i32 i32) (result i32)))
    (memory (export "memory") 1) (global $next (mut i32) (i32.const 1024))
    (data (i32.const 16) "h\c3\a4 there")
    (func (export "alloc") (param i32) (result i32)
        (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 0))))
    (func (export "run") (result i32) (call $shout (i32.const 16) (i32.const 9)))
    (func (export "at") (param i32 i32) (result i32) (call $shout (local.get 0) (local.get 1))))"#;

#[test]
fn memory_is_read_and_written_and_ranges_outside_are_the_guests_fault() {
    let functions = Functions::of("app").func("shout", |call, (pointer, length): (u32, u32)| {
        let mut memory = call.memory()?;
        assert_eq!(memory.value::<u8>(pointer)?, b'h');
        let loud = memory.text(pointer, length)?.to_uppercase();
        memory.write(pointer, loud.as_bytes())?;
        memory.set(100, -2_i16)?;
        assert_eq!(memory.value::<u16>(100)?, u16::MAX - 1);
        Ok(u32::try_from(loud.chars().count()).unwrap())
    });
    let plugin = load(&offering(functions), TEXTS, numbers());
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(session.call_func_blocking::<(), i32>("run", ()).unwrap(), 8);
    assert_eq!(session.memory().unwrap().text(16, 9).unwrap(), "HÄ THERE");

    for (at, length, reason) in [
        (17, 1, "no UTF-8"),
        (65_530, 7, "the range at 65530, 7 bytes long, is outside its memory of 65536 bytes"),
        (u32::MAX, u32::MAX, "is outside its memory"),
    ] {
        let functions = Functions::of("app").func("shout", |call, (pointer, length): (u32, u32)| {
            call.text(pointer, length)?;
            Ok(0)
        });
        let plugin = load(&offering(functions), TEXTS, numbers());
        let error = plugin.call_blocking::<_, i32>("at", &(at, length)).unwrap_err();
        let is_it = |kind: &ErrorKind| matches!(kind, ErrorKind::BadGuest { function, reason: told } if function == "app.shout" && told.contains(reason));
        assert!(is_it(error.kind()), "{error}");
    }
}

#[test]
fn an_awaited_function_gives_memory_from_the_guests_own_allocator() {
    let functions = Functions::of("app").func_async("shout", |call, (pointer, length): (u32, u32)| {
        Box::pin(async move {
            let loud = call.text(pointer, length)?.to_uppercase();
            let at = call.allocate(u32::try_from(loud.len()).unwrap()).await?;
            call.memory()?.write(at, loud.as_bytes())?;
            Ok(at)
        })
    });
    let host = offering(functions);
    let plugin = load(&host, TEXTS, numbers());
    for mode in MODES {
        let answer = mode.invoke(&plugin, "run", &[]).unwrap();
        assert_eq!(answer.value.to_json_text(), "1024", "{mode:?}");
    }
    let mut session = plugin.session_blocking().unwrap();
    let at = session.call_func_blocking::<(), u32>("run", ()).unwrap();
    assert_eq!(session.memory().unwrap().text(at, 9).unwrap(), "HÄ THERE");
    // The next piece behind it.
    assert_eq!(session.allocate_blocking(4).unwrap(), 1024 + 9);
    assert_eq!(block_on(std::pin::pin!(session.allocate(4))).unwrap(), 1024 + 13);
}

#[test]
fn a_guest_without_an_allocator_gets_pages() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "first") (param i32 i32) (result i32) (i32.load8_u (local.get 0))))"#;
    let plugin = load(&Host::new().unwrap(), wat, numbers().limit(LimitKind::Memory, 3 << 16));
    let mut session = plugin.session_blocking().unwrap();
    let at = session.allocate_blocking(5).unwrap();
    assert_eq!(at, 1 << 16);
    session.memory().unwrap().write(at, b"hello").unwrap();
    assert_eq!(session.call_func_blocking::<(u32, u32), u32>("first", (at, 5)).unwrap(), u32::from(b'h'));
    let error = session.allocate_blocking(3 << 16).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Memory, .. }), "{error}");
    // Nothing was lost by it.
    assert_eq!(session.allocate_blocking(8).unwrap(), (1 << 16) + 8);
}

#[test]
fn an_allocator_that_lies_ends_the_session() {
    for (given, reason) in [(0, "it gave no memory for 5 bytes"), (-1, "is outside its memory")] {
        let wat = format!(
            r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) (i32.const {given})))"#
        );
        let mut session = load(&Host::new().unwrap(), &wat, text()).session_blocking().unwrap();
        let error = session.allocate_blocking(5).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::BadGuest { .. }) && error.to_string().contains(reason),
            "{error}"
        );
        assert!(!session.is_alive());
    }
}

#[test]
fn what_a_function_needs_is_asked_for_and_enforced_before_it_runs() {
    let count = Arc::new(AtomicU32::new(0));
    let functions = Functions::of("env")
        .func("f", {
            let count = count.clone();
            move |_, ()| Ok(count.fetch_add(1, Ordering::Relaxed).cast_signed())
        })
        .needs(capability("tools.call=deploy"));
    let host = offering(functions);
    let plugin = load(&host, CALLS, text());
    let asked: Vec<String> = plugin.requests().iter().map(|request| request.capability.to_string()).collect();
    assert_eq!(asked, ["tools.call=deploy"]);
    let error = run(&plugin).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied(capability("tools.call=deploy")));
    assert_eq!(count.load(Ordering::Relaxed), 0);

    for allowed in ["tools.call=deploy", "tools.call=dep*", "tools.call=*"] {
        run(&load(&host, CALLS, text().allow(capability(allowed)))).unwrap();
    }
    run(&load(&host, CALLS, text().allow(capability("tools.call=deplo")))).unwrap_err();
    let denied = text().allow(capability("tools.call=deploy")).deny(capability("tools.call=*"));
    run(&load(&host, CALLS, denied)).unwrap_err();
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[test]
fn what_depends_on_parameters_is_asked_on_the_way_and_the_guest_may_live_on() {
    let functions = Functions::of("env")
        .func("f", |call, ()| match call.permit(Need::Name(CapabilityKind::Secrets, "TOKEN")) {
            Ok(permit) => Ok(i32::try_from(permit.caller().name.len()).unwrap()),
            Err(error) => Ok(-i32::try_from(error.code().len()).unwrap()),
        })
        .needs(capability("secrets=*"));
    let host = Host::builder().functions(functions).build().unwrap();
    let granted = LoadOptions::new().wat(true).name("four").allow(capability("secrets=*"));
    assert_eq!(run(&load(&host, CALLS, granted)).unwrap(), 4);

    let ungated = Functions::of("env").func("f", |call, ()| {
        let denied = call.permit(Need::Name(CapabilityKind::Secrets, "TOKEN")).is_err();
        Ok(i32::from(denied))
    });
    assert_eq!(run(&load(&offering(ungated), CALLS, text())).unwrap(), 1);
}

#[test]
fn errors_and_panics_are_typed_and_end_the_session() {
    let cases: [(Functions, &str, &str); 4] = [
        (
            Functions::of("env").func::<(), i32, _>("f", |_, ()| Err("the disk is full".into())),
            "host-function",
            "the application's function `env.f` failed: the disk is full",
        ),
        (
            Functions::of("env").func::<(), i32, _>("f", |_, ()| panic!("at the disco")),
            "host-function",
            "the application's function `env.f` failed: it panicked: at the disco",
        ),
        (
            Functions::of("env")
                .func_async::<(), i32, _>("f", |_, ()| Box::pin(async { panic!("at {}", "once") })),
            "host-function",
            "the application's function `env.f` failed: it panicked: at once",
        ),
        (
            Functions::of("env").func::<(), i32, _>("f", |_, ()| {
                Err(airlock_host::Error::new(ErrorKind::Failed("\x1b[2Jno".to_owned())).into())
            }),
            "failed",
            "the plugin failed: \\x1b[2Jno",
        ),
    ];
    for (functions, code, message) in cases {
        let plugin = load(&offering(functions), CALLS, text());
        let mut session = plugin.session_blocking().unwrap();
        let error = session.call_func_blocking::<(), i32>("run", ()).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, message));
        assert!(!session.is_alive());
        assert_eq!(run(&plugin).unwrap_err().code(), code);
    }
}

#[test]
fn data_goes_along_with_a_call_and_with_a_session() {
    let functions = Functions::of("env").func("f", |call, ()| Ok(call.data::<i32>().copied().unwrap_or(-1)));
    let plugin = load(&offering(functions), CALLS, text());
    let with = |number: i32| CallOptions::new().data(Arc::new(number));
    assert_eq!(run(&plugin).unwrap(), -1);
    let fresh = plugin.invoke_blocking_with("run", Input::Words(Vec::new()), &with(5)).unwrap();
    assert_eq!(fresh.value.to_json_text(), "5");
    let other = CallOptions::new().data(Arc::new("of another type"));
    let fresh = plugin.invoke_blocking_with("run", Input::Words(Vec::new()), &other).unwrap();
    assert_eq!(fresh.value.to_json_text(), "-1");

    let mut session = plugin.session_blocking().unwrap();
    session.set_data(Arc::new(7));
    assert_eq!(session.call_func_blocking::<(), i32>("run", ()).unwrap(), 7);
    let own = session.invoke_blocking_with("run", Input::Words(Vec::new()), &with(8)).unwrap();
    assert_eq!(own.value.to_json_text(), "8");
    assert_eq!(session.call_func_blocking::<(), i32>("run", ()).unwrap(), 7);
}

#[test]
fn an_awaited_function_waits_until_the_deadline_and_no_longer() {
    let functions = Functions::of("env").func_async("f", |call, ()| {
        Box::pin(async move {
            assert!(call.remaining() <= Duration::from_millis(50));
            std::future::pending::<()>().await;
            Ok(0_i32)
        })
    });
    let plugin = load(&offering(functions), CALLS, text().limit(LimitKind::Timeout, 50_000_000));
    for mode in MODES {
        let error = mode.invoke(&plugin, "run", &[]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Deadline { .. }), "{mode:?}: {error}");
    }
}

#[test]
fn only_a_function_that_is_awaited_makes_a_plugin_one_that_waits() {
    let inside_tokio = |functions: Functions| {
        let plugin = load(&offering(functions), CALLS, text());
        Mode::CurrentThread.wait(async { run(&plugin) })
    };
    assert_eq!(inside_tokio(Functions::of("env").func("f", |_, ()| Ok(3))).unwrap(), 3);
    let awaited = Functions::of("env").func_async("f", |_, ()| Box::pin(async { Ok(3_i32) }));
    assert_eq!(*inside_tokio(awaited).unwrap_err().kind(), ErrorKind::BlockingInRuntime);
}

#[test]
fn calls_of_functions_are_counted_and_limited() {
    let functions = Functions::of("env").func("f", |_, ()| Ok(1));
    let wat = r#"(module (import "env" "f" (func $f (result i32)))
        (func (export "run") (result i32) (loop $again (drop (call $f)) (br $again)) (i32.const 0)))"#;
    let plugin = load(&offering(functions), wat, text().limit(LimitKind::HostCalls, 1000));
    let error = run(&plugin).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::HostCalls, maximum: 1000, .. }),
        "{error}"
    );
}

#[test]
fn what_a_function_logs_is_the_plugins_log_where_it_may() {
    let functions = Functions::of("env")
        .func("f", |call, ()| {
            call.log(airlock_host::LogLevel::Warn, "careful")?;
            Ok(0)
        })
        .needs(capability("log"));
    let plugin = load(&offering(functions), CALLS, text().allow(capability("log")));
    let outcome = plugin.call_blocking::<_, i32>("run", &()).unwrap();
    assert_eq!(outcome.log, b"warn: careful\n");
}

#[test]
fn hostile_ranges_never_panic_and_never_reach_outside() {
    let functions = Functions::of("app").func("shout", |call, (pointer, length): (u32, u32)| {
        let mut memory = call.memory()?;
        let size = memory.size();
        let fits = (u64::from(pointer) + u64::from(length)) <= size as u64;
        assert_eq!(memory.read(pointer, length).is_ok(), fits);
        assert_eq!(memory.value::<u64>(pointer).is_ok(), u64::from(pointer) + 8 <= size as u64);
        assert_eq!(memory.set(pointer, 1_u64).is_ok(), u64::from(pointer) + 8 <= size as u64);
        Ok(u32::from(fits))
    });
    let plugin = load(&offering(functions), TEXTS, numbers());
    let mut session = plugin.session_blocking().unwrap();
    let edges =
        [0, 1, 7, 8, 65_527, 65_528, 65_529, 65_535, 65_536, 65_537, i32::MAX as u32, u32::MAX - 7, u32::MAX];
    for pointer in edges {
        for length in edges {
            session.call_func_blocking::<(u32, u32), u32>("at", (pointer, length)).unwrap();
        }
    }
}

#[test]
fn what_ends_a_call_ends_it_also_where_the_function_makes_nothing_of_it() {
    let talks = Functions::of("env")
        .func("f", |call, ()| {
            let _ = call.log(airlock_host::LogLevel::Warn, &"much ".repeat(1000));
            Ok(1)
        })
        .needs(capability("log"));
    let options = text().allow(capability("log")).limit(LimitKind::Log, 100);
    assert_eq!(run(&load(&offering(talks), CALLS, options)).unwrap_err().code(), "limit-log");

    let takes = Functions::of("app").func_async("shout", |call, _: (u32, u32)| {
        Box::pin(async move {
            let _ = call.allocate(8).await;
            Ok(1_u32)
        })
    });
    let wat = r#"(module (import "app" "shout" (func $shout (param i32 i32) (result i32)))
        (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) unreachable)
        (func (export "run") (result i32) (call $shout (i32.const 0) (i32.const 0))))"#;
    assert_eq!(run(&load(&offering(takes), wat, numbers())).unwrap_err().code(), "trap");
}
