//! The operator's file, `airlock.toml`.
//!
//! ```toml
//! [limits]
//! timeout = "5s"
//! memory = "32MiB"
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlock_host::{Error, ErrorKind, LimitKind, Overrides};
use serde::Deserialize;

/// Puts every file of Airlock's under one folder.
const AIRLOCK_HOME: &str = "AIRLOCK_HOME";

/// The highest `schema` this version reads.
const SCHEMA: u32 = 1;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    schema: Option<u32>,
    #[serde(default)]
    limits: BTreeMap<String, toml::Value>,
}

/// Where the file is: `$AIRLOCK_HOME`, else `$XDG_CONFIG_HOME/airlock`, else
/// `~/.config/airlock`.
fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || folder("HOME").map(|home| home.join(".config"));
    let directory = folder(AIRLOCK_HOME)
        .or_else(|| folder("XDG_CONFIG_HOME").or_else(home).map(|config| config.join("airlock")))?;
    Some(directory.join("airlock.toml"))
}

/// The limits the operator set; none when there is no file.
pub(crate) fn limits() -> Result<Overrides, Error> {
    let Some(path) = path() else { return Ok(Overrides::new()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Overrides::new()),
        Err(error) => return Err(Error::new(ErrorKind::Unreadable(path)).with_source(error)),
    };
    read(&text).map_err(|error| {
        let hint = format!("in {}", path.display());
        error.with_hint(hint)
    })
}

fn read(text: &str) -> Result<Overrides, Error> {
    let invalid =
        |reason: String| Error::new(ErrorKind::InvalidSetting { name: "airlock.toml".to_owned(), reason });
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
        invalid(format!("{}{place}", error.message()))
    })?;
    if file.schema.is_some_and(|schema| schema > SCHEMA) {
        return Err(invalid(format!("its `schema` is newer than {SCHEMA}, which this version reads")));
    }
    file.limits
        .into_iter()
        .map(|(name, value)| {
            let kind: LimitKind = name.parse()?;
            let text = match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            Ok((kind, kind.read(&text)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use airlock_host::{LimitKind, Overrides};

    use super::read;

    #[test]
    fn limits_are_read_in_their_units() {
        let limits = read("schema = 1\n[limits]\ntimeout = \"5s\"\nfuel = 1000\n").expect("valid");
        assert_eq!(limits, Overrides::from([(LimitKind::Timeout, 5_000_000_000), (LimitKind::Fuel, 1000)]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fails = |text: &str| read(text).expect_err("invalid");
        assert_eq!(fails("[limits]\ntimeuot = \"5s\"").hint(), Some("did you mean `timeout`?"));
        assert_eq!(
            fails("[limits]\nmemory = \"lots\"").to_string(),
            "`memory`: `lots` is no size such as `64MiB`"
        );
        assert!(fails("\n[limit]").to_string().starts_with("`airlock.toml`: unknown field `limit`"));
        assert!(fails("schema = 2").to_string().contains("newer than 1"));
    }
}
