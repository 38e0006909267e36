//! The states of connections.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipvs::Name;

/// The names that the kernel writes, of TCP, UDP, SCTP and persistence templates. Source: `tcp_state_name_table`,
/// `sctp_state_name_table` and `ip_vs_state_name` in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs>
const STATES: [&str; 25] = [
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
    "UDP",
    "ASSURED",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
];

/// Returns a parser of states. With `ignore_case`, it accepts them in upper or lower case.
pub(super) fn parser() -> impl TypedValueParser<Value = Name> {
    PossibleValuesParser::new(STATES).try_map(|text| {
        // The text may be in lower case.
        Name::new(text.to_ascii_uppercase().as_bytes()).ok_or("too long")
    })
}
