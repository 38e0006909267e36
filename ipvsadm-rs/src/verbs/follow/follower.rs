//! The loop of `follow`: events and the time → changes of the table.

mod applying;
mod checks;
mod drift;

use std::sync::mpsc::Sender;
use std::time::Duration;

use ipvs::document::SCHEMA;
use serde::{Deserialize, Serialize};

use super::apply::Applier;
use super::health::{Checking, HealthArguments, Past};
use super::pace::Pace;
use super::report::{Report, Reporter};
use super::revision::{Digest, Invalid, Reader, Revision};
use super::rollout::{Rollout, Seen};
use super::status::{Phase, Status};
use crate::journal::{Folder, FollowerFile, now_text};
use crate::store::{Backoff, Snapshot, StoreArguments};
use crate::terminal::exit::print_error;

/// The time between two looks at servers that are drained, and at confirmations.
const SOON: Duration = Duration::from_secs(1);

/// An event from outside.
pub(super) enum Event {
    /// The documents changed, or were read for the first time.
    Read(Snapshot),
    /// The source could not be read.
    Unreadable(String),
    /// The reports of all directors.
    Reports(Vec<Report>),
    /// A report could not be written, or those of the others could not be read.
    ReportFailed(String),
    /// The result of the health command.
    Health(Result<(), String>),
    /// The table is to be compared now.
    CheckNow,
    /// The process is to end.
    End,
}

/// The settings of a follower.
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) report_only: bool,
    /// The time between two comparisons of the table with the applied revision. 0: never.
    pub(super) check: Duration,
    /// The time for which a start waits for the source, before it applies the last good revision.
    pub(super) start_within: Duration,
    pub(super) rollout: Rollout,
    pub(super) health: HealthArguments,
    /// For checks of the health by URL, without secrets.
    pub(super) store: StoreArguments,
}

/// The last good revision, as it is kept on the disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    source: String,
    #[serde(flatten)]
    revision: Revision,
}

/// A revision that was found bad, as it is kept on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bad {
    digest: Digest,
    reason: String,
}

/// Follows a source.
pub(super) struct Follower<'c> {
    settings: Settings,
    applier: Applier<'c>,
    reader: Reader,
    folder: Folder,
    pace: Pace,
    reporter: Option<Reporter>,
    events: Sender<Event>,
    /// The last valid revision of the source.
    wanted: Option<Revision>,
    /// The revision that the table was last changed to.
    applied: Option<Revision>,
    /// The last revision that was found good.
    good: Option<Revision>,
    bad: Option<Bad>,
    /// The revision that a person confirmed.
    confirmed: Option<Digest>,
    /// The health checks of the applied revision. `None`: they have ended.
    checking: Option<Checking>,
    past: Past,
    others: Seen,
    backoff: Backoff,
    /// The time of the next attempt, after a failed one.
    next_attempt: Option<Duration>,
    next_check: Duration,
    started: Duration,
    status: Status,
    /// The state that was written last.
    written: Option<Status>,
}

impl<'c> Follower<'c> {
    pub(super) fn new(
        settings: Settings,
        applier: Applier<'c>,
        reader: Reader,
        folder: Folder,
        pace: Pace,
        (reporter, events): (Option<Reporter>, Sender<Event>),
        now: Duration,
    ) -> Self {
        let status = Status {
            schema: SCHEMA,
            host: settings.host.clone(),
            source: applier.source.clone(),
            time: now_text(),
            phase: Phase::Starting,
            reason: None,
            wanted: None,
            applied: None,
            drift: None,
            draining: 0,
            drained: 0,
            store_error: None,
            report_error: None,
        };
        let backoff = Backoff::new(&settings.host);
        let mut follower = Self {
            settings,
            applier,
            reader,
            folder,
            pace,
            reporter,
            events,
            wanted: None,
            applied: None,
            good: None,
            bad: None,
            confirmed: None,
            checking: None,
            past: Past::default(),
            others: Seen::default(),
            backoff,
            next_attempt: None,
            next_check: now,
            started: now,
            status,
            written: None,
        };
        follower.good = follower.read_kept();
        follower.bad = follower.read(FollowerFile::Bad);
        follower
    }

    /// Reads the last good revision. One of another source is not used.
    fn read_kept(&self) -> Option<Revision> {
        let kept: Kept = self.read(FollowerFile::Good)?;
        if kept.source != self.applier.source {
            print_error(&format!("note: the last good revision is of another source, {}: not used", kept.source));
            return None;
        }
        Some(kept.revision)
    }

    /// Reads a file of an earlier process, or of `confirm`.
    fn read<T: serde::de::DeserializeOwned>(&self, file: FollowerFile) -> Option<T> {
        self.folder.read_follower(file).unwrap_or_else(|error| {
            print_error(&format!("warning: {error:#}"));
            None
        })
    }

    /// Records an event.
    pub(super) fn record(&mut self, event: Event, now: Duration) {
        match event {
            Event::Read(snapshot) => {
                self.status.store_error = None;
                match self.reader.read(&snapshot) {
                    Ok(revision) => self.want(revision, now),
                    Err(invalid) => self.refuse(invalid),
                }
            }
            Event::Unreadable(error) => {
                if self.status.store_error.as_ref() != Some(&error) {
                    print_error(&format!("warning: cannot read the source: {error}"));
                }
                self.status.store_error = Some(error);
            }
            Event::Reports(reports) => {
                self.status.report_error = None;
                self.others.record(reports, now);
            }
            Event::ReportFailed(error) => {
                print_error(&format!("warning: reports: {error}"));
                self.status.report_error = Some(error);
            }
            Event::Health(result) => self.record_health(result, now),
            Event::CheckNow => self.next_check = now,
            Event::End => {}
        }
    }

    fn want(&mut self, revision: Revision, now: Duration) {
        let is_new = self.wanted.as_ref().is_none_or(|wanted| wanted.id.digest != revision.id.digest);
        self.status.wanted = Some(revision.id.clone());
        let is_first = self.wanted.is_none();
        self.wanted = Some(revision);
        // The same contents again: only the number is newer, or there was an invalid revision in between.
        if is_new || self.status.phase == Phase::Invalid {
            self.next_attempt = None;
            if is_first {
                self.pace.at_once();
            } else {
                self.pace.changed(now);
            }
            let is_applied = self.pending().is_none();
            self.set_phase(if is_applied { Phase::Good } else { Phase::Quiet }, None);
        }
    }

    /// Keeps the table, because the new revision is not valid.
    fn refuse(&mut self, invalid: Invalid) {
        let Invalid { id, reason } = invalid;
        if self.status.wanted.as_ref() != Some(&id) {
            print_error(&format!("error: revision {id} is not applied: {reason}"));
        }
        self.status.wanted = Some(id);
        self.set_phase(Phase::Invalid, Some(reason));
    }

    fn set_phase(&mut self, phase: Phase, reason: Option<String>) {
        if (self.status.phase, &self.status.reason) != (phase, &reason) {
            self.status.time = now_text();
        }
        (self.status.phase, self.status.reason) = (phase, reason);
    }

    /// Does what is due now. Returns the time until the next step.
    pub(super) fn step(&mut self, now: Duration) -> Duration {
        self.use_last_good(now);
        match self.pending() {
            // An invalid revision stops an earlier one that waits.
            Some(_) if self.status.phase == Phase::Invalid => self.check(now),
            Some(revision) if self.pace.is_due(now) && self.next_attempt.is_none_or(|at| at <= now) => {
                self.attempt(revision, now);
            }
            Some(_) => {}
            None => self.check(now),
        }
        self.check_health(now);
        self.write_status();
        self.until_next(now)
    }

    /// Applies the last good revision, if the source could not be read in time.
    fn use_last_good(&mut self, now: Duration) {
        let is_late = self.status.store_error.is_some() || now >= self.started + self.settings.start_within;
        if self.wanted.is_none()
            && self.applied.is_none()
            && is_late
            && self.next_attempt.is_none_or(|at| at <= now)
            && let Some(good) = self.good.clone()
        {
            print_error(&format!("warning: using the last good revision, {}", good.id));
            self.apply(good, now);
        }
    }

    /// Returns the revision that is to be applied.
    fn pending(&self) -> Option<Revision> {
        let wanted = self.wanted.as_ref()?;
        let is_applied = self.applied.as_ref().is_some_and(|applied| applied.id.digest == wanted.id.digest);
        (!is_applied).then(|| wanted.clone())
    }

    fn write_status(&mut self) {
        self.status.draining = self.applier.draining.count();
        self.status.drained = self.applier.kept_drained;
        if self.written.as_ref() == Some(&self.status) {
            return;
        }
        match self.folder.write_follower(FollowerFile::Status, &self.status) {
            Ok(()) => self.written = Some(self.status.clone()),
            Err(error) => print_error(&format!("warning: cannot write the state: {error:#}")),
        }
        if let Some(reporter) = &self.reporter {
            reporter.write(self.status.clone(), self.applier.rules());
        }
    }

    /// Returns the time until the next step.
    fn until_next(&self, now: Duration) -> Duration {
        let pending = self.pending().is_some();
        let checks = !self.settings.check.is_zero() && self.applied.is_some();
        let times = [
            self.pace.due().filter(|_| pending),
            self.next_attempt.filter(|_| pending),
            (self.applier.draining.count() > 0 || self.checking.is_some()).then(|| now + SOON),
            checks.then_some(self.next_check),
            (self.wanted.is_none() && self.applied.is_none()).then(|| self.started + self.settings.start_within),
        ];
        let next = times.into_iter().flatten().filter(|time| *time > now).min();
        next.map_or(SOON * 20, |next| (next - now).min(SOON * 20))
    }
}
