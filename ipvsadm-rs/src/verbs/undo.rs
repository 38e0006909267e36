//! `ipvsadm-rs undo`: restores the table from before a plan.

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::document::SCHEMA;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Config, Director, plan};
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::{Entry, Folder, Intent, Status, TIMER_DIED, rollback_plan};
use crate::plan::progress::WithProgress;
use crate::plan::report::Report;
use crate::plan::transaction::{Transaction, finish};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Restore the table from before a plan
///
/// Without NUMBER, the last plan of `apply` that is in force is undone. A plan is in force until it is undone or rolled
/// back. With NUMBER, that plan and all later ones are undone, and the next `undo` continues from there. A pending plan
/// can be undone at any time before it is rolled back.
///
/// Services that --only or --protect excluded from a plan are not changed by its undo. If the plan was applied with
/// --listed-only or --previous, only the services that it changed are restored.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Undo {
    /// Number of the plan in `undo --list` [default: the last plan in force]
    number: Option<u64>,
    /// List the plans in the journal, the oldest first
    #[arg(long, conflicts_with_all = ["number", "dry_run", "pending"])]
    list: bool,
    /// Undo the pending plan; do nothing if no plan is pending
    #[arg(long, conflicts_with = "number")]
    pending: bool,
    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done; with --pending also if no plan is pending
  1  Error, or no plan to undo
  2  Only with --dry-run: there are changes to make";

/// The plans to undo: one, and those that were applied after it.
struct Undone {
    first: Entry,
    later: Vec<Entry>,
}

impl Undo {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let folder = context.folder()?;
        if self.list {
            return list(context, &folder);
        }
        if self.dry_run {
            let Some(undone) = self.choose(&folder)? else { return Ok(code::DONE) };
            let (config, options) = undone.rollback_plan(&folder)?;
            let state = context.open()?.state()?;
            let report = Report::new(&plan(&config, &state, &options), &state, TableSizes::default());
            return report.print_plan(context);
        }
        if self.pending && self.choose(&folder)?.is_none() {
            // Without a pending plan there is no need to wait for the lock.
            return Ok(code::DONE);
        }
        let journal = context.journal()?;
        let Some(undone) = self.choose(&journal)? else { return Ok(code::DONE) };
        let (config, options) = undone.rollback_plan(&journal)?;
        let mut transaction = Transaction::from(journal);
        let report = apply_rollback(context, &mut transaction, &undone, &config, &options)?;
        if let Some(journal) = transaction.journal() {
            for mut entry in undone.into_entries() {
                entry.end(Status::Undone);
                journal.write(&entry)?;
            }
        }
        drop(transaction);
        report.print_result(context)?;
        Ok(code::DONE)
    }

    /// Returns the plans to undo. For `--pending`, returns `None` if no plan is pending.
    fn choose(&self, folder: &Folder) -> anyhow::Result<Option<Undone>> {
        if self.pending {
            let pending = folder.pending().filter(|entry| folder.has_timer(entry.number));
            return Ok(pending.map(|first| Undone { first, later: Vec::new() }));
        }
        let mut in_force = in_force(folder);
        let first = match self.number {
            Some(number) => folder.read(number)?,
            None => in_force.pop().context("no applied plan is left to undo")?,
        };
        let later = in_force.into_iter().filter(|entry| entry.number > first.number).collect();
        Ok(Some(Undone { first, later }))
    }
}

impl Undone {
    fn rollback_plan(&self, folder: &Folder) -> anyhow::Result<(Config, Options)> {
        rollback_plan(folder, &self.first, &self.later)
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        // Mark the requested plan last, so that an interrupted undo can be repeated.
        self.later.into_iter().chain([self.first])
    }
}

fn apply_rollback(
    context: &Context,
    transaction: &mut Transaction,
    undone: &Undone,
    config: &Config,
    options: &Options,
) -> anyhow::Result<Report> {
    let mut director = context.open()?;
    let before = director.state()?;
    let plan = plan(config, &before, options);
    let report = Report::new(&plan, &before, TableSizes::default());
    if !report.is_empty() {
        let changes = plan.changes.iter().map(ToString::to_string).collect();
        let undoes = Some(undone.first.number);
        transaction.begin(Intent { scope: &options.scope, changes, undoes, confirm_within: None }, &before)?;
        let result = ipvs::apply::apply_plan(&mut WithProgress(&mut director), config, options, before, plan);
        finish(&mut director, transaction, result.map(drop).map_err(Into::into))?;
    }
    Ok(report)
}

/// Returns the plans whose changes are still in the table, the newest last. Entries that cannot be read are skipped.
fn in_force(folder: &Folder) -> Vec<Entry> {
    let read = |(_, entry): (u64, anyhow::Result<Entry>)| match entry {
        Ok(entry) => Some(entry),
        Err(error) => {
            print_error(&format!("note: skipped: {error:#}"));
            None
        }
    };
    folder.entries().into_iter().filter_map(read).filter(Entry::is_in_force).collect()
}

#[derive(Serialize)]
struct List {
    schema: u32,
    plans: Vec<ListedPlan>,
}

/// A plan in the list.
#[derive(Serialize)]
#[serde(untagged)]
enum ListedPlan {
    Entry(Box<Entry>),
    Unreadable { number: u64, error: String },
}

fn list(context: &Context, folder: &Folder) -> anyhow::Result<u8> {
    let row = |(number, entry): (u64, anyhow::Result<Entry>)| match entry {
        Ok(entry) => ListedPlan::Entry(Box::new(entry)),
        Err(error) => ListedPlan::Unreadable { number, error: format!("{error:#}") },
    };
    let rows: Vec<ListedPlan> = folder.entries().into_iter().map(row).collect();
    if context.json {
        context.write_json(&List { schema: SCHEMA, plans: rows })?;
        return Ok(code::DONE);
    }
    if rows.is_empty() {
        bail!("no plan has been applied to this table");
    }
    context.write(|out| {
        for row in &rows {
            match row {
                ListedPlan::Entry(entry) => writeln!(out, "{}", line(entry, folder))?,
                ListedPlan::Unreadable { number, error } => writeln!(out, "{number:>6}  unreadable: {error}")?,
            }
        }
        Ok(())
    })?;
    Ok(code::DONE)
}

fn line(entry: &Entry, folder: &Folder) -> String {
    let Entry { number, time, status, changes, undoes, pending, error, .. } = entry;
    let has_timer = folder.has_timer(*number);
    let status = match (status, undoes, pending) {
        (_, _, Some(_)) if has_timer => "pending".into(),
        (_, _, Some(_)) => "not confirmed, kept".into(),
        (Status::Applied, Some(undone), _) => format!("undo of plan {undone}"),
        (Status::Applied, None, _) => "applied".into(),
        (Status::Started, ..) => "interrupted".into(),
        (Status::RolledBack, ..) => "refused, rolled back".into(),
        (Status::Expired, ..) => "expired, rolled back".into(),
        (Status::Undone, ..) => "undone".into(),
        (Status::RollbackFailed, ..) => "rollback failed".into(),
    };
    let remark = match (pending, error) {
        (Some(pending), _) if has_timer => pending.deadline.as_ref().map(|deadline| format!("rollback at {deadline}")),
        (Some(_), _) => Some(TIMER_DIED.to_owned()),
        (None, error) => error.clone(),
    };
    let remark = remark.map(|remark| format!(": {remark}")).unwrap_or_default();
    format!("{number:>6}  {time}  {status:<24} {}{remark}", count(changes.len(), "change"))
}
