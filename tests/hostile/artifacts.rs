//! Bytes that are not what they should be.

use airlock_host::{Host, LoadOptions};

use super::case;
use crate::support::{host, load_error, repository, survives, text};

fn refused(host: &Host, bytes: &[u8]) -> String {
    host.load_blocking(bytes, LoadOptions::new()).expect_err("refused").code().to_owned()
}

#[test]
fn garbage_truncated_and_empty() {
    let _case = case(34, "not-wasm, invalid-wasm", "before compiling");
    let host = host();
    assert_eq!(refused(&host, b""), "not-wasm");
    assert_eq!(refused(&host, b"\x7fELF"), "not-wasm");
    assert_eq!(refused(&host, b"\0asm"), "invalid-wasm");
    assert_eq!(refused(&host, b"\0asm\x02\0\0\0"), "invalid-wasm");
    let whole = std::fs::read(repository("plugins/text-processor/text_processor.wasm")).unwrap();
    for cut in [9, 100, whole.len() / 2, whole.len() - 1] {
        assert_eq!(refused(&host, &whole[..cut]), "invalid-wasm", "cut at {cut}");
    }
    survives(&host);
}

#[test]
fn component_as_module() {
    let _case = case(34, "component-unsupported", "before compiling");
    let error = host().load_blocking(&b"\0asm\x0d\0\x01\0"[..], LoadOptions::new()).expect_err("a component");
    assert_eq!((error.code(), error.exit_code()), ("component-unsupported", 125));
}

#[test]
fn wat_when_not_asked() {
    let _case = case(34, "wat-not-asked", "before compiling");
    let error = host().load_blocking(&b"(module)"[..], LoadOptions::new()).expect_err("text");
    assert_eq!((error.code(), error.exit_code()), ("wat-not-asked", 2));
    assert_eq!(error.hint(), Some("`--wat` accepts WebAssembly text, as the ending `.wat` does"));
}

#[test]
fn huge_function_million_functions_and_custom_section_bomb_are_refused_before_compiling() {
    let _case =
        case(34, "limit-function-body, limit-functions, limit-sections, limit-nesting", "before compiling");
    let huge = format!("(module (func (export \"f\") {}))", "i32.const 1 drop ".repeat(200_000));
    assert_eq!(load_error(&huge, text()).code(), "limit-function-body");
    // A function section that claims a million functions: refused at its count.
    let mut claims = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03".to_vec();
    let mut body = vec![0xc0, 0x84, 0x3d];
    body.extend(std::iter::repeat_n(0, 1_000_000));
    let mut length = body.len();
    while length >= 0x80 {
        claims.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    claims.push(u8::try_from(length).unwrap());
    claims.extend(body);
    assert_eq!(refused(&host(), &claims), "limit-functions");
    let customs = [b"\0asm\x01\0\0\0".to_vec(), b"\0\x02\x01x".repeat(5_000)].concat();
    assert_eq!(refused(&host(), &customs), "limit-sections");
    let deep = format!("(module (func {} {}))", "block ".repeat(2_000), "end ".repeat(2_000));
    assert_eq!(load_error(&deep, text()).code(), "limit-nesting");
}
