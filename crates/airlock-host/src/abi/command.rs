//! The `command` ABI: WASI preview 1 programs with `_start`.

use std::sync::Arc;

use airlock_core::{AbiId, Error, ErrorKind, Manifest, Result};
use airlock_engine::Shape;
use wasmtime_wasi::I32Exit;

use super::{Abi, Adapter, Failure, Fit, GuestFuture, Match, Profile};
use crate::answer::{Answer, Input, Program};
use crate::store::Live;
use crate::wasi::PREVIEW1;

pub(super) struct Command;

static PROFILE: Profile = Profile { limits: &[], baseline: &[], keeps_state: false, stays_inside: false };

impl Abi for Command {
    fn id(&self) -> AbiId {
        AbiId::Command
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        let starts = shape.function("_start").is_some_and(|ty| ty.is(&[], &[]));
        if !starts || manifest.is_some() {
            return None;
        }
        let why = match shape.imports_from(PREVIEW1) {
            true => "it exports `_start` and imports WASI preview 1",
            false => "it exports `_start`",
        };
        Some(Match { fit: Fit::Likely, why: why.to_owned() })
    }

    fn bind(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        match shape.function("_start") {
            Some(ty) if ty.is(&[], &[]) => Ok(Arc::new(CommandAdapter)),
            Some(_) => Err(mismatch("its `_start` takes or gives something")),
            None => Err(mismatch("it exports no `_start`")),
        }
    }
}

fn mismatch(reason: &str) -> Error {
    Error::new(ErrorKind::AbiMismatch { abi: AbiId::Command, reason: reason.to_owned() })
}

struct CommandAdapter;

impl Adapter for CommandAdapter {
    fn functions(&self) -> &[String] {
        &[]
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, _function: &'a str, _input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let missing = || mismatch("it exports no `_start`");
            let code = match live.invoke("_start", ()).await.ok_or_else(missing)? {
                Ok(()) => 0,
                Err(error) => exit_code(error)?,
            };
            let wasi = &live.store.data().wasi;
            Ok(Answer::Program(Program { code, stdout: wasi.stdout(), stderr: wasi.log() }))
        })
    }
}

/// The code a program left with, if leaving is what it did.
fn exit_code(error: wasmtime::Error) -> Result<i32, Failure> {
    match error.downcast_ref::<I32Exit>() {
        Some(exit) => Ok(exit.0),
        None => Err(Failure::Wasm(error)),
    }
}
