//! Watching a table: a snapshot, and then its changes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::delta::{Event, have_same_settings};
use crate::director::Director;
use crate::error::{Error, ErrorKind};
use crate::key::{DestinationKey, ServiceKey};
use crate::state::{DestinationState, ServiceState, State};
use crate::stats::{Counters, Stats};

/// The maximum number of readings of a list. Without a limit, they might never end, because another program may change
/// it all the time.
const MOST_READINGS: usize = 10;

/// An endless iterator over the changes of a table.
///
/// The kernel does not announce changes, so the table is read again after each interval, without counters. An item that
/// is added and deleted within an interval is not seen.
///
/// A single reading of a long list lacks items if others are deleted meanwhile, and the kernel does not report it. So
/// the first reading is repeated, and items that a later one lacks are read again before their deletion is reported.
///
/// The iterator blocks the thread until there is something to report. Programs with a clock of their own call
/// [`poll`](Self::poll) instead.
///
/// ```no_run
/// use std::time::Duration;
///
/// use ipvs::{Client, Observation, Watch};
///
/// # fn main() -> Result<(), ipvs::Error> {
/// for observation in Watch::new(Client::open()?, Duration::from_secs(1)) {
///     match observation {
///         Observation::Snapshot(state) => println!("{} services", state.services.len()),
///         Observation::Events(events) => events.iter().for_each(|event| println!("{event}")),
///         Observation::Lost(reason) => eprintln!("{reason}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch<D> {
    director: D,
    interval: Duration,
    last: Option<State>,
    has_polled: bool,
    is_lost: bool,
}

/// An observation of [`Watch`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Observation {
    /// The table at the start, without counters.
    Snapshot(State),
    /// The events since the last reading that was usable. The list is not empty.
    Events(Vec<Event>),
    /// The table cannot be observed for now. This is reported once. The next observation includes all events since.
    Lost(Lost),
}

/// The reason why a table cannot be observed for now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The table could not be read.
    #[error(transparent)]
    Unreadable(#[from] Error),
    /// The kernel is resizing the table ([`State::is_uncertain`]).
    #[error("the kernel is resizing the table: the list of services may be wrong")]
    Resizing,
}

impl<D: Director> Watch<D> {
    /// Returns a watch of a director that reads the table once in each interval. Nothing is read yet. With
    /// an interval of 0, the iterator reads without a pause.
    pub fn new(director: D, interval: Duration) -> Self {
        Self { director, interval, last: None, has_polled: false, is_lost: false }
    }

    /// Reads the table once, at once. Returns `None` if there is nothing to report.
    pub fn poll(&mut self) -> Option<Observation> {
        self.has_polled = true;
        let lost = match self.read() {
            Ok(state) if state.is_uncertain => Lost::Resizing,
            Ok(state) => return self.compare(state),
            Err(error) => Lost::Unreadable(error),
        };
        let is_new = !std::mem::replace(&mut self.is_lost, true);
        is_new.then_some(Observation::Lost(lost))
    }

    /// Reads the table, and adds items that the kernel left out.
    fn read(&mut self) -> Result<State, Error> {
        let mut state = self.director.state_with(Counters::Skip)?;
        match &self.last {
            _ if state.is_uncertain => {}
            None => confirm_all(&mut self.director, &mut state)?,
            Some(last) if have_same_settings(&last.services, &state.services) => {}
            Some(last) => confirm_deletions(&mut self.director, last, &mut state)?,
        }
        Ok(state)
    }

    fn compare(&mut self, state: State) -> Option<Observation> {
        self.is_lost = false;
        let Some(last) = &mut self.last else {
            self.last = Some(state.clone());
            return Some(Observation::Snapshot(state));
        };
        let events = state.events_since(last);
        *last = state;
        (!events.is_empty()).then_some(Observation::Events(events))
    }

    /// Returns the last usable reading, without counters. `None` before the first one.
    pub fn state(&self) -> Option<&State> {
        self.last.as_ref()
    }

    /// Returns whether the last reading failed or was uncertain, so that the table cannot be observed for now.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns the director, for example to write to it.
    pub fn director(&mut self) -> &mut D {
        &mut self.director
    }
}

impl<D: Director> Iterator for Watch<D> {
    type Item = Observation;

    /// Waits for the next observation. Never returns `None`.
    fn next(&mut self) -> Option<Observation> {
        loop {
            if self.has_polled {
                std::thread::sleep(self.interval);
            }
            if let Some(observation) = self.poll() {
                return Some(observation);
            }
        }
    }
}

/// Reads until two consecutive readings have the same keys. Keeps what any reading had: an item may have been deleted
/// meanwhile, and a later reading shows that.
fn confirm_all(director: &mut impl Director, state: &mut State) -> Result<(), Error> {
    for _ in 1..MOST_READINGS {
        let mut again = director.state_with(Counters::Skip)?;
        let is_same = keys(&again).eq(keys(state));
        let earlier = std::mem::take(&mut state.services);
        if !is_same {
            let present: HashMap<_, _> = (0..).zip(&again.services).map(|(at, held)| (held.service.key, at)).collect();
            for earlier in earlier {
                match present.get(&earlier.service.key) {
                    Some(at) => add_missing(&mut again.services[*at].destinations, &earlier.destinations),
                    None => again.services.push(earlier),
                }
            }
        }
        *state = again;
        if is_same || state.is_uncertain {
            break;
        }
    }
    Ok(())
}

fn keys(state: &State) -> impl Iterator<Item = (ServiceKey, Option<DestinationKey>)> {
    state.services.iter().flat_map(|state| {
        let servers = state.destinations.iter().map(|server| Some(server.destination.key));
        std::iter::once(None).chain(servers).map(|server| (state.service.key, server))
    })
}

/// Adds the items of `last` that the reading lacks although they exist. An empty list is complete.
fn confirm_deletions(director: &mut impl Director, last: &State, state: &mut State) -> Result<(), Error> {
    let found: HashSet<ServiceKey> = state.services.iter().map(|state| state.service.key).collect();
    let missing = last.services.iter().map(|state| state.service.key).filter(|key| !found.contains(key));
    for key in missing.filter(|_| !found.is_empty()) {
        match director.service(&key) {
            Ok(held) => {
                let destinations = director.destinations_with(&key, Counters::Skip)?;
                state.services.push(ServiceState { stats: Stats::default(), destinations, ..held });
            }
            Err(error) if matches!(error.kind(), ErrorKind::NoSuchService) => {}
            Err(error) => return Err(error),
        }
    }
    let last: HashMap<ServiceKey, &ServiceState> =
        last.services.iter().map(|state| (state.service.key, state)).collect();
    for state in &mut state.services {
        if let Some(last) = last.get(&state.service.key) {
            confirm_deletions_of(director, &state.service.key, &last.destinations, &mut state.destinations)?;
        }
    }
    Ok(())
}

/// Reads the destinations again until none is missing, or until two consecutive readings have the same keys. Otherwise
/// the deletions stay unknown, and the next poll decides.
fn confirm_deletions_of(
    director: &mut impl Director,
    service: &ServiceKey,
    last: &[DestinationState],
    destinations: &mut Vec<DestinationState>,
) -> Result<(), Error> {
    let keys = |list: &[DestinationState]| list.iter().map(|state| state.destination.key).collect::<Vec<_>>();
    let mut reading = keys(destinations);
    for _ in 1..MOST_READINGS {
        if reading.is_empty() || missing(destinations, last).next().is_none() {
            return Ok(());
        }
        let again = director.destinations_with(service, Counters::Skip)?;
        let before = std::mem::replace(&mut reading, keys(&again));
        let earlier = std::mem::replace(destinations, again);
        add_missing(destinations, &earlier);
        if before == reading {
            return Ok(());
        }
    }
    add_missing(destinations, last);
    Ok(())
}

/// Adds the destinations of an earlier reading that a later one lacks.
fn add_missing(destinations: &mut Vec<DestinationState>, earlier: &[DestinationState]) {
    let missing: Vec<_> = missing(destinations, earlier).cloned().collect();
    destinations.extend(missing);
}

fn missing<'a>(
    destinations: &[DestinationState],
    earlier: &'a [DestinationState],
) -> impl Iterator<Item = &'a DestinationState> + use<'a> {
    let present: HashSet<DestinationKey> = destinations.iter().map(|state| state.destination.key).collect();
    earlier.iter().filter(move |state| !present.contains(&state.destination.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Destination, Forwarding, Model, Refused, Scheduler, Service};

    /// A table whose next readings fail, are uncertain, or lack the last service, or the last server of each service.
    #[derive(Default)]
    struct Shaky {
        model: Model,
        failing: usize,
        uncertain: usize,
        without_service: usize,
        without_server: usize,
    }

    fn is_next(count: &mut usize) -> bool {
        let is_next = *count > 0;
        *count = count.saturating_sub(1);
        is_next
    }

    impl Director for Shaky {
        fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
            let mut state = self.model.state_with(counters)?;
            if self.failing > 0 {
                self.failing -= 1;
                return Err(Error::new("read the services", ErrorKind::NoReply));
            }
            state.is_uncertain = is_next(&mut self.uncertain);
            if is_next(&mut self.without_service) {
                state.services.pop();
            }
            if is_next(&mut self.without_server) {
                state.services.iter_mut().for_each(|state| _ = state.destinations.pop());
            }
            Ok(state)
        }

        fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
            self.model.submit(changes)
        }
    }

    fn web() -> Service {
        Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR)
    }

    #[test]
    fn begins_with_a_snapshot_and_reports_changes() {
        let mut watch = Watch::new(Shaky::default(), Duration::from_millis(1));
        assert!(watch.state().is_none());
        assert!(matches!(watch.next(), Some(Observation::Snapshot(state)) if state.services.is_empty()));
        assert!(watch.poll().is_none());
        watch.director().add_service(&web()).expect("added");
        assert!(matches!(watch.next(), Some(Observation::Events(events)) if events == [Event::ServiceAdded(web())]));
        assert!(watch.poll().is_none());
        assert_eq!(watch.state().expect("a reading").services.len(), 1);
    }

    #[test]
    fn loss_is_reported_once_and_hides_no_event() {
        let mut watch = Watch::new(Shaky::default(), Duration::ZERO);
        watch.next();
        watch.director().failing = 2;
        watch.director().add_service(&web()).expect("added");
        assert!(!watch.is_lost());
        assert!(matches!(watch.poll(), Some(Observation::Lost(Lost::Unreadable(_)))));
        assert!(watch.poll().is_none() && watch.is_lost());
        assert!(matches!(watch.poll(), Some(Observation::Events(events)) if events.len() == 1));
        assert!(!watch.is_lost());
        watch.director().uncertain = 1;
        watch.director().flush().expect("flushed");
        assert!(matches!(watch.poll(), Some(Observation::Lost(Lost::Resizing))));
        assert!(matches!(watch.poll(), Some(Observation::Events(events)) if events == [Event::ServiceDeleted(web())]));
    }

    #[test]
    fn first_reading_may_fail() {
        let mut watch = Watch::new(Shaky { failing: 1, ..Shaky::default() }, Duration::ZERO);
        assert!(matches!(watch.next(), Some(Observation::Lost(_))));
        assert!(matches!(watch.next(), Some(Observation::Snapshot(_))));
    }

    /// Returns a table with two services of three servers.
    fn table() -> Shaky {
        let mut model = Model::new();
        for port in [80, 81] {
            let service = Service { key: ServiceKey::tcp([192, 0, 2, 1], port), ..web() };
            model.add_service(&service).expect("added");
            for last in 1..=3 {
                let server = Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade);
                model.add_destination(&service.key, &server).expect("added");
            }
        }
        Shaky { model, ..Shaky::default() }
    }

    #[test]
    fn snapshot_has_items_that_single_readings_lack() {
        for (without_service, without_server) in [(1, 0), (0, 1), (1, 1)] {
            let mut watch = Watch::new(Shaky { without_service, without_server, ..table() }, Duration::ZERO);
            let Some(Observation::Snapshot(state)) = watch.poll() else { panic!("no snapshot") };
            assert_eq!(keys(&state).count(), 8, "{without_service} {without_server}");
            assert!(watch.poll().is_none());
        }
    }

    #[test]
    fn items_that_a_reading_lacks_are_not_deleted() {
        let mut watch = Watch::new(table(), Duration::ZERO);
        watch.next();
        for (without_service, without_server) in [(1, 0), (0, 1), (1, 1)] {
            watch.director().without_service = without_service;
            watch.director().without_server = without_server;
            assert!(watch.poll().is_none(), "{without_service} {without_server}");
            assert_eq!(keys(watch.state().expect("a reading")).count(), 8);
        }
    }

    #[test]
    fn deletions_are_reported_at_once() {
        let mut watch = Watch::new(table(), Duration::ZERO);
        watch.next();
        let server = DestinationKey::new([10, 0, 0, 2], 80);
        watch.director().delete_destination(&web().key, &server).expect("deleted");
        let events = watch.poll();
        assert!(
            matches!(&events, Some(Observation::Events(events)) if matches!(events[..], [Event::DestinationDeleted(..)])),
            "{events:?}"
        );
        watch.director().delete_service(&web().key).expect("deleted");
        let events = watch.poll();
        assert!(matches!(&events, Some(Observation::Events(events)) if events.len() == 3), "{events:?}");
        assert!(watch.poll().is_none());
    }
}
