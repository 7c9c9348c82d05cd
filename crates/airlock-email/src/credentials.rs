//! The credentials of accounts: passwords as they are kept, tokens that are always fresh.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::{MailCode, MailError, Secret};
use airlock_files::{Folder, Lock};

use crate::oauth::{OauthLogin, Tokens};
use crate::{Account, Auth, Connector, Credentials, Mailbox, Protocol, SecretStore, Stop};

/// Passwords and tokens of a mailbox's accounts, in a store.
///
/// A token that ends within a minute is renewed before it is handed out: once, however many
/// threads and processes want it, and what comes with it for the next time is kept.
pub struct StoredCredentials {
    store: Arc<dyn SecretStore>,
    connector: Connector,
    folder: PathBuf,
    given: BTreeMap<(i64, &'static str), Tokens>,
    /// The tokens that were handed out last.
    last: Mutex<BTreeMap<i64, Secret>>,
}

impl fmt::Debug for StoredCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredentials").field("store", &self.store).finish_non_exhaustive()
    }
}

impl StoredCredentials {
    /// Those of this mailbox's accounts; providers of tokens are spoken to as the connector does.
    pub fn new(mailbox: &Mailbox, store: Arc<dyn SecretStore>, connector: Connector) -> Self {
        let folder = mailbox.file().parent().unwrap_or(std::path::Path::new("/")).to_owned();
        StoredCredentials { store, connector, folder, given: BTreeMap::new(), last: Mutex::default() }
    }

    /// The same with the tokens that PRX-Email's variables give for an account, which go before
    /// what is kept: `{prefix}_IMAP_OAUTH_TOKEN`, `{prefix}_IMAP_OAUTH_EXPIRES_AT` in Unix
    /// seconds, and the same with `SMTP`. PRX's prefix is `PRX_EMAIL`.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for an end that is no number.
    pub fn with_environment(
        mut self,
        account: i64,
        prefix: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, MailError> {
        for protocol in [Protocol::Imap, Protocol::Smtp] {
            let name = format!("{prefix}_{}_OAUTH", protocol.name().to_ascii_uppercase());
            let Some(token) = variable(&format!("{name}_TOKEN")).filter(|token| !token.trim().is_empty())
            else {
                continue;
            };
            let end = variable(&format!("{name}_EXPIRES_AT")).filter(|end| !end.trim().is_empty());
            let end = end.map(|end| end.trim().parse()).transpose();
            let expires_at = end.map_err(|_| {
                MailError::invalid(&format!("{name}_EXPIRES_AT has to be a number of seconds"))
            })?;
            let tokens = Tokens { access: Secret::new(token.trim()), refresh: None, expires_at };
            self.given.insert((account, protocol.name()), tokens);
        }
        Ok(self)
    }

    /// Keeps the password of an account: of one of its servers, or of both.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be kept.
    pub fn set_password(
        &self,
        account: &Account,
        of: Option<Protocol>,
        password: &Secret,
    ) -> Result<(), MailError> {
        [Protocol::Imap, Protocol::Smtp]
            .into_iter()
            .filter(|protocol| of.is_none_or(|of| of == *protocol))
            .try_for_each(|protocol| self.store.set(&name(account, protocol.name()), password))
    }

    /// Keeps the tokens of an account.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when they cannot be kept.
    pub fn set_tokens(&self, account: &Account, tokens: &Tokens) -> Result<(), MailError> {
        let _lock = self.lock(account)?;
        self.store.set(&name(account, "oauth"), &tokens.to_secret()?)
    }

    /// Keeps the secret of the client that asks an account's provider for tokens.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be kept.
    pub fn set_client_secret(&self, account: &Account, secret: &Secret) -> Result<(), MailError> {
        self.store.set(&name(account, "client"), secret)
    }

    /// The secret of the client that asks an account's provider for tokens.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be looked up.
    pub fn client_secret(&self, account: &Account) -> Result<Option<Secret>, MailError> {
        self.store.get(&name(account, "client"))
    }

    /// Forgets that secret: what another provider may not be told.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be removed.
    pub fn forget_client_secret(&self, account: &Account) -> Result<(), MailError> {
        self.store.remove(&name(account, "client"))
    }

    /// Forgets all that is kept of an account.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it cannot be removed.
    pub fn forget(&self, account: &Account) -> Result<(), MailError> {
        ["imap", "smtp", "oauth", "client"]
            .into_iter()
            .try_for_each(|of| self.store.remove(&name(account, of)))
    }

    fn password(&self, account: &Account, protocol: Protocol) -> Result<Secret, MailError> {
        let found = self.store.get(&name(account, protocol.name()))?;
        found.ok_or_else(|| missing("password", account, protocol, "set one"))
    }

    fn token(&self, account: &Account, protocol: Protocol) -> Result<Secret, MailError> {
        if let Some(given) = self.given.get(&(account.id, protocol.name())) {
            return match given.is_old() {
                true => Err(expired(protocol)),
                false => Ok(given.access.clone()),
            };
        }
        let tokens = self.tokens(account, protocol)?;
        let tokens = match tokens.is_old() {
            false => tokens,
            true => {
                // Whoever comes second finds what the first one has got.
                let _lock = self.lock(account)?;
                let tokens = self.tokens(account, protocol)?;
                match tokens.is_old() {
                    true => self.renewed(account, &tokens)?.ok_or_else(|| expired(protocol))?,
                    false => tokens,
                }
            }
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(account.id, tokens.access.clone());
        Ok(tokens.access)
    }

    fn tokens(&self, account: &Account, protocol: Protocol) -> Result<Tokens, MailError> {
        let kept = self
            .store
            .get(&name(account, "oauth"))?
            .ok_or_else(|| missing("token", account, protocol, "log in"))?;
        Tokens::of_secret(&kept)
    }

    /// Gets new tokens and keeps them; none where there is nobody to get them from.
    fn renewed(&self, account: &Account, tokens: &Tokens) -> Result<Option<Tokens>, MailError> {
        let Some(provider) = &account.oauth else { return Ok(None) };
        let client_secret = self.client_secret(account)?;
        let connector = self.connector.of(account)?;
        let stop = Stop::new();
        let login = OauthLogin {
            provider,
            client_secret: client_secret.as_ref(),
            connector: &connector,
            stop: &stop,
        };
        let Some(renewed) = login.renew(tokens)? else { return Ok(None) };
        // Before it is used: what it was got with may be worth nothing any more.
        self.store.set(&name(account, "oauth"), &renewed.to_secret()?)?;
        Ok(Some(renewed))
    }

    fn lock(&self, account: &Account) -> Result<Lock, MailError> {
        let lock = Folder::private(&self.folder).and_then(|folder| {
            folder.make_folder("oauth")?.lock(&format!("{}.lock", account.id.rem_euclid(256)))
        });
        lock.map_err(|error| MailError::new(MailCode::Storage, &format!("tokens cannot be locked: {error}")))
    }
}

impl Credentials for StoredCredentials {
    fn secret(&self, account: &Account, protocol: Protocol) -> Result<Secret, MailError> {
        let server = match protocol {
            Protocol::Imap => account.imap.as_ref(),
            Protocol::Smtp => account.smtp.as_ref(),
        };
        match server.map(|server| server.auth) {
            Some(Auth::Xoauth2 | Auth::OauthBearer) => self.token(account, protocol),
            _ => self.password(account, protocol),
        }
    }

    fn renew(&self, account: &Account, protocol: Protocol) -> bool {
        if self.given.contains_key(&(account.id, protocol.name())) {
            return false;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&account.id).cloned();
        let renewed = || {
            let _lock = self.lock(account)?;
            let tokens = self.tokens(account, protocol)?;
            match last.as_ref() == Some(&tokens.access) {
                true => Ok(self.renewed(account, &tokens)?.is_some()),
                false => Ok(true),
            }
        };
        renewed().unwrap_or_else(|error: MailError| {
            tracing::warn!(%error, account = account.id, "no new token");
            false
        })
    }
}

/// What a secret of an account is called: by its address, which stays when it is made anew.
fn name(account: &Account, of: &str) -> String {
    format!("{} {of}", account.email)
}

fn missing(what: &str, account: &Account, protocol: Protocol, remedy: &str) -> MailError {
    MailError::invalid(&format!("there is no {} {what} of `{}`: {remedy}", protocol.name(), account.name))
}

fn expired(protocol: Protocol) -> MailError {
    // PRX's words.
    let told = format!("{} oauth token expired and no refresh provider configured", protocol.name());
    MailError::new(MailCode::Provider, &told)
}
