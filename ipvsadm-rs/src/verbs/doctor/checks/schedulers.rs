//! Schedulers, and the weights and thresholds that they ignore.

use ipvs::{Change, Scheduler, SchedulerFlags, Service, ServiceState};

use super::super::check::{Check, Examined, Group, Severity};
use super::super::facts::{Facts, destinations};
use super::ipvsadm;
use super::services::each;
use crate::terminal::commands::Command;
use crate::terminal::plural::count;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "hash-without-fallback",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with the schedulers sh, mh or dh",
        found_if: "a server has weight 0, another one has not, and the service has no flag for the fallback",
        default: "",
        meaning: "These schedulers select the server of a client by a hash. Without a fallback, clients of a server with \
                  weight 0 are refused. dh has no fallback.",
        cure: "Set the flag for the fallback, which exists since Linux 3.11. For dh, delete the server, or use mh.",
        commands: &["ipvsadm -E SERVICE OPTIONS"],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c",
        examine: hash_without_fallback,
    },
    Check {
        id: "hash-with-thresholds",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with the schedulers sh, mh or dh",
        found_if: "a server has an upper threshold, and the service has no flag for the fallback",
        default: "",
        meaning: "A server that is full refuses its share of clients if the scheduler has no fallback, although other \
                  servers have room.",
        cure: "Set the flag for the fallback, or remove the thresholds. dh has no fallback.",
        commands: &["ipvsadm -E SERVICE OPTIONS"],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c",
        examine: hash_with_thresholds,
    },
    Check {
        id: "weights-ignored",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with the schedulers rr, lc or dh",
        found_if: "weights above 0 differ",
        default: "",
        meaning: "These schedulers ignore the differences of weights above 0.",
        cure: "Use a scheduler with weights, such as wrr for rr, wlc for lc, or mh for dh.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: weights_ignored,
    },
    Check {
        id: "weights-far-apart",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with several servers",
        found_if: "the greatest weight is more than 1000 times the least one above 0",
        default: "",
        meaning: "One weight is more than 1000 times another. The server with the small weight gets nearly no clients, \
                  which often is a typing error.",
        cure: "Check the weights.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: weights_far_apart,
    },
];

const HASHING: [Scheduler; 3] = [Scheduler::SH, Scheduler::MH, Scheduler::DH];

fn is_hashing(service: &ServiceState) -> bool {
    HASHING.contains(&service.service.scheduler)
}

/// Returns whether a hashing scheduler looks for another server.
fn has_fallback(service: &Service) -> bool {
    service.scheduler != Scheduler::DH && service.flags.contains(SchedulerFlags::FALLBACK)
}

/// Returns the command that sets the fallback. `None`: dh has none.
fn set_fallback(service: &Service) -> Option<Command> {
    let changed = Service { flags: service.flags | SchedulerFlags::FALLBACK, ..*service };
    (service.scheduler != Scheduler::DH).then(|| ipvsadm(&Change::EditService(changed)))
}

fn hash_without_fallback(facts: &Facts) -> Examined {
    each(facts, is_hashing, |state| {
        let drained = destinations(state).filter(|server| server.weight == 0).count();
        let is_some = drained > 0 && drained < state.destinations.len();
        let have = if drained == 1 { "has" } else { "have" };
        let seen = format!(
            "scheduler {}, no fallback, and {} {have} weight 0.",
            state.service.scheduler,
            count(drained as u64, "server")
        );
        (is_some && !has_fallback(&state.service)).then(|| (seen, set_fallback(&state.service)))
    })
}

fn hash_with_thresholds(facts: &Facts) -> Examined {
    each(facts, is_hashing, |state| {
        let limited = destinations(state).filter(|server| server.upper_threshold > 0).count();
        let have = if limited == 1 { "has" } else { "have" };
        let limited_shown = count(limited as u64, "server");
        let seen = format!(
            "scheduler {}, no fallback, and {limited_shown} {have} an upper threshold.",
            state.service.scheduler
        );
        (limited > 0 && !has_fallback(&state.service)).then(|| (seen, set_fallback(&state.service)))
    })
}

fn weights_ignored(facts: &Facts) -> Examined {
    let ignores =
        |state: &ServiceState| [Scheduler::RR, Scheduler::LC, Scheduler::DH].contains(&state.service.scheduler);
    each(facts, ignores, |state| {
        let mut weights: Vec<u32> =
            destinations(state).map(|server| server.weight).filter(|weight| *weight > 0).collect();
        weights.sort_unstable();
        weights.dedup();
        let shown: Vec<String> = weights.iter().take(5).map(u32::to_string).collect();
        let seen = format!("scheduler {} with weights {}.", state.service.scheduler, shown.join(", "));
        (weights.len() > 1).then_some((seen, None))
    })
}

fn weights_far_apart(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.destinations.len() > 1,
        |state| {
            let weights = || destinations(state).map(|server| server.weight).filter(|weight| *weight > 0);
            let (least, most) = (weights().min()?, weights().max()?);
            (u64::from(most) > u64::from(least) * 1000).then(|| (format!("weights from {least} to {most}."), None))
        },
    )
}
