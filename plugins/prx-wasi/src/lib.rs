//! A tool that does with WASI what it is told to, by its language's own library: variables, files, names,
//! connections, datagrams, and requests. What it opens it keeps for its next calls.

#[path = "../../tcp-echo/src/net.rs"]
#[allow(dead_code, reason = "it does not do all of that")]
mod net;

use std::cell::RefCell;
use std::io;

use net::{Connection, Datagrams};
use serde_json::{Value, json};
use wasi::http::outgoing_handler;
use wasi::http::types::{Fields, OutgoingRequest, Scheme};

wit_bindgen::generate!({ world: "tool", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::tool_exports::{Guest, PluginResult, ToolSpec};

struct Probe;

export!(Probe);

thread_local! {
    static CONNECTIONS: RefCell<Vec<Connection>> = const { RefCell::new(Vec::new()) };
    static DATAGRAMS: RefCell<Vec<Datagrams>> = const { RefCell::new(Vec::new()) };
}

impl Guest for Probe {
    fn get_spec() -> ToolSpec {
        ToolSpec {
            name: "wasi.execute".to_owned(),
            description: "Uses one part of WASI".to_owned(),
            parameters_schema: r#"{"type":"object","required":["do"]}"#.to_owned(),
        }
    }

    fn execute(args: String) -> PluginResult {
        let args: Value = serde_json::from_str(&args).unwrap_or_default();
        let list: Vec<&str> =
            args["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if args["do"] == "answer" {
            return answer(&list);
        }
        let failed =
            |reason: String| PluginResult { success: false, output: "{}".to_owned(), error: Some(reason) };
        match work(args["do"].as_str().unwrap_or_default(), &list) {
            Ok(value) => PluginResult { success: true, output: value.to_string(), error: None },
            Err(reason) => failed(reason),
        }
    }
}

fn said(error: io::Error) -> String {
    format!("{:?}", error.kind())
}

fn work(what: &str, args: &[&str]) -> Result<Value, String> {
    let arg = |at: usize| args.get(at).copied().unwrap_or_default();
    Ok(match what {
        "variables" => std::env::vars().map(|(name, value)| json!([name, value])).collect(),
        "read" => json!(std::fs::read_to_string(arg(0)).map_err(said)?),
        "write" => json!(std::fs::write(arg(0), arg(1)).map_err(said)?),
        "look-up" => {
            net::addresses(arg(0))?.into_iter().map(|one| json!(net::shown(one).to_string())).collect()
        }
        // One connection more; how many there are.
        "connect" => {
            let connection = net::connect(arg(0))?;
            CONNECTIONS.with_borrow_mut(|connections| {
                connections.push(connection);
                json!(connections.len())
            })
        }
        // What the server says to a line on the first of them.
        "say" => CONNECTIONS.with_borrow(|connections| {
            let Connection { input, output, .. } = connections.first().ok_or("there is none")?;
            let line = format!("{}\n", arg(0));
            output.blocking_write_and_flush(line.as_bytes()).map_err(|error| format!("{error:?}"))?;
            let answer = input.blocking_read(4096).map_err(|error| format!("{error:?}"))?;
            Ok::<_, String>(json!(String::from_utf8_lossy(&answer).trim_end()))
        })?,
        "close" => {
            CONNECTIONS.take();
            DATAGRAMS.take();
            Value::Null
        }
        // A socket for datagrams more, connected to one; how many there are.
        "datagrams" => {
            let remote = net::address(arg(0))?;
            let socket = Datagrams::new(net::family(remote), Some(remote))?;
            DATAGRAMS.with_borrow_mut(|datagrams| {
                datagrams.push(socket);
                json!(datagrams.len())
            })
        }
        // What comes back for a datagram from the first of them.
        "send" => DATAGRAMS.with_borrow(|datagrams| {
            let socket = datagrams.first().ok_or("there is none")?;
            socket.send(arg(0), None)?;
            let came = socket.received()?;
            Ok::<_, String>(came.into_iter().map(|(_, line)| json!(line)).collect())
        })?,
        "fetch" => fetch(arg(0))?,
        other => return Err(format!("unsupported: {other}")),
    })
}

/// An answer as it is given: whether it went well, the output, and why not.
fn answer(args: &[&str]) -> PluginResult {
    let text = |at: usize| args.get(at).map(|text| (*text).to_owned());
    PluginResult {
        success: text(0).as_deref() == Some("true"),
        output: text(1).unwrap_or_default(),
        error: text(2),
    }
}

/// The status of a GET, or why there is none.
fn fetch(url: &str) -> Result<Value, String> {
    let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let wrong = |()| "it is no URL".to_owned();
    request.set_scheme(Some(&scheme)).map_err(wrong)?;
    request.set_authority(Some(authority)).map_err(wrong)?;
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).map_err(wrong)?;
    let response = outgoing_handler::handle(request, None).map_err(|error| error.to_string())?;
    response.subscribe().block();
    let response = response.get().and_then(Result::ok).ok_or("it is not there")?;
    Ok(json!(response.map_err(|error| error.to_string())?.status()))
}
