//! The start of the rollback timer, in a scope of systemd of its own if possible.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{READY, place};
use crate::context::Context;
use crate::journal::Entry;

/// The rollback timer of a plan. The time starts when this is dropped, or when this process dies.
pub(in crate::verbs) struct TimerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    warning: Option<String>,
}

impl TimerProcess {
    /// Starts the time limit, because all changes have been made. If the process was killed meanwhile, starts another.
    /// Returns a warning if the plan may not be rolled back.
    pub(in crate::verbs) fn start_time_limit(self, context: &Context, entry: &Entry) -> Option<String> {
        let Self { mut child, stdin, warning } = self;
        drop(stdin);
        if matches!(child.try_wait(), Ok(None)) {
            return warning;
        }
        match start(context, entry) {
            Ok(process) => process.warning,
            Err(error) => Some(format!("warning: plan {} will not be rolled back: {error:#}", entry.number)),
        }
    }
}

/// Starts the rollback timer. It is started before the first change, so that changes are rolled back even if this
/// process dies while making them. Fails where no process can outlive this one.
pub(in crate::verbs) fn start(context: &Context, entry: &Entry) -> anyhow::Result<TimerProcess> {
    /// The time limit for systemd-run. It takes some milliseconds if systemd is not busy.
    const OF_SCOPE: Duration = Duration::from_secs(10);
    const OF_PROCESS: Duration = Duration::from_secs(30);
    place::ensure_it_outlives_this_program()?;
    // The caller of this program may wait for the end of a pipe that only this program should hold.
    crate::start::close_inherited_descriptors_on_exec();
    let unit = place::unit();
    let mut reason = String::new();
    if let (Some(_), Some(systemd_run)) = (&unit, place::systemd_run()) {
        let mut command = Command::new(systemd_run);
        command.args(["--scope", "--quiet", "--collect", "--no-ask-password"]);
        command.arg(format!("--unit=ipvsadm-rs-rollback-{}-{}.scope", entry.number, std::process::id()));
        command.arg(format!("--description=Rollback of plan {} of ipvsadm-rs", entry.number));
        // systemd-run(1) resolves the path when it runs itself, therefore not /proc/self/exe. The name `exe` is not one
        // of those that select another program.
        command.arg("--").arg(format!("/proc/{}/exe", std::process::id()));
        match spawn(command, context, entry, OF_SCOPE) {
            Ok(process) => return Ok(process),
            Err(error) => reason = format!(": systemd-run: {error:#}"),
        }
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ipvsadm-rs");
    let process = spawn(command, context, entry, OF_PROCESS).context("cannot start the rollback timer")?;
    // Most units end with SIGTERM to all processes, some with SIGKILL (KillMode=mixed).
    let early = "the plan is rolled back early, or never if the rollback timer is killed";
    let warning = unit.map(|unit| format!("warning: if {unit} ends, {early}{reason}"));
    Ok(TimerProcess { warning, ..process })
}

/// Starts the command with the arguments of the rollback timer, and waits until it is ready.
fn spawn(mut command: Command, context: &Context, entry: &Entry, limit: Duration) -> anyhow::Result<TimerProcess> {
    command.arg("rollback-timer").arg("--state-dir").arg(&context.state_dir);
    if let Some(namespace) = &context.netns {
        command.arg("--netns").arg(namespace.to_string());
    }
    command.arg(entry.number.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + limit;
    let line = child.stdout.take().map(|stdout| read_line(&stdout, deadline)).transpose();
    if line.as_ref().is_ok_and(|line| line.as_deref() == Some(READY)) {
        return Ok(TimerProcess { stdin: child.stdin.take(), child, warning: None });
    }
    let is_over = Instant::now() >= deadline;
    // A rollback timer that starts later would roll back changes of others.
    child.kill()?;
    child.wait()?;
    if is_over {
        bail!("it did not start within {}", humantime::format_duration(limit));
    }
    line?;
    let said = child.stderr.take().map(|stderr| read_line(&stderr, Instant::now() + Duration::from_secs(1)));
    match said.transpose()? {
        Some(said) if !said.is_empty() => bail!("{}", said.strip_prefix("error: ").unwrap_or(&said)),
        _ => bail!("it exited"),
    }
}

/// Reads a line, or what there is of it at the end of the input or at the deadline.
fn read_line(input: &impl AsFd, deadline: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        let rest = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(rest).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(input, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 512];
        match rustix::io::read(input, &mut bytes)? {
            0 => break,
            length => line.extend_from_slice(bytes.get(..length).unwrap_or_default()),
        }
    }
    let text = String::from_utf8_lossy(&line);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
