//! Sections → services, through the lines that ldirectord passes to ipvsadm.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::endpoint::{Settings, endpoint, forwarding, host, hosts};
use super::lines::{Directive, File};
use super::section::{Check, Section};
use crate::change::Change;
use crate::convert::{CheckedServer, Managed, Position, Report};
use crate::destination::Destination;
use crate::family::{Family, Protocol};
use crate::key::ServiceKey;
use crate::rules::{self, Command, Numeric, Resolver};
use crate::service::Service;
use crate::state::{Config, ServiceConfig};

/// The number of servers that a file may describe. A short range describes many.
const MOST: usize = 300_000;

/// The ports whose `service` is not `none` by default.
const CHECKED_PORTS: [u16; 19] =
    [21, 25, 53, 80, 110, 119, 143, 389, 443, 587, 636, 993, 995, 1521, 1812, 3128, 3306, 5060, 5432];

pub(super) fn finish(file: File<'_>, resolver: &mut dyn Resolver, report: &mut Report) -> (Config, Vec<Managed>) {
    let mut config = Config::default();
    let mut managed = Vec::new();
    let mut keys: HashMap<ServiceKey, Position> = HashMap::new();
    let mut servers = 0;
    for section in &file.sections {
        // Each name that is not found can take seconds.
        if report.is_full() {
            break;
        }
        let reader = Reader { file: &file, section, resolver: &mut *resolver, report: &mut *report };
        let Some((service, one)) = reader.read(&mut servers) else { continue };
        let key = service.service.key;
        if let Some(other) = keys.insert(key, one.position.clone()) {
            report.error(one.position.clone(), format_args!("{key} is already a virtual service at {other}"));
            continue;
        }
        config.services.push(service);
        managed.push(one);
    }
    (config, managed)
}

struct Reader<'f, 't, 'r> {
    file: &'f File<'t>,
    section: &'f Section<'t>,
    resolver: &'r mut dyn Resolver,
    report: &'r mut Report,
}

/// The service in ipvsadm's words.
struct Target {
    words: Vec<String>,
    port: u16,
    protocol: Protocol,
    is_mark: bool,
}

impl Reader<'_, '_, '_> {
    fn read(mut self, total: &mut usize) -> Option<(ServiceConfig, Managed)> {
        let section = self.section;
        let position = section.virtual_.position.clone();
        let target = self.target()?;
        let service = self.service(&target);
        let mut destinations = Vec::new();
        let mut seen = HashSet::new();
        for real in &section.reals {
            if self.report.is_full() {
                break;
            }
            for server in self.reals(real, &target, total) {
                if !seen.insert(server.key) {
                    let message = format!("{} is already a server of this service", server.key);
                    self.report.error(real.at_value(), message);
                    break;
                }
                destinations.push(server);
            }
        }
        let fallback = self.fallback(&target);
        let service = service?;
        let is_quiescent = section.is_quiescent.unwrap_or(self.file.is_quiescent);
        let has_check = match (section.check, section.service) {
            (Check::On | Check::Off, _) | (Check::Negotiate, Some("none")) => false,
            (Check::Negotiate, None) => !target.is_mark && CHECKED_PORTS.contains(&target.port),
            _ => true,
        };
        let checked =
            |server: &Destination| CheckedServer { server: server.key, keeps_failed: is_quiescent, sets_weight: false };
        let is_checked = has_check || self.file.has_maintenance;
        let checked = destinations.iter().filter(|_| is_checked).map(checked).collect();
        if let Some(fallback) = fallback.filter(|fallback| seen.contains(&fallback.key)) {
            let sentence = "the fallback is also a server: ldirectord deletes it when it takes the fallback out";
            self.report.adjusted(position.clone(), sentence);
            destinations.retain(|server| server.key != fallback.key);
        }
        if section.check == Check::Off {
            // At the start, ldirectord adds each server and takes it out again.
            destinations.retain(|_| is_quiescent);
            destinations.iter_mut().for_each(|server| server.weight = 0);
        }
        if section.check == Check::Off || section.reals.is_empty() {
            destinations.extend(fallback);
        }
        let managed = Managed {
            service: service.key,
            position,
            checked,
            fallback,
            quorum: 1,
            hysteresis: 0,
            alpha: false,
            omega: false,
        };
        Some((ServiceConfig { service, destinations }, managed))
    }

    /// Reads the value of `virtual` and the protocol.
    fn target(&mut self) -> Option<Target> {
        let virtual_ = &self.section.virtual_;
        let family = self.section.family;
        let text = virtual_.value.split('#').next().unwrap_or_default().trim_end();
        let protocol = self.section.protocol.as_ref().map(|directive| directive.value.trim_end());
        let at_protocol = || self.section.protocol.as_ref().unwrap_or(virtual_).at_value();
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            if protocol.is_some_and(|protocol| protocol != "fwm") {
                self.report.error(at_protocol(), "the protocol of a service by firewall mark is fwm");
                return None;
            }
            let mut words = vec!["-f".to_owned(), text.to_owned()];
            words.extend((family == Family::V6).then(|| "-6".to_owned()));
            return Some(Target { words, port: 0, protocol: Protocol::Tcp, is_mark: true });
        }
        let is_dns = text.ends_with(":53") || text.ends_with(":domain");
        let (protocol, option) = match protocol {
            Some("tcp") => (Protocol::Tcp, "-t"),
            Some("udp") => (Protocol::Udp, "-u"),
            None if is_dns => (Protocol::Udp, "-u"),
            None => (Protocol::Tcp, "-t"),
            Some(_) => {
                self.report.error(at_protocol(), "the protocol of a service by address is tcp or udp");
                return None;
            }
        };
        match endpoint(text, family, protocol, self.resolver) {
            Ok((address, Some(port))) => {
                let words = vec![option.to_owned(), SocketAddr::new(address, port).to_string()];
                Some(Target { words, port, protocol, is_mark: false })
            }
            Ok((_, None)) => {
                self.report.error(virtual_.at_value(), "a service by address needs a port");
                None
            }
            Err(message) => {
                self.report.error(virtual_.at_value(), message);
                None
            }
        }
    }

    fn service(&mut self, target: &Target) -> Option<Service> {
        let section = self.section;
        let mut words = vec!["-A".to_owned()];
        words.extend_from_slice(&target.words);
        if let Some(directive) = &section.one_packet {
            if target.protocol == Protocol::Udp {
                words.push("-o".into());
            } else {
                let sentence = "ldirectord ignores `ops', because the protocol is not udp";
                self.report.adjusted(directive.position.clone(), sentence);
            }
        }
        words.extend(["-s".to_owned(), section.scheduler.clone()]);
        match (&section.persistent, &section.netmask) {
            (Some(seconds), netmask) => {
                words.extend(["-p".to_owned(), seconds.clone()]);
                if let Some(netmask) = netmask {
                    words.extend(["-M".to_owned(), netmask.value.trim_end().to_owned()]);
                }
            }
            (None, Some(netmask)) => {
                let sentence = "ldirectord ignores `netmask', because there is no `persistent'";
                self.report.adjusted(netmask.position.clone(), sentence);
            }
            (None, None) => {}
        }
        words.extend(section.scheduler_flags.into_iter().flat_map(|flags| ["-b".to_owned(), flags.to_owned()]));
        match self.change(&words, &section.virtual_.position)? {
            Change::AddService(service) => Some(service),
            _ => None,
        }
    }

    /// Returns the servers of a line.
    fn reals(&mut self, real: &Directive<'_>, target: &Target, total: &mut usize) -> Vec<Destination> {
        let value = real.value.trim();
        let (address, settings) = value.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((value, ""));
        let parsed = hosts(address, self.section.family, self.resolver)
            .and_then(|hosts| Settings::parse(settings).map(|settings| (hosts, settings)));
        let (hosts, settings) = match parsed {
            Ok(parsed) => parsed,
            Err(message) => {
                self.report.error(real.at_value(), message);
                return Vec::new();
            }
        };
        if settings.has_request {
            self.report.left(real.at_value(), "request and receive of a server");
        }
        *total = total.saturating_add(hosts.more as usize + 1);
        if *total > MOST {
            self.report.error(real.at_value(), format_args!("more than {MOST} servers are not supported"));
            return Vec::new();
        }
        let mut servers = Vec::new();
        for offset in 0..=hosts.more {
            let address = match hosts.first {
                IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits().wrapping_add(offset))),
                address => address,
            };
            let endpoint = SocketAddr::new(address, hosts.port.unwrap_or(0));
            let Some(server) = self.destination(target, endpoint, &settings, &real.at_value()) else { break };
            servers.push(server);
        }
        if let Some(first) = servers.first().filter(|first| hosts.port.is_some_and(|port| port != first.key.port)) {
            let port = first.key.port;
            let sentence = format!("ipvsadm uses port {port}, because only masq changes the port");
            self.report.adjusted(real.at_value(), sentence);
        }
        servers
    }

    fn fallback(&mut self, target: &Target) -> Option<Destination> {
        let family = self.section.family;
        let of_section = self.section.fallback.as_ref();
        // The global one has no form for services by mark.
        let global = || self.file.fallbacks.iter().find(|(other, _)| *other == family && !target.is_mark);
        let directive = of_section.or_else(|| global().map(|(_, directive)| directive))?;
        let mut words = directive.value.split_ascii_whitespace();
        let address = words.next().unwrap_or_default();
        let method = words.next().unwrap_or("gate");
        let extra = words.next();
        let mut read = || -> Result<(SocketAddr, &'static str), String> {
            if let Some(word) = extra {
                return Err(format!("`{word}' is not used by `{}'", directive.name));
            }
            let (address, port) = match endpoint(address, family, target.protocol, self.resolver) {
                // An IPv6 address may have no brackets if it has no port.
                Err(_) if address.matches(':').count() > 1 => (host(address, family, self.resolver)?, None),
                read => read?,
            };
            Ok((SocketAddr::new(address, port.unwrap_or(target.port)), forwarding(method)?))
        };
        match read() {
            Ok((endpoint, forwarding)) => {
                let settings =
                    Settings { forwarding, weight: 1, lower_threshold: 0, upper_threshold: 0, has_request: false };
                self.destination(target, endpoint, &settings, &directive.at_value())
            }
            Err(message) => {
                self.report.error(directive.at_value(), message);
                None
            }
        }
    }

    fn destination(
        &mut self,
        target: &Target,
        endpoint: SocketAddr,
        settings: &Settings,
        position: &Position,
    ) -> Option<Destination> {
        let Settings { forwarding, weight, lower_threshold, upper_threshold, has_request: _ } = settings;
        let mut words = vec!["-a".to_owned()];
        words.extend_from_slice(&target.words);
        let numbers = [("-x", upper_threshold), ("-y", lower_threshold), ("-w", weight)];
        words.extend(["-r".to_owned(), endpoint.to_string(), (*forwarding).to_owned()]);
        words.extend(numbers.iter().flat_map(|(option, number)| [(*option).to_owned(), number.to_string()]));
        match self.change(&words, position)? {
            Change::AddDestination(_, destination) => Some(destination),
            _ => None,
        }
    }

    /// Returns the change of a line of ipvsadm. Reports an error if ipvsadm or the kernel does not accept it.
    fn change(&mut self, words: &[String], position: &Position) -> Option<Change> {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        match rules::parse(&words, &mut Numeric) {
            Ok(Command::Change(change)) => self.report.accepts(&change, position).then_some(change),
            Ok(_) => None,
            Err(error) => {
                self.report.error(position.clone(), format_args!("ipvsadm refuses the service or server: {error}"));
                None
            }
        }
    }
}
