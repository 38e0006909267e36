//! Revisions of a file, and the last good one.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::wait;

use super::{SOON, follow, good_status, plans, replace, status, wait_for_rules, wait_for_status, with_weight};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    each_revision_is_applied;
    many_writes_are_one_plan;
    several_documents_are_one_table;
    revisions_with_errors_change_nothing;
    an_absent_source_changes_nothing;
    the_last_good_revision_is_used_without_the_source;
    the_table_stays_when_the_follower_ends;
    one_process_follows_a_source;
    services_that_no_revision_listed_can_stay;
}

/// Rules of another service.
const DNS: &str = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1\n";

fn each_revision_is_applied() {
    director("-A -t 198.51.100.1:80 -s rr\n");
    write("wanted", WEB);
    let follower = follow("wanted");
    wait_for_rules(WEB);
    replace("wanted", &with_weight(5));
    wait_for_rules(&with_weight(5));
    // In place, in two writes.
    write("wanted", "-A -t 192.0.2.1:80 -s wrr\n");
    write("wanted", &with_weight(6));
    wait_for_rules(&with_weight(6));
    wait_for_status("state     good");
    let status = good_status();
    let folder = std::env::current_dir().unwrap();
    assert!(status.starts_with(&format!("source    {}/wanted\n", folder.display())), "{status}");
    assert!(status.contains("plan 3\n"), "{status}");
    let history = ok("ipvsadm-rs history");
    assert_eq!(history.matches(" follow ").count(), 3, "{history}");
    let shown = ok("ipvsadm-rs history show 3");
    assert!(shown.contains("revision"), "{shown}");
    assert_eq!(follower.stop(Duration::from_secs(5)).matches("is applied as plan").count(), 3);
}

fn many_writes_are_one_plan() {
    director(WEB);
    write("wanted", WEB);
    let follower = follow("--quiet 2s:20s wanted");
    wait_for_status("state     good");
    for weight in 10..20 {
        replace("wanted", &with_weight(weight));
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for_rules(&with_weight(19));
    assert_eq!(plans(), 1);
    drop(follower);
}

fn several_documents_are_one_table() {
    director("");
    fs::create_dir("tables").unwrap();
    write("tables/web.rules", WEB);
    write("tables/dns.rules", DNS);
    write("tables/.hidden", "no rules");
    let _follower = follow("tables");
    wait_for_rules(&format!("{WEB}{DNS}"));
    fs::remove_file("tables/dns.rules").unwrap();
    wait_for_rules(WEB);
    // The same service again.
    write("tables/web2.rules", WEB);
    let status = wait_for_status("state     invalid");
    assert!(status.contains("is also in another document"), "{status}");
    assert_eq!(rules(), WEB);
}

fn revisions_with_errors_change_nothing() {
    director(WEB);
    write("wanted", WEB);
    let _follower = follow("wanted");
    wait_for_status("state     good");
    for (text, reason) in [
        ("", "no document contains a service"),
        ("-A -t 192.0.2.1:80\n-x\n", "wanted:2:"),
        ("{\"services\": [", "wanted:1:"),
        ("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 1 -x 3 -y 5\n", "lower threshold (5)"),
        ("virtual_server 192.0.2.1 80 {\n  lvs_sched rr\n}\ninclude /etc/none.conf\n-\n", "wanted:"),
    ] {
        replace("wanted", text);
        let status = wait_for_status(reason);
        assert!(status.contains("state     invalid"), "{status}");
        assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
        assert_eq!(rules(), WEB, "{text}");
    }
    replace("wanted", &with_weight(7));
    wait_for_rules(&with_weight(7));
    wait_for_status("state     good");
    good_status();
}

fn an_absent_source_changes_nothing() {
    director(WEB);
    write("wanted", WEB);
    let _follower = follow("--allow-empty --drain 0s wanted");
    wait_for_status("state     good");
    fs::rename("wanted", "elsewhere").unwrap();
    let status = wait_for_status("the source does not exist");
    assert!(status.contains("state     invalid"), "{status}");
    assert_eq!(rules(), WEB);
    fs::rename("elsewhere", "wanted").unwrap();
    wait_for_status("state     good");
    // An empty document is a wish with this option.
    replace("wanted", "# nothing\n");
    wait_for_status("--max-change");
    ok("ipvsadm-rs confirm");
    wait_for_rules("");
}

fn the_last_good_revision_is_used_without_the_source() {
    director("");
    write("wanted", WEB);
    let follower = follow("wanted");
    wait_for_rules(WEB);
    wait_for_status("state     good");
    drop(follower);
    // As after a boot without the store.
    ok("ipvsadm -C");
    fs::rename("wanted", "elsewhere").unwrap();
    let _follower = follow("--start-within 1s wanted");
    wait_for_rules(WEB);
    assert!(status().contains("applied   revision"), "{}", status());
    // Of another source, it is not used.
    ok("ipvsadm -C");
    drop(_follower);
    let other = follow("--start-within 1s other");
    wait::until(SOON, || {
        let output = other.output();
        if output.contains("of another source") { Ok(()) } else { Err(output) }
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(rules(), "");
}

fn the_table_stays_when_the_follower_ends() {
    director("");
    write("wanted", WEB);
    let mut follower = follow("wanted");
    wait_for_rules(WEB);
    wait_for_status("state     good");
    shell(&format!("kill -TERM {}", follower.pid().as_raw_nonzero())).ok();
    wait::until(SOON, || if follower.is_running() { Err("it runs".to_owned()) } else { Ok(()) });
    assert_eq!(rules(), WEB);
    let ended = run("ipvsadm-rs follow status");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stdout.lines().next().unwrap().ends_with("/wanted (not running)"), "{ended}");
}

fn one_process_follows_a_source() {
    director("");
    assert_eq!(run("ipvsadm-rs follow status").stdout, "no source is followed\n");
    write("wanted", WEB);
    let _follower = follow("wanted");
    wait_for_rules(WEB);
    let second = run("ipvsadm-rs follow wanted");
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another process follows a source"), "{second}");
    // In another namespace, another one can.
    ok("ip netns add other");
    ok("ip -n other link set lo up");
    let other = follow("--netns other wanted");
    wait::until(SOON, || {
        let found = run("ipvsadm-rs --netns other save").stdout;
        if found.contains("192.0.2.1:80") { Ok(()) } else { Err(found + &other.output()) }
    });
}

fn services_that_no_revision_listed_can_stay() {
    let theirs = "-A -t 198.51.100.1:80 -s rr\n";
    director(theirs);
    write("wanted", &format!("{WEB}{DNS}"));
    let _follower = follow("--keep-others --drain 0s wanted");
    wait_for_rules(&format!("{WEB}{theirs}{DNS}"));
    wait_for_status("state     good");
    replace("wanted", WEB);
    wait_for_rules(&format!("{WEB}{theirs}"));
}
