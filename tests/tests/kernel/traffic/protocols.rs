//! SCTP, FTP with its helper module, and SIP with its persistence engine.

use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::{Lan, Nat};
use ipvs_tests::traffic::ftp::{self, Mode};
use ipvs_tests::traffic::server::Protocol::{Sctp, Udp};

use crate::under_test;

ipvs_tests::tests! {
    sctp_by_masquerading;
    sctp_over_ipv6;
    sctp_by_direct_routing;
    ftp_passive;
    ftp_active;
    ftp_extended_passive;
    ftp_extended_active;
    ftp_fails_without_the_helper;
    sip_by_call_id;
    sip_with_one_packet_scheduling;
}

fn nat() -> Nat {
    under_test::install();
    Nat::dual_stack().unwrap()
}

/// Builds the network. The servers also have the virtual address.
fn lan() -> Lan {
    let lan = Lan::new().unwrap();
    for web in [&lan.web1, &lan.web2] {
        under_test::real_server(web, "--mode dr --vip 10.1.0.100");
    }
    lan
}

fn sctp_by_masquerading() {
    associations("10.1.0.100:5000", ["10.2.0.11:5000", "10.2.0.12:5000"]);
}

fn sctp_over_ipv6() {
    associations("[fd01::100]:5000", ["[fd02::11]:5000", "[fd02::12]:5000"]);
}

fn associations(service: &str, servers: [&str; 2]) {
    modules::load("sctp").unwrap();
    let Nat { client, director, web1, web2, .. } = &nat();
    director.ok(&format!("ipvsadm -A --sctp-service {service} -s rr"));
    for (web, server) in [web1, web2].into_iter().zip(servers) {
        // Bound to one address. Otherwise, the server would announce all its addresses to its peer, which would try
        // them.
        web.serve(Sctp, server).unwrap();
        director.ok(&format!("ipvsadm -a --sctp-service {service} -r {server} -m"));
    }
    let held = client.client().sctp().hold(4, service);
    assert_eq!(held.to_string(), "web1=2 web2=2");
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
    let list = director.ok("ipvsadm -Lnc");
    assert_eq!(list.matches("ESTABLISHED").count(), 4, "{list}");
    let list = director.ok("ipvsadm -Ln");
    assert!(list.contains(&format!("SCTP {service} rr\n")), "{list}");
    assert_eq!(list.matches("Masq    1      2          0 ").count(), 2, "{list}");
}

fn sctp_by_direct_routing() {
    modules::load("sctp").unwrap();
    let Lan { client, director, web1, web2, .. } = &lan();
    director.ok("ipvsadm -A --sctp-service 10.1.0.100:5000 -s rr");
    for (web, server) in [(web1, "10.1.0.11"), (web2, "10.1.0.12")] {
        web.serve(Sctp, "10.1.0.100:5000").unwrap();
        director.ok(&format!("ipvsadm -a --sctp-service 10.1.0.100:5000 -r {server} -g"));
    }
    let held = client.client().sctp().hold(4, "10.1.0.100:5000");
    assert_eq!(held.to_string(), "web1=2 web2=2");
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
}

/// Fetches four files. Returns the server's replies about the data connections as the client received them.
fn fetch(service: &str, servers: [&str; 2], mode: Mode) -> Vec<String> {
    modules::load("ip_vs_ftp").unwrap();
    let Nat { client, director, web1, web2, .. } = &nat();
    director.ok(&format!("ipvsadm -A -t {service} -s rr"));
    for (web, server) in [web1, web2].into_iter().zip(servers) {
        ftp::serve(web.netns()).unwrap();
        director.ok(&format!("ipvsadm -a -t {service} -r {server} -m"));
    }
    let fetched: Vec<(String, String)> = (0..4).map(|_| ftp::fetch(client.netns(), service, mode).unwrap()).collect();
    for web in ["file of web1\n", "file of web2\n"] {
        assert_eq!(fetched.iter().filter(|(file, _)| file == web).count(), 2, "{fetched:?}");
    }
    fetched.into_iter().map(|(_, agreed)| agreed).collect()
}

const FTP_4: [&str; 2] = ["10.2.0.11", "10.2.0.12"];
const FTP_6: [&str; 2] = ["[fd02::11]:21", "[fd02::12]:21"];

fn ftp_passive() {
    let agreed = fetch("10.1.0.100:21", FTP_4, Mode::Passive);
    assert!(agreed.iter().all(|words| words.contains("(10,1,0,100,")), "{agreed:?}");
}

fn ftp_active() {
    fetch("10.1.0.100:21", FTP_4, Mode::Active);
}

fn ftp_extended_passive() {
    fetch("[fd01::100]:21", FTP_6, Mode::ExtendedPassive);
}

fn ftp_extended_active() {
    fetch("[fd01::100]:21", FTP_6, Mode::ExtendedActive);
}

/// On a port that the helper does not watch, the server's reply arrives unchanged, with the server's own address.
fn ftp_fails_without_the_helper() {
    let Nat { client, director, web1, .. } = &nat();
    ftp::serve(web1.netns()).unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:2121 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:2121 -r 10.2.0.11:21 -m");
    assert!(ftp::fetch(client.netns(), "10.1.0.100:2121", Mode::Passive).is_err());
}

fn call(id: &str) -> String {
    format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.10:5060\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {id}@example.com\r\nCSeq: 1 INVITE\r\n\r\n"
    )
}

/// A call stays with its server, even if its messages have different source addresses and ports of the client's
/// network.
fn sip_by_call_id() {
    let Nat { client, director, web1, web2, .. } = &nat();
    director.ok("ipvsadm -A -u 10.1.0.100:5060 -s rr -p 60 -M 255.255.255.0 --pe sip");
    for (web, server) in [(web1, "10.2.0.11:5060"), (web2, "10.2.0.12:5060")] {
        web.serve(Udp, server).unwrap();
        director.ok(&format!("ipvsadm -a -u 10.1.0.100:5060 -r {server} -m"));
    }
    let of_call = |id: &str| {
        let from =
            |source| client.client().from(source).with_text(call(id)).datagrams(2, "10.1.0.100:5060").to_string();
        let replies = ["10.1.0.10", "10.1.0.11"].map(from);
        assert_eq!(replies[0], replies[1], "call {id}");
        replies[0].clone()
    };
    let replies = ["a", "b", "c", "d"].map(of_call);
    assert_eq!(replies.iter().filter(|reply| *reply == "web1=2").count(), 2, "{replies:?}");
    assert_eq!(["a", "b", "c", "d"].map(of_call), replies);
    assert!(director.ok("ipvsadm -Ln").contains("UDP  10.1.0.100:5060 rr persistent 60 mask 255.255.255.0 pe sip\n"));
    let connections = director.ok("ipvsadm -Lnc --persistent-conn");
    assert!(connections.contains(" sip ") && connections.contains("c@example.com"), "{connections}");
    assert_eq!(
        director.ok("ipvsadm -Sn").lines().next(),
        Some("-A -u 10.1.0.100:5060 -s rr -p 60 -M 255.255.255.0 --pe sip")
    );
}

/// A proxy sends all its calls from one socket. With one-packet scheduling each message reaches the server of its call.
fn sip_with_one_packet_scheduling() {
    let Lan { client, director, web1, web2, .. } = &lan();
    director.ok("ipvsadm -A -u 10.1.0.100:5060 -s rr -p 60 -o --pe sip");
    for (web, server) in [(web1, "10.1.0.11"), (web2, "10.1.0.12")] {
        web.serve(Udp, "10.1.0.100:5060").unwrap();
        director.ok(&format!("ipvsadm -a -u 10.1.0.100:5060 -r {server} -g"));
    }
    let of_call = |id: &str| {
        let proxy = client.client().from("10.1.0.10:5060").with_text(call(id));
        proxy.datagrams_of_one_socket(2, "10.1.0.100:5060").to_string()
    };
    let replies = ["a", "b", "c", "d"].map(of_call);
    assert_eq!(replies.iter().filter(|reply| *reply == "web1=2").count(), 2, "{replies:?}");
    assert_eq!(["a", "b", "c", "d"].map(of_call), replies);
}
