//! Errors of the values of options. They have a file of their own, because the rows of options need them.

use super::resolver::HostError;

/// Returns a word for a message. Bytes that are not UTF-8 are replaced.
pub(crate) fn text(word: &[u8]) -> Box<str> {
    String::from_utf8_lossy(word).into()
}

/// The reason why a value is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not a number in that range.
    #[error("not a number from {0} to {1}")]
    Number(u32, u32),
    /// An empty text, or a number alone.
    #[error("not an address")]
    NoAddress,
    /// A bracket that is not closed, or not followed by a port.
    #[error("`[` without `]` or `]:port`")]
    Brackets,
    /// Brackets around an IPv4 address.
    #[error("brackets are for IPv6 addresses")]
    BracketsAroundV4,
    /// A name without an address.
    #[error("{0}")]
    Host(HostError),
    /// A port that is neither a number nor a known service.
    #[error("no such port")]
    UnknownPort,
    /// Neither a mask nor a name with an address.
    #[error("not a netmask")]
    Netmask,
    /// Not an IPv6 prefix length.
    #[error("not a prefix length from 1 to 128")]
    Prefix,
    /// None of these words.
    #[error("not one of {0}")]
    NotOneOf(&'static str),
    /// Not a multicast address.
    #[error("not a multicast address")]
    NotMulticast,
    /// A name with a NUL byte.
    #[error("a name cannot contain a NUL byte")]
    Name,
    /// A scheduler flag that no scheduler has.
    #[error("invalid scheduler flag `{0}'")]
    UnknownFlag(Box<str>),
    /// A flag that belongs to another scheduler.
    #[error("incompatible scheduler flag `{0}'")]
    ForeignFlag(Box<str>),
}
