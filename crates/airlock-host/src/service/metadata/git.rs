//! What git says of a project.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airlock_core::{Ended, Permit, ServiceError, Stream};
use serde_json::{Value, json};

use crate::service::exec::{SearchPath, Surroundings};
use crate::service::process::{self, Launch};

/// How long git may take for all that is asked at once.
const TIME: Duration = Duration::from_secs(5);

/// Bytes that each of its answers may have.
const BYTES: u64 = 1 << 20;

/// Tags that are told (fledge's bound).
const TAGS: &str = "--count=100";

/// Settings that a repository's own may name programs in, or another repository, and what
/// they are instead. Those of filters have names of their own, and are asked for.
const SETTINGS: [(&str, &str); 7] = [
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("log.showSignature", "false"),
    ("protocol.allow", "never"),
    ("color.ui", "false"),
    ("safe.bareRepository", "explicit"),
    ("submodule.recurse", "false"),
];

/// No configuration but the repository's, no questions, no network for objects that a partial
/// clone has not fetched, nothing written.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("LC_ALL", "C.UTF-8"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
];

/// The repository that a plugin is run in. Nothing is looked for before it is asked.
pub(super) struct Git<'a> {
    search: &'a SearchPath,
    permit: &'a Permit,
    surroundings: &'a Surroundings<'a>,
    found: Option<Option<Found>>,
}

#[derive(Clone)]
struct Found {
    program: PathBuf,
    until: Instant,
}

impl<'a> Git<'a> {
    pub(super) fn new(
        search: &'a SearchPath,
        permit: &'a Permit,
        surroundings: &'a Surroundings<'a>,
    ) -> Self {
        Git { search, permit, surroundings, found: None }
    }

    pub(super) async fn tags(&mut self) -> Result<Value, ServiceError> {
        let args = ["for-each-ref", TAGS, "--sort=-creatordate", "--format=%(refname:strip=2)", "refs/tags"];
        let tags = self.text(&args, &[]).await?;
        Ok(tags.map(|tags| tags.lines().collect()).unwrap_or_default())
    }

    pub(super) async fn log(&mut self) -> Result<Value, ServiceError> {
        Ok(self.text(&["log", "--oneline", "-20"], &[]).await?.map(Value::from).unwrap_or_default())
    }

    pub(super) async fn status(&mut self) -> Result<Value, ServiceError> {
        Ok(self.status_text(&["--porcelain"]).await?.map(Value::from).unwrap_or_default())
    }

    /// On which branch it is, whether anything differs from it, and where it came from; nothing
    /// before the first commit.
    pub(super) async fn summary(&mut self) -> Result<Value, ServiceError> {
        let Some(status) = self.status_text(&["--porcelain=v2", "--branch"]).await? else {
            return Ok(Value::Null);
        };
        let header = |name: &str| status.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
        let (Some(commit), Some(branch)) = (header("branch.oid "), header("branch.head ")) else {
            return Ok(Value::Null);
        };
        if commit == "(initial)" {
            return Ok(Value::Null);
        }
        let remotes = ["config", "--null", "--get-regexp", r"^remote\..*\.url$"];
        let remotes = self.text(&remotes, &[]).await?.unwrap_or_default();
        // As git lists them: by name; of several addresses of one the first.
        let named = remotes.split('\0').filter_map(|entry| {
            let (key, url) = entry.split_once('\n')?;
            Some((key.strip_prefix("remote.")?.strip_suffix(".url")?, url))
        });
        let first = named.min_by_key(|(name, _)| *name);
        Ok(json!({
            "branch": if branch == "(detached)" { "HEAD" } else { branch },
            "dirty": status.lines().any(|line| !line.starts_with('#')),
            "remote": first.map_or("origin", |(name, _)| name),
            "remote_url": first.map(|(_, url)| without_user(url)),
        }))
    }

    /// What `git status` says, with no filter of the repository's run for it.
    async fn status_text(&mut self, form: &[&str]) -> Result<Option<String>, ServiceError> {
        let filters = ["config", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\."];
        // Git fails where there are none.
        let filters = self.text(&filters, &[]).await?.unwrap_or_default();
        let off: Vec<String> = filters.split('\0').flat_map(without_filter).collect();
        if off.iter().any(|setting| setting.matches('=').count() > 1) {
            // It cannot be said which one is meant.
            return Ok(None);
        }
        let args: Vec<&str> =
            ["status"].iter().chain(form).chain(&["--ignore-submodules=all"]).copied().collect();
        self.text(&args, &off).await
    }

    /// What git writes without the end of its last line; nothing where it fails.
    async fn text(&mut self, args: &[&str], more: &[String]) -> Result<Option<String>, ServiceError> {
        if self.found.is_none() {
            self.found = Some(self.find());
        }
        let Some(Found { program, until }) = self.found.clone().flatten() else { return Ok(None) };
        let Ok(folder) = self.surroundings.folder(None) else { return Ok(None) };
        let launch = Launch {
            program,
            args: self::args(args, more),
            env: self.env(),
            folder,
            stdin: Vec::new(),
            output: BYTES,
            until,
            deadline: self.permit.deadline(),
            cgroups: None,
        };
        let mut output = Vec::new();
        let mut sink = |stream: Stream, bytes: &[u8]| {
            if stream == Stream::Stdout {
                output.extend_from_slice(bytes);
            }
            Ok(())
        };
        match process::run(launch, &mut sink).await {
            Ok(Ended::Exited(0)) => {
                let text = String::from_utf8_lossy(&output);
                Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
            }
            Err(ServiceError::Ended) => Err(ServiceError::Ended),
            other => {
                tracing::debug!(?args, ?other, "git says nothing");
                Ok(None)
            }
        }
    }

    /// Where git is, unless it is, or does, what the plugin wrote.
    fn find(&self) -> Option<Found> {
        let program = self.search.find("git")?;
        let working = self.permit.policy().working();
        let real = working.canonicalize().ok()?;
        // The nearest `.git` decides which repository it is and what its configuration is.
        let decides = |folder: &Path| self.surroundings.can_write(&folder.join(".git"));
        let is_plugins = self.surroundings.can_write(&program) || real.ancestors().any(decides);
        (!is_plugins).then(|| Found { program, until: Instant::now() + TIME })
    }

    fn env(&self) -> Vec<(OsString, OsString)> {
        let path = self.search.outside(self.surroundings.writable());
        let fixed = ENVIRONMENT.iter().map(|(name, value)| (name.into(), value.into()));
        fixed.chain([("PATH".into(), path)]).collect()
    }
}

/// All arguments of git. Settings are said here and not in its environment, which older ones
/// do not look at.
fn args(args: &[&str], more: &[String]) -> Vec<OsString> {
    let fixed = SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
    let settings = fixed.chain(more.iter().cloned()).flat_map(|setting| ["-c".into(), setting.into()]);
    let all = ["--no-pager", "--no-optional-locks"].map(OsString::from).into_iter().chain(settings);
    all.chain(args.iter().map(OsString::from)).collect()
}

/// An address without what may be a password: the user of an `http` or `https` URL.
fn without_user(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    let has_user = !parsed.username().is_empty() || parsed.password().is_some();
    let is_web = matches!(parsed.scheme(), "http" | "https");
    match is_web && has_user && parsed.set_username("").is_ok() && parsed.set_password(None).is_ok() {
        true => parsed.into(),
        false => url.to_owned(),
    }
}

/// Settings that take a filter's programs away, of which `name` is one setting.
fn without_filter(name: &str) -> Vec<String> {
    let Some((filter, _)) = name.rsplit_once('.').filter(|(filter, _)| filter.starts_with("filter.")) else {
        return Vec::new();
    };
    ["clean=", "smudge=", "process=", "required=false"].map(|off| format!("{filter}.{off}")).into()
}

#[cfg(test)]
mod tests {
    use super::without_user;

    #[test]
    fn what_may_be_a_password_is_not_told() {
        for (url, told) in [
            ("https://me:secret@example.com/o/r.git", "https://example.com/o/r.git"),
            ("https://token@example.com/o/r.git", "https://example.com/o/r.git"),
            ("https://example.com/o/r.git", "https://example.com/o/r.git"),
            ("ssh://git@example.com/o/r.git", "ssh://git@example.com/o/r.git"),
            ("git@example.com:o/r.git", "git@example.com:o/r.git"),
            ("../other", "../other"),
        ] {
            assert_eq!(without_user(url), told);
        }
    }
}
