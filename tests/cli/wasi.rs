//! WASI preview 1 as a guest meets it: every call, and every error, by a program that checks
//! them (`tests/guests/wasi`).

use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::{airlock, describe, with_stdin};

const GUEST: &str = "tests/guests/wasi/wasi.wasm";

/// Runs a topic with these grants.
fn run(grants: &[String], words: &[&str]) -> Output {
    let mut command = airlock();
    command.arg("run").args(grants.iter().flat_map(|grant| ["--allow", grant]));
    command.args([GUEST, "--"]).args(words).output().unwrap()
}

/// What a topic printed, in which all checks passed, and there were so many: one that was
/// left out would pass as well.
fn passed(output: &Output, checks: usize) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed: Vec<&str> = text.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?}\n{}", describe(output));
    let count = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(count, checks, "{text}");
    text
}

/// Runs a topic on a folder that it may write to.
fn on_folder(topic: &str, set_up: impl FnOnce(&Path), checks: usize) {
    let folder = tempfile::tempdir().unwrap();
    set_up(folder.path());
    passed(&run(&[write(folder.path())], &[topic]), checks);
}

fn write(folder: &Path) -> String {
    format!("fs.write={}::/", folder.display())
}

fn read(folder: &Path, guest: &str) -> String {
    format!("fs.read={}::{guest}", folder.display())
}

/// A folder with `file`, and `folder` with another below.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    std::fs::write(folder.path().join("folder/file"), "below").unwrap();
    folder
}

#[test]
fn path_open_by_flags_types_and_paths() {
    // A guest cannot make an absolute link itself.
    let set_up = |folder: &Path| std::os::unix::fs::symlink("/etc/passwd", folder.join("absolute")).unwrap();
    on_folder("opening", set_up, 56);
}

#[test]
fn reading_writing_seeking_sizes_times_and_appending() {
    on_folder("reading", |_| {}, 89);
}

#[test]
fn folders_are_made_and_removed_and_files_unlinked() {
    on_folder("folders", |_| {}, 38);
}

#[test]
fn a_folder_is_listed_whole_with_any_buffer_and_from_any_cookie() {
    on_folder("listing", |_| {}, 38);
}

#[test]
fn renaming_files_folders_and_links() {
    on_folder("renaming", |_| {}, 30);
}

#[test]
fn symbolic_and_hard_links() {
    on_folder("links", |_| {}, 39);
}

#[test]
fn descriptors_tell_what_they_are_and_are_renumbered() {
    on_folder("descriptors", |_| {}, 68);
}

#[test]
fn granted_folders_and_standard_streams_can_be_closed() {
    let folder = folder();
    passed(&run(&[read(folder.path(), "/")], &["closing"]), 11);
}

#[test]
fn granted_folders_are_told_with_their_names() {
    let (one, other) = (folder(), folder());
    let mut grants = [read(one.path(), "/data"), read(other.path(), "/other/place")];
    // Descriptors are given in the order of the grants' texts.
    grants.sort();
    let names: Vec<&str> = grants.iter().map(|grant| grant.split_once("::").unwrap().1).collect();
    passed(&run(&grants, &["preopens", names[0], names[1]]), 20);
    passed(&run(&[], &["preopens"]), 2);
}

#[test]
fn a_folder_to_read_is_not_changed_whatever_is_tried() {
    let folder = folder();
    passed(&run(&[read(folder.path(), "/")], &["readonly"]), 22);
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "folder"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "content");
}

#[test]
fn a_check_that_fails_is_told_and_counted() {
    let folder = folder();
    let output = run(&[write(folder.path())], &["readonly"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().filter(|line| line.starts_with("FAIL ")).count();
    assert!(failed >= 10, "{text}");
    assert_eq!(output.status.code(), i32::try_from(failed).ok());
}

#[test]
fn clocks_are_told_and_the_monotonic_one_never_goes_back() {
    passed(&run(&[], &["clocks"]), 9);
    passed(&run(&["clock".to_owned()], &["clocks"]), 9);
}

#[test]
fn waiting_for_clocks_and_descriptors() {
    for clock in [None, Some("clock".to_owned())] {
        let folder = tempfile::tempdir().unwrap();
        let grants: Vec<String> = [write(folder.path())].into_iter().chain(clock).collect();
        let started = std::time::Instant::now();
        passed(&run(&grants, &["polling"]), 23);
        assert!(started.elapsed().as_secs() < 30, "it slept for a minute beside what was ready");
    }
}

#[test]
fn arguments_and_variables_come_whole_and_in_order() {
    let mut command = airlock();
    command.env("WASI_ONE", "1").env("WASI_TWO", "a=b c").args(["run", "--allow", "env=WASI_*", GUEST, "--"]);
    let output = command.args(["arguments", "", "two words", "\u{e9}\u{2603}", "--x"]).output().unwrap();
    let text = passed(&output, 14);
    let given: Vec<&str> = text.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert_eq!(
        given,
        [
            "argument `wasi`",
            "argument `arguments`",
            "argument ``",
            "argument `two words`",
            "argument `\u{e9}\u{2603}`",
            "argument `--x`",
            "variable `WASI_ONE=1`",
            "variable `WASI_TWO=a=b c`",
        ]
    );
}

#[test]
fn standard_input_comes_whole_in_pieces_of_any_size_and_then_ends() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
    };
    for (room, input) in [
        ("1", &bytes[..1000]),
        ("4096", &bytes[..]),
        ("1000000", &bytes[..]),
        ("7", b""),
        ("100", b"\0\xff\n"),
    ] {
        let output = with_stdin(&["run", GUEST, "--", "input", room], input);
        let text = passed(&output, 3);
        let expected = format!("{} bytes, sum {}", input.len(), sum(input));
        assert_eq!(text.lines().last(), Some(expected.as_str()), "in pieces of {room}");
    }
    let empty = airlock().args(["run", GUEST, "--", "input"]).stdin(Stdio::null()).output().unwrap();
    assert!(passed(&empty, 3).ends_with("\n0 bytes, sum 0\n"));
}

#[test]
fn standard_output_and_error_are_apart_and_each_in_order() {
    let output = run(&[], &["output"]);
    let text = passed(&output, 8);
    let written: Vec<&str> = text.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert_eq!(written, ["out 1", "out 2"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err 1\nerr 2\n");
}

#[test]
fn proc_exit_is_the_exit_code() {
    for code in [0, 1, 7, 120, 125, 126, 255] {
        assert_eq!(run(&[], &["leaving", &code.to_string()]).status.code(), Some(code));
    }
    // A process has no more than eight bits of it.
    assert_eq!(run(&[], &["leaving", "256"]).status.code(), Some(0));
    assert_eq!(run(&[], &["leaving", "4294967295"]).status.code(), Some(255));
}

/// The documents say EINVAL. wasmtime's generated code reads such arguments before a host
/// has a say, and ends the guest.
#[test]
fn numbers_that_stand_for_nothing_end_the_guest() {
    for (word, kind) in [("clock", "Clockid"), ("whence", "Whence"), ("advice", "Advice")] {
        let shown = describe(&run(&[], &["nonsense", word]));
        assert!(shown.starts_with("exit 122"), "{shown}");
        assert!(shown.contains(&format!("Invalid enum value {kind}")), "{shown}");
    }
}
