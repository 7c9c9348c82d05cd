//! `airlock new`: a plugin to start from, that builds, passes `airlock check` and has tests.

mod template;

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use airlock_host::{Error, ErrorKind, shell_quoted, visible};
use serde_json::json;

use self::template::{ABIS, File, LANGS, SDK, SDK_MANIFEST, TEMPLATES, Template, filled};
use super::Session;
use crate::flags::New;
use crate::prompt;

pub(super) fn run(session: &Session, new: &New) -> Result<u8, Error> {
    let asks = prompt::is_interactive() && !session.printer.json;
    let asked;
    let name = match &new.name {
        Some(name) => checked_name(name)?,
        None if asks => {
            asked = prompt::typed("Name:")?
                .ok_or_else(|| Error::new(ErrorKind::Declined("making a plugin".to_owned())))?;
            checked_name(&asked)?
        }
        None => return Err(invalid("NAME", "nobody says what the plugin is called")),
    };
    let template = match (&new.abi, &new.lang) {
        (None, None) if asks => ask()?,
        (abi, lang) => template(abi.as_deref(), lang.as_deref())?,
    };
    refuse_reserved(name, template)?;
    let folder = new.place.output.clone().unwrap_or_default().join(name);
    refuse_full(&folder)?;
    let description = new.place.description.as_deref().unwrap_or(template.description);
    if description.trim().is_empty() || description.chars().any(char::is_control) {
        return Err(invalid("--description", "it is a line of text"));
    }

    let command = template.function.unwrap_or_else(|| command_name(name));
    let sdk = Sdk::of(template, new.sdk.as_deref())?;
    let values = values(name, command, description, &sdk);
    let fill = |(path, text): &File| (filled(path, &values), filled(text, &values));
    let plain = |(path, text): &File| ((*path).to_owned(), (*text).to_owned());
    let mut files: Vec<(String, String)> = template.files.iter().map(fill).collect();
    files.extend(template.more.iter().map(plain));
    files.extend(sdk.files().map(plain));
    place(&folder, &files)?;
    tell(session, name, command, description, template, &folder, &files)
}

fn tell(
    session: &Session,
    name: &str,
    command: &str,
    description: &str,
    template: &Template,
    folder: &Path,
    files: &[(String, String)],
) -> Result<u8, Error> {
    if session.printer.json {
        let path = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let files: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        let fields = json!({
            "name": name, "path": path, "abi": template.abi, "lang": template.lang, "command": command,
            "description": description, "files": files,
        });
        return session.object(true, fields);
    }
    let shown = folder.display().to_string();
    session.printer.line(&visible(&format!("created {shown}"), false))?;
    let quoted = shell_quoted(&shown);
    let (plugin, source) = match template.has_manifest {
        true => (String::new(), ".".to_owned()),
        false => (format!(" {name}.wasm"), format!("{name}.wasm")),
    };
    session.printer.note(&format!(
        "next: `cd {quoted}`, `airlock build`, `airlock check{plugin}`, `airlock test{plugin}`, `airlock install {source}`"
    ));
    Ok(0)
}

/// What somebody at a terminal wants.
fn ask() -> Result<&'static Template, Error> {
    let lang = LANGS[prompt::pick("Which language?", &LANGS)?].0;
    let abis: Vec<_> = ABIS.into_iter().filter(|(abi, _)| find(abi, lang).is_some()).collect();
    let abi = match abis.as_slice() {
        [only] => only.0,
        _ => abis[prompt::pick("Which ABI?", &abis)?].0,
    };
    template(Some(abi), Some(lang))
}

fn find(abi: &str, lang: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.abi == abi && template.lang == lang)
}

/// The one that is meant: where only one of the two is said, the first that goes with it.
fn template(abi: Option<&str>, lang: Option<&str>) -> Result<&'static Template, Error> {
    for (flag, given, known) in
        [("--abi", abi, &ABIS.map(|(abi, _)| abi)[..]), ("--lang", lang, &LANGS.map(|(lang, _)| lang)[..])]
    {
        if let Some(given) = given.filter(|given| !known.contains(given)) {
            let error = invalid(flag, format!("there is no plugin to start from for `{given}`"));
            return Err(error.with_hint(format!("there is {}", quoted(known.iter().copied()))));
        }
    }
    let fits = |template: &&Template| {
        abi.is_none_or(|abi| abi == template.abi) && lang.is_none_or(|lang| lang == template.lang)
    };
    // They are listed by ABI, and for each by language, in the order of what is usually meant.
    TEMPLATES.iter().find(fits).ok_or_else(|| {
        let (abi, lang) = (abi.unwrap_or_default(), lang.unwrap_or_default());
        let langs = TEMPLATES.iter().filter(|template| template.abi == abi).map(|template| template.lang);
        let abis = TEMPLATES.iter().filter(|template| template.lang == lang).map(|template| template.abi);
        let reason = format!("there is no plugin to start from for `{abi}` in `{lang}`");
        let hint = format!("for `{abi}` there is {}; in `{lang}` there is {}", quoted(langs), quoted(abis));
        invalid("--lang", reason).with_hint(hint)
    })
}

fn quoted(words: impl IntoIterator<Item = &'static str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// A name that a crate, a module and a package can have, and a folder, and a command.
fn checked_name(name: &str) -> Result<&str, Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64 && name.chars().all(known) {
        true => Ok(name),
        false => Err(invalid(
            "NAME",
            format!("`{name}` is not a letter, then up to 63 letters, digits, `-` or `_`"),
        )),
    }
}

/// Names that cargo refuses for a crate: Rust's words, and crates and folders of its own.
#[rustfmt::skip]
const RUST_NAMES: [&str; 62] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "build", "const", "continue", "core",
    "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "incremental", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv",
    "proc-macro", "proc_macro", "pub", "ref", "return", "self", "static", "std", "struct", "super", "test", "trait",
    "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Paths that Go has for itself.
const GO_NAMES: [&str; 8] = ["cmd", "go", "internal", "main", "std", "toolchain", "unsafe", "vendor"];

/// Names that npm refuses.
const NPM_NAMES: [&str; 2] = ["node_modules", "favicon"];

fn refuse_reserved(name: &str, template: &Template) -> Result<(), Error> {
    let (reserved, what): (&[&str], &str) = match template.lang {
        "rust" => (&RUST_NAMES, "cargo takes it for no crate's"),
        "go" => (&GO_NAMES, "Go has it for itself"),
        "assemblyscript" => (&NPM_NAMES, "npm has it for itself"),
        _ => return Ok(()),
    };
    let is_sdk = template.lang == "rust" && name == SDK_NAME;
    match is_sdk || reserved.contains(&name.to_ascii_lowercase().as_str()) {
        true => Err(invalid(
            "NAME",
            format!("`{name}` cannot be the name of a plugin in `{}`: {what}", template.lang),
        )),
        false => Ok(()),
    }
}

/// `fledge-my-lint` is run as `my-lint`.
fn command_name(name: &str) -> &str {
    let rest = name.strip_prefix("fledge-");
    rest.filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric())).unwrap_or(name)
}

/// Whose name git writes commits in.
fn author() -> Option<String> {
    let output = Command::new("git").args(["config", "user.name"]).output().ok()?;
    let name = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

const SDK_NAME: &str = "airlock-sdk";

/// Where a plugin in Rust has the SDK from.
enum Sdk {
    /// It needs none.
    None,
    /// A copy in its own folder.
    Copy,
    /// This folder.
    At(PathBuf),
}

impl Sdk {
    fn of(template: &Template, given: Option<&Path>) -> Result<Self, Error> {
        let is_used = template.files.iter().any(|(_, text)| text.contains("{{sdk_toml}}"));
        let Some(given) = given else { return Ok(if is_used { Sdk::Copy } else { Sdk::None }) };
        if !is_used {
            let reason = format!("a plugin for `{}` in `{}` needs no SDK", template.abi, template.lang);
            return Err(invalid("--sdk", reason));
        }
        let manifest = std::fs::read_to_string(given.join("Cargo.toml")).ok();
        let package = manifest.and_then(|text| text.parse::<toml::Table>().ok());
        let name = package.as_ref().and_then(|table| table.get("package")?.get("name")?.as_str());
        match (name, given.canonicalize()) {
            (Some(SDK_NAME), Ok(folder)) => Ok(Sdk::At(folder)),
            _ => {
                Err(invalid("--sdk", format!("`{}` is no folder of the crate `{SDK_NAME}`", given.display())))
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &'static File> {
        let files = matches!(self, Sdk::Copy).then(|| std::iter::once(&SDK_MANIFEST).chain(&SDK));
        files.into_iter().flatten()
    }

    fn path(&self) -> String {
        match self {
            Sdk::At(folder) => folder.display().to_string(),
            Sdk::None | Sdk::Copy => "sdk".to_owned(),
        }
    }

    /// What a page says of it.
    fn note(&self) -> &'static str {
        match self {
            Sdk::None => "",
            Sdk::Copy => {
                "`sdk/` is the crate `airlock-sdk` as Airlock has it. Once that is published, its line in\n\
                 `Cargo.toml` can be `airlock-sdk = { version = \"0.1\", features = [\"allocator\"] }`, and `sdk/` can go."
            }
            Sdk::At(_) => {
                "The crate `airlock-sdk` is found by its path. Once it is published, its line in `Cargo.toml` can be\n\
                 `airlock-sdk = { version = \"0.1\", features = [\"allocator\"] }`."
            }
        }
    }
}

/// What stands in the templates, by name.
fn values(name: &str, command: &str, description: &str, sdk: &Sdk) -> Vec<(&'static str, String)> {
    let toml = |text: &str| toml::Value::from(text).to_string();
    vec![
        ("name", name.to_owned()),
        // npm's names have no capital letters.
        ("npm_name", name.to_ascii_lowercase()),
        ("command", command.to_owned()),
        ("description", description.to_owned()),
        ("description_toml", toml(description)),
        ("description_json", json!(description).to_string()),
        ("description_rust", format!("{description:?}")),
        ("author_toml", toml(&author().unwrap_or_else(|| "you".to_owned()))),
        ("sdk_toml", toml(&sdk.path())),
        ("sdk_note", sdk.note().to_owned()),
    ]
}

fn refuse_full(folder: &Path) -> Result<(), Error> {
    let shown = folder.display().to_string();
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(invalid(&shown, "it is there and not empty")),
        },
        Err(error) if error.kind() == IoKind::NotFound => Ok(()),
        Err(error) => Err(invalid(&shown, "no folder can be made there").with_source(error)),
    }
}

/// Writes all the files into a folder beside, which then takes its place: there is never half a plugin.
fn place(folder: &Path, files: &[(String, String)]) -> Result<(), Error> {
    let cannot = |error: std::io::Error| {
        Error::host(format!("cannot write `{}`", folder.display())).with_source(error)
    };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(cannot)?;
    let beside = tempfile::Builder::new().prefix(".airlock-new-").tempdir_in(parent).map_err(cannot)?;
    // Within the temporary folder, which nobody else may look into.
    let whole = beside.path().join("plugin");
    for (path, text) in files {
        let path = whole.join(path);
        let parent = path.parent().unwrap_or(&whole);
        std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, text)).map_err(cannot)?;
    }
    std::fs::rename(&whole, folder).map_err(cannot)
}

fn invalid(name: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason: reason.into() })
}

#[cfg(test)]
mod tests;
