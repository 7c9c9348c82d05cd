//! `airlock bench`.

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;

use crate::plugins::Place;

fn measured(place: &Place, arguments: &[&str]) -> Value {
    let arguments = [&["--json", "bench", "--time", "300ms", "--threads", "2"], arguments].concat();
    let output = place.airlock().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const TRANSFORM: [&str; 3] = ["plugins/text-processor", "transform", r#"{"text":"a","mode":"reverse"}"#];

#[test]
fn every_way_of_calling_is_measured() {
    let place = Place::new();
    let report = measured(&place, &TRANSFORM);
    assert_eq!(
        (report["name"].as_str(), report["function"].as_str()),
        (Some("text-processor"), Some("transform"))
    );
    for phase in ["cold", "cached", "fresh", "warm"] {
        let took = &report["latency"][phase];
        let of = |key: &str| took[key].as_u64().unwrap_or_else(|| panic!("{phase} has {took}"));
        assert!(of("runs") >= 3, "{phase}");
        assert!(0 < of("min_ns") && of("min_ns") <= of("p50_ns") && of("p50_ns") <= of("p99_ns"));
        assert!(of("p99_ns") <= of("max_ns"));
    }
    let threads: Vec<u64> =
        report["throughput"].as_array().unwrap().iter().map(|row| row["threads"].as_u64().unwrap()).collect();
    assert_eq!(threads, [1, 2]);
    assert!(report["fuel"].as_u64().unwrap() > 100);
    assert!(report["memory_bytes"].as_u64().unwrap() >= 10 << 16, "what its manifest asks for");
    assert_eq!(report["compared"], Value::Null);
}

#[test]
fn a_program_is_measured_from_its_start_to_its_end() {
    let place = Place::new();
    let report = measured(&place, &["plugins/greet/greet.wasm", "you"]);
    assert_eq!(report["abi"], "command");
    assert!(report["latency"]["fresh"]["runs"].as_u64().unwrap() >= 20);
    assert_eq!(report["latency"].get("warm"), None);
}

#[test]
fn two_plugins_take_turns_and_the_ratio_has_a_spread() {
    let place = Place::new();
    let report = measured(
        &place,
        &[&["--compare", "plugins/text-processor/text_processor.wasm"], &TRANSFORM[..]].concat(),
    );
    let compared = &report["compared"];
    let of = |key: &str| compared[key].as_f64().unwrap_or_else(|| panic!("{compared}"));
    assert!(of("pairs") >= 10.0 && of("new_p50_ns") > 0.0 && of("old_p50_ns") > 0.0);
    assert!(of("ratio_p5") <= of("ratio_p50") && of("ratio_p50") <= of("ratio_p95"));
}

#[test]
fn a_picture_is_drawn_of_how_long_calls_took() {
    let place = Place::new();
    let file = place.path("calls.svg");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    measured(&place, &[&["--svg", file.to_str().unwrap()], &TRANSFORM[..]].concat());
    let picture = std::fs::read_to_string(file).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    for text in ["text-processor transform", "fresh", "warm", "microseconds"] {
        assert!(picture.contains(text), "{text}");
    }
}

#[test]
fn what_cannot_be_called_is_not_measured() {
    let place = Place::new();
    let fails = |arguments: &[&str]| {
        let output = place.airlock().arg("bench").args(arguments).output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = fails(&["plugins/text-processor"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("hint: the plugin has `transform`"), "{said}");
    let (code, said) = fails(&["plugins/text-processor", "transform", r#"{"text":1}"#]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the plugin failed: "), "{said}");
    let (code, said) = fails(&["plugins/text-processor", "transform", "{}", "--time", "soon"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn the_screen_has_a_row_for_each_way_and_a_histogram() {
    let place = Place::new();
    let flags = ["bench", "--time", "300ms", "--threads", "1"];
    let output = place.airlock().args(flags).args(TRANSFORM).output().unwrap();
    // What was measured is another each time; where it stands is not.
    let mut screen = String::from_utf8(output.stdout).unwrap();
    for (what, steady) in [
        (r"[\d.]+(ns|µs|ms|s)\b", "TIME"),
        (r"(?m)^ *TIME *█* +\d+$", "TIME BAR COUNT"),
        (r"[\d.]+ [KM]iB", "SIZE"),
        (r"\b\d+\b", "N"),
        (" {2,}", "  "),
    ] {
        screen = Regex::new(what).unwrap().replace_all(&screen, steady).into_owned();
    }
    let mut lines: Vec<&str> = screen.lines().collect();
    // As many classes as what was measured is spread over.
    lines.dedup();
    assert_snapshot!(lines.join("\n"), @r"
      runs  shortest  p50  p90  p99  longest
    cold  N  TIME  TIME  TIME  TIME  TIME
    cached  N  TIME  TIME  TIME  TIME  TIME
    fresh  N  TIME  TIME  TIME  TIME  TIME
    warm  N  TIME  TIME  TIME  TIME  TIME

    fresh calls  N a second on N thread
    memory  SIZE
    fuel  N

    warm calls, all but the longest hundredth:
    TIME BAR COUNT
    ");
}
