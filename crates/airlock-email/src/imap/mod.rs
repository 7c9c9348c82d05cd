//! Fetching mail: a session with an IMAP server (RFC 3501).
//!
//! The parser is imap-proto; what goes over the connection is written here, so that all that a
//! server says has bounds, each wait ends, and no password is in any log.

mod find;
#[cfg(test)]
mod fuzz;
mod login;
mod names;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use airlock_core::{MailError, Secret};
use imap_proto::{AttributeValue, Capability, MailboxDatum, NameAttribute, Response, ResponseCode, Status};

pub(crate) use login::bearer;
pub use stream::Stop;
pub(crate) use stream::{Tcp, Transport};
use wire::{Bounds, Finished, Wire};
pub(crate) use wire::{Fault, Stream, broken, refused};

use crate::echo::Echo;
use crate::{Connector, Security, Server};

/// Capabilities that a server may say to have.
const CAPABILITIES: usize = 256;

/// Folders of an account.
const FOLDERS: usize = 10_000;

/// Bytes of a folder's name, and of the flags of a message.
const NAME: usize = 1_000;
const FLAGS: usize = 1_000;

/// What a folder is for (RFC 6154).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecialUse {
    /// All messages.
    All,
    /// What is put aside.
    Archive,
    /// What is being written.
    Drafts,
    /// What is marked.
    Flagged,
    /// What nobody wants.
    Junk,
    /// What was sent.
    Sent,
    /// What was thrown away.
    Trash,
}

impl SpecialUse {
    const ALL: [(SpecialUse, &'static str); 7] = [
        (SpecialUse::All, "\\All"),
        (SpecialUse::Archive, "\\Archive"),
        (SpecialUse::Drafts, "\\Drafts"),
        (SpecialUse::Flagged, "\\Flagged"),
        (SpecialUse::Junk, "\\Junk"),
        (SpecialUse::Sent, "\\Sent"),
        (SpecialUse::Trash, "\\Trash"),
    ];

    /// As servers say it: `\Sent`.
    pub fn name(self) -> &'static str {
        SpecialUse::ALL.iter().find(|(special, _)| *special == self).map_or("", |(_, name)| name)
    }

    /// The one that is written so.
    pub fn named(name: &str) -> Option<Self> {
        SpecialUse::ALL.iter().find(|(_, own)| own.eq_ignore_ascii_case(name)).map(|(special, _)| *special)
    }
}

/// A folder of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFolder {
    /// Its path, in Unicode.
    pub path: String,
    /// What stands between the parts of a path.
    pub delimiter: Option<String>,
    /// Whether there can be messages in it.
    pub is_selectable: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

/// What a server says of a folder that is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) exists: u32,
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: Option<u32>,
    pub(crate) mod_seq: Option<u64>,
}

/// What a server says of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) flags: Option<String>,
    pub(crate) size: Option<u32>,
    pub(crate) received_at: Option<i64>,
    pub(crate) body: Option<Vec<u8>>,
}

/// A session with a server.
pub(crate) struct Session<S> {
    wire: Wire<S>,
    capabilities: Vec<String>,
    /// Whether the server knows whose it is.
    is_known: bool,
}

/// Connects, encrypts as the account says, and logs in.
pub(crate) fn open(
    connector: &Connector,
    server: &Server,
    secret: Option<&Secret>,
    stop: &Stop,
) -> Result<Session<Transport>, MailError> {
    let mut session = connect(connector, server, stop)?;
    session.wire.take_out(Echo::of(secret));
    session.log_in(server, secret)?;
    Ok(session)
}

fn connect(connector: &Connector, server: &Server, stop: &Stop) -> Result<Session<Transport>, MailError> {
    let patience = connector.patience();
    let tcp = Transport::dial(server, patience, stop)?;
    let encrypt = |tcp| Transport::encrypt(tcp, &server.host, connector.tls_config()?, patience);
    match server.security {
        Security::Tls => Session::greeted(encrypt(tcp)?, patience),
        Security::Plain => Session::greeted(Transport::Plain(tcp), patience),
        Security::StartTls => {
            let mut session = Session::greeted(Transport::Plain(tcp), patience)?;
            // Without it, nothing is said: whoever is between could have taken it away.
            if session.is_known || !session.has("STARTTLS") {
                return Err(refused("the server offers no STARTTLS"));
            }
            session.wire.command("STARTTLS", Bounds::default(), |_| Ok(()))?;
            let Transport::Plain(tcp) = session.wire.into_stream()? else {
                return Err(refused("the connection is encrypted already"));
            };
            let wire = Wire::new(encrypt(tcp)?, patience);
            // What was said before may be of whoever was between.
            let mut session = Session { wire, capabilities: Vec::new(), is_known: false };
            session.learn(Finished::default())?;
            Ok(session)
        }
    }
}

impl<S: Stream> Session<S> {
    /// A session from its first byte on.
    pub(crate) fn greeted(stream: S, patience: std::time::Duration) -> Result<Self, MailError> {
        let mut wire = Wire::new(stream, patience);
        let (is_known, told) = match wire.response(0)?.0 {
            Response::Data { status: status @ (Status::Ok | Status::PreAuth), outcome } => {
                let told = match outcome.code {
                    Some(ResponseCode::Capabilities(told)) => Some(capabilities(&told)),
                    _ => None,
                };
                (status == Status::PreAuth, told)
            }
            _ => return Err(refused("the server does not greet as IMAP does")),
        };
        let mut session = Session { wire, capabilities: Vec::new(), is_known };
        session.learn(Finished { capabilities: told })?;
        Ok(session)
    }

    /// Takes note of what the server can do, which changes with TLS and with the login.
    fn learn(&mut self, finished: Finished) -> Result<(), MailError> {
        self.capabilities = match finished.capabilities {
            Some(told) => told,
            None => {
                let mut found = Vec::new();
                self.wire.command(
                    "CAPABILITY",
                    Bounds { responses: 1, ..Bounds::default() },
                    |response| {
                        if let Response::Capabilities(told) = response {
                            found = capabilities(&told);
                        }
                        Ok(())
                    },
                )?;
                found
            }
        };
        Ok(())
    }

    pub(crate) fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }

    /// All folders.
    pub(crate) fn folders(&mut self) -> Result<Vec<RemoteFolder>, MailError> {
        let command = match self.has("SPECIAL-USE") && self.has("LIST-EXTENDED") {
            true => "LIST \"\" \"*\" RETURN (SPECIAL-USE)",
            false => "LIST \"\" \"*\"",
        };
        let mut folders = Vec::new();
        let bounds = Bounds { responses: FOLDERS, literals: NAME, all_literals: FOLDERS * NAME };
        self.wire.command(command, bounds, |response| {
            if let Response::MailboxData(MailboxDatum::List(listed)) = response {
                if folders.len() == FOLDERS {
                    return Err(refused("the server has more than 10,000 folders"));
                }
                folders.extend(folder(&listed));
            }
            Ok(())
        })?;
        Ok(folders)
    }

    /// Opens a folder to be read.
    pub(crate) fn examine(&mut self, path: &str) -> Result<Selected, Fault> {
        let name = login::quoted(&names::encode(path)).filter(|name| name.len() <= 2 * NAME);
        let name = name.ok_or_else(|| MailError::invalid("this is no name of a folder"))?;
        let says_changes = self.has("CONDSTORE") || self.has("QRESYNC");
        let (mut selected, mut validity) = (Selected::default(), None);
        let command = format!("EXAMINE {name}{}", if says_changes { " (CONDSTORE)" } else { "" });
        self.wire.command(&command, Bounds { responses: 20, ..Bounds::default() }, |response| {
            match response {
                Response::MailboxData(MailboxDatum::Exists(exists)) => selected.exists = exists,
                Response::Data { status: Status::Ok, outcome } => match outcome.code {
                    Some(ResponseCode::UidValidity(told)) => validity = Some(told),
                    Some(ResponseCode::UidNext(told)) => selected.uid_next = Some(told),
                    Some(ResponseCode::HighestModSeq(told)) => {
                        // It is of 63 bits (RFC 7162, 3.1.1).
                        let fits = says_changes && i64::try_from(told).is_ok();
                        selected.mod_seq = Some(told).filter(|_| fits);
                    }
                    _ => {}
                },
                _ => {}
            }
            Ok(())
        })?;
        selected.uid_validity =
            validity.ok_or_else(|| refused("the server gives its messages no lasting numbers"))?;
        Ok(selected)
    }

    /// The UIDs and flags of the messages at these places, in their order.
    pub(crate) fn window(&mut self, from: u32, to: u32) -> Result<Vec<(u32, String)>, MailError> {
        let expected = (to - from) as usize + 1;
        let mut found: BTreeMap<u32, (u32, String)> = BTreeMap::new();
        let bounds = Bounds { responses: expected, ..Bounds::default() };
        self.wire.command(&format!("FETCH {from}:{to} (UID FLAGS)"), bounds, |response| {
            if let Response::Fetch(place, attributes) = response
                && let (Some(uid), Fetched { flags: Some(flags), .. }) = fetched(attributes)
                && (from..=to).contains(&place)
            {
                found.insert(place, (uid, flags));
            }
            Ok(())
        })?;
        let found: Vec<(u32, String)> = found.into_values().collect();
        match found.is_sorted_by(|(before, _), (after, _)| before < after) {
            true => Ok(found),
            false => Err(refused("the server's numbers of messages are not in their order")),
        }
    }

    /// What is said of messages by their UIDs, in any order; nothing of those that are gone.
    /// Bodies have so many bytes at most, each and together.
    pub(crate) fn fetch(
        &mut self,
        uids: &[u32],
        what: &str,
        (body, bodies): (usize, usize),
        mut each: impl FnMut(u32, Fetched) -> Result<(), MailError>,
    ) -> Result<(), Fault> {
        let bounds = Bounds { responses: uids.len(), literals: body, all_literals: bodies };
        let command = format!("UID FETCH {} {what}", set(uids));
        self.fetch_as(&command, bounds, |uid, fetched| match uids.binary_search(&uid) {
            Ok(_) => each(uid, fetched),
            // Flags that change are told of any message.
            Err(_) => Ok(()),
        })
    }

    /// The flags of those of the messages up to this UID that changed since then.
    pub(crate) fn changed(
        &mut self,
        to: u32,
        since: u64,
        count: usize,
    ) -> Result<BTreeMap<u32, String>, MailError> {
        let command = format!("UID FETCH 1:{to} (UID FLAGS) (CHANGEDSINCE {since})");
        let mut changed = BTreeMap::new();
        let bounds = Bounds { responses: count, ..Bounds::default() };
        self.fetch_as(&command, bounds, |uid, fetched| {
            changed.extend(fetched.flags.map(|flags| (uid, flags)));
            Ok(())
        })?;
        Ok(changed)
    }

    fn fetch_as(
        &mut self,
        command: &str,
        bounds: Bounds,
        mut each: impl FnMut(u32, Fetched) -> Result<(), MailError>,
    ) -> Result<(), Fault> {
        let fetched = self.wire.command(command, bounds, |response| match response {
            Response::Fetch(_, attributes) => match fetched(attributes) {
                (Some(uid), fetched) => each(uid, fetched),
                (None, _) => Ok(()),
            },
            _ => Ok(()),
        });
        fetched.map(drop)
    }

    /// Says goodbye; what becomes of it is of no interest.
    pub(crate) fn end(mut self) {
        let _ = self.wire.give("LOGOUT");
    }
}

fn capabilities(told: &[Capability<'_>]) -> Vec<String> {
    let name = |capability: &Capability<'_>| match capability {
        Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
        Capability::Auth(mechanism) => format!("AUTH={}", mechanism.to_ascii_uppercase()),
        Capability::Atom(name) => name.to_ascii_uppercase(),
    };
    told.iter().take(CAPABILITIES).map(name).collect()
}

fn folder(listed: &imap_proto::MailboxListData<'_>) -> Option<RemoteFolder> {
    // In quotes, the parser leaves what stands for a quote as it is.
    let name = listed.name.replace("\\\"", "\"").replace("\\\\", "\\");
    let path = names::decode(&name);
    if path.is_empty() || path.len() > NAME || path.chars().any(char::is_control) {
        return None;
    }
    let special = |attribute: &NameAttribute<'_>| match attribute {
        NameAttribute::All => Some(SpecialUse::All),
        NameAttribute::Archive => Some(SpecialUse::Archive),
        NameAttribute::Drafts => Some(SpecialUse::Drafts),
        NameAttribute::Flagged => Some(SpecialUse::Flagged),
        NameAttribute::Junk => Some(SpecialUse::Junk),
        NameAttribute::Sent => Some(SpecialUse::Sent),
        NameAttribute::Trash => Some(SpecialUse::Trash),
        _ => None,
    };
    let unselectable = |attribute: &NameAttribute<'_>| match attribute {
        NameAttribute::NoSelect => true,
        NameAttribute::Extension(name) => name.eq_ignore_ascii_case("\\NonExistent"),
        _ => false,
    };
    // However it is written, it is one folder.
    let path = if path.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { path };
    Some(RemoteFolder {
        path,
        delimiter: listed.delimiter.as_ref().map(|delimiter| delimiter.replace("\\\\", "\\")),
        is_selectable: !listed.name_attributes.iter().any(unselectable),
        special_use: listed.name_attributes.iter().find_map(special),
    })
}

fn fetched(attributes: Vec<AttributeValue<'_>>) -> (Option<u32>, Fetched) {
    let (mut uid, mut fetched) = (None, Fetched::default());
    for attribute in attributes {
        match attribute {
            // There is no message 0.
            AttributeValue::Uid(told) => uid = Some(told).filter(|told| *told > 0),
            AttributeValue::Flags(told) => fetched.flags = Some(flags(&told)),
            AttributeValue::Rfc822Size(told) => fetched.size = Some(told),
            AttributeValue::InternalDate(told) => fetched.received_at = date(&told),
            AttributeValue::BodySection { data, .. } => fetched.body = data.map(std::borrow::Cow::into_owned),
            _ => {}
        }
    }
    (uid, fetched)
}

/// Flags as they are kept: in the order of their names. `\Recent` is about the session.
fn flags(told: &[std::borrow::Cow<'_, str>]) -> String {
    let mut flags: Vec<&str> = told.iter().map(AsRef::as_ref).collect();
    flags.retain(|flag| !flag.eq_ignore_ascii_case("\\Recent") && !flag.chars().any(char::is_control));
    flags.sort_unstable();
    flags.dedup();
    let mut kept = String::new();
    for flag in flags {
        if kept.len() + flag.len() < FLAGS {
            kept.push_str(if kept.is_empty() { "" } else { " " });
            kept.push_str(flag);
        }
    }
    kept
}

/// `17-Jul-1996 02:44:25 -0700` in Unix seconds.
fn date(told: &str) -> Option<i64> {
    let read = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", told.trim());
    read.and_then(|read| read.to_timestamp()).ok().map(|moment| moment.as_second())
}

/// UIDs, which are in their order, as a command has them: `1:3,7`.
fn set(uids: &[u32]) -> String {
    let mut set = String::new();
    for run in uids.chunk_by(|before, after| after.checked_sub(1) == Some(*before)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let separator = if set.is_empty() { "" } else { "," };
        let written = match first == last {
            true => write!(set, "{separator}{first}"),
            false => write!(set, "{separator}{first}:{last}"),
        };
        written.expect("a text takes anything");
    }
    set
}

#[cfg(test)]
mod tests {
    use super::{date, set};

    #[test]
    fn dates_and_sets_are_as_the_standard_has_them() {
        assert_eq!(date("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!((date(" 7-Jul-1996 02:44:25 +0000"), date("soon")), (Some(836_707_465), None));
        assert_eq!(set(&[1, 2, 3, 7, 9, 10, u32::MAX]), "1:3,7,9:10,4294967295");
    }
}
