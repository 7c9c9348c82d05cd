//! The members of a JSON object from the host.
//!
//! Every message is read as a [`Value`] and taken apart here. A derived `Deserialize` for
//! each type would bring a parser of its own into the plugin for each.

use serde_json::{Map, Value};

/// What is left of an object; a member is gone once it was taken.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// `None` when `value` is no object.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Fields(members)),
            _ => None,
        }
    }

    /// This member, null when there is none.
    pub(super) fn take(&mut self, name: &str) -> Value {
        self.0.get_mut(name).map(Value::take).unwrap_or_default()
    }

    /// This member when it is a string.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// This member when it is a string, else an empty one.
    pub(super) fn text_or_empty(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// Whether this member is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }

    /// This member when it is an object.
    pub(super) fn object(&mut self, name: &str) -> Option<Fields> {
        Fields::of(self.take(name))
    }
}

/// The strings of an array that has nothing else.
pub(super) fn texts(value: Value) -> Option<Vec<String>> {
    let Value::Array(elements) = value else { return None };
    let text = |element| match element {
        Value::String(text) => Some(text),
        _ => None,
    };
    elements.into_iter().map(text).collect()
}
