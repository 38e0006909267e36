//! Two directors with a virtual address that a cluster assigns, and direct routing.
//!
//! ```text
//!   client ──── lan ──┬── first   10.1.0.1
//!  10.1.0.10          ├── second  10.1.0.2     virtual, assigned by the cluster: 10.1.0.100
//!                     ├── web1    10.1.0.11
//!                     └── web2    10.1.0.12
//! ```

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::{Http, Tcp};
use ipvs_tests::wait;

use crate::under_test;

/// The contents of /etc/ipvsadm.rules on both directors.
pub(crate) const RULES: &str = "\
-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.1.0.11:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.12:80 -g -w 1
";

/// A service for connections that are held open.
pub(crate) const ECHO: &str = "\
-A -t 10.1.0.100:7 -s rr
-a -t 10.1.0.100:7 -r 10.1.0.11:7 -g -w 1
-a -t 10.1.0.100:7 -r 10.1.0.12:7 -g -w 1
";

/// The table, then the virtual address. All settings are defaults of the agent and the cluster, except the monitor
/// intervals.
pub(crate) const RESOURCES: &str = r#"
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

pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) client: Host,
    pub(crate) first: Host,
    pub(crate) second: Host,
    pub(crate) webs: [Host; 2],
}

impl Pair {
    /// Builds the network. Installs the program, the agent and the rules.
    pub(crate) fn new(names: [&str; 2]) -> Pair {
        let lab = Lab::new().unwrap();
        let [first, second] = lab.hosts(names).unwrap();
        let [client, web1, web2] = lab.hosts(["client", "web1", "web2"]).unwrap();
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
            web.serve(Http, "0.0.0.0:80").unwrap();
            web.serve(Tcp, "10.1.0.100:7").unwrap();
        }
        under_test::install();
        under_test::install_agent();
        fs::write("/etc/ipvsadm.rules", RULES).unwrap();
        Pair { lab, client, first, second, webs: [web1, web2] }
    }

    /// Returns the directors with the addresses that they use for the cluster.
    pub(crate) fn nodes(&self) -> [(&Host, &'static str); 2] {
        [(&self.first, "10.1.0.1"), (&self.second, "10.1.0.2")]
    }

    /// Waits until both servers reply, because the address is announced a moment after it was added.
    pub(crate) fn serves(&self) {
        wait::until(Duration::from_secs(30), || {
            let replies = self.client.client().patience(Duration::from_secs(1)).pages(2, "10.1.0.100:80").to_string();
            if replies == "web1=1 web2=1" { Ok(()) } else { Err(replies) }
        });
    }

    /// Runs an action while the client fetches pages one after the other. All must arrive.
    pub(crate) fn loses_nothing(&self, act: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        let fetch = || {
            let (mut fetched, mut lost) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match self.client.client().patience(Duration::from_secs(5)).get("10.1.0.100:80", "/") {
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
}
