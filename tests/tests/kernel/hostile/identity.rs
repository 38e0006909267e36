//! The journal of another boot or of another namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use ipvs_tests::command::{Running, ok, run, shell, start};
use ipvs_tests::lab::topology::Lab;
use ipvs_tests::wait;

use crate::under_test;
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    two_names_of_one_namespace;
    two_names_at_once;
    number_of_a_namespace_used_again;
    namespace_made_again_under_its_name;
    reboot;
    reboot_while_a_plan_is_pending;
    old_entry_without_identity;
    directories_of_ended_namespaces;
    directories_of_earlier_boots_are_limited;
    without_proc;
}

/// Replaces the identity of the boot, as a reboot does.
fn boot(number: u32) {
    write(&format!("boot-{number}"), &format!("00000000-0000-4000-8000-{number:012}\n"));
    shell(&format!("mount --bind boot-{number} /proc/sys/kernel/random/boot_id")).ok();
}

/// Returns the directories of all journals.
fn journals() -> Vec<String> {
    journals_in("s")
}

fn journals_in(state_dir: &str) -> Vec<String> {
    let found = fs::read_dir(state_dir).unwrap().map(|found| found.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = found.filter(|name| name != ".lock").collect();
    names.sort();
    names
}

/// Two names of one namespace had two journals and two locks.
fn two_names_of_one_namespace() {
    under_test::install();
    let blue = Lab::new().unwrap().host("blue").unwrap();
    let process = blue.start("sleep 60");
    shell("touch /run/netns/azure && mount --bind /run/netns/blue /run/netns/azure").ok();
    for (step, name) in ["blue", "azure", "/run/netns/azure", &process.pid().to_string()].into_iter().enumerate() {
        write("wanted", &WEB.replace("-w 3", &format!("-w {}", 10 + step)));
        ok(&format!("ipvsadm-rs --state-dir s --netns {name} apply wanted"));
        assert_eq!(journals(), ["netns-blue"]);
    }
    let list = ok("ipvsadm-rs --state-dir s --netns azure undo --list");
    assert_eq!(list.matches("  applied\n").count(), 4, "{list}");
    for name in ["azure", "blue"] {
        ok(&format!("ipvsadm-rs --state-dir s --netns {name} undo"));
    }
    assert_eq!(blue.ok("ipvsadm-save -n"), WEB.replace("-w 3", "-w 11"));
    shell("umount /run/netns/azure").ok();
}

/// Two processes that create the first journal of a namespace by different names create one.
fn two_names_at_once() {
    under_test::install();
    write("wanted", "-A -f 9 -s rr\n");
    let lab = Lab::new().unwrap();
    for round in 0..10 {
        let _blue = lab.host("blue").unwrap();
        shell("touch /run/netns/azure && mount --bind /run/netns/blue /run/netns/azure").ok();
        let state = format!("s-{round}");
        let mut both =
            ["blue", "azure"].map(|name| start(&format!("ipvsadm-rs --state-dir {state} --netns {name} apply wanted")));
        for apply in &mut both {
            wait::until(Duration::from_secs(30), || if apply.is_running() { Err(apply.output()) } else { Ok(()) });
        }
        assert_eq!(journals_in(&state).len(), 1, "{}{}", both[0].output(), both[1].output());
        shell("umount /run/netns/azure").ok();
    }
}

/// Starts a process in a network namespace of its own. Returns it with the number of the namespace.
fn own_namespace() -> (Running, u64) {
    let process = start("unshare --net sleep 60");
    let number = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    let pid = process.pid().to_string();
    wait::until(Duration::from_secs(30), || if number(&pid) == number("self") { Err(pid.clone()) } else { Ok(()) });
    let number = number(&pid);
    (process, number)
}

/// The kernel gives the number of a namespace that has ended to a new one. `undo` in the new one deleted its services.
fn number_of_a_namespace_used_again() {
    under_test::install();
    write("wanted", "-A -f 9 -s rr\n");
    for _ in 0..200 {
        let (process, number) = own_namespace();
        ok(&format!("ipvsadm-rs --state-dir s --netns {} apply wanted", process.pid()));
        drop(process);
        let (process, again) = own_namespace();
        if again != number {
            continue;
        }
        let netns = format!("--netns {}", process.pid());
        ok(&format!("nsenter --net=/proc/{}/ns/net ipvsadm -A -f 9 -s lc", process.pid()));
        assert_eq!(run(&format!("ipvsadm-rs --state-dir s {netns} undo")).code, Some(1));
        let rules = ok(&format!("nsenter --net=/proc/{}/ns/net ipvsadm-save -n", process.pid()));
        assert_eq!(rules, "-A -f 9 -s lc\n");
        return;
    }
    panic!("no number was used again");
}

/// `undo` in a new namespace restored the table of the earlier one.
fn namespace_made_again_under_its_name() {
    const UNDO: &str = "ipvsadm-rs --state-dir s --netns blue undo";
    const OTHERS: &str = "-A -f 9 -s rr\n";
    under_test::install();
    write("wanted", WEB);
    write("others", OTHERS);
    let lab = Lab::new().unwrap();
    let blue = lab.host("blue").unwrap();
    ok("ipvsadm-rs --state-dir s --netns blue apply wanted");
    drop(blue);
    let blue = lab.host("blue").unwrap();
    blue.ok("ipvsadm -A -f 9 -s rr");
    let undo = run(UNDO);
    assert_eq!((undo.code, blue.ok("ipvsadm-save -n").as_str()), (Some(1), OTHERS), "{undo}");
    assert_eq!(
        undo.stderr,
        "error: no applied plan is left to undo\n\
         1 plan was in force in another network namespace.\n\
         Such plans are not undone, because the table that they changed may no longer exist.\n\
         `ipvsadm-rs history` shows them.\n"
    );
    let undo = run(&format!("{UNDO} 1"));
    assert_eq!(
        undo.stderr,
        "error: plan 1 was applied in another network namespace\n\
         To restore that table anyway, use --other-table.\n"
    );
    assert_eq!(blue.ok("ipvsadm-save -n"), OTHERS);
    let list = ok(&format!("{UNDO} --list"));
    assert!(list.contains("      3  another namespace\n"), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    write("more", "-A -f 9 -s rr\n-A -f 10 -s rr\n");
    let applied = run("ipvsadm-rs --state-dir s --netns blue apply more");
    let note = "note: network namespace blue is new, and 1 plan of an earlier namespace of this name is kept, but not undone\n";
    assert_eq!((applied.code, applied.stderr.contains(note)), (Some(0), true), "{applied}");
    let applied = run("ipvsadm-rs --state-dir s --netns blue apply more");
    assert_eq!((applied.code, applied.stderr.contains("note: ")), (Some(0), false), "reported once: {applied}");
    ok(UNDO);
    assert_eq!(blue.ok("ipvsadm-save -n"), OTHERS);
    assert_eq!(run(UNDO).code, Some(1));
    assert_eq!(run(&format!("{UNDO} 1 --other-table")).code, Some(0));
    assert_eq!(blue.ok("ipvsadm-save -n"), "", "the table from before plan 1");
}

/// After a reboot `undo` emptied what the boot unit had loaded, and a second one restored a table of before the boot.
fn reboot() {
    under_test::install();
    boot(1);
    director(WEB);
    for weight in [4, 5] {
        write("wanted", &WEB.replace("-w 3", &format!("-w {weight}")));
        ok("ipvsadm-rs --state-dir s apply wanted");
    }
    boot(2);
    ok("ipvsadm -C");
    let applied = run("ipvsadm-rs --state-dir s apply wanted");
    assert_eq!(
        applied.stderr,
        "note: the machine was restarted, and 2 plans of the earlier boot are kept, but not undone\n"
    );
    let loaded = rules();
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!((undo.code, rules().as_str()), (Some(1), loaded.as_str()), "{undo}");
    assert_eq!(
        undo.stderr,
        "error: no applied plan is left to undo\n\
         Plan 3 was the first plan after the machine was restarted. To undo it, run `ipvsadm-rs undo 3`.\n\
         2 plans were in force before the machine was restarted.\n\
         Such plans are not undone, because the table that they changed may no longer exist.\n\
         `ipvsadm-rs history` shows them.\n"
    );
    write("wanted", &WEB.replace("-w 3", "-w 6"));
    assert_eq!(run("ipvsadm-rs --state-dir s apply wanted").stderr, "");
    ok("ipvsadm-rs --state-dir s undo");
    assert_eq!(rules(), loaded);
    assert_eq!(run("ipvsadm-rs --state-dir s undo").code, Some(1));
    assert_eq!(rules(), loaded);
    let list = ok("ipvsadm-rs --state-dir s undo --list");
    assert!(list.contains("      3  applied\n        first after the restart\n"), "{list}");
    ok("ipvsadm-rs --state-dir s undo 3");
    assert_eq!(rules(), "", "the table as it was after the boot");
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!(undo.code, Some(1));
    assert!(undo.stderr.contains("\n2 plans were in force before the machine was restarted.\n"), "{undo}");
    assert_eq!(rules(), "");
    for dry_run in ["--dry-run", ""] {
        let undo = run(&format!("ipvsadm-rs --state-dir s undo 2 {dry_run}"));
        assert!(undo.stderr.starts_with("error: plan 2 was applied before the machine was restarted\n"), "{undo}");
    }
    let list: serde_json::Value = serde_json::from_str(&ok("ipvsadm-rs --state-dir s --json undo --list")).unwrap();
    let origins: Vec<&str> =
        list["plans"].as_array().unwrap().iter().filter_map(|plan| plan["origin"].as_str()).collect();
    assert_eq!(origins[..3], ["earlier_boot", "earlier_boot", "this_table"], "{list}");
    ok("ipvsadm-rs --state-dir s undo 2 --other-table");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 4"));
}

/// A plan that was pending at the reboot neither blocks other plans nor is confirmed or undone.
fn reboot_while_a_plan_is_pending() {
    boot(1);
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs --state-dir s apply wanted --confirm-within 1h");
    boot(2);
    ok("ipvsadm -C");
    assert_eq!(run("ipvsadm-rs --state-dir s undo --pending").code, Some(0));
    assert_eq!(run("ipvsadm-rs --state-dir s confirm").code, Some(1));
    assert_eq!(rules(), "");
    let applied = run("ipvsadm-rs --state-dir s apply wanted");
    assert_eq!(applied.code, Some(0), "{applied}");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
}

/// Older programs recorded neither boot nor namespace.
fn old_entry_without_identity() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs --state-dir s apply wanted");
    shell(r#"sed -i '1s/,"table":{[^}]*}//' s/*/000001.json; rm s/*/namespace"#).ok();
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!(undo.code, Some(1), "{undo}");
    assert!(undo.stderr.contains("1 plan was in force in an unknown boot or network namespace"), "{undo}");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    assert!(ok("ipvsadm-rs --state-dir s undo --list").contains("  unknown table\n"));
    ok("ipvsadm-rs --state-dir s undo 1 --other-table");
    assert_eq!(rules(), WEB);
}

fn directories_of_ended_namespaces() {
    under_test::install();
    write("wanted", "-A -f 9 -s rr\n");
    let lab = Lab::new().unwrap();
    let _blue = lab.host("blue").unwrap();
    ok("ipvsadm-rs --state-dir s --netns blue apply wanted");
    for _ in 0..2 {
        let (process, _) = own_namespace();
        ok(&format!("ipvsadm-rs --state-dir s --netns {} apply wanted", process.pid()));
        assert_eq!(journals().len(), 2, "{:?}", journals());
    }
    ok("ipvsadm-rs --state-dir s apply wanted");
    let journals = journals();
    assert_eq!((journals.len(), journals[1].as_str()), (2, "netns-blue"), "{journals:?}");
}

/// A program that gives each namespace a new name left a directory for each, for ever.
fn directories_of_earlier_boots_are_limited() {
    under_test::install();
    write("wanted", "-A -f 9 -s rr\n");
    let lab = Lab::new().unwrap();
    let blue = lab.host("blue").unwrap();
    boot(1);
    ok("ipvsadm-rs --state-dir s --netns blue apply wanted");
    shell("cd s && for name in $(seq 100 201); do cp -a netns-blue netns-$name; done").ok();
    shell("touch -d @2 s/netns-*; touch -d @1 s/netns-150; touch -d @0 s/netns-blue; touch s/netns-100").ok();
    boot(2);
    blue.ok("ipvsadm -C");
    ok("ipvsadm-rs --state-dir s apply wanted");
    let journals = journals();
    let has = |name: &str| journals.iter().any(|journal| journal == name);
    assert_eq!(journals.len(), 102, "{journals:?}");
    assert!(!has("netns-101") && !has("netns-150") && has("netns-100") && has("netns-blue"), "{journals:?}");
    let undo = run("ipvsadm-rs --state-dir s --netns blue undo --list");
    assert!(undo.stdout.contains("  earlier boot\n"), "{undo}");
}

/// A minimal container has no /proc. The servers of the other namespace must not be mixed up with those of this one.
fn without_proc() {
    director(WEB);
    write("other", "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.9 -g -w 7\n");
    shell("ip netns add blue && ip -n blue link set lo up && ipvsadm-rs --netns blue apply other").ok();
    let without = |line: &str| shell(&format!("unshare -m sh -c 'umount -l /proc && {line}'")).ok();
    for line in ["ipvsadm-save -n", "ipvsadm -Ln", "ipvsadm-rs save", "ipvsadm-rs --netns blue save"] {
        assert_eq!(without(line), ok(line), "{line}");
    }
    write("wanted", &WEB.replace("wrr", "wlc"));
    without("ipvsadm-rs --state-dir s apply wanted");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
}
