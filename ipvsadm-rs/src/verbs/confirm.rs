//! `ipvsadm-rs confirm`: keeps the pending plan.

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::document::SCHEMA;
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::{Entry, Phase, Status, TIMER_DIED, audit};

/// Keep the pending plan
///
/// A plan is pending after `apply --confirm-within`, until it is confirmed, undone or rolled back.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Confirm {}

const EXIT_CODES: &str = "\
Exit codes:
  0  The plan is confirmed
  1  Error, or no plan is pending";

#[derive(Serialize)]
struct Confirmed {
    schema: u32,
    #[serde(flatten)]
    entry: Entry,
}

impl Confirm {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let journal = context.journal()?;
        let pending = journal.unfinished().filter(|(entry, _)| entry.pending.is_some());
        let (mut entry, phase) = pending.context("no plan is pending")?;
        if phase == Phase::Draining {
            bail!(
                "plan {} is draining servers\nConfirm it after its end, or run `ipvsadm-rs undo` to roll it back.",
                entry.number
            );
        }
        // The rollback timer tries again. Some changes may already be rolled back.
        if entry.status == Status::RollbackFailed {
            bail!(
                "plan {} is being rolled back\nRun `ipvsadm-rs undo` to roll it back without its rollback timer.",
                entry.number
            );
        }
        entry.pending = None;
        journal.write(&entry)?;
        // Nothing is printed before the journal is unlocked, because a terminal that was cut off may block this
        // process.
        drop(journal);
        audit::log(Some(entry.number), "confirm", None, entry.changes.len(), "confirmed");
        if context.json {
            context.write_json(&Confirmed { schema: SCHEMA, entry })?;
        } else {
            let gone = if phase == Phase::NeverConfirmed { format!("; {TIMER_DIED}") } else { String::new() };
            context.write(|out| writeln!(out, "plan {} confirmed{gone}", entry.number))?;
        }
        Ok(code::DONE)
    }
}
