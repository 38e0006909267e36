//! An entry of the journal, and the plan that undoes it.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use ipvs::plan::Options;
use ipvs::{Change, Config, Scope};
use serde::{Deserialize, Serialize};

use super::author::Author;
use super::identity::{Identity, Origin};
use super::{Folder, RuleLines, time_text};
use crate::uptime::uptime;

/// An entry of the journal: one plan, or the changes of one command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The number of the plan, from 1.
    pub(crate) number: u64,
    /// The time at which the plan was started, in the form of RFC 3339.
    pub(crate) time: String,
    /// The command that made the changes: `apply`, `set`, `ipvsadm -C`.
    #[serde(default = "apply")]
    pub(crate) command: String,
    /// The user who ran the command. Absent in entries of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<Author>,
    /// The name of the file with the wanted table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The number of commands that this entry stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repetitions: Option<Repetitions>,
    /// Whether the table from before contains only the services and servers that were changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_partial: bool,
    pub(crate) status: Status,
    /// The services that the plan could change.
    pub(crate) scope: ScopeText,
    pub(crate) changes: RuleLines,
    /// The number of the plan that this one undid. `None` if it was not made by `undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<u64>,
    /// The time limit of a pending plan. `None` if the plan is not pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
    /// The error of a rollback that failed, or the reason for one. `None` if there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The table that was changed. `None` means that it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<Identity>,
    /// Whether it was the first plan after a restart of the machine, and the table was empty. `undo` does not undo it
    /// by default, because it restored the table that the restart had emptied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) first_of_boot: bool,
}

/// Commands of the same kind that changed the same things shortly after each other. They have one entry, with the table
/// from before the first and the changes of the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Repetitions {
    /// The number of commands, from 2.
    pub(crate) count: u64,
    /// The time of the last one, in the form of RFC 3339.
    pub(crate) last: String,
}

fn apply() -> String {
    "apply".to_owned()
}

/// The state of an applied plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Not finished. If no ipvsadm-rs is running, the process was interrupted.
    Started,
    /// All changes were made.
    Applied,
    /// Rolled back at once, because the kernel refused a change.
    RolledBack,
    /// Rolled back, because it was not confirmed in time.
    Expired,
    /// Rolled back by `undo`, or because `apply` was interrupted.
    Undone,
    /// The rollback failed. The table may be between the two states. If the plan is pending, its rollback timer tries
    /// again.
    RollbackFailed,
}

/// The time limit for confirming a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The limit, counted from the last change.
    #[serde(with = "humantime_text")]
    pub(crate) confirm_within: Duration,
    /// The end of the limit in the form of RFC 3339, for people. Absent until all changes have been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<String>,
    /// The same end in seconds since the boot, because the clock of the other one may be set meanwhile. The rollback
    /// timer does not count the time during which the machine was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_uptime: Option<u64>,
}

impl Pending {
    pub(super) fn new(confirm_within: Duration) -> Self {
        Self { confirm_within, deadline: None, deadline_uptime: None }
    }

    /// Returns the time until the deadline. 0 if it has passed, `None` until all changes have been made.
    pub(crate) fn left(&self) -> Option<Duration> {
        let by_uptime = self.deadline_uptime.zip(uptime());
        by_uptime.map(|(deadline, now)| Duration::from_secs(deadline).saturating_sub(now)).or_else(|| {
            let deadline = humantime::parse_rfc3339(self.deadline.as_deref()?).ok()?;
            Some(deadline.duration_since(SystemTime::now()).unwrap_or_default())
        })
    }

    /// Returns the deadline by the clock as it is set now, in the form of RFC 3339.
    pub(crate) fn deadline(&self) -> Option<String> {
        SystemTime::now().checked_add(self.left()?).map(time_text)
    }
}

/// Durations in the form of humantime: `1m 30s`.
mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Entry {
    /// Records that all changes were made, and sets the deadline of a pending plan.
    pub(crate) fn done(&mut self) {
        self.status = Status::Applied;
        if let Some(pending) = &mut self.pending {
            pending.deadline = SystemTime::now().checked_add(pending.confirm_within).map(time_text);
            pending.deadline_uptime =
                uptime().and_then(|now| now.checked_add(pending.confirm_within)).map(|end| end.as_secs());
        }
    }

    /// Records that the plan was rolled back, or that its rollback failed. The plan is then no longer pending.
    pub(crate) fn end(&mut self, status: Status) {
        self.status = status;
        self.pending = None;
        self.error = None;
    }

    /// Returns whether the table still has the changes of this plan, according to the journal. A plan made by `undo` is
    /// never in force.
    pub(crate) fn is_in_force(&self) -> bool {
        matches!(self.status, Status::Started | Status::Applied | Status::RollbackFailed) && self.undoes.is_none()
    }

    /// Returns whether `undo` undoes the plan only if its number is specified.
    pub(crate) fn is_kept(&self) -> bool {
        self.first_of_boot && self.status == Status::Applied && self.pending.is_none()
    }

    /// Returns whether ipvsadm's language cannot express some of the changes.
    pub(crate) fn is_lossy(&self) -> bool {
        self.changes().len() < self.changes.len()
    }

    /// Returns the changes that ipvsadm's language can express.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.changes()
    }
}

/// The limits of a plan, with selectors as text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeText {
    pub(crate) only: Vec<String>,
    pub(crate) protect: Vec<String>,
    pub(crate) listed_only: bool,
}

impl From<&Scope> for ScopeText {
    fn from(scope: &Scope) -> Self {
        let texts = |selectors: &[ipvs::Selector]| selectors.iter().map(ToString::to_string).collect();
        Self { only: texts(&scope.only), protect: texts(&scope.protect), listed_only: scope.listed }
    }
}

impl ScopeText {
    pub(crate) fn to_scope(&self) -> anyhow::Result<Scope> {
        let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        Ok(Scope { only: read(&self.only)?, protect: read(&self.protect)?, ..Scope::default() })
    }
}

/// Returns the table and the options for the plan that undoes an entry and the later ones. Fails for an entry of
/// another table.
pub(crate) fn rollback_plan(folder: &Folder, first: &Entry, later: &[Entry]) -> anyhow::Result<(Config, Options)> {
    match folder.origin(first) {
        Origin::ThisTable => rollback_plan_of_any_table(folder, first, later),
        origin => anyhow::bail!("plan {} {}", first.number, origin.texts().reason),
    }
}

/// Returns the same for an entry of any table.
pub(crate) fn rollback_plan_of_any_table(
    folder: &Folder,
    first: &Entry,
    later: &[Entry],
) -> anyhow::Result<(Config, Options)> {
    let mut config = folder.before(first.number)?;
    let scope = if is_whole(first, later) {
        first.scope.to_scope()?
    } else {
        limited_to_touched(std::iter::once(first).chain(later), &mut config)
    };
    Ok((config, Options::default().scope(scope)))
}

/// Returns whether the undo restores the whole table within the limits of the first plan.
fn is_whole(first: &Entry, later: &[Entry]) -> bool {
    !first.scope.listed_only && later.iter().all(|entry| entry.scope == first.scope)
}

/// Returns a note for each plan of which not everything is undone.
pub(crate) fn inexpressible(first: &Entry, later: &[Entry]) -> Vec<String> {
    let entries = std::iter::once(first).chain(later).filter(|_| !is_whole(first, later));
    let note = |entry: &Entry| {
        format!("note: plan {}: changes that ipvsadm's language cannot express are not undone", entry.number)
    };
    entries.filter(|entry| entry.is_lossy()).map(note).collect()
}

/// Limits the undo to the services that the entries changed, because other programs may have changed other services.
fn limited_to_touched<'e>(entries: impl Iterator<Item = &'e Entry>, config: &mut Config) -> Scope {
    let touched: Vec<Change> = entries.flat_map(Entry::changes).collect();
    let former: HashSet<_> = touched.iter().filter_map(Change::service).collect();
    config.services.retain(|service| former.contains(&service.service.key));
    let any = |which: fn(&Change) -> bool| touched.iter().any(which);
    if !any(|change| matches!(change, Change::SetTimeouts(_))) {
        config.timeouts = None;
    }
    if !any(|change| matches!(change, Change::StartDaemon(_) | Change::StopDaemon(_))) {
        config.daemons = None;
    }
    Scope { listed: true, former, ..Scope::default() }
}
