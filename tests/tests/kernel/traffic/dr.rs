//! Direct routing: all hosts are on one segment. Director and servers have the virtual address, but only the director
//! replies to ARP for it. Servers reply directly to the client.
//!
//! ```text
//!   client     director       web1       web2
//! 10.1.0.10    10.1.0.1    10.1.0.11  10.1.0.12
//!  fd01::10    fd01::1      fd01::11   fd01::12
//!     └────────────┴── lan ─────┴──────────┘       virtual, on all three: 10.1.0.100, fd01::100
//! ```

use std::net::IpAddr;
use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Lan};
use ipvs_tests::traffic::packets::{Packet, Watch};
use ipvs_tests::traffic::server::Protocol::{Http, Udp};
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    replies_bypass_the_director;
    replies_bypass_the_director_in_ipv6;
    server_without_sysctls_replies_to_arp;
    one_packet_scheduling_spreads_one_socket;
    one_packet_scheduling_spreads_one_socket_in_ipv6;
}

fn lan() -> Lan {
    under_test::install();
    Lan::new().unwrap()
}

fn replies_bypass_the_director() {
    check_replies_bypass("10.1.0.100", "10.1.0.100:80", ["10.1.0.11", "10.1.0.12"]);
}

fn replies_bypass_the_director_in_ipv6() {
    check_replies_bypass("fd01::100", "[fd01::100]:80", ["[fd01::11]:80", "[fd01::12]:80"]);
}

fn check_replies_bypass(vip: &str, web: &str, servers: [&str; 2]) {
    let Lan { client, director, web1, web2, .. } = &lan();
    director.ok(&format!("ipvsadm -A -t {web} -s rr"));
    for (host, server) in [(web1, servers[0]), (web2, servers[1])] {
        under_test::real_server(host, &format!("--mode dr --vip {vip}"));
        host.serve(Http, web).unwrap();
        director.ok(&format!("ipvsadm -a -t {web} -r {server} -g"));
    }
    let (at_director, at_client) = (director.watch().unwrap(), client.watch().unwrap());
    assert_eq!(client.client().pages(6, web).to_string(), "web1=3 web2=3");

    // The director sees each packet of the client twice, incoming and outgoing, and no replies.
    let vip_is: IpAddr = vip.parse().unwrap();
    let requests = |watch: &Watch| tcp(watch).filter(|packet| packet.destination() == vip_is).count();
    let replies = |watch: &Watch| tcp(watch).filter(|packet| packet.source() == vip_is).count();
    wait::until(Duration::from_secs(30), || match (requests(&at_client), requests(&at_director)) {
        (sent, seen) if seen == 2 * sent => Ok(()),
        // The last packets may not have been captured yet.
        (sent, seen) => Err(format!("{sent} packets of the client, {seen} at the director")),
    });
    assert_eq!(replies(&at_director), 0);
    assert!(replies(&at_client) >= 6 * 3);

    // The servers have sent ARP requests for the client. The virtual address was not the sender (arp_announce).
    let neighbour = client.ok(&format!("ip neigh show {vip}"));
    let of_director = director.ok("ip -brief link show eth0");
    let mac = of_director.split_whitespace().find(|word| word.matches(':').count() == 5).unwrap();
    assert!(neighbour.contains(mac), "{neighbour}: expected {mac}");

    let connections = director.ok("ipvsadm -Lnc");
    assert_eq!(connections.matches(web).count(), 6, "{connections}");
    wait_for_counters(director, web);
}

/// Waits until six connections have been counted, with incoming packets and without outgoing ones.
fn wait_for_counters(director: &Host, web: &str) {
    wait::until(Duration::from_secs(30), || {
        let stats = director.ok(&format!("ipvsadm -Ln --stats --exact -t {web}"));
        let line = stats.lines().find(|line| line.contains(web)).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // Connections, packets in and out, bytes in and out.
            ["TCP", _, "6", packets, "0", _, "0"] if packets != "0" => Ok(()),
            _ => Err(stats),
        }
    });
}

fn tcp(watch: &Watch) -> impl Iterator<Item = Packet> {
    watch.packets().into_iter().filter(|packet| packet.protocol() == libc::IPPROTO_TCP)
}

/// A server replies to ARP for an address on lo unless arp_ignore is set.
fn server_without_sysctls_replies_to_arp() {
    let Lan { client, web1, web2, .. } = &lan();
    let neighbour_of = |host: &Host| {
        let seen = host.ok("ip neigh show 10.9.9.9");
        assert_eq!(seen, "", "the address is already resolved");
        // A datagram makes the client send an ARP request.
        let _ = client.client().patience(Duration::from_millis(300)).datagrams(1, "10.9.9.9:9");
        client.ok("ip neigh show 10.9.9.9")
    };
    client.with(|socket| socket.add_device_route("10.9.9.9/32", "eth0")).unwrap();
    web1.address("lo", "10.9.9.9/32").unwrap();
    assert!(neighbour_of(client).contains("lladdr"), "the server replies to ARP for an address on lo");
    client.ok("ip neigh flush all");
    web1.with(|socket| socket.delete_address("lo", "10.9.9.9/32")).unwrap();
    under_test::real_server(web2, "--mode dr --vip 10.9.9.9");
    assert!(!neighbour_of(client).contains("lladdr"), "the server that is set up does not reply");
}

fn one_packet_scheduling_spreads_one_socket() {
    check_one_packet_scheduling("10.1.0.100", "10.1.0.100:53", ["10.1.0.11", "10.1.0.12"]);
}

fn one_packet_scheduling_spreads_one_socket_in_ipv6() {
    check_one_packet_scheduling("fd01::100", "[fd01::100]:53", ["[fd01::11]:53", "[fd01::12]:53"]);
}

fn check_one_packet_scheduling(vip: &str, dns: &str, servers: [&str; 2]) {
    let Lan { client, director, web1, web2, .. } = &lan();
    director.ok(&format!("ipvsadm -A -u {dns} -s rr -o"));
    for (host, server) in [(web1, servers[0]), (web2, servers[1])] {
        under_test::real_server(host, &format!("--mode dr --vip {vip}"));
        host.serve(Udp, dns).unwrap();
        director.ok(&format!("ipvsadm -a -u {dns} -r {server} -g"));
    }
    assert_eq!(client.client().datagrams_of_one_socket(8, dns).to_string(), "web1=4 web2=4");
    let connections = director.ok("ipvsadm -Lnc");
    assert!(!connections.contains(dns), "there must be no connection entry: {connections}");
    // Without one-packet scheduling all datagrams are one connection.
    director.ok(&format!("ipvsadm -E -u {dns} -s rr"));
    let replies = client.client().datagrams_of_one_socket(4, dns).to_string();
    assert!(["web1=4", "web2=4"].contains(&replies.as_str()), "{replies}");
}
