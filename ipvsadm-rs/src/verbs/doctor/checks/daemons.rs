//! Sync daemons: their interfaces and options.

use ipvs::{Change, Role, SyncDaemon};

use super::super::check::{Check, Examined, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::{SYNC, ipvsadm};
use crate::terminal::commands::{Command, quoted};
use crate::terminal::text;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "sync-interface",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a sync daemon runs",
        found_if: "the interface of a daemon does not exist",
        default: "",
        meaning: "The interface of the sync daemon does not exist. The daemon keeps running, but neither sends nor \
                  receives connections.",
        cure: "Create the interface. Then stop the daemon and start it with its options, which `ipvsadm -L --daemon` lists. \
               It does not find a new interface by itself.",
        commands: &[],
        since: None,
        until: None,
        source: SYNC,
        examine: interface_exists,
    },
    Check {
        id: "sync-interface-down",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a sync daemon runs, and its interface exists",
        found_if: "the interface of a daemon is down",
        default: "",
        meaning: "The interface of the sync daemon is down, so no connections are synchronized.",
        cure: "Set the interface up.",
        commands: &["ip link set INTERFACE up"],
        since: None,
        until: None,
        source: SYNC,
        examine: interface_up,
    },
    Check {
        id: "sync-length",
        group: Group::Synchronization,
        severity: Severity::Warning,
        applies: "a master sync daemon runs",
        found_if: "the longest message and its headers (28 bytes, with IPv6 48) are longer than the MTU",
        default: "1472 bytes, with IPv6 1452",
        meaning: "The messages of the master are longer than the MTU of the interface. They are sent in fragments. A \
                  fragment that is lost loses all connections of its message.",
        cure: "Start the daemon with a smaller --sync-maxlen on both directors, or raise the MTU.",
        commands: &["ipvsadm --stop-daemon ROLE", "ipvsadm --start-daemon ROLE OPTIONS"],
        since: Some((4, 3)),
        until: None,
        source: SYNC,
        examine: length,
    },
    Check {
        id: "sync-daemons-differ",
        group: Group::Synchronization,
        severity: Severity::Warning,
        applies: "both sync daemons run",
        found_if: "group or port differ, or the sync ID differs and that of the backup is not 0",
        default: "",
        meaning: "The daemons of this director have different sync IDs, groups or ports. In a pair in which each director \
                  runs both, the two directors then do not get all connections of each other. A backup daemon with sync \
                  ID 0 accepts all IDs.",
        cure: "Start both daemons with the same options on both directors.",
        commands: &["ipvsadm --stop-daemon ROLE", "ipvsadm --start-daemon ROLE OPTIONS"],
        since: None,
        until: None,
        source: SYNC,
        examine: daemons_differ,
    },
    Check {
        id: "sync-id-range",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a sync daemon runs",
        found_if: "a sync ID is greater than 255",
        default: "",
        meaning: "A message has 8 bits for the sync ID, but the kernel accepts larger ones. A backup daemon with a larger \
                  ID ignores every message.",
        cure: "Start the daemons with a sync ID from 1 to 255.",
        commands: &[],
        since: None,
        until: None,
        source: SYNC,
        examine: id_range,
    },
];

/// Returns the daemons. `None`: none runs.
pub(super) fn daemons(facts: &Facts) -> Result<Option<&[SyncDaemon]>, NotChecked> {
    Ok(Some(facts.daemons()?).filter(|daemons| !daemons.is_empty()))
}

pub(super) fn daemon(facts: &Facts, role: Role) -> Result<Option<&SyncDaemon>, NotChecked> {
    Ok(facts.daemons()?.iter().find(|daemon| daemon.role == role))
}

/// Returns the commands that start a daemon again. There are none if its interface is absent: the daemon would stop, and not
/// start.
fn restart(facts: &Facts, daemon: &SyncDaemon) -> Vec<Command> {
    let name = daemon.interface.to_string();
    if !facts.devices().is_ok_and(|devices| devices.iter().any(|device| device.name == name)) {
        return Vec::new();
    }
    [Change::StopDaemon(daemon.role), Change::StartDaemon(*daemon)].iter().map(ipvsadm).collect()
}

fn interface_exists(facts: &Facts) -> Examined {
    let Some(daemons) = daemons(facts)? else { return Ok(Outcome::DoesNotApply) };
    let devices = facts.devices()?;
    let is_absent = |daemon: &&SyncDaemon| {
        let name = daemon.interface.to_string();
        devices.iter().all(|device| device.name != name)
    };
    let seen = daemons.iter().filter(is_absent).map(|daemon| {
        let name = daemon.interface.to_string();
        format!("The {} sync daemon uses {}, and there is no such interface.", daemon.role, text::escaped(&name))
    });
    Ok(Outcome::of(seen.collect(), Vec::new()))
}

fn interface_up(facts: &Facts) -> Examined {
    let Some(daemons) = daemons(facts)? else { return Ok(Outcome::DoesNotApply) };
    let devices = facts.devices()?;
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for daemon in daemons {
        let name = daemon.interface.to_string();
        if devices.iter().any(|device| device.name == name && !device.is_up) {
            let shown = text::escaped(&name);
            seen.push(format!("The {} sync daemon uses {shown}, which is down.", daemon.role));
            commands.push(Command::director(format!("ip link set {} up", quoted(&name))));
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn length(facts: &Facts) -> Examined {
    let Some(master) = daemon(facts, Role::Master)? else { return Ok(Outcome::DoesNotApply) };
    let Some(length) = master.max_length.map(u32::from) else { return Ok(Outcome::DoesNotApply) };
    let name = master.interface.to_string();
    // The check sync-interface reports an interface that is absent.
    let Some(device) = facts.devices()?.iter().find(|device| device.name == name) else {
        return Ok(Outcome::DoesNotApply);
    };
    let (shown, mtu) = (text::escaped(&name), device.mtu);
    let headers = if master.group.is_some_and(|group| group.is_ipv6()) { 48 } else { 28 };
    if length + headers <= mtu {
        return Ok(Outcome::Passed);
    }
    let seen =
        format!("Messages have up to {length} bytes and {headers} bytes of headers, and the MTU of {shown} is {mtu}.");
    let max_length =
        mtu.checked_sub(headers).and_then(|length| u16::try_from(length).ok()).filter(|length| *length > 0);
    let shorter = SyncDaemon { max_length, ..*master };
    let commands = if max_length.is_some() { restart(facts, &shorter) } else { Vec::new() };
    Ok(Outcome::of(vec![seen], commands))
}

fn daemons_differ(facts: &Facts) -> Examined {
    let (Some(master), Some(backup)) = (daemon(facts, Role::Master)?, daemon(facts, Role::Backup)?) else {
        return Ok(Outcome::DoesNotApply);
    };
    let mut seen = Vec::new();
    if backup.sync_id != 0 && master.sync_id != backup.sync_id {
        seen.push(format!(
            "The sync ID of the master is {}, that of the backup is {}.",
            master.sync_id, backup.sync_id
        ));
    }
    if (master.group, master.port) != (backup.group, backup.port) {
        let of = |daemon: &SyncDaemon| {
            let group = daemon.group.map_or("the default group".into(), |group| group.to_string());
            let port = daemon.port.map_or("the default port".into(), |port| format!("port {port}"));
            format!("{group}, {port}")
        };
        seen.push(format!("The master sends to {}, and the backup listens on {}.", of(master), of(backup)));
    }
    // A backup daemon with sync ID 0 accepts all IDs, and keeps it.
    let sync_id = if backup.sync_id == 0 { 0 } else { master.sync_id };
    let same = SyncDaemon { sync_id, group: master.group, port: master.port, ..*backup };
    Ok(Outcome::of(seen, restart(facts, &same)))
}

fn id_range(facts: &Facts) -> Examined {
    let Some(daemons) = daemons(facts)? else { return Ok(Outcome::DoesNotApply) };
    let is_large = |daemon: &&SyncDaemon| daemon.sync_id > SyncDaemon::MAX_SYNC_ID;
    let seen = |daemon: &SyncDaemon| format!("The sync ID of the {} is {}.", daemon.role, daemon.sync_id);
    Ok(Outcome::of(daemons.iter().filter(is_large).map(seen).collect(), Vec::new()))
}
