//! What has been typed: one function for each option's value.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::address::{self, Endpoint};
use super::command::Subject;
use super::error::Reason;
use super::number::strtol;
use super::resolver::Resolver;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::family::{Family, Protocol};
use crate::key::ServiceKey;
use crate::name::{Engine, Interface, InvalidName, Scheduler};
use crate::service::Service;
use crate::timeouts::Timeouts;

/// The longest timeouts that are taken, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    persistence: u32,
    pub(super) timeout: u32,
}

impl Limits {
    /// 31 days.
    const CLASSIC: u32 = 31 * 24 * 60 * 60;
    /// Those of ipvsadm 1.31.
    pub(super) const OF_IPVSADM: Self = Self { persistence: Self::CLASSIC, timeout: Self::CLASSIC };
    /// Those of the kernel: what is held can be read again.
    pub(super) const OF_THE_KERNEL: Self = Self { persistence: Service::MAX_PERSISTENCE, timeout: Timeouts::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self::OF_IPVSADM
    }
}

/// What has been typed so far.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub(super) limits: Limits,
    /// Bit `i`: row `i` of the options, or another of the same name, was given.
    pub(super) given: u64,
    pub(super) service: Option<ServiceKey>,
    pub(super) ipv6: bool,
    pub(super) scheduler: Option<Scheduler>,
    pub(super) persistence: Option<u32>,
    /// Understood at the end, when the family is known.
    pub(super) netmask: Option<&'a [u8]>,
    pub(super) engine: Option<Engine>,
    pub(super) one_packet: bool,
    pub(super) scheduler_flags: &'a [u8],
    pub(super) server: Option<Server<'a>>,
    pub(super) method: Option<Method>,
    pub(super) weight: Option<u32>,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) tunnel: TunnelKind,
    pub(super) tunnel_port: Option<NonZeroU16>,
    pub(super) checksum: Option<Checksum>,
    pub(super) numeric: bool,
    pub(super) exact: bool,
    pub(super) no_sort: bool,
    pub(super) stream: bool,
    pub(super) subject: Option<Subject>,
    pub(super) stats: bool,
    pub(super) rate: bool,
    pub(super) thresholds: bool,
    pub(super) persistent_connections: bool,
    pub(super) tunnel_info: bool,
    pub(super) interface: Option<Interface>,
    pub(super) sync_id: u32,
    pub(super) max_length: Option<u16>,
    pub(super) group: Option<IpAddr>,
    pub(super) multicast_port: Option<u16>,
    pub(super) ttl: Option<u8>,
}

/// The server that was named.
#[derive(Clone, Copy)]
pub(super) enum Server<'a> {
    /// Its port is still to be left to the service, if it has none.
    Read(Endpoint),
    /// To be read when the service is known.
    Later(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    DirectRoute,
    Tunnel,
    Masquerade,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum TunnelKind {
    #[default]
    Ipip,
    Gue,
    Gre,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Checksum {
    None,
    Full,
    Remote,
}

// How options are read; OPTIONS names these.

macro_rules! flags {
    ($( $read:ident $assign:expr; )*) => { $(
        pub(crate) fn $read<'a>(draft: &mut Draft<'a>, _: &'a [u8], _: &mut dyn Resolver) -> Result<(), Reason> {
            let assign: fn(&mut Draft<'a>) = $assign;
            assign(draft);
            Ok(())
        }
    )* };
}

flags! {
    numeric |draft| draft.numeric = true;
    connection |draft| draft.subject = Some(Subject::Connections);
    timeout |draft| draft.subject = Some(Subject::Timeouts);
    daemon |draft| draft.subject = Some(Subject::Daemons);
    stats |draft| draft.stats = true;
    rate |draft| draft.rate = true;
    thresholds |draft| draft.thresholds = true;
    persistent_connections |draft| draft.persistent_connections = true;
    tunnel_info |draft| draft.tunnel_info = true;
    exact |draft| draft.exact = true;
    no_sort |draft| draft.no_sort = true;
    sort |_| ();
    stream |draft| draft.stream = true;
    ipv6 |draft| draft.ipv6 = true;
    one_packet |draft| draft.one_packet = true;
    gatewaying |draft| draft.method = Some(Method::DirectRoute);
    ipip |draft| draft.method = Some(Method::Tunnel);
    masquerading |draft| draft.method = Some(Method::Masquerade);
    no_checksum |draft| draft.checksum = Some(Checksum::None);
    checksum |draft| draft.checksum = Some(Checksum::Full);
    remote_checksum |draft| draft.checksum = Some(Checksum::Remote);
}

macro_rules! values {
    ($( $read:ident |$draft:ident, $value:ident, $resolver:ident| $body:expr; )*) => { $(
        pub(crate) fn $read<'a>(
            $draft: &mut Draft<'a>,
            $value: &'a [u8],
            $resolver: &mut dyn Resolver,
        ) -> Result<(), Reason> {
            $body;
            Ok(())
        }
    )* };
}

values! {
    tcp_service |draft, value, resolver| draft.service = Some(service(Protocol::Tcp, value, resolver)?);
    udp_service |draft, value, resolver| draft.service = Some(service(Protocol::Udp, value, resolver)?);
    sctp_service |draft, value, resolver| draft.service = Some(service(Protocol::Sctp, value, resolver)?);
    fwmark_service |draft, value, _resolver| {
        draft.service = ServiceKey::fwmark(strtol(value, 1, u32::MAX)?, Family::V4);
    };
    scheduler |draft, value, _resolver| draft.scheduler = cut(value, Scheduler::MAX, |name| Scheduler::new(name))?;
    persistent |draft, value, _resolver| draft.persistence = Some(strtol(value, 1, draft.limits.persistence)?);
    netmask |draft, value, resolver| {
        match draft.service {
            Some(ServiceKey::Address { address, .. }) => address::netmask(value, Family::of(address), resolver),
            Some(ServiceKey::Fwmark { .. }) if draft.ipv6 => address::netmask(value, Family::V6, resolver),
            // The family may still become either.
            _ => address::netmask(value, Family::V4, resolver)
                .or_else(|_| address::netmask(value, Family::V6, resolver))
                .map_err(|_| Reason::Netmask),
        }?;
        draft.netmask = Some(value);
    };
    engine |draft, value, _resolver| draft.engine = cut(value, Engine::MAX, |name| Engine::new(name))?;
    scheduler_flags |draft, value, _resolver| draft.scheduler_flags = value;
    real_server |draft, value, resolver| {
        let protocol = draft.service.map(|key| protocol(&key));
        draft.server = Some(match address::endpoint(value, protocol, resolver) {
            Ok(endpoint) => Server::Read(endpoint),
            // Which ports have names is known when the service is.
            Err(Reason::UnknownPort) if protocol.is_none() => Server::Later(value),
            Err(reason) => return Err(reason),
        });
    };
    weight |draft, value, _resolver| draft.weight = Some(strtol(value, 0, Destination::MAX)?);
    upper_threshold |draft, value, _resolver| draft.upper_threshold = strtol(value, 0, Destination::MAX)?;
    lower_threshold |draft, value, _resolver| draft.lower_threshold = strtol(value, 0, Destination::MAX)?;
    tunnel_type |draft, value, _resolver| draft.tunnel = match value {
        b"ipip" => TunnelKind::Ipip,
        b"gue" => TunnelKind::Gue,
        b"gre" => TunnelKind::Gre,
        _ => return Err(Reason::NotOneOf("ipip, gue, gre")),
    };
    tunnel_port |draft, value, _resolver| {
        draft.tunnel_port = NonZeroU16::new(strtol(value, 1, u16::MAX.into())? as u16);
    };
    interface |draft, value, _resolver| draft.interface = cut(value, Interface::MAX, |name| Interface::new(name))?;
    sync_id |draft, value, _resolver| draft.sync_id = strtol(value, 0, SyncDaemon::MAX_SYNC_ID)?;
    max_length |draft, value, _resolver| draft.max_length = Some(strtol(value, 1, 65507)? as u16);
    group |draft, value, _resolver| {
        let group = std::str::from_utf8(value).ok().and_then(|text| text.parse::<IpAddr>().ok());
        draft.group = Some(group.filter(IpAddr::is_multicast).ok_or(Reason::NotMulticast)?);
    };
    multicast_port |draft, value, _resolver| draft.multicast_port = Some(strtol(value, 1, u16::MAX.into())? as u16);
    ttl |draft, value, _resolver| draft.ttl = Some(strtol(value, 1, u8::MAX.into())? as u8);
}

/// A service's address; a port that is left out is 0.
fn service(protocol: Protocol, value: &[u8], resolver: &mut dyn Resolver) -> Result<ServiceKey, Reason> {
    let endpoint = address::endpoint(value, Some(protocol), resolver)?;
    Ok(ServiceKey::new(protocol, endpoint.address, endpoint.port.unwrap_or(0)))
}

/// The protocol in which the ports of the service's servers have names.
pub(super) fn protocol(service: &ServiceKey) -> Protocol {
    match service {
        ServiceKey::Address { protocol, .. } => *protocol,
        ServiceKey::Fwmark { .. } => Protocol::Tcp,
    }
}

/// A name, of which ipvsadm takes as much as the kernel has room for; an empty one is the default.
fn cut<T>(value: &[u8], longest: usize, name: impl Fn(&[u8]) -> Result<T, InvalidName>) -> Result<Option<T>, Reason> {
    let value = &value[..value.len().min(longest)];
    if value.is_empty() {
        return Ok(None);
    }
    name(value).map(Some).map_err(|_| Reason::Name)
}
