//! Tunnelling: the servers are behind a router. They decapsulate the packets and reply directly to the client.
//! [`Routed`] has a drawing.

use std::net::IpAddr;
use std::time::Duration;

use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Routed;
use ipvs_tests::traffic::packets::Packet;
use ipvs_tests::traffic::server::Protocol::Tcp;

use crate::under_test;

ipvs_tests::tests! {
    ipip;
    gre;
    gre_with_checksum;
    gue;
    gue_without_checksum;
    gue_with_checksum;
    gue_with_remote_checksum;
    ipip_of_ipv6;
    gre_of_ipv6;
    gre_with_checksum_of_ipv6;
    gue_of_ipv6;
    gue_with_checksum_of_ipv6;
    gue_with_remote_checksum_of_ipv6;
    ipv4_to_ipv6_servers_by_ipip;
    ipv4_to_ipv6_servers_by_gre;
    ipv4_to_ipv6_servers_by_gue;
    ipv6_to_ipv4_servers_by_ipip;
    ipv6_to_ipv4_servers_by_gre;
    ipv6_to_ipv4_servers_by_gue;
    families_mix_only_in_tunnels;
}

fn routed() -> Routed {
    let routed = Routed::new().unwrap();
    under_test::install();
    routed
}

const V4: &str = "10.1.0.100";
const V6: &str = "fd01::100";
const SERVERS_4: [&str; 2] = ["10.3.0.11", "10.3.0.12"];
const SERVERS_6: [&str; 2] = ["fd03::11", "fd03::12"];
/// The bytes that each server gets in one connection.
const UPLOAD: usize = 20_000;

/// Opens connections and uploads data in packets that are too large for the tunnel. Returns the packets that arrived at
/// web1. `mode` is the mode for `rs-setup`, `options` are those of the tunnel for `ipvsadm -a`.
fn send_through_tunnel(mode: &str, options: &str, vip: &str, servers: [&str; 2]) -> Vec<Packet> {
    // Unload the modules of earlier tests, because the commands of `rs-setup` must load all that they need.
    let _unloaded = modules::unload_loaded(&["fou", "ip6_gre", "ip_gre", "ip6_tunnel", "ipip", "sit"]).unwrap();
    let Routed { client, director, web1, web2, .. } = &routed();
    let web = if vip.contains(':') { format!("[{vip}]:80") } else { format!("{vip}:80") };
    director.ok(&format!("ipvsadm -A -t {web} -s rr"));
    for (host, own) in [(web1, servers[0]), (web2, servers[1])] {
        under_test::real_server(host, &format!("--mode {mode} --own {own} --vip {vip}"));
        host.serve(Tcp, &web).unwrap();
        let server = if own.contains(':') { format!("[{own}]:80") } else { format!("{own}:80") };
        director.ok(&format!("ipvsadm -a -t {web} -r {server} -i {options}"));
    }
    let (at_client, at_director, at_web1) = (client.watch().unwrap(), director.watch().unwrap(), web1.watch().unwrap());
    assert_eq!(client.client().hold(6, &web).to_string(), "web1=3 web2=3");
    // On a busy machine TCP may need several retransmissions to discover the smaller MTU.
    let patient = client.client().patience(Duration::from_secs(15));
    let uploads = [0, 1].map(|_| patient.upload(UPLOAD, &web).unwrap());
    assert_eq!(uploads, ["web2 20001", "web1 20001"]);

    let vip: IpAddr = vip.parse().unwrap();
    let reply = |packet: &Packet| packet.source() == vip && packet.protocol() == libc::IPPROTO_TCP;
    assert!(!at_director.packets().iter().any(reply), "a reply passed the director");
    let too_big = |packet: &&Packet| match packet.protocol() {
        libc::IPPROTO_ICMP => packet.payload().starts_with(&[3, 4]),
        libc::IPPROTO_ICMPV6 => packet.payload().starts_with(&[2, 0]),
        _ => false,
    };
    assert_ne!(
        at_client.packets().iter().filter(too_big).count(),
        0,
        "the client got no message about the smaller MTU"
    );
    let own: IpAddr = servers[0].parse().unwrap();
    let packets: Vec<Packet> = at_web1.packets().into_iter().filter(|packet| packet.destination() == own).collect();
    // The number of packets varies: hosts combine segments.
    let bytes: usize = packets.iter().map(|packet| packet.payload().len()).sum();
    assert!(bytes > UPLOAD, "{bytes} bytes in {} packets", packets.len());
    packets
}

fn is(protocol: i32) -> impl Fn(&Packet) -> bool {
    move |packet| packet.protocol() == protocol
}

/// Returns a filter for GRE packets by their checksum flag (RFC 2784).
fn is_gre(checksum: bool) -> impl Fn(&Packet) -> bool {
    move |packet| packet.protocol() == libc::IPPROTO_GRE && (packet.payload()[0] & 0x80 != 0) == checksum
}

/// Returns a filter for UDP packets to port 6080, with or without a checksum.
fn is_gue(checksum: bool) -> impl Fn(&Packet) -> bool {
    move |packet| {
        let udp = packet.payload();
        packet.protocol() == libc::IPPROTO_UDP
            && udp[2..4] == 6080_u16.to_be_bytes()
            && (udp[6..8] != [0, 0]) == checksum
    }
}

/// Checks that all packets are GUE with a checksum. Those with data must have two words of options: the private flag,
/// and the flag for remote checksum offload. With it, the receiver computes the inner checksum from the outer one
/// (`include/net/gue.h`).
///
/// Others may lack the options: the kernel computes the inner checksum of acknowledgements in TIME_WAIT at once.
fn assert_gue_with_remote_checksums(packets: &[Packet]) {
    assert_all(packets, is_gue(true));
    let data: Vec<Packet> = packets.iter().filter(|packet| packet.payload().len() > 500).cloned().collect();
    assert!(!data.is_empty());
    assert_all(&data, |packet| packet.payload()[8] == 2 && packet.payload()[10..16] == [0, 1, 0x80, 0, 0, 0]);
}

#[track_caller]
fn assert_all(packets: &[Packet], right: impl Fn(&Packet) -> bool) {
    let wrong: Vec<_> = packets.iter().filter(|packet| !right(packet)).collect();
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), packets.len(), wrong[0]);
}

fn ipip() {
    assert_all(&send_through_tunnel("tun-ipip", "", V4, SERVERS_4), is(libc::IPPROTO_IPIP));
}

fn gre() {
    assert_all(&send_through_tunnel("tun-gre", "--tun-type gre", V4, SERVERS_4), is_gre(false));
}

fn gre_with_checksum() {
    assert_all(&send_through_tunnel("tun-gre --tun-csum", "--tun-type gre --tun-csum", V4, SERVERS_4), is_gre(true));
}

const GUE: &str = "--tun-type gue --tun-port 6080";

fn gue() {
    assert_all(&send_through_tunnel("tun-gue", GUE, V4, SERVERS_4), is_gue(false));
}

fn gue_without_checksum() {
    assert_all(&send_through_tunnel("tun-gue", &format!("{GUE} --tun-nocsum"), V4, SERVERS_4), is_gue(false));
}

fn gue_with_checksum() {
    assert_all(&send_through_tunnel("tun-gue --tun-csum", &format!("{GUE} --tun-csum"), V4, SERVERS_4), is_gue(true));
}

fn gue_with_remote_checksum() {
    let packets = send_through_tunnel("tun-gue --tun-remcsum", &format!("{GUE} --tun-remcsum"), V4, SERVERS_4);
    assert_gue_with_remote_checksums(&packets);
}

fn ipip_of_ipv6() {
    assert_all(&send_through_tunnel("tun-ipip", "", V6, SERVERS_6), is(libc::IPPROTO_IPV6));
}

fn gre_of_ipv6() {
    assert_all(&send_through_tunnel("tun-gre", "--tun-type gre", V6, SERVERS_6), is_gre(false));
}

fn gre_with_checksum_of_ipv6() {
    assert_all(&send_through_tunnel("tun-gre --tun-csum", "--tun-type gre --tun-csum", V6, SERVERS_6), is_gre(true));
}

fn gue_of_ipv6() {
    assert_all(&send_through_tunnel("tun-gue", GUE, V6, SERVERS_6), is_gue(false));
}

fn gue_with_checksum_of_ipv6() {
    assert_all(&send_through_tunnel("tun-gue --tun-csum", &format!("{GUE} --tun-csum"), V6, SERVERS_6), is_gue(true));
}

fn gue_with_remote_checksum_of_ipv6() {
    let packets = send_through_tunnel("tun-gue --tun-remcsum", &format!("{GUE} --tun-remcsum"), V6, SERVERS_6);
    assert_gue_with_remote_checksums(&packets);
}

fn ipv4_to_ipv6_servers_by_ipip() {
    assert_all(&send_through_tunnel("tun-ipip", "", V4, SERVERS_6), is(libc::IPPROTO_IPIP));
}

fn ipv4_to_ipv6_servers_by_gre() {
    assert_all(&send_through_tunnel("tun-gre", "--tun-type gre", V4, SERVERS_6), is_gre(false));
}

fn ipv4_to_ipv6_servers_by_gue() {
    assert_all(&send_through_tunnel("tun-gue", GUE, V4, SERVERS_6), is_gue(false));
}

fn ipv6_to_ipv4_servers_by_ipip() {
    assert_all(&send_through_tunnel("tun-ipip", "", V6, SERVERS_4), is(libc::IPPROTO_IPV6));
}

fn ipv6_to_ipv4_servers_by_gre() {
    assert_all(&send_through_tunnel("tun-gre", "--tun-type gre", V6, SERVERS_4), is_gre(false));
}

fn ipv6_to_ipv4_servers_by_gue() {
    assert_all(&send_through_tunnel("tun-gue", GUE, V6, SERVERS_4), is_gue(false));
}

fn families_mix_only_in_tunnels() {
    let Routed { director, .. } = &routed();
    for (web, server) in [("10.1.0.100:80", "[fd03::11]:80"), ("[fd01::100]:80", "10.3.0.11:80")] {
        director.ok(&format!("ipvsadm -A -t {web} -s rr"));
        for method in ["-m", "-g"] {
            let refused = director.run(&format!("ipvsadm -a -t {web} -r {server} {method}"));
            assert_ne!(refused.code, Some(0), "{refused}");
        }
        director.ok(&format!("ipvsadm -a -t {web} -r {server} -i"));
    }
}
