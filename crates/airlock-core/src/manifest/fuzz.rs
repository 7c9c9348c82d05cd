//! What a manifest promises once it has been read, and where a fault in it is said to be.

use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{Manifest, ManifestFormat};
use crate::{ErrorKind, Location, visible};

#[test]
fn any_text_is_refused_with_its_place_or_keeps_its_promises() {
    bolero::check!().with_iterations(10_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(bytes);
            judge(likely(bytes).to_string().as_bytes());
            judge_toml(bytes);
            judge_toml(likely_toml(bytes).as_bytes());
            judge_toml(likely_prx(bytes).as_bytes());
            judge_packed(bytes);
            judge_packed(&likely_packed(bytes));
            judge_tools(bytes);
            let tools = json!({ "tools": likely(bytes)["tools"] }).to_string();
            judge_tools(tools.as_bytes());
            judge_prx_tools(bytes);
            judge_prx_tools(tools.as_bytes());
        },
    );
}

fn judge(text: &[u8]) {
    let verdict = Manifest::read("cortex.json", text);
    match &verdict {
        Ok(manifest) => judge_accepted(manifest, text),
        Err(error) => {
            let ErrorKind::InvalidManifest { at, .. } = error.kind() else { panic!("{error:?}") };
            if let Some(at) = at {
                judge_place(*at, text);
            }
            let shown = error.to_string();
            assert_eq!(visible(&shown, false), shown);
        }
    }
    let again = Manifest::read("cortex.json", text);
    assert_eq!(verdict.map_err(|error| error.to_string()), again.map_err(|error| error.to_string()));
}

/// fledge's format keeps the same promises, but for where its parser says a fault is.
fn judge_toml(text: &[u8]) {
    match Manifest::read("plugin.toml", text) {
        Ok(manifest) if manifest.format == ManifestFormat::Prx => judge_prx(&manifest),
        Ok(manifest) => {
            let mut said = manifest.clone();
            // One word asks for two things there.
            said.requests.truncate(manifest.requests.len().div_ceil(2));
            judge_accepted(&said, text);
            assert!(manifest.files().iter().all(|file| !file.starts_with('/') && !file.contains("..")));
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::InvalidManifest { .. }), "{error:?}");
            let shown = error.to_string();
            assert_eq!(visible(&shown, false), shown);
        }
    }
}

/// PRX's is read whatever is in it, so that it is said more of than it has words.
fn judge_prx(manifest: &Manifest) {
    assert!(
        manifest
            .files()
            .iter()
            .all(|file| !file.starts_with('/') && !file.split('/').any(|part| part == ".."))
    );
    let requests = &manifest.requests;
    assert!(requests.is_sorted_by(|a, b| a.capability < b.capability), "{requests:?}");
    for request in requests {
        let shown = request.capability.to_string();
        assert_eq!(shown.parse::<crate::Capability>().ok().as_ref(), Some(&request.capability));
    }
    judge_names(manifest);
    let prx = manifest.prx.as_ref().expect("it is PRX's");
    for capability in &prx.capabilities {
        let topics = capability.topics();
        for (at, topic) in topics.iter().enumerate() {
            assert!(topics.iter().enumerate().all(|(other, wide)| other == at || !wide.covers(topic)));
        }
    }
    // Whatever its list lets it ask for, nobody else's host is part of that.
    for entry in prx.http_allowlist.iter().filter(|entry| entry.starts_with("https://a.example")) {
        let one = super::PrxManifest { http_allowlist: vec![entry.clone()], ..Default::default() };
        assert!(!one.permits_url("https://a.example.evil.example/"), "{entry}");
    }
}

/// What a module says of itself keeps them too.
fn judge_packed(bytes: &[u8]) {
    match Manifest::read(Manifest::EXPORT, bytes) {
        Ok(manifest) => {
            let Manifest { name, functions, commands, requests, .. } = &manifest;
            assert!(super::is_word(name) && functions == std::slice::from_ref(name) && commands.len() == 1);
            assert!(requests.is_sorted_by(|a, b| a.capability < b.capability), "{requests:?}");
            for request in requests {
                let shown = request.capability.to_string();
                assert_eq!(shown.parse::<crate::Capability>().ok().as_ref(), Some(&request.capability));
            }
        }
        Err(error) => {
            let kind = error.kind();
            let is_one = matches!(kind, ErrorKind::InvalidManifest { .. } | ErrorKind::ApiVersion { .. });
            assert!(is_one, "{error:?}");
            let shown = error.to_string();
            assert_eq!(visible(&shown, false), shown);
        }
    }
}

/// Whatever a module says of its tools, there is a manifest.
fn judge_tools(bytes: &[u8]) {
    match Manifest::with_tools(Ok(bytes), None, "a") {
        Ok(manifest) => {
            let names: BTreeSet<_> = manifest.tools.iter().map(|tool| &tool.name).collect();
            assert_eq!(names.len(), manifest.tools.len(), "a tool named twice");
            assert!(manifest.functions.iter().eq(manifest.tools.iter().map(|tool| &tool.name)));
            assert!(manifest.requests.is_empty() && manifest.commands.is_empty());
        }
        Err(error) => assert!(matches!(error.kind(), ErrorKind::InvalidManifest { .. }), "{error:?}"),
    }
}

/// Whatever a plugin from before PRX's components says of its tools, there is a manifest.
fn judge_prx_tools(bytes: &[u8]) {
    match Manifest::with_prx_tools(Ok(bytes), None, "a") {
        Ok(manifest) => judge_names(&manifest),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::InvalidManifest { .. }), "{error:?}"),
    }
}

/// Tools that are called by their names have names that can be read and typed, each another.
fn judge_names(manifest: &Manifest) {
    let names: BTreeSet<_> = manifest.tools.iter().map(|tool| &tool.name).collect();
    assert_eq!(names.len(), manifest.tools.len(), "a tool named twice");
    assert!(names.iter().all(|name| !name.is_empty() && visible(name, false) == **name), "{names:?}");
}

/// A manifest of sen-rs's whose values are cut from the bytes.
fn likely_packed(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(['\n', ' ', ',']).map(str::to_owned);
    let mut words = words.chain(std::iter::repeat_with(|| "a".to_owned()));
    let mut word = || words.next().unwrap_or_default();
    let path = |pattern: String| json!({ "recursive": pattern.len().is_multiple_of(2), "pattern": pattern });
    let manifest = json!({
        "api_version": bytes.first().map_or(2, |byte| byte % 4),
        "command": { "name": if bytes.len().is_multiple_of(2) { "a".to_owned() } else { word() }, "about": word() },
        "capabilities": {
            "fs_read": [path(word()), path(word())], "fs_write": [path(word())], "env_read": [word()],
            "net": [{ "host": word(), "port": bytes.last(), "protocol": "http" }],
        },
    });
    rmp_serde::to_vec_named(&manifest).expect("it has a form")
}

/// A manifest of fledge's whose values are cut from the bytes.
fn likely_toml(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split(['\n', ' ', ',']).map(|word| toml::Value::String(word.to_owned()).to_string());
    let mut word = || words.next().unwrap_or_else(|| "\"a\"".to_owned());
    let flag = |index: usize| bytes.get(index).is_some_and(|byte| byte % 2 == 0);
    format!(
        "[plugin]\nname = {}\nversion = {}\nruntime = \"wasm\"\n[[commands]]\nname = {}\nbinary = {}\n\
         [hooks]\nbuild = {}\n[capabilities]\nexec = {}\nstore = {}\nnetwork = {}\nfilesystem = {}\n",
        word(),
        word(),
        word(),
        word(),
        word(),
        flag(0),
        flag(1),
        flag(2),
        if flag(3) { "\"plugin\"".to_owned() } else { word() },
    )
}

/// A manifest of PRX's whose values are cut from the bytes.
fn likely_prx(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split(['\n', ' ', ',']).map(|word| toml::Value::String(word.to_owned()).to_string());
    let mut word = || words.next().unwrap_or_else(|| "\"a\"".to_owned());
    let kind = ["tool", "hook", "cron", "middleware"][bytes.first().map_or(0, |byte| usize::from(*byte % 4))];
    let (name, version, wasm, event, other) = (word(), word(), word(), word(), word());
    let (permission, url, key, size) = (word(), word(), word(), bytes.len());
    format!(
        "[plugin]\nname = {name}\nversion = {version}\nwasm = {wasm}\n[[plugin.tools]]\nname = {event}\n\
         [[plugin.tools]]\nname = {other}\n[[capabilities]]\ntype = \"{kind}\"\n\
         events = [{event}, {{ pattern = {other} }}]\n[permissions]\nrequired = [\"http-outbound\", {permission}]\n\
         http_allowlist = [{url}, {}]\n[resources]\nmax_fuel = {size}\n[config]\n{key} = {}\n",
        word(),
        word(),
    )
}

fn judge_place(at: Location, text: &[u8]) {
    let line = at.line.checked_sub(1).and_then(|before| text.split(|byte| *byte == b'\n').nth(before));
    let line = line.expect("the line is one of the text's");
    assert!((1..=line.len().max(1)).contains(&at.column), "{at:?}");
}

fn judge_accepted(manifest: &Manifest, text: &[u8]) {
    let Manifest { name, entry_point, functions, requests, memory, warnings, .. } = manifest;
    assert!((1..=128).contains(&name.chars().count()) && !name.chars().any(|c| c.is_control() || c == '`'));

    let parts: Vec<&str> = entry_point.split('/').collect();
    assert!(!entry_point.starts_with('/') && !parts.contains(&".."), "{entry_point}");
    assert!(parts.iter().any(|part| !matches!(*part, "" | ".")), "`{entry_point}` names no file");

    assert_eq!(functions.iter().collect::<BTreeSet<_>>().len(), functions.len(), "a function named twice");
    assert!(requests.is_sorted_by(|a, b| a.capability < b.capability), "{requests:?}");
    if let (Some(initial), Some(maximum)) = (memory.initial_pages, memory.maximum_pages) {
        assert!(initial <= maximum);
    }

    // Each of them comes from a string of the text, quotes included.
    let said = functions.len() + requests.len() + warnings.len();
    assert!(said * 2 <= text.len(), "{said} from {} bytes", text.len());

    let asked = requests.iter().map(|request| request.capability.to_string());
    let shown = [name, entry_point].into_iter().chain(functions).chain(warnings);
    for shown in asked.chain(shown.map(|text| visible(text, false).into_owned())) {
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}

const KEYS: [&str; 18] = [
    "name",
    "version",
    "description",
    "kind",
    "type",
    "entryPoint",
    "wasm",
    "memoryPages",
    "maxMemoryPages",
    "allocator",
    "capabilities",
    "permissions",
    "network",
    "filesystem",
    "env",
    "process",
    "tools",
    "another",
];

const STRINGS: [&str; 16] = [
    "a",
    "wasm",
    "a.wasm",
    "./b//c.wasm",
    "../a.wasm",
    ".",
    "",
    "wasi",
    "custom",
    "network:fetch",
    "fs:write",
    "fetch:https://a.example",
    "read:/a",
    "write:",
    "\u{9b}2J\u{202e}",
    " at line 7 column 7",
];

/// A manifest that is likely to be accepted, made of a fuzzer's bytes: random text is
/// hardly ever one.
fn likely(bytes: &[u8]) -> Json {
    let mut bytes = bytes.iter();
    let mut file = json!({ "name": "a", "kind": "wasm", "entryPoint": "a.wasm" });
    while let (Some(key), Json::Object(file)) = (bytes.next(), &mut file) {
        file.insert(pick(&KEYS, *key), value(&mut bytes, 0));
    }
    file
}

fn value(bytes: &mut slice::Iter<'_, u8>, depth: usize) -> Json {
    let (kind, byte) = match bytes.next() {
        Some(byte) => (byte & 7, byte >> 3),
        None => return Json::Null,
    };
    match kind {
        0 => Json::Null,
        1 => byte.into(),
        2..=4 => pick(&STRINGS, byte).into(),
        _ if depth > 2 => byte.into(),
        5 => (0..byte % 4).map(|_| value(bytes, depth + 1)).collect(),
        _ => {
            let mut map = Map::new();
            for _ in 0..byte % 4 {
                let key = pick(&KEYS, bytes.next().copied().unwrap_or_default());
                map.insert(key, value(bytes, depth + 1));
            }
            Json::Object(map)
        }
    }
}

fn pick(from: &[&str], byte: u8) -> String {
    from[usize::from(byte) % from.len()].to_owned()
}
