//! `ipvsadm-rs follow`.

mod clocks;
mod consul;
mod draining;
mod etcd;
mod farm;
mod health;
mod killed;
mod limits;
mod partition;
mod revisions;

use std::time::Duration;

use ipvs_tests::command::{Running, ok, run, start};
use ipvs_tests::harness::Test;
use ipvs_tests::wait;

use crate::verbs::{WEB, rules};

pub(crate) fn tests() -> Vec<Test> {
    [
        revisions::tests(),
        limits::tests(),
        draining::tests(),
        health::tests(),
        etcd::tests(),
        partition::tests(),
        consul::tests(),
        killed::tests(),
        clocks::tests(),
        farm::tests(),
    ]
    .concat()
}

/// The time in which a follower must act. The quiet time is much shorter.
const SOON: Duration = Duration::from_secs(20);

/// Starts a follower with a short quiet time, unless the arguments have one.
fn follow(arguments: &str) -> Running {
    let quiet = if arguments.contains("--quiet") { "" } else { "--quiet 200ms" };
    start(&format!("ipvsadm-rs follow {quiet} {arguments}"))
}

/// Waits until the table has these rules, in any order.
#[track_caller]
fn wait_for_rules(wanted: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    wait::until(SOON, || {
        let found = rules();
        if sorted(&found) == sorted(wanted) { Ok(()) } else { Err(format!("{found}\n{}", status())) }
    });
}

/// Waits until the state contains a text. Returns the state.
#[track_caller]
fn wait_for_status(text: &str) -> String {
    wait::until(SOON, || {
        let found = status();
        if found.contains(text) { Ok(found) } else { Err(found) }
    })
}

/// Returns the output of `follow status`.
fn status() -> String {
    run("ipvsadm-rs follow status").stdout
}

/// Returns the rules of [`WEB`] with another weight of the first server.
fn with_weight(weight: u32) -> String {
    WEB.replace("-w 3", &format!("-w {weight}"))
}

/// Replaces a file at once, as careful programs do.
fn replace(name: &str, text: &str) {
    std::fs::write("new", text).unwrap();
    std::fs::rename("new", name).unwrap();
}

/// Returns the number of plans in the history.
fn plans() -> usize {
    let list = run("ipvsadm-rs history").stdout;
    list.lines().count().saturating_sub(1)
}

/// Returns the output of `follow status`, which must report no problem.
#[track_caller]
fn good_status() -> String {
    ok("ipvsadm-rs follow status")
}
