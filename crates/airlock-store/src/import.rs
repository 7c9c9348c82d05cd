//! Grants that other systems kept: sen-rs's `permissions.json` (version 1) and fledge's
//! `plugins.toml`.
//!
//! Both are keyed by a name and nothing else. Here they are bound to the bytes that are
//! installed under that name when they are taken over; what is not installed gets nothing.

use std::collections::BTreeMap;

use airlock_core::{Capability, Error, ErrorKind, Location, Result, SenCapabilities, fledge_capabilities};
use serde::Deserialize;

/// What was granted to one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The plugin's name.
    pub name: String,
    /// What it was granted.
    pub capabilities: Vec<Capability>,
    /// What cannot be taken over, and why.
    pub skipped: Vec<String>,
}

/// Reads the grants of another system; which one is told by the text.
///
/// # Errors
/// [`ErrorKind::InvalidSetting`] when it is neither system's file, or of a newer version.
pub fn read_grants(file: &str, text: &str) -> Result<Vec<Imported>> {
    match text.trim_start().starts_with('{') {
        true => read_sen(file, text),
        false => read_fledge(file, text),
    }
}

#[derive(Deserialize)]
struct SenFile {
    version: u32,
    plugins: BTreeMap<String, SenGrant>,
}

#[derive(Deserialize)]
struct SenGrant {
    capabilities: SenCapabilities,
    trust_level: String,
}

fn read_sen(file: &str, text: &str) -> Result<Vec<Imported>> {
    let read: SenFile = serde_json::from_str(text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        let place = at.map_or_else(String::new, |at| format!(" (line {}, column {})", at.line, at.column));
        invalid(file, format!("{reason}{place}"))
    })?;
    if read.version != 1 {
        return Err(invalid(file, format!("its version is {}, and 1 is what is known", read.version)));
    }
    Ok(read.plugins.into_iter().map(|(name, grant)| sen_grant(name, &grant)).collect())
}

fn sen_grant(name: String, grant: &SenGrant) -> Imported {
    let (mut capabilities, mut skipped) = (Vec::new(), Vec::new());
    // Its host honours these for ever; what they were granted for is over.
    if grant.trust_level != "permanent" {
        skipped.push(format!("granted for a {}", grant.trust_level));
        return Imported { name, capabilities, skipped };
    }
    for read in grant.capabilities.capabilities() {
        match read {
            Ok(capability) => capabilities.push(capability),
            Err(error) => skipped.push(error.to_string()),
        }
    }
    Imported { name, capabilities, skipped }
}

#[derive(Deserialize)]
struct FledgeFile {
    #[serde(default)]
    plugins: Vec<FledgePlugin>,
}

#[derive(Deserialize)]
struct FledgePlugin {
    name: String,
    #[serde(default)]
    capabilities: BTreeMap<String, toml::Value>,
}

fn read_fledge(file: &str, text: &str) -> Result<Vec<Imported>> {
    let read: FledgeFile = toml::from_str(text).map_err(|error| invalid(file, error.message().to_owned()))?;
    let plugins =
        read.plugins.into_iter().map(|plugin| match fledge_capabilities(file, &plugin.capabilities) {
            Ok(capabilities) => Imported { name: plugin.name, capabilities, skipped: Vec::new() },
            Err(error) => {
                Imported { name: plugin.name, capabilities: Vec::new(), skipped: vec![error.to_string()] }
            }
        });
    Ok(plugins.collect())
}

fn invalid(file: &str, reason: String) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: file.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use airlock_core::Capability;

    use super::{Imported, read_grants};

    fn read(text: &str) -> Vec<Imported> {
        read_grants("a file", text).expect("it is one")
    }

    fn texts(imported: &Imported) -> Vec<String> {
        imported.capabilities.iter().map(Capability::to_string).collect()
    }

    #[test]
    fn permissions_of_sen_keep_what_they_say_and_no_more() {
        let imported = read(
            r#"{"version":1,"plugins":{
                "db:export":{"granted_at":1,"capabilities_hash":"0","trust_level":"permanent","capabilities":{
                    "fs_read":[{"pattern":"./data","recursive":true},{"pattern":"~/in/","recursive":false}],
                    "fs_write":[{"pattern":"/var/out"},{"pattern":"../up","recursive":true}],
                    "env_read":["MY_*"],
                    "net":[{"host":"*.example.com","protocol":"https"},{"host":"x.example","port":25,"protocol":"tcp"}],
                    "stdio":{"stdin":true,"stdout":true}}},
                "hello":{"granted_at":1,"capabilities_hash":"0","trust_level":"session","capabilities":{
                    "env_read":["HOME"]}}}}"#,
        );
        assert_eq!(imported[0].name, "db:export");
        assert_eq!(
            texts(&imported[0]),
            [
                "fs.read=data",
                "fs.read=~/in/*",
                "fs.write=/var/out/*",
                "env=MY_*",
                "net=https://*.example.com:*",
                "net=https://example.com:*",
                "net=tcp://x.example:25",
                "stdin=inherit"
            ]
        );
        assert_eq!(
            imported[0].skipped,
            ["`fs.write=../up`: `..` leads out of the folder it begins in; write an absolute path"]
        );
        assert_eq!(
            (texts(&imported[1]), imported[1].skipped.as_slice()),
            (vec![], ["granted for a session".to_owned()].as_slice())
        );
    }

    #[test]
    fn plugins_of_fledge_keep_their_capabilities() {
        let imported = read(
            "[[plugins]]\nname = \"a\"\nsource = \"x\"\nversion = \"1\"\ninstalled = \"2026-01-01\"\ncommands = [\"a\"]\n\
             [plugins.capabilities]\nexec = false\nstore = true\nmetadata = false\nfilesystem = \"project\"\n\
             [[plugins]]\nname = \"b\"\nsource = \"y\"\n[plugins.capabilities]\nteleport = true\n",
        );
        assert_eq!(texts(&imported[0]), ["kv=1MiB", "fs.read=.::/project"]);
        assert!(imported[1].capabilities.is_empty() && imported[1].skipped[0].contains("teleport"));
    }

    #[test]
    fn what_is_no_such_file_says_so() {
        let fails = |text: &str| read_grants("a file", text).expect_err("it is none").to_string();
        assert_eq!(
            fails(r#"{"version":2,"plugins":{}}"#),
            "`a file`: its version is 2, and 1 is what is known"
        );
        assert!(fails("{").starts_with("`a file`: EOF while parsing"));
        assert!(fails("plugins = 1").starts_with("`a file`: invalid type"));
    }
}
