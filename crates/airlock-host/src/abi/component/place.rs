//! Where in a value something is, for errors.

use std::cell::RefCell;
use std::fmt;

use airlock_core::{Error, ErrorKind};

/// A way into a value, outermost last: `.items[2].name`.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Field(Option<&'a Place<'a>>, &'a str),
    Index(Option<&'a Place<'a>>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Field(outer, _) | Place::Index(outer, _)) = self;
        if let Some(outer) = outer {
            outer.fmt(f)?;
        }
        match self {
            Place::Field(_, name) => write!(f, ".{name}"),
            Place::Index(_, index) => write!(f, "[{index}]"),
        }
    }
}

/// The first error that was met, kept beside what carries errors and knows only texts.
#[derive(Default)]
pub(super) struct Fault(RefCell<Option<Error>>);

impl Fault {
    /// Keeps an error, unless there is one.
    pub(super) fn keep(&self, error: Error) {
        self.0.borrow_mut().get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.0.borrow_mut().take()
    }
}

/// The error of something that is not what its type has there.
pub(super) fn wrong(place: &Place<'_>, reason: String) -> Error {
    Error::new(ErrorKind::InvalidValue { place: place.to_string(), reason })
}

/// Characters of a value that errors show.
const SHOWN: usize = 40;

/// A value as an error shows it.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
