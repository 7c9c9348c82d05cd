//! Values of random types through JSON and back, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that fails to get what it needs has failed")]

use airlock_core::{Error, Value};
use airlock_engine::{Wit, WitKind, WitType};
use proptest::prelude::*;
use proptest::strategy::Union;
use wasmtime::component::Val;

use super::decode::Decoder;
use super::encode::Encoder;
use super::handles::Handles;
use super::place::Place;
use serde::de::DeserializeSeed as _;

const ROOM: usize = 256 << 20;

fn read(wit: &Wit, ty: usize, text: &str) -> Result<Val, Error> {
    read_within(wit, ty, text, ROOM)
}

fn read_within(wit: &Wit, ty: usize, text: &str, room: usize) -> Result<Val, Error> {
    let decoder = Decoder::new(wit, None, room);
    let mut reader = serde_json::Deserializer::from_str(text);
    let place = Place::Field(None, "it");
    let read = decoder.seed(ty, &place).deserialize(&mut reader);
    read.map_err(|error| decoder.fault.take().unwrap_or_else(|| crate::answer::invalid(error)))
}

fn written(wit: &Wit, ty: usize, value: &Val) -> String {
    Encoder::new(wit, &mut Handles::default(), ROOM).text(value, ty).expect("it is written")
}

/// A type of these, the last of which is meant.
fn wit(kinds: Vec<WitKind>) -> (Wit, usize) {
    let types: Vec<WitType> = kinds.into_iter().map(|kind| WitType { name: None, kind }).collect();
    let last = types.len() - 1;
    (Wit { types, ..Wit::default() }, last)
}

fn refused(kinds: Vec<WitKind>, text: &str) -> String {
    let (wit, ty) = wit(kinds);
    read(&wit, ty, text).expect_err("it is refused").to_string()
}

/// Types of up to some levels, each made of earlier ones of the list.
fn types() -> impl Strategy<Value = Wit> {
    let plain = vec![
        WitKind::Bool,
        WitKind::S8,
        WitKind::U8,
        WitKind::S16,
        WitKind::U16,
        WitKind::S32,
        WitKind::U32,
        WitKind::S64,
        WitKind::U64,
        WitKind::F32,
        WitKind::F64,
        WitKind::Char,
        WitKind::String,
    ];
    let names = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
    proptest::collection::vec((0..8_u8, any::<[prop::sample::Index; 3]>(), 1..4_usize), 1..12).prop_map(
        move |made| {
            let mut kinds = plain.clone();
            for (which, of, count) in made {
                let of: Vec<usize> = of[..count.min(3)].iter().map(|of| of.index(kinds.len())).collect();
                kinds.push(match which {
                    0 => WitKind::List(of[0]),
                    1 => WitKind::Record(names("field", of.len()).into_iter().zip(of).collect()),
                    2 => WitKind::Tuple(of),
                    3 => {
                        let payloads = of.iter().map(|of| (of % 3 != 0).then_some(*of));
                        WitKind::Variant(names("case", of.len()).into_iter().zip(payloads).collect())
                    }
                    4 => WitKind::Enum(names("name", count)),
                    5 => WitKind::Flags(names("flag", count)),
                    6 => WitKind::Option(of[0]),
                    _ => WitKind::Result { ok: of.first().copied(), err: of.get(1).copied() },
                });
            }
            wit(kinds).0
        },
    )
}

/// Values of a type.
fn values(wit: &Wit, ty: usize) -> BoxedStrategy<Val> {
    let payload = |of: Option<usize>| match of {
        Some(of) => values(wit, of).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    };
    match &wit.types[ty].kind {
        WitKind::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        WitKind::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        WitKind::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        WitKind::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        WitKind::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        WitKind::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        WitKind::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        WitKind::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        WitKind::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        WitKind::F32 => proptest::num::f32::ANY.prop_map(Val::Float32).boxed(),
        WitKind::F64 => proptest::num::f64::ANY.prop_map(Val::Float64).boxed(),
        WitKind::Char => any::<char>().prop_map(Val::Char).boxed(),
        WitKind::String => any::<String>().prop_map(Val::String).boxed(),
        WitKind::List(of) => proptest::collection::vec(values(wit, *of), 0..4).prop_map(Val::List).boxed(),
        WitKind::Tuple(of) => {
            of.iter().map(|of| values(wit, *of)).collect::<Vec<_>>().prop_map(Val::Tuple).boxed()
        }
        WitKind::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<_> = fields.iter().map(|(_, of)| values(wit, *of)).collect();
            values.prop_map(move |values| Val::Record(names.iter().cloned().zip(values).collect())).boxed()
        }
        WitKind::Variant(cases) => Union::new(cases.iter().map(|(name, of)| {
            let name = name.clone();
            payload(*of).prop_map(move |value| Val::Variant(name.clone(), value)).boxed()
        }))
        .boxed(),
        WitKind::Enum(names) => prop::sample::select(names.clone()).prop_map(Val::Enum).boxed(),
        WitKind::Flags(names) => {
            prop::sample::subsequence(names.clone(), 0..=names.len()).prop_map(Val::Flags).boxed()
        }
        WitKind::Option(of) => prop_oneof![Just(None), payload(Some(*of))].prop_map(Val::Option).boxed(),
        WitKind::Result { ok, err } => {
            prop_oneof![payload(*ok).prop_map(Ok), payload(*err).prop_map(Err)].prop_map(Val::Result).boxed()
        }
        WitKind::Own(_) | WitKind::Borrow(_) => unreachable!("there are none among these types"),
    }
}

proptest! {
    #[test]
    fn values_of_any_type_come_back_from_json(
        (wit, value) in types().prop_flat_map(|wit| {
            let of = values(&wit, wit.types.len() - 1);
            (Just(wit), of)
        })
    ) {
        let ty = wit.types.len() - 1;
        let text = written(&wit, ty, &value);
        prop_assert_eq!(read(&wit, ty, &text).expect("it reads back"), value);
    }
}

#[test]
fn integers_are_exact_and_within_their_type() {
    for (kind, text) in [
        (WitKind::U64, "18446744073709551615"),
        (WitKind::S64, "-9223372036854775808"),
        (WitKind::S64, "9007199254740993"),
    ] {
        let (wit, ty) = wit(vec![kind]);
        let number = read(&wit, ty, text).unwrap();
        assert_eq!(read(&wit, ty, &format!("\"{text}\"")).unwrap(), number);
        assert_eq!(written(&wit, ty, &number), text);
    }
    assert_eq!(refused(vec![WitKind::U8], "300"), "`.it`: expected u8, found 300");
    assert_eq!(refused(vec![WitKind::S8], "-129"), "`.it`: expected s8, found -129");
    assert_eq!(refused(vec![WitKind::U32], "1.5"), "`.it`: expected u32, found 1.5");
    assert_eq!(refused(vec![WitKind::U32], "\"1\""), "`.it`: expected u32, found \"1\"");
    assert_eq!(
        refused(vec![WitKind::S64], "9223372036854775808"),
        "`.it`: expected s64, found 9223372036854775808"
    );
    assert!(refused(vec![WitKind::F32], "1e39").starts_with("`.it`: expected f32, found 1"));
}

#[test]
fn floats_keep_what_json_has_no_digits_for() {
    let (wit, ty) = wit(vec![WitKind::F64]);
    for (value, text) in [(f64::NAN, "\"NaN\""), (f64::INFINITY, "\"inf\""), (f64::NEG_INFINITY, "\"-inf\"")]
    {
        assert_eq!(written(&wit, ty, &Val::Float64(value)), text);
        assert_eq!(read(&wit, ty, text).unwrap(), Val::Float64(value));
    }
    assert_eq!(written(&wit, ty, &Val::Float64(-0.0)), "-0.0");
    assert_eq!(Value::F32(0.1).to_json(), 0.1);
}

#[test]
fn an_option_is_null_or_its_value_and_one_within_another_says_which() {
    let (once, inner) = wit(vec![WitKind::U8, WitKind::Option(0)]);
    let (twice, outer) = wit(vec![WitKind::U8, WitKind::Option(0), WitKind::Option(1)]);
    let some = |value: Val| Val::Option(Some(Box::new(value)));
    assert_eq!(read(&once, inner, "null").unwrap(), Val::Option(None));
    assert_eq!(read(&once, inner, "7").unwrap(), some(Val::U8(7)));
    for (text, value) in [
        ("null", Val::Option(None)),
        (r#"{"some":null}"#, some(Val::Option(None))),
        (r#"{"some":7}"#, some(some(Val::U8(7)))),
    ] {
        assert_eq!(read(&twice, outer, text).unwrap(), value);
        assert_eq!(written(&twice, outer, &value), text);
    }
    let error = read(&twice, outer, "7").unwrap_err().to_string();
    assert_eq!(error, "`.it`: expected option<option<u8>>, found 7");
}

#[test]
fn errors_name_the_place_in_the_value() {
    let item = vec![
        WitKind::U8,
        WitKind::String,
        WitKind::Record(vec![("name".into(), 1), ("count".into(), 0)]),
        WitKind::List(2),
        WitKind::Record(vec![("items".into(), 3)]),
    ];
    let refused = |text: &str| refused(item.clone(), text);
    let of = |third: &str| format!(r#"{{"items":[{{"name":"a","count":1}},{third}]}}"#);
    assert_eq!(refused(&of(r#"{"name":"b","count":300}"#)), "`.it.items[1].count`: expected u8, found 300");
    assert_eq!(refused(&of(r#"{"name":"b"}"#)), "`.it.items[1].count`: it is missing");
    assert_eq!(refused(&of(r#"{"nam":"b"}"#)), "`.it.items[1]`: record has no \"nam\", but `name`");
    assert_eq!(refused(&of(r#"{"name":"b","name":"c"}"#)), "`.it.items[1].name`: it is there twice");
    assert_eq!(refused(&of("[]")), "`.it.items[1]`: expected record, found an array");
    assert!(refused(&of("{")).starts_with("input is not valid JSON: "));
}

#[test]
fn cases_flags_and_results_are_of_their_type() {
    let variant =
        || vec![WitKind::U8, WitKind::Variant(vec![("none".into(), None), ("some-byte".into(), Some(0))])];
    let (wit, ty) = wit(variant());
    assert_eq!(read(&wit, ty, r#""none""#).unwrap(), Val::Variant("none".into(), None));
    assert_eq!(read(&wit, ty, r#"{"none":null}"#).unwrap(), Val::Variant("none".into(), None));
    assert_eq!(
        refused(variant(), r#""some-byte""#),
        "`.it`: the case `some-byte` has a value: {\"some-byte\": …}"
    );
    assert_eq!(
        refused(variant(), r#"{"some-byt":1}"#),
        "`.it`: variant has no \"some-byt\", but `some-byte`"
    );
    assert_eq!(
        refused(variant(), r#"{"some-byte":1,"none":null}"#),
        "`.it`: there is more than one key: \"none\""
    );
    assert_eq!(refused(variant(), r#"{"some-byte":256}"#), "`.it.some-byte`: expected u8, found 256");
    let flags = || vec![WitKind::Flags(vec!["read".into(), "write".into()])];
    assert_eq!(refused(flags(), r#"["reed"]"#), "`.it`: flags has no \"reed\", but `read`");
    let result = || vec![WitKind::U8, WitKind::Result { ok: Some(0), err: None }];
    assert_eq!(refused(result(), r#"{"ok":null}"#), "`.it.ok`: expected u8, found null");
    assert_eq!(refused(result(), r#"{"err":1}"#), "`.it`: `err` has no value but null");
    assert_eq!(
        refused(vec![WitKind::U8, WitKind::Tuple(vec![0, 0])], "[1]"),
        "`.it`: expected 2 values, found 1"
    );
    assert_eq!(
        refused(vec![WitKind::U8, WitKind::Tuple(vec![0, 0])], "[1,2,3]"),
        "`.it`: expected 2 values, found more"
    );
    assert_eq!(refused(vec![WitKind::Char], r#""ab""#), "`.it`: expected char, found \"ab\"");
}

#[test]
fn bytes_are_an_array_or_base64() {
    let (wit, ty) = wit(vec![WitKind::U8, WitKind::List(0)]);
    let bytes = Val::List(vec![Val::U8(104), Val::U8(105)]);
    assert_eq!(read(&wit, ty, r#"{"base64":"aGk="}"#).unwrap(), bytes);
    assert_eq!(read(&wit, ty, "[104,105]").unwrap(), bytes);
    assert_eq!(written(&wit, ty, &bytes), "[104,105]");
    assert!(read(&wit, ty, r#"{"base64":"?"}"#).unwrap_err().to_string().starts_with("`.it`: "));
}

#[test]
fn what_values_take_of_the_hosts_memory_is_bounded() {
    let (wit, ty) = wit(vec![WitKind::U8, WitKind::List(0)]);
    let text = format!("[{}0]", "0,".repeat(1_000));
    read_within(&wit, ty, &text, 100_000).unwrap();
    assert_eq!(read_within(&wit, ty, &text, 10_000).unwrap_err().code(), "limit-input");
    let text = format!(r#"{{"base64":"{}"}}"#, "AAAA".repeat(1_000));
    assert_eq!(read_within(&wit, ty, &text, 10_000).unwrap_err().code(), "limit-input");
    let value = Val::List(vec![Val::U8(255); 1_000]);
    let error = Encoder::new(&wit, &mut Handles::default(), 1_000).text(&value, ty).unwrap_err();
    assert_eq!(error.code(), "limit-output");
}
