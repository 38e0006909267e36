//! Runs the lines of a case that begin with `%`.
//!
//! | | |
//! |---|---|
//! | `%addr DEV ADDRESS/LENGTH…` | adds addresses to an interface |
//! | `%link NAME [mtu=N]` | adds a dummy interface and sets it up |
//! | `%tcp-serve ADDRESS:PORT…` | listens on TCP |
//! | `%udp-serve ADDRESS:PORT…` | receives datagrams |
//! | `%tcp NAME FROM TO [send=N] [reply=N] [mark=N]` | connects, and prints the address that accepted; the connection stays open |
//! | `%close NAME [client\|server]` | closes that connection, or one end of it |
//! | `%udp FROM TO [size=N] [count=N] [reply=N] [mark=N] [file=PATH] [noread]` | sends datagrams |
//! | `%sctp-init FROM TO` | sends an INIT chunk, the first of an SCTP association |
//! | `%service ADDRESS:PORT protocol=N [flags=N]` | adds a service that ipvsadm cannot add |
//! | `%server SERVICE SERVER method=N [tunnel=N port=N flags=N]` | adds a server that ipvsadm cannot add to a TCP service |
//! | `%wait [conns=N] [inpkts=N]` | waits until the sums of the counters of all services reach these numbers; the kernel updates them every 2 s |
//! | `%sleep SECONDS` | waits |
//!
//! Everything is local. Clients, virtual addresses and servers are addresses of lo, and IPVS handles packets on their
//! way out. So one thread runs everything in order, and the result is the same in every run.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs_sys::uapi::{Command, CommandAttrs, DestAttrs, ServiceAttrs};
use ipvs_sys::wire::{Address, Be16, FlagsMask, Name};
use ipvs_sys::{Request, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, sendto, socket_with,
};

use crate::net::rtnl;

/// Time limit for operations that should finish at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit for counters, which the kernel updates every 2 s.
const ESTIMATOR: Duration = Duration::from_secs(12);

/// The sockets of a case, open until its end.
#[derive(Debug, Default)]
pub struct Traffic {
    listeners: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    connections: BTreeMap<String, Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    client: Option<TcpStream>,
    server: Option<TcpStream>,
}

/// The words of a line: `NAME=VALUE` by name, all others by position.
struct Words<'a> {
    places: Vec<&'a str>,
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Words<'a> {
        let (names, places): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.contains('='));
        Words { places, names: names.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn place(&self, at: usize) -> Result<&'a str> {
        self.places.get(at).copied().with_context(|| format!("word {at} is missing"))
    }

    fn address(&self, at: usize) -> Result<SocketAddr> {
        let word = self.place(at)?;
        word.parse().with_context(|| word.to_owned())
    }

    fn number(&self, name: &str) -> Result<Option<u32>> {
        self.names.get(name).map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
    }
}

impl Traffic {
    /// Runs a line (without its `%`). Returns its output.
    pub fn run(&mut self, line: &str) -> Result<String> {
        let words = Words::of(line);
        let addresses = || (1..words.places.len()).map(|at| words.address(at));
        match words.place(0)? {
            "addr" => {
                let socket = rtnl::Socket::open()?;
                words.places[2..].iter().try_for_each(|address| socket.add_address(words.place(1)?, address))?;
            }
            "link" => {
                let socket = rtnl::Socket::open()?;
                socket.add_link(words.place(1)?, "dummy")?;
                if let Some(bytes) = words.number("mtu")? {
                    socket.set_mtu(words.place(1)?, bytes)?;
                }
                socket.set_up(words.place(1)?)?;
            }
            "tcp-serve" => addresses().try_for_each(|address| self.listen(address?))?,
            "udp-serve" => addresses().try_for_each(|address| {
                self.datagrams.push(bound(SocketType::DGRAM, address?, None)?.into());
                anyhow::Ok(())
            })?,
            "tcp" => return self.connect(&words),
            "close" => self.close(&words)?,
            "udp" => return self.send(&words),
            "sctp-init" => sctp_init(words.address(1)?, words.address(2)?)?,
            "service" => set_service(&words)?,
            "server" => set_server(&words)?,
            "wait" => wait(&words)?,
            "sleep" => std::thread::sleep(Duration::try_from_secs_f32(words.place(1)?.parse()?)?),
            _ => bail!("unknown action"),
        }
        Ok(String::new())
    }

    fn listen(&mut self, address: SocketAddr) -> Result<()> {
        let socket = bound(SocketType::STREAM, address, None)?;
        rustix::net::listen(&socket, 64)?;
        self.listeners.push(socket.into());
        Ok(())
    }

    fn connect(&mut self, words: &Words<'_>) -> Result<String> {
        let client = bound(SocketType::STREAM, words.address(2)?, words.number("mark")?)?;
        let connected = connect(&client, &words.address(3)?);
        let name = words.place(1)?.to_owned();
        let mut client = TcpStream::from(client);
        if let Err(errno) = connected {
            self.connections.insert(name, Ends { client: Some(client), server: None });
            return Ok(format!("not connected: {errno}\n"));
        }
        let mut server = self.accept()?;
        let accepted = server.as_ref().map(TcpStream::local_addr).transpose()?;
        if let Some(server) = &mut server {
            server.set_read_timeout(Some(PATIENCE))?;
            transfer(&mut client, server, words.number("send")?.unwrap_or(0))?;
            transfer(server, &mut client, words.number("reply")?.unwrap_or(0))?;
        }
        self.connections.insert(name, Ends { client: Some(client), server });
        Ok(accepted.map_or("accepted by nobody\n".to_owned(), |at| format!("accepted by {}\n", at.ip())))
    }

    fn accept(&self) -> Result<Option<TcpStream>> {
        ready(&self.listeners)?.map(|listener| Ok(listener.accept()?.0)).transpose()
    }

    fn close(&mut self, words: &Words<'_>) -> Result<()> {
        let name = words.place(1)?;
        let ends = self.connections.get_mut(name).with_context(|| format!("no connection {name}"))?;
        let which = words.places.get(2).copied();
        if which != Some("server") {
            ends.client = None;
        }
        if which != Some("client") {
            ends.server = None;
        }
        // The kernel's packets to and from the other end are still on their way.
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }

    fn send(&self, words: &Words<'_>) -> Result<String> {
        let client: UdpSocket = bound(SocketType::DGRAM, words.address(1)?, words.number("mark")?)?.into();
        let to = words.address(2)?;
        let payload = match words.names.get("file") {
            Some(path) => std::fs::read(path)?,
            None => vec![b'u'; words.number("size")?.unwrap_or(10) as usize],
        };
        let mut replies = 0;
        for _ in 0..words.number("count")?.unwrap_or(1) {
            if let Err(error) = client.send_to(&payload, to) {
                return Ok(format!("not sent: {}\n", error.kind()));
            }
            let Some(bytes) = words.number("reply")? else { continue };
            if let Some(server) = ready(&self.datagrams)? {
                let (_, peer) = server.recv_from(&mut [0; 64 << 10])?;
                server.send_to(&vec![b'r'; bytes as usize], peer)?;
                replies += 1;
                if !words.places.contains(&"noread") {
                    client.recv(&mut [0; 64 << 10])?;
                }
            }
        }
        let wants_reply = words.names.contains_key("reply");
        Ok(if wants_reply { format!("{replies} replies\n") } else { String::new() })
    }
}

/// Returns a socket bound to an address; it sends and receives for at most [`PATIENCE`].
fn bound(kind: SocketType, address: SocketAddr, mark: Option<u32>) -> Result<OwnedFd> {
    let socket = socket_with(family(address.ip()), kind, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(PATIENCE))?;
    }
    if let Some(mark) = mark {
        set_mark(&socket, mark)?;
    }
    bind(&socket, &address).with_context(|| format!("bind {address}"))?;
    Ok(socket)
}

/// Sets the firewall mark of packets that are sent. rustix has no function for it.
fn set_mark(socket: &OwnedFd, mark: u32) -> Result<()> {
    let size = size_of_val(&mark) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointer and length are those of a live integer.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, (&raw const mark).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("SO_MARK") }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Returns the first socket that can be read, or `None` after [`PATIENCE`].
fn ready<S: AsFd>(sockets: &[S]) -> Result<Option<&S>> {
    let mut fds: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience)))?;
    Ok(fds.iter().position(|fd| fd.revents().contains(PollFlags::IN)).map(|at| &sockets[at]))
}

/// Sends `bytes` bytes from one end to the other.
fn transfer(from: &mut TcpStream, to: &mut TcpStream, bytes: u32) -> Result<()> {
    let mut left = bytes as usize;
    while left > 0 {
        let piece = left.min(32 << 10);
        from.write_all(&vec![b'x'; piece])?;
        to.read_exact(&mut vec![0; piece])?;
        left -= piece;
    }
    Ok(())
}

/// Sends one INIT chunk from a raw socket, so that the kernel needs no SCTP. RFC 9260, 3.3.2
fn sctp_init(from: SocketAddr, to: SocketAddr) -> Result<()> {
    let kind = SocketType::RAW;
    let socket = socket_with(family(from.ip()), kind, SocketFlags::CLOEXEC, Some(ipproto::SCTP as Protocol))?;
    bind(&socket, &SocketAddr::new(from.ip(), 0))?;
    let mut packet = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    packet.extend([0; 8]);
    // Type, flags, length, tag, window, outbound and inbound streams, first sequence number.
    packet.extend([1, 0, 0, 20, 0, 0, 0x30, 0x39, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1]);
    sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(to.ip(), 0))?;
    Ok(())
}

fn service(at: SocketAddr, protocol: u16) -> ServiceAttrs {
    ServiceAttrs {
        af: Some(family(at.ip()).as_raw()),
        protocol: Some(protocol),
        addr: Some(address(at.ip())),
        port: Some(Be16(at.port())),
        ..ServiceAttrs::default()
    }
}

fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn set_service(words: &Words<'_>) -> Result<()> {
    let service = ServiceAttrs {
        sched_name: Name::new(b"rr"),
        flags: Some(FlagsMask { flags: words.number("flags")?.unwrap_or(0), mask: u32::MAX }),
        timeout: Some(0),
        netmask: Some(u32::MAX),
        ..service(words.address(1)?, words.number("protocol")?.context("protocol=")? as u16)
    };
    submit(Command::NewService, CommandAttrs { service: Some(service), ..CommandAttrs::default() })
}

fn set_server(words: &Words<'_>) -> Result<()> {
    let (of, at) = (words.address(1)?, words.address(2)?);
    let number = |name| words.number(name).map(|number| number.unwrap_or(0));
    let dest = DestAttrs {
        addr_family: Some(family(at.ip()).as_raw()),
        addr: Some(address(at.ip())),
        port: Some(Be16(at.port())),
        fwd_method: Some(number("method")?),
        weight: Some(1),
        u_thresh: Some(0),
        l_thresh: Some(0),
        tun_type: Some(number("tunnel")? as u8),
        tun_port: Some(Be16(number("port")? as u16)),
        tun_flags: Some(number("flags")? as u16),
        ..DestAttrs::default()
    };
    let service = service(of, libc::IPPROTO_TCP as u16);
    submit(Command::NewDest, CommandAttrs { service: Some(service), dest: Some(dest), ..CommandAttrs::default() })
}

fn submit(command: Command, attributes: CommandAttrs) -> Result<()> {
    Ok(Socket::open()?.change(&Request { command, attributes })?)
}

fn wait(words: &Words<'_>) -> Result<()> {
    let wanted = (u64::from(words.number("conns")?.unwrap_or(0)), u64::from(words.number("inpkts")?.unwrap_or(0)));
    let deadline = Instant::now() + ESTIMATOR;
    let mut socket = Socket::open()?;
    loop {
        let seen = totals(&mut socket)?;
        if seen.0 >= wanted.0 && seen.1 >= wanted.1 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the counters stay at {} connections and {} packets", seen.0, seen.1);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the sums of connections and incoming packets of all services.
fn totals(socket: &mut Socket) -> Result<(u64, u64)> {
    let mut totals = (0, 0);
    for service in socket.dump(&Request::new(Command::GetService))? {
        let stats = service?.service.and_then(|service| service.stats64).unwrap_or_default();
        totals.0 += stats.conns.unwrap_or_default().0;
        totals.1 += stats.inpkts.unwrap_or_default().0;
    }
    Ok(totals)
}
