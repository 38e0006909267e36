//! The kernel: its module, and known limits of its versions.

use super::super::check::{Check, Examined, Finding, Group, MODULE, Outcome, Severity};
use super::super::facts::{Facts, destinations};
use super::{CONN, CTL, quoted};
use crate::terminal::commands::Command;
use crate::terminal::plural::count;
use crate::terminal::text;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: MODULE,
        group: Group::Kernel,
        severity: Severity::Error,
        applies: "always",
        found_if: "there is no /proc/net/ip_vs",
        default: "",
        meaning: "Without the module ip_vs, the kernel balances nothing, and the settings net.ipv4.vs.* do not exist. \
                  This program does not load the module when it checks. `ipvsadm` loads it.",
        cure: "Load the module, for a container on its host. To load it at boot, list it in a file in /etc/modules-load.d.",
        commands: &["modprobe ip_vs"],
        since: None,
        until: None,
        source: "",
        examine: module,
    },
    Check {
        id: "module-version",
        group: Group::Kernel,
        severity: Severity::Note,
        applies: "always",
        found_if: "the kernel reports another version than 1.2.1",
        default: "",
        meaning: "All kernels from 6.1 to 7.3 report version 1.2.1 of IPVS. This program was not tested with another \
                  one.",
        cure: "Use the module that belongs to the kernel.",
        commands: &[],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/ip_vs.h",
        examine: version,
    },
    Check {
        id: "modules-on-disk",
        group: Group::Kernel,
        severity: Severity::Note,
        applies: "/lib/modules exists",
        found_if: "/lib/modules has no directory for the running kernel",
        default: "",
        meaning: "The kernel loads a scheduler when a service first uses it. If the modules of the running kernel were \
                  removed, for example by an upgrade, services with other schedulers cannot be added.",
        cure: "Restart the machine into the kernel that is installed, or install the modules of this one again.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: modules,
    },
    Check {
        id: "kernel-service-buckets",
        group: Group::Kernel,
        severity: Severity::Note,
        applies: "always",
        found_if: "the table has more than 2000 services",
        default: "",
        meaning: "Before Linux 7.1, the service table has 256 buckets, and the hash of a service is weak. With thousands \
                  of services, each packet of a new connection is compared with many of them.",
        cure: "Use a newer kernel, or serve ranges of addresses and ports by a firewall mark.",
        commands: &[],
        since: None,
        until: Some((7, 1)),
        source: CTL,
        examine: buckets,
    },
    Check {
        id: "kernel-slow-listing",
        group: Group::Kernel,
        severity: Severity::Note,
        applies: "always",
        found_if: "the connection table has more than 40000 entries",
        default: "",
        meaning: "Before Linux 6.14, the kernel starts from the beginning of the connection table for each page that a \
                  program reads. Listing 100000 connections takes seconds of CPU time.",
        cure: "List connections rarely. `ipvsadm-rs show` does not read the connection table.",
        commands: &[],
        since: None,
        until: Some((6, 14)),
        source: CONN,
        examine: listing,
    },
    Check {
        id: "kernel-thresholds",
        group: Group::Kernel,
        severity: Severity::Note,
        applies: "the kernel has the old behaviour",
        found_if: "a server has an upper threshold",
        default: "",
        meaning: "Before Linux 7.2, 6.12.117 and 6.1.192, a change of thresholds decides whether a server is full only \
                  if the upper threshold rises. After any other change, the kernel decides when the next connection \
                  begins or ends.",
        cure: "After lowering a threshold, check with `ipvsadm-rs show` which connections the server has and gets.",
        commands: &[],
        since: None,
        until: Some((7, 2)),
        source: CTL,
        examine: thresholds,
    },
];

fn module(facts: &Facts) -> Examined {
    if facts.is_loaded {
        return Ok(Outcome::Passed);
    }
    Ok(Finding::new("There is no /proc/net/ip_vs: the module ip_vs is not loaded.")
        .command(Command::director("modprobe ip_vs"))
        .into())
}

fn version(facts: &Facts) -> Examined {
    let head = facts.first_line("/proc/thread-self/net/ip_vs")?;
    let version = head.split_once("version ").map_or(head.as_str(), |(_, rest)| rest);
    let version = version.split_whitespace().next().unwrap_or("not reported");
    if version == "1.2.1" {
        return Ok(Outcome::Passed);
    }
    Ok(Finding::new(format!("The version of IPVS is {}.", text::escaped(version))).into())
}

fn modules(facts: &Facts) -> Examined {
    if !facts.source.exists("/lib/modules") || facts.release_text.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    let path = format!("/lib/modules/{}", facts.release_text);
    if facts.source.exists(&path) {
        return Ok(Outcome::Passed);
    }
    Ok(Finding::new(format!("There is no directory {}.", text::escaped(&quoted(&path)))).into())
}

fn buckets(facts: &Facts) -> Examined {
    let services = facts.services()?.len();
    if services <= 2000 {
        return Ok(Outcome::Passed);
    }
    Ok(Finding::new(format!("The table has {services} services. The kernel is {}.", facts.shown_release())).into())
}

fn listing(facts: &Facts) -> Examined {
    let entries = facts.entries()?;
    if entries.number <= 40_000 {
        return Ok(Outcome::Passed);
    }
    let seen = format!("{entries}. The kernel is {}.", facts.shown_release());
    Ok(Finding::new(seen).into())
}

/// Stable kernels with the new code, from their third number on.
const MENDED: [((u32, u32), u32); 2] = [((6, 1), 192), ((6, 12), 117)];

fn thresholds(facts: &Facts) -> Examined {
    let third = facts.release_text.split(|c: char| !c.is_ascii_digit()).nth(2).and_then(|number| number.parse().ok());
    let is_mended = |(release, number): &((u32, u32), u32)| {
        facts.release == Some(*release) && third.is_some_and(|third: u32| third >= *number)
    };
    if MENDED.iter().any(is_mended) {
        return Ok(Outcome::DoesNotApply);
    }
    let servers = facts.services()?.iter().flat_map(destinations).filter(|server| server.upper_threshold > 0).count();
    if servers == 0 {
        return Ok(Outcome::Passed);
    }
    let have = if servers == 1 { "has" } else { "have" };
    let servers = count(servers as u64, "server");
    let seen = format!("{servers} {have} an upper threshold. The kernel is {}.", facts.shown_release());
    Ok(Finding::new(seen).into())
}
