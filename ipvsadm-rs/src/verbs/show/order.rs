//! The order of services and servers.

use clap::ValueEnum;
use ipvs::{DestinationState, ServiceState, Stats};

use crate::sight::rates::{Rates, TableRates};
use crate::sight::selection::Shown;

/// The value that the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Key {
    /// Protocol, address and port
    Name,
    /// Active connections
    Active,
    /// Active and inactive connections
    Connections,
    /// Persistence templates
    Templates,
    /// New connections per second
    Rate,
    /// Packets per second, in both directions
    Packets,
    /// Bytes per second, in both directions
    #[value(alias = "bits")]
    Bytes,
}

/// Sorts services, and the servers of each. Without a key, services are sorted by name, and the oldest server comes first.
pub(super) fn sort(services: &mut [Shown<'_>], key: Option<Key>, rates: Option<&TableRates>) {
    services.sort_by_key(|shown| shown.state.service.key);
    let Some(key) = key else { return };
    for shown in services.iter_mut() {
        let service = shown.state.service.key;
        match key {
            Key::Name => shown.servers.sort_by_key(|server| server.destination.key),
            key => shown.servers.sort_by(|a, b| {
                let value = |server: &DestinationState| {
                    let measured = rates.map(|rates| rates.of_server(&service, &server.destination.key));
                    of_server(key, server) + rate(key, &server.stats, measured)
                };
                value(b).total_cmp(&value(a))
            }),
        }
    }
    if key != Key::Name {
        let value = |state: &ServiceState| {
            let measured = rates.map(|rates| rates.of_service(&state.service.key));
            let counts: f64 = state.destinations.iter().map(|server| of_server(key, server)).sum();
            counts + rate(key, &state.stats, measured)
        };
        services.sort_by(|a, b| value(b.state).total_cmp(&value(a.state)));
    }
}

/// Returns the number of a server that a key is about. 0 for rates.
fn of_server(key: Key, server: &DestinationState) -> f64 {
    let number = match key {
        Key::Active => server.active_connections,
        Key::Connections => server.active_connections.saturating_add(server.inactive_connections),
        Key::Templates => server.persistent_connections,
        Key::Name | Key::Rate | Key::Packets | Key::Bytes => 0,
    };
    f64::from(number)
}

/// Returns the rate that a key is about. 0 for numbers. Without a measurement, this is the kernel's average.
fn rate(key: Key, stats: &Stats, measured: Option<Option<&Rates>>) -> f64 {
    let average = stats.rates;
    let zero = Rates::default();
    let measured = measured.map(|rates| rates.unwrap_or(&zero));
    match (key, measured) {
        (Key::Rate, None) => average.connections as f64,
        (Key::Rate, Some(rates)) => rates.connections,
        (Key::Packets, None) => (average.incoming_packets + average.outgoing_packets) as f64,
        (Key::Packets, Some(rates)) => rates.incoming_packets + rates.outgoing_packets,
        (Key::Bytes, None) => (average.incoming_bytes + average.outgoing_bytes) as f64,
        (Key::Bytes, Some(rates)) => rates.incoming_bytes + rates.outgoing_bytes,
        _ => 0.0,
    }
}
