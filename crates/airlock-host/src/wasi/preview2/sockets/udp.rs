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
use super::{delegate, delegate_sure, to_nothing_in_particular};
use crate::store::CallState;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    udp::add_to_linker::<CallState, Guard>(linker, guarded)?;
    udp_create_socket::add_to_linker::<CallState, Guard>(linker, guarded)
}

impl CallState {
    /// Leave to send a datagram there, and to get some from there.
    fn may_send(&mut self, to: SocketAddr) -> SocketResult<()> {
        self.may_reach(Scheme::Udp, to)?;
        let maximum = self.plugin.limits().value(LimitKind::HttpRequests);
        let peers = &mut self.network().peers;
        let peer = (to.ip(), to.port());
        if !peers.contains(&peer) {
            if peers.len() as u64 >= maximum {
                return Err(ErrorCode::NewSocketLimit.into());
            }
            peers.insert(peer);
        }
        Ok(())
    }
}

impl udp_create_socket::Host for CallState {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        self.socket_call("udp-create-socket.create-udp-socket")?;
        self.another_socket()?;
        udp_create_socket::Host::create_udp_socket(&mut self.sockets(), family).await
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
        if let Some(remote) = remote {
            self.may_send(remote.into())?;
        }
        HostUdpSocket::stream(&mut self.sockets(), this, remote).await
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
        drop() -> ();
    }
}

impl HostIncomingDatagramStream for CallState {
    fn receive(
        &mut self,
        this: Resource<IncomingDatagramStream>,
        most: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        self.socket_call("incoming-datagram-stream.receive")?;
        let mut received = HostIncomingDatagramStream::receive(&mut self.sockets(), this, most)?;
        let peers = &self.network().peers;
        received.retain(|datagram| {
            let from = SocketAddr::from(datagram.remote_address);
            peers.contains(&(from.ip(), from.port()))
        });
        Ok(received)
    }

    delegate_sure! { "incoming-datagram-stream", HostIncomingDatagramStream, IncomingDatagramStream;
        subscribe() -> Resource<DynPollable>;
        drop() -> ();
    }
}

impl HostOutgoingDatagramStream for CallState {
    fn send(
        &mut self,
        this: Resource<OutgoingDatagramStream>,
        mut datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        self.socket_call("outgoing-datagram-stream.send")?;
        let mut permitted = 0;
        for datagram in &datagrams {
            // Without one it goes where the stream was made for.
            let leave = datagram.remote_address.map_or(Ok(()), |to| self.may_send(to.into()));
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
        HostOutgoingDatagramStream::drop(&mut self.sockets(), this).await
    }

    delegate! { "outgoing-datagram-stream", HostOutgoingDatagramStream, OutgoingDatagramStream;
        check_send() -> u64;
    }

    delegate_sure! { "outgoing-datagram-stream", HostOutgoingDatagramStream, OutgoingDatagramStream;
        subscribe() -> Resource<DynPollable>;
    }
}
