//! Making, building, checking and looking after plugins, by Airlock's words and by fledge's.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::plugins::{PLAIN, Place, program, text};

/// A manifest that nothing is odd about, of a plugin that asks for nothing.
const MANIFEST: &str = r#"
[plugin]
name = "lint"
version = "0.1.0"
description = "finds what is odd"
author = "me"
protocol = "fledge-v1"
runtime = "wasm"
[[commands]]
name = "my-lint"
binary = "lint.wasm"
"#;

/// A plugin's folder: its manifest, and its module in text.
fn plugin(place: &Place, manifest: &str, wasm: &[u8]) -> String {
    let folder = place.path("lint");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join("lint.wasm"), wasm).unwrap();
    text(&folder)
}

/// A module that imports these functions, each a line of their text, and is a program.
fn module(imports: &str) -> Vec<u8> {
    let wat = format!(r#"(module {imports} (memory (export "memory") 1) (func (export "_start")))"#);
    wat::parse_str(wat).unwrap()
}

const SEND: &str = r#"(import "fledge" "send" (func (param i32 i32)))"#;

/// What `airlock check` finds, a line for each: how much it matters, its code and what it says.
fn found(place: &Place, source: &str) -> Vec<String> {
    let output = place.output(&["check", "--json", source]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    let line = |finding: &Value| {
        let part = |key: &str| finding[key].as_str().unwrap().to_owned();
        place.plain(&format!("{} {}: {}", part("severity"), part("code"), part("message")))
    };
    findings.iter().map(line).collect()
}

#[test]
fn nothing_is_odd_about_a_complete_plugin() {
    let place = Place::new();
    let source = plugin(&place, MANIFEST, &program("hello"));
    assert_snapshot!(place.show(&["check", "--strict", &source]), @r"
    exit 0
    --- stderr
    `lint` can be installed, and nothing is odd about it
    ");
    // In its folder, where nothing is said.
    let output = place.airlock().arg("check").current_dir(&source).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn what_a_manifest_leaves_out_is_found() {
    let place = Place::new();
    let send = module(SEND);
    for (from, to, expected) in [
        (
            "protocol = \"fledge-v1\"\n",
            "",
            "warning protocol-missing: `plugin.protocol` is missing, and fledge takes what it runs for a native program then",
        ),
        (
            "version = \"0.1.0\"",
            "version = \"1\"",
            "warning version: `plugin.version` is `1`, which is no semantic version",
        ),
        (
            "description = \"finds what is odd\"\n",
            "",
            "warning description-missing: `plugin.description` is missing",
        ),
        ("author = \"me\"", "author = \" \"", "warning author-missing: `plugin.author` is missing"),
        (
            "[[commands]]",
            "[hooks]\nbuild = \"\"\n[[commands]]",
            "warning build-empty: `hooks.build` is empty",
        ),
        ("runtime", "colour = \"red\"\nruntime", "warning manifest: unknown key `plugin.colour`"),
        (
            "name = \"my-lint\"",
            "name = \"build\"",
            "warning own-command: its command `build` is one of Airlock's own too",
        ),
    ] {
        let source = plugin(&place, &MANIFEST.replace(from, to), &send);
        assert_eq!(found(&place, &source), [expected]);
        assert_eq!(place.output(&["check", &source]).status.code(), Some(0));
        assert_eq!(place.output(&["check", "--strict", &source]).status.code(), Some(1));
    }
}

#[test]
fn a_file_that_cannot_be_run_is_an_error() {
    let place = Place::new();
    let no_start = wat::parse_str(format!(r#"(module {SEND} (memory (export "memory") 1))"#)).unwrap();
    let no_memory = wat::parse_str(format!(r#"(module {SEND} (func (export "_start")))"#)).unwrap();
    for (wasm, expected) in [
        (b"garbage".to_vec(), "error not-wasm: `lint.wasm`: not WebAssembly: "),
        (b"(module)".to_vec(), "error wat-not-asked: `lint.wasm`: this is WebAssembly text"),
        (
            wat::parse_str("(component)").unwrap(),
            "error component-unsupported: `lint.wasm`: this is a component",
        ),
        (
            no_start,
            "error abi-mismatch: `lint.wasm`: the module does not fit the `fledge` ABI: it exports no `_start`",
        ),
        (
            no_memory,
            "error abi-mismatch: `lint.wasm`: the module does not fit the `fledge` ABI: it exports no 32-bit memory",
        ),
        (
            module(r#"(import "env" "puts" (func))"#),
            "error unknown-import: `lint.wasm`: nobody provides the import `env.puts`",
        ),
        (
            module(r#"(import "fledge" "recv" (func (param i32)))"#),
            "error incompatible-import: `lint.wasm`: import `fledge.recv` has another type",
        ),
    ] {
        let source = plugin(&place, MANIFEST, &wasm);
        let found = found(&place, &source);
        assert!(found[0].starts_with(expected), "{found:?}");
        assert_eq!(place.output(&["check", &source]).status.code(), Some(1));
    }
}

#[test]
fn all_files_that_are_not_there_are_told() {
    let place = Place::new();
    let more = "[[commands]]\nname = \"b\"\nbinary = \"b.wasm\"\n[[commands]]\nname = \"c\"\nbinary = \"c.wasm\"\n\
                [[commands]]\nname = \"d\"\nbinary = \"d.bin\"\n[hooks]\nbuild = \"make\"\n";
    let source = plugin(&place, &format!("{MANIFEST}{more}"), &program("hello"));
    let folder = Path::new(&source);
    std::os::unix::fs::symlink("/bin/sh", folder.join("b.wasm")).unwrap();
    fs::create_dir(folder.join("d.bin")).unwrap();
    assert_snapshot!(place.show(&["check", &source]), @r"
    exit 1
    --- stderr
    error: `b.wasm` leads out of the plugin's folder
    hint: a copy of it inside is no link
    error: the command `c` runs `c.wasm`, which is not there
    hint: `airlock build` builds it
    error: the command `d` runs `d.bin`, which is no file
    hint: `airlock build` builds it
    warning: the command `d` runs `d.bin`, which does not end in `.wasm`
    hint: fledge warns of any other ending as well
    `lint` cannot be installed; errors: 3, warnings: 1
    ");
}

#[test]
fn what_a_module_imports_is_held_against_what_its_manifest_asks_for() {
    let place = Place::new();
    let fledge = |name: &str, ty: &str| module(&format!(r#"{SEND} (import "fledge" "{name}" (func {ty}))"#));
    let wasi = |name: &str, params: &str| {
        let ty = format!("(param {params}) (result i32)");
        module(&format!(r#"{SEND} (import "wasi_snapshot_preview1" "{name}" (func {ty}))"#))
    };
    let span = "(param i32 i32) (result i32)";
    let refused = |import: &str, key: &str| {
        format!(
            "warning asks-too-little: `lint.wasm` imports `{import}`, and its manifest does not ask for `{key}`: \
             it is refused what it does there"
        )
    };
    let (open, poll) = ("i32 i32 i32 i32 i32 i64 i64 i32 i32", "i32 i32 i32 i32");
    let time =
        "`lint.wasm` imports `wasi_snapshot_preview1.poll_oneoff`, and its manifest does not ask for `clock`";
    let random =
        "`lint.wasm` imports `wasi_snapshot_preview1.random_get`, and its manifest does not ask for `random`";
    for (wasm, asking, expected) in [
        (fledge("exec", span), "exec = true", refused("fledge.exec", "exec")),
        (fledge("store_get", span), "store = true", refused("fledge.store_get", "store")),
        (fledge("store_set", "(param i32 i32)"), "store = true", refused("fledge.store_set", "store")),
        (fledge("metadata", span), "metadata = true", refused("fledge.metadata", "metadata")),
        (fledge("http", span), "network = true", refused("fledge.http", "network")),
        (
            wasi("path_open", open),
            "filesystem = \"plugin\"",
            refused("wasi_snapshot_preview1.path_open", "filesystem"),
        ),
        (
            wasi("poll_oneoff", poll),
            "clock = true",
            format!("note virtual-clock: {time}: the time is a virtual one, and sleeps pass at once"),
        ),
        (
            wasi("random_get", "i32 i32"),
            "random = true",
            format!("note virtual-random: {random}: random numbers are the same in every run"),
        ),
    ] {
        let source = plugin(&place, MANIFEST, &wasm);
        assert_eq!(found(&place, &source), [expected.as_str()]);
        let strict = place.output(&["check", "--strict", &source]).status.code();
        assert_eq!(strict, Some(i32::from(expected.starts_with("warning"))), "a note is no warning");
        let source = plugin(&place, &format!("{MANIFEST}[capabilities]\n{asking}\n"), &wasm);
        assert_eq!(found(&place, &source), [""; 0], "{asking}");
    }
}

#[test]
fn what_is_asked_for_and_never_used_is_found() {
    let place = Place::new();
    let exit = module(r#"(import "fledge" "exit" (func (param i32)))"#);
    for (asking, key, imports) in [
        ("exec = true", "exec", "`fledge.exec` or `fledge.send`"),
        ("store = true", "store", "`fledge.store_get` or `fledge.store_set` or `fledge.send`"),
        ("metadata = true", "metadata", "`fledge.metadata` or `fledge.send`"),
        ("network = true", "network", "`fledge.http` or `fledge.send`"),
        ("filesystem = \"project\"", "filesystem", "`wasi_snapshot_preview1.path_*`"),
        (
            "clock = true",
            "clock",
            "`wasi_snapshot_preview1.clock_time_get` or `wasi_snapshot_preview1.poll_oneoff`",
        ),
        ("random = true", "random", "`wasi_snapshot_preview1.random_get`"),
    ] {
        let source = plugin(&place, &format!("{MANIFEST}[capabilities]\n{asking}\n"), &exit);
        let message =
            format!("warning asks-unused: it asks for `{key}`, and imports no {imports}: it cannot use it");
        assert_eq!(found(&place, &source), [message]);
    }
    // A message can ask for it as well.
    let source = plugin(&place, &format!("{MANIFEST}[capabilities]\nexec = true\n"), &module(SEND));
    assert_eq!(found(&place, &source), [""; 0]);
}

#[test]
fn how_a_module_speaks_to_its_host_is_looked_at() {
    let place = Place::new();
    let silent = plugin(&place, MANIFEST, &module(""));
    assert_snapshot!(place.show(&["check", &silent]), @r"
    exit 0
    --- stderr
    warning: `lint.wasm` imports nothing from `fledge`: what it prints is shown as it is, messages as well
    hint: `stdout-protocol = true` under `[plugin]` has the messages among it read
    `lint` can be installed; warnings: 1
    ");
    let prints = MANIFEST.replace("runtime", "stdout-protocol = true\nruntime");
    assert_eq!(found(&place, &plugin(&place, &prints, &module(""))), [""; 0]);

    let document = module(&SEND.replace("i32 i32)", "i32 i32) (result i32)"));
    let source = plugin(&place, MANIFEST, &document);
    assert_snapshot!(place.show(&["check", "--strict", &source]), @r"
    exit 0
    --- stderr
    notes: 1; `airlock check -v` shows them
    `lint` can be installed, and nothing is odd about it
    ");
}

#[test]
fn a_module_without_need_to_be_large_and_one_with_an_odd_name_are_told() {
    let place = Place::new();
    let mut wasm = program("hello");
    // A custom section `x` of 6 MB.
    wasm.extend([0, 0x82, 0x9b, 0xee, 0x02, 1, b'x']);
    wasm.resize(wasm.len() + 6_000_000, 0);
    let source = plugin(&place, MANIFEST, &wasm);
    assert_eq!(
        found(&place, &source),
        [
            "warning large: `lint.wasm` has 5.7 MiB",
            "note strippable: 5.7 MiB of `lint.wasm`, which has 5.7 MiB, are custom sections that no call needs"
        ]
    );

    let source = plugin(&place, &MANIFEST.replace("lint.wasm", "lint.bin"), &wasm);
    fs::write(Path::new(&source).join("lint.bin"), program("hello")).unwrap();
    assert_eq!(
        found(&place, &source),
        ["warning binary-name: the command `my-lint` runs `lint.bin`, which does not end in `.wasm`"]
    );
}

#[test]
fn a_manifest_that_cannot_be_read_is_an_error_by_itself() {
    let place = Place::new();
    let twice = format!("{MANIFEST}[[commands]]\nname = \"my-lint\"\nbinary = \"other.wasm\"\n");
    assert_snapshot!(place.show(&["check", &plugin(&place, &twice, b"")]), @r"
    exit 125
    --- stderr
    error: manifest `plugin.toml` is not valid: the command `my-lint` is there twice
    ");
    let out = MANIFEST.replace("lint.wasm", "../lint.wasm");
    assert_snapshot!(place.show(&["check", &plugin(&place, &out, b"")]), @r"
    exit 125
    --- stderr
    error: manifest `plugin.toml` is not valid: `commands.binary` must name a file inside the plugin's folder
    ");
}

/// The paths of all files in a folder and below, sorted.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(name.to_owned()),
        }
    }
    found.sort();
    found
}

#[test]
fn a_new_plugin_has_all_that_it_needs_and_its_manifest_is_read() {
    let place = Place::new();
    let folder = place.path("");
    fs::create_dir_all(&folder).unwrap();
    let output = text(&folder);
    let new = [
        "new",
        "fledge-my-lint",
        "--abi",
        "fledge",
        "-o",
        &output,
        "-d",
        "Custom \"linting\" {{name}} rules",
    ];
    let mut made = place.airlock();
    made.args(new).env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "user.name");
    let made = made.env("GIT_CONFIG_VALUE_0", "An \"Author\"").output().unwrap();
    assert_snapshot!(place.plain(&crate::support::describe(&made)), @r"
    exit 0
    --- stdout
    created [FOLDER]/sources/fledge-my-lint
    --- stderr
    next: `cd [FOLDER]/sources/fledge-my-lint`, `airlock build`, `airlock check`, `airlock test`, `airlock install .`
    ");
    let folder = folder.join("fledge-my-lint");
    assert_eq!(
        files(&folder),
        [
            ".cargo/config.toml",
            ".gitignore",
            "Cargo.toml",
            "README.md",
            "plugin.toml",
            "src/main.rs",
            "tests/lint.toml",
            "tests/project/long.txt"
        ]
    );
    let manifest = fs::read_to_string(folder.join("plugin.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    assert_eq!(manifest["plugin"]["description"].as_str(), Some("Custom \"linting\" {{name}} rules"));
    assert_eq!(manifest["commands"][0]["name"].as_str(), Some("my-lint"));
    for file in ["Cargo.toml", ".cargo/config.toml"] {
        toml::from_str::<toml::Table>(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
    }
    // It is not built, and nothing else is missing.
    let source = text(&folder);
    assert_eq!(
        found(&place, &source),
        ["error missing-binary: the command `my-lint` runs \
          `target/wasm32-wasip1/release/fledge-my-lint.wasm`, which is not there"]
    );
}

#[test]
fn a_native_plugin_is_not_made() {
    let place = Place::new();
    assert_snapshot!(place.show(&["plugins", "create", "x"]), @r"
    exit 2
    --- stderr
    error: `create`: without `--wasm` it is a native program, which Airlock does not run
    hint: `--wasm` makes a plugin in WebAssembly
    ");
}

#[test]
fn a_plugin_is_built_in_its_own_folder_by_its_own_command() {
    let place = Place::new();
    let hook = |build: &str| format!("{MANIFEST}[hooks]\nbuild = \"{build}\"\n");
    let source = plugin(&place, &hook("sh build.sh 'two words'"), b"");
    let folder = Path::new(&source);
    fs::rename(folder.join("lint.wasm"), folder.join("made")).unwrap();
    fs::write(folder.join("made"), program("hello")).unwrap();
    fs::write(folder.join("build.sh"), "echo \"making $1\"\ncp made lint.wasm\n").unwrap();
    assert_snapshot!(place.show(&["build", &source]), @r"
    exit 0
    --- stdout
    built lint.wasm (136 B, 63b42b112047)
    --- stderr
    building `lint` with its manifest's build command: sh build.sh 'two words'
    making two words
    ");
    assert!(folder.join("lint.wasm").exists());
    assert_eq!(place.output(&["check", "--strict", &source]).status.code(), Some(0));

    plugin(&place, &hook("sh -c 'exit 3'"), b"");
    assert_snapshot!(place.show(&["build", &source]), @r"
    exit 1
    --- stderr
    building `lint` with its manifest's build command: sh -c 'exit 3'
    error: it is not built: its build command ended with exit status: 3
    ");
    plugin(&place, &hook("true"), b"");
    fs::remove_file(folder.join("lint.wasm")).unwrap();
    assert_snapshot!(place.show(&["build", &source]), @r"
    exit 1
    --- stderr
    building `lint` with its manifest's build command: true
    error: it is not built: its build command made no `lint.wasm`
      caused by: No such file or directory (os error 2)
    hint: its manifest names what is built, relative to its folder
    ");
    plugin(&place, MANIFEST, b"");
    assert_snapshot!(place.show(&["build", &source]), @r"
    exit 1
    --- stderr
    error: it is not built: there is nothing in its folder that could be built
    hint: `Cargo.toml`, `go.mod`, `asconfig.json`, `package.json`, `build.zig`, a `Makefile`, or a source in Zig, C or WebAssembly text is looked for
    ");
    fs::remove_file(folder.join("plugin.toml")).unwrap();
    assert_snapshot!(place.show(&["build", &source]), @r"
    exit 1
    --- stderr
    error: it is not built: there is nothing in its folder that could be built
    hint: `Cargo.toml`, `go.mod`, `asconfig.json`, `package.json`, `build.zig`, a `Makefile`, or a source in Zig, C or WebAssembly text is looked for
    ");
}

#[test]
fn fledges_words_do_what_airlocks_do() {
    let place = Place::new();
    let asking = format!("{MANIFEST}[capabilities]\nexec = true\nfilesystem = \"project\"\n");
    let source = plugin(&place, &asking, &program("hello"));
    assert_snapshot!(place.show(&["plugins", "validate", &source, "--strict"]), @r"
    exit 1
    --- stderr
    warning: it asks for `filesystem`, and imports no `wasi_snapshot_preview1.path_*`: it cannot use it
    hint: without `filesystem` nobody is asked about it
    `lint` is refused for its warnings: 1
    ");
    assert_snapshot!(place.show(&["plugins", "install", &source]), @r"
    exit 126
    --- stderr
    error: `fs.read=.::/project` is needed and not granted
    hint: nobody can be asked here; `--yes` grants all that it asks for, `airlock install` with `--allow` less
    ");
    assert_snapshot!(place.show(&["plugin", "install", &source, "--yes", "--copy"]), @r"
    exit 0
    --- stdout
    installed lint 0.1.0 (63b42b112047)
    --- stderr
    warning: `fs.read=.::/project` is granted without being asked about: read the folder it is run in and everything below it
    warning: `exec=sh -c *` is granted without being asked about: run `sh -c` with any further arguments outside the sandbox, as you
    ");
    assert_snapshot!(place.show(&["plugins", "install", &source, "-y"]), @r"
    exit 125
    --- stderr
    error: a plugin `lint` is installed already
    hint: `--force` replaces it
    ");
    assert_eq!(place.ok(&["plugins", "list"]), place.ok(&["list"]));
    assert_snapshot!(place.show(&["plugins", "run", "my-lint", "--json", "-x", "--", "y"]), @r"
    exit 0
    --- stdout
    hello
    ");

    // Other bytes, and what they had does not go to them without being said.
    plugin(&place, &asking, &program("bye"));
    assert_snapshot!(place.show(&["plugins", "update", "lint", "-y"]), @r"
    exit 1
    --- stderr
    `lint` would change:
      digest     63b42b112047 -> 10557b797134
      size       136 B -> 134 B
    error: `lint` is not updated: `fs.read=.::/project` is needed and not granted
    hint: nobody can be asked here; `--allow fs.read=.::/project --allow 'exec=sh -c *'` grants what it asks for, `--deny` does not
    updated: 0, unchanged: 0, failed: 1
    ");
    assert_snapshot!(place.show(&["plugins", "install", &source, "--force"]), @r"
    exit 0
    --- stdout
    updated lint 0.1.0 (10557b797134)
    --- stderr
    warning: `fs.read=.::/project` is granted without being asked about: read the folder it is run in and everything below it
    warning: `exec=sh -c *` is granted without being asked about: run `sh -c` with any further arguments outside the sandbox, as you
    `lint` would change:
      digest     63b42b112047 -> 10557b797134
      size       136 B -> 134 B
    ");
    assert_snapshot!(place.show(&["plugins", "run", "lint"]), @r"
    exit 0
    --- stdout
    bye
    ");
    assert_snapshot!(place.show(&["plugins", "update"]), @r"
    exit 0
    --- stderr
    `lint` is what it was
    updated: 0, unchanged: 1, failed: 0
    ");
    assert_snapshot!(place.show(&["plugins", "remove", "lint"]), @r"
    exit 0
    --- stdout
    removed lint 0.1.0 (10557b797134)
    ");
    assert_snapshot!(place.show(&["plugins", "update", "lint"]), @r"
    exit 127
    --- stderr
    error: no plugin `lint` is installed
    hint: `airlock list` shows what is installed
    ");
}

#[test]
fn each_plugin_is_updated_where_another_fails() {
    let place = Place::new();
    let source = plugin(&place, MANIFEST, &program("hello"));
    place.ok(&["plugins", "install", &source]);
    place.ok(&["plugins", "install", &place.source("plain", &PLAIN)]);
    fs::remove_dir_all(place.path("plain")).unwrap();
    plugin(&place, &MANIFEST.replace("0.1.0", "0.2.0"), &program("bye"));
    assert_snapshot!(place.show(&["plugins", "update", "--yes"]), @r"
    exit 1
    --- stdout
    updated lint 0.2.0 (10557b797134)
    --- stderr
    `lint` would change:
      version    0.1.0 -> 0.2.0
      digest     63b42b112047 -> 10557b797134
      size       136 B -> 134 B
    error: `plain` is not updated: no plugin at `[FOLDER]/sources/plain`
    updated: 1, unchanged: 0, failed: 1
    ");
}

#[test]
fn what_would_have_to_be_fetched_is_refused_with_the_way() {
    let place = Place::new();
    assert_snapshot!(place.show(&["plugins", "install", "CorvidLabs/fledge-plugin-deps"]), @r"
    exit 2
    --- stderr
    error: `SOURCE`: `CorvidLabs/fledge-plugin-deps` is not on this machine, and Airlock fetches nothing
    hint: `git clone https://github.com/CorvidLabs/fledge-plugin-deps` fetches it, `airlock plugins install ./FOLDER` installs it
    ");
    for source in ["https://example.com/a.git", "git@example.com:a/b.git", "ssh://example.com/a"] {
        let shown = place.show(&["plugins", "install", source]);
        assert!(shown.starts_with("exit 2\n") && shown.contains(&format!("`git clone {source}`")), "{shown}");
    }
    assert_snapshot!(place.show(&["plugins", "install", "--defaults"]), @r"
    exit 2
    --- stderr
    error: `--defaults`: fledge's own plugins are native programs, which Airlock does not run
    hint: `airlock plugins install FOLDER` installs what was fetched
    ");
    assert_snapshot!(place.show(&["plugins", "install", "./not-there"]), @r"
    exit 127
    --- stderr
    error: no plugin at `./not-there`
      caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn the_report_shows_what_each_plugin_may_do_and_wants_to_be_run() {
    let place = Place::new();
    assert_snapshot!(place.show(&["plugins", "audit"]), @r"
    exit 0
    --- stderr
    no plugin is installed
    ");
    let asking = format!(
        "{MANIFEST}[hooks]\nbuild = \"make\"\n[capabilities]\nstore = true\nnetwork = true\nexec = true\n"
    );
    let source = plugin(&place, &asking, &program("hello"));
    place.ok(&["install", &source, "--allow", "kv", "--deny", "net=*", "--deny", "exec=*"]);
    place.ok(&["revoke", "lint", "exec=*"]);
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    assert_snapshot!(place.show(&["plugins", "audit"]), @r"
    exit 0
    --- stdout
    plugin     lint 0.1.0 (63b42b112047)
    source     [FOLDER]/sources/lint
    abi        fledge
    commands   my-lint
    granted    kv=1MiB
    denied     net=*
    undecided  exec=sh -c *
    hooks      build: make (not run)
    limits     timeout = 1m
               fuel = 10000000000
               memory = 256.0 MiB

    plugin     plain 1.0.0 (6bde2062f784)
    source     [FOLDER]/sources/plain
    abi        json
    granted    nothing
    denied     nothing
    ");
    assert_snapshot!(place.show(&["plugin", "call", "plain", "f", "{}"]), @r#"
    exit 0
    --- stdout
    "one"
    "#);
}
