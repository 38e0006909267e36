//! `ipvsadm-rs undo`.

use ipvs_tests::command::{ok, run, shell};

use super::{WEB, director, rules, write};
use crate::under_test;

ipvs_tests::tests! {
    undoes_one_plan_at_a_time;
    undoes_only_the_plan_with_the_number;
    undoes_plans_of_different_scopes;
    skips_unreadable_entries;
    deletes_old_entries;
    dry_run_prints_the_plan;
    fails_if_nothing_to_undo;
    keeps_changes_of_other_programs;
    undoes_plan_of_a_confined_service;
}

fn weight(weight: u32) -> String {
    WEB.replace("-w 3", &format!("-w {weight}"))
}

fn three_plans() {
    director(WEB);
    for step in 4..7 {
        write("wanted", &weight(step));
        ok("ipvsadm-rs apply wanted");
    }
}

fn undoes_one_plan_at_a_time() {
    three_plans();
    for step in [5, 4, 3] {
        ok("ipvsadm-rs undo");
        assert_eq!(rules(), weight(step));
    }
    assert_eq!(run("ipvsadm-rs undo").stderr, "error: no applied plan is left to undo\n");
    let list = ok("ipvsadm-rs undo --list");
    let states: Vec<String> =
        list.lines().skip(1).map(|line| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")).collect();
    let undone = ["apply 1 undone by 6", "apply 1 undone by 5", "apply 1 undone by 4"];
    let undos = ["undo 3 1 applied", "undo 2 1 applied", "undo 1 1 applied"];
    assert_eq!(states, [undone, undos].concat(), "{list}");
}

/// Once, `undo 2` also undid plan 3, and a second time it printed "nothing to change".
fn undoes_only_the_plan_with_the_number() {
    director(WEB);
    for wanted in [weight(4), format!("{}-A -f 7 -s rr\n", weight(4)), weight(5)] {
        write("wanted", &wanted);
        ok("ipvsadm-rs apply wanted --listed-only");
    }
    ok("ipvsadm-rs undo 2");
    assert_eq!(rules(), weight(5));
    let again = run("ipvsadm-rs undo 2");
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (Some(1), "error: plan 2 was already undone by plan 4: nothing was changed\n")
    );
    // The undo of the undo.
    ok("ipvsadm-rs undo 4");
    assert_eq!(rules(), format!("{}-A -f 7 -s rr\n", weight(5)));
    ok("ipvsadm-rs undo 2");
    assert_eq!(rules(), weight(5));
    let ran = run("ipvsadm-rs undo 1");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert_eq!(
        ran.stderr,
        "error: plan 1 cannot be undone, because these were changed again later:\n  \
         TCP 192.0.2.1:80, server 10.0.0.1:8080: by plan 3 (apply)\n\
         Undo the later plans first, or run `ipvsadm-rs restore 1:before`.\n"
    );
    ok("ipvsadm-rs restore 1:before");
    assert_eq!(rules(), WEB);
}

fn undoes_plans_of_different_scopes() {
    director("-A -t 192.0.2.1:80 -s rr\n-A -f 7 -s rr\n");
    write("web", "-A -t 192.0.2.1:80 -s wrr\n");
    write("marks", "-A -f 7 -s wlc\n-A -f 8 -s wlc\n");
    ok("ipvsadm-rs apply web --listed-only");
    ok("ipvsadm-rs apply marks --only fwmark");
    ok("ipvsadm -A -f 9 -s rr");
    ok("ipvsadm-rs undo 1");
    assert_eq!(rules(), "-A -t 192.0.2.1:80 -s rr\n-A -f 7 -s wlc\n-A -f 8 -s wlc\n-A -f 9 -s rr\n");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), "-A -t 192.0.2.1:80 -s rr\n-A -f 7 -s rr\n-A -f 9 -s rr\n");
    assert_eq!(run("ipvsadm-rs undo").stderr, "error: no applied plan is left to undo\n");
}

fn skips_unreadable_entries() {
    director(WEB);
    for (step, entry) in [(4, "000001"), (5, "000002"), (6, "000003")] {
        write("wanted", &weight(step));
        ok("ipvsadm-rs --state-dir s apply wanted");
        if entry != "000002" {
            shell(&format!("echo something else > $(echo s/*/000001.json | sed s/000001/{entry}/)")).ok();
        }
    }
    let list = ok("ipvsadm-rs --state-dir s undo --list");
    let unreadable = |line: &str| line.contains("  unreadable: s/");
    assert_eq!(list.lines().skip(1).map(unreadable).collect::<Vec<_>>(), [true, false, true], "{list}");
    let list: serde_json::Value = serde_json::from_str(&ok("ipvsadm-rs --json --state-dir s undo --list")).unwrap();
    let list = &list["plans"];
    assert_eq!((&list[1]["status"], list[2]["error"].is_string()), (&"applied".into(), true), "{list}");
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!((undo.code, undo.stderr.matches("note: skipped: ").count()), (Some(1), 2), "{undo}");
    assert!(undo.stderr.contains("TCP 192.0.2.1:80, server 10.0.0.1:8080: by another program\n"), "{undo}");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5");
    ok("ipvsadm-rs --state-dir s undo");
    assert_eq!(rules(), weight(4));
}

fn deletes_old_entries() {
    director(WEB);
    for step in 4..7 {
        write("wanted", &weight(step));
        ok("ipvsadm-rs --state-dir s apply wanted");
        shell("truncate -s 40M s/*/00000[12].json").ok();
    }
    let names = shell("cd s/*; echo *").ok();
    assert_eq!(names, "000002.json 000003.json lock namespace\n");
    let one = shell("cat s/*/000003.json").ok();
    assert_eq!((one.lines().count(), one.contains("stats")), (2, false), "the journal has no counters: {one}");
}

fn dry_run_prints_the_plan() {
    three_plans();
    let ran = run("ipvsadm-rs undo --dry-run");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n"));
    assert_eq!(rules(), weight(6));
}

fn fails_if_nothing_to_undo() {
    director(WEB);
    assert_eq!(run("ipvsadm-rs undo").stderr, "error: no applied plan is left to undo\n");
    let hint = "error: no plan 7\nRun `ipvsadm-rs history` to list the plans.\n";
    assert_eq!(run("ipvsadm-rs undo 7").stderr, hint);
    assert_eq!(run("ipvsadm-rs restore 7").stderr, hint);
    assert_eq!(run("ipvsadm-rs undo --list").stderr, "error: the journal is empty\n");
}

fn keeps_changes_of_other_programs() {
    director("-A -t 192.0.2.1:80 -s rr\n-A -t 198.51.100.1:80 -s rr\n-A -f 7 -s rr\n");
    write("wanted", "--set 1000 0 0\n-A -t 192.0.2.1:80 -s wrr\n-A -t 192.0.2.2:80 -s rr\n");
    ok("ipvsadm-rs apply wanted --listed-only");
    ok("ipvsadm -D -t 198.51.100.1:80");
    ok("ipvsadm -E -f 7 -s lc");
    ok("ipvsadm -A -f 8 -s rr");
    ok("ipvsadm --start-daemon backup --mcast-interface lo");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), "-A -t 192.0.2.1:80 -s rr\n-A -f 7 -s lc\n-A -f 8 -s rr\n");
    assert_eq!(ok("ipvsadm -L --timeout"), "Timeout (tcp tcpfin udp): 900 120 300\n");
    assert!(ok("ipvsadm -L --daemon").starts_with("backup"));
}

/// A systemd service with only CAP_NET_ADMIN cannot read /proc/1, but must find the journal of its namespace.
fn undoes_plan_of_a_confined_service() {
    under_test::install();
    let service = "-A -t 192.0.2.1:80 -s rr\n";
    write("wanted", service);
    let first = "nsenter --net=/proc/1/ns/net";
    ok(&format!("{first} setpriv --bounding-set=-all,+net_admin --inh-caps=-all ipvsadm-rs apply wanted"));
    assert_eq!(ok(&format!("{first} ipvsadm-save -n")), service);
    ok(&format!("{first} ipvsadm-rs undo"));
    assert_eq!(ok(&format!("{first} ipvsadm-save -n")), "");
}
