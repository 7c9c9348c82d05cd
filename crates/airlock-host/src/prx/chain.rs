//! Middleware: plugins that look at data one after the other, change it, or let it go no further.

use std::fmt;

use airlock_core::{Error, ErrorKind, PrxKind, Result};
use serde_json::{Value, json};

use super::Callee;
use crate::abi::prx::is_a;
use crate::manager::Manager;

const PROCESS: &str = "prx:plugin/middleware-exports.process";

/// Where on its way data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are PRX's own names")]
pub enum Stage {
    Inbound,
    Outbound,
    LlmRequest,
    LlmResponse,
}

impl Stage {
    /// Its name, as a plugin is told it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Inbound => "inbound",
            Stage::Outbound => "outbound",
            Stage::LlmRequest => "llm_request",
            Stage::LlmResponse => "llm_response",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What becomes of data whose middleware fails: by an error of its own, a trap, a limit, or an answer that
/// is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It goes no further, as PRX's documents have it: what was to be looked at was not.
    #[default]
    Block,
    /// It goes on as it was, with a warning in the log, as PRX's code has it.
    Pass,
}

/// What became of data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on, as this.
    Continue(Value),
    /// It goes no further.
    Block {
        /// The plugin that says so.
        plugin: String,
        /// Why, in its words.
        reason: String,
    },
}

/// Middleware in its order: by priority, lower ones first, and by name where that is the same.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    manager: Option<Manager>,
    own: Vec<Link>,
    on_error: OnError,
}

#[derive(Debug, Clone)]
struct Link {
    priority: i64,
    name: String,
    plugin: Callee,
}

/// What a plugin says is to become of data, where it does not only give it back.
enum Action {
    Continue(Value),
    Block(String),
}

impl Chain {
    /// An empty one.
    pub fn new() -> Self {
        Chain::default()
    }

    /// The middleware that a manager has, at each moment.
    pub fn of(manager: &Manager) -> Self {
        Chain { manager: Some(manager.clone()), ..Chain::default() }
    }

    /// The same with one more plugin, at the place that its manifest says.
    #[must_use]
    pub fn with(mut self, plugin: impl Into<Callee>) -> Self {
        self.own.push(Link::of(plugin.into()));
        self
    }

    /// The same where this becomes of data whose middleware fails.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    fn links(&self) -> Vec<Link> {
        let names = self.manager.as_ref().map(Manager::list).unwrap_or_default();
        let managed = names.iter().filter_map(|name| self.manager.as_ref()?.get(name).ok());
        let middleware = managed.filter(|managed| is_a(managed.plugin().shape(), PrxKind::Middleware));
        let mut links: Vec<Link> = middleware.map(|managed| Link::of(managed.into())).collect();
        links.extend(self.own.iter().cloned());
        links.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        links
    }

    /// Hands data along the chain.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for data that has the form of a middleware's answer (`action` with `data` or
    /// `reason` and nothing else), which would be taken for one. None of a plugin's: what becomes of data
    /// then is said by [`OnError`].
    pub async fn process(&self, stage: Stage, data: Value) -> Result<Verdict> {
        if is_answer(&data) {
            let reason = "the data has the form of a middleware's answer".to_owned();
            return Err(Error::new(ErrorKind::InvalidInput { at: None, reason }));
        }
        let mut data = data;
        for Link { name, plugin, .. } in self.links() {
            let params = json!({ "stage": stage.name(), "data-json": data.to_string() });
            let answer: Result<String> = plugin.call(PROCESS, &params).await;
            match action(answer, &data) {
                Ok(Action::Continue(next)) => data = next,
                Ok(Action::Block(reason)) => return Ok(Verdict::Block { plugin: name, reason }),
                Err(error) if self.on_error == OnError::Pass => {
                    tracing::warn!(plugin = name, %error, "middleware failed, and data goes on as it was");
                }
                Err(error) => return Ok(Verdict::Block { plugin: name, reason: error.to_string() }),
            }
        }
        Ok(Verdict::Continue(data))
    }
}

impl Link {
    fn of(plugin: Callee) -> Self {
        let first = |plugin: &crate::Plugin| {
            let prx = plugin.manifest()?.prx.as_ref()?;
            prx.of(PrxKind::Middleware).map(|capability| capability.priority).min()
        };
        Link { priority: first(&plugin.plugin()).unwrap_or(100), name: plugin.name(), plugin }
    }
}

/// What is to become of data.
fn action(answer: Result<String>, before: &Value) -> Result<Action> {
    match answer {
        Ok(text) => {
            let value = serde_json::from_str::<Value>(&text).map_err(|error| {
                let reason = format!("its answer is no JSON: {error}");
                Error::new(ErrorKind::BadGuest { function: PROCESS.to_owned(), reason })
            })?;
            match said(&value, before).unwrap_or(Action::Continue(value)) {
                Action::Continue(next) if is_answer(&next) => Err(Error::new(ErrorKind::BadGuest {
                    function: PROCESS.to_owned(),
                    reason: "what it lets go on has the form of an answer".to_owned(),
                })),
                action => Ok(action),
            }
        }
        // Its SDKs throw what they want done.
        Err(error) => match error.kind() {
            ErrorKind::Failed(text) => {
                let thrown = serde_json::from_str::<Value>(text).ok();
                thrown.and_then(|value| said(&value, before)).ok_or(error)
            }
            _ => Err(error),
        },
    }
}

/// Whether data could be taken for what a plugin says of it.
fn is_answer(data: &Value) -> bool {
    said(data, data).is_some()
}

/// `{"action": "continue", "data": …}` and `{"action": "block", "reason": …}`, and nothing with more than
/// that: data may have such keys too.
fn said(value: &Value, before: &Value) -> Option<Action> {
    let fields = value.as_object()?;
    let has_only = |other: &str| fields.keys().all(|key| key == "action" || key == other);
    match fields.get("action")?.as_str()? {
        "continue" if has_only("data") => {
            Some(Action::Continue(fields.get("data").unwrap_or(before).clone()))
        }
        "block" if has_only("reason") => {
            let reason = value.get("reason").and_then(Value::as_str).unwrap_or("it does not say why");
            Some(Action::Block(reason.to_owned()))
        }
        _ => None,
    }
}
