//! The command as a whole process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use airlock_bench::{Clock, Contender, Figure, Report, Target};

use crate::guests::repository;

/// A plugin of fledge, as small as one can be that says something.
const SMALL: &str = r#"(module
    (import "fledge" "send" (func $send (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "{\"type\":\"output\",\"text\":\"hello\\n\"}")
    (func (export "_start") (call $send (i32.const 16) (i32.const 34))))"#;

/// The command that `scripts/bench` built beside this.
pub(crate) fn airlock() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("airlock")
}

pub(crate) fn run(report: &mut Report) {
    let home = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(airlock());
        command
            .args(arguments)
            .current_dir(repository("."))
            .env("AIRLOCK_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let run = |arguments: &[&str]| assert!(command(arguments).status().unwrap().success());
    let call = ["call", "plugins/text-processor", "transform", r#"{"text":"hello world","mode":"reverse"}"#];
    let greet = ["run", "plugins/greet/greet.wasm"];
    let sen = ["run", "plugins/sen-greet/sen_greet.wasm", "Ann"];
    let script = ["call", "plugins/script", "eval", r#"{"script":"40 + 2"}"#];
    run(&call);
    run(&greet);
    run(&sen);
    run(&script);
    report.compare(
        "whole process, plugins compiled before, wall time",
        Clock::Wall,
        vec![
            Contender::new("true", || assert!(Command::new("true").status().unwrap().success())),
            Contender::new("airlock --version", || run(&["--version"])),
            Contender::new("airlock call text-processor", || run(&call)).target(Target::Nanos(8e6)),
            Contender::new("airlock run greet", || run(&greet)),
            Contender::new("airlock run sen-greet", || run(&sen)).target(Target::Nanos(8e6)),
            Contender::new("airlock call script (4 MB of code)", || run(&script)),
        ],
    );
    let small = home.path().join("small.wasm");
    let wasm = wat::parse_str(SMALL).unwrap();
    std::fs::write(&small, &wasm).unwrap();
    let small = small.to_str().unwrap();
    let (hello, large) = (["run", "plugins/fledge-document"], ["run", "plugins/fledge-go"]);
    let cold = ["run", "--no-cache", small];
    [&hello[..], &large, &cold].into_iter().for_each(run);
    report.compare(
        "whole process, plugins of fledge, wall time",
        Clock::Wall,
        vec![
            Contender::new("true", || assert!(Command::new("true").status().unwrap().success())),
            Contender::new("airlock run fledge-document, compiled before", || run(&hello))
                .target(Target::Nanos(8e6)),
            Contender::new("airlock run fledge-go (2 MB), compiled before", || run(&large))
                .target(Target::Nanos(20e6)),
            Contender::new(&format!("airlock run of {} bytes, compiled anew", wasm.len()), || run(&cold))
                .target(Target::Nanos(40e6)),
        ],
    );
    let resident = |arguments: &[&str]| {
        // GNU time, which knows what the system counted.
        let output = Command::new("/usr/bin/time")
            .args(["-f", "%M"])
            .arg(airlock())
            .args(arguments)
            .current_dir(repository("."))
            .env("AIRLOCK_HOME", home.path())
            .stdin(Stdio::null())
            .output();
        let output = output.ok()?;
        String::from_utf8_lossy(&output.stderr).trim().lines().last()?.parse::<f64>().ok()
    };
    let figures: Vec<Figure> = [
        ("airlock call text-processor", &call[..]),
        ("airlock run greet", &greet),
        ("airlock run fledge-document", &hello),
        ("airlock call script", &script),
    ]
    .into_iter()
    .filter_map(|(who, arguments)| {
        let value = resident(arguments)? / 1024.0;
        Some(Figure { who: who.to_owned(), value, unit: "MiB", target: Some(Target::AtMost(20.0)) })
    })
    .collect();
    report.figures("resident memory of the process at its most", &figures);
}
