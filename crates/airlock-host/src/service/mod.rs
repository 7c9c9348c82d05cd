//! The services that come with Airlock: the host's side of each capability.

mod http;
mod net;

// The public interface is:
pub use http::{HttpClient, HttpClientBuilder};
pub use net::{Resolve, SystemResolver, TcpConnection, TcpConnector};
