//! What an update would change, for a person to decide over.

use std::collections::{BTreeMap, BTreeSet};

use airlock_core::{Capability, Digest, Result};
use serde::Serialize;

use crate::{Facts, Installed, Package};

/// Something that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// What it was.
    pub from: T,
    /// What it would be.
    pub to: T,
}

/// What an update changes. Empty parts are parts that stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The version, as the manifests have it.
    pub version: Option<Change<Option<String>>>,
    /// The wasm that is called.
    pub digest: Option<Change<Digest>>,
    /// Its size in bytes.
    pub size: Option<Change<u64>>,
    /// How it is called.
    pub abi: Option<Change<String>>,
    /// Capabilities that are asked for and were not at all.
    pub added: Vec<Capability>,
    /// Capabilities of which more is asked for.
    pub widened: Vec<Change<Capability>>,
    /// Capabilities that are no longer asked for, or less of them.
    pub removed: Vec<Capability>,
    /// Imports that are new.
    pub imports_added: Vec<String>,
    /// Imports that are gone.
    pub imports_removed: Vec<String>,
    /// Limits that differ, by name.
    pub limits: BTreeMap<String, Change<Option<String>>>,
    /// Words of the command line that come, go or run another file.
    pub commands: BTreeMap<String, Change<Option<String>>>,
    /// Programs to be run outside the sandbox that come, go or change.
    pub hooks: BTreeMap<String, Change<Option<String>>>,
}

impl Difference {
    /// Between what is installed and what would take its place.
    ///
    /// # Errors
    /// When the database has no file for what is installed.
    pub fn between(installed: &Installed, package: &Package, facts: &Facts) -> Result<Self> {
        let version = package.manifest().and_then(|manifest| manifest.version.clone());
        Ok(Difference {
            version: changed(installed.version.clone(), version),
            digest: changed(installed.digest()?, package.digest()),
            ..Difference::of_facts(&installed.facts, facts)
        })
    }

    fn of_facts(old: &Facts, new: &Facts) -> Self {
        let asked = |facts: &Facts| -> Vec<Capability> {
            let asked: BTreeSet<Capability> =
                facts.requests.iter().map(|request| request.capability.clone()).collect();
            asked.into_iter().collect()
        };
        let (had, asks) = (asked(old), asked(new));
        let covered =
            |by: &[Capability], capability: &Capability| by.iter().any(|one| one.covers(capability));
        let (mut added, mut widened) = (Vec::new(), Vec::new());
        for capability in asks.iter().filter(|capability| !covered(&had, capability)) {
            match had.iter().find(|had| capability.covers(had)) {
                Some(had) => widened.push(Change { from: had.clone(), to: capability.clone() }),
                None => added.push(capability.clone()),
            }
        }
        let removed = had.iter().filter(|capability| !covered(&asks, capability)).cloned().collect();
        let without = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|import| !other.contains(import)).cloned().collect()
        };
        Difference {
            version: None,
            digest: None,
            size: changed(old.size, new.size),
            abi: changed(old.abi.clone(), new.abi.clone()),
            added,
            widened,
            removed,
            imports_added: without(&new.imports, &old.imports),
            imports_removed: without(&old.imports, &new.imports),
            limits: changed_entries(&old.limits, &new.limits),
            commands: changed_entries(&old.commands, &new.commands),
            hooks: changed_entries(&old.hooks, &new.hooks),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.version.is_none()
            && self.digest.is_none()
            && *self == Difference::of_facts(&Facts::default(), &Facts::default())
    }

    /// Whether more is asked for than before, of the sandbox or beside it.
    pub fn asks_for_more(&self) -> bool {
        !self.added.is_empty()
            || !self.widened.is_empty()
            || self.hooks.values().any(|change| change.to.is_some())
    }
}

fn changed<T: PartialEq>(from: T, to: T) -> Option<Change<T>> {
    (from != to).then_some(Change { from, to })
}

fn changed_entries(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> BTreeMap<String, Change<Option<String>>> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| changed(old.get(name).cloned(), new.get(name).cloned());
    names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use airlock_core::{Capability, Request};

    use super::Difference;
    use crate::Facts;

    fn asking(texts: &[&str]) -> Facts {
        let request = |text: &&str| Request { capability: text.parse().expect("valid"), required: false };
        Facts { requests: texts.iter().map(request).collect(), ..Facts::default() }
    }

    fn difference(old: &[&str], new: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>, bool) {
        let difference = Difference::of_facts(&asking(old), &asking(new));
        let texts = |list: &[Capability]| list.iter().map(Capability::to_string).collect::<Vec<_>>();
        let widened = difference.widened.iter().map(|change| format!("{} > {}", change.from, change.to));
        (texts(&difference.added), widened.collect(), texts(&difference.removed), difference.asks_for_more())
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn read_to_write_is_more() {
        let found = difference(&["fs.read=data"], &["fs.write=data"]);
        assert_eq!(found, (texts(&[]), texts(&["fs.read=data > fs.write=data"]), texts(&[]), true));
    }

    #[test]
    fn a_dropped_capability_is_not_an_escalation() {
        let found = difference(&["clock", "net=*"], &["net=https://x.example"]);
        assert_eq!(found, (texts(&[]), texts(&[]), texts(&["clock", "net=*"]), false));
    }

    #[test]
    fn what_is_new_and_what_is_wider_are_told_apart() {
        let found = difference(&["env=HOME", "clock"], &["clock", "env=*", "random"]);
        assert_eq!(found, (texts(&["random"]), texts(&["env=HOME > env=*"]), texts(&[]), true));
    }

    #[test]
    fn a_new_build_hook_is_never_silent() {
        let mut new = Facts::default();
        new.hooks.insert("build".to_owned(), "make".to_owned());
        let difference = Difference::of_facts(&Facts::default(), &new);
        assert!(difference.asks_for_more() && !difference.is_empty());
        assert!(!Difference::of_facts(&new, &Facts::default()).asks_for_more());
        assert!(Difference::of_facts(&new, &new).is_empty());
    }
}
