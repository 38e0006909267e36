//! `ipvsadm-rs apply`: the smallest change that makes the director hold what a file says, verified and undoable.

use std::time::Duration;

use clap::Args;
use ipvs::apply::carry_out;
use ipvs::{Director, plan};

use super::plan::Wanted;
use super::record::{Record, finish};
use super::watch;
use super::{Context, code, drain};
use crate::failure::say;
use crate::progress::Told;
use crate::report::{Report, Tense};

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
        let asked = self.wanted.read()?;
        let mut director = context.open()?;
        let before = director.state()?;
        let (desired, options) = asked.of(&before);
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
            None => carry_out(&mut Told(&mut director), &desired, &options, before, plan).map(drop).map_err(Into::into),
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
