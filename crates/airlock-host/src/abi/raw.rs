//! The `raw` ABI: any export whose parameters and results are plain numbers.
//!
//! Nothing is known of such a module but its types, so it is what remains when no other
//! ABI fits. Its globals and memory may hold state between calls, so its natural home is
//! a session; a single call runs on a fresh instance.

use std::sync::Arc;

use airlock_core::{AbiId, Manifest, Result};
use airlock_engine::Shape;

use super::{Abi, Adapter, Fit, Match, Profile, numbers};

pub(super) struct Raw;

static PROFILE: Profile = Profile {
    limits: &[],
    baseline: &[],
    keeps_state: true,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

impl Abi for Raw {
    fn id(&self) -> AbiId {
        AbiId::Raw
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        let callable = numbers::count(shape);
        if callable == 0 || manifest.is_some() {
            return None;
        }
        let why = format!("{callable} exported functions take and give plain numbers");
        Some(Match { fit: Fit::Fallback, why })
    }

    fn bind(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        Ok(numbers::bind(shape))
    }
}
