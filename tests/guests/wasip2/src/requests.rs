//! `wasi:http`: what may be asked for, and how.

use bindings::clocks::monotonic_clock;
use bindings::http::outgoing_handler::handle;
use bindings::http::types::{
    ErrorCode, Fields, HeaderError, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use bindings::io::poll::poll;

use crate::Suite;

fn request(method: &Method, authority: &str, path: &str, headers: Fields) -> OutgoingRequest {
    let request = OutgoingRequest::new(headers);
    request.set_method(method).expect("a method");
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    request
}

/// Sends a request with this body and waits for what comes of it.
fn send(
    request: OutgoingRequest,
    body: &[u8],
    options: Option<RequestOptions>,
) -> Result<IncomingResponse, ErrorCode> {
    let outgoing = request.body().expect("its first body");
    let sent = handle(request, options)?;
    let stream = outgoing.write().expect("its first stream");
    for piece in body.chunks(4096) {
        // Whoever does not want it says so by its answer.
        if stream.blocking_write_and_flush(piece).is_err() {
            break;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(outgoing, None);
    sent.subscribe().block();
    sent.get().expect("it is there").expect("asked for once")
}

/// The whole body, or what ended it.
fn body_of(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().expect("its first body");
    let stream = body.stream().expect("its first stream");
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(piece) => all.extend(piece),
            Err(bindings::io::streams::StreamError::Closed) => return Ok(all),
            Err(bindings::io::streams::StreamError::LastOperationFailed(error)) => {
                let code = bindings::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| error.to_debug_string(), |code| format!("{code:?}")));
            }
        }
    }
}

/// To a server of the test's, whose address is the word: it answers with what it was sent.
pub fn sending(suite: &mut Suite) {
    let authority = suite.word(0).to_owned();
    let headers = Fields::new();
    for name in ["connection", "host", "transfer-encoding", "via", "expect", "x-forwarded-for"] {
        let set = headers.set(name, &[b"x".to_vec()]);
        suite.is(&format!("a header `{name}`"), matches!(set, Err(HeaderError::Forbidden)), true);
    }
    suite.is(
        "a header that is none",
        matches!(headers.append("a b", b"x"), Err(HeaderError::InvalidSyntax)),
        true,
    );
    suite.gives("a header", headers.append("x-own", b"its value"), "fine");

    let response =
        send(request(&Method::Post, &authority, "/echo?q=1", headers), b"a body", None).expect("an answer");
    suite.is("its status", response.status(), 200);
    suite.is("a header of it", response.headers().get("x-answer"), vec![b"yes".to_vec()]);
    let body = String::from_utf8(body_of(&response).expect("its body")).expect("a text");
    suite.is("the line of the request", body.lines().next(), Some("POST /echo?q=1 HTTP/1.1"));
    let has = |line: &str| body.lines().any(|it| it.eq_ignore_ascii_case(line));
    suite.is("its host", has(&format!("host: {authority}")), true);
    suite.is("its own header", has("x-own: its value"), true);
    suite.is("its length", has("content-length: 6"), true);
    suite.is("its body", body.ends_with("\r\n\r\na body"), true);

    let other = request(&Method::Get, "example.com", "/", Fields::new());
    let denied = send(other, b"", None);
    suite.is("whom it was not granted", matches!(denied, Err(ErrorCode::HttpRequestDenied)), true);
    let traced = send(request(&Method::Trace, &authority, "/", Fields::new()), b"", None);
    suite.is("a method that is not for plugins", traced.is_err(), true);
    let ftp = request(&Method::Get, &authority, "/", Fields::new());
    ftp.set_scheme(Some(&Scheme::Other("ftp".to_owned()))).expect("a scheme");
    suite.is("another scheme", send(ftp, b"", None).is_err(), true);
    let slow = RequestOptions::new();
    slow.set_connect_timeout(Some(100_000_000)).expect("a time");
    slow.set_first_byte_timeout(Some(100_000_000)).expect("a time");
    let late = send(request(&Method::Get, &authority, "/never", Fields::new()), b"", Some(slow));
    suite.is("an answer that is late", matches!(late, Err(ErrorCode::HttpResponseTimeout)), true);
}

/// What is waited for together with a request's answer: long and short times, its future, and the stream of its body.
pub fn waiting(suite: &mut Suite) {
    let authority = suite.word(0).to_owned();
    let ask = |path: &str| {
        let request = request(&Method::Get, &authority, path, Fields::new());
        let body = request.body().expect("its first body");
        let sent = handle(request, None).expect("it may be asked for");
        OutgoingBody::finish(body, None).expect("nothing was to be sent");
        sent
    };
    let minute = monotonic_clock::subscribe_duration(60_000_000_000);
    let sent = ask("/length");
    let answered = sent.subscribe();
    suite.is("an answer comes before a minute is over", poll(&[&minute, &answered]), vec![1]);
    suite.is("it is ready", (answered.ready(), minute.ready()), (true, false));
    let response = sent.get().expect("it is there").expect("asked for once").expect("an answer");
    let body = response.consume().expect("its first body");
    let stream = body.stream().expect("its first stream");
    let readable = stream.subscribe();
    suite.is("and so does its body", poll(&[&minute, &readable]), vec![1]);
    suite.is("the body", stream.blocking_read(10).ok(), Some(b"none".to_vec()));

    let before = monotonic_clock::now();
    let short = monotonic_clock::subscribe_duration(50_000_000);
    let never = ask("/never");
    let unanswered = never.subscribe();
    suite.is("a short time is over before an answer that never comes", poll(&[&unanswered, &short]), vec![1]);
    suite.is("that long has passed", monotonic_clock::now() - before >= 50_000_000, true);
    suite.is("the answer is not there", unanswered.ready(), false);
}

/// Waits so many milliseconds, by one time or by a list that it is the first of.
pub fn sleeping(suite: &mut Suite) {
    let long = suite.word(0).parse::<u64>().unwrap_or(0) * 1_000_000;
    let before = monotonic_clock::now();
    let pollable = monotonic_clock::subscribe_duration(long);
    match suite.word(1) {
        "list" => suite.is(
            "the first of three",
            poll(&[
                &pollable,
                &monotonic_clock::subscribe_duration(long.saturating_mul(2)),
                &monotonic_clock::subscribe_instant(u64::MAX),
            ]),
            vec![0],
        ),
        _ => pollable.block(),
    }
    suite.is("that long has passed", monotonic_clock::now() - before >= long, true);
}

/// Gets what is at an address and says what came of it.
pub fn get(suite: &mut Suite) {
    let (authority, path) = (suite.word(0).to_owned(), suite.word(1).to_owned());
    match send(request(&Method::Get, &authority, &path, Fields::new()), b"", None) {
        Ok(response) => match body_of(&response) {
            Ok(body) => suite.say(format!("{} {}", response.status(), body.len())),
            Err(error) => suite.say(format!("{} {error}", response.status())),
        },
        Err(error) => suite.say(format!("{error:?}")),
    }
}

/// Posts so many bytes and says what came of it.
pub fn post(suite: &mut Suite) {
    let (authority, count) = (suite.word(0).to_owned(), suite.word(1).parse().unwrap_or(0));
    match send(request(&Method::Post, &authority, "/length", Fields::new()), &vec![b'x'; count], None) {
        Ok(response) => {
            let body = body_of(&response).map(|body| String::from_utf8_lossy(&body).into_owned());
            suite.say(format!("{} {}", response.status(), body.unwrap_or_else(|error| error)));
        }
        Err(error) => suite.say(format!("{error:?}")),
    }
}
