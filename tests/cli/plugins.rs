//! Plugins and homes for the tests of installing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{airlock, describe};

/// A folder for Airlock's files and one for plugins, both of one test.
pub(crate) struct Place {
    folder: TempDir,
}

/// A plugin to be written: what it is called, what its function gives, and the rest of its
/// manifest.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// The answer of its function `f`.
    pub(crate) answer: &'a str,
    /// More of the manifest, beginning with a comma.
    pub(crate) manifest: &'a str,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A path for a plugin's source.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("sources").join(name)
    }

    pub(crate) fn airlock(&self) -> Command {
        let mut command = airlock();
        command.env("AIRLOCK_HOME", self.home()).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.airlock().args(args).output().unwrap()
    }

    /// Exit code and both outputs, with what differs from run to run taken out.
    pub(crate) fn show(&self, args: &[&str]) -> String {
        self.plain(&describe(&self.output(args)))
    }

    /// Runs what has to go well.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        self.plain(&String::from_utf8_lossy(&output.stdout))
    }

    /// Text without this test's folders.
    pub(crate) fn plain(&self, text: &str) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        text.replace(folder.to_str().unwrap(), "[FOLDER]")
            .replace(self.folder.path().to_str().unwrap(), "[FOLDER]")
    }

    /// A plugin's folder with a manifest of CortexPrism's and a wasm file.
    pub(crate) fn write(&self, at: &str, source: &Source<'_>) -> PathBuf {
        let folder = self.path(at);
        std::fs::create_dir_all(&folder).unwrap();
        let Source { name, version, answer, manifest } = source;
        let manifest = format!(
            "{{\"name\":{},\"version\":\"{version}\",\"entryPoint\":\"plugin.wasm\"{manifest}}}",
            serde_json::json!(name)
        );
        std::fs::write(folder.join("cortex.json"), manifest).unwrap();
        std::fs::write(folder.join("plugin.wasm"), wasm(answer)).unwrap();
        folder
    }

    /// The same, and its path as text.
    pub(crate) fn source(&self, at: &str, source: &Source<'_>) -> String {
        text(&self.write(at, source))
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A plugin whose function `f` answers `answer`, which has to be JSON.
pub(crate) fn wasm(answer: &str) -> Vec<u8> {
    let data: String = answer.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let wat = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 16) "{data}\00")
            (func (export "malloc") (param i32) (result i32) i32.const 1024)
            (func (export "f") (param i32 i32) (result i32) i32.const 16))"#
    );
    wat::parse_str(wat).unwrap()
}

/// A program for fledge that sends `text`, which has to be ASCII, as its output.
pub(crate) fn program(text: &str) -> Vec<u8> {
    let message = serde_json::json!({ "type": "output", "text": format!("{text}\n") }).to_string();
    let data: String = message.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let wat = format!(
        r#"(module (import "fledge" "send" (func $send (param i32 i32)))
            (memory (export "memory") 1) (data (i32.const 16) "{data}")
            (func (export "_start") (call $send (i32.const 16) (i32.const {}))))"#,
        message.len()
    );
    wat::parse_str(wat).unwrap()
}

/// A plugin that asks for nothing.
pub(crate) const PLAIN: Source<'static> =
    Source { name: "plain", version: "1.0.0", answer: "\"one\"", manifest: "" };

/// A plugin that asks to read a folder and for a host.
pub(crate) const ASKER: Source<'static> = Source {
    name: "asker",
    version: "1.0.0",
    answer: "\"one\"",
    manifest: r#","permissions":{"filesystem":["read:./data"],"network":["https://api.example.com"]}"#,
};
