//! The build record: what a plugin was built from, by what, and what came of it. Equal builds have
//! equal records, so there is no time and no place of a machine in it.

use airlock_host::{Digest, Error};
use serde_json::{Value, json};

use super::optimise::Optimised;
use super::project::Project;
use super::tool::Workshop;

/// The version of the record's format.
const SCHEMA: u32 = 1;

pub(super) struct Record {
    name: String,
    version: Option<String>,
    language: Option<&'static str>,
    target: Option<String>,
    tools: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
    source: Option<(Digest, usize)>,
    optimised: Value,
    files: Vec<(String, u64, Digest)>,
}

impl Record {
    /// One of a language and a target, or of a plugin's own build command.
    pub(super) fn new(project: &Project, language: Option<(&'static str, Option<String>)>) -> Self {
        let (language, target) = language.unzip();
        Record {
            name: project.name().to_owned(),
            version: project.manifest().and_then(|manifest| manifest.version.clone()),
            language,
            target: target.flatten(),
            tools: Vec::new(),
            commands: Vec::new(),
            source: None,
            optimised: Value::Null,
            files: Vec::new(),
        }
    }

    pub(super) fn took(&mut self, shop: Workshop<'_>) {
        (self.tools, self.commands) = shop.into_used();
    }

    pub(super) fn command(&mut self, words: Vec<String>) {
        self.commands.push(words);
    }

    pub(super) fn optimised(&mut self, optimised: Option<&Optimised>) {
        self.optimised = optimised.map_or(Value::Null, Optimised::to_json);
    }

    pub(super) fn file(&mut self, path: &str, size: u64, digest: Digest) {
        self.files.push((path.to_owned(), size, digest));
    }

    pub(super) fn files(&self) -> &[(String, u64, Digest)] {
        &self.files
    }

    /// With the digest of the sources. It is taken after building, when files are there that the tools keep
    /// beside them, such as `Cargo.lock`.
    pub(super) fn with_sources(mut self, project: &Project) -> Result<Self, Error> {
        self.source = Some(project.sources()?);
        Ok(self)
    }

    pub(super) fn to_json(&self) -> Value {
        let tools = self.tools.iter().map(|(name, version)| json!({ "name": name, "version": version }));
        let files = self
            .files
            .iter()
            .map(|(path, size, digest)| json!({ "path": path, "size": size, "digest": digest }));
        json!({
            "name": self.name, "version": self.version, "language": self.language, "target": self.target,
            "tools": tools.collect::<Vec<_>>(), "commands": self.commands,
            "source": self.source.map(|(digest, files)| json!({ "digest": digest, "files": files })),
            "optimised": self.optimised, "files": files.collect::<Vec<_>>(),
        })
    }

    /// The record's file.
    pub(super) fn to_text(&self) -> String {
        let mut record = json!({ "schema": SCHEMA });
        if let (Value::Object(record), Value::Object(fields)) = (&mut record, self.to_json()) {
            record.extend(fields);
        }
        format!("{record:#}\n")
    }
}
