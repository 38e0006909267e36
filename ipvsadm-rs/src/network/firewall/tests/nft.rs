use super::{address, outcome, packet};
use crate::network::firewall::{Device, Firewall, Hook, Nat, Packet, TCP, Truth, state};

/// A table with one chain at each hook, and these rules in the chain of input, each a list of expressions.
fn input(policy: &str, rules: &[&str]) -> Firewall {
    ruleset("input", "filter", 0, policy, rules)
}

fn ruleset(hook: &str, kind: &str, priority: i32, policy: &str, rules: &[&str]) -> Firewall {
    let mut text = format!(
        r#"{{"nftables": [{{"metainfo": {{"json_schema_version": 1}}}},
        {{"table": {{"family": "inet", "name": "t", "handle": 1}}}},
        {{"set": {{"family": "inet", "name": "s", "table": "t", "type": "ipv4_addr",
            "elem": ["10.1.0.9", {{"range": ["10.1.0.10", "10.1.0.20"]}}, {{"elem": {{"val": "10.9.0.1", "timeout": 5}}}}]}}}},
        {{"map": {{"family": "inet", "name": "m", "table": "t", "type": "inet_service", "map": "verdict",
            "elem": [[80, {{"drop": null}}], [443, {{"jump": {{"target": "x"}}}}]]}}}},
        {{"chain": {{"family": "inet", "table": "t", "name": "x", "handle": 2}}}},
        {{"rule": {{"family": "inet", "table": "t", "chain": "x", "handle": 3, "expr": [{{"reject": null}}]}}}},
        {{"chain": {{"family": "inet", "table": "t", "name": "c", "handle": 4, "type": "{kind}", "hook": "{hook}",
            "prio": {priority}, "policy": "{policy}"}}}}"#
    );
    for rule in rules {
        text += &format!(
            r#", {{"rule": {{"family": "inet", "table": "t", "chain": "c", "handle": 5, "expr": [{rule}]}}}}"#
        );
    }
    Firewall::from_nft(format!("{text}]}}").as_bytes()).expect("a ruleset")
}

fn is(left: &str, right: &str) -> String {
    format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}"#)
}

fn is_not(left: &str, right: &str) -> String {
    is(left, right).replace("==", "!=")
}

const DPORT: &str = r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#;
const UDP_DPORT: &str = r#"{"payload": {"protocol": "udp", "field": "dport"}}"#;
const SADDR: &str = r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#;
const SADDR6: &str = r#"{"payload": {"protocol": "ip6", "field": "saddr"}}"#;
const STATE: &str = r#"{"ct": {"key": "state"}}"#;
const MARK: &str = r#"{"meta": {"key": "mark"}}"#;
const DROP: &str = r#"{"drop": null}"#;

#[test]
fn comparisons() {
    let with_mask = format!(r#"{{"&": [{STATE}, ["established", "related"]]}}"#);
    for (comparison, holds) in [
        (is(DPORT, "80"), true),
        (is(DPORT, "81"), false),
        (is_not(DPORT, r#"{"range": [70, 90]}"#), false),
        (is(DPORT, r#"{"set": [22, {"range": [80, 90]}]}"#), true),
        (is(UDP_DPORT, "80"), false),
        // This compares the protocol, too.
        (is_not(UDP_DPORT, "53"), false),
        (is(r#"{"payload": {"protocol": "th", "field": "sport"}}"#, "4000"), true),
        (is(SADDR, r#"{"prefix": {"addr": "10.1.0.0", "len": 24}}"#), true),
        (is_not(SADDR, r#""10.1.0.10""#), false),
        (is(SADDR, r#""@s""#), true),
        (is_not(SADDR, r#""@s""#), false),
        (is_not(SADDR6, r#""fd01::1""#), false),
        (is(STATE, r#""new""#), true),
        (is(STATE, r#"["established", "related"]"#), false),
        (is(STATE, r#"{"set": ["new", "related"]}"#), true),
        (is(&with_mask, "0"), true),
        (is_not(&with_mask, "0"), false),
        (is(r#"{"meta": {"key": "iifname"}}"#, r#""eth*""#), true),
        (is(r#"{"meta": {"key": "iif"}}"#, r#""lo""#), false),
        (is(r#"{"meta": {"key": "nfproto"}}"#, r#""ipv6""#), false),
        (is(r#"{"meta": {"key": "l4proto"}}"#, r#"{"set": ["tcp", "udp"]}"#), true),
        (is(&format!(r#"{{"&": [{MARK}, 255]}}"#), "0"), true),
        (is(r#"{"fib": {"result": "type", "flags": ["daddr"]}}"#, r#""local""#), true),
        (is(&format!(r#"{{"concat": [{SADDR}, {DPORT}]}}"#), r#"{"set": [{"concat": ["10.1.0.10", 80]}]}"#), true),
        (is(&format!(r#"{{"concat": [{SADDR}, {DPORT}]}}"#), r#"{"set": [{"concat": ["10.1.0.10", 81]}]}"#), false),
        (is(r#"{"payload": {"protocol": "icmp", "field": "type"}}"#, r#""echo-request""#), false),
        (is(STATE, r#"["established", "related"]"#).replace("==", "!"), true),
        (is(r#"{"payload": {"protocol": "tcp", "field": "flags"}}"#, r#""syn""#).replace("==", "in"), true),
        (is(r#"{"payload": {"protocol": "tcp", "field": "flags"}}"#, r#"["rst", "ack"]"#).replace("==", "in"), false),
        (is(r#"{"payload": {"protocol": "tcp", "field": "flags"}}"#, r#"["syn", "ack"]"#), false),
        (is(DPORT, "80").replace("==", "<"), false),
        (is(DPORT, "80").replace("==", ">="), true),
    ] {
        let firewall = input("accept", &[&format!("{comparison}, {DROP}")]);
        let outcome = outcome(&firewall, Hook::Input, &packet());
        assert_eq!(outcome.starts_with("drop: "), holds, "{comparison}: {outcome}");
        assert_eq!(outcome == "accept", !holds, "{comparison}: {outcome}");
    }
}

#[test]
fn verdicts() {
    let unknown = is(r#"{"meta": {"key": "skuid"}}"#, "7");
    let vmap = format!(r#"{{"vmap": {{"key": {DPORT}, "data": "@m"}}}}"#);
    for (policy, rules, expected) in [
        ("accept", vec![], "accept"),
        ("drop", vec![], "drop: policy c"),
        ("drop", vec![r#"{"accept": null}"#.to_owned()], "accept"),
        ("accept", vec![r#"{"jump": {"target": "x"}}"#.to_owned()], "reject: reject"),
        ("accept", vec![vmap.clone()], "drop: tcp dport vmap @m"),
        ("accept", vec![format!("{unknown}, {DROP}")], "unknown: `meta skuid 7` is not evaluated"),
        ("drop", vec![format!("{unknown}, {DROP}")], "drop: policy c"),
        (
            "accept",
            vec![format!(r#"{{"limit": {{"rate": 10, "per": "second"}}}}, {{"accept": null}}"#), DROP.into()],
            "unknown: `limit rate 10/second` is not evaluated",
        ),
        (
            "accept",
            vec![r#"{"queue": {"num": 3}}"#.to_owned()],
            "unknown: `queue {\"num\":3}` is not evaluated, mark unknown",
        ),
        ("accept", vec![format!(r#"{{"counter": {{"packets": 0}}}}, {{"log": null}}, {DROP}"#)], "drop: log drop"),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        assert_eq!(outcome(&input(policy, &rules), Hook::Input, &packet()), expected, "{rules:?}");
    }
    let mut other = packet();
    other.destination_port = Some(443);
    assert_eq!(
        outcome(&input("accept", &[&vmap]), Hook::Input, &other),
        "reject: tcp dport vmap @m".replace("tcp dport vmap @m", "reject")
    );
    other.destination_port = Some(22);
    assert_eq!(outcome(&input("accept", &[&vmap]), Hook::Input, &other), "accept");
}

#[test]
fn marks() {
    let set = |value: &str| format!(r#"{{"mangle": {{"key": {MARK}, "value": {value}}}}}"#);
    for (rules, expected) in [
        (vec![set("7")], "accept, mark 7"),
        (vec![format!("{}, {}", is(DPORT, "443"), set("7"))], "accept"),
        (vec![set("7"), set(&format!(r#"{{"|": [{MARK}, 16]}}"#))], "accept, mark 23"),
        (vec![set("7"), set(&format!(r#"{{"^": [{{"&": [{MARK}, 5]}}, 3]}}"#))], "accept, mark 6"),
        (vec![set(r#"{"ct": {"key": "mark"}}"#)], "accept"),
        (vec![set(r#"{"numgen": {"mode": "random", "mod": 2}}"#)], "accept, mark unknown"),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let firewall = ruleset("prerouting", "filter", -150, "accept", &rules);
        assert_eq!(outcome(&firewall, Hook::Prerouting, &packet()), expected, "{rules:?}");
    }
    let firewall = ruleset("prerouting", "filter", -150, "accept", &[&format!("{}, {}", is(DPORT, "443"), set("7"))]);
    assert_eq!(firewall.rules_setting_mark(7, &packet())[0].matches, Truth::No);
    assert!(firewall.rules_setting_mark(8, &packet()).is_empty());
}

#[test]
fn chains_after_ipvs_do_not_count() {
    assert_eq!(outcome(&ruleset("input", "filter", 100, "drop", &[]), Hook::Input, &packet()), "accept");
    assert_eq!(outcome(&ruleset("input", "filter", 50, "drop", &[]), Hook::Input, &packet()), "drop: policy c");
    assert_eq!(
        outcome(&ruleset("prerouting", "filter", 300, "drop", &[]), Hook::Prerouting, &packet()),
        "drop: policy c"
    );
}

#[test]
fn translations() {
    let dnat = format!(r#"{}, {{"dnat": {{"family": "ip", "addr": "10.2.0.9", "port": 8080}}}}"#, is(DPORT, "80"));
    let walk = ruleset("prerouting", "nat", -100, "accept", &[&dnat]).walk(Hook::Prerouting, &packet());
    assert_eq!((walk.packet.destination, walk.packet.destination_port), (Some(address("10.2.0.9")), Some(8080)));
    let snat = format!(
        r#"{}, {}, {{"snat": {{"family": "ip", "addr": "10.2.0.1"}}}}"#,
        is(r#"{"ct": {"key": "ip daddr", "dir": "original"}}"#, r#""10.1.0.100""#),
        is(r#"{"ct": {"key": "proto-dst", "dir": "original"}}"#, "80"),
    );
    let firewall = ruleset("postrouting", "nat", 100, "accept", &[&snat]);
    let sent = packet().to_server(Some((address("10.2.0.11"), 8080)), Device::Named("eth1".into()), true);
    let walk = firewall.walk(Hook::Postrouting, &sent);
    assert_eq!(walk.nat.map(|(nat, _)| nat), Some(Nat::Source(Some(address("10.2.0.1")))));
    // Only the first packet of a connection decides.
    let later = Packet { state: Some(state::ESTABLISHED), ..sent };
    assert_eq!(firewall.walk(Hook::Postrouting, &later).nat, None);
}

#[test]
fn every_expression_is_understood_or_named() {
    let firewall = Firewall::from_nft(include_bytes!("every_expression.json")).expect("a ruleset");
    let outcome_of = |packet: &Packet| outcome(&firewall, Hook::Input, packet);
    // Named sets, and the chain that it jumps to.
    assert_eq!(outcome_of(&packet()), "drop: ip saddr @bad log drop");
    let mut other = packet();
    other.source = Some(address("10.1.0.11"));
    assert_eq!(outcome_of(&other), "accept");
    other.destination_port = Some(90);
    assert_eq!(outcome_of(&other), "reject: tcp dport != 22-25 reject with tcp reset");
    other.state = Some(state::ESTABLISHED);
    assert_eq!(outcome_of(&other), "accept");
    other.in_device = Device::Named("vip0".into());
    other.state = Some(state::INVALID);
    assert_eq!(outcome_of(&other), "drop: ct state vmap { invalid,drop, established,accept }");
    assert_eq!(
        outcome_of(&Packet::request(TCP, None, address("fd01::100"), Some(23))),
        "unknown: the device of arrival is not known"
    );
}

#[test]
fn entries_of_maps_count_as_rules() {
    let entries: Vec<String> = (1000..3000).map(|port| format!(r#"[{port}, {{"drop": null}}]"#)).collect();
    let vmap = |entries: &str| format!(r#"{{"vmap": {{"key": {DPORT}, "data": {{"set": [{entries}]}}}}}}"#);
    let vmap = vmap(&entries.join(", "));
    let few = vec![vmap.as_str(); 400];
    assert_eq!(outcome(&input("accept", &few), Hook::Input, &packet()), "accept");
    let many = vec![vmap.as_str(); 600];
    assert_eq!(
        outcome(&input("accept", &many), Hook::Input, &packet()),
        "unknown: too many rules, jumps or entries of maps"
    );
}

#[test]
fn chains_of_the_link_layer_are_named() {
    let chain = |family: &str, name: &str, hook: &str| {
        format!(
            r#"{{"chain": {{"family": "{family}", "table": "t", "name": "{name}", "type": "filter", "hook": "{hook}",
            "prio": 0, "policy": "drop"}}}}"#
        )
    };
    let parse = |chains: &[String]| {
        let text = format!(r#"{{"nftables": [{}]}}"#, chains.join(", "));
        Firewall::from_nft(text.as_bytes()).expect("a ruleset").not_read
    };
    assert_eq!(parse(&[chain("inet", "a", "input"), chain("ip", "b", "prerouting")]), [""; 0]);
    assert_eq!(
        parse(&[chain("netdev", "a", "ingress"), chain("inet", "b", "ingress"), chain("bridge", "c", "input")]),
        [
            "nft: chain a of hook ingress, table netdev t, is not evaluated",
            "nft: chain b of hook ingress, table inet t, is not evaluated",
            "nft: chain c of hook input, table bridge t, is not evaluated",
        ]
    );
    let many: Vec<String> = (0..9).map(|number| chain("netdev", &format!("c{number}"), "ingress")).collect();
    assert_eq!(parse(&many).last().expect("a count"), "nft: 6 more chains of the link layer are not evaluated");
}
