//! Plugins in C, by a compiler that makes WebAssembly, and those with a makefile.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use airlock_host::{Allocator, Error, ErrorKind, ManifestFormat};

use super::language::{Made, with_ending};
use super::tool::{Order, Tool, Wanted, Workshop, missing};
use super::zig::ZIG;

const HINT: &str = "`pip install ziglang` installs it; a clang of the WASI SDK does as well, where `WASI_SDK_PATH` or `CC` names it";

/// What the user's `CC` is; it is another name for a clang or zig that knows WebAssembly.
const CC: Wanted = Wanted { name: "cc", variable: "CC", choices: &[], version: &["--version"], hint: HINT };

const CLANG: Wanted =
    Wanted { name: "clang", variable: "", choices: &[&["clang"]], version: &["--version"], hint: HINT };

const MAKE: Wanted = Wanted {
    name: "make",
    variable: "MAKE",
    choices: &[&["make"]],
    version: &["--version"],
    hint: "the system's packages have it: `apt-get install make`",
};

const TARGET: &str = "wasm32-wasi";

/// The sources of a plugin, sorted: in its folder and in `src`.
pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = with_ending(folder, "c");
    files.extend(with_ending(&folder.join("src"), "c"));
    files
}

pub(super) fn build(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let (compiler, is_zig) = compiler(shop)?;
    let sources = sources(shop.folder());
    let mut args: Vec<OsString> =
        [&format!("--target={TARGET}"), "-std=gnu17", "-Os", "-s", "-Wall", "-Wextra"].map(Into::into).into();
    if !is_program(shop, &sources) {
        args.push("-mexec-model=reactor".into());
    }
    // A stack of 64 KiB below the data, where one that overflows is a trap. zig puts it there by itself.
    args.push("-Wl,-z,stack-size=65536".into());
    if !is_zig {
        args.push("-Wl,--stack-first".into());
    }
    // The host takes memory for the input from there.
    let takes_memory = shop.manifest().and_then(|manifest| manifest.memory.allocator);
    if takes_memory == Some(Allocator::Wasi) {
        args.extend(["-Wl,--export=malloc", "-Wl,--export=free"].map(Into::into));
    }
    args.extend(own_flags(shop.folder())?.into_iter().map(Into::into));
    for source in &sources {
        args.push(source.strip_prefix(shop.folder()).unwrap_or(source).into());
    }
    args.extend(["-o".into(), shop.out().into_os_string()]);
    shop.run(&compiler, Order::new(args))?;
    shop.made(&compiler, TARGET)
}

/// With the plugin's makefile, which has a variable for what it is to make.
pub(super) fn make(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let make = shop.need(&MAKE)?;
    let mut order = Order::new(Vec::<OsString>::new());
    order.is_talkative = true;
    shop.run(&make, order)?;
    shop.made_in_place(&make)
}

/// The compiler, and whether it is zig: what `CC` names, the WASI SDK's, zig's, or a clang that can.
fn compiler(shop: &Workshop<'_>) -> Result<(Tool, bool), Error> {
    let named = shop.find(&CC)?;
    if let Some(tool) = &named {
        let is_zig = is_zig(tool);
        if is_zig || can(shop, tool) {
            return Ok((tool.clone(), is_zig));
        }
    }
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH").filter(|path| !path.is_empty()) {
        let words = vec![Path::new(&sdk).join("bin/clang").into_os_string()];
        return match shop.version_of(CLANG.name, words, CLANG.version)? {
            Some(tool) => Ok((tool, false)),
            None => {
                let reason = "`WASI_SDK_PATH` has none in its folder `bin`".to_owned();
                Err(missing(CLANG.name, Some(reason)).with_hint(HINT))
            }
        };
    }
    if let Some(mut zig) = shop.find(&ZIG)? {
        zig.words.push("cc".into());
        return Ok((zig, true));
    }
    match (shop.find(&CLANG)?, named) {
        (Some(clang), _) if can(shop, &clang) => Ok((clang, false)),
        // Whoever names one for the machine itself wants to know why it is not taken.
        (_, Some(_)) => {
            let reason =
                "what `CC` names compiles nothing for `wasm32-wasi`, and there is no other".to_owned();
            Err(missing(CC.name, Some(reason)).with_hint(HINT))
        }
        (_, None) => Err(missing("zig cc", None).with_hint(HINT)),
    }
}

fn is_zig(tool: &Tool) -> bool {
    tool.words.iter().any(|word| {
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
        name == "zig" || name == "ziglang"
    })
}

/// Whether a compiler makes WebAssembly, and has a C library for it.
fn can(shop: &Workshop<'_>, tool: &Tool) -> bool {
    let (source, object) = (shop.scratch().join("probe.c"), shop.scratch().join("probe.o"));
    let text = "#include <stdlib.h>\nvoid *probe(void) { return malloc(1); }\n";
    let paths = source.to_str().zip(object.to_str());
    std::fs::write(&source, text).is_ok()
        && paths.is_some_and(|(source, object)| {
            shop.ask(tool, &["--target=wasm32-wasi", "-c", source, "-o", object]).is_some()
        })
}

/// What an editor is told of the compiler, a flag a line.
fn own_flags(folder: &Path) -> Result<Vec<String>, Error> {
    let file = folder.join("compile_flags.txt");
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Ok(lines.map(str::to_owned).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::new(ErrorKind::NotBuilt("`compile_flags.txt` cannot be read".to_owned()))
            .with_source(error)),
    }
}

/// Whether it has a `main`, and so is run and not called.
fn is_program(shop: &Workshop<'_>, sources: &[PathBuf]) -> bool {
    let is_command = shop.manifest().is_some_and(|manifest| manifest.format == ManifestFormat::Fledge);
    let has_main = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.starts_with("int main("))
    };
    is_command || sources.iter().any(has_main)
}
