//! `ipvsadm-rs drain`, `undrain` and `shift`.

use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;
use serde_json::Value;

use super::drain::hold_connections;
use super::{WEB, director, rules, write};
use crate::under_test;

ipvs_tests::tests! {
    drain_waits_for_the_last_connection;
    drain_at_its_limit_drops_nothing;
    drain_and_delete;
    weights_are_restored;
    refusing_clients_needs_consent;
    fallback_is_set_for_the_time_of_the_drain;
    min_up_keeps_servers;
    table_is_not_locked_during_a_drain;
    interrupted_drain_names_the_next_command;
    unknown_servers_change_nothing;
    ramp_raises_weights_in_steps;
    ramp_leaves_weights_of_others_alone;
    shift_moves_the_traffic;
    undo_reverts_a_drain;
    weights_of_an_earlier_table_are_forgotten;
    works_without_a_journal;
    weights_come_back_from_a_read_only_journal;
    locked_and_untrusted_journals_are_errors;
}

const BOTH: &str = "\
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 4
-A -u 192.0.2.1:53 -s rr
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -m -w 5
-a -u 192.0.2.1:53 -r 10.0.0.3:53 -m -w 1
";

fn drained() -> String {
    BOTH.replace("-w 3", "-w 0").replace("-w 5", "-w 0")
}

/// Waits until the server has this weight and this number of active connections.
fn wait_for(director: &Host, server: &str, weight: u32, active: u32) {
    wait::until(Duration::from_secs(60), || {
        let list = director.ok("ipvsadm -Ln");
        let line = list.lines().find(|line| line.contains(server)).unwrap_or("").split_whitespace().collect::<Vec<_>>();
        let found = line.get(3..5).map(|cells| (cells[0].to_owned(), cells[1].to_owned()));
        if found == Some((weight.to_string(), active.to_string())) { Ok(()) } else { Err(list) }
    });
}

fn drain_waits_for_the_last_connection() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    let printed = director.ok("ipvsadm-rs drain 10.2.0.11");
    let first = "draining 1 server in 1 service: 1 active, 0 inactive connections left\n";
    assert_eq!(printed, format!("{first}Run the same command with --wait to wait for their end.\n"));
    assert_eq!(lab.client.client().hold(2, "10.1.0.100:9000").to_string(), "web2=2", "no new connections to web1");
    let mut drain = director.start("ipvsadm-rs drain 10.2.0.11 --wait");
    std::thread::sleep(Duration::from_secs(2));
    assert!(drain.is_running(), "{}", drain.output());
    drop(held);
    wait::until(Duration::from_secs(60), || if drain.is_running() { Err(drain.output()) } else { Ok(()) });
    assert_eq!(drain.output(), "drained 1 server in 1 service: no connections left\n");
    director.ok("ipvsadm-rs undrain 10.2.0.11");
    wait_for(director, "10.2.0.11:9000", 1, 0);
}

fn drain_at_its_limit_drops_nothing() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    for then in ["", " --then delete"] {
        let ran = director.run(&format!("ipvsadm-rs drain 10.2.0.11 --timeout 1s{then}"));
        assert_eq!(ran.code, Some(3), "{ran}");
        let line =
            "time limit reached: 1 active, 0 inactive connections left; nothing was dropped, and the weights stay 0\n";
        assert_eq!(ran.stdout, line, "{ran}");
        wait_for(director, "10.2.0.11:9000", 0, 1);
    }
    let json = director.run("ipvsadm-rs --json drain 10.2.0.11 --timeout 0s --then delete --cut");
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &document["status"]), (Some(3), &"deleted".into()), "{json}");
    assert_eq!(document["left"]["active_connections"], 1, "{json}");
    assert!(!director.ok("ipvsadm -Ln").contains("10.2.0.11"));
}

fn drain_and_delete() {
    director(BOTH);
    assert_eq!(ok("ipvsadm-rs drain 10.0.0.1 --then delete"), "drained and deleted 1 server in 2 services\n");
    let left: String =
        BOTH.lines().filter(|line| !line.contains("10.0.0.1:")).map(|line| format!("{line}\n")).collect();
    assert_eq!(rules(), left);
}

fn weights_are_restored() {
    director(BOTH);
    assert_eq!(ok("ipvsadm-rs drain 10.0.0.1"), "drained 1 server in 2 services: no connections left\n");
    assert_eq!(rules(), drained());
    // Draining again keeps the weights.
    ok("ipvsadm-rs drain 10.0.0.1");
    assert_eq!(ok("ipvsadm-rs undrain 10.0.0.1"), "undrained 1 server in 2 services\n");
    assert_eq!(rules(), BOTH);
    // Only in one service, or on one port.
    ok("ipvsadm-rs drain 10.0.0.1 --in tcp:192.0.2.1:80");
    assert_eq!(rules(), BOTH.replace("-w 3", "-w 0"));
    ok("ipvsadm-rs drain 10.0.0.1:53,10.0.0.2 --allow-refused");
    assert_eq!(rules(), drained().replace("-w 4", "-w 0"));
    let back: Value = serde_json::from_str(&ok("ipvsadm-rs --json undrain 10.0.0.1 10.0.0.2")).unwrap();
    assert_eq!(back["servers"].as_array().map(Vec::len), Some(3), "{back}");
    assert_eq!(rules(), BOTH);
    let again = run("ipvsadm-rs undrain 10.0.0.1");
    assert_eq!(again.stderr, "error: all these servers have a weight above 0: nothing was changed\n");
    // Another program set the weight to 0.
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0");
    let unknown = run("ipvsadm-rs undrain 10.0.0.2");
    assert_eq!(
        unknown.stderr,
        "error: TCP 192.0.2.1:80, server 10.0.0.2:8080: no weight is remembered\nUse --weight to specify it.\n"
    );
    ok("ipvsadm-rs undrain 10.0.0.2 --weight 4");
    assert_eq!(rules(), BOTH);
}

/// 100 clients: sh without fallback refuses those of the drained server.
fn refusing_clients_needs_consent() {
    director(&BOTH.replace("-s wrr", "-s sh"));
    let before = rules();
    for (line, reason) in [
        (
            "drain 10.0.0.1",
            "TCP 192.0.2.1:80: sh refuses the new clients of a server with weight 0; --fallback prevents this\n",
        ),
        (
            "drain 10.0.0.1,10.0.0.3 --in udp",
            "UDP 192.0.2.1:53: no other server has a weight above 0, so all new clients are refused\n",
        ),
    ] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert_eq!(ran.stderr, format!("error: nothing was changed:\n{reason}Use --allow-refused to drain anyway.\n"));
    }
    assert_eq!(rules(), before);
    let asked = |answer: &str| {
        shell(&format!("(sleep 2; echo {answer}; sleep 2) | script -qec 'ipvsadm-rs drain 10.0.0.1' /dev/null")).stdout
    };
    let refused = asked("n");
    assert!(refused.contains("Drain anyway? [y/N] ") && refused.contains("nothing was changed"), "{refused}");
    assert_eq!(rules(), before);
    assert!(asked("y").contains("drained 1 server in 2 services"));
    assert_eq!(rules(), before.replace("-w 3", "-w 0").replace("-w 5", "-w 0"));
}

fn fallback_is_set_for_the_time_of_the_drain() {
    let sh = BOTH.replace("-s wrr", "-s sh -b sh-port");
    director(&sh);
    ok("ipvsadm-rs drain 10.0.0.1 --fallback");
    assert_eq!(rules(), drained().replace("-s wrr", "-s sh -b sh-fallback,sh-port"));
    ok("ipvsadm-rs undrain 10.0.0.1 --in udp");
    assert!(rules().contains("sh-fallback"), "the other service still needs it");
    ok("ipvsadm-rs undrain 10.0.0.1");
    assert_eq!(rules(), sh);
    assert_eq!(ok("ipvsadm-rs history").lines().count(), 4, "one plan for each command");
    ok("ipvsadm-rs undo");
    assert!(rules().contains("sh-fallback") && rules().contains("-w 0"), "{}", rules());
}

fn min_up_keeps_servers() {
    director(BOTH);
    for (min_up, reason) in
        [("2", "1 server would be left, and --min-up needs 2"), ("51%", "1 server would be left, and --min-up needs 2")]
    {
        let ran = run(&format!("ipvsadm-rs drain 10.0.0.1 --min-up {min_up}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(&format!("TCP 192.0.2.1:80: {reason}\n")), "{ran}");
    }
    assert_eq!(rules(), BOTH);
    ok("ipvsadm-rs drain 10.0.0.1 --min-up 50%");
    assert_eq!(run("ipvsadm-rs drain 10.0.0.1 --min-up 101%").code, Some(1));
}

/// Once, the lock was held while a drain waited, so that health checkers failed.
fn table_is_not_locked_during_a_drain() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    let mut drain = director.start("ipvsadm-rs drain 10.2.0.11 --wait --timeout 10m");
    wait_for(director, "10.2.0.11:9000", 0, 1);
    director.ok("ipvsadm-rs --lock-timeout 0s set -r 10.2.0.12 --weight 7");
    drop(held);
    wait::until(Duration::from_secs(60), || if drain.is_running() { Err(drain.output()) } else { Ok(()) });
    assert!(director.ok("ipvsadm-save -n").contains("10.2.0.12:9000 -m -w 7"));
}

fn interrupted_drain_names_the_next_command() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let command = "ipvsadm-rs drain 10.2.0.11 --wait & drain=$!; until ipvsadm -Ln | grep -q '10.2.0.11.* 0  *1 '; do sleep 0.1; done; \
                   sleep 1; kill -TERM $drain; wait $drain; echo $?";
    let ran = director.shell(command);
    assert_eq!(ran.stdout, "143\n", "{ran}");
    assert!(
        ran.stderr.contains("note: interrupted: the weights stay 0\nRun the same command to continue the wait"),
        "{ran}"
    );
    wait_for(director, "10.2.0.11:9000", 0, 1);
    director.ok("ipvsadm-rs undrain 10.2.0.11");
    wait_for(director, "10.2.0.11:9000", 1, 1);
}

fn unknown_servers_change_nothing() {
    director(BOTH);
    for (line, error) in [
        ("drain 10.0.0.1 10.0.0.9", "no server 10.0.0.9\nTo list the servers, use `ipvsadm-rs show`."),
        (
            "drain 10.0.0.3 --in tcp",
            "no server 10.0.0.3 in these services\nTo list the servers, use `ipvsadm-rs show`.",
        ),
        (
            "drain 10.0.0.1 --in tcp:192.0.2.9:80",
            "no service tcp:192.0.2.9:80\nTo list the services, use `ipvsadm-rs show`.",
        ),
        ("drain 10.0.0.1:80", "no server 10.0.0.1:80\nTo list the servers, use `ipvsadm-rs show`."),
        ("undrain 10.0.0.9", "no server 10.0.0.9\nTo list the servers, use `ipvsadm-rs show`."),
        (
            "shift --from 10.0.0.1 --to 10.0.0.9 --over 0s",
            "no server 10.0.0.9\nTo list the servers, use `ipvsadm-rs show`.",
        ),
        ("drain a:b:c", "invalid server `a:b:c': expected HOST or HOST:PORT"),
        ("drain no/name", "server no/name: no such host"),
    ] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), format!("error: {error}\n").as_str()), "{ran}");
    }
    assert_eq!(rules(), BOTH);
    shell("grep -q web1 /etc/hosts || echo 10.0.0.1 web1 >> /etc/hosts").ok();
    ok("ipvsadm-rs drain web1");
    assert_eq!(rules(), drained());
}

fn weights() -> Vec<u32> {
    let rules = rules();
    let weight = |line: &str| line.split(" -w ").nth(1)?.split(' ').next()?.parse().ok();
    rules.lines().filter_map(weight).collect()
}

fn ramp_raises_weights_in_steps() {
    director(
        "-A -f 1 -s wrr\n-a -f 1 -r 10.0.0.1:80 -m -w 100\n-a -f 1 -r 10.0.0.2:80 -m -w 50\n-a -f 1 -r 10.0.0.3:80 -m -w 1\n",
    );
    ok("ipvsadm-rs drain 10.0.0.1,10.0.0.2");
    write(
        "ramp",
        "ipvsadm-rs undrain 10.0.0.1,10.0.0.2 --ramp 20s > printed & ramp=$!\n\
        while kill -0 $ramp 2> none; do ipvsadm-save -n | sed -n 's/.* -w //p' | tr '\\n' ' '; echo; sleep 0.3; done\nwait $ramp\n",
    );
    let seen = shell("sh ramp").ok();
    let seen: Vec<Vec<u32>> =
        seen.lines().map(|line| line.split_whitespace().filter_map(|weight| weight.parse().ok()).collect()).collect();
    let mut steps: Vec<Vec<u32>> = seen.into_iter().filter(|weights| weights.len() == 3 && weights[0] > 0).collect();
    steps.dedup();
    assert!(steps.len() > 2, "{steps:?}");
    // A table may be read between the two changes of a step.
    assert!(steps.iter().all(|weights| weights[2] == 1 && weights[0].abs_diff(2 * weights[1]) <= 12), "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0][0] <= pair[1][0]), "{steps:?}");
    assert_eq!(weights(), [100, 50, 1]);
    assert_eq!(ok("cat printed"), "undrained 2 servers in 1 service\n");
}

fn ramp_leaves_weights_of_others_alone() {
    director(
        "-A -f 1 -s wrr\n-a -f 1 -r 10.0.0.1:80 -m -w 90\n-a -f 1 -r 10.0.0.2:80 -m -w 90\n-a -f 1 -r 10.0.0.3:80 -m -w 1\n",
    );
    ok("ipvsadm-rs drain 10.0.0.1,10.0.0.2");
    let ran = shell(
        "ipvsadm-rs undrain 10.0.0.1,10.0.0.2 --ramp 10s & ramp=$!; sleep 3; ipvsadm -e -f 1 -r 10.0.0.2:80 -m -w 7; wait $ramp",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("note: FWM 1, server 10.0.0.2:80: another program set weight 7; it stays\n"), "{ran}");
    assert_eq!(weights(), [90, 7, 1]);
}

fn shift_moves_the_traffic() {
    let lab = Nat::new().unwrap();
    under_test::install();
    lab.web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    lab.web2.serve(Tcp, "10.2.0.12:9000").unwrap();
    let director = &lab.director;
    director.ok("ipvsadm -A -t 10.1.0.100:9000 -s wrr");
    director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.11 -m -w 8");
    director.ok("ipvsadm -a -t 10.1.0.100:9000 -r 10.2.0.12 -m -w 0");
    let client = || lab.client.client().hold(16, "10.1.0.100:9000").to_string();
    assert_eq!(client(), "web1=16");
    // The first of two steps is made at once.
    let stopped = "ipvsadm-rs shift --from 10.2.0.11 --to 10.2.0.12 --over 2m & shift=$!; \
                   until ipvsadm -Ln | grep -q '10.2.0.12.* Masq  *[1-9]'; do sleep 0.1; done; kill -TERM $shift; wait $shift; echo $?";
    let ran = director.shell(stopped);
    assert_eq!(ran.stdout, "143\n", "{ran}");
    assert!(ran.stderr.contains("the weights stay as they are\nRun `ipvsadm-rs undo` to restore the weights"), "{ran}");
    let both = client();
    assert!(both.contains("web1=") && both.contains("web2="), "{both}");
    let printed = director.ok("ipvsadm-rs shift --from 10.2.0.11 --to 10.2.0.12 --over 2s");
    assert_eq!(printed, "moved from 1 server in 1 service to 1 server in 1 service\n");
    assert_eq!(client(), "web2=16");
    // Back again. The weight of web1 was remembered.
    director.ok("ipvsadm-rs shift --from 10.2.0.12 --to 10.2.0.11 --over 0s");
    assert_eq!(client(), "web1=16");
    let same = director.run("ipvsadm-rs shift --from 10.2.0.11 --to 10.2.0.11 --over 0s");
    assert!(same.stderr.contains("is in both --from and --to\n"), "{same}");
}

fn undo_reverts_a_drain() {
    director(BOTH);
    ok("ipvsadm-rs drain 10.0.0.1");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), BOTH);
    ok("ipvsadm-rs drain 10.0.0.1");
    ok("ipvsadm-rs undrain 10.0.0.1");
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), drained());
    let list = ok("ipvsadm-rs history");
    assert!(list.contains("  undrain  ") && list.contains("  drain  "), "{list}");
}

fn weights_of_an_earlier_table_are_forgotten() {
    under_test::install();
    for weight in [3, 4] {
        ok("ip netns add blue");
        ok("ip -n blue link set lo up");
        write("rules", &WEB.replace("-w 3", &format!("-w {weight}")));
        ok("ipvsadm-rs --netns blue apply rules");
        let drained = if weight == 3 { "drain 10.0.0.1" } else { "set -r 10.0.0.1 --weight 0" };
        ok(&format!("ipvsadm-rs --netns blue {drained}"));
        if weight == 4 {
            let ran = run("ipvsadm-rs --netns blue undrain 10.0.0.1");
            assert!(ran.stderr.contains("no weight is remembered"), "{ran}");
        }
        ok("ip netns del blue");
    }
}

/// Once, only `drain` worked without a journal. Its hint to use `undrain --weight` was false then.
fn works_without_a_journal() {
    director(BOTH);
    write("file", "");
    let act = |line: &str| run(&format!("ipvsadm-rs --state-dir file/s {line}"));
    let reason = "cannot open the journal: cannot open the directory file/s: Not a directory (os error 20)\n";
    let unrecorded = format!("note: this change cannot be undone: {reason}");
    let lost = "note: the old weights are not remembered\n`undrain` needs --weight.\n";
    let drain = act("drain 10.0.0.1");
    assert_eq!((drain.code, drain.stderr), (Some(0), format!("{unrecorded}{lost}")));
    assert_eq!(rules(), drained());

    let unknown = format!("the weights from before `drain` are unknown: {reason}");
    let ran = act("undrain 10.0.0.1");
    let hint = "Use --weight to specify the weight of the servers.\n";
    assert_eq!((ran.code, ran.stderr), (Some(1), format!("error: {unknown}{hint}")));
    assert_eq!(rules(), drained());
    let used = format!("note: {unknown}The servers get the weight of --weight, and fallback flags stay.\n");
    for line in ["undrain 10.0.0.1 --in tcp --weight 3", "undrain 10.0.0.1 --weight 5 --ramp 2s"] {
        let ran = act(line);
        assert_eq!((ran.code, ran.stderr), (Some(0), format!("{used}{unrecorded}")), "{line}");
    }
    assert_eq!(rules(), BOTH);

    let shift = act("shift --from 10.0.0.2 --to 10.0.0.1 --in tcp --over 2s");
    assert_eq!((shift.code, shift.stderr), (Some(0), format!("{unrecorded}{lost}")));
    assert_eq!(rules(), BOTH.replace("-w 3", "-w 9").replace("-w 4", "-w 0").replace("-w 9", "-w 4"));
    let back = act("shift --from 10.0.0.1 --to 10.0.0.2 --in tcp --over 0s");
    let highest = format!("note: {unknown}Servers in --to get the highest weight of those in --from.\n");
    assert_eq!((back.code, back.stderr), (Some(0), format!("{highest}{unrecorded}{lost}")));
    let set = act("set -r 10.0.0.1:8080 --weight 3");
    assert_eq!((set.code, set.stderr), (Some(0), unrecorded));
    assert_eq!(rules(), BOTH);
}

/// A journal that cannot be written is still read.
fn weights_come_back_from_a_read_only_journal() {
    director(&BOTH.replace("-s wrr", "-s sh"));
    let before = rules();
    ok("mkdir s");
    ok("mount -t tmpfs -o mode=700 none s");
    ok("ipvsadm-rs --state-dir s drain 10.0.0.1 --fallback");
    ok("mount -o remount,ro s");
    let undrain = run("ipvsadm-rs --state-dir s undrain 10.0.0.1");
    assert_eq!(undrain.code, Some(0), "{undrain}");
    assert!(undrain.stderr.starts_with("note: this change cannot be undone: cannot open the journal s/"), "{undrain}");
    assert_eq!(rules(), before, "the fallback flag is cleared, too");
    let drain = run("ipvsadm-rs --state-dir s drain 10.0.0.2 --fallback");
    assert_eq!(drain.code, Some(0), "{drain}");
    let lost = "note: the old weights are not remembered\n\
                `undrain` needs --weight.\n`undrain` will not clear the fallback flag.\n";
    assert!(drain.stderr.ends_with(lost), "{drain}");
    assert_eq!(rules(), before.replace("-s sh", "-s sh -b sh-fallback").replace("-w 4", "-w 0"));
}

/// A table that another process is changing, or a journal that another user could have written, is left alone.
fn locked_and_untrusted_journals_are_errors() {
    director(BOTH);
    ok("ipvsadm-rs --state-dir s drain 10.0.0.1");
    let lines = [
        "drain 10.0.0.2 --allow-refused",
        "undrain 10.0.0.1",
        "shift --from 10.0.0.2 --to 10.0.0.1 --in tcp --over 0s",
    ];
    for line in lines {
        let ran =
            shell(&format!("exec 9> $(echo s/*/lock); flock 9; ipvsadm-rs --state-dir s --lock-timeout 0s {line}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("another ipvsadm-rs is changing this table"), "{ran}");
    }
    ok("chmod 777 s");
    for line in lines {
        let ran = run(&format!("ipvsadm-rs --state-dir s {line}"));
        assert_eq!(ran.code, Some(1), "{ran}");
    }
    assert_eq!(rules(), drained());
}
