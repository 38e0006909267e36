//! Two directors as nodes of a Pacemaker and Corosync cluster.
//!
//! ```text
//!   client ──── lan ──┬── first   10.1.0.1
//!  10.1.0.10          ├── second  10.1.0.2     virtual, assigned by Pacemaker: 10.1.0.100
//!                     ├── web1    10.1.0.11
//!                     └── web2    10.1.0.12
//! ```

use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvs_tests::lab::cluster::Cluster;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::Http;
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    repairs_a_lost_table_and_replaces_a_failed_node, needs = "pacemaker", seconds = 240;
    drain_is_no_failure, needs = "pacemaker", seconds = 240;
}

/// The table, then the virtual address. All settings are defaults of the agent and the cluster, except the monitor
/// intervals.
const DIRECTOR: &str = r#"
<group id="director">
  <primitive id="table" class="ocf" provider="ipvsadm-rs" type="ipvs">
    <operations id="table-operations"><op id="table-monitor" name="monitor" interval="2s" timeout="20s"/></operations>
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

/// The operations of the table in [`DIRECTOR`].
const TABLE_OPERATIONS: &str = r#"<op id="table-monitor" name="monitor" interval="2s" timeout="20s"/>"#;

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

/// The deep monitor was once a default operation. A drain then made Pacemaker delete and add all services.
fn drain_is_no_failure() {
    let Network { client, first, second, .. } = &network();
    fs::write("/etc/ipvsadm.rules", RULES).unwrap();
    let cluster = Cluster::start(&[(first, "10.1.0.1"), (second, "10.1.0.2")]).unwrap();
    cluster.add_resource(&DIRECTOR.replacen(TABLE_OPERATIONS, &operations_of_pcs(&cluster), 1));
    cluster.wait_until_runs_on("address", "first", Duration::from_secs(60));
    pages(client);
    let drained = RULES.replace("10.1.0.12:80 -g -w 1", "10.1.0.12:80 -g -w 0");
    let draining = || {
        cluster.ok_on("first", "ipvsadm-rs set -r 10.1.0.12 --weight 0");
        // Several intervals of every monitor.
        std::thread::sleep(Duration::from_secs(12));
        cluster.settle();
    };
    loses_nothing(client, draining);
    assert_eq!(rules_of(&cluster, "first"), drained);

    // The monitor that an administrator adds by hand. The agent's meta-data describe it.
    let deep = operation("deep", "monitor", "3s", "20s", "10");
    let table = format!(r#"<primitive id="table"><operations id="table-operations">{deep}</operations></primitive>"#);
    fs::write("/etc/deep.xml", format!(r#"<group id="director">{table}</group>"#)).unwrap();
    cluster.ok_on("first", "cibadmin --modify --allow-create --scope resources --xml-file /etc/deep.xml");
    cluster.settle();
    loses_nothing(client, || {
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
    assert_eq!(rules_of(&cluster, "first"), drained.replace("rr", "wrr"));
    let status = cluster.status();
    assert_eq!(status.matches("Started first").count(), 2, "{status}");
    let failures = cluster.ok_on("first", "crm_failcount --query --resource table --node first");
    assert!(failures.trim_end().ends_with("value=0"), "{failures}\n{status}");

    // A start of the running resource makes only the changes that are needed.
    cluster.ok_on("first", "crm_resource --resource table --force-start");
    assert_eq!(rules_of(&cluster, "first"), RULES);
}

/// Runs an action while a client fetches pages one after the other. All must arrive.
fn loses_nothing(client: &Host, act: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let fetch = || {
        let (mut fetched, mut lost) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            match client.client().patience(Duration::from_secs(5)).get("10.1.0.100:80", "/") {
                Ok(_) => fetched += 1,
                Err(error) => lost.push(error.to_string()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        (fetched, lost)
    };
    let (fetched, lost) = std::thread::scope(|scope| {
        let fetching = scope.spawn(fetch);
        let acted = catch_unwind(AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        let counts: (usize, Vec<String>) = fetching.join().unwrap();
        acted.unwrap_or_else(|panic| resume_unwind(panic));
        counts
    });
    println!("{fetched} pages fetched, {} lost", lost.len());
    assert!(fetched > 50 && lost.is_empty(), "{fetched} fetched, {} lost: {lost:?}", lost.len());
}

/// Returns the operations that `pcs resource create` makes: one for each action of the meta-data, except meta-data,
/// status and validate-all. The intervals are shorter here.
fn operations_of_pcs(cluster: &Cluster<'_>) -> String {
    let meta_data = cluster.ok_on("first", "crm_resource --show-metadata ocf:ipvsadm-rs:ipvs");
    let mut operations = String::new();
    for (number, line) in meta_data.lines().filter(|line| line.trim().starts_with("<action ")).enumerate() {
        let value = |name: &str| {
            let rest = line.split_once(&format!(" {name}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value)
        };
        let name = value("name").expect("a name");
        if ["meta-data", "status", "validate-all"].contains(&name) {
            continue;
        }
        let interval = match value("interval") {
            None => "0s",
            Some("10s") => "2s",
            Some(_) => "3s",
        };
        let timeout = value("timeout").expect("a time limit");
        operations += &operation(&format!("pcs-{number}"), name, interval, timeout, value("depth").unwrap_or("0"));
    }
    operations
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
    wait::until(Duration::from_secs(30), counts);
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
    wait::until(Duration::from_secs(30), || {
        let replies = client.client().patience(Duration::from_secs(1)).pages(2, "10.1.0.100:80").to_string();
        if replies == "web1=1 web2=1" { Ok(()) } else { Err(replies) }
    });
}
