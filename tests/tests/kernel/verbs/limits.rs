//! The limits of `ipvsadm-rs apply`: `--no-cut` and `--max-delete`.

use std::fmt::Write as _;

use ipvs_tests::command::{ok, run};
use ipvs_tests::lab::topology::Nat;

use super::drain::hold_connections;
use super::{director, rules, write};

ipvs_tests::tests! {
    no_cut_keeps_connections;
    max_delete_counts_servers;
    long_plans_are_summarised;
}

fn no_cut_keeps_connections() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let before = lab.director.ok("ipvsadm-save -n");
    let ran = lab.director.run("ipvsadm-rs apply wanted --no-cut");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert_eq!(
        ran.stderr,
        "error: the plan drops 1 active, 0 inactive connections: nothing was changed\n\
         Use --drain to wait until they have ended.\n"
    );
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
    let ran = lab.director.run("ipvsadm-rs apply wanted --no-cut --drain 1s");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran}");
    let error = "error: the time limit of --drain was reached with 1 active, 0 inactive connections: all changes were \
                 rolled back\n";
    assert!(ran.stderr.ends_with(error), "{ran}");
    assert_eq!(lab.director.ok("ipvsadm-save -n"), before);
    // The other server gets a weight, which cuts nothing.
    write("other", &before.replace("10.2.0.12:9000 -m -w 1", "10.2.0.12:9000 -m -w 2"));
    lab.director.ok("ipvsadm-rs apply other --no-cut");
    drop(held);
}

fn max_delete_counts_servers() {
    let web = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
               -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1\n";
    let all = format!(
        "{web}-A -t 192.0.2.2:80 -s rr\n{}",
        web.lines().skip(1).map(|line| line.replace("2.1:80 -r", "2.2:80 -r") + "\n").collect::<String>()
    );
    director(&format!("{all}-A -f 1 -s rr\n"));
    write("wanted", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    // One server of the first service, two of the second, and a service without servers.
    let ran = run("ipvsadm-rs apply wanted --max-delete 3");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert_eq!(ran.stderr, "error: the plan deletes 4 servers, and --max-delete is 3: nothing was changed\n");
    assert_eq!(rules(), format!("{all}-A -f 1 -s rr\n"));
    let applied = ok("ipvsadm-rs apply wanted --max-delete 4");
    assert!(applied.contains("- -D -t 192.0.2.2:80  # with 2 servers\n"), "{applied}");
}

/// Once, a large plan printed every line, and `plan` printed each of them twice.
fn long_plans_are_summarised() {
    let table = |weight: u32| {
        (1..=60).fold(String::new(), |mut text, mark| {
            let _ = write!(text, "-A -f {mark} -s rr\n-a -f {mark} -r 10.0.0.1:80 -m -w {weight}\n");
            text
        })
    };
    director(&table(1));
    write("wanted", &table(2));
    let summary = "# 40 more services: 40 servers edited\n# servers: 0 added, 60 edited, 0 deleted\n60 changes";
    let plan = run("ipvsadm-rs plan wanted");
    assert_eq!((plan.stdout.lines().count(), plan.stderr.lines().count()), (60, 23), "{plan}");
    assert!(plan.stderr.contains(&format!("{summary}: 0 to add")), "{plan}");
    assert_eq!(run("ipvsadm-rs plan wanted --quiet").stdout, plan.stdout, "a pipe gets the rules in any case");
    let applied = ok("ipvsadm-rs apply wanted");
    assert_eq!(applied.lines().count(), 23, "{applied}");
    assert!(applied.starts_with("# FWM 1: 1 server edited\n") && applied.contains(summary), "{applied}");
    // All changes of a plan up to 50 are listed, unless --quiet is specified.
    write("fewer", &table(2).replace("-f 60 -r 10.0.0.1:80 -m -w 2", "-f 60 -r 10.0.0.1:80 -m -w 3"));
    assert!(ok("ipvsadm-rs apply fewer").starts_with("~ -e -f 60 "));
    assert!(ok("ipvsadm-rs apply wanted -q").starts_with("# FWM 60: 1 server edited\n"));
}
