//! Rules in one form, whichever program they come from.

use std::net::IpAddr;

/// The rules of a network namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firewall {
    /// The tables. Their order has no meaning, because the priorities of chains decide.
    pub tables: Vec<Table>,
    /// The reasons why parts of the firewall could not be read or evaluated: "part: reason".
    pub not_read: Vec<String>,
}

/// A table of nft or iptables.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The packets that it sees.
    pub family: Family,
    /// The name, such as `filter`.
    pub name: String,
    /// The program with which an operator changes it.
    pub tool: Tool,
    /// The chains.
    pub chains: Vec<Chain>,
}

/// The packets that a table sees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

/// The program with which an operator changes a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// `nft`.
    Nft,
    /// `iptables` or `ip6tables`.
    Iptables,
}

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The name.
    pub name: String,
    /// Where packets enter it. `None`: only through a jump.
    pub base: Option<Base>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// The place of a base chain in the way of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// The order among the chains of a hook: smaller is earlier.
    pub priority: i32,
    /// Whether only the first packet of a connection passes it, to decide about address translation.
    pub nat: bool,
    /// Whether a packet that reaches the end is dropped.
    pub drops: bool,
}

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// Each packet that arrives.
    Prerouting,
    /// Packets to an address of the director. IPVS takes requests of remote clients here.
    Input,
    /// Packets that the director routes. IPVS takes replies of servers here.
    Forward,
    /// Packets that the director sends. Requests pass it on their way from IPVS to a server.
    Output,
    /// Each packet that leaves.
    Postrouting,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The rule in the language of its program. It is text from outside.
    pub text: String,
    /// Its number in nft.
    pub handle: Option<u64>,
    /// Matches and statements, in order. The first match that fails ends the rule.
    pub steps: Vec<Step>,
}

/// A part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Continues if the packet has these values.
    Match(Match),
    /// Continues if the packet has a property that is not evaluated. The text names it.
    Unknown(String),
    /// Selects a statement by the value of a field.
    Map(Vec<(Match, Statement)>),
    /// Does something.
    Do(Statement),
}

/// A comparison of fields with values.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The fields, compared together. There is at least one.
    pub fields: Vec<Field>,
    /// Whether a packet matches if it has none of the values.
    pub negated: bool,
    /// The values: in each row one for each field. One row is enough.
    pub rows: Vec<Vec<Value>>,
}

/// A value of a packet or its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// The version of IP: 4 or 6.
    Version,
    /// The device through which it arrived.
    InDevice,
    /// The device through which it leaves.
    OutDevice,
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The number of the transport protocol.
    Protocol,
    /// The source port.
    SourcePort,
    /// The destination port.
    DestinationPort,
    /// The firewall mark, and the bits that are compared.
    Mark(u32),
    /// The mark of the connection, and the bits that are compared.
    ConnectionMark(u32),
    /// The state of the connection, as a set of bits: see [`state`].
    State,
    /// The source address of the connection's first packet.
    OriginalSource,
    /// The destination address of the connection's first packet.
    OriginalDestination,
    /// The destination port of the connection's first packet.
    OriginalDestinationPort,
    /// 1: the packet goes in the direction of the connection's first packet. 0: the other.
    Direction,
    /// The flags of TCP, and those that are compared.
    TcpFlags(u8),
    /// 1: the destination is an address of this machine. 0: it is another one.
    DestinationIsLocal,
    /// 1: IPVS has sent the packet on. 0: it has not.
    SentByIpvs,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A range of numbers, with both ends.
    Numbers(u64, u64),
    /// A range of addresses, with both ends.
    Addresses(IpAddr, IpAddr),
    /// A device.
    Device(String),
    /// All devices whose names begin so.
    DevicesFrom(String),
    /// A value that was not understood.
    Unknown,
}

impl Value {
    /// Returns a single number.
    #[must_use]
    pub fn number(number: impl Into<u64>) -> Self {
        let number = number.into();
        Self::Numbers(number, number)
    }
}

/// The states of a connection, as bits.
pub mod state {
    /// Not known to connection tracking.
    pub const INVALID: u64 = 1;
    /// Replies have been seen.
    pub const ESTABLISHED: u64 = 2;
    /// Belongs to another connection.
    pub const RELATED: u64 = 4;
    /// The first packet.
    pub const NEW: u64 = 8;
    /// Not tracked.
    pub const UNTRACKED: u64 = 64;

    /// Returns the bit of a name in nft or iptables.
    #[must_use]
    pub fn from_name(name: &str) -> Option<u64> {
        Some(match name.to_ascii_lowercase().as_str() {
            "invalid" => INVALID,
            "established" => ESTABLISHED,
            "related" => RELATED,
            "new" => NEW,
            "untracked" => UNTRACKED,
            _ => return None,
        })
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Ends the base chain.
    Accept,
    /// Ends the packet's way in silence.
    Drop,
    /// Ends the packet's way with an error to the sender.
    Reject,
    /// Returns from a jump; in a base chain, applies its policy.
    Return,
    /// Continues in another chain and returns.
    Jump(String),
    /// Continues in another chain and does not return.
    Goto(String),
    /// Changes the firewall mark.
    Mark(MarkChange),
    /// Changes the mark of the connection.
    ConnectionMark(MarkChange),
    /// Excludes the packet from connection tracking.
    NoTrack,
    /// Translates an address. Ends the base chain.
    Nat(Nat),
    /// Rewrites a field to a value that is not known.
    Rewrite(Field),
    /// Something that may end the packet's way. The text names it.
    Unknown(String),
}

/// A new mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MarkChange {
    /// `(old & and) ^ xor`.
    Bits {
        /// The bits that stay.
        and: u32,
        /// The bits that are inverted afterwards.
        xor: u32,
    },
    /// The other mark of the two, of packet and connection.
    Copy,
    /// A value that is not known.
    Unknown,
}

impl MarkChange {
    /// Returns the change to a fixed mark.
    #[must_use]
    pub fn set(mark: u32) -> Self {
        Self::Bits { and: 0, xor: mark }
    }
}

/// A translation of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nat {
    /// To this source address. `None`: one of several.
    Source(Option<IpAddr>),
    /// To the address of the device through which the packet leaves.
    Masquerade,
    /// To this destination. `None`: the address or port is one of several, or stays.
    Destination(Option<IpAddr>, Option<u16>),
    /// To this machine, and this port if there is one.
    Redirect(Option<u16>),
}
