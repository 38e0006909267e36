//! Changes that others made to the table.

use std::time::Duration;

use super::{Follower, SOON};
use crate::journal::{FollowerFile, now_text};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::verbs::follow::apply::{Difference, Outcome};
use crate::verbs::follow::status::{Drift, Phase};

impl Follower<'_> {
    /// Compares the table with the applied revision, and deletes drained servers.
    pub(super) fn check(&mut self, now: Duration) {
        let drains = self.applier.draining.count() > 0;
        let is_due = !self.settings.check.is_zero() && self.next_check <= now;
        let Some(applied) = self.applied.clone().filter(|_| drains || is_due) else { return };
        // Reads the confirmation.
        self.is_confirmed(&applied);
        let mode = self.mode(&applied);
        self.next_check = now + self.settings.check;
        match self.applier.apply(&applied, Some(&applied), mode, now) {
            Err(error) => print_error(&format!("warning: cannot compare the table with the source: {error:#}")),
            Ok(Outcome::Same) => self.has_no_drift(),
            Ok(Outcome::Differs(difference)) => self.drifted(difference, true),
            Ok(Outcome::Held(reason, difference)) => {
                self.drifted(difference, true);
                self.wait(Phase::Held, &applied.id, reason, now);
                self.next_check = now + SOON;
            }
            Ok(Outcome::Applied(made)) => {
                let number = made.as_plan();
                let Some(difference) = made.difference else { return };
                let Difference { changes, first } = &difference;
                let changes = count(*changes, "change");
                print_error(&format!(
                    "the table differed from revision {}, and was corrected{number}: {changes}, the first is: {first}",
                    applied.id
                ));
                self.drifted(difference, false);
                self.has_no_drift();
            }
        }
    }

    /// Records that the table differs, or did.
    pub(super) fn drifted(&mut self, difference: Difference, remains: bool) {
        let Difference { changes, first } = difference;
        let time = now_text();
        match &mut self.status.drift {
            // The same difference, seen again.
            Some(drift) if drift.remains && remains && (drift.changes, &drift.first) == (changes, &first) => {}
            drift => {
                let times = drift.as_ref().map_or(0, |drift| drift.times) + 1;
                *drift = Some(Drift { times, changes, first, time, remains });
            }
        }
    }

    /// Records that the table matches the applied revision.
    fn has_no_drift(&mut self) {
        if let Some(drift) = &mut self.status.drift {
            drift.remains = false;
        }
        if self.status.phase == Phase::Held {
            self.confirmed = None;
            self.folder.remove_follower(FollowerFile::Confirmed);
            self.set_phase(Phase::Good, None);
        }
    }
}
