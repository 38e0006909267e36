//! `ipvsadm-rs check`.

use ipvs_tests::command::{run, shell};

use super::{WEB, write};
use crate::under_test;

ipvs_tests::tests! {
    needs_neither_root_nor_kernel;
    reports_all_errors;
    warns_about_likely_mistakes;
    warns_about_refused_clients;
    warns_about_addresses_without_packets;
    warns_about_an_empty_file;
    prints_json;
    recognises_files_of_other_kinds;
    strict_makes_warnings_errors;
    warns_of_missing_brackets_and_of_timeouts_that_ipvsadm_refuses;
    documents_have_messages_for_people;
    reads_files_with_a_byte_order_mark;
}

fn needs_neither_root_nor_kernel() {
    under_test::install();
    write("rules", WEB);
    let ran = shell(
        "chmod a+rx . && setpriv --reuid=65534 --clear-groups --bounding-set=-all unshare -rn ipvsadm-rs check rules",
    );
    assert_eq!(ran.ok(), "rules: no errors: 1 service, 2 servers\n");
}

fn reports_all_errors() {
    under_test::install();
    write("rules", "-A -t 192.0.2.1:80 -s rr -w 3\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -x 1 -y 2\n\tfoo\n-L\n");
    let ran = run("ipvsadm-rs check rules");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), "rules: 4 errors\n"));
    assert_eq!(
        ran.stderr,
        "rules:1:26: error: Illegal 'weight' option with the 'add-service' command\n    \
         -A -t 192.0.2.1:80 -s rr -w 3\n                             ^\n\
         -a adds a server: -a -t SERVICE -r SERVER -m\n\
         rules:2:43: error: the lower threshold (2) is above the upper threshold (1)\n    \
         -a -t 192.0.2.1:80 -r 10.0.0.1 -m -x 1 -y 2\n                                              ^\n\
         rules:3:2: error: a line must begin with a command\n    \tfoo\n    \t^\n\
         rules:4:1: error: command not allowed in a rules file: it does not change the table\n    -L\n    ^\n"
    );
}

fn warns_about_likely_mistakes() {
    under_test::install();
    write(
        "rules",
        "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0\n-A -t 192.0.2.1:80 -s rr\n-A -u 192.0.2.1:53 -s mine\n",
    );
    let ran = run("ipvsadm-rs check rules");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "rules: no errors, 4 warnings: 2 services, 1 server\n"));
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("rules:")).collect();
    assert_eq!(
        warnings,
        [
            "rules:1:1: warning: all servers of TCP 192.0.2.1:80 have weight 0: every new connection is refused",
            "rules:3:1: warning: repeats line 1",
            "rules:4:1: warning: scheduler mine is not one of the kernel's own",
            "rules:4:1: warning: UDP 192.0.2.1:53 has no servers: every connection is refused",
        ]
    );
}

/// Returns the warnings about a file, without their position.
fn warnings(rules: &str) -> Vec<String> {
    write("rules", rules);
    let ran = run("ipvsadm-rs check rules");
    assert_eq!(ran.code, Some(0), "{ran}");
    let lines = ran.stderr.lines().filter_map(|line| line.split_once(": warning: "));
    lines.map(|(_, warning)| warning.to_owned()).collect()
}

/// What happens to the clients is compared in `traffic::costs`.
fn warns_about_refused_clients() {
    under_test::install();
    let service = |options: &str, weights: [u32; 2]| {
        let server = |(last, weight)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last} -m -w {weight}\n");
        let servers: String = (1..).zip(weights).map(server).collect();
        format!("-A -t 192.0.2.1:80 {options}\n{servers}")
    };
    let refused = "TCP 192.0.2.1:80: sh without sh-fallback refuses the new clients of servers of weight 0";
    assert_eq!(warnings(&service("-s sh", [1, 0])), [refused]);
    // A new table of mh has no slots for servers of weight 0.
    for good in ["-s sh -b sh-fallback", "-s mh", "-s wlc"] {
        assert!(warnings(&service(good, [1, 0])).is_empty(), "{good}");
    }
    // dh selects one server for all clients of the address.
    let all = "TCP 192.0.2.1:80: dh refuses the new clients of servers of weight 0";
    let dh = [[1, 0], [0, 1]].map(|weights| warnings(&service("-s dh", weights)));
    assert!(dh == [vec![all.to_owned()], vec![]] || dh == [vec![], vec![all.to_owned()]], "{dh:?}");
    let kept = "TCP 192.0.2.1:80 is persistent: known clients of servers of weight 0 keep connecting to them unless \
                net.ipv4.vs.expire_quiescent_template is 1";
    assert_eq!(warnings(&service("-s rr -p 60", [1, 0])), [kept]);
    let none = "all servers of TCP 192.0.2.1:80 have weight 0: every new connection is refused";
    assert_eq!(warnings(&service("-s mh -p 60", [0, 0])), [none, kept]);
}

fn warns_about_addresses_without_packets() {
    under_test::install();
    for address in ["0.0.0.0", "224.0.0.9", "255.255.255.255", "[::]", "[ff02::9]"] {
        let server = if address.starts_with('[') { "[2001:db8::1]:80" } else { "10.0.0.1:80" };
        let found = warnings(&format!("-A -t {address}:80 -s rr\n-a -t {address}:80 -r {server} -m\n"));
        let address = address.trim_matches(['[', ']']);
        assert_eq!(
            found,
            [format!(
                "the service gets no packets, because none are scheduled to {address}; a firewall mark (-f) serves several \
                 addresses"
            )]
        );
    }
}

fn warns_about_an_empty_file() {
    under_test::install();
    write("rules", "# all that is left\n");
    let ran = run("ipvsadm-rs check rules");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "rules: no errors, 1 warning: 0 services, 0 servers\n"));
    assert_eq!(ran.stderr, "rules: warning: the file contains no rules\n");
}

fn prints_json() {
    under_test::install();
    write("rules.toml", "[[services]]\nfwmark = 1\nsheduler = 'rr'\n");
    let ran = run("ipvsadm-rs check --json rules.toml");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""));
    let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(verdict["schema"], 1);
    assert_eq!((&verdict["errors"][0]["line"], &verdict["errors"][0]["column"]), (&3.into(), &1.into()), "{verdict}");
}

fn recognises_files_of_other_kinds() {
    under_test::install();
    for (text, hint) in [
        ("#!/bin/sh\nVIP=192.0.2.1\nipvsadm -A -t $VIP:80 -s rr\n", "This looks like a shell script."),
        ("VIP=192.0.2.1\nipvsadm -A -t $VIP:80 -s rr\n", "This looks like a shell script."),
        (
            "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port\n",
            "This looks like a listing of ipvsadm.",
        ),
        ("*nat\n:PREROUTING ACCEPT [0:0]\n", "This looks like rules of iptables-save."),
    ] {
        write("file", text);
        let ran = run("ipvsadm-rs check file");
        assert_eq!(ran.code, Some(2), "{ran}");
        // One error as an example, and the hint instead of the one at the format.
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
        assert!(ran.stderr.contains(hint) && !ran.stderr.contains("--format"), "{ran}");
    }
}

fn strict_makes_warnings_errors() {
    under_test::install();
    write("rules", "-A -t 192.0.2.1:80 -s wlcc\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n");
    let warning = "warning: scheduler wlcc is not one of the kernel's own\n";
    for (options, code) in [("", 0), (" --strict", 2), (" --strict --json", 2)] {
        let ran = run(&format!("ipvsadm-rs check{options} rules"));
        assert_eq!(ran.code, Some(code), "{ran}");
        assert_eq!(ran.stderr.contains(warning), !options.contains("json"), "{ran}");
    }
    write("rules", WEB);
    assert_eq!(run("ipvsadm-rs check --strict rules").code, Some(0));
}

fn documents_have_messages_for_people() {
    under_test::install();
    let server = |key: &str| {
        format!("[[services]]\nfwmark = 1\nscheduler = 'rr'\n[[services.destinations]]\naddress = '10.0.0.1'\n{key}\n")
    };
    for (key, message) in [
        (
            "forwarding = 'nat'",
            "unknown value `nat': expected masquerade, local, tunnel, direct_route or bypass\n    forwarding = 'nat'\n",
        ),
        ("forwarding = 'nat'", "\nDid you mean masquerade?\n"),
        ("weight = '5'", "the text \"5\" is not a number from 0 to 4294967295\n"),
        ("weigth = 5", "\nDid you mean weight?\n"),
    ] {
        write("file.toml", &server(key));
        let ran = run("ipvsadm-rs check file.toml");
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(message), "{ran}");
    }
}

fn reads_files_with_a_byte_order_mark() {
    under_test::install();
    for text in [WEB, "{\"services\": []}\n", "services = []\n"] {
        write("file", &format!("\u{feff}{text}"));
        assert_eq!(run("ipvsadm-rs check file").code, Some(0), "{text}");
    }
}

fn warns_of_missing_brackets_and_of_timeouts_that_ipvsadm_refuses() {
    under_test::install();
    write(
        "rules",
        "-A -u [2001:db8:96::a]:53 -s rr -p 3000000\n-a -u [2001:db8:96::a]:53 -r 2001:db8:244::5:53 -m\n\
         -A -t 2001:db8:96::a:443 -s rr -p\n-a -t 2001:db8:96::a:443 -r 2001:db8:244::5 -m\n",
    );
    let ran = run("ipvsadm-rs check rules");
    assert_eq!(ran.code, Some(0), "{ran}");
    for warning in [
        "rules:1:1: warning: `ipvsadm -R` refuses 3000000 seconds: the maximum of ipvsadm is 2678400\n",
        "rules:2:1: warning: the address ends in :53; if that is the port, write [2001:db8:244::5]:53\n",
        "rules:3:1: warning: the address ends in :443; if that is the port, write [2001:db8:96::a]:443\n",
    ] {
        assert!(ran.stderr.contains(warning), "{ran}");
    }
}
