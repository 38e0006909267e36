//! Errors in lines of ipvsadm's language.

use super::value_error::ValueError;
use crate::change::Invalid;

/// An error, with the number of the word that causes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) error: ParseError,
    /// The number of the word, from 0. The number after that of the last word means that something is missing.
    pub(crate) word: usize,
}

/// The reason why a line of ipvsadm's language cannot be read, or is not allowed in a rules file.
///
/// `Display` prints the message of ipvsadm 1.31, if it has one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The first option is not a command, or there is none.
    #[error("a line must begin with a command")]
    NoCommand,
    /// An unknown option. The text is the word that contains it.
    #[error("{0}: unknown option")]
    UnknownOption(Box<str>),
    /// An option without the value that it requires.
    #[error("{0}: missing argument")]
    MissingValue(Box<str>),
    /// A value for an option that accepts none.
    #[error("{0}: option does not take an argument")]
    UnwantedValue(Box<str>),
    /// A second command.
    #[error("invalid option `{0}'")]
    SecondCommand(Box<str>),
    /// The option, or another of its spellings, was given before.
    #[error("multiple '{0}' options specified")]
    Repeated(&'static str),
    /// An invalid value.
    #[error("{}", bad_value(complaint, value, error))]
    BadValue {
        /// The long spelling of the option.
        option: &'static str,
        /// ipvsadm's complaint. `{}` is replaced by the value.
        complaint: &'static str,
        /// The value.
        value: Box<str>,
        /// The reason why the value is invalid.
        error: ValueError,
    },
    /// Neither `master` nor `backup`.
    #[error("{}", bad_role(command))]
    BadRole {
        /// The command.
        command: &'static str,
        /// The value.
        value: Box<str>,
    },
    /// `--set` without three values.
    #[error("--set option requires 3 timeout values")]
    SetNeedsThree,
    /// A timeout of `--set` out of range.
    #[error("invalid timeout value `{0}' specified")]
    BadTimeout(Box<str>),
    /// A word that belongs to no option.
    #[error("unexpected argument {0}")]
    UnexpectedWord(Box<str>),
    /// `-6` without a firewall mark.
    #[error("-6 used before -f")]
    Ipv6WithoutMark,
    /// A missing option that the command requires.
    #[error("You need to supply the '{option}' option for the '{command}' command")]
    Missing {
        /// The option's name.
        option: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// An option that the command does not accept.
    #[error("Illegal '{option}' option with the '{command}' command")]
    Illegal {
        /// The option's name.
        option: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// Two options that exclude each other.
    #[error("The option '{option}' conflicts with the '{with}' option in the '{command}' command")]
    Conflict {
        /// One option's name.
        option: &'static str,
        /// The other's.
        with: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// A missing option that the tunnel type requires.
    #[error("You need to supply the '{option}' option for the '{tunnel}' tunnel type")]
    MissingForTunnel {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// An option that the tunnel type does not accept.
    #[error("Illegal '{option}' option with the '{tunnel}' tunnel type")]
    IllegalForTunnel {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// Two options that exclude each other in a tunnel.
    #[error("The option '{option}' conflicts with the '{with}' option in the '{tunnel}' tunnel type")]
    ConflictInTunnel {
        /// One option's name.
        option: &'static str,
        /// The other's.
        with: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// Tunnel options without a tunnel.
    #[error("Tunnel options conflict with forward method")]
    TunnelOptionsWithoutTunnel,
    /// Port 0 without persistence.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// One-packet scheduling of a protocol other than UDP.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacketNotUdp,
    /// A server of the other address family, not forwarded through a tunnel.
    #[error("Different address family is allowed only for tunneling servers")]
    MixedFamily,
    /// Counters, rates or thresholds, requested from a listing that has none.
    #[error("options conflicts in the list command")]
    ListingConflict,
    /// Values that no kernel accepts.
    #[error("{0}")]
    Invalid(Invalid),
    /// An earlier line, which has this number, adds the service with other settings.
    #[error("line {0} adds this service with other settings")]
    ServiceExists(usize),
    /// An earlier line, which has this number, adds the server with other settings.
    #[error("line {0} adds this server with other settings")]
    ServerExists(usize),
    /// No earlier line adds the service.
    #[error("no earlier line adds this service")]
    NoSuchService,
    /// No earlier line adds the server.
    #[error("no earlier line adds this server")]
    NoSuchServer,
    /// An earlier line, which has this number, starts the sync daemon with other settings.
    #[error("line {0} starts this sync daemon with other settings")]
    DaemonRuns(usize),
    /// No earlier line starts the sync daemon.
    #[error("no earlier line starts this sync daemon")]
    NoDaemon,
    /// A command that does not change the table, in a rules file.
    #[error("command not allowed in a rules file: it does not change the table")]
    NotAChange,
    /// A second line, in a text that must be one line.
    #[error("the text must be one line")]
    SecondLine,
    /// Another change, in a text that must add a service.
    #[error("the line does not add a service")]
    NotAService,
    /// Another change, in a text that must start a sync daemon.
    #[error("the line does not start a sync daemon")]
    NotADaemon,
    /// Another change, in a text that must be the options of a server.
    #[error("the text is not the options of a server")]
    NotAServer,
    /// A server without a port, in a text that has no service.
    #[error("the port is missing")]
    NoServerPort,
}

fn bad_value(complaint: &str, value: &str, error: &ValueError) -> String {
    let complaint = match error {
        ValueError::Prefix => "illegal ipv6 netmask specified",
        // The error itself has ipvsadm's message.
        _ if complaint.is_empty() => return error.to_string(),
        _ => complaint,
    };
    let family = if value.contains(':') { "IPv6" } else { "IPv4" };
    format!("{}: {error}", complaint.replace("{}", value).replace("{family}", family))
}

fn bad_role(command: &str) -> String {
    match command {
        // As in ipvsadm 1.31.
        "stop-daemon" => "illegal start_daemon specified".into(),
        command => format!("illegal {command} parameter specified"),
    }
}

impl ParseError {
    /// Returns whether the error is about the value of [`option`](Self::option), rather than the option itself.
    pub(crate) fn is_about_value(&self) -> bool {
        !matches!(
            self,
            Self::Illegal { .. }
                | Self::Conflict { .. }
                | Self::IllegalForTunnel { .. }
                | Self::ConflictInTunnel { .. }
        )
    }

    /// Returns the option that the error is about, by its name or its long spelling. Returns `None` if the error is not
    /// about one option.
    pub(crate) fn option(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadValue { option, .. }
            | Self::Illegal { option, .. }
            | Self::Conflict { option, .. }
            | Self::IllegalForTunnel { option, .. }
            | Self::ConflictInTunnel { option, .. } => option,
            Self::Ipv6WithoutMark => "ipv6",
            Self::ZeroPort | Self::ServiceExists(_) | Self::NoSuchService => "service-address",
            Self::OnePacketNotUdp => "ops",
            Self::MixedFamily | Self::ServerExists(_) | Self::NoSuchServer => "real-server",
            Self::Invalid(why) => option_of(why)?,
            _ => return None,
        })
    }
}

/// Returns the long spelling of the option that set the invalid value, or `None` if several options or none can set it.
fn option_of(why: &Invalid) -> Option<&'static str> {
    Some(match why {
        Invalid::Persistence(_) => "persistent",
        Invalid::NetmaskFamily { .. } | Invalid::Prefix(_) => "netmask",
        Invalid::Weight(_) => "weight",
        Invalid::LowerAlone(_) | Invalid::LowerAboveUpper { .. } => "l-threshold",
        Invalid::MixedFamily { .. } | Invalid::NotUnicast(_) => "real-server",
        Invalid::SyncId(_) => "syncid",
        Invalid::NotMulticast(_) => "mcast-group",
        _ => return None,
    })
}
