//! Running cases: each among fakes of its own, all of one plugin's code.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use airlock_host::testing::TestPlugin;
use airlock_host::{
    CAPABILITIES, CallOptions, Capability, CapabilityKind, Ceiling, CommandLine, Error, ErrorKind, Examined,
    Host, Input, LimitKind, LoadOptions, Plugin, ProgramInput, Risk, Source, StdinSource, Usage,
};
use tempfile::TempDir;

use super::Selected;
use super::answers::{Given, Script};
use super::case::{Action, Case, Step, Surroundings};
use super::expect::{Came, Failure};
use super::json::{How, Json};
use super::snapshot::{Content, Kept, Snapshots, file_name};
use crate::command::external::wrong;

/// What all cases are run with.
pub(super) struct Stage {
    host: Host,
    source: Source,
    options: LoadOptions,
    /// What is allowed where a case does not say: all that is asked for, and what flags say.
    asked: Vec<Capability>,
    /// What flags allow, beside what a case says.
    allowed: Vec<Capability>,
    /// The plugin's folder, without links.
    folder: PathBuf,
    is_component: bool,
    /// What fuel is limited to for all calls, if it is.
    fuel: Option<u64>,
    /// Whether the fuel of every call is counted.
    pub(super) metered: bool,
    pub(super) update: bool,
    /// The plugin as it was loaded first: as long as it is there, what is linked for it is.
    first: Option<Plugin>,
    scratch: TempDir,
}

/// What became of a case.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// None where it passed.
    pub(super) failures: Vec<Failure>,
    pub(super) time: Duration,
    /// Of each step that went well.
    pub(super) usage: Vec<Usage>,
    /// What the plugin had to say, in lines.
    pub(super) log: Vec<String>,
    /// What is odd about its being loaded.
    pub(super) warnings: Vec<String>,
    /// Snapshots that were written.
    pub(super) written: usize,
}

impl Stage {
    /// Loads the plugin once, so that what is wrong with it is told once, and its code is there for
    /// all cases.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(
        host: Host,
        source: Source,
        options: LoadOptions,
        allowed: Vec<Capability>,
        folder: &Path,
    ) -> Result<(Self, Examined), Error> {
        let examined = host.examine(source.clone(), &options)?;
        let stated =
            examined.manifest.as_ref().map(|manifest| manifest.requests.as_slice()).unwrap_or_default();
        let asked = examined.requests.iter();
        // As with all that is asked for: that a libc imports something is no request for it.
        let asked = asked
            .filter(|request| stated.contains(request) || request.capability.risk() == Risk::Low)
            .map(|request| request.capability.clone())
            .chain(allowed.iter().cloned())
            .collect();
        let scratch = tempfile::Builder::new().prefix("airlock-test-").tempdir();
        let mut stage = Stage {
            is_component: examined.shape.is_component,
            fuel: examined.limits.get(LimitKind::Fuel),
            folder: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
            host,
            source,
            options,
            asked,
            allowed,
            first: None,
            metered: false,
            update: false,
            scratch: scratch.map_err(|error| {
                Error::host("cannot make a folder for what the plugin keeps in files").with_source(error)
            })?,
        };
        let among = Surroundings { deterministic: true, ..Surroundings::default() };
        stage.first = match stage.host.load_blocking(stage.source.clone(), stage.options(&among, 0, false)) {
            Ok(plugin) => Some(plugin),
            // What it requires may be what each case says.
            Err(error) if matches!(error.kind(), ErrorKind::Denied(_)) => None,
            Err(error) => return Err(error),
        };
        Ok((stage, examined))
    }

    fn options(&self, among: &Surroundings, index: usize, metered: bool) -> LoadOptions {
        let working =
            among.folder.as_ref().map_or_else(|| self.folder.clone(), |inner| self.folder.join(inner));
        let is_file =
            |one: &&Capability| matches!(one.kind(), CapabilityKind::FsRead | CapabilityKind::FsWrite);
        let mut options = self
            .options
            .clone()
            .deterministic(among.deterministic)
            .limits(&among.limits)
            .working_folder(working)
            .working_is_project(true)
            .own_folder(self.scratch.path().join(index.to_string()))
            .ceiling(self.ceiling())
            // A link in the plugin's folder could lead anywhere; a path that a person typed may.
            .follow_symlinks(self.allowed.iter().any(|one| is_file(&one)));
        options = self.granted(among).into_iter().fold(options, LoadOptions::allow);
        options = among.deny.iter().cloned().fold(options, LoadOptions::deny);
        if let Some(start) = among.clock {
            options = options.virtual_clock(start);
        }
        if let Some(seed) = among.random_seed {
            options = options.random_seed(seed);
        }
        if metered && self.fuel.is_none() && !among.limits.contains_key(&LimitKind::Fuel) {
            options = options.limit(LimitKind::Fuel, u64::MAX);
        }
        options
    }

    fn granted(&self, among: &Surroundings) -> Vec<Capability> {
        match &among.allow {
            Some(allow) => allow.iter().chain(&self.allowed).cloned().collect(),
            None => self.asked.clone(),
        }
    }

    /// What no case has, whatever it says: what is no fake, but for what flags allow, files in the
    /// plugin's folder to read, and a folder of each case's own.
    fn ceiling(&self) -> Ceiling {
        let kinds = CAPABILITIES.iter().map(|row| row.kind).filter(|kind| match kind {
            CapabilityKind::FsRead | CapabilityKind::FsWrite => false,
            // A component connects by itself.
            CapabilityKind::Net => !self.is_component,
            _ => true,
        });
        let own = [CapabilityKind::FsRead, CapabilityKind::FsWrite]
            .into_iter()
            .filter_map(|kind| Capability::scoped(kind, "@").ok());
        let read = Capability::below(CapabilityKind::FsRead, &self.folder);
        let all = kinds.map(Capability::all_of).chain(own).chain(read);
        Ceiling::new().allow_only(all.chain(self.allowed.iter().cloned()))
    }

    /// An error of loading, with what to do about it in a case.
    fn explained(&self, error: Error, among: &Surroundings) -> Error {
        let ErrorKind::Denied(capability) = error.kind() else { return error };
        let kind = capability.kind();
        if among.allow.as_ref().is_some_and(|allow| allow.iter().all(|allowed| allowed.kind() != kind)) {
            let text = capability.to_string();
            return error.with_hint(format!("`allow = [{text:?}]` in the case grants it"));
        }
        let reason = match kind {
            CapabilityKind::FsRead | CapabilityKind::FsWrite => {
                "cases read in the plugin's folder and write in `@`"
            }
            CapabilityKind::Net if self.is_component => "what a component connects to is no fake",
            _ => return error,
        };
        let allow = airlock_host::allow_arguments([capability]);
        error.with_hint(format!("{reason}; `{allow}` with `airlock test` goes beyond that"))
    }

    /// Runs one case.
    fn run(&self, selected: &Selected<'_>, index: usize) -> Ran {
        let started = Instant::now();
        let mut ran = Ran::default();
        self.run_into(selected.case, &selected.snapshots, index, &mut ran);
        ran.time = started.elapsed();
        ran
    }

    fn run_into(&self, case: &Case, snapshots: &Snapshots, index: usize, ran: &mut Ran) {
        let among = &case.surroundings;
        let metered = self.metered || case.steps.iter().any(|step| step.expect.budgets.fuel.is_some());
        let mut options = self.options(among, index, metered);
        // What is kept from one step to the next is what steps are for.
        if let Some(keep) = among.keep_state.or(case.has_steps.then_some(true)) {
            options = options.keep_state(keep);
        }
        if let Some(failure) = among.folder.as_ref().and_then(|folder| self.outside(folder)) {
            ran.failures.push(failure);
            return;
        }
        let builder = TestPlugin::builder().options(options).beside(&self.host).fake(among.fakes.clone());
        let test = match builder.allow_nothing().load(self.source.clone()) {
            Ok(test) => test,
            // As if the first call had come to that: what is not granted is told when it is loaded.
            Err(error) => {
                let came = Came::Failed(self.explained(error, among));
                let failures = case.steps.first().map(|step| step.expect.judge(&came));
                ran.failures.extend(failures.unwrap_or_default());
                return;
            }
        };
        ran.warnings =
            crate::command::warnings(&test.plugin(), "allow", among.allow.as_deref().unwrap_or_default());
        for (at, step) in case.steps.iter().enumerate() {
            let number = case.has_steps.then_some(at + 1);
            let (came, mut failures) = step.action.run(&test);
            failures.extend(step.expect.judge(&came));
            if step.expect.snapshot && failures.is_empty() {
                let name = file_name(&case.name, number);
                failures.extend(self.snapshot(snapshots, &name, &came, &mut ran.written));
            }
            ran.usage.extend(came.usage().cloned());
            let log = String::from_utf8_lossy(came.messages()).into_owned();
            ran.log.extend(log.lines().map(str::to_owned));
            let failed = !failures.is_empty();
            ran.failures.extend(failures.into_iter().map(|failure| Failure { step: number, ..failure }));
            // What comes after it was to go on from there.
            if failed {
                break;
            }
        }
        if let Some(expected) = case.observed.as_ref().filter(|_| ran.failures.is_empty()) {
            ran.failures.extend(observed(&test, expected));
        }
    }

    fn snapshot(
        &self,
        snapshots: &Snapshots,
        name: &str,
        came: &Came,
        written: &mut usize,
    ) -> Option<Failure> {
        let content = match Content::of(came)? {
            Ok(content) => content,
            Err(reason) => return Some(Failure::new(format!("the output is no JSON: {reason}"))),
        };
        match snapshots.keep(name, &content, self.update) {
            Ok(Kept::Same) => None,
            Ok(Kept::Written) => {
                *written += 1;
                None
            }
            Ok(Kept::Differs(failure)) => Some(failure),
            Err(error) => Some(failed(&error)),
        }
    }

    /// Why a folder within the plugin's is none.
    fn outside(&self, inner: &Path) -> Option<Failure> {
        let reason = match self.folder.join(inner).canonicalize() {
            Ok(real) if real.starts_with(&self.folder) && real.is_dir() => return None,
            Ok(_) => "it is no folder within the plugin's".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(Failure::new(format!("`folder`: `{}`: {reason}", inner.display())))
    }
}

fn failed(error: &Error) -> Failure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(format!("{error}{cause}"))
}

/// In what the fakes were asked something else.
fn observed(test: &TestPlugin, expected: &Json) -> Option<Failure> {
    let found = serde_json::to_string(&test.observed()).and_then(|text| Json::read(&text));
    match found {
        Ok(found) => Failure::of_values("what was observed", expected, &found, How::Observed),
        Err(error) => Some(Failure::new(format!("what was observed has no form in JSON: {error}"))),
    }
}

impl Action {
    /// Does it, and gives what it came to, and what was wrong before anything is compared.
    fn run(&self, test: &TestPlugin) -> (Came, Vec<Failure>) {
        match self {
            Action::Call { function, input } => {
                let input = input.clone().map_or_else(|| Input::Words(Vec::new()), Input::Json);
                let called = test.managed().invoke_blocking_with(function, input, &CallOptions::new());
                let came = called.map_or_else(Came::Failed, |outcome| Came::Answered {
                    json: outcome.value.to_json_text(),
                    log: outcome.log,
                    usage: outcome.usage,
                });
                (came, Vec::new())
            }
            Action::Run { args, stdin, answers } => {
                // As a person types them.
                let args = match CommandLine::of(&test.plugin()) {
                    Some(line) => line.parse(args).map_err(|error| wrong(&error)),
                    None => Ok(args.clone()),
                };
                match args {
                    Ok(args) => run_program(test, args, stdin, answers.as_deref()),
                    Err(error) => (Came::Failed(error), Vec::new()),
                }
            }
        }
    }
}

fn run_program(
    test: &TestPlugin,
    args: Vec<String>,
    stdin: &[u8],
    answers: Option<&[Given]>,
) -> (Came, Vec<Failure>) {
    let input = ProgramInput::new().args(args).stdin(StdinSource::bytes(stdin.to_vec()));
    let script = answers.map(|answers| Arc::new(Script::new(answers)));
    let input = match &script {
        Some(script) => input.console(script.clone()),
        None => input,
    };
    let ran = test.run(input);
    let told = script.map(|script| script.told()).unwrap_or_default();
    let came = ran.map_or_else(Came::Failed, |mut outcome| {
        // What was shown while it ran came before what was kept for its end.
        outcome.value.stdout.splice(..0, told.stdout);
        outcome.value.stderr.splice(..0, told.stderr);
        Came::Ended { program: outcome.value, usage: outcome.usage }
    });
    (came, told.faults.into_iter().map(Failure::new).collect())
}

/// Runs cases on so many threads, and has each told in its turn, in the order of the cases.
///
/// With `fail_fast` no case is begun once one has failed. Those that were not have no result, and
/// neither have those that are skipped.
///
/// # Errors
/// What `tell` fails with; a thread that cannot be started.
pub(super) fn all(
    stage: &Stage,
    cases: &[Selected<'_>],
    jobs: NonZero<usize>,
    fail_fast: bool,
    mut tell: impl FnMut(usize, &Ran) -> Result<(), Error>,
) -> Result<Vec<Option<Ran>>, Error> {
    let mut turns = Turns { cases, results: cases.iter().map(|_| None).collect(), told: 0 };
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |done: &mpsc::Sender<(usize, Ran)>| {
        while !stopped.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(selected) = cases.get(index) else { break };
            if selected.case.skip.is_some() {
                continue;
            }
            let ran = stage.run(selected, index);
            if fail_fast && !ran.failures.is_empty() {
                stopped.store(true, Ordering::Relaxed);
            }
            if done.send((index, ran)).is_err() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs.get().min(cases.len()) {
            let (sender, work) = (sender.clone(), &work);
            let spawned = std::thread::Builder::new()
                .name("airlock-test".to_owned())
                .spawn_scoped(scope, move || work(&sender));
            if let Err(error) = spawned {
                stopped.store(true, Ordering::Relaxed);
                return Err(Error::host("cannot start a thread").with_source(error));
            }
        }
        drop(sender);
        for (index, ran) in receiver {
            turns.results[index] = Some(ran);
            // Where nobody reads what is told, nothing more is begun.
            turns.tell(false, &mut tell).inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
        }
        turns.tell(true, &mut tell)
    })?;
    Ok(turns.results)
}

/// Whose turn it is to be told.
struct Turns<'a> {
    cases: &'a [Selected<'a>],
    results: Vec<Option<Ran>>,
    told: usize,
}

impl Turns<'_> {
    /// Tells all that are done before the first that is not. When all `is_over`, no more will be.
    fn tell(
        &mut self,
        is_over: bool,
        tell: &mut impl FnMut(usize, &Ran) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some(selected) = self.cases.get(self.told) {
            match &self.results[self.told] {
                Some(ran) => tell(self.told, ran)?,
                None if selected.case.skip.is_some() => tell(self.told, &Ran::default())?,
                None if is_over => {}
                None => break,
            }
            self.told += 1;
        }
        Ok(())
    }
}

impl Step {
    /// Whether it has a snapshot.
    pub(super) fn has_snapshot(&self) -> bool {
        self.expect.snapshot
    }
}
