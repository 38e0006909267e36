//! What can be wrong with an option's value.

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
