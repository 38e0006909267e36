//! Writing of a file that the user named.
//!
//! The path is resolved one symbolic link at a time, each through a descriptor. The result is the descriptor of the
//! directory that contains the file, and its name there. Therefore nobody can redirect the output by exchanging a link
//! or a directory after it was checked.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, StatxAttributes, StatxFlags,
};
use rustix::fs::{fallocate, fstat, fstatfs, openat, readlinkat, statx};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, geteuid, getpid, pidfd_getfd, pidfd_open};
use rustix::stdio;

use crate::file::directory::{Attributes, Directory, ReplaceError, is_same};
use crate::terminal::text;

/// The result of [`write`].
#[derive(Debug)]
pub(crate) enum Written {
    /// The file was created or replaced atomically, or is a device or a pipe.
    Done,
    /// The file was overwritten, with the reason why it could not be replaced.
    InPlace(String),
    /// The path names standard output. Nothing was written.
    Stdout,
}

/// Writes a file. A regular file is replaced atomically and keeps its owner, its group and its mode. If this is
/// impossible, it is overwritten. Bytes for a device or a pipe are written to it. A path that names a descriptor of
/// this process, such as `/dev/fd/3`, is that descriptor, with its position in the file. `-` is standard output.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<Written> {
    write_to(path, bytes).with_context(|| format!("cannot write {}", text::path(path)))
}

fn write_to(path: &Path, bytes: &[u8]) -> anyhow::Result<Written> {
    /// Another save of the same file takes much longer than an attempt. Only an attacker exchanges it so often.
    const ATTEMPTS: usize = 20;
    let mut result = attempt(path, bytes);
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if error.is::<Exchanged>() => result = attempt(path, bytes),
            _ => break,
        }
    }
    result
}

/// The error that the path led to two different files. Nothing was written.
#[derive(Debug)]
struct Exchanged;

impl fmt::Display for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another process replaces the file all the time")
    }
}

impl std::error::Error for Exchanged {}

fn attempt(path: &Path, bytes: &[u8]) -> anyhow::Result<Written> {
    match resolve(path)? {
        Target::Descriptor(1) => return Ok(Written::Stdout),
        Target::Descriptor(number) => own_descriptor(number)?.write_all(bytes)?,
        Target::Opened(file) if is_regular(&fstat(&file)?) => {
            overwrite(&file, bytes)?;
            return Ok(Written::InPlace("the path is a link in /proc".into()));
        }
        Target::Opened(mut file) => file.write_all(bytes)?,
        Target::Name(directory, name, None) => {
            directory.replace_as(&name, bytes, Attributes::Public).map_err(io::Error::from)?;
        }
        Target::Name(directory, name, Some(old)) if is_regular(&old) => {
            return replace_or_overwrite(&directory, &name, &old, bytes);
        }
        Target::Name(directory, name, Some(old)) => open_same(&directory, &name, &old)?.write_all(bytes)?,
    }
    Ok(Written::Done)
}

fn replace_or_overwrite(directory: &Directory, name: &OsStr, old: &Stat, bytes: &[u8]) -> anyhow::Result<Written> {
    const MOUNT_POINT: &str = "it is a mount point";
    let reason = if is_mount_point(directory, name) {
        MOUNT_POINT.into()
    } else {
        match directory.replace_as(name, bytes, Attributes::Like(old)) {
            Ok(()) => return Ok(Written::Done),
            // It is one in another mount namespace, or statx(2) is not allowed.
            Err(ReplaceError::Rename(error)) if error.kind() == io::ErrorKind::ResourceBusy => MOUNT_POINT.into(),
            Err(ReplaceError::Create(error)) if is_forbidden(&error) => {
                format!("its directory cannot be written: {error}")
            }
            Err(ReplaceError::Rename(error)) if is_forbidden(&error) => format!("it cannot be replaced: {error}"),
            Err(ReplaceError::Owner(error)) => format!("a new file cannot have its owner: {error}"),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    };
    overwrite(&open_same(directory, name, old)?, bytes)?;
    Ok(Written::InPlace(reason))
}

/// Returns whether another file is mounted here. Such a file cannot be replaced, and its directory may be full or
/// read-only.
fn is_mount_point(directory: &Directory, name: &OsStr) -> bool {
    statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn is_regular(file: &Stat) -> bool {
    FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
}

/// Opens a file for writing. Fails if it is no longer the same.
fn open_same(directory: &Directory, name: &OsStr, expected: &Stat) -> anyhow::Result<File> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat(directory, name, flags, Mode::empty())?;
    anyhow::ensure!(is_same(&fstat(&file)?, expected), Exchanged);
    Ok(File::from(file))
}

/// Overwrites a file. Reserves the room first, so that a full disk does not destroy the old contents.
fn overwrite(file: &File, bytes: &[u8]) -> anyhow::Result<()> {
    let length = u64::try_from(bytes.len())?;
    let old_length = file.metadata()?.len();
    if let Err(error) = reserve(file, old_length, length) {
        let _ = file.set_len(old_length);
        return Err(error.into());
    }
    file.write_all_at(bytes, 0)?;
    file.set_len(length)?;
    Ok(file.sync_all()?)
}

fn reserve(file: &File, old_length: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)) {
        Ok(()) => Ok(()),
        // NFS and others cannot reserve room. Zeros at the end take it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
            static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
            let mut at = old_length;
            while at < length {
                let count = usize::try_from(length - at).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
                file.write_all_at(&ZEROS[..count], at)?;
                at += count as u64;
            }
            file.sync_all()
        }
        Err(error) => Err(error.into()),
    }
}

/// The meaning of a path.
enum Target {
    /// A name in a directory. It is not a symbolic link. `None` if no file has this name.
    Name(Directory, OsString, Option<Box<Stat>>),
    /// A descriptor of this process.
    Descriptor(u32),
    /// A file that the kernel opened through a link in /proc. It may have no name.
    Opened(File),
}

/// Resolves a path without creating anything.
///
/// Fails at a link that another user placed in a directory such as /tmp, because that user could choose the file that
/// is overwritten. This is also so if the sysctl fs.protected_symlinks is off.
fn resolve(path: &Path) -> anyhow::Result<Target> {
    /// The maximum that the kernel follows: MAXSYMLINKS,
    /// https://elixir.bootlin.com/linux/v6.12/source/include/linux/namei.h
    const LINKS: usize = 40;
    if path == Path::new("-") {
        return Ok(Target::Descriptor(1));
    }
    let mut base: Option<Directory> = None;
    let mut rest = path.to_owned();
    for _ in 0..=LINKS {
        let (parent, name) = split(&rest)?;
        let directory = match &base {
            None => Directory::open(parent)?,
            Some(base) => Directory::open_at(base, parent, base.path().join(parent))?,
        };
        let found = match openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) => return agree(path, Target::Name(directory, name.into(), None)),
            Err(error) => return Err(error.into()),
        };
        let status = fstat(&found)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
            ensure_not_planted(&directory, name, &status)?;
            return agree(path, Target::Name(directory, name.into(), Some(Box::new(status))));
        }
        // A link in /proc leads to its file, and its text is only a description.
        if fstatfs(&found)?.f_type == PROC_SUPER_MAGIC {
            return in_proc(&directory, name);
        }
        ensure_not_planted(&directory, name, &status)?;
        rest = PathBuf::from(OsString::from_vec(readlinkat(&found, c"", Vec::new())?.into_bytes()));
        base = Some(directory);
    }
    Err(Errno::LOOP.into())
}

/// Splits a path before its last component.
fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let at = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at(at);
    match name {
        b"" if parent.is_empty() => Err(io::ErrorKind::NotFound.into()),
        b"" | b"." | b".." => Err(io::ErrorKind::IsADirectory.into()),
        name => {
            let parent = if parent.is_empty() { b"." } else { parent };
            Ok((Path::new(OsStr::from_bytes(parent)), OsStr::from_bytes(name)))
        }
    }
}

/// Returns the target if the kernel resolves the path to the same file. The kernel may refuse more than this program,
/// by a security module or by mount options.
fn agree(path: &Path, target: Target) -> anyhow::Result<Target> {
    let kernel = match openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => Some(fstat(&found)?),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let Target::Name(_, _, ours) = &target else { return Ok(target) };
    let same = match (&kernel, ours) {
        (Some(kernel), Some(ours)) => is_same(kernel, ours),
        (kernel, ours) => kernel.is_none() && ours.is_none(),
    };
    anyhow::ensure!(same, Exchanged);
    Ok(target)
}

/// Fails if another user placed this file or link in a directory that everybody may write to. The condition is that of
/// the sysctls fs.protected_symlinks, fs.protected_regular and fs.protected_fifos:
/// https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c#L1094
fn ensure_not_planted(directory: &Directory, name: &OsStr, found: &Stat) -> anyhow::Result<()> {
    const STICKY_AND_WRITABLE: u32 = 0o1002;
    let parent = fstat(directory)?;
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a file",
        FileType::Fifo => "a named pipe",
        _ => return Ok(()),
    };
    let is_trusted = found.st_uid == geteuid().as_raw()
        || found.st_uid == parent.st_uid
        || parent.st_mode & STICKY_AND_WRITABLE != STICKY_AND_WRITABLE;
    anyhow::ensure!(
        is_trusted,
        "{} is {what} of user {}, in a directory that all users may write to\nUse another path, or remove it first.",
        text::path(&directory.path().join(name)),
        found.st_uid
    );
    Ok(())
}

/// Resolves a link in /proc. For a descriptor of this process, returns the descriptor itself, because opening the link
/// would start at the beginning of the file.
fn in_proc(directory: &Directory, name: &OsStr) -> anyhow::Result<Target> {
    let here = fstat(directory)?;
    let is_own = |path| Directory::open(path).is_ok_and(|own| fstat(&own).is_ok_and(|own| is_same(&own, &here)));
    if let Some(number) = name.to_str().and_then(|name| name.parse().ok())
        && (is_own("/proc/self/fd") || is_own("/proc/thread-self/fd"))
    {
        return Ok(Target::Descriptor(number));
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(Target::Opened(File::from(openat(directory, name, flags, Mode::empty())?)))
}

/// Duplicates a descriptor of this process, with its position in the file.
fn own_descriptor(number: u32) -> anyhow::Result<File> {
    let duplicate = |descriptor: &dyn AsFd| fcntl_dupfd_cloexec(descriptor.as_fd(), 0);
    let file: Result<OwnedFd, Errno> = match number {
        0 => duplicate(&stdio::stdin()),
        1 => duplicate(&stdio::stdout()),
        2 => duplicate(&stdio::stderr()),
        // The only way to a descriptor by its number that is safe in Rust.
        number => pidfd_open(getpid(), PidfdFlags::empty())
            .and_then(|process| pidfd_getfd(process, i32::try_from(number).unwrap_or(-1), PidfdGetfdFlags::empty())),
    };
    file.map(File::from).with_context(|| format!("cannot use file descriptor {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_paths() {
        for (path, parent, name) in [
            ("file", ".", "file"),
            ("/file", "/", "file"),
            ("a//b", "a//", "b"),
            ("../x", "../", "x"),
            ("./-", "./", "-"),
        ] {
            assert_eq!(split(Path::new(path)).expect(path), (Path::new(parent), OsStr::new(name)));
        }
        for path in ["/", "a/", "a/.", "..", "."] {
            assert_eq!(split(Path::new(path)).expect_err(path).kind(), io::ErrorKind::IsADirectory);
        }
        assert_eq!(split(Path::new("")).expect_err("no path").kind(), io::ErrorKind::NotFound);
    }
}
