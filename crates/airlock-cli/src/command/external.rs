//! `airlock COMMAND`: a command of an installed plugin, as if it were Airlock's own.

use std::ffi::OsString;

use airlock_host::{CommandLine, Error, ErrorKind, Manifest, Plugin, nearest, visible};
use airlock_store::Installed;
use clap::{Command, CommandFactory as _};

use super::Session;
use crate::flags::{Cli, Load};
use crate::printer::Printer;

/// What was typed after a command's name.
pub(super) enum Typed {
    /// What the plugin is given.
    Values(Vec<String>),
    /// It was help that was asked for, or wrong; that was said, and this is the exit code.
    Answered(u8),
}

pub(super) fn run(session: &Session, words: Vec<OsString>) -> Result<u8, Error> {
    let mut words = words.into_iter();
    let word = words.next().unwrap_or_default();
    let Some(name) = word.to_str() else { return Err(unknown(session, &word.to_string_lossy())) };
    match session.store()?.command(name)? {
        Some(_) => {
            let way = super::run::Way { is_external: true, ..Default::default() };
            super::run::execute(session, word.as_ref(), words.collect(), &Load::default(), way)
        }
        None => Err(unknown(session, name)),
    }
}

/// Reads what was typed as the plugin says that it is; a program's arguments are its own.
pub(super) fn read(
    printer: Printer,
    plugin: &Plugin,
    words: Vec<OsString>,
    is_external: bool,
) -> Result<Typed, Error> {
    let Some(line) = CommandLine::of(plugin) else { return texts(words).map(Typed::Values) };
    let command = line.command();
    let shown = match is_external {
        true => format!("airlock {}", command.get_name()),
        false => command.get_name().to_owned(),
    };
    let command = command.bin_name(&shown).display_name(shown);
    match line.parse_as(command, words) {
        Ok(values) => Ok(Typed::Values(values)),
        Err(error) if printer.json && error.use_stderr() => Err(wrong(&error)),
        Err(error) => {
            // Whoever closed the stream does not want to know.
            let _ = error.print();
            Ok(Typed::Answered(u8::try_from(error.exit_code()).unwrap_or(2)))
        }
    }
}

/// What is wrong with what was typed, as an error of ours.
pub(super) fn wrong(error: &clap::Error) -> Error {
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Error::new(ErrorKind::InvalidSetting { name: "ARGS".to_owned(), reason })
}

fn texts(words: Vec<OsString>) -> Result<Vec<String>, Error> {
    let text = |word: OsString| {
        word.into_string().map_err(|word| {
            let reason = format!("`{}` is not UTF-8", word.to_string_lossy());
            Error::new(ErrorKind::InvalidSetting { name: "ARGS".to_owned(), reason })
        })
    };
    words.into_iter().map(text).collect()
}

/// Whether a word is one of Airlock's own commands, which go before plugins'.
pub(super) fn is_own(word: &str) -> bool {
    Cli::command().find_subcommand(word).is_some() || word == "help"
}

fn unknown(session: &Session, name: &str) -> Error {
    let cli = Cli::command();
    let own = cli.get_subcommands().filter(|own| !own.is_hide_set()).map(|own| own.get_name().to_owned());
    let installed = commands(session).into_iter().map(|command| command.get_name().to_owned());
    let known: Vec<String> = own.chain(installed).collect();
    let nearest = nearest(name, known.iter().map(String::as_str));
    let hint = match nearest.is_empty() {
        true => Some("`airlock --help` shows the commands, `airlock list` the installed plugins"),
        false => None,
    };
    let error = Error::new(ErrorKind::UnknownName { what: "command", name: name.to_owned(), nearest });
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The commands of installed plugins for clap, as their manifests describe them; none where what
/// is installed cannot be read.
pub(super) fn commands(session: &Session) -> Vec<Command> {
    let installed = session.store().and_then(|store| store.installed()).unwrap_or_default();
    installed.iter().flat_map(commands_of).collect()
}

fn commands_of(plugin: &Installed) -> Vec<Command> {
    let manifest = plugin.manifest.as_ref().and_then(|(file, text)| Manifest::read(file, text).ok());
    let described = manifest.into_iter().flat_map(|manifest| manifest.commands);
    let command = described.map(|entry| match entry.spec {
        Some(spec) => CommandLine::new(spec).command(),
        None => {
            let about = entry.description.map(|about| visible(&about, false).into_owned());
            Command::new(entry.name).about(about.unwrap_or_default())
        }
    });
    command.filter(|command| !is_own(command.get_name())).collect()
}
