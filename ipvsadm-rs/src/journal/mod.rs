//! The journal: the plans applied in a network namespace, each with the table from before, so that it can be undone.
//!
//! Each namespace has a directory with these files:
//! - `lock`: locked by the process that changes the table or the journal. It holds the lock from before the table is
//!   read until the result is recorded. Readers need no lock, because files are replaced atomically.
//! - `000007.json`: plan 7. The first line is the [`Entry`], the second the table from before.
//! - `000007.timer`: plan 7 is pending. The file is locked by the rollback timer, the process that rolls the plan back.
//!
//! The entry records whether a plan is pending. Only the process that holds `lock` writes an entry. Therefore only one
//! process can confirm, undo or roll back a plan.

mod entry;
mod folder;
mod folder_name;

use std::fmt;
use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use ipvs::{Config, Scope, State};
use rustix::fs::{FlockOperation, flock};

pub(crate) use entry::{Entry, Pending, Status, rollback_plan};
pub(crate) use folder::Folder;

use crate::file::write;
use crate::terminal::exit::print_error;

/// The maximum number of entries.
const MAX_ENTRIES: usize = 100;

/// The maximum total size of the older entries, in bytes. The last entry is kept at any size.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The journal of a namespace, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: Folder,
    _lock: File,
}

impl Deref for Journal {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

/// The error that another process held the lock until the time limit. It contains the path of the journal.
#[derive(Debug)]
pub(crate) struct Busy(String);

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot lock {}: another ipvsadm-rs is changing this table", self.0)
    }
}

impl std::error::Error for Busy {}

/// A plan that is about to be applied.
pub(crate) struct Intent<'s> {
    /// The services that it may change.
    pub(crate) scope: &'s Scope,
    /// The changes as lines of ipvsadm.
    pub(crate) changes: Vec<String>,
    /// The number of the plan that it undoes. `None` if it is not made by `undo`.
    pub(crate) undoes: Option<u64>,
    /// The time limit for confirming the plan. `None` if the plan needs no confirmation.
    pub(crate) confirm_within: Option<Duration>,
}

impl Journal {
    /// Locks the journal. Waits for at most `wait` and then fails with [`Busy`].
    pub(crate) fn open(folder: Folder, wait: Duration) -> anyhow::Result<Self> {
        let failed = || format!("cannot open the journal {folder}");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path()).with_context(failed)?;
        let lock = File::create(folder.path().join("lock")).with_context(failed)?;
        lock_in_time(&lock, wait, &folder)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Creates an entry. When this returns, the table from before is on disk.
    pub(crate) fn begin(&self, intent: Intent<'_>, before: &State) -> anyhow::Result<Entry> {
        let last = self.numbers().last().copied().unwrap_or_default();
        let entry = Entry {
            number: last.checked_add(1).context("no plan number is left")?,
            time: time_text(SystemTime::now()),
            status: Status::Started,
            scope: intent.scope.into(),
            changes: intent.changes,
            undoes: intent.undoes,
            pending: intent.confirm_within.map(Pending::new),
            error: None,
        };
        self.prune();
        if entry.pending.is_some() {
            File::create(self.timer_path(entry.number)).with_context(|| format!("cannot write to {}", self.folder))?;
        }
        let mut before = serde_json::to_vec(&Config::from(before))?;
        before.push(b'\n');
        self.write_lines(&entry, &before)?;
        Ok(entry)
    }

    /// Writes the new state of an entry.
    pub(crate) fn write(&self, entry: &Entry) -> anyhow::Result<()> {
        self.write_lines(entry, &self.second_line(entry.number)?)?;
        if entry.pending.is_none() {
            let _ = fs::remove_file(self.timer_path(entry.number));
        }
        Ok(())
    }

    /// Removes an entry whose plan changed nothing.
    pub(crate) fn remove(&self, entry: &Entry) {
        let _ = fs::remove_file(self.path_of(entry.number));
        let _ = fs::remove_file(self.timer_path(entry.number));
    }

    /// Fails if a plan is pending, because a later plan would be confirmed or rolled back together with it, unnoticed.
    /// A plan whose rollback timer has died is no longer pending.
    pub(crate) fn ensure_none_pending(&self) -> anyhow::Result<()> {
        let Some(mut entry) = self.pending() else { return Ok(()) };
        let number = entry.number;
        if self.has_timer(number) {
            anyhow::bail!(
                "plan {number} is pending\nRun `ipvsadm-rs confirm` to keep it or `ipvsadm-rs undo` to roll it back, then try again."
            );
        }
        print_error(&format!("note: plan {number} was never confirmed, but {TIMER_DIED}; keeping the changes"));
        entry.pending = None;
        if let Err(error) = self.write(&entry) {
            print_error(&format!("note: cannot update the journal: {error:#}"));
        }
        Ok(())
    }

    fn write_lines(&self, entry: &Entry, second_line: &[u8]) -> anyhow::Result<()> {
        let path = self.path_of(entry.number);
        let mut bytes = serde_json::to_vec(entry)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(second_line);
        write::write(&path, &bytes).map(|_| ())
    }

    /// Removes the oldest entries, and files left by killed processes.
    fn prune(&self) {
        let mut bytes = 0;
        for (place, number) in self.numbers().into_iter().rev().enumerate() {
            let path = self.path_of(number);
            bytes += fs::metadata(&path).map_or(0, |found| found.len());
            if place + 1 >= MAX_ENTRIES || (place > 0 && bytes > MAX_BYTES) {
                let _ = fs::remove_file(path);
                let _ = fs::remove_file(self.timer_path(number));
            }
        }
        self.names().iter().filter(|name| name.ends_with(".new")).for_each(|name| {
            let _ = fs::remove_file(self.path().join(name));
        });
    }
}

/// The remark about an unconfirmed plan that will not be rolled back.
pub(crate) const TIMER_DIED: &str = "its rollback process has died";

/// Formats a time in the form of RFC 3339.
fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn lock_in_time(lock: &File, wait: Duration, folder: &Folder) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(50);
    let start = Instant::now();
    let mut reported = false;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let rest = wait.saturating_sub(start.elapsed());
                if rest.is_zero() {
                    return Err(Busy(folder.to_string()).into());
                }
                if !std::mem::replace(&mut reported, true) {
                    print_error("waiting: another ipvsadm-rs is changing this table");
                }
                std::thread::sleep(PAUSE.min(rest));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot lock {folder}")),
        }
    }
}
