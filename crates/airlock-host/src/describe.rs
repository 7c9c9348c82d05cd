//! What a module says of itself when it is asked.
//!
//! It is asked before anybody has decided anything about it: on an instance of its own that has
//! nothing, whose clock and random numbers are the same in every run, whose output is nowhere, and
//! that has limits of its own. What it says is so the same every time, and is kept by digest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::{Ceiling, Digest, Error, LimitKind, Limits, Manifest, Overrides, Place, Result, Streams};
use airlock_engine::Compiled;

use crate::abi::{Abi, Adapter};
use crate::answer::Answer;
use crate::bounded::block_on;
use crate::host::Host;
use crate::plugin::{Plugin, PluginParts};
use crate::standing::{Ground, Standing};
use crate::wasi::{PathRules, StandIns, WasiInput};

/// What asking may take, unless less is set for its calls: what a manifest is made in takes
/// microseconds, and no more memory than its text.
const LIMITS: [(LimitKind, u64); 3] = [
    (LimitKind::Timeout, 5_000_000_000),
    (LimitKind::Memory, 64 << 20),
    (LimitKind::Output, Manifest::MAX_BYTES),
];

/// Fuel of asking, whatever its calls have.
const FUEL: u64 = 100_000_000;

/// Bytes that are kept of what modules said.
const KEPT: usize = 16 << 20;

/// What modules said, by their digests.
#[derive(Default)]
pub(crate) struct Descriptions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    said: HashMap<Digest, Arc<[u8]>>,
    bytes: usize,
}

impl Descriptions {
    fn get(&self, digest: Digest) -> Option<Arc<[u8]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said.get(&digest).cloned()
    }

    fn keep(&self, digest: Digest, said: &Arc<[u8]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + said.len() > KEPT {
            *kept = Kept::default();
        }
        if kept.said.insert(digest, said.clone()).is_none() {
            kept.bytes += said.len();
        }
    }
}

impl Host {
    /// What was said by the module of this digest, when it was asked before.
    pub(crate) fn described(&self, digest: Digest) -> Option<Arc<[u8]>> {
        self.0.made.descriptions.get(digest)
    }

    /// Asks a module what it is.
    ///
    /// # Errors
    /// Every way a call can fail.
    pub(crate) fn describe(
        &self,
        abi: &'static dyn Abi,
        describer: Arc<dyn Adapter>,
        compiled: Compiled,
        limits: &Limits,
    ) -> Result<Arc<[u8]>> {
        let digest = compiled.artifact().digest();
        let ground = Ground {
            requests: Vec::new(),
            grants: Vec::new(),
            baseline: &[],
            ceiling: Ceiling::default(),
            place: Place::default(),
            paths: PathRules::default(),
        };
        let shape = compiled.shape();
        let plugin = Plugin::new(PluginParts {
            host: self.clone(),
            name: digest.short().to_string(),
            manifest: None,
            waits: shape.imports.iter().any(|import| abi.waits(&import.module, &import.name)),
            abi,
            why: String::new(),
            adapter: describer,
            standing: Standing::new(ground, None)?,
            requests: Vec::new(),
            inherits: false,
            keeps_state: false,
            stand_ins: StandIns::default(),
            core_dump: None,
            sampling: None,
            limits: Arc::new(limits.clone().with(&own_limits(limits))),
            compiled,
        })?;
        let streams = Streams::default();
        // Nothing of it waits for anything outside, so that it can be waited for anywhere.
        let answer = block_on(plugin.ask(Manifest::EXPORT, WasiInput { streams, ..WasiInput::none() }))?;
        let Answer::Bytes(said) = answer.value else {
            return Err(Error::host("a module that said what it is with something else than bytes"));
        };
        let said = said.into();
        self.0.made.descriptions.keep(digest, &said);
        Ok(said)
    }
}

fn own_limits(limits: &Limits) -> Overrides {
    let mut own: Overrides =
        LIMITS.into_iter().map(|(kind, value)| (kind, value.min(limits.value(kind)))).collect();
    // What code counts fuel was compiled to.
    if limits.get(LimitKind::Fuel).is_some() {
        own.insert(LimitKind::Fuel, FUEL);
    }
    own
}
