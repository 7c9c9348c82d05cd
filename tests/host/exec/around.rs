//! What a program finds around it.

use std::path::Path;

use airlock_host::{ProgramRun, ServiceError};

use super::{folder, words_of};
use crate::gated::{Call, denied};

#[test]
fn exec_inherits_no_environment() {
    let at = folder();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to inherit");
    let call = Call::new(at.path(), &["exec=env"]);
    let text = call.text(&["env"]);
    for line in text.lines() {
        let name = line.split('=').next().unwrap();
        assert!(matches!(name, "PATH" | "LANG" | "LANGUAGE") || name.starts_with("LC_"), "{line}");
    }
    assert!(text.contains("PATH=/"));
}

#[test]
fn exec_a_variable_needs_a_grant() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=env", "env=MODE", "env=APP_*"]);
    let run = |name: &str| {
        let env = [(name.to_owned(), "set by the guest".to_owned())].into();
        call.run(ProgramRun { env, ..words_of(&["env"]) })
    };
    for name in ["MODE", "APP_X"] {
        let text = String::from_utf8(run(name).unwrap().stdout).unwrap();
        assert!(text.contains(&format!("{name}=set by the guest\n")), "{text}");
    }
    for name in ["LD_PRELOAD", "PATH", "GIT_SSH_COMMAND", "BASH_ENV", "MODEL"] {
        assert_eq!(run(name), Err(denied(&format!("env={name}"))), "{name}");
    }
    for name in ["", "A=B", "A\0"] {
        assert!(matches!(run(name), Err(ServiceError::Invalid(_))), "{name:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn exec_inherits_no_open_files() {
    let at = folder();
    let _open = std::fs::File::open(at.path()).unwrap();
    let call = Call::new(at.path(), &["exec=ls *"]);
    let text = call.text(&["ls", "/proc/self/fd"]);
    // A process that was itself started with more hands that on, as it does to any program.
    let handed_on = |name: &str| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
        flags.is_some_and(|flags| i64::from_str_radix(flags, 8).is_ok_and(|flags| flags & 0o2_000_000 == 0))
    };
    let more: Vec<&str> = text.lines().filter(|name| name.len() > 1 || *name > "2").collect();
    let own: Vec<&&str> = more.iter().filter(|name| !handed_on(name)).collect();
    // The one is what it reads the others from.
    assert_eq!(own.len(), 1, "{text}");
}

#[test]
fn exec_working_folder_is_the_plugins_own_or_one_it_may_read() {
    let at = folder();
    let elsewhere = folder();
    for name in ["in/below", "out", "secret"] {
        std::fs::create_dir_all(at.path().join(name)).unwrap();
    }
    let real = |path: &Path| format!("{}\n", path.canonicalize().unwrap().display());
    let also = format!("fs.read={}", elsewhere.path().display());
    let call = Call::new(at.path(), &["exec=pwd *", "fs.read=in", "fs.write=out", &also]);
    let pwd = |folder: &Path| {
        let run = ProgramRun { folder: Some(folder.to_owned()), ..words_of(&["pwd", "-P"]) };
        call.run(run).map(|output| String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(call.text(&["pwd", "-P"]), real(at.path()));
    for inside in [".", "in", "in/below", "out", "in/../in", "in/.."] {
        assert_eq!(pwd(inside.as_ref()), Ok(real(&at.path().join(inside))), "{inside}");
    }
    for inside in [at.path().join("in"), elsewhere.path().to_owned()] {
        assert_eq!(pwd(&inside), Ok(real(&inside)));
    }
    for outside in ["secret", "in/../secret", "..", "/", "/usr"] {
        let error = pwd(outside.as_ref()).unwrap_err();
        assert!(matches!(&error, ServiceError::Denied(_)), "{outside}: {error}");
    }
}

#[test]
fn exec_working_folder_that_a_link_leads_to_has_to_be_granted() {
    let (at, elsewhere) = (folder(), folder());
    let inside = at.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), inside.join("link")).unwrap();
    std::fs::create_dir(elsewhere.path().join("below")).unwrap();
    let call = Call::new(at.path(), &["exec=pwd", "fs.read=in"]);
    for path in ["in/link", "in/link/below", "in/link/.."] {
        let run = ProgramRun { folder: Some(path.into()), ..words_of(&["pwd"]) };
        let error = call.run(run).unwrap_err();
        assert_eq!(error.code(), "denied", "{path}: {error}");
        assert!(!error.to_string().contains(elsewhere.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn exec_working_folder_that_is_missing_is_said() {
    let at = folder();
    std::fs::write(at.path().join("file"), "x").unwrap();
    let call = Call::new(at.path(), &["exec=pwd", "fs.read=."]);
    for path in ["gone", "file"] {
        let run = ProgramRun { folder: Some(path.into()), ..words_of(&["pwd"]) };
        assert_eq!(call.run(run), Err(ServiceError::NotFound(format!("folder `{path}`"))));
    }
    let nowhere = Call::new(Path::new(""), &["exec=pwd"]);
    assert_eq!(nowhere.run(words_of(&["pwd"])).unwrap_err().code(), "not-found");
}
