//! PRX's plugins on the command line.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{output, repository, show};

const TOOL: &str = "plugins/prx-tool";

#[test]
fn a_tool_is_called_by_its_name_and_its_output_is_printed_also_where_it_fails() {
    let call = |args: &[&str]| {
        let all: Vec<&str> =
            ["call", "--allow", "kv=1MiB", TOOL].into_iter().chain(args.iter().copied()).collect();
        show(&all)
    };
    assert_snapshot!(call(&["probe.execute", r#"{"do":"config.get","args":["greeting"]}"#]), @r#"
    exit 0
    --- stdout
    "hello"
    "#);
    assert_snapshot!(call(&["execute", r#"{"do":"nothing"}"#]), @r#"
    exit 1
    --- stdout
    {"did":"nothing","ok":false}
    --- stderr
    error: the plugin failed: unsupported: nothing
    "#);
    let args = ["--json", "call", "--allow", "kv=1MiB", TOOL, "execute", r#"{"do":"nothing"}"#];
    let printed: Value = serde_json::from_slice(&output(&args).stdout).unwrap();
    assert_eq!(printed["error"]["output"], r#"{"did":"nothing","ok":false}"#);
    // Its manifest does as well as its folder.
    let manifest = "plugins/prx-tool/plugin.toml";
    assert_snapshot!(show(&["call", "--allow", "kv=1MiB", manifest, "execute", r#"{"do":"text"}"#]), @r#"
    exit 0
    --- stdout
    "plain, and no JSON"
    "#);
}

#[test]
fn what_it_requires_is_asked_for() {
    let refused = show(&["call", TOOL, "execute", "{}"]);
    assert!(refused.starts_with("exit 126\n"), "{refused}");
    assert!(refused.contains("error: `kv=1MiB` is needed and not granted"), "{refused}");
}

#[test]
fn inspect_shows_what_it_does_and_the_schema_of_its_tool() {
    let printed: Value = serde_json::from_slice(&output(&["--json", "inspect", TOOL]).stdout).unwrap();
    assert_eq!(printed["abi"], "prx");
    assert_eq!(printed["manifest"]["format"], "prx");
    assert_eq!(printed["manifest"]["tools"][0]["schema"]["required"], json!(["do"]));
    assert_eq!(printed["manifest"]["prx"]["capabilities"][0]["type"], "tool");
    assert_eq!(printed["limits"]["http_requests"], 3);
    let schema: Value =
        serde_json::from_slice(&output(&["inspect", TOOL, "--schema", "probe.execute"]).stdout).unwrap();
    assert_eq!(schema["properties"]["params"]["properties"]["times"]["default"], 1);
    let all: Value = serde_json::from_slice(&output(&["inspect", TOOL, "--schema"]).stdout).unwrap();
    assert_eq!(all["probe.execute"], schema);
    let text = show(&["inspect", "plugins/prx-hook"]);
    assert!(text.contains("hook `audit` of agent_start, agent_end, build.*"), "{text}");
    let text = show(&["inspect", "plugins/prx-cron"]);
    assert!(text.contains("cron `nightly` at 0 3 * * *"), "{text}");
}

/// Runs the command with a home of its own.
fn run_at(home: &std::path::Path, args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(args)
        .current_dir(repository())
        .env("AIRLOCK_HOME", home)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn it_is_installed_and_keeps_and_remembers_from_call_to_call() {
    let home = tempfile::tempdir().unwrap();
    let airlock = |args: &[&str]| {
        let output = run_at(home.path(), args);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), stdout.trim().to_owned(), stderr.into_owned())
    };
    let (code, _, stderr) = airlock(&["install", "--allow-all-requested", TOOL]);
    assert_eq!(code, Some(0), "{stderr}");
    let call = |what: &str, args: Value| {
        let input = json!({ "do": what, "args": args }).to_string();
        let (code, stdout, stderr) = airlock(&["call", "prx-tool", "execute", &input]);
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    call("kv.set", json!(["color", "green"]));
    assert_eq!(call("kv.get", json!(["color"])), "green");
    let id = call("memory.store", json!(["the kettle is in the kitchen", "core"]));
    call("memory.store", json!(["nothing of it", "core"]));
    let found = call("memory.recall", json!(["kettle kitchen", 5]));
    assert_eq!(found, json!([[id, "the kettle is in the kitchen", "core", 1.0]]));
}

#[test]
fn installed_plugins_are_listed_as_prxs_api_has_them() {
    let home = tempfile::tempdir().unwrap();
    let airlock = |args: &[&str]| {
        let output = run_at(home.path(), args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let list = || serde_json::from_str::<Value>(&airlock(&["plugins", "list", "--prx"])).unwrap();
    assert_eq!(list(), json!({ "plugins": [], "count": 0, "generation": 0 }));
    let denied = ["memory", "net=https://api.example.com", "events.publish=*", "events.subscribe=*"];
    let denials = denied.iter().flat_map(|capability| ["--deny", capability]);
    airlock(&["install", "--allow", "kv=1MiB", TOOL].into_iter().chain(denials).collect::<Vec<_>>());
    let mut told = json!({
        "name": "prx-tool",
        "version": "0.1.0",
        "description": "A tool that does with its host what it is told to",
        "capabilities": ["tool:probe"],
        "status": "Active",
        "permissions_required": ["log", "config", "kv"],
        "permissions_granted": ["log", "config", "kv"],
    });
    assert_eq!(list(), json!({ "plugins": [told], "count": 1, "generation": 1 }));
    // It would not be loaded now.
    airlock(&["revoke", "prx-tool", "kv"]);
    told["status"] = json!({ "Error": "required permissions not granted: kv" });
    told["permissions_granted"] = json!(["log", "config"]);
    assert_eq!(list()["plugins"][0], told);
}

#[test]
fn a_tool_from_before_components_is_called_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let module = r#"(module
        (memory (export "memory") 2)
        (global $length (mut i32) (i32.const 0))
        (func (export "get_spec") (result i32) unreachable)
        (func (export "execute") (param i32 i32) (result i32)
            (global.set $length (local.get 1))
            (local.get 0))
        (func (export "result_len") (result i32) (global.get $length)))"#;
    std::fs::write(folder.path().join("plugin.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let manifest = r#"
        [plugin]
        name = "voice"
        version = "0.1.0"
        [plugin.capabilities]
        tools = true
        [[plugin.tools]]
        name = "voice_session"
        description = "Begins one"
        parameters = [{ name = "provider", type = "string", required = true }, { name = "voice", type = "string" }]
    "#;
    std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    let path = folder.path().to_str().unwrap();
    assert_snapshot!(show(&["call", path, "voice_session", r#"{"provider":"xai"}"#]), @r#"
    exit 0
    --- stdout
    {"tool":"voice_session","params":{"provider":"xai"}}
    "#);
    assert_snapshot!(show(&["call", path, "voice_sesion", "{}"]), @r"
    exit 127
    --- stderr
    error: `voice` has no function `voice_sesion`
    hint: did you mean `voice_session`?
    ");
    let text = show(&["inspect", path]);
    assert!(text.contains("\nfunctions  voice_session\n           execute\n           get_spec\n"), "{text}");
    let line = "\ntools      voice_session(provider: string, voice?: string): Begins one\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn an_archive_as_prx_packs_them_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = std::fs::read(repository().join("plugins/prx-cron/prx_cron.wasm")).unwrap();
    let manifest = "[plugin]\nname = \"nightly\"\nversion = \"0.1.0\"\n[[capabilities]]\ntype = \"cron\"\n\
        name = \"nightly\"\nschedule = \"0 3 * * *\"\n[permissions]\nrequired = [\"log\", \"kv\"]\n";
    let pack = |wasm_of_sums: &[u8]| {
        let sums: String = [("plugin.toml", manifest.as_bytes()), ("plugin.wasm", wasm_of_sums)]
            .iter()
            .map(|(name, bytes)| format!("{}  {name}\n", airlock_host::Digest::of(bytes)))
            .collect();
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
        for (name, bytes) in [
            ("plugin.wasm", &wasm[..]),
            ("plugin.toml", manifest.as_bytes()),
            ("checksums.sha256", sums.as_bytes()),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("nightly-0.1.0/{name}"), bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    };
    let path = folder.path().join("nightly-0.1.0.prxplugin");
    let install = ["install", "--allow-all-requested", path.to_str().unwrap()];
    let home = folder.path().join("home");
    std::fs::write(&path, pack(b"another")).unwrap();
    let output = run_at(&home, &install);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("`plugin.wasm` is not what `checksums.sha256` says that it is"), "{stderr}");
    std::fs::write(&path, pack(&wasm)).unwrap();
    let output = run_at(&home, &install);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run_at(&home, &["call", "nightly", "run"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\"run 1\"\n");
}
