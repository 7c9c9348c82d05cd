use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use airlock_core::{
    Basis, Capability, CapabilityKind, Ceiling, Digest, Gate, Identity, Limits, MEMORY_TEXT, Memory,
    MemoryEntry, Need, Permit, Place, Policy, Request, ServiceError,
};

use super::{MemoryData, QUOTA};

fn permit(name: &str) -> (Gate, Permit) {
    let caller = Identity { name: name.to_owned(), digest: Digest::of(name.as_bytes()) };
    let gate = Gate::new(Arc::new(caller), Arc::new(Limits::default()));
    let capability = Capability::all_of(CapabilityKind::Memory);
    let policy = Policy::decide(Basis {
        requests: &[Request { capability: capability.clone(), required: true }],
        grants: &[capability],
        baseline: &[],
        ceiling: &Ceiling::new(),
        place: &Place::default(),
    });
    let until = Instant::now() + Duration::from_secs(60);
    let permit = gate.permit(&Arc::new(policy), until, Need::Kind(CapabilityKind::Memory));
    (gate, permit.expect("granted"))
}

/// What a future gives that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn texts(found: Result<Vec<MemoryEntry>, ServiceError>) -> Vec<String> {
    found.expect("it searches").into_iter().map(|entry| entry.text).collect()
}

#[test]
fn what_has_more_and_rarer_words_of_a_query_comes_first() {
    let home = tempfile::tempdir().expect("a folder");
    let data = MemoryData::open(home.path()).expect("opened");
    let (_gate, permit) = permit("notes");
    for text in ["the cat sleeps", "the dog barks at the cat", "tea is green", "Ärger with the dog"] {
        now(data.store(&permit, text, "core")).expect("stored");
    }
    assert_eq!(
        texts(now(data.recall(&permit, "dog barks", 10))),
        ["the dog barks at the cat", "Ärger with the dog"]
    );
    assert_eq!(texts(now(data.recall(&permit, "ARGER!", 10))), ["Ärger with the dog"]);
    assert_eq!(texts(now(data.recall(&permit, "the", 2))).len(), 2);
    assert_eq!(texts(now(data.recall(&permit, "", 2))), ["Ärger with the dog", "tea is green"]);
    assert!(texts(now(data.recall(&permit, "nothing of it", 0))).is_empty());
    // None of it is of the language of FTS5.
    for query in ["\"", "a AND", "text:the", "NEAR(a b)", "*", "-the", "'; DROP TABLE memory"] {
        now(data.recall(&permit, query, 10)).expect("it searches");
    }
    let found = now(data.recall(&permit, "dog barks", 10)).expect("found");
    assert!(found[0].score == 1.0 && found[1].score > 0.0 && found[1].score < 1.0, "{found:?}");
}

#[test]
fn all_share_one_memory_that_outlives_the_process_and_ids_say_whose_an_entry_is() {
    let home = tempfile::tempdir().expect("a folder");
    let (_one, one) = permit("one");
    let (_two, two) = permit("two");
    let data = MemoryData::open(home.path()).expect("opened");
    let id = now(data.store(&one, "a secret of one", "my own")).expect("stored");
    drop(data);
    let data = MemoryData::lazy(home.path());
    let found = now(data.recall(&two, "secret", 10)).expect("found");
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].id, found[0].category.as_str()), (&id, "my own"));
    let uuid = id.strip_prefix("plugin:one:").expect("it says whose it is");
    assert!(uuid::Uuid::parse_str(uuid).is_ok_and(|uuid| uuid.get_version_num() == 4), "{uuid}");
}

#[test]
fn what_cannot_be_remembered_and_what_is_too_much_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let data = MemoryData::open(home.path()).expect("opened");
    let (_gate, one) = permit("one");
    for (text, category) in [("", "core"), (&*"x".repeat(MEMORY_TEXT + 1), "core"), ("x", ""), ("x", "a\nb")]
    {
        let stored = now(data.store(&one, text, category));
        assert!(matches!(stored, Err(ServiceError::Invalid(_))), "{stored:?}");
    }
    now(data.store(&one, "the first", "core")).expect("stored");
    data.0
        .on(&one, |connection| {
            let bytes = i64::try_from(QUOTA).expect("small") - 10;
            connection.execute("UPDATE memory_usage SET bytes = ?1", [bytes]).expect("set");
            Ok(())
        })
        .expect("done");
    let full = now(data.store(&one, "the second one", "core"));
    assert_eq!(full, Err(ServiceError::Full { needed: QUOTA + 8, quota: QUOTA }));
    let (_other, two) = permit("two");
    now(data.store(&two, "another's", "core")).expect("its own bound is another");
    assert_eq!(texts(now(data.recall(&one, "second", 10))).len(), 0);
}
