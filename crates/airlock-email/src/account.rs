//! Accounts, each with servers of its own.

use airlock_core::MailError;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::db::{self, failed, now};
use crate::{Mailbox, OauthProvider};

/// Bytes that an account's name may have, at least one: grants are written with it.
const NAME: usize = 64;

/// What is spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Mail is fetched.
    Imap,
    /// Mail is sent.
    Smtp,
}

impl Protocol {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Smtp => "smtp",
        }
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// By TLS from its first byte.
    Tls,
    /// By TLS after `STARTTLS`, without which nothing is said.
    StartTls,
    /// Not at all: only to this machine itself.
    Plain,
}

impl Security {
    /// All of them.
    pub const ALL: [Security; 3] = [Security::Tls, Security::StartTls, Security::Plain];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Security::Tls => "tls",
            Security::StartTls => "starttls",
            Security::Plain => "plain",
        }
    }
}

/// How the user is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// `PLAIN` (RFC 4616), with a password.
    Plain,
    /// `LOGIN`, with a password.
    Login,
    /// `XOAUTH2`, with a token.
    Xoauth2,
    /// `OAUTHBEARER` (RFC 7628), with a token.
    OauthBearer,
}

impl Auth {
    /// All of them.
    pub const ALL: [Auth; 5] = [Auth::None, Auth::Plain, Auth::Login, Auth::Xoauth2, Auth::OauthBearer];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Auth::None => "none",
            Auth::Plain => "plain",
            Auth::Login => "login",
            Auth::Xoauth2 => "xoauth2",
            Auth::OauthBearer => "oauthbearer",
        }
    }
}

/// One of an account's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Who logs in.
    pub user: String,
    /// How.
    pub auth: Auth,
}

impl Server {
    fn check(&self, protocol: Protocol) -> Result<(), MailError> {
        let name = protocol.name();
        if self.host.is_empty() || self.host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(MailError::invalid("imap/smtp host is required"));
        }
        if self.port == 0 {
            return Err(MailError::invalid(&format!("{name}.port has to be 1 to 65535")));
        }
        if self.auth != Auth::None && self.user.trim().is_empty() {
            return Err(MailError::invalid(&format!("{name}.user is required")));
        }
        if self.user.chars().any(char::is_control) {
            return Err(MailError::invalid(&format!("{name}.user cannot have control characters")));
        }
        let loopback = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match self.security == Security::Plain && !loopback {
            true => Err(MailError::invalid(&format!(
                "{name}.security can be plain for `localhost` and loopback addresses only"
            ))),
            false => Ok(()),
        }
    }
}

/// An account that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// What grants call it: `work`.
    pub name: String,
    /// Its address.
    pub email: String,
    /// Its owner's name, for `From`.
    pub display_name: Option<String>,
    /// Where its mail is fetched.
    pub imap: Option<Server>,
    /// Where its mail is sent.
    pub smtp: Option<Server>,
}

impl NewAccount {
    /// Looks whether it makes sense.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for a name, an address or a server that
    /// does not.
    pub fn check(&self) -> Result<(), MailError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
        if !(1..=NAME).contains(&self.name.len()) || !self.name.chars().all(plain) {
            let reason = "an account's name has 1 to 64 letters, digits and `-_.@+`";
            return Err(MailError::invalid(reason));
        }
        if self.email.parse::<lettre::Address>().is_err() {
            return Err(MailError::invalid("an account's email has to be an address"));
        }
        self.servers().try_for_each(|(protocol, server)| server.check(protocol))
    }

    fn servers(&self) -> impl Iterator<Item = (Protocol, &Server)> {
        let servers = [(Protocol::Imap, &self.imap), (Protocol::Smtp, &self.smtp)];
        servers.into_iter().filter_map(|(protocol, server)| Some((protocol, server.as_ref()?)))
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number, which plugins say.
    pub id: i64,
    /// What grants call it; its address where nobody named it.
    pub name: String,
    /// Its address.
    pub email: String,
    /// Its owner's name.
    pub display_name: Option<String>,
    /// Where its mail is fetched.
    pub imap: Option<Server>,
    /// Where its mail is sent.
    pub smtp: Option<Server>,
    /// Certificates in PEM of authorities that its servers may be of, beside the system's.
    pub authorities: Option<String>,
    /// Where its tokens come from.
    pub oauth: Option<OauthProvider>,
}

impl Mailbox {
    /// Makes an account, or gives the one of that address these settings; its number.
    ///
    /// # Errors
    /// As [`NewAccount::check`], and [`MailCode::Validation`](airlock_core::MailCode::Validation) for a name
    /// that another account has.
    pub fn set_account(&self, account: &NewAccount) -> Result<i64, MailError> {
        account.check()?;
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let taken = "SELECT count(*) FROM account_settings JOIN accounts ON id = account_id
                     WHERE name = ?1 AND email <> ?2";
        let taken: bool = transaction
            .query_row(taken, [&account.name, &account.email], |row| row.get(0))
            .map_err(failed)?;
        if taken {
            let reason = format!("there is another account called `{}`", account.name);
            return Err(MailError::invalid(&reason));
        }
        let id = write(&transaction, account).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(id)
    }

    /// All accounts, by their numbers.
    pub fn accounts(&self) -> Result<Vec<Account>, MailError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!("{ACCOUNTS} ORDER BY id")).map_err(failed)?;
        let accounts = statement.query_map([], account).map_err(failed)?;
        let accounts = accounts.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?;
        accounts.into_iter().map(|account| with_servers(&connection, account)).collect()
    }

    /// The account of this number; the only one where none is said.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) where there is none, or
    /// more than one.
    pub fn account(&self, id: Option<i64>) -> Result<Account, MailError> {
        let connection = self.connection();
        let only = || -> rusqlite::Result<Option<i64>> {
            let sql = "SELECT min(id), count(*) FROM accounts";
            connection.prepare_cached(sql)?.query_row([], |row| {
                let count: i64 = row.get(1)?;
                if count == 1 { row.get(0) } else { Ok(None) }
            })
        };
        let id = match id {
            Some(id) => id,
            None => only()
                .map_err(failed)?
                .ok_or_else(|| MailError::invalid("account_id is required where there is not one account"))?,
        };
        let sql = format!("{ACCOUNTS} WHERE accounts.id = ?1");
        let found = connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([id], account).optional())
            .map_err(failed)?;
        match found {
            Some(account) => with_servers(&connection, account),
            None => Err(MailError::invalid(&format!("there is no account {id}"))),
        }
    }

    /// Has an account's servers be of these authorities too, in PEM; of the system's alone
    /// where there are none.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for what is no certificate,
    /// and an account that is not there or has no servers.
    pub fn set_authorities(&self, id: i64, pem: Option<&str>) -> Result<(), MailError> {
        pem.map_or(Ok(()), |pem| crate::connector::check(pem.as_bytes()))?;
        let sql = "UPDATE account_settings SET authorities = ?2 WHERE account_id = ?1";
        match self.connection().execute(sql, params![id, pem]).map_err(failed)? {
            0 => Err(MailError::invalid(&format!("there is no account {id} with servers"))),
            _ => Ok(()),
        }
    }

    /// Removes an account and all its mail, with what is attached to no other; whether there was one.
    /// While mail is being fetched, the files go when that has ended.
    pub fn remove_account(&self, id: i64) -> Result<bool, MailError> {
        let sql = "DELETE FROM accounts WHERE id = ?1";
        let removed = self.connection().execute(sql, [id]).map_err(failed)? > 0;
        if removed {
            self.sweep_all_attachments()?;
        }
        Ok(removed)
    }
}

const ACCOUNTS: &str = "SELECT accounts.id, coalesce(account_settings.name, accounts.email), accounts.email,
    accounts.display_name, account_settings.authorities,
    account_settings.oauth FROM accounts LEFT JOIN account_settings ON account_id = accounts.id";

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        display_name: row.get(3)?,
        imap: None,
        smtp: None,
        authorities: row.get(4)?,
        // One that a newer version wrote otherwise is none here.
        oauth: row.get::<_, Option<String>>(5)?.and_then(|json| serde_json::from_str(&json).ok()),
    })
}

fn with_servers(connection: &Connection, mut account: Account) -> Result<Account, MailError> {
    account.imap = server(connection, account.id, Protocol::Imap).map_err(failed)?;
    account.smtp = server(connection, account.id, Protocol::Smtp).map_err(failed)?;
    Ok(account)
}

fn server(connection: &Connection, account: i64, protocol: Protocol) -> rusqlite::Result<Option<Server>> {
    let sql = "SELECT host, port, security, user, auth FROM account_servers
               WHERE account_id = ?1 AND protocol = ?2";
    let read = |row: &Row<'_>| {
        let security: String = row.get(2)?;
        let auth: String = row.get(4)?;
        Ok(Server {
            host: row.get(0)?,
            port: row.get(1)?,
            security: match security.as_str() {
                "starttls" => Security::StartTls,
                "plain" => Security::Plain,
                _ => Security::Tls,
            },
            user: row.get(3)?,
            auth: match auth.as_str() {
                "plain" => Auth::Plain,
                "login" => Auth::Login,
                "xoauth2" => Auth::Xoauth2,
                "oauthbearer" => Auth::OauthBearer,
                _ => Auth::None,
            },
        })
    };
    connection.prepare_cached(sql)?.query_row(params![account, protocol.name()], read).optional()
}

fn write(connection: &Connection, account: &NewAccount) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO accounts (email, display_name, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)
               ON CONFLICT (email) DO UPDATE SET display_name = ?2, updated_at = ?3 RETURNING id";
    let id: i64 =
        connection.query_row(sql, params![account.email, account.display_name, now()], |row| row.get(0))?;
    let sql = "INSERT INTO account_settings (account_id, name) VALUES (?1, ?2)
               ON CONFLICT (account_id) DO UPDATE SET name = ?2";
    connection.execute(sql, params![id, account.name])?;
    connection.execute("DELETE FROM account_servers WHERE account_id = ?1", [id])?;
    for (protocol, server) in account.servers() {
        let sql = "INSERT INTO account_servers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let (security, auth) = (server.security.name(), server.auth.name());
        let values = params![id, protocol.name(), server.host, server.port, security, server.user, auth];
        connection.execute(sql, values)?;
    }
    Ok(id)
}
