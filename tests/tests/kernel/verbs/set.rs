//! `ipvsadm-rs set`.

use ipvs_tests::command::{ok, run};

use super::{WEB, director, rules};

ipvs_tests::tests! {
    changes_only_the_named_settings;
    changes_a_server_in_every_service;
    changes_tunnels;
    refuses_invalid_changes;
    reports_nothing_to_change;
    reports_the_loss_of_the_last_server;
    reports_known_clients_of_weight_0;
    takes_relative_weights_durations_and_names;
}

fn changes_only_the_named_settings() {
    director("-A -t 192.0.2.1:80 -s sh -p 600 -b sh-port\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 100 -y 50\n");
    assert_eq!(
        ok("ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.1:8080 --weight 5"),
        "~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5 -x 100 -y 50  # was -w 3\n\
         1 change made: 0 added, 1 edited, 0 deleted; no connections dropped\n"
    );
    ok("ipvsadm-rs set -t 192.0.2.1:80 -M 24");
    ok("ipvsadm-rs set -t 192.0.2.1:80 --persistent off");
    ok("ipvsadm-rs set -t 192.0.2.1:80 --persistent 60 --sched-flags sh-fallback");
    ok("ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.1 -y 0");
    assert_eq!(
        rules(),
        "-A -t 192.0.2.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-fallback\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5 -x 100\n"
    );
}

fn changes_a_server_in_every_service() {
    director(
        "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.7 -m\n-A -f 3 -s rr\n-a -f 3 -r 10.0.0.7 -g\n-a -f 3 -r 10.0.0.8 -g\n",
    );
    ok("ipvsadm-rs set -r 10.0.0.7 --weight 0");
    assert_eq!(
        rules(),
        "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m -w 0\n\
         -A -f 3 -s rr\n-a -f 3 -r 10.0.0.7:0 -g -w 0\n-a -f 3 -r 10.0.0.8:0 -g -w 1\n"
    );
}

fn changes_tunnels() {
    director("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.7 -g -w 3\n");
    ok("ipvsadm-rs set -r 10.0.0.7 --forwarding gue --tun-port 6080");
    ok("ipvsadm-rs set -r 10.0.0.7 --tun-checksum remote");
    assert!(rules().ends_with("-i -w 3 --tun-type gue --tun-port 6080 --tun-remcsum\n"), "{}", rules());
    ok("ipvsadm-rs set -r 10.0.0.7 --forwarding gre --tun-checksum full");
    assert!(rules().ends_with("-i -w 3 --tun-type gre --tun-csum\n"), "{}", rules());
    ok("ipvsadm-rs set -r 10.0.0.7 --forwarding masquerade");
    assert!(rules().ends_with("-m -w 3\n"), "{}", rules());
}

fn refuses_invalid_changes() {
    director(WEB);
    for (line, message) in [
        ("set", "no service or server specified\nUse -t, -u, --sctp-service or -f for a service, -r for a server."),
        (
            "set -t 192.0.2.1:80 --weight 3",
            "weight, forwarding and thresholds are settings of a server\nUse -r to specify the server.",
        ),
        ("set -t 192.0.2.1:80 -r 10.0.0.1 -s rr", "scheduler and persistence are settings of a service\nOmit -r."),
        ("set -r 10.0.0.99 --weight 3", "error: no service has server 10.0.0.99\nTo list the servers,"),
        (
            "set -t 192.0.2.1:80 -r 10.0.0.99 --weight 3",
            "error: service TCP 192.0.2.1:80 has no server 10.0.0.99\nTo list the servers,",
        ),
        ("set -t 192.0.2.9:80 -s rr", "error: no service TCP 192.0.2.9:80\nTo list the services,"),
        ("set -t 192.0.2.1:80", "error: no setting specified\nSpecify at least one"),
        ("set -r 10.0.0.1", "error: no setting specified\nSpecify at least one"),
        ("set -r 10.0.0.1 -w -9", "error: server 10.0.0.1:8080 has weight 3: it cannot be lowered by 9"),
        ("set -r nowhere.invalid -w 1", "error: server nowhere.invalid: "),
        ("set -r 10.0.0.1:http -w 1", "error: invalid port in `10.0.0.1:http'"),
        ("set -r 10.0.0.1 -y 5", "a lower threshold (5) needs an upper threshold"),
        ("set -r 10.0.0.1 --tun-port 5", "--tun-port and --tun-checksum require a gue or gre tunnel"),
        ("set -r 10.0.0.1 --forwarding gue", "a gue tunnel needs --tun-port"),
        ("set -r 10.0.0.1 --forwarding gre --tun-port 5", "--tun-port does not apply to gre tunnels"),
        (
            "set -r 10.0.0.1 --forwarding gre --tun-checksum remote",
            "--tun-checksum remote does not apply to gre tunnels",
        ),
        ("set -r 10.0.0.1 --weight x", "illegal weight specified: not a number from 0 to 2147483647"),
        ("set -t 192.0.2.1:80 --ops on", "One-Packet Scheduling is only for UDP virtual services"),
        ("set -t 192.0.2.1:80 -b mh-port", "incompatible scheduler flag `mh-port'"),
        (
            "set -t 192.0.2.1:80 -s wlcc",
            "error: refused: -E -t 192.0.2.1:80 -s wlcc: the kernel has no scheduler wlcc\n\
             There is no scheduler wlcc. Did you mean wlc?",
        ),
    ] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(message), "{ran}");
    }
    assert_eq!(rules(), WEB);
}

fn reports_nothing_to_change() {
    director(WEB);
    assert_eq!(ok("ipvsadm-rs set -r 10.0.0.1:8080 --weight 3"), "nothing to change\n");
}

fn reports_the_loss_of_the_last_server() {
    for scheduler in ["wlc", "mh", "sh -b sh-fallback"] {
        director(&format!(
            "-A -t 192.0.2.1:80 -s {scheduler}\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m -w 0\n"
        ));
        assert_eq!(
            ok("ipvsadm-rs set -r 10.0.0.1 --weight 0"),
            "~ -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0  # was -w 3\n\
             # TCP 192.0.2.1:80: every new client is refused: all servers have weight 0\n\
             1 change made: 0 added, 1 edited, 0 deleted; no connections dropped\n",
        );
        let emphasized = ok("ipvsadm-rs show --color always");
        assert!(
            emphasized.contains("\u{1b}[31mevery new client is refused: all servers have weight 0\u{1b}[0m"),
            "{emphasized:?}"
        );
    }
}

/// `traffic::costs` compares the templates with real ones.
fn reports_known_clients_of_weight_0() {
    director("-A -t 192.0.2.1:80 -s rr -p 60\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m\n");
    let without_templates = ok("ipvsadm-rs set -r 10.0.0.1 --weight 0");
    assert_eq!(without_templates.lines().count(), 2, "{without_templates}");
}

fn takes_relative_weights_durations_and_names() {
    director(WEB);
    ok("ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.1 -w +2");
    ok("ipvsadm-rs set -r 10.0.0.2 --weight -1");
    ok("ipvsadm-rs set -t 192.0.2.1:80 -p 5m");
    // It may be a link.
    let _ = std::fs::remove_file("/etc/hosts");
    std::fs::write("/etc/hosts", "10.0.0.2 web2\n").unwrap();
    ok("ipvsadm-rs set -r web2 -x 7 -y 0");
    assert_eq!(
        rules(),
        "-A -t 192.0.2.1:80 -s wrr -p 300\n\
         -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n\
         -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0 -x 7\n"
    );
    ok("ipvsadm-rs set -r web2:8080 -w +4");
    assert!(rules().contains("10.0.0.2:8080 -m -w 4 -x 7"), "{}", rules());
}
