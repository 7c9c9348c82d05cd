//! Whatever a plugin says that it takes, a command line can be read by it.

use std::time::Duration;

use airlock_core::Manifest;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::CommandLine;

#[test]
fn any_manifest_is_refused_or_makes_a_command_that_clap_takes() {
    bolero::check!().with_iterations(3_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(bytes, bytes);
            let mut bytes_left = bytes.iter().copied();
            let manifest = json!({ "api_version": 2, "command": command(&mut bytes_left, 0) });
            let mut packed = Vec::new();
            manifest.serialize(&mut rmp_serde::Serializer::new(&mut packed)).expect("it has a form");
            judge(&packed, bytes);
        },
    );
}

fn judge(packed: &[u8], bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(Manifest::EXPORT, packed) else { return };
    let spec = manifest.commands[0].spec.clone().expect("it describes itself");
    let (most, line) = (spec.args.len(), CommandLine::new(spec));
    // Which looks at all of it.
    line.command().debug_assert();
    let help = line.command().render_long_help().to_string();
    assert!(!help.chars().any(|c| c.is_control() && c != '\n'), "{help:?}");
    let words: Vec<String> =
        bytes.chunks(3).map(|piece| String::from_utf8_lossy(piece).into_owned()).take(5).collect();
    if let Ok(values) = line.parse(&words) {
        assert!(values.len() <= most.max(words.len()) + words.len(), "{values:?} of {words:?}");
    }
}

const NAMES: [&str; 8] = ["a", "b", "help", "-", "version", "--out", "ä", "x\u{1b}[2J"];

fn command(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let mut next = || bytes.next().unwrap_or_default();
    let name = NAMES[usize::from(next()) % 2];
    let (args, below) = (next() % 5, next() % 3);
    let args: Vec<Value> = (0..args).map(|_| arg(bytes)).collect();
    let below: Vec<Value> = match depth {
        0..3 => (0..below).map(|_| command(bytes, depth + 1)).collect(),
        _ => Vec::new(),
    };
    json!({ "name": name, "about": NAMES[7], "version": "1", "args": args, "subcommands": below })
}

fn arg(bytes: &mut impl Iterator<Item = u8>) -> Value {
    let mut next = || usize::from(bytes.next().unwrap_or_default());
    let mut arg = Map::new();
    let which = next();
    let mut text = || json!(NAMES[next() % NAMES.len()]);
    arg.insert("name".to_owned(), text());
    for (bit, key) in ["long", "value_name", "default_value", "help"].into_iter().enumerate() {
        if which >> bit & 1 == 1 {
            arg.insert(key.to_owned(), text());
        }
    }
    if which >> 4 & 1 == 1 {
        arg.insert("short".to_owned(), json!(["h", "o", "-", "V"][which % 4]));
    }
    if which >> 5 & 1 == 1 {
        arg.insert("required".to_owned(), json!(true));
    }
    if which >> 6 & 1 == 1 {
        arg.insert("possible_values".to_owned(), json!([text(), text()]));
    }
    Value::Object(arg)
}
