//! The unit ipvsadm-rs.service: enabled as by an operator, and started by a systemd that boots in the guest.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipvs_tests::command::{Ran, Running, install, ok, run, shell, start};
use ipvs_tests::wait;

use super::package;
use crate::under_test;

ipvs_tests::tests! {
    verifies_and_enables, needs = "dpkg-dev", needs = "systemd", seconds = 120;
    reads_rules_of_another_user, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    loads_at_boot_and_reloads, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    reload_deletes_services_that_left_the_file, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    loads_the_file_of_rhel, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    reports_errors_and_keeps_good_services_if_asked, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    reports_rules_that_were_deleted, needs = "dpkg-dev", needs = "systemd", seconds = 180;
    rolls_back_after_the_end_of_the_unit, needs = "systemd", seconds = 180;
}

fn verifies_and_enables() {
    package::install();
    let ran = run("systemd-analyze verify --man=no /usr/lib/systemd/system/ipvsadm-rs.service");
    assert!(ran.code == Some(0) && !ran.stderr.contains("ipvsadm"), "{ran}");
    let link = |name| fs::read_link(format!("/etc/systemd/system/{name}")).ok();
    let unit = || Some(PathBuf::from("/lib/systemd/system/ipvsadm-rs.service"));
    assert_eq!(link("ipvsadm.service"), None, "not enabled by the installation");
    ok("systemctl --root=/ enable ipvsadm-rs.service");
    for name in ["ipvsadm.service", "multi-user.target.wants/ipvsadm-rs.service"] {
        assert_eq!(link(name), unit(), "{name}");
    }
    ok("systemctl --root=/ disable ipvsadm-rs.service");
    assert_eq!(link("ipvsadm.service"), None);
}

const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

/// The unit once lacked the capability to read a file of another owner.
fn reads_rules_of_another_user() {
    package::install();
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    ok("chown 1000:1000 /etc/ipvsadm.rules");
    ok("chmod 600 /etc/ipvsadm.rules");
    let system = System::boot("Wants=ipvsadm-rs.service");
    system.is_active("ipvsadm-rs");
    assert_eq!(ok("ipvsadm-save -n"), WEB);
    fs::write("/etc/ipvsadm.rules", WEB.replace("-w 1", "-w 5")).unwrap();
    ok("chmod 0 /etc/ipvsadm.rules");
    system.run("systemctl reload ipvsadm-rs").ok();
    assert_eq!(ok("ipvsadm-save -n"), WEB.replace("-w 1", "-w 5"));
}

fn loads_at_boot_and_reloads() {
    package::install();
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    ok("ipvsadm -A -f 7");
    ok("systemctl --root=/ enable ipvsadm-rs.service");
    let system = System::boot("Wants=ipvsadm-rs.service");
    system.is_active("ipvsadm-rs");
    assert_eq!(ok("ipvsadm-save -n"), format!("{WEB}-A -f 7 -s wlc\n"), "other services stay");

    // `service` uses the alias ipvsadm.service, which has precedence over the init script.
    fs::write("/etc/ipvsadm.rules", WEB.replace("-w 1", "-w 5")).unwrap();
    system.run("service ipvsadm reload").ok();
    let reloaded = format!("{}-A -f 7 -s wlc\n", WEB.replace("-w 1", "-w 5"));
    assert_eq!(ok("ipvsadm-save -n"), reloaded);
    system.run("systemctl stop ipvsadm-rs").ok();
    assert_eq!(ok("ipvsadm-save -n"), reloaded);

    // `service` passes verbs that are not systemctl actions to the init script.
    ok("ipvsadm -D -f 7");
    system.run("service ipvsadm save").ok();
    assert_eq!(system.run("service ipvsadm rate").ok(), ok("ipvsadm -L -n --rate"));
    system.run("systemctl start ipvsadm").ok();
    let log = system.run("journalctl --quiet --output cat --unit ipvsadm-rs").ok();
    assert!(log.contains("nothing to change"), "{log}");

    // Outside the sandbox of the service, the program finds the journal that the service wrote.
    assert_eq!(system.run("ipvsadm-rs undo --list").ok().lines().count(), 3);
    system.run("ipvsadm-rs undo").ok();
    assert_eq!(ok("ipvsadm-save -n"), WEB);

    fs::write("/etc/ipvsadm.rules", "-A -t x\n").unwrap();
    assert_ne!(system.run("systemctl reload ipvsadm-rs").code, Some(0));
    assert_eq!(ok("ipvsadm-save -n"), WEB);
}

const OTHER: &str = "-A -t 192.0.2.2:80 -s rr\n-a -t 192.0.2.2:80 -r 10.0.0.2:80 -m -w 1\n";

/// Returns the lines of the table, sorted.
fn table() -> Vec<String> {
    sorted(&[&ok("ipvsadm-save -n")])
}

fn sorted(texts: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn log_of_the_unit(system: &System) -> String {
    system.run("journalctl --quiet --output cat --unit ipvsadm-rs").ok()
}

fn reload_deletes_services_that_left_the_file() {
    package::install();
    fs::write("/etc/ipvsadm.rules", format!("{WEB}{OTHER}")).unwrap();
    ok("ipvsadm -A -f 7 -s rr");
    let system = System::boot("Wants=ipvsadm-rs.service");
    system.is_active("ipvsadm-rs");
    assert_eq!(table(), sorted(&[WEB, OTHER, "-A -f 7 -s rr"]));

    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    system.run("systemctl reload ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[WEB, "-A -f 7 -s rr"]), "other services stay");
    fs::write("/etc/ipvsadm.rules", OTHER).unwrap();
    system.run("systemctl restart ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[OTHER, "-A -f 7 -s rr"]));

    // An empty file is probably a mistake.
    fs::write("/etc/ipvsadm.rules", "# nothing\n").unwrap();
    assert_ne!(system.run("systemctl reload ipvsadm-rs").code, Some(0));
    assert_eq!(table(), sorted(&[OTHER, "-A -f 7 -s rr"]));
    assert!(log_of_the_unit(&system).contains("/etc/ipvsadm.rules has no rules: the table is left unchanged"));
}

fn loads_the_file_of_rhel() {
    package::install();
    fs::create_dir_all("/etc/sysconfig").unwrap();
    fs::write("/etc/sysconfig/ipvsadm", WEB).unwrap();
    let system = System::boot("Wants=ipvsadm-rs.service");
    system.is_active("ipvsadm-rs");
    assert_eq!(table(), sorted(&[WEB]));
    fs::write("/etc/sysconfig/ipvsadm", WEB.replace("-w 1", "-w 5")).unwrap();
    system.run("systemctl reload ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[&WEB.replace("-w 1", "-w 5")]));

    fs::write("/etc/ipvsadm.rules", OTHER).unwrap();
    system.run("systemctl reload ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[OTHER]), "/etc/ipvsadm.rules has precedence");
}

/// ipvsadm 1.31 would load the lines before the one with an error.
fn reports_errors_and_keeps_good_services_if_asked() {
    package::install();
    fs::write("/etc/ipvsadm.rules", format!("{WEB}{}", OTHER.replace("-w 1", "-w x"))).unwrap();
    let system = System::boot("");
    system.is_active("lab.target");
    assert_ne!(system.run("systemctl start ipvsadm-rs").code, Some(0));
    assert_eq!(table(), sorted(&[]));
    let log = log_of_the_unit(&system);
    for line in [
        "/etc/ipvsadm.rules was not loaded: the table is left unchanged",
        "The table is empty: no service is available.",
        "To load the services without errors, set SKIP_BAD_SERVICES=true in /etc/default/ipvsadm.",
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line}: {log}");
    }
    assert!(log.contains("/etc/ipvsadm.rules:4:"), "{log}");

    fs::write("/etc/default/ipvsadm", "SKIP_BAD_SERVICES=true\n").unwrap();
    assert_ne!(system.run("systemctl start ipvsadm-rs").code, Some(0), "the error is still noticed");
    assert_eq!(table(), sorted(&[WEB]));

    // The services of the load with errors are known when they leave the file.
    fs::write("/etc/default/ipvsadm", "").unwrap();
    fs::write("/etc/ipvsadm.rules", OTHER).unwrap();
    system.run("systemctl start ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[OTHER]));
    assert!(!fs::exists("/var/lib/ipvsadm-rs/loaded-partly.rules").unwrap());
}

fn reports_rules_that_were_deleted() {
    package::install();
    let _ = fs::remove_file("/etc/ipvsadm.rules");
    let system = System::boot("Wants=ipvsadm-rs.service");
    system.is_active("lab.target");
    system.run("systemctl start ipvsadm-rs").ok();
    assert_ne!(system.run("systemctl is-failed ipvsadm-rs").code, Some(0), "there never were rules");
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    system.run("systemctl start ipvsadm-rs").ok();

    fs::remove_file("/etc/ipvsadm.rules").unwrap();
    assert_ne!(system.run("systemctl restart ipvsadm-rs").code, Some(0));
    let log = log_of_the_unit(&system);
    assert!(log.contains("The rules that were loaded last are in /var/lib/ipvsadm-rs/loaded.rules."), "{log}");
    ok("cp /var/lib/ipvsadm-rs/loaded.rules /etc/ipvsadm.rules");
    ok("ipvsadm -C");
    system.run("systemctl start ipvsadm-rs").ok();
    assert_eq!(table(), sorted(&[WEB]));
}

/// A unit ends with all its processes. The rollback timer has a scope of its own.
fn rolls_back_after_the_end_of_the_unit() {
    under_test::install();
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    ok("ipvsadm-rs apply /etc/ipvsadm.rules");
    let wanted = WEB.replace("-w 1", "-w 5");
    fs::write("/etc/wanted", &wanted).unwrap();
    let system = System::boot("");
    system.is_active("lab.target");
    let apply = |options: &str, confirm_within: &str| {
        let apply = format!("/usr/sbin/ipvsadm-rs apply /etc/wanted --confirm-within {confirm_within}");
        system.run(&format!("systemd-run --service-type=oneshot {options} {apply}")).ok();
    };
    let rolled_back = || {
        wait::until(Duration::from_secs(30), || {
            let list = system.run("ipvsadm-rs undo --list").stdout;
            let mut remarks = list.lines().rev().take_while(|line| line.starts_with("        "));
            let is_recorded = remarks.any(|line| line.contains("not confirmed in time"));
            if is_recorded { Ok(()) } else { Err(list) }
        });
        assert_eq!(ok("ipvsadm-save -n"), WEB);
    };
    apply("--unit=first", "15s");
    assert_eq!(ok("ipvsadm-save -n"), wanted, "not rolled back by the end of the unit");
    rolled_back();

    // The end of the scope is reported by SIGTERM.
    apply("--unit=second", "10m");
    assert_eq!(ok("ipvsadm-save -n"), wanted);
    let scopes = || system.run("systemctl --no-legend --plain list-units ipvsadm-rs-rollback-*").ok();
    let listed = scopes();
    assert!(listed.contains("Rollback of plan 3 of ipvsadm-rs") && listed.lines().count() == 1, "{listed}");
    system.run(&format!("systemctl stop {}", listed.split_whitespace().next().unwrap())).ok();
    rolled_back();
    wait::until(Duration::from_secs(30), || if scopes().is_empty() { Ok(()) } else { Err(scopes()) });

    // In a sandbox that cannot reach systemd, the timer is part of the unit.
    apply("--unit=sandboxed --property=InaccessiblePaths=/run/systemd/private", "10m");
    rolled_back();
    let warning = "warning: if sandboxed.service ends, the plan is rolled back early, or never if the rollback timer is killed: systemd-run: ";
    // The journal may have the last lines first.
    wait::until(Duration::from_secs(30), || {
        let log = system.run("journalctl --quiet --output cat --unit sandboxed").ok();
        if log.lines().any(|line| line.starts_with(warning)) { Ok(()) } else { Err(log) }
    });
}

/// A systemd that starts only these units and their dependencies.
pub(super) struct System {
    unshare: Running,
}

impl System {
    /// Boots with these dependencies.
    pub(super) fn boot(dependencies: &str) -> System {
        shell("mount -t cgroup2 cgroup2 /sys/fs/cgroup && rm /usr/sbin/runlevel").ok();
        let folder = "/etc/systemd/system";
        // These read the whole machine, or change kernel settings outside this test.
        for unit in ["tmpfiles-setup", "tmpfiles-setup-dev", "sysctl", "remount-fs", "sysusers", "update-utmp", "udevd"]
        {
            install("/dev/null", format!("{folder}/systemd-{unit}.service")).unwrap();
        }
        fs::write(format!("{folder}/lab.target"), format!("[Unit]\n{dependencies}\n")).unwrap();
        let systemd =
            "env container=lab /lib/systemd/systemd --system --unit=lab.target --log-target=null --show-status=no";
        System { unshare: start(&format!("unshare --fork --pid --mount --mount-proc --kill-child {systemd}")) }
    }

    pub(super) fn is_active(&self, unit: &str) {
        wait::until(Duration::from_secs(100), || {
            let ran = self.run(&format!("systemctl is-active {unit}"));
            if ran.stdout.trim() == "active" { Ok(()) } else { Err(format!("{ran}\n{}", self.unshare.output())) }
        });
    }

    /// Runs a command in the namespaces of systemd.
    pub(super) fn run(&self, line: &str) -> Ran {
        let unshare = self.unshare.pid().as_raw_nonzero();
        let child = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap_or_default();
        run(&format!("nsenter --target {} --pid --mount {line}", child.trim()))
    }
}
