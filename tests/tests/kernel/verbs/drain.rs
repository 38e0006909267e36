//! `ipvsadm-rs apply --drain`.

use std::time::{Duration, Instant};

use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;

use super::write;
use crate::under_test;

ipvs_tests::tests! {
    waits_for_the_last_connection;
    closes_connections_at_the_timeout;
    refused_clients_are_reported;
    confirm_time_starts_after_the_drain;
    rolls_back_if_killed_while_draining;
    does_not_block_on_a_stopped_terminal;
    does_not_drain_servers_that_are_reordered;
}

/// Sets up a service and opens one connection to each server.
pub(crate) fn hold_connections(lab: &Nat) -> ipvs_tests::traffic::client::Replies {
    under_test::install();
    lab.web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    lab.web2.serve(Tcp, "10.2.0.12:9000").unwrap();
    lab.director.ok("ipvsadm -A -t 10.1.0.100:9000 -s rr");
    lab.director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.11 -m");
    lab.director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.12 -m");
    write("wanted", "-A -t 10.1.0.100:9000 -s rr\n-a -t 10.1.0.100:9000 -r 10.2.0.12 -m\n");
    lab.client.client().hold(2, "10.1.0.100:9000")
}

/// Waits until web1 has weight 0.
pub(crate) fn wait_for_the_drain(director: &Host) {
    wait::until(Duration::from_secs(30), || {
        let list = director.ok("ipvsadm -Ln");
        if list.contains("10.2.0.11:9000               Masq    0      1") { Ok(()) } else { Err(list) }
    });
}

fn waits_for_the_last_connection() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    let apply = director.start("ipvsadm-rs apply wanted --drain 60s");
    wait_for_the_drain(director);
    assert_eq!(lab.client.client().hold(2, "10.1.0.100:9000").to_string(), "web2=2", "no new connections to web1");
    drop(held);
    let list = wait::until(Duration::from_secs(30), || {
        let list = director.ok("ipvsadm -Ln");
        if list.contains("10.2.0.11") { Err(list) } else { Ok(list) }
    });
    assert!(list.contains("10.2.0.12:9000               Masq    1"), "{list}");
    drop(apply);
}

fn closes_connections_at_the_timeout() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let start = Instant::now();
    let ran = lab.director.run("ipvsadm-rs apply wanted --drain 2s");
    // Once, it exited with 0 although it dropped a connection.
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(start.elapsed() >= Duration::from_secs(2));
    let note = "note: the time limit of --drain was reached: 1 active, 0 inactive connections dropped\n";
    assert!(ran.stderr.contains(note), "{ran}");
    assert!(!lab.director.ok("ipvsadm -Ln").contains("10.2.0.11"), "deleted in spite of the open connection");
}

/// A plain deletion refuses nobody, but the drain does.
fn refused_clients_are_reported() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let note = "note: TCP 10.1.0.100:9000: sh refuses the new clients of the servers that are being drained, until they are \
                deleted\n";
    for (flags, is_reported) in [("", true), (" -b sh-fallback", false)] {
        let sh = format!("-A -t 10.1.0.100:9000 -s sh{flags}\n");
        lab.director.ok(&format!("ipvsadm -E -t 10.1.0.100:9000 -s sh{flags}"));
        write("wanted", &format!("{sh}-a -t 10.1.0.100:9000 -r 10.2.0.12 -m\n"));
        let ran = lab.director.run("ipvsadm-rs apply wanted --drain 1s");
        assert_eq!((ran.code == Some(1), ran.stderr.contains(note)), (false, is_reported), "{ran}");
        lab.director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.11 -m");
    }
}

fn confirm_time_starts_after_the_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    assert_eq!(lab.director.run("ipvsadm-rs apply wanted --drain 6s --confirm-within 5s").code, Some(3));
    assert_eq!(lab.director.ok("ipvsadm-rs confirm"), "plan 1 confirmed\n");
    assert!(!lab.director.ok("ipvsadm -Ln").contains("10.2.0.11"));
}

fn rolls_back_if_killed_while_draining() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let before = director.ok("ipvsadm-save -n");
    let apply = director.start("ipvsadm-rs apply wanted --drain 60s --confirm-within 1s");
    wait_for_the_drain(director);
    drop(apply);
    assert_rolled_back(director, &before);
}

fn assert_rolled_back(director: &Host, before: &str) {
    wait::until(Duration::from_secs(30), || {
        let list = director.run("ipvsadm-rs undo --list").stdout;
        if list.contains("not confirmed in time") { Ok(()) } else { Err(list) }
    });
    assert_eq!(director.ok("ipvsadm-save -n"), before);
}

/// The plan itself may have disconnected the terminal. A blocked message must prevent neither the remaining changes nor
/// the rollback.
fn does_not_block_on_a_stopped_terminal() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    // ^S stops the output of the terminal; `sleep` keeps its input open.
    let apply = "ipvsadm-rs apply wanted --drain 3s --confirm-within 1s";
    write("terminal", &format!("(printf '\\023'; sleep 30) | script -qec 'sleep 1; {apply}' /dev/null"));
    let _terminal = lab.director.start("sh terminal");
    assert_rolled_back(&lab.director, &before);
}

fn does_not_drain_servers_that_are_reordered() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let services = "-A -t 10.1.0.100:9000 -s sh\n\
                    -a -t 10.1.0.100:9000 -r 10.2.0.12:9000 -m -w 1\n-a -t 10.1.0.100:9000 -r 10.2.0.11:9000 -m -w 1\n";
    write("wanted", &format!("# ipvsadm-rs: order=kernel\n{services}"));
    // The time limit of a command is shorter than the drain.
    lab.director.ok("ipvsadm-rs apply wanted --reorder --drain 10m");
    assert!(lab.director.ok("ipvsadm-rs save").ends_with(services));
}
