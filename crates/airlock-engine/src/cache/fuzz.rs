//! The cache's folder after somebody has been at it.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use airlock_core::Limits;
use wasmtime::Engine;

use super::{Cache, CacheSettings, FileName};
use crate::Artifact;
use crate::admit::Admitted;
use crate::code::{CodeKind, CompiledCode, Mapping, Variant};
use crate::compile::Configuration;
use crate::engines::{EngineKey, compiler_config};

/// A cache with one artifact in it.
struct Place {
    _folder: tempfile::TempDir,
    cache: Cache,
    engine: Engine,
    artifact: PathBuf,
    code: Genuine,
    shape: Genuine,
}

/// A file as the cache wrote it.
struct Genuine {
    variant: Variant,
    name: String,
    content: Vec<u8>,
}

impl Place {
    fn new(mapping: Mapping) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = CacheSettings {
            folder: folder.path().join("code"),
            key_file: folder.path().join("cache.key"),
            maximum_bytes: 1 << 30,
            mapping,
        };
        let artifact = settings.folder.clone();
        let cache = Cache::open(settings).expect("a folder of our own");
        let engine = Engine::new(&compiler_config(EngineKey::default())).expect("an engine");
        let limits = Limits::default();
        let wasm = wat::parse_str(r#"(module (func (export "f")))"#).expect("valid");
        let module = Artifact::new(wasm, false, &limits).expect("wasm");
        Admitted::cached(&module, &[], &limits, Some(&cache)).expect("valid");
        let configuration = Configuration::of("code").and_engine(&engine).short();
        let variant = Variant { digest: module.digest(), configuration };
        let code = CompiledCode::compile(&engine, module.bytes()).expect("it compiles");
        cache.keep_code(&variant, &code);
        let artifact = artifact.join(module.digest().to_string());
        let genuine = |ending: &str| {
            let files = fs::read_dir(&artifact).expect("a folder").map(|file| file.expect("a file").path());
            let path = files.into_iter().find(|path| path.extension().is_some_and(|e| e == ending));
            let path = path.expect("it was kept");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let configuration = name.parse::<FileName>().expect("a name of ours").configuration;
            let content = fs::read(&path).expect("readable");
            Genuine { variant: Variant { digest: module.digest(), configuration }, name, content }
        };
        let (code, shape) = (genuine("cwasm"), genuine("shape"));
        Place { _folder: folder, cache, engine, artifact, code, shape }
    }

    /// Puts one file there and nothing else, and asks for what it should have been.
    fn judge(&self, genuine: &Genuine, name: &str, content: &[u8]) {
        if self.artifact.exists() {
            fs::remove_dir_all(&self.artifact).expect("our own");
        }
        fs::create_dir(&self.artifact).expect("our own");
        let path = self.artifact.join(name);
        if name.is_empty() || fs::write(&path, content).is_err() {
            // No name that a file can have.
            return;
        }
        let is_genuine = name == genuine.name && content == genuine.content;
        let entries = self.cache.entries().expect("readable");
        assert_eq!(entries.len(), usize::from(name.parse::<FileName>().is_ok()));
        let is_code = genuine.name == self.code.name;
        let found = match is_code {
            true => {
                let load = |authentic: &crate::code::Authentic| {
                    authentic.load(&self.engine, CodeKind::Module).map_err(std::io::Error::other)
                };
                self.cache.code(&genuine.variant, load).is_some()
            }
            false => self.cache.admitted(&genuine.variant).is_some(),
        };
        assert_eq!(found, is_genuine, "{name}");
        let verified = self.cache.verify().expect("readable");
        assert_eq!(verified.files, usize::from(is_genuine));
        assert_eq!(self.cache.entries().expect("readable").len(), usize::from(is_genuine));
        // A name that is none of ours is somebody else's file.
        assert_eq!(path.exists(), is_genuine || name.parse::<FileName>().is_err());
    }
}

#[test]
fn a_cached_file_is_loaded_when_it_is_genuine_and_never_otherwise() {
    // What a panic leaves of them is thrown away with the process.
    let places = AssertUnwindSafe([Place::new(Mapping::Shared), Place::new(Mapping::Copy)]);
    bolero::check!().with_iterations(2_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let Some(([what, how], rest)) = bytes.split_first_chunk::<2>() else { return };
            let place = &places[usize::from(what & 1)];
            let (genuine, other) = match what & 2 {
                0 => (&place.code, &place.shape),
                _ => (&place.shape, &place.code),
            };
            let (mut name, mut content) = (genuine.name.clone(), genuine.content.clone());
            match how % 5 {
                0 => flip(&mut content, rest),
                1 => content = rest.to_vec(),
                2 => content.truncate(number(rest) % (content.len() + 1)),
                3 => content.extend_from_slice(rest),
                // Another name: any, or the right one with other digits.
                _ if how & 0x80 == 0 => name = String::from_utf8_lossy(rest).replace(['/', '\0'], ""),
                _ => {
                    let mut digits = name.into_bytes();
                    flip(&mut digits, rest);
                    name = String::from_utf8_lossy(&digits).replace(['/', '\0'], "");
                }
            }
            if what & 4 != 0 {
                content.clone_from(&other.content);
            }
            place.judge(genuine, &name, &content);
        },
    );
}

/// Changes bytes as `changes` say: where, and by what.
fn flip(bytes: &mut [u8], changes: &[u8]) {
    for change in changes.chunks_exact(4) {
        let at = number(change) % bytes.len();
        bytes[at] ^= change[3];
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |all, byte| all << 8 | usize::from(*byte))
}
