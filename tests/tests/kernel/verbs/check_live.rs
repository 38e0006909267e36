//! `ipvsadm-rs check --live`.

use std::time::Duration;

use ipvs_tests::command::{Ran, ok, run};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;

use super::{WEB, director, write};
use crate::under_test;

ipvs_tests::tests! {
    exits_as_a_plugin_of_nagios;
    reports_full_and_draining_servers;
    compares_with_a_file;
    failures_are_unknown;
    prints_json;
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `check --live --nagios`. Returns the exit code and the first line without performance data.
fn nagios(options: &str) -> (Option<i32>, String) {
    first_line(&run(&format!("ipvsadm-rs check --live --nagios {options}")))
}

fn first_line(ran: &Ran) -> (Option<i32>, String) {
    assert_eq!(ran.stderr, "", "{ran}");
    let line = ran.stdout.lines().next().unwrap_or_default();
    assert_eq!(ran.stdout.matches('|').count(), usize::from(ran.code != Some(3)), "{ran}");
    (ran.code, line.split(" | ").next().unwrap_or_default().to_owned())
}

fn exits_as_a_plugin_of_nagios() {
    director("");
    let none = "IPVS OK - 0 services and 0 servers checked";
    assert_eq!(nagios(""), (Some(0), none.into()));
    director(WEB);
    assert_eq!(nagios(""), (Some(0), "IPVS OK - 1 service and 2 servers checked".into()));
    ok("ipvsadm -A -t 192.0.2.2:80 -s rr");
    let (code, line) = nagios("");
    assert_eq!(
        (code, line.as_str()),
        (Some(2), "IPVS CRITICAL - 1 service has no servers, 2 services and 2 servers checked")
    );
    assert_eq!(nagios("--only 192.0.2.1").0, Some(0));
    ok("ipvsadm -a -t 192.0.2.2:80 -r 10.0.0.3 -m -w 0");
    let (code, line) = nagios("");
    assert_eq!(code, Some(2));
    assert!(line.contains("1 service has only servers of weight 0"), "{line}");
    ok("ipvsadm -E -t 192.0.2.2:80 -s sh");
    ok("ipvsadm -a -t 192.0.2.2:80 -r 10.0.0.4 -m -w 1");
    let (code, line) = nagios("");
    assert_eq!(code, Some(1), "{line}");
    assert!(line.starts_with("IPVS WARNING - 1 service refuses some new clients"), "{line}");

    // For a person, the services come first, the worst of them at the top.
    let ran = run("ipvsadm-rs check --live");
    assert_eq!(ran.code, Some(1));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("TCP 192.0.2.2:80: warning: 50.0 % of new clients are refused: sh "), "{ran}");
    assert_eq!(lines[1], "TCP 192.0.2.1:80: ok: 2 servers: 2 up");
    assert_eq!(lines[2], "warning: 1 service refuses some new clients, 2 services and 4 servers checked");
    assert_eq!(ok("ipvsadm-rs check --live --problems --only 192.0.2.1"), "ok: 1 service and 2 servers checked\n");
}

fn reports_full_and_draining_servers() {
    let nat = Nat::new().unwrap();
    let _servers = [&nat.web1, &nat.web2].map(|web| web.serve(Tcp, "0.0.0.0:7").unwrap());
    under_test::install();
    for command in [
        "ipvsadm -A -t 10.1.0.100:7 -s rr",
        "ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.11 -m -x 2",
        "ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.12 -m",
    ] {
        nat.director.ok(command);
    }
    let held = nat.client.client().hold(4, "10.1.0.100:7");
    assert_eq!(held.to_string(), "web1=2 web2=2");
    let check = || nat.director.run("ipvsadm-rs check --live --nagios");
    let (code, line) = first_line(&check());
    assert_eq!(
        (code, line.as_str()),
        (Some(1), "IPVS WARNING - 1 service has full servers, 1 service and 2 servers checked")
    );
    let ran = check();
    assert!(ran.stdout.contains(" full=1;0;;0 ") && ran.stdout.contains(" active_connections=4;"), "{ran}");
    assert!(ran.stdout.ends_with("\nTCP 10.1.0.100:7: warning: 2 servers: 1 up, 1 full\n"), "{ran}");

    // A drain is on purpose. If it leaves only full servers, all new clients are refused.
    nat.director.ok("ipvsadm-rs set -t 10.1.0.100:7 -r 10.2.0.12 -w 0");
    let (code, line) = first_line(&check());
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("1 service refuses all new clients"), "{line}");
    nat.director.ok("ipvsadm -e -t 10.1.0.100:7 -r 10.2.0.11 -m -x 0");
    let (code, line) = first_line(&check());
    assert_eq!(
        (code, line.as_str()),
        (Some(0), "IPVS OK - 1 service has draining servers, 1 service and 2 servers checked")
    );
    drop(held);
    wait::until(PATIENCE, || {
        let ran = check();
        if ran.stdout.contains(" active_connections=0;") { Ok(()) } else { Err(ran.to_string()) }
    });
}

fn compares_with_a_file() {
    director(WEB);
    write("rules", WEB);
    assert_eq!(nagios("rules"), (Some(0), "IPVS OK - 1 service and 2 servers checked".into()));
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 9");
    let ran = run("ipvsadm-rs check --live rules");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            Some(1),
            "TCP 192.0.2.1:80: ok: 2 servers: 2 up\n\
             rules: warning: the table differs: 1 change is needed\n  \
             -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n\
             warning: 1 change is needed to match rules, 1 service and 2 servers checked\n"
        )
    );
    assert_eq!(nagios("--keep-weights rules").0, Some(0));
    ok("ipvsadm -A -f 7 -s rr");
    ok("ipvsadm -a -f 7 -r 10.0.0.1:80 -g");
    assert_eq!(nagios("--keep-weights rules").0, Some(1));
    assert_eq!(nagios("--keep-weights --listed-only rules").0, Some(0));
    assert_eq!(nagios("--keep-weights --only tcp rules").0, Some(0));
    // A problem of the table is worse than a difference.
    ok("ipvsadm -C");
    ok("ipvsadm -A -t 192.0.2.1:80 -s wrr");
    let (code, line) = nagios("rules");
    assert_eq!(code, Some(2));
    assert!(line.contains("1 service has no servers, 2 changes are needed to match rules"), "{line}");
}

fn failures_are_unknown() {
    director(WEB);
    write("bad", "-A -t x\n");
    for line in ["check --live --nagios bad", "check --live --nagios missing"] {
        let (code, line) = first_line(&run(&format!("ipvsadm-rs {line}")));
        assert_eq!(code, Some(3), "{line}");
        assert!(line.starts_with("IPVS UNKNOWN - "), "{line}");
    }
    let ran = run("setpriv --bounding-set=-net_admin ipvsadm-rs check --live --nagios");
    assert_eq!(first_line(&ran).0, Some(3), "{ran}");
    assert!(ran.stdout.contains("permission denied"), "{ran}");
    for line in ["check --live missing", "check --live --netns no-such", "check --live --no-such-option"] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran}");
        assert!(ran.stderr.starts_with("error: "), "{ran}");
    }
    for line in ["check", "check --nagios rules", "check --problems", "check --live --keep-weights"] {
        assert_ne!(run(&format!("ipvsadm-rs {line}")).code, Some(0), "{line}");
    }
}

fn prints_json() {
    director(WEB);
    ok("ipvsadm -A -f 7 -s rr");
    write("rules", WEB);
    let ran = run("ipvsadm-rs check --live --json rules");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""));
    let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&verdict["schema"], &verdict["status"], &verdict["services"]),
        (&1.into(), &"critical".into(), &2.into())
    );
    assert_eq!(verdict["problems"]["no_servers"], 1);
    assert_eq!(verdict["servers"]["up"], 2);
    assert_eq!(verdict["checked"][0]["service"], serde_json::json!({ "fwmark": 7, "family": "ipv4" }));
    assert_eq!(verdict["checked"][0]["problem"], "no_servers");
    assert_eq!(verdict["checked"][1]["status"], "ok");
    assert_eq!(verdict["drift"]["changes"], serde_json::json!(["-D -f 7"]));
}
