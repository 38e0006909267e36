//! The process that rolls back a pending plan unless it is confirmed in time. It depends on no terminal, pipe, lock or
//! unit of the program that started it.

mod events;
mod place;
mod start;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ipvs::plan::Options;
use ipvs::{Client, Config};
use rustix::fs::Mode;

use crate::context::{Context, code};
use crate::journal::{Entry, Folder, Journal, Phase, Status, rollback_plan};
use crate::plan::transaction::roll_back;
use crate::terminal::syslog::{Priority, log};

use events::{Event, Events};
pub(super) use start::{TimerProcess, start};

/// Roll back a pending plan at its deadline
#[derive(Args, Debug)]
pub(super) struct RollbackTimer {
    /// Number of the plan in the journal
    number: u64,
}

/// The line that the process prints after it has started successfully.
const READY: &str = "ready";

/// The maximum time between two readings of the entry, to see whether the plan is still pending.
const LOOK: Duration = Duration::from_secs(5);

impl RollbackTimer {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let events = Events::catch().context("cannot catch signals")?;
        let mut rollback = Rollback::prepare(self.number, context)?;
        detach().context("cannot detach from the terminal")?;
        let timer = rollback.folder.lock_timer(self.number)?;
        Folder::set_ready(&timer, true)?;
        if let Err(error) = context.write(|out| writeln!(out, "{READY}")) {
            // The program that would make the changes has died.
            Folder::set_ready(&timer, false)?;
            return Err(error);
        }
        close_output().context("cannot close the output")?;
        if let Some(cause) = rollback.wait(&events)? {
            rollback.run(&cause);
        }
        Ok(code::DONE)
    }
}

/// Leaves the session, working directory and limits of the program that started this one.
fn detach() -> io::Result<()> {
    // Otherwise the loss of the terminal would end this process.
    rustix::process::setsid()?;
    // Otherwise the file system of the working directory could not be unmounted.
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // The kernel kills this process last if memory runs out. Not essential, and only root may lower the value.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    Ok(())
}

/// Redirects standard output and standard error to /dev/null. Their reader may be gone, or never read.
fn close_output() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

/// The rollback of a plan, prepared before its first change. It needs neither the journal nor the name of the namespace
/// any more, because both may be gone at the deadline.
struct Rollback {
    folder: Folder,
    entry: Entry,
    within: Duration,
    /// A socket of the plan's namespace. It keeps the namespace alive, and never reaches another one of the same name.
    director: Client,
    config: Config,
    options: Options,
}

impl Rollback {
    fn prepare(number: u64, context: &Context) -> anyhow::Result<Self> {
        // The working directory changes later.
        let state_dir = std::path::absolute(&context.state_dir).context("cannot find the state directory")?;
        let context = Context { state_dir, ..context.clone() };
        let folder = context.folder()?;
        let entry = folder.read(number)?;
        let pending = entry.pending.as_ref().with_context(|| format!("plan {number} is not pending"))?;
        let within = pending.confirm_within;
        // Fails if the entry is of another namespace.
        let (config, options) = rollback_plan(&folder, &entry, &[])?;
        let director = context.open()?;
        folder.ensure_same_namespace()?;
        Ok(Self { folder, entry, within, director, config, options })
    }

    /// Waits until the plan must be rolled back, and returns the cause. Returns `None` as soon as the plan is no longer
    /// pending.
    fn wait(&self, events: &Events) -> io::Result<Option<Cause>> {
        if let Some(cause) = self.wait_for_changes(events)? {
            return Ok(Some(cause));
        }
        let start = Instant::now();
        while self.is_pending() {
            let rest = self.within.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(Some(Cause::Deadline));
            }
            if let Event::Signal(name) = events.wait(None, rest.min(LOOK))? {
                return Ok(Some(Cause::Signal(name)));
            }
        }
        Ok(None)
    }

    /// Waits until the program that makes the changes has closed this process's standard input, or has died. Returns a
    /// cause to roll back before that.
    fn wait_for_changes(&self, events: &Events) -> io::Result<Option<Cause>> {
        /// The time after a signal during which the program may finish its changes. Changes made after the rollback
        /// would stay.
        const PATIENCE: Duration = Duration::from_secs(10);
        let program = parent_id();
        let mut stopped_since: Option<Instant> = None;
        let mut ended: Option<(Instant, &'static str)> = None;
        while self.is_pending() {
            let rest = match &ended {
                Some((since, _)) => PATIENCE.saturating_sub(since.elapsed()),
                None => LOOK,
            };
            // A program that drains servers makes its changes later, and only if the plan was not rolled back.
            if rest.is_zero() || (ended.is_some() && self.is_draining()) {
                break;
            }
            match events.wait(Some(io::stdin().as_fd()), rest.min(LOOK))? {
                Event::Signal(name) if ended.is_none() => ended = Some((Instant::now(), name)),
                Event::Signal(_) | Event::Time => {}
                Event::Closed => break,
            }
            // A program stopped with ^Z would hold back the rollback for ever.
            match (place::is_stopped(program), stopped_since) {
                (false, _) => stopped_since = None,
                (true, None) => stopped_since = Some(Instant::now()),
                (true, Some(since)) if since.elapsed() >= self.within => {
                    return Ok(Some(Cause::Stopped));
                }
                (true, Some(_)) => {}
            }
        }
        Ok(ended.map(|(_, name)| Cause::Signal(name)))
    }

    /// Returns whether the entry is pending. An entry that cannot be read was not confirmed.
    fn is_pending(&self) -> bool {
        self.folder.read(self.entry.number).map_or(true, |entry| entry.pending.is_some())
    }

    fn is_draining(&self) -> bool {
        let entry = self.folder.read(self.entry.number);
        entry.is_ok_and(|entry| self.folder.phase(&entry) == Some(Phase::Draining))
    }

    /// Rolls back the plan. Tries again after a failure, because memory may be short for a moment. The journal is not
    /// locked during the pauses.
    fn run(&mut self, cause: &Cause) {
        const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];
        for pause in PAUSES {
            if !self.attempt(cause, Some(pause)) {
                return;
            }
            std::thread::sleep(pause);
        }
        self.attempt(cause, None);
    }

    /// Rolls back the plan if it is still pending, and returns whether that failed. Nobody reads the output any more, so
    /// the result is written to the journal and the system log. `pause` is the time until the next attempt.
    fn attempt(&mut self, cause: &Cause, pause: Option<Duration>) -> bool {
        let number = self.entry.number;
        let (journal, without_lock) = self.lock();
        if let Ok(entry) = journal.read(number) {
            if entry.pending.is_none() {
                return false;
            }
            self.entry = entry;
        }
        let result = roll_back(&mut self.director, &self.config, &self.options);
        let entry = &mut self.entry;
        match &result {
            Ok(()) => {
                entry.end(Status::Expired);
                entry.error = cause.remark();
            }
            Err(error) => {
                let pending = entry.pending.take().filter(|_| pause.is_some());
                entry.end(Status::RollbackFailed);
                entry.pending = pending;
                entry.error = Some(format!("{error:#}"));
            }
        }
        let recorded = journal.write(entry);
        drop(journal);
        let cause = match cause.remark() {
            Some(remark) => format!("plan {number}: {remark}"),
            None => format!("plan {number} was not confirmed within {}", humantime::format_duration(self.within)),
        };
        match (&result, pause) {
            (Ok(()), _) => log(Priority::Notice, &format!("{cause}: rolled back{without_lock}")),
            (Err(error), Some(pause)) => {
                let pause = humantime::format_duration(pause);
                log(Priority::Warning, &format!("plan {number}: trying to roll back again in {pause}: {error:#}"));
            }
            (Err(error), None) => {
                log(Priority::Error, &format!("{cause}: rollback failed{without_lock}: {error:#}"));
            }
        }
        if let Err(error) = recorded {
            log(Priority::Error, &format!("cannot record the rollback of plan {number}: {error:#}"));
        }
        result.is_err()
    }

    /// Locks the journal. If that fails, returns the journal without its lock, and a remark for the system log.
    fn lock(&self) -> (Journal, String) {
        /// The time limit for the lock. Its holder may be blocked, for example by a terminal stopped with ^S.
        const PATIENCE: Duration = Duration::from_secs(5);
        match Journal::open(self.folder.clone(), PATIENCE) {
            Ok(journal) => (journal, String::new()),
            Err(error) => {
                (Journal::without_lock(self.folder.clone()), format!(" without the lock of the journal ({error:#})"))
            }
        }
    }
}

/// The cause of a rollback.
enum Cause {
    /// The time limit for confirming the plan.
    Deadline,
    /// A signal to the rollback timer, by name.
    Signal(&'static str),
    /// The program that makes the changes was stopped for as long as the time limit.
    Stopped,
}

impl Cause {
    /// Returns the remark for the journal. `None` for the deadline, because the status of the entry states it.
    fn remark(&self) -> Option<String> {
        match self {
            Self::Deadline => None,
            Self::Signal(name) => Some(format!("the rollback timer was ended by {name}")),
            Self::Stopped => Some("the program that applied it was stopped".to_owned()),
        }
    }
}
