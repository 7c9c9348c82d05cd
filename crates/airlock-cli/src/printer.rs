//! The only place that prints.
//!
//! Standard output carries answers and nothing else; everything said to a person goes to
//! standard error. A reader that went away is no error.

use std::io::{self, IsTerminal as _, Write};

use airlock_host::{Error, ErrorKind, TrapFrame, Usage, escape_json, visible};
use serde::Serialize;
use serde_json::json;

/// The version of every JSON object printed.
const SCHEMA: u32 = 1;

/// Prints answers and messages, as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
    pub(crate) usage: bool,
}

/// How much something matters that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Matters {
    /// It does not work.
    Error,
    /// It may not be what was meant.
    Warning,
    /// It is good to know.
    Note,
}

impl Matters {
    fn name(self) -> &'static str {
        match self {
            Matters::Error => "error",
            Matters::Warning => "warning",
            Matters::Note => "note",
        }
    }
}

impl Printer {
    /// A line of an answer.
    pub(crate) fn line(&self, text: &str) -> Result<(), Error> {
        answered(writeln!(anstream::stdout(), "{text}"))
    }

    /// A line of a conversation on standard output, all of it at once.
    ///
    /// # Errors
    /// Where nobody reads it any more.
    pub(crate) fn spoken(&self, line: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }

    /// What a program wrote to standard output: to a terminal nothing it could act on, unless
    /// it was granted the terminal as it is.
    pub(crate) fn program_output(&self, bytes: &[u8], raw: bool) -> Result<(), Error> {
        answered(copy(bytes, !raw && io::stdout().is_terminal(), &mut io::stdout().lock()))
    }

    /// What a program wrote to standard error.
    pub(crate) fn program_errors(&self, bytes: &[u8]) {
        untold(copy(bytes, io::stderr().is_terminal(), &mut io::stderr().lock()));
    }

    /// What a plugin logged on its way to an answer.
    pub(crate) fn log(&self, plugin: &str, log: &[u8]) {
        let name = visible(plugin, false);
        for line in String::from_utf8_lossy(log).lines() {
            self.message(&format!("{name}: {}", visible(line, false)));
        }
    }

    /// What a plugin says at a level of its own.
    pub(crate) fn leveled(&self, plugin: &str, level: &str, message: &str) {
        use anstyle::AnsiColor::{Blue, Green, Red, Yellow};
        let colour = match level {
            "debug" => Some(Blue),
            "info" => Some(Green),
            "warn" => Some(Yellow),
            "error" => Some(Red),
            _ => None,
        };
        let style = colour.map(|colour| colour.on_default()).unwrap_or_default();
        let level = match level {
            "" => String::new(),
            level => format!("{style}{}{style:#} ", visible(level, false)),
        };
        self.message(&format!("{level}[{}] {}", visible(plugin, false), visible(message, false)));
    }

    /// What a call used, when asked for.
    pub(crate) fn usage(&self, usage: &Usage) {
        if !self.usage {
            return;
        }
        let bytes = |count: u64| bytesize::ByteSize::b(count).display().iec().to_string();
        let fuel = usage.fuel.map_or_else(String::new, |fuel| format!(", fuel {fuel}"));
        self.message(&format!(
            "used: {:.3} ms, memory {}, host calls {}, input {}, output {}, log {}{fuel}",
            usage.wall.as_secs_f64() * 1e3,
            bytes(usage.memory_bytes),
            usage.host_calls,
            bytes(usage.input_bytes),
            bytes(usage.output_bytes),
            bytes(usage.log_bytes),
        ));
    }

    /// A JSON object on standard output, with its schema and whether it went well.
    pub(crate) fn object(
        &self,
        ok: bool,
        fields: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Error> {
        let mut object =
            serde_json::Map::from_iter([("schema".to_owned(), json!(SCHEMA)), ("ok".to_owned(), json!(ok))]);
        object.extend(fields);
        self.line(&escape_json(&serde_json::Value::Object(object).to_string()))
    }

    /// An answer whose value is JSON text, put in digit for digit.
    pub(crate) fn answer_object(&self, value: &str, log: &[u8], usage: &Usage) -> Result<(), Error> {
        let log = json!(String::from_utf8_lossy(log));
        let usage = json!(usage);
        let value = escape_json(value);
        let rest = escape_json(&format!("\"log\":{log},\"usage\":{usage}"));
        self.line(&format!("{{\"schema\":{SCHEMA},\"ok\":true,\"value\":{value},{rest}}}"))
    }

    /// An error: its message, causes, a trap's frames, the hint.
    pub(crate) fn error(&self, error: &Error) {
        if self.json {
            let fields = json!({ "error": error_json(error) });
            if let serde_json::Value::Object(fields) = fields {
                untold(self.object(false, fields).map_err(io::Error::other));
            }
            return;
        }
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
        self.message(&format!("{red}error{red:#}: {error}"));
        for cause in causes(error) {
            self.message(&format!("  caused by: {cause}"));
        }
        if let ErrorKind::Trap { frames, .. } = error.kind() {
            for frame in frames {
                self.message(&format!("  at {}", frame_text(frame)));
            }
        }
        if let Some(hint) = error.hint() {
            self.message(&format!("{cyan}hint{cyan:#}: {}", visible(hint, false)));
        }
    }

    /// One of several things that were found, by how much it matters.
    pub(crate) fn finding(&self, matters: Matters, text: &str, hint: Option<&str>) {
        if self.json {
            return;
        }
        let colour = match matters {
            Matters::Error => anstyle::AnsiColor::Red,
            Matters::Warning => anstyle::AnsiColor::Yellow,
            Matters::Note => anstyle::AnsiColor::Blue,
        };
        let (colour, cyan) = (colour.on_default().bold(), anstyle::AnsiColor::Cyan.on_default().bold());
        self.message(&format!("{colour}{}{colour:#}: {}", matters.name(), visible(text, false)));
        if let Some(hint) = hint {
            self.message(&format!("{cyan}hint{cyan:#}: {}", visible(hint, false)));
        }
    }

    /// Lines of an answer, each list of them after what it is.
    pub(crate) fn rows<'a>(
        &self,
        rows: impl IntoIterator<Item = (&'a str, Vec<String>)>,
    ) -> Result<(), Error> {
        for (label, lines) in rows {
            for (index, line) in lines.iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                self.line(format!("{label:<11}{}", visible(line, false)).trim_end())?;
            }
        }
        Ok(())
    }

    /// Lines of an answer, in columns.
    pub(crate) fn table<const N: usize>(
        &self,
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Error> {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        for row in rows {
            table.add_row(row.map(|cell| visible(&cell, false).into_owned()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }

    /// Something said to a person.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            self.message(&visible(text, true));
        }
    }

    /// A warning about something that did not stop the work.
    pub(crate) fn warning(&self, text: &str) {
        self.finding(Matters::Warning, text, None);
    }

    fn message(&self, text: &str) {
        untold(writeln!(anstream::stderr(), "{text}"));
    }
}

fn copy(bytes: &[u8], to_terminal: bool, to: &mut impl Write) -> io::Result<()> {
    match to_terminal {
        true => to.write_all(visible(&String::from_utf8_lossy(bytes), true).as_bytes())?,
        false => to.write_all(bytes)?,
    }
    to.flush()
}

/// An answer that could not be written is a failure, unless its reader went away: who
/// closes a pipe has read enough.
fn answered(result: io::Result<()>) -> Result<(), Error> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::host("cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}

/// A message that could not be written: there is nobody left to tell.
fn untold(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "cannot print");
    }
}

fn frame_text(frame: &TrapFrame) -> String {
    let function = visible(&frame.function, false);
    match &frame.source {
        Some(source) => format!("{function} ({})", visible(source, false)),
        None => function.into_owned(),
    }
}

fn causes(error: &Error) -> Vec<String> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |cause| cause.source())
        .map(|cause| visible(&cause.to_string(), false).into_owned())
        .collect()
}

/// An error as JSON: `code`, `culprit`, `message`, and where they exist `hint`, `causes`,
/// `frames`, and what the guest had written as `stdout` and `stderr`.
pub(crate) fn error_json(error: &Error) -> serde_json::Value {
    let mut object = json!({
        "code": error.code(),
        "culprit": error.culprit(),
        "message": error.to_string(),
        "causes": causes(error),
    });
    if let Some(hint) = error.hint() {
        object["hint"] = json!(hint);
    }
    if let ErrorKind::Trap { trap, frames, .. } = error.kind() {
        object["trap"] = json!(trap);
        object["frames"] = json!(frames);
    }
    if let Some(output) = error.output() {
        object["output"] = json!(output);
    }
    if let Some(printed) = error.printed() {
        object["stdout"] = json!(String::from_utf8_lossy(&printed.stdout));
        object["stderr"] = json!(String::from_utf8_lossy(&printed.stderr));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn a_terminal_gets_nothing_it_could_act_on_and_a_pipe_every_byte() {
        let bytes = b"one\ttwo\n\x1b[2J\x1b]0;title\x07\xc2\x9b5m\xff\r";
        let (mut terminal, mut pipe) = (Vec::new(), Vec::new());
        copy(bytes, true, &mut terminal).expect("memory takes it");
        copy(bytes, false, &mut pipe).expect("memory takes it");
        assert_eq!(
            String::from_utf8_lossy(&terminal),
            "one\ttwo\n\\x1b[2J\\x1b]0;title\\x07\\x9b5m\u{fffd}\\r"
        );
        assert_eq!(pipe, bytes);
    }
}
