//! The resource agent under Pacemaker and Corosync.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::wait;

use super::pair::{Pair, RESOURCES, RULES};

ipvs_tests::tests! {
    repairs_a_lost_table_and_replaces_a_failed_node, needs = "pacemaker", seconds = 240;
    drain_is_no_failure, needs = "pacemaker", seconds = 240;
    missing_service_does_not_cut_the_others, needs = "pacemaker", seconds = 240;
}

fn repairs_a_lost_table_and_replaces_a_failed_node() {
    let pair = Pair::new(["first", "second"]);
    let mut cluster = Cluster::start(&pair.nodes()).unwrap();
    cluster.add_resource(RESOURCES);
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    assert_eq!(cluster.nodes_of("table"), ["first"]);
    assert_eq!(
        (cluster.ok_on("first", "ipvsadm-save -n").as_str(), cluster.ok_on("second", "ipvsadm-save -n").as_str()),
        (RULES, "")
    );
    pair.serves();

    lose_table(&cluster);
    pair.serves();
    reload(&cluster);

    cluster.fail("first");
    pair.lab.unplug(&pair.first, "eth0").unwrap();
    let time = cluster.wait_until_runs_on("address", "second", Duration::from_secs(60));
    println!("the other node had the address after {time:.1?}");
    assert_eq!(cluster.nodes_of("table"), ["second"]);
    assert_eq!(cluster.ok_on("second", "ipvsadm-save -n"), RULES);
    pair.serves();
}

/// The deep monitor was once a default operation. A drain then made Pacemaker delete and add all services.
fn drain_is_no_failure() {
    let pair = Pair::new(["first", "second"]);
    let cluster = Cluster::start(&pair.nodes()).unwrap();
    cluster.add_resource(RESOURCES);
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    pair.serves();
    let drained = RULES.replace("10.1.0.12:80 -g -w 1", "10.1.0.12:80 -g -w 0");
    let draining = || {
        cluster.ok_on("first", "ipvsadm-rs set -r 10.1.0.12 --weight 0");
        // Several intervals of every monitor.
        std::thread::sleep(Duration::from_secs(12));
        cluster.settle();
    };
    pair.loses_nothing(draining);
    assert_eq!(cluster.ok_on("first", "ipvsadm-save -n"), drained);

    // The monitor that an administrator adds by hand. The agent's meta-data describe it.
    let deep = operation("deep", "monitor", "3s", "20s", "10");
    let table = format!(r#"<primitive id="table"><operations id="table-operations">{deep}</operations></primitive>"#);
    fs::write("/etc/deep.xml", format!(r#"<group id="director">{table}</group>"#)).unwrap();
    cluster.ok_on("first", "cibadmin --modify --allow-create --scope resources --xml-file /etc/deep.xml");
    cluster.settle();
    pair.loses_nothing(|| {
        cluster.ok_on("first", "ipvsadm -E -t 10.1.0.100:80 -s wrr");
        wait::until(Duration::from_secs(30), || {
            let status = cluster.status();
            // Newer versions of Pacemaker print `degraded`.
            let lower = status.to_lowercase().replace("ocf_", "");
            let reported = lower.contains("table 3s-interval monitor on first returned 'degraded'");
            if reported && status.contains("first change needed: -E -t 10.1.0.100:80 -s rr") {
                Ok(())
            } else {
                Err(status)
            }
        });
        std::thread::sleep(Duration::from_secs(6));
        cluster.settle();
    });
    assert_eq!(cluster.ok_on("first", "ipvsadm-save -n"), drained.replace("rr", "wrr"));
    let status = cluster.status();
    assert_eq!(status.matches("Started first").count(), 2, "{status}");
    let failures = cluster.ok_on("first", "crm_failcount --query --resource table --node first");
    assert!(failures.trim_end().ends_with("value=0"), "{failures}\n{status}");

    // A start of the running resource makes only the changes that are needed. The server stays drained.
    pair.loses_nothing(|| {
        cluster.ok_on("first", "crm_resource --resource table --force-start");
        cluster.settle();
    });
    assert_eq!(cluster.ok_on("first", "ipvsadm-save -n"), drained);
}

/// Pacemaker once answered one missing service by deleting all of them.
fn missing_service_does_not_cut_the_others() {
    let pair = Pair::new(["first", "second"]);
    let both = format!("{RULES}-A -t 10.1.0.100:443 -s rr\n-a -t 10.1.0.100:443 -r 10.1.0.11:443 -g -w 1\n");
    fs::write("/etc/ipvsadm.rules", &both).unwrap();
    let cluster = Cluster::start(&pair.nodes()).unwrap();
    cluster.add_resource(RESOURCES);
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    pair.serves();
    pair.loses_nothing(|| {
        cluster.ok_on("first", "ipvsadm -D -t 10.1.0.100:443");
        wait::until(Duration::from_secs(30), || match cluster.ok_on("first", "ipvsadm-save -n") {
            found if found == both => Ok(()),
            found => Err(found + &cluster.status()),
        });
        // A probe, as by `pcs resource refresh`.
        cluster.ok_on("first", "crm_resource --refresh --resource table");
        cluster.settle();
    });
    let failures = cluster.ok_on("first", "crm_failcount --query --resource table --node first");
    assert!(failures.trim_end().ends_with("value=0"), "{failures}\n{}", cluster.status());
    assert_eq!(cluster.nodes_of("table"), ["first"]);
}

/// Returns an operation of the CIB.
fn operation(id: &str, name: &str, interval: &str, timeout: &str, depth: &str) -> String {
    let mut text = format!(r#"<op id="{id}" name="{name}" interval="{interval}" timeout="{timeout}">"#);
    if depth != "0" {
        let _ = write!(
            text,
            r#"<instance_attributes id="{id}-attributes"><nvpair id="{id}-level" name="OCF_CHECK_LEVEL" value="{depth}"/></instance_attributes>"#
        );
    }
    text + "</op>"
}

/// Clears the table and waits until the cluster has noticed that and started the resources again.
fn lose_table(cluster: &Cluster<'_>) {
    cluster.ok_on("first", "ipvsadm -C");
    wait::until(Duration::from_secs(30), || {
        let status = cluster.status();
        let noticed = status.contains("table 2s-interval monitor on first returned 'not running'");
        if noticed && status.matches("Started first").count() == 2 { Ok(()) } else { Err(status) }
    });
    assert_eq!(cluster.ok_on("first", "ipvsadm-save -n"), RULES);
}

/// Changes a parameter. The agent must reload and not restart, so that counters continue.
fn reload(cluster: &Cluster<'_>) {
    // The kernel updates the reported counters every two seconds.
    let counts = || {
        let listed = cluster.ok_on("first", "ipvsadm -Ln --stats --exact");
        let service = listed.lines().find(|line| line.starts_with("TCP ")).expect("the service").to_owned();
        if service.split_whitespace().nth(2) == Some("0") { Err(listed) } else { Ok(()) }
    };
    wait::until(Duration::from_secs(30), counts);
    cluster.ok_on("first", "crm_resource --resource table --set-parameter keep_weights --parameter-value true");
    cluster.settle();
    cluster.ok_on("first", "ipvsadm -e -t 10.1.0.100:80 -r 10.1.0.11 -g -w 5");
    cluster.ok_on("first", "crm_resource --resource table --set-parameter keep_weights --parameter-value false");
    cluster.settle();
    assert_eq!(cluster.ok_on("first", "ipvsadm-save -n"), RULES);
    counts().unwrap();
}
