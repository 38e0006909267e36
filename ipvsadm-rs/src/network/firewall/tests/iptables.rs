use super::{address, outcome, packet};
use crate::network::firewall::{Family, Field, Firewall, Hook, Nat, Packet, TCP, Truth, UDP};

fn table(name: &str, rules: &str) -> Firewall {
    let chains = ":INPUT ACCEPT [0:0]\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:X - [0:0]\n:Y - [0:0]";
    Firewall::from_iptables(&format!("# Generated\n*{name}\n{chains}\n{rules}\nCOMMIT\n"), Family::Ip)
        .expect("few rules")
}

#[test]
fn rules_of_filter() {
    for (rules, expected) in [
        ("", "accept"),
        ("-A INPUT -j DROP", "drop: -A INPUT -j DROP"),
        ("[7:8] -A INPUT -j DROP", "drop: -A INPUT -j DROP"),
        ("-A INPUT -s 10.1.0.0/24 -j ACCEPT\n-A INPUT -j DROP", "accept"),
        ("-A INPUT -s 10.1.0.0/255.255.255.0 -j ACCEPT\n-A INPUT -j DROP", "accept"),
        ("-A INPUT ! -s 10.1.0.0/24 -j DROP", "accept"),
        ("-A INPUT ! -i eth+ -j DROP", "accept"),
        ("-A INPUT -i eth0 -p udp -j DROP", "accept"),
        (
            "-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset",
            "reject: -A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset",
        ),
        ("-A INPUT -p tcp -m tcp --dport 81:90 -j DROP", "accept"),
        ("-A INPUT -p tcp -m tcp ! --dport 80 -j DROP", "accept"),
        (
            "-A INPUT -p tcp -m multiport --dports 22,70:80 -j DROP",
            "drop: -A INPUT -p tcp -m multiport --dports 22,70:80 -j DROP",
        ),
        ("-A INPUT -p tcp -m multiport ! --dports 22,70:80 -j DROP", "accept"),
        ("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j DROP", "accept"),
        ("-A INPUT -m state --state NEW -j X\n-A X -j DROP", "drop: -A X -j DROP"),
        ("-A INPUT -j X\n-A INPUT -j DROP\n-A X -j RETURN", "drop: -A INPUT -j DROP"),
        ("-A INPUT -g X\n-A INPUT -j DROP\n-A X -j RETURN", "accept"),
        ("-A INPUT -j X\n-A X -j Y\n-A Y -j ACCEPT\n-A INPUT -j DROP", "accept"),
        ("-A INPUT -m limit --limit 5/min -j DROP", "unknown: `-m limit --limit 5/min` is not evaluated"),
        ("-A INPUT -m limit --limit 5/min -j ACCEPT", "accept"),
        ("-A INPUT -m limit --limit 5/min -j LOG\n-A INPUT -j DROP", "drop: -A INPUT -j DROP"),
        ("-A INPUT -m limit --limit 5/min -j DROP\n-A INPUT -j DROP", "drop: -A INPUT -j DROP"),
        ("-A INPUT -m set --match-set bad src -j X\n-A X -p udp -j DROP", "accept"),
        (
            "-A INPUT -m set --match-set bad src -p udp -j DROP",
            "unknown: `-m set --match-set bad src` is not evaluated",
        ),
        ("-A INPUT -m comment --comment \"a -j b\" -j DROP", "drop: -A INPUT -m comment --comment \"a -j b\" -j DROP"),
        ("-A INPUT -j NFQUEUE --queue-num 3", "unknown: `NFQUEUE` is not evaluated, mark unknown"),
        (
            "-A INPUT -m iprange --src-range 10.1.0.5-10.1.0.15 -j DROP",
            "drop: -A INPUT -m iprange --src-range 10.1.0.5-10.1.0.15 -j DROP",
        ),
        (
            "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
            "drop: -A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
        ),
        ("-A INPUT -m addrtype --dst-type LOCAL -j DROP", "drop: -A INPUT -m addrtype --dst-type LOCAL -j DROP"),
        ("-A INPUT -j DROP\n-A MISSING -j DROP", "drop: -A INPUT -j DROP"),
        ("-A X -j X\n-A INPUT -j X", "unknown: too many rules, jumps or entries of maps"),
    ] {
        assert_eq!(outcome(&table("filter", rules), Hook::Input, &packet()), expected, "{rules}");
    }
    assert_eq!(outcome(&table("filter", ""), Hook::Forward, &packet()), "drop: policy FORWARD");
}

#[test]
fn marks() {
    for (rules, expected) in [
        ("-A PREROUTING -p tcp -m multiport --dports 80,443 -j MARK --set-xmark 0x7/0xffffffff", "accept, mark 7"),
        ("-A PREROUTING -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x7/0xffffffff", "accept"),
        ("-A PREROUTING -j MARK --set-xmark 0x10/0x10\n-A PREROUTING -j MARK --set-xmark 0x1/0x1", "accept, mark 17"),
        (
            "-A PREROUTING -j MARK --set-xmark 0x7/0xffffffff\n-A PREROUTING -j MARK --set-xmark 0x0/0xfffffffd",
            "accept, mark 2",
        ),
        ("-A PREROUTING -m limit --limit 1/sec -j MARK --set-xmark 0x7/0xffffffff", "accept, mark unknown"),
        ("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", "accept"),
        (
            "-A PREROUTING -j MARK --set-xmark 0x7/0xffffffff\n-A PREROUTING -m mark --mark 0x3/0x3 -j DROP",
            "drop: -A PREROUTING -m mark --mark 0x3/0x3 -j DROP, mark 7",
        ),
    ] {
        let outcome = outcome(&table("mangle", rules), Hook::Prerouting, &packet());
        // The mark of a packet that is dropped has no meaning.
        assert_eq!(outcome.trim_end_matches(", mark 7"), expected.trim_end_matches(", mark 7"), "{rules}");
        assert_eq!(outcome.contains("mark 7"), expected.starts_with("accept, mark 7"), "{rules}: {outcome}");
    }
}

#[test]
fn the_rules_that_set_a_mark() {
    let firewall = table(
        "mangle",
        "-A PREROUTING -d 10.1.0.100/32 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x7/0xffffffff\n\
         -A PREROUTING -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x8/0xffffffff\n\
         -A PREROUTING -p tcp -m tcp --dport 80 -m limit --limit 5/min -j MARK --set-xmark 0x7/0xf",
    );
    let found = firewall.rules_setting_mark(7, &packet());
    let found: Vec<_> = found.iter().map(|found| (found.matches, found.differs)).collect();
    assert_eq!(found, [(Truth::No, Some(Field::DestinationPort)), (Truth::Unknown, None)]);
}

#[test]
fn translation_of_sources() {
    let server = (address("10.2.0.11"), 8080);
    let to_server = packet().to_server(Some(server), "eth1".into(), true);
    let rule = "-A POSTROUTING -m ipvs --vaddr 10.1.0.100/32 --vproto 6 -m conntrack --ctorigdstport 80 -j SNAT --to-source 10.2.0.1";
    let nat =
        |rules: &str, packet: &Packet| table("nat", rules).walk(Hook::Postrouting, packet).nat.map(|(nat, _)| nat);
    assert_eq!(nat(rule, &to_server), Some(Nat::Source(Some(address("10.2.0.1")))));
    assert_eq!(nat(rule, &packet()), None);
    assert_eq!(nat(rule, &packet().to_server(Some(server), "eth1".into(), false)), None);
    assert_eq!(nat("-A POSTROUTING -o eth1 -j MASQUERADE", &to_server), Some(Nat::Masquerade));
    assert_eq!(nat("-A POSTROUTING -o eth0 -j MASQUERADE", &to_server), None);
    let other = rule.replace("10.1.0.100", "10.1.0.101");
    assert_eq!(nat(&other, &to_server), None);
    let candidates = table("nat", &other).rules_translating_sources(&to_server);
    assert_eq!(candidates[0].differs, Some(Field::OriginalDestination));
}

#[test]
fn other_protocols_and_families() {
    let udp = Packet::request(UDP, None, address("10.1.0.100"), Some(53));
    for (rule, expected) in [
        ("-A INPUT -p tcp -j DROP", "accept"),
        ("-A INPUT ! -p tcp -j DROP", "drop: -A INPUT ! -p tcp -j DROP"),
        ("-A INPUT -s 10.0.0.0/8 -j DROP", "unknown: the source address is not known"),
        ("-A INPUT -s 0.0.0.0/0 -j DROP", "drop: -A INPUT -s 0.0.0.0/0 -j DROP"),
        ("-A INPUT -p udp -m udp --sport 0:65535 -j DROP", "drop: -A INPUT -p udp -m udp --sport 0:65535 -j DROP"),
    ] {
        assert_eq!(outcome(&table("filter", rule), Hook::Input, &udp), expected, "{rule}");
    }
    let ipv6 = Packet::request(TCP, None, address("fd01::100"), Some(80));
    assert_eq!(outcome(&table("filter", "-A INPUT -j DROP"), Hook::Input, &ipv6), "accept");
    let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -d fd01::/64 -p tcp -j ACCEPT\nCOMMIT\n";
    let firewall = Firewall::from_iptables(text, Family::Ip6).expect("few rules");
    assert_eq!(outcome(&firewall, Hook::Input, &ipv6), "accept");
}
