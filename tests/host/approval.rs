//! Grants that are kept, asked for and taken back, and the record of calls.

use std::path::Path;
use std::sync::Arc;

use airlock_host::{
    Approval, AuditEvent, AuditSink, Capability, Error, Grant, GrantStore, Host, Identity, Lasting,
    LoadOptions, MemoryAudit, MemoryGrants, OnAuditFailure, Plugin, RecordingPrompt, Result,
};

use crate::support::{source, text};

/// Says what time it is, in nanoseconds.
const TIME: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "now") (result i64)
        (drop (call $now (i32.const 0) (i64.const 1) (i32.const 8))) (i64.load (i32.const 8)))
    (func (export "fail") unreachable))"#;

/// A clock that is not granted stands at the beginning of 2020 and moves at every read.
const VIRTUAL_END: i64 = 1_577_836_800_000_000_000 + 1_000_000_000;

struct Desk {
    grants: Arc<MemoryGrants>,
    prompt: Arc<RecordingPrompt>,
    host: Host,
}

fn desk(answer: Option<Lasting>) -> Desk {
    let grants = Arc::new(MemoryGrants::new());
    let prompt = Arc::new(RecordingPrompt::new(answer));
    let approval = Approval::new(grants.clone()).prompt(prompt.clone());
    Desk { grants, prompt, host: Host::builder().approval(approval).build().unwrap() }
}

fn identity(plugin: &Plugin) -> Identity {
    Identity { name: plugin.name().to_owned(), digest: plugin.digest() }
}

/// A folder with a manifest that asks for the network and for a variable.
fn folder(path: &Path, wat: &str, requests: &str) {
    let manifest = format!(r#"{{"name":"asker","entryPoint":"a.wasm","permissions":{requests}}}"#);
    std::fs::write(path.join("cortex.json"), manifest).unwrap();
    std::fs::write(path.join("a.wasm"), wat::parse_str(wat).unwrap()).unwrap();
}

fn allowed(plugin: &Plugin) -> Vec<String> {
    plugin.policy().allowed().map(Capability::to_string).collect()
}

const EXPORT: &str =
    r#"(module (memory (export "memory") 1) (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;

#[test]
fn what_a_manifest_asks_for_is_asked_once_and_kept() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), EXPORT, r#"{"network":["https://x.example"]}"#);
    let desk = desk(Some(Lasting::Always));
    for _ in 0..2 {
        let plugin = desk.host.load_blocking(home.path(), LoadOptions::new()).unwrap();
        assert_eq!(allowed(&plugin), ["net=https://x.example"]);
    }
    assert_eq!(desk.prompt.asked().len(), 1);
}

#[test]
fn swapped_file_the_same_name_with_other_bytes_inherits_no_grant() {
    let home = tempfile::tempdir().unwrap();
    let asks = r#"{"network":["https://x.example"]}"#;
    folder(home.path(), EXPORT, asks);
    let desk = desk(Some(Lasting::Always));
    desk.host.load_blocking(home.path(), LoadOptions::new()).unwrap();
    folder(home.path(), &EXPORT.replace("i32.const 0", "i32.const 8"), asks);
    let quiet = Approval::new(desk.grants.clone());
    let host = Host::builder().approval(quiet).build().unwrap();
    let swapped = host.load_blocking(home.path(), LoadOptions::new()).unwrap();
    assert!(allowed(&swapped).is_empty());
    desk.host.load_blocking(home.path(), LoadOptions::new()).unwrap();
    let asked = desk.prompt.asked();
    assert_eq!((asked.len(), asked[1].escalation), (2, false));
}

#[test]
fn what_is_granted_once_is_in_force_for_this_load() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), EXPORT, r#"{"env":["HOME"],"network":["https://x.example"]}"#);
    let desk = desk(Some(Lasting::Once));
    let plugin = desk.host.load_blocking(home.path(), LoadOptions::new()).unwrap();
    assert_eq!(allowed(&plugin), ["env=HOME", "net=https://x.example"]);
    assert_eq!(desk.grants.decided(&identity(&plugin)).unwrap(), Some(Vec::new()));
}

#[test]
fn what_is_denied_or_beyond_the_ceiling_is_not_asked_for() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), EXPORT, r#"{"env":["HOME"],"network":["https://x.example"]}"#);
    let desk = desk(Some(Lasting::Always));
    let options = LoadOptions::new().deny("net=*".parse().unwrap());
    let plugin = desk.host.load_blocking(home.path(), options).unwrap();
    assert_eq!(allowed(&plugin), ["env=HOME"]);
    let asked = &desk.prompt.asked()[0].open;
    assert_eq!(asked.iter().map(Capability::to_string).collect::<Vec<_>>(), ["env=HOME"]);
}

#[test]
fn a_revocation_holds_at_the_next_call_of_a_running_session() {
    let desk = desk(None);
    let plugin = desk.host.load_blocking(source(TIME), text()).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let now = session.func::<(), i64>("now").unwrap();
    assert!(now.call_blocking(&mut session, ()).unwrap() < VIRTUAL_END);

    let clock: Capability = "clock".parse().unwrap();
    desk.grants.decide(&identity(&plugin), &[Grant::always(clock.clone())], "test").unwrap();
    assert!(now.call_blocking(&mut session, ()).unwrap() > VIRTUAL_END, "granted meanwhile");
    assert_eq!(desk.grants.revoke(plugin.name(), Some(&clock)), 1);
    assert!(now.call_blocking(&mut session, ()).unwrap() < VIRTUAL_END, "taken back meanwhile");
}

#[test]
fn grants_that_cannot_be_looked_up_are_none() {
    #[derive(Debug, Default)]
    struct Failing(std::sync::atomic::AtomicBool);
    impl GrantStore for Failing {
        fn decided(&self, _plugin: &Identity) -> Result<Option<Vec<Grant>>> {
            Ok(Some(vec![Grant::always("clock".parse()?)]))
        }
        fn decided_before(&self, _plugin: &Identity) -> Result<Option<Vec<Grant>>> {
            Ok(None)
        }
        fn decide(&self, _plugin: &Identity, _decisions: &[Grant], _by: &str) -> Result<()> {
            Ok(())
        }
        fn generation(&self) -> Result<u64> {
            match self.0.load(std::sync::atomic::Ordering::SeqCst) {
                true => Err(Error::host("the store is gone")),
                false => Ok(1),
            }
        }
    }
    let store = Arc::new(Failing::default());
    let host = Host::builder().approval(Approval::new(store.clone())).build().unwrap();
    let plugin = host.load_blocking(source(TIME), text()).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let now = session.func::<(), i64>("now").unwrap();
    assert!(now.call_blocking(&mut session, ()).unwrap() > VIRTUAL_END);
    store.0.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(now.call_blocking(&mut session, ()).unwrap_err().to_string(), "the store is gone");
}

fn audited(on_failure: OnAuditFailure, sink: Arc<dyn AuditSink>) -> Plugin {
    let host = Host::builder().audit(sink, on_failure).build().unwrap();
    host.load_blocking(source(TIME), text().name("timer").allow("clock".parse().unwrap())).unwrap()
}

#[test]
fn every_call_is_recorded_with_what_it_used_and_how_it_ended() {
    let audit = Arc::new(MemoryAudit::new());
    let plugin = audited(OnAuditFailure::Refuse, audit.clone());
    plugin.call_blocking::<_, i64>("now", &()).unwrap();
    plugin.call_blocking::<_, ()>("fail", &()).unwrap_err();
    let mut session = plugin.session_blocking().unwrap();
    session.call_func_blocking::<(), i64>("now", ()).unwrap();
    session.call_func_blocking::<(), ()>("fail", ()).unwrap_err();

    let shown: Vec<String> = audit
        .events()
        .into_iter()
        .map(|(plugin, event)| match event {
            AuditEvent::Called { function, outcome, .. } => format!("{} {function} {outcome}", plugin.name),
            AuditEvent::Used { capability, count } => format!("{} used {capability} {count}", plugin.name),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["timer used clock 1", "timer now ok", "timer fail trap"];
    assert_eq!(shown, expected.repeat(2));
}

#[test]
fn audit_flood_a_guest_that_spins_on_a_capability_is_one_record() {
    let spin = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "spin") (local $left i32)
            (local.set $left (i32.const 100000))
            (loop (drop (call $now (i32.const 0) (i64.const 1) (i32.const 8)))
                (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#;
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let plugin = host.load_blocking(source(spin), text().allow("clock".parse().unwrap())).unwrap();
    plugin.call_blocking::<_, ()>("spin", &()).unwrap();
    let events = audit.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(matches!(events[0].1, AuditEvent::Used { count: 100_000, .. }), "{events:?}");
}

#[test]
fn denied_spin_a_loop_over_what_was_not_granted_leaves_no_record_and_slows_nobody() {
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let spin = TIME.replace(
        r#"(func (export "fail") unreachable)"#,
        r#"(func (export "spin") (loop (drop (call $now (i32.const 0) (i64.const 1) (i32.const 8))) (br 0)))"#,
    );
    let timeout = crate::support::limits(&[("timeout", "300ms")]);
    let spinning = host.load_blocking(source(&spin), timeout).unwrap();
    let honest = host.load_blocking(source(TIME), text()).unwrap();
    std::thread::scope(|scope| {
        let spin = scope.spawn(|| spinning.call_blocking::<_, ()>("spin", &()).unwrap_err());
        for _ in 0..20 {
            honest.call_blocking::<_, i64>("now", &()).unwrap();
        }
        assert_eq!(spin.join().unwrap().code(), "deadline");
    });
    let events = audit.events();
    assert_eq!(events.len(), 21, "one for each call");
    assert!(events.iter().all(|(_, event)| matches!(event, AuditEvent::Called { .. })), "{events:?}");
}

#[test]
fn the_presets_decide_as_they_are_named() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), EXPORT, r#"{"env":["HOME"],"network":["https://x.example"]}"#);
    let grants = || Arc::new(MemoryGrants::new());
    let deny = || RecordingPrompt::new(None);
    let in_force = |approval: Approval| {
        let host = Host::builder().approval(approval).build().unwrap();
        allowed(&host.load_blocking(home.path(), LoadOptions::new()).unwrap())
    };
    let all = ["env=HOME", "net=https://x.example"];
    assert_eq!(in_force(Approval::testing()), all);
    assert_eq!(in_force(Approval::trust_all_dangerous()), all);
    assert!(in_force(Approval::ci(grants())).is_empty());
    assert!(in_force(Approval::strict(grants(), deny())).is_empty());
    assert!(in_force(Approval::permissive(grants(), deny())).is_empty(), "one asks for the network");
    assert_eq!(in_force(Approval::interactive(grants(), RecordingPrompt::new(Some(Lasting::Session)))), all);
}

#[test]
fn a_call_that_cannot_be_recorded_has_failed_unless_chosen_otherwise() {
    #[derive(Debug)]
    struct Full;
    impl AuditSink for Full {
        fn record(&self, _plugin: &Identity, _events: &[AuditEvent]) -> Result<()> {
            Err(Error::host("the disk is full"))
        }
    }
    let refusing = audited(OnAuditFailure::Refuse, Arc::new(Full));
    assert_eq!(refusing.call_blocking::<_, i64>("now", &()).unwrap_err().to_string(), "the disk is full");
    assert_eq!(refusing.call_blocking::<_, ()>("fail", &()).unwrap_err().code(), "trap");
    let going_on = audited(OnAuditFailure::Continue, Arc::new(Full));
    going_on.call_blocking::<_, i64>("now", &()).unwrap();
}
