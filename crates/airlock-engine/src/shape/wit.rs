//! What a component exports to be called, in the words of WIT.
//!
//! Types are kept in one list and refer to one another by their places in it, always to earlier ones.
//! A type that is used twice is there once: written out, a few of them can be a million.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a signature that are shown. Types without names are written out, and that can be long.
const SHOWN: usize = 2_000;

/// The functions of a component, and what they take and give.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wit {
    /// The types of its functions.
    pub types: Vec<WitType>,
    /// The resources that those speak of, by their names.
    pub resources: Vec<String>,
    /// The functions, in the order of the exports.
    pub functions: Vec<WitFunction>,
}

/// One type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitType {
    /// Its name in the interface that exports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub kind: WitKind,
}

/// What a type is. Numbers are places in [`Wit::types`], and those of handles in [`Wit::resources`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are WIT's own words")]
pub enum WitKind {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(usize),
    Record(Vec<(String, usize)>),
    Tuple(Vec<usize>),
    Variant(Vec<(String, Option<usize>)>),
    Enum(Vec<String>),
    Flags(Vec<String>),
    Option(usize),
    Result { ok: Option<usize>, err: Option<usize> },
    Own(usize),
    Borrow(usize),
}

/// A function that can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitFunction {
    /// The interface that has it, with its version; none where the component exports it by itself.
    pub interface: Option<String>,
    /// Its name there, as `[method]counter.increment` for that of a resource.
    pub name: String,
    /// Its parameters, in order.
    pub params: Vec<(String, usize)>,
    /// What it gives.
    pub result: Option<usize>,
}

impl WitFunction {
    /// Its full name: `ns:pkg/iface@1.0.0.name`.
    pub fn full_name(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl Wit {
    /// A function's signature as WIT has it, `func(a: u32) -> string`, cut short where it is very long.
    pub fn signature(&self, function: &WitFunction) -> String {
        let mut text = Text(String::new());
        // What is too long is an error to the writer, who stops there.
        if self.write_signature(&mut text, function).is_err() {
            text.0.push('…');
        }
        text.0
    }

    /// A type as it is written where it is used: by its name, where it has one.
    pub fn type_name(&self, ty: usize) -> String {
        let mut text = Text(String::new());
        if self.write_type(&mut text, ty).is_err() {
            text.0.push('…');
        }
        text.0
    }

    /// Of each type, whether a value of it has a handle in it.
    pub fn with_handles(&self) -> Vec<bool> {
        // Types refer to earlier ones, so each is looked at once.
        let mut has = Vec::with_capacity(self.types.len());
        for ty in &self.types {
            let any = |of: &[usize]| of.iter().any(|of| has[*of]);
            has.push(match &ty.kind {
                WitKind::Own(_) | WitKind::Borrow(_) => true,
                WitKind::List(of) | WitKind::Option(of) => has[*of],
                WitKind::Tuple(of) => any(of),
                WitKind::Record(fields) => fields.iter().any(|(_, of)| has[*of]),
                WitKind::Variant(cases) => cases.iter().any(|(_, of)| of.is_some_and(|of| has[of])),
                WitKind::Result { ok, err } => [ok, err].into_iter().flatten().any(|of| has[*of]),
                _ => false,
            });
        }
        has
    }

    fn write_signature(&self, text: &mut Text, function: &WitFunction) -> fmt::Result {
        use fmt::Write as _;
        text.write_str("func(")?;
        for (index, (name, ty)) in function.params.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(text, "{comma}{name}: ")?;
            self.write_type(text, *ty)?;
        }
        text.write_str(")")?;
        match function.result {
            Some(result) => {
                text.write_str(" -> ")?;
                self.write_type(text, result)
            }
            None => Ok(()),
        }
    }

    fn write_type(&self, text: &mut Text, ty: usize) -> fmt::Result {
        use fmt::Write as _;
        let ty = &self.types[ty];
        if let Some(name) = &ty.name {
            return text.write_str(name);
        }
        let list = |text: &mut Text, of: &[usize]| {
            for (index, of) in of.iter().enumerate() {
                text.write_str(if index == 0 { "" } else { ", " })?;
                self.write_type(text, *of)?;
            }
            Ok(())
        };
        match &ty.kind {
            WitKind::List(of) => {
                text.write_str("list<")?;
                self.write_type(text, *of)?;
                text.write_str(">")
            }
            WitKind::Option(of) => {
                text.write_str("option<")?;
                self.write_type(text, *of)?;
                text.write_str(">")
            }
            WitKind::Tuple(of) => {
                text.write_str("tuple<")?;
                list(text, of)?;
                text.write_str(">")
            }
            WitKind::Result { ok: None, err: None } => text.write_str("result"),
            WitKind::Result { ok, err } => {
                text.write_str("result<")?;
                match ok {
                    Some(ok) => self.write_type(text, *ok)?,
                    None => text.write_str("_")?,
                }
                if let Some(err) = err {
                    text.write_str(", ")?;
                    self.write_type(text, *err)?;
                }
                text.write_str(">")
            }
            WitKind::Own(resource) => text.write_str(&self.resources[*resource]),
            WitKind::Borrow(resource) => write!(text, "borrow<{}>", self.resources[*resource]),
            kind => text.write_str(kind.word()),
        }
    }
}

impl WitKind {
    /// The word that WIT has for it.
    pub fn word(&self) -> &'static str {
        match self {
            WitKind::Bool => "bool",
            WitKind::S8 => "s8",
            WitKind::U8 => "u8",
            WitKind::S16 => "s16",
            WitKind::U16 => "u16",
            WitKind::S32 => "s32",
            WitKind::U32 => "u32",
            WitKind::S64 => "s64",
            WitKind::U64 => "u64",
            WitKind::F32 => "f32",
            WitKind::F64 => "f64",
            WitKind::Char => "char",
            WitKind::String => "string",
            WitKind::List(_) => "list",
            WitKind::Record(_) => "record",
            WitKind::Tuple(_) => "tuple",
            WitKind::Variant(_) => "variant",
            WitKind::Enum(_) => "enum",
            WitKind::Flags(_) => "flags",
            WitKind::Option(_) => "option",
            WitKind::Result { .. } => "result",
            WitKind::Own(_) => "own",
            WitKind::Borrow(_) => "borrow",
        }
    }
}

/// A text that grows to [`SHOWN`] bytes and no further.
struct Text(String);

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > SHOWN {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}
