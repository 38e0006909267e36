//! Virtual servers → services, with the corrections that keepalived makes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::address::Range;
use super::limits::MOST_SERVERS;
use super::virtual_server::DEFAULT_PERSISTENCE;
use crate::change::Change;
use crate::convert::{CheckedServer, Managed, Position, Report};
use crate::daemon::SyncDaemon;
use crate::destination::{Destination, Forwarding};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{Engine, Scheduler};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{Config, Order, ServiceConfig};
use crate::timeouts::Timeouts;

#[derive(Default)]
pub(super) struct Table {
    pub(super) timeouts: Option<Timeouts>,
    pub(super) daemons: Option<Vec<SyncDaemon>>,
    pub(super) has_sync_daemon: bool,
    /// The position of `nftables_ipvs`.
    pub(super) nftables: Option<Position>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) virtuals: Vec<Virtual>,
}

pub(super) struct Group {
    pub(super) position: Position,
    pub(super) entries: Vec<Entry>,
    /// False if an entry has an error.
    pub(super) is_complete: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Entry {
    Addresses { range: Range, port: u16 },
    Mark { mark: u32, family: Option<Family> },
}

#[derive(Clone)]
pub(super) enum Target {
    Address(IpAddr, u16),
    Mark(u32),
    Group(String),
}

pub(super) struct Virtual {
    position: Position,
    target: Target,
    /// The family, as far as it is known.
    pub(super) family: Option<Family>,
    pub(super) scheduler: Option<Scheduler>,
    pub(super) flags: SchedulerFlags,
    pub(super) one_packet: bool,
    pub(super) forwarding: Option<Forwarding>,
    pub(super) persistence: Option<u32>,
    pub(super) netmask: Option<Netmask>,
    pub(super) engine: Option<Engine>,
    pub(super) protocol: Option<Protocol>,
    /// The weight of servers without one.
    pub(super) weight: u32,
    pub(super) quorum: u32,
    pub(super) hysteresis: u32,
    pub(super) alpha: bool,
    pub(super) omega: bool,
    pub(super) inhibit: bool,
    pub(super) sorry: Option<Sorry>,
    pub(super) reals: Vec<Real>,
}

pub(super) struct Sorry {
    pub(super) position: Position,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) forwarding: Option<Forwarding>,
    /// `sorry_server_inhibit`: the server is in the table with weight 0 while it is not used.
    pub(super) inhibit: bool,
}

pub(super) struct Real {
    pub(super) position: Position,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) forwarding: Option<Forwarding>,
    pub(super) weight: Option<u32>,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) inhibit: Option<bool>,
    pub(super) alpha: Option<bool>,
    pub(super) is_checked: bool,
    pub(super) sets_weight: bool,
}

impl Virtual {
    pub(super) fn new(position: Position, target: Target) -> Self {
        Self {
            position,
            family: match &target {
                Target::Address(address, _) => Some(Family::of(*address)),
                _ => None,
            },
            target,
            scheduler: None,
            flags: SchedulerFlags::empty(),
            one_packet: false,
            forwarding: None,
            persistence: None,
            netmask: None,
            engine: None,
            protocol: None,
            weight: 1,
            quorum: 1,
            hysteresis: 0,
            alpha: false,
            omega: false,
            inhibit: false,
            sorry: None,
            reals: Vec::new(),
        }
    }

    /// Sets the family of a service by mark whose servers are all tunnelled: that of the servers if they have the same,
    /// otherwise IPv4.
    pub(super) fn finish_family(&mut self) {
        let is_tunnelled = |forwarding| matches!(forwarding, Some(Forwarding::Tunnel(_)));
        if let Some(sorry) = self.sorry.as_ref().filter(|sorry| !is_tunnelled(sorry.forwarding)) {
            self.family.get_or_insert(Family::of(sorry.address));
        }
        if self.family.is_none() && !matches!(self.target, Target::Group(_)) {
            let addresses =
                self.sorry.iter().map(|sorry| sorry.address).chain(self.reals.iter().map(|real| real.address));
            let families: HashSet<Family> = addresses.map(Family::of).collect();
            self.family =
                Some(if families.len() == 1 && families.contains(&Family::V6) { Family::V6 } else { Family::V4 });
        }
    }

    /// Makes the corrections of keepalived that do not depend on a single service.
    fn correct(&mut self, entries: &[Entry], report: &mut Report) {
        let at = || self.position.clone();
        let has_addresses = entries.iter().any(|entry| matches!(entry, Entry::Addresses { .. }));
        let has_no_port = entries.iter().any(|entry| matches!(entry, Entry::Addresses { port: 0, .. }));
        let is_group = matches!(self.target, Target::Group(_));
        if has_addresses {
            if self.protocol.is_none() {
                report.adjusted(at(), "keepalived uses UDP, because there is no protocol");
                self.protocol = Some(Protocol::Udp);
            }
            if self.one_packet && self.protocol != Some(Protocol::Udp) {
                report.adjusted(at(), "keepalived ignores `ops', because the protocol is not UDP");
                self.one_packet = false;
            }
            if has_no_port && self.persistence.is_none() {
                let sentence = format!(
                    "keepalived sets persistence_timeout {DEFAULT_PERSISTENCE}, because a service without a port needs one"
                );
                report.adjusted(at(), sentence);
                self.persistence = Some(DEFAULT_PERSISTENCE);
            }
        } else if self.protocol.is_some() {
            report.adjusted(at(), "keepalived ignores the protocol of a service by firewall mark");
        }
        if self.scheduler.is_none() {
            report.adjusted(at(), "keepalived uses the scheduler wlc, because there is no lvs_sched");
        }
        if self.forwarding.is_none() && self.reals.iter().any(|real| real.forwarding.is_none()) {
            report.adjusted(at(), "keepalived uses NAT, because there is no lvs_method");
        }
        if is_group && self.netmask.is_some() {
            report.adjusted(at(), "keepalived ignores persistence_granularity in a service of a group");
            self.netmask = None;
        }
    }

    fn service(&self, key: ServiceKey) -> Service {
        let persistence = self.persistence;
        let netmask = self.netmask.filter(|netmask| netmask.family() == key.family() && persistence.is_some());
        Service {
            flags: self.flags,
            persistence,
            netmask: netmask.unwrap_or(Netmask::host(key.family())),
            engine: self.engine.filter(|_| persistence.is_some()),
            one_packet: self.one_packet,
            ..Service::new(key, self.scheduler.unwrap_or(Scheduler::WLC))
        }
    }

    /// Returns forwarding method and port of a server in a service. Only NAT changes the port.
    fn forwarding_and_port(&self, forwarding: Option<Forwarding>, port: u16, key: &ServiceKey) -> (Forwarding, u16) {
        let forwarding = forwarding.or(self.forwarding).unwrap_or(Forwarding::Masquerade);
        let service_port = key.port().unwrap_or(0);
        let port = match forwarding {
            Forwarding::Masquerade if port != 0 => port,
            // keepalived adds the port in services that are not those of a group.
            Forwarding::Masquerade if matches!(self.target, Target::Group(_)) => 0,
            _ => service_port,
        };
        (forwarding, port)
    }
}

impl Table {
    pub(super) fn finish(mut self, report: &mut Report) -> (Config, Vec<Managed>) {
        let mut services = Services::default();
        let mut used = HashSet::new();
        for mut server in std::mem::take(&mut self.virtuals) {
            if let Target::Group(name) = &server.target {
                used.insert(name.clone());
            }
            if server.reals.is_empty() {
                let sentence = "keepalived ignores the virtual server, because it has no real_server";
                report.adjusted(server.position.clone(), sentence);
                continue;
            }
            let Some(entries) = self.entries(&server, report) else { continue };
            server.correct(&entries, report);
            if !services.add(&server, &entries, report) {
                break;
            }
        }
        let mut unused: Vec<(&String, &Position)> = self
            .groups
            .iter()
            .filter(|(name, _)| !used.contains(*name))
            .map(|(name, group)| (name, &group.position))
            .collect();
        unused.sort_by_key(|(_, position)| *position);
        for (name, position) in unused {
            let sentence = format!("keepalived ignores the group {name}, because no virtual_server uses it");
            report.adjusted(position.clone(), sentence);
        }
        let Services { services, managed, .. } = services;
        let config = Config { timeouts: self.timeouts, daemons: self.daemons, services, order: Order::Any };
        (config, managed)
    }

    fn entries(&self, server: &Virtual, report: &mut Report) -> Option<Vec<Entry>> {
        let name = match &server.target {
            Target::Address(first, port) => {
                return Some(vec![Entry::Addresses { range: Range { first: *first, more: 0 }, port: *port }]);
            }
            Target::Mark(mark) => return Some(vec![Entry::Mark { mark: *mark, family: server.family }]),
            Target::Group(name) => name,
        };
        let Some(group) = self.groups.get(name) else {
            report.error(server.position.clone(), format_args!("there is no virtual_server_group {name}"));
            return None;
        };
        if !group.is_complete {
            return None;
        }
        let has_mark = group.entries.iter().any(|entry| matches!(entry, Entry::Mark { .. }));
        if let Some(position) = self.nftables.as_ref().filter(|_| !has_mark) {
            let message = format!("the marks of nftables_ipvs are not supported, which group {name} gets");
            report.error(position.clone(), message);
            return None;
        }
        let family = |entry: &Entry| match entry {
            Entry::Mark { mark, family: None } => {
                Entry::Mark { mark: *mark, family: Some(server.family.unwrap_or(Family::V4)) }
            }
            entry => *entry,
        };
        // keepalived adds the addresses first.
        let (addresses, marks): (Vec<Entry>, Vec<Entry>) =
            group.entries.iter().map(family).partition(|entry| matches!(entry, Entry::Addresses { .. }));
        Some([addresses, marks].concat())
    }
}

/// The quorum that keepalived uses. It reduces one that cannot be reached.
struct Quorum {
    quorum: u32,
    hysteresis: u32,
    /// Whether all servers together reach it. keepalived starts without the quorum, so they must exceed the hysteresis.
    is_reached: bool,
}

impl Quorum {
    fn new(server: &Virtual, destinations: &[Destination]) -> Self {
        let sum: u64 = destinations.iter().map(|server| u64::from(server.weight)).sum();
        let quorum = u32::try_from(sum).unwrap_or(u32::MAX).min(server.quorum);
        let hysteresis = server.hysteresis.min(quorum.saturating_sub(1));
        let is_reached = sum > 0 && sum >= u64::from(quorum) + u64::from(hysteresis);
        Self { quorum, hysteresis, is_reached }
    }
}

#[derive(Default)]
struct Services {
    services: Vec<ServiceConfig>,
    managed: Vec<Managed>,
    keys: HashMap<ServiceKey, Position>,
    /// The number of services and servers.
    size: usize,
    /// The corrections of ports that were reported. A range would repeat them.
    reported: HashSet<Position>,
}

impl Services {
    /// Adds the services of a virtual server. Returns false if there are too many.
    fn add(&mut self, server: &Virtual, entries: &[Entry], report: &mut Report) -> bool {
        for entry in entries {
            match *entry {
                Entry::Addresses { range, port } => {
                    let protocol = server.protocol.unwrap_or(Protocol::Udp);
                    for address in range.addresses() {
                        if !self.count(server, report) {
                            return false;
                        }
                        if !self.add_service(server, ServiceKey::new(protocol, address, port), report) {
                            break;
                        }
                    }
                }
                Entry::Mark { mark, family } => {
                    if let Some(key) = ServiceKey::fwmark(mark, family.unwrap_or(Family::V4)) {
                        if !self.count(server, report) {
                            return false;
                        }
                        self.add_service(server, key, report);
                    }
                }
            }
        }
        true
    }

    /// Counts a service with its servers. Returns false if there are too many.
    fn count(&mut self, server: &Virtual, report: &mut Report) -> bool {
        self.size += 1 + server.reals.len();
        let is_allowed = self.size <= MOST_SERVERS;
        if !is_allowed {
            let message = format!("more than {MOST_SERVERS} services and servers are not supported");
            report.error(server.position.clone(), message);
        }
        is_allowed
    }

    /// Adds a service. Returns false if it has errors, which are reported once for a range.
    fn add_service(&mut self, server: &Virtual, key: ServiceKey, report: &mut Report) -> bool {
        let service = server.service(key);
        if let Some(other) = self.keys.get(&key) {
            report.error(server.position.clone(), format_args!("{key} is already a virtual server at {other}"));
            return false;
        }
        self.keys.insert(key, server.position.clone());
        if !report.accepts(&Change::AddService(service), &server.position) {
            return false;
        }
        let mut destinations = Vec::with_capacity(server.reals.len());
        let mut checked = Vec::new();
        let mut seen: HashMap<DestinationKey, &Position> = HashMap::new();
        for real in &server.reals {
            let (forwarding, port) = server.forwarding_and_port(real.forwarding, real.port, &key);
            if real.port != 0 && port != real.port && self.reported.insert(real.position.clone()) {
                let sentence = match port {
                    0 => format!("keepalived ignores port {}, because only NAT changes the port", real.port),
                    _ => format!("keepalived uses port {port}, because only NAT changes the port"),
                };
                report.adjusted(real.position.clone(), sentence);
            }
            let destination = Destination {
                weight: real.weight.unwrap_or(server.weight),
                upper_threshold: real.upper_threshold,
                lower_threshold: real.lower_threshold,
                ..Destination::new((real.address, port), forwarding)
            };
            if let Some(other) = seen.insert(destination.key, &real.position) {
                let message = format!("{} is already a server of {key} at {other}", destination.key);
                report.error(real.position.clone(), message);
                return false;
            }
            if !report.accepts(&Change::AddDestination(key, destination), &real.position) {
                return false;
            }
            if real.is_checked {
                checked.push(CheckedServer {
                    server: destination.key,
                    keeps_failed: real.inhibit.unwrap_or(server.inhibit),
                    sets_weight: real.sets_weight,
                });
            }
            destinations.push(destination);
        }
        let fallback = server.sorry.as_ref().map(|sorry| {
            let (forwarding, port) = server.forwarding_and_port(sorry.forwarding, sorry.port, &key);
            (Destination::new((sorry.address, port), forwarding), &sorry.position)
        });
        if let Some((fallback, position)) = fallback
            && !report.accepts(&Change::AddDestination(key, fallback), position)
        {
            return false;
        }
        let quorum = Quorum::new(server, &destinations);
        if let (Some((fallback, position)), Some(sorry)) = (fallback, &server.sorry) {
            let is_server = seen.contains_key(&fallback.key);
            if !quorum.is_reached {
                if self.reported.insert(position.clone()) {
                    let sentence = "keepalived uses the sorry_server, because the weights do not reach the quorum";
                    report.adjusted(position.clone(), sentence);
                }
                let keeps = |real: &Real| real.inhibit.unwrap_or(server.inhibit);
                let mut kept = server.reals.iter().map(keeps);
                destinations.retain(|_| kept.next().unwrap_or(false));
                destinations.iter_mut().for_each(|server| server.weight = 0);
                destinations.retain(|server| server.key != fallback.key);
                destinations.push(fallback);
            } else if sorry.inhibit && !is_server {
                destinations.push(Destination { weight: 0, ..fallback });
            }
        }
        self.services.push(ServiceConfig { service, destinations });
        self.managed.push(Managed {
            service: key,
            position: server.position.clone(),
            checked,
            fallback: fallback.map(|(fallback, _)| fallback),
            quorum: quorum.quorum,
            hysteresis: quorum.hysteresis,
            alpha: server.alpha || server.reals.iter().any(|real| real.alpha == Some(true)),
            omega: server.omega,
        });
        true
    }
}
