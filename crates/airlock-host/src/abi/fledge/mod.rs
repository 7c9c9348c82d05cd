//! The `fledge` ABI: plugins of the development tool fledge.
//!
//! A plugin is a WASI program that sends JSON messages to its host and receives some, through
//! functions that it imports from `fledge`: text to show, how far it is, what it wants to have kept,
//! run or asked. What it is not granted it is refused in the terms of each message, and goes on.
//! Its document has the same messages for programs that print them, one to a line.
//!
//! A component has no messages: it is run as a program of WASI preview 2, under fledge's limits and
//! its manifest, which may let it connect to hosts by TCP.

mod dialogue;
mod imports;
mod message;
mod work;

use std::sync::Arc;

use airlock_core::{
    AbiId, Error, ErrorKind, LimitKind, Manifest, ManifestFormat, Result, Streams, ValueType,
};
use airlock_engine::Shape;
use wasmtime::Linker;

use super::{Abi, Adapter, Dialect, Fit, GuestFuture, Match, Profile, check_start, link_common, run_program};
use crate::answer::{Answer, Input, Program};
use crate::console::Shown;
use crate::store::{CallState, Live};
use crate::wasi::{self, Feed, StdinSource, WasiInput};

pub(crate) use dialogue::Dialogue;

pub(super) struct Fledge;

/// What its document and its host say: 10^10 instructions, a minute, 256 MiB.
static PROFILE: Profile = Profile {
    limits: &[
        (LimitKind::Fuel, 10_000_000_000),
        (LimitKind::Timeout, 60_000_000_000),
        (LimitKind::Memory, 256 << 20),
    ],
    baseline: &[],
    keeps_state: false,
    stays_inside: false,
    canonical_nan: true,
    root: &["fledge.toml", ".git"],
};

/// Its host has `send` return nothing; its document has it return a number.
const RETURNS_NOTHING: Dialect = Dialect(0);
const RETURNS_A_NUMBER: Dialect = Dialect(1);

impl Abi for Fledge {
    fn id(&self) -> AbiId {
        AbiId::Fledge
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        let why = match manifest {
            Some(manifest) if manifest.format == ManifestFormat::Fledge => {
                format!("the manifest of `{}` is fledge's", manifest.name)
            }
            Some(_) => return None,
            None if shape.imports_from(imports::MODULE) => format!("it imports from `{}`", imports::MODULE),
            None => return None,
        };
        Some(Match { fit: Fit::Declared, why })
    }

    fn dialect(&self, shape: &Shape) -> Dialect {
        match shape.imported_function(imports::MODULE, "send") {
            Some(ty) if ty.is(&[ValueType::I32; 2], &[ValueType::I32]) => RETURNS_A_NUMBER,
            _ => RETURNS_NOTHING,
        }
    }

    fn link(&self, linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
        link_common(linker)?;
        imports::link(linker, dialect == RETURNS_A_NUMBER)
    }

    fn waits(&self, module: &str, name: &str) -> bool {
        wasi::waits(module, name) || (module == imports::MODULE && name != "exit")
    }

    fn takes_components(&self) -> bool {
        true
    }

    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        check_start(shape, AbiId::Fledge)?;
        if shape.imports_from(imports::MODULE) && !shape.exports_memory() {
            let reason = "it exports no 32-bit memory named `memory`".to_owned();
            return Err(Error::new(ErrorKind::AbiMismatch { abi: AbiId::Fledge, reason }));
        }
        let prints_messages = manifest.is_some_and(|manifest| manifest.stdout_protocol);
        if prints_messages && shape.is_component {
            let reason = "it is a component, whose output is not read for messages".to_owned();
            return Err(Error::new(ErrorKind::AbiMismatch { abi: AbiId::Fledge, reason }));
        }
        Ok(Arc::new(FledgeAdapter { prints_messages }))
    }
}

struct FledgeAdapter {
    /// Whether lines that it prints may be messages.
    prints_messages: bool,
}

impl Adapter for FledgeAdapter {
    fn functions(&self) -> &[String] {
        &[]
    }

    fn wasi_input(&self, _input: &Input, given: Option<WasiInput>) -> Option<WasiInput> {
        let given = given?;
        let feed = (self.prints_messages || given.reads_messages).then(Feed::default);
        // It has no standard input, but for what answers the messages that it prints.
        let streams = Streams { stdin: feed.is_some(), stdout: true, stderr: true };
        let stdin = feed.clone().map_or_else(StdinSource::empty, StdinSource::fed);
        Some(WasiInput { stdin, feed, streams, ..given })
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, _function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let state = live.store.data_mut();
            let feed = state.wasi.feed().cloned();
            let dialogue = state.dialogue.get_or_insert_default();
            if let Input::Words(words) = input {
                dialogue.args = words;
            }
            dialogue.stdin.clone_from(&feed);
            if let Some(feed) = feed {
                let init = work::init(state).await?;
                feed.write(&init);
                feed.write(b"\n");
            }
            let code = run_program(live).await;
            let state = live.store.data_mut();
            match code {
                Ok(_) => said(state, true).await?,
                // A line that it did not end says nothing, but what it is.
                Err(_) => state.show(Shown::Output(&state.wasi.take_lines(true)))?,
            }
            let code = code?;
            let wasi = &state.wasi;
            Ok(Answer::Program(Program { code, stdout: wasi.stdout(), stderr: wasi.log() }))
        })
    }
}

/// Does what the lines say that were printed and not read yet.
pub(crate) async fn said(state: &mut CallState, is_end: bool) -> wasmtime::Result<()> {
    let lines = state.wasi.take_lines(is_end);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        imports::line(state, line).await?;
    }
    Ok(())
}
