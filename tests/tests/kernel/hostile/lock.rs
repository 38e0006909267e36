//! The lock of the table and the directory of the journal: foreign owners, links, removal, the name of the holder, and
//! full disks.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ipvs_tests::command::{Running, ok, run, shell, start};
use ipvs_tests::wait;
use rustix::process::{Signal, kill_process};

use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    forged_entry_in_a_foreign_directory;
    state_directory_that_others_can_write;
    state_directory_that_is_a_link;
    entry_of_another_user;
    lock_that_is_a_link;
    removed_lock_has_one_holder;
    locked_directory_of_others;
    holder_is_named;
    full_disk_after_the_changes;
    full_disk_before_the_changes;
    undo_on_a_full_disk;
}

/// Applies a plan with a journal in the directory `s`.
fn apply_once() -> String {
    director(WEB);
    let wanted = WEB.replace("wrr", "wlc");
    write("wanted", &wanted);
    ok("ipvsadm-rs --state-dir s apply wanted");
    wanted
}

/// Checks that no verb uses the journal, and that the table stays.
#[track_caller]
fn is_refused(why: &str) {
    let table = rules();
    write("other", &WEB.replace("wrr", "rr"));
    for verb in ["undo", "undo --list", "undo --pending", "confirm", "apply other", "set -r 10.0.0.1 --weight 9"] {
        let ran = run(&format!("ipvsadm-rs --state-dir s {verb}"));
        assert_eq!((ran.code, ran.stderr.contains(why)), (Some(1), true), "{ran}");
        assert_eq!(rules(), table, "{ran}");
    }
}

/// With a journal of an attacker, `undo` emptied the table.
fn forged_entry_in_a_foreign_directory() {
    apply_once();
    shell(r#"sed -i '2s/.*/{"services":[]}/' s/*/000001.json"#).ok();
    shell("chown -R 1000 s").ok();
    is_refused("cannot use the directory s: its owner is user 1000");
    shell("chown 0 s").ok();
    is_refused("its owner is user 1000");
}

fn state_directory_that_others_can_write() {
    apply_once();
    for mode in ["0777", "1777", "0720"] {
        shell(&format!("chmod {mode} s")).ok();
        is_refused(&format!("cannot use the directory s: other users may write to it (mode {mode})"));
    }
    shell("chmod 0755 s; chmod 0722 s/*").ok();
    is_refused("other users may write to it (mode 0722)");
    shell("chmod 0755 s/*").ok();
    ok("ipvsadm-rs --state-dir s undo");
    assert_eq!(rules(), WEB);
}

fn state_directory_that_is_a_link() {
    apply_once();
    shell("mv s other-place && ln -s other-place s").ok();
    is_refused("cannot use the directory s: it is a symbolic link");
}

fn entry_of_another_user() {
    let wanted = apply_once();
    shell("chown 1000 s/*/000001.json").ok();
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!((undo.code, undo.stderr.contains("its owner is user 1000")), (Some(1), true), "{undo}");
    shell("chown 0 s/*/000001.json; mv s/*/000001.json entry; ln -s $PWD/entry $(echo s/*)/000001.json").ok();
    assert_eq!(run("ipvsadm-rs --state-dir s undo").code, Some(1));
    assert_eq!(rules(), wanted);
}

fn lock_that_is_a_link() {
    let wanted = apply_once();
    write("victim", "precious");
    shell("rm s/*/lock; ln -s $PWD/victim $(echo s/*)/lock").ok();
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!(shell("cat victim").ok(), "precious");
    assert_eq!((undo.code, undo.stderr.contains("is not a regular file")), (Some(1), true), "{undo}");
    assert_eq!(rules(), wanted);
}

/// Returns a large table. Applying it takes a while.
fn large(scheduler: &str) -> String {
    let mut rules = String::new();
    for port in 1000..1400 {
        writeln!(rules, "-A -t 192.0.2.1:{port} -s {scheduler}").unwrap();
        for server in 1..5 {
            writeln!(rules, "-a -t 192.0.2.1:{port} -r 10.0.0.{server}:80 -m -w {server}").unwrap();
        }
    }
    rules
}

/// Starts `apply` and stops it while it holds the lock, before it has made all changes. So it still has to record their
/// outcome.
fn stopped_holder() -> Running {
    director("");
    let is_held = || shell("flock -n s/*/lock true").code != Some(0);
    for attempt in 0..20 {
        let wanted = large(if attempt % 2 == 0 { "wrr" } else { "wlc" });
        write("large", &wanted);
        let apply = start("ipvsadm-rs --state-dir s apply large");
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            // Before the first plan, the directory does not exist. The holder writes its record after it has the lock.
            if shell("test -s s/*/lock").code == Some(0) && is_held() {
                kill_process(apply.pid(), Signal::STOP).unwrap();
                break;
            }
        }
        if is_held() && rules() != wanted {
            return apply;
        }
        kill_process(apply.pid(), Signal::CONT).unwrap();
        drop(apply);
    }
    panic!("apply was never stopped while it held the lock and had changes to make");
}

/// Lets the holder continue, and waits for its end.
fn release(mut holder: Running) -> String {
    kill_process(holder.pid(), Signal::CONT).unwrap();
    wait::until(Duration::from_secs(30), || if holder.is_running() { Err(holder.output()) } else { Ok(()) });
    holder.output()
}

fn removed_lock_has_one_holder() {
    let holder = stopped_holder();
    shell("rm s/*/lock").ok();
    let second = run("ipvsadm-rs --state-dir s --lock-timeout 500ms apply --allow-empty /dev/null");
    assert_eq!((second.code, second.stderr.contains("is changing this table")), (Some(1), true), "{second}");
    let output = release(holder);
    assert!(output.contains("/lock was removed or replaced"), "{output}");
    ok("ipvsadm-rs --state-dir s apply --allow-empty /dev/null");
    assert_eq!(rules(), "");
}

fn holder_is_named() {
    let holder = stopped_holder();
    let named = format!("ipvsadm-rs --state-dir s apply large (pid {}, root, since ", holder.pid());
    let second = run("ipvsadm-rs --state-dir s --lock-timeout 500ms apply --allow-empty /dev/null");
    let lines: Vec<&str> = second.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{second}");
    assert!(lines[0].starts_with(&format!("note: waiting: {named}")), "{second}");
    assert!(lines[1].starts_with("error: cannot lock s/") && lines[1].contains(&named), "{second}");
    assert!(lines[..2].iter().all(|line| line.ends_with(" is changing this table")), "{second}");
    assert_eq!(lines[2], "Try again later, or wait longer with --lock-timeout.");
    // A record of a process that does not exist is not repeated.
    shell(r#"echo '{"pid":4194304,"uid":0,"since":"","command":"x"}' > $(echo s/*/lock)"#).ok();
    let second = run("ipvsadm-rs --state-dir s --lock-timeout 500ms apply --allow-empty /dev/null");
    assert!(second.stderr.starts_with("note: waiting: another ipvsadm-rs is changing this table\n"), "{second}");
    release(holder);
    assert_eq!(shell("cat s/*/lock").ok(), "");
}

/// Mounts a small file system for the journal.
fn small_disk() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    shell("mkdir s && mount -t tmpfs -o size=256k,mode=0700 small s").ok();
    // A first plan, so that the directory exists.
    ok("ipvsadm-rs --state-dir s apply wanted");
    ok("ipvsadm-rs --state-dir s undo");
}

fn fill_disk() {
    shell("cat /dev/zero > s/full");
    assert_ne!(shell("echo x > s/more").code, Some(0), "the disk is full");
}

/// The table was rolled back, and the journal said that its process had died.
fn full_disk_after_the_changes() {
    small_disk();
    ok("ipvsadm-rs --state-dir s apply wanted --confirm-within 2s");
    fill_disk();
    wait::until(Duration::from_secs(30), || {
        let list = ok("ipvsadm-rs --state-dir s undo --list");
        if list.contains("  not confirmed in time") { Ok(()) } else { Err(list) }
    });
    assert_eq!(rules(), WEB);
}

fn full_disk_before_the_changes() {
    small_disk();
    fill_disk();
    let pending = run("ipvsadm-rs --state-dir s apply wanted --confirm-within 60s");
    assert_eq!((pending.code, pending.stderr.contains("No space left on device")), (Some(1), true), "{pending}");
    assert_eq!(rules(), WEB);
    let names = shell("cd s/*; echo *").ok();
    assert!(!names.contains("000003"), "{names}");
    let applied = run("ipvsadm-rs --state-dir s apply wanted");
    assert_eq!(applied.code, Some(0), "{applied}");
    assert!(applied.stderr.starts_with("note: this plan cannot be undone: "), "{applied}");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
}

fn undo_on_a_full_disk() {
    small_disk();
    ok("ipvsadm-rs --state-dir s apply wanted");
    fill_disk();
    let undo = run("ipvsadm-rs --state-dir s undo");
    assert_eq!((undo.code, rules().as_str()), (Some(0), WEB), "{undo}");
    let list = ok("ipvsadm-rs --state-dir s undo --list");
    assert!(list.lines().last().unwrap().ends_with("  undone"), "{list}{undo}");
    assert_eq!(run("ipvsadm-rs --state-dir s undo").code, Some(1), "it is not undone twice");
}

/// A user who can open a directory can lock it, and never unlock it.
fn locked_directory_of_others() {
    director(WEB);
    shell("mkdir -m 0755 s").ok();
    let hold = |path: &str| {
        let holder = start(&format!("setpriv --reuid=1000 --clear-groups flock {path} sleep 60"));
        wait::until(Duration::from_secs(30), || {
            let is_held = shell(&format!("flock -n {path} true")).code != Some(0);
            is_held.then_some(()).ok_or_else(|| format!("{path} is not locked"))
        });
        holder
    };
    let _state = hold("s");
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs --lock-timeout 5s --state-dir s apply wanted");
    shell("chmod 0755 s/*").ok();
    let _journal = hold(shell("echo s/*").ok().trim());
    ok("ipvsadm-rs --lock-timeout 5s --state-dir s undo");
    assert_eq!(rules(), WEB);
}
