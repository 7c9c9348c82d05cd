//! How much may be kept.

use std::fmt;
use std::str::FromStr;

use crate::Unit;

/// Bytes that may be kept, written `65536`, `64KiB` or `1.5MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quota(u64);

impl Quota {
    /// What is meant where no size is written: 1 MiB.
    pub const IMPLIED: Quota = Quota(1 << 20);

    /// The largest.
    pub const MAX: Quota = Quota(u64::MAX);

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The size parser goes through floating point, which whole numbers need not.
        text.parse().or_else(|_| Unit::Bytes.read(text)).map(Quota)
    }
}

impl fmt::Display for Quota {
    /// With the largest unit that leaves a whole number, so that it reads back exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let bytes = self.0;
        let whole = UNITS.into_iter().find(|(_, bits)| bytes != 0 && bytes.trailing_zeros() >= *bits);
        match whole {
            Some((unit, bits)) => write!(f, "{}{unit}", bytes >> bits),
            None => write!(f, "{bytes}"),
        }
    }
}
