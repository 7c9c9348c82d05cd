//! A loaded plugin, ready to be called.

mod calling;

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use airlock_core::{
    AbiId, Capability, Digest, Error, ErrorKind, HttpRequest, Identity, LimitKind, Limits, Manifest, Outcome,
    Permit, Policy, Request, Result,
};
use airlock_engine::{Allocation, Compiled, Lines, Origin, Shape, Ticker};
use crossbeam_utils::CachePadded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::Module;
use wasmtime::component::Component;

use crate::abi::sen::{self, ExecuteResult};
use crate::abi::{self, Abi, Adapter};
use crate::answer::{Answer, Input, Program};
use crate::bounded::block_on;
use crate::cancel::{CallOptions, Cancel, Cuts};
use crate::console::{Audience, Console};
use crate::core_dump::CoreDump;
use crate::func::{Params, Results, signature};
use crate::host::Host;
use crate::inbox::Inbox;
use crate::prepared::Prepared;
use crate::sampler::{Samples, Sampling};
use crate::session::{Manner, Session};
use crate::slots::{Crowd, Patience, SHARDS, Slot, shard};
use crate::standing::Standing;
use crate::store::Account;
use crate::wasi::{StandIns, StdinSource, WasiInput};

use self::calling::Job;
pub(crate) use self::calling::{cannot_arm, named};

/// Bytes of stack that a blocking call takes from its caller's thread; with a larger limit
/// it gets a stack of its own.
const CALLERS_STACK: u64 = 1 << 20;

/// A loaded plugin. Cheap to clone; all clones are one plugin.
#[derive(Clone)]
pub struct Plugin(Arc<Shared>);

/// What all clones of a plugin share.
struct Shared {
    inner: Arc<PluginInner>,
    /// A reference for sessions to hold.
    reference: Reference,
    /// References for fresh calls to hold, so that calls on different threads count different
    /// ones. Two kilobytes, which a plugin that is called in sessions only does without.
    references: OnceLock<Box<[CachePadded<Reference>; SHARDS]>>,
}

impl Shared {
    /// A reference for a call of this kind.
    fn reference(&self, allocation: Allocation) -> Reference {
        match allocation {
            Allocation::OnDemand => self.reference.clone(),
            Allocation::Pool => {
                let own =
                    || Box::new(std::array::from_fn(|_| CachePadded::new(Arc::new(self.inner.clone()))));
                (*self.references.get_or_init(own)[shard()]).clone()
            }
        }
    }
}

/// A plugin that may be gone.
pub(crate) struct WeakPlugin(Weak<PluginInner>);

impl WeakPlugin {
    /// Whether some call or somebody else has it.
    pub(crate) fn lives(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// As [`Plugin::retire`].
    pub(crate) fn retire(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.retire();
        }
    }
}

/// What a call holds of its plugin.
pub(crate) type Reference = Arc<Arc<PluginInner>>;

pub(crate) struct PluginParts {
    pub(crate) host: Host,
    pub(crate) name: String,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) compiled: Compiled,
    pub(crate) abi: &'static dyn Abi,
    pub(crate) why: String,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) standing: Standing,
    pub(crate) requests: Vec<Request>,
    pub(crate) limits: Arc<Limits>,
    /// Whether an import may wait, so that the plugin needs a fiber.
    pub(crate) waits: bool,
    /// Whether its standard streams are this process's.
    pub(crate) inherits: bool,
    pub(crate) keeps_state: bool,
    pub(crate) stand_ins: StandIns,
    /// Where a trap leaves its core dump.
    pub(crate) core_dump: Option<CoreDump>,
    /// What looks at its stack while it runs.
    pub(crate) sampling: Option<Sampling>,
}

impl PluginParts {
    /// The module linked for instances of this allocation.
    fn prepare(&self, module: &Module, allocation: Allocation) -> Result<Arc<Prepared>> {
        self.host.prepare(module, &self.compiled, self.abi, allocation)
    }

    /// The component linked for instances of this allocation.
    fn prepare_component(&self, component: &Component, allocation: Allocation) -> Result<Arc<Prepared>> {
        self.host.prepare_component(component, &self.compiled, self.abi, allocation)
    }
}

/// A loaded plugin, for its calls.
pub(crate) struct PluginInner {
    parts: Arc<PluginParts>,
    pooled: Option<Arc<Prepared>>,
    on_demand: OnceLock<Arc<Prepared>>,
    /// Its fresh calls that may begin, where they are fewer than the host's slots.
    turns: Option<Semaphore>,
    /// Its calls that wait.
    waiting: Crowd,
    /// Sessions that live.
    sessions: AtomicUsize,
    /// Tells its slots from other plugins'.
    id: NonZeroUsize,
    /// Who it is to the services.
    caller: Arc<Identity>,
    /// Raised when all its calls have to end.
    retired: AtomicBool,
    /// Where events for it wait, where somebody hands them over.
    inbox: OnceLock<Arc<Inbox>>,
}

impl Drop for PluginInner {
    fn drop(&mut self) {
        self.parts.host.0.loaded.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PluginInner {
    pub(crate) fn host(&self) -> &Host {
        &self.parts.host
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    /// What ends a call of it that `call` can end.
    #[inline]
    pub(crate) fn cuts<'a>(&'a self, call: Option<&'a Cancel>) -> Cuts<'a> {
        Cuts::new(self.host().cut(), &self.retired, call)
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        Ticker::wake_all();
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.parts.name
    }

    /// Where its code comes from.
    pub(crate) fn lines(&self) -> &Lines {
        self.parts.compiled.lines()
    }

    /// Where a trap leaves its core dump.
    pub(crate) fn core_dump(&self) -> Option<&CoreDump> {
        self.parts.core_dump.as_ref()
    }

    /// What looks at its stack while it runs.
    pub(crate) fn sampling(&self) -> Option<&Sampling> {
        self.parts.sampling.as_ref()
    }

    /// What it came with beside its bytes.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.parts.manifest.as_ref()
    }

    /// A request as its manifest's list of URLs lets it be made; none where that does not.
    pub(crate) fn within_its_list(&self, request: HttpRequest) -> Option<HttpRequest> {
        match self.manifest().and_then(|manifest| manifest.prx.as_ref()) {
            Some(prx) => prx.narrowed(request),
            None => Some(request),
        }
    }

    /// Who it is to the services, and what bounds it there.
    pub(crate) fn caller(&self) -> (Arc<Identity>, Arc<Limits>) {
        (self.caller.clone(), self.parts.limits.clone())
    }

    /// Where its virtual clock and its seeded numbers begin.
    pub(crate) fn stand_ins(&self) -> StandIns {
        self.parts.stand_ins
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.caller
    }

    /// What parsing told about it.
    pub(crate) fn shape(&self) -> &Shape {
        self.parts.compiled.shape()
    }

    /// Whether its standard streams are this process's.
    pub(crate) fn inherits(&self) -> bool {
        self.parts.inherits
    }

    /// Where events for it wait, where somebody hands them over.
    pub(crate) fn inbox(&self) -> Option<&Inbox> {
        self.inbox.get().map(Arc::as_ref)
    }

    /// What its manifest has for a key of its configuration.
    pub(crate) fn default_of(&self, key: &str) -> Option<String> {
        self.parts.manifest.as_ref()?.config.get(key).cloned()
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.parts.standing
    }

    /// What the manifest lets the linear memory grow to, in bytes.
    pub(crate) fn declared_maximum(&self) -> u64 {
        let pages = self.parts.manifest.as_ref().and_then(|manifest| manifest.memory.maximum_pages);
        pages.map_or(u64::MAX, |pages| u64::from(pages) << 16)
    }

    /// The module linked for instances of this allocation, which is there once one was made.
    pub(crate) fn prepared(&self, allocation: Allocation) -> Option<&Prepared> {
        match allocation {
            Allocation::Pool => self.pooled.as_deref(),
            Allocation::OnDemand => self.on_demand.get().map(Arc::as_ref),
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name()).field("abi", &self.abi()).finish_non_exhaustive()
    }
}

/// How a program is run.
#[derive(Debug, Default)]
pub struct ProgramInput {
    args: Vec<String>,
    stdin: Option<StdinSource>,
    console: Option<Arc<dyn Console>>,
    reads_messages: bool,
}

impl ProgramInput {
    /// No arguments and empty input.
    pub fn new() -> Self {
        ProgramInput::default()
    }

    /// Adds arguments. The program's own name comes before them by itself.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: StdinSource) -> Self {
        self.stdin = Some(stdin);
        self
    }

    /// Has a person see what the program shows, as it comes, and be asked. What was shown is not
    /// kept for the end.
    #[must_use]
    pub fn console(mut self, console: Arc<dyn Console>) -> Self {
        self.console = Some(console);
        self
    }

    /// Takes lines that a `fledge` plugin prints for messages where they are some, whatever its
    /// manifest says; answers come over standard input.
    #[must_use]
    pub fn stdout_protocol(mut self, reads: bool) -> Self {
        self.reads_messages = reads;
        self
    }
}

/// A session's instance, counted until dropped.
pub(crate) struct AliveSession(Arc<PluginInner>);

impl Drop for AliveSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Plugin {
    pub(crate) fn new(parts: PluginParts) -> Result<Self> {
        let (engines, pool) = (&parts.host.0.engines, Allocation::Pool);
        let pooled = match parts.compiled.module(engines, pool)? {
            Some(module) => Some(parts.prepare(&module, pool)?),
            None => {
                let component = parts.compiled.component(engines, pool)?;
                component.map(|component| parts.prepare_component(&component, pool)).transpose()?
            }
        };
        let plugin = Plugin::of(Arc::new(parts), pooled, None);
        if plugin.inner().pooled.is_none() {
            // So that a wrong import is an error of loading and not of the first call.
            plugin.on_demand()?;
        }
        Ok(plugin)
    }

    fn of(parts: Arc<PluginParts>, pooled: Option<Arc<Prepared>>, on_demand: Option<Arc<Prepared>>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let digest = parts.compiled.artifact().digest();
        parts.host.0.loaded.alive.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::new(PluginInner {
            pooled,
            on_demand: on_demand.map_or_else(OnceLock::new, OnceLock::from),
            turns: turns(parts.limits.value(LimitKind::Concurrency), parts.host.slots().len()),
            waiting: Crowd::default(),
            sessions: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            inbox: OnceLock::new(),
            caller: Arc::new(Identity { name: parts.name.clone(), digest }),
            id: NonZeroUsize::new(COUNT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroUsize::MIN),
            parts,
        });
        let reference = Arc::new(inner.clone());
        Plugin(Arc::new(Shared { inner, reference, references: OnceLock::new() }))
    }

    /// The same plugin as one of its own: with its own sessions, calls and end.
    pub(crate) fn again(&self) -> Self {
        let inner = self.inner();
        Plugin::of(inner.parts.clone(), inner.pooled.clone(), inner.on_demand.get().cloned())
    }

    fn inner(&self) -> &Arc<PluginInner> {
        &self.0.inner
    }

    /// The name it was loaded by, else the manifest's, else the file's.
    pub fn name(&self) -> &str {
        &self.0.inner.parts.name
    }

    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.inner.parts.compiled.artifact().digest()
    }

    /// The size of its bytes.
    pub fn size(&self) -> usize {
        self.0.inner.parts.compiled.artifact().bytes().len()
    }

    /// Its bytes, as WebAssembly binary.
    pub fn bytes(&self) -> &[u8] {
        self.0.inner.parts.compiled.artifact().bytes()
    }

    /// How it is called.
    pub fn abi(&self) -> AbiId {
        self.0.inner.parts.abi.id()
    }

    /// Why it is called that way.
    pub fn abi_reason(&self) -> &str {
        &self.0.inner.parts.why
    }

    /// Whether it keeps state between calls, so that a session is its natural home: as its ABI's
    /// plugins do, unless its load said otherwise.
    pub fn keeps_state(&self) -> bool {
        self.0.inner.parts.keeps_state
    }

    /// What its ABI gives every plugin without asking.
    pub fn baseline(&self) -> &'static [airlock_core::CapabilityKind] {
        self.0.inner.parts.abi.profile().baseline
    }

    /// Its manifest, when it came with one.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.0.inner.parts.manifest.as_ref()
    }

    /// The schema in JSON Schema of what a component's function is called with and what it answers with:
    /// of an object with `params`, `result` and, where it can fail, `error`.
    ///
    /// # Errors
    /// As [`Examined::schema`](crate::Examined::schema).
    pub fn schema(&self, function: &str) -> Result<serde_json::Value> {
        crate::load::schema_of(self.shape(), self.manifest(), function).map_err(|error| self.named(error))
    }

    /// What parsing told about it.
    pub fn shape(&self) -> &Shape {
        self.0.inner.parts.compiled.shape()
    }

    /// What it asks for, in its manifest and by what it imports.
    pub fn requests(&self) -> &[Request] {
        &self.0.inner.parts.requests
    }

    /// What it may do now.
    pub fn policy(&self) -> Arc<Policy> {
        self.inner().standing().policy()
    }

    /// What bounds its calls.
    pub fn limits(&self) -> &Limits {
        self.inner().limits()
    }

    /// What a sampler that it was loaded with has seen since it was last asked. `None` where it was
    /// loaded without one.
    pub fn samples(&self) -> Option<Samples> {
        let inner = self.inner();
        Some(inner.sampling()?.take(inner.lines()))
    }

    /// The functions that can be called; none for a program.
    pub fn functions(&self) -> &[String] {
        self.0.inner.parts.adapter.functions()
    }

    /// Where its code came from.
    pub fn code_origin(&self) -> Origin {
        self.0.inner.parts.compiled.origin()
    }

    /// How long getting its code took.
    pub fn code_time(&self) -> std::time::Duration {
        self.0.inner.parts.compiled.load_time()
    }

    /// Calls a function on a fresh instance, with a Rust value in and one out.
    ///
    /// A `json` plugin gets `input` as JSON. A `raw` function gets its numbers from a
    /// tuple or array, one number, or `()`, and gives one number, a tuple, or `()`.
    ///
    /// # Errors
    /// Every way a call can fail; see [`ErrorKind`].
    pub async fn call<T, R>(&self, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.invoke(function, Input::json(input)?).await?.try_map(|answer| answer.parse(function))
    }

    /// [`Plugin::call`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::call`]; [`ErrorKind::BlockingInRuntime`] inside a tokio runtime when
    /// an import of the plugin may wait.
    pub fn call_blocking<T, R>(&self, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.invoke_blocking(function, Input::json(input)?)?.try_map(|answer| answer.parse(function))
    }

    /// Files and folders that it may use, and that are not there or not what they were granted
    /// as, each with why: it runs without them.
    pub fn left_out(&self) -> Vec<(Capability, String)> {
        let standing = self.inner().standing();
        standing.plan(&standing.decided()).left_out.clone()
    }

    /// Calls a function on a fresh instance.
    ///
    /// # Errors
    /// As [`Plugin::call`].
    pub async fn invoke(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        self.once(Job::new(function, input), None).await
    }

    /// Calls a function on a fresh instance, with a time or a handle of its own.
    ///
    /// # Errors
    /// As [`Plugin::call`]; [`ErrorKind::Cancelled`] when the handle ended it.
    pub async fn invoke_with(
        &self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        self.once(Job { options: Some(options), ..Job::new(function, input) }, None).await
    }

    /// [`Plugin::invoke_with`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::invoke_with`] and [`Plugin::call_blocking`].
    pub fn invoke_blocking_with(
        &self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        let awaited = self.needs_fiber()?;
        let job = Job { awaited, options: Some(options), ..Job::new(function, input) };
        block_on(pin!(self.once(job, None)))
    }

    /// Calls a function for a tool that was called with this permit: within the rest of its
    /// caller's time, and inside of the same tools.
    ///
    /// # Errors
    /// As [`Plugin::call`].
    pub async fn invoke_within(
        &self,
        permit: &Permit,
        function: &str,
        input: Input,
    ) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        self.once(Job { inside: Some(permit), ..Job::new(function, input) }, None).await
    }

    /// [`Plugin::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::call_blocking`].
    pub fn invoke_blocking(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        let awaited = self.needs_fiber()?;
        block_on(pin!(self.once(Job { awaited, ..Job::new(function, input) }, None)))
    }

    /// A call of a managed plugin, with an account of what it came to.
    pub(crate) async fn invoke_into(
        &self,
        function: &str,
        input: Input,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        let Manner { awaited, options, inside } = manner;
        let job = Job { awaited, inside, options: Some(options), ..Job::new(function, input) };
        // Pinned where it is: it is some kilobytes large, and would be copied to be awaited.
        pin!(self.once_into(job, None, account)).await
    }

    /// The same for a program.
    pub(crate) async fn run_into(
        &self,
        input: ProgramInput,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Result<Outcome<Program>> {
        let (job, wasi) = self.program(input, manner.awaited)?;
        let job = Job { options: Some(manner.options), ..job };
        self.once_into(job, Some(wasi), account).await?.try_map(program_of)
    }

    /// Runs a program to its end: one of the `command` or the `fledge` ABI, or a `sen` plugin, whose
    /// text is what it prints last.
    ///
    /// # Errors
    /// [`ErrorKind::WrongVerb`] for another ABI; every way a call can fail. A program that
    /// leaves with a code other than 0 is no error.
    pub async fn run(&self, input: ProgramInput) -> Result<Outcome<Program>> {
        let (job, wasi) = self.program(input, true)?;
        self.once(job, Some(wasi)).await?.try_map(program_of)
    }

    /// [`Plugin::run`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::run`] and [`Plugin::call_blocking`].
    pub fn run_blocking(&self, input: ProgramInput) -> Result<Outcome<Program>> {
        let (job, wasi) = self.program(input, self.needs_fiber()?)?;
        block_on(pin!(self.once(job, Some(wasi))))?.try_map(program_of)
    }

    /// Executes a `sen` plugin with these values, to its end: what it wants done on the way is
    /// done under its capabilities.
    ///
    /// # Errors
    /// [`ErrorKind::WrongVerb`] for another ABI; every way a call can fail. That the plugin
    /// itself says that it failed is no error.
    pub async fn execute(&self, args: &[impl AsRef<str> + Sync]) -> Result<Outcome<ExecuteResult>> {
        self.once(self.execution(args, true)?, None).await?.try_map(executed)
    }

    /// [`Plugin::execute`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::execute`] and [`Plugin::call_blocking`].
    pub fn execute_blocking(&self, args: &[impl AsRef<str>]) -> Result<Outcome<ExecuteResult>> {
        let job = self.execution(args, self.needs_fiber()?)?;
        block_on(pin!(self.once(job, None)))?.try_map(executed)
    }

    fn execution<'a>(&self, args: &[impl AsRef<str>], awaited: bool) -> Result<Job<'a>> {
        Ok(Job { awaited, ..Job::new(sen::EXECUTE, self.execution_input(args)?) })
    }

    pub(crate) fn execution_input(&self, args: &[impl AsRef<str>]) -> Result<Input> {
        match self.abi() {
            AbiId::Sen => Ok(Input::Words(args.iter().map(|arg| arg.as_ref().to_owned()).collect())),
            other => Err(Error::new(ErrorKind::WrongVerb { abi: other, asked: "executed" })),
        }
    }

    /// Starts an instance that lives across calls.
    ///
    /// # Errors
    /// As [`Plugin::call`], from instantiating and initialising.
    pub async fn session(&self) -> Result<Session> {
        self.refuse_program()?;
        self.open(true).await
    }

    /// [`Plugin::session`] on this thread.
    ///
    /// # Errors
    /// As [`Plugin::session`] and [`Plugin::call_blocking`].
    pub fn session_blocking(&self) -> Result<Session> {
        self.refuse_program()?;
        let awaited = self.needs_fiber()?;
        block_on(pin!(self.open(awaited)))
    }

    fn refuse_program(&self) -> Result<()> {
        match self.abi() {
            // A component can be a program and have functions beside that.
            abi if abi.is_program() && self.functions().is_empty() => {
                Err(Error::new(ErrorKind::WrongVerb { abi, asked: "called" }))
            }
            _ => Ok(()),
        }
    }

    /// The function that is called when it is run as a program.
    pub(crate) fn program_function(&self) -> &'static str {
        match self.abi() {
            AbiId::Sen => sen::EXECUTE,
            _ => "_start",
        }
    }

    fn program<'a>(&self, input: ProgramInput, awaited: bool) -> Result<(Job<'a>, WasiInput)> {
        let stdin = input.stdin.unwrap_or_else(StdinSource::empty);
        let (values, args): (_, Vec<String>) = match self.abi() {
            // A component has no messages to be told its arguments by.
            abi if abi == AbiId::Command || (abi == AbiId::Fledge && self.shape().is_component) => {
                (Vec::new(), std::iter::once(self.name().to_owned()).chain(input.args).collect())
            }
            AbiId::Sen => (input.args.clone(), input.args),
            // It is told its arguments, and is started without any.
            AbiId::Fledge => (input.args, Vec::new()),
            other => return Err(Error::new(ErrorKind::WrongVerb { abi: other, asked: "run as a program" })),
        };
        if input.reads_messages && self.shape().is_component {
            let reason = "it is a component, whose output is not read for messages".to_owned();
            return Err(Error::new(ErrorKind::AbiMismatch { abi: self.abi(), reason }));
        }
        if args.iter().chain(&values).any(|arg| arg.contains('\0')) {
            let reason = "an argument holds a NUL byte".to_owned();
            return Err(Error::new(ErrorKind::InvalidSetting { name: "ARGS".to_owned(), reason }));
        }
        let told = if args.is_empty() { &values } else { &args };
        let input_bytes = told.iter().map(|arg| arg.len() as u64).sum::<u64>() + stdin.len();
        let audience = input.console.map(|console| Audience { console, plugin: self.name().into() });
        let job = Job { input_bytes, awaited, ..Job::new(self.program_function(), Input::Words(values)) };
        Ok((
            job,
            WasiInput {
                args,
                stdin,
                is_program: true,
                audience,
                reads_messages: input.reads_messages,
                ..WasiInput::none()
            },
        ))
    }

    /// Whether a blocking call runs on a fiber: when an import may wait, which it must not
    /// inside tokio, or when the guest may use more stack than the caller's thread is
    /// sure to have.
    pub(crate) fn needs_fiber(&self) -> Result<bool> {
        if self.0.inner.parts.waits && tokio::runtime::Handle::try_current().is_ok() {
            return Err(Error::new(ErrorKind::BlockingInRuntime));
        }
        Ok(self.is_better_on_a_fiber())
    }

    fn is_better_on_a_fiber(&self) -> bool {
        self.0.inner.parts.waits || self.limits().value(LimitKind::Stack) > CALLERS_STACK
    }

    /// Has it say something of itself, which is no call of anybody's.
    pub(crate) async fn ask(&self, function: &str, wasi: WasiInput) -> Result<Outcome<Answer>> {
        let awaited = self.is_better_on_a_fiber();
        let job = Job { awaited, is_ours: true, ..Job::new(function, Input::Words(Vec::new())) };
        pin!(self.once(job, Some(wasi))).await
    }

    /// The error for an export that is not there with these types.
    #[cold]
    pub(crate) fn no_such_function<P: Params, R: Results>(&self, name: &str) -> Error {
        match self.shape().export(name) {
            Some(ty) => Error::new(ErrorKind::UnsuitableExport {
                export: name.to_owned(),
                reason: format!("it is a {ty}, not a func {}", signature::<P, R>()),
            }),
            None => self.named(abi::unknown_function(self.shape(), name, self.functions())),
        }
    }

    /// What ends a call of it that `call` can end.
    #[inline]
    pub(crate) fn cuts<'a>(&'a self, call: Option<&'a Cancel>) -> Cuts<'a> {
        self.inner().cuts(call)
    }

    /// Waits until a fresh call may begin: behind the plugin's others, where as many run as may,
    /// and then behind other plugins', where no slot of the host's is free.
    async fn place(&self, deadline: Instant, cancel: Option<&Cancel>) -> Result<PlaceTaken<'_>> {
        let inner = self.inner();
        let turn = inner.turns.as_ref().map(Semaphore::try_acquire);
        if let None | Some(Ok(_)) = turn
            && let Some(slot) = self.host().free_slot(inner.id)
        {
            return Ok(PlaceTaken { _slot: slot?, _turn: turn.and_then(Result::ok) });
        }
        let cut = self.cuts(cancel);
        let patience = Patience::new(self.limits(), deadline);
        let _waiting = inner.waiting.join(self.limits())?;
        let turn = match (turn, &inner.turns) {
            (Some(Err(_)), Some(turns)) => patience.wait(cut, turns.acquire()).await?.ok(),
            (turn, _) => turn.and_then(Result::ok),
        };
        Ok(PlaceTaken { _slot: self.host().slot(inner.id, &patience, cut).await?, _turn: turn })
    }

    /// Its calls that wait, of any kind.
    pub(crate) fn waiting(&self) -> &Crowd {
        &self.inner().waiting
    }

    /// Whether a fresh call of it runs.
    pub(crate) fn runs_fresh(&self) -> bool {
        self.host().slots().taken_by(self.inner().id) > 0
    }

    /// Who it is to the services, the same for all its calls.
    pub(crate) fn caller(&self) -> &Arc<Identity> {
        &self.inner().caller
    }

    /// Has events wait for it here, from the first of its calls on.
    pub(crate) fn set_inbox(&self, inbox: Arc<Inbox>) {
        // A managed plugin is one of its own, and is given one once.
        let _ = self.inner().inbox.set(inbox);
    }

    /// Ends all its calls, and refuses those that are begun later.
    pub(crate) fn retire(&self) {
        self.inner().retire();
    }

    pub(crate) fn downgrade(&self) -> WeakPlugin {
        WeakPlugin(Arc::downgrade(self.inner()))
    }

    /// Whether its policy can change while it is loaded.
    pub(crate) fn follows_grants(&self) -> bool {
        self.inner().standing().follows()
    }

    /// Whether it may be called at all.
    #[inline]
    pub(crate) fn admit(&self) -> Result<()> {
        match self.inner().retired.load(Ordering::Relaxed) {
            false => self.inner().standing().admit(),
            true => Err(self.is_retired()),
        }
    }

    #[cold]
    fn is_retired(&self) -> Error {
        Error::new(ErrorKind::NotLoaded { name: self.name().to_owned(), nearest: Vec::new() })
    }

    pub(crate) fn host(&self) -> &Host {
        &self.0.inner.parts.host
    }

    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.0.inner.parts.adapter
    }
}

/// A call's place among those that run, given back when dropped: its slot first.
struct PlaceTaken<'a> {
    _slot: Slot<'a>,
    _turn: Option<SemaphorePermit<'a>>,
}

/// What keeps a plugin's fresh calls to so many, where the host's slots do not.
fn turns(concurrency: u64, slots: usize) -> Option<Semaphore> {
    let turns = usize::try_from(concurrency).ok().filter(|turns| *turns < slots)?;
    Some(Semaphore::new(turns.max(1)))
}

pub(crate) fn executed(answer: Answer) -> Result<ExecuteResult> {
    match answer {
        Answer::Executed(result) => Ok(result),
        _ => Err(Error::host("an execution that answered with something else")),
    }
}

fn program_of(answer: Answer) -> Result<Program> {
    match answer {
        Answer::Program(program) => Ok(program),
        _ => Err(Error::host("a program that answered with something else")),
    }
}
