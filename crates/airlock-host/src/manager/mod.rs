//! Many plugins of one application, by their names.
//!
//! A [`Manager`] has plugins under names that the application gives them, counts what their
//! calls come to, and tells what happens to them. It holds no lock while anything is compiled,
//! asked or run: a name is taken before its plugin is loaded, and a call works on a reference.
//! So a plugin that spins delays neither a list nor another plugin, and unloading it ends it.

mod discover;
mod events;
mod managed;
mod map;
mod metrics;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use airlock_core::{AbiId, Capability, Digest, Error, ErrorKind, Outcome, Result, nearest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::events::Bus;
use self::map::Map;
use self::metrics::Meter;
use crate::answer::{Answer, Input};
use crate::host::Host;
use crate::load::LoadOptions;
use crate::plugin::Plugin;
use crate::source::Source;

pub use discover::{Discovered, FoundPlugin};
pub use events::{Happened, Notice, PluginEvent, PluginEvents};
pub use managed::{CrashPolicy, Managed, PluginState};
pub use metrics::{Failures, Latency, Metrics};

/// Plugins by their names. Cheap to clone; all clones are one manager.
#[derive(Debug, Clone)]
pub struct Manager(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Host,
    plugins: Map<Place>,
    /// Who has which word of the command line.
    commands: Mutex<BTreeMap<String, Arc<str>>>,
    bus: Arc<Bus>,
    /// What plugins that are gone came to.
    gone: Meter,
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
            gone: Meter::new(),
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
        let taken = self.take(name)?;
        let plugin = self.0.host.load_with(source, options).await?;
        taken.settle(plugin)
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
        let taken = self.take(name)?;
        let plugin = self.0.host.load_blocking(source, options)?;
        taken.settle(plugin)
    }

    /// Puts a plugin that was loaded already under this name.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`] and [`ErrorKind::CommandTaken`].
    pub fn insert(&self, name: &str, plugin: Plugin) -> Result<Managed> {
        self.take(name)?.settle(plugin)
    }

    fn take(&self, name: &str) -> Result<Taken<'_>> {
        let (name, mark): (Arc<str>, _) = (name.into(), Arc::new(()));
        match self.0.plugins.insert(name.clone(), Place::Taken(mark.clone())) {
            Ok(()) => Ok(Taken { manager: self, name, mark, settled: false }),
            Err(_) => Err(Error::new(ErrorKind::NameTaken(name.to_string()))),
        }
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
        self.get(name)?.invoke_blocking(function, input)
    }

    /// Puts other bytes in a plugin's place, once `check` is content with them. Calls that run
    /// finish on the bytes they were begun with; calls that begin later are of the new ones. A
    /// session that it lived in is gone with the old ones.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; [`ErrorKind::CommandTaken`] where another plugin has one of its
    /// words; what `check` fails with. Then everything is as it was.
    pub async fn replace(
        &self,
        name: &str,
        plugin: Plugin,
        check: impl AsyncFnOnce(&Plugin) -> Result<()>,
    ) -> Result<()> {
        let managed = self.get(name)?;
        let checked = check(&plugin).await;
        self.put_in_place(&managed, checked.map(|()| plugin))
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
        self.put_in_place(&managed, Ok(previous))
    }

    fn put_in_place(&self, managed: &Managed, plugin: Result<Plugin>) -> Result<()> {
        let name = managed.name();
        let put = plugin.and_then(|plugin| {
            {
                let mut commands = self.commands();
                let words = words_of(&plugin);
                refuse_taken(&commands, name, &words)?;
                commands.retain(|_, holder| *holder != *name);
                commands.extend(words.into_iter().map(|word| (word, name.clone())));
            }
            let to = plugin.digest();
            let from = managed.put(plugin);
            self.0.bus.tell(name, || Happened::Reloaded { from, to });
            Ok(())
        });
        put.inspect_err(|error| {
            self.0.bus.tell(name, || Happened::ReloadFailed { reason: error.to_string() })
        })
    }

    /// Takes a plugin away, and ends its calls: those that run, at the next tick of 10 ms at the
    /// latest, and later ones of references to it at once. It waits for none of them.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`].
    pub fn unload(&self, name: &str) -> Result<()> {
        let here = |place: &Place| matches!(place, Place::Here(_));
        let Some(Place::Here(managed)) = self.0.plugins.remove_if(name, here) else {
            return Err(self.not_loaded(name));
        };
        self.commands().retain(|_, holder| **holder != *name);
        managed.retire();
        self.0.gone.add(managed.meter());
        self.0.bus.tell(managed.name(), || Happened::Unloaded);
        Ok(())
    }

    /// Takes all plugins away, and says how many.
    pub fn unload_all(&self) -> usize {
        // One that somebody else unloads meanwhile is not there any more.
        self.list().iter().filter(|name| self.unload(name).is_ok()).count()
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
        let here: Vec<Managed> = self.here().collect();
        Meter::total(here.iter().map(Managed::meter).chain([&self.0.gone]))
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

/// A name that is taken and has no plugin yet; given back unless one is put there.
struct Taken<'a> {
    manager: &'a Manager,
    name: Arc<str>,
    mark: Arc<()>,
    settled: bool,
}

impl Taken<'_> {
    fn settle(mut self, plugin: Plugin) -> Result<Managed> {
        let inner = &self.manager.0;
        {
            let mut commands = self.manager.commands();
            let words = words_of(&plugin);
            refuse_taken(&commands, &self.name, &words)?;
            commands.extend(words.into_iter().map(|word| (word, self.name.clone())));
        }
        let managed = Managed::new(self.name.clone(), plugin, inner.bus.clone());
        inner.plugins.put(self.name.clone(), Place::Here(managed.clone()));
        self.settled = true;
        inner.bus.tell(&self.name, || Happened::Loaded { digest: managed.plugin().digest() });
        Ok(managed)
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
