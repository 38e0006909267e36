//! `ipvsadm-rs show`.

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::guest::modules;

use super::{director, write};
use crate::under_test;

ipvs_tests::tests! {
    prints_a_table;
    prints_json;
    prints_an_empty_table;
    hints_at_missing_permission;
    completion_loads_no_module, own_kernel = true;
    hints_at_missing_module, own_kernel = true;
}

const RULES: &str = "\
-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-port
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 100 -y 50
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0
-A -u [2001:db8:1111:2222:3333:4444:5555:6666]:53 -s rr -o
-a -u [2001:db8:1111:2222:3333:4444:5555:6666]:53 -r [2001:db8:1111:2222:3333:4444:5555:7777]:53 -i --tun-type gue --tun-port 6080
-A -f 7 -s rr
";

fn prints_a_table() {
    director(RULES);
    assert_eq!(
        ok("ipvsadm-rs show"),
        "IPVS 1.2.1, timeouts tcp 900 tcp-fin 120 udp 300\n\
         \n\
         TCP 192.0.2.1:80  sh sh-port  persistent 360 s mask 255.255.255.0\n  \
         25.0 % of new clients are refused: sh without sh-fallback also selects servers of weight 0\n  \
         SERVER                                       FORWARDING       STATE    WEIGHT  ACTIVE  INACTIVE  PERSISTENT    LIMIT  CONNS/S  CONNS\n  \
         10.0.0.1:8080                                masquerade                     3       0         0           0  50..100        0      0\n  \
         10.0.0.2:8080                                masquerade       drained       0       0         0           0        -        0      0\n\
         \n\
         UDP [2001:db8:1111:2222:3333:4444:5555:6666]:53  rr  one-packet\n  \
         SERVER                                       FORWARDING       STATE    WEIGHT  ACTIVE  INACTIVE  PERSISTENT    LIMIT  CONNS/S  CONNS\n  \
         [2001:db8:1111:2222:3333:4444:5555:7777]:53  tunnel gue:6080                1       0         0           0        -        0      0\n\
         \n\
         FWM 7  rr\n  \
         no servers: every connection is refused\n"
    );
    let coloured = ok("ipvsadm-rs show --color always");
    assert!(coloured.contains("\u{1b}[33m10.0.0.2:8080"), "{coloured:?}");
}

fn prints_json() {
    director(RULES);
    let table: serde_json::Value = serde_json::from_str(&ok("ipvsadm-rs --json show")).unwrap();
    assert_eq!((&table["schema"], &table["ipvs"]["version"]), (&1.into(), &"1.2.1".into()));
    assert_eq!(table["services"][0]["destinations"][0]["weight"], 3);
    assert_eq!(table["services"][0]["destinations"][0]["stats"]["incoming_bytes"], 0);
    assert_eq!(table["services"][1]["destinations"][0]["tunnel"]["port"], 6080);
    assert_eq!(table["services"][2]["fwmark"], 7);
    write("table", &table.to_string());
    assert_eq!(shell("ipvsadm-rs plan table").code, Some(0));
}

fn prints_an_empty_table() {
    director("");
    let ran = run("ipvsadm-rs show");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "IPVS 1.2.1, timeouts tcp 900 tcp-fin 120 udp 300\n"));
}

fn hints_at_missing_permission() {
    under_test::install();
    let ran = shell("unshare -rn ipvsadm-rs show");
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stderr,
        "error: read the IPVS version: permission denied: IPVS requires CAP_NET_ADMIN in the initial user \
         namespace\nRun the command as root.\n"
    );
}

fn hints_at_missing_module() {
    under_test::install();
    let _unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    write("rules", "-A -t 192.0.2.1:80 -s rr\n");
    for verb in ["show", "plan rules", "apply rules", "set -t 192.0.2.1:80 --scheduler rr"] {
        let ran = run(&format!("ipvsadm-rs {verb}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("warning: ")).collect();
        let [why, what_to_do] = lines[lines.len() - 2..] else { panic!("{ran}") };
        assert!(why.ends_with(": the kernel has no IPVS: cannot load the module ip_vs"), "{ran}");
        assert_eq!(what_to_do, "Load the module with `modprobe ip_vs`. For a container, load it on the host.", "{ran}");
    }
}

/// The tab key must not change anything.
fn completion_loads_no_module() {
    under_test::install();
    under_test::modprobe();
    let _unloaded = modules::unload("ip_vs").unwrap();
    let journals = shell("ls /var/lib/ipvsadm-rs").stdout;
    assert_eq!(ok("ipvsadm-rs complete ipvsadm-rs -- set -t 1"), "words\n");
    assert!(!std::fs::exists("/proc/net/ip_vs").unwrap(), "the module was loaded");
    assert_eq!(shell("ls /var/lib/ipvsadm-rs").stdout, journals);
}
