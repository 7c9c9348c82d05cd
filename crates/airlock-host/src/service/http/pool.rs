//! Connections that are kept for the next request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlock_core::{Digest, Identity, Scheme};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::service::net::Task;

/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(30);

/// Connections kept for one plugin and origin.
const PER_ORIGIN: usize = 8;

/// Connections kept for all plugins. The one that waits longest makes room.
const IN_ALL: usize = 256;

/// Who spoke to whom. Two plugins never share a connection, nor do two versions of one: what
/// a server knows of a connection, it knows of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    plugin: String,
    digest: Digest,
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Key {
    pub(super) fn new(plugin: &Identity, scheme: Scheme, host: &str, port: u16) -> Self {
        Key { plugin: plugin.name.clone(), digest: plugin.digest, scheme, host: host.to_owned(), port }
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// An open connection. Dropped, it is closed at once, in whatever state it is.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Whom it is with: the address that was checked.
    pub(super) address: SocketAddr,
    /// Moves its bytes.
    pub(super) _driver: Task,
}

#[derive(Debug)]
struct Idle {
    key: Key,
    live: Live,
    until: Instant,
}

/// Connections that wait for their next request, in the order in which they began to.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    idle: Vec<Idle>,
    /// Whether somebody looks after the oldest.
    attended: bool,
}

impl Pool {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to one of these addresses, the last used first. What was checked when it
    /// was made may be forbidden today, so its address has to be among those just checked.
    pub(super) fn take(&self, key: &Key, addresses: &[SocketAddr]) -> Option<Live> {
        let mut kept = self.kept();
        kept.idle.retain(|idle| idle.live.sender.is_ready());
        let fits = |idle: &Idle| idle.key == *key && addresses.contains(&idle.live.address);
        let index = kept.idle.iter().rposition(fits)?;
        Some(kept.idle.remove(index).live)
    }

    /// Keeps a connection, if it can be used again.
    pub(super) fn put(self: &Arc<Self>, runtime: &Handle, key: Key, live: Live) {
        if !live.sender.is_ready() {
            return;
        }
        let mut kept = self.kept();
        let mut same = kept.idle.iter().enumerate().filter(|(_, idle)| idle.key == key);
        let oldest = same.next().map(|(index, _)| index);
        if let Some(oldest) = oldest.filter(|_| same.count() + 1 >= PER_ORIGIN) {
            kept.idle.remove(oldest);
        } else if kept.idle.len() >= IN_ALL {
            kept.idle.remove(0);
        }
        kept.idle.push(Idle { key, live, until: Instant::now() + KEPT });
        if !std::mem::replace(&mut kept.attended, true) {
            let pool = Arc::downgrade(self);
            runtime.spawn(async move {
                while let Some(next) = pool.upgrade().and_then(|pool| pool.sweep(Instant::now())) {
                    tokio::time::sleep_until(next).await;
                }
            });
        }
    }

    /// Closes what has waited too long; when the next one will have.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut kept = self.kept();
        kept.idle.retain(|idle| idle.until > now && !idle.live.sender.is_closed());
        let next = kept.idle.first().map(|idle| idle.until);
        kept.attended = next.is_some();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use airlock_core::{Digest, Identity, Scheme};
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::time::Instant;

    use super::{IN_ALL, KEPT, Key, Live, PER_ORIGIN, Pool};
    use crate::service::net::{Task, runtime};

    fn key(plugin: &str) -> Key {
        let plugin = Identity { name: plugin.to_owned(), digest: Digest::of(b"") };
        Key::new(&plugin, Scheme::Http, "api.test", 80)
    }

    /// A connection, and its other end.
    fn connected(listener: &TcpListener) -> (Live, TcpStream) {
        let runtime = runtime().expect("a runtime");
        let address = listener.local_addr().expect("an address");
        let live = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("accepted");
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await.expect("opened");
            let _driver = Task::spawn(&runtime, async move {
                let _ = connection.await;
            });
            sender.ready().await.expect("ready");
            Live { sender, address, _driver }
        });
        (live, listener.accept().expect("connected").0)
    }

    #[test]
    fn what_nobody_uses_is_closed_after_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let pool = Arc::new(Pool::default());
        let (live, mut other_end) = connected(&listener);
        let address = live.address;
        pool.put(&runtime().expect("a runtime"), key("one"), live);
        let soon = Instant::now() + KEPT - std::time::Duration::from_secs(5);
        assert!(pool.sweep(soon).is_some_and(|next| next > soon));
        assert!(pool.take(&key("two"), &[address]).is_none());
        assert!(pool.take(&key("one"), &[]).is_none());
        assert_eq!(pool.sweep(Instant::now() + KEPT), None);
        assert_eq!(other_end.read(&mut [0]).expect("closed"), 0);
        assert!(pool.take(&key("one"), &[address]).is_none());
    }

    #[test]
    fn few_are_kept_for_one_plugin_and_not_many_for_all() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (pool, runtime) = (Arc::new(Pool::default()), runtime().expect("a runtime"));
        let kept = || pool.kept().idle.len();
        let mut ends = Vec::new();
        for _ in 0..PER_ORIGIN + 2 {
            let (live, other_end) = connected(&listener);
            pool.put(&runtime, key("one"), live);
            ends.push(other_end);
        }
        assert_eq!(kept(), PER_ORIGIN);
        assert_eq!(ends[1].read(&mut [0]).expect("closed"), 0);
        for plugin in 0..IN_ALL {
            let (live, other_end) = connected(&listener);
            pool.put(&runtime, key(&plugin.to_string()), live);
            ends.push(other_end);
        }
        assert_eq!(kept(), IN_ALL);
        assert_eq!(ends[PER_ORIGIN + 1].read(&mut [0]).expect("closed"), 0);
    }
}
