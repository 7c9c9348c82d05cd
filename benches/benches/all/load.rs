//! Loading: from bytes to a plugin that can be called.

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{Cache, CacheSettings, Host, LoadOptions, Mapping, Origin, Source};
use wasmtime::Engine;

use crate::floor;
use crate::guests::{repository, sized};

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let host = |mapping: Mapping| {
        let settings = CacheSettings {
            folder: folder.path().join("code"),
            key_file: folder.path().join("cache.key"),
            maximum_bytes: 1 << 30,
            mapping,
        };
        Host::builder().cache(Cache::open(settings).unwrap()).build().unwrap()
    };
    let small = wat::parse_str(crate::guests::ECHO).unwrap();
    let three = wat::parse_str(sized(1_150)).unwrap();
    let text = std::fs::read(repository("plugins/text-processor/text_processor.wasm")).unwrap();
    let script = std::fs::read(repository("plugins/script/script.wasm")).unwrap();
    let engine = Engine::new(&floor::config()).unwrap();
    for (wasm, most) in
        [(&small, Some(50_000.0)), (&text, None), (&three, Some(1_000_000.0)), (&script, None)]
    {
        let code = engine.precompile_module(wasm).unwrap();
        let work = format!("load of cached code, {} KB", code.len() / 1000);
        let (mapped, copied) = (host(Mapping::Shared), host(Mapping::Copy));
        let load = |host: &Host| {
            let plugin = host.load_blocking(Source::from(wasm.as_slice()), LoadOptions::new()).unwrap();
            plugin.code_origin()
        };
        // The first one compiles; what is dropped is not shared.
        load(&mapped);
        let cached = |host: &Host| assert_eq!(load(host), Origin::Cache);
        let mut contender = Contender::new("airlock, bytes to plugin, authenticated", || cached(&mapped));
        if let Some(most) = most {
            contender = contender.target(Target::Nanos(most));
        }
        report.compare(
            &work,
            Clock::Thread,
            vec![
                Contender::new("read and SHA-256 of the wasm alone", || {
                    std::hint::black_box(airlock_host::Digest::of(wasm));
                }),
                contender,
                Contender::new("airlock, from a private copy", || cached(&copied)),
            ],
        );
    }
    compile(report, &text);
}

fn compile(report: &mut Report, wasm: &[u8]) {
    let engine = Engine::new(&floor::config()).unwrap();
    let host = Host::new().unwrap();
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
