//! `airlock watch`: folders of plugins that run, and what happens to them.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use airlock_host::manager::{
    Allowed, CrashPolicy, Managed, Manager, Notice, PluginEvent, ReloadStrategy, Reloaded, Snapshot,
    WatchOptions,
};
use airlock_host::{
    Answer, Approval, Error, ErrorKind, Input, Plugin, ProgramInput, block_on, escape_json, visible,
};
use clap::{Parser, Subcommand};
use serde_json::{Map, Value, json};

use super::external::{self, Typed};
use super::{Session, metrics};
use crate::flags::{CrashFlag, ReloadFlag, Watch};
use crate::printer::Printer;

/// How often the file of metrics is written anew, where something was called.
const METRICS: Duration = Duration::from_secs(1);

/// How long calls may finish when it ends.
const GRACE: Duration = Duration::from_secs(5);

/// What the main thread is told.
enum Message {
    Notice(Notice),
    /// There are no more.
    AllTold,
    /// Somebody wants it to end.
    End,
}

pub(super) fn run(session: &Session, watch: &Watch) -> Result<u8, Error> {
    if let Some(name) = watch.load.name() {
        let reason = format!("`{name}` cannot be the name of every plugin of a folder");
        return Err(Error::new(ErrorKind::InvalidSetting { name: "--name".to_owned(), reason }));
    }
    let manager = Manager::new(host(session, watch)?);
    // Where it cannot be written is known before anything runs.
    keep(watch.metrics.as_deref(), &manager.snapshot())?;
    let _sending = session.sending();
    let (sender, messages) = mpsc::channel();
    let mut events = manager.events();
    let said = sender.clone();
    spawn("events", move || {
        while let Some(notice) = events.next_blocking() {
            if said.send(Message::Notice(notice)).is_err() {
                return;
            }
        }
        let _ = said.send(Message::AllTold);
    })?;
    let stop = sender.clone();
    ctrlc::set_handler(move || {
        // Whoever asks twice is already being served.
        let _ = stop.send(Message::End);
    })
    .map_err(|error| Error::host("cannot be told to end").with_source(error))?;

    let watching = manager.watch_blocking(&watch.folders, options(session, watch)?)?;
    let lines = Lines { manager: manager.clone(), printer: session.printer, done: Arc::default() };
    let end = sender;
    spawn("lines", move || lines.read(&end))?;
    serve(session, watch, &manager, &messages)?;

    drop(watching);
    let cut = block_on(manager.drain(GRACE));
    if cut > 0 {
        session.printer.note(&format!("calls that did not end by themselves: {cut}"));
    }
    keep(watch.metrics.as_deref(), &manager.snapshot())?;
    block_on(manager.shutdown(Duration::ZERO));
    // What was told before it ended is still to be printed.
    while let Ok(message) = messages.recv() {
        match message {
            Message::Notice(notice) => tell(session.printer, &notice)?,
            Message::AllTold => break,
            Message::End => {}
        }
    }
    Ok(0)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new()
        .name(format!("airlock-{name}"))
        .spawn(work)
        .map(|_| ())
        .map_err(|error| Error::host("cannot start a thread").with_source(error))
}

/// A host for many calls. Nobody is asked anything: whoever is at the terminal types calls.
fn host(session: &Session, watch: &Watch) -> Result<airlock_host::Host, Error> {
    let store = session.store()?;
    let approval = Approval::new(store.clone()).carry_over(session.config.grants.keep_on_update);
    let builder = session.config.host(&watch.load.limits()?);
    let mut builder = builder.approval(approval).services(session.services(store.data()));
    if session.config.audit.calls {
        builder = builder.audit(store.clone(), session.config.audit.on_failure());
    }
    session.compiling(builder, watch.load.no_cache)
}

fn options(session: &Session, watch: &Watch) -> Result<WatchOptions, Error> {
    let strategy = match watch.reload {
        ReloadFlag::Immediate => ReloadStrategy::Immediate,
        ReloadFlag::Debounced(None) => ReloadStrategy::default(),
        ReloadFlag::Debounced(Some(time)) => ReloadStrategy::Debounced(time),
        ReloadFlag::Manual => ReloadStrategy::Manual,
        ReloadFlag::Idle(time) => ReloadStrategy::OnIdle(time.unwrap_or(Duration::from_secs(5))),
    };
    let crash = match watch.on_crash {
        CrashFlag::Restart => CrashPolicy::Restart,
        CrashFlag::Fail => CrashPolicy::Fail,
        CrashFlag::BackOff { first, longest } => CrashPolicy::BackOff { first, longest },
    };
    let allowed = if watch.keep_allowed { Allowed::AnyBytes } else { Allowed::TheseBytes };
    let mut options = WatchOptions::new()
        .strategy(strategy)
        .allowed(allowed)
        .on_crash(crash)
        .load(watch.load.options()?)
        .start();
    if let Some(idle) = watch.stop_idle {
        options = options.stop_idle_after(idle);
    }
    let store = session.store()?.clone();
    Ok(options.check(move |path: &Path, plugin: &Plugin| super::refuse_namesake(&store, plugin, path)))
}

/// Prints what happens until somebody ends it.
fn serve(
    session: &Session,
    watch: &Watch,
    manager: &Manager,
    messages: &Receiver<Message>,
) -> Result<(), Error> {
    let mut written = None;
    loop {
        match messages.recv_timeout(METRICS) {
            Ok(Message::Notice(notice)) => tell(session.printer, &notice)?,
            Ok(Message::AllTold | Message::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if watch.metrics.is_some() => {
                let snapshot = manager.snapshot();
                if written != Some(snapshot.total.calls) {
                    written = Some(snapshot.total.calls);
                    keep(watch.metrics.as_deref(), &snapshot)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn tell(printer: Printer, notice: &Notice) -> Result<(), Error> {
    match notice {
        Notice::Event(event) => match printer.json {
            true => printer.object(true, fields(event)),
            false => {
                let now = jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string();
                printer.line(&format!("{now} {event}"))
            }
        },
        Notice::Missed(missed) if printer.json => {
            printer.object(true, Map::from_iter([("missed".to_owned(), json!(missed))]))
        }
        Notice::Missed(missed) => printer.line(&format!("{missed} events were missed")),
        _ => Ok(()),
    }
}

fn fields(event: &PluginEvent) -> Map<String, Value> {
    match json!(event) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Writes the metrics where `airlock metrics` reads them, all or nothing.
fn keep(file: Option<&Path>, snapshot: &Snapshot) -> Result<(), Error> {
    let Some(file) = file else { return Ok(()) };
    let unusable = |error: std::io::Error| {
        let reason = "the metrics cannot be written there".to_owned();
        Error::new(ErrorKind::StateUnusable { path: file.to_owned(), reason }).with_source(error)
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(unusable)?;
    std::io::Write::write_all(&mut beside, json!(snapshot).to_string().as_bytes()).map_err(unusable)?;
    beside.persist(file).map_err(|error| unusable(error.error))?;
    Ok(())
}

/// What can be typed while plugins run.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, help_template = "{subcommands}")]
struct Line {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Call a function
    Call {
        /// The plugin's name, or a word of the command line that is its
        plugin: String,
        /// The function
        function: String,
        /// JSON; for a `raw` plugin its numbers
        #[arg(allow_negative_numbers = true)]
        input: Vec<String>,
    },
    /// Run a program
    Run {
        /// Its name
        plugin: String,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Load a plugin again from its file
    Reload {
        /// Its name
        plugin: String,
    },
    /// Go back to the bytes before the last reload
    Rollback {
        /// The plugin's name
        plugin: String,
    },
    /// Start a plugin afresh, whatever it crashed of
    Restart {
        /// Its name
        plugin: String,
    },
    /// Show the plugins
    List,
    /// Show what calls came to
    Metrics,
    /// End it
    Quit,
}

/// What is read from standard input, a line at a time.
struct Lines {
    manager: Manager,
    printer: Printer,
    done: Arc<AtomicUsize>,
}

impl Lines {
    /// Does what each line says. The end of what is typed is the end of it all, unless nothing
    /// ever was.
    fn read(&self, end: &Sender<Message>) {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if line.trim().is_empty() {
                continue;
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            match self.line(&line) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.printer.error(&error),
            }
        }
        if self.done.load(Ordering::Relaxed) > 0 {
            // Nobody to tell when it has ended already.
            let _ = end.send(Message::End);
        }
    }

    /// Whether there is more to come.
    fn line(&self, line: &str) -> Result<bool, Error> {
        let invalid = |reason: String| {
            let name = visible(line, false).into_owned();
            Error::new(ErrorKind::InvalidSetting { name, reason })
        };
        let words = shell_words::split(line).map_err(|error| invalid(error.to_string()))?;
        let Line { order } = match Line::try_parse_from(words) {
            Ok(line) => line,
            Err(error) if !error.use_stderr() => {
                self.printer.note(error.to_string().trim_end());
                return Ok(true);
            }
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let reason = first.trim_start_matches("error: ").to_owned();
                return Err(invalid(reason).with_hint("`help` shows what can be typed here"));
            }
        };
        match order {
            Order::Call { plugin, function, input } => self.call(&self.named(&plugin)?, &function, input)?,
            Order::Run { plugin, args } => self.program(&self.named(&plugin)?, args)?,
            Order::Reload { plugin } => {
                // What came of it is told as an event.
                if self.manager.reload_blocking(&plugin)? == Reloaded::Unchanged {
                    self.printer.note(&format!("`{plugin}` is what it was"));
                }
            }
            Order::Rollback { plugin } => self.manager.roll_back(&plugin)?,
            Order::Restart { plugin } => block_on(self.manager.get(&plugin)?.restart())?,
            Order::List => self.list()?,
            Order::Metrics => metrics::show(self.printer, &self.manager.snapshot())?,
            Order::Quit => return Ok(false),
        }
        Ok(true)
    }

    fn named(&self, name: &str) -> Result<Managed, Error> {
        self.manager.get(name).or_else(|error| self.manager.command(name).map_err(|_| error))
    }

    fn call(&self, managed: &Managed, function: &str, input: Vec<String>) -> Result<(), Error> {
        let abi = managed.plugin().abi();
        if abi.is_program() {
            return Err(Error::new(ErrorKind::WrongVerb { abi, asked: "called" }));
        }
        let outcome = managed.invoke_blocking(function, Input::Words(input))?;
        if self.printer.json {
            return self.printer.answer_object(&outcome.value.to_json_text(), &outcome.log, &outcome.usage);
        }
        self.printer.log(managed.name(), &outcome.log);
        match &outcome.value {
            Answer::Values(values) => {
                values.iter().try_for_each(|value| self.printer.line(&value.to_string()))?;
            }
            other => self.printer.line(&escape_json(&other.to_json_text()))?,
        }
        self.printer.usage(&outcome.usage);
        Ok(())
    }

    fn program(&self, managed: &Managed, args: Vec<String>) -> Result<(), Error> {
        let words = args.into_iter().map(Into::into).collect();
        let Typed::Values(args) = external::read(self.printer, &managed.plugin(), words, false)? else {
            return Ok(());
        };
        let outcome = managed.run_blocking(ProgramInput::new().args(args))?;
        let program = &outcome.value;
        if self.printer.json {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let value = json!({ "code": program.code, "stdout": text(&program.stdout), "stderr": text(&program.stderr) });
            return self.printer.answer_object(&value.to_string(), &outcome.log, &outcome.usage);
        }
        self.printer.program_errors(&program.stderr);
        self.printer.program_output(&program.stdout, false)?;
        if program.code != 0 {
            self.printer.note(&format!("`{}` left with {}", managed.name(), program.code));
        }
        self.printer.usage(&outcome.usage);
        Ok(())
    }

    fn list(&self) -> Result<(), Error> {
        let infos: Vec<_> =
            self.manager.list().iter().filter_map(|name| self.manager.info(name).ok()).collect();
        if self.printer.json {
            return self.printer.object(true, Map::from_iter([("plugins".to_owned(), json!(infos))]));
        }
        self.printer.table(infos.iter().map(|info| {
            let version = info.version.clone().unwrap_or_default();
            [
                info.name.to_string(),
                version,
                info.abi.to_string(),
                info.digest.short().to_string(),
                info.state.to_string(),
            ]
        }))
    }
}
