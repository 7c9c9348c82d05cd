use insta::assert_snapshot;

use crate::support::{GREET, describe, show, with_stdin};

#[test]
fn a_program_gets_arguments_and_its_exit_code_passes_through() {
    assert_snapshot!(show(&["run", GREET, "you"]), @r"
    exit 0
    --- stdout
    hello, you
    --- stderr
    done
    ");
    assert_snapshot!(show(&["run", GREET, "--", "--exit", "7"]), @"exit 7");
}

#[test]
fn a_program_reads_the_pipe_it_is_given() {
    let output = with_stdin(&["run", GREET], b"one\ntwo\n");
    assert_snapshot!(describe(&output), @r"
    exit 0
    --- stdout
    hello, one
    hello, two
    --- stderr
    done
    ");
}

#[test]
fn clock_and_random_are_granted_by_name() {
    assert_snapshot!(show(&["run", GREET, "--", "--time"]), @r"
    exit 0
    --- stdout
    1577836800
    --- stderr
    done
    ");
    let real = show(&["run", "--allow", "clock", GREET, "--", "--time"]);
    assert!(real.starts_with("exit 0") && !real.contains("1577836800"), "{real}");
}

#[test]
fn json_holds_code_and_both_streams() {
    let output = with_stdin(&["--json", "run", GREET, "you"], b"");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&value["code"], &value["stdout"], &value["stderr"]),
        (&0.into(), &"hello, you\n".into(), &"done\n".into())
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn what_was_printed_before_a_failure_is_shown() {
    let text = show(&["run", GREET, "--", "you", "--panic"]);
    assert!(text.starts_with("exit 122\n--- stdout\nhello, you\n--- stderr\n"), "{text}");
    assert!(text.contains("asked to\nerror: the plugin trapped while running: unreachable\n  at "), "{text}");
    let json = show(&["--json", "run", GREET, "--", "you", "--panic"]);
    assert!(json.contains(r#""stdout":"hello, you\n""#), "{json}");
}

/// A server that answers one line with itself; where it is.
fn echo() -> u16 {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
    });
    port
}

#[test]
fn a_component_connects_to_whom_it_may() {
    let component = "plugins/tcp-echo/tcp-echo.wasm";
    let port = echo();
    let granted = format!("net=tcp://127.0.0.1:{port}");
    assert_snapshot!(
        show(&["run", "--allow", &granted, component, "--", &format!("127.0.0.1:{port}"), "over TCP"]),
        @"
    exit 0
    --- stdout
    over TCP
    "
    );
    let inspected = show(&["inspect", component]);
    assert!(inspected.contains("\nkind       component\n"), "{inspected}");
    assert_snapshot!(show(&["run", component, "--", "127.0.0.1:9"]), @"
    exit 1
    --- stderr
    tcp-echo: connecting: access-denied
    ");
    assert_snapshot!(show(&["run", "--allow", "fs.read=.", component, "--", "files"]), @"
    exit 0
    --- stdout
    0
    --- stderr
    warning: `--allow fs.read=.` grants nothing: the plugin does not ask for it
    ");
}
