//! Network namespaces. Each has an IPVS table of its own.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Error;
use crate::found_namespaces::{self, FoundNamespaces};
use crate::sys;

/// The directory of the namespaces that `ip netns` made.
pub(crate) const NAMES: &str = "/run/netns";

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// The name of a namespace made by `ip netns add NAME`.
    Name(String),
    /// A file such as `/proc/PID/ns/net` or `/run/docker/netns/ingress_sbox`.
    Path(PathBuf),
    /// The namespace of a process.
    Pid(u32),
    /// An open descriptor. It is entered without a path, so this also works without /proc.
    Open(NamespaceFd),
}

/// An open descriptor of a network namespace. Clones share it, and are equal.
///
/// ```no_run
/// use std::fs::File;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let namespace = ipvs_sys::Namespace::from(File::open("/run/netns/blue")?);
/// let socket = ipvs_sys::Socket::open_in(&namespace)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NamespaceFd(Arc<OwnedFd>);

impl NamespaceFd {
    fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for NamespaceFd {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl AsFd for NamespaceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for NamespaceFd {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for NamespaceFd {}

impl PartialOrd for NamespaceFd {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NamespaceFd {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl Hash for NamespaceFd {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}

impl From<OwnedFd> for Namespace {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Open(descriptor.into())
    }
}

impl From<std::fs::File> for Namespace {
    fn from(file: std::fs::File) -> Self {
        Self::Open(OwnedFd::from(file).into())
    }
}

/// Parses digits as a process id, text with a `/` as a path, and other text as a name.
impl FromStr for Namespace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(pid) => Self::Pid(pid),
            Err(_) if text.contains('/') => Self::Path(text.into()),
            Err(_) => Self::Name(text.into()),
        })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Pid(pid) => pid.fmt(f),
            Self::Open(descriptor) => write!(f, "of descriptor {}", descriptor.number()),
        }
    }
}

impl Namespace {
    /// Finds the network namespaces of this machine: those of processes, and those mounted as a file in the caller's
    /// mount namespace, as `ip netns add` and Docker do.
    ///
    /// A namespace is not found if only a thread other than the first of its process, or only an open descriptor,
    /// keeps it. No descriptor stays open. The list is not a snapshot: namespaces can begin and end meanwhile.
    ///
    /// # Errors
    ///
    /// Fails if /proc is not mounted or cannot be read. Processes that cannot be read are in the result.
    pub fn find_all() -> io::Result<FoundNamespaces> {
        found_namespaces::find_all()
    }

    /// Opens the namespace.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let path = match self {
            // A name with a slash would be the path of another file.
            Self::Name(name) if name.contains('/') || matches!(name.as_str(), "" | "." | "..") => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a namespace"));
            }
            Self::Name(name) => Path::new(NAMES).join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Open(descriptor) => return descriptor.0.try_clone(),
        };
        // The type is checked first: opening a device such as /dev/watchdog has effects.
        let found = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()) {
            // /proc is not mounted.
            Err(Errno::NOENT) => Ok(open(path, flags, Mode::empty())?),
            opened => Ok(opened?),
        }
    }

    /// Calls `act` in the namespace and returns its result.
    ///
    /// `act` runs on a thread of its own, so the namespace of the calling thread never changes. A socket or a file
    /// below `/proc/thread-self/net` that it opens stays in the namespace.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Namespace`] if the namespace does not exist or cannot be entered, or if no thread can be
    /// started. Entering a namespace requires `CAP_SYS_ADMIN`.
    ///
    /// # Panics
    ///
    /// Panics if `act` panics.
    #[doc(alias = "setns")]
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let failed = |source| Error::Namespace { name: self.to_string(), source };
        let descriptor = self.open().map_err(failed)?;
        within(descriptor.as_fd(), act).map_err(failed)
    }

    /// Returns the cookie of a network namespace: a number that no other namespace has until the next boot. `None` as
    /// the argument means the namespace of the calling thread.
    ///
    /// The number of a file such as `/proc/PID/ns/net` is not unique, because the kernel uses it again after the
    /// namespace has ended. The result is `None` on kernels before Linux 5.14, which have no cookies.
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/core/net_namespace.c> (`net_cookie`)
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Socket`] if no socket can be opened. Fails with [`Error::Namespace`] as
    /// [`within`](Self::within) does.
    #[doc(alias = "SO_NETNS_COOKIE")]
    pub fn cookie(namespace: Option<&Self>) -> Result<Option<u64>, Error> {
        match namespace {
            None => own_cookie().map_err(Error::Socket),
            Some(namespace) => namespace.within(own_cookie)?.map_err(Error::Socket),
        }
    }
}

pub(crate) fn within<T: Send>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().spawn_scoped(scope, || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            Ok(act())
        })?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn own_cookie() -> io::Result<Option<u64>> {
    // The family of the other sockets of this crate, because a service may be restricted to it.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    match sys::namespace_cookie(socket.as_fd()) {
        Ok(cookie) => Ok(Some(cookie)),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_three_forms() {
        for (text, namespace) in [
            ("1234", Namespace::Pid(1234)),
            ("/run/docker/netns/x", Namespace::Path("/run/docker/netns/x".into())),
            ("blue", Namespace::Name("blue".into())),
        ] {
            assert_eq!(text.parse::<Namespace>(), Ok(namespace.clone()));
            assert_eq!(namespace.to_string(), text);
        }
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let error = Namespace::Name("no-such".into()).within(|| ()).unwrap_err();
        assert_eq!(error.to_string(), "network namespace no-such: No such file or directory (os error 2)");
    }

    #[test]
    fn a_name_is_not_a_path() {
        for name in ["", ".", "..", "../../proc/self/ns/net", "a/b"] {
            let error = Namespace::Name(name.into()).within(|| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("network namespace {name}: not the name of a namespace"));
        }
    }

    #[test]
    fn a_namespace_keeps_its_cookie() {
        let own = Namespace::cookie(None).unwrap();
        assert_eq!(Namespace::cookie(None).unwrap(), own);
        assert_ne!(own, Some(0));
    }
}
