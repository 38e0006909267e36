//! Counters and rates.

use ipvs_sys::DecodeError;
use ipvs_sys::uapi::StatsAttr;
use ipvs_sys::wire::Counter;

/// Counters of a service or a destination.
///
/// The kernel updates them every 2 seconds. If the sysctl `net.ipv4.vs.run_estimation` is 0, they do not change. See
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_est.c>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were scheduled.
    #[doc(alias = "IPVS_STATS_ATTR_CONNS")]
    pub connections: u64,
    /// Packets from clients.
    #[doc(alias = "IPVS_STATS_ATTR_INPKTS")]
    pub incoming_packets: u64,
    /// Packets to clients that passed through the director (masquerading).
    #[doc(alias = "IPVS_STATS_ATTR_OUTPKTS")]
    pub outgoing_packets: u64,
    /// Bytes from clients.
    #[doc(alias = "IPVS_STATS_ATTR_INBYTES")]
    pub incoming_bytes: u64,
    /// Bytes to clients that passed through the director.
    #[doc(alias = "IPVS_STATS_ATTR_OUTBYTES")]
    pub outgoing_bytes: u64,
    /// The increase of these counters per second.
    pub rates: Rates,
}

/// Rates: exponential moving averages, in which the last 2 seconds have a weight of one quarter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
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

/// Whether a reading decodes counters. The kernel sends ten counters for each service and destination. Without them,
/// a large table is read faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Counters {
    /// Counters are decoded.
    #[default]
    Read,
    /// Counters are skipped: all of them are 0.
    Skip,
}

/// The two lists of counters that the kernel sends: with 64 bits (since Linux 4.1), and with the low 32 bits. A list
/// that is absent is empty.
#[derive(Default)]
pub(crate) struct Seen<'a> {
    pub(crate) whole: &'a [u8],
    pub(crate) short: &'a [u8],
}

impl Seen<'_> {
    #[inline]
    pub(crate) fn read(&self, counters: Counters) -> Result<Stats, DecodeError> {
        match counters {
            Counters::Skip => Ok(Stats::default()),
            Counters::Read if self.whole.is_empty() => read(self.short),
            Counters::Read => read(self.whole),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Stats, DecodeError> {
    let mut stats = Stats::default();
    StatsAttr::visit(bytes, |attribute| {
        match attribute {
            StatsAttr::Conns(Counter(value)) => stats.connections = value,
            StatsAttr::Inpkts(Counter(value)) => stats.incoming_packets = value,
            StatsAttr::Outpkts(Counter(value)) => stats.outgoing_packets = value,
            StatsAttr::Inbytes(Counter(value)) => stats.incoming_bytes = value,
            StatsAttr::Outbytes(Counter(value)) => stats.outgoing_bytes = value,
            StatsAttr::Cps(Counter(value)) => stats.rates.connections = value,
            StatsAttr::Inpps(Counter(value)) => stats.rates.incoming_packets = value,
            StatsAttr::Outpps(Counter(value)) => stats.rates.outgoing_packets = value,
            StatsAttr::Inbps(Counter(value)) => stats.rates.incoming_bytes = value,
            StatsAttr::Outbps(Counter(value)) => stats.rates.outgoing_bytes = value,
            StatsAttr::Unknown(..) => {}
        }
        Ok(())
    })?;
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use ipvs_sys::uapi::StatsAttrs;
    use ipvs_sys::wire::Attributes;

    use super::*;

    #[test]
    fn the_64_bit_counters_are_preferred() {
        let bytes = |attributes: StatsAttrs| {
            let mut bytes = Vec::new();
            attributes.write(&mut bytes);
            bytes
        };
        let whole =
            &bytes(StatsAttrs { conns: Some(Counter(1 << 40)), outbps: Some(Counter(9)), ..StatsAttrs::default() });
        let short = &bytes(StatsAttrs { conns: Some(Counter(3)), ..StatsAttrs::default() });
        let stats = Seen { whole, short }.read(Counters::Read).expect("counters");
        assert_eq!((stats.connections, stats.rates.outgoing_bytes), (1 << 40, 9));
        assert_eq!(Seen { whole, short: &[] }.read(Counters::Read), Ok(stats));
        assert_eq!(Seen { whole: &[], short }.read(Counters::Read).expect("counters").connections, 3);
        assert_eq!(Seen::default().read(Counters::Read), Ok(Stats::default()));
        assert_eq!(Seen { whole, short }.read(Counters::Skip), Ok(Stats::default()));
    }
}
