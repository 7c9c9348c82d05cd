//! What sen-rs's registry, discovery and hot reload document, on the manager.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airlock_host::manager::{Manager, Notice, PluginEvents, ReloadStrategy, Watch, WatchOptions};
use airlock_host::sen::{ExecuteError, ExecuteResult};
use airlock_host::{
    AbiId, Approval, ErrorKind, Grant, GrantStore, Host, Identity, LoadOptions, MemoryGrants, block_on,
};
use serde_json::json;

use super::{Module, NONE, host, manifest, packed, success};
use crate::support::{MODES, Mode, repository};

const SOON: Duration = Duration::from_millis(30);

/// A plugin of this command that answers with this text.
fn wasm(command: &str, text: &str) -> Vec<u8> {
    asking(command, text, &json!({}))
}

fn asking(command: &str, text: &str, capabilities: &serde_json::Value) -> Vec<u8> {
    let module = Module {
        manifest: packed(&manifest(command, capabilities)),
        answer: packed(&json!({ "Success": text })),
        ..Module::new(command)
    };
    wat::parse_str(module.wat()).unwrap()
}

fn answer(manager: &Manager, command: &str) -> ExecuteResult {
    manager.get(command).unwrap().execute_blocking(&NONE).unwrap().value
}

fn names(manager: &Manager) -> Vec<String> {
    manager.list().iter().map(|name| name.to_string()).collect()
}

#[test]
fn plugins_are_loaded_reloaded_and_unloaded_by_path_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.wasm");
    std::fs::write(&path, wasm("greet", "one")).unwrap();
    for mode in MODES {
        std::fs::write(&path, wasm("greet", "one")).unwrap();
        let manager = Manager::new(host());
        assert!(manager.list().is_empty());
        let loaded = match mode {
            Mode::Blocking => manager.load_path_blocking(&path, LoadOptions::new()),
            _ => mode.wait(manager.load_path(&path, LoadOptions::new())),
        };
        // By what it says it is called, whatever its file is.
        assert_eq!(loaded.unwrap().name().as_ref(), "greet");
        assert_eq!((names(&manager), answer(&manager, "greet")), (vec!["greet".to_owned()], success("one")));
        assert_eq!(manager.command("greet").unwrap().name().as_ref(), "greet");
        assert_eq!(manager.with_abi(AbiId::Sen).len(), 1);
        assert_eq!(manager.get("greet").unwrap().plugin().manifest().unwrap().name, "greet");
        let executed = match mode {
            Mode::Blocking => manager.get("greet").unwrap().execute_blocking(&["x"]),
            _ => mode.wait(manager.get("greet").unwrap().execute(&["x"])),
        };
        assert_eq!(executed.unwrap().value, success("one"));
        std::fs::write(&path, wasm("greet", "two")).unwrap();
        manager.reload_blocking(manager.at(&path).unwrap().name()).unwrap();
        assert_eq!(answer(&manager, "greet"), success("two"));
        // What is broken leaves what runs.
        std::fs::write(&path, b"\0asm").unwrap();
        assert!(manager.reload_blocking("greet").is_err());
        assert_eq!(answer(&manager, "greet"), success("two"));
        assert_eq!(manager.at(Path::new("nowhere.wasm")).unwrap_err().code(), "not-loaded");
        manager.unload_blocking(manager.at(&path).unwrap().name()).unwrap();
        assert_eq!(manager.get("greet").unwrap_err().code(), "not-loaded");
        assert_eq!(manager.command("greet").unwrap_err().code(), "not-loaded");
    }
}

/// There the last one wins, and takes the other's command with it when it goes.
#[test]
fn of_two_files_with_one_command_both_are_named_and_the_first_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("a.wasm"), folder.path().join("b.wasm"));
    std::fs::write(&one, wasm("greet", "one")).unwrap();
    std::fs::write(&two, wasm("greet", "two")).unwrap();
    let manager = Manager::new(host());
    manager.load_path_blocking(&one, LoadOptions::new()).unwrap();
    let error = manager.load_path_blocking(&two, LoadOptions::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("b.wasm` both want the name `greet`"), "{error}");
    let error = manager.load_blocking("other", two.as_path(), LoadOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "`greet` and `other` both want the command `greet`");
    assert_eq!(answer(&manager, "greet"), success("one"));
    manager.unload_blocking("greet").unwrap();
    manager.load_path_blocking(&two, LoadOptions::new()).unwrap();
    assert_eq!(answer(&manager, "greet"), success("two"));
}

/// There every plugin waits while one runs, and so does a list of them.
#[test]
fn one_that_runs_holds_up_no_other() {
    let manager = Manager::new(host());
    let spins = Module { work: "(loop $l (br $l))".to_owned(), ..Module::new("spins") };
    let options = LoadOptions::new().wat(true).limit(airlock_host::LimitKind::Fuel, u64::MAX >> 1);
    let spins = manager.load_blocking("spins", spins.wat().as_bytes(), options).unwrap();
    manager.load_blocking("greet", wasm("greet", "one"), LoadOptions::new()).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| spins.execute_blocking(&NONE).unwrap_err());
        while manager.host().memory_used() == 0 {
            std::thread::yield_now();
        }
        assert_eq!((answer(&manager, "greet"), names(&manager).len()), (success("one"), 2));
        assert_eq!(manager.info("spins").unwrap().abi, AbiId::Sen);
        manager.unload_blocking("spins").unwrap();
        assert_eq!(running.join().unwrap().code(), "cancelled");
    });
}

/// Its plain loader keeps an instance, its other one does not.
#[test]
fn one_instance_is_kept_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = repository("plugins/sen-cat/sen_cat.wasm");
    let options = || LoadOptions::new().allow_all_requested().working_folder(folder.path());
    let manager = Manager::new(host());
    manager.load_blocking("fresh", file.as_path(), options()).unwrap();
    let count = |name: &str| manager.get(name).unwrap().execute_blocking(&["count"]).unwrap().value;
    assert_eq!((count("fresh"), count("fresh")), (success("1"), success("1")));
    manager.unload_blocking("fresh").unwrap();
    let kept = manager.load_blocking("kept", file.as_path(), options().keep_state(true)).unwrap();
    assert_eq!((count("kept"), count("kept")), (success("1"), success("2")));
    // What a call ends with takes what was kept along, and no more than that.
    assert_eq!(kept.execute_blocking(&["panic"]).unwrap_err().code(), "trap");
    assert_eq!(count("kept"), success("1"));
    assert_eq!(kept.execute_blocking(&["exit"]).unwrap().value, failed(3, "it left with 3"));
    assert_eq!(count("kept"), success("1"));
    // One that is started afresh begins with nothing.
    assert_eq!(count("kept"), success("2"));
    block_on(kept.restart()).unwrap();
    assert_eq!(count("kept"), success("1"));
}

fn failed(code: u8, message: &str) -> ExecuteResult {
    ExecuteResult::Error(ExecuteError { code, message: message.to_owned() })
}

#[test]
fn discovery_lists_what_there_is_and_what_fails_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    put("z.wasm", &wasm("alpha", "1"));
    put("a.wasm", &wasm("beta", "2"));
    put("broken.wasm", b"\0asm");
    let mut newer = manifest("newer", &json!({}));
    newer["api_version"] = json!(3);
    put(
        "newer.wasm",
        &wat::parse_str(Module { manifest: packed(&newer), ..Module::new("newer") }.wat()).unwrap(),
    );
    put("notes.txt", b"no plugin");
    std::fs::create_dir(folder.path().join("deeper")).unwrap();
    std::fs::write(folder.path().join("deeper/c.wasm"), wasm("gamma", "3")).unwrap();
    let manager = Manager::new(host());
    let nowhere = folder.path().join("nowhere");
    let found = manager.discover([folder.path(), nowhere.as_path()]);
    let names: Vec<(&str, Vec<&str>)> = found
        .plugins
        .iter()
        .map(|found| (found.name.as_str(), found.commands.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(names, [("alpha", vec!["alpha"]), ("beta", vec!["beta"])]);
    let failures: Vec<(&str, &str)> = found
        .failures
        .iter()
        .map(|(path, error)| (path.file_name().unwrap().to_str().unwrap(), error.code()))
        .collect();
    assert_eq!(
        failures,
        [("broken.wasm", "invalid-wasm"), ("newer.wasm", "api-version"), ("nowhere", "unreadable")]
    );
    // What they say is known after that, and nothing is compiled for a second look.
    let compiled = manager.host().memory_cache().compiled;
    assert_eq!(manager.discover([folder.path()]).plugins.len(), 2);
    assert_eq!(manager.host().memory_cache().compiled, compiled);
}

fn told(events: &mut PluginEvents) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .map(|notice| match notice {
            Notice::Event(event) => event.to_string(),
            other => format!("{other:?}"),
        })
        .collect()
}

/// Waits until something with this in it is told, and gives all that was told up to there.
fn until(events: &mut PluginEvents, end: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match events.next_blocking() {
            Some(Notice::Event(event)) => all.push(event.to_string()),
            other => panic!("{other:?} before `{end}`: {all:?}"),
        }
        if all.last().is_some_and(|told| told.contains(end)) {
            return all;
        }
    }
}

/// A manager whose plugins are those of a folder.
fn watched(folder: &Path) -> (Manager, PluginEvents, Watch) {
    let manager = Manager::new(host());
    let events = manager.events();
    let options = WatchOptions::new().strategy(ReloadStrategy::Debounced(SOON));
    let watch = manager.watch_blocking([folder], options).unwrap();
    (manager, events, watch)
}

/// There reloading reads the file, which is a reason to reload, for ever; and so does any reader.
#[test]
fn nothing_is_reloaded_where_nobody_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    std::fs::write(&path, wasm("greet", "one")).unwrap();
    let (_manager, mut events, _watch) = watched(folder.path());
    for _ in 0..20 {
        std::fs::read(&path).unwrap();
        // As it was, put there again: all of it at once, since half of it is something else.
        let beside = folder.path().join("a.new");
        std::fs::write(&beside, wasm("greet", "one")).unwrap();
        std::fs::rename(&beside, &path).unwrap();
    }
    // One that did change, after all that; what was there before it would have been told by then.
    std::fs::write(folder.path().join("b.wasm"), wasm("other", "x")).unwrap();
    let told = until(&mut events, "other loaded");
    assert!(!told.iter().any(|told| told.contains("reloaded")), "{told:?}");
}

/// There a folder that is not there when watching begins is never looked at.
#[test]
fn a_folder_that_comes_later_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later");
    let (manager, mut events, _watch) = watched(&later);
    std::fs::create_dir(&later).unwrap();
    std::fs::write(later.join("a.wasm"), wasm("greet", "one")).unwrap();
    until(&mut events, "greet loaded");
    assert_eq!(answer(&manager, "greet"), success("one"));
}

#[test]
fn what_changes_takes_its_place_what_is_broken_does_not_and_what_goes_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    std::fs::write(&path, wasm("greet", "one")).unwrap();
    let (manager, mut events, _watch) = watched(folder.path());
    assert_eq!(answer(&manager, "greet"), success("one"));
    std::fs::write(&path, wasm("greet", "two")).unwrap();
    until(&mut events, "greet reloaded");
    assert_eq!(answer(&manager, "greet"), success("two"));
    for broken in [b"\0asm".to_vec(), b"".to_vec(), wasm("greet", "x")[..200].to_vec()] {
        std::fs::write(&path, broken).unwrap();
        until(&mut events, "greet not reloaded");
        assert_eq!(answer(&manager, "greet"), success("two"));
    }
    // Another file's going takes nothing from it.
    std::fs::write(folder.path().join("b.wasm"), wasm("greet", "three")).unwrap();
    until(&mut events, "not loaded");
    std::fs::remove_file(folder.path().join("b.wasm")).unwrap();
    std::fs::write(&path, wasm("greet", "four")).unwrap();
    until(&mut events, "greet reloaded");
    assert_eq!(answer(&manager, "greet"), success("four"));
    std::fs::remove_file(&path).unwrap();
    until(&mut events, "greet unloaded");
    assert!(names(&manager).is_empty() && told(&mut events).is_empty());
}

/// There one clock for all paths is set back by each of them.
#[test]
fn one_that_is_written_all_the_time_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let busy = folder.path().join("busy.wasm");
    std::fs::write(&busy, wasm("busy", "0")).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = WatchOptions::new().strategy(ReloadStrategy::Debounced(Duration::from_millis(300)));
    let _watch = manager.watch_blocking([folder.path()], options).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                count += 1;
                std::fs::write(&busy, wasm("busy", &count.to_string())).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        std::fs::write(folder.path().join("calm.wasm"), wasm("calm", "x")).unwrap();
        until(&mut events, "calm loaded");
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(answer(&manager, "calm"), success("x"));
}

/// There both have the same hash, and what reads may write once its file was replaced.
#[test]
fn bytes_that_write_where_those_before_read_ask_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    let data = json!([{ "pattern": "./data", "recursive": true }]);
    std::fs::write(&path, asking("greet", "one", &json!({ "fs_read": data }))).unwrap();
    let manager = Manager::new(host());
    let mut events = manager.events();
    let options = WatchOptions::new()
        .strategy(ReloadStrategy::Debounced(SOON))
        .load(LoadOptions::new().allow_all_requested())
        .allowed(airlock_host::manager::Allowed::AnyBytes);
    let _watch = manager.watch_blocking([folder.path()], options).unwrap();
    std::fs::write(&path, asking("greet", "two", &json!({ "fs_write": data }))).unwrap();
    until(&mut events, "asks for more: `fs.write=data`");
    assert_eq!(answer(&manager, "greet"), success("one"));
    // To ask for less is no more.
    std::fs::write(&path, wasm("greet", "three")).unwrap();
    until(&mut events, "greet reloaded");
    assert_eq!(answer(&manager, "greet"), success("three"));
}

/// There whatever has a name has the grants of whatever had it before.
#[test]
fn a_grant_is_for_the_bytes_that_it_was_given_to() {
    let store = Arc::new(MemoryGrants::new());
    let approved = |bytes: &[u8]| {
        let host = Host::builder().approval(Approval::new(store.clone())).build().unwrap();
        host.load_blocking(bytes, LoadOptions::new())
    };
    let asks = json!({ "env_read": ["HOME"] });
    let (first, second) = (asking("greet", "one", &asks), asking("greet", "two", &asks));
    let digest = airlock_host::Digest::of(&first);
    let identity = Identity { name: "greet".to_owned(), digest };
    store.decide(&identity, &[Grant::always("env=HOME".parse().unwrap())], "a person").unwrap();
    assert!(approved(&first).is_ok());
    assert_eq!(approved(&second).unwrap_err().code(), "denied");
}
