//! Connections of servers that a revision deletes.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::Running;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::server::Protocol::Udp;
use ipvs_tests::wait;

use super::SOON;
use crate::under_test;
use crate::verbs::drain::{hold_connections, wait_for_the_drain};
use crate::verbs::write;

ipvs_tests::tests! {
    servers_are_deleted_after_their_last_connection;
    servers_are_deleted_at_the_limit;
    connections_are_never_cut;
    a_server_that_returns_keeps_its_connections;
}

const SERVICE: &str = "10.1.0.100:9000";
const WEB1: &str = "-a -t 10.1.0.100:9000 -r 10.2.0.11 -m\n";

/// Follows rules without web1, which has a connection, and waits until it is drained.
fn follow(lab: &Nat, options: &str) -> Running {
    let follower = lab.director.start(&format!("ipvsadm-rs follow --quiet 0s {options} wanted"));
    wait_for_the_drain(&lab.director);
    // The state can still be that of an earlier process.
    wait::until(SOON, || {
        let state = status(&lab.director);
        if state.contains("draining  1 server") && !state.contains("not running") { Ok(()) } else { Err(state) }
    });
    follower
}

fn status(director: &Host) -> String {
    director.run("ipvsadm-rs follow status").stdout
}

fn has_web1(director: &Host) -> bool {
    director.ok("ipvsadm-save -n").contains("-r 10.2.0.11:9000")
}

/// Waits until web1 is deleted.
fn wait_for_the_deletion(director: &Host) {
    wait::until(SOON, || if has_web1(director) { Err(status(director)) } else { Ok(()) });
    let state = status(director);
    assert!(state.contains("state     good") && !state.contains("draining") && !state.contains("drift"), "{state}");
}

fn servers_are_deleted_after_their_last_connection() {
    let lab = &Nat::new().unwrap();
    under_test::install();
    lab.web1.serve(Udp, "10.2.0.11:9000").unwrap();
    lab.web2.serve(Udp, "10.2.0.12:9000").unwrap();
    let rules = |servers: &[&str]| {
        let servers = servers.iter().map(|server| format!("-a -u {SERVICE} -r {server} -m\n"));
        format!("-A -u {SERVICE} -s rr\n{}", servers.collect::<String>())
    };
    write("rules", &rules(&["10.2.0.11", "10.2.0.12"]));
    lab.director.shell("ipvsadm-restore < rules").ok();
    lab.director.ok("ipvsadm --set 0 0 4");
    assert_eq!(lab.client.client().datagrams(2, SERVICE).to_string(), "web1=1 web2=1");
    write("wanted", &rules(&["10.2.0.12"]));
    let _follower = lab.director.start("ipvsadm-rs follow --quiet 0s wanted");
    wait::until(SOON, || {
        let state = status(&lab.director);
        if state.contains("draining  1 server") { Ok(()) } else { Err(state) }
    });
    assert!(has_web1(&lab.director));
    assert_eq!(lab.client.client().datagrams(4, SERVICE).to_string(), "web2=4");
    wait_for_the_deletion(&lab.director);
}

fn servers_are_deleted_at_the_limit() {
    let lab = &Nat::new().unwrap();
    let held = hold_connections(lab);
    let _follower = follow(lab, "--drain 4s");
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
    wait_for_the_deletion(&lab.director);
}

fn connections_are_never_cut() {
    let lab = &Nat::new().unwrap();
    let held = hold_connections(lab);
    let follower = follow(lab, "--no-cut --check 1s");
    std::thread::sleep(Duration::from_secs(4));
    // Also by the next process.
    drop(follower);
    let _follower = follow(lab, "--no-cut --check 1s");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
}

fn a_server_that_returns_keeps_its_connections() {
    let lab = &Nat::new().unwrap();
    let held = hold_connections(lab);
    let _follower = follow(lab, "");
    let without = fs::read_to_string("wanted").unwrap();
    write("new", &format!("{without}{WEB1}"));
    fs::rename("new", "wanted").unwrap();
    wait::until(SOON, || match lab.client.client().hold(4, SERVICE).to_string() {
        pages if pages == "web1=2 web2=2" => Ok(()),
        pages => Err(format!("{pages}\n{}", status(&lab.director))),
    });
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
    assert!(!status(&lab.director).contains("draining"), "{}", status(&lab.director));
}
