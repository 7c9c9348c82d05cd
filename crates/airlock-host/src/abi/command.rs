//! The `command` ABI: programs of WASI, which are modules of preview 1 with `_start` and components of
//! preview 2 with `wasi:cli/run`.

use std::sync::Arc;

use airlock_core::{AbiId, Manifest, Result};
use airlock_engine::Shape;

use super::{Abi, Adapter, Fit, GuestFuture, Match, Profile, check_start, component, run_program};
use crate::answer::{Answer, Input, Program};
use crate::store::Live;
use crate::wasi::PREVIEW1;

pub(super) struct Command;

/// What a program is run by, whichever kind it is.
pub(crate) const START: &str = "_start";

static PROFILE: Profile = Profile {
    limits: &[],
    baseline: &[],
    keeps_state: false,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

impl Abi for Command {
    fn id(&self) -> AbiId {
        AbiId::Command
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        if let (Some(version), None) = (shape.exports_interface("wasi:cli/run"), manifest) {
            let why = format!("it is a component that exports `wasi:cli/run@{version}`");
            return Some(Match { fit: Fit::Likely, why });
        }
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

    fn takes_components(&self) -> bool {
        true
    }

    fn bind(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        check_start(shape, AbiId::Command)?;
        Ok(Arc::new(CommandAdapter { functions: component::Functions::of(shape) }))
    }
}

struct CommandAdapter {
    /// What a component has that can be called too.
    functions: Option<component::Functions>,
}

impl Adapter for CommandAdapter {
    fn functions(&self) -> &[String] {
        self.functions.as_ref().map_or(&[], Adapter::functions)
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        if let Some(functions) = self.functions.as_ref().filter(|_| function != START) {
            return functions.call(live, function, input);
        }
        Box::pin(async move {
            let code = run_program(live).await?;
            let wasi = &live.store.data().wasi;
            Ok(Answer::Program(Program { code, stdout: wasi.stdout(), stderr: wasi.log() }))
        })
    }
}
