//! From JSON to the values of a component's types.
//!
//! JSON is read by the type that is expected, with nothing between the text and the value, so that a
//! text is refused at the place where it departs from the type and nothing is made that is not needed.

use std::cell::{Cell, RefCell};
use std::fmt;

use airlock_core::{Error, LimitKind, nearest};
use airlock_engine::{Wit, WitKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::handles::Handles;
use super::place::{Fault, Place, shown, wrong};

/// What reading values needs and keeps.
pub(super) struct Decoder<'a> {
    pub(super) wit: &'a Wit,
    pub(super) handles: Option<&'a Handles>,
    /// Handles that are given away, and such that are lent.
    pub(super) moved: RefCell<Vec<u64>>,
    lent: RefCell<Vec<u64>>,
    /// Bytes of the host's memory that values may still take.
    room: Cell<usize>,
    pub(super) most: usize,
    pub(super) fault: Fault,
}

/// A value's own place, without what it refers to.
const VALUE: usize = size_of::<Val>();

impl<'a> Decoder<'a> {
    /// A decoder of values that take no more than `most` bytes of the host's memory together.
    pub(super) fn new(wit: &'a Wit, handles: Option<&'a Handles>, most: usize) -> Self {
        Decoder {
            wit,
            handles,
            moved: RefCell::default(),
            lent: RefCell::default(),
            room: Cell::new(most),
            most,
            fault: Fault::default(),
        }
    }

    pub(super) fn seed<'b>(&'b self, ty: usize, place: &'b Place<'b>) -> Seed<'b> {
        Seed { decoder: self, ty, place }
    }

    /// Makes room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Error> {
        match self.room.get().checked_sub(bytes) {
            Some(left) => {
                self.room.set(left);
                Ok(())
            }
            None => Err(super::too_much(LimitKind::Input, self.most)),
        }
    }

    /// The resource that a number stands for, given away or lent.
    pub(super) fn handle(&self, kind: &WitKind, number: u64, place: &Place<'_>) -> Result<Val, Error> {
        let (WitKind::Own(of) | WitKind::Borrow(of)) = kind else {
            return Err(wrong(place, "there is no resource here".to_owned()));
        };
        let name = &self.wit.resources[*of];
        let unknown = || wrong(place, format!("this session has no resource {number}"));
        let handle = self.handles.and_then(|handles| handles.get(number)).ok_or_else(unknown)?;
        if handle.of != *of {
            let found = &self.wit.resources[handle.of];
            return Err(wrong(place, format!("expected {name}, and resource {number} is {found}")));
        }
        let is_own = matches!(kind, WitKind::Own(_));
        let is_moved = self.moved.borrow().contains(&number);
        if is_moved || (is_own && self.lent.borrow().contains(&number)) {
            return Err(wrong(place, format!("resource {number} is given away in this call already")));
        }
        match is_own {
            true => self.moved.borrow_mut().push(number),
            false => self.lent.borrow_mut().push(number),
        }
        Ok(Val::Resource(handle.resource))
    }

    /// An integer of the type's range.
    pub(super) fn integer(&self, kind: &WitKind, number: i128) -> Option<Val> {
        Some(match kind {
            WitKind::S8 => Val::S8(number.try_into().ok()?),
            WitKind::U8 => Val::U8(number.try_into().ok()?),
            WitKind::S16 => Val::S16(number.try_into().ok()?),
            WitKind::U16 => Val::U16(number.try_into().ok()?),
            WitKind::S32 => Val::S32(number.try_into().ok()?),
            WitKind::U32 => Val::U32(number.try_into().ok()?),
            WitKind::S64 => Val::S64(number.try_into().ok()?),
            WitKind::U64 => Val::U64(number.try_into().ok()?),
            WitKind::F32 => Val::Float32(number as f32),
            WitKind::F64 => Val::Float64(number as f64),
            _ => return None,
        })
    }

    /// What stands for a value as a word: a text, a case, or a number that JSON has no digits for.
    pub(super) fn word(&self, kind: &WitKind, text: &str) -> Option<Val> {
        Some(match kind {
            WitKind::String => Val::String(text.to_owned()),
            WitKind::Char => {
                let mut chars = text.chars();
                let first = chars.next()?;
                return chars.next().is_none().then_some(Val::Char(first));
            }
            WitKind::Enum(names) => Val::Enum(names.iter().find(|name| *name == text)?.clone()),
            WitKind::Variant(cases) => {
                let (name, _) = cases.iter().find(|(name, of)| name == text && of.is_none())?;
                Val::Variant(name.clone(), None)
            }
            WitKind::S64 => Val::S64(text.parse().ok()?),
            WitKind::U64 => Val::U64(text.parse().ok()?),
            WitKind::F32 => Val::Float32(special(text)? as f32),
            WitKind::F64 => Val::Float64(special(text)?),
            _ => return None,
        })
    }
}

/// A float that JSON has no digits for.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Reads one value of one type.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    decoder: &'a Decoder<'a>,
    ty: usize,
    place: &'a Place<'a>,
}

impl<'a> Seed<'a> {
    fn kind(&self) -> &'a WitKind {
        &self.decoder.wit.types[self.ty].kind
    }

    fn inner<'b>(&'b self, ty: usize, place: &'b Place<'b>) -> Seed<'b> {
        Seed { decoder: self.decoder, ty, place }
    }

    /// Keeps an error with its place, and stops the reader.
    fn fail<E: de::Error>(&self, error: Error) -> E {
        self.decoder.fault.keep(error);
        E::custom("")
    }

    fn wrong<E: de::Error>(&self, reason: String) -> E {
        self.fail(wrong(self.place, reason))
    }

    fn unexpected<E: de::Error>(&self, found: &str) -> E {
        self.wrong(format!("expected {}, found {found}", self.decoder.wit.type_name(self.ty)))
    }

    fn take<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        self.decoder.take(bytes).map_err(|error| self.fail(error))
    }

    /// Whether `null` could be either of two options.
    fn is_nested(&self, of: usize) -> bool {
        matches!(self.decoder.wit.types[of].kind, WitKind::Option(_))
    }

    fn no_case<E: de::Error>(&self, given: &str, names: Vec<&str>) -> E {
        let near = nearest(given, names.iter().copied());
        let known = if near.is_empty() { names } else { near.iter().map(String::as_str).collect() };
        let known: Vec<String> = known.iter().take(8).map(|name| format!("`{name}`")).collect();
        let ty = self.decoder.wit.type_name(self.ty);
        self.wrong(format!("{ty} has no {}, but {}", shown(given), known.join(", ")))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match self.kind() {
            WitKind::Option(_) => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.decoder.wit.type_name(self.ty))
    }

    fn visit_none<E: de::Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let WitKind::Option(of) = self.kind() else { return Err(self.unexpected("an option")) };
        if self.is_nested(*of) {
            return deserializer.deserialize_any(self);
        }
        self.take(VALUE)?;
        let value = self.inner(*of, self.place).deserialize(deserializer)?;
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Val, E> {
        Err(self.unexpected("null"))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Val, E> {
        match self.kind() {
            WitKind::Bool => Ok(Val::Bool(value)),
            _ => Err(self.unexpected(if value { "true" } else { "false" })),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Val, E> {
        let found = self.decoder.integer(self.kind(), value.into());
        found.ok_or_else(|| self.unexpected(&value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Val, E> {
        let found = self.decoder.integer(self.kind(), value.into());
        found.ok_or_else(|| self.unexpected(&value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Val, E> {
        match self.kind() {
            // What is finite is not to become something that is not.
            WitKind::F32 if (value as f32).is_finite() => Ok(Val::Float32(value as f32)),
            WitKind::F64 => Ok(Val::Float64(value)),
            _ => Err(self.unexpected(&value.to_string())),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
        self.take(text.len())?;
        let found = self.decoder.word(self.kind(), text);
        found.ok_or_else(|| match self.kind() {
            WitKind::Enum(names) => self.no_case(text, names.iter().map(String::as_str).collect()),
            WitKind::Variant(cases) => match cases.iter().any(|(name, _)| name == text) {
                true => self.wrong(format!("the case `{text}` has a value: {{\"{text}\": …}}")),
                false => self.no_case(text, cases.iter().map(|(name, _)| name.as_str()).collect()),
            },
            _ => self.unexpected(&shown(text)),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.kind() {
            WitKind::List(of) => {
                let mut values = Vec::new();
                loop {
                    let place = Place::Index(Some(self.place), values.len());
                    let Some(value) = items.next_element_seed(self.inner(*of, &place))? else { break };
                    self.take(VALUE)?;
                    values.push(value);
                }
                Ok(Val::List(values))
            }
            WitKind::Tuple(types) => {
                let mut values = Vec::with_capacity(types.len());
                self.take(VALUE * types.len())?;
                for (index, of) in types.iter().enumerate() {
                    let place = Place::Index(Some(self.place), index);
                    let value = items.next_element_seed(self.inner(*of, &place))?;
                    let few = || self.wrong(format!("expected {} values, found {index}", types.len()));
                    values.push(value.ok_or_else(few)?);
                }
                match items.next_element::<IgnoredAny>()? {
                    Some(_) => Err(self.wrong(format!("expected {} values, found more", types.len()))),
                    None => Ok(Val::Tuple(values)),
                }
            }
            WitKind::Flags(names) => {
                let mut set = Vec::new();
                while let Some(name) = items.next_element_seed(Text(&self))? {
                    let Some(known) = names.iter().find(|known| **known == name) else {
                        return Err(self.no_case(&name, names.iter().map(String::as_str).collect()));
                    };
                    if !set.contains(known) {
                        self.take(size_of::<String>() + known.len())?;
                        set.push(known.clone());
                    }
                }
                Ok(Val::Flags(set))
            }
            _ => Err(self.unexpected("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Val, A::Error> {
        match self.kind() {
            WitKind::Record(fields) => self.record(fields, map),
            WitKind::Variant(cases) => {
                let Some(key) = map.next_key::<String>()? else { return Err(self.unexpected("{}")) };
                let Some((name, of)) = cases.iter().find(|(name, _)| *name == key) else {
                    return Err(self.no_case(&key, cases.iter().map(|(name, _)| name.as_str()).collect()));
                };
                let value = self.payload(&mut map, name, *of)?;
                self.take(VALUE + name.len())?;
                Ok(Val::Variant(name.clone(), value))
            }
            WitKind::Result { ok, err } => match map.next_key::<String>()?.as_deref() {
                Some("ok") => Ok(Val::Result(Ok(self.payload(&mut map, "ok", *ok)?))),
                Some("err") => Ok(Val::Result(Err(self.payload(&mut map, "err", *err)?))),
                _ => Err(self.unexpected("an object without `ok` or `err`")),
            },
            // Only one of an option comes here.
            WitKind::Option(of) => match map.next_key::<String>()?.as_deref() {
                Some("some") => Ok(Val::Option(self.payload(&mut map, "some", Some(*of))?)),
                _ => Err(self.unexpected("an object without `some`")),
            },
            WitKind::List(of) if self.decoder.wit.types[*of].kind == WitKind::U8 => {
                let Some("base64") = map.next_key::<String>()?.as_deref() else {
                    return Err(self.unexpected("an object without `base64`"));
                };
                let text = map.next_value_seed(Text(&self))?;
                self.end(&mut map)?;
                let most = text.len() / 4 * 3;
                self.take(most.saturating_mul(VALUE))?;
                let bytes = STANDARD.decode(text).map_err(|error| self.wrong(error.to_string()))?;
                Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
            }
            kind @ (WitKind::Own(_) | WitKind::Borrow(_)) => {
                let Some("resource") = map.next_key::<String>()?.as_deref() else {
                    return Err(self.unexpected("an object without `resource`"));
                };
                let number = map.next_value::<u64>().map_err(|_| self.unexpected("another object"))?;
                self.end(&mut map)?;
                self.decoder.handle(kind, number, self.place).map_err(|error| self.fail(error))
            }
            _ => Err(self.unexpected("an object")),
        }
    }
}

impl Seed<'_> {
    fn record<'de, A: MapAccess<'de>>(
        &self,
        fields: &[(String, usize)],
        mut map: A,
    ) -> Result<Val, A::Error> {
        self.take(fields.iter().map(|(name, _)| VALUE + size_of::<String>() + name.len()).sum())?;
        // Fields mostly come in their order, and are put where they stay.
        let mut values: Vec<(String, Val)> = Vec::with_capacity(fields.len());
        let mut has_ended = false;
        while let Some((name, ty)) = fields.get(values.len()) {
            let place = Place::Field(Some(self.place), name);
            let key = match has_ended {
                true => None,
                false => map.next_key_seed(Key { fields, expected: values.len() })?,
            };
            let value = match key {
                Some(Ok(index)) if index == values.len() => map.next_value_seed(self.inner(*ty, &place))?,
                Some(key) => return self.record_in_disorder(fields, values, key, map),
                None => {
                    has_ended = true;
                    self.inner(*ty, &place).missing()?
                }
            };
            values.push((name.clone(), value));
        }
        if !has_ended && let Some(key) = map.next_key_seed(Key { fields, expected: 0 })? {
            return Err(self.superfluous(fields, key));
        }
        Ok(Val::Record(values))
    }

    /// Goes on with a record of which the first fields were there, and then another key than the next.
    fn record_in_disorder<'de, A: MapAccess<'de>>(
        &self,
        fields: &[(String, usize)],
        begun: Vec<(String, Val)>,
        key: Result<usize, String>,
        mut map: A,
    ) -> Result<Val, A::Error> {
        let mut values: Vec<Option<Val>> = begun.into_iter().map(|(_, value)| Some(value)).collect();
        values.resize(fields.len(), None);
        let mut next = Some(key);
        while let Some(key) = next {
            let index = match key {
                Ok(index) if values[index].is_none() => index,
                key => return Err(self.superfluous(fields, key)),
            };
            let place = Place::Field(Some(self.place), &fields[index].0);
            values[index] = Some(map.next_value_seed(self.inner(fields[index].1, &place))?);
            next = map.next_key_seed(Key { fields, expected: index + 1 })?;
        }
        let fields = fields.iter().zip(values).map(|((name, ty), value)| {
            let place = Place::Field(Some(self.place), name);
            Ok((name.clone(), value.map_or_else(|| self.inner(*ty, &place).missing(), Ok)?))
        });
        Ok(Val::Record(fields.collect::<Result<_, A::Error>>()?))
    }

    /// The error of a key that is there twice, or that a record does not have.
    fn superfluous<E: de::Error>(&self, fields: &[(String, usize)], key: Result<usize, String>) -> E {
        match key {
            Ok(index) => {
                let (name, ty) = &fields[index];
                self.inner(*ty, &Place::Field(Some(self.place), name)).wrong("it is there twice".to_owned())
            }
            Err(key) => self.no_case(&key, fields.iter().map(|(name, _)| name.as_str()).collect()),
        }
    }

    /// The value of what is not there: none, for an option.
    pub(super) fn missing<E: de::Error>(&self) -> Result<Val, E> {
        match self.kind() {
            WitKind::Option(_) => Ok(Val::Option(None)),
            _ => Err(self.wrong("it is missing".to_owned())),
        }
    }

    /// What comes with a case, and the end of the object.
    fn payload<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
        case: &str,
        of: Option<usize>,
    ) -> Result<Option<Box<Val>>, A::Error> {
        self.take(VALUE)?;
        let place = Place::Field(Some(self.place), case);
        let value = match of {
            Some(of) => Some(Box::new(map.next_value_seed(self.inner(of, &place))?)),
            None => match map.next_value::<Option<IgnoredAny>>()? {
                None => None,
                Some(_) => return Err(self.wrong(format!("`{case}` has no value but null"))),
            },
        };
        self.end(map)?;
        Ok(value)
    }

    fn end<'de, A: MapAccess<'de>>(&self, map: &mut A) -> Result<(), A::Error> {
        match map.next_key::<String>()? {
            Some(key) => Err(self.wrong(format!("there is more than one key: {}", shown(&key)))),
            None => Ok(()),
        }
    }
}

/// Reads a text that stands for a part of a value, which nothing else does.
struct Text<'a>(&'a Seed<'a>);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Err(self.0.unexpected(&value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Err(self.0.unexpected(&value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        Err(self.0.unexpected(&value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Err(self.0.unexpected(&value.to_string()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Err(self.0.unexpected("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _items: A) -> Result<String, A::Error> {
        Err(self.0.unexpected("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<String, A::Error> {
        Err(self.0.unexpected("an object"))
    }
}

/// Reads a key of a record: which field it is, or what it is where there is none.
struct Key<'a> {
    fields: &'a [(String, usize)],
    /// The field that is looked at first.
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if self.fields.get(self.expected).is_some_and(|(name, _)| name == key) {
            return Ok(Ok(self.expected));
        }
        let found = self.fields.iter().position(|(name, _)| name == key);
        Ok(found.ok_or_else(|| key.to_owned()))
    }
}
