//! The scope of a plan: `--only`, `--protect`, `--listed-only`, `--previous`, `--keep-weights`.

use ipvs_tests::command::{ok, run};

use super::{director, rules, write};

ipvs_tests::tests! {
    only_changes_the_named_services;
    one_service_is_a_scope;
    bad_scope_changes_nothing;
    scope_that_selects_nothing_is_an_error;
    services_that_are_not_in_the_file_are_reported;
    protect_keeps_services;
    listed_only_keeps_other_services;
    previous_deletes_what_the_last_file_added;
    keep_weights_keeps_run_time_weights;
}

const MINE_AND_THEIRS: &str = "\
-A -t 192.0.2.1:80 -s rr
-A -t 198.51.100.1:80 -s rr
-A -u 192.0.2.1:53 -s rr
-A -f 7 -s rr
";

fn only_changes_the_named_services() {
    director(MINE_AND_THEIRS);
    write("wanted", "--set 1000 0 0\n-A -t 192.0.2.2:80 -s rr\n-A -t 198.51.100.2:80 -s rr\n");
    ok("ipvsadm-rs apply wanted --only 192.0.2.0/24");
    assert_eq!(rules(), "-A -t 192.0.2.2:80 -s rr\n-A -t 198.51.100.1:80 -s rr\n-A -f 7 -s rr\n");
    assert_eq!(ok("ipvsadm -L --timeout"), "Timeout (tcp tcpfin udp): 900 120 300\n", "timeouts belong to no scope");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), MINE_AND_THEIRS);
}

/// The case of the letters is ignored.
fn one_service_is_a_scope() {
    director(MINE_AND_THEIRS);
    write("wanted", "-A -t 192.0.2.1:80 -s wrr\n-A -u 192.0.2.1:53 -s wrr\n-A -f 7 -s wrr\n");
    let printed = run("ipvsadm-rs plan wanted --only TCP:192.0.2.1:80");
    assert_eq!(printed.stdout, "-E -t 192.0.2.1:80 -s wrr\n", "{printed}");
    assert!(
        printed.stderr.contains(
            "# UDP 192.0.2.1:53: not compared, because of --only or --protect\n\
             # FWM 7: not compared, because of --only or --protect\n"
        ),
        "{printed}"
    );
    ok("ipvsadm-rs apply wanted --only udp:192.0.2.1:53 --only fwmark:7:ipv4");
    let applied = MINE_AND_THEIRS.replace("53 -s rr", "53 -s wrr").replace("-f 7 -s rr", "-f 7 -s wrr");
    assert_eq!(rules(), applied);
    let undone = ok("ipvsadm-rs undo");
    assert!(!undone.contains("not compared"), "{undone}");
    assert_eq!(rules(), MINE_AND_THEIRS);
}

fn bad_scope_changes_nothing() {
    director(MINE_AND_THEIRS);
    write("wanted", "");
    for scope in ["tcp:192.0.2.1", "tcp:192.0.2.1:99999", "fwmark:0", "icmp", "tcp:[fe80::1%1]:80"] {
        let ran = run(&format!("ipvsadm-rs apply wanted --allow-empty --only {scope}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(&format!("invalid value '{scope}' for '--only <SCOPE>'")), "{ran}");
    }
    assert_eq!(rules(), MINE_AND_THEIRS);
}

/// Once, a misspelt address printed "nothing to change" and succeeded.
fn scope_that_selects_nothing_is_an_error() {
    director(MINE_AND_THEIRS);
    write("wanted", "-A -t 192.0.2.1:80 -s wrr\n");
    for verb in ["plan", "apply"] {
        let ran = run(&format!("ipvsadm-rs {verb} wanted --only 198.51.100.9 --only fwmark:8"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        let error = "\nerror: --only 198.51.100.9/32 --only fwmark:8 selects no service of FILE or of the table\n";
        assert!(ran.stderr.ends_with(error), "{ran}");
    }
    let ran = run("ipvsadm-rs plan wanted --only 198.51.100.9 --only 192.0.2.1 --protect fwmark:8");
    assert_eq!(ran.code, Some(2), "{ran}");
    let notes = "note: --only 198.51.100.9/32 selects no service of FILE or of the table\n\
                 note: --protect fwmark:8 selects no service of FILE or of the table\n";
    assert!(ran.stderr.contains(notes), "{ran}");
    // All of 198.51.100.9 is deleted already.
    write("wanted", "");
    ok("ipvsadm-rs apply wanted --allow-empty --only 198.51.100.9");
    assert_eq!(rules(), MINE_AND_THEIRS);
}

fn services_that_are_not_in_the_file_are_reported() {
    director(MINE_AND_THEIRS);
    write("wanted", "-A -t 192.0.2.1:80 -s rr\n-A -u 192.0.2.1:53 -s rr\n");
    let kept = "# TCP 198.51.100.1:80: not in FILE, and kept\n# FWM 7: not in FILE, and kept\nnothing to change\n";
    assert_eq!(ok("ipvsadm-rs apply wanted --listed-only"), kept);
    write("wanted", "-A -t 192.0.2.1:80 -s rr\n");
    let plan: serde_json::Value =
        serde_json::from_str(&run("ipvsadm-rs --json plan wanted --protect udp").stdout).unwrap();
    assert_eq!(plan["not_in_file"], serde_json::json!(["UDP 192.0.2.1:53"]));
    write("wanted", "-A -t 192.0.2.9:80 -s rr\n");
    let ran = ok("ipvsadm-rs apply wanted --listed-only");
    assert!(ran.contains("\n# 4 services of the table: not in FILE, and kept\n"), "{ran}");
}

fn protect_keeps_services() {
    director(MINE_AND_THEIRS);
    write("wanted", "");
    ok("ipvsadm-rs apply wanted --allow-empty --protect fwmark --protect udp");
    assert_eq!(rules(), "-A -u 192.0.2.1:53 -s rr\n-A -f 7 -s rr\n");
    ok("ipvsadm-rs apply wanted --allow-empty --protect fwmark:7");
    assert_eq!(rules(), "-A -f 7 -s rr\n");
}

fn listed_only_keeps_other_services() {
    director(MINE_AND_THEIRS);
    write("wanted", "-A -t 192.0.2.1:80 -s wrr\n-A -t 192.0.2.9:80 -s rr\n");
    ok("ipvsadm-rs apply wanted --listed-only");
    assert_eq!(
        rules(),
        MINE_AND_THEIRS
            .replace("192.0.2.1:80 -s rr", "192.0.2.1:80 -s wrr")
            .replace("-A -t 198", "-A -t 192.0.2.9:80 -s rr\n-A -t 198")
    );
}

fn previous_deletes_what_the_last_file_added() {
    director(MINE_AND_THEIRS);
    write("first", "--start-daemon backup --mcast-interface lo\n-A -t 192.0.2.1:80 -s wrr\n-A -t 192.0.2.8:80 -s rr\n");
    write("second", "-A -t 192.0.2.1:80 -s wrr\n-A -t 192.0.2.9:80 -s rr\n");
    ok("ipvsadm-rs apply first --listed-only");
    ok("ipvsadm --start-daemon master --mcast-interface lo");
    ok("ipvsadm-rs apply second --previous first");
    let listed = MINE_AND_THEIRS
        .replace("192.0.2.1:80 -s rr", "192.0.2.1:80 -s wrr")
        .replace("-A -t 198", "-A -t 192.0.2.9:80 -s rr\n-A -t 198");
    assert_eq!(rules(), listed);
    assert_eq!(daemons(), ["master"]);

    ok("ipvsadm-rs apply /dev/null --previous second");
    assert_eq!(rules(), "-A -t 198.51.100.1:80 -s rr\n-A -u 192.0.2.1:53 -s rr\n-A -f 7 -s rr\n");
    assert_eq!(daemons(), ["master"]);
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), listed);
}

/// Returns the roles of the running sync daemons.
fn daemons() -> Vec<String> {
    let words = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    ok("ipvsadm -L --daemon").lines().map(words).collect()
}

fn keep_weights_keeps_run_time_weights() {
    let web = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";
    director(web);
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 0");
    write("wanted", &format!("{web}-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 5\n"));
    ok("ipvsadm-rs apply wanted --keep-weights");
    assert_eq!(
        rules(),
        "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 5\n"
    );
}
