//! Clients that count who answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, ipproto, socket_with};

use crate::net::netns::Netns;

/// The name of the program `get http://10.1.0.100/`: a web client for machines that have none.
pub const GET: &str = "get";

/// Somebody on a host who opens connections.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    netns: &'a Netns,
    source: Option<SocketAddr>,
    patience: Duration,
    stream: Option<Protocol>,
    datagram: String,
}

/// Who answered, in order. A connection that nobody answered counts as `refused`, `timeout`, `reset`, ….
#[derive(Debug, Default)]
pub struct Answers {
    /// Their names.
    pub who: Vec<String>,
    /// What else they said: whom they took for their peer.
    pub peers: Vec<String>,
    /// The connections, open until this is dropped.
    pub open: Vec<TcpStream>,
}

/// `web1=3 web2=3`
impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::new();
        self.who.iter().for_each(|name| *counts.entry(name.as_str()).or_insert(0) += 1);
        let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl Answers {
    /// Says a line on every connection that is still held, and hears who answers: the server it was opened to, unless
    /// something went wrong on the way.
    pub fn again(&self) -> Answers {
        let mut answers = Answers::default();
        self.open.iter().for_each(|stream| answers.note(say(stream, "still there?")));
        answers
    }

    fn note(&mut self, answer: std::io::Result<String>) {
        let line = answer.unwrap_or_else(|error| word(&error));
        let (name, peer) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        self.who.push(name.to_owned());
        self.peers.push(peer.to_owned());
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(netns: &'a Netns) -> Client<'a> {
        let datagram = "who?".to_owned();
        Client { netns, source: None, patience: Duration::from_secs(3), stream: None, datagram }
    }

    /// From this address of the host, or this address and port.
    pub fn from(self, source: &str) -> Client<'a> {
        let alone = || source.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
        let source = source.parse().or_else(|_| alone()).unwrap_or_else(|_| panic!("{source} is no address"));
        Client { source: Some(source), ..self }
    }

    /// How long to wait for an answer; 3 s if nothing is said.
    pub fn patience(self, patience: Duration) -> Client<'a> {
        Client { patience, ..self }
    }

    /// Opens SCTP associations in place of TCP connections.
    pub fn sctp(self) -> Client<'a> {
        Client { stream: Some(ipproto::SCTP), ..self }
    }

    /// Sends datagrams with this text, not just `who?`.
    pub fn saying(self, text: impl Into<String>) -> Client<'a> {
        Client { datagram: text.into(), ..self }
    }

    /// Fetches a page: status line and headers dropped, any status but 200 an error.
    pub fn get(&self, address: &str, path: &str) -> std::io::Result<String> {
        let mut stream = self.connection(address)?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.lines().next().unwrap_or("nothing");
        if status.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(std::io::Error::other(status.to_owned()))
        }
    }

    /// Fetches the page `/` so many times, one connection after the other.
    pub fn pages(&self, count: usize, address: &str) -> Answers {
        let mut answers = Answers::default();
        (0..count).for_each(|_| answers.note(self.get(address, "/")));
        answers
    }

    /// Sends a line of so many bytes to a [`crate::traffic::server::Protocol::Tcp`] server; what the server says of it, `web1 20001`
    /// (its newline counts).
    pub fn upload(&self, length: usize, address: &str) -> std::io::Result<String> {
        let stream = self.connection(address)?;
        hear(&stream)?;
        say(&stream, &"x".repeat(length))
    }

    /// Opens so many connections to a [`crate::traffic::server::Protocol::Tcp`] or `Sctp` server and holds them.
    pub fn hold(&self, count: usize, address: &str) -> Answers {
        let mut answers = Answers::default();
        for _ in 0..count {
            let opened = self.connection(address).and_then(|stream| {
                let line = hear(&stream)?;
                answers.open.push(stream);
                Ok(line)
            });
            answers.note(opened);
        }
        answers
    }

    /// Sends so many datagrams, each from a socket of its own, and waits for each answer.
    pub fn datagrams(&self, count: usize, address: &str) -> Answers {
        let mut answers = Answers::default();
        (0..count).for_each(|_| answers.note(self.udp(address).and_then(|socket| self.ask(&socket))));
        answers
    }

    /// Sends so many datagrams from one socket, and waits for each answer.
    pub fn datagrams_of_one_socket(&self, count: usize, address: &str) -> Answers {
        let mut answers = Answers::default();
        match self.udp(address) {
            Ok(socket) => (0..count).for_each(|_| answers.note(self.ask(&socket))),
            Err(error) => answers.note(Err(error)),
        }
        answers
    }

    fn ask(&self, socket: &UdpSocket) -> std::io::Result<String> {
        socket.send(self.datagram.as_bytes())?;
        let mut answer = [0; 256];
        let length = socket.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    fn connection(&self, address: &str) -> std::io::Result<TcpStream> {
        Ok(self.socket(SocketType::STREAM, self.stream, address)?.into())
    }

    fn udp(&self, address: &str) -> std::io::Result<UdpSocket> {
        Ok(self.socket(SocketType::DGRAM, None, address)?.into())
    }

    /// A connected socket. Not std's, which cannot choose a source.
    fn socket(&self, kind: SocketType, protocol: Option<Protocol>, address: &str) -> std::io::Result<OwnedFd> {
        let to: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{address} is no address and port"));
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let make = || -> rustix::io::Result<OwnedFd> { socket_with(family, kind, SocketFlags::CLOEXEC, protocol) };
        let socket = self.netns.enter(make)?;
        // The time-out for sending is connect's too. socket(7)
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(socket.as_fd(), direction, Some(self.patience))?;
        }
        if let Some(source) = self.source {
            set_socket_reuseaddr(socket.as_fd(), true)?;
            bind(&socket, &source)?;
        }
        connect(&socket, &to)?;
        Ok(socket)
    }
}

/// The main function of `get http://10.1.0.100/`.
pub fn get_main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_default();
    let rest = url.strip_prefix("http://").unwrap_or(&url);
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = || if host.parse::<SocketAddr>().is_ok() { host.to_owned() } else { format!("{host}:80") };
    if with_port().parse::<SocketAddr>().is_err() {
        eprintln!("get http://ADDRESS[:PORT]/[PATH]: fetches a page");
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

/// One line there and one back.
fn say(mut stream: &TcpStream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    hear(stream)
}

fn hear(stream: &TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line)? {
        0 => Err(std::io::Error::other("closed")),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// An error in one word. A time-out of connect is EINPROGRESS, one of recv EAGAIN. socket(7)
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
