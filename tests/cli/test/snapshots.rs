//! Answers that are kept.

use insta::assert_snapshot;

use super::{Bench, answering};
use crate::plugins::text;
use crate::support::{GREET, TEXT};

const CASES: &str = r#"
[[case]]
name = "one answer"
call = "transform"
input = { text = "abc", mode = "reverse" }
snapshot = true

[[case]]
name = "several"
[[case.steps]]
call = "transform"
input = { text = "abc", mode = "uppercase" }
[[case.steps]]
call = "transform"
input = { text = "abc", mode = "rot13" }
snapshot = true
"#;

#[test]
fn a_snapshot_is_written_compared_and_written_anew() {
    let bench = Bench::new(&[("kept.toml", CASES)]);
    assert_snapshot!(bench.show(TEXT, &[]), @r#"
    exit 1
    --- stdout
    FAIL [TIME] kept::one answer
    FAIL [TIME] kept::several

    FAIL kept::one answer
      at [FOLDER]/sources/cases/kept.toml:2
      there is no snapshot `snapshots/…/one-answer.snap`
        - expected
        + found
        @@ -1,0 +1,5 @@
        +{
        +  "hash": 98274,
        +  "length": 3,
        +  "result": "cba"
        +}
      hint: `--update` keeps what was found

    FAIL kept::several
      at [FOLDER]/sources/cases/kept.toml:8
      step 2: there is no snapshot `snapshots/…/several.2.snap`
        - expected
        + found
        @@ -1,0 +1,5 @@
        +{
        +  "hash": 109263,
        +  "length": 3,
        +  "result": "nop"
        +}
      hint: `--update` keeps what was found

    2 cases: 2 failed ([TIME])
    "#);
    assert!(!bench.has("snapshots"));
    assert_snapshot!(bench.show(TEXT, &["--update"]), @"
    exit 0
    --- stdout
    ok [TIME] kept::one answer
    ok [TIME] kept::several

    2 cases: 2 passed ([TIME]); 2 snapshots written
    ");
    assert_snapshot!(bench.read("snapshots/kept/one-answer.snap"), @r#"
    {
      "hash": 98274,
      "length": 3,
      "result": "cba"
    }
    "#);
    assert!(bench.has("snapshots/kept/several.2.snap"));
    assert_eq!(bench.passed(TEXT), 2);
    // Another text for the same value is no difference.
    bench.write("snapshots/kept/one-answer.snap", r#"{"result":"cba","length":3.0,"hash":98274}"#);
    assert_eq!(bench.passed(TEXT), 2);
    bench.write("snapshots/kept/one-answer.snap", r#"{"result":"abc","length":3,"hash":98274}"#);
    assert_snapshot!(bench.show(TEXT, &["-k", "one"]), @r#"
    exit 1
    --- stdout
    FAIL [TIME] kept::one answer

    FAIL kept::one answer
      at [FOLDER]/sources/cases/kept.toml:2
      the output at `.result` is "cba", not "abc", as its snapshot has it
        - expected
        + found
        @@ -1,5 +1,5 @@
         {
           "hash": 98274,
           "length": 3,
        -  "result": "abc"
        +  "result": "cba"
         }
      hint: `--update` keeps what was found instead

    1 case: 1 failed ([TIME])
    "#);
    let shown = bench.show(TEXT, &["--update"]);
    assert!(shown.ends_with("2 cases: 2 passed ([TIME]); 1 snapshot written\n"), "{shown}");
}

#[test]
fn those_of_no_case_are_removed_where_all_of_a_file_was_run() {
    let bench = Bench::new(&[("kept.toml", CASES), ("other.toml", CASES)]);
    bench.output(TEXT, &["--update"]);
    bench.write("kept.toml", &CASES.replace("one answer", "another name"));
    bench.write("snapshots/kept/notes.txt", "not ours");
    bench.output(TEXT, &["--update", "-k", "another"]);
    assert!(bench.has("snapshots/kept/one-answer.snap"), "a part of the file was run");
    let shown = bench.show(TEXT, &["--update"]);
    assert!(shown.ends_with("4 cases: 4 passed ([TIME]); 1 snapshot removed\n"), "{shown}");
    assert!(!bench.has("snapshots/kept/one-answer.snap") && bench.has("snapshots/kept/notes.txt"));
    assert!(bench.has("snapshots/other/one-answer.snap"));
}

#[test]
fn what_a_case_failed_with_is_not_kept() {
    let case = "[[case]]\nname = \"a\"\nrun = [\"x\"]\nexit = 1\nsnapshot = true\n";
    let bench = Bench::new(&[("a.toml", case)]);
    assert_eq!(bench.output(GREET, &["--update"]).status.code(), Some(1));
    assert!(!bench.has("snapshots"));
}

#[test]
fn nothing_in_a_snapshot_moves_the_cursor() {
    let bench = Bench::new(&[("a.toml", "[[case]]\nname = \"a\"\ncall = \"f\"\nsnapshot = true")]);
    let plugin = answering(&bench, r#"{"\u001b[2J":["\u202e",18446744073709551617]}"#);
    assert_eq!(bench.output(&plugin, &["--update"]).status.code(), Some(0));
    assert_snapshot!(bench.read("snapshots/a/a.snap"), @r#"
    {
      "\u001b[2J": [
        "\u202e",
        18446744073709551617
      ]
    }
    "#);
    assert_eq!(bench.passed(&plugin), 1);

    let bench = Bench::new(&[("a.toml", "[[case]]\nname = \"a\"\nrun = [\"\\u001b[2J\"]\nsnapshot = true")]);
    assert_eq!(bench.output(GREET, &["--update"]).status.code(), Some(0));
    assert_eq!(bench.read("snapshots/a/a.snap"), "hello, \\x1b[2J\n");
    assert_eq!(bench.passed(GREET), 1);
}

#[test]
fn a_link_leads_no_snapshot_out_of_the_folder() {
    let bench = Bench::new(&[("kept.toml", CASES)]);
    let elsewhere = bench.place.path("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("mine.snap"), "mine").unwrap();
    std::fs::create_dir_all(bench.folder.join("snapshots")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.folder.join("snapshots/kept")).unwrap();
    let shown = bench.show(TEXT, &["--update"]);
    assert!(shown.contains("a link leads it out of the folder of the cases"), "{shown}");
    let left: Vec<_> =
        std::fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine.snap"]);
    // Nor does one in the place of a snapshot: it is replaced, and what it leads to stays.
    std::fs::remove_file(bench.folder.join("snapshots/kept")).unwrap();
    std::fs::create_dir_all(bench.folder.join("snapshots/kept")).unwrap();
    let link = bench.folder.join("snapshots/kept/one-answer.snap");
    std::os::unix::fs::symlink(elsewhere.join("mine.snap"), &link).unwrap();
    let shown = bench.show(TEXT, &["--update"]);
    assert!(shown.contains("a link leads it out"), "{shown}");
    assert_eq!(std::fs::read_to_string(elsewhere.join("mine.snap")).unwrap(), "mine");
    assert!(text(&link).ends_with(".snap") && link.is_symlink());
}
