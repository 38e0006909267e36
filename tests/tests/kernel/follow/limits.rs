//! Changes of others, and the limits of revisions.

use std::time::Duration;

use ipvs_tests::command::{ok, run};

use super::{follow, good_status, plans, replace, wait_for_rules, wait_for_status};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    changes_of_others_are_corrected;
    changes_of_others_can_be_reported_only;
    weights_of_others_can_stay;
    drained_servers_stay_drained;
    large_changes_wait_for_a_confirmation;
    a_confirmation_is_for_one_revision;
    a_pending_plan_is_left_alone;
    refused_changes_are_rolled_back_and_tried_again;
    metrics_have_the_state;
}

fn changes_of_others_are_corrected() {
    director(WEB);
    write("wanted", WEB);
    let follower = follow("--check 1s wanted");
    wait_for_status("state     good");
    ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:8080");
    wait_for_rules(WEB);
    let status = wait_for_status("drift     1 time");
    assert!(status.contains("1 change was corrected"), "{status}");
    assert!(status.contains("-a -t 192.0.2.1:80 -r 10.0.0.1:8080"), "{status}");
    good_status();
    // At once, after a signal.
    ok("ipvsadm -C");
    ok(&format!("kill -HUP {}", follower.pid().as_raw_nonzero()));
    wait_for_status("drift     2 times");
    wait_for_rules(WEB);
}

fn changes_of_others_can_be_reported_only() {
    director(WEB);
    write("wanted", WEB);
    let _follower = follow("--check 1s --report-only wanted");
    wait_for_status("state     good");
    let changed = WEB.replace("-w 3", "-w 9");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 9");
    let status = wait_for_status("1 change remains");
    assert!(status.contains("-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3"), "{status}");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    assert_eq!((rules(), plans()), (changed, 0));
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3");
    wait_for_status("1 change was corrected");
    good_status();
}

fn weights_of_others_can_stay() {
    director(WEB);
    write("wanted", WEB);
    let _follower = follow("--check 1s --keep-weights wanted");
    wait_for_status("state     good");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(rules(), WEB.replace("-w 3", "-w 0"));
}

fn drained_servers_stay_drained() {
    director(WEB);
    write("wanted", WEB);
    let follower = follow("--check 1s wanted");
    wait_for_status("state     good");
    ok("ipvsadm-rs drain 10.0.0.1:8080");
    let drained = WEB.replace("-w 3", "-w 0");
    wait_for_status("drained   1 server");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(rules(), drained);
    assert!(!good_status().contains("drift"));
    // Also with a further revision, and in another process.
    let (revision, drained) = (WEB.replace("-x 100", "-x 200"), drained.replace("-x 100", "-x 200"));
    replace("wanted", &revision);
    wait_for_rules(&drained);
    drop(follower);
    let _follower = follow("--check 1s wanted");
    wait_for_status("drained   1 server");
    assert_eq!(rules(), drained);
    ok("ipvsadm-rs undrain 10.0.0.1:8080");
    assert_eq!(rules(), revision);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!good_status().contains("drain"));
}

/// Rules of a service with this many servers.
fn servers(count: u32) -> String {
    let lines = (1..=count).map(|server| format!("-a -t 192.0.2.1:80 -r 10.0.0.{server}:80 -m -w 1\n"));
    format!("-A -t 192.0.2.1:80 -s rr\n{}", lines.collect::<String>())
}

fn large_changes_wait_for_a_confirmation() {
    director(&servers(10));
    write("wanted", &servers(10));
    let follower = follow("--max-change 30% --check 1s wanted");
    wait_for_status("state     good");
    replace("wanted", &servers(7));
    wait_for_rules(&servers(7));
    replace("wanted", &servers(4));
    let status = wait_for_status("state     held");
    assert!(status.contains("it takes 3 of 7 servers out of service, and --max-change is 30%"), "{status}");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    assert_eq!(rules(), servers(7));
    let confirmed = ok("ipvsadm-rs confirm");
    assert!(confirmed.starts_with("revision ") && confirmed.ends_with(" confirmed\n"), "{confirmed}");
    wait_for_rules(&servers(4));
    wait_for_status("state     good");
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1));
    // Changes of others are corrected within the same limits: four servers are gone, and eight are added by hand.
    for server in 20..28 {
        ok(&format!("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.{server}:80 -m"));
    }
    wait_for_status("it takes 8 of 12 servers out of service");
    ok("ipvsadm-rs confirm");
    wait_for_rules(&servers(4));
    wait_for_status("state     good");
    drop(follower);
}

fn a_confirmation_is_for_one_revision() {
    director(&servers(10));
    write("wanted", &servers(10));
    let _follower = follow("--max-change 30% --allow-warnings wanted");
    wait_for_status("state     good");
    replace("wanted", &servers(2));
    wait_for_status("it takes 8 of 10");
    // Not the one that is confirmed.
    replace("wanted", &servers(1));
    wait_for_status("it takes 9 of 10");
    replace("wanted", &servers(9));
    wait_for_rules(&servers(9));
    // A service needs a server.
    replace("wanted", &servers(9).replace("-w 1", "-w 0"));
    wait_for_status("state     held");
    assert_eq!(rules(), servers(9));
}

fn a_pending_plan_is_left_alone() {
    director(WEB);
    write("wanted", WEB);
    let _follower = follow("wanted");
    wait_for_status("state     good");
    write("other", &WEB.replace("-w 3", "-w 8"));
    ok("ipvsadm-rs apply --confirm-within 1h other");
    replace("wanted", &WEB.replace("-w 3", "-w 4"));
    wait_for_status("state     failed");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 8"));
    // A person's plan comes first.
    ok("ipvsadm-rs confirm");
    wait_for_rules(&WEB.replace("-w 3", "-w 4"));
}

/// The kernel refuses a broadcast address as a server.
fn refused_changes_are_rolled_back_and_tried_again() {
    let theirs = "-A -u 192.0.2.9:53 -s rr\n";
    director(theirs);
    ok("ip link add d0 up type dummy");
    ok("ip address add 10.0.0.254/24 broadcast 10.0.0.1 dev d0");
    write("wanted", WEB);
    let _follower = follow("--keep-others wanted");
    let status = wait_for_status("state     failed");
    assert!(status.contains("1 change refused: all changes were rolled back; refused: -a -t 192.0.2.1:80"), "{status}");
    assert_eq!(rules(), theirs);
    ok("ip link delete d0");
    wait_for_rules(&format!("{theirs}{WEB}"));
    wait_for_status("state     good");
}

fn metrics_have_the_state() {
    director(WEB);
    write("wanted", WEB);
    let metrics = || ok("ipvsadm-rs metrics");
    assert!(!metrics().contains("ipvs_follow_"));
    let follower = follow("--check 1s wanted");
    wait_for_status("state     good");
    ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:8080");
    wait_for_status("drift     1 time");
    let has = |text: &str, sample: &str| assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
    let good = metrics();
    for sample in [
        "ipvs_follow_running 1",
        "ipvs_follow_problem 0",
        "ipvs_follow_state{state=\"good\"} 1",
        "ipvs_follow_drifts_total 1",
        "ipvs_follow_draining_servers 0",
    ] {
        has(&good, sample);
    }
    let info = good.lines().find(|line| line.starts_with("ipvs_follow_info{")).unwrap();
    assert!(info.starts_with("ipvs_follow_info{source=\"/") && info.contains("/wanted\",wanted=\""), "{info}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let applied = good.lines().find_map(|line| line.strip_prefix("ipvs_follow_applied_timestamp_seconds "));
    assert!(applied.unwrap().parse::<u64>().unwrap().abs_diff(now) < 600, "{good}");
    // A problem, and no process.
    replace("wanted", "");
    wait_for_status("state     invalid");
    has(&metrics(), "ipvs_follow_problem 1");
    follower.stop(Duration::from_secs(5));
    has(&metrics(), "ipvs_follow_running 0");
    // Each namespace has its own state.
    ok("ip netns add other");
    assert!(!ok("ipvsadm-rs --netns other metrics").contains("ipvs_follow_"));
}
