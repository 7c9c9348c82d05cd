//! What a call carries through wasmtime.
//!
//! [`CallState`] is the data of every `Store`: the policy it runs under, what it may
//! still use, when it must end, and its WASI state. [`Live`] is an instance in its store,
//! the thing ABIs work with.
//!
//! The invariant: everything that can stop a guest writes its reason into the state
//! ([`CallState::stop`], the budget's refusal) before the guest sees it, so that whatever
//! error comes back through wasmtime, [`explain()`] can say what it really was.

mod account;
mod explain;
mod live;

use std::any::Any;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use airlock_core::{
    AuditEvent, Capability, CapabilityKind, Error, ErrorKind, Gate, LimitKind, LogLevel, Need, Permit, Phase,
    ServiceError, Usage, Uses,
};
use airlock_engine::{TICK, Ticker};
use wasmtime::{Engine, Memory, ResourceLimiter, Store, StoreContextMut, UpdateDeadline};

use crate::abi::Heap;
use crate::abi::component::{Handles, value_bytes};
use crate::abi::fledge::Dialogue;
use crate::bounded::{Interrupted, sleep_until};
use crate::budget::Budget;
use crate::cancel::{CallData, Cancel, Cuts};
use crate::console::Shown;
use crate::plugin::Reference;
use crate::service::Services;
use crate::session::Manner;
use crate::wasi::Wasi;

pub(crate) use account::{Account, Tally, usage};
pub(crate) use explain::{Halt, explain, explain_in};
pub(crate) use live::{Called, Instance, Live, within};

/// Bytes of configuration that an instance may set for itself.
const OWN_SETTINGS: usize = 64 << 10;

/// The data of a call's store. It can be named as the data of a [`ComponentStore`], and nothing of it be
/// used.
///
/// [`ComponentStore`]: crate::component::ComponentStore
pub struct CallState {
    /// Policy, limits and host, behind one reference.
    pub(crate) plugin: Reference,
    pub(crate) budget: Budget,
    pub(crate) wasi: Wasi,
    pub(crate) phase: Phase,
    pub(crate) usage: Usage,
    pub(crate) uses: Uses,
    /// The way to the services, once one was needed.
    gate: Option<Box<Gate>>,
    /// The permit of the tool that this call is made for.
    inside: Option<Box<Permit>>,
    /// Of the event that this call is told of, how deep that is.
    pub(crate) event_depth: Option<u32>,
    /// What the guest and the host have to say to each other, where the ABI has messages.
    pub(crate) dialogue: Option<Box<Dialogue>>,
    /// The memory that the host made for a guest that imports it.
    pub(crate) provided: Option<Memory>,
    /// The guest's memory, once a function of the host has looked for it.
    pub(crate) shared: Option<Memory>,
    /// What the host has taken of the guest's memory for it.
    pub(crate) heap: Option<Box<Heap>>,
    /// The resources of a component that whoever calls has.
    pub(crate) handles: Option<Box<Handles>>,
    /// Subscriptions of the instance, which end with it.
    pub(crate) subscribed: Vec<u64>,
    /// What the guest has set of its own configuration.
    settings: BTreeMap<String, String>,
    /// What functions of the application find in calls of this instance, and in this one.
    pub(crate) data: Option<CallData>,
    pub(crate) call_data: Option<CallData>,
    /// What can end this call.
    pub(crate) cancel: Option<Cancel>,
    /// How long it may take, where that is not the plugin's limit.
    pub(crate) allowed: Option<Duration>,
    /// The function of the host that runs, for errors.
    function: &'static str,
    /// When the call must end; `None` until the first tick of a call that began without a
    /// look at the clock.
    deadline: Option<Instant>,
    stop: Option<ErrorKind>,
    awaited: bool,
    /// Whether the call has left anything behind that the next one must not find: everything that does
    /// so says so, and most short calls leave nothing.
    is_touched: bool,
    /// Whether its instance is not to be called again, whatever this call comes to.
    pub(crate) is_worn: bool,
}

impl CallState {
    pub(crate) fn new(plugin: Reference, wasi: Wasi, awaited: bool) -> Self {
        CallState {
            budget: Budget::new(plugin.limits(), plugin.declared_maximum()),
            plugin,
            wasi,
            phase: Phase::Instantiate,
            usage: Usage::default(),
            uses: Uses::new(),
            gate: None,
            inside: None,
            event_depth: None,
            dialogue: None,
            provided: None,
            shared: None,
            heap: None,
            handles: None,
            subscribed: Vec::new(),
            settings: BTreeMap::new(),
            data: None,
            call_data: None,
            cancel: None,
            allowed: None,
            function: "",
            deadline: None,
            stop: None,
            awaited,
            is_touched: true,
            is_worn: false,
        }
    }

    /// Starts a call: its counters are zero again.
    #[inline(always)]
    fn begin(&mut self, deadline: Option<Instant>, input_bytes: u64) {
        if self.is_touched || deadline.is_some() || input_bytes > 0 {
            self.begin_anew(deadline, input_bytes);
        }
    }

    #[inline(never)]
    fn begin_anew(&mut self, deadline: Option<Instant>, input_bytes: u64) {
        // What a call with a deadline or an input comes to is for more to see than one that is begun
        // with neither.
        self.is_touched = deadline.is_some() || input_bytes > 0;
        self.deadline = deadline;
        self.usage = Usage::default();
        self.usage.input_bytes = input_bytes;
        self.budget.forget_refusal();
        if self.gate.is_some() || !self.uses.is_empty() {
            self.forget_uses();
        }
        if self.wasi.is_used() {
            self.wasi.begin(self.plugin.standing());
            self.begin_network();
        }
    }

    /// Whether all of a kind may be used, which then counts as used.
    pub(crate) fn may_use(&mut self, kind: CapabilityKind) -> bool {
        let may = self.plugin.standing().allows_any(kind);
        if may && self.plugin.host().0.recorder.is_some() {
            self.uses.count(&Capability::all_of(kind), true);
        }
        may
    }

    /// Whether uses are kept in an audit log.
    pub(crate) fn records_uses(&self) -> bool {
        self.plugin.host().0.recorder.is_some()
    }

    /// Counts what is in force of a kind as used, when uses are recorded.
    pub(crate) fn note_use(&mut self, kind: CapabilityKind) {
        if self.plugin.host().0.recorder.is_some() {
            let policy = self.plugin.standing().policy();
            policy.of(kind).for_each(|capability| self.uses.count(capability, true));
        }
    }

    /// Makes it a call of a tool that was called with this permit.
    pub(crate) fn inside(&mut self, permit: Permit) {
        self.inside = Some(Box::new(permit));
    }

    /// Makes the call in this manner, in no more than `allowed`.
    pub(crate) fn call_in(&mut self, manner: Manner<'_>, allowed: Option<Duration>) {
        self.awaited = manner.awaited;
        self.cancel = manner.options.cancel.clone();
        self.call_data = manner.options.data.clone();
        self.event_depth = manner.options.event_depth;
        self.allowed = allowed;
        self.inside = manner.inside.map(|permit| Box::new(permit.clone()));
    }

    /// Nobody would know what is told to an instance that is gone.
    #[cold]
    fn unsubscribe_all(&self) {
        if let Some(inbox) = self.plugin.inbox() {
            for id in &self.subscribed {
                inbox.unsubscribe(*id);
            }
        }
    }

    /// What functions of the application find in this call.
    pub(crate) fn data(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.call_data.as_ref().or(self.data.as_ref()).map(|data| &*data.0)
    }

    /// The error of memory that is not there.
    #[cold]
    pub(crate) fn no_memory(&self, length: u32) -> Error {
        let (limit, asked, phase) = (LimitKind::Memory, Some(u64::from(length)), self.phase);
        let maximum = self.plugin.limits().value(limit);
        Error::new(ErrorKind::Limit { limit, maximum, asked, phase })
    }

    /// What a call before used, that nobody asked about, counts for no other.
    #[cold]
    #[inline(never)]
    fn forget_uses(&mut self) {
        self.take_uses();
    }

    /// What was used and refused, to be recorded.
    pub(crate) fn take_uses(&mut self) -> Vec<AuditEvent> {
        let mut events = self.uses.take();
        // What is permitted from now on is another call's.
        events.extend(self.gate.take().map(|gate| gate.take_uses()).unwrap_or_default());
        events
    }

    /// The host's services.
    pub(crate) fn services(&self) -> &Services {
        &self.plugin.host().0.services
    }

    /// Leave to use what is needed.
    ///
    /// # Errors
    /// [`ServiceError::Denied`], and [`ServiceError::Limit`] for the kind.
    pub(crate) fn permit(&mut self, need: Need<'_>) -> Result<Permit, ServiceError> {
        let policy = self.plugin.standing().policy();
        let timeout = self.timeout();
        let deadline = *self.deadline.get_or_insert_with(|| after(Instant::now(), timeout));
        let permit = self.gate().permit(&policy, deadline, need);
        if let Err(error) = &permit {
            tracing::debug!(%error, "refused");
        }
        permit
    }

    /// Notes that what is needed was refused for another reason than its grants.
    pub(crate) fn refuse(&mut self, need: Need<'_>) {
        self.gate().refuse(need);
    }

    fn gate(&mut self) -> &Gate {
        let (plugin, inside, event) = (&self.plugin, &self.inside, self.event_depth);
        self.gate.get_or_insert_with(|| {
            let (caller, limits) = plugin.caller();
            Box::new(match (inside, event) {
                (Some(permit), _) => Gate::nested(caller, limits, permit),
                (None, Some(depth)) => Gate::handling(caller, limits, depth),
                (None, None) => Gate::new(caller, limits),
            })
        })
    }

    /// Logs for the guest, where it may: to the host's log, and with the call's own. Whether it may.
    pub(crate) fn log(&mut self, level: LogLevel, message: &str) -> wasmtime::Result<bool> {
        let Ok(permit) = self.permit(Need::Kind(CapabilityKind::Log)) else { return Ok(false) };
        self.services().log.log(&permit, level, message);
        let limits = self.plugin.limits();
        let line = format!("{level}: {message}\n");
        match self.wasi.log_line(limits, line.as_bytes()) {
            Ok(()) => Ok(true),
            Err(maximum) => Err(self.halt_at_limit(LimitKind::Log, maximum, None)),
        }
    }

    /// Shows something of a program, to whoever sees it or for the end.
    ///
    /// # Errors
    /// A [`Halt`] past the limit on output or on the log.
    pub(crate) fn show(&mut self, shown: Shown<'_>) -> wasmtime::Result<()> {
        let plugin = &self.plugin;
        let result = self.wasi.show(plugin.limits(), plugin.name(), shown);
        result.map_err(|(limit, maximum)| self.halt_at_limit(limit, maximum, None))
    }

    /// What the configuration has for `key`: what the instance has set itself, else the operator's, else
    /// the manifest's.
    pub(crate) fn config(&mut self, key: &str) -> Result<Option<String>, ServiceError> {
        let permit = self.permit(Need::Kind(CapabilityKind::Config))?;
        if let Some(value) = self.settings.get(key) {
            return Ok(Some(value.clone()));
        }
        let set = self.services().config.get(&permit, key)?;
        Ok(set.or_else(|| self.plugin.default_of(key)))
    }

    /// All that the configuration has, by key.
    pub(crate) fn whole_config(&mut self) -> Result<Vec<(String, String)>, ServiceError> {
        let permit = self.permit(Need::Kind(CapabilityKind::Config))?;
        let mut keys = self.services().config.keys(&permit)?;
        let manifest = self.plugin.manifest();
        keys.extend(manifest.into_iter().flat_map(|manifest| manifest.config.keys().cloned()));
        keys.extend(self.settings.keys().cloned());
        keys.sort();
        keys.dedup();
        let value = |key: String| Ok(self.config(&key)?.map(|value| (key, value)));
        keys.into_iter().map(value).filter_map(Result::transpose).collect()
    }

    /// Sets something of its configuration for as long as the instance lives, and for nobody else.
    pub(crate) fn set_config(&mut self, key: &str, value: &str) -> Result<(), ServiceError> {
        self.permit(Need::Kind(CapabilityKind::Config))?;
        let others = self.settings.iter().filter(|(other, _)| *other != key);
        let kept: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        let needed = kept + key.len() + value.len();
        if needed > OWN_SETTINGS {
            return Err(ServiceError::Full { needed: needed as u64, quota: OWN_SETTINGS as u64 });
        }
        self.settings.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Random numbers: real ones where granted, the same in every run where not.
    pub(crate) fn fill_random(&mut self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        match self.may_use(CapabilityKind::Random) {
            true => Ok(getrandom::fill(bytes).map_err(|error| wasmtime::Error::msg(error.to_string()))?),
            false => {
                self.wasi.fill_seeded(bytes);
                Ok(())
            }
        }
    }

    /// The time since 1970 in nanoseconds: the real one where granted.
    pub(crate) fn realtime(&mut self) -> u64 {
        let real = self.may_use(CapabilityKind::Clock);
        self.wasi.realtime(real)
    }

    /// Sleeps: for real where it may know the time, else at once on the virtual clock. Whoever awaits this
    /// keeps the call's deadline.
    pub(crate) async fn sleep(&mut self, duration: Duration) {
        match self.may_use(CapabilityKind::Clock) {
            true => sleep_until(after(Instant::now(), duration)).await,
            false => self.wasi.sleep(duration),
        }
    }

    /// Tells of what a service did not do, where the guest has no way to be told more; the call
    /// ends where it is over.
    pub(crate) fn tell(&mut self, function: &'static str, error: &ServiceError) -> wasmtime::Result<()> {
        match error {
            ServiceError::Ended => {
                self.check_deadline()?;
                let phase = self.phase;
                Err(self.halt(ErrorKind::Cancelled { phase }))
            }
            error => {
                tracing::debug!(function, %error, "not done");
                Ok(())
            }
        }
    }

    /// The error that stops a guest which breaks its ABI's rules.
    pub(crate) fn bad_guest(&mut self, reason: String) -> wasmtime::Error {
        let function = self.function.to_owned();
        self.halt(ErrorKind::BadGuest { function, reason })
    }

    /// Whether the guest runs on a fiber from now on.
    #[inline]
    pub(crate) fn set_awaited(&mut self, awaited: bool) {
        self.awaited = awaited;
    }

    /// When the call must end, where the clock was looked at.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Counts a call from the guest into the host and looks at the deadline.
    ///
    /// # Errors
    /// A [`Halt`] past the limit of host calls or the deadline.
    pub(crate) fn enter_host(&mut self, function: &'static str) -> wasmtime::Result<()> {
        tracing::trace!(target: "airlock::host_call", function);
        self.function = function;
        self.is_touched = true;
        self.usage.host_calls += 1;
        let maximum = self.plugin.limits().value(LimitKind::HostCalls);
        if self.usage.host_calls > maximum {
            return Err(self.halt_at_limit(LimitKind::HostCalls, maximum, None));
        }
        Ok(())
    }

    /// Asks for a tick at the deadline when that comes before the next regular one.
    fn arm_last_tick(&self) {
        if let Some(deadline) = self.deadline
            && deadline.saturating_duration_since(Instant::now()) < TICK
        {
            Ticker::tick_at(deadline);
        }
    }

    /// Looks at the deadline from inside a host function that works for long.
    pub(crate) fn check_deadline(&mut self) -> wasmtime::Result<()> {
        match self.overdue() {
            Some(why) => Err(self.halt(self.interrupted(why))),
            None => Ok(()),
        }
    }

    /// The error that stops the guest because of a limit.
    pub(crate) fn halt_at_limit(
        &mut self,
        limit: LimitKind,
        maximum: u64,
        asked: Option<u64>,
    ) -> wasmtime::Error {
        let phase = self.phase;
        self.halt(ErrorKind::Limit { limit, maximum, asked, phase })
    }

    /// What has stopped the guest already, again.
    #[inline]
    pub(crate) fn stopped(&self) -> Option<wasmtime::Error> {
        self.stop.as_ref().map(|why| wasmtime::Error::new(Halt(why.clone())))
    }

    /// The error that stops the guest for `why`.
    pub(crate) fn halt(&mut self, why: ErrorKind) -> wasmtime::Error {
        self.stop = Some(why.clone());
        wasmtime::Error::new(Halt(why))
    }

    pub(crate) fn interrupted(&self, why: Interrupted) -> ErrorKind {
        match why {
            Interrupted::Deadline => ErrorKind::Deadline { timeout: self.timeout(), phase: self.phase },
            Interrupted::Cut => ErrorKind::Cancelled { phase: self.phase },
        }
    }

    fn timeout(&self) -> Duration {
        self.allowed.unwrap_or_else(|| self.plugin.limits().time(LimitKind::Timeout))
    }

    /// What ends the call when it is raised.
    pub(crate) fn cuts(&self) -> Cuts<'_> {
        self.plugin.cuts(self.cancel.as_ref())
    }

    fn overdue(&mut self) -> Option<Interrupted> {
        if self.cuts().is_raised() {
            return Some(Interrupted::Cut);
        }
        let now = Instant::now();
        let timeout = self.timeout();
        // A call that began without looking at the clock began within the last tick, so
        // that its deadline is that much late and never early.
        let deadline = *self.deadline.get_or_insert_with(|| after(now, timeout));
        (now >= deadline).then_some(Interrupted::Deadline)
    }

    /// The rest of the one epoch callback: deadline and cancel, and a turn for others when awaited.
    fn on_tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.is_touched = true;
        self.check_deadline()?;
        self.arm_last_tick();
        Ok(match self.awaited {
            // wasmtime's plain `Yield` wakes itself at once; tokio's lets timers run first.
            true => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
            false => UpdateDeadline::Continue(1),
        })
    }
}

/// The limiter of a store: its own budget and, beneath it, the host's.
impl ResourceLimiter for CallState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.is_touched = true;
        Ok(self.budget.memory_growing(self.plugin.host().budget(), current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.is_touched = true;
        Ok(self.budget.table_growing(self.plugin.host().budget(), current, desired, maximum))
    }
}

impl Drop for CallState {
    fn drop(&mut self) {
        self.budget.give_back(self.plugin.host().budget());
        if !self.subscribed.is_empty() {
            self.unsubscribe_all();
        }
    }
}

/// `timeout` after `at`, or so late that it never comes.
pub(crate) fn after(at: Instant, timeout: Duration) -> Instant {
    const NEVER: Duration = Duration::from_hours(24 * 365 * 100);
    at.checked_add(timeout).unwrap_or_else(|| at + NEVER)
}

/// A store for `state`, with its limits armed.
pub(crate) fn new_store(engine: &Engine, state: CallState) -> Store<CallState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.epoch_deadline_callback(|mut context: StoreContextMut<'_, CallState>| {
        if let Some(sampling) = context.data().plugin.sampling() {
            sampling.look(&context);
        }
        context.data_mut().on_tick()
    });
    store
}

/// Bounds what a component has of the host in `store`: bytes of a value, and handles.
pub(crate) fn limit_component(store: &mut Store<CallState>) {
    let bytes = value_bytes(store.data().plugin.limits());
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(MAX_COMPONENT_HANDLES);
}

/// Handles that the instances of a component have together, each to some resource.
const MAX_COMPONENT_HANDLES: usize = 100_000;

/// Starts a call in `store`: deadline, fuel and counters as at the beginning. Without a
/// deadline it is the plugin's timeout after the first tick, which saves a look at the
/// clock and comes up to a tick late. Such a call needs no epoch of its own either: that of
/// a call before comes no later than the next tick.
///
/// # Errors
/// When fuel is limited and the engine does not count it, which is a bug here.
#[inline(always)]
pub(crate) fn begin_call(
    store: &mut Store<CallState>,
    deadline: Option<Instant>,
    fuel: Option<u64>,
    input_bytes: u64,
) -> wasmtime::Result<()> {
    store.data_mut().begin(deadline, input_bytes);
    if deadline.is_some() {
        store.set_epoch_deadline(1);
    }
    match fuel {
        Some(fuel) => store.set_fuel(fuel),
        None => Ok(()),
    }
}
