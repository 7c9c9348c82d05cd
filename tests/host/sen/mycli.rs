//! The example application: its own commands and plugins' in one command line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use super::{Module, packed};
use crate::support::repository;

fn mycli(plugins: &Path) -> Command {
    let tests = std::env::current_exe().unwrap();
    let built: PathBuf = tests.ancestors().nth(2).unwrap().join("examples/mycli");
    let mut command = Command::new(built);
    command.env("MYCLI_PLUGINS", plugins);
    command
}

#[test]
fn one_help_text_has_its_own_commands_and_those_of_plugins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(repository("plugins/sen-greet/sen_greet.wasm"), folder.path().join("a.wasm")).unwrap();
    // What needs something that nobody grants is no command.
    std::fs::copy(repository("plugins/sen-cat/sen_cat.wasm"), folder.path().join("b.wasm")).unwrap();
    let output = mycli(folder.path()).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(
        commands,
        [
            "  plugins  Shows the plugins",
            "  shell    Reads commands, a line each",
            "  greet    Greets somebody"
        ]
    );
    let output = mycli(folder.path()).args(["greet", "--style", "loud", "Ann"]).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"HELLO, ANN!\n"[..], Some(0)));
    let output = mycli(folder.path()).args(["greet", "--style", "odd"]).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(2)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[possible values: plain, loud]"));
}

struct Shell {
    child: Child,
    typed: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Shell {
    /// What `greet` says, up to what `echo` says after it.
    fn greet(&mut self) -> String {
        self.typed.write_all(b"greet\necho that is all\n").unwrap();
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it has ended: {all}");
            if line == "Echo: that is all\n" {
                return all;
            }
            all.push_str(&line);
        }
    }

    fn until(&mut self, says: &str) {
        let began = std::time::Instant::now();
        while self.greet() != says {
            assert!(began.elapsed().as_secs() < 60, "`{says}` is never said");
        }
    }
}

#[test]
fn what_is_put_there_while_it_runs_is_a_command_and_what_goes_is_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(repository("plugins/sen-echo/echo.wasm"), folder.path().join("echo.wasm")).unwrap();
    let mut child = mycli(folder.path())
        .arg("shell")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (typed, said) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut shell = Shell { child, typed, said };
    assert_eq!(shell.greet(), "");
    let path = folder.path().join("greet.wasm");
    for text in ["one", "two"] {
        let module = Module { answer: packed(&json!({ "Success": text })), ..Module::new("greet") };
        std::fs::write(&path, wat::parse_str(module.wat()).unwrap()).unwrap();
        shell.until(&format!("{text}\n"));
    }
    std::fs::remove_file(&path).unwrap();
    shell.until("");
    drop(shell.typed);
    assert!(shell.child.wait().unwrap().success());
}
