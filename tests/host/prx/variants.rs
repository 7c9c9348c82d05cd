//! Components that are made for the types that PRX's own host links, and for names without a version.

use airlock_host::Plugin;

use super::{World, folder, granted, manifest};
use crate::http::{Server, ok};

fn run(plugin: &Plugin, what: &str) -> Result<String, String> {
    let input = airlock_host::Input::json(what).unwrap();
    match plugin.invoke_blocking("variants", input) {
        Ok(outcome) => Ok(serde_json::from_str(&outcome.value.to_json_text()).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

fn variants(world: &World, list: &str) -> Plugin {
    let rest = format!(
        "[permissions]\nrequired = [\"kv\"]\noptional = [\"http-outbound\", \"memory\"]\nhttp_allowlist = [{list}]\n"
    );
    let home = folder("prx-variants", &manifest(&rest));
    world.host.load_blocking(home.path(), granted()).unwrap()
}

#[test]
fn a_level_of_the_log_may_be_a_text() {
    let world = World::new();
    let plugin = variants(&world, "");
    for (level, shown) in [("warn", "warn"), ("WARNING", "warn"), ("error", "error"), ("loud", "info")] {
        run(&plugin, &format!("log {level}")).unwrap();
        assert_eq!(world.line(), format!("{shown}: a line"));
    }
}

#[test]
fn changes_may_say_nothing_and_only_the_truth() {
    let world = World::new();
    let plugin = variants(&world, "");
    assert_eq!(run(&plugin, "kv value").unwrap(), "Some(\"value\") true false");
}

#[test]
fn a_response_may_be_a_tuple() {
    let server = Server::saying(ok("hello"));
    let world = World::new();
    let url = format!("http://127.0.0.1:{}/", server.port);
    let plugin = variants(&world, &format!("\"{url}\""));
    assert_eq!(run(&plugin, &format!("get {url}")).unwrap(), "200 1 hello");
}

#[test]
fn entries_of_a_memory_may_be_tuples() {
    let world = World::new();
    let plugin = variants(&world, "");
    assert_eq!(run(&plugin, "remember green tea").unwrap(), "1 true");
}

#[test]
fn websockets_are_linked_and_not_supported() {
    let world = World::new();
    let plugin = variants(&world, "");
    let error = run(&plugin, "connect wss://a.example").unwrap_err();
    assert_eq!(error, "the plugin failed: websocket-outbound is not supported by this host");
}

#[test]
fn both_kinds_of_components_live_on_one_host() {
    let world = World::new();
    let plain = world.host.load_blocking(super::wasm("prx-tool"), granted()).unwrap();
    let other = variants(&world, "");
    for _ in 0..2 {
        super::probe(&plain, "log.log", &serde_json::json!(["warn", "plain"])).unwrap();
        run(&other, "log warn").unwrap();
    }
    assert_eq!(world.all_lines(), ["warn: plain", "warn: a line", "warn: plain", "warn: a line"]);
}
