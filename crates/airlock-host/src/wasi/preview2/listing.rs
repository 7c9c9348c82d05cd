//! Listings of folders for components.
//!
//! Read by ourselves and not by wasmtime-wasi, which takes as much of the host's memory as there are
//! entries, however many that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use wasmtime_wasi::p1::types::Errno;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry};

use crate::wasi::files::MAX_LISTED;

/// Bytes that an entry takes beside its name.
const HEAD: usize = size_of::<DirectoryEntry>();

/// Entries that are read between looks at the clock.
const STRIDE: usize = 1024;

/// A folder as it was when it began to be listed.
pub(super) struct Listing {
    rest: std::vec::IntoIter<DirectoryEntry>,
    _counted: Counted,
}

impl Listing {
    pub(super) fn next(&mut self) -> Option<DirectoryEntry> {
        self.rest.next()
    }

    /// Reads what of a folder is shown, without the folder itself and the one above.
    ///
    /// # Errors
    /// [`Errno::Nomem`] where it does not fit beside the guest's other listings; [`Errno::Ilseq`] for
    /// a name that is no text; [`Errno::Timedout`] where it has taken too long.
    #[cfg(unix)]
    pub(super) fn read(
        folder: &std::fs::File,
        shows: impl Fn(&str, bool) -> bool,
        listed: Arc<AtomicUsize>,
        by: Option<Instant>,
    ) -> Result<Self, Errno> {
        use rustix::fs::{Dir, Mode, OFlags, openat};

        let mut counted = Counted { bytes: 0, listed };
        let mut entries = Vec::new();
        // The folder itself may be open to begin paths at and no more.
        let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(folder, ".", how, Mode::empty()).map_err(errno)?;
        for (index, entry) in Dir::new(readable).map_err(errno)?.enumerate() {
            if index % STRIDE == STRIDE - 1 && by.is_some_and(|by| Instant::now() >= by) {
                return Err(Errno::Timedout);
            }
            let entry = entry.map_err(errno)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let type_ = type_of(folder, &entry);
            let name = name.to_str().map_err(|_| Errno::Ilseq)?;
            if shows(name, type_ == DescriptorType::Directory) {
                counted.add(name.len() + HEAD)?;
                entries.push(DirectoryEntry { type_, name: name.to_owned() });
            }
        }
        Ok(Listing { rest: entries.into_iter(), _counted: counted })
    }
}

/// What an entry is. Not every file system says so in the folder.
#[cfg(unix)]
fn type_of(folder: &std::fs::File, entry: &rustix::fs::DirEntry) -> DescriptorType {
    use rustix::fs::{AtFlags, FileType, statat};

    let file_type = match entry.file_type() {
        FileType::Unknown => match statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(_) => FileType::Unknown,
        },
        known => known,
    };
    match file_type {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Unknown,
    }
}

#[cfg(unix)]
fn errno(error: rustix::io::Errno) -> Errno {
    match error {
        rustix::io::Errno::ACCESS => Errno::Acces,
        rustix::io::Errno::NOENT => Errno::Noent,
        rustix::io::Errno::NOMEM => Errno::Nomem,
        _ => Errno::Io,
    }
}

/// Bytes of a guest's listings, given back with this one.
struct Counted {
    bytes: usize,
    listed: Arc<AtomicUsize>,
}

impl Counted {
    fn add(&mut self, bytes: usize) -> Result<(), Errno> {
        self.bytes += bytes;
        let all = self.listed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > MAX_LISTED { Err(Errno::Nomem) } else { Ok(()) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.listed.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use wasmtime_wasi::p1::types::Errno;
    use wasmtime_wasi::p2::bindings::filesystem::types::DescriptorType;

    use super::{HEAD, Listing};
    use crate::wasi::files::MAX_LISTED;

    #[test]
    fn a_folder_is_read_as_far_as_it_is_shown_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("folder")).expect("made");
        std::fs::write(folder.path().join("file"), "").expect("made");
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).expect("made");
        let open = File::open(folder.path()).expect("open");
        let listed = Arc::new(AtomicUsize::new(0));
        let mut listing =
            Listing::read(&open, |_, is_folder| !is_folder, listed.clone(), None).expect("read");
        assert_eq!(listed.load(Ordering::Relaxed), 2 * HEAD + 8);
        let mut found: Vec<_> =
            std::iter::from_fn(|| listing.next()).map(|entry| (entry.name, entry.type_)).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [("file", DescriptorType::RegularFile), ("link", DescriptorType::SymbolicLink)];
        assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
        drop(listing);
        assert_eq!(listed.load(Ordering::Relaxed), 0);
        // No room beside others; and what was read of it is given back.
        listed.store(MAX_LISTED - HEAD, Ordering::Relaxed);
        assert_eq!(Listing::read(&open, |_, _| true, listed.clone(), None).err(), Some(Errno::Nomem));
        assert_eq!(listed.load(Ordering::Relaxed), MAX_LISTED - HEAD);
    }

    #[test]
    fn a_large_folder_is_not_read_past_the_deadline() {
        let folder = tempfile::tempdir().expect("a folder");
        (0..1200).for_each(|index| std::fs::write(folder.path().join(index.to_string()), "").expect("made"));
        let open = File::open(folder.path()).expect("open");
        let late = Listing::read(&open, |_, _| true, Arc::default(), Some(Instant::now()));
        assert_eq!(late.err(), Some(Errno::Timedout));
    }
}
