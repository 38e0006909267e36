//! The directory of a journal. Reading it needs no lock.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipvs::{Config, Namespace};
use rustix::fs::{FlockOperation, flock};

use super::entry::Entry;
use super::folder_name::name_of;

/// The directory of the journal of a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Folder {
    /// Returns the directory of a namespace. `None` means the namespace of this process.
    pub(crate) fn of(state_dir: &Path, namespace: Option<&Namespace>) -> anyhow::Result<Self> {
        Ok(Self(state_dir.join(name_of(namespace)?)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the numbers of all entries and the entries, the oldest first. An entry that cannot be read is an error.
    pub(crate) fn entries(&self) -> Vec<(u64, anyhow::Result<Entry>)> {
        self.numbers().into_iter().map(|number| (number, self.read(number))).collect()
    }

    /// Reads an entry.
    pub(crate) fn read(&self, number: u64) -> anyhow::Result<Entry> {
        let path = self.path_of(number);
        let file = File::open(&path).with_context(|| format!("no plan {number}: cannot open {}", path.display()))?;
        let mut line = Vec::new();
        BufReader::new(file).read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))?;
        let entry: Entry =
            serde_json::from_slice(&line).with_context(|| format!("{} is not a journal entry", path.display()))?;
        anyhow::ensure!(entry.number == number, "{} contains the entry of plan {}", path.display(), entry.number);
        Ok(entry)
    }

    /// Reads the table from before a plan.
    pub(super) fn before(&self, number: u64) -> anyhow::Result<Config> {
        serde_json::from_slice(&self.second_line(number)?)
            .with_context(|| format!("cannot read the previous table from {}", self.path_of(number).display()))
    }

    pub(super) fn second_line(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        let path = self.path_of(number);
        let mut bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
        Ok(bytes.split_off(end))
    }

    /// Returns the pending plan. `None` if no plan is pending.
    pub(crate) fn pending(&self) -> Option<Entry> {
        let timed = self.numbers_with(".timer").into_iter().rev();
        timed.filter_map(|number| self.read(number).ok()).find(|entry| entry.pending.is_some())
    }

    /// Returns whether the rollback timer of a plan is running.
    pub(crate) fn has_timer(&self, number: u64) -> bool {
        let lock = |file| flock(file, FlockOperation::NonBlockingLockShared);
        File::open(self.timer_path(number)).is_ok_and(|file| lock(file) == Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// Locks the timer file of a plan. The lock is held until the returned file is closed.
    pub(crate) fn lock_timer(&self, number: u64) -> anyhow::Result<File> {
        let path = self.timer_path(number);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    pub(super) fn path_of(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:06}.json"))
    }

    pub(super) fn timer_path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:06}.timer"))
    }

    /// Returns the numbers of all entries, ascending.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.numbers_with(".json")
    }

    /// Returns the numbers of the files with this ending. Other files in the directory are skipped.
    fn numbers_with(&self, ending: &str) -> Vec<u64> {
        let number = |name: &String| {
            let number: u64 = name.strip_suffix(ending)?.parse().ok()?;
            (format!("{number:06}{ending}") == *name).then_some(number)
        };
        let mut numbers: Vec<u64> = self.names().iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns the names of all files. There are none before the first plan is applied.
    pub(super) fn names(&self) -> Vec<String> {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().into_string().ok()).collect()
    }
}
