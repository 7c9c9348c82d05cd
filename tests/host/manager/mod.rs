//! Many plugins by their names.

mod busy;
mod cache;
mod counting;
mod reload;
mod sessions;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, SystemTime};

use airlock_host::manager::{Happened, Managed, Manager, Notice, PluginEvents, PluginState};
use airlock_host::{
    AbiId, Approval, Error, Host, Input, LimitKind, LoadOptions, MemoryGrants, Outcome, Prompt, Question,
};

use crate::support::{MODES, Mode, host, source, survives, text};

/// Keeps a number between calls, as `raw` plugins do.
const COUNTER: &str = r#"(module (memory (export "memory") 1)
    (global $n (mut i32) (i32.const 0))
    (func (export "count") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
    (func (export "trap") unreachable)
    (func (export "spin") (loop $again (br $again))))"#;

const ADD: &str = r#"(module (memory (export "memory") 1)
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (data (i32.const 16) "42")
    (func (export "answer") (param i32 i32) (result i32) (i32.const 16))
    (func (export "spin") (param i32 i32) (result i32) (loop $again (br $again)) unreachable))"#;

fn words() -> Input {
    Input::Words(Vec::new())
}

/// One word of JSON.
fn one() -> Input {
    Input::Words(vec!["1".to_owned()])
}

fn invoke(mode: Mode, manager: &Manager, name: &str, function: &str) -> Result<String, Error> {
    let outcome: Result<Outcome<_>, _> = match mode {
        Mode::Blocking => manager.invoke_blocking(name, function, words()),
        _ => mode.wait(manager.invoke(name, function, words())),
    };
    outcome.map(|outcome| outcome.value.to_json_text())
}

/// Waits for what another thread does.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} does not come");
        std::thread::yield_now();
    }
}

/// The mode in which a future of it is awaited.
fn awaited(mode: Mode) -> Mode {
    if mode == Mode::Blocking { Mode::NoRuntime } else { mode }
}

fn unload(mode: Mode, manager: &Manager, name: &str) -> Result<(), Error> {
    match mode {
        Mode::Blocking => manager.unload_blocking(name),
        _ => mode.wait(manager.unload(name)),
    }
}

/// A plugin's folder with a manifest.
fn put_plugin(folder: &Path, name: &str, manifest: &str, wat: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("p.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    let manifest = format!(r#"{{"name":"{name}","version":"1.0.0","entryPoint":"p.wasm"{manifest}}}"#);
    std::fs::write(path.join("cortex.json"), manifest).unwrap();
    path
}

fn names(manager: &Manager) -> Vec<String> {
    manager.list().iter().map(ToString::to_string).collect()
}

/// What happened so far, of the plugins by name.
fn told(events: &mut PluginEvents) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .map(|notice| match notice {
            Notice::Event(event) => match event.what {
                Happened::Executed { function, outcome, .. } => {
                    format!("{} {function} {outcome}", event.plugin)
                }
                Happened::StateChanged { from, to } => format!("{} {from} > {to}", event.plugin),
                Happened::Loaded { .. } => format!("{} loaded", event.plugin),
                Happened::Initialised => format!("{} initialised", event.plugin),
                Happened::Trapped { function, reason } => {
                    format!("{} {function} trapped: {reason}", event.plugin)
                }
                Happened::LimitHit { function, limit } => format!("{} {function} hit {limit}", event.plugin),
                Happened::Unloaded => format!("{} unloaded", event.plugin),
                Happened::Reloaded { .. } => format!("{} reloaded", event.plugin),
                Happened::ReloadFailed { reason } => format!("{} not reloaded: {reason}", event.plugin),
                Happened::LoadFailed { reason } => format!("{} not loaded: {reason}", event.plugin),
                Happened::Changed { .. } => format!("{} changed", event.plugin),
                Happened::Restarted { crashes } => format!("{} restarted after {crashes}", event.plugin),
                Happened::Resting { crashes, rest_ms } => {
                    format!("{} rests {rest_ms:?} after {crashes}", event.plugin)
                }
                Happened::Idle { .. } => format!("{} idle", event.plugin),
                Happened::Denied { capability, times } => {
                    format!("{} denied {capability} {times} times", event.plugin)
                }
                Happened::AsksForMore { more, .. } => {
                    let more: Vec<String> = more.iter().map(ToString::to_string).collect();
                    format!("{} asks for {}", event.plugin, more.join(" "))
                }
                Happened::CleanUpFailed { reason } => format!("{} left: {reason}", event.plugin),
                other => format!("{other:?}"),
            },
            Notice::Missed(count) => format!("missed {count}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn of_racing_loads_of_one_name_exactly_one_wins() {
    let manager = Manager::new(host());
    for round in 0..20 {
        let (start, won) = (Barrier::new(8), AtomicUsize::new(0));
        let name = format!("one {round}");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    match manager.load_blocking(&name, source(COUNTER), text()) {
                        Ok(_) => {
                            won.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert_eq!(error.code(), "name-taken");
                            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
                        }
                    }
                });
            }
        });
        assert_eq!(won.load(Ordering::SeqCst), 1);
    }
    assert_eq!(manager.list().len(), 20);
    assert_eq!(manager.unload_all_blocking(), 20);
    assert_eq!(manager.list().len(), 0);
}

#[test]
fn of_two_plugins_of_one_name_both_are_named() {
    let manager = Manager::new(host());
    let options = || text().name("weather");
    let held = manager.load_blocking("forecast", source(ADD), options()).unwrap();
    let error = manager.load_blocking("forecast", "some/where", options()).unwrap_err();
    let digest = held.plugin().digest().short().to_string();
    assert_eq!(
        error.to_string(),
        format!("`weather` ({digest}) and `some/where` both want the name `forecast`")
    );
    let error = manager.insert("forecast", &held.plugin()).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("`weather` ({digest}) and `weather` ({digest})")),
        "{error}"
    );
}

#[test]
fn a_load_that_fails_gives_its_name_back() {
    let manager = Manager::new(host());
    let error = manager.load_blocking("one", b"no wasm".as_slice(), LoadOptions::new()).unwrap_err();
    assert_eq!(error.code(), "not-wasm");
    // Also one that is given up while it runs.
    futures_executor::block_on(async {
        let mut load = Box::pin(manager.load("one", source(COUNTER), text()));
        let poll = std::future::poll_fn(|context| std::task::Poll::Ready(load.as_mut().poll(context))).await;
        drop(poll);
    });
    manager.load_blocking("one", source(COUNTER), text()).unwrap();
}

#[test]
fn an_unknown_name_is_an_error_with_what_is_near() {
    let manager = Manager::new(host());
    manager.load_blocking("weather", source(ADD), text()).unwrap();
    for error in [
        manager.get("wether").unwrap_err(),
        manager.unload_blocking("wether").unwrap_err(),
        manager.info("wether").unwrap_err(),
        manager.invoke_blocking("wether", "f", words()).unwrap_err(),
    ] {
        assert_eq!((error.code(), error.exit_code()), ("not-loaded", 127));
        assert_eq!(error.to_string(), "no plugin is loaded as `wether`");
        assert_eq!(error.hint(), Some("did you mean `weather`?"));
    }
}

#[test]
fn plugins_are_listed_and_looked_up_by_what_they_are() {
    let manager = Manager::new(host());
    let before = SystemTime::now();
    for name in ["c", "a", "b"] {
        manager.load_blocking(name, source(if name == "b" { COUNTER } else { ADD }), text()).unwrap();
    }
    let after = SystemTime::now();
    assert_eq!(names(&manager), ["a", "b", "c"]);
    let by_abi = |abi| manager.with_abi(abi).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (by_abi(AbiId::Raw), by_abi(AbiId::Json)),
        (vec!["b".to_owned()], vec!["a".into(), "c".into()])
    );
    let millis = |time: SystemTime| {
        u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    };
    let info = manager.info("a").unwrap();
    assert!(
        (millis(before)..=millis(after)).contains(&info.loaded_at) && info.last_call.is_none(),
        "{info:?}"
    );
    manager.invoke_blocking("a", "answer", one()).unwrap();
    let called = manager.info("a").unwrap();
    assert_eq!(called.loaded_at, info.loaded_at, "it is when it was loaded and not when it is asked");
    assert!(called.last_call.is_some_and(|at| at >= info.loaded_at));
}

#[test]
fn what_may_be_used_is_looked_up_in_what_is_in_force() {
    let manager = Manager::new(host());
    let clock: airlock_host::Capability = "clock".parse().unwrap();
    let asks = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (memory (export "memory") 1) (func (export "f") (result i32) i32.const 1))"#;
    manager.load_blocking("with", source(asks), text().allow(clock.clone())).unwrap();
    manager.load_blocking("without", source(asks), text()).unwrap();
    assert_eq!(manager.with_capability(&clock), ["with".into()]);
}

#[test]
fn unloading_waits_for_nobody_and_ends_what_spins() {
    let host = host();
    let manager = Manager::new(host.clone());
    for mode in MODES {
        manager.load_blocking("spinning", source(ADD), text()).unwrap();
        manager.load_blocking("other", source(ADD), text()).unwrap();
        let kept = manager.get("spinning").unwrap();
        std::thread::scope(|scope| {
            let spinning = scope.spawn(|| {
                let call = |function: &'static str| match mode {
                    Mode::Blocking => kept.invoke_blocking(function, one()),
                    _ => mode.wait(kept.invoke(function, one())),
                };
                (call("spin").unwrap_err(), call("answer").unwrap_err())
            });
            while host.memory_used() == 0 {
                std::thread::yield_now();
            }
            // While it spins, others are listed and called.
            assert_eq!(names(&manager), ["other", "spinning"]);
            assert_eq!(manager.invoke_blocking("other", "answer", one()).unwrap().value.to_json_text(), "42");
            unload(mode, &manager, "spinning").unwrap();
            assert_eq!(names(&manager), ["other"], "it is gone at once");
            let (running, later) = spinning.join().unwrap();
            assert_eq!((running.code(), later.code()), ("cancelled", "not-loaded"), "{mode:?}");
        });
        assert_eq!(host.memory_used(), 0, "memory is given back");
        unload(mode, &manager, "other").unwrap();
    }
    survives(&host);
}

#[test]
fn two_plugins_one_command_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| put_plugin(folder.path(), name, r#","cliCommands":[{"name":"greet"}]"#, ADD);
    let (one, two) = (put("one"), put("two"));
    let manager = Manager::new(host());
    manager.load_blocking("first", one.as_path(), LoadOptions::new()).unwrap();
    let error = manager.load_blocking("second", two.as_path(), LoadOptions::new()).unwrap_err();
    assert_eq!(error.code(), "command-taken");
    assert!(error.to_string().contains("first") && error.to_string().contains("second"), "{error}");
    assert_eq!(manager.command("greet").unwrap().name().as_ref(), "first");
    assert_eq!(manager.info("first").unwrap().commands, ["greet"]);
    manager.unload_blocking("first").unwrap();
    assert_eq!(manager.command("greet").unwrap_err().code(), "not-loaded");
    manager.load_blocking("second", two.as_path(), LoadOptions::new()).unwrap();
    assert_eq!(manager.command("greet").unwrap().name().as_ref(), "second");

    let found = manager.discover([folder.path(), "/nowhere/at/all".as_ref()]);
    let plugins: Vec<&str> = found.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(
        (plugins, found.plugins[0].commands.as_slice()),
        (vec!["one", "two"], &["greet".to_owned()][..])
    );
    assert_eq!(found.failures.len(), 1, "{:?}", found.failures);
}

#[test]
fn discovery_lists_what_it_cannot_read_and_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.wasm"), wat::parse_str(ADD).unwrap()).unwrap();
    std::fs::write(folder.path().join("a.wasm"), "no wasm").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "text").unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let found = Manager::new(host()).discover([folder.path()]);
    assert_eq!(found.plugins.len(), 1);
    assert_eq!((found.plugins[0].name.as_str(), found.plugins[0].version.clone()), ("b", None));
    let [(path, error)] = found.failures.as_slice() else { panic!("{:?}", found.failures) };
    assert!(path.ends_with("a.wasm") && error.code() == "not-wasm", "{error}");
}

/// Keeps whoever is asked waiting.
#[derive(Debug, Default)]
struct Undecided {
    asked: AtomicUsize,
    answer: Mutex<()>,
}

impl Prompt for Undecided {
    fn is_interactive(&self) -> bool {
        true
    }

    fn ask(&self, _question: &Question<'_>) -> Result<Vec<airlock_host::Grant>, Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        drop(self.answer.lock());
        Ok(Vec::new())
    }
}

#[test]
fn nothing_waits_while_somebody_is_asked_something() {
    let undecided = Arc::new(Undecided::default());
    let approval = Approval::interactive(Arc::new(MemoryGrants::new()), undecided.clone());
    let manager = Manager::new(Host::builder().approval(approval).build().unwrap());
    manager.load_blocking("other", source(ADD), text()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let asks = put_plugin(folder.path(), "asks", r#","permissions":{"network":["https://a.example"]}"#, ADD);
    std::thread::scope(|scope| {
        let waiting = undecided.answer.lock().unwrap();
        let loading = scope.spawn(|| manager.load_blocking("asks", asks.as_path(), LoadOptions::new()));
        until("the question", || undecided.asked.load(Ordering::SeqCst) == 1);
        assert_eq!(names(&manager), ["other"]);
        assert_eq!(manager.invoke_blocking("other", "answer", one()).unwrap().value.to_json_text(), "42");
        let error = manager.load_blocking("asks", source(ADD), text()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "a plugin of {} bytes wants the name `asks`, as which another is being loaded",
                ADD.len()
            )
        );
        manager.load_blocking("third", source(ADD), text()).unwrap();
        manager.unload_blocking("other").unwrap();
        assert!(!loading.is_finished());
        drop(waiting);
        loading.join().unwrap().unwrap();
    });
    assert_eq!(names(&manager), ["asks", "third"]);
}

#[test]
fn what_was_inserted_twice_is_two_plugins() {
    let host = host();
    let plugin = host.load_blocking(source(ADD), text()).unwrap();
    let manager = Manager::new(host);
    manager.insert("a", &plugin).unwrap();
    manager.insert("b", &plugin).unwrap();
    manager.unload_blocking("a").unwrap();
    assert_eq!(manager.invoke_blocking("b", "answer", one()).unwrap().value.to_json_text(), "42");
    plugin.invoke_blocking("answer", one()).unwrap();
}

#[test]
fn racing_unloads_replacements_and_calls_leave_nothing_behind() {
    let host = host();
    let manager = Manager::new(host.clone());
    let plugin = host.load_blocking(source(COUNTER), text()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let _ = manager.insert("p", &plugin);
                    let _ = manager.replace_blocking("p", &plugin, |_| Ok(()));
                    let _ = manager.unload_blocking("p");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..400 {
                match manager.call_func_blocking::<(), i32>("p", "count", ()) {
                    Ok(count) => assert!(count >= 1),
                    Err(error) => {
                        assert!(
                            ["not-loaded", "cancelled", "session-ended"].contains(&error.code()),
                            "{error}"
                        );
                    }
                }
            }
        });
    });
    manager.unload_all_blocking();
    assert_eq!((manager.list().len(), host.memory_used()), (0, 0));
    let metrics = manager.metrics();
    let failures = &metrics.failures;
    let failed = failures.guest + failures.policy + failures.operator + failures.host;
    assert_eq!(metrics.calls, metrics.successes + failed);
}

#[test]
fn memory_is_given_back_when_plugins_are_unloaded() {
    let host = host();
    let manager = Manager::new(host.clone());
    let load = |index: usize| -> Managed {
        let options = text().limit(LimitKind::Instances, 10_000);
        manager.load_blocking(&format!("p{index}"), source(COUNTER), options).unwrap()
    };
    for index in 0..200 {
        let managed = load(index);
        assert_eq!(managed.call_func_blocking::<(), i32>("count", ()).unwrap(), 1);
        assert_eq!(managed.state(), PluginState::Ready);
    }
    assert_eq!(host.memory_used(), 200 * 65_536);
    assert_eq!(manager.unload_all_blocking(), 200);
    assert_eq!(host.memory_used(), 0);
}
