//! The life of one call: its slot, its instance, its end.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Instant;

use airlock_core::{Error, ErrorKind, LimitKind, Outcome, Permit, Phase, Result, Usage};
use airlock_engine::Allocation;
use tracing::Instrument as _;

use crate::abi::Failure;
use crate::answer::{Answer, Input};
use crate::bounded::bounded;
use crate::cancel::{CallOptions, Cancel};
use crate::prepared::Linked;
use crate::service::net;
use crate::session::Session;
use crate::standing::Looked;
use crate::store::{
    Account, CallState, Instance, Live, after, begin_call, explain, limit_component, new_store,
};
use crate::wasi::{Wasi, WasiInput};

use super::{AliveSession, Plugin};

/// What one call is made of.
pub(super) struct Job<'a> {
    pub(super) function: &'a str,
    pub(super) input: Input,
    pub(super) input_bytes: u64,
    pub(super) awaited: bool,
    /// The permit of the tool that it is made for.
    pub(super) inside: Option<&'a Permit>,
    pub(super) options: Option<&'a CallOptions>,
    /// Whether it is no call of anybody's, and so none to be recorded.
    pub(super) is_ours: bool,
}

impl<'a> Job<'a> {
    /// One that is awaited, of no tool and with nothing special.
    pub(super) fn new(function: &'a str, input: Input) -> Self {
        Job {
            function,
            input_bytes: input.len(),
            input,
            awaited: true,
            inside: None,
            options: None,
            is_ours: false,
        }
    }

    fn cancel(&self) -> Option<&Cancel> {
        self.options.and_then(|options| options.cancel.as_ref())
    }
}

impl Plugin {
    /// One call on an instance of its own.
    pub(super) async fn once(&self, job: Job<'_>, wasi: Option<WasiInput>) -> Result<Outcome<Answer>> {
        pin!(self.once_into(job, wasi, &mut Account::default())).await
    }

    /// The same with an account of what it came to.
    pub(super) async fn once_into(
        &self,
        job: Job<'_>,
        wasi: Option<WasiInput>,
        account: &mut Account,
    ) -> Result<Outcome<Answer>> {
        let (function, span, is_ours) = (job.function, self.span(job.function), job.is_ours);
        let result = {
            // Pinned where it is: it is some kilobytes large, and would be copied with every hand-over.
            let called = pin!(async {
                let started = account.begin();
                let limit = self.limits().time(LimitKind::Timeout);
                let asked = job.options.and_then(|options| options.timeout);
                let own = after(started, asked.map_or(limit, |asked| asked.min(limit)));
                self.admit()?;
                let looked = self.inner().standing().require_paths()?;
                self.check_input(job.input_bytes)?;
                // What a tool calls has the rest of its caller's time, and is within its slot:
                // waiting for one could be waiting for oneself.
                let (deadline, _place) = match job.inside {
                    None => (own, Some(self.place(own, job.cancel()).await?)),
                    Some(permit) => (own.min(permit.deadline()), None),
                };
                self.check_instances()?;
                let allocation = match (&self.inner().pooled, job.inside) {
                    (Some(_), None) => Allocation::Pool,
                    _ => Allocation::OnDemand,
                };
                if job.inside.is_some() {
                    self.on_demand()?;
                }
                let mut live = self.instantiate(allocation, wasi, looked, deadline, &job).await?;
                live.store.data_mut().phase = Phase::Call;
                let cancel = job.options.and_then(|options| options.cancel.as_ref());
                let call = self.adapter().call(&mut live, job.function, job.input);
                let result = bounded(deadline, self.cuts(cancel), call).await;
                if result.as_ref().is_ok_and(Result::is_ok) && !job.is_ours {
                    self.wind_up(&mut live, deadline).await;
                }
                *account = Account::of(&mut live.store, Some(started));
                let answer = self.conclude(&mut live, result)?;
                Ok(self.outcome(answer, &live, account.usage.clone()))
            });
            called.instrument(span).await
        };
        if is_ours {
            return result;
        }
        self.recorded(function, result, |outcome| Some(outcome.usage.clone()), || account.uses.clone())
    }

    /// Has the instance of an answered call clean up, where its ABI's plugins live on from call to call
    /// and this one was for one only. What that comes to makes no difference to the answer.
    async fn wind_up(&self, live: &mut Live, deadline: Instant) {
        if !self.inner().parts.abi.profile().keeps_state {
            return;
        }
        let Some(stop) = self.adapter().stop(live) else { return };
        let stopped = bounded(deadline, self.cuts(None), stop).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!("its clean-up failed");
        }
    }

    pub(crate) async fn open(&self, awaited: bool) -> Result<Session> {
        let span = self.span("session");
        async {
            let deadline = after(Instant::now(), self.limits().time(LimitKind::Timeout));
            let _opening = self.host().running().open()?;
            self.admit()?;
            let looked = self.inner().standing().require_paths()?;
            self.inner().sessions.fetch_add(1, Ordering::SeqCst);
            let alive = AliveSession(self.inner().clone());
            self.check_instances()?;
            self.on_demand()?;
            let job = Job { awaited, ..Job::new("session", Input::Words(Vec::new())) };
            let live = self.instantiate(Allocation::OnDemand, None, looked, deadline, &job).await?;
            Ok(Session::new(self.clone(), live, alive))
        }
        .instrument(span)
        .await
    }

    fn span(&self, function: &str) -> tracing::Span {
        tracing::info_span!("call", plugin = self.name(), digest = %self.digest().short(), abi = %self.abi(), function)
    }

    pub(crate) fn check_input(&self, bytes: u64) -> Result<()> {
        let maximum = self.limits().value(LimitKind::Input);
        if bytes <= maximum {
            return Ok(());
        }
        let phase = Phase::Call;
        Err(Error::new(ErrorKind::Limit { limit: LimitKind::Input, maximum, asked: Some(bytes), phase }))
    }

    /// Refuses one instance too many, the one that was just counted included.
    ///
    /// Fresh calls are counted by their slots. There are seldom enough of those to come near
    /// the limit, and then they need not be looked at.
    fn check_instances(&self) -> Result<()> {
        let maximum = self.limits().value(LimitKind::Instances);
        let (slots, sessions) = (self.host().slots(), self.inner().sessions.load(Ordering::SeqCst));
        if (sessions + slots.len()) as u64 <= maximum
            || (sessions + slots.taken_by(self.inner().id)) as u64 <= maximum
        {
            return Ok(());
        }
        let phase = Phase::Wait;
        Err(Error::new(ErrorKind::Limit { limit: LimitKind::Instances, maximum, asked: None, phase }))
    }

    /// The module or component linked for on-demand instances, which is done when first needed.
    pub(super) fn on_demand(&self) -> Result<()> {
        if self.inner().on_demand.get().is_some() {
            return Ok(());
        }
        let allocation = Allocation::OnDemand;
        let parts = &self.inner().parts;
        let engines = &self.host().0.engines;
        let prepared = match parts.compiled.component(engines, allocation)? {
            Some(component) => parts.prepare_component(&component, allocation)?,
            None => {
                let module = parts.compiled.module(engines, allocation)?;
                let missing = || Error::host("a module without code for on-demand instances");
                parts.prepare(&module.ok_or_else(missing)?, allocation)?
            }
        };
        self.inner().on_demand.get_or_init(|| prepared);
        Ok(())
    }

    /// An instance with its start function, constructors and initialisers run, once.
    async fn instantiate(
        &self,
        allocation: Allocation,
        wasi: Option<WasiInput>,
        looked: Option<Looked>,
        deadline: Instant,
        job: &Job<'_>,
    ) -> Result<Live> {
        let (input_bytes, awaited) = (job.input_bytes, job.awaited);
        let cut = self.cuts(job.cancel());
        let prepared = self.inner().prepared(allocation);
        let prepared = prepared.ok_or_else(|| Error::host("an instance of a module that is not linked"))?;
        let mut wasi = self.adapter().wasi_input(&job.input, wasi);
        if self.inner().inherits() {
            wasi.get_or_insert_with(WasiInput::none).inherits = true;
        }
        let wasi = Wasi::new(wasi, self.inner().stand_ins()).looked_at(looked);
        let mut state = CallState::new(self.0.reference(allocation), wasi, awaited);
        if let Some(permit) = job.inside {
            state.inside(permit.clone());
        }
        state.cancel = job.cancel().cloned();
        state.call_data = job.options.and_then(|options| options.data.clone());
        state.event_depth = job.options.and_then(|options| options.event_depth);
        state.allowed = job
            .options
            .and_then(|options| options.timeout)
            .filter(|asked| *asked < self.limits().time(LimitKind::Timeout));
        let mut store = new_store(prepared.linked.engine(), state);
        let fuel = self.limits().get(LimitKind::Fuel);
        begin_call(&mut store, Some(deadline), fuel, input_bytes).map_err(cannot_arm)?;
        let instance = match (&prepared.linked, awaited) {
            (Linked::Module(pre), true) => {
                let made = bounded(deadline, cut, pin!(pre.instantiate_async(&mut store))).await;
                made.map(|made| made.map(Instance::Module))
            }
            (Linked::Module(pre), false) => Ok(pre.instantiate(&mut store).map(Instance::Module)),
            (Linked::Dependent(dependent), awaited) => {
                let pre = match dependent.link(&mut store) {
                    Ok(pre) => pre,
                    Err(Failure::Known(error)) => return Err(self.failed(error, store.data())),
                    Err(Failure::Wasm(error)) => {
                        let error = explain(error, &mut store);
                        return Err(self.failed(error, store.data()));
                    }
                };
                let made = match awaited {
                    true => bounded(deadline, cut, Box::pin(pre.instantiate_async(&mut store))).await,
                    false => Ok(pre.instantiate(&mut store)),
                };
                made.map(|made| made.map(Instance::Module))
            }
            (Linked::Component(linked), awaited) => {
                limit_component(&mut store);
                if linked.imports {
                    store.data_mut().begin_component();
                    let runtime = net::runtime().map_err(|error| Error::host(error.to_string()))?;
                    // Boxed, so that what modules are made in is no larger for it.
                    let made = Box::pin(net::around(&runtime, linked.pre.instantiate_async(&mut store)));
                    let made = bounded(deadline, cut, made).await;
                    made.map(|made| made.map(|made| Instance::Component(made, Some(runtime.clone()))))
                } else {
                    let made = match awaited {
                        true => {
                            bounded(deadline, cut, Box::pin(linked.pre.instantiate_async(&mut store))).await
                        }
                        false => Ok(linked.pre.instantiate(&mut store)),
                    };
                    made.map(|made| made.map(|made| Instance::Component(made, None)))
                }
            }
        };
        let instance = match instance {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => {
                let error = explain(error, &mut store);
                return Err(self.failed(error, store.data()));
            }
            Err(why) => return Err(self.failed(Error::new(store.data().interrupted(why)), store.data())),
        };
        let mut live = Live::new(store, instance, allocation);
        live.store.data_mut().phase = Phase::Initialise;
        let started = match self.adapter().start(&mut live) {
            Some(start) => Some(bounded(deadline, cut, start).await),
            None => None,
        };
        started.map_or(Ok(()), |started| self.conclude(&mut live, started))?;
        Ok(live)
    }

    /// What a bounded guest call ended with, every error explained.
    pub(crate) fn conclude<T>(
        &self,
        live: &mut Live,
        result: Result<Result<T, Failure>, crate::bounded::Interrupted>,
    ) -> Result<T> {
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Failure::Wasm(error))) => explain(error, &mut live.store),
            Ok(Err(Failure::Known(error))) => error,
            Err(why) => Error::new(live.store.data().interrupted(why)),
        };
        Err(self.failed(error, live.store.data()))
    }

    /// A failed call's error with the plugin's name and what the guest had written.
    pub(crate) fn failed(&self, error: Error, state: &CallState) -> Error {
        tracing::info!(code = error.code(), %error, "failed");
        let error = self.named(error);
        if let Some(dump) = self.inner().core_dump()
            && !matches!(error.kind(), ErrorKind::Trap { .. })
        {
            dump.clear();
        }
        match state.wasi.printed() {
            Some(printed) => error.with_printed(printed),
            None => error,
        }
    }

    /// An error with the plugin's name where it has a place for one.
    pub(crate) fn named(&self, error: Error) -> Error {
        named(error, self.name())
    }

    pub(crate) fn outcome(&self, answer: Answer, live: &Live, usage: Option<Usage>) -> Outcome<Answer> {
        let mut usage = usage.unwrap_or_default();
        if let Answer::Program(program) = &answer {
            usage.output_bytes = live.store.data().wasi.stdout_len().max(program.stdout.len() as u64);
        }
        tracing::info!(
            wall = ?usage.wall, fuel = usage.fuel, memory = usage.memory_bytes,
            host_calls = usage.host_calls, output = usage.output_bytes, "called"
        );
        Outcome::new(answer, usage, live.store.data().wasi.log())
    }
}

/// An error with a plugin's name where it has a place for one.
pub(crate) fn named(error: Error, plugin: &str) -> Error {
    match error.kind() {
        ErrorKind::UnknownFunction { function, nearest, .. } => Error::new(ErrorKind::UnknownFunction {
            plugin: plugin.to_owned(),
            function: function.clone(),
            nearest: nearest.clone(),
        }),
        _ => error,
    }
}

/// The error of a store that cannot be armed, which would be a bug here.
#[cold]
pub(crate) fn cannot_arm(error: wasmtime::Error) -> Error {
    Error::host("cannot arm a call").with_source(error)
}
