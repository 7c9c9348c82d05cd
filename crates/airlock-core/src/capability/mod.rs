//! What a plugin may ask for, as one table.
//!
//! A row of [`CAPABILITIES`] is a capability kind's only description: the command's help,
//! `docs/capabilities.md`, prompts and errors are made from it. A [`Capability`] is a kind
//! with a scope. Scopes are read into a canonical form (`./data` is `data`), so that two
//! texts that mean the same are equal, and a canonical text reads back as itself.
//!
//! [`Capability::covers`] is the one question that decisions ask. It is an order: reflexive,
//! transitive, and antisymmetric but for where a plugin sees its files; and what is covered
//! never permits anything that the covering one does not.

mod command;
mod name;
mod origin;
mod path;
mod quota;
mod scope;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::is_hidden;
use crate::{Error, ErrorKind, Place, nearest};

pub use command::CommandPattern;
pub use name::NamePattern;
pub use origin::{HostPattern, OriginPattern, PortPattern, Scheme};
pub use path::{PathBase, PathScope};
pub use quota::Quota;
pub use scope::{Grammar, Scope};

/// How much a grant gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Nothing of the user's.
    Low,
    /// Something of the user's can be read, or resources used.
    Medium,
    /// The user's data can be changed, sent away, or other programs run.
    High,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        })
    }
}

/// One kind of capability. Its number indexes [`CAPABILITIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is described by its row in CAPABILITIES")]
pub enum CapabilityKind {
    Clock,
    Random,
    Log,
    Config,
    Metadata,
    Memory,
    Kv,
    FsRead,
    FsWrite,
    Env,
    Secrets,
    Net,
    Exec,
    Stdin,
    Stdout,
    EventsPublish,
    EventsSubscribe,
    ToolsCall,
    EmailRead,
    EmailSearch,
    EmailSync,
    EmailSend,
    EmailReply,
}

/// One row of the table.
#[derive(Debug)]
#[non_exhaustive]
pub struct CapabilityRow {
    /// Which kind.
    pub kind: CapabilityKind,
    /// Its name in flags, manifests and errors.
    pub name: &'static str,
    /// How its scope is written.
    pub grammar: Grammar,
    /// What the scope names, as a placeholder: `PATH`. Empty where there is no scope.
    pub scope: &'static str,
    /// How much a grant gives away.
    pub risk: Risk,
    /// What the plugin can do with it, as a sentence's end: "it can …". `{}` stands for the
    /// scope in words.
    pub about: &'static str,
}

const fn row(
    kind: CapabilityKind,
    name: &'static str,
    grammar: Grammar,
    scope: &'static str,
    risk: Risk,
    about: &'static str,
) -> CapabilityRow {
    CapabilityRow { kind, name, grammar, scope, risk, about }
}

/// Every kind of capability, in the order of [`CapabilityKind`].
pub static CAPABILITIES: [CapabilityRow; 23] = {
    use CapabilityKind as K;
    use Grammar::{Command, Name, None, Origin, Path, Quota, Word};
    use Risk::{High, Low, Medium};
    [
        row(K::Clock, "clock", None, "", Low, "read the real time and sleep for real"),
        row(K::Random, "random", None, "", Low, "draw random numbers that nobody can predict"),
        row(K::Log, "log", None, "", Low, "write to the log"),
        row(K::Config, "config", None, "", Low, "read its own configuration"),
        row(K::Metadata, "metadata", None, "", Medium, "learn which project and folder it is run in"),
        row(K::Memory, "memory", None, "", Medium, "recall and store what the application remembers"),
        row(K::Kv, "kv", Quota, "SIZE", Low, "keep {} of its own data between calls"),
        row(K::FsRead, "fs.read", Path, "PATH", Medium, "read {}"),
        row(K::FsWrite, "fs.write", Path, "PATH", High, "read, create, change and delete {}"),
        row(K::Env, "env", Name, "NAME", Medium, "read {} of the environment"),
        row(K::Secrets, "secrets", Name, "NAME", High, "use {} of the stored secrets"),
        row(K::Net, "net", Origin, "ORIGIN", High, "send and receive over the network with {}"),
        row(K::Exec, "exec", Command, "COMMAND", High, "run {} outside the sandbox, as you"),
        row(K::Stdin, "stdin", Word("inherit"), "", Medium, "read what you type or pipe in"),
        row(K::Stdout, "stdout", Word("raw"), "", Medium, "write straight to your terminal"),
        row(K::EventsPublish, "events.publish", Name, "TOPIC", Low, "publish events of {}"),
        row(K::EventsSubscribe, "events.subscribe", Name, "TOPIC", Low, "receive events of {}"),
        row(K::ToolsCall, "tools.call", Name, "TOOL", Medium, "call {} of other plugins and the application"),
        row(K::EmailRead, "email.read", Name, "ACCOUNT", Medium, "read the mail of {}"),
        row(K::EmailSearch, "email.search", Name, "ACCOUNT", Medium, "search the mail of {}"),
        row(K::EmailSync, "email.sync", Name, "ACCOUNT", Low, "fetch new mail of {}"),
        row(K::EmailSend, "email.send", Name, "ACCOUNT", High, "send mail as {}"),
        row(K::EmailReply, "email.reply", Name, "ACCOUNT", High, "answer mail as {}"),
    ]
};

impl CapabilityKind {
    /// The kind's row.
    pub fn row(self) -> &'static CapabilityRow {
        &CAPABILITIES[self as usize]
    }

    /// Whether a grant of this kind may cover a request of the other: itself, and what may
    /// write may read.
    fn includes(self, other: CapabilityKind) -> bool {
        self == other || (self, other) == (CapabilityKind::FsWrite, CapabilityKind::FsRead)
    }
}

impl fmt::Display for CapabilityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name)
    }
}

impl FromStr for CapabilityKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        CAPABILITIES.iter().find(|row| row.name == name).map(|row| row.kind).ok_or_else(|| {
            Error::new(ErrorKind::UnknownName {
                what: "capability",
                name: name.to_owned(),
                nearest: nearest(name, CAPABILITIES.iter().map(|row| row.name)),
            })
        })
    }
}

/// One capability: a kind and its scope.
///
/// Written `clock`, `fs.read=data`, `net=https://api.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability {
    kind: CapabilityKind,
    scope: Scope,
}

impl Capability {
    /// A capability of this kind with the scope that `text` says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] when the text is no scope of that kind.
    pub fn scoped(kind: CapabilityKind, text: &str) -> Result<Self, Error> {
        let row = kind.row();
        let invalid = |reason: String| {
            Error::new(ErrorKind::InvalidSetting { name: format!("{}={text}", row.name), reason })
        };
        if text.chars().any(is_hidden) {
            return Err(invalid("a scope has no control characters and no invisible ones".to_owned()));
        }
        let scope = row.grammar.read(text).map_err(invalid)?;
        Ok(Capability { kind, scope })
    }

    /// A capability of this kind for a folder of the host's, or a file, and all below it;
    /// `None` when the kind has no paths, or the path is relative or no UTF-8.
    pub fn below(kind: CapabilityKind, path: &std::path::Path) -> Option<Self> {
        let scope = PathScope::below(path)?;
        (kind.row().grammar == Grammar::Path).then_some(Capability { kind, scope: Scope::Path(scope) })
    }

    /// Exactly this origin; none where it is no host.
    pub(crate) fn origin(scheme: Scheme, host: &str, port: u16) -> Option<Self> {
        let scope = Scope::Origin(OriginPattern::exactly(scheme, host, port)?);
        Some(Capability { kind: CapabilityKind::Net, scope })
    }

    /// This host at every port; none where it is no host.
    pub(crate) fn at_some_port(scheme: Scheme, host: &str) -> Option<Self> {
        let scope = Scope::Origin(OriginPattern::at_some_port(scheme, host)?);
        Some(Capability { kind: CapabilityKind::Net, scope })
    }

    /// All there is of a kind: the whole file system, every host, the largest quota.
    pub fn all_of(kind: CapabilityKind) -> Self {
        Capability { kind, scope: kind.row().grammar.all() }
    }

    /// The kind.
    pub fn kind(&self) -> CapabilityKind {
        self.kind
    }

    /// What of the kind.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether whoever has this has the other too.
    ///
    /// Paths that begin in different places cover each other only once both are [`resolved`](Self::resolved). Where a plugin sees files makes no
    /// difference.
    pub fn covers(&self, other: &Capability) -> bool {
        self.kind.includes(other.kind) && self.scope.covers(&other.scope)
    }

    /// Whether having this gives a part of `other`. Where it is hard to tell, it does.
    pub fn overlaps(&self, other: &Capability) -> bool {
        self.kind.includes(other.kind) && self.scope.overlaps(&other.scope)
    }

    /// What two capabilities both permit, where the scope of one covers the other's; `None`
    /// elsewhere. Files are seen where the narrower one says, and where this one does
    /// when both name the same.
    pub fn meet(&self, other: &Capability) -> Option<Capability> {
        let kind = match (other.kind.includes(self.kind), self.kind.includes(other.kind)) {
            (true, _) => self.kind,
            (_, true) => other.kind,
            _ => return None,
        };
        let scope = match (other.scope.covers(&self.scope), self.scope.covers(&other.scope)) {
            (true, _) => &self.scope,
            (_, true) => &other.scope,
            _ => return None,
        };
        Some(Capability { kind, scope: scope.clone() })
    }

    /// The same with its path absolute, when it has one and `place` says where it begins.
    ///
    /// Where the path is seen inside the sandbox stays what it was.
    #[must_use]
    pub fn resolved(&self, place: &Place) -> Capability {
        Capability { kind: self.kind, scope: self.scope.resolved(place) }
    }

    /// How much a grant of just this gives away. More than its kind's where the scope is all
    /// there is of something, and little where the files are the plugin's own.
    pub fn risk(&self) -> Risk {
        match self.kind {
            _ if matches!(&self.scope, Scope::Path(path) if path.base() == PathBase::Own) => Risk::Low,
            _ if self.scope.is_everything() && self.kind.row().risk == Risk::Medium => Risk::High,
            _ => self.kind.row().risk,
        }
    }

    /// What a plugin that has it can do, as a sentence's end: "it can …".
    pub fn sentence(&self) -> String {
        self.kind.row().about.replacen("{}", &self.scope.in_words(self.kind), 1)
    }
}

impl FromStr for Capability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, scope) = match text.split_once('=') {
            Some((name, scope)) => (name, Some(scope)),
            None => (text, None),
        };
        let kind: CapabilityKind = name.parse()?;
        match scope {
            Some(scope) => Capability::scoped(kind, scope),
            None => match kind.row().grammar.implied() {
                Some(scope) => Ok(Capability { kind, scope }),
                None => Err(Error::new(ErrorKind::InvalidSetting {
                    name: name.to_owned(),
                    reason: format!("needs a scope: `{}`", kind.row().usage()),
                })),
            },
        }
    }
}

impl CapabilityRow {
    /// How it is written, with a placeholder for its scope: `fs.read=PATH`.
    pub fn usage(&self) -> String {
        match self.grammar {
            Grammar::None => self.name.to_owned(),
            Grammar::Word(word) => format!("{}={word}", self.name),
            Grammar::Quota => format!("{}[={}]", self.name, self.scope),
            _ => format!("{}={}", self.name, self.scope),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.row().name)?;
        match (&self.scope, self.kind.row().grammar) {
            (Scope::All, Grammar::Word(word)) => write!(f, "={word}"),
            (Scope::All, _) => Ok(()),
            (scope, _) => write!(f, "={scope}"),
        }
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
