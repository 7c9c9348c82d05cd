//! `plugins/prx-email`: what of it is committed is what its sources make, the component of its module and the bindings
//! of its WIT, and its folder is as its page has it. That the module is what the compiler makes of them is checked by `plugins/build --check`.

use airlock_host::{Input, LoadOptions, componentised};
use serde_json::{Value, json};
use wit_bindgen_core::{Files, WorldGenerator as _, wit_parser::Resolve};
use wit_bindgen_rust::Opts;

use crate::support::{host, repository};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(repository("plugins/prx-email").join(name)).expect("it is committed")
}

#[test]
fn the_component_for_mail_is_what_its_module_makes() {
    let made = componentised(&file("prx_email_plugin.wasm")).expect("it fits").expect("it says its world");
    assert!(made == file("plugin.wasm"), "run scripts/build_wasm_plugin.sh or plugins/build");
}

#[test]
fn the_bindings_for_mail_are_what_its_wit_makes() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repository("plugins/prx-email/wit")).expect("it is valid");
    let world = resolve.select_world(&[package], Some("tool")).expect("it is there");
    // As the first line of the file has it.
    let options = Opts {
        pub_export_macro: true,
        default_bindings_module: Some("bindings".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&resolve, world, &mut files).expect("it has bindings");
    let made: Vec<(&str, String)> =
        files.iter().map(|(name, text)| (name, String::from_utf8_lossy(text).into_owned())).collect();
    let [(_, made)] = &made[..] else { panic!("it is one file: {made:?}") };
    let committed = String::from_utf8(file("src/bindings.rs")).expect("it is a text");
    let (said, committed) = committed.split_once('\n').expect("its first line");
    assert!(said.contains("--world tool --pub-export-macro --default-bindings-module bindings"), "{said}");
    // Before anything else the generator says its version, and what it was given.
    let text = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.starts_with("// "));
        lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(text(committed), text(made));
}

/// PRX's own folder of them does not resolve.
#[test]
fn the_packages_of_wit_resolve_with_all_seven_worlds() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repository("wit/prx-plugin")).expect("it is valid");
    let package = &resolve.packages[package];
    assert_eq!(package.name.to_string(), "prx:plugin@0.1.0");
    let worlds: Vec<&str> = package.worlds.keys().map(String::as_str).collect();
    assert_eq!(worlds, ["base-plugin", "tool", "middleware", "hook", "cron", "provider", "storage"]);
    let mut host = Resolve::default();
    let (package, _) = host.push_dir(repository("wit/prx-host")).expect("it is valid");
    let mut interfaces: Vec<&str> = host.packages[package].interfaces.keys().map(String::as_str).collect();
    interfaces.sort_unstable();
    assert_eq!(
        interfaces,
        ["config", "email", "events", "http-outbound", "kv", "log", "memory", "websocket-outbound"]
    );
}

/// The keys that the page on it has, as its page has them.
#[test]
fn the_folder_for_mail_is_as_its_page_has_it() {
    let manifest = String::from_utf8(file("Cargo.toml")).expect("a text");
    let lines: Vec<&str> = manifest.lines().collect();
    for line in [
        "[package]",
        "name = \"prx-email-plugin\"",
        "version = \"0.1.0\"",
        "edition = \"2024\"",
        "[lib]",
        "crate-type = [\"cdylib\", \"rlib\"]",
        "[dependencies]",
        "serde = { version = \"1.0\", features = [\"derive\"] }",
        "serde_json = \"1.0\"",
        "wit-bindgen = { version = \"0.51\", features = [\"macros\"] }",
        "[package.metadata.component]",
        "package = \"prx:plugin\"",
        "[package.metadata.component.target.dependencies]",
        "\"prx:host\" = { path = \"wit/deps/prx-host\" }",
    ] {
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line}");
    }
    let dependencies = lines.iter().skip_while(|line| **line != "[dependencies]").skip(1);
    assert_eq!(dependencies.take_while(|line| !line.is_empty()).count(), 3);
    for name in ["plugin.toml", "plugin.wasm", "src/lib.rs", "src/bindings.rs", "wit/deps/prx-host/log.wit"] {
        assert!(!file(name).is_empty(), "{name}");
    }
}

#[test]
fn a_host_without_a_mailbox_says_so_to_the_plugin() {
    let options = LoadOptions::new().allow("email.read=*".parse().expect("a capability"));
    let plugin = host().load_blocking(repository("plugins/prx-email").as_path(), options).expect("it loads");
    for tool in ["email.list", "email.get"] {
        let input = Input::json(&json!({ "tool": tool, "account_id": 1, "message_id": "x" })).expect("JSON");
        let error = plugin.invoke_blocking("execute", input).expect_err("there is no mailbox");
        let output: Value = serde_json::from_str(error.output().expect("it says more")).expect("JSON");
        assert_eq!((&output["ok"], &output["tool"]), (&json!(false), &json!(tool)));
        assert_eq!(output["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
    }
}
