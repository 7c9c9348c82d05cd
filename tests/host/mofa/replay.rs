//! What MoFA's own host was seen to do, each the right way round, and the tests of its runtime that say
//! something about guests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_host::manager::{Happened, Manager, Notice, PluginState};
use airlock_host::mofa::ResourceLimits;
use airlock_host::service::{OperatorConfig, Services};
use airlock_host::{
    AbiId, Capability, ErrorKind, Functions, Host, Input, LimitKind, LoadOptions, Origin, Plugin, Session,
};

use crate::support::{Mode, load, source, text};

const MATH: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "answer") (result i32) (i32.const 42))
    (func (export "trap") (result i32) unreachable)
    (func (export "spin") (result i32) (loop (br 0)) (i32.const 0)))"#;

fn host() -> Host {
    Host::new().unwrap()
}

fn limited(limits: &ResourceLimits) -> LoadOptions {
    text().limits(&limits.overrides())
}

fn number(session: &mut Session, function: &str) -> i32 {
    session.call_func_blocking(function, ()).unwrap()
}

// Its examples and unit tests.

#[test]
fn test_wasm_plugin_from_wat() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("math", source(MATH), text()).unwrap();
    assert_eq!(managed.state(), PluginState::Created);
    assert_eq!(managed.call_func_blocking::<_, i32>("add", (3, 4)).unwrap(), 7);
    assert_eq!(managed.call_func_blocking::<_, i32>("double", 21).unwrap(), 42);
    assert_eq!((managed.state(), managed.metrics().calls), (PluginState::Ready, 2));
}

#[test]
fn test_plugin_manager_load_wat_and_its_events() {
    let manager = Manager::new(host());
    let mut events = manager.events();
    let wat = r#"(module (func (export "greet") (result i32) (i32.const 42)))"#;
    manager.load_blocking("greet-plugin", source(wat), text()).unwrap();
    assert_eq!(manager.list().len(), 1);
    assert_eq!(manager.call_func_blocking::<(), i32>("greet-plugin", "greet", ()).unwrap(), 42);
    assert_eq!(manager.metrics().calls, 1);
    manager.unload_blocking("greet-plugin").unwrap();
    assert!(manager.list().is_empty());
    let mut told = Vec::new();
    while let Some(Notice::Event(event)) = events.try_next() {
        assert_eq!(&*event.plugin, "greet-plugin");
        told.push(serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.first().map(String::as_str), Some("loaded"));
    assert_eq!(told.last().map(String::as_str), Some("unloaded"));
    assert!(told.contains(&"executed".to_owned()), "{told:?}");
}

#[test]
fn test_wasm_memory_grow_and_bounds() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let mut session = load(&host(), wat, text()).session_blocking().unwrap();
    session.memory().unwrap().write(1024, "Hello, 世界!".as_bytes()).unwrap();
    assert_eq!(session.memory().unwrap().text(1024, 14).unwrap(), "Hello, 世界!");
    assert_eq!(session.call_func_blocking::<_, i32>("grow", 2).unwrap(), 1);
    assert_eq!(session.memory().unwrap().size(), 3 << 16);
    assert_eq!(session.memory().unwrap().read(3 << 16, 1).unwrap_err().code(), "bad-guest");
}

#[test]
fn test_cache_stats_hit_rate() {
    let host = host();
    let bytes = wat::parse_str(MATH).unwrap();
    host.load_blocking(bytes.as_slice(), LoadOptions::new()).unwrap();
    let stats = host.memory_cache();
    assert_eq!((stats.hits, stats.compiled), (0, 1), "a cold compile is a miss and no hit of its own");
    for _ in 0..4 {
        host.load_blocking(bytes.as_slice(), LoadOptions::new()).unwrap();
    }
    let stats = host.memory_cache();
    assert_eq!((stats.hits, stats.compiled, stats.hit_rate()), (4, 1, 0.8));
}

// Limits, of which its host enforces one, and that once for the life of an instance.

#[test]
fn a_plugin_of_a_host_with_every_default_answers_its_first_call() {
    assert_eq!(load(&host(), MATH, text()).call_blocking::<_, i32>("add", &(2, 3)).unwrap().value, 5);
}

#[test]
fn more_initial_memory_than_the_limit_is_refused_and_growing_beyond_it_gives_minus_one() {
    let limits = ResourceLimits { max_memory_pages: 1, max_fuel: None, ..ResourceLimits::default() };
    let large = load(&host(), r#"(module (memory 64) (func (export "f")))"#, limited(&limits));
    let error = large.call_blocking::<_, ()>("f", &()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Memory, .. }), "{error}");
    let wat = r#"(module (memory 1) (func (export "grow") (result i32) (memory.grow (i32.const 10000))))"#;
    let plugin = load(&host(), wat, limited(&limits));
    assert_eq!(plugin.call_blocking::<_, i32>("grow", &()).unwrap().value, -1);
}

#[test]
fn tables_do_not_grow_beyond_the_limit() {
    let limits = ResourceLimits { max_table_elements: 1, max_fuel: None, ..ResourceLimits::default() };
    let wat = r#"(module (table 1 funcref)
        (func (export "grow") (result i32) (table.grow (ref.null func) (i32.const 1000000))))"#;
    assert_eq!(load(&host(), wat, limited(&limits)).call_blocking::<_, i32>("grow", &()).unwrap().value, -1);
}

#[test]
fn a_loop_ends_at_its_time_and_timers_around_it_go_on() {
    let limits = ResourceLimits { max_execution_time_ms: 100, max_fuel: None, ..ResourceLimits::default() };
    let plugin = load(&host(), MATH, limited(&limits));
    let (error, ticks) = Mode::CurrentThread.wait(async {
        let mut ticks = 0_u32;
        let mut called = std::pin::pin!(plugin.invoke("spin", Input::Words(Vec::new())));
        loop {
            tokio::select! {
                outcome = &mut called => break (outcome.unwrap_err(), ticks),
                () = tokio::time::sleep(Duration::from_millis(5)) => ticks += 1,
            }
        }
    });
    assert!(matches!(error.kind(), ErrorKind::Deadline { .. }), "{error}");
    assert!(ticks >= 3, "{ticks} timers of 5 ms ended beside a call of 100 ms");
}

#[test]
fn a_timeout_around_a_call_ends_it() {
    let plugin = load(&host(), MATH, text());
    let started = Instant::now();
    let ended = Mode::CurrentThread.wait(async {
        tokio::time::timeout(Duration::from_millis(50), plugin.invoke("spin", Input::Words(Vec::new()))).await
    });
    assert!(ended.is_err() && started.elapsed() < Duration::from_secs(20));
    assert_eq!(plugin.call_blocking::<_, i32>("answer", &()).unwrap().value, 42);
}

#[test]
fn calls_nest_as_deep_as_the_stack_that_the_depth_stands_for() {
    let wat = r#"(module (func $down (export "down") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1))))))))"#;
    let with = |depth: u32| {
        let limits = ResourceLimits { max_call_depth: depth, max_fuel: None, ..ResourceLimits::default() };
        let host = Host::builder().limits(&limits.overrides()).build().unwrap();
        load(&host, wat, text())
    };
    let little = with(3);
    assert_eq!(little.limits().value(LimitKind::Stack), 64 << 10, "reported as what it is");
    assert_eq!(little.call_blocking::<_, i32>("down", &3).unwrap().value, 3);
    let error = little.call_blocking::<_, i32>("down", &100_000).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Stack, .. }), "{error}");
    assert_eq!(with(1000).call_blocking::<_, i32>("down", &3000).unwrap().value, 3000);
}

#[test]
fn fuel_is_each_calls_own_and_hitting_it_is_told() {
    let limits = ResourceLimits { max_fuel: Some(100), ..ResourceLimits::default() };
    let plugin = load(&host(), MATH, limited(&limits));
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..100 {
        assert_eq!(number(&mut session, "answer"), 42);
    }
    let outcome = session.invoke_blocking("answer", Input::Words(Vec::new())).unwrap();
    assert!(outcome.usage.fuel.is_some_and(|fuel| (1..=100).contains(&fuel)), "{:?}", outcome.usage);
    let error = session.call_func_blocking::<(), i32>("spin", ()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: LimitKind::Fuel, maximum: 100, .. }), "{error}");
    assert!(!session.is_alive(), "and not ready for calls that all fail");
    assert_eq!(number(&mut plugin.session_blocking().unwrap(), "answer"), 42);
}

#[test]
fn without_a_limit_of_fuel_none_is_counted() {
    let limits = ResourceLimits { max_fuel: None, ..ResourceLimits::default() };
    let outcome = load(&host(), MATH, limited(&limits)).call_blocking::<_, i32>("answer", &()).unwrap();
    assert_eq!((outcome.value, outcome.usage.fuel), (42, None));
}

#[test]
fn limits_of_the_host_are_every_plugins_ceiling() {
    let host = Host::builder().at_most(LimitKind::Memory, 1 << 16).at_most(LimitKind::Timeout, 1_000_000_000);
    let host = host.at_most(LimitKind::Memory, 1 << 20).build().unwrap();
    let options = text().limit(LimitKind::Memory, 1 << 30).limit(LimitKind::Timeout, 1_000_000);
    let plugin = load(&host, r#"(module (memory 2) (func (export "f")))"#, options);
    let limits = plugin.limits();
    assert_eq!((limits.value(LimitKind::Memory), limits.value(LimitKind::Timeout)), (1 << 16, 1_000_000));
    assert!(plugin.call_blocking::<_, ()>("f", &()).is_err());
}

#[test]
fn trusted_code_runs_without_the_checks_and_within_every_other_limit() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "grow") (result i32) (memory.grow (i32.const 10000)))
        (func $deep (export "deep") (param i32) (result i32)
            (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
        (func (export "count") (param i32) (result i32) (local $n i32)
            (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (local.get 0)))) (local.get $n)))"#;
    let host = host();
    let plugin = load(&host, wat, text().trusted(true));
    assert_eq!(plugin.call_blocking::<_, i32>("count", &1_000_000).unwrap().value, 1_000_000);
    let awaited = Mode::CurrentThread.wait(plugin.invoke("count", Input::Words(vec!["7".to_owned()])));
    assert_eq!(awaited.unwrap().value.to_json_text(), "7");
    assert_eq!(plugin.call_blocking::<_, i32>("grow", &()).unwrap().value, -1);
    assert_eq!(plugin.call_blocking::<_, i32>("deep", &0).unwrap_err().code(), "limit-stack");
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(session.call_func_blocking::<_, i32>("count", 3).unwrap(), 3);
    let fuelled = load(&host, wat, text().trusted(true).limit(LimitKind::Fuel, 1000));
    assert_eq!(fuelled.call_blocking::<_, i32>("count", &1_000_000).unwrap_err().code(), "limit-fuel");
}

#[test]
fn what_a_host_tells_of_itself_is_true() {
    let host = host();
    assert_eq!((host.stats().loaded, host.stats().plugins, host.stats().running_calls), (0, 0, 0));
    let bytes = wat::parse_str(MATH).unwrap();
    let first = host.load_blocking(bytes.as_slice(), LoadOptions::new()).unwrap();
    let compile_time = host.stats().compile_time;
    assert!(!compile_time.is_zero());
    let second = host.load_blocking(bytes.as_slice(), LoadOptions::new()).unwrap();
    let stats = host.stats();
    assert_eq!((stats.loaded, stats.plugins, stats.code.compiled, stats.code.hits), (2, 2, 1, 1));
    assert_eq!(stats.compile_time, compile_time, "the second was not compiled");
    let session = first.session_blocking().unwrap();
    drop((first, second));
    assert_eq!(host.stats().plugins, 1, "its session lives");
    drop(session);
    assert_eq!((host.stats().loaded, host.stats().plugins), (2, 0));
}

// Life.

#[test]
fn reactors_have_their_initialiser_run_once_and_their_clean_up_at_the_end() {
    let wat = r#"(module (global $n (export "n") (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 10))))
        (func (export "_cleanup") (global.set $n (i32.const 99)))
        (func (export "get") (result i32) (global.get $n)))"#;
    let mut session = load(&host(), wat, text()).session_blocking().unwrap();
    assert_eq!((number(&mut session, "get"), number(&mut session, "get")), (10, 10));
    session.close_blocking().unwrap();
}

#[test]
fn reactors_of_wasi_load_and_run() {
    let wat = r#"(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "env" "host_now_ms" (func $now (result i64)))
        (memory (export "memory") 1) (func (export "_initialize") (drop (call $random (i32.const 0) (i32.const 8))))
        (func (export "run") (result i32) (i32.eqz (i64.eqz (call $now)))))"#;
    let plugin = load(&host(), wat, text());
    assert_eq!(plugin.abi(), AbiId::Mofa);
    assert_eq!(plugin.call_blocking::<_, i32>("run", &()).unwrap().value, 1);
}

#[test]
fn a_start_that_traps_is_told_and_the_next_one_begins_anew() {
    let wat =
        r#"(module (func $boom unreachable) (start $boom) (func (export "run") (result i32) (i32.const 1)))"#;
    let plugin = load(&host(), wat, text());
    for _ in 0..2 {
        let error = plugin.session_blocking().unwrap_err();
        assert_eq!(error.to_string(), "the plugin trapped while instantiating: unreachable");
    }
}

#[test]
fn a_trap_is_told_with_its_cause_and_ends_the_instance() {
    let manager = Manager::new(host());
    let mut events = manager.events();
    let managed = manager.load_blocking("math", source(MATH), text()).unwrap();
    let error = managed.call_func_blocking::<(), i32>("trap", ()).unwrap_err();
    assert_eq!(error.to_string(), "the plugin trapped while running: unreachable");
    assert!(matches!(managed.state(), PluginState::Failed(_)), "and not ready");
    assert_eq!((managed.metrics().crashes, managed.metrics().failures.guest), (1, 1));
    let trapped = std::iter::from_fn(|| events.try_next()).any(|notice| match notice {
        Notice::Event(event) => matches!(event.what, Happened::Trapped { .. }),
        _ => false,
    });
    assert!(trapped);
}

#[test]
fn wrong_arguments_are_told_and_counted_as_failures() {
    let manager = Manager::new(host());
    let managed = manager.load_blocking("math", source(MATH), text()).unwrap();
    let words = |words: &[&str]| Input::Words(words.iter().map(ToString::to_string).collect());
    let of = |input: Input, function: &str| managed.invoke_blocking(function, input).unwrap_err().to_string();
    assert_eq!(of(words(&["1"]), "add"), "`add` is (i32, i32) -> (i32), but 1 argument was given");
    assert_eq!(of(words(&["1", "x"]), "add"), "`x` is not an i32");
    assert_eq!(of(words(&[]), "nothing"), "`plugin` has no function `nothing`");
    assert_eq!(managed.metrics().failures.operator, 3);
}

// The manager.

#[test]
fn of_many_loads_of_one_name_at_once_one_succeeds() {
    let manager = Manager::new(host());
    let bytes: Arc<[u8]> = wat::parse_str(MATH).unwrap().into();
    let loads: Vec<_> = (0..8)
        .map(|_| {
            let (manager, bytes) = (manager.clone(), bytes.clone());
            std::thread::spawn(move || manager.load_blocking("one", &*bytes, LoadOptions::new()).map(drop))
        })
        .collect();
    let ended: Vec<_> = loads.into_iter().map(|load| load.join().unwrap()).collect();
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
    assert!(ended.iter().filter_map(|ended| ended.as_ref().err()).all(|error| error.code() == "name-taken"));
    assert_eq!(manager.list().len(), 1);
}

#[test]
fn plugins_without_settings_of_their_own_stand_side_by_side() {
    let manager = Manager::new(host());
    manager.load_blocking("a", source(MATH), text()).unwrap();
    manager.load_blocking("b", source(MATH), text()).unwrap();
    assert_eq!(manager.list().len(), 2);
    assert_eq!(manager.unload_blocking("c").unwrap_err().code(), "not-loaded");
}

#[test]
fn a_busy_plugin_blocks_nobody_and_unloading_it_ends_it() {
    let (tell, told) = std::sync::mpsc::channel();
    let functions = Functions::of("env")
        .func("spins", move |_, ()| tell.send(()).map_err(|_| "nobody waits for it".into()));
    let manager = Manager::new(Host::builder().functions(functions).build().unwrap());
    let spins = r#"(module (import "env" "spins" (func $spins))
        (func (export "spin") (result i32) (call $spins) (loop (br 0)) (i32.const 0)))"#;
    let busy = manager.load_blocking("busy", source(spins), text()).unwrap();
    manager.load_blocking("other", source(MATH), text()).unwrap();
    let spinning = std::thread::spawn(move || busy.call_func_blocking::<(), i32>("spin", ()));
    told.recv().unwrap();
    assert_eq!(manager.info("busy").unwrap().state, PluginState::Running);
    assert_eq!(manager.call_func_blocking::<(), i32>("other", "answer", ()).unwrap(), 42);
    assert_eq!(manager.list().len(), 2);
    manager.unload_blocking("busy").unwrap();
    assert_eq!(manager.list().len(), 1);
    assert_eq!(spinning.join().unwrap().unwrap_err().code(), "cancelled");
}

#[test]
fn when_a_plugin_was_loaded_does_not_change_by_asking() {
    let manager = Manager::new(host());
    manager.load_blocking("math", source(MATH), text()).unwrap();
    let first = manager.info("math").unwrap();
    assert_eq!(first.last_call, None);
    manager.call_func_blocking::<(), i32>("math", "answer", ()).unwrap();
    let second = manager.info("math").unwrap();
    assert_eq!(second.loaded_at, first.loaded_at);
    assert!(second.last_call >= Some(first.loaded_at));
}

#[test]
fn plugins_are_found_by_what_they_may_do() {
    let manager = Manager::new(host());
    let wat = r#"(module (import "env" "host_random_bytes" (func (param i32 i32) (result i32))) (memory (export "memory") 1)
        (func (export "f")))"#;
    let random: Capability = "random".parse().unwrap();
    manager.load_blocking("draws", source(wat), text().allow(random.clone())).unwrap();
    manager.load_blocking("may_not", source(wat), text()).unwrap();
    manager.load_blocking("does_not", source(MATH), text().allow(random.clone())).unwrap();
    let found: Vec<String> = manager.with_capability(&random).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["draws"]);
}

// Configuration, and the cache.

#[test]
fn initial_configuration_reaches_the_plugin_at_its_first_call() {
    let config = OperatorConfig::new().plugin("math", [("units".to_owned(), "metric".to_owned())]);
    let mut services = Services::default();
    services.config = Arc::new(config);
    let host = Host::builder().services(services).build().unwrap();
    let wat = r#"(module (import "env" "host_get_config" (func $get (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 16) "units")
        (func (export "run") (result i32) (drop (call $get (i32.const 16) (i32.const 5) (i32.const 512)))
            (i32.load (i32.const 516))))"#;
    let plugin = load(&host, wat, text().name("math"));
    assert_eq!(plugin.call_blocking::<_, i32>("run", &()).unwrap().value, 6);
}

/// A module whose `f` gives a number.
fn gives(number: i32) -> Vec<u8> {
    wat::parse_str(format!(r#"(module (func (export "f") (result i32) (i32.const {number})))"#)).unwrap()
}

fn loaded(host: &Host, name: &str, bytes: &[u8]) -> (String, i32, Origin) {
    let plugin: Plugin = host.load_blocking(bytes, LoadOptions::new().name(name)).unwrap();
    let value = plugin.call_blocking::<_, i32>("f", &()).unwrap().value;
    (plugin.name().to_owned(), value, plugin.code_origin())
}

#[test]
fn a_name_that_is_used_again_never_gives_the_code_that_was_there_before() {
    let host = host();
    assert_eq!(loaded(&host, "a", &gives(1)), ("a".to_owned(), 1, Origin::Compiler));
    assert_eq!(loaded(&host, "a", &gives(2)), ("a".to_owned(), 2, Origin::Compiler));
    assert_eq!(loaded(&host, "a", &gives(1)), ("a".to_owned(), 1, Origin::Memory));
    assert_eq!(loaded(&host, "b", &gives(2)), ("b".to_owned(), 2, Origin::Memory), "by its own name");
}

#[test]
fn the_cache_can_be_switched_off_and_makes_room_for_what_was_used_last() {
    let without = Host::builder().memory_cache(0).build().unwrap();
    for _ in 0..2 {
        assert_eq!(loaded(&without, "a", &gives(1)).2, Origin::Compiler);
    }
    let host = host();
    loaded(&host, "a", &gives(1));
    host.clear_memory_cache();
    assert_eq!(loaded(&host, "a", &gives(1)).2, Origin::Compiler);
}
