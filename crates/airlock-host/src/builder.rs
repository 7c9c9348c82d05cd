//! Setting up a host.

use std::collections::HashMap;
use std::sync::Arc;

use airlock_core::{
    Approval, AuditSink, Ceiling, Error, LimitKind, Limits, OnAuditFailure, Overrides, Result,
};
use airlock_engine::{Cache, Compiler, EngineSettings, InProcess};

use crate::functions::{Functions, Offered};
use crate::host::{Host, HostParts};
use crate::recorded::Recorder;
use crate::service::Services;

/// Calls at once, where nothing else is said: enough for a busy server, little enough
/// that a pool of it is made in a fraction of a millisecond.
const DEFAULT_SLOTS: u32 = 128;

/// Bytes of code that are kept in memory, where nothing else is said. Code that came from the
/// cache's files is a mapping of them, which the system can take back.
const DEFAULT_MEMORY_CACHE: u64 = 256 << 20;

/// What plugins may use and have at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    ceiling: Ceiling,
    /// What limits are at most.
    most: Overrides,
    by_name: HashMap<String, (Overrides, Ceiling)>,
}

impl Rules {
    /// The limits set for the plugin of this name.
    pub(crate) fn limits(&self, name: &str) -> Overrides {
        self.by_name.get(name).map(|(limits, _)| limits.clone()).unwrap_or_default()
    }

    /// These limits, none of them above the host's most.
    pub(crate) fn capped(&self, limits: Limits) -> Limits {
        self.most.iter().fold(limits, |limits, (kind, most)| limits.capped(*kind, *most))
    }

    /// What the plugin of this name may have at most.
    pub(crate) fn ceiling(&self, name: &str) -> Ceiling {
        let own = self.by_name.get(name).map(|(_, ceiling)| ceiling.clone());
        self.ceiling.clone().and(own.unwrap_or_default())
    }
}

/// Builds a [`Host`].
#[derive(Debug, Clone, Default)]
pub struct HostBuilder {
    slots: Option<u32>,
    no_pool: bool,
    limits: Overrides,
    rules: Rules,
    approval: Option<Approval>,
    recorder: Option<Recorder>,
    services: Services,
    offered: Offered,
    compiler: Option<Arc<dyn Compiler>>,
    cache: Option<Arc<Cache>>,
    memory_cache: Option<u64>,
}

impl HostBuilder {
    /// How many calls may run at once; others wait for up to [`LimitKind::Wait`]. 128
    /// where not said.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots.max(1));
        self
    }

    /// Makes no instances ahead: every call maps its memory when it starts. Right for a
    /// process that makes a call or two and ends.
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.no_pool = true;
        self
    }

    /// Sets a limit for every plugin of this host, in the limit's unit. A plugin's own
    /// ([`LoadOptions::limit`](crate::LoadOptions::limit)) goes before it, but for [`LimitKind::Stack`] and
    /// [`LimitKind::HostMemory`], which are the host's.
    #[must_use]
    pub fn limit(mut self, kind: LimitKind, value: u64) -> Self {
        self.limits.insert(kind, value);
        self
    }

    /// Sets several limits, as [`HostBuilder::limit`] does each.
    #[must_use]
    pub fn limits(mut self, limits: &Overrides) -> Self {
        self.limits.extend(limits);
        self
    }

    /// Has no plugin of this host have more of something than this, in the limit's unit, whatever its ABI,
    /// its load or [`HostBuilder::plugin`] says. Of several that are set for a kind the least holds.
    #[must_use]
    pub fn at_most(mut self, kind: LimitKind, value: u64) -> Self {
        self.rules.most.entry(kind).and_modify(|most| *most = value.min(*most)).or_insert(value);
        self
    }

    /// Bounds what plugins can have, whatever is granted. All ceilings that are set hold.
    #[must_use]
    pub fn ceiling(mut self, ceiling: Ceiling) -> Self {
        self.rules.ceiling = self.rules.ceiling.and(ceiling);
        self
    }

    /// Limits and a ceiling for the plugin of this name. The limits go before the host's,
    /// from [admission](airlock_core::Phase::Admit) on; the ceiling holds beside the host's.
    ///
    /// A plugin that was not installed says its name itself.
    #[must_use]
    pub fn plugin(mut self, name: impl Into<String>, limits: Overrides, ceiling: Ceiling) -> Self {
        self.rules.by_name.insert(name.into(), (limits, ceiling));
        self
    }

    /// Has what plugins ask for decided this way, and kept. Without it they have what their
    /// load allows and nothing else.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approval = Some(approval);
        self
    }

    /// Records every call there, before it returns: the function, how it ended, what it used.
    /// The calling thread waits for the sink, also where the call is awaited.
    #[must_use]
    pub fn audit(mut self, sink: Arc<dyn AuditSink>, on_failure: OnAuditFailure) -> Self {
        self.recorder = Some(Recorder { sink, on_failure });
        self
    }

    /// The services that plugins reach, as far as they are granted.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    /// Offers functions of the application to plugins, as imports. Several sets may be added; of two
    /// functions with one name the one that was added later holds.
    #[must_use]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.offered.add(functions);
        self
    }

    /// What compiles: [`InProcess`] where not said, or a [`Worker`](crate::Worker) that can
    /// be killed.
    #[must_use]
    pub fn compiler(mut self, compiler: impl Compiler + 'static) -> Self {
        self.compiler = Some(Arc::new(compiler));
        self
    }

    /// Keeps compiled code here for the next process. Without it every process compiles.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// Keeps so many bytes of compiled code in memory for plugins to come, and as many of their
    /// artifacts: what was used longest ago makes room. 256 MiB where not said; 0 keeps none.
    /// Plugins that are loaded at one time share their code in any case.
    #[must_use]
    pub fn memory_cache(mut self, bytes: u64) -> Self {
        self.memory_cache = Some(bytes);
        self
    }

    /// The host.
    ///
    /// # Errors
    /// [`ErrorKind::Host`](airlock_core::ErrorKind::Host) when the machine cannot give what it needs.
    pub fn build(self) -> Result<Host> {
        let limits = self.rules.capped(Limits::default().with(&self.limits));
        let stack = limits.value(LimitKind::Stack);
        let settings = EngineSettings {
            slots: if self.no_pool { 0 } else { self.slots.unwrap_or(DEFAULT_SLOTS) },
            stack_bytes: usize::try_from(stack)
                .map_err(|_| Error::host("the stack does not fit this machine"))?,
            compiler: self.compiler.unwrap_or_else(|| Arc::new(InProcess::default())),
            cache: self.cache,
            memory_cache: self.memory_cache.unwrap_or(DEFAULT_MEMORY_CACHE),
        };
        let concurrent = self.slots.unwrap_or(DEFAULT_SLOTS);
        let HostBuilder { limits, rules, approval, recorder, services, offered, .. } = self;
        let parts = HostParts { overrides: limits, rules, approval, recorder, services, offered };
        Ok(Host::of(settings, parts, concurrent))
    }
}
