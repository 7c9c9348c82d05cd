//! CortexPrism's manifest, `cortex.json` or `manifest.json`, and what a module of its tool ABI says of
//! its tools.
//!
//! Its document and its source disagree (`type` or `kind`, `capabilities` as a list of
//! permissions or as an object of functions), and no schema holds manifests to either; both
//! spellings are read, and what is something else than both say is left out with a warning, as are
//! keys that neither knows. Only what would have the wrong thing run or granted is an error.

mod reader;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;

use self::reader::Reader;
use super::{Allocator, Manifest, ManifestFormat, MemoryRequest, ToolSpec, checked_name, invalid};
use crate::{Error, ErrorKind, Location, Overrides, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    version: Option<Json>,
    description: Option<Json>,
    kind: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    entry_point: Option<String>,
    hash: Option<Json>,
    #[serde(default)]
    wasm: Wasm,
    capabilities: Option<Json>,
    permissions: Option<Json>,
    tools: Option<Json>,
    cli_commands: Option<Json>,
    config: Option<Json>,
    ui: Option<Json>,
    author: Option<Json>,
    homepage: Option<Json>,
    license: Option<Json>,
    repository: Option<Json>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Wasm {
    memory_pages: Option<u32>,
    max_memory_pages: Option<u32>,
    allocator: Option<Json>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}

/// Keys that somebody could rely on, and what nobody does about them.
const IDLE: [(&str, &str); 3] = [
    ("dependencies", "nothing is fetched for a plugin"),
    ("peerDependencies", "nothing is fetched for a plugin"),
    ("signature", "no signature is looked at; a digest of the file is, as `hash`"),
];

pub(super) fn read(name: &str, text: &[u8]) -> Result<Manifest> {
    let file: File = serde_json::from_slice(text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        Error::new(ErrorKind::InvalidManifest { file: name.to_owned(), at, reason })
    })?;
    let mut reader = Reader::default();

    let entry_point = file.entry_point.ok_or_else(|| invalid(name, "`entryPoint` is missing"))?;
    let kind = file
        .kind
        .or(file.type_)
        .unwrap_or_else(|| if entry_point.ends_with(".wasm") { "wasm".to_owned() } else { "esm".to_owned() });
    if kind != "wasm" {
        return Err(invalid(name, format!("`kind` is `{kind}`, and only `wasm` plugins run here")));
    }
    let entry_point = reader.entry_point(name, entry_point)?;

    for key in file.rest.keys() {
        match IDLE.iter().find(|(idle, _)| idle == key) {
            Some((_, why)) => reader.warn(format!("`{key}` has no effect: {why}")),
            None => reader.unknown("", key),
        }
    }
    file.wasm.rest.keys().for_each(|key| reader.unknown("wasm.", key));

    let allocator = match reader.text("wasm.allocator", file.wasm.allocator).as_deref() {
        None => None,
        Some("wasi") => Some(Allocator::Wasi),
        Some("custom") => Some(Allocator::Custom),
        Some(other) => {
            reader.warn(format!("`wasm.allocator` is `{other}`, neither `wasi` nor `custom`: ignored"));
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

    let mut requests = reader.permissions(name, file.permissions)?;
    let tools = reader.tools(file.tools);
    let mut functions: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
    match file.capabilities {
        None | Some(Json::Null) => {}
        Some(Json::Object(map)) => functions.extend(map.into_iter().map(|(function, _)| function)),
        Some(list) => requests.extend(reader.listed_requests(list)),
    }
    let mut seen = BTreeSet::new();
    functions.retain(|function| seen.insert(function.clone()));
    requests.sort_by(|a, b| a.capability.cmp(&b.capability));
    requests.dedup();

    let commands = reader.commands(file.cli_commands, &entry_point);
    let details = [
        ("author", file.author),
        ("homepage", file.homepage),
        ("license", file.license),
        ("repository", file.repository),
    ];
    let details = details.into_iter().filter_map(|(key, value)| {
        // An author or a repository can be an object, as npm has it.
        let named = |value: &Json| value.get("name").or_else(|| value.get("url")).cloned();
        let value = value.map(|value| named(&value).unwrap_or(value));
        Some((key.to_owned(), reader.text(key, value)?))
    });
    let details = details.collect();

    Ok(Manifest {
        format: ManifestFormat::Cortex,
        commands,
        hooks: BTreeMap::new(),
        name: checked_name(name, file.name)?,
        version: reader.text("version", file.version),
        description: reader.text("description", file.description),
        details,
        hash: reader.text("hash", file.hash),
        entry_point,
        functions,
        tools,
        requests,
        config: defaults(file.config.as_ref(), file.ui.as_ref()),
        memory,
        streams: None,
        stdout_protocol: false,
        limits: Overrides::new(),
        prx: None,
        warnings: reader.warnings,
    })
}

/// What a module of the tool ABI answers when it is asked for its tools, beside the manifest it came
/// with or one that only knows this name. What it cannot be asked, or what it answers that is nothing, is a
/// warning.
pub(super) fn with_tools(said: Result<&[u8]>, manifest: Option<Manifest>, name: &str) -> Manifest {
    let mut manifest = manifest.unwrap_or_else(|| Manifest::nothing(ManifestFormat::Cortex, name.to_owned()));
    let answer = match said {
        Ok(bytes) => serde_json::from_slice::<Json>(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut reader = Reader { warnings: std::mem::take(&mut manifest.warnings) };
    match answer {
        Ok(mut answer) => {
            let own = reader.tools(answer.get_mut("tools").map(Json::take));
            let has = |name: &String| own.iter().any(|tool| tool.name == *name);
            for missing in manifest.functions.iter().filter(|name| !has(name)).take(MANY) {
                reader.warn(format!("its manifest names the tool `{missing}`, which the module does not"));
            }
            let more =
                |tool: &&ToolSpec| !manifest.functions.is_empty() && !manifest.functions.contains(&tool.name);
            for more in own.iter().filter(more).take(MANY) {
                reader.warn(format!("it has the tool `{}`, which its manifest does not name", more.name));
            }
            manifest.functions = own.iter().map(|tool| tool.name.clone()).collect();
            manifest.tools = own;
        }
        Err(reason) => reader.warn(format!("the module does not say which tools it has: {reason}")),
    }
    manifest.warnings = reader.warnings;
    manifest
}

/// Differences that are told of.
const MANY: usize = 10;

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
    // One section needs no list.
    let sections = ui.into_iter().flat_map(|ui| match ui.get("settings").and_then(Json::as_array) {
        Some(sections) => sections.iter().collect(),
        None => vec![ui],
    });
    let fields = sections.filter_map(|section| section.get("fields")?.as_array()).flatten();
    let fields = fields.filter_map(|field| Some((field.get("key")?.as_str()?.to_owned(), default(field)?)));
    fields.chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{read, with_tools};
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
             `gopher` is not `http`, `https`, `tcp` or `udp`"
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

    #[test]
    fn every_field_that_real_manifests_have_is_read() {
        let manifest = reads(
            r##"{"id":"x","name":"a","version":"1.2.3","description":"d","kind":"wasm","runtime":"wasm","entryPoint":"a.wasm",
                "author":{"name":"Ada"},"homepage":"https://a.example","license":"MIT","repository":{"url":"https://r.example"},
                "hash":"sha256:00","capabilities":["tools","ui:panel","shell:fly"],"signature":"x","dependencies":{},
                "tools":[{"name":"t","description":"does","params":[
                    {"name":"mode","type":"enum","options":["a",{"label":"B","value":"b"}],"defaultValue":"a","required":true},
                    {"name":"text","type":"string","description":"what"}]}],
                "cliCommands":[{"name":"go","description":"goes","args":[{"name":"where","required":true,"description":"to"}],
                                "options":[{"name":"fast","flag":"-f, --fast","description":"soon"},{"name":"slow"}]},
                               {"name":"no way"}],
                "ui":{"section":"s","fields":[{"key":"limit","type":"number","defaultValue":3}]},
                "config":{"settings":{"unit":{"default":"m"}}}}"##,
        );
        let details: Vec<_> = manifest.details.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let expected =
            ["author Ada", "homepage https://a.example", "license MIT", "repository https://r.example"];
        assert_eq!(details, expected);
        assert_eq!(manifest.hash.as_deref(), Some("sha256:00"));
        let [tool] = manifest.tools.as_slice() else { panic!("{:?}", manifest.tools) };
        assert_eq!((tool.name.as_str(), tool.description.as_deref()), ("t", Some("does")));
        let [mode, text] = tool.params.as_slice() else { panic!("{tool:?}") };
        assert_eq!((mode.kind.as_str(), mode.required, mode.values.len()), ("enum", true, 2));
        assert_eq!((mode.values[1].clone(), mode.default.clone()), ("b".into(), Some("a".into())));
        assert_eq!((text.kind.as_str(), text.required), ("string", false));
        let [go] = manifest.commands.as_slice() else { panic!("{:?}", manifest.commands) };
        let spec = go.spec.as_ref().expect("it takes something");
        let forms: Vec<_> =
            spec.args.iter().map(|arg| (arg.name.as_str(), arg.long.as_deref(), arg.short)).collect();
        assert_eq!(
            forms,
            [("where", None, None), ("fast", Some("fast"), Some('f')), ("slow", Some("slow"), None)]
        );
        let config: Vec<_> = manifest.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(config, ["limit=3", "unit=m"]);
        assert_eq!(
            manifest.warnings,
            [
                "`dependencies` has no effect: nothing is fetched for a plugin",
                "`signature` has no effect: no signature is looked at; a digest of the file is, as `hash`",
                "unknown capability `shell:fly`",
                "`cliCommands` has `no way`, which cannot be typed as a command: ignored",
            ]
        );
    }

    #[test]
    fn what_is_of_another_type_than_documented_is_left_out_with_a_warning() {
        let manifest = reads(
            r#"{"name":"a","entryPoint":"a.wasm","version":2,"description":["x"],"author":7,"tools":{"t":1},
                "permissions":"all","capabilities":7,"cliCommands":[3],"wasm":{"allocator":1},"hash":1}"#,
        );
        assert_eq!((manifest.version, manifest.description, manifest.hash), (None, None, None));
        assert!(manifest.tools.is_empty() && manifest.requests.is_empty() && manifest.commands.is_empty());
        assert_eq!(
            manifest.warnings,
            [
                "`wasm.allocator` is no text: ignored",
                "`permissions` is no object: ignored",
                "`tools` is no list: ignored",
                "`capabilities` is no list: ignored",
                "`cliCommands` has an entry that is no object: ignored",
                "`author` is no text: ignored",
                "`version` is no text: ignored",
                "`description` is no text: ignored",
                "`hash` is no text: ignored",
            ]
        );
    }

    #[test]
    fn an_entry_that_an_installer_made_absolute_is_the_file_beside_the_manifest() {
        let manifest = reads(r#"{"name":"a","entryPoint":"file:///home/u/.cortex/plugins/a/a.wasm"}"#);
        assert_eq!(manifest.entry_point, "a.wasm");
        assert_eq!(
            manifest.warnings,
            ["`entryPoint` is a URL of a file: `a.wasm` beside the manifest is taken for it"]
        );
        let of = |entry: &str| fails(&format!(r#"{{"name":"a","entryPoint":"{entry}"}}"#));
        assert!(of("https://a.example/a.wasm").contains("nothing is fetched for a plugin"));
        assert!(of("file:///a/..").contains("only `wasm` plugins run here"));
        assert!(of("file:///.wasm/..wasm/").contains("only `wasm` plugins run here"));
    }

    #[test]
    fn what_a_module_says_of_its_tools_counts_and_differences_are_told() {
        let file = reads(r#"{"name":"a","entryPoint":"a.wasm","tools":[{"name":"gone"},{"name":"both"}]}"#);
        let said = br#" {"abi_version":1,"tools":[{"name":"both","params":[{"name":"x","type":"number"}]},{"name":"more"},{"no":1}]}  "#;
        let manifest = with_tools(Ok(said), Some(file.clone()), "other");
        assert_eq!(
            (manifest.name.as_str(), manifest.functions.as_slice()),
            ("a", ["both".to_owned(), "more".to_owned()].as_slice())
        );
        assert_eq!(
            manifest.warnings,
            [
                "`tools` has an entry without a name: ignored",
                "its manifest names the tool `gone`, which the module does not",
                "it has the tool `more`, which its manifest does not name",
            ]
        );
        let silent = with_tools(Ok(b"no JSON"), Some(file), "other");
        assert_eq!(silent.functions, ["gone", "both"]);
        assert!(
            silent.warnings[0].starts_with("the module does not say which tools it has: expected"),
            "{silent:?}"
        );
        let bare = with_tools(Ok(said), None, "file");
        assert_eq!((bare.name.as_str(), bare.functions.len(), bare.warnings.len()), ("file", 2, 1));
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
