//! A cluster that turns off a node that does not answer.

use std::fs;
use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::wait;

use super::pair::{ECHO, Pair, RESOURCES, RULES};

ipvs_tests::tests! {
    hanging_node_is_fenced_and_connections_continue, needs = "pacemaker", seconds = 400;
}

/// The first node hangs, but its kernel still has the table and the address. Only fencing makes a takeover safe.
fn hanging_node_is_fenced_and_connections_continue() {
    let pair = Pair::new(["first", "second"]);
    fs::write("/etc/ipvsadm.rules", format!("{RULES}{ECHO}")).unwrap();
    for director in [&pair.first, &pair.second] {
        for role in ["master", "backup"] {
            director.ok(&format!("ipvsadm --start-daemon {role} --mcast-interface eth0 --syncid 7"));
        }
    }
    let mut cluster = Cluster::start(&pair.nodes()).unwrap();
    cluster.enable_fencing();
    cluster.add_resource(RESOURCES);
    prefer(&cluster, "first");
    pair.serves();
    let held = pair.client.client().hold(2, "10.1.0.100:7");
    // The kernel synchronises a connection from its third packet on.
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
    wait::until(Duration::from_secs(20), || {
        let list = pair.second.ok("ipvsadm -Lnc");
        if list.matches("10.1.0.100:7 ").count() == 2 { Ok(()) } else { Err(list) }
    });

    cluster.hang("first");
    let time = cluster.wait_until_fenced("first", Duration::from_secs(60), || {
        assert_eq!(pair.second.ok("ipvsadm-save -n"), "", "nothing starts before the other node is off");
        pair.lab.unplug(&pair.first, "eth0").unwrap();
    });
    println!("the cluster asked to turn off the node after {time:.1?}");
    let time = cluster.wait_until_runs_on("address", "second", Duration::from_secs(60));
    println!("the other node had the address {time:.1?} later");
    pair.serves();
    assert_eq!(held.again().to_string(), "web1=1 web2=1", "connections continue");

    // A machine that was turned off has neither table nor address.
    pair.first.ok("ipvsadm -C");
    pair.first.ok("ip address del 10.1.0.100/32 dev eth0");
    pair.lab.replug(&pair.first, "eth0").unwrap();
    pair.loses_nothing(|| {
        cluster.start_again(&pair.first).unwrap();
        cluster.settle();
    });
    assert_eq!(cluster.nodes_of("table"), ["second"], "stickiness is more than the preference");
    cluster.ok_on("second", "crm_attribute --type rsc_defaults --name resource-stickiness --update 0");
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    assert_eq!(cluster.nodes_of("table"), ["first"]);
    pair.serves();
    assert_eq!(held.again().to_string(), "web1=1 web2=1", "connections continue");
}

/// Moves the resources to a node, which they then prefer less than the one that they run on. At first they may run on the
/// other node, because Pacemaker counts the fence device as a resource when it spreads them.
fn prefer(cluster: &Cluster<'_>, node: &str) {
    let constraint = format!(r#"<rsc_location id="preferred" rsc="director" node="{node}" score="50"/>"#);
    fs::write("/etc/preferred.xml", constraint).unwrap();
    cluster.ok_on(node, "cibadmin --create --scope constraints --xml-file /etc/preferred.xml");
    cluster.wait_until_runs_on("address", node, Duration::from_secs(60));
    cluster.ok_on(node, "crm_attribute --type rsc_defaults --name resource-stickiness --update 100");
    cluster.settle();
}
