//! A network that is cut between the members of etcd, and between them and a follower.
//!
//! ```text
//!  director ── clients ──┬── m1 ──┐
//!  10.5.0.9              ├── m2 ──┼── peers
//!                        └── m3 ──┘
//! ```

use std::time::Duration;

use ipvs_tests::command::Running;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::wait;

use super::etcd::create_data_directory;
use super::with_weight;
use crate::under_test;
use crate::verbs::{WEB, write};

ipvs_tests::tests! {
    a_follower_leaves_a_member_without_the_others, needs = "etcd-server etcd-client", seconds = 300;
    a_follower_without_the_store_keeps_the_table, needs = "etcd-server etcd-client", seconds = 300;
}

const PATIENCE: Duration = Duration::from_secs(90);

struct Cut {
    lab: Lab,
    director: Host,
    members: [Host; 3],
    _processes: Vec<Running>,
}

impl Cut {
    fn new() -> Self {
        under_test::install();
        let lab = Lab::new().unwrap();
        let [director, m1, m2, m3] = lab.hosts(["director", "m1", "m2", "m3"]).unwrap();
        lab.segment("clients", [(&director, "10.5.0.9/24")]).unwrap();
        lab.segment("peers", []).unwrap();
        let members = [m1, m2, m3];
        for (number, member) in (1..).zip(&members) {
            lab.plug(member, "clients", &format!("10.5.0.{number}/24")).unwrap();
            lab.plug(member, "peers", &format!("10.6.0.{number}/24")).unwrap();
        }
        create_data_directory();
        let processes = (1..).zip(&members).map(|(number, member)| start(number, member)).collect();
        let cut = Self { lab, director, members, _processes: processes };
        cut.put(WEB);
        cut
    }

    /// Writes the document through the members 2 and 3.
    fn put(&self, rules: &str) {
        write("value", rules);
        let put = "etcdctl --endpoints 10.5.0.2:2379,10.5.0.3:2379 --command-timeout 5s put /lvs/edge < value";
        wait::until(PATIENCE, || {
            // Not from the director, which may be cut off.
            let ran = self.members[1].shell(put);
            if ran.code == Some(0) { Ok(()) } else { Err(ran.to_string()) }
        });
    }

    fn follow(&self) -> Running {
        self.director.start("ipvsadm-rs follow --quiet 200ms etcd://10.5.0.1,10.5.0.2,10.5.0.3/lvs/edge")
    }

    fn rules(&self) -> String {
        self.director.ok("ipvsadm-save -n")
    }

    fn wait_for_rules(&self, wanted: &str, follower: &Running) {
        wait::until(PATIENCE, || {
            let found = self.rules();
            if found == wanted { Ok(()) } else { Err(format!("{found}{}{}", self.status(), follower.output())) }
        });
    }

    fn status(&self) -> String {
        self.director.run("ipvsadm-rs follow status").stdout
    }

    fn wait_for_status(&self, condition: impl Fn(&str) -> bool) {
        wait::until(PATIENCE, || {
            let status = self.status();
            if condition(&status) { Ok(()) } else { Err(status) }
        });
    }
}

fn start(number: u32, member: &Host) -> Running {
    let peers: Vec<String> = (1..=3).map(|number| format!("m{number}=http://10.6.0.{number}:2380")).collect();
    member.start(&format!(
        "etcd --name m{number} --data-dir etcd/{number} --unsafe-no-fsync --logger zap --log-level warn \
         --heartbeat-interval 200 --election-timeout 2000 --initial-cluster-state new --initial-cluster {} \
         --listen-client-urls http://10.5.0.{number}:2379 --advertise-client-urls http://10.5.0.{number}:2379 \
         --listen-peer-urls http://10.6.0.{number}:2380 --initial-advertise-peer-urls http://10.6.0.{number}:2380",
        peers.join(",")
    ))
}

/// The follower watches at the first member. That one keeps the connection, but has no newer revisions.
fn a_follower_leaves_a_member_without_the_others() {
    let cut = Cut::new();
    let follower = cut.follow();
    cut.wait_for_rules(WEB, &follower);
    cut.lab.unplug(&cut.members[0], "eth1").unwrap();
    cut.put(&with_weight(5));
    cut.wait_for_rules(&with_weight(5), &follower);
    // A new process asks that member first, too.
    drop(follower);
    cut.put(&with_weight(6));
    let follower = cut.follow();
    cut.wait_for_rules(&with_weight(6), &follower);
    // And when the network is whole again.
    cut.lab.replug(&cut.members[0], "eth1").unwrap();
    cut.put(&with_weight(7));
    cut.wait_for_rules(&with_weight(7), &follower);
    cut.wait_for_status(|status| status.contains("state     good") && !status.contains("not readable"));
}

fn a_follower_without_the_store_keeps_the_table() {
    let cut = Cut::new();
    let follower = cut.follow();
    cut.wait_for_rules(WEB, &follower);
    cut.lab.unplug(&cut.director, "eth0").unwrap();
    cut.put(&with_weight(5));
    cut.wait_for_status(|status| status.contains("store     not readable: "));
    assert_eq!(cut.rules(), WEB);
    // A member without the others has an old document, and is not believed.
    cut.lab.unplug(&cut.members[0], "eth1").unwrap();
    cut.lab.unplug(&cut.members[1], "eth0").unwrap();
    cut.lab.unplug(&cut.members[2], "eth0").unwrap();
    cut.lab.replug(&cut.director, "eth0").unwrap();
    std::thread::sleep(Duration::from_secs(10));
    assert!(cut.status().contains("store     not readable: "), "{}", cut.status());
    assert_eq!(cut.rules(), WEB);
    cut.lab.replug(&cut.members[2], "eth0").unwrap();
    cut.wait_for_rules(&with_weight(5), &follower);
    cut.wait_for_status(|status| status.contains("state     good") && !status.contains("not readable"));
}
