//! What can go wrong between here and the kernel.

use std::fmt;
use std::io;

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
    #[error("{command}: malformed answer: {error}", command = .command.name())]
    Decode {
        /// What was asked.
        command: Command,
        /// Where the answer ends to make sense.
        error: DecodeError,
    },
    /// No answer in time.
    #[error("{command}: the kernel did not answer in time", command = .0.name())]
    Timeout(Command),
    /// The receive buffer ran over: what was asked has been carried out, or not. Only reading the table again tells.
    #[error("{command}: answers were lost; read the table again to see what was done", command = .0.name())]
    RepliesLost(Command),
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

/// Bytes that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    what: &'static str,
    attribute: Option<&'static str>,
}

impl DecodeError {
    /// What about them makes none.
    pub const fn new(what: &'static str) -> Self {
        Self { what, attribute: None }
    }

    /// Name the innermost attribute that it happened in.
    pub(crate) fn inside(mut self, attribute: &'static str) -> Self {
        self.attribute.get_or_insert(attribute);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute {
            Some(attribute) => write!(f, "{} in {attribute}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for DecodeError {}
