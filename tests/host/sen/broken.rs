//! Modules that do not do as they should: each is refused or ended with what it was, and leaves
//! the host whole.

use airlock_host::{AbiId, ErrorKind, LimitKind, Phase};
use serde_json::json;

use super::{ANSWER, Module, NONE, host, limits, manifest, packed, source, span, success, text};
use crate::support::{MODES, load_error, survives};

#[test]
fn a_missing_export_is_named_when_it_is_loaded() {
    let whole = Module::new("test").wat();
    for (name, ty) in [
        ("plugin_execute", "(i32, i32) -> (i64)"),
        ("plugin_alloc", "(i32) -> (i32)"),
        ("plugin_dealloc", "(i32, i32) -> ()"),
    ] {
        let error = load_error(&whole.replace(&format!("(export \"{name}\")"), ""), text());
        assert_eq!(
            error.to_string(),
            format!(
                "the module does not fit the `sen` ABI: it exports no `{name}`, which should be a func {ty}"
            )
        );
    }
    let error = load_error(&whole.replace("(memory (export \"memory\") 2)", "(memory 2)"), text());
    assert!(matches!(error.kind(), ErrorKind::AbiMismatch { abi: AbiId::Sen, .. }), "{error}");
    let other = whole.replace(
        "(export \"plugin_execute\") (param i32 i32) (result i64)",
        "(export \"plugin_execute\") (param i32 i64) (result i64)",
    );
    let error = load_error(&other, text());
    assert_eq!(
        error.to_string(),
        "the module does not fit the `sen` ABI: its `plugin_execute` is a func (i32, i64) -> (i64), and should \
         be a func (i32, i32) -> (i64)"
    );
}

#[test]
fn an_import_that_is_not_wasi_is_refused_by_name() {
    let module =
        Module { imports: r#"(import "env" "now" (func (result i64)))"#.to_owned(), ..Module::new("test") };
    let error = module.refused();
    assert!(
        matches!(error.kind(), ErrorKind::UnknownImport { module, name, .. } if module == "env" && name == "now"),
        "{error}"
    );
}

#[test]
fn a_manifest_that_is_none_is_refused_with_its_reason() {
    let said = |bytes: &[u8]| Module { manifest: bytes.to_vec(), ..Module::new("test") }.refused();
    assert_eq!(said(b"").code(), "invalid-manifest");
    assert_eq!(said(b"\xc1").code(), "invalid-manifest");
    let mut newer = manifest("test", &json!({}));
    newer["api_version"] = json!(3);
    let error = said(&packed(&newer));
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("api-version", "the plugin speaks version 3 of the `sen` ABI, and 1 and 2 are spoken here")
    );
    let error = said(&packed(&manifest("test", &json!({ "fs_read": [{ "pattern": "../up" }] }))));
    assert!(error.to_string().contains("`..` leads out of the folder it begins in"), "{error}");
}

#[test]
fn a_manifest_is_asked_for_within_limits_of_its_own() {
    let whole = Module::new("test").wat();
    let instead = |body: &str| {
        let start = whole.find("(export \"plugin_manifest\") (result i64)").unwrap();
        let end = whole[start..].find("(func $alloc").unwrap() + start;
        format!("{}(export \"plugin_manifest\") (result i64) {body})\n{}", &whole[..start], &whole[end..])
    };
    let error = load_error(&instead("(loop $l (br $l)) (unreachable)"), text());
    assert_eq!(error.to_string(), "limit `fuel` of 100000000 hit while running");
    // What its calls may have is no more for that.
    let error = load_error(&instead("(loop $l (br $l)) (unreachable)"), limits(&[("fuel", "9000000000000")]));
    assert_eq!(error.to_string(), "limit `fuel` of 100000000 hit while running");
    let error = load_error(&instead("(drop (memory.grow (i32.const 2000))) (unreachable)"), text());
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Memory, .. }), "{error}");
    let error = load_error(&instead("(unreachable)"), text());
    assert!(matches!(error.kind(), ErrorKind::Trap { phase: Phase::Call, .. }), "{error}");
    let error = load_error(&instead(&span(4 << 20, 8)), text());
    assert!(matches!(error.kind(), ErrorKind::BadGuest { .. }), "{error}");
    let error = load_error(&instead("(i64.const -1)"), text());
    assert_eq!(
        error.to_string(),
        "`plugin_manifest` broke its ABI's rules: its answer of 4294967295 bytes at 4294967295 is beyond 2 GiB"
    );
}

/// It is asked before anybody agreed to anything, so nothing of it reaches anybody.
#[test]
fn what_is_printed_and_looked_for_when_it_is_asked_is_nowhere() {
    let imports = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;
    let asks = json!({ "env_read": ["HOME"], "fs_read": [{ "pattern": ".", "recursive": true }],
        "stdio": { "stdin": true, "stdout": true, "stderr": true } });
    let module = Module {
        imports: imports.to_owned(),
        manifest: packed(&manifest("test", &asks)),
        ..Module::new("test")
    };
    // 4 MiB to each stream, of which a log holds one; no variable, no folder; and an hour's sleep.
    let work = r#"(local $n i32)
        (i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 65536))
        (local.set $n (i32.const 64))
        (loop $l
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable)))
            (if (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (if (call $environ (i32.const 0) (i32.const 4)) (then (unreachable)))
        (if (i32.load (i32.const 0)) (then (unreachable)))
        (if (i32.eqz (call $folder (i32.const 3) (i32.const 0))) (then (unreachable)))
        (memory.fill (i32.const 64) (i32.const 0) (i32.const 48))
        (i64.store (i32.const 88) (i64.const 3600000000000))
        (if (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)) (then (unreachable)))"#;
    let wat = module.wat().replace(
        "(export \"plugin_manifest\") (result i64)",
        &format!("(export \"plugin_manifest\") (result i64) {work}"),
    );
    let host = host();
    let plugin = host.load_blocking(source(&wat), text().allow_all_requested()).unwrap();
    let outcome = plugin.execute_blocking(&NONE).unwrap();
    assert_eq!((outcome.value, outcome.log.len()), (success("done"), 0));
    assert_eq!(host.memory_used(), 0);
}

#[test]
fn answers_that_cannot_be_are_refused_and_the_next_call_is_fine() {
    let host = host();
    for (answers, code) in [
        (span(0, 0), "bad-guest"),
        (span(131_072, 1), "bad-guest"),
        (span(131_071, 2), "bad-guest"),
        (span(u64::from(u32::MAX >> 1), 1), "bad-guest"),
        (span(1 << 31, 1), "bad-guest"),
        ("(i64.const 0xffffffff)".to_owned(), "bad-guest"),
        (span(0, 0x7fff_ffff), "limit-output"),
    ] {
        let plugin = Module { answers: Some(answers.clone()), ..Module::new("test") };
        let plugin = plugin.load_with(&host, text()).unwrap();
        for mode in MODES {
            let error = mode.invoke(&plugin, "test", &[]).unwrap_err();
            assert_eq!(error.code(), code, "{answers}: {error}");
        }
    }
    for answer in [
        json!(null),
        json!({}),
        json!({ "Success": null }),
        json!({ "Fail": "x" }),
        json!({ "Error": { "code": 256, "message": "" } }),
    ] {
        let error = Module::answering(&answer).load().execute_blocking(&NONE).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`plugin_execute` broke its ABI's rules: its answer cannot be read"),
            "{error}"
        );
    }
    survives(&host);
}

#[test]
fn an_allocator_that_gives_nothing_is_not_written_over() {
    for (gives, said) in [
        ("(i32.const 0)", "`plugin_alloc` broke its ABI's rules: it gave no memory for 3 bytes"),
        (
            "(i32.const 131071)",
            "`plugin_alloc` broke its ABI's rules: the memory it gave at 131071, 3 bytes long, is outside its memory of 131072 bytes",
        ),
        (
            "(i32.const -1)",
            "`plugin_alloc` broke its ABI's rules: the memory it gave at 4294967295, 3 bytes long, is outside its memory of 131072 bytes",
        ),
    ] {
        let plugin = Module { alloc: gives.to_owned(), ..Module::new("test") }.load();
        assert_eq!(plugin.execute_blocking(&["a"]).unwrap_err().to_string(), said);
    }
}

/// Its own host called the allocator before it gave the guest fuel again, and so never did.
#[test]
fn one_exhaustion_bricks_nothing() {
    let work = "(if (i32.gt_u (local.get 1) (i32.const 3)) (then (loop $l (br $l))))";
    let plugin = Module { work: work.to_owned(), ..Module::new("test") }.load();
    for mode in MODES {
        let error = mode.invoke(&plugin, "test", &["spin", "please"]).unwrap_err();
        assert_eq!(error.to_string(), "limit `fuel` of 100000000 hit while running", "{mode:?}");
        assert_eq!(plugin.execute_blocking(&["a"]).unwrap().value, success("done"));
        let mut session = plugin.session_blocking().unwrap();
        let words = |words: &[&str]| {
            airlock_host::Input::Words(words.iter().map(|word| (*word).to_owned()).collect())
        };
        assert!(session.invoke_blocking("test", words(&["spin", "please"])).is_err());
        assert_eq!(session.invoke_blocking("test", words(&["a"])).unwrap_err().code(), "session-ended");
    }
}

/// Filling memory was next to free there.
#[test]
fn filling_memory_costs_what_it_takes() {
    let work = "(local $n i32) (local.set $n (i32.const 640))
        (loop $l (memory.fill (i32.const 200000) (i32.const 1) (i32.const 6000000))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let module = Module { work: work.to_owned(), ..Module::new("test") };
    let wat = module.wat().replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 100)");
    let error = host().load_blocking(source(&wat), text()).unwrap().execute_blocking(&NONE).unwrap_err();
    assert_eq!(error.to_string(), "limit `fuel` of 100000000 hit while running");
    // As many arguments as its own host had no fuel to read are none too many.
    let many = vec!["short"; 50_000];
    assert_eq!(
        Module::new("test")
            .load_with(&host(), limits(&[("memory", "4MiB")]))
            .unwrap()
            .limits()
            .value(LimitKind::Fuel),
        100_000_000
    );
    let wat = Module::new("test")
        .wat()
        .replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 20)");
    assert_eq!(
        host().load_blocking(source(&wat), text()).unwrap().execute_blocking(&many).unwrap().value,
        success("done")
    );
}

#[test]
fn memory_time_and_stack_are_bounded() {
    let grows = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let error =
        Module { work: grows.to_owned(), ..Module::new("test") }.load().execute_blocking(&NONE).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Memory, maximum: 0x400_0000, .. }),
        "{error}"
    );
    let deep = Module {
        work: "(drop (call $deep (i32.const 1)))".to_owned(),
        more: "(func $deep (param i32) (result i32) (i32.add (local.get 0) (call $deep (local.get 0))))"
            .to_owned(),
        ..Module::new("test")
    };
    let error = deep.load().execute_blocking(&NONE).unwrap_err();
    assert_eq!(error.to_string(), "limit `stack` of 1.0 MiB hit while running");
    let spins = Module { work: "(loop $l (br $l))".to_owned(), ..Module::new("test") };
    let options = limits(&[("fuel", "900000000000000"), ("timeout", "50ms")]);
    let error = spins.load_with(&host(), options).unwrap().execute_blocking(&NONE).unwrap_err();
    assert_eq!(error.code(), "deadline");
}

/// What fails after the answer is there takes nothing from it.
#[test]
fn a_failing_dealloc_is_a_warning_and_its_instance_is_not_called_again() {
    let module = Module { dealloc: "(unreachable)".to_owned(), ..Module::new("test") };
    let plugin = module.load();
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "test", &[]).unwrap().value.to_json_text(), "\"done\"", "{mode:?}");
    }
    let mut session = plugin.session_blocking().unwrap();
    let words = || airlock_host::Input::Words(Vec::new());
    assert_eq!(session.invoke_blocking("test", words()).unwrap().value.to_json_text(), "\"done\"");
    let error = session.invoke_blocking("test", words()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the session has ended: its instance has left, or cannot take back what it gave"
    );
}

#[test]
fn an_effect_of_a_plugin_that_cannot_be_resumed_is_its_fault() {
    let sleeps = json!({ "Effect": { "Sleep": { "id": 7, "duration_ms": 1 } } });
    let error = Module::answering(&sleeps).load().execute_blocking(&NONE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`plugin_execute` broke its ABI's rules: it wants something done, and exports no `plugin_resume` to be told of it"
    );
}

#[test]
fn wanting_things_done_for_ever_has_an_end() {
    let sleeps = packed(&json!({ "Effect": { "Sleep": { "id": 7, "duration_ms": 0 } } }));
    let more = format!(
        "(func (export \"plugin_resume\") (param i32 i32 i32) (result i64) {})",
        span(ANSWER, sleeps.len())
    );
    let module =
        Module { answer: sleeps, more, alloc: "(i32.const 65536)".to_owned(), ..Module::new("test") };
    let plugin = module.load_with(&host(), limits(&[("host_calls", "1000")])).unwrap();
    for mode in MODES {
        let error = mode.invoke(&plugin, "test", &[]).unwrap_err();
        assert_eq!(error.to_string(), "limit `host_calls` of 1000 hit while running", "{mode:?}");
    }
    let generous = &[("timeout", "50ms"), ("host_calls", "1000000000"), ("fuel", "900000000000000")];
    let plugin = module.load_with(&host(), limits(generous)).unwrap();
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "test", &[]).unwrap_err().code(), "deadline", "{mode:?}");
    }
}
