//! TABLE: the columns of ipvsadm's listings. A row has the title, the width, and functions for the cells of a service
//! and of a server.

use std::borrow::Cow;

use ipvs::rules::Columns;
use ipvs::{DestinationState, Forwarding, GueChecksum, Stats, Tunnel};

/// A column of a listing.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: usize,
    pub(super) server: fn(&DestinationState) -> Cell,
    /// The cell of a service in a listing of counters. Other listings show the settings of a service instead.
    pub(super) service: fn(&Stats) -> Cell,
}

/// The contents of a column.
pub(super) enum Cell {
    Nothing,
    Text(Cow<'static, str>),
    Number(u32),
    /// A number in at most eight digits, with K, M, G or T.
    Counter(u64),
    /// A number with all its digits.
    Count(u64),
}

/// The layout of a listing.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// Titles on the second line, above the servers.
    Servers,
    /// Titles on the first line.
    Titled,
    /// Titles on the first line, numbers right-aligned, for services too.
    Counters,
}

const fn column(title: &'static str, width: usize, server: fn(&DestinationState) -> Cell) -> Column {
    Column { title, width, server, service: |_| Cell::Nothing }
}

const fn counter(title: &'static str, server: fn(&DestinationState) -> Cell, service: fn(&Stats) -> Cell) -> Column {
    Column { title, width: 8, server, service }
}

const FORWARD: Column = column("Forward", 7, |server| Cell::Text(method(&server.destination.forwarding).into()));
const TUNNEL: Column = column("TunnelInfo", 13, |server| Cell::Text(tunnel(&server.destination.forwarding)));
const WEIGHT: Column = column("Weight", 6, |server| Cell::Number(server.destination.weight));
const ACTIVE: Column = column("ActiveConn", 10, |server| Cell::Number(server.active_connections));
const INACTIVE: Column = column("InActConn", 10, |server| Cell::Number(server.inactive_connections));

const DEFAULT: &[Column] = &[FORWARD, WEIGHT, ACTIVE, INACTIVE];
const TUNNELS: &[Column] = &[FORWARD, TUNNEL, WEIGHT, ACTIVE, INACTIVE];
const THRESHOLDS: &[Column] = &[
    column("Uthreshold", 10, |server| Cell::Number(server.destination.upper_threshold)),
    column("Lthreshold", 10, |server| Cell::Number(server.destination.lower_threshold)),
    ACTIVE,
    INACTIVE,
];
const PERSISTENT: &[Column] = &[
    column("Weight", 9, |server| Cell::Number(server.destination.weight)),
    column("PersistConn", 11, |server| Cell::Number(server.persistent_connections)),
    ACTIVE,
    INACTIVE,
];
const STATS: &[Column] = &[
    counter("Conns", |server| Cell::Counter(server.stats.connections), |stats| Cell::Counter(stats.connections)),
    counter(
        "InPkts",
        |server| Cell::Counter(server.stats.incoming_packets),
        |stats| Cell::Counter(stats.incoming_packets),
    ),
    counter(
        "OutPkts",
        |server| Cell::Counter(server.stats.outgoing_packets),
        |stats| Cell::Counter(stats.outgoing_packets),
    ),
    counter(
        "InBytes",
        |server| Cell::Counter(server.stats.incoming_bytes),
        |stats| Cell::Counter(stats.incoming_bytes),
    ),
    counter(
        "OutBytes",
        |server| Cell::Counter(server.stats.outgoing_bytes),
        |stats| Cell::Counter(stats.outgoing_bytes),
    ),
];
const RATES: &[Column] = &[
    counter(
        "CPS",
        |server| Cell::Count(server.stats.rates.connections),
        |stats| Cell::Counter(stats.rates.connections),
    ),
    counter(
        "InPPS",
        |server| Cell::Count(server.stats.rates.incoming_packets),
        |stats| Cell::Counter(stats.rates.incoming_packets),
    ),
    counter(
        "OutPPS",
        |server| Cell::Count(server.stats.rates.outgoing_packets),
        |stats| Cell::Counter(stats.rates.outgoing_packets),
    ),
    counter(
        "InBPS",
        |server| Cell::Counter(server.stats.rates.incoming_bytes),
        |stats| Cell::Counter(stats.rates.incoming_bytes),
    ),
    counter(
        "OutBPS",
        |server| Cell::Counter(server.stats.rates.outgoing_bytes),
        |stats| Cell::Counter(stats.rates.outgoing_bytes),
    ),
];

/// Returns the columns of a listing and their layout.
pub(super) fn of(columns: Columns) -> (&'static [Column], Layout) {
    match columns {
        Columns::Default => (DEFAULT, Layout::Servers),
        Columns::Tunnels => (TUNNELS, Layout::Servers),
        Columns::Thresholds => (THRESHOLDS, Layout::Titled),
        Columns::PersistentConnections => (PERSISTENT, Layout::Titled),
        Columns::Stats => (STATS, Layout::Counters),
        Columns::Rates => (RATES, Layout::Counters),
    }
}

fn method(forwarding: &Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerade => "Masq",
        Forwarding::Local => "Local",
        Forwarding::Tunnel(_) => "Tunnel",
        Forwarding::DirectRoute => "Route",
        Forwarding::Bypass => "Bypass",
        Forwarding::Other(_) => "?",
    }
}

fn tunnel(forwarding: &Forwarding) -> Cow<'static, str> {
    match forwarding.tunnel() {
        Some(Tunnel::Ipip) => "ipip".into(),
        Some(Tunnel::Gue { port, checksum }) => {
            let checksum = match checksum {
                GueChecksum::None => "-c",
                GueChecksum::Full => "+c",
                GueChecksum::Remote => "r+c",
            };
            format!("gue:{port}:{checksum}").into()
        }
        Some(Tunnel::Gre { checksum: false }) => "gre:-c".into(),
        Some(Tunnel::Gre { checksum: true }) => "gre:+c".into(),
        Some(Tunnel::Other { .. }) | None => "n/a".into(),
    }
}
