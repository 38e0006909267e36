//! Sync daemons in a document: the format, and the conversion in both directions.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::read::Reader;
use crate::change::{Change, Invalid};
use crate::daemon::{Role, SyncDaemon};

/// A sync daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    /// The role: a `master` sends connections, a `backup` receives them.
    pub role: Role,
    /// The interface for multicast packets.
    pub interface: String,
    /// The sync id, 0 to 255. A backup ignores packets with another id. A backup with 0 accepts every id.
    #[serde(default)]
    pub sync_id: u32,
    /// The largest payload of a sync packet in bytes. Absent or 0: 1472 for a master, and the interface's MTU without
    /// headers for a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// The multicast group. Absent: 224.0.0.81.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IpAddr>,
    /// The UDP port. Absent or 0: 8848.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The time to live of sync packets, in hops. Absent or 0: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

impl From<&SyncDaemon> for Daemon {
    fn from(daemon: &SyncDaemon) -> Self {
        let SyncDaemon { role, interface, sync_id, max_length, group, port, ttl } = *daemon;
        Self { role, interface: interface.to_string(), sync_id, max_length, group, port, ttl }
    }
}

impl Daemon {
    /// Returns the daemon, or `None` after an error that prevents reading it.
    pub(super) fn read(&self, reader: &mut Reader, path: &str) -> Option<SyncDaemon> {
        let Self { role, interface, sync_id, max_length, group, port, ttl } = self;
        let interface = reader.keep(path, interface.parse())?;
        let (role, sync_id, max_length, group, port, ttl) = (*role, *sync_id, *max_length, *group, *port, *ttl);
        let daemon = SyncDaemon { role, interface, sync_id, max_length, group, port, ttl };
        reader.check(path, &Change::StartDaemon(daemon));
        Some(daemon)
    }
}

/// Reads all daemons of a document.
pub(super) fn read(reader: &mut Reader, daemons: &[Daemon]) -> Vec<SyncDaemon> {
    let mut read: Vec<SyncDaemon> = Vec::new();
    for (i, daemon) in daemons.iter().enumerate() {
        let path = format!("daemons[{i}]");
        let Some(daemon) = daemon.read(reader, &path) else { continue };
        if read.iter().any(|other| other.role == daemon.role) {
            reader.error(&path, Invalid::DuplicateDaemon(daemon.role));
        }
        read.push(daemon);
    }
    read
}
