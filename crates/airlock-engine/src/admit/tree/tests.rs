use std::fmt::Write;

use airlock_core::{Error, Limits};
use proptest::prelude::*;
use wasmparser::{Encoding, Parser, Payload};

use super::{MAX_COMPONENTS, MAX_DEPTH, MAX_MODULES, Totals, Tree};
use crate::engines::compiler_config;
use crate::{Artifact, EngineKey, Shape};

/// A component with `parts` in it and a function of its own, of one module.
fn with(parts: &str) -> String {
    format!(
        r#"(component {parts}
            (core module $main (func (export "f")))
            (core instance $main (instantiate $main))
            (func (export "f") (canon lift (core func $main "f"))))"#
    )
}

fn admit(parts: &str) -> Result<Shape, Error> {
    let limits = Limits::default();
    let artifact = Artifact::new(with(parts).into_bytes(), true, &limits)?;
    Shape::admit(&artifact, &[], &limits)
}

fn refused(parts: &str) -> String {
    let error = admit(parts).expect_err("it is refused");
    assert_eq!(error.code(), "component-unsupported", "{error}");
    error.hint().expect("it says why").to_owned()
}

fn totals(wat: &str) -> Totals {
    let bytes = wat::parse_str(wat).expect("it is a component");
    let (mut tree, mut open) = (Tree::default(), Vec::new());
    for payload in Parser::new(0).parse_all(&bytes) {
        let payload = payload.expect("it is valid");
        match &payload {
            Payload::Version { encoding, .. } => open.push(*encoding),
            Payload::End(_) if open.pop() == Some(Encoding::Component) => tree.end(),
            _ => {}
        }
        tree.read(&payload).expect("it can be counted");
    }
    tree.write_out().expect("it is small")
}

/// What every component begins with.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

const ONE_MODULE: &str = "(core module $m) (core instance (instantiate $m))";

#[test]
fn what_components_in_components_instantiate_is_counted_as_often_as_they_are() {
    // Two levels down, twice and three times.
    let nested = |inner: usize, outer: usize| {
        let inner = "(instance (instantiate $inner))".repeat(inner);
        let outer = "(instance (instantiate $outer))".repeat(outer);
        format!("(component $outer (component $inner {ONE_MODULE}) {inner}) {outer}")
    };
    assert_eq!(totals(&with(&nested(2, 3))), Totals { components: 9, modules: 7, memories: 0, tables: 0 });
    // The component's own is the sixteenth.
    admit(&nested(5, 3)).expect("few enough");
    assert_eq!(refused(&nested(4, 4)), "it instantiates more than 16 modules");
    // What is only defined counts for nothing.
    admit(&nested(30, 0)).expect("none is instantiated");
}

#[test]
fn a_component_that_doubles_itself_is_refused() {
    // Each has the one before it twice, so that the last would be written out 2^20 times.
    let mut doubling = "(component $c0)".to_owned();
    for index in 1..=20 {
        let twice = format!("(instance (instantiate $c{}))", index - 1).repeat(2);
        doubling = format!("(component $c{index} {doubling} {twice})");
    }
    assert_eq!(
        refused(&format!("{doubling} (instance (instantiate $c20))")),
        "it instantiates more than 128 components"
    );
    // The same beside one another, named outward.
    let mut doubling = "(component $c0)".to_owned();
    for index in 1..=20 {
        let before = index - 1;
        write!(
            doubling,
            "(component $c{index} (alias outer 1 $c{before} (component $c))
                (instance (instantiate $c)) (instance (instantiate $c)))"
        )
        .expect("a text takes it");
    }
    assert_eq!(
        refused(&format!("{doubling} (instance (instantiate $c20))")),
        "it instantiates more than 128 components"
    );
}

#[test]
fn modules_and_components_are_instantiated_up_to_a_number() {
    let modules =
        |count: usize| format!("(core module $m) {}", "(core instance (instantiate $m))".repeat(count));
    admit(&modules(MAX_MODULES - 1)).expect("few enough");
    assert_eq!(refused(&modules(MAX_MODULES)), "it instantiates more than 16 modules");
    let components = |count: usize| format!("(component $c) {}", "(instance (instantiate $c))".repeat(count));
    admit(&components(MAX_COMPONENTS)).expect("few enough");
    assert_eq!(refused(&components(MAX_COMPONENTS + 1)), "it instantiates more than 128 components");
}

#[test]
fn components_are_within_one_another_up_to_a_depth() {
    // The outermost is one level.
    let deep = |levels: usize| format!("{}{}", "(component ".repeat(levels - 1), ")".repeat(levels - 1));
    admit(&deep(MAX_DEPTH)).expect("deep enough");
    assert_eq!(refused(&deep(MAX_DEPTH + 1)), "its components are nested deeper than 32 levels");
    // Deeper than the text format allows.
    let mut nested = HEADER.to_vec();
    for _ in 0..900 {
        let length = nested.len() as u32;
        // LEB128, of three digits whatever the number.
        let digits = [length | 0x80, length >> 7 | 0x80, length >> 14 & 0x7f].map(|digit| digit as u8);
        nested = [HEADER, &[4], &digits, &nested].concat();
    }
    let limits = Limits::default();
    let artifact = Artifact::new(nested, false, &limits).expect("it has the magic");
    let error = Shape::admit(&artifact, &[], &limits).expect_err("too deep");
    assert_eq!(error.code(), "component-unsupported");
    assert_eq!(error.hint(), Some("its components are nested deeper than 32 levels"));
}

#[test]
fn a_component_that_names_all_those_before_it_is_counted_with_what_they_name() {
    // The compiler keeps each with all that it names, and those with what they name: 2^n of them, without
    // a single instance.
    let naming = |count: usize| {
        let mut all = String::new();
        for index in 0..count {
            let outward: String =
                (0..index).map(|before| format!("(alias outer 1 $c{before} (component))")).collect();
            write!(all, "(component $c{index} {outward})").expect("a text takes it");
        }
        all
    };
    admit(&naming(12)).expect("they are few");
    assert_eq!(refused(&naming(40)), "what it instantiates has more than 100000 parts");
    // From further in, too.
    let mut deeper = String::new();
    for index in 0..40 {
        let outward: String =
            (0..index).map(|before| format!("(alias outer 2 $c{before} (component))")).collect();
        write!(deeper, "(component $c{index} (component {outward}))").expect("a text takes it");
    }
    assert_eq!(refused(&deeper), "what it instantiates has more than 100000 parts");
}

#[test]
fn instances_of_instances_are_counted_with_all_that_is_in_them() {
    let mut doubling = "(instance $i0)".to_owned();
    for index in 1..=10 {
        let before = index - 1;
        write!(
            doubling,
            r#"(instance $i{index} (export "a" (instance $i{before})) (export "b" (instance $i{before})))"#
        )
        .expect("a text takes it");
    }
    admit(&doubling).expect("a thousand");
    let copied = r#"(instance (export "a" (instance $i10)))"#.repeat(100);
    assert_eq!(refused(&format!("{doubling} {copied}")), "what it instantiates has more than 100000 parts");
    let given = format!(
        r#"(component $c (import "it" (instance $i))) {doubling} {}"#,
        r#"(instance (instantiate $c (with "it" (instance $i10))))"#.repeat(100)
    );
    assert_eq!(refused(&given), "what it instantiates has more than 100000 parts");
}

#[test]
fn a_large_component_is_counted_as_often_as_it_is_instantiated() {
    let large = format!(
        "(component $c (import \"f\" (func $f)) {})",
        r#"(core func (canon lower (func $f)))"#.repeat(1_000)
    );
    let of = |count: usize| {
        let instances = r#"(instance (instantiate $c (with "f" (func $g))))"#.repeat(count);
        format!(
            r#"(core module $m (func (export "g"))) (core instance $m (instantiate $m))
            (func $g (canon lift (core func $m "g"))) {large} {instances}"#
        )
    };
    admit(&of(90)).expect("90 000 functions");
    assert_eq!(refused(&of(100)), "what it instantiates has more than 100000 parts");
}

#[test]
fn memories_and_tables_are_counted_over_the_whole_tree() {
    let tables = |outer: usize| {
        let outer = "(instance (instantiate $c))".repeat(outer);
        format!(
            "(component $c (core module $m (memory 1) {}) (core instance (instantiate $m))) {outer}",
            "(table 1 funcref)".repeat(40)
        )
    };
    assert_eq!(totals(&with(&tables(2))), Totals { components: 2, modules: 3, memories: 2, tables: 80 });
    admit(&tables(2)).expect("80 tables");
    assert_eq!(refused(&tables(3)), "what it instantiates has more than 100 tables");
}

#[test]
fn a_module_is_followed_to_wherever_it_is_handed() {
    let module = "(core module $m (memory 1) (table 1 funcref))";
    for way in [
        // Named outward, from one level and from two.
        "(component $c (alias outer 1 $m (core module $n)) (core instance (instantiate $n)))
            (instance (instantiate $c))",
        "(component $c (component $d (core instance (instantiate $m))) (instance (instantiate $d)))
            (instance (instantiate $c))",
        // As an argument.
        r#"(component $c (import "m" (core module $n)) (core instance (instantiate $n)))
            (instance (instantiate $c (with "m" (core module $m))))"#,
        // As what an instance exports.
        r#"(component $c (core module $m (memory 1) (table 1 funcref)) (export "m" (core module $m)))
            (instance $c (instantiate $c)) (core instance (instantiate (module $c "m")))"#,
        r#"(instance $c (export "m" (core module $m))) (alias export $c "m" (core module $n))
            (core instance (instantiate $n))"#,
        // In a component that is an argument itself.
        r#"(component $inner (core instance (instantiate $m)))
            (component $c (import "c" (component $d)) (instance (instantiate $d)))
            (instance (instantiate $c (with "c" (component $inner))))"#,
    ] {
        let wat = with(&format!("{module} {way}"));
        let found = totals(&wat);
        assert_eq!((found.modules, found.memories, found.tables), (2, 1, 1), "{way}");
        assert_eq!(compiled(&wat), (1, 1), "{way}");
    }
}

#[test]
fn what_is_imported_from_outside_is_not_instantiated() {
    assert_eq!(
        refused(r#"(import "c" (component $c)) (instance (instantiate $c))"#),
        "it instantiates a component that it imports"
    );
    assert_eq!(
        refused(r#"(import "m" (core module $m)) (core instance (instantiate $m))"#),
        "it instantiates a module that it imports"
    );
    let held =
        r#"(import "i" (instance $i (export "c" (component)))) (instance (instantiate (component $i "c")))"#;
    assert_eq!(refused(held), "it instantiates a component that it imports");
}

/// Memories and tables that wasmtime finds in what it has compiled.
fn compiled(wat: &str) -> (u64, u64) {
    let engine = wasmtime::Engine::new(&compiler_config(EngineKey::default())).expect("an engine");
    let component = wasmtime::component::Component::new(&engine, wat::parse_str(wat).expect("valid"));
    let needs = component.expect("it compiles").resources_required().expect("it imports no module");
    (needs.num_memories.into(), needs.num_tables.into())
}

/// A component made of what these bytes say: modules, components in it, and which of those are
/// instantiated, from here or further in.
struct Maker<'b> {
    bytes: std::slice::Iter<'b, u8>,
    /// Names of modules and components that can be instantiated here.
    modules: Vec<String>,
    components: Vec<String>,
    names: usize,
}

impl Maker<'_> {
    fn next(&mut self, below: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % below)
    }

    fn body(&mut self, depth: usize) -> String {
        let outside = (self.modules.len(), self.components.len());
        let mut body = String::new();
        for _ in 0..self.next(6) {
            self.names += 1;
            let (name, modules, components) = (self.names, self.modules.len(), self.components.len());
            match self.next(4) {
                0 => {
                    let (memories, tables) = (["", "(memory 1)"][self.next(2)], self.next(3));
                    let tables = "(table 1 funcref)".repeat(tables);
                    write!(body, "(core module $m{name} {memories} {tables})").expect("a text takes it");
                    self.modules.push(format!("$m{name}"));
                }
                1 if depth < 4 => {
                    let inner = self.body(depth + 1);
                    write!(body, "(component $c{name} {inner})").expect("a text takes it");
                    self.components.push(format!("$c{name}"));
                }
                2 if modules > 0 => {
                    let module = self.next(modules);
                    write!(body, "(core instance (instantiate {}))", self.modules[module])
                        .expect("a text takes it");
                }
                3 if components > 0 => {
                    let component = self.next(components);
                    write!(body, "(instance (instantiate {}))", self.components[component])
                        .expect("a text takes it");
                }
                _ => {}
            }
        }
        // What was defined here is not named from outside.
        self.modules.truncate(outside.0);
        self.components.truncate(outside.1);
        body
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_counted_is_what_the_compiler_makes_of_it(bytes in prop::collection::vec(any::<u8>(), 20..120)) {
        let maker = Maker { bytes: bytes.iter(), modules: Vec::new(), components: Vec::new(), names: 0 };
        let parts = { maker }.body(0);
        match admit(&parts) {
            Ok(_) => {
                let found = totals(&with(&parts));
                prop_assert_eq!((found.memories, found.tables), compiled(&with(&parts)), "{}", parts);
            }
            Err(error) => prop_assert!(
                error.hint().is_some_and(|hint| hint.starts_with("it instantiates more than")),
                "{}: {}", error, parts
            ),
        }
    }
}
