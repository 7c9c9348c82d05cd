//! What came of cases: a line for each, what differed, and how many there were.

use std::time::Duration;

use airlock_host::{Error, Examined, Unit, Usage, visible};
use anstyle::AnsiColor;
use serde::Serialize;
use serde_json::json;

use super::Selected;
use super::diff;
use super::expect::Failure;
use super::run::Ran;
use crate::command::Session;
use crate::printer::Printer;

/// Lines of a plugin's log that are shown with a case that failed.
const LOG: usize = 40;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Passed,
    Failed,
    Skipped,
    /// Another one had failed before it was begun.
    NotRun,
}

/// What came of all cases.
pub(super) struct Report<'a> {
    pub(super) cases: Vec<(&'a Selected<'a>, Outcome, Ran)>,
    removed: usize,
    pub(super) time: Duration,
}

/// A case, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    id: String,
    file: String,
    name: String,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<ToldRan>,
}

/// How it was run.
#[derive(Debug, Serialize)]
struct ToldRan {
    duration_ns: u64,
    usage: Vec<Usage>,
    failures: Vec<ToldFailure>,
    log: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ToldFailure {
    step: Option<usize>,
    message: String,
    path: Option<String>,
    expected: Option<String>,
    found: Option<String>,
    notes: Vec<String>,
    hint: Option<String>,
}

/// Prints what became of one case.
pub(super) fn line(printer: Printer, selected: &Selected<'_>, ran: &Ran, metered: bool) -> Result<(), Error> {
    if printer.json {
        return Ok(());
    }
    let id = selected.id();
    let (word, colour) = match (&selected.case.skip, ran.failures.is_empty()) {
        (Some(_), _) => ("skip", AnsiColor::Yellow),
        (None, true) => ("ok", AnsiColor::Green),
        (None, false) => ("FAIL", AnsiColor::Red),
    };
    let style = colour.on_default().bold();
    let time = match &selected.case.skip {
        Some(_) => String::new(),
        None => seconds(ran.time),
    };
    let more = match &selected.case.skip {
        Some(reason) => format!(" ({})", visible(reason, false)),
        None if metered => used(&ran.usage),
        None => String::new(),
    };
    printer.line(&format!("{style}{word:<4}{style:#} {time:>9} {id}{more}"))
}

fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}

/// What all steps used: of memory the most, of the rest together.
fn used(usage: &[Usage]) -> String {
    if usage.is_empty() {
        return String::new();
    }
    let fuel: u64 = usage.iter().filter_map(|usage| usage.fuel).sum();
    let memory = usage.iter().map(|usage| usage.memory_bytes).max().unwrap_or_default();
    let host_calls: u64 = usage.iter().map(|usage| usage.host_calls).sum();
    format!(" (fuel {fuel}, memory {}, host calls {host_calls})", Unit::Bytes.show(memory))
}

impl<'a> Report<'a> {
    pub(super) fn new(
        cases: &'a [Selected<'a>],
        results: Vec<Option<Ran>>,
        removed: usize,
        time: Duration,
    ) -> Self {
        let of = |(selected, ran): (&'a Selected<'a>, Option<Ran>)| {
            let outcome = match (&selected.case.skip, &ran) {
                (Some(_), _) => Outcome::Skipped,
                (None, None) => Outcome::NotRun,
                (None, Some(ran)) if ran.failures.is_empty() => Outcome::Passed,
                (None, Some(_)) => Outcome::Failed,
            };
            (selected, outcome, ran.unwrap_or_default())
        };
        Report { cases: cases.iter().zip(results).map(of).collect(), removed, time }
    }

    fn count(&self, wanted: Outcome) -> usize {
        self.cases.iter().filter(|(_, outcome, _)| *outcome == wanted).count()
    }

    /// Whether something ran, and all that did passed.
    fn is_well(&self) -> bool {
        self.count(Outcome::Failed) == 0 && self.count(Outcome::Passed) > 0
    }

    fn written(&self) -> usize {
        self.cases.iter().map(|(_, _, ran)| ran.written).sum()
    }

    /// What differed in each case, and how many there were. Gives the exit code.
    pub(super) fn print(&self, printer: Printer) -> Result<u8, Error> {
        for (selected, outcome, ran) in &self.cases {
            if *outcome == Outcome::Failed {
                print_failed(printer, selected, ran)?;
            }
        }
        printer.line("")?;
        printer.line(&self.summary())?;
        if self.count(Outcome::Passed) + self.count(Outcome::Failed) == 0 {
            printer.note("every case is skipped, so that nothing was tested");
        }
        Ok(u8::from(!self.is_well()))
    }

    fn summary(&self) -> String {
        let all = self.cases.len();
        let cases = if all == 1 { "case" } else { "cases" };
        let counts = [
            (Outcome::Passed, "passed", AnsiColor::Green),
            (Outcome::Failed, "failed", AnsiColor::Red),
            (Outcome::Skipped, "skipped", AnsiColor::Yellow),
            (Outcome::NotRun, "not run", AnsiColor::Yellow),
        ];
        let counts = counts.into_iter().filter_map(|(outcome, word, colour)| {
            let (count, style) = (self.count(outcome), colour.on_default().bold());
            (count > 0).then(|| format!("{style}{count} {word}{style:#}"))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        let mut summary = format!("{all} {cases}: {counts} ({})", seconds(self.time));
        for (count, word) in [(self.written(), "written"), (self.removed, "removed")] {
            if count > 0 {
                let snapshots = if count == 1 { "snapshot" } else { "snapshots" };
                summary.push_str(&format!("; {count} {snapshots} {word}"));
            }
        }
        summary
    }

    /// All of it as one object. Gives the exit code.
    pub(super) fn object(&self, session: &Session, examined: &Examined) -> Result<u8, Error> {
        let cases = self.cases.iter().map(|(selected, outcome, ran)| Told::of(selected, *outcome, ran));
        let cases: Vec<Told> = cases.collect();
        let fields = json!({
            "plugin": { "name": examined.name, "digest": examined.artifact.digest() },
            "cases": cases,
            "counts": {
                "passed": self.count(Outcome::Passed),
                "failed": self.count(Outcome::Failed),
                "skipped": self.count(Outcome::Skipped),
                "not_run": self.count(Outcome::NotRun),
            },
            "snapshots": { "written": self.written(), "removed": self.removed },
            "duration_ns": nanoseconds(self.time),
        });
        session.object(self.is_well(), fields)
    }
}

fn print_failed(printer: Printer, selected: &Selected<'_>, ran: &Ran) -> Result<(), Error> {
    let red = AnsiColor::Red.on_default().bold();
    let cyan = AnsiColor::Cyan.on_default().bold();
    let file = selected.file.path.to_string_lossy();
    printer.line("")?;
    printer.line(&format!("{red}FAIL{red:#} {}", selected.id()))?;
    printer.line(&format!("  at {}:{}", visible(&file, false), selected.case.line))?;
    for failure in &ran.failures {
        printer.line(&format!("  {}", visible(&sentence(failure), false)))?;
        for note in &failure.notes {
            printer.line(&format!("    {}", visible(note, false)))?;
        }
        if let Some((expected, found)) = &failure.texts {
            let lines = diff::lines(expected, found);
            lines.iter().try_for_each(|line| printer.line(format!("    {}", line.styled()).trim_end()))?;
        }
        if let Some(hint) = &failure.hint {
            printer.line(&format!("  {cyan}hint{cyan:#}: {}", visible(hint, false)))?;
        }
    }
    for warning in &ran.warnings {
        printer.line(&format!("  warning: {}", visible(warning, false)))?;
    }
    if !ran.log.is_empty() {
        printer.line("  it wrote:")?;
    }
    for line in ran.log.iter().take(LOG) {
        printer.line(&format!("    {}", visible(line, false)))?;
    }
    match ran.log.len().checked_sub(LOG) {
        Some(more) if more > 0 => printer.line(&format!("    … and {more} lines more")),
        _ => Ok(()),
    }
}

/// What differs, in one sentence.
pub(super) fn sentence(failure: &Failure) -> String {
    match failure.step {
        Some(step) => format!("step {step}: {}", failure.what),
        None => failure.what.clone(),
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Told {
    /// What it is.
    pub(super) fn head(selected: &Selected<'_>) -> Self {
        Told {
            id: selected.id(),
            file: selected.file.path.to_string_lossy().into_owned(),
            name: selected.case.name.clone(),
            line: selected.case.line,
            outcome: None,
            reason: selected.case.skip.clone(),
            ran: None,
        }
    }

    fn of(selected: &Selected<'_>, outcome: Outcome, ran: &Ran) -> Self {
        let failures = ran.failures.iter().map(|failure| {
            let (expected, found) = failure.texts.clone().unzip();
            ToldFailure {
                step: failure.step,
                message: failure.what.clone(),
                path: failure.path.clone(),
                expected,
                found,
                notes: failure.notes.clone(),
                hint: failure.hint.clone(),
            }
        });
        let ran = matches!(outcome, Outcome::Passed | Outcome::Failed).then(|| ToldRan {
            duration_ns: nanoseconds(ran.time),
            usage: ran.usage.clone(),
            failures: failures.collect(),
            log: ran.log.clone(),
            warnings: ran.warnings.clone(),
        });
        Told { outcome: Some(outcome), ran, ..Told::head(selected) }
    }
}
