//! Hooks, and what they and others publish.

use airlock_host::manager::{Allowed, Manager};
use airlock_host::prx::Lifecycle;
use airlock_host::{EVENT_DEPTH, LoadOptions};
use serde_json::{Value, json};

use super::{World, folder, granted, manifest, probe, put, refused};

/// A manager with one hook of these events, and its folder.
fn hook(world: &World, events: &str) -> (Manager, tempfile::TempDir) {
    let manager = world.manager();
    let home = folder("prx-hook", &hook_manifest(events));
    manager.load_blocking("p", home.path(), granted()).unwrap();
    (manager, home)
}

fn hook_manifest(events: &str) -> String {
    manifest(&format!(
        "[[capabilities]]\ntype = \"hook\"\nname = \"h\"\nevents = [{events}]\n\
         [permissions]\nrequired = [\"log\", \"kv\"]\noptional = [\"events\"]\n"
    ))
}

fn publish(world: &World, topic: &str, payload: &Value) -> usize {
    world.bus.publish_as_host(topic, payload.to_string().as_bytes()).unwrap()
}

#[test]
fn a_hook_is_told_of_what_an_agent_does_by_its_short_names() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"agent_start\", \"tool_call\"");
    for (event, reached) in [(Lifecycle::AgentStart, 1), (Lifecycle::AgentEnd, 0), (Lifecycle::ToolCall, 1)] {
        assert_eq!(event.tell(&world.bus, &json!({ "session": 1 })).unwrap(), reached, "{event}");
    }
    assert_eq!(world.line(), "info: agent_start 1: noted");
    assert_eq!(world.line(), "info: tool_call 1: noted");
}

#[test]
fn a_star_is_every_event_and_each_is_told_once() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"*\", \"agent_start\", \"build.*\"");
    for event in Lifecycle::ALL {
        assert_eq!(event.tell(&world.bus, &json!({})).unwrap(), 1);
        assert_eq!(world.line(), format!("info: {event} 1: noted"));
    }
    publish(&world, "build.done", &json!({}));
    assert_eq!(world.line(), "info: build.done 1: noted");
    publish(&world, "last", &json!({}));
    assert_eq!(world.line(), "info: last 1: noted", "nothing was told twice");
}

#[test]
fn patterns_work_in_the_events_of_a_manifest() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"build.*\"");
    for (topic, reached) in [("build.done", 1), ("build.step.one", 1), ("builds", 0), ("build", 0)] {
        assert_eq!(publish(&world, topic, &json!({})), reached, "{topic}");
    }
    assert_eq!(world.line(), "info: build.done 1: noted");
    assert_eq!(world.line(), "info: build.step.one 1: noted");
}

#[test]
fn a_hook_is_told_of_nothing_that_is_not_granted() {
    let world = World::new();
    let home = folder("prx-hook", &hook_manifest("\"agent_start\""));
    let options = LoadOptions::new().allow("kv=10MiB".parse().unwrap());
    let _managed = world.manager().load_blocking("p", home.path(), options).unwrap();
    assert_eq!(Lifecycle::AgentStart.tell(&world.bus, &json!({})).unwrap(), 0);
    assert_eq!(world.bus.subscriptions(), 0);
}

#[test]
fn what_a_hook_subscribes_to_is_told_by_its_topic_until_it_unsubscribes() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"agent_start\"");
    Lifecycle::AgentStart.tell(&world.bus, &json!({ "subscribe": "weather.*" })).unwrap();
    assert_eq!(world.line(), "info: agent_start 1: subscribed 1");
    assert_eq!(publish(&world, "weather.rain.heavy", &json!({})), 1);
    assert_eq!(world.line(), "info: weather.rain.heavy 1: noted");
    Lifecycle::AgentStart.tell(&world.bus, &json!({ "subscribe": "prx.lifecycle.agent_end" })).unwrap();
    assert_eq!(world.line(), "info: agent_start 2: subscribed 2");
    Lifecycle::AgentEnd.tell(&world.bus, &json!({})).unwrap();
    assert_eq!(world.line(), "info: prx.lifecycle.agent_end 1: noted");
    publish(&world, "weather.sun", &json!({ "unsubscribe": 1 }));
    assert_eq!(world.line(), "info: weather.sun 1: unsubscribed 1");
    assert_eq!(publish(&world, "weather.rain", &json!({})), 0);
    Lifecycle::AgentStart.tell(&world.bus, &json!({ "unsubscribe": 1 })).unwrap();
    assert_eq!(world.line(), "info: agent_start 3: there is no subscription 1");
}

#[test]
fn patterns_that_there_are_not_are_refused() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"agent_start\"");
    for (pattern, reason) in [
        ("a.**", "`*` stands at the end of a name only"),
        ("a.*.b", "`*` stands at the end of a name only"),
        ("", "a name is missing"),
    ] {
        Lifecycle::AgentStart.tell(&world.bus, &json!({ "subscribe": pattern })).unwrap();
        let line = world.line();
        assert!(line.ends_with(reason), "{pattern}: {line}");
    }
    assert_eq!(world.bus.subscriptions(), 1);
}

#[test]
fn only_hooks_subscribe_and_only_where_somebody_tells_them() {
    let world = World::new();
    let permissions = "[permissions]\noptional = [\"events\"]\n";
    let tool = folder("prx-tool", &manifest(permissions));
    let managed = world.manager().load_blocking("p", tool.path(), granted()).unwrap();
    let error = super::managed_probe(&managed, "events.subscribe", &json!(["a"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plugin failed: event subscriptions require a hook-capable plugin event handler"
    );
    // Nobody manages it, so that nobody could tell it.
    let hook = folder("prx-hook", &hook_manifest(""));
    let plugin = world.host.load_blocking(hook.path(), granted()).unwrap();
    let input = json!({ "event": "x", "payload-json": json!({ "subscribe": "a" }).to_string() });
    plugin.invoke_blocking("on-event", airlock_host::Input::json(&input).unwrap()).unwrap();
    assert_eq!(world.line(), "info: x 1: event bus is not configured");
}

#[test]
fn without_a_bus_nobody_is_told_and_nobody_can_subscribe() {
    let world = World::with(|mut services| {
        services.events = std::sync::Arc::new(airlock_host::service::Absent);
        services
    });
    let tool = folder("prx-tool", &manifest("[permissions]\noptional = [\"events\"]\n"));
    let plugin = world.host.load_blocking(tool.path(), granted()).unwrap();
    assert_eq!(probe(&plugin, "events.publish", &json!(["a", "{}"])).unwrap(), Value::Null);
    let manager = world.manager();
    let home = folder("prx-hook", &hook_manifest("\"agent_start\""));
    let managed = manager.load_blocking("p", home.path(), granted()).unwrap();
    let input = json!({ "event": "x", "payload-json": json!({ "subscribe": "a" }).to_string() });
    managed.invoke_blocking("on-event", airlock_host::Input::json(&input).unwrap()).unwrap();
    assert_eq!(world.line(), "info: x 1: event bus is not configured");
}

#[test]
fn every_world_may_publish_within_the_bounds() {
    let world = World::new();
    let home = folder("prx-tool", &manifest("[permissions]\noptional = [\"events\"]\n"));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let mut all = world.bus.subscribe_as_host(&"*".parse().unwrap()).unwrap();
    let topic = "t".repeat(256);
    for (topic, payload) in [("a", "x".repeat(65_536)), (topic.as_str(), String::new())] {
        probe(&plugin, "events.publish", &json!([topic, payload])).unwrap();
        let event = all.try_next().unwrap();
        assert_eq!((&*event.topic, event.payload.len(), event.depth), (topic, payload.len(), 0));
        assert_eq!(event.publisher.as_deref(), Some("p"));
    }
    assert_eq!(
        refused(&plugin, "events.publish", &json!(["a", "x".repeat(65_537)])),
        "an event has up to 65536 bytes, not 65537"
    );
    for topic in [String::new(), "t".repeat(257)] {
        let reason = refused(&plugin, "events.publish", &json!([topic, "{}"]));
        assert!(
            reason.starts_with("a topic has 1 to 256 bytes") || reason.starts_with("permission"),
            "{reason}"
        );
    }
}

#[test]
fn hooks_that_answer_events_with_events_come_to_an_end() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"echo\"");
    let mut all = world.bus.subscribe_as_host(&"echo".parse().unwrap()).unwrap();
    publish(&world, "echo", &json!({ "publish": "echo" }));
    for count in 1..EVENT_DEPTH {
        assert_eq!(world.line(), format!("info: echo {count}: published echo"));
    }
    let most = EVENT_DEPTH;
    assert_eq!(
        world.line(),
        format!("info: echo {most}: events are answered with events {most} deep, which is the most")
    );
    let depths: Vec<u32> = std::iter::from_fn(|| all.try_next()).map(|event| event.depth).collect();
    assert_eq!(depths, (0..EVENT_DEPTH).collect::<Vec<_>>());
    // What begins anew is counted anew.
    publish(&world, "echo", &json!({}));
    assert_eq!(world.line(), format!("info: echo {}: noted", most + 1));
}

#[test]
fn two_hooks_that_answer_each_other_come_to_an_end() {
    let world = World::new();
    let manager = world.manager();
    let _homes = ["one", "two"].map(|name| {
        let text = hook_manifest("\"echo\"").replace("\"p\"", &format!("\"{name}\""));
        let home = folder("prx-hook", &text);
        manager.load_blocking(name, home.path(), granted()).unwrap();
        home
    });
    let mut all = world.bus.subscribe_as_host(&"echo".parse().unwrap()).unwrap();
    publish(&world, "echo", &json!({ "publish": "echo" }));
    // Both answer each: one event, two of one depth more, four of two more.
    let most: u32 = (0..EVENT_DEPTH).map(|depth| 1 << depth).sum();
    let lines: Vec<String> = (0..2 * most).map(|_| world.line()).collect();
    let refused = lines.iter().filter(|line| line.ends_with("which is the most")).count();
    assert_eq!(refused, 1 << EVENT_DEPTH);
    let depths: Vec<u32> = std::iter::from_fn(|| all.try_next()).map(|event| event.depth).collect();
    assert_eq!((depths.len(), depths.into_iter().max()), (most as usize, Some(EVENT_DEPTH - 1)));
}

#[test]
fn errors_and_traps_of_a_hook_are_logged_and_the_next_event_is_told() {
    let world = World::new();
    let (manager, _home) = hook(&world, "\"x\"");
    for (count, payload) in [(1, json!({ "fail": "no" })), (2, json!({ "panic": true })), (3, json!({}))] {
        publish(&world, "x", &payload);
        assert_eq!(world.line(), format!("info: x {count}: noted"));
    }
    // The last one ends after it has logged.
    while manager.metrics().calls < 3 {
        std::thread::yield_now();
    }
    let metrics = manager.metrics();
    assert_eq!((metrics.calls, metrics.successes), (3, 1));
}

#[test]
fn subscriptions_end_with_the_instance_that_made_them() {
    let world = World::new();
    let (_manager, _home) = hook(&world, "\"x\"");
    publish(&world, "x", &json!({ "subscribe": "y" }));
    assert_eq!(world.line(), "info: x 1: subscribed 1");
    // Two are for its manifest's: what is published as that, and what an agent does under that name.
    assert_eq!(world.bus.subscriptions(), 3);
    publish(&world, "x", &json!({ "panic": true }));
    assert_eq!(world.line(), "info: x 2: noted");
    publish(&world, "x", &json!({}));
    assert_eq!(world.line(), "info: x 3: noted");
    assert_eq!(world.bus.subscriptions(), 2);
}

#[test]
fn after_a_reload_a_hook_is_told_of_what_its_new_manifest_names() {
    let world = World::new();
    let (manager, home) = hook(&world, "\"old\"");
    publish(&world, "old", &json!({}));
    assert_eq!(world.line(), "info: old 1: noted");
    manager.get("p").unwrap().allowed(Allowed::AnyBytes);
    put(home.path(), "prx-hook", &hook_manifest("\"new\""));
    manager.reload_blocking("p").unwrap();
    assert_eq!(publish(&world, "old", &json!({})), 0);
    assert_eq!(publish(&world, "new", &json!({})), 1);
    assert_eq!(world.line(), "info: new 1: noted");
    manager.unload_blocking("p").unwrap();
    assert_eq!((publish(&world, "new", &json!({})), world.bus.subscriptions()), (0, 0));
}

#[test]
fn a_manager_that_is_dropped_tells_nobody_any_more() {
    let world = World::new();
    let (manager, _home) = hook(&world, "\"x\"");
    drop(manager);
    // The thread that tells it may hold it for a moment.
    while world.bus.subscriptions() > 0 {
        std::thread::yield_now();
    }
}
