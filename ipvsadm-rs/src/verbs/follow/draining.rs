//! The time limits of servers that are drained before they are deleted.

use std::collections::HashMap;
use std::time::Duration;

use ipvs::{Change, DestinationKey, Plan, ServiceKey};

/// The servers that are being drained, each with the time of its first plan.
///
/// Nothing waits for them. Each later plan deletes those that have no connections, and those whose limit is reached.
#[derive(Clone, Debug)]
pub(super) struct Draining {
    since: HashMap<(ServiceKey, DestinationKey), Duration>,
    /// The time limit. `None`: a server is drained until it has no connections.
    limit: Option<Duration>,
}

impl Draining {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { since: HashMap::new(), limit }
    }

    /// Adds the deletion of servers whose limit is reached to a plan. The weight of these servers is 0 already.
    pub(super) fn complete(&mut self, plan: &mut Plan, now: Duration) {
        let former = std::mem::take(&mut self.since);
        let since = |server: &(ServiceKey, DestinationKey)| former.get(server).copied().unwrap_or(now);
        let started = plan.draining.iter().map(|server| (*server, since(server)));
        let limit = self.limit;
        let (over, draining): (Vec<_>, Vec<_>) =
            started.partition(|(_, since)| limit.is_some_and(|limit| *since + limit <= now));
        plan.changes.extend(over.iter().map(|((service, server), _)| Change::DeleteDestination(*service, *server)));
        plan.draining = draining.iter().map(|(server, _)| *server).collect();
        self.since = draining.into_iter().collect();
    }

    /// Returns whether a change only completes a drain: it deletes servers that were drained.
    pub(super) fn is_completed_by(&self, change: &Change) -> bool {
        match change {
            Change::DeleteDestination(service, server) => self.since.contains_key(&(*service, *server)),
            Change::DeleteService(service) => self.since.keys().any(|(key, _)| key == service),
            _ => false,
        }
    }

    /// Returns the number of servers.
    pub(super) fn count(&self) -> usize {
        self.since.len()
    }
}

#[cfg(test)]
mod tests {
    use ipvs::plan::{Departing, Options};

    use super::*;
    use crate::plan::testing::{config, state};

    #[test]
    fn servers_are_deleted_at_their_limit() {
        let second = Duration::from_secs(1);
        let mut draining = Draining::new(Some(10 * second));
        let one = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 1\n";
        let mut now = state(&format!("{one}-a -t 192.0.2.1:80 -r 10.0.0.2 -m -w 0\n"));
        // The newest server is the first one.
        now.services[0].destinations[0].active_connections = 1;
        let options = Options::default().departing(Departing::DrainThenDelete);
        let mut plan_at = |time: u32| {
            let mut plan = ipvs::plan(&config(one), &now, &options);
            draining.complete(&mut plan, time * second);
            (plan.changes.len(), draining.count())
        };
        assert_eq!(plan_at(100), (0, 1));
        assert_eq!(plan_at(109), (0, 1));
        assert_eq!(plan_at(110), (1, 0));
    }
}
