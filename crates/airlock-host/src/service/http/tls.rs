//! Encryption, and whom to believe.

use std::fmt;
use std::sync::Arc;

use airlock_core::ServiceError;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The certificates that servers are measured by, read when the first server is.
///
/// They are the system's, not a list of our own: that is where an operator adds the authority
/// of a company and takes one away that is not trusted, and it is updated without us.
pub(super) struct Tls {
    added: Vec<CertificateDer<'static>>,
    system: bool,
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    pub(super) fn new() -> Self {
        Tls { added: Vec::new(), system: true, connector: OnceCell::new() }
    }

    /// Believes these as well, which are PEM text or one certificate's DER bytes.
    pub(super) fn add(&mut self, certificate: &[u8]) -> Result<(), ServiceError> {
        let invalid = || ServiceError::Invalid("this is no certificate in PEM or DER".to_owned());
        let found: Vec<_> = match certificate.starts_with(&[0x30]) {
            true => vec![CertificateDer::from(certificate).into_owned()],
            false => CertificateDer::pem_slice_iter(certificate)
                .collect::<Result<_, _>>()
                .map_err(|_| invalid())?,
        };
        // Read once for the error, and again with the others.
        let mut store = RootCertStore::empty();
        if found.is_empty() || found.iter().any(|found| store.add(found.clone()).is_err()) {
            return Err(invalid());
        }
        self.added.extend(found);
        Ok(())
    }

    /// Believes only those that were added.
    pub(super) fn without_system(&mut self) {
        self.system = false;
    }

    /// Encrypts a connection with `host`, a name or an address.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ServiceError> {
        let connector = self.connector.get_or_try_init(|| self.connect()).await?;
        let failed = |reason: &dyn fmt::Display| {
            ServiceError::Failed(format!("no encrypted connection with `{host}`: {reason}"))
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        connector.connect(name, stream).await.map_err(|error| failed(&error))
    }

    async fn connect(&self) -> Result<TlsConnector, ServiceError> {
        let mut roots = RootCertStore::empty();
        if self.system {
            // A hundred files or more on some systems.
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            let found = found.map(|found| found.certs).unwrap_or_default();
            // Systems keep some that no longer are valid.
            roots.add_parsable_certificates(found);
        }
        for added in &self.added {
            roots.add(added.clone()).map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        }
        if roots.is_empty() {
            let reason = "the system has no root certificates, so no server can be believed";
            return Err(ServiceError::Unavailable(reason.to_owned()));
        }
        // `ring` builds with a C compiler alone, and no provider of the process is touched.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        // A session taken up again tells a server that two plugins run on one host.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("added", &self.added.len()).field("system", &self.system).finish()
    }
}
