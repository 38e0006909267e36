//! Synchronization: the sync daemons and their settings.

use ipvs::{Change, Forwarding, Role, SyncDaemon};

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::{CORE, SYNC, SYSCTL_DOC, examine_setting, quoted};
use crate::terminal::text;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "sync-interface",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a sync daemon runs",
        meaning: "The interface of the sync daemon does not exist. The daemon keeps running, but neither sends nor \
                  receives connections.",
        cure: "Create the interface. Then stop and start the daemon, because it does not find the new interface itself.",
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
        meaning: "The interface of the sync daemon is down, so no connections are synchronized.",
        cure: "Set the interface up.",
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
        meaning: "The messages of the master are longer than the MTU of the interface. They are sent in fragments. A \
                  fragment that is lost loses all connections of its message.",
        cure: "Start the daemon with a smaller --sync-maxlen on both directors, or raise the MTU.",
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
        meaning: "The daemons of this director have different sync IDs, groups or ports. In a pair in which each director \
                  runs both, the two directors then do not get all connections of each other. A backup daemon with sync \
                  ID 0 accepts all IDs.",
        cure: "Start both daemons with the same options on both directors.",
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
        meaning: "A message has 8 bits for the sync ID, but the kernel accepts larger ones. A backup daemon with a larger \
                  ID ignores every message.",
        cure: "Start the daemons with a sync ID from 1 to 255.",
        since: None,
        until: None,
        source: SYNC,
        examine: id_range,
    },
    Check {
        id: "backup-only",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a backup sync daemon runs",
        meaning: "With 1, a director does not forward packets while its backup daemon runs. This is meant for a director \
                  that runs only the backup daemon. If the master daemon runs, too, the director is active, and its \
                  services do not work.",
        cure: "Set 0, or run only one of the daemons on each director.",
        since: Some((3, 9)),
        until: None,
        source: CORE,
        examine: backup_only,
    },
    Check {
        id: "backup-loop",
        group: Group::Synchronization,
        severity: Severity::Note,
        applies: "only the backup sync daemon runs, and the table has servers with direct routing or tunnels",
        meaning: "The two directors may also be servers of each other. A packet that the active one forwards is then \
                  forwarded again by this one, and may circle.",
        cure: "Set backup_only to 1 if this director is also a server.",
        since: Some((3, 9)),
        until: None,
        source: SYSCTL_DOC,
        examine: backup_loop,
    },
    Check {
        id: "sync-threshold",
        group: Group::Synchronization,
        severity: Severity::Note,
        applies: "a master sync daemon runs",
        meaning: "The first number is the packets after which a connection is sent to the backup. Shorter connections are \
                  never sent, and break when the backup takes over.",
        cure: "Set the default.",
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: threshold,
    },
    Check {
        id: "sync-refresh",
        group: Group::Synchronization,
        severity: Severity::Note,
        applies: "a master sync daemon runs",
        meaning: "The second number of sync_threshold is 0 and sync_refresh_period is 0, so a connection is sent again only \
                  when its state changes. The backup deletes a long connection after its timeout.",
        cure: "Set the default.",
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: refresh,
    },
    Check {
        id: "sync-version",
        group: Group::Synchronization,
        severity: Severity::Warning,
        applies: "a master sync daemon runs",
        meaning: "Version 0 of the messages has neither IPv6, nor firewall marks, nor data of persistence engines.",
        cure: "Set the default, unless the backup has a kernel before 2.6.39.",
        since: None,
        until: None,
        source: SYNC,
        examine: |facts| of_master(facts, "sync_version", |value| value == 0, 1),
    },
    Check {
        id: "sync-persist-mode",
        group: Group::Synchronization,
        severity: Severity::Warning,
        applies: "a sync daemon runs, and the table has persistent services",
        meaning: "With 1, only the templates of persistent services are sent, not their connections. A director that \
                  takes over drops the packets of these connections unless sloppy_tcp is 1.",
        cure: "Set sloppy_tcp to 1 on both directors, or sync_persist_mode to 0.",
        since: Some((3, 11)),
        until: None,
        source: SYSCTL_DOC,
        examine: persist_mode,
    },
    Check {
        id: "sync-ports",
        group: Group::Synchronization,
        severity: Severity::Note,
        applies: "a sync daemon runs",
        meaning: "Each thread of the sync daemon uses a port of its own. With different numbers on the two directors, some \
                  messages are sent to ports on which the other one does not listen. The daemon reads the setting when \
                  it starts.",
        cure: "Set the same number on both directors, and open these ports in firewalls.",
        since: Some((3, 5)),
        until: None,
        source: SYSCTL_DOC,
        examine: ports,
    },
    Check {
        id: "sync-socket-size",
        group: Group::Synchronization,
        severity: Severity::Warning,
        applies: "a sync daemon runs",
        meaning: "The socket buffer of the sync daemon is so small that it loses messages when many connections begin. 0 \
                  means the default of the system.",
        cure: "Set the default, and start the daemon again.",
        since: Some((3, 5)),
        until: None,
        source: SYSCTL_DOC,
        examine: socket_size,
    },
];

/// Returns the daemons. `None`: none runs.
fn daemons(facts: &Facts) -> Result<Option<&[SyncDaemon]>, NotChecked> {
    Ok(Some(facts.daemons()?).filter(|daemons| !daemons.is_empty()))
}

fn daemon(facts: &Facts, role: Role) -> Result<Option<&SyncDaemon>, NotChecked> {
    Ok(facts.daemons()?.iter().find(|daemon| daemon.role == role))
}

/// Returns the commands that start a daemon again.
fn restart(daemon: &SyncDaemon) -> [String; 2] {
    [Change::StopDaemon(daemon.role), Change::StartDaemon(*daemon)].map(|change| format!("ipvsadm {change}"))
}

fn interface_exists(facts: &Facts) -> Examined {
    let Some(daemons) = daemons(facts)? else { return Ok(Outcome::DoesNotApply) };
    let devices = facts.devices()?;
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for daemon in daemons {
        let name = daemon.interface.to_string();
        if !devices.iter().any(|device| device.name == name) {
            let name = text::escaped(&name);
            seen.push(format!("The {} sync daemon uses {name}, and there is no such interface.", daemon.role));
            commands.extend(restart(daemon));
        }
    }
    Ok(Outcome::of(seen, commands))
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
            commands.push(format!("ip link set {} up", quoted(&name)));
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn length(facts: &Facts) -> Examined {
    let Some(master) = daemon(facts, Role::Master)? else { return Ok(Outcome::DoesNotApply) };
    let Some(length) = master.max_length.map(i64::from) else { return Ok(Outcome::DoesNotApply) };
    let name = master.interface.to_string();
    // The only file with the MTU that belongs to the namespace of the reader. /sys belongs to that of its mount.
    let path = format!("/proc/sys/net/ipv6/conf/{name}/mtu");
    let shown = text::escaped(&name);
    let Some(mtu) = facts.number(&path)? else {
        return Err(NotChecked(format!("cannot read the MTU of {shown}: there is no {}", text::escaped(&path))));
    };
    let headers = if master.group.is_some_and(|group| group.is_ipv6()) { 48 } else { 28 };
    if length + headers <= mtu {
        return Ok(Outcome::Passed);
    }
    let seen =
        format!("Messages have up to {length} bytes and {headers} bytes of headers, and the MTU of {shown} is {mtu}.");
    let shorter = SyncDaemon { max_length: u16::try_from(mtu - headers).ok(), ..*master };
    let [stop, start] = restart(&shorter);
    Ok(Finding::new(seen).command(stop).command(start).into())
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
    let same = SyncDaemon { role: Role::Backup, ..*master };
    Ok(Outcome::of(seen, restart(&SyncDaemon { interface: backup.interface, ..same }).into()))
}

fn id_range(facts: &Facts) -> Examined {
    let Some(daemons) = daemons(facts)? else { return Ok(Outcome::DoesNotApply) };
    let is_large = |daemon: &&SyncDaemon| daemon.sync_id > SyncDaemon::MAX_SYNC_ID;
    let seen = |daemon: &SyncDaemon| format!("The sync ID of the {} is {}.", daemon.role, daemon.sync_id);
    Ok(Outcome::of(daemons.iter().filter(is_large).map(seen).collect(), Vec::new()))
}

fn backup_only(facts: &Facts) -> Examined {
    if daemon(facts, Role::Backup)?.is_none() {
        return Ok(Outcome::DoesNotApply);
    }
    if daemon(facts, Role::Master)?.is_none() {
        return Ok(Outcome::Passed);
    }
    Ok(match facts.setting("backup_only")? {
        None => Outcome::DoesNotApply,
        Some(0) => Outcome::Passed,
        Some(value) => Finding::new(format!("net.ipv4.vs.backup_only is {value}, and both sync daemons run."))
            .command(super::set("backup_only", 0))
            .into(),
    })
}

fn backup_loop(facts: &Facts) -> Examined {
    let is_one_way = |forwarding: &Forwarding| *forwarding == Forwarding::DirectRoute || forwarding.tunnel().is_some();
    let is_backup = daemon(facts, Role::Backup)?.is_some() && daemon(facts, Role::Master)?.is_none();
    if !is_backup || !facts.has(None, is_one_way)? {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "backup_only", |value| value == 0, 1)
}

/// Returns both numbers of `sync_threshold`.
fn thresholds(facts: &Facts) -> Result<Option<(u64, u64)>, NotChecked> {
    let Some(found) = facts.setting_text("sync_threshold")? else { return Ok(None) };
    let mut numbers = found.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(threshold)), Some(Ok(period))) => Ok(Some((threshold, period))),
        _ => Err(NotChecked("net.ipv4.vs.sync_threshold is not two numbers".into())),
    }
}

fn threshold(facts: &Facts) -> Examined {
    let (Some(_), Some((threshold, _))) = (daemon(facts, Role::Master)?, thresholds(facts)?) else {
        return Ok(Outcome::DoesNotApply);
    };
    if threshold <= 10 {
        return Ok(Outcome::Passed);
    }
    let seen = format!("The first number of net.ipv4.vs.sync_threshold is {threshold}.");
    Ok(Finding::new(seen).command("sysctl -w net.ipv4.vs.sync_threshold='3 50'").into())
}

fn refresh(facts: &Facts) -> Examined {
    let (Some(_), Some((_, period))) = (daemon(facts, Role::Master)?, thresholds(facts)?) else {
        return Ok(Outcome::DoesNotApply);
    };
    if period != 0 || facts.setting("sync_refresh_period")?.unwrap_or_default() != 0 {
        return Ok(Outcome::Passed);
    }
    let seen = "The second number of net.ipv4.vs.sync_threshold is 0, and so is net.ipv4.vs.sync_refresh_period.";
    Ok(Finding::new(seen).command("sysctl -w net.ipv4.vs.sync_threshold='3 50'").into())
}

/// Examines a setting of the master daemon.
fn of_master(facts: &Facts, setting: &str, is_bad: impl Fn(i64) -> bool, good: i64) -> Examined {
    if daemon(facts, Role::Master)?.is_none() {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, setting, is_bad, good)
}

fn persist_mode(facts: &Facts) -> Examined {
    let has_persistence = facts.services()?.iter().any(|service| service.service.persistence.is_some());
    if daemons(facts)?.is_none() || !has_persistence {
        return Ok(Outcome::DoesNotApply);
    }
    Ok(match (facts.setting("sync_persist_mode")?, facts.setting("sloppy_tcp")?) {
        (Some(1), Some(0)) => {
            let seen = "net.ipv4.vs.sync_persist_mode is 1, and net.ipv4.vs.sloppy_tcp is 0.";
            Finding::new(seen).command(super::set("sloppy_tcp", 1)).into()
        }
        (None, _) => Outcome::DoesNotApply,
        _ => Outcome::Passed,
    })
}

fn ports(facts: &Facts) -> Examined {
    if daemons(facts)?.is_none() {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "sync_ports", |value| value > 1, 1)
}

fn socket_size(facts: &Facts) -> Examined {
    /// The kernel's own default is 212992.
    const LEAST: i64 = 64 << 10;
    if daemons(facts)?.is_none() {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "sync_sock_size", |value| value != 0 && value < LEAST, 0)
}
