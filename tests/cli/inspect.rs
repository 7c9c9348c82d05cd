use insta::assert_snapshot;

use crate::support::{GREET, TEXT, file, output, show};

#[test]
fn inspect_shows_what_a_plugin_is() {
    let text = show(&["inspect", TEXT]);
    let limits = text.find("limits").unwrap();
    // The digest changes with every build of the plugin.
    let stable: String = text[..limits]
        .lines()
        .filter(|line| !line.starts_with("digest") && !line.starts_with("size"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_snapshot!(stable, @r"
    exit 0
    --- stdout
    plugin     text-processor 1.0.0
    about      Reverses, cases and rotates text
    kind       module
    abi        json: the manifest of `text-processor` is CortexPrism's
    instance   fresh for every call
    memory     10 to 50 pages
    functions  transform
    requests   none
    baseline   none
    imports    wasi_snapshot_preview1.fd_write: func (i32, i32, i32, i32) -> (i32)
    exports    memory: memory of 2 pages, no maximum
               free: func (i32) -> ()
               transform: func (i32, i32) -> (i32)
               malloc: func (i32) -> (i32)
    ");
    assert!(text.contains("memory = 64.0 MiB") && text.contains("fuel = none"), "{text}");
}

#[test]
fn inspect_as_json_has_the_digest_and_every_limit() {
    let output = output(&["--json", "inspect", GREET]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let digest = value["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(value["abi"], "command");
    assert_eq!(value["limits"]["timeout"], 30_000_000_000_u64);
    assert_eq!(value["limits"]["fuel"], serde_json::Value::Null);
    let asked: Vec<_> =
        value["requests"].as_array().unwrap().iter().map(|r| r["capability"].as_str().unwrap()).collect();
    assert_eq!(asked, ["clock", "random", "fs.read=/", "fs.write=/", "env=*", "stdin=inherit", "stdout=raw"]);
}

#[test]
fn inspect_prints_text_and_shows_what_cannot_be_loaded() {
    let (_folder, path) = file("x.wat", br#"(module (import "fledge" "send" (func (param i32 i32))))"#);
    assert_snapshot!(show(&["inspect", "--wat", &path]), @r#"
    exit 0
    --- stdout
    (module
      (type (;0;) (func (param i32 i32)))
      (import "fledge" "send" (func (;0;) (type 0)))
    )
    "#);
    let text = show(&["inspect", &path]);
    assert!(text.starts_with("exit 0\n") && text.contains("fledge.send: func (i32, i32) -> ()"), "{text}");
}
