//! A linter for the text files of a project: a fledge plugin on `airlock-sdk`.
//!
//! Reports what [`rules`] finds as `path:line: message`, for the whole project or for the
//! paths it was given. The exit code is 0 when there is nothing to report, 1 when there is,
//! and 2 when it cannot look.

mod files;
mod rules;

use std::fs;
use std::path::Path;

use airlock_sdk::fledge::{Error, Level, Plugin, Progress, Transport};

/// Where a plugin finds the project.
const PROJECT: &str = "/project";

/// How many files there are from one progress message to the next.
const STEP: usize = 50;

fn main() -> Result<(), Error> {
    let mut plugin = Plugin::start()?;
    let code = lint(&mut plugin, Path::new(PROJECT))?;
    plugin.exit(code)
}

/// Lints the project in `root`; gives the exit code.
fn lint<T: Transport>(plugin: &mut Plugin<T>, root: &Path) -> Result<i32, Error> {
    if !root.is_dir() {
        let reason = format!("there is no `{}`: `filesystem = \"project\"` is needed", root.display());
        plugin.log(Level::Error, &reason)?;
        return Ok(2);
    }
    let found = match files::find(root, plugin.args()) {
        Ok(found) => found,
        Err(reason) => {
            plugin.log(Level::Error, &reason)?;
            return Ok(2);
        }
    };
    for folder in &found.unreadable {
        plugin.log(Level::Warn, &format!("`{}` cannot be read", folder.display()))?;
    }

    let total = found.files.len();
    let (mut linted, mut problems) = (0, 0);
    for (index, path) in found.files.iter().enumerate() {
        if index % STEP == 0 {
            plugin.progress(Progress::new("linting").at(index as u64, total as u64))?;
        }
        let Ok(bytes) = fs::read(root.join(path)) else {
            plugin.log(Level::Warn, &format!("`{}` cannot be read", path.display()))?;
            continue;
        };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        linted += 1;
        let mut report = String::new();
        for problem in rules::check(&text) {
            problems += 1;
            report.push_str(&format!("{}:{}: {}\n", path.display(), problem.line, problem.message));
        }
        if !report.is_empty() {
            plugin.output(&report)?;
        }
    }
    plugin.progress(Progress::new("linting").at(total as u64, total as u64))?;
    plugin.progress(Progress::done())?;

    let count = if problems == 0 { "no".to_owned() } else { problems.to_string() };
    plugin.output(&format!("{count} problems in {linted} files\n"))?;
    Ok(i32::from(problems > 0))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use airlock_sdk::fledge::testing::{self, Script};

    use super::*;

    /// A project that is deleted afterwards.
    struct Project(PathBuf);

    impl Project {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("fledge-lint-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("it is below the root"))
                    .expect("a folder can be made");
                fs::write(path, text).expect("a file can be written");
            }
            Project(root)
        }

        fn lint(&self, args: &[&str]) -> (i32, Plugin<Script>) {
            let script = Script::new(testing::init(args.iter().copied()));
            let mut plugin = Plugin::connect(script).expect("the script begins as it has to");
            let code = lint(&mut plugin, &self.0).expect("a script takes every message");
            (code, plugin)
        }
    }

    impl Drop for Project {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn problems_come_by_path_and_line() {
        let big = "x \n".repeat(400_000);
        let project = Project::new(
            "paths",
            &[
                ("src/b.txt", "fine\nnot fine \n\tnor this"),
                ("src/a.txt", "fine\n"),
                ("a.txt", "\t\n"),
                ("target/x.txt", " \n"),
                (".git/x.txt", " \n"),
                ("web/node_modules/x.txt", " \n"),
                ("big.txt", &big),
            ],
        );
        fs::write(project.0.join("bytes"), b"\xff \n").expect("a file can be written");
        let (code, plugin) = project.lint(&[]);
        let expected = "a.txt:1: trailing whitespace\nsrc/b.txt:2: trailing whitespace\n\
            src/b.txt:3: tab before the first word\nsrc/b.txt:3: no newline at the end\n4 problems in 3 files\n";
        assert_eq!(plugin.transport().output(), expected);
        assert_eq!(code, 1);
        let sent = plugin.transport().sent();
        assert_eq!(sent[0], r#"{"type":"progress","message":"linting","current":0,"total":4}"#);
        assert_eq!(sent[sent.len() - 2], r#"{"type":"progress","done":true}"#);

        let (code, plugin) = project.lint(&["src/a.txt", "./src/a.txt"]);
        assert_eq!((code, plugin.transport().output().as_str()), (0, "no problems in 1 files\n"));
        let (code, plugin) = project.lint(&["target/"]);
        let expected = "target/x.txt:1: trailing whitespace\n1 problems in 1 files\n";
        assert_eq!((code, plugin.transport().output().as_str()), (1, expected));
    }

    #[test]
    fn what_cannot_be_looked_at_is_said() {
        let project = Project::new("wrong", &[("a.txt", "a\n")]);
        for (path, reason) in [
            ("b.txt", "there is no `b.txt` in the project"),
            ("../a.txt", "`../a.txt` is not below the project"),
            ("/etc", "`/etc` is not below the project"),
        ] {
            let (code, plugin) = project.lint(&["a.txt", path]);
            assert_eq!(plugin.transport().logs(), [("error".to_owned(), reason.to_owned())]);
            assert_eq!((code, plugin.transport().output().as_str()), (2, ""));
        }
        let nowhere = Project(project.0.join("nowhere"));
        let (code, plugin) = nowhere.lint(&[]);
        assert_eq!(code, 2);
        let [(level, message)] = &plugin.transport().logs()[..] else { panic!("{:?}", plugin.transport()) };
        assert_eq!(level, "error");
        assert!(message.ends_with("`: `filesystem = \"project\"` is needed"), "{message}");
    }
}
