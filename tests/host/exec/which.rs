//! Which program is run.

use std::path::Path;
use std::sync::Arc;

use airlock_host::service::exec::{Programs, SearchPath};
use airlock_host::{
    Approval, Exec, Grant, GrantStore, Host, Identity, LimitKind, LoadOptions, MemoryGrants, Plugin,
    ProgramRun, ServiceError,
};

use super::{folder, script, shell, words_of};
use crate::gated::{Call, denied};
use crate::support::{Mode, host};

#[test]
fn exec_shell_metacharacters_are_text() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *"]);
    let text = "a; touch b $(touch c) `touch d` | e > f && g * ~ $HOME";
    assert_eq!(call.text(&["echo", text]), format!("{text}\n"));
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 0);
}

#[test]
fn exec_without_grant_is_denied() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *", "fs.read=."]);
    assert_eq!(call.run(words_of(&["ls"])), Err(denied("exec=ls")));
    assert_eq!(call.run(words_of(&["/usr/bin/ls"])), Err(denied("exec=/usr/bin/ls")));
    assert_eq!(call.run(words_of(&["/nowhere/at/all"])), Err(denied("exec=/nowhere/at/all")));
    assert_eq!(call.run(words_of(&["ECHO", "x"])), Err(denied("exec=ECHO")));
}

#[test]
fn exec_a_permit_for_one_program_runs_no_other() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *"]);
    let permit = call.permit(words_of(&["echo", "x"]).need()).unwrap();
    let (programs, other) = (Programs::new(), words_of(&["ls"]));
    let error = Mode::NoRuntime.wait(programs.run(&permit, &other, &mut |_, _| Ok(())));
    assert_eq!(error, Err(denied("exec=ls")));
}

#[test]
fn exec_sh_only_when_granted() {
    let at = folder();
    let without = Call::new(at.path(), &["exec=echo *"]);
    assert_eq!(without.run(shell("echo x")), Err(denied("exec=sh")));
    let with = Call::new(at.path(), &["exec=sh -c 'echo x'"]);
    assert_eq!(with.text(&["sh", "-c", "echo x"]), "x\n");
    assert_eq!(with.run(shell("echo y")), Err(denied("exec=sh")));
}

#[test]
fn exec_arguments_by_pattern() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo say a*"]);
    assert_eq!(call.text(&["echo", "say", "abc"]), "say abc\n");
    for words in [&["echo", "say"][..], &["echo", "say", "b"], &["echo", "say", "a", "c"], &["echo"]] {
        assert_eq!(call.run(words_of(words)), Err(denied("exec=echo")), "{words:?}");
    }
}

#[test]
fn exec_a_path_and_a_name_are_one_program() {
    let at = folder();
    let echo = SearchPath::of_process().find("echo").unwrap();
    let by_name = Call::new(at.path(), &["exec=echo *"]);
    assert_eq!(by_name.text(&[echo.to_str().unwrap(), "x"]), "x\n");
    // Through a link to its folder it is the same one, on either side.
    let link = at.path().join("link");
    std::os::unix::fs::symlink(echo.parent().unwrap(), &link).unwrap();
    let linked = link.join("echo").to_str().unwrap().to_owned();
    assert_eq!(by_name.text(&[&linked, "x"]), "x\n");
    let by_link = Call::new(at.path(), &[&format!("exec={linked} *")]);
    assert_eq!(by_link.text(&[&linked, "x"]), "x\n");
    assert_eq!(by_link.text(&[echo.to_str().unwrap(), "x"]), "x\n");
}

#[test]
fn exec_what_is_no_program_makes_no_sense() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=*"]);
    for program in ["", ".", "..", "./sh", "a/b", "/usr/../bin/sh", "/bin//sh", "/bin/", "/", "sh\0x"] {
        let result = call.run(words_of(&[program]));
        assert!(matches!(result, Err(ServiceError::Invalid(_))), "{program:?}: {result:?}");
    }
    let args = ProgramRun { args: vec!["a\0b".to_owned()], ..words_of(&["echo"]) };
    assert!(matches!(call.run(args), Err(ServiceError::Invalid(_))));
    let missing = call.run(words_of(&["no-such-program"])).unwrap_err();
    assert_eq!(missing, ServiceError::NotFound("program `no-such-program`".to_owned()));
    // A folder and a file that is not executable are no programs.
    std::fs::write(at.path().join("text"), "x").unwrap();
    for path in [at.path().to_owned(), at.path().join("text")] {
        let path = path.to_str().unwrap();
        let missing = ServiceError::NotFound(format!("program `{path}`"));
        assert_eq!(call.run(words_of(&[path])), Err(missing));
    }
}

#[test]
fn exec_a_program_of_the_same_name_elsewhere_is_not_run() {
    let (at, first, last) = (folder(), folder(), folder());
    script(at.path(), "tool", "echo from the working folder");
    script(last.path(), "tool", "echo the right one");
    let path = format!(".::{}:{}", first.path().display(), last.path().display());
    let call = Call::on(at.path(), &["exec=tool"], SearchPath::new(path));
    // It was looked up when the policy was decided: what comes before it later is another.
    script(first.path(), "tool", "echo put there later");
    assert_eq!(call.text(&["tool"]), "the right one\n");
    assert_eq!(
        call.run(words_of(&[first.path().join("tool").to_str().unwrap()])).unwrap_err().code(),
        "denied"
    );
}

#[test]
fn exec_a_name_that_stood_for_nothing_stands_for_nothing_later() {
    let (at, on_path) = (folder(), folder());
    let call = Call::on(at.path(), &["exec=tool"], SearchPath::new(on_path.path()));
    script(on_path.path(), "tool", "echo put there later");
    assert_eq!(call.run(words_of(&["tool"])), Err(ServiceError::NotFound("program `tool`".to_owned())));
    let any = Call::on(at.path(), &["exec=*"], SearchPath::new(on_path.path()));
    assert_eq!(any.text(&["tool"]), "put there later\n");
}

#[test]
fn exec_what_the_plugin_could_have_written_is_not_run() {
    let (at, on_path) = (folder(), folder());
    let out = at.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let own = script(&out, "own", "echo own");
    let own = own.to_str().unwrap();
    std::os::unix::fs::symlink(own, on_path.path().join("tool")).unwrap();
    let search = SearchPath::new(on_path.path());
    let grants = ["fs.write=out", "exec=tool", &format!("exec={own}")];
    for program in ["tool", own] {
        let error = Call::on(at.path(), &grants, search.clone()).run(words_of(&[program])).unwrap_err();
        let reason =
            format!("`{program}` is not run: the plugin may write to it, so it may be the plugin's own");
        assert_eq!(error, ServiceError::Failed(reason));
        assert_eq!(Call::on(at.path(), &grants[1..], search.clone()).text(&[program]), "own\n");
    }
    // Nor is it found by programs that are run.
    let path = format!("{}:{}:/usr/bin:/bin", out.display(), on_path.path().display());
    let call = Call::on(at.path(), &["fs.write=out", "exec=sh *"], SearchPath::new(path));
    assert_eq!(
        call.text(&["sh", "-c", "echo $PATH"]),
        format!("{}:/usr/bin:/bin\n", on_path.path().display())
    );
}

#[test]
fn exec_more_programs_than_a_call_may_run() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=true"]).limited(LimitKind::Programs, 2);
    assert_eq!(call.text(&["true"]), "");
    assert_eq!(call.text(&["true"]), "");
    let error = call.run(words_of(&["true"])).unwrap_err();
    assert_eq!(error, ServiceError::Limit { limit: LimitKind::Programs, maximum: 2 });
}

/// A plugin whose manifest asks for these programs.
fn asking(programs: &str) -> tempfile::TempDir {
    let at = folder();
    let manifest =
        format!(r#"{{"name":"runner","entryPoint":"a.wasm","permissions":{{"process":{programs}}}}}"#);
    std::fs::write(at.path().join("cortex.json"), manifest).unwrap();
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;
    std::fs::write(at.path().join("a.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    at
}

/// What is in force for it, and which program goes by the name `sh`.
fn in_force(plugin: &Plugin) -> (Vec<String>, String) {
    let policy = plugin.policy();
    (policy.allowed().map(ToString::to_string).collect(), policy.program("sh").to_owned())
}

#[test]
fn exec_names_are_looked_up_when_a_plugin_is_loaded() {
    let sh = SearchPath::of_process().find("sh").unwrap().to_str().unwrap().to_owned();
    let asking = asking(r#"["sh -c *"]"#);
    let load = |options: LoadOptions| {
        in_force(&host().load_blocking(asking.path(), options.allow_all_requested()).unwrap())
    };
    assert_eq!(load(LoadOptions::new()), (vec![format!("exec={sh} -c *")], sh.clone()));
    // A ceiling speaks of the same program, by whatever way it says it.
    let at = folder();
    let link = at.path().join("link");
    std::os::unix::fs::symlink(Path::new(&sh).parent().unwrap(), &link).unwrap();
    for denied in ["exec=sh *", &format!("exec={}/sh *", link.display())] {
        let denied = LoadOptions::new().deny(denied.parse().unwrap());
        assert_eq!(load(denied).0, [""; 0]);
    }
}

#[test]
fn exec_what_was_granted_of_any_program_is_looked_up_too() {
    let sh = SearchPath::of_process().find("sh").unwrap().to_str().unwrap().to_owned();
    let grants = Arc::new(MemoryGrants::new());
    let host = Host::builder().approval(Approval::new(grants.clone())).build().unwrap();
    let asking = asking(r#"["*"]"#);
    let plugin = host.load_blocking(asking.path(), LoadOptions::new()).unwrap();
    assert_eq!(in_force(&plugin), (Vec::new(), "sh".to_owned()));
    let identity = Identity { name: "runner".to_owned(), digest: plugin.digest() };
    grants.decide(&identity, &[Grant::always("exec=sh -c *".parse().unwrap())], "test").unwrap();
    assert_eq!(in_force(&plugin), (vec![format!("exec={sh} -c *")], sh));
}
