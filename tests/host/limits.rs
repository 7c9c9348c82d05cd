//! Each limit of the table, hit and reported as that limit.

use airlock_host::{Error, Feature, Host, LIMITS, LimitKind, Phase};

use crate::support::{MODES, Mode, answer, error, host, limits, load, load_error, text};

fn hit(error: &Error) -> (&'static str, u8, Phase) {
    match error.kind() {
        airlock_host::ErrorKind::Limit { phase, .. } | airlock_host::ErrorKind::Deadline { phase, .. } => {
            (error.code(), error.exit_code(), *phase)
        }
        _ => panic!("no limit: {error}"),
    }
}

#[test]
fn the_reference_page_is_made_from_the_table() {
    let mut page = String::from(
        "# Limits\n\nEvery limit has a flag (`--NAME VALUE`, with `-` for `_`), a key under `[limits]` in\n\
         `airlock.toml`, and a default. Flags go before the file, the file before the defaults. A limit\n\
         that is hit is an error named `limit-NAME` with exit code 123; `timeout` gives `deadline` and 124.\n\n\
         | name | default | applies | what it bounds |\n|---|---|---|---|\n",
    );
    for row in &LIMITS {
        let default = row.default.map_or_else(|| "none".to_owned(), |value| row.unit.show(value));
        page.push_str(&format!("| `{}` | {default} | {} | {} |\n", row.name, row.applies, row.about));
    }
    let path = crate::support::repository("docs/limits.md");
    if std::env::var_os("AIRLOCK_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, page, "docs/limits.md is made with AIRLOCK_UPDATE_DOCS=1 cargo test");
}

#[test]
fn fuel_is_counted_per_call_and_reported() {
    let wat = r#"(module (func (export "loop") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))))"#;
    let plugin = load(&host(), wat, limits(&[("fuel", "10_000")]));
    for mode in MODES {
        let outcome = mode.invoke(&plugin, "loop", &["100"]).unwrap();
        let used = outcome.usage.fuel.expect("fuel is counted");
        assert!((100..2_000).contains(&used), "{used}");
        let error = mode.invoke(&plugin, "loop", &["100000"]).expect_err("out of fuel");
        assert_eq!(hit(&error), ("limit-fuel", 123, Phase::Call));
        assert_eq!(error.to_string(), "limit `fuel` of 10000 hit while running");
        assert_eq!(error.hint(), Some("`--fuel VALUE` changes it"));
    }
    let unmetered = load(&host(), wat, text());
    assert_eq!(Mode::Blocking.invoke(&unmetered, "loop", &["100"]).unwrap().usage.fuel, None);
}

#[test]
fn stack_is_the_hosts_and_reported() {
    let wat = r#"(module (func $f (export "f") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0)))))"#;
    let small = Host::builder().limit(LimitKind::Stack, 64 << 10).build().unwrap();
    let plugin = load(&small, wat, text());
    assert_eq!(answer(&plugin, "f", &["100"]), "100");
    assert_eq!(hit(&error(&plugin, "f", &["10000"])), ("limit-stack", 123, Phase::Call));
    assert_eq!(answer(&load(&host(), wat, text()), "f", &["10000"]), "10000");
}

#[test]
fn output_log_and_host_calls_have_their_own_limits() {
    let write = |fd: u32, count: u32| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 2)
                (func (export "_start") (local $n i32)
                    (i32.store (i32.const 4) (i32.const 1000)) (i32.store (i32.const 0) (i32.const 1024))
                    (loop (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))
                        (local.set $n (i32.add (local.get $n) (i32.const 1)))
                        (br_if 0 (i32.lt_u (local.get $n) (i32.const {count}))))))"#
        )
    };
    let run = |wat: &str, pairs: &[(&str, &str)]| {
        load(&host(), wat, limits(pairs)).run_blocking(airlock_host::ProgramInput::new())
    };
    let outcome = run(&write(1, 10), &[("output", "10000B")]).unwrap();
    assert_eq!((outcome.value.stdout.len(), outcome.usage.host_calls), (10_000, 10));
    let error = run(&write(1, 11), &[("output", "10000B")]).expect_err("too much");
    assert_eq!(hit(&error), ("limit-output", 123, Phase::Call));
    let error = run(&write(2, 11), &[("log", "10000B")]).expect_err("too much");
    assert_eq!(hit(&error), ("limit-log", 123, Phase::Call));
    let error = run(&write(1, 11), &[("host_calls", "10")]).expect_err("too many");
    assert_eq!(error.to_string(), "limit `host_calls` of 10 hit while running");
}

#[test]
fn instances_of_a_plugin_are_counted() {
    let plugin = load(
        &host(),
        r#"(module (func (export "f")) (func (export "trap") unreachable))"#,
        limits(&[("instances", "2")]),
    );
    let one = plugin.session_blocking().unwrap();
    let _two = plugin.session_blocking().unwrap();
    let error = plugin.session_blocking().expect_err("a third");
    assert_eq!((error.code(), error.exit_code()), ("limit-instances", 123));
    drop(one);
    plugin.call_blocking::<_, ()>("f", &()).unwrap();
    // A session that has ended is no instance any more, although somebody still holds it.
    let mut dead = plugin.session_blocking().unwrap();
    assert_eq!(dead.call_blocking::<_, ()>("trap", &()).expect_err("it traps").code(), "trap");
    plugin.session_blocking().unwrap();
}

#[test]
fn limits_of_admission_are_set_like_the_others() {
    let error = load_error(r#"(module (func) (func))"#, limits(&[("functions", "1")]));
    assert_eq!(error.to_string(), "limit `functions` of 1 hit while checking the artifact: 2 asked for");
    let error = load_error(r#"(module (func) (func))"#, limits(&[("artifact_size", "10B")]));
    assert_eq!((error.code(), error.exit_code()), ("limit-artifact-size", 123));
}

#[test]
fn features_are_off_unless_allowed() {
    let wat = r#"(module (memory 1) (memory 1) (func (export "f") (result i32) (memory.size 1)))"#;
    assert_eq!(load_error(wat, text()).hint(), Some("`--wasm-feature multi-memory` allows it"));
    assert_eq!(answer(&load(&host(), wat, text().feature(Feature::MultiMemory)), "f", &[]), "1");
}

#[test]
fn the_phase_of_a_deadline_is_told() {
    let timeout = limits(&[("timeout", "50ms")]);
    let start = r#"(module (func $s (loop (br 0))) (start $s) (func (export "f")))"#;
    assert_eq!(
        hit(&error(&load(&host(), start, timeout.clone()), "f", &[])),
        ("deadline", 124, Phase::Instantiate)
    );
    let init = r#"(module (func (export "_initialize") (loop (br 0))) (func (export "f")))"#;
    let told = error(&load(&host(), init, timeout), "f", &[]);
    assert_eq!(told.to_string(), "stopped while initialising: the deadline of 50ms passed");
}
