//! The table that `show` prints: a block for each service, with a row for each server.

use std::io::{self, Write};

use ipvs::estimate::Scheduling;
use ipvs::rules::Namer;
use ipvs::rules::program::{flag_names, write_endpoint};
use ipvs::{DestinationState, Forwarding, Netmask, Protocol, ServiceKey, ServiceState, State, Tunnel};
use unicode_width::UnicodeWidthStr;

use crate::plan::clients;
use crate::terminal::color::Palette;
use crate::terminal::text;

const TITLES: [&str; 10] =
    ["SERVER", "FORWARDING", "STATE", "WEIGHT", "ACTIVE", "INACTIVE", "PERSISTENT", "LIMIT", "CONNS/S", "CONNS"];

pub(super) fn write(out: &mut dyn Write, state: &State, names: &mut dyn Namer, colors: &Palette) -> io::Result<()> {
    let State { info, timeouts, daemons, services, .. } = state;
    writeln!(
        out,
        "IPVS {}, timeouts tcp {} tcp-fin {} udp {}",
        info.version, timeouts.tcp, timeouts.tcp_fin, timeouts.udp
    )?;
    for daemon in daemons {
        // The kernel accepts control characters in the name of an interface.
        let interface = daemon.interface.to_string();
        writeln!(out, "{} sync daemon on {}, id {}", daemon.role, text::escaped(&interface), daemon.sync_id)?;
    }
    let blocks: Vec<Vec<[String; 10]>> = services.iter().map(|service| rows(service, names)).collect();
    // Columns are as wide as the widest cell of the whole table, so that addresses of both families fit.
    let mut widths = TITLES.map(str::len);
    for row in blocks.iter().flatten() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    for (service, rows) in services.iter().zip(&blocks) {
        let title = colors.title;
        writeln!(out, "\n{title}{}{title:#}{}", name(&service.service.key, names), settings(service))?;
        if let Some(refusal) = refusal(service) {
            writeln!(out, "  {bad}{refusal}{bad:#}", bad = colors.bad)?;
        }
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "  {}", line(&TITLES.map(str::to_owned), &widths))?;
        for (server, row) in service.destinations.iter().rev().zip(rows) {
            let style = match health(server) {
                Health::Well => anstyle::Style::new(),
                Health::Quiescent => colors.change,
                Health::Full => colors.bad,
            };
            writeln!(out, "  {style}{}{style:#}", line(row, &widths))?;
        }
    }
    Ok(())
}

/// Joins cells to a line. Text is left-aligned, numbers are right-aligned.
fn line(cells: &[String; 10], widths: &[usize; 10]) -> String {
    let cell = |(i, (cell, width)): (usize, (&String, &usize))| {
        // Not `{cell:<width$}`, because it counts characters. A wide character takes two columns.
        let blanks = " ".repeat(width.saturating_sub(cell.width()));
        if i < 3 { format!("{cell}{blanks}") } else { format!("{blanks}{cell}") }
    };
    let cells: Vec<String> = cells.iter().zip(widths).enumerate().map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}

enum Health {
    Well,
    /// The server has weight 0.
    Quiescent,
    /// The server has reached its upper threshold.
    Full,
}

fn health(server: &DestinationState) -> Health {
    let limit = server.destination.upper_threshold;
    let connections = u64::from(server.active_connections) + u64::from(server.inactive_connections);
    if server.destination.weight == 0 {
        Health::Quiescent
    } else if limit > 0 && connections >= u64::from(limit) {
        Health::Full
    } else {
        Health::Well
    }
}

/// Returns the cell of the column STATE.
fn state(server: &DestinationState) -> String {
    let connections = u64::from(server.active_connections) + u64::from(server.inactive_connections);
    match (health(server), connections, server.persistent_connections) {
        (Health::Well, ..) => String::new(),
        (Health::Full, ..) => "full".into(),
        (Health::Quiescent, 0, 0) => "drained".into(),
        (Health::Quiescent, 0, templates) => format!("draining ({templates} persistent)"),
        (Health::Quiescent, connections, _) => format!("draining ({connections} left)"),
    }
}

/// Returns a remark on a service that refuses new clients.
fn refusal(service: &ServiceState) -> Option<String> {
    if service.destinations.is_empty() {
        return Some("no servers: every connection is refused".into());
    }
    let scheduling = Scheduling::new(service);
    let share = clients::refused_now(&scheduling)?;
    Some(format!("{share}: {}", clients::reason(&scheduling)))
}

/// Returns the cells of a service's servers, the oldest first.
fn rows(service: &ServiceState, names: &mut dyn Namer) -> Vec<[String; 10]> {
    let protocol = match service.service.key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    };
    let row = |server: &DestinationState| {
        let destination = &server.destination;
        let limit = match (destination.upper_threshold, destination.lower_threshold) {
            (0, _) => "-".to_owned(),
            (upper, 0) => upper.to_string(),
            (upper, lower) => format!("{lower}..{upper}"),
        };
        [
            endpoint(destination.key.address, destination.key.port, protocol, names),
            forwarding(&destination.forwarding),
            state(server),
            destination.weight.to_string(),
            server.active_connections.to_string(),
            server.inactive_connections.to_string(),
            server.persistent_connections.to_string(),
            limit,
            server.stats.rates.connections.to_string(),
            server.stats.connections.to_string(),
        ]
    };
    service.destinations.iter().rev().map(row).collect()
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

fn forwarding(forwarding: &Forwarding) -> String {
    match forwarding {
        Forwarding::Masquerade => "masquerade".into(),
        Forwarding::Local => "local".into(),
        Forwarding::DirectRoute => "direct route".into(),
        Forwarding::Bypass => "bypass".into(),
        Forwarding::Other(number) => format!("method {number}"),
        Forwarding::Tunnel(Tunnel::Ipip) => "tunnel ipip".into(),
        Forwarding::Tunnel(Tunnel::Gue { port, .. }) => format!("tunnel gue:{port}"),
        Forwarding::Tunnel(Tunnel::Gre { .. }) => "tunnel gre".into(),
        Forwarding::Tunnel(Tunnel::Other { kind, .. }) => format!("tunnel type {kind}"),
    }
}
