//! Accounts: set up, tested, removed.

use std::path::Path;

use airlock_email::{Account, Auth, Connector, Feature, NewAccount, Protocol, Security, Server};
use airlock_host::{Error, ErrorKind, MailTask, Secret};
use serde_json::{Value, json};

use super::super::Session;
use super::{account, mailbox, named};
use crate::flags::{AccountAdd, AccountTask};

pub(super) fn run(session: &Session, task: AccountTask) -> Result<u8, Error> {
    match task {
        AccountTask::Add(add) => make(session, *add),
        AccountTask::List => list(session),
        AccountTask::Test { account: which } => {
            let account = account(&*mailbox(session)?, &which)?;
            test(session, &account)
        }
        AccountTask::Switch { account: which, feature, state } => {
            let mailbox = mailbox(session)?;
            let account = account(&mailbox, &which)?;
            let (switched, is_on) = (Feature::named(&feature)?, state == "on");
            session.mail()?.service.switch(&account, switched, is_on)?;
            session.printer.note(&format!("`{feature}` is {state} for {}", account.name));
            session.done()
        }
        AccountTask::Password { account: which, of } => {
            let account = account(&*mailbox(session)?, &which)?;
            let of = of.map(|of| if of == "imap" { Protocol::Imap } else { Protocol::Smtp });
            keep_password(session, &account, of)?;
            session.done()
        }
        AccountTask::Remove { account: name } => {
            let mailbox = mailbox(session)?;
            let account = named(&mailbox, &name)?;
            let opened = session.mail()?;
            opened.service.note(MailTask::RemoveAccount, &account.name)?;
            opened.credentials.forget(&account)?;
            mailbox.remove_account(account.id)?;
            session.printer.note(&format!("removed {} and its mail", account.name));
            session.done()
        }
    }
}

fn make(session: &Session, add: AccountAdd) -> Result<u8, Error> {
    let user = add.user.clone().unwrap_or_else(|| add.email.clone());
    let auth = |flag, name: &str| one_of(flag, name, &Auth::ALL, |auth| auth.name());
    let imap_auth = auth("--auth", &add.auth)?;
    let smtp_auth = add.smtp_auth.as_ref().map_or(Ok(imap_auth), |name| auth("--smtp-auth", name))?;
    let imap_security = security("--imap-security", &add.imap_security)?;
    let smtp_security = security("--smtp-security", &add.smtp_security)?;
    let server = |place: &Option<String>, protocol, security, user: &String, auth| match place {
        None => Ok(None),
        Some(place) => {
            let (host, port) = host_and_port(place, protocol, security)?;
            Ok::<_, Error>(Some(Server { host, port, security, user: user.clone(), auth }))
        }
    };
    let smtp_user = add.smtp_user.as_ref().unwrap_or(&user);
    let new = NewAccount {
        name: add.name.clone(),
        email: add.email.clone(),
        display_name: add.display_name.clone(),
        imap: server(&add.imap, Protocol::Imap, imap_security, &user, imap_auth)?,
        smtp: server(&add.smtp, Protocol::Smtp, smtp_security, smtp_user, smtp_auth)?,
    };
    // No account is made without those that it is to have.
    let authorities = add.authorities.as_deref().map(authorities).transpose()?;
    let mailbox = mailbox(session)?;
    let id = session.mail()?.service.set_account(&new)?;
    mailbox.set_authorities(id, authorities.as_deref())?;
    let account = mailbox.account(Some(id))?;
    let of = [(Protocol::Imap, &account.imap), (Protocol::Smtp, &account.smtp)].into_iter().filter(
        |(_, server)| server.as_ref().is_some_and(|server| matches!(server.auth, Auth::Plain | Auth::Login)),
    );
    match of.map(|(protocol, _)| protocol).collect::<Vec<_>>().as_slice() {
        _ if add.no_password => {}
        [] => {}
        [one] => keep_password(session, &account, Some(*one))?,
        _ => keep_password(session, &account, None)?,
    }
    session.printer.note(&format!(
        "`{}` is account {id}; nothing is sent from it until it is switched on:",
        account.name
    ));
    session.printer.note(&format!("  airlock email account switch --account {} email_send on", account.name));
    session.done()
}

/// The certificates in a file.
fn authorities(path: &Path) -> Result<String, Error> {
    let pem = std::fs::read_to_string(path);
    let pem = pem.map_err(|error| Error::new(ErrorKind::Unreadable(path.to_owned())).with_source(error))?;
    match Connector::default().with_authorities(pem.as_bytes()) {
        Ok(_) => Ok(pem),
        Err(error) => Err(invalid(&path.display().to_string(), error.to_string())),
    }
}

/// Keeps the password of one of an account's servers, or of both.
fn keep_password(session: &Session, account: &Account, of: Option<Protocol>) -> Result<(), Error> {
    if let Some(of) = of {
        let server = match of {
            Protocol::Imap => &account.imap,
            Protocol::Smtp => &account.smtp,
        };
        if server.is_none() {
            return Err(invalid("--of", format!("`{}` has no server for {}", account.name, of.name())));
        }
    }
    let password = Secret::new(super::super::secret::value(&format!("password of {}", account.name))?);
    let opened = session.mail()?;
    opened.service.note(MailTask::SetPassword, &account.name)?;
    Ok(opened.credentials.set_password(account, of, &password)?)
}

fn security(flag: &str, name: &str) -> Result<Security, Error> {
    one_of(flag, name, &Security::ALL, |security| security.name())
}

fn one_of<T: Copy>(
    flag: &str,
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, Error> {
    let found = all.iter().copied().find(|one| name_of(*one) == name);
    found.ok_or_else(|| invalid(flag, format!("`{name}` is none that there is")))
}

fn invalid(name: &str, reason: String) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason })
}

/// A server's name or address and its port, which is the usual one where none is said.
fn host_and_port(place: &str, protocol: Protocol, security: Security) -> Result<(String, u16), Error> {
    let usual = match (protocol, security) {
        (Protocol::Imap, Security::Tls) => 993,
        (Protocol::Imap, _) => 143,
        (Protocol::Smtp, Security::Tls) => 465,
        (Protocol::Smtp, Security::StartTls) => 587,
        (Protocol::Smtp, Security::Plain) => 25,
    };
    // An address of IPv6 has brackets where a port comes behind it.
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| invalid(place, "an address in brackets ends with one".to_owned()))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), read_port(place, port)?)),
            None => Ok((host.to_owned(), usual)),
        };
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host.to_owned(), read_port(place, port)?)),
        _ => Ok((place.to_owned(), usual)),
    }
}

fn read_port(place: &str, port: &str) -> Result<u16, Error> {
    port.parse().map_err(|_| invalid(place, format!("`{port}` is no port")))
}

fn list(session: &Session) -> Result<u8, Error> {
    let mailbox = mailbox(session)?;
    let accounts = session.mail()?.service.accounts()?;
    let switched_on = |account: &Account| -> Result<Vec<&'static str>, Error> {
        let mut on = Vec::new();
        for feature in Feature::ALL {
            if mailbox.is_on(account.id, feature)? {
                on.push(feature.key());
            }
        }
        Ok(on)
    };
    if session.printer.json {
        let described = accounts.iter().map(|account| {
            Ok(json!({
                "id": account.id,
                "name": account.name,
                "email": account.email,
                "display_name": account.display_name,
                "imap": account.imap.as_ref().map(described),
                "smtp": account.smtp.as_ref().map(described),
                "features": switched_on(account)?,
            }))
        });
        let accounts = described.collect::<Result<Vec<Value>, Error>>()?;
        return session.object(true, json!({ "accounts": accounts }));
    }
    if accounts.is_empty() {
        session.printer.note("there is no account; `airlock email account add` makes one");
        return Ok(0);
    }
    let mut rows = Vec::new();
    for account in &accounts {
        let place = |server: &Option<Server>| match server {
            Some(server) => format!("{}:{} {}", server.host, server.port, server.security.name()),
            None => String::new(),
        };
        rows.push([
            account.id.to_string(),
            account.name.clone(),
            account.email.clone(),
            place(&account.imap),
            place(&account.smtp),
            switched_on(account)?.join(" "),
        ]);
    }
    session.printer.table(rows)?;
    Ok(0)
}

fn described(server: &Server) -> Value {
    json!({
        "host": server.host,
        "port": server.port,
        "security": server.security.name(),
        "user": server.user,
        "auth": server.auth.name(),
    })
}

/// Logs in to each server that the account has.
fn test(session: &Session, account: &Account) -> Result<u8, Error> {
    let tested = airlock_host::block_on(session.mail()?.service.test(account))?;
    let well = tested.iter().all(|(_, result)| result.is_ok());
    if session.printer.json {
        let servers = tested.iter().map(|(protocol, result)| {
            let error = result.as_ref().err().map(ToString::to_string);
            json!({ "protocol": protocol.name(), "ok": error.is_none(), "error": error })
        });
        return session.object(well, json!({ "servers": servers.collect::<Vec<_>>() }));
    }
    for (protocol, result) in &tested {
        let line = match result {
            Ok(()) => format!("{} ok", protocol.name()),
            Err(error) => format!("{} failed: {error}", protocol.name()),
        };
        session.printer.line(&line)?;
    }
    Ok(u8::from(!well))
}

#[cfg(test)]
mod tests {
    use airlock_email::{Protocol, Security};

    use super::host_and_port;

    #[test]
    fn a_port_is_the_usual_one_where_none_is_said() {
        let read = |place, security| host_and_port(place, Protocol::Smtp, security).expect("it is a place");
        assert_eq!(read("mail.example", Security::Tls), ("mail.example".to_owned(), 465));
        assert_eq!(read("mail.example:2525", Security::StartTls), ("mail.example".to_owned(), 2525));
        assert_eq!(read("::1", Security::Plain), ("::1".to_owned(), 25));
        assert_eq!(read("[::1]:1025", Security::Plain), ("::1".to_owned(), 1025));
        assert!(host_and_port("mail.example:none", Protocol::Imap, Security::Tls).is_err());
        assert!(host_and_port("[::1", Protocol::Imap, Security::Tls).is_err());
    }
}
