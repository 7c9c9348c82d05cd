//! What a plugin says of itself, in one type whichever file said it.

mod command;
mod cortex;
mod fledge;
mod prx;
mod sen;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::{Capability, Digest, Error, ErrorKind, Location, Overrides, Result};

pub use self::command::{ArgSpec, CommandSpec};
pub use self::fledge::fledge_capabilities;
pub use self::prx::{PrxCapability, PrxKind, PrxManifest};
pub use self::sen::SenCapabilities;

/// Whose format a manifest was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ManifestFormat {
    /// CortexPrism's `cortex.json` or `manifest.json`.
    Cortex,
    /// fledge's `plugin.toml`.
    Fledge,
    /// PRX's `plugin.toml`.
    Prx,
    /// What a sen-rs plugin answers when it is asked: MessagePack.
    Sen,
}

/// One word that a plugin adds to its application's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommandEntry {
    /// The word.
    pub name: String,
    /// What it does, as written.
    pub description: Option<String>,
    /// The wasm file it runs, relative to the manifest's folder and inside it; empty where the
    /// manifest is a module's own.
    pub file: String,
    /// What it takes, where the manifest says.
    pub spec: Option<CommandSpec>,
}

/// One capability a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What it asks for.
    pub capability: Capability,
    /// Whether it cannot run without.
    pub required: bool,
}

/// Which of its own functions a plugin wants input allocated with, tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Allocator {
    /// libc's `malloc` and `free`.
    Wasi,
    /// The plugin's own `alloc` and `dealloc`.
    Custom,
}

/// What a plugin says about its linear memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryRequest {
    /// 64 KiB pages the memory is grown to before the first call, when it has fewer.
    pub initial_pages: Option<u32>,
    /// 64 KiB pages it may grow to.
    pub maximum_pages: Option<u32>,
    /// The allocator to try first.
    pub allocator: Option<Allocator>,
}

/// Which standard streams a plugin has. What is written to one that it has not is nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A function as it is described to whoever chooses among several, such as a language model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ToolSpec {
    /// The function.
    pub name: String,
    /// What it does, as written.
    pub description: Option<String>,
    /// What it takes, in order.
    pub params: Vec<ToolParam>,
    /// JSON Schema of the value that it is called with, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

/// One thing that a [`ToolSpec`] takes, a member of the JSON object that it is called with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ToolParam {
    /// The member's name.
    pub name: String,
    /// Its type, as written: `string`, `number`, `boolean`, `object`, `array`, or another word.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for, as written.
    pub description: Option<String>,
    /// Whether there has to be one.
    pub required: bool,
    /// What it can be; anything of its type where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<serde_json::Value>,
    /// What it is where nobody says anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
}

/// What makes a plugin's file, by what the languages of CortexPrism's document have in its folder:
/// a file of theirs, and the command.
const BUILDS: [(&str, &str); 4] = [
    ("Cargo.toml", "cargo build --release --target wasm32-wasip1"),
    ("go.mod", "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm ."),
    ("build.zig", "zig build -Dtarget=wasm32-wasi"),
    ("package.json", "npx asc plugin.ts -o plugin.wasm"),
];

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Whose format it was.
    pub format: ManifestFormat,
    /// The plugin's name: 1 to 128 characters, none of them a backtick or control character.
    pub name: String,
    /// Its version, as written.
    pub version: Option<String>,
    /// What it is for, as written.
    pub description: Option<String>,
    /// Who made it, where it comes from and under what terms, as written: `author`, `homepage`,
    /// `license`, `repository`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The digest that its wasm file should have, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The wasm file, relative to the manifest's folder and inside it; empty where the manifest is
    /// a module's own.
    pub entry_point: String,
    /// The functions it names, in order; empty when it names none.
    pub functions: Vec<String>,
    /// Those of its functions that it describes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The words it adds to the command line, in order.
    pub commands: Vec<CommandEntry>,
    /// Programs it wants to be run outside the sandbox, by what for: `build`. They are
    /// shown and never run unasked.
    pub hooks: BTreeMap<String, String>,
    /// What it asks for.
    pub requests: Vec<Request>,
    /// What its configuration has where nobody says anything else.
    pub config: BTreeMap<String, String>,
    /// What it says about memory.
    pub memory: MemoryRequest,
    /// Which standard streams it has, where the manifest says.
    pub streams: Option<Streams>,
    /// Whether lines that it prints may be messages of its ABI to the host.
    pub stdout_protocol: bool,
    /// What it wants to be bounded by in place of its ABI's own limits.
    #[serde(skip)]
    pub limits: Overrides,
    /// What PRX's says that no other does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prx: Option<PrxManifest>,
    /// Keys nobody knows and other things that did not stop the reading.
    pub warnings: Vec<String>,
}

impl Manifest {
    /// The file names a manifest is looked for under, in order.
    pub const FILE_NAMES: [&str; 3] = ["cortex.json", "manifest.json", "plugin.toml"];

    /// What stands for a file's name where a module says itself what it is: the export that does.
    pub const EXPORT: &str = "plugin_manifest";

    /// The largest manifest that is read, in bytes.
    pub const MAX_BYTES: u64 = 1 << 20;

    /// How many capabilities, functions or commands a manifest may have: more than a person
    /// would read, and few enough to compare each with each.
    pub const MAX_ENTRIES: usize = 1000;

    /// Reads a manifest from the text of `file`, one of [`Manifest::FILE_NAMES`], or from what
    /// [`Manifest::EXPORT`] answers.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidManifest`] with the place and the reason.
    pub fn read(file: &str, text: &[u8]) -> Result<Self> {
        if text.len() as u64 > Self::MAX_BYTES {
            return Err(invalid(file, "larger than 1 MiB"));
        }
        let manifest = match file {
            Manifest::EXPORT => sen::read(file, text),
            _ if file.ends_with(".toml") => Manifest::read_toml(file, text),
            _ => cortex::read(file, text),
        }?;
        manifest.bounded(file)
    }

    /// Two systems have a file of this name.
    fn read_toml(name: &str, text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).map_err(|_| invalid(name, "it is not UTF-8"))?;
        let table: toml::Table = parse_toml(name, text)?;
        match prx::is_one(&table) {
            true => prx::read(name, text, table),
            false => fledge::read(name, text),
        }
    }

    /// The same, unless there is more of something than anybody would read.
    fn bounded(self, file: &str) -> Result<Self> {
        let manifest = self;
        let below = manifest.commands.iter().filter_map(|command| command.spec.as_ref());
        let counts = [
            manifest.requests.len(),
            manifest.functions.len(),
            manifest.tools.iter().map(|tool| 1 + tool.params.len()).sum(),
            manifest.commands.len(),
            below.map(CommandSpec::entries).sum(),
        ];
        match counts.into_iter().max() {
            Some(count) if count > Self::MAX_ENTRIES => {
                let reason = format!("it asks for or names more than {} things of a kind", Self::MAX_ENTRIES);
                Err(invalid(file, reason))
            }
            _ => Ok(manifest),
        }
    }

    /// Checks the bytes of its wasm file, where it says which they are: 64 hex digits of their SHA-256,
    /// with or without `sha256:` before them.
    ///
    /// CortexPrism hashes the file as if it were text, with what is no UTF-8 replaced, which tells some
    /// files from others and not all. That digest is taken with a warning.
    ///
    /// # Errors
    /// [`ErrorKind::HashMismatch`].
    pub fn check_hash(&mut self, wasm: &[u8]) -> Result<()> {
        let Some(written) = &self.hash else { return Ok(()) };
        let digits = written.strip_prefix("sha256:").unwrap_or(written).trim().to_ascii_lowercase();
        let found = Digest::of(wasm);
        if digits == found.to_string() {
            return Ok(());
        }
        if digits == Digest::of(String::from_utf8_lossy(wasm).as_bytes()).to_string() {
            self.warnings.push(format!(
                "`hash` is the digest of the file read as text, which other files have too; its own is `{found}`"
            ));
            return Ok(());
        }
        Err(Error::new(ErrorKind::HashMismatch { expected: written.clone(), found }))
    }

    /// With the tools that a module says it has, in JSON as CortexPrism's tool ABI has it: beside the
    /// manifest that it came with, or in one that knows no more than this name. That it does not
    /// say so, or nothing that can be read, is a warning in the manifest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidManifest`] when they are too many.
    pub fn with_tools(said: Result<&[u8]>, manifest: Option<Self>, name: &str) -> Result<Self> {
        cortex::with_tools(said, manifest, name).bounded("the module's tools")
    }

    /// With the tool that a component of PRX's says it is, in JSON as its `get-spec` has it: beside the
    /// manifest that it came with, or in one that knows no more than this name. That it does not say so,
    /// or nothing that can be read, is a warning in the manifest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidManifest`] when what it takes is too much.
    pub fn with_prx_spec(said: Result<&[u8]>, manifest: Option<Self>, name: &str) -> Result<Self> {
        prx::with_spec(said, manifest, name).bounded("the module's tool")
    }

    /// With the tools that a plugin from before PRX's components says it has, in JSON as its `describe` has
    /// them: beside the manifest that it came with, or in one that knows no more than this name. That it does
    /// not say so, or nothing that can be read, is a warning in the manifest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidManifest`] when they are too many, or what they take is.
    pub fn with_prx_tools(said: Result<&[u8]>, manifest: Option<Self>, name: &str) -> Result<Self> {
        let file = "the module's tools";
        prx::with_tools(file, said, manifest, name)?.bounded(file)
    }

    /// One that says nothing, for a module that came without one.
    fn nothing(format: ManifestFormat, name: String) -> Self {
        Manifest {
            format,
            name,
            version: None,
            description: None,
            details: BTreeMap::new(),
            hash: None,
            entry_point: String::new(),
            functions: Vec::new(),
            tools: Vec::new(),
            commands: Vec::new(),
            hooks: BTreeMap::new(),
            requests: Vec::new(),
            config: BTreeMap::new(),
            memory: MemoryRequest::default(),
            streams: None,
            stdout_protocol: false,
            limits: Overrides::new(),
            prx: None,
            warnings: Vec::new(),
        }
    }

    /// The files it names, relative to its folder and inside it, each once.
    pub fn files(&self) -> Vec<&str> {
        let mut files = vec![self.entry_point.as_str()];
        for command in &self.commands {
            if !files.contains(&command.file.as_str()) {
                files.push(&command.file);
            }
        }
        files
    }

    /// How a plugin is built whose files are not there, for a hint; `has` says whether there is
    /// a file of a name beside the manifest. For CortexPrism's only: the others have a command of
    /// their own for that.
    pub fn how_to_build(&self, has: impl Fn(&str) -> bool) -> Option<String> {
        if self.format != ManifestFormat::Cortex {
            return None;
        }
        let (_, command) = BUILDS.iter().find(|(file, _)| has(file))?;
        // A target that had another name once, below whose folder the manifest may still look.
        let renamed = match self.entry_point.split('/').any(|part| part == "wasm32-wasi") {
            true => "; `wasm32-wasi` is named `wasm32-wasip1` now, in `entryPoint` too",
            false => "",
        };
        Some(format!("it has to be built first: `{command}` makes it{renamed}"))
    }
}

fn invalid(file: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidManifest { file: file.to_owned(), at: None, reason: reason.into() })
}

/// Reads TOML, naming the place of a fault.
fn parse_toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| location(text, span.start));
        let reason = error.message().to_owned();
        Error::new(ErrorKind::InvalidManifest { file: file.to_owned(), at, reason })
    })
}

/// The line and column of a byte, both from 1.
fn location(text: &str, at: usize) -> Location {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Location { line, column }
}

/// Checks a name that will be shown, logged and used as a key.
fn checked_name(file: &str, name: String) -> Result<String> {
    let length = name.chars().count();
    // Names are shown in backticks.
    if !(1..=128).contains(&length) || name.chars().any(|c| c.is_control() || c == '`') {
        let reason = "`name` must be 1 to 128 characters, none of them a backtick or control character";
        return Err(invalid(file, reason));
    }
    Ok(name)
}

/// Checks a word for the command line: it is typed in a shell and may name a file.
fn checked_command(file: &str, name: &str) -> Result<()> {
    match is_word(name) {
        true => Ok(()),
        false => Err(invalid(
            file,
            format!("`{name}` is no name of a command: a letter or digit, then up to 63 of those or `-_.:+`"),
        )),
    }
}

/// Whether a text can be typed as a command or a long option, with no need to quote it.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '+');
    let begins = text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    begins && text.len() <= 64 && text.chars().all(plain)
}

/// Checks that a path names something in the manifest's folder or deeper.
fn checked_path(file: &str, key: &str, path: String) -> Result<String> {
    let parts = || Path::new(&path).components();
    let inside = !path.contains(['\0', '\\'])
        && parts().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && parts().any(|part| matches!(part, Component::Normal(_)));
    if inside {
        Ok(path)
    } else {
        Err(invalid(file, format!("`{key}` must name a file inside the plugin's folder")))
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::Manifest;
    use crate::Digest;

    fn with_hash(hash: &str) -> Manifest {
        let text = serde_json::json!({"name": "a", "entryPoint": "a.wasm", "hash": hash}).to_string();
        Manifest::read("cortex.json", text.as_bytes()).expect("a manifest")
    }

    #[test]
    fn the_hash_is_taken_bare_and_with_its_name_and_as_it_was_meant() {
        let wasm = b"\0asm\xff\xfe";
        let digest = Digest::of(wasm).to_string();
        for hash in [digest.clone(), format!("sha256:{digest}"), digest.to_uppercase()] {
            let mut manifest = with_hash(&hash);
            manifest.check_hash(wasm).expect("they are these bytes");
            assert!(manifest.warnings.is_empty());
        }
        let as_text = Digest::of("\0asm\u{fffd}\u{fffd}".as_bytes()).to_string();
        let mut manifest = with_hash(&as_text);
        manifest.check_hash(wasm).expect("taken");
        assert_eq!(
            manifest.warnings,
            [format!(
                "`hash` is the digest of the file read as text, which other files have too; its own is `{digest}`"
            )]
        );
        for hash in ["", "sha256:", "sha1:00", &digest[1..], &Digest::of(b"other").to_string()] {
            let error = with_hash(hash).check_hash(wasm).expect_err("other bytes");
            assert_eq!((error.code(), error.exit_code()), ("hash-mismatch", 125));
            assert_eq!(
                error.to_string(),
                format!("the wasm file has the digest {digest}, and its manifest says `{hash}`")
            );
        }
    }
}
