//! Connections with a server, encrypted or not, each wait of which ends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use airlock_core::MailError;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::wire::{Stream, broken};
use crate::Server;
use crate::smtp::addresses;

/// Ends what is being done with servers, from another thread. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Mutex<Stopping>>);

#[derive(Debug, Default)]
struct Stopping {
    is_stopped: bool,
    open: Vec<Weak<TcpStream>>,
}

impl Stop {
    /// Not yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Cuts the connections that are open, and any that is opened later.
    pub fn stop(&self) {
        let mut stopping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopping.is_stopped = true;
        for stream in stopping.open.drain(..).filter_map(|stream| stream.upgrade()) {
            // One that has ended by itself needs no more.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether it is asked to.
    pub fn is_stopped(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_stopped
    }

    fn watch(&self, stream: &Arc<TcpStream>) -> Result<(), MailError> {
        let mut stopping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stopping.is_stopped {
            return Err(broken(&"it was stopped"));
        }
        stopping.open.retain(|stream| stream.strong_count() > 0);
        stopping.open.push(Arc::downgrade(stream));
        Ok(())
    }
}

/// A TCP connection that does not wait longer than until a moment.
#[derive(Debug)]
pub(crate) struct Tcp {
    stream: Arc<TcpStream>,
    until: Instant,
}

impl Tcp {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&*self.stream).read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        (&*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}

/// A connection as an account has it.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Tcp),
    Tls(Box<StreamOwned<ClientConnection, Tcp>>),
}

impl Transport {
    /// Connects with a server, without encryption yet.
    pub(crate) fn dial(server: &Server, patience: Duration, stop: &Stop) -> Result<Tcp, MailError> {
        let mut last = None;
        for address in addresses(server).map_err(|unsent| unsent.error)? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    let stream = Arc::new(stream);
                    stop.watch(&stream)?;
                    // Commands are short and wait for their answers.
                    stream.set_nodelay(true).map_err(|error| broken(&error))?;
                    return Ok(Tcp { stream, until: Instant::now() + patience });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| broken(&"the server has no address"), |error| broken(&error)))
    }

    /// The same connection, encrypted.
    pub(crate) fn encrypt(
        mut tcp: Tcp,
        host: &str,
        config: Arc<ClientConfig>,
        patience: Duration,
    ) -> Result<Self, MailError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| MailError::invalid(&format!("imap.host `{host}`: {error}")))?;
        let failed = |error: &dyn std::fmt::Display| broken(&format!("no encrypted connection: {error}"));
        let connection = ClientConnection::new(config, name).map_err(|error| failed(&error))?;
        tcp.until = Instant::now() + patience;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| failed(&error))?;
        }
        Ok(Transport::Tls(Box::new(stream)))
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.flush(),
            Transport::Tls(stream) => stream.flush(),
        }
    }
}

impl Stream for Transport {
    fn wait_until(&mut self, moment: Instant) {
        match self {
            Transport::Plain(stream) => stream.until = moment,
            Transport::Tls(stream) => stream.sock.until = moment,
        }
    }
}
