//! Permits without a plugin: what a call has, decided as it is for one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_host::service::exec::{SearchPath, locate};
use airlock_host::{
    Basis, Capability, Ceiling, Digest, Gate, Identity, LimitKind, Limits, Need, Overrides, Permit, Place,
    Policy, Request, ServiceError,
};

/// What a call has: a folder, grants, limits, and until when.
pub(crate) struct Call {
    pub(crate) gate: Gate,
    pub(crate) policy: Arc<Policy>,
    time: Duration,
    pub(crate) search: SearchPath,
}

impl Call {
    pub(crate) fn new(working: &Path, granted: &[&str]) -> Self {
        Call::on(working, granted, SearchPath::of_process())
    }

    /// The same with programs looked up on this path.
    pub(crate) fn on(working: &Path, granted: &[&str], search: SearchPath) -> Self {
        let grants: Vec<Capability> = granted.iter().map(|text| text.parse().unwrap()).collect();
        let request = |capability: &Capability| Request { capability: capability.clone(), required: false };
        let requests: Vec<Request> = grants.iter().map(request).collect();
        let programs = locate(&search, &grants);
        let place = Place { working: working.to_owned(), programs, ..Place::default() };
        let (grants, ceiling) = (grants.as_slice(), &Ceiling::new());
        let basis = Basis { requests: &requests, grants, baseline: &[], ceiling, place: &place };
        let policy = Arc::new(Policy::decide(basis));
        Call { gate: gate(&[]), policy, time: Duration::from_secs(60), search }
    }

    pub(crate) fn limited(self, limit: LimitKind, value: u64) -> Self {
        Call { gate: gate(&[(limit, value)]), ..self }
    }

    pub(crate) fn lasting(self, time: Duration) -> Self {
        Call { time, ..self }
    }

    pub(crate) fn permit(&self, need: Need<'_>) -> Result<Permit, ServiceError> {
        self.gate.permit(&self.policy, Instant::now() + self.time, need)
    }
}

fn gate(limits: &[(LimitKind, u64)]) -> Gate {
    let limits = Limits::default().with(&limits.iter().copied().collect::<Overrides>());
    let caller = Identity { name: "one".to_owned(), digest: Digest::of(b"1") };
    Gate::new(Arc::new(caller), Arc::new(limits))
}

/// The error for a capability that is missing.
pub(crate) fn denied(text: &str) -> ServiceError {
    ServiceError::Denied(text.parse().unwrap())
}
