//! The imports that MoFA's documents promise, each of which its own host links as a stub or not at all.

use std::sync::Arc;
use std::time::Duration;

use airlock_host::service::{EventBus, PluginTool, Services, ToolFn, ToolRegistry};
use airlock_host::testing::{FakeData, TestPlugin};
use airlock_host::{
    AbiId, ErrorKind, Host, LimitKind, LoadOptions, MemoryKv, NamePattern, Outcome, Plugin, Session, ToolInfo,
};

use crate::support::{load, text};

/// A guest with the imports that are named, 64 KiB of memory, `data` at 16, and what is written in `body`.
fn guest(imports: &[&str], data: &str, body: &str) -> String {
    let all = [
        ("log", r#"(import "env" "host_log" (func $log (param i32 i32 i32) (result i32)))"#),
        ("log_table", r#"(import "env" "host_log" (func $log (param i32 i32 i32)))"#),
        ("now", r#"(import "env" "host_now_ms" (func $now (result i64)))"#),
        ("alloc", r#"(import "env" "host_alloc" (func $alloc (param i32) (result i32)))"#),
        ("free", r#"(import "env" "host_free" (func $free (param i32)))"#),
        ("abort", r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#),
        ("get_config", r#"(import "env" "host_get_config" (func $get (param i32 i32 i32) (result i32)))"#),
        (
            "set_config",
            r#"(import "env" "host_set_config" (func $set (param i32 i32 i32 i32) (result i32)))"#,
        ),
        ("send", r#"(import "env" "host_send_message" (func $send (param i32 i32 i32 i32) (result i32)))"#),
        ("tool", r#"(import "env" "host_call_tool" (func $tool (param i32 i32 i32 i32 i32) (result i32)))"#),
        ("load", r#"(import "env" "host_storage_get" (func $load (param i32 i32 i32 i32) (result i32)))"#),
        ("store", r#"(import "env" "host_storage_set" (func $store (param i32 i32 i32 i32) (result i32)))"#),
        ("delete", r#"(import "env" "host_storage_delete" (func $delete (param i32 i32) (result i32)))"#),
        ("random", r#"(import "env" "host_random_bytes" (func $random (param i32 i32) (result i32)))"#),
        ("sleep", r#"(import "env" "host_sleep_ms" (func $sleep (param i64)))"#),
        ("http", r#"(import "env" "host_http_request" (func $http (param i32 i32 i32) (result i32)))"#),
    ];
    let imports: String =
        imports.iter().map(|name| all.iter().find(|(known, _)| known == name).unwrap().1).collect();
    format!(r#"(module {imports} (memory (export "memory") 1) (data (i32.const 16) "{data}") {body})"#)
}

fn plain(imports: &[&str], data: &str, body: &str) -> Plugin {
    load(&Host::new().unwrap(), &guest(imports, data, body), text())
}

fn run(plugin: &Plugin) -> i32 {
    plugin.call_blocking::<_, i32>("run", &()).unwrap().value
}

fn call(session: &mut Session, function: &str) -> i32 {
    session.call_func_blocking(function, ()).unwrap()
}

/// What a session's guest was given at 512: where, and what it says.
fn given(session: &mut Session) -> (u32, String) {
    let memory = session.memory().unwrap();
    let (at, length) = (memory.value(512).unwrap(), memory.value(516).unwrap());
    (at, memory.text(at, length).unwrap().to_owned())
}

fn granted(capabilities: &[&str]) -> LoadOptions {
    capabilities.iter().fold(text(), |options, text| options.allow(text.parse().unwrap()))
}

#[test]
fn every_import_of_the_table_makes_a_module_one_of_mofas() {
    let signatures = [
        ("log", "env.host_log"),
        ("log_table", "env.host_log"),
        ("now", "env.host_now_ms"),
        ("get_config", "env.host_get_config"),
        ("set_config", "env.host_set_config"),
        ("send", "env.host_send_message"),
        ("tool", "env.host_call_tool"),
        ("load", "env.host_storage_get"),
        ("store", "env.host_storage_set"),
        ("delete", "env.host_storage_delete"),
        ("random", "env.host_random_bytes"),
        ("sleep", "env.host_sleep_ms"),
        ("http", "env.host_http_request"),
    ];
    for (import, name) in signatures {
        // Also where its exports could be those of a JSON plugin.
        let body = r#"(func (export "process") (param i32 i32) (result i32) (i32.const 0))
            (func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
        let plugin = plain(&[import], "", body);
        assert_eq!(
            (plugin.abi(), plugin.abi_reason()),
            (AbiId::Mofa, &*format!("it imports MoFA's `{name}`"))
        );
    }
}

#[test]
fn what_it_asks_for_is_what_it_imports_and_its_baseline_is_told() {
    let plugin = plain(&["load", "tool", "random", "send", "http", "sleep", "get_config", "log"], "", "");
    let asked: Vec<&str> =
        plugin.requests().iter().map(|request| request.capability.kind().row().name).collect();
    assert_eq!(asked, ["log", "config", "kv", "clock", "random", "events.publish", "tools.call", "net"]);
    let baseline: Vec<&str> = plugin.baseline().iter().map(|kind| kind.row().name).collect();
    assert_eq!(baseline, ["log", "clock", "config", "events.publish"]);
}

#[test]
fn host_log_reads_the_text_by_either_signature() {
    let both = [
        (
            "log",
            r#"(func (export "run") (result i32) (call $log (i32.const 3) (i32.const 16) (i32.const 5)))"#,
        ),
        (
            "log_table",
            r#"(func (export "run") (result i32) (call $log (i32.const 3) (i32.const 16) (i32.const 5)) (i32.const 0))"#,
        ),
    ];
    for (import, body) in both {
        let plugin = plain(&[import], "h\\c3\\a4lt", body);
        let Outcome { value, log, .. } = plugin.call_blocking::<_, i32>("run", &()).unwrap();
        assert_eq!((value, String::from_utf8(log).unwrap().as_str()), (0, "warn: h\u{e4}lt\n"), "{import}");
    }
    for (level, name) in [(0, "trace"), (1, "debug"), (2, "info"), (3, "warn"), (4, "error"), (99, "error")] {
        let body = format!(
            r#"(func (export "run") (result i32) (call $log (i32.const {level}) (i32.const 16) (i32.const 1)))"#
        );
        let outcome = plain(&["log"], "x", &body).call_blocking::<_, i32>("run", &()).unwrap();
        assert_eq!(String::from_utf8(outcome.log).unwrap(), format!("{name}: x\n"));
    }
}

#[test]
fn host_log_that_is_denied_or_no_text_is_a_status_and_out_of_memory_ends_the_call() {
    let body = r#"(func (export "run") (result i32) (call $log (i32.const 2) (i32.const 16) (i32.const 2)))"#;
    assert_eq!(run(&plain(&["log"], "\\ff\\fe", body)), -3);
    let wat = guest(&["log"], "ok", body);
    let denied = load(&Host::new().unwrap(), &wat, text().deny("log".parse().unwrap()));
    assert_eq!(run(&denied), -2);
    let wild =
        r#"(func (export "run") (result i32) (call $log (i32.const 2) (i32.const -1) (i32.const -1)))"#;
    let error = plain(&["log"], "", wild).call_blocking::<_, i32>("run", &()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::BadGuest { function, .. } if function == "host_log"),
        "{error}"
    );
}

#[test]
fn host_now_ms_is_the_time_and_host_sleep_ms_takes_it() {
    let body = r#"(func (export "run") (result i64) (local $before i64)
        (local.set $before (call $now)) (call $sleep (i64.const 30)) (i64.sub (call $now) (local.get $before)))
        (func (export "at") (result i64) (call $now))"#;
    let plugin = plain(&["now", "sleep"], "", body);
    let now = plugin.call_blocking::<_, i64>("at", &()).unwrap().value;
    let really = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((really - Duration::from_millis(now.cast_unsigned())) < Duration::from_secs(60));
    let outcome = plugin.call_blocking::<_, i64>("run", &()).unwrap();
    assert!(outcome.value >= 30 && outcome.usage.wall >= Duration::from_millis(30), "{outcome:?}");

    // Without a clock it passes at once, on one that is the same in every run.
    let virtual_one =
        load(&Host::new().unwrap(), &guest(&["now", "sleep"], "", body), text().deterministic(true));
    let outcome = virtual_one.call_blocking::<_, i64>("run", &()).unwrap();
    assert_eq!(outcome.value, 31);
    assert_eq!(virtual_one.call_blocking::<_, i64>("at", &()).unwrap().value, 1_577_836_800_001);
}

#[test]
fn host_sleep_ms_ends_at_the_deadline() {
    let body =
        r#"(func (export "run") (result i32) (call $sleep (i64.const 9223372036854775807)) (i32.const 0))"#;
    let options = text().limit(LimitKind::Timeout, 50_000_000);
    let plugin = load(&Host::new().unwrap(), &guest(&["sleep"], "", body), options);
    let error = plugin.call_blocking::<_, i32>("run", &()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Deadline { .. }), "{error}");
    let negative = r#"(func (export "run") (result i32) (call $sleep (i64.const -1)) (i32.const 7))"#;
    assert_eq!(run(&plain(&["sleep"], "", negative)), 7);
}

#[test]
fn host_alloc_gives_memory_that_host_free_takes_back() {
    let body = r#"
        (func (export "take") (param i32) (result i32) (call $alloc (local.get 0)))
        (func (export "free") (param i32) (call $free (local.get 0)))"#;
    let mut session = plain(&["alloc", "free", "now"], "", body).session_blocking().unwrap();
    let mut take = |size: i32| session.call_func_blocking::<i32, i32>("take", size).unwrap();
    let (first, second) = (take(100), take(100));
    assert_eq!((first, second), (1 << 16, (1 << 16) + 104));
    assert_eq!((take(0), take(-1), take(i32::MAX)), (0, 0, 0));
    session.call_func_blocking::<i32, ()>("free", first).unwrap();
    session.call_func_blocking::<i32, ()>("free", first).unwrap();
    session.call_func_blocking::<i32, ()>("free", 12).unwrap();
    assert_eq!(session.call_func_blocking::<i32, i32>("take", 100).unwrap(), first);
    assert_eq!(session.call_func_blocking::<i32, i32>("take", 100).unwrap(), second + 104);
}

#[test]
fn abort_really_aborts() {
    let body = r#"(func (export "run") (result i32)
        (call $abort (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 14)) (i32.const 1))"#;
    let error = plain(&["abort", "now"], "", body).call_blocking::<_, i32>("run", &()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Trap { reason, .. } if reason.starts_with("abort")), "{error}");
}

const CONFIG: &str = r#"
    (func (export "get") (result i32) (call $get (i32.const 16) (i32.const 5) (i32.const 512)))
    (func (export "set") (result i32) (call $set (i32.const 16) (i32.const 5) (i32.const 24) (i32.const 3)))"#;

#[test]
fn host_get_config_gives_what_the_operator_set_and_host_set_config_changes_it_for_this_instance() {
    let data: FakeData = toml::from_str(r#"config = { units = "metric" }"#).unwrap();
    let wat = guest(&["get_config", "set_config"], "units...new", CONFIG);
    let test = TestPlugin::builder().options(text()).fake(data).load(wat.as_bytes()).unwrap();
    let plugin = test.managed().plugin();
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(call(&mut session, "get"), 0);
    assert_eq!(given(&mut session), (1 << 16, "metric".to_owned()));
    assert_eq!((call(&mut session, "set"), call(&mut session, "get")), (0, 0));
    assert_eq!(given(&mut session).1, "new");
    let mut other = plugin.session_blocking().unwrap();
    assert_eq!(call(&mut other, "get"), 0);
    assert_eq!(given(&mut other).1, "metric", "each instance has its own");
}

#[test]
fn configuration_that_is_not_there_or_denied_is_a_status() {
    let wat = guest(&["get_config", "set_config"], "units...new", CONFIG);
    let host = Host::new().unwrap();
    let plugin = load(&host, &wat, text());
    assert_eq!(plugin.call_blocking::<_, i32>("get", &()).unwrap().value, -1);
    let denied = load(&host, &wat, text().deny("config".parse().unwrap()));
    assert_eq!(denied.call_blocking::<_, i32>("get", &()).unwrap().value, -2);
    assert_eq!(denied.call_blocking::<_, i32>("set", &()).unwrap().value, -2);
}

#[test]
fn configuration_of_its_own_is_bounded() {
    let body = r#"(func (export "run") (result i32)
        (call $set (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 65535)))
        (func (export "more") (result i32) (call $set (i32.const 17) (i32.const 1) (i32.const 0) (i32.const 1)))"#;
    let mut session = plain(&["set_config"], "ab", body).session_blocking().unwrap();
    assert_eq!(
        (call(&mut session, "run"), call(&mut session, "run"), call(&mut session, "more")),
        (0, 0, -5)
    );
}

const STORAGE: &str = r#"
    (func (export "store") (result i32) (call $store (i32.const 16) (i32.const 3) (i32.const 19) (i32.const 5)))
    (func (export "load") (result i32) (call $load (i32.const 16) (i32.const 3) (i32.const 600) (i32.const 8)))
    (func (export "peek") (result i32) (call $load (i32.const 16) (i32.const 3) (i32.const 600) (i32.const 4)))
    (func (export "delete") (result i32) (call $delete (i32.const 16) (i32.const 3)))
    (func (export "nameless") (result i32) (call $store (i32.const 16) (i32.const 0) (i32.const 19) (i32.const 5)))"#;

#[test]
fn host_storage_keeps_values_over_instances_and_forgets_them() {
    let wat = guest(&["load", "store", "delete"], "keyvalue", STORAGE);
    let mut services = Services::default();
    services.kv = Arc::new(MemoryKv::new());
    let host = Host::builder().services(services).build().unwrap();
    let plugin = load(&host, &wat, granted(&["kv"]));
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!((call(&mut session, "load"), call(&mut session, "store")), (-1, 0));
    let mut other = plugin.session_blocking().unwrap();
    assert_eq!(call(&mut other, "peek"), 5, "the length that there is");
    assert_eq!(other.memory().unwrap().read(600, 4).unwrap(), [0; 4], "what does not fit is not written");
    assert_eq!(call(&mut other, "load"), 5);
    assert_eq!(other.memory().unwrap().read(600, 5).unwrap(), b"value");
    assert_eq!(
        (call(&mut other, "delete"), call(&mut other, "delete"), call(&mut session, "load")),
        (0, -1, -1)
    );
    assert_eq!(call(&mut other, "nameless"), -3);
}

#[test]
fn host_storage_without_a_grant_is_denied_and_past_the_quota_full() {
    let wat = guest(&["load", "store", "delete"], "keyvalue", STORAGE);
    let host = Host::new().unwrap();
    let mut session = load(&host, &wat, text()).session_blocking().unwrap();
    for function in ["load", "store", "delete"] {
        assert_eq!(call(&mut session, function), -2, "{function}");
    }
    let little = load(&host, &wat, granted(&["kv=7B"]));
    assert_eq!(little.call_blocking::<_, i32>("store", &()).unwrap().value, -5);
}

#[test]
fn host_send_message_publishes_and_a_slow_receiver_loses_the_oldest() {
    let body = r#"(func (export "run") (result i32)
        (call $send (i32.const 16) (i32.const 4) (i32.const 20) (i32.const 2)))"#;
    let bus = EventBus::new();
    let mut services = Services::default();
    services.events = Arc::new(bus.clone());
    let host = Host::builder().services(services).build().unwrap();
    let wat = guest(&["send"], "chathi", body);
    let plugin = load(&host, &wat, text().name("sender"));
    let topics: NamePattern = "chat".parse().unwrap();
    let mut received = bus.subscribe_as_host(&topics).unwrap();
    assert_eq!(run(&plugin), 0);
    let event = received.try_next().unwrap();
    assert_eq!(
        (&*event.topic, &*event.payload, event.publisher.as_deref()),
        ("chat", &b"hi"[..], Some("sender"))
    );

    let denied = load(&host, &wat, text().deny("events.publish=*".parse().unwrap()));
    assert_eq!(run(&denied), -2);
}

#[test]
fn host_call_tool_calls_what_the_application_registered() {
    let body = r#"(func (export "run") (result i32)
        (call $tool (i32.const 16) (i32.const 4) (i32.const 20) (i32.const 7) (i32.const 512)))
        (func (export "other") (result i32)
        (call $tool (i32.const 17) (i32.const 3) (i32.const 20) (i32.const 7) (i32.const 512)))
        (func (export "no_json") (result i32)
        (call $tool (i32.const 16) (i32.const 4) (i32.const 21) (i32.const 6) (i32.const 512)))"#;
    let registry = ToolRegistry::new();
    registry.register(Arc::new(ToolFn::new("echo", "says it", |input| async { Ok(input) }))).unwrap();
    let mut services = Services::default();
    services.tools = Arc::new(registry);
    let host = Host::builder().services(services).build().unwrap();
    let wat = guest(&["tool"], r#"echo{\"a\":1}"#, body);
    let mut session = load(&host, &wat, granted(&["tools.call=*"])).session_blocking().unwrap();
    assert_eq!(call(&mut session, "run"), 0);
    assert_eq!(given(&mut session).1, r#"{"a":1}"#);
    assert_eq!((call(&mut session, "other"), call(&mut session, "no_json")), (-1, -3));
    assert_eq!(run(&load(&host, &wat, granted(&["tools.call=cho"]))), -2);
}

#[test]
fn host_call_tool_calls_other_plugins_and_never_in_a_circle() {
    let registry = ToolRegistry::new();
    let mut services = Services::default();
    services.tools = Arc::new(registry.clone());
    let host = Host::builder().services(services).build().unwrap();
    let info =
        |name: &str| ToolInfo { name: name.to_owned(), description: String::new(), input_schema: None };
    let json = r#"(module (memory (export "memory") 1) (data (i32.const 64) "{\"from\":\"a plugin\"}")
        (func (export "alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "answer") (param i32 i32) (result i32) (i32.const 64)))"#;
    let other = PluginTool::new(load(&host, json, text().name("other")), "answer", info("other"));
    registry.register(Arc::new(other)).unwrap();

    let body = r#"(func (export "run") (result i32)
        (call $tool (i32.const 16) (i32.const 5) (i32.const 24) (i32.const 2) (i32.const 512)))
        (func (export "again") (result i32)
        (call $tool (i32.const 26) (i32.const 5) (i32.const 24) (i32.const 2) (i32.const 512)))"#;
    let caller = load(&host, &guest(&["tool"], "other   []again", body), granted(&["tools.call=*"]));
    registry.register(Arc::new(PluginTool::new(caller.clone(), "again", info("again")))).unwrap();
    let mut session = caller.session_blocking().unwrap();
    assert_eq!(call(&mut session, "run"), 0);
    assert_eq!(given(&mut session).1, r#"{"from":"a plugin"}"#);
    // The tool calls itself, which is refused there and told here as what it gave: its own status.
    assert_eq!(call(&mut session, "again"), 0);
    assert_eq!(given(&mut session).1, "-4");
}

#[test]
fn host_random_bytes_are_real_where_granted_and_the_same_in_every_run_where_not() {
    let body = r#"(func (export "run") (result i32) (call $random (i32.const 512) (i32.const 16)))
        (func (export "many") (result i32) (call $random (i32.const 0) (i32.const 65537)))"#;
    let wat = guest(&["random"], "", body);
    let host = Host::new().unwrap();
    let draw = |options: LoadOptions| {
        let mut session = load(&host, &wat, options).session_blocking().unwrap();
        assert_eq!((call(&mut session, "run"), call(&mut session, "many")), (0, -3));
        session.memory().unwrap().read(512, 16).unwrap().to_vec()
    };
    assert_eq!(draw(text()), draw(text()));
    assert_ne!(draw(granted(&["random"])), draw(granted(&["random"])));
}

const HTTP: &str =
    r#"(func (export "run") (result i32) (call $http (i32.const 16) (i32.const 33) (i32.const 512)))"#;

#[test]
fn host_http_request_without_net_is_a_status_and_the_plugin_lives_on() {
    let data = r#"{\"url\":\"http://api.example.com/\"}"#;
    let mut session = plain(&["http"], data, HTTP).session_blocking().unwrap();
    assert_eq!((call(&mut session, "run"), call(&mut session, "run")), (-2, -2));
}

#[test]
fn host_http_request_gives_the_answer_as_json() {
    let fakes: FakeData = toml::from_str(
        "[[http]]\nurl = \"http://api.example.com/\"\nstatus = 404\nbody = \"gone\"\nheaders = { x-a = \"b\" }\n",
    )
    .unwrap();
    let wat = guest(&["http"], r#"{\"url\":\"http://api.example.com/\"}"#, HTTP);
    let test = TestPlugin::builder()
        .options(granted(&["net=*"]))
        .allow_nothing()
        .fake(fakes)
        .load(wat.as_bytes())
        .unwrap();
    let mut session = test.managed().plugin().session_blocking().unwrap();
    assert_eq!(call(&mut session, "run"), 0);
    let answer: serde_json::Value = serde_json::from_str(&given(&mut session).1).unwrap();
    assert_eq!(answer, serde_json::json!({ "status": 404, "headers": [["x-a", "b"]], "body": "gone" }));
    for (data, status) in
        [(r#"{\"url\":\"http://api.exam//\",,,,,"#, -3), (r#"{\"url\":\"http://oth.example.com/\"}"#, -4)]
    {
        let wat = guest(&["http"], data, HTTP);
        let test =
            TestPlugin::builder().options(granted(&["net=*"])).allow_nothing().load(wat.as_bytes()).unwrap();
        assert_eq!(run(&test.managed().plugin()), status, "{data}");
    }
}

#[test]
fn a_guest_without_memory_cannot_hand_anything_over() {
    let wat = r#"(module (import "env" "host_random_bytes" (func $random (param i32 i32) (result i32)))
        (func (export "run") (result i32) (call $random (i32.const 0) (i32.const 1))))"#;
    let error = load(&Host::new().unwrap(), wat, text()).call_blocking::<_, i32>("run", &()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadGuest { .. }), "{error}");
}

#[test]
fn ranges_from_edge_to_edge_end_the_call_and_nothing_else() {
    let body = r#"
        (func (export "log") (param i32 i32) (result i32) (call $log (i32.const 1) (local.get 0) (local.get 1)))
        (func (export "set") (param i32 i32) (result i32)
            (call $set (i32.const 16) (i32.const 1) (local.get 0) (local.get 1)))
        (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1)))
        (func (export "send") (param i32 i32) (result i32)
            (call $send (i32.const 16) (i32.const 1) (local.get 0) (local.get 1)))"#;
    let plugin = plain(&["log", "set_config", "random", "send"], "abc", body);
    for function in ["log", "set", "random", "send"] {
        for at in [0_u32, 65_535, 65_536, u32::MAX] {
            for length in [0_u32, 1, 65_536, 65_537, u32::MAX] {
                let inside = u64::from(at) + u64::from(length) <= 65_536;
                match plugin.call_blocking::<_, i32>(function, &(at, length)) {
                    Ok(outcome) => assert!(inside || outcome.value == -3, "{function} {at} {length}"),
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::BadGuest { .. }), "{function}: {error}");
                        assert!(!inside, "{function} {at} {length}");
                    }
                }
            }
        }
    }
}
