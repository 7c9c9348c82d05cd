//! What a plugin may do, and what becomes of one that may not.

use std::sync::Arc;

use airlock_host::Host;
use airlock_host::service::Services;
use serde_json::{Value, json};

use super::Step::{self, Call, Recv, Send, Set};
use super::{fixture, folder, granted, load, module, printed, ran, run, said, text_of};
use crate::http::{Server, ok};
use crate::support::host;

/// What is printed between `<` and `>`, as JSON.
fn values(printed: &str) -> Vec<Value> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix('<')?.strip_suffix('>'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What one command comes to.
fn exec(folder: &std::path::Path, capabilities: &[&str], argument: &Value) -> Value {
    let argument = argument.to_string();
    values(&printed(folder, capabilities, &[Call("exec", &argument)])).remove(0)
}

const SHELL: &[&str] = &["exec=sh -c *"];

#[test]
fn denied_capabilities_fail_gracefully() {
    let at = folder();
    let steps = [
        Call("exec", r#"{"command":"echo hi"}"#),
        Call("store_get", "k"),
        Set(r#"{"key":"k","value":"v"}"#),
        // It is said once.
        Send(r#"{"type":"store","key":"k","value":"v"}"#),
        Call("metadata", r#"["language","env"]"#),
        Call("http", r#"{"url":"http://127.0.0.1:1/"}"#),
        Send(r#"{"type":"exec","id":"1","command":"echo hi"}"#),
        Recv(999),
        Send(r#"{"type":"output","text":"and goes on\n"}"#),
    ];
    let (stdout, stderr) = said(at.path(), &[], &steps);
    let denied = json!({ "code": 126, "stderr": "exec capability not granted", "stdout": "" });
    let http = json!({ "error": "`net=http://127.0.0.1:1` is needed and not granted", "code": "denied" });
    let told = values(&stdout);
    assert_eq!(told[..4], [denied.clone(), Value::Null, json!({}), http]);
    assert!(stdout.contains(&format!(r#""id":"1","value":{denied}"#)), "{stdout}");
    assert!(stdout.ends_with("and goes on\n"));
    assert_eq!(stderr, "warning [probe] `store` is not granted: what it wants kept is not\n");
    // A plugin that was written for it too.
    let (stdout, _, code) = ran("fledge-counter", at.path(), &[], &[]);
    assert_eq!((stdout.as_str(), code), ("count: 1 (not kept)\n", 0));
}

#[test]
fn a_command_is_run_by_the_shell_in_the_project() {
    let at = folder();
    std::fs::create_dir(at.path().join("sub")).unwrap();
    std::fs::write(at.path().join("fledge.toml"), "").unwrap();
    let ran = exec(at.path(), SHELL, &json!({ "command": "echo out; echo err >&2; exit 5" }));
    assert_eq!(ran, json!({ "code": 5, "stderr": "err\n", "stdout": "out\n" }));
    let here = at.path().canonicalize().unwrap();
    let inside = exec(at.path(), SHELL, &json!({ "command": "pwd" }));
    assert_eq!(inside["stdout"], format!("{}\n", here.display()));
    let below = exec(at.path(), SHELL, &json!({ "command": "pwd; echo \"$0 $# $1\"", "cwd": "sub" }));
    assert_eq!(below["stdout"], format!("{}/sub\nsh 2 {}/sub\n", here.display(), here.display()));
    // From a folder below it is the project all the same.
    let inside = exec(&at.path().join("sub"), SHELL, &json!({ "command": "pwd" }));
    assert_eq!(inside["stdout"], format!("{}\n", here.display()));
    let nothing = exec(at.path(), SHELL, &json!({}));
    assert_eq!(nothing, json!({ "code": 0, "stderr": "", "stdout": "" }));
}

#[test]
fn a_commands_folder_stays_in_the_project_and_tells_nothing_of_others() {
    let at = folder();
    std::os::unix::fs::symlink("/", at.path().join("out")).unwrap();
    let escapes =
        json!({ "code": 1, "stderr": "exec cwd escapes project and plugin directory", "stdout": "" });
    for cwd in ["..", "/", "/no/such", "out", "a/../../b", "out/tmp"] {
        assert_eq!(exec(at.path(), SHELL, &json!({ "command": "pwd", "cwd": cwd })), escapes, "{cwd}");
    }
    // Who may run nothing, or only some programs, is told of no folder whether it is there.
    std::fs::create_dir(at.path().join("there")).unwrap();
    for cwd in ["there", "gone"] {
        let told = |capabilities: &[&str]| {
            let told = exec(at.path(), capabilities, &json!({ "command": "echo", "cwd": cwd }));
            (told["code"].clone(), told["stderr"].as_str().unwrap().to_owned())
        };
        assert_eq!(told(&[]), (json!(126), "exec capability not granted".to_owned()));
        let folder = at.path().join(cwd);
        let needed = format!("`fs.read={}` is needed and not granted", folder.display());
        assert_eq!(told(&["exec=echo"]), (json!(126), needed));
    }
    let missing = exec(at.path(), SHELL, &json!({ "command": "pwd", "cwd": "gone" }));
    assert_eq!(missing["stderr"], "exec cwd 'gone' does not exist or is not accessible");
    assert_eq!(missing["code"], 1);
    // What is after `cd` in a folder's name is no command.
    std::fs::create_dir(at.path().join("$(touch made); touch made")).unwrap();
    let odd = exec(at.path(), SHELL, &json!({ "command": "pwd", "cwd": "$(touch made); touch made" }));
    assert_eq!(odd["code"], 0);
    assert!(!at.path().join("made").exists());
}

#[test]
fn programs_without_a_shell_are_run_as_the_words_they_are() {
    let at = folder();
    let echo: &[&str] = &["exec=echo *"];
    let ran = exec(at.path(), echo, &json!({ "command": "echo 'one two' $HOME; touch made | cat" }));
    assert_eq!(ran, json!({ "code": 0, "stderr": "", "stdout": "one two $HOME; touch made | cat\n" }));
    assert!(!at.path().join("made").exists());
    let other = exec(at.path(), echo, &json!({ "command": "touch made" }));
    assert_eq!(other, json!({ "code": 126, "stderr": "exec capability not granted", "stdout": "" }));
    let open = exec(at.path(), echo, &json!({ "command": "echo 'one" }));
    assert_eq!((&open["code"], &open["stderr"]), (&json!(1), &json!("a quote in the command is not closed")));
    let gone = exec(at.path(), &["exec=no-such-program"], &json!({ "command": "no-such-program" }));
    assert_eq!(gone["code"], 127);
}

#[test]
fn a_command_that_takes_too_long_is_124_and_a_signal_is_1() {
    let at = folder();
    let late = exec(at.path(), SHELL, &json!({ "command": "echo begun; sleep 60", "timeout": 1 }));
    assert_eq!(late, json!({ "code": 124, "stderr": "command timed out after 1s", "stdout": "begun\n" }));
    let killed = exec(at.path(), SHELL, &json!({ "command": "kill -9 $$" }));
    assert_eq!(killed["code"], 1);
}

#[test]
fn a_command_gets_the_variables_that_are_granted_and_no_others() {
    let at = folder();
    let names = |capabilities: &[&str]| -> Vec<String> {
        let told = exec(at.path(), capabilities, &json!({ "command": "/usr/bin/env" }));
        let lines = told["stdout"].as_str().unwrap().lines();
        let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned());
        let known = |name: &String| {
            matches!(name.as_str(), "PATH" | "PWD" | "OLDPWD" | "SHLVL" | "_" | "LANG" | "LANGUAGE")
                || name.starts_with("LC_")
        };
        names.filter(|name| !known(name)).collect()
    };
    assert_eq!(names(SHELL), [""; 0]);
    assert_eq!(names(&["exec=sh -c *", "env=CARGO_PKG_NAME"]), ["CARGO_PKG_NAME"]);
}

#[test]
fn what_is_stored_is_there_at_the_next_run_within_its_bounds() {
    let at = folder();
    let host = host();
    let wat = module(&[Call("store_get", "k"), Set(r#"{"key":"k","value":"ü\n"}"#), Call("store_get", "k")]);
    let plugin = load(&host, &wat, granted(at.path(), &["kv"]));
    let told = || values(&text_of(&run(&plugin, &[]).unwrap().value.stdout));
    assert_eq!(told(), [Value::Null, json!("ü\n")]);
    assert_eq!(told(), [json!("ü\n"), json!("ü\n")]);
    let keys: Vec<String> =
        (0..257).map(|at| format!(r#"{{"type":"store","key":"{at}","value":""}}"#)).collect();
    let steps: Vec<_> = keys.iter().map(|text| Send(text)).collect();
    let (_, stderr) = said(at.path(), &["kv"], &steps);
    assert_eq!(stderr, "warning [probe] not kept: there are 256 keys, which is as many as may be\n");
}

#[test]
fn the_counter_counts() {
    let at = folder();
    let plugin = fixture("fledge-counter", at.path(), &["kv=1MiB"]);
    let counted = |args: &[&str]| text_of(&run(&plugin, args).unwrap().value.stdout);
    assert_eq!(
        [counted(&[]), counted(&[]), counted(&["reset"]), counted(&[])],
        ["count: 1\n", "count: 2\n", "count: 0\n", "count: 1\n"]
    );
}

#[test]
fn the_project_is_the_nearest_folder_with_a_mark_and_read_only() {
    let at = folder();
    std::fs::create_dir_all(at.path().join("deep/er")).unwrap();
    std::fs::write(at.path().join("fledge.toml"), "[project]\n").unwrap();
    std::fs::write(at.path().join("bad.txt"), "one \ntwo\n").unwrap();
    let project = &["fs.read=.::/project"];
    let (stdout, _, code) = ran("fledge-lint", &at.path().join("deep/er"), project, &[]);
    assert!(stdout.starts_with("bad.txt:1: ") && code == 1, "{stdout}");
    let both = &["fs.read=.::/project", "fs.write=@::/plugin"];
    let (stdout, ..) = ran("fledge-envcheck", at.path(), both, &[]);
    let create: Vec<&str> = stdout.lines().filter(|line| line.starts_with("create ")).collect();
    assert!(create[0].starts_with("create /project/x: ") && !create[0].ends_with("ok"), "{stdout}");
    assert_eq!(create[1], "create /plugin/x: ok");
    // Without it there is nothing, and a plugin that needs it says so.
    let (_, stderr, code) = ran("fledge-lint", at.path(), &[], &[]);
    assert!(stderr.starts_with("error [fledge-lint] ") && code == 2, "{stderr}");
}

#[test]
fn a_plugins_own_folder_is_kept_beside_nothing_of_its_own() {
    let at = folder();
    let (stdout, ..) = ran("fledge-envcheck", at.path(), &["fs.write=@::/plugin"], &[]);
    assert!(stdout.contains("list /plugin: 0 entries"), "{stdout}");
    assert!(stdout.contains("list /project: No such file"), "{stdout}");
    assert!(at.path().join("own").is_dir());
}

#[test]
fn clock_random_and_variables_come_with_their_grants_alone() {
    let at = folder();
    let look = |capabilities: &[&str], key: &str| {
        let (stdout, ..) = ran("fledge-envcheck", at.path(), capabilities, &[]);
        let lines: Vec<String> =
            stdout.lines().filter(|line| line.starts_with(key)).map(str::to_owned).collect();
        lines
    };
    assert_eq!(look(&[], "args"), ["args: 0"]);
    assert_eq!(look(&[], "env"), [""; 0]);
    assert_eq!(look(&[], "time"), look(&[], "time"));
    assert_ne!(look(&["clock"], "time"), look(&["clock"], "time"));
    assert_eq!(look(&[], "random"), look(&[], "random"));
    assert_ne!(look(&["random"], "random"), look(&["random"], "random"));
}

#[test]
fn a_request_goes_to_hosts_that_are_granted() {
    let at = folder();
    let server = Server::saying(ok("hello"));
    let origin = format!("net=http://127.0.0.1:{}", server.port);
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let argument =
        json!({ "method": "POST", "url": url, "headers": { "x-one": "1" }, "body": "two" }).to_string();
    let told = values(&printed(at.path(), &[&origin], &[Call("http", &argument)]));
    assert_eq!((&told[0]["status"], &told[0]["body"]), (&json!(200), &json!("hello")));
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("POST /x HTTP/1.1\r\n") && asked.ends_with("\r\n\r\ntwo"), "{asked}");
    assert!(asked.contains("x-one: 1\r\n"), "{asked}");
    // Any public host is none of this machine.
    let told = values(&printed(at.path(), &["net=*"], &[Call("http", &argument)]));
    assert_eq!(told[0]["code"], "denied");
    let told = values(&printed(at.path(), &["net=*"], &[Call("http", r#"{"url":"not a url"}"#)]));
    assert_eq!(told[0]["code"], "invalid");
    let message = json!({ "type": "http", "id": "h", "url": url }).to_string();
    let told = printed(at.path(), &[&origin], &[Recv(9999), Send(&message), Recv(9999)]);
    assert!(told.contains(r#"{"type":"response","id":"h","value":{"status":200,"#), "{told}");
}

#[test]
fn a_body_that_is_no_text_comes_in_base64() {
    let at = folder();
    let server = Server::saying(
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\nx-b: 2\r\nx-a: 3\r\ncontent-length: 3\r\n\r\n\xff\x00\xfe".to_vec(),
    );
    let origin = format!("net=http://127.0.0.1:{}", server.port);
    let argument = json!({ "url": format!("http://127.0.0.1:{}/", server.port) }).to_string();
    let told = values(&printed(at.path(), &[&origin], &[Call("http", &argument)]));
    assert_eq!((&told[0]["body_base64"], told[0].get("body")), (&json!("/wD+"), None));
    assert_eq!((&told[0]["headers"]["x-a"], &told[0]["headers"]["x-b"]), (&json!(["1", "3"]), &json!("2")));
}

#[test]
fn no_git_is_started_but_for_metadata_that_is_granted_and_asked_for() {
    let (at, programs) = (crate::metadata::repository(), folder());
    let (facts, mark) =
        crate::metadata::marking(programs.path(), "echo '# branch.oid 1'; echo '# branch.head main'");
    let mut services = Services::default();
    services.metadata = Arc::new(facts);
    let host = Host::builder().slots(0).services(services).build().unwrap();
    let runs = |capabilities: &[&str], steps: &[Step<'_>]| {
        let plugin = load(&host, &module(steps), granted(at.path(), capabilities));
        run(&plugin, &[]).unwrap();
        std::fs::remove_file(&mark).is_ok()
    };
    assert!(!runs(&[], &[Recv(9999), Call("metadata", r#"["git_log"]"#)]), "it is not granted");
    assert!(!runs(&["metadata"], &[Send(r#"{"type":"output","text":"x"}"#)]), "nobody asks");
    assert!(
        !runs(&["metadata"], &[Call("metadata", r#"["language"]"#)]),
        "what is asked for is no affair of git's"
    );
    assert!(runs(&["metadata"], &[Recv(9999)]), "init has it");
}
