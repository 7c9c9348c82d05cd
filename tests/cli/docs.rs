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
    for page in ["README.md", "docs/security.md", "docs/cli.md"] {
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
