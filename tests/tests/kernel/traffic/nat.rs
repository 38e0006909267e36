//! LVS-NAT, the first of the three ways: requests and answers both pass the director.

use std::time::Duration;

use ipvs_tests::reference::Ipvsadm;
use ipvs_tests::serve::Protocol::{Http, Tcp, Udp};
use ipvs_tests::topology::Nat;
use ipvs_tests::wait;

use crate::ours;

ipvs_tests::tests! {
    the_tutorial;
    the_tutorial_by_the_reference;
    connections_that_stay_open_are_counted;
    datagrams;
}

fn the_tutorial() {
    ours::install();
    tutorial();
}

fn the_tutorial_by_the_reference() {
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
    let answers = client.client().pages(6, "10.1.0.100:80");
    assert_eq!(answers.who, ["web2", "web1", "web2", "web1", "web2", "web1"]);
    assert_eq!(
        director.ok("ipvsadm -Sn"),
        "-A -t 10.1.0.100:80 -s rr\n\
         -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 1\n\
         -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n"
    );
    // The counters are copied from the kernel's own every two seconds.
    wait::until(Duration::from_secs(10), || {
        let stats = director.ok("ipvsadm -Ln --stats");
        if stats.contains("10.1.0.100:80                       6 ") { Ok(()) } else { Err(stats) }
    });
}

fn connections_that_stay_open_are_counted() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    ours::install();
    web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    let second = web2.serve(Tcp, "10.2.0.12:9000").unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:7 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.11:9000 -m");
    director.ok("ipvsadm -a -t 10.1.0.100:7 -r 10.2.0.12:9000 -m");

    let held = client.client().hold(6, "10.1.0.100:7");
    assert_eq!(held.to_string(), "web1=3 web2=3");
    assert!(held.peers.iter().all(|peer| peer.starts_with("10.1.0.10:")), "masquerading hides nobody: {held:?}");
    let list = director.ok("ipvsadm -Ln");
    assert!(list.contains("  -> 10.2.0.11:9000               Masq    1      3          0 "), "{list}");

    second.stop();
    assert_eq!(client.client().hold(2, "10.1.0.100:7").to_string(), "refused=1 web1=1");
}

fn datagrams() {
    let Nat { client, director, web1, web2, .. } = &Nat::new().unwrap();
    ours::install();
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
