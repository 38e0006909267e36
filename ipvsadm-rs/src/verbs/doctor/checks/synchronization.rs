//! Settings of the synchronization of connections.

use ipvs::Role;

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::daemons::{daemon, daemons};
use super::{CORE, SYNC, SYSCTL_DOC, examine_setting, is_one_way};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "backup-only",
        group: Group::Synchronization,
        severity: Severity::Error,
        applies: "a backup sync daemon runs",
        found_if: "net.ipv4.vs.backup_only is not 0, and the master daemon also runs",
        default: "0",
        meaning: "With 1, the kernel does not process packets for services while the backup daemon runs, even if the \
                  master daemon also runs. The setting is intended for a director that only receives connections.",
        cure: "Set 0, or run only one of the daemons on each director.",
        commands: &["sysctl -w net.ipv4.vs.backup_only=0"],
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
        found_if: "net.ipv4.vs.backup_only is 0",
        default: "0",
        meaning: "The two directors may also be servers of each other. A packet that the active one forwards is then \
                  forwarded again by this one, and may loop between them.",
        cure: "Set 1 if this director is also a server.",
        commands: &["sysctl -w net.ipv4.vs.backup_only=1"],
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
        found_if: "the first number of net.ipv4.vs.sync_threshold is greater than 10",
        default: "3",
        meaning: "The first number is the packets after which a connection is sent to the backup. Shorter connections \
                  are never sent, and break when the backup takes over.",
        cure: "Set the first number to the default, 3.",
        commands: &["sysctl -w net.ipv4.vs.sync_threshold='3 NUMBER'"],
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
        found_if: "the second number of net.ipv4.vs.sync_threshold is 0, and so is net.ipv4.vs.sync_refresh_period",
        default: "50",
        meaning: "The second number of sync_threshold is 0 and sync_refresh_period is 0, so a connection is sent again only \
                  when its state changes. The backup deletes a long connection after its timeout.",
        cure: "Set the second number to the default, 50.",
        commands: &["sysctl -w net.ipv4.vs.sync_threshold='NUMBER 50'"],
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
        found_if: "net.ipv4.vs.sync_version is 0",
        default: "1",
        meaning: "Version 0 of the messages has neither IPv6, nor firewall marks, nor data of persistence engines.",
        cure: "Set the default (1), unless the backup has a kernel before 2.6.39.",
        commands: &["sysctl -w net.ipv4.vs.sync_version=1"],
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
        found_if: "net.ipv4.vs.sync_persist_mode is not 0, and net.ipv4.vs.sloppy_tcp is 0",
        default: "0 for both",
        meaning: "With 1, only the templates of persistent services are sent, not their connections. A director that \
                  takes over drops the packets of these connections unless sloppy_tcp is 1.",
        cure: "Set sloppy_tcp to 1 on both directors, or sync_persist_mode to 0.",
        commands: &["sysctl -w net.ipv4.vs.sloppy_tcp=1"],
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
        found_if: "net.ipv4.vs.sync_ports is greater than 1",
        default: "1",
        meaning: "Each thread of the sync daemon uses a port of its own. With different numbers on the two directors, some \
                  messages are sent to ports on which the other one does not listen. The daemon reads the setting when \
                  it starts.",
        cure: "Set the same number on both directors, and open these ports in firewalls.",
        commands: &["sysctl -w net.ipv4.vs.sync_ports=1"],
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
        found_if: "net.ipv4.vs.sync_sock_size is less than 65536, and not 0",
        default: "0",
        meaning: "The socket buffer of the sync daemon is so small that it loses messages when many connections begin. 0 \
                  means the default of the system.",
        cure: "Set the default (0), and start the daemon again.",
        commands: &["sysctl -w net.ipv4.vs.sync_sock_size=0"],
        since: Some((3, 5)),
        until: None,
        source: SYSCTL_DOC,
        examine: socket_size,
    },
];

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
    let (Some(_), Some((threshold, period))) = (daemon(facts, Role::Master)?, thresholds(facts)?) else {
        return Ok(Outcome::DoesNotApply);
    };
    if threshold <= 10 {
        return Ok(Outcome::Passed);
    }
    let seen = format!("The first number of net.ipv4.vs.sync_threshold is {threshold}.");
    Ok(Finding::new(seen).command(super::set("sync_threshold", format!("3 {period}"))).into())
}

fn refresh(facts: &Facts) -> Examined {
    let (Some(_), Some((threshold, period))) = (daemon(facts, Role::Master)?, thresholds(facts)?) else {
        return Ok(Outcome::DoesNotApply);
    };
    if period != 0 || facts.setting("sync_refresh_period")?.unwrap_or_default() != 0 {
        return Ok(Outcome::Passed);
    }
    let seen = "The second number of net.ipv4.vs.sync_threshold is 0, and so is net.ipv4.vs.sync_refresh_period.";
    // The kernel refuses a second number that is not greater than the first.
    let threshold = if threshold < 50 { threshold } else { 3 };
    Ok(Finding::new(seen).command(super::set("sync_threshold", format!("{threshold} 50"))).into())
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
        (Some(mode), Some(0)) if mode != 0 => {
            let seen = format!("net.ipv4.vs.sync_persist_mode is {mode}, and net.ipv4.vs.sloppy_tcp is 0.");
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
