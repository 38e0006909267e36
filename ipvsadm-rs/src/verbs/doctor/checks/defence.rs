//! Defence: settings that drop packets or connections under load.

use super::super::check::{Check, Examined, Finding, Group, Outcome, Severity};
use super::super::facts::Facts;
use super::{CTL, SYSCTL_DOC, name_of, set};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "drop-entry",
        group: Group::Defence,
        severity: Severity::Warning,
        applies: "always",
        found_if: "net.ipv4.vs.drop_entry is 2 or 3",
        default: "0",
        meaning: "With 3, the kernel removes half-open connections at random all the time, with 2 until memory is free \
                  again. The kernel changes 1 to 2 and back by itself.",
        cure: "Set 0, or 1 for a defence that begins when memory is short.",
        commands: &["sysctl -w net.ipv4.vs.drop_entry=0"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: |facts| mode(facts, "drop_entry"),
    },
    Check {
        id: "drop-packet",
        group: Group::Defence,
        severity: Severity::Warning,
        applies: "always",
        found_if: "net.ipv4.vs.drop_packet is 2, or it is 3 and am_droprate is not 0",
        default: "0",
        meaning: "With 3, the kernel drops one in am_droprate packets of new connections all the time. \
                  With 2, it drops a share of them until memory is free again. The kernel changes 1 to 2 and back by itself.",
        cure: "Set 0, or 1 for a defence that begins when memory is short.",
        commands: &["sysctl -w net.ipv4.vs.drop_packet=0"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: drop_packet,
    },
    Check {
        id: "secure-tcp",
        group: Group::Defence,
        severity: Severity::Warning,
        applies: "always",
        found_if: "net.ipv4.vs.secure_tcp is 2 or 3",
        default: "0",
        meaning: "With 3, the kernel uses other states and shorter timeouts for TCP all the time, with 2 until memory is \
                  free again. The kernel changes 1 to 2 and back by itself.",
        cure: "Set 0, or 1 for a defence that begins when memory is short.",
        commands: &["sysctl -w net.ipv4.vs.secure_tcp=0"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: |facts| mode(facts, "secure_tcp"),
    },
    Check {
        id: "am-droprate",
        group: Group::Defence,
        severity: Severity::Error,
        applies: "net.ipv4.vs.drop_packet is 3",
        found_if: "net.ipv4.vs.am_droprate is 1 or negative",
        default: "10",
        meaning: "With a rate of 1, or a negative one, the kernel drops the first packet of each new connection. With 0, it \
                  drops none.",
        cure: "Set the default, 10.",
        commands: &["sysctl -w net.ipv4.vs.am_droprate=10"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: droprate,
    },
    Check {
        id: "amemthresh",
        group: Group::Defence,
        severity: Severity::Warning,
        applies: "drop_entry, drop_packet or secure_tcp is 1 or 2",
        found_if: "free memory and buffers are not above net.ipv4.vs.amemthresh",
        default: "1024 pages",
        meaning: "The automatic defence begins when free memory and buffers are below amemthresh, in pages. The cache of \
                  files does not count as free. A threshold near the size of the memory keeps the defence on.",
        cure: "Set the default, 1024 pages.",
        commands: &["sysctl -w net.ipv4.vs.amemthresh=1024"],
        since: None,
        until: None,
        source: CTL,
        examine: threshold,
    },
];

fn mode(facts: &Facts, setting: &str) -> Examined {
    let Some(mode) = facts.setting(setting)? else { return Ok(Outcome::DoesNotApply) };
    let state = match mode {
        2 => "memory is short, and the defence is on now",
        3 => "the defence is always on",
        _ => return Ok(Outcome::Passed),
    };
    Ok(Finding::new(format!("{} is {mode}: {state}.", name_of(setting))).command(set(setting, 0)).into())
}

fn drop_packet(facts: &Facts) -> Examined {
    // A rate of 0 drops nothing.
    // <https://elixir.bootlin.com/linux/v6.12/source/include/net/ip_vs.h> (`ip_vs_todrop`)
    if facts.setting("drop_packet")? == Some(3) && facts.setting("am_droprate")? == Some(0) {
        return Ok(Outcome::Passed);
    }
    mode(facts, "drop_packet")
}

fn droprate(facts: &Facts) -> Examined {
    if facts.setting("drop_packet")? != Some(3) {
        return Ok(Outcome::DoesNotApply);
    }
    super::examine_setting(facts, "am_droprate", |rate| rate == 1 || rate < 0, 10)
}

fn threshold(facts: &Facts) -> Examined {
    /// The smallest page of any machine, in kB.
    const PAGE: u64 = 4;
    let mut is_automatic = false;
    for setting in ["drop_entry", "drop_packet", "secure_tcp"] {
        is_automatic |= matches!(facts.setting(setting)?, Some(1 | 2));
    }
    let pages = facts.setting("amemthresh")?.and_then(|pages| u64::try_from(pages).ok());
    let Some(pages) = pages.filter(|_| is_automatic) else { return Ok(Outcome::DoesNotApply) };
    let memory = facts.must("/proc/meminfo")?;
    let of = |title: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(title));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    let free = of("MemFree:").saturating_add(of("Buffers:"));
    let limit = pages.saturating_mul(PAGE);
    if free > limit {
        return Ok(Outcome::Passed);
    }
    let seen = format!("net.ipv4.vs.amemthresh is {pages} pages, {limit} kB or more. {free} kB are free.");
    Ok(Finding::new(seen).command(set("amemthresh", 1024)).into())
}
