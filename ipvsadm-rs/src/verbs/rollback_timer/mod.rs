//! The process that rolls back a pending plan unless it is confirmed in time. It survives the loss of the terminal.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::context::{Context, code};
use crate::journal::{Entry, Folder, Journal, Pending, Status, rollback_plan};
use crate::plan::transaction::roll_back;
use crate::terminal::syslog::{Priority, log};

/// Roll back a pending plan at its deadline
#[derive(Args, Debug)]
pub(super) struct RollbackTimer {
    /// Number of the plan in the journal
    number: u64,
}

/// The line that the process prints after it has started successfully.
const READY: &str = "ready";

/// The rollback timer of a plan. The time starts when this is dropped, or when this process dies.
pub(super) struct TimerProcess(#[expect(dead_code, reason = "held")] Option<ChildStdin>);

/// Starts the rollback timer. It is started before the first change, so that changes are rolled back even if this
/// process dies while making them.
pub(super) fn start(context: &Context, entry: &Entry) -> anyhow::Result<TimerProcess> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ipvsadm-rs").arg("rollback-timer").arg("--state-dir").arg(&context.state_dir);
    if let Some(namespace) = &context.netns {
        command.arg("--netns").arg(namespace.to_string());
    }
    command.arg(entry.number.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start the rollback process")?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("cannot read from the rollback process")?;
    BufReader::new(stdout).read_line(&mut line).context("cannot read from the rollback process")?;
    if line.trim() != READY {
        bail!("cannot start the rollback process: it exited");
    }
    Ok(TimerProcess(child.stdin.take()))
}

impl RollbackTimer {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        // A session of its own, so that the loss of the terminal does not end this process.
        rustix::process::setsid().context("cannot detach from the terminal")?;
        let folder = context.folder()?;
        let _lock = folder.lock_timer(self.number)?;
        let pending = pending(&folder, self.number).with_context(|| format!("plan {} is not pending", self.number))?;
        context.write(|out| writeln!(out, "{READY}"))?;
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        if !ends_within(pending.confirm_within, &folder, self.number) {
            self.roll_back(context, folder, pending.confirm_within);
        }
        Ok(code::DONE)
    }

    /// Rolls back the plan. Nobody reads the output any more, so the result is written to the journal and the system
    /// log.
    fn roll_back(&self, context: &Context, folder: Folder, within: Duration) {
        let within = humantime::format_duration(within);
        let reason = format!("plan {} was not confirmed within {within}", self.number);
        match roll_back_if_pending(context, folder, self.number) {
            Ok(true) => log(Priority::Notice, &format!("{reason}: rolled back")),
            Ok(false) => {}
            Err(error) => log(Priority::Error, &format!("{reason}: rollback failed: {error:#}")),
        }
    }
}

fn pending(folder: &Folder, number: u64) -> Option<Pending> {
    folder.read(number).ok()?.pending
}

/// Waits until the limit and returns false. Returns true as soon as the plan is no longer pending.
fn ends_within(limit: Duration, folder: &Folder, number: u64) -> bool {
    const LOOK: Duration = Duration::from_secs(5);
    let start = Instant::now();
    loop {
        if folder.read(number).is_ok_and(|entry| entry.pending.is_none()) {
            return true;
        }
        let rest = limit.saturating_sub(start.elapsed());
        if rest.is_zero() {
            return false;
        }
        std::thread::sleep(rest.min(LOOK));
    }
}

/// Rolls back the plan if it is still pending, and returns whether it was. This is checked while this process holds the
/// lock of the journal.
fn roll_back_if_pending(context: &Context, folder: Folder, number: u64) -> anyhow::Result<bool> {
    /// The time limit for the lock. It is a day longer than the maximum of --drain, during which `apply` holds the
    /// lock.
    const PATIENCE: Duration = Duration::from_secs(31 * 24 * 60 * 60);
    let journal = Journal::open(folder, PATIENCE)?;
    let mut entry = journal.read(number)?;
    if entry.pending.is_none() {
        return Ok(false);
    }
    let result = rollback_plan(&journal, &entry, &[])
        .and_then(|(config, options)| roll_back(&mut context.open()?, &config, &options));
    match &result {
        Ok(()) => entry.end(Status::Expired),
        Err(error) => {
            entry.end(Status::RollbackFailed);
            entry.error = Some(format!("{error:#}"));
        }
    }
    if let Err(error) = journal.write(&entry) {
        log(Priority::Error, &format!("cannot record the rollback of plan {number}: {error:#}"));
    }
    result.map(|()| true)
}
