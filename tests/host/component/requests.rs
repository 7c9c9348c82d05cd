//! Requests of components, by the host's service and no other way.

use std::sync::Arc;
use std::time::Duration;

use airlock_host::{AuditEvent, CallOptions, Cancel, Host, Input, MemoryAudit, OnAuditFailure, ProgramInput};

use super::{Checked, all_fine, checks_on, told_by_program};
use crate::http::{Server, header, ok, redirect};
use crate::support::{MODES, Mode, host, limits};

/// A server that answers with what it was sent, with how long a body was, with too much, or never.
fn server() -> Server {
    Server::start(|stream, request| match request.split(' ').nth(1).unwrap_or_default() {
        "/never" => {
            let _ = stream.read(&mut [0]);
            false
        }
        "/length" => {
            let length = header(request, "content-length").unwrap_or("none").to_owned();
            stream.write_all(ok(&length).as_bytes()).is_ok()
        }
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'a'; 4096]).is_ok() {}
            false
        }
        "/elsewhere" => stream.write_all(redirect(302, "http://127.0.0.2:1/").as_bytes()).is_ok(),
        "/here" => stream.write_all(redirect(302, "/length").as_bytes()).is_ok(),
        _ => {
            let length = request.len();
            let head = format!("HTTP/1.1 200 OK\r\nX-Answer: yes\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + request).as_bytes()).is_ok()
        }
    })
}

fn to(server: &Server) -> (String, [String; 1]) {
    let authority = format!("127.0.0.1:{}", server.port);
    let granted = format!("net=http://{authority}");
    (authority, [granted])
}

#[test]
fn a_component_sends_requests_to_whom_it_was_granted_in_every_mode() {
    let server = server();
    let (authority, granted) = to(&server);
    let plugin = checks_on(&host(), limits(&[]), &granted);
    for mode in MODES {
        all_fine(&told_by_program(mode, &plugin, &["sending", &authority]), 19);
    }
    // And where a function of it is called, afresh and in a session.
    let (told, failed): Checked =
        plugin.call_blocking("check", &("sending", [&authority])).expect("it answers").value;
    all_fine(&told, 19);
    let mut session = plugin.session_blocking().unwrap();
    let again: Checked = session.call_blocking("check", &("sending", [&authority])).unwrap().value;
    assert_eq!(again, (told, failed));
}

/// A time, the answer of a request and the stream of its body, of which the first that is ready ends a poll: by the real
/// clock, and by a virtual one, which waits too where somebody is spoken to.
#[test]
fn an_answer_and_a_time_are_waited_for_together() {
    let server = server();
    let (authority, granted) = to(&server);
    for granted in [vec![granted[0].clone()], vec![granted[0].clone(), "clock".to_owned()]] {
        let plugin = checks_on(&host(), limits(&[]), &granted);
        for mode in MODES {
            all_fine(&told_by_program(mode, &plugin, &["waiting", &authority]), 7);
        }
        let (told, _): Checked = plugin.call_blocking("check", &("waiting", [&authority])).unwrap().value;
        all_fine(&told, 7);
    }
}

#[test]
fn whom_it_was_not_granted_is_refused_and_recorded() {
    let server = server();
    let (authority, _) = to(&server);
    let get = |granted: &[String], path: &str| {
        told_by_program(Mode::Blocking, &checks_on(&host(), limits(&[]), granted), &["get", &authority, path])
    };
    for granted in ["net=http://127.0.0.1:1", "net=https://127.0.0.1:*", "net=tcp://127.0.0.1:*"] {
        let told = get(&[granted.to_owned()], "/");
        assert_eq!(told, ["ErrorCode::HttpRequestDenied"], "{granted}");
    }
    assert_eq!(get(&[], "/"), ["ErrorCode::HttpRequestDenied"]);
    assert_eq!(server.accepted(), 0);
    let (_, granted) = to(&server);
    assert_eq!(get(&granted, "/elsewhere"), ["ErrorCode::HttpRequestDenied"]);
    assert_eq!(get(&granted, "/here"), ["200 4"]);

    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    told_by_program(Mode::Blocking, &checks_on(&host, limits(&[]), &[]), &["get", &authority, "/"]);
    let capability = format!("net=http://{authority}").parse().unwrap();
    let refused = AuditEvent::Refused { capability, count: 1 };
    assert!(audit.events().iter().any(|(_, event)| *event == refused), "{:?}", audit.events());
}

#[test]
fn bodies_and_requests_of_a_component_are_limited() {
    let server = server();
    let (authority, granted) = to(&server);
    let plugin = checks_on(&host(), limits(&[("http_body", "100KiB")]), &granted);
    let told = |words: &[&str]| told_by_program(Mode::Blocking, &plugin, words);
    assert_eq!(told(&["post", &authority, "100000"]), ["200 100000"]);
    let asked = server.asked().len();
    let too_large = ["ErrorCode::HttpRequestBodySize(Some(102400))"];
    assert_eq!(told(&["post", &authority, "103000"]), too_large);
    assert_eq!(server.asked().len(), asked, "nothing of it was sent");
    let endless = told(&["get", &authority, "/endless"]);
    assert_eq!(endless, ["200 HTTP response body size exceeds limit: 102400 bytes"]);
    let plugin = checks_on(&host(), limits(&[("http_requests", "1")]), &granted);
    let told = told_by_program(Mode::Blocking, &plugin, &["sending", &authority]);
    let refused: Vec<_> = told.iter().filter(|line| line.starts_with("FAIL ")).collect();
    assert_eq!(refused, ["FAIL an answer that is late: false, expected true"]);
}

#[test]
fn slow_host_call_an_answer_that_never_comes_is_cut_off() {
    let server = server();
    let (authority, granted) = to(&server);
    let plugin = checks_on(&host(), limits(&[("timeout", "300ms")]), &granted);
    for mode in MODES {
        let args = ProgramInput::new().args(["get", authority.as_str(), "/never"]);
        let error = mode.run(&plugin, args).expect_err("nobody answers");
        assert_eq!(error.code(), "deadline", "{mode:?}");
    }
    // Cancelled by whoever has it called.
    let plugin = checks_on(&host(), limits(&[]), &granted);
    let cancel = Cancel::new();
    let options = CallOptions::new().cancel(&cancel);
    let canceller = std::thread::spawn(move || {
        while server.accepted() < 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        cancel.cancel();
    });
    let input = Input::Json(format!(r#"["get", ["{authority}", "/never"]]"#));
    let error = plugin.invoke_blocking_with("check", input, &options).expect_err("it is cancelled");
    assert_eq!(error.code(), "cancelled");
    canceller.join().unwrap();
}
