//! Case files that are not as they should be.

use super::Bench;
use crate::support::TEXT;

/// What is said of a file with this text: the reason with its place, and the hint.
fn refused(text: &str) -> (String, String) {
    let bench = Bench::new(&[("good.toml", "[[case]]\nname = \"a\"\ncall = \"f\""), ("bad.toml", text)]);
    let (object, code) = bench.json(TEXT, &[]);
    let error = &object["error"];
    assert_eq!((error["code"].as_str(), code), (Some("invalid-cases"), 2), "{text}\n{object}");
    let message = bench.place.plain(error["message"].as_str().unwrap());
    let reason = message.strip_prefix("cases `[FOLDER]/sources/cases/bad.toml` are not valid: ").unwrap();
    (reason.to_owned(), error["hint"].as_str().unwrap_or_default().to_owned())
}

/// That a case with these lines is refused for this reason, at the case.
fn case(lines: &str, expected: &str) {
    let (reason, _) = refused(&format!("\n[[case]]\nname = \"x\"\n{lines}\n"));
    assert_eq!(reason, format!("{expected} (line 2, column 1)"), "{lines}");
}

#[test]
fn a_key_that_means_nothing_is_told_with_its_place_and_the_nearest() {
    let (reason, hint) = refused("[[case]]\nname = \"x\"\ncal = \"f\"");
    assert_eq!(reason, "unknown key `cal` of `case` (line 3, column 1)");
    assert!(hint.starts_with("did you mean `call`"), "{hint}");
    let (reason, hint) = refused("[default]\n");
    assert_eq!(
        (reason.as_str(), hint.as_str()),
        ("unknown key `default` (line 1, column 2)", "did you mean `defaults`?")
    );
    let (reason, _) = refused("[[case]]\nname = \"x\"\nrun = []\nstdout = { contain = \"y\" }");
    assert_eq!(reason, "unknown key `contain` of `stdout` (line 4, column 12)");
    let (reason, _) = refused("[[case]]\nname = \"x\"\nobserved = { htpt = [] }");
    assert_eq!(reason, "unknown key `htpt` of `observed` (line 3, column 14)");
    let (reason, _) = refused("[defaults.fakes.email]\nacount = \"home\"\n");
    assert_eq!(reason, "unknown key `acount` of `email` (line 2, column 1)");
}

#[test]
fn what_is_no_toml_or_of_another_type_is_told_with_its_place() {
    let (reason, _) = refused("[[case]]\nname = \"x");
    assert!(reason.ends_with("(line 2, column 10)"), "{reason}");
    let (reason, _) = refused("[[case]]\nname = 3");
    assert_eq!(reason, "invalid type: integer `3`, expected a string (line 2, column 8)");
    let (reason, _) = refused("[[case]]\ncall = \"f\"");
    assert_eq!(reason, "missing field `name` (line 1, column 1)");
    let (reason, _) = refused("[case]\nname = \"x\"");
    assert!(reason.starts_with("invalid type: map, expected a sequence"), "{reason}");
    let (reason, _) = refused("[[case]]\nname = \"x\"\ncall = \"f\"\nmax_fuel = -1");
    assert!(reason.contains("-1") && reason.ends_with("(line 4, column 12)"), "{reason}");
    let (reason, _) = refused("[[case]]\nname = \"x\"\ncall = \"f\"\ninput = 18446744073709551617");
    assert!(reason.ends_with("(line 4, column 9)"), "{reason}");
}

#[test]
fn names_tell_cases_apart() {
    let (reason, _) = refused("[[case]]\nname = \"x\"\ncall = \"f\"\n[[case]]\nname = \"x\"\ncall = \"f\"");
    assert_eq!(reason, "there are two cases `x` (line 5, column 8)");
    let (reason, _) = refused("[[case]]\nname = \" \"\ncall = \"f\"");
    assert_eq!(reason, "its name is empty (line 2, column 8)");
    let (reason, _) = refused("[[case]]\nname = \"\\u001b[2J\"\ncall = \"f\"");
    assert_eq!(reason, "its name is not one line of plain text (line 2, column 8)");
    let (reason, _) = refused(&format!("[[case]]\nname = \"{}\"\ncall = \"f\"", "x".repeat(201)));
    assert_eq!(reason, "its name is longer than 200 bytes (line 2, column 8)");
    let snapshot = |name: &str| format!("[[case]]\nname = \"{name}\"\ncall = \"f\"\nsnapshot = true\n");
    let (reason, _) = refused(&[snapshot("A b"), snapshot("a-b")].concat());
    assert_eq!(reason, "`A b` and `a-b` would have the same snapshot; another name for one");
}

#[test]
fn what_excludes_the_other_is_refused() {
    case("", "it has neither `call` nor `run`");
    case("call = \"f\"\nrun = []", "it has both `call` and `run`");
    case(
        "call = \"f\"\ninput = 1\ninput_json = \"1\"",
        "it has more than one of `input`, `input_json` and `input_file`",
    );
    case("call = \"f\"\noutput = 1\noutput_json = \"1\"", "it has both `output` and `output_json`");
    case("call = \"f\"\ncontains = 1\ncontains_json = \"1\"", "it has both `contains` and `contains_json`");
    case("run = []\nstdin = \"\"\nstdin_file = \"x\"", "it has both `stdin` and `stdin_file`");
    let of_run = "is of a program that is `run`; a `call` has `input`, `output` and `log`";
    case("call = \"f\"\nexit = 1", &format!("`exit` {of_run}"));
    case("call = \"f\"\nanswers = []", &format!("`answers` {of_run}"));
    let of_call = "is of a `call`; what is `run` has `stdin`, `stdout` and `stderr`";
    case("run = []\noutput = 1", &format!("`output` {of_call}"));
    case("run = []\nlog = \"\"", &format!("`log` {of_call}"));
    let fails = "what is to fail with `error` has no output, no snapshot and no exit code";
    case("call = \"f\"\nerror = \"x\"\noutput = 1", fails);
    case("call = \"f\"\nerror = \"x\"\nsnapshot = true", fails);
    case(
        "call = \"f\"\nerror_contains = \"x\"",
        "`error_contains` and `error_matches` go with `error`, its code",
    );
    case("steps = []", "`steps` is empty");
    case(
        "call = \"f\"\nsteps = [{ call = \"g\" }]",
        "a case with `steps` says there what is done and expected",
    );
    let virtual_only = "`clock` and `random_seed` are of the virtual clock and of seeded numbers, which it does not \
                        have with `deterministic = false`";
    case("call = \"f\"\nrandom_seed = 1\ndeterministic = false", virtual_only);
}

#[test]
fn values_that_cannot_be_read_are_refused() {
    case(
        "call = \"f\"\noutput_json = \"{\"",
        "`output_json` is no JSON: EOF while parsing an object at line 1 column 1",
    );
    case("call = \"f\"\ninput = [nan]", "`NaN` is no number in JSON");
    case("call = \"f\"\nmax_memory = \"much\"", "`much` is no size such as `64MiB`");
    case("call = \"f\"\nlog = {}", "it says neither `contains` nor `matches`");
    case(
        "call = \"f\"\nallow = [\"exce=*\"]",
        "unknown capability `exce` (did you mean `exec` or `secrets`?)",
    );
    case("call = \"f\"\nlimits = { memroy = 1 }", "unknown limit `memroy` (did you mean `memory`?)");
    case("call = \"f\"\nlimits = { stack = 1 }", "`stack` is one value for all cases; `--stack` sets it");
    case(
        "call = \"f\"\nclock = 2026-01-31",
        "`clock`: `2026-01-31` is no time with its zone such as 2026-01-01T00:00:00Z",
    );
    case(
        "call = \"f\"\nclock = 1969-12-31T00:00:00Z",
        "`clock`: `1969-12-31T00:00:00Z` is before 1970, which a virtual clock cannot be",
    );
    case(
        "call = \"f\"\nfakes = { http = [{ url = \"x\", status = 1 }] }",
        "`answer for x`: `1` is no HTTP status",
    );
    case("run = []\nanswers = [1.5]", "`answers` are texts, numbers, truths, and lists of what is chosen");
    let (reason, _) = refused("[[case]]\nname = \"x\"\ncall = \"f\"\nmatches = \"(\"");
    assert!(reason.starts_with("`(` is no regular expression: "), "{reason}");
}

#[test]
fn no_path_leads_out_of_the_folder() {
    for path in ["../bad.toml", "/etc/passwd", "", "a/../../b"] {
        case(
            &format!("call = \"f\"\ninput_file = \"{path}\""),
            &format!("`input_file`: `{path}` is no path within the folder"),
        );
    }
    case("call = \"f\"\nfolder = \"..\"", "`folder`: `..` is no path within the folder");
    case(
        "call = \"f\"\ninput_file = \"none\"",
        "`input_file`: `none` cannot be read: No such file or directory (os error 2)",
    );
    let text = "[[case]]\nname = \"x\"\ncall = \"f\"\ninput_file = \"link\"";
    let bench = Bench::new(&[("a.toml", text)]);
    std::os::unix::fs::symlink("/etc/passwd", bench.folder.join("link")).unwrap();
    assert!(bench.show(TEXT, &[]).contains("a link leads it out of the folder of the cases"));
}

#[test]
fn a_pipe_and_what_is_no_text_are_no_case_files() {
    let bench = Bench::new(&[]);
    std::fs::write(bench.folder.join("a.toml"), b"\xff").unwrap();
    let shown = bench.show(TEXT, &[]);
    assert!(shown.contains("caused by: it is not UTF-8"), "{shown}");
    std::fs::remove_file(bench.folder.join("a.toml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bench.folder.join("a.toml")).status().unwrap();
    assert!(made.success());
    let shown = bench.show(TEXT, &[]);
    assert!(shown.contains("caused by: it is no regular file"), "{shown}");
}
