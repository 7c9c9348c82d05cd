//! Secrets in a file of mode 0600, encrypted with a passphrase in the format of `age`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use age::scrypt::{Identity, Recipient};
use age::secrecy::SecretString;
use airlock_core::{MailError, Secret};
use airlock_files::{Folder, read_small};

use super::{SecretStore, unusable};

/// Bytes of the file: thousands of tokens.
const MAX_BYTES: u64 = 1 << 20;

/// Rounds of a guess, as a power of two: about a second (age's own choice for a machine of today).
const WORK: u8 = 18;

/// Rounds that a file may want at most.
const MOST_WORK: u8 = 22;

/// Secrets in a file, which `age --decrypt` reads too: a JSON object. Once it is opened it is
/// kept in memory, and read again when another process has changed it.
pub struct PassphraseFile {
    path: PathBuf,
    passphrase: Secret,
    work: u8,
    read: Mutex<Option<(SystemTime, BTreeMap<String, Secret>)>>,
}

impl PassphraseFile {
    /// The secrets of this file, which need not be there yet.
    ///
    /// # Errors
    /// [`MailCode::Storage`](airlock_core::MailCode::Storage) for a passphrase that does not open
    /// it or is empty, and a file that others can write to or that is damaged.
    pub fn open(path: &Path, passphrase: Secret) -> Result<Self, MailError> {
        PassphraseFile::with_work(path, passphrase, WORK)
    }

    /// The same, where a guess of the passphrase costs two to the power of `work` rounds.
    ///
    /// # Errors
    /// As [`PassphraseFile::open`].
    pub fn with_work(path: &Path, passphrase: Secret, work: u8) -> Result<Self, MailError> {
        if passphrase.reveal().is_empty() {
            return Err(unusable(&"the passphrase is empty"));
        }
        let work = work.clamp(1, MOST_WORK);
        let file = PassphraseFile { path: path.to_owned(), passphrase, work, read: Mutex::default() };
        file.known()?;
        Ok(file)
    }

    fn folder(&self) -> Result<(Folder, String), MailError> {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| unusable(&"the file's name is no text"))?;
        let parent = self.path.parent().unwrap_or(Path::new("."));
        let folder = Folder::private(parent).map_err(|error| unusable(&error))?;
        Ok((folder, name.to_owned()))
    }

    /// What is in the file.
    fn known(&self) -> Result<BTreeMap<String, Secret>, MailError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (folder, name) = self.folder()?;
        let Some((file, metadata)) = folder.file(&name).map_err(|error| unusable(&error))? else {
            return Ok(BTreeMap::new());
        };
        let modified = metadata.modified().map_err(|error| unusable(&error))?;
        if let Some((known, secrets)) = &*read
            && *known == modified
        {
            return Ok(secrets.clone());
        }
        let bytes = read_small(file, MAX_BYTES).map_err(|error| unusable(&error))?;
        let secrets = self.decrypt(&bytes)?;
        *read = Some((modified, secrets.clone()));
        Ok(secrets)
    }

    fn decrypt(&self, bytes: &[u8]) -> Result<BTreeMap<String, Secret>, MailError> {
        let mut identity = Identity::new(SecretString::from(self.passphrase.reveal()));
        identity.set_max_work_factor(MOST_WORK);
        let text = age::decrypt(&identity, bytes);
        let text =
            text.map_err(|_| unusable(&format!("the passphrase does not open `{}`", self.path.display())))?;
        let secrets: BTreeMap<String, String> = serde_json::from_slice(&text)
            .map_err(|_| unusable(&"what is in the file is not what is kept there"))?;
        Ok(secrets.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect())
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Secret>) -> bool) -> Result<(), MailError> {
        let (folder, name) = self.folder()?;
        let _lock = folder.lock(&format!("{name}.lock")).map_err(|error| unusable(&error))?;
        let mut secrets = self.known()?;
        if !change(&mut secrets) {
            return Ok(());
        }
        let revealed: BTreeMap<&str, &str> =
            secrets.iter().map(|(name, secret)| (name.as_str(), secret.reveal())).collect();
        let text = serde_json::to_vec(&revealed).map_err(|error| unusable(&error))?;
        let mut recipient = Recipient::new(SecretString::from(self.passphrase.reveal()));
        recipient.set_work_factor(self.work);
        let bytes = age::encrypt(&recipient, &text).map_err(|error| unusable(&error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unusable(&"there are too many"));
        }
        folder.put_durably(&name, &bytes).map_err(|error| unusable(&error))?;
        let modified = folder.facts(&name).map_err(|error| unusable(&error))?.modified;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((modified, secrets));
        Ok(())
    }
}

impl SecretStore for PassphraseFile {
    fn get(&self, name: &str) -> Result<Option<Secret>, MailError> {
        Ok(self.known()?.remove(name))
    }

    fn set(&self, name: &str, secret: &Secret) -> Result<(), MailError> {
        self.change(|secrets| secrets.insert(name.to_owned(), secret.clone()).as_ref() != Some(secret))
    }

    fn remove(&self, name: &str) -> Result<(), MailError> {
        self.change(|secrets| secrets.remove(name).is_some())
    }
}

impl fmt::Debug for PassphraseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassphraseFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::{MailCode, Secret};

    use super::{PassphraseFile, SecretStore};

    #[test]
    fn secrets_are_kept_encrypted_and_only_the_passphrase_opens_them() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("s.age");
        let open = |passphrase: &str| PassphraseFile::with_work(&path, Secret::new(passphrase), 4);
        let file = open("open sesame").expect("new");
        assert_eq!(file.get("a").expect("asked"), None);
        file.set("a", &Secret::new("canary-1")).expect("kept");
        // Another process has it open too.
        let other = open("open sesame").expect("there");
        other.set("b", &Secret::new("canary-2")).expect("kept");
        assert_eq!(file.get("b").expect("asked"), Some(Secret::new("canary-2")));
        file.remove("b").expect("removed");
        assert_eq!(
            (other.get("a").expect("asked"), other.get("b").expect("asked")),
            (Some(Secret::new("canary-1")), None)
        );
        let bytes = std::fs::read(&path).expect("there");
        assert!(bytes.starts_with(b"age-encryption.org/v1\n-> scrypt "));
        assert!(memchr::memmem::find(&bytes, b"canary").is_none());
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        for wrong in ["open sesamo", ""] {
            assert_eq!(open(wrong).expect_err("wrong").code(), MailCode::Storage);
        }
        assert!(!format!("{file:?}").contains("sesame"));
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("cut");
        assert!(open("open sesame").is_err());
    }
}
