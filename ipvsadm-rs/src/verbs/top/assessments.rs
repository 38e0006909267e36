//! The problems of services, computed again only if something has changed.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipvs::{Destination, Service, ServiceKey, ServiceState, State};

use crate::sight::condition::{Assessment, Condition};

/// The time limit for new assessments in a reading. One of a service with a hashing scheduler takes milliseconds.
const LIMIT: Duration = Duration::from_millis(100);

/// The assessments of services, with the facts that they depend on.
#[derive(Debug, Default)]
pub(super) struct Assessments {
    known: HashMap<ServiceKey, (Facts, Rc<Assessment>)>,
    /// Whether there is no time limit.
    are_complete: bool,
}

#[derive(Debug)]
struct Facts {
    service: Service,
    servers: Vec<(Destination, Condition)>,
}

impl Facts {
    fn of(state: &ServiceState) -> Self {
        let servers = state.destinations.iter().map(|server| (server.destination, Condition::of(server)));
        Self { service: state.service, servers: servers.collect() }
    }

    fn are_of(&self, state: &ServiceState) -> bool {
        let servers = state.destinations.iter().map(|server| (server.destination, Condition::of(server)));
        self.service == state.service && self.servers.iter().copied().eq(servers)
    }
}

impl Assessments {
    /// Returns assessments without a time limit, of which none is ever missing.
    pub(super) fn complete() -> Self {
        Self { are_complete: true, ..Self::default() }
    }

    /// Returns the assessments of the services. Some are missing if a time limit was reached; the next call continues.
    pub(super) fn of(&mut self, state: &State) -> HashMap<ServiceKey, Rc<Assessment>> {
        let start = Instant::now();
        let mut known = std::mem::take(&mut self.known);
        for service in &state.services {
            let key = service.service.key;
            match known.remove(&key) {
                Some(same) if same.0.are_of(service) => drop(self.known.insert(key, same)),
                _ if self.are_complete || start.elapsed() < LIMIT => {
                    self.known.insert(key, (Facts::of(service), Rc::new(Assessment::of(service))));
                }
                _ => {}
            }
        }
        self.known.iter().map(|(key, (_, assessment))| (*key, Rc::clone(assessment))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::state;
    use crate::sight::condition::Problem;

    #[test]
    fn only_changed_services_are_assessed_again() {
        let mut assessments = Assessments::default();
        let mut state = state("-A -f 1 -s sh\n-a -f 1 -r 10.0.0.1\n-A -f 2 -s rr\n");
        let [one, two] = [1, 2].map(|mark| ServiceKey::fwmark(mark, ipvs::Family::V4).expect("a mark"));
        let first = assessments.of(&state);
        assert_eq!((first[&one].problem, first[&two].problem), (None, Some(Problem::NoServers)));
        state.services.iter_mut().for_each(|service| service.stats.connections += 1);
        let second = assessments.of(&state);
        assert!(Rc::ptr_eq(&first[&one], &second[&one]) && Rc::ptr_eq(&first[&two], &second[&two]));
        for service in &mut state.services {
            service.destinations.iter_mut().for_each(|server| server.destination.weight = 0);
        }
        let third = assessments.of(&state);
        assert!(Rc::ptr_eq(&first[&two], &third[&two]));
        assert_eq!(third[&one].problem, Some(Problem::AllWeight0));
        state.services.clear();
        assert!(assessments.of(&state).is_empty());
    }
}
