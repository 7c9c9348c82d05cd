//! sen-rs's loader as its document has it, and what its own does otherwise.

use std::path::Path;

use airlock_host::sen::{
    Config, Effect, EffectResult, ExecuteError, ExecuteResult, HttpResponse, LoadedPlugin, Loader,
};
use airlock_host::{Approval, ErrorKind, Host, LimitKind, LoadOptions, MemoryGrants};
use serde_json::json;

use super::{Module, NONE, manifest, packed, success};
use crate::support::{MODES, Mode, repository};

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(repository(&format!("plugins/{file}"))).unwrap()
}

fn module(capabilities: &serde_json::Value) -> Vec<u8> {
    let module = Module { manifest: packed(&manifest("test", capabilities)), ..Module::new("test") };
    wat::parse_str(module.wat()).unwrap()
}

fn load(config: Config, bytes: &[u8]) -> LoadedPlugin {
    Loader::new(config).unwrap().load_blocking(bytes).unwrap()
}

fn at(folder: &Path) -> Config {
    Config { working_directory: folder.to_owned(), ..Config::default() }
}

#[test]
fn its_defaults_are_the_documents_but_for_fuel() {
    let config = Config::default();
    assert_eq!(config.working_directory, std::env::current_dir().unwrap());
    assert_eq!((config.follow_symlinks, config.require_existence), (true, true));
    assert_eq!((config.fuel_limit, config.max_stack_size), (100_000_000, 1_048_576));
    let plugin = load(
        Config { fuel_limit: 3_000, max_stack_size: 65_536, ..config },
        &bytes("sen-greet/sen_greet.wasm"),
    );
    let limits = plugin.instance.plugin().limits();
    assert_eq!((limits.value(LimitKind::Fuel), limits.value(LimitKind::Stack)), (3_000, 65_536));
    let error = plugin.instance.execute_blocking(&NONE).unwrap_err();
    assert_eq!(error.to_string(), "limit `fuel` of 3000 hit while running");
}

#[test]
fn what_is_loaded_says_what_it_is_and_is_executed_in_every_way() {
    let plugin = load(Config::default(), &bytes("sen-greet/sen_greet.wasm"));
    assert_eq!((plugin.manifest.name.as_str(), plugin.command().unwrap().args.len()), ("greet", 3));
    assert!(plugin.instance.supports_effects() && plugin.instance.capabilities().is_empty());
    assert!(!load(Config::default(), &bytes("sen-hello/sen_hello.wasm")).instance.supports_effects());
    for mode in MODES {
        let outcome = match mode {
            Mode::Blocking => plugin.instance.execute_blocking(&["Ann"]),
            _ => mode.wait(plugin.instance.execute(&["Ann"])),
        };
        assert_eq!(outcome.unwrap().value, success("Hello, Ann!"), "{mode:?}");
    }
    let loader = Loader::with_working_directory("/".into()).unwrap();
    let wasm = bytes("sen-greet/sen_greet.wasm");
    let plugin = Mode::CurrentThread.wait(loader.load(&wasm)).unwrap();
    assert_eq!(
        Mode::MultiThread.wait(plugin.instance.execute(&NONE)).unwrap().value,
        success("Hello, World!")
    );
    let other = loader.load_blocking(&bytes("greet/greet.wasm")).unwrap_err();
    assert!(matches!(other.kind(), ErrorKind::AbiMismatch { .. }), "{other}");
}

/// Its own host panics where a plugin with WASI is executed on a thread of tokio's.
#[test]
fn inside_a_runtime_it_is_awaited_and_a_blocking_call_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::create_dir_all(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("data/a"), "a").unwrap();
    for mode in [Mode::MultiThread, Mode::CurrentThread] {
        mode.wait(async {
            // Also one that is loaded there, which asks it what it is.
            let plugin = load(at(folder.path()), &bytes("sen-cat/sen_cat.wasm"));
            assert_eq!(plugin.instance.execute(&["a"]).await.unwrap().value, success("a"));
            assert_eq!(plugin.instance.execute(&["clock"]).await.unwrap().value, success("clock ok"));
            let error = plugin.instance.execute_blocking(&["a"]).unwrap_err();
            assert_eq!((error.code(), error.hint()), ("blocking-in-runtime", Some("await the call instead")));
        });
    }
}

#[test]
fn folders_have_to_be_there_or_are_done_without() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = module(&json!({ "fs_read": [{ "pattern": "./data", "recursive": true }] }));
    let plugin = load(at(folder.path()), &wasm);
    let shown = folder.path().display();
    for mode in MODES {
        let outcome = match mode {
            Mode::Blocking => plugin.instance.execute_blocking(&NONE),
            _ => mode.wait(plugin.instance.execute(&NONE)),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "unusable");
        let said = format!(
            "`fs.read={shown}/data::/data` is granted and cannot be used: No such file or directory (os error 2)"
        );
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(plugin.instance.session_blocking().unwrap_err().code(), "unusable");
    let lenient = Config { require_existence: false, ..at(folder.path()) };
    assert_eq!(load(lenient, &wasm).instance.execute_blocking(&NONE).unwrap().value, success("done"));
    std::fs::create_dir(folder.path().join("data")).unwrap();
    assert_eq!(plugin.instance.execute_blocking(&NONE).unwrap().value, success("done"));
}

/// Its own host follows links that it says it does not, and checks nothing of them then.
#[cfg(unix)]
#[test]
fn links_are_followed_inside_or_not_at_all() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("inside")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
    let said = |pattern: &str, follow_symlinks: bool| {
        let wasm = module(&json!({ "fs_read": [{ "pattern": pattern, "recursive": true }] }));
        let plugin = load(Config { follow_symlinks, ..at(folder.path()) }, &wasm);
        plugin.instance.execute_blocking(&NONE).map(|outcome| outcome.value).map_err(|error| {
            match error.kind() {
                ErrorKind::Unusable { reason, .. } => reason.clone(),
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(said("./real", false), Ok(success("done")));
    assert_eq!(said("./inside", true), Ok(success("done")));
    assert_eq!(said("./inside", false), Err("a symbolic link leads there".to_owned()));
    let leads_out = Err("it leads out of the folder that it is run in".to_owned());
    assert_eq!(said("./out", true), leads_out);
    assert_eq!(said("./out", false), leads_out);
    // What is named from the root is meant.
    let absolute = outside.path().canonicalize().unwrap();
    assert_eq!(said(absolute.to_str().unwrap(), false), Ok(success("done")));
}

/// A kept instance, whose effects are done by whoever executes it.
#[test]
fn a_session_keeps_its_instance_and_leaves_effects_to_its_caller() {
    let plugin = load(Config::default(), &bytes("sen-fetch/sen_fetch.wasm"));
    let mut session = plugin.instance.session_blocking().unwrap();
    let url = "https://elsewhere.example/";
    let outcome = session.execute_blocking(&[url, "CHAIN"]).unwrap();
    let ExecuteResult::Effect(Effect::HttpGet { id: 10, url: asked, .. }) = outcome.value else {
        panic!("{outcome:?}")
    };
    assert_eq!((asked.as_str(), session.pending()), (url, Some(10)));
    let http = |body: &str| {
        EffectResult::Http(HttpResponse { status: 200, body: body.to_owned(), headers: Vec::new() })
    };
    // Of the one it waits for, and of no other.
    let error = session.resume_blocking(11, &http("x")).unwrap_err();
    assert_eq!(error.to_string(), "`effect 11`: effect 10 is what the plugin waits for");
    let outcome = Mode::CurrentThread.wait(session.resume(10, &http("one"))).unwrap();
    assert!(
        matches!(outcome.value, ExecuteResult::Effect(Effect::Sleep { id: 11, duration_ms: 20 })),
        "{outcome:?}"
    );
    let outcome = session.resume_blocking(11, &EffectResult::SleepComplete).unwrap();
    assert!(matches!(outcome.value, ExecuteResult::Effect(Effect::HttpGet { id: 12, .. })), "{outcome:?}");
    let outcome = session.resume_blocking(12, &http("two")).unwrap();
    assert_eq!(outcome.value, success("STATUS 200\none\nSTATUS 200\ntwo"));
    let error = session.resume_blocking(12, &http("three")).unwrap_err();
    assert_eq!(error.to_string(), "`effect 12`: the plugin waits for no effect");
    // It goes on after all that.
    let outcome = session.execute_blocking(&[url, "POST", "b"]).unwrap();
    assert!(matches!(outcome.value, ExecuteResult::Effect(Effect::HttpPost { id: 2, .. })), "{outcome:?}");
    let outcome = session.resume_blocking(2, &EffectResult::Error("no".to_owned())).unwrap();
    let failed = ExecuteError { code: 1, message: "request failed: no".to_owned() };
    assert_eq!(outcome.value, ExecuteResult::Error(failed));
}

/// Its own host gave all that a manifest declares to whoever was loaded.
#[test]
fn on_a_host_with_an_approval_somebody_decides() {
    let approval = Approval::new(std::sync::Arc::new(MemoryGrants::new()));
    let host = Host::builder().approval(approval).build().unwrap();
    let loader = Loader::on(&host, Config::default());
    let error = loader.load_blocking(&bytes("sen-cat/sen_cat.wasm")).unwrap_err();
    assert_eq!(error.code(), "denied");
    assert!(loader.load_blocking(&bytes("sen-greet/sen_greet.wasm")).is_ok());
}

/// In a process of its own, which is this test again, and whose streams they are.
#[test]
fn streams_are_inherited_on_request_as_far_as_the_manifest_has_them() {
    const CHILD: &str = "AIRLOCK_TEST_INHERITS";
    if std::env::var_os(CHILD).is_some() {
        let options = LoadOptions::new().allow_all_requested().inherit_streams(true);
        let file = repository("plugins/sen-cat/sen_cat.wasm");
        let plugin = Host::new().unwrap().load_blocking(file, options).unwrap();
        let outcome = plugin.execute_blocking(&["print"]).unwrap();
        assert_eq!((outcome.value, outcome.log.len()), (success("printed"), 0));
        return;
    }
    let own = "sen::loader::streams_are_inherited_on_request_as_far_as_the_manifest_has_them";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([own, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("out\n") && !out.contains("err\n"), "{out}");
    assert!(err.contains("err\n") && !err.contains("out\n"), "{err}");
}
