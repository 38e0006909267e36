//! Servers that reply with their name, so that a test sees which one a client reached.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with};

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP: a page with the server's name; the status of `/health` is 200 or 503.
    Http,
    /// TCP: the line `NAME PEER`, then `NAME LENGTH` for every line received, until the client closes.
    Tcp,
    /// The same as [`Protocol::Tcp`], over SCTP.
    Sctp,
    /// UDP: `NAME PEER` for every datagram.
    Udp,
}

/// A running server. It keeps running when this is dropped, until its process ends.
#[derive(Debug)]
pub struct Server {
    socket: OwnedFd,
    healthy: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
}

impl Server {
    /// Starts a server in the network namespace of the calling thread, at an address such as `10.2.0.11:80` or
    /// `[::]:80`.
    pub fn start(protocol: Protocol, address: &str, name: &str) -> Result<Server> {
        let healthy = Arc::new(AtomicBool::new(true));
        let running = Arc::new(AtomicBool::new(true));
        let shared = Shared { name: name.to_owned(), healthy: healthy.clone(), running: running.clone() };
        let description = || format!("{name}: {protocol:?} {address}");
        // A socket stays in its namespace, so the threads that use it need not be inside.
        let socket = match protocol {
            Protocol::Udp => {
                let socket = UdpSocket::bind(address).with_context(description)?;
                let copy = socket.try_clone()?;
                std::thread::spawn(move || shared.datagrams(&copy));
                socket.into()
            }
            Protocol::Http | Protocol::Tcp | Protocol::Sctp => {
                let listener = listener(protocol, address).with_context(description)?;
                let copy = listener.try_clone()?;
                std::thread::spawn(move || shared.connections(&copy, protocol));
                listener.into()
            }
        };
        Ok(Server { socket, healthy, running })
    }

    /// Sets the status of `/health`: 200 or 503.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Closes the port, so that the next client is refused. Open connections stay.
    pub fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        // Ends accept or recv in the thread with an error.
        let _ = rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Both);
    }
}

/// Opens a listening socket. For SCTP it is a one-to-one socket, which works like a TCP socket. RFC 6458
fn listener(protocol: Protocol, address: &str) -> Result<TcpListener> {
    if protocol != Protocol::Sctp {
        return Ok(TcpListener::bind(address)?);
    }
    let address: SocketAddr = address.parse()?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::SCTP))?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 128)?;
    Ok(socket.into())
}

#[derive(Clone)]
struct Shared {
    name: String,
    healthy: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
}

impl Shared {
    fn datagrams(&self, socket: &UdpSocket) {
        let mut datagram = [0; 64 << 10];
        while let Ok((_, peer)) = socket.recv_from(&mut datagram) {
            if !self.running.load(Ordering::Relaxed) {
                return;
            }
            let _ = socket.send_to(self.greeting(peer).as_bytes(), peer);
        }
    }

    fn connections(&self, listener: &TcpListener, protocol: Protocol) {
        while let Ok((stream, peer)) = listener.accept() {
            let this = self.clone();
            std::thread::spawn(move || match protocol {
                Protocol::Http => this.page(stream),
                _ => this.converse(stream, peer),
            });
        }
    }

    fn converse(&self, mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        stream.write_all(self.greeting(peer).as_bytes())?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            stream.write_all(format!("{} {}\n", self.name, line.len()).as_bytes())?;
            line.clear();
        }
        Ok(())
    }

    fn page(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?.take(8 << 10));
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut header = String::new();
        while reader.read_line(&mut header)? > 0 && !header.trim().is_empty() {
            header.clear();
        }
        let unhealthy = request.split(' ').nth(1) == Some("/health") && !self.healthy.load(Ordering::Relaxed);
        let status = if unhealthy { "503 Service Unavailable" } else { "200 OK" };
        let page = format!("{}\n", self.name);
        let length = page.len();
        // Sent with one write, because tests count the packets of a page.
        let reply = format!("HTTP/1.0 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}");
        stream.write_all(reply.as_bytes())
    }

    fn greeting(&self, peer: SocketAddr) -> String {
        // A server on [::] sees IPv4 peers as ::ffff:10.1.0.10.
        format!("{} {}\n", self.name, SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }
}
