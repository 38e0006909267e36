//! `ipvsadm-rs apply`: changes the table to match a file.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ipvs::{Change, Client, Counters, Plan, State, plan};

use super::plan::PlanArguments;
use super::rollback_timer::{self, TimerProcess};
use crate::context::{Context, code, duration, positive_duration};
use crate::file;
use crate::journal::{Intent, Pending, Status};
use crate::plan::desired::Desired;
use crate::plan::drain::{self, Drained, Limits};
use crate::plan::impact::TableIndex;
use crate::plan::transaction::{Abandoned, Transaction, finish};
use crate::plan::waiting::Left;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Change the table to match FILE
///
/// Makes as few changes as possible. Services and servers that already match FILE keep their connections and counters.
/// Afterwards the table is read again and compared with FILE. If the kernel refuses a change, all changes are rolled
/// back.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Apply {
    #[command(flatten)]
    arguments: PlanArguments,
    /// Accept a FILE that contains no rules, instead of failing
    #[arg(long)]
    allow_empty: bool,
    /// Show the changes without making them, as `plan` does
    #[arg(long)]
    dry_run: bool,
    /// Refuse a plan that drops connections or persistence templates
    ///
    /// The connections are counted when the table is read. With --drain, the servers are drained first. If connections
    /// are left at the time limit of --drain, all changes are rolled back.
    #[arg(long)]
    no_cut: bool,
    /// Refuse a plan that deletes more than N servers
    ///
    /// Servers of a service that is deleted count. A deleted service without servers counts as one server.
    #[arg(long, value_name = "N")]
    max_delete: Option<usize>,
    /// Before deleting servers, set their weight to 0 and wait for their connections to end, for at most DURATION
    ///
    /// Connections that are still open after DURATION are dropped, unless --no-cut is specified. Without this option, or with 0s, servers are deleted
    /// at once. DURATION has units, such as 90s, 2m or 1h; the maximum is 30d.
    ///
    /// During the wait, `set` can change the table, and `apply` refuses other plans. ^C or `ipvsadm-rs undo` ends the
    /// drain and restores the weights. After the wait, the changes are planned again from FILE.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain: Option<Duration>,
    /// Roll back after DURATION unless you run `ipvsadm-rs confirm` first
    ///
    /// The time starts when all changes have been made, after --drain. Until it ends, the plan is pending, and `apply`
    /// refuses other plans. `ipvsadm-rs confirm` keeps the plan, `ipvsadm-rs undo` rolls it back. DURATION has units,
    /// such as 90s, 2m or 1h; the maximum is 30d.
    ///
    /// A background process, the rollback timer, performs the rollback. In a container whose process 1 is not an init,
    /// it would end too early, so the plan is refused. Run ipvsadm-rs on the host instead, with --netns.
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    confirm_within: Option<Duration>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The table matches FILE
  1  Error; if the kernel refused a change, all changes were rolled back
  2  Only with --dry-run: there are changes to make
  3  The time limit of --drain was reached. The table matches FILE, and
     connections were dropped. With --no-cut, all changes were rolled back
  4  Only with --skip-bad-services: services with errors were skipped, and
     the other services match FILE

SIGINT, SIGQUIT, SIGTERM and SIGHUP roll back all changes and then end the
program. A second SIGINT, SIGQUIT or SIGTERM ends it at once. `undo` then
restores the table.";

impl Apply {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let unchanged = |error: anyhow::Error| match error.downcast_ref() {
            Some(errors @ file::HasErrors { .. }) if !self.dry_run => anyhow::anyhow!("{errors}: nothing was changed"),
            _ => error,
        };
        let desired = self.arguments.read(context).map_err(unchanged)?;
        if self.dry_run {
            return self.arguments.show(context, &desired, None);
        }
        // Without privileges or IPVS, no journal is created.
        let mut director = context.open()?;
        director.info()?;
        let transaction = Transaction::open(context)?;
        let before = director.state_with(Counters::Skip)?;
        let (config, options) = desired.for_state(&before)?;
        let plan = plan(&config, &before, &options);
        ensure_none_pending(&transaction)?;
        let Drained { made, from, dropped } = if plan.changes.is_empty() {
            drop(transaction);
            Drained { made: plan, from: before, dropped: Left::default() }
        } else {
            self.ensure_intended(&desired, &transaction, &before, &plan)?;
            match self.make(context, transaction, &mut director, &desired, before, plan) {
                Err(error) if error.downcast_ref::<Abandoned>().is_some_and(|abandoned| abandoned.is_over) => {
                    print_error(&format!("error: {error:#}"));
                    return Ok(code::TIME_OVER);
                }
                made => made?,
            }
        };
        self.arguments.report(context, &made, &from, &config).print_result(context)?;
        Ok(if desired.is_partial { code::SKIPPED } else { dropped.exit_code() })
    }

    /// Fails if the plan is probably not the intended one.
    fn ensure_intended(
        &self,
        desired: &Desired,
        transaction: &Transaction,
        before: &State,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        if desired.is_blank && !self.allow_empty {
            let file = file::name_of(&self.arguments.file);
            bail!(
                "{file} contains no rules: all services that the plan may change would be deleted\n\
                 Use --allow-empty if that is intended."
            );
        }
        self.ensure_limits(&TableIndex::new(before), plan)?;
        if let Some(entry) = transaction.journal().and_then(|journal| journal.last())
            && entry.status == Status::Started
        {
            print_error(&format!("note: plan {} was interrupted before its end", entry.number));
        }
        Ok(())
    }

    /// Fails if the plan exceeds the limits of --no-cut or --max-delete.
    fn ensure_limits(&self, held: &TableIndex<'_>, plan: &Plan) -> anyhow::Result<()> {
        let dropped = held.dropped_by_plan(plan);
        if self.no_cut && self.drain.is_none() && !dropped.is_nothing() {
            bail!("the plan drops {dropped}: nothing was changed\nUse --drain to wait until they have ended.");
        }
        let deleted = |change: &Change| match change {
            Change::DeleteService(_) => held.servers_of_deleted(change).max(1),
            Change::DeleteDestination(..) => 1,
            _ => 0,
        };
        let deleted: usize = plan.changes.iter().map(deleted).sum();
        match self.max_delete {
            Some(limit) if deleted > limit => {
                bail!("the plan deletes {}, and --max-delete is {limit}: nothing was changed", count(deleted, "server"))
            }
            _ => Ok(()),
        }
    }

    /// Makes the changes, and records them in the journal. Returns the changes that were made.
    fn make(
        &self,
        context: &Context,
        mut transaction: Transaction,
        director: &mut Client,
        desired: &Desired,
        before: State,
        plan: Plan,
    ) -> anyhow::Result<Drained> {
        let changes = plan.changes.iter().collect();
        let confirm_within = self.confirm_within;
        let file = Some(file::name_of(&self.arguments.file));
        let intent = Intent { command: "apply", file, scope: desired.scope(), changes, undoes: None, confirm_within };
        transaction.begin(intent, &before)?;
        let timer = start_timer(context, &mut transaction)?;
        let limits = self.drain.map(|drain| Limits { drain, lock: context.lock_timeout, may_drop: !self.no_cut });
        let wanted = |state: &State| desired.for_later_state(state);
        let applied = drain::make(director, &mut transaction, wanted, before, plan, limits.as_ref());
        let applied = match transaction.interruption() {
            // Without a journal, a complete plan is better than an error.
            Some(signal) if applied.is_ok() && transaction.entry().is_some() => Err(Abandoned::from(signal).into()),
            _ => applied,
        };
        let result = finish(director, &mut transaction, applied);
        // Starts the time limit of a plan that is still pending. Nothing is printed or computed before that, because a
        // terminal that was cut off may block this process.
        let entry = transaction.entry().filter(|entry| entry.pending.is_some()).cloned();
        let warning = entry.as_ref().zip(timer).and_then(|(entry, timer)| timer.start_time_limit(context, entry));
        drop(transaction);
        let dropped = result.as_ref().map_or(Left::default(), |made| made.dropped);
        print_notes(&dropped, entry.and_then(|entry| entry.pending).as_ref());
        print_error(&warning.unwrap_or_default());
        result.inspect_err(end_by_signal)
    }
}

/// Fails if another plan is pending. Otherwise this plan would be confirmed or rolled back together with it.
fn ensure_none_pending(transaction: &Transaction) -> anyhow::Result<()> {
    transaction.journal().map_or(Ok(()), |journal| journal.ensure_none_pending())
}

/// Ends this process by the signal that interrupted the plan. Returns if there was no signal.
fn end_by_signal(error: &anyhow::Error) {
    if let Some(signal) = error.downcast_ref::<Abandoned>().and_then(|abandoned| abandoned.signal) {
        print_error(&format!("error: {error:#}"));
        signal.end_process();
    }
}

/// Prints the connections that draining dropped, and how to keep a pending plan.
fn print_notes(dropped: &Left, pending: Option<&Pending>) {
    dropped.print_note();
    if let Some(pending) = pending {
        let confirm_within = humantime::format_duration(pending.confirm_within);
        print_error(&format!("note: rolling back in {confirm_within} unless you run `ipvsadm-rs confirm`"));
    }
}

/// Starts the rollback timer if the plan is pending. Otherwise returns `None`.
fn start_timer(context: &Context, transaction: &mut Transaction) -> anyhow::Result<Option<TimerProcess>> {
    let pending = transaction.entry().filter(|entry| entry.pending.is_some());
    let timer = pending.map(|entry| rollback_timer::start(context, entry)).transpose();
    if timer.is_err() {
        transaction.cancel();
    }
    timer
}
