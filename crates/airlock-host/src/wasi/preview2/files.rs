//! Files of a component, decided over as those of preview 1 are.
//!
//! A descriptor is known to [`Files`](crate::wasi::files::Files) by its place in the table of resources.
//! A component never sees the folders behind files that were granted one by one; those are in the table
//! for the host to begin at.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p1::types::Errno;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::runtime::spawn_blocking;

use super::listing::Listing;
use super::streams::{Reading, Refused, Writing};
use super::{Guard, guarded};
use crate::store::CallState;
use crate::wasi::files::{Asked, Kind, Target};
use crate::wasi::reach::{MAX_PATH, without_slash};

type Handle = Resource<Descriptor>;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<CallState, Guard>(linker, guarded)?;
    types::add_to_linker::<CallState, Guard>(linker, guarded)
}

/// What an error of the guard is to a component.
fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::Acces => ErrorCode::Access,
        Errno::Badf => ErrorCode::BadDescriptor,
        Errno::Dquot => ErrorCode::Quota,
        Errno::Fbig => ErrorCode::FileTooLarge,
        Errno::Ilseq => ErrorCode::IllegalByteSequence,
        Errno::Nametoolong => ErrorCode::NameTooLong,
        Errno::Noent => ErrorCode::NoEntry,
        Errno::Notdir => ErrorCode::NotDirectory,
        Errno::Perm => ErrorCode::NotPermitted,
        // It has no word for too many that are open.
        Errno::Mfile | Errno::Nomem => ErrorCode::InsufficientMemory,
        _ => ErrorCode::Io,
    }
}

fn refused(errno: Errno) -> FsError {
    code(errno).into()
}

/// What a type is as far as files are decided over.
fn kind(of: DescriptorType) -> Kind {
    match of {
        DescriptorType::Directory => Kind::Folder,
        DescriptorType::RegularFile | DescriptorType::SymbolicLink => Kind::Plain,
        _ => Kind::Special,
    }
}

impl Target {
    fn handle(&self) -> Handle {
        Resource::new_borrow(self.fd)
    }

    fn path_flags(&self, asked: PathFlags) -> PathFlags {
        if self.follow { asked } else { PathFlags::empty() }
    }
}

impl CallState {
    fn file_call(&mut self, function: &'static str) -> FsResult<()> {
        self.enter_host(function).map_err(FsError::trap)
    }

    /// Counts a call about what is open.
    fn use_file(&mut self, function: &'static str, handle: &Handle) -> FsResult<()> {
        self.file_call(function)?;
        self.wasi_files().check(handle.rep()).map_err(refused)
    }

    /// Where a path leads from a folder, which counts as its use.
    fn use_path(&mut self, handle: &Handle, path: &str) -> FsResult<Target> {
        if path.len() > MAX_PATH as usize {
            return Err(ErrorCode::NameTooLong.into());
        }
        let to = self.wasi_files().resolve(handle.rep(), path).map_err(refused)?;
        self.note_file(&to);
        Ok(to)
    }

    /// What is there.
    async fn kind_at(&mut self, to: &Target, flags: PathFlags) -> Result<Kind, Errno> {
        let (handle, flags) = (to.handle(), to.path_flags(flags));
        let found = self.filesystem().stat_at(handle, flags, to.path.clone()).await;
        found.map(|stat| kind(stat.type_)).map_err(|error| match error.downcast_ref() {
            Some(ErrorCode::NoEntry) => Errno::Noent,
            _ => Errno::Io,
        })
    }

    /// Refuses a folder where only files were granted.
    async fn refuse_folder_at(&mut self, to: &Target) -> FsResult<()> {
        if to.no_folder
            && let Ok(kind) = self.kind_at(to, PathFlags::empty()).await
        {
            to.may_show(kind).map_err(refused)?;
        }
        Ok(())
    }

    /// Whether something may be moved or linked from one place to the other.
    async fn may_move(&mut self, from: &Target, to: &Target) -> FsResult<()> {
        from.may_move(to).map_err(refused)?;
        self.refuse_folder_at(from).await
    }

    /// The root of a file that is written to.
    fn root_of(&mut self, handle: &Handle) -> FsResult<usize> {
        self.wasi_files().file(handle.rep()).ok_or_else(|| ErrorCode::BadDescriptor.into())
    }

    /// A stream that writes to a file, counted and for as long as it is granted.
    fn writing(
        &mut self,
        handle: &Handle,
        stream: &Resource<DynOutputStream>,
        at: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let by = self.deadline();
        let root = self.root_of(handle)?;
        let files = self.wasi_files();
        let (lease, quota, place) = (files.lease(handle.rep()), files.quota.clone(), files.place(root));
        let ahead = self.wasi_ahead();
        let table = self.ctx().table;
        let file = table.delete(Resource::<DynOutputStream>::new_own(stream.rep()))?;
        let stream: DynOutputStream = Box::new(Writing { file, lease, ahead, quota, place, by, at });
        Ok(table.push(stream)?)
    }
}

impl preopens::Host for CallState {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Handle, String)>> {
        self.enter_host("preopens.get-directories")?;
        let mut all = preopens::Host::get_directories(&mut self.filesystem())?;
        let visible = self.wasi_files().visible();
        let behind: Vec<u32> =
            all.split_off(visible.min(all.len())).into_iter().map(|(handle, _)| handle.rep()).collect();
        if !self.wasi_files().opened_behind(behind.clone()) {
            // They are open already.
            for rep in behind {
                self.ctx().table.delete(Handle::new_own(rep))?;
            }
        }
        let files = self.wasi_files();
        (0..).zip(&all).for_each(|(root, (handle, _))| files.opened_root(handle.rep(), root));
        Ok(all)
    }
}

impl types::Host for CallState {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.enter_host("types.filesystem-error-code")?;
        if let Some(Refused(errno)) = self.ctx().table.get(&error)?.downcast_ref() {
            return Ok(Some(code(*errno)));
        }
        types::Host::filesystem_error_code(&mut self.filesystem(), error)
    }
}

/// Writes methods that count themselves and then let wasmtime-wasi do the work.
macro_rules! delegate {
    ($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        async fn $name(&mut self, this: Handle, $($arg: $ty),*) -> FsResult<$ret> {
            self.use_file(concat!("descriptor.", stringify!($name)), &this)?;
            HostDescriptor::$name(&mut self.filesystem(), this, $($arg),*).await
        }
    };
}

impl HostDescriptor for CallState {
    delegate!(advise(offset: Filesize, length: Filesize, advice: Advice) -> ());
    delegate!(sync_data() -> ());
    delegate!(get_flags() -> DescriptorFlags);
    delegate!(get_type() -> DescriptorType);
    delegate!(set_times(accessed: NewTimestamp, modified: NewTimestamp) -> ());
    delegate!(read(length: Filesize, offset: Filesize) -> (Vec<u8>, bool));
    delegate!(sync() -> ());
    delegate!(stat() -> DescriptorStat);
    delegate!(metadata_hash() -> MetadataHashValue);

    fn read_via_stream(&mut self, this: Handle, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.use_file("descriptor.read_via_stream", &this)?;
        let (lease, ahead) = (self.wasi_files().lease(this.rep()), self.wasi_ahead());
        let stream = HostDescriptor::read_via_stream(&mut self.filesystem(), this, offset)?;
        let table = self.ctx().table;
        let file = table.delete(stream)?;
        let stream: DynInputStream = Box::new(Reading { file, lease, ahead });
        Ok(table.push(stream)?)
    }

    fn write_via_stream(&mut self, this: Handle, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        self.use_file("descriptor.write_via_stream", &this)?;
        let borrowed = Handle::new_borrow(this.rep());
        let stream = HostDescriptor::write_via_stream(&mut self.filesystem(), this, offset)?;
        self.writing(&borrowed, &stream, Some(offset))
    }

    fn append_via_stream(&mut self, this: Handle) -> FsResult<Resource<DynOutputStream>> {
        self.use_file("descriptor.append_via_stream", &this)?;
        let borrowed = Handle::new_borrow(this.rep());
        let stream = HostDescriptor::append_via_stream(&mut self.filesystem(), this)?;
        self.writing(&borrowed, &stream, None)
    }

    async fn set_size(&mut self, this: Handle, size: Filesize) -> FsResult<()> {
        self.use_file("descriptor.set_size", &this)?;
        if let Some(root) = self.wasi_files().file(this.rep()) {
            let borrowed = Handle::new_borrow(this.rep());
            let now = HostDescriptor::stat(&mut self.filesystem(), borrowed).await?.size;
            self.will_write(root, size.saturating_sub(now), size).await.map_err(refused)?;
        }
        HostDescriptor::set_size(&mut self.filesystem(), this, size).await
    }

    async fn write(&mut self, this: Handle, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.use_file("descriptor.write", &this)?;
        let root = self.root_of(&this)?;
        let length = bytes.len() as u64;
        self.will_write(root, length, offset.saturating_add(length)).await.map_err(refused)?;
        let written = HostDescriptor::write(&mut self.filesystem(), this, bytes, offset).await;
        self.wrote(root, length, written)
    }

    async fn read_directory(&mut self, this: Handle) -> FsResult<Resource<DirectoryEntryStream>> {
        self.use_file("descriptor.read_directory", &this)?;
        let by = self.deadline();
        let files = self.wasi_files();
        let (shows, listed) = (files.shows(this.rep()), files.listed.clone());
        let folder = match self.ctx().table.get(&this)? {
            Descriptor::Dir(folder) => folder.dir.clone(),
            Descriptor::File(_) => return Err(ErrorCode::NotDirectory.into()),
        };
        let listing = spawn_blocking(move || Listing::read(&folder, shows, listed, by)).await;
        self.check_deadline().map_err(FsError::trap)?;
        let handle = self.ctx().table.push(listing.map_err(refused)?)?;
        Ok(Resource::new_own(handle.rep()))
    }

    async fn create_directory_at(&mut self, this: Handle, path: String) -> FsResult<()> {
        self.file_call("descriptor.create_directory_at")?;
        let to = self.use_path(&this, &path)?;
        self.wasi_files().may_make_folder(&to).map_err(refused)?;
        self.filesystem().create_directory_at(to.handle(), to.path).await
    }

    async fn stat_at(&mut self, this: Handle, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        self.file_call("descriptor.stat_at")?;
        let to = self.use_path(&this, &path)?;
        let (handle, flags) = (to.handle(), to.path_flags(flags));
        let found = self.filesystem().stat_at(handle, flags, to.path.clone()).await?;
        to.may_show(kind(found.type_)).map_err(refused)?;
        Ok(found)
    }

    async fn set_times_at(
        &mut self,
        this: Handle,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.file_call("descriptor.set_times_at")?;
        let to = self.use_path(&this, &path)?;
        self.refuse_folder_at(&to).await?;
        let (handle, flags) = (to.handle(), to.path_flags(flags));
        self.filesystem().set_times_at(handle, flags, to.path, accessed, modified).await
    }

    async fn link_at(
        &mut self,
        this: Handle,
        flags: PathFlags,
        path: String,
        other: Handle,
        new: String,
    ) -> FsResult<()> {
        self.file_call("descriptor.link_at")?;
        let (from, to) = (self.use_path(&this, &path)?, self.use_path(&other, &new)?);
        self.may_move(&from, &to).await?;
        self.wasi_files().quota.create().map_err(refused)?;
        let (handle, flags) = (from.handle(), from.path_flags(flags));
        self.filesystem().link_at(handle, flags, from.path, to.handle(), to.path).await
    }

    async fn open_at(
        &mut self,
        this: Handle,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        self.file_call("descriptor.open_at")?;
        let to = self.use_path(&this, &path)?;
        self.wasi_files().room().map_err(refused)?;
        let found = self.kind_at(&to, path_flags).await;
        let (creates, folder) =
            (open_flags.contains(OpenFlags::CREATE), open_flags.contains(OpenFlags::DIRECTORY));
        self.wasi_files().may_open(&to, found, Asked { creates, folder }).map_err(refused)?;
        let (handle, path_flags) = (to.handle(), to.path_flags(path_flags));
        let opened =
            self.filesystem().open_at(handle, path_flags, to.path.clone(), open_flags, flags).await?;
        let of_it = Handle::new_borrow(opened.rep());
        let opened_kind = HostDescriptor::get_type(&mut self.filesystem(), of_it).await.map(kind);
        let kept = opened_kind.and_then(|kind| to.may_be(kind).map(|()| kind).map_err(refused));
        match kept {
            Ok(kind) => {
                self.wasi_files().opened(opened.rep(), &to, kind == Kind::Folder);
                Ok(opened)
            }
            Err(error) => {
                self.ctx().table.delete(opened)?;
                Err(error)
            }
        }
    }

    async fn readlink_at(&mut self, this: Handle, path: String) -> FsResult<String> {
        self.file_call("descriptor.readlink_at")?;
        let to = self.use_path(&this, &path)?;
        self.filesystem().readlink_at(to.handle(), to.path).await
    }

    async fn remove_directory_at(&mut self, this: Handle, path: String) -> FsResult<()> {
        self.file_call("descriptor.remove_directory_at")?;
        let to = self.use_path(&this, &path)?;
        to.may_hold_folder().map_err(refused)?;
        // As in preview 1: the system does not remove a folder's own `.`.
        let path = without_slash(&to.path).to_owned();
        self.filesystem().remove_directory_at(to.handle(), path).await
    }

    async fn rename_at(&mut self, this: Handle, path: String, other: Handle, new: String) -> FsResult<()> {
        self.file_call("descriptor.rename_at")?;
        let (from, to) = (self.use_path(&this, &path)?, self.use_path(&other, &new)?);
        self.may_move(&from, &to).await?;
        self.filesystem().rename_at(from.handle(), from.path, to.handle(), to.path).await
    }

    async fn symlink_at(&mut self, this: Handle, leads: String, path: String) -> FsResult<()> {
        self.file_call("descriptor.symlink_at")?;
        if leads.len() > MAX_PATH as usize {
            return Err(ErrorCode::NameTooLong.into());
        }
        let to = self.use_path(&this, &path)?;
        self.wasi_files().may_link(&to).map_err(refused)?;
        self.filesystem().symlink_at(to.handle(), leads, to.path).await
    }

    async fn unlink_file_at(&mut self, this: Handle, path: String) -> FsResult<()> {
        self.file_call("descriptor.unlink_file_at")?;
        let to = self.use_path(&this, &path)?;
        self.filesystem().unlink_file_at(to.handle(), to.path).await
    }

    async fn is_same_object(&mut self, this: Handle, other: Handle) -> wasmtime::Result<bool> {
        self.enter_host("descriptor.is_same_object")?;
        HostDescriptor::is_same_object(&mut self.filesystem(), this, other).await
    }

    async fn metadata_hash_at(
        &mut self,
        this: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.file_call("descriptor.metadata_hash_at")?;
        let to = self.use_path(&this, &path)?;
        self.refuse_folder_at(&to).await?;
        let (handle, flags) = (to.handle(), to.path_flags(flags));
        self.filesystem().metadata_hash_at(handle, flags, to.path).await
    }

    fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.wasi_files().closed(this.rep());
        HostDescriptor::drop(&mut self.filesystem(), this)
    }
}

/// The handles of a component are called like wasmtime-wasi's type, which others cannot make, and stand
/// for a [`Listing`].
impl HostDirectoryEntryStream for CallState {
    async fn read_directory_entry(
        &mut self,
        this: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.file_call("directory-entry-stream.read_directory_entry")?;
        Ok(self.ctx().table.get_mut(&Resource::<Listing>::new_borrow(this.rep()))?.next())
    }

    fn drop(&mut self, this: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Listing>::new_own(this.rep()))?;
        Ok(())
    }
}
