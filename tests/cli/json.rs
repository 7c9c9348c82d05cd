//! `--json`: one object on standard output, and docs/json.md names all that is in it.

use std::collections::BTreeSet;
use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::plugins::{Place, program, text};
use crate::support::repository;

/// Keys below which the keys are names of files, limits, commands and hooks.
const BY_NAME: [&str; 4] = ["files", "limits", "commands", "hooks"];

/// The object that a verb prints, once that is known to be all of its output.
fn object(place: &Place, args: &[&str]) -> Value {
    let output = place.output(&[&["--json"], args].concat());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 1, "{args:?}: {printed}");
    let value: Value = serde_json::from_str(&printed).unwrap();
    assert!(value.is_object(), "{printed}");
    assert_eq!(value["schema"], 1);
    assert_eq!(output.stderr, b"", "{args:?}");
    value
}

/// The keys of an object and of all in it.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                if !BY_NAME.contains(&key.as_str()) || value.is_array() {
                    keys(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// The same without what differs from run to run.
fn plain(place: &Place, key: &str, value: &mut Value) {
    match value {
        Value::Object(_) if key == "limits" => *value = json!("[LIMITS]"),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| plain(place, key, value)),
        Value::Array(values) => values.iter_mut().for_each(|value| plain(place, key, value)),
        Value::String(text) if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) => {
            *value = json!("[DIGEST]");
        }
        Value::String(text) => *value = json!(place.plain(text)),
        Value::Number(_)
            if matches!(key, "installed_at" | "wall_ns" | "fuel" | "memory_bytes" | "load_ms") =>
        {
            *value = json!("[NUMBER]");
        }
        _ => {}
    }
}

#[test]
fn each_verb_prints_one_object_whose_keys_the_page_names() {
    let place = Place::new();
    let folder = place.path("");
    fs::create_dir_all(&folder).unwrap();
    let sources = text(&folder);
    let new = object(&place, &["new", "fledge-hello", "--abi", "fledge", "-o", &sources]);
    let source = text(&folder.join("fledge-hello"));
    let unbuilt = object(&place, &["check", &source]);
    // What builds it here is no compiler.
    let manifest = format!("{source}/plugin.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let hook = text.replace("cargo build --target wasm32-wasip1 --release", "sh build.sh");
    fs::write(&manifest, hook.replace("filesystem = \"project\"", "store = true")).unwrap();
    let wasm = "target/wasm32-wasip1/release";
    fs::write(format!("{source}/build.sh"), format!("mkdir -p {wasm} && cp made {wasm}/fledge-hello.wasm"))
        .unwrap();
    fs::write(format!("{source}/made"), program("hello")).unwrap();

    let mut shown = String::new();
    let mut named = BTreeSet::new();
    let mut tell = |args: &[&str], mut value: Value| {
        keys(&value, &mut named);
        plain(&place, "", &mut value);
        shown.push_str(&place.plain(&format!("$ airlock {}\n{value}\n", args.join(" "))));
    };
    tell(&["new", "fledge-hello"], new);
    tell(&["check"], unbuilt);
    for args in [
        &["build", source.as_str()][..],
        &["check", &source],
        &["install", &source],
        &["install", &source, "--allow", "kv"],
        &["list"],
        &["run", "hello"],
        &["update", "fledge-hello", &source],
        &["plugins", "update"],
        &["plugins", "audit"],
        &["remove", "fledge-hello"],
    ] {
        tell(args, object(&place, args));
    }
    assert_snapshot!(shown, @r#"
    $ airlock new fledge-hello
    {"schema":1,"ok":true,"name":"fledge-hello","path":"[FOLDER]/sources/fledge-hello","abi":"fledge","lang":"rust","command":"hello","description":"Lists lines that are too long","files":["Cargo.toml",".cargo/config.toml","src/main.rs","plugin.toml","tests/lint.toml","tests/project/long.txt","README.md",".gitignore"]}
    $ airlock check
    {"schema":1,"ok":false,"path":"[FOLDER]/sources/fledge-hello","plugin":null,"facts":null,"modules":[],"findings":[{"code":"missing-binary","severity":"error","message":"the command `hello` runs `target/wasm32-wasip1/release/fledge-hello.wasm`, which is not there","hint":"`airlock build` builds it"}],"counts":{"errors":1,"warnings":0,"notes":0}}
    $ airlock build [FOLDER]/sources/fledge-hello
    {"schema":1,"ok":true,"name":"fledge-hello","version":"0.1.0","language":null,"target":null,"tools":[],"commands":[["sh","build.sh"]],"source":{"digest":"[DIGEST]","files":10},"optimised":null,"files":[{"path":"target/wasm32-wasip1/release/fledge-hello.wasm","size":136,"digest":"[DIGEST]"}],"command":["sh","build.sh"],"record":"fledge-hello.build.json"}
    $ airlock check [FOLDER]/sources/fledge-hello
    {"schema":1,"ok":true,"path":"[FOLDER]/sources/fledge-hello","plugin":{"name":"fledge-hello","digest":"[DIGEST]"},"facts":{"abi":"fledge","size":136,"requests":[{"capability":"kv=1MiB","required":false}],"imports":["fledge.send"],"limits":"[LIMITS]","commands":{"hello":"target/wasm32-wasip1/release/fledge-hello.wasm"},"hooks":{"build":"sh build.sh"}},"modules":[{"path":"target/wasm32-wasip1/release/fledge-hello.wasm","abi":"fledge","why":"the manifest of `fledge-hello` is fledge's","functions_to_call":[],"load_ms":"[NUMBER]","size":136,"code":8,"data":34,"custom":9,"sections":[{"kind":"type","size":9},{"kind":"import","size":15},{"kind":"function","size":2},{"kind":"memory","size":3},{"kind":"export","size":19},{"kind":"code","size":10},{"kind":"data","size":40},{"kind":"custom","name":"name","size":14}],"functions":1,"imported_functions":1,"globals":0,"tables":0,"table_elements":0,"elements":0,"memories":[{"minimum":1,"maximum":null,"imported":false}],"data_range":[16,50],"has_start":false,"stack":null,"largest":[{"index":1,"name":null,"size":8}],"names":1,"odd_name":null,"dwarf":0,"producers":[],"makes_nan":null,"relaxed_simd":null,"grows":false,"off_pool":null}],"findings":[],"counts":{"errors":0,"warnings":0,"notes":0}}
    $ airlock install [FOLDER]/sources/fledge-hello
    {"schema":1,"ok":false,"error":{"code":"denied","culprit":"policy","message":"`kv=1MiB` is needed and not granted","causes":[],"hint":"nobody can be asked here; `--allow kv=1MiB` grants what it asks for, `--deny` does not"}}
    $ airlock install [FOLDER]/sources/fledge-hello --allow kv
    {"schema":1,"ok":true,"plugin":{"id":1,"name":"fledge-hello","version":"0.1.0","source":"[FOLDER]/sources/fledge-hello","link":null,"entry":"target/wasm32-wasip1/release/fledge-hello.wasm","files":{"target/wasm32-wasip1/release/fledge-hello.wasm":"[DIGEST]"},"facts":{"abi":"fledge","size":136,"requests":[{"capability":"kv=1MiB","required":false}],"imports":["fledge.send"],"limits":"[LIMITS]","commands":{"hello":"target/wasm32-wasip1/release/fledge-hello.wasm"},"hooks":{"build":"sh build.sh"}},"installed_at":"[NUMBER]","current":true}}
    $ airlock list
    {"schema":1,"ok":true,"plugins":[{"id":1,"name":"fledge-hello","version":"0.1.0","source":"[FOLDER]/sources/fledge-hello","link":null,"entry":"target/wasm32-wasip1/release/fledge-hello.wasm","files":{"target/wasm32-wasip1/release/fledge-hello.wasm":"[DIGEST]"},"facts":{"abi":"fledge","size":136,"requests":[{"capability":"kv=1MiB","required":false}],"imports":["fledge.send"],"limits":"[LIMITS]","commands":{"hello":"target/wasm32-wasip1/release/fledge-hello.wasm"},"hooks":{"build":"sh build.sh"}},"installed_at":"[NUMBER]","current":true}],"found":[]}
    $ airlock run hello
    {"schema":1,"ok":true,"code":0,"stdout":"hello\n","stderr":"","usage":{"wall_ns":"[NUMBER]","fuel":"[NUMBER]","memory_bytes":"[NUMBER]","host_calls":1,"input_bytes":0,"output_bytes":6,"log_bytes":0}}
    $ airlock update fledge-hello [FOLDER]/sources/fledge-hello
    {"schema":1,"ok":true,"plugin":{"id":1,"name":"fledge-hello","version":"0.1.0","source":"[FOLDER]/sources/fledge-hello","link":null,"entry":"target/wasm32-wasip1/release/fledge-hello.wasm","files":{"target/wasm32-wasip1/release/fledge-hello.wasm":"[DIGEST]"},"facts":{"abi":"fledge","size":136,"requests":[{"capability":"kv=1MiB","required":false}],"imports":["fledge.send"],"limits":"[LIMITS]","commands":{"hello":"target/wasm32-wasip1/release/fledge-hello.wasm"},"hooks":{"build":"sh build.sh"}},"installed_at":"[NUMBER]","current":true}}
    $ airlock plugins update
    {"schema":1,"ok":true,"results":[{"name":"fledge-hello","status":"unchanged","version":"0.1.0","digest":"[DIGEST]"}],"summary":{"total":1,"updated":0,"unchanged":1,"failed":0}}
    $ airlock plugins audit
    {"schema":1,"ok":true,"plugins":[{"name":"fledge-hello","version":"0.1.0","digest":"[DIGEST]","source":"[FOLDER]/sources/fledge-hello","link":null,"abi":"fledge","commands":["hello"],"granted":["kv=1MiB"],"denied":[],"undecided":[],"hooks":{"build":"sh build.sh"},"limits":"[LIMITS]"}]}
    $ airlock remove fledge-hello
    {"schema":1,"ok":true,"plugin":{"id":1,"name":"fledge-hello","version":"0.1.0","source":"[FOLDER]/sources/fledge-hello","link":null,"entry":"target/wasm32-wasip1/release/fledge-hello.wasm","files":{"target/wasm32-wasip1/release/fledge-hello.wasm":"[DIGEST]"},"facts":{"abi":"fledge","size":136,"requests":[{"capability":"kv=1MiB","required":false}],"imports":["fledge.send"],"limits":"[LIMITS]","commands":{"hello":"target/wasm32-wasip1/release/fledge-hello.wasm"},"hooks":{"build":"sh build.sh"}},"installed_at":"[NUMBER]","current":true}}
    "#);

    let page = fs::read_to_string(repository().join("docs/json.md")).unwrap();
    let missing: Vec<_> = named.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not name {missing:?}");
}
