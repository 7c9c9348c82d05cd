//! Programs that are components: what of preview 2 they have, and whom they may connect to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airlock_host::service::Resolve;
use airlock_host::testing::{Fakes, fakes};
use airlock_host::{
    AbiId, AuditEvent, Cache, CacheSettings, Error, Host, LoadOptions, Mapping, MemoryAudit, OnAuditFailure,
    Origin, Plugin, Program, ProgramInput, ServiceFuture, StdinSource,
};

use super::{Checked, checks_on};
use crate::support::{MODES, Mode, host, limits, load_error, repository, survives, text};

/// A server that answers each line with itself, for so many connections; where it is.
fn echo(connections: usize) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
    };
    (port, std::thread::spawn(answer))
}

/// A server that takes connections and says nothing; where it is.
fn silent() -> (u16, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

pub(super) fn allow(options: LoadOptions, granted: &[&str]) -> LoadOptions {
    granted.iter().fold(options, |options, granted| options.allow(granted.parse().unwrap()))
}

pub(super) fn load_on(host: &Host, options: LoadOptions) -> Plugin {
    // The component alone: beside its manifest it would be fledge's.
    host.load_blocking(std::fs::read(repository("plugins/tcp-echo/tcp-echo.wasm")).unwrap(), options).unwrap()
}

pub(super) fn load(granted: &[&str]) -> Plugin {
    load_on(&host(), allow(LoadOptions::new(), granted))
}

pub(super) fn run_in(mode: Mode, plugin: &Plugin, args: &[&str]) -> Result<Program, Error> {
    mode.run(plugin, ProgramInput::new().args(args.iter().copied())).map(|outcome| outcome.value)
}

fn run(plugin: &Plugin, args: &[&str]) -> (i32, String, String) {
    let program = run_in(Mode::Blocking, plugin, args).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (program.code, text(program.stdout), text(program.stderr))
}

pub(super) fn printed(plugin: &Plugin, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(plugin, args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    stdout
}

pub(super) fn failed(plugin: &Plugin, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(plugin, args);
    assert_eq!((code, stdout.as_str()), (1, ""), "{args:?}");
    stderr
}

#[test]
fn a_component_speaks_to_a_granted_address_in_every_mode_of_calling() {
    let (port, server) = echo(MODES.len());
    let plugin = load(&[&format!("net=tcp://127.0.0.1:{port}")]);
    assert_eq!(plugin.abi(), AbiId::Command);
    assert!(plugin.abi_reason().starts_with("it is a component that exports `wasi:cli/run@0.2."));
    for mode in MODES {
        let program = run_in(mode, &plugin, &[&format!("127.0.0.1:{port}"), "a line"]).unwrap();
        assert_eq!((program.code, program.stdout.as_slice()), (0, &b"a line\n"[..]), "{mode:?}");
    }
    server.join().unwrap();
}

#[test]
fn a_program_that_may_wait_is_not_run_blocking_inside_a_runtime() {
    let plugin = load(&[]);
    let error = Mode::MultiThread.wait(async { plugin.run_blocking(ProgramInput::new()) });
    assert_eq!(error.expect_err("it would block the runtime").code(), "blocking-in-runtime");
}

#[test]
fn an_address_or_a_port_that_is_not_granted_is_refused_and_recorded() {
    let (port, _listener) = silent();
    let target = format!("127.0.0.1:{port}");
    for granted in [
        &[][..],
        &["net=tcp://127.0.0.1:1"],
        &["net=tcp://127.0.0.2:*"],
        // By another scheme, by a name, and as one of all there are.
        &[&format!("net=http://127.0.0.1:{port}")],
        &["net=tcp://localhost:*"],
        &["net=tcp://*:*"],
        &["net=*"],
    ] {
        let error = failed(&load(granted), &[&target]);
        assert_eq!(error, "tcp-echo: connecting: access-denied\n", "{granted:?}");
    }
    let audit = Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    failed(&load_on(&host, LoadOptions::new()), &[&target]);
    let refused =
        AuditEvent::Refused { capability: format!("net=tcp://{target}").parse().unwrap(), count: 1 };
    assert!(audit.events().iter().any(|(_, event)| *event == refused), "{:?}", audit.events());
}

/// What a host has that looks names up where `fakes` say.
pub(super) fn with_names(fakes: &Fakes, names: &[(&str, &[&str])]) -> Host {
    for (name, addresses) in names {
        let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().unwrap());
        fakes.resolver.answer(name, addresses);
    }
    Host::builder().slots(2).services(fakes.services()).build().unwrap()
}

#[test]
fn dns_to_loopback_a_name_is_not_leave_for_an_inner_address() {
    let fakes = fakes();
    let host = with_names(&fakes, &[("inner.test", &["127.0.0.1"]), ("both.test", &["8.8.8.8", "10.0.0.1"])]);
    let (port, server) = echo(1);
    let plugin = load_on(&host, allow(LoadOptions::new(), &["net=tcp://*.test:*"]));
    for name in ["inner.test", "both.test"] {
        let error = failed(&plugin, &["lookup", name]);
        assert_eq!(error, "tcp-echo: looking up: access-denied\n", "{name}");
    }
    // With the address granted too it is what it stands for.
    let address = format!("net=tcp://127.0.0.1:{port}");
    let plugin = load_on(&host, allow(LoadOptions::new(), &["net=tcp://inner.test:*", &address]));
    assert_eq!(printed(&plugin, &["lookup", "inner.test"]), "127.0.0.1\n");
    assert_eq!(printed(&plugin, &[&format!("inner.test:{port}"), "hello"]), "hello\n");
    assert_eq!(fakes.resolver.asked().len(), 4);
    server.join().unwrap();
    // At another port it is not.
    let (other, _listener) = silent();
    let error = failed(&plugin, &[&format!("inner.test:{other}")]);
    assert_eq!(error, "tcp-echo: connecting: access-denied\n");
}

#[test]
fn dns_exfil_a_name_is_looked_up_only_where_it_is_granted() {
    let fakes = fakes();
    let host =
        with_names(&fakes, &[("db.test", &["8.8.8.8", "2001:4860::8888"]), ("other.test", &["8.8.4.4"])]);
    for granted in
        [&[][..], &["net=https://other.test"], &["net=tcp://8.8.4.4:*"], &["net=tcp://db.test:5432"]]
    {
        let plugin = load_on(&host, allow(LoadOptions::new(), granted));
        let error = failed(&plugin, &["lookup", "other.test"]);
        assert_eq!(error, "tcp-echo: looking up: access-denied\n", "{granted:?}");
    }
    assert_eq!(fakes.resolver.asked(), Vec::<String>::new());
    let plugin =
        load_on(&host, allow(LoadOptions::new(), &["net=tcp://db.test:5432", "net=tcp://gone.test:1"]));
    assert_eq!(printed(&plugin, &["lookup", "DB.test"]), "8.8.8.8\n2001:4860::8888\n");
    assert_eq!(failed(&plugin, &["lookup", "gone.test"]), "tcp-echo: looking up: name-unresolvable\n");
    // What was looked up is connected to at the port that was granted, and what was not is not.
    assert_eq!(failed(&plugin, &["db.test:5433"]), "tcp-echo: connecting: access-denied\n");
    assert_eq!(failed(&plugin, &["8.8.8.8:5432"]), "tcp-echo: connecting: access-denied\n");
    // Addresses stand for themselves, and nobody is asked about them.
    assert_eq!(printed(&plugin, &["lookup", "127.1"]), "127.0.0.1\n");
    assert_eq!(printed(&plugin, &["lookup", "::1"]), "::1\n");
    assert_eq!(failed(&plugin, &["lookup", "no name"]), "tcp-echo: looking up: invalid-argument\n");
    assert_eq!(fakes.resolver.asked(), ["db.test", "gone.test", "db.test"]);
}

#[test]
fn nobody_connects_to_a_component() {
    let plugin = load(&["net=*", "net=tcp://127.0.0.1:*", "net=tcp://0.0.0.0:*"]);
    assert_eq!(failed(&plugin, &["listen"]), "tcp-echo: listening: access-denied\n");
    for port in ["0", "4000"] {
        assert_eq!(failed(&plugin, &["bind", port]), "tcp-echo: binding: access-denied\n");
    }
}

#[test]
fn connections_and_sockets_are_counted() {
    let (port, server) = echo(0);
    let (held, listener) = silent();
    server.join().unwrap();
    let granted = [format!("net=tcp://127.0.0.1:{held}"), format!("net=tcp://127.0.0.1:{port}")];
    let options = allow(limits(&[("http_requests", "3")]), &granted.each_ref().map(String::as_str));
    let plugin = load_on(&host(), options);
    assert_eq!(printed(&plugin, &["hold", &format!("127.0.0.1:{held}"), "3"]), "3\n");
    let error = failed(&plugin, &["hold", &format!("127.0.0.1:{held}"), "4"]);
    assert_eq!(error, "tcp-echo: a socket: new-socket-limit\n");
    assert_eq!(printed(&plugin, &["sockets", "3"]), "3\n");
    assert_eq!(failed(&plugin, &["sockets", "4"]), "tcp-echo: a socket: new-socket-limit\n");
    // Nobody is there.
    let error = failed(&plugin, &[&format!("127.0.0.1:{port}")]);
    assert_eq!(error, "tcp-echo: connecting: connection-refused\n");
    drop(listener);
}

#[test]
fn slow_host_call_a_server_that_never_answers_is_cut_off_at_the_deadline() {
    let (port, _listener) = silent();
    let granted = format!("net=tcp://127.0.0.1:{port}");
    let plugin = load_on(&host(), allow(limits(&[("timeout", "300ms")]), &[&granted]));
    for mode in MODES {
        let started = Instant::now();
        let error = run_in(mode, &plugin, &[&format!("127.0.0.1:{port}")]).expect_err("it takes too long");
        assert_eq!((error.code(), error.exit_code()), ("deadline", 124), "{mode:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{mode:?}: {:?}", started.elapsed());
    }
}

/// Name servers that never answer.
#[derive(Debug)]
struct Silence;

impl Resolve for Silence {
    fn resolve<'a>(&'a self, _name: &'a str) -> ServiceFuture<'a, Vec<IpAddr>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn slow_host_call_a_look_up_that_is_never_answered_is_cut_off() {
    let mut services = fakes().services();
    services.resolver = Arc::new(Silence);
    let host = Host::builder().slots(2).services(services).build().unwrap();
    let granted = ["net=tcp://slow.test:1"];
    let plugin = load_on(&host, allow(limits(&[("timeout", "300ms")]), &granted));
    for mode in MODES {
        let error = run_in(mode, &plugin, &["lookup", "slow.test"]).expect_err("nobody answers");
        assert_eq!(error.code(), "deadline", "{mode:?}");
    }
    // Or by the time that requests have, which the component hears of.
    let plugin = load_on(&host, allow(limits(&[("http_time", "100ms")]), &granted));
    let error = failed(&plugin, &["lookup", "slow.test"]);
    assert_eq!(error, "tcp-echo: looking up: temporary-resolver-failure\n");
}

#[test]
fn a_component_that_never_ends_is_ended() {
    let plugin = load_on(&host(), limits(&[("timeout", "200ms")]));
    for mode in MODES {
        let error = run_in(mode, &plugin, &["spin"]).expect_err("it never ends");
        assert_eq!(error.code(), "deadline", "{mode:?}");
    }
    let plugin = load_on(&host(), limits(&[("fuel", "1_000_000")]));
    let error = run_in(Mode::Blocking, &plugin, &["spin"]).expect_err("it has used its fuel");
    assert_eq!(error.to_string(), "limit `fuel` of 1000000 hit while running");
    let outcome = Mode::Blocking.run(&plugin, ProgramInput::new().args(["env"])).unwrap();
    assert!(outcome.usage.fuel.is_some_and(|fuel| fuel > 0));
}

#[test]
fn grow_past_budget_and_hoarding_end_a_component() {
    let plugin = load_on(&host(), limits(&[("memory", "8MiB")]));
    assert_eq!(printed(&plugin, &["grow", "1000000"]), "1000000\n");
    let error = run_in(Mode::Blocking, &plugin, &["grow", "9000000"]).expect_err("too much");
    assert_eq!((error.code(), error.exit_code()), ("limit-memory", 123));
    let error = run_in(Mode::Blocking, &load(&[]), &["hoard"]).expect_err("too many");
    assert_eq!(error.code(), "trap");
    let error = run_in(Mode::Blocking, &load(&[]), &["random", "99000000"]).expect_err("too many");
    assert_eq!(error.code(), "bad-guest");
    assert_eq!(printed(&load(&[]), &["random", "1000000"]), "1000000\n");
}

#[test]
fn output_bomb_and_host_calls_of_a_component_are_limited() {
    let plugin = load_on(&host(), limits(&[("output", "10B")]));
    let error = run_in(Mode::Blocking, &plugin, &["clock"]).expect_err("too much");
    assert_eq!(error.code(), "limit-output");
    let plugin = load_on(&host(), limits(&[("host_calls", "100")]));
    let error = run_in(Mode::Blocking, &plugin, &["hoard"]).expect_err("too many");
    assert_eq!(error.code(), "limit-host-calls");
}

#[test]
fn time_and_random_numbers_are_the_same_in_every_run_unless_granted() {
    let plugin = load(&[]);
    let (clock, random) = (printed(&plugin, &["clock"]), printed(&plugin, &["random"]));
    assert!(clock.starts_with("1577836800 "), "{clock}");
    assert_eq!(
        (printed(&plugin, &["clock"]), printed(&plugin, &["random"])),
        (clock.clone(), random.clone())
    );
    let plugin = load(&["clock", "random"]);
    assert_ne!(printed(&plugin, &["clock"]), clock);
    assert_ne!(printed(&plugin, &["random"]), random);
    assert_ne!(printed(&plugin, &["random"]), printed(&plugin, &["random"]));
}

#[test]
fn sleep_75_passes_at_once_where_time_is_virtual_and_nobody_is_spoken_to() {
    let started = Instant::now();
    assert_eq!(printed(&load(&[]), &["sleep", "75000"]), "true\n");
    assert!(started.elapsed() < Duration::from_secs(30));
    // Where somebody is, and where time is real, it is waited for.
    for granted in ["net=tcp://127.0.0.1:9", "clock"] {
        let started = Instant::now();
        assert_eq!(printed(&load(&[granted]), &["sleep", "150"]), "true\n");
        assert!(started.elapsed() >= Duration::from_millis(150), "{granted}");
    }
    let (port, _listener) = silent();
    let started = Instant::now();
    let plugin = load(&[&format!("net=tcp://127.0.0.1:{port}")]);
    assert_eq!(printed(&plugin, &["timer", &format!("127.0.0.1:{port}"), "200"]), "none\n");
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn sleep_75_of_a_component_is_cut_at_the_deadline() {
    let host = host();
    for words in [&["75000"][..], &["75000", "list"]] {
        let call = |plugin: &Plugin| {
            plugin.call_blocking::<_, Checked>("check", &("sleeping", words)).map(|outcome| outcome.value)
        };
        let granted = ["clock".to_owned()];
        let plugin = checks_on(&host, limits(&[("timeout", "300ms")]), &granted);
        let started = Instant::now();
        assert_eq!(call(&plugin).expect_err("it sleeps").code(), "deadline", "{words:?}");
        assert!(
            started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(30)
        );
        for mode in MODES {
            let input = ProgramInput::new().args(["sleeping"]).args(words.iter().copied());
            assert_eq!(mode.run(&plugin, input).expect_err("it sleeps").code(), "deadline", "{mode:?}");
        }
        // On a virtual clock the same time has passed at once.
        let (told, failed) = call(&checks_on(&host, limits(&[("timeout", "20s")]), &[])).expect("it is over");
        assert_eq!(failed, 0, "{told:?}");
    }
    survives(&host);
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn components_that_sleep_take_no_thread() {
    let host = host();
    let granted = ["clock".to_owned()];
    let plugin = checks_on(&host, limits(&[("timeout", "2s")]), &granted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let sleep = |long: &'static str| {
            let plugin = plugin.clone();
            async move { plugin.call::<_, Checked>("check", &("sleeping", [long])).await }
        };
        // What is started once is there then.
        sleep("1").await.expect("it is over");
        let before = threads();
        let sleepers: Vec<_> = (0..8).map(|_| tokio::spawn(sleep("75000"))).collect();
        let mut most = 0;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            most = most.max(threads());
        }
        assert_eq!(most, before);
        for sleeper in sleepers {
            assert_eq!(sleeper.await.unwrap().expect_err("it sleeps").code(), "deadline");
        }
    });
}

#[test]
fn variables_and_folders_are_had_as_granted() {
    assert_eq!(printed(&load(&[]), &["env"]), "");
    assert!(printed(&load(&["env=PATH"]), &["env"]).starts_with("PATH="));
    assert_eq!(printed(&load(&[]), &["files"]), "0\n");
    // It has nothing that could open one, and so asks for none.
    assert_eq!(printed(&load(&["fs.read=."]), &["files"]), "0\n");
}

#[test]
fn proc_exit_codes_and_traps_of_a_component() {
    let plugin = load(&[]);
    for (args, code) in [(&["exit", "0"][..], 0), (&["exit", "1"], 1), (&["exit", "42"], 42)] {
        assert_eq!(run(&plugin, args), (code, String::new(), String::new()));
    }
    let error = run_in(Mode::Blocking, &plugin, &["trap"]).expect_err("it traps");
    assert_eq!((error.code(), error.exit_code()), ("trap", 122));
    // A main function that gives an error, without a library around it.
    let failing = r#"(component
        (core module $main (func (export "run") (result i32) i32.const 1))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run)))"#;
    let plugin = crate::support::load(&host(), failing, text());
    assert_eq!(run(&plugin, &[]), (1, String::new(), String::new()));
}

#[test]
fn a_component_that_cannot_be_run_says_why() {
    let with = |import: &str, run: &str| {
        format!(
            r#"(component {import}
                (core module $main (func (export "run") (result i32) i32.const 0))
                (core instance $main (instantiate $main))
                (func $run (result {run}) (canon lift (core func $main "run")))
                (instance $run (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $run)))"#
        )
    };
    assert_eq!(load_error("(component)", text()).code(), "component-unsupported");
    let error = load_error(&with("", "u32"), text());
    assert_eq!(error.code(), "abi-mismatch", "{error}");
    let nn = r#"(import "wasi:nn/graph@0.2.0" (instance (export "f" (func))))"#;
    let error = load_error(&with(nn, "(result)"), text());
    assert_eq!(
        error.to_string(),
        "nobody provides the import `wasi:nn/graph@0.2.0.f`: it belongs to a component interface that Airlock \
         does not have"
    );
    let clock =
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result string)))))"#;
    let error = load_error(&with(clock, "(result)"), text());
    assert_eq!(error.code(), "incompatible-import", "{error}");
    for abi in [AbiId::Raw, AbiId::Json, AbiId::Sen] {
        let error = load_error(&with("", "(result)"), text().abi(abi));
        assert_eq!(error.code(), "abi-mismatch", "{error}");
    }
}

#[test]
fn a_component_has_standard_input_and_is_not_called() {
    let plugin = load(&[]);
    let error = plugin.invoke_blocking("run", airlock_host::Input::Words(Vec::new())).expect_err("a program");
    assert_eq!(error.code(), "wrong-verb");
    assert!(plugin.session_blocking().is_err());
    // It is given, whether it is read or not.
    let input = ProgramInput::new().args(["exit", "3"]).stdin(StdinSource::bytes("unread"));
    assert_eq!(Mode::Blocking.run(&plugin, input).unwrap().value.code, 3);
}

#[test]
fn cached_code_of_a_component_is_used_by_the_next_host() {
    let folder = tempfile::tempdir().unwrap();
    for origin in [Origin::Compiler, Origin::Cache, Origin::Cache] {
        for mapping in [Mapping::Shared, Mapping::Copy] {
            let place = folder.path().join(format!("{mapping:?}"));
            let (folder, key_file) = (place.join("code"), place.join("data/cache.key"));
            let settings = CacheSettings { folder, key_file, maximum_bytes: 1 << 30, mapping };
            let host = Host::builder().slots(2).cache(Cache::open(settings).unwrap()).build().unwrap();
            let plugin = load_on(&host, LoadOptions::new());
            assert_eq!(plugin.code_origin(), origin);
            assert_eq!(printed(&plugin, &["sleep", "1"]), "true\n");
            let again = load_on(&host, LoadOptions::new());
            assert_eq!(again.code_origin(), Origin::Memory);
        }
    }
}

#[test]
fn many_components_run_at_once() {
    let (port, server) = echo(16);
    let plugin = load(&[&format!("net=tcp://127.0.0.1:{port}")]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let plugin = &plugin;
            scope.spawn(move || {
                for turn in 0..4 {
                    let line = format!("{thread} {turn}");
                    assert_eq!(printed(plugin, &[&format!("127.0.0.1:{port}"), &line]), format!("{line}\n"));
                }
            });
        }
    });
    server.join().unwrap();
}

#[test]
fn fledges_manifest_says_whom_a_component_may_connect_to() {
    let (port, server) = echo(1);
    let (other, _listener) = silent();
    let source = repository("plugins/tcp-echo");
    let granted = format!("net=tcp://127.0.0.1:{port}");
    let plugin = host().load_blocking(source.clone(), allow(LoadOptions::new(), &[&granted])).unwrap();
    assert_eq!((plugin.abi(), plugin.name()), (AbiId::Fledge, "tcp-echo"));
    assert_eq!(printed(&plugin, &[&format!("127.0.0.1:{port}"), "by its manifest"]), "by its manifest\n");
    server.join().unwrap();
    // All that it asks for is what its manifest says, and not what its imports could be used for.
    let (port, server) = echo(1);
    let plugin = host().load_blocking(source.clone(), LoadOptions::new().allow_all_requested()).unwrap();
    assert_eq!(printed(&plugin, &[&format!("127.0.0.1:{port}")]), "hello\n");
    server.join().unwrap();
    assert_eq!(failed(&plugin, &["8.8.8.8:53"]), "tcp-echo: connecting: access-denied\n");
    let plugin = host().load_blocking(source, LoadOptions::new()).unwrap();
    assert_eq!(failed(&plugin, &[&format!("127.0.0.1:{other}")]), "tcp-echo: connecting: access-denied\n");
    let error = plugin.run_blocking(ProgramInput::new().stdout_protocol(true)).expect_err("no messages");
    assert_eq!(error.code(), "abi-mismatch");
}
