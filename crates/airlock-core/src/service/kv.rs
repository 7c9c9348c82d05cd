//! What a plugin keeps between calls.

use std::fmt;

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
    /// Keys and values together may not be more than [`Permit::quota`], which is
    /// [`ServiceError::Invalid`]; changes that take away are made beyond it too.
    fn apply<'a>(&'a self, permit: &'a Permit, changes: &'a [KvChange<'a>]) -> ServiceFuture<'a, Vec<bool>>;

    /// Bytes of all keys and values.
    fn usage<'a>(&'a self, permit: &'a Permit) -> ServiceFuture<'a, u64>;
}
