//! The prediction of the firewall's verdict, against the packets of a real connection. The network is
//! [`Nat::DRAWING`](ipvs_tests::lab::topology::Nat::DRAWING).

use std::net::IpAddr;
use std::time::Duration;

use ipvs_tests::lab::topology::Host;
use ipvsadm_rs::firewall::{Device, Firewall, Hook, Packet, TCP, Verdict};

use super::firewall::{NFT, has_iptables};
use super::{Rig, nat};
use crate::under_test;

ipvs_tests::tests! {
    of_iptables, needs = "iptables";
    of_iptables_nft, needs = "qemu-system-x86", needs = "nftables", needs = "iptables", cloud = IPTABLES_NFT;
    of_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
}

/// Returns whether the rules let a connection to the service through, and the mark at IPVS.
fn prediction(director: &Host, tracked: bool) -> (bool, Option<u32>) {
    let firewall = director.enter(Firewall::read);
    assert!(firewall.not_read.is_empty(), "{:?}", firewall.not_read);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let device = |name: &str| Device::Named(name.into());
    let mut request = Packet::request(TCP, Some(address("10.1.0.10")), address("10.1.0.100"), Some(80));
    request.in_device = device("eth0");
    let accepts = |packet: &mut Packet, hooks: &[Hook]| {
        hooks.iter().all(|hook| {
            let walk = firewall.walk(*hook, packet);
            *packet = walk.packet;
            match walk.verdict {
                Verdict::Accept => true,
                Verdict::Drop(_) | Verdict::Reject(_) => false,
                Verdict::Unknown(place, reason) => panic!("{place:?}: {reason}"),
            }
        })
    };
    let mut arriving = request.clone();
    if !accepts(&mut arriving, &[Hook::Prerouting, Hook::Input]) {
        return (false, None);
    }
    let server = (address("10.2.0.11"), 8080);
    let mut sent = arriving.to_server(Some(server), device("eth1"), tracked);
    let mut reply = request.reply(server, device("eth1"), device("eth0"), tracked);
    let passes = accepts(&mut sent, &[Hook::Output, Hook::Postrouting])
        && accepts(&mut reply, &[Hook::Prerouting, Hook::Forward]);
    (passes, arriving.mark.exact())
}

/// Compares the prediction with a connection, for each set of rules, without and with connection tracking by IPVS.
fn compare(rulesets: &[&str], flush: &str) {
    let rig: Rig = nat::rig();
    rig.director.ok("ipvsadm -d -t 10.1.0.100:80 -r 10.2.0.12:8080");
    // Packets with mark 7 go to a service without servers.
    rig.director.ok("ipvsadm -A -f 7 -s rr");
    let mut outcomes = [0, 0];
    for rules in rulesets {
        rig.director.shell(&format!("set -e\n{rules}")).ok();
        for tracked in [false, true] {
            rig.director.sysctl("net/ipv4/vs/conntrack", if tracked { "1" } else { "0" }).unwrap();
            let (passes, mark) = prediction(&rig.director, tracked);
            let expected = passes && mark != Some(7);
            let patience = Duration::from_millis(if expected { 10_000 } else { 700 });
            let seen = rig.client.client().patience(patience).pages(1, "10.1.0.100:80").to_string();
            assert_eq!(seen == "web1=1", expected, "{rules}, conntrack {tracked}: {seen}, mark {mark:?}");
            outcomes[usize::from(expected)] += 1;
        }
        rig.director.shell(&format!("set -e\n{flush}")).ok();
    }
    println!("dropped {}, accepted {}", outcomes[0], outcomes[1]);
}

fn of_iptables() {
    if !has_iptables() {
        return;
    }
    compare(
        &[
            "true",
            "iptables -A INPUT -p tcp --dport 80 -j DROP",
            "iptables -A INPUT -p tcp --dport 81 -j DROP",
            "iptables -A INPUT -p udp -j DROP",
            "iptables -P INPUT DROP; iptables -A INPUT -i eth0 -s 10.1.0.0/24 -j ACCEPT",
            "iptables -P INPUT DROP; iptables -A INPUT -i eth1 -j ACCEPT",
            "iptables -N x; iptables -A INPUT -j x; iptables -A x -s 10.1.0.10 -j RETURN; iptables -A x -j DROP",
            "iptables -N x; iptables -A INPUT -g x; iptables -A INPUT -j DROP; iptables -A x -j RETURN",
            "iptables -A INPUT -p tcp -m multiport --dports 22,70:79,81 -j DROP",
            "iptables -A INPUT -p tcp -m multiport --dports 22,70:80 -j REJECT",
            "iptables -A INPUT -m conntrack --ctstate NEW -j DROP",
            "iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT; iptables -A INPUT -j DROP",
            "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
            "iptables -P FORWARD DROP; iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "iptables -P FORWARD DROP; iptables -A FORWARD -s 10.2.0.11 -p tcp --sport 8080 -j ACCEPT",
            "iptables -A FORWARD -i eth0 -j DROP",
            "iptables -A OUTPUT -d 10.2.0.11 -j DROP",
            "iptables -A OUTPUT -d 10.1.0.100 -j DROP",
            "iptables -t mangle -A POSTROUTING -o eth1 -p tcp --dport 8080 -j DROP",
            "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 7",
            "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 0x17; \
             iptables -t mangle -A PREROUTING -j MARK --and-mark 0xf",
            "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 3; \
             iptables -t mangle -A INPUT -m mark --mark 2/2 -j MARK --or-mark 4",
            "iptables -t mangle -A PREROUTING -j MARK --set-mark 6; iptables -A INPUT -m mark --mark 6 -j DROP",
            "iptables -A INPUT -m iprange --src-range 10.1.0.5-10.1.0.15 -j DROP",
            "iptables -A INPUT -m addrtype --dst-type LOCAL -j DROP",
            "iptables -A INPUT -p tcp --syn -j DROP",
            "iptables -A INPUT ! -s 10.1.0.10 -j DROP",
            "iptables -t nat -A INPUT -j RETURN",
        ],
        "for t in filter mangle nat; do iptables -t $t -F; iptables -t $t -X; done; \
         iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT",
    );
}

/// iptables with its variant of nft, and the extensions that nft prints only by name.
const IPTABLES_NFT: &[&str] = &[
    under_test::PROGRAM,
    "/usr/sbin/nft",
    "/usr/sbin/sysctl",
    "/usr/bin/ip",
    "/usr/sbin/iptables-nft",
    "/usr/sbin/iptables-nft-save",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_tcp.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_mark.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_MARK.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_multiport.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_iprange.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_conntrack.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_standard.so",
];

/// nft and iptables-nft list the same tables. Those with extensions are replaced by the output of iptables-nft-save.
fn of_iptables_nft() {
    compare(
        &[
            "true",
            "iptables-nft -A INPUT -p tcp --dport 80 -j DROP",
            "iptables-nft -A INPUT -p tcp -m multiport --dports 22,70:79,81 -j DROP",
            "iptables-nft -A INPUT -p tcp -m multiport --dports 22,70:80 -j DROP",
            "iptables-nft -A INPUT -m iprange --src-range 10.1.0.5-10.1.0.15 -j DROP",
            "iptables-nft -A FORWARD -m conntrack --ctstate INVALID -j DROP",
            "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT",
            "iptables-nft -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 7",
            "iptables-nft -t mangle -A PREROUTING -p tcp --dport 443 -j MARK --set-mark 7; \
             iptables-nft -A OUTPUT -p tcp -m multiport --dports 8080 -j DROP",
            // A table of nft next to one of iptables.
            "iptables-nft -A INPUT -p tcp -m multiport --dports 22 -j DROP; \
             nft 'table inet f { chain c { type filter hook input priority 10; tcp dport 80 drop; }; }'",
        ],
        "nft flush ruleset",
    );
}

fn of_nft() {
    let chain = |hook: &str, priority: &str, policy: &str, rules: &str| {
        format!(
            "nft 'table inet f {{ set s {{ type ipv4_addr; flags interval; elements = {{ 10.1.0.8-10.1.0.12 }}\n}}
                map m {{ type inet_service : verdict; elements = {{ 80 : jump x, 22 : drop }}\n}}
                chain x {{ ip saddr 10.1.0.10 return\ndrop\n}}
                chain c {{ type filter hook {hook} priority {priority}; policy {policy};\n{rules}\n}}\n}}'"
        )
    };
    let input = |rules: &str| chain("input", "0", "accept", rules);
    let rulesets = [
        "true".to_owned(),
        input("tcp dport 80 drop"),
        input("tcp dport != 80 drop"),
        input("tcp dport { 70-79, 81 } drop"),
        input("udp dport != 53 drop"),
        input("ip saddr @s drop"),
        input("ip saddr != @s drop"),
        input("tcp dport vmap @m"),
        input("tcp dport vmap @m; goto x"),
        input("jump x; tcp dport 80 reject with tcp reset"),
        input("ct state vmap { established : accept, new : drop }"),
        input("ct state & (established | related) == 0 drop"),
        input("ip6 saddr != fd01::1 drop"),
        input("iifname != \"eth*\" drop"),
        input("meta l4proto { tcp, udp } th dport 80 drop"),
        input("ip saddr . tcp dport { 10.1.0.10 . 80 } drop"),
        input("ip saddr . tcp dport { 10.1.0.10 . 81 } drop"),
        input("tcp flags & (syn | ack) == syn drop"),
        input("tcp flags syn drop"),
        input("tcp flags urg drop"),
        input("fib daddr type local drop"),
        chain("input", "98", "drop", ""),
        chain("input", "100", "drop", ""),
        chain("prerouting", "raw", "accept", "tcp dport 80 notrack"),
        chain("forward", "0", "drop", "ct state established,related accept"),
        chain("forward", "0", "accept", "ct state invalid drop"),
        chain("forward", "0", "drop", "ip saddr 10.2.0.11 tcp sport 8080 accept"),
        chain("output", "0", "accept", "ip daddr 10.2.0.11 drop"),
        chain("postrouting", "0", "accept", "oifname \"eth1\" tcp dport 8080 drop"),
        chain("prerouting", "mangle", "accept", "tcp dport 80 meta mark set 7"),
        chain("prerouting", "mangle", "accept", "meta mark set 0x17; meta mark set meta mark & 0xf"),
        chain(
            "prerouting",
            "mangle",
            "accept",
            "meta mark set 1; meta mark set meta mark | 0x6; meta mark & 4 == 0 drop",
        ),
        chain("prerouting", "mangle", "accept", "tcp dport 443 meta mark set 7"),
        // The second table is later, and does not see packets that the first drops.
        format!(
            "{}; nft 'table ip g {{ chain d {{ type filter hook input priority 10;\naccept\n}}\n}}'",
            input("drop")
        ),
        format!(
            "{}; nft 'table ip g {{ chain d {{ type filter hook input priority -10;\naccept\n}}\n}}'",
            input("drop")
        ),
    ];
    compare(&rulesets.each_ref().map(String::as_str), "nft flush ruleset");
}
