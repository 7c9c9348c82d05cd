//! Names of variables, secrets, topics, tools and accounts.

use std::fmt;
use std::str::FromStr;

/// A name, or with `*` at its end every name that begins so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamePattern {
    text: String,
    prefix: bool,
}

impl NamePattern {
    pub(super) fn everything() -> Self {
        NamePattern { text: String::new(), prefix: true }
    }

    /// Whether it stands for this name.
    pub fn permits(&self, name: &str) -> bool {
        match self.prefix {
            true => name.starts_with(&self.text),
            false => name == self.text,
        }
    }

    /// The one name it stands for; `None` when it is a prefix.
    pub fn exact(&self) -> Option<&str> {
        (!self.prefix).then_some(self.text.as_str())
    }

    /// Whether it stands for every name that the other does.
    pub fn covers(&self, other: &NamePattern) -> bool {
        match self.prefix {
            true => other.text.starts_with(&self.text),
            false => self == other,
        }
    }

    pub(super) fn in_words(&self, what: &str) -> String {
        match (self.prefix, self.text.is_empty()) {
            (true, true) => format!("every {}", what.to_lowercase()),
            _ => format!("`{self}`"),
        }
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        if name.is_empty() && !prefix {
            return Err("a name is missing".to_owned());
        }
        if name.contains('*') {
            return Err("`*` stands at the end of a name only".to_owned());
        }
        if name.contains(|c: char| c.is_whitespace() || c == '=') {
            return Err("a name has no spaces and no `=`".to_owned());
        }
        Ok(NamePattern { text: name.to_owned(), prefix })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.prefix { "*" } else { "" })
    }
}
