//! Making text from a guest safe to show to a person.
//!
//! A guest's text may carry escape sequences that move the cursor, and marks that
//! reorder what is read. Both can forge what the host itself says, so neither reaches
//! a terminal: every such character is written out as an escape instead.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal or a bidirectional renderer acts on `c` instead of showing it.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every control, bidirectional and zero-width character written as
/// `\n`, `\t`, `\x1b` or `\u{202e}`.
///
/// With `keep_lines`, newlines and tabs stay as they are.
pub fn visible(text: &str, keep_lines: bool) -> Cow<'_, str> {
    let kept = |c: char| !is_hidden(c) || (keep_lines && matches!(c, '\n' | '\t'));
    if text.chars().all(kept) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if kept(c) {
            shown.push(c);
            continue;
        }
        let _ = match c {
            '\n' => shown.write_str("\\n"),
            '\t' => shown.write_str("\\t"),
            '\r' => shown.write_str("\\r"),
            c if (c as u32) < 0x100 => write!(shown, "\\x{:02x}", c as u32),
            c => write!(shown, "\\u{{{:x}}}", c as u32),
        };
    }
    Cow::Owned(shown)
}

/// Valid JSON `text` on one line: white space between tokens dropped, and every
/// character that a terminal would act on written as `\uXXXX`. The value is unchanged,
/// digit for digit.
///
/// `text` must be valid JSON; in anything else quotes are taken as they come.
pub fn escape_json(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if !in_string {
            in_string = c == '"';
            if !matches!(c, ' ' | '\t' | '\n' | '\r') {
                line.push(c);
            }
            continue;
        }
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = false,
            _ => {}
        }
    }
    line
}

/// A word as a shell needs it to be typed, with as few quotes as can be.
pub fn shell_quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_=+,./:@%".contains(&c);
    match !word.is_empty() && word.bytes().all(plain) {
        true => Cow::Borrowed(word),
        false => shell_words::quote(word),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{escape_json, is_hidden, visible};

    #[test]
    fn escapes_and_direction_marks_are_written_out() {
        assert_eq!(visible("plain ✓", false), "plain ✓");
        assert_eq!(visible("a\x1b[2Jb\u{202e}c\u{9b}", false), "a\\x1b[2Jb\\u{202e}c\\x9b");
        assert_eq!(visible("a\nb\r", true), "a\nb\\r");
    }

    #[test]
    fn json_is_compacted_without_touching_numbers_or_strings() {
        assert_eq!(escape_json("{ \"a b\" :\r\n 18446744073709551615 }"), "{\"a b\":18446744073709551615}");
        assert_eq!(escape_json("\"\u{9b}2J \\\" \u{202e}\""), "\"\\u009b2J \\\" \\u202e\"");
    }

    proptest! {
        #[test]
        fn nothing_hidden_survives(text in "\\PC*|.*") {
            prop_assert!(!visible(&text, false).chars().any(is_hidden));
        }

        #[test]
        fn escaping_json_keeps_its_value(text in ".*", key in ".*") {
            let value = serde_json::json!({ key: [text, 1.5, null] });
            let pretty = serde_json::to_string_pretty(&value).expect("a value serialises");
            let line = escape_json(&pretty);
            prop_assert!(!line.chars().any(is_hidden));
            let back: serde_json::Value = serde_json::from_str(&line).expect("still JSON");
            prop_assert_eq!(back, value);
        }
    }
}
