//! Captured packets, and the announcement by which a host takes over an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::command;
use crate::net::rtnl;

/// A capture of all packets that enter or leave a host. It contains a forwarded packet twice.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
    seen: Mutex<Vec<Packet>>,
}

/// A packet, starting with the IP header.
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Vec<u8>,
}

impl Watch {
    /// Starts a capture in the network namespace of the calling thread.
    pub fn start() -> Result<Watch> {
        // A socket that is not bound to an interface receives from all. packet(7)
        let socket = packet_socket(SocketType::DGRAM, libc::ETH_P_ALL)?;
        // The packets stay in this buffer until the test reads them.
        set_socket_recv_buffer_size_force(&socket, 16 << 20)?;
        Ok(Watch { socket, seen: Mutex::default() })
    }

    /// Returns all IP packets since the start.
    pub fn packets(&self) -> Vec<Packet> {
        let mut packets = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; 64 << 10];
        while let Ok((length, _)) = recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            let packet = Packet { bytes: bytes[..length].to_vec() };
            if matches!(packet.version(), 4 | 6) {
                packets.push(packet);
            }
        }
        packets.clone()
    }
}

impl Packet {
    fn version(&self) -> u8 {
        match self.bytes.len() {
            20.. => self.bytes[0] >> 4,
            _ => 0,
        }
    }

    /// Returns the source address.
    pub fn source(&self) -> IpAddr {
        self.address(12, 8)
    }

    /// Returns the destination address.
    pub fn destination(&self) -> IpAddr {
        self.address(16, 24)
    }

    fn address(&self, of_4: usize, of_6: usize) -> IpAddr {
        match self.version() {
            4 => Ipv4Addr::from(self.octets::<4>(of_4)).into(),
            _ => Ipv6Addr::from(self.octets::<16>(of_6)).into(),
        }
    }

    /// Returns the protocol number: 6 for TCP, 17 for UDP, 47 for GRE, ….
    pub fn protocol(&self) -> i32 {
        i32::from(self.octets::<1>(if self.version() == 4 { 9 } else { 6 })[0])
    }

    /// Returns the time to live, or the hop limit.
    pub fn hops(&self) -> u8 {
        self.octets::<1>(if self.version() == 4 { 8 } else { 7 })[0]
    }

    /// Returns the bytes after the IP header. Extension headers are not skipped; the only ones in a lab are destination
    /// options before a tunnelled packet (protocol 60).
    pub fn payload(&self) -> &[u8] {
        let header = if self.version() == 4 { usize::from(self.bytes[0] & 15) * 4 } else { 40 };
        self.bytes.get(header..).unwrap_or_default()
    }

    fn octets<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..at + N).and_then(|octets| octets.try_into().ok()).unwrap_or([0; N])
    }
}

/// Sends an ARP announcement of `ip` from `link`, in the network namespace of the calling thread, as `arping -U` does.
/// RFC 5227
pub fn announce(link: &str, ip: Ipv4Addr) -> Result<()> {
    let line = command::run(&format!("ip -brief link show {link}")).ok();
    let mac = line.split_whitespace().find_map(mac).with_context(|| line.clone())?;
    // Ethernet, IPv4, the lengths of their addresses, request.
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let arp = [&head[..], &mac, &ip.octets(), &[0; 6], &ip.octets()].concat();
    let interface = rtnl::Socket::open()?.index(link)?;
    let socket = packet_socket(SocketType::DGRAM, libc::ETH_P_ARP)?;
    sendto(&socket, &arp, SendFlags::empty(), &Broadcast { interface, protocol: libc::ETH_P_ARP })?;
    Ok(())
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = text.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    octets.try_into().ok()
}

fn packet_socket(kind: SocketType, protocol: i32) -> Result<OwnedFd> {
    let number = u32::from((protocol as u16).to_be());
    let protocol = Protocol::from_raw(number.try_into()?);
    Ok(socket_with(AddressFamily::PACKET, kind, SocketFlags::CLOEXEC, Some(protocol))?)
}

/// The broadcast address of an Ethernet segment.
struct Broadcast {
    interface: u32,
    protocol: i32,
}

// SAFETY: `f` gets a pointer to a sockaddr_ll that outlives the call, and its size.
unsafe impl SocketAddrArg for Broadcast {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (self.protocol as u16).to_be(),
            sll_ifindex: self.interface as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [255, 255, 255, 255, 255, 255, 0, 0],
        };
        f((&raw const address).cast(), size_of::<libc::sockaddr_ll>() as SocketAddrLen)
    }
}
