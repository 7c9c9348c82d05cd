//! `prx:host`: log, configuration, what is kept, what is remembered.

use std::sync::Arc;

use airlock_host::manager::Allowed;
use airlock_host::service::OperatorConfig;
use airlock_host::{Input, LoadOptions};
use serde_json::{Value, json};

use super::{World, folder, granted, managed_probe, manifest, probe, refused, wasm};

const KV: &str = "[permissions]\nrequired = [\"kv\"]\n";

#[test]
fn the_log_takes_every_level_without_a_permission() {
    let world = World::new();
    let plugin = world.host.load_blocking(wasm("prx-tool"), LoadOptions::new()).unwrap();
    for level in ["trace", "debug", "info", "warn", "error"] {
        probe(&plugin, "log.log", &json!([level, "a line"])).unwrap();
        assert_eq!(world.line(), format!("{level}: a line"));
    }
}

#[test]
fn configuration_is_the_manifests_beneath_the_operators() {
    let operators = OperatorConfig::new().plugin("p", [("retries".to_owned(), "5".to_owned())]);
    let world = World::with(|mut services| {
        services.config = Arc::new(operators);
        services
    });
    let home = folder("prx-tool", &manifest("[config]\nretries = 3\nreal = false\nname = \"x\"\n"));
    let plugin = world.host.load_blocking(home.path(), LoadOptions::new()).unwrap();
    assert_eq!(probe(&plugin, "config.get", &json!(["retries"])).unwrap(), json!(5));
    assert_eq!(probe(&plugin, "config.get", &json!(["real"])).unwrap(), json!(false));
    assert_eq!(probe(&plugin, "config.get", &json!(["nothing"])).unwrap(), Value::Null);
    assert_eq!(
        probe(&plugin, "config.get-all", &json!([])).unwrap(),
        json!([["name", "x"], ["real", "false"], ["retries", "5"]])
    );
}

#[test]
fn what_is_kept_is_there_for_every_instance_and_survives_them() {
    let world = World::new();
    let home = folder("prx-tool", &manifest(KV));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    assert_eq!(probe(&plugin, "kv.get", &json!(["a"])).unwrap(), Value::Null);
    probe(&plugin, "kv.set", &json!(["a", "1"])).unwrap();
    probe(&plugin, "kv.set", &json!(["b", "2"])).unwrap();
    // Each call is of another instance.
    assert_eq!(probe(&plugin, "kv.get", &json!(["a"])).unwrap(), json!(1));
    assert_eq!(probe(&plugin, "kv.list-keys", &json!([""])).unwrap(), json!(["a", "b"]));
    assert_eq!(probe(&plugin, "kv.list-keys", &json!(["b"])).unwrap(), json!(["b"]));
    assert_eq!(probe(&plugin, "kv.delete", &json!(["a"])).unwrap(), json!(true));
    assert_eq!(probe(&plugin, "kv.delete", &json!(["a"])).unwrap(), json!(false));
    // A manager that begins later finds it.
    let managed = world.manager().load_blocking("p", home.path(), granted().name("p")).unwrap();
    assert_eq!(managed_probe(&managed, "kv.list-keys", &json!([""])).unwrap(), json!(["b"]));
}

#[test]
fn what_is_kept_survives_a_reload() {
    let world = World::new();
    let home = folder("prx-tool", &manifest(KV));
    let manager = world.manager();
    let managed = manager.load_blocking("p", home.path(), granted()).unwrap();
    managed.allowed(Allowed::AnyBytes);
    managed_probe(&managed, "kv.set", &json!(["a", "kept"])).unwrap();
    assert_eq!(managed_probe(&managed, "count", &json!([])).unwrap(), json!(2));
    let other = manifest(&format!("{KV}[config]\nkey = \"new\"\n"));
    std::fs::write(home.path().join("plugin.toml"), other).unwrap();
    manager.reload_blocking("p").unwrap();
    assert_eq!(managed_probe(&managed, "kv.get", &json!(["a"])).unwrap(), json!("kept"));
    assert_eq!(managed_probe(&managed, "config.get", &json!(["key"])).unwrap(), json!("new"));
}

#[test]
fn the_quota_is_the_manifests_and_is_told_in_bytes() {
    let world = World::new();
    let home = folder("prx-tool", &manifest(&format!("{KV}[resources]\nmax_kv_storage_kb = 1\n")));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    probe(&plugin, "kv.set", &json!(["a", 1000])).unwrap();
    assert_eq!(
        refused(&plugin, "kv.set", &json!(["b", 100])),
        "plugin KV quota exceeded: requested 1102 bytes, limit 1024 bytes"
    );
    assert_eq!(probe(&plugin, "kv.list-keys", &json!([""])).unwrap(), json!(["a"]));
    let ten = folder("prx-tool", &manifest(KV));
    let plugin = world.host.load_blocking(ten.path(), granted().name("ten")).unwrap();
    let most = 10 << 20;
    assert_eq!(
        refused(&plugin, "kv.set", &json!(["a", most])),
        format!("plugin KV quota exceeded: requested {} bytes, limit {most} bytes", most + 1)
    );
    probe(&plugin, "kv.set", &json!(["a", most - 1])).unwrap();
}

#[test]
fn without_a_permission_calls_answer_and_nothing_traps() {
    let world = World::new();
    let home = folder("prx-tool", &manifest("[permissions]\n"));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let denied = |permission: &str| format!("permission '{permission}' denied for plugin 'p'");
    for (what, args, permission) in [
        ("kv.set", json!(["a", "1"]), "kv"),
        ("kv.delete", json!(["a"]), "kv"),
        ("http-outbound.request", json!(["GET", "https://a.example/"]), "http-outbound"),
        ("memory.store", json!(["a", "core"]), "memory"),
        ("memory.recall", json!(["a"]), "memory"),
        ("events.publish", json!(["a", "{}"]), "events"),
        ("events.subscribe", json!(["a"]), "events"),
    ] {
        assert_eq!(refused(&plugin, what, &args), denied(permission), "{what}");
    }
    assert_eq!(probe(&plugin, "kv.get", &json!(["a"])).unwrap(), Value::Null);
    assert_eq!(probe(&plugin, "kv.list-keys", &json!([""])).unwrap(), json!([]));
}

#[test]
fn a_denied_log_is_dropped_and_a_denied_configuration_is_empty() {
    let world = World::new();
    let denied = |name: &str| name.parse().unwrap();
    let options = LoadOptions::new().deny(denied("log")).deny(denied("config"));
    let home = folder("prx-tool", &manifest("[config]\nkey = \"value\"\n[permissions]\n"));
    let plugin = world.host.load_blocking(home.path(), options).unwrap();
    probe(&plugin, "log.log", &json!(["info", "x"])).unwrap();
    assert_eq!(probe(&plugin, "config.get", &json!(["key"])).unwrap(), Value::Null);
    assert_eq!(probe(&plugin, "config.get-all", &json!([])).unwrap(), json!([]));
    assert!(world.all_lines().is_empty());
}

#[test]
fn memories_are_found_by_their_words_and_ids_say_whose_they_are() {
    let world = World::new();
    world.memory.put("mine", "the cat of the house", "core");
    let home = folder("prx-tool", &manifest("[permissions]\noptional = [\"memory\"]\n"));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let id = probe(&plugin, "memory.store", &json!(["the cat sleeps on the roof", "my own"])).unwrap();
    let id = id.as_str().unwrap();
    let uuid = id.strip_prefix("plugin:p:").unwrap();
    assert!(uuid.len() == 36 && uuid.as_bytes()[14] == b'4', "{uuid}");
    let found = probe(&plugin, "memory.recall", &json!(["roof cat", 5])).unwrap();
    assert_eq!(found[0], json!([id, "the cat sleeps on the roof", "my own", 1.0]));
    assert_eq!(found[1], json!(["mine", "the cat of the house", "core", 0.5]));
    assert_eq!(
        probe(&plugin, "memory.recall", &json!(["roof cat", 1])).unwrap().as_array().unwrap().len(),
        1
    );
    assert!(
        refused(&plugin, "memory.store", &json!(["", "core"])).starts_with("what is remembered has 1 to")
    );
}

#[test]
fn a_host_without_a_memory_says_so() {
    let world = World::with(|mut services| {
        services.memory = Arc::new(airlock_host::service::Absent);
        services
    });
    let home = folder("prx-tool", &manifest("[permissions]\noptional = [\"memory\"]\n"));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    for (what, args) in [("memory.store", json!(["a", "core"])), ("memory.recall", json!(["a"]))] {
        assert_eq!(refused(&plugin, what, &args), "memory backend not configured");
    }
}

#[test]
fn a_component_without_a_manifest_can_be_granted_what_it_imports() {
    let world = World::new();
    let examined = world.host.examine(wasm("prx-tool"), &LoadOptions::new()).unwrap();
    let asked: Vec<String> = examined.requests.iter().map(|one| one.capability.to_string()).collect();
    for wanted in ["kv=10MiB", "memory", "net=*", "events.publish=*", "events.subscribe=*"] {
        assert!(asked.iter().any(|one| one == wanted), "{wanted} in {asked:?}");
    }
    let options = LoadOptions::new().allow("kv=1MiB".parse().unwrap());
    let plugin = world.host.load_blocking(wasm("prx-tool"), options).unwrap();
    probe(&plugin, "kv.set", &json!(["a", "b"])).unwrap();
    assert_eq!(world.kv.entries("plugin")["a"], b"b");
    let input = Input::json(&json!({ "do": "kv.get", "args": ["a"] })).unwrap();
    assert_eq!(plugin.invoke_blocking("execute", input).unwrap().value.to_json_text(), "\"b\"");
}
