//! What bounds a plugin, and how each bound ends it.

use airlock_host::{ErrorKind, LimitKind, LoadOptions};

use super::Step::{Call, Do, Send};
use super::{fixture, folder, granted, load, module, ran, run, text_of};
use crate::support::{host, limits, repository, survives};

#[test]
fn its_defaults_are_the_documents_and_its_hosts() {
    let at = folder();
    let plugin = fixture("fledge-document", at.path(), &[]);
    let value = |kind| plugin.limits().value(kind);
    assert_eq!(value(LimitKind::Fuel), 10_000_000_000);
    assert_eq!(value(LimitKind::Timeout), 60_000_000_000);
    assert_eq!(value(LimitKind::Memory), 256 << 20);
}

#[test]
fn each_limit_ends_it_with_its_cause_and_the_host_goes_on() {
    let host = host();
    let recursion = "call $deep";
    let wat = |body: &str, more: &str| {
        let wat = module(&[Do(body)]);
        wat.replacen("(func (export \"_start\")", &format!("{more}\n(func (export \"_start\")"), 1)
    };
    for (wat, limit, value, code, exit) in [
        (wat("(loop (br 0))", ""), "fuel", "100000", "limit-fuel", 123),
        (wat("(loop (br 0))", ""), "timeout", "200ms", "deadline", 124),
        (
            wat("(if (i32.eq (memory.grow (i32.const 4096)) (i32.const -1)) (then unreachable))", ""),
            "memory",
            "256MiB",
            "limit-memory",
            123,
        ),
        (wat(recursion, "(func $deep (call $deep))"), "stack", "1MiB", "limit-stack", 123),
    ] {
        let plugin = load(&host, &wat, limits(&[(limit, value)]));
        let error = run(&plugin, &[]).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, exit), "{limit}: {error}");
        assert_eq!(host.memory_used(), 0);
    }
    survives(&host);
}

#[test]
fn growing_past_the_budget_is_refused_and_no_trap() {
    let at = folder();
    // 96 pages are there; 4096 are 256 MiB.
    let grow = |pages: u32, wanted: i32| {
        format!("(if (i32.ne (memory.grow (i32.const {pages})) (i32.const {wanted})) (then unreachable))")
    };
    let (fits, beyond) = (grow(4000, 96), grow(1, -1));
    let plugin = load(&host(), &module(&[Do(&fits), Do(&beyond)]), granted(at.path(), &[]));
    assert_eq!(run(&plugin, &[]).unwrap().value.code, 0);
}

#[test]
fn a_trap_comes_with_what_was_printed_before() {
    let at = folder();
    let plugin = fixture("fledge-messages", at.path(), &[]);
    let error = run(&plugin, &["panic"]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Trap { .. }), "{error}");
    assert_eq!((error.code(), error.exit_code()), ("trap", 122));
    let stderr = text_of(&error.printed().unwrap().stderr);
    assert!(stderr.contains("something is wrong"), "{stderr}");
}

#[test]
fn exhausting_fuel_once_is_nothing_for_the_next_run() {
    let at = folder();
    let options = granted(at.path(), &[]).limit(LimitKind::Fuel, 50_000);
    let steps = [Send(r#"{"type":"output","text":"x"}"#)];
    let host = host();
    let small = load(&host, &module(&steps), options.clone());
    let spin = load(&host, &module(&[Do("(loop (br 0))")]), options);
    for _ in 0..3 {
        assert_eq!(run(&spin, &[]).unwrap_err().code(), "limit-fuel");
        let outcome = run(&small, &[]).unwrap();
        let fuel = outcome.usage.fuel.unwrap();
        assert!((1..1000).contains(&fuel), "{fuel}");
    }
}

#[test]
fn leaving_with_0_is_success_for_go_and_everybody() {
    let at = folder();
    assert_eq!(
        ran("fledge-go", at.path(), &[], &["a"]),
        ("hello from Go, 1 arguments\n".to_owned(), String::new(), 0)
    );
    assert_eq!(ran("fledge-go", at.path(), &[], &["fail"]).2, 7);
    let wat = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "fledge" "send" (func (param i32 i32))) (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const CODE)) unreachable))"#;
    for code in [0, 3] {
        let plugin = load(&host(), &wat.replace("CODE", &code.to_string()), crate::support::text());
        assert_eq!(run(&plugin, &[]).unwrap().value.code, code);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_of_every_fixture() {
    let at = folder();
    std::fs::write(at.path().join("file"), "one \n").unwrap();
    let host = host();
    for (name, args) in [
        ("fledge-document", &[][..]),
        ("fledge-life", &["5"]),
        ("fledge-counter", &[]),
        ("fledge-exec", &["echo hi"]),
        ("fledge-envcheck", &[]),
        ("fledge-go", &["x"]),
        ("fledge-messages", &["all"]),
        ("fledge-stdout", &["x"]),
        ("fledge-lint", &[]),
    ] {
        let options =
            || LoadOptions::new().working_folder(at.path()).allow("fs.read=.::/project".parse().unwrap());
        let once = || {
            let plugin = host.load_blocking(repository("plugins").join(name), options()).unwrap();
            let outcome = run(&plugin, args).unwrap();
            (outcome.value, outcome.usage.fuel, outcome.usage.memory_bytes, outcome.usage.host_calls)
        };
        assert_eq!(once(), once(), "{name}");
    }
}

#[test]
fn a_program_that_it_runs_ends_with_its_time() {
    let at = folder();
    let options = granted(at.path(), &["exec=sh -c *"]).limits(&[(LimitKind::Timeout, 300_000_000)].into());
    let plugin = load(&host(), &module(&[Call("exec", r#"{"command":"sleep 65"}"#)]), options);
    let start = std::time::Instant::now();
    let error = run(&plugin, &[]).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("deadline", 124));
    assert!(start.elapsed() < std::time::Duration::from_secs(20));
}
