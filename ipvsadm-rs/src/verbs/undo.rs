//! `ipvsadm-rs undo`: the table as it was before a plan was applied.

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::{Director, plan};
use serde::Serialize;

use super::apply::show_result;
use super::record::{Record, finish};
use super::{Context, code};
use crate::journal::{Entry, Journal, Status};
use crate::progress::Told;
use crate::report::Report;

/// Put the table back as it was before a plan was applied
///
/// What the plan could not touch (--only, --protect) is not touched now either; of a plan that left others' services alone
/// (--listed-only, --previous), only what it changed.
#[derive(Args, Debug)]
pub(super) struct Undo {
    /// The number of the plan; the last one that was applied, if not given
    number: Option<u64>,
    /// Show the applied plans
    #[arg(long, conflicts_with_all = ["number", "dry_run"])]
    list: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Listed<'e> {
    number: u64,
    time: &'e str,
    status: Status,
    changes: &'e [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    undoes: Option<u64>,
}

impl Undo {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let journal = Journal::open(&context.state_dir, context.netns.as_ref())?;
        if self.list {
            return list(context, &journal);
        }
        let mut entry = match self.number {
            Some(number) => journal.read(number)?,
            None => last(&journal)?,
        };
        let (config, options) = entry.way_back()?;
        let mut director = context.open()?;
        let before = director.state()?;
        let plan = plan(&config, &before, &options);
        let report = Report::new(&plan, &before, TableSizes::default());
        if self.dry_run {
            return super::plan::show(context, &report);
        }
        if !report.is_empty() {
            let lines = plan.changes.iter().map(ToString::to_string).collect();
            let own = journal.begin(entry.scope.clone(), lines, &before, Some(entry.number))?;
            let result = ipvs::apply::carry_out(&mut Told(&mut director), &config, &options, before, plan);
            let mut record = Record { journal: Some(journal), entry: Some(own) };
            finish(&mut director, &mut record, result.map(drop).map_err(Into::into))?;
            if let Some(journal) = &record.journal {
                journal.conclude(&mut entry, Status::Undone)?;
            }
        } else {
            journal.conclude(&mut entry, Status::Undone)?;
        }
        show_result(context, &report)?;
        Ok(code::DONE)
    }
}

/// The last plan that is still in force.
fn last(journal: &Journal) -> anyhow::Result<Entry> {
    let in_force = |entry: &Entry| matches!(entry.status, Status::Done | Status::Begun) && entry.undoes.is_none();
    let mut entries = journal.entries()?;
    let at = entries.iter().rposition(in_force).context("no applied plan is left to undo")?;
    Ok(entries.swap_remove(at))
}

fn list(context: &Context, journal: &Journal) -> anyhow::Result<u8> {
    let entries = journal.entries()?;
    let listed: Vec<Listed<'_>> = entries
        .iter()
        .map(|Entry { number, time, status, changes, undoes, .. }| Listed {
            number: *number,
            time,
            status: *status,
            changes,
            undoes: *undoes,
        })
        .collect();
    if context.json {
        context.write_json(&listed)?;
        return Ok(code::DONE);
    }
    if listed.is_empty() {
        bail!("no plan has been applied to this table");
    }
    context.write(|out| {
        for Listed { number, time, status, changes, undoes } in &listed {
            let status = match (status, undoes) {
                (Status::Done, Some(undone)) => format!("took back {undone}"),
                (Status::Begun, _) => "was cut off".into(),
                (Status::Done, None) => "done".into(),
                (Status::RolledBack, _) => "refused, put back".into(),
                (Status::Expired, _) => "not confirmed, put back".into(),
                (Status::Undone, _) => "undone".into(),
            };
            writeln!(out, "{number:>6}  {time}  {status:<24} {}", crate::input::count(changes.len(), "change"))?;
        }
        Ok(())
    })?;
    Ok(code::DONE)
}
