//! Plugins of PRX's from before its components: modules that take and give JSON by pointers, and say how long
//! an answer is. They are called as those of the `json` ABI.

use airlock_host::manager::Manager;
use airlock_host::{AbiId, Input, LoadOptions};

use crate::support::{MODES, Mode, host, load, text};

/// Such a module, whose `init` answers `init`. `execute` gives back what it was handed, `on_event` an error.
fn module(init: i32) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (global $length (mut i32) (i32.const 0))
            (global $ready (mut i32) (i32.const 0))
            (data (i32.const 1024) "{{\"name\":\"voice\",\"tools\":[{{\"name\":\"voice_session\"}}]}} and no more of it")
            (data (i32.const 2048) "{{\"status\":\"error\",\"error\":\"no such event\"}}")
            (data (i32.const 3072) "{{\"action\":\"none\"}}")
            (func $give (param i32 i32) (result i32)
                (global.set $length (local.get 1))
                (local.get 0))
            (func (export "init") (result i32) (global.set $ready (i32.const 1)) (i32.const {init}))
            (func $describe (export "describe") (result i32) (call $give (i32.const 1024) (i32.const 51)))
            (func (export "get_spec") (result i32) (call $describe))
            (func (export "execute") (param i32 i32) (result i32)
                (if (i32.eqz (global.get $ready)) (then unreachable))
                (call $give (local.get 0) (local.get 1)))
            (func (export "on_event") (param i32 i32) (result i32) (call $give (i32.const 2048) (i32.const 42)))
            (func (export "on_message") (param i32 i32) (result i32) (call $give (i32.const 3072) (i32.const 17)))
            (func (export "result_len") (result i32) (global.get $length))
            (func (export "dealloc_str") (param i32 i32)))"#
    )
}

/// The manifest that came with them.
const MANIFEST: &str = "[plugin]\nname = \"voice\"\nversion = \"0.1.0\"\n[plugin.capabilities]\ntools = true\n\
    [[plugin.tools]]\nname = \"voice_session\"\n";

const ASKED: &str = r#"{"tool":"voice_session","params":{"provider":"openai"}}"#;

#[test]
fn a_module_from_before_components_is_called_with_and_without_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), wat::parse_str(module(0)).unwrap()).unwrap();
    let bare = load(&host(), &module(0), text());
    std::fs::write(folder.path().join("plugin.toml"), MANIFEST).unwrap();
    let with_manifest = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!(
        with_manifest.abi_reason(),
        "its manifest is PRX's, and it is a module from before its components"
    );
    assert_eq!(with_manifest.name(), "voice");
    for plugin in [bare, with_manifest] {
        assert_eq!(plugin.abi(), AbiId::Json);
        assert_eq!(plugin.functions(), ["execute", "on_event", "on_message", "describe", "get_spec"]);
        for mode in MODES {
            let call = |function: &str, json: &str| {
                let input = Input::Json(json.to_owned());
                let outcome = match mode {
                    Mode::Blocking => plugin.invoke_blocking(function, input),
                    _ => mode.wait(plugin.invoke(function, input)),
                };
                outcome.map(|outcome| outcome.value.to_json_text())
            };
            assert_eq!(call("execute", ASKED).unwrap(), ASKED, "{mode:?}");
            let spec = r#"{"name":"voice","tools":[{"name":"voice_session"}]}"#;
            for name in ["describe", "get_spec"] {
                assert_eq!(call(name, "{}").unwrap(), spec, "{mode:?}");
            }
            assert_eq!(call("on_message", r#"{"text":"hello"}"#).unwrap(), r#"{"action":"none"}"#);
            let error = call("on_event", r#"{"type":"x"}"#).unwrap_err();
            assert_eq!(
                (error.code(), error.to_string()),
                ("failed", "the plugin failed: no such event".to_owned())
            );
        }
    }
}

#[test]
fn a_module_that_is_not_ready_is_not_called() {
    let plugin = load(&host(), &module(7), text());
    let error = plugin.invoke_blocking("execute", Input::Json(ASKED.to_owned())).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("failed", "the plugin failed: its `init` answered 7".to_owned())
    );
}

#[test]
fn a_manager_has_it_as_any_plugin() {
    let manager = Manager::new(host());
    let managed = manager.insert("voice", &load(manager.host(), &module(0), text())).unwrap();
    let outcome = managed.invoke_blocking("execute", Input::Json(ASKED.to_owned())).unwrap();
    assert_eq!(outcome.value.to_json_text(), ASKED);
}
