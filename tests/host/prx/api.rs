//! What PRX's HTTP API answers about plugins: `GET /api/plugins` and `POST /api/plugins/NAME/reload`.

use airlock_host::manager::CrashPolicy;
use airlock_host::prx::{Api, PluginStatus};
use airlock_host::{Input, LoadOptions, block_on};
use serde_json::{Value, json};

use super::{World, folder, granted, manifest, put};
use crate::support::repository;

fn as_json(what: &impl serde::Serialize) -> Value {
    serde_json::to_value(what).unwrap()
}

#[test]
fn plugins_are_listed_as_prx_does() {
    let world = World::new();
    let manager = world.manager();
    let api = Api::of(&manager);
    assert_eq!(as_json(&api.plugins()), json!({ "plugins": [], "count": 0, "generation": 1 }));
    let options = LoadOptions::new().allow("kv=1MiB".parse().unwrap()).allow("memory".parse().unwrap());
    manager.load_blocking("tool", repository("plugins/prx-tool").as_path(), options).unwrap();
    manager.load_blocking("other", repository("plugins/text-processor").as_path(), granted()).unwrap();
    assert_eq!(
        as_json(&api.plugins()),
        json!({
            "plugins": [
                {
                    "name": "other",
                    "version": "1.0.0",
                    "description": manager.get("other").unwrap().plugin().manifest().unwrap().description,
                    "capabilities": [],
                    "status": "Active",
                    "permissions_required": [],
                    "permissions_granted": [],
                },
                {
                    "name": "tool",
                    "version": "0.1.0",
                    "description": "A tool that does with its host what it is told to",
                    "capabilities": ["tool:probe"],
                    "status": "Active",
                    "permissions_required": ["log", "config", "kv"],
                    "permissions_granted": ["log", "config", "kv", "memory"],
                },
            ],
            "count": 2,
            "generation": 1,
        })
    );
}

#[test]
fn a_plugin_that_failed_is_listed_with_its_error() {
    let world = World::new();
    let manager = world.manager();
    let options = granted().limit(airlock_host::LimitKind::Fuel, 100_000);
    let managed = manager.load_blocking("tool", repository("plugins/prx-tool").as_path(), options).unwrap();
    managed.on_crash(CrashPolicy::Fail);
    let spin = Input::json(&json!({ "do": "spin" })).unwrap();
    assert_eq!(managed.invoke_blocking("execute", spin).unwrap_err().code(), "limit-fuel");
    let listed = &Api::of(&manager).plugins().plugins[0];
    let PluginStatus::Error(reason) = &listed.status else { panic!("it is {:?}", listed.status) };
    assert!(reason.contains("limit `fuel` of 100000 hit"), "{reason}");
    assert_eq!(as_json(listed)["status"], json!({ "Error": reason }));
}

#[test]
fn a_reload_answers_with_the_generation_that_it_began() {
    let world = World::new();
    let manager = world.manager();
    let folder = folder("prx-cron", &manifest("wasm = \"plugin.wasm\"\n"));
    manager.load_blocking("job", folder.path(), LoadOptions::new()).unwrap();
    manager.load_blocking("other", repository("plugins/prx-provider").as_path(), LoadOptions::new()).unwrap();
    let api = Api::of(&manager);
    let answer = api.reload_blocking("job");
    let said = json!({ "success": true, "message": "plugin 'job' reloaded", "generation": 2 });
    assert_eq!((answer.http_status(), as_json(&answer)), (200, said));
    put(folder.path(), "prx-cron", &manifest("wasm = \"plugin.wasm\"\ndescription = \"another\"\n"));
    assert_eq!(block_on(api.clone().reload("job")).generation, Some(3));
    let list = api.plugins();
    assert_eq!((list.generation, &*list.plugins[0].description), (3, "another"));

    // What cannot be put in its place leaves everything as it was.
    std::fs::write(folder.path().join("plugin.wasm"), b"\0asm\x0d\0\x01\0garbage").unwrap();
    let answer = api.reload_blocking("job");
    assert_eq!((answer.http_status(), answer.generation, answer.success), (400, None, false));
    let told = as_json(&answer);
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["success", "error"]);
    assert_eq!(api.plugins(), list);
    let unknown = as_json(&api.reload_blocking("jop"));
    assert_eq!(unknown["success"], false);
    assert!(unknown["error"].as_str().unwrap().contains("`jop`"), "{unknown}");
}
