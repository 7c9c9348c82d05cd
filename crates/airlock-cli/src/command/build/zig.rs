//! Plugins in Zig.

use std::path::{Path, PathBuf};

use airlock_host::{Error, ErrorKind};

use super::language::{Made, root, with_ending};
use super::tool::{Order, Wanted, Workshop};

pub(super) const ZIG: Wanted = Wanted {
    name: "zig",
    variable: "ZIG",
    choices: &[&["zig"], &["python3", "-m", "ziglang"]],
    version: &["version"],
    hint: "`pip install ziglang` installs it; https://ziglang.org/download has it too",
};

/// The files of a folder that may be the whole plugin.
pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let is_build = |path: &PathBuf| path.file_name().is_some_and(|name| name == "build.zig");
    let mut files = with_ending(folder, "zig");
    files.retain(|path| !is_build(path));
    let main = folder.join("src/main.zig");
    match files.is_empty() && main.is_file() {
        true => vec![main],
        false => files,
    }
}

pub(super) fn build(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let zig = shop.need(&ZIG)?;
    if shop.folder().join("build.zig").is_file() {
        let prefix = shop.scratch().join("zig-out");
        let mut order = Order::new(["build", "--release=small", "--prefix"]);
        order.args.push(prefix.clone().into_os_string());
        shop.run(&zig, order)?;
        let made = with_ending(&prefix.join("bin"), "wasm");
        let file = match made.as_slice() {
            [only] => only.clone(),
            several => {
                let wanted = Path::new(shop.output()).file_name();
                several.iter().find(|file| file.file_name() == wanted).cloned().ok_or_else(|| {
                    let reason = format!("`build.zig` installs no `{}`", shop.output());
                    Error::new(ErrorKind::NotBuilt(reason))
                })?
            }
        };
        std::fs::copy(&file, shop.out())
            .map_err(|error| Error::host("cannot copy what zig made").with_source(error))?;
        return shop.made(&zig, "build.zig");
    }
    let source = root(shop, &sources(shop.folder()))?;
    let target = "wasm32-freestanding";
    // A stack of 64 KiB, which it puts below the data by itself.
    let args =
        ["build-exe", source.as_str(), "-target", target, "-O", "ReleaseSmall", "-fstrip", "-fno-entry"];
    let mut order = Order::new(args.into_iter().chain(["-rdynamic", "--stack", "65536"]));
    let mut emit = std::ffi::OsString::from("-femit-bin=");
    emit.push(shop.out());
    order.args.push(emit);
    shop.run(&zig, order)?;
    shop.made(&zig, target)
}
