//! Open directories, in which files are created, replaced and removed by name.
//!
//! All operations are relative to the descriptor of the directory, and follow no symbolic link. Therefore nobody can
//! redirect them by renaming the directory, or by replacing a file with a link.
//!
//! No crate is used, because it would replace little of this code. `tempfile` does not keep the owner, and
//! `atomic-write-file` depends on nix and rand. Neither removes the files that killed processes leave.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{
    fchmod, fchown, flock, fstat, fsync, linkat, mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::terminal::text;

/// The ending of the name of a new file until it is renamed.
const SUFFIX: &str = ".new";

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    /// The path by which it was opened, for messages only.
    path: PathBuf,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The mode and the owner of a new file.
#[derive(Clone, Copy)]
pub(super) enum Attributes<'a> {
    /// Mode 0600.
    Private,
    /// Mode 0666 without the bits of the umask, as a shell creates files.
    Public,
    /// The owner, the group and the mode of another file.
    Like(&'a Stat),
}

/// The failed step of a replacement.
#[derive(Debug)]
pub(super) enum ReplaceError {
    /// No file can be created in the directory.
    Create(io::Error),
    /// The new file cannot have the owner or the group of the old one.
    Owner(io::Error),
    /// The bytes cannot be written.
    Fill(io::Error),
    /// The new file cannot take the name of the old one.
    Rename(io::Error),
}

impl From<ReplaceError> for io::Error {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Create(error)
            | ReplaceError::Owner(error)
            | ReplaceError::Fill(error)
            | ReplaceError::Rename(error) => error,
        }
    }
}

/// The error that a directory cannot be opened, or that other users could change its files.
#[derive(Debug)]
pub(crate) struct PrivateError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Link,
    /// The user ID of the owner.
    Owner(u32),
    /// The permission bits.
    Mode(u32),
}

impl PrivateError {
    /// Returns whether the directory does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(&self.fault, Fault::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for PrivateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = text::path(&self.path);
        match &self.fault {
            Fault::Io(error) => write!(f, "cannot open the directory {path}: {error}"),
            Fault::Link => write!(
                f,
                "cannot use the directory {path}: it is a symbolic link\nUse the path of the directory itself."
            ),
            Fault::Owner(owner) => write!(
                f,
                "cannot use the directory {path}: its owner is user {owner}, who could forge its contents\n\
                 If you trust its contents, run `chown {} {path}`.",
                rustix::process::geteuid().as_raw()
            ),
            Fault::Mode(mode) => write!(
                f,
                "cannot use the directory {path}: other users may write to it (mode {mode:04o})\n\
                 If you trust its contents, run `chmod go-w {path}`."
            ),
        }
    }
}

impl std::error::Error for PrivateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The flags of every directory that is opened.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

impl Directory {
    /// Opens a directory. Symbolic links are followed.
    pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_at(CWD, path.as_ref(), path.as_ref().to_owned())
    }

    /// Opens a directory, relative to another. `path` is for messages.
    pub(super) fn open_at(base: impl AsFd, relative: &Path, path: PathBuf) -> io::Result<Self> {
        // Files can be created in a directory that cannot be listed.
        let fd = match openat(&base, relative, OFlags::RDONLY | DIRECTORY, Mode::empty()) {
            Err(Errno::ACCESS) => openat(&base, relative, OFlags::PATH | DIRECTORY, Mode::empty())?,
            fd => fd?,
        };
        Ok(Self { fd, path })
    }

    /// Opens a directory that only this user and root can change. The path itself must not be a symbolic link. With
    /// `create`, a missing directory is created with mode 0700, and its missing parents with mode 0755.
    pub(crate) fn open_private(path: impl AsRef<Path>, create: bool) -> Result<Self, PrivateError> {
        // A trailing slash would follow a link.
        let path: PathBuf = path.as_ref().components().collect();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (parent, name) = match path.components().next_back() {
            Some(Component::Normal(name)) => (parent, name),
            // `/`, or a path that ends with `..`. Neither can be a link.
            _ => (path.as_path(), OsStr::new(".")),
        };
        let failed = |error| PrivateError { path: path.clone(), fault: Fault::Io(error) };
        if create {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        let parent = Self::open(parent).map_err(failed)?;
        parent.private(name, &path, create)
    }

    /// Opens a directory in this one, as [`Directory::open_private`] does.
    pub(crate) fn subdirectory(&self, name: impl AsRef<OsStr>, create: bool) -> Result<Self, PrivateError> {
        let path = self.path.join(name.as_ref());
        match one_component(name.as_ref()) {
            Ok(name) => self.private(name, &path, create),
            Err(error) => Err(PrivateError { path, fault: Fault::Io(error) }),
        }
    }

    fn private(&self, name: &OsStr, path: &Path, create: bool) -> Result<Self, PrivateError> {
        let fail = |fault| PrivateError { path: path.to_owned(), fault };
        let failed = |error: Errno| fail(Fault::Io(error.into()));
        if create {
            match mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => self.sync().map_err(|error| fail(Fault::Io(error)))?,
                Err(Errno::EXIST) => {}
                // Returned before EEXIST for an existing directory on a read-only file system or of another user.
                Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) if self.exists_here(name) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | DIRECTORY;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(|error| {
            // With O_DIRECTORY, the error for a link is ENOTDIR.
            let is_link = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
            if is_link { fail(Fault::Link) } else { failed(error) }
        })?;
        let found = fstat(&fd).map_err(failed)?;
        let mode = found.st_mode & 0o7777;
        if found.st_uid != rustix::process::geteuid().as_raw() && found.st_uid != 0 {
            return Err(fail(Fault::Owner(found.st_uid)));
        }
        if mode & 0o022 != 0 {
            return Err(fail(Fault::Mode(mode)));
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    fn exists_here(&self, name: &OsStr) -> bool {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Returns whether only the owner can open the directory. A user who can open it can also lock it.
    pub(crate) fn is_unreadable_to_others(&self) -> bool {
        fstat(&self.fd).is_ok_and(|found| found.st_mode & 0o044 == 0)
    }

    /// Returns the path by which the directory was opened, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_regular(name.as_ref(), OFlags::RDONLY, Mode::empty())
    }

    /// Reads a regular file.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Opens a regular file for reading and writing. A missing file is created with mode 0600. An existing file keeps
    /// its contents and its mode.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_regular(name.as_ref(), OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o600))
    }

    fn open_regular(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
        // Without O_NONBLOCK, opening a named pipe would wait for its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = openat(&self.fd, one_component(name)?, flags, mode)?;
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(File::from(fd))
    }

    /// Returns whether a file has this name. It may be a link to a missing file.
    pub(crate) fn exists(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match self.metadata(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns owner, mode, size and inode of a file, or of a link.
    pub(crate) fn metadata(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(statat(&self.fd, one_component(name.as_ref())?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Returns the names of all files, without `.` and `..`.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.fd, one_component(name.as_ref())?, AtFlags::empty())?)
    }

    /// Exchanges two files. On a file system that cannot do this, `a` is renamed to `b`, and the old `b` is lost.
    /// Returns whether the files were exchanged.
    pub(crate) fn exchange(&self, a: impl AsRef<OsStr>, b: impl AsRef<OsStr>) -> io::Result<bool> {
        let (a, b) = (one_component(a.as_ref())?, one_component(b.as_ref())?);
        match renameat_with(&self.fd, a, &self.fd, b, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT) => {
                renameat(&self.fd, a, &self.fd, b)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the names in the directory are on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match fsync(&self.fd) {
            // Returned by file systems that cannot sync a directory, and for a directory that cannot be listed.
            Err(Errno::INVAL | Errno::BADF) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Creates or replaces a file atomically. When this returns, the file is on disk. It gets the owner and the mode of
    /// `like`, or mode 0600. If this fails, the old file is unchanged.
    ///
    /// A killed process leaves nothing, or a temporary file that the next replacement of the same name removes.
    pub(crate) fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8], like: Option<&Stat>) -> io::Result<()> {
        Ok(self.replace_as(name.as_ref(), bytes, like.map_or(Attributes::Private, Attributes::Like))?)
    }

    /// Creates or replaces a file atomically, and does not wait until it is on disk. A crash of the machine can leave the
    /// old file, an empty one, or none.
    pub(crate) fn replace_unsynced(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        self.replace_with_mode(name.as_ref(), bytes, None)
    }

    /// Creates or replaces a file as [`replace_unsynced`](Self::replace_unsynced) does. All users can read the file, also
    /// if the umask does not permit it. Removes the temporary files that killed processes left.
    pub(crate) fn replace_readable(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        let name = one_component(name.as_ref())?;
        self.remove_leftovers(|prefix| prefix == temporary_prefix(name).as_bytes());
        self.replace_with_mode(name, bytes, Some(Mode::from_raw_mode(0o644)))
    }

    fn replace_with_mode(&self, name: &OsStr, bytes: &[u8], mode: Option<Mode>) -> io::Result<()> {
        let name = one_component(name)?;
        let temporary = self.create_locked(name, Attributes::Private)?;
        (&temporary._file).write_all(bytes)?;
        if let Some(mode) = mode {
            fchmod(&temporary._file, mode)?;
        }
        renameat(&self.fd, &temporary.name, &self.fd, name)?;
        temporary.keep();
        Ok(())
    }

    pub(super) fn replace_as(
        &self,
        name: &OsStr,
        bytes: &[u8],
        attributes: Attributes<'_>,
    ) -> Result<(), ReplaceError> {
        let name = one_component(name).map_err(ReplaceError::Create)?;
        self.remove_leftovers(|prefix| prefix == temporary_prefix(name).as_bytes());
        let temporary = self.temporary(name, bytes, attributes)?;
        renameat(&self.fd, &temporary.name, &self.fd, name).map_err(|error| ReplaceError::Rename(error.into()))?;
        temporary.keep();
        self.sync().map_err(ReplaceError::Fill)
    }

    /// Writes a temporary file, and locks it.
    fn temporary(&self, name: &OsStr, bytes: &[u8], attributes: Attributes<'_>) -> Result<Temporary<'_>, ReplaceError> {
        if let Some(file) = self.nameless(attributes)? {
            fill(&file, bytes, attributes)?;
            // Locked before it has a name, so that it is never mistaken for a leftover.
            let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
            if let Some(temporary) = self.link(name, &file)? {
                return Ok(Temporary { directory: self, name: temporary, _file: file });
            }
        }
        let temporary = self.create_locked(name, attributes)?;
        fill(&temporary._file, bytes, attributes)?;
        Ok(temporary)
    }

    /// Creates a file without a name, which disappears if the process is killed. Returns `None` if the file system does
    /// not support this.
    fn nameless(&self, attributes: Attributes<'_>) -> Result<Option<File>, ReplaceError> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(&self.fd, c".", flags, attributes.initial_mode()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            // EISDIR is the error of kernels without O_TMPFILE, open(2).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOSYS | Errno::INVAL) => Ok(None),
            Err(error) => Err(ReplaceError::Create(error.into())),
        }
    }

    /// Gives a temporary name to a file without a name. Returns `None` if the file cannot be named, because /proc is
    /// not mounted, or because the system call is forbidden.
    fn link(&self, name: &OsStr, file: &File) -> Result<Option<OsString>, ReplaceError> {
        let by_proc = format!("/proc/self/fd/{}", file.as_raw_fd());
        for temporary in temporary_names(name) {
            // The first way needs CAP_DAC_READ_SEARCH before Linux 6.10, the second needs /proc.
            let linked = linkat(file, c"", &self.fd, &temporary, AtFlags::EMPTY_PATH)
                .or_else(|_| linkat(CWD, &by_proc, &self.fd, &temporary, AtFlags::SYMLINK_FOLLOW));
            match linked {
                Ok(()) => return Ok(Some(temporary)),
                Err(Errno::EXIST) => {}
                // No room for the name.
                Err(error) if is_full(&error.into()) => return Err(ReplaceError::Fill(error.into())),
                Err(_) => return Ok(None),
            }
        }
        Err(ReplaceError::Create(io::ErrorKind::AlreadyExists.into()))
    }

    /// Creates a file with a temporary name, and locks it.
    fn create_locked(&self, name: &OsStr, attributes: Attributes<'_>) -> Result<Temporary<'_>, ReplaceError> {
        let failed = |error: Errno| ReplaceError::Create(error.into());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for temporary in temporary_names(name) {
            let file = match openat(&self.fd, &temporary, flags, attributes.initial_mode()) {
                Ok(fd) => File::from(fd),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed(error)),
            };
            let _ = flock(&file, FlockOperation::LockExclusive);
            // Before it was locked, another process may have removed it as a leftover.
            if self.is_at(&temporary, &file) {
                return Ok(Temporary { directory: self, name: temporary, _file: file });
            }
        }
        Err(ReplaceError::Create(io::ErrorKind::AlreadyExists.into()))
    }

    /// Removes the temporary files that killed processes left in place of any file.
    pub(crate) fn remove_all_leftovers(&self) {
        self.remove_leftovers(|_| true);
    }

    /// Removes the temporary files of killed processes, if their prefix is meant. A temporary file is locked by its
    /// writer, so an unlocked one is a leftover. Errors are ignored: a leftover takes room, but does no harm.
    fn remove_leftovers(&self, is_meant: impl Fn(&[u8]) -> bool) {
        let is_regular = |name: &OsString| {
            self.metadata(name).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
        };
        let names = self.names().unwrap_or_default();
        let is_leftover = |name: &&OsString| prefix_of_temporary(name).is_some_and(&is_meant) && is_regular(name);
        for leftover in names.iter().filter(is_leftover) {
            let Ok(file) = self.open_file(leftover) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && self.is_at(leftover, &file) {
                let _ = self.remove(leftover);
            }
        }
    }

    /// Returns whether the name is that of this open file.
    pub(crate) fn is_at(&self, name: impl AsRef<OsStr>, file: impl AsFd) -> bool {
        match (self.metadata(name), fstat(file)) {
            (Ok(named), Ok(open)) => is_same(&named, &open),
            _ => false,
        }
    }
}

impl Attributes<'_> {
    fn initial_mode(self) -> Mode {
        Mode::from_raw_mode(match self {
            Self::Public => 0o666,
            Self::Private | Self::Like(_) => 0o600,
        })
    }
}

/// A temporary file, removed when dropped.
struct Temporary<'d> {
    directory: &'d Directory,
    name: OsString,
    /// Keeps the lock.
    _file: File,
}

impl Temporary<'_> {
    /// Forgets the temporary name, because the file has another one now.
    fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = self.directory.remove(&self.name);
        }
    }
}

/// Sets owner and mode, writes the bytes, and waits until they are on disk.
fn fill(mut file: &File, bytes: &[u8], attributes: Attributes<'_>) -> Result<(), ReplaceError> {
    if let Attributes::Like(old) = attributes {
        let owner = |error: Errno| ReplaceError::Owner(error.into());
        let new = fstat(file).map_err(owner)?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            let (user, group) = (rustix::fs::Uid::from_raw(old.st_uid), rustix::fs::Gid::from_raw(old.st_gid));
            fchown(file, Some(user), Some(group)).map_err(owner)?;
        }
        fchmod(file, Mode::from_raw_mode(old.st_mode & 0o7777)).map_err(owner)?;
    }
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(ReplaceError::Fill)
}

/// Returns whether a write failed because the file system is full, or because the user's quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns whether two files are the same.
pub(super) fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// Returns the name if it is one component of a path, and neither `.` nor `..`.
fn one_component(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a file name", name.display())));
    }
    Ok(name)
}

/// Returns the names that a temporary file for `name` may have. All are different from those that this process returned
/// before.
fn temporary_names(name: &OsStr) -> impl Iterator<Item = OsString> {
    const ATTEMPTS: usize = 100;
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let prefix = temporary_prefix(name);
    (0..ATTEMPTS).map(move |_| {
        let mut name = prefix.clone();
        name.push(format!("{}-{}{SUFFIX}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        name
    })
}

/// Returns the beginning of the temporary names for `name`. It starts with a dot, so that `*` does not match it.
fn temporary_prefix(name: &OsStr) -> OsString {
    /// With the process ID and the counter, at most NAME_MAX (255) bytes.
    const LONGEST: usize = 220;
    let bytes = name.as_bytes();
    let mut prefix = OsString::from(".");
    prefix.push(OsStr::from_bytes(&bytes[..bytes.len().min(LONGEST)]));
    prefix.push(".");
    prefix
}

/// Returns the prefix of a temporary name. Returns `None` if the name is not a prefix, two numbers, and [`SUFFIX`].
fn prefix_of_temporary(name: &OsStr) -> Option<&[u8]> {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let rest = name.as_bytes().strip_suffix(SUFFIX.as_bytes())?;
    let (prefix, numbers) = rest.split_at(rest.iter().rposition(|&byte| byte == b'.')? + 1);
    let dash = numbers.iter().position(|&byte| byte == b'-')?;
    let is_temporary = prefix.starts_with(b".") && is_number(&numbers[..dash]) && is_number(&numbers[dash + 1..]);
    is_temporary.then_some(prefix)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn names_are_single_components() {
        let place = Place::new("components");
        let directory = place.directory();
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a/"] {
            assert_eq!(directory.replace(name, b"", None).expect_err(name).kind(), io::ErrorKind::InvalidInput);
            assert!(directory.subdirectory(name, true).is_err(), "{name:?}");
            for error in [
                directory.read(name).err(),
                directory.create(name).err(),
                directory.remove(name).err(),
                directory.metadata(name).err(),
            ] {
                assert_eq!(error.expect(name).kind(), io::ErrorKind::InvalidInput);
            }
        }
        assert_eq!(place.names(), [""; 0]);
    }

    #[test]
    fn replaces_files_and_keeps_owner_and_mode() {
        let place = Place::new("replace");
        let directory = place.directory();
        directory.replace("new", b"one", None).expect("replace");
        assert_eq!(fs::metadata(place.path().join("new")).expect("a file").mode() & 0o7777, 0o600);
        fs::set_permissions(place.path().join("new"), fs::Permissions::from_mode(0o640)).expect("chmod");
        let like = directory.metadata("new").expect("a file");
        directory.replace("new", b"two", Some(&like)).expect("replace");
        assert_eq!(directory.read("new").expect("a file"), b"two");
        assert_eq!(fs::metadata(place.path().join("new")).expect("a file").mode() & 0o7777, 0o640);
        directory.replace_as(OsStr::new("public"), b"", Attributes::Public).expect("replace");
        fs::write(place.path().join("reference"), "").expect("write");
        let mode = |name| directory.metadata(name).expect("a file").st_mode;
        assert_eq!(mode("public"), mode("reference"), "the umask applies");
        fs::remove_file(place.path().join("public")).expect("remove");
        fs::remove_file(place.path().join("reference")).expect("remove");
        let longest = OsString::from_vec([0xff; 255].to_vec());
        directory.replace(&longest, b"long", None).expect("replace");
        assert_eq!(directory.read(&longest).expect("a file"), b"long");
        directory.remove(&longest).expect("remove");
        assert_eq!(place.names(), ["new"]);
        assert!(!directory.exists(&longest).expect("metadata"));
    }

    #[test]
    fn links_are_not_followed() {
        let place = Place::new("links");
        let directory = place.directory();
        directory.replace("victim", b"old", None).expect("replace");
        symlink("victim", place.path().join("link")).expect("a link");
        assert!(directory.read("link").is_err());
        assert!(directory.create("link").is_err());
        symlink("missing", place.path().join("dangling")).expect("a link");
        assert!(directory.create("dangling").is_err());
        assert!(directory.exists("dangling").expect("metadata"));
        directory.replace("link", b"new", None).expect("replace");
        assert_eq!(directory.read("victim").expect("a file"), b"old");
        assert_eq!(directory.read("link").expect("a file"), b"new");
        assert!(!place.path().join("missing").exists());
        rustix::fs::mkfifoat(CWD, place.path().join("pipe"), Mode::from_raw_mode(0o600)).expect("a pipe");
        assert_eq!(directory.create("pipe").expect_err("not regular").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn files_for_all_readers() {
        let place = Place::new("readable");
        let directory = place.directory();
        for text in ["one", "two"] {
            directory.replace(".file.1-0.new", b"", None).expect("replace");
            directory.replace_readable("file", text.as_bytes()).expect("replace");
            assert_eq!(directory.read("file").expect("a file"), text.as_bytes());
            assert_eq!(directory.metadata("file").expect("a file").st_mode & 0o7777, 0o644);
            assert_eq!(place.names(), ["file"]);
        }
        assert!(directory.replace_readable("a/b", b"").is_err());
    }

    /// A temporary file is removed if its writer is dead, and kept while it is locked. Other files are kept.
    #[test]
    fn leftovers_are_removed() {
        let place = Place::new("leftovers");
        let directory = place.directory();
        for name in [".file.1-0.new", ".file.2-7.new", ".file.x-0.new", ".files.1-0.new", "file.1-0.new"] {
            directory.replace(name, b"", None).expect("replace");
        }
        let live = directory.open_file(".file.2-7.new").expect("a file");
        flock(&live, FlockOperation::LockExclusive).expect("a lock");
        directory.replace("file", b"", None).expect("replace");
        assert_eq!(place.names(), [".file.2-7.new", ".file.x-0.new", ".files.1-0.new", "file", "file.1-0.new"]);
        drop(live);
        directory.replace("file", b"", None).expect("replace");
        assert_eq!(place.names(), [".file.x-0.new", ".files.1-0.new", "file", "file.1-0.new"]);
        directory.remove_all_leftovers();
        assert_eq!(place.names(), [".file.x-0.new", "file", "file.1-0.new"]);
    }

    /// File systems such as NFS cannot create files without a name.
    #[test]
    fn named_temporary_files_are_locked_and_removed() {
        let place = Place::new("named");
        let directory = place.directory();
        let temporary = directory.create_locked(OsStr::new("file"), Attributes::Private).expect("a file");
        let other = directory.open_file(&temporary.name).expect("a file");
        assert_eq!(flock(&other, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
        directory.replace("file", b"", None).expect("replace");
        assert_eq!(place.names().len(), 2, "the temporary file of another writer is kept");
        drop(temporary);
        assert_eq!(place.names(), ["file"]);
    }

    #[test]
    fn private_directories_are_checked() {
        let place = Place::new("private");
        let path = place.path().join("a/b");
        assert!(Directory::open_private(&path, false).expect_err("missing").is_missing());
        Directory::open_private(&path, true).expect("created");
        let mode = |path: &Path| fs::metadata(path).expect("a directory").mode() & 0o7777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&place.path().join("a")) & 0o700, 0o700);
        let directory = Directory::open_private(path.join("."), true).expect("opened");
        directory.subdirectory("c", true).expect("created");
        assert!(directory.subdirectory("d", false).expect_err("missing").is_missing());
        fs::set_permissions(path.join("c"), fs::Permissions::from_mode(0o770)).expect("chmod");
        let error = directory.subdirectory("c", true).expect_err("writable").to_string();
        assert!(error.contains("a/b/c: other users may write to it (mode 0770)\n"), "{error}");
        assert!(error.contains("chmod go-w"), "{error}");
        symlink("b", place.path().join("a/link")).expect("a link");
        for link in ["a/link", "a/link/", "a/link/."] {
            let error = Directory::open_private(place.path().join(link), true).expect_err(link).to_string();
            assert!(error.contains("a/link: it is a symbolic link"), "{error}");
        }
        fs::write(place.path().join("file"), "").expect("write");
        assert!(!Directory::open_private(place.path().join("file"), true).expect_err("a file").is_missing());
    }

    #[test]
    fn a_used_up_quota_is_a_full_disk() {
        let full = [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS].map(|error| is_full(&error.into()));
        assert_eq!(full, [true, true, false, false]);
    }

    #[test]
    fn exchanges_files() {
        let place = Place::new("exchange");
        let directory = place.directory();
        directory.replace("a", b"1", None).expect("replace");
        directory.replace("b", b"2", None).expect("replace");
        if directory.exchange("a", "b").expect("exchange") {
            assert_eq!(directory.read("a").expect("a file"), b"2");
        }
        assert_eq!(directory.read("b").expect("a file"), b"1");
        assert!(!directory.exchange("b", "c").expect("rename"));
        assert_eq!(directory.read("c").expect("a file"), b"1");
    }
}
