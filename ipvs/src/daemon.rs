//! Sync daemons: connections made known from one director to another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs_sys::uapi::{DaemonAttrs, IP_VS_STATE_BACKUP, IP_VS_STATE_MASTER};
use ipvs_sys::wire::Unknown;

use crate::name::Interface;

/// What a sync daemon does. A director may run one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Role {
    /// Sends its connections.
    #[doc(alias = "IP_VS_STATE_MASTER")]
    Master,
    /// Takes in the master's connections.
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

/// A sync daemon, as asked for or as it runs. `None` or 0: what the kernel takes by itself; one that runs always says
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemon {
    /// Sender or receiver.
    #[doc(alias = "IPVS_DAEMON_ATTR_STATE")]
    pub role: Role,
    /// The interface on which it multicasts.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_IFN")]
    pub interface: Interface,
    /// Master and backup understand each other if they have the same, 0 to 255; a backup with 0 takes from all.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_ID")]
    pub sync_id: u32,
    /// The largest payload of a sync packet in bytes; the kernel takes 1472, a backup what its interface allows. What is
    /// too large or too small is fitted, not refused.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_MAXLEN")]
    pub max_length: Option<u16>,
    /// The multicast group; the kernel takes 224.0.0.81.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP")]
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP6")]
    pub group: Option<IpAddr>,
    /// The UDP port; the kernel takes 8848.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_PORT")]
    pub port: Option<u16>,
    /// How many hops the packets live; the kernel takes 1.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_TTL")]
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// The largest sync id that fits into a sync packet.
    pub const MAX_SYNC_ID: u32 = 255;

    /// A daemon with everything else left to the kernel.
    pub fn new(role: Role, interface: Interface, sync_id: u32) -> Self {
        Self { role, interface, sync_id, max_length: None, group: None, port: None, ttl: None }
    }

    /// A daemon that runs as `other` does what this one asks for.
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

    /// What the kernel makes of what is given (start_sync_thread, ip_vs_sync.c): a 0 is nothing, and a length is fitted
    /// to what a packet holds.
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

    /// Bytes of the IP and UDP headers of a sync packet.
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

    /// What the kernel says of a daemon; `None` for a state that is neither.
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
    fn there_and_back() {
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
