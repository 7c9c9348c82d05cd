//! Preview 1 through one guard.
//!
//! Every function a guest calls passes here first: it is counted against the limit of
//! host calls and shows in the trace. What the policy decides (clocks, random) and what
//! must end with the call (waiting) is answered here; the rest goes to wasmtime-wasi,
//! whose generated trait this implements. That trait carries no stability promise, which
//! is why wasmtime is pinned to one minor version.

use airlock_core::CapabilityKind;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::types::{
    Advice, CiovecArray, Clockid, Dircookie, Errno, Error, Event, Exitcode, Fd, Fdflags, Fdstat, Filedelta,
    Filesize, Filestat, Filetype, Fstflags, IovecArray, Lookupflags, Oflags, Prestat, Riflags, Rights,
    Roflags, Sdflags, Siflags, Signal, Size, Subscription, Timestamp, Whence,
};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wiggle::{GuestMemory, GuestPtr};

use super::ahead::Ahead;
use super::clocks::Which;
use super::files::{Asked, Files};
use super::poll;
use super::reach::{MAX_PATH, Text, first_length, kind, text, without_slash};
use crate::abi::fledge;
use crate::store::CallState;

/// Bytes of random numbers made at a time.
const RANDOM_CHUNK: u32 = 4096;

/// Bytes of a listing handed out at a time.
const MAX_LISTED: u32 = 1 << 20;

impl CallState {
    fn guard(&mut self, function: &'static str) -> Result<(), Error> {
        self.enter_host(function).map_err(Error::trap)
    }

    /// wasmtime-wasi's state, with what this call may move across the boundary.
    pub(super) fn wasi_context(&mut self) -> &mut WasiP1Ctx {
        let fuel = self.wasi.hostcall_fuel;
        let plugin = &self.plugin;
        let context = &mut self.wasi.opened(plugin.limits(), plugin.standing()).context;
        context.set_hostcall_fuel(fuel);
        context
    }

    /// What goes before the guest's sleeps.
    pub(super) fn wasi_ahead(&mut self) -> Ahead {
        let plugin = &self.plugin;
        self.wasi.opened(plugin.limits(), plugin.standing()).ahead.clone()
    }

    /// What the guest may reach of the host's files.
    pub(super) fn wasi_files(&mut self) -> &mut Files {
        let plugin = &self.plugin;
        &mut self.wasi.opened(plugin.limits(), plugin.standing()).files
    }
}

/// Writes methods that count themselves and then let wasmtime-wasi do the work.
macro_rules! delegate {
    (file async $name:ident(fd: Fd $(, $arg:ident: $ty:ty)*) -> $ret:ty) => {
        async fn $name(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, $($arg: $ty),*) -> Result<$ret, Error> {
            self.guard(stringify!($name))?;
            self.wasi_files().check(fd.into())?;
            self.wasi_context().$name(memory, fd, $($arg),*).await
        }
    };
    (file $name:ident(fd: Fd $(, $arg:ident: $ty:ty)*) -> $ret:ty) => {
        fn $name(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, $($arg: $ty),*) -> Result<$ret, Error> {
            self.guard(stringify!($name))?;
            self.wasi_files().check(fd.into())?;
            self.wasi_context().$name(memory, fd, $($arg),*)
        }
    };
    (async $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        async fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $ty),*) -> Result<$ret, Error> {
            self.guard(stringify!($name))?;
            let context = self.wasi_context();
            context.$name(memory, $($arg),*).await
        }
    };
    ($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $ty),*) -> Result<$ret, Error> {
            self.guard(stringify!($name))?;
            let context = self.wasi_context();
            context.$name(memory, $($arg),*)
        }
    };
}

impl WasiSnapshotPreview1 for CallState {
    fn set_hostcall_fuel(&mut self, fuel: usize) {
        self.wasi.hostcall_fuel = fuel;
    }

    fn clock_res_get(&mut self, _memory: &mut GuestMemory<'_>, id: Clockid) -> Result<Timestamp, Error> {
        self.guard("clock_res_get")?;
        poll::which_clock(id).map(|_| 1)
    }

    fn clock_time_get(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        id: Clockid,
        _precision: Timestamp,
    ) -> Result<Timestamp, Error> {
        self.guard("clock_time_get")?;
        let real = self.may_use(CapabilityKind::Clock);
        let which: Which = poll::which_clock(id)?;
        Ok(self.wasi.clocks.now(which, real))
    }

    async fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: GuestPtr<Subscription>,
        events: GuestPtr<Event>,
        count: Size,
    ) -> Result<Size, Error> {
        self.guard("poll_oneoff")?;
        poll::poll_oneoff(self, memory, subscriptions, events, count).await
    }

    fn proc_exit(&mut self, _memory: &mut GuestMemory<'_>, status: Exitcode) -> wasmtime::Error {
        match self.enter_host("proc_exit") {
            Ok(()) => I32Exit(status.cast_signed()).into(),
            Err(error) => error,
        }
    }

    fn proc_raise(&mut self, _memory: &mut GuestMemory<'_>, _signal: Signal) -> Result<(), Error> {
        self.guard("proc_raise")?;
        Err(Errno::Notsup.into())
    }

    fn sched_yield(&mut self, _memory: &mut GuestMemory<'_>) -> Result<(), Error> {
        self.guard("sched_yield")
    }

    fn random_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        buffer: GuestPtr<u8>,
        length: Size,
    ) -> Result<(), Error> {
        self.guard("random_get")?;
        let mut bytes = [0; RANDOM_CHUNK as usize];
        let (mut at, mut rest) = (buffer, length);
        // In pieces, so that a huge request ends at the memory's edge or the deadline.
        while rest > 0 {
            let count = rest.min(RANDOM_CHUNK);
            let piece = &mut bytes[..count as usize];
            self.fill_random(piece).map_err(Error::trap)?;
            memory.copy_from_slice(piece, at.as_array(count))?;
            at = at.add(count)?;
            rest -= count;
            self.check_deadline().map_err(Error::trap)?;
        }
        Ok(())
    }

    delegate!(args_get(argv: GuestPtr<GuestPtr<u8>>, argv_buf: GuestPtr<u8>) -> ());
    delegate!(args_sizes_get() -> (Size, Size));
    fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        environ: GuestPtr<GuestPtr<u8>>,
        environ_buf: GuestPtr<u8>,
    ) -> Result<(), Error> {
        self.guard("environ_get")?;
        self.note_use(CapabilityKind::Env);
        self.wasi_context().environ_get(memory, environ, environ_buf)
    }

    delegate!(environ_sizes_get() -> (Size, Size));
    delegate!(file async fd_advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> ());
    delegate!(file fd_allocate(fd: Fd, offset: Filesize, len: Filesize) -> ());
    delegate!(file async fd_datasync(fd: Fd) -> ());
    delegate!(file async fd_fdstat_get(fd: Fd) -> Fdstat);
    delegate!(file fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> ());
    delegate!(file fd_fdstat_set_rights(fd: Fd, fs_rights_base: Rights, fs_rights_inheriting: Rights) -> ());
    delegate!(file async fd_filestat_get(fd: Fd) -> Filestat);
    delegate!(file async fd_filestat_set_times(fd: Fd, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> ());
    delegate!(file async fd_read(fd: Fd, iovs: IovecArray) -> Size);
    delegate!(file async fd_pread(fd: Fd, iovs: IovecArray, offset: Filesize) -> Size);
    delegate!(file fd_prestat_get(fd: Fd) -> Prestat);
    delegate!(file fd_prestat_dir_name(fd: Fd, path: GuestPtr<u8>, path_max_len: Size) -> ());
    delegate!(file async fd_sync(fd: Fd) -> ());
    delegate!(file fd_tell(fd: Fd) -> Filesize);

    async fn fd_close(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
        self.guard("fd_close")?;
        // Also what a grant no longer covers can be closed.
        if self.wasi_files().check(fd.into()) == Err(Errno::Badf) {
            return Err(Errno::Badf.into());
        }
        self.wasi_context().fd_close(memory, fd).await?;
        self.wasi_files().closed(fd.into());
        Ok(())
    }

    async fn fd_renumber(&mut self, memory: &mut GuestMemory<'_>, from: Fd, to: Fd) -> Result<(), Error> {
        self.guard("fd_renumber")?;
        self.wasi_files().check(from.into())?;
        self.wasi_files().check(to.into())?;
        self.wasi_context().fd_renumber(memory, from, to).await?;
        if u32::from(from) != u32::from(to) {
            self.wasi_files().renumbered(from.into(), to.into());
        }
        Ok(())
    }

    async fn fd_filestat_set_size(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        size: Filesize,
    ) -> Result<(), Error> {
        self.guard("fd_filestat_set_size")?;
        self.wasi_files().check(fd.into())?;
        if let Some(root) = self.wasi_files().file(fd.into()) {
            let now = self.wasi_context().fd_filestat_get(memory, fd).await?.size;
            self.will_write(root, size.saturating_sub(now), size).await?;
        }
        self.wasi_context().fd_filestat_set_size(memory, fd, size).await
    }

    async fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        from: CiovecArray,
    ) -> Result<Size, Error> {
        self.guard("fd_write")?;
        self.wasi_files().check(fd.into())?;
        let Some(root) = self.wasi_files().file(fd.into()) else {
            let written = self.wasi_context().fd_write(memory, fd, from).await?;
            if self.wasi.feed().is_some() {
                fledge::said(self, false).await.map_err(Error::trap)?;
            }
            return Ok(written);
        };
        let length = first_length(memory, from)?;
        self.will_write(root, length, 0).await?;
        let written = self.wasi_context().fd_write(memory, fd, from).await;
        self.wrote(root, length, written)
    }

    async fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        from: CiovecArray,
        offset: Filesize,
    ) -> Result<Size, Error> {
        self.guard("fd_pwrite")?;
        self.wasi_files().check(fd.into())?;
        let Some(root) = self.wasi_files().file(fd.into()) else {
            return self.wasi_context().fd_pwrite(memory, fd, from, offset).await;
        };
        let length = first_length(memory, from)?;
        self.will_write(root, length, offset.saturating_add(length)).await?;
        let written = self.wasi_context().fd_pwrite(memory, fd, from, offset).await;
        self.wrote(root, length, written)
    }

    async fn fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        offset: Filedelta,
        whence: Whence,
    ) -> Result<Filesize, Error> {
        self.guard("fd_seek")?;
        self.wasi_files().check(fd.into())?;
        let is_file = self.wasi_files().file(fd.into()).is_some();
        let longest = self.wasi_files().quota.longest();
        let to = self.wasi_context().fd_seek(memory, fd, offset, whence).await?;
        // A file that is written far behind its end gets that long.
        if is_file && to > longest {
            let longest = longest.cast_signed();
            self.wasi_context().fd_seek(memory, fd, longest, Whence::Set).await?;
            return Err(Errno::Fbig.into());
        }
        Ok(to)
    }

    async fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buf: GuestPtr<u8>,
        buf_len: Size,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        self.guard("fd_readdir")?;
        self.wasi_files().check(fd.into())?;
        // Where it would not fit the guest's memory there is nothing to fill.
        let mut buffer = vec![0; buf_len.min(MAX_LISTED) as usize];
        let filled = match cookie {
            0 => None,
            cookie => self.wasi_files().listings.fill(fd.into(), cookie, &mut buffer),
        };
        let count = match filled {
            Some(count) => count,
            None => {
                self.list(fd).await?;
                self.wasi_files().listings.fill(fd.into(), cookie, &mut buffer).unwrap_or_default()
            }
        };
        let length = u32::try_from(count).map_err(|_| Errno::Overflow)?;
        memory.copy_from_slice(&buffer[..count], buf.as_array(length))?;
        Ok(length)
    }

    async fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_create_directory")?;
        let to = self.target(memory, dirfd, path)?;
        self.note_file(&to);
        self.wasi_files().may_make_folder(&to)?;
        let (mut text, path) = Text::of(&to.path);
        self.wasi_context().path_create_directory(&mut text.memory(), to.fd.into(), path).await
    }

    async fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
    ) -> Result<Filestat, Error> {
        self.guard("path_filestat_get")?;
        let to = self.target(memory, dirfd, path)?;
        self.note_file(&to);
        let found = self.stat(&to, flags).await?;
        to.may_show(kind(found.filetype))?;
        Ok(found)
    }

    async fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
        atim: Timestamp,
        mtim: Timestamp,
        fst_flags: Fstflags,
    ) -> Result<(), Error> {
        self.guard("path_filestat_set_times")?;
        let to = self.target(memory, dirfd, path)?;
        self.refuse_folder(&to).await?;
        self.note_file(&to);
        let (mut text, path) = Text::of(&to.path);
        self.wasi_context()
            .path_filestat_set_times(
                &mut text.memory(),
                to.fd.into(),
                to.flags(flags),
                path,
                atim,
                mtim,
                fst_flags,
            )
            .await
    }

    async fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        src_fd: Fd,
        src_flags: Lookupflags,
        src_path: GuestPtr<str>,
        target_fd: Fd,
        target_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_link")?;
        let from = self.target(memory, src_fd, src_path)?;
        let to = self.target(memory, target_fd, target_path)?;
        self.moves(&from, &to).await?;
        self.wasi_files().quota.create()?;
        let (mut text, from_path, to_path) = Text::of_two(&from.path, &to.path);
        self.wasi_context()
            .path_link(
                &mut text.memory(),
                from.fd.into(),
                from.flags(src_flags),
                from_path,
                to.fd.into(),
                to_path,
            )
            .await
    }

    async fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        dirflags: Lookupflags,
        path: GuestPtr<str>,
        oflags: Oflags,
        fs_rights_base: Rights,
        fs_rights_inheriting: Rights,
        fdflags: Fdflags,
    ) -> Result<Fd, Error> {
        self.guard("path_open")?;
        let to = self.target(memory, dirfd, path)?;
        self.wasi_files().room()?;
        self.note_file(&to);
        let found = self.stat(&to, dirflags).await.map(|found| kind(found.filetype));
        let found = found.map_err(|error| error.downcast_ref().copied().unwrap_or(Errno::Io));
        let (creates, folder) = (oflags.contains(Oflags::CREAT), oflags.contains(Oflags::DIRECTORY));
        self.wasi_files().may_open(&to, found, Asked { creates, folder })?;
        let (mut text, path) = Text::of(&to.path);
        let context = self.wasi_context();
        let fd = context
            .path_open(
                &mut text.memory(),
                to.fd.into(),
                to.flags(dirflags),
                path,
                oflags,
                fs_rights_base,
                fs_rights_inheriting,
                fdflags,
            )
            .await?;
        let opened = context.fd_fdstat_get(&mut GuestMemory::Unshared(&mut []), fd).await?.fs_filetype;
        if let Err(error) = to.may_be(kind(opened)) {
            context.fd_close(&mut GuestMemory::Unshared(&mut []), fd).await?;
            return Err(error.into());
        }
        self.wasi_files().opened(fd.into(), &to, opened == Filetype::Directory);
        Ok(fd)
    }

    async fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        path: GuestPtr<str>,
        buf: GuestPtr<u8>,
        buf_len: Size,
    ) -> Result<Size, Error> {
        self.guard("path_readlink")?;
        let to = self.target(memory, dirfd, path)?;
        self.note_file(&to);
        let (mut text, path) = Text::of(&to.path);
        let (start, room) = (text.0.len(), buf_len.min(MAX_PATH));
        text.0.resize(start + room as usize, 0);
        let at = GuestPtr::new(u32::try_from(start).map_err(|_| Errno::Nametoolong)?);
        let count =
            self.wasi_context().path_readlink(&mut text.memory(), to.fd.into(), path, at, room).await?;
        memory.copy_from_slice(&text.0[start..start + count as usize], buf.as_array(count))?;
        Ok(count)
    }

    async fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_remove_directory")?;
        let to = self.target(memory, dirfd, path)?;
        to.may_hold_folder()?;
        self.note_file(&to);
        // Only a folder has a slash at its end, and this removes nothing else; wasmtime-wasi
        // would ask the system to remove the folder's own `.`, which it does not.
        let (mut text, path) = Text::of(without_slash(&to.path));
        self.wasi_context().path_remove_directory(&mut text.memory(), to.fd.into(), path).await
    }

    async fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        src_fd: Fd,
        src_path: GuestPtr<str>,
        dest_fd: Fd,
        dest_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_rename")?;
        let from = self.target(memory, src_fd, src_path)?;
        let to = self.target(memory, dest_fd, dest_path)?;
        self.moves(&from, &to).await?;
        let (mut text, from_path, to_path) = Text::of_two(&from.path, &to.path);
        self.wasi_context()
            .path_rename(&mut text.memory(), from.fd.into(), from_path, to.fd.into(), to_path)
            .await
    }

    async fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        src_path: GuestPtr<str>,
        dirfd: Fd,
        dest_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_symlink")?;
        let leads = text(memory, src_path)?;
        let to = self.target(memory, dirfd, dest_path)?;
        self.note_file(&to);
        self.wasi_files().may_link(&to)?;
        let (mut text, leads, path) = Text::of_two(&leads, &to.path);
        self.wasi_context().path_symlink(&mut text.memory(), leads, to.fd.into(), path).await
    }

    async fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dirfd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        self.guard("path_unlink_file")?;
        let to = self.target(memory, dirfd, path)?;
        self.note_file(&to);
        let (mut text, path) = Text::of(&to.path);
        self.wasi_context().path_unlink_file(&mut text.memory(), to.fd.into(), path).await
    }

    delegate!(sock_accept(fd: Fd, flags: Fdflags) -> Fd);
    delegate!(sock_recv(fd: Fd, ri_data: IovecArray, ri_flags: Riflags) -> (Size, Roflags));
    delegate!(sock_send(fd: Fd, si_data: CiovecArray, si_flags: Siflags) -> Size);
    delegate!(sock_shutdown(fd: Fd, how: Sdflags) -> ());
}
