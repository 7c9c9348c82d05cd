//! Connections and what travels with requests: credentials, certificates, proxies.

use super::*;

#[test]
fn connections_are_used_again_by_one_plugin_and_never_by_another() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (client(&Names::usual()), format!("http://api.test:{}/", server.port));
    let minute = Duration::from_secs(60);
    for (plugin, expected) in [("one", 1), ("one", 1), ("two", 2), ("two", 2), ("one", 2)] {
        let call = Call::of(plugin, &ALL, &[], minute);
        for _ in 0..3 {
            assert_eq!(call.text(&client, &url).unwrap(), "hello");
        }
        assert_eq!(server.accepted(), expected, "{plugin}");
    }
    // Another name is another origin, although the address is the same.
    Call::new(&ALL).text(&client, &format!("http://other.test:{}/", server.port)).unwrap();
    assert_eq!(server.accepted(), 3);
    // A body that nobody read to its end closes its connection.
    drop(Call::new(&ALL).get(&client, &url).unwrap());
}

#[test]
fn a_server_that_closed_a_kept_connection_is_connected_to_again() {
    let server = Server::start(|stream, _| {
        let _ = stream.write_all(ok("hello").as_bytes());
        false
    });
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    for expected in 1..6 {
        assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
        assert_eq!(server.accepted(), expected);
    }
}

#[test]
fn no_cookie_is_kept_and_no_referer_sent() {
    let server = Server::start(|stream, request| {
        let answer = match request.starts_with("GET /first ") {
            true => "HTTP/1.1 302 Go\r\nLocation: /next\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            false => ok("hello"),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    for path in ["first", "second"] {
        call.text(&client, &format!("http://api.test:{}/{path}", server.port)).unwrap();
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for request in &asked {
        let headers: Vec<&str> =
            request.lines().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert_eq!(headers, ["host", "user-agent", "accept-encoding"]);
    }
}

/// Credentials for one host.
#[derive(Debug)]
struct Kept(&'static str, Vec<(&'static str, &'static str)>);

impl Secrets for Kept {
    fn get(&self, _: &Permit, _: &str) -> Result<Option<Secret>, ServiceError> {
        Ok(None)
    }

    fn credentials(
        &self,
        _: &Permit,
        _: Scheme,
        host: &str,
        _: u16,
    ) -> Result<Vec<(String, Secret)>, ServiceError> {
        let all = self.1.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        Ok(all.filter(|_| host == self.0).collect())
    }
}

#[test]
fn credentials_are_sent_to_their_host_only_and_never_shown() {
    let other = Server::start(|stream, request| stream.write_all(ok(request).as_bytes()).is_ok());
    let elsewhere = format!("http://other.test:{}/", other.port);
    let server = Server::start(move |stream, request| {
        let secret = header(request, "authorization").unwrap();
        let answer = match request.split(' ').nth(1).unwrap() {
            "/out" => redirect(307, &elsewhere),
            "/back" => redirect(302, "/?Bearer%20x=token-of-the-operator"),
            "/broken" => format!("HTTP/1.1 200 OK\r\n{secret}\r\n\r\n"),
            _ => format!(
                "HTTP/1.1 200 OK\r\nX-Echo: {secret}\r\nContent-Length: {}\r\n\r\n{request}",
                request.len()
            ),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let redactor = Redactor::new();
    let kept = Kept("api.test", vec![("Authorization", "Bearer token-of-the-operator")]);
    let client = builder(&Names::usual()).credentials(Arc::new(kept), redactor.clone()).build();
    let call = Call::new(&ALL);
    let ask = |path: &str| {
        let url = format!("http://api.test:{}{path}", server.port);
        let request = HttpRequest::new("GET", &url).unwrap().header("authorization", b"Bearer mine").unwrap();
        call.send(&client, request)
    };
    // In place of what the plugin set, and not in what comes back.
    let response = ask("/").unwrap();
    assert_eq!(response.headers["x-echo"], "[secret Authorization]");
    let shown = format!("{response:?}") + &text(response).unwrap();
    assert_eq!(header(&shown, "authorization"), Some("[secret Authorization]"));
    let sent = server.asked().pop().unwrap();
    assert_eq!(header(&sent, "authorization"), Some("Bearer token-of-the-operator"));
    assert_eq!(sent.matches("Bearer").count(), 1);
    // Not to another host.
    let shown = text(ask("/out").unwrap()).unwrap();
    assert_eq!((header(&shown, "authorization"), shown.contains("token")), (None, false));
    // Not where a redirect says it.
    let response = ask("/back").unwrap();
    assert_eq!(response.url.as_str(), format!("http://api.test:{}/", server.port));
    assert!(!text(response).unwrap().contains("token-of-the-operator"));
    let error = ask("/broken").unwrap_err();
    assert!(!format!("{error} {error:?} {client:?}").contains("token-of-the-operator"), "{error}");
    assert_eq!(redactor.redact("a Bearer token-of-the-operator b"), "a [secret Authorization] b");
}

#[test]
fn credentials_that_are_no_header_are_the_operators_to_know_of() {
    for (name, value) in [("x y", "secret-value"), ("x-a", "secret-\r\nvalue"), ("Host", "secret-value")] {
        let kept = Kept("api.test", vec![(name, value)]);
        let client = builder(&Names::usual()).credentials(Arc::new(kept), Redactor::new()).build();
        let error = Call::new(&ALL).get(&client, "http://api.test/").unwrap_err();
        let expected = "the credentials for this host are no header".to_owned();
        assert_eq!(error, ServiceError::Unavailable(expected));
    }
}

/// A server that speaks TLS as `api.test`, and the certificate that it shows.
fn secure(handle: impl Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync + 'static) -> (Server, String) {
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream| -> Option<Box<dyn ReadWrite>> {
        let connection = rustls::ServerConnection::new(config.clone()).ok()?;
        Some(Box::new(rustls::StreamOwned::new(connection, stream)))
    };
    (Server::wrapped(wrap, handle), pem(made.cert.der()))
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits =
            three.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn https_believes_only_the_certificates_it_was_given() {
    let (server, certificate) = secure(|stream, _| stream.write_all(ok("hello").as_bytes()).is_ok());
    let (names, call) = (Names::usual(), Call::new(&ALL));
    let url = format!("https://api.test:{}/", server.port);
    let trusting = builder(&names).root_certificate(certificate.as_bytes()).unwrap().build();
    for _ in 0..3 {
        assert_eq!(call.text(&trusting, &url).unwrap(), "hello");
    }
    assert_eq!(server.accepted(), 1);
    let wrong_name = call.get(&trusting, &format!("https://other.test:{}/", server.port));
    assert!(failed(wrong_name).starts_with("no encrypted connection with `other.test`: invalid peer"));
    let (_, another) = secure(|_, _| false);
    let doubting = builder(&names).root_certificate(another.as_bytes()).unwrap().build();
    assert!(failed(call.get(&doubting, &url)).contains("invalid peer certificate"));
    let nobody = client(&names).clone();
    assert!(matches!(call.get(&nobody, &url), Err(ServiceError::Unavailable(_))));
    for no_certificate in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let result = builder(&names).root_certificate(no_certificate.as_bytes());
        assert!(matches!(result, Err(ServiceError::Invalid(_))), "{no_certificate}");
    }
}

#[test]
fn scheme_downgrade_by_a_redirect_is_refused() {
    let plain = Server::saying(ok("secret"));
    let location = format!("http://api.test:{}/", plain.port);
    let (server, certificate) =
        secure(move |stream, _| stream.write_all(redirect(302, &location).as_bytes()).is_ok());
    let client = builder(&Names::usual()).root_certificate(certificate.as_bytes()).unwrap().build();
    let result = Call::new(&ALL).get(&client, &format!("https://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server redirects badly: from https to http");
    assert_eq!(plain.accepted(), 0);
}

/// Where the child of the next test finds its server.
const PORT: &str = "AIRLOCK_TEST_PORT";

#[test]
fn no_proxy_of_the_environment_is_asked() {
    if let Ok(port) = std::env::var(PORT) {
        let url = format!("http://api.test:{port}/");
        assert_eq!(Call::new(&ALL).text(&client(&Names::usual()), &url).unwrap(), "direct");
        return;
    }
    let (server, proxy) = (Server::saying(ok("direct")), Server::saying(ok("by the proxy")));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "http::connections::no_proxy_of_the_environment_is_asked"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://127.0.0.1:{}", proxy.port));
    }
    assert!(child.env(PORT, server.port.to_string()).output().unwrap().status.success());
    assert_eq!((server.asked().len(), proxy.accepted()), (1, 0));
}

#[test]
fn the_systems_resolver_knows_this_host_and_it_has_to_be_granted() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (HttpClient::default(), format!("http://localhost:{}/", server.port));
    let needed = denied(Call::new(&["net=*"]).get(&client, &url));
    let port = server.port;
    assert!(
        [format!("net=http://127.0.0.1:{port}"), format!("net=http://[::1]:{port}")].contains(&needed),
        "{needed}"
    );
    // Where it has two addresses, both are tried.
    let call = Call::new(&["net=localhost", "net=127.0.0.1", "net=::1"]);
    assert_eq!(call.text(&client, &url).unwrap(), "hello");
}

#[test]
fn every_address_is_tried_until_one_answers() {
    let server = Server::saying(ok("hello"));
    let names =
        Names::new(&[("api.test", &[&["127.0.0.2", "127.0.0.3", "127.0.0.1"]]), ("none.test", &[&[]])]);
    let (client, call) = (client(&names), Call::new(&["net=*", "net=127.0.0.0/8"]));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
    assert_eq!(failed(call.get(&client, "http://none.test/")), "`none.test` has no address");
    assert_eq!(failed(call.get(&client, "http://unknown.test/")), "no such name");
}

#[test]
fn bare_connections_are_under_the_same_rules() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::saying("pong");
    let names = Names::new(&[("api.test", &[&["127.0.0.1"], &["127.0.0.1"], &["169.254.169.254"]])]);
    let connector = TcpConnector::new(names.clone());
    let port = server.port;
    let connect = |granted: &[&str], host: &str| {
        let call = Call::new(granted);
        let permit = call.permit(Need::Origin { scheme: Scheme::Tcp, host, port })?;
        block_on(connector.connect(&permit, host, port)).map(|connection| (call, connection))
    };
    let ours = format!("net=tcp://api.test:{port}");
    assert_eq!(denied(connect(&[&ours], "api.test").map(drop)), format!("net=tcp://127.0.0.1:{port}"));
    assert_eq!(denied(connect(&["net=http://api.test"], "api.test").map(drop)), ours);
    let (call, mut connection) = connect(&[&ours, "net=127.0.0.1"], "API.test").unwrap();
    assert_eq!(connection.peer().unwrap().port(), port);
    block_on(async {
        connection.write_all(b"ping\r\n\r\n").await.unwrap();
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
        drop(call);
        let error = connection.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
    assert_eq!(
        denied(connect(&[&ours, "net=127.0.0.1"], "api.test").map(drop)),
        format!("net=tcp://169.254.169.254:{port}")
    );
    assert_eq!(denied(connect(&["net=*"], "127.1").map(drop)), format!("net=tcp://127.0.0.1:{port}"));
    let invalid = connect(&["net=*"], "a b").map(drop).unwrap_err();
    assert!(matches!(invalid, ServiceError::Invalid(_)), "{invalid:?}");
    assert_eq!(server.accepted(), 1);
}
