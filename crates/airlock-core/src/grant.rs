//! Grants: what a person allowed, to which bytes, for how long.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::{Capability, Digest, Result};

/// A plugin as grants know it: its name and its exact bytes. Other bytes under the same name
/// are another plugin, and so are the same bytes under another name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", crate::visible(&self.name, false), self.digest.short())
    }
}

/// How long a decision holds.
///
/// Written `"always"`, `"session"`, `"once"`, or `{"until": MS}` in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Until it is revoked.
    Always,
    /// Until then, or until it is revoked.
    Until(SystemTime),
    /// For as long as the session of whoever decided: a login at a terminal, or the process
    /// of an application.
    Session,
    /// For one load. Never kept.
    Once,
}

impl Serialize for Lasting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Lasting::Always => serializer.serialize_str("always"),
            Lasting::Session => serializer.serialize_str("session"),
            Lasting::Once => serializer.serialize_str("once"),
            Lasting::Until(end) => {
                let since = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("until", &u64::try_from(since).unwrap_or(u64::MAX))?;
                map.end()
            }
        }
    }
}

/// One decision over one capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// What was asked for.
    pub capability: Capability,
    /// Whether it was allowed. What was denied is kept as well, so as not to be asked again.
    pub allowed: bool,
    /// For how long.
    pub lasting: Lasting,
}

impl Grant {
    /// Allowed until revoked.
    pub fn always(capability: Capability) -> Self {
        Grant { capability, allowed: true, lasting: Lasting::Always }
    }
}

/// Where decisions are kept.
pub trait GrantStore: Send + Sync + fmt::Debug {
    /// What was decided for these bytes and holds now; `None` when nobody was asked yet.
    ///
    /// # Errors
    /// When the store cannot be read, which never counts as a grant.
    fn decided(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>>;

    /// What was decided for the bytes that were approved last under the same name, when they
    /// were others.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn decided_before(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>>;

    /// Keeps decisions beside the earlier ones for the same bytes; one over the same
    /// capability replaces it. With none, it still counts as asked.
    ///
    /// # Errors
    /// When the store cannot be written; then nothing was kept.
    fn decide(&self, plugin: &Identity, decisions: &[Grant], by: &str) -> Result<()>;

    /// A number that is another one after each change, also by another process.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn generation(&self) -> Result<u64>;
}

/// Grants of this process alone.
#[derive(Debug, Default)]
pub struct MemoryGrants {
    kept: std::sync::Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    /// In the order in which each was first decided over.
    plugins: Vec<(Identity, Vec<Grant>)>,
}

impl MemoryGrants {
    /// None.
    pub fn new() -> Self {
        MemoryGrants::default()
    }

    /// Takes back what of `capability`, or everything when there is none, was decided for a
    /// plugin of this name. Returns how many decisions went.
    pub fn revoke(&self, name: &str, capability: Option<&Capability>) -> usize {
        let mut kept = self.kept();
        let mut gone = 0;
        for (_, grants) in kept.plugins.iter_mut().filter(|(plugin, _)| plugin.name == name) {
            let before = grants.len();
            grants.retain(|grant| capability.is_some_and(|revoked| !revoked.covers(&grant.capability)));
            gone += before - grants.len();
        }
        kept.generation += 1;
        gone
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What of `grants` holds at `now`, in the session that asks.
fn holding(grants: &[Grant], now: SystemTime) -> Vec<Grant> {
    let holds = |grant: &&Grant| match grant.lasting {
        Lasting::Always | Lasting::Session => true,
        Lasting::Until(end) => now < end,
        Lasting::Once => false,
    };
    grants.iter().filter(holds).cloned().collect()
}

impl GrantStore for MemoryGrants {
    fn decided(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>> {
        let kept = self.kept();
        let found = kept.plugins.iter().find(|(known, _)| known == plugin);
        Ok(found.map(|(_, grants)| holding(grants, SystemTime::now())))
    }

    fn decided_before(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>> {
        let kept = self.kept();
        let mut others = kept.plugins.iter().rev().filter(|(known, _)| known.name == plugin.name);
        let other = others.find(|(known, _)| known != plugin);
        Ok(other.map(|(_, grants)| holding(grants, SystemTime::now())))
    }

    fn decide(&self, plugin: &Identity, decisions: &[Grant], _by: &str) -> Result<()> {
        let mut kept = self.kept();
        kept.generation += 1;
        let at = match kept.plugins.iter().position(|(known, _)| known == plugin) {
            Some(at) => at,
            None => {
                kept.plugins.push((plugin.clone(), Vec::new()));
                kept.plugins.len() - 1
            }
        };
        let grants = &mut kept.plugins[at].1;
        grants.retain(|old| decisions.iter().all(|new| new.capability != old.capability));
        grants.extend(decisions.iter().filter(|grant| grant.lasting != Lasting::Once).cloned());
        Ok(())
    }

    fn generation(&self) -> Result<u64> {
        Ok(self.kept().generation)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Grant, GrantStore, Identity, Lasting, MemoryGrants};
    use crate::{Capability, Digest};

    fn plugin(name: &str, bytes: &str) -> Identity {
        Identity { name: name.to_owned(), digest: Digest::of(bytes.as_bytes()) }
    }

    fn allow(text: &str, lasting: Lasting) -> Grant {
        Grant { capability: text.parse().expect("a capability"), allowed: true, lasting }
    }

    fn held(store: &MemoryGrants, plugin: &Identity) -> Option<Vec<String>> {
        let grants = store.decided(plugin).expect("memory is readable")?;
        Some(grants.iter().map(|grant| grant.capability.to_string()).collect())
    }

    #[test]
    fn a_grant_is_for_its_name_and_bytes_alone() {
        let store = MemoryGrants::new();
        let one = plugin("a", "1");
        store
            .decide(&one, &[Grant::always(Capability::all_of(crate::CapabilityKind::Clock))], "me")
            .expect("kept");
        assert_eq!(held(&store, &one), Some(vec!["clock".to_owned()]));
        assert_eq!(held(&store, &plugin("a", "2")), None);
        assert_eq!(held(&store, &plugin("b", "1")), None);
        let before = store.decided_before(&plugin("a", "2")).expect("readable").expect("there was one");
        assert_eq!(before[0].capability.to_string(), "clock");
        assert_eq!(store.decided_before(&one).expect("readable"), None);
    }

    #[test]
    fn what_has_ended_or_was_for_once_no_longer_holds() {
        let store = MemoryGrants::new();
        let one = plugin("a", "1");
        let past = SystemTime::now() - Duration::from_secs(1);
        let decisions = [
            allow("clock", Lasting::Once),
            allow("random", Lasting::Until(past)),
            allow("log", Lasting::Session),
        ];
        store.decide(&one, &decisions, "me").expect("kept");
        assert_eq!(held(&store, &one), Some(vec!["log".to_owned()]));
    }

    #[test]
    fn how_long_is_written_in_one_form() {
        let written = |lasting: Lasting| serde_json::to_string(&lasting).expect("it serialises");
        assert_eq!(written(Lasting::Always), "\"always\"");
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(written(Lasting::Until(end)), r#"{"until":1500}"#);
    }

    #[test]
    fn a_revocation_takes_what_it_covers_and_changes_the_generation() {
        let store = MemoryGrants::new();
        let one = plugin("a", "1");
        let decisions = ["net=https://x.example", "net=*", "clock"].map(|text| allow(text, Lasting::Always));
        store.decide(&one, &decisions, "me").expect("kept");
        let before = store.generation().expect("readable");
        assert_eq!(store.revoke("a", Some(&"net=https://*".parse().expect("valid"))), 1);
        assert_ne!(store.generation().expect("readable"), before);
        assert_eq!(held(&store, &one), Some(vec!["net=*".to_owned(), "clock".to_owned()]));
        assert_eq!(store.revoke("a", None), 2);
        assert_eq!(held(&store, &one), Some(Vec::new()));
    }
}
