//! Requests of plugins, beside a client without a sandbox.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::service::{HttpClient, Resolve};
use airlock_host::{Http, HttpRequest, ServiceFuture};

use crate::gated::Call;

/// Bytes of each response.
const BODY: usize = 1024;

pub(crate) fn run(report: &mut Report) {
    let port = server();
    let url = format!("http://127.0.0.1:{port}/");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Built with the whole workspace, it has TLS, and says nothing of how.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    let (client, call) = (
        HttpClient::builder().resolver(Arc::new(Here)).build(),
        Call::new(&["net=127.0.0.1", "net=api.test"]),
    );
    let get = |url: &str| {
        let request = HttpRequest::new("GET", url).unwrap();
        let permit = call.permit(request.need()).unwrap();
        let body = runtime
            .block_on(async { client.send(&permit, request).await.unwrap().bytes(u64::MAX).await.unwrap() });
        assert_eq!(body.len(), BODY);
    };
    report.compare(
        "one GET of 1 KiB on loopback, connection kept, wall time",
        Clock::Wall,
        vec![
            Contender::new("bare reqwest", || {
                let body =
                    runtime.block_on(async { bare.get(&url).send().await.unwrap().bytes().await.unwrap() });
                assert_eq!(body.len(), BODY);
            }),
            Contender::new("airlock, by address", || get(&url)).target(Target::OverFloor(100e3)),
            Contender::new("airlock, by name", || get(&format!("http://api.test:{port}/")))
                .target(Target::OverFloor(100e3)),
        ],
    );
}

/// A name server that knows one address.
#[derive(Debug)]
struct Here;

impl Resolve for Here {
    fn resolve<'a>(&'a self, _: &'a str) -> ServiceFuture<'a, Vec<IpAddr>> {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

/// Answers everything with the same response, a thread for each connection; its port.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    let response = [head.as_bytes(), &[b'a'; BODY]].concat();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, response) = (stream.unwrap(), response.clone());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    request.extend_from_slice(&buffer[..read]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        stream.write_all(&response).unwrap();
                    }
                }
            });
        }
    });
    port
}
