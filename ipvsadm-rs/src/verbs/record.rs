//! A change that can be taken back: noted before it is made, concluded after.

use anyhow::bail;
use ipvs::apply::ApplyError;
use ipvs::plan::Options;
use ipvs::{Client, Config, State};

use super::Context;
use crate::failure::say;
use crate::journal::{Busy, Entry, Intent, Journal, Status, way_back};
use crate::writers;

/// The right to change the table, and the entry of the journal that is being made; where there can be a journal.
pub(super) struct Record {
    journal: anyhow::Result<Journal>,
    entry: Option<Entry>,
}

impl From<Journal> for Record {
    fn from(journal: Journal) -> Self {
        Self { journal: Ok(journal), entry: None }
    }
}

impl Record {
    /// Be the only one who changes the table: what is read from here on holds until this is gone. Where no journal can be
    /// kept, nobody can be waited for either.
    pub(super) fn open(context: &Context) -> anyhow::Result<Self> {
        match context.journal() {
            Err(error) if error.is::<Busy>() => Err(error),
            journal => Ok(Self { journal, entry: None }),
        }
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().ok()
    }

    /// The entry, once it was begun.
    pub(super) fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Begin. Without a journal the change is made all the same, unless it could not do without.
    pub(super) fn begin(&mut self, intent: Intent<'_>, before: &State) -> anyhow::Result<()> {
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
            Err(error) if is_needed => Err(error),
            Err(error) => {
                say(&format!("note: this cannot be undone: {error:#}"));
                Ok(())
            }
        }
    }

    /// Nothing was changed after all.
    pub(super) fn forget(&mut self) {
        if let (Ok(journal), Some(entry)) = (&self.journal, self.entry.take()) {
            journal.forget(&entry);
        }
    }

    fn conclude(&mut self, become_so: impl FnOnce(&mut Entry)) {
        if let (Ok(journal), Some(entry)) = (&self.journal, &mut self.entry) {
            become_so(entry);
            if let Err(error) = journal.write(entry) {
                say(&format!("note: {error:#}"));
            }
        }
    }
}

/// Conclude the entry; what was refused is answered by putting everything back, before anything is said: a terminal that
/// is cut off may take no words any more.
pub(super) fn finish(director: &mut Client, record: &mut Record, result: anyhow::Result<()>) -> anyhow::Result<()> {
    let (refused, remaining) = match result.map_err(anyhow::Error::downcast) {
        Ok(()) => {
            record.conclude(Entry::done);
            return Ok(());
        }
        Err(Ok(ApplyError::NotArrived { refused, remaining })) => (refused, remaining),
        Err(Ok(error)) => return Err(error.into()),
        Err(Err(error)) => return Err(error),
    };
    if refused.is_empty() {
        record.conclude(Entry::done);
        let first = remaining.first().map(ToString::to_string).unwrap_or_default();
        bail!(
            "all changes were made, and yet {} more would be needed, beginning with `{first}': {}",
            remaining.len(),
            writers::suspects()
        );
    }
    let is_back = put_back_at_once(director, record);
    for (change, error) in &refused {
        say(&format!("refused: {change}: {error}"));
    }
    is_back?;
    bail!("{} refused: all was put back as it was", crate::count::count(refused.len(), "change"))
}

fn put_back_at_once(director: &mut Client, record: &mut Record) -> anyhow::Result<()> {
    let (Some(journal), Some(entry)) = (record.journal(), record.entry()) else {
        bail!("some changes were refused; the others were made");
    };
    let (config, options) = way_back(journal, entry, &[])?;
    put_back(director, &config, &options)?;
    record.conclude(|entry| entry.end(Status::RolledBack));
    Ok(())
}

/// Go back to what was.
pub(super) fn put_back(director: &mut Client, config: &Config, options: &Options) -> anyhow::Result<()> {
    match ipvs::apply(director, config, options) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("the table could not be put back as it was")),
    }
}
