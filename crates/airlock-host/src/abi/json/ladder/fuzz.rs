//! Whatever a plugin returns and leaves in its memory, what is found there is JSON within
//! the limit, or is said to be none.

use std::time::Duration;

use airlock_core::escape_json;
use serde_json::Value as Json;

use super::{Found, Returned, read, reported_error};
use crate::answer::{MAX_DEPTH, is_nested_deeper_than};

#[test]
fn any_memory_gives_json_within_the_limit_or_none() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let Some((head, bytes)) = bytes.split_first_chunk::<10>() else { return };
            let case = Case::from(head, bytes);
            let found = case.read();
            assert_eq!(found, case.read());
            match &found {
                Found::Json(json) => case.judge(json.get()),
                Found::TooLarge => {}
                Found::Undecipherable(_) => assert!(case.told.is_some(), "it could have been a number"),
            }
        },
    );
}

/// What JSON and the lengths before it are mostly made of.
const LIKELY: &[u8] = b"{}[]\"\":,0123e-.true \0\x02\x04\\/a\xff";

#[derive(Debug)]
struct Case {
    memory: Vec<u8>,
    returned: Returned,
    told: Option<u32>,
    utf16: bool,
    maximum: u64,
}

impl Case {
    /// A case made of a fuzzer's bytes: flags, a limit, two numbers, and the memory.
    fn from(head: &[u8; 10], bytes: &[u8]) -> Self {
        let [flags, maximum, a0, a1, a2, a3, b0, b1, b2, b3] = *head;
        let set = |bit: u8| flags >> bit & 1 == 1;
        let (a, b) = (u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3]));
        // Few numbers that come by chance point into so small a memory.
        let end = u32::try_from(bytes.len()).expect("it is small") + 2;
        let (a, b) = if set(0) { (a, b) } else { (a % end, b % end) };
        // Nor are many bytes that come by chance JSON.
        let likely = |byte: &u8| LIKELY[usize::from(*byte) % LIKELY.len()];
        Case {
            memory: if set(1) { bytes.iter().map(likely).collect() } else { bytes.to_vec() },
            returned: if set(2) {
                Returned::I64(u64::from(a) << 32 | u64::from(b))
            } else {
                Returned::I32(a)
            },
            told: set(3).then_some(b),
            utf16: set(4),
            maximum: if set(5) { 1 << 20 } else { maximum.into() },
        }
    }

    fn read(&self) -> Found {
        read(&self.memory, self.returned, self.told, self.utf16, self.maximum)
    }

    fn judge(&self, text: &str) {
        assert!(text.len() as u64 <= self.maximum, "{} bytes of at most {}", text.len(), self.maximum);
        let value = serde_json::from_str::<Json>(text);
        // serde_json marks its raw values with a key of this name, and takes it for that mark
        // where a plugin wrote it too: no other text is read as something else than it says.
        if text.contains("serde_json::private") {
            return;
        }
        match &value {
            Ok(value) => {
                let line = escape_json(text);
                assert_eq!(serde_json::from_str::<Json>(&line).ok().as_ref(), Some(value), "{line}");
            }
            // JSON all the same, of which serde_json's values hold less than its grammar allows.
            Err(error) => {
                let reason = error.to_string();
                let known =
                    ["recursion limit exceeded", "number out of range", "surrogate", "end of hex escape"];
                assert!(known.iter().any(|known| reason.contains(known)), "{reason}: {text}");
                assert!(!reason.contains(known[0]) || is_nested_deeper_than(text, MAX_DEPTH - 1), "{text}");
            }
        }
        if let (Returned::I32(pointer), Some(length)) = (self.returned, self.told) {
            let told = &self.memory[pointer as usize..][..length as usize];
            let is_text = value.is_ok_and(|value| value.as_str().map(str::as_bytes) == Some(told));
            assert!(is_text || told.trim_ascii() == text.as_bytes(), "{text}");
        }
        let _ = reported_error(text);
    }
}
