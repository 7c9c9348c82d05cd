//! Which hosts and addresses are asked, redirects included.

use super::*;

#[test]
fn a_request_is_sent_and_answered_on_every_executor_and_on_none() {
    let server = Server::start(|stream, request| {
        assert!(request.starts_with("POST /a%20b?c=%0D%0AX:y HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\nbody"), "{request}");
        stream.write_all(ok("hello").as_bytes()).is_ok()
    });
    let client = client(&Names::usual());
    let url = format!("http://api.test:{}/a%20b?c=%0D%0AX:y#gone", server.port);
    let call = Call::new(&ALL);
    let fetch = async || {
        let request = HttpRequest::new("POST", &url).unwrap().header("X-Mine", b"1").unwrap().body("body");
        let permit = call.permit(request.need()).unwrap();
        let response = client.send(&permit, request).await.unwrap();
        assert_eq!(
            (response.status.as_u16(), response.headers["content-length"].as_bytes()),
            (200, &b"5"[..])
        );
        assert_eq!(response.url.as_str(), url.strip_suffix("#gone").unwrap());
        assert_eq!(response.bytes(5).await.unwrap(), "hello");
    };
    block_on(fetch());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(fetch());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(fetch());
    let request = &server.asked()[0];
    assert_eq!(header(request, "host"), Some(format!("api.test:{}", server.port).as_str()));
    assert_eq!((header(request, "x-mine"), header(request, "accept-encoding")), (Some("1"), Some("gzip")));
    assert_eq!(server.accepted(), 1);
}

#[test]
fn dns_to_loopback_is_denied_with_the_address_that_would_have_to_be_granted() {
    for (address, needed) in [
        ("127.0.0.1", "net=http://127.0.0.1"),
        ("169.254.169.254", "net=http://169.254.169.254"),
        ("::ffff:127.0.0.1", "net=http://[::ffff:127.0.0.1]"),
        ("64:ff9b::7f00:1", "net=http://[64:ff9b::7f00:1]"),
        ("::1", "net=http://[::1]"),
        ("fd12:3456::1", "net=http://[fd12:3456::1]"),
        ("fd00:ec2::254", "net=http://[fd00:ec2::254]"),
        ("fe80::1", "net=http://[fe80::1]"),
        ("10.1.2.3", "net=http://10.1.2.3"),
        ("100.64.0.1", "net=http://100.64.0.1"),
        ("0.0.0.0", "net=http://0.0.0.0"),
    ] {
        for granted in ["net=*", "net=http://api.test", "net=*.test"] {
            // A public address beside it changes nothing, and is not connected to.
            for answers in [&[address][..], &["1.1.1.1", address], &[address, "1.1.1.1"]] {
                let names = Names::new(&[("api.test", &[answers])]);
                let call = Call::new(&[granted]);
                assert_eq!(denied(call.get(&client(&names), "http://api.test/")), needed, "{granted}");
                let refused = AuditEvent::Refused { capability: needed.parse().unwrap(), count: 1 };
                assert_eq!(call.gate.take_uses().last(), Some(&refused));
            }
        }
    }
}

#[test]
fn dns_to_loopback_changes_between_check_and_connect_and_is_asked_once() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://api.test:{}/", server.port);
    // Every question has another answer, of which the first is granted.
    let names = Names::new(&[("api.test", &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.2"]])]);
    let client = client(&names);
    let call = Call::new(&["net=http://api.test:*", "net=127.0.0.0/8"]);
    assert_eq!(call.text(&client, &url).unwrap(), "hello");
    assert_eq!(names.asked(), ["api.test"]);
    // There is an open connection, to an address that is not what the name stands for now.
    assert_eq!(denied(call.get(&client, &url)), format!("net=http://169.254.169.254:{}", server.port));
    assert_eq!(names.asked().len(), 2);
    // This one may be connected to, where nobody listens.
    assert_eq!(failed(call.get(&client, &url)), "`api.test` cannot be connected to: connection refused");
    assert_eq!((names.asked().len(), server.accepted()), (3, 1));
}

#[test]
fn a_kept_connection_is_not_used_once_its_address_is_no_longer_granted() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (client(&Names::usual()), format!("http://api.test:{}/", server.port));
    assert_eq!(Call::new(&ALL).text(&client, &url).unwrap(), "hello");
    let needed = format!("net=http://127.0.0.1:{}", server.port);
    assert_eq!(denied(Call::new(&["net=*"]).get(&client, &url)), needed);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn ip_literal_is_an_address_however_it_is_written() {
    let server = Server::saying(ok("hello"));
    let (names, port) = (Names::usual(), server.port);
    let client = client(&names);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1."] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(denied(Call::new(&["net=*"]).get(&client, &url)), format!("net=http://127.0.0.1:{port}"));
        assert_eq!(Call::new(&[&format!("net=127.0.0.1:{port}")]).text(&client, &url).unwrap(), "hello");
        assert_eq!(Call::new(&["net=127.0.0.0/8"]).text(&client, &url).unwrap(), "hello");
        let elsewhere = Call::new(&[&format!("net=127.0.0.1:{}", port ^ 1)]).get(&client, &url);
        assert_eq!(denied(elsewhere), format!("net=http://127.0.0.1:{port}"));
    }
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}/");
    for granted in [&["net=*"][..], &ALL] {
        let needed = format!("net=http://[::ffff:127.0.0.1]:{port}");
        assert_eq!(denied(Call::new(granted).get(&client, &mapped)), needed);
    }
    assert_eq!(names.asked(), [] as [&str; 0]);
}

#[test]
fn dns_exfil_a_host_that_is_not_granted_is_not_looked_up() {
    let names = Names::usual();
    let client = client(&names);
    let call = Call::new(&["net=http://api.test"]);
    let secret = HttpRequest::new("GET", "http://stolen-words.other.test/").unwrap();
    let asked = Need::Origin { scheme: Scheme::Http, host: "api.test", port: 80 };
    // The permit is for another host, as an adapter with a defect might have it.
    let permit = call.permit(asked).unwrap();
    assert_eq!(denied(block_on(client.send(&permit, secret))), "net=http://stolen-words.other.test");
    assert_eq!(names.asked(), [] as [&str; 0]);
}

#[test]
fn redirect_out_to_a_host_that_is_not_granted_is_denied_before_it_is_looked_up() {
    let (names, secret) = (Names::usual(), Server::saying(ok("secret")));
    let server = Server::saying(redirect(302, &format!("http://other.test:{}/", secret.port)));
    let call = Call::new(&["net=http://api.test:*", "net=127.0.0.1"]);
    let result = call.get(&client(&names), &format!("http://api.test:{}/", server.port));
    assert_eq!(denied(result), format!("net=http://other.test:{}", secret.port));
    assert_eq!((names.asked(), secret.accepted()), (vec!["api.test".to_owned()], 0));
}

#[test]
fn redirect_out_to_an_address_inside_is_denied() {
    let names = Names::new(&[("api.test", &[&["127.0.0.1"]]), ("metadata.test", &[&["169.254.169.254"]])]);
    let client = client(&names);
    for (location, needed) in [
        ("http://169.254.169.254/latest/meta-data/", "net=http://169.254.169.254"),
        ("http://metadata.test/", "net=http://169.254.169.254"),
        ("http://[::1]/", "net=http://[::1]"),
    ] {
        let server = Server::saying(redirect(302, location));
        let granted = ["net=*", &format!("net=127.0.0.1:{}", server.port)];
        let result = Call::new(&granted).get(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(denied(result), needed, "{location}");
    }
}

#[test]
fn port_not_listed_is_denied_also_after_a_redirect() {
    let (client, secret) = (client(&Names::usual()), Server::saying(ok("secret")));
    let server = Server::saying(redirect(307, &format!("http://api.test:{}/", secret.port)));
    let granted = [&format!("net=http://api.test:{}", server.port), "net=127.0.0.1"];
    let needed = format!("net=http://api.test:{}", secret.port);
    let call = Call::new(&granted);
    assert_eq!(denied(call.get(&client, &format!("http://api.test:{}/", server.port))), needed);
    assert_eq!(denied(call.get(&client, &format!("http://api.test:{}/", secret.port))), needed);
    assert_eq!(secret.accepted(), 0);
}

#[test]
fn userinfo_in_url_of_a_redirect_is_refused() {
    let client = client(&Names::usual());
    for location in ["http://api.test@other.test/", "//api.test:x@other.test/", "http://", "file:///etc"] {
        let server = Server::saying(redirect(302, location));
        let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port));
        assert!(failed(result).starts_with("the server redirects badly: "), "{location}");
    }
}

#[test]
fn redirects_are_followed_as_often_as_is_sane_and_with_the_methods_of_the_standard() {
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let server = Server::saying(redirect(302, "/again"));
    let result = call.get(&client, &format!("http://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server redirects more than 10 times");
    assert_eq!((server.asked().len(), server.accepted()), (11, 1));
    let server = Server::start(|stream, request| {
        let answer = match request.lines().next().unwrap() {
            "POST /302 HTTP/1.1" => redirect(302, "/end"),
            "POST /307 HTTP/1.1" => redirect(307, "/end"),
            "GET /end HTTP/1.1" | "POST /end HTTP/1.1" => ok(&request[request.len() - 4..]),
            other => panic!("{other}"),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    for (path, body) in [("302", "\r\n\r\n"), ("307", "data")] {
        let url = format!("http://api.test:{}/{path}", server.port);
        let response = call.send(&client, HttpRequest::new("POST", &url).unwrap().body("data")).unwrap();
        assert_eq!(response.url.path(), "/end");
        assert_eq!(text(response).unwrap(), body);
    }
}
