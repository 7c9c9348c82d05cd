//! Many plugins of one application, by their names.
//!
//! A [`Manager`] has plugins under names that the application gives them, counts what their
//! calls come to, and tells what happens to them. It holds no lock while anything is compiled,
//! asked or run: a name is taken before its plugin is loaded, and a call works on a reference.
//! So a plugin that spins delays neither a list nor another plugin, and unloading it ends it.
//!
//! ```
//! use airlock_host::manager::Manager;
//! use airlock_host::{Host, Input, LoadOptions};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let manager = Manager::new(Host::new()?);
//! let mut events = manager.events();
//! manager.load_blocking("text", "../../plugins/text-processor", LoadOptions::new())?;
//! let input = Input::json(&json!({ "text": "abc", "mode": "reverse" }))?;
//! let outcome = manager.invoke_blocking("text", "transform", input)?;
//! assert!(outcome.value.to_json_text().contains(r#""result":"cba""#));
//! assert_eq!(manager.metrics().successes, 1);
//! assert!(events.try_next().is_some());
//! # Ok(())
//! # }
//! ```

mod discover;
mod events;
mod keeper;
mod life;
mod managed;
mod map;
mod metrics;
pub(crate) mod prx;
mod reload;
mod snapshot;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use airlock_core::{AbiId, Capability, Digest, Error, ErrorKind, Outcome, Result, nearest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::events::Bus;
use self::keeper::Keeper;
use self::managed::Origin;
use self::map::Map;
use self::snapshot::Gone;
use crate::answer::{Answer, Input};
use crate::func::{Params, Results};
use crate::host::Host;
use crate::load::{Examined, LoadOptions, off_thread};
use crate::plugin::Plugin;
use crate::session::Session;
use crate::source::Source;

pub use discover::{Discovered, FoundPlugin};
pub use events::{Happened, Notice, PluginEvent, PluginEvents};
pub use managed::{Allowed, CrashPolicy, Managed, PluginState};
pub use metrics::{Failures, Latency, Metrics};
pub use reload::Reloaded;
pub use snapshot::Snapshot;
pub use watch::{ReloadStrategy, Watch, WatchOptions};

/// Plugins by their names. Cheap to clone; all clones are one manager.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("plugins", &self.list()).finish_non_exhaustive()
    }
}

struct Inner {
    host: Host,
    plugins: Map<Place>,
    /// Who has which word of the command line.
    commands: Mutex<BTreeMap<String, Arc<str>>>,
    bus: Arc<Bus>,
    keeper: Arc<Keeper>,
    /// What plugins that are gone came to.
    gone: Gone,
}

/// What is under a name.
#[derive(Debug, Clone)]
enum Place {
    /// Somebody is loading it; told from others by where this points.
    Taken(Arc<()>),
    Here(Managed),
}

/// What is known of a managed plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PluginInfo {
    /// The name it is managed by.
    pub name: Arc<str>,
    /// Its own name: the manifest's, else the file's.
    pub own_name: String,
    /// The version that its manifest has.
    pub version: Option<String>,
    /// Its bytes.
    pub digest: Digest,
    /// How it is called.
    pub abi: AbiId,
    /// Whether it can be called.
    pub state: PluginState,
    /// When these bytes were loaded, in milliseconds since 1970.
    pub loaded_at: u64,
    /// When a call of it last ended, in milliseconds since 1970.
    pub last_call: Option<u64>,
    /// The words of the command line that are its.
    pub commands: Vec<String>,
}

impl Manager {
    /// No plugins yet, on this host.
    pub fn new(host: Host) -> Self {
        Manager(Arc::new(Inner {
            host,
            plugins: Map::new(),
            commands: Mutex::default(),
            bus: Arc::new(Bus::new()),
            keeper: Arc::default(),
            gone: Gone::new(),
        }))
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Loads a plugin under this name. Of several that do so at once exactly one does, and
    /// the others fail at once.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`]; [`ErrorKind::CommandTaken`] where another plugin has one of
    /// its words; every way loading can fail. Nothing is there then.
    pub async fn load(&self, name: &str, source: impl Into<Source>, options: LoadOptions) -> Result<Managed> {
        let source = source.into();
        let taken = self.take(name, &source)?;
        let origin = Origin::of(&source, &options);
        let loaded = self.0.host.load(source, options).await;
        taken.settle(loaded, origin)
    }

    /// [`Manager::load`] on this thread.
    ///
    /// # Errors
    /// As [`Manager::load`].
    pub fn load_blocking(
        &self,
        name: &str,
        source: impl Into<Source>,
        options: LoadOptions,
    ) -> Result<Managed> {
        let source = source.into();
        let taken = self.take(name, &source)?;
        let origin = Origin::of(&source, &options);
        taken.settle(self.0.host.load_blocking(source, options), origin)
    }

    /// Loads a plugin from a file or folder, by the name that its manifest has, or else the file.
    ///
    /// # Errors
    /// As [`Manager::load`].
    pub async fn load_path(&self, path: impl Into<PathBuf>, options: LoadOptions) -> Result<Managed> {
        let (manager, path) = (self.clone(), path.into());
        off_thread("airlock-load", move || manager.load_path_blocking(path, options)).await
    }

    /// [`Manager::load_path`] on this thread.
    ///
    /// # Errors
    /// As [`Manager::load`].
    pub fn load_path_blocking(&self, path: impl Into<PathBuf>, options: LoadOptions) -> Result<Managed> {
        let path = path.into();
        let examined = self.0.host.examine(path.as_path(), &options)?;
        self.load_examined(examined, path, &options, |_| Ok(()))
    }

    /// Loads what was examined already, by the name that it has, once `check` is content with it.
    fn load_examined(
        &self,
        examined: Examined,
        path: PathBuf,
        options: &LoadOptions,
        check: impl FnOnce(&Plugin) -> Result<()>,
    ) -> Result<Managed> {
        let source = Source::Path(path);
        let taken = self.take(&examined.name, &source)?;
        let loaded = self.0.host.load_examined(examined, options);
        let checked = loaded.and_then(|plugin| check(&plugin).map(|()| plugin));
        taken.settle(checked, Origin::of(&source, options))
    }

    /// Puts a plugin that was loaded already under this name. It is one of its own there: what
    /// becomes of it does not touch the plugin that was given.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`] and [`ErrorKind::CommandTaken`].
    pub fn insert(&self, name: &str, plugin: &Plugin) -> Result<Managed> {
        let taken = self.take_for(name, || format!("`{}` ({})", plugin.name(), plugin.digest().short()))?;
        taken.settle(Ok(plugin.again()), None)
    }

    fn take(&self, name: &str, source: &Source) -> Result<Taken<'_>> {
        self.take_for(name, || match source {
            Source::Path(path) => format!("`{}`", path.display()),
            Source::Bytes(bytes) => format!("a plugin of {} bytes", bytes.len()),
            Source::Package { name, .. } => format!("the package `{name}`"),
        })
    }

    fn take_for(&self, name: &str, plugin: impl FnOnce() -> String) -> Result<Taken<'_>> {
        let (name, mark): (Arc<str>, _) = (name.into(), Arc::new(()));
        let holder = match self.0.plugins.insert(name.clone(), Place::Taken(mark.clone())) {
            Ok(()) => return Ok(Taken { manager: self, name, mark, settled: false }),
            Err(Place::Taken(_)) => None,
            Err(Place::Here(managed)) => {
                let plugin = managed.plugin();
                Some(format!("`{}` ({})", plugin.name(), plugin.digest().short()))
            }
        };
        let taken = Error::new(ErrorKind::NameTaken { name: name.to_string(), holder, plugin: plugin() });
        self.0.bus.tell(&name, || Happened::LoadFailed { reason: taken.to_string() });
        Err(taken)
    }

    /// The plugin of this name. A reference to it works as long as it is not unloaded, and is
    /// the shortest way to its calls.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn get(&self, name: &str) -> Result<Managed> {
        match self.0.plugins.get(name) {
            Some(Place::Here(managed)) => Ok(managed),
            _ => Err(self.not_loaded(name)),
        }
    }

    /// The plugin that was loaded from this file or folder.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn at(&self, path: &Path) -> Result<Managed> {
        // Of one that is gone, what is left is its name.
        let is_same = |one: &Path, other: &Path| {
            let real = |path: &Path| path.canonicalize().ok();
            let named = |path: &Path| std::path::absolute(path).ok();
            named(one) == named(other) || real(one).is_some_and(|one| real(other) == Some(one))
        };
        let is_it = |managed: &Managed| managed.origin().is_some_and(|origin| is_same(&origin.path, path));
        self.here().find(is_it).ok_or_else(|| self.not_loaded(&path.to_string_lossy()))
    }

    #[cold]
    fn not_loaded(&self, name: &str) -> Error {
        let names = self.list();
        let nearest = nearest(name, names.iter().map(|known| &**known));
        Error::new(ErrorKind::NotLoaded { name: name.to_owned(), nearest })
    }

    /// The plugin that this word of the command line belongs to.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn command(&self, word: &str) -> Result<Managed> {
        let holder = self.commands().get(word).cloned();
        match holder {
            Some(name) => self.get(&name),
            None => Err(self.not_loaded(word)),
        }
    }

    fn commands(&self) -> MutexGuard<'_, BTreeMap<String, Arc<str>>> {
        // Each change of it is one of the map's own.
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a function of a plugin.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; as [`Plugin::call`].
    pub async fn call<T, R>(&self, name: &str, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let called = self.invoke(name, function, Input::json(input)?).await?;
        called.try_map(|answer| answer.parse(function))
    }

    /// Calls a function of a plugin.
    ///
    /// # Errors
    /// As [`Manager::call`].
    pub async fn invoke(&self, name: &str, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.get(name)?.invoke(function, input).await
    }

    /// [`Manager::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Manager::call`] and [`Plugin::call_blocking`].
    pub fn invoke_blocking(&self, name: &str, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.0.plugins.with(name, |place| match place {
            Some(Place::Here(managed)) => managed.invoke_blocking(function, input),
            _ => Err(self.not_loaded(name)),
        })
    }

    /// Calls a function of a plugin with numbers of its types: the shortest way to a warm call.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; as [`Managed::call_func`].
    pub async fn call_func<P: Params, R: Results>(&self, name: &str, function: &str, params: P) -> Result<R> {
        self.get(name)?.call_func(function, params).await
    }

    /// [`Manager::call_func`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Manager::call_func`] and [`Managed::call_func_blocking`].
    #[inline]
    pub fn call_func_blocking<P: Params, R: Results>(
        &self,
        name: &str,
        function: &str,
        params: P,
    ) -> Result<R> {
        self.0.plugins.with(name, |place| match place {
            Some(Place::Here(managed)) => managed.call_func_blocking(function, params),
            _ => Err(self.not_loaded(name)),
        })
    }

    /// Puts other bytes in a plugin's place, once `check` is content with them. Calls that run
    /// finish on the bytes they were begun with; those that wait and those that begin later are
    /// of the new ones. A session that it lived in is closed, after the call that runs in it.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; [`ErrorKind::CommandTaken`] where another plugin has one of its
    /// words; what `check` fails with. Then everything is as it was.
    pub async fn replace(
        &self,
        name: &str,
        plugin: &Plugin,
        check: impl AsyncFnOnce(&Plugin) -> Result<()>,
    ) -> Result<()> {
        let managed = self.get(name)?;
        let checked = check(plugin).await;
        let left = self.put_in_place(&managed, checked.map(|()| plugin.again()))?;
        if let Some(left) = left
            && let Err(error) = left.close().await
        {
            managed.cleanup_failed(&error);
        }
        Ok(())
    }

    /// [`Manager::replace`] on this thread.
    ///
    /// # Errors
    /// As [`Manager::replace`].
    pub fn replace_blocking(
        &self,
        name: &str,
        plugin: &Plugin,
        check: impl FnOnce(&Plugin) -> Result<()>,
    ) -> Result<()> {
        let managed = self.get(name)?;
        let checked = check(plugin);
        self.put_blocking(&managed, checked.map(|()| plugin.again()))
    }

    /// Goes back to the bytes that were in a plugin's place before the last
    /// [replacement](Manager::replace); once more, and the replacement is back.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; [`ErrorKind::InvalidSetting`] where nothing was replaced;
    /// [`ErrorKind::CommandTaken`].
    pub fn roll_back(&self, name: &str) -> Result<()> {
        let managed = self.get(name)?;
        let previous = managed.previous().ok_or_else(|| {
            let reason = "it was not replaced, so there is nothing to go back to".to_owned();
            Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason })
        })?;
        self.put_blocking(&managed, Ok(previous.again()))
    }

    fn put_blocking(&self, managed: &Managed, plugin: Result<Plugin>) -> Result<()> {
        if let Some(left) = self.put_in_place(managed, plugin)?
            && let Err(error) = left.close_blocking()
        {
            managed.cleanup_failed(&error);
        }
        Ok(())
    }

    /// The one way to other bytes. Gives the session that is to be closed.
    fn put_in_place(&self, managed: &Managed, plugin: Result<Plugin>) -> Result<Option<Box<Session>>> {
        let name = managed.name();
        let mut digest = None;
        let put = plugin.and_then(|plugin| {
            digest = Some(plugin.digest());
            // Held until it is there, so that of two at once the words are the later one's too.
            let mut commands = self.commands();
            if managed.is_unloaded() {
                return Err(self.not_loaded(name));
            }
            let words = words_of(&plugin);
            refuse_taken(&commands, name, &words)?;
            commands.retain(|_, holder| *holder != *name);
            commands.extend(words.into_iter().map(|word| (word, name.clone())));
            let to = plugin.digest();
            let (from, left) = managed.put(plugin);
            drop(commands);
            self.0.bus.tell(name, || Happened::Reloaded { from, to });
            Ok(left)
        });
        put.inspect_err(|error| self.tell_refused(name, digest, error))
    }

    fn tell_refused(&self, name: &Arc<str>, digest: Option<Digest>, error: &Error) {
        self.0.bus.tell(name, || match (error.kind(), digest) {
            (ErrorKind::Escalation { more, .. }, Some(digest)) => {
                Happened::AsksForMore { digest, more: more.clone() }
            }
            _ => Happened::ReloadFailed { reason: error.to_string() },
        });
    }

    /// Takes a plugin away. No call of it begins any more, those that run are ended, at the next
    /// tick of 10 ms at the latest, and nothing waits for them. A session that is idle is
    /// [closed](Session::close) first, which is all that is waited for.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub async fn unload(&self, name: &str) -> Result<()> {
        let (mut leaving, session) = self.take_away(name)?;
        if let Some(session) = session {
            let closed = session.close().await;
            leaving.cleanup_failed(closed);
        }
        Ok(())
    }

    /// [`Manager::unload`] on this thread.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn unload_blocking(&self, name: &str) -> Result<()> {
        let (mut leaving, session) = self.take_away(name)?;
        if let Some(session) = session {
            let closed = session.close_blocking();
            leaving.cleanup_failed(closed);
        }
        Ok(())
    }

    fn take_away(&self, name: &str) -> Result<(Leaving, Option<Box<Session>>)> {
        let here = |place: &Place| matches!(place, Place::Here(_));
        let mut commands = self.commands();
        // Not counted twice, nor not at all, by whoever counts meanwhile.
        let removed = self.0.gone.leaving(|| match self.0.plugins.remove_if(name, here) {
            Some(Place::Here(managed)) => Some((managed.meter().clone(), managed)),
            _ => None,
        });
        let Some(managed) = removed else {
            drop(commands);
            return Err(self.not_loaded(name));
        };
        commands.retain(|_, holder| **holder != *name);
        // Before anybody can put other bytes in its place.
        let session = managed.close();
        drop(commands);
        let leaving = Leaving(managed);
        if session.is_none() {
            leaving.0.retire();
        }
        Ok((leaving, session))
    }

    /// Takes all plugins away, and says how many.
    pub async fn unload_all(&self) -> usize {
        let mut count = 0;
        for name in self.list() {
            // One that somebody else unloads meanwhile is not there any more.
            count += usize::from(self.unload(&name).await.is_ok());
        }
        count
    }

    /// [`Manager::unload_all`] on this thread.
    pub fn unload_all_blocking(&self) -> usize {
        self.list().iter().filter(|name| self.unload_blocking(name).is_ok()).count()
    }

    /// Ends everything: [drains](Manager::drain), takes all plugins away, and has those who
    /// [listen](Manager::events) come to an end. Returns how many calls had to be cut.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let cut = self.drain(grace).await;
        self.unload_all().await;
        self.0.bus.close();
        cut
    }

    /// Has calls come to an end: sessions that are idle are closed, calls that run may finish for up
    /// to `grace` and are cut off then. The host takes no more calls. Returns how many calls had to
    /// be cut.
    pub async fn drain(&self, grace: Duration) -> usize {
        for managed in self.here() {
            // What is busy ends with its call.
            if managed.is_idle() {
                let _ = managed.stop().await;
            }
        }
        self.0.host.shutdown(grace).await
    }

    fn here(&self) -> impl Iterator<Item = Managed> {
        self.0.plugins.sorted().into_iter().filter_map(|(_, place)| match place {
            Place::Here(managed) => Some(managed),
            Place::Taken(_) => None,
        })
    }

    /// The names of all plugins, sorted.
    pub fn list(&self) -> Vec<Arc<str>> {
        self.here().map(|managed| managed.name().clone()).collect()
    }

    /// The plugins that may use all of this now, by name.
    pub fn with_capability(&self, capability: &Capability) -> Vec<Arc<str>> {
        let may = |managed: &Managed| managed.plugin().policy().allows(capability);
        self.here().filter(may).map(|managed| managed.name().clone()).collect()
    }

    /// The plugins that are called this way, by name.
    pub fn with_abi(&self, abi: AbiId) -> Vec<Arc<str>> {
        let is_it = |managed: &Managed| managed.plugin().abi() == abi;
        self.here().filter(is_it).map(|managed| managed.name().clone()).collect()
    }

    /// What is known of a plugin.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn info(&self, name: &str) -> Result<PluginInfo> {
        let managed = self.get(name)?;
        let commands = self.commands();
        let words = commands.iter().filter(|(_, holder)| **holder == *managed.name());
        let words = words.map(|(word, _)| word.clone()).collect();
        drop(commands);
        Ok(managed.info(words))
    }

    /// What the calls of all plugins came to, unloaded ones included.
    pub fn metrics(&self) -> Metrics {
        self.snapshot().total
    }

    /// What the calls of each plugin and of all of them came to, taken at one moment.
    pub fn snapshot(&self) -> Snapshot {
        self.0.gone.snapshot(|| {
            self.here().map(|managed| (managed.name().clone(), managed.meter().clone())).collect()
        })
    }

    /// Listens to what happens from now on.
    pub fn events(&self) -> PluginEvents {
        self.0.bus.listen()
    }

    /// Finds the plugins in these folders, without compiling any: see [`Discovered`].
    pub fn discover<'a>(&self, folders: impl IntoIterator<Item = &'a Path>) -> Discovered {
        discover::discover(&self.0.host, folders)
    }
}

/// The words of the command line that a plugin wants.
fn words_of(plugin: &Plugin) -> Vec<String> {
    let commands = plugin.manifest().map(|manifest| manifest.commands.as_slice()).unwrap_or_default();
    commands.iter().map(|command| command.name.clone()).collect()
}

/// Refuses words that another plugin has.
fn refuse_taken(commands: &BTreeMap<String, Arc<str>>, name: &Arc<str>, words: &[String]) -> Result<()> {
    let taken =
        words.iter().find_map(|word| commands.get_key_value(word).filter(|(_, holder)| *holder != name));
    match taken {
        None => Ok(()),
        Some((word, holder)) => Err(Error::new(ErrorKind::CommandTaken {
            command: word.clone(),
            holder: holder.to_string(),
            plugin: name.to_string(),
        })),
    }
}

/// A plugin on its way out: its calls are ended when this is dropped at the latest.
struct Leaving(Managed);

impl Leaving {
    fn cleanup_failed(&mut self, closed: Result<()>) {
        if let Err(error) = closed {
            self.0.cleanup_failed(&error);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.retire();
        self.0.bus().tell(self.0.name(), || Happened::Unloaded);
    }
}

/// A name that is taken and has no plugin yet; given back unless one is put there.
struct Taken<'a> {
    manager: &'a Manager,
    name: Arc<str>,
    mark: Arc<()>,
    settled: bool,
}

impl Taken<'_> {
    fn settle(mut self, loaded: Result<Plugin>, origin: Option<Origin>) -> Result<Managed> {
        let inner = &self.manager.0;
        let settled = loaded.and_then(|plugin| {
            let mut commands = self.manager.commands();
            let words = words_of(&plugin);
            refuse_taken(&commands, &self.name, &words)?;
            commands.extend(words.into_iter().map(|word| (word, self.name.clone())));
            let managed = Managed::new(self.name.clone(), plugin, inner.bus.clone(), inner.keeper.clone());
            if let Some(origin) = origin {
                managed.came_from(origin);
            }
            inner.plugins.put(self.name.clone(), Place::Here(managed.clone()));
            self.settled = true;
            Ok(managed)
        });
        match &settled {
            Ok(managed) => {
                inner.bus.tell(&self.name, || Happened::Loaded { digest: managed.plugin().digest() });
            }
            Err(error) => inner.bus.tell(&self.name, || Happened::LoadFailed { reason: error.to_string() }),
        }
        settled
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let mine = |place: &Place| matches!(place, Place::Taken(mark) if Arc::ptr_eq(mark, &self.mark));
            self.manager.0.plugins.remove_if(&self.name, mine);
        }
    }
}

/// A time in milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
