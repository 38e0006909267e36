//! The lock is free while a process waits, drains or prints; signals roll a plan back.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ipvs_tests::command::{Running, ok, run, start};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::wait;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Signal, kill_process};

use crate::verbs::drain::{hold_connections, wait_for_the_drain};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    set_on_a_full_pipe_does_not_hold_the_lock;
    set_on_a_full_pipe_does_not_prevent_the_rollback;
    confirm_on_a_full_pipe_does_not_hold_the_lock;
    apply_on_a_full_pipe_does_not_hold_the_lock;
    set_succeeds_during_a_drain;
    undo_ends_a_drain;
    apply_is_refused_during_a_drain;
    changes_of_others_during_a_drain_stay;
    changes_made_after_a_drain_are_reported;
    confirm_is_refused_during_a_drain;
    plan_is_rolled_back_if_its_timer_died_during_the_drain;
    lock_that_stays_busy_after_a_drain_is_an_error;
    signals_end_a_drain_and_restore_the_weights;
    ignored_signal_does_not_end_a_drain;
    undo_after_sigkill_restores_the_weights;
    terminated_apply_leaves_the_old_or_the_new_table, seconds = 300;
}

/// A process whose output nobody reads.
struct Blocked {
    child: Child,
    _reader: std::io::PipeReader,
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command line. Its standard output and standard error are a pipe that is already full.
fn start_on_a_full_pipe(line: &str) -> Blocked {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut filled = &writer;
    while filled.write(&[b'x'; 4096]).is_ok() {}
    while filled.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(File::open("/dev/null").unwrap());
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    Blocked { child: command.spawn().unwrap(), _reader: reader }
}

/// Waits until the table has these rules.
fn wait_for(expected: &str) {
    wait::until(Duration::from_secs(30), || if rules() == expected { Ok(()) } else { Err(rules()) });
}

/// Asserts that the table is not locked, or is locked only for a moment.
fn assert_unlocked() {
    wait::until(Duration::from_secs(30), || {
        let ran = run("ipvsadm-rs --lock-timeout 0s set -r 10.0.0.2 --weight 7");
        if ran.code == Some(0) { Ok(()) } else { Err(ran.to_string()) }
    });
}

fn weight(weight: u32) -> String {
    WEB.replace("-w 3", &format!("-w {weight}"))
}

fn set_on_a_full_pipe_does_not_hold_the_lock() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    // While a plan is pending, `set` prints a note.
    ok("ipvsadm-rs apply wanted --confirm-within 60s");
    let set = start_on_a_full_pipe("ipvsadm-rs set -r 10.0.0.1 --weight 9");
    wait_for(&weight(9).replace("wrr", "wlc"));
    assert_unlocked();
    assert_eq!(ok("ipvsadm-rs --lock-timeout 0s confirm"), "plan 1 confirmed\n");
    drop(set);
}

fn set_on_a_full_pipe_does_not_prevent_the_rollback() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs apply wanted --confirm-within 3s");
    let set = start_on_a_full_pipe("ipvsadm-rs set -r 10.0.0.1 --weight 9");
    wait_for(WEB);
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm-rs undo --list");
        if list.contains("not confirmed in time") { Ok(()) } else { Err(list) }
    });
    drop(set);
}

fn confirm_on_a_full_pipe_does_not_hold_the_lock() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs apply wanted --confirm-within 60s");
    let confirm = start_on_a_full_pipe("ipvsadm-rs confirm");
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm-rs undo --list");
        if list.contains("pending") { Err(list) } else { Ok(()) }
    });
    // It needs some time to begin printing.
    std::thread::sleep(Duration::from_secs(1));
    assert_unlocked();
    drop(confirm);
}

fn apply_on_a_full_pipe_does_not_hold_the_lock() {
    director(WEB);
    for (weights, line) in [(3, "apply rules"), (4, "apply wanted")] {
        write("wanted", &weight(weights));
        let apply = start_on_a_full_pipe(&format!("ipvsadm-rs {line}"));
        wait_for(&weight(weights));
        // `apply rules` has nothing to change. It needs some time to begin printing that.
        std::thread::sleep(Duration::from_secs(1));
        assert_unlocked();
        drop(apply);
        ok("ipvsadm-rs set -r 10.0.0.2 --weight 1");
    }
}

/// Starts a drain and waits until it waits for connections.
fn drain(lab: &Nat, options: &str) -> Running {
    let apply = lab.director.start(&format!("ipvsadm-rs apply wanted --drain 60s {options}"));
    wait_for_the_drain(&lab.director);
    // The weights are recorded, and the table is unlocked, a moment after they are written.
    wait::until(Duration::from_secs(30), || {
        let ran = lab.director.run("ipvsadm-rs --lock-timeout 0s set -r 10.2.0.11 --weight 0");
        if ran.code == Some(0) { Ok(()) } else { Err(ran.to_string()) }
    });
    apply
}

/// Waits until a program has ended, and returns its output.
fn end(mut program: Running) -> String {
    wait::until(Duration::from_secs(30), || if program.is_running() { Err(program.output()) } else { Ok(()) });
    program.output()
}

fn set_succeeds_during_a_drain() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let apply = drain(&lab, "--keep-weights");
    for (server, end) in
        [("10.2.0.11", "it deletes the server afterwards"), ("10.2.0.12", "it may revert this change afterwards")]
    {
        let set = lab.director.run(&format!("ipvsadm-rs --lock-timeout 0s set -r {server} --weight 5"));
        assert_eq!(set.code, Some(0), "{set}");
        assert_eq!(set.stderr, format!("note: plan 1 is draining servers; {end}\n"));
    }
    drop(held);
    let output = end(apply);
    assert!(output.contains("1 change made: 0 added, 0 edited, 1 deleted"), "{output}");
    assert_eq!(
        lab.director.ok("ipvsadm-save -n"),
        "-A -t 10.1.0.100:9000 -s rr\n-a -t 10.1.0.100:9000 -r 10.2.0.12:9000 -m -w 5\n"
    );
    assert!(lab.director.ok("ipvsadm-rs undo --list").contains("  applied\n"));
}

fn undo_ends_a_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    for (options, undo) in [("", "undo"), ("", "undo --pending"), ("--confirm-within 60s", "undo --pending")] {
        let apply = drain(&lab, options);
        lab.director.ok(&format!("ipvsadm-rs --lock-timeout 0s {undo}"));
        assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
        let output = end(apply);
        assert!(output.contains("was undone while it was draining servers"), "{output}");
        assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
    }
    // The resource agent stops in this way.
    let apply = drain(&lab, "");
    lab.director.ok("ipvsadm-rs --lock-timeout 10s undo --pending");
    lab.director.ok("ipvsadm-rs --lock-timeout 10s apply /dev/null --allow-empty");
    end(apply);
    assert_eq!(lab.director.ok("ipvsadm-save -n"), "");
    let list = lab.director.ok("ipvsadm-rs undo --list");
    assert!(!list.contains("interrupted"), "{list}");
}

fn apply_is_refused_during_a_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let _apply = drain(&lab, "");
    write("other", "-A -t 10.1.0.100:9000 -s wlc\n");
    let ran = lab.director.run("ipvsadm-rs --lock-timeout 0s apply other");
    let message = "error: plan 1 is draining servers (pid ";
    let hint = "run `ipvsadm-rs undo` to roll it back, then try again.\n";
    assert!(ran.code == Some(1) && ran.stderr.contains(message) && ran.stderr.ends_with(hint), "{ran}");
    assert!(lab.director.ok("ipvsadm-rs undo --list").contains("  draining\n"));
}

fn changes_of_others_during_a_drain_stay() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let apply = drain(&lab, "--only 10.1.0.100/32 --listed-only");
    lab.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    lab.director.ok("ipvsadm -A -f 7 -s rr");
    lab.director.ok("ipvsadm -E -t 10.1.0.100:9000 -s wlc");
    drop(held);
    end(apply);
    assert_eq!(
        lab.director.ok("ipvsadm-save -n"),
        "-A -t 10.1.0.100:80 -s rr\n-A -t 10.1.0.100:9000 -s rr\n-a -t 10.1.0.100:9000 -r 10.2.0.12:9000 -m -w 1\n\
         -A -f 7 -s rr\n"
    );
}

/// Only web1 has a weight above 0 besides web2. After its drain, web2 is not moved any more. In the meantime the
/// scheduler is changed, which the plan reverts.
fn changes_made_after_a_drain_are_reported() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.13 -m -w 0");
    write(
        "wanted",
        "# ipvsadm-rs: order=kernel\n-A -t 10.1.0.100:9000 -s sh\n-a -t 10.1.0.100:9000 -r 10.2.0.13 -m -w 0\n\
         -a -t 10.1.0.100:9000 -r 10.2.0.12 -m -w 1\n",
    );
    let plan = director.run("ipvsadm-rs plan wanted --reorder");
    assert!(plan.stdout.contains("-d -t 10.1.0.100:9000 -r 10.2.0.12:9000"), "{plan}");
    let apply = drain(&lab, "--reorder");
    director.ok("ipvsadm -E -t 10.1.0.100:9000 -s wlc");
    drop(held);
    let output = end(apply);
    let end_of_output = output.rfind("~ -E").map_or("", |start| &output[start..]);
    assert!(end_of_output.starts_with("~ -E -t 10.1.0.100:9000 -s sh"), "{output}");
    assert!(end_of_output.contains("\n- -d -t 10.1.0.100:9000 -r 10.2.0.11:9000"), "{output}");
    let kept = "servers are not in the requested order; new connections would be refused while the only server with a";
    assert!(end_of_output.contains(kept), "{output}");
    assert!(end_of_output.contains("\n3 changes made: 0 added, 2 edited, 1 deleted"), "{output}");
    let list = director.ok("ipvsadm-rs undo --list");
    assert!(list.contains("      3  applied\n"), "{list}");
}

fn confirm_is_refused_during_a_drain() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let apply = drain(&lab, "--confirm-within 60s");
    let ran = lab.director.run("ipvsadm-rs --lock-timeout 0s confirm");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("plan 1 is draining servers\nConfirm it after its end"),
        "{ran}"
    );
    drop(held);
    let output = end(apply);
    assert!(output.contains("rolling back in 1m unless you run `ipvsadm-rs confirm`"), "{output}");
    assert_eq!(lab.director.ok("ipvsadm-rs confirm"), "plan 1 confirmed\n");
}

fn plan_is_rolled_back_if_its_timer_died_during_the_drain() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    let apply = drain(&lab, "--confirm-within 60s");
    let timers = "for p in /proc/[0-9]*; do grep -qs rollback[-]timer $p/cmdline && echo ${p#/proc/}; done";
    lab.director.shell(&format!("kill -9 $({timers})")).ok();
    assert_eq!(lab.director.run("ipvsadm-rs show").stderr, "note: plan 1 is pending; its changes are being made\n");
    drop(held);
    let output = end(apply);
    assert!(output.contains("has died: all changes were rolled back"), "{output}");
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
}

fn lock_that_stays_busy_after_a_drain_is_an_error() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    let apply = drain(&lab, "--state-dir s --lock-timeout 1s");
    let lock = lab.director.start("flock s/netns-director/lock sleep 60");
    std::thread::sleep(Duration::from_secs(1));
    drop(held);
    let output = end(apply);
    assert!(output.contains("cannot continue after the drain"), "{output}");
    drop(lock);
    lab.director.ok("ipvsadm-rs --state-dir s undo");
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
}

/// Shell command that starts a drain and waits until web1 has weight 0.
const DRAIN: &str = "ipvsadm-rs apply wanted --drain 60s & apply=$!
until ipvsadm-save -n | grep -q '10.2.0.11:9000 -m -w 0'; do sleep 0.1; done";

fn signals_end_a_drain_and_restore_the_weights() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let before = director.ok("ipvsadm-save -n");
    for (name, number) in [("TERM", 15), ("HUP", 1)] {
        let ran = director.shell(&format!("{DRAIN}; kill -{name} $apply; wait $apply; echo $?"));
        assert_eq!(ran.stdout, format!("{}\n", 128 + number), "{ran}");
        let message = format!("error: interrupted by SIG{name}: all changes were rolled back\n");
        assert!(ran.stderr.contains(&message), "{ran}");
        assert_eq!(director.ok("ipvsadm-save -n"), before);
        let list = director.ok("ipvsadm-rs undo --list");
        assert!(list.ends_with(&format!("      1  undone\n        interrupted by SIG{name}\n")), "{list}");
    }
    // A shell starts background programs with INT and QUIT ignored.
    for (name, signal) in [("INT", Signal::INT), ("QUIT", Signal::QUIT)] {
        let apply = drain(&lab, "--confirm-within 60s");
        kill_process(apply.pid(), signal).unwrap();
        let output = end(apply);
        assert!(output.contains(&format!("interrupted by SIG{name}: all changes were rolled back")), "{output}");
        assert_eq!(director.ok("ipvsadm-save -n"), before);
        assert_eq!(director.run("ipvsadm-rs confirm").stderr, "error: no plan is pending\n");
    }
}

fn ignored_signal_does_not_end_a_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    let ran = lab.director.shell(&format!(
        "trap '' HUP; {DRAIN}; kill -HUP $apply; sleep 2; kill -0 $apply || exit 9; kill -TERM $apply; wait $apply"
    ));
    assert!(ran.code == Some(143) && ran.stderr.contains("interrupted by SIGTERM"), "{ran}");
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
}

fn undo_after_sigkill_restores_the_weights() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    let apply = drain(&lab, "");
    drop(apply);
    assert!(lab.director.ok("ipvsadm-rs undo --list").contains("interrupted"));
    assert_eq!(lab.director.run("ipvsadm-rs undo --pending").code, Some(0), "nothing is pending");
    assert_ne!(lab.director.ok("ipvsadm-save -n"), before);
    lab.director.ok("ipvsadm-rs undo");
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);

    drop(drain(&lab, ""));
    let ran = lab.director.run("ipvsadm-rs apply wanted");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), "note: plan 3 was interrupted before its end\n"), "{ran}");
    assert!(!lab.director.ok("ipvsadm -Ln").contains("10.2.0.11"));
}

/// Returns one of two large tables.
fn table(second: bool) -> String {
    let mut rules = String::new();
    for port in 1000..1300 {
        writeln!(rules, "-A -t 192.0.2.1:{port} -s {}", if second { "wrr" } else { "rr" }).unwrap();
        for server in 1..=8 {
            writeln!(rules, "-a -t 192.0.2.1:{port} -r 10.0.{}.{server}:80 -m -w 1", u8::from(second)).unwrap();
        }
    }
    rules
}

fn terminated_apply_leaves_the_old_or_the_new_table() {
    let tables = [table(false), table(true)];
    director(&tables[0]);
    write("first", &tables[0]);
    write("second", &tables[1]);
    // The duration without a signal.
    let begun = Instant::now();
    ok("ipvsadm-rs apply second");
    let whole = begun.elapsed();
    let mut restored = 0;
    for step in 0..40 {
        let old = rules();
        let (file, new) = if old == tables[0] { ("second", &tables[1]) } else { ("first", &tables[0]) };
        let apply = start(&format!("ipvsadm-rs apply {file}"));
        std::thread::sleep(whole.mul_f64(f64::from(step) / 40.0));
        let _ = kill_process(apply.pid(), Signal::TERM);
        let output = end(apply);
        let left = rules();
        assert!(left == old || left == *new, "neither the old nor the new table: {output}");
        restored += i32::from(output.contains("interrupted by SIGTERM: all changes were rolled back"));
    }
    println!("of 40 applies that were terminated, {restored} were rolled back");
}
