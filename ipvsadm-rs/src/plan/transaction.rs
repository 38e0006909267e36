//! Changes that can be rolled back: the journal records them before they are made, and their outcome afterwards.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use ipvs::apply::ApplyError;
use ipvs::plan::Options;
use ipvs::{Change, Client, Config, State};

use crate::context::Context;
use crate::hints::{self, Once};
use crate::journal::{
    Entry, Folder, Intent, Journal, Phase, Remembered, Status, in_time, inexpressible, is_fatal, rollback_plan,
};
use crate::plan::other_writers;
use crate::plan::signals::{Interruption, Signals};
use crate::terminal::exit::{HeldMessages, print_error};
use crate::terminal::plural::count;

/// The lock of the table, and the journal entry of the changes. Both are missing if there is no journal. Only the entry
/// is missing if it could not be written.
///
/// Messages are printed after the lock is released. The fields are dropped in this order.
pub(crate) struct Transaction {
    journal: anyhow::Result<Journal>,
    entry: Option<Entry>,
    /// Present from [`begin`](Self::begin) on, unless the process handles signals itself.
    signals: Option<Signals>,
    catches_signals: bool,
    _messages: HeldMessages,
}

impl From<Journal> for Transaction {
    fn from(journal: Journal) -> Self {
        Self::new(Ok(journal))
    }
}

impl Transaction {
    fn new(journal: anyhow::Result<Journal>) -> Self {
        Self { journal, entry: None, signals: None, catches_signals: true, _messages: HeldMessages::new() }
    }

    /// Locks the table, so that no other ipvsadm-rs changes it until the transaction is dropped. If the journal cannot
    /// be opened, the table is not locked, and changes are made without a journal. Fails if the lock is not free in
    /// time, or if another user could have written the journal.
    pub(crate) fn open(context: &Context) -> anyhow::Result<Self> {
        match context.journal() {
            Err(error) if is_fatal(&error) => Err(error),
            journal => Ok(Self::new(journal)),
        }
    }

    /// Locks the table as [`open`](Self::open) does, for a process that handles signals itself. They do not interrupt
    /// the plan.
    pub(crate) fn open_uninterrupted(context: &Context) -> anyhow::Result<Self> {
        Ok(Self { catches_signals: false, ..Self::open(context)? })
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().ok()
    }

    /// Returns the journal, or the reason why there is none.
    pub(crate) fn opened(&self) -> Result<&Journal, &anyhow::Error> {
        self.journal.as_ref()
    }

    /// Reads the weights of drained servers. Fails if there is no journal.
    pub(crate) fn remembered(&self) -> anyhow::Result<Remembered> {
        self.opened().map_err(|error| anyhow!("{error:#}"))?.remembered()
    }

    /// Writes the weights of drained servers. Fails if there is no journal.
    pub(crate) fn remember(&self, remembered: Remembered) -> anyhow::Result<()> {
        self.opened().map_err(|error| anyhow!("{error:#}"))?.remember(remembered)
    }

    /// Returns the entry. `None` unless [`begin`](Self::begin) created one.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Creates the journal entry. If that fails, the changes are made without a journal, unless they must be confirmed.
    /// From now on, signals do not end this process.
    pub(crate) fn begin(&mut self, intent: Intent<'_>, before: &State) -> anyhow::Result<()> {
        let is_needed = intent.confirm_within.is_some();
        let begun = match &self.journal {
            Ok(journal) => journal.begin(intent, before),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        match begun {
            Ok(entry) => self.entry = Some(entry),
            Err(error) if is_needed || is_fatal(&error) => return Err(error),
            Err(error) => print_error(&format!("note: this plan cannot be undone: {error:#}")),
        }
        // Without handlers, signals end this process, and the entry shows that it was interrupted.
        if self.catches_signals {
            self.signals = Signals::catch().ok();
        }
        Ok(())
    }

    /// Removes the entry, because nothing was changed.
    pub(crate) fn cancel(&mut self) {
        if let (Ok(journal), Some(entry)) = (&self.journal, self.entry.take()) {
            journal.remove(&entry);
        }
    }

    /// Returns the signal that arrived since [`begin`](Self::begin). `None` if there was none.
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        self.signals.as_ref()?.caught()
    }

    /// Marks the plan as draining. Other processes see the mark while they hold the lock.
    pub(crate) fn mark_draining(&self) -> anyhow::Result<Option<File>> {
        let (Some(journal), Some(entry)) = (self.journal(), self.entry()) else { return Ok(None) };
        journal.lock_draining(entry.number).map(Some)
    }

    /// Releases the lock until [`lock_again`](Self::lock_again).
    pub(crate) fn unlock(&mut self) -> Unlocked {
        let error = anyhow!("the table is not locked");
        let folder = std::mem::replace(&mut self.journal, Err(error)).map(Journal::unlock);
        Unlocked { folder, number: self.entry.as_ref().map(|entry| entry.number) }
    }

    /// Takes the lock again, and reads the entry again. Fails if the lock is not free in time, or if the plan has ended
    /// in the meantime. Then this transaction has no entry any more.
    pub(crate) fn lock_again(&mut self, unlocked: Unlocked, wait: Duration) -> anyhow::Result<()> {
        self.entry = None;
        match &unlocked.folder {
            Ok(folder) => self.journal = Ok(unlocked.open(folder, wait)?),
            Err(error) => self.journal = Err(anyhow!("{error:#}")),
        }
        self.entry = unlocked.entry()?;
        Ok(())
    }

    /// Returns whether the plan is pending although nothing would roll it back.
    pub(crate) fn has_lost_timer(&self) -> bool {
        let phase = self.journal().zip(self.entry()).and_then(|(journal, entry)| journal.phase(entry));
        phase == Some(Phase::NeverConfirmed)
    }

    /// Records changes in place of those that were planned, from the next state of the entry on.
    pub(crate) fn record_changes(&mut self, changes: &[Change]) {
        if let Some(entry) = &mut self.entry {
            entry.changes = changes.iter().collect();
        }
    }

    /// Fails if the plan has ended. The rollback timer does not wait for the lock for ever, so it may have rolled back the
    /// changes of a process that was stopped.
    fn ensure_not_ended(&mut self) -> anyhow::Result<()> {
        let (Some(journal), Some(entry)) = (self.journal(), self.entry()) else { return Ok(()) };
        let number = entry.number;
        let end = journal.read(number).ok().as_ref().and_then(end);
        if let Some(end) = end {
            self.entry = None;
            bail!("plan {number} was {end} while its changes were made");
        }
        Ok(())
    }

    fn conclude(&mut self, update: impl FnOnce(&mut Entry)) {
        if let (Ok(journal), Some(entry)) = (&self.journal, &mut self.entry) {
            update(entry);
            if let Err(error) = journal.write(entry) {
                print_error(&format!("note: cannot update the journal: {error:#}"));
            }
            journal.log(entry);
        }
    }
}

/// Returns the way in which a plan ended. `None` if it has not ended.
fn end(entry: &Entry) -> Option<&'static str> {
    match entry.status {
        Status::Started => None,
        Status::Undone => Some("undone"),
        Status::RollbackFailed => Some("rolled back with errors"),
        Status::Applied | Status::RolledBack | Status::Expired => Some("rolled back"),
    }
}

/// A journal that was unlocked for a drain.
pub(crate) struct Unlocked {
    folder: anyhow::Result<Folder>,
    /// The number of the plan that drains. `None` if it has no entry.
    number: Option<u64>,
}

impl Unlocked {
    /// Reads the entry of the plan. Fails if the plan has been undone or rolled back.
    pub(crate) fn entry(&self) -> anyhow::Result<Option<Entry>> {
        let (Ok(folder), Some(number)) = (&self.folder, self.number) else { return Ok(None) };
        let entry = folder.read(number)?;
        match end(&entry) {
            None => Ok(Some(entry)),
            Some(end) => bail!("plan {number} was {end} while it was draining servers"),
        }
    }

    /// Locks the journal. Prints nothing while it waits, because the outcome of the plan is not recorded yet.
    fn open(&self, folder: &Folder, wait: Duration) -> anyhow::Result<Journal> {
        in_time(wait, || {
            self.entry()?;
            Journal::open(folder.clone(), Duration::ZERO)
                .context("cannot continue after the drain, and the weights stay 0")
        })
    }
}

/// The error of a plan that cannot be continued, or that a signal interrupted. [`finish`] rolls back all its changes.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) reason: String,
    /// The signal, if it is the reason.
    pub(crate) signal: Option<Interruption>,
    /// Whether a time limit is the reason.
    pub(crate) is_over: bool,
}

impl Abandoned {
    pub(crate) fn because(reason: String) -> Self {
        Self { reason, signal: None, is_over: false }
    }

    pub(crate) fn at_time_limit(reason: String) -> Self {
        Self { is_over: true, ..Self::because(reason) }
    }
}

impl From<Interruption> for Abandoned {
    fn from(signal: Interruption) -> Self {
        Self { signal: Some(signal), ..Self::because(signal.to_string()) }
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: all changes were rolled back", self.reason)
    }
}

impl std::error::Error for Abandoned {}

/// The error that all changes were made, but others are needed. It contains those.
#[derive(Debug)]
struct Differs(Vec<Change>);

impl fmt::Display for Differs {
    // The running processes are searched here, after the table is unlocked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.first().map(ToString::to_string).unwrap_or_default();
        write!(
            f,
            "all changes were made, but the table differs from the plan: {}\n{} needed; the first is: {first}",
            other_writers::suspects(),
            count(self.0.len(), "more change")
        )
    }
}

impl std::error::Error for Differs {}

/// The error that the kernel refused changes, and that all were rolled back.
#[derive(Debug)]
pub(crate) struct Refused {
    count: usize,
    /// The first refusal, which is printed with all others.
    pub(crate) first: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: all changes were rolled back", count(self.count, "change"))
    }
}

impl std::error::Error for Refused {}

/// Records the outcome. Rolls back all changes if the kernel refused some, or if the plan was abandoned. Nothing is
/// printed before that, because a terminal that was cut off may block this process.
pub(crate) fn finish<T>(
    director: &mut Client,
    transaction: &mut Transaction,
    result: anyhow::Result<T>,
) -> anyhow::Result<T> {
    transaction.ensure_not_ended()?;
    let error = match result {
        Ok(made) => {
            transaction.conclude(Entry::done);
            return Ok(made);
        }
        Err(error) => error,
    };
    if let Some(Abandoned { reason, .. }) = error.downcast_ref() {
        let reason = reason.clone();
        roll_back_now(director, transaction, Status::Undone, Some(&reason)).context(reason)?;
        return Err(error);
    }
    let (refused, remaining) = match error.downcast() {
        Ok(ApplyError::NotReached { refused, remaining }) => (refused, remaining),
        Ok(error) => return Err(error.into()),
        Err(error) => return Err(error),
    };
    if refused.is_empty() {
        transaction.conclude(Entry::done);
        return Err(Differs(remaining).into());
    }
    let rolled_back = roll_back_now(director, transaction, Status::RolledBack, None);
    let mut hints = Once::default();
    for (change, error) in &refused {
        print_error(&hints::refused_change(change, error));
        hints.print(hints::for_refusal(change, error));
    }
    rolled_back?;
    let first = refused.first().map(|(change, error)| hints::refused_change(change, error)).unwrap_or_default();
    Err(Refused { count: refused.len(), first: first.trim_start_matches("error: ").to_owned() }.into())
}

/// Rolls back the plan. The remark is the reason, for people.
fn roll_back_now(
    director: &mut Client,
    transaction: &mut Transaction,
    status: Status,
    remark: Option<&str>,
) -> anyhow::Result<()> {
    let (Some(journal), Some(entry)) = (transaction.journal(), transaction.entry()) else {
        bail!("the changes that were made could not be rolled back: there is no journal");
    };
    // If this fails, the plan stays pending, so that its rollback timer tries again.
    let (config, options) = rollback_plan(journal, entry, &[])?;
    inexpressible(entry, &[]).iter().for_each(|note| print_error(note));
    roll_back(director, &config, &options)?;
    transaction.conclude(|entry| {
        entry.end(status);
        entry.error = remark.map(str::to_owned);
    });
    Ok(())
}

/// Restores the table from before a plan.
pub(crate) fn roll_back(director: &mut Client, config: &Config, options: &Options) -> anyhow::Result<()> {
    match ipvs::apply(director, config, options) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot restore the table from before the plan")),
    }
}
