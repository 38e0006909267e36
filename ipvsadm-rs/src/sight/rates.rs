//! Rates of services and servers, from the counters of two readings.
//!
//! The kernel updates its counters every 2 seconds. So an interval is a multiple of that: then each interval has the same
//! number of updates. The kernel's own rates are averages over more time, and lag behind.

use std::collections::HashMap;
use std::time::Duration;

use ipvs::{DestinationKey, DestinationState, ServiceKey, ServiceState, State, Stats};
use serde::Serialize;

/// The time between two updates of the kernel's counters.
pub(crate) const UPDATE: Duration = Duration::from_secs(2);

/// Increases of counters per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    pub(crate) connections: f64,
    pub(crate) incoming_packets: f64,
    pub(crate) outgoing_packets: f64,
    /// Bytes, not bits.
    pub(crate) incoming_bytes: f64,
    pub(crate) outgoing_bytes: f64,
}

impl Rates {
    fn between(old: &Stats, new: &Stats, seconds: f64) -> Self {
        let increase = new.since(old);
        let per_second = |counter: u64| counter as f64 / seconds;
        Self {
            connections: per_second(increase.connections),
            incoming_packets: per_second(increase.incoming_packets),
            outgoing_packets: per_second(increase.outgoing_packets),
            incoming_bytes: per_second(increase.incoming_bytes),
            outgoing_bytes: per_second(increase.outgoing_bytes),
        }
    }

    /// Adds the rates of another item.
    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.incoming_packets += other.incoming_packets;
        self.outgoing_packets += other.outgoing_packets;
        self.incoming_bytes += other.incoming_bytes;
        self.outgoing_bytes += other.outgoing_bytes;
    }
}

/// The rates of a table between two readings. An item that the first reading lacks has no rates.
#[derive(Debug, Default)]
pub(crate) struct TableRates {
    services: HashMap<ServiceKey, ServiceRates>,
}

#[derive(Debug)]
struct ServiceRates {
    rates: Rates,
    /// In the order of the keys.
    servers: Vec<(DestinationKey, Rates)>,
}

impl TableRates {
    /// Compares two readings, which were made `interval` apart.
    pub(crate) fn between(old: &State, new: &State, interval: Duration) -> Self {
        let seconds = interval.as_secs_f64().max(f64::EPSILON);
        let before: HashMap<ServiceKey, _> = old.services.iter().map(|state| (state.service.key, state)).collect();
        let rates = |service: &ServiceState| {
            let then = before.get(&service.service.key)?;
            let rates = Rates::between(&then.stats, &service.stats, seconds);
            let servers = of_servers(&then.destinations, &service.destinations, seconds);
            Some((service.service.key, ServiceRates { rates, servers }))
        };
        Self { services: new.services.iter().filter_map(rates).collect() }
    }

    pub(crate) fn of_service(&self, service: &ServiceKey) -> Option<&Rates> {
        self.services.get(service).map(|service| &service.rates)
    }

    pub(crate) fn of_server(&self, service: &ServiceKey, server: &DestinationKey) -> Option<&Rates> {
        let servers = &self.services.get(service)?.servers;
        let at = servers.binary_search_by_key(server, |(key, _)| *key).ok()?;
        Some(&servers[at].1)
    }
}

/// Returns the rates of the servers of a service, in the order of their keys.
fn of_servers(old: &[DestinationState], new: &[DestinationState], seconds: f64) -> Vec<(DestinationKey, Rates)> {
    let key = |state: &DestinationState| state.destination.key;
    let rates = |old: &DestinationState, new| (key(new), Rates::between(&old.stats, &new.stats, seconds));
    let mut servers: Vec<_> = if old.iter().map(key).eq(new.iter().map(key)) {
        old.iter().zip(new).map(|(old, new)| rates(old, new)).collect()
    } else {
        let before: HashMap<DestinationKey, _> = old.iter().map(|state| (key(state), state)).collect();
        new.iter().filter_map(|new| Some(rates(before.get(&key(new))?, new))).collect()
    };
    servers.sort_unstable_by_key(|(key, _)| *key);
    servers
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model, apply, plan};

    use super::*;

    #[test]
    fn rates_are_increases_per_second() {
        let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1\n-A -f 2 -s rr\n";
        let mut director = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        let mut new = director.state().expect("a model");
        let mut old = new.clone();
        let index = |state: &State| state.services.iter().position(|service| !service.destinations.is_empty());
        let (with_server, key) = (index(&new).unwrap(), new.services[index(&new).unwrap()].service.key);
        let server = new.services[with_server].destinations[0].destination.key;
        old.services[with_server].stats.connections = u64::MAX - 8;
        new.services[with_server].stats.connections = u64::MAX;
        new.services[with_server].destinations[0].stats.incoming_bytes = 10;
        let rates = TableRates::between(&old, &new, Duration::from_secs(4));
        assert_eq!(rates.of_service(&key).unwrap().connections, 2.0);
        assert_eq!(rates.of_server(&key, &server).unwrap().incoming_bytes, 2.5);
        // An item that is new, or whose counters were reset, never has negative rates.
        let reset = TableRates::between(&new, &old, Duration::from_secs(4));
        assert!(reset.of_service(&key).unwrap().connections > 0.0);
        let added = TableRates::between(&State::default(), &new, Duration::from_secs(4));
        assert!(added.of_service(&key).is_none());
    }
}
