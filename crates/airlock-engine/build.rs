//! Names this build, so that what one build cached is not taken for another's.
//!
//! The name is a hash of this crate's sources, of the lock file (and with it the versions
//! of wasmtime and of the compiler inside it) and of how the crate is built. It keeps
//! honest builds apart; it is no protection against anybody.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut hasher = DefaultHasher::new();
    for name in ["CARGO_PKG_VERSION", "TARGET", "OPT_LEVEL", "DEBUG", "CARGO_CFG_TARGET_FEATURE", "RUSTC"] {
        env::var_os(name).hash(&mut hasher);
    }
    let mut files = vec![root.join("build.rs")];
    collect(&root.join("src"), &mut files);
    // Only a workspace has one; a published crate's dependencies are pinned in its manifest.
    files.push(root.join("../../Cargo.lock"));
    files.push(root.join("Cargo.toml"));
    files.sort();
    for file in files.iter().filter(|file| file.exists()) {
        println!("cargo::rerun-if-changed={}", file.display());
        fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed={}", root.join("src").display());
    println!("cargo::rustc-env=AIRLOCK_BUILD_ID={:016x}", hasher.finish());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, files),
            path => files.push(path),
        }
    }
}
