//! Runs the commands in docs/operations.md, the README and the manual pages exactly as written.

pub(crate) mod page;

use std::time::Duration;

use ipvs_tests::command::{install, install_script};
use ipvs_tests::guest::folder;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::client::GET;
use ipvs_tests::traffic::server::Protocol::{Http, Tcp};
use ipvs_tests::wait;

use crate::under_test;
use page::Page;

pub(crate) const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
const MANUAL: [&str; 4] = [
    include_str!("../../../../ipvsadm-rs/manual/ipvsadm.md"),
    include_str!("../../../../ipvsadm-rs/manual/ipvsadm-save.md"),
    include_str!("../../../../ipvsadm-rs/manual/ipvsadm-restore.md"),
    include_str!("../../../../ipvsadm-rs/manual/ipvsadm-rs.md"),
];
pub(crate) const README: &str = include_str!("../../../../README.md");

ipvs_tests::tests! {
    every_heading_has_a_test;
    nat_page;
    nat_without_a_route_back, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    direct_routing_page;
    tunnels_page;
    two_directors_page;
    farm_behind_ecmp_page, needs = "etcd-server etcd-client";
    changing_a_director_in_use_page;
    checking_a_director_page;
    watching_a_director_page;
    which_server_page;
    maintenance_of_a_server_page;
    moving_traffic_page;
    keepalived_and_ldirectord_page;
    way_back_page;
    install_by_hand;
    readme_five_minutes;
    manual_page_examples;
}

const NFT: &[&str] = &[under_test::PROGRAM, "/usr/sbin/nft", "/usr/sbin/sysctl", "/usr/bin/ip"];

fn every_heading_has_a_test() {
    let headings: Vec<&str> = page::headings(OPERATIONS).collect();
    assert_eq!(
        headings,
        [
            "NAT",
            "NAT without a route back",
            "Direct routing",
            "Tunnels",
            "Two directors",
            "Clusters",
            "A cluster with pcs",
            "A cluster with crmsh",
            "ldirectord in a cluster",
            "A farm behind ECMP",
            "Changing a director in use",
            "Checking a director",
            "Watching a director",
            "Which server gets a client",
            "Maintenance of a server",
            "Moving traffic",
            "keepalived and ldirectord",
            "Way back"
        ]
    );
}

/// Runs the commands under a heading on hosts with the names in the prompts.
fn run(heading: &str, hosts: &[&Host]) {
    under_test::install();
    install_curl();
    let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
    Page::of(OPERATIONS, heading, &names).run(|name, command| {
        let host = hosts.iter().find(|host| host.name() == name).unwrap_or_else(|| panic!("no host {name}"));
        // With the signs of the page.
        host.shell(&format!("export LC_ALL=C.UTF-8\n{command}"))
    });
}

/// Installs a replacement for curl with the features that these pages need.
pub(crate) fn install_curl() {
    std::fs::create_dir_all("/usr/local/bin").unwrap();
    install(folder::path("exe"), format!("/usr/local/bin/{GET}")).unwrap();
    install_script("/usr/local/bin/curl", format!("#!/bin/sh\nexec {GET} \"$1\"\n")).unwrap();
}

/// Builds client, director and servers in two networks, without routes between them.
fn two_armed() -> (Lab, [Host; 4]) {
    let lab = Lab::new().unwrap();
    let hosts = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    let [client, director, web1, web2] = &hosts;
    lab.segment("outside", [(client, "10.1.0.10/24"), (director, "10.1.0.1/24")]).unwrap();
    lab.segment("inside", [(director, "10.2.0.1/24"), (web1, "10.2.0.11/24"), (web2, "10.2.0.12/24")]).unwrap();
    for web in [web1, web2] {
        web.serve(Http, "0.0.0.0:8080").unwrap();
    }
    (lab, hosts)
}

fn nat_page() {
    let (_lab, hosts) = two_armed();
    run("NAT", &hosts.each_ref());
}

fn nat_without_a_route_back() {
    let (_lab, hosts) = two_armed();
    run("NAT without a route back", &hosts.each_ref());
}

fn direct_routing_page() {
    let lab = Lab::new().unwrap();
    let hosts = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    let [client, director, web1, web2] = &hosts;
    let plugs = [(client, "10.1.0.10/24"), (director, "10.1.0.1/24"), (web1, "10.1.0.11/24"), (web2, "10.1.0.12/24")];
    lab.segment("lan", plugs).unwrap();
    for web in [web1, web2] {
        web.serve(Http, "0.0.0.0:80").unwrap();
    }
    run("Direct routing", &hosts.each_ref());
}

fn tunnels_page() {
    let lab = Lab::new().unwrap();
    let hosts = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    let [client, director, web1, web2] = &hosts;
    let router = lab.host("router").unwrap();
    lab.segment("front", [(client, "10.1.0.10/24"), (director, "10.1.0.1/24"), (&router, "10.1.0.254/24")]).unwrap();
    lab.segment("back", [(&router, "10.3.0.254/24"), (web1, "10.3.0.11/24"), (web2, "10.3.0.12/24")]).unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    director.gateway("10.1.0.254").unwrap();
    for web in [web1, web2] {
        web.gateway("10.3.0.254").unwrap();
        web.serve(Http, "0.0.0.0:80").unwrap();
        web.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    }
    under_test::modprobe();
    run("Tunnels", &hosts.each_ref());
}

fn two_directors_page() {
    let lab = Lab::new().unwrap();
    let [director, backup] = lab.hosts(["director", "backup"]).unwrap();
    lab.segment("outside", [(&director, "10.1.0.1/24"), (&backup, "10.1.0.2/24")]).unwrap();
    run("Two directors", &[&director, &backup]);
}

fn farm_behind_ecmp_page() {
    let lab = Lab::new().unwrap();
    let hosts = lab.hosts(["client", "router", "store", "lb1", "lb2", "web1", "web2"]).unwrap();
    let [client, router, store, lb1, lb2, web1, web2] = &hosts;
    lab.segment("outside", [(client, "10.4.0.10/24"), (router, "10.4.0.254/24")]).unwrap();
    let front = [(router, "10.1.0.254/24"), (store, "10.1.0.9/24"), (lb1, "10.1.0.1/24"), (lb2, "10.1.0.2/24")];
    lab.segment("front", front).unwrap();
    lab.segment("back", [(router, "10.3.0.254/24"), (web1, "10.3.0.11/24"), (web2, "10.3.0.12/24")]).unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    client.gateway("10.4.0.254").unwrap();
    [store, lb1, lb2].iter().for_each(|host| host.gateway("10.1.0.254").unwrap());
    for web in [web1, web2] {
        web.gateway("10.3.0.254").unwrap();
        web.serve(Http, "0.0.0.0:80").unwrap();
        web.serve(Tcp, "0.0.0.0:9000").unwrap();
    }
    under_test::modprobe();
    store.ok("ip link set lo up");
    let _etcd = store.start(
        "etcd --unsafe-no-fsync --logger zap --log-level warn --listen-client-urls http://0.0.0.0:2379 \
         --advertise-client-urls http://10.1.0.9:2379",
    );
    wait::until(Duration::from_secs(60), || {
        let put = store.run("etcdctl --command-timeout 5s put /test x");
        if put.code == Some(0) { Ok(()) } else { Err(put.to_string()) }
    });
    run("A farm behind ECMP", &hosts.each_ref());
    // Connections survive that the router sends all of them to one director.
    store.shell("sed 's/:80/:9000/g' edge.rules >> edge.rules.2 && cat edge.rules >> edge.rules.2").ok();
    store.shell("etcdctl put /lvs/edge < edge.rules.2").ok();
    for director in [lb1, lb2] {
        wait::until(Duration::from_secs(30), || {
            let rules = director.ok("ipvsadm-save -n");
            if rules.contains("10.1.0.100:9000 -r 10.3.0.12") { Ok(()) } else { Err(rules) }
        });
    }
    let held = client.client().hold(16, "10.1.0.100:9000");
    let replies = held.to_string();
    assert!(replies.contains("web1=") && replies.contains("web2=") && !replies.contains("timeout"), "{replies}");
    let connections = |director: &Host| director.ok("ipvsadm-rs connections --by state");
    assert!([lb1, lb2].iter().all(|director| connections(director).contains("ESTABLISHED")), "both have some");
    router.ok("ip route replace 10.1.0.100 via 10.1.0.2");
    assert_eq!(held.again().to_string(), replies);
}

fn changing_a_director_in_use_page() {
    let (_lab, hosts) = two_armed();
    run("Changing a director in use", &hosts.each_ref());
}

fn checking_a_director_page() {
    let (_lab, hosts) = two_armed();
    run("Checking a director", &hosts.each_ref());
}

fn watching_a_director_page() {
    let (_lab, hosts) = two_armed();
    run("Watching a director", &hosts.each_ref());
}

fn which_server_page() {
    let (_lab, hosts) = two_armed();
    run("Which server gets a client", &hosts.each_ref());
}

fn maintenance_of_a_server_page() {
    let (_lab, hosts) = two_armed();
    run("Maintenance of a server", &hosts.each_ref());
}

fn moving_traffic_page() {
    let (_lab, hosts) = two_armed();
    run("Moving traffic", &hosts.each_ref());
}

fn keepalived_and_ldirectord_page() {
    let (_lab, hosts) = two_armed();
    let line =
        "`ipvsadm-rs` reads the configurations of these daemons. This `keepalived.conf` has one service, and checks:";
    std::fs::write("keepalived.conf", page::block_after(OPERATIONS, line)).unwrap();
    run("keepalived and ldirectord", &hosts.each_ref());
}

fn way_back_page() {
    let (_lab, hosts) = two_armed();
    run("Way back", &hosts.each_ref());
}

fn install_by_hand() {
    std::fs::create_dir_all("target/release").unwrap();
    install(under_test::PROGRAM, "target/release/ipvsadm-rs").unwrap();
    let block = page::block_after(README, "By hand, anywhere:");
    let (build, rest) = block.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release");
    ipvs_tests::command::shell(&format!("set -e\n{rest}")).ok();
    assert!(ipvs_tests::command::ok("/usr/local/sbin/ipvsadm -v").starts_with("ipvsadm v"));
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"] {
        let made = [format!("man/man8/{name}.8"), format!("bash-completion/completions/{name}")];
        for file in made {
            assert_ne!(std::fs::metadata(format!("/usr/local/share/{file}")).unwrap().len(), 0, "{file}");
        }
    }
}

fn readme_five_minutes() {
    under_test::install();
    Page::of(README, "Five minutes", &[""]).run(|_, command| ipvs_tests::command::shell(command));
}

fn manual_page_examples() {
    under_test::install();
    for text in MANUAL {
        Page::of_manual(text).run(|_, command| ipvs_tests::command::shell(command));
        ipvs_tests::command::ok("ipvsadm -C");
    }
}
