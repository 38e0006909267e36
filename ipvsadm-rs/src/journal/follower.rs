//! The files of `follow`, in the directory of the journal.
//!
//! - `follow.lock`: locked by the process that follows a source.
//! - `follow.good`: the last revision that was applied and found good.
//! - `follow.bad`: the digest of a revision that was found bad, with the reason.
//! - `follow.status`: the state of that process, for `follow status` and `metrics`.
//! - `follow.confirmed`: the digest of the revision that a person confirmed.

use std::fs::File;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Folder;
use super::lock::{Busy, is_locked, lock_in_time};

const LOCK: &str = "follow.lock";

/// The time to wait for a lock that is held only for a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file of `follow`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FollowerFile {
    Good,
    Bad,
    Status,
    Confirmed,
}

impl FollowerFile {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "follow.good",
            Self::Bad => "follow.bad",
            Self::Status => "follow.status",
            Self::Confirmed => "follow.confirmed",
        }
    }
}

impl Folder {
    /// Locks the right to follow a source until the returned file is closed. Fails if another process has it.
    pub(crate) fn lock_follower(&self) -> anyhow::Result<File> {
        let file = self.directory()?.create(LOCK).with_context(|| format!("cannot open {self}/{LOCK}"))?;
        // `follow status` locks it, too, for a moment.
        match lock_in_time(&file, &format!("{self}/{LOCK}"), PATIENCE) {
            Ok(()) => Ok(file),
            Err(error) if error.is::<Busy>() => {
                bail!("another process follows a source in this namespace\n`ipvsadm-rs follow status` shows its state.")
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether a process follows a source.
    pub(crate) fn is_followed(&self) -> bool {
        self.directory().is_ok_and(|directory| directory.open_file(LOCK).is_ok_and(|file| is_locked(&file)))
    }

    /// Reads a file of `follow`. `None` if it does not exist.
    pub(crate) fn read_follower<T: DeserializeOwned>(&self, file: FollowerFile) -> anyhow::Result<Option<T>> {
        let name = file.name();
        let Ok(directory) = self.directory() else { return Ok(None) };
        match directory.read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => {
                let bytes = read.with_context(|| format!("cannot read {self}/{name}"))?;
                serde_json::from_slice(&bytes).map(Some).with_context(|| format!("cannot read {self}/{name}"))
            }
        }
    }

    /// Replaces a file of `follow`.
    pub(crate) fn write_follower(&self, file: FollowerFile, value: &impl Serialize) -> anyhow::Result<()> {
        let (name, bytes) = (file.name(), serde_json::to_vec(value)?);
        let directory = self.directory()?;
        let written = match file {
            // Lost in a crash, it is written again.
            FollowerFile::Status => directory.replace_unsynced(name, &bytes),
            FollowerFile::Good | FollowerFile::Bad | FollowerFile::Confirmed => directory.replace(name, &bytes, None),
        };
        written.with_context(|| format!("cannot write {self}/{name}"))
    }

    /// Removes a file of `follow`, if it exists.
    pub(crate) fn remove_follower(&self, file: FollowerFile) {
        let _ = self.directory().map(|directory| directory.remove(file.name()));
    }
}
