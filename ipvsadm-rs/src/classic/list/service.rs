//! The lines of a service and of a server.

use std::io::Write;

use ipvs::rules::Namer;
use ipvs::rules::program::{flag_names, write_endpoint};
use ipvs::{DestinationState, Family, Netmask, Protocol, Service, ServiceKey, ServiceState};

use super::View;
use super::columns::{Cell, Layout};
use super::number::{counter, left, left_number, pad, right};

/// The width at which an IPv4 service is truncated, in bytes. An IPv6 service is not truncated at this width.
const SERVICE_WIDTH: usize = 33;
/// The width at which an IPv4 server is truncated, in bytes.
const SERVER_WIDTH: usize = 28;
/// The width at which every endpoint (address or name, with its port) is truncated, before the limits above apply.
const NAME_WIDTH: usize = 59;

impl View<'_> {
    /// Appends the line of a service.
    pub(super) fn service(&mut self, state: &ServiceState) {
        let start = self.text.len();
        name(&mut self.text, &state.service.key, self.names);
        if self.layout == Layout::Counters {
            pad::<SERVICE_WIDTH>(&mut self.text, start);
            for column in self.columns {
                self.cell((column.service)(&state.stats), column.width);
            }
        } else {
            settings(&mut self.text, &state.service);
        }
        self.text.push(b'\n');
    }

    /// Appends the line of a server.
    pub(super) fn server(&mut self, key: &ServiceKey, state: &DestinationState) {
        self.text.extend_from_slice(b"  -> ");
        let start = self.text.len();
        let protocol = match key {
            ServiceKey::Address { protocol, .. } => Some(*protocol),
            ServiceKey::Fwmark { .. } => None,
        };
        let server = state.destination.key;
        endpoint(&mut self.text, server.address, server.port, protocol, self.names);
        if server.address.is_ipv4() {
            self.text.truncate(start + SERVER_WIDTH);
        }
        pad::<SERVER_WIDTH>(&mut self.text, start);
        for column in self.columns {
            if self.layout != Layout::Counters {
                self.text.push(b' ');
            }
            self.cell((column.server)(state), column.width);
        }
        self.text.push(b'\n');
    }

    fn cell(&mut self, cell: Cell, width: usize) {
        let out = &mut self.text;
        match cell {
            Cell::Nothing => {}
            Cell::Text(text) => left(out, text.as_bytes(), width),
            Cell::Number(number) => left_number(out, number, width),
            Cell::Counter(number) => counter(out, number, self.exact),
            Cell::Count(number) => {
                out.push(b' ');
                right::<8>(out, number);
            }
        }
    }
}

fn endpoint(
    out: &mut Vec<u8>,
    address: std::net::IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &mut dyn Namer,
) {
    let start = out.len();
    write_endpoint(out, address, port, protocol, names);
    out.truncate(start + NAME_WIDTH);
}

/// Appends the key of a service: `TCP  10.0.0.1:80`, `FWM  7 IPv6`.
fn name(out: &mut Vec<u8>, key: &ServiceKey, names: &mut dyn Namer) {
    let start = out.len();
    match key {
        ServiceKey::Address { protocol, address, port } => {
            left(out, protocol.name().as_bytes(), 4);
            out.push(b' ');
            endpoint(out, *address, *port, Some(*protocol), names);
            if address.is_ipv4() {
                out.truncate(start + SERVICE_WIDTH);
            }
        }
        ServiceKey::Fwmark { mark, family } => {
            out.extend_from_slice(b"FWM  ");
            out.extend_from_slice(itoa::Buffer::new().format(mark.get()).as_bytes());
            if *family == Family::V6 {
                out.extend_from_slice(b" IPv6");
            }
        }
    }
}

/// Appends the settings of a service: ` sh (sh-port) persistent 360 mask 255.255.255.0 pe sip ops`.
fn settings(out: &mut Vec<u8>, service: &Service) {
    let Service { key, scheduler, flags, persistence, netmask, engine, one_packet } = service;
    out.push(b' ');
    out.extend_from_slice(scheduler.as_bytes());
    let mut names = flag_names(*scheduler, *flags);
    if let Some(first) = names.next() {
        out.extend_from_slice(b" (");
        out.extend_from_slice(first.as_bytes());
        for name in names {
            out.push(b',');
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b')');
    }
    // Writing to memory does not fail.
    if let Some(seconds) = persistence {
        let _ = write!(out, " persistent {seconds}");
        if *netmask != Netmask::host(key.family()) {
            let _ = write!(out, " mask {netmask}");
        }
        if let Some(engine) = engine {
            out.extend_from_slice(b" pe ");
            out.extend_from_slice(engine.as_bytes());
        }
    }
    if *one_packet {
        out.extend_from_slice(b" ops");
    }
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Columns, Listing, Numeric};
    use ipvs::{Destination, Forwarding};

    use super::*;

    /// Tested here, because counters of a kernel do not get that high within a test.
    #[test]
    fn counters_of_servers_are_not_cut() {
        let many = u64::from(u32::MAX) + 6;
        let mut server = DestinationState::new(Destination::new(([10, 1, 0, 1], 80), Forwarding::Masquerade));
        let stats = &mut server.stats;
        for counter in [&mut stats.connections, &mut stats.incoming_packets, &mut stats.outgoing_packets] {
            *counter = many;
        }
        let rates = &mut stats.rates;
        for rate in [&mut rates.connections, &mut rates.incoming_packets, &mut rates.outgoing_packets] {
            *rate = many;
        }
        let shown = |columns, exact| {
            let mut names = Numeric;
            let listing = Listing { columns, exact, ..Listing::default() };
            let mut view = View::new(&listing, &mut names);
            view.server(&ServiceKey::tcp([10, 0, 0, 1], 80), &server);
            String::from_utf8(view.text).expect("text")
        };
        let name = format!("  -> {:<28}", "10.1.0.1:80");
        assert_eq!(shown(Columns::Stats, true), format!("{name} 4294967301 4294967301 4294967301        0        0\n"));
        assert_eq!(shown(Columns::Stats, false), format!("{name}    4294M    4294M    4294M        0        0\n"));
        assert_eq!(
            shown(Columns::Rates, false),
            format!("{name} 4294967301 4294967301 4294967301        0        0\n")
        );
    }
}
