//! How options are written in a saved line: one function for each.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;

use super::endpoint::write_endpoint;
use super::flags::flag_names;
use super::resolver::Namer;
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::service::{Netmask, Service};

/// A line that is being written.
pub(crate) struct Line<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) names: &'a mut dyn Namer,
}

/// What a line is about; a saved option takes from it what it needs.
#[derive(Default)]
pub(crate) struct Saved<'a> {
    pub(crate) key: Option<ServiceKey>,
    pub(crate) service: Option<&'a Service>,
    pub(crate) server: Option<DestinationKey>,
    pub(crate) destination: Option<&'a Destination>,
}

impl Line<'_> {
    fn word(&mut self, word: &[u8]) {
        self.out.push(b' ');
        self.out.extend_from_slice(word);
    }

    fn number(&mut self, option: &str, number: u32) {
        self.word(option.as_bytes());
        self.word(itoa::Buffer::new().format(number).as_bytes());
    }

    pub(crate) fn display(&mut self, option: &str, value: impl fmt::Display) {
        self.word(option.as_bytes());
        // Writing to memory does not fail.
        let _ = write!(self.out, " {value}");
    }

    fn endpoint(&mut self, option: &str, address: IpAddr, port: u16, protocol: Option<Protocol>) {
        self.word(option.as_bytes());
        self.out.push(b' ');
        write_endpoint(self.out, address, port, protocol, self.names);
    }
}

// How options are written; OPTIONS names these.

pub(crate) fn service_address(line: &mut Line<'_>, saved: &Saved<'_>) {
    match saved.key {
        Some(ServiceKey::Address { protocol, address, port }) => {
            let option = match protocol {
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
                Protocol::Tcp | Protocol::Other(_) => "-t",
            };
            line.endpoint(option, address, port, Some(protocol));
        }
        Some(ServiceKey::Fwmark { mark, family }) => {
            line.display("-f", mark);
            if family == Family::V6 {
                line.word(b"-6");
            }
        }
        None => {}
    }
}

pub(crate) fn scheduler(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(service) = saved.service {
        line.word(b"-s");
        line.word(service.scheduler.as_bytes());
    }
}

pub(crate) fn persistent(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(seconds) = saved.service.and_then(|service| service.persistence) {
        line.number("-p", seconds);
    }
}

/// Without persistence a netmask does nothing, and ipvsadm does not save it.
pub(crate) fn netmask(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(service) = saved.service
        && service.persistence.is_some()
        && service.netmask != Netmask::host(service.key.family())
    {
        line.display("-M", service.netmask);
    }
}

pub(crate) fn engine(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(engine) = saved.service.and_then(|service| service.engine) {
        line.word(b"--pe");
        line.word(engine.as_bytes());
    }
}

pub(crate) fn one_packet(line: &mut Line<'_>, saved: &Saved<'_>) {
    if saved.service.is_some_and(|service| service.one_packet) {
        line.word(b"-o");
    }
}

pub(crate) fn scheduler_flags(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(service) = saved.service {
        let mut names = flag_names(service.scheduler, service.flags);
        if let Some(first) = names.next() {
            line.word(b"-b");
            line.word(first.as_bytes());
            for name in names {
                line.out.push(b',');
                line.out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

pub(crate) fn real_server(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(server) = saved.server {
        // The ports of a mark's servers are of no protocol.
        let protocol = match saved.key {
            Some(ServiceKey::Address { protocol, .. }) => Some(protocol),
            _ => None,
        };
        line.endpoint("-r", server.address, server.port, protocol);
    }
}

pub(crate) fn forwarding(line: &mut Line<'_>, saved: &Saved<'_>) {
    match saved.destination.map(|destination| destination.forwarding) {
        Some(Forwarding::Masquerade) => line.word(b"-m"),
        Some(Forwarding::Tunnel(_)) => line.word(b"-i"),
        Some(Forwarding::DirectRoute | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_)) => {
            line.word(b"-g")
        }
        None => {}
    }
}

pub(crate) fn weight(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(destination) = saved.destination {
        line.number("-w", destination.weight);
    }
}

pub(crate) fn upper_threshold(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(destination) = saved.destination.filter(|destination| destination.upper_threshold != 0) {
        line.number("-x", destination.upper_threshold);
    }
}

pub(crate) fn lower_threshold(line: &mut Line<'_>, saved: &Saved<'_>) {
    if let Some(destination) = saved.destination.filter(|destination| destination.lower_threshold != 0) {
        line.number("-y", destination.lower_threshold);
    }
}

/// Type, port and checksum; ipvsadm writes them for every tunnel.
pub(crate) fn tunnel(line: &mut Line<'_>, saved: &Saved<'_>) {
    match saved.destination.and_then(|destination| destination.forwarding.tunnel()) {
        Some(Tunnel::Ipip) => line.word(b"--tun-type ipip"),
        Some(Tunnel::Gue { port, checksum }) => {
            line.word(b"--tun-type gue");
            line.display("--tun-port", port);
            line.word(match checksum {
                GueChecksum::None => b"--tun-nocsum",
                GueChecksum::Full => b"--tun-csum",
                GueChecksum::Remote => b"--tun-remcsum",
            });
        }
        Some(Tunnel::Gre { checksum }) => {
            line.word(b"--tun-type gre");
            line.word(if checksum { b"--tun-csum" } else { b"--tun-nocsum" });
        }
        // No words for it.
        Some(Tunnel::Other { .. }) | None => {}
    }
}
