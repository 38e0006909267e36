//! Files that are there whole or not at all, whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

/// How the names of files end that have not been put in their places.
pub(crate) const SUFFIX: &str = ".new";

/// Write a file beside its place, make sure it is on the disk, and put it there in one step. What is there and is no
/// file, a device or a pipe, is written to.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    let target = target(path)?;
    if old.as_ref().is_some_and(|old| !is_file_at(&target, old)) {
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let path = target;
    let (beside, file) = create_beside(&path)?;
    let result = fill(file, old.as_ref(), bytes).and_then(|()| fs::rename(&beside, &path));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result?;
    // The new name is on the disk when the folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Links in /proc/PID/fd lead to what has no name.
fn is_file_at(path: &Path, file: &fs::Metadata) -> bool {
    file.is_file() && fs::metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (file.dev(), file.ino()))
}

/// A link is followed, also one to what is not there yet: the file that it names is replaced, not the link.
fn target(path: &Path) -> io::Result<PathBuf> {
    /// As many as the kernel follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.with_file_name("").join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

/// A new file: one that somebody else has put there, or left there, is not taken.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    const ATTEMPTS: usize = 100;
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for attempt in 0..ATTEMPTS {
        let mut name = name.to_owned();
        name.push(format!(".{}-{attempt}{SUFFIX}", std::process::id()));
        let beside = path.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Ok(file) => return Ok((beside, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

fn fill(mut file: File, old: Option<&fs::Metadata>, bytes: &[u8]) -> io::Result<()> {
    if let Some(old) = old {
        // Who could read the old file can read the new one. Only root may give files away, and a confined service may not
        // even try.
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
