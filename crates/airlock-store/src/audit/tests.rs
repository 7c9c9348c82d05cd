//! The chain, its rotation, and many writers.

use airlock_core::{AuditEvent, AuditSink as _, Digest, Identity};

use super::{AuditFilter, AuditLog};
use crate::Store;

fn plugin(name: &str) -> Identity {
    Identity { name: name.to_owned(), digest: Digest::of(name.as_bytes()) }
}

fn called(index: usize) -> AuditEvent {
    AuditEvent::Called { function: format!("f{index}"), outcome: "ok".to_owned(), usage: None }
}

#[test]
fn audit_flood_the_log_is_rotated_and_its_chain_goes_on() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::open(home.path()).expect("a store");
    let record = |from: usize, to: usize| {
        (from..to).for_each(|index| store.record(&plugin("a"), &[called(index)]).expect("recorded"));
    };
    record(0, 15);
    let early = store.audit_head().expect("readable");
    assert_eq!(store.rotate_audit(10).expect("works"), None, "too few to rotate");
    record(15, 25);
    let first = store.rotate_audit(10).expect("works").expect("rotated");
    assert!(first.ends_with("audit-0000000001-0000000015.jsonl"), "{}", first.display());
    record(25, 40);
    store.rotate_audit(10).expect("works").expect("rotated again");

    assert_eq!(store.audit(&AuditFilter::default()).expect("readable").len(), 10);
    let verified = store.verify_audit(Some(&early)).expect("the chain holds");
    assert_eq!((verified.records, verified.anchor, verified.head.seq), (40, 30, 40));

    let text = std::fs::read_to_string(&first).expect("readable");
    std::fs::write(&first, text.replace("f3\\\"", "f4\\\"")).expect("written");
    let error = store.verify_audit(None).expect_err("a rotated record was changed");
    assert_eq!(error.to_string(), "the audit log is broken at record 4: it is not what was written");

    std::fs::remove_file(&first).expect("removed");
    let verified = store.verify_audit(None).expect("what is there follows from the anchor");
    assert_eq!((verified.records, verified.anchor), (10, 30));
    let error = store.verify_audit(Some(&early)).expect_err("the known record is gone");
    assert_eq!(
        error.to_string(),
        "the audit log is broken at record 15: it was rotated out, into a file that is not here"
    );
}

#[test]
fn many_threads_write_one_chain() {
    let home = tempfile::tempdir().expect("a folder");
    let lines = home.path().join("lines.jsonl");
    let log = AuditLog::open(home.path(), Some(&lines)).expect("a log");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for index in 0..50 {
                    log.record(&plugin(&format!("p{thread}")), &[called(index), called(index)])
                        .expect("recorded");
                }
            });
        }
    });
    drop(log);
    let store = Store::open(home.path()).expect("a store");
    assert_eq!(store.verify_audit(None).expect("one chain").records, 800);
    let filter = AuditFilter { plugin: Some("p3".to_owned()), ..AuditFilter::default() };
    let functions: Vec<String> = store
        .audit(&filter)
        .expect("readable")
        .into_iter()
        .map(|record| record.event["function"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected: Vec<String> =
        (0..50).flat_map(|index| [format!("f{index}"), format!("f{index}")]).collect();
    assert_eq!(functions, expected, "a thread's records are in its order");
    assert_eq!(std::fs::read_to_string(&lines).expect("readable").lines().count(), 800);
}
