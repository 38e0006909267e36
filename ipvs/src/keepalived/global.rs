//! `global_defs`: timeouts and the sync daemon.

use super::keywords::{GLOBAL, GLOBAL_PREFIXES, unknown};
use super::table::Table;
use super::tree::Statement;
use super::values::{ensure_no_block, number};
use crate::change::Change;
use crate::convert::Report;
use crate::daemon::{Role, SyncDaemon};
use crate::name::Interface;

/// The longest timeout that keepalived accepts, 31 days in seconds.
const LONGEST_TIMEOUT: u32 = 86400 * 31;

pub(super) fn read(block: &Statement, table: &mut Table, report: &mut Report) {
    let Some(statements) = &block.block else {
        return report.error(block.position(), "`global_defs' needs a block");
    };
    for statement in statements {
        match statement.keyword() {
            "lvs_timeouts" => timeouts(statement, table, report),
            "lvs_sync_daemon" => sync_daemon(statement, table, report),
            "nftables_ipvs" | "nftables_ipvs_priority" | "nftables_ipvs_start_fwmark" => {
                table.nftables.get_or_insert(statement.position());
                report.left(statement.position(), statement.keyword());
            }
            word if GLOBAL.contains(&word) || GLOBAL_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) => {
                report.left(statement.position(), word);
            }
            word => report.error(statement.position(), unknown(word, GLOBAL)),
        }
    }
}

fn timeouts(statement: &Statement, table: &mut Table, report: &mut Report) {
    ensure_no_block(statement, report);
    let mut timeouts = table.timeouts.unwrap_or_default();
    if statement.word(2).is_none() {
        return report.error(statement.position(), "`lvs_timeouts' needs tcp, tcpfin or udp, with seconds");
    }
    for index in (1..statement.words.len()).step_by(2) {
        let timeout = match statement.word(index).unwrap_or_default() {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            word => return report.error(statement.at(index), format_args!("`{word}' is not one of tcp, tcpfin, udp")),
        };
        let Some(seconds) = number(statement, index + 1, 0..=LONGEST_TIMEOUT, report) else { return };
        *timeout = seconds;
    }
    table.timeouts = Some(timeouts);
}

/// Reads `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [[id] ID] [maxlen N] [port N] [ttl N] [group ADDRESS]`.
fn sync_daemon(statement: &Statement, table: &mut Table, report: &mut Report) {
    ensure_no_block(statement, report);
    if table.has_sync_daemon {
        return report.error(statement.position(), "`lvs_sync_daemon' is repeated");
    }
    table.has_sync_daemon = true;
    let Some(name) = statement.word(1) else {
        return report.error(statement.position(), "`lvs_sync_daemon' needs an interface");
    };
    let interface = match Interface::new(name) {
        Ok(interface) => interface,
        Err(error) => return report.error(statement.at(1), error),
    };
    let mut daemon = SyncDaemon::new(Role::Master, interface, 0);
    let mut instance = None;
    let mut index = 2;
    while let Some(word) = statement.word(index) {
        let mut value = |end| number(statement, index + 1, 1..=end, report);
        match word {
            "inst" => match statement.word(index + 1) {
                Some(name) => instance = Some(name),
                None => return report.error(statement.at(index), "`inst' needs the name of a vrrp_instance"),
            },
            "id" => match number(statement, index + 1, 0..=SyncDaemon::MAX_SYNC_ID, report) {
                Some(id) => daemon.sync_id = id,
                None => return,
            },
            "maxlen" => daemon.max_length = value(65507).and_then(|value| value.try_into().ok()),
            "port" => daemon.port = value(65535).and_then(|value| value.try_into().ok()),
            "ttl" => daemon.ttl = value(255).and_then(|value| value.try_into().ok()),
            "group" => match statement.word(index + 1).map(str::parse) {
                Some(Ok(group)) => daemon.group = Some(group),
                _ => return report.error(statement.at(index + 1), "`group' needs an IP address"),
            },
            name if index == 2 => {
                instance = Some(name);
                index += 1;
                continue;
            }
            _ if index == 3 => {
                match number(statement, index, 0..=SyncDaemon::MAX_SYNC_ID, report) {
                    Some(id) => daemon.sync_id = id,
                    None => return,
                }
                index += 1;
                continue;
            }
            word => {
                return report.error(statement.at(index), format_args!("`{word}' is not used by `lvs_sync_daemon'"));
            }
        }
        index += 2;
    }
    if !report.accepts(&Change::StartDaemon(daemon), &statement.position()) {
        return;
    }
    match instance {
        // Both run if they do not follow an instance.
        None => table.daemons = Some([Role::Master, Role::Backup].map(|role| SyncDaemon { role, ..daemon }).to_vec()),
        Some(_) => report.left(statement.position(), "lvs_sync_daemon, whose role follows a vrrp_instance"),
    }
}
