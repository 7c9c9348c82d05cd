//! `airlock build`: which tool builds what, what it leaves behind, and what happens where it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

use crate::new::made;
use crate::plugins::{Place, text};
use crate::support::describe;
use crate::watch::Watching;

/// What says which tools there are, on any machine.
const VARIABLES: [&str; 12] = [
    "CARGO",
    "RUSTC",
    "GO",
    "ZIG",
    "CC",
    "WASI_SDK_PATH",
    "ASC",
    "NPM",
    "MAKE",
    "WASM_OPT",
    "RUSTFLAGS",
    "CARGO_TARGET_DIR",
];

/// `airlock` with only those tools that are in this folder, beside what scripts need.
fn with_tools(place: &Place, tools: &Path) -> Command {
    let mut command = place.airlock();
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.env("PATH", tools);
    command
}

/// A folder with these scripts in it, each an executable file of the shell's.
fn tools(place: &Place, scripts: &[(&str, &str)]) -> PathBuf {
    let folder = place.path("tools");
    fs::create_dir_all(&folder).unwrap();
    for (name, script) in scripts {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Builds with those tools; what it says, without the tests' folders.
fn build(place: &Place, tools: &Path, args: &[&str]) -> String {
    let output = with_tools(place, tools).arg("build").args(args).output().unwrap();
    place.plain(&describe(&output))
}

fn record(folder: &str, name: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{folder}/{name}.build.json")).unwrap()).unwrap()
}

#[test]
fn a_new_plugin_in_text_is_built_checked_tested_and_called() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "greeter", "json", "wat");
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 0
    --- stdout
    built greeter.wasm (539 B, 0720eab7d088)
    --- stderr
    building `greeter` with Airlock's own assembler
    ");
    assert_snapshot!(place.show(&["check", "--strict", &folder]), @r"
    exit 0
    --- stderr
    notes: 2; `airlock check -v` shows them
    `greeter` can be installed, and nothing is odd about it
    ");
    let tested = place.output(&["test", &folder]);
    assert_eq!(tested.status.code(), Some(0), "{}", describe(&tested));
    assert_eq!(place.ok(&["call", &folder, "greet", r#""A\"da""#]), "\"Hello, A\\\"da!\"\n");
    assert_eq!(place.ok(&["call", &folder, "greet", " \"Ada\" "]), "\"Hello, Ada!\"\n");
    place.ok(&["install", &folder]);

    let folder = made(&place, "divider", "raw", "wat");
    build(&place, &none, &[&folder]);
    let wasm = format!("{folder}/divider.wasm");
    assert_eq!(place.output(&["check", "--strict", &wasm]).status.code(), Some(0));
    let tested = place.output(&["test", &wasm]);
    assert_eq!(tested.status.code(), Some(0), "{}", describe(&tested));
    assert_eq!(place.ok(&["call", &wasm, "gcd", "12", "18"]), "6\n");
}

#[test]
fn equal_builds_have_equal_records_without_a_place_or_a_time() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "greeter", "json", "wat");
    build(&place, &none, &[&folder]);
    let text = fs::read_to_string(format!("{folder}/greeter.build.json")).unwrap();
    let first = record(&folder, "greeter");
    assert!(!text.contains(place.path("").to_str().unwrap()), "{text}");
    assert_eq!(first["files"][0]["size"], fs::metadata(format!("{folder}/greeter.wasm")).unwrap().len());
    assert_snapshot!(place.plain(&text).lines().filter(|line| !line.contains("digest")).collect::<Vec<_>>().join("\n"), @r#"
    {
      "schema": 1,
      "name": "greeter",
      "version": "0.1.0",
      "language": "wat",
      "target": null,
      "tools": [
        {
          "name": "airlock",
          "version": "0.1.0"
        }
      ],
      "commands": [],
      "source": {
        "files": 5
      },
      "optimised": null,
      "files": [
        {
          "path": "greeter.wasm",
          "size": 539,
        }
      ]
    }
    "#);

    // Elsewhere, and by way of nothing that was built before.
    let copy = place.path("copy");
    fs::create_dir(&copy).unwrap();
    for entry in ["cortex.json", "greeter.wat", "README.md", ".gitignore"] {
        fs::copy(Path::new(&folder).join(entry), copy.join(entry)).unwrap();
    }
    fs::create_dir(copy.join("tests")).unwrap();
    fs::copy(Path::new(&folder).join("tests/greet.toml"), copy.join("tests/greet.toml")).unwrap();
    let copy = crate::plugins::text(&copy);
    build(&place, &none, &[&copy]);
    assert_eq!(record(&copy, "greeter"), first);
    // What it has built is no source of it.
    build(&place, &none, &[&copy]);
    assert_eq!(record(&copy, "greeter"), first);

    fs::write(format!("{copy}/README.md"), "other").unwrap();
    build(&place, &none, &[&copy]);
    let other = record(&copy, "greeter");
    assert_ne!(other["source"]["digest"], first["source"]["digest"]);
    assert_eq!(other["files"], first["files"]);
}

#[test]
fn a_tool_that_is_missing_is_named_with_how_to_get_it() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let mut shown = String::new();
    for lang in ["rust", "c", "zig", "go", "assemblyscript"] {
        let folder = made(&place, &format!("in-{lang}"), "json", lang);
        shown.push_str(&build(&place, &none, &[&folder]));
        assert!(!Path::new(&folder).join(format!("in-{lang}.wasm")).exists());
        assert!(!Path::new(&folder).join(format!("in-{lang}.build.json")).exists());
    }
    assert_snapshot!(shown, @r"
    exit 125
    --- stderr
    building `in-rust` with cargo
    error: `cargo` is needed and not here
    hint: rustup installs it: https://rustup.rs
    exit 125
    --- stderr
    building `in-c` with a C compiler
    error: `zig cc` is needed and not here
    hint: `pip install ziglang` installs it; a clang of the WASI SDK does as well, where `WASI_SDK_PATH` or `CC` names it
    exit 125
    --- stderr
    building `in-zig` with zig
    error: `zig` is needed and not here
    hint: `pip install ziglang` installs it; https://ziglang.org/download has it too
    exit 125
    --- stderr
    building `in-go` with go
    error: `go` is needed and not here
    hint: https://go.dev/dl has it; plugins need 1.24 or later
    exit 125
    --- stderr
    building `in-assemblyscript` with asc
    error: `asc` is needed and not here
    hint: `npm install` in the plugin's folder installs what its `package.json` names
    ");
}

#[test]
fn a_target_is_looked_for_where_the_compiler_has_its_libraries() {
    let place = Place::new();
    let folder = made(&place, "greeter", "json", "rust");
    fs::create_dir(place.path("lib")).unwrap();
    let lib = text(&place.path("lib"));
    let rustc = format!(
        "case \"$1 $2 $3 $4\" in\n--version*) echo rustc 1.2.3;;\n'--print target-libdir --target wasm32-wasip1') echo {lib};;\n*) exit 1;;\nesac"
    );
    let cargo = "case $1 in --version) echo cargo 1.2.3;; *) echo it is run >&2; exit 7;; esac";
    let tools = tools(&place, &[("rustc", &rustc), ("cargo", cargo)]);
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 125
    --- stderr
    building `greeter` with cargo
    error: `wasm32-wasip1` cannot be used: `rustc` has no standard library for it
    hint: `rustup target add wasm32-wasip1` installs it
    ");
    // With the library there cargo is run, and what it says is shown where it fails.
    fs::write(place.path("lib/libcore-1.rlib"), "").unwrap();
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 1
    --- stderr
    building `greeter` with cargo
    it is run
    error: it is not built: `cargo` ended with exit status: 7
    ");
    // Another that it does not know.
    fs::write(format!("{folder}/.cargo/config.toml"), "[build]\ntarget = \"wasm32-odd\"\n").unwrap();
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 125
    --- stderr
    building `greeter` with cargo
    error: `wasm32-odd` cannot be used: `rustc` knows no such target
    ");
}

/// What cargo is told, by a cargo that writes it down and makes a module.
#[test]
fn cargo_is_told_what_the_author_has_not_said() {
    let place = Place::new();
    let folder = made(&place, "greeter", "json", "rust");
    fs::write(place.path("made.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    fs::write(place.path("libcore-1.rlib"), "").unwrap();
    let sources = text(&place.path("").canonicalize().unwrap());
    let rustc = format!("case $1 in --version) echo rustc 1.2.3;; *) echo {sources};; esac");
    let artifact = format!(
        r#"{{"reason":"compiler-artifact","manifest_path":"{sources}/greeter/Cargo.toml","target":{{"kind":["cdylib"]}},"filenames":["{sources}/made.wasm"]}}"#
    );
    let cargo =
        format!("case $1 in --version) echo cargo 1.2.3;; *) echo 'not JSON'; echo '{artifact}';; esac");
    let tools = tools(&place, &[("rustc", &rustc), ("cargo", &cargo)]);
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 0
    --- stdout
    built greeter.wasm (8 B, 93a44bbb96c7)
    --- stderr
    building `greeter` with cargo
    ");
    let words = |folder: &str| {
        let record = record(folder, "greeter");
        let words =
            record["commands"][0].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        words.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(words(&folder), @r"
    cargo
    build
    --release
    --target
    wasm32-wasip1
    --message-format=json-render-diagnostics
    ");

    // One who says nothing gets small fresh instances all the same.
    fs::remove_dir_all(format!("{folder}/.cargo")).unwrap();
    let manifest = fs::read_to_string(format!("{folder}/Cargo.toml")).unwrap();
    let (manifest, _) = manifest.split_once("[profile.release]").unwrap();
    fs::write(format!("{folder}/Cargo.toml"), manifest).unwrap();
    build(&place, &tools, &[&folder]);
    assert_snapshot!(words(&folder), @r#"
    cargo
    build
    --release
    --target
    wasm32-wasip1
    --message-format=json-render-diagnostics
    --config
    target.wasm32-wasip1.rustflags=["-C", "link-arg=--stack-first", "-C", "link-arg=-zstack-size=65536"]
    --config
    profile.release.opt-level="s"
    --config
    profile.release.lto=true
    --config
    profile.release.codegen-units=1
    --config
    profile.release.panic="abort"
    --config
    profile.release.strip=true
    "#);
    assert_snapshot!(record(&folder, "greeter")["tools"], @r#"[{"name":"rustc","version":"rustc 1.2.3"},{"name":"cargo","version":"cargo 1.2.3"}]"#);
}

#[test]
fn a_go_that_is_too_old_and_a_compiler_that_cannot_are_refused() {
    let place = Place::new();
    let go = "case $1 in version) echo go version go1.22.1 linux;; env) echo go1.22.1;; *) exit 7;; esac";
    let tools = tools(&place, &[("go", go), ("gcc", "case $1 in --version) echo gcc 12;; *) exit 1;; esac")]);
    let folder = made(&place, "in-go", "json", "go");
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 125
    --- stderr
    building `in-go` with go
    error: `go` cannot be used: it is 1.22.1, and plugins need 1.24 or later
    hint: https://go.dev/dl has it; plugins need 1.24 or later
    ");

    let folder = made(&place, "in-c", "json", "c");
    let run = |variable: &str, value: &str| {
        let mut command = with_tools(&place, &tools);
        place.plain(&describe(&command.args(["build", &folder]).env(variable, value).output().unwrap()))
    };
    assert_snapshot!(run("CC", "gcc"), @r"
    exit 125
    --- stderr
    building `in-c` with a C compiler
    error: `cc` cannot be used: what `CC` names compiles nothing for `wasm32-wasi`, and there is no other
    hint: `pip install ziglang` installs it; a clang of the WASI SDK does as well, where `WASI_SDK_PATH` or `CC` names it
    ");
    assert_snapshot!(run("CC", "no-such-compiler -m32"), @r"
    exit 125
    --- stderr
    building `in-c` with a C compiler
    error: `cc` cannot be used: `CC` says it is `no-such-compiler`, which is not here
    hint: `pip install ziglang` installs it; a clang of the WASI SDK does as well, where `WASI_SDK_PATH` or `CC` names it
    ");
    assert_snapshot!(run("WASI_SDK_PATH", "/nowhere"), @r"
    exit 125
    --- stderr
    building `in-c` with a C compiler
    error: `clang` cannot be used: `WASI_SDK_PATH` has none in its folder `bin`
    hint: `pip install ziglang` installs it; a clang of the WASI SDK does as well, where `WASI_SDK_PATH` or `CC` names it
    ");
}

#[test]
fn a_build_command_of_the_manifest_goes_before_the_language() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "divider", "raw", "wat");
    let manifest = "[plugin]\nname = \"divider\"\nversion = \"1.0.0\"\nruntime = \"wasm\"\nprotocol = \"fledge-v1\"\n\
                    [[commands]]\nname = \"divide\"\nbinary = \"divider.wasm\"\n\
                    [hooks]\nbuild = \"./make.sh\"\n";
    fs::write(format!("{folder}/plugin.toml"), manifest).unwrap();
    let script = format!("{folder}/make.sh");
    fs::write(&script, "#!/bin/sh\nprintf '\\000asm\\001\\000\\000\\000' > divider.wasm\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 0
    --- stdout
    built divider.wasm (8 B, 93a44bbb96c7)
    --- stderr
    building `divider` with its manifest's build command: ./make.sh
    ");
    let record = record(&folder, "divider");
    assert_eq!(record["commands"][0][0], "./make.sh");
    assert_eq!((&record["language"], &record["tools"]), (&Value::Null, &serde_json::json!([])));

    // Without one the text is what is built.
    fs::write(format!("{folder}/plugin.toml"), manifest.split("[hooks]").next().unwrap()).unwrap();
    assert!(build(&place, &none, &[&folder]).contains("with Airlock's own assembler"));
}

/// Functions as the canonical ABI lowers them, and their WIT beside.
#[test]
fn a_module_with_its_wit_in_its_folder_becomes_a_component() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "adder", "raw", "wat");
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "a:b/adder#add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "a:b/adder#length") (param i32 i32) (result i32) (local.get 1)))"#;
    fs::write(format!("{folder}/adder.wat"), wat).unwrap();
    // Without WIT it is what it was.
    build(&place, &none, &[&folder]);
    let wasm = format!("{folder}/adder.wasm");
    assert!(!wasmparser::Parser::is_component(&fs::read(&wasm).unwrap()));
    fs::create_dir(format!("{folder}/wit")).unwrap();
    let wit = "package a:b; interface adder { add: func(a: u32, b: u32) -> u32; length: func(of: string) -> u32; }\n\
               world w { export adder; }";
    fs::write(format!("{folder}/wit/world.wit"), wit).unwrap();
    let first = build(&place, &none, &[&folder]);
    assert!(first.contains("built adder.wasm"), "{first}");
    assert_eq!(place.ok(&["call", &wasm, "add", "40", "2"]), "42\n");
    assert_eq!(place.ok(&["call", &wasm, "length", "four"]), "4\n");
    assert_eq!(build(&place, &none, &[&folder]), first, "the same again");
    // What its WIT has and it has not is an error, and so is WIT that is none.
    fs::write(format!("{folder}/wit/world.wit"), wit.replace("length", "size")).unwrap();
    let failed = build(&place, &none, &[&folder]);
    assert!(failed.contains("error: it is not built: what was built is not what its WIT says"), "{failed}");
    fs::write(format!("{folder}/wit/world.wit"), "package a:b; interface {").unwrap();
    let failed = build(&place, &none, &[&folder]);
    assert!(failed.contains("error: it is not built: its WIT cannot be read"), "{failed}");
    assert_eq!(place.ok(&["call", &wasm, "add", "40", "2"]), "42\n");
}

#[test]
fn what_fails_to_build_leaves_what_was_built_before() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "divider", "raw", "wat");
    build(&place, &none, &[&folder]);
    let before = fs::read(format!("{folder}/divider.wasm")).unwrap();
    fs::write(format!("{folder}/divider.wat"), "(module\n  (func (export \"gcd\") (result i65)))").unwrap();
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 1
    --- stderr
    building `divider` with Airlock's own assembler
    error: it is not built: `divider.wat` cannot be assembled
      caused by: WebAssembly text does not parse: unexpected token, expected one of: `i32`, `i64`, `f32`, `f64`, `v128`, `funcref`, `externref`, `exnref`, `contref`, `anyref`, `eqref`, `structref`, `arrayref`, `i31ref`, `nullfuncref`, `nullexternref`, `nullexnref`, `nullcontref`, `nullref`, lparen (at 2:32)
    ");
    assert_eq!(fs::read(format!("{folder}/divider.wasm")).unwrap(), before);

    fs::write(format!("{folder}/other.wat"), "(module)").unwrap();
    fs::rename(format!("{folder}/divider.wat"), format!("{folder}/another.wat")).unwrap();
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 1
    --- stderr
    building `divider` with Airlock's own assembler
    error: it is not built: which of its sources is the plugin is not said: `another.wat`, `other.wat`
    hint: one named `divider` or `main` is
    ");
    fs::remove_file(format!("{folder}/other.wat")).unwrap();
    fs::remove_file(format!("{folder}/another.wat")).unwrap();
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 1
    --- stderr
    error: it is not built: there is nothing in its folder that could be built
    hint: `Cargo.toml`, `go.mod`, `asconfig.json`, `package.json`, `build.zig`, a `Makefile`, or a source in Zig, C or WebAssembly text is looked for
    ");
    assert_snapshot!(build(&place, &none, &["[no such folder]"]), @r"
    exit 2
    --- stderr
    error: `[no such folder]`: it is not there
      caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn nothing_is_written_where_a_link_leads_out_of_the_folder() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "greeter", "json", "wat");
    fs::create_dir(place.path("outside")).unwrap();
    std::os::unix::fs::symlink(place.path("outside"), format!("{folder}/out")).unwrap();
    let manifest = fs::read_to_string(format!("{folder}/cortex.json")).unwrap();
    fs::write(format!("{folder}/cortex.json"), manifest.replace("greeter.wasm", "out/greeter.wasm")).unwrap();
    assert_snapshot!(build(&place, &none, &[&folder]), @r"
    exit 1
    --- stderr
    error: it is not built: `out/greeter.wasm` leads out of the plugin's folder
    ");
    assert_eq!(fs::read_dir(place.path("outside")).unwrap().count(), 0);
}

/// With a `wasm-opt` that does what a test needs: its last two arguments are `-o` and the file, and the one
/// before is what it reads.
#[test]
fn what_wasm_opt_makes_is_taken_where_it_is_smaller_and_still_the_plugin() {
    let place = Place::new();
    let folder = made(&place, "divider", "raw", "wat");
    let whole = r#"(module (func (export "f") (result i32) nop nop nop nop i32.const 1))"#;
    fs::write(format!("{folder}/divider.wat"), whole).unwrap();
    let small = wat::parse_str(whole.replace("nop", "")).unwrap();
    fs::write(place.path("small.wasm"), &small).unwrap();
    fs::write(place.path("other.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    fs::write(place.path("broken.wasm"), &small[..small.len() - 1]).unwrap();
    let built = || fs::read(format!("{folder}/divider.wasm")).unwrap();
    let sources = text(&place.path(""));
    let run = |does: &str, args: &[&str]| {
        let script = format!(
            "case $1 in --version) echo wasm-opt version 108; exit;; esac\nfor out; do :; done\n{does}"
        );
        let tools = tools(&place, &[("wasm-opt", &script)]);
        build(&place, &tools, &[&[folder.as_str()], args].concat())
    };
    assert_snapshot!(run(&format!("cp {sources}/small.wasm $out"), &[]), @r"
    exit 0
    --- stdout
    built divider.wasm (34 B, 5a9722fe6067)
    --- stderr
    building `divider` with Airlock's own assembler
    optimised by wasm-opt version 108: 38 B became 34 B
    ");
    assert_eq!(built(), small);
    assert_snapshot!(record(&folder, "divider")["optimised"], @r#"{"tool":"wasm-opt version 108","size_before":38,"size_after":34}"#);
    assert_snapshot!(record(&folder, "divider")["commands"][0], @r#"["wasm-opt","--enable-bulk-memory","--enable-sign-ext","--enable-nontrapping-float-to-int","--enable-mutable-globals","--enable-multivalue","--enable-reference-types","--enable-simd","-Os","SCRATCH/whole.wasm","-o","SCRATCH/small.wasm"]"#);

    // What does not do is said, and what the compiler made is kept.
    let whole = wat::parse_str(whole).unwrap();
    for (does, said) in [
        (
            format!("cp {sources}/other.wasm $out"),
            "warning: it is not optimised: what `wasm-opt` made exports something else",
        ),
        (
            format!("cp {sources}/broken.wasm $out"),
            "warning: it is not optimised: what `wasm-opt` made is not valid: ",
        ),
        ("true".to_owned(), "warning: it is not optimised: `wasm-opt` made nothing"),
        (
            "echo it breaks >&2; exit 3".to_owned(),
            "it breaks\nwarning: it is not optimised: it is not built: `wasm-opt` ended with exit status: 3",
        ),
    ] {
        let shown = run(&does, &[]);
        assert!(shown.starts_with("exit 0") && shown.contains(said), "{shown}");
        assert_eq!(built(), whole, "{does}");
        assert_eq!(record(&folder, "divider")["optimised"], Value::Null);
    }
    // Nothing to be had is no trouble, and whoever does not want it does not get it.
    let shown = run("cp $(eval echo \\${$(($# - 2))}) $out", &[]);
    assert!(!shown.contains("warning") && !shown.contains("optimised by"), "{shown}");
    let shown = run("exit 3", &["--no-optimize"]);
    assert!(!shown.contains("warning"), "{shown}");
    assert_eq!(built(), whole);
}

#[test]
fn what_a_makefile_or_a_script_of_npms_makes_is_left_as_it_is() {
    let place = Place::new();
    let folder = made(&place, "divider", "raw", "wat");
    let wasm = wat::parse_str("(module (func (export \"f\")))").unwrap();
    fs::write(place.path("made.wasm"), &wasm).unwrap();
    let copy = format!("cp {}/made.wasm divider.wasm", text(&place.path("")));
    let make = format!("case $1 in --version) echo GNU Make 4;; *) echo chatter; {copy};; esac");
    let npm = format!("case $1 in --version) echo 11.0.0;; *) test \"$*\" = 'run build' && {copy};; esac");
    let tools = tools(&place, &[("make", &make), ("npm", &npm), ("wasm-opt", "echo version 1")]);
    fs::write(format!("{folder}/plugin.toml"), MANIFEST).unwrap();
    fs::write(format!("{folder}/Makefile"), "").unwrap();
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 0
    --- stdout
    built divider.wasm (31 B, f0991b6b86ad)
    --- stderr
    building `divider` with make
    ");
    assert_eq!(fs::read(format!("{folder}/divider.wasm")).unwrap(), wasm);

    fs::remove_file(format!("{folder}/Makefile")).unwrap();
    fs::remove_file(format!("{folder}/divider.wasm")).unwrap();
    fs::write(format!("{folder}/package.json"), r#"{"scripts":{"build":"x"}}"#).unwrap();
    assert_snapshot!(build(&place, &tools, &[&folder]), @r"
    exit 0
    --- stdout
    built divider.wasm (31 B, f0991b6b86ad)
    --- stderr
    building `divider` with asc
    ");
}

/// npm's folder has the version that the plugin wants; a compiler elsewhere may be any.
#[test]
fn a_compiler_in_the_plugins_own_folder_goes_first() {
    let place = Place::new();
    let folder = made(&place, "divider", "raw", "assemblyscript");
    fs::write(place.path("made.wasm"), wat::parse_str("(module (func (export \"gcd\")))").unwrap()).unwrap();
    let asc = |version: &str| {
        format!(
            "case $1 in --version) echo Version {version}; exit;; esac\nfor out; do :; done\n\
             echo \"WARNING AS201\"; cp {}/made.wasm $out",
            text(&place.path(""))
        )
    };
    let elsewhere = tools(&place, &[("asc", &asc("0.1.0"))]);
    assert_snapshot!(build(&place, &elsewhere, &[&folder]), @r"
    exit 0
    --- stdout
    built divider.wasm (33 B, 2435e4c4a849)
    --- stderr
    building `divider` with asc
    WARNING AS201
    ");
    assert_eq!(record(&folder, "divider")["tools"][0]["version"], "0.1.0");
    let own = Path::new(&folder).join("node_modules/.bin");
    fs::create_dir_all(&own).unwrap();
    fs::copy(tools(&place, &[("asc", &asc("0.28.20"))]).join("asc"), own.join("asc")).unwrap();
    build(&place, &tools(&place, &[("asc", "exit 1")]), &[&folder]);
    assert_eq!(record(&folder, "divider")["tools"][0]["version"], "0.28.20");
}

const MANIFEST: &str = "[plugin]\nname = \"divider\"\nversion = \"1.0.0\"\nruntime = \"wasm\"\nprotocol = \"fledge-v1\"\n\
                        [[commands]]\nname = \"divide\"\nbinary = \"divider.wasm\"\n";

#[test]
fn a_plugin_that_is_watched_is_built_checked_and_tested_when_a_file_is_saved() {
    let place = Place::new();
    let none = tools(&place, &[]);
    let folder = made(&place, "greeter", "json", "wat");
    let source = format!("{folder}/greeter.wat");
    let greets = fs::read_to_string(&source).unwrap();
    let mut command = with_tools(&place, &none);
    command.args(["build", "--watch", &folder]);
    // As editors do, at once: half a file would be another.
    let save = |text: &str| {
        fs::write(place.path("saved"), text).unwrap();
        fs::rename(place.path("saved"), &source).unwrap();
    };
    let (mut watching, _) = Watching::run(command, Stdio::null());
    watching.until("watching `");
    watching.until("built greeter.wasm (");
    watching.until("`greeter` can be installed");
    watching.until("3 cases: 3 passed");
    watching.until("waiting for changes");

    // What does not build, and what does and is another.
    watching.after(|| save("(module"));
    watching.until("error: it is not built: `greeter.wat` cannot be assembled");
    watching.until("waiting for changes");
    watching.after(|| save(&greets.replace("!\\\"", "?\\\"")));
    watching.until("built greeter.wasm (");
    watching.until("3 cases: 1 passed, 2 failed");
    watching.until("waiting for changes");
    // A file in a folder that was not there.
    watching.after(|| {
        fs::create_dir(format!("{folder}/notes")).unwrap();
        save(&greets);
    });
    watching.until("3 cases: 3 passed");
    watching.until("waiting for changes");
    watching.after(|| {
        fs::write(place.path("saved"), "1").unwrap();
        fs::rename(place.path("saved"), format!("{folder}/notes/one.txt")).unwrap();
    });
    watching.until("3 cases: 3 passed");
    watching.until("waiting for changes");

    let builds = watching.seen.iter().filter(|line| line.starts_with("building ")).count();
    assert_eq!(builds, 5, "what it builds itself is no change: {:#?}", watching.seen);
    let id = rustix::process::Pid::from_child(&watching.child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(watching.end(), 0);
}

/// As the first build of a crate does, which writes `Cargo.lock`.
#[test]
fn what_a_build_writes_beside_the_sources_is_built_once_more_and_no_more() {
    let place = Place::new();
    let folder = made(&place, "divider", "raw", "wat");
    let wasm = wat::parse_str(
        "(module (import \"fledge\" \"send\" (func (param i32 i32))) (memory (export \"memory\") 1) (func (export \"_start\")))",
    );
    fs::write(place.path("made.wasm"), wasm.unwrap()).unwrap();
    fs::remove_dir_all(format!("{folder}/tests")).unwrap();
    let manifest = format!("{MANIFEST}description = \"d\"\n[hooks]\nbuild = \"sh build.sh\"\n");
    fs::write(format!("{folder}/plugin.toml"), manifest).unwrap();
    // Another text each time, so that it would never be done.
    let script = format!("cp {}/made.wasm divider.wasm; echo again >> lock", text(&place.path("")));
    fs::write(format!("{folder}/build.sh"), script).unwrap();
    let mut command = with_tools(&place, Path::new("/usr/bin:/bin"));
    command.args(["build", "--watch", &folder]);
    let (mut watching, _) = Watching::run(command, Stdio::null());
    watching.until("waiting for changes");
    assert_eq!(fs::read_to_string(format!("{folder}/lock")).unwrap(), "again\nagain\n");
    assert!(
        watching.seen.iter().any(|line| line == "it has no cases to be tested with"),
        "{:#?}",
        watching.seen
    );
    watching.child.kill().unwrap();
}

#[test]
fn watching_needs_a_folder_and_somebody_to_read() {
    let place = Place::new();
    let none = tools(&place, &[]);
    assert_snapshot!(build(&place, &none, &["--watch", "no/such/folder"]), @r"
    exit 2
    --- stderr
    error: `no/such/folder`: it is not there
      caused by: No such file or directory (os error 2)
    ");
    assert_snapshot!(build(&place, &none, &["--watch", "--json", "plugins/csv"]), @r#"
    exit 2
    --- stdout
    {"schema":1,"ok":false,"error":{"code":"invalid-setting","culprit":"operator","message":"`--watch`: it prints no one object, as it does not end by itself","causes":[]}}
    "#);
}
