//! JSON Schema of a function: what it is called with and what it answers with.

use std::collections::HashSet;

use airlock_engine::{Wit, WitFunction, WitKind};
use serde_json::{Map, Value, json};

/// The schema of an object of a function's `params`, `result` and, where it can fail, `error`.
pub(crate) fn schema(wit: &Wit, function: &WitFunction, name: &str) -> Value {
    let mut schemas = Schemas { wit, names: names(wit), used: vec![false; wit.types.len()] };
    let params = schemas.object(&function.params);
    let (result, error) = match function.result.map(|ty| &wit.types[ty].kind) {
        None => (json!({ "type": "null" }), None),
        Some(WitKind::Result { ok, err }) => (schemas.payload(*ok), Some(schemas.payload(*err))),
        Some(_) => (schemas.payload(function.result), None),
    };
    let mut properties = json!({ "params": params, "result": result });
    if let (Some(error), Some(properties)) = (error, properties.as_object_mut()) {
        properties.insert("error".to_owned(), error);
    }
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": wit.signature(function),
        "type": "object",
        "properties": properties,
    });
    let defs = schemas.defs();
    if let (false, Some(whole)) = (defs.is_empty(), whole.as_object_mut()) {
        whole.insert("$defs".to_owned(), defs.into());
    }
    whole
}

struct Schemas<'a> {
    wit: &'a Wit,
    /// What each type is called that others refer to.
    names: Vec<Option<String>>,
    used: Vec<bool>,
}

/// Names for types that have one, and for those that are made of others: what is written out twice can
/// grow without end. Those of 64 bits are long enough to be written once.
fn names(wit: &Wit) -> Vec<Option<String>> {
    let mut names: Vec<Option<String>> = Vec::with_capacity(wit.types.len());
    let mut taken = HashSet::new();
    for (index, ty) in wit.types.iter().enumerate() {
        let is_made = matches!(
            ty.kind,
            WitKind::Tuple(_)
                | WitKind::Record(_)
                | WitKind::Variant(_)
                | WitKind::Result { .. }
                | WitKind::S64
                | WitKind::U64
        );
        let name = match (&ty.name, is_made) {
            (Some(name), _) => Some(name.clone()),
            (None, true) => Some(format!("{}.{index}", ty.kind.word())),
            (None, false) => None,
        };
        // Two interfaces may each have a type of this name.
        names.push(name.map(|name| match taken.insert(name.clone()) {
            true => name,
            // A dot is in no name of WIT's.
            false => format!("{name}.{index}"),
        }));
    }
    names
}

impl Schemas<'_> {
    /// The definitions of what is referred to, and of what those refer to.
    fn defs(&mut self) -> Map<String, Value> {
        let mut defs = Map::new();
        // A type refers to earlier ones, so going down meets each after all that refer to it.
        for index in (0..self.wit.types.len()).rev() {
            if let (true, Some(name)) = (self.used[index], self.names[index].clone()) {
                defs.insert(name, self.written(index));
            }
        }
        defs
    }

    fn payload(&mut self, ty: Option<usize>) -> Value {
        ty.map_or_else(|| json!({ "type": "null" }), |ty| self.of(ty))
    }

    /// A type where it is used.
    fn of(&mut self, ty: usize) -> Value {
        match &self.names[ty] {
            Some(name) => {
                self.used[ty] = true;
                json!({ "$ref": format!("#/$defs/{name}") })
            }
            None => self.written(ty),
        }
    }

    fn written(&mut self, ty: usize) -> Value {
        let integer = |least: i64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
        let wit = self.wit;
        match &wit.types[ty].kind {
            WitKind::Bool => json!({ "type": "boolean" }),
            WitKind::S8 => integer(i8::MIN.into(), 127),
            WitKind::U8 => integer(0, 255),
            WitKind::S16 => integer(i16::MIN.into(), 32_767),
            WitKind::U16 => integer(0, u16::MAX.into()),
            WitKind::S32 => integer(i32::MIN.into(), 2_147_483_647),
            WitKind::U32 => integer(0, u32::MAX.into()),
            WitKind::S64 => {
                let (most, least) = (up_to(i64::MAX.cast_unsigned()), up_to(i64::MIN.unsigned_abs()));
                let digits = format!("^(?:[+]?{most}|-{least})$");
                either(&integer(i64::MIN, i64::MAX.cast_unsigned()), &digits)
            }
            WitKind::U64 => either(&integer(0, u64::MAX), &format!("^[+]?{}$", up_to(u64::MAX))),
            WitKind::F32 => {
                float(&json!({ "type": "number", "exclusiveMinimum": -F32_END, "exclusiveMaximum": F32_END }))
            }
            WitKind::F64 => float(&json!({ "type": "number" })),
            WitKind::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            WitKind::String => json!({ "type": "string" }),
            WitKind::List(of) => {
                let array = json!({ "type": "array", "items": self.of(*of) });
                match wit.types[*of].kind {
                    WitKind::U8 => {
                        let text =
                            json!({ "type": "string", "contentEncoding": "base64", "pattern": BASE64 });
                        json!({ "anyOf": [array, case("base64", text)] })
                    }
                    _ => array,
                }
            }
            WitKind::Record(fields) => self.object(fields),
            WitKind::Tuple(types) => {
                let items: Vec<Value> = types.iter().map(|ty| self.of(*ty)).collect();
                let count = items.len();
                json!({ "type": "array", "prefixItems": items, "minItems": count, "maxItems": count })
            }
            WitKind::Variant(cases) => {
                let plain: Vec<&str> =
                    cases.iter().filter(|(_, of)| of.is_none()).map(|(name, _)| name.as_str()).collect();
                let cases = cases.iter().map(|(name, of)| case(name, self.payload(*of)));
                let words = (!plain.is_empty()).then(|| json!({ "enum": plain }));
                let cases: Vec<Value> = words.into_iter().chain(cases).collect();
                json!({ "anyOf": cases })
            }
            WitKind::Enum(names) => json!({ "enum": names }),
            WitKind::Flags(names) => json!({ "type": "array", "items": { "enum": names } }),
            WitKind::Option(of) => {
                let some = match wit.types[*of].kind {
                    WitKind::Option(_) => case("some", self.of(*of)),
                    _ => self.of(*of),
                };
                json!({ "anyOf": [some, { "type": "null" }] })
            }
            WitKind::Result { ok, err } => {
                json!({ "anyOf": [case("ok", self.payload(*ok)), case("err", self.payload(*err))] })
            }
            WitKind::Own(resource) | WitKind::Borrow(resource) => {
                let mut handle = case("resource", json!({ "type": "integer", "minimum": 1 }));
                handle["description"] = json!(format!("a `{}` of the session", wit.resources[*resource]));
                handle
            }
        }
    }

    /// What has fields, of which those that are options may be left out.
    fn object(&mut self, fields: &[(String, usize)]) -> Value {
        let properties: Map<String, Value> =
            fields.iter().map(|(name, ty)| (name.clone(), self.of(*ty))).collect();
        let is_required = |ty: usize| !matches!(self.wit.types[ty].kind, WitKind::Option(_));
        let required: Vec<&str> =
            fields.iter().filter(|(_, ty)| is_required(*ty)).map(|(name, _)| name.as_str()).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

/// An object of one key.
fn case(name: &str, value: Value) -> Value {
    json!({
        "type": "object",
        "properties": { name: value },
        "required": [name],
        "additionalProperties": false,
    })
}

/// Where numbers begin that are nearer to the next power of two than to the largest of 32 bits: `f32::MAX` and
/// half of its last place.
const F32_END: f64 = 340_282_356_779_733_661_637_539_395_458_142_568_448.0;

/// Base64 with its padding, and with no bits behind the last byte.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// A pattern of the digits of what is no more than this, and of zeros before them.
fn up_to(most: u64) -> String {
    let digits = most.to_string();
    let mut ways = vec![format!("[0-9]{{1,{}}}", digits.len() - 1)];
    for (at, digit) in digits.bytes().enumerate().filter(|(_, digit)| *digit > b'0') {
        // As long, the same to here, and less from here on.
        let (same, less, left) = (&digits[..at], char::from(digit - 1), digits.len() - at - 1);
        ways.push(format!("{same}[0-{less}][0-9]{{{left}}}"));
    }
    ways.push(digits);
    format!("0*(?:{})", ways.join("|"))
}

/// A number, or a word for what has no digits.
fn float(number: &Value) -> Value {
    json!({ "anyOf": [number, { "enum": ["NaN", "inf", "-inf"] }] })
}

/// A number, or its digits as a text.
fn either(number: &Value, digits: &str) -> Value {
    json!({ "anyOf": [number, { "type": "string", "pattern": digits }] })
}
