//! Network namespaces. Each has an IPVS table of its own.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Error;

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
    fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => PathBuf::from("/run/netns").join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
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
        let file = File::open(self.path()).map_err(failed)?;
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new().spawn_scoped(scope, || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            })?;
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .map_err(failed)
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
}
