//! What is held, or asked for, as a document.

use std::collections::BTreeMap;

use ipvs_sys::wire::Unknown;

use super::{
    Checksum, Daemon, Document, FamilyName, Ipvs, KnownProtocol, Mask, Method, OrderName, ProtocolName, RealServer,
    SCHEMA, VirtualService, Wrapping,
};
use crate::daemon::SyncDaemon;
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::ServiceKey;
use crate::name::Scheduler;
use crate::rules;
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        let State { info, timeouts, daemons, services } = state;
        Self {
            schema: SCHEMA,
            ipvs: Some(Ipvs { version: info.version.to_string(), connection_table_size: info.connection_table_size }),
            order: Some(OrderName::Kernel),
            timeouts: Some(*timeouts),
            daemons: Some(daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl From<&Config> for Document {
    fn from(config: &Config) -> Self {
        let Config { timeouts, daemons, services, order } = config;
        Self {
            schema: SCHEMA,
            ipvs: None,
            order: match order {
                Order::Any => None,
                Order::Kernel => Some(OrderName::Kernel),
            },
            timeouts: *timeouts,
            daemons: daemons.as_ref().map(|daemons| daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl From<&SyncDaemon> for Daemon {
    fn from(daemon: &SyncDaemon) -> Self {
        let SyncDaemon { role, interface, sync_id, max_length, group, port, ttl } = *daemon;
        Self { role, interface: interface.to_string(), sync_id, max_length, group, port, ttl }
    }
}

impl From<&ServiceState> for VirtualService {
    fn from(state: &ServiceState) -> Self {
        let ServiceState { service, stats, destinations, unknown } = state;
        Self {
            stats: Some(*stats),
            unknown_attributes: hexadecimal(unknown),
            // The kernel lists the newest first; a document has the oldest first.
            destinations: destinations.iter().rev().map(RealServer::from).collect(),
            ..Self::from(service)
        }
    }
}

impl From<&ServiceConfig> for VirtualService {
    fn from(config: &ServiceConfig) -> Self {
        let ServiceConfig { service, destinations } = config;
        Self { destinations: destinations.iter().map(RealServer::from).collect(), ..Self::from(service) }
    }
}

impl From<&Service> for VirtualService {
    fn from(service: &Service) -> Self {
        let Service { key, scheduler, flags, persistence, netmask, engine, one_packet } = *service;
        let identity = match key {
            ServiceKey::Address { protocol, address, port } => Self {
                protocol: Some(match protocol {
                    Protocol::Tcp => ProtocolName::Known(KnownProtocol::Tcp),
                    Protocol::Udp => ProtocolName::Known(KnownProtocol::Udp),
                    Protocol::Sctp => ProtocolName::Known(KnownProtocol::Sctp),
                    Protocol::Other(number) => ProtocolName::Number(number),
                }),
                address: Some(address),
                port: Some(port),
                ..Self::default()
            },
            ServiceKey::Fwmark { mark, family } => Self {
                fwmark: Some(mark.get()),
                family: Some(match family {
                    Family::V4 => FamilyName::Ipv4,
                    Family::V6 => FamilyName::Ipv6,
                }),
                ..Self::default()
            },
        };
        Self {
            scheduler: scheduler.to_string(),
            flags: flag_names(scheduler, flags),
            persistence,
            netmask: Some(match netmask {
                Netmask::V4(mask) => Mask::V4(mask),
                Netmask::V6(prefix) => Mask::Prefix(prefix),
            }),
            engine: engine.map(|engine| engine.to_string()),
            one_packet,
            ..identity
        }
    }
}

impl From<&DestinationState> for RealServer {
    fn from(state: &DestinationState) -> Self {
        let DestinationState {
            destination,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            unknown,
        } = state;
        Self {
            active_connections: Some(*active_connections),
            inactive_connections: Some(*inactive_connections),
            persistent_connections: Some(*persistent_connections),
            stats: Some(*stats),
            unknown_attributes: hexadecimal(unknown),
            ..Self::from(destination)
        }
    }
}

impl From<&Destination> for RealServer {
    fn from(destination: &Destination) -> Self {
        let Destination { key, forwarding, weight, upper_threshold, lower_threshold } = *destination;
        Self {
            address: key.address,
            port: Some(key.port),
            forwarding: match forwarding {
                Forwarding::Masquerade => Method::Masquerade,
                Forwarding::Local => Method::Local,
                Forwarding::Tunnel(_) => Method::Tunnel,
                Forwarding::DirectRoute => Method::DirectRoute,
                Forwarding::Bypass => Method::Bypass,
                Forwarding::Other(5) => Method::Unknown5,
                Forwarding::Other(6) => Method::Unknown6,
                Forwarding::Other(_) => Method::Unknown7,
            },
            tunnel: forwarding.tunnel().map(Wrapping::from),
            weight,
            upper_threshold,
            lower_threshold,
            active_connections: None,
            inactive_connections: None,
            persistent_connections: None,
            stats: None,
            unknown_attributes: BTreeMap::new(),
        }
    }
}

impl From<Tunnel> for Wrapping {
    fn from(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Ipip => Self::Ipip,
            Tunnel::Gue { port, checksum } => Self::Gue {
                port,
                checksum: match checksum {
                    GueChecksum::None => Checksum::None,
                    GueChecksum::Full => Checksum::Full,
                    GueChecksum::Remote => Checksum::Remote,
                },
            },
            Tunnel::Gre { checksum } => Self::Gre { checksum: if checksum { Checksum::Full } else { Checksum::None } },
            Tunnel::Other { kind, port, flags } => Self::Other { kind, port, flags },
        }
    }
}

/// The names of flags; bits without one in hexadecimal.
fn flag_names(scheduler: Scheduler, flags: SchedulerFlags) -> Vec<String> {
    let nameless = flags.bits() & !SchedulerFlags::NAMED.bits();
    let nameless = (nameless != 0).then(|| format!("{nameless:#x}"));
    rules::flag_names(scheduler, flags).map(str::to_owned).chain(nameless).collect()
}

fn hexadecimal(unknown: &Unknown) -> BTreeMap<u16, String> {
    let text = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect();
    unknown.iter().map(|(number, value)| (number, text(value))).collect()
}
