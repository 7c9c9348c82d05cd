//! What bounds a component: all of it together.

use super::{answer, error, invoke_in, values_on};
use crate::support::{MODES, host, limits, load, load_error, survives, text};

/// A component of two modules, each with a memory that grows by so many pages.
const TWO_MEMORIES: &str = r#"(component
    (core module $m
        (memory 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
    (core instance $one (instantiate $m))
    (core instance $two (instantiate $m))
    (func (export "grow-one") (param "pages" u32) (result s32) (canon lift (core func $one "grow")))
    (func (export "grow-two") (param "pages" u32) (result s32) (canon lift (core func $two "grow"))))"#;

#[test]
fn instances_bomb_two_memories_of_a_component_share_its_budget() {
    let plugin = load(&host(), TWO_MEMORIES, limits(&[("memory", "640KiB")]));
    assert_eq!(answer(&plugin, "grow-one", "[8]"), "1");
    assert_eq!(answer(&plugin, "grow-one", "[9]"), "-1");
    let mut session = plugin.session_blocking().unwrap();
    let mut grow =
        |function: &str, pages: u32| session.call_blocking::<_, i32>(function, &(pages,)).unwrap().value;
    assert_eq!((grow("grow-one", 4), grow("grow-two", 5), grow("grow-two", 4)), (1, -1, 1));
    assert_eq!((grow("grow-one", 1), grow("grow-two", 1)), (-1, -1));
    let host = host();
    let plugin = load(&host, TWO_MEMORIES, limits(&[("memory", "100KiB")]));
    assert_eq!(error(&plugin, "grow-one", "[0]").code(), "limit-memory", "what they begin with counts");
    assert_eq!(host.memory_used(), 0);
}

#[test]
fn instances_bomb_a_component_of_many_modules_is_refused() {
    let of = |count: usize| {
        let instances = "(core instance (instantiate $m))".repeat(count);
        format!(
            r#"(component
                (core module $m (memory 1) (func (export "f")))
                {instances}
                (core instance $last (instantiate $m))
                (func (export "f") (canon lift (core func $last "f"))))"#
        )
    };
    let error = load_error(&of(16), text());
    assert_eq!(error.code(), "component-unsupported");
    assert_eq!(error.hint(), Some("it instantiates more than 16 modules"));
    // What is too many for the pool is made on demand, and within the budget all the same.
    let host = host();
    assert_eq!(answer(&load(&host, &of(15), text()), "f", "[]"), "null");
    assert_eq!(error_of(&load(&host, &of(15), limits(&[("memory", "960KiB")]))), "limit-memory");
    survives(&host);
}

/// Modules in components in components, each with a memory: three instances of one that has two.
const NESTED: &str = r#"(component
    (core module $m
        (memory 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
    (component $pair
        (component $one
            (core instance $m (instantiate $m))
            (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $m "grow"))))
        (instance $first (instantiate $one))
        (instance $second (instantiate $one))
        (export "first" (func $first "grow"))
        (export "second" (func $second "grow")))
    (instance $a (instantiate $pair))
    (instance $b (instantiate $pair))
    (instance $c (instantiate $pair))
    (export "grow-a" (func $a "first"))
    (export "grow-b" (func $b "second"))
    (export "grow-c" (func $c "second")))"#;

#[test]
fn instances_bomb_components_in_components_share_one_budget() {
    let host = host();
    // Six pages from the beginning.
    let plugin = load(&host, NESTED, limits(&[("memory", "640KiB")]));
    let mut session = plugin.session_blocking().unwrap();
    let mut grow =
        |function: &str, pages: u32| session.call_blocking::<_, i32>(function, &(pages,)).unwrap().value;
    assert_eq!((grow("grow-a", 2), grow("grow-b", 3), grow("grow-c", 2)), (1, -1, 1));
    assert_eq!((grow("grow-a", 1), grow("grow-b", 1), grow("grow-c", 1)), (-1, -1, -1));
    drop(session);
    let plugin = load(&host, NESTED, limits(&[("memory", "320KiB")]));
    assert_eq!(error(&plugin, "grow-a", "[0]").code(), "limit-memory", "what they begin with counts");
    assert_eq!(host.memory_used(), 0);
    survives(&host);
}

#[test]
fn instances_bomb_components_that_double_each_other_are_refused() {
    let mut doubling = "(component $c0)".to_owned();
    for index in 1..=24 {
        let before = index - 1;
        doubling.push_str(&format!(
            "(component $c{index} (instance (instantiate $c{before})) (instance (instantiate $c{before})))"
        ));
    }
    let of = |parts: &str| {
        format!(
            r#"(component {parts} (core module $m (func (export "f"))) (core instance $m (instantiate $m))
                (func (export "f") (canon lift (core func $m "f"))))"#
        )
    };
    let error = load_error(&of(&format!("{doubling} (instance (instantiate $c24))")), text());
    assert_eq!((error.code(), error.exit_code()), ("component-unsupported", 125));
    assert_eq!(error.hint(), Some("it instantiates more than 128 components"));
    // Named by one another, and never instantiated.
    let mut naming = String::new();
    for index in 0..40 {
        let outward: String =
            (0..index).map(|before| format!("(alias outer 1 $c{before} (component))")).collect();
        naming.push_str(&format!("(component $c{index} {outward})"));
    }
    let error = load_error(&of(&naming), text());
    assert_eq!(error.code(), "component-unsupported");
    assert_eq!(error.hint(), Some("what it instantiates has more than 100000 parts"));
    let deep = format!("{}{}", "(component ".repeat(40), ")".repeat(40));
    let error = load_error(&of(&deep), text());
    assert_eq!(error.code(), "component-unsupported");
    assert_eq!(error.hint(), Some("its components are nested deeper than 32 levels"));
}

fn error_of(plugin: &airlock_host::Plugin) -> &'static str {
    error(plugin, "f", "[]").code()
}

#[test]
fn a_function_that_never_ends_is_ended() {
    let host = host();
    let plugin = values_on(&host, limits(&[("timeout", "200ms")]));
    for mode in MODES {
        assert_eq!(invoke_in(mode, &plugin, "spin", "[]").unwrap_err().code(), "deadline", "{mode:?}");
    }
    let spinning = r#"(component
        (core module $m (func (export "f") (loop br 0)))
        (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    let plugin = load(&host, spinning, limits(&[("timeout", "200ms")]));
    for mode in MODES {
        assert_eq!(invoke_in(mode, &plugin, "f", "[]").unwrap_err().code(), "deadline", "{mode:?}");
    }
    let plugin = load(&host, spinning, limits(&[("fuel", "100_000")]));
    assert_eq!(error(&plugin, "f", "[]").code(), "limit-fuel");
    survives(&host);
}

#[test]
fn component_string_bomb_a_result_that_is_too_large_ends_with_a_limit() {
    let host = host();
    let plugin = values_on(&host, limits(&[("output", "1MiB"), ("input", "1MiB"), ("memory", "256MiB")]));
    assert_eq!(answer(&plugin, "airlock:values/hostile.bytes", "[3]"), "[7,7,7]");
    // Longer than may be answered, and more than the host holds for an answer.
    for count in ["[600000]", "[1000000]", "[100000000]"] {
        let error = error(&plugin, "airlock:values/hostile.bytes", count);
        assert_eq!((error.code(), error.exit_code()), ("limit-output", 123), "{count}: {error}");
    }
    // Texts that are one in the guest are many in the host.
    let text = r#"(component
        (core module $m
            (memory (export "memory") 2)
            (func (export "f") (result i32) (local $at i32)
                (local.set $at (i32.const 65536))
                (loop $next
                    (i32.store (local.get $at) (i32.const 0))
                    (i32.store offset=4 (local.get $at) (i32.const 65536))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))
                (i32.store (i32.const 0) (i32.const 65536))
                (i32.store (i32.const 4) (i32.const 8192))
                i32.const 0))
        (core instance $m (instantiate $m))
        (alias core export $m "memory" (core memory $memory))
        (func (export "f") (result (list string)) (canon lift (core func $m "f") (memory $memory))))"#;
    let plugin = load(&host, text, limits(&[]));
    let error = error(&plugin, "f", "[]");
    assert_eq!((error.code(), error.exit_code()), ("limit-output", 123), "{error}");
    survives(&host);
}

#[test]
fn component_string_bomb_what_is_handed_to_the_host_is_bounded_as_well() {
    // 4,096 headers, each of two texts of 64 KiB that are one in the guest: half a gigabyte in the host.
    let text = r#"(component
        (import "prx:host/http-outbound@0.1.0" (instance $host
            (export "request" (func (param "method" string) (param "url" string)
                (param "headers" (list (tuple string string))) (param "body" (option (list u8)))
                (result (result (tuple u16 (list (tuple string string)) (list u8)) (error string)))))))
        (alias export $host "request" (func $request))
        (core module $libc (memory (export "memory") 3)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (core func $lowered (canon lower (func $request) (memory $memory) (realloc $realloc)))
        (core module $m
            (import "libc" "memory" (memory 3))
            (import "host" "request" (func $request (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
            (func (export "f") (local $at i32)
                (local.set $at (i32.const 65536))
                (loop $next
                    (i32.store (local.get $at) (i32.const 131072))
                    (i32.store offset=4 (local.get $at) (i32.const 65536))
                    (i32.store offset=8 (local.get $at) (i32.const 131072))
                    (i32.store offset=12 (local.get $at) (i32.const 65536))
                    (local.set $at (i32.add (local.get $at) (i32.const 16)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))
                (call $request (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 65536) (i32.const 4096) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
        (core instance $m (instantiate $m
            (with "libc" (instance $libc)) (with "host" (instance (export "request" (func $lowered))))))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    let host = host();
    let plugin = load(&host, text, limits(&[]).allow("net=*".parse().unwrap()));
    let error = error(&plugin, "f", "[]");
    assert_eq!((error.code(), error.exit_code()), ("limit-output", 123), "{error}");
    survives(&host);
}

#[test]
fn grow_past_budget_the_tables_of_all_modules_share_one() {
    let of = |first: &str| {
        format!(
            "(component
                (core module $m (table $t {first} funcref)
                    (func (export \"f\") (param i32) (result i32)
                        (table.grow $t (ref.null func) (local.get 0))))
                (core instance $one (instantiate $m))
                (core instance $other (instantiate $m))
                (func (export \"one\") (param \"more\" u32) (result s32) (canon lift (core func $one \"f\")))
                (func (export \"other\") (param \"more\" u32) (result s32) (canon lift (core func $other \"f\"))))"
        )
    };
    let host = host();
    let plugin = load(&host, &of("300"), limits(&[("table_elements", "1000")]));
    let mut session = plugin.session_blocking().unwrap();
    let mut grow = |function: &str, more: u32| -> i64 {
        session.call_blocking::<_, i64>(function, &[more]).unwrap().value
    };
    // 600 of 1,000 are there.
    assert_eq!(
        (grow("one", 300), grow("other", 101), grow("other", 100), grow("one", 1)),
        (300, -1, 300, -1)
    );
    let plugin = load(&host, &of("501"), limits(&[("table_elements", "1000")]));
    assert_eq!(error(&plugin, "one", "[0]").code(), "limit-table-elements");
    survives(&host);
}

#[test]
fn an_input_that_is_too_large_is_refused_before_the_guest_runs() {
    let plugin = values_on(&host(), limits(&[("input", "1MiB"), ("output", "1MiB")]));
    let json = format!("[[{}0]]", "0,".repeat(600_000));
    assert_eq!(error(&plugin, "echo-bytes", &json).code(), "limit-input");
    let json = format!("[[{}0]]", "0,".repeat(400_000));
    assert_eq!(error(&plugin, "echo-bytes", &json).code(), "limit-input");
}

#[test]
fn a_component_that_traps_and_one_that_hoards_are_told_apart() {
    let plugin = values_on(&host(), limits(&[("memory", "8MiB")]));
    let trapped = error(&plugin, "airlock:values/hostile.trap", "[]");
    assert_eq!((trapped.code(), trapped.exit_code()), ("trap", 122));
    assert_eq!(error(&plugin, "hold", "[9000000]").code(), "limit-memory");
    assert_eq!(answer(&plugin, "hold", "[1000000]"), "1000000");
}

#[test]
fn deep_recursion_of_a_component_hits_its_stack() {
    let wat = r#"(component
        (core module $m (func $f (export "f") (call $f)))
        (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    let plugin = load(&host(), wat, text());
    for mode in MODES {
        assert_eq!(invoke_in(mode, &plugin, "f", "[]").unwrap_err().code(), "limit-stack", "{mode:?}");
    }
}

#[test]
fn resource_leak_handles_that_a_component_makes_for_itself_are_bounded() {
    let wat = r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (func (export "hoard") (loop (drop (call $new (i32.const 1))) (br 0))))
        (core instance $m (instantiate $m (with "" (instance (export "new" (func $new))))))
        (func (export "hoard") (canon lift (core func $m "hoard"))))"#;
    let plugin = load(&host(), wat, text());
    let error = error(&plugin, "hoard", "[]");
    assert_eq!(error.code(), "trap", "{error}");
}

#[test]
fn more_calls_at_once_than_places_in_the_pool_all_end_well() {
    let host = host();
    let (plain, wasi) = (load(&host, TWO_MEMORIES, text()), values_on(&host, text()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(answer(&plain, "grow-two", "[1]"), "1");
                    assert_eq!(answer(&wasi, "add", "[1,2]"), "3");
                }
            });
        }
    });
}
