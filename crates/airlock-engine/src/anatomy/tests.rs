use airlock_core::Limits;

use super::{Anatomy, FunctionSize, MemorySize, Stack};
use crate::Artifact;

fn anatomy(wat: &str) -> Anatomy {
    let artifact = Artifact::new(wat.as_bytes().to_vec(), true, &Limits::default()).expect("valid text");
    Anatomy::of(&artifact).expect("valid bytes")
}

/// A function that takes some stack, as LLVM writes it.
const TAKES_STACK: &str = r#"(func (export "f") (local i32)
    (global.set $sp (local.tee 0 (i32.sub (global.get $sp) (i32.const 16)))))"#;

#[test]
fn a_stack_is_found_by_its_name_and_by_how_functions_use_it() {
    let module = |globals: &str, name: &str, data: &str| {
        anatomy(&format!("(module (memory 2) {globals} {} {data})", TAKES_STACK.replace("$sp", name))).stack
    };
    let below = Some(Stack { top: 1024, is_first: Some(true), size: 1024 });
    let data = r#"(data (i32.const 1024) "abcd")"#;
    let named = r#"(global $__stack_pointer (mut i32) (i32.const 1024))"#;
    assert_eq!(module(named, "$__stack_pointer", data), below);
    let unnamed = "(global (mut i32) (i32.const 7)) (global (mut i32) (i32.const 1024))";
    assert_eq!(module(unnamed, "1", data), below);
    let above = "(global (mut i32) (i32.const 66560))";
    assert_eq!(module(above, "0", data), Some(Stack { top: 66560, is_first: Some(false), size: 65532 }));
    assert_eq!(module(above, "0", ""), Some(Stack { top: 66560, is_first: None, size: 66560 }));
    // Go sets its own when it starts.
    assert_eq!(module("(global (mut i32) (i32.const 0))", "0", data), None);
    // AssemblyScript lowers its own and looks whether there is room.
    let lowered = "(module (memory 1) (global $g (mut i32) (i32.const 9000)) (func (export \"f\")
        (global.set $g (i32.sub (global.get $g) (i32.const 4)))) (data (i32.const 8) \"x\"))";
    assert_eq!(anatomy(lowered).stack, None);
}

#[test]
fn only_code_that_can_be_reached_counts() {
    let module = |export: &str| {
        anatomy(&format!(
            r#"(module (memory 1) (func $top {export} (call $middle)) (func $middle (call $deep))
              (func $deep (drop (f64.div (f64.const 0) (f64.const 0))) (drop (memory.grow (i32.const 1)))))"#
        ))
    };
    let reached = module(r#"(export "top")"#);
    assert_eq!((reached.makes_nan.as_deref(), reached.grows), (Some("deep"), true));
    let idle = module("");
    assert_eq!((idle.makes_nan, idle.grows), (None, false));
    let table = r#"(module (memory 1) (table 1 funcref) (elem (i32.const 0) $f)
        (func $f (drop (memory.grow (i32.const 1)))))"#;
    assert!(anatomy(table).grows);
}

#[test]
fn sizes_names_and_what_does_not_fit_the_pool_are_told() {
    let module = anatomy(
        r#"(module (import "a" "b" (func)) (memory 3 9) (table 30000 funcref)
          (func $small) (func $large (drop (i64.const -1)) (drop (i64.const -1)))
          (data (i32.const 100) "abc") (data (i32.const 50) "de") (@custom "x" "12345")
          (@producers (language "Rust" "2024")))"#,
    );
    assert_eq!((module.functions, module.imported_functions, module.names), (2, 1, 2));
    assert_eq!((module.data, module.data_range), (5, Some((50, 103))));
    assert_eq!(module.memories, [MemorySize { minimum: 3, maximum: Some(9), imported: false }]);
    assert_eq!(module.producers, ["Rust 2024"]);
    let large = FunctionSize { index: 2, name: Some("large".to_owned()), size: 8 };
    assert_eq!(module.largest[0], large);
    assert_eq!(module.off_pool.as_deref(), Some("its table has 30000 elements, and a slot 20000"));
    assert!(module.sections.iter().any(|section| section.name.as_deref() == Some("x") && section.size == 7));
}

#[test]
fn a_name_section_that_is_none_is_left_alone_and_odd_names_are_told() {
    let broken = anatomy(r#"(module (func) (@custom "name" "\01\ff\ff\ff\ff\0f"))"#);
    assert_eq!((broken.names, broken.functions), (0, 1));
    let odd = anatomy(r#"(module (func (@name "a\1b[2Jb")))"#);
    assert_eq!(odd.odd_name.as_deref(), Some("a\u{1b}[2Jb"));
}
