//! Output of `ipvsadm-rs rs-setup` and `snat-rules`. The tests in `traffic` run the commands and send packets.

use ipvs_tests::command::{ok, run, shell};
use serde_json::Value;

use crate::under_test;

ipvs_tests::tests! {
    prints_commands;
    prints_sysctl_settings;
    prints_files_for_networkd;
    prints_a_stanza_for_ifupdown, needs = "ifupdown";
    advises_mtu_and_mss_for_tunnels;
    nft_accepts_the_advised_rules, needs = "qemu-system-x86", needs = "nftables", cloud = &[under_test::PROGRAM, "/usr/sbin/nft"];
    prints_json;
    refuses_impossible_setups;
    prints_firewall_rules;
}

fn printed(options: &str) -> String {
    under_test::install();
    ok(&format!("ipvsadm-rs rs-setup {options}"))
}

fn prints_commands() {
    assert_eq!(
        printed("--mode dr --vip 192.0.2.1 --vip 2001:db8::1 --device vip"),
        "\
# Real server for 192.0.2.1, 2001:db8::1, reached by direct routing
# do not answer ARP for the virtual address
sysctl -qw net.ipv4.conf.all.arp_ignore=1
# do not use the virtual address as the source of ARP requests
sysctl -qw net.ipv4.conf.all.arp_announce=2
ip link add vip type dummy; ip link set vip up
ip address replace 192.0.2.1/32 dev vip
ip address replace 2001:db8::1/128 dev vip nodad
"
    );
    let gue = printed("--mode tun-gue --tun-port 5555 --own 2001:db8::9 --vip 2001:db8::1");
    assert!(gue.contains("\nmodprobe fou\nip fou add port 5555 gue -6\nmodprobe ip6_tunnel\n"), "{gue}");
    // IPv6 has neither ARP nor rp_filter.
    assert!(!gue.contains("sysctl"), "{gue}");
}

fn prints_sysctl_settings() {
    let text = printed("--mode tun-ipip --vip 192.0.2.1 --for sysctl");
    under_test::modprobe();
    ok("modprobe ipip");
    std::fs::write("lvs.conf", &text).unwrap();
    shell("sysctl -q -p lvs.conf").ok();
    let read =
        ok("sysctl -n net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce net.ipv4.conf.tunl0.rp_filter");
    assert_eq!(read, "1\n2\n0\n");
}

fn prints_files_for_networkd() {
    let text = printed("--mode tun-gue --own 10.0.0.9 --vip 192.0.2.1 --vip 2001:db8::1 --for systemd-networkd");
    let files: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# /etc/")).collect();
    assert_eq!(
        files,
        [
            "modules-load.d/lvs.conf",
            "sysctl.d/50-lvs.conf",
            "systemd/network/50-lvs-fou.netdev",
            "systemd/network/50-lvs-tunl0.network",
            "systemd/network/50-lvs-sit0.network",
            "systemd/network/50-lvs.network",
        ]
    );
    assert!(text.contains("\nfou\nipip\nsit\n"), "{text}");
    assert!(text.contains("Kind=fou\n\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort=6080\n"), "{text}");
    assert!(text.contains("[Address]\nAddress=192.0.2.1/32\n\n[Address]\nAddress=2001:db8::1/128\n"), "{text}");
    let ran =
        run("ipvsadm-rs rs-setup --mode tun-gre --tun-csum --own 10.0.0.9 --vip 192.0.2.1 --for systemd-networkd");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("cannot create a GRE device with checksums"), "{ran}");
}

fn prints_a_stanza_for_ifupdown() {
    std::fs::write("interfaces", printed("--mode tun-gre --tun-csum --own 10.0.0.9 --vip 192.0.2.1 --for ifupdown"))
        .unwrap();
    under_test::modprobe();
    std::fs::create_dir_all("/run/network").unwrap();
    shell("ip link set lo up; ifup -i interfaces lo:lvs").ok();
    let has = |what: &str, device: &str| ok(&format!("ip -brief address show {device}")).contains(what);
    assert!(has("192.0.2.1/32", "lo"));
    let link = ok("ip -details link show lvs-tunnel");
    assert!(link.contains("local 10.0.0.9") && link.contains("icsum"), "{link}");
    shell("ifdown -i interfaces lo:lvs").ok();
    assert!(!has("192.0.2.1/32", "lo"));
    assert_ne!(run("ip link show lvs-tunnel").code, Some(0));
}

/// The lengths are those of the headers that the kernel adds; `traffic::tun` checks them with real packets.
fn advises_mtu_and_mss_for_tunnels() {
    for (options, longer, segment) in [
        ("--mode tun-ipip --vip 192.0.2.1", 20, 1440),
        ("--mode tun-ipip --vip 192.0.2.1 --own 2001:db8::9", 40, 1420),
        ("--mode tun-ipip --vip 2001:db8::1 --own 10.0.0.9", 20, 1420),
        ("--mode tun-gre --vip 192.0.2.1", 24, 1436),
        ("--mode tun-gre --vip 192.0.2.1 --tun-csum --own 10.0.0.9", 28, 1432),
        ("--mode tun-gue --vip 192.0.2.1 --tun-csum", 32, 1428),
        ("--mode tun-gue --vip 192.0.2.1 --tun-remcsum", 40, 1420),
        ("--mode tun-ipip --vip 192.0.2.1 --mtu 9000", 20, 8940),
    ] {
        let text = printed(options);
        assert!(text.contains(&format!(" {longer} bytes longer")), "{options}\n{text}");
        assert!(text.contains(&format!("maxseg size set {segment}'")), "{options}\n{text}");
    }
    assert!(!printed("--mode dr --vip 192.0.2.1").contains("maxseg"));
}

/// Runs the advised commands.
fn nft_accepts_the_advised_rules() {
    let text = printed("--mode tun-ipip --vip 192.0.2.1 --vip 2001:db8::1");
    for nft in text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.starts_with("nft ")) {
        shell(nft).ok();
    }
    let rules = ok("nft list ruleset");
    assert!(rules.contains("ip saddr 192.0.2.1 tcp flags syn tcp option maxseg size set 1440"), "{rules}");
    assert!(rules.contains("ip6 saddr 2001:db8::1 tcp flags syn tcp option maxseg size set 1400"), "{rules}");
}

fn prints_json() {
    let setup: Value = serde_json::from_str(&printed("--mode dr --vip 192.0.2.1 --json")).unwrap();
    let steps: Vec<_> = setup["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["sysctl", "sysctl", "address"]);
    let rules: Value = serde_json::from_str(&ok("ipvsadm-rs snat-rules -t 192.0.2.1:80 --json")).unwrap();
    assert_eq!((&setup["schema"], &rules["schema"]), (&1.into(), &1.into()));
    assert_eq!(rules["commands"][0], "sysctl -qw net.ipv4.vs.conntrack=1");
}

fn refuses_impossible_setups() {
    under_test::install();
    for (line, why) in [
        ("rs-setup --mode dr", "--vip <ADDRESS>"),
        ("rs-setup --mode nat --vip 192.0.2.1", "invalid value 'nat'"),
        ("rs-setup --mode dr --vip web", "invalid value 'web'"),
        ("rs-setup --mode dr --vip 192.0.2.1 --own 10.0.0.9", "--own requires --mode tun-ipip, tun-gre or tun-gue"),
        ("rs-setup --mode tun-gre --vip 192.0.2.1 --tun-port 9", "--tun-port requires --mode tun-gue"),
        ("rs-setup --mode tun-ipip --vip 192.0.2.1 --tun-csum", "--tun-csum requires --mode tun-gre or tun-gue"),
        ("rs-setup --mode tun-gre --vip 192.0.2.1 --tun-remcsum", "--tun-remcsum requires --mode tun-gue"),
        ("rs-setup --mode tun-gre --vip 192.0.2.1 --tun-csum", "needs the server's own address\nUse --own ADDRESS."),
        ("rs-setup --mode tun-gue --vip 192.0.2.1 --tun-port 0", "invalid value '0'"),
        ("rs-setup --mode dr --vip 192.0.2.1 --device a;reboot", "a device name consists of letters, digits,"),
        ("rs-setup --mode dr --vip 192.0.2.1 --device ..", "a device name consists of letters, digits,"),
        ("rs-setup --mode dr --vip 192.0.2.1 --device sixteen-letters-", "interface name is longer than 15 bytes"),
        ("rs-setup --mode dr --vip 192.0.2.1 --device=", "interface name is empty"),
        ("rs-setup --mode dr --vip 0.0.0.0", "not a unicast address that other machines can reach"),
        ("rs-setup --mode dr --vip 224.0.0.1", "not a unicast address that other machines can reach"),
        ("rs-setup --mode dr --vip 255.255.255.255", "not a unicast address that other machines can reach"),
        ("rs-setup --mode dr --vip ::1", "not a unicast address that other machines can reach"),
        (
            "rs-setup --mode tun-gre --vip 192.0.2.1 --own ff02::1",
            "not a unicast address that other machines can reach",
        ),
        ("rs-setup --mode tun-ipip --vip 192.0.2.1 --mtu 0", "invalid value '0'"),
        (
            "rs-setup --mode tun-ipip --vip 192.0.2.1 --vip 2001:db8::1 --mtu 1279",
            "--mtu must be at least 1280 with IPv6",
        ),
        ("snat-rules", "--tcp-service <HOST:PORT>"),
        (
            "snat-rules -t 192.0.2.1:80 --to-source 2001:db8::1",
            "--to-source and the service have different address families",
        ),
        ("snat-rules -t 192.0.2.1:http-or-so", "no such port"),
        ("snat-rules -t 192.0.2.1:9-8", "9-8 is not a range of ports"),
        ("snat-rules -f 0x64", "Marks are decimal here: -f 100"),
    ] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert!(ran.code == Some(1) && ran.stdout.is_empty() && ran.stderr.contains(why), "{why}: {ran}");
    }
}

fn prints_firewall_rules() {
    under_test::install();
    assert_eq!(
        ok("ipvsadm-rs snat-rules -t [2001:db8::1]:443 --to-source 2001:db8::9"),
        "\
sysctl -qw net.ipv4.vs.conntrack=1
nft 'add table ip6 ipvs-snat'
nft 'add chain ip6 ipvs-snat out { type nat hook postrouting priority srcnat; }'
nft 'add rule ip6 ipvs-snat out meta l4proto tcp ct original ip6 daddr 2001:db8::1 ct original proto-dst 443 snat to 2001:db8::9'
"
    );
    assert_eq!(
        ok("ipvsadm-rs snat-rules -u 192.0.2.1:0 --for iptables"),
        "\
sysctl -qw net.ipv4.vs.conntrack=1
iptables -t nat -A POSTROUTING -m ipvs --vproto udp --vaddr 192.0.2.1/32 -j MASQUERADE
"
    );
    for (line, rule) in [
        ("-f 7", "nft 'add rule ip ipvs-snat out meta mark 7 masquerade'"),
        ("-f 7 -6", "nft 'add rule ip6 ipvs-snat out meta mark 7 masquerade'"),
        ("-f 7 --for iptables", "iptables -t nat -A POSTROUTING -m ipvs --ipvs -m mark --mark 7 -j MASQUERADE"),
        (
            "-t 192.0.2.1:8000-8010",
            "nft 'add rule ip ipvs-snat out meta l4proto tcp ct original ip daddr 192.0.2.1 ct original proto-dst \
             8000-8010 masquerade'",
        ),
        (
            "-t 192.0.2.1:8000-8010 --for iptables",
            "iptables -t nat -A POSTROUTING -m ipvs --vproto tcp --vaddr 192.0.2.1/32 -m conntrack --ctorigdstport \
             8000:8010 -j MASQUERADE",
        ),
    ] {
        let printed = ok(&format!("ipvsadm-rs snat-rules {line}"));
        assert_eq!(printed.lines().last(), Some(rule), "{line}");
    }
}
