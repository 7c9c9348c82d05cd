//! Making a module smaller with binaryen's `wasm-opt`, where that is here.

use std::collections::BTreeSet;

use airlock_host::Error;
use serde_json::{Value, json};
use wasmparser::{Parser, Payload, Validator};

use super::tool::{Order, Wanted, Workshop};

const WASM_OPT: Wanted = Wanted {
    name: "wasm-opt",
    variable: "WASM_OPT",
    choices: &[&["wasm-opt"]],
    version: &["--version"],
    hint: "binaryen has it: https://github.com/WebAssembly/binaryen/releases",
};

/// What compilers use and every current runtime has, beyond the first version of WebAssembly.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-simd",
];

/// What became of a module.
pub(super) struct Optimised {
    version: String,
    before: usize,
    after: usize,
}

impl Optimised {
    pub(super) fn shown(&self) -> String {
        let shown = |size: usize| bytesize::ByteSize::b(size as u64).display().iec().to_string();
        format!("optimised by {}: {} became {}", self.version, shown(self.before), shown(self.after))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "tool": self.version, "size_before": self.before, "size_after": self.after })
    }
}

/// The smaller module, and what became of it; the same module where there is no `wasm-opt`, or where what it
/// made is not to be had for better, which is said.
///
/// # Errors
/// Where `WASM_OPT` names what is not here.
pub(super) fn optimise(
    shop: &mut Workshop<'_>,
    wasm: Vec<u8>,
) -> Result<(Vec<u8>, Option<Optimised>), Error> {
    if Parser::is_component(&wasm) {
        return Ok((wasm, None));
    }
    let Some(tool) = shop.find(&WASM_OPT)? else { return Ok((wasm, None)) };
    let (input, output) = (shop.scratch().join("whole.wasm"), shop.scratch().join("small.wasm"));
    std::fs::write(&input, &wasm)
        .map_err(|error| Error::host("cannot write what is to be optimised").with_source(error))?;
    let mut order = Order::new(FEATURES.into_iter().chain(["-Os"]));
    order.args.extend([input.into_os_string(), "-o".into(), output.clone().into_os_string()]);
    // It also says what it does not know and leaves alone, such as sections that are for people.
    order.is_talkative = true;
    if let Err(error) = shop.run(&tool, order) {
        shop.warn(&format!("it is not optimised: {error}"));
        return Ok((wasm, None));
    }
    let small = match std::fs::read(&output) {
        Ok(small) => small,
        Err(_) => {
            shop.warn("it is not optimised: `wasm-opt` made nothing");
            return Ok((wasm, None));
        }
    };
    if let Err(reason) = same_from_outside(&wasm, &small) {
        shop.warn(&format!("it is not optimised: what `wasm-opt` made {reason}"));
        return Ok((wasm, None));
    }
    let (before, after) = (wasm.len(), small.len());
    match after < before {
        true => Ok((small, Some(Optimised { version: tool.version, before, after }))),
        // There was nothing to be had.
        false => Ok((wasm, None)),
    }
}

/// Whether a module is one, and exports what the other does.
fn same_from_outside(whole: &[u8], small: &[u8]) -> Result<(), String> {
    Validator::new().validate_all(small).map_err(|error| format!("is not valid: {}", error.message()))?;
    match exports(whole) == exports(small) {
        true => Ok(()),
        false => Err("exports something else".to_owned()),
    }
}

fn exports(wasm: &[u8]) -> BTreeSet<String> {
    let payloads = Parser::new(0).parse_all(wasm).filter_map(Result::ok);
    let sections = payloads.filter_map(|payload| match payload {
        Payload::ExportSection(section) => Some(section),
        _ => None,
    });
    let exports = sections.flat_map(|section| section.into_iter().filter_map(Result::ok));
    exports.map(|export| format!("{:?} {}", export.kind, export.name)).collect()
}
