//! The cost of reports: estimates are bounded.

use std::fmt::Write;
use std::time::{Duration, Instant};

use ipvs_tests::command::{ok, run, shell};
use serde_json::Value;

use super::super::verbs::{director, write};

ipvs_tests::tests! {
    set_drains_the_last_servers_of_mh_services, seconds = 180;
    plan_estimates_only_some_of_many_services, seconds = 180;
}

/// `hostile.md`, medium 8: each of 16,384 samples tried every slot.
fn set_drains_the_last_servers_of_mh_services() {
    const SERVICES: u16 = 40;
    let mut table = String::new();
    for port in 1..=SERVICES {
        writeln!(table, "-A -t 192.0.2.1:{port} -s mh -b mh-fallback\n-a -t 192.0.2.1:{port} -r 10.0.0.1 -m").unwrap();
    }
    director(&table);
    let start = Instant::now();
    let drained = ok("ipvsadm-rs set -r 10.0.0.1 --weight 0");
    let took = start.elapsed();
    assert_eq!(
        drained.matches(": 100.0 % of new clients get another server\n").count(),
        usize::from(SERVICES),
        "{drained}"
    );
    // With all attempts, each service takes 0.5 s or more.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// `hostile.md`, medium 8: a plan has a limit, too.
fn plan_estimates_only_some_of_many_services() {
    const SERVICES: u16 = 600;
    let (mut table, mut drained) = (String::new(), String::new());
    for port in 1..=SERVICES {
        for (rules, weight) in [(&mut table, 1), (&mut drained, 0)] {
            let service = format!("-t 192.0.2.1:{port}");
            writeln!(rules, "-A {service} -s mh -b mh-fallback\n-a {service} -r 10.0.0.1 -m").unwrap();
            writeln!(rules, "-a {service} -r 10.0.0.2 -m -w {weight}").unwrap();
        }
    }
    director(&table);
    write("drained", &drained);
    // With the largest table, one service takes more than 10 ms on any machine.
    let start = Instant::now();
    let plan: Value = serde_json::from_str(&run("ipvsadm-rs plan --json --mh-index 17 drained").stdout).unwrap();
    let took = start.elapsed();
    let number = |key: &str| plan[key].as_array().map_or(0, Vec::len);
    let (estimated, not) = (number("remapped_clients"), number("remapped_clients_not_estimated"));
    assert!(estimated > 0 && not > 0 && estimated + not == usize::from(SERVICES), "{estimated} {not}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let text = shell("ipvsadm-rs plan --mh-index 17 drained").stderr;
    assert!(
        text.contains(
            " services with a hashing scheduler: the share of new clients that get another server was not estimated, \
             because it takes too long\n"
        ),
        "{text}"
    );
}
