//! A plugin among fakes.

use std::path::Path;
use std::time::SystemTime;

use airlock_core::{AbiId, Capability, LimitKind, Outcome, Overrides, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FakeData, Fakes, Observed};
use crate::answer::Program;
use crate::builder::HostBuilder;
use crate::host::Host;
use crate::load::LoadOptions;
use crate::manager::{Managed, Manager};
use crate::plugin::{Plugin, ProgramInput};
use crate::source::Source;

/// Loads a plugin from its file or folder, among fakes and with all that it asks for allowed.
///
/// A module without a manifest asks by its imports, of which only what gives nothing away is
/// allowed then; [`TestPluginBuilder::allow`] allows more.
///
/// # Errors
/// Every way loading can fail.
pub fn test_plugin(path: impl AsRef<Path>) -> Result<TestPlugin> {
    TestPlugin::builder().load(path.as_ref())
}

/// A plugin whose services are all fakes.
#[derive(Debug)]
pub struct TestPlugin {
    manager: Manager,
    managed: Managed,
    fakes: Fakes,
}

impl TestPlugin {
    /// A plugin under test that is loaded otherwise than [`test_plugin`] does.
    pub fn builder() -> TestPluginBuilder {
        TestPluginBuilder::default()
    }

    /// Calls a function on this thread, until it is done: in its session where the plugin keeps
    /// state, and on a fresh instance otherwise.
    ///
    /// # Errors
    /// As [`Plugin::call_blocking`]. Inside a tokio runtime a plugin that may wait is called through
    /// [`TestPlugin::managed`].
    pub fn call<T, R>(&self, name: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let called = self.managed.invoke_blocking(name, crate::answer::Input::json(input)?)?;
        called.try_map(|answer| answer.parse(name))
    }

    /// Runs a program on this thread, to its end.
    ///
    /// # Errors
    /// As [`Plugin::run_blocking`].
    pub fn run(&self, input: ProgramInput) -> Result<Outcome<Program>> {
        self.managed.run_blocking(input)
    }

    /// The functions that can be called; none for a program.
    pub fn functions(&self) -> Vec<String> {
        self.plugin().functions().to_vec()
    }

    /// What it is.
    pub fn plugin(&self) -> Plugin {
        self.managed.plugin()
    }

    /// It with everything that a managed plugin has, such as calls that are awaited.
    pub fn managed(&self) -> &Managed {
        &self.managed
    }

    /// Its services.
    pub fn fakes(&self) -> &Fakes {
        &self.fakes
    }

    /// What they were asked so far.
    pub fn observed(&self) -> Observed {
        self.fakes.observed(self.plugin().name())
    }

    /// Ends it and its calls, and has it clean up where it keeps state. Dropped, it ends without that.
    ///
    /// # Errors
    /// Where it was ended already.
    pub fn close(&self) -> Result<()> {
        self.manager.unload_blocking(self.managed.name())
    }
}

/// How a plugin under test is loaded.
#[derive(Debug, Clone, Default)]
pub struct TestPluginBuilder {
    host: Option<HostBuilder>,
    beside: Option<Host>,
    options: LoadOptions,
    only_allowed: bool,
    fakes: Fakes,
    data: Vec<FakeData>,
}

impl TestPluginBuilder {
    /// Allows this and nothing else but what is allowed likewise, instead of all that is asked for.
    #[must_use]
    pub fn allow(mut self, capability: Capability) -> Self {
        self.options = self.options.allow(capability);
        self.allow_nothing()
    }

    /// Allows nothing but what [`allow`](TestPluginBuilder::allow) says.
    #[must_use]
    pub fn allow_nothing(mut self) -> Self {
        self.only_allowed = true;
        self
    }

    /// Denies a capability, whatever is allowed.
    #[must_use]
    pub fn deny(mut self, capability: Capability) -> Self {
        self.options = self.options.deny(capability);
        self
    }

    /// Sets a limit, in its unit.
    #[must_use]
    pub fn limit(mut self, kind: LimitKind, value: u64) -> Self {
        self.options = self.options.limit(kind, value);
        self
    }

    /// Sets limits.
    #[must_use]
    pub fn limits(mut self, limits: &Overrides) -> Self {
        self.options = self.options.limits(limits);
        self
    }

    /// Calls the plugin this way, whatever it looks like.
    #[must_use]
    pub fn abi(mut self, abi: AbiId) -> Self {
        self.options = self.options.abi(abi);
        self
    }

    /// Knows the plugin by this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// Accepts WebAssembly text, as a path that ends in `.wat` does by itself.
    #[must_use]
    pub fn wat(mut self, accept: bool) -> Self {
        self.options = self.options.wat(accept);
        self
    }

    /// Whether it is called in one session: as its ABI has it where nothing is said.
    #[must_use]
    pub fn keep_state(mut self, keep: bool) -> Self {
        self.options = self.options.keep_state(keep);
        self
    }

    /// Gives it a clock and random numbers that are the same in every run, whatever is allowed.
    /// That clock begins at 2020-01-01 where [`virtual_clock`](TestPluginBuilder::virtual_clock) says
    /// nothing else, moves at every look, and passes sleeps at once.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.options = self.options.deterministic(deterministic);
        self
    }

    /// Where the virtual clock begins, where it has one.
    #[must_use]
    pub fn virtual_clock(mut self, start: SystemTime) -> Self {
        self.options = self.options.virtual_clock(start);
        self
    }

    /// What its random numbers are made of, where they are not real.
    #[must_use]
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.options = self.options.random_seed(seed);
        self
    }

    /// Loads it with these options, in place of all that was said of it before.
    #[must_use]
    pub fn options(mut self, options: LoadOptions) -> Self {
        self.options = options;
        self
    }

    /// Loads it on a host that is set up like this, but for its services.
    #[must_use]
    pub fn host(mut self, host: HostBuilder) -> Self {
        self.host = Some(host);
        self
    }

    /// Loads it on a host [beside](Host::beside) this one, with services of its own: many tests of the
    /// same bytes compile and link them once. Goes before [`host`](TestPluginBuilder::host).
    #[must_use]
    pub fn beside(mut self, host: &Host) -> Self {
        self.beside = Some(host.clone());
        self
    }

    /// Gives it these services.
    #[must_use]
    pub fn fakes(mut self, fakes: Fakes) -> Self {
        self.fakes = fakes;
        self
    }

    /// Puts what is written down into its services.
    #[must_use]
    pub fn fake(mut self, data: FakeData) -> Self {
        self.data.push(data);
        self
    }

    /// Loads it.
    ///
    /// # Errors
    /// Every way loading can fail; what cannot be answered of what was [written
    /// down](TestPluginBuilder::fake).
    pub fn load(self, source: impl Into<Source>) -> Result<TestPlugin> {
        let TestPluginBuilder { host, beside, options, only_allowed, fakes, data } = self;
        let options = if only_allowed { options } else { options.allow_all_requested() };
        let host = match (beside, host) {
            (Some(other), _) => other.beside(fakes.services()),
            (None, Some(host)) => host.services(fakes.services()).build()?,
            // A test makes few calls: instances made ahead would be for nothing.
            (None, None) => Host::builder().on_demand().services(fakes.services()).build()?,
        };
        let plugin = host.load_blocking(source, options)?;
        data.iter().try_for_each(|data| fakes.put(data, plugin.name()))?;
        let manager = Manager::new(host);
        let managed = manager.insert(plugin.name(), &plugin)?;
        Ok(TestPlugin { manager, managed, fakes })
    }
}
