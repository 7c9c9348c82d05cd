//! What a plugin may know of where it is run.

use std::fmt;

use serde_json::{Map, Value};

use super::ServiceFuture;
use crate::Permit;

/// What knows facts of the project that a plugin is run in.
pub trait Metadata: Send + Sync + fmt::Debug {
    /// What is asked for, and nothing else is looked up: a key that nobody knows is `null`.
    fn facts<'a>(&'a self, permit: &'a Permit, keys: &'a [&'a str]) -> ServiceFuture<'a, Map<String, Value>>;
}
