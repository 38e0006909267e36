//! Persistence: by address or network, for one or all ports, and its timeout.
//!
//! ```text
//!          client ──── outside ──── director ──── inside ──┬── rs1  10.2.0.11  fd02::11
//!  10.1.1.10 10.1.1.11            10.1.0.1    10.2.0.1     └── rs2  10.2.0.12  fd02::12
//!  10.1.2.10 10.1.2.11             fd01::1     fd02::1
//!  fd01:0:0:1::10 …::11       virtual: 10.1.0.100, fd01::100
//!  fd01:0:0:2::10 …::11
//! ```

use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    address_is_one_client;
    network_is_one_client;
    network_is_one_client_in_ipv6;
    port_0_joins_all_ports;
    ends_after_its_timeout;
}

const NET_1: [&str; 2] = ["10.1.1.10", "10.1.1.11"];
const NET_2: [&str; 2] = ["10.1.2.10", "10.1.2.11"];
const NET_1_6: [&str; 2] = ["fd01:0:0:1::10", "fd01:0:0:1::11"];
const NET_2_6: [&str; 2] = ["fd01:0:0:2::10", "fd01:0:0:2::11"];

struct Nets {
    _lab: Lab,
    client: Host,
    director: Host,
}

fn nets() -> Nets {
    let lab = Lab::new().unwrap();
    let [client, director, rs1, rs2] = lab.hosts(["client", "director", "rs1", "rs2"]).unwrap();
    let of_client = [&NET_1[..], &NET_2].concat().iter().map(|ip| format!("{ip}/16 ")).collect::<String>();
    let of_client_6 = [&NET_1_6[..], &NET_2_6].concat().iter().map(|ip| format!("{ip}/32 ")).collect::<String>();
    let outside =
        [(&client, &*(of_client + &of_client_6)), (&director, "10.1.0.1/16 10.1.0.100/32 fd01::1/32 fd01::100/128")];
    let inside =
        [(&director, "10.2.0.1/24 fd02::1/64"), (&rs1, "10.2.0.11/24 fd02::11/64"), (&rs2, "10.2.0.12/24 fd02::12/64")];
    lab.segment("outside", outside).unwrap();
    lab.segment("inside", inside).unwrap();
    director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    director.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    for rs in [&rs1, &rs2] {
        rs.gateway("10.2.0.1").unwrap();
        rs.gateway("fd02::1").unwrap();
        rs.serve(Tcp, "[::]:80").unwrap();
        rs.serve(Tcp, "[::]:443").unwrap();
        rs.serve(Udp, "[::]:53").unwrap();
    }
    under_test::install();
    Nets { _lab: lab, client, director }
}

impl Nets {
    fn service(&self, service: &str, servers: [&str; 2]) {
        self.director.ok(&format!("ipvsadm -A {service}"));
        let service = service.split(" -s ").next().unwrap();
        for server in servers {
            self.director.ok(&format!("ipvsadm -a {service} -r {server} -m"));
        }
    }

    /// Returns the server of a source. Three requests must reach the same server.
    fn server_of(&self, source: &str, address: &str) -> String {
        let mut servers = self.client.client().from(source).hold(3, address).servers;
        assert!(servers.iter().all(|name| *name == servers[0]), "{source}: {servers:?}");
        servers.remove(0)
    }
}

fn address_is_one_client() {
    let nets = nets();
    nets.service("-t 10.1.0.100:80 -s rr -p", ["10.2.0.11", "10.2.0.12"]);
    let servers = NET_1.map(|source| nets.server_of(source, "10.1.0.100:80"));
    assert_ne!(servers[0], servers[1]);
    assert_eq!(NET_1.map(|source| nets.server_of(source, "10.1.0.100:80")), servers);
    assert!(nets.director.ok("ipvsadm -Ln").contains("TCP  10.1.0.100:80 rr persistent 360\n"));
    // The template of a client is listed as a connection from port 0.
    let connections = nets.director.ok("ipvsadm -Lnc");
    assert!(NET_1.iter().all(|source| connections.contains(&format!(" {source}:0 "))), "{connections}");
    // Weight, persistent, active and inactive connections.
    let list = nets.director.ok("ipvsadm -Ln --persistent-conn");
    let counts = list.lines().filter(|line| line.contains("->") && line.contains(":80"));
    let counts: Vec<&str> = counts.map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(counts, ["1", "1"], "{list}");
}

fn network_is_one_client() {
    let nets = nets();
    nets.service("-t 10.1.0.100:80 -s rr -p 60 -M 255.255.255.0", ["10.2.0.11", "10.2.0.12"]);
    one_server_for_each(&nets, "10.1.0.100:80", NET_1, NET_2);
}

fn network_is_one_client_in_ipv6() {
    let nets = nets();
    nets.service("-t [fd01::100]:80 -s rr -p 60 -M 64", ["[fd02::11]:80", "[fd02::12]:80"]);
    one_server_for_each(&nets, "[fd01::100]:80", NET_1_6, NET_2_6);
}

fn one_server_for_each(nets: &Nets, address: &str, net_1: [&str; 2], net_2: [&str; 2]) {
    let [of_net_1, of_net_2] = [net_1, net_2].map(|net| net.map(|source| nets.server_of(source, address)));
    assert_eq!(of_net_1[0], of_net_1[1]);
    assert_eq!(of_net_2[0], of_net_2[1]);
    assert_ne!(of_net_1[0], of_net_2[0]);
}

/// The service has port 0.
fn port_0_joins_all_ports() {
    let nets = nets();
    nets.service("-t 10.1.0.100:0 -s rr -p 60", ["10.2.0.11", "10.2.0.12"]);
    let servers = ["10.1.0.100:80", "10.1.0.100:443"].map(|address| nets.server_of(NET_1[0], address));
    assert_eq!(servers[0], servers[1]);
    assert_ne!(nets.server_of(NET_2[0], "10.1.0.100:443"), servers[0]);
}

fn ends_after_its_timeout() {
    let nets = nets();
    nets.service("-u 10.1.0.100:53 -s rr -p 2", ["10.2.0.11", "10.2.0.12"]);
    nets.director.ok("ipvsadm --set 0 0 1");
    let ask = || nets.client.client().from(NET_1[0]).datagrams(3, "10.1.0.100:53").to_string();
    let first = ask();
    assert!(["rs1=3", "rs2=3"].contains(&first.as_str()), "{first}");
    wait::until(Duration::from_secs(30), || {
        let connections = nets.director.ok("ipvsadm -Lnc");
        if connections.contains(NET_1[0]) { Err(connections) } else { Ok(()) }
    });
    assert_ne!(ask(), first, "the client still has its first server");
}
