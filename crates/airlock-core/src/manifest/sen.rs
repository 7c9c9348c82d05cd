//! What sen-rs's plugins answer when they are asked what they are: MessagePack, as its types are
//! serialised.
//!
//! Structures come as maps or, from plugins written without its SDK, as arrays in the order of
//! the fields; keys that nobody knows and bytes behind the end are ignored, as its host does. Its
//! SDK for Zig writes a nil for everything that was left out, and its host refuses that where a
//! text is meant; here it is an empty one.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::command::or_default;
use super::{
    CommandEntry, CommandSpec, Manifest, ManifestFormat, MemoryRequest, Request, Streams, checked_command,
    checked_name, invalid,
};
use crate::{AbiId, Capability, CapabilityKind, Error, ErrorKind, Overrides, Result};

/// Versions of its interface that are spoken: the first has no capabilities.
const VERSIONS: [u32; 2] = [1, 2];

/// Levels of nesting that are read: a command below a command is two.
const MAX_DEPTH: usize = 64;

#[derive(Deserialize)]
struct File {
    api_version: u32,
    command: CommandSpec,
    #[serde(default, deserialize_with = "or_default")]
    capabilities: SenCapabilities,
}

pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Manifest> {
    // First of all, since those of another version may look otherwise.
    let Version(version) = decode(name, bytes)?;
    if !VERSIONS.contains(&version) {
        return Err(Error::new(ErrorKind::ApiVersion { abi: AbiId::Sen, found: version, known: &VERSIONS }));
    }
    let File { api_version, command: mut spec, capabilities } = decode(name, bytes)?;
    checked_command(name, &spec.name)?;
    let mut warnings = Vec::new();
    spec.tidy(&mut warnings);
    let mut requests = match api_version {
        1 => Vec::new(),
        _ => requests(name, &capabilities)?,
    };
    requests.sort_by(|one, other| one.capability.cmp(&other.capability));
    requests.dedup_by(|one, other| one.capability == other.capability);
    let plugin = checked_name(name, spec.name.clone())?;
    Ok(Manifest {
        format: ManifestFormat::Sen,
        version: spec.version.clone(),
        description: Some(spec.about.clone()).filter(|about| !about.is_empty()),
        entry_point: String::new(),
        functions: vec![plugin.clone()],
        commands: vec![CommandEntry {
            name: plugin.clone(),
            description: Some(spec.about.clone()).filter(|about| !about.is_empty()),
            file: String::new(),
            spec: Some(spec),
        }],
        name: plugin,
        hooks: BTreeMap::new(),
        requests,
        config: BTreeMap::new(),
        memory: MemoryRequest::default(),
        streams: Some(capabilities.stdio.streams()),
        stdout_protocol: false,
        details: BTreeMap::new(),
        hash: None,
        tools: Vec::new(),
        limits: Overrides::new(),
        prx: None,
        warnings,
    })
}

fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|error| invalid(name, error.to_string()))
}

/// What they need: sen-rs's plugins are not run without any of it. Input is what somebody may or
/// may not have for them.
fn requests(name: &str, capabilities: &SenCapabilities) -> Result<Vec<Request>> {
    let asked = capabilities.capabilities().into_iter().map(|read| match read {
        Ok(capability) => Ok(Request { required: capability.kind() != CapabilityKind::Stdin, capability }),
        Err(error) => Err(invalid(name, error.to_string())),
    });
    asked.collect()
}

/// A manifest's `api_version`, whatever else is in it.
struct Version(u32);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Finder;

        impl<'de> Visitor<'de> for Finder {
            type Value = Version;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map or an array that begins with `api_version`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Version, A::Error> {
                let version = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                version.map(Version).ok_or_else(|| A::Error::missing_field("api_version"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Version, A::Error> {
                let mut version = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "api_version" => version = Some(map.next_value()?),
                        _ => map.next_value::<IgnoredAny>().map(drop)?,
                    }
                }
                version.map(Version).ok_or_else(|| A::Error::missing_field("api_version"))
            }
        }

        deserializer.deserialize_any(Finder)
    }
}

/// sen-rs's capabilities, as its manifests and its file of grants have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SenCapabilities {
    #[serde(default, deserialize_with = "or_default")]
    fs_read: Vec<PathPattern>,
    #[serde(default, deserialize_with = "or_default")]
    fs_write: Vec<PathPattern>,
    #[serde(default, deserialize_with = "or_default")]
    env_read: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    net: Vec<NetPattern>,
    #[serde(default, deserialize_with = "or_default")]
    stdio: Stdio,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct PathPattern {
    pattern: String,
    #[serde(default, deserialize_with = "or_default")]
    recursive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct NetPattern {
    host: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default, deserialize_with = "or_default")]
    protocol: Protocol,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    #[default]
    Https,
    Http,
    Tcp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct Stdio {
    #[serde(default, deserialize_with = "or_default")]
    stdin: bool,
    #[serde(default, deserialize_with = "or_default")]
    stdout: bool,
    #[serde(default, deserialize_with = "or_default")]
    stderr: bool,
}

impl Stdio {
    fn streams(self) -> Streams {
        let Stdio { stdin, stdout, stderr } = self;
        Streams { stdin, stdout, stderr }
    }
}

impl SenCapabilities {
    /// What they are here, in their order; an error for each that cannot be anything here.
    pub fn capabilities(&self) -> Vec<Result<Capability>> {
        let SenCapabilities { fs_read, fs_write, env_read, net, stdio } = self;
        let reads = fs_read.iter().map(|path| path.capability(CapabilityKind::FsRead));
        let writes = fs_write.iter().map(|path| path.capability(CapabilityKind::FsWrite));
        let variables = env_read.iter().map(|name| variable(name));
        let origins = net.iter().flat_map(NetPattern::capabilities);
        // What is printed is kept for whoever called, which needs no grant.
        let input = stdio.stdin.then(|| Ok(Capability::all_of(CapabilityKind::Stdin)));
        reads.chain(writes).chain(variables).chain(origins).chain(input).collect()
    }
}

impl PathPattern {
    /// Its folder, which the plugin sees where its host would put it. What that host ignores is
    /// meant here: a folder without its folders, unless it is `recursive`.
    fn capability(&self, kind: CapabilityKind) -> Result<Capability> {
        let invalid = |reason: &str| {
            let name = format!("{kind}={}", self.pattern);
            Err(Error::new(ErrorKind::InvalidSetting { name, reason: reason.to_owned() }))
        };
        if self.pattern.contains("::") {
            return invalid("`::` cannot be part of a path here");
        }
        if self.pattern.contains('*') {
            return invalid("its paths are no patterns, and `*` cannot be part of one here");
        }
        let folder = match self.pattern.trim_end_matches('/') {
            "" if self.pattern.is_empty() => ".".to_owned(),
            // All of the file system.
            "" => String::new(),
            // It knows no other's home folder, and no folder of the plugin's own.
            path if path.starts_with('@') => format!("./{path}"),
            path if path.starts_with('~') && path != "~" && !path.starts_with("~/") => format!("./{path}"),
            path => path.to_owned(),
        };
        let scope = match (self.recursive, folder.as_str()) {
            (true, "") => "/".to_owned(),
            (true, _) => folder.clone(),
            (false, _) => format!("{folder}/*"),
        };
        let guest = if self.pattern == "~" { "::/~" } else { "" };
        Capability::scoped(kind, &format!("{scope}{guest}"))
    }
}

/// Its patterns are letters, digits and `_`, with or without a `*` at the end.
fn variable(name: &str) -> Result<Capability> {
    let text = name.strip_suffix('*').unwrap_or(name);
    match !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Capability::scoped(CapabilityKind::Env, name),
        false => Err(Error::new(ErrorKind::InvalidSetting {
            name: format!("env={name}"),
            reason: "it is no name of letters, digits and `_`, with or without `*` at its end".to_owned(),
        })),
    }
}

impl NetPattern {
    /// Its host, with its scheme and port. `*.NAME` stands for the name itself too.
    fn capabilities(&self) -> Vec<Result<Capability>> {
        let port = self.port.map_or_else(|| "*".to_owned(), |port| port.to_string());
        let scheme = match self.protocol {
            Protocol::Https => "https",
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        };
        let of = |host: &str| {
            let host = match host.contains(':') && !host.starts_with('[') {
                true => format!("[{host}]"),
                false => host.to_owned(),
            };
            Capability::scoped(CapabilityKind::Net, &format!("{scheme}://{host}:{port}"))
        };
        let itself = self.host.strip_prefix("*.").map(of);
        std::iter::once(of(&self.host)).chain(itself).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::read;
    use crate::{ErrorKind, Manifest, Streams};

    fn packed(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.serialize(&mut rmp_serde::Serializer::new(&mut bytes)).expect("it has a form");
        bytes
    }

    fn reads(value: &Value) -> Manifest {
        read(Manifest::EXPORT, &packed(value)).expect("a valid manifest")
    }

    fn fails(value: &Value) -> String {
        read(Manifest::EXPORT, &packed(value)).expect_err("an invalid manifest").to_string()
    }

    fn with(capabilities: &Value) -> Value {
        json!({ "api_version": 2, "command": { "name": "a", "about": "" }, "capabilities": capabilities })
    }

    fn asked(manifest: &Manifest) -> Vec<String> {
        manifest.requests.iter().map(|request| request.capability.to_string()).collect()
    }

    /// The bytes that its own serialiser makes of a manifest written without its SDK.
    const POSITIONAL: &[u8] = b"\x92\x02\x96\xa5hello\xaaSays hello\xa51.0.0\xc0\x91\x98\xa4name\xa4name\
        \xa1n\xc2\xa1h\xc0\xa5World\xc0\x90";

    #[test]
    fn arrays_are_read_as_maps_are() {
        let manifest = read(Manifest::EXPORT, POSITIONAL).expect("a valid manifest");
        let map = json!({ "api_version": 2, "command": {
            "name": "hello", "about": "Says hello", "version": "1.0.0", "author": null, "subcommands": [],
            "args": [{ "name": "name", "long": "name", "short": "n", "required": false, "help": "h",
                       "value_name": null, "default_value": "World", "possible_values": null }] } });
        assert_eq!(reads(&map), manifest);
        assert_eq!((manifest.name.as_str(), manifest.version.as_deref()), ("hello", Some("1.0.0")));
        let spec = manifest.commands[0].spec.as_ref().expect("it describes itself");
        assert_eq!((spec.args[0].short, spec.args[0].long.as_deref()), (Some('n'), Some("name")));
        assert_eq!(spec.args[0].default_value.as_deref(), Some("World"));
        assert_eq!((asked(&manifest).len(), manifest.streams), (0, Some(Streams::default())));
    }

    #[test]
    fn what_nobody_knows_and_what_follows_is_passed_over() {
        let mut value = with(&json!({}));
        value["colour"] = json!({ "deep": [1, 2] });
        value["command"]["colour"] = json!("red");
        let bytes = [packed(&value), b"and more".to_vec()].concat();
        assert_eq!(read(Manifest::EXPORT, &bytes).expect("a valid manifest"), reads(&with(&json!({}))));
    }

    #[test]
    fn the_zig_sdks_nils_are_empty() {
        let nils = json!({ "api_version": 2, "capabilities": null, "command": { "name": "echo", "about": null,
            "version": null, "author": null, "subcommands": null,
            "args": [{ "name": "message", "help": null, "required": null }] } });
        let manifest = reads(&nils);
        assert_eq!((manifest.description, manifest.requests.len()), (None, 0));
    }

    #[test]
    fn another_version_is_refused_before_anything_else_is_read() {
        for value in [json!({ "shape": [], "api_version": 3, "command": 7 }), json!([3, 7, 7])] {
            let error = read(Manifest::EXPORT, &packed(&value)).expect_err("no such version");
            assert!(matches!(error.kind(), ErrorKind::ApiVersion { found: 3, .. }), "{error}");
            assert_eq!(
                error.to_string(),
                "the plugin speaks version 3 of the `sen` ABI, and 1 and 2 are spoken here"
            );
        }
        // The first one has no capabilities.
        let mut first = with(&json!({ "env_read": ["HOME"] }));
        first["api_version"] = json!(1);
        assert!(reads(&first).requests.is_empty());
    }

    #[test]
    fn capabilities_are_asked_for_where_its_host_puts_them() {
        let manifest = reads(&with(&json!({
            "fs_read": [{ "pattern": "./data", "recursive": true }, { "pattern": "data/", "recursive": true },
                        { "pattern": "~/in" }, { "pattern": "~" }, { "pattern": "" }, { "pattern": "/" },
                        { "pattern": "~other", "recursive": true }, { "pattern": "@", "recursive": true }],
            "fs_write": [{ "pattern": "/var/./out/../log", "recursive": true }],
            "env_read": ["HOME", "MY_*"],
            "net": [{ "host": "*.a.example" }, { "host": "::1", "port": 80, "protocol": "http" },
                    { "host": "*", "protocol": "tcp" }],
            "stdio": { "stdin": true, "stdout": true } })));
        assert_eq!(
            asked(&manifest),
            [
                "fs.read=./*",
                "fs.read=./@",
                "fs.read=data",
                "fs.read=./~other",
                "fs.read=~/*::/~",
                "fs.read=~/in/*",
                "fs.read=/*",
                "fs.write=/var/log",
                "env=HOME",
                "env=MY_*",
                "net=http://[::1]",
                "net=https://a.example:*",
                "net=https://*.a.example:*",
                "net=tcp://*:*",
                "stdin=inherit"
            ]
            .map(str::to_owned)
        );
        let required = |request: &crate::Request| request.required;
        assert_eq!(manifest.requests.iter().filter(|request| !required(request)).count(), 1);
        assert_eq!(manifest.streams, Some(Streams { stdin: true, stdout: true, stderr: false }));
    }

    #[test]
    fn a_pattern_that_leads_out_or_is_none_is_refused() {
        let path = |pattern: &str| fails(&with(&json!({ "fs_read": [{ "pattern": pattern }] })));
        assert_eq!(
            path("../x"),
            "manifest `plugin_manifest` is not valid: `fs.read=../x/*`: `..` leads out of the folder it begins \
             in; write an absolute path"
        );
        for pattern in
            ["data/../../etc", "~/../etc", "~foo/../../etc", "/../x", "./da*", "a::/b", "a\u{1b}[2J"]
        {
            let said = path(pattern);
            assert!(said.starts_with("manifest `plugin_manifest` is not valid: `fs.read="), "{said}");
        }
        for name in ["", "*", "A*B", "A**", "A B", "A=B", "ä"] {
            let said = fails(&with(&json!({ "env_read": [name] })));
            assert!(said.contains("it is no name of letters, digits and `_`"), "{name}: {said}");
        }
        let said = fails(&with(&json!({ "net": [{ "host": "a b" }] })));
        assert!(said.contains("net=https://a b:*"), "{said}");
    }

    #[test]
    fn what_is_no_manifest_says_why() {
        let said = |bytes: &[u8]| read(Manifest::EXPORT, bytes).expect_err("no manifest").to_string();
        for bytes in [&b""[..], b"\xc1", b"\x92\x02", b"{\"api_version\":2}", &[0x91; 100_000]] {
            assert!(said(bytes).starts_with("manifest `plugin_manifest` is not valid: "), "{}", said(bytes));
        }
        assert!(said(&packed(&json!({ "command": {} }))).contains("api_version"));
        assert!(fails(&json!({ "api_version": 2, "command": { "about": "" } })).contains("name"));
        let mut name = with(&json!({}));
        name["command"]["name"] = json!("two words");
        assert!(fails(&name).contains("`two words` is no name of a command"));
        // As many as are said to come is not what is made room for.
        assert!(said(b"\x82\xabapi_version\x02\xa7command\xdd\xff\xff\xff\xff").contains("not valid"));
        let mut deep = json!({ "name": "a", "about": "" });
        for _ in 0..100 {
            deep = json!({ "name": "a", "about": "", "subcommands": [deep] });
        }
        assert!(fails(&json!({ "api_version": 2, "command": deep })).contains("depth"));
        let many = vec![json!({ "name": "a" }); 1000];
        let many = json!({ "api_version": 2, "command": { "name": "a", "about": "", "args": many } });
        let error = Manifest::read(Manifest::EXPORT, &packed(&many)).expect_err("too many").to_string();
        assert!(error.contains("more than 1000 things"), "{error}");
    }

    #[test]
    fn forms_that_cannot_be_typed_are_left_out_and_named() {
        let arg =
            |name: &str, long: Value, short: Value| json!({ "name": name, "long": long, "short": short });
        let mut value = with(&json!({}));
        value["command"]["args"] = json!([
            arg("one", json!("--output"), json!("o")),
            arg("two", json!("output"), json!("o")),
            arg("three", json!("help"), json!("h")),
            arg("four", json!("a b"), json!("-")),
            { "name": "five", "default_value": "x", "possible_values": ["y"] },
            { "name": "six", "possible_values": ["a\u{7}"] },
            { "name": "seven", "required": true },
            { "name": "eight" },
        ]);
        value["command"]["subcommands"] = json!([{ "name": "run", "about": "" }, { "name": "run", "about": "" }, { "name": "--x", "about": "" }]);
        let manifest = reads(&value);
        let spec = manifest.commands[0].spec.as_ref().expect("it describes itself");
        let options: Vec<bool> = spec.args.iter().map(crate::ArgSpec::is_option).collect();
        assert_eq!(options, [true, false, false, false, false, false, false, false]);
        let required: Vec<bool> = spec.args.iter().map(|arg| arg.required).collect();
        assert_eq!(required, [false, true, true, true, true, true, true, false]);
        assert_eq!(spec.args[0].long.as_deref(), Some("output"));
        assert_eq!((spec.args[4].default_value.clone(), spec.args[5].possible_values.clone()), (None, None));
        assert_eq!(spec.subcommands.len(), 1);
        assert_eq!(manifest.warnings.len(), 14, "{:#?}", manifest.warnings);
        assert_eq!(manifest.warnings[0], "`a`: `two` has the form `--output`, which is another's");
    }
}
