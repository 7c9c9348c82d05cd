//! `airlock check`: each of its findings, on modules and manifests that provoke it, and none on plugins that
//! are well made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::plugins::{PLAIN, Place, program, text};
use crate::support::{output, repository};

/// What `airlock check` reports.
fn report(place: &Place, source: &str) -> Value {
    let ran = place.output(&["check", "--json", source]);
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{source}: {ran:?}"))
}

/// A finding's severity, code, message and hint.
fn lines(place: &Place, report: &Value) -> Vec<[String; 4]> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    let part = |finding: &Value, key: &str| place.plain(finding[key].as_str().unwrap_or_default());
    findings
        .iter()
        .map(|finding| ["severity", "code", "message", "hint"].map(|key| part(finding, key)))
        .collect()
}

fn codes(place: &Place, source: &str) -> Vec<String> {
    lines(place, &report(place, source)).into_iter().map(|[_, code, _, _]| code).collect()
}

/// A bare module, from its text.
fn bare(place: &Place, wat: &str) -> String {
    let path = place.path("bare.wasm");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, wat::parse_str(wat).unwrap_or_else(|error| panic!("{wat}: {error}"))).unwrap();
    text(&path)
}

/// A folder with CortexPrism's manifest, which has more of this, and a module of this text.
fn cortex(place: &Place, manifest: &str, wat: &str) -> String {
    let folder = place.write("cortex", &crate::plugins::Source { manifest, ..PLAIN });
    fs::write(folder.join("plugin.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    text(&folder)
}

/// A folder with fledge's manifest, of which some is replaced.
fn fledge(place: &Place, from: &str, to: &str, wasm: &[u8]) -> String {
    let manifest = "[plugin]\nname = \"lint\"\nversion = \"0.1.0\"\ndescription = \"finds\"\nauthor = \"me\"\n\
                    protocol = \"fledge-v1\"\nruntime = \"wasm\"\n[[commands]]\nname = \"my-lint\"\n\
                    binary = \"lint.wasm\"\n";
    let folder = place.path("fledge");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("plugin.toml"), manifest.replace(from, to)).unwrap();
    fs::write(folder.join("lint.wasm"), wasm).unwrap();
    text(&folder)
}

/// A json module with more in it, that nothing is to be said about otherwise.
fn json_module(more: &str) -> String {
    format!(
        r#"(module {more} (memory (export "memory") 1)
          (func (export "alloc") (param i32) (result i32) i32.const 1024)
          (func (export "result_len") (result i32) i32.const 4)
          (func (export "f") (param i32 i32) (result i32) i32.const 16))"#
    )
}

/// A function that takes some of the stack that the first global points to.
const TAKES_STACK: &str = r#"(func (export "g") (local i32)
    (global.set 0 (local.tee 0 (i32.sub (global.get 0) (i32.const 16)))))"#;

const WASI: &str = "wasi_snapshot_preview1";

/// A function's whole code with `count` numbers in it.
fn long_function(count: usize) -> String {
    "(func ".to_owned() + &"(drop (i64.const 0x7edcba9876543210))".repeat(count) + ")"
}

/// Every code with a source that provokes it.
fn provoked(place: &Place) -> Vec<(&'static str, Vec<[String; 4]>)> {
    let mut all = Vec::new();
    let mut tell = |code: &'static str, source: String| {
        all.push((code, lines(place, &report(place, &source))));
    };
    let send = program("hello");
    fn module(imports: &str) -> Vec<u8> {
        wat::parse_str(format!(r#"(module {imports} (memory (export "memory") 1) (func (export "_start")))"#))
            .unwrap()
    }
    const SEND: &str = r#"(import "fledge" "send" (func (param i32 i32)))"#;

    tell("missing-binary", fledge(place, "\"lint.wasm\"", "\"gone.wasm\"", &send));
    let linked = fledge(place, "\"lint.wasm\"", "\"linked.wasm\"", &send);
    std::os::unix::fs::symlink("/bin/sh", Path::new(&linked).join("linked.wasm")).unwrap();
    tell("outside-folder", linked);
    tell("manifest", cortex(place, r#","colour":"red""#, &json_module("")));
    tell("own-command", fledge(place, "my-lint", "build", &send));
    tell("version", fledge(place, "0.1.0", "1", &send));
    tell("protocol-missing", fledge(place, "protocol = \"fledge-v1\"\n", "", &send));
    tell("description-missing", fledge(place, "description = \"finds\"\n", "", &send));
    tell("author-missing", fledge(place, "author = \"me\"\n", "", &send));
    tell("build-empty", fledge(place, "[[commands]]", "[hooks]\nbuild = \"\"\n[[commands]]", &send));
    let ending = fledge(place, "lint.wasm", "lint.bin", &send);
    fs::copy(format!("{ending}/lint.wasm"), format!("{ending}/lint.bin")).unwrap();
    tell("binary-name", ending);
    tell("no-protocol", fledge(place, "", "", &module("")));
    let http =
        format!(r#"(import "env" "host_http_request" (func (param {}) (result i32)))"#, "i32 ".repeat(11));
    tell("asks-too-little", cortex(place, "", &json_module(&http)));
    let network = r#","permissions":{"network":["https://api.example.com"]}"#;
    tell("asks-unused", cortex(place, network, &json_module("")));
    let six = r#"(param i32 i32 i32 i32 i32 i32) (result i32) i32.const 0"#;
    tell("near-export", bare(place, &json_module(&format!(r#"(func (export "plugin_exec_tool") {six})"#))));
    tell("export-type", bare(place, &json_module(r#"(func (export "plugin_init") (param i32))"#)));
    let unexported = json_module("").replace(r#"(export "memory") "#, "");
    tell("no-memory-export", bare(place, &unexported));
    let named = r#","capabilities":{"f":{}}"#;
    let more = r#"(func (export "g") (param i32 i32) (result i32) i32.const 16)"#;
    tell("unnamed-function", cortex(place, named, &json_module(more)));
    let pages = |pages: u32| format!(r#","wasm":{{"memoryPages":{pages}}}"#);
    let sized = |memory: &str| json_module("").replace(r#""memory") 1"#, &format!(r#""memory") {memory}"#));
    tell("memory-pages", cortex(place, &pages(9), &sized("2 5")));
    tell("fewer-pages", cortex(place, &pages(1), &sized("2 5")));
    tell("memory-over-limit", bare(place, &sized("2000")));
    let stack = |top: u32, data: u32| {
        let global = format!("(global (mut i32) (i32.const {top})) (data (i32.const {data}) \"abcd\")");
        json_module("").replace("(module ", &format!("(module {TAKES_STACK} {global} "))
    };
    tell("stack-above-data", bare(place, &stack(65536, 1024)));
    tell("stack-small", bare(place, &stack(1024, 1024)));
    tell(
        "stack-large",
        bare(
            place,
            &sized("17").replace(
                "(module ",
                &format!("(module {TAKES_STACK} (global (mut i32) (i32.const 1048576)) "),
            ),
        ),
    );
    tell("odd-name", bare(place, &json_module(r#"(func (export "a\1b[2Jb\e2\80\ae"))"#)));
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let looks = crate::plugins::Source { name: "p1ain", ..PLAIN };
    tell("lookalike-name", place.source("looks", &looks));
    tell(
        "large",
        bare(
            place,
            &json_module("")
                .replace("(module ", &format!("(module (@custom \"x\" \"{}\") ", "x".repeat(5_000_001))),
        ),
    );

    let both = format!(r#"(func (export "plugin_execute_tool") {six}) (func (export "_start"))"#);
    tell("other-abi", bare(place, &json_module(&both)));
    tell("uncallable", bare(place, &json_module(r#"(func (export "big") (param v128))"#)));
    let no_allocator = json_module("").replace(r#"(export "alloc")"#, "");
    tell("no-allocator", bare(place, &no_allocator));
    let no_length = json_module("").replace(r#"(export "result_len")"#, "");
    tell("no-length", bare(place, &no_length));
    let wasi = |name: &str, ty: &str| json_module(&format!(r#"(import "{WASI}" "{name}" (func {ty}))"#));
    let open = "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)";
    tell("could-use", cortex(place, "", &wasi("path_open", open)));
    tell("virtual-clock", cortex(place, "", &wasi("clock_time_get", "(param i32 i64 i32) (result i32)")));
    tell("virtual-random", cortex(place, "", &wasi("random_get", "(param i32 i32) (result i32)")));
    let tool = |imports: &str| {
        format!(
            r#"(module {imports} (memory (export "memory") 1) (func (export "plugin_execute_tool") {six}))"#
        )
    };
    tell("real-clock", bare(place, &tool(r#"(import "env" "host_get_time_ms" (func (result i64)))"#)));
    tell("real-random", bare(place, &tool(r#"(import "env" "host_random" (func (param i32 i32)))"#)));
    let half =
        r#"(func $half (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))"#;
    tell("nan-bits", bare(place, &format!("(module {half})")));
    let madd = "(f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))";
    let relaxed = format!(r#"(func (export "r") (local v128) (drop {madd}))"#);
    tell("relaxed-simd", bare(place, &json_module(&relaxed)));
    let document = module(&SEND.replace("i32 i32)", "i32 i32) (result i32)"));
    tell("send-result", fledge(place, "", "", &document));
    tell("initialises", bare(place, &json_module(r#"(func (export "_initialize"))"#)));
    tell("on-demand", bare(place, &json_module("(table 20001 funcref)")));
    let data = format!("(data (i32.const 0) \"{}\")", "x".repeat(300_000));
    tell("start-memory", bare(place, &sized("6").replace("(module ", &format!("(module {data} "))));
    let grows = r#"(func (export "g") (drop (memory.grow (i32.const 1))))"#;
    tell("memory-unbounded", bare(place, &json_module(grows)));
    tell("memory-maximum", bare(place, &sized("1 9000").replace("(module ", &format!("(module {grows} "))));
    tell("table-exported", bare(place, &json_module(r#"(table (export "t") 1 funcref)"#)));
    let section = "x".repeat(20_000);
    tell(
        "strippable",
        bare(
            place,
            &json_module("")
                .replace("(module ", &format!("(module (@custom \".debug_info\" \"{section}\") ")),
        ),
    );
    tell(
        "largest-functions",
        bare(
            place,
            &json_module(&format!(
                "{} {}",
                long_function(6000),
                long_function(10).replace("(func ", "(func $named ")
            )),
        ),
    );
    let few = "(func) (func) (func) (func)";
    tell("no-names", bare(place, &json_module(few)));
    tell("no-lines", bare(place, &json_module(&few.replacen("(func)", "(func $named)", 1))));
    all
}

#[test]
fn every_code_of_the_page_is_provoked_and_matters_as_much_as_it_says() {
    let page = fs::read_to_string(repository().join("docs/check.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let page: BTreeMap<&str, &str> =
        rows.filter_map(|(code, rest)| Some((code, rest.split_once(" | ")?.0))).collect();
    let place = Place::new();
    let provoked = provoked(&place);
    let mut shown = String::new();
    for (code, found) in &provoked {
        let [severity, _, message, hint] =
            found.iter().find(|[_, own, _, _]| own == code).unwrap_or_else(|| panic!("{code}: {found:?}"));
        assert_eq!(Some(&severity.as_str()), page.get(code), "{code}");
        let _ = writeln!(shown, "{severity} {code}: {message}\n  hint: {hint}");
        // Nothing else that matters is said of a module that is odd in one way, but that it does not load.
        let others = found.iter().filter(|[severity, own, ..]| severity != "note" && own != code);
        assert_eq!(others.count(), 0, "{code}: {found:?}");
    }
    let told: BTreeSet<&str> = provoked.iter().map(|(code, _)| *code).collect();
    assert_eq!(told, page.keys().copied().collect());
    assert_snapshot!(shown, @r#"
    error missing-binary: the command `my-lint` runs `gone.wasm`, which is not there
      hint: it has to be built first
    error outside-folder: `linked.wasm` leads out of the plugin's folder
      hint: a copy of it inside is no link
    warning manifest: unknown key `colour`
      hint: 
    warning own-command: its command `build` is one of Airlock's own too
      hint: `airlock run build` is the plugin's
    warning version: `plugin.version` is `1`, which is no semantic version
      hint: three numbers, such as `0.1.0`
    warning protocol-missing: `plugin.protocol` is missing, and fledge takes what it runs for a native program then
      hint: `protocol = "fledge-v1"` under `[plugin]`
    warning description-missing: `plugin.description` is missing
      hint: `description = "…"` under `[plugin]`
    warning author-missing: `plugin.author` is missing
      hint: `author = "…"` under `[plugin]`
    warning build-empty: `hooks.build` is empty
      hint: without the key there is nothing to build
    warning binary-name: the command `my-lint` runs `lint.bin`, which does not end in `.wasm`
      hint: fledge warns of any other ending as well
    warning no-protocol: `lint.wasm` imports nothing from `fledge`: what it prints is shown as it is, messages as well
      hint: `stdout-protocol = true` under `[plugin]` has the messages among it read
    warning asks-too-little: `plugin.wasm` imports `env.host_http_request`, and its manifest does not ask for `net`: it is refused what it does there
      hint: `permissions.network` in its manifest asks for it
    warning asks-unused: it asks for `net`, and imports nothing that could use it
      hint: without `net` nobody is asked about it
    warning near-export: `bare.wasm` exports `plugin_exec_tool`, and no `plugin_execute_tool`, which the `cortex` ABI looks for
      hint: `plugin_execute_tool` is a func (i32, i32, i32, i32, i32, i32) -> (i32)
    warning export-type: `bare.wasm` exports `plugin_init` as a func (i32) -> (), and every ABI looks for a func () -> ()
      hint: as it is nobody calls it; another name says that nobody is to
    warning no-memory-export: `bare.wasm` exports an allocator and `f`, and not its memory: numbers are all that it can be handed
      hint: linkers export it under the name `memory` unless told otherwise
    warning unnamed-function: `plugin.wasm` exports `g`, which its manifest does not name: nobody can call it
      hint: functions are the keys of `capabilities`, and the names of `tools`
    warning memory-pages: `wasm.memoryPages` is 9, and `plugin.wasm` has 5 at most
      hint: it gets what it has at most; `--max-memory=BYTES` tells the linker of another maximum
    note fewer-pages: `wasm.memoryPages` is 1, and `plugin.wasm` starts with 2
      hint: a page has 64 KiB; the module's own number holds
    warning memory-over-limit: the memory of `bare.wasm` starts with 125.0 MiB, and the limit `memory` is 64.0 MiB: no call gets an instance
      hint: `--memory` raises it for a call
    warning stack-above-data: the stack of `bare.wasm`, which ends at 0x10000, is above its data: running out of it writes over data and is no trap
      hint: `-Wl,--stack-first` puts it below
    warning stack-small: the stack of `bare.wasm` has 1.0 KiB
      hint: `-z stack-size=BYTES` tells the linker of another
    note stack-large: the stack of `bare.wasm` has 1.0 MiB, and every call a fresh instance
      hint: with 64 KiB (`-z stack-size=65536`) a call of a small Rust plugin took 23.5 µs and not 30.8
    warning odd-name: `bare.wasm` has the name `a\x1b[2Jb\u{202e}`, with characters that a terminal would act on
      hint: no compiler writes such names; they are shown escaped
    warning lookalike-name: its name `p1ain` looks like that of `plain`, which is installed
      hint: people grant by name: one of its own tells it apart
    warning large: `bare.wasm` has 4.8 MiB
      hint: built for release, stripped and optimised for size it has less to be compiled
    note other-abi: `bare.wasm` is called as `cortex`, and fits `command` too: it exports `_start`
      hint: `--abi command` calls it that way
    note uncallable: `bare.wasm` exports `big`, which cannot be called as `json`: `big` is a func (v128) -> ()
      hint: a `json` function is a func (i32, i32) -> (i32): a pointer and a length, a pointer
    note no-allocator: `bare.wasm` exports no allocator: its memory grows by what it is handed
      hint: an export `alloc`, which takes a size and gives a pointer, is asked for room
    note no-length: nothing in `bare.wasm` tells how long the results of `f` are: their end is looked for
      hint: an export `result_len`, which takes nothing and gives a length, is asked for it
    note could-use: `plugin.wasm` imports `wasi_snapshot_preview1.path_open`, and its manifest does not ask for `fs.read`
      hint: what is not granted is refused; `--allow` grants it to a call
    note virtual-clock: `plugin.wasm` imports `wasi_snapshot_preview1.clock_time_get`: the time is a virtual one until `clock` is granted
      hint: `--allow clock` grants it
    note virtual-random: `plugin.wasm` imports `wasi_snapshot_preview1.random_get`: random numbers are the same in every run until `random` is granted
      hint: `--allow random` grants it
    note real-clock: `bare.wasm` imports `env.host_get_time_ms`, and its ABI gives it the clock without asking
      hint: test cases have a clock and random numbers that are the same in every run
    note real-random: `bare.wasm` imports `env.host_random`, and its ABI gives it random numbers without asking
      hint: test cases have a clock and random numbers that are the same in every run
    note nan-bits: `bare.wasm` computes with floats, in `half` first: the bits of what is not a number can differ
      hint: they only matter to code that looks at them; test cases have one pattern
    note relaxed-simd: `bare.wasm` has relaxed SIMD instructions, in `function 0` first: other hosts may differ
      hint: here they come to the same on every machine
    note send-result: `lint.wasm` imports `fledge.send` with a result, which fledge's own host refuses
      hint: without one it is a function that both hosts have
    note initialises: `bare.wasm` has `_initialize` run before every call on a fresh instance
      hint: `airlock bench` tells what a fresh call takes; a session runs it once
    note on-demand: instances of `bare.wasm` do not fit the pool, and are made on demand: its table has 20001 elements, and a slot 20000
      hint: a fresh call then maps its memory anew; `airlock bench` tells what it takes
    note start-memory: `bare.wasm` has 293.0 KiB of data; of what a call writes to, all beyond the first 256.0 KiB of memory is given back page by page
      hint: a small stack and what is written to near the start of memory cost least
    note memory-unbounded: the memory of `bare.wasm` grows and has no maximum: how far is a matter of the limit `memory`, 64.0 MiB
      hint: `--max-memory=BYTES` tells the linker of one
    note memory-maximum: the memory of `bare.wasm` may have 562.5 MiB, and the limit `memory` is 64.0 MiB
      hint: it can have what is less of both
    note table-exported: `bare.wasm` exports its table `t`, which nothing here reads
      hint: a linker exports it when it is told to (`--export-table`), and for nothing else
    note strippable: 19.5 KiB of `bare.wasm`, which has 19.6 KiB, are custom sections that no call needs, 19.5 KiB of them DWARF
      hint: `wasm-opt --strip-debug` or the linker's `-s` leaves them out; traps then say less of where they were
    note largest-functions: `bare.wasm` has 70.4 KiB of code in 5 functions; the largest are `function 0` 70.3 KiB, `named` 122 B, `function 2` 5 B, `function 3` 4 B, `function 4` 4 B
      hint: compiling takes time by their bytes; `opt-level = "s"` and `wasm-opt -Oz` make them fewer
    note no-names: `bare.wasm` has no names: a trap in it says `function 0`
      hint: strip only DWARF, as `strip = "debuginfo"` of Cargo or `wasm-opt -g` do
    note no-lines: `bare.wasm` has no DWARF: a trap in it says functions and no lines
      hint: built with `-g` (`debug = "line-tables-only"` of Cargo) it says file and line
    "#);
}

#[test]
fn nothing_is_said_of_a_module_that_is_well_made() {
    let place = Place::new();
    let complete = cortex(&place, r#","capabilities":{"f":{}}"#, &json_module(""));
    assert_eq!(codes(&place, &complete), [""; 0]);
    assert_snapshot!(place.show(&["check", "--strict", &complete]), @r"
    exit 0
    --- stderr
    `plain` can be installed, and nothing is odd about it
    ");
}

#[test]
fn the_plugins_here_pass_strictly() {
    let mut odd = BTreeMap::new();
    for entry in fs::read_dir(repository().join("plugins")).unwrap() {
        let folder = entry.unwrap().path();
        let files = fs::read_dir(&folder).into_iter().flatten().map(|file| file.unwrap().path());
        let has_manifest = ["cortex.json", "plugin.toml"].iter().any(|name| folder.join(name).exists());
        let modules = files.filter(|path| path.extension().is_some_and(|ending| ending == "wasm"));
        for source in modules.chain(has_manifest.then(|| folder.clone())) {
            // What is compiled is shared with the other tests.
            let report = output(&["check", "--json", &text(&source)]);
            let report: Value = serde_json::from_slice(&report.stdout).unwrap();
            let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
            let matters = findings.iter().filter(|finding| finding["severity"] != "note");
            let matters: Vec<String> =
                matters.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
            if !matters.is_empty() {
                odd.insert(source.strip_prefix(folder.parent().unwrap()).unwrap().to_owned(), matters);
            }
        }
    }
    // Its document has no author, and asks for files in a manifest whose plugin reads none. The second imports
    // nothing by which MoFA's plugins are known, so that `--abi mofa` has to say so. The third is odd on purpose.
    let known = [
        ("fledge-document", vec!["author-missing".to_owned(), "asks-unused".to_owned()]),
        ("mofa-rust/mofa_rust.wasm", vec!["ambiguous-abi".to_owned()]),
        ("prx-variants/prx_variants.wasm", vec!["manifest".to_owned()]),
    ];
    assert_eq!(odd, BTreeMap::from(known.map(|(source, codes)| (source.into(), codes))));
}

#[test]
fn notes_are_counted_and_shown_when_asked_for() {
    let place = Place::new();
    let source = bare(&place, &json_module(r#"(func (export "_initialize"))"#));
    assert_snapshot!(place.show(&["check", &source]), @r"
    exit 0
    --- stderr
    notes: 2; `airlock check -v` shows them
    `bare` can be installed, and nothing is odd about it
    ");
    let verbose = place.output(&["check", "-v", &source]);
    // Between them is what `-v` traces.
    let said = String::from_utf8(verbose.stderr).unwrap();
    let from = said.find("note: ").unwrap();
    assert_snapshot!(&said[from..], @r#"
    note: `bare.wasm` has `_initialize` run before every call on a fresh instance
    hint: `airlock bench` tells what a fresh call takes; a session runs it once
    note: `bare.wasm` has no names: a trap in it says `function 0`
    hint: strip only DWARF, as `strip = "debuginfo"` of Cargo or `wasm-opt -g` do
    `bare.wasm` is called as `json`: it exports `memory` and functions `(i32, i32) -> i32` and allocates with `alloc`; 114 B: code 15 B, data 0 B, custom sections 0 B; functions 4, tables 0, globals 0; memory at the start 64.0 KiB
    `bare` can be installed, and nothing is odd about it
    "#);
}

#[test]
fn what_does_not_load_is_looked_at_all_the_same() {
    let place = Place::new();
    let tool = r#"(module (memory (export "memory") 1)
        (func (export "plugin_exec_tool") (param i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#;
    assert_snapshot!(place.show(&["check", &cortex(&place, "", tool)]), @r"
    exit 1
    --- stderr
    error: `plugin.wasm`: the module does not fit the `json` ABI: it exports no function `(i32, i32) -> i32`
    warning: `plugin.wasm` exports `plugin_exec_tool`, and no `plugin_execute_tool`, which the `cortex` ABI looks for
    hint: `plugin_execute_tool` is a func (i32, i32, i32, i32, i32, i32) -> (i32)
    `plain` cannot be installed; errors: 1, warnings: 1
    ");
    let imports =
        r#"(import "extism:host/env" "a" (func)) (import "env" "b" (func)) (import "gojs" "c" (func))"#;
    assert_snapshot!(place.show(&["check", &bare(&place, &json_module(imports))]), @r"
    exit 1
    --- stderr
    error: `bare.wasm`: nobody provides the import `extism:host/env.a`: it belongs to the Extism plugin ABI
    hint: nor does anybody provide `env.b`, `gojs.c`
    `bare` cannot be installed; errors: 1
    ");
}

#[test]
fn hostile_bytes_are_refused_or_taken_apart_and_shown_escaped() {
    let place = Place::new();
    let path = place.path("hostile.wasm");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let whole = wat::parse_str(json_module("")).unwrap();
    for length in [8, 20, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let output = place.output(&["check", &text(&path)]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{length}: {output:?}");
    }
    // Names as long as they can be, hundreds of sections, a name section that is none.
    let custom = |name: &str, data: &str| format!("(@custom \"{name}\" \"{data}\")");
    let name = "n\\1b".repeat(40_000);
    for more in [
        custom(&name, ""),
        custom("x", "").repeat(900),
        custom("name", "\\01\\ff\\ff\\ff\\ff\\0f\\00"),
        custom("producers", "\\ff\\ff\\ff\\ff\\0f"),
        format!("(func (export \"{name}\"))"),
    ] {
        let source = bare(&place, &json_module("").replace("(module ", &format!("(module {more} ")));
        let output = place.output(&["check", "-v", &source]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let shown = place.output(&["check", "--json", &source]);
        for stream in [&output.stdout, &output.stderr, &shown.stdout] {
            assert!(!stream.contains(&0x1b) && stream.len() < 3_000_000);
        }
    }
}

#[test]
fn a_component_is_taken_apart_and_nothing_is_said_of_its_layout() {
    let place = Place::new();
    let component = report(&place, "plugins/tcp-echo/tcp-echo.wasm");
    let module = &component["modules"][0];
    assert_eq!(component["ok"], true);
    assert_eq!(
        (module["abi"].as_str(), module["off_pool"].as_str()),
        (Some("command"), Some("it is a component"))
    );
    assert!(module["stack"].is_null() && module["code"].as_u64().unwrap() > 10_000, "{module}");
}

#[test]
fn what_a_module_is_made_of_is_told() {
    let place = Place::new();
    let data = r#"(data (i32.const 1024) "abcd")"#;
    let global = "(global (mut i32) (i32.const 1024))";
    let module = json_module("").replace("(module ", &format!("(module {TAKES_STACK} {global} {data} "));
    let report = report(&place, &bare(&place, &module));
    let mut module = report["modules"][0].clone();
    assert!(module["load_ms"].as_f64().unwrap() > 0.0);
    module.as_object_mut().unwrap().remove("load_ms");
    assert_snapshot!(serde_json::to_string_pretty(&module).unwrap(), @r#"
    {
      "path": "bare.wasm",
      "abi": "json",
      "why": "it exports `memory` and functions `(i32, i32) -> i32` and allocates with `alloc`",
      "functions_to_call": [
        "f"
      ],
      "off_pool": null,
      "size": 137,
      "code": 26,
      "data": 4,
      "custom": 0,
      "sections": [
        {
          "kind": "type",
          "size": 19
        },
        {
          "kind": "function",
          "size": 5
        },
        {
          "kind": "memory",
          "size": 3
        },
        {
          "kind": "global",
          "size": 7
        },
        {
          "kind": "export",
          "size": 39
        },
        {
          "kind": "code",
          "size": 31
        },
        {
          "kind": "data",
          "size": 11
        }
      ],
      "functions": 4,
      "imported_functions": 0,
      "globals": 1,
      "tables": 0,
      "table_elements": 0,
      "elements": 0,
      "memories": [
        {
          "minimum": 1,
          "maximum": null,
          "imported": false
        }
      ],
      "data_range": [
        1024,
        1028
      ],
      "has_start": false,
      "stack": {
        "top": 1024,
        "is_first": true,
        "size": 1024
      },
      "largest": [
        {
          "index": 0,
          "name": null,
          "size": 13
        },
        {
          "index": 1,
          "name": null,
          "size": 5
        },
        {
          "index": 2,
          "name": null,
          "size": 4
        },
        {
          "index": 3,
          "name": null,
          "size": 4
        }
      ],
      "names": 0,
      "odd_name": null,
      "dwarf": 0,
      "producers": [],
      "makes_nan": null,
      "relaxed_simd": null,
      "grows": false
    }
    "#);
}
