//! `ipvsadm-rs apply`: the smallest change that makes the director hold what a file says, verified and undoable.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ipvs::apply::{ApplyError, carry_out};
use ipvs::plan::Options;
use ipvs::{Client, Config, Director, State, plan};

use super::plan::Wanted;
use super::watch;
use super::{Context, code, drain};
use crate::failure::say;
use crate::journal::{Entry, Journal, ScopeText, Status};
use crate::report::{Report, Tense};
use crate::writers;

/// Make the director hold what FILE says, by the smallest change
///
/// What is as it should be is not touched: its connections and counters go on. Afterwards the table is read again and must
/// be what was asked for. If the kernel refuses something, everything is put back.
///
/// Exit code: 0 done, 1 error; with --dry-run that of `plan`.
#[derive(Args, Debug)]
pub(super) struct Apply {
    #[command(flatten)]
    wanted: Wanted,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Before servers are deleted, give them weight 0 and wait until their connections have ended, this long at the most
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    drain: Option<Duration>,
    /// Put everything back unless `ipvsadm-rs confirm` is given within this time
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    confirm_within: Option<Duration>,
}

impl Apply {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let desired = self.wanted.config()?;
        let mut director = context.open()?;
        let before = director.state()?;
        let options = self.wanted.options();
        let plan = plan(&desired, &before, &options);
        let report = Report::new(&plan, &before, self.wanted.sizes());
        if self.dry_run {
            return super::plan::show(context, &report);
        }
        if report.is_empty() {
            show_result(context, &report)?;
            return Ok(code::DONE);
        }
        let lines = plan.changes.iter().map(ToString::to_string).collect();
        let mut record = Record::begin(context, &options, lines, &before, None, self.confirm_within.is_some())?;
        if let Some(limit) = self.confirm_within {
            watch::start(context, &record, limit)?;
        }
        let result = match self.drain {
            Some(limit) => drain::apply_drained(&mut director, &desired, &options, before, limit),
            None => carry_out(&mut director, &desired, &options, before, plan).map(drop).map_err(Into::into),
        };
        if let Err(error) = finish(&mut director, &mut record, result) {
            // What has been put back does not wait for confirmation any more.
            watch::stop(context, &record)?;
            return Err(error);
        }
        show_result(context, &report)?;
        if let Some(limit) = self.confirm_within {
            let limit = humantime::format_duration(limit);
            say(&format!("all is put back in {limit} unless `ipvsadm-rs confirm' is given before"));
        }
        Ok(code::DONE)
    }
}

/// Show what was done.
pub(super) fn show_result(context: &Context, report: &Report) -> anyhow::Result<()> {
    if context.json {
        return context.write_json(report);
    }
    context.write(|out| report.write_text(out, &context.palette(), Tense::Done))
}

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
