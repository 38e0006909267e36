//! Errors of requests to the kernel.

use std::fmt;
use std::io;

use crate::decode_error::DecodeError;
use crate::errno::io_error;
use crate::uapi::Command;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no generic netlink family `IPVS`. The module `ip_vs` is not loaded, and the kernel could not load
    /// it.
    #[doc(alias = "ENOENT")]
    #[error("the kernel has no IPVS: module ip_vs is not loaded")]
    NoFamily,
    /// The request cannot be sent, or not by this function. Nothing was sent.
    #[error("{command} was not sent: {why}", command = .command.name())]
    NotSent {
        /// The command of the request.
        command: Command,
        /// The reason.
        why: &'static str,
    },
    /// The kernel refused the request.
    #[doc(alias = "NLMSG_ERROR")]
    #[error("{command}: {refusal}", command = .command.name())]
    Refused {
        /// The command of the request.
        command: Command,
        /// The error number and, rarely, a message.
        refusal: Refusal,
    },
    /// The kernel's reply could not be decoded. The request may have been carried out.
    #[error("{command}: cannot decode the reply: {error}", command = .command.name())]
    Decode {
        /// The command of the request.
        command: Command,
        /// The reason, and the attribute that could not be decoded.
        error: DecodeError,
    },
    /// The kernel did not reply within 5 seconds. The request may have been carried out.
    #[doc(alias = "EAGAIN")]
    #[error("{command}: no reply from the kernel within 5 seconds", command = .0.name())]
    Timeout(Command),
    /// The receive buffer of the socket overflowed. The kernel processed the requests, but it is unknown which of them
    /// it refused. Read the table again to find out.
    #[doc(alias = "ENOBUFS")]
    #[error("{command}: replies were lost, so it is unknown which changes were made", command = .0.name())]
    RepliesLost(Command),
    /// The socket could not be opened or used.
    #[error("netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The network namespace could not be entered.
    #[error("network namespace {name}: {source}")]
    Namespace {
        /// The name, path or process id that was passed.
        name: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Returns the error number of a [refusal](Self::Refused), such as `ESRCH`, and `None` for other errors.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            _ => None,
        }
    }
}

/// The kernel's reply to a request that it refused (`NLMSG_ERROR`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive, as in [`errno`](crate::errno).
    ///
    /// | error number | reason |
    /// |---|---|
    /// | `EPERM` | no `CAP_NET_ADMIN` in the initial user namespace |
    /// | `ESRCH` | no such service, or no such sync daemon runs |
    /// | `ENOENT` | no such destination, scheduler or persistence engine |
    /// | `EEXIST` | the service, destination or sync daemon exists already |
    /// | `EINVAL`, `ERANGE` | a value is missing or out of range |
    /// | `EAFNOSUPPORT` | an unknown address family, or no IPv6 in the kernel |
    /// | `ENODEV` | no such multicast interface |
    /// | `EOPNOTSUPP` | the command does not support this operation (get or dump) |
    ///
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c> (`ip_vs_genl_set_cmd`)
    #[doc(alias = "EPERM")]
    #[doc(alias = "ESRCH")]
    #[doc(alias = "ENOENT")]
    #[doc(alias = "EEXIST")]
    #[doc(alias = "EINVAL")]
    #[doc(alias = "ERANGE")]
    #[doc(alias = "EAFNOSUPPORT")]
    #[doc(alias = "ENODEV")]
    #[doc(alias = "EOPNOTSUPP")]
    pub errno: i32,
    /// The kernel's message (extended ACK), for example about an attribute that fails validation. `None` for most
    /// refusals.
    #[doc(alias = "NLMSGERR_ATTR_MSG")]
    pub message: Option<String>,
    /// The offset of the refused attribute in the request, in bytes (extended ACK). `None` if the kernel does not
    /// report it.
    #[doc(alias = "NLMSGERR_ATTR_OFFS")]
    pub offset: Option<u32>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io_error(self.errno))?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}
