//! WASI preview 1 programs.

use airlock_host::{
    Capability, CapabilityKind, Host, LimitKind, LoadOptions, Plugin, Program, ProgramInput, StdinSource,
};

use crate::support::{MODES, repository};

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
fn standard_input_past_its_limit_stops_the_program() {
    let plugin = greet(LoadOptions::new().limit(LimitKind::Input, 10_000));
    for mode in MODES {
        let run = |length: usize| {
            let reader = std::io::Cursor::new(vec![b'x'; length]);
            mode.run(&plugin, ProgramInput::new().stdin(StdinSource::reader(reader)))
        };
        assert_eq!(run(10_000).unwrap().value.stdout.len(), 10_008, "{mode:?}");
        let error = run(10_001).expect_err("a byte too many");
        assert_eq!(error.to_string(), "limit `input` of 9.8 KiB hit while running", "{mode:?}");
        let bytes = ProgramInput::new().stdin(StdinSource::bytes(vec![b'x'; 10_001]));
        assert_eq!(mode.run(&plugin, bytes).expect_err("too many").code(), "limit-input", "{mode:?}");
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

    let grants = [CapabilityKind::Clock, CapabilityKind::Random].map(Capability::all_of);
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

#[test]
fn a_granted_folder_is_read_in_every_call_mode() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let wat = include_str!("../guests/cat.wat").replace("FLAGS", "0").replace("RIGHTS", "2");
    let grant = format!("fs.read={}::/", folder.path().display()).parse().unwrap();
    let plugin = crate::support::load(&crate::support::host(), &wat, crate::support::text().allow(grant));
    for mode in crate::support::MODES {
        let outcome = mode.run(&plugin, ProgramInput::new().args(["file"])).unwrap();
        assert_eq!((outcome.value.code, outcome.value.stdout), (0, b"content".to_vec()), "{mode:?}");
    }
}
