//! A tool: what it is called, what it gives, how it fails.

use airlock_host::prx::{Tool, ToolResult};
use airlock_host::{Input, LoadOptions, block_on};
use serde_json::{Value, json};

use super::{World, folder, granted, manifest, probe, wasm};
use crate::support::{MODES, Mode, host, repository};

#[test]
fn a_tool_is_called_by_the_name_of_its_spec_and_by_execute() {
    let plugin = host().load_blocking(repository("plugins/prx-tool").as_path(), granted()).unwrap();
    assert_eq!(
        plugin.functions(),
        ["probe.execute", "prx:plugin/tool-exports.get-spec", "prx:plugin/tool-exports.execute"]
    );
    for mode in MODES {
        for name in ["probe.execute", "execute"] {
            let input = Input::json(&json!({ "do": "config.get", "args": ["greeting"] })).unwrap();
            let outcome = match mode {
                Mode::Blocking => plugin.invoke_blocking(name, input),
                _ => mode.wait(plugin.invoke(name, input)),
            };
            assert_eq!(outcome.unwrap().value.to_json_text(), "\"hello\"");
        }
    }
    let error = plugin.invoke_blocking("probe", Input::Json("{}".into())).unwrap_err();
    assert_eq!(error.code(), "unknown-function");
}

#[test]
fn what_it_says_of_itself_is_asked_before_anything_is_granted() {
    let examined = host().examine(wasm("prx-tool"), &LoadOptions::new()).unwrap();
    let tool = &examined.manifest.as_ref().unwrap().tools[0];
    assert_eq!(
        (tool.name.as_str(), tool.description.as_deref()),
        ("probe.execute", Some("Calls one function of its host"))
    );
    let params: Vec<(&str, bool)> = tool.params.iter().map(|one| (one.name.as_str(), one.required)).collect();
    assert_eq!(params, [("do", true), ("args", false), ("times", false)]);
    let schema = examined.schema("probe.execute").unwrap();
    assert_eq!(schema["properties"]["params"]["required"], json!(["do"]));
    // Its functions have theirs.
    let schema = examined.schema("prx:plugin/tool-exports.execute").unwrap();
    let text = schema.to_string();
    assert!(text.contains("plugin-result") && text.contains("\"success\""), "{text}");
}

#[test]
fn a_schema_that_is_no_json_becomes_one_that_takes_any_object() {
    let examined = host().examine(wasm("prx-variants"), &LoadOptions::new()).unwrap();
    let manifest = examined.manifest.unwrap();
    assert_eq!(manifest.tools[0].schema, Some(json!({ "type": "object", "properties": {} })));
    assert_eq!(manifest.warnings, ["the schema of its tool `variants` is no JSON object: anything is taken"]);
}

#[test]
fn its_output_is_json_where_it_is_some_and_a_text_elsewhere() {
    let plugin = host().load_blocking(wasm("prx-tool"), LoadOptions::new()).unwrap();
    assert_eq!(probe(&plugin, "config.get-all", &json!([])).unwrap(), json!([]));
    assert_eq!(probe(&plugin, "text", &json!([])).unwrap(), json!("plain, and no JSON"));
}

#[test]
fn a_failure_is_an_error_with_its_reason_and_its_output_beside_it() {
    let plugin = host().load_blocking(wasm("prx-tool"), LoadOptions::new()).unwrap();
    let error = probe(&plugin, "nothing", &json!([])).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("failed", 1));
    assert_eq!(error.to_string(), "the plugin failed: unsupported: nothing");
    let output: Value = serde_json::from_str(error.output().unwrap()).unwrap();
    assert_eq!(output, json!({ "ok": false, "did": "nothing" }));
    // As its interface has it, nothing of that is an error.
    let result = block_on(Tool::new(&plugin).execute(&json!({ "do": "nothing" }))).unwrap();
    let (output, error) = (output.to_string(), Some("unsupported: nothing".to_owned()));
    let same: Value = serde_json::from_str(&result.output).unwrap();
    assert_eq!(same, serde_json::from_str::<Value>(&output).unwrap());
    assert_eq!(
        ToolResult { output: String::new(), ..result },
        ToolResult { success: false, output: String::new(), error }
    );
}

#[test]
fn arguments_that_are_no_json_never_reach_it() {
    let plugin = host().load_blocking(wasm("prx-tool"), LoadOptions::new()).unwrap();
    let error = plugin.invoke_blocking("execute", Input::Words(vec!["{".to_owned()])).unwrap_err();
    assert_eq!(error.code(), "invalid-input");
}

#[test]
fn digits_of_its_arguments_are_as_they_were_given() {
    let home = folder("prx-variants", &manifest("[permissions]\noptional = [\"kv\"]\n"));
    let plugin = host().load_blocking(home.path(), granted()).unwrap();
    let error = plugin.invoke_blocking("execute", Input::Json("1.50e3".into())).unwrap_err();
    assert_eq!(error.to_string(), "the plugin failed: unsupported: 1.50e3");
    assert_eq!(error.output(), None, "it has nothing to say beside it");
}

#[test]
fn a_managed_tool_keeps_its_state_and_has_a_new_instance_after_a_trap() {
    let world = World::new();
    let manager = world.manager();
    let managed = manager.load_blocking("t", wasm("prx-tool"), LoadOptions::new()).unwrap();
    let count = || super::managed_probe(&managed, "count", &json!([])).unwrap();
    assert_eq!((count(), count()), (json!(1), json!(2)));
    // A failure that it reports is no reason to begin anew.
    super::managed_probe(&managed, "nothing", &json!([])).unwrap_err();
    assert_eq!(count(), json!(4));
    let error = super::managed_probe(&managed, "panic", &json!([])).unwrap_err();
    assert_eq!(error.code(), "trap");
    assert_eq!(count(), json!(1));
    assert_eq!(Tool::new(&managed).spec().unwrap().name, "probe.execute");
}
