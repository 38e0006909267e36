//! Three nodes, of which one loses sight of the others.

use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::lab::topology::Host;
use ipvs_tests::wait;

use super::pair::{Pair, RESOURCES, RULES};

ipvs_tests::tests! {
    node_without_quorum_stops_the_services, needs = "pacemaker", seconds = 400;
    ignored_quorum_runs_the_services_twice, needs = "pacemaker", seconds = 400;
}

/// Starts a cluster with the resources on the first node.
fn start<'a>(pair: &'a Pair, third: &'a Host, policy: &str) -> Cluster<'a> {
    pair.lab.plug(third, "lan", "10.1.0.3/24").unwrap();
    let [first, second] = pair.nodes();
    let cluster = Cluster::start(&[first, second, (third, "10.1.0.3")]).unwrap();
    cluster.set_property("no-quorum-policy", policy);
    cluster.add_resource(RESOURCES);
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    pair.serves();
    cluster
}

/// Waits until the other nodes run the resources. Returns the node.
fn taken_over(cluster: &Cluster<'_>) -> String {
    let mut node = String::new();
    wait::until(Duration::from_secs(60), || {
        let found = cluster.shell_on("second", "crm_resource --quiet --locate --resource address").stdout;
        found.trim().clone_into(&mut node);
        if ["second", "third"].contains(&node.as_str()) { Ok(()) } else { Err(found + &cluster.log()) }
    });
    assert_eq!(cluster.ok_on(&node, "ipvsadm-save -n"), RULES);
    node
}

fn has_address(host: &Host) -> bool {
    host.ok("ip -4 -brief address").contains("10.1.0.100/32")
}

fn node_without_quorum_stops_the_services() {
    let pair = Pair::new(["first", "second"]);
    let third = pair.lab.host("third").unwrap();
    let cluster = start(&pair, &third, "stop");
    pair.lab.unplug(&pair.first, "eth0").unwrap();
    taken_over(&cluster);
    pair.serves();
    wait::until(Duration::from_secs(60), || {
        let rules = pair.first.ok("ipvsadm-save -n");
        if rules.is_empty() && !has_address(&pair.first) { Ok(()) } else { Err(rules + &cluster.log()) }
    });
    // The node comes back, and takes nothing away from the others.
    pair.loses_nothing(|| {
        pair.lab.replug(&pair.first, "eth0").unwrap();
        wait::until(Duration::from_secs(60), || {
            let status = cluster.status();
            if status.contains("Online: [ first second third ]") { Ok(()) } else { Err(status + &cluster.log()) }
        });
        cluster.settle();
    });
    assert_eq!(pair.first.ok("ipvsadm-save -n"), "");
}

/// Without fencing, both sides have the address.
fn ignored_quorum_runs_the_services_twice() {
    let pair = Pair::new(["first", "second"]);
    let third = pair.lab.host("third").unwrap();
    let cluster = start(&pair, &third, "ignore");
    pair.lab.unplug(&pair.first, "eth0").unwrap();
    taken_over(&cluster);
    assert_eq!(pair.first.ok("ipvsadm-save -n"), RULES);
    assert!(has_address(&pair.first));
    // When the nodes see each other again, the cluster stops both and starts one.
    pair.lab.replug(&pair.first, "eth0").unwrap();
    wait::until(Duration::from_secs(90), || {
        let hosts = [&pair.first, &pair.second, &third];
        let having = hosts.iter().filter(|host| has_address(host) && !host.ok("ipvsadm-save -n").is_empty()).count();
        let status = cluster.status();
        if having == 1 && status.contains("Online: [ first second third ]") { Ok(()) } else { Err(status) }
    });
    pair.serves();
}
