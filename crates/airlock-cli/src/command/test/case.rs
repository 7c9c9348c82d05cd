//! What is to be tested, as it is written in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use airlock_host::testing::{FakeData, fakes};
use airlock_host::{Capability, Error, LimitKind, Location, Overrides, Unit, visible};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::answers::{self, Given};
use super::expect::{Budgets, Expect, ExpectedError, TextRow, pattern};
use super::json::{Json, text_of_toml};
use super::keys::{self, Fault};

/// Bytes of a case's name.
const NAME: usize = 200;

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: usize,
    /// Why it is not run.
    pub(super) skip: Option<String>,
    pub(super) surroundings: Surroundings,
    /// One, or as many as are written below `steps`.
    pub(super) steps: Vec<Step>,
    /// Whether they are written there.
    pub(super) has_steps: bool,
    /// What its fakes have to have been asked in the end.
    pub(super) observed: Option<Json>,
}

/// What a case is run among.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Nothing else, where it is said.
    pub(super) allow: Option<Vec<Capability>>,
    pub(super) deny: Vec<Capability>,
    pub(super) limits: Overrides,
    pub(super) fakes: FakeData,
    pub(super) clock: Option<SystemTime>,
    pub(super) random_seed: Option<u64>,
    pub(super) deterministic: bool,
    pub(super) keep_state: Option<bool>,
    /// Where relative paths of capabilities begin, within the plugin's folder.
    pub(super) folder: Option<PathBuf>,
}

/// One call, and what it has to come to.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) expect: Expect,
}

/// What is done with the plugin.
#[derive(Debug)]
pub(super) enum Action {
    Call { function: String, input: Option<String> },
    Run { args: Vec<String>, stdin: Vec<u8>, answers: Option<Vec<Given>> },
}

/// What holds for all cases of a file that say nothing else; beside it there are [`Setup`] and
/// [`BudgetRow`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Defaults {
    call: Option<String>,
}

/// What a case is run among, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Setup {
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    limits: BTreeMap<String, toml::Value>,
    fakes: FakeData,
    clock: Option<toml::Value>,
    random_seed: Option<u64>,
    deterministic: Option<bool>,
    keep_state: Option<bool>,
    folder: Option<String>,
}

/// What a call may use, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BudgetRow {
    max_fuel: Option<u64>,
    max_memory: Option<Size>,
    max_host_calls: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of bytes, or a size such as `2MiB`")]
enum Size {
    Bytes(u64),
    Text(String),
}

/// What a case is, beside [`Setup`], and [`StepRow`] where it has no steps.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    name: Spanned<String>,
    skip: Option<String>,
    steps: Option<Vec<Spanned<toml::Value>>>,
    observed: Option<toml::Value>,
}

/// One call, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StepRow {
    call: Option<String>,
    input: Option<toml::Value>,
    input_json: Option<String>,
    input_file: Option<String>,
    run: Option<Vec<String>>,
    stdin: Option<String>,
    stdin_file: Option<String>,
    answers: Option<Vec<toml::Value>>,
    output: Option<toml::Value>,
    output_json: Option<String>,
    contains: Option<toml::Value>,
    contains_json: Option<String>,
    matches: Option<String>,
    snapshot: bool,
    error: Option<String>,
    error_contains: Option<String>,
    error_matches: Option<String>,
    exit: Option<i32>,
    stdout: Option<TextRow>,
    stderr: Option<TextRow>,
    log: Option<TextRow>,
}

/// The tables of a file, each read for the keys that `T` is about.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned, D: DeserializeOwned + Default")]
struct Tables<T, D> {
    #[serde(default)]
    defaults: D,
    #[serde(default = "Vec::new")]
    case: Vec<Spanned<T>>,
}

/// A case of which the steps are read likewise.
#[derive(Debug, Deserialize)]
struct WithSteps<T> {
    #[serde(default = "Vec::new")]
    steps: Vec<Spanned<T>>,
}

fn tables<T, D>(text: &str) -> Result<Tables<T, D>, Fault>
where
    T: DeserializeOwned,
    D: DeserializeOwned + Default,
{
    Ok(toml::from_str(text)?)
}

/// Nothing that is read.
#[derive(Debug, Default, Deserialize)]
struct Unread {}

/// Reads the text of a file; `read` reads the files that it names.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn decode(text: &str, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<Case>, Fault> {
    keys::check(text)?;
    let Tables { defaults: Defaults { call }, case: heads } = tables::<Head, Defaults>(text)?;
    let setups = tables::<Setup, Setup>(text)?;
    let budgets = tables::<BudgetRow, BudgetRow>(text)?;
    let rows = tables::<StepRow, Unread>(text)?;
    let steps = tables::<WithSteps<StepRow>, Unread>(text)?;
    let step_budgets = tables::<WithSteps<BudgetRow>, Unread>(text)?;
    let default_budgets = budgets.defaults.read().map_err(|reason| Fault::new(None, reason))?;
    let common = Common { setup: &setups.defaults, call: call.as_deref(), read };

    let of_case = budgets.case.into_iter().zip(rows.case);
    let of_steps = steps.case.into_iter().zip(step_budgets.case);
    let parts = heads.into_iter().zip(setups.case).zip(of_case).zip(of_steps);
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for (((head, setup), (budgets, row)), (steps, step_budgets)) in parts {
        let at = head.span();
        let head = head.into_inner();
        let name = common.name(&head)?;
        if !names.insert(name.clone()) {
            return Err(Fault::new(Some(head.name.span()), format!("there are two cases `{name}`")));
        }
        let budgets = read_at(&at, budgets.into_inner().read())?.or(default_budgets);
        let (surroundings, has_steps) =
            (read_at(&at, common.surroundings(setup.into_inner()))?, head.steps.is_some());
        let steps = match has_steps {
            false => vec![read_at(&at, common.step(row.into_inner(), budgets))?],
            true => {
                read_at(&at, row.into_inner().refuse_beside_steps())?;
                let steps = steps.into_inner().steps.into_iter().zip(step_budgets.into_inner().steps);
                let read = |(step, own): (Spanned<StepRow>, Spanned<BudgetRow>)| {
                    let at = step.span();
                    let budgets = read_at(&at, own.into_inner().read())?.or(budgets);
                    read_at(&at, common.step(step.into_inner(), budgets))
                };
                steps.map(read).collect::<Result<Vec<_>, Fault>>()?
            }
        };
        if steps.is_empty() {
            return Err(Fault::new(Some(at), "`steps` is empty"));
        }
        let observed = read_at(&at, head.observed.as_ref().map(json_of_toml).transpose())?;
        let line = location(text, at.start).line;
        cases.push(Case { name, line, skip: head.skip, surroundings, steps, has_steps, observed });
    }
    Ok(cases)
}

fn read_at<T>(at: &Range<usize>, result: Result<T, String>) -> Result<T, Fault> {
    result.map_err(|reason| Fault::new(Some(at.clone()), reason))
}

/// The line and column of a byte.
pub(super) fn location(text: &str, at: usize) -> Location {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Location { line, column: before.len() - line_start + 1 }
}

/// What holds for all cases of a file.
struct Common<'a> {
    setup: &'a Setup,
    call: Option<&'a str>,
    read: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
}

impl Common<'_> {
    fn name(&self, head: &Head) -> Result<String, Fault> {
        let name = head.name.get_ref();
        let fault = |reason: &str| Err(Fault::new(Some(head.name.span()), reason));
        match name {
            name if name.trim().is_empty() => fault("its name is empty"),
            name if name.len() > NAME => fault(&format!("its name is longer than {NAME} bytes")),
            name if visible(name, false) != *name => fault("its name is not one line of plain text"),
            name => Ok(name.clone()),
        }
    }

    fn surroundings(&self, own: Setup) -> Result<Surroundings, String> {
        let all = self.setup;
        let read = |texts: &[String]| texts.iter().map(|text| told(text.parse())).collect();
        let allow = own.allow.as_deref().or(all.allow.as_deref());
        let deny = own.deny.as_deref().or(all.deny.as_deref()).unwrap_or_default();
        let mut limits = read_limits(&all.limits)?;
        limits.extend(read_limits(&own.limits)?);
        let data = all.fakes.clone().with(own.fakes);
        // Once here, so that what cannot be answered is an error of the file.
        told(fakes().put(&data, "plugin"))?;
        let (clock, random_seed) =
            (own.clock.as_ref().or(all.clock.as_ref()), own.random_seed.or(all.random_seed));
        let deterministic = own.deterministic.or(all.deterministic).unwrap_or(true);
        if !deterministic && (clock.is_some() || random_seed.is_some()) {
            let reason = "`clock` and `random_seed` are of the virtual clock and of seeded numbers, which it \
                          does not have with `deterministic = false`";
            return Err(reason.to_owned());
        }
        let folder = own.folder.as_deref().or(all.folder.as_deref());
        Ok(Surroundings {
            allow: allow.map(read).transpose()?,
            deny: read(deny)?,
            limits,
            fakes: data,
            clock: clock.map(read_clock).transpose()?,
            random_seed,
            deterministic,
            keep_state: own.keep_state.or(all.keep_state),
            folder: folder.map(|folder| inner_path("folder", folder)).transpose()?,
        })
    }

    fn step(&self, mut row: StepRow, budgets: Budgets) -> Result<Step, String> {
        let is_run = row.run.is_some();
        row.refuse_foreign(is_run)?;
        let action = match (row.call.take(), row.run.take()) {
            (Some(_), Some(_)) => return Err("it has both `call` and `run`".to_owned()),
            (None, Some(args)) => {
                let stdin = match (row.stdin.take(), row.stdin_file.take()) {
                    (Some(_), Some(_)) => return Err("it has both `stdin` and `stdin_file`".to_owned()),
                    (text, None) => text.unwrap_or_default().into_bytes(),
                    (None, Some(file)) => self.file("stdin_file", &file)?,
                };
                let answers = row.answers.take().map(answers::read).transpose()?;
                Action::Run { args, stdin, answers }
            }
            (call, None) => {
                let function = call.or_else(|| self.call.map(str::to_owned));
                let function = function.ok_or("it has neither `call` nor `run`")?;
                Action::Call { function, input: self.input(&mut row)? }
            }
        };
        Ok(Step { action, expect: row.expect(budgets, is_run)? })
    }

    fn input(&self, row: &mut StepRow) -> Result<Option<String>, String> {
        let of_file = |file: String| {
            let bytes = self.file("input_file", &file)?;
            String::from_utf8(bytes).map_err(|_| format!("`{file}` is not UTF-8"))
        };
        match (row.input.take(), row.input_json.take(), row.input_file.take()) {
            (None, None, None) => Ok(None),
            (Some(value), None, None) => text_of_toml(&value).map(Some),
            // It may be no JSON: that a plugin's host refuses it can be what is tested.
            (None, Some(text), None) => Ok(Some(text)),
            (None, None, Some(file)) => of_file(file).map(Some),
            _ => Err("it has more than one of `input`, `input_json` and `input_file`".to_owned()),
        }
    }

    fn file(&self, key: &str, file: &str) -> Result<Vec<u8>, String> {
        inner_path(key, file)?;
        (self.read)(file).map_err(|reason| format!("`{key}`: `{file}` cannot be read: {reason}"))
    }
}

impl StepRow {
    /// Refuses what belongs to the other kind of step.
    fn refuse_foreign(&self, is_run: bool) -> Result<(), String> {
        let of_call = [
            ("input", self.input.is_some()),
            ("input_json", self.input_json.is_some()),
            ("input_file", self.input_file.is_some()),
            ("output", self.output.is_some()),
            ("output_json", self.output_json.is_some()),
            ("contains", self.contains.is_some()),
            ("contains_json", self.contains_json.is_some()),
            ("matches", self.matches.is_some()),
            ("log", self.log.is_some()),
        ];
        let of_run = [
            ("stdin", self.stdin.is_some()),
            ("stdin_file", self.stdin_file.is_some()),
            ("answers", self.answers.is_some()),
            ("exit", self.exit.is_some()),
            ("stdout", self.stdout.is_some()),
            ("stderr", self.stderr.is_some()),
        ];
        let given =
            |keys: &[(&'static str, bool)]| keys.iter().find(|(_, given)| *given).map(|(key, _)| *key);
        match is_run {
            true => given(&of_call).map_or(Ok(()), |key| {
                Err(format!("`{key}` is of a `call`; what is `run` has `stdin`, `stdout` and `stderr`"))
            }),
            false => given(&of_run).map_or(Ok(()), |key| {
                Err(format!(
                    "`{key}` is of a program that is `run`; a `call` has `input`, `output` and `log`"
                ))
            }),
        }
    }

    /// Refuses what is said beside `steps`.
    fn refuse_beside_steps(&self) -> Result<(), String> {
        let says = self.call.is_some() || self.run.is_some() || self.error.is_some() || self.snapshot;
        let says = says || self.refuse_foreign(true).is_err() || self.refuse_foreign(false).is_err();
        match says {
            true => Err("a case with `steps` says there what is done and expected".to_owned()),
            false => Ok(()),
        }
    }

    fn expect(self, budgets: Budgets, is_run: bool) -> Result<Expect, String> {
        let either = |names: [&str; 2], toml: Option<toml::Value>, text: Option<String>| match (toml, text) {
            (Some(_), Some(_)) => Err(format!("it has both `{}` and `{}`", names[0], names[1])),
            (Some(value), None) => json_of_toml(&value).map(Some),
            (None, Some(text)) => match Json::read(&text) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(format!("`{}` is no JSON: {error}", names[1])),
            },
            (None, None) => Ok(None),
        };
        let messages = match is_run {
            true => self.stderr.map(|text| ("standard error", text)),
            false => self.log.map(|text| ("the log", text)),
        };
        let expect = Expect {
            output: either(["output", "output_json"], self.output, self.output_json)?,
            contains: either(["contains", "contains_json"], self.contains, self.contains_json)?,
            matches: self.matches.as_deref().map(pattern).transpose()?,
            snapshot: self.snapshot,
            exit: self.exit.unwrap_or_default(),
            stdout: self.stdout.map(TextRow::read).transpose()?,
            messages: messages.map(|(name, text)| Ok::<_, String>((name, text.read()?))).transpose()?,
            budgets,
            error: match (self.error, self.error_contains, self.error_matches) {
                (Some(code), contains, matches) => {
                    let matches = matches.as_deref().map(pattern).transpose()?;
                    Some(ExpectedError { code, contains, matches })
                }
                (None, None, None) => None,
                _ => return Err("`error_contains` and `error_matches` go with `error`, its code".to_owned()),
            },
        };
        let is_answered = expect.output.is_some() || expect.contains.is_some() || expect.matches.is_some();
        match expect.error.is_some() && (is_answered || expect.snapshot || self.exit.is_some()) {
            true => {
                Err("what is to fail with `error` has no output, no snapshot and no exit code".to_owned())
            }
            false => Ok(expect),
        }
    }
}

impl BudgetRow {
    fn read(self) -> Result<Budgets, String> {
        let memory = self.max_memory.map(|size| match size {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Text(text) => Unit::Bytes.read(&text),
        });
        Ok(Budgets { fuel: self.max_fuel, memory: memory.transpose()?, host_calls: self.max_host_calls })
    }
}

/// An error of the library's as the reason of a fault.
fn told<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    })
}

fn json_of_toml(value: &toml::Value) -> Result<Json, String> {
    let text = text_of_toml(value)?;
    Json::read(&text).map_err(|error| error.to_string())
}

fn read_limits(section: &BTreeMap<String, toml::Value>) -> Result<Overrides, String> {
    let limits = section.iter().map(|(name, value)| {
        let kind: LimitKind = told(name.parse())?;
        if matches!(kind, LimitKind::Stack | LimitKind::HostMemory) {
            return Err(format!("`{kind}` is one value for all cases; `--{}` sets it", kind.flag()));
        }
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        told(kind.read(&text)).map(|value| (kind, value))
    });
    limits.collect()
}

fn read_clock(value: &toml::Value) -> Result<SystemTime, String> {
    let text = match value {
        toml::Value::Datetime(time) => time.to_string(),
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("`clock`: `{text}` is no time with its zone such as 2026-01-01T00:00:00Z"))?;
    match SystemTime::from(time) {
        time if time >= SystemTime::UNIX_EPOCH => Ok(time),
        _ => Err(format!("`clock`: `{text}` is before 1970, which a virtual clock cannot be")),
    }
}

/// A path that stays below where it begins, as far as it is text.
fn inner_path(key: &str, path: &str) -> Result<PathBuf, String> {
    let stays =
        Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match stays && !path.is_empty() && !path.contains('\0') {
        true => Ok(path.into()),
        false => Err(format!("`{key}`: `{path}` is no path within the folder")),
    }
}
