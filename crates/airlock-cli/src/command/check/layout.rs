//! What a module is made of: memory, stack, sizes, what an instance costs, what differs from run to run.

use airlock_host::{AbiId, Anatomy, LimitKind};
use bytesize::ByteSize;

use super::Looked;
use super::codes;
use super::finding::Finding;

/// Bytes of a module from which on it is worth to ask why it is so large.
const LARGE: u64 = 5_000_000;

/// Bytes of a stack below which a single array of a function is too much, and from which on a plugin
/// that is called afresh pays for it.
const SMALL_STACK: u64 = 4 << 10;
const LARGE_STACK: u64 = 1 << 20;

/// Bytes of code from which on it is told where they are.
const MUCH_CODE: u64 = 64 << 10;

/// Functions from which on their names are missed.
const SOME_FUNCTIONS: u64 = 4;

/// Bytes of custom sections that are worth to be stripped.
const STRIPPED: u64 = 16 << 10;

pub(super) fn check(looked: &Looked<'_>) -> Vec<Finding> {
    let parts = [sizes(looked), memory(looked), stack(looked), start(looked), answers(looked)];
    parts.into_iter().flatten().chain(traps(looked)).collect()
}

/// Warns of a file that is larger than it has to be, whether it loads or not.
pub(super) fn large(file: &str, size: u64) -> Option<Finding> {
    (size > LARGE).then(|| {
        Finding::new(&codes::LARGE, format!("`{file}` has {}", bytes(size)))
            .hint("built for release, stripped and optimised for size it has less to be compiled")
    })
}

fn sizes(looked: &Looked<'_>) -> Vec<Finding> {
    let Looked { file, anatomy, .. } = looked;
    let mut findings = Vec::new();
    if anatomy.custom >= STRIPPED && anatomy.custom * 4 >= anatomy.size {
        let mut message = format!(
            "{} of `{file}`, which has {}, are custom sections that no call needs",
            bytes(anatomy.custom),
            bytes(anatomy.size)
        );
        if anatomy.dwarf > 0 {
            message.push_str(&format!(", {} of them DWARF", bytes(anatomy.dwarf)));
        }
        findings.push(Finding::new(&codes::STRIPPABLE, message).hint(
            "`wasm-opt --strip-debug` or the linker's `-s` leaves them out; traps then say less of where they were",
        ));
    }
    if anatomy.code >= MUCH_CODE {
        let largest: Vec<String> = anatomy
            .largest
            .iter()
            .map(|function| {
                let name = function.name.as_deref().map(demangled);
                let name = name.unwrap_or_else(|| format!("function {}", function.index));
                format!("`{name}` {}", bytes(function.size))
            })
            .collect();
        let message = format!(
            "`{file}` has {} of code in {} functions; the largest are {}",
            bytes(anatomy.code),
            anatomy.functions,
            largest.join(", ")
        );
        findings.push(Finding::new(&codes::LARGEST_FUNCTIONS, message).hint(
            "compiling takes time by their bytes; `opt-level = \"s\"` and `wasm-opt -Oz` make them fewer",
        ));
    }
    findings
}

fn memory(looked: &Looked<'_>) -> Vec<Finding> {
    let Looked { file, anatomy, examined, .. } = looked;
    let limit = examined.limits.value(LimitKind::Memory);
    let mut findings = Vec::new();
    let Some(memory) = anatomy.memories.first() else { return findings };
    if memory.bytes() > limit {
        let message = format!(
            "the memory of `{file}` starts with {}, and the limit `memory` is {}: no call gets an instance",
            bytes(memory.bytes()),
            bytes(limit)
        );
        findings
            .push(Finding::new(&codes::MEMORY_OVER_LIMIT, message).hint("`--memory` raises it for a call"));
    }
    match memory.maximum {
        None if anatomy.grows => {
            let message = format!(
                "the memory of `{file}` grows and has no maximum: how far is a matter of the limit `memory`, {}",
                bytes(limit)
            );
            findings.push(
                Finding::new(&codes::MEMORY_UNBOUNDED, message)
                    .hint("`--max-memory=BYTES` tells the linker of one"),
            );
        }
        Some(most) if anatomy.grows && most.saturating_mul(64 << 10) > limit && memory.bytes() <= limit => {
            let message = format!(
                "the memory of `{file}` may have {}, and the limit `memory` is {}",
                bytes(most.saturating_mul(64 << 10)),
                bytes(limit)
            );
            findings
                .push(Finding::new(&codes::MEMORY_MAXIMUM, message).hint("it can have what is less of both"));
        }
        _ => {}
    }
    findings
}

fn stack(looked: &Looked<'_>) -> Vec<Finding> {
    let Looked { file, anatomy, examined, .. } = looked;
    let Some(stack) = anatomy.stack else { return Vec::new() };
    let mut findings = Vec::new();
    if stack.is_first == Some(false) {
        let message = format!(
            "the stack of `{file}`, which ends at {:#x}, is above its data: running out of it writes over data and \
             is no trap",
            stack.top
        );
        findings.push(Finding::new(&codes::STACK_ABOVE_DATA, message).hint(first_flag(anatomy)));
    }
    if stack.size < SMALL_STACK {
        let message = format!("the stack of `{file}` has {}", bytes(stack.size));
        findings.push(
            Finding::new(&codes::STACK_SMALL, message)
                .hint("`-z stack-size=BYTES` tells the linker of another"),
        );
    }
    if stack.size >= LARGE_STACK && !examined.keeps_state() && is_called_often(looked) {
        let message =
            format!("the stack of `{file}` has {}, and every call a fresh instance", bytes(stack.size));
        findings.push(Finding::new(&codes::STACK_LARGE, message).hint(
            "with 64 KiB (`-z stack-size=65536`) a call of a small Rust plugin took 23.5 µs and not 30.8",
        ));
    }
    findings
}

/// How the stack is told to be below the data, in the words of who linked it.
fn first_flag(anatomy: &Anatomy) -> String {
    let by = |name: &str| anatomy.producers.iter().any(|tool| tool.starts_with(name));
    let flag = if by("Rust") || by("rustc") { "`-C link-arg=--stack-first`" } else { "`-Wl,--stack-first`" };
    format!("{flag} puts it below")
}

/// Whether starting it is what a call of it takes time for: a program does more.
fn is_called_often(looked: &Looked<'_>) -> bool {
    matches!(&looked.examined.abi, Ok((abi, _)) if !abi.is_program())
}

/// What an instance costs before it is called.
fn start(looked: &Looked<'_>) -> Vec<Finding> {
    let Looked { file, anatomy, examined, .. } = looked;
    let mut findings = Vec::new();
    if !is_called_often(looked) {
        return findings;
    }
    let shape = &examined.shape;
    let exported = ["_initialize", "__wasm_call_ctors", "plugin_init"]
        .into_iter()
        .find(|name| shape.function(name).is_some_and(|ty| ty.is(&[], &[])));
    let runs = match anatomy.has_start {
        true => Some("its start function".to_owned()),
        false => exported.map(|name| format!("`{name}`")),
    };
    if let Some(runs) = runs.filter(|_| !examined.keeps_state()) {
        let message = format!("`{file}` has {runs} run before every call on a fresh instance");
        findings.push(
            Finding::new(&codes::INITIALISES, message)
                .hint("`airlock bench` tells what a fresh call takes; a session runs it once"),
        );
    }
    if let Some(why) = &anatomy.off_pool {
        let message = format!("instances of `{file}` do not fit the pool, and are made on demand: {why}");
        findings.push(
            Finding::new(&codes::ON_DEMAND, message)
                .hint("a fresh call then maps its memory anew; `airlock bench` tells what it takes"),
        );
    }
    if !examined.keeps_state() && anatomy.data > Anatomy::RESIDENT {
        let message = format!(
            "`{file}` has {} of data; of what a call writes to, all beyond the first {} of memory is given back \
             page by page",
            bytes(anatomy.data),
            bytes(Anatomy::RESIDENT)
        );
        findings.push(
            Finding::new(&codes::START_MEMORY, message)
                .hint("a small stack and what is written to near the start of memory cost least"),
        );
    }
    findings
}

/// What may come to another answer elsewhere or another time.
fn answers(looked: &Looked<'_>) -> Vec<Finding> {
    let Looked { file, anatomy, examined, .. } = looked;
    let mut findings = Vec::new();
    if let Some(function) = anatomy.makes_nan.as_ref().filter(|_| !examined.has_canonical_nan()) {
        let message = format!(
            "`{file}` computes with floats, in `{}` first: the bits of what is not a number can differ",
            demangled(function)
        );
        findings.push(
            Finding::new(&codes::NAN_BITS, message)
                .hint("they only matter to code that looks at them; test cases have one pattern"),
        );
    }
    if let Some(function) = &anatomy.relaxed_simd {
        let message = format!(
            "`{file}` has relaxed SIMD instructions, in `{}` first: other hosts may differ",
            demangled(function)
        );
        findings.push(
            Finding::new(&codes::RELAXED_SIMD, message).hint("here they come to the same on every machine"),
        );
    }
    findings
}

/// What a trap will be able to say.
fn traps(looked: &Looked<'_>) -> Option<Finding> {
    let Looked { file, anatomy, examined, .. } = looked;
    if anatomy.functions < SOME_FUNCTIONS || examined.shape.is_component {
        return None;
    }
    if anatomy.names == 0 && anatomy.dwarf == 0 {
        let message =
            format!("`{file}` has no names: a trap in it says `function {}`", anatomy.imported_functions);
        return Some(
            Finding::new(&codes::NO_NAMES, message)
                .hint("strip only DWARF, as `strip = \"debuginfo\"` of Cargo or `wasm-opt -g` do"),
        );
    }
    (anatomy.dwarf == 0).then(|| {
        Finding::new(
            &codes::NO_LINES,
            format!("`{file}` has no DWARF: a trap in it says functions and no lines"),
        )
        .hint("built with `-g` (`debug = \"line-tables-only\"` of Cargo) it says file and line")
    })
}

/// What is told of a module besides findings, on one line.
pub(super) fn told(looked: &Looked<'_>) -> String {
    let Looked { file, anatomy, examined, .. } = looked;
    let abi: Option<&(AbiId, String)> = examined.abi.as_ref().ok();
    let called = abi.map(|(abi, why)| format!("is called as `{abi}`: {why}; ")).unwrap_or_default();
    let pages: Vec<String> = anatomy.memories.iter().take(3).map(|memory| bytes(memory.bytes())).collect();
    let memory = if pages.is_empty() { "none".to_owned() } else { pages.join(" and ") };
    let stack = anatomy.stack.map(|stack| format!(", stack {}", bytes(stack.size))).unwrap_or_default();
    format!(
        "`{file}` {called}{}: code {}, data {}, custom sections {}; functions {}, tables {}, globals {}; memory at \
         the start {memory}{stack}",
        bytes(anatomy.size),
        bytes(anatomy.code),
        bytes(anatomy.data),
        bytes(anatomy.custom),
        anatomy.functions,
        anatomy.tables,
        anatomy.globals,
    )
}

/// A function's name as traps have it.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn bytes(count: u64) -> String {
    ByteSize::b(count).display().iec().to_string()
}
