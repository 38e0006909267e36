//! Connection timeouts of a director.

use ipvs_sys::uapi::CommandAttrs;

/// How long idle connections are kept, in seconds. Other states' timeouts are fixed in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Timeouts {
    /// Established TCP connections; the kernel starts with 900. To set 0 keeps what is.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub tcp: u32,
    /// TCP connections after a FIN; the kernel starts with 120. To set 0 keeps what is.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub tcp_fin: u32,
    /// UDP flows; the kernel starts with 300. To set 0 keeps what is.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_UDP")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub udp: u32,
}

impl Timeouts {
    /// The longest timeout that any kernel takes: 248 days. One whose clock is faster takes less.
    pub const MAX: u32 = i32::MAX as u32 / 100;

    /// What a kernel starts with.
    pub const KERNEL_DEFAULT: Self = Self { tcp: 900, tcp_fin: 120, udp: 300 };

    /// These, with what is 0 taken from `current`: what the kernel makes of them.
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
}

impl From<CommandAttrs> for Timeouts {
    fn from(attributes: CommandAttrs) -> Self {
        let CommandAttrs { service: _, dest: _, daemon: _, timeout_tcp, timeout_tcp_fin, timeout_udp, unknown: _ } =
            attributes;
        Self {
            tcp: timeout_tcp.unwrap_or_default(),
            tcp_fin: timeout_tcp_fin.unwrap_or_default(),
            udp: timeout_udp.unwrap_or_default(),
        }
    }
}
