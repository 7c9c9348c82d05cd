//! PRX's manifest, `plugin.toml`, in every dialect that its own files are written in.
//!
//! Its own parser reads one of them; its guides, its examples, its SDKs and its e-mail plugin have others,
//! which it refuses or passes over. What is meant is plain in all of them, so all are read here, and what
//! its own host would make of one is said in a warning where that is something else.

mod allowlist;
mod reader;
mod resources;
mod tools;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

use self::reader::Reader;
pub(super) use self::tools::with_tools;
use super::{Manifest, ManifestFormat, Request, ToolParam, ToolSpec, checked_name, checked_path, invalid};
use crate::{Capability, CapabilityKind, HttpRequest, Policy, Result};

/// The largest manifest that is read, in bytes (its host's bound).
const MAX_BYTES: usize = 256 << 10;

/// The wasm file, where the manifest does not say which.
const WASM: &str = "plugin.wasm";

/// Where in an ordered chain a middleware is that does not say where (its parser's).
const PRIORITY: i64 = 100;

/// What a plugin of PRX's can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PrxKind {
    /// A tool for an agent.
    Tool,
    /// Changes or blocks what goes through.
    Middleware,
    /// Is told of events.
    Hook,
    /// Runs at set times.
    Cron,
    /// Answers chats.
    Provider,
    /// Keeps memories.
    Storage,
}

impl PrxKind {
    /// Every kind.
    pub const ALL: [PrxKind; 6] = [
        PrxKind::Tool,
        PrxKind::Middleware,
        PrxKind::Hook,
        PrxKind::Cron,
        PrxKind::Provider,
        PrxKind::Storage,
    ];

    /// Its name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            PrxKind::Tool => "tool",
            PrxKind::Middleware => "middleware",
            PrxKind::Hook => "hook",
            PrxKind::Cron => "cron",
            PrxKind::Provider => "provider",
            PrxKind::Storage => "storage",
        }
    }

    /// The kind of this name, also where its oldest form has it for several: `tools`.
    fn of(name: &str) -> Option<Self> {
        let is_it = |kind: &PrxKind| name == kind.name() || name.strip_suffix('s') == Some(kind.name());
        PrxKind::ALL.into_iter().find(is_it)
    }
}

impl fmt::Display for PrxKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing that a plugin of PRX's does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrxCapability {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: PrxKind,
    /// Its name; the plugin's where it has none of its own.
    pub name: String,
    /// What it is for, as written.
    pub description: String,
    /// Where in the chain a middleware is: lower ones come first.
    pub priority: i64,
    /// The events that a hook is told of: names, or beginnings of names with `*` behind them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// When a cron plugin runs, in UTC: five fields, or six with seconds before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
}

/// What PRX's manifest says that no other does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrxManifest {
    /// What the plugin does.
    pub capabilities: Vec<PrxCapability>,
    /// Permissions that it cannot run without, by PRX's names.
    pub required: Vec<String>,
    /// Those that it does without where they are not granted.
    pub optional: Vec<String>,
    /// URLs that it may ask for; all where there is none.
    pub http_allowlist: Vec<String>,
}

impl PrxManifest {
    /// What it does of this kind.
    pub fn of(&self, kind: PrxKind) -> impl Iterator<Item = &PrxCapability> {
        self.capabilities.iter().filter(move |capability| capability.kind == kind)
    }

    /// The permissions, of those that it names, that a policy gives it, required ones first.
    pub fn granted(&self, policy: &Policy) -> Vec<&str> {
        let has = |name: &&str| is_granted(name, policy) == Some(true);
        self.required.iter().chain(&self.optional).map(String::as_str).filter(has).collect()
    }

    /// The permissions that it requires and a policy does not give it. Those that give nothing are none.
    pub fn lacks(&self, policy: &Policy) -> Vec<&str> {
        let lacks = |name: &&str| is_granted(name, policy) == Some(false);
        self.required.iter().map(String::as_str).filter(lacks).collect()
    }

    /// Whether its list lets it ask for this URL: by the URL itself, by its beginning where an entry ends
    /// in `*`, or by its origin where an entry is no more than one. No list is all there is.
    pub fn permits_url(&self, url: &str) -> bool {
        self.http_allowlist.is_empty()
            || self.http_allowlist.iter().any(|entry| allowlist::permits(entry, url))
    }

    /// A request that its list lets it make; none where it does not. Where the list says more of URLs than
    /// which origins they have, no redirect is followed: where it leads is asked for by the plugin, and
    /// looked at then.
    pub fn narrowed(&self, request: HttpRequest) -> Option<HttpRequest> {
        match self.permits_url(request.url().as_str()) {
            true if self.names_paths() => Some(request.without_redirects()),
            true => Some(request),
            false => None,
        }
    }

    /// Whether its list says more of URLs than which origins they have.
    pub(crate) fn names_paths(&self) -> bool {
        self.http_allowlist.iter().any(|entry| !allowlist::is_origin(entry))
    }
}

/// Whether a policy gives what a permission stands for; `None` for one that stands for nothing.
fn is_granted(permission: &str, policy: &Policy) -> Option<bool> {
    let kinds: &[CapabilityKind] = match permission {
        "log" | "config" | "clock" => &[],
        "kv" | "storage" => &[CapabilityKind::Kv],
        "events" => &[CapabilityKind::EventsPublish, CapabilityKind::EventsSubscribe],
        "memory" => &[CapabilityKind::Memory],
        "http-outbound" => &[CapabilityKind::Net],
        _ => return None,
    };
    Some(kinds.iter().all(|kind| policy.allows_any(*kind)))
}

/// Whether a `plugin.toml` is PRX's, and not fledge's. fledge's says what runs it and has commands; PRX's
/// has a list where that has a table, or tables that it has not.
pub(super) fn is_one(file: &Table) -> bool {
    let plugin = file.get("plugin").and_then(Value::as_table);
    let says = |key: &str| plugin.is_some_and(|plugin| plugin.contains_key(key));
    if file.contains_key("commands") || says("runtime") || says("protocol") {
        return false;
    }
    matches!(file.get("capabilities"), Some(Value::Array(_)))
        || ["permissions", "resources", "config", "http_allowlist"].iter().any(|key| file.contains_key(*key))
        || ["wasm", "api_version", "capability", "capabilities", "tools"].iter().any(|key| says(key))
}

pub(super) fn read(file: &str, text: &str, mut table: Table) -> Result<Manifest> {
    if text.len() > MAX_BYTES {
        return Err(invalid(file, "larger than 256 KiB"));
    }
    let mut reader = Reader::new(file);
    let mut plugin = match table.remove("plugin") {
        Some(Value::Table(plugin)) => plugin,
        _ => return Err(invalid(file, "`plugin` is no table")),
    };
    let name = reader.needed(&mut plugin, "name")?;
    let version = reader.needed(&mut plugin, "version")?;
    let mut manifest = Manifest::nothing(ManifestFormat::Prx, checked_name(file, name)?);
    manifest.version = Some(version);
    manifest.description = reader.text("plugin.description", plugin.remove("description"));
    manifest.description = manifest.description.filter(|text| !text.is_empty());
    let wasm = reader.text("plugin.wasm", plugin.remove("wasm")).unwrap_or_else(|| WASM.to_owned());
    manifest.entry_point = checked_path(file, "plugin.wasm", wasm)?;
    for key in ["author", "license", "homepage", "repository"] {
        if let Some(value) = reader.text(&format!("plugin.{key}"), plugin.remove(key)) {
            manifest.details.insert(key.to_owned(), value);
        }
    }
    if let Some(version) = reader.text("plugin.api_version", plugin.remove("api_version"))
        && version != "1"
    {
        reader.warn(format!("`plugin.api_version` is `{version}`: there is no other than `1`"));
    }

    // What its oldest form's `tools = true` stands for.
    if let Some(listed) = plugin.remove("tools") {
        let listed = serde_json::to_value(listed).unwrap_or_default();
        manifest.tools = tools::read(file, listed, &mut reader.warnings)?;
    }
    let mut prx = PrxManifest {
        capabilities: reader.capabilities(&manifest.name, &mut plugin, table.remove("capabilities")),
        ..PrxManifest::default()
    };
    let permissions = reader.permissions(table.remove("permissions"), table.remove("http_allowlist"));
    let resources = reader.resources(table.remove("resources"));
    manifest.limits = resources.limits;
    manifest.config = reader.config(table.remove("config"));
    reader.rest("plugin.", &plugin);
    reader.rest("", &table);

    let reader::Permissions { required, optional, http_allowlist, subscribes } = permissions;
    prx.http_allowlist = http_allowlist;
    let mut requests = Vec::new();
    for (names, required) in [(&required, true), (&optional, false)] {
        for name in names {
            let asked = reader.permission(name, &prx.http_allowlist, resources.kv_bytes);
            requests.extend(asked.into_iter().map(|capability| Request { capability, required }));
        }
    }
    let events = prx.of(PrxKind::Hook).flat_map(|hook| &hook.events).flat_map(|event| topics(event));
    for topic in events.chain(subscribes) {
        match Capability::scoped(CapabilityKind::EventsSubscribe, &topic) {
            Ok(capability) => requests.push(Request { capability, required: false }),
            Err(error) => reader.warn(format!("nobody can be told of that: {error}")),
        }
    }
    // Of what is asked for twice, what it cannot run without counts.
    requests.sort_by(|a, b| a.capability.cmp(&b.capability).then(b.required.cmp(&a.required)));
    requests.dedup_by(|later, earlier| later.capability == earlier.capability);
    manifest.requests = requests;
    (prx.required, prx.optional) = (required, optional);
    manifest.prx = Some(prx);
    manifest.warnings = reader.warnings;
    Ok(manifest)
}

/// Names that its application tells hooks of what an agent does, without what stands before them on the bus.
const LIFECYCLE: [&str; 8] = [
    "agent_start",
    "agent_end",
    "llm_request",
    "llm_response",
    "tool_call_start",
    "tool_call",
    "turn_complete",
    "error",
];

/// What stands before the names of what an agent does, on the bus.
const LIFECYCLE_TOPIC: &str = "prx.lifecycle.";

/// The topics on the bus that an entry of a hook's `events` stands for.
fn topics(event: &str) -> Vec<String> {
    if event == "*" || event.starts_with(LIFECYCLE_TOPIC) {
        return vec![event.to_owned()];
    }
    let of_agent = format!("{LIFECYCLE_TOPIC}{event}");
    match LIFECYCLE.contains(&event) {
        true => vec![of_agent],
        false => vec![event.to_owned(), of_agent],
    }
}

impl PrxCapability {
    /// The topics on the bus that its `events` stand for: `agent_start` is `prx.lifecycle.agent_start`
    /// there. None of them covers another.
    pub fn topics(&self) -> Vec<crate::NamePattern> {
        let all: Vec<crate::NamePattern> = self
            .events
            .iter()
            .flat_map(|event| topics(event))
            .filter_map(|topic| topic.parse().ok())
            .collect();
        let mut widest: Vec<crate::NamePattern> = Vec::new();
        for topic in all {
            if !widest.iter().any(|other| other.covers(&topic)) {
                widest.retain(|other| !topic.covers(other));
                widest.push(topic);
            }
        }
        widest
    }
}

impl PrxManifest {
    /// What stands before the names of what an agent does, on the bus: a hook that is told of
    /// `agent_start` is told of the topic `prx.lifecycle.agent_start`.
    pub const LIFECYCLE: &str = LIFECYCLE_TOPIC;
}

/// What a tool says of itself.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Spec {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters_schema: String,
}

/// What a component says that its tool is, beside the manifest it came with or one that only knows this
/// name. What it cannot be asked, or what it answers that is nothing, is a warning.
pub(super) fn with_spec(said: Result<&[u8]>, manifest: Option<Manifest>, name: &str) -> Manifest {
    let mut manifest = manifest.unwrap_or_else(|| Manifest::nothing(ManifestFormat::Prx, name.to_owned()));
    // A list of them is from before there were components, which are called by none of its names.
    manifest.tools.clear();
    let spec = match said {
        Ok(bytes) => serde_json::from_slice::<Spec>(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let spec = match spec {
        Ok(spec) => spec,
        Err(reason) => {
            manifest.warnings.push(format!("the module does not say which tool it is: {reason}"));
            return manifest;
        }
    };
    let shown = crate::visible(&spec.name, false).into_owned();
    if !tools::is_name(&spec.name) {
        manifest.warnings.push(format!("its tool has the name `{shown}`, which is none: it is `execute`"));
        return manifest;
    }
    let schema = match serde_json::from_str(&spec.parameters_schema) {
        Ok(schema @ serde_json::Value::Object(_)) => schema,
        _ => {
            let what = format!("the schema of its tool `{shown}` is no JSON object: anything is taken");
            manifest.warnings.push(what);
            serde_json::json!({ "type": "object", "properties": {} })
        }
    };
    manifest.tools = vec![ToolSpec {
        name: spec.name,
        description: Some(spec.description).filter(|text| !text.is_empty()),
        params: params(&schema),
        schema: Some(schema),
    }];
    manifest
}

/// What an object of this schema has as members.
fn params(schema: &serde_json::Value) -> Vec<ToolParam> {
    let text = |value: &serde_json::Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(serde_json::Value::as_array)
        .map(|names| names.iter().filter_map(serde_json::Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    let param = |(name, value): (&String, &serde_json::Value)| ToolParam {
        name: name.clone(),
        kind: text(value, "type").unwrap_or_else(|| "any".to_owned()),
        description: text(value, "description"),
        required: required.contains(&name.as_str()),
        values: value.get("enum").and_then(serde_json::Value::as_array).cloned().unwrap_or_default(),
        default: value.get("default").cloned(),
    };
    properties.into_iter().flatten().map(param).collect()
}

/// Values of the configuration, which are texts.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Some(value.to_string())
        }
        Value::Array(_) | Value::Table(_) => None,
    }
}

type Config = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
