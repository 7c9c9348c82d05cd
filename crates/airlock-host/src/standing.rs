//! The policy of a loaded plugin, which follows what is granted to it.
//!
//! It is decided when the plugin is loaded and again when its grants have changed, never for
//! a call. Whoever enforces asks for it anew every time, so that a grant which is taken back
//! is gone for calls that begin later, and for what running ones do later.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airlock_core::{
    Basis, Capability, CapabilityKind, Ceiling, Error, ErrorKind, Grant, GrantStore, Identity, Place, Policy,
    Request, Result,
};
use arc_swap::{ArcSwap, ArcSwapOption};

use crate::service::exec;
use crate::wasi::{PathRules, Plan};

/// What a policy is decided over, but for grants that may change.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) requests: Vec<Request>,
    /// Granted for as long as the plugin is loaded.
    pub(crate) grants: Vec<Capability>,
    pub(crate) baseline: &'static [CapabilityKind],
    pub(crate) ceiling: Ceiling,
    pub(crate) place: Place,
    pub(crate) paths: PathRules,
}

/// Where grants are looked up, and for whom.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) store: Arc<dyn GrantStore>,
    pub(crate) plugin: Identity,
}

/// What is in force.
#[derive(Debug)]
pub(crate) struct Decided {
    policy: Arc<Policy>,
    /// Something required that is not.
    missing: Option<Capability>,
    /// What of the disk it opens, as it was last found.
    plan: ArcSwapOption<Plan>,
}

impl Decided {
    fn new(policy: Policy, missing: Option<Capability>) -> Self {
        Decided { policy: Arc::new(policy), missing, plan: ArcSwapOption::empty() }
    }

    pub(crate) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}

/// What is in force for a call, and what of the disk that opens.
pub(crate) struct Looked {
    pub(crate) decided: Arc<Decided>,
    pub(crate) plan: Arc<Plan>,
}

#[derive(Debug)]
pub(crate) struct Standing {
    ground: Ground,
    followed: Option<Followed>,
    generation: AtomicU64,
    current: ArcSwap<Decided>,
}

impl Ground {
    /// Those of `requests` that are neither given with the load, nor beyond the ceiling.
    pub(crate) fn open(&self, requests: &[Request]) -> Vec<Request> {
        let decided = self.decide(&[]);
        let possible = {
            let grants: Vec<Capability> = requests.iter().map(|request| request.capability.clone()).collect();
            let Ground { baseline, ceiling, place, .. } = self;
            Policy::decide(Basis { requests, grants: &grants, baseline, ceiling, place })
        };
        let is_open = |asked: &Capability| possible.allows(asked) && !decided.policy.allows(asked);
        requests.iter().filter(|request| is_open(&request.capability)).cloned().collect()
    }

    fn decide(&self, kept: &[Grant]) -> Decided {
        let kept = kept.iter().filter(|grant| grant.allowed).map(|grant| grant.capability.clone());
        let grants: Vec<Capability> = self.grants.iter().cloned().chain(kept).collect();
        let Ground { requests, baseline, ceiling, place, .. } = self;
        let mut place = Cow::Borrowed(place);
        // Who asks for any program may have been granted some; what is known stays what it is.
        for (name, path) in exec::located(&grants) {
            if !place.programs.contains_key(&name) {
                place.to_mut().programs.insert(name, path);
            }
        }
        let (baseline, place) = (*baseline, &*place);
        let policy = Policy::decide(Basis { requests, grants: &grants, baseline, ceiling, place });
        let missing = policy.missing(requests).cloned();
        Decided::new(policy, missing)
    }
}

impl Standing {
    /// A policy over what was granted with the load, and what is kept for the plugin.
    pub(crate) fn new(ground: Ground, followed: Option<Followed>) -> Result<Self> {
        let standing = Standing {
            current: ArcSwap::from_pointee(Decided::new(Policy::default(), None)),
            generation: AtomicU64::new(0),
            ground,
            followed,
        };
        let generation =
            standing.followed.as_ref().map(|followed| followed.store.generation()).transpose()?;
        standing.decide(generation.unwrap_or_default())?;
        Ok(standing)
    }

    /// What is in force now; nothing where grants cannot be looked up.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        if self.follow().is_err() {
            return Arc::default();
        }
        self.current.load().policy.clone()
    }

    /// The same with what belongs to it.
    pub(crate) fn decided(&self) -> Arc<Decided> {
        match self.follow() {
            Ok(()) => self.current.load_full(),
            Err(_) => Arc::new(Decided::new(Policy::default(), None)),
        }
    }

    /// What of the disk it opens: as it was found before, where that is so still.
    pub(crate) fn plan(&self, decided: &Decided) -> Arc<Plan> {
        match decided.plan.load_full() {
            Some(plan) if plan.is_current() => plan,
            _ => self.plan_anew(decided),
        }
    }

    /// The same, looked for now.
    pub(crate) fn plan_anew(&self, decided: &Decided) -> Arc<Plan> {
        let plan =
            Arc::new(Plan::of(&decided.policy, &self.ground.paths, |kind, path| self.denies(kind, path)));
        decided.plan.store(Some(plan.clone()));
        plan
    }

    /// Refuses to go on without a path that is granted, where that was asked for; what was looked
    /// at for it need not be looked at again for the same call.
    ///
    /// # Errors
    /// [`Unusable`](airlock_core::ErrorKind::Unusable).
    pub(crate) fn require_paths(&self) -> Result<Option<Looked>> {
        if !self.ground.paths.require {
            return Ok(None);
        }
        let decided = self.decided();
        let plan = self.plan(&decided);
        match plan.left_out.first() {
            None => Ok(Some(Looked { decided, plan })),
            Some((capability, reason)) => Err(Error::new(ErrorKind::Unusable {
                capability: capability.clone(),
                reason: reason.clone(),
            })),
        }
    }

    /// Whether nobody may have the files at `path` and below, whatever is granted.
    fn denies(&self, kind: CapabilityKind, path: &Path) -> bool {
        let Ground { ceiling, place, .. } = &self.ground;
        // What cannot be said cannot be known to be harmless.
        Capability::below(kind, path).is_none_or(|capability| ceiling.denies(&capability, place))
    }

    /// Whether something of this kind is in force now.
    pub(crate) fn allows_any(&self, kind: CapabilityKind) -> bool {
        // Where grants cannot be looked up, none of them holds.
        self.follow().is_ok() && self.current.load().policy.allows_any(kind)
    }

    /// Whether grants are kept somewhere, and may change there.
    pub(crate) fn follows(&self) -> bool {
        self.followed.is_some()
    }

    /// Whether the plugin may be called at all.
    ///
    /// # Errors
    /// [`Denied`](airlock_core::ErrorKind::Denied) when something it requires is not, or no
    /// longer, in force; when grants cannot be looked up.
    #[inline]
    pub(crate) fn admit(&self) -> Result<()> {
        match &self.followed {
            None => Ok(()),
            Some(_) => self.admit_followed(),
        }
    }

    /// The first check, after which [`Standing::admit`] has to look only for what may change.
    pub(crate) fn require(&self) -> Result<()> {
        let decided = self.current.load();
        match &decided.missing {
            Some(missing) => Err(decided.policy.denied(missing)),
            None => Ok(()),
        }
    }

    fn admit_followed(&self) -> Result<()> {
        self.follow()?;
        self.require()
    }

    /// Decides again when grants have changed.
    fn follow(&self) -> Result<()> {
        let Some(followed) = &self.followed else { return Ok(()) };
        let generation = followed.store.generation()?;
        match generation == self.generation.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.decide(generation),
        }
    }

    fn decide(&self, generation: u64) -> Result<()> {
        let kept = match &self.followed {
            Some(followed) => followed.store.decided(&followed.plugin)?.unwrap_or_default(),
            None => Vec::new(),
        };
        self.current.store(Arc::new(self.ground.decide(&kept)));
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }
}
