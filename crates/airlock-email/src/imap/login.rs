//! Logging in.

use airlock_core::{MailError, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Session;
use super::wire::{Bounds, Fault, Finished, Stream, refused};
use crate::{Auth, Server};

impl<S: Stream> Session<S> {
    /// Logs in as the account does.
    pub(super) fn log_in(&mut self, server: &Server, secret: Option<&Secret>) -> Result<(), MailError> {
        if self.is_known || server.auth == Auth::None {
            return match (self.is_known, server.auth) {
                (true, Auth::None) => Ok(()),
                (true, _) => Err(refused("the server takes the connection for somebody's already")),
                (false, _) => Err(refused("the server wants a login, and the account has none")),
            };
        }
        let secret = secret.ok_or_else(|| refused("there is no credential for the account"))?.reveal();
        if server.user.contains('\0') || secret.contains('\0') {
            return Err(MailError::invalid("imap.user and its credential cannot have a NUL"));
        }
        let user = &server.user;
        let finished = match server.auth {
            Auth::Plain if self.has("AUTH=PLAIN") => {
                self.authenticate("PLAIN", &format!("\0{user}\0{secret}"), "*")?
            }
            Auth::Plain | Auth::Login | Auth::None => self.login(user, secret)?,
            Auth::Xoauth2 => {
                self.authenticate("XOAUTH2", &format!("user={user}\x01auth=Bearer {secret}\x01\x01"), "")?
            }
            Auth::OauthBearer => self.authenticate("OAUTHBEARER", &bearer(server, secret), "AQ==")?,
        };
        self.is_known = true;
        self.learn(finished)
    }

    fn login(&mut self, user: &str, password: &str) -> Result<Finished, Fault> {
        if self.has("LOGINDISABLED") {
            return Err(refused("the server takes no password on this connection").into());
        }
        let tag = match (quoted(user), quoted(password)) {
            (Some(user), Some(password)) => self.wire.give(&format!("LOGIN {user} {password}"))?,
            // What cannot be quoted is announced with its size, and sent when the server waits for it.
            _ => {
                let tag = self.wire.give(&format!("LOGIN {{{}}}", user.len()))?;
                for (said, next) in
                    [(user, format!(" {{{}}}\r\n", password.len())), (password, "\r\n".to_owned())]
                {
                    if let Some(finished) = self.wire.asked_for_more(&tag)? {
                        return Ok(finished);
                    }
                    self.wire.say(format!("{said}{next}").as_bytes())?;
                }
                tag
            }
        };
        self.wire.finish(&tag, Bounds::default(), |_| Ok(()))
    }

    /// `AUTHENTICATE` with one thing to say, and with what ends it where the server says more.
    fn authenticate(&mut self, mechanism: &str, said: &str, end: &str) -> Result<Finished, Fault> {
        let said = STANDARD.encode(said);
        let tag = match self.has("SASL-IR") {
            true => self.wire.give(&format!("AUTHENTICATE {mechanism} {said}"))?,
            false => {
                let tag = self.wire.give(&format!("AUTHENTICATE {mechanism}"))?;
                if let Some(finished) = self.wire.asked_for_more(&tag)? {
                    return Ok(finished);
                }
                self.wire.say(format!("{said}\r\n").as_bytes())?;
                tag
            }
        };
        // A server that does not take a token says what is wrong, and fails once it is heard.
        if let Some(finished) = self.wire.asked_for_more(&tag)? {
            return Ok(finished);
        }
        self.wire.say(format!("{end}\r\n").as_bytes())?;
        self.wire.finish(&tag, Bounds::default(), |_| Ok(()))
    }
}

/// What `OAUTHBEARER` says first (RFC 7628, 3.1).
pub(crate) fn bearer(server: &Server, token: &str) -> String {
    let Server { user, host, port, .. } = server;
    // `,` and `=` stand for something else there (RFC 5801, 4).
    let user = user.replace('=', "=3D").replace(',', "=2C");
    format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")
}

/// Text in quotes, where it can be.
pub(super) fn quoted(text: &str) -> Option<String> {
    text.bytes()
        .all(|byte| (b' '..=b'~').contains(&byte))
        .then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
