//! `virtual_server` with its servers.

use super::address::endpoint;
use super::keywords::{CHECKS, REAL_SERVER, VIRTUAL_SERVER, unknown};
use super::table::{Real, Sorry, Table, Target, Virtual};
use super::tree::Statement;
use super::values::{ensure_end, ensure_no_block, forwarding, number, word, yes_or_no};
use crate::convert::Report;
use crate::destination::{Destination, Forwarding};
use crate::family::{Family, Protocol};
use crate::name::{Engine, Scheduler};
use crate::service::{Netmask, SchedulerFlags};

/// The persistence timeout that keepalived uses if none is specified, in seconds.
pub(super) const DEFAULT_PERSISTENCE: u32 = 360;
/// The longest persistence timeout that keepalived accepts, 31 days in seconds.
const LONGEST_PERSISTENCE: u32 = 86400 * 31;
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"];

pub(super) fn read(block: &Statement, table: &mut Table, report: &mut Report) {
    let errors = report.errors.len();
    let target = target(block, report);
    let Some(statements) = &block.block else {
        return report.error(block.position(), "`virtual_server' needs a block");
    };
    // Errors of the settings are reported, too, if the address has one.
    let mut server = Virtual::new(block.position(), target.clone().unwrap_or(Target::Group(String::new())));
    for statement in statements {
        setting(statement, &mut server, report);
    }
    server.finish_family();
    if target.is_some() && report.errors.len() == errors {
        table.virtuals.push(server);
    }
}

fn target(block: &Statement, report: &mut Report) -> Option<Target> {
    let Some(word) = block.word(1) else {
        report
            .error(block.position(), "`virtual_server' needs an address, `fwmark' with a mark, or `group' with a name");
        return None;
    };
    match (word, block.word(2)) {
        ("group", Some(name)) => Some(Target::Group(name.to_owned())),
        ("group", None) => {
            report.error(block.position(), "`group' needs a name");
            None
        }
        ("fwmark", _) => number(block, 2, 1..=u32::MAX, report).map(Target::Mark),
        _ => endpoint(block, 1, report).map(|(address, port)| Target::Address(address, port)),
    }
    .inspect(|_| {
        if let Some(word) = block.word(3) {
            report.error(block.at(3), format_args!("`{word}' is not used by `virtual_server'"));
        }
    })
}

/// Reads a statement of `virtual_server`. The order matters, as in keepalived.
fn setting(statement: &Statement, server: &mut Virtual, report: &mut Report) {
    let keyword = statement.keyword();
    match keyword {
        "lvs_sched" | "lb_algo" => {
            if let Some(name) = word(statement, "a scheduler", report) {
                match Scheduler::new(name) {
                    Ok(scheduler) if SCHEDULERS.contains(&name) => server.scheduler = Some(scheduler),
                    _ => {
                        let names = SCHEDULERS.join(", ");
                        report.error(statement.at(1), format_args!("`{name}' is not one of {names}"));
                    }
                }
            }
            ensure_end(statement, 2, report);
        }
        "hashed" => {
            report.adjusted(statement.position(), "keepalived ignores `hashed', because the kernel sets it");
            ensure_end(statement, 1, report);
        }
        "ops" => {
            server.one_packet = true;
            ensure_end(statement, 1, report);
        }
        "flag-1" | "flag-2" | "flag-3" => {
            server.flags |= match keyword {
                "flag-1" => SchedulerFlags::FLAG_1,
                "flag-2" => SchedulerFlags::FLAG_2,
                _ => SchedulerFlags::FLAG_3,
            };
            ensure_end(statement, 1, report);
        }
        "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" => scheduler_flag(statement, server, report),
        "lvs_method" | "lb_kind" => server.forwarding = forwarding(statement, report).or(server.forwarding),
        "persistence_timeout" => {
            server.persistence = match statement.word(1) {
                None => Some(DEFAULT_PERSISTENCE),
                Some(_) => number(statement, 1, 1..=LONGEST_PERSISTENCE, report),
            };
            ensure_end(statement, 2, report);
        }
        "persistence_granularity" => granularity(statement, server, report),
        "persistence_engine" => {
            if let Some(name) = word(statement, "a persistence engine", report) {
                match Engine::new(name) {
                    Ok(engine) => server.engine = Some(engine),
                    Err(error) => report.error(statement.at(1), error),
                }
            }
            ensure_end(statement, 2, report);
        }
        "protocol" => {
            match word(statement, "TCP, UDP or SCTP", report) {
                Some(name) if name.eq_ignore_ascii_case("TCP") => server.protocol = Some(Protocol::Tcp),
                Some(name) if name.eq_ignore_ascii_case("UDP") => server.protocol = Some(Protocol::Udp),
                Some(name) if name.eq_ignore_ascii_case("SCTP") => server.protocol = Some(Protocol::Sctp),
                Some(name) => report.error(statement.at(1), format_args!("`{name}' is not one of TCP, UDP, SCTP")),
                None => {}
            }
            ensure_end(statement, 2, report);
        }
        "ip_family" => ip_family(statement, server, report),
        "weight" => {
            server.weight = number(statement, 1, 1..=Destination::MAX, report).unwrap_or(1);
            ensure_end(statement, 2, report);
        }
        "quorum" => {
            server.quorum = number(statement, 1, 1..=u32::MAX, report).unwrap_or(1);
            ensure_end(statement, 2, report);
            report.left(statement.position(), keyword);
        }
        "hysteresis" => {
            server.hysteresis = number(statement, 1, 0..=u32::MAX, report).unwrap_or(0);
            ensure_end(statement, 2, report);
            report.left(statement.position(), keyword);
        }
        "alpha" => {
            server.alpha = true;
            ensure_end(statement, 1, report);
            report.left(statement.position(), keyword);
        }
        "omega" => {
            server.omega = true;
            ensure_end(statement, 1, report);
            report.left(statement.position(), keyword);
        }
        "inhibit_on_failure" => {
            server.inhibit = true;
            ensure_end(statement, 1, report);
            report.left(statement.position(), keyword);
        }
        "sorry_server" => {
            if let Some((address, port)) = endpoint(statement, 1, report) {
                server.sorry = Some(Sorry {
                    position: statement.position(),
                    address,
                    port,
                    forwarding: server.forwarding,
                    inhibit: false,
                });
            }
            ensure_end(statement, 3, report);
            report.left(statement.position(), keyword);
        }
        "sorry_server_inhibit" | "sorry_server_lvs_method" if server.sorry.is_none() => {
            report.error(statement.position(), format_args!("`{keyword}' needs a `sorry_server' before it"));
        }
        "sorry_server_inhibit" => {
            if let Some(sorry) = &mut server.sorry {
                sorry.inhibit = true;
            }
            ensure_end(statement, 1, report);
            report.left(statement.position(), keyword);
        }
        "sorry_server_lvs_method" => {
            let forwarding = forwarding(statement, report);
            if let Some(sorry) = &mut server.sorry {
                sorry.forwarding = forwarding;
            }
        }
        "real_server" => real_server(statement, server, report),
        word if VIRTUAL_SERVER.contains(&word) => {
            ensure_no_block(statement, report);
            report.left(statement.position(), word);
        }
        word => report.error(statement.position(), unknown(word, VIRTUAL_SERVER)),
    }
}

fn scheduler_flag(statement: &Statement, server: &mut Virtual, report: &mut Report) {
    let keyword = statement.keyword();
    let (scheduler, flag) = match keyword {
        "sh-port" => (Scheduler::SH, SchedulerFlags::PORT),
        "sh-fallback" => (Scheduler::SH, SchedulerFlags::FALLBACK),
        "mh-port" => (Scheduler::MH, SchedulerFlags::PORT),
        _ => (Scheduler::MH, SchedulerFlags::FALLBACK),
    };
    ensure_end(statement, 1, report);
    if server.scheduler == Some(scheduler) {
        server.flags |= flag;
    } else {
        let message = format!("`{keyword}' needs `lvs_sched {scheduler}' before it, or keepalived ignores it");
        report.error(statement.position(), message);
    }
}

/// Reads an IPv4 mask or an IPv6 prefix length. It also enables persistence and sets the family.
fn granularity(statement: &Statement, server: &mut Virtual, report: &mut Report) {
    ensure_end(statement, 2, report);
    let Some(text) = word(statement, "a netmask", report) else { return };
    let family = server.family.unwrap_or(if text.contains('.') { Family::V4 } else { Family::V6 });
    let netmask = match family {
        Family::V4 => text.parse().ok().map(Netmask::V4),
        Family::V6 => text.parse().ok().and_then(|length| Netmask::from_prefix(Family::V6, length)),
    };
    match netmask {
        Some(netmask) => {
            server.netmask = Some(netmask);
            server.family = Some(family);
            server.persistence = server.persistence.or(Some(DEFAULT_PERSISTENCE));
        }
        None => report.error(statement.at(1), format_args!("`{text}' is not a netmask for {family}")),
    }
}

fn ip_family(statement: &Statement, server: &mut Virtual, report: &mut Report) {
    ensure_end(statement, 2, report);
    let family = match word(statement, "inet or inet6", report) {
        Some("inet") => Family::V4,
        Some("inet6") => Family::V6,
        Some(word) => return report.error(statement.at(1), format_args!("`{word}' is not one of inet, inet6")),
        None => return,
    };
    if let Some(other) = server.family.filter(|other| *other != family) {
        return report.error(statement.at(1), format_args!("the virtual server is already one for {other}"));
    }
    server.family = Some(family);
}

fn real_server(block: &Statement, server: &mut Virtual, report: &mut Report) {
    let Some((address, port)) = endpoint(block, 1, report) else { return };
    if let Some(word) = block.word(3) {
        report.error(block.at(3), format_args!("`{word}' is not used by `real_server'"));
    }
    let Some(statements) = &block.block else {
        return report.error(block.position(), "`real_server' needs a block");
    };
    let mut real = Real {
        position: block.position(),
        address,
        port,
        forwarding: server.forwarding,
        weight: None,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit: None,
        alpha: None,
        is_checked: false,
        sets_weight: false,
    };
    for statement in statements {
        let keyword = statement.keyword();
        match keyword {
            "weight" => real.weight = number(statement, 1, 0..=Destination::MAX, report),
            "lvs_method" => real.forwarding = forwarding(statement, report),
            "uthreshold" => real.upper_threshold = number(statement, 1, 0..=Destination::MAX, report).unwrap_or(0),
            "lthreshold" => real.lower_threshold = number(statement, 1, 0..=Destination::MAX, report).unwrap_or(0),
            "inhibit_on_failure" => {
                real.inhibit = yes_or_no(statement, report);
                report.left(statement.position(), keyword);
            }
            "alpha" => {
                real.alpha = yes_or_no(statement, report);
                report.left(statement.position(), keyword);
            }
            word if CHECKS.contains(&word) => {
                real.is_checked = true;
                let is_dynamic = |inner: &Statement| matches!(inner.keyword(), "misc_dynamic" | "track_file");
                real.sets_weight |= statement.block.iter().flatten().any(is_dynamic);
                report.left(statement.position(), word);
            }
            word if REAL_SERVER.contains(&word) => {
                ensure_no_block(statement, report);
                report.left(statement.position(), word);
            }
            word => report.error(statement.position(), unknown(word, REAL_SERVER)),
        }
        if matches!(keyword, "weight" | "uthreshold" | "lthreshold") {
            ensure_end(statement, 2, report);
        }
    }
    // Only tunnels lead to servers of another family.
    if !matches!(real.forwarding, Some(Forwarding::Tunnel(_))) {
        let family = Family::of(address);
        let expected = *server.family.get_or_insert(family);
        if expected != family {
            let message = format!("{address} is not an {expected} address, as the virtual server needs");
            return report.error(block.at(1), message);
        }
    }
    server.reals.push(real);
}
