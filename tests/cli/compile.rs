//! Compiling in a process of its own, and keeping what was compiled.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use airlock_host::{Error, Host, LoadOptions, Plugin, Source, Worker};

use crate::support::{REVERSE, TEXT, airlock, describe, file};

const ANSWER: &str = "{\"result\":\"dlrow olleh\",\"length\":11,\"hash\":84918698004773316}\n";

fn load(worker: Worker, wat: &str, flags: &[(&str, &str)]) -> Result<Plugin, Error> {
    let options = flags.iter().fold(LoadOptions::new().wat(true), |options, (name, value)| {
        let kind: airlock_host::LimitKind = name.parse().unwrap();
        options.limit(kind, kind.read(value).unwrap())
    });
    Host::builder()
        .slots(2)
        .compiler(worker)
        .build()
        .unwrap()
        .load_blocking(Source::from(wat.as_bytes()), options)
}

fn real() -> Worker {
    Worker::new(env!("CARGO_BIN_EXE_airlock"), ["compile-worker"])
}

/// A worker that does this instead of its work.
fn shell(script: &str) -> Worker {
    Worker::new("/bin/sh", ["-c", script])
}

const SEVEN: &str = r#"(module (func (export "f") (result i32) i32.const 7))"#;

/// A module with so many functions that take a compiler some time.
fn big(functions: usize) -> String {
    let body = "(local.set 0 (i32.mul (local.get 0) (i32.load (local.get 0))))".repeat(60);
    let function = format!("(func (param i32) (result i32) {body} (local.get 0))");
    format!("(module (memory 1) (func (export \"f\")) {})", function.repeat(functions))
}

#[test]
fn a_worker_compiles_for_every_kind_of_engine() {
    for flags in [&[][..], &[("fuel", "1000")]] {
        let plugin = load(real(), SEVEN, flags).unwrap();
        assert_eq!(plugin.call_blocking::<_, i32>("f", &()).unwrap().value, 7);
    }
}

#[test]
fn a_worker_is_killed_at_the_deadline() {
    let start = Instant::now();
    let error = load(real(), &big(6000), &[("compile_time", "300ms")]).expect_err("slow");
    assert_eq!(error.to_string(), "limit `compile_time` of 300ms hit while compiling");
    let error = load(shell("sleep 600"), SEVEN, &[("compile_time", "200ms")]).expect_err("it sleeps");
    assert_eq!(error.code(), "limit-compile-time");
    // Its output is closed and it goes on.
    let script = "exec >&- 2>&-; sleep 600";
    let error = load(shell(script), SEVEN, &[("compile_time", "200ms")]).expect_err("it sleeps");
    assert_eq!(error.code(), "limit-compile-time");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_worker_has_no_more_memory_than_it_is_allowed() {
    let error = load(real(), &big(6000), &[("compile_memory", "150MiB")]).expect_err("too little");
    assert_eq!(error.to_string(), "limit `compile_memory` of 150.0 MiB hit while compiling");
    assert_eq!(error.exit_code(), 123);
    // Not enough to begin with.
    let error = load(real(), SEVEN, &[("compile_memory", "1MiB")]).expect_err("too little");
    assert_eq!(error.code(), "limit-compile-memory", "{error:?}");
}

#[test]
fn a_worker_that_fails_is_told_from_one_that_refuses() {
    let failed = |script: &str| {
        let error = load(shell(script), SEVEN, &[]).expect_err("it fails");
        assert_eq!((error.code(), error.exit_code()), ("host", 125), "{script}");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    assert_eq!(
        failed("cat >/dev/null; echo no luck >&2; exit 9"),
        "the compile worker failed: exit status: 9: no luck"
    );
    assert_eq!(failed("kill -KILL $$"), "the compile worker failed: signal: 9 (SIGKILL): ");
    assert!(failed("cat >/dev/null; echo junk").starts_with("cannot load compiled code"));
    // It does not even read what it should compile.
    assert!(failed("exit 0").starts_with("cannot load compiled code"));
    let missing =
        load(Worker::new("/nonexistent/airlock", ["compile-worker"]), SEVEN, &[]).expect_err("missing");
    assert_eq!(missing.to_string(), "cannot start the compile worker `/nonexistent/airlock`");
}

#[test]
fn a_worker_that_floods_is_cut_off() {
    let start = Instant::now();
    let error = load(shell("cat >/dev/null; exec cat /dev/zero"), SEVEN, &[]).expect_err("too much");
    assert_eq!(error.code(), "host");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_worker_sees_nothing_of_the_environment() {
    // Safe to ask for: the variable is set for every process cargo starts.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let script = r#"cat >/dev/null; echo "<$CARGO_MANIFEST_DIR>" >&2; exit 5"#;
    let error = load(shell(script), SEVEN, &[]).expect_err("it fails");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert_eq!(cause, "exit status: 5: <>");
}

#[test]
fn a_worker_says_why_it_refuses() {
    let mut command = airlock();
    let output = command.args(["compile-worker", r#"{"key":{"fule":true}}"#]).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("unknown field `fule`"));
    let output = airlock().arg("compile-worker").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "nothing is no module: {}", describe(&output));
}

/// `airlock` with a home of its own.
fn at_home(home: &Path) -> Command {
    let mut command = airlock();
    command.env("AIRLOCK_HOME", home);
    command
}

fn call(home: &Path) -> Command {
    let mut command = at_home(home);
    command.args(["-v", "call", TEXT, "transform", REVERSE]);
    command
}

/// Where the code came from, by the trace.
fn origin(stderr: &[u8]) -> String {
    let trace = String::from_utf8_lossy(stderr).into_owned();
    let (_, rest) = trace.split_once("origin=").expect("a trace");
    rest.split_whitespace().next().expect("a word").to_owned()
}

#[test]
fn cache_many_processes_compile_a_plugin_at_once_and_one_of_them_does() {
    let home = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8)
        .map(|_| call(home.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut origins = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWER, "{}", describe(&output));
        origins.push(origin(&output.stderr));
    }
    origins.sort();
    assert_eq!(origins, ["Cache", "Cache", "Cache", "Cache", "Cache", "Cache", "Cache", "Compiler"]);
}

#[test]
fn cache_process_killed_while_compiling_leaves_nothing_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let mut first = call(home.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Until it has the lock, or is done already.
    while std::fs::read_dir(home.path().join("code")).map_or(0, Iterator::count) == 0 {
        let ended = first.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    for _ in 0..2 {
        let output = call(home.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWER, "{}", describe(&output));
    }
    assert_eq!(origin(&call(home.path()).output().unwrap().stderr), "Cache");
}

#[test]
fn cache_disk_full_costs_a_compilation_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    // No file may grow past 400 blocks, which the code is larger than; trying is an error
    // instead of a signal. (What wasmtime keeps in memory files is smaller.)
    let script = format!("trap '' XFSZ; ulimit -f 400; exec {} \"$@\"", env!("CARGO_BIN_EXE_airlock"));
    let full = || {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script, "sh", "-v", "call", TEXT, "transform", REVERSE])
            .current_dir(crate::support::repository())
            .env("AIRLOCK_HOME", home.path());
        command.output().unwrap()
    };
    for _ in 0..2 {
        let output = full();
        assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWER, "{}", describe(&output));
        assert_eq!(origin(&output.stderr), "Compiler");
    }
    let files = std::fs::read_dir(home.path().join("code")).unwrap().flat_map(|folder| {
        std::fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().file_name())
    });
    let torn: Vec<_> = files.filter(|name| !name.to_string_lossy().ends_with(".shape")).collect();
    assert_eq!(torn, Vec::<std::ffi::OsString>::new());
}

#[test]
fn cache_that_cannot_be_trusted_is_said_and_not_used() {
    let home = tempfile::tempdir().unwrap();
    assert!(call(home.path()).output().unwrap().status.success());
    let code = home.path().join("code");
    std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = at_home(home.path()).args(["call", TEXT, "transform", REVERSE]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWER);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "warning: the compile cache cannot use `{}`: others can write to it (mode 0777)\n",
            code.display()
        )
    );
    assert_eq!(origin(&call(home.path()).output().unwrap().stderr), "Compiler");
}

#[test]
fn the_cache_is_listed_verified_and_cleared() {
    let home = tempfile::tempdir().unwrap();
    let shown = |args: &[&str]| {
        let output = at_home(home.path()).args(args).output().unwrap();
        describe(&output).replace(home.path().to_str().unwrap(), "HOME")
    };
    insta::assert_snapshot!(shown(&["cache", "list"]), @r"
    exit 0
    --- stdout
    0 artifacts, 0 B in HOME/code
    ");
    let (_folder, seven) = file("seven.wat", SEVEN.as_bytes());
    assert!(at_home(home.path()).args(["call", &seven, "f"]).output().unwrap().status.success());
    let listed: serde_json::Value = {
        let output = at_home(home.path()).args(["--json", "cache", "list"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!((&listed["ok"], &listed["entries"][0]["codes"]), (&true.into(), &1.into()));
    assert_eq!(listed["entries"][0]["digest"].as_str().map(str::len), Some(64));
    assert!(shown(&["cache", "verify"]).starts_with("exit 0\n--- stdout\n2 files genuine, "));
    let code = std::fs::read_dir(home.path().join("code")).unwrap().next().unwrap().unwrap().path();
    let cwasm = std::fs::read_dir(code).unwrap().map(|file| file.unwrap().path());
    let cwasm = cwasm.into_iter().find(|path| path.extension().unwrap() == "cwasm").unwrap();
    std::fs::write(&cwasm, "junk").unwrap();
    let verified = shown(&["cache", "verify"]);
    assert!(verified.starts_with("exit 1\n--- stdout\n1 file genuine, "), "{verified}");
    assert!(verified.contains("warning: removed `HOME/code/") && verified.ends_with("`: its tag is wrong\n"));
    assert!(shown(&["cache", "clear"]).starts_with("exit 0\n--- stdout\nremoved 1 file, "));
    assert_eq!(shown(&["cache", "list"]), "exit 0\n--- stdout\n0 artifacts, 0 B in HOME/code\n");
}

#[test]
fn the_cache_can_be_left_aside() {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = call(home.path()).arg("--no-cache").output().unwrap();
        assert_eq!(origin(&output.stderr), "Compiler");
    }
    assert!(!home.path().join("code").exists());
    std::fs::write(home.path().join("airlock.toml"), "[cache]\nenabled = false\n").unwrap();
    assert_eq!(origin(&call(home.path()).output().unwrap().stderr), "Compiler");
    assert!(!home.path().join("code").exists());
    insta::assert_snapshot!(describe(&at_home(home.path()).args(["cache", "list"]).output().unwrap()), @r"
    exit 2
    --- stderr
    error: `cache`: it is switched off, or there is no folder for it
    hint: `AIRLOCK_HOME` or `HOME` says where it belongs; `cache.enabled` switches it
    ");
}
