//! The health of a director after a revision, and rollbacks.

use std::fs;

use ipvs_tests::command::{Running, ok, run};

use super::{follow, good_status, plans, replace, status, wait_for_rules, wait_for_status, with_weight};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    bad_health_rolls_back;
    a_bad_revision_stays_bad_after_a_restart;
    a_confirmed_revision_is_not_rolled_back;
    commands_of_checks_have_a_time_limit;
    without_a_good_revision_the_table_stays;
}

/// Starts a follower that is in good health until the file `ill` exists.
fn follow_with_health() -> Running {
    follow("--health ./healthy --good-after 2s --health-interval 500ms wanted")
}

fn set_up() -> Running {
    director(WEB);
    write("wanted", WEB);
    write_check("test ! -e ill");
    let follower = follow_with_health();
    wait_for_status("state     good");
    follower
}

/// Writes the command of `--health`.
fn write_check(text: &str) {
    write("healthy", &format!("#!/bin/sh\n{text}\n"));
    ok("chmod +x healthy");
}

fn changed() -> String {
    with_weight(5)
}

fn bad_health_rolls_back() {
    let follower = set_up();
    write("ill", "");
    replace("wanted", &changed());
    let state = wait_for_status("state     bad");
    assert!(state.contains("the command of --health failed: exit status: 1"), "{state}");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    // The change and its rollback.
    assert_eq!((rules(), plans()), (WEB.to_owned(), 2));
    let output = follower.stop(std::time::Duration::from_secs(5));
    assert!(output.contains(" is bad and was rolled back to "), "{output}");
    // A further revision, in good health.
    let _follower = follow_with_health();
    fs::remove_file("ill").unwrap();
    let third = WEB.replace("-w 3", "-w 7");
    replace("wanted", &third);
    wait_for_status("state     good");
    assert_eq!(rules(), third);
    good_status();
}

fn a_bad_revision_stays_bad_after_a_restart() {
    let follower = set_up();
    write("ill", "");
    replace("wanted", &changed());
    wait_for_status("state     bad");
    drop(follower);
    fs::remove_file("ill").unwrap();
    let follower = follow_with_health();
    wait_for_status("state     bad");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(rules(), WEB);
    // Nor is it applied without a health check.
    drop(follower);
    let _follower = follow("wanted");
    wait_for_status("state     bad");
    assert_eq!(rules(), WEB);
    ok("ipvsadm-rs confirm");
    wait_for_rules(&changed());
    wait_for_status("state     good");
}

fn a_confirmed_revision_is_not_rolled_back() {
    let _follower = set_up();
    write("ill", "");
    replace("wanted", &changed());
    wait_for_status("state     bad");
    ok("ipvsadm-rs confirm");
    wait_for_status("state     good");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(rules(), changed());
    good_status();
}

fn commands_of_checks_have_a_time_limit() {
    let _follower = set_up();
    write_check("sleep 1000 & echo $! > sleeping; wait");
    replace("wanted", &changed());
    wait_for_status("state     checking");
    // The process itself and those that it started.
    let sleeping = ipvs_tests::wait::until(super::SOON, || fs::read_to_string("sleeping").map_err(|e| e.to_string()));
    // Nobody may have waited for it.
    let has_ended = || fs::read(format!("/proc/{}/cmdline", sleeping.trim())).unwrap_or_default().is_empty();
    ipvs_tests::wait::until(super::SOON, || if has_ended() { Ok(()) } else { Err("it runs".to_owned()) });
    // One failure is not bad health.
    write_check("true");
    wait_for_status("state     good");
    assert_eq!(rules(), changed());
}

fn without_a_good_revision_the_table_stays() {
    director("");
    write("wanted", WEB);
    write_check("false");
    let _follower = follow_with_health();
    let state = wait_for_status("state     bad");
    assert!(state.contains("there is no good revision to roll back to"), "{state}");
    assert_eq!(rules(), WEB, "{}", status());
}
