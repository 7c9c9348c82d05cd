//! A plugin of CortexPrism's tool ABI with one tool: `greet`.

use serde::Deserialize;
use serde_json::{Value, json};

/// What tools there are, for the host.
fn capabilities() -> Value {
    json!({
        "abi_version": 1,
        "tools": [{
            "name": "greet",
            "description": "Greets somebody",
            "params": [{
                "name": "name",
                "type": "string",
                "description": "Who is greeted",
                "required": true,
            }],
        }],
    })
}

/// Runs a tool: what it gives, or why it failed.
fn execute(tool: &str, args: &str) -> Result<Value, String> {
    match tool {
        "greet" => greet(serde_json::from_str(args).map_err(|error| error.to_string())?),
        _ => Err(format!("there is no tool `{tool}`")),
    }
}

/// What `greet` is called with.
#[derive(Deserialize)]
struct Person {
    name: String,
}

fn greet(person: Person) -> Result<Value, String> {
    if person.name.is_empty() {
        return Err("`name` is empty".to_owned());
    }
    Ok(json!({ "greeting": format!("Hello, {}!", person.name) }))
}

/// What the host calls: texts go in as an address and a length, and out into a buffer of the
/// host's.
mod exports {
    use std::slice;

    /// Bytes of the host's buffer where it says 0.
    const ROOM: u32 = 65_536;

    #[unsafe(no_mangle)]
    extern "C" fn plugin_get_abi_version() -> i32 {
        1
    }

    #[unsafe(no_mangle)]
    extern "C" fn plugin_init() {}

    #[unsafe(no_mangle)]
    extern "C" fn plugin_destroy() {}

    #[unsafe(no_mangle)]
    unsafe extern "C" fn plugin_get_capabilities(out: *mut u8, out_length: *mut u32) -> i32 {
        // SAFETY: the host's buffer is as long as it says.
        unsafe { give(Ok(super::capabilities().to_string()), out, out_length) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn plugin_execute_tool(
        name: *const u8,
        name_length: usize,
        args: *const u8,
        args_length: usize,
        out: *mut u8,
        out_length: *mut u32,
    ) -> i32 {
        // SAFETY: the host wrote that many bytes to each, and leaves them alone meanwhile.
        let (name, args) = unsafe {
            (
                slice::from_raw_parts(name, name_length),
                slice::from_raw_parts(args, args_length),
            )
        };
        let (name, args) = (String::from_utf8_lossy(name), String::from_utf8_lossy(args));
        let answer = super::execute(&name, &args).map(|value| value.to_string());
        // SAFETY: the host's buffer is as long as it says.
        unsafe { give(answer, out, out_length) }
    }

    /// Writes an answer into the host's buffer, and says whether it is one.
    ///
    /// # Safety
    /// `out_length` is how many bytes there are at `out`.
    unsafe fn give(answer: Result<String, String>, out: *mut u8, out_length: *mut u32) -> i32 {
        // SAFETY: as the caller promises.
        let said = unsafe { *out_length };
        let room = if said == 0 { ROOM } else { said } as usize;
        let (text, code) = match answer {
            Ok(text) if text.len() <= room => (text, 0),
            Ok(_) => ("the answer is longer than the host's buffer".to_owned(), 1),
            Err(reason) => (reason, 1),
        };
        let length = text.floor_char_boundary(text.len().min(room));
        // SAFETY: it fits, as the caller promises.
        unsafe {
            out.copy_from_nonoverlapping(text.as_ptr(), length);
            *out_length = length as u32;
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::execute;

    #[test]
    fn somebody_is_greeted_by_name() {
        let greeting = execute("greet", r#"{"name":"Ada"}"#);
        assert_eq!(greeting, Ok(json!({ "greeting": "Hello, Ada!" })));
    }

    #[test]
    fn nobody_is_not_greeted() {
        let greeting = execute("greet", r#"{"name":""}"#);
        assert_eq!(greeting, Err("`name` is empty".to_owned()));
    }
}
