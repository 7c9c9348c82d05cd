//! Folders whose plugins come, change and go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use airlock_host::manager::{Manager, Notice, PluginEvents, ReloadStrategy, Watch, WatchOptions};
use airlock_host::{CallOptions, Cancel, Error, LoadOptions, Plugin};

use super::{ADD, COUNTER, names, one, put_plugin, told, until};
use crate::support::{MODES, Mode, host};

const SOON: Duration = Duration::from_millis(30);

fn soon() -> WatchOptions {
    WatchOptions::new().strategy(ReloadStrategy::Debounced(SOON))
}

fn watch(mode: Mode, manager: &Manager, folder: &Path, options: WatchOptions) -> Watch {
    match mode {
        Mode::Blocking => manager.watch_blocking([folder], options).unwrap(),
        _ => mode.wait(manager.watch([folder], options)).unwrap(),
    }
}

fn wasm(number: u32) -> Vec<u8> {
    wat::parse_str(ADD.replace("42", &number.to_string())).unwrap()
}

fn answer(manager: &Manager, name: &str) -> Result<String, Error> {
    manager.invoke_blocking(name, "answer", one()).map(|outcome| outcome.value.to_json_text())
}

/// Waits until something with this in it is told, and gives all that was told up to there.
fn told_until(events: &mut PluginEvents, end: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    until(end, || {
        all.extend(told(events));
        all.iter().any(|told| told.contains(end))
    });
    all
}

#[test]
fn plugins_are_loaded_reloaded_and_unloaded_as_their_files_come_change_and_go() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wasm"), wasm(1)).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no plugin").unwrap();
        let manager = Manager::new(host());
        let mut events = manager.events();
        let watch = watch(mode, &manager, folder.path(), soon());
        assert_eq!(
            (names(&manager), answer(&manager, "a").unwrap()),
            (vec!["a".to_owned()], "1".into()),
            "{mode:?}"
        );
        // One that is new.
        std::fs::write(folder.path().join("b.wasm"), wasm(2)).unwrap();
        told_until(&mut events, "b loaded");
        assert_eq!(answer(&manager, "b").unwrap(), "2");
        // One that changes, in place and by another taking its name.
        std::fs::write(folder.path().join("a.wasm"), wasm(3)).unwrap();
        told_until(&mut events, "a reloaded");
        assert_eq!(answer(&manager, "a").unwrap(), "3");
        std::fs::write(folder.path().join("a.new"), wasm(4)).unwrap();
        std::fs::rename(folder.path().join("a.new"), folder.path().join("a.wasm")).unwrap();
        told_until(&mut events, "a reloaded");
        assert_eq!(answer(&manager, "a").unwrap(), "4");
        // One that is no plugin any more keeps the last one that was.
        std::fs::write(folder.path().join("a.wasm"), b"\0asm\x01").unwrap();
        let told = told_until(&mut events, "a not reloaded: not a valid module");
        assert_eq!(answer(&manager, "a").unwrap(), "4", "{told:?}");
        // One that goes.
        std::fs::remove_file(folder.path().join("b.wasm")).unwrap();
        told_until(&mut events, "b unloaded");
        assert_eq!(names(&manager), ["a"]);
        drop(watch);
        std::fs::write(folder.path().join("a.wasm"), wasm(5)).unwrap();
        assert_eq!(answer(&manager, "a").unwrap(), "4", "nobody looks any more");
    }
}

#[test]
fn a_plugin_in_a_folder_follows_its_manifest_and_its_wasm() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let _watch = watch(Mode::Blocking, &manager, folder.path(), soon());
    let plugin = put_plugin(folder.path(), "p", "", ADD);
    told_until(&mut events, "p loaded");
    std::fs::write(plugin.join("p.wasm"), wasm(7)).unwrap();
    told_until(&mut events, "p reloaded");
    assert_eq!(answer(&manager, "p").unwrap(), "7");
    put_plugin(folder.path(), "p", r#","cliCommands":[{"name":"greet"}]"#, &ADD.replace("42", "7"));
    told_until(&mut events, "p reloaded");
    assert_eq!(manager.command("greet").unwrap().name().as_ref(), "p");
    // One that asks for more is not put in its place.
    put_plugin(folder.path(), "p", r#","permissions":{"network":["https://a.example"]}"#, ADD);
    told_until(&mut events, "p asks for net=https://a.example");
    assert_eq!(answer(&manager, "p").unwrap(), "7");
    // A folder of sources beside the plugin is no reason to do anything.
    std::fs::create_dir(folder.path().join("sources")).unwrap();
    std::fs::write(folder.path().join("sources/readme.md"), "text").unwrap();
    std::fs::remove_dir_all(&plugin).unwrap();
    told_until(&mut events, "p unloaded");
}

#[test]
fn nobody_writes_and_nothing_is_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.wasm"), folder.path().join("two.wasm"));
    std::fs::write(&one, wasm(1)).unwrap();
    std::fs::write(&two, wasm(1)).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let _watch = watch(
        Mode::Blocking,
        &manager,
        folder.path(),
        WatchOptions::new().strategy(ReloadStrategy::Immediate),
    );
    let _ = told(&mut events);
    // Reading is no writing, and writing what is there already, or another time, changes nothing.
    let bytes = std::fs::read(&one).unwrap();
    for _ in 0..50 {
        std::fs::read(&one).unwrap();
    }
    let file = std::fs::File::options().write(true).open(&one).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    std::fs::write(&one, bytes).unwrap();
    // What comes later is told later, so that all of that has been looked at by then.
    std::fs::write(&two, wasm(2)).unwrap();
    let mut told = told_until(&mut events, "two reloaded");
    std::fs::write(&two, wasm(3)).unwrap();
    told.extend(told_until(&mut events, "two reloaded"));
    assert!(!told.iter().any(|told| told == "one reloaded"), "{told:?}");
    assert_eq!(manager.snapshot().plugins.len(), 2);
}

#[test]
fn writes_that_follow_each_other_are_one_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    std::fs::write(&path, wasm(0)).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = WatchOptions::new().strategy(ReloadStrategy::Debounced(Duration::from_millis(300)));
    let _watch = watch(Mode::Blocking, &manager, folder.path(), options);
    let _ = told(&mut events);
    for number in 1..=20 {
        std::fs::write(&path, wasm(number)).unwrap();
    }
    let last = Instant::now();
    assert_eq!(told_until(&mut events, "p reloaded"), ["p reloaded"], "once, and nothing of halves");
    assert!(last.elapsed() >= Duration::from_millis(250), "when it was left in peace");
    assert_eq!(answer(&manager, "p").unwrap(), "20");
}

#[test]
fn folders_that_appear_later_are_picked_up_and_ones_that_go_are_let_go() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b/plugins");
    let manager = Manager::new(host());
    let mut events = manager.events();
    let _watch = watch(Mode::Blocking, &manager, &folder, soon());
    assert!(names(&manager).is_empty());
    for _ in 0..2 {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("p.wasm"), wasm(1)).unwrap();
        told_until(&mut events, "p loaded");
        std::fs::write(folder.join("p.wasm"), wasm(2)).unwrap();
        told_until(&mut events, "p reloaded");
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        told_until(&mut events, "p unloaded");
    }
    // One that takes the other's place.
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("p.wasm"), wasm(1)).unwrap();
    told_until(&mut events, "p loaded");
    let other = root.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("q.wasm"), wasm(1)).unwrap();
    std::fs::rename(&folder, root.path().join("old")).unwrap();
    std::fs::rename(&other, &folder).unwrap();
    let mut seen = told_until(&mut events, "q loaded");
    if !seen.iter().any(|told| told == "p unloaded") {
        seen.extend(told_until(&mut events, "p unloaded"));
    }
    std::fs::write(folder.join("q.wasm"), wasm(2)).unwrap();
    told_until(&mut events, "q reloaded");
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_to_the_file_that_is_written() {
    let (folder, build) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = build.path().join("built.wasm");
    std::fs::write(&file, wasm(1)).unwrap();
    std::os::unix::fs::symlink(&file, folder.path().join("p.wasm")).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let _watch = watch(Mode::Blocking, &manager, folder.path(), soon());
    std::fs::write(&file, wasm(2)).unwrap();
    told_until(&mut events, "p reloaded");
    assert_eq!(answer(&manager, "p").unwrap(), "2");
}

#[test]
fn what_changes_waits_for_somebody_to_say_so() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.wasm");
        std::fs::write(&path, wasm(1)).unwrap();
        let manager = Manager::new(host());
        let mut events = manager.events();
        let options = WatchOptions::new().strategy(ReloadStrategy::Manual);
        let _watch = watch(mode, &manager, folder.path(), options);
        std::fs::write(&path, wasm(2)).unwrap();
        told_until(&mut events, "p changed");
        assert_eq!(answer(&manager, "p").unwrap(), "1");
        match mode {
            Mode::Blocking => manager.reload_blocking("p").unwrap(),
            _ => mode.wait(manager.reload("p")).unwrap(),
        };
        assert_eq!(answer(&manager, "p").unwrap(), "2");
    }
}

#[test]
fn what_changes_waits_until_the_plugin_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    std::fs::write(&path, wasm(1)).unwrap();
    let host = host();
    let manager = Manager::new(host.clone());
    let mut events = manager.events();
    let options = WatchOptions::new().strategy(ReloadStrategy::OnIdle(Duration::from_millis(80)));
    let _watch = watch(Mode::Blocking, &manager, folder.path(), options);
    let (managed, cancel) = (manager.get("p").unwrap(), Cancel::new());
    let options = CallOptions::new().cancel(&cancel);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| managed.invoke_blocking_with("spin", one(), &options).unwrap_err());
        until("the call", || host.memory_used() > 0);
        std::fs::write(&path, wasm(2)).unwrap();
        told_until(&mut events, "p changed");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            assert_eq!(told(&mut events), Vec::<String>::new(), "not while it is called");
            std::thread::yield_now();
        }
        cancel.cancel();
        call.join().unwrap();
    });
    let ended = Instant::now();
    told_until(&mut events, "p reloaded");
    assert!(ended.elapsed() >= Duration::from_millis(70), "{:?}", ended.elapsed());
    assert_eq!(answer(&manager, "p").unwrap(), "2");
}

#[test]
fn a_check_decides_over_what_is_put_in_place_and_sees_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    std::fs::write(&path, wasm(1)).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let check = move |_: &Path, plugin: &Plugin| {
        counted.fetch_add(1, Ordering::SeqCst);
        match plugin.invoke_blocking("answer", one())?.value.to_json_text().as_str() {
            "13" => Err(Error::host("thirteen")),
            _ => Ok(()),
        }
    };
    let _watch = watch(Mode::Blocking, &manager, folder.path(), soon().check(check));
    std::fs::write(&path, wasm(13)).unwrap();
    told_until(&mut events, "p not reloaded: thirteen");
    assert_eq!(answer(&manager, "p").unwrap(), "1");
    std::fs::write(&path, wasm(14)).unwrap();
    told_until(&mut events, "p reloaded");
    assert_eq!((answer(&manager, "p").unwrap(), asked.load(Ordering::SeqCst)), ("14".to_owned(), 3));
}

#[test]
fn two_files_of_one_name_and_what_is_no_plugin_are_told_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.wasm"), wasm(1)).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "text").unwrap();
    let manifest = r#"{"name":"a","version":"1.0.0","entryPoint":"p.wasm"}"#;
    let twin = put_plugin(folder.path(), "twin", "", ADD);
    std::fs::write(twin.join("cortex.json"), manifest).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let _watch = watch(Mode::Blocking, &manager, folder.path(), soon());
    assert_eq!(names(&manager), ["a"]);
    let told = told(&mut events);
    assert!(
        told.iter().any(|told| told.starts_with("a not loaded: ") && told.contains("the name `a`")),
        "{told:?}"
    );
    assert!(told.iter().any(|told| told.starts_with("broken.wasm not loaded: not WebAssembly")), "{told:?}");
    // The other has its name once it is free.
    std::fs::remove_file(folder.path().join("a.wasm")).unwrap();
    told_until(&mut events, "a loaded");
    assert_eq!(answer(&manager, "a").unwrap(), "42");
}

#[test]
fn plugins_that_keep_state_are_started_where_that_is_wished() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("counter.wasm"), wat::parse_str(COUNTER).unwrap()).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = soon().start().load(LoadOptions::new()).stop_idle_after(Duration::from_secs(60));
    let _watch = watch(Mode::Blocking, &manager, folder.path(), options);
    assert_eq!(told(&mut events), ["counter loaded", "counter initialised", "counter created > ready"]);
    assert!(!matches!(events.try_next(), Some(Notice::Missed(_))));
}

#[cfg(unix)]
#[test]
fn fifo_open_pipes_where_plugins_should_be_keep_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = |path: &Path| {
        let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
    };
    pipe(&folder.path().join("pipe.wasm"));
    for (name, is_manifest) in [("manifest", true), ("entry", false)] {
        let plugin = put_plugin(folder.path(), name, "", ADD);
        let path = plugin.join(if is_manifest { "cortex.json" } else { "p.wasm" });
        std::fs::remove_file(&path).unwrap();
        pipe(&path);
    }
    let manager = Manager::new(host());
    let found = manager.discover([folder.path()]);
    assert_eq!((found.plugins.len(), found.failures.len()), (0, 2), "{found:?}");
    let mut events = manager.events();
    let _watch = watch(Mode::Blocking, &manager, folder.path(), soon());
    let begun = told(&mut events);
    assert_eq!(begun.iter().filter(|told| told.contains("not loaded: cannot read")).count(), 2, "{begun:?}");
    pipe(&folder.path().join("late.wasm"));
    std::fs::write(folder.path().join("real.wasm"), wasm(1)).unwrap();
    told_until(&mut events, "real loaded");
    assert_eq!(names(&manager), ["real"]);
}
