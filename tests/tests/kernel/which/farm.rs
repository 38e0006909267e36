//! A director with four servers, and clients of many addresses.
//!
//! ```text
//!   client ──── outside ──── director ──── inside ──┬── rs1  10.2.0.11
//!  10.1.0.10               10.1.0.1  10.2.0.1       ├── rs2  10.2.0.12
//!  fd01::10                 fd01::1  fd02::1        ├── rs3  10.2.0.13
//!  and all of 10.9.0.0/16  and all of 10.8.0.0/16   └── rs4  10.2.0.14
//!  and of fd09::/64        and of fd08::/64                  (fd02::14)
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use serde_json::Value;

use crate::under_test;

pub(super) struct Farm {
    _lab: Lab,
    pub(super) client: Host,
    pub(super) director: Host,
}

/// The number of clients of a case. All cases of a scheduler together have 10,000.
pub(super) fn clients(default: u32) -> u32 {
    std::env::var("IPVS_CONNECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Returns two bytes that are far apart for successive numbers. Numbers below 60,000 have different bytes.
fn nth(n: u32) -> [u8; 2] {
    [(n.wrapping_mul(37) % 251) as u8, (n.wrapping_mul(101) % 241) as u8]
}

pub(super) fn source_4(n: u32) -> IpAddr {
    let [high, low] = nth(n);
    Ipv4Addr::new(10, 9, high, low).into()
}

pub(super) fn source_6(n: u32) -> IpAddr {
    let [high, low] = nth(n);
    Ipv6Addr::new(0xfd09, 0, 0, 0, u16::from(low) << 8, 7, u16::from(high), n as u16).into()
}

impl Farm {
    pub(super) fn new() -> Farm {
        let lab = Lab::new().unwrap();
        let [client, director, rs1, rs2, rs3, rs4] =
            lab.hosts(["client", "director", "rs1", "rs2", "rs3", "rs4"]).unwrap();
        let outside = [(&client, "10.1.0.10/24 fd01::10/64"), (&director, "10.1.0.1/24 fd01::1/64")];
        lab.segment("outside", outside).unwrap();
        lab.segment("inside", [(&director, "10.2.0.1/24 fd02::1/64")]).unwrap();
        for (rs, last) in [(&rs1, 11), (&rs2, 12), (&rs3, 13), (&rs4, 14)] {
            lab.plug(rs, "inside", &format!("10.2.0.{last}/24 fd02::{last}/64")).unwrap();
            rs.gateway("10.2.0.1").unwrap();
            rs.gateway("fd02::1").unwrap();
            rs.serve(Udp, "[::]:80").unwrap();
            rs.serve(Tcp, "[::]:80").unwrap();
        }
        client.ok("ip route add local 10.9.0.0/16 dev lo");
        client.ok("ip route add local fd09::/64 dev lo");
        client.sysctl("net/ipv6/ip_nonlocal_bind", "1").unwrap();
        client.route("10.8.0.0/16", "10.1.0.1").unwrap();
        client.gateway("fd01::1").unwrap();
        director.ok("ip route add local 10.8.0.0/16 dev lo");
        director.ok("ip route add local fd08::/64 dev lo");
        director.route("10.9.0.0/16", "10.1.0.10").unwrap();
        director.route("fd09::/64", "fd01::10").unwrap();
        for (path, value) in [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")] {
            director.sysctl(path, value).unwrap();
        }
        director.send_all_icmp_errors().unwrap();
        under_test::install();
        Farm { _lab: lab, client, director }
    }

    /// Sets mark 1 for all packets to 10.8.0.0/16 and fd08::/64.
    pub(super) fn mark(&self) {
        self.director.ok("tc qdisc add dev eth0 clsact");
        for (protocol, network) in [("ip", "10.8.0.0/16"), ("ipv6", "fd08::/64")] {
            self.director.ok(&format!(
                "tc filter add dev eth0 ingress protocol {protocol} flower dst_ip {network} action skbedit mark 1"
            ));
        }
    }

    /// Replaces the table by one service.
    pub(super) fn table(&self, service: &str, options: &str, servers: &[(&str, u32)]) {
        self.director.ok("ipvsadm -C");
        self.director.ok(&format!("ipvsadm -A {service} {options}"));
        for (server, weight) in servers {
            self.director.ok(&format!("ipvsadm -a {service} -r {server} -m -w {weight}"));
        }
    }

    /// Returns the JSON of `which` for these clients.
    pub(super) fn which(&self, service: &str, options: &str, clients: &[SocketAddr]) -> Value {
        let lines: String = clients.iter().map(|client| format!("{client}\n")).collect();
        std::fs::write("clients", lines).unwrap();
        let json = self.director.ok(&format!("ipvsadm-rs which {service} --clients clients --json {options}"));
        serde_json::from_str(&json).unwrap()
    }

    /// Sends a datagram from each client and returns the names of the servers that reply, `refused` or `no reply`.
    pub(super) fn ask(&self, clients: &[SocketAddr], to: impl Fn(usize) -> SocketAddr + Send + Sync) -> Vec<String> {
        self.client.enter(|| {
            let ask = |(n, client): (usize, &SocketAddr)| {
                let socket = UdpSocket::bind(client).unwrap_or_else(|error| panic!("bind {client}: {error}"));
                socket.connect(to(n)).unwrap();
                socket
                    .set_read_timeout(Some(Duration::from_millis(if client.is_ipv4() { 5000 } else { 500 })))
                    .unwrap();
                socket.send(b"who?").unwrap();
                let mut reply = [0; 100];
                match socket.recv(&mut reply) {
                    Ok(length) => {
                        let reply = String::from_utf8_lossy(&reply[..length]).into_owned();
                        reply.split(' ').next().unwrap_or_default().to_owned()
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
                    Err(_) => "no reply".to_owned(),
                }
            };
            clients.iter().enumerate().map(ask).collect()
        })
    }
}

/// Returns the name of the server with an address and port.
pub(super) fn name(server: &str) -> String {
    let server: SocketAddr = server.parse().unwrap();
    let text = server.ip().to_string();
    format!("rs{}", text.chars().last().unwrap())
}

/// Returns the servers that `which` printed for new connections, or for those after a change (`then`).
pub(super) fn predicted(which: &Value, when: &str) -> Vec<String> {
    let of = |client: &Value| {
        let decision = &client[when];
        match decision["result"].as_str().unwrap() {
            "server" => name(decision["server"].as_str().unwrap()),
            other => other.to_owned(),
        }
    };
    which["clients"].as_array().unwrap().iter().map(of).collect()
}

/// Fails if the two differ, and prints the number of differences and the first ones.
#[track_caller]
pub(super) fn compare(case: &str, clients: &[SocketAddr], predicted: &[String], seen: &[String]) {
    assert_eq!((predicted.len(), seen.len()), (clients.len(), clients.len()), "{case}");
    let all = clients.iter().zip(predicted.iter().zip(seen));
    // Linux does not report each refusal to an IPv6 client.
    let is_same = |client: &SocketAddr, predicted: &str, seen: &str| {
        predicted == seen || client.is_ipv6() && predicted == "refused" && seen == "no reply"
    };
    let wrong: Vec<_> = all.filter(|(client, (predicted, seen))| !is_same(client, predicted, seen)).collect();
    assert!(
        wrong.is_empty(),
        "{case}: {} of {} differ: {:?}",
        wrong.len(),
        clients.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// Returns the number of clients of each server.
pub(super) fn counts(servers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    servers.iter().for_each(|server| *counts.entry(server.as_str()).or_insert(0) += 1);
    counts
}
