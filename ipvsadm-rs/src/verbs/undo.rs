//! `ipvsadm-rs undo`: reverts the changes of a plan.

use anyhow::bail;
use clap::Args;
use ipvs::plan::Options;
use ipvs::{Config, Counters, State, plan};

use super::go_back::{BackArguments, WayBack, report};
use super::history;
use crate::context::{Context, code};
use crate::journal::{
    Entry, Folder, Journal, Origin, Phase, Status, inexpressible, rollback_plan, rollback_plan_of_any_table,
};
use crate::plan::reversal::{Conflict, reversal};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Revert the changes of a plan
///
/// Without NUMBER, reverts the last plan in force. With NUMBER, reverts that plan, and later ones stay. `ipvsadm-rs
/// history` lists the plans. Undoing an undo makes the changes again.
///
/// Only the services, servers and other settings that the plan changed get their old values. If one of them was changed
/// again later, nothing is changed, and the later change is reported. A weight that the plan did not set stays.
/// `ipvsadm-rs restore` restores a whole table instead.
///
/// A plan that is pending, is draining servers, or was interrupted is rolled back as a whole. This restores the table
/// from before the plan, within its scope. If `apply --drain` is draining servers, that `apply` fails.
///
/// Plans of an earlier boot or of another network namespace are not undone, because their table no longer exists. The
/// first plan after a restart usually loads the saved rules. It is undone only if NUMBER specifies it.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Undo {
    /// Number of the plan in `ipvsadm-rs history` [default: the last plan in force]
    #[arg(value_name = "NUMBER")]
    number: Option<u64>,
    /// List the plans in the journal, as `history` does
    #[arg(long, conflicts_with_all = ["number", "dry_run", "pending"])]
    list: bool,
    /// Roll back the pending or draining plan; do nothing if there is none
    #[arg(long, conflicts_with_all = ["number", "drain"])]
    pending: bool,
    /// Restore the table from before plan NUMBER, although the table that the plan changed no longer exists
    ///
    /// `ipvsadm-rs history` marks plans of an earlier boot or of another network namespace.
    #[arg(long, requires = "number", conflicts_with = "drain")]
    other_table: bool,
    #[command(flatten)]
    back: BackArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done; with --pending also if no plan is pending or draining
  1  Error, or no plan to undo
  2  Only with --dry-run: there are changes to make
  3  Only with --drain: the time limit was reached, and connections were dropped";

/// The plan to undo.
enum Chosen {
    /// Its changes are reverted.
    Reverse(Box<Entry>),
    /// The table from before it is restored.
    RollBack(Box<Undone>),
}

/// The plans to roll back: one, and those that were applied after it.
struct Undone {
    first: Entry,
    later: Vec<Entry>,
    is_of_any_table: bool,
}

impl Undo {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let folder = context.folder()?;
        if self.list {
            return history::list(context, &folder);
        }
        match self.choose(&folder)? {
            // Without a pending plan there is no need to wait for the lock.
            None => Ok(code::DONE),
            Some(Chosen::Reverse(entry)) => self.reverse(context, &folder, &entry),
            Some(Chosen::RollBack(undone)) => self.roll_back(context, &folder, &undone),
        }
    }

    /// Reverts the changes of a plan.
    fn reverse(&self, context: &Context, folder: &Folder, entry: &Entry) -> anyhow::Result<u8> {
        inexpressible(entry, &[]).iter().for_each(|note| print_error(note));
        let (before, changes) = (folder.before(entry.number)?, entry.changes());
        let wanted = |state: &State| {
            let way = reversal(&before, &changes, state)?;
            ensure_free(folder, entry, &way.conflicts)?;
            Ok((way.wanted, Options::default()))
        };
        let check = |journal: &Journal| ensure_in_force(journal, &journal.read(entry.number)?);
        let done = |journal: &Journal| {
            mark(journal, entry, Status::Undone);
            if let Some(Ok(redone)) = entry.undoes.map(|number| journal.read(number))
                && redone.status == Status::Undone
            {
                mark(journal, &redone, Status::Applied);
            }
        };
        let undoes = Some(entry.number);
        let way = WayBack { command: "undo", undoes, wanted: &wanted, check: &check, done: &done };
        self.back.take(context, &way)
    }

    /// Restores the table from before a plan.
    fn roll_back(&self, context: &Context, folder: &Folder, undone: &Undone) -> anyhow::Result<u8> {
        if self.back.dry_run {
            let (config, options) = undone.rollback_plan(folder)?;
            let state = context.open()?.state_with(Counters::Skip)?;
            return report(context, &plan(&config, &state, &options), &state).print_plan(context);
        }
        let journal = context.journal()?;
        // The plan may have ended meanwhile.
        let undone = match self.choose(&journal)? {
            None => return Ok(code::DONE),
            Some(Chosen::RollBack(undone)) => undone,
            Some(Chosen::Reverse(entry)) => bail!("plan {} has ended meanwhile\nTry again.", entry.number),
        };
        let (config, options) = undone.rollback_plan(&journal)?;
        let wanted = |_: &State| Ok((config.clone(), options.clone()));
        let done = |journal: &Journal| undone.entries().for_each(|entry| mark(journal, entry, Status::Undone));
        let undoes = Some(undone.first.number);
        // The plan was chosen while the journal was locked, and nobody is asked about a rollback.
        let way = WayBack { command: "undo", undoes, wanted: &wanted, check: &|_| Ok(()), done: &done };
        way.go(context, &mut context.open()?, journal, None, &|_, _| Ok(()))
    }

    /// Returns the plan to undo. For `--pending`, returns `None` if no plan is pending or draining.
    fn choose(&self, folder: &Folder) -> anyhow::Result<Option<Chosen>> {
        if self.pending {
            let unfinished = folder.unfinished().filter(|(_, phase)| *phase != Phase::NeverConfirmed);
            let undone = unfinished.map(|(first, _)| Undone { first, later: Vec::new(), is_of_any_table: false });
            return Ok(undone.map(|undone| Chosen::RollBack(Box::new(undone))));
        }
        let Plans { mut in_force, history } = Plans::read(folder);
        let unfinished = folder.unfinished().filter(|(_, phase)| *phase != Phase::NeverConfirmed);
        let first = match (self.number, unfinished) {
            (Some(number), _) => folder.plan(number)?,
            // `set` may have made later plans.
            (None, Some((unfinished, _))) => unfinished,
            (None, None) => match in_force.pop() {
                Some(last) if !last.is_kept() => last,
                kept => bail!("no applied plan is left to undo{}", explain(folder, kept.as_ref(), &history)),
            },
        };
        let origin = folder.origin(&first);
        if origin != Origin::ThisTable && !self.other_table {
            bail!("plan {} {}\nTo restore that table anyway, use --other-table.", first.number, origin.texts().reason);
        }
        if !self.other_table && first.status == Status::Applied && first.pending.is_none() {
            return Ok(Some(Chosen::Reverse(Box::new(first))));
        }
        if self.other_table {
            in_force.extend(history);
            in_force.sort_unstable_by_key(|entry| entry.number);
        } else {
            ensure_in_force(folder, &first)?;
        }
        let later: Vec<Entry> = in_force.into_iter().filter(|entry| entry.number > first.number).collect();
        inexpressible(&first, &later).iter().for_each(|note| print_error(note));
        let undone = Undone { first, later, is_of_any_table: self.other_table };
        Ok(Some(Chosen::RollBack(Box::new(undone))))
    }
}

/// Fails if a plan was undone or rolled back.
fn ensure_in_force(folder: &Folder, entry: &Entry) -> anyhow::Result<()> {
    let number = entry.number;
    match entry.status {
        Status::Undone => {
            let by = folder.undone_by(number).map(|by| format!(" by plan {by}")).unwrap_or_default();
            bail!("plan {number} was already undone{by}: nothing was changed")
        }
        Status::RolledBack | Status::Expired => bail!("plan {number} was rolled back: there is nothing to undo"),
        Status::Started | Status::Applied | Status::RollbackFailed => Ok(()),
    }
}

/// Fails if something that the plan changed was changed again. Names the later plans that did so.
fn ensure_free(folder: &Folder, entry: &Entry, conflicts: &[Conflict]) -> anyhow::Result<()> {
    /// The maximum number of conflicts that are printed.
    const MAX_SHOWN: usize = 5;
    if conflicts.is_empty() {
        return Ok(());
    }
    let later: Vec<Entry> = folder
        .entries()
        .into_iter()
        .filter_map(|(_, entry)| entry.ok())
        .filter(|later| {
            later.number > entry.number && later.status == Status::Applied && folder.is_of_this_table(later)
        })
        .collect();
    let mut text = format!("plan {} cannot be undone, because these were changed again later:", entry.number);
    for conflict in conflicts.iter().take(MAX_SHOWN) {
        let by = later.iter().rev().find(|later| later.changes().iter().any(|change| conflict.is_about(change)));
        let by = by
            .map_or_else(|| "another program".to_owned(), |later| format!("plan {} ({})", later.number, later.command));
        text += &format!("\n  {conflict}: by {by}");
    }
    if conflicts.len() > MAX_SHOWN {
        text += &format!("\n  and {} more", conflicts.len() - MAX_SHOWN);
    }
    let number = entry.number;
    bail!("{text}\nUndo the later plans first, or run `ipvsadm-rs restore {number}:before`.")
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

/// Records the new status of a plan.
fn mark(journal: &Journal, entry: &Entry, status: Status) {
    let mut entry = entry.clone();
    entry.end(status);
    if let Err(error) = journal.write(&entry) {
        print_error(&format!("note: cannot record the status of plan {}: {error:#}", entry.number));
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
                 `ipvsadm-rs history` shows them.";
    }
    text
}
