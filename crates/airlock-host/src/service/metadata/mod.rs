//! Facts of the project that a plugin is run in.

mod config;
mod git;

use std::path::Path;

use airlock_core::{CapabilityKind, Metadata, Need, Permit, ServiceError, ServiceFuture};
use serde_json::{Map, Value, json};

use super::exec::{SearchPath, Surroundings};
use git::Git;

/// Which file says what a project is written in; the first that is there (fledge's order).
const LANGUAGES: [(&str, &str); 12] = [
    ("Cargo.toml", "rust"),
    ("package.json", "node"),
    ("go.mod", "go"),
    ("pyproject.toml", "python"),
    ("setup.py", "python"),
    ("requirements.txt", "python"),
    ("Gemfile", "ruby"),
    ("build.gradle", "java-gradle"),
    ("build.gradle.kts", "java-gradle"),
    ("pom.xml", "java-maven"),
    ("Package.swift", "swift"),
    ("", "generic"),
];

/// The [`Metadata`] that comes with Airlock: facts of the folder that the plugin is run in,
/// each looked up when it is asked for and not before.
///
/// | key | what |
/// |---|---|
/// | `project` | the folder: `{"name", "root"}` |
/// | `language` | by the files in it: `rust`, `node`, `go`, `python`, `ruby`, `java-gradle`, `java-maven`, `swift`, `generic` |
/// | `env` | the variables that are granted with `env=NAME`, by name |
/// | `fledge_config` | `fledge.toml` as JSON, with dates as texts |
/// | `git` | `{"branch", "dirty", "remote", "remote_url"}` of a repository with a commit, without users and passwords in addresses of the web |
/// | `git_tags` | names of tags, the newest 100 |
/// | `git_status` | the text of `git status --porcelain` |
/// | `git_log` | the text of `git log --oneline -20` |
///
/// Any other key is `null`, and so is what there is not or cannot be found out: a folder
/// without a repository, more than 1 MiB of status, git not done after five seconds. The names
/// without `project`, `language` and `git` are fledge's.
///
/// # git
/// It is started only for its own keys. A repository can name programs for git to start, and
/// nobody has granted these: it runs without the user's and the machine's configuration,
/// hooks, monitors, filters, signature checks and network. A plugin that may write where the
/// repository's configuration is could still say what git does, or which repository it is;
/// it learns nothing of git.
#[derive(Debug, Clone)]
pub struct ProjectFacts {
    search: SearchPath,
}

impl Default for ProjectFacts {
    fn default() -> Self {
        ProjectFacts::new()
    }
}

impl ProjectFacts {
    /// With git from the path of this process.
    pub fn new() -> Self {
        ProjectFacts { search: SearchPath::of_process() }
    }

    /// With git from this path.
    #[must_use]
    pub fn search(mut self, search: SearchPath) -> Self {
        self.search = search;
        self
    }
}

impl Metadata for ProjectFacts {
    fn facts<'a>(&'a self, permit: &'a Permit, keys: &'a [&'a str]) -> ServiceFuture<'a, Map<String, Value>> {
        Box::pin(async move {
            permit.check()?;
            let need = Need::Kind(CapabilityKind::Metadata);
            // Whoever made the permit has asked this. What is told must not depend on it.
            if !permit.policy().meets(need) {
                return Err(ServiceError::Denied(need.capability()));
            }
            let surroundings = Surroundings::of(permit);
            let working = permit.policy().working();
            let mut git = Git::new(&self.search, permit, &surroundings);
            let mut facts = Map::new();
            for key in keys {
                if facts.contains_key(*key) {
                    continue;
                }
                let fact = match *key {
                    // Relative to this process is nowhere that the plugin is run in.
                    "project" | "language" | "fledge_config" if !working.is_absolute() => Value::Null,
                    "project" => project(working),
                    "language" => language(working).into(),
                    "env" => environment(permit)?,
                    "fledge_config" => config::read(&working.join("fledge.toml")).unwrap_or_default(),
                    "git" => git.summary().await?,
                    "git_tags" => git.tags().await?,
                    "git_status" => git.status().await?,
                    "git_log" => git.log().await?,
                    _ => Value::Null,
                };
                facts.insert((*key).to_owned(), fact);
            }
            Ok(facts)
        })
    }
}

fn project(working: &Path) -> Value {
    let name = working.file_name().map(|name| name.to_string_lossy());
    json!({ "name": name, "root": working.to_string_lossy() })
}

fn language(working: &Path) -> &'static str {
    let is_there = |(file, _): &&(&str, &str)| file.is_empty() || working.join(file).is_file();
    LANGUAGES.iter().find(is_there).map_or("generic", |(_, language)| language)
}

/// The variables that are granted, and no others: no list of names knows all that is secret.
fn environment(permit: &Permit) -> Result<Value, ServiceError> {
    let mut variables = Map::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let need = Need::Name(CapabilityKind::Env, name);
        // Only what is told is a use, and what is not was not asked for.
        if permit.policy().meets(need) {
            permit.also(need)?;
            variables.insert(name.to_owned(), value.into());
        }
    }
    Ok(variables.into())
}
