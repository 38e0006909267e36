//! Documents and reports in a cluster of etcd.

use std::fmt::Write as _;
use std::time::Duration;

use ipvs_tests::command::{Running, ok, run, shell, start};
use ipvs_tests::wait;

use super::{SOON, follow, status, wait_for_rules, wait_for_status, with_weight};
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    keys_are_documents, needs = "etcd-server etcd-client";
    followers_survive_members, needs = "etcd-server etcd-client";
    a_compaction_loses_nothing, needs = "etcd-server etcd-client";
    certificates_are_checked, needs = "etcd-server etcd-client openssl";
    users_log_in, needs = "etcd-server etcd-client";
    reports_are_shown_and_roll_out, needs = "etcd-server etcd-client";
}

const ALL: &str = "127.0.0.1:2379,127.0.0.1:2479,127.0.0.1:2579";

/// A member of the cluster.
struct Member {
    number: u32,
    options: String,
    process: Option<Running>,
}

impl Member {
    fn new(number: u32, options: &str) -> Self {
        Self { number, options: options.to_owned(), process: None }
    }

    fn client_port(&self) -> u32 {
        2279 + 100 * self.number
    }

    /// Starts it, also after its end.
    fn start(&mut self) {
        let (number, port) = (self.number, self.client_port());
        let scheme = if self.options.contains("cert-file") { "https" } else { "http" };
        let peers = (1..=3).map(|number| format!("m{number}=http://127.0.0.1:{}", 2280 + 100 * number));
        let peers = peers.collect::<Vec<_>>().join(",");
        self.process = Some(start(&format!(
            "etcd --name m{number} --data-dir etcd/{number} --unsafe-no-fsync --logger zap --log-level warn \
             --heartbeat-interval 200 --election-timeout 2000 \
             --listen-client-urls {scheme}://127.0.0.1:{port} --advertise-client-urls {scheme}://127.0.0.1:{port} \
             --listen-peer-urls http://127.0.0.1:{peer} --initial-advertise-peer-urls http://127.0.0.1:{peer} \
             --initial-cluster {peers} --initial-cluster-state new {}",
            self.options,
            peer = port + 1
        )));
    }

    /// Ends it with SIGKILL.
    fn kill(&mut self) {
        self.process = None;
    }
}

/// Creates the directory `etcd`. Each member preallocates 128 MB, which ramfs does not support: it takes only what is
/// written.
pub(super) fn create_data_directory() {
    shell("mkdir etcd && mount -t ramfs ramfs etcd").ok();
}

/// Starts three members, and waits until they have a leader.
fn cluster(options: &str) -> Vec<Member> {
    create_data_directory();
    let mut members: Vec<Member> = (1..=3).map(|number| Member::new(number, options)).collect();
    members.iter_mut().for_each(Member::start);
    if !options.contains("cert-file") {
        wait_for_quorum();
    }
    members
}

fn wait_for_quorum() {
    wait::until(Duration::from_secs(90), || {
        let put = run(&format!("etcdctl --endpoints {ALL} --command-timeout 5s put /test x"));
        if put.code == Some(0) { Ok(()) } else { Err(put.to_string()) }
    });
}

/// Writes a key through any member.
fn put(key: &str, value: &str) {
    write("value", value);
    wait::until(SOON, || {
        let put = shell(&format!("etcdctl --endpoints {ALL} put {key} < value"));
        if put.code == Some(0) { Ok(()) } else { Err(put.to_string()) }
    });
}

fn keys_are_documents() {
    const DNS: &str = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1\n";
    director("");
    let _members = cluster("");
    // A neighbour is not a part.
    put("/lvs/edge.old", "-A -t 192.0.2.9:80 -s rr\n");
    put("/lvs/edge", WEB);
    let _follower = follow(&format!("etcd://{ALL}/lvs/edge"));
    wait_for_rules(WEB);
    let revision = wait_for_status("state     good");
    assert!(revision.starts_with(&format!("source    etcd://{ALL}/lvs/edge\n")), "{revision}");
    put("/lvs/edge/dns", DNS);
    wait_for_rules(&format!("{WEB}{DNS}"));
    put("/lvs/edge", &with_weight(5));
    wait_for_rules(&format!("{}{DNS}", with_weight(5)));
    ok(&format!("etcdctl --endpoints {ALL} del /lvs/edge/dns"));
    wait_for_rules(&with_weight(5));
    ok(&format!("etcdctl --endpoints {ALL} del --prefix /lvs"));
    wait_for_status("the source does not exist");
    assert_eq!(rules(), with_weight(5));
    put("/lvs/edge", "no rules");
    wait_for_status("state     invalid");
    put("/lvs/edge", "include /etc/passwd\nvirtual_server 192.0.2.1 80 {\n}\n");
    let status = wait_for_status("cannot include files");
    assert!(!status.contains("root:"), "{status}");
    assert_eq!(rules(), with_weight(5));
}

fn followers_survive_members() {
    director("");
    let mut members = cluster("");
    put("/lvs/edge", WEB);
    let _follower = follow(&format!("etcd://{ALL}/lvs/edge"));
    wait_for_rules(WEB);
    // Each member in turn, also the one that the follower watches.
    for (member, weight) in members.iter_mut().zip(10..) {
        member.kill();
        put("/lvs/edge", &with_weight(weight));
        wait_for_rules(&with_weight(weight));
        member.start();
        wait_for_quorum();
    }
    members.iter_mut().for_each(Member::kill);
    wait_for_status("store     not readable: ");
    assert_eq!(run("ipvsadm-rs follow status").code, Some(2));
    assert_eq!(rules(), with_weight(12));
    members.iter_mut().for_each(Member::start);
    wait_for_quorum();
    put("/lvs/edge", &with_weight(20));
    wait::until(Duration::from_secs(90), || if rules() == with_weight(20) { Ok(()) } else { Err(status()) });
    ok("ipvsadm-rs follow status");
}

fn a_compaction_loses_nothing() {
    director("");
    let _members = cluster("");
    put("/lvs/edge", WEB);
    let follower = follow(&format!("etcd://{ALL}/lvs/edge"));
    wait_for_rules(WEB);
    let pid = follower.pid().as_raw_nonzero();
    ok(&format!("kill -STOP {pid}"));
    for weight in 30..40 {
        put("/lvs/edge", &with_weight(weight));
    }
    let revision = ok(&format!("etcdctl --endpoints {ALL} get /lvs/edge --write-out json"));
    let revision = revision.split("\"revision\":").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
    ok(&format!("etcdctl --endpoints {ALL} compact {revision}"));
    // The server and its connections end, so that the watch must start again before the compaction.
    std::thread::sleep(Duration::from_secs(2));
    ok(&format!("kill -CONT {pid}"));
    wait_for_rules(&with_weight(39));
    put("/lvs/edge", &with_weight(50));
    wait_for_rules(&with_weight(50));
}

fn certificates_are_checked() {
    director("");
    let authority = "openssl req -x509 -newkey rsa:2048 -nodes -days 2";
    ok(&format!("{authority} -keyout ca.key -out ca.pem -subj /CN=ca"));
    ok(&format!("{authority} -keyout other.key -out other.pem -subj /CN=other"));
    write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    for name in ["server", "client"] {
        ok(&format!("openssl req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        ok(&format!(
            "openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ));
    }
    let members = cluster("--cert-file server.pem --key-file server.key --client-cert-auth --trusted-ca-file ca.pem");
    let etcdctl = "etcdctl --endpoints https://127.0.0.1:2379 --cacert ca.pem --cert client.pem --key client.key";
    write("value", WEB);
    wait::until(Duration::from_secs(90), || {
        let put = shell(&format!("{etcdctl} put /lvs/edge < value"));
        let logs = || members.iter().flat_map(|member| &member.process).map(Running::output).collect::<String>();
        if put.code == Some(0) { Ok(()) } else { Err(format!("{put}{}", logs())) }
    });
    let source = format!("etcds://{ALL}/lvs/edge");
    for wrong in [
        format!("{source} --cacert other.pem --cert client.pem --key client.key"),
        format!("{source} --cacert ca.pem"),
        source.clone(),
    ] {
        let follower = follow(&wrong);
        let status = wait_for_status("store     not readable: ");
        assert!(status.contains("ertificate"), "{wrong}: {status}");
        assert_eq!(rules(), "");
        drop(follower);
        ok("rm -r /var/lib/ipvsadm-rs");
    }
    let _follower = follow(&format!("{source} --cacert ca.pem --cert client.pem --key client.key"));
    wait_for_rules(WEB);
}

fn users_log_in() {
    director("");
    let _members = cluster("");
    put("/lvs/edge", WEB);
    for line in [
        "user add root:secret",
        "user grant-role root root",
        "role add reader",
        "role grant-permission --prefix=true reader read /lvs/",
        "user add lvs:pass",
        "user grant-role lvs reader",
        "auth enable",
    ] {
        ok(&format!("etcdctl --endpoints {ALL} {line}"));
    }
    let source = format!("etcd://{ALL}/lvs/edge");
    let follower = follow(&source);
    wait_for_status("store     not readable: ");
    assert_eq!(rules(), "");
    drop(follower);
    write("user", "lvs:wrong\n");
    let follower = follow(&format!("{source} --user-file user"));
    let status = wait_for_status("authentication failed");
    assert!(!status.contains("wrong"), "{status}");
    drop(follower);
    write("user", "lvs:pass\n");
    let _follower = follow(&format!("{source} --user-file user"));
    wait_for_rules(WEB);
}

/// Starts a follower in a namespace of its own, with the address 127.0.0.1 of this one by a link.
fn director_in(number: u32) -> String {
    let name = format!("lb{number}");
    let mut setup = String::new();
    write!(
        setup,
        "ip netns add {name} && ip link add to-{name} type veth peer name eth0 netns {name} && \
         ip address add 10.9.{number}.1/24 dev to-{name} && ip link set to-{name} up && \
         ip -n {name} address add 10.9.{number}.2/24 dev eth0 && ip -n {name} link set eth0 up && \
         ip -n {name} link set lo up"
    )
    .unwrap();
    shell(&setup).ok();
    name
}

fn reports_are_shown_and_roll_out() {
    director("");
    ok("ip link set lo up");
    let names: Vec<String> = (1..=3).map(director_in).collect();
    create_data_directory();
    let mut member = Member::new(1, "");
    member.process = Some(start(
        "etcd --data-dir etcd/1 --unsafe-no-fsync --logger zap --log-level warn --listen-client-urls http://0.0.0.0:2379 \
         --advertise-client-urls http://127.0.0.1:2379",
    ));
    wait_for_quorum();
    put("/lvs/edge", WEB);
    let follow_in = |number: usize, options: &str| {
        let name = &names[number - 1];
        let server = format!("10.9.{number}.1");
        start(&format!(
            "ip netns exec {name} ipvsadm-rs follow --quiet 200ms --host {name} --report etcd://{server}/lvs/reports {options} \
             etcd://{server}/lvs/edge"
        ))
    };
    let rules_of = |number: usize| ok(&format!("ip netns exec {} ipvsadm-save -n", names[number - 1]));
    let wait_for = |number: usize, wanted: &str| {
        wait::until(Duration::from_secs(40), || {
            let found = rules_of(number);
            if found == wanted {
                Ok(())
            } else {
                Err(found + &run(&format!("ip netns exec lb{number} ipvsadm-rs follow status")).stdout)
            }
        });
    };
    // The first one is the canary. Its health is that of a file.
    let _first = follow_in(1, "--canary-group lb1 --health ./healthy --good-after 4s --health-interval 1s");
    let _others = [2, 3].map(|number| follow_in(number, "--canary-group lb1 --check 2s"));
    write("healthy", "#!/bin/sh\ntest ! -e ill\n");
    ok("chmod +x healthy");
    for number in 1..=3 {
        wait_for(number, WEB);
    }
    let fleet = || run("ipvsadm-rs fleet etcd://127.0.0.1/lvs/reports");
    let wait_for_fleet = |text: &str| {
        wait::until(Duration::from_secs(40), || {
            let shown = fleet();
            if shown.stdout.contains(text) { Ok(shown) } else { Err(shown.to_string()) }
        })
    };
    wait::until(Duration::from_secs(40), || {
        let shown = fleet();
        if shown.code == Some(0) && shown.stdout.lines().count() == 4 { Ok(()) } else { Err(shown.to_string()) }
    });
    // A change that the canary finds good.
    put("/lvs/edge", &with_weight(5));
    wait_for(1, &with_weight(5));
    assert_eq!(rules_of(2), WEB);
    wait_for(2, &with_weight(5));
    wait_for(3, &with_weight(5));
    // A change that it finds bad.
    write("ill", "");
    put("/lvs/edge", &with_weight(6));
    let shown = wait_for_fleet("lb1: bad: the command of --health failed");
    assert_eq!(shown.code, Some(2));
    wait_for(1, &with_weight(5));
    wait_for_fleet("lb2: held: lb1 reports it bad");
    assert_eq!((rules_of(2), rules_of(3)), (with_weight(5), with_weight(5)));
    // The next one is good again.
    ok("rm ill");
    put("/lvs/edge", &with_weight(7));
    for number in 1..=3 {
        wait_for(number, &with_weight(7));
    }
    // A change by hand.
    ok("ip netns exec lb3 ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1");
    wait_for(3, &with_weight(7));
    let drift_of_lb3 = |text: &str| {
        let row = text.lines().find(|line| line.starts_with("lb3 ")).unwrap_or_default().to_owned();
        row.split_whitespace().rev().nth(2).map(str::to_owned)
    };
    wait::until(SOON, || {
        let shown = fleet().stdout;
        if drift_of_lb3(&shown).as_deref() == Some("1") { Ok(()) } else { Err(shown) }
    });
    member.kill();
}
