//! CortexPrism's manifest, `cortex.json` or `manifest.json`.
//!
//! Its document and its source disagree (`type` or `kind`, `capabilities` as a list of
//! permissions or as an object of functions); both spellings are read. Keys that neither
//! knows become warnings.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    Allocator, CommandEntry, Manifest, ManifestFormat, MemoryRequest, Request, checked_command, checked_name,
    checked_path, invalid,
};
use crate::{Capability, CapabilityKind, Error, ErrorKind, Location, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    version: Option<String>,
    description: Option<String>,
    kind: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    entry_point: Option<String>,
    #[serde(default)]
    wasm: Wasm,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    tools: Vec<Tool>,
    #[serde(default)]
    cli_commands: Vec<CliCommand>,
    config: Option<Json>,
    ui: Option<Json>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Wasm {
    memory_pages: Option<u32>,
    max_memory_pages: Option<u32>,
    allocator: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Capabilities {
    #[default]
    None,
    Permissions(Vec<String>),
    Functions(serde_json::Map<String, Json>),
}

#[derive(Deserialize, Default)]
struct Permissions {
    #[serde(default)]
    network: Vec<String>,
    #[serde(default)]
    filesystem: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    process: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
}

#[derive(Deserialize)]
struct CliCommand {
    name: String,
    description: Option<String>,
}

/// Keys that CortexPrism knows and that say nothing to Airlock.
const KNOWN: [&str; 17] = [
    "aiDisclosure",
    "author",
    "authorUrl",
    "dependencies",
    "events",
    "hash",
    "homepage",
    "icon",
    "id",
    "keywords",
    "license",
    "mcp",
    "peerDependencies",
    "repository",
    "runtime",
    "signature",
    "$schema",
];

/// Entries of the `capabilities` list that ask for the world outside, with what they
/// ask for; the list's other entries name extension points.
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

pub(super) fn read(name: &str, text: &[u8]) -> Result<Manifest> {
    let file: File = serde_json::from_slice(text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        Error::new(ErrorKind::InvalidManifest { file: name.to_owned(), at, reason })
    })?;

    let entry_point = file.entry_point.ok_or_else(|| invalid(name, "`entryPoint` is missing"))?;
    let kind = file
        .kind
        .or(file.type_)
        .unwrap_or_else(|| if entry_point.ends_with(".wasm") { "wasm".to_owned() } else { "esm".to_owned() });
    if kind != "wasm" {
        return Err(invalid(name, format!("`kind` is `{kind}`, and only `wasm` plugins run here")));
    }

    let mut warnings: Vec<String> = unknown_keys("", file.rest.keys())
        .chain(unknown_keys("wasm.", file.wasm.rest.keys()))
        .chain(unknown_keys("permissions.", file.permissions.rest.keys()))
        .collect();

    let allocator = match file.wasm.allocator.as_deref() {
        None => None,
        Some("wasi") => Some(Allocator::Wasi),
        Some("custom") => Some(Allocator::Custom),
        Some(other) => {
            warnings.push(format!("`wasm.allocator` is `{other}`, neither `wasi` nor `custom`: ignored"));
            None
        }
    };
    let memory = MemoryRequest {
        initial_pages: file.wasm.memory_pages,
        maximum_pages: file.wasm.max_memory_pages,
        allocator,
    };
    if let (Some(initial), Some(maximum)) = (memory.initial_pages, memory.maximum_pages)
        && initial > maximum
    {
        return Err(invalid(name, "`wasm.memoryPages` is more than `wasm.maxMemoryPages`"));
    }

    let mut requests = permission_requests(name, &file.permissions)?;
    let mut functions: Vec<String> = file.tools.into_iter().map(|tool| tool.name).collect();
    match file.capabilities {
        Capabilities::None => {}
        Capabilities::Permissions(list) => requests.extend(listed_requests(&list)),
        Capabilities::Functions(map) => functions.extend(map.into_iter().map(|(function, _)| function)),
    }
    let mut seen = std::collections::BTreeSet::new();
    functions.retain(|function| seen.insert(function.clone()));
    requests.sort_by(|a, b| a.capability.cmp(&b.capability));
    requests.dedup();

    let entry_point = checked_path(name, "entryPoint", entry_point)?;
    let commands = file.cli_commands.into_iter().map(|CliCommand { name: word, description }| {
        checked_command(name, &word)?;
        Ok(CommandEntry { name: word, description, file: entry_point.clone(), spec: None })
    });
    let commands = commands.collect::<Result<Vec<_>>>()?;

    Ok(Manifest {
        format: ManifestFormat::Cortex,
        commands,
        hooks: BTreeMap::new(),
        name: checked_name(name, file.name)?,
        version: file.version,
        description: file.description,
        entry_point,
        functions,
        requests,
        config: defaults(file.config.as_ref(), file.ui.as_ref()),
        memory,
        streams: None,
        stdout_protocol: false,
        warnings,
    })
}

/// What settings have where nobody says anything else: `config.settings`, and the fields of
/// `ui.settings`. What is no text, number or truth is no default.
fn defaults(config: Option<&Json>, ui: Option<&Json>) -> BTreeMap<String, String> {
    let scalar = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let default = |value: &Json| {
        let named = value.get("default").or_else(|| value.get("defaultValue"));
        scalar(named.unwrap_or(value))
    };
    let settings = config.and_then(|config| config.get("settings")?.as_object());
    let settings =
        settings.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), default(value)?)));
    let sections = ui.and_then(|ui| ui.get("settings")?.as_array()).into_iter().flatten();
    let fields = sections.filter_map(|section| section.get("fields")?.as_array()).flatten();
    let fields = fields.filter_map(|field| Some((field.get("key")?.as_str()?.to_owned(), default(field)?)));
    fields.chain(settings).collect()
}

fn unknown_keys<'a>(
    prefix: &'a str,
    keys: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = String> + 'a {
    keys.filter(|key| !KNOWN.contains(&key.as_str())).map(move |key| format!("unknown key `{prefix}{key}`"))
}

/// The `permissions` object of the document: lists of scopes, some with a verb before a
/// colon (`fetch:https://…`, `read:/tmp`).
fn permission_requests(file: &str, permissions: &Permissions) -> Result<Vec<Request>> {
    let net = permissions.network.iter().map(|entry| {
        let url = entry.strip_prefix("fetch:").unwrap_or(entry);
        ("network", CapabilityKind::Net, origin_of(url))
    });
    let files = permissions.filesystem.iter().map(|entry| {
        let (kind, path) = match entry.split_once(':') {
            Some(("read", path)) => (CapabilityKind::FsRead, path),
            Some(("write", path)) => (CapabilityKind::FsWrite, path),
            _ => (CapabilityKind::FsRead, entry.as_str()),
        };
        ("filesystem", kind, path)
    });
    let env = permissions.env.iter().map(|entry| ("env", CapabilityKind::Env, entry.as_str()));
    let exec = permissions.process.iter().map(|entry| ("process", CapabilityKind::Exec, entry.as_str()));
    let scoped = net.chain(files).chain(env).chain(exec);
    scoped
        .map(|(key, kind, scope)| {
            Capability::scoped(kind, scope)
                .map(optional)
                .map_err(|error| invalid(file, format!("in `permissions.{key}`: {error}")))
        })
        .collect()
}

/// A URL up to its path. What is asked for is the origin; paths are nothing that is granted.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    match url[host..].find(['/', '?', '#']) {
        Some(path) if host > 0 => &url[..host + path],
        _ => url,
    }
}

fn listed_requests(list: &[String]) -> impl Iterator<Item = Request> {
    list.iter().filter_map(|entry| {
        let (_, kind) = PERMISSIONS.iter().find(|(name, _)| name == entry)?;
        Some(optional(Capability::all_of(*kind)))
    })
}

/// CortexPrism has no required permissions: a call that needs one fails by itself.
fn optional(capability: Capability) -> Request {
    Request { capability, required: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::read;
    use crate::{Allocator, Manifest};

    fn reads(text: &str) -> Manifest {
        read("manifest.json", text.as_bytes()).expect("a valid manifest")
    }

    fn fails(text: &str) -> String {
        read("manifest.json", text.as_bytes()).expect_err("an invalid manifest").to_string()
    }

    #[test]
    fn the_documents_example_reads() {
        let manifest = reads(
            r#"{ "name": "text-processor", "version": "1.0.0", "type": "wasm",
                 "entryPoint": "text_processor.wasm", "description": "text",
                 "wasm": { "memoryPages": 10, "maxMemoryPages": 50, "allocator": "wasi" } }"#,
        );
        assert_eq!(manifest.name, "text-processor");
        assert_eq!(manifest.memory.initial_pages, Some(10));
        assert_eq!(manifest.memory.maximum_pages, Some(50));
        assert_eq!(manifest.memory.allocator, Some(Allocator::Wasi));
        assert!(manifest.warnings.is_empty() && manifest.requests.is_empty());
    }

    #[test]
    fn both_dialects_of_capabilities_are_read() {
        let functions = reads(
            r#"{"name":"a","entryPoint":"a.wasm","capabilities":{"one":{"type":"wasm"},"two":{}},"tools":[{"name":"one"}]}"#,
        );
        assert_eq!(functions.functions, ["one", "two"]);
        let permissions = reads(
            r#"{"name":"a","entryPoint":"a.wasm","kind":"wasm","capabilities":["tools","network:fetch","fs:read"]}"#,
        );
        let asked: Vec<_> = permissions.requests.iter().map(|r| r.capability.to_string()).collect();
        assert_eq!(asked, ["fs.read=/", "net=*"]);
    }

    #[test]
    fn permissions_become_requests_and_unknown_keys_warnings() {
        let manifest = reads(
            r#"{"name":"a","entryPoint":"a.wasm","colour":"red","wasm":{"stack":1},
                "permissions":{"network":["fetch:https://x.example/v1/*?q"],"filesystem":["write:/tmp"],"env":["HOME"],"gpu":[]}}"#,
        );
        let asked: Vec<_> = manifest.requests.iter().map(|r| r.capability.to_string()).collect();
        assert_eq!(asked, ["fs.write=/tmp", "env=HOME", "net=https://x.example"]);
        assert_eq!(
            manifest.warnings,
            ["unknown key `colour`", "unknown key `wasm.stack`", "unknown key `permissions.gpu`"]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            fails("{\n  \"name\": }"),
            "manifest `manifest.json` is not valid: expected value (line 2, column 11)"
        );
        assert_eq!(
            fails(r#"{"name":"a"}"#),
            "manifest `manifest.json` is not valid: `entryPoint` is missing"
        );
        assert_eq!(
            fails(r#"{"name":"a","entryPoint":"a.js"}"#),
            "manifest `manifest.json` is not valid: `kind` is `esm`, and only `wasm` plugins run here"
        );
        assert_eq!(
            fails(r#"{"name":"a","entryPoint":"a.wasm","permissions":{"network":["fetch:gopher://x"]}}"#),
            "manifest `manifest.json` is not valid: in `permissions.network`: `net=gopher://x`: \
             `gopher` is not `http`, `https` or `tcp`"
        );
        for outside in ["../a.wasm", "/etc/a.wasm", "x/../../a.wasm", "", ".", "a\\\\b.wasm"] {
            let text = format!(r#"{{"name":"a","kind":"wasm","entryPoint":"{outside}"}}"#);
            assert!(
                fails(&text).ends_with("`entryPoint` must name a file inside the plugin's folder"),
                "{outside}"
            );
        }
        assert!(fails(r#"{"name":"a\nb","entryPoint":"a.wasm"}"#).contains("`name` must be 1 to 128"));
        assert!(fails(r#"{"name":"a","name":"b","entryPoint":"a.wasm"}"#).contains("duplicate field `name`"));
        assert!(
            fails(r#"{"name":"a","entryPoint":"a.wasm","wasm":{"memoryPages":9,"maxMemoryPages":8}}"#)
                .contains("more than")
        );
    }

    #[test]
    fn manifest_bomb_a_hundred_thousand_levels_are_refused() {
        let deep = format!(
            r#"{{"name":"a","entryPoint":"a.wasm","x":{}1{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(fails(&deep).contains("recursion limit exceeded"));
        let big = format!(r#"{{"name":"a","entryPoint":"a.wasm","x":"{}"}}"#, "y".repeat(1 << 20));
        let error = Manifest::read("manifest.json", big.as_bytes()).expect_err("too large");
        assert!(error.to_string().ends_with("larger than 1 MiB"));
    }

    proptest! {
        #[test]
        fn an_accepted_entry_point_stays_inside(path in "[a-z./]{1,12}") {
            let text = serde_json::json!({"name": "a", "kind": "wasm", "entryPoint": path}).to_string();
            if let Ok(manifest) = Manifest::read("cortex.json", text.as_bytes()) {
                let root = std::path::Path::new("/plugin");
                let mut depth = 0_i32;
                for part in std::path::Path::new(&manifest.entry_point).components() {
                    depth += match part { std::path::Component::ParentDir => -1, std::path::Component::Normal(_) => 1, _ => 0 };
                    prop_assert!(depth >= 0);
                }
                prop_assert!(root.join(&manifest.entry_point).starts_with(root));
            }
        }
    }
}
