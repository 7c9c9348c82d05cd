//! `airlock new`: a plugin to start from, that builds, passes `airlock check` and has tests.
//!
//! Its files are those of `templates/`, with what is said in `{{…}}` put in.

use std::path::Path;
use std::process::Command;

use airlock_host::{Error, ErrorKind, shell_quoted, visible};
use serde_json::json;

use super::Session;
use crate::flags::New;

/// What a new plugin can be: an ABI, a language, and the files by their paths.
struct Template {
    abi: &'static str,
    lang: &'static str,
    files: &'static [(&'static str, &'static str)],
}

static TEMPLATES: [Template; 1] = [Template {
    abi: "fledge",
    lang: "rust",
    // Under other names where one of these would mean something to tools in this repository.
    files: &[
        ("plugin.toml", include_str!("../../templates/fledge-rust/plugin.toml")),
        ("Cargo.toml", include_str!("../../templates/fledge-rust/package.toml")),
        (".cargo/config.toml", include_str!("../../templates/fledge-rust/cargo-config.toml")),
        ("src/main.rs", include_str!("../../templates/fledge-rust/main.rs")),
        ("README.md", include_str!("../../templates/fledge-rust/README.md")),
        (".gitignore", include_str!("../../templates/fledge-rust/gitignore")),
    ],
}];

/// What a plugin is for of which nobody says it: what the templates do.
const DESCRIPTION: &str = "Lists lines that are too long";

pub(super) fn run(session: &Session, new: &New) -> Result<u8, Error> {
    let template = template(&new.abi, &new.lang)?;
    let name = checked_name(&new.name)?;
    let command = command_name(name);
    let description = new.place.description.as_deref().unwrap_or(DESCRIPTION);
    if description.trim().is_empty() || description.chars().any(char::is_control) {
        return Err(invalid("--description", "it is a line of text".to_owned()));
    }
    let folder = new.place.output.clone().unwrap_or_default().join(name);
    refuse_full(&folder)?;

    let quoted = |text: &str| toml::Value::from(text).to_string();
    let values = [
        ("name", name.to_owned()),
        ("command", command.to_owned()),
        ("description", description.to_owned()),
        ("description_toml", quoted(description)),
        ("author_toml", quoted(&author().unwrap_or_else(|| "you".to_owned()))),
    ];
    for (path, text) in template.files {
        write(&folder.join(path), &filled(text, &values))?;
    }
    let files: Vec<&str> = template.files.iter().map(|(path, _)| *path).collect();
    if session.printer.json {
        let path = folder.canonicalize().unwrap_or(folder);
        let fields = json!({
            "name": name, "path": path, "abi": template.abi, "lang": template.lang, "command": command,
            "description": description, "files": files,
        });
        return session.object(true, fields);
    }
    let shown = folder.display().to_string();
    session.printer.line(&visible(&format!("created {shown}"), false))?;
    let quoted = shell_quoted(&shown);
    session
        .printer
        .note(&format!("next: `cd {quoted}`, `airlock build`, `airlock check`, `airlock install .`"));
    Ok(0)
}

fn template(abi: &str, lang: &str) -> Result<&'static Template, Error> {
    if let Some(template) = TEMPLATES.iter().find(|template| template.abi == abi && template.lang == lang) {
        return Ok(template);
    }
    let there = TEMPLATES.iter().map(|there| format!("`--abi {} --lang {}`", there.abi, there.lang));
    let there = there.collect::<Vec<_>>().join(", ");
    let (flag, given) = match TEMPLATES.iter().any(|template| template.abi == abi) {
        true => ("--lang", lang),
        false => ("--abi", abi),
    };
    let reason = format!("there is no plugin to start from for `{given}`");
    Err(invalid(flag, reason).with_hint(format!("there is {there}")))
}

/// A name that a crate can have, and a folder, and a command.
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

fn refuse_full(folder: &Path) -> Result<(), Error> {
    let shown = folder.display().to_string();
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(invalid(&shown, "it is there and not empty".to_owned())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(invalid(&shown, "no folder can be made there".to_owned()).with_source(error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| Error::host(format!("cannot write `{}`", path.display())).with_source(error))
}

/// A template with each `{{name}}` replaced by its value, once: what stands in a value stays.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let value = after.split_once("}}").and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value.as_str(), after))
        });
        // Braces of the template's own stay.
        let (value, after) = value.unwrap_or(("{{", after));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    text
}

fn invalid(name: &str, reason: String) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::{TEMPLATES, command_name, filled};

    #[test]
    fn values_are_put_in_once_and_other_braces_stay() {
        let values = [("a", "{{b}}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(filled("{{a}}-{{b}}, {{{c}}} {{", &values), "{{b}}-x, {{{c}}} {{");
    }

    #[test]
    fn nothing_is_left_to_put_in() {
        let names = ["name", "command", "description", "description_toml", "author_toml"];
        let values = names.map(|name| (name, String::new()));
        for (path, text) in TEMPLATES.iter().flat_map(|template| template.files) {
            let filled = filled(text, &values);
            let left = filled.split("{{").skip(1).find(|rest| rest.starts_with(char::is_alphabetic));
            assert_eq!(left, None, "{path}");
        }
    }

    #[test]
    fn a_command_is_a_name_without_its_hosts() {
        for (name, command) in [("fledge-my-lint", "my-lint"), ("lint", "lint"), ("fledge--x", "fledge--x")] {
            assert_eq!(command_name(name), command);
        }
    }
}
