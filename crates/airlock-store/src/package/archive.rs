//! Archives: tar, tar.gz and zip, unpacked into memory and nowhere else.

use std::io::{Cursor, Read};

use airlock_core::{Error, Result};
use flate2::read::MultiGzDecoder;

use super::{Files, MAX_BYTES, MAX_ENTRIES, normalised, refused};

/// The files of an archive by their paths in it.
///
/// # Errors
/// [`NotInstallable`](airlock_core::ErrorKind::NotInstallable) when the bytes are no archive,
/// when there are too many or too large files in it, two of one path, a path or a link that
/// leads out, or anything that is neither a file, a folder nor a link.
pub(super) fn read(source: &str, bytes: Vec<u8>) -> Result<Files> {
    let mut unpacked = Unpacked { source, files: Files::new(), entries: 0, bytes: 0 };
    match bytes.as_slice() {
        [0x1f, 0x8b, ..] => read_tar(&mut unpacked, MultiGzDecoder::new(bytes.as_slice()))?,
        [b'P', b'K', 3, 4, ..] => read_zip(&mut unpacked, bytes)?,
        _ if bytes.get(257..262) == Some(b"ustar") => read_tar(&mut unpacked, bytes.as_slice())?,
        _ => return Err(refused(source, "it is no folder, no wasm file and no archive (`.tar.gz`, `.zip`)")),
    }
    Ok(unpacked.files)
}

struct Unpacked<'a> {
    source: &'a str,
    files: Files,
    entries: usize,
    bytes: u64,
}

impl Unpacked<'_> {
    fn refused(&self, reason: impl AsRef<str>) -> Error {
        refused(self.source, reason.as_ref())
    }

    fn damaged(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.refused("it is damaged, or not what it says it is").with_source(error)
    }

    /// Counts an entry and returns its path.
    fn entry(&mut self, path: &str) -> Result<String> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.refused(format!("there are more than {MAX_ENTRIES} files in it")));
        }
        match normalised(path) {
            Some(path) => Ok(path),
            // What archivers write for the folder itself.
            None if matches!(path, "." | "./") => Ok(String::new()),
            None => Err(self.refused(format!("its `{path}` leads out of it"))),
        }
    }

    fn file(&mut self, path: String, content: &mut dyn Read) -> Result<()> {
        if path.is_empty() {
            return Err(self.refused("there is a file without a name in it"));
        }
        let left = MAX_BYTES - self.bytes;
        let mut bytes = Vec::new();
        let read = content.take(left + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.damaged(error))?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(self.refused(format!("unpacked it is larger than {} MiB", MAX_BYTES >> 20)));
        }
        if self.files.contains_key(&path) {
            return Err(self.refused(format!("there are two files `{path}` in it")));
        }
        self.files.insert(path, bytes);
        Ok(())
    }

    /// Links are not followed. One that leads out is no accident.
    fn link(&self, path: &str, target: &str, from_root: bool) -> Result<()> {
        let mut depth = if from_root { 0 } else { path.matches('/').count() };
        let mut inside = !target.starts_with('/') && !target.contains(['\\', '\0']);
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => inside = false,
                },
                _ => depth += 1,
            }
        }
        match inside {
            true => Ok(()),
            false => Err(self.refused(format!("its link `{path}` leads out of it, to `{target}`"))),
        }
    }
}

fn read_tar(unpacked: &mut Unpacked<'_>, reader: impl Read) -> Result<()> {
    // What is skipped counts as well, so that nothing is unpacked without end.
    let mut archive = tar::Archive::new(reader.take(MAX_BYTES + (64 << 20)));
    let entries = archive.entries().map_err(|error| unpacked.damaged(error))?;
    let mut any = false;
    for entry in entries {
        let mut entry = entry.map_err(|error| unpacked.damaged(error))?;
        any = true;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8(path).map_err(|error| unpacked.damaged(error))?;
        let path = unpacked.entry(&path)?;
        if kind.is_file() || kind.is_contiguous() {
            unpacked.file(path, &mut entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            unpacked.link(&path, &String::from_utf8_lossy(&target), kind.is_hard_link())?;
        } else if !kind.is_dir() {
            return Err(unpacked.refused(format!("its `{path}` is no file, folder or link")));
        }
    }
    match any {
        true => Ok(()),
        false => Err(unpacked.refused("there is nothing in it")),
    }
}

fn read_zip(unpacked: &mut Unpacked<'_>, bytes: Vec<u8>) -> Result<()> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| unpacked.damaged(error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| unpacked.damaged(error))?;
        let path = String::from_utf8(entry.name_raw().to_vec()).map_err(|error| unpacked.damaged(error))?;
        let path = unpacked.entry(&path)?;
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() {
            let mut target = String::new();
            entry.take(4096).read_to_string(&mut target).map_err(|error| unpacked.damaged(error))?;
            unpacked.link(&path, &target, false)?;
            continue;
        }
        unpacked.file(path, &mut entry)?;
    }
    Ok(())
}
