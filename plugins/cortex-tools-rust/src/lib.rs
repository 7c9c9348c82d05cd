//! Tools that use everything of CortexPrism's tool ABI, written out by hand.

mod host;

use std::slice;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{json, Value};

/// What a tool gives: JSON, or why it failed.
type Answer = Result<String, String>;

/// Bytes of the host's buffer where it says 0.
const ROOM: u32 = 65_536;

#[no_mangle]
extern "C" fn plugin_get_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn plugin_init() {
    host::log("tools: ready");
}

#[no_mangle]
extern "C" fn plugin_destroy() {
    host::log("tools: done");
}

/// # Safety
/// `out_length` is how many bytes there are at `out`.
#[no_mangle]
unsafe extern "C" fn plugin_get_capabilities(out: *mut u8, out_length: *mut u32) -> i32 {
    unsafe { give(Ok(capabilities().to_string()), out, out_length) }
}

/// # Safety
/// The pointers and lengths name memory that the host wrote, and `out_length` is how many bytes
/// there are at `out`.
#[no_mangle]
unsafe extern "C" fn plugin_execute_tool(
    name: *const u8,
    name_length: usize,
    args: *const u8,
    args_length: usize,
    out: *mut u8,
    out_length: *mut u32,
) -> i32 {
    let (name, args) =
        unsafe { (slice::from_raw_parts(name, name_length), slice::from_raw_parts(args, args_length)) };
    let answer = match (std::str::from_utf8(name), std::str::from_utf8(args)) {
        (Ok(name), Ok(args)) => execute(name, args),
        _ => Err("the tool's name or its arguments are no UTF-8".to_owned()),
    };
    unsafe { give(answer, out, out_length) }
}

/// Writes an answer into the host's buffer, and says whether it is one.
///
/// # Safety
/// `out_length` is how many bytes there are at `out`.
unsafe fn give(answer: Answer, out: *mut u8, out_length: *mut u32) -> i32 {
    let room = match unsafe { *out_length } {
        0 => ROOM,
        room => room,
    } as usize;
    let answer = match answer {
        Ok(text) if text.len() > room => Err("the answer is longer than the host's buffer".to_owned()),
        answer => answer,
    };
    let (text, code) = match &answer {
        Ok(text) => (text, 0),
        Err(reason) => (reason, 1),
    };
    let length = text.floor_char_boundary(text.len().min(room));
    unsafe {
        out.copy_from_nonoverlapping(text.as_ptr(), length);
        *out_length = length as u32;
    }
    code
}

fn capabilities() -> Value {
    let param = |name: &str, kind: &str, description: &str, required: bool| {
        json!({ "name": name, "type": kind, "description": description, "required": required })
    };
    let tool = |name: &str, description: &str, params: &[Value]| {
        json!({ "name": name, "description": description, "params": params })
    };
    json!({
        "abi_version": 1,
        "tools": [
            tool("echo", "Gives its arguments back", &[param("value", "object", "Anything", false)]),
            tool("count", "Counts its calls", &[]),
            tool("fetch", "Makes an HTTP request", &[
                param("url", "string", "Where to", true),
                param("method", "string", "GET where nothing is said", false),
                param("body", "string", "What is sent", false),
                param("headers", "object", "Texts by their names", false),
            ]),
            tool("config", "Reads a setting", &[param("key", "string", "Its name", true)]),
            tool("now", "Tells the time", &[]),
            tool("fail", "Fails", &[param("message", "string", "With what", true)]),
            tool("log", "Writes to the log", &[param("message", "string", "What", true)]),
        ],
    })
}

fn execute(name: &str, args: &str) -> Answer {
    match name {
        "echo" => Ok(args.to_owned()),
        "count" => Ok(count()),
        "fetch" => fetch(&arguments(args)?),
        "config" => {
            let Keyed { key } = arguments(args)?;
            Ok(json!({ "value": host::config(&key) }).to_string())
        }
        "now" => Ok(json!({ "ms": host::now() }).to_string()),
        "fail" => Err(arguments::<Message>(args)?.message),
        "log" => {
            host::log(&arguments::<Message>(args)?.message);
            Ok(json!({ "logged": true }).to_string())
        }
        _ => Err(format!("there is no tool `{name}`")),
    }
}

fn arguments<'a, T: Deserialize<'a>>(args: &'a str) -> Result<T, String> {
    serde_json::from_str(args).map_err(|error| format!("the arguments: {error}"))
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    body: String,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Counts its calls in the plugin's state, which is text.
fn count() -> String {
    let before = host::state("count").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    host::set_state("count", &(before + 1).to_string());
    json!({ "count": before + 1 }).to_string()
}

fn fetch(request: &Request) -> Answer {
    let headers = request.headers.map_or("", RawValue::get);
    let host::Response { status, body, answered } =
        host::http_request(&request.method, &request.url, &request.body, headers);
    match answered {
        true => Ok(json!({ "status": status, "body": body }).to_string()),
        false => Err(format!("{body} (status {status})")),
    }
}
