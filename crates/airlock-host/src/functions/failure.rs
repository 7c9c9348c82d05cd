//! What functions of the application fail with.

use std::fmt;

use airlock_core::{Error, ErrorKind, ServiceError};

/// Why a function of the application failed: an error that is the call's own, or a reason in words.
///
/// It is made by `?` from an [`Error`], a [`ServiceError`] and a text, and from anything that can be shown
/// by [`FuncError::new`].
#[derive(Debug)]
pub struct FuncError(Reason);

#[derive(Debug)]
enum Reason {
    Known(Error),
    Told(String),
}

impl FuncError {
    /// A failure for this reason, which is told to whoever made the call.
    pub fn new(reason: impl fmt::Display) -> Self {
        FuncError(Reason::Told(reason.to_string()))
    }

    pub(super) fn panicked(said: &str) -> Self {
        FuncError(Reason::Told(format!("it panicked: {said}")))
    }

    /// What the call of `function` ends with.
    pub(super) fn kind(self, function: &str) -> ErrorKind {
        match self.0 {
            Reason::Known(error) => error.kind().clone(),
            Reason::Told(reason) => ErrorKind::HostFunction { function: function.to_owned(), reason },
        }
    }
}

impl fmt::Display for FuncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Known(error) => error.fmt(f),
            Reason::Told(reason) => f.write_str(&airlock_core::visible(reason, false)),
        }
    }
}

impl From<Error> for FuncError {
    fn from(error: Error) -> Self {
        FuncError(Reason::Known(error))
    }
}

impl From<ServiceError> for FuncError {
    fn from(error: ServiceError) -> Self {
        FuncError(Reason::Known(error.into()))
    }
}

impl From<String> for FuncError {
    fn from(reason: String) -> Self {
        FuncError(Reason::Told(reason))
    }
}

impl From<&str> for FuncError {
    fn from(reason: &str) -> Self {
        FuncError(Reason::Told(reason.to_owned()))
    }
}
