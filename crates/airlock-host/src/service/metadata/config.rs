//! TOML files as JSON.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

/// Bytes that a file of settings may have.
const BYTES: u64 = 1 << 20;

/// A TOML file as JSON; nothing where there is none, or it is none.
///
/// A symbolic link is not followed: a project that was made by somebody else could have it
/// lead to whatever is TOML and not the project's.
pub(super) fn read(path: &Path) -> Option<Value> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > BYTES {
        return None;
    }
    let mut text = String::new();
    file.take(BYTES).read_to_string(&mut text).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(json(toml::Value::Table(table)))
}

/// The parser bounds how deep it nests.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        // What is no number in JSON is `null`.
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_toml_of_a_regular_file_is_read_however_deep() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fledge.toml");
        let reads = |text: &str| {
            std::fs::write(&path, text).expect("written");
            read(&path).map(|value| value.to_string())
        };
        let text = "a = 1\nb = [true, 'x', 1.5, nan]\n[c]\nd = 2026-01-02T03:04:05Z\n";
        let json = r#"{"a":1,"b":[true,"x",1.5,null],"c":{"d":"2026-01-02T03:04:05Z"}}"#;
        assert_eq!(reads(text).as_deref(), Some(json));
        assert_eq!(reads("a = "), None);
        assert_eq!(reads(&format!("a = {}", "[".repeat(1_000_000))), None);
        assert_eq!(reads(&format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000))), None);
        assert_eq!(reads(&format!("a = '{}'", "x".repeat(1 << 20))), None);
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert_eq!((read(&link), read(folder.path()), read(&folder.path().join("gone"))), (None, None, None));
    }
}
