//! Where plugins spend their time, where they fail, and what they were then.

use std::collections::HashMap;
use std::time::Duration;

use airlock_host::{
    CoreDump, Error, ErrorKind, Host, Input, LoadOptions, Plugin, ProgramInput, SampledStack, Sampler,
    Samples, TrapFrame,
};
use wasmparser::{KnownCustom, Parser, Payload};

use crate::support::{host, limits, load, repository, text};

const PRIMES: &str = "plugins/primes/primes.wasm";

fn primes(options: LoadOptions) -> Plugin {
    host().load_blocking(repository(PRIMES), options).unwrap()
}

fn words(words: &[&str]) -> Input {
    Input::Words(words.iter().map(|word| (*word).to_owned()).collect())
}

fn failed(plugin: &Plugin, function: &str, argument: &str) -> Error {
    plugin.invoke_blocking(function, words(&[argument])).expect_err("it fails")
}

fn frames(error: &Error) -> Vec<TrapFrame> {
    let ErrorKind::Trap { frames, .. } = error.kind() else { panic!("{error}") };
    frames.clone()
}

/// How often each function was the one that ran.
fn own(samples: &Samples) -> HashMap<&str, usize> {
    let mut own = HashMap::new();
    for sample in &samples.samples {
        if let Some(frame) = samples.stacks[sample.stack].frames.last() {
            *own.entry(samples.functions[frame.function].name.as_str()).or_default() += 1;
        }
    }
    own
}

#[test]
fn most_samples_are_of_the_function_that_takes_the_time() {
    let plugin = primes(LoadOptions::new().sampler(Sampler::every(Duration::from_micros(500))));
    let mut samples = plugin.samples().unwrap();
    for _ in 0..200 {
        assert!(samples.samples.len() as u64 <= samples.ticks);
        plugin.invoke_blocking("count", words(&["100000"])).unwrap();
        samples = plugin.samples().unwrap();
        if samples.samples.len() >= 30 {
            break;
        }
    }
    let all = samples.samples.len();
    assert!(all > 0, "no call was seen");
    assert!(own(&samples)["divisors"] * 2 > all, "{:?} of {all}", own(&samples));
    assert_eq!(samples.interval, Duration::from_micros(500));
    let line = |line: usize| (samples.lines[line].0.as_str(), samples.lines[line].1);
    for stack in &samples.stacks {
        assert!(!stack.is_cut);
        let names = stack.frames.iter().map(|frame| samples.functions[frame.function].name.as_str());
        assert!(["count", "divisors"].iter().zip(names).all(|(one, other)| *one == other));
        for frame in &stack.frames {
            let (file, line) = line(frame.line.unwrap());
            assert!(file == "./primes.c" && (5..24).contains(&line), "{line}");
        }
    }
    assert!(samples.samples.is_sorted_by_key(|sample| sample.at));
    assert_eq!(plugin.samples().unwrap().samples.len(), 0, "they are told once");
}

#[test]
fn a_call_that_is_stopped_was_seen_until_then() {
    let options = limits(&[("timeout", "100ms")]).sampler(Sampler::every(Duration::from_millis(1)));
    let plugin = primes(options);
    assert_eq!(failed(&plugin, "spin", "3").code(), "deadline");
    let samples = plugin.samples().unwrap();
    assert!(samples.functions.iter().any(|function| function.name == "spin"));
    assert!(!samples.samples.is_empty() && samples.lost == 0);
}

#[test]
fn whoever_does_not_ask_is_not_looked_at() {
    assert!(primes(LoadOptions::new()).samples().is_none());
}

#[test]
fn a_stack_that_is_deeper_than_is_kept_is_cut_at_its_outer_end() {
    let wat = r#"(module
        (func $spin (loop (br 0)))
        (func $down (param i32)
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))) (else (call $spin))))
        (func (export "f") (call $down (i32.const 1000))))"#;
    let options = limits(&[("timeout", "50ms")]).sampler(Sampler::every(Duration::from_millis(1)));
    let plugin = load(&host(), wat, options);
    assert_eq!(plugin.invoke_blocking("f", words(&[])).expect_err("it never ends").code(), "deadline");
    let samples = plugin.samples().unwrap();
    let innermost =
        |stack: &SampledStack| samples.functions[stack.frames.last().unwrap().function].name.clone();
    let spinning: Vec<_> = samples.stacks.iter().filter(|stack| innermost(stack) == "spin").collect();
    assert!(!spinning.is_empty() && spinning.iter().all(|stack| stack.is_cut && stack.frames.len() == 200));
}

#[test]
fn programs_and_components_are_seen_too() {
    let options = || limits(&[("timeout", "300ms")]).sampler(Sampler::every(Duration::from_millis(1)));
    let plugin = host().load_blocking(repository("plugins/tcp-echo/tcp-echo.wasm"), options()).unwrap();
    let error = plugin.run_blocking(ProgramInput::new().args(["spin"])).expect_err("it never ends");
    assert_eq!(error.code(), "deadline");
    assert!(!plugin.samples().unwrap().samples.is_empty());
    let wat = r#"(module (memory (export "memory") 1) (func $work (export "_start") (loop (br 0))))"#;
    let plugin = load(&host(), wat, options());
    assert_eq!(plugin.run_blocking(ProgramInput::new()).expect_err("it never ends").code(), "deadline");
    assert_eq!(own(&plugin.samples().unwrap()).into_keys().collect::<Vec<_>>(), ["work"]);
}

#[test]
fn a_trap_tells_file_and_line_in_every_way_of_calling() {
    let plugin = primes(LoadOptions::new());
    let expected = [("checked", "./primes.c", 30), ("nth", "./primes.c", 38)];
    let told = |error: Error| {
        let frames = frames(&error);
        assert_eq!(frames[0].source.as_deref(), Some("./primes.c:30:15"));
        let of =
            |frame: &TrapFrame| (frame.function.clone(), frame.file.clone().unwrap(), frame.line.unwrap());
        frames.iter().map(of).collect::<Vec<_>>()
    };
    let expected =
        expected.map(|(function, file, line)| (function.to_owned(), file.to_owned(), line)).to_vec();
    assert_eq!(told(failed(&plugin, "known", "30")), expected);
    let awaited = futures_executor::block_on(plugin.invoke("known", words(&["30"])));
    assert_eq!(told(awaited.expect_err("it traps")), expected);
    let mut session = plugin.session_blocking().unwrap();
    assert_eq!(told(session.invoke_blocking("known", words(&["30"])).expect_err("it traps")), expected);
    let mut session = plugin.session_blocking().unwrap();
    let known = session.func::<i32, i32>("known").unwrap();
    assert_eq!(told(known.call_blocking(&mut session, 30).expect_err("it traps")), expected);
}

/// What a core dump has: the names of its sections, frames of its stack, and bytes of memory.
fn read_dump(dump: &[u8]) -> (Vec<String>, usize, Vec<Vec<u8>>) {
    let (mut sections, mut frames, mut data) = (Vec::new(), 0, Vec::new());
    for payload in Parser::new(0).parse_all(dump) {
        match payload.unwrap() {
            Payload::CustomSection(section) => {
                sections.push(section.name().to_owned());
                match section.as_known() {
                    KnownCustom::CoreDumpStack(stack) => frames = stack.frames.len(),
                    KnownCustom::Unknown => panic!("{} is not known", section.name()),
                    _ => {}
                }
            }
            Payload::MemorySection(_) => sections.push("memory".to_owned()),
            Payload::DataSection(segments) => {
                data.extend(segments.into_iter().map(|segment| segment.unwrap().data.to_vec()));
            }
            _ => {}
        }
    }
    (sections, frames, data)
}

#[test]
fn a_trap_leaves_a_core_dump_and_nothing_else_does() {
    let wat = r#"(module
        (memory (export "memory") 2) (global (mut i32) (i32.const 7))
        (data (i32.const 70000) "what was in its memory")
        (func $inner unreachable)
        (func (export "fails") (call $inner))
        (func (export "works"))
        (func (export "spins") (loop (br 0))))"#;
    let dump = CoreDump::new();
    let plugin = load(&host(), wat, limits(&[("timeout", "50ms")]).core_dump(&dump));
    assert!(plugin.invoke_blocking("works", words(&[])).is_ok() && dump.take().is_none());
    assert_eq!(plugin.invoke_blocking("spins", words(&[])).expect_err("never ends").code(), "deadline");
    assert!(dump.take().is_none());
    assert_eq!(plugin.invoke_blocking("fails", words(&[])).expect_err("traps").code(), "trap");
    let (sections, frames, data) = read_dump(&dump.take().unwrap());
    assert_eq!(sections, ["core", "memory", "coremodules", "coreinstances", "corestack"]);
    assert_eq!((frames, data), (2, vec![b"what was in its memory".to_vec()]));
    // Awaited, in a session, and where somebody else has the file.
    futures_executor::block_on(plugin.invoke("fails", words(&[]))).expect_err("traps");
    assert_eq!(read_dump(&dump.take().unwrap()).1, 2);
    plugin.session_blocking().unwrap().invoke_blocking("fails", words(&[])).expect_err("traps");
    assert_eq!(read_dump(&dump.take().unwrap()).1, 2);
    plugin.invoke_blocking("fails", words(&[])).expect_err("traps");
    plugin.invoke_blocking("spins", words(&[])).expect_err("never ends");
    assert!(dump.take().is_none(), "the last call did not trap");
}

#[test]
fn whatever_traps_leaves_a_core_dump() {
    // While it is made.
    let dump = CoreDump::new();
    let wat = r#"(module (memory 1) (data (i32.const 5) "secret") (func $s unreachable) (start $s) (func (export "f")))"#;
    let plugin = load(&host(), wat, text().core_dump(&dump));
    plugin.invoke_blocking("f", words(&[])).expect_err("traps");
    assert_eq!(read_dump(&dump.take().unwrap()).2, [b"secret"]);
    // A component of some modules.
    let options = LoadOptions::new().core_dump(&dump);
    let plugin = host().load_blocking(repository("plugins/tcp-echo/tcp-echo.wasm"), options).unwrap();
    let error = plugin.run_blocking(ProgramInput::new().args(["hoard"])).expect_err("too many");
    assert_eq!(error.code(), "trap");
    let (sections, frames, data) = read_dump(&dump.take().unwrap());
    assert!(sections.contains(&"corestack".to_owned()) && frames > 0 && !data.is_empty());
    // A program that leaves with a code is none.
    let wat = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 3))))"#;
    let plugin = load(&host(), wat, text().core_dump(&dump));
    assert_eq!(plugin.run_blocking(ProgramInput::new()).unwrap().value.code, 3);
    assert!(dump.take().is_none());
}

/// The module with each of its debugging sections changed by `change`, in turn.
fn with_debugging(wasm: &[u8], change: impl Fn(&str, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut module = wasm[..8].to_vec();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.unwrap();
        let Some((id, range)) = payload.as_section() else { continue };
        let content = match &payload {
            Payload::CustomSection(section) if section.name().starts_with(".debug") => {
                let name = section.name();
                let length = u8::try_from(name.len()).unwrap();
                [&[length], name.as_bytes(), &change(name, section.data())].concat()
            }
            _ => wasm[range].to_vec(),
        };
        module.push(id);
        let mut size = content.len();
        while size >= 0x80 {
            module.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        module.push(u8::try_from(size).unwrap());
        module.extend(content);
    }
    module
}

fn trap_of(host: &Host, wasm: Vec<u8>) -> Vec<TrapFrame> {
    let plugin = host.load_blocking(wasm, LoadOptions::new()).unwrap();
    frames(&failed(&plugin, "known", "30"))
}

/// What is done to a section.
type Change = fn(&[u8]) -> Vec<u8>;

#[test]
fn dwarf_that_is_damaged_costs_no_more_than_what_it_tells() {
    let (host, wasm) = (host(), std::fs::read(repository(PRIMES)).unwrap());
    assert_eq!(trap_of(&host, with_debugging(&wasm, |_, data| data.to_vec()))[0].line, Some(30));
    let names = |frames: Vec<TrapFrame>| frames.into_iter().map(|frame| frame.function).collect::<Vec<_>>();
    let changes: [Change; 6] = [
        |_| Vec::new(),
        |data| data[..data.len() / 2].to_vec(),
        |data| data.iter().map(|byte| !byte).collect(),
        |data| vec![0xff; data.len()],
        |data| data.iter().rev().copied().collect(),
        |data| data.repeat(3),
    ];
    for change in changes {
        for only in [".debug_line", ".debug_info", ".debug_str", ".debug_abbrev", ""] {
            let changed = with_debugging(&wasm, |name, data| match only {
                "" => change(data),
                _ if name == only => change(data),
                _ => data.to_vec(),
            });
            assert_eq!(names(trap_of(&host, changed)), ["checked", "nth"], "{only}");
        }
    }
}

#[test]
fn dwarf_whose_entries_are_nested_without_end_is_not_followed() {
    // A unit and a function that both have all addresses, and in the function one that is inlined into
    // the one before, a million deep.
    let all = [0_u32.to_le_bytes(), 4096_u32.to_le_bytes()].concat();
    let unit = [&[4, 0, 0, 0, 0, 0, 4, 1], all.as_slice(), &[0; 4], &[2], &all].concat();
    let info = [unit, vec![3; 1_000_000], vec![0; 1_000_002]].concat();
    let info = [u32::try_from(info.len()).unwrap().to_le_bytes().to_vec(), info].concat();
    let abbreviations = [
        vec![1, 0x11, 1, 0x11, 1, 0x12, 6, 0x10, 0x17, 0, 0],
        vec![2, 0x2e, 1, 0x11, 1, 0x12, 6, 0, 0],
        vec![3, 0x1d, 1, 0, 0, 0],
    ]
    .concat();
    let wasm = std::fs::read(repository(PRIMES)).unwrap();
    let hostile = with_debugging(&wasm, |name, data| match name {
        ".debug_info" => info.clone(),
        ".debug_abbrev" => abbreviations.clone(),
        ".debug_ranges" | ".debug_loc" => Vec::new(),
        _ => data.to_vec(),
    });
    let frames = trap_of(&host(), hostile);
    assert_eq!((frames[0].function.as_str(), frames[0].line), ("checked", Some(30)));
}
