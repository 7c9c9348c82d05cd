//! Handing a message to a server.
//!
//! What matters afterwards is how far it came. Until the dot that ends the content is sent the
//! server has not taken the message, whatever happens; once it has answered, it has said whether
//! it did. In between nobody can know, and a message that is sent once more may arrive twice.

#[cfg(test)]
mod fuzz;
mod wire;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Instant;

use airlock_core::{MailCode, MailError, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter};

use crate::compose::Composed;
use crate::echo::Echo;
use crate::imap::Transport;
use crate::{Auth, Connector, Security, Server, Stop};
use wire::Session;

/// Addresses of a server that are tried.
const ADDRESSES: usize = 8;

impl Connector {
    /// Hands a message to a server; what that said. `before` is done when all of it is there but
    /// the end: from then on the server may have taken it.
    pub(crate) fn send(
        &self,
        server: &Server,
        secret: Option<&Secret>,
        mail: &Composed,
        stop: &Stop,
        before: impl FnOnce() -> Result<(), MailError>,
    ) -> Result<String, Unsent> {
        let echo = Echo::of(secret);
        // Who is not let in may be with another password or at another time: the message is not to blame.
        let connected = self.connect(server, secret, stop);
        let connected = connected.map_err(|unsent| match unsent.fate {
            Fate::NotLetIn => unsent,
            _ => Unsent { fate: Fate::NotSent, ..unsent },
        });
        let sent = connected.and_then(|mut session| {
            settle(&mut session, mail)?;
            let answer = session.content(&mail.raw, before)?;
            // The message is with the server, whatever becomes of the goodbye.
            session.end();
            Ok(format!("smtp-{}", answer.told()))
        });
        sent.map(|said| echo.taken_out(&said)).map_err(|unsent| unsent.without(&echo))
    }

    /// Connects and logs in, and does nothing there.
    pub(crate) fn greet(&self, server: &Server, secret: Option<&Secret>) -> Result<(), Unsent> {
        let connected = self.connect(server, secret, &Stop::new()).map(Session::end);
        connected.map_err(|unsent| unsent.without(&Echo::of(secret)))
    }

    fn connect(
        &self,
        server: &Server,
        secret: Option<&Secret>,
        stop: &Stop,
    ) -> Result<Session<Transport>, Unsent> {
        let end = Instant::now() + self.deadline();
        let session = |transport| Session::greeted(transport, self.patience(), end);
        let left = || self.patience().min(end.saturating_duration_since(Instant::now()));
        let encrypt =
            |tcp| Transport::encrypt(tcp, &server.host, self.tls_config()?, left()).map_err(Unsent::from);
        let tcp = dial(server, left, stop)?;
        let mut session = match server.security {
            Security::Tls => session(encrypt(tcp)?)?,
            Security::Plain => session(Transport::Plain(tcp))?,
            Security::StartTls => {
                let mut clear = session(Transport::Plain(tcp))?;
                // Without it, nothing is said: whoever is between could have taken it away.
                if !clear.offers("STARTTLS") {
                    clear.end();
                    return Err(Unsent::refused("the server offers no STARTTLS"));
                }
                clear.command("STARTTLS\r\n")?;
                let Transport::Plain(tcp) = clear.into_stream()? else {
                    return Err(Unsent::refused("the connection is encrypted already"));
                };
                Session::resumed(encrypt(tcp)?, self.patience(), end)?
            }
        };
        if server.auth != Auth::None {
            let secret = secret.ok_or_else(|| Unsent::refused("there is no credential for the account"))?;
            log_in(&mut session, server, secret).map_err(|unsent| match unsent.error.code() {
                MailCode::Provider => Unsent { fate: Fate::NotLetIn, ..unsent },
                _ => unsent,
            })?;
        }
        Ok(session)
    }
}

/// Connects with the first of a server's addresses that answers.
fn dial(
    server: &Server,
    left: impl Fn() -> std::time::Duration,
    stop: &Stop,
) -> Result<crate::imap::Tcp, Unsent> {
    let mut last = Unsent::refused("the server has no address");
    for address in addresses(server)?.into_iter().take(ADDRESSES) {
        let one = Server { host: address.ip().to_string(), ..server.clone() };
        match Transport::dial(&one, left(), stop) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
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
fn settle(session: &mut Session<Transport>, mail: &Composed) -> Result<(), Unsent> {
    let mut parameters = Vec::new();
    let is_ascii = mail.envelope.from().into_iter().chain(mail.envelope.to()).all(|address| {
        let address: &str = address.as_ref();
        address.is_ascii()
    });
    if !is_ascii && session.offers("SMTPUTF8") {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.raw.is_ascii() && session.offers("8BITMIME") {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    session.command(Mail::new(mail.envelope.from().cloned(), parameters))?;
    for recipient in mail.envelope.to() {
        // One that is refused is a reason to send to nobody: who sent it decides.
        session.command(Rcpt::new(recipient.clone(), vec![]))?;
    }
    session.command(Data).map(drop)
}

fn log_in(session: &mut Session<Transport>, server: &Server, secret: &Secret) -> Result<(), Unsent> {
    let (user, secret) = (server.user.as_str(), secret.reveal());
    if user.contains('\0') || secret.contains('\0') {
        return Err(MailError::invalid("smtp.user and its credential cannot have a NUL").into());
    }
    let (mechanism, first) = match server.auth {
        Auth::None => return Ok(()),
        Auth::Plain => ("PLAIN", Some(format!("\0{user}\0{secret}"))),
        Auth::Login => ("LOGIN", None),
        Auth::Xoauth2 => ("XOAUTH2", Some(format!("user={user}\x01auth=Bearer {secret}\x01\x01"))),
        Auth::OauthBearer => ("OAUTHBEARER", Some(crate::imap::bearer(server, secret))),
    };
    if !session.offers_login(mechanism) {
        return Err(Unsent::refused(&format!("the server offers no login by {mechanism}")));
    }
    let first = first.map(|first| format!(" {}", STANDARD.encode(first))).unwrap_or_default();
    let mut answer = session.command(format_args!("AUTH {mechanism}{first}\r\n"))?;
    let next = match server.auth {
        Auth::Login => vec![STANDARD.encode(user), STANDARD.encode(secret)],
        // The server says what is wrong, and fails once it is heard (RFC 7628, 3.2.3).
        Auth::OauthBearer => vec!["AQ==".to_owned()],
        _ => vec![String::new()],
    };
    for said in next {
        if answer.code != 334 {
            break;
        }
        answer = session.command(format_args!("{said}\r\n"))?;
    }
    match answer.code {
        200..300 => Ok(()),
        _ => Err(Unsent::refused("the server asks more than a login has to say")),
    }
}

/// How far a message came that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No server was asked, as its credential is here and cannot be read: under a passphrase, before all.
    NotAsked,
    /// The server did not take it, and may do so later.
    NotSent,
    /// Not at all: the server did not let its sender in.
    NotLetIn,
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

impl From<MailError> for Unsent {
    fn from(error: MailError) -> Self {
        Unsent { fate: Fate::NotSent, error }
    }
}

impl Unsent {
    fn refused(reason: &str) -> Self {
        MailError::new(MailCode::Provider, reason).into()
    }

    fn without(self, echo: &Echo) -> Self {
        let error = MailError::new(self.error.code(), &echo.taken_out(self.error.message()));
        Unsent { error, ..self }
    }
}
