//! A loaded plugin, ready to be called.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use airlock_core::{
    AbiId, Digest, Error, ErrorKind, LimitKind, Limits, Manifest, Outcome, Phase, Policy, Request, Result,
};
use airlock_engine::{Allocation, Compiled, ExternType, Origin, Shape, TICK};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;
use wasmtime::{Module, UnknownImportError};

use crate::abi::{self, Abi, Adapter, Failure};
use crate::answer::{Answer, Input, Program};
use crate::bounded::{block_on, bounded};
use crate::func::{Params, Results, signature};
use crate::host::Host;
use crate::session::Session;
use crate::store::{CallState, Live, Prepared, after, begin_call, explain, new_store, usage};
use crate::wasi::{StdinSource, Wasi, WasiInput};

/// Bytes of stack that a blocking call takes from its caller's thread; with a larger limit
/// it gets a stack of its own.
const CALLERS_STACK: u64 = 1 << 20;

/// A loaded plugin. Cheap to clone; all clones are one plugin.
#[derive(Clone)]
pub struct Plugin(Arc<PluginInner>);

pub(crate) struct PluginParts {
    pub(crate) host: Host,
    pub(crate) name: String,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) compiled: Compiled,
    pub(crate) abi: &'static dyn Abi,
    pub(crate) why: String,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) policy: Policy,
    pub(crate) requests: Vec<Request>,
    pub(crate) limits: Limits,
    /// Whether an import may wait, so that the plugin needs a fiber.
    pub(crate) waits: bool,
}

struct PluginInner {
    parts: PluginParts,
    limits: Arc<Limits>,
    policy: Arc<Policy>,
    pooled: Option<Arc<Prepared>>,
    on_demand: OnceLock<Arc<Prepared>>,
    alive: AtomicU64,
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
}

/// An instance that counts as alive until dropped.
struct Alive<'a>(&'a PluginInner);

impl Alive<'_> {
    /// Leaves it to somebody else to count it out.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A session's instance, counted as alive until dropped.
pub(crate) struct AliveSession(Plugin);

impl Drop for AliveSession {
    fn drop(&mut self) {
        drop(Alive(&self.0.0));
    }
}

/// What one call is made of.
struct Job<'a> {
    function: &'a str,
    input: Input,
    input_bytes: u64,
    awaited: bool,
}

impl Plugin {
    pub(crate) fn new(parts: PluginParts) -> Result<Self> {
        let pooled = parts.compiled.module(&parts.host.0.engines, Allocation::Pool)?;
        let pooled = pooled.map(|module| prepare(&parts, &module, Allocation::Pool)).transpose()?;
        let plugin = PluginInner {
            limits: Arc::new(parts.limits.clone()),
            policy: Arc::new(parts.policy.clone()),
            pooled,
            on_demand: OnceLock::new(),
            alive: AtomicU64::new(0),
            parts,
        };
        let plugin = Plugin(Arc::new(plugin));
        if plugin.0.pooled.is_none() {
            // So that a wrong import is an error of loading and not of the first call.
            plugin.on_demand()?;
        }
        Ok(plugin)
    }

    /// The manifest's name, else the file's.
    pub fn name(&self) -> &str {
        &self.0.parts.name
    }

    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.parts.compiled.artifact().digest()
    }

    /// The size of its bytes.
    pub fn size(&self) -> usize {
        self.0.parts.compiled.artifact().bytes().len()
    }

    /// Its bytes, as WebAssembly binary.
    pub fn bytes(&self) -> &[u8] {
        self.0.parts.compiled.artifact().bytes()
    }

    /// How it is called.
    pub fn abi(&self) -> AbiId {
        self.0.parts.abi.id()
    }

    /// Why it is called that way.
    pub fn abi_reason(&self) -> &str {
        &self.0.parts.why
    }

    /// Whether its ABI's plugins keep state between calls, so that a session is its
    /// natural home.
    pub fn keeps_state(&self) -> bool {
        self.0.parts.abi.profile().keeps_state
    }

    /// What its ABI gives every plugin without asking.
    pub fn baseline(&self) -> &'static [airlock_core::CapabilityKind] {
        self.0.parts.abi.profile().baseline
    }

    /// Its manifest, when it came with one.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.0.parts.manifest.as_ref()
    }

    /// What parsing told about it.
    pub fn shape(&self) -> &Shape {
        self.0.parts.compiled.shape()
    }

    /// What it asks for, in its manifest and by what it imports.
    pub fn requests(&self) -> &[Request] {
        &self.0.parts.requests
    }

    /// What it may do.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// What bounds its calls.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The functions that can be called; none for a program.
    pub fn functions(&self) -> &[String] {
        self.0.parts.adapter.functions()
    }

    /// Where its code came from.
    pub fn code_origin(&self) -> Origin {
        self.0.parts.compiled.origin()
    }

    /// How long getting its code took.
    pub fn code_time(&self) -> std::time::Duration {
        self.0.parts.compiled.load_time()
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

    /// Calls a function on a fresh instance.
    ///
    /// # Errors
    /// As [`Plugin::call`].
    pub async fn invoke(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        let input_bytes = input.len();
        self.once(Job { function, input, input_bytes, awaited: true }, None).await
    }

    /// [`Plugin::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::call_blocking`].
    pub fn invoke_blocking(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.refuse_program()?;
        let input_bytes = input.len();
        let awaited = self.needs_fiber()?;
        block_on(self.once(Job { function, input, input_bytes, awaited }, None))
    }

    /// Runs a program (`command` ABI) to its end.
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
        block_on(self.once(job, Some(wasi)))?.try_map(program_of)
    }

    /// Starts an instance that lives across calls.
    ///
    /// # Errors
    /// As [`Plugin::call`], from instantiating and initialising.
    pub async fn session(&self) -> Result<Session> {
        self.refuse_program()?;
        self.open(true).await
    }

    /// [`Plugin::session`] on this thread. Its calls must then be blocking ones too.
    ///
    /// # Errors
    /// As [`Plugin::session`] and [`Plugin::call_blocking`].
    pub fn session_blocking(&self) -> Result<Session> {
        self.refuse_program()?;
        let awaited = self.needs_fiber()?;
        block_on(self.open(awaited))
    }

    fn refuse_program(&self) -> Result<()> {
        match self.abi() {
            AbiId::Command => Err(Error::new(ErrorKind::WrongVerb { abi: AbiId::Command, asked: "called" })),
            _ => Ok(()),
        }
    }

    fn program(&self, input: ProgramInput, awaited: bool) -> Result<(Job<'static>, WasiInput)> {
        if self.abi() != AbiId::Command {
            return Err(Error::new(ErrorKind::WrongVerb { abi: self.abi(), asked: "run as a program" }));
        }
        let stdin = input.stdin.unwrap_or_else(StdinSource::empty);
        let args: Vec<String> = std::iter::once(self.name().to_owned()).chain(input.args).collect();
        if args.iter().any(|arg| arg.contains('\0')) {
            let reason = "an argument holds a NUL byte".to_owned();
            return Err(Error::new(ErrorKind::InvalidSetting { name: "ARGS".to_owned(), reason }));
        }
        let input_bytes = args.iter().map(|arg| arg.len() as u64).sum::<u64>() + stdin.len();
        let job = Job { function: "_start", input: Input::Words(Vec::new()), input_bytes, awaited };
        Ok((job, WasiInput { args, stdin, stdout_is_answer: true }))
    }

    /// Whether a blocking call runs on a fiber: when an import may wait, which it must not
    /// inside tokio, or when the guest may use more stack than the caller's thread is
    /// sure to have.
    pub(crate) fn needs_fiber(&self) -> Result<bool> {
        if self.0.parts.waits && tokio::runtime::Handle::try_current().is_ok() {
            return Err(Error::new(ErrorKind::BlockingInRuntime));
        }
        Ok(self.0.parts.waits || self.0.limits.value(LimitKind::Stack) > CALLERS_STACK)
    }

    /// The deadline of a call that does not look at the clock when it begins: none, unless
    /// it may come before the next tick.
    pub(crate) fn coarse_deadline(&self) -> Option<Instant> {
        let timeout = self.0.limits.time(LimitKind::Timeout);
        (timeout < 2 * TICK).then(|| after(Instant::now(), timeout))
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

    pub(crate) fn host(&self) -> &Host {
        &self.0.parts.host
    }

    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.0.parts.adapter
    }

    /// One call on an instance of its own.
    async fn once(&self, job: Job<'_>, wasi: Option<WasiInput>) -> Result<Outcome<Answer>> {
        let span = self.span(job.function);
        async {
            let started = Instant::now();
            let deadline = after(started, self.0.limits.time(LimitKind::Timeout));
            self.check_input(job.input_bytes)?;
            let _in_flight = self.host().enter()?;
            let _slot = self.host().slot(&self.0.limits, deadline).await?;
            let _alive = self.alive()?;
            let prepared = match &self.0.pooled {
                Some(pooled) => pooled,
                None => self.on_demand()?,
            };
            let mut live = self.instantiate(prepared, wasi, deadline, job.input_bytes, job.awaited).await?;
            live.store.data_mut().phase = Phase::Call;
            let call = self.adapter().call(&mut live, job.function, job.input);
            let result = bounded(deadline, Some(self.host().cut()), call).await;
            let answer = self.conclude(&live, result)?;
            Ok(self.outcome(answer, &live, started))
        }
        .instrument(span)
        .await
    }

    async fn open(&self, awaited: bool) -> Result<Session> {
        let span = self.span("session");
        async {
            let deadline = after(Instant::now(), self.0.limits.time(LimitKind::Timeout));
            let _in_flight = self.host().enter()?;
            self.alive()?.keep();
            let alive = AliveSession(self.clone());
            let prepared = self.on_demand()?;
            let live = self.instantiate(prepared, None, deadline, 0, awaited).await?;
            Ok(Session::new(live, alive, awaited))
        }
        .instrument(span)
        .await
    }

    fn span(&self, function: &str) -> tracing::Span {
        tracing::info_span!("call", plugin = self.name(), digest = %self.digest().short(), abi = %self.abi(), function)
    }

    pub(crate) fn check_input(&self, bytes: u64) -> Result<()> {
        let maximum = self.0.limits.value(LimitKind::Input);
        if bytes <= maximum {
            return Ok(());
        }
        let phase = Phase::Call;
        Err(Error::new(ErrorKind::Limit { limit: LimitKind::Input, maximum, asked: Some(bytes), phase }))
    }

    /// What the manifest lets the linear memory grow to, in bytes.
    pub(crate) fn declared_maximum(&self) -> u64 {
        let pages = self.manifest().and_then(|manifest| manifest.memory.maximum_pages);
        pages.map_or(u64::MAX, |pages| u64::from(pages) << 16)
    }

    fn alive(&self) -> Result<Alive<'_>> {
        let maximum = self.0.limits.value(LimitKind::Instances);
        let alive = Alive(&self.0);
        if self.0.alive.fetch_add(1, Ordering::AcqRel) >= maximum {
            let phase = Phase::Wait;
            return Err(Error::new(ErrorKind::Limit {
                limit: LimitKind::Instances,
                maximum,
                asked: None,
                phase,
            }));
        }
        Ok(alive)
    }

    /// The module linked for on-demand instances, which is done when first needed.
    fn on_demand(&self) -> Result<&Arc<Prepared>> {
        if let Some(prepared) = self.0.on_demand.get() {
            return Ok(prepared);
        }
        let allocation = Allocation::OnDemand;
        let module = self.0.parts.compiled.module(&self.host().0.engines, allocation)?;
        let module = module.ok_or_else(|| Error::host("a module without code for on-demand instances"))?;
        let prepared = prepare(&self.0.parts, &module, allocation)?;
        Ok(self.0.on_demand.get_or_init(|| prepared))
    }

    /// An instance with its start function, constructors and initialisers run, once.
    async fn instantiate(
        &self,
        prepared: &Arc<Prepared>,
        wasi: Option<WasiInput>,
        deadline: Instant,
        input_bytes: u64,
        awaited: bool,
    ) -> Result<Live> {
        let cut = Some(self.host().cut());
        let state = CallState::new(self.clone(), Wasi::new(wasi), awaited);
        let mut store = new_store(prepared.pre.module().engine(), state);
        begin_call(&mut store, Some(deadline), input_bytes).map_err(cannot_arm)?;
        let instance = match awaited {
            true => bounded(deadline, cut, prepared.pre.instantiate_async(&mut store)).await,
            false => Ok(prepared.pre.instantiate(&mut store)),
        };
        let instance = match instance {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(self.failed(explain(error, store.data()), store.data())),
            Err(why) => return Err(self.failed(Error::new(store.data().interrupted(why)), store.data())),
        };
        let mut live = Live::new(store, instance, prepared.clone());
        live.store.data_mut().phase = Phase::Initialise;
        let started = match self.adapter().start(&mut live) {
            Some(start) => Some(bounded(deadline, cut, start).await),
            None => None,
        };
        started.map_or(Ok(()), |started| self.conclude(&live, started))?;
        Ok(live)
    }

    /// What a bounded guest call ended with, every error explained.
    pub(crate) fn conclude<T>(
        &self,
        live: &Live,
        result: Result<Result<T, Failure>, crate::bounded::Interrupted>,
    ) -> Result<T> {
        let state = live.store.data();
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Failure::Wasm(error))) => explain(error, state),
            Ok(Err(Failure::Known(error))) => error,
            Err(why) => Error::new(state.interrupted(why)),
        };
        Err(self.failed(error, state))
    }

    /// A failed call's error with the plugin's name and what the guest had written.
    pub(crate) fn failed(&self, error: Error, state: &CallState) -> Error {
        tracing::info!(code = error.code(), %error, "failed");
        let error = self.named(error);
        match state.wasi.printed() {
            Some(printed) => error.with_printed(printed),
            None => error,
        }
    }

    /// An error with the plugin's name where it has a place for one.
    fn named(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::UnknownFunction { function, nearest, .. } => Error::new(ErrorKind::UnknownFunction {
                plugin: self.name().to_owned(),
                function: function.clone(),
                nearest: nearest.clone(),
            }),
            _ => error,
        }
    }

    pub(crate) fn outcome(&self, answer: Answer, live: &Live, started: Instant) -> Outcome<Answer> {
        let mut usage = usage(&live.store, Some(started));
        if let Answer::Program(program) = &answer {
            usage.output_bytes = program.stdout.len() as u64;
        }
        tracing::info!(
            wall = ?usage.wall, fuel = usage.fuel, memory = usage.memory_bytes,
            host_calls = usage.host_calls, output = usage.output_bytes, "called"
        );
        Outcome::new(answer, usage, live.store.data().wasi.log())
    }
}

/// The error of a store that cannot be armed, which would be a bug here.
pub(crate) fn cannot_arm(error: wasmtime::Error) -> Error {
    Error::host("cannot arm a call").with_source(error)
}

fn program_of(answer: Answer) -> Result<Program> {
    match answer {
        Answer::Program(program) => Ok(program),
        _ => Err(Error::host("a program that answered with something else")),
    }
}

fn prepare(parts: &PluginParts, module: &Module, allocation: Allocation) -> Result<Arc<Prepared>> {
    let linker = parts.host.linker(parts.abi, parts.compiled.key(), allocation)?;
    tracing::debug!(imports = parts.compiled.shape().imports.len(), ?allocation, "link");
    let pre = linker.instantiate_pre(module).map_err(|error| import_error(&error, parts.compiled.shape()))?;
    let exports = module
        .exports()
        .filter_map(|export| Some((export.name().to_owned(), module.get_export_index(export.name())?)))
        .collect();
    let memory64 =
        matches!(parts.compiled.shape().export("memory"), Some(ExternType::Memory { memory64: true, .. }));
    Ok(Arc::new(Prepared { pre, exports, memory64 }))
}

/// Which import could not be provided, and whose it is.
fn import_error(error: &wasmtime::Error, shape: &Shape) -> Error {
    if let Some(unknown) = error.downcast_ref::<UnknownImportError>() {
        let (module, name) = (unknown.module().to_owned(), unknown.name().to_owned());
        let belongs_to = abi::owner_of(&module, &name);
        return Error::new(ErrorKind::UnknownImport { module, name, belongs_to });
    }
    let text = error.to_string();
    let named =
        shape.imports.iter().find(|import| text.contains(&format!("`{}::{}`", import.module, import.name)));
    match named {
        Some(import) => Error::new(ErrorKind::IncompatibleImport {
            module: import.module.clone(),
            name: import.name.clone(),
            reason: format!("the module imports a {}", import.ty),
        }),
        None => Error::host("cannot link the module").with_source(std::io::Error::other(text)),
    }
}
