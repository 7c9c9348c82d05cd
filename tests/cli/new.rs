//! `airlock new`: what is made for each language and ABI, and what is not.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::plugins::{Place, text};
use crate::terminal::Terminal;

/// Every language and ABI that there is a plugin to start from for.
pub(crate) const ALL: [(&str, &str); 18] = [
    ("json", "rust"),
    ("json", "c"),
    ("json", "zig"),
    ("json", "go"),
    ("json", "assemblyscript"),
    ("json", "wat"),
    ("raw", "rust"),
    ("raw", "c"),
    ("raw", "zig"),
    ("raw", "assemblyscript"),
    ("raw", "wat"),
    ("component", "rust"),
    ("fledge", "rust"),
    ("fledge", "go"),
    ("fledge", "c"),
    ("sen", "rust"),
    ("cortex", "rust"),
    ("cortex", "c"),
];

/// Makes one in the test's folder of sources, and gives its folder.
pub(crate) fn made(place: &Place, name: &str, abi: &str, lang: &str) -> String {
    let output = text(&place.path(""));
    place.ok(&["new", name, "--abi", abi, "--lang", lang, "-o", &output]);
    text(&place.path(name))
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_has_its_files_and_a_manifest_that_is_read() {
    let place = Place::new();
    let output = text(&place.path(""));
    let mut shown = String::new();
    for (abi, lang) in ALL {
        let name = format!("my-{abi}-{lang}");
        let args = [
            "--json",
            "new",
            &name,
            "--abi",
            abi,
            "--lang",
            lang,
            "-o",
            &output,
            "-d",
            "Says \"hi\" {{name}}",
        ];
        let made: Value = serde_json::from_slice(&place.output(&args).stdout).unwrap();
        assert_eq!((&made["abi"], &made["lang"]), (&abi.into(), &lang.into()));
        let files: Vec<&str> =
            made["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        let folder = place.path(&name);
        for file in &files {
            let written = fs::read_to_string(folder.join(file)).unwrap();
            assert!(!written.is_empty(), "{name}: {file}");
            // What stands in a value stays.
            let is_ours = !written.contains("{{") || written.contains("Says") || file.contains("kit/");
            assert!(is_ours || file.starts_with("sdk/"), "{name}: {file}: {written}");
            if file.ends_with("toml") {
                toml::from_str::<toml::Table>(&written)
                    .unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
            }
            if file.ends_with(".json") {
                serde_json::from_str::<Value>(&written)
                    .unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
            }
        }
        let own: Vec<&str> = files.into_iter().filter(|file| !file.starts_with("sdk/src/")).collect();
        shown.push_str(&format!("{abi} {lang}: {}\n", own.join(" ")));

        // It is not built, and nothing else is missing.
        if !matches!(abi, "raw" | "sen" | "component") {
            let checked = place.output(&["--json", "check", "--strict", folder.to_str().unwrap()]);
            let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
            let findings = checked["findings"].as_array().unwrap();
            assert_eq!(findings.len(), 1, "{name}: {findings:?}");
            assert_eq!(findings[0]["code"], "missing-binary", "{name}");
            assert_eq!(findings[0]["hint"], "`airlock build` builds it", "{name}");
        }
    }
    assert_snapshot!(shown, @r"
    json rust: Cargo.toml .cargo/config.toml src/lib.rs cortex.json tests/greet.toml README.md .gitignore sdk/Cargo.toml
    json c: my-json-c.c compile_flags.txt cortex.json tests/greet.toml README.md .gitignore kit/cortex-json.h kit/cortex-malloc.h
    json zig: my-json-zig.zig cortex.json tests/greet.toml README.md .gitignore
    json go: go.mod main.go cortex.json tests/greet.toml README.md .gitignore kit/go.mod kit/memory.go
    json assemblyscript: package.json asconfig.json my-json-assemblyscript.ts cortex.json tests/greet.toml README.md .gitignore json.ts
    json wat: my-json-wat.wat cortex.json tests/greet.toml README.md .gitignore
    raw rust: Cargo.toml .cargo/config.toml src/lib.rs tests/gcd.toml README.md .gitignore
    raw c: my-raw-c.c compile_flags.txt tests/gcd.toml README.md .gitignore
    raw zig: my-raw-zig.zig tests/gcd.toml README.md .gitignore
    raw assemblyscript: package.json asconfig.json my-raw-assemblyscript.ts tests/gcd.toml README.md .gitignore
    raw wat: my-raw-wat.wat tests/gcd.toml README.md .gitignore
    component rust: Cargo.toml .cargo/config.toml src/lib.rs wit/world.wit tests/greet.toml README.md .gitignore
    fledge rust: Cargo.toml .cargo/config.toml src/main.rs plugin.toml tests/lint.toml tests/project/long.txt README.md .gitignore
    fledge go: go.mod main.go plugin.toml tests/greet.toml README.md .gitignore
    fledge c: my-fledge-c.c compile_flags.txt plugin.toml tests/greet.toml README.md .gitignore kit/cortex-json.h
    sen rust: Cargo.toml .cargo/config.toml src/lib.rs tests/greet.toml README.md .gitignore
    cortex rust: Cargo.toml .cargo/config.toml src/lib.rs cortex.json tests/greet.toml README.md .gitignore
    cortex c: my-cortex-c.c compile_flags.txt cortex.json tests/greet.toml README.md .gitignore kit/cortex-json.h kit/wasm-plugin.h
    ");
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone_and_an_empty_one_is_taken() {
    let place = Place::new();
    let output = text(&place.path(""));
    let folder = place.path("greeter");
    fs::create_dir_all(&folder).unwrap();
    made(&place, "greeter", "raw", "wat");
    assert_eq!(entries(&folder), [".gitignore", "README.md", "greeter.wat", "tests"]);
    fs::write(folder.join("README.md"), "mine").unwrap();
    assert_snapshot!(place.show(&["new", "greeter", "-o", &output]), @r"
    exit 2
    --- stderr
    error: `[FOLDER]/sources/greeter`: it is there and not empty
    ");
    assert_eq!(fs::read_to_string(folder.join("README.md")).unwrap(), "mine");
    assert_eq!(entries(&place.path("")), ["greeter"]);
}

#[test]
fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
    let place = Place::new();
    let output = text(&place.path(""));
    fs::create_dir_all(place.path("elsewhere")).unwrap();
    // An empty folder to all who look, and nothing that a folder can take the place of.
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("link")).unwrap();
    let refused = place.output(&["new", "link", "-o", &output]);
    assert_eq!(refused.status.code(), Some(125), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(entries(&place.path("")), ["elsewhere", "link"]);
    assert_eq!(entries(&place.path("elsewhere")), [""; 0]);

    fs::write(place.path("file"), "").unwrap();
    let refused = place.output(&["new", "x", "-o", &text(&place.path("file"))]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn names_are_those_that_the_language_takes() {
    let place = Place::new();
    for name in ["9lives", "-x", "a/b", "..", "a b", "\u{e4}", "", &"a".repeat(65)] {
        let output = place.output(&["new", "--", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
    assert_snapshot!(place.show(&["new", "9lives"]), @r"
    exit 2
    --- stderr
    error: `NAME`: `9lives` is not a letter, then up to 63 letters, digits, `-` or `_`
    ");
    assert_snapshot!(place.show(&["new", "match"]), @r"
    exit 2
    --- stderr
    error: `NAME`: `match` cannot be the name of a plugin in `rust`: cargo takes it for no crate's
    ");
    assert_snapshot!(place.show(&["new", "airlock-sdk"]), @r"
    exit 2
    --- stderr
    error: `NAME`: `airlock-sdk` cannot be the name of a plugin in `rust`: cargo takes it for no crate's
    ");
    assert_snapshot!(place.show(&["new", "std", "--lang", "go"]), @r"
    exit 2
    --- stderr
    error: `NAME`: `std` cannot be the name of a plugin in `go`: Go has it for itself
    ");
    assert_snapshot!(place.show(&["new", "node_modules", "--lang", "assemblyscript"]), @r"
    exit 2
    --- stderr
    error: `NAME`: `node_modules` cannot be the name of a plugin in `assemblyscript`: npm has it for itself
    ");
    // It means nothing in another language.
    made(&place, "match", "json", "zig");
}

#[test]
fn what_there_is_nothing_to_start_from_for_is_said_with_what_there_is() {
    let place = Place::new();
    assert_snapshot!(place.show(&["new", "x", "--abi", "jason"]), @r"
    exit 2
    --- stderr
    error: `--abi`: there is no plugin to start from for `jason`
    hint: there is `json`, `raw`, `component`, `fledge`, `sen`, `cortex`
    ");
    assert_snapshot!(place.show(&["new", "x", "--lang", "cobol"]), @r"
    exit 2
    --- stderr
    error: `--lang`: there is no plugin to start from for `cobol`
    hint: there is `rust`, `c`, `zig`, `go`, `assemblyscript`, `wat`
    ");
    assert_snapshot!(place.show(&["new", "x", "--abi", "fledge", "--lang", "zig"]), @r"
    exit 2
    --- stderr
    error: `--lang`: there is no plugin to start from for `fledge` in `zig`
    hint: for `fledge` there is `rust`, `go`, `c`; in `zig` there is `json`, `raw`
    ");
    assert_snapshot!(place.show(&["new"]), @r"
    exit 2
    --- stderr
    error: `NAME`: nobody says what the plugin is called
    ");
}

#[test]
fn one_of_the_two_is_enough_and_without_either_it_is_json_in_rust() {
    let place = Place::new();
    let output = text(&place.path(""));
    for (args, expected) in [
        (&[][..], ("json", "rust")),
        (&["--abi", "sen"], ("sen", "rust")),
        (&["--abi", "fledge"], ("fledge", "rust")),
        (&["--lang", "go"], ("json", "go")),
        (&["--lang", "wat", "--abi", "raw"], ("raw", "wat")),
    ] {
        let name = format!("a-{}-{}", expected.0, expected.1);
        let output = place.output(&[&["--json", "new", &name, "-o", &output], args].concat());
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((made["abi"].as_str(), made["lang"].as_str()), (Some(expected.0), Some(expected.1)));
    }
}

#[test]
fn the_sdk_is_a_copy_or_the_one_that_is_named() {
    let place = Place::new();
    let output = text(&place.path(""));
    let folder = made(&place, "copied", "json", "rust");
    let manifest = fs::read_to_string(format!("{folder}/Cargo.toml")).unwrap();
    assert!(manifest.contains(r#"airlock-sdk = { path = "sdk", "#), "{manifest}");
    assert!(Path::new(&folder).join("sdk/src/lib.rs").is_file());

    let sdk = crate::support::repository().join("crates/airlock-sdk").canonicalize().unwrap();
    place.ok(&["new", "named", "-o", &output, "--sdk", "crates/airlock-sdk"]);
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(place.path("named/Cargo.toml")).unwrap()).unwrap();
    assert_eq!(manifest["dependencies"]["airlock-sdk"]["path"].as_str(), sdk.to_str());
    assert!(!place.path("named/sdk").exists());

    assert_snapshot!(place.show(&["new", "x", "--sdk", "plugins"]), @r"
    exit 2
    --- stderr
    error: `--sdk`: `plugins` is no folder of the crate `airlock-sdk`
    ");
    assert_snapshot!(place.show(&["new", "x", "--lang", "c", "--sdk", "crates/airlock-sdk"]), @r"
    exit 2
    --- stderr
    error: `--sdk`: a plugin for `json` in `c` needs no SDK
    ");
}

/// Runs `airlock new` at a terminal.
fn asked(place: &Place, args: &[&str]) -> Terminal {
    let mut command = place.airlock();
    command.arg("new").args(args).current_dir(place.path(""));
    Terminal::run(command)
}

#[test]
fn somebody_at_a_terminal_is_asked_what_the_flags_do_not_say() {
    let place = Place::new();
    fs::create_dir_all(place.path("")).unwrap();
    let mut terminal = asked(&place, &[]);
    terminal.expect("Name: ");
    terminal.type_line("divider");
    terminal.expect("Which language?");
    terminal.expect("  6  wat ");
    terminal.expect("A number or a word [rust]: ");
    terminal.type_line("cobol");
    terminal.expect("A number or a word [rust]: ");
    terminal.type_line("6");
    terminal.expect("Which ABI?");
    terminal.expect("A number or a word [json]: ");
    terminal.type_line("Raw");
    terminal.expect("created divider");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("fledge"), "what does not go with the language is not asked for: {screen}");
    assert_eq!(entries(&place.path("divider")), [".gitignore", "README.md", "divider.wat", "tests"]);

    // Where there is one ABI, nobody is asked for it; an empty line is the first of all.
    let mut terminal = asked(&place, &["plain"]);
    terminal.expect("[rust]: ");
    terminal.type_line("");
    terminal.expect("[json]: ");
    terminal.type_line("");
    assert_eq!(terminal.end().0, 0);
    assert!(place.path("plain/src/lib.rs").is_file());
    assert_eq!(asked(&place, &["flagged", "--lang", "wat"]).end().0, 0);

    let mut terminal = asked(&place, &["nothing"]);
    for _ in 0..3 {
        terminal.expect("[rust]: ");
        terminal.type_line("cobol");
    }
    let (code, screen) = terminal.end();
    assert_eq!(code, 126, "{screen}");
    assert!(!place.path("nothing").exists());
}
