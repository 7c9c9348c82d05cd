//! The host at the other end of standard input and output: fledge's native form.

use std::io::{self, Read as _, Write as _};

use super::Transport;

/// The host that runs this plugin: lines on standard input and output.
#[derive(Debug)]
pub struct Host(());

impl Host {
    pub(super) fn new() -> Self {
        Host(())
    }

    pub(super) fn exit(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

impl Transport for Host {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut host = io::stdout().lock();
        host.write_all(message)?;
        host.write_all(b"\n")?;
        host.flush()
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match io::stdin().lock().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
