//! Finding a message by its Message-ID, and putting one into a folder.

use airlock_core::MailError;
use imap_proto::{MailboxDatum, Response};

use super::login::quoted;
use super::wire::{Bounds, Fault, Stream};
use super::{NAME, Session, names};

/// Bytes that are written at once, and for which a server has its time once more.
const CHUNK: usize = 64 << 10;

impl<S: Stream> Session<S> {
    /// Whether a message with this Message-ID, without angle brackets, is in the folder that is
    /// open.
    pub(crate) fn has_message(&mut self, id: &str) -> Result<bool, Fault> {
        // Where the domain cannot be written, what is before it is found: nobody else makes it.
        let id = quoted(&format!("<{id}>")).or_else(|| quoted(id.split('@').next().unwrap_or_default()));
        let id = id.ok_or_else(|| MailError::invalid("this is no Message-ID"))?;
        let mut found = false;
        let command = format!("UID SEARCH HEADER Message-ID {id}");
        self.wire.command(&command, Bounds { responses: 1, ..Bounds::default() }, |response| {
            if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                found |= uids.iter().any(|uid| *uid > 0);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Puts a message into a folder, as one that was read.
    pub(crate) fn append(&mut self, path: &str, message: &[u8]) -> Result<(), Fault> {
        let name = quoted(&names::encode(path)).filter(|name| name.len() <= 2 * NAME);
        let name = name.ok_or_else(|| MailError::invalid("this is no name of a folder"))?;
        let tag = self.wire.give(&format!("APPEND {name} (\\Seen) {{{}}}", message.len()))?;
        // A server that wants none says so before it is sent.
        if self.wire.asked_for_more(&tag)?.is_none() {
            for chunk in message.chunks(CHUNK) {
                self.wire.say(chunk)?;
            }
            self.wire.say(b"\r\n")?;
            self.wire.finish(&tag, Bounds { responses: 5, ..Bounds::default() }, |_| Ok(()))?;
        }
        Ok(())
    }
}
