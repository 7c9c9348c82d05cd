//! Components: programs, and functions that are called with values of WIT's types.

mod calls;
mod limits;
mod programs;
mod sessions;
mod typed;

use airlock_host::{Error, Host, Input, LoadOptions, Plugin};

use crate::support::{Mode, host, repository};

/// The example plugin with functions of every type.
fn values_on(host: &Host, options: LoadOptions) -> Plugin {
    host.load_blocking(repository("plugins/wit-values/wit_values.wasm"), options).expect("the plugin loads")
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
