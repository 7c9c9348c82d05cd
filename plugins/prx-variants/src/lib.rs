//! A component that was made for what PRX's host links and not for its WIT files: interfaces without a
//! version, a level that is a text, tuples in the place of records, changes that do not say how they went.

wit_bindgen::generate!({ world: "variants", path: "wit", generate_all });

use exports::prx::plugin::hook_exports::Guest as Hook;
use exports::prx::plugin::tool_exports::{Guest, PluginResult, ToolSpec};
use prx::host::{http_outbound, kv, log, memory, websocket_outbound};

struct Variants;

export!(Variants);

impl Hook for Variants {
    fn on_event(event: String, _payload: String) -> Result<(), String> {
        log::log("warn", &event);
        Ok(())
    }
}

impl Guest for Variants {
    fn get_spec() -> ToolSpec {
        ToolSpec {
            name: "variants".to_owned(),
            description: String::new(),
            parameters_schema: "not a schema".to_owned(),
        }
    }

    fn execute(args: String) -> PluginResult {
        match work(args.trim_matches('"')) {
            Ok(output) => PluginResult { success: true, output, error: None },
            Err(reason) => PluginResult { success: false, output: String::new(), error: Some(reason) },
        }
    }
}

fn work(args: &str) -> Result<String, String> {
    match args.split_once(' ').unwrap_or((args, "")) {
        ("log", level) => {
            log::log(level, "a line");
            Ok("logged".to_owned())
        }
        ("kv", value) => {
            kv::set("key", value.as_bytes());
            let kept = kv::get("key").map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(format!("{kept:?} {} {}", kv::delete("key"), kv::delete("key")))
        }
        ("get", url) => {
            let (status, headers, body) = http_outbound::request("GET", url, &[], None)?;
            Ok(format!("{status} {} {}", headers.len(), String::from_utf8_lossy(&body)))
        }
        ("remember", text) => {
            let id = memory::store(text, "core")?;
            let found = memory::recall(text, 5)?;
            let is_it = found.first().is_some_and(|(own, said, category, importance)| {
                *own == id && said == text && category == "core" && *importance == 1.0
            });
            Ok(format!("{} {is_it}", found.len()))
        }
        ("connect", url) => websocket_outbound::connect(url).map(|id| id.to_string()),
        (other, _) => Err(format!("unsupported: {other}")),
    }
}
