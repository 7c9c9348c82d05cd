//! What a call has to come to, and in what it came to something else.

use airlock_host::{Error, ErrorKind, Program, Unit, Usage};
use regex::Regex;
use serde::Deserialize;

use super::json::{How, Json, text_of};

/// What a step has to come to. Where nothing is said it has to go well.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) output: Option<Json>,
    pub(super) contains: Option<Json>,
    pub(super) matches: Option<Regex>,
    pub(super) snapshot: bool,
    pub(super) error: Option<ExpectedError>,
    pub(super) exit: i32,
    pub(super) stdout: Option<Text>,
    /// Standard error of a program or the log of a call, with what it is called.
    pub(super) messages: Option<(&'static str, Text)>,
    pub(super) budgets: Budgets,
}

/// How a call has to fail.
#[derive(Debug)]
pub(super) struct ExpectedError {
    pub(super) code: String,
    pub(super) contains: Option<String>,
    pub(super) matches: Option<Regex>,
}

/// What a call may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Budgets {
    pub(super) fuel: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    pub(super) host_calls: Option<u64>,
}

/// What a text has to be.
#[derive(Debug)]
pub(super) enum Text {
    Exactly(String),
    Parts { contains: Vec<String>, matches: Vec<Regex> },
}

/// What a text has to be, as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a table with `contains` or `matches`")]
pub(super) enum TextRow {
    Exactly(String),
    Parts(Parts),
}

/// Parts of a text, as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parts {
    contains: Several,
    matches: Several,
}

/// A text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum Several {
    One(String),
    Many(Vec<String>),
}

impl Default for Several {
    fn default() -> Self {
        Several::Many(Vec::new())
    }
}

/// What the fakes have to have been asked, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ObservedRow {
    http: Option<toml::Value>,
    exec: Option<toml::Value>,
    resolver: Option<toml::Value>,
    tools: Option<toml::Value>,
    events: Option<toml::Value>,
    log: Option<toml::Value>,
    email: Option<toml::Value>,
    kv: Option<toml::Value>,
}

/// What a call came to.
#[derive(Debug)]
pub(super) enum Came {
    /// A function's answer, as JSON, and what was logged.
    Answered {
        json: String,
        log: Vec<u8>,
        usage: Usage,
    },
    /// A program's end.
    Ended {
        program: Program,
        usage: Usage,
    },
    Failed(Error),
}

/// In what a case is not what was expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// Of which step, counted from 1, where there are several.
    pub(super) step: Option<usize>,
    /// In one sentence.
    pub(super) what: String,
    /// Where in the value, as a path.
    pub(super) path: Option<String>,
    /// What was expected, and what was found, as texts of some lines.
    pub(super) texts: Option<(String, String)>,
    /// What is also known of it, a line each.
    pub(super) notes: Vec<String>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Failure { what: what.into(), ..Failure::default() }
    }

    fn with_texts(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.texts = Some((expected.into(), found.into()));
        self
    }

    /// That `found` is not `expected`, if it is not.
    pub(super) fn of_values(subject: &str, expected: &Json, found: &Json, how: How) -> Option<Self> {
        let difference = found.difference(expected, how)?;
        let seen = match how {
            How::Exactly => found.pretty(),
            How::Within | How::Observed => found.beside(expected).pretty(),
        };
        let path = (!difference.path.is_empty()).then(|| difference.path.clone());
        let failure = Failure { path, ..Failure::new(difference.of(subject)) };
        Some(failure.with_texts(expected.pretty() + "\n", seen + "\n"))
    }

    /// That a text is not the expected one, which `what` says.
    pub(super) fn of_texts(what: &str, expected: &str, found: &str) -> Self {
        let line = expected.lines().zip(found.lines()).take_while(|(one, other)| one == other).count() + 1;
        Failure::new(format!("{what}, from line {line} on")).with_texts(expected, found)
    }

    /// That a call failed, with all that is known of that.
    fn of_error(what: String, error: &Error) -> Self {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let mut notes: Vec<String> = causes.map(|cause| format!("caused by: {cause}")).collect();
        if let ErrorKind::Trap { frames, .. } = error.kind() {
            notes.extend(frames.iter().map(|frame| match &frame.source {
                Some(source) => format!("at {} ({source})", frame.function),
                None => format!("at {}", frame.function),
            }));
        }
        Failure { notes, hint: error.hint().map(str::to_owned), ..Failure::new(what) }
    }
}

impl Several {
    fn into_texts(self) -> Vec<String> {
        match self {
            Several::One(text) => vec![text],
            Several::Many(texts) => texts,
        }
    }
}

impl TextRow {
    /// Ready to be compared with.
    ///
    /// # Errors
    /// A pattern that is none.
    pub(super) fn read(self) -> Result<Text, String> {
        let Parts { contains, matches } = match self {
            TextRow::Exactly(text) => return Ok(Text::Exactly(text)),
            TextRow::Parts(parts) => parts,
        };
        let matches = matches.into_texts();
        let (contains, matches) =
            (contains.into_texts(), matches.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>()?);
        match contains.is_empty() && matches.is_empty() {
            true => Err("it says neither `contains` nor `matches`".to_owned()),
            false => Ok(Text::Parts { contains, matches }),
        }
    }
}

/// A regular expression.
///
/// # Errors
/// What is wrong with it, on one line.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        // Its last line says it; those before show the pattern with a mark below.
        let told = error.to_string();
        let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("`{text}` is no regular expression: {last}")
    })
}

impl Text {
    fn judge(&self, subject: &str, found: &[u8]) -> Vec<Failure> {
        let found = String::from_utf8_lossy(found);
        match self {
            Text::Exactly(expected) if *expected == found => Vec::new(),
            Text::Exactly(expected) => {
                let what = format!("{subject} is not as expected");
                vec![Failure::of_texts(&what, expected, &found)]
            }
            Text::Parts { contains, matches } => {
                let missing = contains.iter().filter(|part| !found.contains(part.as_str()));
                let missing = missing.map(|part| format!("{subject} does not contain `{part}`"));
                let unlike = matches.iter().filter(|pattern| !pattern.is_match(&found));
                let unlike = unlike.map(|pattern| format!("{subject} does not match `{pattern}`"));
                let told = |what| Failure { notes: shown(&found), ..Failure::new(what) };
                missing.chain(unlike).map(told).collect()
            }
        }
    }
}

/// The first lines of a text.
fn shown(text: &str) -> Vec<String> {
    const MOST: usize = 20;
    if text.is_empty() {
        return vec!["it is empty".to_owned()];
    }
    let more = (text.lines().count() > MOST).then(|| "…".to_owned());
    text.lines().take(MOST).map(|line| format!("| {line}")).chain(more).collect()
}

impl Came {
    /// What it used, where it went well.
    pub(super) fn usage(&self) -> Option<&Usage> {
        match self {
            Came::Answered { usage, .. } | Came::Ended { usage, .. } => Some(usage),
            Came::Failed(_) => None,
        }
    }

    /// Standard output of a program.
    pub(super) fn stdout(&self) -> &[u8] {
        match self {
            Came::Answered { .. } => &[],
            Came::Ended { program, .. } => &program.stdout,
            Came::Failed(error) => error.printed().map_or(&[], |printed| &printed.stdout),
        }
    }

    /// Standard error of a program, the log of a call.
    pub(super) fn messages(&self) -> &[u8] {
        match self {
            Came::Answered { log, .. } => log,
            Came::Ended { program, .. } => &program.stderr,
            Came::Failed(error) => error.printed().map_or(&[], |printed| &printed.stderr),
        }
    }
}

impl Expect {
    /// In what it came to something else.
    pub(super) fn judge(&self, came: &Came) -> Vec<Failure> {
        let mut failures = match (came, &self.error) {
            (Came::Failed(error), Some(expected)) => expected.judge(error),
            (Came::Failed(error), None) => {
                vec![Failure::of_error(format!("it failed with `{}`: {error}", error.code()), error)]
            }
            (came, Some(expected)) => {
                let notes = match came {
                    Came::Answered { json, .. } => shown(json),
                    _ => shown(&String::from_utf8_lossy(came.stdout())),
                };
                let ended = match came {
                    Came::Ended { program, .. } => format!("it ended with {}", program.code),
                    _ => "it went well".to_owned(),
                };
                let what = format!("{ended}, and was to fail with `{}`", expected.code);
                vec![Failure { notes, ..Failure::new(what) }]
            }
            (Came::Answered { json, .. }, None) => self.judge_answer(json),
            (Came::Ended { program, .. }, None) if program.code != self.exit => {
                vec![Failure::new(format!("it ended with {}, not {}", program.code, self.exit))]
            }
            (Came::Ended { .. }, None) => Vec::new(),
        };
        if let Some(stdout) = &self.stdout {
            failures.extend(stdout.judge("standard output", came.stdout()));
        }
        if let Some((subject, messages)) = &self.messages {
            failures.extend(messages.judge(subject, came.messages()));
        }
        failures.extend(came.usage().into_iter().flat_map(|usage| self.budgets.judge(usage)));
        failures
    }

    fn judge_answer(&self, json: &str) -> Vec<Failure> {
        let mut failures = Vec::new();
        if self.output.is_some() || self.contains.is_some() {
            match Json::read(json) {
                Ok(found) => {
                    let exactly = self.output.iter().map(|expected| (expected, How::Exactly));
                    let within = self.contains.iter().map(|expected| (expected, How::Within));
                    failures.extend(exactly.chain(within).filter_map(|(expected, how)| {
                        Failure::of_values("the output", expected, &found, how)
                    }));
                }
                Err(error) => failures.push(Failure::new(format!("the output is no JSON: {error}"))),
            }
        }
        if let Some(pattern) = &self.matches {
            let text = text_of(json);
            if !pattern.is_match(&text) {
                let what = format!("the output does not match `{pattern}`");
                failures.push(Failure { notes: shown(&text), ..Failure::new(what) });
            }
        }
        failures
    }
}

impl ExpectedError {
    fn judge(&self, error: &Error) -> Vec<Failure> {
        let message = error.to_string();
        if error.code() != self.code {
            let what = format!("it failed with `{}`, not `{}`: {message}", error.code(), self.code);
            return vec![Failure::of_error(what, error)];
        }
        let missing = self.contains.iter().filter(|part| !message.contains(part.as_str()));
        let missing = missing.map(|part| format!("its error does not contain `{part}`: {message}"));
        let unlike = self.matches.iter().filter(|pattern| !pattern.is_match(&message));
        let unlike = unlike.map(|pattern| format!("its error does not match `{pattern}`: {message}"));
        missing.chain(unlike).map(Failure::new).collect()
    }
}

impl Budgets {
    /// These, and of the others what they do not say.
    pub(super) fn or(self, other: Budgets) -> Self {
        Budgets {
            fuel: self.fuel.or(other.fuel),
            memory: self.memory.or(other.memory),
            host_calls: self.host_calls.or(other.host_calls),
        }
    }

    fn judge(self, usage: &Usage) -> Vec<Failure> {
        let bytes = |bytes: u64| format!("{} ({bytes} bytes)", Unit::Bytes.show(bytes));
        let beyond = |used: u64, most: Option<u64>| most.filter(|most| used > *most).map(|most| (used, most));
        let fuel = beyond(usage.fuel.unwrap_or_default(), self.fuel)
            .map(|(used, most)| format!("it used {used} of fuel, and may use {most}"));
        let memory = beyond(usage.memory_bytes, self.memory)
            .map(|(used, most)| format!("it used {} of memory, and may use {}", bytes(used), bytes(most)));
        let host_calls = beyond(usage.host_calls, self.host_calls)
            .map(|(used, most)| format!("it made {used} host calls, and may make {most}"));
        [fuel, memory, host_calls].into_iter().flatten().map(Failure::new).collect()
    }
}
