//! MoFA's page "WASM Plugin Development", step by step, with what it prints at each: the plugins are
//! its own, the host is Airlock.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use airlock_host::manager::{Happened, Manager, Notice};
use airlock_host::mofa::{PluginCapability, ResourceLimits};
use airlock_host::{AbiId, Error, ErrorKind, Functions, Host, LimitKind, LoadOptions};

/// Where its samples are.
const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins");

fn main() -> Result<(), Error> {
    create_and_execute()?;
    limits()?;
    manager()?;
    memory()?;
    capabilities()?;
    metrics()?;
    rust()?;
    globals()?;
    tables()?;
    linking()?;
    errors()
}

fn sample(name: &str) -> PathBuf {
    Path::new(PLUGINS).join("mofa-samples").join(name)
}

fn create_and_execute() -> Result<(), Error> {
    println!("== Create Runtime, Load Plugin, Execute Functions");
    let host = Host::new()?;
    let plugin = host.load_blocking(sample("math.wat"), LoadOptions::new().name("math-module"))?;
    println!("Compiled module: {}", plugin.name());
    println!("Size: {} bytes", plugin.size());
    println!("Compile time: {:.1?}", plugin.code_time());

    let mut session = plugin.session_blocking()?;
    let sum: i32 = session.call_func_blocking("add", (10, 5))?;
    println!("10 + 5 = {sum}");
    let factorial: i32 = session.call_func_blocking("factorial", 5)?;
    println!("5! = {factorial}");
    session.close_blocking()
}

fn limits() -> Result<(), Error> {
    println!("\n== Resource Limits");
    let limits = ResourceLimits {
        max_memory_pages: 16,
        max_table_elements: 1000,
        max_instances: 5,
        max_execution_time_ms: 1000,
        max_fuel: None,
        max_call_depth: 100,
    };
    let host = Host::builder().limits(&limits.overrides()).build()?;
    let plugin = host.load_blocking(sample("memory.wat"), LoadOptions::new())?;
    for (name, value) in plugin.limits().shown() {
        if ["memory", "table_elements", "instances", "timeout", "fuel", "stack"].contains(&name) {
            println!("{name}: {value}");
        }
    }
    Ok(())
}

fn manager() -> Result<(), Error> {
    println!("\n== Plugin Manager");
    let manager = Manager::new(Host::new()?);
    let mut events = manager.events();
    manager.load_blocking("greeter", sample("greet.wat"), LoadOptions::new())?;
    println!("Loaded plugin: greeter");
    let length: i32 = manager.call_func_blocking("greeter", "greet_len", ())?;
    println!("Greeting length: {length}");
    println!("Loaded plugins: {:?}", manager.list());
    println!("State: {}", manager.info("greeter")?.state);
    println!("Calls: {}", manager.get("greeter")?.metrics().calls);
    println!("Active plugins: {}", manager.list().len());
    println!("Total calls: {}", manager.metrics().calls);
    manager.unload_all_blocking();
    while let Some(notice) = events.try_next() {
        if let Notice::Event(event) = notice {
            let what = match event.what {
                Happened::Loaded { .. } => "loaded",
                Happened::Executed { .. } => "executed",
                Happened::Unloaded => "unloaded",
                _ => continue,
            };
            println!("Event: {} {what}", event.plugin);
        }
    }
    Ok(())
}

fn memory() -> Result<(), Error> {
    println!("\n== Plugin with Memory");
    let mut session =
        Host::new()?.load_blocking(sample("memory.wat"), LoadOptions::new())?.session_blocking()?;
    let size: i32 = session.call_func_blocking("get_memory_size", ())?;
    println!("Memory size: {size} page(s) ({}KB)", size * 64);
    session.call_func_blocking::<_, ()>("write_byte", (0, 42))?;
    let value: i32 = session.call_func_blocking("read_byte", 0)?;
    println!("Read value: {value}");
    println!("Read without a call: {}", session.memory()?.value::<u8>(0)?);
    Ok(())
}

fn capabilities() -> Result<(), Error> {
    println!("\n== Plugin Capabilities");
    // Asks for a page of this machine and gives the status of that.
    let wat = r#"(module (import "env" "host_http_request" (func $http (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 16) "{\"url\":\"http://127.0.0.1:1/\"}")
        (func (export "fetch") (result i32) (call $http (i32.const 16) (i32.const 29) (i32.const 512))))"#;
    let mut options = LoadOptions::new().wat(true).name("secure-plugin");
    for name in ["ReadConfig", "WriteState", "CallHostFunction"] {
        options = name.parse::<PluginCapability>()?.grant(options);
    }
    let plugin = Host::new()?.load_blocking(wat.as_bytes(), options)?;
    let status: i32 = plugin.call_blocking("fetch", &())?.value;
    println!("Without NetworkAccess a request gives: {status} (denied)");
    Ok(())
}

fn metrics() -> Result<(), Error> {
    println!("\n== Plugin Metrics");
    let manager = Manager::new(Host::new()?);
    let plugin = manager.load_blocking("math", sample("math.wat"), LoadOptions::new())?;
    for n in 1..=5 {
        plugin.call_func_blocking::<i32, i32>("factorial", n)?;
    }
    let metrics = plugin.metrics();
    println!("Total calls: {}", metrics.calls);
    println!("Success count: {}", metrics.successes);
    println!("Failed count: {}", metrics.calls - metrics.successes);
    println!("Avg execution time: {}ns", metrics.latency.average_ns);
    println!("Total execution time: {}ns", metrics.latency.total_ns);
    Ok(())
}

fn rust() -> Result<(), Error> {
    println!("\n== Compiling Rust to WASM");
    let options = LoadOptions::new().abi(AbiId::Raw);
    let plugin = Host::new()?.load_blocking(Path::new(PLUGINS).join("mofa-rust/mofa_rust.wasm"), options)?;
    let mut session = plugin.session_blocking()?;
    let length: i32 = session.call_with_bytes_blocking("process_data", b"some data")?;
    println!("process_data(\"some data\") = {length}");
    Ok(())
}

fn globals() -> Result<(), Error> {
    println!("\n== Global Variables");
    let mut session =
        Host::new()?.load_blocking(sample("counter.wat"), LoadOptions::new())?.session_blocking()?;
    for _ in 0..3 {
        let count: i32 = session.call_func_blocking("increment", ())?;
        println!("increment: {count}");
    }
    println!("The global itself: {}", session.global("counter")?);
    Ok(())
}

fn tables() -> Result<(), Error> {
    println!("\n== Tables and Indirect Calls");
    let mut session =
        Host::new()?.load_blocking(sample("table.wat"), LoadOptions::new())?.session_blocking()?;
    for (which, name) in ["add", "mul"].into_iter().enumerate() {
        let result: i32 = session.call_func_blocking("call_indirect", (which as i32, 6, 7))?;
        println!("{name}(6, 7) = {result}");
    }
    let beyond = session.call_func_blocking::<_, i32>("call_indirect", (2, 6, 7));
    println!("Beyond the table: {}", beyond.expect_err("there are two"));
    Ok(())
}

fn linking() -> Result<(), Error> {
    println!("\n== Module Linking");
    let logged = Arc::new(AtomicI32::new(0));
    let log = Functions::of("env").func("log", {
        let logged = logged.clone();
        move |call, message: i32| {
            println!("Plugin log of {}: {message}", call.plugin().name);
            logged.store(message, Ordering::Relaxed);
            Ok(())
        }
    });
    let host = Host::builder().functions(log).build()?;
    host.load_blocking(sample("log.wat"), LoadOptions::new())?.call_blocking::<_, ()>("run", &())?;
    assert_eq!(logged.load(Ordering::Relaxed), 42);
    Ok(())
}

fn errors() -> Result<(), Error> {
    println!("\n== Error Handling");
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "spin") (loop (br 0)))
        (func (export "fill") (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable))"#;
    let options = LoadOptions::new().wat(true);
    let options = options.limit(LimitKind::Timeout, 50_000_000).limit(LimitKind::Memory, 1 << 20);
    let plugin = Host::new()?.load_blocking(wat.as_bytes(), options)?;
    for function in ["spin", "fill", "factorial"] {
        match plugin.call_blocking::<_, ()>(function, &()).map(drop) {
            Ok(()) => println!("Result"),
            Err(error) => match error.kind() {
                ErrorKind::Deadline { .. } => println!("Plugin execution timed out"),
                ErrorKind::Limit { limit: LimitKind::Memory, .. } => println!("Plugin ran out of memory"),
                ErrorKind::UnknownFunction { function, .. } => println!("Function not found: {function}"),
                _ => println!("Error: {error}"),
            },
        }
    }
    Ok(())
}
