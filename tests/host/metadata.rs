//! What a plugin may know of the project that it is run in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use airlock_host::service::ProjectFacts;
use airlock_host::service::exec::SearchPath;
use airlock_host::{CapabilityKind, Metadata, Need, ServiceError};
use serde_json::{Map, Value, json};

use crate::exec::script;
use crate::gated::{Call, denied};
use crate::support::Mode;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn facts_with(facts: &ProjectFacts, call: &Call, keys: &[&str]) -> Result<Map<String, Value>, ServiceError> {
    let permit = call.permit(Need::Kind(CapabilityKind::Metadata))?;
    Mode::NoRuntime.wait(facts.facts(&permit, keys))
}

fn facts(at: &Path, granted: &[&str], keys: &[&str]) -> Value {
    let call = Call::new(at, granted);
    Value::Object(facts_with(&ProjectFacts::new(), &call, keys).unwrap())
}

/// Git as a person uses it, without what this machine's users have set.
fn git(at: &Path, args: &[&str]) -> String {
    git_fed(at, args, "")
}

fn git_fed(at: &Path, args: &[&str], input: &str) -> String {
    let mut command = Command::new("git");
    command.current_dir(at).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@example.com");
        command.env(format!("GIT_{role}_DATE"), "2026-01-02T03:04:05Z");
    }
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A repository with a commit, a tag, a changed file and a new one.
pub(crate) fn repository() -> tempfile::TempDir {
    let at = folder();
    git(at.path(), &["init", "--quiet", "."]);
    std::fs::write(at.path().join("kept"), "1").unwrap();
    git(at.path(), &["add", "kept"]);
    git(at.path(), &["commit", "--quiet", "--message", "Begin"]);
    git(at.path(), &["tag", "v1"]);
    // As long as before, so that git has to read it, through filters where there are some.
    std::fs::write(at.path().join("kept"), "2").unwrap();
    std::fs::write(at.path().join("new"), "").unwrap();
    at
}

/// A search path with a git that leaves a mark, and the mark.
pub(crate) fn marking(at: &Path, more: &str) -> (ProjectFacts, PathBuf) {
    let mark = at.join("mark");
    script(at, "git", &format!("echo run >> {}; {more}", mark.display()));
    (ProjectFacts::new().search(SearchPath::new(at)), mark)
}

const GIT: [&str; 3] = ["git_tags", "git_status", "git_log"];

#[test]
fn only_what_is_asked_for_is_told_and_what_nobody_knows_is_null() {
    let at = folder();
    std::fs::write(at.path().join("Cargo.toml"), "").unwrap();
    std::fs::write(at.path().join("fledge.toml"), "[tasks]\nbuild = 'make'\n").unwrap();
    let told = facts(at.path(), &["metadata"], &["language", "fledge_config", "secret_plans", "language"]);
    let expected = json!({
        "language": "rust",
        "fledge_config": { "tasks": { "build": "make" } },
        "secret_plans": null,
    });
    assert_eq!(told, expected);
    let name = at.path().file_name().unwrap().to_str().unwrap();
    let project = json!({ "project": { "name": name, "root": at.path() } });
    assert_eq!(facts(at.path(), &["metadata"], &["project"]), project);
    let nothing = facts(folder().path(), &["metadata"], &["language", "fledge_config"]);
    assert_eq!(nothing, json!({ "language": "generic", "fledge_config": null }));
}

#[test]
fn a_plugin_that_is_run_nowhere_is_in_no_project() {
    let keys = ["project", "language", "fledge_config", "git_log"];
    let nothing = json!({ "project": null, "language": null, "fledge_config": null, "git_log": null });
    for nowhere in ["", "."] {
        assert_eq!(facts(Path::new(nowhere), &["metadata"], &keys), nothing);
    }
}

#[test]
fn nothing_is_told_without_a_grant() {
    let call = Call::new(Path::new("/w"), &["fs.read=.", "env=*"]);
    assert_eq!(facts_with(&ProjectFacts::new(), &call, &["project"]), Err(denied("metadata")));
}

#[test]
fn env_unlisted_only_granted_variables_are_told() {
    let at = folder();
    let told = |granted: &[&str]| facts(at.path(), granted, &["env"])["env"].clone();
    assert_eq!(told(&["metadata"]), json!({}));
    assert_eq!(told(&["metadata", "env=NO_SUCH_VARIABLE"]), json!({}));
    let name = "CARGO_MANIFEST_DIR";
    let value = std::env::var(name).unwrap();
    assert_eq!(told(&["metadata", "env=CARGO_MANIFEST_DIR"]), json!({ name: value }));
}

#[test]
fn git_is_asked_about_the_repository() {
    let at = repository();
    let told = facts(at.path(), &["metadata"], &GIT);
    assert_eq!(told["git_tags"], json!(["v1"]));
    assert_eq!(told["git_status"], json!(" M kept\n?? new"));
    let log = told["git_log"].as_str().unwrap();
    assert!(log.ends_with(" Begin") && log.lines().count() == 1, "{log}");
    let elsewhere = facts(folder().path(), &["metadata"], &GIT);
    assert_eq!(elsewhere, json!({ "git_tags": null, "git_status": null, "git_log": null }));
}

#[test]
fn git_says_where_it_is_and_where_it_came_from() {
    let at = repository();
    let git = |args: &[&str]| {
        assert!(
            std::process::Command::new("git").arg("-C").arg(at.path()).args(args).status().unwrap().success()
        );
    };
    let told = || facts(at.path(), &["metadata"], &["git"])["git"].clone();
    git(&["checkout", "-q", "-b", "feature/one"]);
    let clean = json!({ "branch": "feature/one", "dirty": true, "remote": "origin", "remote_url": null });
    assert_eq!(told(), clean);
    git(&["remote", "add", "upstream", "git@example.com:o/r.git"]);
    git(&["remote", "add", "fork", "https://me:secret@example.com/o/r.git"]);
    git(&["clean", "-qfd"]);
    git(&["checkout", "-q", "."]);
    let url = "https://example.com/o/r.git";
    let named = json!({ "branch": "feature/one", "dirty": false, "remote": "fork", "remote_url": url });
    assert_eq!(told(), named);
    git(&["checkout", "-q", "--detach"]);
    assert_eq!(told()["branch"], "HEAD");
    let new = folder();
    assert!(
        std::process::Command::new("git").args(["init", "-q"]).arg(new.path()).status().unwrap().success()
    );
    assert_eq!(facts(new.path(), &["metadata"], &["git"]), json!({ "git": null }));
}

#[test]
fn no_git_is_started_that_nobody_asked_for() {
    let (at, programs) = (repository(), folder());
    let (project, mark) = marking(programs.path(), "echo said");
    let call = Call::new(at.path(), &["metadata"]);
    let others = ["project", "language", "env", "fledge_config", "git_remote"];
    facts_with(&project, &call, &others).unwrap();
    assert!(!mark.exists());
    let told = facts_with(&project, &call, &["git_log", "git_log"]).unwrap();
    assert_eq!(Value::Object(told), json!({ "git_log": "said" }));
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "run\n");
}

#[test]
fn git_gets_nothing_of_this_process() {
    let (at, programs) = (repository(), folder());
    let (project, _) = marking(programs.path(), "/usr/bin/env");
    let call = Call::new(at.path(), &["metadata"]);
    let told = facts_with(&project, &call, &["git_log"]).unwrap();
    for line in told["git_log"].as_str().unwrap().lines() {
        let name = line.split('=').next().unwrap();
        let known = matches!(name, "PATH" | "LC_ALL" | "PWD" | "OLDPWD" | "SHLVL" | "_");
        assert!(known || name.starts_with("GIT_"), "{line}");
    }
}

#[test]
fn programs_that_a_repository_names_are_not_started() {
    let tools = folder();
    let mark = tools.path().join("mark");
    let evil = script(tools.path(), "evil", &format!("echo run >> {}; cat", mark.display()));
    let hooks = tools.path().join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    script(&hooks, "post-index-change", &format!("echo hook >> {}", mark.display()));
    let (evil, hooks) = (evil.to_str().unwrap(), hooks.to_str().unwrap());
    for settings in [
        [("core.fsmonitor", evil)].as_slice(),
        &[("core.hooksPath", hooks)],
        &[("filter.a.clean", evil)],
        &[("filter.a.clean", evil), ("filter.a.required", "true")],
        &[("filter.a.process", evil)],
        &[("log.showSignature", "true"), ("gpg.program", evil)],
    ] {
        let at = repository();
        std::fs::write(at.path().join(".git/info/attributes"), "* filter=a\n").unwrap();
        sign(at.path());
        for (name, value) in settings {
            git(at.path(), &["config", name, value]);
        }
        let told = facts(at.path(), &["metadata"], &GIT);
        assert_eq!(told["git_status"], json!(" M kept\n?? new"), "{settings:?}");
        assert!(told["git_log"].as_str().unwrap().ends_with(" Begin"));
        assert!(!mark.exists(), "{settings:?}");
        // Git starts them when nobody keeps it from it.
        for command in ["status", "log"] {
            let _ = Command::new("git").current_dir(at.path()).arg(command).output().unwrap();
        }
        assert!(mark.exists(), "{settings:?}");
        std::fs::remove_file(&mark).unwrap();
    }
}

/// Puts what looks like a signature into the last commit.
fn sign(at: &Path) {
    let commit = git(at, &["cat-file", "commit", "HEAD"]);
    let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n none\n -----END PGP SIGNATURE-----";
    let signed = commit.replacen("\n\n", &format!("\n{signature}\n\n"), 1);
    let id = git_fed(at, &["hash-object", "-t", "commit", "-w", "--stdin"], &signed);
    git(at, &["update-ref", "HEAD", id.trim()]);
}

#[test]
fn a_filter_that_cannot_be_taken_away_is_not_run_either() {
    let (at, tools) = (repository(), folder());
    let mark = tools.path().join("mark");
    let evil = script(tools.path(), "evil", &format!("echo $0 >> {}; cat", mark.display()));
    git(at.path(), &["config", "filter.a=b.clean", evil.to_str().unwrap()]);
    std::fs::write(at.path().join(".git/info/attributes"), "kept filter=a=b\n").unwrap();
    assert_eq!(facts(at.path(), &["metadata"], &["git_status"])["git_status"], Value::Null);
    assert!(!mark.exists());
    git(at.path(), &["status"]);
    assert!(mark.exists());
}

#[test]
fn a_repository_that_the_plugin_may_write_tells_it_nothing() {
    let at = repository();
    std::fs::create_dir_all(at.path().join("out/deep")).unwrap();
    let nothing = json!({ "git_tags": null, "git_status": null, "git_log": null });
    for writes in ["fs.write=.", "fs.write=/", "fs.write=.git"] {
        assert_eq!(facts(at.path(), &["metadata", writes], &GIT)["git_log"], nothing["git_log"], "{writes}");
    }
    assert!(facts(at.path(), &["metadata", "fs.write=out"], &GIT)["git_log"].is_string());
    // From a folder of its own it could lead to any repository.
    assert_eq!(
        facts(&at.path().join("out"), &["metadata", "fs.write=deep"], &GIT)["git_tags"],
        json!(["v1"])
    );
    assert_eq!(facts(&at.path().join("out"), &["metadata", "fs.write=."], &GIT), nothing);
}

#[test]
fn a_git_that_writes_without_end_or_fails_says_nothing() {
    let (at, programs) = (repository(), folder());
    let call = || Call::new(at.path(), &["metadata"]);
    for more in ["exec /usr/bin/yes", "echo text; exit 3", "kill -9 $$"] {
        let (project, _) = marking(programs.path(), more);
        let told = facts_with(&project, &call(), &["git_log"]).unwrap();
        assert_eq!(told["git_log"], Value::Null, "{more}");
    }
}

#[test]
fn slow_host_call_a_git_that_never_ends_is_cut_at_the_deadline() {
    let (at, programs) = (repository(), folder());
    let (project, _) = marking(programs.path(), "exec /usr/bin/sleep 1000");
    let call = Call::new(at.path(), &["metadata"]).lasting(Duration::from_millis(100));
    assert_eq!(facts_with(&project, &call, &["git_log"]), Err(ServiceError::Ended));
}
