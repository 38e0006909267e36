//! The connections that a plan drops.

use std::collections::HashMap;

use ipvs::{Change, DestinationKey, DestinationState, Plan, ServiceKey, ServiceState, State};
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

    /// Returns the connections that all changes of a plan drop.
    pub(crate) fn dropped_by_plan(&self, plan: &Plan) -> Dropped {
        plan.changes.iter().map(|change| self.dropped_by(change)).sum()
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    const FOUR: &str = "\
        -A -t 192.0.2.1:80 -s sh\n\
        -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m\n\
        -a -t 192.0.2.1:80 -r 10.0.0.3 -m\n-a -t 192.0.2.1:80 -r 10.0.0.4 -m\n";

    #[test]
    fn counts_dropped_connections() {
        let mut state = state(FOUR);
        for server in &mut state.services[0].destinations {
            (server.active_connections, server.persistent_connections) = (3, 1);
        }
        let held = TableIndex::new(&state);
        let plan = ipvs::plan(&config(""), &state, &Default::default());
        assert_eq!(plan.changes.len(), 1);
        let dropped = held.dropped_by(&plan.changes[0]);
        assert_eq!(dropped.to_string(), "12 active, 0 inactive connections, 4 persistence templates");
    }
}
