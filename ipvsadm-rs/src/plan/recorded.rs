//! Changes that are recorded after they were made, in the services and servers that they touch.

use ipvs::{Change, Client, Plan, Refused, State};

use crate::journal::{Record, audit, changed_part};
use crate::plan::transaction::Transaction;

/// Makes changes, and records them. Fails if the kernel refuses one. Returns a note if they could not be recorded.
pub(crate) fn submit(
    director: &mut Client,
    transaction: &Transaction,
    command: &str,
    plan: &Plan,
    before: &State,
) -> anyhow::Result<Option<String>> {
    if plan.is_empty() {
        return Ok(None);
    }
    let refused = director.submit(&plan.changes)?;
    let note = record_made(transaction, command, plan, &refused, before);
    refused.into_result()?;
    Ok(note)
}

/// Records the changes that were not refused. Returns a note if that fails.
pub(crate) fn record_made(
    transaction: &Transaction,
    command: &str,
    plan: &Plan,
    refused: &Refused,
    before: &State,
) -> Option<String> {
    let refused: Vec<usize> = refused.iter().map(|(index, _)| *index).collect();
    let made = plan.changes.iter().enumerate().filter(|(index, _)| !refused.contains(index));
    record(transaction, command, &made.map(|(_, change)| *change).collect::<Vec<_>>(), before)
}

/// Records changes. Returns a note if that fails, or if there is no journal.
pub(crate) fn record(transaction: &Transaction, command: &str, made: &[Change], before: &State) -> Option<String> {
    if made.is_empty() {
        return None;
    }
    let unrecorded = |error: &anyhow::Error| Some(format!("note: this change cannot be undone: {error:#}"));
    let journal = match transaction.opened() {
        Ok(journal) => journal,
        Err(error) => return unrecorded(error),
    };
    let before = changed_part(before, made);
    match journal.record(&Record { command, changes: made, before: &before, is_partial: true }) {
        Ok(Some(number)) => audit::log(Some(number), command, None, made.len(), "applied"),
        Ok(None) => {}
        Err(error) => return unrecorded(&error),
    }
    None
}
