//! `ipvsadm-rs apply --confirm-within` and `ipvsadm-rs confirm`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::wait;

use super::{WEB, director, rules, write};

ipvs_tests::tests! {
    rolls_back_without_confirmation;
    keeps_a_confirmed_plan;
    rolls_back_after_the_terminal_is_lost;
    refused_plan_is_not_pending;
    confirm_fails_if_nothing_is_pending;
    pending_plan_blocks_other_plans;
    undone_plan_is_not_pending;
    deadline_does_not_depend_on_the_clock;
    keeps_changes_if_the_timer_is_killed;
    logs_a_failed_rollback;
    refuses_times_out_of_range;
}

fn wait_for_rollback() {
    wait::until(Duration::from_secs(30), || if rules() == WEB { Ok(()) } else { Err(rules()) });
}

fn rolls_back_without_confirmation() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    let ran = run("ipvsadm-rs apply wanted --confirm-within 1s");
    assert_eq!(ran.stderr, "note: rolling back in 1s unless you run `ipvsadm-rs confirm`\n", "{ran}");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    wait_for_rollback();
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm-rs undo --list");
        if list.contains("not confirmed in time") { Ok(()) } else { Err(list) }
    });
    assert_eq!(run("ipvsadm-rs confirm").stderr, "error: no plan is pending\n");
}

fn keeps_a_confirmed_plan() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs apply wanted --confirm-within 1s");
    assert_eq!(ok("ipvsadm-rs confirm"), "plan 1 confirmed\n");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), WEB);
}

fn rolls_back_after_the_terminal_is_lost() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    // When the command ends, script(1) closes its terminal, and the session gets SIGHUP.
    shell("script -qec 'ipvsadm-rs apply wanted --confirm-within 1s' /dev/null < /dev/null");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    wait_for_rollback();
}

fn refused_plan_is_not_pending() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "nosuch"));
    assert_eq!(run("ipvsadm-rs apply wanted --confirm-within 60s").code, Some(1));
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1), "nothing is pending");
    assert!(ok("ipvsadm-rs undo --list").contains("the kernel refused a change"));
}

fn confirm_fails_if_nothing_is_pending() {
    director(WEB);
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1));
    write("wanted", WEB);
    assert_eq!(ok("ipvsadm-rs apply wanted --confirm-within 60s"), "nothing to change\n");
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1), "nothing was changed");
}

fn pending_plan_blocks_other_plans() {
    director(WEB);
    write("first", &WEB.replace("wrr", "wlc"));
    write("second", &WEB.replace("wrr", "rr"));
    ok("ipvsadm-rs apply first --confirm-within 60s");
    // The file that was applied matches the table, but it would be rolled back.
    for line in ["apply second", "apply second --confirm-within 60s", "apply first"] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert!(ran.stderr.starts_with("error: plan 1 is pending: rolling back in "), "{ran}");
        let hint = "s\nRun `ipvsadm-rs confirm` to keep it or `ipvsadm-rs undo` to roll it back, then try again.\n";
        assert!(ran.stderr.ends_with(hint), "{ran}");
    }
    assert_eq!(run("ipvsadm-rs apply second --dry-run").code, Some(2));
    for line in ["plan first", "show"] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert!(ran.stderr.contains("note: plan 1 is pending; rolling back in "), "{ran}");
    }
    let set = run("ipvsadm-rs set -r 10.0.0.1 --weight 9");
    assert_eq!((set.code, set.stderr.starts_with("note: plan 1 is pending; ")), (Some(0), true), "{set}");
    assert!(ok("ipvsadm-rs undo --list").contains("      1  pending\n        rollback at 20"));
    ok("ipvsadm-rs confirm");
    ok("ipvsadm-rs apply second");
    assert_eq!(rules(), WEB.replace("wrr", "rr"));
}

fn undone_plan_is_not_pending() {
    director(WEB);
    write("first", &WEB.replace("wrr", "wlc"));
    write("second", &WEB.replace("wrr", "rr"));
    for undo in ["undo", "undo --pending"] {
        ok("ipvsadm-rs apply first --confirm-within 1s");
        ok(&format!("ipvsadm-rs {undo}"));
        assert_eq!(rules(), WEB);
        ok("ipvsadm-rs apply second");
        assert_eq!(run("ipvsadm-rs undo --pending").code, Some(0), "nothing is pending");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(rules(), WEB.replace("wrr", "rr"), "the later plan stays");
        ok("ipvsadm-rs undo");
    }
}

/// Returns the process id of the rollback timer.
pub(crate) fn timer() -> String {
    let cmdline = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let processes = fs::read_dir("/proc").unwrap().map(|found| found.unwrap().file_name().into_string().unwrap());
    let mut found = processes.filter(|pid| cmdline(pid).contains("\0rollback-timer\0"));
    found.next().expect("a rollback timer")
}

fn deadline_does_not_depend_on_the_clock() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs apply wanted --confirm-within 50s");
    for (jump, back) in [("+1 day", "-1 day"), ("-1 day", "+1 day")] {
        shell(&format!("date -s '{jump}'")).ok();
        let (today, show) = (ok("date -u +%F"), run("ipvsadm-rs show"));
        let list = ok("ipvsadm-rs undo --list");
        shell(&format!("date -s '{back}'")).ok();
        let left = show.stderr.split_once("rolling back in ").and_then(|(_, rest)| rest.split_once("s unless"));
        assert!(left.is_some_and(|(left, _)| left.parse::<u32>().is_ok_and(|left| left <= 50)), "{show}");
        assert!(list.contains(&format!("rollback at {}", today.trim_end())), "{list}");
    }
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs undo");
}

fn keeps_changes_if_the_timer_is_killed() {
    director(WEB);
    write("first", &WEB.replace("wrr", "wlc"));
    write("second", &WEB.replace("wrr", "rr"));
    let note = "note: plan 1 was never confirmed, and its rollback timer has died; its changes stay\n";
    for (file, note) in [("first", ""), ("second", note)] {
        let ran = run(&format!("ipvsadm-rs apply {file} --confirm-within 60s"));
        assert_eq!(ran.stderr, format!("{note}note: rolling back in 1m unless you run `ipvsadm-rs confirm`\n"));
        ok(&format!("kill -9 {}", timer()));
        wait::until(Duration::from_secs(30), || {
            let list = ok("ipvsadm-rs undo --list");
            let status = "      1  not confirmed\n        kept: its rollback timer has died\n";
            if list.ends_with(status) { Ok(()) } else { Err(list) }
        });
        assert_eq!(run("ipvsadm-rs undo --pending").code, Some(0), "nothing is pending");
        assert_eq!(rules(), fs::read_to_string(file).unwrap());
    }
    assert_eq!(ok("ipvsadm-rs confirm"), "plan 2 confirmed; its rollback timer has died\n");
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1), "nothing is pending");
}

/// The system log, instead of a logger.
pub(crate) struct Log(UnixDatagram);

impl Log {
    pub(crate) fn open() -> Log {
        let _ = fs::remove_file("/dev/log");
        let logger = UnixDatagram::bind("/dev/log").unwrap();
        logger.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        Log(logger)
    }

    /// Waits for the next line that does not name the user of a change. It must have this priority. Returns its text.
    #[track_caller]
    pub(crate) fn line(&self, priority: u8) -> String {
        let mut line = self.receive();
        while line.contains(" by root (uid 0): ") {
            line = self.receive();
        }
        let text = line.strip_prefix(&format!("<{priority}>ipvsadm-rs[")).and_then(|rest| rest.split_once("]: "));
        text.unwrap_or_else(|| panic!("{line}")).1.to_owned()
    }

    /// Waits for the next line.
    #[track_caller]
    pub(crate) fn receive(&self) -> String {
        let mut line = [0; 4096];
        let length = self.0.recv(&mut line).expect("a line in the system log");
        String::from_utf8_lossy(&line[..length]).into_owned()
    }
}

pub(crate) const ERROR: u8 = 27;
pub(crate) const WARNING: u8 = 28;
pub(crate) const NOTICE: u8 = 29;

fn logs_a_failed_rollback() {
    director(WEB);
    let log = Log::open();
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs --state-dir s apply wanted --confirm-within 1s");
    assert_eq!(log.line(NOTICE), "plan 1 was not confirmed within 1s: rolled back");
    assert_eq!(rules(), WEB);

    ok("ip link add dummy0 type dummy");
    ok("ip link set dummy0 up");
    shell("ipvsadm --start-daemon master --mcast-interface dummy0 --syncid 5").ok();
    write("without", "{ \"schema\": 1, \"daemons\": [], \"services\": [] }");
    ok("ipvsadm-rs --state-dir s apply without --confirm-within 1s");
    ok("ip link del dummy0");
    for _ in 0..2 {
        let line = log.line(WARNING);
        assert!(line.starts_with("plan 2: trying to roll back again in "), "{line}");
    }
    let line = log.line(ERROR);
    assert!(line.starts_with("plan 2 was not confirmed within 1s: rollback failed: "), "{line}");
    let list = ok("ipvsadm-rs --state-dir s undo --list");
    assert!(list.contains("  rollback failed\n"), "{list}");
    assert!(list.contains("\n        cannot restore the table from before the plan"), "{list}");
    assert_eq!(rules(), WEB, "the services are restored");
}

fn refuses_times_out_of_range() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    for time in ["9000years", "31d", "18446744073709551615s", "soon"] {
        let ran = run(&format!("ipvsadm-rs apply wanted --confirm-within {time}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.starts_with("error: invalid value "), "{ran}");
    }
    assert_eq!(rules(), WEB);
}
