//! The process that puts a plan back unless it is confirmed in time. It outlives the terminal it was started from.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;

use super::record::{Record, put_back};
use super::{Context, code};
use crate::journal::{self, Journal, Pending, Status};

/// Put a plan back when its time is over
#[derive(Args, Debug)]
pub(super) struct Watch {
    number: u64,
    milliseconds: u64,
}

/// What it says when nothing can keep it any more from putting the plan back.
const READY: &str = "ready";

/// Note that the plan waits for confirmation, and start the process that waits. It is started before the first change is
/// made, so that the changes are put back also if this process does not live to see their end.
pub(super) fn start(context: &Context, record: &Record, limit: Duration) -> anyhow::Result<()> {
    let (Some(journal), Some(entry)) = (&record.journal, &record.entry) else {
        bail!("without a journal nothing can be put back");
    };
    let until = humantime::format_rfc3339_seconds(SystemTime::now() + limit).to_string();
    journal.wait_for_confirmation(&Pending { number: entry.number, until })?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ipvsadm-rs").arg("watch").arg("--state-dir").arg(&context.state_dir);
    if let Some(namespace) = &context.netns {
        command.arg("--netns").arg(namespace.to_string());
    }
    command.arg(entry.number.to_string()).arg(limit.as_millis().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start the process that waits for confirmation")?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("no pipe")?;
    BufReader::new(stdout).read_line(&mut line).context("the process that waits for confirmation does not answer")?;
    if line.trim() != READY {
        bail!("the process that waits for confirmation did not start");
    }
    Ok(())
}

/// Nothing waits any more.
pub(super) fn stop(context: &Context, record: &Record) -> anyhow::Result<()> {
    if let Some(entry) = &record.entry {
        journal::take_pending(&context.state_dir, context.netns.as_ref(), Some(entry.number))?;
    }
    Ok(())
}

impl Watch {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        // A session of its own: no terminal can take this process along when it goes.
        rustix::process::setsid().context("cannot leave the terminal")?;
        let deadline = Instant::now() + Duration::from_millis(self.milliseconds);
        context.write(|out| writeln!(out, "{READY}"))?;
        while let Some(rest) = deadline.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
        let taken = journal::take_pending(&context.state_dir, context.netns.as_ref(), Some(self.number))?;
        if taken.is_none() {
            return Ok(code::DONE);
        }
        let journal = patiently_open(context)?;
        let mut entry = journal.read(self.number)?;
        let (config, options) = entry.way_back()?;
        put_back(&mut context.open()?, &config, &options)?;
        journal.conclude(&mut entry, Status::Expired)?;
        Ok(code::DONE)
    }
}

/// Whoever is changing the table has to come to an end first: the plan itself, perhaps.
fn patiently_open(context: &Context) -> anyhow::Result<Journal> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let start = Instant::now();
    loop {
        match Journal::open(&context.state_dir, context.netns.as_ref()) {
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            journal => return journal,
        }
    }
}
