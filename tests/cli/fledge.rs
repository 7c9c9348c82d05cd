//! Plugins of fledge as a person meets them. The tests called `win_…` are of a list that
//! `tests/host/fledge/wins.rs` has the others of.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::plugins::Place;
use crate::support::{describe, repository};
use crate::terminal::Terminal;

const LINT: &str = "plugins/fledge-lint";
const MESSAGES: &str = "plugins/fledge-messages";

/// A folder with a fledge plugin that prints this; its path.
fn put(place: &Place, name: &str, version: &str, says: &str, more: &str) -> String {
    let folder = place.path(name);
    std::fs::create_dir_all(&folder).unwrap();
    let message = format!(r#"{{\"type\":\"output\",\"text\":\"{says}\\n\"}}"#);
    let length = message.replace('\\', "").len() + 1;
    let wasm = wat::parse_str(format!(
        r#"(module (import "fledge" "send" (func $send (param i32 i32))) (memory (export "memory") 1)
            (data (i32.const 16) "{message}")
            (func (export "_start") (call $send (i32.const 16) (i32.const {length}))))"#,
        message = message.replace(r"\\n", r"\5cn")
    ));
    std::fs::write(folder.join("p.wasm"), wasm.unwrap()).unwrap();
    let manifest = format!(
        "[plugin]\nname = \"{name}\"\nversion = \"{version}\"\nprotocol = \"fledge-v1\"\nruntime = \"wasm\"\n\
         [[commands]]\nname = \"{name}-command\"\nbinary = \"p.wasm\"\n{more}"
    );
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// A project with something to be found in it.
fn project(place: &Place) -> std::path::PathBuf {
    let project = place.path("project");
    std::fs::create_dir_all(project.join("src")).unwrap();
    std::fs::write(project.join("fledge.toml"), "").unwrap();
    std::fs::write(project.join("src/bad.txt"), "one \ntwo").unwrap();
    project
}

fn in_folder(place: &Place, folder: &Path, args: &[&str]) -> String {
    let output = place.airlock().current_dir(folder).args(args).output().unwrap();
    describe(&output)
}

#[test]
fn a_plugin_is_run_from_its_folder_with_what_it_is_granted() {
    let place = Place::new();
    let project = project(&place);
    let lint = repository().join(LINT);
    let lint = lint.to_str().unwrap();
    assert_snapshot!(in_folder(&place, &project.join("src"), &["run", lint]), @r#"
    exit 2
    --- stderr
    `fledge-lint` runs without `fs.read=.::/project`; `--allow fs.read=.::/project` grants it
    error [fledge-lint] there is no `/project`: `filesystem = "project"` is needed
    "#);
    assert_snapshot!(in_folder(&place, &project.join("src"), &["run", lint, "--allow-all-requested"]), @r"
    exit 1
    --- stdout
    src/bad.txt:1: trailing whitespace
    src/bad.txt:2: no newline at the end
    2 problems in 2 files
    --- stderr
    [fledge-lint] linting (0/2)
    [fledge-lint] linting (2/2)
    [fledge-lint] done
    ");
}

#[test]
fn an_installed_plugins_command_is_a_command() {
    let place = Place::new();
    let project = project(&place);
    place.ok(&["install", LINT, "--allow-all-requested"]);
    let told = in_folder(&place, &project, &["lint", "src"]);
    assert!(told.starts_with("exit 1\n--- stdout\nsrc/bad.txt:1: "), "{told}");
    let code = |args: &[&str]| place.output(args).status.code();
    place.ok(&["install", "plugins/fledge-go"]);
    assert_eq!((code(&["run", "fledge-go"]), code(&["run", "fledge-go", "fail"])), (Some(0), Some(7)));
    assert_eq!(place.ok(&["list"]).lines().count(), 2);
    place.ok(&["remove", "fledge-lint"]);
    assert_eq!(code(&["lint"]), Some(2));
}

#[test]
fn win_01_a_second_run_compiles_nothing() {
    let place = Place::new();
    let origin = || {
        let output = place.output(&["run", "-v", "plugins/fledge-document"]);
        assert_eq!(output.stdout, b"Lint passed!");
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        ["Compiler", "Cache"].into_iter().find(|origin| trace.contains(&format!("origin={origin}")))
    };
    assert_eq!(origin(), Some("Compiler"));
    assert_eq!(origin(), Some("Cache"));
}

#[test]
fn win_08_the_cache_is_the_hosts_and_what_was_changed_is_not_run() {
    let place = Place::new();
    let origin = || {
        let output = place.output(&["run", "-v", "fledge-envcheck"]);
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        let origin = trace.split("origin=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        (origin.unwrap_or_default(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    place.ok(&["install", "plugins/fledge-envcheck", "--allow-all-requested"]);
    let (from, told) = origin();
    assert_eq!(from, "Cache");
    assert!(told.contains("create /plugin/x: ok"), "{told}");
    // Beside the plugin there is nothing of ours, and what the plugin writes to is elsewhere.
    let source = repository().join("plugins/fledge-envcheck");
    let mut names = std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_string_lossy().contains("cwasm")));
    let cache = place.home().join("code");
    let mut code = Vec::new();
    files(&cache, &mut code);
    assert!(!code.is_empty());
    for path in &code {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(origin(), ("Compiler".to_owned(), told));
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn win_09_an_update_is_shown_first_and_what_is_kept_stays() {
    let place = Place::new();
    place.ok(&["install", "plugins/fledge-counter", "--allow-all-requested"]);
    place.ok(&["run", "fledge-counter"]);
    let folder = place.path("counter");
    std::fs::create_dir_all(&folder).unwrap();
    let source = repository().join("plugins/fledge-counter");
    for entry in std::fs::read_dir(source).unwrap().map(Result::unwrap) {
        let to = folder.join(entry.file_name());
        std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
    }
    let manifest = folder.join("plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("0.1.0", "0.2.0");
    let hook = "\nexec = true\n[hooks]\nbuild = \"touch ran\"\n";
    std::fs::write(&manifest, text.trim_end().to_owned() + hook).unwrap();
    let source = folder.to_str().unwrap();
    // Nobody agreed, so that nothing changes.
    let refused = place.show(&["update", "fledge-counter", source]);
    assert!(refused.starts_with("exit 126"), "{refused}");
    assert!(
        refused.contains("+ asks for   exec=sh -c *") && refused.contains("+ hook       build"),
        "{refused}"
    );
    assert_eq!(place.ok(&["run", "fledge-counter"]), "count: 2\n");
    place.ok(&["update", "fledge-counter", source, "--yes", "--allow", "kv", "--deny", "exec=*"]);
    assert_eq!(place.ok(&["run", "fledge-counter"]), "count: 3\n");
    assert!(!folder.join("ran").exists(), "its hook was not run");
}

#[test]
fn win_10_json_is_pure_and_check_opens_the_module() {
    let place = Place::new();
    let garbage = put(&place, "garbage", "1.0.0", "x", "");
    std::fs::write(place.path("garbage/p.wasm"), b"no module").unwrap();
    assert_eq!(place.output(&["check", &garbage]).status.code(), Some(1));
    for args in [
        &["--json", "check", LINT][..],
        &["--json", "install", LINT, "--allow-all-requested"],
        &["--json", "run", "fledge-lint", "nowhere"],
        &["--json", "list"],
        &["--json", "check", &garbage],
    ] {
        let output = place.output(args);
        let value: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)));
        assert_eq!(value["schema"], 1, "{args:?}");
        assert!(output.stderr.is_empty(), "{}", describe(&output));
    }
}

#[test]
fn what_is_printed_is_seen_as_it_comes() {
    let place = Place::new();
    let mut command = place.airlock();
    command.args(["run", MESSAGES, "--", "ask"]);
    let mut terminal = Terminal::run(command);
    terminal.expect("Allow?");
    terminal.type_line("n");
    terminal.expect("[fledge-messages asks] Go on? [y/N]:");
    terminal.type_line("maybe");
    terminal.expect("`y` or `n` is wanted");
    terminal.type_line("y");
    // What it printed before its next question is on the screen by then.
    terminal.expect(r#""id":"1","value":true}"#);
    terminal.expect("[fledge-messages asks] Name?:");
    terminal.type_line("");
    terminal.expect("a text that is not empty is wanted");
    terminal.type_line("Ann");
    terminal.expect(r#""value":"Ann"}"#);
    terminal.expect("1) red");
    terminal.expect("2) green");
    terminal.type_line("2");
    terminal.expect(r#""value":"green"}"#);
    terminal.expect("Numbers, with spaces between:");
    terminal.type_line("1 3");
    terminal.expect(r#""value":["a","c"]}"#);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn progress_is_a_bar_on_a_terminal_and_lines_elsewhere() {
    let place = Place::new();
    let shown = place.show(&["run", MESSAGES, "progress"]);
    assert!(shown.contains("[fledge-messages] working (5/5)\n[fledge-messages] done\n"), "{shown}");
    let mut command = place.airlock();
    command
        .args(["run", MESSAGES, "--deny", "exec=*", "--deny", "kv", "--deny", "metadata", "--", "progress"]);
    let mut terminal = Terminal::run(command);
    terminal.expect("5/5 working");
    terminal.expect("done\r\n");
    let (code, screen) = terminal.end();
    assert_eq!((code, screen.lines().last()), (0, Some("done")), "{screen}");
}

#[test]
fn escapes_reach_a_terminal_only_where_that_is_granted() {
    let place = Place::new();
    let screen = |grant: &[&str]| {
        let mut command = place.airlock();
        command.args(["run", "plugins/fledge-life"]).args(grant).args(["--deny", "clock", "--", "1"]);
        Terminal::run(command).end_raw().1
    };
    let deny = screen(&["--deny", "stdout=raw"]);
    assert!(deny.contains("\\x1b[2J\\x1b[H") && !deny.contains("\x1b[2J"), "{deny}");
    let allow = screen(&["--allow", "stdout=raw"]);
    assert!(allow.contains("\x1b[2J\x1b[H") && allow.contains("generation 1, "), "{allow}");
}

#[test]
fn a_program_that_prints_messages_is_read_with_a_flag() {
    let place = Place::new();
    let wasm = "plugins/fledge-stdout/fledge-stdout.wasm";
    let plain = place.ok(&["run", "--abi", "fledge", wasm]);
    assert!(plain.starts_with("{\"type\":\"output\""), "{plain}");
    let read = place.ok(&["run", "--abi", "fledge", "--stdout-protocol", wasm]);
    assert!(read.starts_with("fledge-stdout running\nplain line\nargs: "), "{read}");
    assert_eq!(place.ok(&["run", "plugins/fledge-stdout"]), read);
}

#[test]
fn native_plugins_and_odd_capabilities_are_refused() {
    let place = Place::new();
    let native = put(&place, "native", "1.0.0", "x", "");
    let manifest = place.path("native/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("runtime = \"wasm\"\n", "")).unwrap();
    assert_snapshot!(place.show(&["install", &native]), @r"
    exit 125
    --- stderr
    error: manifest `plugin.toml` is not valid: `plugin.runtime` is not `wasm`, and Airlock runs no native code
    ");
    let odd = put(&place, "odd", "1.0.0", "x", "[capabilities]\nnetwrok = true\n");
    assert_snapshot!(place.show(&["run", &odd]), @r"
    exit 125
    --- stderr
    error: manifest `plugin.toml` is not valid: unknown capability `netwrok`
    hint: did you mean `network`?
    ");
}

#[test]
fn prompt_injection_a_question_cannot_pass_for_one_of_ours() {
    let place = Place::new();
    let folder = place.path("forger");
    std::fs::create_dir_all(&folder).unwrap();
    let message =
        r#"{"type":"confirm","id":"1","message":"x\u001b[2K\n`other` (0123) asks to:\nAllow? [a]lways"}"#;
    let data: String = message.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let wasm = wat::parse_str(format!(
        r#"(module (import "fledge" "send" (func $send (param i32 i32))) (memory (export "memory") 1)
            (data (i32.const 16) "{data}")
            (func (export "_start") (call $send (i32.const 16) (i32.const {}))))"#,
        message.len()
    ));
    let path = folder.join("p.wasm");
    std::fs::write(&path, wasm.unwrap()).unwrap();
    let mut command = place.airlock();
    command.args(["run", path.to_str().unwrap()]);
    let mut terminal = Terminal::run(command);
    terminal.expect(r"[p asks] x\x1b[2K\n`other` (0123) asks to:\nAllow? [a]lways [y/N]:");
    terminal.type_line("");
    assert_eq!(terminal.end().0, 0);
}
