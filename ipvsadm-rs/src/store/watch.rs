//! Waits until something happens to a path, with inotify(7).

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

/// Symbolic links in a path, as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Directories that are watched for one path.
const MOST_WATCHES: usize = 256;

/// A watch of all directories that a path leads through. Each of them has an event when a component of the path is
/// created, replaced or deleted, such as the link `..data` of a mounted ConfigMap:
/// <https://kubernetes.io/docs/concepts/storage/volumes/#configmap>
#[derive(Debug)]
pub(super) struct Watch(
    /// `None`: inotify cannot be used, because the user has too many instances or watches.
    Option<OwnedFd>,
);

impl Watch {
    /// Watches a path, and the files in it if it is a directory. It may not exist.
    pub(super) fn new(path: &Path) -> Self {
        let Ok(fd) = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) else { return Self(None) };
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ONLYDIR;
        for directory in directories(path) {
            // The last one may be a file, and one that has just been removed has an event in its parent.
            let _ = inotify::add_watch(&fd, &directory, flags);
        }
        Self(Some(fd))
    }

    /// Waits for an event, for `time` at most.
    pub(super) fn wait(&self, time: Duration) {
        let Some(fd) = &self.0 else { return std::thread::sleep(time) };
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            // Otherwise, the caller would poll without a pause.
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// Returns the directories in which the components of a path are looked up, and the path itself.
fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut here = if path.is_absolute() { PathBuf::from("/") } else { PathBuf::from(".") };
    // The components that are still to be looked up, the next one last.
    let mut rest: Vec<OsString> = names(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if found.len() >= MOST_WATCHES {
            return found;
        }
        if !found.contains(&here) {
            found.push(here.clone());
        }
        let next = here.join(&name);
        let Ok(target) = readlinkat(CWD, &next, Vec::new()) else {
            here = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return found;
        }
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        rest.extend(names(&target));
    }
    found.push(here);
    found
}

/// Returns the names in a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn all_directories_on_the_way() {
        let place = Place::new("watch-directories");
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir_all(at("data/v1")).expect("create");
        symlink("data/v1", at("current")).expect("link");
        symlink("../x/file", at("data/v1/link")).expect("link");
        symlink("loop", at("loop")).expect("link");
        let found = directories(&at("current/link"));
        for directory in [at(""), at("data"), at("data/v1"), at("data/v1/../x")] {
            assert!(found.contains(&directory.components().collect()), "{directory:?} of {found:?}");
        }
        assert!(directories(&at("loop")).len() < 10);
        assert_eq!(directories(Path::new("a")), [Path::new("."), Path::new("./a")]);
        let deep = "a/".repeat(2000);
        assert_eq!(directories(Path::new(&deep)).len(), MOST_WATCHES);
    }
}
