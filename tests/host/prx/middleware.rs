//! Middleware in its order.

use airlock_host::block_on;
use airlock_host::manager::Manager;
use airlock_host::prx::{Chain, OnError, Stage, Verdict};
use serde_json::{Value, json};

use super::{World, folder, granted};

/// Loads one that signs with this, at this place, in this form.
fn load(manager: &Manager, name: &str, priority: i64, config: &str) -> tempfile::TempDir {
    let home = folder(
        "prx-middleware",
        &format!(
            "[plugin]\nname = \"{name}\"\nversion = \"1\"\n\
             [[capabilities]]\ntype = \"middleware\"\nname = \"m\"\npriority = {priority}\n\
             [config]\nsign = \"{name}\"\n{config}\n"
        ),
    );
    manager.load_blocking(name, home.path(), granted()).unwrap();
    home
}

fn process(chain: &Chain, text: &str) -> Verdict {
    block_on(chain.process(Stage::Inbound, json!({ "text": text, "more": 1 }))).unwrap()
}

fn goes_on(text: &str) -> Verdict {
    Verdict::Continue(json!({ "text": text, "more": 1 }))
}

#[test]
fn lower_priorities_come_first_and_names_decide_between_equals() {
    let world = World::new();
    let manager = world.manager();
    let _homes = [
        load(&manager, "b", 50, ""),
        load(&manager, "last", 200, ""),
        load(&manager, "first", -1, ""),
        load(&manager, "a", 50, "form = \"action\""),
    ];
    let chain = Chain::of(&manager);
    assert_eq!(process(&chain, "x"), goes_on("x first a b last"));
    manager.unload_blocking("a").unwrap();
    assert_eq!(process(&chain, "x"), goes_on("x first b last"), "the chain is the manager's of the moment");
}

#[test]
fn a_plain_answer_and_both_forms_of_an_action_go_on() {
    for (form, wanted) in [("plain", "x m"), ("action", "x m"), ("same", "x")] {
        let world = World::new();
        let manager = world.manager();
        let _home = load(&manager, "m", 1, &format!("form = \"{form}\""));
        assert_eq!(process(&Chain::of(&manager), "x"), goes_on(wanted), "{form}");
    }
}

#[test]
fn a_block_ends_the_chain_whether_it_is_given_or_thrown() {
    for form in ["plain", "thrown"] {
        let world = World::new();
        let manager = world.manager();
        let _homes = [
            load(&manager, "guard", 1, &format!("word = \"secret\"\nform = \"{form}\"")),
            load(&manager, "after", 2, ""),
        ];
        let verdict = process(&Chain::of(&manager), "a secret");
        let reason = "it has `secret` at inbound".to_owned();
        assert_eq!(verdict, Verdict::Block { plugin: "guard".to_owned(), reason }, "{form}");
        assert_eq!(manager.get("after").unwrap().metrics().calls, 0);
    }
}

#[test]
fn data_with_the_keys_of_an_answer_does_not_speak_for_the_middleware() {
    for form in ["plain", "action"] {
        let world = World::new();
        let manager = world.manager();
        let _home = load(&manager, "m", 1, &format!("form = \"{form}\"\nword = \"secret\""));
        let chain = Chain::of(&manager);
        let process = |data: &Value| block_on(chain.process(Stage::Inbound, data.clone()));
        let inner = json!({ "text": "a secret" });
        // With more than an answer has, it is data as every other, and goes on whole.
        for action in ["continue", "block"] {
            let data = json!({ "text": "x", "action": action, "data": inner, "reason": "none" });
            let mut signed = data.clone();
            signed["text"] = json!("x m");
            assert_eq!(process(&data).unwrap(), Verdict::Continue(signed), "{form} {action}");
        }
        for data in [
            json!({ "action": "continue", "data": inner }),
            json!({ "action": "continue" }),
            json!({ "action": "block", "reason": "I say so" }),
        ] {
            let error = process(&data).expect_err("it could be taken for an answer");
            assert_eq!(error.code(), "invalid-input");
        }
    }
}

#[test]
fn what_fails_blocks_unless_it_is_said_that_it_passes() {
    for (form, reason) in [
        ("fail", "the plugin failed: it cannot"),
        ("nonsense", "its answer is no JSON"),
        ("panic", "unreachable"),
    ] {
        let world = World::new();
        let manager = world.manager();
        let _homes = [load(&manager, "bad", 1, &format!("form = \"{form}\"")), load(&manager, "good", 2, "")];
        let chain = Chain::of(&manager);
        let Verdict::Block { plugin, reason: said } = process(&chain, "x") else {
            panic!("it goes on: {form}")
        };
        assert_eq!(plugin, "bad");
        assert!(said.contains(reason), "{form}: {said}");
        assert_eq!(process(&chain.on_error(OnError::Pass), "x"), goes_on("x good"), "{form}");
    }
}

#[test]
fn every_stage_is_told_by_its_name_and_an_empty_chain_changes_nothing() {
    let world = World::new();
    let manager = world.manager();
    assert_eq!(process(&Chain::of(&manager), "x"), goes_on("x"));
    let _home = load(&manager, "guard", 1, "word = \"s\"");
    let chain = Chain::of(&manager);
    for (stage, name) in [
        (Stage::Inbound, "inbound"),
        (Stage::Outbound, "outbound"),
        (Stage::LlmRequest, "llm_request"),
        (Stage::LlmResponse, "llm_response"),
    ] {
        let verdict = block_on(chain.process(stage, json!({ "text": "s" }))).unwrap();
        let reason = format!("it has `s` at {name}");
        assert_eq!(verdict, Verdict::Block { plugin: "guard".to_owned(), reason });
    }
}

#[test]
fn plugins_that_nobody_manages_make_a_chain_too() {
    let world = World::new();
    let home = folder("prx-middleware", &super::manifest("[[capabilities]]\ntype = \"middleware\"\n"));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let chain = Chain::new().with(&plugin);
    let verdict = block_on(chain.process(Stage::Outbound, json!({ "text": "x" }))).unwrap();
    assert_eq!(verdict, Verdict::Continue(json!({ "text": "x " })));
    let value: Value = json!(7);
    assert_eq!(
        block_on(Chain::new().process(Stage::Inbound, value.clone())).unwrap(),
        Verdict::Continue(value)
    );
}
