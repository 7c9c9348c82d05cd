//! Plugins of PRX's from before its components: modules that take and give JSON by pointers, and say how long
//! an answer is. They are called as those of the `json` ABI.

use airlock_host::manager::Manager;
use airlock_host::{AbiId, Examined, Input, LoadOptions, Plugin};

use crate::support::{MODES, Mode, host, limits, load, load_error, source, text};

/// Such a module, whose `init` answers `init`. `execute` gives back what it was handed, `on_event` an error.
fn module(init: i32) -> String {
    saying(init, SPEC, "")
}

/// What it says of itself.
const SPEC: &str = r#"{"name":"voice","tools":[{"name":"voice_session"}]}"#;

/// The same, where it says something else of itself, after it has done what `first` does.
fn saying(init: i32, spec: &str, first: &str) -> String {
    let written: String = spec.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let (pages, length) = (2 + spec.len() / 65_536, spec.len());
    format!(
        r#"(module
            (memory (export "memory") {pages})
            (global $length (mut i32) (i32.const 0))
            (global $ready (mut i32) (i32.const 0))
            (data (i32.const 4096) "{written} and no more of it")
            (data (i32.const 2048) "{{\"status\":\"error\",\"error\":\"no such event\"}}")
            (data (i32.const 3072) "{{\"action\":\"none\"}}")
            (func $give (param i32 i32) (result i32)
                (global.set $length (local.get 1))
                (local.get 0))
            (func (export "init") (result i32) (global.set $ready (i32.const 1)) (i32.const {init}))
            (func $describe (export "describe") (result i32)
                {first}
                (call $give (i32.const 4096) (i32.const {length})))
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
        assert_eq!(
            plugin.functions(),
            ["voice_session", "execute", "on_event", "on_message", "describe", "get_spec"]
        );
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
            assert_eq!(call("voice_session", r#"{"provider":"openai"}"#).unwrap(), ASKED, "{mode:?}");
            for name in ["describe", "get_spec"] {
                assert_eq!(call(name, "{}").unwrap(), SPEC, "{mode:?}");
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

/// A folder with such a module and this manifest.
fn folder(module: &str, manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), wat::parse_str(module).unwrap()).unwrap();
    std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    folder
}

fn call(plugin: &Plugin, function: &str, json: &str) -> String {
    let outcome = plugin.invoke_blocking(function, Input::Json(json.to_owned())).unwrap();
    outcome.value.to_json_text()
}

#[test]
fn a_tool_gets_its_params_as_they_were_given() {
    let plugin = load(&host(), &module(0), text());
    assert_eq!(
        call(&plugin, "voice_session", r#"{"n":1.50e3,"big":123456789012345678901234567890}"#),
        r#"{"tool":"voice_session","params":{"n":1.50e3,"big":123456789012345678901234567890}}"#
    );
    let outcome = plugin.invoke_blocking("voice_session", Input::Words(Vec::new())).unwrap();
    assert_eq!(outcome.value.to_json_text(), r#"{"tool":"voice_session","params":{}}"#);
    for bad in [r#"{"a":1},"tool":"other""#, "{", ""] {
        let error = plugin.invoke_blocking("voice_session", Input::Json(bad.to_owned())).unwrap_err();
        assert_eq!(error.code(), "invalid-input", "{bad}");
    }
}

#[test]
fn the_manifests_tools_are_those_that_there_are_and_nothing_is_run_for_them() {
    let manifest = r#"
        [plugin]
        name = "voice"
        version = "0.1.0"
        [[plugin.tools]]
        name = "say \"hi\""
        description = "says it"
        parameters = [{ name = "text", type = "string", required = true }]
        [[plugin.tools]]
        name = "on_event"
        [[plugin.tools]]
        name = "memory"
    "#;
    // It would trap if it were asked.
    let folder = folder(&saying(0, SPEC, "unreachable"), manifest);
    let examined = host().examine(folder.path(), &LoadOptions::new()).unwrap();
    let described = examined.manifest.as_ref().unwrap();
    assert_eq!(described.warnings, [""; 0]);
    assert_eq!(described.tools[0].params[0].name, "text");
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    // What is exported is called by its name, and a tool of that name by `execute`.
    let names = [r#"say "hi""#, "execute", "on_event", "on_message", "describe", "get_spec"];
    assert_eq!(plugin.functions(), names);
    assert_eq!(examined.functions(), names);
    assert_eq!(call(&plugin, r#"say "hi""#, "[1]"), r#"{"tool":"say \"hi\"","params":[1]}"#);
    let error = plugin.invoke_blocking("on_event", Input::Json("{}".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "the plugin failed: no such event");
    let error = plugin.invoke_blocking("memory", Input::Json("{}".to_owned())).unwrap_err();
    assert_eq!(error.code(), "unsuitable-export");
    // What it says of itself and its manifest does not is no tool of it.
    let error = plugin.invoke_blocking("voice_session", Input::Json("{}".to_owned())).unwrap_err();
    assert_eq!(error.code(), "unknown-function");
}

#[test]
fn an_unknown_tool_is_told_with_those_that_are_near() {
    let plugin = load(&host(), &module(0), text());
    let error = plugin.invoke_blocking("voice_sesion", Input::Json("{}".to_owned())).unwrap_err();
    let airlock_host::ErrorKind::UnknownFunction { nearest, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(nearest, &["voice_session"]);
}

#[test]
fn a_session_calls_a_tool_by_its_name() {
    let plugin = load(&host(), &module(0), text());
    let mut session = plugin.session_blocking().unwrap();
    for at in 0..3 {
        let input = Input::Json(format!("[{at}]"));
        let outcome = session.invoke_blocking("voice_session", input).unwrap();
        assert_eq!(outcome.value.to_json_text(), format!(r#"{{"tool":"voice_session","params":[{at}]}}"#));
    }
}

/// What there is to know of a module that says this of itself, after it has done what `first` does.
fn examined(init: i32, spec: &str, first: &str) -> Examined {
    host().examine(source(&saying(init, spec, first)), &text()).unwrap()
}

#[test]
fn a_module_that_cannot_say_its_tools_is_called_by_execute_all_the_same() {
    let outside = "(global.set $length (i32.const 9)) (return (i32.const -8))";
    for (init, spec, first, reason) in [
        (0, "{\"tools\":[", "", "its answer has no `tools`"),
        (0, "{\"name\":\"voice\"}", "", "its answer has no `tools`"),
        (0, "{\"error\":\"not now\"}", "", "the plugin failed: not now"),
        (7, SPEC, "", "the plugin failed: its `init` answered 7"),
        (0, SPEC, "unreachable", "the plugin trapped"),
        (0, SPEC, outside, "outside its memory"),
    ] {
        let examined = examined(init, spec, first);
        let [warning] = examined.manifest.as_ref().unwrap().warnings.as_slice() else {
            panic!("{examined:?}")
        };
        assert!(warning.starts_with("the module does not say which tools it has: "), "{warning}");
        assert!(warning.contains(reason), "{warning}");
        assert_eq!(examined.functions(), ["execute", "on_event", "on_message", "describe", "get_spec"]);
    }
    let plugin = load(&host(), &saying(0, SPEC, "unreachable"), text());
    assert_eq!(call(&plugin, "execute", ASKED), ASKED);
}

#[test]
fn names_of_tools_that_nobody_can_read_are_none() {
    let spec = r#"{"tools":[{"name":"a\u001b[2Jb"},{"name":"\u202evoice"},{"name":"plain"},{"name":""}]}"#;
    let examined = examined(0, spec, "");
    assert_eq!(examined.functions()[..2], ["plain", "execute"]);
    let manifest = examined.manifest.unwrap();
    assert_eq!(
        manifest.warnings,
        [
            "`tools` has an entry with the name `a\\x1b[2Jb`, which is none: ignored",
            "`tools` has an entry with the name `\\u{202e}voice`, which is none: ignored",
            "`tools` has an entry with the name ``, which is none: ignored",
        ]
    );
}

#[test]
fn a_module_that_says_too_much_or_never_ends_to_is_refused() {
    let tools: Vec<String> = (0..2000).map(|at| format!(r#"{{"name":"t{at}"}}"#)).collect();
    let error = load_error(&saying(0, &format!(r#"{{"tools":[{}]}}"#, tools.join(",")), ""), text());
    assert_eq!(
        (error.code(), error.to_string()),
        (
            "invalid-manifest",
            "manifest `the module's tools` is not valid: it names more than 1000 tools".to_owned()
        )
    );
    // An answer that is longer than any manifest.
    let error = load_error(&saying(0, &format!("\"{}\"", "x".repeat(2 << 20)), ""), text());
    assert_eq!(error.code(), "limit-output");
    let error = load_error(&saying(0, SPEC, "(loop (br 0))"), limits(&[("timeout", "50ms")]));
    assert_eq!(error.code(), "deadline");
    let error = load_error(&saying(0, SPEC, "(loop (br 0))"), limits(&[("fuel", "1000000")]));
    assert_eq!(error.code(), "limit-fuel");
}
