//! How messages get to the host and back.

use std::io;

/// The way between a plugin and its host.
///
/// A transport carries bytes and knows nothing of what they say. Messages from the host end
/// with a newline, or where the host has nothing more.
pub trait Transport {
    /// Sends one message: a JSON object on one line, without a newline at its end.
    ///
    /// # Errors
    /// When the host cannot be reached any more.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Puts the next bytes from the host at the beginning of `buffer`, which is never empty,
    /// and says how many. `Ok(0)` means that the host has nothing more to say to what it was
    /// sent: there is an answer before that, or there is none.
    ///
    /// # Errors
    /// When the host cannot be reached any more.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}
