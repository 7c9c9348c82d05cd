//! `airlock run`: a WASI program with arguments and standard streams.

use std::io::IsTerminal as _;

use airlock_host::{CapabilityKind, Error, ErrorKind, ProgramInput, StdinSource};
use serde_json::json;

use super::Session;
use crate::flags::Run;

pub(super) fn run(session: &Session, run: Run) -> Result<u8, Error> {
    let plugin = session.load(&run.plugin, &run.load)?;
    let args = run.args.into_iter().map(|arg| {
        arg.into_string().map_err(|arg| {
            let reason = format!("`{}` is not UTF-8", arg.to_string_lossy());
            Error::new(ErrorKind::InvalidSetting { name: "ARGS".to_owned(), reason })
        })
    });
    let mut input = ProgramInput::new().args(args.collect::<Result<Vec<_>, _>>()?);
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
