//! `airlock profile`, and what is told of a plugin that traps.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{airlock, describe, file, output, show};

const PRIMES: &str = "plugins/primes/primes.wasm";

/// A screen without what is another each time: numbers, and how wide they make columns.
fn screen(args: &[&str]) -> String {
    let shown = show(args);
    let (exit, rest) = shown.split_once('\n').unwrap();
    let mut screen = exit.to_owned();
    for line in rest.lines() {
        screen.push('\n');
        let words: Vec<String> = line.split_whitespace().map(without_numbers).collect();
        screen.push_str(&words.join(" "));
    }
    screen
}

fn without_numbers(word: &str) -> String {
    let mut text = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if text.ends_with('#') => {}
            '0'..='9' => text.push('#'),
            '.' if text.ends_with('#') => {}
            c => text.push(c),
        }
    }
    text
}

#[test]
fn the_functions_that_take_the_time_come_first() {
    assert_snapshot!(screen(&["profile", PRIMES, "count", "100000", "--calls", "4"]), @r"
    exit 0
    --- stdout
    self total samples function source
    #% #% # divisors ./primes.c:#
    #% #% # count ./primes.c:#

    samples # in # calls and # s, one each #ms
    unseen #% of the time
    host calls #
    ");
}

#[test]
fn a_plugin_that_fails_is_profiled_up_to_then() {
    assert_snapshot!(screen(&["profile", PRIMES, "count_and_fail", "400000"]), @r"
    exit 122
    --- stdout
    self total samples function source
    #% #% # divisors ./primes.c:#
    #% #% # count ./primes.c:#
    #% #% # count_and_fail ./primes.c:#

    samples # in # call and # s, one each #ms
    unseen #% of the time
    host calls #
    --- stderr
    error: the plugin trapped while running: unreachable
    at checked (./primes.c:#:#)
    at count_and_fail (./primes.c:#:#)
    ");
    let stopped = screen(&["profile", PRIMES, "spin", "1000", "--timeout", "200ms", "--top", "1"]);
    let (table, rest) = stopped.split_once("\n\n").unwrap();
    assert!(
        table.starts_with("exit 124\n--- stdout\nself total samples function source\n#% #% # "),
        "{table}"
    );
    assert_snapshot!(rest, @r"
    samples # in # call and # s, one each #ms
    unseen #% of the time
    host calls #
    --- stderr
    error: stopped while running: the deadline of #ms passed
    hint: `--timeout VALUE` allows more time
    ");
}

#[test]
fn a_plugin_without_names_and_one_that_is_too_fast_are_told_what_to_do() {
    let args = ["profile", "plugins/greet/greet.wasm", "you", "--calls", "1", "--interval", "1s"];
    assert_snapshot!(screen(&args), @r"
    exit 0
    --- stdout
    samples # in # call and # s, one each #s
    unseen #% of the time
    host calls #
    --- stderr
    no call ran long enough to be seen: `--time` takes longer, `--interval` looks oftener
    the module has no names of functions: whatever strips it has to be told to leave them in
    ");
}

#[test]
fn what_cannot_be_profiled_is_said_before_anything_is_called() {
    assert_snapshot!(show(&["profile", PRIMES]), @r"
    exit 2
    --- stderr
    error: `FUNCTION`: it is not said which function is to be called
    hint: the plugin has `count`, `count_and_fail`, `known`, `spin`
    ");
    assert_snapshot!(show(&["profile", PRIMES, "count", "3", "--interval", "1us"]), @r"
    exit 2
    --- stderr
    error: invalid value '1us' for '--interval <TIME>': it is not from `100us` to `1s`

    For more information, try '--help'.
    ");
    assert_snapshot!(show(&["profile", PRIMES, "count", "3", "--stdin", "README.md"]), @r"
    exit 2
    --- stderr
    error: `--stdin`: the plugin is no program
    ");
    assert_snapshot!(show(&["profile", PRIMES, "count", "3", "--calls", "1", "--svg", "nowhere/a.svg"]), @r"
    exit 125
    --- stderr
    error: cannot write `nowhere/a.svg`
      caused by: entity not found
    ");
}

fn json(args: &[&str]) -> (i32, Value) {
    let output = output(args);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// The functions of a profile, with how often each was the one that ran.
fn functions(report: &Value) -> Vec<(&str, u64)> {
    let of = |function: &Value| function["self"].as_u64().unwrap();
    let functions = report["functions"].as_array().unwrap();
    functions.iter().map(|function| (function["function"].as_str().unwrap(), of(function))).collect()
}

#[test]
fn json_has_more_than_half_of_the_samples_in_the_hot_function() {
    let (code, report) = json(&["--json", "profile", PRIMES, "count", "100000", "--time", "300ms"]);
    assert_eq!((code, report["ok"].as_bool(), report["name"].as_str()), (0, Some(true), Some("primes")));
    let (name, own) = functions(&report)[0];
    let samples = report["samples"].as_u64().unwrap();
    assert!(name == "divisors" && own * 2 > samples, "{report}");
    let hot = &report["functions"][0];
    assert_eq!(hot["file"], "./primes.c");
    assert!((6..12).contains(&hot["line"].as_u64().unwrap()) && hot["total"].as_u64() >= Some(own));
    assert!(report["ticks"].as_u64().unwrap() > 0 && report["calls"].as_u64().unwrap() > 0);
    assert_eq!((&report["interval_ns"], &report["lost"]), (&1_000_000.into(), &0.into()));

    let (code, report) = json(&["--json", "profile", PRIMES, "count_and_fail", "400000"]);
    assert_eq!((code, report["ok"].as_bool(), &report["calls"]), (122, Some(false), &1.into()));
    assert_eq!(report["error"]["code"], "trap");
    assert_eq!(report["error"]["frames"][0]["line"], 30);
    assert_eq!(functions(&report)[0].0, "divisors");
}

#[test]
fn programs_are_run_again_and_again_with_their_input() {
    let input = "some words\n".repeat(20_000);
    let (_folder, path) = file("input", input.as_bytes());
    let args =
        ["--json", "profile", "plugins/grep/grep.wasm", "--stdin", &path, "--calls", "3", "--", "-c", "wor"];
    let (code, report) = json(&args);
    assert_eq!((code, &report["calls"], &report["abi"]), (0, &3.into(), &"command".into()));
    assert!(report["host_calls"].as_u64().unwrap() > 3, "it has read: {report}");
}

/// Where a profile is written in every form.
struct Written {
    _folder: tempfile::TempDir,
    svg: PathBuf,
    firefox: PathBuf,
    folded: PathBuf,
}

fn written(plugin: &str, function: &str, input: &[&str]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (svg, firefox, folded) = (path("a.svg"), path("a.json"), path("a.folded"));
    let mut command = airlock();
    command.args(["profile", plugin, function]).args(input).args(["--timeout", "300ms", "--time", "200ms"]);
    let output = command
        .arg("--svg")
        .arg(&svg)
        .arg("--firefox")
        .arg(&firefox)
        .arg("--folded")
        .arg(&folded)
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 124)), "{}", describe(&output));
    Written { _folder: folder, svg, firefox, folded }
}

fn texts(svg: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(svg).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let nodes =
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    assert!(!document.descendants().any(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "script"))));
    nodes.filter_map(|node| node.text().map(str::to_owned)).collect()
}

fn labels(firefox: &Path) -> (Value, Vec<String>) {
    let profile: Value = serde_json::from_slice(&std::fs::read(firefox).unwrap()).unwrap();
    let thread = profile["threads"][0].clone();
    let labels = thread["stringArray"].as_array().unwrap();
    let labels = labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect();
    (thread, labels)
}

#[test]
fn a_profile_is_written_for_people_and_for_other_tools() {
    let written = written(PRIMES, "count", &["100000"]);
    let titles = texts(&written.svg);
    assert!(titles[0].starts_with("all: ") && titles[0].ends_with(" samples, 100.0%"), "{titles:?}");
    for (function, place) in [("count", " (./primes.c:"), ("divisors", " (./primes.c:")] {
        let begin = format!("{function}{place}");
        assert!(titles.iter().any(|title| title.starts_with(&begin)), "{function}: {titles:?}");
    }

    let folded = std::fs::read_to_string(&written.folded).unwrap();
    let stack = folded.lines().find_map(|line| line.strip_prefix("count;divisors ")).unwrap();
    let count: usize = stack.parse().unwrap();
    let all: usize =
        folded.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    assert!(count * 2 > all);

    let (thread, labels) = labels(&written.firefox);
    assert_eq!(
        (thread["name"].as_str(), thread["samples"]["length"].as_u64()),
        (Some("primes count"), Some(all as u64))
    );
    assert!(labels.iter().any(|label| label.starts_with("divisors (./primes.c:")), "{labels:?}");
    // The stack of each sample leads to a frame of a function with a name.
    let stacks = thread["samples"]["stack"].as_array().unwrap();
    let frames = thread["stackTable"]["frame"].as_array().unwrap();
    let functions = thread["frameTable"]["func"].as_array().unwrap();
    let names = thread["funcTable"]["name"].as_array().unwrap();
    let at = |list: &[Value], index: &Value| list[usize::try_from(index.as_u64().unwrap()).unwrap()].clone();
    let hot = stacks.iter().filter(|stack| {
        let name = at(names, &at(functions, &at(frames, stack)));
        labels[usize::try_from(name.as_u64().unwrap()).unwrap()].starts_with("divisors ")
    });
    assert_eq!(hot.count(), count);
}

/// A module whose names would draw, script or forge, if somebody took them as they are.
const FORGING: &str = "(module
    (func $\"\\1b[2J</title><script>alert(1)</script>;&\\\"'\\u{202e}\\u{fffe}\\00\\n\" (loop (br 0)))
    (func (export \"f\") (call 0)))";

#[test]
fn ansi_in_text_of_functions_reaches_neither_a_terminal_nor_a_picture() {
    let (_folder, plugin) = file("forging.wat", FORGING.as_bytes());
    let written = written(&plugin, "f", &[]);
    let shown = "\\x1b[2J</title><script>alert(1)</script>;&\"'\\u{202e}\u{fffd}\\x00\\n";
    let titles = texts(&written.svg);
    assert!(titles.iter().any(|title| title.starts_with(shown)), "{titles:?}");
    let folded = std::fs::read_to_string(&written.folded).unwrap();
    assert!(folded.lines().all(|line| line.starts_with("function 1")), "{folded:?}");
    assert!(folded.contains(&shown.replace(';', ":")), "{folded:?}");
    assert!(labels(&written.firefox).1.contains(&shown.to_owned()));

    let output = airlock().args(["profile", &plugin, "f", "--timeout", "100ms"]).output().unwrap();
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{}", describe(&output));
    let trapping = FORGING.replace("(loop (br 0))", "unreachable");
    let (_folder, plugin) = file("forging.wat", trapping.as_bytes());
    assert_snapshot!(show(&["call", &plugin, "f"]), @r#"
    exit 122
    --- stderr
    error: the plugin trapped while running: unreachable
      at \x1b[2J</title><script>alert(1)</script>;&"'\u{202e}￾\x00\n
      at function 1
    "#);
}

#[test]
fn ansi_in_text_a_very_long_name_is_shown_as_far_as_it_can_be_read() {
    let wat = format!("(module (func ${} unreachable) (func (export \"f\") (call 0)))", "n".repeat(90_000));
    let (_folder, plugin) = file("long.wat", wat.as_bytes());
    let shown = show(&["call", &plugin, "f"]);
    assert!(shown.contains("nnn…\n") && shown.len() < 500, "{shown}");
}

#[test]
fn a_trap_tells_its_functions_with_file_and_line() {
    assert_snapshot!(show(&["call", PRIMES, "known", "30"]), @r"
    exit 122
    --- stderr
    error: the plugin trapped while running: unreachable
      at checked (./primes.c:30:15)
      at nth (./primes.c:38:12)
    ");
    assert_snapshot!(show(&["--json", "call", PRIMES, "known", "30"]), @r#"
    exit 122
    --- stdout
    {"schema":1,"ok":false,"error":{"code":"trap","culprit":"guest","message":"the plugin trapped while running: unreachable","causes":[],"trap":"unreachable","frames":[{"function":"checked","source":"./primes.c:30:15","file":"./primes.c","line":30,"column":15},{"function":"nth","source":"./primes.c:38:12","file":"./primes.c","line":38,"column":12}]}}
    "#);
}

#[test]
fn a_core_dump_is_for_its_user_alone_and_written_only_after_a_trap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("core");
    let call = |function: &str, argument: &str, verb: &str| {
        let mut command = airlock();
        command.args([verb, PRIMES, function, argument, "--timeout", "100ms"]);
        describe(&command.arg("--coredump").arg(&path).output().unwrap())
            .replace(folder.path().to_str().unwrap(), "[folder]")
    };
    assert_eq!(call("known", "3", "call"), "exit 0\n--- stdout\n7\n");
    assert!(!path.exists());
    assert!(call("spin", "3", "call").starts_with("exit 124\n"));
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left beside it");
    // Whoever could read what was there cannot read what comes.
    std::fs::write(&path, "old").unwrap();
    assert_snapshot!(call("known", "30", "call"), @r"
    exit 122
    --- stderr
    a core dump is in `[folder]/core`: it holds all that was in the plugin's memory
    error: the plugin trapped while running: unreachable
      at checked (./primes.c:30:15)
      at nth (./primes.c:38:12)
    ");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let dump = std::fs::read(&path).unwrap();
    let mut sections = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&dump) {
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap() {
            sections.push(section.name().to_owned());
        }
    }
    assert_eq!(sections, ["core", "coremodules", "coreinstances", "corestack"]);
}

#[test]
fn a_core_dump_that_cannot_be_written_is_said_before_the_call() {
    assert_snapshot!(show(&["call", PRIMES, "known", "3", "--coredump", "nowhere/core"]), @r"
    exit 125
    --- stderr
    error: cannot write `nowhere/core`
      caused by: entity not found
    ");
    assert_snapshot!(show(&["call", PRIMES, "known", "3", "--coredump", "docs"]), @r"
    exit 125
    --- stderr
    error: cannot write `docs`
      caused by: is a directory
    ");
}

#[test]
fn a_program_that_traps_leaves_a_core_dump_too() {
    let wat = "(module (memory (export \"memory\") 1) (func $main (export \"_start\") unreachable))";
    let (folder, plugin) = file("trap.wat", wat.as_bytes());
    let path = folder.path().join("core");
    let output = airlock().args(["run", &plugin, "--coredump"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(122), "{}", describe(&output));
    assert!(std::fs::read(&path).unwrap().starts_with(b"\0asm"));
}
