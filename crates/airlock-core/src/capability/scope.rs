//! How scopes are written, and what they have in common.

use crate::Place;
use std::fmt;

use super::{CapabilityKind, CommandPattern, NamePattern, OriginPattern, PathScope, Quota};

/// How a kind's scope is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grammar {
    /// There is no scope.
    None,
    /// One word and no other, to be written out: `stdin=inherit`.
    Word(&'static str),
    /// A [`PathScope`].
    Path,
    /// A [`NamePattern`].
    Name,
    /// An [`OriginPattern`].
    Origin,
    /// A [`CommandPattern`].
    Command,
    /// A [`Quota`]; [`Quota::IMPLIED`] where it is left out.
    Quota,
}

/// What of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// The kind has nothing to choose from.
    All,
    /// Files.
    Path(PathScope),
    /// Names of variables, topics, tools, accounts.
    Name(NamePattern),
    /// Hosts.
    Origin(OriginPattern),
    /// Programs with arguments.
    Command(CommandPattern),
    /// Bytes kept.
    Quota(Quota),
}

impl Grammar {
    /// Reads a scope.
    pub(super) fn read(self, text: &str) -> Result<Scope, String> {
        match self {
            Grammar::None => Err("has no scope".to_owned()),
            Grammar::Word(word) if text == word => Ok(Scope::All),
            Grammar::Word(word) => Err(format!("the only scope is `{word}`")),
            Grammar::Path => text.parse().map(Scope::Path),
            Grammar::Name => text.parse().map(Scope::Name),
            Grammar::Origin => text.parse().map(Scope::Origin),
            Grammar::Command => text.parse().map(Scope::Command),
            Grammar::Quota => text.parse().map(Scope::Quota),
        }
    }

    /// The scope that is meant where none is written.
    pub(super) fn implied(self) -> Option<Scope> {
        match self {
            Grammar::None => Some(Scope::All),
            Grammar::Quota => Some(Scope::Quota(Quota::IMPLIED)),
            _ => None,
        }
    }

    /// The scope that covers all others.
    pub(super) fn all(self) -> Scope {
        match self {
            Grammar::None | Grammar::Word(_) => Scope::All,
            Grammar::Path => Scope::Path(PathScope::everything()),
            Grammar::Name => Scope::Name(NamePattern::everything()),
            Grammar::Origin => Scope::Origin(OriginPattern::everything()),
            Grammar::Command => Scope::Command(CommandPattern::everything()),
            Grammar::Quota => Scope::Quota(Quota::MAX),
        }
    }

    /// How it is written, in a sentence for the docs.
    pub fn about(self) -> &'static str {
        match self {
            Grammar::None => "no scope",
            Grammar::Word(_) => "the word as written",
            Grammar::Path => {
                "`PATH`: a file, or a folder with all below it; `PATH/*`: a folder's files without its \
                 folders; from the folder the plugin is run in, from `~/`, from `@/`, which is a folder of \
                 the plugin's own, or absolute; `PATH::/GUEST` says where the plugin sees it"
            }
            Grammar::Name => "`NAME`, or `PREFIX*`",
            Grammar::Origin => {
                "`SCHEME://HOST[:PORT]` with `http`, `https`, `tcp` or `udp`, or a bare host for all of them; \
                 the host is a name, `*.NAME`, an address, a range such as `10.0.0.0/8`, or `*`; the \
                 port a number or `*`, the scheme's own where left out"
            }
            Grammar::Command => {
                "`PROGRAM [ARG]…`, quoted as in a shell; `ARG*` is any argument that begins so, a last \
                 `*` any further ones; a program on the path or an absolute one"
            }
            Grammar::Quota => "`SIZE` such as `64KiB`; `1MiB` where left out",
        }
    }
}

impl Scope {
    pub(super) fn covers(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::All, Scope::All) => true,
            (Scope::Path(mine), Scope::Path(theirs)) => mine.covers(theirs),
            (Scope::Name(mine), Scope::Name(theirs)) => mine.covers(theirs),
            (Scope::Origin(mine), Scope::Origin(theirs)) => mine.covers(theirs),
            (Scope::Command(mine), Scope::Command(theirs)) => mine.covers(theirs),
            (Scope::Quota(mine), Scope::Quota(theirs)) => mine >= theirs,
            _ => false,
        }
    }

    /// Whether the two have something in common.
    pub(super) fn overlaps(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Path(mine), Scope::Path(theirs)) => mine.overlaps(theirs),
            (Scope::Name(mine), Scope::Name(theirs)) => mine.covers(theirs) || theirs.covers(mine),
            (Scope::Origin(mine), Scope::Origin(theirs)) => mine.overlaps(theirs),
            (Scope::Command(mine), Scope::Command(theirs)) => mine.overlaps(theirs),
            // Kinds decide whether scopes of different grammars meet at all.
            _ => true,
        }
    }

    pub(super) fn resolved(&self, place: &Place) -> Scope {
        match self {
            Scope::Path(path) => Scope::Path(path.resolved(place)),
            Scope::Command(command) => Scope::Command(command.resolved(place)),
            other => other.clone(),
        }
    }

    /// Whether it names one thing and no other. A path does not: it has all below it.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            Scope::Name(name) => name.exact().is_some(),
            Scope::Origin(origin) => origin.is_single(),
            _ => false,
        }
    }

    /// Whether it leaves nothing of its kind out.
    pub(super) fn is_everything(&self) -> bool {
        match self {
            Scope::All | Scope::Quota(_) => false,
            Scope::Path(path) => path.covers(&PathScope::everything()),
            Scope::Name(name) => name.covers(&NamePattern::everything()),
            Scope::Origin(origin) => origin.covers(&OriginPattern::everything()),
            Scope::Command(command) => command.covers(&CommandPattern::everything()),
        }
    }

    /// The scope for a sentence.
    pub(super) fn in_words(&self, kind: CapabilityKind) -> String {
        match self {
            Scope::All => String::new(),
            Scope::Path(path) => path.in_words(),
            Scope::Name(name) => name.in_words(kind.row().scope),
            Scope::Origin(origin) => origin.in_words(),
            Scope::Command(command) => command.in_words(),
            Scope::Quota(quota) if *quota == Quota::MAX => "any amount".to_owned(),
            Scope::Quota(quota) => quota.to_string(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => Ok(()),
            Scope::Path(path) => path.fmt(f),
            Scope::Name(name) => name.fmt(f),
            Scope::Origin(origin) => origin.fmt(f),
            Scope::Command(command) => command.fmt(f),
            Scope::Quota(quota) => quota.fmt(f),
        }
    }
}
