//! What a new plugin can be, and the files of each: those of `templates/`, the SDK and the kits.

/// What a new plugin can be: an ABI, a language, and the files by their paths. Paths and texts
/// have `{{…}}` where a value goes.
pub(super) struct Template {
    pub(super) abi: &'static str,
    pub(super) lang: &'static str,
    /// What a plugin is for of which nobody says it: what the template does.
    pub(super) description: &'static str,
    pub(super) files: &'static [File],
    /// What is as it is elsewhere in the repository.
    pub(super) more: &'static [File],
    /// The word that runs or calls it, where that is the same for every name.
    pub(super) function: Option<&'static str>,
    /// How it is named where it has no manifest: by its file.
    pub(super) has_manifest: bool,
}

/// A path, and what is written there.
pub(super) type File = (&'static str, &'static str);

/// How plugins are called by their hosts, the one that is meant where nothing is said first.
pub(super) const ABIS: [(&str, &str); 6] = [
    ("json", "functions from JSON to JSON, CortexPrism's capabilities"),
    ("raw", "functions from numbers to numbers"),
    ("component", "functions with the types of WIT, of the component model"),
    ("fledge", "a command of fledge's, which exchanges messages with its host"),
    ("sen", "a command of sen-rs's"),
    ("cortex", "tools of CortexPrism's"),
];

/// What plugins are written in, the one that is meant where nothing is said first.
pub(super) const LANGS: [(&str, &str); 6] = [
    ("rust", "Rust, built by cargo"),
    ("c", "C, built by zig or a clang of the WASI SDK"),
    ("zig", "Zig"),
    ("go", "Go, 1.24 or later"),
    ("assemblyscript", "AssemblyScript, built by asc"),
    ("wat", "WebAssembly's text format, built by Airlock itself"),
];

/// The files of a template's folder, and those that each has. They have other names there where one of theirs
/// would mean something to tools in this repository.
macro_rules! of {
    ($folder:literal, $($path:literal = $file:literal),* $(,)?) => {
        &[
            $(($path, include_str!(concat!("../../../templates/", $folder, "/", $file))),)*
            ("README.md", include_str!(concat!("../../../templates/", $folder, "/README.md"))),
            (".gitignore", include_str!(concat!("../../../templates/", $folder, "/gitignore"))),
        ]
    };
}

/// The same of a crate.
macro_rules! crate_of {
    ($folder:literal, $($path:literal = $file:literal),* $(,)?) => {
        of!($folder, "Cargo.toml" = "package.toml", ".cargo/config.toml" = "cargo-config.toml", $($path = $file),*)
    };
}

/// One whose plugin greets.
const fn greets(abi: &'static str, lang: &'static str, files: &'static [File]) -> Template {
    let (description, function) = ("Greets somebody by name", Some("greet"));
    Template { abi, lang, description, files, more: &[], function, has_manifest: true }
}

/// One of the `raw` ABI, whose plugins have no manifest.
const fn divides(lang: &'static str, files: &'static [File]) -> Template {
    let description = "Finds the greatest common divisor of two numbers";
    let function = Some("gcd");
    Template { abi: "raw", lang, description, files, more: &[], function, has_manifest: false }
}

impl Template {
    const fn with(self, more: &'static [File]) -> Self {
        Template { more, ..self }
    }

    /// With the word that it is given for a name.
    const fn by_name(self) -> Self {
        Template { function: None, ..self }
    }
}

pub(super) static TEMPLATES: [Template; 18] = [
    greets(
        "json",
        "rust",
        crate_of!(
            "json-rust",
            "src/lib.rs" = "lib.rs",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    ),
    greets(
        "json",
        "c",
        of!(
            "json-c",
            "{{name}}.c" = "plugin.c",
            "compile_flags.txt" = "compile_flags.txt",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .with(&[JSON_H, MALLOC_H]),
    greets(
        "json",
        "zig",
        of!(
            "json-zig",
            "{{name}}.zig" = "plugin.zig",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    ),
    greets(
        "json",
        "go",
        of!(
            "json-go",
            "go.mod" = "module",
            "main.go" = "main.go",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .with(&[GO_MODULE, GO_MEMORY]),
    greets(
        "json",
        "assemblyscript",
        of!(
            "json-assemblyscript",
            "package.json" = "npm.json",
            "asconfig.json" = "asconfig.json",
            "{{name}}.ts" = "plugin.ts",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .with(&[AS_JSON]),
    greets(
        "json",
        "wat",
        of!(
            "json-wat",
            "{{name}}.wat" = "plugin.wat",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    ),
    divides("rust", crate_of!("raw-rust", "src/lib.rs" = "lib.rs", "tests/gcd.toml" = "cases.toml")),
    divides(
        "c",
        of!(
            "raw-c",
            "{{name}}.c" = "plugin.c",
            "compile_flags.txt" = "compile_flags.txt",
            "tests/gcd.toml" = "cases.toml",
        ),
    ),
    divides("zig", of!("raw-zig", "{{name}}.zig" = "plugin.zig", "tests/gcd.toml" = "cases.toml")),
    divides(
        "assemblyscript",
        of!(
            "raw-assemblyscript",
            "package.json" = "npm.json",
            "asconfig.json" = "asconfig.json",
            "{{name}}.ts" = "plugin.ts",
            "tests/gcd.toml" = "cases.toml",
        ),
    ),
    divides("wat", of!("raw-wat", "{{name}}.wat" = "plugin.wat", "tests/gcd.toml" = "cases.toml")),
    Template {
        has_manifest: false,
        ..greets(
            "component",
            "rust",
            crate_of!(
                "component-rust",
                "src/lib.rs" = "lib.rs",
                "wit/world.wit" = "world.wit",
                "tests/greet.toml" = "cases.toml",
            ),
        )
    },
    Template {
        description: "Lists lines that are too long",
        ..greets(
            "fledge",
            "rust",
            crate_of!(
                "fledge-rust",
                "src/main.rs" = "main.rs",
                "plugin.toml" = "plugin.toml",
                "tests/lint.toml" = "cases.toml",
                "tests/project/long.txt" = "long.txt",
            ),
        )
        .by_name()
    },
    greets(
        "fledge",
        "go",
        of!(
            "fledge-go",
            "go.mod" = "module",
            "main.go" = "main.go",
            "plugin.toml" = "plugin.toml",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .by_name(),
    greets(
        "fledge",
        "c",
        of!(
            "fledge-c",
            "{{name}}.c" = "plugin.c",
            "compile_flags.txt" = "compile_flags.txt",
            "plugin.toml" = "plugin.toml",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .with(&[JSON_H])
    .by_name(),
    Template {
        has_manifest: false,
        ..greets(
            "sen",
            "rust",
            crate_of!("sen-rust", "src/lib.rs" = "lib.rs", "tests/greet.toml" = "cases.toml"),
        )
        .by_name()
    },
    greets(
        "cortex",
        "rust",
        crate_of!(
            "cortex-rust",
            "src/lib.rs" = "lib.rs",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    ),
    greets(
        "cortex",
        "c",
        of!(
            "cortex-c",
            "{{name}}.c" = "plugin.c",
            "compile_flags.txt" = "compile_flags.txt",
            "cortex.json" = "cortex.json",
            "tests/greet.toml" = "cases.toml",
        ),
    )
    .with(&[JSON_H, PLUGIN_H]),
];

macro_rules! repository {
    ($file:literal) => {
        include_str!(concat!("../../../../../", $file))
    };
}

const JSON_H: File = ("kit/cortex-json.h", repository!("kits/c/cortex-json.h"));
const MALLOC_H: File = ("kit/cortex-malloc.h", repository!("kits/c/cortex-malloc.h"));
const PLUGIN_H: File = ("kit/wasm-plugin.h", repository!("kits/c/wasm-plugin.h"));
const GO_MODULE: File = ("kit/go.mod", repository!("kits/go/go.mod"));
const GO_MEMORY: File = ("kit/memory.go", repository!("kits/go/memory.go"));
const AS_JSON: File = ("json.ts", repository!("plugins/text-processor-as/json.ts"));

macro_rules! sdk {
    ($($file:literal),* $(,)?) => {
        [$((concat!("sdk/", $file), include_str!(concat!("../../../../airlock-sdk/", $file)))),*]
    };
}

/// The SDK's manifest where it is no member of the workspace that it is written in.
pub(super) static SDK_MANIFEST: File =
    ("sdk/Cargo.toml", include_str!("../../../templates/sdk/package.toml"));

/// The rest of the SDK. A test compares it with what is there.
pub(super) static SDK: [File; 21] = sdk![
    "src/allocator.rs",
    "src/lib.rs",
    "src/cortex/capability.rs",
    "src/cortex/context.rs",
    "src/cortex/exports.rs",
    "src/cortex/http.rs",
    "src/cortex/imports.rs",
    "src/cortex/mod.rs",
    "src/cortex/testing.rs",
    "src/fledge/error.rs",
    "src/fledge/fields.rs",
    "src/fledge/http.rs",
    "src/fledge/imports.rs",
    "src/fledge/init.rs",
    "src/fledge/lines.rs",
    "src/fledge/message.rs",
    "src/fledge/mod.rs",
    "src/fledge/plugin.rs",
    "src/fledge/stdio.rs",
    "src/fledge/testing.rs",
    "src/fledge/transport.rs",
];

/// A template with each `{{name}}` replaced by its value, once: what stands in a value stays.
pub(super) fn filled(template: &str, values: &[(&str, String)]) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let value = after.split_once("}}").and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value.as_str(), after))
        });
        // Braces of the template's own stay.
        let (value, after) = value.unwrap_or(("{{", after));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    text
}
