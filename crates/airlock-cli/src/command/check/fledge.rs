//! What is odd about a plugin of fledge's: what its manifest leaves out, and what its modules
//! import beside what it asks for.

use std::collections::BTreeMap;

use airlock_host::{CapabilityKind, Examined, Manifest, ValueType};
use serde::Deserialize;

use super::codes::{self, Code};
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
    StandIn(&'static Code, &'static str),
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
        instead: Instead::StandIn(
            &codes::VIRTUAL_CLOCK,
            "the time is a virtual one, and sleeps pass at once",
        ),
    },
    Use {
        kinds: &[CapabilityKind::Random],
        line: "random = true",
        key: "random",
        module: WASI,
        imports: &["random_get"],
        by_message: false,
        instead: Instead::StandIn(&codes::VIRTUAL_RANDOM, "random numbers are the same in every run"),
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
pub(super) fn check(text: &[u8], manifest: &Manifest, modules: &BTreeMap<&str, &Examined>) -> Vec<Finding> {
    let mut findings = said(text);
    for command in manifest.commands.iter().filter(|command| !command.file.ends_with(".wasm")) {
        let message =
            format!("the command `{}` runs `{}`, which does not end in `.wasm`", command.name, command.file);
        findings.push(
            Finding::new(&codes::BINARY_NAME, message).hint("fledge warns of any other ending as well"),
        );
    }
    for (file, examined) in modules {
        findings.extend(imported(file, examined, manifest));
    }
    // Of what is not there nobody knows what it imports.
    if manifest.files().iter().all(|file| modules.contains_key(*file)) {
        findings.extend(unused(manifest, modules));
    }
    findings
}

/// What the manifest says and leaves out.
fn said(text: &[u8]) -> Vec<Finding> {
    // It was read before, by somebody who wants more of it.
    let read = std::str::from_utf8(text).ok().and_then(|text| toml::from_str::<File>(text).ok());
    let Some(File { plugin, hooks }) = read else { return Vec::new() };
    let mut findings = Vec::new();
    if plugin.protocol.is_none() {
        let message = "`plugin.protocol` is missing, and fledge takes what it runs for a native program then";
        findings.push(
            Finding::new(&codes::PROTOCOL_MISSING, message)
                .hint("`protocol = \"fledge-v1\"` under `[plugin]`"),
        );
    }
    for (code, key, value) in [
        (&codes::DESCRIPTION_MISSING, "description", &plugin.description),
        (&codes::AUTHOR_MISSING, "author", &plugin.author),
    ] {
        if value.as_deref().unwrap_or_default().trim().is_empty() {
            let message = format!("`plugin.{key}` is missing");
            findings.push(Finding::new(code, message).hint(format!("`{key} = \"…\"` under `[plugin]`")));
        }
    }
    if hooks.get("build").and_then(toml::Value::as_str).is_some_and(|build| build.trim().is_empty()) {
        let hint = "without the key there is nothing to build";
        findings.push(Finding::new(&codes::BUILD_EMPTY, "`hooks.build` is empty").hint(hint));
    }
    findings
}

/// What a module imports without being asked for.
fn imported(file: &str, examined: &Examined, manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shape = &examined.shape;
    for row in USES.iter().filter(|row| !row.is_asked(manifest)) {
        let Some(import) = row.import(examined) else { continue };
        let (key, line) = (row.key, row.line);
        let imports = format!("`{file}` imports `{import}`, and its manifest does not ask for `{key}`");
        let finding = match row.instead {
            Instead::Refused => {
                Finding::new(&codes::ASKS_TOO_LITTLE, format!("{imports}: it is refused what it does there"))
            }
            Instead::StandIn(code, what) => Finding::new(code, format!("{imports}: {what}")),
        };
        findings.push(finding.hint(format!("`{line}` under `[capabilities]` asks for it")));
    }
    let send = shape.imported_function(FLEDGE, "send");
    if send.is_some_and(|ty| ty.is(&[ValueType::I32; 2], &[ValueType::I32])) {
        let message =
            format!("`{file}` imports `fledge.send` with a result, which fledge's own host refuses");
        findings.push(
            Finding::new(&codes::SEND_RESULT, message)
                .hint("without one it is a function that both hosts have"),
        );
    }
    // A component has no messages.
    if !shape.imports_from(FLEDGE) && !manifest.stdout_protocol && !shape.is_component {
        let message = format!(
            "`{file}` imports nothing from `fledge`: what it prints is shown as it is, messages as well"
        );
        findings.push(
            Finding::new(&codes::NO_PROTOCOL, message)
                .hint("`stdout-protocol = true` under `[plugin]` has the messages among it read"),
        );
    }
    findings
}

/// What is asked for and no module can use.
fn unused(manifest: &Manifest, modules: &BTreeMap<&str, &Examined>) -> Vec<Finding> {
    let sends = manifest.stdout_protocol
        || modules.values().any(|examined| examined.shape.imports_item(FLEDGE, "send"));
    let idle = USES.iter().filter(|row| {
        row.is_asked(manifest)
            && !(row.by_message && sends)
            && modules.values().all(|examined| row.import(examined).is_none())
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
        Finding::new(&codes::ASKS_UNUSED, message)
            .hint(format!("without `{}` nobody is asked about it", row.key))
    })
    .collect()
}

impl Use {
    fn is_asked(&self, manifest: &Manifest) -> bool {
        manifest.requests.iter().any(|request| self.kinds.contains(&request.capability.kind()))
    }

    /// The first import that is there to use it.
    fn import(&self, examined: &Examined) -> Option<String> {
        if examined.shape.is_component {
            let mut uses = examined.uses().into_iter();
            return uses.find(|(kind, _)| self.kinds.contains(kind)).map(|(_, import)| import);
        }
        let uses = |name: &str| {
            self.imports.iter().any(|known| match known.ends_with('_') {
                true => name.starts_with(known),
                false => name == *known,
            })
        };
        let mut imports = examined.shape.imports.iter();
        let found = imports.find(|import| import.module == self.module && uses(&import.name));
        found.map(|import| format!("{}.{}", import.module, import.name))
    }
}
