//! How servers are spoken to, and with which credentials.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airlock_core::{MailCode, MailError, Secret};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::{Account, Protocol};

/// How long a server may take for each of its answers, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to hand a message to a server, where nothing else is said: 50 MB at half
/// a megabit a second.
const DEADLINE: Duration = Duration::from_secs(900);

/// Configurations of TLS that are kept: one for each list of an account's authorities.
const CONFIGS: usize = 64;

/// Where passwords and tokens are found, which no database of this crate holds.
pub trait Credentials: Send + Sync + fmt::Debug {
    /// What the account logs in with: a password, or a token where its server wants one.
    ///
    /// # Errors
    /// When there is none, or it cannot be looked up.
    fn secret(&self, account: &Account, protocol: Protocol) -> Result<Secret, MailError>;

    /// Asked when a server did not take that secret: whether there may be another one now.
    fn renew(&self, account: &Account, protocol: Protocol) -> bool {
        let _ = (account, protocol);
        false
    }
}

/// How servers are spoken to.
#[derive(Clone)]
pub struct Connector {
    patience: Duration,
    deadline: Duration,
    /// PEM.
    authorities: Vec<Arc<[u8]>>,
    configs: Arc<Mutex<Vec<Known>>>,
}

/// A configuration of TLS, by the authorities that it trusts beside the system's.
type Known = (Vec<Arc<[u8]>>, Arc<ClientConfig>);

impl Default for Connector {
    fn default() -> Self {
        Connector { patience: PATIENCE, deadline: DEADLINE, authorities: Vec::new(), configs: Arc::default() }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Connector {
    /// The same, waiting so long for each answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Connector { patience, ..self }
    }

    /// The same, in which handing a message to a server takes so long at most, from the connection
    /// to the last answer; 900 seconds where nothing is said.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Connector { deadline, ..self }
    }

    /// The same, which also trusts servers of these authorities, beside those of the system.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what is no certificate in PEM.
    pub fn with_authorities(mut self, pem: &[u8]) -> Result<Self, MailError> {
        check(pem)?;
        self.authorities.push(pem.into());
        Ok(self)
    }

    /// The same for the servers of this account, which may be of authorities of its own.
    pub(crate) fn of(&self, account: &Account) -> Result<Self, MailError> {
        match &account.authorities {
            None => Ok(self.clone()),
            Some(pem) => self.clone().with_authorities(pem.as_bytes()),
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    fn ders(&self) -> Result<Vec<CertificateDer<'static>>, MailError> {
        let read = self.authorities.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem));
        read.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
    }

    /// What connections are encrypted with. Made once: a system has a hundred authorities and more, and
    /// a session that is taken up again needs fewer steps.
    pub(crate) fn tls_config(&self) -> Result<Arc<ClientConfig>, MailError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(known, _)| *known == self.authorities) {
            return Ok(config.clone());
        }
        let unusable = |error: &dyn fmt::Display| {
            MailError::new(MailCode::Network, &format!("nothing can be encrypted: {error}"))
        };
        let mut roots = RootCertStore::empty();
        // Systems keep some that no longer are valid.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for der in self.ders()? {
            roots.add(der).map_err(|error| unusable(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        if configs.len() == CONFIGS {
            configs.clear();
        }
        configs.push((self.authorities.clone(), config.clone()));
        Ok(config)
    }
}

/// Refuses what is not one certificate in PEM or more.
pub(crate) fn check(pem: &[u8]) -> Result<(), MailError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if !read.is_empty() => {
            let mut roots = RootCertStore::empty();
            read.into_iter().try_for_each(|der| roots.add(der)).map_err(|error| unreadable(&error))
        }
        Ok(_) => Err(unreadable(&"there is none in it")),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &dyn fmt::Display) -> MailError {
    MailError::invalid(&format!("this is no certificate: {error}"))
}
