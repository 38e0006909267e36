//! Applying a revision, and rolling it back.

use std::time::Duration;

use super::{Bad, Follower, Kept, SOON};
use crate::journal::FollowerFile;
use crate::plan::transaction::Refused;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::verbs::follow::apply::{Made, Mode, Outcome};
use crate::verbs::follow::revision::{Revision, RevisionId};
use crate::verbs::follow::rollout::Gate;
use crate::verbs::follow::status::{Applied, Phase};

impl Follower<'_> {
    /// Applies a revision, unless other directors have to apply it first, or it was found bad.
    pub(super) fn attempt(&mut self, revision: Revision, now: Duration) {
        if !self.is_confirmed(&revision) {
            let reason = self.bad.as_ref().filter(|bad| bad.digest == revision.id.digest).map(|bad| bad.reason.clone());
            let gate = self.settings.rollout.gate(&self.settings.host, &revision.id.digest, &self.others, now);
            match (reason, gate) {
                (Some(reason), _) => return self.wait(Phase::Bad, &revision.id, reason, now),
                (None, Gate::Closed(reason)) => return self.wait(Phase::Waiting, &revision.id, reason, now),
                (None, Gate::Bad(reason)) => return self.wait(Phase::Held, &revision.id, reason, now),
                (None, Gate::Open) => {}
            }
        }
        self.apply(revision, now);
    }

    pub(super) fn apply(&mut self, revision: Revision, now: Duration) {
        let id = &revision.id;
        match self.applier.apply(&revision, self.good.as_ref(), self.mode(&revision), now) {
            Err(error) => {
                let reason = match error.downcast_ref::<Refused>() {
                    Some(refused) => format!("{refused}; {}", refused.first),
                    None => format!("{error:#}"),
                };
                if self.status.reason.as_ref() != Some(&reason) {
                    print_error(&format!("error: revision {id} is not applied: {reason}"));
                }
                self.next_attempt = Some(now + self.backoff.failed());
                self.set_phase(Phase::Failed, Some(reason));
            }
            Ok(Outcome::Held(reason, _)) => self.wait(Phase::Held, id, reason, now),
            Ok(Outcome::Differs(difference)) => {
                self.drifted(difference, true);
                self.done(revision, None, now);
            }
            Ok(Outcome::Same) => self.done(revision, None, now),
            Ok(Outcome::Applied(made)) => {
                let number = made.as_plan();
                let Made { plan, difference } = made;
                let changes = count(difference.map_or(0, |difference| difference.changes), "change");
                print_error(&format!("revision {id} is applied{number}: {changes}"));
                self.done(revision, plan, now);
            }
        }
    }

    /// Returns the limits for a revision.
    pub(super) fn mode(&self, revision: &Revision) -> Mode {
        match (self.settings.report_only, self.confirmed.as_ref() == Some(&revision.id.digest)) {
            (true, _) => Mode::ReportOnly,
            (false, true) => Mode::Unbounded,
            (false, false) => Mode::Bounded,
        }
    }

    /// Records the reason for which a revision is not applied yet.
    pub(super) fn wait(&mut self, phase: Phase, id: &RevisionId, reason: String, now: Duration) {
        if phase.is_problem() && (self.status.phase, self.status.reason.as_ref()) != (phase, Some(&reason)) {
            print_error(&format!(
                "warning: revision {id} is {}: {reason}\nRun `ipvsadm-rs confirm` to apply it.",
                phase.name()
            ));
        }
        self.next_attempt = Some(now + SOON);
        self.set_phase(phase, Some(reason));
    }

    /// Returns whether a person confirmed a revision.
    pub(super) fn is_confirmed(&mut self, revision: &Revision) -> bool {
        if self.status.phase.can_be_confirmed() {
            self.confirmed = self.read(FollowerFile::Confirmed);
        }
        self.confirmed.as_ref() == Some(&revision.id.digest)
    }

    /// Records that the table matches a revision.
    fn done(&mut self, revision: Revision, plan: Option<u64>, now: Duration) {
        (self.next_attempt, self.confirmed) = (None, None);
        self.backoff.succeeded();
        self.pace.at_once();
        self.folder.remove_follower(FollowerFile::Confirmed);
        self.next_check = now + self.settings.check;
        self.status.applied = Some(Applied::now(revision.id.clone(), plan));
        let is_good = self.good.as_ref().is_some_and(|good| good.id.digest == revision.id.digest);
        // A person confirmed it although it was found bad.
        let was_bad = self.bad.as_ref().is_some_and(|bad| bad.digest == revision.id.digest);
        self.applied = Some(revision);
        if is_good || was_bad || self.settings.report_only || self.settings.health.good_after.is_zero() {
            self.found_good();
        } else {
            self.start_checks(now);
        }
    }

    /// Records that the applied revision is good.
    pub(super) fn found_good(&mut self) {
        self.checking = None;
        self.bad = None;
        self.folder.remove_follower(FollowerFile::Bad);
        self.set_phase(Phase::Good, None);
        let Some(revision) = &self.applied else { return };
        if self.good.as_ref() != Some(revision) {
            let kept = Kept { source: self.applier.source.clone(), revision: revision.clone() };
            if let Err(error) = self.folder.write_follower(FollowerFile::Good, &kept) {
                print_error(&format!("warning: cannot keep the last good revision: {error:#}"));
            }
        }
        self.good = Some(revision.clone());
    }

    /// Rolls back to the last good revision.
    pub(super) fn found_bad(&mut self, reason: String, now: Duration) {
        self.checking = None;
        let Some(applied) = self.applied.take() else { return };
        let bad = Bad { digest: applied.id.digest.clone(), reason };
        // Before the rollback: after a crash, the revision must not be applied again.
        if let Err(error) = self.folder.write_follower(FollowerFile::Bad, &bad) {
            print_error(&format!("warning: cannot record that revision {} is bad: {error:#}", applied.id));
        }
        let reason = bad.reason.clone();
        self.bad = Some(bad);
        let rolled_back = match self.good.clone() {
            None => Err("there is no good revision to roll back to".to_owned()),
            Some(good) => match self.applier.apply(&good, Some(&applied), Mode::Unbounded, now) {
                Err(error) => Err(format!("it cannot be rolled back: {error:#}")),
                Ok(_) => Ok(good),
            },
        };
        let reason = match rolled_back {
            Ok(good) => {
                print_error(&format!(
                    "error: revision {} is bad and was rolled back to {}: {reason}",
                    applied.id, good.id
                ));
                self.status.applied = Some(Applied::now(good.id.clone(), None));
                self.applied = Some(good);
                reason
            }
            Err(failed) => {
                print_error(&format!("error: revision {} is bad, and {failed}: {reason}", applied.id));
                // It stays in the table, and is kept there until another one is applied.
                self.applied = Some(applied);
                format!("{reason}; {failed}")
            }
        };
        self.set_phase(Phase::Bad, Some(reason));
    }
}
