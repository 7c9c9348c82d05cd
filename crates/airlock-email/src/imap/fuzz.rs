//! Any bytes as what a server says.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use airlock_core::{ListMail, SyncMail};

use super::{Session, Stream};
use crate::testing::{account, mailbox};

/// What a server says that is as it should be, up to the end of each command.
const STEPS: [&[u8]; 5] = [
    b"* OK [CAPABILITY IMAP4rev1 CONDSTORE] hello\r\n",
    b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] .\r\n* OK [UIDNEXT 9] .\r\n* OK [HIGHESTMODSEQ 4] .\r\na1 OK done\r\n",
    b"* 1 FETCH (UID 3 FLAGS ())\r\n* 2 FETCH (UID 5 FLAGS (\\Seen))\r\n* 3 FETCH (UID 6 FLAGS ())\r\na2 OK done\r\n",
    b"* 1 FETCH (UID 3 RFC822.SIZE 20)\r\n* 2 FETCH (UID 5 RFC822.SIZE 20)\r\n* 3 FETCH (UID 6 RFC822.SIZE 2000000)\r\na3 OK done\r\n",
    b"* 1 FETCH (UID 3 FLAGS () INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\na: b\n)\r\na4 OK done\r\n",
];

/// A server that says what it says, whatever it hears.
struct Said {
    bytes: Vec<u8>,
    at: usize,
    /// Bytes that are read at once.
    step: usize,
}

impl Read for Said {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let read = rest.len().min(buffer.len()).min(self.step);
        buffer[..read].copy_from_slice(&rest[..read]);
        self.at += read;
        Ok(read)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Said {
    fn wait_until(&mut self, _moment: Instant) {}
}

#[test]
fn any_bytes_of_a_server_end_in_mail_or_an_error() {
    bolero::check!().with_iterations(3_000).with_test_time(Duration::from_secs(4)).for_each(
        |bytes: &[u8]| {
            let Some((first, bytes)) = bytes.split_first() else { return };
            let steps = usize::from(*first) % (STEPS.len() + 1);
            let said = [STEPS[..steps].concat(), bytes.to_vec()].concat();
            let stream = Said { bytes: said, at: 0, step: 1 + usize::from(*first) * 16 };
            let Ok(mut session) = Session::greeted(stream, Duration::from_secs(1)) else { return };
            let (_home, mailbox) = mailbox();
            let anna = account(&mailbox, "anna");
            let request =
                SyncMail { account_id: None, folder: "INBOX".to_owned(), cursor: None, max_messages: 10 };
            let synced = mailbox.sync_session(anna, &mut session, &request, &());
            let list = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 500 };
            let here = mailbox.list(&list).expect("read").messages.len() as u64;
            match synced {
                Ok(synced) => assert_eq!(synced.synced.synced, here),
                // With an error there may be what came before it.
                Err(_) => assert!(here <= 3),
            }
            let _ = session.folders();
        },
    );
}
