//! Documents and reports in Consul. The server is a stand-in.

mod stand_in;

use std::time::{Duration, Instant};

use ipvs_tests::command::{ok, run};
use ipvs_tests::wait;

use super::{SOON, follow, status, wait_for_rules, wait_for_status, with_weight};
use crate::verbs::{WEB, director, rules, write};
use stand_in::Consul;

ipvs_tests::tests! {
    changes_are_applied_at_once;
    tokens_are_checked;
    another_server_takes_over;
    a_restored_backup_is_followed;
    reports_are_shown;
}

const FIRST: &str = "127.0.0.1:8500";
const SECOND: &str = "127.0.0.1:8501";

fn changes_are_applied_at_once() {
    const DNS: &str = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1\n";
    director("");
    let consul = Consul::default();
    let _server = consul.serve(FIRST);
    // A neighbour and a folder are not documents.
    consul.put("lvs/edge.old", "-A -t 192.0.2.9:80 -s rr\n");
    consul.put("lvs/edge/", "");
    consul.put("lvs/edge", WEB);
    let _follower = follow(&format!("consul://{FIRST}/lvs/edge"));
    wait_for_rules(WEB);
    consul.put("lvs/edge/dns", DNS);
    wait_for_rules(&format!("{WEB}{DNS}"));
    let start = Instant::now();
    consul.put("lvs/edge", &with_weight(5));
    wait_for_rules(&format!("{}{DNS}", with_weight(5)));
    // Less than the time limit of a blocking query, so that the change ended one.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    consul.delete("lvs/edge/dns");
    wait_for_rules(&with_weight(5));
    // Without changes, one request waits.
    std::thread::sleep(Duration::from_secs(2));
    consul.take_requests();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(consul.take_requests(), [""; 0]);
    consul.put("lvs/other", "of somebody else");
    wait::until(SOON, || {
        let requests = consul.take_requests();
        if requests.iter().any(|request| request.contains("index=")) { Ok(()) } else { Err("no request".into()) }
    });
    consul.put("lvs/edge", "no rules");
    wait_for_status("state     invalid");
    for key in ["lvs/edge", "lvs/edge/"] {
        consul.delete(key);
    }
    wait_for_status("the source does not exist");
    assert_eq!(rules(), with_weight(5));
    consul.put("lvs/edge", WEB);
    wait_for_rules(WEB);
}

fn tokens_are_checked() {
    director("");
    let consul = Consul::default();
    let _server = consul.serve(FIRST);
    consul.put("lvs/edge", WEB);
    consul.allow(&["8f2d7c4e"]);
    let source = format!("consul://{FIRST}/lvs/edge");
    // A list without the permission to read is empty.
    let follower = follow(&source);
    wait_for_status("the source does not exist");
    drop(follower);
    write("token", "3a6b91d0\n");
    let follower = follow(&format!("{source} --token-file token"));
    let refused = wait_for_status("status 403: ACL not found");
    assert!(refused.contains("store     not readable: ") && !refused.contains("3a6b91d0"), "{refused}");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    assert_eq!(rules(), "");
    // The file is read again.
    write("token", "8f2d7c4e\n");
    wait_for_rules(WEB);
    wait_for_status("state     good");
    // A token that is revoked later changes nothing. It is checked when a query begins.
    consul.allow(&[]);
    consul.put("lvs/other", "of somebody else");
    wait_for_status("status 403: ACL not found");
    consul.put("lvs/edge", &with_weight(9));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(rules(), WEB);
    assert!(!follower.output().contains("8f2d7c4e"), "{}", follower.output());
}

fn another_server_takes_over() {
    director("");
    let consul = Consul::default();
    let first = consul.serve(FIRST);
    let second = consul.serve(SECOND);
    consul.put("lvs/edge", WEB);
    let _follower = follow(&format!("consul://{FIRST},{SECOND}/lvs/edge"));
    wait_for_rules(WEB);
    first.stop();
    consul.put("lvs/edge", &with_weight(5));
    wait_for_rules(&with_weight(5));
    second.stop();
    let unreadable = wait_for_status("store     not readable: ");
    assert!(unreadable.contains("efused"), "{unreadable}");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    consul.put("lvs/edge", &with_weight(6));
    assert_eq!(rules(), with_weight(5));
    let _first = consul.serve(FIRST);
    wait_for_rules(&with_weight(6));
    wait_for_status("state     good");
    ok("ipvsadm-rs follow status");
}

fn a_restored_backup_is_followed() {
    director("");
    let consul = Consul::default();
    let _server = consul.serve(FIRST);
    consul.put("lvs/edge", WEB);
    let backup = consul.backup();
    for weight in 10..20 {
        consul.put("lvs/edge", &with_weight(weight));
    }
    let _follower = follow(&format!("consul://{FIRST}/lvs/edge"));
    wait_for_rules(&with_weight(19));
    consul.restore(backup);
    wait_for_rules(WEB);
    // The index is still lower than it was. A client that waited for the old one would not see this.
    let start = Instant::now();
    consul.put("lvs/edge", &with_weight(4));
    wait_for_rules(&with_weight(4));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

fn reports_are_shown() {
    director("");
    let consul = Consul::default();
    let _server = consul.serve(FIRST);
    consul.put("lvs/edge", WEB);
    ok("ip netns add other");
    // Without an address, the kernel accepts no server.
    ok("ip -n other link set lo up");
    let options = format!("--report consul://{FIRST}/lvs/reports consul://{FIRST}/lvs/edge");
    let _first = follow(&format!("--host lb1 {options}"));
    let _second = follow(&format!("--host lb2 --netns other {options}"));
    let fleet = format!("ipvsadm-rs fleet consul://{FIRST}/lvs/reports");
    let wait_for_fleet = |lines: [&str; 2], code: i32| {
        wait::until(SOON, || {
            let shown = run(&fleet);
            let is_shown = lines.iter().all(|line| shown.stdout.contains(line)) && shown.code == Some(code);
            if is_shown { Ok(shown.stdout) } else { Err(format!("{shown}\n{}", status())) }
        })
    };
    let shown = wait_for_fleet(["\nlb1               good ", "\nlb2               good "], 0);
    assert_eq!(shown.lines().filter(|line| line.ends_with("    A")).count(), 2, "{shown}");
    consul.put("lvs/edge", "no rules");
    wait_for_fleet(["lb1: invalid: ", "lb2: invalid: "], 2);
    consul.put("lvs/edge", WEB);
    wait_for_fleet(["\nlb1               good ", "\nlb2               good "], 0);
    let report = consul.value("lvs/reports/lb1");
    assert!(report.contains("\"host\":\"lb1\""), "{report}");
    consul.put("lvs/reports/lb3", &report);
    consul.put("lvs/reports/lb4", "{}");
    wait_for_fleet(["lvs/reports/lb3 is the report of another host", "lvs/reports/lb4 is not a report"], 2);
}
