//! What the application remembers, where plugins may add to it and search it.

use std::fmt;

use super::{ServiceError, ServiceFuture};
use crate::Permit;

/// Bytes that a text may have which is remembered, at least one.
pub const MEMORY_TEXT: usize = 64 << 10;

/// Bytes that a category may have, at least one.
pub const MEMORY_CATEGORY: usize = 64;

/// Entries that one search gives at most, however many are asked for.
pub const MEMORY_LIMIT: u32 = 1000;

/// Something that is remembered, as a search finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryEntry {
    /// Which it is, and who stored it: `plugin:NAME:UUID` for a plugin.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// What kind of thing it is: `core`, `daily`, `conversation`, or the plugin's own word.
    pub category: String,
    /// How well it fits what was searched for: above 0, and 1 for the entry that fits best.
    pub score: f64,
}

/// Where the application remembers things. It is one memory for all: whoever may use it finds what
/// others stored.
pub trait Memory: Send + Sync + fmt::Debug {
    /// Remembers a text, and gives the id that it has from now on.
    ///
    /// What a plugin stores counts against a bound of its own, which is [`ServiceError::Full`].
    fn store<'a>(&'a self, permit: &'a Permit, text: &'a str, category: &'a str)
    -> ServiceFuture<'a, String>;

    /// What fits a query best, at most `limit` entries and [`MEMORY_LIMIT`]; the best come first. A query
    /// is words; where it has none, what was stored last comes first.
    fn recall<'a>(
        &'a self,
        permit: &'a Permit,
        query: &'a str,
        limit: u32,
    ) -> ServiceFuture<'a, Vec<MemoryEntry>>;
}

impl MemoryEntry {
    /// Whether a text of a category can be one.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`].
    pub fn check(text: &str, category: &str) -> Result<(), ServiceError> {
        let invalid = |reason: String| Err(ServiceError::Invalid(reason));
        if !(1..=MEMORY_TEXT).contains(&text.len()) {
            return invalid(format!("what is remembered has 1 to {MEMORY_TEXT} bytes, not {}", text.len()));
        }
        if !(1..=MEMORY_CATEGORY).contains(&category.len()) || category.contains(char::is_control) {
            return invalid(format!("a category has 1 to {MEMORY_CATEGORY} bytes and no control characters"));
        }
        Ok(())
    }
}
