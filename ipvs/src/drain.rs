//! Draining: destinations get no new connections, and are deleted when their old ones have ended.
//!
//! [`Drain`] decides, and the program reads and writes. So it works with any clock, any number of directors, and in
//! async code.
//!
//! ```
//! use std::time::Duration;
//!
//! use ipvs::drain::Drain;
//! use ipvs::{Destination, Director, Forwarding, Model, Scheduler, Service, ServiceKey};
//!
//! # fn main() -> Result<(), ipvs::Error> {
//! # let mut director = Model::new();
//! # let web = ServiceKey::tcp([192, 0, 2, 1], 80);
//! # let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
//! # director.add_service(&Service::new(web, Scheduler::WLC))?;
//! # director.add_destination(&web, &server)?;
//! let start = std::time::Instant::now();
//! let mut drain = Drain::new(Some(Duration::from_secs(300)));
//! drain.start(web, server.key, start.elapsed());
//! while !drain.is_done() {
//!     let step = drain.step(&director.state()?, start.elapsed());
//!     director.submit(&step.changes)?.into_result()?;
//!     for waiting in &step.waiting {
//!         println!("{}: {} connections are left", waiting.destination, waiting.connections());
//!     }
//! #   /*
//!     std::thread::sleep(Duration::from_secs(1));
//! #   */
//! }
//! # assert!(director.destinations(&web)?.is_empty());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::change::Change;
use crate::destination::Destination;
use crate::estimate::{Assumption, Refusal, Scheduling};
use crate::key::{DestinationKey, ServiceKey};
use crate::state::{DestinationState, ServiceState, State};

/// Destinations that are being drained, of any number of services.
///
/// All times are durations since a start that the program chooses, always the same one.
#[derive(Clone, Debug)]
pub struct Drain {
    limit: Option<Duration>,
    waits_for_templates: bool,
    leaving: BTreeMap<(ServiceKey, DestinationKey), Leaving>,
}

#[derive(Clone, Copy, Debug)]
struct Leaving {
    since: Duration,
    /// The settings that were found last, with the weight that was found first.
    before: Option<Destination>,
    /// The number of connections, if the last step requested the deletion.
    deleted_with: Option<u64>,
    /// Whether the last reading did not have it.
    was_missing: bool,
}

/// The decisions of [`Drain::step`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The changes to make now. A change that is refused or not made is in the next step again.
    pub changes: Vec<Change>,
    /// The destinations that have connections.
    pub waiting: Vec<Waiting>,
    /// The destinations that are no longer in the table. [`Drain`] has forgotten them.
    pub ended: Vec<Ended>,
}

/// A destination that waits for its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The service.
    pub service: ServiceKey,
    /// The destination.
    pub destination: DestinationKey,
    /// The time of [`Drain::start`].
    pub since: Duration,
    /// The time at which the destination is deleted with its connections. `None`: there is no limit.
    pub until: Option<Duration>,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Persistence templates. They send their clients to this destination as long as the clients return, even with
    /// weight 0. The sysctl `net.ipv4.vs.expire_quiescent_template` prevents this.
    pub persistent_connections: u32,
    /// Whether weight 0 refuses some or all new clients, instead of sending them to another destination. See
    /// [`refuses_clients`].
    pub refuses_clients: bool,
}

impl Waiting {
    /// Returns the number of connections, without templates.
    pub fn connections(&self) -> u64 {
        u64::from(self.active_connections) + u64::from(self.inactive_connections)
    }
}

/// A destination that is no longer in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The service.
    pub service: ServiceKey,
    /// The destination.
    pub destination: DestinationKey,
    /// The number of connections when it was deleted because of the limit. 0: all had ended. `None`: another program
    /// deleted it.
    pub dropped_connections: Option<u64>,
}

impl Drain {
    /// Returns a drain without destinations. After `limit`, a destination is deleted with its connections. `None`:
    /// there is no limit.
    pub fn new(limit: Option<Duration>) -> Self {
        Self { limit, waits_for_templates: false, leaving: BTreeMap::new() }
    }

    /// Also waits until a destination has no persistence templates [default: false]. This can take as long as clients
    /// return, because each connection renews the template of its client.
    pub fn wait_for_templates(self, waits_for_templates: bool) -> Self {
        Self { waits_for_templates, ..self }
    }

    /// Starts to drain a destination. Does nothing if it is being drained.
    pub fn start(&mut self, service: ServiceKey, destination: DestinationKey, now: Duration) {
        let leaving = Leaving { since: now, before: None, deleted_with: None, was_missing: false };
        self.leaving.entry((service, destination)).or_insert(leaving);
    }

    /// Drains these destinations and no others. Those that are being drained keep their time of start. The others are
    /// forgotten, and their weights stay.
    ///
    /// A program that calls [`apply`](crate::apply()) again and again passes [`Plan::draining`], to limit the time of
    /// [`Departing::DrainThenDelete`].
    ///
    /// [`Plan::draining`]: crate::Plan::draining
    /// [`Departing::DrainThenDelete`]: crate::plan::Departing::DrainThenDelete
    pub fn set(&mut self, destinations: impl IntoIterator<Item = (ServiceKey, DestinationKey)>, now: Duration) {
        let mut before = std::mem::take(&mut self.leaving);
        for (service, destination) in destinations {
            match before.remove_entry(&(service, destination)) {
                Some((key, leaving)) => _ = self.leaving.insert(key, leaving),
                None => self.start(service, destination, now),
            }
        }
    }

    /// Stops draining a destination. Returns the change that restores its weight. Returns `None` if no step has set the
    /// weight to 0, or if the last step requested the deletion.
    pub fn cancel(&mut self, service: &ServiceKey, destination: &DestinationKey) -> Option<Change> {
        let Leaving { before, deleted_with, .. } = self.leaving.remove(&(*service, *destination))?;
        let before = before.filter(|before| before.weight > 0 && deleted_with.is_none())?;
        Some(Change::EditDestination(*service, before))
    }

    /// Returns whether the destination is being drained.
    pub fn contains(&self, service: &ServiceKey, destination: &DestinationKey) -> bool {
        self.leaving.contains_key(&(*service, *destination))
    }

    /// Returns whether no destination is being drained.
    pub fn is_done(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Decides for every destination, from a reading of the table.
    ///
    /// A weight above 0 that another program has set meanwhile is set to 0 again. If the reading is
    /// [uncertain](State::is_uncertain), nothing is decided about a destination that it does not have.
    ///
    /// A single reading of a long list can lack an item that exists. So a destination that another program deleted ends
    /// only in the second step without it, unless the list of services or destinations is empty.
    pub fn step(&mut self, state: &State, now: Duration) -> Step {
        let mut step = Step::default();
        let services: BTreeMap<ServiceKey, &ServiceState> =
            state.services.iter().map(|state| (state.service.key, state)).collect();
        let is_uncertain = state.is_uncertain;
        let mut leaving = std::mem::take(&mut self.leaving);
        let all: Vec<(ServiceKey, DestinationKey)> = leaving.keys().copied().collect();
        leaving.retain(|(service, destination), leaving| {
            let found = services.get(service).and_then(|state| {
                let server = state.destinations.iter().find(|state| state.destination.key == *destination)?;
                Some((*state, server))
            });
            let Some((state, server)) = found else {
                // An empty list is complete.
                let is_complete =
                    services.get(service).map_or(services.is_empty(), |state| state.destinations.is_empty());
                let was_missing = std::mem::replace(&mut leaving.was_missing, !is_uncertain);
                let is_sure = is_complete || was_missing || leaving.deleted_with.is_some();
                if is_uncertain || !is_sure {
                    return true;
                }
                let dropped_connections = leaving.deleted_with;
                step.ended.push(Ended { service: *service, destination: *destination, dropped_connections });
                return false;
            };
            leaving.was_missing = false;
            let is_leaving = |key: &DestinationKey| all.binary_search(&(*service, *key)).is_ok();
            self.decide(leaving, state, server, now, is_leaving, &mut step);
            true
        });
        self.leaving = leaving;
        step
    }

    fn decide(
        &self,
        leaving: &mut Leaving,
        state: &ServiceState,
        server: &DestinationState,
        now: Duration,
        is_leaving: impl Fn(&DestinationKey) -> bool,
        step: &mut Step,
    ) {
        let service = state.service.key;
        let destination = server.destination;
        let weight = leaving.before.map_or(destination.weight, |before| before.weight);
        leaving.before = Some(Destination { weight, ..destination });
        let until = self.limit.map(|limit| leaving.since.saturating_add(limit));
        let waiting = Waiting {
            service,
            destination: destination.key,
            since: leaving.since,
            until,
            active_connections: server.active_connections,
            inactive_connections: server.inactive_connections,
            persistent_connections: server.persistent_connections,
            refuses_clients: refuses_clients(state, is_leaving),
        };
        let has_templates = self.waits_for_templates && server.persistent_connections > 0;
        let is_over = until.is_some_and(|until| now >= until);
        if destination.weight > 0 {
            step.changes.push(Change::EditDestination(service, Destination { weight: 0, ..destination }));
        }
        // Without weight 0, a connection may be made between this reading and the deletion.
        if is_over || destination.weight == 0 && !server.has_connections() && !has_templates {
            leaving.deleted_with = Some(waiting.connections());
            step.changes.push(Change::DeleteDestination(service, destination.key));
        } else {
            leaving.deleted_with = None;
            step.waiting.push(waiting);
        }
    }
}

/// Returns whether weight 0 for the destinations that are `leaving` refuses some or all new clients of a service.
///
/// The rules are those of [`Scheduling::refusal`]. All clients are refused if no other destination has a weight above 0
/// and accepts connections. sh and mh without
/// [`SchedulerFlags::FALLBACK`](crate::SchedulerFlags::FALLBACK), and dh, select a destination of weight 0 as before, and
/// then refuse its clients. If this depends on a value that the kernel does not report, the function returns true.
pub fn refuses_clients(service: &ServiceState, leaving: impl Fn(&DestinationKey) -> bool) -> bool {
    Scheduling::new(service).with_weight_0(leaving).refusal(Assumption::Worst) != Refusal::Nobody
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Director, Forwarding, Model, Scheduler, SchedulerFlags, Service};

    const WEB: fn() -> ServiceKey = || ServiceKey::tcp([192, 0, 2, 1], 80);

    fn key(last: u8) -> DestinationKey {
        ([10, 0, 0, last], 80).into()
    }

    /// Returns a table with two servers, and the number of active connections of the first.
    fn table(scheduler: Scheduler, active_connections: u32) -> State {
        let server = |last| DestinationState::new(Destination::new(key(last), Forwarding::Masquerade));
        let mut state = ServiceState::new(Service::new(WEB(), scheduler));
        state.destinations = vec![server(2), DestinationState { active_connections, ..server(1) }];
        vec![state].into()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn set_connections(director: &mut Model, count: u32) {
        let mut state = director.state().expect("a model");
        state.services[0].destinations.iter_mut().for_each(|state| state.active_connections = count);
        *director = Model::with_state(state);
    }

    #[test]
    fn waits_for_connections_and_deletes() {
        let mut director = Model::with_state(table(Scheduler::WLC, 3));
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(10));
        drain.start(WEB(), key(1), seconds(99));
        let mut step = |director: &mut Model, now| {
            let step = drain.step(&director.state().expect("a model"), seconds(now));
            assert!(director.submit(&step.changes).expect("valid").is_empty());
            step
        };
        let first = step(&mut director, 10);
        assert_eq!(first.changes.len(), 1, "weight 0");
        assert_eq!((first.waiting[0].connections(), first.waiting[0].since), (3, seconds(10)));
        assert!(!first.waiting[0].refuses_clients);
        assert_eq!(step(&mut director, 5000).changes, [], "no limit");
        set_connections(&mut director, 0);
        assert_eq!(step(&mut director, 5001).changes, [Change::DeleteDestination(WEB(), key(1))]);
        let last = step(&mut director, 5002);
        assert_eq!((last.ended[0].destination, last.ended[0].dropped_connections), (key(1), Some(0)));
        assert!(drain.is_done());
    }

    #[test]
    fn server_is_deleted_at_the_limit() {
        let director = table(Scheduler::WLC, 3);
        let mut drain = Drain::new(Some(seconds(60)));
        drain.start(WEB(), key(1), seconds(0));
        let step = drain.step(&director, seconds(59));
        assert_eq!(step.waiting[0].until, Some(seconds(60)));
        // The deletion is requested again until the server is gone.
        for now in [60, 61] {
            let step = drain.step(&director, seconds(now));
            assert_eq!(step.changes.last(), Some(&Change::DeleteDestination(WEB(), key(1))));
        }
        let step = drain.step(&State::default(), seconds(62));
        assert_eq!(step.ended[0].dropped_connections, Some(3));
    }

    #[test]
    fn idle_server_gets_weight_0_first() {
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(0));
        let step = drain.step(&table(Scheduler::WLC, 0), seconds(0));
        assert!(matches!(step.changes[..], [Change::EditDestination(_, Destination { weight: 0, .. })]));
        let step = drain.step(&State::default(), seconds(1));
        assert_eq!(step.ended[0].dropped_connections, None, "another program deleted it");
    }

    #[test]
    fn templates_are_waited_for_on_request() {
        let mut state = table(Scheduler::WLC, 0);
        let server = &mut state.services[0].destinations[1];
        (server.persistent_connections, server.destination.weight) = (2, 0);
        for waits in [false, true] {
            let mut drain = Drain::new(None).wait_for_templates(waits);
            drain.start(WEB(), key(1), seconds(0));
            let step = drain.step(&state, seconds(0));
            assert_eq!((step.changes.len(), step.waiting.len()), if waits { (0, 1) } else { (1, 0) });
        }
    }

    #[test]
    fn cancelling_restores_the_weight() {
        let state = table(Scheduler::WLC, 1);
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(0));
        assert_eq!(drain.clone().cancel(&WEB(), &key(1)), None, "nothing was changed");
        drain.step(&state, seconds(0));
        let restored = Change::EditDestination(WEB(), state.services[0].destinations[1].destination);
        assert_eq!(drain.cancel(&WEB(), &key(1)), Some(restored));
        assert!(drain.is_done() && !drain.contains(&WEB(), &key(1)));
    }

    #[test]
    fn cancelling_keeps_the_settings_of_others_and_deletions() {
        let mut state = table(Scheduler::WLC, 1);
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(0));
        drain.step(&state, seconds(0));
        let server = &mut state.services[0].destinations[1];
        (server.destination.weight, server.destination.upper_threshold) = (0, 9);
        drain.step(&state, seconds(1));
        let restored = Destination { weight: 1, ..state.services[0].destinations[1].destination };
        assert_eq!(drain.clone().cancel(&WEB(), &key(1)), Some(Change::EditDestination(WEB(), restored)));
        state.services[0].destinations[1].active_connections = 0;
        drain.step(&state, seconds(2));
        assert_eq!(drain.clone().cancel(&WEB(), &key(1)), None, "it may be gone");
        // The deletion was not made, and a client came back.
        state.services[0].destinations[1].active_connections = 1;
        drain.step(&state, seconds(3));
        assert_eq!(drain.clone().cancel(&WEB(), &key(1)), Some(Change::EditDestination(WEB(), restored)));
        assert_eq!(drain.step(&State::default(), seconds(4)).ended[0].dropped_connections, None);
    }

    #[test]
    fn uncertain_reading_ends_nothing() {
        let mut state = table(Scheduler::WLC, 1);
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(0));
        drain.step(&state, seconds(0));
        let uncertain = State { is_uncertain: true, ..State::default() };
        assert_eq!(drain.step(&uncertain, seconds(1)), Step::default());
        assert!(drain.contains(&WEB(), &key(1)));
        // A server that it has is decided about.
        state.is_uncertain = true;
        assert_eq!(drain.step(&state, seconds(2)).waiting.len(), 1);
    }

    #[test]
    fn single_reading_without_a_server_does_not_end_it() {
        let state = table(Scheduler::WLC, 1);
        let mut without = state.clone();
        without.services[0].destinations.pop();
        let mut drain = Drain::new(None);
        drain.start(WEB(), key(1), seconds(0));
        for now in [0, 2] {
            assert_eq!(drain.step(&without, seconds(now)), Step::default());
            assert_eq!(drain.step(&state, seconds(now + 1)).waiting.len(), 1);
        }
        assert_eq!(drain.step(&without, seconds(4)), Step::default());
        let ended = drain.step(&without, seconds(5)).ended;
        assert_eq!((ended.len(), ended[0].dropped_connections), (1, None));
        assert!(drain.is_done());
        // The service may be missing, too.
        let mail = ServiceState::new(Service::new(ServiceKey::tcp([192, 0, 2, 1], 25), Scheduler::RR));
        let without = State::from(vec![mail]);
        drain.start(WEB(), key(1), seconds(6));
        assert_eq!(drain.step(&without, seconds(6)), Step::default());
        assert_eq!(drain.step(&without, seconds(7)).ended.len(), 1);
    }

    #[test]
    fn set_keeps_the_time_of_start() {
        let state = table(Scheduler::WLC, 1);
        let mut drain = Drain::new(None);
        drain.set([(WEB(), key(1)), (WEB(), key(3))], seconds(0));
        drain.set([(WEB(), key(2)), (WEB(), key(1)), (WEB(), key(1))], seconds(5));
        let since = |last| drain.leaving.get(&(WEB(), key(last))).map(|leaving| leaving.since);
        assert_eq!([1, 2, 3].map(since), [Some(seconds(0)), Some(seconds(5)), None]);
        assert_eq!(drain.step(&state, seconds(5)).ended, [], "the third is forgotten");
        drain.set([], seconds(6));
        assert!(drain.is_done());
    }

    #[test]
    fn clients_are_refused_by_hashing_schedulers_and_without_servers() {
        let refuses = |scheduler, flags, leaving: &[DestinationKey]| {
            let mut state = table(scheduler, 0).services.remove(0);
            state.service.flags = flags;
            refuses_clients(&state, |key| leaving.contains(key))
        };
        let none = SchedulerFlags::empty();
        assert!(!refuses(Scheduler::WLC, none, &[key(1)]));
        assert!(refuses(Scheduler::WLC, none, &[key(1), key(2)]));
        for scheduler in [Scheduler::SH, Scheduler::MH, Scheduler::DH] {
            assert!(refuses(scheduler, none, &[key(1)]), "{scheduler}");
        }
        assert!(!refuses(Scheduler::SH, SchedulerFlags::FALLBACK, &[key(1)]));
        assert!(refuses(Scheduler::MH, SchedulerFlags::FALLBACK, &[key(1), key(2)]));
    }
}
