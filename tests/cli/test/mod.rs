//! `airlock test`: what is run, what is said of it, and with which exit code.

mod cases;
mod expectations;
mod refused;
mod snapshots;

use std::path::{Path, PathBuf};
use std::process::Output;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;

use crate::plugins::{Place, Source, text};
use crate::support::{TEXT, describe, repository};

/// Case files in a folder of their own, and Airlock's.
struct Bench {
    place: Place,
    folder: PathBuf,
}

impl Bench {
    /// With these files.
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Place::new();
        let folder = place.path("cases");
        std::fs::create_dir_all(&folder).unwrap();
        let bench = Bench { place, folder };
        files.iter().for_each(|(name, text)| bench.write(name, text));
        bench
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    fn output(&self, plugin: &str, args: &[&str]) -> Output {
        let folder = text(&self.folder);
        self.place.output(&[&["test", plugin, "--cases", &folder], args].concat())
    }

    /// Exit code and both outputs, without times and folders.
    fn show(&self, plugin: &str, args: &[&str]) -> String {
        self.place.plain(&without_times(&describe(&self.output(plugin, args))))
    }

    /// The object, and the exit code.
    fn json(&self, plugin: &str, args: &[&str]) -> (Value, i32) {
        let output = self.output(plugin, &[args, &["--json"]].concat());
        assert_eq!(output.stderr, b"", "{}", describe(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
    }

    /// What each case came to: its name, its outcome, and what failed in it.
    fn told(&self, plugin: &str, args: &[&str]) -> Vec<(String, String, Vec<String>)> {
        let (object, _) = self.json(plugin, args);
        let Some(cases) = object["cases"].as_array() else { panic!("{object}") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = cases.iter().map(|case| {
            let failures = case["ran"]["failures"].as_array().cloned().unwrap_or_default();
            let failures = failures.iter().map(|failure| text(&failure["message"]));
            (text(&case["name"]), text(&case["outcome"]), failures.collect())
        });
        told.collect()
    }

    /// That all cases passed, and how many there were.
    fn passed(&self, plugin: &str) -> usize {
        let told = self.told(plugin, &[]);
        let failed: Vec<_> = told.iter().filter(|(_, outcome, _)| outcome != "passed").collect();
        assert!(failed.is_empty(), "{failed:#?}");
        told.len()
    }
}

fn without_times(text: &str) -> String {
    // With the space in front of a shorter one.
    let times = Regex::new(r" {2,}\d+\.\d{3}s").unwrap();
    let text = times.replace_all(text, " [TIME]");
    Regex::new(r"\d+\.\d{3}s").unwrap().replace_all(&text, "[TIME]").into_owned()
}

/// A plugin of the `json` ABI whose function `f` always answers this.
fn answering(bench: &Bench, answer: &str) -> String {
    let source = Source { name: "answers", version: "1.0.0", answer, manifest: "" };
    bench.place.source("answers", &source)
}

const SOME: &str = r#"
[defaults]
call = "transform"

[[case]]
name = "reverses"
input = { text = "abc", mode = "reverse" }
output = { result = "cba", length = 3, hash = 98274 }

[[case]]
name = "makes it loud"
input = { text = "abc", mode = "uppercase" }
output = { result = "ABc", length = 3 }
max_memory = "64KiB"

[[case]]
name = "is not thought of yet"
skip = "somebody has to write it"

[[case]]
name = "needs a text"
error = "failed"
error_contains = "missing field `mode`"
"#;

#[test]
fn a_line_for_each_case_then_what_differs_then_how_many_there_were() {
    let bench = Bench::new(&[("some.toml", SOME)]);
    assert_snapshot!(bench.show(TEXT, &[]), @r#"
    exit 1
    --- stdout
    ok [TIME] some::reverses
    FAIL [TIME] some::makes it loud
    skip           some::is not thought of yet (somebody has to write it)
    FAIL [TIME] some::needs a text

    FAIL some::makes it loud
      at [FOLDER]/sources/cases/some.toml:10
      the output at `.result` is "ABC", not "ABc"
        - expected
        + found
        @@ -1,4 +1,5 @@
         {
        +  "hash": 64578,
           "length": 3,
        -  "result": "ABc"
        +  "result": "ABC"
         }
      it used 832.5 KiB (852464 bytes) of memory, and may use 64.0 KiB (65536 bytes)

    FAIL some::needs a text
      at [FOLDER]/sources/cases/some.toml:20
      its error does not contain `missing field `mode``: the plugin failed: missing field `text` at line 1 column 2

    4 cases: 1 passed, 2 failed, 1 skipped ([TIME])
    "#);
}

#[test]
fn what_passes_is_a_line_and_exit_code_0() {
    let bench = Bench::new(&[("some.toml", SOME), ("z.toml", SOME)]);
    assert_snapshot!(bench.show(TEXT, &["-k", "e::reverses"]), @"
    exit 0
    --- stdout
    ok [TIME] some::reverses

    1 case: 1 passed ([TIME])
    ");
    // One file instead of a folder of them.
    let file = text(&bench.folder.join("z.toml"));
    let output = bench.place.output(&["test", TEXT, "--cases", &file, "-k", "reverses"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 case: 1 passed"), "{}", describe(&output));
}

#[test]
fn usage_is_shown_with_each_case_where_it_is_asked_for() {
    let bench = Bench::new(&[("some.toml", SOME)]);
    let shown = bench.show(TEXT, &["-k", "reverses", "--usage"]);
    let line = shown.lines().find(|line| line.contains("some::reverses")).unwrap();
    let expected =
        Regex::new(r"^ok +\[TIME\] some::reverses \(fuel \d{4}, memory 832.5 KiB, host calls 0\)$");
    assert!(expected.unwrap().is_match(line), "{line}");
}

#[test]
fn cases_are_listed_and_found_by_a_part_of_what_they_are_called() {
    let bench = Bench::new(&[("some.toml", SOME), ("other.toml", "[[case]]\nname = \"x\"\nrun = []")]);
    assert_snapshot!(bench.show(TEXT, &["--list"]), @"
    exit 0
    --- stdout
    other::x
    some::reverses
    some::makes it loud
    some::is not thought of yet
    some::needs a text
    ");
    assert_snapshot!(bench.show(TEXT, &["--list", "-k", "some::m"]), @"
    exit 0
    --- stdout
    some::makes it loud
    ");
    let (object, code) = bench.json(TEXT, &["--list", "-k", "skip"]);
    assert_eq!((object["error"]["code"].as_str(), code), (Some("no-cases"), 1));
    let (object, code) = bench.json(TEXT, &["--list", "-k", "thought"]);
    assert_eq!((object["cases"][0]["line"].as_u64(), code), (Some(16), 0), "{object}");
}

#[test]
fn where_nothing_is_run_that_is_no_success() {
    let bench = Bench::new(&[]);
    assert_snapshot!(bench.show(TEXT, &[]), @"
    exit 1
    --- stderr
    error: no case to run: there is no `[FOLDER]/sources/cases` with files that end in `.toml`
    hint: docs/testing.md says how cases are written; `--cases DIR` names another folder
    ");
    bench.write("none.toml", "[defaults]\ncall = \"f\"\n");
    assert_snapshot!(bench.show(TEXT, &[]), @"
    exit 1
    --- stderr
    error: no case to run: `[FOLDER]/sources/cases` has no `[[case]]`
    hint: docs/testing.md says how cases are written
    ");
    bench.write("none.toml", SOME);
    assert_snapshot!(bench.show(TEXT, &["-k", "nothing like it"]), @"
    exit 1
    --- stderr
    error: no case to run: none of 4 has `nothing like it` in its name
    hint: `--list` shows them
    ");
    assert_snapshot!(bench.show(TEXT, &["-k", "thought"]), @"
    exit 1
    --- stdout
    skip           none::is not thought of yet (somebody has to write it)

    1 case: 1 skipped ([TIME])
    --- stderr
    every case is skipped, so that nothing was tested
    ");
    // Beside the plugin, where no other place is named.
    assert_snapshot!(bench.place.show(&["test", "plugins/greet/greet.wasm"]), @"
    exit 1
    --- stderr
    error: no case to run: there is no `plugins/greet/tests` with files that end in `.toml`
    hint: docs/testing.md says how cases are written; `--cases DIR` names another folder
    ");
}

#[test]
fn cases_are_told_in_their_order_however_many_run_at_once() {
    let mut cases = "[defaults]\ncall = \"transform\"\n".to_owned();
    for index in 0..60 {
        // Those that come first take longest.
        let text = "x".repeat((60 - index) * 500);
        let input = format!("input = {{ text = \"{text}\", mode = \"reverse\" }}");
        cases.push_str(&format!("[[case]]\nname = \"{index}\"\n{input}\n"));
    }
    let bench = Bench::new(&[("a.toml", &cases), ("b.toml", &cases)]);
    let one = bench.show(TEXT, &["--jobs", "1"]);
    let many = bench.show(TEXT, &["--jobs", "16"]);
    assert_eq!(one, many);
    let names: Vec<&str> = many.lines().filter_map(|line| line.split("::").nth(1)).collect();
    let expected: Vec<String> = (0..60).chain(0..60).map(|index: usize| index.to_string()).collect();
    assert_eq!(names, expected);
}

#[test]
fn with_fail_fast_nothing_is_begun_after_a_failure() {
    let mut cases = "[defaults]\ncall = \"transform\"\n[[case]]\nname = \"fails\"\n".to_owned();
    (0..20).for_each(|index| cases.push_str(&format!("[[case]]\nname = \"{index}\"\nerror = \"failed\"\n")));
    let bench = Bench::new(&[("a.toml", &cases)]);
    let (object, code) = bench.json(TEXT, &["--fail-fast", "--jobs", "1"]);
    assert_eq!((&object["counts"]["failed"], &object["counts"]["not_run"], code), (&1.into(), &20.into(), 1));
    let shown = bench.show(TEXT, &["--fail-fast", "--jobs", "1"]);
    assert!(shown.ends_with("21 cases: 1 failed, 20 not run ([TIME])\n"), "{shown}");
    let (object, _) = bench.json(TEXT, &[]);
    assert_eq!((&object["counts"]["passed"], &object["counts"]["not_run"]), (&20.into(), &0.into()));
}

#[test]
fn other_tools_read_the_report() {
    let cases = SOME.replace("\"abc\", mode = \"upper", "\"a<\\u0007\\u001b[2J]]>&\", mode = \"upper");
    let bench = Bench::new(&[("some.toml", &cases), ("z.toml", SOME)]);
    let file = text(&bench.folder.join("report.xml"));
    assert_eq!(bench.output(TEXT, &["--junit", &file]).status.code(), Some(1));
    let xml = bench.read("report.xml");
    assert!(!xml.contains(['\x1b', '\x07']), "{xml}");
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!(
        (report.name.as_ref().unwrap().as_str(), report.tests, report.failures, report.errors),
        ("text-processor", 8, 4, 0)
    );
    let [first, second] = report.test_suites.as_slice() else { panic!("{report:?}") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("some", "z"));
    let loud = first.test_cases.iter().find(|case| case.name.as_str() == "makes it loud").unwrap();
    let quick_junit::TestCaseStatus::NonSuccess { message, description, .. } = &loud.status else {
        panic!("{loud:?}")
    };
    assert!(message.as_ref().unwrap().as_str().starts_with("the output at `."), "{message:?}");
    let description = description.as_ref().unwrap().as_str();
    assert!(description.contains("+  \"result\": \"A<\\u0007\\u001b[2J]]>&\""), "{description}");
    let skipped = &first.test_cases[2].status;
    assert!(matches!(skipped, quick_junit::TestCaseStatus::Skipped { .. }), "{skipped:?}");
}

#[test]
fn what_a_plugin_says_does_not_reach_a_terminal() {
    let bench = Bench::new(&[(
        "a.toml",
        "[[case]]\nname = \"json\"\ncall = \"f\"\noutput = \"\"\n\
         [[case]]\nname = \"pattern\"\ncall = \"f\"\nmatches = \"^$\"\n",
    )]);
    let plugin = answering(&bench, r#""\u001b[2J\u202e\u009b5m""#);
    let folder = text(&bench.folder);
    let mut command = crate::support::airlock();
    command.env("AIRLOCK_HOME", bench.place.home()).env("CLICOLOR_FORCE", "1");
    let output = command.args(["test", &plugin, "--cases", &folder]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    // The colours are Airlock's own, and nothing else is.
    let colours = Regex::new("\x1b\\[[0-9;]*m").unwrap();
    assert!(colours.is_match(&printed), "{printed:?}");
    let rest = colours.replace_all(&printed, "");
    assert!(rest.contains(r"\u001b[2J") && rest.contains("\\x1b[2J"), "{rest}");
    assert!(!rest.chars().any(|c| c.is_control() && c != '\n') && !rest.contains('\u{202e}'), "{rest:?}");
    // None of them where nobody sees them, or wants to.
    let output = bench.output(&plugin, &[]);
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn what_is_wrong_with_the_plugin_is_told_once() {
    let bench = Bench::new(&[("some.toml", SOME)]);
    assert_snapshot!(bench.show("plugins/none", &[]), @"
    exit 127
    --- stderr
    error: no plugin at `plugins/none`
    ");
    assert_snapshot!(bench.place.show(&["test", "plugins/none"]), @"
    exit 127
    --- stderr
    error: no plugin at `plugins/none`
    ");
    assert_snapshot!(bench.show("plugins/csv/src/main.rs", &[]), @r"
    exit 125
    --- stderr
    error: not WebAssembly: it starts with [2f, 2f, 21, 20], not with `\0asm`
    ");
}

#[test]
fn what_is_installed_is_tested_by_cases_from_elsewhere() {
    let bench = Bench::new(&[("some.toml", SOME)]);
    bench.place.ok(&["install", TEXT]);
    assert_snapshot!(bench.place.show(&["test", "text-processor"]), @"
    exit 1
    --- stderr
    error: no case to run: `text-processor` is installed, and no cases are kept with what is installed
    hint: `--cases DIR` names a folder of some
    ");
    let (object, _) = bench.json("text-processor", &["-k", "reverses"]);
    assert_eq!(object["counts"]["passed"], 1, "{object}");
}

#[test]
fn what_a_plugin_requires_and_is_not_given_is_denied() {
    let case = |name: &str, more: &str| format!("[[case]]\nname = \"{name}\"\nrun = [\"a\"]\n{more}\n");
    let cases =
        [case("expected", "allow = []\nerror = \"denied\""), case("not", "allow = []"), case("files", "")];
    let bench = Bench::new(&[("a.toml", &cases.concat())]);
    assert_snapshot!(bench.show("plugins/sen-cat/sen_cat.wasm", &[]), @r#"
    exit 1
    --- stdout
    ok [TIME] a::expected
    FAIL [TIME] a::not
    FAIL [TIME] a::files

    FAIL a::not
      at [FOLDER]/sources/cases/a.toml:6
      it failed with `denied`: `fs.read=data` is needed and not granted
      hint: `allow = ["fs.read=data"]` in the case grants it

    FAIL a::files
      at [FOLDER]/sources/cases/a.toml:10
      it failed with `denied`: `fs.write=out/*` is needed and not granted
      hint: cases read in the plugin's folder and write in `@`; `--allow 'fs.write=out/*'` with `airlock test` goes beyond that

    3 cases: 1 passed, 2 failed ([TIME])
    "#);
}

#[test]
fn the_page_names_each_key_of_the_object() {
    let bench = Bench::new(&[("some.toml", SOME)]);
    let (object, _) = bench.json(TEXT, &[]);
    let page = std::fs::read_to_string(repository().join("docs/json.md")).unwrap();
    fn keys(value: &Value, page: &str) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    assert!(page.contains(&format!("`{key}`")), "docs/json.md does not name `{key}`");
                    keys(value, page);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| keys(value, page)),
            _ => {}
        }
    }
    keys(&object, &page);
}

#[test]
fn the_plugins_that_are_here_pass_their_own_cases() {
    let place = Place::new();
    for (plugin, most) in [
        ("text-processor", 6),
        ("sen-greet/sen_greet.wasm", 4),
        ("cortex-context/cortex_context.wasm", 7),
        ("fledge-messages", 5),
        ("fledge-lint", 3),
        ("csv/csv.wasm", 4),
        ("jsonfmt/jsonfmt.wasm", 4),
    ] {
        let path = Path::new("plugins").join(plugin);
        let output = place.output(&["--json", "test", path.to_str().unwrap()]);
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        let passed = object["counts"]["passed"].as_u64().unwrap();
        assert!(output.status.success() && passed >= most, "{plugin}: {object:#}");
    }
}
