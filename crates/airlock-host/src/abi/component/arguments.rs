//! What a function is called with: an object by names, an array in order, one value, words, or WAVE.

use std::fmt;

use airlock_core::{Error, ErrorKind, Result, nearest};
use airlock_engine::{WitFunction, WitKind};
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::decode::Decoder;
use super::place::{Place, shown, wrong};
use super::wave;
use crate::answer::{Input, invalid};

/// The arguments of a function, by its types.
pub(super) fn read(
    decoder: &Decoder<'_>,
    function: &WitFunction,
    name: &str,
    input: &Input,
) -> Result<Vec<Val>> {
    let arguments = Arguments { decoder, function, name };
    match input {
        Input::Json(text) => arguments.json(text),
        Input::Raw(json) => arguments.json(json.get()),
        Input::Values(values) => arguments
            .json(&serde_json::Value::from_iter(values.iter().map(airlock_core::Value::to_json)).to_string()),
        Input::Words(words) => arguments.words(words),
        Input::Wave(text) => {
            wave::arguments(decoder, &function.params, text, decoder.most, |given| arguments.count(given))
        }
    }
}

#[derive(Clone, Copy)]
struct Arguments<'a> {
    decoder: &'a Decoder<'a>,
    function: &'a WitFunction,
    name: &'a str,
}

impl<'a> Arguments<'a> {
    fn json(self, text: &str) -> Result<Vec<Val>> {
        self.whole(text, self)
    }

    /// Reads all of a text.
    fn whole<'de, S: DeserializeSeed<'de>>(self, text: &'de str, seed: S) -> Result<S::Value> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        read.map_err(|error| self.decoder.fault.take().unwrap_or_else(|| invalid(error)))
    }

    /// One word for each parameter, or one that is an object or an array of all.
    fn words(self, words: &[String]) -> Result<Vec<Val>> {
        let params = &self.function.params;
        let is_all = |word: &str| word.trim_start().starts_with(['{', '[']);
        match words {
            [] => self.filled(Vec::new()),
            [word] if is_all(word) => self.json(word),
            words if words.len() > params.len() => Err(self.count(words.len())),
            words => {
                let values = params.iter().zip(words).map(|((name, ty), word)| self.word(name, *ty, word));
                self.filled(values.map(|value| value.map(Some)).collect::<Result<_>>()?)
            }
        }
    }

    /// A word is JSON, but that a text, a case and a number without digits need no quotes.
    fn word(self, name: &str, ty: usize, word: &str) -> Result<Val> {
        let (place, types) = (Place::Field(None, name), &self.decoder.wit.types);
        let (mut inner, mut options) = (ty, 0);
        while let WitKind::Option(of) = types[inner].kind {
            (inner, options) = (of, options + 1);
        }
        let kind = &types[inner].kind;
        let is_quoted = word.starts_with('"') && serde_json::from_str::<String>(word).is_ok();
        let is_none = options > 0 && word == "null";
        let bare = match kind {
            WitKind::String => !is_quoted,
            _ => !word.starts_with(['"', '{', '[']),
        };
        if bare
            && !is_none
            && options < 2
            && let Some(value) = self.decoder.word(kind, word)
        {
            self.decoder.take(word.len())?;
            return Ok(match options {
                0 => value,
                _ => Val::Option(Some(Box::new(value))),
            });
        }
        let read = self.whole(word, self.decoder.seed(ty, &place));
        read.map_err(|error| match error.kind() {
            // What is no JSON is not what was expected either.
            ErrorKind::InvalidInput { .. } => {
                let expected = self.decoder.wit.type_name(ty);
                wrong(&place, format!("expected {expected}, found {}", shown(word)))
            }
            _ => error,
        })
    }

    /// The arguments with what may be left out.
    fn filled(self, mut values: Vec<Option<Val>>) -> Result<Vec<Val>> {
        let given = values.iter().flatten().count();
        values.resize(self.function.params.len(), None);
        let types = &self.decoder.wit.types;
        let filled = self.function.params.iter().zip(values).map(|((_, ty), value)| match value {
            Some(value) => Ok(value),
            None if matches!(types[*ty].kind, WitKind::Option(_)) => Ok(Val::Option(None)),
            None => Err(self.count(given)),
        });
        filled.collect()
    }

    fn count(self, given: usize) -> Error {
        Error::new(ErrorKind::WrongArgumentCount {
            function: self.name.to_owned(),
            signature: self.decoder.wit.signature(self.function),
            given,
        })
    }

    fn fail<E: de::Error>(self, error: Error) -> E {
        self.decoder.fault.keep(error);
        E::custom("")
    }

    /// One value: the first argument, where the others may be left out.
    fn single<'de, D: Deserializer<'de>>(self, value: D) -> Result<Vec<Val>, D::Error> {
        let Some((name, ty)) = self.function.params.first() else { return Err(self.fail(self.count(1))) };
        let place = Place::Field(None, name);
        let types = &self.decoder.wit.types;
        let value = match types[*ty].kind {
            WitKind::Option(of) if !matches!(types[of].kind, WitKind::Option(_)) => {
                let value = self.decoder.seed(of, &place).deserialize(value)?;
                Val::Option(Some(Box::new(value)))
            }
            _ => self.decoder.seed(*ty, &place).deserialize(value)?,
        };
        self.filled(vec![Some(value)]).map_err(|error| self.fail(error))
    }
}

impl<'de> DeserializeSeed<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Val>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments: an object by name or an array in order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Val>, A::Error> {
        let params = &self.function.params;
        let mut values: Vec<Option<Val>> = vec![None; params.len()];
        while let Some(key) = map.next_key::<String>()? {
            let Some(index) = params.iter().position(|(name, _)| *name == key) else {
                let near = nearest(&key, params.iter().map(|(name, _)| name.as_str()));
                let signature = self.decoder.wit.signature(self.function);
                let reason = match near.first() {
                    Some(near) => format!("{} has no such parameter, but `{near}`: {signature}", self.name),
                    None => format!("{} has no such parameter: {signature}", self.name),
                };
                return Err(self.fail(wrong(&Place::Field(None, &key), reason)));
            };
            let place = Place::Field(None, &params[index].0);
            if values[index].is_some() {
                return Err(self.fail(wrong(&place, "it is there twice".to_owned())));
            }
            values[index] = Some(map.next_value_seed(self.decoder.seed(params[index].1, &place))?);
        }
        let values = params.iter().zip(values).map(|((name, ty), value)| {
            let place = Place::Field(None, name);
            value.map_or_else(|| self.decoder.seed(*ty, &place).missing(), Ok)
        });
        values.collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        let params = &self.function.params;
        let mut values = Vec::with_capacity(params.len());
        for (name, ty) in params {
            let place = Place::Field(None, name);
            let Some(value) = items.next_element_seed(self.decoder.seed(*ty, &place))? else { break };
            values.push(Some(value));
        }
        let mut given = values.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            given += 1;
        }
        match given > params.len() {
            true => Err(self.fail(self.count(given))),
            false => self.filled(values).map_err(|error| self.fail(error)),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<Val>, E> {
        self.filled(Vec::new()).map_err(|error| self.fail(error))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Vec<Val>, E> {
        self.single(value.into_deserializer())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<Val>, E> {
        self.single(value.into_deserializer())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Vec<Val>, E> {
        self.single(value.into_deserializer())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Vec<Val>, E> {
        self.single(value.into_deserializer())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<Val>, E> {
        self.single(value.into_deserializer())
    }
}
