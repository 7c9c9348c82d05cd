//! Resident memory: of plugins, and of instances that wait.
//!
//! Each count is taken in a process of its own, which has nothing else to do.

use std::process::Command;

use airlock_bench::{Figure, Report, Target};
use airlock_host::{Host, LoadOptions, Plugin, Source};

use crate::cortex;
use crate::guests::{ADD, ECHO, load, repository};
use crate::plugins::{managed, unloaded};

/// Keeps a page of memory, and writes to it.
const SMALL: &str = r#"(module (memory (export "memory") 1)
    (func (export "f") (i32.store (i32.const 64) (i32.const 1))))"#;

/// The argument that makes this a child.
pub(crate) const CHILD: &str = "memory-of";

pub(crate) fn run(report: &mut Report) {
    let none = resident("plugins", 0);
    let plugins = [1, 100, 1000].map(|count| Figure {
        who: format!("airlock, {count} plugins, in all"),
        value: (resident("plugins", count) - none) / 1024.0,
        unit: "KiB",
        target: None,
    });
    report.figures("memory of small plugins, beyond the host's own", &plugins);
    for (what, name) in [("small", "one page of memory"), ("rust", "text-processor")] {
        let few = resident(what, 10);
        let each = (resident(what, 1010) - few) / 1000.0;
        report.figures(
            &format!("memory of an idle session after a call, {name}"),
            &[Figure {
                who: "airlock, each".to_owned(),
                value: each / 1024.0,
                unit: "KiB",
                target: (what == "small").then_some(Target::AtMost(16.0)),
            }],
        );
    }
}

/// Bytes that a process with so many of `what` has resident.
pub(crate) fn resident(what: &str, count: usize) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, what, &count.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Makes so many, and prints how many bytes this process has resident.
#[expect(clippy::print_stdout, reason = "this is how a child answers")]
pub(crate) fn child(arguments: &[String]) {
    let [what, count] = arguments else { panic!("what and how many") };
    let count: usize = count.parse().unwrap();
    let host = Host::builder().limit(airlock_host::LimitKind::HostMemory, 64 << 30).build().unwrap();
    let mut manager = None;
    let mut plugins: Vec<Plugin> = Vec::new();
    let mut sessions = Vec::new();
    let options = || LoadOptions::new().limit(airlock_host::LimitKind::Instances, 100_000);
    match what.as_str() {
        "plugins" => plugins.extend((0..count).map(|index| {
            // Another digest each, so that nothing is shared.
            load(&host, &ADD.replace("(module", &format!("(module (func (result i32) i32.const {index})")))
        })),
        "managed" => manager = Some(managed(&host, count, SMALL)),
        "managed-fresh" => manager = Some(managed(&host, count, ECHO)),
        "unloaded" => {
            println!("{}", unloaded(&host, count, SMALL));
            return;
        }
        "small" => {
            let plugin = host.load_blocking(Source::from(SMALL.as_bytes()), options().wat(true)).unwrap();
            for _ in 0..count {
                let mut session = plugin.session_blocking().unwrap();
                session.call_func_blocking::<(), ()>("f", ()).unwrap();
                sessions.push(session);
            }
        }
        example if example.starts_with("example-") => {
            let folder = repository(cortex::example(example.trim_start_matches("example-")));
            let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let file = file.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "wasm"));
            let wasm = std::fs::read(file.unwrap()).unwrap();
            for index in 0..count {
                // Another digest each, by a custom section, so that nothing is shared.
                let section = [&[0, 7, 2][..], b"no", &u32::try_from(index).unwrap().to_le_bytes()].concat();
                let bytes = [wasm.as_slice(), &section].concat();
                let plugin = host.load_blocking(bytes, options()).unwrap();
                let mut session = plugin.session_blocking().unwrap();
                let input = serde_json::json!({ "text": "hello", "mode": "reverse" });
                session.call_blocking::<_, serde_json::Value>("transform", &input).unwrap();
                sessions.push(session);
                plugins.push(plugin);
            }
        }
        _ => {
            let plugin = host.load_blocking(repository("plugins/text-processor"), options()).unwrap();
            for _ in 0..count {
                let mut session = plugin.session_blocking().unwrap();
                let input = serde_json::json!({ "text": "hello", "mode": "reverse" });
                session.call_blocking::<_, serde_json::Value>("transform", &input).unwrap();
                sessions.push(session);
            }
        }
    }
    println!("{}", resident_now());
    drop((plugins, sessions, manager));
}

pub(crate) fn resident_now() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
