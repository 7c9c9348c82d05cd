//! Evaluates [Rhai](https://rhai.rs) scripts: an interpreter as a plugin, one capability
//! named `eval`.
//!
//! `{"script": "40 + 2"}` gives `{"result": 42}`; `variables` are there for the script by
//! their names. What a script may use is bounded by the host and by nothing here.

use std::collections::BTreeMap;
use std::slice;

use rhai::serde::{from_dynamic, to_dynamic};
use rhai::{Dynamic, Engine, Scope};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    script: String,
    #[serde(default)]
    variables: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Result(serde_json::Value),
    Error(String),
}

/// # Safety
/// `pointer` and `length` name memory that the host wrote.
#[no_mangle]
pub unsafe extern "C" fn eval(pointer: *const u8, length: usize) -> *const u8 {
    let json = unsafe { slice::from_raw_parts(pointer, length) };
    let answer = match run(json) {
        Ok(result) => Answer::Result(result),
        Err(error) => Answer::Error(error),
    };
    let mut answer = serde_json::to_vec(&answer).unwrap_or_default();
    answer.push(0);
    // The instance ends with the call, so nothing frees this.
    answer.leak().as_ptr()
}

fn run(json: &[u8]) -> Result<serde_json::Value, String> {
    let input: Input = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut scope = Scope::new();
    for (name, value) in input.variables {
        let value = to_dynamic(value).map_err(|error| error.to_string())?;
        scope.push_dynamic(name, value);
    }
    let result: Dynamic =
        Engine::new().eval_with_scope(&mut scope, &input.script).map_err(|error| error.to_string())?;
    from_dynamic(&result).map_err(|error| error.to_string())
}
