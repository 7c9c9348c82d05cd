//! Any bytes as what a server says.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::Fate;
use super::wire::Session;
use crate::imap::Stream;

/// What a server says that takes a message, up to the end of each command.
const STEPS: [&[u8]; 5] =
    [b"220 hello\r\n", b"250-hello\r\n250 AUTH PLAIN\r\n", b"250 ok\r\n", b"354 go on\r\n", b"250 taken\r\n"];

/// A server that says what it says, whatever it hears, and what it heard.
struct Said<'a> {
    bytes: &'a [u8],
    /// Bytes that are read at once.
    step: usize,
    heard: &'a mut Vec<u8>,
}

impl Read for Said<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.len().min(buffer.len()).min(self.step);
        let (now, rest) = self.bytes.split_at(read);
        buffer[..read].copy_from_slice(now);
        self.bytes = rest;
        Ok(read)
    }
}

impl Write for Said<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Said<'_> {
    fn wait_until(&mut self, _moment: Instant) {}
}

#[test]
fn any_bytes_of_a_server_end_in_a_message_that_is_taken_or_known_not_to_be() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(4)).for_each(
        |bytes: &[u8]| {
            let Some((first, bytes)) = bytes.split_first() else { return };
            let steps = usize::from(*first) % (STEPS.len() + 1);
            let said = [STEPS[..steps].concat(), bytes.to_vec()].concat();
            let (mut heard, mut is_marked) = (Vec::new(), false);
            let stream = Said { bytes: &said, step: 1 + usize::from(*first), heard: &mut heard };
            let end = Instant::now() + Duration::from_secs(60);
            let sent = Session::greeted(stream, Duration::from_secs(1), end).and_then(|mut session| {
                session.command("MAIL FROM:<a@x.example>\r\n")?;
                session.command("DATA\r\n")?;
                session.content(b"Subject: s\r\n\r\n.\r\n", || {
                    is_marked = true;
                    Ok(())
                })
            });
            // The end was sent where it was written down before, and there only.
            assert_eq!(heard.ends_with(b"\r\n..\r\n.\r\n"), is_marked);
            match sent {
                Ok(answer) => assert!(is_marked && answer.code < 300),
                Err(unsent) => assert!(unsent.fate != Fate::Uncertain || is_marked),
            }
        },
    );
}
