//! Timeouts of connections.

use std::time::Duration;

use ipvs_sys::uapi::CommandAttrs;

/// Timeouts of idle connections, in seconds. The kernel has fixed timeouts for all other states.
///
/// A write with 0 leaves a timeout unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Timeouts {
    /// The timeout of established TCP connections, 900 by default. 0: not changed.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub tcp: u32,
    /// The timeout of TCP connections after a FIN, 120 by default. 0: not changed.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub tcp_fin: u32,
    /// The timeout of UDP flows, 300 by default. 0: not changed.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_UDP")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub udp: u32,
}

impl Timeouts {
    /// The longest timeout that a kernel with a clock rate (`HZ`) of 100 accepts, 21474836 seconds (248 days). The
    /// limit is `i32::MAX / HZ`: 2147483 seconds (24 days) at 1000. See `ip_vs_set_timeout` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>.
    pub const MAX: u32 = i32::MAX as u32 / 100;

    /// The timeouts of a new network namespace.
    pub const KERNEL_DEFAULT: Self = Self { tcp: 900, tcp_fin: 120, udp: 300 };

    /// Returns timeouts, rounded up to seconds. Zero leaves a timeout unchanged. A duration above `u32::MAX` seconds
    /// becomes that.
    pub fn from_durations(tcp: Duration, tcp_fin: Duration, udp: Duration) -> Self {
        Self { tcp: whole_seconds(tcp), tcp_fin: whole_seconds(tcp_fin), udp: whole_seconds(udp) }
    }

    /// Returns the timeouts that the kernel has after these are applied to `current`. 0 leaves a timeout unchanged.
    pub fn over(self, current: Self) -> Self {
        let set = |new, old| if new == 0 { old } else { new };
        Self {
            tcp: set(self.tcp, current.tcp),
            tcp_fin: set(self.tcp_fin, current.tcp_fin),
            udp: set(self.udp, current.udp),
        }
    }

    pub(crate) fn to_attributes(self) -> CommandAttrs {
        let Self { tcp, tcp_fin, udp } = self;
        CommandAttrs {
            timeout_tcp: Some(tcp),
            timeout_tcp_fin: Some(tcp_fin),
            timeout_udp: Some(udp),
            ..CommandAttrs::default()
        }
    }

    pub(crate) fn from_attributes(attributes: CommandAttrs) -> Self {
        let CommandAttrs { service: _, dest: _, daemon: _, timeout_tcp, timeout_tcp_fin, timeout_udp, unknown: _ } =
            attributes;
        Self {
            tcp: timeout_tcp.unwrap_or_default(),
            tcp_fin: timeout_tcp_fin.unwrap_or_default(),
            udp: timeout_udp.unwrap_or_default(),
        }
    }
}

/// Rounds up to seconds, up to `u32::MAX`.
pub(crate) fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    seconds.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        let timeouts = Timeouts::from_durations(Duration::from_millis(1), Duration::ZERO, Duration::MAX);
        assert_eq!(timeouts, Timeouts { tcp: 1, tcp_fin: 0, udp: u32::MAX });
        assert_eq!(whole_seconds(Duration::from_secs(900)), 900);
    }
}
