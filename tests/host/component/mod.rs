//! Components: programs, and functions that are called with values of WIT's types.

mod calls;
mod datagrams;
mod files;
mod languages;
mod limits;
mod programs;
mod requests;
mod schemas;
mod sessions;
mod typed;

use airlock_host::{Error, Host, Input, LoadOptions, Plugin, ProgramInput};

use crate::support::{Mode, host, repository};

/// The example plugin with functions of every type.
fn values_on(host: &Host, options: LoadOptions) -> Plugin {
    host.load_blocking(repository("plugins/wit-values/wit_values.wasm"), options).expect("the plugin loads")
}

/// The guest that checks preview 2, which is run as a program and has a function beside that.
fn checks_on(host: &Host, options: LoadOptions, granted: &[String]) -> Plugin {
    let options = granted.iter().fold(options, |options, granted| options.allow(granted.parse().unwrap()));
    host.load_blocking(repository("tests/guests/wasip2/wasip2.wasm"), options).expect("the plugin loads")
}

/// The lines of a topic, run as a program.
fn told_by_program(mode: Mode, plugin: &Plugin, words: &[&str]) -> Vec<String> {
    let outcome = mode.run(plugin, ProgramInput::new().args(words.iter().copied())).expect("it runs");
    let text = String::from_utf8(outcome.value.stdout).expect("it is text");
    text.lines().map(str::to_owned).collect()
}

/// What the function answers: the lines of a topic, and how many checks failed.
type Checked = (Vec<String>, u32);

fn all_fine(told: &[String], checks: usize) {
    let bad: Vec<_> = told.iter().filter(|line| !line.starts_with("ok ")).collect();
    assert!(bad.is_empty() && told.len() == checks, "{} checks: {bad:#?}", told.len());
}

fn values() -> Plugin {
    values_on(&host(), LoadOptions::new())
}

/// What a call with this JSON answers, as text.
fn answer(plugin: &Plugin, function: &str, json: &str) -> String {
    let outcome = plugin.invoke_blocking(function, Input::Json(json.to_owned()));
    outcome.expect("the call succeeds").value.to_json_text()
}

fn error(plugin: &Plugin, function: &str, json: &str) -> Error {
    plugin.invoke_blocking(function, Input::Json(json.to_owned())).expect_err("the call fails")
}

fn invoke_in(mode: Mode, plugin: &Plugin, function: &str, json: &str) -> Result<String, Error> {
    let input = Input::Json(json.to_owned());
    let outcome = match mode {
        Mode::Blocking => plugin.invoke_blocking(function, input),
        _ => mode.wait(plugin.invoke(function, input)),
    };
    outcome.map(|outcome| outcome.value.to_json_text())
}
