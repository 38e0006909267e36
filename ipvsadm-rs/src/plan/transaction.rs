//! Changes that can be rolled back: the journal records them before they are made, and their outcome afterwards.

use anyhow::bail;
use ipvs::apply::ApplyError;
use ipvs::plan::Options;
use ipvs::{Client, Config, State};

use crate::context::Context;
use crate::journal::{Entry, Intent, Journal, Status, is_fatal, rollback_plan};
use crate::plan::other_writers;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// The lock of the table, and the journal entry of the changes. Both are missing if there is no journal. Only the entry
/// is missing if it could not be written.
pub(crate) struct Transaction {
    journal: anyhow::Result<Journal>,
    entry: Option<Entry>,
}

impl From<Journal> for Transaction {
    fn from(journal: Journal) -> Self {
        Self { journal: Ok(journal), entry: None }
    }
}

impl Transaction {
    /// Locks the table, so that no other ipvsadm-rs changes it until the transaction is dropped. If the journal cannot
    /// be opened, the table is not locked, and changes are made without a journal. Fails if the lock is not free in time,
    /// or if another user could have written the journal.
    pub(crate) fn open(context: &Context) -> anyhow::Result<Self> {
        match context.journal() {
            Err(error) if is_fatal(&error) => Err(error),
            journal => Ok(Self { journal, entry: None }),
        }
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().ok()
    }

    /// Returns the entry. `None` unless [`begin`](Self::begin) created one.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Creates the journal entry. If that fails, the changes are made without a journal, unless they must be confirmed.
    pub(crate) fn begin(&mut self, intent: Intent<'_>, before: &State) -> anyhow::Result<()> {
        let is_needed = intent.confirm_within.is_some();
        let begun = match &self.journal {
            Ok(journal) => journal.begin(intent, before),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match begun {
            Ok(entry) => {
                self.entry = Some(entry);
                Ok(())
            }
            Err(error) if is_needed || is_fatal(&error) => Err(error),
            Err(error) => {
                print_error(&format!("note: this plan cannot be undone: {error:#}"));
                Ok(())
            }
        }
    }

    /// Removes the entry, because nothing was changed.
    pub(crate) fn cancel(&mut self) {
        if let (Ok(journal), Some(entry)) = (&self.journal, self.entry.take()) {
            journal.remove(&entry);
        }
    }

    fn conclude(&mut self, update: impl FnOnce(&mut Entry)) {
        if let (Ok(journal), Some(entry)) = (&self.journal, &mut self.entry) {
            update(entry);
            if let Err(error) = journal.write(entry) {
                print_error(&format!("note: cannot update the journal: {error:#}"));
            }
        }
    }
}

/// Records the outcome. If the kernel refused changes, all changes are rolled back before anything is printed, because
/// a terminal that was cut off may block this process.
pub(crate) fn finish(
    director: &mut Client,
    transaction: &mut Transaction,
    result: anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (refused, remaining) = match result.map_err(anyhow::Error::downcast) {
        Ok(()) => {
            transaction.conclude(Entry::done);
            return Ok(());
        }
        Err(Ok(ApplyError::NotReached { refused, remaining })) => (refused, remaining),
        Err(Ok(error)) => return Err(error.into()),
        Err(Err(error)) => return Err(error),
    };
    if refused.is_empty() {
        transaction.conclude(Entry::done);
        let first = remaining.first().map(ToString::to_string).unwrap_or_default();
        bail!(
            "all changes were made, but the table differs from the plan: {}\n{} needed; the first is: {first}",
            other_writers::suspects(),
            count(remaining.len(), "more change")
        );
    }
    let rolled_back = roll_back_now(director, transaction);
    for (change, error) in &refused {
        print_error(&format!("refused: {change}: {error}"));
    }
    rolled_back?;
    bail!("{} refused: all changes were rolled back", count(refused.len(), "change"))
}

fn roll_back_now(director: &mut Client, transaction: &mut Transaction) -> anyhow::Result<()> {
    let (Some(journal), Some(entry)) = (transaction.journal(), transaction.entry()) else {
        bail!("some changes were refused, and the others could not be rolled back: there is no journal");
    };
    let (config, options) = rollback_plan(journal, entry, &[])?;
    roll_back(director, &config, &options)?;
    transaction.conclude(|entry| entry.end(Status::RolledBack));
    Ok(())
}

/// Restores the table from before a plan.
pub(crate) fn roll_back(director: &mut Client, config: &Config, options: &Options) -> anyhow::Result<()> {
    match ipvs::apply(director, config, options) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot restore the table from before the plan")),
    }
}
