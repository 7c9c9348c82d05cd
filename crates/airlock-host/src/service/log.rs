//! What plugins log, on its way to the application's own log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use airlock_core::{Log, LogLevel, Permit, Redactor, visible};

/// Messages of one plugin in a row, and how many more come for each second.
const BURST: f64 = 1_000.0;

/// Bytes of a message that are kept.
const MESSAGE: usize = 8 << 10;

/// Plugins whose rate is remembered.
const PLUGINS: usize = 4096;

/// Sends messages to `tracing`, with the target `airlock::plugin` and the plugin's name as a
/// field; secrets taken out, control characters made visible, long ones cut off.
///
/// A plugin may log 1000 messages at once and 1000 a second. What is beyond is dropped, and
/// how much is said with the next message that is not.
#[derive(Debug, Default)]
pub struct TracingLog {
    redactor: Redactor,
    rates: Mutex<HashMap<Arc<str>, Rate>>,
}

#[derive(Debug)]
struct Rate {
    left: f64,
    at: Instant,
    dropped: u64,
}

impl TracingLog {
    /// One that takes these secrets out.
    pub fn new(redactor: Redactor) -> Self {
        TracingLog { redactor, rates: Mutex::default() }
    }

    /// How many messages were dropped before this one; none when it is to be dropped too.
    fn admit(&self, plugin: &str, now: Instant) -> Option<u64> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates.contains_key(plugin) {
            if rates.len() >= PLUGINS {
                // Those who have been silent for long begin anew.
                rates.retain(|_, rate| now.duration_since(rate.at).as_secs() < 1 || rate.dropped > 0);
            }
            rates.insert(plugin.into(), Rate { left: BURST, at: now, dropped: 0 });
        }
        let rate = rates.get_mut(plugin)?;
        let passed = now.saturating_duration_since(rate.at).as_secs_f64();
        rate.left = (rate.left + passed * BURST).min(BURST);
        rate.at = now;
        if rate.left < 1.0 {
            rate.dropped += 1;
            return None;
        }
        rate.left -= 1.0;
        Some(std::mem::take(&mut rate.dropped))
    }
}

impl Log for TracingLog {
    fn log(&self, permit: &Permit, level: LogLevel, message: &str) {
        let plugin = permit.caller().name.as_str();
        let Some(dropped) = self.admit(plugin, Instant::now()) else { return };
        if dropped > 0 {
            tracing::warn!(target: "airlock::plugin", plugin, dropped, "messages were dropped");
        }
        let message = self.redactor.redact(cut(message));
        let message = visible(&message, true);
        let message: &str = &message;
        match level {
            LogLevel::Trace => tracing::trace!(target: "airlock::plugin", plugin, "{message}"),
            LogLevel::Debug => tracing::debug!(target: "airlock::plugin", plugin, "{message}"),
            LogLevel::Info => tracing::info!(target: "airlock::plugin", plugin, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "airlock::plugin", plugin, "{message}"),
            LogLevel::Error => tracing::error!(target: "airlock::plugin", plugin, "{message}"),
        }
    }
}

/// As much of a message as is kept.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE)]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BURST, MESSAGE, TracingLog, cut};

    #[test]
    fn too_many_messages_are_dropped_and_counted_for_each_plugin() {
        let (log, start) = (TracingLog::default(), Instant::now());
        let admitted = (0..1500).filter(|_| log.admit("one", start).is_some()).count();
        assert_eq!(admitted, BURST as usize);
        assert_eq!(log.admit("two", start), Some(0));
        let later = start + Duration::from_millis(100);
        assert_eq!(log.admit("one", later), Some(500));
        let more = (0..1500).filter(|_| log.admit("one", later).is_some()).count();
        assert_eq!(more, 99, "a tenth of a second's worth");
    }

    #[test]
    fn a_long_message_is_cut_between_two_letters() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(MESSAGE);
        assert_eq!(cut(&long).len(), MESSAGE);
        assert_eq!(cut(&format!("a{long}")).len(), MESSAGE - 1);
    }
}
