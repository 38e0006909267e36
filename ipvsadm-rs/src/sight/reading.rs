//! Readings of the kernel's table that lack no service, and in which a deleted service does not seem to have lost its
//! servers.

use std::collections::HashSet;

use ipvs::{Counters, Director, Error, ErrorKind, ServiceIndex, ServiceKey, ServiceState, State};

/// The maximum number of lists of services after the first one. Without a limit, they might never end, because other
/// programs may change the table all the time.
const MOST_LISTS: usize = 10;

/// Reads the table, and then lists the services again until two consecutive lists are the same.
///
/// The kernel lists the servers of a service that was deleted meanwhile as none. Such a service is removed from the
/// reading. Before Linux 7.1, a long list lacks services if others are deleted meanwhile, in any network namespace. These
/// are added. If no two lists are the same, the reading is uncertain.
pub(crate) fn read(director: &mut impl Director) -> Result<State, Error> {
    let mut state = director.state()?;
    let list = keys(&state.services);
    // A service that was deleted and added again has its servers now.
    for service in state.services.iter_mut().filter(|service| service.destinations.is_empty()) {
        service.destinations = director.destinations(&service.service.key)?;
    }
    // Since Linux 7.1 an uncertain state is that of many lists.
    let most = if state.is_uncertain { 1 } else { MOST_LISTS };
    state.is_uncertain |= !complete(director, &mut state.services, list, most)?;
    Ok(state)
}

/// Lists the services in the same way, without counters. Only some of them have servers.
pub(crate) fn services(director: &mut impl Director) -> Result<Vec<ServiceState>, Error> {
    let mut services = director.services_with(Counters::Skip)?;
    let list = keys(&services);
    complete(director, &mut services, list, MOST_LISTS)?;
    Ok(services)
}

/// Reads the services of the table, and the servers of those by mark, to find the services of connection entries.
pub(crate) fn service_index(director: &mut impl Director) -> Result<ServiceIndex, Error> {
    let mut services = services(director)?;
    for state in &mut services {
        let key = state.service.key;
        if matches!(key, ServiceKey::Fwmark { .. }) {
            state.destinations = director.destinations_with(&key, Counters::Skip)?;
        }
    }
    Ok(ServiceIndex::new(&services))
}

fn keys(services: &[ServiceState]) -> Vec<ServiceKey> {
    services.iter().map(|service| service.service.key).collect()
}

/// Lists the services again until a list is the same as the one before it, at most `most` times, and updates `services`.
/// Returns whether two lists were the same.
fn complete(
    director: &mut impl Director,
    services: &mut Vec<ServiceState>,
    mut before: Vec<ServiceKey>,
    most: usize,
) -> Result<bool, Error> {
    for _ in 0..most {
        let list = keys(&director.services_with(Counters::Skip)?);
        update(director, services, &list)?;
        if list == before {
            return Ok(true);
        }
        before = list;
    }
    Ok(false)
}

/// Removes the services that were deleted, and adds those that are new in this list.
fn update(director: &mut impl Director, services: &mut Vec<ServiceState>, list: &[ServiceKey]) -> Result<(), Error> {
    let is_listed: HashSet<ServiceKey> = list.iter().copied().collect();
    let mut kept = Vec::with_capacity(services.len());
    // An empty list is complete.
    for service in services.drain(..).filter(|_| !list.is_empty()) {
        let key = service.service.key;
        if is_listed.contains(&key) || find(director, &key)?.is_some() {
            kept.push(service);
        }
    }
    let known: HashSet<ServiceKey> = kept.iter().map(|service| service.service.key).collect();
    for key in list.iter().filter(|key| !known.contains(key)) {
        let destinations = director.destinations(key)?;
        if let Some(mut service) = find(director, key)? {
            service.destinations = destinations;
            kept.push(service);
        }
    }
    *services = kept;
    Ok(())
}

/// Reads a service without its servers. `None` if it does not exist.
fn find(director: &mut impl Director, key: &ServiceKey) -> Result<Option<ServiceState>, Error> {
    match director.service(key) {
        Ok(service) => Ok(Some(service)),
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchService) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Change, DestinationState, Model, Refused, apply, plan};

    use super::*;

    /// A table that others change while it is read.
    #[derive(Default)]
    struct Busy {
        model: Model,
        /// The number of services that each of the next lists lacks at its end.
        lacking: VecDeque<usize>,
        /// Changes after the next list.
        changes: Vec<Change>,
        /// Changes after the first reading of the servers.
        later_changes: Vec<Change>,
        lists: usize,
    }

    impl Busy {
        fn new(rules: &str) -> Self {
            let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
            let mut model = Model::new();
            apply(&mut model, &desired, &plan::Options::default()).expect("applies");
            Self { model, ..Self::default() }
        }

        fn read(&mut self) -> State {
            let mut state = read(self).expect("a model");
            state.services.sort_by_key(|service| service.service.key);
            state
        }

        fn names(&mut self) -> String {
            let services = self.read().services;
            let name = |state: &ServiceState| format!("{} {}", state.service.key, state.destinations.len());
            services.iter().map(name).collect::<Vec<_>>().join(", ")
        }
    }

    impl Director for Busy {
        fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
            let mut state = self.model.state_with(counters)?;
            state.services = self.services_with(counters)?;
            for service in &mut state.services {
                // Empty if the service was deleted.
                service.destinations = self.destinations_with(&service.service.key, counters)?;
            }
            std::mem::take(&mut self.later_changes).into_iter().try_for_each(|change| self.model.change(change))?;
            Ok(state)
        }

        fn services_with(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
            self.lists += 1;
            let mut services = self.model.services_with(counters)?;
            services.truncate(services.len() - self.lacking.pop_front().unwrap_or_default());
            std::mem::take(&mut self.changes).into_iter().try_for_each(|change| self.model.change(change))?;
            Ok(services)
        }

        fn service(&mut self, key: &ServiceKey) -> Result<ServiceState, Error> {
            self.model.service(key)
        }

        fn destinations_with(&mut self, key: &ServiceKey, counters: Counters) -> Result<Vec<DestinationState>, Error> {
            let state = self.model.state_with(counters)?;
            let found = state.services.into_iter().find(|service| service.service.key == *key);
            Ok(found.map(|service| service.destinations).unwrap_or_default())
        }

        fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
            self.model.submit(changes)
        }
    }

    const RULES: &str = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1\n-A -f 2 -s rr\n-a -f 2 -r 10.0.0.1\n-A -f 3 -s rr\n";

    fn delete(mark: u32) -> Change {
        Change::DeleteService(ServiceKey::fwmark(mark, ipvs::Family::V4).expect("a mark"))
    }

    #[test]
    fn a_table_at_rest_is_listed_twice() {
        let mut busy = Busy::new(RULES);
        assert_eq!(busy.names(), "FWM 1 1, FWM 2 1, FWM 3 0");
        assert_eq!(busy.lists, 2);
        assert_eq!(Busy::new("").names(), "");
    }

    #[test]
    fn deleted_services_are_removed() {
        let mut busy = Busy::new(RULES);
        busy.changes = vec![delete(1)];
        assert_eq!(busy.names(), "FWM 2 1, FWM 3 0");
        busy.changes = vec![Change::Flush];
        assert_eq!(busy.names(), "");
    }

    #[test]
    fn services_that_a_list_lacks_are_added() {
        for lacking in [vec![1], vec![0, 1], vec![1, 2], vec![2, 1, 0, 1]] {
            let mut busy = Busy::new(RULES);
            busy.lacking = lacking.clone().into();
            assert_eq!(busy.names(), "FWM 1 1, FWM 2 1, FWM 3 0", "{lacking:?}");
        }
        let mut busy = Busy::new(RULES);
        busy.lacking = [0, 1, 0, 1, 0, 1, 0, 1, 0].into();
        assert!(!busy.read().is_uncertain);
        busy.lacking = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1].into();
        let state = busy.read();
        assert!(state.is_uncertain);
        assert_eq!(state.services.len(), 3);
        busy.lacking = [1].into();
        assert_eq!(services(&mut busy).expect("a model").len(), 3);
    }

    #[test]
    fn services_that_are_added_again_keep_their_servers() {
        let mut busy = Busy::new(RULES);
        let state = busy.model.state().expect("a model");
        let mut services = state.services.iter().filter(|state| !state.destinations.is_empty());
        let one = services.find(|state| state.service.key.to_string() == "FWM 1").expect("a service");
        let (service, server) = (one.service, one.destinations[0].destination);
        busy.changes = vec![delete(1)];
        busy.later_changes = vec![Change::AddService(service), Change::AddDestination(service.key, server)];
        assert_eq!(busy.names(), "FWM 1 1, FWM 2 1, FWM 3 0");
    }
}
