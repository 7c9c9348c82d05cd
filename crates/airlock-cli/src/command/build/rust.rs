//! Plugins in Rust, by cargo.

use std::path::{Path, PathBuf};

use airlock_host::{Error, ErrorKind};
use serde::Deserialize;

use super::language::Made;
use super::tool::{Order, Tool, Wanted, Workshop, missing};

const CARGO: Wanted = Wanted {
    name: "cargo",
    variable: "CARGO",
    choices: &[&["cargo"]],
    version: &["--version"],
    hint: "rustup installs it: https://rustup.rs",
};

const RUSTC: Wanted = Wanted {
    name: "rustc",
    variable: "RUSTC",
    choices: &[&["rustc"]],
    version: &["--version"],
    hint: "rustup installs it: https://rustup.rs",
};

/// What is built for where nothing is said.
const TARGET: &str = "wasm32-wasip1";

/// A stack of 64 KiB below the data, where one that overflows is a trap: few pages to set up for
/// each instance.
const LINKED: [&str; 2] = ["--stack-first", "-zstack-size=65536"];

/// For a profile of which the author says nothing: small, and without what a trap makes superfluous.
const PROFILE: [&str; 5] =
    ["opt-level=\"s\"", "lto=true", "codegen-units=1", "panic=\"abort\"", "strip=true"];

pub(super) fn build(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let (cargo, rustc) = (shop.need(&CARGO)?, shop.need(&RUSTC)?);
    let configs = Configs::of(shop.folder());
    let target = configs.target();
    refuse_missing(shop, &rustc, &target)?;
    shop.used(rustc.name, &rustc.version);

    let mut args: Vec<String> = ["build", "--release", "--target", &target].map(str::to_owned).into();
    args.push("--message-format=json-render-diagnostics".to_owned());
    if !configs.has_flags(&target) {
        let flags: Vec<_> = LINKED.map(|flag| format!("\"-C\", \"link-arg={flag}\"")).into();
        args.extend(["--config".to_owned(), format!("target.{target}.rustflags=[{}]", flags.join(", "))]);
    }
    if !has_profile(shop.folder()) {
        let set = PROFILE.map(|line| ["--config".to_owned(), format!("profile.release.{line}")]);
        args.extend(set.into_iter().flatten());
    }
    let mut order = Order::new(args);
    order.answers = true;
    if !shop.is_verbose() {
        order.manners.push(("CARGO_TERM_QUIET", "true"));
    }
    let messages = shop.run(&cargo, order)?;
    let file = artifact(shop, &messages)?;
    let wasm = std::fs::read(&file).map_err(|error| {
        Error::new(ErrorKind::NotBuilt("what cargo made is gone".to_owned())).with_source(error)
    })?;
    Ok(Made { wasm, target: Some(target), is_in_place: false })
}

/// The name of the package in a folder.
pub(super) fn package(folder: &Path) -> Option<String> {
    let name = read(&folder.join("Cargo.toml"))?.get("package")?.get("name")?.as_str()?.to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// Refuses a target whose standard library the compiler has not.
fn refuse_missing(shop: &Workshop<'_>, rustc: &Tool, target: &str) -> Result<(), Error> {
    let unknown = || missing(target, Some("`rustc` knows no such target".to_owned()));
    let libraries = shop.ask(rustc, &["--print", "target-libdir", "--target", target]).ok_or_else(unknown)?;
    let entries = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    let has_core = entries.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    });
    match has_core {
        true => Ok(()),
        false => {
            let reason = "`rustc` has no standard library for it".to_owned();
            Err(missing(target, Some(reason)).with_hint(format!("`rustup target add {target}` installs it")))
        }
    }
}

fn read(file: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(file).ok()?.parse().ok()
}

/// Whether somebody has said how to build for release: the package, or the workspace that it is a member
/// of.
fn has_profile(folder: &Path) -> bool {
    let says =
        |table: &toml::Table| table.get("profile").and_then(|profiles| profiles.get("release")).is_some();
    for folder in folder.ancestors() {
        let Some(table) = read(&folder.join("Cargo.toml")) else { continue };
        if says(&table) {
            return true;
        }
        if table.contains_key("workspace") {
            return false;
        }
    }
    false
}

/// cargo's configuration that holds in a folder.
struct Configs {
    /// What the plugin says itself.
    own: Vec<toml::Table>,
    /// What is said above it, the nearest first.
    above: Vec<toml::Table>,
}

impl Configs {
    fn of(folder: &Path) -> Self {
        let read = |folder: &Path| {
            let files = ["config.toml", "config"].map(|name| folder.join(".cargo").join(name));
            files.into_iter().filter_map(|file| read(&file))
        };
        Configs { own: read(folder).collect(), above: folder.ancestors().skip(1).flat_map(read).collect() }
    }

    fn all(&self) -> impl Iterator<Item = &toml::Table> {
        self.own.iter().chain(&self.above)
    }

    /// What is built for: what the configuration says, or the only target for WebAssembly that the
    /// plugin's own says something of.
    fn target(&self) -> String {
        let is_wasm = |name: &str| name.starts_with("wasm32");
        let said = self
            .all()
            .find_map(|table| table.get("build")?.get("target")?.as_str().filter(|target| is_wasm(target)));
        let only = self.own.iter().find_map(|table| {
            let mut known = table.get("target")?.as_table()?.keys().filter(|name| is_wasm(name));
            known.next().filter(|_| known.next().is_none())
        });
        said.or(only.map(String::as_str)).unwrap_or(TARGET).to_owned()
    }

    fn has_flags(&self, target: &str) -> bool {
        self.all().any(|table| {
            let of = |table: Option<&toml::Value>| table.and_then(|table| table.get("rustflags")).is_some();
            of(table.get("build")) || of(table.get("target").and_then(|targets| targets.get(target)))
        })
    }
}

/// One line of what cargo answers.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// The file that is the plugin, of all that cargo says it made.
fn artifact(shop: &Workshop<'_>, messages: &[u8]) -> Result<PathBuf, Error> {
    let lines = messages.split(|byte| *byte == b'\n');
    let messages: Vec<Message> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let own = shop.folder().join("Cargo.toml");
    let is_own = |message: &&Message| message.manifest_path.as_ref() == Some(&own);
    // A folder of several packages has none of its own.
    let any_own = messages.iter().any(|message| is_own(&message));
    let linked = |message: &&Message| {
        let kinds = message.target.as_ref().map(|target| target.kind.as_slice()).unwrap_or_default();
        message.reason == "compiler-artifact" && kinds.iter().any(|kind| kind == "cdylib" || kind == "bin")
    };
    let files: Vec<&PathBuf> = messages
        .iter()
        .filter(|message| !any_own || is_own(message))
        .filter(linked)
        .flat_map(|message| &message.filenames)
        .filter(|file| file.extension().is_some_and(|ending| ending == "wasm"))
        .collect();
    let stem = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().replace('-', "_"));
    let named = stem(Path::new(shop.output()));
    match files.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Error::new(ErrorKind::NotBuilt("cargo made no `.wasm`".to_owned()))
            .with_hint("`crate-type = [\"cdylib\"]` under `[lib]` makes a library one")),
        several => {
            several.iter().find(|file| stem(file) == named).map(|file| (*file).clone()).ok_or_else(|| {
                let names: Vec<_> = several.iter().filter_map(|file| file.file_name()).collect();
                let names: Vec<_> =
                    names.iter().map(|name| format!("`{}`", name.to_string_lossy())).collect();
                let reason = format!(
                    "cargo made several, and none is named `{}`: {}",
                    shop.output(),
                    names.join(", ")
                );
                Error::new(ErrorKind::NotBuilt(reason))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Configs;

    /// The target, and whether it has flags, of a plugin below a folder, by what their configurations say.
    fn read(own: &str, above: &str) -> (String, bool) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let plugin = folder.path().join("plugin");
        for (folder, text) in [(&plugin, own), (&folder.path().to_owned(), above)] {
            fs::create_dir_all(folder.join(".cargo")).expect("a folder can be made");
            fs::write(folder.join(".cargo/config.toml"), text).expect("a file can be written");
        }
        let configs = Configs::of(&plugin);
        let target = configs.target();
        let has_flags = configs.has_flags(&target);
        (target, has_flags)
    }

    #[test]
    fn the_target_is_what_is_said_or_the_plugins_only_one() {
        let flags = |target: &str| format!("[target.{target}]\nrustflags = []\n");
        let (unknown, wasi) = (flags("wasm32-unknown-unknown"), flags("wasm32-wasip1"));
        let said = "[build]\ntarget = \"wasm32-wasip2\"\n";
        for (own, above, expected) in [
            ("", "", ("wasm32-wasip1", false)),
            (unknown.as_str(), "", ("wasm32-unknown-unknown", true)),
            (&format!("{unknown}{wasi}"), "", ("wasm32-wasip1", true)),
            // Somebody else's plugins are no reason.
            ("", &unknown, ("wasm32-wasip1", false)),
            ("", &wasi, ("wasm32-wasip1", true)),
            (&unknown, said, ("wasm32-wasip2", false)),
            ("[build]\ntarget = \"x86_64-unknown-linux-gnu\"\n", "", ("wasm32-wasip1", false)),
        ] {
            assert_eq!(read(own, above), (expected.0.to_owned(), expected.1), "{own:?} {above:?}");
        }
    }
}
