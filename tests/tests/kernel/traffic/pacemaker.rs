//! Two directors as nodes of a Pacemaker and Corosync cluster.
//!
//! ```text
//!   client ──── lan ──┬── first   10.1.0.1
//!  10.1.0.10          ├── second  10.1.0.2     virtual, assigned by Pacemaker: 10.1.0.100
//!                     ├── web1    10.1.0.11
//!                     └── web2    10.1.0.12
//! ```

use std::fs;
use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::Http;
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    repairs_a_lost_table_and_replaces_a_failed_node, needs = "pacemaker", seconds = 240;
}

/// The table, then the virtual address. All settings are defaults of the agent and the cluster, except the monitor
/// intervals.
const DIRECTOR: &str = r#"
<group id="director">
  <primitive id="table" class="ocf" provider="ipvsadm-rs" type="ipvs">
    <operations><op id="table-monitor" name="monitor" interval="2s" timeout="20s"/></operations>
  </primitive>
  <primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2">
    <instance_attributes id="address-attributes">
      <nvpair id="address-ip" name="ip" value="10.1.0.100"/>
      <nvpair id="address-nic" name="nic" value="eth0"/>
      <nvpair id="address-cidr_netmask" name="cidr_netmask" value="32"/>
    </instance_attributes>
    <operations><op id="address-monitor" name="monitor" interval="2s" timeout="20s"/></operations>
  </primitive>
</group>
"#;

const RULES: &str = "\
-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.1.0.11:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.12:80 -g -w 1
";

struct Network {
    lab: Lab,
    client: Host,
    first: Host,
    second: Host,
    _webs: [Host; 2],
}

fn network() -> Network {
    let lab = Lab::new().unwrap();
    let [client, first, second, web1, web2] = lab.hosts(["client", "first", "second", "web1", "web2"]).unwrap();
    let plugs = [
        (&client, "10.1.0.10/24"),
        (&first, "10.1.0.1/24"),
        (&second, "10.1.0.2/24"),
        (&web1, "10.1.0.11/24"),
        (&web2, "10.1.0.12/24"),
    ];
    lab.segment("lan", plugs).unwrap();
    for web in [&web1, &web2] {
        under_test::real_server(web, "--mode dr --vip 10.1.0.100");
        web.serve(Http, "10.1.0.100:80").unwrap();
    }
    under_test::install();
    under_test::install_agent();
    Network { lab, client, first, second, _webs: [web1, web2] }
}

fn repairs_a_lost_table_and_replaces_a_failed_node() {
    let Network { lab, client, first, second, .. } = &network();
    fs::write("/etc/ipvsadm.rules", RULES).unwrap();
    let mut cluster = Cluster::start(&[(first, "10.1.0.1"), (second, "10.1.0.2")]).unwrap();
    cluster.add_resource(DIRECTOR);
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    assert_eq!(cluster.nodes_of("table"), ["first"]);
    assert_eq!((rules_of(&cluster, "first").as_str(), rules_of(&cluster, "second").as_str()), (RULES, ""));
    pages(client);

    lose_table(&cluster);
    pages(client);
    reload(&cluster);

    cluster.fail("first");
    lab.unplug(first, "eth0").unwrap();
    let time = cluster.wait_until_runs_on("address", "second", Duration::from_secs(60));
    println!("the other node had the address after {time:.1?}");
    assert_eq!(cluster.nodes_of("table"), ["second"]);
    assert_eq!(rules_of(&cluster, "second"), RULES);
    pages(client);
}

fn rules_of(cluster: &Cluster<'_>, node: &str) -> String {
    cluster.ok_on(node, "ipvsadm-save -n")
}

/// Clears the table and waits until the cluster has noticed that and started the resources again.
fn lose_table(cluster: &Cluster<'_>) {
    cluster.ok_on("first", "ipvsadm -C");
    wait::until(Duration::from_secs(30), || {
        let status = cluster.status();
        let noticed = status.contains("table 2s-interval monitor on first returned 'not running'");
        if noticed && status.matches("Started first").count() == 2 { Ok(()) } else { Err(status) }
    });
    assert_eq!(rules_of(cluster, "first"), RULES);
}

/// Changes a parameter. The agent must reload and not restart, so that counters continue.
fn reload(cluster: &Cluster<'_>) {
    // The kernel updates the reported counters every two seconds.
    let counts = || {
        let listed = cluster.ok_on("first", "ipvsadm -Ln --stats --exact");
        let service = listed.lines().find(|line| line.starts_with("TCP ")).expect("the service").to_owned();
        if service.split_whitespace().nth(2) == Some("0") { Err(listed) } else { Ok(()) }
    };
    wait::until(Duration::from_secs(10), counts);
    cluster.ok_on("first", "crm_resource --resource table --set-parameter keep_weights --parameter-value true");
    cluster.settle();
    cluster.ok_on("first", "ipvsadm -e -t 10.1.0.100:80 -r 10.1.0.11 -g -w 5");
    cluster.ok_on("first", "crm_resource --resource table --set-parameter keep_weights --parameter-value false");
    cluster.settle();
    assert_eq!(rules_of(cluster, "first"), RULES);
    counts().unwrap();
}

/// Waits until both servers reply, because the address is announced a moment after it was added.
fn pages(client: &Host) {
    wait::until(Duration::from_secs(10), || {
        let replies = client.client().patience(Duration::from_secs(1)).pages(2, "10.1.0.100:80").to_string();
        if replies == "web1=1 web2=1" { Ok(()) } else { Err(replies) }
    });
}
