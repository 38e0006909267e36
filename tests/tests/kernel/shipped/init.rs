//! `/etc/init.d/ipvsadm`, as the package installs it.

use std::fs;

use ipvs_tests::command::{ok, run};

use super::package;

ipvs_tests::tests! {
    loads_and_saves, needs = "dpkg-dev", seconds = 120;
    starts_and_stops_as_configured, needs = "dpkg-dev", seconds = 120;
}

const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

fn write_settings(text: &str) {
    fs::write("/etc/default/ipvsadm", text).unwrap();
}

fn write_rules(text: &str) {
    fs::write("/etc/ipvsadm.rules", text).unwrap();
}

#[track_caller]
fn script(action: &str) -> String {
    ok(&format!("/etc/init.d/ipvsadm {action}"))
}

fn rules() -> String {
    ok("ipvsadm-save -n")
}

fn loads_and_saves() {
    package::install();
    write_rules(&format!("# ipvsadm.rules\n\n{WEB}"));
    ok("ipvsadm -A -f 7");
    script("load");
    assert_eq!(rules(), WEB);
    assert_eq!(script("status"), ok("ipvsadm -L -n"));
    assert_eq!(script("rate"), ok("ipvsadm -L -n --rate"));

    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0 -x 9");
    let changed = rules();
    script("save");
    ok("ipvsadm -C");
    script("load");
    assert_eq!(rules(), changed);

    // Files damaged by mistake change nothing.
    for (text, message) in [("", "has no rules"), ("# nothing\n\n", "has no rules"), ("-A -t x\n", "error")] {
        write_rules(text);
        let ran = run("/etc/init.d/ipvsadm load");
        assert!(ran.code == Some(1) && ran.stderr.contains(message), "{ran}");
        assert_eq!(rules(), changed);
    }
    let ran = run("/etc/init.d/ipvsadm dance");
    assert!(ran.code == Some(1) && ran.stderr.contains("usage"), "{ran}");
}

fn starts_and_stops_as_configured() {
    package::install();
    write_rules(WEB);
    ok("ipvsadm -A -f 7");
    let before = rules();
    for action in ["start", "reload", "force-reload", "restart", "stop"] {
        script(action);
        assert_eq!(rules(), before, "{action}: AUTO is false by default");
    }

    write_settings("AUTO=\"true\"\nDAEMON=\"both\"\nIFACE=\"lo\"\nSYNCID=\"5\"\n");
    for action in ["start", "start", "restart"] {
        script(action);
        assert_eq!(rules(), WEB, "{action}");
        let daemons = ok("ipvsadm -L --daemon");
        let roles: Vec<&str> = daemons.lines().filter_map(|line| line.split(" sync").next()).collect();
        assert_eq!(roles, ["master", "backup"], "{action}");
        assert_eq!(daemons.matches("mcast=lo, syncid=5").count(), 2, "{action}");
    }
    ok("ipvsadm -A -f 7");
    script("reload");
    assert_eq!(rules(), WEB);
    for _ in 0..2 {
        script("stop");
        assert_eq!((rules().as_str(), ok("ipvsadm -L --daemon").as_str()), ("", ""));
    }

    write_settings("DAEMON=\"all\"\n");
    let ran = run("/etc/init.d/ipvsadm start");
    assert!(ran.code == Some(1) && ran.stderr.contains("DAEMON must be"), "{ran}");
}
