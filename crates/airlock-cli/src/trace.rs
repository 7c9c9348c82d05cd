//! What `-v` shows.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of host calls, one event each.
const HOST_CALLS: &str = "airlock::host_call";

/// Sends Airlock's own events to standard error: loads and calls from one `-v`, every
/// host call from two.
pub(crate) fn start(verbose: u8) {
    let (own, host_calls) = match verbose {
        0 => return,
        1 => (LevelFilter::INFO, LevelFilter::OFF),
        _ => (LevelFilter::DEBUG, LevelFilter::TRACE),
    };
    let shown = Targets::new()
        .with_target("airlock_host", own)
        .with_target("airlock_engine", own)
        .with_target("airlock", own)
        .with_target(HOST_CALLS, host_calls);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time();
    tracing_subscriber::registry().with(shown).with(lines).init();
}
