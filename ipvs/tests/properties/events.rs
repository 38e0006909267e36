//! Events between any two tables.

use std::collections::BTreeMap;

use ipvs::testing::random;
use ipvs::{Config, Destination, DestinationKey, Director, Event, Model, Service, ServiceKey, State, SyncDaemon};
use proptest::prelude::*;

/// A table without order, counters and connections.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
    daemons: Vec<SyncDaemon>,
}

fn state(config: &Config) -> State {
    let mut director = Model::new();
    random::fill(&mut director, config);
    director.state().expect("a model")
}

fn table(state: &State) -> Table {
    let mut daemons = state.daemons.clone();
    daemons.sort();
    let services = state.services.iter().map(|state| {
        let servers = state.destinations.iter().map(|server| (server.destination.key, server.destination)).collect();
        (state.service.key, (state.service, servers))
    });
    Table { services: services.collect(), daemons }
}

impl Table {
    /// Makes the change of an event. Fails if the table does not have its earlier values.
    fn follow(&mut self, event: Event) {
        match event {
            Event::DaemonStopped(daemon) => {
                let at = self.daemons.iter().position(|other| *other == daemon).expect("runs");
                self.daemons.remove(at);
            }
            Event::DaemonStarted(daemon) => self.daemons.push(daemon),
            Event::ServiceAdded(service) => {
                assert_eq!(self.services.insert(service.key, (service, BTreeMap::new())), None);
            }
            Event::ServiceEdited { old, new } => {
                let (service, _) = self.services.get_mut(&old.key).expect("exists");
                assert_eq!(std::mem::replace(service, new), old);
                assert_ne!(old, new);
            }
            Event::ServiceDeleted(service) => {
                assert_eq!(self.services.remove(&service.key), Some((service, BTreeMap::new())));
            }
            Event::DestinationAdded(key, server) => {
                assert_eq!(self.servers(&key).insert(server.key, server), None);
            }
            Event::DestinationEdited { service, old, new } => {
                assert_eq!(self.servers(&service).insert(new.key, new), Some(old));
                assert_ne!(old, new);
            }
            Event::DestinationDeleted(key, server) => {
                assert_eq!(self.servers(&key).remove(&server.key), Some(server));
            }
            _ => {}
        }
    }

    fn servers(&mut self, key: &ServiceKey) -> &mut BTreeMap<DestinationKey, Destination> {
        &mut self.services.get_mut(key).expect("exists").1
    }
}

proptest! {
    #[test]
    fn events_lead_from_one_table_to_the_other((old, new) in random::two_tables()) {
        let (old, new) = (state(&old), state(&new));
        let mut followed = table(&old);
        let events = new.events_since(&old);
        events.iter().for_each(|event| followed.follow(*event));
        followed.daemons.sort();
        prop_assert_eq!(&followed, &table(&new), "{:?}", events);
        prop_assert_eq!(new.events_since(&new), []);
    }
}
