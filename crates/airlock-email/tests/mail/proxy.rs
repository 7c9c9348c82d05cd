//! A way to a server that ends after so many bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of either direction that are let through before both are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) to_server: u64,
    pub(crate) to_client: u64,
}

impl Cut {
    pub(crate) const NEVER: Cut = Cut { to_server: u64::MAX, to_client: u64::MAX };
}

/// Leads connections to a server, each cut as is said when it comes.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    to_server: Arc<AtomicU64>,
    to_client: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Proxy { port, to_server: Arc::default(), to_client: Arc::default() };
        proxy.cut(Cut::NEVER);
        let (to_server, to_client) = (proxy.to_server.clone(), proxy.to_client.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                let (here, there) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let bounds = (to_server.load(Ordering::SeqCst), to_client.load(Ordering::SeqCst));
                std::thread::spawn(move || lead(here, there, bounds.0));
                std::thread::spawn(move || lead(server, client, bounds.1));
            }
        });
        proxy
    }

    /// Has connections that come from now on be cut so.
    pub(crate) fn cut(&self, cut: Cut) {
        self.to_server.store(cut.to_server, Ordering::SeqCst);
        self.to_client.store(cut.to_client, Ordering::SeqCst);
    }
}

fn lead(mut from: TcpStream, mut to: TcpStream, mut rest: u64) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let through = usize::try_from(rest).unwrap_or(usize::MAX).min(read);
        if to.write_all(&buffer[..through]).is_err() || through < read {
            break;
        }
        rest -= read as u64;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
