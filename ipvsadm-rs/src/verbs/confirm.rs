//! `ipvsadm-rs confirm`: keeps the pending plan.

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::document::SCHEMA;
use serde::Serialize;

use super::follow::{self, RevisionId};
use crate::context::{Context, code};
use crate::journal::{Entry, Folder, FollowerFile, Phase, Status, TIMER_DIED, audit};

/// Keep the pending plan, or let `follow` apply a revision that it holds
///
/// A plan is pending after `apply --confirm-within`, until it is confirmed, undone or rolled back. If no plan is pending,
/// the revision is confirmed that `follow` holds, found bad, or applies only after other directors. `ipvsadm-rs follow
/// status` shows it. A later revision must be confirmed again.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Confirm {}

const EXIT_CODES: &str = "\
Exit codes:
  0  The plan or the revision is confirmed
  1  Error, or nothing is to be confirmed";

#[derive(Serialize)]
struct Confirmed {
    schema: u32,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Serialize)]
struct ConfirmedRevision {
    schema: u32,
    #[serde(flatten)]
    revision: RevisionId,
}

impl Confirm {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let journal = context.journal()?;
        let pending = journal.unfinished().filter(|(entry, _)| entry.pending.is_some());
        let Some((mut entry, phase)) = pending else { return confirm_revision(context, &journal.unlock()) };
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

/// Confirms the revision that a follower holds.
fn confirm_revision(context: &Context, folder: &Folder) -> anyhow::Result<u8> {
    let is_followed = folder.is_followed();
    let status: Option<follow::Status> = folder.read_follower(FollowerFile::Status)?.filter(|_| is_followed);
    let held = status.filter(|status| status.phase.can_be_confirmed());
    let follow = if is_followed { ", and `follow` holds no revision" } else { "" };
    let revision = held.and_then(|status| status.wanted).with_context(|| format!("no plan is pending{follow}"))?;
    folder.write_follower(FollowerFile::Confirmed, &revision.digest)?;
    audit::log(None, "confirm", None, 0, &format!("revision {revision} confirmed"));
    if context.json {
        context.write_json(&ConfirmedRevision { schema: SCHEMA, revision })?;
    } else {
        context.write(|out| writeln!(out, "revision {revision} confirmed"))?;
    }
    Ok(code::DONE)
}
