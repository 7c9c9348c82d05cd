//! `airlock run`: a program with arguments and standard streams.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;

use airlock_host::{CapabilityKind, Error, ProgramInput, StdinSource};
use serde_json::json;

use super::Session;
use super::external::{self, Typed};
use crate::flags::{Load, Run};

pub(super) fn run(session: &Session, run: Run) -> Result<u8, Error> {
    execute(session, &run.plugin, run.args, &run.load, false)
}

/// Runs a plugin with what was typed for it, as a command of its own where `is_external`.
pub(super) fn execute(
    session: &Session,
    plugin: &Path,
    words: Vec<OsString>,
    load: &Load,
    is_external: bool,
) -> Result<u8, Error> {
    let plugin = session.load(plugin, load)?;
    let args = match external::read(session.printer, &plugin, words, is_external)? {
        Typed::Values(values) => values,
        Typed::Answered(code) => return Ok(code),
    };
    let mut input = ProgramInput::new().args(args);
    let policy = plugin.policy();
    // A pipe or file was put there for the program. A terminal is the person's, to be granted.
    if !std::io::stdin().is_terminal() || policy.allows_any(CapabilityKind::Stdin) {
        input = input.stdin(StdinSource::reader(std::io::stdin()));
    }
    let printer = session.printer;
    let raw = policy.allows_any(CapabilityKind::Stdout);
    let outcome = plugin.run_blocking(input).inspect_err(|error| {
        if let (Some(printed), false) = (error.printed(), printer.json) {
            // The call's own error is the one to tell.
            let _ = printer.program_output(&printed.stdout, raw);
            printer.program_errors(&printed.stderr);
        }
    })?;
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
