//! `ipvsadm-rs apply`.

use std::collections::BTreeSet;

use ipvs_tests::command::{ok, run, shell};

use super::{WEB, director, rules, write};

ipvs_tests::tests! {
    skips_services_with_errors;
    makes_the_smallest_change;
    applies_every_feature_and_undoes_it;
    reads_toml_json_and_standard_input;
    rolls_back_if_a_change_is_refused;
    changes_nothing_if_the_file_is_invalid;
    refuses_empty_file_without_allow_empty;
    dry_run_prints_the_plan;
    second_apply_fails_while_one_runs;
    waits_for_a_running_apply;
    warns_if_the_journal_is_unusable;
    applies_in_another_namespace;
}

fn makes_the_smallest_change() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    assert_eq!(
        ok("ipvsadm-rs apply wanted"),
        "~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5  # was -w 3\n\
         1 change made: 0 added, 1 edited, 0 deleted; no connections dropped\n"
    );
    assert_eq!(rules(), WEB.replace("-w 3", "-w 5"));
}

/// Rules with every feature.
const ALL: &str = "\
# ipvsadm-rs: order=kernel
--set 901 121 301
--start-daemon backup --mcast-interface lo --syncid 7 --sync-maxlen 1400 --mcast-group 239.1.2.3 --mcast-port 8849 --mcast-ttl 3
-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 10 -x 100 -y 50
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0
-A --sctp-service 192.0.2.1:36412 -s wlc
-A -u [2001:db8::1]:5060 -s rr -p 90 -M 64 --pe sip -o
-a -u [2001:db8::1]:5060 -r [2001:db8:1::1]:5060 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -u [2001:db8::1]:5060 -r [2001:db8:1::2]:5060 -i -w 1 --tun-type gre --tun-csum
-A -f 7 -6 -s mh -b mh-port
-a -f 7 -6 -r [2001:db8:1::1]:0 -i -w 1 --tun-type ipip
";

fn applies_every_feature_and_undoes_it() {
    director("--set 902 0 0\n");
    write("all", ALL);
    ok("ipvsadm-rs apply all");
    assert_eq!(ok("ipvsadm-rs save"), ALL);
    assert_eq!(ok("ipvsadm-rs apply all"), "nothing to change\n");
    ok("ipvsadm-rs undo");
    assert_eq!(ok("ipvsadm-rs save"), "# ipvsadm-rs: order=kernel\n--set 902 120 300\n");
}

fn reads_toml_json_and_standard_input() {
    director("");
    write(
        "web.toml",
        "[[services]]\nprotocol = 'tcp'\naddress = '192.0.2.1'\nport = 80\nscheduler = 'wrr'\n\
         [[services.destinations]]\naddress = '10.0.0.1'\nport = 8080\nforwarding = 'masquerade'\nweight = 3\n\
         [[services.destinations]]\naddress = '10.0.0.2'\nport = 8080\nforwarding = 'masquerade'\n\
         upper_threshold = 100\nlower_threshold = 50\n",
    );
    ok("ipvsadm-rs apply web.toml");
    assert_eq!(rules(), WEB);
    shell("ipvsadm-rs show --json > web.json && ipvsadm -C && ipvsadm-rs apply web.json").ok();
    assert_eq!(rules(), WEB);
    assert_eq!(shell("ipvsadm-rs --json show | ipvsadm-rs apply -").ok(), "nothing to change\n");
}

fn rolls_back_if_a_change_is_refused() {
    director(WEB);
    write("wanted", "-A -t 192.0.2.1:80 -s wlc\n-A -t 192.0.2.2:80 -s nosuch\n-a -t 192.0.2.2:80 -r 10.0.0.1 -m\n");
    let refused = run("ipvsadm-rs apply wanted");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains(
            "error: refused: -A -t 192.0.2.2:80 -s nosuch: the kernel has no scheduler nosuch\n\
             There is no scheduler nosuch. Linux has rr, "
        ),
        "{refused}"
    );
    assert!(refused.stderr.ends_with("error: 2 changes refused: all changes were rolled back\n"), "{refused}");
    assert_eq!(rules(), WEB);
}

fn changes_nothing_if_the_file_is_invalid() {
    director(WEB);
    for wrong in
        ["-A -t 192.0.2.9:80\n-a -t 192.0.2.9:80 -r nowhere.invalid -m\n", "{\"services\": [{}]}", "[[services]]\n"]
    {
        write("wanted", wrong);
        let ran = run("ipvsadm-rs apply wanted");
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.ends_with("error: wanted: 1 error: nothing was changed\n"), "{ran}");
    }
    assert_eq!(rules(), WEB);
}

fn refuses_empty_file_without_allow_empty() {
    director(WEB);
    write("comments", "# web\n\n");
    write("table.json", "{}\n");
    for line in ["false | ipvsadm-rs apply -", "ipvsadm-rs apply comments", "ipvsadm-rs apply table.json --only tcp"] {
        let ran = shell(line);
        assert_eq!((ran.code, ran.stderr.contains("Use --allow-empty if that is intended.")), (Some(1), true), "{ran}");
    }
    assert_eq!(rules(), WEB);
    ok("ipvsadm-rs apply comments --listed-only");
    ok("ipvsadm-rs apply comments --previous /dev/null");
    assert_eq!(rules(), WEB);
    ok("ipvsadm-rs apply comments --allow-empty");
    assert_eq!(rules(), "");
    ok("ipvsadm-rs apply comments");
    ok("ipvsadm-rs undo");
    write("table.json", "{\"services\": []}\n");
    ok("ipvsadm-rs apply table.json");
    assert_eq!(rules(), "");
}

fn dry_run_prints_the_plan() {
    director(WEB);
    write("wanted", "");
    let plan = run("ipvsadm-rs apply --dry-run wanted");
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(2), "-D -t 192.0.2.1:80\n"));
    assert_eq!(rules(), WEB);
}

/// Shell command that holds the lock of the table.
const LOCK: &str = "exec 9> $(echo s/*/lock); flock 9";

fn second_apply_fails_while_one_runs() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    ok("ipvsadm-rs --state-dir s apply wanted");
    write("wanted", WEB);
    for line in ["apply wanted", "undo", "restore 1:before", "confirm", "set -r 10.0.0.1 --weight 9"] {
        let ran = shell(&format!("{LOCK}; ipvsadm-rs --state-dir s --lock-timeout 0s {line}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("another ipvsadm-rs is changing this table"), "{ran}");
    }
    for line in ["apply --dry-run wanted", "undo --list", "undo --dry-run", "set -r 10.0.0.1 --weight 9 --dry-run"] {
        let ran = shell(&format!("{LOCK}; ipvsadm-rs --state-dir s --lock-timeout 0s {line}"));
        assert!(!ran.stderr.contains("another"), "{ran}");
    }
    assert_eq!(rules(), WEB.replace("-w 3", "-w 5"));
}

/// The second `apply` plans from the table that the first has left.
fn waits_for_a_running_apply() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    ok("ipvsadm-rs --state-dir s apply rules");
    // The lock is held until `apply` reports that it waits.
    let waits = "for _ in $(seq 300); do [ -s errors ] && break; sleep 0.1; done";
    let first = format!("{LOCK}; : > locked; {waits}; ipvsadm -E -t 192.0.2.1:80 -s rr");
    let ran = shell(&format!(
        "({first}) & until [ -e locked ]; do sleep 0.1; done; ipvsadm-rs --state-dir s apply wanted 2> errors; code=$?; \
         wait; exit $code"
    ));
    let errors = std::fs::read_to_string("errors").unwrap();
    assert_eq!((ran.code, errors.as_str()), (Some(0), "note: waiting: another ipvsadm-rs is changing this table\n"));
    assert!(ran.stdout.contains("2 changes made"), "{ran}");
    assert_eq!(rules(), WEB.replace("-w 3", "-w 5"));
}

fn warns_if_the_journal_is_unusable() {
    director("");
    write("state", "a file, no folder");
    let ran = run("ipvsadm-rs --state-dir state apply rules");
    assert_eq!(ran.code, Some(0), "a plan without changes needs no journal");
    write("wanted", WEB);
    let ran = run("ipvsadm-rs --state-dir state apply wanted");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(
        ran.stderr.starts_with(
            "note: this plan cannot be undone: cannot open the journal: cannot open the directory state: "
        ),
        "{ran}"
    );
    assert_eq!(rules(), WEB);
}

fn applies_in_another_namespace() {
    director("");
    ok("ip netns add blue");
    ok("ip -n blue link set lo up");
    write("wanted", WEB);
    ok("ipvsadm-rs --netns blue apply wanted");
    assert_eq!(rules(), "");
    assert_eq!(ok("ip netns exec blue ipvsadm-save -n"), WEB);
    // The journal belongs to the namespace. The path that names the namespace does not matter.
    assert_eq!(ok("ip netns exec blue ipvsadm-rs undo --list").lines().count(), 2);
    ok("ipvsadm-rs --netns /run/netns/blue undo");
    assert_eq!(ok("ip netns exec blue ipvsadm-save -n"), "");
    let missing = run("ipvsadm-rs --netns green show");
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("network namespace green: No such file or directory"), "{missing}");
}

/// Services without errors are loaded, and no service is deleted, because a bad line may be that of a service to keep.
fn skips_services_with_errors() {
    let kept = "-A -t 192.0.2.9:80 -s rr\n-a -t 192.0.2.9:80 -r 10.0.0.9:80 -g -w 1\n";
    director(kept);
    let good = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n";
    let bad = "-A -t 192.0.2.2:80 -s rr\n-a -t 192.0.2.2:80 -r 10.0.0.2:80 -w -1\n";
    write("wanted", &format!("{bad}{good}"));
    assert_eq!(run("ipvsadm-rs apply wanted").code, Some(1));
    assert_eq!(ok("ipvsadm-save -n"), kept);

    let ran = run("ipvsadm-rs plan wanted --skip-bad-services");
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(4), 2), "{ran}");
    let ran = run("ipvsadm-rs apply wanted --skip-bad-services");
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(ran.stderr.contains("wanted:2:"), "{ran}");
    assert!(ran.stderr.contains("1 error: services with errors are skipped, and no service is deleted"), "{ran}");
    let both: BTreeSet<String> = format!("{good}{kept}").lines().map(str::to_owned).collect();
    let table = || ok("ipvsadm-save -n").lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(table(), both);

    // The former file has a bad line, and does not keep the good services from being deleted.
    write("next", kept);
    assert_eq!(run("ipvsadm-rs apply next --previous wanted").code, Some(1));
    ok("ipvsadm-rs apply next --previous wanted --skip-bad-services");
    assert_eq!(ok("ipvsadm-save -n"), kept);

    // In a document, the errors of a service have its number.
    write("table.toml", "[[services]]\nfwmark = 7\n[[services]]\nfwmark = 0\n");
    assert_eq!(run("ipvsadm-rs apply table.toml --skip-bad-services").code, Some(4));
    assert_eq!(ok("ipvsadm-save -n"), format!("{kept}-A -f 7 -s wlc\n"));
    write("nothing", "hello\n");
    let ran = run("ipvsadm-rs apply nothing --skip-bad-services");
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing was changed"), "{ran}");
}
