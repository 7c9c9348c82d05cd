//! A plugin's own build command.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use airlock_host::{Error, Manifest, shell_quoted, visible};

pub(super) struct Hook {
    pub(super) words: Vec<String>,
}

impl Hook {
    /// That of a manifest; `refused` makes the error where there is none.
    pub(super) fn of(manifest: Option<&Manifest>, refused: &dyn Fn(String) -> Error) -> Result<Self, Error> {
        let Some(manifest) = manifest else {
            return Err(refused("only a folder with a manifest can be built".to_owned()));
        };
        let Some(hook) = manifest.hooks.get("build") else {
            return Err(refused("its manifest has no build command".to_owned()));
        };
        let words = shell_words::split(hook)
            .map_err(|_| refused(format!("its build command has an open quote: {hook}")))?;
        match words.is_empty() {
            true => Err(refused("its build command is empty".to_owned())),
            false => Ok(Hook { words }),
        }
    }

    /// As it would be typed, for a person to read.
    pub(super) fn shown(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| shell_quoted(word)).collect();
        visible(&words.join(" "), false).into_owned()
    }

    /// Runs it in a folder, without a shell and with nothing to read. What it prints is no answer.
    pub(super) fn run(&self, folder: &Path) -> Result<ExitStatus, Error> {
        let (program, args) = self.words.split_first().ok_or_else(|| Error::host("no build command"))?;
        let failed = |error: std::io::Error| {
            Error::host(format!("cannot run `{}`", visible(program, false))).with_source(error)
        };
        // A file of the plugin's goes before a program of that name.
        let folder = folder.canonicalize().map_err(failed)?;
        let own = folder.join(program);
        let is_own = own.is_file() && own.canonicalize().is_ok_and(|own| own.starts_with(&folder));
        let mut command = if is_own { Command::new(own) } else { Command::new(program) };
        let command = command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr());
        command.status().map_err(failed)
    }
}
