//! A tool that does with its host what it is told to: every function of `prx:host`, and what a plugin should
//! not do.

use std::cell::Cell;

use serde_json::{Value, json};

wit_bindgen::generate!({ world: "tool", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::tool_exports::{Guest, PluginResult, ToolSpec};
use prx::host::{config, events, http_outbound, kv, log, memory};

struct Probe;

export!(Probe);

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

const SCHEMA: &str = r#"{
    "type": "object",
    "required": ["do"],
    "properties": {
        "do": {"type": "string", "description": "The function: `kv.set`, `http-outbound.request`"},
        "args": {"type": "array", "description": "What it is called with"},
        "times": {"type": "integer", "default": 1}
    }
}"#;

impl Guest for Probe {
    fn get_spec() -> ToolSpec {
        ToolSpec {
            name: "probe.execute".to_owned(),
            description: "Calls one function of its host".to_owned(),
            parameters_schema: SCHEMA.to_owned(),
        }
    }

    fn execute(args: String) -> PluginResult {
        CALLS.set(CALLS.get() + 1);
        let args: Value = match serde_json::from_str(&args) {
            Ok(args) => args,
            Err(error) => return failed(&json!({ "ok": false }), format!("invalid json args: {error}")),
        };
        let what = args["do"].as_str().unwrap_or_default();
        let list: Vec<Value> = args["args"].as_array().cloned().unwrap_or_default();
        let times = args["times"].as_u64().unwrap_or(1);
        let mut answer = Ok(Value::Null);
        for _ in 0..times {
            answer = work(what, &list);
        }
        match answer {
            Ok(Value::String(text)) => PluginResult { success: true, output: text, error: None },
            Ok(value) => PluginResult { success: true, output: value.to_string(), error: None },
            Err(reason) => failed(&json!({ "ok": false, "did": what }), reason),
        }
    }
}

fn failed(output: &Value, reason: String) -> PluginResult {
    PluginResult { success: false, output: output.to_string(), error: Some(reason) }
}

fn text(args: &[Value], at: usize) -> String {
    args.get(at).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn work(what: &str, args: &[Value]) -> Result<Value, String> {
    Ok(match what {
        "log.log" => {
            let level = match text(args, 0).as_str() {
                "trace" => log::Level::Trace,
                "debug" => log::Level::Debug,
                "warn" => log::Level::Warn,
                "error" => log::Level::Error,
                _ => log::Level::Info,
            };
            log::log(level, &text(args, 1));
            Value::Null
        }
        "config.get" => json!(config::get(&text(args, 0))),
        "config.get-all" => json!(config::get_all()),
        "kv.get" => json!(kv::get(&text(args, 0)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        "kv.set" => {
            // A text, or so many bytes.
            let value = match args.get(1).and_then(Value::as_u64) {
                Some(size) => vec![b'x'; usize::try_from(size).unwrap_or_default()],
                None => text(args, 1).into_bytes(),
            };
            kv::set(&text(args, 0), &value)?;
            Value::Null
        }
        "kv.delete" => json!(kv::delete(&text(args, 0))?),
        "kv.list-keys" => json!(kv::list_keys(&text(args, 0))),
        "http-outbound.request" => {
            let body = args.get(2).and_then(Value::as_str).map(|body| body.as_bytes().to_vec());
            let headers = vec![("x-probe".to_owned(), "1".to_owned())];
            let response = http_outbound::request(&text(args, 0), &text(args, 1), &headers, body.as_deref())?;
            json!({
                "status": response.status,
                "headers": response.headers,
                "body": String::from_utf8_lossy(&response.body),
            })
        }
        "memory.store" => json!(memory::store(&text(args, 0), &text(args, 1))?),
        "memory.recall" => {
            let limit = args.get(1).and_then(Value::as_u64).unwrap_or(10);
            let found = memory::recall(&text(args, 0), u32::try_from(limit).unwrap_or(u32::MAX))?;
            let entry = |one: memory::MemoryEntry| json!([one.id, one.text, one.category, one.importance]);
            found.into_iter().map(entry).collect()
        }
        "events.publish" => {
            events::publish(&text(args, 0), &text(args, 1))?;
            Value::Null
        }
        "events.subscribe" => json!(events::subscribe(&text(args, 0))?),
        "events.unsubscribe" => {
            events::unsubscribe(args.first().and_then(Value::as_u64).unwrap_or_default())?;
            Value::Null
        }
        "count" => json!(CALLS.get()),
        "text" => json!("plain, and no JSON"),
        "panic" => panic!("it was told to"),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "grow" => json!(vec![1_u8; 100 << 20].iter().map(|one| u64::from(*one)).sum::<u64>()),
        other => return Err(format!("unsupported: {other}")),
    })
}
