//! Other bytes in a plugin's place.

use std::path::Path;
use std::sync::Arc;

use airlock_host::manager::{Allowed, Manager, PluginState, Reloaded};
use airlock_host::{
    Approval, Capability, Digest, Error, Grant, GrantStore as _, Host, Identity, Input, LoadOptions,
    MemoryGrants, Plugin,
};

use super::{ADD, COUNTER, awaited, invoke, one, put_plugin, told, until, words};
use crate::support::{MODES, Mode, host, source, text};

#[test]
fn calls_in_flight_finish_on_what_they_were_begun_with_and_later_ones_are_of_the_new() {
    let host = host();
    let manager = Manager::new(host.clone());
    let plugin = |answer: &str| {
        host.load_blocking(source(&ADD.replace("\"42\"", &format!("\"{answer}\""))), text()).unwrap()
    };
    let answer =
        |manager: &Manager| manager.invoke_blocking("p", "answer", one()).unwrap().value.to_json_text();
    let managed = manager.insert("p", &plugin("42")).unwrap();
    let old = managed.plugin().digest();
    let mut events = manager.events();
    std::thread::scope(|scope| {
        let (cancel, host) = (airlock_host::Cancel::new(), &host);
        let options = airlock_host::CallOptions::new().cancel(&cancel);
        let managed = &managed;
        let spinning = scope.spawn(move || {
            futures_executor::block_on(managed.invoke_with("spin", one(), &options)).unwrap_err()
        });
        while host.memory_used() == 0 {
            std::thread::yield_now();
        }
        futures_executor::block_on(manager.replace(
            "p",
            &plugin("43"),
            async |new: &airlock_host::Plugin| {
                let healthy = new.invoke("answer", one()).await?;
                assert_eq!(healthy.value.to_json_text(), "43");
                Ok(())
            },
        ))
        .unwrap();
        assert_eq!(answer(&manager), "43");
        assert!(!spinning.is_finished(), "it goes on");
        cancel.cancel();
        assert_eq!(spinning.join().unwrap().code(), "cancelled");
    });
    assert_ne!(managed.plugin().digest(), old);

    let unwell = async |_: &airlock_host::Plugin| Err(airlock_host::Error::host("it is not well"));
    let error = futures_executor::block_on(manager.replace("p", &plugin("44"), unwell)).unwrap_err();
    assert_eq!((error.code(), answer(&manager).as_str()), ("host", "43"), "the old one stays");
    manager.roll_back("p").unwrap();
    assert_eq!(answer(&manager), "42");
    manager.roll_back("p").unwrap();
    assert_eq!(answer(&manager), "43");
    let told = told(&mut events);
    let reloads: Vec<&str> =
        told.iter().map(String::as_str).filter(|told| told.contains("reloaded")).collect();
    assert_eq!(reloads, ["p reloaded", "p not reloaded: it is not well", "p reloaded", "p reloaded"]);
    assert_eq!(managed.metrics().calls, 5, "of all bytes together");
    let nothing = manager.insert("q", &plugin("1")).map(|_| manager.roll_back("q").unwrap_err()).unwrap();
    assert_eq!(nothing.code(), "invalid-setting");
}

fn reload(mode: Mode, manager: &Manager, name: &str) -> Result<Reloaded, Error> {
    match mode {
        Mode::Blocking => manager.reload_blocking(name),
        _ => mode.wait(manager.reload(name)),
    }
}

#[test]
fn a_session_is_closed_after_the_call_that_runs_in_it_and_who_waits_is_called_on_the_new() {
    for mode in MODES {
        let host = host();
        let manager = Manager::new(host.clone());
        let slow = r#"(module (memory (export "memory") 1)
            (func (export "count") (result i32) (i32.const 0))
            (func (export "spin") (loop (br 0)))
            (func (export "_cleanup") unreachable))"#;
        let old = host.load_blocking(source(slow), text()).unwrap();
        let managed = manager.insert("p", &old).unwrap();
        managed.start_blocking().unwrap();
        let mut events = manager.events();
        let cancel = airlock_host::Cancel::new();
        let options = airlock_host::CallOptions::new().cancel(&cancel);
        std::thread::scope(|scope| {
            let running =
                scope.spawn(|| managed.invoke_blocking_with("spin", words(), &options).unwrap_err());
            until("the call", || managed.state() == PluginState::Running);
            let waiting = scope.spawn(|| invoke(mode, &manager, "p", "count").unwrap());
            until("its place in line", || managed.waiting() == 1);
            let new = host.load_blocking(source(COUNTER), text()).unwrap();
            awaited(mode).wait(manager.replace("p", &new, async |_: &Plugin| Ok(()))).unwrap();
            assert_eq!(waiting.join().unwrap(), "1", "of the new one");
            assert!(!running.is_finished(), "it goes on");
            cancel.cancel();
            assert_eq!(running.join().unwrap().code(), "cancelled");
        });
        let _ = told(&mut events);
        // One that is idle is closed at once.
        manager.replace_blocking("p", &old, |_| Ok(())).unwrap();
        managed.start_blocking().unwrap();
        let _ = told(&mut events);
        manager.roll_back("p").unwrap();
        let left = "p left: the plugin trapped while cleaning up: unreachable";
        assert_eq!(told(&mut events), ["p reloaded", left], "{mode:?}");
        manager.unload_all_blocking();
        assert_eq!(host.memory_used(), 0);
    }
}

#[test]
fn unloading_ends_calls_of_bytes_that_were_replaced_too() {
    let host = host();
    let manager = Manager::new(host.clone());
    let plugin = host.load_blocking(source(ADD), text()).unwrap();
    let managed = manager.insert("p", &plugin).unwrap();
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| managed.invoke_blocking("spin", one()).unwrap_err());
        until("the call", || host.memory_used() > 0);
        for _ in 0..2 {
            manager.replace_blocking("p", &plugin, |_| Ok(())).unwrap();
        }
        manager.unload_blocking("p").unwrap();
        assert_eq!(spinning.join().unwrap().code(), "cancelled");
    });
}

/// Writes a plugin that answers with this number and asks for these.
fn write(folder: &Path, number: u32, asks: &str) {
    let permissions = format!(r#","permissions":{{{asks}}}"#);
    put_plugin(folder, "p", &permissions, &ADD.replace("42", &number.to_string()));
}

#[test]
fn what_is_loaded_again_is_what_its_file_holds_now() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 42, "");
        let manager = Manager::new(host());
        let managed = manager.load_blocking("p", folder.path().join("p"), LoadOptions::new()).unwrap();
        let answer = || managed.invoke_blocking("answer", one()).unwrap().value.to_json_text();
        assert_eq!((reload(mode, &manager, "p").unwrap(), answer()), (Reloaded::Unchanged, "42".into()));
        let from = managed.plugin().digest();
        write(folder.path(), 43, "");
        let mut events = manager.events();
        let reloaded = reload(mode, &manager, "p").unwrap();
        let to = managed.plugin().digest();
        assert_eq!((reloaded, answer()), (Reloaded::Replaced { from, to }, "43".to_owned()), "{mode:?}");
        // Half a file keeps the old one, and says why.
        std::fs::write(folder.path().join("p/p.wasm"), b"\0asm\x01").unwrap();
        let error = reload(mode, &manager, "p").unwrap_err();
        assert_eq!((error.code(), answer()), ("invalid-wasm", "43".to_owned()));
        std::fs::remove_dir_all(folder.path().join("p")).unwrap();
        assert_eq!(reload(mode, &manager, "p").unwrap_err().code(), "plugin-not-found");
        assert_eq!(answer(), "43");
        let told = told(&mut events);
        assert_eq!(told.iter().filter(|told| told.starts_with("p not reloaded")).count(), 2, "{told:?}");
        let bytes = manager.load_blocking("bytes", source(ADD), text()).unwrap();
        assert_eq!(reload(mode, &manager, bytes.name()).unwrap_err().code(), "invalid-setting");
    }
}

#[test]
fn other_bytes_that_ask_for_more_leave_the_old_ones_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 42, "");
    let manager = Manager::new(host());
    let options = || LoadOptions::new().allow("net=*".parse().unwrap());
    let managed = manager.load_blocking("p", folder.path().join("p"), options()).unwrap();
    managed.allowed(Allowed::AnyBytes);
    let mut events = manager.events();
    write(folder.path(), 43, r#""network":["https://a.example"]"#);
    let error = manager.reload_blocking("p").unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("escalation", 126));
    assert_eq!(error.to_string(), "`p` asks for more than before: `net=https://a.example`");
    assert_eq!(told(&mut events), ["p asks for net=https://a.example"]);
    assert_eq!(managed.invoke_blocking("answer", one()).unwrap().value.to_json_text(), "42");
    // What was asked for from the beginning may be asked for again, and less.
    manager.unload_blocking("p").unwrap();
    let managed = manager.load_blocking("p", folder.path().join("p"), options()).unwrap();
    let net: Capability = "net=https://a.example".parse().unwrap();
    assert!(managed.plugin().policy().allows(&net));
    managed.allowed(Allowed::AnyBytes);
    write(folder.path(), 44, r#""network":["https://a.example"]"#);
    assert!(matches!(manager.reload_blocking("p").unwrap(), Reloaded::Replaced { .. }));
    assert!(managed.plugin().policy().allows(&net), "it keeps what it had");
    write(folder.path(), 45, "");
    assert!(matches!(manager.reload_blocking("p").unwrap(), Reloaded::Replaced { .. }));
    assert!(!managed.plugin().policy().allows(&net));
}

#[test]
fn what_was_allowed_to_some_bytes_is_not_allowed_to_others_unless_somebody_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let network = r#""network":["https://a.example"]"#;
    write(folder.path(), 42, network);
    let manager = Manager::new(host());
    let options = LoadOptions::new().allow("net=https://a.example".parse().unwrap());
    let managed = manager.load_blocking("p", folder.path().join("p"), options).unwrap();
    write(folder.path(), 43, network);
    let error = manager.reload_blocking("p").unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("denied", 126), "{error}");
    assert_eq!(managed.invoke_blocking("answer", one()).unwrap().value.to_json_text(), "42");
    managed.allowed(Allowed::AnyBytes);
    manager.reload_blocking("p").unwrap();
    assert_eq!(managed.invoke_blocking("answer", one()).unwrap().value.to_json_text(), "43");
}

#[test]
fn other_bytes_are_another_plugin_to_whoever_grants() {
    let folder = tempfile::tempdir().unwrap();
    let network = r#""network":["https://a.example"]"#;
    let net: Capability = "net=https://a.example".parse().unwrap();
    for carry_over in [false, true] {
        let grants = Arc::new(MemoryGrants::new());
        let approval = Approval::ci(grants.clone()).carry_over(carry_over);
        let manager = Manager::new(Host::builder().approval(approval).build().unwrap());
        write(folder.path(), 42, network);
        let digest = |folder: &Path| Digest::of(&std::fs::read(folder.join("p/p.wasm")).unwrap());
        let grant = |capability: &str, digest: Digest| {
            let grant = Grant::always(capability.parse().unwrap());
            grants.decide(&Identity { name: "p".to_owned(), digest }, &[grant], "test").unwrap();
        };
        grant("net=https://a.example", digest(folder.path()));
        let managed = manager.load_blocking("p", folder.path().join("p"), LoadOptions::new()).unwrap();
        assert!(managed.plugin().policy().allows(&net));
        write(folder.path(), 43, network);
        let reloaded = manager.reload_blocking("p");
        assert_eq!(reloaded.is_ok(), carry_over, "the operator's choice");
        assert!(managed.plugin().policy().allows(&net), "it has it still, the old one or the new");
        // What was granted to the very bytes is no surprise.
        write(folder.path(), 44, r#""network":["https://a.example","https://b.example"]"#);
        assert_eq!(manager.reload_blocking("p").unwrap_err().code(), "escalation");
        grant("net=https://a.example", digest(folder.path()));
        grant("net=https://b.example", digest(folder.path()));
        assert!(matches!(manager.reload_blocking("p").unwrap(), Reloaded::Replaced { .. }));
        let second: Capability = "net=https://b.example".parse().unwrap();
        assert!(managed.plugin().policy().allows(&second));
    }
}

#[test]
fn an_idle_plugin_knows_that_it_is() {
    let host = host();
    let manager = Manager::new(host.clone());
    let managed = manager.load_blocking("p", source(ADD), text()).unwrap();
    assert!(managed.is_idle());
    std::thread::scope(|scope| {
        let cancel = airlock_host::Cancel::new();
        let options = airlock_host::CallOptions::new().cancel(&cancel);
        let call = scope.spawn({
            let managed = managed.clone();
            move || managed.invoke_blocking_with("spin", Input::Json("1".to_owned()), &options)
        });
        until("the call", || host.memory_used() > 0);
        assert!(!managed.is_idle());
        cancel.cancel();
        call.join().unwrap().unwrap_err();
    });
    assert!(managed.is_idle());
}
