//! Guests that take more than they may.

use airlock_host::{Feature, Host, LimitKind, ProgramInput};

use super::case;
use crate::support::{MODES, answer, error, host, limits, load, load_error, survives, text};

/// `grow` grows by so many pages and returns what `memory.grow` said.
const GROW: &str = r#"(module (memory (export "memory") 2)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_or_die") (param i32) (if (i32.lt_s (memory.grow (local.get 0)) (i32.const 0)) (then unreachable))))"#;

#[test]
fn grow_past_budget_gives_minus_one_at_the_exact_page() {
    let _case = case(10, "-1 to the guest", "memory, to the byte");
    let host = host();
    // Ten pages: two at the start and eight more, to the byte.
    let plugin = load(&host, GROW, limits(&[("memory", "640KiB")]));
    for mode in MODES {
        let grow = |pages: &str| mode.invoke(&plugin, "grow", &[pages]).unwrap();
        assert_eq!(grow("8").value.to_json_text(), "2", "{mode:?}");
        assert_eq!(grow("8").usage.memory_bytes, 640 << 10, "{mode:?}");
        assert_eq!(grow("9").value.to_json_text(), "-1", "{mode:?}");
        assert_eq!(grow("9").usage.memory_bytes, 128 << 10, "a refusal charges nothing");
    }
    survives(&host);
}

#[test]
fn a_trap_after_a_refused_growth_is_that_limit() {
    let _case = case(10, "limit-memory", "memory");
    let plugin = load(&host(), GROW, limits(&[("memory", "640KiB")]));
    let error = error(&plugin, "grow_or_die", &["100"]);
    assert_eq!(error.to_string(), "limit `memory` of 640.0 KiB hit while running: 6.4 MiB asked for");
    assert_eq!((error.code(), error.exit_code()), ("limit-memory", 123));
}

#[test]
fn many_memories_share_one_budget() {
    let _case = case(11, "limit-memory", "memory, all together");
    let memories = "(memory 16)".repeat(8);
    let wat =
        format!(r#"(module {memories} (func (export "f") (result i32) (memory.grow 3 (i32.const 1))))"#);
    let options = |memory: &str| limits(&[("memory", memory)]).feature(Feature::MultiMemory);
    let host = host();
    assert_eq!(answer(&load(&host, &wat, options("8MiB")), "f", &[]), "-1");
    let error = error(&load(&host, &wat, options("7MiB")), "f", &[]);
    assert_eq!(error.to_string(), "limit `memory` of 7.0 MiB hit while instantiating: 8.0 MiB asked for");
    survives(&host);
}

#[test]
fn table_bomb() {
    let _case = case(12, "-1 to the guest", "table_elements");
    let wat = r#"(module (table $t 1 funcref)
        (func (export "f") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0))))"#;
    let host = host();
    let plugin = load(&host, wat, text());
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "f", &["200000000"]).unwrap().value.to_json_text(), "-1", "{mode:?}");
    }
    let plugin = load(&host, wat, limits(&[("table_elements", "1000")]));
    assert_eq!(answer(&plugin, "f", &["999"]), "1");
    assert_eq!(answer(&plugin, "f", &["1000"]), "-1");
    survives(&host);
}

#[test]
fn declared_minimum_huge() {
    let _case = case(13, "limit-memory, limit-table-elements", "before anything is mapped");
    let host = host();
    let plugin = load(&host, r#"(module (memory 65536) (func (export "f")))"#, text());
    for mode in MODES {
        let error = mode.invoke(&plugin, "f", &[]).expect_err("4 GiB");
        assert_eq!(
            error.to_string(),
            "limit `memory` of 64.0 MiB hit while instantiating: 4.0 GiB asked for"
        );
    }
    assert_eq!(host.memory_used(), 0);
    let table = load(&host, r#"(module (table 10000000 funcref) (func (export "f")))"#, text());
    assert_eq!(error(&table, "f", &[]).code(), "limit-table-elements");
    survives(&host);
}

#[test]
fn memory64_shared_memory_and_multi_memory_are_off_unless_allowed() {
    let _case = case(14, "feature-off", "before compiling");
    for (wat, feature) in [
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1 2 shared))", "threads"),
        ("(module (memory 1) (memory 1))", "multi-memory"),
    ] {
        let error = load_error(wat, text());
        assert_eq!(error.to_string(), format!("the module uses `{feature}`, which is off"));
        assert_eq!(error.code(), "feature-off");
    }
    let wat = r#"(module (memory i64 1) (func (export "f") (result i64) (memory.grow (i64.const 1))))"#;
    assert_eq!(answer(&load(&host(), wat, text().feature(Feature::Memory64)), "f", &[]), "1");
}

#[test]
fn deep_recursion_is_a_typed_error_of_bounded_length() {
    let _case = case(15, "limit-stack", "stack; error below 1,000 characters");
    let host = host();
    let plugin = load(&host, r#"(module (func $f (export "f") (call $f)))"#, text());
    for mode in MODES {
        let error = mode.invoke(&plugin, "f", &[]).expect_err("no end");
        assert_eq!(error.to_string(), "limit `stack` of 1.0 MiB hit while running", "{mode:?}");
        assert!(format!("{error:?}").len() < 1_000);
    }
    survives(&host);
}

#[test]
fn deep_recursion_on_a_stack_larger_than_the_callers_thread() {
    let _case = case(15, "limit-stack", "stack of 64 MiB");
    let host = Host::builder().slots(2).limit(LimitKind::Stack, 64 << 20).build().unwrap();
    let wat = r#"(module (func $f (export "f") (call $f))
        (func $deep (export "deep") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0)))))"#;
    // What one load says of the host's stack changes nothing.
    let plugin = load(&host, wat, limits(&[("stack", "1KiB")]));
    for mode in MODES {
        // This many frames need far more than a test thread's 2 MiB.
        let deep = mode.invoke(&plugin, "deep", &["500000"]).unwrap();
        assert_eq!(deep.value.to_json_text(), "500000", "{mode:?}");
        let error = mode.invoke(&plugin, "f", &[]).expect_err("no end");
        assert_eq!(error.to_string(), "limit `stack` of 64.0 MiB hit while running", "{mode:?}");
    }
}

/// Writes a megabyte at a time to `fd`, for ever.
fn flood(fd: u32) -> String {
    format!(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 32)
            (func $flood (i32.store (i32.const 4) (i32.const 1048576))
                (loop (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0)))
            (func (export "_start") (call $flood)) (func (export "f") (call $flood)))"#
    )
}

#[test]
fn output_bomb_through_stdout_stderr_and_log() {
    let _case = case(17, "limit-output, limit-log", "output, log");
    let host = host();
    for (fd, code) in [(1, "limit-output"), (2, "limit-log")] {
        let plugin = load(&host, &flood(fd), text().abi(airlock_host::AbiId::Command));
        for mode in MODES {
            assert_eq!(
                mode.run(&plugin, ProgramInput::new()).expect_err("too much").code(),
                code,
                "{mode:?}"
            );
        }
    }
    // A plugin's standard output is its log.
    let plugin = load(&host, &flood(1), text().abi(airlock_host::AbiId::Raw));
    assert_eq!(error(&plugin, "f", &[]).code(), "limit-log");
    survives(&host);
}

#[test]
fn output_bomb_through_the_result() {
    let _case = case(17, "limit-output", "output");
    let wat = r#"(module (memory (export "memory") 500)
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "endless") (param i32 i32) (result i32)
            (memory.fill (i32.const 1024) (i32.const 120) (i32.const 32000000)) i32.const 1024)
        (func (export "string") (param i32 i32) (result i32)
            (memory.fill (i32.const 1024) (i32.const 120) (i32.const 30000000))
            (i32.store8 (i32.const 1024) (i32.const 34)) (i32.store8 (i32.const 30000000) (i32.const 34)) i32.const 1024))"#;
    let plugin = load(&host(), wat, text());
    for function in ["endless", "string"] {
        let error = error(&plugin, function, &["1"]);
        assert_eq!(error.to_string(), "limit `output` of 16.0 MiB hit while running", "{function}");
    }
}

#[test]
fn host_budget_many_plugins_together_stay_under_one() {
    let _case = case(56, "limit-host-memory", "host_memory");
    let host = Host::builder().limit(LimitKind::HostMemory, 1 << 20).build().unwrap();
    let plugin = load(&host, r#"(module (memory 6) (func (export "f")))"#, text());
    let one = plugin.session_blocking().unwrap();
    let _two = plugin.session_blocking().unwrap();
    let error = plugin.session_blocking().expect_err("12 of 16 pages are taken");
    assert_eq!(
        error.to_string(),
        "limit `host_memory` of 1.0 MiB hit while instantiating: 1.1 MiB asked for"
    );
    assert_eq!(host.memory_used(), 12 << 16);
    drop(one);
    plugin.call_blocking::<_, ()>("f", &()).unwrap();
    assert_eq!(host.memory_used(), 6 << 16);
}
