//! What can only be seen from inside: components, and files byte by byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_core::{Digest, Limits};
use proptest::prelude::*;
use wasmtime::Engine;

use super::{Cache, CacheSettings, FileKind, FileName, Turn};
use crate::code::{Authentic, Code, CodeKey, CodeKind, CompiledCode, Hex, Mapping, PIECE, Tag, Variant};
use crate::compile::Configuration;
use crate::engines::compiler_config;
use crate::{Allocation, Artifact, Compiled, EngineKey, EngineSettings, Engines, InProcess, Origin, Shape};

fn cache(folder: &tempfile::TempDir, mapping: Mapping) -> Cache {
    Cache::open(CacheSettings {
        folder: folder.path().join("code"),
        key_file: folder.path().join("cache.key"),
        maximum_bytes: 1 << 30,
        mapping,
    })
    .expect("a folder of our own")
}

fn variant(wasm: &[u8], engine: &Engine) -> Variant {
    Variant { digest: Digest::of(wasm), configuration: Configuration::of("code").and_engine(engine).short() }
}

#[test]
fn modules_and_components_come_back_as_what_they_were() {
    let engine = Engine::new(&compiler_config(EngineKey::default())).expect("an engine");
    for mapping in [Mapping::Shared, Mapping::Copy] {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(&folder, mapping);
        for (wat, kind) in [
            (r#"(module (func (export "f")))"#, CodeKind::Module),
            (
                r#"(component (core module $m (func (export "f") (result i32) i32.const 7))
                    (core instance $i (instantiate $m))
                    (func (export "f") (result u32) (canon lift (core func $i "f"))))"#,
                CodeKind::Component,
            ),
        ] {
            let wasm = wat::parse_str(wat).expect("valid");
            assert_eq!(CodeKind::of(&wasm), kind);
            let variant = variant(&wasm, &engine);
            assert!(cache.code(&variant, |_| Ok(())).is_none());
            cache.keep_code(&variant, &CompiledCode::compile(&engine, &wasm).expect("it compiles"));
            let load = |kind: CodeKind| {
                cache.code(&variant, |authentic| authentic.load(&engine, kind).map_err(std::io::Error::other))
            };
            match load(kind).expect("it was kept") {
                Code::Module(module) => assert!(module.get_export("f").is_some()),
                Code::Component(component) => {
                    let mut store = wasmtime::Store::new(&engine, ());
                    store.set_epoch_deadline(1);
                    let instance = wasmtime::component::Linker::new(&engine)
                        .instantiate(&mut store, &component)
                        .expect("it imports nothing");
                    let f = instance.get_typed_func::<(), (u32,)>(&mut store, "f").expect("it is exported");
                    assert_eq!(f.call(&mut store, ()).expect("no trap"), (7,));
                }
            }
            // Genuine code of one kind is not taken for the other.
            let other = if kind == CodeKind::Module { CodeKind::Component } else { CodeKind::Module };
            assert!(load(other).is_none());
        }
    }
}

#[test]
fn every_engine_of_a_key_has_the_same_configuration_and_other_keys_have_others() {
    let settings = EngineSettings {
        slots: 2,
        stack_bytes: 1 << 20,
        compiler: Arc::new(InProcess::new(1)),
        cache: None,
        memory_cache: 0,
    };
    let engines = Engines::new(settings);
    let of = |key: EngineKey, allocation: Allocation| {
        let engine = engines.get(key, allocation).expect("an engine");
        engine.map(|engine| Configuration::of("code").and_engine(&engine).short())
    };
    let plain = of(EngineKey::default(), Allocation::OnDemand);
    assert_eq!(of(EngineKey::default(), Allocation::Pool), plain);
    // A worker's engine is made without a stack or a pool.
    let worker = Engine::new(&compiler_config(EngineKey::default())).expect("an engine");
    assert_eq!(Some(Configuration::of("code").and_engine(&worker).short()), plain);
    for key in [
        EngineKey { fuel: true, ..EngineKey::default() },
        EngineKey { canonical_nan: true, ..EngineKey::default() },
        EngineKey { trusted: true, ..EngineKey::default() },
    ] {
        assert_ne!(of(key, Allocation::OnDemand), plain, "{key:?}");
    }
    // What is only looked at runs the same code, and in no pool.
    for key in [
        EngineKey { core_dump: true, ..EngineKey::default() },
        EngineKey { sampled: true, ..EngineKey::default() },
    ] {
        assert_eq!(of(key, Allocation::OnDemand), plain, "{key:?}");
        assert_eq!(of(key, Allocation::Pool), None, "{key:?}");
    }
}

#[test]
fn what_does_not_fit_the_pool_is_cached_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let wasm = wat::parse_str("(module (table 1 funcref) (table 1 funcref))").expect("valid");
    for origin in [Origin::Compiler, Origin::Cache] {
        let settings = EngineSettings {
            slots: 2,
            stack_bytes: 1 << 20,
            compiler: Arc::new(InProcess::new(1)),
            cache: Some(Arc::new(cache(&folder, Mapping::Shared))),
            memory_cache: 0,
        };
        let engines = Engines::new(settings);
        let limits = Limits::default();
        let artifact = Artifact::new(wasm.clone(), false, &limits).expect("wasm");
        let shape = Shape::admit(&artifact, &[], &limits).expect("valid");
        let compiled =
            Compiled::new(&engines, EngineKey::default(), artifact, shape, &limits).expect("it compiles");
        assert_eq!(compiled.origin(), origin);
        assert!(compiled.module(&engines, Allocation::Pool).expect("no failure").is_none());
        assert!(compiled.module(&engines, Allocation::OnDemand).expect("no failure").is_some());
    }
}

#[test]
fn a_turn_is_waited_for_and_given_up_at_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (cache(&folder, Mapping::Shared), cache(&folder, Mapping::Shared));
    let variant = Variant { digest: Digest::of(b"x"), configuration: Hex([7; 16]) };
    let held = one.turn(&variant, Instant::now());
    assert!(matches!(held, Turn::Ours(_)));
    assert!(matches!(other.turn(&variant, Instant::now() + Duration::from_millis(20)), Turn::TooLate));
    let another = Variant { configuration: Hex([8; 16]), ..variant };
    assert!(matches!(other.turn(&another, Instant::now()), Turn::Ours(_)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.turn(&variant, Instant::now() + Duration::from_secs(60)));
        drop(held);
        assert!(matches!(waiting.join().expect("no panic"), Turn::Ours(_)));
    });
    assert_eq!(std::fs::read_dir(folder.path().join("code")).expect("a folder").count(), 0, "locks are gone");
}

proptest! {
    #[test]
    fn a_name_is_read_back_and_nothing_else_is_a_name(configuration: [u8; 16], tag: [u8; 32], code: bool, text in "\\PC*") {
        let kind = if code { FileKind::Code } else { FileKind::Shape };
        let name = FileName { configuration: Hex(configuration), tag: Tag::from_bytes(tag), kind };
        prop_assert_eq!(name.to_string().parse(), Ok(name));
        if let Ok(parsed) = text.parse::<FileName>() {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn any_file_in_the_place_of_code_or_record_is_refused(content in prop::collection::vec(any::<u8>(), 0..2000), tag: [u8; 32]) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(&folder, Mapping::Shared);
        let variant = Variant { digest: Digest::of(b"x"), configuration: Hex([7; 16]) };
        for kind in FileKind::ALL {
            cache.keep(&variant, kind, &Tag::from_bytes(tag), &content);
        }
        prop_assert!(cache.code(&variant, |_| Ok(())).is_none());
        prop_assert!(cache.admitted(&variant).is_none());
        prop_assert_eq!(cache.entries().expect("readable"), vec![]);
    }
}

#[test]
fn a_tag_is_that_of_the_whole_however_many_threads_look_at_it() {
    let key = CodeKey::derive(&[7; 32]);
    let variant = Variant { digest: Digest::of(b"wasm"), configuration: Hex([1; 16]) };
    let other = Variant { configuration: Hex([2; 16]), ..variant };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("code");
    let genuine = |variant: &Variant, tag: &Tag, bytes: &[u8], mapping: Mapping| {
        std::fs::write(&path, bytes).expect("written");
        let file = std::fs::File::open(&path).expect("there");
        Authentic::check(&key, variant, tag, file, mapping).expect("read").is_some()
    };
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 6 * PIECE + 3] {
        let bytes: Vec<u8> =
            (0..length as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let tag = key.tag(&variant, &CompiledCode::from_worker(bytes.clone(), CodeKind::Module));
        for mapping in [Mapping::Shared, Mapping::Copy] {
            let is_genuine = |bytes: &[u8]| genuine(&variant, &tag, bytes, mapping);
            assert!(is_genuine(&bytes), "{length}");
            assert!(!genuine(&other, &tag, &bytes, mapping), "{length}: of something else");
            // One byte of each piece, at both of its ends.
            for at in (0..length).step_by(PIECE).flat_map(|at| [at, (at + PIECE - 1).min(length - 1)]) {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(!is_genuine(&changed), "{length}: byte {at}");
            }
            assert!(!is_genuine(&[&bytes[..], b"\0"].concat()), "{length}: longer");
            if length > 0 {
                assert!(!is_genuine(&bytes[1..]) && !is_genuine(&bytes[..length - 1]), "{length}: shorter");
            }
            if length >= 2 * PIECE {
                let mut swapped = bytes.clone();
                let (first, rest) = swapped.split_at_mut(PIECE);
                first.swap_with_slice(&mut rest[..PIECE]);
                assert!(!is_genuine(&swapped), "{length}: in another order");
            }
        }
    }
}
