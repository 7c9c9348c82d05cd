//! From a source to a plugin: read, checked, compiled, linked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use airlock_core::{
    AbiId, Capability, CapabilityKind, Ceiling, Error, ErrorKind, Identity, LimitKind, Limits, Manifest,
    Overrides, Place, Policy, Request, Result, Risk, Scope,
};
use airlock_engine::{Allocation, Artifact, Compiled, EngineKey, Feature, Shape};
use tokio::sync::oneshot;

use crate::abi::{self, Abi, Adapter, Describer, Gap};
use crate::core_dump::CoreDump;
use crate::host::Host;
use crate::plugin::{Plugin, PluginParts, named};
use crate::requests::{requests, uses};
use crate::sampler::{Sampler, Sampling};
use crate::service::exec;
use crate::source::{self, Source};
use crate::standing::{Followed, Ground, Standing};
use crate::wasi::{PathRules, StandIns};

/// How a plugin is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    abi: Option<AbiId>,
    wat: bool,
    name: Option<String>,
    limits: Overrides,
    allow: Vec<Capability>,
    allow_requested: bool,
    ceiling: Ceiling,
    working: Option<PathBuf>,
    is_project: bool,
    own: Option<PathBuf>,
    paths: PathRules,
    inherits: bool,
    keeps_state: Option<bool>,
    deterministic: bool,
    trusted: bool,
    stand_ins: StandIns,
    core_dump: Option<CoreDump>,
    sampler: Option<Sampler>,
    features: Vec<Feature>,
}

impl LoadOptions {
    /// Nothing special.
    pub fn new() -> Self {
        LoadOptions::default()
    }

    /// Calls the plugin this way, whatever it looks like.
    #[must_use]
    pub fn abi(mut self, abi: AbiId) -> Self {
        self.abi = Some(abi);
        self
    }

    /// Accepts WebAssembly text. A path that ends in `.wat` needs no such leave.
    #[must_use]
    pub fn wat(mut self, accept: bool) -> Self {
        self.wat = accept;
        self
    }

    /// Knows the plugin by this name: in errors and traces, and for what is kept and configured
    /// for it. Without one it has its manifest's, which can be any.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a limit, in its unit.
    #[must_use]
    pub fn limit(mut self, kind: LimitKind, value: u64) -> Self {
        self.limits.insert(kind, value);
        self
    }

    /// Sets limits.
    #[must_use]
    pub fn limits(mut self, limits: &Overrides) -> Self {
        self.limits.extend(limits);
        self
    }

    /// Grants a capability, as far as the plugin asks for it.
    #[must_use]
    pub fn allow(mut self, capability: Capability) -> Self {
        self.allow.push(capability);
        self
    }

    /// Grants whatever the plugin's manifest asks for, and of what its imports imply that
    /// which gives nothing away. Right for a plugin one has written oneself.
    #[must_use]
    pub fn allow_all_requested(mut self) -> Self {
        self.allow_requested = true;
        self
    }

    /// Denies a capability, whatever is granted, the ABI's baseline included.
    #[must_use]
    pub fn deny(mut self, capability: Capability) -> Self {
        self.ceiling = self.ceiling.deny([capability]);
        self
    }

    /// Bounds what the plugin can have, whatever is granted. All ceilings that are set hold.
    #[must_use]
    pub fn ceiling(mut self, ceiling: Ceiling) -> Self {
        self.ceiling = self.ceiling.and(ceiling);
        self
    }

    /// The folder that relative paths of capabilities begin in: this process's own where not
    /// said.
    #[must_use]
    pub fn working_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.working = Some(folder.into());
        self
    }

    /// Whether the working folder is the project itself, for an ABI whose plugins are run in one. Where
    /// not, the project is the nearest folder upwards from there with a mark of one.
    #[must_use]
    pub fn working_is_project(mut self, is_project: bool) -> Self {
        self.is_project = is_project;
        self
    }

    /// The folder that is kept for the plugin, which capabilities call `@`. It is made when
    /// something in it is granted.
    #[must_use]
    pub fn own_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.own = Some(folder.into());
        self
    }

    /// Whether symbolic links on the way to granted files and folders are followed, as they are
    /// where nothing is said. Where not, a path that has one is left out. (Links below a granted
    /// folder never lead out of it.)
    #[must_use]
    pub fn follow_symlinks(mut self, follow: bool) -> Self {
        self.paths.follow_links = follow;
        self
    }

    /// Whether calls are refused as long as a granted file or folder is not there, or not what it
    /// was granted as, with [`ErrorKind::Unusable`]. Where nothing is said, the plugin runs
    /// without it ([`Plugin::left_out`]).
    #[must_use]
    pub fn require_paths(mut self, require: bool) -> Self {
        self.paths.require = require;
        self
    }

    /// Gives the plugin this process's own standard streams, as far as it has such streams,
    /// instead of keeping what it prints. Nothing of that is bounded or looked at then.
    #[must_use]
    pub fn inherit_streams(mut self, inherit: bool) -> Self {
        self.inherits = inherit;
        self
    }

    /// Whether a [`Manager`](crate::manager::Manager) calls it in one session, with what it keeps
    /// there, or each time on a fresh instance: as its ABI has it where nothing is said. A program
    /// is run afresh in any case.
    #[must_use]
    pub fn keep_state(mut self, keep: bool) -> Self {
        self.keeps_state = Some(keep);
        self
    }

    /// Runs the plugin's code without the checks by which calls are ended, which takes up to a third of the
    /// time from tight loops: for code that one would run in one's own process.
    ///
    /// Memory, tables, stack, what it may do and what is recorded stay as they are. But a loop of its that does
    /// not end holds its thread, or the executor's, for good: its deadline, a cancel and a shutdown end a
    /// call of it only while it waits for the host. A limit of fuel holds.
    #[must_use]
    pub fn trusted(mut self, trusted: bool) -> Self {
        self.trusted = trusted;
        self
    }

    /// Has every call with the same input come to the same answer, as far as the plugin's
    /// surroundings go: no clock and no random numbers but those that are the same in every run,
    /// whatever is granted, and one bit pattern for what is not a number.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }

    /// Where the virtual clock begins that a plugin has in place of a real one: at 2020-01-01 where
    /// nothing is said. A time before 1970 is 1970.
    #[must_use]
    pub fn virtual_clock(mut self, start: SystemTime) -> Self {
        let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.stand_ins.clock = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// What the random numbers are made of that a plugin has in place of real ones: of 0 where nothing
    /// is said.
    #[must_use]
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.stand_ins.seed = seed;
        self
    }

    /// Has each trap leave a core dump there. Such a plugin has no instances made ahead.
    #[must_use]
    pub fn core_dump(mut self, dump: &CoreDump) -> Self {
        self.core_dump = Some(dump.clone());
        self
    }

    /// Has its stack looked at while it runs, for [`Plugin::samples`]. Such a plugin has no instances
    /// made ahead.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// The same with nothing granted.
    #[must_use]
    pub(crate) fn without_allowed(mut self) -> Self {
        (self.allow, self.allow_requested) = (Vec::new(), false);
        self
    }

    /// Allows a WebAssembly feature that is off otherwise.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }
}

/// A plugin that was read and checked, and not compiled.
#[derive(Debug)]
#[non_exhaustive]
pub struct Examined {
    /// The manifest's name, else the file's.
    pub name: String,
    /// Its bytes and their digest.
    pub artifact: Artifact,
    /// What parsing told about it.
    pub shape: Arc<Shape>,
    /// Its manifest, when it came with one.
    pub manifest: Option<Manifest>,
    /// What it asks for, in its manifest and by what it imports.
    pub requests: Vec<Request>,
    /// How it would be called and why, or why it cannot be.
    pub abi: Result<(AbiId, String)>,
    /// What would bound its calls.
    pub limits: Limits,
    /// What the module answered when it was asked what it is: what
    /// [`Manifest::EXPORT`] stands for.
    pub said: Option<Arc<[u8]>>,
    /// Its code, where that was needed to ask it what it is.
    pub(crate) compiled: Option<Compiled>,
}

impl Examined {
    /// What the ABI gives every plugin without asking.
    pub fn baseline(&self) -> &'static [CapabilityKind] {
        self.abi.as_ref().map_or(&[], |(id, _)| abi::by_id(*id).profile().baseline)
    }

    /// Whether the ABI's plugins keep state between calls.
    pub fn keeps_state(&self) -> bool {
        self.abi.as_ref().is_ok_and(|(id, _)| abi::by_id(*id).profile().keeps_state)
    }

    /// Whether what is not a number has one bit pattern on every machine in its calls.
    pub fn has_canonical_nan(&self) -> bool {
        self.abi.as_ref().is_ok_and(|(id, _)| abi::by_id(*id).profile().canonical_nan)
    }

    /// What its imports could use, each with the first import that could.
    pub fn uses(&self) -> Vec<(CapabilityKind, String)> {
        uses(&self.shape)
    }

    /// Other ABIs that its bytes fit, and why.
    pub fn other_abis(&self) -> Vec<(AbiId, String)> {
        self.abi.as_ref().map(|(id, _)| abi::others(&self.shape, *id)).unwrap_or_default()
    }

    /// What it leaves to be guessed.
    pub fn gaps(&self) -> Vec<Gap> {
        match &self.abi {
            Ok((id, _)) => abi::by_id(*id).gaps(&self.shape, &self.functions()),
            Err(_) => Vec::new(),
        }
    }

    /// Exported functions that cannot be called and that no ABI or toolchain is known to have.
    pub fn uncallable(&self) -> Vec<&str> {
        let callable = self.functions();
        let exported = self.shape.exported_functions().map(|(name, _)| name);
        exported.filter(|name| !abi::is_known(name) && !callable.iter().any(|own| own == name)).collect()
    }

    /// The functions that can be called.
    pub fn functions(&self) -> Vec<String> {
        let adapter = match &self.abi {
            Ok((id, _)) => abi::by_id(*id).bind(&self.shape, self.manifest.as_ref()),
            Err(_) => return Vec::new(),
        };
        adapter.map(|adapter| adapter.functions().to_vec()).unwrap_or_default()
    }

    /// The schema in JSON Schema of what a component's function is called with and what it answers with:
    /// of an object with `params`, `result` and, where it can fail, `error`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownFunction`], also for what is no component.
    pub fn schema(&self, function: &str) -> Result<serde_json::Value> {
        schema_of(&self.shape, self.manifest.as_ref(), function).map_err(|error| named(error, &self.name))
    }

    /// A component's functions with their signatures in WIT.
    pub fn signatures(&self) -> Vec<(String, String)> {
        let wit = &self.shape.wit;
        let signatures = wit.functions.iter().map(|function| wit.signature(function));
        abi::component::listed(wit).into_iter().zip(signatures).collect()
    }
}

impl Host {
    /// Loads a plugin: reads, checks and compiles it, on a thread of its own, so that
    /// the caller's executor goes on.
    ///
    /// # Errors
    /// What is wrong with the file, the manifest, the bytes or the imports.
    pub async fn load(&self, source: impl Into<Source>, options: LoadOptions) -> Result<Plugin> {
        let (host, source) = (self.clone(), source.into());
        off_thread("airlock-load", move || host.load_blocking(source, options)).await
    }

    /// Loads a plugin on this thread.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load_blocking(&self, source: impl Into<Source>, options: LoadOptions) -> Result<Plugin> {
        let span = tracing::info_span!("load", plugin = tracing::field::Empty, abi = tracing::field::Empty);
        let _entered = span.enter();
        self.load_examined(self.examine(source, &options)?, &options)
    }

    /// The rest of loading.
    pub(crate) fn load_examined(&self, examined: Examined, options: &LoadOptions) -> Result<Plugin> {
        let (start, span) = (Instant::now(), tracing::Span::current());
        let Examined { name, artifact, shape, manifest, requests, abi, limits, compiled, .. } = examined;
        let (abi, why) = abi.map(|(id, why)| (abi::by_id(id), why))?;
        span.record("plugin", &name).record("abi", abi.id().name());
        let adapter = abi.bind(&shape, manifest.as_ref())?;

        let identity = Identity { name, digest: artifact.digest() };
        let standing = self.standing(&identity, &requests, manifest.as_ref(), abi, options)?;
        let name = identity.name;
        let key = engine_key(&limits, abi, options);
        // What a component waits for is asked of the host by other functions than those that wait.
        let offered = &self.0.offered;
        let waits = match shape.is_component {
            true => !shape.imports.is_empty(),
            false => shape.imports.iter().any(|import| {
                offered.waits(import).unwrap_or_else(|| abi.waits(&import.module, &import.name))
            }),
        };
        let compiled = match compiled.filter(|compiled| compiled.key() == key) {
            Some(compiled) => compiled,
            None => Compiled::new(&self.0.engines, key, artifact, shape, &limits)?,
        };
        self.0.loaded.count(&compiled);
        tracing::info!(
            digest = %compiled.artifact().digest().short(),
            abi = %abi.id(), why, origin = ?compiled.origin(), code = ?compiled.load_time(),
            permissions = %Permissions(&standing.policy()), total = ?start.elapsed(), "loaded"
        );
        let sampling = match options.sampler {
            Some(sampler) => {
                let engine = self.0.engines.get(compiled.key(), Allocation::OnDemand)?;
                engine.map(|engine| Sampling::start(sampler, &engine)).transpose()?
            }
            None => None,
        };
        let of_mail = crate::abi::asks_for_mail(compiled.shape());
        let stand_ins =
            StandIns { mail_network: of_mail.then_some(self.0.services.mail_network), ..options.stand_ins };
        Plugin::new(PluginParts {
            host: self.clone(),
            name,
            manifest,
            compiled,
            abi,
            why,
            adapter,
            standing,
            requests,
            limits: Arc::new(limits),
            waits,
            inherits: options.inherits,
            stand_ins,
            core_dump: options.core_dump.clone(),
            sampling,
            keeps_state: !abi.id().is_program() && options.keeps_state.unwrap_or(abi.profile().keeps_state),
        })
    }

    /// Reads and checks a plugin without compiling it, unless it has to be asked what it is: what
    /// `airlock inspect` shows, also of a plugin that could not be loaded.
    ///
    /// # Errors
    /// What is wrong with the file, the manifest or the bytes. A plugin that no ABI or too
    /// many fit, or that imports what nobody provides, is examined all the same.
    pub fn examine(&self, source: impl Into<Source>, options: &LoadOptions) -> Result<Examined> {
        let limits = self.0.rules.capped(Limits::default().with(&self.0.overrides).with(&options.limits));
        let found = source::read(source.into(), &limits)?;
        let mut name = options.name.clone().unwrap_or(found.name);
        let mut overrides = self.0.rules.limits(&name);
        overrides.extend(&options.limits);
        let limits = self.0.rules.capped(limits.with(&overrides));
        let artifact = Artifact::new(found.bytes, options.wat || found.is_wat, &limits)?;
        let (artifact, shape) = self.0.engines.admit(artifact, &options.features, &limits)?;
        let mut manifest = found.manifest;
        let (mut compiled, mut said) = (None, None);
        // What the application offers says nothing of whose plugin it is.
        let seen = self.0.offered.hide(&shape);
        let abi = abi::choose(&seen, manifest.as_ref(), options.abi).and_then(|(abi, why)| {
            if let Some(Describer { adapter, is_manifest, read }) =
                abi.describer(&shape, manifest.as_ref())?
            {
                let limits = self.effective_limits(abi, manifest.as_ref(), &overrides);
                let key = engine_key(&limits, abi, options);
                let asked = self.ask(abi, adapter, &artifact, &shape, key, &limits);
                let answer = asked.map(|(answer, code)| {
                    compiled = code;
                    answer
                });
                said = answer.as_ref().ok().filter(|_| is_manifest).cloned();
                let described = read(answer, manifest.clone(), &name)?;
                if options.name.is_none() {
                    name.clone_from(&described.name);
                    overrides = self.0.rules.limits(&name);
                    overrides.extend(&options.limits);
                }
                manifest = Some(described);
            }
            abi.bind(&shape, manifest.as_ref())?;
            Ok((abi, why))
        });
        let limits = match &abi {
            Ok((abi, _)) => self.effective_limits(*abi, manifest.as_ref(), &overrides),
            Err(_) => limits,
        };
        Ok(Examined {
            name,
            requests: requests(manifest.as_ref(), self.0.offered.requests(&shape), &seen),
            abi: abi.map(|(abi, why)| (abi.id(), why)),
            artifact,
            shape,
            manifest,
            limits,
            said,
            compiled,
        })
    }

    /// What a module says of itself, and its code where it had to be asked.
    fn ask(
        &self,
        abi: &'static dyn Abi,
        describer: Arc<dyn Adapter>,
        artifact: &Artifact,
        shape: &Arc<Shape>,
        key: EngineKey,
        limits: &Limits,
    ) -> Result<(Arc<[u8]>, Option<Compiled>)> {
        if let Some(said) = self.described(artifact.digest()) {
            return Ok((said, None));
        }
        let compiled = Compiled::new(&self.0.engines, key, artifact.clone(), shape.clone(), limits)?;
        let said = self.describe(abi, describer, compiled.clone(), limits)?;
        Ok((said, Some(compiled)))
    }

    /// What the plugin may do: what was granted with this load, and what was and is decided
    /// over the rest of what its manifest asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when something it requires is not granted.
    fn standing(
        &self,
        identity: &Identity,
        requests: &[Request],
        manifest: Option<&Manifest>,
        abi: &'static dyn Abi,
        options: &LoadOptions,
    ) -> Result<Standing> {
        let grants: Vec<Capability> = match options.allow_requested {
            true => {
                // A libc imports all there is: that it could use something is no request.
                let asked = manifest.map(|manifest| manifest.requests.as_slice()).unwrap_or_default();
                let is_asked =
                    |request: &&Request| asked.contains(request) || request.capability.risk() == Risk::Low;
                requests.iter().filter(is_asked).map(|request| request.capability.clone()).collect()
            }
            false => options.allow.clone(),
        };
        let working = match &options.working {
            Some(folder) => Ok(folder.clone()),
            None => std::env::current_dir(),
        };
        let mut ceiling = self.0.rules.ceiling(&identity.name).and(options.ceiling.clone());
        if options.deterministic {
            ceiling = ceiling.deny([CapabilityKind::Clock, CapabilityKind::Random].map(Capability::all_of));
        }
        let asked = requests.iter().map(|request| &request.capability);
        let programs = exec::located(asked.chain(&grants).chain(ceiling.capabilities()));
        // A folder that is gone covers nothing, and most plugins ask for none.
        let working = working.unwrap_or_default();
        let working = match options.is_project {
            true => working,
            false => project_root(working, abi.profile().root),
        };
        let inside = abi.profile().stays_inside.then(|| working.clone());
        let paths = PathRules { inside, ..options.paths.clone() };
        let place = Place { working, home: std::env::home_dir(), own: options.own.clone(), programs };
        let baseline = abi.profile().baseline;
        let ground = Ground { requests: requests.to_vec(), grants, baseline, ceiling, place, paths };
        let Some(approval) = &self.0.approval else {
            let standing = Standing::new(ground, None)?;
            standing.require()?;
            return make_own_folder(&standing, options).map(|()| standing);
        };

        // What imports imply is not asked about: there is a stand-in for it.
        let open = ground.open(manifest.map(|manifest| manifest.requests.as_slice()).unwrap_or_default());
        let settled = approval.settle(identity, &open)?;
        // What was allowed for this once is nowhere else.
        let ground = Ground { grants: [ground.grants, settled.once.clone()].concat(), ..ground };
        let followed = Followed { store: approval.store().clone(), plugin: identity.clone() };
        let standing = Standing::new(ground, Some(followed))?;
        standing.require().map_err(|error| {
            let missing: Vec<Capability> = open
                .iter()
                .filter(|request| request.required)
                .map(|request| request.capability.clone())
                .filter(|capability| !standing.policy().allows(capability))
                .collect();
            settled.explain(error, &missing)
        })?;
        make_own_folder(&standing, options)?;
        Ok(standing)
    }

    /// What is kept as granted to these very bytes.
    pub(crate) fn granted_to(&self, identity: &Identity) -> Result<Vec<Capability>> {
        let Some(approval) = &self.0.approval else { return Ok(Vec::new()) };
        let decided = approval.store().decided(identity)?.unwrap_or_default();
        Ok(decided.into_iter().filter(|grant| grant.allowed).map(|grant| grant.capability).collect())
    }

    /// Airlock's defaults, the ABI's, the manifest's, the host's, what this load was told: later ones
    /// go before earlier ones. The host's own, of which there is one value each, go before all.
    fn effective_limits(&self, abi: &dyn Abi, manifest: Option<&Manifest>, options: &Overrides) -> Limits {
        let mut profile: Overrides = abi.profile().limits.iter().copied().collect();
        profile.extend(manifest.iter().flat_map(|manifest| &manifest.limits));
        let of_host = Overrides::from([
            (LimitKind::Stack, self.0.engines.settings().stack_bytes as u64),
            (LimitKind::HostMemory, self.budget().maximum()),
        ]);
        let limits = Limits::default().with(&profile).with(&self.0.overrides).with(options);
        self.0.rules.capped(limits).with(&of_host)
    }
}

/// The schema of a component's function, or of its tool, which has its own.
pub(crate) fn schema_of(
    shape: &Shape,
    manifest: Option<&Manifest>,
    function: &str,
) -> Result<serde_json::Value> {
    let tools = manifest.map(|manifest| manifest.tools.as_slice()).unwrap_or_default();
    match tools.iter().find(|tool| tool.name == function).and_then(|tool| tool.schema.as_ref()) {
        Some(schema) if shape.is_component => {
            // What it refers to is within it, and not within what it is put into.
            let mut schema = schema.clone();
            if let Some(schema) = schema.as_object_mut().filter(|schema| !schema.contains_key("$id")) {
                schema.insert("$id".to_owned(), "urn:airlock:tool".into());
            }
            let properties =
                serde_json::json!({ "params": schema, "result": {}, "error": { "type": "string" } });
            Ok(serde_json::json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": function,
                "type": "object",
                "properties": properties,
            }))
        }
        _ => abi::component::schema_of(shape, function),
    }
}

/// What a policy permits, for a trace.
struct Permissions<'a>(&'a Policy);

impl fmt::Display for Permissions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut allowed = self.0.allowed().peekable();
        if allowed.peek().is_none() {
            return f.write_str("none");
        }
        for (index, capability) in allowed.enumerate() {
            let space = if index == 0 { "" } else { ", " };
            write!(f, "{space}{capability}")?;
        }
        Ok(())
    }
}

/// Does work that may take long on a thread of its own, so that the caller's executor goes on.
pub(crate) async fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let span = tracing::Span::current();
    let work = move || {
        let _entered = span.enter();
        // Nobody listens any more when it was given up.
        let _ = sender.send(work());
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Error::host("cannot start a thread").with_source(error))?;
    receiver.await.unwrap_or_else(|_| Err(Error::host(format!("the thread `{name}` panicked"))))
}

/// The nearest folder from `folder` upwards with one of `marks` in it; `folder` itself where there is
/// none. Somebody else's folder is none: in a folder that all may write to anybody can put a mark.
fn project_root(folder: PathBuf, marks: &[&str]) -> PathBuf {
    if marks.is_empty() {
        return folder;
    }
    let owner = owner_of(&folder);
    let own = folder.ancestors().take_while(|folder| owner_of(folder) == owner);
    let root = own.into_iter().find(|folder| marks.iter().any(|mark| folder.join(mark).exists()));
    root.map(Path::to_owned).unwrap_or(folder)
}

#[cfg(unix)]
fn owner_of(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().ok().map(|metadata| metadata.uid())
}

#[cfg(not(unix))]
fn owner_of(_folder: &Path) -> Option<u32> {
    None
}

/// Makes the folder that is kept for a plugin, where it may use something in it.
fn make_own_folder(standing: &Standing, options: &LoadOptions) -> Result<()> {
    let Some(own) = options.own.as_ref().filter(|own| !own.exists()) else { return Ok(()) };
    let policy = standing.policy();
    let in_it = |capability: &Capability| match capability.scope() {
        Scope::Path(path) => path.absolute().is_some_and(|path| path.starts_with(own)),
        _ => false,
    };
    if !policy.allowed().any(in_it) {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(own).map_err(|error| {
        let reason = "it cannot be made for the plugin to keep files in".to_owned();
        Error::new(ErrorKind::StateUnusable { path: own.clone(), reason }).with_source(error)
    })
}

/// What the plugin's code has to be compiled for.
fn engine_key(limits: &Limits, abi: &dyn Abi, options: &LoadOptions) -> EngineKey {
    EngineKey {
        fuel: limits.get(LimitKind::Fuel).is_some(),
        canonical_nan: options.deterministic || abi.profile().canonical_nan,
        trusted: options.trusted,
        core_dump: options.core_dump.is_some(),
        sampled: options.sampler.is_some(),
    }
}
