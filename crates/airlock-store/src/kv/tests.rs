use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use airlock_core::{
    Basis, Capability, CapabilityKind, Ceiling, Digest, Gate, Identity, Kv, KvChange, Limits, MemoryKv, Need,
    Permit, Place, Policy, Request, ServiceError,
};
use proptest::prelude::*;

use super::KvData;

/// A plugin's way to what it keeps, with this quota.
fn gate(name: &str) -> Gate {
    let caller = Identity { name: name.to_owned(), digest: Digest::of(name.as_bytes()) };
    Gate::new(Arc::new(caller), Arc::new(Limits::default()))
}

fn permit(gate: &Gate, quota: &str, time: Duration) -> Permit {
    let capability: Capability = format!("kv={quota}").parse().expect("a capability");
    let requests = [Request { capability: capability.clone(), required: true }];
    let policy = Policy::decide(Basis {
        requests: &requests,
        grants: &[capability],
        baseline: &[],
        ceiling: &Ceiling::new(),
        place: &Place::default(),
    });
    gate.permit(&Arc::new(policy), Instant::now() + time, Need::Kind(CapabilityKind::Kv)).expect("granted")
}

const TIME: Duration = Duration::from_secs(60);

/// What a future gives that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn data() -> (tempfile::TempDir, KvData) {
    let home = tempfile::tempdir().expect("a folder");
    let data = KvData::open(home.path()).expect("opened");
    (home, data)
}

#[test]
fn what_is_kept_is_there_for_its_plugin_alone_and_after_opening_again() {
    let (home, data) = data();
    let (one, two) = (gate("one"), gate("two"));
    let (one, two) = (permit(&one, "1KiB", TIME), permit(&two, "1KiB", TIME));
    let changes = [KvChange::Set("a", b"1"), KvChange::Set("b", b"\0\xff"), KvChange::Delete("c")];
    assert_eq!(now(data.apply(&one, &changes)), Ok(vec![false, false, false]));
    assert_eq!(now(data.apply(&one, &[KvChange::Set("a", b"2")])), Ok(vec![true]));
    drop(data);
    let data = KvData::open(home.path()).expect("opened again");
    assert_eq!(now(data.get(&one, "a")), Ok(Some(b"2".to_vec())));
    assert_eq!(now(data.get(&one, "b")), Ok(Some(b"\0\xff".to_vec())));
    assert_eq!(now(data.get(&two, "a")), Ok(None));
    assert_eq!((now(data.usage(&one)), now(data.usage(&two))), (Ok(5), Ok(0)));
}

#[test]
fn output_bomb_a_batch_beyond_the_quota_changes_nothing_and_less_is_always_kept() {
    let (_home, data) = data();
    let gate = gate("one");
    let small = permit(&gate, "100B", TIME);
    let value = [7; 60];
    assert_eq!(now(data.apply(&small, &[KvChange::Set("a", &value)])), Ok(vec![false]));
    let batch = [KvChange::Set("b", b"x"), KvChange::Set("c", &value)];
    assert_eq!(now(data.apply(&small, &batch)), Err(ServiceError::Full { needed: 124, quota: 100 }));
    assert_eq!((now(data.get(&small, "b")), now(data.usage(&small))), (Ok(None), Ok(61)));
    // With a quota that became smaller, what takes away is kept.
    let tiny = permit(&gate, "10B", TIME);
    assert_eq!(now(data.apply(&tiny, &[KvChange::Set("a", &value[..50])])), Ok(vec![true]));
    assert_eq!(
        now(data.apply(&tiny, &[KvChange::Set("d", b"x")])),
        Err(ServiceError::Full { needed: 53, quota: 10 })
    );
    assert_eq!(now(data.apply(&tiny, &[KvChange::Delete("a")])), Ok(vec![true]));
    assert_eq!(now(data.usage(&tiny)), Ok(0));
}

#[test]
fn keys_have_a_length_and_are_listed_in_pages() {
    let (_home, data) = data();
    let gate = gate("one");
    let permit = permit(&gate, "1MiB", TIME);
    for key in ["", &"k".repeat(1025)] {
        assert!(matches!(
            now(data.apply(&permit, &[KvChange::Set(key, b"")])),
            Err(ServiceError::Invalid(_))
        ));
    }
    let keys: Vec<String> = ["a", "p:1", "p:10", "p:2", "pq", "ä"].map(str::to_owned).to_vec();
    let changes: Vec<KvChange<'_>> = keys.iter().map(|key| KvChange::Set(key, b"v")).collect();
    now(data.apply(&permit, &changes)).expect("kept");
    let page = |after: Option<&str>| now(data.keys(&permit, "p:", after, 2)).expect("listed");
    assert_eq!((page(None), page(Some("p:10"))), (vec!["p:1".into(), "p:10".into()], vec!["p:2".to_owned()]));
    assert_eq!(now(data.keys(&permit, "", None, 100)), Ok(keys));
}

#[test]
fn cancel_mid_write_a_call_that_is_over_keeps_nothing() {
    let (_home, data) = data();
    let gate = gate("one");
    let late = permit(&gate, "1KiB", Duration::ZERO);
    assert_eq!(now(data.apply(&late, &[KvChange::Set("a", b"1")])), Err(ServiceError::Ended));
    let ended = permit(&gate, "1KiB", TIME);
    drop(gate);
    assert_eq!(now(data.apply(&ended, &[KvChange::Set("a", b"1")])), Err(ServiceError::Ended));
    let other = self::gate("one");
    assert_eq!(now(data.get(&permit(&other, "1KiB", TIME), "a")), Ok(None));
}

#[test]
fn slow_host_call_waiting_for_another_process_ends_with_the_call() {
    let (home, data) = data();
    let other = rusqlite::Connection::open(home.path().join("airlock.db")).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let gate = gate("one");
    let permit = permit(&gate, "1KiB", Duration::from_millis(50));
    assert_eq!(now(data.apply(&permit, &[KvChange::Set("a", b"1")])), Err(ServiceError::TimedOut));
    other.execute_batch("ROLLBACK").expect("it does");
    assert_eq!(now(data.get(&self::permit(&gate, "1KiB", TIME), "a")), Ok(None));
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(String, Option<Vec<u8>>)>),
    Get(String),
    Keys(String, Option<String>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || "[ab:ä]{1,3}";
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        proptest::collection::vec((key(), value), 1..5).prop_map(Step::Apply),
        key().prop_map(Step::Get),
        ("[ab:ä]{0,2}", proptest::option::of(key()), 0..5_usize).prop_map(|(a, b, c)| Step::Keys(a, b, c)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_what_keeping_in_memory_does(steps in proptest::collection::vec(step(), 1..30)) {
        let (_home, data) = data();
        let (memory, gate) = (MemoryKv::new(), gate("one"));
        let permit = permit(&gate, "200B", TIME);
        for step in &steps {
            match step {
                Step::Apply(changes) => {
                    let changes: Vec<KvChange<'_>> = changes
                        .iter()
                        .map(|(key, value)| match value {
                            Some(value) => KvChange::Set(key, value),
                            None => KvChange::Delete(key),
                        })
                        .collect();
                    prop_assert_eq!(now(data.apply(&permit, &changes)), now(memory.apply(&permit, &changes)));
                }
                Step::Get(key) => {
                    prop_assert_eq!(now(data.get(&permit, key)), now(memory.get(&permit, key)));
                }
                Step::Keys(prefix, after, count) => prop_assert_eq!(
                    now(data.keys(&permit, prefix, after.as_deref(), *count)),
                    now(memory.keys(&permit, prefix, after.as_deref(), *count))
                ),
            }
            prop_assert_eq!(now(data.usage(&permit)), now(memory.usage(&permit)));
        }
    }
}
