//! JSON as its text has it: numbers with all their digits, and where two of them differ.

use std::borrow::Cow;
use std::collections::BTreeMap;

use airlock_host::{escape_json, visible};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::value::RawValue;

/// Levels of nesting that are read: as many as a plugin may answer with.
const LEVELS: usize = 127;

/// Characters of a value that a sentence shows.
const SHOWN: usize = 60;

/// A JSON value. Of equal keys of an object the last one counts, and keys have no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Truth(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// How an expected value is looked for in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The same in all of it.
    Exactly,
    /// Objects may have more keys. Lists are as long, element by element.
    Within,
    /// The same, and a text that is JSON may be what it stands for.
    Observed,
}

/// The first place where a value is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// From the value's root, such as `.items[2].name`; empty for the root itself.
    pub(super) path: String,
    /// What is the matter there.
    pub(super) what: String,
}

impl Difference {
    /// As a sentence about `subject`.
    pub(super) fn of(&self, subject: &str) -> String {
        let what = &self.what;
        match self.path.as_str() {
            "" => format!("{subject} {what}"),
            path => format!("{subject} at `{path}` {what}"),
        }
    }

    fn below(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        Json::of(serde_json::from_str(text)?, LEVELS)
    }

    fn of(raw: &RawValue, levels: usize) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        let deeper = || {
            levels.checked_sub(1).ok_or_else(|| {
                let reason = format!("it is nested deeper than {LEVELS} levels");
                <serde_json::Error as serde::de::Error>::custom(reason)
            })
        };
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
                let levels = deeper()?;
                let read = |(key, value)| Ok((key, Json::of(value, levels)?));
                Json::Object(fields.into_iter().map(read).collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text)?;
                let levels = deeper()?;
                Json::List(values.into_iter().map(|value| Json::of(value, levels)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Json::Text(serde_json::from_str(text)?),
            Some(b't' | b'f') => Json::Truth(serde_json::from_str(text)?),
            Some(b'n') => Json::Null,
            _ => Json::Number(text.to_owned()),
        })
    }

    /// Over several lines, with keys in their order, and nothing in it that a terminal would act on.
    pub(super) fn pretty(&self) -> String {
        // What is put together here always has a form.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        if visible(&text, true) == text {
            return text;
        }
        let escaped = |c: char| match c {
            '\n' | ' ' => c.to_string(),
            // Only strings hold such characters, in which they may be written this way.
            c => escape_json(&format!("\"{c}")).split_off(1),
        };
        text.chars().map(escaped).collect()
    }

    /// On one line, cut off where it is long.
    pub(super) fn short(&self) -> String {
        let text = escape_json(&serde_json::to_string(self).unwrap_or_default());
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// What of it is looked at where `expected` is looked for within it, so that both can be compared
    /// line by line.
    pub(super) fn beside(&self, expected: &Json) -> Json {
        match (self, expected) {
            (Json::Object(fields), Json::Object(expected)) => {
                let seen = expected.iter().filter_map(|(key, expected)| {
                    fields.get(key).map(|field| (key.clone(), field.beside(expected)))
                });
                Json::Object(seen.collect())
            }
            (Json::List(values), Json::List(expected)) => {
                let seen = values.iter().enumerate().map(|(index, value)| match expected.get(index) {
                    Some(expected) => value.beside(expected),
                    None => value.clone(),
                });
                Json::List(seen.collect())
            }
            _ => self.clone(),
        }
    }

    /// The first place where it is not what was expected.
    pub(super) fn difference(&self, expected: &Json, how: How) -> Option<Difference> {
        let here = |what: String| Some(Difference { path: String::new(), what });
        let read;
        let actual = match (self, expected) {
            (Json::Text(text), Json::Object(_) | Json::List(_)) if how == How::Observed => {
                match Json::read(text) {
                    Ok(value) => {
                        read = value;
                        &read
                    }
                    Err(_) => self,
                }
            }
            _ => self,
        };
        match (actual, expected) {
            (Json::Object(actual), Json::Object(expected)) => of_objects(actual, expected, how),
            (Json::List(actual), Json::List(expected)) => {
                let places = actual.iter().zip(expected).enumerate();
                let in_one = places
                    .filter_map(|(index, (actual, expected))| {
                        Some(actual.difference(expected, how)?.below(&format!("[{index}]")))
                    })
                    .next();
                let (count, wanted) = (actual.len(), expected.len());
                let length = || (count != wanted).then(|| of_length(count, wanted)).and_then(here);
                in_one.or_else(length)
            }
            (Json::Number(actual), Json::Number(expected)) if is_same_number(actual, expected) => None,
            (actual, expected) if actual == expected => None,
            (actual, expected) => here(format!("is {}, not {}", actual.short(), expected.short())),
        }
    }
}

fn of_length(count: usize, wanted: usize) -> String {
    let elements = if count == 1 { "element" } else { "elements" };
    format!("has {count} {elements}, not {wanted}")
}

fn of_objects(
    actual: &BTreeMap<String, Json>,
    expected: &BTreeMap<String, Json>,
    how: How,
) -> Option<Difference> {
    for (key, expected) in expected {
        let difference = match actual.get(key) {
            Some(actual) => actual.difference(expected, how),
            None => Some(Difference {
                path: String::new(),
                what: format!("is not there; {} was expected", expected.short()),
            }),
        };
        if let Some(difference) = difference {
            return Some(difference.below(&step(key)));
        }
    }
    let (key, value) = actual.iter().find(|(key, _)| how == How::Exactly && !expected.contains_key(*key))?;
    Some(Difference { path: step(key), what: format!("is {} and was not expected", value.short()) })
}

/// A step of a path into an object.
fn step(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !key.is_empty() && key.chars().all(plain) {
        true => format!(".{key}"),
        false => format!("[{}]", Json::Text(key.to_owned()).short()),
    }
}

/// Whether two numbers have the same value, however they are written: `1`, `1.0` and `10e-1` do. No
/// digit is rounded away.
fn is_same_number(one: &str, other: &str) -> bool {
    match (decimal(one), decimal(other)) {
        (Some(one), Some(other)) => one == other,
        // With an exponent past all that is sensible a number is what is written.
        _ => one == other,
    }
}

/// Whether it is below zero, its digits without zeros at either end, and the power of ten that they are
/// multiplied with.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (is_negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    match significant.trim_start_matches('0') {
        "" => Some((false, String::new(), 0)),
        significant => Some((is_negative, significant.to_owned(), exponent)),
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Truth(truth) => serializer.serialize_bool(*truth),
            Json::Number(number) => {
                let raw = RawValue::from_string(number.clone()).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Json::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

/// A value of TOML as JSON text: dates and times are texts.
///
/// # Errors
/// Where it has no form in JSON.
pub(super) fn text_of_toml(value: &toml::Value) -> Result<String, String> {
    fn json(value: &toml::Value) -> Result<serde_json::Value, String> {
        Ok(match value {
            toml::Value::String(text) => text.as_str().into(),
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) => serde_json::Number::from_f64(*number)
                .map(serde_json::Value::Number)
                .ok_or_else(|| format!("`{number}` is no number in JSON"))?,
            toml::Value::Boolean(truth) => (*truth).into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(values) => values.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
            toml::Value::Table(fields) => {
                let fields = fields.iter().map(|(key, value)| Ok((key.clone(), json(value)?)));
                serde_json::Value::Object(fields.collect::<Result<_, String>>()?)
            }
        })
    }
    json(value).map(|value| value.to_string())
}

/// What a pattern looks at in a value: a text itself, and anything else as JSON on one line.
pub(super) fn text_of(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::{How, Json, is_same_number};

    fn json(text: &str) -> Json {
        Json::read(text).expect("it is JSON")
    }

    fn told(actual: &str, expected: &str, how: How) -> Option<String> {
        json(actual).difference(&json(expected), how).map(|difference| difference.of("it"))
    }

    #[test]
    fn numbers_are_the_same_by_value_and_to_the_last_digit() {
        for (one, other) in [("1", "1.0"), ("1e2", "100"), ("-0", "0.00"), ("0.10", "1E-1"), ("10e-1", "1")] {
            assert!(is_same_number(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("9007199254740992", "9007199254740993"),
            ("18446744073709551616", "18446744073709551617"),
            ("0.1", "0.10000000000000000000001"),
            ("1", "-1"),
            ("1e99999999999999999999", "1e99999999999999999998"),
            ("1e9223372036854775807", "1"),
        ] {
            assert!(!is_same_number(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_first_difference_is_told_with_its_path() {
        let told = |actual, expected| told(actual, expected, How::Exactly);
        let list = r#"{"items":[1,{"name":"a"}]}"#;
        assert_eq!(told(list, list), None);
        assert_eq!(
            told(list, r#"{"items":[1,{"name":"b"}]}"#).as_deref(),
            Some(r#"it at `.items[1].name` is "a", not "b""#)
        );
        assert_eq!(told(list, r#"{"items":[1]}"#).as_deref(), Some("it at `.items` has 2 elements, not 1"));
        assert_eq!(
            told("{}", r#"{"a b":1}"#).as_deref(),
            Some(r#"it at `["a b"]` is not there; 1 was expected"#)
        );
        assert_eq!(told(r#"{"a":[]}"#, "{}").as_deref(), Some("it at `.a` is [] and was not expected"));
        assert_eq!(told("1", "2").as_deref(), Some("it is 1, not 2"));
        assert_eq!(told("1.0", "1"), None);
    }

    #[test]
    fn within_objects_there_may_be_more_and_in_lists_not() {
        let told = |actual, expected| told(actual, expected, How::Within);
        assert_eq!(told(r#"{"a":{"b":1,"c":2},"d":3}"#, r#"{"a":{"b":1}}"#), None);
        assert_eq!(told(r#"[{"a":1,"b":2}]"#, r#"[{"a":1}]"#), None);
        assert!(told("[1,2]", "[1]").is_some());
        let seen = json(r#"{"a":{"b":1,"c":2},"d":3}"#).beside(&json(r#"{"a":{"b":2},"e":1}"#));
        assert_eq!(seen, json(r#"{"a":{"b":1}}"#));
    }

    #[test]
    fn what_was_observed_may_be_json_within_a_text() {
        let actual = r#"[{"body":"{\"a\":1,\"b\":2}"}]"#;
        assert_eq!(told(actual, r#"[{"body":{"a":1}}]"#, How::Observed), None);
        assert!(told(actual, r#"[{"body":{"a":2}}]"#, How::Observed).is_some());
        assert!(told(actual, r#"[{"body":{"a":1}}]"#, How::Within).is_some());
    }

    #[test]
    fn nothing_in_it_moves_the_cursor_and_it_is_still_json() {
        let value = json("{\"\\u001b[2J\":\"\u{202e}\u{9b}\",\"n\":18446744073709551617.50}");
        let pretty = value.pretty();
        assert!(pretty.contains(r"\u202e\u009b") && pretty.contains("18446744073709551617.50"), "{pretty}");
        assert_eq!(json(&pretty), value);
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::read(&nested(127)).is_ok() && Json::read(&nested(128)).is_err());
        assert!(Json::read(&nested(100_000)).is_err());
    }
}
