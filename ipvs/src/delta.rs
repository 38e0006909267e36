//! The difference of two readings: events, and increases of counters.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::key::ServiceKey;
use crate::service::Service;
use crate::state::{DestinationState, ServiceState, State};
use crate::stats::Stats;
use crate::timeouts::Timeouts;

/// A difference between two readings of a table. Returned by [`State::events_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The connection timeouts were changed.
    TimeoutsChanged {
        /// The earlier timeouts.
        old: Timeouts,
        /// The later timeouts.
        new: Timeouts,
    },
    /// A sync daemon was stopped. A daemon that was restarted with other settings was stopped and started.
    DaemonStopped(SyncDaemon),
    /// A sync daemon was started.
    DaemonStarted(SyncDaemon),
    /// A service was added.
    ServiceAdded(Service),
    /// Settings of a service were changed.
    ServiceEdited {
        /// The earlier settings.
        old: Service,
        /// The later settings.
        new: Service,
    },
    /// A service was deleted. Its destinations have events of their own, before this one.
    ServiceDeleted(Service),
    /// A destination was added.
    DestinationAdded(ServiceKey, Destination),
    /// Settings of a destination were changed.
    DestinationEdited {
        /// The service of the destination.
        service: ServiceKey,
        /// The earlier settings.
        old: Destination,
        /// The later settings.
        new: Destination,
    },
    /// A destination was deleted.
    DestinationDeleted(ServiceKey, Destination),
}

impl Event {
    /// Returns the key of the service, or `None` if the event does not concern a single service.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::ServiceAdded(service) | Self::ServiceEdited { new: service, .. } | Self::ServiceDeleted(service) => {
                Some(service.key)
            }
            Self::DestinationAdded(key, _)
            | Self::DestinationEdited { service: key, .. }
            | Self::DestinationDeleted(key, _) => Some(*key),
            Self::TimeoutsChanged { .. } | Self::DaemonStopped(_) | Self::DaemonStarted(_) => None,
        }
    }
}

/// Prints the event in English, with settings as options of ipvsadm:
/// `edited server of TCP 192.0.2.1:80: -r 10.0.0.1:80 -m -w 0, before: -r 10.0.0.1:80 -m -w 1`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeoutsChanged { old, new } => {
                let [old, new] = [old, new].map(|timeouts| Change::SetTimeouts(*timeouts));
                write!(f, "changed timeouts: {new}, before: {old}")
            }
            Self::DaemonStopped(daemon) => write!(f, "stopped the {} sync daemon", daemon.role),
            Self::DaemonStarted(daemon) => {
                write!(f, "started the {} sync daemon: {}", daemon.role, Change::StartDaemon(*daemon))
            }
            Self::ServiceAdded(service) => write!(f, "added service {}: {service}", service.key),
            Self::ServiceEdited { old, new } => write!(f, "edited service {}: {new}, before: {old}", new.key),
            Self::ServiceDeleted(service) => write!(f, "deleted service {}: {service}", service.key),
            Self::DestinationAdded(service, server) => write!(f, "added server of {service}: {server}"),
            Self::DestinationEdited { service, old, new } => {
                write!(f, "edited server of {service}: {new}, before: {old}")
            }
            Self::DestinationDeleted(service, server) => write!(f, "deleted server of {service}: {server}"),
        }
    }
}

impl State {
    /// Returns the events that turn the table `earlier` into this one, sorted by service. Counters, connections and the
    /// order of destinations make no event.
    ///
    /// Two readings do not show everything: an item that was deleted and added again in the meantime makes no event.
    pub fn events_since(&self, earlier: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        if earlier.timeouts != self.timeouts {
            events.push(Event::TimeoutsChanged { old: earlier.timeouts, new: self.timeouts });
        }
        let stopped = earlier.daemons.iter().filter(|daemon| !self.daemons.contains(daemon));
        events.extend(stopped.map(|daemon| Event::DaemonStopped(*daemon)));
        let started = self.daemons.iter().filter(|daemon| !earlier.daemons.contains(daemon));
        events.extend(started.map(|daemon| Event::DaemonStarted(*daemon)));
        // The usual case: nothing has changed, not even the kernel's order.
        if have_same_settings(&earlier.services, &self.services) {
            return events;
        }
        let start = events.len();
        let mut before = by_key(&earlier.services, |state| state.service.key);
        for state in &self.services {
            match before.remove(&state.service.key) {
                None => add_service(state, &mut events),
                Some(old) => compare_services(old, state, &mut events),
            }
        }
        before.into_values().for_each(|state| delete_service(state, &mut events));
        // Stable, so that events of a service keep their order.
        events[start..].sort_by_key(Event::service);
        events
    }
}

pub(crate) fn have_same_settings(old: &[ServiceState], new: &[ServiceState]) -> bool {
    let is_same_server = |(old, new): (&DestinationState, &DestinationState)| old.destination == new.destination;
    let is_same = |(old, new): (&ServiceState, &ServiceState)| {
        old.service == new.service
            && old.destinations.len() == new.destinations.len()
            && old.destinations.iter().zip(&new.destinations).all(is_same_server)
    };
    old.len() == new.len() && old.iter().zip(new).all(is_same)
}

fn by_key<T, K: Eq + Hash>(items: &[T], key: impl Fn(&T) -> K) -> HashMap<K, &T> {
    items.iter().map(|item| (key(item), item)).collect()
}

fn add_service(state: &ServiceState, events: &mut Vec<Event>) {
    events.push(Event::ServiceAdded(state.service));
    let added = |server: &DestinationState| Event::DestinationAdded(state.service.key, server.destination);
    // The oldest first, as they were added.
    events.extend(state.destinations.iter().rev().map(added));
}

fn delete_service(state: &ServiceState, events: &mut Vec<Event>) {
    let deleted = |server: &DestinationState| Event::DestinationDeleted(state.service.key, server.destination);
    events.extend(state.destinations.iter().rev().map(deleted));
    events.push(Event::ServiceDeleted(state.service));
}

fn compare_services(old: &ServiceState, new: &ServiceState, events: &mut Vec<Event>) {
    let service = new.service.key;
    if old.service != new.service {
        events.push(Event::ServiceEdited { old: old.service, new: new.service });
    }
    let mut before = by_key(&old.destinations, |state| state.destination.key);
    for state in new.destinations.iter().rev() {
        let new = state.destination;
        match before.remove(&new.key).map(|state| state.destination) {
            None => events.push(Event::DestinationAdded(service, new)),
            Some(old) if old != new => events.push(Event::DestinationEdited { service, old, new }),
            Some(_) => {}
        }
    }
    let deleted = old.destinations.iter().rev().filter(|state| before.contains_key(&state.destination.key));
    events.extend(deleted.map(|state| Event::DestinationDeleted(service, state.destination)));
}

/// The increase of counters between two readings. Returned by [`Stats::since`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Increase {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients that passed through the director.
    pub outgoing_packets: u64,
    /// Bytes from clients.
    pub incoming_bytes: u64,
    /// Bytes to clients that passed through the director.
    pub outgoing_bytes: u64,
    /// Whether the counters were reset between the readings: by [`Change::Zero`](crate::Change::Zero), or because the
    /// item was deleted and added again. The increase then begins at the reset. It lacks what was counted before it.
    pub was_reset: bool,
}

impl Stats {
    /// Returns the increase of the counters since an earlier reading of the same service or destination.
    ///
    /// A reset is seen if a counter is smaller than before.
    pub fn since(&self, earlier: &Self) -> Increase {
        let counters = |stats: &Self| {
            [
                stats.connections,
                stats.incoming_packets,
                stats.outgoing_packets,
                stats.incoming_bytes,
                stats.outgoing_bytes,
            ]
        };
        let (new, old) = (counters(self), counters(earlier));
        let was_reset = new.iter().zip(old).any(|(new, old)| *new < old);
        let base = if was_reset { [0; 5] } else { old };
        let mut increase = new.iter().zip(base).map(|(new, old)| new - old);
        let mut next = || increase.next().unwrap_or_default();
        Increase {
            connections: next(),
            incoming_packets: next(),
            outgoing_packets: next(),
            incoming_bytes: next(),
            outgoing_bytes: next(),
            was_reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Numeric, read_config};
    use crate::{Director, Model, apply, plan};

    fn table(rules: &str) -> State {
        let mut director = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        director.state().expect("a model")
    }

    const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n\
        -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n\
        -a -t 192.0.2.1:80 -r 10.0.0.2 -m\n";

    #[test]
    fn same_tables_have_no_events() {
        let state = table(WEB);
        let mut later = state.clone();
        later.services[0].destinations[0].active_connections = 7;
        later.services[0].stats.connections = 9;
        assert_eq!(later.events_since(&state), []);
        later.services[0].destinations.reverse();
        assert_eq!(later.events_since(&state), [], "the order has no meaning");
    }

    #[test]
    fn events_are_sorted_by_service() {
        let old = table(&format!("{WEB}-A -f 7 -s rr\n-a -f 7 -r 10.0.0.9 -g\n"));
        let new = table(
            "-A -t 192.0.2.1:80 -s wrr\n\
            -a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n\
            -a -t 192.0.2.1:80 -r 10.0.0.3 -m\n\
            -A -u 192.0.2.1:53 -s rr\n\
            -a -u 192.0.2.1:53 -r 10.0.0.1 -m\n\
            --set 1 2 3\n",
        );
        let events = new.events_since(&old);
        let kinds: Vec<&str> = events
            .iter()
            .map(|event| match event {
                Event::TimeoutsChanged { .. } => "timeouts",
                Event::DaemonStopped(_) => "stopped",
                Event::DaemonStarted(_) => "started",
                Event::ServiceAdded(_) => "service added",
                Event::ServiceEdited { .. } => "service edited",
                Event::ServiceDeleted(_) => "service deleted",
                Event::DestinationAdded(..) => "added",
                Event::DestinationEdited { .. } => "edited",
                Event::DestinationDeleted(..) => "deleted",
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "timeouts",
                "service edited",
                "edited",
                "added",
                "deleted",
                "service added",
                "added",
                "deleted",
                "service deleted"
            ]
        );
        assert!(matches!(events[2], Event::DestinationEdited { old, new, .. } if (old.weight, new.weight) == (1, 3)));
    }

    #[test]
    fn events_are_printed_with_their_settings() {
        let old = table(&format!("{WEB}-A -f 7 -s rr\n"));
        let mut new = table("-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n--set 1 2 3\n");
        new.daemons = vec![SyncDaemon::new(crate::Role::Backup, "eth0".parse().expect("a name"), 1)];
        let mut lines: Vec<String> = new.events_since(&old).iter().map(Event::to_string).collect();
        lines.extend(old.events_since(&new).iter().map(Event::to_string).filter(|line| !line.starts_with("edited")));
        assert_eq!(
            lines,
            [
                "changed timeouts: --set 1 2 3, before: --set 900 120 300",
                "started the backup sync daemon: --start-daemon backup --mcast-interface eth0 --syncid 1",
                "edited service TCP 192.0.2.1:80: -A -t 192.0.2.1:80 -s wrr, before: -A -t 192.0.2.1:80 -s rr",
                "edited server of TCP 192.0.2.1:80: -r 10.0.0.1:80 -m -w 3, before: -r 10.0.0.1:80 -m -w 1",
                "deleted server of TCP 192.0.2.1:80: -r 10.0.0.2:80 -m -w 1",
                "deleted service FWM 7: -A -f 7 -s rr",
                "changed timeouts: --set 900 120 300, before: --set 1 2 3",
                "stopped the backup sync daemon",
                "added server of TCP 192.0.2.1:80: -r 10.0.0.2:80 -m -w 1",
                "added service FWM 7: -A -f 7 -s rr",
            ]
        );
    }

    #[test]
    fn restarted_daemon_is_stopped_and_started() {
        let daemon = |id| SyncDaemon::new(crate::Role::Backup, "eth0".parse().expect("a name"), id);
        let with = |id| State { daemons: vec![daemon(id)], ..State::default() };
        let events = with(2).events_since(&with(1));
        assert_eq!(events, [Event::DaemonStopped(daemon(1)), Event::DaemonStarted(daemon(2))]);
    }

    #[test]
    fn increases_are_never_negative() {
        let stats = |connections, incoming_bytes| Stats { connections, incoming_bytes, ..Stats::default() };
        let increase = stats(5, 1 << 40).since(&stats(2, 1));
        assert_eq!((increase.connections, increase.incoming_bytes, increase.was_reset), (3, (1 << 40) - 1, false));
        let reset = stats(1, 100).since(&stats(2, 1));
        assert_eq!((reset.connections, reset.incoming_bytes, reset.was_reset), (1, 100, true));
        assert_eq!(stats(2, 1).since(&stats(2, 1)), Increase::default());
    }
}
