//! What CortexPrism's document says of the speed of its plugins, for its own example in each language,
//! beside the same in a JavaScript module where there is a `node`; and its tools.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use airlock_bench::{Clock, Contender, Figure, Report, Target};
use airlock_host::{Cache, CacheSettings, Host, Input, LoadOptions, Mapping, Origin, Plugin, Source};
use serde_json::json;
use serde_json::value::RawValue;

use crate::guests::repository;
use crate::memory::resident;

/// Languages that the example is in, each with what a call of 64 bytes may take.
const LANGUAGES: [(&str, &str, Option<f64>); 7] = [
    ("rust", "plugins/text-processor-sdk", Some(7_000.0)),
    ("rust, by hand, with libc's allocator", "plugins/text-processor", None),
    ("c", "plugins/text-processor-c", Some(3_000.0)),
    ("c++", "plugins/text-processor-cpp", None),
    ("zig", "plugins/text-processor-zig", None),
    ("assemblyscript", "plugins/text-processor-as", None),
    ("go", "plugins/text-processor-go", None),
];

/// Those that the document's claims have to hold for.
const HELD: [&str; 2] = ["rust", "c"];

const MODES: [&str; 4] = ["reverse", "uppercase", "lowercase", "rot13"];

const MILLISECOND: f64 = 1e6;

pub(crate) fn run(report: &mut Report) {
    let host = Host::new().unwrap();
    let plugins: Vec<(&str, Plugin, Option<f64>)> =
        LANGUAGES.iter().map(|(language, folder, most)| (*language, load(&host, folder), *most)).collect();
    small(report, &plugins);
    cold(report);
    large(report, &plugins);
    parse(report, &plugins);
    memory(report);
    module(report);
    tools(report, &host);
}

fn load(host: &Host, folder: &str) -> Plugin {
    host.load_blocking(repository(folder), LoadOptions::new()).unwrap()
}

/// What has to be reached, where it has to.
fn held<'a>(contender: Contender<'a>, language: &str, nanos: f64) -> Contender<'a> {
    match HELD.contains(&language) {
        true => contender.target(Target::Nanos(nanos)),
        false => contender,
    }
}

/// From JSON that is known to be some, as what an application serializes is, to checked JSON.
fn transforms<'a>(language: &str, plugin: &'a Plugin, text: &str) -> Contender<'a> {
    let json = RawValue::from_string(text.to_owned()).unwrap();
    Contender::new(language, move || {
        plugin.invoke_blocking("transform", Input::Raw(json.clone())).unwrap();
    })
}

fn small(report: &mut Report, plugins: &[(&str, Plugin, Option<f64>)]) {
    let text = json!({ "text": "x".repeat(64 - 28), "mode": "reverse" }).to_string();
    assert_eq!(text.len(), 64);
    let contenders = plugins.iter().map(|(language, plugin, most)| {
        let contender = transforms(language, plugin, &text);
        most.iter().fold(contender, |contender, most| contender.target(Target::Nanos(*most)))
    });
    report.compare("CortexPrism's example, 64 B, fresh memory", Clock::Thread, contenders.collect());
}

/// From a file and code that was compiled before to the first answer, on a host that is there.
fn cold(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let settings = CacheSettings {
        folder: folder.path().join("code"),
        key_file: folder.path().join("cache.key"),
        maximum_bytes: 1 << 30,
        mapping: Mapping::Shared,
    };
    let cache = Cache::open(settings).unwrap();
    let host = Host::builder().cache(cache).memory_cache(0).build().unwrap();
    let text = json!({ "text": "hello", "mode": "reverse" }).to_string();
    let first = |folder: &str| {
        let plugin = load(&host, folder);
        plugin.invoke_blocking("transform", Input::Json(text.clone())).unwrap();
        plugin.code_origin()
    };
    let contenders = LANGUAGES.iter().map(|(language, folder, _)| {
        first(folder);
        let first = &first;
        held(
            Contender::new(language, move || assert_eq!(first(folder), Origin::Cache)),
            language,
            MILLISECOND,
        )
    });
    report.compare(
        "the same, cold start from the cache and a first call",
        Clock::Thread,
        contenders.collect(),
    );
}

fn large(report: &mut Report, plugins: &[(&str, Plugin, Option<f64>)]) {
    let megabyte = "Hello, wide World! ".repeat((1 << 20) / 19);
    for mode in MODES {
        let text = json!({ "text": megabyte, "mode": mode }).to_string();
        let fits = |plugin: &Plugin| plugin.invoke_blocking("transform", Input::Json(text.clone())).is_ok();
        let contenders = plugins.iter().filter(|(_, plugin, _)| fits(plugin)).map(|(language, plugin, _)| {
            held(transforms(language, plugin, &text), language, 5.0 * MILLISECOND)
        });
        report.compare(&format!("the same, 1 MB of text, {mode}"), Clock::Thread, contenders.collect());
    }
}

/// A document whose greatest part the example looks over, and has to read for that.
fn parse(report: &mut Report, plugins: &[(&str, Plugin, Option<f64>)]) {
    let text = json!({ "rest": rest(), "text": "hello", "mode": "reverse" }).to_string();
    let contenders = plugins
        .iter()
        .map(|(language, plugin, _)| held(transforms(language, plugin, &text), language, 0.3 * MILLISECOND));
    report.compare("the same, 100 KB of JSON parsed", Clock::Thread, contenders.collect());
}

/// 100 KB of JSON, of every kind.
fn rest() -> serde_json::Value {
    let one = json!({ "id": 12_345, "name": "some \"name\"", "tags": ["a", "b"], "ratio": 0.25, "on": true, "of": null });
    vec![one.clone(); 100_000 / one.to_string().len()].into()
}

fn memory(report: &mut Report) {
    let figures = ["rust", "c"].map(|language| {
        let of = |count: usize| resident(&format!("example-{language}"), count);
        Figure {
            who: format!("{language}, each plugin with a session after a call"),
            value: (of(101) - of(1)) / 100.0 / (1 << 20) as f64,
            unit: "MiB",
            target: Some(Target::AtMost(5.0)),
        }
    });
    report.figures("the same, memory", &figures);
}

/// The folder of the example in a language.
pub(crate) fn example(language: &str) -> &'static str {
    LANGUAGES.iter().find(|(name, ..)| *name == language).unwrap().1
}

/// The same work in a JavaScript module, which is what the document compares with.
fn module(report: &mut Report) {
    let script = repository("benches/guests/esm.mjs");
    let Some(figures) = node(&script) else { return };
    for (work, value, unit) in figures {
        let who = "node, a JavaScript module".to_owned();
        report.figures(&format!("the same, {work}"), &[Figure { who, value, unit, target: None }]);
    }
}

/// What the script measured; none where there is no node.
fn node(script: &Path) -> Option<Vec<(String, f64, &'static str)>> {
    let output = Command::new("node").arg(script).stderr(Stdio::inherit()).output().ok()?;
    assert!(output.status.success(), "node could not run {}", script.display());
    let measured: Vec<(String, f64)> = serde_json::from_slice(&output.stdout).unwrap();
    let with_unit = |(work, value): (String, f64)| {
        let unit = if work == "memory" { "MiB" } else { "ms" };
        (work, value, unit)
    };
    let mut figures: Vec<_> = measured.into_iter().map(with_unit).collect();
    // Its start is the process's, beside one that does nothing else.
    let start = Instant::now();
    let status = Command::new("node").arg("-e").arg("").status().ok()?;
    assert!(status.success());
    figures.push(("start of node itself".to_owned(), start.elapsed().as_secs_f64() * 1e3, "ms"));
    Some(figures)
}

/// Gives the arguments back.
const TOOL: &str = r#"(module (memory (export "memory") 1)
    (func (export "plugin_execute_tool") (param i32 i32 i32 i32 i32 i32) (result i32)
        (memory.copy (local.get 4) (local.get 2) (local.get 3))
        (i32.store (local.get 5) (local.get 3)) i32.const 0))"#;

fn tools(report: &mut Report, host: &Host) {
    let plugin = host.load_blocking(Source::from(TOOL.as_bytes()), LoadOptions::new().wat(true)).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let text = json!({ "text": "x".repeat(64 - 11) }).to_string();
    assert_eq!(text.len(), 64);
    report.compare(
        "a tool of CortexPrism's, 64 B in and out, warm",
        Clock::Thread,
        vec![
            Contender::new("airlock", || {
                session.invoke_blocking("echo", Input::Json(text.clone())).unwrap();
            })
            .target(Target::Nanos(1_000.0)),
        ],
    );
}
