//! What can be wrong with a line of ipvsadm's language.

use std::fmt;

use super::flags::FlagError;
use super::options::OptionRow;
use crate::change::Invalid;

/// What is wrong with a line, and with which of its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// The number of the word that shows it; behind the last one, something is missing.
    pub word: usize,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The first option is not a command, or none at all.
    NoCommand,
    /// An option that there is not; the text is the word with it.
    UnknownOption(Box<str>),
    /// An option without the value it needs.
    MissingValue(Box<str>),
    /// A value for an option that takes none.
    UnwantedValue(Box<str>),
    /// A second command.
    SecondCommand(Box<str>),
    /// The option, or another of its spellings, was given before.
    Repeated(&'static str),
    /// A value that cannot be.
    BadValue {
        /// The option.
        option: &'static OptionRow,
        /// The value.
        value: Box<str>,
        /// What is wrong with it.
        reason: Reason,
    },
    /// Neither `master` nor `backup`.
    BadRole {
        /// The command.
        command: &'static str,
        /// The value.
        value: Box<str>,
    },
    /// `--set` without three values.
    SetNeedsThree,
    /// A timeout of `--set` that cannot be.
    BadTimeout(Box<str>),
    /// A word that belongs to nothing.
    UnexpectedWord(Box<str>),
    /// Something that is no flag of the scheduler.
    Flag(FlagError),
    /// `-6` without a mark.
    Ipv6WithoutMark,
    /// An option that the command needs.
    Missing {
        /// The option's name.
        option: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// An option that the command does not take.
    Illegal {
        /// The option's name.
        option: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// Two options that do not go together.
    Conflict {
        /// One option's name.
        option: &'static str,
        /// The other's.
        with: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// An option that the tunnel type needs.
    MissingForTunnel {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// An option that the tunnel type does not take.
    IllegalForTunnel {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// Two options that do not go together in a tunnel.
    ConflictInTunnel {
        /// One option's name.
        option: &'static str,
        /// The other's.
        with: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// Tunnel options without a tunnel.
    TunnelOptionsWithoutTunnel,
    /// A service without port or mark has to be persistent.
    ZeroPort,
    /// One-packet scheduling of something else than UDP.
    OnePacketNotUdp,
    /// A server of the other family that is not tunnelled.
    MixedFamily,
    /// Counters, rates or thresholds of something that has none.
    ListingConflict,
    /// Values that no kernel takes.
    Invalid(Invalid),
    /// A service that an earlier line has added, with other settings.
    ServiceExists,
    /// A server that an earlier line has added, with other settings.
    ServerExists,
    /// A service that no earlier line has added.
    NoSuchService,
    /// A server that no earlier line has added.
    NoSuchServer,
    /// A sync daemon that an earlier line has started, in another way.
    DaemonRuns,
    /// A sync daemon that no earlier line has started.
    NoDaemon,
    /// A command that says nothing of what a director should hold.
    SaysNothing,
}

/// Returns a word for a message. Bytes that are not UTF-8 are replaced.
pub(crate) fn text(word: &[u8]) -> Box<str> {
    String::from_utf8_lossy(word).into()
}

/// In ipvsadm's words.
impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("a line begins with a command"),
            Self::UnknownOption(word) => write!(f, "{word}: unknown option"),
            Self::MissingValue(word) => write!(f, "{word}: missing argument"),
            Self::UnwantedValue(word) => write!(f, "{word}: option does not take an argument"),
            Self::SecondCommand(word) => write!(f, "invalid option `{word}'"),
            Self::Repeated(option) => write!(f, "multiple '{option}' options specified"),
            Self::BadValue { reason: Reason::Prefix, .. } => {
                write!(f, "illegal ipv6 netmask specified: {}", Reason::Prefix)
            }
            Self::BadValue { option, value, reason } => {
                let family = if value.contains(':') { "IPv6" } else { "IPv4" };
                write!(f, "{}: {reason}", option.complaint.replace("{}", value).replace("{family}", family))
            }
            Self::BadRole { command: "stop-daemon", .. } => f.write_str("illegal start_daemon specified"),
            Self::BadRole { command, .. } => write!(f, "illegal {command} parameter specified"),
            Self::SetNeedsThree => f.write_str("--set option requires 3 timeout values"),
            Self::BadTimeout(value) => write!(f, "invalid timeout value `{value}' specified"),
            Self::UnexpectedWord(word) => write!(f, "unexpected argument {word}"),
            Self::Flag(error) => error.fmt(f),
            Self::Ipv6WithoutMark => f.write_str("-6 used before -f"),
            Self::Missing { option, command } => {
                write!(f, "You need to supply the '{option}' option for the '{command}' command")
            }
            Self::Illegal { option, command } => write!(f, "Illegal '{option}' option with the '{command}' command"),
            Self::Conflict { option, with, command } => {
                write!(f, "The option '{option}' conflicts with the '{with}' option in the '{command}' command")
            }
            Self::MissingForTunnel { option, tunnel } => {
                write!(f, "You need to supply the '{option}' option for the '{tunnel}' tunnel type")
            }
            Self::IllegalForTunnel { option, tunnel } => {
                write!(f, "Illegal '{option}' option with the '{tunnel}' tunnel type")
            }
            Self::ConflictInTunnel { option, with, tunnel } => {
                write!(f, "The option '{option}' conflicts with the '{with}' option in the '{tunnel}' tunnel type")
            }
            Self::TunnelOptionsWithoutTunnel => f.write_str("Tunnel options conflict with forward method"),
            Self::ZeroPort => f.write_str("Zero port specified for non-persistent service"),
            Self::OnePacketNotUdp => f.write_str("One-Packet Scheduling is only for UDP virtual services"),
            Self::MixedFamily => f.write_str("Different address family is allowed only for tunneling servers"),
            Self::ListingConflict => f.write_str("options conflicts in the list command"),
            Self::Invalid(why) => why.fmt(f),
            Self::ServiceExists => f.write_str("the service was added before, with other settings"),
            Self::ServerExists => f.write_str("the server was added before, with other settings"),
            Self::NoSuchService => f.write_str("no line before this adds the service"),
            Self::NoSuchServer => f.write_str("no line before this adds the server"),
            Self::DaemonRuns => f.write_str("the sync daemon was started before, in another way"),
            Self::NoDaemon => f.write_str("no line before this starts the sync daemon"),
            Self::SaysNothing => f.write_str("this says nothing of what a director should hold"),
        }
    }
}

impl std::error::Error for ProblemKind {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Problem {}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No number in that range.
    #[error("not a number from {0} to {1}")]
    Number(u32, u32),
    /// Nothing, or a number alone.
    #[error("no address")]
    NoAddress,
    /// A bracket that is not closed, or with something else than a port behind it.
    #[error("a `[` wants `]` or `]:port`")]
    Brackets,
    /// Brackets around an IPv4 address.
    #[error("brackets are for IPv6 addresses")]
    BracketsAroundV4,
    /// A name without an address.
    #[error("no such host")]
    UnknownHost,
    /// A port that is neither a number nor a known service.
    #[error("no such port")]
    UnknownPort,
    /// Neither a mask nor something that has an address.
    #[error("not a netmask")]
    Netmask,
    /// No IPv6 prefix length.
    #[error("not a prefix length from 1 to 128")]
    Prefix,
    /// None of those words.
    #[error("not one of {0}")]
    NotOneOf(&'static str),
    /// No multicast address.
    #[error("no multicast address")]
    NotMulticast,
    /// A name with a NUL in it.
    #[error("no name")]
    Name,
}
