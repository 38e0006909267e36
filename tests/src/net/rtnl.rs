//! Links, addresses and routes by rtnetlink, as far as a laboratory needs them.
//!
//! The program `ip` is not used, because a process takes 30 ms in a guest, and a request 1 ms. The crate neli is not
//! used, because its builders need as many lines for each request. With them, too, the other end of a veth link is raw
//! bytes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socket_with};

/// The attribute for the other end of a veth link, nested in its data. linux/veth.h
const VETH_INFO_PEER: u16 = 1;
/// The flag that skips duplicate address detection. linux/if_addr.h
const IFA_F_NODAD: u8 = 2;

/// struct ifa_cacheinfo: preferred lifetime 0, valid lifetime unlimited.
const DEPRECATED: [u8; 16] = [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];

/// An rtnetlink socket. It stays in the network namespace that the calling thread has when it opens the socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> Result<Socket> {
        // `None` is protocol 0, which is NETLINK_ROUTE.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Socket { fd })
    }

    /// Returns the index of an interface.
    pub fn index(&self, link: &str) -> Result<u32> {
        netdevice::name_to_index(&self.fd, link).with_context(|| format!("no interface {link}"))
    }

    /// Sets an interface up.
    pub fn set_up(&self, link: &str) -> Result<()> {
        let up = libc::IFF_UP as u32;
        self.request(Message::link(libc::RTM_NEWLINK, 0, self.index(link)?, up)).with_context(|| format!("{link} up"))
    }

    /// Sets an interface down.
    pub fn set_down(&self, link: &str) -> Result<()> {
        let mut message = Message::link(libc::RTM_NEWLINK, 0, self.index(link)?, 0);
        // The mask of flags to change: IFF_UP alone.
        message.bytes[28..32].copy_from_slice(&(libc::IFF_UP as u32).to_ne_bytes());
        self.request(message).with_context(|| format!("{link} down"))
    }

    /// Sets the MTU of an interface, in bytes.
    pub fn set_mtu(&self, link: &str, bytes: u32) -> Result<()> {
        let message = Message::link(libc::RTM_NEWLINK, 0, self.index(link)?, 0).number(libc::IFLA_MTU, bytes);
        self.request(message).with_context(|| format!("{link} mtu {bytes}"))
    }

    /// Adds a link of a kind without parameters, such as `dummy` or `bridge`.
    pub fn add_link(&self, link: &str, kind: &str) -> Result<()> {
        let message = Message::link(libc::RTM_NEWLINK, NEW, 0, 0)
            .text(libc::IFLA_IFNAME, link)
            .nest(libc::IFLA_LINKINFO, |info| info.text(libc::IFLA_INFO_KIND, kind));
        self.request(message).with_context(|| format!("add {kind} {link}"))
    }

    /// Adds a veth link: one end is a port of `bridge` here, the other is named `peer` and in another namespace.
    pub fn add_cable(&self, link: &str, bridge: &str, peer: &str, namespace: BorrowedFd<'_>) -> Result<()> {
        let message = Message::link(libc::RTM_NEWLINK, NEW, 0, libc::IFF_UP as u32)
            .text(libc::IFLA_IFNAME, link)
            .number(libc::IFLA_MASTER, self.index(bridge)?)
            .nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |end| {
                        // This end is not set up: `veth_open` refuses that before the other end exists.
                        // https://elixir.bootlin.com/linux/v6.12/source/drivers/net/veth.c
                        end.raw(&link_header(0, 0))
                            .text(libc::IFLA_IFNAME, peer)
                            .number(libc::IFLA_NET_NS_FD, namespace.as_raw_fd() as u32)
                    })
                })
            });
        self.request(message).with_context(|| format!("add cable {link} to {peer}"))
    }

    /// Removes a link.
    pub fn delete_link(&self, link: &str) -> Result<()> {
        self.request(Message::link(libc::RTM_DELLINK, 0, self.index(link)?, 0))
            .with_context(|| format!("delete {link}"))
    }

    /// Adds an address to an interface: `10.1.0.2/24`, `fd01::2/64`.
    ///
    /// One of the form `fd01::100/128` is virtual. As with keepalived, it is deprecated: the kernel accepts packets for
    /// it, but does not choose it as a source. A server at the other end of a tunnel would drop packets from it,
    /// because the server has the same address.
    pub fn add_address(&self, link: &str, address: &str) -> Result<()> {
        self.address(libc::RTM_NEWADDR, NEW, link, address).with_context(|| format!("add {address} to {link}"))
    }

    /// Deletes an address from an interface.
    pub fn delete_address(&self, link: &str, address: &str) -> Result<()> {
        self.address(libc::RTM_DELADDR, 0, link, address).with_context(|| format!("delete {address} from {link}"))
    }

    fn address(&self, kind: u16, flags: u16, link: &str, address: &str) -> Result<()> {
        let (ip, length) = prefix(address)?;
        let mut header = vec![family(ip), length, IFA_F_NODAD, 0];
        header.extend(self.index(link)?.to_ne_bytes());
        let message = Message::new(kind, flags).raw(&header);
        let message = message.ip(libc::IFA_LOCAL, ip).ip(libc::IFA_ADDRESS, ip);
        let deprecated = ip.is_ipv6() && length == 128;
        self.request(if deprecated { message.attribute(libc::IFA_CACHEINFO, &DEPRECATED) } else { message })
    }

    /// Adds a route to `10.3.0.0/24`, or to `default`, through a gateway.
    pub fn add_route(&self, to: &str, gateway: &str) -> Result<()> {
        let via: IpAddr = gateway.parse().with_context(|| gateway.to_owned())?;
        self.route(to, family(via), |message| message.ip(libc::RTA_GATEWAY, via), libc::RT_SCOPE_UNIVERSE)
            .with_context(|| format!("route {to} via {gateway}"))
    }

    /// Adds a route to `10.3.0.0/24` out of an interface.
    pub fn add_device_route(&self, to: &str, link: &str) -> Result<()> {
        let index = self.index(link)?;
        let family = if to.contains(':') { libc::AF_INET6 } else { libc::AF_INET } as u8;
        self.route(to, family, |message| message.number(libc::RTA_OIF, index), libc::RT_SCOPE_LINK)
            .with_context(|| format!("route {to} dev {link}"))
    }

    fn route(&self, to: &str, family: u8, how: impl FnOnce(Message) -> Message, scope: u8) -> Result<()> {
        let destination = if to == "default" { None } else { Some(prefix(to)?) };
        let length = destination.map_or(0, |(_, length)| length);
        let mut header = vec![family, length, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, scope, libc::RTN_UNICAST];
        header.extend(0u32.to_ne_bytes());
        let message = Message::new(libc::RTM_NEWROUTE, NEW).raw(&header);
        let message = match destination {
            Some((ip, _)) => message.ip(libc::RTA_DST, ip),
            None => message,
        };
        self.request(how(message))
    }

    /// Sends a request and waits for the acknowledgement.
    fn request(&self, message: Message) -> Result<()> {
        send(&self.fd, &message.finish(), SendFlags::empty())?;
        let mut reply = [0; 4096];
        let (length, _) = recv(&self.fd, &mut reply[..], RecvFlags::empty())?;
        // nlmsghdr, then the negative errno.
        let error = reply[..length].get(16..20).context("the kernel's acknowledgement is too short")?;
        match i32::from_ne_bytes(error.try_into()?) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno).into()),
        }
    }
}

const NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// An rtnetlink request.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        Message { bytes }
    }

    fn link(kind: u16, flags: u16, index: u32, set: u32) -> Message {
        Message::new(kind, flags).raw(&link_header(index, set))
    }

    fn raw(mut self, bytes: &[u8]) -> Message {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Message {
        self.attribute(kind, format!("{value}\0").as_bytes())
    }

    fn number(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    fn ip(self, kind: u16, value: IpAddr) -> Message {
        match value {
            IpAddr::V4(ip) => self.attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => self.attribute(kind, &ip.octets()),
        }
    }

    fn nest(self, kind: u16, inside: impl FnOnce(Message) -> Message) -> Message {
        let inner = inside(Message { bytes: Vec::new() });
        self.attribute(kind, &inner.bytes)
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Returns a struct ifinfomsg; `set` holds the flags to set.
fn link_header(index: u32, set: u32) -> Vec<u8> {
    [0u32.to_ne_bytes(), index.to_ne_bytes(), set.to_ne_bytes(), set.to_ne_bytes()].concat()
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// Parses `10.1.0.0/24`. Without a length, returns the length of a single address.
fn prefix(text: &str) -> Result<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/').unwrap_or((text, ""));
    let ip: IpAddr = ip.parse().with_context(|| text.to_owned())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    match if length.is_empty() { most } else { length.parse().with_context(|| text.to_owned())? } {
        length if length <= most => Ok((ip, length)),
        _ => bail!("{text}: prefix length above {most}"),
    }
}
