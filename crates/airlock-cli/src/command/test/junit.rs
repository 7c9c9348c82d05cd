//! The report that other tools read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use airlock_host::{Error, visible};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::diff;
use super::report::{Outcome, Report, sentence};
use super::run::Ran;

/// Writes it: a suite for each case file.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write(file: &Path, plugin: &str, report: &Report<'_>) -> Result<(), Error> {
    let failed =
        |error: std::io::Error| Error::host(format!("cannot write `{}`", file.display())).with_source(error);
    let mut junit = Junit::new(visible(plugin, false));
    junit.set_time(report.time);
    for cases in report.cases.chunk_by(|(one, ..), (other, ..)| std::ptr::eq(one.file, other.file)) {
        let Some((first, ..)) = cases.first() else { continue };
        let mut suite = TestSuite::new(first.file.stem.as_str());
        suite.set_time(cases.iter().map(|(.., ran)| ran.time).sum());
        for (selected, outcome, ran) in cases {
            let mut case = TestCase::new(selected.case.name.as_str(), status(*outcome, ran));
            if *outcome == Outcome::Skipped {
                case.status.set_message(visible(selected.case.skip.as_deref().unwrap_or_default(), false));
            }
            case.set_classname(first.file.stem.as_str()).set_time(ran.time);
            if !ran.log.is_empty() {
                case.set_system_err(visible(&ran.log.join("\n"), true));
            }
            suite.add_test_case(case);
        }
        junit.add_test_suite(suite);
    }
    let mut text = Vec::new();
    junit
        .serialize(&mut text)
        .map_err(|error| Error::host("cannot put the report together").with_source(error))?;
    let mut out = std::fs::File::create(file).map_err(failed)?;
    out.write_all(&text).map_err(failed)
}

fn status(outcome: Outcome, ran: &Ran) -> TestCaseStatus {
    match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => TestCaseStatus::skipped(),
        Outcome::NotRun => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("another case had failed");
            status
        }
        Outcome::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let first = ran.failures.first().map(sentence).unwrap_or_default();
            status.set_message(visible(&first, false)).set_type("failure").set_description(description(ran));
            status
        }
    }
}

/// All that differs, as it is shown on a terminal.
fn description(ran: &Ran) -> String {
    let mut text = String::new();
    for failure in &ran.failures {
        let _ = writeln!(text, "{}", visible(&sentence(failure), false));
        for note in &failure.notes {
            let _ = writeln!(text, "  {}", visible(note, false));
        }
        for line in failure.texts.iter().flat_map(|(expected, found)| diff::lines(expected, found)) {
            let _ = writeln!(text, "  {}", line.plain());
        }
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "  hint: {}", visible(hint, false));
        }
    }
    text
}
