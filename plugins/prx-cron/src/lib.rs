//! A plugin that runs at its times, and counts how often it did.

wit_bindgen::generate!({ world: "cron", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::cron_exports::Guest;
use prx::host::log::Level;
use prx::host::{kv, log};

struct Nightly;

export!(Nightly);

const RUNS: &str = "runs";

impl Guest for Nightly {
    fn run() -> Result<String, String> {
        let before: Option<u64> = kv::get(RUNS).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        let runs = before.unwrap_or_default() + 1;
        kv::set(RUNS, runs.to_string().as_bytes())?;
        log::log(Level::Info, &format!("run {runs}"));
        Ok(format!("run {runs}"))
    }
}
