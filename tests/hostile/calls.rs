//! Guests that are nothing but a list of calls to WASI preview 1: each is made whatever the
//! ones before it gave, and its error is printed.

use std::fmt::Write;

use airlock_host::{Capability, Host, LoadOptions, Plugin, ProgramInput};

use crate::support::{MODES, Mode, source, text};

/// Errors of preview 1, by the numbers that they are given there.
pub(crate) const OK: u32 = 0;
pub(crate) const BADF: u32 = 8;
pub(crate) const DQUOT: u32 = 19;
pub(crate) const EXIST: u32 = 20;
pub(crate) const FBIG: u32 = 22;
pub(crate) const MFILE: u32 = 33;
pub(crate) const NAMETOOLONG: u32 = 37;
pub(crate) const NOENT: u32 = 44;
pub(crate) const NOTEMPTY: u32 = 55;
pub(crate) const NOTDIR: u32 = 54;
pub(crate) const PERM: u32 = 63;

/// `oflags` of `path_open`.
pub(crate) const CREATE: u32 = 1;
pub(crate) const DIRECTORY: u32 = 2;
pub(crate) const EXCLUSIVE: u32 = 4;
pub(crate) const TRUNCATE: u32 = 8;

/// Rights of `path_open`.
pub(crate) const READ: u64 = 1 << 1;
pub(crate) const WRITE: u64 = 1 << 6;

/// A descriptor: one that is there from the start, or the one of the `n`th file opened.
#[derive(Clone, Copy)]
pub(crate) enum Fd {
    Number(u32),
    Opened(usize),
}

/// A list of calls.
#[derive(Default, Clone)]
pub(crate) struct Calls {
    code: String,
    data: Vec<u8>,
    opened: usize,
}

/// The first folder that was granted.
pub(crate) const FIRST: Fd = Fd::Number(3);

/// Where texts begin in the guest's memory; before them are what calls give and where
/// descriptors are kept.
const TEXTS: usize = 4096;

/// Where a guest reads and lists to.
const ROOM: (u32, u32) = (65536, 65536);

const HEAD: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link"
        (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_set_times"
        (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func $print (param $at i32) (param $length i32)
        (i32.store (i32.const 64) (local.get $at)) (i32.store (i32.const 68) (local.get $length))
        (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72))))
    (func $report (param $errno i32)
        (i32.store8 (i32.const 80) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
        (i32.store8 (i32.const 81) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
        (i32.store8 (i32.const 82) (i32.const 10))
        (call $print (i32.const 80) (i32.const 3)))
"#;

impl Calls {
    pub(crate) fn new() -> Self {
        Calls::default()
    }

    /// A text in the guest's memory, as two constants.
    fn text(&mut self, text: &str) -> String {
        let at = TEXTS + self.data.len();
        self.data.extend_from_slice(text.as_bytes());
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn fd(fd: Fd) -> String {
        match fd {
            Fd::Number(number) => format!("(i32.const {number})"),
            Fd::Opened(at) => format!("(i32.load (i32.const {}))", 256 + 4 * at),
        }
    }

    fn call(mut self, code: &str) -> Self {
        writeln!(self.code, "        (call $report (call {code}))").unwrap();
        self
    }

    /// Opens a file; its descriptor is the next [`Fd::Opened`].
    pub(crate) fn open(mut self, fd: Fd, path: &str, oflags: u32, rights: u64) -> Self {
        let (path, at) = (self.text(path), 256 + 4 * self.opened);
        self.opened += 1;
        let fd = Calls::fd(fd);
        self.call(&format!(
            "$open {fd} (i32.const 1) {path} (i32.const {oflags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const {at})"
        ))
    }

    fn at(mut self, function: &str, fd: Fd, path: &str) -> Self {
        let (fd, path) = (Calls::fd(fd), self.text(path));
        self.call(&format!("{function} {fd} {path}"))
    }

    pub(crate) fn mkdir(self, fd: Fd, path: &str) -> Self {
        self.at("$mkdir", fd, path)
    }

    pub(crate) fn rmdir(self, fd: Fd, path: &str) -> Self {
        self.at("$rmdir", fd, path)
    }

    pub(crate) fn unlink(self, fd: Fd, path: &str) -> Self {
        self.at("$unlink", fd, path)
    }

    pub(crate) fn stat(mut self, fd: Fd, path: &str) -> Self {
        let (fd, path) = (Calls::fd(fd), self.text(path));
        self.call(&format!("$stat {fd} (i32.const 1) {path} (i32.const 1024)"))
    }

    pub(crate) fn touch(mut self, fd: Fd, path: &str) -> Self {
        let (fd, path) = (Calls::fd(fd), self.text(path));
        self.call(&format!("$times {fd} (i32.const 1) {path} (i64.const 0) (i64.const 0) (i32.const 5)"))
    }

    pub(crate) fn symlink(mut self, leads: &str, fd: Fd, path: &str) -> Self {
        let (leads, fd, path) = (self.text(leads), Calls::fd(fd), self.text(path));
        self.call(&format!("$symlink {leads} {fd} {path}"))
    }

    pub(crate) fn rename(mut self, from: (Fd, &str), to: (Fd, &str)) -> Self {
        let [from, to] = [from, to].map(|(fd, path)| format!("{} {}", Calls::fd(fd), self.text(path)));
        self.call(&format!("$rename {from} {to}"))
    }

    pub(crate) fn link(mut self, from: (Fd, &str), to: (Fd, &str)) -> Self {
        let ((from, from_path), (to, to_path)) = ((from, self.text(from.1)), (to, self.text(to.1)));
        let (from, to) = (Calls::fd(from.0), Calls::fd(to.0));
        self.call(&format!("$link {from} (i32.const 0) {from_path} {to} {to_path}"))
    }

    /// Reads a symbolic link and prints where it leads.
    pub(crate) fn readlink(mut self, fd: Fd, path: &str) -> Self {
        let (fd, path, (room, length)) = (Calls::fd(fd), self.text(path), ROOM);
        let code = format!("$readlink {fd} {path} (i32.const {room}) (i32.const {length}) (i32.const 8)");
        self.call(&code).shown()
    }

    /// Writes these bytes.
    pub(crate) fn write(self, fd: Fd, text: &str) -> Self {
        let fd = Calls::fd(fd);
        self.from(text).call(&format!("$write {fd} (i32.const 0) (i32.const 1) (i32.const 8)"))
    }

    pub(crate) fn pwrite(self, fd: Fd, text: &str, offset: u64) -> Self {
        let fd = Calls::fd(fd);
        self.from(text)
            .call(&format!("$pwrite {fd} (i32.const 0) (i32.const 1) (i64.const {offset}) (i32.const 8)"))
    }

    fn from(mut self, text: &str) -> Self {
        let at = TEXTS + self.data.len();
        self.data.extend_from_slice(text.as_bytes());
        self.buffer(at, text.len())
    }

    /// Writes that many bytes at once.
    pub(crate) fn write_bytes(self, fd: Fd, count: usize) -> Self {
        let fd = Calls::fd(fd);
        self.buffer(ROOM.0 as usize, count)
            .call(&format!("$write {fd} (i32.const 0) (i32.const 1) (i32.const 8)"))
    }

    fn buffer(mut self, at: usize, length: usize) -> Self {
        writeln!(
            self.code,
            "        (i32.store (i32.const 0) (i32.const {at})) (i32.store (i32.const 4) (i32.const {length}))"
        )
        .unwrap();
        self
    }

    /// Reads and prints.
    pub(crate) fn read(self, fd: Fd) -> Self {
        let (fd, (room, length)) = (Calls::fd(fd), ROOM);
        self.buffer(room as usize, length as usize)
            .call(&format!("$read {fd} (i32.const 0) (i32.const 1) (i32.const 8)"))
            .shown()
    }

    /// Lists and prints what comes, bytes that are no letters included.
    pub(crate) fn readdir(self, fd: Fd) -> Self {
        let (fd, (room, length)) = (Calls::fd(fd), ROOM);
        self.call(&format!(
            "$readdir {fd} (i32.const {room}) (i32.const {length}) (i64.const 0) (i32.const 8)"
        ))
        .shown()
    }

    fn shown(mut self) -> Self {
        let room = ROOM.0;
        writeln!(self.code, "        (call $print (i32.const {room}) (i32.load (i32.const 8)))").unwrap();
        writeln!(
            self.code,
            "        (call $print (i32.const 82) (i32.const 1)) (i32.store (i32.const 8) (i32.const 0))"
        )
        .unwrap();
        self
    }

    pub(crate) fn resize(self, fd: Fd, size: u64) -> Self {
        let fd = Calls::fd(fd);
        self.call(&format!("$resize {fd} (i64.const {size})"))
    }

    pub(crate) fn seek(self, fd: Fd, to: u64) -> Self {
        let fd = Calls::fd(fd);
        self.call(&format!("$seek {fd} (i64.const {to}) (i32.const 0) (i32.const 16)"))
    }

    pub(crate) fn close(self, fd: Fd) -> Self {
        let fd = Calls::fd(fd);
        self.call(&format!("$close {fd}"))
    }

    pub(crate) fn renumber(self, from: Fd, to: Fd) -> Self {
        let (from, to) = (Calls::fd(from), Calls::fd(to));
        self.call(&format!("$renumber {from} {to}"))
    }

    fn body(&self) -> String {
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("{HEAD}    (data (i32.const {TEXTS}) \"{data}\")\n")
    }

    /// A program that makes the calls.
    pub(crate) fn program(&self) -> String {
        format!("{}    (func (export \"_start\")\n{}    ))", self.body(), self.code)
    }

    /// What a program with these calls prints, in every call mode the same, on a host of its
    /// own. `before` puts the host's files in order each time.
    pub(crate) fn run(&self, grants: &[String], before: impl Fn()) -> Vec<String> {
        self.run_with(&crate::support::host(), grants, text(), before)
    }

    /// What it prints in one mode: listings hold numbers of files, which are others each time.
    pub(crate) fn run_once(&self, grants: &[String], before: impl Fn()) -> Vec<String> {
        before();
        let allowed = grants.iter().map(|grant| grant.parse::<Capability>().expect("a capability"));
        let options = allowed.fold(text(), LoadOptions::allow);
        let plugin =
            crate::support::host().load_blocking(source(&self.program()), options).expect("it loads");
        lines(Mode::Blocking, &plugin)
    }

    pub(crate) fn run_with(
        &self,
        host: &Host,
        grants: &[String],
        options: LoadOptions,
        before: impl Fn(),
    ) -> Vec<String> {
        let options = grants.iter().fold(options, |options, grant| {
            options.allow(grant.parse::<Capability>().expect("a capability"))
        });
        let plugin = host.load_blocking(source(&self.program()), options).expect("it loads");
        let printed = MODES.map(|mode| {
            before();
            lines(mode, &plugin)
        });
        assert!(printed.iter().all(|lines| *lines == printed[0]), "{printed:#?}");
        printed[0].clone()
    }

    /// The errors of the calls, where none of them prints anything else.
    pub(crate) fn errors(&self, grants: &[String], before: impl Fn()) -> Vec<u32> {
        numbers(&self.run(grants, before))
    }
}

pub(crate) fn numbers(lines: &[String]) -> Vec<u32> {
    lines.iter().map(|line| line.parse().unwrap_or_else(|_| panic!("no error: {line}"))).collect()
}

fn lines(mode: Mode, plugin: &Plugin) -> Vec<String> {
    let program = mode.run(plugin, ProgramInput::new()).expect("it runs").value;
    assert_eq!(program.code, 0);
    String::from_utf8_lossy(&program.stdout).lines().map(str::to_owned).collect()
}
