//! The cost of a plan: connections that are dropped, and clients that get another server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipvs::hash::{Compared, LookupTable, TableSizes};
use ipvs::{Change, Destination, DestinationKey, DestinationState, Plan, Service, ServiceKey, ServiceState, State};
use serde::Serialize;

use crate::terminal::plural::count;

/// Connections that a change drops, as counted when the table was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Dropped {
    /// Established connections.
    pub(crate) active_connections: u64,
    /// Connections in any other state.
    pub(crate) inactive_connections: u64,
    /// Clients that persistence ties to a server.
    pub(crate) persistence_templates: u64,
}

impl Dropped {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of connections, without templates.
    pub(crate) fn connections(&self) -> u64 {
        self.active_connections + self.inactive_connections
    }

    fn of(server: &DestinationState) -> Self {
        Self {
            active_connections: server.active_connections.into(),
            inactive_connections: server.inactive_connections.into(),
            persistence_templates: server.persistent_connections.into(),
        }
    }
}

impl std::iter::Sum for Dropped {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, dropped| Self {
            active_connections: sum.active_connections + dropped.active_connections,
            inactive_connections: sum.inactive_connections + dropped.inactive_connections,
            persistence_templates: sum.persistence_templates + dropped.persistence_templates,
        })
    }
}

/// Formats as `3 active, 1 inactive connection, 1 persistence template`.
impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { active_connections: active, inactive_connections: inactive, persistence_templates: templates } =
            self;
        write!(f, "{active} active, {}", count(*inactive, "inactive connection"))?;
        if *templates > 0 {
            write!(f, ", {}", count(*templates, "persistence template"))?;
        }
        Ok(())
    }
}

/// A service whose hashing scheduler sends some clients to another server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Remapped {
    pub(crate) service: String,
    /// The share of new clients that get another server, 0 to 1.
    pub(crate) share: f64,
    /// The number of clients that the share was estimated from, if there was no time to compare all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) estimated_from: Option<usize>,
}

/// The clients that a plan sends to another server.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Remapping {
    pub(crate) services: Vec<Remapped>,
    /// Services with a hashing scheduler whose clients were not compared, because it would take too long.
    pub(crate) not_estimated: Vec<String>,
}

/// The maximum time for estimates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For one service. The first part of a comparison is completed in any case. With the largest table of mh, it takes
    /// about as long.
    service: Duration,
    /// For a plan. Services after it are not estimated.
    plan: Duration,
    /// The maximum number of servers of a service. Filling the largest table of mh with 10,000 servers takes 16 ms, and
    /// with 131,071 servers 53 ms.
    servers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { service: Duration::from_millis(50), plan: Duration::from_secs(2), servers: 20_000 }
    }
}

/// The services and servers of a table, by their keys.
pub(crate) struct TableIndex<'s> {
    services: HashMap<ServiceKey, &'s ServiceState>,
    servers: HashMap<(ServiceKey, DestinationKey), &'s DestinationState>,
}

impl<'s> TableIndex<'s> {
    pub(crate) fn new(state: &'s State) -> Self {
        let services = state.services.iter().map(|service| (service.service.key, service)).collect();
        let servers = state.services.iter().flat_map(|service| {
            let key = service.service.key;
            service.destinations.iter().map(move |server| ((key, server.destination.key), server))
        });
        Self { services, servers: servers.collect() }
    }

    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&'s ServiceState> {
        self.services.get(key).copied()
    }

    pub(crate) fn server(&self, service: &ServiceKey, server: &DestinationKey) -> Option<&'s DestinationState> {
        self.servers.get(&(*service, *server)).copied()
    }

    /// Returns the connections that a change drops.
    pub(crate) fn dropped_by(&self, change: &Change) -> Dropped {
        match change {
            Change::DeleteService(key) => {
                self.service(key).map(|service| service.destinations.iter().map(Dropped::of).sum()).unwrap_or_default()
            }
            Change::DeleteDestination(key, server) => self.server(key, server).map(Dropped::of).unwrap_or_default(),
            _ => Dropped::default(),
        }
    }

    /// Returns the number of servers that are deleted together with a service.
    pub(crate) fn servers_of_deleted(&self, change: &Change) -> usize {
        match change {
            Change::DeleteService(key) => self.service(key).map_or(0, |service| service.destinations.len()),
            _ => 0,
        }
    }

    /// Returns a remark if the service refuses new connections while the change is made.
    pub(crate) fn interruption_by(&self, change: &Change) -> Option<&'static str> {
        let Change::EditService(new) = change else { return None };
        let old = self.service(&new.key)?;
        (new.scheduler != old.service.scheduler)
            .then_some("new connections are refused for about 15 ms while the scheduler changes")
    }

    /// Returns the services of a plan whose hashing schedulers send some clients to another server.
    pub(crate) fn remapped_by(&self, plan: &Plan, sizes: TableSizes, limits: Limits) -> Remapping {
        let start = Instant::now();
        let mut remapping = Remapping::default();
        for (key, changes) in changes_by_service(plan) {
            let Some(before) = self.service(&key) else { continue };
            let Some((after, servers)) = outcome(before, &changes) else { continue };
            if !LookupTable::exists_for(&before.service) || !LookupTable::exists_for(&after) {
                continue;
            }
            let most = servers.len().max(before.destinations.len());
            if most > limits.servers || start.elapsed() >= limits.plan {
                remapping.not_estimated.push(key.to_string());
                continue;
            }
            let deadline = Instant::now() + limits.service;
            let tables = (
                LookupTable::with_last_weights(&before.service, &oldest_first(before), sizes),
                LookupTable::with_last_weights(&after, &servers, sizes),
            );
            let (Some(before), Some(after)) = tables else { continue };
            let (compared, is_whole) = compare_until(deadline, &before, &after);
            if compared.moved > 0 {
                let estimated_from = (!is_whole).then_some(compared.clients);
                let (service, share) = (key.to_string(), compared.share());
                remapping.services.push(Remapped { service, share, estimated_from });
            }
        }
        remapping
    }
}

/// Returns the services of a plan in its order, each with its changes.
fn changes_by_service(plan: &Plan) -> Vec<(ServiceKey, Vec<&Change>)> {
    let mut services: Vec<(ServiceKey, Vec<&Change>)> = Vec::new();
    let mut places = HashMap::new();
    for change in &plan.changes {
        let Some(key) = change.service() else { continue };
        let place = *places.entry(key).or_insert_with(|| {
            services.push((key, Vec::new()));
            services.len() - 1
        });
        services[place].1.push(change);
    }
    services
}

/// Compares two tables, at least in part. Returns whether the comparison was completed, too.
fn compare_until(deadline: Instant, before: &LookupTable, after: &LookupTable) -> (Compared, bool) {
    let mut parts = before.compare(after);
    let mut compared = Compared::default();
    while let Some(part) = parts.next() {
        compared = [compared, part].into_iter().sum();
        if parts.size_hint() != (0, Some(0)) && Instant::now() >= deadline {
            return (compared, false);
        }
    }
    (compared, true)
}

/// Returns the servers of a service, the oldest first, with their last weights other than 0. The kernel does not report
/// `last_weight` of a server with weight 0 (struct ip_vs_dest,
/// <https://elixir.bootlin.com/linux/v6.12/source/include/net/ip_vs.h>). The value 1 is assumed instead.
fn oldest_first(service: &ServiceState) -> Vec<(Destination, u32)> {
    let servers = service.destinations.iter().rev().map(|server| server.destination);
    servers.map(|server| (server, server.weight.max(1))).collect()
}

/// Returns a service and its servers after the changes. `None` if the service is deleted.
fn outcome(service: &ServiceState, changes: &[&Change]) -> Option<(Service, Vec<(Destination, u32)>)> {
    let mut settings = service.service;
    let mut servers = oldest_first(service);
    let mut places: HashMap<DestinationKey, usize> =
        servers.iter().enumerate().map(|(place, (server, _))| (server.key, place)).collect();
    let mut deleted = vec![false; servers.len()];
    for change in changes {
        match change {
            Change::EditService(edited) => settings = *edited,
            Change::DeleteService(_) => return None,
            Change::AddDestination(_, server) => {
                places.insert(server.key, servers.len());
                servers.push((*server, server.weight));
                deleted.push(false);
            }
            Change::EditDestination(_, server) => {
                if let Some(place) = places.get(&server.key) {
                    let last_weight = if server.weight == 0 { servers[*place].1 } else { server.weight };
                    servers[*place] = (*server, last_weight);
                }
            }
            Change::DeleteDestination(_, server) => {
                if let Some(place) = places.remove(server) {
                    deleted[place] = true;
                }
            }
            _ => {}
        }
    }
    let left = servers.into_iter().zip(deleted).filter(|(_, deleted)| !deleted).map(|(server, _)| server);
    Some((settings, left.collect()))
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model};

    use super::*;

    fn table(rules: &str) -> State {
        let mut director = Model::new();
        let config = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        ipvs::apply(&mut director, &config, &Default::default()).expect("arrives");
        director.state().expect("a model")
    }

    const FOUR: &str = "\
        -A -t 192.0.2.1:80 -s sh\n\
        -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m\n\
        -a -t 192.0.2.1:80 -r 10.0.0.3 -m\n-a -t 192.0.2.1:80 -r 10.0.0.4 -m\n";

    fn plan(from: &State, to: &str) -> Plan {
        let config = read_config(to.as_bytes(), &mut Numeric).expect("good rules").config;
        ipvs::plan(&config, from, &Default::default())
    }

    #[test]
    fn counts_dropped_connections() {
        let mut state = table(FOUR);
        for server in &mut state.services[0].destinations {
            (server.active_connections, server.persistent_connections) = (3, 1);
        }
        let held = TableIndex::new(&state);
        let plan = plan(&state, "");
        assert_eq!(plan.changes.len(), 1);
        let dropped = held.dropped_by(&plan.changes[0]);
        assert_eq!(dropped.to_string(), "12 active, 0 inactive connections, 4 persistence templates");
    }

    #[test]
    fn reports_remapped_clients() {
        let state = table(FOUR);
        let held = TableIndex::new(&state);
        let remapped = |rules: &str| held.remapped_by(&plan(&state, rules), TableSizes::default(), Limits::default());
        let one_less = FOUR.replace("-a -t 192.0.2.1:80 -r 10.0.0.4 -m\n", "");
        let found = remapped(&one_less);
        assert_eq!((found.services.len(), (found.services[0].share * 100.0).round()), (1, 75.0));
        assert_eq!((found.services[0].estimated_from, found.not_estimated), (None, vec![]));
        assert_eq!(remapped(FOUR), Remapping::default());
        assert_eq!(remapped(&one_less.replace("-s sh", "-s rr")), Remapping::default());
    }

    #[test]
    fn estimates_stop_at_their_limits() {
        let state = table(&FOUR.replace("-s sh", "-s mh -b mh-fallback"));
        let held = TableIndex::new(&state);
        let drained = FOUR.replace("-s sh", "-s mh -b mh-fallback").replace("10.0.0.4 -m", "10.0.0.4 -m -w 0");
        let remapped = |limits| held.remapped_by(&plan(&state, &drained), TableSizes::default(), limits);
        let limits = Limits { service: Duration::from_secs(1000), plan: Duration::from_secs(1000), servers: 4 };
        let whole = remapped(limits).services.remove(0);
        assert_eq!(whole.estimated_from, None);
        assert!((whole.share - 0.25).abs() < 0.02, "{whole:?}");
        // One part is compared in any case.
        let part = remapped(Limits { service: Duration::ZERO, ..limits }).services.remove(0);
        assert_eq!(part.estimated_from, Some(2048));
        assert!((part.share - 0.25).abs() < 0.05, "{part:?}");
        for limits in [Limits { plan: Duration::ZERO, ..limits }, Limits { servers: 3, ..limits }] {
            let not_estimated = vec!["TCP 192.0.2.1:80".to_owned()];
            assert_eq!(remapped(limits), Remapping { services: vec![], not_estimated });
        }
    }
}
