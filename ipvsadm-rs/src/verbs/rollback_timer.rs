//! The process that puts a plan back unless it is confirmed in time. It outlives the terminal it was started from.

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

/// Roll back a pending plan when its time is over
#[derive(Args, Debug)]
pub(super) struct RollbackTimer {
    /// Number of the plan in the journal
    number: u64,
}

/// What it says when nothing can keep it any more from putting the plan back.
const READY: &str = "ready";

/// The process that waits. It counts from when this is dropped, and be it because this process dies.
pub(super) struct TimerProcess(#[expect(dead_code, reason = "held")] Option<ChildStdin>);

/// Start the process that waits. That is done before the first change is made, so that the changes are put back also if
/// this process does not live to see their end.
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
        // A session of its own: no terminal can take this process along when it goes.
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

    /// Nobody looks any more: what comes of it is said in the journal and in the log.
    fn roll_back(&self, context: &Context, folder: Folder, within: Duration) {
        let within = humantime::format_duration(within);
        let what = format!("plan {} was not confirmed within {within}", self.number);
        match roll_back_if_pending(context, folder, self.number) {
            Ok(true) => log(Priority::Notice, &format!("{what}: rolled back")),
            Ok(false) => {}
            Err(error) => log(Priority::Error, &format!("{what}: rollback failed: {error:#}")),
        }
    }
}

fn pending(folder: &Folder, number: u64) -> Option<Pending> {
    folder.read(number).ok()?.pending
}

/// Wait; look now and then whether there is still a reason to.
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

/// Whoever is changing the table has to come to an end first; only then it shows whether the plan still waits.
fn roll_back_if_pending(context: &Context, folder: Folder, number: u64) -> anyhow::Result<bool> {
    /// A little longer than anybody drains.
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
