//! The unit ipvsadm-rs-follow.service.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::{ok, run};
use ipvs_tests::wait;

use super::package;
use super::unit::System;

ipvs_tests::tests! {
    verifies, needs = "dpkg-dev", needs = "systemd", seconds = 120;
    keeps_the_table_equal_to_a_directory, needs = "dpkg-dev", needs = "systemd", seconds = 240;
}

const UNIT: &str = "ipvsadm-rs-follow";
const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

fn verifies() {
    package::install();
    let ran = run(&format!("systemd-analyze verify --man=no /usr/lib/systemd/system/{UNIT}.service"));
    assert!(ran.code == Some(0) && !ran.stderr.contains("ipvsadm"), "{ran}");
    let link = "/etc/systemd/system/multi-user.target.wants/ipvsadm-rs-follow.service";
    assert!(!fs::exists(link).unwrap(), "enabled by the installation");
    ok(&format!("systemctl --root=/ enable {UNIT}.service"));
    assert!(fs::symlink_metadata(link).is_ok());
    ok(&format!("systemctl --root=/ disable {UNIT}.service"));
}

fn keeps_the_table_equal_to_a_directory() {
    package::install();
    fs::create_dir("/etc/ipvsadm.d").unwrap();
    fs::write("/etc/ipvsadm.d/web.rules", WEB).unwrap();
    // Documents of another user, and a health check that needs a process.
    ok("chown 1000:1000 /etc/ipvsadm.d/web.rules");
    ok("chmod 600 /etc/ipvsadm.d/web.rules");
    let options = "OPTIONS=\"--max-change 30% --health true --good-after 1s --report /var/lib/ipvsadm-rs/reports\"";
    fs::write("/etc/default/ipvsadm-rs-follow", format!("SOURCE=\"/etc/ipvsadm.d\"\n{options}\n")).unwrap();
    let system = System::boot(&format!("Wants={UNIT}.service"));
    system.is_active(UNIT);
    let log = || system.run(&format!("journalctl --quiet --output cat --unit {UNIT}")).stdout;
    let wait_for = |wanted: &str| {
        wait::until(Duration::from_secs(60), || {
            let found = ok("ipvsadm-save -n");
            if found == wanted { Ok(()) } else { Err(format!("{found}{}", log())) }
        });
    };
    wait_for(WEB);
    let heavy = WEB.replace("-w 1", "-w 5");
    fs::write("/etc/ipvsadm.d/web.rules", &heavy).unwrap();
    wait_for(&heavy);
    wait::until(Duration::from_secs(60), || {
        let status = system.run("ipvsadm-rs follow status");
        if status.code == Some(0) && status.stdout.contains("state     good") {
            Ok(())
        } else {
            Err(format!("{status}{}", log()))
        }
    });
    // A reload compares at once.
    ok("ipvsadm -C");
    system.run(&format!("systemctl reload {UNIT}")).ok();
    wait_for(&heavy);
    // It starts again after a crash, and stops without a change.
    system.run(&format!("systemctl kill --signal KILL {UNIT}")).ok();
    ok("ipvsadm -C");
    wait_for(&heavy);
    system.run(&format!("systemctl stop {UNIT}")).ok();
    assert_eq!(ok("ipvsadm-save -n"), heavy);
    assert_eq!(system.run("ipvsadm-rs follow status").code, Some(2));
}
