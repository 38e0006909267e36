//! The table on all nodes, as a clone. Only the address moves.

use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::wait;

use super::pair::{Pair, RULES};

ipvs_tests::tests! {
    all_nodes_have_the_table, needs = "pacemaker", needs = "crmsh", seconds = 400;
}

const CONFIGURATION: &str = "\
primitive table ocf:ipvsadm-rs:ipvs op monitor interval=3s timeout=20s
clone tables table meta interleave=true
primitive address ocf:heartbeat:IPaddr2 params ip=10.1.0.100 nic=eth0 cidr_netmask=32 op monitor interval=3s timeout=20s
order tables-first Mandatory: tables address
colocation address-with-table inf: address tables
";

fn all_nodes_have_the_table() {
    let pair = Pair::new(["director1", "director2"]);
    let mut cluster = Cluster::start(&pair.nodes()).unwrap();
    std::fs::write("/tmp/clone.crm", CONFIGURATION).unwrap();
    cluster.shell_on("director1", "crm configure load update /tmp/clone.crm").ok();
    cluster.settle();
    let mut nodes = cluster.nodes_of("table");
    nodes.sort();
    assert_eq!(nodes, ["director1", "director2"], "{}", cluster.status());
    for node in ["director1", "director2"] {
        assert_eq!(cluster.ok_on(node, "ipvsadm-save -n"), RULES);
    }
    let active = cluster.nodes_of("address").pop().expect("a node");
    let other = if active == "director1" { "director2" } else { "director1" };
    pair.serves();
    // A table that is lost on the node without the address is repaired there.
    cluster.ok_on(other, "ipvsadm -C");
    wait::until(Duration::from_secs(60), || match cluster.ok_on(other, "ipvsadm-save -n") {
        found if found == RULES => Ok(()),
        found => Err(found + &cluster.status()),
    });
    cluster.settle();
    assert_eq!(cluster.nodes_of("address"), std::slice::from_ref(&active));
    // Only the address moves.
    cluster.fail(&active);
    let failed = if active == "director1" { &pair.first } else { &pair.second };
    pair.lab.unplug(failed, "eth0").unwrap();
    cluster.wait_until_runs_on("address", other, Duration::from_secs(60));
    assert_eq!(cluster.ok_on(other, "ipvsadm-save -n"), RULES);
    pair.serves();
}
