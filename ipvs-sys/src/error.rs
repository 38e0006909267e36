//! What can go wrong between here and the kernel.

use std::fmt;
use std::io;

use crate::malformed::Malformed;
use crate::uapi::Command;

/// A request that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no generic-netlink family `IPVS`: the module ip_vs is not there and could not be loaded.
    #[error("the kernel has no IPVS: module ip_vs is not loaded")]
    NoFamily,
    /// The kernel said no.
    #[error("{command}: {refusal}", command = .command.name())]
    Refused {
        /// What was asked.
        command: Command,
        /// What the kernel answered.
        refusal: Refusal,
    },
    /// The kernel's answer makes no sense.
    #[error("{command}: malformed answer: {malformed}", command = .command.name())]
    Malformed {
        /// What was asked.
        command: Command,
        /// Where the answer ends to make sense.
        malformed: Malformed,
    },
    /// No answer in time.
    #[error("{command}: the kernel did not answer in time", command = .0.name())]
    Timeout(Command),
    /// The receive buffer ran over: what was asked has been carried out, or not. Only reading the table again tells.
    #[error("{command}: answers were lost; read the table again to see what was done", command = .0.name())]
    AnswersLost(Command),
    /// The socket could not be made or used.
    #[error("netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The network namespace could not be entered.
    #[error("network namespace {name}: {source}")]
    Namespace {
        /// The namespace as it was asked for.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// The kernel's error number, if the kernel answered with one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            _ => None,
        }
    }
}

/// The kernel's "no": `NLMSG_ERROR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive: `ESRCH` is 3.
    pub errno: i32,
    /// The kernel's own sentence (extended ACK), which IPVS gives only rarely.
    pub message: Option<String>,
    /// Where in the request the offending attribute starts, in bytes (extended ACK).
    pub offset: Option<u32>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}
