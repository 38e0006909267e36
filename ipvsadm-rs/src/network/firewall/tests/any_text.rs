//! Nothing that the programs print makes the program panic, or take long.

use super::packet;
use crate::network::firewall::{Family, Firewall, Hook};

const HOOKS: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

fn walk(firewall: &Firewall) {
    for hook in HOOKS {
        let walk = firewall.walk(hook, &packet());
        let _ =
            (walk.verdict, firewall.rules_setting_mark(7, &packet()), firewall.rules_translating_sources(&packet()));
    }
}

/// A generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }
}

#[test]
fn mutated_json() {
    let original = include_str!("every_expression.json");
    let pieces: Vec<&str> = original.split_inclusive([',', ':', '{', '}', '[', ']']).collect();
    let values = [
        "null, ",
        "-1, ",
        "4294967296, ",
        "18446744073709551615, ",
        "\"\", ",
        "{}, ",
        "[], ",
        "\"@bad\", ",
        "[[]], ",
        "1.5, ",
        "true, ",
        "\"drop\", ",
        "\"ü\", ",
    ];
    let mut random = Random(7);
    let (mut parsed, rounds) = (0, 4000);
    for _ in 0..rounds {
        let mut text: Vec<&str> = pieces.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            match random.below(3) {
                0 => text[at] = values[random.below(values.len())],
                1 => text[at] = pieces[random.below(pieces.len())],
                _ => {
                    let text_of_value = values[random.below(values.len())].trim_end_matches(", ");
                    if text[at].trim_end().ends_with([',', ']', '}']) {
                        let end = text[at].trim_end().len() - 1;
                        let end = text[at].get(end..).unwrap_or_default();
                        text[at] = text_of_value;
                        text.insert(at + 1, end);
                    }
                }
            }
        }
        if let Ok(firewall) = Firewall::from_nft(text.concat().as_bytes()) {
            parsed += 1;
            walk(&firewall);
        }
    }
    assert!(parsed > rounds / 20, "only {parsed} inputs were JSON");
}

#[test]
fn mutated_lines() {
    let words = [
        "-A",
        "INPUT",
        "PREROUTING",
        "X",
        "-j",
        "-g",
        "-m",
        "!",
        "-s",
        "-d",
        "10.0.0.0/8",
        "0/0",
        "1.2.3.4/255.0.255.0",
        "fd01::/200",
        "-p",
        "tcp",
        "all",
        "--dport",
        "80:70",
        ":",
        "65536",
        "\"",
        "'",
        "\\",
        "comment",
        "--comment",
        "MARK",
        "--set-xmark",
        "0x7/",
        "0xfffffffff",
        "SNAT",
        "--to-source",
        "[::1]:80",
        "1.2.3.4-1.2.3.5:1-2",
        "multiport",
        "--dports",
        "mark",
        "--mark",
        "conntrack",
        "--ctstate",
        "NEW,",
        "ipvs",
        "--vaddr",
        "iprange",
        "--src-range",
        "-",
        "ACCEPT",
        "DROP",
        "RETURN",
        "[1:2] ",
        "ü",
        "-i",
        "+",
        "\n-A INPUT",
        "\n*nat\n:INPUT - [0:0]",
        "\n:X",
    ];
    let mut random = Random(9);
    for _ in 0..4000 {
        let mut text = String::from("*filter\n:INPUT DROP [0:0]\n:PREROUTING ACCEPT\n:X - [0:0]\n-A INPUT");
        for _ in 0..random.below(30) {
            text.push(' ');
            text.push_str(words[random.below(words.len())]);
        }
        walk(&Firewall::from_iptables(&text, Family::Ip).expect("few rules"));
    }
}

#[test]
fn hostile_rulesets_end() {
    // Each chain jumps twice to the next: 2^16 paths.
    let mut text = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
    for chain in 0..40 {
        text += &format!(":C{chain} - [0:0]\n");
    }
    text += "-A INPUT -j C0\n";
    for chain in 0..39 {
        for _ in 0..50 {
            text += &format!("-A C{chain} -m limit -j C{}\n", chain + 1);
        }
    }
    walk(&Firewall::from_iptables(&text, Family::Ip).expect("few rules"));
    let many = "-A INPUT -j DROP\n".repeat(100_001);
    let error = Firewall::from_iptables(&format!("*filter\n:INPUT ACCEPT\n{many}"), Family::Ip).unwrap_err();
    assert_eq!(error, "more than 100000 rules");
    for bad in ["", "{}", "[]", "null", "{\"nftables\": {}}", "\u{0}"] {
        assert!(Firewall::from_nft(bad.as_bytes()).is_err(), "{bad}");
    }
}
