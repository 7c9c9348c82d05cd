//! The first message: what the plugin is told at its start.

use serde_json::Value;

use super::fields::{Fields, texts};
use super::{Error, PROTOCOL};

/// What a plugin is told at its start.
///
/// Texts that the host left out are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Init {
    /// What was typed after the command's name.
    pub args: Vec<String>,
    /// The project in whose folder the command was typed, when the host tells.
    pub project: Option<Project>,
    /// This plugin.
    pub plugin: Identity,
    /// The version of fledge whose behaviour the host has.
    pub host_version: String,
    /// What was granted.
    pub capabilities: Capabilities,
}

/// A project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// The name of its folder.
    pub name: String,
    /// Its folder as the user has it. A WebAssembly plugin finds it at `/project`.
    pub root: String,
    /// Its language by the files in it, such as `rust`; `generic` when they do not tell.
    pub language: String,
    /// Its repository, when it is in one.
    pub git: Option<Git>,
}

/// The state of a git repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Git {
    /// The current branch.
    pub branch: String,
    /// Whether there are changes that are not committed.
    pub dirty: bool,
    /// The name of the first remote.
    pub remote: String,
    /// The address of that remote, when it has one.
    pub remote_url: Option<String>,
}

/// A plugin's name and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Its name in `plugin.toml`.
    pub name: String,
    /// Its version in `plugin.toml`.
    pub version: String,
    /// Its folder as the user has it, when the host tells.
    pub dir: String,
}

/// What a plugin was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Running commands: [`Plugin::exec`](super::Plugin::exec).
    pub exec: bool,
    /// Keeping values: [`Plugin::store`](super::Plugin::store) and
    /// [`Plugin::load`](super::Plugin::load).
    pub store: bool,
    /// Asking about the project: [`Plugin::metadata`](super::Plugin::metadata).
    pub metadata: bool,
    /// `none`, `project` or `plugin`: which folders there are. `None` when `plugin.toml`
    /// says nothing of it.
    pub filesystem: Option<String>,
    /// Whether the network can be reached: [`Plugin::http`](super::Plugin::http).
    pub network: bool,
}

impl Init {
    /// Reads the message.
    pub(super) fn read(message: &[u8]) -> Result<Self, Error> {
        const MESSAGE: &str = "init";
        let unexpected = |expected| Error::Unexpected { message: MESSAGE, expected };
        let message = serde_json::from_slice::<Value>(message)?;
        let mut fields = Fields::of(message).ok_or_else(|| unexpected("an object"))?;
        if fields.text("type").as_deref() != Some(MESSAGE) {
            return Err(unexpected("a message of that type"));
        }
        let protocol = fields.text_or_empty("protocol");
        if protocol != PROTOCOL {
            return Err(Error::Protocol(protocol));
        }
        let args = match fields.take("args") {
            Value::Null => Vec::new(),
            args => texts(args).ok_or_else(|| unexpected("one whose `args` are strings"))?,
        };
        Ok(Init {
            args,
            project: fields.object("project").map(Project::of),
            plugin: fields.object("plugin").map(Identity::of).unwrap_or_default(),
            host_version: fields
                .object("fledge")
                .map(|mut host| host.text_or_empty("version"))
                .unwrap_or_default(),
            capabilities: fields.object("capabilities").map(Capabilities::of).unwrap_or_default(),
        })
    }
}

impl Project {
    fn of(mut fields: Fields) -> Self {
        Project {
            name: fields.text_or_empty("name"),
            root: fields.text_or_empty("root"),
            language: fields.text_or_empty("language"),
            git: fields.object("git").map(|mut git| Git {
                branch: git.text_or_empty("branch"),
                dirty: git.flag("dirty"),
                remote: git.text_or_empty("remote"),
                remote_url: git.text("remote_url"),
            }),
        }
    }
}

impl Identity {
    fn of(mut fields: Fields) -> Self {
        Identity {
            name: fields.text_or_empty("name"),
            version: fields.text_or_empty("version"),
            dir: fields.text_or_empty("dir"),
        }
    }
}

impl Capabilities {
    fn of(mut fields: Fields) -> Self {
        Capabilities {
            exec: fields.flag("exec"),
            store: fields.flag("store"),
            metadata: fields.flag("metadata"),
            filesystem: fields.text("filesystem"),
            network: fields.flag("network"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As fledge 1.8.0 sends it.
    const FULL: &str = r#"{"type":"init","protocol":"fledge-v1","args":["a","--b"],"project":{"name":"proj","root":"/home/me/proj","language":"rust","git":{"branch":"main","dirty":true,"remote":"origin","remote_url":"https://example.com/o/r.git"}},"plugin":{"name":"p","version":"0.1.0","dir":"/home/me/p"},"fledge":{"version":"1.8.0"},"capabilities":{"exec":true,"store":false,"metadata":true,"filesystem":"project","network":true}}"#;

    #[test]
    fn everything_that_is_told_is_there() {
        let git = Git {
            branch: "main".to_owned(),
            dirty: true,
            remote: "origin".to_owned(),
            remote_url: Some("https://example.com/o/r.git".to_owned()),
        };
        let expected = Init {
            args: vec!["a".to_owned(), "--b".to_owned()],
            project: Some(Project {
                name: "proj".to_owned(),
                root: "/home/me/proj".to_owned(),
                language: "rust".to_owned(),
                git: Some(git),
            }),
            plugin: Identity {
                name: "p".to_owned(),
                version: "0.1.0".to_owned(),
                dir: "/home/me/p".to_owned(),
            },
            host_version: "1.8.0".to_owned(),
            capabilities: Capabilities {
                exec: true,
                store: false,
                metadata: true,
                filesystem: Some("project".to_owned()),
                network: true,
            },
        };
        assert_eq!(Init::read(FULL.as_bytes()).expect("it is complete"), expected);
    }

    #[test]
    fn what_a_host_leaves_out_is_empty() {
        let init = Init::read(br#"{"type":"init","protocol":"fledge-v1"}"#).expect("it is enough");
        assert_eq!(init, Init::default());
        let init =
            br#"{"type":"init","protocol":"fledge-v1","args":[],"project":null,"plugin":null,"more":1}"#;
        assert_eq!(Init::read(init).expect("it is enough"), Init::default());
        let init = br#"{"type":"init","protocol":"fledge-v1","project":{"name":"p","git":null}}"#;
        let project = Init::read(init).expect("it is enough").project.expect("there is one");
        assert_eq!((project.name.as_str(), project.git), ("p", None));
    }

    #[test]
    fn what_is_no_init_is_refused_with_the_reason() {
        let reason = |message: &[u8]| Init::read(message).expect_err("it is refused").to_string();
        assert_eq!(
            reason(br#"{"type":"init","protocol":"fledge-v2"}"#),
            "the host speaks `fledge-v2` and not `fledge-v1`"
        );
        assert_eq!(reason(b"[]"), "what the host sent for `init` is not an object");
        assert_eq!(
            reason(br#"{"type":"response"}"#),
            "what the host sent for `init` is not a message of that type"
        );
        assert_eq!(
            reason(br#"{"type":"init","protocol":"fledge-v1","args":[1]}"#),
            "what the host sent for `init` is not one whose `args` are strings"
        );
        assert!(reason(br#"{"type":"init""#).starts_with("the host sent what is not JSON: EOF"));
    }
}
