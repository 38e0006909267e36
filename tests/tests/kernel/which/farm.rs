//! A director with four servers, the server that `which` prints for a client, and the one that replies.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use ipvs_tests::lab::farm;
pub(super) use ipvs_tests::lab::farm::{source_4, source_6};
use ipvs_tests::lab::topology::{Host, Lab};
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

impl Farm {
    pub(super) fn new() -> Farm {
        let farm::Farm { lab, client, director } = farm::Farm::new().unwrap();
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
        let line = format!("ipvsadm-rs which {service} --clients clients --json {options}");
        let ask = || serde_json::from_str::<Value>(&self.director.ok(&line)).unwrap();
        // Estimates end after two seconds. On a busy machine, they can need another attempt.
        let is_estimated = |found: &Value| {
            let left = found["effects"]["clients_not_estimated"].as_array();
            left.is_none_or(Vec::is_empty)
        };
        (0..10).map(|_| ask()).find(is_estimated).unwrap_or_else(ask)
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

/// Returns the name of a server in the JSON of `which`.
pub(super) fn name(server: &Value) -> String {
    let address = server["address"].as_str().unwrap_or_else(|| panic!("no server: {server}"));
    format!("rs{}", address.chars().last().unwrap())
}

/// Returns the servers that `which` printed for new connections, or for those after a change (`then`).
pub(super) fn predicted(which: &Value, when: &str) -> Vec<String> {
    let of = |client: &Value| {
        let decision = &client[when];
        match decision["result"].as_str().unwrap() {
            "server" => name(&decision["server"]),
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
