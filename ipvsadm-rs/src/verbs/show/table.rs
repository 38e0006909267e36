//! The table that `show` prints: a block for each service, with a row for each server; or a row for each service.

use std::io::{self, Write};

use ipvs::rules::Namer;
use ipvs::rules::program::{flag_names, write_endpoint};
use ipvs::{DestinationState, Forwarding, Netmask, Protocol, ServiceKey, ServiceState, State, Tunnel};
use unicode_width::UnicodeWidthStr;

use crate::sight::condition::{Condition, Problem, Severity, refusal_lines};
use crate::sight::grid::{Column, Grid};
use crate::sight::number::{rate, short};
use crate::sight::rates::{Rates, TableRates};
use crate::sight::selection::Shown;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;
use crate::terminal::text;
use crate::terminal::width::folded;

/// The blanks before a row of a server.
const INDENT: usize = 2;

const SERVERS: [Column; 10] = [
    Column::text("SERVER", 0),
    Column::text("METHOD", 2),
    Column::text("STATE", 0),
    Column::number("WEIGHT", 0),
    Column::number("ACTIVE", 0),
    Column::number("INACTIVE", 1),
    Column::number("CONN/S", 0),
    Column::number("TEMPLATES", 3),
    Column::number("LIMIT", 4),
    Column::number("CONNECTIONS", 5),
];
const SERVERS_TRAFFIC: [Column; 7] = [
    Column::text("SERVER", 0),
    Column::text("STATE", 0),
    Column::number("CONN/S", 0),
    Column::number("PKT/S IN", 0),
    Column::number("PKT/S OUT", 0),
    Column::number("B/S IN", 0),
    Column::number("B/S OUT", 0),
];
const SERVICES: [Column; 7] = [
    Column::text("SERVICE", 0),
    Column::text("SCHED", 0),
    Column::number("UP", 0),
    Column::number("ACTIVE", 0),
    Column::number("INACTIVE", 1),
    Column::number("CONN/S", 0),
    Column::text("PROBLEM", 0),
];
const SERVICES_TRAFFIC: [Column; 7] = [
    Column::text("SERVICE", 0),
    Column::number("UP", 0),
    Column::number("CONN/S", 0),
    Column::number("PKT/S IN", 0),
    Column::number("PKT/S OUT", 0),
    Column::number("B/S IN", 0),
    Column::number("B/S OUT", 0),
];

/// The kind of table.
#[derive(Clone, Copy)]
pub(super) struct Layout<'r> {
    /// Whether servers have rows.
    pub(super) has_servers: bool,
    /// The rates to show in place of other numbers.
    pub(super) rates: Option<&'r TableRates>,
}

/// Writes the lines before the table.
pub(super) fn write_head(out: &mut dyn Write, state: &State) -> io::Result<()> {
    let State { info, timeouts, daemons, .. } = state;
    writeln!(
        out,
        "IPVS {}, timeouts tcp {} s, tcp-fin {} s, udp {} s",
        info.version, timeouts.tcp, timeouts.tcp_fin, timeouts.udp
    )?;
    for daemon in daemons {
        // The kernel accepts control characters in the name of an interface.
        let interface = daemon.interface.to_string();
        writeln!(out, "{} sync daemon on {}, id {}", daemon.role, text::escaped(&interface), daemon.sync_id)?;
    }
    Ok(())
}

/// The texts of a table.
pub(super) struct Table<'s> {
    layout: Layout<'s>,
    blocks: Vec<Block<'s>>,
}

struct Block<'s> {
    shown: &'s Shown<'s>,
    name: String,
    row: Vec<String>,
    servers: Vec<Vec<String>>,
}

impl<'s> Table<'s> {
    pub(super) fn new(services: &'s [Shown<'s>], layout: Layout<'s>, names: &mut dyn Namer) -> Self {
        let block = |shown: &'s Shown<'s>| {
            let name = name(&shown.state.service.key, names);
            let row = if layout.has_servers { Vec::new() } else { service_row(shown, &name, layout.rates) };
            let servers = if layout.has_servers { server_rows(shown, layout.rates, names) } else { Vec::new() };
            Block { shown, name, row, servers }
        };
        Self { layout, blocks: services.iter().map(block).collect() }
    }

    /// Writes the table. Without a width, all columns are written.
    pub(super) fn write(&self, out: &mut dyn Write, width: Option<usize>, colors: &Palette) -> io::Result<()> {
        if self.layout.has_servers {
            self.write_blocks(out, width, colors)
        } else {
            self.write_rows(out, width, colors)
        }
    }

    fn write_rows(&self, out: &mut dyn Write, width: Option<usize>, colors: &Palette) -> io::Result<()> {
        let columns = if self.layout.rates.is_some() { &SERVICES_TRAFFIC } else { &SERVICES };
        let rows = self.blocks.iter().map(|block| block.row.as_slice());
        let grid = Grid::new(columns, rows, width);
        if !self.blocks.is_empty() {
            writeln!(out)?;
            grid.write_titles(out, 0, colors.title)?;
        }
        for block in &self.blocks {
            let style = block.shown.problem.map_or(Severity::Usual, Problem::severity).style(colors);
            grid.write_row(out, &block.row, 0, style)?;
        }
        Ok(())
    }

    fn write_blocks(&self, out: &mut dyn Write, width: Option<usize>, colors: &Palette) -> io::Result<()> {
        let columns = if self.layout.rates.is_some() { &SERVERS_TRAFFIC[..] } else { &SERVERS[..] };
        let rows = self.blocks.iter().flat_map(|block| &block.servers).map(Vec::as_slice);
        let grid = Grid::new(columns, rows, width.map(|width| width.saturating_sub(INDENT)));
        if self.blocks.iter().any(|block| !block.servers.is_empty()) {
            writeln!(out)?;
            grid.write_titles(out, INDENT, colors.title)?;
        }
        for block in &self.blocks {
            let (title, state) = (colors.title, block.shown.state);
            let settings = settings(state);
            let is_wide = width.is_some_and(|width| block.name.width() + settings.width() > width);
            let (beside, below) = if is_wide { ("", &*settings) } else { (&*settings, "") };
            writeln!(out, "{title}{}{title:#}{beside}", block.name)?;
            for line in folded(below, width.map(|width| width.saturating_sub(2 * INDENT))) {
                writeln!(out, "{:1$}{line}", "", 2 * INDENT)?;
            }
            if let Some(refusal) = &block.shown.refusal {
                let bad = colors.bad;
                for line in refusal_lines(refusal, width.map(|width| width.saturating_sub(INDENT))) {
                    writeln!(out, "{:INDENT$}{bad}{line}{bad:#}", "")?;
                }
            }
            for (server, row) in block.shown.servers.iter().zip(&block.servers) {
                grid.write_row(out, row, INDENT, Condition::of(server).severity().style(colors))?;
            }
        }
        Ok(())
    }
}

/// Returns the cells of a service.
fn service_row(shown: &Shown<'_>, name: &str, rates: Option<&TableRates>) -> Vec<String> {
    let ServiceState { service, stats, destinations, .. } = shown.state;
    let up = destinations.iter().filter(|server| Condition::of(server) == Condition::Up).count();
    let up = format!("{up}/{}", destinations.len());
    if let Some(rates) = rates {
        return [vec![name.to_owned(), up], rate_cells(rates.of_service(&service.key))].concat();
    }
    let sum =
        |count: fn(&DestinationState) -> u32| short(destinations.iter().map(|server| u64::from(count(server))).sum());
    vec![
        name.to_owned(),
        text::escaped(&service.scheduler.to_string()).into_owned(),
        up,
        sum(|server| server.active_connections),
        sum(|server| server.inactive_connections),
        short(stats.rates.connections),
        shown.problem.map_or_else(String::new, |problem| problem.name().replace('_', " ")),
    ]
}

/// Returns the cells of the servers of a service.
fn server_rows(shown: &Shown<'_>, rates: Option<&TableRates>, names: &mut dyn Namer) -> Vec<Vec<String>> {
    let service = shown.state.service.key;
    let protocol = match service {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    };
    let mut rows = Vec::with_capacity(shown.servers.len());
    for server in &shown.servers {
        let destination = &server.destination;
        let name = endpoint(destination.key.address, destination.key.port, protocol, names);
        rows.push(match rates {
            Some(rates) => {
                let state = Condition::of(server).name().to_owned();
                [vec![name, state], rate_cells(rates.of_server(&service, &destination.key))].concat()
            }
            None => server_row(server, name),
        });
    }
    rows
}

fn server_row(server: &DestinationState, name: String) -> Vec<String> {
    let destination = &server.destination;
    let limit = match (destination.upper_threshold, destination.lower_threshold) {
        (0, _) => "-".to_owned(),
        (upper, 0) => upper.to_string(),
        (upper, lower) => format!("{lower}..{upper}"),
    };
    vec![
        name,
        method(&destination.forwarding),
        state(server),
        destination.weight.to_string(),
        short(server.active_connections.into()),
        short(server.inactive_connections.into()),
        short(server.stats.rates.connections),
        short(server.persistent_connections.into()),
        limit,
        short(server.stats.connections),
    ]
}

/// Returns the cells of rates. `-` if an item is new.
fn rate_cells(rates: Option<&Rates>) -> Vec<String> {
    let Some(rates) = rates else { return vec!["-".into(); 5] };
    let Rates { connections, incoming_packets, outgoing_packets, incoming_bytes, outgoing_bytes } = *rates;
    [connections, incoming_packets, outgoing_packets, incoming_bytes, outgoing_bytes].map(rate).into()
}

/// Returns the cell of the column STATE.
fn state(server: &DestinationState) -> String {
    let connections = u64::from(server.active_connections) + u64::from(server.inactive_connections);
    let templates = server.persistent_connections;
    match (Condition::of(server), connections) {
        (Condition::Draining, 0) => format!("draining ({})", count(templates, "template")),
        (Condition::Draining, left) => format!("draining ({} left)", short(left)),
        (condition, _) => condition.name().into(),
    }
}

fn name(key: &ServiceKey, names: &mut dyn Namer) -> String {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            format!("{} {}", protocol.name(), endpoint(*address, *port, Some(*protocol), names))
        }
        ServiceKey::Fwmark { .. } => key.to_string(),
    }
}

fn endpoint(address: std::net::IpAddr, port: u16, protocol: Option<Protocol>, names: &mut dyn Namer) -> String {
    let mut text = Vec::new();
    write_endpoint(&mut text, address, port, protocol, names);
    String::from_utf8_lossy(&text).into_owned()
}

fn settings(service: &ServiceState) -> String {
    let settings = &service.service;
    let mut text = format!("  {}", text::escaped(&settings.scheduler.to_string()));
    for flag in flag_names(settings.scheduler, settings.flags) {
        text += &format!(" {flag}");
    }
    if let Some(seconds) = settings.persistence {
        text += &format!("  persistent {seconds} s");
        if settings.netmask != Netmask::host(settings.key.family()) {
            text += &format!(" mask {}", settings.netmask);
        }
    }
    if let Some(engine) = settings.engine {
        text += &format!(" by {}", text::escaped(&engine.to_string()));
    }
    if settings.one_packet {
        text += "  one-packet";
    }
    text
}

/// Returns the cell of the column METHOD.
fn method(forwarding: &Forwarding) -> String {
    match forwarding {
        Forwarding::Masquerade => "masq".into(),
        Forwarding::Local => "local".into(),
        Forwarding::DirectRoute => "route".into(),
        Forwarding::Bypass => "bypass".into(),
        Forwarding::Other(number) => format!("method {number}"),
        Forwarding::Tunnel(Tunnel::Ipip) => "ipip".into(),
        Forwarding::Tunnel(Tunnel::Gue { port, .. }) => format!("gue:{port}"),
        Forwarding::Tunnel(Tunnel::Gre { .. }) => "gre".into(),
        Forwarding::Tunnel(Tunnel::Other { kind, .. }) => format!("tunnel {kind}"),
    }
}
