//! `[resources]`: what a plugin wants to be bounded by.

use toml::Value;

use super::reader::Reader;
use crate::{LimitKind, Overrides, Unit};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// Keys, what they bound, what their unit is in the limit's, and the most that a plugin can say for itself:
/// more than PRX's guides ever do, and no more than a machine has for one of many.
const KEYS: [(&str, LimitKind, u64, u64); 6] = [
    ("max_fuel", LimitKind::Fuel, 1, 1_000_000_000_000),
    ("max_memory_mb", LimitKind::Memory, MIB, 1024 * MIB),
    ("max_memory_kb", LimitKind::Memory, 1 << 10, 1024 * MIB),
    ("max_execution_time_ms", LimitKind::Timeout, 1_000_000, 600 * SECOND),
    ("max_http_requests_per_call", LimitKind::HttpRequests, 1, 1000),
    ("max_http_requests", LimitKind::HttpRequests, 1, 1000),
];

/// Keys of what it keeps, and their units in bytes.
const KV: [(&str, u64); 2] = [("max_kv_storage_mb", MIB), ("max_kv_storage_kb", 1 << 10)];

/// Bytes that it keeps where it does not say how many (its parser's), and the most.
const KV_BYTES: (u64, u64) = (10 * MIB, 1024 * MIB);

/// What it wants.
pub(super) struct Resources {
    pub(super) limits: Overrides,
    pub(super) kv_bytes: u64,
}

impl Reader<'_> {
    pub(super) fn resources(&mut self, value: Option<Value>) -> Resources {
        let mut resources = Resources { limits: Overrides::new(), kv_bytes: KV_BYTES.0 };
        let mut table = self.table("resources", value);
        for (key, limit, unit, most) in KEYS {
            if let Some(value) = self.size(key, table.remove(key), unit, most, limit.row().unit) {
                resources.limits.insert(limit, value);
            }
        }
        for (key, unit) in KV {
            if let Some(bytes) = self.size(key, table.remove(key), unit, KV_BYTES.1, Unit::Bytes) {
                resources.kv_bytes = bytes;
            }
        }
        if table.remove("pool_size").is_some_and(|size| size != Value::Integer(0)) {
            self.warn("`resources.pool_size` has no effect: a plugin has one instance".to_owned());
        }
        self.rest("resources.", &table);
        resources
    }

    /// A number in its limit's unit.
    fn size(&mut self, key: &str, value: Option<Value>, unit: u64, most: u64, shown: Unit) -> Option<u64> {
        let value = value?;
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.warn(format!("`resources.{key}` is no whole number: ignored"));
            return None;
        };
        let size = number.saturating_mul(unit);
        if size > most {
            let most = shown.show(most);
            self.warn(format!("`resources.{key}` is more than a plugin can say for itself: {most}"));
        }
        Some(size.min(most))
    }
}
