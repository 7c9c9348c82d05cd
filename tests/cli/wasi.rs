//! WASI as a guest meets it: every call, and every error, by programs that check them. The one of
//! preview 1 (`tests/guests/wasi`) is, with what stands between the two, a component of preview 2 as well:
//! so each of its cases is written once and holds in both. What preview 2 has beyond that is checked by
//! one that calls its interfaces as they are (`tests/guests/wasip2`).

use std::fmt::Write as _;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::support::{airlock, describe, repository, with_stdin};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preview {
    One,
    Two,
}

const PREVIEWS: [Preview; 2] = [Preview::One, Preview::Two];

impl Preview {
    /// The program, made a component where it is to be one.
    fn guest(self) -> PathBuf {
        let module = repository().join("tests/guests/wasi/wasi.wasm");
        if self == Preview::One {
            return module;
        }
        let encoder = ComponentEncoder::default().module(&std::fs::read(module).unwrap()).unwrap();
        let adapter = WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
        let mut encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter).unwrap();
        // Every test makes the same one, and none sees half of it. Its name is the program's.
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preview2");
        std::fs::create_dir_all(&place).unwrap();
        let mut made = tempfile::NamedTempFile::new_in(&place).unwrap();
        std::io::Write::write_all(&mut made, &encoder.encode().unwrap()).unwrap();
        made.persist(place.join("wasi.wasm")).unwrap();
        place.join("wasi.wasm")
    }

    /// What a program leaves with that says how many failed: preview 2 has no numbers.
    fn left_with(self, failed: usize) -> Option<i32> {
        match self {
            Preview::One => i32::try_from(failed).ok(),
            Preview::Two => Some(i32::from(failed > 0)),
        }
    }

    /// Runs a topic with these grants.
    fn run(self, grants: &[String], words: &[&str]) -> Output {
        run(&self.guest(), grants, words)
    }
}

fn run(guest: &Path, grants: &[String], words: &[&str]) -> Output {
    let mut command = airlock();
    command.arg("run").args(grants.iter().flat_map(|grant| ["--allow", grant]));
    command.arg(guest).arg("--").args(words).output().unwrap()
}

/// The program of preview 2 alone.
fn own() -> PathBuf {
    repository().join("tests/guests/wasip2/wasip2.wasm")
}

/// What a topic said of each check, in order: its name, and what is wrong with it.
fn told(output: &Output) -> Vec<(String, Option<String>)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |line: &str| match (line.strip_prefix("ok "), line.strip_prefix("FAIL ")) {
        (Some(name), _) => Some((name.to_owned(), None)),
        (_, Some(failed)) => {
            let (name, found) = failed.rsplit_once(": ").unwrap_or((failed, ""));
            Some((name.to_owned(), Some(found.to_owned())))
        }
        _ => None,
    };
    text.lines().filter_map(of).collect()
}

/// What a topic printed, in which all checks passed, and there were so many: one that was
/// left out would pass as well.
fn passed(output: &Output, checks: usize) -> String {
    let told = told(output);
    let failed: Vec<_> = told.iter().filter(|(_, wrong)| wrong.is_some()).collect();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?}\n{}", describe(output));
    assert_eq!(told.len(), checks, "{}", describe(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
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
    fill(folder.path());
    folder
}

fn fill(folder: &Path) {
    std::fs::create_dir(folder.join("folder")).unwrap();
    std::fs::write(folder.join("file"), "content").unwrap();
    std::fs::write(folder.join("folder/file"), "below").unwrap();
}

fn empty(_folder: &Path) {}

/// A guest cannot make an absolute link itself.
fn with_absolute_link(folder: &Path) {
    std::os::unix::fs::symlink("/etc/passwd", folder.join("absolute")).unwrap();
}

fn with_fifo(folder: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
}

/// Folders of which some is granted: one whole, one by one of its files, one without its folders.
fn with_three(folder: &Path) {
    for name in ["data", "one", "flat"] {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        fill(&folder);
        std::fs::write(folder.join("other"), "another").unwrap();
    }
}

fn some_of_three(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    vec![
        format!("fs.read={folder}/data::/data"),
        format!("fs.read={folder}/one/file::/one/file"),
        format!("fs.write={folder}/flat/*::/flat"),
    ]
}

/// Which programs have a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The one of both previews.
    Both,
    /// The one of preview 2 alone.
    Own,
}

/// A topic that is run on a folder of its own.
struct Topic {
    of: Of,
    name: &'static str,
    checks: usize,
    set_up: fn(&Path),
    grants: fn(&Path) -> Vec<String>,
    /// What it is run with beside its name.
    words: &'static [&'static str],
    input: &'static [u8],
    /// What it leaves with, by preview, where that is no number of checks.
    leaves: Option<[i32; 2]>,
}

impl Topic {
    const fn words(self, words: &'static [&'static str]) -> Self {
        Topic { words, ..self }
    }

    const fn input(self, input: &'static [u8]) -> Self {
        Topic { input, ..self }
    }

    const fn leaves(self, codes: [i32; 2]) -> Self {
        Topic { leaves: Some(codes), ..self }
    }

    /// What it is called in the table.
    fn title(&self) -> String {
        let of = if self.of == Of::Own { "preview 2 by itself: " } else { "" };
        let granted =
            (self.grants)(Path::new("/")).iter().any(|grant| ["clock", "random"].contains(&&**grant));
        let code = self.leaves.map(|_| format!(" {}", self.words.join(" "))).unwrap_or_default();
        format!("{of}{}{code}{}", self.name, if granted { ", granted" } else { "" })
    }

    fn run(&self, guest: &Path, folder: &Path) -> Output {
        let grants = (self.grants)(folder);
        let mut command = airlock();
        // What of these is not granted is not seen.
        command.env("WASI_ONE", "1").env("WASI_TWO", "a=b c").arg("run");
        command.args(grants.iter().flat_map(|grant| ["--allow", grant])).arg(guest).arg("--");
        command.arg(self.name).args(self.words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that reads nothing may have ended.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), self.input);
        child.wait_with_output().unwrap()
    }

    /// What is run of it for a preview, if anything.
    fn guest(&self, preview: Preview) -> Option<PathBuf> {
        match (self.of, preview) {
            (Of::Both, preview) => Some(preview.guest()),
            (Of::Own, Preview::One) => None,
            (Of::Own, Preview::Two) => Some(own()),
        }
    }
}

const fn with(
    of: Of,
    name: &'static str,
    checks: usize,
    set_up: fn(&Path),
    grants: fn(&Path) -> Vec<String>,
) -> Topic {
    Topic { of, name, checks, set_up, grants, words: &[], input: b"", leaves: None }
}

fn to_write(folder: &Path) -> Vec<String> {
    vec![write(folder)]
}

fn to_read(folder: &Path) -> Vec<String> {
    vec![read(folder, "/")]
}

fn nothing(_folder: &Path) -> Vec<String> {
    Vec::new()
}

fn clock(_folder: &Path) -> Vec<String> {
    vec!["clock".to_owned()]
}

fn random(_folder: &Path) -> Vec<String> {
    vec!["random".to_owned()]
}

fn to_write_by_the_clock(folder: &Path) -> Vec<String> {
    [to_write(folder), clock(folder)].concat()
}

fn variables(_folder: &Path) -> Vec<String> {
    vec!["env=WASI_*".to_owned()]
}

fn variable(_folder: &Path) -> Vec<String> {
    vec!["env=WASI_ONE".to_owned()]
}

const WORDS: &[&str] = &["", "two words", "\u{e9}\u{2603}", "--x"];

const TOPICS: [Topic; 37] = [
    with(Of::Both, "opening", 56, with_absolute_link, to_write),
    with(Of::Both, "reading", 89, empty, to_write),
    with(Of::Both, "folders", 38, empty, to_write),
    with(Of::Both, "listing", 38, empty, to_write),
    with(Of::Both, "renaming", 30, empty, to_write),
    with(Of::Both, "links", 39, empty, to_write),
    with(Of::Both, "descriptors", 68, empty, to_write),
    with(Of::Both, "closing", 11, fill, to_read),
    with(Of::Both, "readonly", 22, fill, to_read),
    with(Of::Both, "clocks", 9, empty, nothing),
    with(Of::Both, "clocks", 9, empty, clock),
    with(Of::Both, "polling", 23, empty, to_write),
    with(Of::Both, "polling", 23, empty, to_write_by_the_clock),
    with(Of::Both, "randomness", 7, empty, nothing),
    with(Of::Both, "randomness", 7, empty, random),
    with(Of::Both, "preopens", 2, empty, nothing),
    with(Of::Both, "arguments", 14, empty, variables).words(WORDS),
    with(Of::Both, "input", 3, empty, nothing).words(&["7"]).input(b"three times seven by."),
    with(Of::Both, "output", 8, empty, nothing),
    with(Of::Both, "leaving", 0, empty, nothing).words(&["0"]).leaves([0, 0]),
    with(Of::Both, "leaving", 0, empty, nothing).words(&["7"]).leaves([7, 1]),
    with(Of::Both, "leaving", 0, empty, nothing).words(&["255"]).leaves([255, 1]),
    with(Of::Own, "opening", 27, with_fifo, to_write),
    with(Of::Own, "places", 24, empty, to_write),
    with(Of::Own, "folders", 26, empty, to_write),
    with(Of::Own, "granted", 26, with_three, some_of_three),
    with(Of::Own, "streams", 21, empty, to_write),
    with(Of::Own, "clocks", 4, empty, nothing),
    with(Of::Own, "clocks", 4, empty, clock),
    with(Of::Own, "polling", 8, empty, nothing),
    with(Of::Own, "polling", 8, empty, clock),
    with(Of::Own, "random", 8, empty, nothing),
    with(Of::Own, "random", 8, empty, random),
    with(Of::Own, "environment", 5, empty, variable).words(WORDS),
    with(Of::Own, "stdio", 15, empty, nothing).input(b"in 1\nin 2\n"),
    with(Of::Own, "leaving", 0, empty, nothing).words(&["0"]).leaves([0, 0]),
    with(Of::Own, "leaving", 0, empty, nothing).words(&["7"]).leaves([7, 1]),
];

/// Where preview 2, or what stands between, has another answer: the topic, the check, and the answer.
const DIFFERENT: [(&str, &str, &str); 6] = [
    ("listing", ".. is there once", "2, expected 1"),
    ("listing", "readdir of a file is EBADF", "54 (Not a directory), expected 8 (Bad file descriptor)"),
    // What stands between has it not wait any more.
    ("descriptors", "the new number reads", "6 (Resource temporarily unavailable), expected 0 (Success)"),
    ("descriptors", "the new number is the file", "``, expected `content`"),
    ("readonly", "write is EBADF", "63 (Operation not permitted), expected 8 (Bad file descriptor)"),
    ("output", "pread of standard input is ESPIPE", "28 (Invalid argument), expected 70 (Invalid seek)"),
];

/// Where the table is that is made of the topics.
const PAGE: &str = "docs/wasi.md";

/// Runs every topic for both previews; the table of them is in the documents.
#[test]
fn every_check_of_both_previews_has_its_answer() {
    let mut table = "| topic | checks | preview 1 | preview 2 |\n|---|--:|---|---|\n".to_owned();
    let mut faults = String::new();
    for topic in &TOPICS {
        let mut cells = Vec::new();
        for preview in PREVIEWS {
            let Some(guest) = topic.guest(preview) else {
                cells.push("-".to_owned());
                continue;
            };
            let folder = tempfile::tempdir().unwrap();
            (topic.set_up)(folder.path());
            let output = topic.run(&guest, folder.path());
            let mut wrong = String::new();
            cells.push(judge(topic, preview, &output, &mut wrong));
            if !wrong.is_empty() {
                writeln!(faults, "{}\n{wrong}", topic.title()).unwrap();
            }
        }
        writeln!(table, "| {} | {} | {} | {} |", topic.title(), topic.checks, cells[0], cells[1]).unwrap();
    }
    assert!(faults.is_empty(), "\n{table}\n{faults}");
    let page = repository().join(PAGE);
    let committed = std::fs::read_to_string(&page).unwrap_or_default();
    let (before, after) = committed.split_once("| topic |").expect("it has the table");
    let after = after.split_once("\n\n").map_or("", |(_, after)| after);
    let updated = format!("{before}{table}\n{after}");
    if std::env::var_os("AIRLOCK_UPDATE_DOCS").is_some() {
        std::fs::write(&page, &updated).unwrap();
    }
    let committed = std::fs::read_to_string(&page).unwrap();
    assert_eq!(committed, updated, "the table in {PAGE} is made with AIRLOCK_UPDATE_DOCS=1 cargo test");
}

/// What a topic came to, in a cell of the table; what is wrong with it is added to that.
fn judge(topic: &Topic, preview: Preview, output: &Output, wrong: &mut String) -> String {
    let told = told(output);
    let may_differ = (topic.of, preview) == (Of::Both, Preview::Two);
    let differ: Vec<_> = DIFFERENT.iter().filter(|(of, ..)| may_differ && *of == topic.name).collect();
    for (name, found) in &told {
        let is_known =
            |(_, check, answer): &&(&str, &str, &str)| *check == name && found.as_deref() == Some(*answer);
        if let Some(found) =
            found.as_deref().filter(|_| !differ.iter().copied().any(|entry| is_known(&entry)))
        {
            writeln!(wrong, "    {preview:?}: {name}: {found}").unwrap();
        }
    }
    // What differs no more is to be said no more.
    for (_, check, answer) in differ {
        if !told.iter().any(|(name, found)| name == check && found.as_deref() == Some(*answer)) {
            writeln!(wrong, "    {preview:?}: {check}: it does not differ").unwrap();
        }
    }
    let different = told.iter().filter(|(_, found)| found.is_some()).count();
    let leaves = topic.leaves.map(|codes| codes[usize::from(preview == Preview::Two)]);
    if told.len() != topic.checks || output.status.code() != leaves.or_else(|| preview.left_with(different)) {
        writeln!(wrong, "    {preview:?}: {} checks\n{}", told.len(), describe(output)).unwrap();
    }
    match different {
        _ if leaves.is_some() => format!("exit code {}", output.status.code().unwrap_or(-1)),
        0 => format!("{} pass", told.len()),
        _ => format!("{} pass, {different} differ", told.len() - different),
    }
}

/// More than may be written, in every way that there is for it.
#[test]
fn what_is_written_beyond_a_limit_is_refused_whatever_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("held"), vec![0; 4100]).unwrap();
    let limits = ["--written-bytes", "1000B", "--created-files", "3", "--folder-size", "5000B"];
    let mut command = airlock();
    command.arg("run").args(limits).args(["--allow", &write(folder.path())]);
    passed(&command.arg(own()).args(["--", "quota"]).output().unwrap(), 13);
}

#[test]
fn variables_and_arguments_of_preview_2() {
    let mut command = airlock();
    command.env("WASI_ONE", "1").args(["run", "--allow", "env=WASI_ONE"]).arg(own());
    let words = ["--", "environment", "", "two words", "\u{e9}\u{2603}", "--x"];
    passed(&command.args(words).output().unwrap(), 5);
}

#[test]
fn a_folder_to_read_is_not_changed_whatever_is_tried() {
    for preview in PREVIEWS {
        let folder = folder();
        preview.run(&[read(folder.path(), "/")], &["readonly"]);
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "folder"], "{preview:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "content");
    }
}

#[test]
fn a_check_that_fails_is_told_and_counted() {
    for preview in PREVIEWS {
        let folder = folder();
        let output = preview.run(&[write(folder.path())], &["readonly"]);
        let failed = told(&output).iter().filter(|(_, wrong)| wrong.is_some()).count();
        assert!(failed >= 10, "{}", describe(&output));
        assert_eq!(output.status.code(), preview.left_with(failed), "{preview:?}");
    }
}

#[test]
fn sleeping_beside_what_is_ready_does_not_take_its_time() {
    for preview in PREVIEWS {
        let folder = tempfile::tempdir().unwrap();
        let started = std::time::Instant::now();
        preview.run(&[write(folder.path()), "clock".to_owned()], &["polling"]);
        assert!(started.elapsed().as_secs() < 30, "it slept for a minute beside what was ready");
    }
}

#[test]
fn granted_folders_are_told_with_their_names() {
    let (one, other) = (folder(), folder());
    let mut grants = [read(one.path(), "/data"), read(other.path(), "/other/place")];
    // Descriptors are given in the order of the grants' texts.
    grants.sort();
    let names: Vec<&str> = grants.iter().map(|grant| grant.split_once("::").unwrap().1).collect();
    for preview in PREVIEWS {
        passed(&preview.run(&grants, &["preopens", names[0], names[1]]), 20);
        passed(&preview.run(&[], &["preopens"]), 2);
    }
}

#[test]
fn arguments_and_variables_come_whole_and_in_order() {
    for preview in PREVIEWS {
        let mut command = airlock();
        command.env("WASI_ONE", "1").env("WASI_TWO", "a=b c").args(["run", "--allow", "env=WASI_*"]);
        let words = ["arguments", "", "two words", "\u{e9}\u{2603}", "--x"];
        let text = passed(&command.arg(preview.guest()).arg("--").args(words).output().unwrap(), 14);
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
            ],
            "{preview:?}"
        );
    }
}

#[test]
fn standard_input_comes_whole_in_pieces_of_any_size_and_then_ends() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
    };
    for preview in PREVIEWS {
        let guest = preview.guest();
        let guest = guest.to_str().unwrap();
        for (room, input) in [
            ("1", &bytes[..1000]),
            ("4096", &bytes[..]),
            ("1000000", &bytes[..]),
            ("7", b""),
            ("100", b"\0\xff\n"),
        ] {
            let output = with_stdin(&["run", guest, "--", "input", room], input);
            let text = passed(&output, 3);
            let expected = format!("{} bytes, sum {}", input.len(), sum(input));
            assert_eq!(text.lines().last(), Some(expected.as_str()), "{preview:?}: in pieces of {room}");
        }
        let empty = airlock().args(["run", guest, "--", "input"]).stdin(Stdio::null()).output().unwrap();
        assert!(passed(&empty, 3).ends_with("\n0 bytes, sum 0\n"));
    }
}

#[test]
fn standard_output_and_error_are_apart_and_each_in_order() {
    for preview in PREVIEWS {
        let output = preview.run(&[], &["output"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut wrong = String::new();
        judge(&with(Of::Both, "output", 8, empty, nothing), preview, &output, &mut wrong);
        assert_eq!(wrong, "");
        let written: Vec<&str> = text.lines().filter(|line| line.starts_with("out ")).collect();
        assert_eq!(written, ["out 1", "out 2"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "err 1\nerr 2\n");
    }
}

#[test]
fn proc_exit_is_the_exit_code() {
    for code in [0, 1, 7, 120, 125, 126, 255] {
        assert_eq!(Preview::One.run(&[], &["leaving", &code.to_string()]).status.code(), Some(code));
    }
    // Preview 2 has good and bad: what is stable of it has no number.
    for (code, left) in [(0, 0), (1, 1), (7, 1)] {
        let words = ["leaving", &code.to_string()];
        assert_eq!(run(&own(), &[], &words).status.code(), Some(left));
        assert_eq!(Preview::Two.run(&[], &words).status.code(), Some(left));
    }
    // A process has no more than eight bits of it.
    assert_eq!(Preview::One.run(&[], &["leaving", "256"]).status.code(), Some(0));
    assert_eq!(Preview::One.run(&[], &["leaving", "4294967295"]).status.code(), Some(255));
}

/// The documents say EINVAL. wasmtime's generated code reads such arguments before a host
/// has a say, and ends the guest.
#[test]
fn numbers_that_stand_for_nothing_end_the_guest() {
    for (word, kind) in [("clock", "Clockid"), ("whence", "Whence"), ("advice", "Advice")] {
        let shown = describe(&Preview::One.run(&[], &["nonsense", word]));
        assert!(shown.starts_with("exit 122"), "{shown}");
        assert!(shown.contains(&format!("Invalid enum value {kind}")), "{shown}");
    }
}
