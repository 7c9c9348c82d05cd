//! A way to a server on which things go wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with a connection. Places are counted in bytes of their direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// Both directions are cut after so many bytes to the server.
    pub(crate) to_server: u64,
    /// Both directions are cut after so many bytes to the client.
    pub(crate) to_client: u64,
    /// The byte at this place to the client is another one.
    pub(crate) garbled: Option<u64>,
    /// The byte at this place to the server is another one.
    pub(crate) garbled_to_server: Option<u64>,
    /// From this place on the client gets this, again and again.
    pub(crate) flood: Option<(u64, &'static [u8])>,
    /// Once the client got this, it gets nothing more, and the connection stays.
    pub(crate) held_after: Option<&'static [u8]>,
    /// What is waited before anything is let through.
    pub(crate) delay: Duration,
}

impl Fault {
    pub(crate) const NONE: Fault = Fault {
        to_server: u64::MAX,
        to_client: u64::MAX,
        garbled: None,
        garbled_to_server: None,
        flood: None,
        held_after: None,
        delay: Duration::ZERO,
    };
}

/// Leads connections to a server, with what goes wrong as is said when one comes.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    fault: Arc<Mutex<Fault>>,
    count: Arc<AtomicUsize>,
    open: Arc<Open>,
}

/// Connections that are there, and how many there were at once at most.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Proxy {
            port,
            fault: Arc::new(Mutex::new(Fault::NONE)),
            count: Arc::default(),
            open: Arc::default(),
        };
        let (fault, count, open) = (proxy.fault.clone(), proxy.count.clone(), proxy.open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                let (here, there) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let fault = *fault.lock().unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let to_server = Fault {
                    garbled: fault.garbled_to_server,
                    flood: None,
                    held_after: None,
                    to_client: fault.to_server,
                    ..fault
                };
                std::thread::spawn(move || lead(here, there, to_server));
                let open = open.clone();
                open.most.fetch_max(open.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    lead(server, client, fault);
                    open.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    /// How many connections there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How many connections there were at once at most.
    pub(crate) fn most(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    /// Has this go wrong with connections that come from now on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

fn lead(mut from: TcpStream, mut to: TcpStream, fault: Fault) {
    let mut buffer = [0; 4096];
    let (mut at, mut is_held) = (0, false);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if is_held {
            continue;
        }
        std::thread::sleep(fault.delay);
        let bytes = &mut buffer[..read];
        if let Some(place) = fault.garbled.and_then(|place| usize::try_from(place.checked_sub(at)?).ok())
            && let Some(byte) = bytes.get_mut(place)
        {
            *byte ^= 0x15;
        }
        let flood = fault.flood.filter(|(place, _)| *place < at + read as u64);
        let end = flood.map_or(fault.to_client, |(place, _)| place);
        let through = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(read);
        if to.write_all(&bytes[..through]).is_err() {
            break;
        }
        is_held = fault.held_after.is_some_and(|what| memchr::memmem::find(bytes, what).is_some());
        if let Some((_, flood)) = flood {
            while to.write_all(flood).is_ok() {}
        }
        if through < read {
            break;
        }
        at += read as u64;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
