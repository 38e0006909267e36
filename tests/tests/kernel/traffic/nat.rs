//! Masquerading: requests and replies both pass the director. The network is [`Nat::DRAWING`]. For IPv6 it has fd01::
//! instead of 10.1. and fd02:: instead of 10.2.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipvs::{Change, Client, Destination, Forwarding, Scheduler, Service, ServiceKey};
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::{Host, Lab, Nat};
use ipvs_tests::traffic::server::Protocol::{Http, Tcp, Udp};
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    tutorial_with_ipvsadm;
    tutorial_with_the_reference;
    tutorial_with_the_library;
    open_connections_are_counted;
    udp_is_balanced;
    counters_are_exact_and_can_be_reset;
    ipv6_is_balanced;
}

fn tutorial_with_ipvsadm() {
    under_test::install();
    tutorial();
}

fn tutorial_with_the_reference() {
    Ipvsadm::get().install().unwrap();
    tutorial();
}

fn tutorial() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    web1.serve(Http, "10.2.0.11:80").unwrap();
    web2.serve(Http, "10.2.0.12:80").unwrap();
    assert_eq!(client.client().get("10.1.0.100:80", "/").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11 -m");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12 -m");
    let replies = client.client().pages(6, "10.1.0.100:80");
    assert_eq!(replies.servers, ["web2", "web1", "web2", "web1", "web2", "web1"]);
    assert_eq!(
        director.ok("ipvsadm -Sn"),
        "-A -t 10.1.0.100:80 -s rr\n\
         -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 1\n\
         -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n"
    );
    // The kernel updates the reported counters every two seconds.
    wait::until(Duration::from_secs(30), || {
        let stats = director.ok("ipvsadm -Ln --stats");
        if stats.contains("10.1.0.100:80                       6 ") { Ok(()) } else { Err(stats) }
    });
}

fn tutorial_with_the_library() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    web1.serve(Http, "10.2.0.11:80").unwrap();
    web2.serve(Http, "10.2.0.12:80").unwrap();
    let mut ipvs = director.enter(Client::open).unwrap();
    let service = Service::new(ServiceKey::tcp(Ipv4Addr::new(10, 1, 0, 100), 80), Scheduler::RR);
    let server = |last| Destination::new((Ipv4Addr::new(10, 2, 0, last), 80), Forwarding::Masquerade);
    let changes = [
        Change::AddService(service),
        Change::AddDestination(service.key, server(11)),
        Change::AddDestination(service.key, server(12)),
    ];
    assert!(ipvs.submit(&changes).unwrap().is_empty());
    assert_eq!(client.client().pages(6, "10.1.0.100:80").servers, ["web2", "web1", "web2", "web1", "web2", "web1"]);
    wait::until(Duration::from_secs(30), || {
        let services = ipvs.state().unwrap().services;
        if services[0].stats.connections == 6 { Ok(()) } else { Err(format!("{services:?}")) }
    });
}

fn open_connections_are_counted() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    under_test::install();
    web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    let second = web2.serve(Tcp, "10.2.0.12:9000").unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:7 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.11:9000 -m");
    director.ok("ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.12:9000 -m");

    let held = client.client().hold(6, "10.1.0.100:7");
    assert_eq!(held.to_string(), "web1=3 web2=3");
    assert!(held.peers.iter().all(|peer| peer.starts_with("10.1.0.10:")), "servers see the client's address: {held:?}");
    let list = director.ok("ipvsadm -Ln");
    assert!(list.contains("  -> 10.2.0.11:9000               Masq    1      3          0 "), "{list}");
    let list = director.ok("ipvsadm -Lnc");
    for peer in &held.peers {
        let line = list.lines().find(|line| line.contains(peer)).unwrap_or_else(|| panic!("{peer} in {list}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let [protocol, expires, state, source, service, server] = words[..] else { panic!("{line}") };
        assert_eq!([protocol, state, source, service], ["TCP", "ESTABLISHED", peer, "10.1.0.100:7"]);
        assert!(expires.starts_with("14:") || expires == "15:00", "15 minutes after the last packet: {line}");
        assert!(["10.2.0.11:9000", "10.2.0.12:9000"].contains(&server), "{line}");
    }

    second.stop();
    assert_eq!(client.client().hold(2, "10.1.0.100:7").to_string(), "refused=1 web1=1");
    assert_eq!(held.again().to_string(), "web1=3 web2=3");
    drop(held);
    wait::until(Duration::from_secs(30), || {
        let list = director.ok("ipvsadm -Ln");
        if list.contains("  -> 10.2.0.12:9000               Masq    1      0          ") { Ok(()) } else { Err(list) }
    });
}

fn udp_is_balanced() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    under_test::install();
    web1.serve(Udp, "10.2.0.11:53").unwrap();
    web2.serve(Udp, "10.2.0.12:53").unwrap();
    director.ok("ipvsadm -A -u 10.1.0.100:53 -s rr");
    director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11 -m");
    director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.12 -m");
    assert_eq!(client.client().datagrams(4, "10.1.0.100:53").to_string(), "web1=2 web2=2");
    assert_eq!(
        client.client().from("10.1.0.10:5353").datagrams_of_one_socket(4, "10.1.0.100:53").to_string(),
        "web2=4"
    );
}

/// The number of packets and bytes is known in advance. The kernel reports them within two seconds.
fn counters_are_exact_and_can_be_reset() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    under_test::install();
    for (port, web) in [(53, web1), (54, web2)] {
        web.serve(Udp, &format!("10.2.0.1{}:{port}", port - 52)).unwrap();
        director.ok(&format!("ipvsadm -A -u 10.1.0.100:{port} -s rr"));
        director.ok(&format!("ipvsadm -a -u 10.1.0.100:{port} -r 10.2.0.1{} -m", port - 52));
    }
    for port in 20001..=20004 {
        client.client().from(&format!("10.1.0.10:{port}")).datagrams_of_one_socket(2, "10.1.0.100:53");
    }
    client.client().from("10.1.0.10:20001").datagrams(1, "10.1.0.100:54");
    // `who?`, and `web1 10.1.0.10:20001` with a newline, each with IP and UDP headers.
    let (request, reply) = (28 + 4, 28 + 21);
    wait_for_counters(director, "10.1.0.100:53", [4, 8, 8, 8 * request, 8 * reply]);
    wait_for_counters(director, "10.2.0.11:53", [4, 8, 8, 8 * request, 8 * reply]);
    wait_for_counters(director, "10.1.0.100:54", [1, 1, 1, request, reply]);
    let rate = director.ok("ipvsadm -Ln --rate -u 10.1.0.100:53");
    assert!(rate.contains("CPS    InPPS   OutPPS    InBPS   OutBPS"), "{rate}");

    director.ok("ipvsadm -Z -u 10.1.0.100:53");
    wait_for_counters(director, "10.1.0.100:53", [0; 5]);
    wait_for_counters(director, "10.2.0.11:53", [0; 5]);
    wait_for_counters(director, "10.1.0.100:54", [1, 1, 1, request, reply]);
    director.ok("ipvsadm -Z");
    wait_for_counters(director, "10.1.0.100:54", [0; 5]);
    // After a reset counting starts from 0.
    client.client().from("10.1.0.10:20001").datagrams(1, "10.1.0.100:54");
    wait_for_counters(director, "10.2.0.12:54", [0, 1, 1, request, reply]);
}

/// Waits for these counters: connections, packets in and out, bytes in and out.
#[track_caller]
fn wait_for_counters(director: &Host, name: &str, wanted: [u64; 5]) {
    let wanted = wanted.map(|number| number.to_string());
    wait::until(Duration::from_secs(30), || {
        let stats = director.ok("ipvsadm -Ln --stats --exact");
        let line = stats.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap_or_default();
        let counted: Vec<&str> = line.split_whitespace().skip(2).collect();
        if counted == wanted { Ok(()) } else { Err(format!("expected {wanted:?} for {name}:\n{stats}")) }
    });
}

fn ipv6_is_balanced() {
    let lab = Lab::new().unwrap();
    let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    lab.segment("outside", [(&client, "fd01::10/64"), (&director, "fd01::1/64 fd01::100/128")]).unwrap();
    let inside = [(&director, "fd02::1/64"), (&web1, "fd02::11/64"), (&web2, "fd02::12/64")];
    lab.segment("inside", inside).unwrap();
    director.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    for (web, address) in [(&web1, "fd02::11"), (&web2, "fd02::12")] {
        web.gateway("fd02::1").unwrap();
        web.serve(Http, &format!("[{address}]:8080")).unwrap();
        web.serve(Udp, &format!("[{address}]:53")).unwrap();
    }
    under_test::install();
    director.ok("ipvsadm -A -t [fd01::100]:80 -s rr");
    director.ok("ipvsadm -a -t [fd01::100]:80 -r [fd02::11]:8080 -m");
    director.ok("ipvsadm -a -t [fd01::100]:80 -r [fd02::12]:8080 -m");
    director.ok("ipvsadm -A -u [fd01::100]:53 -s rr");
    director.ok("ipvsadm -a -u [fd01::100]:53 -r [fd02::11]:53 -m");
    director.ok("ipvsadm -a -u [fd01::100]:53 -r [fd02::12]:53 -m");
    assert_eq!(client.client().pages(6, "[fd01::100]:80").to_string(), "web1=3 web2=3");
    let replies = client.client().datagrams(4, "[fd01::100]:53");
    assert_eq!(replies.to_string(), "web1=2 web2=2");
    assert!(replies.peers.iter().all(|peer| peer.starts_with("[fd01::10]:")), "{replies:?}");
    let list = director.ok("ipvsadm -Lnc");
    assert_eq!(list.matches("[fd01::100]:80").count(), 6, "{list}");
}
