//! Datagrams of a component.

use std::net::SocketAddr;

use airlock_core::{LimitKind, Scheme};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Network as NetworkHandle,
};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    self, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram,
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
};
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket;
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use super::super::{Guard, guarded};
use super::{Open, delegate, delegate_sure, plain, to_nothing_in_particular};
use crate::store::CallState;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    udp::add_to_linker::<CallState, Guard>(linker, guarded)?;
    udp_create_socket::add_to_linker::<CallState, Guard>(linker, guarded)
}

impl CallState {
    /// Leave for a socket to send a datagram there, and to get some from there.
    fn may_send(&mut self, socket: u32, to: SocketAddr) -> SocketResult<()> {
        let host = self.may_reach(Scheme::Udp, to)?;
        let maximum = self.plugin.limits().value(LimitKind::HttpRequests);
        let network = self.network();
        let peers = &mut network.open.entry(socket).or_default().peers;
        if !peers.contains_key(&plain(to)) {
            if network.reached >= maximum || peers.len() as u64 >= maximum {
                return Err(ErrorCode::NewSocketLimit.into());
            }
            network.reached += 1;
        }
        peers.insert(plain(to), host);
        Ok(())
    }

    /// The socket that a stream is of, by the handles of both.
    fn socket_of(&mut self, stream: u32) -> u32 {
        self.network().streams.get(&stream).copied().unwrap_or(u32::MAX)
    }

    /// Leave to send one more to whom a socket is connected to.
    fn may_send_on(&mut self, socket: u32) -> SocketResult<()> {
        let connected = self.network().open.get(&socket).and_then(|open| open.connected);
        match connected {
            Some(peer) if !self.may_still_reach(Scheme::Udp, socket, peer) => {
                // Asked for once more, so that the refusal is recorded.
                self.may_reach(Scheme::Udp, peer).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl udp_create_socket::Host for CallState {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        self.socket_call("udp-create-socket.create-udp-socket")?;
        self.another_socket()?;
        let socket = udp_create_socket::Host::create_udp_socket(&mut self.sockets(), family).await?;
        self.network().open.insert(socket.rep(), Open::default());
        Ok(socket)
    }
}

impl udp::Host for CallState {}

impl HostUdpSocket for CallState {
    async fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<NetworkHandle>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        self.socket_call("udp-socket.start_bind")?;
        to_nothing_in_particular(local)?;
        HostUdpSocket::start_bind(&mut self.sockets(), this, network, local).await
    }

    async fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)> {
        self.socket_call("udp-socket.stream")?;
        let (handle, remote_address) = (this.rep(), remote.map(SocketAddr::from));
        if let Some(remote) = remote_address {
            self.may_send(handle, remote)?;
        }
        let streams = HostUdpSocket::stream(&mut self.sockets(), this, remote).await?;
        let network = self.network();
        network.open.entry(handle).or_default().connected = remote_address;
        network.streams.extend([(streams.0.rep(), handle), (streams.1.rep(), handle)]);
        Ok(streams)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.enter_host("udp-socket.drop")?;
        let handle = this.rep();
        HostUdpSocket::drop(&mut self.sockets(), this)?;
        self.network().open.remove(&handle);
        Ok(())
    }

    delegate! { "udp-socket", HostUdpSocket, UdpSocket;
        finish_bind() -> ();
        local_address() -> IpSocketAddress;
        remote_address() -> IpSocketAddress;
        unicast_hop_limit() -> u8;
        set_unicast_hop_limit(value: u8) -> ();
        receive_buffer_size() -> u64;
        set_receive_buffer_size(value: u64) -> ();
        send_buffer_size() -> u64;
        set_send_buffer_size(value: u64) -> ();
    }

    delegate_sure! { "udp-socket", HostUdpSocket, UdpSocket;
        address_family() -> IpAddressFamily;
        subscribe() -> Resource<DynPollable>;
    }
}

impl HostIncomingDatagramStream for CallState {
    fn receive(
        &mut self,
        this: Resource<IncomingDatagramStream>,
        most: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        self.socket_call("incoming-datagram-stream.receive")?;
        let socket = self.socket_of(this.rep());
        let mut received = HostIncomingDatagramStream::receive(&mut self.sockets(), this, most)?;
        received.retain(|one| self.may_still_reach(Scheme::Udp, socket, one.remote_address.into()));
        Ok(received)
    }

    fn drop(&mut self, this: Resource<IncomingDatagramStream>) -> wasmtime::Result<()> {
        self.enter_host("incoming-datagram-stream.drop")?;
        self.network().streams.remove(&this.rep());
        HostIncomingDatagramStream::drop(&mut self.sockets(), this)
    }

    delegate_sure! { "incoming-datagram-stream", HostIncomingDatagramStream, IncomingDatagramStream;
        subscribe() -> Resource<DynPollable>;
    }
}

impl HostOutgoingDatagramStream for CallState {
    fn send(
        &mut self,
        this: Resource<OutgoingDatagramStream>,
        mut datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        self.socket_call("outgoing-datagram-stream.send")?;
        let (socket, mut permitted) = (self.socket_of(this.rep()), 0);
        for datagram in &datagrams {
            let leave = match datagram.remote_address {
                Some(to) => self.may_send(socket, to.into()),
                None => self.may_send_on(socket),
            };
            match leave.map_err(SocketError::downcast) {
                Ok(()) => permitted += 1,
                Err(Ok(code)) if permitted == 0 => return Err(code.into()),
                // It learns that this one was not sent, and why when it tries it again.
                Err(Ok(_)) => break,
                Err(Err(end)) => return Err(SocketError::trap(end)),
            }
        }
        datagrams.truncate(permitted);
        HostOutgoingDatagramStream::send(&mut self.sockets(), this, datagrams)
    }

    async fn drop(&mut self, this: Resource<OutgoingDatagramStream>) -> wasmtime::Result<()> {
        self.enter_host("outgoing-datagram-stream.drop")?;
        self.network().streams.remove(&this.rep());
        HostOutgoingDatagramStream::drop(&mut self.sockets(), this).await
    }

    delegate! { "outgoing-datagram-stream", HostOutgoingDatagramStream, OutgoingDatagramStream;
        check_send() -> u64;
    }

    delegate_sure! { "outgoing-datagram-stream", HostOutgoingDatagramStream, OutgoingDatagramStream;
        subscribe() -> Resource<DynPollable>;
    }
}
