//! What can go wrong between a plugin and its host.

use std::{fmt, io};

use super::PROTOCOL;

/// Why a plugin could not start, or a request has no result.
///
/// A denied capability is no error by itself: each method says what it gives then.
///
/// `{:?}` writes the same sentence as `{}`, because that is what a `main` that returns a
/// [`Result`] prints.
#[non_exhaustive]
pub enum Error {
    /// The host cannot be reached any more.
    Transport(io::Error),
    /// The host said nothing where it begins.
    NoInit,
    /// The host speaks this protocol, and not [`PROTOCOL`].
    Protocol(String),
    /// A message from the host is not JSON.
    Json(serde_json::Error),
    /// The host has no answer to a request of this type. Hosts without this part of the
    /// protocol are like that: fledge 1.8 answers no request of a WebAssembly plugin.
    NoAnswer(&'static str),
    /// An answer is to another request.
    WrongId {
        /// The request's.
        expected: String,
        /// The answer's, as JSON.
        found: String,
    },
    /// A message from the host is JSON, and something else than the protocol has there.
    Unexpected {
        /// The request that was answered, or `init`.
        message: &'static str,
        /// What the protocol has there.
        expected: &'static str,
    },
    /// A request of [`Plugin::http`](super::Plugin::http) got no response.
    Http {
        /// The host's word for the reason, such as `denied` or `invalid`.
        code: String,
        /// The reason.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Transport(error) => write!(f, "the host cannot be reached: {error}"),
            Error::NoInit => f.write_str("the host sent no `init`"),
            Error::Protocol(protocol) => write!(f, "the host speaks `{protocol}` and not `{PROTOCOL}`"),
            Error::Json(error) => write!(f, "the host sent what is not JSON: {error}"),
            Error::NoAnswer(request) => write!(f, "the host does not answer `{request}`"),
            Error::WrongId { expected, found } => {
                write!(f, "the host answered the id `{found}` and not `\"{expected}\"`")
            }
            Error::Unexpected { message, expected } => {
                write!(f, "what the host sent for `{message}` is not {expected}")
            }
            Error::Http { code, message } => write!(f, "no response ({code}): {message}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Transport(error) => Some(error),
            Error::Json(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Transport(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Json(error)
    }
}
