//! The parts of a manifest, each read as far as anything can be meant by it.

use toml::{Table, Value};

use super::{Config, PRIORITY, PrxCapability, PrxKind, allowlist, scalar};
use crate::manifest::invalid;
use crate::{Capability, CapabilityKind, NamePattern, Result, nearest};

/// Permissions that every plugin has.
const BASELINE: [&str; 3] = ["log", "config", "clock"];

/// Permissions that can be declared, and that give nothing in PRX either.
const IDLE: [&str; 6] = ["messaging", "llm", "network", "filesystem", "shell", "browser"];

/// All permissions that there are, for a hint.
const PERMISSIONS: [&str; 8] =
    ["log", "config", "clock", "kv", "events", "http-outbound", "websocket-outbound", "memory"];

/// What a manifest says of permissions.
#[derive(Default)]
pub(super) struct Permissions {
    pub(super) required: Vec<String>,
    pub(super) optional: Vec<String>,
    pub(super) http_allowlist: Vec<String>,
    /// Topics, in the form of PRX's site.
    pub(super) subscribes: Vec<String>,
}

/// Reads the parts, and keeps what is to be said of them.
pub(super) struct Reader<'a> {
    file: &'a str,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Reader { file, warnings: Vec::new() }
    }

    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// A text of `[plugin]` that there has to be.
    pub(super) fn needed(&mut self, plugin: &mut Table, key: &str) -> Result<String> {
        match self.text(&format!("plugin.{key}"), plugin.remove(key)) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(invalid(self.file, format!("`plugin.{key}` is missing"))),
        }
    }

    /// A text, or what can be taken for one.
    pub(super) fn text(&mut self, key: &str, value: Option<Value>) -> Option<String> {
        let value = value?;
        let text = scalar(&value);
        if text.is_none() {
            self.warn(format!("`{key}` is no text: ignored"));
        }
        text
    }

    pub(super) fn table(&mut self, key: &str, value: Option<Value>) -> Table {
        match value {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.warn(format!("`{key}` is no table: ignored"));
                Table::new()
            }
        }
    }

    /// A list of texts; one text is a list of it.
    pub(super) fn texts(&mut self, key: &str, value: Option<Value>) -> Vec<String> {
        let values = match value {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(value @ Value::String(_)) => vec![value],
            Some(_) => {
                self.warn(format!("`{key}` is no list of texts: ignored"));
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for value in values {
            match value {
                Value::String(text) if !texts.contains(&text) => texts.push(text),
                Value::String(_) => {}
                _ => self.warn(format!("`{key}` has something that is no text: ignored")),
            }
        }
        texts
    }

    /// Warns of the keys that are left.
    pub(super) fn rest(&mut self, prefix: &str, table: &Table) {
        let unknown = table.keys().map(|key| format!("unknown key `{prefix}{key}`"));
        self.warnings.extend(unknown);
    }

    pub(super) fn config(&mut self, value: Option<Value>) -> Config {
        let mut config = Config::new();
        for (key, value) in self.table("config", value) {
            match scalar(&value) {
                Some(text) => {
                    if !value.is_str() {
                        self.warn(format!("`config.{key}` is no text, and is read as `{text}`"));
                    }
                    config.insert(key, text);
                }
                None => self.warn(format!("`config.{key}` is no text: ignored")),
            }
        }
        config
    }

    /// What a plugin does: `[[capabilities]]`, `plugin.capability` of its SDK for Python, and
    /// `[plugin.capabilities]` of its oldest plugins.
    pub(super) fn capabilities(
        &mut self,
        plugin_name: &str,
        plugin: &mut Table,
        listed: Option<Value>,
    ) -> Vec<PrxCapability> {
        let mut capabilities = Vec::new();
        let of = |kind: PrxKind| PrxCapability {
            kind,
            name: plugin_name.to_owned(),
            description: String::new(),
            priority: PRIORITY,
            events: Vec::new(),
            schedule: None,
        };
        match listed {
            None => {}
            Some(Value::Array(entries)) => {
                for entry in entries {
                    let entry = self.table("capabilities", Some(entry));
                    capabilities.extend(self.capability(entry, &of));
                }
            }
            Some(_) => self.warn("`capabilities` is no list of tables: ignored".to_owned()),
        }
        if let Some(kind) = self.text("plugin.capability", plugin.remove("capability")) {
            match PrxKind::of(&kind) {
                Some(kind) => capabilities.push(of(kind)),
                None => self.warn(format!("`plugin.capability` is `{kind}`, which nobody knows: ignored")),
            }
        }
        for (kind, is_there) in self.table("plugin.capabilities", plugin.remove("capabilities")) {
            match (PrxKind::of(&kind), is_there.as_bool()) {
                (Some(_), Some(false)) => {}
                (Some(kind), Some(true)) => capabilities.push(of(kind)),
                _ => self.warn(format!("`plugin.capabilities.{kind}` is nothing that is known: ignored")),
            }
        }
        capabilities.dedup();
        capabilities
    }

    fn capability(
        &mut self,
        mut entry: Table,
        of: &dyn Fn(PrxKind) -> PrxCapability,
    ) -> Option<PrxCapability> {
        let kind = self.text("capabilities.type", entry.remove("type"))?;
        let Some(kind) = PrxKind::of(&kind) else {
            self.warn(format!("`capabilities.type` is `{kind}`, which nobody knows: ignored"));
            return None;
        };
        let mut capability = of(kind);
        match self.text("capabilities.name", entry.remove("name")) {
            Some(name) => capability.name = name,
            None => self.warn(format!("`capabilities.name` of a {kind} is missing: it is the plugin's")),
        }
        let description = self.text("capabilities.description", entry.remove("description"));
        capability.description = description.unwrap_or_default();
        match entry.remove("priority") {
            None => {}
            Some(Value::Integer(priority)) => capability.priority = priority,
            Some(_) => self.warn("`capabilities.priority` is no whole number: ignored".to_owned()),
        }
        capability.events = self.events(entry.remove("events"), entry.remove("trigger"));
        capability.schedule = self.text("capabilities.schedule", entry.remove("schedule"));
        self.rest("capabilities.", &entry);
        Some(capability)
    }

    /// The events of a hook: texts, or tables with a `pattern` or `trigger`.
    fn events(&mut self, events: Option<Value>, trigger: Option<Value>) -> Vec<String> {
        let mut named = self.texts("capabilities.trigger", trigger);
        let values = match events {
            Some(Value::Array(values)) => values,
            other => other.into_iter().collect(),
        };
        for value in values {
            let name = match value {
                Value::Table(mut table) => {
                    ["pattern", "trigger", "event", "name"].iter().find_map(|key| table.remove(*key))
                }
                value => Some(value),
            };
            named.extend(self.text("capabilities.events", name));
        }
        let mut events: Vec<String> = Vec::new();
        for name in named {
            match name.parse::<NamePattern>() {
                Ok(_) if name.chars().any(crate::text::is_hidden) => {
                    self.warn("an event has characters that nobody can see: ignored".to_owned());
                }
                Ok(_) if events.contains(&name) => {}
                Ok(_) => events.push(name),
                Err(reason) => self.warn(format!("`{name}` is no event: {reason}: ignored")),
            }
        }
        events
    }

    pub(super) fn permissions(&mut self, value: Option<Value>, allowlist: Option<Value>) -> Permissions {
        let mut table = self.table("permissions", value);
        let mut permissions = Permissions {
            required: self.texts("permissions.required", table.remove("required")),
            optional: self.texts("permissions.optional", table.remove("optional")),
            http_allowlist: self.texts("permissions.http_allowlist", table.remove("http_allowlist")),
            subscribes: Vec::new(),
        };
        if table.remove("filesystem_allowlist").is_some_and(|list| list != Value::Array(Vec::new())) {
            let idle = "`permissions.filesystem_allowlist` has no effect: PRX gives its plugins no files";
            self.warn(idle.to_owned());
        }
        // The forms of its SDK for Python and of its site.
        let listed = match allowlist {
            Some(Value::Table(mut table)) => {
                let urls = self.texts("http_allowlist.urls", table.remove("urls"));
                self.rest("http_allowlist.", &table);
                urls
            }
            other => self.texts("http_allowlist", other),
        };
        let quoted = table.remove("net.http");
        let dotted = match table.remove("net") {
            Some(Value::Table(mut net)) => {
                let http = net.remove("http");
                self.rest("permissions.net.", &net);
                http
            }
            Some(_) => {
                self.warn("`permissions.net` is no table: ignored".to_owned());
                None
            }
            None => None,
        };
        let of_site = self.texts("permissions.net.http", quoted.or(dotted));
        let is_asked = |name: &str, permissions: &Permissions| {
            permissions.required.iter().chain(&permissions.optional).any(|asked| asked == name)
        };
        if !of_site.is_empty() && !is_asked("http-outbound", &permissions) {
            permissions.optional.push("http-outbound".to_owned());
        }
        for url in listed.into_iter().chain(of_site) {
            if !permissions.http_allowlist.contains(&url) {
                permissions.http_allowlist.push(url);
            }
        }
        if !permissions.http_allowlist.is_empty() && !is_asked("http-outbound", &permissions) {
            self.warn("there is a list of URLs, and no permission `http-outbound`".to_owned());
        }
        let topics = table.remove("event_bus_subscribe");
        permissions.subscribes = self.texts("permissions.event_bus_subscribe", topics);
        self.rest("permissions.", &table);
        permissions
    }

    /// What a permission is here.
    pub(super) fn permission(&mut self, name: &str, urls: &[String], kv_bytes: u64) -> Vec<Capability> {
        let all_of = |kind: CapabilityKind| vec![Capability::all_of(kind)];
        match name {
            _ if BASELINE.contains(&name) => Vec::new(),
            "kv" | "storage" => {
                let quota = Capability::scoped(CapabilityKind::Kv, &kv_bytes.to_string());
                quota.into_iter().collect()
            }
            "events" => {
                let both = [CapabilityKind::EventsPublish, CapabilityKind::EventsSubscribe];
                both.map(Capability::all_of).to_vec()
            }
            "memory" => all_of(CapabilityKind::Memory),
            "http-outbound" if urls.is_empty() => self.origins(allowlist::EVERY_URL),
            "http-outbound" => urls.iter().flat_map(|url| self.origins(url)).collect(),
            "websocket-outbound" => {
                let idle = "the permission `websocket-outbound` gives nothing: every call of it answers that it is not supported";
                self.warn(idle.to_owned());
                Vec::new()
            }
            _ if IDLE.contains(&name) => {
                self.warn(format!("the permission `{name}` gives nothing: PRX has no interface for it"));
                Vec::new()
            }
            _ => {
                let near = nearest(name, PERMISSIONS);
                let hint = near.first().map(|near| format!("; `{near}` is one")).unwrap_or_default();
                self.warn(format!("nobody knows the permission `{name}`{hint}"));
                Vec::new()
            }
        }
    }

    fn origins(&mut self, url: &str) -> Vec<Capability> {
        allowlist::capabilities(url).unwrap_or_else(|reason| {
            self.warn(format!("`http_allowlist`: {reason}: ignored"));
            Vec::new()
        })
    }
}
