//! From WAVE, the text form of component values, to the values of a component's types.

use airlock_core::{Error, ErrorKind, LimitKind, Result};
use airlock_engine::WitKind;
use wasm_wave::ast::Node;
use wasm_wave::parser::ParserError;
use wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::Val;

use super::decode::Decoder;
use super::place::{Place, wrong};

/// Bytes that the parser takes for one of the text, at most: a value of one digit and its comma.
const NODE: usize = size_of::<Node>() / 2;

/// The arguments of `(a, b, …)`, by the types of the parameters.
pub(super) fn arguments(
    decoder: &Decoder<'_>,
    params: &[(String, usize)],
    text: &str,
    most: usize,
    count: impl Fn(usize) -> Error,
) -> Result<Vec<Val>> {
    // Parsed, a value takes some bytes for each of its text.
    if text.len().saturating_mul(NODE) > most {
        return Err(super::too_much(LimitKind::Input, most));
    }
    // The parser wants a name before the parentheses.
    let source = format!("f{text}");
    let call = UntypedFuncCall::parse(&source).map_err(|error| {
        let reason = format!("it is no WAVE: {error}");
        Error::new(ErrorKind::InvalidValue { place: text.to_owned(), reason })
    })?;
    let given: Vec<&Node> = match call.params_node() {
        Some(node) => node.as_tuple().map_err(|_| count(0))?.collect(),
        None => Vec::new(),
    };
    // What is left out at the end are options that are none.
    if given.len() > params.len() {
        return Err(count(given.len()));
    }
    let reader = Reader { decoder, source: &source };
    params
        .iter()
        .enumerate()
        .map(|(index, (name, ty))| match given.get(index) {
            Some(node) => reader.value(node, *ty, &Place::Field(None, name)),
            None => match decoder.wit.types[*ty].kind {
                WitKind::Option(_) => Ok(Val::Option(None)),
                _ => Err(count(given.len())),
            },
        })
        .collect()
}

/// Whether it is the word for an infinity, and no digits that are too many.
fn is_word(node: &Node, source: &str) -> bool {
    source.get(node.span()).is_some_and(|text| text.ends_with("inf"))
}

struct Reader<'a> {
    decoder: &'a Decoder<'a>,
    source: &'a str,
}

impl Reader<'_> {
    fn value(&self, node: &Node, ty: usize, place: &Place<'_>) -> Result<Val> {
        let (wit, source) = (self.decoder.wit, self.source);
        self.decoder.take(size_of::<Val>())?;
        let bad = |_: ParserError| self.unexpected(node, ty, place);
        Ok(match &wit.types[ty].kind {
            WitKind::Bool => Val::Bool(node.as_bool().map_err(bad)?),
            WitKind::S8 => Val::S8(node.as_number(source).map_err(bad)?),
            WitKind::U8 => Val::U8(node.as_number(source).map_err(bad)?),
            WitKind::S16 => Val::S16(node.as_number(source).map_err(bad)?),
            WitKind::U16 => Val::U16(node.as_number(source).map_err(bad)?),
            WitKind::S32 => Val::S32(node.as_number(source).map_err(bad)?),
            WitKind::U32 => Val::U32(node.as_number(source).map_err(bad)?),
            WitKind::S64 => Val::S64(node.as_number(source).map_err(bad)?),
            WitKind::U64 => Val::U64(node.as_number(source).map_err(bad)?),
            WitKind::F32 => match node.as_number::<f32>(source).map_err(bad)? {
                value if value.is_infinite() && !is_word(node, source) => {
                    return Err(self.unexpected(node, ty, place));
                }
                value => Val::Float32(value),
            },
            WitKind::F64 => match node.as_number::<f64>(source).map_err(bad)? {
                value if value.is_infinite() && !is_word(node, source) => {
                    return Err(self.unexpected(node, ty, place));
                }
                value => Val::Float64(value),
            },
            WitKind::Char => Val::Char(node.as_char(source).map_err(bad)?),
            WitKind::String => {
                let text = node.as_str(source).map_err(bad)?;
                self.decoder.take(text.len())?;
                Val::String(text.into_owned())
            }
            WitKind::List(of) => Val::List(self.each(node.as_list().map_err(bad)?, |_| *of, place)?),
            WitKind::Tuple(types) => {
                let items = node.as_tuple().map_err(bad)?;
                if items.len() != types.len() {
                    return Err(wrong(
                        place,
                        format!("expected {} values, found {}", types.len(), items.len()),
                    ));
                }
                Val::Tuple(self.each(items, |index| types[index], place)?)
            }
            WitKind::Record(fields) => {
                let given: Vec<(&str, &Node)> = node.as_record(source).map_err(bad)?.collect();
                if let Some((name, _)) =
                    given.iter().find(|(name, _)| !fields.iter().any(|(known, _)| known == name))
                {
                    return Err(wrong(place, format!("{} has no `{name}`", wit.type_name(ty))));
                }
                let fields = fields.iter().map(|(name, of)| {
                    let place = Place::Field(Some(place), name);
                    let value = match given.iter().find(|(given, _)| given == name) {
                        Some((_, node)) => self.value(node, *of, &place)?,
                        None if matches!(wit.types[*of].kind, WitKind::Option(_)) => Val::Option(None),
                        None => return Err(wrong(&place, "it is missing".to_owned())),
                    };
                    Ok((name.clone(), value))
                });
                Val::Record(fields.collect::<Result<_>>()?)
            }
            WitKind::Variant(cases) => {
                let (name, payload) = node.as_variant(source).map_err(bad)?;
                let known = cases.iter().find(|(known, _)| known == name);
                let (_, of) = known.ok_or_else(|| self.unexpected(node, ty, place))?;
                let place = Place::Field(Some(place), name);
                Val::Variant(name.to_owned(), self.payload(payload, *of, &place)?)
            }
            WitKind::Enum(names) => {
                let name = node.as_enum(source).map_err(bad)?;
                match names.iter().any(|known| known == name) {
                    true => Val::Enum(name.to_owned()),
                    false => return Err(self.unexpected(node, ty, place)),
                }
            }
            WitKind::Option(of) => match node.as_option() {
                Ok(value) => {
                    Val::Option(value.map(|node| self.value(node, *of, place)).transpose()?.map(Box::new))
                }
                // What is some may be written as it is, as WAVE has it.
                Err(_) => Val::Option(Some(Box::new(self.value(node, *of, place)?))),
            },
            WitKind::Result { ok, err } => match node.as_result() {
                Ok(Ok(value)) => Val::Result(Ok(self.payload(value, *ok, place)?)),
                Ok(Err(value)) => Val::Result(Err(self.payload(value, *err, place)?)),
                Err(_) => Val::Result(Ok(self.payload(Some(node), *ok, place)?)),
            },
            WitKind::Flags(names) => {
                let set: Vec<String> = node.as_flags(source).map_err(bad)?.map(str::to_owned).collect();
                match set.iter().find(|name| !names.contains(name)) {
                    Some(name) => return Err(wrong(place, format!("{} has no `{name}`", wit.type_name(ty)))),
                    None => Val::Flags(set),
                }
            }
            WitKind::Own(_) | WitKind::Borrow(_) => {
                return Err(wrong(place, "a resource is given as JSON, `{\"resource\": 1}`".to_owned()));
            }
        })
    }

    fn each<'n>(
        &self,
        nodes: impl ExactSizeIterator<Item = &'n Node>,
        of: impl Fn(usize) -> usize,
        place: &Place<'_>,
    ) -> Result<Vec<Val>> {
        nodes
            .enumerate()
            .map(|(index, node)| self.value(node, of(index), &Place::Index(Some(place), index)))
            .collect()
    }

    fn payload(&self, node: Option<&Node>, of: Option<usize>, place: &Place<'_>) -> Result<Option<Box<Val>>> {
        match (node, of) {
            (Some(node), Some(of)) => Ok(Some(Box::new(self.value(node, of, place)?))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(wrong(place, "it has no value".to_owned())),
            (None, Some(_)) => Err(wrong(place, "it has a value".to_owned())),
        }
    }

    fn unexpected(&self, node: &Node, ty: usize, place: &Place<'_>) -> Error {
        let found = self.source.get(node.span()).unwrap_or_default();
        let expected = self.decoder.wit.type_name(ty);
        wrong(place, format!("expected {expected}, found {}", super::place::shown(found)))
    }
}
