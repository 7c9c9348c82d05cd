//! Core dumps of plugins that trap, in files that only this user can read.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use airlock_host::{CoreDump, Error};
use tempfile::NamedTempFile;

use crate::printer::Printer;

/// A file that gets a core dump where there is one, and is left as it is where there is none.
pub(super) struct DumpFile {
    path: PathBuf,
    /// Beside it, with mode 0600. Whatever is at the path is replaced whole, and no link is followed.
    beside: NamedTempFile,
    place: CoreDump,
}

impl DumpFile {
    /// One that can be written, before the plugin is called: what a call changed cannot be had again.
    ///
    /// # Errors
    /// [`airlock_host::ErrorKind::Host`] where nothing can be written beside the path.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            // Of its own name nobody needs to hear.
            .map_err(|error| unwritable(path, error.kind()))?;
        if path.is_dir() {
            return Err(unwritable(path, ErrorKind::IsADirectory));
        }
        Ok(DumpFile { path: path.to_owned(), beside, place: CoreDump::new() })
    }

    /// Where the plugin leaves its core dump.
    pub(super) fn place(&self) -> &CoreDump {
        &self.place
    }

    /// Writes the core dump, where there is one. That it cannot be written is said, and makes no
    /// difference to what the call came to.
    pub(super) fn finish(mut self, printer: Printer) {
        let Some(dump) = self.place.take() else { return };
        let written = self
            .beside
            .write_all(&dump)
            .and_then(|()| self.beside.persist(&self.path).map(|_| ()).map_err(|error| error.error));
        let path = self.path.display();
        match written {
            Ok(()) => printer
                .note(&format!("a core dump is in `{path}`: it holds all that was in the plugin's memory")),
            Err(error) => printer.warning(&format!("no core dump could be written to `{path}`: {error}")),
        }
    }
}

fn unwritable(path: &Path, why: ErrorKind) -> Error {
    Error::host(format!("cannot write `{}`", path.display())).with_source(std::io::Error::from(why))
}
