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
    Filesize, Filestat, Fstflags, IovecArray, Lookupflags, Oflags, Prestat, Riflags, Rights, Roflags,
    Sdflags, Siflags, Signal, Size, Subscription, Timestamp, Whence,
};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wiggle::{GuestMemory, GuestPtr};

use super::clocks::Which;
use super::{files, poll};
use crate::store::CallState;

/// Bytes of random numbers made at a time.
const RANDOM_CHUNK: u32 = 4096;

impl CallState {
    fn guard(&mut self, function: &'static str) -> Result<(), Error> {
        self.enter_host(function).map_err(Error::trap)
    }

    /// wasmtime-wasi's state, with what this call may move across the boundary.
    fn wasi_context(&mut self) -> &mut WasiP1Ctx {
        let fuel = self.wasi.hostcall_fuel;
        let plugin = &self.plugin;
        let context = self.wasi.context(plugin.limits(), plugin.standing());
        context.set_hostcall_fuel(fuel);
        context
    }
}

/// Writes methods that count themselves and then let wasmtime-wasi do the work.
macro_rules! delegate {
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
        let real = self.may_use(CapabilityKind::Random);
        let mut bytes = [0; RANDOM_CHUNK as usize];
        let (mut at, mut rest) = (buffer, length);
        // In pieces, so that a huge request ends at the memory's edge or the deadline.
        while rest > 0 {
            let count = rest.min(RANDOM_CHUNK);
            let piece = &mut bytes[..count as usize];
            match real {
                true => getrandom::fill(piece).map_err(|_| Error::from(Errno::Io))?,
                false => self.wasi.fill_seeded(piece),
            }
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
    delegate!(async fd_advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> ());
    delegate!(fd_allocate(fd: Fd, offset: Filesize, len: Filesize) -> ());
    delegate!(async fd_close(fd: Fd) -> ());
    delegate!(async fd_datasync(fd: Fd) -> ());
    delegate!(async fd_fdstat_get(fd: Fd) -> Fdstat);
    delegate!(fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> ());
    delegate!(fd_fdstat_set_rights(fd: Fd, fs_rights_base: Rights, fs_rights_inheriting: Rights) -> ());
    delegate!(async fd_filestat_get(fd: Fd) -> Filestat);
    delegate!(async fd_filestat_set_size(fd: Fd, size: Filesize) -> ());
    delegate!(async fd_filestat_set_times(fd: Fd, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> ());
    delegate!(async fd_read(fd: Fd, iovs: IovecArray) -> Size);
    delegate!(async fd_pread(fd: Fd, iovs: IovecArray, offset: Filesize) -> Size);
    delegate!(async fd_write(fd: Fd, ciovs: CiovecArray) -> Size);
    delegate!(async fd_pwrite(fd: Fd, ciovs: CiovecArray, offset: Filesize) -> Size);
    delegate!(fd_prestat_get(fd: Fd) -> Prestat);
    delegate!(fd_prestat_dir_name(fd: Fd, path: GuestPtr<u8>, path_max_len: Size) -> ());
    delegate!(async fd_renumber(from_fd: Fd, to_fd: Fd) -> ());
    delegate!(async fd_seek(fd: Fd, offset: Filedelta, whence: Whence) -> Filesize);
    delegate!(async fd_sync(fd: Fd) -> ());
    delegate!(fd_tell(fd: Fd) -> Filesize);
    delegate!(async fd_readdir(fd: Fd, buf: GuestPtr<u8>, buf_len: Size, cookie: Dircookie) -> Size);
    delegate!(async path_create_directory(dirfd: Fd, path: GuestPtr<str>) -> ());
    delegate!(async path_filestat_get(dirfd: Fd, flags: Lookupflags, path: GuestPtr<str>) -> Filestat);
    delegate!(async path_filestat_set_times(dirfd: Fd, flags: Lookupflags, path: GuestPtr<str>, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> ());
    delegate!(async path_link(src_fd: Fd, src_flags: Lookupflags, src_path: GuestPtr<str>, target_fd: Fd, target_path: GuestPtr<str>) -> ());
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
        self.note_use(CapabilityKind::FsRead);
        let context = self.wasi_context();
        // Opening it is already too late.
        if let Ok(found) = context.path_filestat_get(memory, dirfd, dirflags, path).await
            && !files::is_plain(found.filetype)
        {
            return Err(Errno::Perm.into());
        }
        context
            .path_open(memory, dirfd, dirflags, path, oflags, fs_rights_base, fs_rights_inheriting, fdflags)
            .await
    }

    delegate!(async path_readlink(dirfd: Fd, path: GuestPtr<str>, buf: GuestPtr<u8>, buf_len: Size) -> Size);
    delegate!(async path_remove_directory(dirfd: Fd, path: GuestPtr<str>) -> ());
    delegate!(async path_rename(src_fd: Fd, src_path: GuestPtr<str>, dest_fd: Fd, dest_path: GuestPtr<str>) -> ());
    delegate!(async path_symlink(src_path: GuestPtr<str>, dirfd: Fd, dest_path: GuestPtr<str>) -> ());
    delegate!(async path_unlink_file(dirfd: Fd, path: GuestPtr<str>) -> ());
    delegate!(sock_accept(fd: Fd, flags: Fdflags) -> Fd);
    delegate!(sock_recv(fd: Fd, ri_data: IovecArray, ri_flags: Riflags) -> (Size, Roflags));
    delegate!(sock_send(fd: Fd, si_data: CiovecArray, si_flags: Siflags) -> Size);
    delegate!(sock_shutdown(fd: Fd, how: Sdflags) -> ());
}
