//! `prx:plugin/host-calls`: the tools of the application by their names, beside those of mail.

use std::sync::Arc;

use airlock_host::service::{ToolFn, ToolRegistry};
use airlock_host::testing::fakes;
use airlock_host::{
    AbiId, AuditEvent, Host, Input, LoadOptions, MemoryAudit, OnAuditFailure, Plugin, ServiceError,
};
use serde_json::{Value, json};

use super::World;
use super::names::execute_tool;
use crate::support::text;

fn run(plugin: &Plugin, tool: &str, args: &str) -> Value {
    let outcome = plugin.invoke_blocking("run", Input::json(&json!([tool, args, false])).unwrap()).unwrap();
    serde_json::from_str(&outcome.value.to_json_text()).unwrap()
}

#[test]
fn a_tool_that_is_registered_and_granted_is_called_with_its_arguments() {
    let registry = ToolRegistry::new();
    registry.register(Arc::new(ToolFn::new("echo", "says it", |input| async { Ok(input) }))).unwrap();
    let fails = ToolFn::new("fails", "does not", |_| async { Err(ServiceError::Failed("not today".into())) });
    registry.register(Arc::new(fails)).unwrap();
    let world = World::with(|mut services| {
        services.tools = Arc::new(registry);
        services
    });
    let load = |options: LoadOptions| {
        world.host.load_blocking(execute_tool().component("@0.1.0").as_bytes(), options).unwrap()
    };
    let plugin = load(text().allow("tools.call=*".parse().unwrap()));
    assert_eq!(plugin.abi(), AbiId::Prx);
    assert_eq!(
        run(&plugin, "echo", r#"{"a":1}"#),
        json!({ "success": true, "output": r#"{"a":1}"#, "error": null })
    );
    for (tool, reason) in [("fails", "not today"), ("gone", "gone")] {
        let answer = run(&plugin, tool, "{}");
        assert_eq!(answer["success"], false, "{answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error}");
        let output: Value = serde_json::from_str(answer["output"].as_str().unwrap()).unwrap();
        assert_eq!(output, json!({ "ok": false, "tool": tool, "message": error }));
    }
    let one = load(text().allow("tools.call=other".parse().unwrap()));
    let answer = run(&one, "echo", "{}");
    assert_eq!(
        (&answer["success"], &answer["error"]),
        (&json!(false), &json!("`tools.call=echo` is needed and not granted"))
    );
}

#[test]
fn what_the_switch_of_the_network_refuses_is_noted_as_refused() {
    for is_on in [false, true] {
        let audit = Arc::new(MemoryAudit::new());
        let mut services = fakes().services();
        services.mail_network = is_on;
        let host = Host::builder().services(services).audit(audit.clone(), OnAuditFailure::Refuse);
        let host = host.build().unwrap();
        let options = ["email.sync=*", "email.read=*", "email.send=*"]
            .iter()
            .fold(text(), |options, granted| options.allow(granted.parse().unwrap()));
        let plugin = host.load_blocking(execute_tool().component("@0.1.0").as_bytes(), options).unwrap();
        // The caller says itself that it wants no server spoken to.
        for tool in ["email.sync", "email.send", "email.reply", "email.list"] {
            let arguments = match tool {
                "email.send" => r#"{"to":"b@x.example","subject":"s","body_text":"t"}"#,
                "email.reply" => r#"{"message_id":"m","body_text":"t"}"#,
                _ => "{}",
            };
            let answer = run(&plugin, tool, arguments);
            assert_eq!(answer["success"], tool == "email.list", "{tool}: {answer}");
        }
        let refused: Vec<String> = audit
            .events()
            .iter()
            .filter_map(|(_, event)| match event {
                AuditEvent::Refused { capability, count } => Some(format!("{capability} {count}")),
                _ => None,
            })
            .collect();
        assert_eq!(refused, ["email.sync=* 1", "email.send=* 1", "email.reply=* 1"], "{is_on}");
    }
}
