//! The health checks of a revision that was applied.

use std::time::Duration;

use ipvs::{Counters, State};

use super::Follower;
use crate::terminal::exit::print_error;
use crate::verbs::follow::health::{self, Checking};
use crate::verbs::follow::status::Phase;

impl Follower<'_> {
    pub(super) fn start_checks(&mut self, now: Duration) {
        let busy = self.counters().map(|state| self.past.busy(&state)).unwrap_or_default();
        self.checking = Some(Checking::new(now, busy));
        self.set_phase(Phase::Checking, None);
    }

    /// Reads the table with its counters. `None`: it cannot be read. The next comparison reports the reason.
    fn counters(&self) -> Option<State> {
        self.applier.context.open().ok()?.state_with(Counters::Read).ok()
    }

    /// Runs the checks that are due.
    pub(super) fn check_health(&mut self, now: Duration) {
        let good_after = self.settings.health.good_after;
        if good_after >= health::SILENCE
            && self.past.is_due(now)
            && self.checking.is_none()
            && let Some(state) = self.counters()
        {
            self.past.record(&state, now);
        }
        let Some(checking) = &mut self.checking else { return };
        if let Some(check) = &self.settings.health.health
            && !checking.is_running
            && checking.next <= now
        {
            checking.is_running = true;
            checking.next = now + self.settings.health.health_interval;
            let revision = self.applied.as_ref().map(|applied| applied.id.revision.clone()).unwrap_or_default();
            health::check(check, &self.settings.store, &revision, self.events.clone());
        }
        if now < checking.since + good_after || checking.is_running || checking.is_failing() {
            return;
        }
        let silent = self.counters().and_then(|state| self.checking.as_ref()?.silent(&state, now));
        match silent {
            Some(reason) => self.found_bad(reason, now),
            None => {
                if let Some(applied) = &self.applied {
                    print_error(&format!("revision {} is good", applied.id));
                }
                self.found_good();
            }
        }
    }

    /// Records a result of the health command.
    pub(super) fn record_health(&mut self, result: Result<(), String>, now: Duration) {
        let bad = self.checking.as_mut().and_then(|checking| checking.record(result));
        if let Some(reason) = bad {
            self.found_bad(reason, now);
        }
    }
}
