//! Running `airlock` and showing what it did.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The command, in the repository's folder and with nothing of this machine's.
pub(crate) fn airlock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_airlock"));
    command
        .current_dir(repository())
        .env("AIRLOCK_HOME", home())
        // What a person has in a keyring is none of a test's business.
        .env("AIRLOCK_MAIL_SECRETS", "file")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null());
    command
}

/// A folder for Airlock's files that all tests share, with no configuration in it.
pub(crate) fn home() -> &'static str {
    concat!(env!("CARGO_TARGET_TMPDIR"), "/airlock-home")
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn output(args: &[&str]) -> Output {
    airlock().args(args).output().unwrap()
}

/// Exit code, output and errors of a run, as one text to compare.
pub(crate) fn show(args: &[&str]) -> String {
    describe(&output(args))
}

pub(crate) fn describe(output: &Output) -> String {
    let mut text = format!(
        "exit {}\n",
        output.status.code().map_or_else(|| "by signal".to_owned(), |code| code.to_string())
    );
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            let _ = write!(text, "--- {name}\n{}", String::from_utf8_lossy(bytes));
        }
    }
    text
}

/// Whether `printed` is what a page says, where `…` stands for anything.
pub(crate) fn follows(printed: &str, expected: &str) -> Result<(), String> {
    let mut rest = printed.trim_end();
    let parts: Vec<&str> = expected.trim_end().split('…').collect();
    for (index, part) in parts.iter().enumerate() {
        let Some(at) = rest.find(part).filter(|at| index > 0 || *at == 0) else {
            return Err(format!("`{part}` is missing"));
        };
        rest = &rest[at + part.len()..];
    }
    match rest.is_empty() || parts.last() == Some(&"") {
        true => Ok(()),
        false => Err(format!("there is more: `{rest}`")),
    }
}

/// A run with `input` on standard input.
pub(crate) fn with_stdin(args: &[&str], input: &[u8]) -> Output {
    let mut command = airlock();
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The child may have left without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Exit code, output and errors of a command with this on standard input, as one text.
pub(crate) fn fed(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The child may have left without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    describe(&child.wait_with_output().unwrap())
}

/// A file with this text in a folder of its own.
pub(crate) fn file(name: &str, text: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

pub(crate) const TEXT: &str = "plugins/text-processor";
pub(crate) const GREET: &str = "plugins/greet/greet.wasm";
pub(crate) const REVERSE: &str = r#"{"text":"hello world","mode":"reverse"}"#;
