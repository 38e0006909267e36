//! The way back to an earlier table, for `undo` and `restore`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Client, Config, Counters, Plan, State, plan};

use crate::context::{Context, duration};
use crate::journal::{Intent, Journal};
use crate::plan::drain::{self, Drained, Limits};
use crate::plan::impact::TableIndex;
use crate::plan::report::{Report, Stage};
use crate::plan::transaction::{Transaction, finish};
use crate::plan::waiting::Left;
use crate::terminal::color::Palette;
use crate::terminal::question;

/// The options of `undo` and `restore`.
#[derive(Args, Debug)]
pub(super) struct BackArguments {
    /// Show the changes without making them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Drop connections without asking
    ///
    /// Without this option or --drain, a change that drops connections must be confirmed on the terminal. If there is no
    /// terminal, it is refused.
    #[arg(long)]
    allow_cut: bool,
    /// Before deleting servers, set their weight to 0 and wait for their connections to end, for at most DURATION
    ///
    /// Works as `apply --drain`: connections that are left after DURATION are dropped.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain: Option<Duration>,
}

/// A way back.
pub(super) struct WayBack<'w> {
    /// The command, for the journal.
    pub(super) command: &'static str,
    /// The number of the plan that is undone.
    pub(super) undoes: Option<u64>,
    /// Returns the wanted table for a present one. Fails if the way is blocked.
    pub(super) wanted: &'w dyn Fn(&State) -> anyhow::Result<(Config, Options)>,
    /// Checks that the way is still the right one. The journal is locked then.
    pub(super) check: &'w dyn Fn(&Journal) -> anyhow::Result<()>,
    /// Records that the way was taken. The journal is locked then.
    pub(super) done: &'w dyn Fn(&Journal),
}

impl BackArguments {
    /// Takes the way back, unless it drops connections that nobody agreed to drop. Prints the changes, and returns the
    /// exit code.
    pub(super) fn take(&self, context: &Context, way: &WayBack<'_>) -> anyhow::Result<u8> {
        let mut director = context.open()?;
        let state = director.state_with(Counters::Skip)?;
        let (config, options) = (way.wanted)(&state)?;
        let preview = plan(&config, &state, &options);
        if self.dry_run {
            return report(context, &preview, &state).print_plan(context);
        }
        let is_agreed = self.agree(context, &preview, &state)?;
        let journal = context.journal()?;
        (way.check)(&journal)?;
        journal.ensure_none_pending()?;
        let agree = |plan: &Plan, before: &State| {
            // The question was about other changes.
            if plan.changes != preview.changes
                && !is_agreed
                && !TableIndex::new(before).dropped_by_plan(plan).is_nothing()
            {
                bail!("the table has changed meanwhile: nothing was changed\nTry again.");
            }
            Ok(())
        };
        let limits = self.drain.map(|drain| Limits { drain, lock: context.lock_timeout, may_drop: true });
        way.go(context, &mut director, journal, limits.as_ref(), &agree)
    }

    /// Fails unless the plan may drop the connections that it drops. Asks on a terminal. Returns whether any plan may
    /// drop connections.
    fn agree(&self, context: &Context, plan: &Plan, state: &State) -> anyhow::Result<bool> {
        if self.allow_cut || self.drain.is_some() {
            return Ok(true);
        }
        let dropped = TableIndex::new(state).dropped_by_plan(plan);
        if dropped.is_nothing() {
            return Ok(false);
        }
        let hint = "Use --drain to wait until they have ended, or --allow-cut to drop them.";
        if context.json || !question::is_possible() {
            bail!("this drops {dropped}: nothing was changed\n{hint}");
        }
        let mut text = Vec::new();
        report(context, plan, state).write_text(
            &mut text,
            &Palette::of(context.color, &io::stderr()),
            Stage::Planned,
        )?;
        io::stderr().write_all(&text)?;
        if !question::ask(&format!("Drop {dropped}?"))? {
            bail!("nothing was changed\n{hint}");
        }
        Ok(false)
    }
}

impl WayBack<'_> {
    /// Makes the changes, prints them, and returns the exit code. Changes nothing if `agree` fails. With limits, servers
    /// are drained before they are deleted.
    pub(super) fn go(
        &self,
        context: &Context,
        director: &mut Client,
        journal: Journal,
        drain: Option<&Limits>,
        agree: &dyn Fn(&Plan, &State) -> anyhow::Result<()>,
    ) -> anyhow::Result<u8> {
        let mut transaction = Transaction::from(journal);
        let before = director.state_with(Counters::Skip)?;
        let (config, options) = (self.wanted)(&before)?;
        let plan = plan(&config, &before, &options);
        agree(&plan, &before)?;
        let made = self.make(&mut transaction, director, (config, options), before, plan, drain)?;
        if let Some(journal) = transaction.journal() {
            (self.done)(journal);
        }
        let interruption = transaction.interruption();
        drop(transaction);
        let Drained { made, from, dropped } = made;
        dropped.print_note();
        report(context, &made, &from).print_result(context)?;
        // The changes are complete. The signal ends this process afterwards, so that its parent sees it.
        if let Some(signal) = interruption {
            signal.end_process();
        }
        Ok(dropped.exit_code())
    }

    fn make(
        &self,
        transaction: &mut Transaction,
        director: &mut Client,
        (config, options): (Config, Options),
        before: State,
        plan: Plan,
        limits: Option<&Limits>,
    ) -> anyhow::Result<Drained> {
        if plan.changes.is_empty() {
            return Ok(Drained { made: plan, from: before, dropped: Left::default() });
        }
        let changes = plan.changes.iter().collect();
        let Self { command, undoes, .. } = *self;
        let intent = Intent { command, file: None, scope: &options.scope, changes, undoes, confirm_within: None };
        transaction.begin(intent, &before)?;
        let wanted = |state: &State| (self.wanted)(state).unwrap_or_else(|_| (config.clone(), options.clone()));
        let made = drain::make(director, transaction, wanted, before, plan, limits);
        finish(director, transaction, made)
    }
}

/// Returns the report. The services outside the scope are not reported: they are those that the plan left alone.
pub(super) fn report(context: &Context, plan: &Plan, from: &State) -> Report {
    let mut plan = plan.clone();
    plan.out_of_scope.clear();
    Report::new(&plan, from, TableSizes::default(), context)
}
