//! What a document asks for.

use std::collections::HashSet;
use std::fmt;

use super::{
    Checksum, Daemon, Document, FamilyName, KnownProtocol, Mask, Method, OrderName, ProtocolName, RealServer, SCHEMA,
    VirtualService, Wrapping,
};
use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{InvalidName, Scheduler};
use crate::rules::{self, ConfigWarning, ValueError};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{Config, Order, ServiceConfig};

/// Something in a document that cannot be, and where: `services[2].destinations[0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentProblem {
    /// Where.
    pub path: String,
    /// What.
    pub what: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl std::error::Error for DocumentProblem {}

/// What is asked for, and what in it was hardly meant, with where it stands.
pub type Read = (Config, Vec<(String, ConfigWarning)>);

impl Document {
    /// What the document asks for; what is only observed is passed over.
    pub fn to_config(&self) -> Result<Read, Vec<DocumentProblem>> {
        let mut reader = Reader::default();
        // Observed: `ipvs`.
        let Self { schema, ipvs: _, order, timeouts, daemons, services } = self;
        if *schema != SCHEMA {
            reader.problem("schema", format!("{schema} is not known, only {SCHEMA}"));
        }
        let daemons = daemons.as_ref().map(|daemons| reader.daemons(daemons));
        let mut seen = HashSet::new();
        let mut wanted = Vec::with_capacity(services.len());
        for (i, service) in services.iter().enumerate() {
            let path = format!("services[{i}]");
            let Some(service) = reader.service(&path, service) else { continue };
            if !seen.insert(service.service.key) {
                reader.problem(&path, format!("{} is there already", service.service.key));
            }
            wanted.push(service);
        }
        let order = match order {
            None => Order::Any,
            Some(OrderName::Kernel) => Order::Kernel,
        };
        if reader.problems.is_empty() {
            Ok((Config { timeouts: *timeouts, daemons, services: wanted, order }, reader.doubts))
        } else {
            Err(reader.problems)
        }
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<DocumentProblem>,
    doubts: Vec<(String, ConfigWarning)>,
}

impl Reader {
    fn problem(&mut self, path: &str, what: impl fmt::Display) {
        self.problems.push(DocumentProblem { path: path.to_owned(), what: what.to_string() });
    }

    fn keep<T, E: fmt::Display>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|what| self.problem(path, what)).ok()
    }

    fn judge(&mut self, path: &str, change: &Change) {
        self.keep(path, change.validate());
        let warnings = change.warnings().into_iter();
        self.doubts.extend(warnings.map(|warning| (path.to_owned(), ConfigWarning::Change(warning))));
    }

    fn daemons(&mut self, daemons: &[Daemon]) -> Vec<SyncDaemon> {
        let mut read: Vec<SyncDaemon> = Vec::new();
        for (i, daemon) in daemons.iter().enumerate() {
            let path = format!("daemons[{i}]");
            let Daemon { role, interface, sync_id, max_length, group, port, ttl } = daemon;
            let Some(interface) = self.keep(&path, interface.parse()) else { continue };
            let daemon = SyncDaemon {
                role: *role,
                interface,
                sync_id: *sync_id,
                max_length: *max_length,
                group: *group,
                port: *port,
                ttl: *ttl,
            };
            self.judge(&path, &Change::StartDaemon(daemon));
            if read.iter().any(|other| other.role == daemon.role) {
                self.problem(&path, format!("a {role} is there already"));
            }
            read.push(daemon);
        }
        read
    }

    fn service(&mut self, path: &str, document: &VirtualService) -> Option<ServiceConfig> {
        let VirtualService {
            protocol,
            address,
            port,
            fwmark,
            family,
            scheduler,
            flags,
            persistence,
            netmask,
            engine,
            one_packet,
            // Observed.
            stats: _,
            unknown_attributes: _,
            destinations,
        } = document;
        let key = match (protocol, address, port, fwmark, family) {
            (Some(protocol), Some(address), Some(port), None, None) => {
                let protocol = match protocol {
                    ProtocolName::Known(KnownProtocol::Tcp) => Protocol::Tcp,
                    ProtocolName::Known(KnownProtocol::Udp) => Protocol::Udp,
                    ProtocolName::Known(KnownProtocol::Sctp) => Protocol::Sctp,
                    ProtocolName::Number(number) => Protocol::from_number(*number),
                };
                Some(ServiceKey::new(protocol, *address, *port))
            }
            (None, None, None, Some(mark), family) => {
                let family = match family {
                    None | Some(FamilyName::Ipv4) => Family::V4,
                    Some(FamilyName::Ipv6) => Family::V6,
                };
                ServiceKey::fwmark(*mark, family)
            }
            _ => None,
        };
        let wanted = "a service has either protocol, address and port, or a fwmark that is not 0";
        let key = self.keep(path, key.ok_or(wanted))?;
        let scheduler = self.keep(path, scheduler.parse())?;
        let flags = self.keep(path, read_flags(flags, scheduler))?;
        let engine: Result<_, InvalidName> = engine.as_ref().map(|engine| engine.parse()).transpose();
        let netmask = match (netmask, key.family()) {
            (None, family) => Some(Netmask::host(family)),
            (Some(Mask::V4(mask)), _) => Some(Netmask::V4(*mask)),
            (Some(Mask::Prefix(prefix)), family) => Netmask::from_prefix(family, *prefix),
        };
        let service = Service {
            key,
            scheduler,
            flags,
            persistence: *persistence,
            netmask: self.keep(path, netmask.ok_or("no such prefix length"))?,
            engine: self.keep(path, engine)?,
            one_packet: *one_packet,
        };
        self.judge(path, &Change::AddService(service));
        let destinations = self.destinations(path, &key, destinations);
        self.doubts.extend(ConfigWarning::of_servers(key, &destinations).map(|doubt| (path.to_owned(), doubt)));
        Some(ServiceConfig { service, destinations })
    }

    fn destinations(&mut self, path: &str, key: &ServiceKey, servers: &[RealServer]) -> Vec<Destination> {
        let mut seen = HashSet::new();
        let mut read = Vec::with_capacity(servers.len());
        for (i, server) in servers.iter().enumerate() {
            let path = format!("{path}.destinations[{i}]");
            let Some(server) = self.destination(&path, key, server) else { continue };
            if !seen.insert(server.key) {
                self.problem(&path, format!("{} is there already", server.key));
            }
            read.push(server);
        }
        read
    }

    fn destination(&mut self, path: &str, service: &ServiceKey, document: &RealServer) -> Option<Destination> {
        let RealServer {
            address,
            port,
            forwarding,
            tunnel,
            weight,
            upper_threshold,
            lower_threshold,
            // Observed.
            active_connections: _,
            inactive_connections: _,
            persistent_connections: _,
            stats: _,
            unknown_attributes: _,
        } = document;
        if tunnel.is_some() && *forwarding != Method::Tunnel {
            self.problem(path, "`tunnel' goes with `forwarding = tunnel' only");
        }
        let forwarding = match forwarding {
            Method::Masquerade => Forwarding::Masquerade,
            Method::Local => Forwarding::Local,
            Method::DirectRoute => Forwarding::DirectRoute,
            Method::Bypass => Forwarding::Bypass,
            Method::Unknown5 => Forwarding::Other(5),
            Method::Unknown6 => Forwarding::Other(6),
            Method::Unknown7 => Forwarding::Other(7),
            Method::Tunnel => Forwarding::Tunnel(match tunnel {
                None | Some(Wrapping::Ipip) => Tunnel::Ipip,
                Some(Wrapping::Gue { port, checksum }) => Tunnel::Gue {
                    port: *port,
                    checksum: match checksum {
                        Checksum::None => GueChecksum::None,
                        Checksum::Full => GueChecksum::Full,
                        Checksum::Remote => GueChecksum::Remote,
                    },
                },
                Some(Wrapping::Gre { checksum: Checksum::Remote }) => {
                    self.problem(path, "a gre tunnel has no remote checksum offload");
                    return None;
                }
                Some(Wrapping::Gre { checksum }) => Tunnel::Gre { checksum: *checksum == Checksum::Full },
                Some(Wrapping::Other { kind, port, flags }) => Tunnel::from_numbers(*kind, *port, *flags),
            }),
        };
        let destination = Destination {
            key: DestinationKey { address: *address, port: port.or(service.port()).unwrap_or(0) },
            forwarding,
            weight: *weight,
            upper_threshold: *upper_threshold,
            lower_threshold: *lower_threshold,
        };
        self.judge(path, &Change::AddDestination(*service, destination));
        Some(destination)
    }
}

fn read_flags(names: &[String], scheduler: Scheduler) -> Result<SchedulerFlags, ValueError> {
    let mut flags = SchedulerFlags::empty();
    for name in names {
        let bits = name.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        flags |= match bits {
            Some(bits) => SchedulerFlags::from_bits_retain(bits),
            None => rules::read_flags(std::iter::once(name.as_bytes()), scheduler)?,
        };
    }
    Ok(flags)
}
