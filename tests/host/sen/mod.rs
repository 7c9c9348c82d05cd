//! Plugins of sen-rs: those in `plugins/`, and modules made here that do what theirs could.

mod broken;
mod calls;
mod loader;
mod mycli;
mod registry;

use airlock_host::sen::ExecuteResult;
use airlock_host::{Error, Host, LoadOptions, Plugin};
use serde::Serialize as _;
use serde_json::{Value, json};

use crate::support::{host, limits, source, text};

/// MessagePack of a value, structures as maps.
fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes)).unwrap();
    bytes
}

/// A manifest of this name that asks for these capabilities.
fn manifest(name: &str, capabilities: &Value) -> Value {
    json!({ "api_version": 2, "command": { "name": name, "about": "" }, "capabilities": capabilities })
}

/// Bytes as WebAssembly text writes them.
fn data(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A pointer and a length in one number.
fn span(pointer: u64, length: usize) -> String {
    format!("(i64.const {})", (pointer << 32) | length as u64)
}

/// Where a module's answer lies, its manifest, and what it allocates.
const ANSWER: u64 = 4096;
const MANIFEST: u64 = 16_384;
const HEAP: u64 = 65_536;

/// A module of theirs, all of which can be otherwise.
struct Module {
    manifest: Vec<u8>,
    /// The answer that lies at [`ANSWER`].
    answer: Vec<u8>,
    /// What is done before the answer is given.
    work: String,
    /// The answer's place.
    answers: Option<String>,
    alloc: String,
    dealloc: String,
    /// More definitions.
    more: String,
    imports: String,
}

impl Module {
    fn new(name: &str) -> Self {
        let answer = packed(&json!({ "Success": "done" }));
        Module {
            manifest: packed(&manifest(name, &json!({}))),
            answers: None,
            answer,
            work: String::new(),
            alloc: "(global.get $next) (global.set $next (i32.add (global.get $next) (local.get 0)))"
                .to_owned(),
            dealloc: String::new(),
            more: String::new(),
            imports: String::new(),
        }
    }

    fn answering(value: &Value) -> Self {
        Module { answer: packed(value), ..Module::new("test") }
    }

    fn wat(&self) -> String {
        let answers = self.answers.clone().unwrap_or_else(|| span(ANSWER, self.answer.len()));
        format!(
            r#"(module {imports}
                (memory (export "memory") 2)
                (global $next (mut i32) (i32.const {HEAP}))
                (data (i32.const {ANSWER}) "{answer}")
                (data (i32.const {MANIFEST}) "{manifest}")
                (func (export "plugin_manifest") (result i64) {described})
                (func $alloc (export "plugin_alloc") (param i32) (result i32) {alloc})
                (func (export "plugin_dealloc") (param i32 i32) {dealloc})
                (func (export "plugin_execute") (param i32 i32) (result i64) {work} {answers})
                {more})"#,
            imports = self.imports,
            answer = data(&self.answer),
            manifest = data(&self.manifest),
            described = span(MANIFEST, self.manifest.len()),
            alloc = self.alloc,
            dealloc = self.dealloc,
            work = self.work,
            more = self.more,
        )
    }

    fn load_with(&self, host: &Host, options: LoadOptions) -> Result<Plugin, Error> {
        host.load_blocking(source(&self.wat()), options.wat(true))
    }

    fn load(&self) -> Plugin {
        self.load_with(&host(), LoadOptions::new()).unwrap()
    }

    fn refused(&self) -> Error {
        self.load_with(&host(), LoadOptions::new()).unwrap_err()
    }
}

fn success(text: &str) -> ExecuteResult {
    ExecuteResult::Success(text.to_owned())
}

const NONE: [&str; 0] = [];
