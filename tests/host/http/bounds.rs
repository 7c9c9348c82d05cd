//! Servers that send too much, too slowly or nonsense.

use super::*;

#[test]
fn header_injection_of_a_server_stays_in_its_head() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                Transfer-Encoding: chunked\r\nTrailer: X-Late\r\nX-Kept: a\r\nSet-Cookie: a=b\r\n\r\n\
                5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n";
    let server = Server::saying(head);
    let client = client(&Names::usual());
    let response = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port)).unwrap();
    let mut names: Vec<&str> = response.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["set-cookie", "x-kept"]);
    assert_eq!(text(response).unwrap(), "hello");
    let bad = Server::saying("HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n");
    let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", bad.port));
    assert!(failed(result).starts_with("the server does not answer as HTTP/1.1 has it"));
}

#[test]
fn too_many_headers_and_too_long_ones_are_refused() {
    let client = client(&Names::usual());
    let many: String = (0..101).map(|index| format!("X-{index}: 1\r\n")).collect();
    let fits: String = (0..99).map(|index| format!("X-{index}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(70 << 10));
    let get = |headers: &str| {
        let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n"));
        Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port))
    };
    for headers in [&many, &long] {
        let text = failed(get(headers));
        assert_eq!(text, "the server does not answer as HTTP/1.1 has it: message head is too large");
    }
    assert_eq!(get(&fits).unwrap().headers.len(), 100);
}

#[test]
fn huge_response_is_cut_at_its_limit_and_its_server_let_go() {
    let (wait, gone) = tell_when_closed();
    let wait = Mutex::new(wait);
    let server = Server::start(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
        wait.lock().unwrap()(stream);
        false
    });
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 100_000)]);
    let mut response =
        call.get(&client(&Names::usual()), &format!("http://api.test:{}/", server.port)).unwrap();
    let mut read = 0;
    let error = loop {
        match block_on(response.body.next()) {
            Ok(piece) => read += piece.expect("no end").len(),
            Err(error) => break error,
        }
    };
    let limit = ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 100_000 };
    assert_eq!(error, limit);
    assert!(read <= 100_000, "{read}");
    assert_eq!(block_on(response.body.next()), Err(limit));
    closed(&gone);
}

#[test]
fn huge_request_is_not_sent() {
    let server = Server::saying(ok(""));
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 10)]);
    let request = HttpRequest::new("PUT", &format!("http://api.test:{}/", server.port)).unwrap();
    let result = call.send(&client(&Names::usual()), request.body(vec![0; 11]));
    assert_eq!(result.unwrap_err(), ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 10 });
    assert_eq!(server.accepted(), 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nETag: \"x\"\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn decompression_gives_the_body_and_no_header_that_describes_the_packed_one() {
    let words = "all the words of this. ".repeat(10_000);
    let two = [gzip(words.as_bytes()), gzip(b"the end")].concat();
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let server = Server::saying(packed(&two));
    let response = call.get(&client, &format!("http://api.test:{}/", server.port)).unwrap();
    assert_eq!(response.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["etag"]);
    assert_eq!(text(response).unwrap(), words + "the end");
    for broken in [&two[..two.len() - 3], b"no gzip at all"] {
        let server = Server::saying(packed(broken));
        let result = call.text(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(failed(result), "the response's body is not packed as its headers say");
    }
    // A part of it is not asked for packed, and left as it is where it comes so.
    let part = "HTTP/1.1 206 Part\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\npart";
    let server = Server::saying(part);
    let request = HttpRequest::new("GET", &format!("http://api.test:{}/", server.port)).unwrap();
    let response = call.send(&client, request.header("range", b"bytes=0-3").unwrap()).unwrap();
    assert_eq!(response.headers["content-encoding"], "gzip");
    assert_eq!(text(response).unwrap(), "part");
    assert_eq!(header(&server.asked()[0], "accept-encoding"), Some("identity"));
    let server = Server::saying(packed(b""));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "");
}

#[test]
fn decompression_bomb_is_cut_by_what_it_unpacks_to() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100 << 10);
    let server = Server::saying(packed(&bomb));
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 1 << 20)]);
    let result = call.text(&client(&Names::usual()), &format!("http://api.test:{}/", server.port));
    assert_eq!(result, Err(ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 1 << 20 }));
}

/// Takes its time, and says when the connection is gone.
fn dripping(head: &'static str) -> (Server, Receiver<()>) {
    let (sender, receiver) = channel();
    let server = Server::start(move |stream, _| {
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = sender.send(());
        false
    });
    (server, receiver)
}

#[test]
fn slow_drip_is_cut_at_the_first_of_all_times() {
    let millis = |count: u64| Duration::from_millis(count);
    let nanos = 100_000_000;
    let own = |url: &str| HttpRequest::new("GET", url).unwrap().timeout(millis(100));
    let plain = |url: &str| HttpRequest::new("GET", url).unwrap();
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: "] {
        for (case, expected) in [
            ("own", ServiceError::TimedOut),
            ("limit", ServiceError::TimedOut),
            ("call", ServiceError::Ended),
        ] {
            let (server, gone) = dripping(head);
            let url = format!("http://api.test:{}/", server.port);
            let (call, request) = match case {
                "own" => (Call::new(&ALL), own(&url)),
                "limit" => (Call::limited(&ALL, &[(LimitKind::HttpTime, nanos)]), plain(&url)),
                _ => (Call::of("one", &ALL, &[], millis(100)), plain(&url)),
            };
            let started = Instant::now();
            let result = call.send(&client(&Names::usual()), request).and_then(text);
            assert_eq!(result, Err(expected), "{case} {head}");
            assert!((millis(100)..millis(5_000)).contains(&started.elapsed()), "{:?}", started.elapsed());
            closed(&gone);
        }
    }
}

#[test]
fn slow_host_call_ends_with_its_call_and_closes_the_connection() {
    let (wait, gone) = tell_when_closed();
    let wait = Mutex::new(wait);
    let server = Server::start(move |stream, _| {
        wait.lock().unwrap()(stream);
        false
    });
    let client = client(&Names::usual());
    let url = format!("http://api.test:{}/", server.port);
    let call = Call::of("one", &ALL, &[], Duration::from_millis(100));
    assert_eq!(call.get(&client, &url).unwrap_err(), ServiceError::Ended);
    closed(&gone);
    // And when nobody waits for it any more.
    let call = Call::new(&ALL);
    let request = HttpRequest::new("GET", &url).unwrap();
    let permit = call.permit(request.need()).unwrap();
    let mut sent = client.send(&permit, request);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(sent.as_mut().poll(&mut context).is_pending());
    while server.asked().len() < 2 {
        std::thread::yield_now();
    }
    drop(sent);
    closed(&gone);
    // A call that is over sends nothing.
    let request = HttpRequest::new("GET", &url).unwrap();
    let permit = call.permit(request.need()).unwrap();
    drop(call);
    assert_eq!(block_on(client.send(&permit, request)).unwrap_err(), ServiceError::Ended);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_comes_before_an_answer_is_passed_over_and_is_none_itself() {
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let server = Server::saying(format!("{early}{}", ok("hello")));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
    let server =
        Server::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    let result = call.get(&client, &format!("http://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server answers 101 Switching Protocols to nothing");
}

const ENDED: &str = "the server ended the connection before the response was whole";

#[test]
fn a_body_that_breaks_off_is_no_whole_body() {
    let client = client(&Names::usual());
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let server = Server::start(move |stream, _| {
            let _ = stream.write_all(response.as_bytes());
            false
        });
        let result = Call::new(&ALL).text(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(failed(result), ENDED);
    }
    let silent = Server::start(|_, _| false);
    let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", silent.port));
    assert_eq!(failed(result), ENDED);
}
