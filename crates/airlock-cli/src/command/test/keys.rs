//! Keys that a case file may have, and where it has others.
//!
//! serde refuses an unknown key with all that there are; a person who mistyped one is told the nearest
//! instead. Which there are is asked of the types that are read, so that no list of them has to be
//! kept.

use std::ops::Range;

use airlock_host::nearest;
use airlock_host::testing::{ExecRow, FakeData, HttpRow, MailRow, MessageRow, ToolRow};
use serde::de::value::Error as ValueError;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::case::{BudgetRow, Defaults, Head, Setup, StepRow};
use super::expect::{ObservedRow, Parts};

/// Something that is wrong, and the bytes that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Option<Range<usize>>,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(at: Option<Range<usize>>, reason: impl Into<String>) -> Self {
        Fault { at, reason: reason.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Fault::new(error.span(), error.message())
    }
}

/// A table, by its key for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a DeTable<'a>,
    name: &'a str,
}

/// Refuses keys that mean nothing.
///
/// # Errors
/// The first one, with its place and the nearest that there is.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let root = DeTable::parse(text)?;
    let root = Place { table: root.get_ref(), name: "" };
    root.refuse_others(&["defaults", "case"])?;
    let setup = fields_of::<Setup>();
    let budgets = fields_of::<BudgetRow>();
    let step: Vec<&str> = [fields_of::<StepRow>(), budgets].concat();
    let case: Vec<&str> = [fields_of::<Head>(), setup, &step].concat();
    if let Some(defaults) = root.table_at("defaults") {
        defaults.refuse_others(&[fields_of::<Defaults>(), setup, budgets].concat())?;
        defaults.fakes()?;
    }
    for place in root.tables_at("case") {
        place.refuse_others(&case)?;
        place.fakes()?;
        place.texts()?;
        if let Some(observed) = place.table_at("observed") {
            observed.refuse_others(fields_of::<ObservedRow>())?;
        }
        for place in place.tables_at("steps") {
            place.refuse_others(&step)?;
            place.texts()?;
        }
    }
    Ok(())
}

impl<'a> Place<'a> {
    fn refuse_others(self, known: &[&str]) -> Result<(), Fault> {
        let unknown = self.table.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown else { return Ok(()) };
        let (name, at) = (key.get_ref().as_ref(), Some(key.span()));
        let of = if self.name.is_empty() { String::new() } else { format!(" of `{}`", self.name) };
        let fault = Fault::new(at, format!("unknown key `{name}`{of}"));
        let near: Vec<String> =
            nearest(name, known.iter().copied()).iter().map(|name| format!("`{name}`")).collect();
        Err(match near.is_empty() {
            true => {
                let all: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                fault.with_hint(format!("there are {}", all.join(", ")))
            }
            false => fault.with_hint(format!("did you mean {}?", near.join(" or "))),
        })
    }

    fn get(self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn table_at(self, key: &'a str) -> Option<Place<'a>> {
        let table = self.get(key)?.get_ref().as_table()?;
        Some(Place { table, name: key })
    }

    fn tables_at(self, key: &'a str) -> impl Iterator<Item = Place<'a>> {
        let values = self.get(key).and_then(|value| value.get_ref().as_array());
        let values = values.into_iter().flat_map(|values| values.iter());
        values.filter_map(move |value| Some(Place { table: value.get_ref().as_table()?, name: key }))
    }

    /// Those of `fakes`.
    fn fakes(self) -> Result<(), Fault> {
        let Some(fakes) = self.table_at("fakes") else { return Ok(()) };
        fakes.refuse_others(fields_of::<FakeData>())?;
        fakes.tables_at("http").try_for_each(|row| row.refuse_others(fields_of::<HttpRow>()))?;
        fakes.tables_at("exec").try_for_each(|row| row.refuse_others(fields_of::<ExecRow>()))?;
        if let Some(email) = fakes.table_at("email") {
            email.refuse_others(fields_of::<MailRow>())?;
            let mut messages = email.tables_at("messages").chain(email.tables_at("arriving"));
            messages.try_for_each(|row| row.refuse_others(fields_of::<MessageRow>()))?;
        }
        let tools = fakes.table_at("tools").into_iter().flat_map(|tools| tools.table.iter());
        let mut tools = tools.filter_map(|(_, tool)| tool.get_ref().as_table());
        tools.try_for_each(|table| Place { table, name: "tools" }.refuse_others(fields_of::<ToolRow>()))
    }

    /// Those of what is expected of texts.
    fn texts(self) -> Result<(), Fault> {
        let mut texts = ["stdout", "stderr", "log"].into_iter().filter_map(|key| self.table_at(key));
        texts.try_for_each(|text| text.refuse_others(fields_of::<Parts>()))
    }
}

/// The names of a struct's fields, as serde knows them.
fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It gives nothing to make a value of, and so always fails.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(ValueError::custom("only names are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpRow, check, fields_of};

    #[test]
    fn the_names_are_those_that_are_read() {
        assert_eq!(fields_of::<HttpRow>(), ["method", "url", "status", "headers", "body", "json", "error"]);
    }

    #[test]
    fn a_key_that_means_nothing_is_told_with_the_nearest() {
        let told = |text: &str| {
            let fault = check(text).expect_err("it has an unknown key");
            let at = fault.at.map(|at| text[at].to_owned()).unwrap_or_default();
            (at, fault.reason, fault.hint.unwrap_or_default())
        };
        let (at, reason, hint) = told("[[case]]\nname = \"x\"\ninptu = 1");
        assert_eq!((at.as_str(), reason.as_str()), ("inptu", "unknown key `inptu` of `case`"));
        assert!(hint.starts_with("did you mean `input`"), "{hint}");
        let (_, reason, hint) = told("cases = 1");
        assert_eq!((reason.as_str(), hint.as_str()), ("unknown key `cases`", "did you mean `case`?"));
        let (at, reason, _) = told("[[case]]\n[[case.fakes.http]]\nurl = \"x\"\nstauts = 1");
        assert_eq!((at.as_str(), reason.as_str()), ("stauts", "unknown key `stauts` of `http`"));
        let (_, reason, _) = told("[[defaults.fakes.email.messages]]\nsubjcet = \"x\"");
        assert_eq!(reason, "unknown key `subjcet` of `messages`");
        let (_, reason, _) = told("[[case]]\nsteps = [{ call = \"x\", stdout = { contain = \"y\" } }]");
        assert_eq!(reason, "unknown key `contain` of `stdout`");
        assert!(told("[[case]]\nzzz = 1").2.starts_with("there are `name`"));
    }
}
