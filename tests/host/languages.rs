//! The document's example plugin in each language of its table, by one table of cases, and what is
//! said of the builds that make no plugin.

use std::path::Path;

use airlock_host::{Host, LoadOptions, Plugin};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::support::{answer, error, host, load_error, repository, text};

/// What a language's own library can do with cases of letters, and how strict its JSON is.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Letters {
    /// Those of Europe.
    European,
    /// One character for each, in every script.
    Simple,
    /// Characters that become several, or depend on their neighbours.
    Full,
}

struct Language {
    /// Its plugin's folder.
    folder: &'static str,
    letters: Letters,
    /// Whether half a pair of surrogates and a key that is there twice are errors.
    strict: bool,
    allocator: &'static str,
    /// Whether the allocator takes AssemblyScript's class too.
    classes: bool,
}

const LANGUAGES: [Language; 7] = [
    language("text-processor-sdk", Letters::Full, "cortex_alloc"),
    language("text-processor", Letters::Full, "malloc"),
    language("text-processor-c", Letters::European, "malloc"),
    language("text-processor-cpp", Letters::European, "malloc"),
    language("text-processor-zig", Letters::European, "alloc"),
    Language { strict: false, ..language("text-processor-go", Letters::Simple, "alloc") },
    Language { classes: true, ..language("text-processor-as", Letters::Full, "__new") },
];

const fn language(folder: &'static str, letters: Letters, allocator: &'static str) -> Language {
    Language { folder, letters, strict: true, allocator, classes: false }
}

impl Language {
    fn plugin(&self, host: &Host) -> Plugin {
        let folder = repository("plugins").join(self.folder);
        // The document's manifest has 50 pages for the one in Rust, which a text of 1 MiB does not
        // fit in; its file is loaded without it.
        let source = match self.folder {
            "text-processor" => folder.join("text_processor.wasm"),
            _ => folder,
        };
        host.load_blocking(source, LoadOptions::new()).unwrap()
    }

    fn is_for(&self, case: &Case) -> bool {
        (!case.strict || self.strict)
            && (!case.unicode || self.letters >= Letters::Simple)
            && (!case.special || self.letters >= Letters::Full)
    }

    /// What a call with these bytes leaves in memory, whether they are JSON or not; without NUL,
    /// so that UTF-16 can be read too.
    fn answer_to_bytes(&self, plugin: &Plugin, bytes: &[u8]) -> String {
        let mut session = plugin.session_blocking().unwrap();
        let size = i32::try_from(bytes.len() + 1).unwrap();
        let pointer = match self.classes {
            true => session.call_func_blocking::<(i32, i32), i32>(self.allocator, (size, 1)),
            false => session.call_func_blocking::<i32, i32>(self.allocator, size),
        };
        let pointer = pointer.unwrap();
        session.memory().unwrap().write(pointer.cast_unsigned(), bytes).unwrap();
        let result: i32 = session.call_func_blocking("transform", (pointer, size - 1)).unwrap();
        let memory = session.memory().unwrap();
        let result = result.cast_unsigned();
        let length = 400.min(u32::try_from(memory.size()).unwrap() - result);
        let written = memory.read(result, length).unwrap();
        written.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
    }
}

/// A line of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The input as it is written. Where `repeat` is, its `@` stands for a text so many times.
    input: String,
    repeat: Option<(String, usize)>,
    result: Option<Text>,
    length: Option<u64>,
    hash: Option<u64>,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    unicode: bool,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    strict: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Repeated { repeat: (String, usize) },
}

impl Case {
    fn input(&self) -> String {
        match &self.repeat {
            Some((text, times)) => self.input.replace('@', &text.repeat(*times)),
            None => self.input.clone(),
        }
    }

    fn result(&self) -> Option<String> {
        self.result.as_ref().map(|text| match text {
            Text::Plain(text) => text.clone(),
            Text::Repeated { repeat: (text, times) } => text.repeat(*times),
        })
    }
}

fn cases() -> Vec<Case> {
    let table = std::fs::read(repository("plugins/text-processor/cases.json")).unwrap();
    serde_json::from_slice(&table).unwrap()
}

/// An answer, with its hash digit for digit.
#[derive(Debug, Deserialize, PartialEq)]
struct Transformed {
    result: String,
    length: u64,
    hash: u64,
}

/// All that is promised of every language. In one test for each, since the one in Go takes seconds
/// to compile.
fn check(language: &Language) {
    let host = host();
    let plugin = language.plugin(&host);
    assert_eq!(plugin.functions(), ["transform"], "{}", language.folder);
    check_cases(language, &plugin);
    check_fresh_memory(language, &plugin);
    check_session(language, &plugin);
    if language.letters < Letters::Full {
        check_letters(language, &plugin);
    }
}

fn check_cases(language: &Language, plugin: &Plugin) {
    let mut checked = 0;
    for case in cases().iter().filter(|case| language.is_for(case)) {
        let (input, what) = (case.input(), format!("{}: {}", language.folder, case.name));
        checked += 1;
        match case.result() {
            Some(result) => {
                let expected = Transformed { result, length: case.length.unwrap(), hash: case.hash.unwrap() };
                let answer = answer(plugin, "transform", &[&input]);
                // Of a long text that is another, the end says enough.
                let given: Transformed = serde_json::from_str(&answer).unwrap();
                let tail = &answer[answer.len().saturating_sub(70)..];
                assert!(given == expected, "{what}: …{tail}");
            }
            None if serde_json::from_str::<&serde_json::value::RawValue>(&input).is_ok() => {
                assert!(case.error, "{what}");
                let error = error(plugin, "transform", &[&input]);
                assert_eq!(error.code(), "failed", "{what}");
            }
            // The host refuses it before the plugin could.
            None => {
                assert_eq!(error(plugin, "transform", &[&input]).code(), "invalid-input", "{what}");
                let answer = language.answer_to_bytes(plugin, input.as_bytes());
                assert!(answer.contains(r#"{"error":""#), "{what}: {answer}");
            }
        }
    }
    assert!(checked >= 50, "{}: {checked}", language.folder);
}

/// Each call begins with the same memory, whatever the one before it did.
fn check_fresh_memory(language: &Language, plugin: &Plugin) {
    let small = serde_json::json!({ "text": "hello", "mode": "reverse" });
    let large = serde_json::json!({ "text": "x".repeat(300 << 10), "mode": "reverse" });
    let call = |input| plugin.call_blocking::<_, Value>("transform", input).unwrap();
    let first = call(&small);
    let grown = call(&large);
    assert!(grown.usage.memory_bytes > first.usage.memory_bytes, "{}", language.folder);
    for _ in 0..2 {
        let again = call(&small);
        assert_eq!(again.usage.memory_bytes, first.usage.memory_bytes, "{}", language.folder);
        assert_eq!(again.value, first.value, "{}", language.folder);
    }
}

/// An instance that is kept can be called again, with inputs and answers of any length.
fn check_session(language: &Language, plugin: &Plugin) {
    let mut session = plugin.session_blocking().unwrap();
    for i in 0..100 {
        let text = format!("{i}é").repeat(i);
        let input = serde_json::json!({ "text": text, "mode": "reverse" });
        let value: Value = session.call_blocking("transform", &input).unwrap().value;
        let reversed: String = text.chars().rev().collect();
        assert_eq!(value["result"], reversed, "{}", language.folder);
    }
}

/// The letters of Europe have the cases that Unicode gives them, one character for one. What
/// becomes several is no part of what these languages promise.
fn check_letters(language: &Language, plugin: &Plugin) {
    let blocks =
        [0x20..=0x17f, 0x386..=0x386, 0x388..=0x38f, 0x391..=0x3ce, 0x400..=0x52f, 0x1e00..=0x1eff_u32];
    let letters = || blocks.clone().into_iter().flatten().filter_map(char::from_u32);
    let upper = |letter: char| one(letter.to_uppercase());
    let lower = |letter: char| one(letter.to_lowercase());
    for (mode, other) in [("uppercase", &upper as &dyn Fn(char) -> Option<char>), ("lowercase", &lower)] {
        let pairs: Vec<(char, char)> =
            letters().filter_map(|letter| Some((letter, other(letter)?))).collect();
        assert!(pairs.len() > 900, "{}", pairs.len());
        let given: String = pairs.iter().map(|(letter, _)| *letter).collect();
        let input = serde_json::json!({ "text": given, "mode": mode });
        let value: Value = plugin.call_blocking("transform", &input).unwrap().value;
        let result = value["result"].as_str().unwrap();
        assert_eq!(result.chars().count(), pairs.len(), "{} {mode}", language.folder);
        for ((letter, expected), is) in pairs.iter().zip(result.chars()) {
            assert_eq!(is, *expected, "{} {mode} of U+{:04X}", language.folder, u32::from(*letter));
        }
    }
}

fn one(mut several: impl Iterator<Item = char>) -> Option<char> {
    several.next().filter(|_| several.next().is_none())
}

#[test]
fn the_plugin_in_rust_does_what_the_others_do() {
    check(&LANGUAGES[0]);
}

#[test]
fn the_plugin_in_c_does_what_the_others_do() {
    check(&LANGUAGES[1]);
}

#[test]
fn the_plugin_in_cpp_does_what_the_others_do() {
    check(&LANGUAGES[2]);
}

#[test]
fn the_plugin_in_zig_does_what_the_others_do() {
    check(&LANGUAGES[3]);
}

#[test]
fn the_plugin_in_go_does_what_the_others_do() {
    check(&LANGUAGES[4]);
}

#[test]
fn the_plugin_in_assemblyscript_does_what_the_others_do() {
    check(&LANGUAGES[5]);
}

#[test]
fn the_documents_go_example_gives_a_text_and_a_number() {
    let plugin = host().load_blocking(repository("plugins/cortex-go"), LoadOptions::new()).unwrap();
    assert_eq!(plugin.functions(), ["transform", "count_tokens"]);
    assert_eq!(answer(&plugin, "transform", &[r#""hello wörld""#]), r#""HELLO WÖRLD""#);
    assert_eq!(answer(&plugin, "transform", &[r#"{"text":"hello"}"#]), r#"{"TEXT":"HELLO"}"#);
    // What is no JSON in capitals is a text.
    assert_eq!(answer(&plugin, "transform", &["true"]), r#""TRUE""#);
    // Characters of the JSON, quotes included, by four, and at least one.
    assert_eq!(answer(&plugin, "count_tokens", &[r#""hello wörld, hello""#]), "5");
    assert_eq!(answer(&plugin, "count_tokens", &["1"]), "1");
    assert_eq!(answer(&plugin, "count_tokens", &[&format!("\"{}\"", "x".repeat(3998))]), "1000");
}

#[test]
fn wasm_packs_output_is_told_from_a_plugin() {
    // What wasm-pack makes for the web and for a bundler, and what it makes that of.
    let imports = [
        ("wbg", "__wbg_log_1d990106d99dacb7"),
        ("./hello_bg.js", "__wbindgen_init_externref_table"),
        ("__wbindgen_placeholder__", "__wbindgen_describe"),
        ("__wbindgen_externref_xform__", "__wbindgen_externref_table_grow"),
    ];
    for (module, name) in imports {
        let wat = format!(
            r#"(module (import "{module}" "{name}" (func)) (memory (export "memory") 1)
                (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 64)
                (func (export "transform") (param i32 i32) (result i32) i32.const 64))"#
        );
        let message = load_error(&wat, text()).to_string();
        assert!(
            message
                .contains("build with `cargo build --release --target wasm32-wasip1` and not with wasm-pack"),
            "{module}: {message}"
        );
    }
}

/// A folder with CortexPrism's manifest and these files.
fn folder(entry: &str, files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(r#"{{"name":"made","type":"wasm","entryPoint":"{entry}"}}"#);
    std::fs::write(folder.path().join("manifest.json"), manifest).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn refused(folder: &Path) -> (String, String) {
    let error = host().load_blocking(folder, LoadOptions::new()).expect_err("it is no plugin");
    (error.to_string(), error.hint().unwrap_or_default().to_owned())
}

#[test]
fn a_program_in_go_is_told_how_its_functions_are_exported() {
    // A real one: what `go build` makes without `-buildmode=c-shared`, whatever `//export` it has.
    let program = std::fs::read(repository("plugins/fledge-go/fledge-go.wasm")).unwrap();
    let (message, hint) = refused(folder("plugin.wasm", &[("plugin.wasm", &program)]).path());
    assert!(message.ends_with("it exports no function `(i32, i32) -> i32`"), "{message}");
    assert_eq!(
        hint,
        "it is a program in Go, which ignores `//export`: write `//go:wasmexport NAME` before each function \
         and build with `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`"
    );
}

#[test]
fn a_program_of_another_language_is_told_to_be_a_library() {
    let program =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    let (message, hint) = refused(folder("plugin.wasm", &[("plugin.wasm", &program)]).path());
    assert!(message.ends_with("it exports no function `(i32, i32) -> i32`"), "{message}");
    assert!(hint.contains("`-mexec-model=reactor`") && hint.contains("cdylib"), "{hint}");
}

#[test]
fn a_plugin_that_is_not_built_is_told_the_command_of_its_language() {
    for (file, command) in [
        ("Cargo.toml", "`cargo build --release --target wasm32-wasip1`"),
        ("go.mod", "`GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .`"),
        ("build.zig", "`zig build -Dtarget=wasm32-wasi`"),
        ("package.json", "`npx asc plugin.ts -o plugin.wasm`"),
    ] {
        let (message, hint) = refused(folder("plugin.wasm", &[(file, b"")]).path());
        assert!(message.starts_with("no plugin at `") && message.ends_with("plugin.wasm`"), "{message}");
        assert_eq!(hint, format!("it has to be built first: {command} makes it"));
    }
    // The document's name of the target, which Rust has no more.
    let old = folder("target/wasm32-wasi/release/made.wasm", &[("Cargo.toml", b"")]);
    let (_, hint) = refused(old.path());
    assert!(hint.ends_with("; `wasm32-wasi` is named `wasm32-wasip1` now, in `entryPoint` too"), "{hint}");
    let (_, hint) = refused(folder("plugin.wasm", &[]).path());
    assert_eq!(hint, "");
}

/// Pieces that JSON is made of, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\\"",
        "\\n",
        "\\u00e9",
        "\\ud834\\udd1e",
        "\\x",
        "true",
        "false",
        "null",
        "tru",
        "0",
        "-1",
        "01",
        "1.5",
        "1.",
        "2e10",
        "2e",
        "-",
        " ",
        "\t",
        "\u{1}",
        "a",
        "key",
        "long enough",
        "\u{e9}",
        "\u{1f600}",
        "\"k\":",
        "\"text that is longer than eight\"",
        "[[[[[[[[",
        "]]]]]]]]",
        "{\"a\":{\"a\":",
    ];
    prop_oneof![
        proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        any::<char>().prop_map(String::from)
    ]
}

const C: Language = language("text-processor-c", Letters::European, "malloc");

proptest! {
    #[test]
    fn what_the_c_kit_skips_is_what_serde_json_takes_for_json(pieces in prop::collection::vec(piece(), 1..24)) {
        thread_local! {
            static PLUGIN: Plugin = C.plugin(&host());
        }
        let rest = pieces.concat();
        let input = format!(r#"{{"rest":{rest},"text":"abc","mode":"reverse"}}"#);
        // A rest that ends its object, or names what is read, is another matter.
        let is_one = serde_json::from_str::<IgnoredAny>(&rest).is_ok();
        let is_all = serde_json::from_str::<IgnoredAny>(&input).is_ok();
        prop_assume!(is_one == is_all);
        // Past the host, which takes nothing but JSON.
        let answer = PLUGIN.with(|plugin| C.answer_to_bytes(plugin, input.as_bytes()));
        prop_assert_eq!(answer.contains("\"cba\""), is_one, "{}", rest);
    }
}
