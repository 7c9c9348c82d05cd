//! WASI preview 1 programs.

use airlock_host::{
    Capability, CapabilityKind, Host, LoadOptions, Plugin, Program, ProgramInput, StdinSource,
};

use crate::support::{MODES, host, load, repository, text};

fn greet(options: LoadOptions) -> Plugin {
    Host::new().unwrap().load_blocking(repository("plugins/greet/greet.wasm"), options).unwrap()
}

fn run(plugin: &Plugin, args: &[&str]) -> Program {
    plugin.run_blocking(ProgramInput::new().args(args.iter().copied())).expect("it runs").value
}

fn stdout(program: &Program) -> &str {
    std::str::from_utf8(&program.stdout).unwrap()
}

#[test]
fn arguments_output_and_exit_code_pass_through_in_every_mode() {
    let plugin = greet(LoadOptions::new());
    for mode in MODES {
        let outcome = mode.run(&plugin, ProgramInput::new().args(["you", "--exit", "7"])).unwrap();
        let program = outcome.value;
        assert_eq!(
            (program.code, stdout(&program), program.stderr.as_slice()),
            (7, "hello, you\n", &[][..]),
            "{mode:?}"
        );
        assert_eq!(outcome.usage.output_bytes, 11);
    }
    let program = run(&plugin, &["a"]);
    assert_eq!((program.code, program.stderr.as_slice()), (0, &b"done\n"[..]));
}

#[test]
fn standard_input_comes_from_bytes_or_a_reader() {
    let plugin = greet(LoadOptions::new());
    for mode in MODES {
        let input = ProgramInput::new().stdin(StdinSource::bytes(&b"a\nb\n"[..]));
        assert_eq!(stdout(&mode.run(&plugin, input).unwrap().value), "hello, a\nhello, b\n", "{mode:?}");
        let long = "line\n".repeat(50_000);
        let input = ProgramInput::new().stdin(StdinSource::reader(std::io::Cursor::new(long)));
        let output = mode.run(&plugin, input).unwrap().value.stdout;
        assert_eq!(output.len(), "hello, line\n".len() * 50_000, "{mode:?}");
    }
}

#[test]
fn nothing_of_the_host_is_seen_without_a_grant() {
    let plugin = greet(LoadOptions::new());
    let program = run(&plugin, &["--env", "--ls", "--time"]);
    assert_eq!(stdout(&program), "0 variables\nno files: entity not found\n1577836800\n");
}

#[test]
fn random_and_time_repeat_unless_granted() {
    let closed = greet(LoadOptions::new());
    let first = run(&closed, &["--random", "--time"]);
    assert_eq!(first, run(&closed, &["--random", "--time"]));

    let grants = [CapabilityKind::Clock, CapabilityKind::Random].map(Capability::plain);
    let open = greet(grants.into_iter().fold(LoadOptions::new(), LoadOptions::allow));
    let one = run(&open, &["--random"]);
    assert_ne!(one, run(&open, &["--random"]));
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let seen: u64 = stdout(&run(&open, &["--time"])).trim().parse().unwrap();
    assert!(seen >= before, "{seen} is before {before}");
}

#[test]
fn what_was_printed_before_a_failure_comes_with_the_error() {
    let plugin = greet(LoadOptions::new());
    let error = plugin.run_blocking(ProgramInput::new().args(["you", "--panic"])).expect_err("it panics");
    assert_eq!(error.to_string(), "the plugin trapped while running: unreachable");
    let printed = error.printed().expect("it printed");
    assert_eq!(printed.stdout, b"hello, you\n");
    assert!(String::from_utf8_lossy(&printed.stderr).ends_with("asked to\n"));
}

const EXIT: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const CODE)) unreachable))"#;

#[test]
fn proc_exit_0_is_success_and_proc_exit_7_is_7() {
    for code in [0, 7, 126, 255] {
        let plugin = load(&host(), &EXIT.replace("CODE", &code.to_string()), text());
        assert_eq!(run(&plugin, &[]).code, code);
    }
}

#[test]
fn fd_renumber_then_open_leaves_the_host_standing() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (data (i32.const 0) "x")
        (func (export "_start")
            (drop (call $renumber (i32.const 1) (i32.const 5)))
            (drop (call $renumber (i32.const 0) (i32.const 2)))
            (drop (call $close (i32.const 5)))
            (call $exit (call $open (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 64)))))"#;
    let host = host();
    // 8 is `badf` and 54 `notdir`: no descriptor left is a folder.
    assert!([8, 54].contains(&run(&load(&host, wat, text()), &[]).code));
    crate::support::survives(&host);
}

#[test]
fn start_runs_once_and_so_does_every_constructor() {
    // Start, constructors and initialiser each print one letter.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $print (param i32)
            (i32.store8 (i32.const 100) (local.get 0)) (i32.store (i32.const 0) (i32.const 100))
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $start (call $print (i32.const 115))) (start $start)
        (func (export "_initialize") (call $print (i32.const 105)))
        (func (export "f") (call $print (i32.const 102))))"#;
    let plugin = load(&host(), wat, text());
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "f", &[]).unwrap().log, b"sif", "{mode:?}");
    }
}
