//! What is odd about a plugin of fledge's: what its manifest leaves out, and what its modules
//! import beside what it asks for.

use std::collections::BTreeMap;

use airlock_host::{CapabilityKind, Examined, Manifest, Shape, ValueType};
use serde::Deserialize;

use super::finding::Finding;

/// Where its plugins import what their host offers.
const FLEDGE: &str = "fledge";
const WASI: &str = "wasi_snapshot_preview1";

/// A capability, as its manifests ask for it, and the imports that are there to use it.
struct Use {
    kinds: &'static [CapabilityKind],
    /// The line of the manifest that asks.
    line: &'static str,
    key: &'static str,
    module: &'static str,
    /// One that ends in `_` stands for all that begin with it.
    imports: &'static [&'static str],
    /// Whether a message can ask for it as well.
    by_message: bool,
    /// What a plugin gets that imports this and does not ask.
    instead: Instead,
}

enum Instead {
    /// It is refused, which is seldom what was meant.
    Refused,
    /// Something that does for most, with the code that says so.
    StandIn(&'static str, &'static str),
}

static USES: [Use; 7] = [
    Use {
        kinds: &[CapabilityKind::Exec],
        line: "exec = true",
        key: "exec",
        module: FLEDGE,
        imports: &["exec"],
        by_message: true,
        instead: Instead::Refused,
    },
    Use {
        kinds: &[CapabilityKind::Kv],
        line: "store = true",
        key: "store",
        module: FLEDGE,
        imports: &["store_get", "store_set"],
        by_message: true,
        instead: Instead::Refused,
    },
    Use {
        kinds: &[CapabilityKind::Metadata],
        line: "metadata = true",
        key: "metadata",
        module: FLEDGE,
        imports: &["metadata"],
        by_message: true,
        instead: Instead::Refused,
    },
    Use {
        kinds: &[CapabilityKind::Net],
        line: "network = true",
        key: "network",
        module: FLEDGE,
        imports: &["http"],
        by_message: true,
        instead: Instead::Refused,
    },
    Use {
        kinds: &[CapabilityKind::FsRead, CapabilityKind::FsWrite],
        line: "filesystem = \"project\"",
        key: "filesystem",
        module: WASI,
        imports: &["path_"],
        by_message: false,
        instead: Instead::Refused,
    },
    Use {
        kinds: &[CapabilityKind::Clock],
        line: "clock = true",
        key: "clock",
        module: WASI,
        imports: &["clock_time_get", "poll_oneoff"],
        by_message: false,
        instead: Instead::StandIn("virtual-clock", "the time is a virtual one, and sleeps pass at once"),
    },
    Use {
        kinds: &[CapabilityKind::Random],
        line: "random = true",
        key: "random",
        module: WASI,
        imports: &["random_get"],
        by_message: false,
        instead: Instead::StandIn("virtual-random", "random numbers are the same in every run"),
    },
];

/// The parts of the manifest that nothing else reads.
#[derive(Deserialize)]
struct File {
    plugin: Plugin,
    #[serde(default)]
    hooks: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Plugin {
    description: Option<String>,
    author: Option<String>,
    protocol: Option<String>,
}

/// What is odd; `modules` are those of its files that load.
pub(super) fn check(text: &[u8], manifest: &Manifest, modules: &BTreeMap<String, Examined>) -> Vec<Finding> {
    let mut findings = said(text, manifest);
    for command in manifest.commands.iter().filter(|command| !command.file.ends_with(".wasm")) {
        let message =
            format!("the command `{}` runs `{}`, which does not end in `.wasm`", command.name, command.file);
        findings
            .push(Finding::warning("binary-name", message).hint("fledge warns of any other ending as well"));
    }
    for (file, examined) in modules {
        findings.extend(imported(file, &examined.shape, manifest));
    }
    // Of what is not there nobody knows what it imports.
    if manifest.files().iter().all(|file| modules.contains_key(*file)) {
        findings.extend(unused(manifest, modules));
    }
    findings
}

/// What the manifest says and leaves out.
fn said(text: &[u8], manifest: &Manifest) -> Vec<Finding> {
    // It was read before, by somebody who wants more of it.
    let read = std::str::from_utf8(text).ok().and_then(|text| toml::from_str::<File>(text).ok());
    let Some(File { plugin, hooks }) = read else { return Vec::new() };
    let mut findings = Vec::new();
    if plugin.protocol.is_none() {
        let message = "`plugin.protocol` is missing, and fledge takes what it runs for a native program then";
        findings.push(
            Finding::warning("protocol-missing", message).hint("`protocol = \"fledge-v1\"` under `[plugin]`"),
        );
    }
    let version = manifest.version.as_deref().unwrap_or_default();
    if semver::Version::parse(version).is_err() {
        let message = format!("`plugin.version` is `{version}`, which is no semantic version");
        findings.push(Finding::warning("version", message).hint("three numbers, such as `0.1.0`"));
    }
    for (code, key, value) in [
        ("description-missing", "description", &plugin.description),
        ("author-missing", "author", &plugin.author),
    ] {
        if value.as_deref().unwrap_or_default().trim().is_empty() {
            let message = format!("`plugin.{key}` is missing");
            findings.push(Finding::warning(code, message).hint(format!("`{key} = \"…\"` under `[plugin]`")));
        }
    }
    if hooks.get("build").and_then(toml::Value::as_str).is_some_and(|build| build.trim().is_empty()) {
        let hint = "without the key there is nothing to build";
        findings.push(Finding::warning("build-empty", "`hooks.build` is empty").hint(hint));
    }
    findings
}

/// What a module imports without being asked for.
fn imported(file: &str, shape: &Shape, manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in USES.iter().filter(|row| !row.is_asked(manifest)) {
        let Some(import) = row.import(shape) else { continue };
        let (key, line) = (row.key, row.line);
        let imports =
            format!("`{file}` imports `{}.{import}`, and its manifest does not ask for `{key}`", row.module);
        let finding = match row.instead {
            Instead::Refused => {
                Finding::warning("asks-too-little", format!("{imports}: it is refused what it does there"))
            }
            Instead::StandIn(code, what) => Finding::note(code, format!("{imports}: {what}")),
        };
        findings.push(finding.hint(format!("`{line}` under `[capabilities]` asks for it")));
    }
    let send = shape.imported_function(FLEDGE, "send");
    if send.is_some_and(|ty| ty.is(&[ValueType::I32; 2], &[ValueType::I32])) {
        let message =
            format!("`{file}` imports `fledge.send` with a result, which fledge's own host refuses");
        findings.push(
            Finding::note("send-result", message).hint("without one it is a function that both hosts have"),
        );
    }
    if !shape.imports_from(FLEDGE) && !manifest.stdout_protocol {
        let message = format!(
            "`{file}` imports nothing from `fledge`: what it prints is shown as it is, messages as well"
        );
        findings.push(
            Finding::warning("no-protocol", message)
                .hint("`stdout-protocol = true` under `[plugin]` has the messages among it read"),
        );
    }
    findings
}

/// What is asked for and no module can use.
fn unused(manifest: &Manifest, modules: &BTreeMap<String, Examined>) -> Vec<Finding> {
    let shapes = || modules.values().map(|examined| &examined.shape);
    let sends = manifest.stdout_protocol || shapes().any(|shape| shape.imports_item(FLEDGE, "send"));
    let idle = USES.iter().filter(|row| {
        row.is_asked(manifest)
            && !(row.by_message && sends)
            && shapes().all(|shape| row.import(shape).is_none())
    });
    idle.map(|row| {
        let imports: Vec<String> = row
            .imports
            .iter()
            .map(|name| match name.ends_with('_') {
                true => format!("`{}.{name}*`", row.module),
                false => format!("`{}.{name}`", row.module),
            })
            .chain(row.by_message.then(|| "`fledge.send`".to_owned()))
            .collect();
        let message =
            format!("it asks for `{}`, and imports no {}: it cannot use it", row.key, imports.join(" or "));
        Finding::warning("asks-unused", message)
            .hint(format!("without `{}` nobody is asked about it", row.key))
    })
    .collect()
}

impl Use {
    fn is_asked(&self, manifest: &Manifest) -> bool {
        manifest.requests.iter().any(|request| self.kinds.contains(&request.capability.kind()))
    }

    /// The first import that is there to use it.
    fn import<'a>(&self, shape: &'a Shape) -> Option<&'a str> {
        let uses = |name: &str| {
            self.imports.iter().any(|known| match known.ends_with('_') {
                true => name.starts_with(known),
                false => name == *known,
            })
        };
        let found = shape.imports.iter().find(|import| import.module == self.module && uses(&import.name));
        found.map(|import| import.name.as_str())
    }
}
