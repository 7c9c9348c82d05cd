//! `airlock watch` and `airlock metrics`: folders of plugins that run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::support::{airlock, describe, follows, output, repository};

/// Answers with its number.
fn wasm(number: u32) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 16) "{number}")
            (func (export "malloc") (param i32) (result i32) (i32.const 64))
            (func (export "answer") (param i32 i32) (result i32) (i32.const 16)))"#
    ))
    .unwrap()
}

fn put(folder: &Path, name: &str, number: u32, permissions: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("p.wasm"), wasm(number)).unwrap();
    let manifest = format!(
        r#"{{"name":"{name}","version":"1.0.0","entryPoint":"p.wasm","permissions":{{{permissions}}}}}"#
    );
    std::fs::write(path.join("cortex.json"), manifest).unwrap();
}

/// A running `airlock watch`, or another verb that does not end by itself.
pub(crate) struct Watching {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
    /// What was seen before is not looked for.
    from: usize,
    _home: tempfile::TempDir,
}

impl Watching {
    fn start(arguments: &[&str], stdin: Stdio) -> (Self, Option<ChildStdin>) {
        let mut command = airlock();
        command.arg("watch").args(arguments);
        Watching::run(command, stdin)
    }

    pub(crate) fn run(mut command: Command, stdin: Stdio) -> (Self, Option<ChildStdin>) {
        let home = tempfile::tempdir().unwrap();
        command.env("AIRLOCK_HOME", home.path());
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        let typed = child.stdin.take();
        (Watching { child, lines, seen: Vec::new(), from: 0, _home: home }, typed)
    }

    /// Does something, after which [`Watching::until`] looks for what is said from then on: of the
    /// streams and threads that say something, any may be first.
    pub(crate) fn after(&mut self, work: impl FnOnce()) {
        self.seen.extend(self.lines.try_iter());
        self.from = self.seen.len();
        work();
    }

    /// Types a line, and waits for what is said to it.
    fn say(&mut self, typed: &mut ChildStdin, line: &str, expected: &[&str]) {
        self.after(|| writeln!(typed, "{line}").unwrap());
        for expected in expected {
            self.until(expected);
        }
    }

    /// Waits for a line with this in it.
    pub(crate) fn until(&mut self, what: &str) -> String {
        let mut looked = self.from;
        loop {
            if let Some(line) = self.seen[looked..].iter().find(|line| line.contains(what)) {
                return line.clone();
            }
            looked = self.seen.len();
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("`{what}` is not said: {:#?}", self.seen),
            }
        }
    }

    /// Waits until it has said everything.
    pub(crate) fn rest(&mut self) {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) {
            self.seen.push(line);
        }
    }

    pub(crate) fn end(mut self) -> i32 {
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| panic!("it was ended by {status}"))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_typed_is_called_and_what_happens_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "answers", 42, "");
    std::fs::copy(repository().join("plugins/greet/greet.wasm"), folder.path().join("greet.wasm")).unwrap();
    let metrics = folder.path().join("metrics.json");
    let arguments = [folder.path().to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
    let (mut watching, typed) = Watching::start(&arguments, Stdio::piped());
    let mut typed = typed.unwrap();
    watching.until("greet loaded");
    assert!(watching.seen[0].contains(" answers loaded ("), "{:?}", watching.seen);
    watching.say(&mut typed, "call answers answer '1'", &["42", "answers answer: ok in "]);
    watching.say(&mut typed, "run greet", &["greet _start: ok in "]);
    watching.say(&mut typed, "list", &["answers  1.0.0  json"]);
    watching.say(&mut typed, "metrics", &["in all "]);
    watching.say(&mut typed, "reload answers", &["`answers` is what it was"]);
    // What is wrong is said, and nothing ends.
    watching.say(
        &mut typed,
        "call answers answr 1",
        &["error: `answers` has no function `answr`", "answers answr: unknown-function"],
    );
    watching.say(&mut typed, "call nobody answer", &["error: no plugin is loaded as `nobody`"]);
    watching.say(&mut typed, "call greet answer", &["error: a plugin of the `command` ABI cannot be called"]);
    watching.say(&mut typed, "cal answers", &["hint: `help` shows what can be typed here"]);
    watching.say(&mut typed, "call 'answers", &["error: `call 'answers`: missing closing quote"]);
    watching.say(&mut typed, "help", &["rollback  Go back to the bytes before the last reload"]);
    watching.after(|| put(folder.path(), "answers", 43, ""));
    watching.until("answers reloaded (");
    watching.say(&mut typed, "call answers answer 1", &["43", "answers answer: ok in "]);
    watching.say(&mut typed, "rollback answers", &["answers reloaded ("]);
    watching.say(&mut typed, "restart answers", &[]);
    watching.say(&mut typed, "call answers answer 1", &["42", "answers answer: ok in "]);
    watching.say(&mut typed, "quit", &[]);
    watching.until("greet unloaded");
    assert_eq!(watching.end(), 0);

    let shown = describe(&output(&["metrics", metrics.to_str().unwrap()]));
    let expected = "exit 0\n--- stdout\nplugin   calls  failed  denied  restarts  p50 …\nanswers  4      1 …\n\
                    greet    1      0 …\nin all   5      1 …";
    follows(&shown, expected).unwrap_or_else(|why| panic!("{why}: {shown}"));
    let json = output(&["metrics", metrics.to_str().unwrap(), "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let total = &json["metrics"]["total"];
    assert_eq!(
        (&json["ok"], &total["calls"], &total["failures"]["operator"]),
        (&true.into(), &5.into(), &1.into())
    );
}

#[test]
fn it_goes_on_with_nothing_typed_until_it_is_told_to_end() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = [folder.path().to_str().unwrap(), "--reload", "debounced=50ms", "--json"];
        let (mut watching, _) = Watching::start(&arguments, Stdio::null());
        // It has begun to look by the time that it says so of this one.
        std::fs::write(folder.path().join("p.wasm"), wasm(1)).unwrap();
        let loaded = watching.until(r#""event":"loaded""#);
        let event: Value = serde_json::from_str(&loaded).unwrap();
        assert_eq!((&event["schema"], &event["plugin"]), (&1.into(), &"p".into()), "{loaded}");
        std::fs::write(folder.path().join("p.wasm"), wasm(2)).unwrap();
        watching.until(r#""event":"reloaded""#);
        rustix::process::kill_process(rustix::process::Pid::from_child(&watching.child), signal).unwrap();
        watching.until(r#""event":"unloaded""#);
        assert_eq!(watching.end(), 0, "{signal:?}");
    }
}

#[test]
fn lines_of_json_are_answers_errors_and_events() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "answers", 42, "");
    let (mut watching, typed) = Watching::start(&[folder.path().to_str().unwrap(), "--json"], Stdio::piped());
    let mut typed = typed.unwrap();
    watching.until(r#""event":"loaded""#);
    write!(typed, "call answers answer 1\ncall answers nothing\nlist\nmetrics\n").unwrap();
    // The end of what was typed is the end.
    drop(typed);
    watching.rest();
    assert!(watching.seen.iter().any(|line| line.contains(r#""event":"unloaded""#)), "{:?}", watching.seen);
    let objects: Vec<Value> = watching.seen.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with = |key: &str| objects.iter().find(|object| object.get(key).is_some()).unwrap();
    assert_eq!((&with("value")["value"], &with("value")["ok"]), (&42.into(), &true.into()));
    assert_eq!(with("error")["error"]["code"], "unknown-function");
    assert_eq!(
        (&with("plugins")["plugins"][0]["name"], &with("plugins")["plugins"][0]["state"]),
        (&"answers".into(), &"ready".into())
    );
    assert_eq!(with("metrics")["metrics"]["plugins"]["answers"]["calls"], 2);
    assert_eq!(watching.end(), 0);
}

#[test]
fn bytes_that_ask_for_more_wait_for_somebody_to_agree() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "asks", 1, r#""network":["https://a.example"]"#);
    let path = folder.path().to_str().unwrap();
    let flags = [path, "--allow", "net=*", "--reload", "debounced=50ms"];
    let (mut watching, _typed) = Watching::start(&flags, Stdio::piped());
    watching.until("asks loaded");
    put(folder.path(), "asks", 2, r#""network":["https://a.example"]"#);
    watching.until("asks not reloaded: `net=https://a.example` is needed and not granted");
    drop(watching);
    let (mut watching, _typed) =
        Watching::start(&[flags.as_slice(), &["--keep-allowed"]].concat(), Stdio::piped());
    watching.until("asks loaded");
    put(folder.path(), "asks", 3, r#""network":["https://a.example"]"#);
    watching.until("asks reloaded");
    put(folder.path(), "asks", 4, r#""network":["https://a.example","https://b.example"]"#);
    watching.until("asks for more: `net=https://b.example`");
}

#[test]
fn a_plugin_that_claims_an_installed_ones_name_gets_nothing_under_it() {
    let (folder, installed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(installed.path(), "mine", 1, "");
    put(folder.path(), "mine", 2, r#""network":["https://a.example"]"#);
    let home = tempfile::tempdir().unwrap();
    let with_home = |arguments: &[&str]| {
        let mut command = airlock();
        command.args(arguments).env("AIRLOCK_HOME", home.path());
        command
    };
    let source = installed.path().join("mine");
    assert!(with_home(&["install", source.to_str().unwrap()]).output().unwrap().status.success());
    let mut command = with_home(&["watch", folder.path().to_str().unwrap(), "--allow", "net=*"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"list\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("mine not loaded: a plugin `mine` is installed already"), "{said}");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = |arguments: &[&str], exit: i32, reason: &str| {
        let output = output(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(exit) && text.contains(reason), "{arguments:?}: {text}");
    };
    refused(&["watch"], 2, "required arguments were not provided");
    refused(&["watch", path, "--reload", "sometimes"], 2, "it is one of `immediate`, `debounced[=TIME]`");
    refused(&["watch", path, "--reload", "idle=soon"], 2, "`soon` is no time such as `250ms` or `5s`");
    refused(
        &["watch", path, "--on-crash", "back-off=9s..1s"],
        2,
        "its first time is longer than its longest",
    );
    refused(&["watch", path, "--on-crash", "back-off=1s"], 2, "its times are written `1s..60s`");
    refused(&["watch", path, "--name", "one"], 2, "cannot be the name of every plugin of a folder");
    let file = folder.path().join("metrics.json");
    let name = file.to_str().unwrap();
    refused(&["metrics", name], 125, "cannot read");
    std::fs::write(&file, "{\"schema\":1,\n\"total\":7}").unwrap();
    refused(&["metrics", name], 125, "it is no metrics of `airlock watch --metrics`");
    std::fs::write(&file, r#"{"schema":2,"taken_at":0,"total":{},"plugins":{}}"#).unwrap();
    refused(&["metrics", name], 125, "it is of version 2, and this one reads 1");
    refused(
        &["watch", path, "--metrics", "/nowhere/at/all.json"],
        125,
        "the metrics cannot be written there",
    );
}
