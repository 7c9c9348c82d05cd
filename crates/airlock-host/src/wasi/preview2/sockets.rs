//! Connections of a component, to hosts that it was granted.
//!
//! A component looks a name up and speaks to an address by itself, so who was granted is asked
//! twice: a name is looked up where it is granted with the scheme `tcp` or `udp` at some port, and an
//! address is connected to, or sent a datagram, where it is granted itself, or is one of a name that this
//! call has looked up and that is granted at that port. In both cases each address of a name is checked as
//! everywhere ([`net::check`]). So no address is taken for a name's because a component says that it is.
//!
//! Nobody speaks to a component first: it may bind to nothing in particular only, and not listen, and of
//! datagrams it gets those alone that come from where it has sent one to.

mod udp;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use airlock_core::{LimitKind, Need, Scheme, ServiceError};
use url::Host;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{
    self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Network as NetworkHandle,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::{self, Duration, HostTcpSocket, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::{instance_network, tcp_create_socket};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Pollable, SocketError, SocketResult, TcpSocket, subscribe,
};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};

use super::{Guard, guarded};
use crate::service::net::{self, Until};
use crate::store::CallState;

/// What a component knows of the network, and has open there.
#[derive(Default)]
pub(in crate::wasi) struct Network {
    /// Sockets that this call has made.
    made: u64,
    /// Whom it was the first to send datagrams to.
    reached: u64,
    /// Names that it has looked up, with all their addresses.
    names: HashMap<String, Vec<IpAddr>>,
    /// Whatever call of the session has made it, by its handle.
    open: HashMap<u32, Open>,
    /// Whose each stream of datagrams is, by their handles.
    streams: HashMap<u32, u32>,
}

/// An open socket.
#[derive(Default)]
struct Open {
    /// Whom it speaks to, and the host that this was granted as.
    peers: HashMap<SocketAddr, String>,
    /// The one whom it is connected to.
    connected: Option<SocketAddr>,
}

/// How a component can speak to a host by itself.
const SCHEMES: [Scheme; 2] = [Scheme::Tcp, Scheme::Udp];

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    tcp::add_to_linker::<CallState, Guard>(linker, guarded)?;
    tcp_create_socket::add_to_linker::<CallState, Guard>(linker, guarded)?;
    ip_name_lookup::add_to_linker::<CallState, Guard>(linker, guarded)?;

    network::add_to_linker::<CallState, Guard>(linker, &network::LinkOptions::default(), guarded)?;
    instance_network::add_to_linker::<CallState, WasiSockets>(linker, CallState::sockets)?;
    udp::link(linker)
}

/// An address and port alone: what of an address of version 6 is for this machine only tells no two apart.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

impl CallState {
    fn network(&mut self) -> &mut Network {
        self.wasi.network.get_or_insert_default()
    }

    /// Starts another call of a session: it has made no socket and looked up no name yet. A connection
    /// to whom it may not speak any more ends.
    pub(crate) fn begin_network(&mut self) {
        let Some(network) = &mut self.wasi.network else { return };
        (network.made, network.reached) = (0, 0);
        network.names.clear();
        let connected = |(handle, open): (&u32, &Open)| open.connected.map(|peer| (*handle, peer));
        let connected: Vec<_> = network.open.iter().filter_map(connected).collect();
        for (handle, peer) in connected {
            if !self.may_still_reach(Scheme::Tcp, handle, peer) {
                // One for datagrams is none of these, and is asked about each of them.
                let socket = Resource::<TcpSocket>::new_borrow(handle);
                let _ = HostTcpSocket::shutdown(&mut self.sockets(), socket, ShutdownType::Both);
            }
        }
    }

    /// Whether a socket speaks to whoever is there, and may do so now.
    fn may_still_reach(&mut self, scheme: Scheme, socket: u32, peer: SocketAddr) -> bool {
        let policy = self.plugin.standing().policy();
        let Some(host) = self.network().open.get(&socket).and_then(|open| open.peers.get(&plain(peer)))
        else {
            return false;
        };
        policy.meets(Need::Origin { scheme, host, port: peer.port() })
    }

    fn socket_call(&mut self, function: &'static str) -> SocketResult<()> {
        self.enter_host(function).map_err(SocketError::trap)
    }

    /// One more socket, which is a descriptor of the host's, connected or not: so many a call, and so many
    /// of all calls of a session that are open.
    fn another_socket(&mut self) -> SocketResult<()> {
        let maximum = self.plugin.limits().value(LimitKind::HttpRequests);
        let network = self.network();
        if network.made >= maximum || network.open.len() as u64 >= maximum {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        network.made += 1;
        Ok(())
    }

    /// What a service's refusal is to a component. One that the call is over for ends it.
    fn refusal(&mut self, scheme: Scheme, error: &ServiceError) -> SocketError {
        tracing::debug!(%error, "refused");
        match error {
            ServiceError::Denied(_) => ErrorCode::AccessDenied.into(),
            ServiceError::Limit { .. } => ErrorCode::NewSocketLimit.into(),
            error => match self.tell(scheme.name(), error) {
                Ok(()) => ErrorCode::Unknown.into(),
                Err(halt) => SocketError::trap(halt),
            },
        }
    }

    /// Leave to speak to whoever is there, counted once; the host that it was granted as.
    fn may_reach(&mut self, scheme: Scheme, to: SocketAddr) -> SocketResult<String> {
        self.try_reach(scheme, to).map_err(|error| self.refusal(scheme, &error))
    }

    fn try_reach(&mut self, scheme: Scheme, to: SocketAddr) -> Result<String, ServiceError> {
        let port = to.port();
        let policy = self.plugin.standing().policy();
        let granted = |(name, addresses): (&String, &Vec<IpAddr>)| {
            let need = Need::Origin { scheme, host: name, port };
            let is_its = addresses.contains(&to.ip()) && policy.meets(need);
            is_its.then(|| (name.clone(), addresses.clone()))
        };
        let by_name = self.network().names.iter().find_map(granted);
        let (host, addresses) = by_name.unwrap_or_else(|| (to.ip().to_string(), vec![to.ip()]));
        let permit = self.permit(Need::Origin { scheme, host: &host, port })?;
        net::check(&permit, scheme, &addresses, port)?;
        Ok(host)
    }
}

/// The addresses of a name, once they are there.
///
/// wasmtime-wasi's own type cannot be made by others, so components have handles that are called
/// like it and stand for this.
struct Addresses {
    /// None for an address, which nobody was asked about.
    name: Option<String>,
    state: State,
}

enum State {
    Sought(Work),
    Found { all: Vec<IpAddr>, told: usize },
    Failed(ErrorCode),
}

type Work = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ServiceError>> + Send>>;

impl Addresses {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Sought(work) = &mut self.state {
            self.state = match ready!(work.as_mut().poll(context)) {
                Ok(all) => State::Found { all, told: 0 },
                Err(error) => State::Failed(unresolved(&error)),
            };
        }
        Poll::Ready(())
    }

    /// By the handle that a component has of it.
    fn of(handle: &Resource<ResolveAddressStream>) -> Resource<Addresses> {
        Resource::new_borrow(handle.rep())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

/// Why there are no addresses. Where the call is over, nobody is left to be told.
fn unresolved(error: &ServiceError) -> ErrorCode {
    tracing::debug!(%error, "not looked up");
    match error {
        ServiceError::Denied(_) => ErrorCode::AccessDenied,
        ServiceError::TimedOut => ErrorCode::TemporaryResolverFailure,
        ServiceError::Failed(_) => ErrorCode::NameUnresolvable,
        _ => ErrorCode::PermanentResolverFailure,
    }
}

impl ip_name_lookup::Host for CallState {
    fn resolve_addresses(
        &mut self,
        network: Resource<NetworkHandle>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        self.socket_call("ip-name-lookup.resolve-addresses")?;
        self.ctx().table.get(&network)?;
        // As URLs have it, so that `127.1` is an address here and there. They write those of version
        // 6 in brackets, and components do not.
        let host = match name.parse::<Ipv6Addr>() {
            Ok(address) => Host::Ipv6(address),
            Err(_) => Host::parse(&name).map_err(|_| ErrorCode::InvalidArgument)?,
        };
        let found = |address: IpAddr| State::Found { all: vec![address], told: 0 };
        let addresses = match host {
            Host::Ipv4(address) => Addresses { name: None, state: found(address.into()) },
            Host::Ipv6(address) => Addresses { name: None, state: found(address.into()) },
            Host::Domain(name) => {
                let policy = self.plugin.standing().policy();
                let mut schemes = SCHEMES.to_vec();
                schemes.retain(|scheme| policy.meets(Need::Lookup { scheme: *scheme, host: &name }));
                let scheme = schemes.first().copied().unwrap_or(Scheme::Tcp);
                let need = Need::Lookup { scheme, host: &name };
                let permit = self.permit(need).map_err(|error| self.refusal(scheme, &error))?;
                let until = Until::within(&permit, permit.limits().time(LimitKind::HttpTime));
                let (resolver, host) = (self.services().resolver.clone(), name.clone());
                let work: Work = Box::pin(net::done(until, async move {
                    let found = net::look_up(&*resolver, &host).await?;
                    // In one way at least; in which, each address is asked about once more.
                    let check = |scheme: &Scheme| net::check(&permit, *scheme, &found, None);
                    if !schemes.iter().any(|scheme| check(scheme).is_ok()) {
                        check(&scheme)?;
                    }
                    Ok(found)
                }));
                let mut addresses = Addresses { name: Some(name), state: State::Sought(work) };
                // It begins now, whenever it is waited for.
                let _ = addresses.poll(&mut Context::from_waker(Waker::noop()));
                addresses
            }
        };
        let handle = self.ctx().table.push(addresses)?;
        Ok(Resource::new_own(handle.rep()))
    }
}

impl ip_name_lookup::HostResolveAddressStream for CallState {
    fn resolve_next_address(
        &mut self,
        handle: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        self.socket_call("resolve-address-stream.resolve-next-address")?;
        let addresses = self.ctx().table.get_mut(&Addresses::of(&handle))?;
        if addresses.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        let (next, learnt) = match &mut addresses.state {
            State::Sought(_) => return Err(ErrorCode::WouldBlock.into()),
            State::Failed(code) => return Err((*code).into()),
            State::Found { all, told } => {
                let is_first = *told == 0;
                let next = all.get(*told).copied();
                *told += usize::from(next.is_some());
                (next, addresses.name.clone().filter(|_| is_first).map(|name| (name, all.clone())))
            }
        };
        if let Some((name, found)) = learnt {
            // Beside those of another look-up, which the component may have got others from.
            let known = self.network().names.entry(name).or_default();
            found.into_iter().for_each(|address| {
                if !known.contains(&address) {
                    known.push(address);
                }
            });
        }
        Ok(next.map(IpAddress::from))
    }

    fn subscribe(
        &mut self,
        handle: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.enter_host("resolve-address-stream.subscribe")?;
        subscribe(self.ctx().table, Addresses::of(&handle))
    }

    fn drop(&mut self, handle: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Addresses>::new_own(handle.rep()))?;
        Ok(())
    }
}

/// What each of the others asks for what became of an error.
impl network::Host for CallState {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.enter_host("network.network-error-code")?;
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for CallState {
    fn drop(&mut self, handle: Resource<NetworkHandle>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), handle)
    }
}

impl tcp_create_socket::Host for CallState {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.socket_call("tcp-create-socket.create-tcp-socket")?;
        self.another_socket()?;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)?;
        self.network().open.insert(socket.rep(), Open::default());
        Ok(socket)
    }
}

/// Refuses to bind to what others could know.
fn to_nothing_in_particular(local: IpSocketAddress) -> SocketResult<()> {
    let address = SocketAddr::from(local);
    match address.ip().is_unspecified() && address.port() == 0 {
        true => Ok(()),
        false => Err(ErrorCode::AccessDenied.into()),
    }
}

/// Writes methods that count themselves and then let wasmtime-wasi do the work.
macro_rules! delegate {
    ($of:literal, $host:ident, $this:ty; $($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {$(
        fn $name(&mut self, this: Resource<$this>, $($arg: $ty),*) -> SocketResult<$ret> {
            self.socket_call(concat!($of, ".", stringify!($name)))?;
            $host::$name(&mut self.sockets(), this, $($arg),*)
        }
    )*};
}

/// The same of those that cannot fail.
macro_rules! delegate_sure {
    ($of:literal, $host:ident, $this:ty; $($name:ident() -> $ret:ty;)*) => {$(
        fn $name(&mut self, this: Resource<$this>) -> wasmtime::Result<$ret> {
            self.enter_host(concat!($of, ".", stringify!($name)))?;
            $host::$name(&mut self.sockets(), this)
        }
    )*};
}

use {delegate, delegate_sure};

impl tcp::Host for CallState {}

impl HostTcpSocket for CallState {
    async fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<NetworkHandle>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        self.socket_call("tcp-socket.start_bind")?;
        to_nothing_in_particular(local)?;
        HostTcpSocket::start_bind(&mut self.sockets(), this, network, local).await
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<NetworkHandle>,
        remote: IpSocketAddress,
    ) -> SocketResult<()> {
        self.socket_call("tcp-socket.start_connect")?;
        let (to, handle) = (SocketAddr::from(remote), this.rep());
        let host = self.may_reach(Scheme::Tcp, to)?;
        HostTcpSocket::start_connect(&mut self.sockets(), this, network, remote)?;
        let peers = HashMap::from([(plain(to), host)]);
        self.network().open.insert(handle, Open { peers, connected: Some(to) });
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        self.socket_call("tcp-socket.finish_connect")?;
        let peer = self.network().open.get(&this.rep()).and_then(|open| open.connected);
        if peer.is_some_and(|peer| !self.may_still_reach(Scheme::Tcp, this.rep(), peer)) {
            return Err(ErrorCode::AccessDenied.into());
        }
        HostTcpSocket::finish_connect(&mut self.sockets(), this)
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.enter_host("tcp-socket.drop")?;
        let handle = this.rep();
        HostTcpSocket::drop(&mut self.sockets(), this)?;
        self.network().open.remove(&handle);
        Ok(())
    }

    async fn start_listen(&mut self, _this: Resource<TcpSocket>) -> SocketResult<()> {
        self.socket_call("tcp-socket.start_listen")?;
        Err(ErrorCode::AccessDenied.into())
    }

    delegate! { "tcp-socket", HostTcpSocket, TcpSocket;
        finish_bind() -> ();
        finish_listen() -> ();
        accept() -> (Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>);
        local_address() -> IpSocketAddress;
        remote_address() -> IpSocketAddress;
        set_listen_backlog_size(value: u64) -> ();
        keep_alive_enabled() -> bool;
        set_keep_alive_enabled(value: bool) -> ();
        keep_alive_idle_time() -> Duration;
        set_keep_alive_idle_time(value: Duration) -> ();
        keep_alive_interval() -> Duration;
        set_keep_alive_interval(value: Duration) -> ();
        keep_alive_count() -> u32;
        set_keep_alive_count(value: u32) -> ();
        hop_limit() -> u8;
        set_hop_limit(value: u8) -> ();
        receive_buffer_size() -> u64;
        set_receive_buffer_size(value: u64) -> ();
        send_buffer_size() -> u64;
        set_send_buffer_size(value: u64) -> ();
        shutdown(how: ShutdownType) -> ();
    }

    delegate_sure! { "tcp-socket", HostTcpSocket, TcpSocket;
        is_listening() -> bool;
        address_family() -> IpAddressFamily;
        subscribe() -> Resource<DynPollable>;
    }
}
