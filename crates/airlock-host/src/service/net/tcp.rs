//! Bare connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use airlock_core::{LimitKind, Need, Permit, Scheme, ServiceError, ServiceFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use url::Host;

use super::{Resolve, SystemResolver, Until, addresses, connect, done};

/// Opens connections for plugins, to hosts and addresses that they were granted.
#[derive(Debug, Clone)]
pub struct TcpConnector {
    resolver: Arc<dyn Resolve>,
}

impl Default for TcpConnector {
    fn default() -> Self {
        TcpConnector::new(Arc::new(SystemResolver::new()))
    }
}

impl TcpConnector {
    /// A connector that has names resolved by this.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        TcpConnector { resolver }
    }

    /// Connects to a name or an address, which has to be granted as `net=tcp://HOST:PORT`,
    /// within [`LimitKind::HttpTime`].
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where `host` is neither; [`ServiceError::Denied`] with the
    /// host, or the address that it resolves to; [`ServiceError::TimedOut`];
    /// [`ServiceError::Failed`] where it cannot be reached.
    pub fn connect<'a>(
        &'a self,
        permit: &'a Permit,
        host: &'a str,
        port: u16,
    ) -> ServiceFuture<'a, TcpConnection> {
        Box::pin(async move {
            permit.check()?;
            // As URLs have it, so that `127.1` is an address here and there.
            let host = match Host::parse(host) {
                Ok(Host::Domain(name)) => name,
                Ok(Host::Ipv4(address)) => address.to_string(),
                Ok(Host::Ipv6(address)) => address.to_string(),
                Err(error) => return Err(ServiceError::Invalid(format!("this is no host: {error}"))),
            };
            let scheme = Scheme::Tcp;
            let need = Need::Origin { scheme, host: &host, port };
            // The gate has counted it once.
            if !permit.policy().meets(need) {
                permit.also(need)?;
            }
            let until = Until::within(permit, permit.limits().time(LimitKind::HttpTime));
            let (resolver, permit) = (self.resolver.clone(), permit.clone());
            done(until, async move {
                let addresses = addresses(&*resolver, &permit, scheme, &host, port).await?;
                let stream = connect(&host, &addresses).await?;
                Ok(TcpConnection { stream, permit })
            })
            .await
        })
    }
}

/// An open connection. It is read and written on any executor, and by nobody once the call is
/// over: it fails then with [`io::ErrorKind::TimedOut`]. Waiting for the other side does not
/// end by itself at the deadline; the call does.
#[derive(Debug)]
pub struct TcpConnection {
    stream: TcpStream,
    permit: Permit,
}

impl TcpConnection {
    /// Who is spoken to.
    ///
    /// # Errors
    /// What the system says of a connection that is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The connection, where its call goes on.
    fn open(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        let this = self.get_mut();
        this.permit.check().map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))?;
        Ok(Pin::new(&mut this.stream))
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_shutdown(cx)
    }
}
