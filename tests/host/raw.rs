//! The `raw` ABI, on the modules of MoFA's page.

use airlock_host::{AbiId, Input, Value};

use crate::support::{answer, error, host, load, load_error, text};

const MATH: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func $factorial (export "factorial") (param i32) (result i32)
        (if (result i32) (i32.le_s (local.get 0) (i32.const 1))
            (then (i32.const 1))
            (else (i32.mul (local.get 0) (call $factorial (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "single") (param f32) (result f32) (f32.neg (local.get 0)))
    (func (export "long") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
    (func (export "divide") (param i32 i32) (result i32 i32)
        (i32.div_s (local.get 0) (local.get 1)) (i32.rem_s (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "vector") (result v128) (v128.const i64x2 1 2)))"#;

#[test]
fn every_numeric_type_goes_in_and_out() {
    let plugin = load(&host(), MATH, text());
    assert_eq!(plugin.abi(), AbiId::Raw);
    assert_eq!(answer(&plugin, "add", &["10", "20"]), "30");
    assert_eq!(answer(&plugin, "add", &["-5", "0x10"]), "11");
    assert_eq!(answer(&plugin, "factorial", &["5"]), "120");
    assert_eq!(answer(&plugin, "half", &["3"]), "1.5");
    assert_eq!(answer(&plugin, "half", &["nan"]), "\"NaN\"");
    assert_eq!(answer(&plugin, "single", &["inf"]), "\"-inf\"");
    assert_eq!(answer(&plugin, "long", &["9223372036854775807"]), "-9223372036854775808");
    assert_eq!(answer(&plugin, "divide", &["17", "5"]), "[3,2]");
    assert_eq!(answer(&plugin, "nothing", &[]), "null");
}

#[test]
fn rust_values_and_json_are_read_by_the_functions_types() {
    let plugin = load(&host(), MATH, text());
    assert_eq!(plugin.call_blocking::<_, i32>("add", &(2, 3)).unwrap().value, 5);
    assert_eq!(plugin.call_blocking::<_, i64>("long", &41).unwrap().value, 42);
    assert_eq!(plugin.call_blocking::<_, (i32, i32)>("divide", &[17, 5]).unwrap().value, (3, 2));
    plugin.call_blocking::<_, ()>("nothing", &()).unwrap();
    let values = Input::Values(vec![Value::I32(1), Value::I32(2)]);
    assert_eq!(plugin.invoke_blocking("add", values).unwrap().value.to_json_text(), "3");
}

#[test]
fn wrong_arguments_are_told_with_the_signature() {
    let plugin = load(&host(), MATH, text());
    let count = error(&plugin, "add", &["1"]);
    assert_eq!(count.to_string(), "`add` is (i32, i32) -> (i32), but 1 argument was given");
    assert_eq!((count.code(), count.exit_code()), ("wrong-argument-count", 2));
    assert_eq!(error(&plugin, "add", &["1", "two"]).to_string(), "`two` is not an i32");
    assert_eq!(error(&plugin, "add", &["1", "4294967296"]).to_string(), "`4294967296` is not an i32");
    let typed =
        plugin.invoke_blocking("add", Input::Values(vec![Value::I32(1), Value::I64(2)])).expect_err("an i64");
    assert_eq!(typed.code(), "invalid-argument");
}

#[test]
fn an_export_that_cannot_be_called_says_what_it_is() {
    let plugin = load(&host(), MATH, text());
    assert_eq!(
        error(&plugin, "vector", &[]).to_string(),
        "export `vector` cannot be called: it is a func () -> (v128)"
    );
}

const COUNTER: &str = r#"(module (global $counter (mut i32) (i32.const 0))
    (func (export "increment") (result i32)
        (global.set $counter (i32.add (global.get $counter) (i32.const 1))) global.get $counter)
    (func (export "trap") unreachable))"#;

#[test]
fn a_session_keeps_state_and_a_call_does_not() {
    let plugin = load(&host(), COUNTER, text());
    assert!(plugin.keeps_state());
    assert_eq!(answer(&plugin, "increment", &[]), "1");
    assert_eq!(answer(&plugin, "increment", &[]), "1");
    let mut session = plugin.session_blocking().unwrap();
    for expected in 1..4 {
        assert_eq!(session.call_blocking::<_, i32>("increment", &()).unwrap().value, expected);
    }
    let mut other = plugin.session_blocking().unwrap();
    assert_eq!(other.call_blocking::<_, i32>("increment", &()).unwrap().value, 1);
}

#[test]
fn a_trap_ends_the_session_and_a_wrong_name_does_not() {
    let plugin = load(&host(), COUNTER, text());
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(
        session.call_blocking::<_, i32>("decrement", &()).expect_err("unknown").code(),
        "unknown-function"
    );
    assert_eq!(session.call_blocking::<_, i32>("increment", &()).unwrap().value, 1);
    assert_eq!(session.call_blocking::<_, ()>("trap", &()).expect_err("traps").code(), "trap");
    let ended = session.call_blocking::<_, i32>("increment", &()).expect_err("ended");
    assert_eq!(ended.code(), "session-ended");
    assert_eq!(ended.to_string(), "the session has ended: the plugin trapped while running: unreachable");
    assert_eq!(answer(&plugin, "increment", &[]), "1", "the plugin itself goes on");
}

#[test]
fn tables_and_memory_of_the_page_work() {
    let wat = r#"(module (table 2 funcref) (elem (i32.const 0) $add $mul) (memory (export "memory") 1)
        (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func $mul (param i32 i32) (result i32) (i32.mul (local.get 0) (local.get 1)))
        (func (export "call_indirect") (param i32 i32 i32) (result i32)
            local.get 1 local.get 2 local.get 0 call_indirect (param i32 i32) (result i32))
        (func (export "write_byte") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
        (func (export "read_byte") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
    let plugin = load(&host(), wat, text());
    assert_eq!(answer(&plugin, "call_indirect", &["0", "6", "7"]), "13");
    assert_eq!(answer(&plugin, "call_indirect", &["1", "6", "7"]), "42");
    let outside = error(&plugin, "call_indirect", &["2", "6", "7"]);
    assert_eq!(
        outside.to_string(),
        "the plugin trapped while running: undefined element: out of bounds table access"
    );
    let mut session = plugin.session_blocking().unwrap();
    session.call_blocking::<_, ()>("write_byte", &(0, 42)).unwrap();
    assert_eq!(session.call_blocking::<_, i32>("read_byte", &0).unwrap().value, 42);
}

#[test]
fn a_reactors_initialiser_and_constructors_run_first() {
    let wat = |name: &str| {
        format!(
            r#"(module (global $ready (mut i32) (i32.const 0))
                (func (export "{name}") (global.set $ready (i32.add (global.get $ready) (i32.const 1))))
                (func (export "ready") (result i32) global.get $ready))"#
        )
    };
    for name in ["_initialize", "__wasm_call_ctors"] {
        let plugin = load(&host(), &wat(name), text());
        assert_eq!(answer(&plugin, "ready", &[]), "1", "{name}");
        assert!(!plugin.functions().contains(&name.to_owned()));
    }
}

#[test]
fn a_trap_names_functions_and_with_dwarf_file_and_line() {
    let wat = "(module (func $inner\n unreachable)\n(func $outer (export \"f\")\n\n call $inner))";
    let frames = |bytes: Vec<u8>| {
        let plugin = host().load_blocking(bytes, airlock_host::LoadOptions::new()).unwrap();
        let error = error(&plugin, "f", &[]);
        let airlock_host::ErrorKind::Trap { frames, .. } = error.kind() else { panic!("{error}") };
        frames.clone()
    };
    let plain = frames(wat::parse_str(wat).unwrap());
    assert_eq!(plain.iter().map(|frame| frame.function.as_str()).collect::<Vec<_>>(), ["inner", "outer"]);
    assert!(plain.iter().all(|frame| frame.source.is_none()));

    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Full);
    let dwarf = parser.parse_bytes(Some("page.wat".as_ref()), wat.as_bytes()).unwrap();
    let sources: Vec<_> = frames(dwarf.into_owned()).into_iter().filter_map(|frame| frame.source).collect();
    assert_eq!(sources, ["./page.wat:2:2", "./page.wat:5:2"]);
}

#[test]
fn unknown_imports_say_whose_they_are() {
    let program =
        r#"(module (import "fledge" "sned" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
    assert_eq!(
        load_error(program, text()).to_string(),
        "nobody provides the import `fledge.sned`: it belongs to the fledge plugin ABI, which has no such function"
    );
    let error = load_error(r#"(module (import "env" "host_http_request" (func)))"#, text());
    assert!(error.to_string().ends_with("it needs the capability `net`"), "{error}");
    let error = load_error(r#"(module (import "env" "mystery" (func)))"#, text());
    assert_eq!(
        (error.to_string().as_str(), error.code()),
        ("nobody provides the import `env.mystery`", "unknown-import")
    );
    let error =
        load_error(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))))"#, text());
    assert_eq!(
        error.to_string(),
        "import `wasi_snapshot_preview1.proc_exit` has another type than the host's: the module imports a func (i64) -> ()"
    );
}
