//! `airlock run`: a program with arguments and standard streams.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use airlock_host::{CapabilityKind, Error, ProgramInput, StdinSource};
use serde_json::json;

use super::Session;
use super::core_dump::DumpFile;
use super::external::{self, Typed};
use crate::flags::{Load, Run};
use crate::screen::Screen;

pub(super) fn run(session: &Session, run: Run) -> Result<u8, Error> {
    let coredump = run.coredump.as_deref();
    let way = Way { is_external: false, stdout_protocol: run.stdout_protocol, coredump };
    execute(session, &run.plugin, run.args, &run.load, way)
}

/// How a plugin is run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way<'a> {
    /// As a command of its own.
    pub(super) is_external: bool,
    /// With lines that it prints read for messages.
    pub(super) stdout_protocol: bool,
    /// With a core dump left there where it traps.
    pub(super) coredump: Option<&'a Path>,
}

/// Runs a plugin with what was typed for it.
pub(super) fn execute(
    session: &Session,
    plugin: &Path,
    words: Vec<OsString>,
    load: &Load,
    way: Way<'_>,
) -> Result<u8, Error> {
    let dump = way.coredump.map(DumpFile::new).transpose()?;
    let plugin = session.load(plugin, load, dump.as_ref().map(DumpFile::place))?;
    let args = match external::read(session.printer, &plugin, words, way.is_external)? {
        Typed::Values(values) => values,
        Typed::Answered(code) => return Ok(code),
    };
    let mut input = ProgramInput::new().args(args).stdout_protocol(way.stdout_protocol);
    let policy = plugin.policy();
    // A pipe or file was put there for the program. A terminal is the person's, to be granted.
    if !std::io::stdin().is_terminal() || policy.allows_any(CapabilityKind::Stdin) {
        input = input.stdin(StdinSource::reader(std::io::stdin()));
    }
    let printer = session.printer;
    let raw = policy.allows_any(CapabilityKind::Stdout);
    let screen = Arc::new(Screen::new(printer, raw));
    if !printer.json {
        input = input.console(screen.clone());
    }
    let outcome = plugin.run_blocking(input);
    let written = screen.finish();
    if let Some(dump) = dump {
        dump.finish(printer);
    }
    // The call's own error is the one to tell.
    let outcome = outcome?;
    written?;
    let program = &outcome.value;
    if printer.json {
        let fields = json!({
            "code": program.code,
            "stdout": String::from_utf8_lossy(&program.stdout),
            "stderr": String::from_utf8_lossy(&program.stderr),
            "usage": outcome.usage,
        });
        if let serde_json::Value::Object(fields) = fields {
            printer.object(true, fields)?;
        }
    } else {
        printer.program_output(&program.stdout, raw)?;
        printer.program_errors(&program.stderr);
        printer.usage(&outcome.usage);
    }
    // Of a code that does not fit a process's own, the low byte, as the system does it.
    Ok(program.code.to_le_bytes()[0])
}
