//! A map from names that many threads read at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crossbeam_utils::CachePadded;

/// Parts with a lock each: calls of different plugins seldom meet in one.
const SHARDS: usize = 32;

/// A part, on cache lines of its own.
type Shard<V> = CachePadded<RwLock<HashMap<Arc<str>, V>>>;

/// A map from names. No lock of it is held while anything else is done.
#[derive(Debug)]
pub(super) struct Map<V> {
    hasher: RandomState,
    shards: [Shard<V>; SHARDS],
}

impl<V: Clone> Map<V> {
    pub(super) fn new() -> Self {
        Map { hasher: RandomState::new(), shards: std::array::from_fn(|_| CachePadded::default()) }
    }

    fn shard(&self, name: &str) -> &RwLock<HashMap<Arc<str>, V>> {
        let shard = self.hasher.hash_one(name) as usize % SHARDS;
        &self.shards[shard]
    }

    fn read(&self, name: &str) -> RwLockReadGuard<'_, HashMap<Arc<str>, V>> {
        self.shard(name).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str) -> RwLockWriteGuard<'_, HashMap<Arc<str>, V>> {
        self.shard(name).write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<V> {
        self.read(name).get(name).cloned()
    }

    /// Puts a value there, unless there is one: that one is given back.
    pub(super) fn insert(&self, name: Arc<str>, value: V) -> Result<(), V> {
        match self.write(&name).entry(name.clone()) {
            Entry::Occupied(taken) => Err(taken.get().clone()),
            Entry::Vacant(vacant) => {
                vacant.insert(value);
                Ok(())
            }
        }
    }

    /// Puts a value there, whatever there is.
    pub(super) fn put(&self, name: Arc<str>, value: V) {
        self.write(&name).insert(name.clone(), value);
    }

    /// Takes what is there, if `is_it` says so.
    pub(super) fn remove_if(&self, name: &str, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        let mut shard = self.write(name);
        match shard.get(name).is_some_and(is_it) {
            true => shard.remove(name),
            false => None,
        }
    }

    /// All of it, by name.
    pub(super) fn sorted(&self) -> Vec<(Arc<str>, V)> {
        let mut all: Vec<(Arc<str>, V)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
