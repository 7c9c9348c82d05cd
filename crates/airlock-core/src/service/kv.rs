//! What a plugin keeps between calls.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ServiceError, ServiceFuture};
use crate::Permit;

/// Bytes that a key may have, at least one.
pub const KV_KEY: usize = 1024;

/// One change among others that are made together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvChange<'a> {
    /// Keeps a value under a key.
    Set(&'a str, &'a [u8]),
    /// Forgets a key.
    Delete(&'a str),
}

impl KvChange<'_> {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            KvChange::Set(key, _) | KvChange::Delete(key) => key,
        }
    }

    /// Whether its key can be one.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`].
    pub fn check(&self) -> Result<(), ServiceError> {
        match (1..=KV_KEY).contains(&self.key().len()) {
            true => Ok(()),
            false => Err(ServiceError::Invalid(format!("a key has 1 to {KV_KEY} bytes"))),
        }
    }
}

/// Where plugins keep what is theirs. Each plugin sees its own and nothing else, by its name:
/// an update finds what the version before it kept.
pub trait Kv: Send + Sync + fmt::Debug {
    /// What is kept under `key`.
    fn get<'a>(&'a self, permit: &'a Permit, key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>>;

    /// Keys that begin with `prefix` and come after `after`, sorted by their bytes, at most
    /// `count` of them.
    fn keys<'a>(
        &'a self,
        permit: &'a Permit,
        prefix: &'a str,
        after: Option<&'a str>,
        count: usize,
    ) -> ServiceFuture<'a, Vec<String>>;

    /// Makes all changes or none, and says of each whether its key was there before. What is
    /// kept then survives the end of this process.
    ///
    /// Keys and values together may not become more than [`Permit::quota`], which is
    /// [`ServiceError::Full`]; what takes away is done beyond it too.
    fn apply<'a>(&'a self, permit: &'a Permit, changes: &'a [KvChange<'a>]) -> ServiceFuture<'a, Vec<bool>>;

    /// Bytes of all keys and values.
    fn usage<'a>(&'a self, permit: &'a Permit) -> ServiceFuture<'a, u64>;
}

/// What is kept in memory, for as long as this is: for tests, and applications that want no
/// more.
#[derive(Default)]
pub struct MemoryKv {
    plugins: Mutex<BTreeMap<String, Kept>>,
}

type Kept = BTreeMap<String, Vec<u8>>;

impl MemoryKv {
    /// Nothing yet.
    pub fn new() -> Self {
        MemoryKv::default()
    }

    /// Has a plugin find this under a key, as if it had kept it, whatever its quota.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a key that is none.
    pub fn put(&self, plugin: &str, key: &str, value: &[u8]) -> Result<(), ServiceError> {
        KvChange::Set(key, value).check()?;
        self.plugins().entry(plugin.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// What a plugin keeps, by key.
    pub fn entries(&self, plugin: &str) -> BTreeMap<String, Vec<u8>> {
        self.plugins().get(plugin).cloned().unwrap_or_default()
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, permit: &Permit, changes: &[KvChange<'_>]) -> Result<Vec<bool>, ServiceError> {
        permit.check()?;
        changes.iter().try_for_each(KvChange::check)?;
        let mut plugins = self.plugins();
        let kept = plugins.entry(permit.caller().name.clone()).or_default();
        let before = size(kept);
        let mut next = kept.clone();
        let were_there = changes.iter().map(|change| match change {
            KvChange::Set(key, value) => next.insert((*key).to_owned(), value.to_vec()).is_some(),
            KvChange::Delete(key) => next.remove(*key).is_some(),
        });
        let were_there = were_there.collect();
        let (needed, quota) = (size(&next), permit.quota());
        if needed > quota && needed > before {
            return Err(ServiceError::Full { needed, quota });
        }
        *kept = next;
        Ok(were_there)
    }
}

impl fmt::Debug for MemoryKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKv").field("plugins", &self.plugins().len()).finish()
    }
}

fn size(kept: &Kept) -> u64 {
    kept.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

impl Kv for MemoryKv {
    fn get<'a>(&'a self, permit: &'a Permit, key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>> {
        let found = self.plugins().get(&permit.caller().name).and_then(|kept| kept.get(key).cloned());
        Box::pin(std::future::ready(permit.check().map(|()| found)))
    }

    fn keys<'a>(
        &'a self,
        permit: &'a Permit,
        prefix: &'a str,
        after: Option<&'a str>,
        count: usize,
    ) -> ServiceFuture<'a, Vec<String>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let plugins = self.plugins();
        let kept = plugins.get(&permit.caller().name).into_iter();
        let keys = kept.flat_map(|kept| kept.range::<str, _>((from, Bound::Unbounded))).map(|(key, _)| key);
        let keys = keys.take_while(|key| key.starts_with(prefix)).take(count).cloned().collect();
        Box::pin(std::future::ready(permit.check().map(|()| keys)))
    }

    fn apply<'a>(&'a self, permit: &'a Permit, changes: &'a [KvChange<'a>]) -> ServiceFuture<'a, Vec<bool>> {
        Box::pin(async move { self.change(permit, changes) })
    }

    fn usage<'a>(&'a self, permit: &'a Permit) -> ServiceFuture<'a, u64> {
        let usage = self.plugins().get(&permit.caller().name).map_or(0, size);
        Box::pin(std::future::ready(permit.check().map(|()| usage)))
    }
}
