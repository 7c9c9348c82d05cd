//! A map from names that many threads read at once, without writing anything that others read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// Parts, each of which is made anew when something in it changes: so many that this is little
/// work with thousands of names.
const SHARDS: usize = 128;

type Names<V> = HashMap<Arc<str>, V>;

/// A map from names. No lock of it is held while anything else is done, and reading takes none.
#[derive(Debug)]
pub(super) struct Map<V> {
    hasher: RandomState,
    shards: Box<[ArcSwap<Names<V>>]>,
    /// Held by whoever changes something.
    changing: Mutex<()>,
}

impl<V: Clone> Map<V> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::from_pointee(Names::new())).collect();
        Map { hasher: RandomState::new(), shards, changing: Mutex::default() }
    }

    fn shard(&self, name: &str) -> &ArcSwap<Names<V>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    /// What `work` makes of what is there.
    #[inline]
    pub(super) fn with<R>(&self, name: &str, work: impl FnOnce(Option<&V>) -> R) -> R {
        work(self.shard(name).load().get(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<V> {
        self.with(name, |value| value.cloned())
    }

    fn change<R>(&self, name: &str, work: impl FnOnce(&mut Names<V>) -> R) -> R {
        // What is changed is a copy, so it is whole whatever happens.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = self.shard(name);
        let mut names = Names::clone(&shard.load());
        let result = work(&mut names);
        shard.store(Arc::new(names));
        result
    }

    /// Puts a value there, unless there is one: that one is given back.
    pub(super) fn insert(&self, name: Arc<str>, value: V) -> Result<(), V> {
        self.change(&name.clone(), |names| match names.get(&name) {
            Some(taken) => Err(taken.clone()),
            None => {
                names.insert(name, value);
                Ok(())
            }
        })
    }

    /// Puts a value there, whatever there is.
    pub(super) fn put(&self, name: Arc<str>, value: V) {
        self.change(&name.clone(), |names| names.insert(name, value));
    }

    /// Takes what is there, if `is_it` says so.
    pub(super) fn remove_if(&self, name: &str, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        self.change(name, |names| match names.get(name).is_some_and(is_it) {
            true => names.remove(name),
            false => None,
        })
    }

    /// All of it, by name.
    pub(super) fn sorted(&self) -> Vec<(Arc<str>, V)> {
        let mut all: Vec<(Arc<str>, V)> = Vec::new();
        for shard in &self.shards {
            all.extend(shard.load().iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
