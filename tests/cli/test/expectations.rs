//! Each kind of expectation, met and not met.

use super::{Bench, answering};
use crate::support::{GREET, TEXT};

/// Runs cases that are named by what has to be said of them: the end of a sentence, or `ok`.
fn judge(plugin: &str, head: &str, cases: &[(&str, &str)]) {
    let mut text = head.to_owned();
    for (index, (case, _)) in cases.iter().enumerate() {
        text.push_str(&format!("\n[[case]]\nname = \"{index}\"\n{case}\n"));
    }
    let bench = Bench::new(&[("a.toml", &text)]);
    let told = bench.told(plugin, &[]);
    for ((case, expected), (_, outcome, failures)) in cases.iter().zip(&told) {
        let said = failures.join("; ");
        let said = if outcome == "passed" { "ok" } else { said.as_str() };
        assert_eq!(said, *expected, "{case}");
    }
    assert_eq!(told.len(), cases.len());
}

const TRANSFORM: &str = "[defaults]\ncall = \"transform\"\n";
const INPUT: &str = r#"input = { text = "abc", mode = "reverse" }"#;

#[test]
fn an_answer_is_compared_as_json() {
    let with = |more: &str| format!("{INPUT}\n{more}");
    let cases = [
        ("", "ok"),
        (r#"output = { result = "cba", length = 3.0, hash = 98274 }"#, "ok"),
        (r#"output = { result = "cba", length = 3 }"#, "the output at `.hash` is 98274 and was not expected"),
        (r#"output = "cba""#, r#"the output is {"hash":98274,"length":3,"result":"cba"}, not "cba""#),
        (r#"output_json = '{"length":3,"hash":98274,"result":"cba"}'"#, "ok"),
        (
            r#"output_json = '{"length":3,"hash":98275,"result":"cba"}'"#,
            "the output at `.hash` is 98274, not 98275",
        ),
        (r#"contains = { length = 3 }"#, "ok"),
        (r#"contains = { size = 3 }"#, "the output at `.size` is not there; 3 was expected"),
        (r#"contains_json = '{"length":4}'"#, "the output at `.length` is 3, not 4"),
        (r#"matches = '^\{"result":"c.a",'"#, "ok"),
        (r#"matches = "abc""#, "the output does not match `abc`"),
        (
            "contains = { length = 4 }\nmatches = \"abc\"",
            "the output at `.length` is 3, not 4; the output does not match `abc`",
        ),
    ]
    .map(|(more, expected)| (with(more), expected));
    let cases: Vec<(&str, &str)> = cases.iter().map(|(case, expected)| (case.as_str(), *expected)).collect();
    judge(TEXT, TRANSFORM, &cases);
}

#[test]
fn numbers_are_exact_to_the_last_digit() {
    let bench = Bench::new(&[(
        "a.toml",
        r#"
        [defaults]
        call = "f"
        [[case]]
        name = "all digits"
        output_json = '[18446744073709551616, 9007199254740993, 1, 0.10, 1e2]'
        [[case]]
        name = "however they are written"
        output_json = '[18446744073709551616.0, 9.007199254740993e15, 1.0, 0.1, 100]'
        [[case]]
        name = "a whole number of TOML"
        contains_json = '[18446744073709551616, 9007199254740992, 1, 0.1, 100]'
        [[case]]
        name = "more than 64 bits"
        output_json = '[18446744073709551617, 9007199254740993, 1, 0.1, 100]'
        "#,
    )]);
    let plugin = answering(&bench, "[18446744073709551616,9007199254740993,1,0.10,1e2]");
    let told = bench.told(&plugin, &[]);
    let said: Vec<&str> = told.iter().map(|(_, _, failures)| failures.first().map_or("", |it| it)).collect();
    assert_eq!(
        said,
        [
            "",
            "",
            "the output at `[1]` is 9007199254740993, not 9007199254740992",
            "the output at `[0]` is 18446744073709551616, not 18446744073709551617"
        ]
    );
}

#[test]
fn a_failure_is_expected_by_its_code_and_its_message() {
    let well = r#"input = { text = "a", mode = "b" }"#;
    judge(
        TEXT,
        TRANSFORM,
        &[
            (
                "input = {}",
                "it failed with `failed`: the plugin failed: missing field `text` at line 1 column 2",
            ),
            ("error = \"failed\"", "ok"),
            ("error = \"failed\"\nerror_contains = \"field `text`\"\nerror_matches = '\\d$'", "ok"),
            (
                "error = \"trap\"",
                "it failed with `failed`, not `trap`: the plugin failed: missing field `text` at line 1 column 2",
            ),
            (
                "error = \"failed\"\nerror_contains = \"mode\"\nerror_matches = \"^no\"",
                "its error does not contain `mode`: the plugin failed: missing field `text` at line 1 column 2; \
                 its error does not match `^no`: the plugin failed: missing field `text` at line 1 column 2",
            ),
            (&format!("{well}\nerror = \"failed\""), "it went well, and was to fail with `failed`"),
            ("call = \"tranform\"\nerror = \"unknown-function\"", "ok"),
            ("input_json = '{'\nerror = \"invalid-input\"", "ok"),
            ("run = []\nerror = \"wrong-verb\"", "ok"),
            (&format!("{well}\nlimits = {{ memory = \"64KiB\" }}\nerror = \"limit-memory\""), "ok"),
            (&format!("{well}\nlimits = {{ fuel = 100 }}\nerror = \"limit-fuel\""), "ok"),
        ],
    );
}

#[test]
fn a_program_is_judged_by_its_code_and_its_streams() {
    judge(
        GREET,
        "",
        &[
            ("run = [\"Ann\"]", "ok"),
            ("run = [\"Ann\"]\nstdout = \"hello, Ann\\n\"\nstderr = \"done\\n\"", "ok"),
            ("run = [\"Ann\"]\nstdout = \"hello\"", "standard output is not as expected, from line 1 on"),
            ("run = []\nstdin = \"Bob\\nEve\"\nstdout = \"hello, Bob\\nhello, Eve\\n\"", "ok"),
            (
                "run = [\"A\", \"B\"]\nstdout = \"hello, A\\nhello, C\\n\"",
                "standard output is not as expected, from line 2 on",
            ),
            ("run = [\"Ann\"]\nstdout = { contains = \"Ann\", matches = [\"^hello\", \"n\\n$\"] }", "ok"),
            (
                "run = [\"Ann\"]\nstdout = { contains = [\"Ann\", \"Bob\"], matches = \"^A\" }",
                "standard output does not contain `Bob`; standard output does not match `^A`",
            ),
            ("run = [\"--exit\", \"3\"]\nexit = 3", "ok"),
            ("run = [\"--exit\", \"3\"]", "it ended with 3, not 0"),
            ("run = []\nexit = 1", "it ended with 0, not 1"),
            ("run = [\"--exit\", \"3\"]\nerror = \"trap\"", "it ended with 3, and was to fail with `trap`"),
            ("run = [\"--panic\"]\nerror = \"trap\"\nstderr = { contains = \"asked to\" }", "ok"),
            (
                "run = [\"--panic\"]\nerror = \"trap\"\nstderr = { contains = \"nothing\" }",
                "standard error does not contain `nothing`",
            ),
        ],
    );
}

#[test]
fn budgets_bound_what_is_measured() {
    let with = |more: &str| format!("{INPUT}\n{more}");
    let case = [
        with("max_fuel = 100_000\nmax_memory = \"1MiB\"\nmax_host_calls = 0"),
        with("max_memory = 852464"),
        with("max_memory = 852463"),
        "call = \"transform\"\nerror = \"failed\"\nmax_fuel = 1".to_owned(),
    ];
    let said = [
        "ok",
        "ok",
        "it used 832.5 KiB (852464 bytes) of memory, and may use 832.5 KiB (852463 bytes)",
        // What failed was not measured.
        "ok",
    ];
    let cases: Vec<(&str, &str)> = case.iter().map(String::as_str).zip(said).collect();
    judge(TEXT, TRANSFORM, &cases);

    let bench =
        Bench::new(&[("a.toml", &format!("{TRANSFORM}[[case]]\nname = \"a\"\n{INPUT}\nmax_fuel = 1"))]);
    let of = |args: &[&str]| bench.told(TEXT, args)[0].2.join("; ");
    let said = of(&[]);
    assert!(said.starts_with("it used ") && said.ends_with(" of fuel, and may use 1"), "{said}");
    // The same each time, whatever else runs.
    assert_eq!(said, of(&["--jobs", "1"]));

    judge(
        GREET,
        "[defaults]\nmax_host_calls = 1\n",
        &[
            ("run = [\"a\"]\nmax_host_calls = 1000", "ok"),
            ("steps = [{ run = [\"a\"], max_host_calls = 1000 }]", "ok"),
        ],
    );
    let bench =
        Bench::new(&[("a.toml", "[defaults]\nmax_host_calls = 1\n[[case]]\nname = \"a\"\nrun = [\"a\"]")]);
    let said = bench.told(GREET, &[])[0].2.join("; ");
    assert!(said.starts_with("it made ") && said.ends_with(" host calls, and may make 1"), "{said}");
}

#[test]
fn the_clock_and_random_numbers_are_what_a_case_says() {
    judge(
        GREET,
        "",
        &[
            ("run = [\"--time\"]\nstdout = \"1577836800\\n\"", "ok"),
            ("run = [\"--time\"]\nclock = 2026-01-31T12:00:00Z\nstdout = \"1769860800\\n\"", "ok"),
            ("run = [\"--time\"]\nclock = \"2026-01-31T13:00:00+01:00\"\nstdout = \"1769860800\\n\"", "ok"),
            ("run = [\"--random\"]\nsnapshot = true", "there is no snapshot `snapshots/…/3.snap`"),
        ],
    );
    let random =
        |name: &str, more: &str| format!("[[case]]\nname = \"{name}\"\nrun = [\"--random\"]\n{more}\n");
    let cases = [
        random("a", "stdout = \"\""),
        random("b", "stdout = \"\""),
        random("c", "stdout = \"\"\nrandom_seed = 7"),
        random("d", "stdout = \"\"\ndeterministic = false\nallow = [\"random\"]"),
    ];
    let bench = Bench::new(&[("a.toml", &cases.concat())]);
    let found = |object: &serde_json::Value, at: usize| {
        object["cases"][at]["ran"]["failures"][0]["found"].as_str().unwrap().to_owned()
    };
    let ((first, _), (second, _)) = (bench.json(GREET, &[]), bench.json(GREET, &[]));
    assert_eq!(found(&first, 0), found(&first, 1));
    assert_ne!(found(&first, 0), found(&first, 2));
    assert_eq!([0, 1, 2].map(|at| found(&first, at)), [0, 1, 2].map(|at| found(&second, at)));
    assert_ne!(found(&first, 3), found(&second, 3));
}
