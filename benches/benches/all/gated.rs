//! What a call of a plugin has, without a plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_host::service::exec::{SearchPath, locate};
use airlock_host::{
    Basis, Capability, Ceiling, Digest, Gate, Identity, LimitKind, Limits, Need, Overrides, Permit, Place,
    Policy, Request, ServiceError,
};

/// A call with grants, and with no bound on how often it uses them.
pub(crate) struct Call {
    gate: Gate,
    pub(crate) policy: Arc<Policy>,
}

impl Call {
    pub(crate) fn new(grants: &[&str]) -> Self {
        let grants: Vec<Capability> = grants.iter().map(|text| text.parse().unwrap()).collect();
        let ask = |capability: &Capability| Request { capability: capability.clone(), required: true };
        let requests: Vec<Request> = grants.iter().map(ask).collect();
        let programs = locate(&SearchPath::of_process(), &grants);
        let place = Place { working: PathBuf::from("/"), programs, ..Place::default() };
        let ceiling = Ceiling::new();
        let basis =
            Basis { requests: &requests, grants: &grants, baseline: &[], ceiling: &ceiling, place: &place };
        let often = [LimitKind::HttpRequests, LimitKind::Programs].map(|limit| (limit, u64::MAX));
        let limits = Limits::default().with(&Overrides::from(often));
        let caller = Identity { name: "bench".to_owned(), digest: Digest::of(b"bench") };
        Call { gate: Gate::new(Arc::new(caller), Arc::new(limits)), policy: Arc::new(Policy::decide(basis)) }
    }

    pub(crate) fn permit(&self, need: Need<'_>) -> Result<Permit, ServiceError> {
        self.permit_until(Instant::now() + Duration::from_secs(60), need)
    }

    pub(crate) fn permit_until(&self, deadline: Instant, need: Need<'_>) -> Result<Permit, ServiceError> {
        self.gate.permit(&self.policy, deadline, need)
    }
}
