//! Listings of folders.
//!
//! wasmtime-wasi reads a whole folder for every buffer that a guest has it filled with, which
//! takes a time that grows with the square of the folder. So a folder is read once, when a
//! guest begins to list it, and the rest is handed out from what was read.

use wasmtime_wasi::p1::types::Errno;

/// The fixed part of a directory entry in preview 1: the next cookie, the inode, the length
/// of the name, the kind, and three bytes of nothing.
const HEAD: usize = 24;

/// Bytes that listings may take together, and so what a folder's may.
pub(in crate::wasi) const MAX_BYTES: usize = 16 << 20;

/// Bytes that a folder is first tried to be read with.
const FIRST_BYTES: usize = 64 << 10;

/// How much larger the next try is.
const GROWTH: usize = 16;

/// Folders that are being listed, by their descriptors, the one used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    kept: Vec<(u32, Listing)>,
}

/// A folder as it was when it began to be listed: entries as wasmtime-wasi writes them.
#[derive(Debug)]
struct Listing {
    bytes: Vec<u8>,
    /// Where each entry begins, by its position.
    starts: Vec<u32>,
}

/// The sizes of buffer to read a folder with, until one is enough.
pub(crate) fn sizes() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(FIRST_BYTES), |size| Some(size * GROWTH)).take_while(|size| *size <= MAX_BYTES)
}

impl Listings {
    /// Keeps what was read of a folder, but for entries that are not shown.
    pub(crate) fn keep(
        &mut self,
        fd: u32,
        bytes: &[u8],
        shows: impl Fn(&str, u8) -> bool,
    ) -> Result<(), Errno> {
        self.forget(fd);
        let listing = Listing::new(bytes, shows)?;
        let mut total = listing.bytes.len();
        // The newest that fit beside it stay.
        let kept = self.kept.iter().rev().take_while(|(_, listing)| {
            total += listing.bytes.len();
            total <= MAX_BYTES
        });
        let gone = self.kept.len() - kept.count();
        self.kept.drain(..gone);
        self.kept.push((fd, listing));
        Ok(())
    }

    /// Fills `buffer` with the entries from the one at `cookie`, as many as fit, the last cut
    /// off. None where the folder is not being listed.
    pub(crate) fn fill(&mut self, fd: u32, cookie: u64, buffer: &mut [u8]) -> Option<usize> {
        let at = self.kept.iter().position(|(of, _)| *of == fd)?;
        let entry = self.kept.remove(at);
        self.kept.push(entry);
        let (_, listing) = self.kept.last()?;
        let start = usize::try_from(cookie).ok().and_then(|cookie| listing.starts.get(cookie));
        let rest = start.map_or(&[][..], |start| &listing.bytes[*start as usize..]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Some(count)
    }

    /// Forgets a folder that is not listed any more.
    pub(crate) fn forget(&mut self, fd: u32) {
        self.kept.retain(|(of, _)| *of != fd);
    }
}

impl Listing {
    /// Takes entries over. Their cookies become their positions among those that are shown.
    fn new(mut read: &[u8], shows: impl Fn(&str, u8) -> bool) -> Result<Self, Errno> {
        let (mut bytes, mut starts) = (Vec::with_capacity(read.len()), Vec::new());
        while let Some((head, rest)) = read.split_first_chunk::<HEAD>() {
            let length = u32::from_le_bytes([head[16], head[17], head[18], head[19]]) as usize;
            let Some((name, rest)) = rest.split_at_checked(length) else { return Err(Errno::Io) };
            read = rest;
            let text = std::str::from_utf8(name).map_err(|_| Errno::Ilseq)?;
            if !shows(text, head[20]) {
                continue;
            }
            starts.push(u32::try_from(bytes.len()).map_err(|_| Errno::Nomem)?);
            bytes.extend_from_slice(&(starts.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&head[8..]);
            bytes.extend_from_slice(name);
        }
        Ok(Listing { bytes, starts })
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD, Listings};

    fn entry(name: &str, kind: u8) -> Vec<u8> {
        let mut entry = vec![0xff; 16];
        entry.extend_from_slice(&u32::try_from(name.len()).expect("short").to_le_bytes());
        entry.extend_from_slice(&[kind, 0, 0, 0]);
        entry.extend_from_slice(name.as_bytes());
        entry
    }

    #[test]
    fn entries_are_handed_out_from_any_cookie_in_any_size() {
        let read = [entry(".", 3), entry("a", 4), entry("folder", 3), entry("b", 4)].concat();
        let mut listings = Listings::default();
        listings.keep(5, &read, |name, kind| kind != 3 || name == ".").expect("well-formed");
        let mut buffer = [0; 200];
        let whole = listings.fill(5, 0, &mut buffer).expect("kept");
        assert_eq!(whole, 3 * (HEAD + 1));
        let names: Vec<char> = (0..3).map(|at| char::from(buffer[at * (HEAD + 1) + HEAD])).collect();
        let nexts: Vec<u8> = (0..3).map(|at| buffer[at * (HEAD + 1)]).collect();
        assert_eq!((names, nexts), (vec!['.', 'a', 'b'], vec![1, 2, 3]));
        assert_eq!(listings.fill(5, 2, &mut buffer[..10]), Some(10), "cut off");
        assert_eq!(listings.fill(5, 3, &mut buffer), Some(0), "the end");
        assert_eq!(listings.fill(5, u64::MAX, &mut buffer), Some(0));
        assert_eq!(listings.fill(6, 0, &mut buffer), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut listings = Listings::default();
        let large: Vec<u8> = (0..40_000).flat_map(|index| entry(&format!("{index:0>200}"), 4)).collect();
        for fd in 0..4 {
            listings.keep(fd, &large, |_, _| true).expect("well-formed");
        }
        assert_eq!(listings.kept.iter().map(|(fd, _)| *fd).collect::<Vec<_>>(), [3]);
        listings.keep(9, &entry("a", 4), |_, _| true).expect("well-formed");
        assert_eq!(listings.kept.iter().map(|(fd, _)| *fd).collect::<Vec<_>>(), [3, 9]);
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        let mut listings = Listings::default();
        let cut = &entry("name", 4)[..HEAD + 2];
        assert!(listings.keep(1, cut, |_, _| true).is_err());
    }
}
