//! The directory of a journal. Reading it needs no lock.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use ipvs::{Config, Namespace};
use rustix::fs::{FlockOperation, flock};

use super::entry::{Entry, Status};
use super::folder_name::{find, settle};
use super::identity::{Identity, Origin, Place};
use super::lock::{Holder, LockLost, is_locked};
use super::untrusted::{ensure_trusted, open_state_dir};
use crate::file::directory::Directory;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The endings of the files of a plan.
pub(super) const ENTRY: &str = ".json";
/// The reserved room for the next state of an entry.
pub(super) const SPARE: &str = ".spare";
/// Locked by the rollback timer of a pending plan.
pub(super) const TIMER: &str = ".timer";
/// Locked by the process that drains servers.
pub(super) const DRAINING: &str = ".draining";

/// The state of a plan that has not ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// A process drains servers. The plan may also have a time limit.
    Draining,
    /// The rollback timer is running.
    Pending,
    /// The plan was not confirmed, and its rollback timer has died.
    NeverConfirmed,
}

/// The directory of the journal of a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    state_dir: PathBuf,
    namespace: Option<Namespace>,
    place: Place,
    /// The path, for messages.
    path: PathBuf,
    /// `None` before the first plan was applied.
    directory: Option<Arc<Directory>>,
    /// Whether the directory is recorded as that of this namespace.
    is_settled: bool,
    /// The number of the last plan that this process began, or 0. It is of this table, even if the boot is not known.
    begun: Arc<AtomicU64>,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::path(&self.path))
    }
}

impl Folder {
    /// Finds the directory of a namespace. `None` means the namespace of this process. Fails with
    /// [`Untrusted`](super::Untrusted) if another user could have written the journal.
    pub(crate) fn of(state_dir: &Path, namespace: Option<&Namespace>) -> anyhow::Result<Self> {
        let place = Place::of(namespace)?;
        let state = open_state_dir(state_dir, false)?;
        let found = find(state.as_ref(), &place, namespace)?;
        Ok(Self {
            path: state_dir.join(&found.name),
            is_settled: found.is_of(&place),
            directory: found.directory.map(Arc::new),
            state_dir: state_dir.to_owned(),
            begun: Arc::default(),
            namespace: namespace.cloned(),
            place,
        })
    }

    /// Creates the directory, or takes over that of an earlier namespace with the same name. Returns a note for people
    /// about the entries of the earlier one, if there are any.
    pub(super) fn settle(&mut self, wait: Duration) -> anyhow::Result<Option<String>> {
        if self.is_settled && self.directory.is_some() {
            return Ok(None);
        }
        let state = open_state_dir(&self.state_dir, true)?.context("the state directory was removed")?;
        let (directory, taken_over) = settle(&state, &self.place, self.namespace.as_ref(), wait)?;
        self.path = self.state_dir.join(directory.path().file_name().unwrap_or_default());
        self.directory = Some(Arc::new(directory));
        self.is_settled = true;
        Ok(taken_over.and_then(|origin| self.history_note(origin)))
    }

    /// Describes the entries of the earlier table, because they are not undone by default.
    fn history_note(&self, origin: Origin) -> Option<String> {
        let entries = self.entries().into_iter().filter_map(|(_, entry)| entry.ok());
        let history: Vec<Entry> = entries.filter(|entry| !self.is_of_this_table(entry)).collect();
        let pending = history.iter().rev().find(|entry| entry.pending.is_some());
        let pending = pending.map(|entry| format!("; plan {} was never confirmed", entry.number)).unwrap_or_default();
        let (plans, are) = (count(history.len(), "plan"), if history.len() == 1 { "is" } else { "are" });
        if history.is_empty() || origin == Origin::ThisTable {
            return None;
        }
        let (event, table) = (origin.event(self.namespace.as_ref()), origin.texts().table);
        Some(format!("note: {event}{plans} of {table} {are} kept, but not undone{pending}"))
    }

    /// Returns the open directory. Fails before the first plan was applied.
    pub(super) fn directory(&self) -> anyhow::Result<&Directory> {
        self.directory.as_deref().with_context(|| format!("{self} does not exist"))
    }

    /// Looks at the namespace again. Fails with [`LockLost`] if it was deleted, or if another one has got its name,
    /// since the directory was found.
    pub(crate) fn ensure_same_namespace(&self) -> anyhow::Result<()> {
        let now = Place::of(self.namespace.as_ref());
        let name = self.namespace.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        ensure!(
            now.is_ok_and(|now| now.identity == self.place.identity),
            LockLost(format!("network namespace{name} was deleted or made again"))
        );
        Ok(())
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.place.identity
    }

    /// Returns the relation of an entry to the table of this namespace.
    pub(crate) fn origin(&self, entry: &Entry) -> Origin {
        let is_own = entry.number == self.begun.load(Ordering::Relaxed);
        if is_own { Origin::ThisTable } else { self.place.identity.origin(entry.table.as_ref()) }
    }

    pub(super) fn set_begun(&self, number: u64) {
        self.begun.store(number, Ordering::Relaxed);
    }

    /// Returns whether an entry is of the table of this namespace. Other entries are history.
    pub(crate) fn is_of_this_table(&self, entry: &Entry) -> bool {
        self.origin(entry) == Origin::ThisTable
    }

    /// Returns the numbers of all entries and the entries, the oldest first, including those of other tables. An entry
    /// that cannot be read is an error.
    pub(crate) fn entries(&self) -> Vec<(u64, anyhow::Result<Entry>)> {
        self.numbers().into_iter().map(|number| (number, self.read(number))).collect()
    }

    /// Reads an entry.
    pub(crate) fn read(&self, number: u64) -> anyhow::Result<Entry> {
        let line = self.first_line(number)?;
        let path = self.path.join(name(number, ENTRY));
        let entry: Entry =
            serde_json::from_slice(&line).with_context(|| format!("{} is not a journal entry", text::path(&path)))?;
        ensure!(entry.number == number, "{} contains the entry of plan {}", text::path(&path), entry.number);
        Ok(entry)
    }

    /// Reads the first line of an entry.
    pub(super) fn first_line(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        self.read_with(number, |path, file| {
            let mut line = Vec::new();
            let read = BufReader::new(file).read_until(b'\n', &mut line);
            read.with_context(|| format!("cannot read {}", text::path(path)))?;
            Ok(line)
        })
    }

    /// Reads the entry of a plan that a person asked for.
    pub(crate) fn plan(&self, number: u64) -> anyhow::Result<Entry> {
        ensure!(self.numbers().contains(&number), "no plan {number}\nRun `ipvsadm-rs history` to list the plans.");
        self.read(number)
    }

    /// Reads the table from before a plan.
    pub(crate) fn before(&self, number: u64) -> anyhow::Result<Config> {
        self.read_with(number, |path, file| {
            serde_json::from_slice(&second_line(path, file)?)
                .with_context(|| format!("cannot read the previous table from {}", text::path(path)))
        })
    }

    /// Returns the second line of an entry, with its line break.
    pub(super) fn second_line(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        self.read_with(number, second_line)
    }

    /// Opens and reads an entry. Tries again if the entry was replaced meanwhile, because its former file is then used
    /// for the next state.
    fn read_with<T>(&self, number: u64, read: impl Fn(&Path, File) -> anyhow::Result<T>) -> anyhow::Result<T> {
        const ATTEMPTS: usize = 5;
        /// More than an entry ever has. A damaged file may seem to be much longer, and would fill the memory.
        const LONGEST: u64 = 1 << 30;
        let name = name(number, ENTRY);
        let path = self.path.join(&name);
        let directory = self.directory.as_deref().ok_or_else(|| anyhow!("no plan {number}"))?;
        let mut result = Err(anyhow!("no plan {number}"));
        for _ in 0..ATTEMPTS {
            let file = directory.open_file(&name);
            let file = file.with_context(|| format!("no plan {number}: cannot open {}", text::path(&path)))?;
            ensure_trusted(&file).with_context(|| format!("cannot use {}", text::path(&path)))?;
            ensure!(file.metadata()?.len() <= LONGEST, "{} is longer than 1 GiB", text::path(&path));
            let copy = file.try_clone()?;
            result = read(&path, file);
            if directory.is_at(&name, &copy) {
                break;
            }
        }
        result
    }

    /// Returns the last entry of this table. `None` if there is none.
    pub(crate) fn last(&self) -> Option<Entry> {
        let mut entries = self.numbers().into_iter().rev().filter_map(|number| self.read(number).ok());
        entries.find(|entry| self.is_of_this_table(entry))
    }

    /// Returns the last plan of this table that has not ended. `None` if all have ended or were interrupted.
    pub(crate) fn unfinished(&self) -> Option<(Entry, Phase)> {
        let mut numbers = [self.numbers_with(TIMER), self.numbers_with(DRAINING)].concat();
        numbers.sort_unstable();
        let mut entries = numbers.into_iter().rev().filter_map(|number| self.read(number).ok());
        entries.find_map(|entry| self.phase(&entry).map(|phase| (entry, phase)))
    }

    /// Returns whether a plan was interrupted before its first change, because its rollback timer was never ready.
    pub(crate) fn is_unchanged(&self, entry: &Entry) -> bool {
        let timer = self.directory.as_ref().map(|directory| directory.metadata(name(entry.number, TIMER)));
        entry.pending.is_some()
            && entry.status == Status::Started
            && timer.is_some_and(|found| found.is_ok_and(|found| found.st_size == 0))
            && !self.is_marked(entry.number, TIMER)
    }

    /// Records whether the rollback timer of a plan, which holds this lock, is ready. Changes are made only after that.
    /// Needs no room on the disk.
    pub(crate) fn set_ready(timer: &File, is_ready: bool) -> io::Result<()> {
        timer.set_len(u64::from(is_ready))
    }

    /// Returns the phase of a plan. `None` if it has ended or was interrupted, or if it is of another table.
    pub(crate) fn phase(&self, entry: &Entry) -> Option<Phase> {
        if !self.is_of_this_table(entry) || self.is_unchanged(entry) {
            return None;
        }
        if entry.status == Status::Started && self.is_marked(entry.number, DRAINING) {
            return Some(Phase::Draining);
        }
        let has_timer = || self.is_marked(entry.number, TIMER);
        entry.pending.as_ref().map(|_| if has_timer() { Phase::Pending } else { Phase::NeverConfirmed })
    }

    /// Returns the process that drains the servers of a plan. `None` if it is not known.
    pub(crate) fn drainer(&self, number: u64) -> Option<Holder> {
        Holder::read(self.directory.as_deref()?, &name(number, DRAINING))
    }

    /// Returns the last plan of this table whose rollback failed. `None` if it was undone, or if a later plan with the
    /// same limits was applied.
    pub(crate) fn failed_rollback(&self) -> Option<Entry> {
        let mut later = Vec::new();
        for number in self.numbers().into_iter().rev() {
            let Some(entry) = self.read(number).ok().filter(|entry| self.is_of_this_table(entry)) else { continue };
            match entry.status {
                Status::RollbackFailed if later.contains(&entry.scope) => {}
                Status::RollbackFailed => return Some(entry),
                Status::Applied if entry.undoes.is_none() => later.push(entry.scope),
                _ => {}
            }
        }
        None
    }

    /// Returns whether a process has locked the mark of a plan.
    pub(super) fn is_marked(&self, number: u64, ending: &str) -> bool {
        let file = self.directory.as_ref().map(|directory| directory.open_file(name(number, ending)));
        file.is_some_and(|file| file.is_ok_and(|file| is_locked(&file)))
    }

    /// Locks the timer file of a plan. The lock is held until the returned file is closed.
    pub(crate) fn lock_timer(&self, number: u64) -> anyhow::Result<File> {
        self.lock_mark(number, TIMER, |directory, name| directory.create(name))
    }

    /// Marks a plan as one whose servers are being drained by this process, until the returned file is closed. The
    /// caller holds the journal, so that no other process looks for a mark meanwhile.
    pub(crate) fn lock_draining(&self, number: u64) -> anyhow::Result<File> {
        let file = self.lock_mark(number, DRAINING, |directory, name| directory.create(name))?;
        Holder::describe_own(&file);
        Ok(file)
    }

    fn lock_mark(
        &self,
        number: u64,
        ending: &str,
        open: impl FnOnce(&Directory, &str) -> io::Result<File>,
    ) -> anyhow::Result<File> {
        let name = name(number, ending);
        let path = self.path.join(&name);
        let file = open(self.directory()?, &name).with_context(|| format!("cannot open {}", text::path(&path)))?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", text::path(&path)))?;
        Ok(file)
    }

    /// Returns the numbers of all entries, ascending.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.numbers_with(ENTRY)
    }

    /// Returns the numbers of the files with this ending, ascending. Other files in the directory are skipped. There
    /// are none before the first plan is applied.
    pub(super) fn numbers_with(&self, ending: &str) -> Vec<u64> {
        let names = self.directory.as_ref().and_then(|directory| directory.names().ok()).unwrap_or_default();
        let mut numbers: Vec<u64> = names
            .iter()
            .filter_map(|found| {
                let number: u64 = found.to_str()?.strip_suffix(ending)?.parse().ok()?;
                (*name(number, ending) == **found).then_some(number)
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Returns the name of a file of a plan.
pub(super) fn name(number: u64, ending: &str) -> String {
    format!("{number:06}{ending}")
}

/// Reads the second line of an entry, with its line break. Blanks after it are reserved room.
fn second_line(path: &Path, mut file: File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", text::path(path)))?;
    let start = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
    let mut line = bytes.split_off(start);
    line.truncate(line.trim_ascii_end().len());
    line.push(b'\n');
    Ok(line)
}
