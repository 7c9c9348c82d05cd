//! `airlock secret`: keeps what requests of plugins carry and plugins do not see. A value is
//! never an argument, which others could read, and never printed.

use std::io::{IsTerminal as _, Read as _};

use airlock_host::{Error, ErrorKind, Redactor, visible};
use serde_json::json;

use super::Session;
use crate::config;
use crate::flags::SecretTask;

/// Bytes of a value: any token, and most keys.
const MAX_VALUE: u64 = 64 << 10;

pub(super) fn run(session: &Session, task: &SecretTask) -> Result<u8, Error> {
    let secrets = session.secrets(&config::data()?, Redactor::new());
    match task {
        SecretTask::Set { name } => {
            secrets.set(name, &value(name)?)?;
            session.printer.note(&format!("kept `{}`", visible(name, false)));
            session.done()
        }
        SecretTask::List => {
            let names = secrets.names()?;
            if session.printer.json {
                return session.object(true, json!({ "secrets": names }));
            }
            names.iter().try_for_each(|name| session.printer.line(name))?;
            Ok(0)
        }
        SecretTask::Remove { name } => {
            let what = if secrets.remove(name)? { "forgot" } else { "there was no" };
            session.printer.note(&format!("{what} `{}`", visible(name, false)));
            session.done()
        }
    }
}

/// What a person types without seeing it, or what is piped in up to its last line's end.
pub(super) fn value(name: &str) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| Error::host("cannot read the secret").with_source(error);
    let stdin = std::io::stdin();
    let value = match stdin.is_terminal() {
        true => {
            let question = format!("Value of `{}` (not shown): ", visible(name, false));
            rpassword::prompt_password(question).map_err(unreadable)?
        }
        false => {
            let mut text = String::new();
            stdin.lock().take(MAX_VALUE + 1).read_to_string(&mut text).map_err(unreadable)?;
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned()
        }
    };
    let reason = match value.len() as u64 {
        0 => "a secret has a value",
        length if length > MAX_VALUE => "it is longer than any token",
        _ => return Ok(value),
    };
    Err(Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason: reason.to_owned() }))
}
