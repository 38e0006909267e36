//! What can go wrong, in the operator's words.

use std::fmt;
use std::io;

use ipvs_sys::Refusal;

use crate::change::{Change, Invalid};
use crate::name::{Engine, Scheduler};

/// Something that was asked and did not happen.
#[derive(Debug)]
pub struct Error {
    asked: String,
    kind: ErrorKind,
    cause: Option<ipvs_sys::Error>,
}

/// What kind of thing went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel has no IPVS.
    #[error("the kernel has no IPVS: the module ip_vs is not loaded and cannot be")]
    NotLoaded,
    /// The caller may not.
    #[error("not permitted: IPVS wants CAP_NET_ADMIN in the initial user namespace")]
    NoPermission,
    /// The service is not there.
    #[error("no such service")]
    NoSuchService,
    /// The destination is not there.
    #[error("no such server")]
    NoSuchDestination,
    /// The service is there already.
    #[error("the service exists already")]
    ServiceExists,
    /// The destination is there already.
    #[error("the server exists already")]
    DestinationExists,
    /// The kernel has no such scheduler, or no such persistence engine: it does not say which.
    #[error("the kernel has no scheduler {scheduler}{}", or_engine(engine))]
    SchedulerNotFound {
        /// The scheduler that was asked for.
        scheduler: Scheduler,
        /// The engine that was asked for.
        engine: Option<Engine>,
    },
    /// A sync daemon of that role runs already.
    #[error("it runs already")]
    DaemonRuns,
    /// No sync daemon of that role runs.
    #[error("it does not run")]
    NoDaemon,
    /// The interface is not there.
    #[error("no such interface")]
    NoSuchInterface,
    /// The kernel was built or started without this family.
    #[error("the kernel does not do IPv6 here")]
    FamilyNotSupported,
    /// The kernel refuses these values, and does not say why; there may be only one thing that can be the reason.
    #[error("the kernel refuses these values{}", because(.0))]
    NotAccepted(Option<LikelyReason>),
    /// What no kernel does as it is said; nothing was sent.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The kernel did not answer, or in a way that makes no sense; what was asked may have been done.
    #[error("no usable answer from the kernel")]
    NoAnswer,
    /// Any other error of the system.
    #[error("{0}")]
    System(io::Error),
}

/// What values are refused for, where the kernel does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LikelyReason {
    /// Of a server: its address, or what is around it.
    #[error(
        "a server's address must be a unicast address, lo must be up, and servers of both families cannot be mixed \
         beside a sync daemon"
    )]
    Server,
    /// Of a sync daemon.
    #[error("a sync daemon does not run beside a service whose servers are of both families")]
    MixedFamilies,
    /// Of timeouts.
    #[error("a timeout is too long")]
    TimeoutTooLong,
}

fn because(reason: &Option<LikelyReason>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

fn or_engine(engine: &Option<Engine>) -> String {
    engine.map_or_else(String::new, |engine| format!(" or no persistence engine {engine}"))
}

impl Error {
    /// What was asked.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The kernel's error number, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        match (&self.cause, &self.kind) {
            (Some(cause), _) => cause.errno(),
            (None, ErrorKind::System(error)) => error.raw_os_error(),
            _ => None,
        }
    }

    /// What came from below, if anything did. It is a part of what is printed, and so no
    /// [`source`](std::error::Error::source), which would be printed beside it.
    pub fn cause(&self) -> Option<&ipvs_sys::Error> {
        self.cause.as_ref()
    }

    pub(crate) fn invalid(change: &Change, why: Invalid) -> Self {
        Self { asked: change.describe().to_string(), kind: why.into(), cause: None }
    }

    /// The kernel's refusal of a change.
    pub(crate) fn refused(change: &Change, cause: ipvs_sys::Error) -> Self {
        let kind = match (change, cause.errno()) {
            (Change::AddService(_), Some(libc::EEXIST)) => ErrorKind::ServiceExists,
            (Change::AddService(service) | Change::EditService(service), Some(libc::ENOENT)) => {
                ErrorKind::SchedulerNotFound { scheduler: service.scheduler, engine: service.engine }
            }
            (Change::AddDestination(..), Some(libc::EEXIST)) => ErrorKind::DestinationExists,
            (Change::EditDestination(..) | Change::DeleteDestination(..), Some(libc::ENOENT)) => {
                ErrorKind::NoSuchDestination
            }
            (Change::StartDaemon(_), Some(libc::EEXIST)) => ErrorKind::DaemonRuns,
            (Change::StartDaemon(_), Some(libc::ENODEV)) => ErrorKind::NoSuchInterface,
            (Change::StopDaemon(_), Some(libc::ESRCH)) => ErrorKind::NoDaemon,
            (Change::AddDestination(..), Some(libc::EINVAL)) => ErrorKind::NotAccepted(Some(LikelyReason::Server)),
            (Change::StartDaemon(_), Some(libc::EINVAL)) => ErrorKind::NotAccepted(Some(LikelyReason::MixedFamilies)),
            (Change::SetTimeouts(_), Some(libc::EINVAL)) => ErrorKind::NotAccepted(Some(LikelyReason::TimeoutTooLong)),
            (_, Some(libc::ESRCH)) => ErrorKind::NoSuchService,
            _ => general(&cause),
        };
        Self { asked: change.describe().to_string(), kind, cause: Some(cause) }
    }

    /// A question that was not answered.
    pub(crate) fn asking(asked: impl fmt::Display, cause: ipvs_sys::Error) -> Self {
        let kind = match cause.errno() {
            Some(libc::ESRCH) => ErrorKind::NoSuchService,
            _ => general(&cause),
        };
        Self { asked: asked.to_string(), kind, cause: Some(cause) }
    }

    /// A file of the kernel's that cannot be read.
    pub(crate) fn file(asked: impl fmt::Display, cause: io::Error) -> Self {
        let kind = match cause.kind() {
            // Its folder belongs to the network stack: what is missing is IPVS.
            io::ErrorKind::NotFound => ErrorKind::NotLoaded,
            _ => ErrorKind::System(cause),
        };
        Self { asked: asked.to_string(), kind, cause: None }
    }

    /// The answer that a kernel would give, for a director that is none.
    pub(crate) fn as_kernel(change: &Change, errno: i32) -> Self {
        let refusal = Refusal { errno, message: None, offset: None };
        Self::refused(change, ipvs_sys::Error::Refused { command: change.command(), refusal })
    }
}

fn general(cause: &ipvs_sys::Error) -> ErrorKind {
    match cause {
        ipvs_sys::Error::NoFamily => ErrorKind::NotLoaded,
        ipvs_sys::Error::Decode { .. } | ipvs_sys::Error::Timeout(_) | ipvs_sys::Error::RepliesLost(_) => {
            ErrorKind::NoAnswer
        }
        ipvs_sys::Error::Refused { refusal, .. } => match refusal.errno {
            libc::EPERM => ErrorKind::NoPermission,
            libc::ENOPROTOOPT => ErrorKind::NotLoaded,
            libc::EINVAL | libc::ERANGE => ErrorKind::NotAccepted(None),
            libc::EAFNOSUPPORT => ErrorKind::FamilyNotSupported,
            errno => ErrorKind::System(io::Error::from_raw_os_error(errno)),
        },
        ipvs_sys::Error::Socket(error) => ErrorKind::System(again(error)),
        ipvs_sys::Error::Namespace { source, .. } => ErrorKind::System(again(source)),
        other => ErrorKind::System(io::Error::other(other.to_string())),
    }
}

fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// `add server 10.2.2.2:80 to TCP 10.0.0.1:80: the server exists already (IPVS_CMD_NEW_DEST: File exists (os error 17))`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, kind, cause } = self;
        match (kind, cause) {
            // The one says what the other does.
            (ErrorKind::System(_), Some(cause)) => write!(f, "{asked}: {cause}"),
            (_, None | Some(ipvs_sys::Error::NoFamily)) => write!(f, "{asked}: {kind}"),
            (_, Some(cause)) => write!(f, "{asked}: {kind} ({cause})"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As programs print it that print the causes, too.
    fn printed(error: &Error) -> String {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        text
    }

    #[test]
    fn nothing_is_said_twice() {
        assert_eq!(
            printed(&Error::asking("read version", ipvs_sys::Error::NoFamily)),
            "read version: the kernel has no IPVS: the module ip_vs is not loaded and cannot be"
        );
        let socket = ipvs_sys::Error::Socket(io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(
            printed(&Error::asking("open the director", socket)),
            "open the director: netlink socket: Too many open files (os error 24)"
        );
        assert_eq!(
            printed(&Error::as_kernel(&Change::Flush, libc::EPERM)),
            "flush the table: not permitted: IPVS wants CAP_NET_ADMIN in the initial user namespace \
             (IPVS_CMD_FLUSH: Operation not permitted (os error 1))"
        );
        assert_eq!(
            printed(&Error::file("open it", io::Error::from_raw_os_error(libc::EACCES))),
            "open it: Permission denied (os error 13)"
        );
    }
}
