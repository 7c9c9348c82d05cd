//! Putting new content in a file's place, all of it or none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Replaces what `file` holds. Whoever reads it meanwhile, and whoever finds it after this
/// program was stopped, sees the old content or the new one, never a part.
pub fn replace(file: &str, content: &[u8]) -> io::Result<()> {
    let path = Path::new(file);
    // The rename would put a file where the link is and leave what it leads to as it was.
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("is a symbolic link; name the file that it leads to"));
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // In the same folder: a rename from elsewhere may be a copy, which can be cut in half.
    let new = path.with_file_name(format!(".{}.jsonfmt", name.display()));
    // Only a new file: what has that name already is not this program's to overwrite.
    let mut written = OpenOptions::new().write(true).create_new(true).open(&new).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot create `{}`: {error}", new.display()))
    })?;
    let placed = written
        .write_all(content)
        // Before the rename, which may otherwise reach the disk first.
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if placed.is_err() {
        // What went wrong first is the error to tell.
        let _ = fs::remove_file(&new);
    }
    placed
}
