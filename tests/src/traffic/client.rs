//! Clients that count which server replied.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, ipproto, socket_with};

use crate::net::netns::Netns;

/// The name of the program `get http://10.1.0.100/`: a web client for machines that have none.
pub const GET: &str = "get";

/// A client on a host.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    netns: &'a Netns,
    source: Option<SocketAddr>,
    patience: Duration,
    stream: Option<Protocol>,
    datagram: String,
}

/// The replies of servers, in order. A connection without a reply counts as `refused`, `timeout`, `reset`, ….
///
/// `Display` writes `web1=3 web2=3`.
#[derive(Debug, Default)]
pub struct Replies {
    /// The name of the server for each connection, or `refused`, `timeout`, … if there was no reply.
    pub servers: Vec<String>,
    /// The peer address as each server saw it; empty if there was no reply.
    pub peers: Vec<String>,
    /// The connections; they stay open until this is dropped.
    pub open: Vec<TcpStream>,
}

impl fmt::Display for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::new();
        self.servers.iter().for_each(|name| *counts.entry(name.as_str()).or_insert(0) += 1);
        let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl Replies {
    /// Sends a line on every open connection. Returns the replies, normally of the servers that accepted the
    /// connections.
    pub fn again(&self) -> Replies {
        let mut replies = Replies::default();
        self.open.iter().for_each(|stream| replies.note(send_line(stream, "still there?")));
        replies
    }

    fn note(&mut self, reply: std::io::Result<String>) {
        let line = reply.unwrap_or_else(|error| word(&error));
        let (name, peer) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        self.servers.push(name.to_owned());
        self.peers.push(peer.to_owned());
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(netns: &'a Netns) -> Client<'a> {
        let datagram = "who?".to_owned();
        Client { netns, source: None, patience: Duration::from_secs(10), stream: None, datagram }
    }

    /// Sets the source: an address of the host, or an address and a port.
    pub fn from(self, source: &str) -> Client<'a> {
        let alone = || source.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
        let source = source.parse().or_else(|_| alone()).unwrap_or_else(|_| panic!("{source} is not an address"));
        Client { source: Some(source), ..self }
    }

    /// Sets the time limit for each reply [default: 10 s].
    pub fn patience(self, patience: Duration) -> Client<'a> {
        Client { patience, ..self }
    }

    /// Opens SCTP associations instead of TCP connections.
    pub fn sctp(self) -> Client<'a> {
        Client { stream: Some(ipproto::SCTP), ..self }
    }

    /// Sets the text of datagrams [default: `who?`].
    pub fn with_text(self, text: impl Into<String>) -> Client<'a> {
        Client { datagram: text.into(), ..self }
    }

    /// Fetches a page. Returns its body. A status other than 200 is an error.
    pub fn get(&self, address: &str, path: &str) -> std::io::Result<String> {
        let mut stream = self.connection(address)?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        let status = head.lines().next().unwrap_or("nothing");
        if status.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(std::io::Error::other(status.to_owned()))
        }
    }

    /// Fetches the page `/` `count` times, one connection after the other.
    pub fn pages(&self, count: usize, address: &str) -> Replies {
        let mut replies = Replies::default();
        (0..count).for_each(|_| replies.note(self.get(address, "/")));
        replies
    }

    /// Sends a line of `length` bytes to a server of [`Protocol::Tcp`](super::server::Protocol::Tcp). Returns the
    /// reply: `web1 20001` (the newline counts).
    pub fn upload(&self, length: usize, address: &str) -> std::io::Result<String> {
        let stream = self.connection(address)?;
        read_line_of(&stream)?;
        send_line(&stream, &"x".repeat(length))
    }

    /// Opens `count` connections to a server of [`Protocol::Tcp`](super::server::Protocol::Tcp) or `Sctp` and keeps
    /// them open.
    pub fn hold(&self, count: usize, address: &str) -> Replies {
        let mut replies = Replies::default();
        for _ in 0..count {
            let opened = self.connection(address).and_then(|stream| {
                let line = read_line_of(&stream)?;
                replies.open.push(stream);
                Ok(line)
            });
            replies.note(opened);
        }
        replies
    }

    /// Sends `count` datagrams, each from its own socket, and waits for each reply.
    pub fn datagrams(&self, count: usize, address: &str) -> Replies {
        let mut replies = Replies::default();
        (0..count).for_each(|_| replies.note(self.udp(address).and_then(|socket| self.request(&socket))));
        replies
    }

    /// Sends `count` datagrams from one socket and waits for each reply.
    pub fn datagrams_of_one_socket(&self, count: usize, address: &str) -> Replies {
        let mut replies = Replies::default();
        match self.udp(address) {
            Ok(socket) => (0..count).for_each(|_| replies.note(self.request(&socket))),
            Err(error) => replies.note(Err(error)),
        }
        replies
    }

    fn request(&self, socket: &UdpSocket) -> std::io::Result<String> {
        socket.send(self.datagram.as_bytes())?;
        let mut reply = [0; 256];
        let length = socket.recv(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply[..length]).into_owned())
    }

    fn connection(&self, address: &str) -> std::io::Result<TcpStream> {
        Ok(self.socket(SocketType::STREAM, self.stream, address)?.into())
    }

    fn udp(&self, address: &str) -> std::io::Result<UdpSocket> {
        Ok(self.socket(SocketType::DGRAM, None, address)?.into())
    }

    /// Returns a connected socket. std is not used, because it cannot set the source.
    fn socket(&self, kind: SocketType, protocol: Option<Protocol>, address: &str) -> std::io::Result<OwnedFd> {
        let to: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{address} is not an address with a port"));
        let unspecified = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
        let from = self.source.unwrap_or(unspecified);
        if from.port() != 0 {
            return self.socket_from(kind, protocol, from, to);
        }
        for _ in 0..3 {
            match self.socket_from(kind, protocol, SocketAddr::new(from.ip(), next_port()), to) {
                Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) => {}
                done => return done,
            }
        }
        self.socket_from(kind, protocol, from, to)
    }

    fn socket_from(
        &self,
        kind: SocketType,
        protocol: Option<Protocol>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> std::io::Result<OwnedFd> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let make = || -> rustix::io::Result<OwnedFd> { socket_with(family, kind, SocketFlags::CLOEXEC, protocol) };
        let socket = self.netns.enter(make)?;
        // connect uses the timeout for sending. socket(7)
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(socket.as_fd(), direction, Some(self.patience))?;
        }
        set_socket_reuseaddr(socket.as_fd(), true)?;
        bind(&socket, &from)?;
        connect(&socket, &to)?;
        Ok(socket)
    }
}

/// Returns a port that no socket of this process used, until all have been used. The kernel can choose a port again
/// within seconds. IPVS and connection tracking then take the second connection for the first one. The ports are below
/// those that the kernel chooses.
fn next_port() -> u16 {
    const PORTS: Range<u32> = 10_000..32_768;
    // Tests in the same namespace start at different ports.
    static USED: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(0) as u32 >> 1));
    let used = USED.fetch_add(1, Ordering::Relaxed);
    u16::try_from(PORTS.start + used % (PORTS.end - PORTS.start)).expect("a port")
}

/// Runs as `get http://10.1.0.100/`.
pub fn get_main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_default();
    let rest = url.strip_prefix("http://").unwrap_or(&url);
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = || if host.parse::<SocketAddr>().is_ok() { host.to_owned() } else { format!("{host}:80") };
    if with_port().parse::<SocketAddr>().is_err() {
        eprintln!("usage: get http://ADDRESS[:PORT]/[PATH]\nFetches a page.");
        return ExitCode::FAILURE;
    }
    let here = Netns::own("here").map_err(|error| std::io::Error::other(error.to_string()));
    match here.and_then(|here| Client::new(&here).get(&with_port(), path)) {
        Ok(page) => {
            print!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("get {url}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends a line and returns the reply.
fn send_line(mut stream: &TcpStream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    read_line_of(stream)
}

fn read_line_of(stream: &TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line)? {
        0 => Err(std::io::Error::other("closed")),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Returns one word for an error. A timeout of connect is EINPROGRESS, one of recv EAGAIN. socket(7)
fn word(error: &std::io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => "refused",
        Some(Errno::CONNRESET) => "reset",
        Some(Errno::INPROGRESS | Errno::AGAIN | Errno::TIMEDOUT) => "timeout",
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH) => "unreachable",
        _ => return error.to_string().replace(' ', "-"),
    }
    .to_owned()
}
