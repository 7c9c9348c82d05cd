//! What a call gives back.

use std::time::Duration;

use serde::Serialize;

/// What one call used, against its limits.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Wall time from asking for a slot to the answer.
    #[serde(rename = "wall_ns", serialize_with = "as_nanos")]
    pub wall: Duration,
    /// Fuel consumed; none when no fuel limit was set.
    pub fuel: Option<u64>,
    /// Bytes of linear memory and tables (8 bytes an element) at their largest.
    pub memory_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes of input handed to the guest.
    pub input_bytes: u64,
    /// Bytes of result and captured standard output taken from the guest.
    pub output_bytes: u64,
    /// Bytes the guest wrote to its log or standard error.
    pub log_bytes: u64,
}

fn as_nanos<S: serde::Serializer>(wall: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
}

/// A call's result with what it used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome<R> {
    /// What the plugin answered.
    pub value: R,
    /// What the call cost.
    pub usage: Usage,
    /// What the guest wrote to standard output and standard error on the way, for ABIs
    /// whose answer is something else. May hold any bytes.
    pub log: Vec<u8>,
}

impl<R> Outcome<R> {
    /// An outcome of these parts.
    pub fn new(value: R, usage: Usage, log: Vec<u8>) -> Self {
        Outcome { value, usage, log }
    }

    /// The same outcome with another value.
    ///
    /// # Errors
    /// Whatever `change` fails with.
    pub fn try_map<S, E>(self, change: impl FnOnce(R) -> Result<S, E>) -> Result<Outcome<S>, E> {
        Ok(Outcome { value: change(self.value)?, usage: self.usage, log: self.log })
    }
}
