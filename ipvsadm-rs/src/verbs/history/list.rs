//! The list of the plans in the journal.

use std::collections::HashMap;

use anyhow::bail;
use ipvs::document::SCHEMA;
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::{Entry, Folder, Origin, Phase, Status, TIMER_DIED};
use crate::terminal::plural::count;
use crate::terminal::width::cell;
use crate::terminal::{text, time};

#[derive(Serialize)]
struct List {
    schema: u32,
    plans: Vec<ListedPlan>,
}

/// A plan in the list.
#[derive(Serialize)]
#[serde(untagged)]
enum ListedPlan {
    Entry {
        #[serde(flatten)]
        entry: Box<Entry>,
        origin: Origin,
    },
    Unreadable {
        number: u64,
        error: String,
    },
}

impl ListedPlan {
    /// Returns the plan that this one undid, and the number of this one.
    fn undone(&self) -> Option<(u64, u64)> {
        match self {
            Self::Entry { entry, .. } => Some((entry.undoes?, entry.number)),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Prints a line for each plan, the oldest first.
pub(crate) fn list(context: &Context, folder: &Folder) -> anyhow::Result<u8> {
    let row = |(number, entry): (u64, anyhow::Result<Entry>)| match entry {
        Ok(entry) => ListedPlan::Entry { origin: folder.origin(&entry), entry: Box::new(entry) },
        Err(error) => ListedPlan::Unreadable { number, error: format!("{error:#}") },
    };
    let rows: Vec<ListedPlan> = folder.entries().into_iter().map(row).collect();
    if context.json {
        context.write_json(&List { schema: SCHEMA, plans: rows })?;
        return Ok(code::DONE);
    }
    if rows.is_empty() {
        bail!("the journal is empty");
    }
    let undone_by: HashMap<u64, u64> = rows.iter().filter_map(ListedPlan::undone).collect();
    let title = context.palette().title;
    context.write(|out| {
        let [number, time, user, command, changes, state] = ["PLAN", "TIME", "USER", "COMMAND", "CHANGES", "STATE"];
        writeln!(out, "{title}{number:>4}  {time:<19}  {user:<8}  {command:<15}  {changes:>7}  {state}{title:#}")?;
        for row in &rows {
            match row {
                ListedPlan::Entry { entry, origin } => {
                    writeln!(out, "{}", line(entry, *origin, folder, undone_by.get(&entry.number).copied()))?
                }
                ListedPlan::Unreadable { number, error } => writeln!(out, "{number:>4}  unreadable: {error}")?,
            }
        }
        Ok(())
    })?;
    Ok(code::DONE)
}

/// Returns the line of a plan. Remarks have lines of their own, so that each fits 80 columns.
fn line(entry: &Entry, origin: Origin, folder: &Folder, undone_by: Option<u64>) -> String {
    let Entry { number, time: at, changes, .. } = entry;
    let user = entry.author.as_ref().map_or_else(|| "-".to_owned(), |author| author.name());
    let (user, command) = (cell(&text::escaped(&user), 8), cell(&text::escaped(&command(entry)), 15));
    let remarks: String = remarks(entry, origin, folder).iter().map(|remark| format!("\n        {remark}")).collect();
    let state = state(entry, origin, folder, undone_by);
    format!("{number:>4}  {:<19}  {user}  {command}  {:>7}  {state}{remarks}", time::local(at), changes.len())
}

/// Returns the command of a plan, and the plan that it undid.
pub(super) fn command(entry: &Entry) -> String {
    match entry.undoes {
        Some(undone) => format!("{} {undone}", entry.command),
        None => entry.command.clone(),
    }
}

/// Returns the state of a plan. `undone_by` is the number of the plan that undid it.
pub(super) fn state(entry: &Entry, origin: Origin, folder: &Folder, undone_by: Option<u64>) -> String {
    let Entry { status, pending, .. } = entry;
    let is_of_this_table = origin == Origin::ThisTable;
    let phase = folder.phase(entry);
    match (status, pending) {
        (Status::Started | Status::Applied, _) if !is_of_this_table => origin.texts().status.into(),
        _ if phase == Some(Phase::Draining) => "draining".into(),
        _ if phase == Some(Phase::Pending) => "pending".into(),
        (Status::RollbackFailed, _) => "rollback failed".into(),
        (Status::Started, _) => "interrupted".into(),
        (_, Some(_)) => "not confirmed".into(),
        (Status::Applied, None) => "applied".into(),
        (Status::RolledBack | Status::Expired, _) => "rolled back".into(),
        (Status::Undone, _) => {
            let by = undone_by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!("undone{by}")
        }
    }
}

/// Returns remarks on a plan.
pub(super) fn remarks(entry: &Entry, origin: Origin, folder: &Folder) -> Vec<String> {
    let Entry { status, pending, error, repetitions, .. } = entry;
    let is_of_this_table = origin == Origin::ThisTable;
    let phase = folder.phase(entry);
    let of_status = match (pending, status) {
        (Some(pending), _) if matches!(phase, Some(Phase::Draining | Phase::Pending)) => {
            pending.deadline().map(|deadline| format!("rollback at {}", time::local(&deadline)))
        }
        _ if is_of_this_table && folder.is_unchanged(entry) => Some("nothing was changed".to_owned()),
        (Some(_), _) if is_of_this_table => Some(format!("kept: {TIMER_DIED}")),
        (Some(_), _) => Some("never confirmed".to_owned()),
        (None, Status::RolledBack) => Some("the kernel refused a change".to_owned()),
        (None, Status::Expired) => Some("not confirmed in time".to_owned()),
        (None, _) if is_of_this_table && entry.is_kept() => Some("first after the restart".to_owned()),
        (None, _) => None,
    };
    let repeated = repetitions
        .as_ref()
        .map(|repetitions| format!("{} until {}", count(repetitions.count, "command"), time::local(&repetitions.last)));
    let error = error.as_ref().map(|error| text::escaped(error).into_owned());
    of_status.into_iter().chain(repeated).chain(error).collect()
}
