//! What bounds the messages of plugins, beside their grants.

use airlock_core::{MailCode, MailError};
use lettre::Address;

/// Messages that plugins may send from an account in an hour, where nothing else is said.
const PER_HOUR: u32 = 60;

/// Seconds of an hour.
pub(crate) const HOUR: i64 = 3_600;

/// Whom plugins may write to, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRules {
    /// Whom they may write to: addresses, and `*@example.com` for all of a domain. Everybody, where
    /// there is none.
    pub recipients: Vec<String>,
    /// How many they may send from an account in an hour, all of them together.
    pub per_hour: u32,
}

/// To everybody, 60 in an hour.
impl Default for SendRules {
    fn default() -> Self {
        SendRules { recipients: Vec::new(), per_hour: PER_HOUR }
    }
}

impl SendRules {
    /// The same, where it makes sense.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what is neither an address nor `*@` with a domain.
    pub fn checked(self) -> Result<Self, MailError> {
        let makes_sense = |pattern: &&String| match pattern.strip_prefix("*@") {
            Some(domain) => format!("x@{domain}").parse::<Address>().is_ok(),
            None => pattern.parse::<Address>().is_ok(),
        };
        match self.recipients.iter().find(|pattern| !makes_sense(pattern)) {
            Some(pattern) => {
                let reason = format!("`{pattern}` is neither an address nor `*@` with a domain");
                Err(MailError::invalid(&reason))
            }
            None => Ok(self),
        }
    }

    /// Whether all these may be written to.
    pub(crate) fn check(&self, recipients: &[Address]) -> Result<(), MailError> {
        let refused = recipients.iter().find(|address| !self.permits(address));
        refused.map_or(Ok(()), |address| {
            let reason = format!("`{address}` is not among whom plugins may write to");
            Err(MailError::new(MailCode::NetworkGuard, &reason))
        })
    }

    /// Whether one more may be sent after so many in the last hour.
    pub(crate) fn check_count(&self, sent: u32) -> Result<(), MailError> {
        match sent < self.per_hour {
            true => Ok(()),
            false => {
                let reason =
                    format!("plugins may send {} messages in an hour from an account", self.per_hour);
                Err(MailError::new(MailCode::NetworkGuard, &reason))
            }
        }
    }

    fn permits(&self, address: &Address) -> bool {
        let fits = |pattern: &String| match pattern.strip_prefix("*@") {
            Some(domain) => address.domain().eq_ignore_ascii_case(domain),
            None => AsRef::<str>::as_ref(address).eq_ignore_ascii_case(pattern),
        };
        self.recipients.is_empty() || self.recipients.iter().any(fits)
    }
}
