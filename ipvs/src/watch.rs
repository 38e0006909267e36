//! Watching a table: a snapshot, and then its changes.

use std::time::Duration;

use crate::delta::Event;
use crate::director::Director;
use crate::error::Error;
use crate::state::State;
use crate::stats::Counters;

/// An endless iterator over the changes of a table.
///
/// The kernel does not announce changes, so the table is read again after each interval, without counters. An item that
/// is added and deleted within an interval is not seen.
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
        let lost = match self.director.state_with(Counters::Skip) {
            Ok(state) if state.is_uncertain => Lost::Resizing,
            Ok(state) => return self.compare(state),
            Err(error) => Lost::Unreadable(error),
        };
        let is_new = !std::mem::replace(&mut self.is_lost, true);
        is_new.then_some(Observation::Lost(lost))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, ErrorKind, Model, Refused, Scheduler, Service, ServiceKey};

    /// A table whose next readings fail or are uncertain.
    #[derive(Default)]
    struct Shaky {
        model: Model,
        failing: usize,
        uncertain: usize,
    }

    impl Director for Shaky {
        fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
            let mut state = self.model.state_with(counters)?;
            if self.failing > 0 {
                self.failing -= 1;
                return Err(Error::new("read the services", ErrorKind::NoReply));
            }
            state.is_uncertain = self.uncertain > 0;
            self.uncertain = self.uncertain.saturating_sub(1);
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
        assert!(matches!(watch.poll(), Some(Observation::Lost(Lost::Unreadable(_)))));
        assert!(watch.poll().is_none());
        assert!(matches!(watch.poll(), Some(Observation::Events(events)) if events.len() == 1));
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
}
