//! The lock of a table, and the name of its holder.
//!
//! Two files are locked: the directory of the journal, and the file `lock` in it. Removing `lock` therefore does not
//! let a second process in. Some file systems, such as NFS, can lock only the file. It also contains the name of the
//! holder.
//!
//! A directory that other users can open is not locked, because they could lock it too, and keep it locked.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::now_text;
use super::untrusted::{Untrusted, ensure_trusted};
use crate::file::directory::Directory;
use crate::terminal::exit::print_error;
use crate::terminal::text;

/// The file that is locked.
pub(super) const LOCK: &str = "lock";

/// The right to change a table and its journal, until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// The directory, which may be locked. Its lock ends when it is closed.
    _directory: File,
}

/// The process that holds a lock, as the process itself describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    uid: u32,
    /// The time at which it took the lock, in the form of RFC 3339.
    since: String,
    /// Its program and arguments.
    command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.uid == 0 { "root".to_owned() } else { format!("user {}", self.uid) };
        let (command, since) = (text::escaped(&self.command), since(&self.since, &now_text()));
        write!(f, "{command} (pid {}, {user}, since {})", self.pid, text::escaped(&since))
    }
}

/// Omits the date if it is today.
fn since(time: &str, now: &str) -> String {
    let day = "2026-01-01T".len();
    match (time.get(..day), time.get(day..).and_then(|clock| clock.strip_suffix('Z'))) {
        (Some(date), Some(clock)) if now.starts_with(date) => format!("{clock} UTC"),
        _ => time.to_owned(),
    }
}

impl Holder {
    /// Describes this process.
    fn own() -> Self {
        /// The maximum number of characters of the command.
        const LONGEST: usize = 100;
        let mut words = std::env::args_os();
        let program = words.next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or("ipvsadm-rs".as_ref()).to_string_lossy().into_owned();
        let words = words.map(|word| word.to_string_lossy().into_owned());
        let command = std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ");
        let command = match command.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &command[..end]),
            None => command,
        };
        Self { pid: std::process::id(), uid: rustix::process::getuid().as_raw(), since: now_text(), command }
    }

    /// Reads the holder from a locked file. Returns `None` if it cannot be read, or if that process does not exist.
    pub(super) fn read(directory: &Directory, name: &str) -> Option<Self> {
        /// More than a description ever has.
        const LIMIT: u64 = 4096;
        let file = directory.open_file(name).ok()?;
        ensure_trusted(&file).ok()?;
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text).ok()?;
        let holder: Self = serde_json::from_slice(&text).ok()?;
        Path::new("/proc").join(holder.pid.to_string()).exists().then_some(holder)
    }

    /// Writes the description of this process to a file that it has locked. Errors are ignored, because the lock does
    /// not depend on the description.
    pub(super) fn describe_own(file: &File) {
        let _ = file.set_len(0);
        let _ = serde_json::to_vec(&Self::own()).map(|text| file.write_all_at(&text, 0));
    }
}

/// The error that another process held the lock until the time limit.
#[derive(Debug)]
pub(crate) struct Busy {
    /// The path of the directory.
    pub(super) path: String,
    pub(super) holder: Option<Holder>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot lock {}: {} is changing this table", self.path, name_of(self.holder.as_ref()))
    }
}

impl std::error::Error for Busy {}

fn name_of(holder: Option<&Holder>) -> String {
    holder.map_or("another ipvsadm-rs".to_owned(), ToString::to_string)
}

/// The error that the lock, or the network namespace, was replaced while this process held the lock.
#[derive(Debug)]
pub(crate) struct LockLost(pub(super) String);

impl fmt::Display for LockLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} while this command ran; nothing was changed\nTry again.", self.0)
    }
}

impl std::error::Error for LockLost {}

impl Lock {
    /// Waits for the lock for at most `wait`, and then fails with [`Busy`].
    pub(super) fn acquire(directory: &Directory, wait: Duration) -> anyhow::Result<Self> {
        let path = || text::path(directory.path()).into_owned();
        let mut is_reported = wait.is_zero();
        in_time(wait, || {
            let lock = Self::attempt(directory).with_context(|| format!("cannot lock {}", path()))?;
            lock.ok_or_else(|| {
                let holder = Holder::read(directory, LOCK);
                // Nothing is locked while this is printed.
                if !std::mem::replace(&mut is_reported, true) {
                    print_error(&format!("note: waiting: {} is changing this table", name_of(holder.as_ref())));
                }
                Busy { path: path(), holder }.into()
            })
        })
    }

    /// Locks both files. Returns `None` if another process has locked one of them.
    pub(super) fn attempt(directory: &Directory) -> anyhow::Result<Option<Self>> {
        // A descriptor of its own, because a lock belongs to the descriptor and its copies.
        let own = openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)?;
        // Other errors are ignored, because some file systems cannot lock a directory. Then only the file is locked.
        if directory.is_unreadable_to_others()
            && flock(&own, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        {
            return Ok(None);
        }
        loop {
            let file = open_lock(directory, LOCK)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Another file may have got the name before this one was locked.
                Ok(()) if !directory.is_at(LOCK, &file) => {}
                Ok(()) => {
                    Holder::describe_own(&file);
                    return Ok(Some(Self { file, _directory: own.into() }));
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// Returns whether the locked file still has its name.
    pub(super) fn is_intact(&self, directory: &Directory) -> bool {
        directory.is_at(LOCK, &self.file)
    }
}

/// Opens a file to be locked.
pub(super) fn open_lock(directory: &Directory, name: &str) -> anyhow::Result<File> {
    let file = match directory.create(name) {
        Err(error) if is_link(&error) => {
            return Err(Untrusted(format!("`{name}` is not a regular file: {error}")).into());
        }
        file => file?,
    };
    ensure_trusted(&file)?;
    Ok(file)
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) || error.kind() == io::ErrorKind::InvalidInput
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Otherwise, this process would be named until the next holder has described itself.
        let _ = self.file.set_len(0);
    }
}

/// Locks a file. Waits for at most `wait`, and then fails with [`Busy`]. The path is that of its directory.
pub(super) fn lock_in_time(file: &File, path: &str, wait: Duration) -> anyhow::Result<()> {
    in_time(wait, || match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Err(Busy { path: path.to_owned(), holder: None }.into()),
        Err(error) => Err(io::Error::from(error)).with_context(|| format!("cannot lock {path}")),
    })
}

/// Repeats an attempt as long as it fails with [`Busy`], for at most `wait`. Returns the result of the last attempt.
pub(crate) fn in_time<T>(wait: Duration, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    const PAUSE: Duration = Duration::from_millis(50);
    let start = Instant::now();
    loop {
        let result = attempt();
        let rest = wait.saturating_sub(start.elapsed());
        match result {
            Err(error) if error.is::<Busy>() && !rest.is_zero() => std::thread::sleep(PAUSE.min(rest)),
            result => return result,
        }
    }
}

/// Returns whether another process has locked a file.
pub(super) fn is_locked(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::Place;

    #[test]
    fn a_lock_has_one_holder() {
        let place = Place::new("lock");
        let directory = place.directory();
        let lock = Lock::attempt(&directory).unwrap().expect("free");
        assert!(Lock::attempt(&directory).unwrap().is_none());
        assert_eq!(Holder::read(&directory, LOCK).expect("a holder").pid, std::process::id());
        let busy = Lock::acquire(&directory, Duration::ZERO).unwrap_err();
        assert!(busy.is::<Busy>() && busy.to_string().contains(&format!("(pid {}, ", std::process::id())), "{busy}");
        drop(lock);
        assert_eq!(Holder::read(&directory, LOCK), None);
        assert!(Lock::attempt(&directory).unwrap().is_some());
    }

    #[test]
    fn a_removed_or_replaced_lock_is_noticed_and_still_held() {
        let place = Place::new("removed");
        let directory = place.directory();
        let lock = Lock::attempt(&directory).unwrap().expect("free");
        assert!(lock.is_intact(&directory));
        directory.remove(LOCK).unwrap();
        assert!(!lock.is_intact(&directory));
        assert!(Lock::attempt(&directory).unwrap().is_none(), "the directory is locked");
        directory.create(LOCK).unwrap();
        assert!(!lock.is_intact(&directory));
        assert!(Lock::attempt(&directory).unwrap().is_none(), "the directory is locked");
        drop(lock);
        assert!(Lock::attempt(&directory).unwrap().is_some());
    }

    /// As on a file system that cannot lock a directory.
    #[test]
    fn the_lock_of_the_file_alone_is_respected() {
        let place = Place::new("file-alone");
        let directory = place.directory();
        let other = directory.create(LOCK).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(Lock::attempt(&directory).unwrap().is_none());
        assert_eq!(
            Lock::acquire(&directory, Duration::ZERO).unwrap_err().to_string(),
            format!("cannot lock {}: another ipvsadm-rs is changing this table", place.path().display())
        );
        drop(other);
        assert!(Lock::attempt(&directory).unwrap().is_some());
    }

    #[test]
    fn an_attempt_is_repeated_only_while_the_lock_is_held() {
        let attempts = |wait, errors: &[fn() -> anyhow::Error]| {
            let mut errors = errors.iter();
            let result = in_time(wait, || errors.next().map_or(Ok(()), |error| Err(error())));
            (result.map_err(|error| error.is::<Busy>()), errors.len())
        };
        let busy = || Busy { path: String::new(), holder: None }.into();
        let busy_in_context = || anyhow::Error::from(Busy { path: String::new(), holder: None }).context("failed");
        let other = || anyhow::anyhow!("failed");
        let long = Duration::from_secs(60);
        assert_eq!(attempts(long, &[busy, busy_in_context]), (Ok(()), 0));
        assert_eq!(attempts(long, &[busy, other, busy]), (Err(false), 1));
        assert_eq!(attempts(Duration::ZERO, &[busy, busy]), (Err(true), 1));
    }

    #[test]
    fn a_link_is_not_followed() {
        let place = Place::new("link");
        let directory = place.directory();
        std::fs::write(place.path().join("victim"), "contents").unwrap();
        std::os::unix::fs::symlink("victim", place.path().join(LOCK)).unwrap();
        assert!(Lock::attempt(&directory).unwrap_err().is::<Untrusted>());
        assert_eq!(std::fs::read(place.path().join("victim")).unwrap(), b"contents");
    }

    #[test]
    fn a_holder_that_does_not_exist_is_not_named() {
        let place = Place::new("holder");
        let directory = place.directory();
        for text in [
            "",
            "{}",
            "null",
            r#"{"pid":4294967295,"uid":0,"since":"2026-01-01T00:00:00Z","command":"x"}"#,
            r#"{"pid":-1,"uid":0,"since":"","command":"x"}"#,
        ] {
            directory.replace(LOCK, text.as_bytes(), None).unwrap();
            assert_eq!(Holder::read(&directory, LOCK), None, "{text}");
        }
    }

    #[test]
    fn the_date_is_omitted_today() {
        let now = "2026-11-27T13:00:00Z";
        assert_eq!(since("2026-11-27T12:00:03Z", now), "12:00:03 UTC");
        assert_eq!(since("2026-11-26T12:00:03Z", now), "2026-11-26T12:00:03Z");
        assert_eq!(since("yesterday", now), "yesterday");
        assert_eq!(since("", now), "");
    }
}
