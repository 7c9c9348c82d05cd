//! One managed plugin: its calls, counted, and the session that it may live in.

mod calling;
mod starting;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use airlock_core::{Digest, Error, ErrorKind};
use arc_swap::ArcSwap;
use serde::{Serialize, Serializer};

use super::events::Bus;
use super::keeper::Keeper;
use super::life::Life;
use super::metrics::Meter;
use super::prx::{self, Attached};
use super::{Metrics, PluginInfo, millis};
use crate::load::LoadOptions;
use crate::plugin::{Plugin, WeakPlugin};
use crate::session::Session;
use crate::source::Source;

/// Whether a managed plugin can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginState {
    /// It keeps state and has not been started.
    Created,
    /// It can be called.
    Ready,
    /// It keeps state, and a call of it runs.
    Running,
    /// It keeps state and was stopped; the next call starts it again.
    Stopped,
    /// A call has ended it, and what it kept is lost. What becomes of later calls is the
    /// [`CrashPolicy`]'s to say.
    Failed(String),
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginState::Created => f.write_str("created"),
            PluginState::Ready => f.write_str("ready"),
            PluginState::Running => f.write_str("running"),
            PluginState::Stopped => f.write_str("stopped"),
            PluginState::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl Serialize for PluginState {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What becomes of a plugin that a call of it has ended: by a trap, a broken rule of its ABI, a
/// limit or the deadline. A call that was cancelled is no crash, though what was kept is lost
/// with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// The next call starts it afresh.
    #[default]
    Restart,
    /// Calls fail until it is [restarted](Managed::restart).
    Fail,
    /// The next call starts it afresh, but not before a time has passed, which doubles with
    /// every crash after which no call succeeded.
    BackOff {
        /// The time after the first crash.
        first: Duration,
        /// The longest time.
        longest: Duration,
    },
}

/// What becomes of what was [allowed](LoadOptions::allow) with a load when the plugin's bytes
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Allowed {
    /// It was allowed to those bytes: others that ask for it are not put in their place.
    #[default]
    TheseBytes,
    /// It is allowed to whatever bytes come from there, as long as they ask for no more.
    AnyBytes,
}

/// A plugin of a [`Manager`](super::Manager). Clones are one plugin.
#[derive(Clone)]
pub struct Managed(pub(super) Arc<Inner>);

pub(super) struct Inner {
    name: Arc<str>,
    current: ArcSwap<Version>,
    life: Life,
    meter: Arc<Meter>,
    bus: Arc<Bus>,
    keeper: Arc<Keeper>,
    settings: Mutex<Settings>,
    /// What was there before it was replaced.
    previous: Mutex<Option<Plugin>>,
    /// Those whose calls may still run.
    replaced: Mutex<Vec<WeakPlugin>>,
    unloaded: AtomicBool,
    /// What is done for it beside its calls.
    attached: Mutex<Option<Attached>>,
}

impl Inner {
    /// What does things later.
    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

#[derive(Debug, Clone, Default)]
struct Settings {
    crash: CrashPolicy,
    idle: Option<Duration>,
    allowed: Allowed,
    origin: Option<Origin>,
}

/// The file or folder that a plugin was loaded from, and how.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) options: LoadOptions,
}

impl Origin {
    /// None where it can be loaded from there but once.
    pub(super) fn of(source: &Source, options: &LoadOptions) -> Option<Self> {
        match source {
            Source::Path(path) => Some(Origin { path: path.clone(), options: options.clone() }),
            _ => None,
        }
    }
}

/// The bytes that calls are made of now.
struct Version {
    plugin: Plugin,
    keeps_state: bool,
    loaded_at: SystemTime,
    /// Tells it from those before and after.
    era: u64,
}

impl Version {
    fn new(plugin: Plugin, era: u64) -> Self {
        let keeps_state = plugin.keeps_state();
        Version { plugin, keeps_state, loaded_at: SystemTime::now(), era }
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Managed {
    pub(super) fn new(name: Arc<str>, plugin: Plugin, bus: Arc<Bus>, keeper: Arc<Keeper>) -> Self {
        let managed = Managed(Arc::new(Inner {
            name,
            life: Life::new(plugin.keeps_state()),
            current: ArcSwap::from_pointee(Version::new(plugin.clone(), 0)),
            meter: Arc::new(Meter::new()),
            bus,
            keeper,
            settings: Mutex::default(),
            previous: Mutex::default(),
            replaced: Mutex::default(),
            unloaded: AtomicBool::new(false),
            attached: Mutex::default(),
        }));
        managed.attach(prx::attach(&managed, &plugin));
        managed
    }

    /// The plugin that is meant by what it is made of.
    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Managed(inner)
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Has this done for it beside its calls, and nothing else any more.
    fn attach(&self, attached: Option<Attached>) {
        let before =
            std::mem::replace(&mut *self.0.attached.lock().unwrap_or_else(PoisonError::into_inner), attached);
        drop(before);
    }

    /// The name it is managed by.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The plugin that its calls are made of now.
    pub fn plugin(&self) -> Plugin {
        self.0.current.load().plugin.clone()
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.0.meter
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.0.bus
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        // Each change of it is whole.
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has this become of it when a call ends it; [`CrashPolicy::Restart`] where nothing is
    /// said.
    pub fn on_crash(&self, policy: CrashPolicy) {
        self.settings().crash = policy;
    }

    /// Stops it when it was not called for so long, where it keeps state: its memory is given back,
    /// what it kept is gone, and the next call starts it again. None where nothing is said.
    pub fn stop_idle_after(&self, idle: Option<Duration>) {
        self.settings().idle = idle;
        self.watch_idle();
    }

    /// Whether what was allowed with its load holds for other bytes too, as they come from its
    /// file; [`Allowed::TheseBytes`] where nothing is said.
    pub fn allowed(&self, allowed: Allowed) {
        self.settings().allowed = allowed;
    }

    pub(super) fn allows(&self) -> Allowed {
        self.settings().allowed
    }

    pub(super) fn came_from(&self, origin: Origin) {
        self.settings().origin = Some(origin);
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.settings().origin.clone()
    }

    fn policy(&self) -> CrashPolicy {
        self.settings().crash
    }

    /// What its calls came to, those of bytes that it had before included.
    pub fn metrics(&self) -> Metrics {
        self.0.meter.snapshot()
    }

    /// Whether it can be called.
    pub fn state(&self) -> PluginState {
        self.0.life.state()
    }

    /// How many calls of it wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.current.load().plugin.waiting().len()
    }

    /// Whether no call of it runs or waits.
    pub fn is_idle(&self) -> bool {
        !self.0.life.is_busy() && !self.0.current.load().plugin.runs_fresh()
    }

    pub(super) fn info(&self, commands: Vec<String>) -> PluginInfo {
        let version = self.0.current.load();
        let plugin = &version.plugin;
        PluginInfo {
            name: self.0.name.clone(),
            own_name: plugin.name().to_owned(),
            version: plugin.manifest().and_then(|manifest| manifest.version.clone()),
            digest: plugin.digest(),
            abi: plugin.abi(),
            state: self.0.life.state(),
            loaded_at: millis(version.loaded_at),
            last_call: self.0.meter.last_ended().map(millis),
            commands,
        }
    }

    // ---- What is called now, and what was before.

    pub(super) fn previous(&self) -> Option<Plugin> {
        self.0.previous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another plugin in its place. Calls that run hold the one before until they end. Gives
    /// its digest, and its session where that is to be closed.
    pub(super) fn put(&self, plugin: Plugin) -> (Digest, Option<Box<Session>>) {
        // Before it can be called; what comes for the one before comes to this one.
        self.attach(prx::attach(self, &plugin));
        // Whoever replaces holds a lock of the manager's.
        let era = self.0.current.load().era + 1;
        let version = Version::new(plugin, era);
        let keeps_state = version.keeps_state;
        let old = self.0.current.swap(Arc::new(version));
        let session = self.0.life.begin_era(era, keeps_state);
        let digest = old.plugin.digest();
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old.plugin.clone());
        let mut replaced = self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(WeakPlugin::lives);
        replaced.push(old.plugin.downgrade());
        (digest, session)
    }

    pub(crate) fn is_unloaded(&self) -> bool {
        self.0.unloaded.load(Ordering::SeqCst)
    }

    /// No call of it begins any more. Gives its session, where that is to be closed first.
    pub(super) fn close(&self) -> Option<Box<Session>> {
        self.0.unloaded.store(true, Ordering::SeqCst);
        self.attach(None);
        self.0.life.close()
    }

    /// Ends all calls of it, also of bytes that it had before.
    pub(super) fn retire(&self) {
        self.0.current.load().plugin.retire();
        let replaced = std::mem::take(&mut *self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner));
        replaced.iter().for_each(WeakPlugin::retire);
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    #[cold]
    fn not_loaded(&self) -> Error {
        Error::new(ErrorKind::NotLoaded { name: self.0.name.to_string(), nearest: Vec::new() })
    }
}
