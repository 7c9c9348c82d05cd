//! Messages out of the pieces that a transport gives.

use std::io;

use super::Transport;

/// Room for the first piece, in bytes. What published plugins read at once.
const FIRST: usize = 64 * 1024;

/// What was received and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Before this is the message that was given last.
    taken: usize,
    /// From here on there is only room.
    filled: usize,
}

impl Lines {
    /// The next message, without its newline; `None` when the host has nothing to say.
    ///
    /// Blank lines are passed over.
    pub(super) fn next(&mut self, transport: &mut impl Transport) -> io::Result<Option<&[u8]>> {
        loop {
            let (end, last) = self.read(transport)?;
            if !self.bytes[..end].trim_ascii().is_empty() {
                return Ok(Some(&self.bytes[..end]));
            }
            if last {
                return Ok(None);
            }
        }
    }

    /// Where the message that begins at 0 ends, and whether the host has nothing more.
    fn read(&mut self, transport: &mut impl Transport) -> io::Result<(usize, bool)> {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let mut searched = 0;
        loop {
            let found = self.bytes[searched..self.filled].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let end = searched + at;
                self.taken = end + 1;
                return Ok((end, false));
            }
            searched = self.filled;
            if self.filled == self.bytes.len() {
                self.bytes.resize((self.filled * 2).max(FIRST), 0);
            }
            let room = &mut self.bytes[self.filled..];
            let received = transport.receive(room)?.min(room.len());
            if received == 0 {
                self.taken = self.filled;
                return Ok((self.filled, true));
            }
            self.filled += received;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these pieces one by one, each as far as there is room.
    struct Pieces(Vec<&'static [u8]>);

    impl Transport for Pieces {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.first_mut() else { return Ok(0) };
            let (now, later) = piece.split_at(piece.len().min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            *piece = later;
            if later.is_empty() {
                self.0.remove(0);
            }
            Ok(now.len())
        }
    }

    fn all(pieces: &[&'static [u8]]) -> Vec<String> {
        let mut transport = Pieces(pieces.to_vec());
        let mut lines = Lines::default();
        let mut found = Vec::new();
        while let Some(line) = lines.next(&mut transport).expect("no errors here") {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        found
    }

    #[test]
    fn a_message_may_come_in_pieces_and_a_piece_may_hold_messages() {
        assert_eq!(all(&[b"ab", b"c\nd\ne", b"f\n"]), ["abc", "d", "ef"]);
    }

    #[test]
    fn the_last_message_may_lack_its_newline() {
        assert_eq!(all(&[b"ab\n", b"cd"]), ["ab", "cd"]);
    }

    #[test]
    fn blank_lines_are_no_messages() {
        assert_eq!(all(&[b"\n \r\nab\r\n\n", b"\n"]), ["ab\r"]);
        assert!(all(&[]).is_empty());
    }

    #[test]
    fn room_grows_beyond_the_first_piece() {
        let long = vec![b'x'; 3 * FIRST + 7].leak();
        let found = all(&[long, b"\n", b"y"]);
        assert_eq!((found[0].len(), found[1].as_str()), (3 * FIRST + 7, "y"));
    }

    #[test]
    fn a_transport_that_claims_too_much_is_not_believed() {
        struct Liar;
        impl Transport for Liar {
            fn send(&mut self, _: &[u8]) -> io::Result<()> {
                Ok(())
            }
            fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer[buffer.len() - 1] = b'\n';
                Ok(usize::MAX)
            }
        }
        let mut lines = Lines::default();
        let line = lines.next(&mut Liar).expect("no errors here").map(<[u8]>::len);
        assert_eq!(line, Some(FIRST - 1));
    }
}
