//! Plugins of fledge: those in `plugins/`, and modules made here that do what theirs could.

mod capabilities;
mod limits;
mod messages;
mod wins;

use std::path::Path;
use std::sync::{Arc, Mutex};

use airlock_host::console::{Console, Question, Reply, ReplyFuture, Shown};
use airlock_host::{Error, Host, LoadOptions, Outcome, Plugin, Program, ProgramInput, Source};

use crate::support::{host, repository, text};

/// What a module made here does, one after the other.
enum Step<'a> {
    /// Sends this.
    Send(&'a str),
    /// Receives once, with room for so many bytes, and prints what came between `<` and `>`.
    Recv(u32),
    /// Calls a function with this argument, receives once, and prints that.
    Call(&'a str, &'a str),
    /// Calls `store_set`.
    Set(&'a str),
    /// Calls `exit`.
    Exit(i32),
    /// Does this, written as WebAssembly text.
    Do(&'a str),
}

/// Where a module of these receives, and how much room there is.
const INBOX: u32 = 1 << 20;
const ROOM: u32 = 4 << 20;

/// A module that does these steps, with a `send` of this type.
fn module_with(steps: &[Step<'_>], send_gives: &str) -> String {
    let (mut data, mut code, mut at) = (String::new(), String::new(), 64_usize);
    let drop = if send_gives.is_empty() { "" } else { "drop" };
    for step in steps {
        let mut place = |text: &str| {
            let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            data.push_str(&format!("(data (i32.const {at}) \"{bytes}\")\n"));
            let span = format!("i32.const {at} i32.const {}", text.len());
            at += text.len();
            span
        };
        code.push_str(&match step {
            Step::Send(text) => format!("{} call $send {drop}\n", place(text)),
            Step::Recv(room) => format!("i32.const {room} call $receive\n"),
            Step::Call(function, text) => {
                format!("{} call ${function} drop i32.const {ROOM} call $receive\n", place(text))
            }
            Step::Set(text) => format!("{} call $store_set\n", place(text)),
            Step::Exit(code) => format!("i32.const {code} call $exit\n"),
            Step::Do(text) => format!("{text}\n"),
        });
    }
    assert!(at < INBOX as usize, "the texts have no room");
    format!(
        r#"(module
            (import "fledge" "send" (func $send (param i32 i32) {send_gives}))
            (import "fledge" "recv" (func $recv (param i32 i32) (result i32)))
            (import "fledge" "exit" (func $exit (param i32)))
            (import "fledge" "exec" (func $exec (param i32 i32) (result i32)))
            (import "fledge" "store_set" (func $store_set (param i32 i32)))
            (import "fledge" "store_get" (func $store_get (param i32 i32) (result i32)))
            (import "fledge" "metadata" (func $metadata (param i32 i32) (result i32)))
            (import "fledge" "http" (func $http (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 96)
            (data (i32.const 16) "<")
            (data (i32.const 17) ">\n")
            {data}
            (func $print (param i32 i32)
                (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $receive (param i32) (local i32)
                (local.set 1 (call $recv (i32.const {INBOX}) (local.get 0)))
                (call $print (i32.const 16) (i32.const 1))
                (call $print (i32.const {INBOX}) (local.get 1))
                (call $print (i32.const 17) (i32.const 2)))
            (func (export "_start") {code}))"#
    )
}

/// The same with fledge's own `send`.
fn module(steps: &[Step<'_>]) -> String {
    module_with(steps, "")
}

/// Options for WebAssembly text, with these granted, run in this folder.
fn granted(folder: &Path, capabilities: &[&str]) -> LoadOptions {
    let options = text().working_folder(folder).own_folder(folder.join("own")).name("probe");
    capabilities.iter().fold(options, |options, text| options.allow(text.parse().unwrap()))
}

fn load(host: &Host, wat: &str, options: LoadOptions) -> Plugin {
    host.load_blocking(Source::from(wat.as_bytes()), options).expect("it loads")
}

fn run(plugin: &Plugin, args: &[&str]) -> Result<Outcome<Program>, Error> {
    plugin.run_blocking(ProgramInput::new().args(args.iter().copied()))
}

/// What these steps print, and what they say elsewhere.
fn said(folder: &Path, capabilities: &[&str], steps: &[Step<'_>]) -> (String, String) {
    let plugin = load(&host(), &module(steps), granted(folder, capabilities));
    let program = run(&plugin, &[]).expect("it runs").value;
    assert_eq!(program.code, 0);
    (text_of(&program.stdout), text_of(&program.stderr))
}

/// What these steps print.
fn printed(folder: &Path, capabilities: &[&str], steps: &[Step<'_>]) -> String {
    said(folder, capabilities, steps).0
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A plugin of `plugins/`, run in this folder with these granted.
fn fixture(name: &str, folder: &Path, capabilities: &[&str]) -> Plugin {
    let options = LoadOptions::new().working_folder(folder).own_folder(folder.join("own"));
    let options = capabilities.iter().fold(options, |options, text| options.allow(text.parse().unwrap()));
    host().load_blocking(repository("plugins").join(name), options).expect("it loads")
}

/// What a plugin of `plugins/` prints, says elsewhere, and leaves with.
fn ran(name: &str, folder: &Path, capabilities: &[&str], args: &[&str]) -> (String, String, i32) {
    let program = run(&fixture(name, folder, capabilities), args).expect("it runs").value;
    (text_of(&program.stdout), text_of(&program.stderr), program.code)
}

/// A person who answers what was put here, and remembers what was shown.
#[derive(Debug, Default)]
struct Person {
    answers: Mutex<Vec<Reply>>,
    seen: Mutex<Vec<String>>,
}

impl Person {
    fn answering(answers: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        let mut answers: Vec<Reply> = answers.into_iter().collect();
        answers.reverse();
        Arc::new(Person { answers: Mutex::new(answers), ..Person::default() })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Console for Person {
    fn show(&self, plugin: &str, shown: Shown<'_>) {
        let text = match shown {
            Shown::Output(bytes) => format!("output {}", text_of(bytes)),
            other => format!("{plugin} {other:?}"),
        };
        self.seen.lock().unwrap().push(text);
    }

    fn ask<'a>(&'a self, plugin: &'a str, question: &'a Question) -> ReplyFuture<'a> {
        self.seen.lock().unwrap().push(format!("{plugin} asks {}", question.message()));
        Box::pin(std::future::ready(self.answers.lock().unwrap().pop()))
    }
}
