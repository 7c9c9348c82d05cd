//! PRX-Email's plugin: one tool, `email.execute`, in front of the host's mail.
//!
//! It looks at what it is given, says what is wrong with it, and hands the rest to the host as it is.
//! Accounts, passwords and servers are the host's; none of them comes here.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

#[cfg(target_arch = "wasm32")]
mod bindings;

/// The tools of the host that it is in front of, each with the arguments that it cannot be without.
const TOOLS: [(&str, &[&str]); 6] = [
    ("email.sync", &[]),
    ("email.list", &[]),
    ("email.get", &["message_id"]),
    ("email.search", &["query"]),
    ("email.send", &["to", "subject", "body_text"]),
    ("email.reply", &["message_id", "body_text"]),
];

/// Those that speak with servers.
const WITH_NETWORK: [&str; 3] = ["email.sync", "email.send", "email.reply"];

/// Where the host says whether they may.
const SWITCH: &str = "PRX_EMAIL_ENABLE_REAL_NETWORK";

/// A message that is to be sent.
#[derive(Debug, Clone, Deserialize)]
pub struct SendRequest {
    /// From whose account; the only one where it is not said.
    pub account_id: Option<i64>,
    /// To whom.
    pub to: String,
    /// About what.
    pub subject: String,
    /// Its text.
    pub body_text: String,
}

/// What a tool answered that failed.
#[derive(Debug, Clone)]
pub struct PluginError {
    output: Value,
    message: String,
}

impl PluginError {
    /// A request that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        PluginError::of("EMAIL_VALIDATION", message)
    }

    /// An error with a code of its own.
    pub fn of(code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        PluginError { output: json!({ "ok": false, "error_code": code, "message": message }), message }
    }

    /// The network is switched off.
    fn no_network(tool: &str) -> Self {
        let output = json!({
            "ok": false,
            "tool": tool,
            "error_code": "EMAIL_NETWORK_GUARD",
            "legacy_error_code": "EMAIL_REAL_NETWORK_DISABLED",
            "guard": "real-network-disabled",
            "hint": format!("Set {SWITCH}=1 to enable real IMAP/SMTP execution"),
        });
        PluginError { output, message: "real network execution disabled by policy".to_owned() }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PluginError {}

/// What the tool answers: text, and whether it is that of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it did what it was asked.
    pub success: bool,
    /// JSON.
    pub output: String,
    /// Why it did not.
    pub error: Option<String>,
}

impl From<PluginError> for Answer {
    fn from(error: PluginError) -> Self {
        Answer { success: false, output: error.output.to_string(), error: Some(error.message) }
    }
}

/// What is done before a message is handed to the host to be sent. What is refused here is not sent, and
/// the host does not hear of it.
///
/// # Errors
/// Why it is refused.
fn before_send(_request: &SendRequest) -> Result<(), PluginError> {
    Ok(())
}

/// Does what `args` say, as JSON with a `tool`.
pub fn execute(args: &str) -> Answer {
    dispatch(args, network_is_on(), before_send).unwrap_or_else(Answer::from)
}

fn dispatch(
    args: &str,
    network: bool,
    before_send: impl FnOnce(&SendRequest) -> Result<(), PluginError>,
) -> Result<Answer, PluginError> {
    let invalid = |error: serde_json::Error| PluginError::invalid(format!("invalid json args: {error}"));
    let read: Value = serde_json::from_str(args).map_err(invalid)?;
    let Arguments { tool, account_id } = Arguments::deserialize(&read).map_err(invalid)?;
    let known = TOOLS.iter().find(|(name, _)| *name == tool);
    let Some((tool, needed)) = known else {
        return Err(PluginError::of("EMAIL_UNSUPPORTED_TOOL", format!("unsupported tool: {tool}")));
    };
    if let Some(missing) = needed.iter().find(|name| is_empty(&read[**name])) {
        return Err(PluginError::invalid(format!("{missing} is required for {tool}")));
    }
    if account_id.is_some_and(|id| id <= 0) {
        return Err(PluginError::invalid("account_id must be greater than 0"));
    }
    if WITH_NETWORK.contains(tool) && !network {
        return Err(PluginError::no_network(tool));
    }
    if *tool == "email.send" {
        before_send(&SendRequest::of(account_id, &read))?;
    }
    execute_tool(tool, args, network)
}

/// Of all that a caller may say. What is not known here is the host's to read.
#[derive(Deserialize)]
struct Arguments {
    tool: String,
    account_id: Option<i64>,
}

impl SendRequest {
    fn of(account_id: Option<i64>, read: &Value) -> Self {
        let text = |name: &str| match &read[name] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        SendRequest { account_id, to: text("to"), subject: text("subject"), body_text: text("body_text") }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.iter().all(is_empty),
        _ => true,
    }
}

/// Whether the host lets servers be spoken to.
fn network_is_on() -> bool {
    let value = std::env::var(SWITCH).unwrap_or_default();
    ["1", "true", "yes", "on"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes))
}

/// Calls a tool of the host, and reads what it answered.
///
/// # Errors
/// What the host answered of a failure.
pub fn host_call(tool: &str, request: &Value) -> Result<Value, PluginError> {
    let answer = execute_tool(tool, &request.to_string(), network_is_on())?;
    let output = serde_json::from_str(&answer.output).unwrap_or(Value::String(answer.output));
    match answer.success {
        true => Ok(output),
        false => Err(PluginError { output, message: answer.error.unwrap_or_default() }),
    }
}

/// Hands a call to the host, and its answer back as it is.
#[cfg(target_arch = "wasm32")]
fn execute_tool(tool: &str, args: &str, network: bool) -> Result<Answer, PluginError> {
    let result = bindings::prx::plugin::host_calls::execute_tool(tool, args, network);
    Ok(Answer { success: result.success, output: result.output, error: result.error })
}

/// There is no host to hand it to.
#[cfg(not(target_arch = "wasm32"))]
fn execute_tool(_tool: &str, _args: &str, _network: bool) -> Result<Answer, PluginError> {
    let message = "host capability execute-tool unavailable in non-wasm runtime";
    let hint = "host-calls.execute-tool is only available after plugin.wasm is loaded by PRX runtime";
    let code = "EMAIL_HOST_CAPABILITY_UNAVAILABLE";
    let output = json!({ "ok": false, "error_code": code, "hint": hint });
    Err(PluginError { output, message: message.to_owned() })
}

/// What the tool says of itself: name, description, JSON Schema.
pub fn spec() -> (String, String, String) {
    let names: Vec<&str> = TOOLS.iter().map(|(name, _)| *name).collect();
    let text = || json!({ "type": "string" });
    let schema = json!({
        "type": "object",
        "properties": {
            "tool": { "type": "string", "enum": names },
            "account_id": { "type": "integer" },
            "message_id": text(),
            "query": text(),
            "to": text(),
            "subject": text(),
            "body_text": text(),
        },
        "required": ["tool"],
    });
    let description = format!("PRX email executor. Supported tools: {}", names.join(", "));
    ("email.execute".to_owned(), description, schema.to_string())
}

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::bindings;
    use crate::bindings::exports::prx::plugin::tool_exports::{Guest, PluginResult, ToolSpec};

    struct Plugin;

    impl Guest for Plugin {
        fn get_spec() -> ToolSpec {
            let (name, description, parameters_schema) = crate::spec();
            ToolSpec { name, description, parameters_schema }
        }

        fn execute(args: String) -> PluginResult {
            let crate::Answer { success, output, error } = crate::execute(&args);
            PluginResult { success, output, error }
        }
    }

    bindings::export!(Plugin with_types_in bindings);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{PluginError, SendRequest, dispatch, execute, host_call};

    /// The samples of its page, as they stand there.
    mod page {
        use super::{PluginError, SendRequest, Value, host_call};

        pub(super) fn list() -> Result<Value, PluginError> {
            // Example: list messages
            let request = serde_json::json!({
                "account_id": 1,
                "limit": 10
            });

            let response = host_call("email.list", &request)?;
            Ok(response)
        }

        // Add pre-processing before email operations
        #[allow(unused_variables)]
        pub(super) fn before_send(request: &SendRequest) -> Result<(), PluginError> {
            // Custom validation, logging, or transformation
            Ok(())
        }
    }

    #[test]
    fn the_samples_of_its_page_compile_and_do_what_they_say() {
        let error = page::list().expect_err("there is no host");
        assert_eq!(error.output["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
        let send = json!({ "tool": "email.send", "to": "a@x.example", "subject": "s", "body_text": "b" });
        let sent = dispatch(&send.to_string(), true, page::before_send).expect_err("there is no host");
        assert_eq!(sent.output["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
    }

    fn failure(args: Value) -> (Value, String) {
        let answer = execute(&args.to_string());
        assert!(!answer.success);
        (serde_json::from_str(&answer.output).expect("JSON"), answer.error.expect("it says why"))
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (args, message) in [
            (json!({ "tool": "email.get" }), "message_id is required for email.get"),
            (json!({ "tool": "email.search", "query": " " }), "query is required for email.search"),
            (json!({ "tool": "email.list", "account_id": 0 }), "account_id must be greater than 0"),
            (json!({ "tool": "email.send", "to": "a@x.example" }), "subject is required for email.send"),
            (json!({ "tool": "email.reply", "message_id": "m" }), "body_text is required for email.reply"),
        ] {
            let expected = json!({ "ok": false, "error_code": "EMAIL_VALIDATION", "message": message });
            assert_eq!(failure(args), (expected, message.to_owned()));
        }
        let message = "unsupported tool: email.erase";
        let expected = json!({ "ok": false, "error_code": "EMAIL_UNSUPPORTED_TOOL", "message": message });
        assert_eq!(failure(json!({ "tool": "email.erase" })), (expected, message.to_owned()));
    }

    #[test]
    fn without_the_switch_no_server_is_spoken_to() {
        let (output, message) = failure(json!({ "tool": "email.sync" }));
        assert_eq!(output["error_code"], "EMAIL_NETWORK_GUARD");
        assert_eq!(output["legacy_error_code"], "EMAIL_REAL_NETWORK_DISABLED");
        assert_eq!(message, "real network execution disabled by policy");
    }

    #[test]
    fn what_is_refused_before_it_is_sent_does_not_reach_the_host() {
        let send = json!({ "tool": "email.send", "to": ["a@x.example", "b@x.example"], "subject": "s", "body_text": "b" });
        let refused = dispatch(&send.to_string(), true, |request| {
            assert_eq!(request.to, "a@x.example, b@x.example");
            Err(PluginError::of("EMAIL_NOT_NOW", "it is night"))
        });
        assert_eq!(refused.expect_err("refused").output["error_code"], "EMAIL_NOT_NOW");
        let let_through = dispatch(&send.to_string(), true, |_| Ok(()));
        let code = &let_through.expect_err("there is no host").output["error_code"];
        assert_eq!(code, "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
    }

    #[test]
    fn without_a_host_there_is_no_mail() {
        let error = host_call("email.list", &json!({ "account_id": 1, "limit": 10 })).expect_err("no host");
        assert_eq!(error.output["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
        let (output, _) = failure(json!({ "tool": "email.list" }));
        assert_eq!(output["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
    }
}
