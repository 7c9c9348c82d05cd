//! A table as JSON.

use crate::table::Table;

/// An array with an object for each row, one on a line. All values are strings: what looks
/// like a number may be a telephone number.
pub fn array(table: &Table) -> String {
    let keys: Vec<String> = table.headers.iter().map(|header| string(header)).collect();
    let objects: Vec<String> = table
        .rows
        .iter()
        .map(|row| {
            let members: Vec<String> =
                keys.iter().zip(row).map(|(key, cell)| format!("{key}:{}", string(cell))).collect();
            format!("{{{}}}", members.join(","))
        })
        .collect();
    match objects.is_empty() {
        true => "[]\n".to_owned(),
        false => format!("[\n{}\n]\n", objects.join(",\n")),
    }
}

fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}
