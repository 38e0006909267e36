//! One write to the kernel, as a value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs_sys::uapi::Command;

use crate::daemon::{Role, SyncDaemon};
use crate::destination::{Destination, Forwarding, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{self, Engine, Interface, Scheduler};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::timeouts::Timeouts;

/// One write to the kernel.
///
/// `Display` prints the equivalent ipvsadm line. ipvsadm's language cannot express every change: if it cannot name the
/// service, the change is printed as a comment. Scheduler flags without a name are omitted, and a forwarding method
/// that ipvsadm does not have is printed as `-g`. [`describe`](Self::describe) returns the change in English.
///
/// ```
/// use ipvs::{Change, Destination, Forwarding, ServiceKey};
/// use std::net::Ipv4Addr;
///
/// let service = ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 80);
/// let server = Destination::new((Ipv4Addr::new(10, 0, 0, 1), 8080), Forwarding::Masquerade);
/// let change = Change::AddDestination(service, server);
/// assert_eq!(change.to_string(), "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Add a service.
    #[doc(alias = "IPVS_CMD_NEW_SERVICE")]
    AddService(Service),
    /// Replace all settings of a service. Its destinations, counters and connections are kept.
    #[doc(alias = "IPVS_CMD_SET_SERVICE")]
    EditService(Service),
    /// Delete a service and its destinations. Its connections break.
    #[doc(alias = "IPVS_CMD_DEL_SERVICE")]
    DeleteService(ServiceKey),
    /// Add a destination to a service.
    #[doc(alias = "IPVS_CMD_NEW_DEST")]
    AddDestination(ServiceKey, Destination),
    /// Replace all settings of a destination. Its counters and connections are kept.
    #[doc(alias = "IPVS_CMD_SET_DEST")]
    EditDestination(ServiceKey, Destination),
    /// Delete a destination. Packets of its connections are dropped.
    #[doc(alias = "IPVS_CMD_DEL_DEST")]
    DeleteDestination(ServiceKey, DestinationKey),
    /// Set connection timeouts. A timeout of 0 is not changed.
    #[doc(alias = "IPVS_CMD_SET_CONFIG")]
    SetTimeouts(Timeouts),
    /// Start a sync daemon.
    #[doc(alias = "IPVS_CMD_NEW_DAEMON")]
    StartDaemon(SyncDaemon),
    /// Stop a sync daemon.
    #[doc(alias = "IPVS_CMD_DEL_DAEMON")]
    StopDaemon(Role),
    /// Set the counters of a service and its destinations to 0, or all counters (`None`).
    #[doc(alias = "IPVS_CMD_ZERO")]
    Zero(Option<ServiceKey>),
    /// Delete every service and destination. Timeouts and sync daemons are kept.
    #[doc(alias = "IPVS_CMD_FLUSH")]
    Flush,
}

impl Change {
    /// Returns the kernel's name of the command, such as `IPVS_CMD_NEW_SERVICE`.
    pub fn command_name(&self) -> &'static str {
        self.command().name()
    }

    pub(crate) fn command(&self) -> Command {
        match self {
            Self::AddService(_) => Command::NewService,
            Self::EditService(_) => Command::SetService,
            Self::DeleteService(_) => Command::DelService,
            Self::AddDestination(..) => Command::NewDest,
            Self::EditDestination(..) => Command::SetDest,
            Self::DeleteDestination(..) => Command::DelDest,
            Self::SetTimeouts(_) => Command::SetConfig,
            Self::StartDaemon(_) => Command::NewDaemon,
            Self::StopDaemon(_) => Command::DelDaemon,
            Self::Zero(_) => Command::Zero,
            Self::Flush => Command::Flush,
        }
    }

    /// Returns the key of the service that is changed, or `None` if the change does not concern a single service.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::AddService(service) | Self::EditService(service) => Some(service.key),
            Self::DeleteService(key)
            | Self::AddDestination(key, _)
            | Self::EditDestination(key, _)
            | Self::DeleteDestination(key, _)
            | Self::Zero(Some(key)) => Some(*key),
            Self::SetTimeouts(_) | Self::StartDaemon(_) | Self::StopDaemon(_) | Self::Zero(None) | Self::Flush => None,
        }
    }

    /// Returns the destination of the change. `None` for changes of other things.
    pub fn destination(&self) -> Option<DestinationKey> {
        match self {
            Self::AddDestination(_, destination) | Self::EditDestination(_, destination) => Some(destination.key),
            Self::DeleteDestination(_, key) => Some(*key),
            _ => None,
        }
    }

    /// Checks the change for values that every kernel refuses or misinterprets.
    ///
    /// The kernel returns `EINVAL` or `ERANGE` without a reason, or stores another value. Rules that depend on the
    /// table or on the kernel's version are not checked.
    ///
    /// # Errors
    ///
    /// Returns the first such value.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::AddService(service) | Self::EditService(service) => {
                validate_key(&service.key)?;
                validate_service(service)
            }
            Self::AddDestination(service, destination) | Self::EditDestination(service, destination) => {
                validate_key(service)?;
                validate_destination(service, destination)
            }
            Self::DeleteService(key) | Self::DeleteDestination(key, _) | Self::Zero(Some(key)) => validate_key(key),
            Self::StartDaemon(daemon) => validate_daemon(daemon),
            Self::SetTimeouts(_) | Self::StopDaemon(_) | Self::Zero(None) | Self::Flush => Ok(()),
        }
    }

    /// Checks a change that a person wrote: its values, as [`validate`](Self::validate) does, and its names. A name
    /// that is not one visible word could become another option or another line of a rules file. The kernel itself
    /// finds no such scheduler, engine or interface.
    pub(crate) fn validate_with_names(&self) -> Result<(), Invalid> {
        self.validate()?;
        match self {
            Self::AddService(service) | Self::EditService(service) => validate_names(service),
            Self::StartDaemon(daemon) => validate_interface(daemon),
            _ => Ok(()),
        }
    }

    /// Returns warnings about values that are valid but probably unintended.
    pub fn warnings(&self) -> Vec<Warning> {
        match self {
            Self::AddService(service) | Self::EditService(service) => service_warnings(service),
            Self::AddDestination(service, destination) | Self::EditDestination(service, destination) => {
                destination_warnings(service, destination)
            }
            Self::SetTimeouts(Timeouts { tcp, tcp_fin, udp }) => {
                [*tcp, *tcp_fin, *udp].into_iter().filter_map(long_timeout).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the change in English, such as `add server 10.0.0.1:80 to TCP 192.0.2.1:80`.
    pub fn describe(&self) -> impl fmt::Display + use<> {
        Description(*self)
    }
}

struct Description(Change);

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Change::AddService(service) => write!(f, "add service {}", service.key),
            Change::EditService(service) => write!(f, "edit service {}", service.key),
            Change::DeleteService(key) => write!(f, "delete service {key}"),
            Change::AddDestination(key, destination) => write!(f, "add server {} to {key}", destination.key),
            Change::EditDestination(key, destination) => write!(f, "edit server {} of {key}", destination.key),
            Change::DeleteDestination(key, destination) => write!(f, "delete server {destination} of {key}"),
            Change::SetTimeouts(_) => f.write_str("set timeouts"),
            Change::StartDaemon(daemon) => write!(f, "start the {} sync daemon", daemon.role),
            Change::StopDaemon(role) => write!(f, "stop the {role} sync daemon"),
            Change::Zero(Some(key)) => write!(f, "zero the counters of {key}"),
            Change::Zero(None) => f.write_str("zero all counters"),
            Change::Flush => f.write_str("flush the table"),
        }
    }
}

/// The reason why a change or a table is invalid.
///
/// Each variant is a value that every kernel refuses, or accepts and then treats as another value. Sources:
/// `ip_vs_genl_parse_service`, `ip_vs_genl_set_cmd`, `ip_vs_add_service` and `ip_vs_add_dest` in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// `Service::persistence` out of range.
    #[error("a persistence timeout must be 1 to {max} seconds, not {0}", max = Service::MAX_PERSISTENCE)]
    Persistence(u32),
    /// `Service::netmask` is of the other family.
    #[error("an {service} service cannot have an {mask} netmask")]
    NetmaskFamily {
        /// The service's family.
        service: Family,
        /// The netmask's family.
        mask: Family,
    },
    /// An IPv6 prefix length out of range.
    #[error("an IPv6 prefix length must be 1 to 128, not {0}")]
    Prefix(u8),
    /// `Destination::weight` out of range.
    #[error("a weight must be 0 to {max}, not {0}", max = Destination::MAX)]
    Weight(u32),
    /// A threshold out of range.
    #[error("a threshold must be 0 to {max}, not {0}", max = Destination::MAX)]
    Threshold(u32),
    /// `Destination::lower_threshold` without an upper threshold.
    #[error("a lower threshold ({0}) needs an upper threshold")]
    LowerAlone(u32),
    /// `Destination::lower_threshold` above `Destination::upper_threshold`.
    #[error("the lower threshold ({lower}) is above the upper threshold ({upper})")]
    LowerAboveUpper {
        /// `Destination::lower_threshold`.
        lower: u32,
        /// `Destination::upper_threshold`.
        upper: u32,
    },
    /// A server of the other family that is not tunnelled. The kernel supports no other forwarding method for it.
    #[error("an {server} server of an {service} service must be tunnelled")]
    MixedFamily {
        /// The service's family.
        service: Family,
        /// The server's family.
        server: Family,
    },
    /// A GUE tunnel with port 0.
    #[error("a GUE tunnel needs a port")]
    GuePort,
    /// `DestinationKey::address` is a multicast, broadcast or unspecified address.
    #[error("{0} is not a unicast address")]
    NotUnicast(IpAddr),
    /// `Protocol::Other` with the number of a protocol that has a variant. ipvsadm's language cannot express
    /// `Protocol::Other`.
    #[error("use `Protocol::{name}` instead of protocol number {0}", name = named_protocol(*.0))]
    Protocol(u16),
    /// `Forwarding::Other` with a number that has a variant, or that the kernel does not store.
    #[error("forwarding method {0} cannot be specified by number: only 5, 6 and 7 can")]
    Forwarding(u8),
    /// `Tunnel::Other` with the numbers of a tunnel that has a variant.
    #[error("the tunnel of type {kind} with port {port} and flags {flags} must be specified by its name")]
    Tunnel {
        /// `Tunnel::Other::kind`.
        kind: u8,
        /// `Tunnel::Other::port`.
        port: u16,
        /// `Tunnel::Other::flags`.
        flags: u16,
    },
    /// `Service::flags` has bits that are not flags of the scheduler.
    #[error("{0:#x} is not a scheduler flag: persistence and one-packet scheduling have settings of their own")]
    SchedulerFlags(u32),
    /// `SyncDaemon::sync_id` out of range.
    #[error("a sync id must be 0 to {max}, not {0}", max = SyncDaemon::MAX_SYNC_ID)]
    SyncId(u32),
    /// `SyncDaemon::group` is not a multicast address.
    #[error("{0} is not a multicast address")]
    NotMulticast(IpAddr),
    /// `Service::scheduler` contains a blank or an invisible character, such as a line break. In a rules file, the rest
    /// of the name would be another word or another line.
    #[error("the scheduler name {0:?} contains blanks or control characters")]
    SchedulerName(Scheduler),
    /// `Service::engine` contains a blank or an invisible character.
    #[error("the persistence engine name {0:?} contains blanks or control characters")]
    EngineName(Engine),
    /// `SyncDaemon::interface` contains a blank or an invisible character.
    #[error("the interface name {0:?} contains blanks or control characters")]
    InterfaceName(Interface),
    /// An edit changes the key of a service or destination. A key is no setting: another key is another item.
    #[error("the key of a service or server cannot be edited")]
    Key,
    /// A [`Config`](crate::Config) has two services with the same key.
    #[error("{0} is defined twice")]
    DuplicateService(ServiceKey),
    /// A service of a [`Config`](crate::Config) has two destinations with the same key.
    #[error("server {1} of {0} is defined twice")]
    DuplicateDestination(ServiceKey, DestinationKey),
    /// A [`Config`](crate::Config) has two sync daemons of the same role.
    #[error("the {0} sync daemon is defined twice")]
    DuplicateDaemon(Role),
}

fn named_protocol(number: u16) -> String {
    format!("{:?}", Protocol::from_number(number))
}

fn validate_key(key: &ServiceKey) -> Result<(), Invalid> {
    match key {
        ServiceKey::Address { protocol: Protocol::Other(number @ (6 | 17 | 132)), .. } => {
            Err(Invalid::Protocol(*number))
        }
        _ => Ok(()),
    }
}

/// Checks the scheduler and the persistence engine of a service.
pub(crate) fn validate_names(service: &Service) -> Result<(), Invalid> {
    if !name::is_visible(service.scheduler.as_bytes()) {
        return Err(Invalid::SchedulerName(service.scheduler));
    }
    match service.engine {
        Some(engine) if !name::is_visible(engine.as_bytes()) => Err(Invalid::EngineName(engine)),
        _ => Ok(()),
    }
}

/// Checks the interface of a sync daemon.
pub(crate) fn validate_interface(daemon: &SyncDaemon) -> Result<(), Invalid> {
    let is_visible = name::is_visible(daemon.interface.as_bytes());
    if is_visible { Ok(()) } else { Err(Invalid::InterfaceName(daemon.interface)) }
}

fn validate_service(service: &Service) -> Result<(), Invalid> {
    if let Some(seconds) = service.persistence
        && !(1..=Service::MAX_PERSISTENCE).contains(&seconds)
    {
        return Err(Invalid::Persistence(seconds));
    }
    let flags = service.flags.bits() & SchedulerFlags::OTHERS;
    if flags != 0 {
        return Err(Invalid::SchedulerFlags(flags));
    }
    let (family, mask) = (service.key.family(), service.netmask.family());
    if family != mask {
        return Err(Invalid::NetmaskFamily { service: family, mask });
    }
    match service.netmask {
        Netmask::V6(prefix) if !(1..=128).contains(&prefix) => Err(Invalid::Prefix(prefix)),
        _ => Ok(()),
    }
}

fn validate_destination(service: &ServiceKey, destination: &Destination) -> Result<(), Invalid> {
    let Destination { key, forwarding, weight, upper_threshold: upper, lower_threshold: lower } = *destination;
    let (service, server) = (service.family(), Family::of(key.address));
    if service != server && forwarding.tunnel().is_none() {
        return Err(Invalid::MixedFamily { service, server });
    }
    if weight > Destination::MAX {
        return Err(Invalid::Weight(weight));
    }
    if let Some(threshold) = [upper, lower].into_iter().find(|threshold| *threshold > Destination::MAX) {
        return Err(Invalid::Threshold(threshold));
    }
    if lower > 0 && upper == 0 {
        return Err(Invalid::LowerAlone(lower));
    }
    if lower > upper {
        return Err(Invalid::LowerAboveUpper { lower, upper });
    }
    validate_forwarding(forwarding)?;
    let unicast = match key.address {
        IpAddr::V4(address) => !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    };
    if unicast { Ok(()) } else { Err(Invalid::NotUnicast(key.address)) }
}

fn validate_forwarding(forwarding: Forwarding) -> Result<(), Invalid> {
    match forwarding {
        Forwarding::Other(5..=7) => Ok(()),
        Forwarding::Other(number) => Err(Invalid::Forwarding(number)),
        Forwarding::Tunnel(Tunnel::Other { kind: 1, port: 0, .. }) => Err(Invalid::GuePort),
        Forwarding::Tunnel(tunnel @ Tunnel::Other { kind, port, flags }) => {
            // Otherwise the value that is read back would differ, and every plan would contain the change again.
            let is_itself = Tunnel::from_numbers(kind, port, flags) == tunnel;
            if is_itself { Ok(()) } else { Err(Invalid::Tunnel { kind, port, flags }) }
        }
        _ => Ok(()),
    }
}

fn validate_daemon(daemon: &SyncDaemon) -> Result<(), Invalid> {
    if daemon.sync_id > SyncDaemon::MAX_SYNC_ID {
        return Err(Invalid::SyncId(daemon.sync_id));
    }
    match daemon.group {
        Some(group) if !group.is_multicast() => Err(Invalid::NotMulticast(group)),
        _ => Ok(()),
    }
}

/// A value that is valid but probably unintended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Port 0 without persistence: the kernel refuses every connection.
    #[error("port 0 without persistence: the kernel refuses every connection")]
    AnyPortNotPersistent,
    /// A protocol that the kernel never schedules.
    #[error("IPVS never schedules packets of protocol {0}")]
    UnknownProtocol(u16),
    /// One-packet scheduling of a protocol other than UDP.
    #[error("one-packet scheduling has no effect for {0}")]
    OnePacketNotUdp(&'static str),
    /// A persistence engine without persistence.
    #[error("a persistence engine has no effect without persistence")]
    EngineNotPersistent,
    /// A netmask without persistence.
    #[error("a netmask has no effect without persistence")]
    NetmaskNotPersistent,
    /// A scheduler that is not in [`Scheduler::KNOWN`].
    #[error("scheduler {0} is not one of the kernel's own")]
    UnknownScheduler(Scheduler),
    /// An IPv4-mapped IPv6 address of a service. Packets to the IPv4 address are not for this service. A socket of both
    /// families gives such addresses for IPv4 clients.
    #[error("{0} is an IPv6 address: the service does not get packets to {1}")]
    MappedAddress(Ipv6Addr, Ipv4Addr),
    /// An unspecified, multicast or broadcast address of a service. The kernel schedules only packets to its own
    /// addresses, and no broadcasts and multicasts. See `ip_vs_in_hook` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_core.c>.
    #[error(
        "the service gets no packets, because none are scheduled to {0}; a firewall mark (-f) serves several addresses"
    )]
    NoPackets(IpAddr),
    /// Direct routing or a tunnel to a port other than the service's. Neither changes the port.
    #[error("port {server} has no effect: {how} delivers to the service's port {service}")]
    PortNotChanged {
        /// The server's port.
        server: u16,
        /// The service's port.
        service: u16,
        /// The forwarding method: `direct routing` or `a tunnel`.
        how: &'static str,
    },
    /// An IPv4-mapped or link-local IPv6 address of a server. `ip_vs_new_dest` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c> accepts it only if the director
    /// has a local route to it.
    #[error("the kernel refuses server {0} unless it is an address of the director: {why}", why = kind_of(.0))]
    RefusedUnlessLocal(IpAddr),
    /// A forwarding method for which the kernel drops every packet.
    #[error("forwarding method {0} drops every packet")]
    UnknownMethod(u8),
    /// A timeout that ipvsadm refuses, though the kernel accepts it.
    #[error("`ipvsadm -R` refuses {0} seconds: the maximum of ipvsadm is {max}", max = Warning::LONGEST_OF_IPVSADM)]
    LongTimeout(u32),
    /// An IPv6 address that ends in a port, probably because its brackets are missing. The address before it, and the
    /// port.
    #[error("the address ends in :{1}; if that is the port, write [{0}]:{1}")]
    PortInAddress(Ipv6Addr, u16),
}

impl Warning {
    /// The longest timeout that ipvsadm accepts, in seconds: 31 days.
    const LONGEST_OF_IPVSADM: u32 = 31 * 24 * 60 * 60;
}

/// Returns the warning about a timeout that ipvsadm refuses.
fn long_timeout(seconds: u32) -> Option<Warning> {
    (seconds > Warning::LONGEST_OF_IPVSADM).then_some(Warning::LongTimeout(seconds))
}

/// Returns the warning about an IPv6 address whose last group reads as a port, and that is an address without it.
fn port_in_address(address: IpAddr, is_port: impl Fn(u16) -> bool) -> Option<Warning> {
    let IpAddr::V6(address) = address else { return None };
    let text = address.to_string();
    let (host, port) = text.rsplit_once(':')?;
    let (host, port) = (host.parse().ok()?, port.parse().ok().filter(|port| *port != 0 && is_port(*port))?);
    Some(Warning::PortInAddress(host, port))
}

fn service_warnings(service: &Service) -> Vec<Warning> {
    let Service { key, scheduler, flags: _, persistence, netmask, engine, one_packet } = *service;
    let mut warnings = Vec::new();
    if let ServiceKey::Address { protocol, address, port } = key {
        if let IpAddr::V6(address) = address
            && let Some(mapped) = address.to_ipv4_mapped()
        {
            warnings.push(Warning::MappedAddress(address, mapped));
        }
        let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || is_broadcast {
            warnings.push(Warning::NoPackets(address));
        }
        if port == 0 && persistence.is_none() {
            warnings.push(Warning::AnyPortNotPersistent);
        }
        if port == 0 {
            warnings.extend(port_in_address(address, |_| true));
        }
        if let Protocol::Other(number) = protocol {
            warnings.push(Warning::UnknownProtocol(number));
        }
        if one_packet && protocol != Protocol::Udp {
            warnings.push(Warning::OnePacketNotUdp(protocol.name()));
        }
    }
    if persistence.is_none() {
        if engine.is_some() {
            warnings.push(Warning::EngineNotPersistent);
        }
        if netmask != Netmask::host(key.family()) {
            warnings.push(Warning::NetmaskNotPersistent);
        }
    }
    warnings.extend(persistence.and_then(long_timeout));
    if scheduler.help().is_none() {
        warnings.push(Warning::UnknownScheduler(scheduler));
    }
    warnings
}

fn kind_of(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => "it is a link-local address",
        _ => "it is an IPv4-mapped address",
    }
}

fn destination_warnings(service: &ServiceKey, destination: &Destination) -> Vec<Warning> {
    let mut warnings = Vec::new();
    // A missing port is that of the service.
    let (address, port) = (destination.key.address, destination.key.port);
    warnings.extend(port_in_address(address, |end| end == port && service.port().is_none_or(|of| of == port)));
    if let IpAddr::V6(address) = destination.key.address
        && (address.to_ipv4_mapped().is_some() || address.is_unicast_link_local())
    {
        warnings.push(Warning::RefusedUnlessLocal(address.into()));
    }
    let how = match destination.forwarding {
        Forwarding::DirectRoute => "direct routing",
        Forwarding::Tunnel(_) => "a tunnel",
        Forwarding::Other(number) => {
            warnings.push(Warning::UnknownMethod(number));
            return warnings;
        }
        Forwarding::Masquerade | Forwarding::Local | Forwarding::Bypass => return warnings,
    };
    if let (server, Some(service)) = (destination.key.port, service.port())
        && server != service
    {
        warnings.push(Warning::PortNotChanged { server, service, how });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR)
    }

    fn server() -> Destination {
        Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade)
    }

    fn why(change: Change) -> String {
        change.validate().expect_err("refused").to_string()
    }

    #[test]
    fn invalid_values_are_errors_with_a_reason() {
        let add = |server| why(Change::AddDestination(service().key, server));
        assert_eq!(
            add(Destination { lower_threshold: 5, ..server() }),
            "a lower threshold (5) needs an upper threshold"
        );
        assert_eq!(
            add(Destination { lower_threshold: 5, upper_threshold: 3, ..server() }),
            "the lower threshold (5) is above the upper threshold (3)"
        );
        assert_eq!(
            add(Destination { weight: 1 << 31, ..server() }),
            "a weight must be 0 to 2147483647, not 2147483648"
        );
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().expect("an address");
        assert_eq!(
            add(Destination { key: (v6, 80).into(), ..server() }),
            "an IPv6 server of an IPv4 service must be tunnelled"
        );
        assert_eq!(
            add(Destination { key: ([224, 0, 0, 1], 80).into(), ..server() }),
            "224.0.0.1 is not a unicast address"
        );
        let gue = Forwarding::Tunnel(Tunnel::Other { kind: 1, port: 0, flags: 0 });
        assert_eq!(add(Destination { forwarding: gue, ..server() }), "a GUE tunnel needs a port");
        assert_eq!(
            why(Change::AddService(Service { netmask: Netmask::V6(64), ..service() })),
            "an IPv4 service cannot have an IPv6 netmask"
        );
        assert_eq!(
            why(Change::AddService(Service { persistence: Some(0), ..service() })),
            "a persistence timeout must be 1 to 4294967 seconds, not 0"
        );
    }

    /// For forwarding methods and tunnels, the kernel would return another value. Every plan would contain the change
    /// again.
    #[test]
    fn numbers_with_a_name_are_errors() {
        let other = ServiceKey::new(Protocol::Other(6), [192, 0, 2, 1], 80);
        assert_eq!(why(Change::DeleteService(other)), "use `Protocol::Tcp` instead of protocol number 6");
        assert_eq!((other, other.cmp(&service().key)), (service().key, std::cmp::Ordering::Equal));
        let flags = SchedulerFlags::from_bits_retain(0x41);
        assert!(why(Change::AddService(Service { flags, ..service() })).starts_with("0x1 is not a scheduler flag"));
        let add = |forwarding| Change::AddDestination(service().key, Destination { forwarding, ..server() });
        let tunnel = |kind, port, flags| Forwarding::Tunnel(Tunnel::Other { kind, port, flags });
        for named in [Forwarding::Other(0), Forwarding::Other(8), tunnel(0, 0, 0), tunnel(1, 6080, 1), tunnel(2, 0, 1)]
        {
            why(add(named));
        }
        for nameless in [Forwarding::Other(5), Forwarding::Other(7), tunnel(0, 1, 0), tunnel(3, 0, 0)] {
            assert_eq!(add(nameless).validate(), Ok(()), "{nameless:?}");
        }
    }

    #[test]
    fn names_are_visible_words() {
        let scheduler = |name: &str| Scheduler::new(name).expect("short");
        let with = |name: &str| Change::AddService(Service { scheduler: scheduler(name), ..service() });
        for name in
            ["rr\n-C", "a b", "\t", "\u{1b}[2J", "\u{7f}", "\u{85}", "a\u{202e}b", "\u{2028}", "\u{200b}", "a\u{a0}b"]
        {
            assert_eq!(with(name).validate_with_names(), Err(Invalid::SchedulerName(scheduler(name))), "{name:?}");
            assert_eq!(with(name).validate(), Ok(()), "{name:?}");
        }
        for name in ["rr", "ä", "a#b", "a\"b", "日本"] {
            assert_eq!(with(name).validate_with_names(), Ok(()), "{name:?}");
        }
        assert_eq!(
            with("rr\n-C").validate_with_names().expect_err("refused").to_string(),
            r#"the scheduler name "rr\n-C" contains blanks or control characters"#
        );
        let engine = Engine::new("sip\n").expect("short");
        assert_eq!(
            Change::EditService(Service { engine: Some(engine), ..service() }).validate_with_names(),
            Err(Invalid::EngineName(engine))
        );
        let interface = Interface::new("eth0\r").expect("short");
        let daemon = SyncDaemon::new(Role::Master, interface, 1);
        assert_eq!(Change::StartDaemon(daemon).validate_with_names(), Err(Invalid::InterfaceName(interface)));
        let config = crate::Config { daemons: Some(vec![daemon]), ..Default::default() };
        assert_eq!(config.validate(), Err(Invalid::InterfaceName(interface)));
    }

    #[test]
    fn a_tunnel_can_cross_families() {
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let server = Destination::new((v6, 80), Forwarding::IPIP);
        assert_eq!(Change::AddDestination(service().key, server).validate(), Ok(()));
    }

    #[test]
    fn addresses_that_end_in_a_port_are_warnings() {
        let warnings = |change: Change| change.warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
        let six = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
        let dns = ServiceKey::udp(six("2001:db8:96::a"), 53);
        let add = |address: &str, port| {
            let server = Destination::new((six(address), port), Forwarding::Masquerade);
            warnings(Change::AddDestination(dns, server))
        };
        let expected = "the address ends in :53; if that is the port, write [2001:db8:244::5]:53";
        assert_eq!(add("2001:db8:244::5:53", 53), [expected]);
        for (address, port) in [("2001:db8::53", 53), ("2001:db8:244::5:54", 53), ("1:2:3:4:5:6:7:53", 53)] {
            assert_eq!(add(address, port), Vec::<String>::new(), "{address}");
        }
        let any_port = Service {
            persistence: Some(60),
            ..Service::new(ServiceKey::tcp(six("2001:db8::a:443"), 0), Scheduler::RR)
        };
        assert_eq!(
            warnings(Change::AddService(any_port)),
            ["the address ends in :443; if that is the port, write [2001:db8::a]:443"]
        );
    }

    #[test]
    fn timeouts_that_ipvsadm_refuses_are_warnings() {
        let text = "`ipvsadm -R` refuses 3000000 seconds: the maximum of ipvsadm is 2678400";
        let long = Service { persistence: Some(3_000_000), ..service() };
        assert_eq!(Change::AddService(long).warnings()[0].to_string(), text);
        let timeouts = Timeouts { tcp: 900, tcp_fin: 0, udp: 3_000_000 };
        assert_eq!(Change::SetTimeouts(timeouts).warnings()[0].to_string(), text);
    }

    #[test]
    fn settings_without_effect_are_warnings() {
        let all = Service {
            key: ServiceKey::tcp([192, 0, 2, 1], 0),
            scheduler: "xyz".parse().expect("short"),
            engine: Some("sip".parse().expect("short")),
            netmask: Netmask::V4([255, 255, 255, 0].into()),
            one_packet: true,
            ..service()
        };
        assert_eq!(Change::AddService(all).warnings().len(), 5);
        assert_eq!(Change::AddService(service()).warnings(), []);
        let server = Destination { key: ([10, 0, 0, 1], 8080).into(), ..server() };
        assert_eq!(Change::AddDestination(service().key, server).warnings(), []);
        let direct = Destination { forwarding: Forwarding::DirectRoute, ..server };
        assert_eq!(
            Change::AddDestination(service().key, direct).warnings()[0].to_string(),
            "port 8080 has no effect: direct routing delivers to the service's port 80"
        );
    }
}
