//! Answers that are kept in files, to be compared with.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use airlock_host::{Error, visible};

use super::expect::{Came, Failure};
use super::json::{How, Json};

/// The folder of all snapshots, beside the case files.
const FOLDER: &str = "snapshots";

/// How their names end.
const ENDING: &str = "snap";

/// Bytes of one that are read.
const LARGEST: u64 = 64 << 20;

/// What became of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Same,
    Written,
    Differs(Failure),
}

/// What an answer is kept as.
pub(super) enum Content {
    Json(Json),
    Text(String),
}

impl Content {
    /// That of what a step came to; none where it failed.
    ///
    /// # Errors
    /// An answer that is no JSON.
    pub(super) fn of(came: &Came) -> Option<Result<Self, String>> {
        match came {
            Came::Answered { json, .. } => {
                Some(Json::read(json).map(Content::Json).map_err(|error| error.to_string()))
            }
            // A file that a person opens in a terminal, and that is compared line by line.
            Came::Ended { program, .. } => {
                let text = String::from_utf8_lossy(&program.stdout);
                Some(Ok(Content::Text(visible(&text, true).into_owned())))
            }
            Came::Failed(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Content::Json(value) => value.pretty() + "\n",
            Content::Text(text) => text.clone(),
        }
    }

    /// In what it differs from what was kept.
    fn differs(&self, kept: &str) -> Option<Failure> {
        if let Content::Json(found) = self
            && let Ok(expected) = Json::read(kept)
        {
            let failure = Failure::of_values("the output", &expected, found, How::Exactly)?;
            return Some(Failure { what: format!("{}, as its snapshot has it", failure.what), ..failure });
        }
        let text = self.text();
        (kept != text).then(|| Failure::of_texts("the output differs from its snapshot", kept, &text))
    }
}

/// The snapshots of one case file.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The folder of the case files.
    cases: PathBuf,
    folder: PathBuf,
}

impl Snapshots {
    /// Those of the case file of this name in that folder.
    pub(super) fn new(cases: &Path, stem: &str) -> Self {
        Snapshots { cases: cases.to_owned(), folder: cases.join(FOLDER).join(stem) }
    }

    /// Compares with the snapshot of this name, or makes it so.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that is not below the folder of the case files.
    pub(super) fn keep(&self, name: &str, content: &Content, update: bool) -> Result<Kept, Error> {
        let path = self.folder.join(name);
        let failed = |error: io::Error| {
            Error::host(format!("cannot use the snapshot `{}`", path.display())).with_source(error)
        };
        let kept = self.read(&path).map_err(failed)?;
        let difference = match &kept {
            None => Some(Failure {
                texts: Some((String::new(), content.text())),
                hint: Some("`--update` keeps what was found".to_owned()),
                ..Failure::new(format!("there is no snapshot `{FOLDER}/…/{name}`"))
            }),
            Some(kept) => content.differs(kept).map(|failure| Failure {
                hint: Some("`--update` keeps what was found instead".to_owned()),
                ..failure
            }),
        };
        match (difference, update) {
            (None, _) => Ok(Kept::Same),
            (Some(failure), false) => Ok(Kept::Differs(failure)),
            (Some(_), true) => {
                self.write(&path, &content.text()).map_err(failed)?;
                Ok(Kept::Written)
            }
        }
    }

    /// Removes those that are not of these names. Gives how many there were.
    ///
    /// # Errors
    /// One that cannot be removed.
    pub(super) fn remove_others(&self, names: &BTreeSet<String>) -> Result<usize, Error> {
        let failed = |error: io::Error| {
            Error::host(format!("cannot remove snapshots from `{}`", self.folder.display()))
                .with_source(error)
        };
        if !self.folder.exists() {
            return Ok(0);
        }
        self.stays_inside(&self.folder).map_err(failed)?;
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let is_one = Path::new(&name).extension().is_some_and(|ending| ending == ENDING);
            let is_used = name.to_str().is_some_and(|name| names.contains(name));
            if is_one && !is_used && !entry.file_type().map_err(failed)?.is_dir() {
                fs::remove_file(entry.path()).map_err(failed)?;
                removed += 1;
            }
        }
        if removed > 0 && names.is_empty() {
            // What else is in it is not ours, and keeps it.
            let _ = fs::remove_dir(&self.folder);
        }
        Ok(removed)
    }

    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        if !path.exists() {
            return Ok(None);
        }
        self.stays_inside(path)?;
        read_text(path, LARGEST).map(Some)
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.stays_inside(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        #[cfg(unix)]
        {
            // As any file of a project: a temporary one is its user's alone.
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    }

    /// Refuses what links lead elsewhere: whoever wrote the plugin may not be who tests it.
    fn stays_inside(&self, path: &Path) -> io::Result<()> {
        match path.canonicalize()?.starts_with(self.cases.canonicalize()?) {
            true => Ok(()),
            false => Err(io::Error::other("a link leads it out of the folder of the cases")),
        }
    }
}

/// The file name of a case's snapshot, or of one of its steps, counted from 1.
pub(super) fn file_name(case: &str, step: Option<usize>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = case.chars().map(plain).collect();
    match step {
        Some(step) => format!("{name}.{step}.{ENDING}"),
        None => format!("{name}.{ENDING}"),
    }
}

/// The text of a regular file of at most so many bytes.
///
/// # Errors
/// Where it is none.
pub(super) fn read_text(path: &Path, largest: u64) -> io::Result<String> {
    let bytes = read_bytes(path, largest)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The bytes of a regular file, at most so many.
///
/// # Errors
/// Where it is none.
pub(super) fn read_bytes(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    // Looked at before it is opened: opening a pipe waits for somebody to write.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > largest {
        true => Err(io::Error::other(format!("it is larger than {largest} bytes"))),
        false => Ok(bytes),
    }
}
