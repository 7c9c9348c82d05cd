//! From a host that was granted to a connection with an address that may be spoken to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use airlock_core::{Permit, Scheme, ServiceError};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Resolve;

/// How long an address may take before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const MAX_TRIED: usize = 8;

/// Addresses of one name that are looked at. A name with more has no honest owner.
const MAX_ADDRESSES: usize = 256;

/// The addresses of a host, which is a name in lower case or an address without brackets.
/// Each of them may be connected to.
///
/// # Errors
/// [`ServiceError::Denied`] with the first address that is not granted;
/// [`ServiceError::Failed`] where there is none.
pub(in crate::service) async fn addresses(
    resolver: &dyn Resolve,
    permit: &Permit,
    scheme: Scheme,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ServiceError> {
    let found = look_up(resolver, host).await?;
    check(permit, scheme, &found, port)?;
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// The addresses of a host as they are, none of which has been checked.
///
/// # Errors
/// [`ServiceError::Failed`] where there is none.
pub(crate) async fn look_up(resolver: &dyn Resolve, host: &str) -> Result<Vec<IpAddr>, ServiceError> {
    // Nobody is asked about an address: it stands for itself.
    let found = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolver.resolve(host).await?,
    };
    if found.is_empty() || found.len() > MAX_ADDRESSES {
        return Err(ServiceError::Failed(match found.is_empty() {
            true => format!("`{host}` has no address"),
            false => format!("`{host}` has more than {MAX_ADDRESSES} addresses"),
        }));
    }
    Ok(found)
}

/// Whether each of a host's addresses may be connected to: at this port, or at some port where none
/// is said.
///
/// One forbidden address refuses them all: a name that stands for both a public host and an
/// inner one is what an attack looks like, and taking the public one would let whoever owns
/// the name try again and again.
///
/// # Errors
/// [`ServiceError::Denied`] with the first address that is not granted.
pub(crate) fn check(
    permit: &Permit,
    scheme: Scheme,
    addresses: &[IpAddr],
    port: impl Into<Option<u16>>,
) -> Result<(), ServiceError> {
    let port = port.into();
    addresses.iter().try_for_each(|address| permit.also_address(scheme, *address, port))
}

/// Connects to the first of these addresses that answers. `host` is for the error.
///
/// # Errors
/// [`ServiceError::Failed`] with why the last did not.
pub(in crate::service) async fn connect(
    host: &str,
    addresses: &[SocketAddr],
) -> Result<TcpStream, ServiceError> {
    // The address stays out of the text: a name's owner should not learn from a plugin what
    // is in the host's network.
    let failed = |error: &io::Error| {
        ServiceError::Failed(format!("`{host}` cannot be connected to: {}", error.kind()))
    };
    let stream = match addresses {
        [address] => TcpStream::connect(address).await.map_err(|error| failed(&error))?,
        addresses => race(addresses).await.map_err(|error| failed(&error))?,
    };
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    Ok(stream)
}

/// Each starts when the one before it has failed or keeps waiting. The first that answers
/// ends the others.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter().copied().take(MAX_TRIED);
    let mut racing = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        if let Some(address) = next {
            racing.spawn(TcpStream::connect(address));
        }
        let ended = match next {
            Some(_) => match tokio::time::timeout(STAGGER, racing.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
            None => racing.join_next().await,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = error.into(),
            None => return Err(failure),
        }
    }
}
