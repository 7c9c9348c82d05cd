//! Secrets in a file of the data folder that only its user can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use airlock_core::{
    Credential, Error, ErrorKind, Permit, Redactor, Result, Scheme, Secret, Secrets, ServiceError,
};
use airlock_files::{Folder, read_small};
use serde::{Deserialize, Serialize};

/// The file's name in the data folder.
const FILE: &str = "secrets.toml";

/// The lock of who changes it.
const LOCK: &str = "secrets.lock";

/// Bytes of the file: thousands of tokens and keys.
const MAX_BYTES: u64 = 1 << 20;

/// The secrets of a data folder. They are kept as they are, in a file of mode 0600: what
/// protects them is who the file belongs to, as it is for keys of SSH. A plugin is granted no
/// file of Airlock's own.
#[derive(Debug)]
pub struct SecretFile {
    data: PathBuf,
    credentials: Vec<Credential>,
    redactor: Redactor,
    read: Mutex<Option<(SystemTime, BTreeMap<String, Secret>)>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    secrets: BTreeMap<String, String>,
}

impl SecretFile {
    /// The secrets of the data folder, which need not be there yet; with every secret that is
    /// handed out made known to `redactor`.
    pub fn new(data: &Path, redactor: Redactor) -> Self {
        let (data, credentials) = (data.to_owned(), Vec::new());
        SecretFile { data, credentials, redactor, read: Mutex::default() }
    }

    /// The same with headers that requests carry.
    #[must_use]
    pub fn with_credentials(mut self, credentials: impl IntoIterator<Item = Credential>) -> Self {
        self.credentials.extend(credentials);
        self
    }

    /// Keeps a secret under this name, in place of one that was there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a name that a capability could not call it by; when
    /// the file cannot be trusted or written.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let named: std::result::Result<airlock_core::NamePattern, String> = name.parse();
        let reason = match named {
            Ok(pattern) if pattern.exact().is_some() && !name.contains(['{', '}']) => None,
            Ok(_) => Some("a secret's name has no `*`, `{` and `}`".to_owned()),
            Err(reason) => Some(reason),
        };
        if let Some(reason) = reason {
            return Err(Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason }));
        }
        self.change(|secrets| secrets.insert(name.to_owned(), value.to_owned()).is_some()).map(|_| ())
    }

    /// Forgets a secret, and says whether there was one.
    ///
    /// # Errors
    /// When the file cannot be trusted or written.
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.change(|secrets| secrets.remove(name).is_some())
    }

    /// The names of all secrets, sorted.
    ///
    /// # Errors
    /// When the file cannot be trusted or read.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.content(&self.folder()?)?.secrets.into_keys().collect())
    }

    fn folder(&self) -> Result<Folder> {
        Folder::private(&self.data).map_err(|error| self.failed(&error))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) -> Result<bool> {
        let folder = self.folder()?;
        let _lock = folder.lock(LOCK).map_err(|error| self.failed(&error))?;
        let mut content = self.content(&folder)?;
        let changed = change(&mut content.secrets);
        let text = toml::to_string(&content)
            .map_err(|error| Error::host("secrets cannot be written").with_source(error))?;
        if text.len() as u64 > MAX_BYTES {
            let (path, reason) = (self.data.join(FILE), "it would be too large".to_owned());
            return Err(Error::new(ErrorKind::StateUnusable { path, reason }));
        }
        folder.put_durably(FILE, text.as_bytes()).map_err(|error| self.failed(&error))?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(changed)
    }

    fn content(&self, folder: &Folder) -> Result<Content> {
        let Some((file, metadata)) = folder.file(FILE).map_err(|error| self.failed(&error))? else {
            return Ok(Content::default());
        };
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            if mode & 0o077 != 0 {
                let reason = format!("others can read it (mode {:04o})", mode & 0o7777);
                return Err(Error::new(ErrorKind::StateUntrusted { path: self.data.join(FILE), reason }));
            }
        }
        let bytes = read_small(file, MAX_BYTES).map_err(|error| self.failed(&error))?;
        // What the parser says may quote the line, and so a secret.
        let unreadable = || {
            let (path, reason) = (self.data.join(FILE), "it is no TOML with a table `secrets`".to_owned());
            Error::new(ErrorKind::StateUnusable { path, reason })
        };
        let text = String::from_utf8(bytes).map_err(|_| unreadable())?;
        toml::from_str(&text).map_err(|_| unreadable())
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        let (path, reason) = (self.data.join(FILE), error.to_string());
        Error::new(match error.kind() {
            std::io::ErrorKind::PermissionDenied => ErrorKind::StateUntrusted { path, reason },
            _ => ErrorKind::StateUnusable { path, reason },
        })
    }

    /// A secret as the file has it now.
    fn look_up(&self, name: &str) -> std::result::Result<Option<Secret>, ServiceError> {
        let unavailable = |error: Error| ServiceError::Unavailable(error.to_string());
        let folder = self.folder().map_err(unavailable)?;
        let modified = folder
            .file(FILE)
            .map_err(|error| unavailable(self.failed(&error)))?
            .and_then(|(_, metadata)| metadata.modified().ok());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = read.as_ref().is_some_and(|(at, _)| Some(*at) == modified);
        if !is_fresh {
            let secrets = self.content(&folder).map_err(unavailable)?.secrets;
            let secrets = secrets.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
            *read = Some((modified.unwrap_or(SystemTime::UNIX_EPOCH), secrets));
        }
        let found = read.as_ref().and_then(|(_, secrets)| secrets.get(name).cloned());
        if let Some(secret) = &found {
            self.redactor.know(name, secret);
        }
        Ok(found)
    }
}

impl Secrets for SecretFile {
    fn get(&self, permit: &Permit, name: &str) -> std::result::Result<Option<Secret>, ServiceError> {
        permit.check()?;
        self.look_up(name)
    }

    fn credentials(
        &self,
        permit: &Permit,
        scheme: Scheme,
        host: &str,
        port: u16,
    ) -> std::result::Result<Vec<(String, Secret)>, ServiceError> {
        let plugin = permit.caller().name.as_str();
        let rendered = self.credentials.iter().map(|credential| {
            let rendered = credential.render(plugin, (scheme, host, port), |name| self.look_up(name))?;
            if let Some((header, value)) = &rendered {
                self.redactor.know(header, value);
            }
            Ok(rendered)
        });
        rendered.filter_map(Result::transpose).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use airlock_core::Redactor;

    use super::{FILE, SecretFile};

    #[test]
    fn secrets_are_kept_for_their_user_alone_and_are_in_no_error() {
        let home = tempfile::tempdir().expect("a folder");
        let redactor = Redactor::new();
        let secrets = SecretFile::new(home.path(), redactor.clone());
        assert_eq!(secrets.names().expect("none yet"), [""; 0]);
        secrets.set("TOKEN", "hunter2-hunter2").expect("kept");
        secrets.set("OTHER", "x\ny \"z\"").expect("kept");
        assert_eq!(secrets.names().expect("two"), ["OTHER", "TOKEN"]);
        let mode = home.path().join(FILE).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let value =
            |name: &str| secrets.look_up(name).expect("readable").map(|secret| secret.reveal().to_owned());
        assert_eq!(value("TOKEN").as_deref(), Some("hunter2-hunter2"));
        assert_eq!(value("OTHER").as_deref(), Some("x\ny \"z\""));
        assert_eq!(redactor.redact("it is hunter2-hunter2"), "it is [secret TOKEN]");
        assert!(secrets.remove("TOKEN").expect("changed") && !secrets.remove("TOKEN").expect("unchanged"));
        assert_eq!(value("TOKEN"), None);
        for name in ["", "A*", "A B", "{A}", "A=B"] {
            assert_eq!(secrets.set(name, "x").expect_err(name).code(), "invalid-setting");
        }
        std::fs::write(home.path().join(FILE), "secrets = \"hunter3\"\n").expect("written");
        let error = secrets.names().expect_err("damaged");
        assert!(error.code() == "state-unusable" && !format!("{error:?}").contains("hunter3"), "{error:?}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let secrets = SecretFile::new(home.path(), Redactor::new());
        secrets.set("TOKEN", "hunter2").expect("kept");
        let path = home.path().join(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
        let error = secrets.names().expect_err("refused");
        assert_eq!(error.code(), "state-untrusted");
        assert!(secrets.look_up("TOKEN").expect_err("refused").to_string().contains("others can read it"));
    }
}
