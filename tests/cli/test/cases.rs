//! What a case is run among, and that none sees what another has done.

use super::Bench;
use crate::plugins::Place;
use crate::support::GREET;

const CONTEXT: &str = "plugins/cortex-context/cortex_context.wasm";
const CSV: &str = "plugins/csv/csv.wasm";

#[test]
fn what_a_case_leaves_behind_no_other_sees() {
    let mut cases = "[defaults]\nallow = [\"kv\"]\nfakes = { kv = { a = \"of all\" } }\n".to_owned();
    for index in 0..40 {
        cases.push_str(&format!(
            "[[case]]\nname = \"{index}\"\nobserved = {{ kv = {{ a = \"{index}\" }} }}\nsteps = [\n\
             {{ call = \"state-get\", input = \"a\", output = \"of all\" }},\n\
             {{ call = \"state-set\", input = [\"a\", \"{index}\"] }},\n\
             {{ call = \"count\", input_json = \"null\", output = 1 }},\n\
             {{ call = \"state-get\", input = \"a\", output = \"{index}\" }},\n]\n"
        ));
    }
    let bench = Bench::new(&[("a.toml", &cases)]);
    assert_eq!(bench.passed(CONTEXT), 40);
}

#[test]
fn steps_are_of_one_session_unless_it_is_said_otherwise() {
    let count = |expected: u32| format!("{{ call = \"count\", input_json = \"null\", output = {expected} }}");
    let case = |name: &str, more: &str, second: u32| {
        format!("[[case]]\nname = \"{name}\"\n{more}\nsteps = [{}, {}]\n", count(1), count(second))
    };
    let cases = [case("kept", "", 2), case("afresh", "keep_state = false", 1), case("wrong", "", 1)].concat();
    let bench = Bench::new(&[("a.toml", &cases)]);
    let told = bench.told(CONTEXT, &[]);
    let outcomes: Vec<&str> = told.iter().map(|(_, outcome, _)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["passed", "passed", "failed"]);
    assert_eq!(told[2].2, ["step 2: the output is 2, not 1"].map(|said| said.replace("step 2: ", "")));
    let (object, _) = bench.json(CONTEXT, &["-k", "wrong"]);
    assert_eq!(object["cases"][0]["ran"]["failures"][0]["step"], 2);
    assert!(bench.show(CONTEXT, &["-k", "wrong"]).contains("step 2: the output is 2, not 1"));
}

#[test]
fn what_is_not_allowed_is_denied() {
    let case = |name: &str, more: &str| {
        format!("[[case]]\nname = \"{name}\"\ncall = \"state-get\"\ninput = \"a\"\n{more}\n")
    };
    let cases = [
        case("allowed", "allow = [\"kv\"]\nfakes = { kv = { a = \"1\" } }\noutput = \"1\""),
        case("not", "allow = []\nfakes = { kv = { a = \"1\" } }\noutput_json = \"null\""),
        case(
            "taken",
            "allow = [\"kv\"]\ndeny = [\"kv\"]\nfakes = { kv = { a = \"1\" } }\noutput_json = \"null\"",
        ),
    ];
    assert_eq!(Bench::new(&[("a.toml", &cases.concat())]).passed(CONTEXT), 3);
}

#[test]
fn what_was_asked_of_fakes_is_compared_in_part() {
    let case = |name: &str, observed: &str| {
        format!(
            "[[case]]\nname = \"{name}\"\ncall = \"http\"\nobserved = {observed}\n\
             input = {{ method = \"POST\", url = \"https://a.example/x\", body = '{{\"n\":1}}' }}\n"
        )
    };
    let cases = [
        "[defaults]\nallow = [\"net=https://a.example\"]\nfakes = { http = [{ url = \"*\" }] }\n".to_owned(),
        case("in part", "{ http = [{ url = \"https://a.example/x\" }] }"),
        case("within its body", "{ http = [{ body = { n = 1 } }] }"),
        case("another", "{ http = [{ body = { n = 2 } }] }"),
        case("none", "{ http = [] }"),
        case("state", "{ kv = { a = \"b\" } }"),
    ];
    let bench = Bench::new(&[("a.toml", &cases.concat())]);
    let said: Vec<String> = bench.told(CONTEXT, &[]).iter().map(|(_, _, said)| said.join("; ")).collect();
    assert_eq!(
        said,
        [
            "",
            "",
            "what was observed at `.http[0].body.n` is 1, not 2",
            "what was observed at `.http` has 1 element, not 0",
            "what was observed at `.kv.a` is not there; \"b\" was expected",
        ]
    );
}

#[test]
fn questions_are_answered_by_the_case() {
    let case = |name: &str, answers: &str| {
        format!("[[case]]\nname = \"{name}\"\nrun = [\"ask\"]\nanswers = {answers}\n")
    };
    let cases = [
        case("all", "[true, \"Ann\", \"red\", []]"),
        case("too few", "[true]"),
        case("too many", "[true, \"Ann\", \"red\", [], 1]"),
        case("none that there is", "[true, \"Ann\", \"blue\", []]"),
    ];
    let bench = Bench::new(&[("a.toml", &cases.concat())]);
    let said: Vec<String> =
        bench.told("plugins/fledge-messages", &[]).iter().map(|(_, _, said)| said.join("; ")).collect();
    assert_eq!(said[0], "");
    assert!(said[1].starts_with("it asked `Name?`, and no answer is left"), "{}", said[1]);
    assert_eq!(said[2], "1 answer is left that it did not ask for");
    assert!(said[3].starts_with("it asked `Which?`, to which "), "{}", said[3]);
}

#[test]
fn files_are_read_in_the_plugins_folder_and_written_in_one_of_the_cases_own() {
    let write = |name: &str| {
        format!(
            "[[case]]\nname = \"{name}\"\nallow = [\"fs.write=@::/kept\"]\nsteps = [\n\
             {{ run = [\"headers\", \"/kept/out\"], exit = 2 }},\n\
             {{ run = [\"-o\", \"/kept/out\", \"headers\"], stdin = \"a,b\\n\" }},\n\
             {{ run = [\"headers\", \"/kept/out\"], stdout = \"a\\n\" }},\n]\n"
        )
    };
    let read = |name: &str, scope: &str, path: &str, exit: u8| {
        format!(
            "[[case]]\nname = \"{name}\"\nallow = [\"fs.read={scope}\"]\nrun = [\"headers\", \"{path}\"]\nexit = {exit}\n"
        )
    };
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("table.csv"), "a,b\n").unwrap();
    let outside = outside.path().canonicalize().unwrap();
    let (scope, file) = (outside.display().to_string(), outside.join("table.csv").display().to_string());
    let bench = Bench::new(&[(
        "a.toml",
        &[
            write("one"),
            write("two"),
            read("inside", ".", "example.csv", 0),
            read("outside", &scope, &file, 2),
            "[[case]]\nname = \"below\"\nfolder = \"tests\"\nallow = [\"fs.read=.\"]\nrun = [\"headers\", \"table.csv\"]\n"
                .to_owned(),
            "[[case]]\nname = \"in its source\"\nallow = [\"fs.write=.\"]\nrun = [\"-o\", \"x\", \"headers\"]\nstdin = \"a\\n\"\nexit = 2\n"
                .to_owned(),
        ]
        .concat(),
    )]);
    assert_eq!(bench.passed(CSV), 6);
    // Whoever types it has seen it.
    let told = bench.told(CSV, &["-k", "outside", "--allow", &format!("fs.read={scope}")]);
    assert_eq!(told[0].2, ["it ended with 0, not 2"]);
}

#[test]
fn a_folder_is_one_within_the_plugins() {
    let case = "[[case]]\nname = \"a\"\nfolder = \"none\"\nrun = []\n";
    let bench = Bench::new(&[("a.toml", case)]);
    let said = bench.told(GREET, &[])[0].2.join("; ");
    assert!(said.starts_with("`folder`: `none`: "), "{said}");
}

#[test]
fn a_component_connects_to_nobody_that_a_case_names() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let case = format!(
        "[[case]]\nname = \"a\"\nallow = [\"net=tcp://{address}\"]\nrun = [\"{address}\", \"hello\"]\nexit = 1\n\
         stderr = {{ contains = \"access-denied\" }}\n"
    );
    let bench = Bench::new(&[("a.toml", &case)]);
    assert_eq!(bench.passed("plugins/tcp-echo"), 1);
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn what_a_case_allows_is_all_that_it_has_whatever_flags_say_of_requests() {
    let cases =
        "[[case]]\nname = \"a\"\nrun = [\"https://api.example.com/\"]\nallow = []\nerror = \"denied\"\n";
    let bench = Bench::new(&[("a.toml", cases)]);
    let told = bench.told("plugins/sen-fetch/sen_fetch.wasm", &["--allow-all-requested"]);
    assert_eq!(told[0].1, "passed", "{told:?}");
    let told = bench.told("plugins/sen-fetch/sen_fetch.wasm", &["--allow", "net=*"]);
    assert_eq!(told[0].1, "failed", "{told:?}");
}

#[test]
fn limits_of_a_case_go_before_those_of_flags() {
    let cases = "[[case]]\nname = \"a\"\nrun = [\"x\"]\nerror = \"limit-host-calls\"\n\
                 [[case]]\nname = \"b\"\nrun = [\"x\"]\nlimits = { host_calls = 100000 }\n";
    let bench = Bench::new(&[("a.toml", cases)]);
    let told = bench.told(GREET, &["--host-calls", "1"]);
    assert!(told.iter().all(|(_, outcome, _)| outcome == "passed"), "{told:?}");
}

#[test]
fn input_is_taken_from_files_beside_the_cases() {
    let bench = Bench::new(&[
        (
            "a.toml",
            "[[case]]\nname = \"a\"\nrun = []\nstdin_file = \"in/names.txt\"\nstdout = \"hello, Ann\\n\"",
        ),
        ("in/names.txt", "Ann\n"),
    ]);
    assert_eq!(bench.passed(GREET), 1);
}

/// As the component, and as the module that it is made of, which is made one when it is loaded.
#[test]
fn fakes_of_mail_answer_a_plugin_and_say_what_it_asked_for() {
    for plugin in ["plugins/prx-email", "plugins/prx-email/prx_email_plugin.wasm"] {
        let place = Place::new();
        let output =
            place.airlock().args(["test", plugin, "--cases", "plugins/prx-email/tests"]).output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        assert!(screen.contains("6 cases: 6 passed"), "{screen}");
        assert_eq!(output.status.code(), Some(0));
    }
}
