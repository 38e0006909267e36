//! Sync daemons, which copy connections from one director to another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs_sys::uapi::{DaemonAttrs, IP_VS_STATE_BACKUP, IP_VS_STATE_MASTER};
use ipvs_sys::wire::Unknown;

use crate::name::Interface;

/// The role of a sync daemon. A director can run one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Role {
    /// Sends the director's connections to the multicast group.
    #[doc(alias = "IP_VS_STATE_MASTER")]
    Master,
    /// Receives connections from the multicast group.
    #[doc(alias = "IP_VS_STATE_BACKUP")]
    Backup,
}

impl Role {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Master => IP_VS_STATE_MASTER,
            Self::Backup => IP_VS_STATE_BACKUP,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A sync daemon, desired or running.
///
/// The kernel fills in `max_length`, `group`, `port` and `ttl` if they are `None` or 0. A daemon that was read has all
/// of them. See `start_sync_thread` in <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sync.c>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncDaemon {
    /// The role: a master sends connections, a backup receives them.
    #[doc(alias = "IPVS_DAEMON_ATTR_STATE")]
    pub role: Role,
    /// The interface for multicast packets.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_IFN")]
    pub interface: Interface,
    /// The sync id, 0 to 255. A backup ignores packets with another id. A backup with 0 accepts every id; for a master
    /// 0 is an id like any other.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_ID")]
    pub sync_id: u32,
    /// The largest payload of a sync packet in bytes. `None` or 0: 1472 for a master (1452 with an IPv6 group), and the
    /// interface's MTU without the headers for a backup. A value out of range is clamped. The range is 1 to 65507 for a
    /// master and 1024 to 65507 for a backup; with an IPv6 group it ends at 65487.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_MAXLEN")]
    pub max_length: Option<u16>,
    /// The multicast group. `None`: 224.0.0.81.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP")]
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP6")]
    pub group: Option<IpAddr>,
    /// The UDP port. `None` or 0: 8848.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_PORT")]
    pub port: Option<u16>,
    /// The time to live of sync packets, in hops. `None` or 0: 1.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_TTL")]
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// The largest sync id that fits into a sync packet.
    pub const MAX_SYNC_ID: u32 = 255;

    /// Returns a daemon with the kernel's defaults.
    pub fn new(role: Role, interface: Interface, sync_id: u32) -> Self {
        Self { role, interface, sync_id, max_length: None, group: None, port: None, ttl: None }
    }

    /// Returns whether the running daemon `other` satisfies this one. Values of this one that are `None` or 0 match
    /// every value, and its length is clamped first.
    pub fn is_met_by(&self, other: &Self) -> bool {
        fn met<T: PartialEq>(asked: Option<T>, running: Option<T>) -> bool {
            asked.is_none() || asked == running
        }
        let Self { role, interface, sync_id, max_length, group, port, ttl } = self.fitted();
        (role, interface, sync_id) == (other.role, other.interface, other.sync_id)
            && met(max_length, other.max_length)
            && met(group, other.group)
            && met(port, other.port)
            && met(ttl, other.ttl)
    }

    /// Returns the daemon as the kernel stores it: 0 becomes `None`, which is the kernel's default, and the length is
    /// clamped. See `start_sync_thread` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sync.c>.
    pub(crate) fn fitted(self) -> Self {
        let least = if self.role == Role::Backup { 1024 } else { 1 };
        let most = u16::MAX - self.headers();
        Self {
            max_length: self.max_length.filter(|length| *length != 0).map(|length| length.clamp(least, most)),
            port: self.port.filter(|port| *port != 0),
            ttl: self.ttl.filter(|ttl| *ttl != 0),
            ..self
        }
    }

    /// Returns the size of the IP and UDP headers of a sync packet, in bytes.
    pub(crate) fn headers(&self) -> u16 {
        match self.group {
            Some(IpAddr::V6(_)) => 48,
            _ => 28,
        }
    }

    pub(crate) fn to_attributes(self) -> DaemonAttrs {
        let Self { role, interface, sync_id, max_length, group, port, ttl } = self;
        let (mcast_group, mcast_group6) = match group {
            Some(IpAddr::V4(group)) => (Some(group), None),
            Some(IpAddr::V6(group)) => (None, Some(group)),
            None => (None, None),
        };
        DaemonAttrs {
            state: Some(role.number()),
            mcast_ifn: Some(interface.0),
            sync_id: Some(sync_id),
            sync_maxlen: max_length,
            mcast_group,
            mcast_group6,
            mcast_port: port,
            mcast_ttl: ttl,
            unknown: Unknown::default(),
        }
    }

    /// Reads the attributes of a daemon. Returns `None` if it is neither master nor backup.
    pub(crate) fn from_attributes(attributes: DaemonAttrs) -> Option<Self> {
        let DaemonAttrs {
            state,
            mcast_ifn,
            sync_id,
            sync_maxlen,
            mcast_group,
            mcast_group6,
            mcast_port,
            mcast_ttl,
            unknown: _,
        } = attributes;
        Some(Self {
            role: match state? {
                IP_VS_STATE_MASTER => Role::Master,
                IP_VS_STATE_BACKUP => Role::Backup,
                _ => return None,
            },
            interface: Interface(mcast_ifn.unwrap_or_default()),
            sync_id: sync_id.unwrap_or_default(),
            max_length: sync_maxlen,
            group: mcast_group
                .filter(|group| *group != Ipv4Addr::UNSPECIFIED)
                .map(IpAddr::from)
                .or(mcast_group6.filter(|group| *group != Ipv6Addr::UNSPECIFIED).map(IpAddr::from)),
            port: mcast_port,
            ttl: mcast_ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_round_trip() {
        let plain = SyncDaemon::new(Role::Backup, Interface::new("eth0").expect("short"), 7);
        let full = SyncDaemon { role: Role::Master, max_length: Some(9000), port: Some(1234), ttl: Some(8), ..plain };
        let group = |text: &str| Some(text.parse().expect("an address"));
        for daemon in
            [plain, SyncDaemon { group: group("239.1.2.3"), ..full }, SyncDaemon { group: group("ff02::5"), ..full }]
        {
            assert_eq!(SyncDaemon::from_attributes(daemon.to_attributes()), Some(daemon));
        }
        assert!(plain.is_met_by(&SyncDaemon { ttl: Some(1), port: Some(8848), ..plain }));
        assert!(!SyncDaemon { ttl: Some(2), ..plain }.is_met_by(&SyncDaemon { ttl: Some(1), ..plain }));
        let length = |length| SyncDaemon { max_length: Some(length), ..plain };
        for (asked, runs) in [(0, 1472), (1, 1024), (1025, 1025), (65535, 65507)] {
            assert!(length(asked).is_met_by(&length(runs)), "{asked}");
        }
    }
}
