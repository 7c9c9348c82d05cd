//! The `mofa` ABI: numeric exports, and what MoFA's documents promise its plugins as imports of `env`.
//!
//! Its own host links four of those and reads no memory of a guest's, so there is no plugin that
//! depends on more than their names and types; what they mean is in `imports/mofa.rs`.

use std::sync::Arc;

use airlock_core::{AbiId, CapabilityKind, LimitKind, Manifest, Result};
use airlock_engine::Shape;
use wasmtime::Linker;

use super::imports::mofa as imports;
use super::{Abi, Adapter, Dialect, Fit, Match, Profile, link_common, numbers};
use crate::store::CallState;
use crate::wasi;

pub(super) struct Mofa;

/// The default limits of MoFA's `ResourceLimits`: 256 pages, 10 000 elements, 10 instances, 30 s for a call.
/// Its 100 million of fuel, which a loop has used up in some 30 ms, are left to who asks for them
/// ([`ResourceLimits`](crate::mofa::ResourceLimits)): time bounds a call. What is not asked for by a
/// capability there is its plugins' baseline, and so are the two capabilities that they have where nothing
/// is said.
static PROFILE: Profile = Profile {
    limits: &[
        (LimitKind::Memory, 256 << 16),
        (LimitKind::TableElements, 10_000),
        (LimitKind::Instances, 10),
        (LimitKind::Timeout, 30_000_000_000),
    ],
    baseline: &[
        CapabilityKind::Log,
        CapabilityKind::Clock,
        CapabilityKind::Config,
        CapabilityKind::EventsPublish,
    ],
    keeps_state: true,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

impl Abi for Mofa {
    fn id(&self) -> AbiId {
        AbiId::Mofa
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        if manifest.is_some() {
            return None;
        }
        let name = imports::only_here(shape)?;
        Some(Match { fit: Fit::Declared, why: format!("it imports MoFA's `env.{name}`") })
    }

    fn dialect(&self, shape: &Shape) -> Dialect {
        imports::dialect(shape)
    }

    fn link(&self, linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
        link_common(linker)?;
        imports::link(linker, dialect)
    }

    fn waits(&self, module: &str, name: &str) -> bool {
        wasi::waits(module, name) || imports::waits(module, name)
    }

    fn bind(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        Ok(numbers::bind(shape))
    }
}
