//! sen-rs's loader, as its document has it, on this host.
//!
//! ```
//! use airlock_host::sen::{Config, ExecuteResult, Loader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let loader = Loader::new(Config {
//!     working_directory: std::env::current_dir()?,
//!     ..Config::default()
//! })?;
//!
//! let wasm_bytes = std::fs::read("../../plugins/sen-greet/sen_greet.wasm")?;
//! let plugin = loader.load_blocking(&wasm_bytes)?;
//!
//! // The plugin has what its manifest declares.
//! let outcome = plugin.instance.execute_blocking(&["arg1"])?;
//! assert_eq!(outcome.value, ExecuteResult::Success("Hello, arg1!".into()));
//! # Ok(())
//! # }
//! ```
//!
//! There is one loader for plugins with and without WASI. Whoever wants more than that document
//! has (grants that somebody decides over, a ceiling, a compile cache, plugins by their names) loads
//! the same plugins with [`Host::load`] or a [`Manager`](crate::manager::Manager).

use std::path::PathBuf;
use std::pin::pin;

use airlock_core::{CommandSpec, Error, ErrorKind, LimitKind, Manifest, Outcome, Request, Result};
use serde_json::json;

use crate::abi::sen::{FUEL, RESUME, STEP};
use crate::answer::{Answer, Input};
use crate::host::Host;
use crate::load::{LoadOptions, off_thread};
use crate::plugin::{Plugin, executed};

pub use crate::abi::sen::{Effect, EffectResult, ExecuteError, ExecuteResult, HttpResponse};

/// How plugins are loaded and bounded: the settings of sen-rs's `WasiLoaderConfig`, and their
/// defaults but for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder that relative paths of capabilities begin in, and never lead out of: this
    /// process's own where it has one, else `/`.
    pub working_directory: PathBuf,
    /// Whether symbolic links on the way to granted folders are followed: `true`. Where not, a
    /// folder behind one is none that could be used.
    pub follow_symlinks: bool,
    /// Whether a plugin is executed only when every folder it needs is there: `true`. Where not,
    /// it is executed without those that are missing.
    pub require_existence: bool,
    /// Instructions of one execution: 100 million. Its document has 10 million, of an engine that
    /// copies any amount of memory for one; here each byte that is copied counts as one.
    pub fuel_limit: u64,
    /// Bytes of the running plugin's stack: 1 MiB.
    pub max_stack_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            follow_symlinks: true,
            require_existence: true,
            fuel_limit: FUEL,
            max_stack_size: 1 << 20,
        }
    }
}

/// Loads plugins from their bytes.
#[derive(Debug, Clone)]
pub struct Loader {
    host: Host,
    options: LoadOptions,
}

impl Loader {
    /// One with a host of its own, which gives plugins what their manifests declare and asks
    /// nobody.
    ///
    /// # Errors
    /// As [`HostBuilder::build`](crate::HostBuilder::build).
    pub fn new(config: Config) -> Result<Self> {
        let host = Host::builder().limit(LimitKind::Stack, config.max_stack_size as u64).build()?;
        let Loader { host, options } = Loader::on(&host, config);
        Ok(Loader { host, options: options.allow_all_requested() })
    }

    /// One with the defaults, but for where relative paths begin.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn with_working_directory(working_directory: PathBuf) -> Result<Self> {
        Loader::new(Config { working_directory, ..Config::default() })
    }

    /// One on a host that is there already: whose approval decides over what plugins are given,
    /// and whose stack they have.
    pub fn on(host: &Host, config: Config) -> Self {
        let options = LoadOptions::new()
            .working_folder(config.working_directory)
            .follow_symlinks(config.follow_symlinks)
            .require_paths(config.require_existence)
            .limit(LimitKind::Fuel, config.fuel_limit);
        Loader { host: host.clone(), options }
    }

    /// Loads a plugin: compiles it, asks it for its manifest, and checks that.
    ///
    /// # Errors
    /// As [`Host::load`]; [`ErrorKind::AbiMismatch`] when it is no plugin of sen-rs.
    pub async fn load(&self, wasm_bytes: &[u8]) -> Result<LoadedPlugin> {
        let (loader, bytes) = (self.clone(), wasm_bytes.to_vec());
        off_thread("airlock-load", move || loader.load_blocking(&bytes)).await
    }

    /// [`Loader::load`] on this thread.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load_blocking(&self, wasm_bytes: &[u8]) -> Result<LoadedPlugin> {
        let options = self.options.clone().abi(airlock_core::AbiId::Sen);
        let plugin = self.host.load_blocking(wasm_bytes, options)?;
        let manifest = plugin.manifest().cloned();
        let manifest = manifest.ok_or_else(|| Error::host("a plugin that did not say what it is"))?;
        Ok(LoadedPlugin { manifest, instance: PluginInstance(plugin) })
    }
}

/// A plugin, and what it says of itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadedPlugin {
    /// What it says of itself.
    pub manifest: Manifest,
    /// What executes it.
    pub instance: PluginInstance,
}

impl LoadedPlugin {
    /// Its command.
    pub fn command(&self) -> Option<&CommandSpec> {
        self.manifest.commands.first()?.spec.as_ref()
    }
}

/// Executes a plugin. Cheap to clone, and executes as many at once as there are slots.
#[derive(Debug, Clone)]
pub struct PluginInstance(Plugin);

impl PluginInstance {
    /// Executes it on an instance of its own, under the capabilities it was loaded with. What it
    /// wants done on the way is done under them too, and it is resumed with what came of it.
    ///
    /// # Errors
    /// As [`Plugin::execute`]; [`ErrorKind::Unusable`] when a folder it needs is missing.
    pub async fn execute(&self, args: &[impl AsRef<str> + Sync]) -> Result<Outcome<ExecuteResult>> {
        self.0.execute(args).await
    }

    /// [`PluginInstance::execute`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`PluginInstance::execute`]; [`ErrorKind::BlockingInRuntime`] inside a tokio runtime where
    /// the plugin has imports that may wait.
    pub fn execute_blocking(&self, args: &[impl AsRef<str>]) -> Result<Outcome<ExecuteResult>> {
        self.0.execute_blocking(args)
    }

    /// What it asks for.
    pub fn capabilities(&self) -> &[Request] {
        self.0.requests()
    }

    /// Whether it could be resumed. (Every plugin that is built with its SDK could.)
    pub fn supports_effects(&self) -> bool {
        self.0.shape().function(RESUME).is_some()
    }

    /// The plugin as every other one.
    pub fn plugin(&self) -> &Plugin {
        &self.0
    }

    /// An instance that is kept between executions, with its memory, and leaves what it wants
    /// done to whoever executes it: what sen-rs's loader without WASI does.
    ///
    /// # Errors
    /// As [`Plugin::session`].
    pub async fn session(&self) -> Result<Session> {
        self.0.session().await.map(|session| Session { session, pending: None })
    }

    /// [`PluginInstance::session`] on this thread.
    ///
    /// # Errors
    /// As [`Plugin::session_blocking`].
    pub fn session_blocking(&self) -> Result<Session> {
        self.0.session_blocking().map(|session| Session { session, pending: None })
    }
}

/// An instance that is kept between executions.
#[derive(Debug)]
pub struct Session {
    session: crate::session::Session,
    /// The effect it waits for.
    pending: Option<u32>,
}

impl Session {
    /// Executes it up to its end, or up to the next thing that it wants done.
    ///
    /// # Errors
    /// As [`PluginInstance::execute`]; [`ErrorKind::SessionEnded`].
    pub async fn execute(&mut self, args: &[impl AsRef<str> + Sync]) -> Result<Outcome<ExecuteResult>> {
        self.step(STEP, words(args)).await
    }

    /// [`Session::execute`] on this thread.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn execute_blocking(&mut self, args: &[impl AsRef<str>]) -> Result<Outcome<ExecuteResult>> {
        self.step_blocking(STEP, words(args))
    }

    /// Resumes it with what came of the effect that it waits for.
    ///
    /// # Errors
    /// As [`Session::execute`]; [`ErrorKind::InvalidSetting`] when it waits for no effect, or for
    /// another.
    pub async fn resume(&mut self, effect_id: u32, result: &EffectResult) -> Result<Outcome<ExecuteResult>> {
        let input = self.resumption(effect_id, result)?;
        self.step(RESUME, input).await
    }

    /// [`Session::resume`] on this thread.
    ///
    /// # Errors
    /// As [`Session::resume`].
    pub fn resume_blocking(
        &mut self,
        effect_id: u32,
        result: &EffectResult,
    ) -> Result<Outcome<ExecuteResult>> {
        let input = self.resumption(effect_id, result)?;
        self.step_blocking(RESUME, input)
    }

    /// The effect that it waits for.
    pub fn pending(&self) -> Option<u32> {
        self.pending
    }

    async fn step(&mut self, function: &str, input: Input) -> Result<Outcome<ExecuteResult>> {
        let outcome = pin!(self.session.invoke(function, input)).await;
        self.stepped(outcome)
    }

    fn step_blocking(&mut self, function: &str, input: Input) -> Result<Outcome<ExecuteResult>> {
        let outcome = self.session.invoke_blocking(function, input);
        self.stepped(outcome)
    }

    fn stepped(&mut self, outcome: Result<Outcome<Answer>>) -> Result<Outcome<ExecuteResult>> {
        self.pending = None;
        let outcome = outcome?.try_map(executed)?;
        if let ExecuteResult::Effect(effect) = &outcome.value {
            self.pending = Some(effect.id());
        }
        Ok(outcome)
    }

    fn resumption(&self, effect_id: u32, result: &EffectResult) -> Result<Input> {
        if self.pending == Some(effect_id) {
            return Ok(Input::Json(json!({ "id": effect_id, "result": result }).to_string()));
        }
        let reason = match self.pending {
            Some(pending) => format!("effect {pending} is what the plugin waits for"),
            None => "the plugin waits for no effect".to_owned(),
        };
        Err(Error::new(ErrorKind::InvalidSetting { name: format!("effect {effect_id}"), reason }))
    }
}

fn words(args: &[impl AsRef<str>]) -> Input {
    Input::Words(args.iter().map(|arg| arg.as_ref().to_owned()).collect())
}
