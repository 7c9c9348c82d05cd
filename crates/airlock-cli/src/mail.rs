//! The mailbox of the command's user: opened when it is first used, its secrets when one is.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use airlock_email::{
    Connector, MailService, Mailbox, OutboxWorker, Protocol, SecretPlace, SecretStore, SendRules,
    StoredCredentials,
};
use airlock_host::{
    AuditSink, Digest, GetMail, Gotten, Identity, ListMail, Listed, Mail, MailCode, MailError, MailFuture,
    OnAuditFailure, Permit, Replied, ReplyMail, SearchMail, Searched, Secret, SendMail, Sent, SyncMail,
    Synced,
};

use crate::printer::Printer;
use crate::spinner;

/// The folder of mail in that of data, and its database.
const FOLDER: &str = "mail";
const FILE: &str = "mail.db";

/// Where the passphrase is that secrets are kept under, for who is not there to be asked.
const PASSPHRASE: &str = "AIRLOCK_MAIL_PASSPHRASE";

/// Where secrets are kept, for who would have it otherwise than the operator's file says.
const PLACE: &str = "AIRLOCK_MAIL_SECRETS";

/// The prefix of PRX-Email's variables with tokens.
const TOKENS: &str = "PRX_EMAIL";

/// The mailbox of this user.
pub(crate) struct UserMail {
    file: PathBuf,
    rules: SendRules,
    secrets: SecretPlace,
    printer: Printer,
    audit: Option<(Arc<dyn AuditSink>, OnAuditFailure)>,
    opened: OnceLock<Opened>,
    opening: Mutex<()>,
}

/// What there is of an open mailbox.
pub(crate) struct Opened {
    pub(crate) service: MailService,
    pub(crate) credentials: Arc<StoredCredentials>,
    pub(crate) connector: Connector,
}

impl UserMail {
    /// That in this folder of data, the rules for what plugins send, where secrets are kept, and who
    /// tells what is odd.
    pub(crate) fn new(data: &Path, rules: SendRules, secrets: SecretPlace, printer: Printer) -> Self {
        let file = data.join(FOLDER).join(FILE);
        let (opened, opening) = (OnceLock::new(), Mutex::new(()));
        UserMail { file, rules, secrets, printer, audit: None, opened, opening }
    }

    /// Whether there is one in this folder of data.
    pub(crate) fn is_in(data: &Path) -> bool {
        data.join(FOLDER).join(FILE).exists()
    }

    /// The same, with what its user does in an audit log.
    pub(crate) fn recording(self, sink: Arc<dyn AuditSink>, on_failure: OnAuditFailure) -> Self {
        UserMail { audit: Some((sink, on_failure)), ..self }
    }

    /// The mailbox, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(&self) -> Result<&Opened, MailError> {
        // One at a time: two would each be asked for a passphrase.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        if let Some(folder) = self.file.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| unusable(&format!("`{}` cannot be made: {error}", folder.display())))?;
        }
        let mailbox = Arc::new(Mailbox::open(&self.file)?);
        let connector = Connector::default();
        let (opened, opening) = (OnceLock::new(), Mutex::new(()));
        let store = LazyStore { mailbox: mailbox.clone(), place: self.place()?, opened, opening };
        let store = Arc::new(store);
        let mut credentials = StoredCredentials::new(&mailbox, store, connector.clone());
        // PRX-Email has one account for them; here they are the only one's.
        match mailbox.accounts()?.as_slice() {
            [] => {}
            [account] => {
                credentials =
                    credentials.with_environment(account.id, TOKENS, |name| std::env::var(name).ok())?;
            }
            accounts => self.tell_of_tokens(accounts.len()),
        }
        let credentials = Arc::new(credentials);
        let service = MailService::new(mailbox, credentials.clone(), connector.clone(), self.rules.clone())?;
        let service = match &self.audit {
            Some((sink, on_failure)) => service.recording(sink.clone(), command(), *on_failure),
            None => service,
        };
        Ok(self.opened.get_or_init(|| Opened { service, credentials, connector }))
    }

    /// Says which tokens of the environment are nobody's, where there is not one account.
    fn tell_of_tokens(&self, accounts: usize) {
        for protocol in [Protocol::Imap, Protocol::Smtp] {
            let name = format!("{TOKENS}_{}_OAUTH_TOKEN", protocol.name().to_ascii_uppercase());
            if std::env::var(&name).is_ok_and(|token| !token.trim().is_empty()) {
                let reason = format!("it is for the only account, and there are {accounts}");
                self.printer.warning(&format!("`{name}` is not used: {reason}"));
            }
        }
    }

    /// Sends what is due as long as what it gives is kept, where there is an account that sends. Who starts
    /// it is asked nothing, so secrets under a passphrase that nobody said leave it out.
    ///
    /// # Errors
    /// When the mailbox cannot be opened.
    pub(crate) fn send_due(&self) -> Result<Option<OutboxWorker>, MailError> {
        let service = &self.open()?.service;
        let mailbox = service.mailbox();
        if mailbox.accounts()?.iter().all(|account| account.smtp.is_none()) {
            return Ok(None);
        }
        let in_file = self.place()? != SecretPlace::Keyring && mailbox.has_secrets(SecretPlace::File);
        if in_file && given_passphrase().is_none() {
            if mailbox.next_due()?.is_some() {
                let told = "what waits in the outbox of mail is not sent by this: it takes the passphrase in";
                self.printer.warning(&format!("{told} `{PASSPHRASE}`"));
            }
            return Ok(None);
        }
        service.start_outbox(|_| ()).map(Some)
    }

    /// Where secrets are kept.
    fn place(&self) -> Result<SecretPlace, MailError> {
        let said = std::env::var(PLACE).ok().filter(|said| !said.is_empty());
        said.map_or(Ok(self.secrets), |said| SecretPlace::named(&said))
    }

    /// The mailbox for a plugin: where there is none yet, there is no mail.
    fn service(&self) -> Result<&MailService, MailError> {
        match self.opened.get().is_some() || self.file.exists() {
            true => self.open().map(|opened| &opened.service),
            false => Err(MailError::no_mailbox()),
        }
    }

    fn with<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&'a MailService) -> MailFuture<'a, T>,
    ) -> MailFuture<'a, T> {
        match self.service() {
            Ok(service) => work(service),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl fmt::Debug for UserMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserMail").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Mail for UserMail {
    fn sync<'a>(&'a self, permit: &'a Permit, request: &'a SyncMail) -> MailFuture<'a, Synced> {
        self.with(|service| service.sync(permit, request))
    }

    fn list<'a>(&'a self, permit: &'a Permit, request: &'a ListMail) -> MailFuture<'a, Listed> {
        self.with(|service| service.list(permit, request))
    }

    fn get<'a>(&'a self, permit: &'a Permit, request: &'a GetMail) -> MailFuture<'a, Gotten> {
        self.with(|service| service.get(permit, request))
    }

    fn search<'a>(&'a self, permit: &'a Permit, request: &'a SearchMail) -> MailFuture<'a, Searched> {
        self.with(|service| service.search(permit, request))
    }

    fn send<'a>(&'a self, permit: &'a Permit, request: &'a SendMail) -> MailFuture<'a, Sent> {
        self.with(|service| service.send(permit, request))
    }

    fn reply<'a>(&'a self, permit: &'a Permit, request: &'a ReplyMail) -> MailFuture<'a, Replied> {
        self.with(|service| service.reply(permit, request))
    }
}

/// Secrets that are looked for when one is first needed: reading mail needs none.
#[derive(Debug)]
struct LazyStore {
    mailbox: Arc<Mailbox>,
    place: SecretPlace,
    opened: OnceLock<Arc<dyn SecretStore>>,
    opening: Mutex<()>,
}

impl LazyStore {
    /// Where they are, if there can be any.
    fn existing(&self) -> Result<Option<&Arc<dyn SecretStore>>, MailError> {
        match self.opened.get().is_some() || self.mailbox.has_secrets(self.place) {
            true => self.open().map(Some),
            false => Ok(None),
        }
    }

    fn open(&self) -> Result<&Arc<dyn SecretStore>, MailError> {
        // Several accounts may need theirs at once, and a person is asked once.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.opened.get() {
            return Ok(store);
        }
        let store = self.mailbox.secrets(self.place, &passphrase)?;
        Ok(self.opened.get_or_init(|| store))
    }
}

impl SecretStore for LazyStore {
    fn get(&self, name: &str) -> Result<Option<Secret>, MailError> {
        self.existing()?.map_or(Ok(None), |store| store.get(name))
    }

    fn set(&self, name: &str, secret: &Secret) -> Result<(), MailError> {
        self.open()?.set(name, secret)
    }

    fn remove(&self, name: &str) -> Result<(), MailError> {
        self.existing()?.map_or(Ok(()), |store| store.remove(name))
    }
}

/// Who does something with the command, in the audit log. No plugin has such a name.
fn command() -> Identity {
    let version = concat!("airlock ", env!("CARGO_PKG_VERSION"));
    Identity { name: "airlock email".to_owned(), digest: Digest::of(version.as_bytes()) }
}

/// What secrets are kept under where there is no keyring.
fn passphrase() -> Result<Secret, MailError> {
    if let Some(given) = given_passphrase() {
        return Ok(Secret::new(given));
    }
    if !std::io::stdin().is_terminal() {
        let reason = "there is no keyring for secrets of mail, and nobody to ask for a passphrase; set";
        return Err(unusable(&format!("{reason} `{PASSPHRASE}`")));
    }
    let question = "Passphrase of the secrets of mail (not shown): ";
    let typed = spinner::suspended(|| rpassword::prompt_password(question));
    let typed = typed.map_err(|error| unusable(&format!("the passphrase cannot be read: {error}")))?;
    Ok(Secret::new(typed))
}

/// The passphrase in the environment.
fn given_passphrase() -> Option<String> {
    std::env::var(PASSPHRASE).ok().filter(|given| !given.is_empty())
}

fn unusable(reason: &str) -> MailError {
    MailError::new(MailCode::Storage, reason)
}
