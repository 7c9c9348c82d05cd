//! A plugin that keeps memories for as long as its instance lives.

use std::cell::RefCell;

wit_bindgen::generate!({ world: "storage", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::storage_exports::{Guest, MemoryEntry};

struct Shelf;

export!(Shelf);

struct Kept {
    entry: MemoryEntry,
    session: Option<String>,
}

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

impl Guest for Shelf {
    fn name() -> String {
        "shelf".to_owned()
    }

    fn store_memory(
        key: String,
        content: String,
        category: String,
        session: Option<String>,
    ) -> Result<(), String> {
        if key.is_empty() {
            return Err("a memory has a key".to_owned());
        }
        KEPT.with_borrow_mut(|kept| {
            kept.retain(|one| one.entry.key != key);
            let (id, timestamp) = (format!("{}-{}", key, kept.len()), "1970-01-01T00:00:00Z".to_owned());
            let entry = MemoryEntry { id, key, content, category, timestamp, score: None };
            kept.push(Kept { entry, session });
        });
        Ok(())
    }

    fn recall_memory(
        query: String,
        limit: u32,
        session: Option<String>,
    ) -> Result<Vec<MemoryEntry>, String> {
        let fits = |one: &&Kept| {
            one.entry.content.contains(&query) && (session.is_none() || one.session == session)
        };
        let score = |one: &Kept| MemoryEntry { score: Some(1.0), ..one.entry.clone() };
        Ok(KEPT.with_borrow(|kept| kept.iter().filter(fits).take(limit as usize).map(score).collect()))
    }

    fn forget_memory(key: String) -> Result<bool, String> {
        KEPT.with_borrow_mut(|kept| {
            let before = kept.len();
            kept.retain(|one| one.entry.key != key);
            Ok(kept.len() < before)
        })
    }

    fn count_memories() -> Result<u32, String> {
        Ok(KEPT.with_borrow(|kept| u32::try_from(kept.len()).unwrap_or(u32::MAX)))
    }

    fn health_check() -> bool {
        true
    }
}
