//! A map that keeps what was used last, up to a weight.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values by key. What was used longest ago makes room for what is new.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    maximum: u64,
    weight: u64,
    /// Counts uses, so that each has a number of its own.
    uses: u64,
    entries: HashMap<K, Entry<V>>,
    by_use: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: u64,
    used: u64,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// Keeps values of so much weight together; with 0 none at all.
    pub(crate) fn new(maximum: u64) -> Self {
        Lru { maximum, weight: 0, uses: 0, entries: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What all of them weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// What they may weigh.
    pub(crate) fn maximum(&self) -> u64 {
        self.maximum
    }

    /// The value, which counts as used.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        let key = self.by_use.remove(&entry.used)?;
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(&entry.value)
    }

    /// Puts a value there, and gives back what had to go for it: the value itself where it is
    /// heavier than all may be.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: u64) -> Vec<V> {
        let mut gone: Vec<V> = self.remove(&key).into_iter().collect();
        if weight > self.maximum {
            gone.push(value);
            return gone;
        }
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, weight, used: self.uses });
        self.make_room(&mut gone);
        gone
    }

    /// Notes that a value has become heavier or lighter, and gives back what had to go.
    pub(crate) fn reweigh(&mut self, key: &K, weight: u64) -> Vec<V> {
        let mut gone = Vec::new();
        if let Some(entry) = self.entries.get_mut(key) {
            self.weight = self.weight - entry.weight + weight;
            entry.weight = weight;
            self.make_room(&mut gone);
        }
        gone
    }

    fn make_room(&mut self, gone: &mut Vec<V>) {
        while self.weight > self.maximum {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            gone.extend(self.forget(&oldest));
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let used = self.entries.get(key)?.used;
        self.by_use.remove(&used);
        self.forget(key)
    }

    fn forget(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.weight -= entry.weight;
        Some(entry.value)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<V> {
        (self.weight, self.by_use) = (0, BTreeMap::new());
        self.entries.drain().map(|(_, entry)| entry.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Lru;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut lru = Lru::new(10);
        assert!(lru.insert('a', 1, 4).is_empty() && lru.insert('b', 2, 4).is_empty());
        assert_eq!(lru.get(&'a'), Some(&1));
        assert_eq!(lru.insert('c', 3, 4), [2], "b was used longest ago");
        assert_eq!(lru.get(&'b'), None);
        assert_eq!((lru.len(), lru.weight()), (2, 8));
        assert_eq!(lru.insert('a', 9, 1), [1], "what was there goes too");
        assert_eq!(lru.reweigh(&'a', 7), [3]);
        assert_eq!(lru.insert('d', 4, 11), [4], "too heavy for all of it");
        assert_eq!(lru.get(&'a'), Some(&9));
        assert_eq!(lru.weight(), 7);
        assert_eq!(lru.clear(), [9]);
        assert_eq!((lru.len(), lru.weight()), (0, 0));
    }

    #[test]
    fn one_of_no_weight_keeps_nothing() {
        let mut lru = Lru::new(0);
        assert_eq!(lru.insert('a', 1, 5), [1]);
        assert_eq!(lru.get(&'a'), None);
    }

    proptest! {
        /// Beside a list that is searched.
        #[test]
        fn it_does_what_a_list_does(steps in prop::collection::vec((0_u8..12, 0_u64..7, any::<bool>()), 0..200)) {
            let mut lru = Lru::new(20);
            let mut list: Vec<(u8, u64)> = Vec::new();
            for (key, weight, insert) in steps {
                let known = list.iter().position(|(known, _)| *known == key);
                if insert {
                    lru.insert(key, weight, weight);
                    known.map(|at| list.remove(at));
                    list.push((key, weight));
                    while list.iter().map(|(_, weight)| weight).sum::<u64>() > 20 {
                        list.remove(0);
                    }
                } else {
                    let used = known.map(|at| list.remove(at));
                    list.extend(used);
                    prop_assert_eq!(lru.get(&key).copied(), used.map(|(_, weight)| weight));
                }
                prop_assert_eq!(lru.len(), list.len());
                prop_assert_eq!(lru.weight(), list.iter().map(|(_, weight)| weight).sum::<u64>());
            }
        }
    }
}
