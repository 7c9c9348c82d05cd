//! A WASI preview 2 program that says a line to a server and prints what comes back.
//!
//! ```text
//! tcp-echo [HOST:PORT [LINE]]   what the server says to LINE
//! tcp-echo lookup NAME          the addresses of a name
//! tcp-echo listen               whether it may wait for others to connect
//! tcp-echo hold HOST:PORT N     N connections at once
//! tcp-echo udp HOST:PORT LINE   the first datagram that comes back for one with LINE
//! ```
//!
//! The other words try what its host keeps from it or bounds: `sockets`, `datagrams`, `reach`, `sleep`,
//! `timer`, `clock`, `random`, `env`, `files`, `spin`, `grow`, `exit`.

mod net;

use wasi::cli::{environment, exit};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::io::poll;
use wasi::io::streams::StreamError;
use wasi::random::{insecure, insecure_seed, random};
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress};
use wasi::sockets::tcp::TcpSocket;
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp::OutgoingDatagram;
use wasi::sockets::udp_create_socket::create_udp_socket;

use net::{
    Datagrams, Result, address, addresses, bind_datagrams, connect, family, finished, number, said, same,
    shown,
};

fn main() {
    let args = environment::get_arguments();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    if let Err(error) = run(&words) {
        eprintln!("tcp-echo: {error}");
        exit::exit(Err(()));
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        [] => echo("localhost:7", "hello")?,
        ["lookup", name] => {
            for address in addresses(name)? {
                println!("{}", shown(address));
            }
        }
        ["listen"] => listen()?,
        ["bind", port] => bind(Ipv4SocketAddress { address: (127, 0, 0, 1), port: number(port)? })?,
        ["hold", server, count] => {
            let count: usize = number(count)?;
            let mut held = Vec::new();
            for _ in 0..count {
                held.push(connect(server)?);
            }
            println!("{}", held.len());
        }
        ["sleep", milliseconds] => {
            let milliseconds: u64 = number(milliseconds)?;
            let before = monotonic_clock::now();
            monotonic_clock::subscribe_duration(milliseconds * 1_000_000).block();
            println!("{}", (monotonic_clock::now() - before) / 1_000_000 >= milliseconds);
        }
        // Waits for an answer that may not come, but no longer than so.
        ["timer", server, milliseconds] => {
            let milliseconds: u64 = number(milliseconds)?;
            let connection = connect(server)?;
            let answer = connection.input.subscribe();
            let timer = monotonic_clock::subscribe_duration(milliseconds * 1_000_000);
            let came = match poll::poll(&[&answer, &timer]).as_slice() {
                [0, ..] => "an answer",
                _ => "none",
            };
            println!("{came}");
        }
        ["clock"] => {
            let now = wall_clock::now();
            println!("{} {} {}", now.seconds, now.nanoseconds, monotonic_clock::now());
        }
        ["random"] => println!(
            "{:?} {:x} {:?} {:x} {:?}",
            random::get_random_bytes(16),
            random::get_random_u64(),
            insecure::get_insecure_random_bytes(4),
            insecure::get_insecure_random_u64(),
            insecure_seed::insecure_seed(),
        ),
        ["random", count] => println!("{}", random::get_random_bytes(number(count)?).len()),
        ["env"] => {
            for (name, value) in environment::get_environment() {
                println!("{name}={value}");
            }
        }
        ["files"] => println!("{}", preopens::get_directories().len()),
        // More of the host's resources than anybody needs.
        ["hoard"] => {
            let mut held = Vec::new();
            loop {
                held.push(monotonic_clock::subscribe_duration(1));
            }
        }
        ["sockets", count] => {
            let mut held = Vec::new();
            for _ in 0..number(count)? {
                held.push(create_tcp_socket(IpAddressFamily::Ipv4).map_err(said("a socket"))?);
            }
            println!("{}", held.len());
        }
        ["udp", server, line] => {
            let remote = address(server)?;
            let datagrams = Datagrams::new(family(remote), Some(remote))?;
            datagrams.send(line, None)?;
            for (_, line) in datagrams.received()? {
                println!("{line}");
            }
        }
        // Sends to any, and says where what it gets comes from.
        ["udp-any", server, line] => {
            let remote = address(server)?;
            let datagrams = Datagrams::new(family(remote), None)?;
            datagrams.send(line, Some(remote))?;
            for (from, line) in datagrams.received()? {
                println!("{} {line}", if same(from, remote) { "the server:" } else { "a stranger:" });
            }
        }
        ["udp-bind", port] => {
            let local = Ipv4SocketAddress { address: (127, 0, 0, 1), port: number(port)? };
            bind_datagrams(IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(local))?;
            println!("bound");
        }
        // Sockets for datagrams.
        ["datagrams", count] => {
            let mut held = Vec::new();
            for _ in 0..number(count)? {
                held.push(create_udp_socket(IpAddressFamily::Ipv4).map_err(said("a socket"))?);
            }
            println!("{}", held.len());
        }
        // Datagrams to so many ports, from the server's on, in one go; how many went.
        ["reach", server, count] => {
            let remote = address(server)?;
            let datagrams = Datagrams::new(family(remote), None)?;
            let ports = 0..number::<u16>(count)?;
            let datagram = |more| OutgoingDatagram {
                data: b"hello".to_vec(),
                remote_address: Some(match remote {
                    IpSocketAddress::Ipv4(at) => {
                        IpSocketAddress::Ipv4(Ipv4SocketAddress { port: at.port + more, ..at })
                    }
                    IpSocketAddress::Ipv6(at) => {
                        IpSocketAddress::Ipv6(Ipv6SocketAddress { port: at.port + more, ..at })
                    }
                }),
            };
            println!("{}", datagrams.send_all(&ports.map(datagram).collect::<Vec<_>>())?);
        }
        ["spin"] => spin(),
        ["grow", bytes] => {
            let kept = vec![1_u8; number(bytes)?];
            println!("{}", std::hint::black_box(kept).len());
        }
        ["exit", code] => exit::exit_with_code(number(code)?),
        ["trap"] => std::arch::wasm32::unreachable(),
        [server] => echo(server, "hello")?,
        [server, line] => echo(server, line)?,
        _ => return Err("HOST:PORT and a line are all that it takes".to_owned()),
    }
    Ok(())
}

fn echo(server: &str, line: &str) -> Result<()> {
    let connection = connect(server)?;
    let (input, output) = (&connection.input, &connection.output);
    let sent = output.blocking_write_and_flush(format!("{line}\n").as_bytes());
    sent.map_err(|error| format!("sending: {error:?}"))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") {
        match input.blocking_read(4096) {
            Ok(bytes) => answer.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("receiving: {error:?}")),
        }
    }
    print!("{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Binds to an address and does no more.
fn bind(local: Ipv4SocketAddress) -> Result<()> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(said("a socket"))?;
    let local = IpSocketAddress::Ipv4(local);
    socket.start_bind(&instance_network(), local).map_err(said("binding"))?;
    finished(&socket, TcpSocket::finish_bind).map_err(said("binding"))?;
    println!("bound");
    Ok(())
}

fn listen() -> Result<()> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(said("a socket"))?;
    // Any port of any address is all that it may be bound to.
    let local = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) });
    socket.start_bind(&instance_network(), local).map_err(said("binding"))?;
    finished(&socket, TcpSocket::finish_bind).map_err(said("binding"))?;
    socket.start_listen().map_err(said("listening"))?;
    finished(&socket, TcpSocket::finish_listen).map_err(said("listening"))?;
    println!("listening");
    Ok(())
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}
