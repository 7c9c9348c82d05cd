//! Where passwords and tokens are kept: the system's keyring, or a file under a passphrase.

mod file;
#[cfg(all(feature = "keyring", target_os = "linux"))]
mod keyring;

use std::fmt;
use std::path::PathBuf;
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

/// Where the secrets of a mailbox's accounts are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the file beside the mailbox where there is one, else in the system's keyring where
    /// there is one that is unlocked, or they are there already; else in a new file.
    #[default]
    Auto,
    /// In the system's keyring, which a person may have to unlock.
    Keyring,
    /// In the file.
    File,
}

impl SecretPlace {
    /// All of them.
    pub const ALL: [SecretPlace; 3] = [SecretPlace::Auto, SecretPlace::Keyring, SecretPlace::File];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            SecretPlace::Auto => "auto",
            SecretPlace::Keyring => "keyring",
            SecretPlace::File => "file",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// [`MailCode::Validation`] where there is none.
    pub fn named(name: &str) -> Result<Self, MailError> {
        let found = SecretPlace::ALL.into_iter().find(|place| place.name() == name);
        found.ok_or_else(|| {
            MailError::invalid(&format!(
                "secrets are kept in `auto`, `keyring` or `file`, and not in `{name}`"
            ))
        })
    }
}

impl Mailbox {
    /// Whether a secret was ever kept there: where none was, there is none to find, and nobody has to be asked
    /// for a passphrase.
    pub fn has_secrets(&self, place: SecretPlace) -> bool {
        let (in_file, in_keyring) = (self.secrets_file().exists(), is_in_keyring(self));
        match place {
            SecretPlace::Auto => in_file || in_keyring,
            SecretPlace::Keyring => in_keyring,
            SecretPlace::File => in_file,
        }
    }

    fn secrets_file(&self) -> PathBuf {
        self.file().with_file_name(FILE)
    }

    /// Where the secrets of this mailbox's accounts are. The passphrase is asked for a file alone.
    ///
    /// A keyring has three seconds to say that it is there, and 60 for everything else.
    ///
    /// # Errors
    /// What asking for the passphrase says; [`MailCode::Storage`] for a file that it does not
    /// open, and where a keyring is wanted that this build cannot speak with.
    pub fn secrets(
        &self,
        place: SecretPlace,
        passphrase: &dyn Fn() -> Result<Secret, MailError>,
    ) -> Result<Arc<dyn SecretStore>, MailError> {
        let path = self.secrets_file();
        let keyring = match place {
            SecretPlace::File => None,
            SecretPlace::Auto if path.exists() => None,
            SecretPlace::Auto => keyring_of(self, true)?,
            SecretPlace::Keyring => keyring_of(self, false)?,
        };
        match keyring {
            Some(keyring) => Ok(keyring),
            None => Ok(Arc::new(PassphraseFile::open(&path, passphrase()?)?)),
        }
    }
}

/// Whether secrets of the mailbox were put into the system's keyring.
#[cfg(all(feature = "keyring", target_os = "linux"))]
fn is_in_keyring(mailbox: &Mailbox) -> bool {
    keyring::Keyring::is_chosen(mailbox.file())
}

#[cfg(not(all(feature = "keyring", target_os = "linux")))]
fn is_in_keyring(_: &Mailbox) -> bool {
    false
}

/// The system's keyring; none where there need not be one, and is none.
#[cfg(all(feature = "keyring", target_os = "linux"))]
fn keyring_of(mailbox: &Mailbox, is_optional: bool) -> Result<Option<Arc<dyn SecretStore>>, MailError> {
    let keyring = keyring::Keyring::new(mailbox.file());
    let is_chosen = !is_optional || is_in_keyring(mailbox) || keyring.is_there();
    Ok(is_chosen.then(|| Arc::new(keyring) as Arc<dyn SecretStore>))
}

#[cfg(not(all(feature = "keyring", target_os = "linux")))]
fn keyring_of(_: &Mailbox, is_optional: bool) -> Result<Option<Arc<dyn SecretStore>>, MailError> {
    match is_optional {
        true => Ok(None),
        false => Err(unusable(&"this build cannot speak with a keyring")),
    }
}

fn unusable(reason: &dyn fmt::Display) -> MailError {
    MailError::new(MailCode::Storage, &format!("secrets cannot be kept: {reason}"))
}
