//! Plugins of sen-rs as a person meets them: run from a file, installed, and typed as a command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use insta::assert_snapshot;
use serde_json::Value;

use crate::plugins::Place;
use crate::support::{describe, repository};
use crate::terminal::Terminal;

const GREET: &str = "plugins/sen-greet/sen_greet.wasm";
const CAT: &str = "plugins/sen-cat/sen_cat.wasm";

/// A plugin with this manifest that answers `mine`; its path.
fn put(place: &Place, name: &str, manifest: &[u8]) -> String {
    let data: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let wasm = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 16) "\81\a7Success\a4mine") (data (i32.const 64) "{data}")
            (func (export "plugin_manifest") (result i64) (i64.const {}))
            (func (export "plugin_alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "plugin_dealloc") (param i32 i32))
            (func (export "plugin_execute") (param i32 i32) (result i64) (i64.const {})))"#,
        (64_u64 << 32) | manifest.len() as u64,
        (16_u64 << 32) | 14
    ));
    std::fs::create_dir_all(place.path("")).unwrap();
    std::fs::write(place.path(name), wasm.unwrap()).unwrap();
    place.path(name).to_str().unwrap().to_owned()
}

#[test]
fn what_is_typed_is_read_as_the_plugin_says() {
    let place = Place::new();
    assert_eq!(place.ok(&["run", GREET]), "Hello, World!\n");
    assert_eq!(place.ok(&["run", GREET, "Ann"]), "Hello, Ann!\n");
    assert_eq!(place.ok(&["run", GREET, "--", "--style=loud", "-g", "Hi", "Ann"]), "HI, ANN!\n");
    assert_eq!(place.ok(&["run", GREET, "farewell"]), "Goodbye, World!\n");
    assert_eq!(place.ok(&["run", "plugins/sen-echo/echo.wasm", "a", "b", "c"]), "Echo: a b c\n");
    assert_snapshot!(place.show(&["run", GREET, "--", "--style", "quiet"]), @r"
    exit 2
    --- stderr
    error: invalid value 'quiet' for '--style <STYLE>'
      [possible values: plain, loud]

    For more information, try '--help'.
    ");
    assert_snapshot!(place.show(&["run", GREET, "many", "Ann"]), @r"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      <second>

    Usage: greet many <first> <second>

    For more information, try '--help'.
    ");
    let json = place.output(&["--json", "run", GREET, "many", "Ann"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["error"]["code"], "invalid-setting");
    // A failure of its own is its own code.
    assert_snapshot!(place.show(&["run", "plugins/sen-hello/sen_hello.wasm", "fail"]), @r"
    exit 1
    --- stderr
    as asked
    ");
}

#[test]
fn it_can_be_called_as_any_other() {
    let place = Place::new();
    assert_eq!(place.ok(&["call", GREET, "greet", r#"["Ann","Hi"]"#]), "\"Hi, Ann!\"\n");
    assert_eq!(place.ok(&["call", GREET, "greet", "Ann", "Hi"]), "\"Hi, Ann!\"\n");
    assert_snapshot!(place.show(&["call", GREET, "great"]), @r"
    exit 127
    --- stderr
    error: `greet` has no function `great`
    hint: did you mean `greet`?
    ");
    assert_snapshot!(place.show(&["call", "plugins/sen-hello/sen_hello.wasm", "hello", "fail"]), @r"
    exit 1
    --- stderr
    error: the plugin failed: as asked
    ");
}

#[test]
fn an_installed_plugins_command_is_airlocks_own() {
    let place = Place::new();
    assert_eq!(place.ok(&["install", GREET]), "installed greet 1.0.0 (46424936eb0e)\n");
    assert_eq!(place.ok(&["greet", "--greeting", "Hi", "Ann"]), "Hi, Ann!\n");
    assert_eq!(place.ok(&["greet", "farewell", "Ann"]), "Goodbye, Ann!\n");
    assert_snapshot!(place.ok(&["greet", "--help"]), @r"
    Greets somebody

    Usage: airlock greet [OPTIONS] [name]
           airlock greet <COMMAND>

    Commands:
      many      Greets two at once
      farewell  Says goodbye

    Arguments:
      [name]  Who is greeted [default: World]

    Options:
      -g, --greeting <GREETING>  What is said before the name [default: Hello]
          --style <STYLE>        How loud the greeting is [default: plain] [possible values: plain, loud]
      -h, --help                 Print help
      -V, --version              Print version
    ");
    assert_eq!(place.ok(&["greet", "--version"]), "airlock greet 1.0.0\n");
    assert_snapshot!(place.show(&["greet", "--loud"]), @r"
    exit 2
    --- stderr
    error: unexpected argument '--loud' found

      tip: to pass '--loud' as a value, use '-- --loud'

    Usage: airlock greet [OPTIONS] [name]
           airlock greet <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(place.show(&["gret"]), @r"
    exit 2
    --- stderr
    error: unknown command `gret`
    hint: did you mean `greet`, `grant` or `grants`?
    ");
    assert_snapshot!(place.show(&["xyzzy"]), @r"
    exit 2
    --- stderr
    error: unknown command `xyzzy`
    hint: `airlock --help` shows the commands, `airlock list` the installed plugins
    ");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("farewell") && script.contains("style"), "{shell}");
    }
    assert_snapshot!(place.ok(&["info", "greet"]).lines().filter(|line| line.starts_with("commands")).collect::<String>(), @"commands   greet: sen_greet.wasm");
    // It stays what it was installed as, and goes with the plugin.
    assert_eq!(place.ok(&["remove", "greet"]), "removed greet 1.0.0 (46424936eb0e)\n");
    assert_eq!(place.output(&["greet"]).status.code(), Some(2));
}

#[test]
fn a_command_that_airlock_has_itself_is_run_by_name() {
    let place = Place::new();
    let manifest = b"\x82\xabapi_version\x02\xa7command\x82\xa4name\xa4list\xa5about\xa0";
    let module = put(&place, "mine.wasm", manifest);
    let installed = place.show(&["install", &module]);
    assert!(
        installed.contains(
            "warning: its command `list` is one of Airlock's own too: `airlock run list` is the plugin's"
        ),
        "{installed}"
    );
    assert_eq!(place.ok(&["run", "list"]), "mine\n");
    assert!(place.ok(&["list"]).starts_with("list  "));
}

/// Its own host gives an approval to a name, and keeps it for whatever has that name next.
#[test]
fn what_it_needs_is_asked_for_once_and_shown_as_it_is() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data")).unwrap();
    std::fs::create_dir_all(place.path("out")).unwrap();
    std::fs::write(place.path("data").join("a.txt"), "text\n").unwrap();
    let wasm = repository().join(CAT);
    let wasm = wasm.to_str().unwrap();
    assert_snapshot!(place.show(&["run", wasm, "a.txt"]), @r"
    exit 126
    --- stderr
    error: `fs.read=data` is needed and not granted
    hint: `--allow fs.read=data --allow 'fs.write=out/*' --allow 'env=CAT_*' --allow env=HOME` grants it
    ");
    let mut command = place.airlock();
    command.args(["install", wasm]).current_dir(place.path(""));
    let mut terminal = Terminal::run(command);
    for shown in [
        "cat-file",
        "the files in `out` in the folder it is run in, without its folders",
        "`data` in the folder it is run in and everything below it",
    ] {
        terminal.expect(shown);
    }
    drop(terminal);
    place.ok(&["install", wasm, "--allow-all-requested"]);
    let run = |args: &[&str]| {
        let mut command = place.airlock();
        describe(&command.arg("cat-file").args(args).current_dir(place.path("")).output().unwrap())
    };
    assert_eq!(run(&["a.txt"]), "exit 0\n--- stdout\ntext\n");
    assert_eq!(run(&["a.txt", "-n", "0"]), "exit 0\n");
    assert_eq!(run(&["none"]), "exit 1\n--- stderr\nNo such file or directory (os error 44)\n");
    assert_eq!(run(&["print"]), "exit 0\n--- stdout\nout\nprinted\n--- stderr\nerr\n");
    assert_eq!(run(&["exit"]), "exit 3\n--- stderr\nit left with 3\n");
    std::fs::remove_dir(place.path("out")).unwrap();
    let shown = place.plain(&run(&["a.txt"]));
    assert!(shown.starts_with("exit 0\n--- stdout\ntext\n--- stderr\nwarning: `fs.write=[FOLDER]/sources/out/*::/out` is not there for the plugin: "), "{shown}");
}

/// Its own host panics where a variable is no UTF-8 and a pattern ends in `*`.
#[test]
fn a_variable_that_is_no_text_is_left_out() {
    let place = Place::new();
    let mut command = place.airlock();
    command.args(["run", CAT, "--allow-all-requested", "env"]);
    command.env_clear().env("AIRLOCK_HOME", place.home()).env("HOME", "/home/me");
    command
        .env("CAT_NAME", "Tom")
        .env("CAT_BAD", OsStr::from_bytes(b"\xff"))
        .env(OsStr::from_bytes(b"CAT_\xff"), "x")
        .env("OTHER", "no");
    let output = command.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "CAT_NAME=Tom\nHOME=/home/me\n",
        "{}",
        describe(&output)
    );
}

#[test]
fn inspecting_shows_what_it_says_of_itself() {
    let place = Place::new();
    let shown = place.ok(&["inspect", CAT]);
    let rows = |label: &str| {
        let mut lines = shown.lines().skip_while(|line| !line.starts_with(label));
        let first = lines.next().unwrap().to_owned();
        let more = lines.take_while(|line| line.starts_with(' ')).map(|line| line.trim().to_owned());
        [first[label.len()..].trim().to_owned()].into_iter().chain(more).collect::<Vec<_>>()
    };
    assert_eq!(rows("plugin"), ["cat-file 1.0.0"]);
    assert_eq!(
        rows("abi"),
        ["sen: it exports `plugin_manifest`, `plugin_execute` and what allocates for them"]
    );
    assert_eq!(rows("commands"), ["cat-file [OPTIONS] <file>"]);
    assert_eq!(rows("baseline"), ["clock", "random"]);
    assert_eq!(
        rows("requests")[0],
        "fs.read=data (required): read `data` in the folder it is run in and everything below it"
    );
    let json: Value = serde_json::from_slice(&place.output(&["--json", "inspect", GREET]).stdout).unwrap();
    assert_eq!(json["manifest"]["commands"][0]["spec"]["args"][1]["short"], "g");
    assert_eq!(json["manifest"]["format"], "sen");
}

#[test]
fn time_and_chance_are_its_own_unless_the_same_is_to_come_of_the_same() {
    let place = Place::new();
    let run =
        |flags: &[&str]| place.show(&[&["run", "--allow-all-requested"], flags, &[CAT, "clock"]].concat());
    assert!(run(&[]).contains("clock ok"), "{}", run(&[]));
    assert!(run(&["--deterministic"]).contains("exit 1"), "{}", run(&["--deterministic"]));
    assert!(run(&["--deny", "clock"]).contains("exit 1"));
    let greet =
        |flags: &[&str]| place.ok(&[&["run"], flags, &["plugins/greet/greet.wasm", "--", "--time"]].concat());
    assert_eq!(greet(&["--deterministic", "--allow", "clock"]), greet(&[]));
}

#[test]
fn the_trace_of_loading_says_what_is_permitted() {
    let place = Place::new();
    let traced = |args: &[&str]| {
        let shown = place.show(&[&["-v", "run"], args].concat());
        let loaded = shown.lines().find(|line| line.contains("loaded")).unwrap().to_owned();
        let (_, rest) = loaded.split_once("permissions=").unwrap();
        rest.split(" total=").next().unwrap().to_owned()
    };
    assert_eq!(traced(&[GREET]), "clock, random");
    assert_eq!(traced(&["plugins/greet/greet.wasm"]), "none");
    let shown = traced(&["--allow-all-requested", CAT, "clock"]);
    assert!(shown.contains("env=HOME") && shown.contains("/data::/data"), "{shown}");
}

#[test]
fn what_is_outside_of_its_folder_is_shown_as_it_is() {
    let place = Place::new();
    let manifest = b"\x83\xabapi_version\x02\xa7command\x82\xa4name\xa4asks\xa5about\xa0\xaccapabilities\x81\
        \xa7fs_read\x92\x82\xa7pattern\xa6/etc/x\xa9recursive\xc3\x82\xa7pattern\xa3~/y\xa9recursive\xc2";
    let module = put(&place, "asks.wasm", manifest);
    let mut command = place.airlock();
    command.args(["run", &module]);
    let mut terminal = Terminal::run(command);
    terminal.expect("`asks` (");
    terminal.expect("read the files in `~/y`, without its folders  [fs.read=~/y/*]");
    terminal.expect("read `/etc/x` and everything below it  [fs.read=/etc/x]");
}
