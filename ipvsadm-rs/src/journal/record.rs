//! Entries that are written after the changes were made: those of `set`, and of ipvsadm and ipvsadm-restore.
//!
//! These commands must be fast, and must work without a journal. So nothing is on disk before the first change, and the
//! command does not wait until the entry is on disk. If the machine crashes meanwhile, the table is lost, too.

use std::collections::HashSet;
use std::time::Duration;

use ipvs::{Change, Config, DestinationKey, ServiceConfig, ServiceKey, State};
use serde::Deserialize;

use super::entry::{Entry, Repetitions, Status};
use super::folder::{ENTRY, name};
use super::{Folder, Journal, MAX_ENTRIES, both_lines, lines, now_text};

/// The time in which commands of the same kind, for the same things, get one entry.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// The maximum number of entries that are searched for one of the same kind.
const SEARCHED: usize = 16;

/// Entries that can be in the journal beyond the maximum, so that not every command looks for old ones.
const SLACK: usize = 16;

/// Changes that were made.
pub(crate) struct Record<'r> {
    /// The command that made them.
    pub(crate) command: &'r str,
    pub(crate) changes: &'r [Change],
    /// The table from before.
    pub(crate) before: &'r Config,
    /// Whether `before` contains only the services and servers that were changed.
    pub(crate) is_partial: bool,
}

/// Returns the part of a table that changes are about: the services, and of their servers only those that are changed. If
/// a service is deleted, the part has all its servers.
pub(crate) fn changed_part(table: &State, changes: &[Change]) -> Config {
    let mut part = Config { timeouts: None, daemons: None, ..Config::default() };
    // The usual case of a restore.
    if table.services.is_empty() {
        return part;
    }
    let touched = Touched::of(changes);
    let services: HashSet<ServiceKey> = changes.iter().filter_map(Change::service).collect();
    let deletion = |change: &Change| if let Change::DeleteService(key) = change { Some(*key) } else { None };
    let deleted: HashSet<ServiceKey> = changes.iter().filter_map(deletion).collect();
    for state in table.services.iter().filter(|state| services.contains(&state.service.key)) {
        let key = state.service.key;
        let mut service = ServiceConfig::from(state);
        if !deleted.contains(&key) {
            service.destinations.retain(|server| touched.0.contains(&(key, Some(server.key))));
        }
        part.services.push(service);
    }
    part
}

impl Journal {
    /// Writes an entry, or adds the changes to an earlier one of the same kind. Returns the number of a new entry.
    pub(crate) fn record(&self, record: &Record<'_>) -> anyhow::Result<Option<u64>> {
        self.ensure_same_namespace()?;
        let directory = self.directory()?;
        if let Some(mut entry) = self.same_kind(record) {
            let count = entry.repetitions.map_or(1, |repetitions| repetitions.count);
            entry.repetitions = Some(Repetitions { count: count.saturating_add(1), last: now_text() });
            entry.changes = record.changes.iter().collect();
            let bytes = lines(&entry, &self.second_line(entry.number)?)?;
            directory.replace_unsynced(name(entry.number, ENTRY), &bytes)?;
            return Ok(None);
        }
        if self.numbers().len() >= MAX_ENTRIES + SLACK {
            self.prune(directory);
        }
        let first_of_boot = !record.is_partial && record.before.services.is_empty() && self.is_first_of_boot();
        let is_partial = record.is_partial;
        let entry =
            Entry { is_partial, first_of_boot, ..self.new_entry(record.command, record.changes.iter().collect())? };
        directory.replace_unsynced(name(entry.number, ENTRY), &both_lines(&entry, record.before)?)?;
        self.set_begun(entry.number);
        Ok(Some(entry.number))
    }

    /// Returns the entry to which the changes of a health checker are added. It was made within the window, for the
    /// same services and servers, and no later entry changed them.
    fn same_kind(&self, record: &Record<'_>) -> Option<Entry> {
        if record.command != "set" {
            return None;
        }
        let wanted = Touched::of(record.changes);
        for number in self.numbers().into_iter().rev().take(SEARCHED) {
            let entry = self.read(number).ok()?;
            let touched = Touched::of(&entry.changes());
            let is_recent = humantime::parse_rfc3339(&entry.time)
                .is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed < WINDOW));
            let is_same = entry.command == record.command
                && entry.status == Status::Applied
                && self.is_of_this_table(&entry)
                && !entry.is_lossy()
                && touched == wanted;
            if !is_recent {
                return None;
            }
            if is_same {
                return Some(entry);
            }
            if entry.command != record.command || !touched.is_apart_from(&wanted) {
                return None;
            }
        }
        None
    }
}

/// The services and servers that changes touch.
#[derive(Debug, Default, PartialEq)]
struct Touched(HashSet<(ServiceKey, Option<DestinationKey>)>);

impl Touched {
    fn of(changes: &[Change]) -> Self {
        Self(changes.iter().filter_map(|change| Some((change.service()?, change.destination()))).collect())
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }
}

/// The command of an entry, without its other values, which can be long.
#[derive(Deserialize)]
struct CommandOnly {
    #[serde(default)]
    command: String,
}

impl Folder {
    /// Returns whether the command of an entry is one that programs run, not people.
    pub(super) fn is_minor(&self, number: u64) -> bool {
        let line = self.first_line(number).ok();
        let entry: Option<CommandOnly> = line.and_then(|line| serde_json::from_slice(&line).ok());
        entry.is_some_and(|entry| matches!(entry.command.as_str(), "set" | "ipvsadm -R" | "follow"))
    }

    /// Returns the plan that undid this one. `None` if it was not undone, or if that plan is no longer in the journal.
    pub(crate) fn undone_by(&self, number: u64) -> Option<u64> {
        let entries = self.numbers().into_iter().rev().filter_map(|number| self.read(number).ok());
        entries.into_iter().find(|entry| entry.undoes == Some(number)).map(|entry| entry.number)
    }
}
