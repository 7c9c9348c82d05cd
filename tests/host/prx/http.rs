//! `prx:host/http-outbound`, beside a server of this process's.

use std::net::TcpListener;

use airlock_host::{LimitKind, LoadOptions};
use serde_json::json;

use super::{World, folder, granted, manifest, probe, refused};
use crate::http::{Server, ok};

fn asking(list: &[String]) -> (World, tempfile::TempDir) {
    let list = serde_json::to_string(list).unwrap();
    let rest = format!("[permissions]\noptional = [\"http-outbound\"]\nhttp_allowlist = {list}\n");
    (World::new(), folder("prx-tool", &manifest(&rest)))
}

#[test]
fn every_documented_method_is_sent_with_headers_and_body() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://127.0.0.1:{}", server.port);
    let (world, home) = asking(std::slice::from_ref(&url));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let args = json!([method, format!("{url}/a?b=c"), "body"]);
        let answer = probe(&plugin, "http-outbound.request", &args).unwrap();
        assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!("hello")), "{method}");
        let asked = server.asked().pop().unwrap();
        assert!(asked.starts_with(&format!("{method} /a?b=c HTTP/1.1\r\n")), "{asked}");
        assert!(asked.to_lowercase().contains("x-probe: 1") && asked.ends_with("body"), "{asked}");
    }
    let answer = probe(&plugin, "http-outbound.request", &json!(["HEAD", url.clone()])).unwrap();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!("")));
    assert!(server.asked().pop().unwrap().starts_with("HEAD / HTTP/1.1\r\n"));
    for method in ["TRACE", "CONNECT", "BREW"] {
        let args = json!([method, url.clone()]);
        assert_eq!(refused(&plugin, "http-outbound.request", &args), format!("unsupported method: {method}"));
    }
}

#[test]
fn the_list_means_origins_beginnings_and_urls() {
    let server = Server::saying(ok("hello"));
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    let (world, home) = asking(&[at("/public/*"), at("/exactly?this=1")]);
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let get = |url: String| probe(&plugin, "http-outbound.request", &json!(["GET", url]));
    for path in ["/public/", "/public/x?y", "/exactly?this=1"] {
        get(at(path)).unwrap();
    }
    for path in ["/", "/private", "/exactly?this=2", "/public/../private", "/publicly"] {
        let args = json!(["GET", at(path)]);
        assert_eq!(
            refused(&plugin, "http-outbound.request", &args),
            format!("URL not in allowlist: {}", at(path))
        );
    }
    assert_eq!(server.asked().len(), 3, "nothing else was asked of it");
}

#[test]
fn another_host_is_not_in_the_list_whatever_it_looks_like() {
    let (world, home) = asking(&["https://api.example.com".to_owned()]);
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    for url in ["https://api.example.com.evil.example/", "http://api.example.com/", "https://other.example/"]
    {
        assert_eq!(
            refused(&plugin, "http-outbound.request", &json!(["GET", url])),
            format!("URL not in allowlist: {url}")
        );
    }
    assert_eq!(
        refused(&plugin, "http-outbound.request", &json!(["GET", "not a URL"])),
        "request failed: the URL holds a space, a control character or a backslash"
    );
}

#[test]
fn what_was_not_granted_of_the_list_is_not_in_it() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://127.0.0.1:{}/", server.port);
    let (world, home) = asking(&[url.clone(), "https://api.example.com".to_owned()]);
    let options = airlock_host::LoadOptions::new().allow("net=https://api.example.com".parse().unwrap());
    let plugin = world.host.load_blocking(home.path(), options).unwrap();
    assert_eq!(
        refused(&plugin, "http-outbound.request", &json!(["GET", url])),
        format!("URL not in allowlist: {url}")
    );
    let nothing = world.host.load_blocking(home.path(), airlock_host::LoadOptions::new()).unwrap();
    assert_eq!(
        refused(&nothing, "http-outbound.request", &json!(["GET", url])),
        "permission 'http-outbound' not yet granted for plugin 'p' (optional, needs approval)"
    );
    assert!(server.asked().is_empty());
}

#[test]
fn requests_of_a_call_are_counted_and_the_next_call_has_as_many() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://127.0.0.1:{}/", server.port);
    let rest = format!(
        "[permissions]\noptional = [\"http-outbound\"]\nhttp_allowlist = [\"{url}\"]\n\
         [resources]\nmax_http_requests_per_call = 3\n"
    );
    let (world, home) = (World::new(), folder("prx-tool", &manifest(&rest)));
    let managed = world.manager().load_blocking("p", home.path(), granted()).unwrap();
    let ask = |times: u32| {
        let input = json!({ "do": "http-outbound.request", "args": ["GET", url], "times": times });
        managed.invoke_blocking("execute", airlock_host::Input::json(&input).unwrap())
    };
    for _ in 0..2 {
        ask(3).unwrap();
        let error = ask(4).unwrap_err();
        assert_eq!(error.to_string(), "the plugin failed: request failed: limit `http_requests` of 3 hit");
    }
    assert_eq!(server.asked().len(), 12);
}

#[test]
fn redirects_are_followed_within_origins_and_are_answers_where_the_list_has_paths() {
    let target = Server::saying(ok("there"));
    let location = format!("http://127.0.0.1:{}/private", target.port);
    let redirect = format!("HTTP/1.1 302 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let server = Server::saying(redirect);
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    let to = format!("http://127.0.0.1:{}", target.port);
    let get = |list: &[String]| {
        let (world, home) = asking(list);
        let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
        probe(&plugin, "http-outbound.request", &json!(["GET", at("/public/a")]))
    };
    assert_eq!(get(&[at(""), to.clone()]).unwrap()["body"], "there");
    let error = get(&[at("")]).unwrap_err().to_string();
    assert!(error.starts_with("the plugin failed: URL not in allowlist: "), "{error}");
    let answer = get(&[at("/public/*"), format!("{to}/public/*")]).unwrap();
    assert_eq!(answer["status"], 302, "it may ask for that itself, and is refused");
    assert_eq!(target.asked().len(), 1);
}

#[test]
fn a_server_that_is_not_there_is_a_request_that_failed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let (world, home) = asking(std::slice::from_ref(&url));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let reason = refused(&plugin, "http-outbound.request", &json!(["GET", url]));
    assert!(reason.starts_with("request failed: "), "{reason}");
}

#[test]
fn a_body_that_breaks_off_is_told_as_that_and_headers_that_are_no_text_are_empty() {
    let server = Server::saying(&b"HTTP/1.1 200 OK\r\nX-Odd: \xff\r\nContent-Length: 2\r\n\r\nok"[..]);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let (world, home) = asking(std::slice::from_ref(&url));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let answer = probe(&plugin, "http-outbound.request", &json!(["GET", url])).unwrap();
    assert!(answer["headers"].as_array().unwrap().contains(&json!(["x-odd", ""])), "{answer}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    });
    let (world, home) = asking(std::slice::from_ref(&url));
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    let reason = refused(&plugin, "http-outbound.request", &json!(["GET", url]));
    assert!(reason.starts_with("body read error: "), "{reason}");
    server.join().unwrap();
}

#[test]
fn without_a_list_it_asks_for_every_origin() {
    let server = Server::saying(ok("hello"));
    let (world, home) =
        (World::new(), folder("prx-tool", &manifest("[permissions]\noptional = [\"http-outbound\"]\n")));
    let examined = world.host.examine(home.path(), &LoadOptions::new()).unwrap();
    let asked: Vec<String> = examined
        .manifest
        .unwrap()
        .requests
        .iter()
        .map(|request| format!("{} {}", request.capability, request.required))
        .collect();
    assert_eq!(asked, ["net=http://*:* false", "net=https://*:* false"]);
    // As much of that as is granted is there, whatever its path.
    let origin = format!("http://127.0.0.1:{}", server.port);
    let options = LoadOptions::new().allow(format!("net={origin}").parse().unwrap());
    let plugin = world.host.load_blocking(home.path(), options).unwrap();
    let answer =
        probe(&plugin, "http-outbound.request", &json!(["GET", format!("{origin}/any?path")])).unwrap();
    assert_eq!(answer["body"], "hello");
    let other = "https://other.example/";
    assert_eq!(
        refused(&plugin, "http-outbound.request", &json!(["GET", other])),
        format!("URL not in allowlist: {other}")
    );
}

#[test]
fn a_response_has_so_many_bytes_and_so_much_time_and_the_plugin_goes_on() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://127.0.0.1:{}/", server.port);
    let (world, home) = asking(std::slice::from_ref(&url));
    let plugin = world.host.load_blocking(home.path(), granted().limit(LimitKind::HttpBody, 4)).unwrap();
    assert_eq!(
        refused(&plugin, "http-outbound.request", &json!(["GET", url])),
        "body read error: limit `http_body` of 4 B hit"
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let (world, home) = asking(std::slice::from_ref(&url));
    let options = granted().limit(LimitKind::HttpTime, 50_000_000);
    let plugin = world.host.load_blocking(home.path(), options).unwrap();
    assert_eq!(
        refused(&plugin, "http-outbound.request", &json!(["GET", url])),
        "request failed: it took too long"
    );
}
