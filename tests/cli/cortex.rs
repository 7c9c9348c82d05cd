//! CortexPrism's plugins at the command line.

use crate::plugins::Place;

const TOOLS: &str = "plugins/cortex-tools-c";

#[test]
fn an_installed_plugins_state_outlives_its_process_and_goes_with_it() {
    let place = Place::new();
    place.ok(&["install", TOOLS, "--allow-all-requested"]);
    assert_eq!(place.ok(&["call", "cortex-tools-c", "count"]), "{\"count\":1}\n");
    assert_eq!(place.ok(&["plugin", "call", "cortex-tools-c", "count", "{}"]), "{\"count\":2}\n");
    place.ok(&["remove", "cortex-tools-c"]);
    place.ok(&["install", TOOLS, "--allow-all-requested"]);
    assert_eq!(place.ok(&["call", "cortex-tools-c", "count"]), "{\"count\":1}\n");
}

#[test]
fn another_plugin_of_an_installed_ones_name_gets_nothing_of_its_state() {
    let place = Place::new();
    place.ok(&["install", TOOLS, "--allow-all-requested"]);
    place.ok(&["call", "cortex-tools-c", "count"]);
    // Its state needs no grant, and is all the same not another's of that name.
    let other = ["call", "--name", "cortex-tools-c", "plugins/cortex-tools-rust/cortex_tools.wasm", "count"];
    let shown = place.show(&other);
    assert!(shown.starts_with("exit 125\n"), "{shown}");
    assert!(shown.contains("`cortex-tools-c` is installed already"), "{shown}");
    let itself = ["call", "plugins/cortex-tools-c", "count"];
    assert_eq!(place.ok(&itself), "{\"count\":2}\n");
}

#[test]
fn inspect_lists_tools_with_what_they_take_and_who_made_them() {
    let place = Place::new();
    let shown = place.ok(&["inspect", TOOLS]);
    for line in [
        "abi        cortex: it exports `plugin_execute_tool`",
        "instance   kept in a session",
        "tools      echo(value?: object): Gives its arguments back",
        "           fetch(url: string, method?: string, body?: string, headers?: object): Makes an HTTP request",
        "baseline   log",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&place.ok(&["--json", "inspect", TOOLS])).unwrap();
    assert_eq!(json["manifest"]["tools"][0]["name"], "echo");
    assert_eq!(json["manifest"]["tools"][0]["params"][0]["type"], "object");
}

#[test]
fn a_file_that_was_changed_after_its_manifest_was_written_is_not_installed() {
    let place = Place::new();
    let folder = place.path("changed");
    std::fs::create_dir_all(&folder).unwrap();
    let wasm = std::fs::read("../../plugins/text-processor-c/text_processor.wasm").unwrap();
    let digest = airlock_host::Digest::of(&wasm);
    let manifest =
        format!(r#"{{"name":"changed","kind":"wasm","entryPoint":"p.wasm","hash":"sha256:{digest}"}}"#);
    std::fs::write(folder.join("cortex.json"), manifest).unwrap();
    std::fs::write(folder.join("p.wasm"), &wasm).unwrap();
    let source = folder.to_str().unwrap();
    place.ok(&["install", source]);
    std::fs::write(folder.join("p.wasm"), [wasm.as_slice(), &[0, 2, 1, b'x']].concat()).unwrap();
    for verb in [&["install", source][..], &["update", "changed", source, "--yes"], &["check", source]] {
        let shown = place.show(verb);
        assert!(shown.contains("the wasm file has the digest "), "{verb:?}: {shown}");
        assert!(!shown.starts_with("exit 0"), "{verb:?}: {shown}");
    }
    // What was installed is what it was.
    let input = r#"{"text":"ab","mode":"reverse"}"#;
    assert!(place.ok(&["call", "changed", "transform", input]).starts_with("{\"result\":\"ba\""));
}

#[test]
fn host_calls_are_traced_one_by_one() {
    let place = Place::new();
    let output = place.output(&["-vv", "plugin", "call", TOOLS, "log", r#"{"message":"hi"}"#]);
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["loaded", "abi=cortex", "function=\"host_log\"", "called", "memory=", "host_calls="] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"logged\":true}\n");
}
