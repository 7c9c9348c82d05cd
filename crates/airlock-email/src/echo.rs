//! Taking credentials out of what servers say.
//!
//! A server knows what an account logged in with, and may repeat it: in the text of an error, or
//! as the bytes that it was told, which are base64. What it says goes into errors, answers to
//! plugins and the outbox, so it comes through here first.

use std::fmt;

use airlock_core::{Secret, visible};
use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Shorter ones stand in too many texts by chance: of them, nothing that is said is repeated.
const SHORTEST: usize = 6;

/// Bytes at the end of a text that was cut which may be the beginning of a credential.
const BEGINNING: usize = 3;

/// What stands in the place of a credential.
const TAKEN: &str = "[credential]";

/// Knows the credentials of one connection.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    /// As they are, in percent-encoding, and as errors show them.
    plain: Vec<String>,
    /// What the base64 of any text that holds one has in it, whatever stands before it.
    encoded: Vec<String>,
    /// One is too short to be found.
    is_short: bool,
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("known", &self.plain.len()).finish_non_exhaustive()
    }
}

impl Echo {
    /// One that knows this credential, where there is one.
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut echo = Echo::default();
        secrets.into_iter().for_each(|secret| echo.know(secret));
        echo
    }

    /// Has this one taken out too.
    pub(crate) fn know(&mut self, secret: &Secret) {
        let secret = secret.reveal();
        if secret.len() < SHORTEST {
            self.is_short |= !secret.is_empty();
            return;
        }
        let percent = |spared: &[u8], space: &str, hex: fn(u8) -> String| {
            let written = secret.bytes().map(|byte| match byte {
                b' ' => space.to_owned(),
                _ if byte.is_ascii_alphanumeric() || spared.contains(&byte) => char::from(byte).to_string(),
                _ => hex(byte),
            });
            written.collect::<String>()
        };
        let (upper, lower) = (|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}"));
        let forms = [
            secret.to_owned(),
            visible(secret, false).into_owned(),
            // In an address (RFC 3986, 2.3), and in a form (WHATWG URL, 5.2).
            percent(b"-._~", "%20", upper),
            percent(b"-._~", "%20", lower),
            percent(b"-._*", "+", upper),
            percent(b"-._*", "+", lower),
            secret.replace('\\', "\\\\").replace('"', "\\\""),
        ];
        self.plain.extend(forms);
        for alphabet in [&STANDARD, &URL_SAFE] {
            self.encoded.extend((0..3).map(|before| middle(alphabet, secret.as_bytes(), before)));
        }
        for forms in [&mut self.plain, &mut self.encoded] {
            // The longest first: one may begin with another.
            forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
            forms.dedup();
        }
    }

    /// What a server said, without credentials.
    pub(crate) fn taken_out(&self, said: &str) -> String {
        if self.is_short {
            return "what the server says may hold the credential and is not repeated".to_owned();
        }
        let mut said = said.to_owned();
        for form in &self.plain {
            said = said.replace(form, TAKEN);
        }
        for form in &self.encoded {
            let mut searched = 0;
            while let Some(at) = said[searched..].find(form).map(|at| searched + at) {
                // All of the encoded text: its ends hold a part of the credential each.
                let is_its = |c: &char| c.is_ascii_alphanumeric() || "+/-_=".contains(*c);
                let from = at - said[..at].chars().rev().take_while(is_its).count();
                let rest = at + form.len();
                let to = rest + said[rest..].chars().take_while(is_its).count();
                said.replace_range(from..to, TAKEN);
                searched = from + TAKEN.len();
            }
        }
        self.without_beginning(said)
    }

    /// A text that was cut may end in the middle of one.
    fn without_beginning(&self, mut said: String) -> String {
        let end = said.trim_end_matches(['`', '.', '…', '"', '\'', ' ']).len();
        let begun = self.plain.iter().chain(&self.encoded).filter_map(|form| {
            let longest = form.len().saturating_sub(1).min(end);
            (BEGINNING..=longest).rev().find(|length| {
                form.is_char_boundary(*length)
                    && said.as_bytes()[..end].ends_with(&form.as_bytes()[..*length])
            })
        });
        if let Some(length) = begun.max() {
            said.replace_range(end - length..end, TAKEN);
        }
        said
    }
}

/// The characters of the base64 of any text with these bytes after so many others (modulo three)
/// that depend on these bytes alone.
fn middle(alphabet: &Alphabet, bytes: &[u8], before: usize) -> String {
    let mut padded = vec![0; before];
    padded.extend_from_slice(bytes);
    let encoded = GeneralPurpose::new(alphabet, NO_PAD).encode(&padded);
    // Each character is six bits.
    let from = (before * 8).div_ceil(6);
    let to = padded.len() * 8 / 6;
    encoded[from..to].to_owned()
}

#[cfg(test)]
mod tests {
    use airlock_core::Secret;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::{Echo, SHORTEST, TAKEN};

    fn echo(secret: &str) -> Echo {
        Echo::of([&Secret::new(secret)])
    }

    #[test]
    fn a_credential_is_taken_out_in_every_form_that_a_server_was_told_it_in() {
        let secret = "p@ss \"w\\ord/ÿ>?";
        let known = echo(secret);
        let sasl = |text: String| STANDARD.encode(text);
        let said = [
            secret.to_owned(),
            sasl(secret.to_owned()),
            sasl(format!("\0anna\0{secret}")),
            sasl(format!("user=anna\x01auth=Bearer {secret}\x01\x01")),
            sasl(format!("n,a=anna,\x01host=h\x01port=1\x01auth=Bearer {secret}\x01\x01")),
            URL_SAFE.encode(format!("ab{secret}cd")),
            "p%40ss%20%22w%5Cord%2F%C3%BF%3E%3F".to_owned(),
            "p%40ss%20%22w%5cord%2f%c3%bf%3e%3f".to_owned(),
            "p%40ss+%22w%5Cord%2F%C3%BF%3E%3F".to_owned(),
            "p@ss \\\"w\\\\ord/ÿ>?".to_owned(),
        ];
        for said in said {
            let told = known.taken_out(&format!("535 no: {said} is wrong"));
            assert_eq!(told, "535 no: [credential] is wrong", "{said}");
        }
        assert_eq!(known.taken_out("Bearer is wrong"), "Bearer is wrong");
        assert!(!format!("{known:?}").contains("ord"));
    }

    #[test]
    fn of_a_text_that_was_cut_the_beginning_of_one_is_taken_out() {
        assert_eq!(echo("hunter2-longer").taken_out("you said hunter2-"), "you said [credential]");
        assert_eq!(echo("hunter2-longer").taken_out("no IMAP: `hunt`"), "no IMAP: `[credential]`");
        assert_eq!(echo("hunter2").taken_out("a shuttle"), "a shuttle");
    }

    #[test]
    fn where_one_is_too_short_to_be_found_nothing_is_repeated() {
        assert!(!echo("abc12").taken_out("no: abc12").contains("abc12"));
        assert_eq!(Echo::of([]).taken_out("no: abc12"), "no: abc12");
        assert_eq!(echo("").taken_out("no: abc12"), "no: abc12");
    }

    proptest! {
        #[test]
        fn no_base64_of_a_text_around_one_leaves_any_of_it(
            before in ".{0,9}", secret in "[ -~]{6,40}", after in ".{0,9}"
        ) {
            let said = format!("<{}>", STANDARD.encode(format!("{before}{secret}{after}")));
            prop_assert_eq!(echo(&secret).taken_out(&said), "<[credential]>");
        }

        #[test]
        fn any_text_is_taken(said in ".{0,200}", secret in ".{1,40}") {
            let told = echo(&secret).taken_out(&said);
            match secret.len() < SHORTEST {
                // Whatever was said.
                true => prop_assert_eq!(told, echo(&secret).taken_out("")),
                false => prop_assert!(!told.contains(&secret) || TAKEN.contains(&secret)),
            }
        }
    }
}
