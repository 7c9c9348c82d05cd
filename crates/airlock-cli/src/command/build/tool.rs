//! The programs that build plugins: where they are, which they are, and what they are run with.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind as IoKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use airlock_host::{Error, ErrorKind, Manifest, Printed, visible};
use tempfile::TempDir;

use super::super::Session;
use super::language::Made;
use super::project::Project;
use crate::spinner;

/// A program that is looked for.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    /// The environment variable that says which it is, as its own community has it.
    pub(super) variable: &'static str,
    /// What it is called otherwise, each in words; the first that is there is taken.
    pub(super) choices: &'static [&'static [&'static str]],
    /// What it says its version for.
    pub(super) version: &'static [&'static str],
    /// How to get it.
    pub(super) hint: &'static str,
}

/// A program that is there.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) words: Vec<OsString>,
    /// The first line of what it says for its version.
    pub(super) version: String,
}

/// Where one plugin is built, and what was used for it.
pub(super) struct Workshop<'a> {
    session: &'a Session,
    project: &'a Project,
    output: String,
    scratch: TempDir,
    tools: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
}

/// One run of a tool.
#[derive(Default)]
pub(super) struct Order<'a> {
    pub(super) args: Vec<OsString>,
    /// Variables that the result depends on.
    pub(super) variables: Vec<(&'a str, OsString)>,
    /// Those that it does not depend on.
    pub(super) manners: Vec<(&'a str, &'a str)>,
    /// Whether it also tells what it does where nothing is wrong.
    pub(super) is_talkative: bool,
    /// Whether its standard output is for us.
    pub(super) answers: bool,
}

impl<'a> Order<'a> {
    pub(super) fn new<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Self {
        Order { args: args.into_iter().map(Into::into).collect(), ..Order::default() }
    }

    pub(super) fn with(mut self, name: &'a str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }
}

impl<'a> Workshop<'a> {
    pub(super) fn new(session: &'a Session, project: &'a Project, output: &str) -> Result<Self, Error> {
        let scratch = tempfile::tempdir()
            .map_err(|error| Error::host("cannot make a folder to build in").with_source(error))?;
        let (tools, commands) = (Vec::new(), Vec::new());
        Ok(Workshop { session, project, output: output.to_owned(), scratch, tools, commands })
    }

    pub(super) fn folder(&self) -> &Path {
        self.project.folder()
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.project.manifest()
    }

    /// What is to be made, relative to the folder.
    pub(super) fn output(&self) -> &str {
        &self.output
    }

    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Where a tool writes what it makes.
    pub(super) fn out(&self) -> PathBuf {
        self.scratch().join("out.wasm")
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.session.verbose
    }

    pub(super) fn warn(&self, text: &str) {
        self.session.printer.warning(text);
    }

    /// Notes that something had a hand in it.
    pub(super) fn used(&mut self, name: &str, version: &str) {
        if !self.tools.iter().any(|(known, _)| known == name) {
            self.tools.push((name.to_owned(), version.to_owned()));
        }
    }

    /// What was used, and what was run.
    pub(super) fn into_used(self) -> (Vec<(String, String)>, Vec<Vec<String>>) {
        (self.tools, self.commands)
    }

    /// The tool that is wanted.
    ///
    /// # Errors
    /// [`ErrorKind::ToolMissing`] with how to get it.
    pub(super) fn need(&self, wanted: &Wanted) -> Result<Tool, Error> {
        self.find(wanted)?.ok_or_else(|| missing(wanted.name, None).with_hint(wanted.hint))
    }

    /// The same; none where it is not here.
    ///
    /// # Errors
    /// [`ErrorKind::ToolMissing`] where it is here and does not say its version, or the variable
    /// names what is not here.
    pub(super) fn find(&self, wanted: &Wanted) -> Result<Option<Tool>, Error> {
        if let Some(words) = named(wanted.variable)? {
            let (name, program) = (wanted.name, words[0].to_string_lossy().into_owned());
            return match self.version_of(name, words, wanted.version)? {
                Some(tool) => Ok(Some(tool)),
                None => {
                    let reason = format!("`{}` says it is `{program}`, which is not here", wanted.variable);
                    Err(missing(name, Some(reason)).with_hint(wanted.hint))
                }
            };
        }
        for choice in wanted.choices {
            let words = choice.iter().map(OsString::from).collect();
            // `python3 -m` of a module that is not here fails, and so is not the tool.
            match self.version_of(wanted.name, words, wanted.version) {
                Ok(Some(tool)) => return Ok(Some(tool)),
                Ok(None) => {}
                Err(_) if choice.len() > 1 => {}
                Err(error) => return Err(error.with_hint(wanted.hint)),
            }
        }
        Ok(None)
    }

    /// A tool that answers what it is; none where there is no such program.
    pub(super) fn version_of(
        &self,
        name: &'static str,
        words: Vec<OsString>,
        args: &[&str],
    ) -> Result<Option<Tool>, Error> {
        let mut command = self.command(&words);
        let output = match command.args(args).stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(missing(name, Some("it cannot be run".to_owned())).with_source(error)),
        };
        let said =
            String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
        match output.status.success() {
            true => Ok(Some(Tool { name, words, version: line })),
            false => Err(missing(name, Some(format!("asked for its version it says: {line}")))),
        }
    }

    fn command(&self, words: &[OsString]) -> Command {
        let mut command = Command::new(words.first().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words.iter().skip(1)).current_dir(self.folder());
        command
    }

    /// What a question to a tool is answered with; none where it fails. It is no step of building.
    pub(super) fn ask(&self, tool: &Tool, args: &[&str]) -> Option<String> {
        let output = self.command(&tool.words).args(args).stdin(Stdio::null()).output().ok()?;
        let answer = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(answer.trim().to_owned())
    }

    /// Runs a tool in the plugin's folder. What it prints is shown where it fails, warns, or somebody wants
    /// to see everything; what it answers is given.
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`] where it fails.
    pub(super) fn run(&mut self, tool: &Tool, order: Order<'_>) -> Result<Vec<u8>, Error> {
        self.used(tool.name, &tool.version);
        self.commands.push(self.recorded(tool, &order));
        let mut command = self.command(&tool.words);
        command.args(&order.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(order.variables.iter().map(|(name, value)| (name, value)));
        command.envs(order.manners.iter().copied());
        let message = format!("building with {}", tool.name);
        let (status, stdout, stderr) =
            spinner::while_doing(&message, self.session.quiet, || finished(command))
                .map_err(|error| Error::host(format!("cannot run `{}`", tool.name)).with_source(error))?;

        let printer = self.session.printer;
        let is_shown = !status.success() || self.is_verbose() || !order.is_talkative;
        if is_shown && !printer.json {
            if !order.answers {
                printer.program_errors(&stdout);
            }
            printer.program_errors(&stderr);
        }
        if status.success() {
            return Ok(stdout);
        }
        let error = Error::new(ErrorKind::NotBuilt(format!("`{}` ended with {status}", tool.name)));
        // The answers are for us, and a person has been shown the rest.
        let stdout = if order.answers { Vec::new() } else { stdout };
        Err(match printer.json {
            true => error.with_printed(Printed { stdout, stderr }),
            false => error,
        })
    }

    /// A command as it is written down: without the places of this machine.
    fn recorded(&self, tool: &Tool, order: &Order<'_>) -> Vec<String> {
        let (out, scratch) = (self.out(), self.scratch().to_owned());
        let plain = |word: &OsStr| {
            let word = word.to_string_lossy();
            let word = word.replace(&*out.to_string_lossy(), &self.output);
            let word = word.replace(&*scratch.to_string_lossy(), "SCRATCH");
            word.replace(&*self.folder().to_string_lossy(), ".")
        };
        let variables = order.variables.iter().map(|(name, value)| format!("{name}={}", plain(value)));
        let (program, words) = match tool.words.split_first() {
            Some((program, words)) => (Path::new(program).file_name().unwrap_or(program), words),
            None => (OsStr::new(tool.name), &[][..]),
        };
        let words = words.iter().chain(&order.args).map(|word| plain(word));
        variables.chain([plain(program)]).chain(words).collect()
    }

    /// What a tool has made at [`out`](Workshop::out).
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`] where there is nothing.
    pub(super) fn made(&self, tool: &Tool, target: &str) -> Result<Made, Error> {
        let wasm = std::fs::read(self.out()).map_err(|error| {
            Error::new(ErrorKind::NotBuilt(format!("`{}` made nothing", tool.name))).with_source(error)
        })?;
        Ok(Made { wasm, target: Some(target.to_owned()), is_in_place: false })
    }

    /// What a tool has made where the manifest has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`] where there is nothing.
    pub(super) fn made_in_place(&self, tool: &Tool) -> Result<Made, Error> {
        let wasm = std::fs::read(self.folder().join(&self.output)).map_err(|error| {
            let reason = format!("`{}` made no `{}`", tool.name, self.output);
            Error::new(ErrorKind::NotBuilt(reason)).with_source(error)
        })?;
        Ok(Made { wasm, target: None, is_in_place: true })
    }
}

/// The words of an environment variable that names a program.
fn named(variable: &str) -> Result<Option<Vec<OsString>>, Error> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    // A path may have blanks, and is one word where it is there.
    if Path::new(&value).is_file() {
        return Ok(Some(vec![value]));
    }
    let words =
        value.to_str().and_then(|text| shell_words::split(text).ok()).filter(|words| !words.is_empty());
    match words {
        Some(words) => Ok(Some(words.into_iter().map(OsString::from).collect())),
        None => {
            let reason = "it names no program".to_owned();
            Err(Error::new(ErrorKind::InvalidSetting { name: variable.to_owned(), reason }))
        }
    }
}

pub(super) fn missing(tool: &str, reason: Option<String>) -> Error {
    let reason = reason.map(|reason| visible(&reason, false).into_owned());
    Error::new(ErrorKind::ToolMissing { tool: tool.to_owned(), reason })
}

type Finished = (std::process::ExitStatus, Vec<u8>, Vec<u8>);

/// Runs a command to its end, and reads both of its streams meanwhile.
fn finished(mut command: Command) -> std::io::Result<Finished> {
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let errors = scope.spawn(|| read(stderr));
        (read(stdout), errors.join().unwrap_or_default())
    });
    Ok((child.wait()?, stdout, stderr))
}

/// All that comes; what cannot be read any more is missing.
fn read(stream: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream
        && let Err(error) = stream.read_to_end(&mut bytes)
    {
        tracing::debug!(%error, "cannot read what a tool prints");
    }
    bytes
}
