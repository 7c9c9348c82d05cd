//! Installing, replacing, going back and removing.

use insta::assert_snapshot;

use crate::plugins::{ASKER, PLAIN, Place, Source, text, wasm};
use crate::terminal::Terminal;

#[test]
fn a_plugin_that_asks_for_nothing_is_installed_and_called_by_its_name() {
    let place = Place::new();
    let source = place.source("plain", &PLAIN);
    let before = listing(&place.path("plain"));
    assert_snapshot!(place.show(&["install", &source]), @r"
    exit 0
    --- stdout
    installed plain 1.0.0 (6bde2062f784)
    ");
    assert_snapshot!(place.show(&["call", "plain", "f", "{}"]), @r#"
    exit 0
    --- stdout
    "one"
    "#);
    assert_snapshot!(place.show(&["list"]), @r"
    exit 0
    --- stdout
    plain  1.0.0  json  6bde2062f784  [FOLDER]/sources/plain
    ");
    assert_snapshot!(place.show(&["install", &source]), @r"
    exit 125
    --- stderr
    error: a plugin `plain` is installed already
    hint: `airlock update plain SOURCE` replaces it
    ");
    assert_eq!(listing(&place.path("plain")), before, "the source is never written to");
    std::fs::remove_dir_all(place.path("plain")).unwrap();
    assert_snapshot!(place.show(&["call", "plain", "f", "{}"]), @r#"
    exit 0
    --- stdout
    "one"
    "#);
    assert_snapshot!(place.show(&["remove", "plain"]), @r"
    exit 0
    --- stdout
    removed plain 1.0.0 (6bde2062f784)
    ");
    assert_snapshot!(place.show(&["call", "plain", "f", "{}"]), @r"
    exit 127
    --- stderr
    error: no plugin at `plain`
    hint: `airlock list` shows what is installed
    ");
}

fn listing(folder: &std::path::Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), metadata.len(), metadata.modified().unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn nobody_to_ask_is_denied_with_the_line_to_paste() {
    let place = Place::new();
    let source = place.source("asker", &ASKER);
    assert_snapshot!(place.show(&["install", &source]), @r"
    exit 126
    --- stderr
    error: `fs.read=data` is needed and not granted
    hint: nobody can be asked here; `--allow fs.read=data --allow net=https://api.example.com` grants what it asks for, `--deny` does not
    ");
    assert_snapshot!(place.show(&["list"]), @r"
    exit 0
    --- stderr
    no plugin is installed
    ");
    let line = ["install", &source, "--allow", "fs.read=data", "--allow", "net=https://api.example.com"];
    assert_snapshot!(place.show(&line), @r"
    exit 0
    --- stdout
    installed asker 1.0.0 (6bde2062f784)
    ");
    assert_snapshot!(place.show(&["grants"]).replace(&today(), "[TODAY]"), @r"
    exit 0
    --- stdout
    asker  6bde2062f784  fs.read=data                 allowed  [TODAY]  flags
    asker  6bde2062f784  net=https://api.example.com  allowed  [TODAY]  flags
    ");
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

#[test]
fn what_is_denied_by_a_flag_is_not_asked_for_again() {
    let place = Place::new();
    let source = place.source("asker", &ASKER);
    place.ok(&["install", &source, "--deny", "net=*", "--allow", "fs.read=."]);
    let shown = place.show(&["call", "asker", "f", "{}"]);
    let repository = crate::support::repository().canonicalize().unwrap();
    assert_snapshot!(shown.replace(repository.to_str().unwrap(), "[REPOSITORY]"), @r#"
    exit 0
    --- stdout
    "one"
    --- stderr
    warning: `fs.read=[REPOSITORY]/data::/data` is not there for the plugin: No such file or directory (os error 2)
    "#);
    assert_snapshot!(place.ok(&["grants", "asker"]).replace(&today(), "[TODAY]"), @r"
    asker  6bde2062f784  fs.read=data                 allowed  [TODAY]  flags
    asker  6bde2062f784  net=https://api.example.com  denied   [TODAY]  flags
    ");
}

#[test]
fn every_kind_of_source_is_installed() {
    let place = Place::new();
    let folder = place.write("plain", &PLAIN);
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    tar.append_dir_all("plain-1.0.0", &folder).unwrap();
    std::fs::write(place.path("plain.tar.gz"), tar.into_inner().unwrap().finish().unwrap()).unwrap();
    std::fs::write(place.path("tool.wasm"), wasm("\"tool\"")).unwrap();
    for (source, name) in [("plain.tar.gz", "plain"), ("tool.wasm", "tool")] {
        place.ok(&["install", &text(&place.path(source))]);
        place.ok(&["call", name, "f", "{}"]);
        place.ok(&["remove", name]);
    }
}

#[test]
fn a_linked_folder_is_read_anew_at_every_load() {
    let place = Place::new();
    let source = place.source("asker", &ASKER);
    place.ok(&["install", "--link", &source, "--allow-all-requested"]);
    assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"one\"\n");
    place.write("asker", &Source { answer: "\"two\"", ..ASKER });
    assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"two\"\n");
    assert!(place.ok(&["info", "asker"]).contains("linked"));
}

#[test]
fn what_cannot_be_loaded_is_not_installed() {
    let place = Place::new();
    let folder = place.write("plain", &PLAIN);
    std::fs::write(folder.join("plugin.wasm"), b"\0asm\x01\0\0\0garbage").unwrap();
    assert!(!place.output(&["install", &text(&folder)]).status.success());
    let wat = r#"(module (import "env" "secret" (func)) (memory (export "memory") 1)
        (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;
    std::fs::write(folder.join("plugin.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    assert_snapshot!(place.show(&["install", &text(&folder)]), @r"
    exit 125
    --- stderr
    error: nobody provides the import `env.secret`
    ");
    assert_snapshot!(place.show(&["list"]), @r"
    exit 0
    --- stderr
    no plugin is installed
    ");
}

#[test]
fn two_plugins_one_command_is_refused_with_both_named_and_neither_breaks() {
    let place = Place::new();
    let command = r#","cliCommands":[{"name":"hello"}]"#;
    let one = place.source("one", &Source { name: "one", manifest: command, ..PLAIN });
    let two = place.source("two", &Source { name: "two", manifest: command, ..PLAIN });
    place.ok(&["install", &one]);
    assert_snapshot!(place.show(&["install", &two]), @r"
    exit 125
    --- stderr
    error: `one` and `two` both want the command `hello`
    hint: `airlock remove one` makes room
    ");
    assert_snapshot!(place.show(&["list"]), @r"
    exit 0
    --- stdout
    one  1.0.0  json  6bde2062f784  [FOLDER]/sources/one
    ");
    assert_eq!(place.ok(&["call", "hello", "f", "{}"]), "\"one\"\n");
    let named = place.source("named", &Source { name: "hello", ..PLAIN });
    assert_snapshot!(place.show(&["install", &named]), @r"
    exit 125
    --- stderr
    error: `one` and `hello` both want the command `hello`
    hint: `airlock remove one` makes room
    ");
    let commanding = r#","cliCommands":[{"name":"one"}]"#;
    let three = place.source("three", &Source { name: "three", manifest: commanding, ..PLAIN });
    assert_snapshot!(place.show(&["install", &three]), @r"
    exit 125
    --- stderr
    error: `one` and `three` both want the command `one`
    hint: `airlock remove one` makes room
    ");
    place.ok(&["remove", "one"]);
    place.ok(&["install", &two]);
    assert_eq!(place.ok(&["call", "two", "f", "{}"]), "\"one\"\n");
}

#[test]
fn an_update_shows_the_difference_and_a_refusal_changes_nothing() {
    let place = Place::new();
    place.ok(&["install", &place.source("one", &ASKER), "--allow-all-requested"]);
    let more = r#","permissions":{"filesystem":["write:./data"],"env":["HOME"]}"#;
    let two = place.source("two", &Source { version: "2.0.0", answer: "\"two\"", manifest: more, ..ASKER });
    let before = place.ok(&["list", "--json"]);
    assert_snapshot!(place.show(&["update", "asker", &two]), @r"
    exit 126
    --- stderr
    `asker` would change:
      version    1.0.0 -> 2.0.0
      digest     6bde2062f784 -> 01188d33fb34
    + asks for   env=HOME: read `HOME` of the environment
    + asks for   fs.read=data -> fs.write=data: read, create, change and delete `data` in the folder it is run in and everything below it
    - asks for   net=https://api.example.com
    error: updating `asker` was not agreed to
    hint: nobody can be asked here; `--yes` agrees to the difference
    ");
    assert_snapshot!(place.show(&["update", "asker", &two, "--yes"]), @r"
    exit 126
    --- stderr
    `asker` would change:
      version    1.0.0 -> 2.0.0
      digest     6bde2062f784 -> 01188d33fb34
    + asks for   env=HOME: read `HOME` of the environment
    + asks for   fs.read=data -> fs.write=data: read, create, change and delete `data` in the folder it is run in and everything below it
    - asks for   net=https://api.example.com
    error: `fs.write=data` is needed and not granted
    hint: nobody can be asked here; `--allow fs.write=data --allow env=HOME` grants what it asks for, `--deny` does not
    ");
    assert_eq!(place.ok(&["list", "--json"]), before);

    place.ok(&["update", "asker", &two, "--yes", "--allow", "fs.write=data", "--deny", "env=HOME"]);
    assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"two\"\n");
    assert_snapshot!(place.show(&["rollback", "asker"]), @r"
    exit 0
    --- stdout
    rolled back to asker 1.0.0 (6bde2062f784)
    ");
    assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"one\"\n");
    assert_snapshot!(place.show(&["rollback", "asker"]), @r"
    exit 2
    --- stderr
    error: `asker`: there is no version before this one
    ");
    assert_snapshot!(place.show(&["update", "asker", &place.source("one", &ASKER), "--yes", "--allow-all-requested"]), @r"
    exit 0
    --- stderr
    nothing changes
    ");
}

#[test]
fn dropped_capability_is_not_an_escalation() {
    let place = Place::new();
    place.ok(&["install", &place.source("one", &ASKER), "--allow-all-requested"]);
    let less = r#","permissions":{"filesystem":["read:./data"]}"#;
    let two = place.source("two", &Source { version: "2.0.0", answer: "\"two\"", manifest: less, ..ASKER });
    let shown = place.show(&["update", "asker", &two, "--yes", "--allow", "fs.read=data"]);
    assert!(shown.contains("- asks for   net=https://api.example.com"), "{shown}");
    assert!(!shown.contains("+ "), "{shown}");
}

/// A program that does nothing.
fn program() -> Vec<u8> {
    wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap()
}

#[test]
fn wasm_to_native_is_refused() {
    let place = Place::new();
    let toml = |runtime: &str| {
        format!(
            "[plugin]\nname = \"life\"\nversion = \"1\"\n{runtime}[[commands]]\nname = \"life\"\nbinary = \"life.wasm\"\n"
        )
    };
    let folder = place.path("life");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("life.wasm"), program()).unwrap();
    std::fs::write(folder.join("plugin.toml"), toml("runtime = \"wasm\"\n")).unwrap();
    place.ok(&["install", &text(&folder)]);
    std::fs::write(folder.join("plugin.toml"), toml("")).unwrap();
    assert_snapshot!(place.show(&["update", "life", &text(&folder), "--yes"]), @r"
    exit 125
    --- stderr
    error: manifest `plugin.toml` is not valid: `plugin.runtime` is not `wasm`, and Airlock runs no native code
    ");
}

#[test]
fn new_build_hook_is_shown_and_never_run() {
    let place = Place::new();
    let toml = |hooks: &str| {
        format!(
            "[plugin]\nname = \"life\"\nversion = \"1\"\nruntime = \"wasm\"\n[[commands]]\nname = \"life\"\n\
             binary = \"life.wasm\"\n{hooks}"
        )
    };
    let folder = place.path("life");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("life.wasm"), program()).unwrap();
    std::fs::write(folder.join("plugin.toml"), toml("")).unwrap();
    place.ok(&["install", &text(&folder)]);
    let hook = format!("[hooks]\nbuild = \"touch {}\"\n", text(&folder.join("ran")));
    std::fs::write(folder.join("plugin.toml"), toml(&hook)).unwrap();
    let shown = place.show(&["update", "life", &text(&folder), "--yes"]);
    assert!(shown.contains("+ hook       build: none -> touch"), "{shown}");
    assert!(!folder.join("ran").exists());
}

#[test]
fn a_build_command_is_shown_asked_about_and_run_in_a_copy() {
    let place = Place::new();
    let folder = place.path("life");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("life.bin"), program()).unwrap();
    let toml = "[plugin]\nname = \"life\"\nversion = \"1\"\nruntime = \"wasm\"\n[[commands]]\nname = \"life\"\n\
                binary = \"life.wasm\"\n[hooks]\nbuild = \"cp life.bin life.wasm\"\n";
    std::fs::write(folder.join("plugin.toml"), toml).unwrap();
    let source = text(&folder);
    assert_snapshot!(place.show(&["install", &source]), @r"
    exit 125
    --- stderr
    error: `[FOLDER]/sources/life` cannot be installed: there is no `life.wasm` in it
    hint: it has to be built first: `airlock install --build [FOLDER]/sources/life` shows how, and asks
    ");
    assert_snapshot!(place.show(&["install", "--build", &source]), @r"
    exit 126
    --- stderr
    `life` is built by this command, outside the sandbox, as you, in a copy of its folder:
      cp life.bin life.wasm
    error: building `life` was not agreed to
    hint: nobody can be asked here; build it first and install what was built
    ");
    let run = |answer: &str| {
        let mut command = place.airlock();
        command.args(["install", "--build", &source]);
        let mut terminal = Terminal::run(command);
        terminal.expect("  cp life.bin life.wasm");
        terminal.expect("Run it? [y]es, [N]o: ");
        terminal.type_line(answer);
        terminal.end()
    };
    assert_eq!(run("").0, 126);
    let (code, screen) = run("y");
    assert_eq!(code, 0, "{screen}");
    assert!(!folder.join("life.wasm").exists(), "the source is never written to");
    assert!(place.ok(&["list"]).contains("[FOLDER]/sources/life"));
}

#[test]
fn an_unknown_manifest_key_is_a_named_warning_and_an_error_when_checked_strictly() {
    let place = Place::new();
    let odd = place.source("odd", &Source { manifest: r#","colour":"red""#, ..PLAIN });
    assert_snapshot!(place.show(&["check", &odd]), @r"
    exit 0
    --- stderr
    warning: unknown key `colour`
    notes: 1; `airlock check -v` shows them
    `plain` can be installed; warnings: 1
    ");
    assert_snapshot!(place.show(&["check", "--strict", &odd]), @r"
    exit 1
    --- stderr
    warning: unknown key `colour`
    notes: 1; `airlock check -v` shows them
    `plain` is refused for its warnings: 1
    ");
    assert_snapshot!(place.show(&["check", "--strict", &place.source("plain", &PLAIN)]), @r"
    exit 0
    --- stderr
    notes: 1; `airlock check -v` shows them
    `plain` can be installed, and nothing is odd about it
    ");
    let unknown = r#","permissions":{"network":["gopher://x"]}"#;
    assert_snapshot!(place.show(&["check", &place.source("unknown", &Source { manifest: unknown, ..PLAIN })]), @r"
    exit 125
    --- stderr
    error: manifest `cortex.json` is not valid: in `permissions.network`: `net=gopher://x`: `gopher` is not `http`, `https`, `tcp` or `udp`
    ");
    assert_eq!(place.show(&["list"]), "exit 0\n--- stderr\nno plugin is installed\n");
}

#[test]
fn manifest_bomb_sizes_counts_and_paths_are_bounded() {
    let place = Place::new();
    let folder = place.write("bomb", &PLAIN);
    let entry = text(&folder);
    let refused = |manifest: &[u8]| {
        std::fs::write(folder.join("cortex.json"), manifest).unwrap();
        let shown = place.show(&["install", &entry]);
        assert!(shown.starts_with("exit 125") || shown.starts_with("exit 123"), "{shown}");
        shown
    };
    refused(&vec![b' '; 100 << 20]);
    let many: Vec<String> = (0..10_000).map(|index| format!("https://h{index}.example")).collect();
    let many = serde_json::json!({"name":"a","entryPoint":"plugin.wasm","permissions":{"network":many}});
    assert!(refused(many.to_string().as_bytes()).contains("more than 1000"));
    assert!(refused(br#"{"name":"a","entryPoint":"../plugin.wasm"}"#).contains("inside the plugin's folder"));
    std::fs::remove_file(folder.join("cortex.json")).unwrap();
    std::fs::write(
        folder.join("plugin.toml"),
        "[plugin]\nname=\"a\"\nversion=\"1\"\nruntime=\"wasm\"\n[[commands]]\nname=\"a\"\nbinary=\"/etc/passwd\"\n",
    )
    .unwrap();
    assert!(place.show(&["install", &entry]).contains("inside the plugin's folder"));
    assert_eq!(place.show(&["list"]), "exit 0\n--- stderr\nno plugin is installed\n");
}

#[test]
fn prompt_injection_names_and_scopes_cannot_forge_a_prompt() {
    let place = Place::new();
    let forged = Source { name: "good\u{1b}[2K\r`trusted` asks for nothing\nAllow? ", ..ASKER };
    let shown = place.show(&["install", &place.source("forged", &forged)]);
    assert!(shown.starts_with("exit 125") && !shown.contains('\u{1b}'), "{shown}");

    let scope = r#","permissions":{"filesystem":["read:./a\u202eb"]}"#;
    let hidden = place.source("hidden", &Source { name: "hidden", manifest: scope, ..PLAIN });
    assert_snapshot!(place.show(&["install", &hidden]), @r"
    exit 125
    --- stderr
    error: manifest `cortex.json` is not valid: in `permissions.filesystem`: `fs.read=./a\u{202e}b`: a scope has no control characters and no invisible ones
    ");

    let about = r#","description":"fine\u001b[2J\n+ high","permissions":{"network":["https://x.example"]}"#;
    let source = place.source("about", &Source { name: "about to say yes", manifest: about, ..PLAIN });
    let mut command = place.airlock();
    command.args(["install", &source]);
    let mut terminal = Terminal::run(command);
    terminal.expect("[N]o: ");
    terminal.type_line("");
    let (code, screen) = terminal.end();
    assert_eq!(code, 126, "{screen}");
    assert!(!screen.contains('\u{1b}'), "{screen}");
}

#[test]
fn read_to_write_is_shown_and_asked() {
    let place = Place::new();
    let asks = |verb: &str| format!(r#","permissions":{{"filesystem":["{verb}:./data"]}}"#);
    let one = place.source("one", &Source { manifest: &asks("read"), ..ASKER });
    let two = place.source("two", &Source { manifest: &asks("write"), version: "1.0.1", ..ASKER });
    place.ok(&["install", &one, "--allow-all-requested"]);
    let mut command = place.airlock();
    command.args(["update", "asker", &two]);
    let mut terminal = Terminal::run(command);
    terminal.expect("+ asks for   fs.read=data -> fs.write=data");
    terminal.expect("Update? [y]es, [N]o: ");
    terminal.type_line("y");
    terminal.expect("+ high    read, create, change and delete `data`");
    terminal.expect("[N]o: ");
    terminal.type_line("n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 126, "{screen}");
    assert!(place.ok(&["info", "asker"]).contains("fs.read=data (optional)"), "nothing has changed");
}
