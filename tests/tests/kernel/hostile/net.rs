//! The rollback of a pending plan: signals, terminals, full pipes, full disks, the end of units and containers.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::{Ran, ok, run, shell, start};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::wait;
use rustix::process::{Signal, kill_process};

use crate::verbs::confirm::{Log, NOTICE, WARNING, timer};
use crate::verbs::drain::{hold_connections, wait_for_the_drain};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    signal_to_the_timer_rolls_back_at_once;
    set_on_a_stopped_terminal_does_not_prevent_the_rollback;
    held_lock_does_not_prevent_the_rollback;
    stopped_apply_does_not_prevent_the_rollback;
    signal_in_a_drain_rolls_back_at_once;
    removed_journal_does_not_prevent_the_rollback;
    full_disk_does_not_prevent_the_rollback;
    failed_rollback_is_tried_again;
    lock_is_free_between_the_attempts_of_a_rollback;
    timer_that_dies_between_its_attempts_is_reported;
    failed_rollback_ends_a_drain;
    container_that_ends_is_refused;
    container_with_an_init_is_accepted;
    caller_that_reads_to_the_end_does_not_wait_for_the_timer;
    working_directory_can_be_unmounted;
    namespace_of_the_same_name_is_left_alone;
    show_and_plan_report_a_pending_plan;
    show_and_plan_report_a_killed_timer;
    show_and_plan_report_a_failed_rollback;
}

/// Applies a plan that is pending for this time, and returns its result.
fn apply(confirm_within: &str) -> Ran {
    director(WEB);
    write("wanted", &wanted());
    let ran = run(&format!("ipvsadm-rs apply wanted --confirm-within {confirm_within}"));
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(rules(), wanted());
    ran
}

fn wanted() -> String {
    WEB.replace("wrr", "wlc")
}

#[track_caller]
fn assert_rolled_back() {
    wait::until(Duration::from_secs(30), || if rules() == WEB { Ok(()) } else { Err(rules()) });
}

#[track_caller]
fn assert_recorded() {
    wait::until(Duration::from_secs(30), || {
        let list = run("ipvsadm-rs undo --list").stdout;
        if list.contains("not confirmed in time") { Ok(()) } else { Err(list) }
    });
}

fn signal_to_the_timer_rolls_back_at_once() {
    let log = Log::open();
    for signal in ["TERM", "HUP", "INT", "QUIT", "USR1"] {
        let _ = fs::remove_dir_all("/var/lib/ipvsadm-rs");
        apply("10m");
        ok(&format!("kill -PIPE {}", timer()));
        ok(&format!("kill -{signal} {}", timer()));
        assert_rolled_back();
        assert_recorded();
        assert_eq!(log.line(NOTICE), format!("plan 1: the rollback timer was ended by SIG{signal}: rolled back"));
    }
}

/// The terminal is stopped with ^S, therefore `set` blocks when it prints.
fn set_on_a_stopped_terminal_does_not_prevent_the_rollback() {
    apply("4s");
    let set = "ipvsadm-rs set -r 10.0.0.1 --weight 9";
    write("terminal", &format!("(printf '\\023'; sleep 50) | script -qec 'sleep 1; {set}' /dev/null"));
    let _terminal = start("sh terminal");
    assert_rolled_back();
    assert_recorded();
}

fn held_lock_does_not_prevent_the_rollback() {
    let log = Log::open();
    apply("1s");
    // The namespace of process 1 may have a journal, too.
    write("hold", "exec flock $(ls -t /var/lib/ipvsadm-rs/*/lock | head -n 1) sleep 50");
    let holder = start("sh hold");
    assert_rolled_back();
    assert_recorded();
    let line = log.line(NOTICE);
    let expected = "plan 1 was not confirmed within 1s: rolled back without the lock";
    assert!(line.starts_with(expected), "{line}{}", holder.output());
}

/// A program stopped with ^Z in a drain neither makes its changes nor exits.
fn stopped_apply_does_not_prevent_the_rollback() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let before = director.ok("ipvsadm-save -n");
    let apply = director.start("ipvsadm-rs apply wanted --drain 10m --confirm-within 1s");
    let save = || director.ok("ipvsadm-save -n");
    wait::until(
        Duration::from_secs(30),
        || if save().contains("10.2.0.11:9000 -m -w 0") { Ok(()) } else { Err(save()) },
    );
    kill_process(apply.pid(), Signal::STOP).unwrap();
    wait::until(Duration::from_secs(40), || if save() == before { Ok(()) } else { Err(save()) });
    wait::until(Duration::from_secs(30), || {
        let list = director.run("ipvsadm-rs undo --list").stdout;
        if list.contains("not confirmed in time") { Ok(()) } else { Err(list) }
    });
    kill_process(apply.pid(), Signal::CONT).unwrap();
    wait::until(Duration::from_secs(30), || {
        let output = apply.output();
        if output.contains("plan 1 was rolled back while ") { Ok(()) } else { Err(output) }
    });
    assert_eq!(save(), before);
}

fn signal_in_a_drain_rolls_back_at_once() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let before = director.ok("ipvsadm-save -n");
    let apply = director.start("ipvsadm-rs apply wanted --drain 10m --confirm-within 10m");
    let save = || director.ok("ipvsadm-save -n");
    wait::until(
        Duration::from_secs(30),
        || {
            if save().contains("10.2.0.11:9000 -m -w 0") { Ok(()) } else { Err(save()) }
        },
    );
    ok(&format!("kill -TERM {}", timer()));
    wait::until(Duration::from_secs(30), || {
        let output = apply.output();
        if output.contains("plan 1 was rolled back while ") { Ok(()) } else { Err(output) }
    });
    assert_eq!(save(), before);
}

fn removed_journal_does_not_prevent_the_rollback() {
    apply("1s");
    fs::remove_dir_all("/var/lib/ipvsadm-rs").unwrap();
    assert_rolled_back();
}

fn full_disk_does_not_prevent_the_rollback() {
    fs::create_dir_all("/var/lib/ipvsadm-rs").unwrap();
    ok("mount -t tmpfs -o size=256k,mode=700 none /var/lib/ipvsadm-rs");
    apply("3s");
    assert_ne!(run("dd if=/dev/zero of=/var/lib/ipvsadm-rs/full bs=1k").code, Some(0), "the disk is full");
    assert_rolled_back();
    assert_recorded();
}

/// A daemon whose interface is missing cannot be started.
fn failed_rollback_is_tried_again() {
    let log = Log::open();
    apply_without_daemon();
    let line = log.line(WARNING);
    assert!(line.starts_with("plan 1: trying to roll back again in 2s: "), "{line}");
    add_dummy();
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm -L --daemon");
        if list.contains("mcast=dummy0") { Ok(()) } else { Err(list) }
    });
    assert_recorded();
}

/// Waits for the pause between the last two attempts, and stops the timer in it.
fn stop_between_attempts() -> String {
    let log = Log::open();
    apply_without_daemon();
    for _ in 0..2 {
        let line = log.line(WARNING);
        assert!(line.starts_with("plan 1: trying to roll back again in "), "{line}");
    }
    let timer = timer();
    ok(&format!("kill -STOP {timer}"));
    let confirm = run("ipvsadm-rs --lock-timeout 0s confirm");
    let reason = "error: plan 1 is being rolled back\nRun `ipvsadm-rs undo` ";
    assert_eq!((confirm.code, confirm.stderr.starts_with(reason)), (Some(1), true), "{confirm}");
    add_dummy();
    timer
}

/// The lock was held for 8 s, until the last attempt.
fn lock_is_free_between_the_attempts_of_a_rollback() {
    let timer = stop_between_attempts();
    assert!(ok("ipvsadm-rs undo --list").contains("  pending\n"));
    ok("ipvsadm-rs --lock-timeout 0s undo");
    assert!(ok("ipvsadm -L --daemon").contains("mcast=dummy0"));
    // The timer leaves changes made after the undo.
    let later = format!("{WEB}-A -f 7 -s rr\n");
    ok("ipvsadm -A -f 7 -s rr");
    ok(&format!("kill -CONT {timer}"));
    wait::until(Duration::from_secs(30), || {
        // A zombie has no command line.
        let command = fs::read_to_string(format!("/proc/{timer}/cmdline")).unwrap_or_default();
        if command.is_empty() { Ok(()) } else { Err(command) }
    });
    assert_eq!(rules(), later);
    assert!(ok("ipvsadm-rs undo --list").contains("\n   2  "));
    assert!(ok("ipvsadm-rs undo --list").lines().nth(1).unwrap().contains("  undone by 2"));
}

fn timer_that_dies_between_its_attempts_is_reported() {
    let timer = stop_between_attempts();
    ok(&format!("kill -9 {timer}"));
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm-rs undo --list");
        let failed = list.contains("rollback failed\n") && list.contains("        kept: its rollback timer has died\n");
        if failed { Ok(()) } else { Err(list) }
    });
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1));
    ok("ipvsadm-rs undo");
    assert!(ok("ipvsadm -L --daemon").contains("mcast=dummy0"));
    assert_eq!(notes(), ["", "", ""].map(str::to_owned));
}

/// The lock is free before the next attempt, but the plan must not continue.
fn failed_rollback_ends_a_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let (director, log) = (&lab.director, Log::open());
    let add_dummy = || director.shell("ip link add dummy0 type dummy && ip link set dummy0 up").ok();
    add_dummy();
    director.ok("ipvsadm --start-daemon master --mcast-interface dummy0 --syncid 5");
    let save = || director.ok("ipvsadm-save -n") + &director.ok("ipvsadm -L --daemon");
    let before = save();
    write("without", "{ \"schema\": 1, \"daemons\": [], \"services\": [] }");
    let apply = director.start("ipvsadm-rs apply without --allow-empty --drain 10m --confirm-within 10m");
    wait_for_the_drain(director);
    wait::until(Duration::from_secs(30), || if save().contains("dummy0") { Err(save()) } else { Ok(()) });
    director.ok("ip link del dummy0");
    ok(&format!("kill -TERM {}", timer()));
    assert!(log.line(WARNING).starts_with("plan 1: trying to roll back again in 2s: "));
    wait::until(Duration::from_secs(30), || {
        let output = apply.output();
        if output.contains("plan 1 was rolled back with errors while it was draining") { Ok(()) } else { Err(output) }
    });
    add_dummy();
    wait::until(Duration::from_secs(30), || if save() == before { Ok(()) } else { Err(save()) });
}

fn add_dummy() {
    ok("ip link add dummy0 type dummy");
    ok("ip link set dummy0 up");
}

/// Applies a plan that stops a daemon, and removes its interface before the rollback.
fn apply_without_daemon() {
    director(WEB);
    add_dummy();
    ok("ipvsadm --start-daemon master --mcast-interface dummy0 --syncid 5");
    write("without", "{ \"schema\": 1, \"daemons\": [], \"services\": [] }");
    ok("ipvsadm-rs apply without --confirm-within 1s");
    ok("ip link del dummy0");
}

fn container_that_ends_is_refused() {
    director(WEB);
    write("wanted", &wanted());
    let apply = "ipvsadm-rs apply wanted --confirm-within 1s";
    for (command, process_1) in [
        (format!("unshare -pf --mount-proc {apply}"), "this program"),
        (format!("unshare -pf --mount-proc sh -c '{apply}; exit $?'"), "sh"),
        (format!("unshare -pf sh -c '{apply}; exit $?'"), "unknown"),
    ] {
        let ran = shell(&command);
        assert_eq!((ran.code, rules().as_str()), (Some(1), WEB), "{ran}");
        let reason = format!(
            "error: cannot roll back later: all processes of this container end with its process 1 ({process_1})\n"
        );
        assert!(ran.stderr.starts_with(&reason), "{ran}");
        let list = run("ipvsadm-rs undo --list");
        assert_eq!(list.stderr, "error: the journal is empty\n", "{list}");
    }
}

fn container_with_an_init_is_accepted() {
    director(WEB);
    write("wanted", &wanted());
    let inside = "printf init > /proc/1/comm; ipvsadm-rs apply wanted --confirm-within 1m && ipvsadm-rs confirm";
    let ran = shell(&format!("unshare -pf --mount-proc sh -c '{inside}; exit $?'"));
    assert!(ran.stdout.ends_with("plan 1 confirmed\n"), "{ran}");
}

/// The shell reads until all programs have closed the pipe. `3>&1` passes it to programs that do not know of it.
fn caller_that_reads_to_the_end_does_not_wait_for_the_timer() {
    director(WEB);
    write("wanted", &wanted());
    let ran = shell("all=$(ipvsadm-rs apply wanted --confirm-within 10m 3>&1 4>&2 2>&1); echo \"$all\"");
    assert!(ran.stdout.contains("rolling back in 10m"), "{ran}");
    ok(&format!("kill {}", timer()));
    assert_rolled_back();
}

fn working_directory_can_be_unmounted() {
    director(WEB);
    write("wanted", &wanted());
    ok("mkdir mounted");
    ok("mount -t tmpfs none mounted");
    shell("cd mounted && ipvsadm-rs apply ../wanted --confirm-within 10m").ok();
    ok("umount mounted");
    ok("ipvsadm-rs undo");
}

/// The timer holds the namespace of the plan. It does not look for one of the same name.
fn namespace_of_the_same_name_is_left_alone() {
    director("");
    let log = Log::open();
    ok("ip netns add blue");
    ok("ip -n blue link set lo up");
    write("first", WEB);
    write("second", &wanted());
    ok("ipvsadm-rs --netns blue apply first");
    ok("ipvsadm-rs --netns blue apply second --confirm-within 3s");
    ok("ip netns del blue");
    ok("ip netns add blue");
    ok("ip -n blue link set lo up");
    ok("ip netns exec blue ipvsadm -A -f 7 -s rr");
    assert_eq!(log.line(NOTICE), "plan 2 was not confirmed within 3s: rolled back");
    assert_eq!(ok("ip netns exec blue ipvsadm -Sn"), "-A -f 7 -s rr\n");
}

/// Runs `show`, and `plan` and `apply --dry-run` with a file that matches the table. Returns the last lines of their
/// standard error.
fn notes() -> [String; 3] {
    let file = "ipvsadm-rs save > same 2>/dev/null";
    ["show", "plan same", "apply same --dry-run"].map(|verb| {
        let ran = shell(&format!("{file}; ipvsadm-rs {verb} > /dev/null"));
        assert_eq!(ran.code, Some(0), "{ran}");
        ran.stderr.replace("nothing to change\n", "")
    })
}

/// Returns a key of the JSON document of `plan`.
fn json(key: &str) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_str(&ok("ipvsadm-rs --json plan same")).unwrap();
    assert_eq!((&document["schema"], &document["status"]), (&1.into(), &"planned".into()));
    document[key].clone()
}

fn show_and_plan_report_a_pending_plan() {
    apply("10m");
    for note in notes() {
        let time = note.strip_prefix("note: plan 1 is pending; rolling back in ");
        assert!(time.is_some_and(|time| time.ends_with("s unless you run `ipvsadm-rs confirm`\n")), "{note}");
    }
    let pending = json("pending");
    assert!((300..=600).contains(&pending["seconds_left"].as_u64().unwrap()), "{pending}");
    assert!(pending["plan"] == 1 && pending["deadline"].is_string(), "{pending}");
    ok("ipvsadm-rs confirm");
    assert_eq!(notes(), ["", "", ""]);
    assert_eq!(json("pending"), serde_json::Value::Null);
}

fn show_and_plan_report_a_killed_timer() {
    apply("10m");
    ok(&format!("kill -9 {}", timer()));
    let expected = "note: plan 1 was never confirmed, and its rollback timer has died\n\
                    Run `ipvsadm-rs confirm` to keep it or `ipvsadm-rs undo` to roll it back.\n";
    wait::until(Duration::from_secs(30), || {
        let notes = notes();
        if notes == [expected; 3] { Ok(()) } else { Err(notes.concat()) }
    });
    assert_eq!(json("never_confirmed")["plan"], 1);
    ok("ipvsadm-rs undo");
    assert_eq!((rules().as_str(), notes()), (WEB, ["", "", ""].map(str::to_owned)));
}

fn show_and_plan_report_a_failed_rollback() {
    apply_without_daemon();
    wait::until(Duration::from_secs(40), || {
        let list = ok("ipvsadm-rs undo --list");
        if list.contains("rollback failed") { Ok(()) } else { Err(list) }
    });
    for note in notes() {
        let failed = "note: the rollback of plan 1 failed: cannot restore the table from before the plan: ";
        assert!(note.starts_with(failed) && note.ends_with("\nRun `ipvsadm-rs undo 1` to try again.\n"), "{note}");
    }
    let failed = json("rollback_failed");
    assert!(failed["plan"] == 1 && failed["error"].as_str().unwrap().contains("cannot restore"), "{failed}");
    add_dummy();
    ok("ipvsadm-rs undo 1");
    assert_eq!((rules().as_str(), notes()), (WEB, ["", "", ""].map(str::to_owned)));
}
