//! A file, or a directory whose files are documents.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};

use crate::file::limit::Limit;
use crate::file::{open, write};
use crate::store::snapshot::{MOST, Snapshot, StoredDocument, ensure_component};
use crate::store::watch::Watch;
use crate::store::{Store, Times};
use crate::terminal::text;

/// A file, or a directory whose files are documents. Hidden files, and those that end with `~`, are skipped.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    limit: Limit,
    times: Times,
    /// The metadata of the files when they were read. `None`: a later change may have the same metadata.
    look: Option<Look>,
    /// The digest of the documents that were returned last.
    digest: Option<String>,
}

/// The files and their metadata. It is different after a change.
type Look = Vec<(PathBuf, Stamp)>;

/// Device, inode, size, and the times of the last change of the contents and of the metadata.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Files {
    pub(super) fn new(path: PathBuf, limit: Limit, times: Times) -> Self {
        Self { path, limit, times, look: None, digest: None }
    }

    /// Reads all files, at a time when none of them changes.
    fn get(&self) -> anyhow::Result<(Snapshot, Option<Look>)> {
        const ATTEMPTS: usize = 10;
        for _ in 0..ATTEMPTS {
            let before = look(&self.path)?;
            let read = self.read_all(&before);
            let after = look(&self.path)?;
            if before != after {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let is_old = before.iter().all(|(_, stamp)| is_old(stamp));
            return Ok((Snapshot::new(None, read?)?, is_old.then_some(before)));
        }
        bail!("the files change all the time")
    }

    fn read_all(&self, look: &Look) -> anyhow::Result<Vec<StoredDocument>> {
        let mut documents = Vec::new();
        let mut total = 0_usize;
        for (path, _) in look {
            let mut bytes = Vec::new();
            open::regular(path)
                .and_then(|file| self.limit.read_to_end(file, &mut bytes))
                .with_context(|| format!("cannot read {}", text::path(path)))?;
            total = total.saturating_add(bytes.len());
            self.limit.check(total, "the directory")?;
            documents.push(StoredDocument { name: path.to_string_lossy().into_owned(), bytes });
        }
        Ok(documents)
    }

    fn changed(&mut self) -> anyhow::Result<Option<Snapshot>> {
        let end = Instant::now() + self.times.wait;
        loop {
            // Before the look, so that a change after it causes an event.
            let watch = Watch::new(&self.path);
            if self.look.is_none() || self.look != Some(look(&self.path)?) {
                let (snapshot, look) = self.get()?;
                self.look = look;
                let digest = snapshot.digest().to_owned();
                if self.digest.as_ref() != Some(&digest) {
                    self.digest = Some(digest);
                    return Ok(Some(snapshot));
                }
            }
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(None);
            }
            watch.wait(rest.min(self.times.look));
            // Collects the events of one change, and limits the reads in a directory with many.
            std::thread::sleep(Duration::from_millis(20).min(rest));
        }
    }
}

/// Returns the files and their metadata, sorted. Empty: there is no file.
fn look(path: &Path) -> anyhow::Result<Look> {
    let failed = || format!("cannot read {}", text::path(path));
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(failed),
    };
    if !found.is_dir() {
        return Ok(vec![(path.to_owned(), stamp(&found))]);
    }
    let mut files = Vec::new();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(failed),
    };
    for (number, entry) in entries.enumerate() {
        ensure!(number < 2 * MOST, "{} has more than {} entries", text::path(path), 2 * MOST);
        let entry = entry.with_context(failed)?;
        if is_hidden(&entry.file_name()) {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(found) if found.is_file() => files.push((entry.path(), stamp(&found))),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", text::path(&entry.path()))),
        }
    }
    files.sort();
    Ok(files)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || name.as_bytes().ends_with(b"~")
}

fn stamp(found: &Metadata) -> Stamp {
    let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    (found.dev(), found.ino(), found.size(), mtime, ctime)
}

/// Returns whether a further change would have another time. The kernel's clock for files advances with its ticks, and
/// that of some file systems in steps of 2 seconds.
fn is_old(stamp: &Stamp) -> bool {
    let changed = u64::try_from(stamp.4.0).unwrap_or(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    changed.saturating_add(2) < now
}

impl Store for Files {
    fn next(&mut self) -> anyhow::Result<Option<Snapshot>> {
        self.changed()
    }

    fn read(&mut self) -> anyhow::Result<Snapshot> {
        Ok(self.get()?.0)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        ensure_component(name)?;
        // An existing file is replaced atomically.
        write::write(&self.path.join(name), bytes).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
