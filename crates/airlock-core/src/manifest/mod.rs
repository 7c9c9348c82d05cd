//! What a plugin says of itself, in one type whichever file said it.

mod command;
mod cortex;
mod fledge;
mod sen;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::{Capability, Error, ErrorKind, Result};

pub use self::command::{ArgSpec, CommandSpec};
pub use self::fledge::fledge_capabilities;
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
    /// What a sen-rs plugin answers when it is asked: MessagePack.
    Sen,
}

/// One word that a plugin adds to its application's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
pub enum Allocator {
    /// libc's `malloc` and `free`.
    Wasi,
    /// The plugin's own `alloc` and `dealloc`.
    Custom,
}

/// What a plugin says about its linear memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
    /// The wasm file, relative to the manifest's folder and inside it; empty where the manifest is
    /// a module's own.
    pub entry_point: String,
    /// The functions it names, in order; empty when it names none.
    pub functions: Vec<String>,
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
            _ if file.ends_with(".toml") => fledge::read(file, text),
            _ => cortex::read(file, text),
        }?;
        let below = manifest.commands.iter().filter_map(|command| command.spec.as_ref());
        let counts = [
            manifest.requests.len(),
            manifest.functions.len(),
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
}

fn invalid(file: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidManifest { file: file.to_owned(), at: None, reason: reason.into() })
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
