//! Plugins in Go.

use std::path::Path;

use airlock_host::Error;

use super::language::{Made, with_ending};
use super::tool::{Order, Wanted, Workshop, missing};

const GO: Wanted = Wanted {
    name: "go",
    variable: "GO",
    choices: &[&["go"]],
    version: &["version"],
    hint: "https://go.dev/dl has it; plugins need 1.24 or later",
};

/// The first with functions that are exported.
const OLDEST: (u32, u32) = (1, 24);

pub(super) fn build(shop: &mut Workshop<'_>) -> Result<Made, Error> {
    let mut go = shop.need(&GO)?;
    let version = shop.ask(&go, &["env", "GOVERSION"]).unwrap_or_default();
    if numbers(&version).is_some_and(|version| version < OLDEST) {
        let reason = format!("it is {}, and plugins need 1.24 or later", version.trim_start_matches("go"));
        return Err(missing(GO.name, Some(reason)).with_hint(GO.hint));
    }
    // Without the machine that it runs on.
    go.version = version;
    let mut order = Order::new(["build"]);
    if exports(shop.folder()) {
        // Something with functions to be called is no program.
        order.args.push("-buildmode=c-shared".into());
    }
    order.args.extend(["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"].map(Into::into));
    order.args.extend([shop.out().into_os_string(), ".".into()]);
    let mut order = order.with("GOOS", "wasip1").with("GOARCH", "wasm");
    let settings = shop.folder().join("go.env");
    if settings.is_file() {
        order = order.with("GOENV", settings);
    }
    shop.run(&go, order)?;
    shop.made(&go, "wasip1/wasm")
}

/// The last part of the name of the module in a folder.
pub(super) fn module(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("go.mod")).ok()?;
    let path = text.lines().find_map(|line| line.trim().strip_prefix("module "))?.trim().trim_matches('"');
    let name = path.rsplit('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain))
        .then(|| name.to_owned())
}

/// Whether a file of the package has a function for the host.
fn exports(folder: &Path) -> bool {
    with_ending(folder, "go").iter().any(|file| {
        let is_test = file.file_name().is_some_and(|name| name.to_string_lossy().ends_with("_test.go"));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        !is_test && text.lines().any(|line| line.starts_with("//go:wasmexport "))
    })
}

/// The first two numbers of `go1.24.3`; none of a version that is being worked on.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, numbers};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, is_old) in
            [("go1.9.7", true), ("go1.23", true), ("go1.24rc1", false), ("go1.27.3", false)]
        {
            assert_eq!(numbers(version).map(|version| version < OLDEST), Some(is_old), "{version}");
        }
        assert_eq!(numbers("devel go1.30-abcdef"), None);
    }
}
