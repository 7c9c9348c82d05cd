//! The commands in README.md and docs/ do what the pages say.

use std::path::Path;
use std::process::Command;

use crate::support::{follows, repository};

/// Every fenced `console` block: lines that begin with `$ ` are run in the repository,
/// and what follows is what they print, on both streams. `…` stands for anything.
#[test]
fn commands_in_the_pages_print_what_the_pages_say() {
    let mut ran = 0;
    // Of their own: the pages clear the cache and say what is compiled.
    let home = tempfile::tempdir().unwrap();
    for page in [
        "README.md",
        "docs/security.md",
        "docs/cli.md",
        "docs/grants.md",
        "docs/sen.md",
        "docs/fledge.md",
        "docs/cortexprism.md",
        "docs/mofa.md",
        "docs/prx.md",
        "docs/budgets.md",
        "docs/testing.md",
        "docs/components.md",
        "docs/lang/wat.md",
        "docs/profiling.md",
        "docs/check.md",
        // The last: what is in its outbox is tried by others.
        "docs/mail.md",
    ] {
        let text = std::fs::read_to_string(repository().join(page)).unwrap();
        for block in text.split("```console\n").skip(1) {
            let block = block.split("```").next().unwrap();
            for example in block.split("$ ").skip(1) {
                let (line, expected) = example.split_once('\n').unwrap();
                check(home.path(), page, line, expected);
                ran += 1;
            }
        }
    }
    assert!(ran >= 10, "only {ran} commands were found");
}

/// Each test that a page names is one, and each number of docs/security.md's list is there once.
#[test]
fn the_tests_that_the_pages_name_exist() {
    let mut tests = Vec::new();
    for folder in ["tests", "crates", "plugins/prx-email/src"] {
        functions(&repository().join(folder), &mut tests);
    }
    named(&tests, "docs/sen.md", "");
    // Tables of other things come before.
    named(&tests, "docs/cortexprism.md", "## What its page says");
    named(&tests, "docs/mofa.md", "## Its sentences");
    named(&tests, "docs/prx.md", "## Its promises");
    named(&tests, "docs/mail.md", "## What PRX-Email's documents say");
    assert_eq!(named(&tests, "docs/fledge.md", ""), (1..=15).collect::<Vec<u32>>());
    let numbers = named(&tests, "docs/security.md", "");
    assert_eq!(numbers, (1..=57).collect::<Vec<u32>>());
}

/// The numbers of a page's rows from a heading on, once the tests that each row names are known to be
/// there.
fn named(tests: &[String], file: &str, heading: &str) -> Vec<u32> {
    let page = std::fs::read_to_string(repository().join(file)).unwrap();
    let page = &page[page.find(heading).unwrap()..];
    let mut numbers = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [first, .., named] = cells.as_slice() else { continue };
        let numbered = first.parse::<u32>();
        numbers.extend(numbered.iter().copied());
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(numbered.is_err() || !names.is_empty(), "{row}");
        // A name of several words is a test's; one word is of a module or a fuzz target.
        for name in names.into_iter().filter(|name| name.contains('_') && !name.contains("::")) {
            let exists = match name.strip_suffix('*') {
                Some(start) => tests.iter().any(|test| test.starts_with(start)),
                None => tests.iter().any(|test| test == name),
            };
            assert!(exists, "{file} names `{name}`, which is no test");
        }
    }
    numbers
}

/// The names of all functions in the sources below a folder.
fn functions(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let declared = text.lines().filter_map(|line| {
                line.trim().trim_start_matches("async ").strip_prefix("fn ")?.split_once('(')
            });
            names.extend(declared.map(|(name, _)| name.to_owned()));
        }
    }
}

fn check(home: &Path, page: &str, line: &str, expected: &str) {
    let binary = Path::new(env!("CARGO_BIN_EXE_airlock"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    // The main job builds first where a person types it; here the binary is built already.
    let line =
        line.replace("cargo run --release --", "airlock").replace("cargo run --release -q --", "airlock");
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .current_dir(repository())
        .env("PATH", path)
        .env("AIRLOCK_HOME", home)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    if let Err(why) = follows(&printed, expected) {
        panic!("{page}: `{line}` printed\n{printed}\ninstead of\n{expected}\n({why})");
    }
}
