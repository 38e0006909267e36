//! The cost of reports: estimates are bounded. Servers that are moved leave no service without a weight.

use std::fmt::Write;
use std::time::{Duration, Instant};

use ipvs_tests::command::{ok, run, shell, start};
use ipvs_tests::wait;
use serde_json::Value;

use super::super::verbs::{director, rules, write};

ipvs_tests::tests! {
    set_drains_the_last_servers_of_mh_services, seconds = 180;
    plan_estimates_only_some_of_many_services, seconds = 180;
    changes_are_made_before_the_estimate, seconds = 180;
    reorder_leaves_a_weight_at_any_time;
    reorder_does_not_move_the_only_weight;
}

/// Each of 16,384 samples once tried every slot.
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
    assert_eq!(drained.matches(": every new client is refused: all servers have weight 0\n").count(), 20, "{drained}");
    assert!(drained.contains(&format!("# {} more services: new clients are refused\n", SERVICES - 20)), "{drained}");
    // With all attempts, each service takes 0.5 s or more.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// Builds a table of many services, writes the file `drained`, in which one server of each has weight 0, and returns
/// the number of services. With the largest table of mh, a service takes more than 10 ms on any machine.
fn many_services() -> usize {
    const SERVICES: usize = 600;
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
    SERVICES
}

/// The estimate of a plan has a limit, too.
fn plan_estimates_only_some_of_many_services() {
    let services = many_services();
    let start = Instant::now();
    let plan: Value = serde_json::from_str(&run("ipvsadm-rs plan --json --mh-index 17 drained").stdout).unwrap();
    let took = start.elapsed();
    let number = |key: &str| plan[key].as_array().map_or(0, Vec::len);
    let (estimated, not) = (number("remapped_clients"), number("clients_not_estimated"));
    assert!(estimated > 0 && not > 0 && estimated + not == services, "{estimated} {not}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let text = shell("ipvsadm-rs plan --mh-index 17 drained").stderr;
    assert!(
        text.contains(
            " services with a hashing scheduler: the effects on clients were not estimated, because there are too many \
             services or servers\n"
        ),
        "{text}"
    );
}

/// The estimate takes two seconds. Before, the changes are made and the lock is released.
fn changes_are_made_before_the_estimate() {
    let services = many_services();
    let mut apply = start("ipvsadm-rs --state-dir s apply --mh-index 17 drained");
    wait::until(Duration::from_secs(60), || {
        let drained = rules().matches(" -w 0\n").count();
        if drained == services { Ok(()) } else { Err(drained.to_string()) }
    });
    wait::until(Duration::from_secs(60), || {
        let list = run("ipvsadm-rs --state-dir s undo --list").stdout;
        if list.contains("  applied\n") { Ok(()) } else { Err(list) }
    });
    assert!(apply.is_running(), "{}", apply.output());
    shell("flock -n s/*/lock true").ok();
    wait::until(Duration::from_secs(60), || if apply.is_running() { Err(apply.output()) } else { Ok(()) });
    assert!(apply.output().contains("clients were not estimated, because"), "{}", apply.output());
}

const SERVICE: &str = "-t 192.0.2.1:80";

/// Returns a rules file for a service of mh with these servers, the oldest first.
fn ordered(servers: &[(u8, u32)]) -> String {
    let mut rules = format!("# ipvsadm-rs: order=kernel\n-A {SERVICE} -s mh\n");
    for (last, weight) in servers {
        writeln!(rules, "-a {SERVICE} -r 10.0.0.{last}:80 -m -w {weight}").unwrap();
    }
    rules
}

/// Once, --reorder with a server of weight 0 first left no weight for a moment.
fn reorder_leaves_a_weight_at_any_time() {
    let (before, after) = ([(2, 1), (3, 1), (1, 0), (4, 5)], [(1, 0), (3, 0), (2, 1)]);
    director(&ordered(&before));
    write("wanted", &ordered(&after));
    let plan = run("ipvsadm-rs plan --reorder wanted").stdout;
    let weights = || -> Vec<u32> {
        let state: Value = serde_json::from_str(&ok("ipvsadm-rs --json show")).unwrap();
        let servers = state["services"][0]["destinations"].as_array().unwrap();
        servers.iter().map(|server| server["weight"].as_u64().map_or(1, |weight| weight as u32)).collect()
    };
    for line in plan.lines() {
        ok(&format!("ipvsadm {line}"));
        assert!(weights().iter().any(|weight| *weight > 0), "after {line} of\n{plan}");
    }
    let is_ordered = || ok("ipvsadm-rs save").replace("--set 900 120 300\n", "") == ordered(&after);
    assert!(is_ordered(), "{}", ok("ipvsadm-rs save"));
    // The same in one go.
    ok("ipvsadm -C");
    shell("ipvsadm-restore < rules").ok();
    ok("ipvsadm-rs apply --reorder wanted");
    assert!(is_ordered(), "{}", ok("ipvsadm-rs save"));
}

/// Once, --reorder with a server of weight 0 first left no weight for a moment.
fn reorder_does_not_move_the_only_weight() {
    director(&ordered(&[(2, 1), (1, 0)]));
    write("wanted", &ordered(&[(1, 0), (2, 1)]));
    let before = rules();
    assert_eq!(
        ok("ipvsadm-rs apply --reorder wanted"),
        "# TCP 192.0.2.1:80: servers are not in the requested order; new connections would be refused \
         while the only server with a weight above 0 is moved\nnothing to change\n"
    );
    assert_eq!(rules(), before);
}
