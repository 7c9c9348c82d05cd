//! What PRX's HTTP API answers about plugins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airlock_core::{Manifest, Policy};
use serde::Serialize;

use crate::manager::{Managed, Manager, PluginState, Reloaded};

/// What PRX's HTTP API answers about plugins, for those that a manager has. Who serves HTTP has what this
/// gives written as JSON. Clones count generations together.
///
/// ```
/// use airlock_host::manager::Manager;
/// use airlock_host::prx::Api;
/// use airlock_host::{Host, LoadOptions};
///
/// # fn main() -> Result<(), airlock_host::Error> {
/// let manager = Manager::new(Host::new()?);
/// manager.load_blocking("echo", "../../plugins/prx-provider", LoadOptions::new())?;
/// let api = Api::of(&manager);
/// assert_eq!(api.plugins().plugins[0].capabilities, ["provider:echo"]);
/// let answer = api.reload_blocking("echo");
/// assert_eq!((answer.http_status(), answer.generation), (200, Some(2)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Api {
    manager: Manager,
    generation: Arc<AtomicU64>,
}

/// What `GET /api/plugins` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PluginList {
    /// The plugins, by their names.
    pub plugins: Vec<ListedPlugin>,
    /// How many there are.
    pub count: usize,
    /// How often plugins were put in place, the first time included.
    pub generation: u64,
}

/// One plugin of that list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ListedPlugin {
    /// The name that it goes by.
    pub name: String,
    /// The version as its manifest has it; empty where it has none.
    pub version: String,
    /// What it is for; empty where its manifest does not say.
    pub description: String,
    /// What it does: `tool:weather`.
    pub capabilities: Vec<String>,
    /// Whether it can be called.
    pub status: PluginStatus,
    /// Permissions that it cannot run without, by PRX's names.
    pub permissions_required: Vec<String>,
    /// Those of its permissions that it has.
    pub permissions_granted: Vec<String>,
}

/// Whether a plugin can be called: `"Active"`, `"Unloading"`, or `{"Error":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum PluginStatus {
    /// It can.
    Active,
    /// It cannot, and why.
    Error(String),
    /// It is being taken away.
    Unloading,
}

/// What `POST /api/plugins/NAME/reload` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReloadAnswer {
    /// Whether what is there now is in place.
    pub success: bool,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation that it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Api {
    /// What is answered about this manager's plugins. The first generation is 1.
    pub fn of(manager: &Manager) -> Self {
        Api { manager: manager.clone(), generation: Arc::new(AtomicU64::new(1)) }
    }

    /// What `GET /api/plugins` answers.
    pub fn plugins(&self) -> PluginList {
        let names = self.manager.list();
        // One that has gone since is not there.
        let here = names.iter().filter_map(|name| self.manager.get(name).ok());
        PluginList::new(
            here.map(|managed| listed(&managed)).collect(),
            self.generation.load(Ordering::Acquire),
        )
    }

    /// Does what `POST /api/plugins/NAME/reload` does, in the way of [`Manager::reload`]: everything is as it
    /// was where that fails, and other plugins are left alone.
    pub async fn reload(&self, name: &str) -> ReloadAnswer {
        self.answer(name, self.manager.reload(name).await)
    }

    /// [`Api::reload`] on this thread.
    pub fn reload_blocking(&self, name: &str) -> ReloadAnswer {
        self.answer(name, self.manager.reload_blocking(name))
    }

    fn answer(&self, name: &str, reloaded: airlock_core::Result<Reloaded>) -> ReloadAnswer {
        match reloaded {
            Ok(_) => ReloadAnswer {
                success: true,
                message: Some(format!("plugin '{name}' reloaded")),
                generation: Some(self.generation.fetch_add(1, Ordering::AcqRel) + 1),
                error: None,
            },
            Err(error) => ReloadAnswer {
                success: false,
                message: None,
                generation: None,
                error: Some(error.to_string()),
            },
        }
    }
}

impl PluginList {
    /// A list of these.
    pub fn new(plugins: Vec<ListedPlugin>, generation: u64) -> Self {
        PluginList { count: plugins.len(), plugins, generation }
    }
}

impl ListedPlugin {
    /// What is told of a plugin of this name, which has this policy. A permission that it requires and has not
    /// is its error.
    pub fn new(name: &str, manifest: Option<&Manifest>, policy: &Policy) -> Self {
        let prx = manifest.and_then(|manifest| manifest.prx.as_ref());
        let of_prx = |texts: Option<Vec<&str>>| -> Vec<String> {
            texts.unwrap_or_default().into_iter().map(str::to_owned).collect()
        };
        let missing = prx.map(|prx| prx.lacks(policy)).unwrap_or_default();
        ListedPlugin {
            name: name.to_owned(),
            version: manifest.and_then(|manifest| manifest.version.clone()).unwrap_or_default(),
            description: manifest.and_then(|manifest| manifest.description.clone()).unwrap_or_default(),
            capabilities: prx
                .into_iter()
                .flat_map(|prx| &prx.capabilities)
                .map(|capability| format!("{}:{}", capability.kind, capability.name))
                .collect(),
            status: match missing.is_empty() {
                true => PluginStatus::Active,
                false => {
                    PluginStatus::Error(format!("required permissions not granted: {}", missing.join(", ")))
                }
            },
            permissions_required: of_prx(prx.map(|prx| prx.required.iter().map(String::as_str).collect())),
            permissions_granted: of_prx(prx.map(|prx| prx.granted(policy))),
        }
    }
}

impl ReloadAnswer {
    /// The status of the HTTP response that has this: 200 or 400.
    pub fn http_status(&self) -> u16 {
        if self.success { 200 } else { 400 }
    }
}

fn listed(managed: &Managed) -> ListedPlugin {
    let plugin = managed.plugin();
    let mut listed = ListedPlugin::new(managed.name(), plugin.manifest(), &plugin.policy());
    match managed.state() {
        PluginState::Failed(reason) => listed.status = PluginStatus::Error(reason),
        _ if managed.is_unloaded() => listed.status = PluginStatus::Unloading,
        _ => {}
    }
    listed
}
