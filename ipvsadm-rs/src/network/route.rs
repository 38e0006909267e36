//! The route of a packet.

use std::io;
use std::net::IpAddr;

use neli::consts::rtnl::{RtScope, RtTable, Rta, Rtm, Rtn, Rtprot};
use neli::rtnl::{Rtmsg, RtmsgBuilder};
use neli::types::RtBuffer;
use rustix::io::Errno;

use super::socket::{attribute, family_of};
use super::{Network, address_from, bytes_of, number_from};

/// A packet whose route is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed {
    pub(crate) destination: IpAddr,
    /// The source address. `None`: the kernel selects it.
    pub(crate) source: Option<IpAddr>,
    /// The index of the device on which the packet arrives. `None`: this host sends it.
    pub(crate) arrives_at: Option<u32>,
    /// The mark. 0: no mark.
    pub(crate) mark: u32,
}

impl From<IpAddr> for Routed {
    fn from(destination: IpAddr) -> Self {
        Self { destination, source: None, arrives_at: None, mark: 0 }
    }
}

/// The route that the kernel selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) kind: RouteKind,
    /// The next router. `None`: the destination is on the segment of the device.
    pub(crate) gateway: Option<IpAddr>,
    /// The index of the device.
    pub(crate) device: u32,
    /// The source address that the kernel selects.
    pub(crate) source: Option<IpAddr>,
    /// The MTU of the path, in bytes, if it is less than that of the device.
    pub(crate) mtu: Option<u32>,
}

/// The kind of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteKind {
    /// The packet is delivered to this host.
    Local,
    /// The packet is sent to another host.
    Unicast,
    /// The packet is a broadcast, a multicast, or of a kind that is not known.
    Other,
}

/// The reason why there is no route.
#[derive(Debug)]
pub(crate) enum RouteError {
    /// There is no route, or one of type `unreachable`.
    Unreachable,
    /// A route of type `prohibit`.
    Prohibited,
    /// A route of type `blackhole`, or the source or destination is not valid.
    Invalid,
    /// The reverse path filter of the device drops the packet.
    ReversePath,
    /// The route could not be read.
    NotRead(io::Error),
}

impl From<io::Error> for RouteError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => Self::Unreachable,
            Some(Errno::ACCESS) => Self::Prohibited,
            Some(Errno::INVAL) => Self::Invalid,
            Some(Errno::XDEV) => Self::ReversePath,
            _ => Self::NotRead(error),
        }
    }
}

const RTA_VIA: u16 = 18;
/// In `RTA_METRICS`. linux/rtnetlink.h
const RTAX_MTU: u16 = 2;

impl Network {
    /// Looks up a route, as `ip route get` does.
    ///
    /// # Errors
    ///
    /// Fails if there is no route, or if it cannot be read.
    pub(crate) fn route(&mut self, packet: Routed) -> Result<Route, RouteError> {
        let Routed { destination, source, arrives_at, mark } = packet;
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Rta::Dst, bytes_of(destination))?);
        if let Some(source) = source {
            attributes.push(attribute(Rta::Src, bytes_of(source))?);
        }
        if let Some(device) = arrives_at {
            attributes.push(attribute(Rta::Iif, device.to_ne_bytes().to_vec())?);
        }
        if mark != 0 {
            attributes.push(attribute(Rta::Mark, mark.to_ne_bytes().to_vec())?);
        }
        let length = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let request = RtmsgBuilder::default()
            .rtm_family(family_of(destination))
            .rtm_dst_len(length(destination))
            .rtm_src_len(source.map_or(0, length))
            .rtm_tos(0)
            .rtm_table(RtTable::Unspec)
            .rtm_protocol(Rtprot::Unspec)
            .rtm_scope(RtScope::Universe)
            .rtm_type(Rtn::Unspec)
            .rtattrs(attributes)
            .build()
            .map_err(io::Error::other)?;
        let mut found = None;
        self.request(Rtm::Getroute, false, request, |message| found = Some(read(message)))?;
        found.ok_or_else(|| RouteError::NotRead(io::Error::other("no reply")))
    }
}

fn read(message: &Rtmsg) -> Route {
    let kind = match message.rtm_type() {
        Rtn::Local => RouteKind::Local,
        Rtn::Unicast => RouteKind::Unicast,
        _ => RouteKind::Other,
    };
    let mut route = Route { kind, gateway: None, device: 0, source: None, mtu: None };
    for attribute in message.rtattrs().iter() {
        let bytes: &[u8] = attribute.rta_payload().as_ref();
        match attribute.rta_type() {
            Rta::Oif => route.device = number_from(bytes).unwrap_or_default(),
            Rta::Gateway => route.gateway = address_from(bytes),
            Rta::Prefsrc => route.source = address_from(bytes),
            Rta::Metrics => route.mtu = mtu(bytes),
            // The family, and an address of that family. The name exists only with glibc.
            kind if u16::from(*kind) == RTA_VIA => route.gateway = bytes.get(2..).and_then(address_from),
            _ => {}
        }
    }
    route
}

/// Returns the MTU of nested metrics: length, type, and a number with 4 bytes each.
fn mtu(metrics: &[u8]) -> Option<u32> {
    let metric = |metric: &[u8]| {
        let kind = u16::from_ne_bytes([metric[2], metric[3]]);
        (kind == RTAX_MTU).then(|| number_from(&metric[4..])).flatten()
    };
    metrics.chunks_exact(8).find_map(metric).filter(|mtu| *mtu > 0)
}
