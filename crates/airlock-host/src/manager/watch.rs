//! Folders whose plugins are loaded, reloaded and unloaded as they come, change and go.
//!
//! One thread takes what the system says of the folders and decides when a plugin is looked at;
//! what is to be read and compiled is so on threads of its own, one for each plugin. Nothing is
//! done for a plugin unless what its files hold is something else than it was: what the system
//! says is only a reason to look.

mod files;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airlock_core::{Digest, Error, ErrorKind, Result};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

use self::files::{Fingerprint, Folders};
use super::{Allowed, CrashPolicy, Happened, Managed, Manager, Reloaded};
use crate::load::{LoadOptions, off_thread};
use crate::plugin::Plugin;
use crate::store::after;

/// How long files are left in peace after they were written, where nothing else is said.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// So many times as long at most where they are written again and again.
const MOST_DEBOUNCES: u32 = 10;

/// How long after a watched folder went everything that is watched is watched anew. What the
/// system says of a folder that went may come when another of its name is watched already, which
/// is not watched any more then.
const SETTLE: Duration = Duration::from_millis(200);

/// How often a plugin is looked at that is to be idle.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// When other bytes take a plugin's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadStrategy {
    /// As soon as they are seen. Half a file is no plugin, so the old one stays until the rest
    /// is there.
    Immediate,
    /// When nothing was written for so long: 500 ms where nothing is said.
    Debounced(Duration),
    /// When [`Manager::reload`] says so. That they are there is told as [`Happened::Changed`].
    Manual,
    /// When no call of the plugin ran for so long.
    OnIdle(Duration),
}

impl Default for ReloadStrategy {
    fn default() -> Self {
        ReloadStrategy::Debounced(DEBOUNCE)
    }
}

type Check = Arc<dyn Fn(&Path, &Plugin) -> Result<()> + Send + Sync>;

/// How folders are watched.
#[derive(Clone, Default)]
pub struct WatchOptions {
    strategy: ReloadStrategy,
    load: LoadOptions,
    allowed: Allowed,
    crash: CrashPolicy,
    idle: Option<Duration>,
    start: bool,
    check: Option<Check>,
}

impl fmt::Debug for WatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchOptions").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl WatchOptions {
    /// Nothing special.
    pub fn new() -> Self {
        WatchOptions::default()
    }

    /// When other bytes take a plugin's place.
    #[must_use]
    pub fn strategy(mut self, strategy: ReloadStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How each plugin is loaded.
    #[must_use]
    pub fn load(mut self, options: LoadOptions) -> Self {
        self.load = options;
        self
    }

    /// As [`Managed::allowed`], of each plugin.
    #[must_use]
    pub fn allowed(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    /// As [`Managed::on_crash`], of each plugin.
    #[must_use]
    pub fn on_crash(mut self, policy: CrashPolicy) -> Self {
        self.crash = policy;
        self
    }

    /// As [`Managed::stop_idle_after`], of each plugin.
    #[must_use]
    pub fn stop_idle_after(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Starts plugins that keep state when they are loaded, and not when they are first called.
    #[must_use]
    pub fn start(mut self) -> Self {
        self.start = true;
        self
    }

    /// Puts a plugin in its place only when this is content with it and where it is; it may call
    /// it to see whether it is well.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&Path, &Plugin) -> Result<()> + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }
}

/// Folders that are watched, until this is dropped. The plugins stay.
pub struct Watch {
    messages: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Nobody to tell when the thread has ended already.
        let _ = self.messages.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let own = std::thread::current().id();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != own) {
            let _ = thread.join();
        }
    }
}

impl Manager {
    /// Loads the plugins in these folders, not below them, and follows what becomes of their files:
    /// a `.wasm` file or a folder with a manifest that is new is loaded, by its manifest's name
    /// or else its file's, what has changed is [reloaded](Manager::reload), what is gone is
    /// unloaded. A folder that is not there is waited for. What goes wrong is told to those who
    /// [listen](Manager::events). When this returns, what was there has been loaded.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where the system cannot watch files; [`ErrorKind::Unreadable`] with a
    /// folder that cannot be watched, as when there are too many already.
    pub async fn watch(
        &self,
        folders: impl IntoIterator<Item = impl Into<PathBuf>>,
        options: WatchOptions,
    ) -> Result<Watch> {
        let folders: Vec<PathBuf> = folders.into_iter().map(Into::into).collect();
        let manager = self.clone();
        off_thread("airlock-watch", move || manager.watch_blocking(folders, options)).await
    }

    /// [`Manager::watch`] on this thread.
    ///
    /// # Errors
    /// As [`Manager::watch`].
    pub fn watch_blocking(
        &self,
        folders: impl IntoIterator<Item = impl Into<PathBuf>>,
        options: WatchOptions,
    ) -> Result<Watch> {
        let (messages, inbox) = mpsc::channel();
        let said = messages.clone();
        let watcher = notify::recommended_watcher(move |event| {
            // Nobody listens any more when the watch has ended.
            let _ = said.send(Message::Said(event));
        });
        let watcher = watcher.map_err(cannot_watch)?;
        let folders = folders.into_iter().map(Into::into).map(|folder| {
            std::path::absolute(&folder)
                .map_err(|error| Error::new(ErrorKind::Unreadable(folder)).with_source(error))
        });
        let folders = Folders::new(watcher, folders.collect::<Result<Vec<PathBuf>>>()?);
        let (manager, sender) = (self.clone(), messages.clone());
        let mut watcher =
            Watcher { manager, options, folders, inbox, sender, plugins: BTreeMap::new(), settle: None };
        let first = watcher.folders.refresh();
        if let Some((folder, error)) = watcher.folders.unwatched().pop() {
            return Err(Error::new(ErrorKind::Unreadable(folder)).with_source(error));
        }
        watcher.look_first(first);
        let thread = std::thread::Builder::new()
            .name("airlock-watch".to_owned())
            .spawn(move || watcher.run())
            .map_err(|error| Error::host("cannot start a thread to watch files").with_source(error))?;
        Ok(Watch { messages, thread: Mutex::new(Some(thread)) })
    }
}

fn cannot_watch(error: notify::Error) -> Error {
    Error::host("cannot watch files").with_source(error)
}

/// What the watching thread is told.
enum Message {
    /// By the system.
    Said(notify::Result<notify::Event>),
    /// By a thread that has looked at a plugin.
    Done(PathBuf, Looked),
    Stop,
}

/// What looking at a plugin came to.
struct Looked {
    fingerprint: Option<Fingerprint>,
    managed: Option<Managed>,
    /// Other bytes that wait for somebody to say so, or for the plugin to be idle.
    waits: bool,
    /// Whether it could not be loaded since another has its name, or a word of its.
    crowded: bool,
}

impl Looked {
    fn of(fingerprint: Option<Fingerprint>, managed: Option<Managed>) -> Self {
        Looked { fingerprint, managed, waits: false, crowded: false }
    }
}

/// What is known of a file or folder that is a plugin, or could be.
#[derive(Default)]
struct Candidate {
    managed: Option<Managed>,
    fingerprint: Option<Fingerprint>,
    /// When it is looked at, and since when it has been written to.
    due: Option<(Instant, Instant)>,
    /// Whether a thread is at it.
    busy: bool,
    /// Whether bytes wait until the plugin is idle.
    waits: bool,
    /// Whether it may be loaded once another is gone.
    crowded: bool,
}

struct Watcher {
    manager: Manager,
    options: WatchOptions,
    folders: Folders,
    inbox: Receiver<Message>,
    sender: Sender<Message>,
    plugins: BTreeMap<PathBuf, Candidate>,
    /// When everything is watched anew.
    settle: Option<Instant>,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let next =
                self.plugins.values().filter(|one| !one.busy).filter_map(|one| one.due).map(|(due, _)| due);
            let message = match next.chain(self.settle).min() {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Everything that was said already, before anything is done about it.
            while let Ok(message) = self.inbox.try_recv() {
                if matches!(message, Message::Stop) {
                    return;
                }
                self.hear(message);
            }
            if self.settle.is_some_and(|at| at <= Instant::now()) {
                self.settle = None;
                self.folders.watch_anew();
                self.tell_unwatched();
                self.look_at_everything();
            }
            self.look_at_due();
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Said(Ok(event)) => self.said(event),
            Message::Said(Err(error)) => {
                tracing::warn!(%error, "watching files");
                self.look_at_everything();
            }
            Message::Done(path, looked) => self.done(path, looked),
            Message::Stop => {}
        }
    }

    fn said(&mut self, event: notify::Event) {
        // The system had more to say than it could keep.
        if event.need_rescan() {
            return self.look_at_everything();
        }
        if !is_a_change(event.kind) {
            return;
        }
        for path in &event.paths {
            let goes = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
            if goes && self.folders.went(path) {
                self.settle = Some(after(Instant::now(), SETTLE));
            }
            if self.folders.concerns(path) {
                self.look_at_everything();
            }
            if let Some(candidate) = self.folders.candidate(path)
                // What has gone and was nothing here is nobody's concern.
                && (self.plugins.contains_key(&candidate) || candidate.exists())
            {
                self.note(candidate);
            }
        }
        self.tell_unwatched();
    }

    /// Tells of what cannot be watched.
    fn tell_unwatched(&mut self) {
        for (path, error) in self.folders.unwatched() {
            let name = path.display().to_string();
            self.manager.0.bus.tell(&name.into(), || Happened::NotWatched { reason: error.to_string() });
        }
    }

    /// Looks at a path when it has been left in peace.
    fn note(&mut self, path: PathBuf) {
        let now = Instant::now();
        let debounce = match self.options.strategy {
            ReloadStrategy::Immediate => Duration::ZERO,
            ReloadStrategy::Debounced(debounce) => debounce,
            ReloadStrategy::Manual | ReloadStrategy::OnIdle(_) => DEBOUNCE,
        };
        let candidate = self.plugins.entry(path).or_default();
        let first = candidate.due.map_or(now, |(_, first)| first);
        let latest = after(first, debounce.saturating_mul(MOST_DEBOUNCES));
        candidate.due = Some((after(now, debounce).min(latest), first));
        candidate.waits = false;
    }

    /// Looks at what is there and at what was.
    fn look_at_everything(&mut self) {
        let there = self.folders.refresh();
        let known: Vec<PathBuf> = self.plugins.keys().cloned().collect();
        known.into_iter().chain(there).for_each(|path| self.note(path));
    }

    /// Loads what is there, one after the other, so that of two with the same name it is always the
    /// same that has it.
    fn look_first(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            self.folders.follow(&path);
            let candidate = self.plugins.entry(path.clone()).or_default();
            let job = Job::new(&self.manager, &self.options, &path, candidate);
            self.done(path, job.run());
        }
    }

    fn look_at_due(&mut self) {
        let now = Instant::now();
        let is_due =
            |candidate: &Candidate| !candidate.busy && candidate.due.is_some_and(|(due, _)| due <= now);
        let due: Vec<PathBuf> =
            self.plugins.iter().filter(|(_, one)| is_due(one)).map(|(path, _)| path.clone()).collect();
        due.iter().for_each(|path| self.look(path));
    }

    /// Has a thread look at a path.
    fn look(&mut self, path: &Path) {
        let Some(candidate) = self.plugins.get_mut(path) else { return };
        if let (true, ReloadStrategy::OnIdle(idle), Some(managed)) =
            (candidate.waits, self.options.strategy, &candidate.managed)
            && let Some(rest) = rest_until_idle(managed, idle)
        {
            let now = Instant::now();
            candidate.due = Some((after(now, rest), now));
            return;
        }
        candidate.due = None;
        candidate.busy = true;
        // Before it is read, so that nothing that is written after that is missed.
        self.folders.follow(path);
        let job = Job::new(&self.manager, &self.options, path, candidate);
        let (sender, own) = (self.sender.clone(), path.to_owned());
        let work = move || {
            let guard = Report { sender, path: Some((own, job.untouched())) };
            guard.finish(job.run());
        };
        if let Err(error) = std::thread::Builder::new().name("airlock-reload".to_owned()).spawn(work) {
            tracing::warn!(%error, "there is no thread to look at a plugin");
            let now = Instant::now();
            (candidate.busy, candidate.due) = (false, Some((after(now, DEBOUNCE), now)));
        }
    }

    fn done(&mut self, path: PathBuf, looked: Looked) {
        let Some(candidate) = self.plugins.get_mut(&path) else { return };
        candidate.busy = false;
        let Looked { fingerprint, managed, waits, crowded } = looked;
        let made_room = candidate.managed.is_some() && managed.is_none();
        (candidate.fingerprint, candidate.managed) = (fingerprint, managed);
        (candidate.waits, candidate.crowded) = (waits, crowded);
        if waits && matches!(self.options.strategy, ReloadStrategy::OnIdle(_)) && candidate.due.is_none() {
            let now = Instant::now();
            candidate.due = Some((now, now));
        }
        match (fingerprint, candidate.due) {
            (None, None) => {
                self.plugins.remove(&path);
                self.folders.forget(&path);
            }
            // It may have come to have files elsewhere, which nobody has looked at since.
            _ if self.folders.follow(&path) => self.note(path),
            _ => {}
        }
        if made_room {
            self.look_at_the_crowded();
        }
    }

    /// Looks again at what could not be loaded for what others had.
    fn look_at_the_crowded(&mut self) {
        let now = Instant::now();
        for candidate in self.plugins.values_mut().filter(|candidate| candidate.crowded) {
            (candidate.fingerprint, candidate.due) = (None, Some((now, now)));
        }
    }
}

/// How long until a plugin has been idle for `idle`; none where it has.
fn rest_until_idle(managed: &Managed, idle: Duration) -> Option<Duration> {
    if !managed.is_idle() {
        return Some(IDLE_LOOK);
    }
    let rest = idle.saturating_sub(managed.meter().since_last_end()?);
    (!rest.is_zero()).then_some(rest)
}

/// Whether what the system says may mean that a file holds something else. That somebody has read
/// it does not.
fn is_a_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
        EventKind::Other => true,
    }
}

/// Tells what a job came to, also where it panicked.
struct Report {
    sender: Sender<Message>,
    path: Option<(PathBuf, Looked)>,
}

impl Report {
    fn finish(mut self, looked: Looked) {
        if let Some((path, _)) = self.path.take() {
            // Nobody wants to know when the watch has ended.
            let _ = self.sender.send(Message::Done(path, looked));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some((path, looked)) = self.path.take() {
            let _ = self.sender.send(Message::Done(path, looked));
        }
    }
}

/// A look at one path.
struct Job {
    manager: Manager,
    options: WatchOptions,
    path: PathBuf,
    managed: Option<Managed>,
    fingerprint: Option<Fingerprint>,
    waits: bool,
}

impl Job {
    fn new(manager: &Manager, options: &WatchOptions, path: &Path, candidate: &Candidate) -> Self {
        Job {
            manager: manager.clone(),
            options: options.clone(),
            path: path.to_owned(),
            managed: candidate.managed.clone(),
            fingerprint: candidate.fingerprint,
            waits: candidate.waits,
        }
    }

    /// What is known when nothing has come of it.
    fn untouched(&self) -> Looked {
        Looked::of(self.fingerprint, self.managed.clone())
    }

    fn run(self) -> Looked {
        // One that somebody else has unloaded is not there any more.
        let managed = self.managed.clone().filter(|managed| !managed.is_unloaded());
        let Some(fingerprint) = Fingerprint::of(&self.path, self.manager.host().largest_artifact()) else {
            if let Some(managed) = managed {
                // Or it was unloaded just now.
                let _ = self.manager.unload_blocking(managed.name());
            }
            return Looked::of(None, None);
        };
        if self.fingerprint == Some(fingerprint) && !self.waits {
            return Looked::of(Some(fingerprint), managed);
        }
        match managed {
            None => match self.load() {
                Ok(managed) => Looked::of(Some(fingerprint), managed),
                // Whoever listens has been told.
                Err(error) => {
                    let crowded =
                        matches!(error.kind(), ErrorKind::NameTaken { .. } | ErrorKind::CommandTaken { .. });
                    Looked { crowded, ..Looked::of(Some(fingerprint), None) }
                }
            },
            Some(managed) => {
                let waits = self.reload(&managed, fingerprint);
                Looked { waits, ..Looked::of(Some(fingerprint), Some(managed)) }
            }
        }
    }

    fn check(&self, plugin: &Plugin) -> Result<()> {
        self.options.check.as_ref().map_or(Ok(()), |check| check(&self.path, plugin))
    }

    fn load(&self) -> Result<Option<Managed>> {
        let (manager, options) = (&self.manager, &self.options);
        let examined = match manager.host().examine(self.path.as_path(), &options.load) {
            Ok(examined) => examined,
            // A folder without a manifest is no plugin.
            Err(error) if matches!(error.kind(), ErrorKind::NoManifest(_)) => return Ok(None),
            Err(error) => {
                let name = self.path.file_name().unwrap_or_default().to_string_lossy();
                manager
                    .0
                    .bus
                    .tell(&name.as_ref().into(), || Happened::LoadFailed { reason: error.to_string() });
                return Err(error);
            }
        };
        let load =
            manager.load_examined(examined, self.path.clone(), &options.load, |plugin| self.check(plugin));
        let managed = load?;
        managed.allowed(options.allowed);
        managed.on_crash(options.crash);
        managed.stop_idle_after(options.idle);
        self.start(&managed);
        Ok(Some(managed))
    }

    fn start(&self, managed: &Managed) {
        if self.options.start
            && let Err(error) = managed.start_blocking()
        {
            tracing::info!(plugin = %managed.name(), %error, "cannot be started");
        }
    }

    /// Whether it is left to somebody else, or for later.
    fn reload(&self, managed: &Managed, fingerprint: Fingerprint) -> bool {
        let later = match self.options.strategy {
            ReloadStrategy::Manual => true,
            ReloadStrategy::OnIdle(_) => !self.waits,
            ReloadStrategy::Immediate | ReloadStrategy::Debounced(_) => false,
        };
        if later {
            let to: Digest = fingerprint.wasm;
            self.manager.0.bus.tell(managed.name(), || Happened::Changed { to });
            return true;
        }
        let reloaded = self.manager.reload_checked(managed, |plugin| self.check(plugin));
        if matches!(reloaded, Ok(Reloaded::Replaced { .. })) {
            self.start(managed);
        }
        false
    }
}

/// Paths by what they are to a watch.
type Aliases = HashMap<PathBuf, PathBuf>;
