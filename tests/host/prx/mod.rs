//! PRX's plugins: what its WIT files, its documents and its code promise them, each as a test of that name.

mod api;
mod before_components;
mod built;
mod events;
mod host;
mod host_calls;
mod http;
mod limits;
mod load;
mod middleware;
mod names;
mod provider;
mod times;
mod tool;
mod variants;
mod wasi;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airlock_host::manager::{Managed, Manager};
use airlock_host::service::{EventBus, Services, TransientMemory};
use airlock_host::{Error, Host, Input, LoadOptions, Log, LogLevel, MemoryKv, Permit, Plugin};
use serde_json::{Value, json};

use crate::support::repository;

/// The wasm of one of the example plugins.
fn wasm(plugin: &str) -> Vec<u8> {
    let path = repository(&format!("plugins/{plugin}/{}.wasm", plugin.replace('-', "_")));
    std::fs::read(path).expect("it is built")
}

/// A folder with the wasm of an example plugin as `plugin.wasm`, and this manifest.
fn folder(plugin: &str, manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), plugin, manifest);
    folder
}

fn put(folder: &Path, plugin: &str, manifest: &str) {
    std::fs::write(folder.join("plugin.wasm"), wasm(plugin)).expect("written");
    std::fs::write(folder.join("plugin.toml"), manifest).expect("written");
}

/// A manifest with this behind its first table.
fn manifest(rest: &str) -> String {
    format!("[plugin]\nname = \"p\"\nversion = \"0.1.0\"\n{rest}")
}

/// Lines of a plugin's log, as they come.
#[derive(Debug)]
struct Lines(Mutex<Sender<String>>);

impl Log for Lines {
    fn log(&self, _permit: &Permit, level: LogLevel, message: &str) {
        // The test may have ended.
        let _ = self.0.lock().unwrap().send(format!("{level}: {message}"));
    }
}

/// A host with services of its own, and what comes out of them.
struct World {
    host: Host,
    bus: EventBus,
    kv: Arc<MemoryKv>,
    memory: Arc<TransientMemory>,
    lines: Receiver<String>,
}

impl World {
    fn new() -> Self {
        World::with(|services| services)
    }

    fn with(more: impl FnOnce(Services) -> Services) -> Self {
        let (sender, lines) = channel();
        let (bus, kv, memory) =
            (EventBus::new(), Arc::new(MemoryKv::new()), Arc::new(TransientMemory::new()));
        let mut services = Services::default();
        services.log = Arc::new(Lines(Mutex::new(sender)));
        services.events = Arc::new(bus.clone());
        services.kv = kv.clone();
        services.memory = memory.clone();
        let host = Host::builder().slots(8).services(more(services)).build().expect("a host");
        World { host, bus, kv, memory, lines }
    }

    fn manager(&self) -> Manager {
        Manager::new(self.host.clone())
    }

    /// The next line of a log.
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("it logs")
    }

    /// The lines that are there.
    fn all_lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

/// Everything that a plugin's manifest asks for.
fn granted() -> LoadOptions {
    LoadOptions::new().allow_all_requested()
}

/// Does with the host what there is to do.
fn probe(plugin: &Plugin, what: &str, args: &Value) -> Result<Value, Error> {
    let input = Input::json(&json!({ "do": what, "args": args })).expect("JSON");
    let outcome = plugin.invoke_blocking("execute", input)?;
    Ok(serde_json::from_str(&outcome.value.to_json_text()).expect("JSON"))
}

/// Why that was not done, in the plugin's words.
fn refused(plugin: &Plugin, what: &str, args: &Value) -> String {
    let error = probe(plugin, what, args).expect_err("it fails");
    assert_eq!(error.code(), "failed", "the plugin says so: {error}");
    error.to_string().replacen("the plugin failed: ", "", 1)
}

/// The same of a managed plugin, which keeps its state.
fn managed_probe(managed: &Managed, what: &str, args: &Value) -> Result<Value, Error> {
    let input = Input::json(&json!({ "do": what, "args": args })).expect("JSON");
    let outcome = managed.invoke_blocking("execute", input)?;
    Ok(serde_json::from_str(&outcome.value.to_json_text()).expect("JSON"))
}
