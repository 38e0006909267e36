//! Counters and rates after real traffic. The kernel updates the values that it reports every two seconds.

use std::time::Duration;

use ipvs::{Change, Client, Namespace, Rates, Scheduler, Service, ServiceKey, ServiceState, Stats};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;

use super::{add, ip, server, submit};

ipvs_tests::tests! {
    counts_packets_and_bytes;
    rates;
    zero_resets_counters;
    connections_and_templates;
}

/// Returns the NAT laboratory with a UDP service on each of two ports.
fn director() -> (Nat, Client) {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Udp, "10.2.0.11:53").unwrap();
    let mut client = Client::open_in(&Namespace::Name("director".to_owned())).unwrap();
    for key in [dns(53), dns(54)] {
        submit(&mut client, [add(key), Change::AddDestination(key, server("10.2.0.11", 53))]);
    }
    (nat, client)
}

fn dns(port: u16) -> ServiceKey {
    ServiceKey::udp(ip(Nat::VIP), port)
}

/// Waits until the kernel has counted `packets` incoming packets.
#[track_caller]
fn wait_for_packets(client: &mut Client, key: &ServiceKey, packets: u64) -> Stats {
    wait::until(Duration::from_secs(30), || {
        let stats = client.service(key).unwrap().stats;
        if stats.incoming_packets == packets { Ok(stats) } else { Err(format!("{stats:?}")) }
    })
}

fn without_rates(mut stats: Stats) -> Stats {
    stats.rates = Rates::default();
    stats
}

/// Returns the expected counters for these requests and replies. Each has an IP header of 20 bytes and a UDP header of
/// 8.
fn expected(replies: &Replies) -> Stats {
    let lines = replies.servers.iter().zip(&replies.peers);
    let count = replies.servers.len() as u64;
    let mut stats = Stats::default();
    (stats.connections, stats.incoming_packets, stats.outgoing_packets) = (count, count, count);
    stats.incoming_bytes = count * (28 + "who?".len() as u64);
    stats.outgoing_bytes = lines.map(|(server, peer)| 28 + format!("{server} {peer}\n").len() as u64).sum();
    stats
}

fn counts_packets_and_bytes() {
    let (nat, mut client) = director();
    let replies = nat.client.client().datagrams(5, "10.1.0.100:53");
    assert_eq!(replies.to_string(), "web1=5");
    let stats = wait_for_packets(&mut client, &dns(53), 5);
    assert_eq!(without_rates(stats), expected(&replies));
    // All ways to read the counters return the same values. The other service has no traffic.
    let state = client.state().unwrap();
    let find = |key| state.services.iter().find(|state: &&ServiceState| state.service.key == key).unwrap();
    let seen = find(dns(53));
    assert_eq!(without_rates(seen.stats), expected(&replies));
    assert_eq!(without_rates(seen.destinations[0].stats), expected(&replies));
    assert_eq!(find(dns(54)).stats, Stats::default());
}

fn rates() {
    let (nat, mut client) = director();
    let replies = nat.client.client().datagrams(200, "10.1.0.100:53");
    assert_eq!(replies.to_string(), "web1=200");
    let rates = wait_for_packets(&mut client, &dns(53), 200).rates;
    let Rates { connections, incoming_packets, outgoing_packets, incoming_bytes, outgoing_bytes, .. } = rates;
    assert!(connections > 0, "{rates:?}");
    assert_eq!((incoming_packets, outgoing_packets), (connections, connections), "{rates:?}");
    // The rates are in bytes, not bits: 32 for a request, and more for a reply.
    assert!((30 * connections..34 * connections + 34).contains(&incoming_bytes), "{rates:?}");
    assert!(outgoing_bytes > incoming_bytes, "{rates:?}");
}

fn zero_resets_counters() {
    let (nat, mut client) = director();
    for address in ["10.1.0.100:53", "10.1.0.100:54"] {
        assert_eq!(nat.client.client().datagrams(3, address).to_string(), "web1=3");
    }
    wait_for_packets(&mut client, &dns(53), 3);
    wait_for_packets(&mut client, &dns(54), 3);
    let connections = |client: &mut Client, port| -> (u64, u64) {
        let servers = client.destinations(&dns(port)).unwrap();
        (client.service(&dns(port)).unwrap().stats.connections, servers[0].stats.connections)
    };
    submit(&mut client, [Change::Zero(Some(dns(53)))]);
    assert_eq!((connections(&mut client, 53), connections(&mut client, 54)), ((0, 0), (3, 3)));
    submit(&mut client, [Change::Zero(None)]);
    assert_eq!((connections(&mut client, 53), connections(&mut client, 54)), ((0, 0), (0, 0)));
    // Counting continues.
    assert_eq!(nat.client.client().datagrams(2, "10.1.0.100:53").to_string(), "web1=2");
    assert_eq!(wait_for_packets(&mut client, &dns(53), 2).connections, 2);
}

/// Numbers of connections are current, without the delay of two seconds.
fn connections_and_templates() {
    let (nat, mut client) = director();
    nat.web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    let key = ServiceKey::tcp(ip(Nat::VIP), 7);
    let sticky = Service { persistence: Some(300), ..Service::new(key, Scheduler::RR) };
    submit(&mut client, [Change::AddService(sticky), Change::AddDestination(key, server("10.2.0.11", 9000))]);
    let numbers = |client: &mut Client, key: &ServiceKey| {
        let server = &client.destinations(key).unwrap()[0];
        (server.active_connections, server.inactive_connections, server.persistent_connections)
    };
    let held = nat.client.client().hold(3, "10.1.0.100:7");
    assert_eq!(held.to_string(), "web1=3");
    assert_eq!(numbers(&mut client, &key), (3, 0, 1));
    drop(held);
    wait::until(Duration::from_secs(30), || match numbers(&mut client, &key) {
        (0, 3, 1) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    nat.client.client().datagrams(2, "10.1.0.100:53");
    assert_eq!(numbers(&mut client, &dns(53)), (0, 2, 0));
}
