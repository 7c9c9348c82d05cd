//! `airlock email`: accounts, their mail, and what is to be sent. It is its user's own: no grant is
//! asked for, and plugins' network switch says nothing about it.

mod account;
mod login;
mod message;
mod outbox;
mod sync;

use std::sync::Arc;

use airlock_email::{Account, MailService, Mailbox};
use airlock_host::{Error, ErrorKind, MailAnswer, MailRequest};

use super::Session;
use crate::flags::{EmailTask, WhichAccount};

pub(super) fn run(session: &Session, task: EmailTask) -> Result<u8, Error> {
    match task {
        EmailTask::Account { task } => account::run(session, task),
        EmailTask::Login(login) => login::run(session, &login),
        EmailTask::Outbox { task } => outbox::run(session, &task),
        EmailTask::Sync(asked) => sync::run(session, &asked),
        EmailTask::List { account, folder, limit } => message::list(session, &account, folder, limit),
        EmailTask::Show { message, account } => message::show(session, &account, message),
        EmailTask::Search { query, account, limit } => message::search(session, &account, &query, limit),
        EmailTask::Send(send) => message::send(session, *send),
        EmailTask::Reply { message, account, all, body } => {
            message::reply(session, &account, message, all, body)
        }
    }
}

/// The mailbox of this user, which is made at the first use.
fn mailbox(session: &Session) -> Result<Arc<Mailbox>, Error> {
    Ok(Arc::clone(session.mail()?.service.mailbox()))
}

/// The account that is meant.
fn account(mailbox: &Mailbox, which: &WhichAccount) -> Result<Account, Error> {
    match &which.name {
        Some(name) => named(mailbox, name),
        None => Ok(mailbox.account(None)?),
    }
}

/// The account of this name, address or number.
fn named(mailbox: &Mailbox, name: &str) -> Result<Account, Error> {
    let accounts = mailbox.accounts()?;
    let is_it =
        |account: &&Account| account.name == name || account.email == name || account.id.to_string() == name;
    if let Some(found) = accounts.iter().find(is_it) {
        return Ok(found.clone());
    }
    let reason = "there is no such account".to_owned();
    let error = Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason });
    Err(error.with_hint("`airlock email account list` shows all"))
}

/// Has the service do something, and waits for it.
fn perform(service: &MailService, request: MailRequest) -> Result<MailAnswer, Error> {
    Ok(airlock_host::block_on(service.perform(request))?)
}
