//! `/etc/init.d/ipvsadm`, as the package installs it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::wait;

use super::package;
use crate::verbs::drain::{hold_connections, wait_for_the_drain};

ipvs_tests::tests! {
    loads_and_saves, needs = "dpkg-dev", seconds = 120;
    starts_and_stops_as_configured, needs = "dpkg-dev", seconds = 120;
    status_is_that_of_the_lsb, needs = "dpkg-dev", seconds = 120;
    loads_the_file_of_rhel, needs = "dpkg-dev", seconds = 120;
    keeps_good_services_if_asked, needs = "dpkg-dev", seconds = 120;
    runs_in_any_environment, needs = "dpkg-dev", seconds = 240;
    stop_ends_a_pending_plan, needs = "dpkg-dev", seconds = 120;
    stop_ends_a_drain, needs = "dpkg-dev", seconds = 120;
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

/// A cluster calls `status` on every node before it starts the class lsb:ipvsadm.
fn status_is_that_of_the_lsb() {
    package::install();
    write_rules(WEB);
    let status = || {
        let ran = run("/etc/init.d/ipvsadm status");
        assert_eq!(ran.stdout, ok("ipvsadm -L -n"));
        ran.code.unwrap()
    };
    write_settings("AUTO=\"true\"\n");
    assert_eq!(status(), 3);
    for _ in 0..2 {
        script("start");
        assert_eq!(status(), 0);
    }
    ok("ipvsadm -C");
    assert_eq!(status(), 3, "the table was lost");
    script("start");
    for _ in 0..2 {
        script("stop");
        assert_eq!(status(), 3);
    }
    write_settings("DAEMON=\"backup\"\nIFACE=\"lo\"\n");
    assert_eq!(status(), 3);
    script("start");
    assert_eq!(status(), 0);
    script("stop");
    ok("ipvsadm --start-daemon master --mcast-interface lo");
    assert_eq!(status(), 3, "the daemon of another program");
    let nobody = run("setpriv --reuid 65534 --clear-groups /etc/init.d/ipvsadm status");
    assert_eq!(nobody.code, Some(4), "{nobody}");
}

fn loads_the_file_of_rhel() {
    package::install();
    let _ = fs::remove_file("/etc/ipvsadm.rules");
    fs::create_dir_all("/etc/sysconfig").unwrap();
    fs::write("/etc/sysconfig/ipvsadm", WEB).unwrap();
    script("load");
    assert_eq!(rules(), WEB);
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7");
    script("save");
    let saved = fs::read_to_string("/etc/sysconfig/ipvsadm").unwrap();
    assert!(saved.ends_with(&WEB.replace("-w 1", "-w 7")), "{saved}");
    assert!(!fs::exists("/etc/ipvsadm.rules").unwrap());
}

fn keeps_good_services_if_asked() {
    package::install();
    write_rules(&format!("{WEB}-A -f 7 -s rr -p x\n"));
    let ran = run("/etc/init.d/ipvsadm load");
    assert!(ran.code == Some(1) && ran.stderr.contains("The table is empty: no service is available."), "{ran}");
    write_settings("SKIP_BAD_SERVICES=true\n");
    let ran = run("/etc/init.d/ipvsadm load");
    assert!(ran.code == Some(4) && ran.stderr.contains("/etc/ipvsadm.rules:3:"), "{ran}");
    assert_eq!(rules(), WEB);
}

/// Runs with the PATH of `su` and cron, without variables, without a working directory and standard input, and with any
/// umask.
fn runs_in_any_environment() {
    package::install();
    write_settings("AUTO=\"true\"\nDAEMON=\"backup\"\nIFACE=\"lo\"\n");
    for environment in ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/games", "PATH=/usr/bin:/bin", "PATH=", ""] {
        for umask in ["0", "077"] {
            write_rules(WEB);
            let action = |name: &str| {
                let there = format!("mkdir -p gone && cd gone && rmdir ../gone && umask {umask}");
                let ran = shell(&format!("{there} && exec env -i {environment} /etc/init.d/ipvsadm {name} <&-"));
                assert!(ran.code == Some(0), "{environment}, umask {umask}, {name}: {ran}");
                ran.stdout
            };
            action("start");
            assert_eq!((rules().as_str(), ok("ipvsadm -L --daemon").lines().count()), (WEB, 1));
            fs::remove_file("/etc/ipvsadm.rules").unwrap();
            action("save");
            let mode = fs::metadata("/etc/ipvsadm.rules").unwrap().mode();
            assert_eq!(mode & 0o022, 0, "only root can change the saved rules: {mode:o}, umask {umask}");
            for name in ["load", "reload", "force-reload", "restart"] {
                action(name);
                assert_eq!(rules(), WEB, "{name}");
            }
            assert_eq!(action("status"), ok("ipvsadm -L -n"));
            assert_eq!(action("rate"), ok("ipvsadm -L -n --rate"));
            action("stop");
            assert_eq!((rules().as_str(), ok("ipvsadm -L --daemon").as_str()), ("", ""));
        }
    }
    fs::remove_file("/etc/default/ipvsadm").unwrap();
    write_rules(WEB);
    for (name, found) in [("start", ""), ("load", WEB), ("stop", WEB)] {
        shell(&format!("env -i PATH= /etc/init.d/ipvsadm {name}")).ok();
        assert_eq!(rules(), found, "{name}");
    }
}

/// Otherwise, the rollback timer would restore the old table after the stop.
fn stop_ends_a_pending_plan() {
    package::install();
    write_settings("AUTO=\"true\"\n");
    write_rules(WEB);
    script("start");
    fs::write("other", WEB.replace("rr", "wlc")).unwrap();
    ok("ipvsadm-rs apply other --confirm-within 60s");
    script("stop");
    assert_eq!(rules(), "");
    let list = ok("ipvsadm-rs undo --list");
    assert!(list.lines().nth(2).is_some_and(|line| line.contains("  undone")), "{list}");
    script("start");
    assert_eq!(rules(), WEB);
}

fn stop_ends_a_drain() {
    package::install();
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    write_settings("AUTO=\"true\"\n");
    let served = director.ok("ipvsadm-save -n");
    write_rules(&served);
    let mut apply = director.start("ipvsadm-rs apply wanted --drain 60s");
    wait_for_the_drain(director);
    director.ok("/etc/init.d/ipvsadm stop");
    assert_eq!(director.ok("ipvsadm-save -n"), "");
    wait::until(Duration::from_secs(30), || if apply.is_running() { Err(apply.output()) } else { Ok(()) });
    assert_eq!(director.ok("ipvsadm-save -n"), "");
    director.ok("/etc/init.d/ipvsadm start");
    assert_eq!(director.ok("ipvsadm-save -n"), served);
}
