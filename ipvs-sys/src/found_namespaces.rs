//! The network namespaces that exist.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::namespace::{NAMES, Namespace, within};

/// The network namespaces that [`Namespace::find_all`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FoundNamespaces {
    /// The namespaces, the caller's own first.
    pub namespaces: Vec<FoundNamespace>,
    /// The processes whose namespace could not be read, for example because they belong to another user. A process that
    /// ended meanwhile is not listed.
    pub unreadable: Vec<(Namespace, io::Error)>,
}

/// A network namespace and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundNamespace {
    /// The inode number, as in `net:[4026531840]`. The kernel uses it again after the namespace has ended.
    pub inode: u64,
    /// All names, at least one: first those of `ip netns`, then paths of mounts, then process ids.
    pub names: Vec<Namespace>,
    /// Whether the calling thread is in it.
    pub is_own: bool,
}

impl FoundNamespace {
    /// Returns the first of its [names](Self::names).
    pub fn name(&self) -> &Namespace {
        &self.names[0]
    }

    /// Calls `act` in the namespace and returns its result, as [`Namespace::within`] does. Only the first name is used.
    ///
    /// # Errors
    ///
    /// Fails as [`Namespace::within`] does. Also fails if another namespace has the name now: the process may have entered
    /// one, or have ended, so that another process got its ID.
    ///
    /// # Panics
    ///
    /// Panics if `act` panics.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let failed = |source| Error::Namespace { name: self.name().to_string(), source };
        let file = File::from(self.name().open().map_err(failed)?);
        if file.metadata().map_err(failed)?.ino() != self.inode {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "another namespace has this name now")));
        }
        within(file.as_fd(), act).map_err(failed)
    }
}

impl IntoIterator for FoundNamespaces {
    type Item = FoundNamespace;
    type IntoIter = std::vec::IntoIter<FoundNamespace>;

    fn into_iter(self) -> Self::IntoIter {
        self.namespaces.into_iter()
    }
}

pub(crate) fn find_all() -> io::Result<FoundNamespaces> {
    let own = inode_of_link(Path::new("/proc/thread-self/ns/net"))?;
    let mut names: BTreeMap<u64, Vec<Namespace>> = BTreeMap::new();
    for line in fs::read("/proc/thread-self/mountinfo")?.split(|byte| *byte == b'\n') {
        if let Some((inode, namespace)) = mounted(line) {
            names.entry(inode).or_default().push(namespace);
        }
    }
    let mut unreadable = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let namespace = Namespace::Pid(pid);
        match inode_of_link(&PathBuf::from(format!("/proc/{pid}/ns/net"))) {
            Ok(inode) => names.entry(inode).or_default().push(namespace),
            // The process has ended: its directory or, for a zombie, its namespace no longer exists.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => unreadable.push((namespace, error)),
        }
    }
    unreadable.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut namespaces: Vec<FoundNamespace> = names
        .into_iter()
        .map(|(inode, mut names)| {
            names.sort();
            names.dedup();
            FoundNamespace { inode, names, is_own: inode == own }
        })
        .collect();
    namespaces.sort_by(|one, other| other.is_own.cmp(&one.is_own).then_with(|| one.names.cmp(&other.names)));
    Ok(FoundNamespaces { namespaces, unreadable })
}

/// Reads the number of a link to `net:[4026531840]`.
fn inode_of_link(link: &Path) -> io::Result<u64> {
    let target = fs::read_link(link)?;
    target.to_str().and_then(inode).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a network namespace"))
}

fn inode(text: &str) -> Option<u64> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads a line of `mountinfo`. Returns `None` unless it is the mount of a network namespace:
/// `43 24 0:4 net:[4026532281] /run/netns/blue rw shared:24 - nsfs nsfs rw`
///
/// proc_pid_mountinfo(5)
fn mounted(line: &[u8]) -> Option<(u64, Namespace)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let inode = inode(str::from_utf8(fields.next()?).ok()?)?;
    let path = unescape(fields.next()?);
    Some((inode, named(&path).unwrap_or(Namespace::Path(path))))
}

/// Returns the name by which `ip netns` knows the file.
fn named(path: &Path) -> Option<Namespace> {
    let is_named = [NAMES, "/var/run/netns"].iter().any(|folder| path.parent() == Some(Path::new(folder)));
    is_named.then(|| path.file_name()?.to_str().map(|name| Namespace::Name(name.to_owned()))).flatten()
}

/// Replaces the escapes of blanks and backslashes: `\040`.
fn unescape(text: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;

    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok();
        match (*first == b'\\').then(|| tail.get(..3).and_then(octal)).flatten() {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces() {
        for (line, expected) in [
            (
                "43 24 0:4 net:[4026532281] /run/netns/blue rw shared:24 - nsfs nsfs rw",
                Some((4_026_532_281, Namespace::Name("blue".into()))),
            ),
            (
                "43 24 0:4 net:[7] /run/docker/netns/a\\040b rw - nsfs nsfs rw",
                Some((7, Namespace::Path("/run/docker/netns/a b".into()))),
            ),
            ("43 24 0:4 net:[7] /run/netns/x/y rw - nsfs nsfs rw", Some((7, Namespace::Path("/run/netns/x/y".into())))),
            ("43 24 0:4 uts:[7] /run/uts rw - nsfs nsfs rw", None),
            ("43 24 0:4 / /run/netns/net:[7] rw - tmpfs tmpfs rw", None),
            ("43 24 0:4 net:[7", None),
            ("43 24 0:4 net:[7]", None),
            ("43 24 0:4 net:[x] /run/netns/blue rw", None),
            ("", None),
        ] {
            assert_eq!(mounted(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn other_backslashes_stay() {
        for (text, path) in [(r"\040\134", " \\"), (r"\9", r"\9"), (r"a\04", r"a\04"), (r"\999", r"\999"), ("", "")] {
            assert_eq!(unescape(text.as_bytes()), PathBuf::from(path));
        }
    }

    #[test]
    fn the_own_namespace_is_the_first() {
        let found = find_all().unwrap();
        assert!(found.namespaces[0].is_own);
        assert!(found.namespaces[0].names.contains(&Namespace::Pid(std::process::id())));
    }

    #[test]
    fn a_namespace_is_not_mistaken_for_another() {
        let inode = inode_of_link(Path::new("/proc/thread-self/ns/net")).unwrap();
        let found = FoundNamespace { inode, names: vec![Namespace::Pid(std::process::id())], is_own: true };
        let error = FoundNamespace { inode: inode + 1, ..found }.within(|| ()).unwrap_err().to_string();
        assert_eq!(error, format!("network namespace {}: another namespace has this name now", std::process::id()));
    }
}
