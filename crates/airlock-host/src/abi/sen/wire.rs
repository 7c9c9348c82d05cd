//! What sen-rs's host and plugins say to each other, as MessagePack.
//!
//! Structures are read as maps or as arrays in the order of their fields, keys that nobody knows
//! and bytes behind the end are passed over, variants are told by their names or numbers: all as
//! its own serialiser has it. They are written as maps.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Levels of nesting that are read: a header's name is in its pair, in the headers, in the
/// request, in the effect, in the result.
const MAX_DEPTH: usize = 16;

/// What executing a plugin came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExecuteResult {
    /// It did what it was to do, and says this.
    Success(String),
    /// It failed, and says why.
    Error(ExecuteError),
    /// It wants something done, and to be resumed with what came of it.
    Effect(Effect),
}

/// Why a plugin failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecuteError {
    /// As a process's exit code: 1 for what whoever called can change, 101 for what is the
    /// plugin's own.
    pub code: u8,
    /// In words.
    pub message: String,
}

/// Something that a plugin wants done by its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Effect {
    /// A request over the network.
    HttpGet {
        /// What the plugin knows it by.
        id: u32,
        /// Of what.
        url: String,
        /// With which headers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, String)>,
    },
    /// A request that sends something.
    HttpPost {
        /// What the plugin knows it by.
        id: u32,
        /// To what.
        url: String,
        /// What is sent.
        body: String,
        /// What that is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// With which headers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, String)>,
    },
    /// Time that passes.
    Sleep {
        /// What the plugin knows it by.
        id: u32,
        /// How much, in milliseconds.
        duration_ms: u64,
    },
}

impl Effect {
    /// What the plugin knows it by.
    pub fn id(&self) -> u32 {
        match self {
            Effect::HttpGet { id, .. } | Effect::HttpPost { id, .. } | Effect::Sleep { id, .. } => *id,
        }
    }
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EffectResult {
    /// A server's answer, whatever its status.
    Http(HttpResponse),
    /// The time has passed.
    SleepComplete,
    /// It was not done: denied, or failed on the way.
    Error(String),
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Its status.
    pub status: u16,
    /// Its body, which is text.
    pub body: String,
    /// Its headers, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// Its SDK for Zig says an error as a text alone, which its own host does not read.
impl<'de> Deserialize<'de> for ExecuteError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = ExecuteError;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a code and a message, or a message")
            }

            fn visit_str<E: serde::de::Error>(self, message: &str) -> Result<ExecuteError, E> {
                Ok(ExecuteError { code: 1, message: message.to_owned() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ExecuteError, A::Error> {
                let code = seq.next_element()?.ok_or_else(|| A::Error::missing_field("code"))?;
                let message = seq.next_element()?.ok_or_else(|| A::Error::missing_field("message"))?;
                Ok(ExecuteError { code, message })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExecuteError, A::Error> {
                let (mut code, mut message) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "code" => code = Some(map.next_value()?),
                        "message" => message = Some(map.next_value()?),
                        _ => map.next_value::<IgnoredAny>().map(drop)?,
                    }
                }
                Ok(ExecuteError {
                    code: code.ok_or_else(|| A::Error::missing_field("code"))?,
                    message: message.ok_or_else(|| A::Error::missing_field("message"))?,
                })
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// Reads what a plugin said.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::{Effect, EffectResult, ExecuteError, ExecuteResult, HttpResponse, read};

    fn reads(hex: &str) -> Result<ExecuteResult, String> {
        let digits: Vec<u8> =
            hex.split_whitespace().map(|two| u8::from_str_radix(two, 16).expect("hex")).collect();
        read(&digits)
    }

    fn error(code: u8, message: &str) -> Result<ExecuteResult, String> {
        Ok(ExecuteResult::Error(ExecuteError { code, message: message.to_owned() }))
    }

    /// The bytes that its own serialiser makes, of structures as arrays and as maps.
    #[test]
    fn its_own_bytes_are_read_in_both_forms() {
        let hi = Ok(ExecuteResult::Success("hi".to_owned()));
        assert_eq!(reads("81 a7 53 75 63 63 65 73 73 a2 68 69"), hi);
        assert_eq!(reads("81 00 a2 68 69"), hi, "by number");
        assert_eq!(reads("81 a7 53 75 63 63 65 73 73 c4 02 68 69"), hi, "text as bytes");
        assert_eq!(reads("81 a7 53 75 63 63 65 73 73 a2 68 69 ff ff"), hi, "and more");
        assert_eq!(reads("81 a5 45 72 72 6f 72 92 01 a3 62 61 64"), error(1, "bad"));
        let named = "81 a5 45 72 72 6f 72 82 a4 63 6f 64 65 65 a7 6d 65 73 73 61 67 65 a3 62 61 64";
        assert_eq!(reads(named), error(101, "bad"));
        assert_eq!(reads("81 a5 45 72 72 6f 72 a3 62 61 64"), error(1, "bad"), "the Zig SDK's");
        let get = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Ok(ExecuteResult::Effect(Effect::HttpGet {
                id: 1,
                url: "https://a.b/".to_owned(),
                headers: headers.collect(),
            }))
        };
        let effect = "81 a6 45 66 66 65 63 74 81 a7 48 74 74 70 47 65 74";
        let url = "ac 68 74 74 70 73 3a 2f 2f 61 2e 62 2f";
        assert_eq!(reads(&format!("{effect} 92 01 {url}")), get(&[]));
        assert_eq!(reads(&format!("{effect} 82 a2 69 64 01 a3 75 72 6c {url}")), get(&[]));
        let headers = "a7 68 65 61 64 65 72 73 91 92 a1 4b a1 56";
        assert_eq!(
            reads(&format!("{effect} 83 a2 69 64 01 a3 75 72 6c {url} {headers}")),
            get(&[("K", "V")])
        );
        let sleep = Ok(ExecuteResult::Effect(Effect::Sleep { id: 7, duration_ms: 250 }));
        assert_eq!(reads("81 a6 45 66 66 65 63 74 81 a5 53 6c 65 65 70 92 07 cc fa"), sleep);
        let post = "81 a6 45 66 66 65 63 74 81 a8 48 74 74 70 50 6f 73 74 85 a2 69 64 01 a3 75 72 6c a1 75 a4 62 \
                    6f 64 79 a1 62 ac 63 6f 6e 74 65 6e 74 5f 74 79 70 65 a1 74 a7 68 65 61 64 65 72 73 91 92 a1 \
                    4b a1 56";
        assert_eq!(
            reads(post),
            Ok(ExecuteResult::Effect(Effect::HttpPost {
                id: 1,
                url: "u".to_owned(),
                body: "b".to_owned(),
                content_type: Some("t".to_owned()),
                headers: vec![("K".to_owned(), "V".to_owned())],
            }))
        );
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for hex in [
            "",
            "c1",
            "80",
            "81 a7 53 75 63 63 65 73 73 c0",
            "81 a5 45 72 72 6f 72 92 cd 01 00 a3 62 61 64",
            "81 a5 45 72 72 6f 72 91 01",
            "81 a5 46 61 6c 73 65 a2 68 69",
            "81 a7 53 75 63 63 65 73 73 db ff ff ff ff",
            "81 a6 45 66 66 65 63 74 dd ff ff ff ff",
        ] {
            assert!(reads(hex).is_err(), "{hex}");
        }
        assert!(read::<ExecuteResult>(&[0x81; 100_000]).is_err());
    }

    #[test]
    fn what_is_said_to_a_plugin_is_maps() {
        let hex = |result: &EffectResult| {
            let bytes = rmp_serde::to_vec_named(result).expect("it has a form");
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        let http = HttpResponse { status: 200, body: "ok".to_owned(), headers: Vec::new() };
        assert_eq!(
            hex(&EffectResult::Http(http)),
            "81 a4 48 74 74 70 82 a6 73 74 61 74 75 73 cc c8 a4 62 6f 64 79 a2 6f 6b"
        );
        assert_eq!(hex(&EffectResult::SleepComplete), "ad 53 6c 65 65 70 43 6f 6d 70 6c 65 74 65");
        assert_eq!(hex(&EffectResult::Error("x".to_owned())), "81 a5 45 72 72 6f 72 a1 78");
    }
}
