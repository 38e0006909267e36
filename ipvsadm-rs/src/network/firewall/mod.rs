//! The effect of a director's firewall on one packet.
//!
//! Rules of nft and iptables are read with the programs of the system into one form (`model.rs`). A packet walks through
//! the chains of a hook ([`Firewall::walk`]). The result is a verdict with the rule that decides, the mark with the rule
//! that sets it, and the translation of its addresses. A rule that is not understood makes the result unknown.
//!
//! A request passes [`Hook::Prerouting`] and [`Hook::Input`] before IPVS, and [`Hook::Output`] and [`Hook::Postrouting`]
//! after it. A reply of a masqueraded server passes [`Hook::Prerouting`], [`Hook::Forward`] and [`Hook::Postrouting`].

mod iptables;
mod iptables_match;
mod iptables_target;
mod model;
mod nft;
mod nft_match;
mod nft_statement;
mod nft_text;
mod packet;
mod protocol;
mod read;
#[cfg(test)]
mod tests;
mod walk;

pub use model::{Family, Field, Firewall, Hook, Nat, Tool, state};
pub use packet::{Bits, Device, Packet, Truth};
pub use protocol::{SCTP, TCP, UDP};
pub use read::has_ingress_filters;
pub use walk::{Candidate, Place, Verdict, Walk, field_name};

/// The maximum number of rules of a program.
const MAX_RULES: usize = 100_000;

impl Firewall {
    /// Parses the output of `nft -j list ruleset`. Tables of iptables are incomplete: nft prints only the names of
    /// extensions.
    ///
    /// # Errors
    ///
    /// The text is not a ruleset in JSON, or has too many rules.
    pub fn from_nft(text: &[u8]) -> Result<Self, String> {
        nft::parse(text).map(|ruleset| ruleset.firewall)
    }

    /// Parses the output of `iptables-save` ([`Family::Ip`]) or `ip6tables-save` ([`Family::Ip6`]).
    ///
    /// # Errors
    ///
    /// There are too many rules.
    pub fn from_iptables(text: &str, family: Family) -> Result<Self, String> {
        Ok(Self { tables: iptables::parse(text, family)?, not_read: Vec::new() })
    }
}
