//! What a plugin of PRX's is known by, and what its manifest makes of it.

use std::os::unix::fs::symlink;

use airlock_host::{AbiId, Capability, CapabilityKind, LimitKind, LoadOptions, ManifestFormat, PrxKind};

use super::{World, folder, granted, manifest, probe, refused, wasm};
use crate::support::{host, repository, text};

const WORLDS: [&str; 6] =
    ["prx-tool", "prx-middleware", "prx-hook", "prx-cron", "prx-provider", "prx-storage"];

#[test]
fn a_component_of_any_of_its_worlds_is_known_by_what_it_exports() {
    for name in WORLDS {
        let examined = host().examine(wasm(name), &LoadOptions::new()).unwrap();
        let (abi, why) = examined.abi.unwrap();
        let kind = name.strip_prefix("prx-").unwrap();
        let wanted = format!("it is a component that exports `prx:plugin/{kind}-exports`");
        assert_eq!((abi, why), (AbiId::Prx, wanted));
    }
    // Without a version in the names of what it imports and exports.
    let plugin = host().load_blocking(wasm("prx-variants"), LoadOptions::new()).unwrap();
    assert_eq!(plugin.abi(), AbiId::Prx);
}

#[test]
fn names_without_a_version_are_those_of_every_world() {
    for (interface, function, ty, core, input) in [
        ("cron-exports", "run", "(result (result string (error string)))", "none", "[]"),
        (
            "middleware-exports",
            "process",
            r#"(param "stage" string) (param "data-json" string) (result (result string (error string)))"#,
            "two",
            r#"["inbound","{}"]"#,
        ),
        ("provider-exports", "name", "(result string)", "none", "[]"),
        ("storage-exports", "name", "(result string)", "none", "[]"),
    ] {
        let wat = format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                    (func (export "none") (result i32) (i32.const 0))
                    (func (export "two") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
                (core instance $m (instantiate $m))
                (alias core export $m "memory" (core memory $memory))
                (alias core export $m "realloc" (core func $realloc))
                (func $f {ty} (canon lift (core func $m "{core}") (memory $memory) (realloc $realloc)))
                (instance $i (export "{function}" (func $f)))
                (export "prx:plugin/{interface}" (instance $i)))"#
        );
        let plugin = host().load_blocking(wat.as_bytes(), text()).unwrap();
        assert_eq!(plugin.abi_reason(), format!("it is a component that exports `prx:plugin/{interface}`"));
        let outcome = plugin.invoke_blocking(function, airlock_host::Input::Json(input.to_owned())).unwrap();
        assert_eq!(outcome.value.to_json_text(), "\"\"", "{interface}");
    }
    // A tool and a hook are made with such names by their bindings.
    let examined = host().examine(wasm("prx-variants"), &LoadOptions::new()).unwrap();
    assert_eq!(
        examined.functions(),
        [
            "variants",
            "prx:plugin/tool-exports.get-spec",
            "prx:plugin/tool-exports.execute",
            "prx:plugin/hook-exports.on-event"
        ]
    );
}

#[test]
fn what_runs_while_it_is_instantiated_has_the_time_of_the_call() {
    let wat = |turns: &str| {
        format!(
            r#"(component
                (import "prx:host/config@0.1.0" (instance
                    (export "get" (func (param "key" string) (result (option string))))))
                (core module $m
                    (global $turns (mut i32) (i32.const 0))
                    (func $start
                        (loop
                            (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                            (br_if 0 {turns})))
                    (start $start)
                    (func (export "turns") (result i32) (global.get $turns)))
                (core instance $m (instantiate $m))
                (func (export "turns") (result u32) (canon lift (core func $m "turns"))))"#
        )
    };
    let call = |turns: &str, options: LoadOptions| {
        let plugin = host().load_blocking(wat(turns).as_bytes(), options).unwrap();
        assert_eq!(plugin.abi(), AbiId::Prx);
        plugin.invoke_blocking("turns", airlock_host::Input::Json("[]".into()))
    };
    let some = "(i32.lt_u (global.get $turns) (i32.const 100000))";
    assert_eq!(call(some, text()).unwrap().value.to_json_text(), "100000");
    let without_end = "(i32.const 1)";
    let error = call(without_end, text().limit(LimitKind::Timeout, 50_000_000)).unwrap_err();
    assert_eq!(error.code(), "deadline");
    let error = call(without_end, text().limit(LimitKind::Fuel, 1_000_000)).unwrap_err();
    assert_eq!(error.code(), "limit-fuel");
}

#[test]
fn a_folder_without_its_wasm_says_what_is_missing() {
    let home = folder("prx-tool", &manifest("wasm = \"built/notes.wasm\"\n"));
    let error = host().load_blocking(home.path(), granted()).unwrap_err();
    let missing = format!("no plugin at `{}`", home.path().join("built/notes.wasm").display());
    assert_eq!((error.code(), error.to_string()), ("plugin-not-found", missing));
}

#[test]
fn all_six_worlds_load_from_their_folders_with_wasi_and_are_instantiated() {
    for name in WORLDS {
        let path = repository(&format!("plugins/{name}"));
        let plugin = host().load_blocking(path.as_path(), granted()).unwrap();
        assert_eq!(plugin.name(), name);
        let manifest = plugin.manifest().unwrap();
        assert_eq!(manifest.format, ManifestFormat::Prx);
        assert_eq!(manifest.warnings, [""; 0], "{name}");
        assert!(plugin.session_blocking().unwrap().is_alive(), "{name}");
        let imports = &plugin.shape().imports;
        assert!(
            imports.iter().any(|import| import.module.starts_with("wasi:")),
            "{name} has a standard library"
        );
    }
}

#[test]
fn a_manifest_may_be_named_itself() {
    let path = repository("plugins/prx-tool/plugin.toml");
    assert_eq!(host().load_blocking(path.as_path(), granted()).unwrap().name(), "prx-tool");
}

#[test]
fn what_imports_its_host_is_its_plugin_whatever_it_exports() {
    let wat = r#"(component
        (import "prx:host/config@0.1.0" (instance
            (export "get" (func (param "key" string) (result (option string))))))
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let plugin = host().load_blocking(wat.as_bytes(), text()).unwrap();
    assert_eq!(plugin.abi(), AbiId::Prx);
    assert_eq!(plugin.abi_reason(), "it is a component that imports `prx:host/config@0.1.0`");
    let answer = plugin.invoke_blocking("f", airlock_host::Input::Json("[]".into())).unwrap();
    assert_eq!(answer.value.to_json_text(), "null");
}

#[test]
fn an_import_of_another_type_is_named() {
    let wat = r#"(component
        (import "prx:host/log@0.1.0" (instance $log (export "log" (func (param "level" u8) (param "message" string)))))
        (core module $m (func (export "f")) (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let error = host().load_blocking(wat.as_bytes(), text()).unwrap_err();
    assert_eq!(error.code(), "incompatible-import", "{error}");
    assert!(error.to_string().contains("prx:host/log@0.1.0"), "{error}");
    let other = wat.replace("prx:host/log@0.1.0", "prx:host/clock@0.1.0");
    let error = host().load_blocking(other.as_bytes(), text()).unwrap_err();
    assert_eq!(error.code(), "unknown-import", "{error}");
}

#[test]
fn a_module_with_its_manifest_is_no_component() {
    let home = folder("prx-tool", &manifest("[permissions]\n"));
    std::fs::write(home.path().join("plugin.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let error = host().load_blocking(home.path(), granted()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the module does not fit the `prx` ABI: it is a module, and PRX's plugins are components"
    );
}

#[test]
fn a_manifest_that_says_what_the_component_is_not_is_refused() {
    let home = folder("prx-tool", &manifest("[[capabilities]]\ntype = \"hook\"\n"));
    let error = host().load_blocking(home.path(), granted()).unwrap_err();
    let wanted = "its manifest says that it is a hook, and it exports no `prx:plugin/hook-exports`";
    assert!(error.to_string().ends_with(wanted), "{error}");
}

#[test]
fn symbolic_links_are_refused_in_the_place_of_the_manifest_and_the_wasm() {
    let home = folder("prx-tool", &manifest("[permissions]\n"));
    let path = |name: &str| home.path().join(name);
    std::fs::rename(path("plugin.wasm"), path("real.wasm")).unwrap();
    symlink(path("real.wasm"), path("plugin.wasm")).unwrap();
    assert_eq!(host().load_blocking(home.path(), granted()).unwrap_err().code(), "unreadable");
    std::fs::rename(path("real.wasm"), path("plugin.wasm")).unwrap();
    host().load_blocking(home.path(), granted()).unwrap();
    std::fs::rename(path("plugin.toml"), path("real.toml")).unwrap();
    symlink(path("real.toml"), path("plugin.toml")).unwrap();
    assert_eq!(host().load_blocking(home.path(), granted()).unwrap_err().code(), "unreadable");
}

#[test]
fn required_permissions_have_to_be_granted_and_optional_ones_can_be() {
    let world = World::new();
    let home = folder(
        "prx-tool",
        &manifest("[permissions]\nrequired = [\"log\", \"clock\", \"kv\"]\noptional = [\"memory\"]\n"),
    );
    let error = world.host.load_blocking(home.path(), LoadOptions::new()).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("denied", 126));
    let kv: Capability = "kv=10MiB".parse().unwrap();
    let without = world.host.load_blocking(home.path(), LoadOptions::new().allow(kv.clone())).unwrap();
    let args = serde_json::json!(["a text", "core"]);
    assert_eq!(
        refused(&without, "memory.store", &args),
        "permission 'memory' not yet granted for plugin 'p' (optional, needs approval)"
    );
    let memory = Capability::all_of(CapabilityKind::Memory);
    let with = world.host.load_blocking(home.path(), LoadOptions::new().allow(kv).allow(memory)).unwrap();
    probe(&with, "memory.store", &args).unwrap();
    assert_eq!(world.memory.all().len(), 1);
}

#[test]
fn limits_are_the_documented_ones_and_the_manifests_and_the_operators_above_them() {
    let of = |home: &std::path::Path, host: airlock_host::Host| {
        let plugin = host.load_blocking(home, granted()).unwrap();
        let value = |kind| plugin.limits().get(kind).unwrap();
        [
            value(LimitKind::Fuel),
            value(LimitKind::Memory) >> 20,
            value(LimitKind::Timeout) / 1_000_000,
            value(LimitKind::HttpRequests),
        ]
    };
    let plain = folder("prx-tool", &manifest("[permissions]\n"));
    assert_eq!(of(plain.path(), host()), [1_000_000_000, 64, 30_000, 10]);
    let own = folder(
        "prx-tool",
        &manifest(
            "[resources]\nmax_fuel = 5000000\nmax_memory_mb = 128\nmax_execution_time_ms = 100\n\
             max_http_requests_per_call = 2\n",
        ),
    );
    assert_eq!(of(own.path(), host()), [5_000_000, 128, 100, 2]);
    let strict = airlock_host::Host::builder()
        .slots(2)
        .limit(LimitKind::HttpRequests, 1)
        .at_most(LimitKind::Memory, 32 << 20)
        .build()
        .unwrap();
    assert_eq!(of(own.path(), strict), [5_000_000, 32, 100, 1]);
}

#[test]
fn capabilities_are_those_of_the_manifest() {
    let plugin = host().load_blocking(repository("plugins/prx-hook").as_path(), granted()).unwrap();
    let prx = plugin.manifest().unwrap().prx.as_ref().unwrap();
    let hook = prx.of(PrxKind::Hook).next().unwrap();
    assert_eq!((hook.name.as_str(), hook.events.len()), ("audit", 3));
}
