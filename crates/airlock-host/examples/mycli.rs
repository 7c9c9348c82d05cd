//! A command line some of whose commands are plugins: in one help text with its own, checked
//! before the plugin sees anything, and there as soon as its file is.
//!
//! ```sh
//! cargo run -p airlock-host --features clap --example mycli -- --help
//! cargo run -p airlock-host --features clap --example mycli -- greet --style loud Ann
//! cargo run -p airlock-host --features clap --example mycli -- shell
//! ```
//!
//! Its plugins are in the folder that `MYCLI_PLUGINS` names, else those of this repository for
//! sen-rs. In `shell` the folder is followed: what is put there, changed and removed is a command,
//! another, and none.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airlock_host::manager::{Manager, WatchOptions};
use airlock_host::{CommandLine, Error, Host, LoadOptions, ProgramInput};
use clap::{ArgMatches, Command};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<u8, Error> {
    let manager = Manager::new(Host::new()?);
    // What a plugin needs and was not granted, it does not get, and then it is not loaded.
    let options = WatchOptions::new().load(LoadOptions::new());
    let _watch = manager.watch_blocking(folders(), options)?;
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words.push("--help".to_owned());
    }
    match words.as_slice() {
        [word] if word == "shell" => shell(&manager),
        _ => Ok(obey(&manager, &words)),
    }
}

fn folders() -> Vec<PathBuf> {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins"));
    match std::env::var_os("MYCLI_PLUGINS") {
        Some(folder) => vec![folder.into()],
        None => ["sen-greet", "sen-hello", "sen-echo"].map(|name| own.join(name)).into(),
    }
}

/// The command line as it is now: its own commands and those of the plugins that are there.
fn command(manager: &Manager) -> Command {
    let own = Command::new("mycli").about("An application with plugins").subcommand_required(true);
    let own = own.disable_help_subcommand(true);
    let own = own.subcommand(Command::new("plugins").about("Shows the plugins"));
    let own = own.subcommand(Command::new("shell").about("Reads commands, a line each"));
    let lines = lines(manager);
    let theirs = lines.iter().map(CommandLine::command);
    // What is the application's own stays so.
    let is_free = |theirs: &Command| own.find_subcommand(theirs.get_name()).is_none();
    let theirs: Vec<Command> = theirs.filter(is_free).collect();
    own.subcommands(theirs)
}

fn lines(manager: &Manager) -> Vec<CommandLine> {
    let plugins = manager.list().into_iter().filter_map(|name| manager.get(&name).ok());
    plugins.filter_map(|managed| CommandLine::of(&managed.plugin())).collect()
}

/// Does what was typed, and says how it went as a process does.
fn obey(manager: &Manager, words: &[String]) -> u8 {
    let typed = std::iter::once("mycli".to_owned()).chain(words.iter().cloned());
    let done = match command(manager).try_get_matches_from(typed) {
        Ok(matches) => dispatch(manager, &matches),
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| {
        // Whoever closed the stream does not want to know.
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(2)
    })
}

fn dispatch(manager: &Manager, matches: &ArgMatches) -> Result<u8, clap::Error> {
    match matches.subcommand() {
        Some(("plugins", _)) => {
            for name in manager.list() {
                let info = manager.info(&name);
                let version = info.ok().and_then(|info| info.version).unwrap_or_default();
                print(format!("{}\n", format!("{name} {version}").trim_end()).as_bytes());
            }
            Ok(0)
        }
        Some((name, given)) => plugin(manager, name, given),
        None => Ok(2),
    }
}

fn plugin(manager: &Manager, name: &str, given: &ArgMatches) -> Result<u8, clap::Error> {
    let ran = manager.command(name).map(|managed| {
        let line = CommandLine::of(&managed.plugin());
        let values = line.map(|line| line.values(given)).transpose();
        values.map(|values| managed.run_blocking(ProgramInput::new().args(values.unwrap_or_default())))
    });
    match ran {
        Ok(ran) => match ran? {
            Ok(outcome) => {
                print(&outcome.value.stdout);
                say(String::from_utf8_lossy(&outcome.value.stderr).trim_end());
                Ok(outcome.value.code.to_le_bytes()[0])
            }
            Err(error) => Ok(failed(&error)),
        },
        Err(error) => Ok(failed(&error)),
    }
}

fn failed(error: &Error) -> u8 {
    say(&format!("error: {error}"));
    error.exit_code()
}

/// Reads lines and does what each says, with the plugins that are there by then.
fn shell(manager: &Manager) -> Result<u8, Error> {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            obey(manager, &words);
        }
    }
    Ok(0)
}

fn print(bytes: &[u8]) {
    let _ = std::io::stdout().write_all(bytes);
}

fn say(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
