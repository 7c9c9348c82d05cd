//! Names of folders, which IMAP writes in a UTF-7 of its own (RFC 3501, 5.1.3).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Real names end with bits that mean nothing and are not zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The name as a server writes it.
pub(super) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut others: Vec<u8> = Vec::new();
    let flush = |others: &mut Vec<u8>, encoded: &mut String| {
        if !others.is_empty() {
            encoded.push('&');
            encoded.push_str(&BASE64.encode(&*others));
            encoded.push('-');
            others.clear();
        }
    };
    for c in name.chars() {
        match c {
            ' '..='~' => {
                flush(&mut others, &mut encoded);
                encoded.push(c);
                encoded.push_str(if c == '&' { "-" } else { "" });
            }
            _ => others.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes())),
        }
    }
    flush(&mut others, &mut encoded);
    encoded
}

/// The name that a server means. One that is written otherwise is taken as it is.
pub(super) fn decode(name: &str) -> String {
    read(name).unwrap_or_else(|| name.to_owned())
}

fn read(name: &str) -> Option<String> {
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        let (others, next) = after.split_once('-')?;
        match others {
            "" => decoded.push('&'),
            _ => {
                let bytes = LENIENT.decode(others).ok()?;
                let units = bytes.chunks(2).map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
                let units = units.collect::<Option<Vec<u16>>>()?;
                decoded.push_str(&String::from_utf16(&units).ok()?);
            }
        }
        rest = next;
    }
    decoded.push_str(rest);
    // A name that would be written otherwise could not be asked for.
    (encode(&decoded) == name).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    #[test]
    fn names_are_those_of_the_standard() {
        // RFC 3501, 5.1.3.
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-"), "~peter/mail/台北/日本語");
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(
            (encode("Entwürfe & mehr"), decode("Entw&APw-rfe &- mehr")),
            ("Entw&APw-rfe &- mehr".to_owned(), "Entwürfe & mehr".to_owned())
        );
    }

    #[test]
    fn a_name_that_is_written_otherwise_is_taken_as_it_is() {
        for name in ["a&b", "&", "&AGE-", "&Jjo!-", "&U,BTFw", "naïve"] {
            assert_eq!(decode(name), name);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_printable_and_comes_back(name in ".{0,40}") {
            let encoded = encode(&name);
            prop_assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode(&encoded), name);
        }
    }
}
