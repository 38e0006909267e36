//! The values that a kernel accepts and ipvsadm's language can express.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random;
use crate::{
    Change, Config, Destination, Forwarding, Netmask, Protocol, SchedulerFlags, Service, ServiceConfig, ServiceKey,
    SyncDaemon,
};

/// Generates any change that the language can express.
pub fn change() -> impl Strategy<Value = Change> {
    random::change().prop_map(|change| match change {
        Change::AddService(it) => Change::AddService(service(it)),
        Change::EditService(it) => Change::EditService(service(it)),
        Change::AddDestination(key, it) => Change::AddDestination(key, server(&key, it)),
        Change::EditDestination(key, it) => Change::EditDestination(key, server(&key, it)),
        Change::StartDaemon(it) => Change::StartDaemon(daemon(it)),
        other => other,
    })
}

/// Generates any table that the language can express.
pub fn config() -> impl Strategy<Value = Config> {
    random::config().prop_map(table)
}

/// Returns the table with the nearest values that the language can express.
pub fn table(config: Config) -> Config {
    Config {
        timeouts: config.timeouts,
        // The language cannot express that no daemon should run.
        daemons: config.daemons.filter(|all| !all.is_empty()).map(|all| all.into_iter().map(daemon).collect()),
        services: config.services.into_iter().map(service_with_servers).collect(),
        order: config.order,
    }
}

fn service_with_servers(config: ServiceConfig) -> ServiceConfig {
    let key = config.service.key;
    let mut seen = BTreeSet::new();
    let servers = config.destinations.into_iter().map(|it| server(&key, it));
    ServiceConfig { service: service(config.service), destinations: servers.filter(|it| seen.insert(it.key)).collect() }
}

fn service(it: Service) -> Service {
    // ipvsadm refuses port 0 without persistence.
    let persistence = it.persistence.or((it.key.port() == Some(0)).then_some(360));
    let is_udp = !matches!(it.key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp);
    Service {
        flags: it.flags & (SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_2 | SchedulerFlags::FLAG_3),
        persistence,
        netmask: if persistence.is_some() { it.netmask } else { Netmask::host(it.key.family()) },
        one_packet: it.one_packet && is_udp,
        ..it
    }
}

fn server(service: &ServiceKey, mut it: Destination) -> Destination {
    if let Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) = it.forwarding {
        it.forwarding = Forwarding::DirectRoute;
    }
    if let (Some(port), true) = (service.port(), it.forwarding != Forwarding::Masquerade) {
        // Only masquerading changes ports.
        it.key.port = port;
    }
    it
}

fn daemon(it: SyncDaemon) -> SyncDaemon {
    SyncDaemon {
        max_length: it.max_length.map(|length| length.clamp(1, 65507)),
        port: it.port.map(|port| port.max(1)),
        ttl: it.ttl.map(|ttl| ttl.max(1)),
        ..it
    }
}
