//! Statistics: settings that freeze counters and rates.

use super::super::check::{Check, Examined, Finding, Group, Outcome, Severity};
use super::super::facts::Facts;
use super::{SYSCTL_DOC, examine_setting};

const EST: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_est.c";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "run-estimation",
        group: Group::Statistics,
        severity: Severity::Warning,
        applies: "always",
        found_if: "net.ipv4.vs.run_estimation is 0",
        default: "1",
        meaning: "With 0, the kernel updates neither rates nor counters. ipvsadm, `top` and `metrics` then show old \
                  values.",
        cure: "Set the default, 1.",
        commands: &["sysctl -w net.ipv4.vs.run_estimation=1"],
        since: Some((5, 16)),
        until: None,
        source: SYSCTL_DOC,
        examine: |facts| examine_setting(facts, "run_estimation", |value| value == 0, 1),
    },
    Check {
        id: "est-cpulist",
        group: Group::Statistics,
        severity: Severity::Warning,
        applies: "always",
        found_if: "net.ipv4.vs.est_cpulist is empty",
        default: "the CPUs for threads of the kernel",
        meaning: "An empty list of CPUs stops the threads that update rates and counters.",
        cure: "List the CPUs for these threads.",
        commands: &["sysctl -w net.ipv4.vs.est_cpulist=CPUS"],
        since: Some((6, 2)),
        until: None,
        source: EST,
        examine: cpulist,
    },
    Check {
        id: "est-nice",
        group: Group::Statistics,
        severity: Severity::Note,
        applies: "always",
        found_if: "net.ipv4.vs.est_nice is 10 or greater",
        default: "0",
        meaning: "The threads that update rates and counters have a low priority. On a busy director they may be late, \
                  and rates are wrong.",
        cure: "Set the default, 0.",
        commands: &["sysctl -w net.ipv4.vs.est_nice=0"],
        since: Some((6, 2)),
        until: None,
        source: EST,
        examine: |facts| examine_setting(facts, "est_nice", |value| value >= 10, 0),
    },
];

fn cpulist(facts: &Facts) -> Examined {
    let Some(list) = facts.setting_text("est_cpulist")? else { return Ok(Outcome::DoesNotApply) };
    if !list.trim().is_empty() {
        return Ok(Outcome::Passed);
    }
    let online = facts.file("/sys/devices/system/cpu/online")?.unwrap_or_default();
    let online = online.trim();
    let cpus = if online.is_empty() { "0" } else { online };
    let command = super::set("est_cpulist", cpus);
    Ok(Finding::new("net.ipv4.vs.est_cpulist is empty.").command(command).into())
}
