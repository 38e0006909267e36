//! A change that can be taken back: noted before it is made, concluded after.

use anyhow::bail;
use ipvs::apply::ApplyError;
use ipvs::plan::Options;
use ipvs::{Client, Config, State};

use super::Context;
use crate::failure::say;
use crate::journal::{Entry, Journal, ScopeText, Status};
use crate::writers;

/// An entry of the journal that is being made, if there can be one.
pub(super) struct Record {
    pub(super) journal: Option<Journal>,
    pub(super) entry: Option<Entry>,
}

impl Record {
    /// Begin. Without a journal the change is made all the same, unless it could not do without.
    pub(super) fn begin(
        context: &Context,
        options: &Options,
        changes: Vec<String>,
        before: &State,
        undoes: Option<u64>,
        needed: bool,
    ) -> anyhow::Result<Self> {
        let begun = Journal::open(&context.state_dir, context.netns.as_ref()).and_then(|journal| {
            let entry = journal.begin(ScopeText::from(&options.scope), changes, before, undoes)?;
            Ok(Self { journal: Some(journal), entry: Some(entry) })
        });
        match begun {
            Ok(record) => Ok(record),
            Err(error) if needed || error.to_string().contains("another ipvsadm-rs") => Err(error),
            Err(error) => {
                say(&format!("note: this cannot be undone: {error:#}"));
                Ok(Self { journal: None, entry: None })
            }
        }
    }

    pub(super) fn conclude(&mut self, status: Status) {
        if let (Some(journal), Some(entry)) = (&self.journal, &mut self.entry)
            && let Err(error) = journal.conclude(entry, status)
        {
            say(&format!("note: {error:#}"));
        }
    }
}

/// Conclude the entry; what was refused is answered by putting everything back.
pub(super) fn finish(director: &mut Client, record: &mut Record, result: anyhow::Result<()>) -> anyhow::Result<()> {
    let (refused, remaining) = match result.map_err(anyhow::Error::downcast) {
        Ok(()) => {
            record.conclude(Status::Done);
            return Ok(());
        }
        Err(Ok(ApplyError::NotArrived { refused, remaining })) => (refused, remaining),
        Err(Ok(error)) => return Err(error.into()),
        Err(Err(error)) => return Err(error),
    };
    if refused.is_empty() {
        record.conclude(Status::Done);
        let first = remaining.first().map(ToString::to_string).unwrap_or_default();
        bail!(
            "all changes were made, and yet {} more would be needed, beginning with `{first}': {}",
            remaining.len(),
            writers::suspects()
        );
    }
    for (change, error) in &refused {
        say(&format!("refused: {change}: {error}"));
    }
    let Some(entry) = &record.entry else { bail!("some changes were refused; the others were made") };
    let (config, options) = entry.way_back()?;
    put_back(director, &config, &options)?;
    record.conclude(Status::RolledBack);
    bail!("{} refused: all was put back as it was", crate::input::count(refused.len(), "change"))
}

/// Go back to what was.
pub(super) fn put_back(director: &mut Client, config: &Config, options: &Options) -> anyhow::Result<()> {
    match ipvs::apply(director, config, options) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("the table could not be put back as it was")),
    }
}
