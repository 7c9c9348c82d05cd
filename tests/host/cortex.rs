//! CortexPrism's tool ABI. Each test is named for what its documents or its header promise, or for what
//! its own host gets wrong.

use std::sync::Arc;

use airlock_host::testing::{Fakes, fakes};
use airlock_host::{
    AbiId, Answer, CapabilityKind, Host, Input, LimitKind, LoadOptions, LogLevel, Plugin, Session,
};

use crate::support::{answer, error, host, load, load_error, text};

/// A module with its own memory that answers every tool with what `body` leaves, and `exports` beside.
fn module(exports: &str, body: &str) -> String {
    module_of(r#"(memory (export "memory") 1)"#, exports, body)
}

fn module_of(memory: &str, exports: &str, body: &str) -> String {
    // Imports come first in a module.
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        exports.lines().partition(|line| line.trim_start().starts_with("(import"));
    let (before, after) = match memory.contains("import") {
        true => (memory, ""),
        false => ("", memory),
    };
    format!(
        r#"(module {before} {imports} {after}
            (func $answer (param $from i32) (param $length i32) (param $out i32) (param $out_length i32)
                (memory.copy (local.get $out) (local.get $from) (local.get $length))
                (i32.store (local.get $out_length) (local.get $length)))
            {rest}
            (func (export "plugin_execute_tool") (param $name i32) (param $name_length i32) (param $args i32)
                (param $args_length i32) (param $out i32) (param $out_length i32) (result i32) {body}))"#,
        imports = imports.join("\n"),
        rest = rest.join("\n"),
    )
}

/// Gives the arguments back.
const ECHO: &str = "(call $answer (local.get $args) (local.get $args_length) (local.get $out) (local.get $out_length)) i32.const 0";

/// An export that says that it has these tools.
fn tools(json: &str) -> String {
    let text = json.replace('"', "\\22");
    format!(
        r#"(data (i32.const 2048) "{text}")
        (func (export "plugin_get_capabilities") (param $out i32) (param $out_length i32) (result i32)
            (call $answer (i32.const 2048) (i32.const {length}) (local.get $out) (local.get $out_length)) i32.const 0)"#,
        length = json.len(),
    )
}

fn session(plugin: &Plugin) -> Session {
    plugin.session_blocking().expect("a session")
}

fn call(session: &mut Session, tool: &str, input: &str) -> String {
    let outcome = session.invoke_blocking(tool, Input::Json(input.to_owned())).expect("the call succeeds");
    outcome.value.to_json_text()
}

#[test]
fn a_conforming_plugin_runs_whatever_the_lengths_of_its_names_and_arguments_are() {
    // Its own host fails unless both lengths are 3 modulo 4.
    let body = format!(
        r"(if (i32.and (i32.const 7) (i32.or (i32.or (local.get $name) (local.get $args)) (i32.or (local.get $out) (local.get $out_length)))) (then unreachable))
        (if (i32.load8_u (i32.add (local.get $name) (local.get $name_length))) (then unreachable))
        (if (i32.load8_u (i32.add (local.get $args) (local.get $args_length))) (then unreachable))
        (if (i32.ne (i32.load (local.get $out_length)) (i32.const 65536)) (then unreachable))
        (if (i32.lt_u (local.get $name) (i32.const 65536)) (then unreachable))
        (if (i32.ge_u (i32.add (local.get $name) (local.get $name_length)) (local.get $args)) (then unreachable))
        (if (i32.ge_u (i32.add (local.get $args) (local.get $args_length)) (local.get $out)) (then unreachable))
        (if (i32.gt_u (i32.add (local.get $out) (i32.const 65536)) (local.get $out_length)) (then unreachable)) {ECHO}"
    );
    let plugin = load(&host(), &module("", &body), text());
    assert_eq!(plugin.abi(), AbiId::Cortex);
    let mut session = session(&plugin);
    for name in 1..=9 {
        for length in (0..=9).chain([4_000, 65_000]) {
            let input = format!("\"{}\"", "x".repeat(length));
            assert_eq!(call(&mut session, &"n".repeat(name), &input), input);
        }
    }
}

#[test]
fn a_version_other_than_1_is_refused_and_one_that_is_not_told_is_1() {
    let versioned = |version: u32| {
        let told = format!(r#"(func (export "plugin_get_abi_version") (result i32) i32.const {version})"#);
        module(&format!("{told}\n{}", tools(r#"{"tools":[]}"#)), ECHO)
    };
    assert_eq!(answer(&load(&host(), &versioned(1), text()), "any", &["1"]), "1");
    let error = load_error(&versioned(2), text());
    assert_eq!((error.code(), error.exit_code()), ("api-version", 125));
    assert!(error.to_string().contains('2'), "{error}");
    assert_eq!(answer(&load(&host(), &module("", ECHO), text()), "any", &["1"]), "1");
}

#[test]
fn init_runs_once_before_the_tools_are_asked_for_and_destroy_at_the_end() {
    // One log line for each, in the order in which they run.
    let exports = format!(
        r#"(import "env" "host_log" (func $log (param i32 i32)))
        (data (i32.const 512) "version init tools destroy run")
        (func (export "plugin_get_abi_version") (result i32) (call $log (i32.const 512) (i32.const 7)) i32.const 1)
        (func (export "plugin_init") (call $log (i32.const 520) (i32.const 4)))
        (func (export "plugin_destroy") (call $log (i32.const 531) (i32.const 7)))
        (data (i32.const 2048) "{{\22tools\22:[{{\22name\22:\22t\22}}]}}")
        (func (export "plugin_get_capabilities") (param $out i32) (param $out_length i32) (result i32)
            (call $log (i32.const 525) (i32.const 5))
            (if (i32.ne (i32.load (local.get $out_length)) (i32.const 65528)) (then unreachable))
            (call $answer (i32.const 2048) (i32.const 24) (local.get $out) (local.get $out_length)) i32.const 0){}"#,
        ""
    );
    let body = format!("(call $log (i32.const 539) (i32.const 3)) {ECHO}");
    let fakes = fakes();
    let host = Host::builder().services(fakes.services()).build().unwrap();
    let plugin = load(&host, &module(&exports, &body), text());
    assert_eq!(plugin.functions(), ["t"]);
    // It was asked with nothing granted, so that nothing is logged yet.
    assert!(fakes.log.messages().is_empty());
    let mut session = session(&plugin);
    call(&mut session, "t", "{}");
    call(&mut session, "t", "{}");
    session.close_blocking().expect("closed");
    let messages: Vec<String> = fakes.log.messages().into_iter().map(|logged| logged.message).collect();
    assert_eq!(messages, ["version", "init", "tools", "run", "run", "destroy"]);
    assert!(fakes.log.messages().iter().all(|logged| logged.level == LogLevel::Info));
}

#[test]
fn a_single_call_is_a_session_of_one_call() {
    let exports = r#"(import "env" "host_log" (func $log (param i32 i32)))
        (data (i32.const 512) "init destroy run")
        (func (export "plugin_init") (call $log (i32.const 512) (i32.const 4)))
        (func (export "plugin_destroy") (call $log (i32.const 517) (i32.const 7)))"#;
    let body = format!(
        "(call $log (i32.const 525) (i32.const 3)) (if (i32.eq (local.get $args_length) (i32.const 2)) (then unreachable)) {ECHO}"
    );
    let (fakes, plugin) = with_fakes(&module(exports, &body), text());
    let outcome = plugin.invoke_blocking("t", Input::Json("1".to_owned())).expect("it runs");
    assert_eq!(outcome.log, b"info: init\ninfo: run\ninfo: destroy\n");
    error(&plugin, "t", &["12"]);
    let messages: Vec<String> = fakes.log.messages().into_iter().map(|logged| logged.message).collect();
    assert_eq!(messages, ["init", "run", "destroy", "init", "run"], "one that trapped is called no more");
}

#[test]
fn an_init_that_fails_is_told_as_one() {
    let plugin = load(&host(), &module(r#"(func (export "plugin_init") unreachable)"#, ECHO), text());
    let error = error(&plugin, "t", &["1"]);
    assert_eq!(error.code(), "trap");
    assert!(error.to_string().contains("initial"), "{error}");
}

#[test]
fn tools_are_told_with_what_they_take() {
    let said = r#"{"abi_version":1,"tools":[{"name":"add","description":"adds","params":[{"name":"a","type":"number","description":"one","required":true}]},{"name":"nop"}]}"#;
    let plugin = load(&host(), &module(&tools(said), ECHO), text());
    assert_eq!(plugin.functions(), ["add", "nop"]);
    let manifest = plugin.manifest().expect("what it said");
    let [add, nop] = manifest.tools.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((add.description.as_deref(), add.params[0].kind.as_str()), (Some("adds"), "number"));
    assert!(add.params[0].required && nop.params.is_empty());
    let error = error(&plugin, "ad", &["1"]);
    assert_eq!((error.code(), error.exit_code()), ("unknown-function", 127));
}

#[test]
fn tools_padded_with_spaces_for_the_published_host_are_read() {
    // The only form that it reads: spaces where it wrote the length, which is read as 0x20202020.
    let exports = r#"(data (i32.const 2048) "{\22to    ")
        (func (export "plugin_get_capabilities") (param $out i32) (param $out_length i32) (result i32)
            (memory.fill (local.get $out) (i32.const 32) (i32.const 65528))
            (memory.copy (local.get $out) (i32.const 1024) (i32.const 33))
            (i32.store (local.get $out_length) (i32.const 0x20202020)) i32.const 0)
        (data (i32.const 1024) "{   \20   \22tools\22:[{\22name\22:\22t\22}]}  ")"#;
    assert_eq!(load(&host(), &module(exports, ECHO), text()).functions(), ["t"]);
}

#[test]
fn a_plugin_that_does_not_say_its_tools_is_called_all_the_same() {
    let says_nothing = |body: &str| {
        format!(r#"(func (export "plugin_get_capabilities") (param i32 i32) (result i32) {body})"#)
    };
    for exports in [String::new(), tools("no JSON"), says_nothing("i32.const 1"), says_nothing("unreachable")]
    {
        let plugin = load(&host(), &module(&exports, ECHO), text());
        assert!(plugin.functions().is_empty());
        let warned = plugin.manifest().map(|manifest| manifest.warnings.len()).unwrap_or_default();
        assert_eq!(warned, usize::from(!exports.is_empty()), "{exports}");
        match exports.contains("unreachable") {
            // It may do so only where it has nothing, as when it was asked; it does so here as well.
            true => assert_eq!(error(&plugin, "anything", &["1"]).code(), "trap"),
            false => assert_eq!(answer(&plugin, "anything", &[r#"{"a":[1]}"#]), r#"{"a":[1]}"#, "{exports}"),
        }
    }
}

#[test]
fn an_answer_that_is_no_json_is_a_text_and_one_that_fails_is_its_message() {
    let of = |said: &str, code: u32| {
        let exports = format!(r#"(data (i32.const 1024) "{said}")"#);
        let length = said.len();
        let body = format!(
            "(call $answer (i32.const 1024) (i32.const {length}) (local.get $out) (local.get $out_length)) i32.const {code}"
        );
        load(&host(), &module(&exports, &body), text())
    };
    assert_eq!(answer(&of("plain text", 0), "t", &["1"]), "\"plain text\"");
    assert_eq!(answer(&of("[1, 2]", 0), "t", &["1"]), "[1, 2]");
    assert_eq!(answer(&of("", 0), "t", &["1"]), "\"\"");
    let failed = error(&of("no such city", 1), "t", &["1"]);
    assert_eq!((failed.code(), failed.exit_code()), ("failed", 1));
    assert_eq!(failed.to_string(), "the plugin failed: no such city");
    assert_eq!(error(&of("", 7), "t", &["1"]).to_string(), "the plugin failed: the tool gave no reason");
}

#[test]
fn an_answer_ends_where_its_room_does() {
    let body = r"(memory.fill (local.get $out) (i32.const 120) (i32.const 65536))
        (i32.store (local.get $out_length) (i32.const -1)) i32.const 0";
    let plugin = load(&host(), &module("", body), text());
    assert_eq!(answer(&plugin, "t", &["1"]), format!("\"{}\"", "x".repeat(65536)));
}

#[test]
fn arguments_that_are_left_out_are_an_empty_object() {
    let plugin = load(&host(), &module("", ECHO), text());
    assert_eq!(answer(&plugin, "t", &[]), "{}");
}

#[test]
fn one_instance_serves_all_calls_of_a_session_until_one_traps() {
    // Counts in its memory, and traps at "0".
    let body = r"(i32.store8 (i32.const 100) (i32.add (i32.const 1) (i32.load8_u (i32.const 100))))
        (if (i32.eq (i32.load8_u (local.get $args)) (i32.const 48)) (then unreachable))
        (i32.store8 (local.get $out) (i32.add (i32.const 48) (i32.load8_u (i32.const 100))))
        (i32.store (local.get $out_length) (i32.const 1)) i32.const 0";
    let plugin = load(&host(), &module("", body), text());
    assert!(plugin.keeps_state());
    let mut first = session(&plugin);
    assert_eq!([call(&mut first, "t", "1"), call(&mut first, "t", "1")], ["1", "2"]);
    let trapped = first.invoke_blocking("t", Input::Json("0".to_owned())).expect_err("it traps");
    assert_eq!(trapped.code(), "trap");
    let over = first.invoke_blocking("t", Input::Json("1".to_owned())).expect_err("it is over");
    assert_eq!(over.code(), "session-ended");
    assert_eq!(call(&mut session(&plugin), "t", "1"), "1");
}

#[test]
fn a_tool_that_failed_leaves_the_instance_as_it_is() {
    let body = r"(i32.store8 (i32.const 100) (i32.add (i32.const 1) (i32.load8_u (i32.const 100))))
        (i32.store8 (local.get $out) (i32.add (i32.const 48) (i32.load8_u (i32.const 100))))
        (i32.store (local.get $out_length) (i32.const 1)) (i32.eq (i32.load8_u (local.get $args)) (i32.const 48))";
    let plugin = load(&host(), &module("", body), text());
    let mut session = session(&plugin);
    let failed = session.invoke_blocking("t", Input::Json("0".to_owned())).expect_err("it fails");
    assert_eq!(failed.to_string(), "the plugin failed: 1");
    assert_eq!(call(&mut session, "t", "1"), "2");
}

#[test]
fn a_memory_that_is_imported_is_the_one_that_the_host_reads() {
    let exports = r#"(import "env" "host_log" (func $log (param i32 i32)))
        (data (i32.const 0x100000) "from the plugin's own data")"#;
    let body = format!("(call $log (i32.const 0x100000) (i32.const 26)) {ECHO}");
    let fakes = fakes();
    let host = Host::builder().services(fakes.services()).build().unwrap();
    for memory in [
        r#"(import "env" "memory" (memory 1))"#,
        r#"(import "env" "memory" (memory 256 512))"#,
        r#"(import "env" "memory" (memory 2 600)) (export "memory" (memory 0))"#,
    ] {
        // Its data lies where the header puts it, beyond what it declares.
        let memory = memory.replace(" (export", "\n(export");
        let (import, export) = memory.split_once('\n').unwrap_or((&memory, ""));
        let wat = module_of(import, &format!("{exports}\n{export}"), &body);
        let plugin = load(&host, &wat, text());
        let mut session = session(&plugin);
        assert_eq!(call(&mut session, "t", "[1]"), "[1]");
        let logged = fakes.log.messages().pop().expect("logged");
        assert_eq!(logged.message, "from the plugin's own data");
        assert_eq!(answer(&plugin, "t", &["[2]"]), "[2]", "on a fresh instance");
    }
}

#[test]
fn a_memory_that_is_imported_is_as_large_as_documented_and_never_larger_than_declared() {
    let body = r"(i32.store8 (local.get $out) (i32.add (i32.const 48) (i32.eq (memory.size) (global.get $expected))))
        (i32.store (local.get $out_length) (i32.const 1)) i32.const 0";
    for (declared, expected, most) in
        [("1", 256, 512), ("300", 300, 512), ("1 20", 20, 20), ("600", 600, 600)]
    {
        // The frame takes two more pages, where there are some.
        let wat = module_of(
            &format!(r#"(import "env" "memory" (memory {declared}))"#),
            &format!(
                r#"(global $expected i32 (i32.const {}))
                (func (export "plugin_init") (if (i32.ne (memory.size) (i32.const {expected})) (then unreachable)))"#,
                if most > expected { expected + 2 } else { expected }
            ),
            body,
        );
        let plugin = load(&host(), &wat, text());
        let result = plugin.invoke_blocking("t", Input::Json("1".to_owned()));
        match most > expected {
            true => assert_eq!(result.expect("it runs").value.to_json_text(), "1", "{declared}"),
            // No room for a call.
            false => assert_eq!(result.expect_err("it cannot").code(), "limit-memory", "{declared}"),
        }
    }
    let error =
        load_error(&module_of(r#"(import "env" "memory" (memory i64 1))"#, "", "i32.const 0"), text());
    assert!(
        ["feature-off", "abi-mismatch", "unsupported"].contains(&error.code()) || error.exit_code() == 125,
        "{error}"
    );
}

#[test]
fn what_is_imported_beside_the_memory_and_not_provided_is_named_at_loading() {
    let exports = format!("(import \"env\" \"host_fly\" (func))\n{}", tools(r#"{"tools":[]}"#));
    let error = load_error(&module_of(r#"(import "env" "memory" (memory 1))"#, &exports, ECHO), text());
    assert_eq!(error.code(), "unknown-import");
    assert!(error.to_string().contains("host_fly"), "{error}");
}

/// A plugin that imports `function` and gives back what it left at 512 with the length at 508.
fn importing(imports: &str, body: &str) -> String {
    module(
        imports,
        &format!(
            "{body} (call $answer (i32.const 512) (i32.load (i32.const 508)) (local.get $out) (local.get $out_length)) i32.const 0"
        ),
    )
}

fn with_fakes(wat: &str, options: LoadOptions) -> (Fakes, Plugin) {
    let fakes = fakes();
    let host = Host::builder().services(fakes.services()).build().unwrap();
    let plugin = load(&host, wat, options);
    (fakes, plugin)
}

#[test]
fn state_is_kept_by_plugin_from_one_instance_to_the_next() {
    let imports = r#"(import "env" "host_set_state" (func $set (param i32 i32 i32 i32)))
        (import "env" "host_get_state" (func $get (param i32 i32 i32 i32) (result i32)))"#;
    // "get" gives what is there, everything else is kept.
    let body = r"(i32.store (i32.const 508) (i32.const 0))
        (if (i32.eq (local.get $name_length) (i32.const 3))
            (then (drop (call $get (local.get $name) (i32.const 1) (i32.const 512) (i32.const 508))))
            (else (call $set (local.get $name) (i32.const 1) (local.get $args) (local.get $args_length))))";
    let (fakes, plugin) = with_fakes(&importing(imports, body), text().name("keeper"));
    assert_eq!(answer(&plugin, "get", &["1"]), "\"\"", "nothing yet");
    answer(&plugin, "gset", &[r#"{"n":1}"#]);
    assert_eq!(answer(&plugin, "get", &["1"]), r#"{"n":1}"#);
    // Another plugin has its own.
    let other = Host::builder().services(fakes.services()).build().unwrap();
    let other = load(&other, &importing(imports, body), text().name("other"));
    assert_eq!(answer(&other, "get", &["1"]), "\"\"");
    // And one that is denied has none, and goes on.
    let denied = Host::builder().services(fakes.services()).build().unwrap();
    let denied = load(&denied, &importing(imports, body), text().name("keeper").deny("kv".parse().unwrap()));
    assert_eq!(answer(&denied, "get", &["1"]), "\"\"");
}

#[test]
fn configuration_is_the_operators() {
    let imports = r#"(import "env" "host_get_config" (func $get (param i32 i32 i32 i32) (result i32)))"#;
    // A capacity of 0 stands for 64 KiB, one of 3 for 3 bytes.
    let body = r#"(i32.store (i32.const 508) (i32.eq (local.get $name_length) (i32.const 5)))
        (if (i32.load (i32.const 508)) (then (i32.store (i32.const 508) (i32.const 3))))
        (if (call $get (local.get $name) (i32.const 3) (i32.const 512) (i32.const 508))
            (then (if (i32.load (i32.const 508)) (then unreachable))))"#;
    let mut fakes = fakes();
    let values = [("url".to_owned(), "https://a.example".to_owned()), ("nil".to_owned(), String::new())];
    fakes.config = fakes.config.plugin("configured", values);
    let host = Host::builder().services(fakes.services()).build().unwrap();
    let plugin = load(&host, &importing(imports, body), text().name("configured"));
    assert_eq!(answer(&plugin, "url", &["1"]), "\"https://a.example\"");
    assert_eq!(answer(&plugin, "urlxx", &["1"]), "\"htt\"");
    assert_eq!(answer(&plugin, "nil", &["1"]), "\"\"");
    assert_eq!(answer(&plugin, "abc", &["1"]), "\"\"");
}

#[test]
fn the_time_comes_in_the_type_that_the_import_has() {
    let of = |ty: &str, store: &str| {
        let imports = format!(r#"(import "env" "host_get_time_ms" (func $now (result {ty})))"#);
        let body = format!("({store} (i32.const 0) (call $now)) (i32.store (i32.const 508) (i32.const 16))
            (i64.store (i32.const 512) (i64.const 0x7878787878787878)) (i64.store (i32.const 520) (i64.const 0x7878787878787878))
            (call $hex)");
        // Eight bytes as sixteen letters from `a` on.
        let hex = r"(func $hex (local $i i32)
            (loop $next
                (i32.store8 (i32.add (i32.const 512) (i32.mul (local.get $i) (i32.const 2))) (i32.add (i32.const 97) (i32.shr_u (i32.load8_u (local.get $i)) (i32.const 4))))
                (i32.store8 (i32.add (i32.const 513) (i32.mul (local.get $i) (i32.const 2))) (i32.add (i32.const 97) (i32.and (i32.load8_u (local.get $i)) (i32.const 15))))
                (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8)))))";
        let wat = importing(&format!("{imports}\n{hex}"), &body);
        let plugin = load(&host(), &wat, text());
        let letters: String = serde_json::from_str(&answer(&plugin, "t", &["1"])).unwrap();
        let digits: Vec<u8> = letters.bytes().map(|letter| letter - b'a').collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        <[u8; 8]>::try_from(bytes).unwrap()
    };
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    let (before, wide) = (now(), i64::from_le_bytes(of("i64", "i64.store")));
    assert!((before..=now()).contains(&wide), "{wide}");
    let (before, float) = (now(), f64::from_le_bytes(of("f64", "f64.store")));
    assert!((before as f64..=now() as f64).contains(&float), "{float}");
    let bytes = of("i32", "i32.store");
    let (low, after) = (u32::from_le_bytes(bytes[..4].try_into().unwrap()), now() as u32);
    assert!(after.wrapping_sub(low) < 60_000, "{low} {after}");
}

#[test]
fn memory_that_the_host_allocates_is_the_plugins_alone() {
    let imports = r#"(import "env" "host_alloc" (func $alloc (param i32) (result i32)))
        (import "env" "host_free" (func $free (param i32)))"#;
    let body = r"(local $a i32) (local $b i32)
        (if (call $alloc (i32.const 0)) (then unreachable))
        (if (call $alloc (i32.const -5)) (then unreachable))
        (local.set $a (call $alloc (i32.const 13))) (local.set $b (call $alloc (i32.const 100000)))
        (if (i32.and (i32.or (local.get $a) (local.get $b)) (i32.const 7)) (then unreachable))
        (memory.fill (local.get $a) (i32.const 1) (i32.const 13)) (memory.fill (local.get $b) (i32.const 2) (i32.const 100000))
        (if (i32.ne (i32.load8_u (i32.add (local.get $a) (i32.const 12))) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load (local.get $out_length)) (i32.const 65536)) (then unreachable))
        (call $free (local.get $a)) (call $free (local.get $a)) (call $free (i32.const 3))
        (if (i32.ne (call $alloc (i32.const 16)) (local.get $a)) (then unreachable))
        (call $free (local.get $b))";
    let plugin = load(&host(), &module(imports, &format!("{body} {ECHO}")), text());
    let mut session = session(&plugin);
    for _ in 0..100 {
        assert_eq!(call(&mut session, "t", "7"), "7");
    }
    // What is given back is used again: a hundred calls of 100 kB each are in less than 100 kB a call.
    let used = session.usage().expect("it was called").memory_bytes;
    assert!(used < 1 << 20, "{used}");
}

const FETCH: &str = r#"(import "env" "host_http_request" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (data (i32.const 256) "POST{\22x-key\22:\22v\22}")"#;

/// Requests the tool's name, and answers with code, status and body.
const FETCHES: &str = r#"(i32.store (i32.const 508) (i32.const 0))
    (if (call $http (i32.const 256) (i32.const 4) (local.get $name) (local.get $name_length) (local.get $args) (local.get $args_length)
            (i32.const 260) (i32.const 13) (i32.const 504) (i32.const 520) (i32.const 508))
        (then (i32.store8 (i32.const 512) (i32.const 45))) (else (i32.store8 (i32.const 512) (i32.const 43))))
    (i32.store8 (i32.const 513) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 504)) (i32.const 100))))
    (i32.store8 (i32.const 514) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (i32.load (i32.const 504)) (i32.const 10)) (i32.const 10))))
    (i32.store8 (i32.const 515) (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 504)) (i32.const 10))))
    (i32.store (i32.const 516) (i32.const 0x20202020))
    (i32.store (i32.const 508) (i32.add (i32.const 8) (i32.load (i32.const 508))))"#;

#[test]
fn a_request_has_its_true_status_where_it_is_granted_and_403_where_not() {
    let wat = importing(FETCH, FETCHES);
    let (fakes, plugin) = with_fakes(&wat, text().allow("net=https://a.example".parse().unwrap()));
    fakes.http.answer("https://a.example/x", 201, "made");
    assert_eq!(answer(&plugin, "https://a.example/x", &["\"body\""]), "\"+201    made\"");
    let [request] = fakes.http.requests().try_into().expect("one");
    assert_eq!((request.method().as_str(), request.url().as_str()), ("POST", "https://a.example/x"));
    assert_eq!(request.headers()["x-key"], "v");
    // Not granted, no URL, no answer.
    let denied = "\"-403    host: network:fetch permission denied\"";
    assert_eq!(answer(&plugin, "https://b.example/", &["1"]), denied);
    assert_eq!(answer(&plugin, "", &["1"]), "\"-400    host: empty URL\"");
    assert!(answer(&plugin, "https://a.example/y", &["1"]).starts_with("\"-502    host: fetch error: "));
    let (_, ungranted) = with_fakes(&wat, text());
    assert_eq!(answer(&ungranted, "https://a.example/x", &["1"]), denied);
}

#[test]
fn plugins_of_the_abi_before_0_52_run() {
    let imports = r#"(import "env" "log" (func $log (param i32 i32)))
        (import "env" "http_request" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "get_config" (func $config (param i32 i32 i32 i32) (result i32)))
        (import "env" "set_state" (func $set (param i32 i32 i32 i32)))
        (import "env" "get_state" (func $get (param i32 i32 i32 i32) (result i32)))"#;
    let body = r"(call $log (local.get $name) (local.get $name_length))
        (call $set (i32.const 0) (i32.const 1) (local.get $args) (local.get $args_length))
        (i32.store (i32.const 508) (i32.const 0))
        (if (call $get (i32.const 0) (i32.const 1) (i32.const 512) (i32.const 508)) (then unreachable))
        (i32.store (i32.const 500) (i32.const 0))
        (if (i32.eqz (call $http (i32.const 0) (i32.const 0) (local.get $name) (local.get $name_length) (i32.const 0) (i32.const 0)
            (i32.const 504) (i32.const 9000) (i32.const 500))) (then unreachable))
        (if (i32.ne (i32.load (i32.const 504)) (i32.const 403)) (then unreachable))";
    let exports = format!("{imports}\n(data (i32.const 0) \"k\")");
    let (fakes, plugin) = with_fakes(&importing(&exports, body), text());
    assert_eq!(answer(&plugin, "https://a.example/", &["[7]"]), "[7]");
    assert_eq!(fakes.log.messages()[0].message, "https://a.example/");
}

#[test]
fn a_tool_has_two_minutes_and_every_plugin_its_log_config_state_time_and_random_numbers() {
    let plugin = load(&host(), &module("", ECHO), text());
    assert_eq!(plugin.limits().value(LimitKind::Timeout), 120_000_000_000);
    use CapabilityKind::{Clock, Config, Kv, Log, Random};
    assert_eq!(plugin.baseline(), [Log, Config, Kv, Clock, Random]);
    assert!(!plugin.policy().allows_any(CapabilityKind::Net));
}

#[test]
fn a_tool_that_takes_too_long_is_stopped_and_the_host_goes_on() {
    let plugin =
        load(&host(), &module("", "(loop (br 0)) unreachable"), text().limit(LimitKind::Timeout, 50_000_000));
    let error = error(&plugin, "t", &["1"]);
    assert_eq!(error.code(), "deadline");
    crate::support::survives(&host());
}

#[test]
fn wild_pointers_stop_the_plugin_with_the_function_that_got_them() {
    for (imports, body, function) in [
        (
            r#"(import "env" "host_log" (func $f (param i32 i32)))"#,
            "(call $f (i32.const -1) (i32.const 9))",
            "host_log",
        ),
        (
            r#"(import "env" "host_random" (func $f (param i32 i32)))"#,
            "(call $f (i32.const 65530) (i32.const 9))",
            "host_random",
        ),
        (
            r#"(import "env" "host_get_state" (func $f (param i32 i32 i32 i32) (result i32)))"#,
            "(drop (call $f (i32.const 0) (i32.const 1) (i32.const 0) (i32.const -2)))",
            "host_get_state",
        ),
        (
            r#"(import "env" "host_set_state" (func $f (param i32 i32 i32 i32)))"#,
            "(call $f (i32.const 0) (i32.const 1) (i32.const 65535) (i32.const 0x7fffffff))",
            "host_set_state",
        ),
    ] {
        // In `plugin_init`, where the memory has one page.
        let exports = format!("{imports}\n(func (export \"plugin_init\") {body})");
        let plugin = load(&host(), &module(&exports, ECHO), text());
        let error = error(&plugin, "t", &["1"]);
        assert_eq!(error.code(), "bad-guest", "{function}: {error}");
        assert!(error.to_string().contains(function), "{error}");
    }
}

#[test]
fn a_module_without_what_runs_its_tools_or_a_memory_is_refused_with_what_is_missing() {
    let of = |wat: &str| load_error(wat, text().abi(AbiId::Cortex)).to_string();
    assert!(of(r#"(module (memory (export "memory") 1))"#).ends_with("it exports no `plugin_execute_tool`"));
    let short =
        of(r#"(module (memory (export "memory") 1) (func (export "plugin_execute_tool") (param i32)))"#);
    assert!(
        short.ends_with(
            "its `plugin_execute_tool` is a func (i32) -> (), and should take six i32 and give one"
        ),
        "{short}"
    );
    let none = of(
        r#"(module (func (export "plugin_execute_tool") (param i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#,
    );
    assert!(
        none.ends_with("it neither exports a 32-bit memory named `memory` nor imports `env.memory`"),
        "{none}"
    );
}

/// A plugin's folder with this manifest and a module that echoes and exports this.
fn folder(manifest: &str, exports: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cortex.json"), manifest).unwrap();
    std::fs::write(folder.path().join("p.wasm"), wat::parse_str(module(exports, ECHO)).unwrap()).unwrap();
    folder
}

#[test]
fn a_manifest_says_how_large_the_memory_of_tools_is() {
    let manifest = r#"{"name":"sized","entryPoint":"p.wasm","wasm":{"memoryPages":10,"maxMemoryPages":13}}"#;
    let exports =
        r#"(func (export "plugin_init") (if (i32.ne (memory.size) (i32.const 10)) (then unreachable)))"#;
    let folder = folder(manifest, exports);
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!(answer(&plugin, "t", &["1"]), "1");
    // 200 KB of arguments and what comes back do not fit into three pages.
    let long = format!("\"{}\"", "x".repeat(200_000));
    let error = plugin.invoke_blocking("t", Input::Json(long)).expect_err("it does not fit");
    assert_eq!(error.code(), "limit-memory");
}

#[test]
fn a_file_that_is_another_than_its_manifests_hash_is_refused_whenever_it_is_loaded() {
    let wasm = wat::parse_str(module("", ECHO)).unwrap();
    let manifest = |hash: &str| format!(r#"{{"name":"hashed","entryPoint":"p.wasm","hash":"{hash}"}}"#);
    let digest = airlock_host::Digest::of(&wasm);
    let folder = folder(&manifest(&format!("sha256:{digest}")), "");
    let load = || host().load_blocking(folder.path(), LoadOptions::new());
    assert_eq!(answer(&load().unwrap(), "t", &["1"]), "1");
    // The same module with one section more.
    let other = [wasm.as_slice(), &[0, 2, 1, b'x']].concat();
    std::fs::write(folder.path().join("p.wasm"), &other).unwrap();
    let error = load().expect_err("another file");
    assert_eq!((error.code(), error.exit_code()), ("hash-mismatch", 125));
    assert!(error.to_string().contains(&airlock_host::Digest::of(&other).to_string()), "{error}");
    // What CortexPrism computes: of the file as text.
    let as_text = airlock_host::Digest::of(String::from_utf8_lossy(&other).as_bytes()).to_string();
    std::fs::write(folder.path().join("cortex.json"), manifest(&as_text)).unwrap();
    let plugin = load().expect("it is that file");
    let warnings = &plugin.manifest().expect("its manifest").warnings;
    assert!(warnings.iter().any(|warning| warning.contains("read as text")), "{warnings:?}");
}

#[test]
fn the_modules_own_tools_count_and_differences_to_the_manifest_are_told() {
    let manifest = r#"{"name":"tools","entryPoint":"p.wasm","kind":"wasm","tools":[{"name":"gone"}]}"#;
    let folder = folder(manifest, &tools(r#"{"tools":[{"name":"there"}]}"#));
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!((plugin.name(), plugin.functions()), ("tools", ["there".to_owned()].as_slice()));
    let warnings = &plugin.manifest().expect("its manifest").warnings;
    assert_eq!(
        warnings,
        &[
            "its manifest names the tool `gone`, which the module does not",
            "it has the tool `there`, which its manifest does not name"
        ]
    );
}

#[test]
fn many_sessions_at_once_each_have_their_own() {
    let plugin = Arc::new(load(&host(), &module("", ECHO), text()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let plugin = plugin.clone();
            scope.spawn(move || {
                let mut session = session(&plugin);
                for n in 0..50 {
                    let input = format!("[{thread},{n}]");
                    assert_eq!(call(&mut session, "t", &input), input);
                }
            });
        }
    });
    let outcome = plugin.invoke_blocking("t", Input::Json("1".to_owned())).expect("it runs");
    assert!(matches!(outcome.value, Answer::Json(_)));
}
