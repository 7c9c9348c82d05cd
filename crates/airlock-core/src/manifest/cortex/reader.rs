//! Values of a manifest, as far as they are what they should be.

use serde_json::{Map, Value as Json};

use super::super::{
    ArgSpec, CommandEntry, CommandSpec, Request, ToolParam, ToolSpec, checked_path, invalid, is_word,
};
use crate::{Capability, CapabilityKind, Result};

/// Keys that CortexPrism knows and that say nothing to Airlock.
const KNOWN: [&str; 10] = [
    "aiDisclosure",
    "authorUrl",
    "events",
    "icon",
    "id",
    "keywords",
    "mcp",
    "runtime",
    "$schema",
    "upstream",
];

/// Entries of the `capabilities` list that ask for the world outside, with what they
/// ask for.
const PERMISSIONS: [(&str, CapabilityKind); 11] = [
    ("network:fetch", CapabilityKind::Net),
    ("net:outbound", CapabilityKind::Net),
    ("net:inbound", CapabilityKind::Net),
    ("fs:read", CapabilityKind::FsRead),
    ("fs:list", CapabilityKind::FsRead),
    ("fs:search", CapabilityKind::FsRead),
    ("fs:write", CapabilityKind::FsWrite),
    ("fs:edit", CapabilityKind::FsWrite),
    ("fs:delete", CapabilityKind::FsWrite),
    ("shell:run", CapabilityKind::Exec),
    ("network:http", CapabilityKind::Net),
];

/// The list's other entries: places of the application where a plugin is used, and its databases.
const EXTENSION_POINTS: [&str; 13] = [
    "tools",
    "cli:commands",
    "ui:panel",
    "ui:widget",
    "config:schema",
    "config:provider",
    "memory:store",
    "memory:embedder",
    "events:listener",
    "middleware:pre",
    "middleware:post",
    "db:read",
    "db:write",
];

/// Reads what is right, and remembers what was not.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    pub(super) fn unknown(&mut self, prefix: &str, key: &str) {
        if !KNOWN.contains(&key) {
            self.warn(format!("unknown key `{prefix}{key}`"));
        }
    }

    /// A text, where it is one.
    pub(super) fn text(&mut self, key: &str, value: Option<Json>) -> Option<String> {
        match value {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text),
            Some(_) => {
                self.warn(format!("`{key}` is no text: ignored"));
                None
            }
        }
    }

    /// A list's entries, where it is one.
    pub(super) fn list(&mut self, key: &str, value: Option<Json>) -> Vec<Json> {
        match value {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(entries)) => entries,
            Some(_) => {
                self.warn(format!("`{key}` is no list: ignored"));
                Vec::new()
            }
        }
    }

    /// A list's texts.
    fn texts(&mut self, key: &str, value: Option<Json>) -> Vec<String> {
        let entries = self.list(key, value);
        entries.into_iter().filter_map(|entry| self.text(key, Some(entry))).collect()
    }

    /// Where the module is. An installer of CortexPrism's writes whole URLs there.
    pub(super) fn entry_point(&mut self, file: &str, written: String) -> Result<String> {
        if written.starts_with("http://") || written.starts_with("https://") {
            let reason = "`entryPoint` is a URL, and nothing is fetched for a plugin: put the file beside the \
                          manifest and name it";
            return Err(invalid(file, reason));
        }
        let Some(path) = written.strip_prefix("file://") else {
            return checked_path(file, "entryPoint", written);
        };
        let beside = path.rsplit('/').next().unwrap_or_default().to_owned();
        self.warn(format!("`entryPoint` is a URL of a file: `{beside}` beside the manifest is taken for it"));
        checked_path(file, "entryPoint", beside)
    }

    /// Tools that have a name; the first of each name.
    pub(super) fn tools(&mut self, value: Option<Json>) -> Vec<ToolSpec> {
        let mut tools: Vec<ToolSpec> = Vec::new();
        for entry in self.list("tools", value) {
            let Json::Object(mut entry) = entry else {
                self.warn("`tools` has an entry that is no object: ignored".to_owned());
                continue;
            };
            let Some(name) = self.text("tools.name", entry.remove("name")) else {
                self.warn("`tools` has an entry without a name: ignored".to_owned());
                continue;
            };
            if tools.iter().any(|tool| tool.name == name) {
                self.warn(format!("`tools` has `{name}` twice: the first counts"));
                continue;
            }
            let description = self.text("tools.description", entry.remove("description"));
            let params = self.params(entry.remove("params"));
            tools.push(ToolSpec { name, description, params, schema: None });
        }
        tools
    }

    fn params(&mut self, value: Option<Json>) -> Vec<ToolParam> {
        let mut params = Vec::new();
        for entry in self.list("tools.params", value) {
            let Json::Object(mut entry) = entry else { continue };
            let Some(name) = self.text("tools.params.name", entry.remove("name")) else { continue };
            let is_truth = |value: Option<Json>| value.is_some_and(|value| value == Json::Bool(true));
            let values = entry.remove("options").or_else(|| entry.remove("enum"));
            // Some are pairs of a label and a value.
            let bare = |value: Json| value.get("value").cloned().unwrap_or(value);
            let values = match values {
                Some(Json::Array(values)) => values.into_iter().map(bare).collect(),
                _ => Vec::new(),
            };
            params.push(ToolParam {
                name,
                kind: self
                    .text("tools.params.type", entry.remove("type"))
                    .unwrap_or_else(|| "any".to_owned()),
                description: self.text("tools.params.description", entry.remove("description")),
                required: is_truth(entry.remove("required")),
                values,
                default: entry.remove("default").or_else(|| entry.remove("defaultValue")),
            });
        }
        params
    }

    /// Commands whose names can be typed.
    pub(super) fn commands(&mut self, value: Option<Json>, file: &str) -> Vec<CommandEntry> {
        let mut commands = Vec::new();
        for entry in self.list("cliCommands", value) {
            let Json::Object(mut entry) = entry else {
                self.warn("`cliCommands` has an entry that is no object: ignored".to_owned());
                continue;
            };
            let Some(name) = self.text("cliCommands.name", entry.remove("name")) else { continue };
            if !is_word(&name) {
                self.warn(format!("`cliCommands` has `{name}`, which cannot be typed as a command: ignored"));
                continue;
            }
            let about = self.text("cliCommands.description", entry.remove("description"));
            let values = self.command_args(entry.remove("args"), false);
            let options = self.command_args(entry.remove("options"), true);
            let args: Vec<ArgSpec> = values.into_iter().chain(options).collect();
            let spec = (!args.is_empty()).then(|| {
                let mut spec = CommandSpec {
                    name: name.clone(),
                    about: about.clone().unwrap_or_default(),
                    args,
                    ..CommandSpec::default()
                };
                spec.tidy(&mut self.warnings);
                spec
            });
            commands.push(CommandEntry { name, description: about, file: file.to_owned(), spec });
        }
        commands
    }

    fn command_args(&mut self, value: Option<Json>, are_options: bool) -> Vec<ArgSpec> {
        let key = if are_options { "cliCommands.options" } else { "cliCommands.args" };
        let mut args = Vec::new();
        for entry in self.list(key, value) {
            let Json::Object(mut entry) = entry else { continue };
            let Some(name) = self.text(key, entry.remove("name")) else { continue };
            // `-o, --output <FILE>` or either of them.
            let flag = self.text(key, entry.remove("flag")).unwrap_or_default();
            let forms = || flag.split([',', ' ', '=']).filter(|part| part.starts_with('-'));
            let long = forms().find_map(|form| form.strip_prefix("--")).map(str::to_owned);
            let short = forms().find(|form| !form.starts_with("--")).and_then(|form| form.chars().nth(1));
            args.push(ArgSpec {
                long: long.or_else(|| (are_options && short.is_none()).then(|| name.clone())),
                short: short.filter(|_| are_options),
                required: !are_options && entry.get("required") == Some(&Json::Bool(true)),
                help: self.text(key, entry.remove("description")).unwrap_or_default(),
                name,
                ..ArgSpec::default()
            });
        }
        args
    }

    /// The `permissions` object of the document: lists of scopes, some with a verb before a
    /// colon (`fetch:https://…`, `read:/tmp`).
    pub(super) fn permissions(&mut self, file: &str, value: Option<Json>) -> Result<Vec<Request>> {
        let mut permissions = match value {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(permissions)) => permissions,
            Some(_) => {
                self.warn("`permissions` is no object: ignored".to_owned());
                Map::new()
            }
        };
        let mut asked: Vec<(&str, CapabilityKind, String)> = Vec::new();
        for entry in self.texts("permissions.network", permissions.remove("network")) {
            let url = entry.strip_prefix("fetch:").unwrap_or(&entry);
            asked.push(("network", CapabilityKind::Net, origin_of(url).to_owned()));
        }
        for entry in self.texts("permissions.filesystem", permissions.remove("filesystem")) {
            let (kind, path) = match entry.split_once(':') {
                Some(("read", path)) => (CapabilityKind::FsRead, path),
                Some(("write", path)) => (CapabilityKind::FsWrite, path),
                _ => (CapabilityKind::FsRead, entry.as_str()),
            };
            asked.push(("filesystem", kind, path.to_owned()));
        }
        for entry in self.texts("permissions.env", permissions.remove("env")) {
            asked.push(("env", CapabilityKind::Env, entry));
        }
        for entry in self.texts("permissions.process", permissions.remove("process")) {
            asked.push(("process", CapabilityKind::Exec, entry));
        }
        permissions.keys().for_each(|key| self.unknown("permissions.", key));
        let scoped = asked.into_iter().map(|(key, kind, scope)| {
            Capability::scoped(kind, &scope)
                .map(optional)
                .map_err(|error| invalid(file, format!("in `permissions.{key}`: {error}")))
        });
        scoped.collect()
    }

    pub(super) fn listed_requests(&mut self, list: Json) -> Vec<Request> {
        let mut requests = Vec::new();
        for entry in self.texts("capabilities", Some(list)) {
            match PERMISSIONS.iter().find(|(name, _)| *name == entry) {
                Some((_, kind)) => requests.push(optional(Capability::all_of(*kind))),
                None if EXTENSION_POINTS.contains(&entry.as_str()) => {}
                None => self.warn(format!("unknown capability `{entry}`")),
            }
        }
        requests
    }
}

/// A URL up to its path. What is asked for is the origin; paths are nothing that is granted.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    match url[host..].find(['/', '?', '#']) {
        Some(path) if host > 0 => &url[..host + path],
        _ => url,
    }
}

/// CortexPrism has no required permissions: a call that needs one fails by itself.
fn optional(capability: Capability) -> Request {
    Request { capability, required: false }
}
