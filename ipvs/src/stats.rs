//! Counters and rates.

use ipvs_sys::uapi::StatsAttrs;
use ipvs_sys::wire::Counter;

/// What went through a service or to a destination.
///
/// The kernel copies these numbers every 2 seconds; what is younger is not in them. With the sysctl
/// `net.ipv4.vs.run_estimation` at 0 they stand still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Connections scheduled.
    #[doc(alias = "IPVS_STATS_ATTR_CONNS")]
    pub connections: u64,
    /// Packets from clients.
    #[doc(alias = "IPVS_STATS_ATTR_INPKTS")]
    pub incoming_packets: u64,
    /// Packets to clients, as far as they pass the director (masquerading).
    #[doc(alias = "IPVS_STATS_ATTR_OUTPKTS")]
    pub outgoing_packets: u64,
    /// Bytes from clients.
    #[doc(alias = "IPVS_STATS_ATTR_INBYTES")]
    pub incoming_bytes: u64,
    /// Bytes to clients, as far as they pass the director.
    #[doc(alias = "IPVS_STATS_ATTR_OUTBYTES")]
    pub outgoing_bytes: u64,
    /// The same per second.
    pub rates: Rates,
}

/// Means over the last seconds; the kernel weighs the last 2 seconds with a quarter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rates {
    /// Connections per second.
    #[doc(alias = "IPVS_STATS_ATTR_CPS")]
    pub connections: u64,
    /// Packets from clients per second.
    #[doc(alias = "IPVS_STATS_ATTR_INPPS")]
    pub incoming_packets: u64,
    /// Packets to clients per second.
    #[doc(alias = "IPVS_STATS_ATTR_OUTPPS")]
    pub outgoing_packets: u64,
    /// Bytes (not bits) from clients per second.
    #[doc(alias = "IPVS_STATS_ATTR_INBPS")]
    pub incoming_bytes: u64,
    /// Bytes (not bits) to clients per second.
    #[doc(alias = "IPVS_STATS_ATTR_OUTBPS")]
    pub outgoing_bytes: u64,
}

impl Stats {
    /// The whole counters if the kernel has them (since 4.1), else their low 32 bits.
    pub(crate) fn best(whole: Option<&StatsAttrs>, short: Option<&StatsAttrs>) -> Self {
        let Some(attributes) = whole.or(short) else { return Self::default() };
        let StatsAttrs { conns, inpkts, outpkts, inbytes, outbytes, cps, inpps, outpps, inbps, outbps, unknown: _ } =
            attributes;
        let number = |counter: &Option<Counter>| counter.unwrap_or_default().0;
        Self {
            connections: number(conns),
            incoming_packets: number(inpkts),
            outgoing_packets: number(outpkts),
            incoming_bytes: number(inbytes),
            outgoing_bytes: number(outbytes),
            rates: Rates {
                connections: number(cps),
                incoming_packets: number(inpps),
                outgoing_packets: number(outpps),
                incoming_bytes: number(inbps),
                outgoing_bytes: number(outbps),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_counters_win() {
        let whole = StatsAttrs { conns: Some(Counter(1 << 40)), outbps: Some(Counter(9)), ..StatsAttrs::default() };
        let short = StatsAttrs { conns: Some(Counter(0)), ..StatsAttrs::default() };
        let stats = Stats::best(Some(&whole), Some(&short));
        assert_eq!((stats.connections, stats.rates.outgoing_bytes), (1 << 40, 9));
        assert_eq!(Stats::best(Some(&whole), None), stats);
        assert_eq!(Stats::best(None, Some(&short)), Stats::default());
    }
}
