//! Programs that people would use, run as they would run them: with pipes, files, an
//! impatient hand on Ctrl-C, and an exit code that a script looks at.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{airlock, describe, with_stdin};

const GREP: &str = "plugins/grep/grep.wasm";
const JSONFMT: &str = "plugins/jsonfmt/jsonfmt.wasm";
const CSV: &str = "plugins/csv/csv.wasm";

/// A command that runs a tool with these grants, a folder `at` for each `at` in them.
fn tool(tool: &str, at: &Path, grants: &[&str], args: &[&str]) -> Command {
    let mut command = airlock();
    command.arg("run");
    for grant in grants {
        command.args(["--allow", &grant.replace("at", at.to_str().unwrap())]);
    }
    command.arg(tool).arg("--").args(args);
    command
}

fn run(name: &str, at: &Path, grants: &[&str], args: &[&str]) -> String {
    describe(&tool(name, at, grants, args).output().unwrap())
}

/// Exit code and output with this on standard input and no grants.
fn piped(name: &str, args: &[&str], input: &str) -> String {
    describe(&with_stdin(&[&["run", name, "--"], args].concat(), input.as_bytes()))
}

/// A folder with files to search.
fn sources() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
    write("main.c", b"int main(void)\n{\n    return 0; /* TODO */\n}\n");
    write("notes", b"todo: one\nnothing\nTodo: two\n");
    write("sub/deep/more", b"a TODO below\n");
    write("sub/image", b"\x89PNG\0TODO\n");
    std::os::unix::fs::symlink("..", folder.path().join("sub/up")).unwrap();
    folder
}

#[test]
fn grep_selects_lines_of_standard_input_and_says_by_its_code_whether_there_were_any() {
    let input = "one\ntwo\nthree\n";
    assert_eq!(piped(GREP, &["o"], input), "exit 0\n--- stdout\none\ntwo\n");
    assert_eq!(piped(GREP, &["-n", "^t.*e$"], input), "exit 0\n--- stdout\n3:three\n");
    assert_eq!(piped(GREP, &["-v", "o"], input), "exit 0\n--- stdout\nthree\n");
    assert_eq!(piped(GREP, &["-c", "e+|w"], input), "exit 0\n--- stdout\n3\n");
    assert_eq!(piped(GREP, &["-i", "ONE"], input), "exit 0\n--- stdout\none\n");
    assert_eq!(piped(GREP, &["(t|o)[nw][^x]?$"], input), "exit 0\n--- stdout\none\ntwo\n");
    assert_eq!(piped(GREP, &["four"], input), "exit 1\n");
    assert_eq!(piped(GREP, &["-c", "four"], input), "exit 1\n--- stdout\n0\n");
    assert_eq!(
        piped(GREP, &["last"], "no newline at the last"),
        "exit 0\n--- stdout\nno newline at the last\n"
    );
    assert_eq!(piped(GREP, &["x"], ""), "exit 1\n");
}

#[test]
fn grep_says_what_is_wrong_with_code_2() {
    let at = sources();
    assert_eq!(piped(GREP, &["("], "x"), "exit 2\n--- stderr\ngrep: (: Missing ')'\n");
    assert!(piped(GREP, &[], "x").starts_with("exit 2\n--- stderr\nusage: grep"));
    let grants = ["fs.read=at::/"];
    assert_eq!(
        run(GREP, at.path(), &grants, &["todo", "none", "notes", "sub"]),
        "exit 2\n--- stdout\nnotes:todo: one\n--- stderr\n\
         grep: none: No such file or directory\ngrep: sub: Is a directory\n"
    );
}

#[test]
fn grep_searches_a_granted_folder_and_all_below_it() {
    let at = sources();
    let grep = |args: &[&str]| run(GREP, at.path(), &["fs.read=at::/"], args);
    assert_eq!(
        grep(&["-rin", "todo"]),
        "exit 0\n--- stdout\n\
         main.c:3:    return 0; /* TODO */\n\
         notes:1:todo: one\n\
         notes:3:Todo: two\n\
         sub/deep/more:1:a TODO below\n\
         sub/image: binary file matches\n"
    );
    assert_eq!(grep(&["-rl", "TODO", "sub"]), "exit 0\n--- stdout\nsub/deep/more\nsub/image\n");
    assert_eq!(grep(&["-c", "i", "main.c", "notes"]), "exit 0\n--- stdout\nmain.c:1\nnotes:1\n");
    assert_eq!(grep(&["i.*g", "notes"]), "exit 0\n--- stdout\nnothing\n");
}

#[test]
fn grep_sees_what_is_granted_and_no_more() {
    let at = sources();
    let denied = run(GREP, at.path(), &[], &["todo", "notes"]);
    assert_eq!(denied, "exit 2\n--- stderr\ngrep: notes: No such file or directory\n");
    let shallow = run(GREP, at.path(), &["fs.read=at/*::/"], &["-rl", "TODO"]);
    assert_eq!(shallow, "exit 0\n--- stdout\nmain.c\n");
    let single = ["fs.read=at/notes::/notes"];
    assert_eq!(run(GREP, at.path(), &single, &["-c", "todo", "/notes"]), "exit 0\n--- stdout\n1\n");
    assert_eq!(run(GREP, at.path(), &single, &["-rl", "o", "/"]), "exit 0\n--- stdout\n/notes\n");
    let beside = run(GREP, at.path(), &single, &["int", "/main.c"]);
    assert!(beside.starts_with("exit 2\n--- stderr\ngrep: /main.c: "), "{beside}");
}

#[test]
fn jsonfmt_brings_standard_input_into_form_and_changes_no_value() {
    let input = r#"{"b":[1,2.50,{}],"a":[],"a":"\u00e4", "n":1e400}"#;
    assert_eq!(
        piped(JSONFMT, &[], input),
        "exit 0\n--- stdout\n{\n  \"b\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"a\": [],\n  \
         \"a\": \"\\u00e4\",\n  \"n\": 1e400\n}\n"
    );
    assert_eq!(
        piped(JSONFMT, &["--sort-keys", "--indent", "0"], input),
        "exit 0\n--- stdout\n{\"a\":[],\"a\":\"\\u00e4\",\"b\":[1,2.50,{}],\"n\":1e400}\n"
    );
}

#[test]
fn jsonfmt_tells_line_and_column_of_what_is_no_json() {
    for (input, error) in [
        ("", "1:1: expected a value"),
        ("{\"a\" 1}", "1:6: expected `:`"),
        ("[\n  \"\u{e9}\u{e9}\", x]", "2:9: expected a value"),
        ("[1,]", "1:4: expected a value"),
        ("01", "1:2: expected the end of the text"),
        ("\"a\tb\"", "1:3: a control character in a string has to be escaped"),
        ("{} {}", "1:4: expected the end of the text"),
    ] {
        let expected = format!("exit 2\n--- stderr\njsonfmt: standard input:{error}\n");
        assert_eq!(piped(JSONFMT, &[], input), expected);
    }
    let deep = "[".repeat(100_000);
    assert!(piped(JSONFMT, &[], &deep).ends_with("1:501: this is nested too deeply\n"));
}

#[test]
fn jsonfmt_checks_files_and_rewrites_those_that_need_it() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::write(path("good.json"), "{}\n").unwrap();
    fs::write(path("other.json"), "[1,\n2]").unwrap();
    fs::write(path("bad.json"), "[1,\n2").unwrap();
    let good = fs::metadata(path("good.json")).unwrap();
    let all = ["good.json", "other.json", "bad.json"];
    let check = |files: &[&str]| run(JSONFMT, at.path(), &["fs.read=at::/"], &[&["--check"], files].concat());
    assert_eq!(check(&all[..1]), "exit 0\n");
    assert_eq!(check(&all[..2]), "exit 1\n--- stdout\nother.json\n");
    let error = "jsonfmt: bad.json:2:2: expected `,` or `]`\n";
    assert_eq!(check(&all), format!("exit 2\n--- stdout\nother.json\n--- stderr\n{error}"));

    let refused = run(JSONFMT, at.path(), &["fs.read=at::/"], &["--write", "other.json"]);
    assert!(refused.starts_with("exit 2\n--- stderr\njsonfmt: other.json: "), "{refused}");
    assert_eq!(fs::read_to_string(path("other.json")).unwrap(), "[1,\n2]", "it was only to be read");

    let written = run(JSONFMT, at.path(), &["fs.write=at::/"], &[&["--write"], &all[..]].concat());
    assert_eq!(written, format!("exit 2\n--- stderr\n{error}"));
    assert_eq!(fs::read_to_string(path("other.json")).unwrap(), "[\n  1,\n  2\n]\n");
    assert_eq!(fs::read_to_string(path("bad.json")).unwrap(), "[1,\n2", "what is no JSON stays as it is");
    let still = fs::metadata(path("good.json")).unwrap();
    assert_eq!(still.modified().unwrap(), good.modified().unwrap(), "what was in form is not touched");
    assert_eq!(fs::read_dir(at.path()).unwrap().count(), 3, "nothing is left beside them");
}

const TABLE: &str = "name,age,\"pay, EUR\"\r\nAnn,31,10.10\r\n\"Bob \"\"B\"\"\nx\",9,.2\r\nCy,,-0.35\r\n";

#[test]
fn csv_answers_questions_to_a_table() {
    let csv = |args: &[&str]| {
        let shown = piped(CSV, args, TABLE);
        shown.strip_prefix("exit 0\n--- stdout\n").unwrap_or_else(|| panic!("{shown}")).to_owned()
    };
    assert_eq!(csv(&["headers"]), "name\nage\npay, EUR\n");
    assert_eq!(csv(&["filter", "name=Ann"]), "name,age,\"pay, EUR\"\r\nAnn,31,10.10\r\n");
    assert_eq!(
        csv(&["select", "\"pay, EUR\",name"]),
        "\"pay, EUR\",name\r\n10.10,Ann\r\n.2,\"Bob \"\"B\"\"\nx\"\r\n-0.35,Cy\r\n"
    );
    assert_eq!(csv(&["sum", "pay, EUR"]), "9.95\n");
    let by_age = csv(&["sort", "age"]);
    let order: Vec<_> = ["Cy", "Bob", "Ann"].iter().map(|name| by_age.find(name)).collect();
    assert!(order.is_sorted() && !order.contains(&None), "{by_age}");
    let json: serde_json::Value = serde_json::from_str(&csv(&["to-json"])).unwrap();
    assert_eq!(json[1], serde_json::json!({"name": "Bob \"B\"\nx", "age": "9", "pay, EUR": ".2"}));
}

#[test]
fn csv_says_what_is_wrong_and_where() {
    for (args, input, error) in [
        (["sum", "name"], TABLE, "`Ann` in column `name` of row 1 is no decimal number"),
        (["sort", "size"], TABLE, "there is no column `size`"),
        (["sort", "a"], "a,b\n1,2\n3\n", "standard input: line 3: expected 2 cells, found 1"),
        (["sort", "a"], "a\n\"x\ny", "standard input: line 2: a quote that nothing closes"),
        (["sort", "a"], "", "standard input: there is no row of headers"),
    ] {
        assert_eq!(piped(CSV, &args, input), format!("exit 2\n--- stderr\ncsv: {error}\n"));
    }
}

#[test]
fn csv_writes_to_the_one_file_that_it_may_write() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::write(path("in.csv"), "a\n2\n1\n").unwrap();
    fs::write(path("out.csv"), "something longer that was there before\n").unwrap();
    let grants = ["fs.read=at/in.csv::/in.csv", "fs.write=at/out.csv::/out.csv"];
    let sort =
        |args: &[&str]| run(CSV, at.path(), &grants, &[&["sort", "a", "/in.csv", "-o"], args].concat());
    assert_eq!(sort(&["/out.csv"]), "exit 0\n");
    assert_eq!(fs::read_to_string(path("out.csv")).unwrap(), "a\n1\n2\n");
    for refused in ["/in.csv", "/new.csv"] {
        let shown = sort(&[refused]);
        assert!(shown.starts_with(&format!("exit 2\n--- stderr\ncsv: {refused}: ")), "{shown}");
    }
    assert_eq!(fs::read_to_string(path("in.csv")).unwrap(), "a\n2\n1\n");
    assert!(!path("new.csv").exists());
    // What is read may be what is written.
    let in_place = run(CSV, at.path(), &["fs.write=at::/"], &["-o", "in.csv", "sort", "a", "in.csv"]);
    assert_eq!(
        (in_place.as_str(), fs::read_to_string(path("in.csv")).unwrap().as_str()),
        ("exit 0\n", "a\n1\n2\n")
    );
}

#[test]
fn tools_are_joined_by_pipes() {
    let at = Path::new("/");
    let mut csv = tool(CSV, at, &[], &["to-json"]);
    let mut csv = csv.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut format = tool(JSONFMT, at, &[], &["--sort-keys"]);
    let mut format = format.stdin(csv.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut grep = tool(GREP, at, &[], &["-n", "name"]);
    let grep = grep.stdin(format.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    csv.stdin.take().unwrap().write_all(TABLE.as_bytes()).unwrap();
    let output = grep.wait_with_output().unwrap();
    assert_eq!(
        describe(&output),
        "exit 0\n--- stdout\n4:    \"name\": \"Ann\",\n9:    \"name\": \"Bob \\\"B\\\"\\nx\",\n14:    \"name\": \"Cy\",\n"
    );
    assert!(csv.wait().unwrap().success() && format.wait().unwrap().success());
}

#[test]
fn a_large_standard_input_is_read_whole_up_to_its_limit() {
    let input = "a line of text that goes on for a while\n".repeat(200_000);
    assert_eq!(piped(GREP, &["-c", "while$"], &input), "exit 0\n--- stdout\n200000\n");
    let output = with_stdin(&["run", "--input", "1MiB", GREP, "--", "-c", "while$"], input.as_bytes());
    assert!(
        describe(&output).starts_with("exit 123\n--- stderr\nerror: limit `input`"),
        "{}",
        describe(&output)
    );
}

#[test]
fn a_reader_of_the_output_that_has_left_has_read_enough_and_is_no_failure() {
    let mut grep = tool(GREP, Path::new("/"), &[], &["x"]);
    let mut grep = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(grep.stdout.take());
    grep.stdin.take().unwrap().write_all(&b"xxxxxxxxx\n".repeat(100_000)).unwrap();
    let output = grep.wait_with_output().unwrap();
    // The program was done before any of it was printed: its own code passes through.
    assert_eq!(describe(&output), "exit 0\n");
}

/// What Ctrl-C does.
fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

fn was_interrupted(output: &Output) -> bool {
    output.status.code() == Some(130) || output.status.signal() == Some(Signal::INT.as_raw())
}

#[test]
fn ctrl_c_ends_a_program_that_waits_for_input() {
    let mut grep = tool(GREP, Path::new("/"), &[], &["x"]);
    let grep = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut grep = grep.spawn().unwrap();
    let stdin = grep.stdin.take().unwrap();
    // Long enough to be in the middle of it; it would be interrupted before as well.
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    interrupt(&grep);
    let output = grep.wait_with_output().unwrap();
    assert!(was_interrupted(&output), "{}", describe(&output));
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    drop(stdin);
}

#[test]
fn ctrl_c_while_files_are_rewritten_leaves_each_as_it_was_or_as_it_will_be() {
    let at = tempfile::tempdir().unwrap();
    let old = format!("[{}]", vec!["1"; 20_000].join(","));
    let new = format!("[\n{}\n]\n", vec!["  1"; 20_000].join(",\n"));
    let names: Vec<String> = (0..200).map(|index| format!("{index}.json")).collect();
    let args: Vec<&str> = ["--write"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let has_new_length =
        |name: &str| fs::metadata(at.path().join(name)).is_ok_and(|about| about.len() == new.len() as u64);
    let mut cut = 0;
    for last in [0, 1, 10, 50] {
        for name in &names {
            fs::write(at.path().join(name), &old).unwrap();
        }
        let mut command = tool(JSONFMT, at.path(), &["fs.write=at::/"], &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !has_new_length(&names[last]) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        assert!(was_interrupted(&output) || output.status.success(), "{}", describe(&output));
        let mut rewritten = 0;
        for name in &names {
            let text = fs::read_to_string(at.path().join(name)).unwrap();
            assert!(text == old || text == new, "{name} has {} bytes of {}", text.len(), new.len());
            rewritten += usize::from(text == new);
            // What was about to take its place stays beside it, for whoever looks to remove.
            let _ = fs::remove_file(at.path().join(format!(".{name}.jsonfmt")));
        }
        cut += usize::from(rewritten < names.len());
    }
    assert!(cut > 0, "every run was done before it was interrupted");
}
