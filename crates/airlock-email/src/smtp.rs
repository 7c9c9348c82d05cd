//! Handing a message to a server.
//!
//! What matters afterwards is how far it came. Until the content is sent the server has not
//! taken the message, whatever happens; once it has answered, it has said whether it did. In
//! between nobody can know, and a message that is sent once more may arrive twice.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};

use airlock_core::{MailCode, MailError, Redactor, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::authentication::{Credentials as Login, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};

use crate::compose::Composed;
use crate::{Auth, Connector, Security, Server};

impl Connector {
    /// Hands a message to a server; what that said. `before` is done when everything is
    /// settled but the content.
    pub(crate) fn send(
        &self,
        server: &Server,
        secret: Option<&Secret>,
        mail: &Composed,
        before: impl FnOnce() -> Result<(), MailError>,
    ) -> Result<String, Unsent> {
        let redactor = Redactor::new();
        if let Some(secret) = secret {
            redactor.know("smtp", secret);
        }
        let unsent = |error| Unsent::of(error, &redactor);
        let mut connection = self.connect(server, secret).map_err(|error| error.redacted(&redactor))?;
        settle(&mut connection, mail).map_err(unsent)?;
        before().map_err(|error| Unsent { fate: Fate::NotSent, error })?;
        let answer = connection.message(&mail.raw);
        match answer {
            Ok(response) if response.code().severity == Severity::PositiveCompletion => {
                // The message is with the server, whatever becomes of the goodbye.
                let _ = connection.quit();
                let said: Vec<&str> = response.message().collect();
                Ok(format!("smtp-{}", said.join(" ")))
            }
            Ok(response) => {
                let told = format!("the server answered {} to the message", response.code());
                Err(Unsent { fate: Fate::Uncertain, error: MailError::new(MailCode::Provider, &told) })
            }
            // Only a server's own no says that it did not take it.
            Err(error) if error.status().is_some() => Err(unsent(error)),
            Err(error) => Err(Unsent { fate: Fate::Uncertain, ..unsent(error) }),
        }
    }

    /// Connects and logs in, and does nothing there.
    pub(crate) fn greet(&self, server: &Server, secret: Option<&Secret>) -> Result<(), MailError> {
        let redactor = Redactor::new();
        secret.iter().for_each(|secret| redactor.know("smtp", secret));
        let connected = self.connect(server, secret).map_err(|unsent| unsent.redacted(&redactor).error);
        connected.map(|mut connection| drop(connection.quit()))
    }

    fn connect(&self, server: &Server, secret: Option<&Secret>) -> Result<SmtpConnection, Unsent> {
        let hello = ClientId::default();
        let here = |error| Unsent::of(error, &Redactor::new());
        let tls = match server.security {
            Security::Plain => None,
            Security::Tls | Security::StartTls => Some(self.tls(&server.host)?),
        };
        let at_once = tls.as_ref().filter(|_| server.security == Security::Tls);
        let addresses = addresses(server)?;
        let connect =
            SmtpConnection::connect(addresses.as_slice(), Some(self.patience()), &hello, at_once, None);
        let mut connection = connect.map_err(here)?;
        if let Some(tls) = tls.filter(|_| server.security == Security::StartTls) {
            // Without it, nothing is said: whoever is between could have taken it away.
            if !connection.can_starttls() {
                connection.abort();
                return Err(Unsent::refused("the server offers no STARTTLS"));
            }
            connection.starttls(&tls, &hello).map_err(here)?;
        }
        if server.auth != Auth::None {
            let secret = secret.ok_or_else(|| Unsent::refused("there is no credential for the account"))?;
            log_in(&mut connection, server, secret).map_err(Unsent::login)?;
        }
        Ok(connection)
    }

    fn tls(&self, host: &str) -> Result<TlsParameters, Unsent> {
        let certificates = self.certificates().map_err(|error| Unsent { fate: Fate::NotSent, error })?;
        let builder = TlsParameters::builder(host.to_owned());
        let builder =
            certificates.into_iter().fold(builder, |builder, one| builder.add_root_certificate(one));
        builder.build_rustls().map_err(|error| Unsent::of(error, &Redactor::new()))
    }
}

/// Where the server is. One that is spoken to without protection is on this machine.
pub(crate) fn addresses(server: &Server) -> Result<Vec<SocketAddr>, Unsent> {
    let unknown = |reason: &dyn fmt::Display| Unsent {
        fate: Fate::NotSent,
        error: MailError::new(MailCode::Network, &format!("`{}` is not found: {reason}", server.host)),
    };
    let found = (server.host.as_str(), server.port).to_socket_addrs().map_err(|error| unknown(&error))?;
    let fits = |address: &SocketAddr| server.security != Security::Plain || address.ip().is_loopback();
    let found: Vec<SocketAddr> = found.filter(fits).collect();
    match found.is_empty() {
        true => Err(unknown(&"it has no address that may be spoken to")),
        false => Ok(found),
    }
}

/// Settles who sends and who gets the message, and that its content comes now.
fn settle(connection: &mut SmtpConnection, mail: &Composed) -> Result<(), lettre::transport::smtp::Error> {
    let mut parameters = Vec::new();
    let supports = |connection: &SmtpConnection, what| connection.server_info().supports_feature(what);
    let is_ascii = mail.envelope.from().into_iter().chain(mail.envelope.to()).all(|address| {
        let address: &str = address.as_ref();
        address.is_ascii()
    });
    if !is_ascii && supports(connection, Extension::SmtpUtfEight) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.raw.is_ascii() && supports(connection, Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(mail.envelope.from().cloned(), parameters))?;
    for recipient in mail.envelope.to() {
        // One that is refused is a reason to send to nobody: who sent it decides.
        connection.command(Rcpt::new(recipient.clone(), vec![]))?;
    }
    connection.command(Data).map(drop)
}

fn log_in(
    connection: &mut SmtpConnection,
    server: &Server,
    secret: &Secret,
) -> Result<(), lettre::transport::smtp::Error> {
    let mechanism = match server.auth {
        Auth::None => return Ok(()),
        Auth::Plain => Mechanism::Plain,
        Auth::Login => Mechanism::Login,
        Auth::Xoauth2 => Mechanism::Xoauth2,
        Auth::OauthBearer => return bearer(connection, server, secret).map(drop),
    };
    let login = Login::new(server.user.clone(), secret.reveal().to_owned());
    connection.auth(&[mechanism], &login).map(drop)
}

/// `OAUTHBEARER` (RFC 7628, 3.1), which lettre does not know.
fn bearer(
    connection: &mut SmtpConnection,
    server: &Server,
    secret: &Secret,
) -> Result<Response, lettre::transport::smtp::Error> {
    let first = crate::imap::bearer(server, secret.reveal());
    let response = connection.command(format_args!("AUTH OAUTHBEARER {}\r\n", STANDARD.encode(first)))?;
    match response.has_code(334) {
        // The server says what is wrong, and fails once it is heard (RFC 7628, 3.2.3).
        true => connection.command("AQ==\r\n"),
        false => Ok(response),
    }
}

/// How far a message came that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server did not take it, and may do so later.
    NotSent,
    /// The server does not want it, now or later.
    Refused,
    /// Nobody knows whether the server took it.
    Uncertain,
}

/// A message that was not sent, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) fate: Fate,
    pub(crate) error: MailError,
}

impl Unsent {
    fn of(error: lettre::transport::smtp::Error, redactor: &Redactor) -> Self {
        let fate = if error.is_permanent() { Fate::Refused } else { Fate::NotSent };
        let (code, what) = match error.status() {
            Some(_) => (MailCode::Provider, "provider rejected the request"),
            None if error.is_client() || error.is_response() => {
                (MailCode::Provider, "the server cannot be spoken to")
            }
            None => (MailCode::Network, "network error while contacting provider"),
        };
        // The chain of causes has what is of use: the server's own words.
        let mut told = format!("{what}: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(further) = cause {
            let further_told = further.to_string();
            if !told.contains(&further_told) {
                told = format!("{told}: {further_told}");
            }
            cause = further.source();
        }
        Unsent { fate, error: MailError::new(code, &redactor.redact(&told)) }
    }

    /// Who logs in may do so with another password later: the message is not to blame.
    fn login(error: lettre::transport::smtp::Error) -> Self {
        Unsent { fate: Fate::NotSent, ..Unsent::of(error, &Redactor::new()) }
    }

    fn refused(reason: &str) -> Self {
        Unsent { fate: Fate::NotSent, error: MailError::new(MailCode::Provider, reason) }
    }

    fn redacted(self, redactor: &Redactor) -> Self {
        let error = MailError::new(self.error.code(), &redactor.redact(self.error.message()));
        Unsent { error, ..self }
    }
}
