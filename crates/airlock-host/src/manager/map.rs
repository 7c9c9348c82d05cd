//! A map from names that many threads read at once, without writing anything that others read.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Parts, each of which is made anew when something in it changes: so many that this is little
/// work with thousands of names.
const SHARDS: usize = 128;

/// Names with the hash that they were put there by, so that each is hashed once.
type Names<V> = HashTable<(u64, Arc<str>, V)>;

/// A map from names. No lock of it is held while anything else is done, and reading takes none.
pub(super) struct Map<V> {
    /// With a secret of its own, so that nobody knows which names meet.
    hasher: DefaultHashBuilder,
    shards: Box<[ArcSwap<Names<V>>]>,
    /// Held by whoever changes something.
    changing: Mutex<()>,
}

impl<V> fmt::Debug for Map<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: usize = self.shards.iter().map(|shard| shard.load().len()).sum();
        f.debug_struct("Map").field("names", &names).finish_non_exhaustive()
    }
}

impl<V: Clone> Map<V> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::from_pointee(Names::new())).collect();
        Map { hasher: DefaultHashBuilder::default(), shards, changing: Mutex::default() }
    }

    fn place(&self, name: &str) -> (u64, &ArcSwap<Names<V>>) {
        let hash = self.hasher.hash_one(name);
        // The table itself goes by the highest bits and the lowest.
        (hash, &self.shards[(hash >> 32) as usize % SHARDS])
    }

    /// What `work` makes of what is there.
    #[inline]
    pub(super) fn with<R>(&self, name: &str, work: impl FnOnce(Option<&V>) -> R) -> R {
        let (hash, shard) = self.place(name);
        let names = shard.load();
        work(names.find(hash, |(_, known, _)| **known == *name).map(|(_, _, value)| value))
    }

    pub(super) fn get(&self, name: &str) -> Option<V> {
        self.with(name, |value| value.cloned())
    }

    /// Has `work` change a copy of what is there, which takes its place when that returns something.
    fn change<R>(&self, name: &str, work: impl FnOnce(u64, &mut Names<V>) -> Option<R>) -> Option<R> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, shard) = self.place(name);
        let mut names = Names::clone(&shard.load());
        let result = work(hash, &mut names)?;
        shard.store(Arc::new(names));
        Some(result)
    }

    /// Puts a value there, unless there is one: that one is given back.
    pub(super) fn insert(&self, name: Arc<str>, value: V) -> Result<(), V> {
        let mut taken = None;
        self.change(&name.clone(), |hash, names| {
            taken = names.find(hash, |(_, known, _)| *known == name).map(|(_, _, value)| value.clone());
            taken.is_none().then(|| {
                names.insert_unique(hash, (hash, name, value), |(hash, _, _)| *hash);
            })
        });
        taken.map_or(Ok(()), Err)
    }

    /// Puts a value there, whatever there is.
    pub(super) fn put(&self, name: Arc<str>, value: V) {
        self.change(&name.clone(), |hash, names| {
            remove(names, hash, &name);
            names.insert_unique(hash, (hash, name, value), |(hash, _, _)| *hash);
            Some(())
        });
    }

    /// Takes what is there, if `is_it` says so.
    pub(super) fn remove_if(&self, name: &str, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        self.change(name, |hash, names| {
            let (_, _, value) = names.find(hash, |(_, known, _)| **known == *name)?;
            if is_it(value) { remove(names, hash, name) } else { None }
        })
    }

    /// All of it, by name.
    pub(super) fn sorted(&self) -> Vec<(Arc<str>, V)> {
        let mut all: Vec<(Arc<str>, V)> = Vec::new();
        for shard in &self.shards {
            all.extend(shard.load().iter().map(|(_, name, value)| (name.clone(), value.clone())));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

fn remove<V>(names: &mut Names<V>, hash: u64, name: &str) -> Option<V> {
    let found = names.find_entry(hash, |(_, known, _)| **known == *name).ok()?;
    let ((_, _, value), _) = found.remove();
    Some(value)
}
