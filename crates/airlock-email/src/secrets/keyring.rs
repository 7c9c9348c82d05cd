//! Secrets in the keyring of the system: the Secret Service of a desktop (GNOME's, KDE's, KeePassXC),
//! which is spoken to over D-Bus.
//!
//! Whoever serves it may wait for a person, or for nothing at all. So a thread speaks with it, and
//! whoever asks that thread waits so long and no longer.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airlock_core::{MailError, Secret};
use airlock_files::Folder;
use secret_service::EncryptionType;
use secret_service::blocking::{Collection, SecretService};

use super::{SecretStore, unusable};

/// How long it may take to answer, and a person to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to say whether it is there.
const DETECTION: Duration = Duration::from_secs(3);

/// What the file is called, beside the mailbox, that says that its secrets are in the keyring.
const MARK: &str = "mail-secrets.keyring";

/// Something that the thread is to do.
type Task = Box<dyn FnOnce(&SecretService<'_>) + Send>;

/// Secrets in the collection that the system has for those of which nothing else is said.
///
/// Each has its name and the path of its mailbox as attributes, and a label for people.
pub(super) struct Keyring {
    /// The folder and the path of the mailbox.
    folder: PathBuf,
    mailbox: String,
    line: Mutex<Line>,
}

/// The way to the thread.
#[derive(Default)]
struct Line {
    tasks: Option<Sender<Task>>,
    /// Dropped by a thread when it ends.
    alive: std::sync::Weak<()>,
}

impl Keyring {
    /// That for the mailbox in this file; it is not spoken to yet.
    pub(super) fn new(mailbox: &Path) -> Self {
        let folder = mailbox.parent().unwrap_or(Path::new("/")).to_owned();
        Keyring { folder, mailbox: mailbox.display().to_string(), line: Mutex::default() }
    }

    /// Whether the secrets of the mailbox are here.
    pub(super) fn is_chosen(mailbox: &Path) -> bool {
        mailbox.with_file_name(MARK).exists()
    }

    /// Whether there is one that can be used without asking a person.
    pub(super) fn is_there(&self) -> bool {
        let found = self.ask(DETECTION, |service| Ok(!service.get_default_collection()?.is_locked()?));
        if let Err(error) = &found {
            tracing::debug!(%error, "there is no keyring");
        }
        found.unwrap_or(false)
    }

    /// Has the thread do something with the collection, once it is unlocked.
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Collection<'_>) -> Result<T, secret_service::Error> + Send + 'static,
    ) -> Result<T, MailError> {
        self.ask(PATIENCE, |service| {
            let collection = service.get_default_collection()?;
            if collection.is_locked()? {
                collection.unlock()?;
            }
            work(&collection)
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&SecretService<'_>) -> Result<T, secret_service::Error> + Send + 'static,
    ) -> Result<T, MailError> {
        let (told, answer) = channel();
        let task: Task = Box::new(move |service| {
            // Who asked may not wait any more.
            let _ = told.send(work(service));
        });
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.hand_over(task)?;
        match answer.recv_timeout(patience) {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(RecvTimeoutError::Timeout) => {
                line.tasks = None;
                Err(failed(&format!("it did not answer for {patience:?}")))
            }
            // The thread had nobody to speak with.
            Err(RecvTimeoutError::Disconnected) => {
                line.tasks = None;
                Err(failed(&"there is none that answers"))
            }
        }
    }

    /// What a secret is found by.
    fn attributes(&self, name: &str) -> HashMap<String, String> {
        let pairs = [("application", "airlock"), ("mailbox", self.mailbox.as_str()), ("name", name)];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Notes that the secrets are here.
    fn mark(&self) -> Result<(), MailError> {
        let folder = Folder::private(&self.folder).map_err(|error| unusable(&error))?;
        folder.put_new(MARK, &[]).map(drop).map_err(|error| unusable(&error))
    }
}

impl Line {
    fn hand_over(&mut self, task: Task) -> Result<(), MailError> {
        let task = match &self.tasks {
            None => task,
            Some(tasks) => match tasks.send(task) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.0,
            },
        };
        // One that hangs may do so for ever: there are not to be more and more of them.
        if self.alive.strong_count() > 0 {
            return Err(failed(&"it did not answer before, and still does not"));
        }
        let alive = Arc::new(());
        self.alive = Arc::downgrade(&alive);
        let (tasks, asked) = channel();
        let run = move || {
            serve(&asked);
            drop(alive);
        };
        std::thread::Builder::new().name("keyring".to_owned()).spawn(run).map_err(|error| failed(&error))?;
        let _ = tasks.send(task);
        self.tasks = Some(tasks);
        Ok(())
    }
}

/// Does what is asked until nobody can ask any more.
fn serve(asked: &Receiver<Task>) {
    match SecretService::connect(EncryptionType::Dh) {
        Ok(service) => asked.iter().for_each(|task| task(&service)),
        Err(error) => tracing::debug!(%error, "no keyring"),
    }
}

impl SecretStore for Keyring {
    fn get(&self, name: &str) -> Result<Option<Secret>, MailError> {
        let attributes = self.attributes(name);
        let found = self.with(move |collection| {
            let found = collection.search_items(borrowed(&attributes))?;
            found.first().map(|item| item.get_secret()).transpose()
        })?;
        let text = found.map(String::from_utf8).transpose();
        let text = text.map_err(|_| unusable(&"what is in the keyring is no text"))?;
        Ok(text.map(Secret::new))
    }

    fn set(&self, name: &str, secret: &Secret) -> Result<(), MailError> {
        // Before: a secret that is here and not known to be would be looked for elsewhere.
        self.mark()?;
        let (attributes, secret) = (self.attributes(name), secret.clone());
        let label = format!("Airlock mail: {name}");
        self.with(move |collection| {
            let (value, replaces) = (secret.reveal().as_bytes(), true);
            collection.create_item(&label, borrowed(&attributes), value, replaces, "text/plain").map(drop)
        })
    }

    fn remove(&self, name: &str) -> Result<(), MailError> {
        let attributes = self.attributes(name);
        self.with(move |collection| {
            collection.search_items(borrowed(&attributes))?.iter().try_for_each(|item| item.delete())
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

fn borrowed(attributes: &HashMap<String, String>) -> HashMap<&str, &str> {
    attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn failed(reason: &dyn fmt::Display) -> MailError {
    unusable(&format!("the system's keyring: {reason}"))
}
