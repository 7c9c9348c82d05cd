//! The one form that JSON is brought into.

use crate::parse::Value;

pub struct Style {
    /// Spaces for each level; 0 puts all on one line.
    pub indent: usize,
    /// Keys in the order of their characters as written; those that come twice stay in order.
    pub sort_keys: bool,
}

/// The text of `value`, which ends with a newline.
pub fn print(mut value: Value<'_>, style: &Style) -> String {
    if style.sort_keys {
        sort(&mut value);
    }
    let mut text = String::new();
    write(&mut text, &value, style.indent, 0);
    text.push('\n');
    text
}

fn sort(value: &mut Value<'_>) {
    match value {
        Value::Scalar(_) => {}
        Value::Array(values) => values.iter_mut().for_each(sort),
        Value::Object(members) => {
            members.iter_mut().for_each(|(_, value)| sort(value));
            // Without the quotes: the last one would put `"a b"` before `"a"`.
            members.sort_by_key(|(key, _)| &key[1..key.len() - 1]);
        }
    }
}

fn write(text: &mut String, value: &Value<'_>, indent: usize, depth: usize) {
    match value {
        Value::Scalar(scalar) => text.push_str(scalar),
        Value::Array(values) => list(text, ['[', ']'], values, indent, depth, |text, value| {
            write(text, value, indent, depth + 1);
        }),
        Value::Object(members) => list(text, ['{', '}'], members, indent, depth, |text, (key, value)| {
            text.push_str(key);
            text.push_str(if indent == 0 { ":" } else { ": " });
            write(text, value, indent, depth + 1);
        }),
    }
}

fn list<T>(
    text: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    indent: usize,
    depth: usize,
    mut item: impl FnMut(&mut String, &T),
) {
    text.push(open);
    for (index, each) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        new_line(text, indent, depth + 1);
        item(text, each);
    }
    if !items.is_empty() {
        new_line(text, indent, depth);
    }
    text.push(close);
}

fn new_line(text: &mut String, indent: usize, depth: usize) {
    if indent > 0 {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent * depth));
    }
}
