//! Files of components: those that are called as functions, those of sessions, and what is recorded.

use std::path::Path;
use std::sync::Arc;

use airlock_host::{
    Approval, AuditEvent, Capability, Grant, GrantStore as _, Host, Identity, LoadOptions, MemoryAudit,
    MemoryGrants, OnAuditFailure, ProgramInput,
};

use super::{Checked, all_fine, checks_on};
use crate::support::{MODES, Mode, host, limits};

fn write(folder: &Path) -> [String; 1] {
    [format!("fs.write={}::/", folder.display())]
}

#[test]
fn a_component_has_its_files_in_every_mode_of_calling() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let plugin = checks_on(&host(), limits(&[]), &write(folder.path()));
        all_fine(&super::told_by_program(mode, &plugin, &["streams"]), 21);
    }
    // Where a function is called too, without `wasi:cli/run`.
    let folder = tempfile::tempdir().unwrap();
    let plugin = checks_on(&host(), limits(&[]), &write(folder.path()));
    let (told, _): Checked = plugin.call_blocking("check", &("places", [""; 0])).unwrap().value;
    all_fine(&told, 24);
}

#[test]
fn host_calls_about_files_are_counted_and_limited() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = checks_on(&host(), limits(&[("host_calls", "20")]), &write(folder.path()));
    let error = Mode::Blocking.run(&plugin, ProgramInput::new().args(["places"])).expect_err("too many");
    assert_eq!(error.code(), "limit-host-calls");
}

#[test]
fn what_a_component_opens_is_recorded_as_used() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let granted = write(folder.path());
    let plugin = checks_on(&host, limits(&[]), &granted);
    Mode::Blocking.run(&plugin, ProgramInput::new().args(["places"])).unwrap();
    let capability: Capability = granted[0].parse().unwrap();
    let is_it =
        |event: &AuditEvent| matches!(event, AuditEvent::Used { capability: it, .. } if *it == capability);
    assert!(audit.events().iter().any(|(_, event)| is_it(event)), "{:?}", audit.events());
}

#[test]
fn what_is_open_in_a_session_is_gone_with_its_grant_and_streams_of_it_too() {
    // A folder, and a file that was granted by itself.
    for place in ["::/", "/kept::/kept"] {
        let folder = tempfile::tempdir().unwrap();
        let granted: Capability = format!("fs.write={}{place}", folder.path().display()).parse().unwrap();
        let grants = Arc::new(MemoryGrants::new());
        let host = Host::builder().slots(2).approval(Approval::new(grants.clone())).build().unwrap();
        let plugin = checks_on(&host, LoadOptions::new(), &[]);
        let identity = Identity { name: plugin.name().to_owned(), digest: plugin.digest() };
        grants.decide(&identity, &[Grant::always(granted.clone())], "test").unwrap();

        let mut session = plugin.session_blocking().unwrap();
        let mut check = |topic: &str, words: &[&str], checks| {
            let (told, _): Checked = session.call_blocking("check", &(topic, words)).unwrap().value;
            all_fine(&told, checks);
        };
        check("keep", &[], 3);
        check("kept", &[], 7);
        check("keep", &[], 3);
        assert_eq!(grants.revoke(plugin.name(), Some(&granted)), 1);
        check("kept", &["gone"], 7);
    }
}
