//! What the functions about files have in common, in preview 1 and, where that says so, in both: where a
//! path leads, what may be moved, what is counted, and how a text is handed on.

use wasmtime_wasi::p1::types::{CiovecArray, Errno, Error, Fd, Filestat, Filetype, Lookupflags};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wiggle::{GuestMemory, GuestPtr};

use super::files::{self, Kind, Target};
use crate::store::CallState;

/// Bytes of a path: what Linux takes.
pub(super) const MAX_PATH: u32 = 4096;

/// For both previews.
impl CallState {
    /// Counts the use of what granted a file.
    pub(super) fn note_file(&mut self, target: &Target) {
        if let Some(root) = target.root
            && self.records_uses()
        {
            let capability = self.wasi_files().capability(root).clone();
            self.uses.count(&capability, true);
        }
    }

    /// Counts bytes that are about to be written to a file that gets `end` long by it.
    pub(super) async fn will_write(&mut self, root: usize, bytes: u64, end: u64) -> Result<(), Errno> {
        let (by, files) = (self.deadline(), self.wasi_files());
        let quota = files.quota.clone();
        if bytes > 0 && !quota.is_measured(root) {
            quota.measure(files.place(root), by).await;
        }
        quota.write(root, bytes, end)
    }

    /// Gives back what was not written in the end.
    pub(super) fn wrote<S: Copy + Into<u64>, E>(
        &mut self,
        root: usize,
        bytes: u64,
        written: Result<S, E>,
    ) -> Result<S, E> {
        let rest = bytes.saturating_sub(written.as_ref().map_or(0, |written| (*written).into()));
        self.wasi_files().quota.unwrite(root, rest);
        written
    }
}

/// Buffers of one write: what Linux takes.
pub(super) const MAX_BUFFERS: usize = 1024;

impl CallState {
    /// Where a path of the guest's leads.
    pub(super) fn target(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<Target, Error> {
        let path = text(memory, path)?;
        Ok(self.wasi_files().resolve(fd.into(), &path)?)
    }

    pub(super) async fn stat(&mut self, target: &Target, flags: Lookupflags) -> Result<Filestat, Error> {
        let (mut text, path) = Text::of(&target.path);
        let (fd, flags) = (target.fd.into(), target.flags(flags));
        self.wasi_context().path_filestat_get(&mut text.memory(), fd, flags, path).await
    }

    /// Refuses a folder where only files were granted.
    pub(super) async fn refuse_folder(&mut self, target: &Target) -> Result<(), Error> {
        if target.no_folder
            && let Ok(found) = self.stat(target, Lookupflags::empty()).await
        {
            target.may_show(kind(found.filetype))?;
        }
        Ok(())
    }

    /// Whether something may be moved or linked from one place to the other.
    pub(super) async fn moves(&mut self, from: &Target, to: &Target) -> Result<(), Error> {
        from.may_move(to)?;
        self.refuse_folder(from).await?;
        self.note_file(from);
        self.note_file(to);
        Ok(())
    }

    /// Reads a folder whole, for its entries to be handed out.
    pub(super) async fn list(&mut self, fd: Fd) -> Result<(), Error> {
        for size in files::listing_sizes() {
            let mut bytes = vec![0; size];
            let length = u32::try_from(size).map_err(|_| Errno::Nomem)?;
            let memory = &mut GuestMemory::Unshared(&mut bytes);
            let count = self.wasi_context().fd_readdir(memory, fd, GuestPtr::new(0), length, 0).await?;
            self.check_deadline().map_err(Error::trap)?;
            if count < length {
                bytes.truncate(count as usize);
                return Ok(self.wasi_files().keep_listing(fd.into(), &bytes)?);
            }
        }
        // Too large to be handed out.
        Err(Errno::Nomem.into())
    }
}

/// A text of the guest's, read once.
pub(super) fn text(memory: &GuestMemory<'_>, text: GuestPtr<str>) -> Result<String, Error> {
    match text.len() > MAX_PATH {
        true => Err(Errno::Nametoolong.into()),
        false => Ok(memory.as_cow_str(text)?.into_owned()),
    }
}

/// The length of the first buffer with anything in it: wasmtime-wasi writes one at a time.
pub(super) fn first_length(memory: &GuestMemory<'_>, from: CiovecArray) -> Result<u64, Error> {
    for buffer in from.iter().take(MAX_BUFFERS) {
        let length = memory.read(buffer?)?.buf_len;
        if length > 0 {
            return Ok(length.into());
        }
    }
    match from.len() as usize > MAX_BUFFERS {
        true => Err(Errno::Inval.into()),
        false => Ok(0),
    }
}

/// What a type is as far as files are decided over.
pub(super) fn kind(of: Filetype) -> Kind {
    match of {
        Filetype::Directory => Kind::Folder,
        Filetype::RegularFile | Filetype::SymbolicLink => Kind::Plain,
        _ => Kind::Special,
    }
}

impl Target {
    pub(super) fn flags(&self, asked: Lookupflags) -> Lookupflags {
        if self.follow { asked } else { Lookupflags::empty() }
    }
}

/// A path without slashes at its end; one of nothing else stays as it is.
pub(super) fn without_slash(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        path => path,
    }
}

/// Texts in memory of the host's, to be handed on as if they were a guest's.
pub(super) struct Text(pub(super) Vec<u8>);

impl Text {
    pub(super) fn of(text: &str) -> (Self, GuestPtr<str>) {
        (Text(text.as_bytes().to_vec()), GuestPtr::new((0, short(text))))
    }

    pub(super) fn of_two(one: &str, other: &str) -> (Self, GuestPtr<str>, GuestPtr<str>) {
        let bytes = [one, other].concat().into_bytes();
        (Text(bytes), GuestPtr::new((0, short(one))), GuestPtr::new((short(one), short(other))))
    }

    pub(super) fn memory(&mut self) -> GuestMemory<'_> {
        GuestMemory::Unshared(&mut self.0)
    }
}

/// The length of a text that was checked to be short.
fn short(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or_default()
}
