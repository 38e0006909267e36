//! One applied plan, and the way back from it.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use ipvs::plan::Options;
use ipvs::rules::{Command, Lines, Numeric};
use ipvs::{Change, Config, Scope};
use serde::{Deserialize, Serialize};

use super::{Folder, time_text};
use crate::terminal::exit::print_error;

/// One applied plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) number: u64,
    /// When it was applied.
    pub(crate) time: String,
    /// What has become of it.
    pub(crate) status: Status,
    /// What could be touched.
    pub(crate) scope: ScopeText,
    /// The changes, as ipvsadm's lines.
    pub(crate) changes: Vec<String>,
    /// The entry that this one took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<u64>,
    /// It waits for confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
    /// Why it could not be put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What has become of an applied plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Begun; if it stays so, it was cut off.
    Started,
    /// Carried out.
    Applied,
    /// Taken back at once, because something was refused.
    RolledBack,
    /// Taken back because nobody confirmed it.
    Expired,
    /// Taken back by `undo`.
    Undone,
    /// To be taken back, and that failed: the table may be something in between.
    RollbackFailed,
}

/// How long a plan waits for confirmation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// So long, from the end of its changes on.
    #[serde(with = "humantime_text")]
    pub(crate) confirm_within: Duration,
    /// Until then, for people; absent while its changes are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<String>,
}

impl Pending {
    pub(super) fn new(confirm_within: Duration) -> Self {
        Self { confirm_within, deadline: None }
    }
}

/// A duration as people write it.
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
    /// All changes were made.
    pub(crate) fn done(&mut self) {
        self.status = Status::Applied;
        if let Some(pending) = &mut self.pending {
            pending.deadline = SystemTime::now().checked_add(pending.confirm_within).map(time_text);
        }
    }

    /// It was taken back, or should have been: nothing waits any more.
    pub(crate) fn end(&mut self, status: Status) {
        self.status = status;
        self.pending = None;
        self.error = None;
    }

    /// Whether the table holds what this asked for, as far as the journal knows.
    pub(crate) fn is_in_force(&self) -> bool {
        matches!(self.status, Status::Started | Status::Applied | Status::RollbackFailed) && self.undoes.is_none()
    }

    /// The changes that the language has words for.
    fn changes(&self) -> Vec<Change> {
        let text = self.changes.join("\n");
        let mut numeric = Numeric;
        let lines = Lines::new(text.as_bytes(), &mut numeric);
        lines
            .filter_map(|line| if let Command::Change(change) = line.ok()?.command { Some(change) } else { None })
            .collect()
    }
}

/// A scope in writing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeText {
    only: Vec<String>,
    protect: Vec<String>,
    listed_only: bool,
}

impl From<&Scope> for ScopeText {
    fn from(scope: &Scope) -> Self {
        let texts = |selectors: &[ipvs::Selector]| selectors.iter().map(ToString::to_string).collect();
        Self { only: texts(&scope.only), protect: texts(&scope.protect), listed_only: scope.listed }
    }
}

impl ScopeText {
    fn to_scope(&self) -> anyhow::Result<Scope> {
        let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        Ok(Scope { only: read(&self.only)?, protect: read(&self.protect)?, ..Scope::default() })
    }
}

/// What to plan for to take entries back, the first and those after it, and how.
pub(crate) fn rollback_plan(folder: &Folder, first: &Entry, later: &[Entry]) -> anyhow::Result<(Config, Options)> {
    let mut config = folder.before(first.number)?;
    let is_whole = !first.scope.listed_only && later.iter().all(|entry| entry.scope == first.scope);
    let scope = if is_whole {
        first.scope.to_scope()?
    } else {
        let entries = std::iter::once(first).chain(later);
        limited_to_touched(entries, &mut config)
    };
    Ok((config, Options { scope, ..Options::default() }))
}

/// Others have services, too, and change them: only what was touched is taken back.
fn limited_to_touched<'e>(entries: impl Iterator<Item = &'e Entry>, config: &mut Config) -> Scope {
    let mut touched = Vec::new();
    for entry in entries {
        let changes = entry.changes();
        if changes.len() < entry.changes.len() {
            print_error(&format!(
                "note: plan {}: changes that ipvsadm's language cannot express are not undone",
                entry.number
            ));
        }
        touched.extend(changes);
    }
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
