//! Opening files for reading. A path can lead to a device, and opening some devices has effects: /dev/watchdog restarts
//! the machine later, and a tape is rewound. Therefore a path is opened only after the type of its file is known.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, major, minor, openat};
use rustix::io::Errno;

/// Opens a regular file, a pipe, or a device that only returns bytes, such as /dev/null and terminals. Opening a named
/// pipe waits for its writer.
pub(crate) fn input(path: &Path) -> io::Result<File> {
    open(path, OFlags::empty(), |found| match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile | FileType::Fifo => Ok(()),
        FileType::CharacterDevice if is_harmless(major(found.st_rdev), minor(found.st_rdev)) => Ok(()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(io::Error::other("not a regular file, a pipe or a terminal")),
    })
}

/// Opens a regular file.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    open(path, OFlags::NONBLOCK, |found| match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(io::Error::other("not a regular file")),
    })
}

/// Opens a file if its type is allowed.
fn open(path: &Path, flags: OFlags, check: impl Fn(&Stat) -> io::Result<()>) -> io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    // This finds the file without opening it.
    let found = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let status = fstat(&found)?;
    check(&status)?;
    let file = match openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()) {
        // /proc is not mounted. The path may lead to another file now.
        Err(Errno::NOENT) => openat(CWD, path, flags | OFlags::NONBLOCK, Mode::empty())?,
        file => file?,
    };
    let opened = fstat(&file)?;
    if (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino) {
        return Err(io::Error::other("the file was exchanged while it was opened"));
    }
    Ok(File::from(file))
}

/// Returns whether a character device is a terminal, or one of the devices of random(4), null(4) and full(4):
/// <https://elixir.bootlin.com/linux/v6.12/source/Documentation/admin-guide/devices.txt>
///
/// A serial line is not, because opening it raises a signal to the modem.
fn is_harmless(major: u32, minor: u32) -> bool {
    match major {
        // null, zero, full, random, urandom
        1 => matches!(minor, 3 | 5 | 7 | 8 | 9),
        // /dev/tty1 to /dev/tty63
        4 => (1..=63).contains(&minor),
        // /dev/tty
        5 => minor == 0,
        // Pseudo-terminals
        136..=143 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn types_are_checked_before_opening() {
        for (path, is_allowed) in
            [("/dev/null", true), ("/dev/zero", true), ("/dev/kmsg", false), ("/dev/loop-control", false)]
        {
            let path = Path::new(path);
            if path.exists() {
                assert_eq!(input(path).is_ok(), is_allowed, "{path:?}");
            }
            assert!(regular(path).is_err(), "{path:?}");
        }
        assert_eq!(input(Path::new("/")).unwrap_err().raw_os_error(), Some(Errno::ISDIR.raw_os_error()));
        assert_eq!(regular(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut text = String::new();
        regular(Path::new("/proc/self/comm")).unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
    }

    /// The writer of a named pipe would continue if the pipe were opened.
    #[test]
    fn a_refused_pipe_is_not_opened() {
        let path = std::env::temp_dir().join(format!("ipvsadm-rs-pipe-{}", std::process::id()));
        rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
        let writer = OFlags::WRONLY | OFlags::NONBLOCK;
        let keeper = openat(CWD, &path, OFlags::PATH, Mode::empty()).unwrap();
        assert_eq!(regular(&path).unwrap_err().to_string(), "not a regular file");
        assert_eq!(openat(CWD, &path, writer, Mode::empty()).unwrap_err(), Errno::NXIO);
        drop(keeper);
        std::fs::remove_file(path).unwrap();
    }
}
