//! Names, connections and datagrams by WASI preview 2.

use std::fmt::Display;

use wasi::io::streams::{InputStream, OutputStream};
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::ip_name_lookup::resolve_addresses;
use wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasi::sockets::tcp::TcpSocket;
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp::{IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket};
use wasi::sockets::udp_create_socket::create_udp_socket;

pub type Result<T> = std::result::Result<T, String>;

/// An open connection. The socket goes last: its streams are children of it.
pub struct Connection {
    pub input: InputStream,
    pub output: OutputStream,
    _socket: TcpSocket,
}

pub fn number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

/// What a failure of the network is called.
pub fn said(what: &str) -> impl Fn(ErrorCode) -> String {
    move |error| format!("{what}: {}", error.name())
}

/// A socket for datagrams and what goes through it, the socket last.
pub struct Datagrams {
    incoming: IncomingDatagramStream,
    outgoing: OutgoingDatagramStream,
    _socket: UdpSocket,
}

impl Datagrams {
    /// To and from one alone, or any.
    pub fn new(family: IpAddressFamily, remote: Option<IpSocketAddress>) -> Result<Self> {
        let nothing = match family {
            IpAddressFamily::Ipv4 => {
                IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) })
            }
            IpAddressFamily::Ipv6 => IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: 0,
                address: (0, 0, 0, 0, 0, 0, 0, 0),
                flow_info: 0,
                scope_id: 0,
            }),
        };
        let socket = bind_datagrams(family, nothing)?;
        let (incoming, outgoing) = socket.stream(remote).map_err(said("a stream"))?;
        Ok(Datagrams { incoming, outgoing, _socket: socket })
    }

    pub fn send(&self, line: &str, to: Option<IpSocketAddress>) -> Result<()> {
        let datagram = OutgoingDatagram { data: line.as_bytes().to_vec(), remote_address: to };
        self.send_all(&[datagram]).map(|_| ())
    }

    pub fn send_all(&self, datagrams: &[OutgoingDatagram]) -> Result<u64> {
        while self.outgoing.check_send().map_err(said("sending"))? == 0 {
            self.outgoing.subscribe().block();
        }
        self.outgoing.send(datagrams).map_err(said("sending"))
    }

    /// What comes first, as far as it is there together.
    pub fn received(&self) -> Result<Vec<(IpSocketAddress, String)>> {
        loop {
            self.incoming.subscribe().block();
            let came = self.incoming.receive(16).map_err(said("receiving"))?;
            if !came.is_empty() {
                let text = |data: Vec<u8>| String::from_utf8_lossy(&data).into_owned();
                return Ok(came.into_iter().map(|one| (one.remote_address, text(one.data))).collect());
            }
        }
    }
}

pub fn bind_datagrams(family: IpAddressFamily, local: IpSocketAddress) -> Result<UdpSocket> {
    let socket = create_udp_socket(family).map_err(said("a socket"))?;
    socket.start_bind(&instance_network(), local).map_err(said("binding"))?;
    socket.finish_bind().map_err(said("binding"))?;
    Ok(socket)
}

/// Whether both are one address and port.
pub fn same(one: IpSocketAddress, other: IpSocketAddress) -> bool {
    match (one, other) {
        (IpSocketAddress::Ipv4(one), IpSocketAddress::Ipv4(other)) => {
            (one.address, one.port) == (other.address, other.port)
        }
        (IpSocketAddress::Ipv6(one), IpSocketAddress::Ipv6(other)) => {
            (one.address, one.port) == (other.address, other.port)
        }
        _ => false,
    }
}

pub fn family(address: IpSocketAddress) -> IpAddressFamily {
    match address {
        IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
        IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
    }
}

/// Where a server is.
pub fn address(server: &str) -> Result<IpSocketAddress> {
    let (host, port) = server.rsplit_once(':').ok_or_else(|| format!("`{server}` has no port"))?;
    let port = number(port)?;
    let first = addresses(host)?.first().copied();
    Ok(match first.ok_or_else(|| format!("`{host}` has no address"))? {
        IpAddress::Ipv4(address) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address }),
        IpAddress::Ipv6(address) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, address, flow_info: 0, scope_id: 0 })
        }
    })
}

pub fn connect(server: &str) -> Result<Connection> {
    let remote = address(server)?;
    let socket = create_tcp_socket(family(remote)).map_err(said("a socket"))?;
    socket.start_connect(&instance_network(), remote).map_err(said("connecting"))?;
    let (input, output) = finished(&socket, TcpSocket::finish_connect).map_err(said("connecting"))?;
    Ok(Connection { input, output, _socket: socket })
}

/// Waits until something that was started on a socket is done.
pub fn finished<T>(
    socket: &TcpSocket,
    finish: impl Fn(&TcpSocket) -> std::result::Result<T, ErrorCode>,
) -> std::result::Result<T, ErrorCode> {
    let pollable = socket.subscribe();
    loop {
        match finish(socket) {
            Err(ErrorCode::WouldBlock) => pollable.block(),
            done => return done,
        }
    }
}

pub fn addresses(name: &str) -> Result<Vec<IpAddress>> {
    let stream = resolve_addresses(&instance_network(), name).map_err(said("looking up"))?;
    let pollable = stream.subscribe();
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => found.push(address),
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => pollable.block(),
            Err(error) => return Err(said("looking up")(error)),
        }
    }
}

pub fn shown(address: IpAddress) -> Box<dyn Display> {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => Box::new(std::net::Ipv4Addr::new(a, b, c, d)),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            Box::new(std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h))
        }
    }
}
