//! `convert` and `diff` with files, without a daemon.

use std::fs;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::guest::modules;
use serde_json::Value;

use crate::under_test;

ipvs_tests::tests! {
    converts_to_each_format;
    errors_are_listed;
    included_files_are_bounded;
    paths_are_not_opened_before_their_check;
    standard_input_includes_absolute_paths_only;
    files_without_services_are_refused;
    diff_loads_no_module, own_kernel = true;
    conditions_hold_for_every_verb;
    plans_and_applies;
    servers_that_are_down_are_no_drift;
    drift_is_reported;
    checks_files_and_drift;
}

const KEEPALIVED: &str = "\
global_defs {
    router_id one
    lvs_timeouts tcp 7200
}
virtual_server 192.0.2.1 80 {
    lvs_sched wrr
    protocol TCP
    sorry_server 127.0.0.1 80
    real_server 10.0.0.1 8080 {
        weight 3
        TCP_CHECK {
            connect_timeout 3
        }
    }
    real_server 10.0.0.2 8080 {
        HTTP_GET {
            url {
                path /
            }
        }
    }
}
";

const RULES: &str = "\
--set 7200 0 0
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1
";

fn write(name: &str, text: &str) {
    fs::write(name, text).unwrap();
}

fn converts_to_each_format() {
    under_test::install();
    write("keepalived.conf", KEEPALIVED);
    let ran = run("ipvsadm-rs convert keepalived.conf");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), RULES), "{ran}");
    let left: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("left to")).collect();
    assert_eq!(
        left,
        [
            "keepalived.conf:2:5: left to keepalived: router_id",
            "keepalived.conf:8:5: left to keepalived: sorry_server",
            "keepalived.conf:11:9: left to keepalived: TCP_CHECK",
            "keepalived.conf:16:9: left to keepalived: HTTP_GET",
        ],
        "{ran}"
    );
    let note = "keepalived.conf:5:1: note: keepalived uses NAT, because there is no lvs_method\n";
    assert!(ran.stderr.contains(note), "{ran}");
    for format in ["json", "toml"] {
        write(&format!("table.{format}"), &ok(&format!("ipvsadm-rs convert --to {format} keepalived.conf")));
        assert_eq!(ok(&format!("ipvsadm-rs convert table.{format}")), RULES);
    }
}

fn errors_are_listed() {
    under_test::install();
    write("keepalived.conf", &KEEPALIVED.replace("wrr", "fair").replace("protocol", "  portocol"));
    let ran = run("ipvsadm-rs convert keepalived.conf");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.contains("keepalived.conf:6:15: error: `fair' is not one of rr, wrr, "), "{ran}");
    assert!(ran.stderr.contains("keepalived.conf:7:7: error: unknown keyword `portocol'\n"), "{ran}");
    assert!(ran.stderr.contains("          portocol TCP\n          ^\n"), "{ran}");
    assert!(ran.stderr.ends_with("error: keepalived.conf: 2 errors\n"), "{ran}");
    let ran = run("ipvsadm-rs diff keepalived.conf");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    write("ldirectord.cf", "virtual=192.0.2.1:80\n\treal=10.0.0.1:80 nat\n");
    let ran = run("ipvsadm-rs convert ldirectord.cf");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.contains("ldirectord.cf:2:7: error: `nat' is not one of gate, masq, ipip\n"), "{ran}");
}

fn included_files_are_bounded() {
    under_test::install();
    fs::create_dir("conf.d").unwrap();
    write("conf.d/b.conf", "include ../last\n");
    write(
        "conf.d/a.conf",
        "virtual_server fwmark 1 {\n  lvs_sched rr\n  lvs_method DR\n  real_server 10.0.0.1 {\n  }\n}\n",
    );
    write("last", "virtual_server fwmark 2 {\n  lvs_sched rr\n  lvs_methud DR\n  real_server 10.0.0.1 {\n  }\n}\n");
    write("keepalived.conf", "include conf.d/{a,b}.conf\n");
    let ran = run("ipvsadm-rs convert keepalived.conf");
    let name = "conf.d/../last";
    assert!(ran.stderr.starts_with(&format!("{name}:3:3: error: unknown keyword `lvs_methud'\n")), "{ran}");
    shell("sed -i s/methud/method/ last").ok();
    let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1:0 -g -w 1\n-A -f 2 -s rr\n-a -f 2 -r 10.0.0.1:0 -g -w 1\n";
    assert_eq!(ok("ipvsadm-rs convert keepalived.conf"), rules);
    // The limit is for all files together.
    let size: u64 = ["keepalived.conf", "conf.d/a.conf", "conf.d/b.conf", "last"]
        .map(|name| fs::metadata(name).unwrap().len())
        .iter()
        .sum();
    assert_eq!(ok(&format!("ipvsadm-rs --max-input {size} convert keepalived.conf")), rules);
    let ran = run(&format!("ipvsadm-rs --max-input {} convert keepalived.conf", size - 1));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("the file with its included files is longer than"), "{ran}");
    for (include, reason) in [
        ("/dev/zero", "/dev/zero: not a regular file"),
        ("pipe", "pipe: not a regular file"),
        ("conf.d", "conf.d: not a regular file"),
        ("keepalived.conf", "too many files include each other"),
    ] {
        if include == "pipe" {
            ok("mkfifo pipe");
        }
        write("keepalived.conf", &format!("include {include}\n"));
        let ran = run("ipvsadm-rs convert keepalived.conf");
        assert!(ran.code == Some(1) && ran.stderr.contains(reason), "{ran}");
    }
}

/// A process that opens a named pipe for writing continues when a reader opens it.
fn paths_are_not_opened_before_their_check() {
    under_test::install();
    shell("mkfifo pipe; (exec 3>pipe; touch opened) > /dev/null 2>&1 & sleep 0.2").ok();
    write("keepalived.conf", "include pipe\n");
    assert_eq!(run("ipvsadm-rs convert keepalived.conf").code, Some(1));
    assert_eq!(run("ipvsadm-rs --netns ./pipe show").code, Some(1));
    shell("sleep 0.2; test ! -e opened").ok();
    // There is no driver for these numbers. Opening the device would be another error.
    shell("mknod device c 240 1; mknod disk b 240 1").ok();
    for path in ["device", "disk"] {
        let ran = run(&format!("ipvsadm-rs plan {path}"));
        let reason = format!("error: cannot read {path}: not a regular file, a pipe or a terminal\n");
        assert_eq!((ran.code, &ran.stderr), (Some(1), &reason), "{ran}");
    }
    let ran = shell("ipvsadm-rs --netns ./device show");
    assert!(ran.code == Some(1) && ran.stderr.contains("Invalid argument"), "{ran}");
}

fn standard_input_includes_absolute_paths_only() {
    under_test::install();
    write(
        "part.conf",
        "virtual_server fwmark 1 {\n  lvs_sched rr\n  lvs_method DR\n  real_server 10.0.0.1 {\n  }\n}\n",
    );
    let ran = shell("echo 'include part.conf' | ipvsadm-rs convert --format keepalived -");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(
        ran.stderr.contains(
            "standard input:1:1: error: cannot include part.conf: standard input has no directory for a relative path\n"
        ) && ran.stderr.contains("\nSpecify the file by its name, or include an absolute path.\n"),
        "{ran}"
    );
    let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1:0 -g -w 1\n";
    assert_eq!(shell("echo \"include $PWD/part.conf\" | ipvsadm-rs convert --format keepalived -").ok(), rules);
}

fn files_without_services_are_refused() {
    under_test::install();
    ok("ipvsadm -A -f 9");
    for (name, text) in [
        ("empty", ""),
        ("keepalived.conf", "! nothing\n"),
        ("keepalived.conf", "vrrp_instance one {\n}\n"),
        ("ldirectord.cf", "checktimeout=3\n"),
        ("empty.toml", ""),
    ] {
        write(name, text);
        let ran = run(&format!("ipvsadm-rs convert {name}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert!(ran.stderr.ends_with(&format!("error: {name} contains no rules: nothing was written\n")), "{ran}");
        let ran = run(&format!("ipvsadm-rs apply {name}"));
        assert!(ran.code == Some(1) && ran.stderr.contains("contains no rules"), "{ran}");
    }
    // A table that is empty on purpose.
    write("empty.json", "{\"services\": []}");
    assert_eq!(ok("ipvsadm-rs convert empty.json"), "");
}

fn diff_loads_no_module() {
    under_test::install();
    under_test::modprobe();
    write("keepalived.conf", KEEPALIVED);
    let unloaded = modules::unload("ip_vs").unwrap();
    let ran = run("ipvsadm-rs diff keepalived.conf");
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(2), 5), "{ran}");
    assert!(ran.stderr.contains("note: IPVS is not in the kernel: the table is empty\n"), "{ran}");
    assert!(!fs::exists("/proc/net/ip_vs").unwrap(), "the module was loaded");
    drop(unloaded);
}

/// Every verb that reads keepalived.conf has --config-id, and prints the number of settings that are left.
fn conditions_hold_for_every_verb() {
    under_test::install();
    under_test::modprobe();
    write(
        "keepalived.conf",
        "global_defs {\n  router_id one\n}\n@one virtual_server fwmark 1 {\n@^one virtual_server fwmark 2 {\n\
         lvs_sched rr\nlvs_method DR\nreal_server 10.0.0.1 {\n}\n@one real_server 10.0.0.2 {\n@one }\n}\n",
    );
    ok("ipvsadm-rs apply --config-id one keepalived.conf");
    let left = "note: keepalived.conf: 1 setting is left to keepalived; `convert` lists them\n";
    for (line, of_one, of_two) in [
        ("plan keepalived.conf", 0, 2),
        ("diff keepalived.conf", 0, 2),
        ("diff --director keepalived.conf", 0, 2),
        ("which --compare keepalived.conf", 0, 2),
        ("which -f 1 --with keepalived.conf", 0, 1),
        ("check keepalived.conf", 0, 0),
        ("check --live keepalived.conf", 0, 1),
    ] {
        for (id, code) in [("one", of_one), ("two", of_two)] {
            let ran = run(&format!("ipvsadm-rs {line} --config-id {id}"));
            assert_eq!(ran.code, Some(code), "{ran}");
            assert!(ran.stderr.contains(left), "{ran}");
        }
    }
    assert!(run("ipvsadm-rs check keepalived.conf --config-id two").stdout.ends_with("1 service, 1 server\n"));
}

fn plans_and_applies() {
    under_test::install();
    write("keepalived.conf", KEEPALIVED);
    let note = "note: keepalived.conf: 4 settings are left to keepalived; `convert` lists them\n";
    let ran = run("ipvsadm-rs plan keepalived.conf");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), RULES), "{ran}");
    assert!(ran.stderr.contains(note), "{ran}");
    ok("ipvsadm-rs apply keepalived.conf");
    assert_eq!(ok("ipvsadm-save -n"), RULES.split_once('\n').unwrap().1);
    assert_eq!(ok("ipvsadm-rs diff keepalived.conf"), "keepalived.conf: the table does not differ\n");
    // The contents, or an option, determine the format.
    write("other", "virtual=192.0.2.1:80\n\treal=10.0.0.1:8080 masq 3\n\treal=10.0.0.2:8080 masq\n");
    assert_eq!(ok("ipvsadm-rs diff other"), "other: the table does not differ\n");
    assert_eq!(ok("ipvsadm-rs diff --format ldirectord other"), "other: the table does not differ\n");
    write(
        "other",
        "@one virtual_server fwmark 1 {\n@^one virtual_server fwmark 2 {\nlvs_sched rr\nlvs_method DR\nreal_server 10.0.0.1 {\n}\n}\n",
    );
    for (id, mark) in [("one", 1), ("two", 2)] {
        let rules = format!("-A -f {mark} -s rr\n-a -f {mark} -r 10.0.0.1:0 -g -w 1\n");
        assert_eq!(ok(&format!("ipvsadm-rs convert --config-id {id} other")), rules);
        assert_eq!(run(&format!("ipvsadm-rs plan --config-id {id} --listed-only other")).stdout, rules);
    }
}

fn director() {
    under_test::install();
    write("keepalived.conf", KEEPALIVED);
    ok("ipvsadm-rs apply keepalived.conf");
}

fn servers_that_are_down_are_no_drift() {
    director();
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0");
    ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.2:8080");
    ok("ipvsadm -a -t 192.0.2.1:80 -r 127.0.0.1:80 -m");
    let ran = run("ipvsadm-rs diff keepalived.conf");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(
        ran.stdout,
        "maybe down: TCP 192.0.2.1:80: 10.0.0.1:8080 has weight 0 instead of 3\n\
         maybe down: TCP 192.0.2.1:80: 10.0.0.2:8080 is missing\n\
         maybe down: TCP 192.0.2.1:80: the fallback 127.0.0.1:80 is present\n\
         keepalived.conf: the table does not differ; 3 servers may be down\n"
    );
    let ran = run("ipvsadm-rs diff --json keepalived.conf");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &found["schema"], &found["changes"]), (Some(0), &1.into(), &Value::Array(vec![])), "{ran}");
    assert_eq!(found["maybe_down"][0]["server"], serde_json::json!({"address": "10.0.0.1", "port": 8080}), "{ran}");
    let seen: Vec<&str> =
        found["maybe_down"].as_array().unwrap().iter().map(|server| server["seen"].as_str().unwrap()).collect();
    assert_eq!(seen, ["weight_zero", "missing", "fallback_present"], "{ran}");
    // A plan would change the servers.
    assert_eq!(run("ipvsadm-rs plan keepalived.conf").code, Some(2));
}

fn drift_is_reported() {
    director();
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0 -x 5");
    ok("ipvsadm -E -t 192.0.2.1:80 -s rr");
    ok("ipvsadm -A -t 192.0.2.2:80 -s rr");
    let ran = run("ipvsadm-rs diff keepalived.conf");
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(
        ran.stdout,
        "maybe down: TCP 192.0.2.1:80: 10.0.0.1:8080 has weight 0 instead of 3\n\
         -E -t 192.0.2.1:80 -s wrr\n\
         -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0\n\
         -D -t 192.0.2.2:80\n\
         keepalived.conf: the table differs: 3 changes are needed; 1 server may be down\n"
    );
    let found: Value = serde_json::from_str(&ok_or_differs("--json --only 192.0.2.2")).unwrap();
    let planned: Value =
        serde_json::from_str(&run("ipvsadm-rs plan --json --only 192.0.2.2 keepalived.conf").stdout).unwrap();
    assert_eq!(found["changes"], planned["changes"]);
    assert_eq!(
        (&found["changes"][0]["action"], &found["changes"][0]["rule"]),
        (&"delete".into(), &"-D -t 192.0.2.2:80".into())
    );
    assert!(!ok_or_differs("--listed-only").contains("192.0.2.2"));
    assert_eq!(ok_or_differs("--only 192.0.2.2").lines().next(), Some("-D -t 192.0.2.2:80"));
    // In a file without checks, every difference counts.
    write("rules", RULES);
    assert!(run("ipvsadm-rs diff rules").stdout.contains("-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n"));
    write("empty", "");
    let ran = run("ipvsadm-rs diff empty");
    assert_eq!(ran.code, Some(1), "{ran}");
}

fn ok_or_differs(options: &str) -> String {
    let ran = run(&format!("ipvsadm-rs diff {options} keepalived.conf"));
    assert_eq!(ran.code, Some(2), "{ran}");
    ran.stdout
}

fn checks_files_and_drift() {
    director();
    let ran = run("ipvsadm-rs check keepalived.conf");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "keepalived.conf: no errors: 1 service, 2 servers\n"),
        "{ran}"
    );
    let ran = run("ipvsadm-rs check --live keepalived.conf");
    assert_eq!(ran.code, Some(0), "{ran}");
    ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.2:8080");
    assert_eq!(run("ipvsadm-rs check --live keepalived.conf").code, Some(1));
}
