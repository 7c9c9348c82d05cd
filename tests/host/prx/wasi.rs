//! What a PRX plugin has of WASI: what it is granted, in each call of a session anew.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use airlock_host::testing::fakes;
use airlock_host::{
    Approval, Capability, Error, Grant, GrantStore as _, Host, Identity, Input, LoadOptions, MemoryGrants,
    Plugin, Session,
};
use serde_json::{Value, json};

use super::{World, folder, manifest, probe, refused, wasm};
use crate::http::{Server, ok};

/// What a manifest says that asks for nothing.
const PLAIN: &str = "[permissions]\n";

/// A server that answers each line of each connection with itself; where it is.
fn lines() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let reader = BufReader::new(stream.try_clone().unwrap());
                for line in reader.lines() {
                    let Ok(line) = line else { return };
                    let _ = stream.write_all(format!("{line}\n").as_bytes());
                }
            });
        }
    });
    place
}

/// The same of datagrams.
fn datagrams() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    place
}

fn load(host: &Host, rest: &str, granted: &[&str]) -> (Plugin, tempfile::TempDir) {
    let home = folder("prx-wasi", &manifest(rest));
    let grant = |options: LoadOptions, granted: &&str| options.allow(granted.parse().unwrap());
    let plugin = host.load_blocking(home.path(), granted.iter().fold(LoadOptions::new(), grant)).unwrap();
    (plugin, home)
}

/// One call of a session.
fn does(session: &mut Session, what: &str, args: &[&str]) -> Result<Value, String> {
    let input = Input::json(&json!({ "do": what, "args": args })).unwrap();
    let outcome = session.invoke_blocking("execute", input).map_err(|error: Error| error.to_string())?;
    Ok(serde_json::from_str(&outcome.value.to_json_text()).unwrap())
}

fn told(reason: &str) -> Result<Value, String> {
    Err(format!("the plugin failed: {reason}"))
}

#[test]
fn variables_and_files_of_a_prx_plugin_are_those_that_are_granted() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("note"), "text").unwrap();
    let (plugin, _home) = load(&world.host, PLAIN, &[]);
    assert_eq!(probe(&plugin, "variables", &json!([])).unwrap(), json!([]));
    assert!(refused(&plugin, "read", &json!(["/data/note"])).contains("NotFound"));
    let read = format!("fs.read={}::/data", data.path().display());
    let (plugin, _home) = load(&world.host, PLAIN, &[&read, "env=CARGO_MANIFEST_DIR"]);
    let variables = json!([["CARGO_MANIFEST_DIR", std::env::var("CARGO_MANIFEST_DIR").unwrap()]]);
    assert_eq!(probe(&plugin, "variables", &json!([])).unwrap(), variables);
    assert_eq!(probe(&plugin, "read", &json!(["/data/note"])).unwrap(), "text");
    assert_ne!(refused(&plugin, "write", &json!(["/data/note", "other"])), "");
    assert_eq!(std::fs::read_to_string(data.path().join("note")).unwrap(), "text");
}

#[test]
fn a_prx_plugin_connects_to_whom_it_is_granted_and_to_nobody_else() {
    let (world, tcp, udp) = (World::new(), lines(), datagrams());
    // Leave to make requests is none to connect.
    let (plugin, _home) = load(&world.host, PLAIN, &["net=https://*:*", "net=http://127.0.0.1:*"]);
    for (what, place) in [("connect", &tcp), ("datagrams", &udp)] {
        assert!(refused(&plugin, what, &json!([place])).ends_with(": access-denied"), "{what}");
    }
    let granted = [format!("net=tcp://{tcp}"), format!("net=udp://{udp}")];
    let (plugin, _home) = load(&world.host, PLAIN, &granted.each_ref().map(String::as_str));
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(does(&mut session, "connect", &[&tcp]), Ok(json!(1)));
    assert_eq!(does(&mut session, "datagrams", &[&udp]), Ok(json!(1)));
    for line in ["one", "two"] {
        assert_eq!(does(&mut session, "say", &[line]), Ok(json!(line)));
        assert_eq!(does(&mut session, "send", &[line]), Ok(json!([line])));
    }
}

#[test]
fn sockets_are_counted_in_each_call_and_as_long_as_they_are_open() {
    let (world, tcp, udp) = (World::new(), lines(), datagrams());
    let granted = [format!("net=tcp://{tcp}"), format!("net=udp://{udp}")];
    let resources = "[resources]\nmax_http_requests_per_call = 2\n";
    let (plugin, _home) = load(&world.host, resources, &granted.each_ref().map(String::as_str));
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..3 {
        assert_eq!(does(&mut session, "connect", &[&tcp]), Ok(json!(1)));
        assert_eq!(does(&mut session, "datagrams", &[&udp]), Ok(json!(1)));
        // In calls of their own, but two are open.
        let limit = told("a socket: new-socket-limit");
        assert_eq!(does(&mut session, "connect", &[&tcp]), limit);
        assert_eq!(does(&mut session, "datagrams", &[&udp]), limit);
        assert_eq!(does(&mut session, "close", &[]), Ok(Value::Null));
    }
}

#[test]
fn what_is_open_in_a_session_ends_with_its_grant() {
    let (tcp, udp) = (lines(), datagrams());
    let grants = Arc::new(MemoryGrants::new());
    let host = Host::builder().slots(2).approval(Approval::new(grants.clone())).build().unwrap();
    let (plugin, _home) = load(&host, PLAIN, &[]);
    let identity = Identity { name: plugin.name().to_owned(), digest: plugin.digest() };
    let granted: [Capability; 2] =
        [format!("net=tcp://{tcp}"), format!("net=udp://{udp}")].map(|one| one.parse().unwrap());
    let give = || grants.decide(&identity, &granted.clone().map(Grant::always), "test").unwrap();
    give();
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(does(&mut session, "connect", &[&tcp]), Ok(json!(1)));
    assert_eq!(does(&mut session, "datagrams", &[&udp]), Ok(json!(1)));
    assert_eq!(does(&mut session, "say", &["one"]), Ok(json!("one")));
    assert_eq!(does(&mut session, "send", &["one"]), Ok(json!(["one"])));
    for one in &granted {
        assert_eq!(grants.revoke(plugin.name(), Some(one)), 1);
    }
    assert_eq!(does(&mut session, "say", &["two"]), told("StreamError::Closed"));
    assert_eq!(does(&mut session, "send", &["two"]), told("sending: access-denied"));
    // A connection that has ended stays so, and a new one may be had.
    give();
    assert_eq!(does(&mut session, "say", &["three"]), told("StreamError::Closed"));
    assert_eq!(does(&mut session, "send", &["three"]), Ok(json!(["three"])));
    assert_eq!(does(&mut session, "close", &[]), Ok(Value::Null));
    assert_eq!(does(&mut session, "connect", &[&tcp]), Ok(json!(1)));
    assert_eq!(does(&mut session, "say", &["four"]), Ok(json!("four")));
}

#[test]
fn a_name_is_found_where_it_is_granted_in_one_way_and_only_in_the_call_that_looked_it_up() {
    let (fakes, tcp) = (fakes(), lines());
    fakes.resolver.answer("inner.test", ["127.0.0.1".parse().unwrap()]);
    let host = Host::builder().slots(2).services(fakes.services()).build().unwrap();
    let port = tcp.rsplit_once(':').unwrap().1;
    let at_name = format!("inner.test:{port}");
    // That its host is granted by another scheme too takes nothing away.
    let granted = ["net=tcp://inner.test:1", "net=udp://inner.test:*", "net=udp://127.0.0.1:*"];
    let (plugin, _home) = load(&host, PLAIN, &granted);
    assert_eq!(probe(&plugin, "look-up", &json!(["inner.test"])).unwrap(), json!(["127.0.0.1"]));
    let error = refused(&plugin, "connect", &json!([at_name]));
    assert_eq!(error, "connecting: access-denied");
    let (plugin, _home) = load(&host, PLAIN, &["net=udp://127.0.0.1:*", "net=tcp://inner.test:*"]);
    assert_eq!(refused(&plugin, "look-up", &json!(["inner.test"])), "looking up: access-denied");
    // An address that another call has found is no name's any more.
    let both = [format!("net=tcp://inner.test:{port}"), format!("net=tcp://127.0.0.1:{port}")];
    let (plugin, _home) = load(&host, PLAIN, &both.each_ref().map(String::as_str));
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(does(&mut session, "connect", &[&at_name]), Ok(json!(1)));
    let uses = |session: &mut Session| {
        let before = fakes.resolver.asked().len();
        does(session, "connect", &[&at_name]).unwrap();
        fakes.resolver.asked().len() - before
    };
    assert_eq!(uses(&mut session), 1);
}

#[test]
fn the_list_of_urls_holds_for_every_way_to_ask_for_one() {
    let server = Server::saying(ok("hello"));
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    let list = serde_json::to_string(&[at("/public/*"), at("/once")]).unwrap();
    let rest = format!("[permissions]\noptional = [\"http-outbound\"]\nhttp_allowlist = {list}\n");
    let world = World::new();
    let (plugin, _home) = load(&world.host, &rest, &[&format!("net=http://127.0.0.1:{}", server.port)]);
    for path in ["/public/a?b", "/once"] {
        assert_eq!(probe(&plugin, "fetch", &json!([at(path)])).unwrap(), 200, "{path}");
    }
    for path in ["/private", "/public/../private", "/once?more", "/"] {
        let error = refused(&plugin, "fetch", &json!([at(path)]));
        assert!(error.starts_with("ErrorCode::HttpRequestDenied"), "{path}: {error}");
    }
    assert_eq!(server.asked().len(), 2, "nothing else was asked of it");
    // Without a manifest there is no list.
    let options = LoadOptions::new().allow(format!("net=http://127.0.0.1:{}", server.port).parse().unwrap());
    let plugin = world.host.load_blocking(wasm("prx-wasi"), options).unwrap();
    assert_eq!(probe(&plugin, "fetch", &json!([at("/private")])).unwrap(), 200);
}

#[test]
fn a_redirect_leaves_the_list_of_urls_no_more_than_a_request_does() {
    let server = Server::saying("HTTP/1.1 302 Found\r\nlocation: /private\r\ncontent-length: 0\r\n\r\n");
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    let list = serde_json::to_string(&[at("/public/*")]).unwrap();
    let rest = format!("[permissions]\noptional = [\"http-outbound\"]\nhttp_allowlist = {list}\n");
    let world = World::new();
    let (plugin, _home) = load(&world.host, &rest, &[&format!("net=http://127.0.0.1:{}", server.port)]);
    assert_eq!(probe(&plugin, "fetch", &json!([at("/public/")])).unwrap(), 302);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_plugins_own_codes_and_texts_pass_as_they_are() {
    let world = World::new();
    let (plugin, _home) = load(&world.host, PLAIN, &[]);
    let answer = |args: &[&str]| {
        let input = Input::json(&json!({ "do": "answer", "args": args })).unwrap();
        plugin.invoke_blocking("execute", input)
    };
    // What PRX-Email's published plugins answer, spaces and all.
    for output in [
        r#"{"ok":false, "error_code":"EMAIL_REAL_NETWORK_DISABLED","tool":"email.sync"}"#,
        r#"{ "ok": false, "error_code": "EMAIL_NOT_IMPLEMENTED" }"#,
        r#"{"error_code":"EMAIL_NETWORK_GUARD","legacy_error_code":"EMAIL_REAL_NETWORK_DISABLED","hint":"é"}"#,
        "no JSON at all",
    ] {
        let error = answer(&["false", output, "real network execution disabled by policy"]).unwrap_err();
        assert_eq!(error.to_string(), "the plugin failed: real network execution disabled by policy");
        assert_eq!(error.output(), Some(output));
    }
    let output = r#"{"ok":true,  "tool":"email.list","messages":[]}"#;
    assert_eq!(answer(&["true", output]).unwrap().value.to_json_text(), output);
}

#[test]
fn the_switch_for_mail_is_in_no_environment_but_that_of_a_plugin_for_mail() {
    let world = World::with(|mut services| {
        services.mail_network = true;
        services
    });
    let (plugin, _home) = load(&world.host, PLAIN, &[]);
    assert_eq!(probe(&plugin, "variables", &json!([])).unwrap(), json!([]));
}
