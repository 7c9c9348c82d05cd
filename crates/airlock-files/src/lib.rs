//! Folders and files that only this user can have written.
//!
//! Everything is reached from an open folder by names without a slash, and symbolic links
//! are never followed below it, so that nobody can lead a read or a write elsewhere.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, flock, fstat, mkdirat, openat,
    renameat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// Names of files that are still being written begin with this.
const UNFINISHED: &str = ".new-";

/// Write permission of anybody but the owner.
const OTHERS_WRITE: u32 = 0o022;

/// An open folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its size.
    pub bytes: u64,
    /// When it was last written to.
    pub modified: SystemTime,
}

impl Folder {
    /// Opens a folder that only this user can write to; makes it when there is none.
    ///
    /// # Errors
    /// `PermissionDenied` with the reason when another user owns it or can write to it.
    pub fn private(path: &Path) -> io::Result<Self> {
        let open = || openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder = match open() {
            Err(Errno::NOENT) => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                open()?
            }
            opened => opened?,
        };
        refuse_others(&fstat(&folder)?)?;
        Ok(Folder(folder))
    }

    /// The folder `name` in it; `None` when there is none.
    pub fn folder(&self, name: &str) -> io::Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        found(openat(&self.0, name, flags, Mode::empty())).map(|folder| folder.map(Folder))
    }

    /// The folder `name` in it, made when there is none.
    pub fn make_folder(&self, name: &str) -> io::Result<Folder> {
        match mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.folder(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The names in it.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        // Names that are not UTF-8 are none of ours.
        let mut take = |name: &CStr| {
            if let Ok(name) = name.to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        };
        #[cfg(target_os = "linux")]
        {
            // Read through this descriptor, from the beginning: opening another one costs
            // half as much as everything else that a lookup does.
            rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut entries = rustix::fs::RawDir::new(&self.0, &mut buffer);
            while let Some(entry) = entries.next() {
                take(entry?.file_name());
            }
        }
        #[cfg(not(target_os = "linux"))]
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            take(entry?.file_name());
        }
        Ok(names)
    }

    /// The regular file `name`, for reading, with what is known of it; `None` when there is
    /// none.
    ///
    /// # Errors
    /// `PermissionDenied` when another user owns it or can write to it.
    pub fn file(&self, name: &str) -> io::Result<Option<(File, Metadata)>> {
        // A FIFO in its place must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(file) = found(openat(&self.0, name, flags, Mode::empty()))? else { return Ok(None) };
        let file = File::from(file);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(refused("it is no regular file"));
        }
        refuse_strangers(metadata.uid(), metadata.mode())?;
        Ok(Some((file, metadata)))
    }

    /// What is known of the regular file `name`.
    pub fn facts(&self, name: &str) -> io::Result<Facts> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
        let since = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        Ok(Facts { bytes: u64::try_from(stat.st_size).unwrap_or(0), modified: UNIX_EPOCH + since })
    }

    /// Puts a file there, whole or not at all. A file of that name is replaced.
    ///
    /// After a crash of the machine the file may be an old one, or damaged.
    pub fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = self.write_unfinished(content, false)?;
        renameat(&self.0, &unfinished, &self.0, name).map_err(|error| {
            let _ = self.remove(&unfinished);
            error.into()
        })
    }

    /// Puts a file there as [`put`](Self::put) does, and returns once it would survive a crash
    /// of the machine.
    pub fn put_durably(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = self.write_unfinished(content, true)?;
        renameat(&self.0, &unfinished, &self.0, name).map_err(|error| {
            let _ = self.remove(&unfinished);
            io::Error::from(error)
        })?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Puts a file there unless there is one, whole or not at all; whether it did.
    pub fn put_new(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        let unfinished = self.write_unfinished(content, false)?;
        let linked = rustix::fs::linkat(&self.0, &unfinished, &self.0, name, AtFlags::empty());
        let _ = self.remove(&unfinished);
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write_unfinished(&self, content: &[u8], durably: bool) -> io::Result<String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{UNFINISHED}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // One that a process with this number left behind when it was killed.
        let _ = self.remove(&name);
        let mut file = File::from(openat(&self.0, &name, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(content).and_then(|()| if durably { file.sync_all() } else { Ok(()) });
        if let Err(error) = written {
            let _ = self.remove(&name);
            return Err(error);
        }
        Ok(name)
    }

    /// Whether `name` is of a file that is, or was, still being written.
    pub fn is_unfinished(name: &str) -> bool {
        name.starts_with(UNFINISHED)
    }

    /// Takes the lock `name`, and waits for it while another process or thread has it.
    pub fn lock(&self, name: &str) -> io::Result<Lock> {
        let file = self.lock_file(name)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the lock `name`, unless another process or thread has it.
    pub fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let file = self.lock_file(name)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_file(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?)
    }

    /// Sets the time `name` was last modified to now.
    pub fn touch(&self, name: &str) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        Ok(utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Removes the file `name`.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes the folder `name`, when it is empty.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }
}

/// A lock between processes, held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it is what unlocks")] OwnedFd);

/// Reads a small file whole, and refuses a larger one.
pub fn read_small(file: File, maximum: u64) -> io::Result<Vec<u8>> {
    let said = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(said.min(maximum)).unwrap_or(0) + 1);
    file.take(maximum + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > maximum {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large")),
        false => Ok(bytes),
    }
}

fn found(opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        // What `NOFOLLOW` says of a symbolic link, with and without `DIRECTORY`.
        Err(Errno::LOOP | Errno::NOTDIR) => Err(refused("it is a symbolic link or no folder")),
        Err(error) => Err(error.into()),
    }
}

fn refuse_others(stat: &Stat) -> io::Result<()> {
    refuse_strangers(stat.st_uid, stat.st_mode)
}

fn refuse_strangers(owner: u32, mode: u32) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if owner != user {
        return Err(refused(format!("it belongs to user {owner} and not to {user}")));
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(refused(format!("others can write to it (mode {:04o})", mode & 0o7777)));
    }
    Ok(())
}

fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason.into())
}
