//! Whatever text is given for a value of whatever type, it is read within bounds: to a value that comes
//! back from what is written of it, or to an error.

use std::time::Duration;

use airlock_engine::{Wit, WitKind, WitType};
use serde::de::DeserializeSeed as _;
use wasmtime::component::Val;

use super::decode::Decoder;
use super::encode::Encoder;
use super::handles::Handles;
use super::place::Place;

const ROOM: usize = 1 << 20;

#[test]
fn any_text_gives_a_value_of_its_type_or_an_error() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let Some((shape, text)) = bytes.split_first_chunk::<12>() else { return };
            let wit = types(*shape);
            let ty = wit.types.len() - 1;
            // Few texts that come by chance are JSON.
            let likely: String =
                text.iter().map(|byte| char::from(LIKELY[usize::from(*byte) % LIKELY.len()])).collect();
            let text = std::str::from_utf8(text).unwrap_or(&likely);
            for text in [text, likely.as_str()] {
                let Some(value) = read(&wit, ty, text) else { continue };
                let written = Encoder::new(&wit, &mut Handles::default(), 8 * ROOM).text(&value, ty);
                let written = written.expect("what was read is written");
                assert_eq!(read(&wit, ty, &written), Some(value), "{text} {written}");
            }
        },
    );
}

/// What JSON is mostly made of.
const LIKELY: &[u8] = b"{}[]\"\":,0123e-.true null ok err some a b base64";

fn read(wit: &Wit, ty: usize, text: &str) -> Option<Val> {
    let decoder = Decoder::new(wit, None, ROOM);
    let mut reader = serde_json::Deserializer::from_str(text);
    let place = Place::Field(None, "it");
    decoder.seed(ty, &place).deserialize(&mut reader).ok()
}

/// Types made of a fuzzer's bytes, each of earlier ones.
fn types(shape: [u8; 12]) -> Wit {
    let plain = [
        WitKind::Bool,
        WitKind::U8,
        WitKind::S64,
        WitKind::U64,
        WitKind::F32,
        WitKind::F64,
        WitKind::Char,
        WitKind::String,
    ];
    let mut types: Vec<WitType> = plain.into_iter().map(|kind| WitType { name: None, kind }).collect();
    for [which, one, two] in shape.as_chunks::<3>().0 {
        let (one, two) = (usize::from(*one) % types.len(), usize::from(*two) % types.len());
        let names = || ["a".to_owned(), "b".to_owned()];
        let [a, b] = names();
        let kind = match which % 8 {
            0 => WitKind::List(one),
            1 => WitKind::Record(vec![(a, one), (b, two)]),
            2 => WitKind::Tuple(vec![one, two]),
            3 => WitKind::Variant(vec![(a, None), (b, Some(one))]),
            4 => WitKind::Enum(names().to_vec()),
            5 => WitKind::Flags(names().to_vec()),
            6 => WitKind::Option(one),
            _ => WitKind::Result { ok: Some(one), err: None },
        };
        types.push(WitType { name: None, kind });
    }
    Wit { types, ..Wit::default() }
}
