//! What an application remembers, for as long as its process.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use airlock_core::{MEMORY_LIMIT, Memory, MemoryEntry, Permit, ServiceError, ServiceFuture};
use uuid::Uuid;

/// Bytes of texts that are remembered at once.
const MOST: usize = 16 << 20;

/// The [`Memory`] of this process: for tests, and applications that want no more. An entry fits a query by
/// how many of its words it has.
#[derive(Default)]
pub struct TransientMemory(Mutex<Vec<MemoryEntry>>);

impl TransientMemory {
    /// Nothing yet.
    pub fn new() -> Self {
        TransientMemory::default()
    }

    /// Remembers something for the application.
    pub fn put(&self, id: impl Into<String>, text: impl Into<String>, category: impl Into<String>) {
        let (id, text, category) = (id.into(), text.into(), category.into());
        self.entries().push(MemoryEntry { id, text, category, score: 0.0 });
    }

    /// All that is remembered, what was stored first coming first.
    pub fn all(&self) -> Vec<MemoryEntry> {
        self.entries().clone()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<MemoryEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, permit: &Permit, text: &str, category: &str) -> Result<String, ServiceError> {
        permit.check()?;
        MemoryEntry::check(text, category)?;
        let id = format!("plugin:{}:{}", permit.caller().name, Uuid::new_v4());
        let mut entries = self.entries();
        let needed = entries.iter().map(|entry| entry.text.len()).sum::<usize>() + text.len();
        if needed > MOST {
            return Err(ServiceError::Full { needed: needed as u64, quota: MOST as u64 });
        }
        let (text, category) = (text.to_owned(), category.to_owned());
        entries.push(MemoryEntry { id: id.clone(), text, category, score: 0.0 });
        Ok(id)
    }

    fn search(&self, permit: &Permit, query: &str, limit: u32) -> Result<Vec<MemoryEntry>, ServiceError> {
        permit.check()?;
        let wanted = words(query);
        let mut found: Vec<MemoryEntry> = Vec::new();
        for entry in self.entries().iter().rev() {
            let has = words(&entry.text);
            let fitting = wanted.iter().filter(|word| has.contains(*word)).count();
            if fitting > 0 || wanted.is_empty() {
                #[expect(clippy::cast_precision_loss, reason = "nobody asks for so many words")]
                let score = fitting as f64 / wanted.len().max(1) as f64;
                found.push(MemoryEntry {
                    score: if wanted.is_empty() { 1.0 } else { score },
                    ..entry.clone()
                });
            }
        }
        // What was stored last comes first among equals.
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = found.first().map_or(1.0, |entry| entry.score);
        found.truncate(limit.min(MEMORY_LIMIT) as usize);
        found.iter_mut().for_each(|entry| entry.score /= best);
        Ok(found)
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

impl fmt::Debug for TransientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransientMemory").field("entries", &self.entries().len()).finish()
    }
}

impl Memory for TransientMemory {
    fn store<'a>(
        &'a self,
        permit: &'a Permit,
        text: &'a str,
        category: &'a str,
    ) -> ServiceFuture<'a, String> {
        Box::pin(std::future::ready(self.add(permit, text, category)))
    }

    fn recall<'a>(
        &'a self,
        permit: &'a Permit,
        query: &'a str,
        limit: u32,
    ) -> ServiceFuture<'a, Vec<MemoryEntry>> {
        Box::pin(std::future::ready(self.search(permit, query, limit)))
    }
}
