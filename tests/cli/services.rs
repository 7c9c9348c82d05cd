//! What plugins reach through the command: what they keep, how they are configured, secrets.

use std::io::Write as _;
use std::process::Stdio;

use crate::plugins::{Place, Source};
use crate::support::describe;

const GUEST: &str = include_str!("../guests/services.wat");

/// A home with a plugin file in it and this for an operator's file.
fn place(config: &str) -> (Place, String) {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    std::fs::write(place.home().join("airlock.toml"), config).unwrap();
    let guest = place.path("tool.wat");
    std::fs::create_dir_all(guest.parent().unwrap()).unwrap();
    std::fs::write(&guest, GUEST).unwrap();
    (place, guest.display().to_string())
}

#[test]
fn what_a_plugin_keeps_is_there_for_the_next_process() {
    let (place, guest) = place("");
    let call = |function: &str, input: &str| {
        place.ok(&["call", "--allow", "kv=1KiB", &guest, function, input]).trim_end().to_owned()
    };
    assert_eq!(call("get", "0"), r#""1""#);
    assert_eq!(call("set", "42"), r#""0""#);
    assert_eq!(call("get", "0"), r#""042""#);
    assert_eq!(place.ok(&["call", &guest, "get", "0"]).trim_end(), r#""1""#, "not without a grant");
}

#[test]
fn kill9_kv_write_leaves_what_was_kept_or_what_is_kept_now() {
    let (place, guest) = place("");
    let head = ["call", "--allow", "kv=1KiB", &guest];
    let start = std::time::Instant::now();
    place.ok(&[&head[..], &["set", "0"]].concat());
    let whole = start.elapsed();
    let mut kept = 0;
    let mut cut = 0;
    for number in 1..=200_u32 {
        let mut child = place
            .airlock()
            .args(head)
            .args(["set", &number.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At another point each time, from before it has begun to after it has ended.
        std::thread::sleep(whole * (number % 40) / 25);
        child.kill().unwrap();
        cut += u32::from(!child.wait().unwrap().success());
        if number % 10 == 0 {
            let text = place.ok(&[&head[..], &["get", "0"]].concat());
            let now: u32 = text.trim_end().trim_matches('"').strip_prefix('0').unwrap().parse().unwrap();
            assert!(kept <= now && now <= number, "{kept} {now} {number}");
            kept = now;
        }
    }
    assert!(cut > 0 && kept > 0, "{cut} were killed in time, and {kept} was kept last");
    place.ok(&["audit", "verify"]);
}

#[test]
fn a_plugin_is_configured_by_the_operators_file_and_before_that_by_the_environment() {
    let (place, guest) = place("[plugins.tool.config]\nkey = 42\n");
    let args = ["call", "--allow", "config", &guest, "config", "0"];
    assert_eq!(place.ok(&args).trim_end(), r#""042""#);
    let output = place.airlock().args(args).env("AIRLOCK_PLUGIN_TOOL_KEY", "here").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), r#""0here""#, "{}", describe(&output));
    let output = place.airlock().args(args).env("CORTEX_PLUGIN_TOOL_KEY", "there").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), r#""0there""#);
    assert_eq!(place.ok(&["call", &guest, "config", "0"]).trim_end(), r#""1""#, "not without a grant");
}

#[test]
fn secrets_are_kept_from_standard_input_and_never_printed() {
    let place = Place::new();
    let set = |name: &str, value: &str| {
        let mut command = place.airlock();
        command
            .args(["secret", "set", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It does not read where the name is wrong.
        let _ = child.stdin.take().unwrap().write_all(value.as_bytes());
        describe(&child.wait_with_output().unwrap())
    };
    assert_eq!(set("TOKEN", "hunter2-hunter2\n"), "exit 0\n--- stderr\nkept `TOKEN`\n");
    assert_eq!(set("OTHER", "x"), "exit 0\n--- stderr\nkept `OTHER`\n");
    assert!(set("A*", "x").starts_with("exit 2"));
    assert!(set("EMPTY", "\n").contains("a secret has a value"));
    assert_eq!(place.ok(&["secret", "list"]), "OTHER\nTOKEN\n");
    assert_eq!(place.show(&["secret", "remove", "TOKEN"]), "exit 0\n--- stderr\nforgot `TOKEN`\n");
    assert_eq!(place.show(&["secret", "remove", "TOKEN"]), "exit 0\n--- stderr\nthere was no `TOKEN`\n");
    assert_eq!(
        place.ok(&["--json", "secret", "list"]),
        "{\"schema\":1,\"ok\":true,\"secrets\":[\"OTHER\"]}\n"
    );
    let file = place.home().join("secrets.toml");
    let data = if file.exists() { file } else { place.home().join("data/secrets.toml") };
    let mode = std::os::unix::fs::PermissionsExt::mode(&data.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_kept_for_an_installed_plugin_is_not_for_another_that_claims_its_name() {
    let place = Place::new();
    let write = |at: &str, text: &str| {
        let source = Source { name: "keeper", version: "1.0.0", answer: "", manifest: "" };
        let folder = place.write(at, &source);
        let wasm = wat::parse_str(GUEST.replace("unseen", text)).unwrap();
        std::fs::write(folder.join("plugin.wasm"), wasm).unwrap();
        folder.display().to_string()
    };
    let answer = |args: &[&str]| place.ok(&[&["call"], args].concat()).trim_end().to_owned();
    let (installed, other) = (write("keeper", "unseen"), write("other", "ghosts"));
    place.ok(&["install", &installed]);
    let kv = ["--allow", "kv=1KiB"];
    assert_eq!(answer(&[&kv[..], &[&installed, "set", "42"]].concat()), r#""0""#, "it is the same plugin");
    assert_eq!(answer(&[&other, "get", "0"]), r#""1""#, "nothing is granted to it");
    for allow in ["kv=1KiB", "config", "net=https://api.example.com"] {
        assert_eq!(
            place.show(&["call", "--allow", allow, &other, "get", "0"]),
            "exit 125\n--- stderr\nerror: a plugin `keeper` is installed already\n\
             hint: this is another, and what is kept for a plugin goes by its name: `--name` gives it one of \
             its own, `airlock update keeper SOURCE` puts it in the place of the installed one\n"
        );
    }
    assert_eq!(answer(&[&kv[..], &["--name", "mine", &other, "get", "0"]].concat()), r#""1""#);
    let bare = format!("{other}/plugin.wasm");
    let output = place.output(&[&["call"], &kv[..], &["--name", "keeper", &bare, "get", "0"]].concat());
    assert_eq!(output.status.code(), Some(125), "{}", describe(&output));
    place.ok(&["remove", "keeper"]);
    place.ok(&["install", "--link", &installed]);
    write("keeper", "linked");
    assert_eq!(answer(&[&kv[..], &[&installed, "set", "7"]].concat()), r#""0""#, "its folder has it");
    place.ok(&["remove", "keeper"]);
    assert_eq!(answer(&[&kv[..], &[&other, "get", "0"]].concat()), r#""1""#, "the name is free");
}

#[test]
fn what_is_allowed_to_no_effect_is_said() {
    let (place, guest) = place("");
    let call = |allow: &str| place.show(&["call", "--allow", allow, &guest, "get", "0"]);
    assert_eq!(call("kv=1KiB"), "exit 0\n--- stdout\n\"1\"\n");
    assert_eq!(
        call("env=HOME"),
        "exit 0\n--- stdout\n\"1\"\n\
         --- stderr\nwarning: `--allow env=HOME` grants nothing: the plugin does not ask for it\n"
    );
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/grep/grep.wasm");
    assert_eq!(
        place.show(&["run", "--allow", "fs.read=@", tool, "--", "x", "missing"]),
        "exit 2\n--- stderr\n\
         warning: `--allow fs.read=@` grants nothing: only an installed plugin has a folder of its own\n\
         grep: missing: No such file or directory\n"
    );
}
