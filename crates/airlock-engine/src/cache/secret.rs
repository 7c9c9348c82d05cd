//! The secret that tells what this user's Airlock wrote from what anybody else did.

use std::io;
use std::path::Path;

use airlock_files::{Folder, read_small};

/// Bytes of the secret.
const LENGTH: usize = 32;

/// Reads the secret from `path`, and makes it at the first use. Of two processes that make
/// it at once, both get the one that came first.
///
/// # Errors
/// When it is not exactly [`LENGTH`] bytes in a regular file that only this user can read
/// or write, or cannot be made.
pub(super) fn read_or_make(path: &Path) -> io::Result<[u8; LENGTH]> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file"));
    };
    let folder = Folder::private(parent)?;
    if let Some(secret) = read(&folder, name)? {
        return Ok(secret);
    }
    let mut secret = [0; LENGTH];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    if folder.put_new(name, &secret)? {
        return Ok(secret);
    }
    read(&folder, name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn read(folder: &Folder, name: &str) -> io::Result<Option<[u8; LENGTH]>> {
    let Some((file, metadata)) = folder.file(name)? else { return Ok(None) };
    let mode = std::os::unix::fs::MetadataExt::mode(&metadata);
    if mode & 0o077 != 0 {
        let reason = format!("others can read it (mode {:04o})", mode & 0o7777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let bytes = read_small(file, LENGTH as u64)?;
    let secret = bytes.try_into();
    secret.map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not 32 bytes long"))
}
