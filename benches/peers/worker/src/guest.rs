//! The guests: the same logic for every ABI. An echo has its input in its own memory and
//! answers with it, which only Extism's ABI makes it copy for; a sum adds two numbers.

use crate::Spin;

/// A loop without an end.
const SPIN: &str = "(loop $again (br $again))";

/// A start function without an end, where it is asked for.
fn start(spin: Option<Spin>) -> &'static str {
    match spin {
        Some(Spin::Start) => "(start $start) (func $start (loop $again (br $again)))",
        _ => "",
    }
}

fn body(spin: Option<Spin>) -> &'static str {
    match spin {
        Some(Spin::Call) => SPIN,
        _ => "",
    }
}

/// Functions to compile.
fn ballast(functions: u32) -> String {
    let step = "(local.set 0 (i32.add (i32.mul (local.get 0) (local.get 1)) (i32.load (i32.and (local.get 0) (i32.const 4092)))))
        (if (i32.lt_u (local.get 0) (i32.const 1000)) (then (local.set 1 (i32.rotl (local.get 1) (i32.const 7)))))";
    let one = format!("(func (param i32 i32) (result i32) {} (local.get 0))", step.repeat(4));
    one.repeat(functions as usize)
}

/// What is asked of a guest besides its ABI.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Where it loops for ever.
    pub spin: Option<Spin>,
    /// How many bytes it has to take at most.
    pub bytes: u32,
    /// Functions it has and never calls.
    pub ballast: u32,
}

impl Shape {
    /// A guest that takes so many bytes.
    pub fn bytes(bytes: u32) -> Self {
        Shape { bytes, ..Shape::default() }
    }

    /// A guest that loops for ever.
    pub fn spin(spin: Spin) -> Self {
        Shape { spin: Some(spin), ..Shape::default() }
    }

    /// The guest that the loads are timed with.
    pub fn loaded() -> Self {
        Shape { ballast: 300, ..Shape::default() }
    }

    /// Pages of memory: one, and what the input needs.
    fn pages(self) -> u32 {
        1 + self.bytes / 65_536
    }
}

/// Where a guest wants its input: a page of its memory minus this is room enough for what
/// comes around it.
const INPUT: u32 = 8_192;

/// The echo `f` of the `json` ABI: `(ptr, len)` in, both in one number out.
pub fn json(shape: Shape) -> Vec<u8> {
    assemble(&format!(
        r#"(module (memory (export "memory") {pages}) {start}
        (func (export "alloc") (param i32) (result i32) (i32.const {INPUT}))
        (func (export "f") (param $ptr i32) (param $len i32) (result i64) {body}
            (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
                (i64.extend_i32_u (local.get $len))))
        {ballast})"#,
        pages = shape.pages(),
        start = start(shape.spin),
        body = body(shape.spin),
        ballast = ballast(shape.ballast),
    ))
}

/// The echo of sen's ABI, with the manifest it answers with. Its input is MessagePack, one
/// string in an array; to answer, the variant's name goes over the array's mark and what
/// lies before it.
pub fn sen(shape: Shape, manifest: &[u8]) -> Vec<u8> {
    let data: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    assemble(&format!(
        r#"(module (memory (export "memory") {pages}) {start}
        (data (i32.const 1024) "{data}")
        (func (export "plugin_manifest") (result i64) (i64.const {manifest}))
        (func (export "plugin_alloc") (param i32) (result i32) (i32.const {INPUT}))
        (func (export "plugin_dealloc") (param i32 i32))
        (func (export "plugin_execute") (param $ptr i32) (param $len i32) (result i64) {body}
            (i64.store (i32.sub (local.get $ptr) (i32.const 8)) (i64.const 0x736563637553a781))
            (i32.store8 (local.get $ptr) (i32.const 0x73))
            (i64.or
                (i64.shl (i64.extend_i32_u (i32.sub (local.get $ptr) (i32.const 8))) (i64.const 32))
                (i64.extend_i32_u (i32.add (local.get $len) (i32.const 8)))))
        {ballast})"#,
        pages = shape.pages(),
        start = start(shape.spin),
        manifest = (1024 << 32) | manifest.len(),
        body = body(shape.spin),
        ballast = ballast(shape.ballast),
    ))
}

/// The echo `f` of Extism's ABI: its input is in another module's memory and comes and goes
/// eight bytes at a time, as its plugin kits do it. Takes multiples of eight bytes.
pub fn extism(shape: Shape) -> Vec<u8> {
    assemble(&format!(
        r#"(module
        (import "extism:host/env" "input_length" (func $input_length (result i64)))
        (import "extism:host/env" "input_load_u64" (func $input_load (param i64) (result i64)))
        (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
        (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
        (memory (export "memory") {pages}) {start}
        (func (export "f") (result i32) (local $len i64) (local $at i64) (local $out i64) {body}
            (local.set $len (call $input_length))
            (block $read (loop $more
                (br_if $read (i64.ge_u (local.get $at) (local.get $len)))
                (i64.store offset={INPUT} (i32.wrap_i64 (local.get $at)) (call $input_load (local.get $at)))
                (local.set $at (i64.add (local.get $at) (i64.const 8)))
                (br $more)))
            (local.set $out (call $alloc (local.get $len)))
            (local.set $at (i64.const 0))
            (block $written (loop $more
                (br_if $written (i64.ge_u (local.get $at) (local.get $len)))
                (call $store (i64.add (local.get $out) (local.get $at))
                    (i64.load offset={INPUT} (i32.wrap_i64 (local.get $at))))
                (local.set $at (i64.add (local.get $at) (i64.const 8)))
                (br $more)))
            (call $output_set (local.get $out) (local.get $len))
            (i32.const 0))
        {ballast})"#,
        pages = shape.pages(),
        start = start(shape.spin),
        body = body(shape.spin),
        ballast = ballast(shape.ballast),
    ))
}

/// An echo of Extism's ABI that never has its input in its own memory.
pub fn extism_in_place() -> Vec<u8> {
    assemble(
        r#"(module
        (import "extism:host/env" "input_length" (func $input_length (result i64)))
        (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
        (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
        (func (export "f") (result i32)
            (call $output_set (call $input_offset) (call $input_length)) (i32.const 0)))"#,
    )
}

/// The sum `add`, of numbers only.
pub fn numbers(shape: Shape) -> Vec<u8> {
    assemble(&format!(
        r#"(module (memory (export "memory") {pages}) {start}
        (func (export "add") (param i32 i32) (result i32) {body} (i32.add (local.get 0) (local.get 1)))
        {ballast})"#,
        pages = shape.pages(),
        start = start(shape.spin),
        body = body(shape.spin),
        ballast = ballast(shape.ballast),
    ))
}

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the guests are right")
}
