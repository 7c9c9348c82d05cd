//! MoFA's page, step by step: what it shows is so here, and what it promises is kept.

use std::sync::{Arc, Mutex};

use airlock_host::manager::{Happened, Manager, Notice, PluginState};
use airlock_host::mofa::{PluginCapability, ResourceLimits};
use airlock_host::{AbiId, ErrorKind, Functions, Host, LimitKind, LoadOptions, Plugin, Session};

use crate::support::repository;

fn sample(name: &str) -> std::path::PathBuf {
    repository("plugins/mofa-samples").join(name)
}

fn load(host: &Host, name: &str) -> Plugin {
    host.load_blocking(sample(name), LoadOptions::new()).unwrap()
}

fn session(name: &str) -> Session {
    load(&Host::new().unwrap(), name).session_blocking().unwrap()
}

fn number(session: &mut Session, function: &str) -> i32 {
    session.call_func_blocking(function, ()).unwrap()
}

#[test]
fn load_plugin_compiles_text_and_tells_name_size_and_time() {
    let wat = std::fs::read(sample("math.wat")).unwrap();
    let options = LoadOptions::new().wat(true).name("math-module");
    let plugin = Host::new().unwrap().load_blocking(wat.as_slice(), options).unwrap();
    assert_eq!((plugin.name(), plugin.size()), ("math-module", wat_bytes(&wat)));
    assert!(!plugin.code_time().is_zero(), "finer than the milliseconds of which small modules take none");
}

/// How many bytes a text is as binary, which is what is compiled and measured.
fn wat_bytes(wat: &[u8]) -> usize {
    wat::parse_bytes(wat).unwrap().len()
}

#[test]
fn execute_functions_gives_what_the_page_prints() {
    let mut session = session("math.wat");
    let mut two = |name: &str, a: i32, b: i32| session.call_func_blocking::<_, i32>(name, (a, b)).unwrap();
    assert_eq!(
        (two("add", 10, 5), two("add", 10, 20), two("sub", 50, 20), two("mul", 6, 7)),
        (15, 30, 30, 42)
    );
    let mut one = |name: &str, n: i32| session.call_func_blocking::<_, i32>(name, n).unwrap();
    assert_eq!((one("factorial", 5), one("fibonacci", 10)), (120, 55));
    session.close_blocking().unwrap();
}

#[test]
fn the_manager_loads_lists_tells_and_counts() {
    let manager = Manager::new(Host::new().unwrap());
    let mut events = manager.events();
    manager.load_blocking("greeter", sample("greet.wat"), LoadOptions::new()).unwrap();
    manager.load_blocking("counter", sample("counter.wat"), LoadOptions::new()).unwrap();
    let names: Vec<String> = manager.list().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["counter", "greeter"], "in order");
    let call =
        |name: &str, function: &str| manager.call_func_blocking::<(), i32>(name, function, ()).unwrap();
    assert_eq!(call("greeter", "greet_len"), 13);
    assert_eq!([(); 5].map(|()| call("counter", "increment")), [1, 2, 3, 4, 5]);
    let info = manager.info("counter").unwrap();
    assert_eq!(info.state, PluginState::Ready);
    let of = manager.get("counter").unwrap().metrics();
    assert_eq!((of.calls, of.successes), (5, 5));
    let all = manager.metrics();
    assert_eq!((manager.list().len(), all.calls), (2, 6));
    assert!(all.latency.total_ns > 0, "also where each call takes less than a millisecond");
    assert_eq!(manager.unload_all_blocking(), 2);
    assert!(manager.list().is_empty());
    let mut loaded = 0;
    while let Some(notice) = events.try_next() {
        let Notice::Event(event) = notice else { panic!("{notice:?}") };
        loaded += usize::from(matches!(event.what, Happened::Loaded { .. }));
    }
    assert_eq!(loaded, 2);
}

#[test]
fn a_plugin_with_memory_is_written_and_read_by_calls_and_by_the_application() {
    let mut session = session("memory.wat");
    assert_eq!(number(&mut session, "get_memory_size"), 1);
    session.call_func_blocking::<_, ()>("write_byte", (0, 42)).unwrap();
    assert_eq!(session.call_func_blocking::<_, i32>("read_byte", 0).unwrap(), 42);
    assert_eq!(session.memory().unwrap().value::<u8>(0).unwrap(), 42);
    session.memory().unwrap().set(1, 43_u8).unwrap();
    assert_eq!(session.call_func_blocking::<_, i32>("read_byte", 1).unwrap(), 43);
}

#[test]
fn globals_live_as_long_as_the_session_and_can_be_read() {
    let mut session = session("counter.wat");
    assert_eq!([(); 3].map(|()| number(&mut session, "increment")), [1, 2, 3]);
    assert_eq!(number(&mut session, "get"), 3);
    assert_eq!(session.global("counter").unwrap(), 3_i32.into());
    session.call_func_blocking::<(), ()>("reset", ()).unwrap();
    assert_eq!(session.global("counter").unwrap(), 0_i32.into());
    // A new instance begins anew, as MoFA's `stop` and `initialize` have it.
    let mut again = session.plugin().session_blocking().unwrap();
    assert_eq!(number(&mut again, "increment"), 1);
}

#[test]
fn calls_by_number_reach_what_the_table_has_and_trap_beyond() {
    let mut session = session("table.wat");
    let mut call = |which: i32| session.call_func_blocking::<_, i32>("call_indirect", (which, 6, 7));
    assert_eq!((call(0).unwrap(), call(1).unwrap()), (13, 42));
    let error = call(2).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Trap { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the plugin trapped while running: undefined element: out of bounds table access"
    );
}

#[test]
fn what_a_table_has_can_be_counted_and_called() {
    let mut session = session("table.wat");
    assert_eq!(session.table_size("operations").unwrap(), 2);
    let multiply = session.table_func::<(i32, i32), i32>("operations", 1).unwrap();
    assert_eq!(multiply.call_blocking(&mut session, (6, 7)).unwrap(), 42);
    assert_eq!(
        session.table_func::<(i32, i32), i32>("operations", 2).unwrap_err().code(),
        "unknown-function"
    );
    assert_eq!(session.table_func::<i32, i32>("operations", 1).unwrap_err().code(), "unsuitable-export");
    assert_eq!(session.table_size("nothing").unwrap_err().code(), "unsuitable-export");
    assert_eq!(session.global("operations").unwrap_err().code(), "unsuitable-export");
}

#[test]
fn the_rust_guest_gets_bytes_by_pointer_and_length() {
    let options = LoadOptions::new().abi(AbiId::Raw);
    let host = Host::new().unwrap();
    let plugin = host.load_blocking(repository("plugins/mofa-rust/mofa_rust.wasm"), options).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(session.call_func_blocking::<_, i32>("add", (2, 3)).unwrap(), 5);
    let bytes = b"hello wasm";
    let sum = session.call_with_bytes_blocking::<i32>("sum", bytes).unwrap();
    assert_eq!(sum, bytes.iter().map(|byte| i32::from(*byte)).sum::<i32>());
    assert_eq!(session.call_with_bytes_blocking::<i32>("process_data", bytes).unwrap(), 10);
    assert_eq!(session.call_with_bytes_blocking::<i32>("process_data", b"").unwrap(), 0);
    let many = vec![1; 300_000];
    assert_eq!(session.call_with_bytes_blocking::<i32>("sum", &many).unwrap(), 300_000);
}

#[test]
fn module_linking_gives_the_plugin_a_function_of_the_applications() {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let log = Functions::of("env").func("log", {
        let logged = logged.clone();
        move |_, message: i32| {
            logged.lock().unwrap().push(format!("Plugin log: {message}"));
            Ok(())
        }
    });
    let host = Host::builder().functions(log).build().unwrap();
    load(&host, "log.wat").call_blocking::<_, ()>("run", &()).unwrap();
    assert_eq!(*logged.lock().unwrap(), ["Plugin log: 42"]);
}

#[test]
fn limits_are_those_of_the_page_and_enforced() {
    let limits = ResourceLimits {
        max_memory_pages: 16,
        max_table_elements: 1000,
        max_instances: 5,
        max_execution_time_ms: 1000,
        max_fuel: None,
        max_call_depth: 100,
    };
    let host = Host::builder().limits(&limits.overrides()).build().unwrap();
    let plugin = load(&host, "math.wat");
    let of = |kind: LimitKind| plugin.limits().get(kind);
    assert_eq!(of(LimitKind::Memory), Some(1 << 20));
    assert_eq!(of(LimitKind::TableElements), Some(1000));
    assert_eq!(of(LimitKind::Instances), Some(5));
    assert_eq!(of(LimitKind::Timeout), Some(1_000_000_000));
    assert_eq!((of(LimitKind::Stack), of(LimitKind::Fuel)), (Some(100 << 10), None));
    let sessions: Vec<Session> = (0..5).map(|_| plugin.session_blocking().unwrap()).collect();
    let error = plugin.session_blocking().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Instances, maximum: 5, .. }),
        "{error}"
    );
    drop(sessions);
    plugin.session_blocking().unwrap();
}

#[test]
fn errors_are_told_apart_as_the_page_matches_on_them() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "spin") (loop (br 0)))
        (func (export "fill") (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable)
        (func $deep (export "deep") (param i32) (result i32)
            (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1))))))"#;
    let options = LoadOptions::new().wat(true);
    let options = options.limit(LimitKind::Timeout, 50_000_000).limit(LimitKind::Memory, 1 << 20);
    let plugin = Host::new().unwrap().load_blocking(wat.as_bytes(), options).unwrap();
    let told =
        |function: &str| match plugin.call_blocking::<_, ()>(function, &()).map(drop).unwrap_err().kind() {
            ErrorKind::Deadline { .. } => "Timeout",
            ErrorKind::Limit { limit: LimitKind::Memory, .. } => "OutOfMemory",
            ErrorKind::UnknownFunction { .. } => "InvalidFunction",
            _ => "another",
        };
    assert_eq!([told("spin"), told("fill"), told("nothing")], ["Timeout", "OutOfMemory", "InvalidFunction"]);
    let error = plugin.call_blocking::<_, i32>("deep", &0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Stack, .. }), "{error}");
    assert!(error.to_string().len() < 200, "not a line for each of its frames");
}

#[test]
fn each_trap_is_one_to_match_on() {
    let wat = r#"(module (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (memory (export "memory") 1) (table 2 funcref) (elem (i32.const 0) $f)
        (type $none (func)) (type $number (func (result i32)))
        (func $f (type $none))
        (func (export "unreachable") unreachable)
        (func (export "aborted") (call $abort (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
        (func (export "memory-out-of-bounds") (drop (i32.load (i32.const 65536))))
        (func (export "table-out-of-bounds") (call_indirect (type $none) (i32.const 9)))
        (func (export "indirect-call-to-null") (call_indirect (type $none) (i32.const 1)))
        (func (export "bad-signature") (drop (call_indirect (type $number) (i32.const 0))))
        (func (export "integer-overflow") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
        (func (export "integer-division-by-zero") (drop (i32.div_s (i32.const 1) (i32.const 0))))
        (func (export "bad-conversion-to-integer") (drop (i32.trunc_f32_s (f32.const nan)))))"#;
    let plugin = Host::new().unwrap().load_blocking(wat.as_bytes(), LoadOptions::new().wat(true)).unwrap();
    for function in plugin.functions() {
        let error = plugin.call_blocking::<_, ()>(function, &()).unwrap_err();
        let ErrorKind::Trap { trap, .. } = error.kind() else { panic!("{function}: {error}") };
        assert_eq!(serde_json::to_value(trap).unwrap(), **function);
    }
    assert_eq!(plugin.functions().len(), 9);
}

#[test]
fn capabilities_are_granted_by_the_names_that_the_page_has() {
    let wat = r#"(module (import "env" "host_http_request" (func $http (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 16) "{\"url\":\"http://127.0.0.1:1/\"}")
        (func (export "run") (result i32) (call $http (i32.const 16) (i32.const 29) (i32.const 512))))"#;
    let host = Host::new().unwrap();
    let with = |capabilities: &[PluginCapability]| {
        let options = LoadOptions::new().wat(true);
        let options = capabilities.iter().fold(options, |options, capability| capability.grant(options));
        host.load_blocking(wat.as_bytes(), options).unwrap()
    };
    use PluginCapability::{CallHostFunction, NetworkAccess, ReadConfig, WriteState};
    let secure = with(&[ReadConfig, WriteState, CallHostFunction]);
    assert_eq!(secure.call_blocking::<_, i32>("run", &()).unwrap().value, -2, "denied, and alive");
    // Granted; that nobody listens there, and that it is this machine, is another matter.
    let open = with(&[NetworkAccess]);
    assert!(open.policy().allows_any(airlock_host::CapabilityKind::Net));
}

#[test]
fn metrics_count_what_the_page_prints() {
    let manager = Manager::new(Host::new().unwrap());
    manager.load_blocking("math", sample("math.wat"), LoadOptions::new()).unwrap();
    for n in 1..=5 {
        manager.call_func_blocking::<i32, i32>("math", "factorial", n).unwrap();
    }
    manager.call_func_blocking::<(), i32>("math", "nothing", ()).unwrap_err();
    let metrics = manager.get("math").unwrap().metrics();
    assert_eq!((metrics.calls, metrics.successes, metrics.failures.operator), (6, 5, 1));
    assert!(metrics.latency.average_ns > 0 && metrics.latency.total_ns >= 5 * metrics.latency.minimum_ns);
    assert!(metrics.peak_memory_bytes == 0, "it has none");
}
