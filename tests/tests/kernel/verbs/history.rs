//! `ipvsadm-rs history` and `ipvsadm-rs restore`, and the way back from each command that changes a table.

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::Nat;
use serde_json::Value;

use super::confirm::Log;
use super::drain::hold_connections;
use super::{WEB, director, rules, write};
use crate::under_test;

ipvs_tests::tests! {
    every_command_is_listed;
    plan_is_shown;
    table_is_compared;
    undo_of_a_flush_restores_the_table;
    undo_reverts_the_last_command;
    undo_names_the_later_change;
    undo_keeps_weights_of_health_checkers;
    undo_asks_before_it_drops_connections;
    set_is_merged;
    set_does_not_replace_other_plans;
    restore_reverts_changes_of_others;
    classic_commands_work_without_a_journal;
    history_can_be_switched_off;
    history_needs_root;
    commands_are_logged;
    table_without_ipvs_has_no_journal;
}

const DNS: &str = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.9:53 -m -w 1\n";

/// Returns the column with the commands.
fn commands() -> Vec<String> {
    let list: Value = serde_json::from_str(&ok("ipvsadm-rs --json history")).unwrap();
    list["plans"].as_array().unwrap().iter().map(|plan| plan["command"].as_str().unwrap().to_owned()).collect()
}

fn every_command_is_listed() {
    under_test::install();
    write("rules", WEB);
    write("wanted", &WEB.replace("-w 3", "-w 4"));
    shell("ipvsadm-restore < rules").ok();
    ok("ipvsadm-rs apply wanted");
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 5");
    ok("ipvsadm-rs undo");
    shell("echo '-A -f 7 -s rr' | ipvsadm -R").ok();
    ok("ipvsadm-rs restore 2");
    shell("ipvsadm-restore --flush < wanted").ok();
    ok("ipvsadm -C");
    // Nothing changes.
    ok("ipvsadm -C");
    shell("ipvsadm-restore < rules; ipvsadm-restore < rules").ok();
    // Scripts run these very often.
    ok("ipvsadm -A -f 9 -s rr");
    ok("ipvsadm -D -f 9");
    let expected = [
        "ipvsadm-restore",
        "apply",
        "set",
        "undo",
        "ipvsadm -R",
        "restore",
        "ipvsadm-restore",
        "ipvsadm -C",
        "ipvsadm-restore",
    ];
    assert_eq!(commands(), expected);
    let list = ok("ipvsadm-rs history");
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let line = list.lines().nth(4).unwrap();
    assert!(line.starts_with("   4  20") && line.ends_with("  root      undo 3                 1  applied"), "{list}");
    assert!(list.lines().nth(3).unwrap().ends_with("  undone by 4"), "{list}");
}

fn plan_is_shown() {
    director(WEB);
    write("wanted", &format!("{}{DNS}", WEB.replace("-w 3", "-w 4")));
    shell("SSH_CONNECTION='192.0.2.7 50000 192.0.2.1 22' ipvsadm-rs apply wanted --only tcp").ok();
    let shown = shell("TZ=UTC ipvsadm-rs history show 1").ok();
    let (head, rest) = shown.split_once("time:    20").expect(&shown);
    assert_eq!(head, "plan:    1\ncommand: apply\nstate:   applied\n");
    let (time, rest) = rest.split_once('\n').unwrap();
    assert!(time.len() == 21 && time.ends_with(" UTC"), "{shown}");
    assert_eq!(
        rest,
        "user:    root (uid 0), by SSH from 192.0.2.7\nfile:    wanted\nscope:   --only tcp\nchanges: 1\n  \
         -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 4\n"
    );
    let shown: Value = serde_json::from_str(&ok("ipvsadm-rs --json history show 1")).unwrap();
    assert_eq!((&shown["author"]["ssh"], &shown["origin"]), (&"192.0.2.7".into(), &"this_table".into()), "{shown}");
    // Anybody can set the variable.
    shell("SSH_CONNECTION='$(reboot)' ipvsadm-rs set -r 10.0.0.1 --weight 9").ok();
    assert!(ok("ipvsadm-rs history show 2").contains("\nuser:    root (uid 0)\n"));
    assert_eq!(
        run("ipvsadm-rs history show 3").stderr,
        "error: no plan 3\nRun `ipvsadm-rs history` to list the plans.\n"
    );
}

fn table_is_compared() {
    director(WEB);
    write("first", &WEB.replace("-w 3", "-w 4"));
    write("second", &format!("{}{DNS}", WEB.replace("-w 3", "-w 5")));
    ok("ipvsadm-rs apply first");
    assert_eq!(ok("ipvsadm-rs history diff 1"), "no difference\n");
    ok("ipvsadm-rs apply second");
    ok("ipvsadm -D -u 192.0.2.1:53");
    let edit = "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n";
    assert_eq!(ok("ipvsadm-rs history diff 1"), edit);
    assert_eq!(ok("ipvsadm-rs history diff 2"), "-D -u 192.0.2.1:53\n");
    let both = format!("-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.9:53 -m -w 1\n{edit}");
    let mut lines: Vec<String> = ok("ipvsadm-rs history diff 1 2").lines().map(str::to_owned).collect();
    lines.sort();
    let mut expected: Vec<&str> = both.lines().collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    // Only the server that `set` changed is compared.
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 6");
    ok("ipvsadm -A -f 9 -s rr");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 8");
    let diff: Value = serde_json::from_str(&ok("ipvsadm-rs --json history diff 3")).unwrap();
    assert_eq!(diff["changes"], serde_json::json!(["-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 8"]), "{diff}");
}

/// Once, there was no way back.
fn undo_of_a_flush_restores_the_table() {
    let all = format!("{WEB}{DNS}");
    director(&all);
    ok("ipvsadm -C");
    assert_eq!(rules(), "");
    let undone = ok("ipvsadm-rs undo");
    assert!(undone.ends_with("5 changes made: 5 added, 0 edited, 0 deleted; no connections dropped\n"), "{undone}");
    assert_eq!(rules(), all);
    // A file that was restored by mistake.
    write("wrong", DNS);
    shell("ipvsadm-restore < wrong").ok();
    assert_eq!(rules(), DNS);
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), all);
    shell("ipvsadm-restore --flush < wrong").ok();
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), all);
    // A script with an error in its middle.
    write("script", "-E -t 192.0.2.1:80 -s lc\n-D -f 99\n-D -u 192.0.2.1:53\n");
    assert_eq!(shell("ipvsadm -R < script").code, Some(255));
    assert_eq!(rules(), WEB.replace("wrr", "lc"));
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), all);
}

/// Once, `undo` after `set` undid the last `apply`, which deleted a server with connections.
fn undo_reverts_the_last_command() {
    director(WEB);
    write("wanted", &format!("{WEB}-a -t 192.0.2.1:80 -r 10.0.0.3:8080 -m -w 7\n"));
    ok("ipvsadm-rs apply wanted");
    let applied = rules();
    ok("ipvsadm-rs set -r 10.0.0.3 --weight 0");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), applied);
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), WEB);
    assert_eq!(run("ipvsadm-rs undo").stderr, "error: no applied plan is left to undo\n");
}

fn undo_names_the_later_change() {
    director(WEB);
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 5");
    write("wanted", &format!("{}{DNS}", WEB.replace("-w 3", "-w 5").replace("wrr", "wlc")));
    ok("ipvsadm-rs apply wanted");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 6");
    ok("ipvsadm-rs set -u 192.0.2.1:53 --scheduler lc");
    let now = rules();
    let ran = run("ipvsadm-rs undo 1");
    let head = "cannot be undone, because these were changed again later:\n";
    assert_eq!(
        ran.stderr,
        format!(
            "error: plan 1 {head}  TCP 192.0.2.1:80, server 10.0.0.1:8080: by another program\n\
             Undo the later plans first, or run `ipvsadm-rs restore 1:before`.\n"
        )
    );
    let ran = run("ipvsadm-rs undo 2");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with(&format!("error: plan 2 {head}  UDP 192.0.2.1:53: by plan 3 (set)\n")), "{ran}");
    assert_eq!(rules(), now);
    ok("ipvsadm-rs undo 3");
    ok("ipvsadm-rs undo 2");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 6"));
}

fn undo_keeps_weights_of_health_checkers() {
    let web = WEB.replace("8080", "80");
    director(&web);
    write("wanted", &web.replace("-m -w 3", "-g -w 3"));
    ok("ipvsadm-rs apply wanted");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1 -g -w 0");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), web.replace("-w 3", "-w 0"));
}

fn undo_asks_before_it_drops_connections() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    let all = director.ok("ipvsadm-save -n");
    director.shell("IPVSADM_HISTORY=no ipvsadm-restore < wanted").ok();
    write("all", &all);
    director.ok("ipvsadm-rs apply all");
    drop(held);
    // Half of these go to the server that the undo deletes.
    let held = lab.client.client().hold(4, "10.1.0.100:9000");
    let ran = director.run("ipvsadm-rs undo");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.starts_with("error: this drops 2 active, "), "{ran}");
    assert!(
        ran.stderr.ends_with(
            ": nothing was changed\nUse --drain to wait until they have ended, or --allow-cut to drop them.\n"
        ),
        "{ran}"
    );
    let answer = |answer: &str| {
        let command = format!("(sleep 2; echo {answer}; sleep 2) | script -qec 'ipvsadm-rs undo' /dev/null");
        director.shell(&command).stdout
    };
    let refused = answer("n");
    assert!(refused.contains("Drop 2 active, ") && refused.contains("? [y/N] "), "{refused}");
    assert!(refused.contains("error: nothing was changed"), "{refused}");
    assert_eq!(director.ok("ipvsadm-save -n"), all);
    assert!(answer("y").contains("1 change made: 0 added, 0 edited, 1 deleted; dropped 2 active"));
    assert_eq!(director.ok("ipvsadm-save -n"), ok("cat wanted").replace("10.2.0.12 -m", "10.2.0.12:9000 -m -w 1"));
    drop(held);
    // The connections end, so the drain ends.
    director.ok("ipvsadm-rs restore 1:after");
    director.ok("ipvsadm-rs undo --drain 10m");
}

fn set_is_merged() {
    director(&format!("{WEB}{DNS}"));
    for weight in 10..30 {
        ok(&format!("ipvsadm-rs set -r 10.0.0.1 --weight {weight}"));
        ok(&format!("ipvsadm-rs set -r 10.0.0.9 --weight {weight}"));
    }
    let list = ok("ipvsadm-rs history");
    assert_eq!(list.lines().count(), 5, "{list}");
    assert!(list.contains("\n        20 commands until 20"), "{list}");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), format!("{}{DNS}", WEB.replace("-w 3", "-w 29")));
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), format!("{WEB}{DNS}"), "the table from before the first");
    // After something else was changed, there is a new plan.
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 40");
    ok("ipvsadm-rs set -t 192.0.2.1:80 --scheduler lc");
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 41");
    write("wanted", &format!("{WEB}{DNS}"));
    ok("ipvsadm-rs apply wanted");
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 42");
    assert_eq!(commands()[4..], ["set", "set", "apply", "set"]);
}

fn set_does_not_replace_other_plans() {
    let servers: String = (1..=120).map(|last| format!("-a -f 1 -r 10.0.0.{last}:80 -m -w 1\n")).collect();
    director(&format!("-A -f 1 -s rr\n{servers}"));
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 2");
    write("wanted", &rules().replace("-s rr", "-s wlc"));
    ok("ipvsadm-rs apply wanted");
    let sets: String = (1..=120).map(|last| format!("ipvsadm-rs set -r 10.0.0.{last} --weight 9\n")).collect();
    write("sets", &sets);
    ok("sh -e sets");
    let commands = commands();
    let count = |name: &str| commands.iter().filter(|command| *command == name).count();
    assert_eq!(count("apply"), 1, "{commands:?}");
    assert!((50..=116).contains(&count("set")), "{commands:?}");
}

fn restore_reverts_changes_of_others() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 4"));
    ok("ipvsadm-rs apply wanted");
    ok("ipvsadm -C");
    ok("ipvsadm -A -f 9 -s rr");
    let dry = run("ipvsadm-rs restore 1 --dry-run");
    assert_eq!((dry.code, dry.stdout.lines().last()), (Some(2), Some("-D -f 9")), "{dry}");
    assert_eq!(rules(), "-A -f 9 -s rr\n");
    ok("ipvsadm-rs restore 2:before");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 4"));
    ok("ipvsadm-rs restore 1:before");
    assert_eq!(rules(), WEB);
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 4"));
    // A plan of `set` knows only its server.
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 7");
    ok("ipvsadm -A -f 9 -s rr");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1");
    ok("ipvsadm-rs restore 6");
    assert_eq!(rules(), format!("{}-A -f 9 -s rr\n", WEB.replace("-w 3", "-w 7")));
    let file = run("ipvsadm-rs restore wanted");
    assert_eq!(file.code, Some(1));
    assert!(file.stderr.contains("To restore a file, run `ipvsadm-rs apply FILE`."), "{file}");
}

fn classic_commands_work_without_a_journal() {
    under_test::install();
    write("rules", WEB);
    shell("rm -rf /var/lib/ipvsadm-rs; echo > /var/lib/ipvsadm-rs").ok();
    for line in ["ipvsadm-restore < rules", "ipvsadm -C", "ipvsadm -R < rules"] {
        let ran = shell(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran}");
        assert!(
            ran.stderr.starts_with("note: this change cannot be undone: ") && ran.stderr.lines().count() == 1,
            "{ran}"
        );
    }
    assert_eq!(rules(), WEB);
    shell("rm /var/lib/ipvsadm-rs").ok();
}

fn history_can_be_switched_off() {
    under_test::install();
    write("rules", WEB);
    for value in ["0", "no"] {
        shell(&format!(
            "export IPVSADM_HISTORY={value}; ipvsadm -R < rules && ipvsadm -C && ipvsadm-restore < rules && ipvsadm -C"
        ))
        .ok();
    }
    assert_eq!(run("ipvsadm-rs history").stderr, "error: the journal is empty\n");
}

/// Once, a directory that could not be read was taken for an empty one.
fn history_needs_root() {
    director(WEB);
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 9");
    for verb in ["history", "undo --list", "history show 1"] {
        let ran = run(&format!("setpriv --reuid 1000 --clear-groups ipvsadm-rs {verb}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert!(ran.stderr.contains("Permission denied"), "{ran}");
    }
}

fn commands_are_logged() {
    director(WEB);
    let log = Log::open();
    let next = || log.receive().split_once("]: ").unwrap().1.to_owned();
    write("wanted", &WEB.replace("-w 3", "-w 4"));
    shell("SSH_CONNECTION='192.0.2.7 50000 192.0.2.1 22' ipvsadm-rs apply wanted").ok();
    assert_eq!(next(), "plan 1: apply wanted by root (uid 0), by SSH from 192.0.2.7: 1 change, applied");
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 5");
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 6");
    ok("ipvsadm-rs undo");
    assert_eq!(next(), "plan 2: set by root (uid 0): 1 change, applied");
    assert_eq!(next(), "plan 3: undo by root (uid 0): 1 change, applied");
    ok("ipvsadm -C");
    assert_eq!(next(), "plan 4: ipvsadm -C by root (uid 0): 1 change, applied");
    ok("ipvsadm-rs apply rules --confirm-within 60s");
    ok("ipvsadm-rs confirm");
    assert_eq!(next(), "plan 5: apply rules by root (uid 0): 3 changes, applied, and pending");
    assert_eq!(next(), "plan 5: confirm by root (uid 0): 3 changes, confirmed");
}

/// A user without privileges cannot open the table, either.
fn table_without_ipvs_has_no_journal() {
    under_test::install();
    write("wanted", WEB);
    shell("chmod 777 .").ok();
    let ran = run("setpriv --reuid 1000 --clear-groups ipvsadm-rs --state-dir s apply wanted");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert_eq!(run("test -e s").code, Some(1));
}
