//! The tag of what admission found.

use crate::code::{Tag, Variant};

/// The key that tells a record which this user's Airlock wrote. Another one than code has:
/// a record's tag never makes anything code.
pub(super) struct RecordKey([u8; 32]);

impl RecordKey {
    /// A key of its own for records, made from the cache's secret.
    pub(super) fn derive(secret: &[u8; 32]) -> Self {
        RecordKey(blake3::derive_key("airlock compile cache: tag of admission records", secret))
    }

    /// The tag of a record about `variant`.
    pub(super) fn tag(&self, variant: &Variant, record: &[u8]) -> Tag {
        blake3::Hasher::new_keyed(&self.0)
            .update(variant.digest.as_bytes())
            .update(&variant.configuration.0)
            .update(record)
            .finalize()
    }
}
