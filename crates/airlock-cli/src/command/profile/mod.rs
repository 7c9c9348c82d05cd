//! `airlock profile`: in which of its functions a plugin spends its time.

mod figures;
mod firefox;
mod flame;

use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use airlock_host::{Error, ErrorKind, HostBuilder, LimitKind, Phase, Plugin, Sampler, Samples, visible};
use serde_json::{Value, json};

use self::figures::{Figures, folded, place};
use super::Session;
use super::work::Work;
use crate::flags::Profile;
use crate::printer::error_json;
use crate::prompt::Terminal;
use crate::spinner;

/// What the calls came to.
struct Called {
    /// How many were made, one that failed included.
    calls: u64,
    wall: Duration,
    host_calls: u64,
    /// Why the last one failed.
    error: Option<Error>,
}

pub(super) fn run(session: &Session, profile: &Profile) -> Result<u8, Error> {
    [&profile.svg, &profile.firefox, &profile.folded]
        .into_iter()
        .flatten()
        .try_for_each(|path| writable(path))?;
    let options = profile.load.options()?.sampler(Sampler::every(profile.interval));
    let plugin = session.load_with(&profile.plugin, &profile.load, options, builder(session, profile)?)?;
    let mut work = Work::of(&plugin, profile.function.as_deref(), &profile.input)?;
    if let Some(path) = &profile.stdin {
        let Work::Run { stdin, .. } = &mut work else {
            return Err(Error::new(ErrorKind::InvalidSetting {
                name: "--stdin".to_owned(),
                reason: "the plugin is no program".to_owned(),
            }));
        };
        *stdin = read_stdin(path, plugin.limits().value(LimitKind::Input))?;
    }
    let message = format!("profiling {}", visible(plugin.name(), false));
    let (called, samples) = spinner::while_doing(&message, session.quiet, || {
        // What was seen up to now is of loading.
        plugin.samples();
        let called = call(&plugin, &work, profile);
        let samples = plugin.samples().ok_or_else(|| Error::host("a plugin that nobody looked at"));
        samples.map(|samples| (called, samples))
    })?;
    let figures = Figures::of(&samples);
    let written = write(profile, &plugin, &samples, &figures);
    if session.printer.json {
        written?;
        let fields = as_json(profile, &plugin, &samples, &figures, &called);
        session.object(called.error.is_none(), fields)?;
        return Ok(called.error.map_or(0, |error| error.exit_code()));
    }
    print(session, profile, &samples, &figures, &called)?;
    if !plugin.shape().has_names {
        session
            .printer
            .note("the module has no names of functions: whatever strips it has to be told to leave them in");
    }
    let Some(error) = called.error else { return written.map(|()| 0) };
    if let Err(unwritten) = written {
        session.printer.warning(&unwritten.to_string());
    }
    if let Some(printed) = error.printed() {
        session.printer.log(plugin.name(), &printed.stderr);
    }
    Err(error)
}

/// A host for calls that are no calls of anybody's: they are not in the audit log.
fn builder(session: &Session, profile: &Profile) -> Result<HostBuilder, Error> {
    let approval = session.approval()?.prompt(Terminal);
    session.approving(session.host(&profile.load)?, approval)
}

fn read_stdin(path: &Path, maximum: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = maximum.saturating_add(1);
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Error::new(ErrorKind::Unreadable(path.into())).with_source(error))?;
    if bytes.len() as u64 > maximum {
        let (limit, phase) = (LimitKind::Input, Phase::Call);
        return Err(Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase }));
    }
    Ok(bytes)
}

/// Calls the plugin again and again, until it was often or long enough or fails.
fn call(plugin: &Plugin, work: &Work<'_>, profile: &Profile) -> Called {
    let began = Instant::now();
    let mut called = Called { calls: 0, wall: Duration::ZERO, host_calls: 0, error: None };
    let is_enough = |called: &Called| match profile.calls {
        Some(calls) => called.calls >= calls.get(),
        None => began.elapsed() >= *profile.time,
    };
    while called.error.is_none() && (called.calls == 0 || !is_enough(&called)) {
        called.calls += 1;
        match work.once(plugin) {
            Ok(usage) => called.host_calls += usage.host_calls,
            Err(error) => called.error = Some(error),
        }
    }
    called.wall = began.elapsed();
    called
}

/// Whether a file can be written there, as far as that can be told before the plugin is called.
fn writable(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match (path.is_dir(), folder.is_none_or(Path::is_dir)) {
        (true, _) => Err(unwritable(path, io::ErrorKind::IsADirectory.into())),
        (false, false) => Err(unwritable(path, io::ErrorKind::NotFound.into())),
        (false, true) => Ok(()),
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::host(format!("cannot write `{}`", path.display())).with_source(error)
}

/// Writes the files that were asked for.
fn write(profile: &Profile, plugin: &Plugin, samples: &Samples, figures: &Figures) -> Result<(), Error> {
    let title = match &profile.function {
        Some(function) if !plugin.abi().is_program() => format!("{} {function}", plugin.name()),
        _ => plugin.name().to_owned(),
    };
    let write =
        |path: &Path, bytes: Vec<u8>| std::fs::write(path, bytes).map_err(|error| unwritable(path, error));
    if let Some(path) = &profile.folded {
        write(path, folded(samples).into_bytes())?;
    }
    if let Some(path) = &profile.svg {
        write(path, flame::draw(&title, samples, figures)?)?;
    }
    if let Some(path) = &profile.firefox {
        write(path, firefox::profile(&title, samples)?)?;
    }
    Ok(())
}

fn print(
    session: &Session,
    profile: &Profile,
    samples: &Samples,
    figures: &Figures,
    called: &Called,
) -> Result<(), Error> {
    let printer = session.printer;
    let all = samples.samples.len();
    let share = |count: usize| format!("{:>6}", format!("{:.1}%", percent(count, all)));
    let heads = ["  self", " total", "samples", "function", "source"].map(str::to_owned);
    let rows = figures.functions.iter().take(profile.top).map(|function| {
        [
            share(function.own),
            share(function.total),
            format!("{:>7}", function.own),
            samples.functions[function.function].name.clone(),
            place(samples, function.line).unwrap_or_default(),
        ]
    });
    if all > 0 {
        printer.table([heads].into_iter().chain(rows))?;
        if let rest @ 1.. = figures.functions.len().saturating_sub(profile.top) {
            printer.line(&format!("and {rest} more"))?;
        }
        printer.line("")?;
    }
    let calls = if called.calls == 1 { "1 call".to_owned() } else { format!("{} calls", called.calls) };
    let interval = humantime::format_duration(samples.interval);
    let mut lines = vec![
        ("samples", format!("{all} in {calls} and {:.1} s, one each {interval}", called.wall.as_secs_f64())),
        ("unseen", format!("{:.1}% of the time", unseen(samples))),
        ("host calls", called.host_calls.to_string()),
    ];
    if samples.lost > 0 {
        lines.push(("lost", format!("{} more samples than are kept", samples.lost)));
    }
    printer.rows(lines.into_iter().map(|(label, line)| (label, vec![line])))?;
    if all == 0 {
        printer.note("no call ran long enough to be seen: `--time` takes longer, `--interval` looks oftener");
    }
    Ok(())
}

fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// The part of the time in which no guest came to where it can be seen, in hundredths.
fn unseen(samples: &Samples) -> f64 {
    let seen = samples.samples.len() as u64 + samples.lost;
    100.0 * samples.ticks.saturating_sub(seen) as f64 / samples.ticks.max(1) as f64
}

fn as_json(
    profile: &Profile,
    plugin: &Plugin,
    samples: &Samples,
    figures: &Figures,
    called: &Called,
) -> Value {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let functions = figures.functions.iter().take(profile.top).map(|function| {
        let line = function.line.map(|line| &samples.lines[line]);
        json!({
            "function": samples.functions[function.function].name,
            "file": line.map(|(file, _)| file),
            "line": line.map(|(_, line)| line),
            "self": function.own,
            "total": function.total,
        })
    });
    let mut fields = json!({
        "name": plugin.name(),
        "digest": plugin.digest(),
        "abi": plugin.abi(),
        "function": profile.function,
        "calls": called.calls,
        "host_calls": called.host_calls,
        "wall_ns": nanoseconds(called.wall),
        "interval_ns": nanoseconds(samples.interval),
        "ticks": samples.ticks,
        "samples": samples.samples.len(),
        "lost": samples.lost,
        "functions": functions.collect::<Vec<_>>(),
    });
    if let Some(error) = &called.error {
        fields["error"] = error_json(error);
    }
    fields
}
