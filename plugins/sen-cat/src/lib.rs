//! Shows a file: a sen-rs plugin by its published SDK that uses WASI.
//!
//! It reads below `/data`. Some words in place of a file's name show what else a plugin can
//! reach: `env`, `write`, `print`, `clock`, `count`, `panic` and `exit`.

use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, io, process};

use sen_plugin_sdk::prelude::*;

/// How often this instance was called. What an instance keeps between calls shows here.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// The first of January 2021, in seconds since the Unix epoch.
const AFTER_2020: Duration = Duration::from_secs(1_609_459_200);

struct Cat;

impl Plugin for Cat {
    fn manifest() -> PluginManifest {
        let file = ArgSpec::positional("file").required().help("A file below ./data");
        let lines = ArgSpec::option("lines", "lines").short('n').help("Only so many lines of it");
        let capabilities = Capabilities::none()
            .with_fs_read(vec![PathPattern::new("./data").recursive()])
            .with_fs_write(vec![PathPattern::new("./out")])
            .with_env_read(vec!["HOME".into(), "CAT_*".into()])
            .with_stdio(StdioCapability::stdout_stderr());
        PluginManifest::with_capabilities(
            CommandSpec::new("cat-file", "Shows a file").version("1.0.0").arg(file).arg(lines),
            capabilities,
        )
    }

    fn execute(args: Vec<String>) -> ExecuteResult {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(file) = args.first() else {
            return ExecuteResult::user_error("`file` is missing");
        };
        // A host may leave out an option that was not given, or send an empty value for it.
        let second = args.get(1).map_or("", String::as_str);
        let answer = match file.as_str() {
            "env" => Ok(variables()),
            "write" => write(second),
            "print" => print(),
            "clock" => clock(),
            "count" => Ok(calls.to_string()),
            "panic" => panic!("asked to"),
            "exit" => process::exit(3),
            file => show(file, second),
        };
        answer.map_or_else(|error| ExecuteResult::user_error(error.to_string()), ExecuteResult::success)
    }
}

type Answer = Result<String, Box<dyn Error>>;

fn show(file: &str, lines: &str) -> Answer {
    let text = fs::read_to_string(format!("/data/{file}"))?;
    if lines.is_empty() {
        return Ok(text);
    }
    let count = lines.parse().map_err(|_| format!("`lines` is a number, not `{lines}`"))?;
    Ok(text.split_inclusive('\n').take(count).collect())
}

fn variables() -> String {
    let mut lines: Vec<String> = env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    lines.sort();
    lines.join("\n")
}

fn write(text: &str) -> Answer {
    fs::write("/out/note.txt", text)?;
    Ok(text.len().to_string())
}

fn print() -> Answer {
    io::stdout().write_all(b"out\n")?;
    io::stderr().write_all(b"err\n")?;
    Ok("printed".into())
}

fn clock() -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    if now < AFTER_2020 {
        return Err(format!("the clock is at {} seconds", now.as_secs()).into());
    }
    Ok("clock ok".into())
}

export_plugin!(Cat);
