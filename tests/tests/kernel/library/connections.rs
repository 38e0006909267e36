//! Selection and sums of connections.
//!
//! The network is [`Nat::DRAWING`].

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipvs::{
    Client, ConnectionEntry, ConnectionFilter, ConnectionSums, Connections, Destination, DestinationKey, Family,
    Forwarding, IpNet, Protocol, Scheduler, Service, ServiceIndex, ServiceKey,
};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Tcp;

use crate::under_test;

ipvs_tests::tests! {
    filters_and_sums_agree_with_the_command;
    entries_know_their_service;
    sums_need_no_memory_for_entries;
}

fn filters_and_sums_agree_with_the_command() {
    let nat = Nat::new().unwrap();
    under_test::install();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    let mut client = nat.director.enter(Client::open).unwrap();
    // One service is persistent, and one has port 0, which requires persistence.
    let web = Service::new(ServiceKey::tcp([10, 1, 0, 100], 80), Scheduler::RR);
    let all = Service { persistence: Some(300), ..Service::new(ServiceKey::tcp([10, 1, 0, 101], 0), Scheduler::RR) };
    for (service, port) in [(web, 80), (all, 0)] {
        client.add_service(&service).unwrap();
        for last in [11, 12] {
            let server = Destination::new(([10, 2, 0, last], port), Forwarding::Masquerade);
            client.add_destination(&service.key, &server).unwrap();
        }
    }
    nat.director.ok("ip address add 10.1.0.101/32 dev lo");
    let held = nat.client.client().hold(4, "10.1.0.100:80");
    assert_eq!(held.to_string(), "web1=2 web2=2");
    let persistent = nat.client.client().hold(3, "10.1.0.101:80");
    assert_eq!(persistent.open.len(), 3, "{persistent}");

    let state = client.state().unwrap();
    let read = |filter: ConnectionFilter| -> Vec<ConnectionEntry> {
        let table = nat.director.enter(|| client.connections()).unwrap();
        table.matching(filter).map(Result::unwrap).collect()
    };
    let count = |filter| read(filter).len();
    let any = ConnectionFilter::default;
    assert_eq!(count(any()), 8, "{:?}", read(any()));
    assert_eq!(count(any().templates(true)), 1);
    assert_eq!(count(any().protocol(Protocol::Udp)), 0);
    assert_eq!(count(any().state("ESTABLISHED")), 7);
    assert_eq!(count(any().service(web.key)), 4);
    assert_eq!(count(any().service(web.key).destination(DestinationKey::new([10, 2, 0, 11], 80))), 2);
    let source = held.open[0].local_addr().unwrap().ip();
    assert_eq!(count(any().client(IpNet::from(source)).templates(false)), 7);
    assert_eq!(count(any().client("10.99.0.0/16".parse::<IpNet>().unwrap())), 0);
    // Port 0 of the service: its connections have the port of their packets, and the state finds the service.
    let of_all = read(any()).iter().filter(|entry| state.service_of(entry).unwrap().service.key == all.key).count();
    assert_eq!(of_all, 4);

    let sums: ConnectionSums = read(any()).into_iter().collect();
    let list = nat.director.ok("ipvsadm -Lnc");
    for (server, state, count) in sums.iter() {
        let (server, state) = (server.to_string(), state.to_string());
        let lines = list.lines().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.len() >= 6 && words[2] == state && words[5] == server
        });
        assert_eq!(lines.count() as u64, count, "{server} {state}\n{list}");
    }
    assert_eq!(sums.total(), 8);
}

/// Each service of a mark and each persistent service has one template. A connection of a mark has no service.
fn entries_know_their_service() {
    let nat = Nat::dual_stack().unwrap();
    let mut client = nat.director.enter(Client::open).unwrap();
    nat.director.run("tc qdisc add dev eth0 clsact");
    let families = [
        (Family::V4, "ip", "10.1.0.100", ["10.2.0.11", "10.2.0.12"]),
        (Family::V6, "ipv6", "fd01::100", ["fd02::11", "fd02::12"]),
    ];
    for (family, protocol, vip, servers) in families {
        for (web, server) in [&nat.web1, &nat.web2].into_iter().zip(servers) {
            for port in [80, 443] {
                web.serve(Tcp, &SocketAddr::new(server.parse().unwrap(), port).to_string()).unwrap();
            }
        }
        nat.director.ok(&format!(
            "tc filter add dev eth0 ingress protocol {protocol} flower dst_ip {vip} ip_proto tcp dst_port 443 \
             action skbedit mark 4294967295"
        ));
        let vip: IpAddr = vip.parse().unwrap();
        let marked = ServiceKey::fwmark(u32::MAX, family).unwrap();
        let web = ServiceKey::tcp(vip, 80);
        for key in [marked, web] {
            client.add_service(&Service { persistence: Some(3600), ..Service::new(key, Scheduler::RR) }).unwrap();
            for server in servers {
                let port = key.port().unwrap_or(0);
                let server = DestinationKey::new(server.parse::<IpAddr>().unwrap(), port);
                client.add_destination(&key, &Destination::new(server, Forwarding::Masquerade)).unwrap();
            }
        }
        let _held = [80, 443].map(|port| {
            let held =
                nat.client.client().patience(Duration::from_secs(10)).hold(2, &SocketAddr::new(vip, port).to_string());
            assert_eq!(held.open.len(), 2, "{held}");
            held
        });
        let state = client.state().unwrap();
        let entries: Vec<_> = nat.director.enter(|| client.connections()).unwrap().map(Result::unwrap).collect();
        let entries = entries.iter().filter(|entry| entry.family() == family);
        let index = ServiceIndex::new(&state.services);
        for entry in entries.clone() {
            let by_mark = entry.service.port() == 443 || entry.fwmark().is_some();
            assert_eq!(index.find(entry).one(), Some(if by_mark { marked } else { web }), "{entry:?}");
        }
        let mut found: Vec<_> = entries
            .map(|entry| {
                let service = state.service_of(entry).map(|state| state.service.key);
                (entry.is_template(), entry.service_key().unwrap(), service)
            })
            .collect();
        found.sort();
        let https = ServiceKey::tcp(vip, 443);
        let mut expected = [
            (false, web, Some(web)),
            (false, web, Some(web)),
            (false, https, None),
            (false, https, None),
            (true, web, Some(web)),
            (true, marked, Some(marked)),
        ];
        expected.sort();
        assert_eq!(found, expected, "{family}");
    }
}

/// Makes 100,000 lines as they are read.
struct Table {
    next: u32,
    line: Vec<u8>,
}

impl Read for Table {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.line.is_empty() && self.next < 100_000 {
            let client = 0x0A09_0000 + self.next;
            let server = 0x0A01_0001 + self.next % 2;
            self.line = format!("TCP {client:08X} 9C41 0A000001 0050 {server:08X} 1F90 ESTABLISHED     899\n").into();
            self.next += 1;
        }
        let size = self.line.len().min(into.len());
        into[..size].copy_from_slice(&self.line[..size]);
        self.line.drain(..size);
        Ok(size)
    }
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn sums(first: u32) -> ConnectionSums {
    let line = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n".to_vec();
    let entries = Connections::new(Table { next: first, line }).unwrap();
    entries.matching(ConnectionFilter::default().protocol(Protocol::Tcp)).map(Result::unwrap).collect()
}

/// The entries would take more than 10 MB. The first pass loads the code, which also takes memory.
fn sums_need_no_memory_for_entries() {
    assert_eq!(sums(99_000).total(), 1000);
    let before = peak_kib();
    let sums = sums(0);
    assert_eq!((sums.total(), sums.iter().count()), (100_000, 2));
    let grown = peak_kib() - before;
    assert!(grown < 4096, "{grown} KiB");
}
