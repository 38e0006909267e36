//! The effect on connections if a server is drained, or deleted and added again.
//!
//! The network is [`Nat::DRAWING`].

use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    drained_server_keeps_connections;
    show_has_the_state_of_servers;
    show_has_templates_without_connections;
    drained_server_keeps_persistent_clients;
    expire_quiescent_template_moves_persistent_clients;
    server_added_again_keeps_connections;
    service_added_again_keeps_connections;
    expire_nodest_conn_resets_connections;
}

const WEB: &str = "10.1.0.100:80";

fn nat(service_options: &str) -> Nat {
    let nat = Nat::new().unwrap();
    under_test::install();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    nat.director.ok(&format!("ipvsadm -A -t {WEB} -s rr {service_options}"));
    nat.director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.11 -m"));
    nat.director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.12 -m"));
    nat
}

/// Opens connections with a short timeout for replies, so that a later request without a reply fails after 2 s.
fn hold(client: &Host, count: usize) -> Replies {
    client.client().patience(Duration::from_secs(2)).hold(count, WEB)
}

/// Waits for these replies. TCP retransmits at growing intervals the data that was sent while there was no server.
fn wait_for_replies(held: &Replies, wanted: &str) {
    wait::until(Duration::from_secs(30), || {
        let replies = held.again().to_string();
        if replies == wanted { Ok(()) } else { Err(replies) }
    });
}

fn drained_server_keeps_connections() {
    let Nat { client, director, .. } = &nat("");
    let held = hold(client, 4);
    assert_eq!(held.to_string(), "web1=2 web2=2");
    director.ok(&format!("ipvsadm -e -t {WEB} -r 10.2.0.11 -m -w 0"));
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
    assert_eq!(hold(client, 4).to_string(), "web2=4");
    let list = director.ok("ipvsadm -Ln");
    assert!(list.contains("  -> 10.2.0.11:80                 Masq    0      2          0 "), "{list}");
    director.ok(&format!("ipvsadm -e -t {WEB} -r 10.2.0.11 -m -w 1"));
    assert_eq!(hold(client, 4).to_string(), "web1=2 web2=2");
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
}

fn show_has_the_state_of_servers() {
    let Nat { client, director, .. } = &nat("-p 60");
    let (server, other) = ("10.2.0.11:80", "10.2.0.12:80");
    let state = |server: &str| {
        let list = director.ok("ipvsadm-rs show");
        let line = list.lines().find(|line| line.contains(server)).unwrap().to_owned();
        line.split_once("  masq ").unwrap().1.trim_start().to_owned()
    };
    director.ok(&format!("ipvsadm-rs set -t {WEB} -r {other} --weight 0"));
    assert!(state(other).starts_with("drained "), "{}", state(other));
    let held = hold(client, 4);
    assert_eq!(held.to_string(), "web1=4");
    director.ok(&format!("ipvsadm-rs set -t {WEB} -r {server} -x 4"));
    assert!(state(server).starts_with("full "), "{}", state(server));
    let refusing = "  every new client is refused: all servers with a weight above 0 are full\n";
    assert!(director.ok("ipvsadm-rs show").contains(refusing), "{}", state(server));
    let set = director.ok(&format!("ipvsadm-rs set -t {WEB} -r {server} --weight 0"));
    let keeps = "10.2.0.11:80 gets weight 0; the clients of 1 persistence template keep connecting to it as long as they \
                 return within 60 s (net.ipv4.vs.expire_quiescent_template is 0)\n";
    assert!(set.contains(keeps), "{set}");
    assert!(state(server).starts_with("draining (4 left) "), "{}", state(server));
    drop(held);
    assert_eq!(hold(client, 2).to_string(), "web1=2");
}

fn show_has_templates_without_connections() {
    let Nat { client, director, web1, .. } = &nat("");
    web1.serve(Udp, "10.2.0.11:53").unwrap();
    director.ok("ipvsadm --set 0 0 1");
    director.ok("ipvsadm -A -u 10.1.0.100:53 -s rr -p 6000");
    director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11 -m");
    assert_eq!(client.client().datagrams(1, "10.1.0.100:53").to_string(), "web1=1");
    director.ok("ipvsadm-rs set -u 10.1.0.100:53 -r 10.2.0.11 --weight 0");
    wait::until(Duration::from_secs(60), || {
        let list = director.ok("ipvsadm-rs show");
        if list.contains("  draining (1 template)  ") { Ok(()) } else { Err(list) }
    });
}

fn drained_server_keeps_persistent_clients() {
    let Nat { client, director, .. } = &nat("-p 60");
    let (server, name) = persistent_server(client);
    director.ok(&format!("ipvsadm -e -t {WEB} -r {server} -m -w 0"));
    assert_eq!(hold(client, 2).to_string(), format!("{name}=2"));
}

fn expire_quiescent_template_moves_persistent_clients() {
    let Nat { client, director, .. } = &nat("-p 60");
    director.sysctl("net/ipv4/vs/expire_quiescent_template", "1").unwrap();
    let held = hold(client, 2);
    let (server, name) = persistent_server(client);
    director.ok(&format!("ipvsadm -e -t {WEB} -r {server} -m -w 0"));
    let other = if name == "web1" { "web2" } else { "web1" };
    assert_eq!(hold(client, 2).to_string(), format!("{other}=2"));
    assert_eq!(held.again().to_string(), format!("{name}=2"), "open connections stay");
}

fn persistent_server(client: &Host) -> (&'static str, String) {
    let name = hold(client, 1).servers.remove(0);
    (if name == "web1" { "10.2.0.11" } else { "10.2.0.12" }, name)
}

fn server_added_again_keeps_connections() {
    let Nat { client, director, .. } = &nat("");
    let held = hold(client, 4);
    director.ok(&format!("ipvsadm -d -t {WEB} -r 10.2.0.11"));
    assert_eq!(held.again().to_string(), "timeout=2 web2=2");
    assert_eq!(hold(client, 2).to_string(), "web2=2");
    director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.11 -m -w 3"));
    let list = director.ok("ipvsadm -Ln");
    assert!(list.contains("  -> 10.2.0.11:80                 Masq    3      2          0 "), "{list}");
    wait_for_replies(&held, "web1=2 web2=2");
}

fn service_added_again_keeps_connections() {
    let Nat { client, director, .. } = &nat("");
    // Another service, because without any the director itself would reply with a reset.
    director.ok("ipvsadm -A -t 10.1.0.100:9");
    let held = hold(client, 4);
    director.ok(&format!("ipvsadm -D -t {WEB}"));
    assert_eq!(held.again().to_string(), "timeout=4");
    director.ok(&format!("ipvsadm -A -t {WEB} -s wlc"));
    director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.11 -m"));
    director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.12 -m"));
    wait_for_replies(&held, "web1=2 web2=2");
}

fn expire_nodest_conn_resets_connections() {
    let Nat { client, director, .. } = &nat("");
    director.sysctl("net/ipv4/vs/expire_nodest_conn", "1").unwrap();
    let held = hold(client, 4);
    director.ok(&format!("ipvsadm -d -t {WEB} -r 10.2.0.11"));
    assert_eq!(held.again().to_string(), "reset=2 web2=2");
    director.ok(&format!("ipvsadm -a -t {WEB} -r 10.2.0.11 -m"));
    // The kernel deletes the connections with a timer that expires at once.
    wait::until(Duration::from_secs(30), || {
        let list = director.ok("ipvsadm -Ln");
        list.contains("  -> 10.2.0.11:80                 Masq    1      0          0 ").then_some(()).ok_or(list)
    });
}
