//! How fast mail is fetched, found and read: the first sync of 10,000 messages of about 20 KB
//! from a Dovecot on loopback, over TLS, beside a client that fetches the same and drops it; a
//! sync where nothing is new; the memory of it; and a mailbox of 100,000 messages, which is searched,
//! opened where PRX-Email made it, or read by a plugin.
//!
//! `scripts/bench mail` runs all; of `sync`, `text`, `memory`, `search`, `open` and `plugin` those that are
//! named.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has failed without what it needs"
)]
#![allow(dead_code, reason = "it uses a part of what the tests do")]

mod corpus;
#[path = "../../tests/mail/dovecot.rs"]
mod dovecot;
mod floor;
mod plugin;
#[path = "../../tests/mail/provider.rs"]
mod provider;
mod search;
#[path = "../../tests/mail/server.rs"]
mod server;
mod sync;

/// A process that another run of this started, and what it is to do.
const CHILD: &str = "child";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == CHILD
    {
        return sync::child(rest);
    }
    let groups: [(&str, fn()); 6] = [
        ("sync", sync::usual),
        ("text", sync::text),
        ("memory", sync::memory),
        ("search", search::run),
        ("open", search::open),
        ("plugin", plugin::run),
    ];
    for (name, run) in groups {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            run();
        }
    }
}

/// The value below which so many percent of these are.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
