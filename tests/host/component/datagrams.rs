//! Datagrams of components: to whom they are granted, and from there alone.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use airlock_host::testing::fakes;
use airlock_host::{AuditEvent, Capability, Host, LoadOptions, MemoryAudit, OnAuditFailure};

use super::programs::{allow, failed, load, load_on, printed, run_in, with_names};
use crate::support::{MODES, Mode, host, limits, survives};

/// A server that answers each datagram with itself, for so many; where it is. Before each answer a stranger
/// sends one to the same place.
fn datagrams(count: usize) -> (u16, JoinHandle<()>) {
    datagrams_at(IpAddr::from([127, 0, 0, 1]), count)
}

fn datagrams_at(address: IpAddr, count: usize) -> (u16, JoinHandle<()>) {
    let server = UdpSocket::bind((address, 0)).unwrap();
    let stranger = UdpSocket::bind((address, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let answer = move || {
        let mut bytes = [0; 100];
        for _ in 0..count {
            let (length, from) = server.recv_from(&mut bytes).unwrap();
            stranger.send_to(b"something else", from).unwrap();
            server.send_to(&bytes[..length], from).unwrap();
        }
    };
    (port, std::thread::spawn(answer))
}

#[test]
fn a_component_sends_datagrams_to_a_granted_address_and_hears_nobody_else() {
    let (port, server) = datagrams(2 * MODES.len());
    let plugin = load(&[&format!("net=udp://127.0.0.1:{port}")]);
    let server_at = format!("127.0.0.1:{port}");
    for mode in MODES {
        for (word, answer) in [("udp", "a line\n"), ("udp-any", "the server: a line\n")] {
            let program = run_in(mode, &plugin, &[word, &server_at, "a line"]).unwrap();
            let said = (program.code, String::from_utf8(program.stdout), String::from_utf8(program.stderr));
            assert_eq!(said, (0, Ok(answer.to_owned()), Ok(String::new())), "{mode:?}");
        }
    }
    server.join().unwrap();
}

#[test]
fn datagrams_go_by_version_6_as_well_and_are_noted_as_used() {
    let (port, server) = datagrams_at(IpAddr::from(Ipv6Addr::LOCALHOST), 2);
    let granted = format!("net=udp://[::1]:{port}");
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let plugin = load_on(&host, allow(LoadOptions::new(), &[&granted]));
    assert_eq!(printed(&plugin, &["udp", &format!("::1:{port}"), "six"]), "six\n");
    assert_eq!(printed(&plugin, &["udp-any", &format!("::1:{port}"), "six"]), "the server: six\n");
    server.join().unwrap();
    let capability: Capability = granted.parse().unwrap();
    let used =
        |event: &AuditEvent| matches!(event, AuditEvent::Used { capability: of, .. } if *of == capability);
    assert_eq!(audit.events().iter().filter(|(_, event)| used(event)).count(), 2, "{:?}", audit.events());
}

#[test]
fn a_datagram_goes_nowhere_that_is_not_granted() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let target = format!("127.0.0.1:{port}");
    for granted in [
        &[][..],
        &["net=udp://127.0.0.1:1"],
        &["net=udp://127.0.0.2:*"],
        // By another scheme, by a name, and as one of all there are.
        &[&format!("net=tcp://127.0.0.1:{port}")],
        &["net=udp://localhost:*"],
        &["net=udp://*:*"],
        &["net=*"],
    ] {
        let plugin = load(granted);
        assert_eq!(
            failed(&plugin, &["udp", &target, "x"]),
            "tcp-echo: a stream: access-denied\n",
            "{granted:?}"
        );
        assert_eq!(
            failed(&plugin, &["udp-any", &target, "x"]),
            "tcp-echo: sending: access-denied\n",
            "{granted:?}"
        );
    }
    // Leave for datagrams is none for a connection.
    let error = failed(&load(&[&format!("net=udp://{target}")]), &[&target]);
    assert_eq!(error, "tcp-echo: connecting: access-denied\n");
    // Those before the first that is refused are sent.
    let plugin = load(&[&format!("net=udp://{target}")]);
    assert_eq!(printed(&plugin, &["reach", &target, "3"]), "1\n");
    // Nobody is to know beforehand where it can be spoken to.
    for port in ["0", "4000"] {
        let error = failed(&load(&["net=udp://127.0.0.1:*"]), &["udp-bind", port]);
        assert_eq!(error, "tcp-echo: binding: access-denied\n");
    }
    let mut bytes = [0; 100];
    assert_eq!(receiver.recv(&mut bytes).unwrap(), 5);
    receiver.set_nonblocking(true).unwrap();
    let more = receiver.recv(&mut bytes).expect_err("there was one");
    assert_eq!((more.kind(), &bytes[..5]), (ErrorKind::WouldBlock, &b"hello"[..]));
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    failed(&load_on(&host, LoadOptions::new()), &["udp", &target, "x"]);
    let refused =
        AuditEvent::Refused { capability: format!("net=udp://{target}").parse().unwrap(), count: 1 };
    assert!(audit.events().iter().any(|(_, event)| *event == refused), "{:?}", audit.events());
}

#[test]
fn dns_to_loopback_a_name_for_datagrams_is_looked_up_and_checked_like_every_other() {
    let fakes = fakes();
    let (port, server) = datagrams(1);
    let host = with_names(&fakes, &[("inner.test", &["127.0.0.1"]), ("db.test", &["8.8.8.8"])]);
    let plugin = load_on(&host, allow(LoadOptions::new(), &["net=udp://*.test:*"]));
    assert_eq!(failed(&plugin, &["lookup", "inner.test"]), "tcp-echo: looking up: access-denied\n");
    assert_eq!(printed(&plugin, &["lookup", "db.test"]), "8.8.8.8\n");
    // Only as datagrams.
    assert_eq!(failed(&plugin, &["db.test:53"]), "tcp-echo: connecting: access-denied\n");
    let address = format!("net=udp://127.0.0.1:{port}");
    let plugin = load_on(&host, allow(LoadOptions::new(), &["net=udp://inner.test:*", &address]));
    assert_eq!(printed(&plugin, &["udp", &format!("inner.test:{port}"), "hello"]), "hello\n");
    server.join().unwrap();
}

#[test]
fn sockets_for_datagrams_and_whom_they_are_sent_to_are_counted() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = receiver.local_addr().unwrap().to_string();
    let host = host();
    let plugin = load_on(&host, allow(limits(&[("http_requests", "3")]), &["net=udp://127.0.0.1:*"]));
    assert_eq!(printed(&plugin, &["datagrams", "3"]), "3\n");
    assert_eq!(failed(&plugin, &["datagrams", "4"]), "tcp-echo: a socket: new-socket-limit\n");
    assert_eq!(printed(&plugin, &["reach", &target, "3"]), "3\n");
    assert_eq!(printed(&plugin, &["reach", &target, "9"]), "3\n");
    // Whoever tries without end comes to one.
    let plugin = load_on(&host, limits(&[("host_calls", "1000"), ("http_requests", "1000000")]));
    let error = run_in(Mode::Blocking, &plugin, &["datagrams", "1000000"]).expect_err("it never ends");
    assert_eq!(error.code(), "limit-host-calls");
    survives(&host);
}

#[test]
fn slow_host_call_a_datagram_that_is_never_answered_is_cut_off_at_the_deadline() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let plugin = load_on(&host(), allow(limits(&[("timeout", "300ms")]), &[&format!("net=udp://{target}")]));
    for mode in MODES {
        let error = run_in(mode, &plugin, &["udp", &target, "x"]).expect_err("it takes too long");
        assert_eq!((error.code(), error.exit_code()), ("deadline", 124), "{mode:?}");
    }
}
