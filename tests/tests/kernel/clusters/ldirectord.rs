//! ldirectord as a resource. It checks the servers, and drives our ipvsadm on the node that has the address.

use std::fs;
use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::wait;

use super::pair::Pair;
use crate::operations::page::{self, Page};
use crate::operations::{OPERATIONS, install_curl};

ipvs_tests::tests! {
    page_about_ldirectord, needs = "pacemaker", needs = "crmsh", needs = "ldirectord", seconds = 400;
}

fn page_about_ldirectord() {
    let pair = Pair::new(["director1", "director2"]);
    let cluster = Cluster::start(&pair.nodes()).unwrap();
    install_curl();
    for (line, path) in [
        ("Copy this /etc/ha.d/ldirectord.cf to all nodes:", "/etc/ha.d/ldirectord.cf"),
        ("Write this configuration to `/tmp/ldirectord.crm`:", "/tmp/ldirectord.crm"),
    ] {
        fs::create_dir_all("/etc/ha.d").unwrap();
        fs::write(path, page::block_after(OPERATIONS, line)).unwrap();
    }
    Page::of(OPERATIONS, "ldirectord in a cluster", &["client", "director1", "director2"]).run(|name, command| {
        if name == "client" { pair.client.shell(command) } else { cluster.shell_on(name, command) }
    });
    pair.serves();
    // A server that fails is taken out by ldirectord, and the cluster does nothing.
    let [web1, _] = &pair.webs;
    pair.lab.unplug(web1, "eth0").unwrap();
    let servers = |node: &str| cluster.ok_on(node, "ipvsadm-save -n").matches("-a -t").count();
    wait::until(Duration::from_secs(60), || match servers("director2") {
        1 => Ok(()),
        servers => Err(format!("{servers} servers\n{}", cluster.status())),
    });
    cluster.settle();
    let status = cluster.status();
    assert!(!status.contains("Failed Resource Actions"), "{status}");
    assert_eq!(cluster.nodes_of("balancer"), ["director2"]);
    assert_eq!(cluster.ok_on("director1", "ipvsadm-save -n"), "", "ldirectord cleans up where it was stopped");
}
