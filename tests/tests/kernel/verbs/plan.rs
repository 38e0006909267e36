//! `ipvsadm-rs plan`.

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::host::reference::Ipvsadm;

use super::{WEB, director, rules, write};

ipvs_tests::tests! {
    prints_changes_and_makes_none;
    decorates_output_only_on_a_terminal;
    output_can_be_restored_by_the_reference;
    prints_json;
    reports_clients_remapped_by_a_hash;
    exits_0_if_nothing_changes;
    exits_1_if_file_cannot_be_read;
}

fn prints_changes_and_makes_none() {
    director(WEB);
    write(
        "wanted",
        "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n-a -t 192.0.2.1:80 -r 10.0.0.3:8080 -m\n",
    );
    let plan = run("ipvsadm-rs plan wanted");
    assert_eq!(plan.code, Some(2), "{plan}");
    assert_eq!(
        plan.stderr,
        "# TCP 192.0.2.1:80: settings edited, 1 server added, 1 edited, 1 deleted; \
         new connections are refused for about 15 ms while the scheduler changes\n\
         # services: 0 added, 1 edited, 0 deleted\n\
         # servers: 1 added, 1 edited, 1 deleted\n\
         4 changes: 1 to add, 2 to edit, 1 to delete; no connections dropped\n"
    );
    assert_eq!(rules(), WEB);
}

fn decorates_output_only_on_a_terminal() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    assert_eq!(run("ipvsadm-rs plan wanted").stdout, "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n");
    // script(1) runs the command in a terminal.
    let seen = shell("script -qec 'ipvsadm-rs plan wanted' /dev/null < /dev/null");
    let line = "\u{1b}[33m~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\u{1b}[0m  \u{1b}[36m# was -w 3\u{1b}[0m";
    assert!(seen.stdout.contains(line), "{seen}");
    let plain = shell("NO_COLOR=1 script -qec 'ipvsadm-rs plan wanted' /dev/null < /dev/null");
    assert!(plain.stdout.contains("~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5  # was -w 3"), "{plain}");
}

fn output_can_be_restored_by_the_reference() {
    director(WEB);
    write(
        "wanted",
        "--set 901 0 0\n-A -u [2001:db8::1]:53 -s rr -o\n-a -u [2001:db8::1]:53 -r 10.0.0.9:53 -i --tun-type gue --tun-port 6080 -x 7\n-A -t 192.0.2.1:80 -s sh -b sh-port -p\n",
    );
    let plan = run("ipvsadm-rs plan wanted").stdout;
    write("plan", &plan);
    Ipvsadm::get().install().unwrap();
    shell("ipvsadm -R < plan").ok();
    crate::under_test::install();
    assert_eq!(run("ipvsadm-rs plan wanted").code, Some(0), "{plan}");
}

fn prints_json() {
    director(WEB);
    write("wanted", &WEB.replace("-w 3", "-w 5"));
    let plan = run("ipvsadm-rs --json plan wanted");
    assert_eq!((plan.code, plan.stderr.as_str()), (Some(2), ""));
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!((&plan["schema"], &plan["status"]), (&1.into(), &"planned".into()));
    assert_eq!(plan["changes"][0]["action"], "edit");
    assert_eq!(plan["changes"][0]["rule"], "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5");
    assert_eq!(plan["changes"][0]["previous_options"], "-w 3");
    assert_eq!(plan["summary"]["edit"], 1);
}

fn reports_clients_remapped_by_a_hash() {
    let four = "-A -t 192.0.2.1:80 -s sh\n\
        -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m\n\
        -a -t 192.0.2.1:80 -r 10.0.0.3 -m\n-a -t 192.0.2.1:80 -r 10.0.0.4 -m\n";
    director(four);
    write("wanted", &four.replace("-a -t 192.0.2.1:80 -r 10.0.0.4 -m\n", ""));
    let plan = run("ipvsadm-rs plan wanted");
    assert!(plan.stderr.contains("# TCP 192.0.2.1:80: 75.4 % of new clients get another server\n"), "{plan}");
    write("wanted", &four.replace("-s sh", "-s rr"));
    let plan = run("ipvsadm-rs plan wanted");
    assert!(!plan.stderr.contains("of new clients"), "{plan}");
}

fn exits_0_if_nothing_changes() {
    director(WEB);
    let plan = run("ipvsadm-rs plan rules");
    assert_eq!((plan.code, plan.stdout.as_str(), plan.stderr.as_str()), (Some(0), "", "nothing to change\n"));
    assert_eq!(ok("ipvsadm-rs apply rules"), "nothing to change\n");
}

fn exits_1_if_file_cannot_be_read() {
    director(WEB);
    let missing = run("ipvsadm-rs plan nowhere");
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.stderr, "error: cannot read nowhere: No such file or directory (os error 2)\n");
    write("wanted", "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:80 -s wrr\n");
    let twice = run("ipvsadm-rs plan wanted");
    assert_eq!(twice.code, Some(1));
    assert_eq!(
        twice.stderr,
        "wanted:2:7: error: line 1 adds this service with other settings\n    -A -t 192.0.2.1:80 -s wrr\n          ^\n\
         line 1: -A -t 192.0.2.1:80 -s rr\n\
         error: wanted: 1 error\n"
    );
    assert_eq!(run("ipvsadm-rs plan").code, Some(1), "FILE is required");
}
