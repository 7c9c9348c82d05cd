//! The things a plugin may ask for, as one table.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, nearest, visible};

/// How much a grant gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Nothing of the user's.
    Low,
    /// Something of the user's can be read, or resources used.
    Medium,
    /// The user's data can be changed, sent away, or other programs run.
    High,
}

/// One kind of capability. Its number indexes [`CAPABILITIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is described by its row in CAPABILITIES")]
pub enum CapabilityKind {
    Clock,
    Random,
    FsRead,
    FsWrite,
    Env,
    Net,
    Exec,
}

/// One row of the table.
#[derive(Debug)]
pub struct CapabilityRow {
    /// Which kind.
    pub kind: CapabilityKind,
    /// Its name in flags, manifests and errors.
    pub name: &'static str,
    /// What its scope names, when it has one.
    pub scope: Option<&'static str>,
    /// How much a grant gives away.
    pub risk: Risk,
    /// Whether this version can grant it. A plugin may ask for any kind; asking is how
    /// the operator learns what it would do.
    pub grantable: bool,
    /// What the plugin can do with it, as a sentence's end: "the plugin can …".
    pub about: &'static str,
}

const fn row(
    kind: CapabilityKind,
    name: &'static str,
    scope: Option<&'static str>,
    risk: Risk,
    grantable: bool,
    about: &'static str,
) -> CapabilityRow {
    CapabilityRow { kind, name, scope, risk, grantable, about }
}

/// Every kind of capability, in the order of [`CapabilityKind`].
pub static CAPABILITIES: [CapabilityRow; 7] = [
    row(CapabilityKind::Clock, "clock", None, Risk::Low, true, "read the real time and sleep for real"),
    row(
        CapabilityKind::Random,
        "random",
        None,
        Risk::Low,
        true,
        "draw random numbers that nobody can predict",
    ),
    row(CapabilityKind::FsRead, "fs.read", Some("PATH"), Risk::Medium, false, "read files"),
    row(
        CapabilityKind::FsWrite,
        "fs.write",
        Some("PATH"),
        Risk::High,
        false,
        "create, change and delete files",
    ),
    row(CapabilityKind::Env, "env", Some("NAME"), Risk::Medium, false, "read environment variables"),
    row(CapabilityKind::Net, "net", Some("ORIGIN"), Risk::High, false, "reach hosts over the network"),
    row(CapabilityKind::Exec, "exec", Some("PROGRAM"), Risk::High, false, "run programs outside the sandbox"),
];

impl CapabilityKind {
    /// The kind's row.
    pub fn row(self) -> &'static CapabilityRow {
        &CAPABILITIES[self as usize]
    }
}

/// One capability: a kind and, where the kind has one, a scope.
///
/// Written `clock` or `fs.read=./data`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability {
    /// The kind.
    pub kind: CapabilityKind,
    /// What of the kind, as written; `None` where the kind has no scope.
    pub scope: Option<String>,
}

impl Capability {
    /// A capability whose kind has no scope.
    pub fn plain(kind: CapabilityKind) -> Self {
        Capability { kind, scope: None }
    }

    /// A capability with a scope.
    pub fn scoped(kind: CapabilityKind, scope: impl Into<String>) -> Self {
        Capability { kind, scope: Some(scope.into()) }
    }
}

impl FromStr for Capability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, scope) = match text.split_once('=') {
            Some((name, scope)) => (name, Some(scope)),
            None => (text, None),
        };
        let row = CAPABILITIES.iter().find(|row| row.name == name).ok_or_else(|| {
            Error::new(ErrorKind::UnknownName {
                what: "capability",
                name: name.to_owned(),
                nearest: nearest(name, CAPABILITIES.iter().map(|row| row.name)),
            })
        })?;
        let invalid =
            |reason: String| Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason });
        match (row.scope, scope) {
            (Some(what), None | Some("")) => Err(invalid(format!("needs a scope: `{name}={what}`"))),
            (None, Some(_)) => Err(invalid("has no scope".to_owned())),
            (_, scope) => Ok(Capability { kind: row.kind, scope: scope.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.row().name)?;
        self.scope.as_ref().map_or(Ok(()), |scope| write!(f, "={}", visible(scope, false)))
    }
}

impl serde::Serialize for Capability {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPABILITIES, Capability};

    #[test]
    fn rows_are_in_the_order_of_the_kinds() {
        for (index, row) in CAPABILITIES.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn a_capability_reads_back_and_a_wrong_one_names_the_nearest() {
        for text in ["clock", "fs.read=./data", "net=https://api.example.com"] {
            assert_eq!(text.parse::<Capability>().expect("known").to_string(), text);
        }
        let error = "clok".parse::<Capability>().expect_err("unknown");
        assert_eq!(error.to_string(), "unknown capability `clok`");
        assert_eq!(error.hint(), Some("did you mean `clock`?"));
        assert_eq!(
            "fs.read".parse::<Capability>().expect_err("no scope").to_string(),
            "`fs.read`: needs a scope: `fs.read=PATH`"
        );
        assert_eq!(
            "clock=now".parse::<Capability>().expect_err("scope").to_string(),
            "`clock`: has no scope"
        );
    }
}
