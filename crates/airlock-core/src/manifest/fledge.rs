//! fledge's manifest, `plugin.toml`.
//!
//! Its host reads it leniently; here a capability's value that nobody knows is an error, since
//! it would be granted as something else than what was meant, and other unknown keys are
//! warnings. Its native plugins are refused: what is run here is WebAssembly.
//!
//! Some keys are additions of Airlock's. Its own host reads past them, so that one manifest serves
//! both: `plugin.stdout-protocol`, and in `[capabilities]` `clock`, `random`, `terminal`, `env`,
//! and what narrows `exec` (`programs`) and `network` (`net`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    CommandEntry, Manifest, ManifestFormat, MemoryRequest, Request, checked_command, checked_name,
    checked_path, invalid, parse_toml,
};
use crate::{Capability, CapabilityKind, Error, Overrides, Result, nearest};

#[derive(Deserialize)]
struct File {
    plugin: Plugin,
    #[serde(default)]
    commands: Vec<Command>,
    #[serde(default)]
    hooks: BTreeMap<String, toml::Value>,
    #[serde(default)]
    capabilities: BTreeMap<String, toml::Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Plugin {
    name: String,
    version: String,
    description: Option<String>,
    protocol: Option<String>,
    runtime: Option<String>,
    #[serde(default, rename = "stdout-protocol")]
    stdout_protocol: bool,
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Command {
    name: String,
    description: Option<String>,
    binary: String,
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

/// The hooks that fledge knows.
const HOOKS: [&str; 6] = ["build", "post_install", "post_remove", "pre_init", "post_work_start", "pre_push"];

/// The capabilities that fledge knows, and those that it reads past.
const CAPABILITIES: [&str; 11] = [
    "exec",
    "store",
    "metadata",
    "filesystem",
    "network",
    "clock",
    "random",
    "terminal",
    "env",
    "programs",
    "net",
];

/// The protocol that its plugins speak.
const PROTOCOL: &str = "fledge-v1";

pub(super) fn read(name: &str, text: &str) -> Result<Manifest> {
    let file: File = parse_toml(name, text)?;
    match file.plugin.runtime.as_deref() {
        Some("wasm") => {}
        None | Some("native") => {
            let reason = "`plugin.runtime` is not `wasm`, and Airlock runs no native code";
            return Err(invalid(name, reason));
        }
        Some(other) => {
            return Err(invalid(name, format!("`plugin.runtime` is `{other}`, and only `wasm` runs here")));
        }
    }
    if let Some(protocol) = file.plugin.protocol.as_deref().filter(|protocol| *protocol != PROTOCOL) {
        return Err(invalid(
            name,
            format!("`plugin.protocol` is `{protocol}`, and `{PROTOCOL}` is what is spoken"),
        ));
    }

    let unknown = |prefix: &str, keys: &BTreeMap<String, toml::Value>, known: &[&str]| -> Vec<String> {
        let keys = keys.keys().filter(|key| !known.contains(&key.as_str()));
        keys.map(|key| format!("unknown key `{prefix}{key}`")).collect()
    };
    let mut warnings = unknown("", &file.rest, &[]);
    warnings.extend(unknown("plugin.", &file.plugin.rest, &["author"]));
    warnings.extend(unknown("hooks.", &file.hooks, &HOOKS));

    let mut commands: Vec<CommandEntry> = Vec::new();
    for command in file.commands {
        warnings.extend(unknown("commands.", &command.rest, &[]));
        checked_command(name, &command.name)?;
        if commands.iter().any(|other| other.name == command.name) {
            return Err(invalid(name, format!("the command `{}` is there twice", command.name)));
        }
        let file = checked_path(name, "commands.binary", command.binary)?;
        commands.push(CommandEntry {
            name: command.name,
            description: command.description,
            file,
            spec: None,
        });
    }
    let entry_point = match commands.first() {
        Some(command) => command.file.clone(),
        None => return Err(invalid(name, "it has no `[[commands]]`, and so nothing to run")),
    };
    let hooks = file.hooks.into_iter().filter(|(hook, _)| HOOKS.contains(&hook.as_str()));
    let hooks = hooks.map(|(hook, command)| match command {
        toml::Value::String(command) => Ok((hook, command)),
        _ => Err(invalid(name, format!("`hooks.{hook}` is no text"))),
    });

    Ok(Manifest {
        format: ManifestFormat::Fledge,
        name: checked_name(name, file.plugin.name)?,
        version: Some(file.plugin.version),
        description: file.plugin.description,
        entry_point,
        functions: Vec::new(),
        commands,
        hooks: hooks.collect::<Result<_>>()?,
        requests: requests(name, &file.capabilities)?,
        config: BTreeMap::new(),
        memory: MemoryRequest::default(),
        streams: None,
        stdout_protocol: file.plugin.stdout_protocol,
        details: BTreeMap::new(),
        hash: None,
        tools: Vec::new(),
        limits: Overrides::new(),
        prx: None,
        warnings,
    })
}

/// What `[capabilities]` asks for. Its plugins do without what they are denied.
fn requests(file: &str, capabilities: &BTreeMap<String, toml::Value>) -> Result<Vec<Request>> {
    let asked = fledge_capabilities(file, capabilities)?;
    Ok(asked.into_iter().map(|capability| Request { capability, required: false }).collect())
}

/// What fledge's `[capabilities]` mean, in its manifests and in its registry of plugins,
/// sorted; `file` is named in errors.
///
/// `exec = true` is a shell, since what its plugins have run are lines for one.
///
/// # Errors
/// [`ErrorKind::InvalidManifest`](crate::ErrorKind::InvalidManifest) for one that nobody knows, or another value.
pub fn fledge_capabilities(
    file: &str,
    capabilities: &BTreeMap<String, toml::Value>,
) -> Result<Vec<Capability>> {
    let table = Table { file, capabilities };
    if let Some(unknown) = capabilities.keys().find(|key| !CAPABILITIES.contains(&key.as_str())) {
        let hint = match nearest(unknown, CAPABILITIES).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", CAPABILITIES.map(|name| format!("`{name}`")).join(", ")),
        };
        return Err(invalid(file, format!("unknown capability `{unknown}`")).with_hint(hint));
    }
    let mut asked = Vec::new();
    for (key, capability) in [
        ("store", "kv"),
        ("metadata", "metadata"),
        ("clock", "clock"),
        ("random", "random"),
        ("terminal", "stdout=raw"),
    ] {
        if table.flag(key)? {
            asked.push(read_known(capability));
        }
    }
    match table.narrowed("exec", "programs", CapabilityKind::Exec)? {
        Narrowed::All => asked.push(read_known("exec=sh -c *")),
        Narrowed::To(programs) => asked.extend(programs),
    }
    match table.narrowed("network", "net", CapabilityKind::Net)? {
        Narrowed::All => asked.push(Capability::all_of(CapabilityKind::Net)),
        Narrowed::To(origins) => asked.extend(origins),
    }
    asked.extend(table.scopes("env", CapabilityKind::Env)?.unwrap_or_default());
    match capabilities.get("filesystem").map(toml::Value::as_str) {
        None | Some(Some("none")) => {}
        Some(Some("project")) => asked.push(read_known("fs.read=.::/project")),
        Some(Some("plugin")) => {
            asked.extend([read_known("fs.read=.::/project"), read_known("fs.write=@::/plugin")]);
        }
        Some(_) => return Err(table.wrong("filesystem", "`none`, `project` or `plugin`")),
    }
    asked.sort();
    asked.dedup();
    Ok(asked)
}

/// `[capabilities]`, to be read.
struct Table<'a> {
    file: &'a str,
    capabilities: &'a BTreeMap<String, toml::Value>,
}

/// What is asked for of a kind: all that its key stands for, or these.
enum Narrowed {
    All,
    To(Vec<Capability>),
}

impl Table<'_> {
    fn wrong(&self, key: &str, expected: &str) -> Error {
        let value = self.capabilities.get(key).map(toml::Value::to_string).unwrap_or_default();
        invalid(self.file, format!("`capabilities.{key}` is {value}, not {expected}"))
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.capabilities.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "`true` or `false`")),
        }
    }

    /// A list of scopes of this kind.
    fn scopes(&self, key: &str, kind: CapabilityKind) -> Result<Option<Vec<Capability>>> {
        let Some(value) = self.capabilities.get(key) else { return Ok(None) };
        let texts = value.as_array().ok_or_else(|| self.wrong(key, "a list of texts"))?;
        let scope = |text: &toml::Value| {
            let text = text.as_str().ok_or_else(|| self.wrong(key, "a list of texts"))?;
            Capability::scoped(kind, text)
                .map_err(|error| invalid(self.file, format!("in `capabilities.{key}`: {error}")))
        };
        texts.iter().map(scope).collect::<Result<_>>().map(Some)
    }

    /// What is asked for where `flag` asks for a kind and `list`, if it is there, says of what.
    fn narrowed(&self, flag: &str, list: &str, kind: CapabilityKind) -> Result<Narrowed> {
        match (self.flag(flag)?, self.scopes(list, kind)?) {
            (true, None) => Ok(Narrowed::All),
            (true, Some(scopes)) => Ok(Narrowed::To(scopes)),
            (false, None) => Ok(Narrowed::To(Vec::new())),
            (false, Some(_)) => {
                let reason = format!(
                    "`capabilities.{list}` narrows what `{flag} = true` asks for, which is not there"
                );
                Err(invalid(self.file, reason))
            }
        }
    }
}

fn read_known(text: &str) -> Capability {
    text.parse().expect("written here, and read by a test")
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::{Error, Manifest};

    const PLUGIN: &str =
        "[plugin]\nname = \"life\"\nversion = \"0.2.0\"\nruntime = \"wasm\"\nprotocol = \"fledge-v1\"\n";
    const COMMAND: &str = "[[commands]]\nname = \"life\"\nbinary = \"bin/life.wasm\"\n";

    fn reads(rest: &str) -> Manifest {
        read("plugin.toml", &format!("{PLUGIN}{rest}")).expect("a valid manifest")
    }

    fn fails(text: &str) -> Error {
        read("plugin.toml", text).expect_err("an invalid manifest")
    }

    #[test]
    fn commands_hooks_and_capabilities_are_read() {
        let text = format!(
            "author = \"me\"\ncolour = 1\n{COMMAND}description = \"plays\"\n[hooks]\nbuild = \"make\"\n\
             pre_lunch = \"x\"\n[capabilities]\nexec = true\nstore = true\nmetadata = false\nnetwork = true\n\
             filesystem = \"plugin\"\n[extra]\n"
        );
        let manifest = reads(&text);
        assert_eq!((manifest.name.as_str(), manifest.version.as_deref()), ("life", Some("0.2.0")));
        assert_eq!((manifest.entry_point.as_str(), manifest.commands.len()), ("bin/life.wasm", 1));
        assert_eq!(
            manifest
                .hooks
                .iter()
                .map(|(name, command)| (name.as_str(), command.as_str()))
                .collect::<Vec<_>>(),
            [("build", "make")]
        );
        let asked: Vec<String> =
            manifest.requests.iter().map(|request| request.capability.to_string()).collect();
        assert_eq!(asked, ["kv=1MiB", "fs.read=.::/project", "fs.write=@::/plugin", "net=*", "exec=sh -c *"]);
        assert_eq!(
            manifest.warnings,
            ["unknown key `extra`", "unknown key `plugin.colour`", "unknown key `hooks.pre_lunch`"]
        );
        assert!(reads(COMMAND).requests.is_empty());
        assert!(!manifest.stdout_protocol);
    }

    #[test]
    fn what_its_own_host_reads_past_asks_for_less_or_for_more() {
        let manifest = reads(&format!(
            "stdout-protocol = true\n{COMMAND}[capabilities]\nexec = true\nprograms = [\"git status\", \"cargo *\"]\n\
             network = true\nnet = [\"https://api.example.com\"]\nclock = true\nrandom = true\nterminal = true\n\
             env = [\"HOME\", \"CI_*\"]\n"
        ));
        let asked: Vec<String> =
            manifest.requests.iter().map(|request| request.capability.to_string()).collect();
        let wanted = [
            "clock",
            "random",
            "env=CI_*",
            "env=HOME",
            "net=https://api.example.com",
            "exec=cargo *",
            "exec=git status",
            "stdout=raw",
        ];
        assert_eq!(asked, wanted);
        assert!(manifest.stdout_protocol && manifest.warnings.is_empty());
        assert!(manifest.requests.iter().all(|request| !request.required));
    }

    #[test]
    fn what_would_be_run_or_granted_as_something_else_is_refused() {
        let with = |rest: &str| fails(&format!("{PLUGIN}{COMMAND}{rest}"));
        assert_eq!(
            fails("[plugin]\nname = \"a\"\nversion = \"1\"\n").to_string(),
            "manifest `plugin.toml` is not valid: `plugin.runtime` is not `wasm`, and Airlock runs no native code"
        );
        let error = with("[capabilities]\nfilesystm = \"project\"");
        assert_eq!(error.to_string(), "manifest `plugin.toml` is not valid: unknown capability `filesystm`");
        assert_eq!(error.hint(), Some("did you mean `filesystem`?"));
        for (rest, reason) in [
            (
                "[capabilities]\nfilesystem = \"all\"",
                "`capabilities.filesystem` is \"all\", not `none`, `project` or `plugin`",
            ),
            ("[capabilities]\nexec = \"yes\"", "`capabilities.exec` is \"yes\", not `true` or `false`"),
            (
                "[capabilities]\nnet = [\"https://a.example\"]",
                "`capabilities.net` narrows what `network = true` asks for, which is not there",
            ),
            (
                "[capabilities]\nexec = true\nprograms = \"git\"",
                "`capabilities.programs` is \"git\", not a list of texts",
            ),
            (
                "[capabilities]\nnetwork = true\nnet = [\"ftp://a.example\"]",
                "in `capabilities.net`: `net=ftp://a.example`: `ftp` is not `http`, `https`, `tcp` or `udp`",
            ),
            (COMMAND, "the command `life` is there twice"),
            (
                "[[commands]]\nname = \"-x\"\nbinary = \"a.wasm\"",
                "`-x` is no name of a command: a letter or digit, then up to 63 of those or `-_.:+`",
            ),
            (
                "[[commands]]\nname = \"x\"\nbinary = \"../a.wasm\"",
                "`commands.binary` must name a file inside the plugin's folder",
            ),
        ] {
            assert_eq!(with(rest).to_string(), format!("manifest `plugin.toml` is not valid: {reason}"));
        }
        assert!(fails(PLUGIN).to_string().ends_with("it has no `[[commands]]`, and so nothing to run"));
        assert!(fails("[plugin]\nname = 1").to_string().ends_with("(line 2, column 8)"));
    }
}
