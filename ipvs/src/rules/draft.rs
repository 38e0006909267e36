//! The options of a line that have been read so far.

use std::net::Ipv4Addr;

use ipvs_sys::wire::Name;

use super::address::Endpoint;
use super::command::Listing;
use super::tunnel::TunnelOptions;
use crate::daemon::{Role, SyncDaemon};
use crate::destination::{Destination, Forwarding};
use crate::family::Protocol;
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{Interface, Scheduler};
use crate::service::Service;
use crate::timeouts::Timeouts;

/// The default of `--mcast-interface`.
pub(super) const DEFAULT_INTERFACE: Interface = Interface(Name::new(b"eth0").unwrap());

/// The longest timeouts that are accepted, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) persistence: u32,
    pub(super) timeout: u32,
}

impl Limits {
    /// The limit of ipvsadm 1.31 in seconds: 31 days.
    const CLASSIC: u32 = 31 * 24 * 60 * 60;
    /// The limits of ipvsadm 1.31.
    pub(super) const OF_IPVSADM: Self = Self { persistence: Self::CLASSIC, timeout: Self::CLASSIC };
    /// The limits of the kernel, so that every table it has can be read again.
    pub(super) const OF_THE_KERNEL: Self = Self { persistence: Service::MAX_PERSISTENCE, timeout: Timeouts::MAX };
}

/// The options of a line that have been read so far.
///
/// Options write straight into `service`, `destination`, `daemon` and `listing`, which begin with ipvsadm's defaults.
/// Options whose meaning depends on other options have fields of their own.
pub(crate) struct Draft<'a> {
    pub(super) limits: Limits,
    /// The options that were given. Bit `i` stands for all rows that have the name of row `i`.
    pub(super) given: u64,
    /// The specified service. A firewall mark has the family IPv4 here, because `-6` may still follow.
    pub(super) key: Option<ServiceKey>,
    pub(super) ipv6: bool,
    /// Settings of the service. Its key is not used.
    pub(super) service: Service,
    /// The value of `-M`, not parsed until the family is known.
    pub(super) netmask: Option<&'a [u8]>,
    /// The value of `-b`, not parsed until the scheduler is known.
    pub(super) scheduler_flags: Option<&'a [u8]>,
    /// The specified server.
    pub(super) server: Option<Server<'a>>,
    /// Settings of the server. Its key is not used.
    pub(super) destination: Destination,
    pub(super) method: Option<Method>,
    pub(super) tunnel: TunnelOptions,
    pub(super) listing: Listing,
    pub(super) daemon: SyncDaemon,
    pub(super) stream: bool,
    /// Words that belong to no option, each with its number. Only `--set` accepts such words.
    pub(super) loose: Vec<(&'a [u8], usize)>,
}

impl Draft<'_> {
    pub(super) fn new(limits: Limits) -> Self {
        let nowhere = Ipv4Addr::UNSPECIFIED;
        Self {
            limits,
            given: 0,
            key: None,
            ipv6: false,
            service: Service::new(ServiceKey::tcp(nowhere, 0), Scheduler::default()),
            netmask: None,
            scheduler_flags: None,
            server: None,
            destination: Destination::new(DestinationKey::new(nowhere, 0), Forwarding::default()),
            method: None,
            tunnel: TunnelOptions::default(),
            listing: Listing::default(),
            daemon: SyncDaemon::new(Role::Master, DEFAULT_INTERFACE, 0),
            stream: false,
            loose: Vec::new(),
        }
    }
}

/// The specified server.
#[derive(Clone, Copy)]
pub(super) enum Server<'a> {
    /// An address. A missing port defaults to that of the service.
    Read(Endpoint),
    /// A text that is parsed when the service is known.
    Later(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    DirectRoute,
    Tunnel,
    Masquerade,
}

/// Returns the protocol whose port names are valid for the servers of a service.
pub(super) fn protocol_of_ports(service: &ServiceKey) -> Protocol {
    match service {
        ServiceKey::Address { protocol, .. } => *protocol,
        ServiceKey::Fwmark { .. } => Protocol::Tcp,
    }
}
