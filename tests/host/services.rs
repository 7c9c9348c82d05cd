//! Services as a guest reaches them: by the imports that CortexPrism's host has.

use std::sync::Arc;

use airlock_host::service::{HttpClient, OperatorConfig, Resolve, Services};
use airlock_host::testing::{FakeHttp, FakeLog, fakes};
use airlock_host::{
    Approval, AuditEvent, Capability, Grant, GrantStore, Host, Http, HttpRequest, HttpResponse, Identity,
    Input, Kv, KvChange, LoadOptions, LogLevel, MemoryAudit, MemoryGrants, MemoryKv, OnAuditFailure, Permit,
    Plugin, ServiceError, ServiceFuture,
};

use crate::support::{MODES, Mode, limits, source, text};

/// Its functions use one import of CortexPrism's host each.
const GUEST: &str = include_str!("../guests/services.wat");

fn host(services: Services) -> Host {
    Host::builder().slots(8).services(services).build().unwrap()
}

fn allow(grants: &[&str]) -> LoadOptions {
    grants.iter().fold(text().name("tool"), |options, grant| options.allow(grant.parse().unwrap()))
}

fn load(services: Services, grants: &[&str]) -> Plugin {
    host(services).load_blocking(source(GUEST), allow(grants)).unwrap()
}

/// The answer of `function` in every call mode.
fn answers(plugin: &Plugin, function: &str) -> Vec<String> {
    MODES.map(|mode| mode.invoke(plugin, function, &["7"]).expect("it answers").value.to_json_text()).to_vec()
}

fn with(change: impl FnOnce(&mut Services)) -> Services {
    let mut services = Services::default();
    change(&mut services);
    services
}

#[test]
fn a_plugin_logs_where_it_may_to_the_host_and_with_its_call() {
    let lines = Arc::new(FakeLog::default());
    let services = with(|services| services.log = lines.clone());
    let plugin = load(services.clone(), &["log"]);
    let outcome = Mode::MultiThread.invoke(&plugin, "log", &["7"]).unwrap();
    assert_eq!(outcome.log, b"info: hello \x1b[2J\n");
    assert_eq!(outcome.usage.log_bytes, outcome.log.len() as u64);
    let logged = lines.messages();
    let [one] = logged.as_slice() else { panic!("{logged:?}") };
    assert_eq!((one.plugin.as_str(), one.level), ("tool", LogLevel::Info));
    assert_eq!(one.message, "hello \u{1b}[2J");
    let denied = Mode::Blocking.invoke(&load(services, &[]), "log", &["7"]).unwrap();
    assert_eq!((denied.log.len(), lines.messages().len()), (0, 1));
}

#[test]
fn output_bomb_through_the_log_ends_at_its_limit() {
    let host = host(with(|services| services.log = Arc::new(FakeLog::default())));
    let options = limits(&[("log", "1KiB")]).allow("log".parse().unwrap());
    let plugin = host.load_blocking(source(GUEST), options).unwrap();
    for mode in MODES {
        let error = mode.invoke(&plugin, "log_again", &["7"]).unwrap_err();
        assert_eq!(error.to_string(), "limit `log` of 1.0 KiB hit while running");
    }
}

#[test]
fn configuration_is_the_operators_and_needs_a_grant() {
    let config = OperatorConfig::new().plugin("tool", [("key".to_owned(), "value".to_owned())]);
    let services = with(|services| services.config = Arc::new(config));
    let plugin = load(services.clone(), &["config"]);
    assert_eq!(answers(&plugin, "config"), [r#""0value""#; 4]);
    assert_eq!(answers(&plugin, "config_cut"), [r#""0va""#; 4], "cut to the room there is");
    assert_eq!(answers(&load(services, &[]), "config"), [r#""1""#; 4]);
    let other = OperatorConfig::new().plugin("other", [("key".to_owned(), "value".to_owned())]);
    let services = with(|services| services.config = Arc::new(other));
    assert_eq!(answers(&load(services, &["config"]), "config"), [r#""1""#; 4]);
}

#[test]
fn configuration_falls_back_to_what_the_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = r#"{"name":"tool","version":"1.0.0","entryPoint":"tool.wasm",
        "config":{"settings":{"key":{"default":42},"other":"x"}}}"#;
    std::fs::write(folder.path().join("cortex.json"), manifest).unwrap();
    std::fs::write(folder.path().join("tool.wasm"), wat::parse_str(GUEST).unwrap()).unwrap();
    let load = |services: Services| host(services).load_blocking(folder.path(), allow(&["config"])).unwrap();
    assert_eq!(answers(&load(Services::default()), "config"), [r#""042""#; 4]);
    let config = OperatorConfig::new().plugin("tool", [("key".to_owned(), "43".to_owned())]);
    let services = with(|services| services.config = Arc::new(config));
    assert_eq!(answers(&load(services), "config"), [r#""043""#; 4]);
}

#[test]
fn state_is_kept_between_fresh_instances_within_its_quota() {
    let kv = Arc::new(MemoryKv::new());
    let services = with(|services| services.kv = kv.clone());
    let plugin = load(services.clone(), &["kv=10B"]);
    assert_eq!(answers(&plugin, "get"), [r#""1""#; 4]);
    assert_eq!(answers(&plugin, "set"), [r#""0""#; 4]);
    assert_eq!(answers(&plugin, "get"), [r#""07""#; 4]);
    let large = Mode::Blocking.invoke(&plugin, "set", &["12345678"]).unwrap();
    assert_eq!(large.value.to_json_text(), r#""0""#, "it is not told");
    assert_eq!(answers(&plugin, "get"), [r#""07""#; 4], "and nothing has changed");
    assert_eq!(answers(&load(services.clone(), &[]), "get"), [r#""1""#; 4]);
    let other = host(services).load_blocking(source(GUEST), allow(&["kv"]).name("other")).unwrap();
    assert_eq!(answers(&other, "get"), [r#""1""#; 4], "what others keep is not there");
}

/// Answers the guest's request, and keeps what it was sent.
fn answering() -> Arc<FakeHttp> {
    let http = Arc::new(FakeHttp::default());
    http.answer("https://api.example/x", 201, "created");
    http
}

/// Never answers.
#[derive(Debug)]
struct Silent(Arc<()>);

impl Http for Silent {
    fn send<'a>(&'a self, _permit: &'a Permit, _request: HttpRequest) -> ServiceFuture<'a, HttpResponse> {
        let held = self.0.clone();
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
            Err(ServiceError::TimedOut)
        })
    }
}

#[test]
fn a_request_needs_its_host_granted_and_comes_back_with_its_status() {
    let http = answering();
    let services = with(|services| services.http = http.clone());
    let plugin = load(services.clone(), &["net=https://api.example"]);
    assert_eq!(answers(&plugin, "http"), [r#""0created""#; 4]);
    assert_eq!(answers(&plugin, "status"), ["201"; 4]);
    let sent = http.requests().pop().unwrap();
    assert_eq!((sent.method().as_str(), sent.url().as_str()), ("GET", "https://api.example/x"));
    assert_eq!((sent.headers()["x-a"].as_bytes(), sent.content().as_ref()), (&b"b"[..], &b"key"[..]));
    let before = http.requests().len();
    for grants in [&[][..], &["net=http://api.example"], &["net=https://api.example:8443"]] {
        let plugin = load(services.clone(), grants);
        assert_eq!(answers(&plugin, "http"), [r#""1host: network:fetch permission denied""#; 4]);
        assert_eq!(answers(&plugin, "status"), ["403"; 4]);
    }
    assert_eq!(http.requests().len(), before, "none of them was sent");
}

/// A server on loopback that answers each connection with this and tells how many came.
fn server(answer: &'static str) -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = came.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            // One read holds a request as small as these.
            let _ = std::io::Read::read(&mut stream, &mut head);
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    (port, came)
}

/// A name server that knows one address for every name.
#[derive(Debug)]
struct Here;

impl Resolve for Here {
    fn resolve<'a>(&'a self, _name: &'a str) -> ServiceFuture<'a, Vec<std::net::IpAddr>> {
        Box::pin(std::future::ready(Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()])))
    }
}

#[test]
fn dns_to_loopback_a_guest_reaches_this_machine_only_where_its_address_was_granted() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";
    let (port, came) = server(answer);
    let guest = |host: &str| {
        let url = format!("http://{host}:{port}/");
        GUEST
            .replace("https://api.example/x", &url)
            .replace("(i32.const 21)", &format!("(i32.const {})", url.len()))
    };
    let client = HttpClient::builder().resolver(Arc::new(Here)).build();
    let services = with(|services| services.http = Arc::new(client));
    let load = |host: &str, grants: &[&str]| {
        self::host(services.clone()).load_blocking(source(&guest(host)), allow(grants)).unwrap()
    };
    let refused = r#""1host: network:fetch permission denied""#;
    for (host, grant) in
        [("127.0.0.1", "net=*"), ("api.test", "net=*"), ("api.test", "net=http://api.test:*")]
    {
        assert_eq!(answers(&load(host, &[grant]), "http"), [refused; 4], "{host} {grant}");
    }
    assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody was connected to");
    assert_eq!(answers(&load("127.0.0.1", &["net=127.0.0.1"]), "http"), [r#""0fine""#; 4]);
    assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[test]
fn redirect_out_a_guest_is_not_led_where_it_may_not_go() {
    let (inside, came) = server("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inside}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (port, _) = server(answer.leak());
    let url = format!("http://127.0.0.1:{port}/");
    let guest = GUEST
        .replace("https://api.example/x", &url)
        .replace("(i32.const 21)", &format!("(i32.const {})", url.len()));
    let grant = format!("net=http://127.0.0.1:{port}");
    let plugin = host(Services::default()).load_blocking(source(&guest), allow(&[&grant])).unwrap();
    assert_eq!(answers(&plugin, "http"), [r#""1host: network:fetch permission denied""#; 4]);
    assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn denied_spin_of_requests_is_one_record_and_reaches_nobody() {
    let (http, audit) = (answering(), Arc::new(MemoryAudit::new()));
    let services = with(|services| services.http = http.clone());
    let host =
        Host::builder().services(services).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let plugin = host.load_blocking(source(GUEST), allow(&[])).unwrap();
    let outcome = Mode::Blocking.invoke(&plugin, "http_many", &["7"]).unwrap();
    assert_eq!(outcome.value.to_json_text(), "403");
    let refused: Vec<u64> = audit
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            AuditEvent::Refused { count, .. } => Some(count),
            _ => None,
        })
        .collect();
    assert_eq!((refused, http.requests().len()), (vec![1000], 0));
}

#[test]
fn requests_of_one_call_are_counted() {
    let http = answering();
    let host = host(with(|services| services.http = http.clone()));
    let options = limits(&[("http_requests", "5")]).allow("net=https://api.example".parse().unwrap());
    let plugin = host.load_blocking(source(GUEST), options).unwrap();
    let answer = Mode::Blocking.invoke(&plugin, "http_many", &["7"]).unwrap().value.to_json_text();
    assert_eq!((answer.as_str(), http.requests().len()), ("502", 5), "and the next call has five more");
    Mode::Blocking.invoke(&plugin, "http_many", &["7"]).unwrap();
    assert_eq!(http.requests().len(), 10);
}

#[test]
fn slow_host_call_is_cut_at_the_deadline_and_lets_go_of_what_it_held() {
    let held = Arc::new(());
    let services = with(|services| services.http = Arc::new(Silent(held.clone())));
    let options = limits(&[("timeout", "100ms")]).allow("net=https://api.example".parse().unwrap());
    let plugin = host(services).load_blocking(source(GUEST), options).unwrap();
    for mode in MODES {
        let error = mode.invoke(&plugin, "http", &["7"]).unwrap_err();
        assert_eq!(error.to_string(), "stopped while running: the deadline of 100ms passed", "{mode:?}");
        assert_eq!(Arc::strong_count(&held), 2, "the test's and the service's");
    }
}

/// Keeps what it is given a moment after it was asked, unless the call is over.
#[derive(Debug)]
struct Slow {
    kept: Arc<MemoryKv>,
}

impl Kv for Slow {
    fn get<'a>(&'a self, permit: &'a Permit, key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>> {
        self.kept.get(permit, key)
    }

    fn keys<'a>(
        &'a self,
        permit: &'a Permit,
        prefix: &'a str,
        after: Option<&'a str>,
        count: usize,
    ) -> ServiceFuture<'a, Vec<String>> {
        self.kept.keys(permit, prefix, after, count)
    }

    fn apply<'a>(&'a self, permit: &'a Permit, changes: &'a [KvChange<'a>]) -> ServiceFuture<'a, Vec<bool>> {
        Box::pin(async move {
            // On a thread of its own, as a service with a pool would do it.
            let (kept, own) = (self.kept.clone(), permit.clone());
            let changes: Vec<(String, Vec<u8>)> = changes
                .iter()
                .filter_map(|change| match change {
                    KvChange::Set(key, value) => Some(((*key).to_owned(), value.to_vec())),
                    KvChange::Delete(_) => None,
                })
                .collect();
            std::thread::spawn(move || {
                while own.check().is_ok() {
                    std::thread::yield_now();
                }
                let changes: Vec<KvChange<'_>> =
                    changes.iter().map(|(key, value)| KvChange::Set(key, value)).collect();
                drop(futures_executor::block_on(kept.apply(&own, &changes)));
            });
            std::future::pending().await
        })
    }

    fn usage<'a>(&'a self, permit: &'a Permit) -> ServiceFuture<'a, u64> {
        self.kept.usage(permit)
    }
}

#[test]
fn cancel_mid_write_commits_nothing_more() {
    let kept = Arc::new(MemoryKv::new());
    let services = with(|services| services.kv = Arc::new(Slow { kept: kept.clone() }));
    let host = host(services);
    let options = || limits(&[("timeout", "100ms")]).name("tool").allow("kv".parse().unwrap());
    let plugin = host.load_blocking(source(GUEST), options()).unwrap();
    for mode in MODES {
        let error = mode.invoke(&plugin, "set", &["7"]).unwrap_err();
        assert_eq!(error.code(), "deadline", "{mode:?}");
        assert_eq!(answers(&plugin, "get"), [r#""1""#; 4]);
    }
}

#[test]
fn pointers_outside_of_its_memory_end_the_call() {
    let plugin = load(Services::default(), &["log", "config"]);
    for mode in MODES {
        let error = mode.invoke(&plugin, "outside", &["7"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`host_log` broke its ABI's rules: what it hands over at 262140, 16 bytes long, is outside its memory of 262144 bytes"
        );
    }
    let config = OperatorConfig::new().plugin("tool", [("key".to_owned(), "value".to_owned())]);
    let plugin = load(with(|services| services.config = Arc::new(config)), &["config"]);
    let error = Mode::Blocking.invoke(&plugin, "answer_outside", &["7"]).unwrap_err();
    assert_eq!(error.code(), "bad-guest");
}

#[test]
fn time_and_random_stand_in_until_they_are_granted() {
    let plugin = load(Services::default(), &[]);
    assert_eq!(answers(&plugin, "version"), ["1"; 4]);
    assert_eq!(answers(&plugin, "time"), ["1"; 4], "49 whole years and not 56");
    let random = answers(&plugin, "random");
    assert!(random.iter().all(|number| *number == random[0]), "{random:?}");
    let plugin = load(Services::default(), &["clock", "random"]);
    assert_ne!(answers(&plugin, "time"), ["1"; 4]);
    let random = answers(&plugin, "random");
    assert!(random.iter().any(|number| *number != random[0]), "{random:?}");
}

#[test]
fn uses_and_refusals_of_services_are_recorded_once_each() {
    let audit = Arc::new(MemoryAudit::new());
    let services = with(|services| services.http = answering());
    let host =
        Host::builder().services(services).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let plugin = host.load_blocking(source(GUEST), allow(&["log"])).unwrap();
    for function in ["log", "http", "get"] {
        Mode::Blocking.invoke(&plugin, function, &["7"]).unwrap();
    }
    let told: Vec<String> = audit
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            AuditEvent::Used { capability, count } => Some(format!("used {capability} {count}")),
            AuditEvent::Refused { capability, count } => Some(format!("refused {capability} {count}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["used log 1", "refused net=https://api.example 1", "refused kv=1MiB 1"]);
}

#[test]
fn a_grant_that_is_taken_back_is_gone_at_the_next_call_of_a_session() {
    let grants = Arc::new(MemoryGrants::new());
    let lines = Arc::new(FakeLog::default());
    let services = with(|services| services.log = lines.clone());
    let host = Host::builder().services(services).approval(Approval::new(grants.clone())).build().unwrap();
    let plugin = host.load_blocking(source(GUEST), allow(&[])).unwrap();
    let who = Identity { name: plugin.name().to_owned(), digest: plugin.digest() };
    let log: Capability = "log".parse().unwrap();
    grants.decide(&who, &[Grant::always(log.clone())], "me").unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let mut call = || {
        session.invoke_blocking("log", Input::Words(vec!["7".to_owned()])).unwrap();
        lines.messages().len()
    };
    assert_eq!((call(), call()), (1, 2));
    grants.revoke(&who.name, Some(&log));
    assert_eq!(call(), 2);
}

#[test]
fn what_a_session_may_do_with_services_it_may_do_in_each_call() {
    let services = with(|services| services.http = answering());
    let host = Host::builder().services(services).build().unwrap();
    let options = allow(&["net=https://api.example"]).limit(airlock_host::LimitKind::HttpRequests, 1);
    let plugin = host.load_blocking(source(GUEST), options).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..3 {
        let answer = session.invoke_blocking("http", Input::Words(vec!["7".to_owned()])).unwrap();
        assert_eq!(answer.value.to_json_text(), r#""0created""#, "also where nobody records calls");
    }
}

#[test]
fn fakes_stand_in_for_every_service() {
    let fakes = fakes();
    fakes.http.answer("https://api.example/x", 200, "fine");
    let granted = ["log", "kv", "net=https://api.example"];
    let plugin = load(fakes.services(), &granted);
    for (function, answer) in
        [("http", r#""0fine""#), ("set", r#""0""#), ("get", r#""07""#), ("log", r#""0""#)]
    {
        let given = Mode::Blocking.invoke(&plugin, function, &["7"]).unwrap().value.to_json_text();
        assert_eq!(given, answer, "{function}");
    }
    assert_eq!((fakes.http.requests().len(), fakes.log.messages().len()), (1, 1));
}
