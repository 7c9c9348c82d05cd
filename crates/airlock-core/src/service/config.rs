//! A plugin's configuration.

use std::fmt;

use super::ServiceError;
use crate::Permit;

/// Where a plugin's configuration is looked up.
pub trait Config: Send + Sync + fmt::Debug {
    /// The value of `key`, when there is one.
    ///
    /// # Errors
    /// When it cannot be looked up.
    fn get(&self, permit: &Permit, key: &str) -> Result<Option<String>, ServiceError>;

    /// Every key that has a value, sorted.
    ///
    /// # Errors
    /// When it cannot be looked up.
    fn keys(&self, permit: &Permit) -> Result<Vec<String>, ServiceError>;
}
