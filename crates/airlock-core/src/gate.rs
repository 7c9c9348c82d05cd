//! The one way from a guest to the world.
//!
//! Every service method takes a [`Permit`], and only a [`Gate`] makes one, of a [`Need`] that
//! the policy in force allows. So what is checked, counted and recorded of a use is here and
//! nowhere else: that the capability is there, how often its kind may be used in a call, who
//! asked, and until when. A service that finds out more about what it needs while it works,
//! as where a redirect leads, asks its permit ([`Permit::also`]), which is the same question.
//!
//! A gate lives as long as its call. When the call has ended, in whatever way, its permits
//! are over ([`Permit::check`]), so that work that went on elsewhere commits nothing more.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{
    AuditEvent, CAPABILITIES, Capability, CapabilityKind, HostPattern, Identity, LimitKind, Limits,
    NamePattern, Policy, Scheme, Scope, ServiceError, Uses, special,
};

/// What a guest is about to use, as it asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need<'a> {
    /// Something of a kind that has nothing to choose from, or whose size the service looks
    /// at: the log, its data between calls.
    Kind(CapabilityKind),
    /// Something with a name: a secret, a topic, a tool, an account.
    Name(CapabilityKind, &'a str),
    /// All names of a pattern at once: the topics of a subscription.
    Names(CapabilityKind, &'a NamePattern),
    /// A host. Its name in lower case or its address without brackets, as a URL's parser
    /// gives it.
    Origin {
        /// How it is spoken to.
        scheme: Scheme,
        /// Who.
        host: &'a str,
        /// At which port.
        port: u16,
    },
    /// The addresses of a host, to speak to it at some port. Its name as with
    /// [`Need::Origin`].
    Lookup {
        /// How it is going to be spoken to.
        scheme: Scheme,
        /// Whose.
        host: &'a str,
    },
    /// A program, by the name or the absolute path that the guest said.
    Program {
        /// Which.
        program: &'a str,
        /// With what.
        args: &'a [String],
    },
    /// A file or folder, by its absolute path.
    File(CapabilityKind, &'a Path),
    /// What a capability says, all of it: what a function of the application is declared to need.
    /// Files are compared as their scopes are written.
    All(&'a Capability),
}

impl Need<'_> {
    /// The kind of what is needed.
    pub fn kind(&self) -> CapabilityKind {
        match self {
            Need::Kind(kind) | Need::Name(kind, _) | Need::Names(kind, _) | Need::File(kind, _) => *kind,
            Need::Origin { .. } | Need::Lookup { .. } => CapabilityKind::Net,
            Need::Program { .. } => CapabilityKind::Exec,
            Need::All(capability) => capability.kind(),
        }
    }

    /// The narrowest capability that says it, for errors and records. A program's arguments
    /// are left out: they may hold what nobody should keep.
    pub fn capability(&self) -> Capability {
        let of = |kind: CapabilityKind, text: &str| {
            Capability::scoped(kind, text).unwrap_or_else(|_| Capability::all_of(kind))
        };
        match *self {
            // As it is written without a scope: all there is would be more than is needed.
            Need::Kind(kind) => kind.row().name.parse().unwrap_or_else(|_| Capability::all_of(kind)),
            Need::Name(kind, name) => of(kind, name),
            Need::Names(kind, names) => of(kind, &names.to_string()),
            Need::Origin { scheme, host, port } => Capability::origin(scheme, host, port)
                .unwrap_or_else(|| Capability::all_of(CapabilityKind::Net)),
            Need::Lookup { scheme, host } => Capability::at_some_port(scheme, host)
                .unwrap_or_else(|| Capability::all_of(CapabilityKind::Net)),
            Need::Program { program, .. } => of(CapabilityKind::Exec, &crate::shell_quoted(program)),
            Need::File(kind, path) => {
                Capability::below(kind, path).unwrap_or_else(|| Capability::all_of(kind))
            }
            Need::All(capability) => capability.clone(),
        }
    }

    /// Whether `capability` is the one that [`Need::capability`] gives, found without making
    /// it: denials are counted by the thousand.
    pub(crate) fn is_called(&self, capability: &Capability) -> bool {
        capability.kind() == self.kind()
            && match (self, capability.scope()) {
                (Need::Program { program, .. }, Scope::Command(pattern)) => {
                    pattern.program() == Some(program) && pattern.is_bare()
                }
                (Need::Kind(_) | Need::Lookup { .. }, _) => *capability == self.capability(),
                (Need::Names(_, names), Scope::Name(pattern)) => pattern == *names,
                (Need::All(needed), _) => capability == *needed,
                (_, scope) => scope.is_single() && self.is_met_by(capability),
            }
    }

    /// Whether having `capability` is enough.
    pub fn is_met_by(&self, capability: &Capability) -> bool {
        let kind = self.kind();
        let fits = capability.kind() == kind
            || (capability.kind() == CapabilityKind::FsWrite && kind == CapabilityKind::FsRead);
        fits && match (self, capability.scope()) {
            (Need::Kind(_), _) => true,
            (Need::All(needed), _) => capability.covers(needed),
            (Need::Name(_, name), Scope::Name(pattern)) => pattern.permits(name),
            (Need::Names(_, names), Scope::Name(pattern)) => pattern.covers(names),
            (Need::Origin { scheme, host, port }, Scope::Origin(origin)) => {
                origin.permits(*scheme, host, *port)
            }
            (Need::Lookup { scheme, host }, Scope::Origin(origin)) => origin.permits_some_port(*scheme, host),
            (Need::Program { program, args }, Scope::Command(pattern)) => pattern.permits(program, args),
            (Need::File(_, path), Scope::Path(_)) => {
                Capability::below(kind, path).is_some_and(|needed| capability.covers(&needed))
            }
            _ => false,
        }
    }
}

/// How often a kind may be used in one call, where that is a limit.
fn bound(kind: CapabilityKind) -> Option<LimitKind> {
    match kind {
        CapabilityKind::Net => Some(LimitKind::HttpRequests),
        CapabilityKind::Exec => Some(LimitKind::Programs),
        CapabilityKind::EventsPublish => Some(LimitKind::Events),
        _ => None,
    }
}

/// One call's way to the services.
#[derive(Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    caller: Arc<Identity>,
    limits: Arc<Limits>,
    /// The tools that this call is inside of, outermost first.
    within: Arc<[Arc<str>]>,
    /// The call that this one is made for.
    outer: Option<Arc<Shared>>,
    /// How many events are being handled, one inside of another.
    event_depth: u32,
    ended: AtomicBool,
    used: [AtomicU64; CAPABILITIES.len()],
    ledger: Mutex<Uses>,
}

impl Gate {
    /// For one call of this plugin, under its limits.
    pub fn new(caller: Arc<Identity>, limits: Arc<Limits>) -> Self {
        Gate::of(caller, limits, Arc::default(), None, 0)
    }

    /// For a call that handles an event which was published where `depth` others were being handled.
    pub fn handling(caller: Arc<Identity>, limits: Arc<Limits>, depth: u32) -> Self {
        Gate::of(caller, limits, Arc::default(), None, depth.saturating_add(1))
    }

    /// For a call that a tool makes, which was called with this permit.
    pub fn nested(caller: Arc<Identity>, limits: Arc<Limits>, permit: &Permit) -> Self {
        let depth = permit.event_depth();
        Gate::of(caller, limits, permit.within.clone(), Some(permit.shared.clone()), depth)
    }

    fn of(
        caller: Arc<Identity>,
        limits: Arc<Limits>,
        within: Arc<[Arc<str>]>,
        outer: Option<Arc<Shared>>,
        event_depth: u32,
    ) -> Self {
        Gate(Arc::new(Shared {
            caller,
            limits,
            within,
            outer,
            event_depth,
            ended: AtomicBool::new(false),
            used: [const { AtomicU64::new(0) }; CAPABILITIES.len()],
            ledger: Mutex::default(),
        }))
    }

    /// Leave to use what is needed, until `deadline`.
    ///
    /// # Errors
    /// [`ServiceError::Denied`] where the policy does not allow it; [`ServiceError::Limit`]
    /// where this call has used the kind as often as it may.
    pub fn permit(
        &self,
        policy: &Arc<Policy>,
        deadline: Instant,
        need: Need<'_>,
    ) -> Result<Permit, ServiceError> {
        self.0.allow(policy, need)?;
        self.0.spend(need.kind())?;
        let within = self.0.within.clone();
        Ok(Permit { shared: self.0.clone(), policy: policy.clone(), deadline, kind: need.kind(), within })
    }

    /// Counts a refusal of what was needed, which is refused for another reason than its grants.
    pub fn refuse(&self, need: Need<'_>) {
        self.0.ledger().refused(need);
    }

    /// What was used and refused so far, to be recorded; nothing is counted afterwards.
    pub fn take_uses(&self) -> Vec<AuditEvent> {
        self.0.ledger().take()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl Shared {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Uses> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allow(&self, policy: &Policy, need: Need<'_>) -> Result<(), ServiceError> {
        match policy.meets(need) {
            true => {
                self.ledger().used(need);
                Ok(())
            }
            false => Err(ServiceError::Denied(self.ledger().refused(need))),
        }
    }

    fn spend(&self, kind: CapabilityKind) -> Result<(), ServiceError> {
        let Some(limit) = bound(kind) else { return Ok(()) };
        let maximum = self.limits.value(limit);
        let before = self.used[kind as usize].fetch_add(1, Ordering::Relaxed);
        match before < maximum {
            true => Ok(()),
            false => Err(ServiceError::Limit { limit, maximum }),
        }
    }
}

/// Leave to use one kind of thing, for one call.
#[derive(Debug, Clone)]
pub struct Permit {
    shared: Arc<Shared>,
    policy: Arc<Policy>,
    deadline: Instant,
    kind: CapabilityKind,
    within: Arc<[Arc<str>]>,
}

impl Permit {
    /// Which plugin it was given to.
    pub fn caller(&self) -> &Identity {
        &self.shared.caller
    }

    /// The plugins whose calls this is inside of: the one that it was given to, the one whose tool
    /// called that, and so on. Two calls of one plugin are of one `Arc`.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Identity>> {
        std::iter::successors(Some(&self.shared), |shared| shared.outer.as_ref()).map(|shared| &shared.caller)
    }

    /// What it is for.
    pub fn kind(&self) -> CapabilityKind {
        self.kind
    }

    /// When the call has to end.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long that is from now.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What bounds the call.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// What was in force when it was given.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How many events are being handled where the call is made, one inside of another: what it publishes
    /// is an answer to them.
    pub fn event_depth(&self) -> u32 {
        self.shared.event_depth
    }

    /// The tools that the call is inside of, outermost first.
    pub fn within(&self) -> &[Arc<str>] {
        &self.within
    }

    /// The same permit for what happens inside of this tool.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] for a tool that the call is inside of;
    /// [`ServiceError::Limit`] where tools nest as deep as they may.
    pub fn inside(&self, tool: &str) -> Result<Permit, ServiceError> {
        let chain = self.within.iter().cloned().chain([Arc::from(tool)]);
        if self.within.iter().any(|outer| **outer == *tool) {
            let chain: Vec<Arc<str>> = chain.collect();
            let reason = format!("tools call each other in a circle: {}", chain.join(" > "));
            return Err(ServiceError::Failed(reason));
        }
        let (limit, depth) = (LimitKind::ToolDepth, self.within.len() as u64);
        let maximum = self.limits().value(limit);
        match depth < maximum {
            true => Ok(Permit { within: chain.collect(), ..self.clone() }),
            false => Err(ServiceError::Limit { limit, maximum }),
        }
    }

    /// Bytes that the plugin may keep.
    pub fn quota(&self) -> u64 {
        let quotas = self.policy.of(CapabilityKind::Kv).map(|capability| match capability.scope() {
            Scope::Quota(quota) => quota.bytes(),
            _ => 0,
        });
        quotas.max().unwrap_or_default()
    }

    /// Leave for something more that is found to be needed on the way.
    ///
    /// # Errors
    /// [`ServiceError::Denied`].
    pub fn also(&self, need: Need<'_>) -> Result<(), ServiceError> {
        self.shared.allow(&self.policy, need)
    }

    /// Counts a refusal of what is granted, and is refused all the same: by a rule of the service.
    pub fn refuse(&self, need: Need<'_>) {
        self.shared.ledger().refused(need);
    }

    /// Leave to connect to this address, for a host that [`Permit::also`] or the gate gave leave
    /// for. One that may be a public host's needs no more. For any other there has to be a
    /// grant of an address or a network that it is in, such as `net=http://127.0.0.1:8080`:
    /// neither every host nor the name of one means it. Without a port, one for some port does.
    ///
    /// # Errors
    /// [`ServiceError::Denied`] with the address.
    pub fn also_address(
        &self,
        scheme: Scheme,
        address: IpAddr,
        port: impl Into<Option<u16>>,
    ) -> Result<(), ServiceError> {
        if special(address).is_none() {
            return Ok(());
        }
        let host = address.to_string();
        let need = match port.into() {
            Some(port) => Need::Origin { scheme, host: &host, port },
            None => Need::Lookup { scheme, host: &host },
        };
        let by_address = |capability: &&Capability| match capability.scope() {
            Scope::Origin(origin) => matches!(origin.host(), HostPattern::Network { .. }),
            _ => false,
        };
        let mut granted = self.policy.of(CapabilityKind::Net).filter(by_address);
        if granted.any(|capability| need.is_met_by(capability)) {
            return Ok(());
        }
        Err(ServiceError::Denied(self.shared.ledger().refused(need)))
    }

    /// Whether the call goes on: to be asked before anything is committed.
    ///
    /// # Errors
    /// [`ServiceError::Ended`] when it is over or past its deadline.
    pub fn check(&self) -> Result<(), ServiceError> {
        match self.shared.ended.load(Ordering::Acquire) || Instant::now() >= self.deadline {
            true => Err(ServiceError::Ended),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Gate, Need};
    use crate::{
        AuditEvent, Basis, Capability, CapabilityKind, Ceiling, Digest, Identity, LimitKind, Limits,
        Overrides, Place, Policy, Request, Scheme, ServiceError,
    };

    fn policy(granted: &[&str]) -> Arc<Policy> {
        let grants: Vec<Capability> = granted.iter().map(|text| text.parse().expect("valid")).collect();
        let requests: Vec<Request> = grants
            .iter()
            .map(|capability| Request { capability: capability.clone(), required: false })
            .collect();
        let place = Place { working: "/w".into(), ..Place::default() };
        let (grants, ceiling) = (grants.as_slice(), &Ceiling::new());
        Arc::new(Policy::decide(Basis { requests: &requests, grants, baseline: &[], ceiling, place: &place }))
    }

    fn gate(limits: &[(LimitKind, u64)]) -> Gate {
        let limits = Limits::default().with(&limits.iter().copied().collect::<Overrides>());
        let caller = Identity { name: "one".to_owned(), digest: Digest::of(b"1") };
        Gate::new(Arc::new(caller), Arc::new(limits))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    const API: Need<'_> = Need::Origin { scheme: Scheme::Https, host: "api.example", port: 443 };

    #[test]
    fn what_is_not_granted_is_denied_and_both_are_counted() {
        let (gate, policy) = (gate(&[]), policy(&["net=https://api.example", "secrets=A_*"]));
        let permit = gate.permit(&policy, soon(), API).expect("granted");
        assert_eq!((permit.caller().name.as_str(), permit.kind()), ("one", CapabilityKind::Net));
        let other = Need::Origin { scheme: Scheme::Http, host: "api.example", port: 80 };
        for _ in 0..3 {
            let denied = gate.permit(&policy, soon(), other).expect_err("another scheme");
            assert_eq!(denied, ServiceError::Denied("net=http://api.example".parse().expect("valid")));
        }
        permit.also(other).expect_err("no more on the way than at the start");
        gate.permit(&policy, soon(), Need::Name(CapabilityKind::Secrets, "A_KEY")).expect("granted");
        gate.permit(&policy, soon(), Need::Name(CapabilityKind::Secrets, "B")).expect_err("not granted");
        gate.permit(&policy, soon(), Need::Kind(CapabilityKind::Log)).expect_err("not granted");
        let (used, refused) = (
            |text: &str, count| AuditEvent::Used { capability: text.parse().expect("valid"), count },
            |text: &str, count| AuditEvent::Refused { capability: text.parse().expect("valid"), count },
        );
        let expected = [
            used("net=https://api.example", 1),
            refused("net=http://api.example", 4),
            used("secrets=A_KEY", 1),
            refused("secrets=B", 1),
            refused("log", 1),
        ];
        assert_eq!(gate.take_uses(), expected);
    }

    #[test]
    fn a_name_may_be_looked_up_where_it_may_be_spoken_to_at_some_port() {
        let looks_up = |granted: &str, host: &str| {
            let gate = gate(&[]);
            let permit = gate.permit(&policy(&[granted]), soon(), Need::Lookup { scheme: Scheme::Tcp, host });
            (permit.is_ok(), gate.take_uses())
        };
        for granted in ["net=tcp://db.example:5432", "net=tcp://*.example:*", "net=db.example", "net=*:25"] {
            let used =
                AuditEvent::Used { capability: "net=tcp://db.example:*".parse().expect("valid"), count: 1 };
            assert_eq!(looks_up(granted, "db.example"), (true, vec![used]), "{granted}");
        }
        for granted in ["net=https://db.example", "net=tcp://example:5432", "net=tcp://10.0.0.0/8:5432"] {
            let refused = AuditEvent::Refused {
                capability: "net=tcp://db.example:*".parse().expect("valid"),
                count: 1,
            };
            assert_eq!(looks_up(granted, "db.example"), (false, vec![refused]), "{granted}");
        }
    }

    #[test]
    fn an_address_that_is_not_public_needs_a_grant_for_some_port_to_be_told() {
        let told = |granted: &str, address: &str| {
            let gate = gate(&[]);
            let permit = gate.permit(&policy(&[granted, "log"]), soon(), Need::Kind(CapabilityKind::Log));
            permit.expect("granted").also_address(Scheme::Tcp, address.parse().expect("valid"), None).is_ok()
        };
        assert!(told("net=tcp://db.example:5432", "8.8.8.8"));
        assert!(told("net=tcp://10.0.0.0/8:5432", "10.1.2.3"));
        assert!(!told("net=tcp://10.0.0.0/8:5432", "127.0.0.1"));
        assert!(!told("net=http://10.0.0.0/8", "10.1.2.3"));
        assert!(!told("net=tcp://*:*", "10.1.2.3"));
    }

    #[test]
    fn a_permit_knows_whose_calls_it_is_inside_of() {
        let (outer, policy) = (gate(&[]), policy(&["log"]));
        let log = Need::Kind(CapabilityKind::Log);
        let permit = outer.permit(&policy, soon(), log).expect("granted");
        let inner = Arc::new(Identity { name: "two".to_owned(), digest: Digest::of(b"2") });
        let nested =
            Gate::nested(inner, Arc::default(), &permit).permit(&policy, soon(), log).expect("granted");
        let names =
            |permit: &super::Permit| permit.callers().map(|caller| caller.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&permit), names(&nested)),
            (vec!["one".to_owned()], vec!["two".to_owned(), "one".to_owned()])
        );
        assert!(
            nested
                .callers()
                .last()
                .is_some_and(|last| permit.callers().any(|caller| Arc::ptr_eq(last, caller)))
        );
    }

    #[test]
    fn an_address_that_is_not_public_needs_a_grant_by_address() {
        let denied = |granted: &[&str], address: &str| {
            let gate = gate(&[]);
            let policy = policy(granted);
            let permit = gate.permit(&policy, soon(), API).expect("granted");
            permit.also_address(Scheme::Http, address.parse().expect("valid"), 80).err()
        };
        let needs = |capability: &str| Some(ServiceError::Denied(capability.parse().expect("valid")));
        assert_eq!(denied(&["net=*"], "8.8.8.8"), None);
        for granted in ["net=*", "net=https://api.example"] {
            let granted = [granted, "net=https://api.example"];
            assert_eq!(denied(&granted, "127.0.0.1"), needs("net=http://127.0.0.1"));
            assert_eq!(denied(&granted, "::ffff:10.0.0.1"), needs("net=http://[::ffff:10.0.0.1]"));
        }
        for (granted, allowed) in [
            ("net=127.0.0.1", true),
            ("net=http://127.0.0.1", true),
            ("net=127.0.0.0/8", true),
            ("net=127.0.0.1:81", false),
            ("net=https://127.0.0.1", false),
            ("net=10.0.0.0/8", false),
            ("net=localhost", false),
        ] {
            let result = denied(&[granted, "net=https://api.example"], "127.0.0.1");
            assert_eq!(result.is_none(), allowed, "{granted}");
        }
    }

    #[test]
    fn files_are_needed_by_path_and_what_may_write_may_read() {
        let (gate, policy) = (gate(&[]), policy(&["fs.write=out", "fs.read=in"]));
        let may = |kind, path: &str| gate.permit(&policy, soon(), Need::File(kind, path.as_ref())).is_ok();
        assert!(may(CapabilityKind::FsRead, "/w/in/a") && may(CapabilityKind::FsRead, "/w/out/a"));
        assert!(may(CapabilityKind::FsWrite, "/w/out") && !may(CapabilityKind::FsWrite, "/w/in"));
        assert!(!may(CapabilityKind::FsRead, "/w") && !may(CapabilityKind::FsRead, "/w/inside"));
    }

    #[test]
    fn all_names_of_a_pattern_are_needed_at_once() {
        let (gate, policy) = (gate(&[]), policy(&["events.subscribe=build.*", "events.subscribe=one"]));
        let may = |text: &str| {
            let names = text.parse().expect("a pattern");
            let need = Need::Names(CapabilityKind::EventsSubscribe, &names);
            gate.permit(&policy, soon(), need).map(drop)
        };
        for covered in ["build.*", "build.done", "build.a.*", "one"] {
            assert_eq!(may(covered), Ok(()), "{covered}");
        }
        for wider in ["*", "b*", "one*", "two"] {
            let denied = format!("events.subscribe={wider}").parse().expect("valid");
            assert_eq!(may(wider), Err(ServiceError::Denied(denied)), "{wider}");
        }
        may("build.*").expect("covered");
        let used = gate.take_uses();
        let again = "events.subscribe=build.*".parse().expect("valid");
        assert_eq!(used.first(), Some(&AuditEvent::Used { capability: again, count: 2 }));
    }

    #[test]
    fn a_kind_is_used_as_often_as_its_limit_says() {
        let (gate, policy) = (gate(&[(LimitKind::HttpRequests, 2)]), policy(&["net=https://api.example"]));
        gate.permit(&policy, soon(), API).expect("the first");
        gate.permit(&policy, soon(), API).expect("the second");
        let error = gate.permit(&policy, soon(), API).expect_err("the third");
        assert_eq!(error, ServiceError::Limit { limit: LimitKind::HttpRequests, maximum: 2 });
    }

    #[test]
    fn a_permit_ends_with_its_call_and_at_its_deadline() {
        let (gate, policy) = (gate(&[]), policy(&["net=https://api.example"]));
        let permit = gate.permit(&policy, soon(), API).expect("granted");
        let late = gate.permit(&policy, Instant::now(), API).expect("granted");
        assert_eq!((permit.check(), late.check()), (Ok(()), Err(ServiceError::Ended)));
        drop(gate);
        assert_eq!(permit.check(), Err(ServiceError::Ended));
    }

    #[test]
    fn reenter_a_tool_is_neither_called_inside_of_itself_nor_too_deep() {
        let (gate, policy) = (gate(&[(LimitKind::ToolDepth, 2)]), policy(&["tools.call=*"]));
        let permit =
            gate.permit(&policy, soon(), Need::Name(CapabilityKind::ToolsCall, "a")).expect("granted");
        let inside = permit.inside("a").and_then(|permit| permit.inside("b")).expect("two deep");
        let error = inside.inside("a").expect_err("a circle");
        assert_eq!(error.to_string(), "tools call each other in a circle: a > b > a");
        assert_eq!(
            inside.inside("c").expect_err("three deep"),
            ServiceError::Limit { limit: LimitKind::ToolDepth, maximum: 2 }
        );
        let nested = Gate::nested(gate.0.caller.clone(), gate.0.limits.clone(), &inside);
        let permit =
            nested.permit(&policy, soon(), Need::Name(CapabilityKind::ToolsCall, "b")).expect("granted");
        assert_eq!(
            permit.inside("b").expect_err("still"),
            ServiceError::Failed("tools call each other in a circle: a > b > b".to_owned())
        );
    }

    #[test]
    fn denied_spin_is_one_record_however_often() {
        let (gate, policy) = (gate(&[]), policy(&[]));
        for _ in 0..100_000 {
            gate.permit(&policy, soon(), API).expect_err("denied");
        }
        let refused = AuditEvent::Refused { capability: API.capability(), count: 100_000 };
        assert_eq!(gate.take_uses(), [refused]);
    }
}
