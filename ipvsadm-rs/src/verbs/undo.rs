//! `ipvsadm-rs undo`: restores the table from before a plan.

use anyhow::bail;
use clap::Args;
use ipvs::apply::apply_plan;
use ipvs::document::SCHEMA;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Config, Counters, Plan, State, plan};
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::{
    Entry, Folder, Intent, Journal, Origin, Phase, Status, TIMER_DIED, inexpressible, rollback_plan,
    rollback_plan_of_any_table,
};
use crate::plan::progress::WithProgress;
use crate::plan::report::Report;
use crate::plan::transaction::{Transaction, finish};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Restore the table from before a plan
///
/// Without NUMBER, the last plan of `apply` that is in force is undone. A plan is in force until it is undone or rolled
/// back. With NUMBER, that plan and all later ones are undone, and the next `undo` continues from there. A pending plan
/// can be undone at any time before it is rolled back. If `apply --drain` is draining servers, its plan is undone, and
/// that `apply` fails.
///
/// Plans that were applied before the machine was restarted, or in another network namespace, are not undone. The table
/// that they changed no longer exists. The first plan after a restart usually loads the saved rules, so it is undone
/// only with NUMBER.
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
    /// Undo the pending or draining plan; do nothing if there is none
    #[arg(long, conflicts_with = "number")]
    pending: bool,
    /// Undo plan NUMBER although it was applied to a table that no longer exists
    ///
    /// Restores the table from before a plan of an earlier boot or of another network namespace. `undo --list` marks
    /// such plans.
    #[arg(long, requires = "number")]
    other_table: bool,
    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done; with --pending also if no plan is pending or draining
  1  Error, or no plan to undo
  2  Only with --dry-run: there are changes to make";

/// The plans to undo: one, and those that were applied after it.
struct Undone {
    first: Entry,
    later: Vec<Entry>,
    is_of_any_table: bool,
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
            let state = context.open()?.state_with(Counters::Skip)?;
            return report(plan(&config, &state, &options), &state).print_plan(context);
        }
        if self.pending && self.choose(&folder)?.is_none() {
            // Without a pending plan there is no need to wait for the lock.
            return Ok(code::DONE);
        }
        let journal = context.journal()?;
        let Some(undone) = self.choose(&journal)? else { return Ok(code::DONE) };
        let (config, options) = undone.rollback_plan(&journal)?;
        let mut transaction = Transaction::from(journal);
        let undo = restore(context, &mut transaction, &undone, &config, &options)?;
        if let Some(journal) = transaction.journal() {
            mark_undone(journal, undone);
        }
        let interruption = transaction.interruption();
        drop(transaction);
        let (plan, before) = undo;
        report(plan, &before).print_result(context)?;
        // A rollback is not interrupted. The signal ends this process afterwards, so that its parent sees it.
        if let Some(signal) = interruption {
            signal.end_process();
        }
        Ok(code::DONE)
    }

    /// Returns the plans to undo. For `--pending`, returns `None` if no plan is pending or draining.
    fn choose(&self, folder: &Folder) -> anyhow::Result<Option<Undone>> {
        if self.pending {
            let unfinished = folder.unfinished().filter(|(_, phase)| *phase != Phase::NeverConfirmed);
            return Ok(unfinished.map(|(first, _)| Undone { first, later: Vec::new(), is_of_any_table: false }));
        }
        let Plans { mut in_force, history } = Plans::read(folder);
        let first = match self.number {
            Some(number) => folder.read(number)?,
            None => match in_force.pop() {
                Some(last) if !last.is_kept() => last,
                kept => bail!("no applied plan is left to undo{}", explain(folder, kept.as_ref(), &history)),
            },
        };
        let origin = folder.origin(&first);
        if origin != Origin::ThisTable && !self.other_table {
            bail!("plan {} {}\nTo restore that table anyway, use --other-table.", first.number, origin.texts().reason);
        }
        if self.other_table {
            in_force.extend(history);
            in_force.sort_unstable_by_key(|entry| entry.number);
        }
        let later: Vec<Entry> = in_force.into_iter().filter(|entry| entry.number > first.number).collect();
        inexpressible(&first, &later).iter().for_each(|note| print_error(note));
        Ok(Some(Undone { first, later, is_of_any_table: self.other_table }))
    }
}

impl Undone {
    fn rollback_plan(&self, folder: &Folder) -> anyhow::Result<(Config, Options)> {
        let make = if self.is_of_any_table { rollback_plan_of_any_table } else { rollback_plan };
        make(folder, &self.first, &self.later)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        // Mark the requested plan last, so that an interrupted undo can be repeated.
        self.later.iter().chain([&self.first])
    }
}

/// Restores the table, and returns the plan for it with the table from before the undo.
fn restore(
    context: &Context,
    transaction: &mut Transaction,
    undone: &Undone,
    config: &Config,
    options: &Options,
) -> anyhow::Result<(Plan, State)> {
    let mut director = context.open()?;
    let before = director.state_with(Counters::Skip)?;
    let plan = plan(config, &before, options);
    if !plan.changes.is_empty() {
        let changes = plan.changes.iter().map(ToString::to_string).collect();
        let undoes = Some(undone.first.number);
        transaction.begin(Intent { scope: &options.scope, changes, undoes, confirm_within: None }, &before)?;
        let (before, plan) = (before.clone(), plan.clone());
        let result = apply_plan(&mut WithProgress(&mut director), config, options, before, plan);
        finish(&mut director, transaction, result.map(drop).map_err(Into::into))?;
    }
    Ok((plan, before))
}

/// Returns the report on an undo. The services outside the scope are not reported: `undo` has no option for it, and those
/// that a plan did not compare are those that it left alone.
fn report(mut plan: Plan, before: &State) -> Report {
    plan.out_of_scope.clear();
    Report::new(&plan, before, TableSizes::default())
}

fn mark_undone(journal: &Journal, undone: Undone) {
    for entry in undone.entries() {
        let mut entry = entry.clone();
        entry.end(Status::Undone);
        if let Err(error) = journal.write(&entry) {
            print_error(&format!("note: cannot record that plan {} is undone: {error:#}", entry.number));
        }
    }
}

/// The plans whose changes are still in force, the oldest first.
struct Plans {
    /// Those of this table.
    in_force: Vec<Entry>,
    /// Those of tables that no longer exist.
    history: Vec<Entry>,
}

impl Plans {
    /// Skips entries that cannot be read, with a note.
    fn read(folder: &Folder) -> Self {
        let mut plans = Self { in_force: Vec::new(), history: Vec::new() };
        for (_, entry) in folder.entries() {
            match entry {
                Ok(entry) if !entry.is_in_force() => {}
                Ok(entry) if folder.is_of_this_table(&entry) => plans.in_force.push(entry),
                Ok(entry) => plans.history.push(entry),
                Err(error) => print_error(&format!("note: skipped: {error:#}")),
            }
        }
        plans
    }
}

/// Returns the reasons for not undoing plans, for the end of a message. Empty if there are no plans.
fn explain(folder: &Folder, kept: Option<&Entry>, history: &[Entry]) -> String {
    let mut text = String::new();
    if let Some(Entry { number, .. }) = kept {
        text += &format!(
            "\nPlan {number} was the first plan after the machine was restarted. To undo it, run `ipvsadm-rs undo {number}`."
        );
    }
    for origin in [Origin::EarlierBoot, Origin::OtherNamespace, Origin::Unknown] {
        let number = history.iter().filter(|entry| folder.origin(entry) == origin).count();
        if number > 0 {
            let (plans, were) = (count(number, "plan"), if number == 1 { "was" } else { "were" });
            text += &format!("\n{plans} {were} in force {}.", origin.texts().in_force);
        }
    }
    if !history.is_empty() {
        text += "\nSuch plans are not undone, because the table that they changed may no longer exist.\n\
                 `ipvsadm-rs undo --list` shows them.";
    }
    text
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

fn list(context: &Context, folder: &Folder) -> anyhow::Result<u8> {
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
        bail!("no plan has been applied to this table");
    }
    context.write(|out| {
        for row in &rows {
            match row {
                ListedPlan::Entry { entry, origin } => writeln!(out, "{}", line(entry, *origin, folder))?,
                ListedPlan::Unreadable { number, error } => writeln!(out, "{number:>6}  unreadable: {error}")?,
            }
        }
        Ok(())
    })?;
    Ok(code::DONE)
}

/// Returns the line of a plan. A remark has a line of its own, so that both fit 80 columns.
fn line(entry: &Entry, origin: Origin, folder: &Folder) -> String {
    let Entry { number, time, status, changes, undoes, pending, error, .. } = entry;
    let is_of_this_table = origin == Origin::ThisTable;
    let phase = folder.phase(entry);
    let is_unchanged = is_of_this_table && folder.is_unchanged(entry);
    let status = match (status, undoes, pending) {
        (Status::Started | Status::Applied, None, _) if !is_of_this_table => origin.texts().status.into(),
        _ if phase == Some(Phase::Draining) => "draining".into(),
        _ if phase == Some(Phase::Pending) => "pending".into(),
        _ if is_unchanged => "interrupted".into(),
        (Status::RollbackFailed, ..) => "rollback failed".into(),
        (_, _, Some(_)) => "not confirmed, kept".into(),
        (Status::Applied, Some(undone), _) => format!("undo of plan {undone}"),
        (Status::Applied, None, _) => "applied".into(),
        (Status::Started, ..) => "interrupted".into(),
        (Status::RolledBack, ..) => "refused, rolled back".into(),
        (Status::Expired, ..) => "expired, rolled back".into(),
        (Status::Undone, ..) => "undone".into(),
    };
    let remark = match (pending, error) {
        (Some(pending), _) if matches!(phase, Some(Phase::Draining | Phase::Pending)) => {
            pending.deadline().map(|deadline| format!("rollback at {deadline}"))
        }
        _ if is_unchanged => Some("nothing was changed".to_owned()),
        (Some(_), _) if is_of_this_table => Some(TIMER_DIED.to_owned()),
        (Some(_), _) => Some("never confirmed".to_owned()),
        (None, None) if is_of_this_table && entry.is_kept() => Some("first after the restart".to_owned()),
        (None, error) => error.clone(),
    };
    let remark = remark.map(|remark| format!("\n        {remark}")).unwrap_or_default();
    format!("{number:>6}  {time}  {status:<24} {}{remark}", count(changes.len(), "change"))
}
