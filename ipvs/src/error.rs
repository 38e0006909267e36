//! Errors, described for operators.

use std::fmt;
use std::io;

use ipvs_sys::{Refusal, errno};

use crate::change::{Change, Invalid};
use crate::name::{Engine, Scheduler};

/// An operation that failed.
#[derive(Debug)]
pub struct Error {
    operation: String,
    kind: ErrorKind,
    cause: Option<ipvs_sys::Error>,
}

/// The reason of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel has no IPVS, and the module `ip_vs` could not be loaded. While the module is being removed, the
    /// kernel returns `ENOPROTOOPT`.
    #[doc(alias = "ENOPROTOOPT")]
    #[error("the kernel has no IPVS: cannot load the module ip_vs")]
    NotLoaded,
    /// The caller has no `CAP_NET_ADMIN` in the initial user namespace. Reading requires it, too.
    #[doc(alias = "EPERM")]
    #[error("permission denied: IPVS requires CAP_NET_ADMIN in the initial user namespace")]
    NoPermission,
    /// The service does not exist.
    #[doc(alias = "ESRCH")]
    #[error("no such service")]
    NoSuchService,
    /// The service has no such destination.
    #[doc(alias = "ENOENT")]
    #[error("no such server")]
    NoSuchDestination,
    /// A service with this key exists.
    #[doc(alias = "EEXIST")]
    #[error("service already exists")]
    ServiceExists,
    /// The service has a destination with this key.
    #[doc(alias = "EEXIST")]
    #[error("server already exists")]
    DestinationExists,
    /// The kernel has no such scheduler, or no such persistence engine. It does not report which of the two.
    #[doc(alias = "ENOENT")]
    #[error("the kernel has no scheduler {scheduler}{}", or_engine(engine))]
    SchedulerNotFound {
        /// The scheduler of the service.
        scheduler: Scheduler,
        /// The persistence engine of the service.
        engine: Option<Engine>,
    },
    /// A sync daemon of this role is already running.
    #[doc(alias = "EEXIST")]
    #[error("already running")]
    DaemonRuns,
    /// No sync daemon of this role is running.
    #[doc(alias = "ESRCH")]
    #[error("not running")]
    NoDaemon,
    /// The network namespace has no such interface.
    #[doc(alias = "ENODEV")]
    #[error("no such interface")]
    NoSuchInterface,
    /// The kernel was built or started without IPv6.
    #[doc(alias = "EAFNOSUPPORT")]
    #[error("the kernel was built or started without IPv6")]
    FamilyNotSupported,
    /// The kernel refused the values without a reason. The text lists the likely reasons. `None`: they are not known
    /// for this change.
    #[doc(alias = "EINVAL")]
    #[doc(alias = "ERANGE")]
    #[error("the kernel refuses these values{}", because(.0))]
    NotAccepted(Option<&'static str>),
    /// The network namespace does not exist, or the file is not a network namespace.
    #[error("no such network namespace")]
    NoSuchNamespace,
    /// The caller may not enter the network namespace. This requires `CAP_SYS_ADMIN`, in the user namespace that owns
    /// it and in the caller's own.
    #[doc(alias = "setns")]
    #[error("permission denied: entering a network namespace requires CAP_SYS_ADMIN")]
    NamespacePermission,
    /// The change is invalid. Nothing was sent.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The kernel did not reply, or its reply cannot be decoded. The change may have been made: read the table again.
    #[error("no usable reply from the kernel")]
    NoReply,
    /// Any other error of the operating system.
    #[error("{0}")]
    System(io::Error),
}

impl ErrorKind {
    /// Returns whether the text of the kind states the reason, so that the error number adds nothing.
    pub fn is_explained(&self) -> bool {
        !matches!(self, Self::NotAccepted(None) | Self::NoSuchNamespace | Self::NoReply | Self::System(_))
    }
}

/// Returns the likely reasons of `EINVAL`, for which the kernel has no text. Returns `None` if they are not known for
/// this change.
///
/// Sources: `ip_vs_new_dest`, `ip_vs_genl_set_cmd`, `ip_vs_genl_new_daemon` and `ip_vs_set_timeout` in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>.
fn likely_reason(change: &Change) -> Option<&'static str> {
    match change {
        Change::AddDestination(..) => Some(
            "a server's address must be unicast, lo must be up, and servers of both families cannot be mixed while a \
             sync daemon runs",
        ),
        Change::StartDaemon(_) => Some("a sync daemon cannot run while a service has servers of both families"),
        Change::SetTimeouts(_) => Some("a timeout is too long"),
        _ => None,
    }
}

fn because(reason: &Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

fn or_engine(engine: &Option<Engine>) -> String {
    engine.map_or_else(String::new, |engine| format!(" or no persistence engine {engine}"))
}

impl Error {
    /// Returns an error of an operation, such as `read service TCP 192.0.2.1:80`.
    pub fn new(operation: impl Into<String>, kind: ErrorKind) -> Self {
        Self { operation: operation.into(), kind, cause: None }
    }

    /// Returns the error of a refused change, for a [`Director`](crate::Director) that is not a kernel.
    pub fn refusal(change: &Change, kind: ErrorKind) -> Self {
        Self::new(change.describe().to_string(), kind)
    }

    /// Returns the operation that failed, such as `add server 10.0.0.1:80 to TCP 192.0.2.1:80`.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Returns the reason.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns the error number (`errno`), or `None` if the kernel did not return one.
    pub fn errno(&self) -> Option<i32> {
        match (&self.cause, &self.kind) {
            (Some(cause), _) => cause.errno(),
            (None, ErrorKind::System(error)) => error.raw_os_error(),
            _ => None,
        }
    }

    /// Returns the error of the netlink layer that caused this one, or `None` if there is no such error.
    ///
    /// It is part of the text of this error. Therefore it is not its [`source`](std::error::Error::source): programs
    /// that print all sources would print it twice.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }

    pub(crate) fn invalid(change: &Change, why: Invalid) -> Self {
        Self::refusal(change, why.into())
    }

    /// Returns the error of a change that the kernel refused.
    pub(crate) fn refused(change: &Change, cause: ipvs_sys::Error) -> Self {
        let kind = match (change, cause.errno()) {
            (Change::AddService(_), Some(errno::EEXIST)) => ErrorKind::ServiceExists,
            (Change::AddService(service) | Change::EditService(service), Some(errno::ENOENT)) => {
                ErrorKind::SchedulerNotFound { scheduler: service.scheduler, engine: service.engine }
            }
            (Change::AddDestination(..), Some(errno::EEXIST)) => ErrorKind::DestinationExists,
            (Change::EditDestination(..) | Change::DeleteDestination(..), Some(errno::ENOENT)) => {
                ErrorKind::NoSuchDestination
            }
            (Change::StartDaemon(_), Some(errno::EEXIST)) => ErrorKind::DaemonRuns,
            (Change::StartDaemon(_), Some(errno::ENODEV)) => ErrorKind::NoSuchInterface,
            (Change::StopDaemon(_), Some(errno::ESRCH)) => ErrorKind::NoDaemon,
            (_, Some(errno::EINVAL)) => ErrorKind::NotAccepted(likely_reason(change)),
            (_, Some(errno::ESRCH)) => ErrorKind::NoSuchService,
            _ => general(&cause),
        };
        Self { operation: change.describe().to_string(), kind, cause: Some(cause) }
    }

    /// Returns the error of a read that failed.
    pub(crate) fn asking(operation: impl fmt::Display, cause: ipvs_sys::Error) -> Self {
        let kind = match cause.errno() {
            Some(errno::ESRCH) => ErrorKind::NoSuchService,
            _ => general(&cause),
        };
        Self { operation: operation.to_string(), kind, cause: Some(cause) }
    }

    /// Returns the error of a file below `/proc` that cannot be read.
    pub(crate) fn file(operation: impl fmt::Display, cause: io::Error) -> Self {
        let kind = match cause.kind() {
            // /proc/net always exists. If the file in it does not exist, the kernel has no IPVS.
            io::ErrorKind::NotFound => ErrorKind::NotLoaded,
            _ => ErrorKind::System(cause),
        };
        Self::new(operation.to_string(), kind)
    }

    /// Returns the error that a kernel would return, for tables in memory.
    pub(crate) fn as_kernel(change: &Change, errno: i32) -> Self {
        let refusal = Refusal { errno, message: None, offset: None };
        Self::refused(change, ipvs_sys::Error::Refused { command: change.command(), refusal })
    }
}

fn general(cause: &ipvs_sys::Error) -> ErrorKind {
    match cause {
        ipvs_sys::Error::NoFamily => ErrorKind::NotLoaded,
        ipvs_sys::Error::Decode { .. } | ipvs_sys::Error::Timeout(_) | ipvs_sys::Error::RepliesLost(_) => {
            ErrorKind::NoReply
        }
        ipvs_sys::Error::Refused { refusal, .. } => match refusal.errno {
            errno::EPERM => ErrorKind::NoPermission,
            errno::ENOPROTOOPT => ErrorKind::NotLoaded,
            errno::EINVAL | errno::ERANGE => ErrorKind::NotAccepted(None),
            errno::EAFNOSUPPORT => ErrorKind::FamilyNotSupported,
            number => ErrorKind::System(errno::io_error(number)),
        },
        ipvs_sys::Error::Socket(error) => ErrorKind::System(again(error)),
        ipvs_sys::Error::Namespace { source, .. } => match source.kind() {
            // setns(2): the file is of another kind.
            io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => ErrorKind::NoSuchNamespace,
            io::ErrorKind::PermissionDenied => ErrorKind::NamespacePermission,
            _ => ErrorKind::System(again(source)),
        },
        other => ErrorKind::System(io::Error::other(other.to_string())),
    }
}

fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// Prints, for example:
/// `add server 10.2.2.2:80 to TCP 10.0.0.1:80: server already exists (IPVS_CMD_NEW_DEST: File exists (os error 17))`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, kind, cause } = self;
        match (kind, cause) {
            // Kind and cause have the same text.
            (ErrorKind::System(_) | ErrorKind::NoSuchNamespace, Some(cause)) => write!(f, "{operation}: {cause}"),
            (_, None | Some(ipvs_sys::Error::NoFamily)) => write!(f, "{operation}: {kind}"),
            (_, Some(cause)) => write!(f, "{operation}: {kind} ({cause})"),
        }
    }
}

impl std::error::Error for Error {}

/// Keeps the error as the source. The kind is the nearest one.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error.kind {
            ErrorKind::NotLoaded | ErrorKind::FamilyNotSupported => io::ErrorKind::Unsupported,
            ErrorKind::NoPermission | ErrorKind::NamespacePermission => io::ErrorKind::PermissionDenied,
            ErrorKind::NoSuchService
            | ErrorKind::NoSuchDestination
            | ErrorKind::SchedulerNotFound { .. }
            | ErrorKind::NoDaemon
            | ErrorKind::NoSuchInterface
            | ErrorKind::NoSuchNamespace => io::ErrorKind::NotFound,
            ErrorKind::ServiceExists | ErrorKind::DestinationExists | ErrorKind::DaemonRuns => {
                io::ErrorKind::AlreadyExists
            }
            ErrorKind::NotAccepted(_) | ErrorKind::Invalid(_) => io::ErrorKind::InvalidInput,
            ErrorKind::NoReply => io::ErrorKind::TimedOut,
            ErrorKind::System(source) => source.kind(),
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of the error with its sources, as many programs print it.
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
    fn no_text_is_repeated() {
        assert_eq!(
            printed(&Error::asking("read version", ipvs_sys::Error::NoFamily)),
            "read version: the kernel has no IPVS: cannot load the module ip_vs"
        );
        let socket = ipvs_sys::Error::Socket(io::Error::other("Too many open files (os error 24)"));
        assert_eq!(
            printed(&Error::asking("open the table", socket)),
            "open the table: netlink socket: Too many open files (os error 24)"
        );
        assert_eq!(
            printed(&Error::as_kernel(&Change::Flush, errno::EPERM)),
            "flush the table: permission denied: IPVS requires CAP_NET_ADMIN in the initial user namespace \
             (IPVS_CMD_FLUSH: Operation not permitted (os error 1))"
        );
        assert_eq!(
            printed(&Error::file("open it", io::Error::other("Permission denied (os error 13)"))),
            "open it: Permission denied (os error 13)"
        );
    }
}
