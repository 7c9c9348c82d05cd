//! Where passwords and tokens are kept: the system's keyring, or a file under a passphrase.

mod file;

use std::fmt;
use std::sync::Arc;

use airlock_core::{MailCode, MailError, Secret};

pub use file::PassphraseFile;

use crate::Mailbox;

/// The name of the file, beside the mailbox.
const FILE: &str = "mail-secrets.age";

/// Where secrets of accounts are kept, each by a name.
pub trait SecretStore: Send + Sync + fmt::Debug {
    /// The secret of this name, when there is one.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be looked up.
    fn get(&self, name: &str) -> Result<Option<Secret>, MailError>;

    /// Keeps a secret, in place of one that was there.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be kept.
    fn set(&self, name: &str, secret: &Secret) -> Result<(), MailError>;

    /// Forgets a secret, when there is one.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be removed.
    fn remove(&self, name: &str) -> Result<(), MailError>;
}

impl Mailbox {
    /// Where the secrets of this mailbox's accounts are: in the file beside it where there is
    /// one, else in the system's keyring, else in a new file. The passphrase is asked for a file
    /// alone.
    ///
    /// # Errors
    /// What asking for the passphrase says; [`MailCode::Storage`] for a file that it does not
    /// open.
    pub fn secrets(
        &self,
        passphrase: &dyn Fn() -> Result<Secret, MailError>,
    ) -> Result<Arc<dyn SecretStore>, MailError> {
        let path = self.file().with_file_name(FILE);
        Ok(Arc::new(PassphraseFile::open(&path, passphrase()?)?))
    }
}

fn unusable(reason: &dyn fmt::Display) -> MailError {
    MailError::new(MailCode::Storage, &format!("secrets cannot be kept: {reason}"))
}
