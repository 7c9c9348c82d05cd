//! Secrets: kept by the operator, used for a plugin, seldom seen by it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::ServiceError;
use crate::{Permit, Scheme};

/// A value that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A secret with this value.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Secret(value.into())
    }

    /// The value, for who has to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Shorter values stand in too many texts by chance to be taken out of them.
const SHORTEST: usize = 6;

/// Takes secrets out of texts. All clones know the same secrets.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<(String, Secret)>>>);

impl Redactor {
    /// Knows no secret yet.
    pub fn new() -> Self {
        Redactor::default()
    }

    /// Has this secret taken out from now on. One of fewer than six bytes is not.
    pub fn know(&self, name: &str, secret: &Secret) {
        if secret.reveal().len() < SHORTEST || self.known().iter().any(|(_, known)| known == secret) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.push((name.to_owned(), secret.clone()));
        // The longest first: one may begin with another.
        known.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.reveal().len()));
    }

    /// `text` with `[secret NAME]` for every secret that is known.
    pub fn redact<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        let mut text = std::borrow::Cow::Borrowed(text);
        for (name, secret) in self.known().iter() {
            if text.contains(secret.reveal()) {
                text = text.replace(secret.reveal(), &format!("[secret {name}]")).into();
            }
        }
        text
    }

    fn known(&self) -> RwLockReadGuard<'_, Vec<(String, Secret)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("known", &self.known().len()).finish()
    }
}

/// Where secrets are kept.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The secret of this name, when there is one.
    ///
    /// # Errors
    /// When it cannot be looked up.
    fn get(&self, permit: &Permit, name: &str) -> Result<Option<Secret>, ServiceError>;

    /// Headers with credentials that requests to this host carry, as the operator wrote it.
    /// The plugin never sees them, and needs no grant of the secret for them.
    ///
    /// # Errors
    /// When they cannot be looked up.
    fn credentials(
        &self,
        permit: &Permit,
        scheme: Scheme,
        host: &str,
        port: u16,
    ) -> Result<Vec<(String, Secret)>, ServiceError>;
}

#[cfg(test)]
mod tests {
    use super::{Redactor, Secret};

    #[test]
    fn secrets_are_taken_out_of_texts_and_are_not_printed() {
        let redactor = Redactor::new();
        let (long, short, tiny) = (Secret::new("hunter2-longer"), Secret::new("hunter2"), Secret::new("abc"));
        for (name, secret) in [("SHORT", &short), ("LONG", &long), ("TINY", &tiny), ("AGAIN", &short)] {
            redactor.know(name, secret);
        }
        assert_eq!(redactor.redact("a hunter2-longer b hunter2 abc"), "a [secret LONG] b [secret SHORT] abc");
        assert!(matches!(redactor.redact("nothing"), std::borrow::Cow::Borrowed("nothing")));
        assert_eq!(format!("{short:?} {redactor:?}"), "Secret(…) Redactor { known: 2 }");
    }
}
