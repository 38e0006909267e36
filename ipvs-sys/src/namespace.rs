//! Network namespaces. Each has an IPVS table of its own.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::str::FromStr;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Error;
use crate::sys;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// The name of a namespace made by `ip netns add NAME`.
    Name(String),
    /// A file such as `/proc/PID/ns/net` or `/run/docker/netns/ingress_sbox`.
    Path(PathBuf),
    /// The namespace of a process.
    Pid(u32),
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
        }
    }
}

impl Namespace {
    fn path(&self) -> io::Result<PathBuf> {
        Ok(match self {
            // A name with a slash would be the path of another file.
            Self::Name(name) if name.contains('/') || matches!(name.as_str(), "" | "." | "..") => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a namespace"));
            }
            Self::Name(name) => PathBuf::from("/run/netns").join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        })
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
        let file = self.path().and_then(File::open).map_err(failed)?;
        within(file.as_fd(), act).map_err(failed)
    }

    /// Calls `act` in an open namespace, as [`within`](Self::within) does. It needs no /proc.
    #[doc(hidden)]
    pub fn within_open<T: Send>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        within(namespace, act).map_err(|source| Error::Namespace { name: "of the socket".into(), source })
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

fn within<T: Send>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> io::Result<T> {
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
