//! crmsh, the shell of clusters on SUSE and Debian.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::run_with_input;
use ipvs_tests::lab::cluster::{Cluster, patient_shell};

use super::pair::{Pair, RULES};
use crate::operations::page::{self, Page};
use crate::operations::{OPERATIONS, install_curl};
use crate::under_test;

ipvs_tests::tests! {
    lists_and_describes_the_agent, needs = "pacemaker", needs = "crmsh", seconds = 120;
    page_about_crmsh, needs = "pacemaker", needs = "crmsh", seconds = 400;
    colocation_and_order_without_a_group, needs = "pacemaker", needs = "crmsh", seconds = 400;
}

fn lists_and_describes_the_agent() {
    under_test::install();
    under_test::install_agent();
    assert_eq!(patient_shell("crm ra list ocf ipvsadm-rs").ok().trim(), "ipvs");
    let info = patient_shell("crm ra info ocf:ipvsadm-rs:ipvs").ok();
    assert!(info.contains("keep_weights (boolean, [true])"), "{info}");
    let monitors: Vec<&str> = info.lines().filter(|line| line.starts_with("    monitor ")).collect();
    assert!(matches!(monitors[..], [one] if one.contains("interval=10s")), "{info}");
}

const OTHER: &str = "director2";

fn page_about_crmsh() {
    let pair = Pair::new(["director1", "director2"]);
    let cluster = Cluster::start(&pair.nodes()).unwrap();
    install_curl();
    fs::write("/tmp/lvs.crm", page::block_after(OPERATIONS, "Write this configuration to `/tmp/lvs.crm`:")).unwrap();
    Page::of(OPERATIONS, "A cluster with crmsh", &["client", "director1", "director2"]).run(|name, command| {
        if name == "client" { pair.client.shell(command) } else { cluster.shell_on(name, command) }
    });
    pair.serves();
    assert_eq!((cluster.nodes_of("table"), cluster.nodes_of("address")), (vec![OTHER.into()], vec![OTHER.into()]));
    assert_eq!(cluster.ok_on("director1", "ipvsadm-save -n"), "");
    assert_eq!(cluster.ok_on(OTHER, "ipvsadm-save -n"), RULES);
}

/// The commands of an interactive session.
const SESSION: &str = "\
configure
primitive table ocf:ipvsadm-rs:ipvs op monitor interval=10s timeout=20s
primitive address ocf:heartbeat:IPaddr2 params ip=10.1.0.100 nic=eth0 cidr_netmask=32 op monitor interval=10s timeout=20s
colocation address-with-table inf: address table
order table-first Mandatory: table address
verify
commit
";

fn colocation_and_order_without_a_group() {
    let pair = Pair::new(["director1", "director2"]);
    let cluster = Cluster::start(&pair.nodes()).unwrap();
    cluster.enter("director1", || {
        let ran = run_with_input(&mut Command::new("crm"), SESSION, Duration::from_secs(90)).unwrap();
        assert_eq!(ran.code, Some(0), "{ran}");
    });
    cluster.settle();
    cluster.wait_until_runs_on("address", "director1", Duration::from_secs(60));
    assert_eq!(cluster.nodes_of("table"), ["director1"]);
    pair.serves();

    cluster.shell_on("director1", "crm node standby director1").ok();
    cluster.wait_until_runs_on("address", "director2", Duration::from_secs(60));
    assert_eq!(cluster.nodes_of("table"), ["director2"]);
    assert_eq!(cluster.ok_on("director1", "ipvsadm-save -n"), "");
    pair.serves();
}
