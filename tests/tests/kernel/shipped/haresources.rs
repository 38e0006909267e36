//! The calls of Heartbeat's haresources, which preceded Pacemaker. Heartbeat itself is not installed.
//!
//! It calls an init script, or an agent through its wrapper `OCF`. A resource is its own if `status` prints `running` or
//! `OK`. The wrapper prints `running` if the agent succeeds and prints nothing.

use std::fs;

use ipvs_tests::command::{Ran, ok, shell};

use super::package;
use crate::under_test;

ipvs_tests::tests! {
    init_script_as_a_resource, needs = "dpkg-dev", seconds = 120;
    agent_as_a_resource, needs = "resource-agents", seconds = 120;
}

const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

fn is_owned(printed: &str) -> bool {
    let lower = printed.to_lowercase();
    !lower.contains("not running") && (lower.contains("running") || printed.contains("OK"))
}

/// Its `status` prints the table, as that of Debian's script does. Heartbeat therefore starts it at every takeover, and
/// stops it at every standby.
fn init_script_as_a_resource() {
    package::install();
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    fs::write("/etc/default/ipvsadm", "AUTO=\"true\"\nDAEMON=\"both\"\nIFACE=\"lo\"\n").unwrap();
    let call = |action: &str| shell(&format!("env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin /etc/init.d/ipvsadm {action}"));
    assert!(!is_owned(&call("status").stdout));
    for (action, rules, daemons) in [("start", WEB, 2), ("start", WEB, 2), ("stop", "", 0), ("stop", "", 0)] {
        call(action).ok();
        assert_eq!((ok("ipvsadm-save -n").as_str(), ok("ipvsadm -L --daemon").lines().count()), (rules, daemons));
        assert!(!is_owned(&call("status").stdout));
    }
}

/// The wrapper names no instance, and passes the lines of /etc/ha.d/conf/OCF/ipvs/INSTANCE as environment.
fn agent_as_a_resource() {
    under_test::install();
    under_test::install_agent();
    fs::write("/etc/ipvsadm.rules", WEB).unwrap();
    let call = |action: &str| -> Ran {
        let environment = "OCF_RES_NAME=ipvs OCF_STATUS_QOS=0 OCF_RESKEY_rules=/etc/ipvsadm.rules";
        shell(&format!("env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin {environment} {} {action}", under_test::AGENT))
    };
    let state = || {
        let ran = call("status");
        assert_eq!((ran.stdout.as_str(), call("monitor").code), ("", ran.code), "{ran}");
        ran.code
    };
    assert_eq!(state(), Some(7));
    for (action, rules, code) in [("start", WEB, 0), ("start", WEB, 0), ("stop", "", 7), ("stop", "", 7)] {
        call(action).ok();
        assert_eq!((ok("ipvsadm-save -n").as_str(), state()), (rules, Some(code)), "{action}");
    }
}
