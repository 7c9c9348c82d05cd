//! What was found: how much it matters, what it is, and what to do about it.

use airlock_host::Error;
use serde::Serialize;

use super::codes::Code;
use crate::printer::{Matters, Printer};

/// One thing that was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Its stable name, kebab-case; that of an error where it is one.
    code: &'static str,
    severity: Matters,
    message: String,
    hint: Option<String>,
}

impl Finding {
    pub(super) fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Finding { code: code.name, severity: code.severity, message: message.into(), hint: None }
    }

    /// An error that a plugin's file comes to.
    pub(super) fn of(file: Option<&str>, error: &Error) -> Self {
        let message = match file {
            Some(file) => format!("`{file}`: {error}"),
            None => error.to_string(),
        };
        let hint = error.hint().map(str::to_owned);
        Finding { code: error.code(), severity: Matters::Error, message, hint }
    }

    /// The same with what to do about it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Finding { hint: Some(hint.into()), ..self }
    }

    pub(super) fn severity(&self) -> Matters {
        self.severity
    }

    pub(super) fn show(&self, printer: Printer) {
        printer.finding(self.severity, &self.message, self.hint.as_deref());
    }
}

/// How many of them matter so much.
pub(super) fn count(findings: &[Finding], severity: Matters) -> usize {
    findings.iter().filter(|finding| finding.severity() == severity).count()
}
