//! TABLE: the checks of `doctor`. docs/doctor.md, the values of `--disable` and the completions are made from it.

mod connections;
mod daemons;
mod defence;
mod forwarding;
mod kernel;
mod methods;
mod persistence;
mod schedulers;
mod services;
mod statistics;
mod synchronization;
mod tracking;
mod tunnels;

use std::fmt::Display;

use ipvs::{Change, Forwarding};

use super::check::{Check, Examined, Finding, Outcome};
use super::facts::Facts;
use crate::terminal::commands::{self, Command, quoted, quoted_line};

/// Returns all checks, in the order of their groups.
pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    [
        kernel::CHECKS,
        forwarding::CHECKS,
        tunnels::CHECKS,
        services::CHECKS,
        schedulers::CHECKS,
        methods::CHECKS,
        persistence::CHECKS,
        connections::CHECKS,
        defence::CHECKS,
        tracking::CHECKS,
        daemons::CHECKS,
        synchronization::CHECKS,
        statistics::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// The documentation of the settings of IPVS.
const SYSCTL_DOC: &str = "https://elixir.bootlin.com/linux/v6.12/source/Documentation/networking/ipvs-sysctl.rst";
const CORE: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_core.c";
const CTL: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c";
const CONN: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c";
const SYNC: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sync.c";

fn is_masquerade(forwarding: &Forwarding) -> bool {
    *forwarding == Forwarding::Masquerade
}

fn is_tunnel(forwarding: &Forwarding) -> bool {
    forwarding.tunnel().is_some()
}

/// Returns whether servers reply to clients directly, with the address of the service.
fn is_one_way(forwarding: &Forwarding) -> bool {
    *forwarding == Forwarding::DirectRoute || is_tunnel(forwarding)
}

/// Returns the name of a setting of IPVS.
fn name_of(setting: &str) -> String {
    format!("net.ipv4.vs.{setting}")
}

/// Returns the command that sets a setting of IPVS.
fn set(setting: &str, value: impl Display) -> Command {
    sysctl(&name_of(setting), value)
}

fn sysctl(name: &str, value: impl Display) -> Command {
    Command::director(format!("sysctl -w {}", quoted(&format!("{name}={value}"))))
}

/// Returns the command that sets a setting of IPv4 of an interface.
fn set_device(device: &str, setting: &str, value: i64) -> Command {
    Command::director(commands::set_device("ipv4", device, setting, value))
}

/// Returns the command that makes a change of the table.
fn ipvsadm(change: &Change) -> Command {
    Command::director(format!("ipvsadm {}", quoted_line(&change.to_string())))
}

/// Examines a setting of IPVS: a value that is bad is a finding, and the command sets a good one.
fn examine_setting(facts: &Facts, setting: &str, is_bad: impl Fn(i64) -> bool, good: i64) -> Examined {
    Ok(match facts.setting(setting)? {
        None => Outcome::DoesNotApply,
        Some(value) if is_bad(value) => {
            Finding::new(format!("{} is {value}.", name_of(setting))).command(set(setting, good)).into()
        }
        Some(_) => Outcome::Passed,
    })
}
