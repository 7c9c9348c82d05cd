//! Plugins in AssemblyScript.

use std::ffi::OsString;
use std::path::Path;

use airlock_host::Error;
use serde_json::Value;

use super::language::{Made, root, with_ending};
use super::tool::{Order, Tool, Wanted, Workshop, missing};

const ASC: Wanted = Wanted {
    name: "asc",
    variable: "ASC",
    choices: &[&["node_modules/.bin/asc"], &["asc"]],
    version: &["--version"],
    hint: "`npm install --save-dev assemblyscript` installs it",
};

const NPM: Wanted = Wanted {
    name: "npm",
    variable: "NPM",
    choices: &[&["npm"]],
    version: &["--version"],
    hint: "https://nodejs.org/en/download has it",
};

const CONFIG: &str = "asconfig.json";

/// Whether what a `package.json` is of has to do with plugins: AssemblyScript, or a script that builds.
pub(super) fn is_needed(folder: &Path) -> bool {
    let package = package(folder).unwrap_or_default();
    depends(&package) || package["scripts"]["build"].is_string()
}

fn package(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("package.json")).ok()?).ok()
}

fn depends(package: &Value) -> bool {
    ["dependencies", "devDependencies"].iter().any(|key| package[key]["assemblyscript"].is_string())
}

pub(super) fn build(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let package = package(shop.folder()).unwrap_or_default();
    let has_config = shop.folder().join(CONFIG).is_file();
    if !has_config && !depends(&package) {
        return by_script(shop);
    }
    let asc = asc(shop, depends(&package))?;
    let mut order = Order::new(Vec::<OsString>::new());
    if has_config {
        order.args.extend(["--config", CONFIG].map(Into::into));
    } else {
        let below = shop.folder().join("assembly");
        let sources =
            if below.is_dir() { with_ending(&below, "ts") } else { with_ending(shop.folder(), "ts") };
        order.args.push(root(shop, &sources)?.into());
        order.args.extend(["-O3", "--runtime", "stub", "--exportRuntime", "--use", "abort="].map(Into::into));
    }
    order.args.extend(["--outFile".into(), shop.out().into_os_string()]);
    shop.run(&asc, order)?;
    shop.made(&asc, "wasm32")
}

fn asc(shop: &Workshop<'_>, is_listed: bool) -> Result<Tool, Error> {
    let mut asc = shop.find(&ASC)?.ok_or_else(|| {
        missing(ASC.name, None).with_hint(match is_listed {
            true => "`npm install` in the plugin's folder installs what its `package.json` names",
            false => ASC.hint,
        })
    })?;
    asc.version = asc.version.trim_start_matches("Version ").to_owned();
    Ok(asc)
}

/// By the package's own script, which puts the file where it belongs.
fn by_script(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let npm = shop.need(&NPM)?;
    let mut order = Order::new(["run", "build"]);
    order.is_talkative = true;
    shop.run(&npm, order)?;
    shop.made_in_place(&npm)
}
