//! Files and folders.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Place;

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PathBase {
    /// The folder that the plugin is run in.
    Working,
    /// The user's own folder.
    Home,
    /// The folder that Airlock keeps for the plugin.
    Own,
    /// The root of the file system.
    Root,
}

/// A file, a folder with everything below it, or a folder's files alone; and where a plugin
/// sees it.
///
/// Paths are compared by their text, with `.`, `..` and doubled slashes taken out. What they
/// lead to on the disk, symbolic links included, is for whoever opens them to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathScope {
    base: PathBase,
    parts: Vec<String>,
    shallow: bool,
    guest: Option<Vec<String>>,
}

impl PathScope {
    pub(super) fn everything() -> Self {
        PathScope { base: PathBase::Root, parts: Vec::new(), shallow: false, guest: None }
    }

    pub(super) fn below(path: &Path) -> Option<Self> {
        let parts = normalised(path.to_str()?.strip_prefix('/')?)?;
        Some(PathScope { parts, ..PathScope::everything() })
    }

    /// Where the path begins.
    pub fn base(&self) -> PathBase {
        self.base
    }

    /// The path from its base.
    pub fn relative(&self) -> PathBuf {
        self.parts.iter().collect()
    }

    /// The path, when it is absolute.
    pub fn absolute(&self) -> Option<PathBuf> {
        (self.base == PathBase::Root).then(|| Path::new("/").join(self.relative()))
    }

    /// Whether it leaves out what lies in folders below.
    pub fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// Where a plugin sees it: as written, else the path from its base with `/` before it.
    pub fn guest(&self) -> String {
        rooted(self.guest.as_ref().unwrap_or(&self.parts))
    }

    pub(super) fn covers(&self, other: &PathScope) -> bool {
        let below = match self.base == other.base {
            true => other.parts.strip_prefix(self.parts.as_slice()),
            false => None,
        };
        match self.shallow {
            true => below.is_some_and(<[_]>::is_empty) && other.shallow,
            false => below.is_some(),
        }
    }

    pub(super) fn overlaps(&self, other: &PathScope) -> bool {
        self.base == other.base
            && (self.parts.starts_with(&other.parts) || other.parts.starts_with(&self.parts))
    }

    pub(super) fn resolved(&self, place: &Place) -> PathScope {
        let from = match self.base {
            PathBase::Root => return self.clone(),
            PathBase::Working => Some(&place.working),
            PathBase::Home => place.home.as_ref(),
            PathBase::Own => place.own.as_ref(),
        };
        let from = from.and_then(|from| from.to_str()).filter(|from| from.starts_with('/'));
        let Some(from) = from else {
            return self.clone();
        };
        let mut parts = normalised(from).unwrap_or_default();
        parts.extend(self.parts.iter().cloned());
        let guest = Some(self.guest.clone().unwrap_or_else(|| self.parts.clone()));
        PathScope { base: PathBase::Root, parts, shallow: self.shallow, guest }
    }

    pub(super) fn in_words(&self) -> String {
        let path = self.host();
        let place = match (self.base, self.parts.is_empty()) {
            (PathBase::Root, true) => "every file of this machine".to_owned(),
            (PathBase::Home, true) => "everything in your home folder".to_owned(),
            (PathBase::Working, true) => "the folder it is run in".to_owned(),
            (PathBase::Own, true) => "everything in a folder of its own".to_owned(),
            (PathBase::Own, false) => format!("`{}` in a folder of its own", self.parts.join("/")),
            (PathBase::Working, false) => format!("`{path}` in the folder it is run in"),
            _ => format!("`{path}`"),
        };
        match (self.shallow, self.parts.is_empty() && self.base != PathBase::Working) {
            (true, false) => format!("the files in {place}, without its folders"),
            (true, true) => format!("the files in `{path}`, without its folders"),
            (false, true) => place,
            (false, false) => format!("{place} and everything below it"),
        }
    }

    /// The path on the host as text, without `/*` and where it is seen.
    fn host(&self) -> String {
        let joined = self.parts.join("/");
        match self.base {
            PathBase::Working if joined.is_empty() => ".".to_owned(),
            // What begins like another base has to say that it is not.
            PathBase::Working if joined.starts_with(['~', '@']) => format!("./{joined}"),
            PathBase::Working => joined,
            PathBase::Own if joined.is_empty() => "@".to_owned(),
            PathBase::Own => format!("@/{joined}"),
            PathBase::Home if joined.is_empty() => "~".to_owned(),
            PathBase::Home => format!("~/{joined}"),
            PathBase::Root => format!("/{joined}"),
        }
    }
}

impl FromStr for PathScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, guest) = match text.split_once("::") {
            Some((host, guest)) => (host, Some(guest)),
            None => (text, None),
        };
        let (host, shallow) = match host.strip_suffix("/*") {
            Some("") => ("/", true),
            Some(folder) => (folder, true),
            None if host == "*" => (".", true),
            None => (host, false),
        };
        if host.is_empty() {
            return Err("a path is missing; `.` is the folder the plugin is run in".to_owned());
        }
        if host.contains('*') || guest.is_some_and(|guest| guest.contains('*')) {
            return Err("`*` stands for a folder's files at the end of a path only, as `/*`".to_owned());
        }
        let (first, rest) = host.split_once('/').unwrap_or((host, ""));
        let (base, rest) = match first {
            "" => (PathBase::Root, rest),
            "~" => (PathBase::Home, rest),
            "@" => (PathBase::Own, rest),
            _ if first.starts_with('~') => {
                return Err("`~` is your own home folder; those of others have to be written out".to_owned());
            }
            _ if first.starts_with('@') => {
                return Err("`@` is the plugin's own folder; write `./@…` for a file of that name".to_owned());
            }
            _ => (PathBase::Working, host),
        };
        let parts = match (normalised(rest), base) {
            (Some(parts), _) => parts,
            (None, PathBase::Root) => return Err("`..` leads out of the file system".to_owned()),
            (None, _) => {
                return Err("`..` leads out of the folder it begins in; write an absolute path".to_owned());
            }
        };
        let guest = match guest {
            None => None,
            Some(guest) => {
                let rest = guest.strip_prefix('/').ok_or("what follows `::` begins with `/`")?;
                Some(normalised(rest).ok_or("`..` leads out of what the plugin sees")?)
            }
        };
        Ok(PathScope { base, parts, shallow, guest })
    }
}

impl fmt::Display for PathScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host();
        match (self.shallow, host.as_str()) {
            (true, "/") => f.write_str("/*")?,
            (true, _) => write!(f, "{host}/*")?,
            (false, _) => f.write_str(&host)?,
        }
        self.guest.as_ref().map_or(Ok(()), |guest| write!(f, "::{}", rooted(guest)))
    }
}

/// The parts of a path with `.` and `..` taken out; `None` when `..` leads out of it.
fn normalised(path: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part.to_owned()),
        }
    }
    Some(parts)
}

fn rooted(parts: &[String]) -> String {
    format!("/{}", parts.join("/"))
}
