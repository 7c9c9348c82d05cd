//! Which language a plugin is written in, by the files in its folder.

use std::path::{Path, PathBuf};

use airlock_host::{Artifact, Error, ErrorKind, Limits};

use super::project::Project;
use super::tool::Workshop;
use super::{assemblyscript, c, go, rust, zig};

/// What is looked for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    Go,
    AssemblyScript,
    Zig,
    /// Whatever a makefile builds.
    Make,
    C,
    /// WebAssembly's text format.
    Wat,
}

/// What a language's tool made.
pub(super) struct Made {
    pub(super) wasm: Vec<u8>,
    /// What it was made for, in its tool's words; none where there is no choice.
    pub(super) target: Option<String>,
    /// Whether the tool has put it where it belongs, and may look there the next time.
    pub(super) is_in_place: bool,
}

const ALL: [Language; 7] = [
    Language::Rust,
    Language::Go,
    Language::AssemblyScript,
    Language::Zig,
    Language::Make,
    Language::C,
    Language::Wat,
];

const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

impl Language {
    pub(super) fn of(folder: &Path) -> Option<Self> {
        ALL.into_iter().find(|language| language.is_in(folder))
    }

    /// The one of a plugin.
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`] where it has none.
    pub(super) fn needed(project: &Project) -> Result<Self, Error> {
        Self::of(project.folder()).ok_or_else(|| {
            let reason = "there is nothing in its folder that could be built".to_owned();
            Error::new(ErrorKind::NotBuilt(reason)).with_hint(
                "`Cargo.toml`, `go.mod`, `asconfig.json`, `package.json`, `build.zig`, a `Makefile`, or a source in \
                 Zig, C or WebAssembly text is looked for",
            )
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Go => "go",
            Language::AssemblyScript => "assemblyscript",
            Language::Zig => "zig",
            Language::Make => "make",
            Language::C => "c",
            Language::Wat => "wat",
        }
    }

    /// What builds it, for a person.
    pub(super) fn tools(self) -> &'static str {
        match self {
            Language::Rust => "cargo",
            Language::Go => "go",
            Language::AssemblyScript => "asc",
            Language::Zig => "zig",
            Language::Make => "make",
            Language::C => "a C compiler",
            Language::Wat => "Airlock's own assembler",
        }
    }

    fn is_in(self, folder: &Path) -> bool {
        let has = |file: &str| folder.join(file).is_file();
        match self {
            Language::Rust => has("Cargo.toml"),
            Language::Go => has("go.mod"),
            Language::AssemblyScript => {
                has("asconfig.json") || (has("package.json") && assemblyscript::is_needed(folder))
            }
            Language::Zig => has("build.zig") || !zig::sources(folder).is_empty(),
            Language::Make => MAKEFILES.into_iter().any(has),
            Language::C => !c::sources(folder).is_empty(),
            Language::Wat => !with_ending(folder, "wat").is_empty(),
        }
    }

    /// How a plugin is called that has no manifest, where its sources say.
    pub(super) fn name_of(self, folder: &Path) -> Option<String> {
        let sources = match self {
            Language::Rust => return rust::package(folder),
            Language::Go => return go::module(folder),
            Language::AssemblyScript => with_ending(folder, "ts"),
            Language::Zig => zig::sources(folder),
            Language::Make => return None,
            Language::C => c::sources(folder),
            Language::Wat => with_ending(folder, "wat"),
        };
        let [only] = sources.as_slice() else { return None };
        let stem = only.file_stem()?.to_str()?;
        // Such a file says nothing.
        (!matches!(stem, "main" | "index" | "plugin")).then(|| stem.to_owned())
    }

    pub(super) fn build(self, shop: &mut Workshop<'_>) -> Result<Made, Error> {
        match self {
            Language::Rust => rust::build(shop),
            Language::Go => go::build(shop),
            Language::AssemblyScript => assemblyscript::build(shop),
            Language::Zig => zig::build(shop),
            Language::Make => c::make(shop),
            Language::C => c::build(shop),
            Language::Wat => assemble(shop),
        }
    }
}

/// The files of a folder that end like this, sorted.
pub(super) fn with_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == ending) && path.is_file())
        .collect();
    files.sort();
    files
}

/// The one of several sources that a module begins with: the only one, or the one named as the built
/// file, `main` or `index`. By its path in the plugin's folder.
///
/// # Errors
/// [`ErrorKind::NotBuilt`] where none of them is.
pub(super) fn root(shop: &Workshop<'_>, sources: &[PathBuf]) -> Result<String, Error> {
    let stem = Path::new(shop.output()).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let named =
        |name: &str| sources.iter().find(|source| source.file_stem().is_some_and(|stem| stem == name));
    let underscored = stem.replace('-', "_");
    let found = match sources {
        [only] => Some(only),
        _ => [stem, &underscored, "main", "index"].into_iter().find_map(named),
    };
    let found = found.and_then(|path| path.strip_prefix(shop.folder()).ok()).and_then(|path| path.to_str());
    found.map(str::to_owned).ok_or_else(|| {
        let names: Vec<_> = sources
            .iter()
            .filter_map(|source| source.file_name())
            .map(|name| format!("`{}`", name.to_string_lossy()))
            .collect();
        let reason = format!("which of its sources is the plugin is not said: {}", names.join(", "));
        Error::new(ErrorKind::NotBuilt(reason)).with_hint(format!("one named `{stem}` or `main` is"))
    })
}

fn assemble(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let source = root(shop, &with_ending(shop.folder(), "wat"))?;
    let unreadable =
        |error: std::io::Error| Error::host(format!("cannot read `{source}`")).with_source(error);
    let text = std::fs::read(shop.folder().join(&source)).map_err(unreadable)?;
    shop.used("airlock", env!("CARGO_PKG_VERSION"));
    let assembled = Artifact::new(text, true, &Limits::default()).map_err(|error| {
        Error::new(ErrorKind::NotBuilt(format!("`{source}` cannot be assembled"))).with_source(error)
    })?;
    Ok(Made { wasm: assembled.bytes().to_vec(), target: None, is_in_place: false })
}
