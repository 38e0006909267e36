//! `ipvsadm-rs monitor`.

use std::time::Duration;

use ipvs_tests::command::{Running, ok, shell, start};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Http;
use ipvs_tests::wait;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::{WEB, director, rules, write};
use crate::under_test;

ipvs_tests::tests! {
    prints_a_snapshot_and_the_changes_of_any_program;
    prints_json_lines;
    prints_the_traffic;
    ends_when_its_reader_exits;
    ends_by_signals;
    does_not_lock_the_table;
    takes_a_new_snapshot_after_a_loss, own_kernel = true;
    names_of_interfaces_are_escaped;
}

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the lines, without their times, are exactly these. Blanks at the start of an expected line are ignored.
/// Remarks that the table was lost are ignored with the snapshots that follow: since Linux 7.1, the kernel resizes its
/// table after services were added.
fn wait_for_lines(monitor: &Running, expected: &[&str]) {
    wait::until(LIMIT, || {
        let output = monitor.output();
        let lines: Vec<&str> = output.lines().filter_map(|line| line.get("2026-11-27 16:02:11  ".len()..)).collect();
        let changes = |lines: &[&str]| -> Vec<String> {
            lines.iter().filter(|line| line.starts_with(['+', '~', '-'])).map(|line| line.to_string()).collect()
        };
        let snapshot: Vec<&str> = lines.iter().copied().take_while(|line| line.starts_with(['#', '='])).collect();
        let wanted: Vec<&str> = expected.iter().copied().take_while(|line| line.starts_with(['#', '='])).collect();
        if snapshot.ends_with(&wanted) && changes(&lines) == changes(expected) { Ok(()) } else { Err(output) }
    });
}

fn prints_a_snapshot_and_the_changes_of_any_program() {
    director(WEB);
    let monitor = start("ipvsadm-rs monitor --interval 100ms");
    let mut expected = vec![
        "# snapshot: 1 service, 2 servers",
        "= --set 900 120 300",
        "= -A -t 192.0.2.1:80 -s wrr",
        "= -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3",
        "= -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1 -x 100 -y 50",
    ];
    wait_for_lines(&monitor, &expected);
    for (command, line) in [
        (
            "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0",
            "~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0  # was -w 3",
        ),
        ("ipvsadm-rs set -t 192.0.2.1:80 -s rr", "~ -E -t 192.0.2.1:80 -s rr  # was -s wrr"),
        (
            "ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.2:8080",
            "- -d -t 192.0.2.1:80 -r 10.0.0.2:8080  # was -m -w 1 -x 100 -y 50",
        ),
        ("ipvsadm -A -f 7 -s lc", "+ -A -f 7 -s lc"),
        ("ipvsadm --set 901 0 0", "~ --set 901 120 300  # was 900 120 300"),
        (
            "ipvsadm --start-daemon backup --mcast-interface lo",
            "+ --start-daemon backup --mcast-interface lo --syncid 0 …",
        ),
    ] {
        ok(command);
        if let Some(start) = line.strip_suffix('…') {
            wait::until(LIMIT, || {
                let output = monitor.output();
                if output.lines().any(|line| line.contains(start)) { Ok(()) } else { Err(output) }
            });
        } else {
            expected.push(line);
            wait_for_lines(&monitor, &expected);
        }
    }
    let today = ok("date +%Y-%m");
    assert!(monitor.output().starts_with(today.trim()), "local time: {}", monitor.output());
}

/// Returns the objects that were printed so far.
fn objects(output: &str) -> Vec<Value> {
    let complete = output.rfind('\n').map_or("", |end| &output[..end]);
    complete.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn prints_json_lines() {
    director(WEB);
    let monitor = start("ipvsadm-rs monitor --interval 100ms --json-lines");
    let of = |event: &str| {
        wait::until(LIMIT, || {
            let output = monitor.output();
            objects(&output).into_iter().find(|object| object["event"] == event).ok_or(output)
        })
    };
    let snapshot = of("snapshot");
    assert_eq!(snapshot["schema"], 1);
    // A snapshot can be applied as a file.
    write("table", &snapshot["table"].to_string());
    ok("ipvsadm-rs plan table");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0");
    let change = of("change");
    let server = serde_json::json!({ "address": "10.0.0.1", "port": 8080 });
    assert_eq!((&change["action"], &change["item"], &change["server"]), (&"edit".into(), &"server".into(), &server));
    assert_eq!((&change["old"]["weight"], &change["new"]["weight"]), (&3.into(), &0.into()));
    let refused = shell("ipvsadm-rs --json monitor");
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("`monitor' does not use --json: use --json-lines"), "{refused}");
}

fn prints_the_traffic() {
    let lab = Nat::new().unwrap();
    under_test::install();
    for web in [&lab.web1, &lab.web2] {
        web.serve(Http, "0.0.0.0:80").unwrap();
    }
    lab.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    lab.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11 -m");
    lab.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12 -m -w 0");
    let monitor = lab.director.start("ipvsadm-rs monitor --stats");
    let is_service = |line: &str| line.contains("# TCP 10.1.0.100:80: ");
    let is_server = |line: &str| line.contains("# TCP 10.1.0.100:80, server 10.2.0.11:80: ");
    let output = wait::until(LIMIT, || {
        assert_eq!(lab.client.client().pages(5, "10.1.0.100:80").to_string(), "web1=5");
        let output = monitor.output();
        if output.lines().any(is_service) && output.lines().any(is_server) { Ok(output) } else { Err(output) }
    });
    let line = output.lines().find(|line| is_service(line)).unwrap();
    assert!(!line.contains(": 0 connections/s") && line.ends_with(" bits/s"), "{line}");
    assert!(!output.contains("10.2.0.12:80: "), "no traffic: {output}");
}

fn ends_when_its_reader_exits() {
    director(WEB);
    // Nothing changes, so nothing is written after the snapshot.
    let ran = shell("{ ipvsadm-rs monitor; echo $? > status; } | head -n 1");
    assert!(ran.ok().contains("# snapshot: 1 service, 2 servers"));
    wait::until(LIMIT, || match std::fs::read_to_string("status") {
        Ok(status) if status == "0\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let full = shell("ipvsadm-rs monitor > /dev/full");
    assert_eq!(full.code, Some(1), "{full}");
    assert!(full.stderr.contains("No space left"), "{full}");
}

fn ends_by_signals() {
    director(WEB);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut monitor = start("ipvsadm-rs monitor --interval 30s");
        wait_for_lines(&monitor, &["= -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1 -x 100 -y 50"]);
        kill_process(monitor.pid(), signal).unwrap();
        wait::until(LIMIT, || if monitor.is_running() { Err(format!("{signal:?}")) } else { Ok(()) });
    }
}

fn does_not_lock_the_table() {
    director(WEB);
    let mut monitor = start("ipvsadm-rs monitor --interval 1ms");
    wait_for_lines(&monitor, &["= -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1 -x 100 -y 50"]);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    ok("ipvsadm-rs --lock-timeout 0s apply wanted");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 5"));
    assert!(monitor.is_running(), "{}", monitor.output());
}

fn takes_a_new_snapshot_after_a_loss() {
    director("");
    let monitor = start("ipvsadm-rs monitor --interval 100ms");
    wait_for_lines(&monitor, &["# snapshot: 0 services, 0 servers", "= --set 900 120 300"]);
    // Otherwise its next reading would load the module again.
    kill_process(monitor.pid(), Signal::STOP).unwrap();
    let unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    kill_process(monitor.pid(), Signal::CONT).unwrap();
    let until = |count: usize, part: &str| {
        wait::until(LIMIT, || {
            let output = monitor.output();
            if output.matches(part).count() == count { Ok(output) } else { Err(output) }
        })
    };
    let lost = "# lost sight of the table: read the IPVS version: the kernel has no IPVS: cannot load the module ip_vs";
    let output = until(1, "# lost sight");
    assert!(output.contains(lost), "{output}");
    drop(unloaded);
    let output = until(2, "# snapshot: 0 services, 0 servers");
    assert_eq!(output.matches("# lost sight").count(), 1, "reported once: {output}");
    ok("ipvsadm -A -f 7 -s rr");
    wait::until(LIMIT, || {
        let output = monitor.output();
        if output.contains("+ -A -f 7 -s rr") { Ok(()) } else { Err(output) }
    });
}

/// The kernel accepts control characters in the name of an interface.
fn names_of_interfaces_are_escaped() {
    let lab = Nat::new().unwrap();
    under_test::install();
    lab.director.link("a\u{1b}[2Jb", "dummy").unwrap();
    lab.director.shell("ipvsadm --start-daemon backup --mcast-interface \"$(printf 'a\\033[2Jb')\"").ok();
    for (options, expected) in [
        ("", "= # ipvsadm cannot express: start the backup sync daemon\n"),
        (" --json-lines", r#""interface":"a\u001b[2Jb""#),
    ] {
        let monitor = lab.director.start(&format!("ipvsadm-rs monitor{options}"));
        wait::until(LIMIT, || {
            let output = monitor.output();
            if output.contains(expected) { Ok(()) } else { Err(output) }
        });
        assert!(!monitor.output().contains('\u{1b}'), "{:?}", monitor.output());
    }
}
