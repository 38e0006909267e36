//! Atomic replacement of files.
//!
//! No crate is used, because it would replace little of this code. `tempfile` does not keep the owner, and
//! `atomic-write-file` depends on nix and rand. Neither handles devices, pipes, and links to missing files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

/// The ending of the name of a new file until it is renamed.
pub(crate) const SUFFIX: &str = ".new";

/// Writes a new file next to `path`, syncs it to disk, and renames it to `path`. If `path` is a device or a pipe, the
/// bytes are written to it instead.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    let target = target(path)?;
    if old.as_ref().is_some_and(|old| !is_file_at(&target, old)) {
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let path = target;
    let (temporary, file) = create_next_to(&path)?;
    let result = fill(file, old.as_ref(), bytes).and_then(|()| fs::rename(&temporary, &path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    // The new name is on disk once the directory is synced.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Returns whether the path names this regular file. A link in /proc/PID/fd may point to a file without a name.
fn is_file_at(path: &Path, file: &fs::Metadata) -> bool {
    file.is_file() && fs::metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (file.dev(), file.ino()))
}

/// Follows symbolic links, even to a file that does not exist yet, so that the file is replaced and not the link.
fn target(path: &Path) -> io::Result<PathBuf> {
    /// The maximum that the kernel follows: MAXSYMLINKS,
    /// https://elixir.bootlin.com/linux/v6.12/source/include/linux/namei.h
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

/// Creates a new file next to `path`. An existing file with the same name is never used, because another process may be
/// writing it, or a killed process may have left it.
fn create_next_to(path: &Path) -> io::Result<(PathBuf, File)> {
    const ATTEMPTS: usize = 100;
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for attempt in 0..ATTEMPTS {
        let mut name = name.to_owned();
        name.push(format!(".{}-{attempt}{SUFFIX}", std::process::id()));
        let temporary = path.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

fn fill(mut file: File, old: Option<&fs::Metadata>, bytes: &[u8]) -> io::Result<()> {
    if let Some(old) = old {
        // Keep owner and mode, so that the same users can read the file. Only root may change the owner, and the system
        // call filter of a service may forbid the attempt.
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
