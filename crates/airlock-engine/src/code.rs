//! Compiled code, in memory and in files: the only `unsafe` of the host.
//!
//! Loading compiled code trusts every byte of it. It holds machine code and the tables
//! that describe it, and wasmtime checks only that it was made for the same version and
//! configuration. So such bytes must come from wasmtime's own compiler and from nowhere
//! else. Two types carry that fact, and everything that makes them is in this file:
//!
//! - [`CompiledCode`] are bytes that the compiler returned: in this process
//!   ([`CompiledCode::compile`]), or in a worker process that this one started from a
//!   program its operator chose ([`CompiledCode::from_worker`]), whose output reached us
//!   through a pipe that only the worker held.
//! - [`Authentic`] is a file whose content was once such bytes. A [`CodeKey`] makes a tag
//!   for [`CompiledCode`] and for nothing else, so a file whose content has the right tag
//!   was written by somebody who holds the key: this user's Airlock. The tag covers what
//!   the code is for ([`Variant`]) too, so a genuine file under another name is refused.
//!   It is checked through the descriptor that is then mapped, so nobody can put another
//!   file in its place between the two.
//!
//! What remains is a file whose content changes after the check, while it is mapped. The
//! file is owned by this user, and neither it nor its folder can be written by another
//! (`cache/folder.rs` checks), so that needs code that already runs as this user, which
//! could change this process anyway. [`Mapping::Copy`] closes even that window: it checks
//! and loads a private copy.
#![expect(unsafe_code, reason = "the argument is above; every other file denies it")]

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::str::FromStr;

use airlock_core::Digest;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Bytes of code that have a hash of their own, so that several threads can look at one file.
pub(crate) const PIECE: usize = 1 << 20;

/// From how many pieces on it is worth waking other threads.
const MANY: usize = 4;

/// Bytes read at a time of a piece: enough for BLAKE3 to work on sixteen lanes, little enough to stay in
/// the processor's cache.
const CHUNK: usize = 64 << 10;

/// The largest file that is read as code: far more than any artifact compiles to.
const MAX_CODE_BYTES: u64 = 4 << 30;

/// Which of the two kinds of WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeKind {
    Module,
    Component,
}

impl CodeKind {
    /// By the header of the bytes.
    pub(crate) fn of(wasm: &[u8]) -> Self {
        match wasmparser::Parser::is_component(wasm) {
            true => CodeKind::Component,
            false => CodeKind::Module,
        }
    }
}

/// Loaded code.
#[derive(Clone)]
pub(crate) enum Code {
    Module(Module),
    Component(Component),
}

/// Code that wasmtime's compiler made.
pub struct CompiledCode {
    bytes: Vec<u8>,
    kind: CodeKind,
}

impl CompiledCode {
    /// Compiles a module or a component in this process.
    pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        let kind = CodeKind::of(wasm);
        let bytes = match kind {
            CodeKind::Module => engine.precompile_module(wasm),
            CodeKind::Component => engine.precompile_component(wasm),
        }?;
        Ok(CompiledCode { bytes, kind })
    }

    /// The output of a compile worker that ended well. The caller has read it from the
    /// pipe of a process it started from the operator's program.
    pub(crate) fn from_worker(output: Vec<u8>, kind: CodeKind) -> Self {
        CompiledCode { bytes: output, kind }
    }

    /// The code of what is loaded, for an engine that allocates in another way.
    pub(crate) fn of(code: &Code) -> wasmtime::Result<Self> {
        Ok(match code {
            Code::Module(module) => CompiledCode { bytes: module.serialize()?, kind: CodeKind::Module },
            Code::Component(component) => {
                CompiledCode { bytes: component.serialize()?, kind: CodeKind::Component }
            }
        })
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Loads it into `engine`, which may differ from the one that compiled it only in
    /// how it allocates instances.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Code> {
        // SAFETY: these are the compiler's bytes, unchanged since it returned them: they
        // are private to this type, which gives no `&mut` access. An engine whose
        // configuration differs in anything that matters to the code is refused by
        // wasmtime's own check of the header.
        unsafe { deserialize(engine, &self.bytes, self.kind) }
    }
}

/// Loads a copy of `bytes`.
///
/// # Safety
/// They must be what wasmtime's compiler returned.
unsafe fn deserialize(engine: &Engine, bytes: &[u8], kind: CodeKind) -> wasmtime::Result<Code> {
    match kind {
        // SAFETY: the caller's promise. Code of the other kind is refused by its header.
        CodeKind::Module => unsafe { Module::deserialize(engine, bytes) }.map(Code::Module),
        // SAFETY: as above.
        CodeKind::Component => unsafe { Component::deserialize(engine, bytes) }.map(Code::Component),
    }
}

/// What a piece of code is for: the artifact, and everything the code depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) digest: Digest,
    /// BLAKE3 of engine configuration and build.
    pub(crate) configuration: Hex<16>,
}

/// Bytes shown as lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.as_bytes();
        if digits.len() != 2 * N {
            return Err(());
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(()),
        };
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Hex(bytes))
    }
}

/// What tells a genuine file. Compared in constant time.
pub(crate) type Tag = blake3::Hash;

/// The key that tells code which this user's Airlock compiled from anything else.
///
/// The tag is a keyed BLAKE3 over what the code is for and over the hash of each [`PIECE`] of it, in their
/// order, which another key makes. So a piece has the same hash wherever it is, and only the whole has a tag.
pub(crate) struct CodeKey {
    whole: [u8; 32],
    piece: [u8; 32],
}

impl CodeKey {
    /// A key of its own for code, made from the cache's secret.
    pub(crate) fn derive(secret: &[u8; 32]) -> Self {
        CodeKey {
            whole: blake3::derive_key("airlock compile cache: tag of compiled code", secret),
            piece: blake3::derive_key("airlock compile cache: hash of a piece of compiled code", secret),
        }
    }

    /// The tag of code that the compiler made.
    pub(crate) fn tag(&self, variant: &Variant, code: &CompiledCode) -> Tag {
        self.tag_of_bytes(variant, &code.bytes)
    }

    fn tag_of_bytes(&self, variant: &Variant, bytes: &[u8]) -> Tag {
        let count = bytes.len().div_ceil(PIECE);
        let hash = |index: usize| {
            let rest = &bytes[index * PIECE..];
            blake3::keyed_hash(&self.piece, &rest[..rest.len().min(PIECE)])
        };
        self.whole(variant, &each(count, hash))
    }

    /// The tag of what is in a file.
    fn tag_of_file(&self, variant: &Variant, file: &File) -> io::Result<Tag> {
        let length = file.metadata()?.len();
        if length > MAX_CODE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let hash = |index: usize| {
            let mut at = index as u64 * PIECE as u64;
            let end = length.min(at + PIECE as u64);
            let mut hasher = blake3::Hasher::new_keyed(&self.piece);
            let mut buffer = vec![0; CHUNK.min((end - at) as usize)];
            while at < end {
                let part = &mut buffer[..CHUNK.min((end - at) as usize)];
                file.read_exact_at(part, at)?;
                hasher.update(part);
                at += part.len() as u64;
            }
            Ok(hasher.finalize())
        };
        let count = length.div_ceil(PIECE as u64) as usize;
        let pieces = each(count, hash).into_iter().collect::<io::Result<Vec<_>>>()?;
        // Mapped is all that is there.
        match file.read_at(&mut [0], length)? {
            0 => Ok(self.whole(variant, &pieces)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it grows")),
        }
    }

    fn whole(&self, variant: &Variant, pieces: &[blake3::Hash]) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.whole);
        // Both of fixed length, so no two variants can be read as one.
        hasher.update(variant.digest.as_bytes()).update(&variant.configuration.0);
        for piece in pieces {
            hasher.update(piece.as_bytes());
        }
        hasher.finalize()
    }
}

/// What `work` gives for each number below `count`, on several threads where there are many.
fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    match count < MANY {
        true => (0..count).map(work).collect(),
        false => (0..count).into_par_iter().map(work).collect(),
    }
}

/// How a genuine file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mapping {
    /// Checked, then mapped through the same descriptor.
    #[default]
    Shared,
    /// Copied into private memory, where it is checked and loaded.
    Copy,
}

/// Code from a file that carries the right tag.
pub(crate) struct Authentic(Checked);

enum Checked {
    File(File),
    Bytes(Vec<u8>),
}

impl Authentic {
    /// Computes the tag of `file` for `variant` and compares it with `tag`; `None` when
    /// they differ.
    pub(crate) fn check(
        key: &CodeKey,
        variant: &Variant,
        tag: &Tag,
        file: File,
        mapping: Mapping,
    ) -> io::Result<Option<Authentic>> {
        let (found, checked) = match mapping {
            Mapping::Shared => (key.tag_of_file(variant, &file)?, Checked::File(file)),
            Mapping::Copy => {
                let mut bytes = Vec::new();
                file.take(MAX_CODE_BYTES).read_to_end(&mut bytes)?;
                (key.tag_of_bytes(variant, &bytes), Checked::Bytes(bytes))
            }
        };
        Ok((found == *tag).then_some(Authentic(checked)))
    }

    /// Loads it into `engine`.
    pub(crate) fn load(&self, engine: &Engine, kind: CodeKind) -> wasmtime::Result<Code> {
        match (&self.0, kind) {
            // SAFETY: bytes with the right tag, in memory that is ours alone; see the top.
            (Checked::Bytes(bytes), _) => unsafe { deserialize(engine, bytes, kind) },
            // SAFETY: the content had the right tag a moment ago, read through this very
            // file; who could have changed it since is discussed at the top.
            (Checked::File(file), CodeKind::Module) => {
                unsafe { Module::deserialize_open_file(engine, file.try_clone()?) }.map(Code::Module)
            }
            // wasmtime opens a component by its path only. This path leads to the open
            // file itself and not to whatever has its name now.
            // SAFETY: as above.
            (Checked::File(file), CodeKind::Component) => {
                let path = format!("{OPEN_FILES}/{}", file.as_raw_fd());
                unsafe { Component::deserialize_file(engine, path) }.map(Code::Component)
            }
        }
    }
}

/// The folder in which a process finds its own open files by number.
#[cfg(target_os = "linux")]
const OPEN_FILES: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const OPEN_FILES: &str = "/dev/fd";
