//! Loading: from bytes to a plugin that can be called.

use std::sync::Arc;

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_engine::{
    Artifact, Cache, CacheSettings, Compiled, EngineKey, EngineSettings, Engines, InProcess, Mapping, Origin,
    Shape,
};
use airlock_host::{Host, Limits, LoadOptions, Source};
use wasmtime::Engine;

use crate::floor;
use crate::guests::{repository, sized};

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let settings = |mapping: Mapping| CacheSettings {
        folder: folder.path().join("code"),
        key_file: folder.path().join("cache.key"),
        maximum_bytes: 1 << 30,
        mapping,
    };
    let host = |mapping: Mapping| {
        Host::builder().cache(Cache::open(settings(mapping)).unwrap()).memory_cache(0).build().unwrap()
    };
    let small = wat::parse_str(crate::guests::ECHO).unwrap();
    let three = wat::parse_str(sized(4_800)).unwrap();
    let text = std::fs::read(repository("plugins/text-processor/text_processor.wasm")).unwrap();
    let script = std::fs::read(repository("plugins/script/script.wasm")).unwrap();
    let engine = Engine::new(&floor::config()).unwrap();
    for (wasm, most) in
        [(&small, Some(50_000.0)), (&text, None), (&three, Some(1_000_000.0)), (&script, None)]
    {
        let code = engine.precompile_module(wasm).unwrap();
        let work = format!("load of cached code, {} KB", code.len() / 1000);
        let mapped = host(Mapping::Shared);
        let load = |host: &Host| {
            let plugin = host.load_blocking(Source::from(wasm.as_slice()), LoadOptions::new()).unwrap();
            plugin.code_origin()
        };
        // The first one compiles; what is dropped is not shared.
        load(&mapped);
        let cached = |host: &Host| assert_eq!(load(host), Origin::Cache);
        let remembers = Host::new().unwrap();
        load(&remembers);
        let (shared, private) = (engines(&settings(Mapping::Shared)), engines(&settings(Mapping::Copy)));
        let code_of = |engines: &Engines, artifact: &Artifact, shape: &Shape| {
            let (artifact, shape) = (artifact.clone(), shape.clone());
            let key = EngineKey::default();
            let compiled = Compiled::new(engines, key, artifact, shape, &Limits::default()).unwrap();
            assert_eq!(compiled.origin(), Origin::Cache);
        };
        let artifact = Artifact::new(wasm.clone(), false, &Limits::default()).unwrap();
        let shape = Shape::admit(&artifact, &[], &Limits::default()).unwrap();
        let mut code = Contender::new("airlock, code, authenticated", || code_of(&shared, &artifact, &shape));
        if let Some(most) = most {
            code = code.target(Target::Nanos(most));
        }
        report.compare(
            &work,
            // Several threads look at what is large.
            Clock::Wall,
            vec![
                code,
                Contender::new("airlock, code, from a private copy", || code_of(&private, &artifact, &shape)),
                Contender::new("airlock, from bytes to a plugin", || cached(&mapped)),
                Contender::new("the same of what the host has in memory", || {
                    assert_eq!(load(&remembers), Origin::Memory);
                }),
                Contender::new("of that, the digest of the bytes", || {
                    std::hint::black_box(airlock_host::Digest::of(wasm));
                }),
            ],
        );
    }
    compile(report, &text);
}

/// Engines with a cache, as a host has them.
fn engines(settings: &CacheSettings) -> Arc<Engines> {
    Engines::new(EngineSettings {
        slots: 128,
        stack_bytes: 1 << 20,
        compiler: Arc::new(InProcess::default()),
        cache: Some(Arc::new(Cache::open(settings.clone()).unwrap())),
        memory_cache: 0,
    })
}

fn compile(report: &mut Report, wasm: &[u8]) {
    let engine = Engine::new(&floor::config()).unwrap();
    let host = Host::builder().memory_cache(0).build().unwrap();
    report.compare(
        "load of text-processor that is not cached, wall time",
        Clock::Wall,
        vec![
            Contender::new("wasmtime", || {
                wasmtime::Module::new(&engine, wasm).unwrap();
            }),
            Contender::new("airlock", || {
                let plugin = host.load_blocking(Source::from(wasm), LoadOptions::new()).unwrap();
                assert_eq!(plugin.code_origin(), Origin::Compiler);
            }),
        ],
    );
}
