//! The resource agent, called as by a cluster's resource manager.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::{Ran, install_script, ok, run_command, shell};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::wait;

use crate::under_test;
use crate::verbs::drain::{hold_connections, wait_for_the_drain};

ipvs_tests::tests! {
    passes_ocf_tester, needs = "resource-agents", needs = "libxml2-utils", seconds = 240;
    leaves_other_services_alone, needs = "resource-agents", seconds = 120;
    default_operations_do_not_compare, needs = "resource-agents";
    difference_is_degraded_and_no_failure, needs = "resource-agents", seconds = 120;
    monitor_adds_missing_services, needs = "resource-agents", seconds = 120;
    pending_plan_keeps_services_missing, needs = "resource-agents", seconds = 120;
    services_of_others_are_not_added, needs = "resource-agents";
    keeps_weights_unless_told, needs = "resource-agents", seconds = 120;
    reload_does_not_start, needs = "resource-agents";
    monitor_detects_a_table_cleared_meanwhile, needs = "resource-agents";
    reload_applies_an_edited_file, needs = "resource-agents", seconds = 120;
    owns_services_of_its_scope, needs = "resource-agents", seconds = 120;
    stop_undoes_a_pending_plan, needs = "resource-agents";
    stop_ends_a_drain, needs = "resource-agents", seconds = 120;
    stop_needs_no_journal, needs = "resource-agents", seconds = 240;
    logs_few_lines_of_a_large_table, needs = "resource-agents", seconds = 120;
    copies_files_of_any_name_and_format, needs = "resource-agents", seconds = 240;
    copies_only_into_a_directory_of_root, needs = "resource-agents", seconds = 120;
    runs_in_any_environment, needs = "resource-agents", seconds = 240;
    invalid_rules_that_were_never_applied_are_not_running, needs = "resource-agents", seconds = 120;
    reports_errors, needs = "resource-agents", seconds = 120;
}

const SUCCESS: i32 = 0;
const GENERIC: i32 = 1;
const ARGS: i32 = 2;
const PERM: i32 = 4;
const INSTALLED: i32 = 5;
const CONFIGURED: i32 = 6;
const NOT_RUNNING: i32 = 7;
const DEGRADED: i32 = 190;

const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";
const DNS: &str = "-A -u 192.0.2.1:53 -s rr\n";
const THEIRS: &str = "-A -t 198.51.100.1:80 -s wlc\n";

/// The resource with its parameters.
struct Table(Vec<(&'static str, OsString)>);

impl Table {
    fn new(parameters: &[(&'static str, &str)]) -> Table {
        under_test::install();
        under_test::install_agent();
        let parameters = [&[("rules", "/etc/ipvsadm.rules")], parameters].concat();
        Table(parameters.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    fn of_file(path: &Path) -> Table {
        let Table(mut parameters) = Table::new(&[]);
        parameters.push(("rules", path.into()));
        Table(parameters)
    }

    fn call(&self, action: &str, depth: u8) -> Ran {
        self.call_every(Duration::ZERO, action, depth)
    }

    /// Calls it with the interval of an operation. Probes have none.
    fn call_every(&self, interval: Duration, action: &str, depth: u8) -> Ran {
        let mut command = Command::new(under_test::AGENT);
        command.env("OCF_RESKEY_CRM_meta_interval", interval.as_millis().to_string());
        command.arg(action).env("OCF_ROOT", "/usr/lib/ocf").env("OCF_RESOURCE_INSTANCE", "table");
        command.env("OCF_CHECK_LEVEL", depth.to_string());
        for (name, value) in &self.0 {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        run_command(&mut command, Duration::from_secs(30)).expect("the agent runs")
    }

    #[track_caller]
    fn exits_with(&self, action: &str, code: i32) {
        let ran = self.call(action, 0);
        assert_eq!(ran.code, Some(code), "{ran}");
    }

    #[track_caller]
    fn probe_is_degraded(&self, reason: &str) {
        let ran = self.call("monitor", 0);
        assert_eq!(ran.code, Some(DEGRADED), "{ran}");
        assert!(ran.stderr.contains(&format!("ocf-exit-reason:{reason}\n")), "{ran}");
        assert!(ran.stderr.contains("WARNING") && !ran.stderr.contains("ERROR"), "{ran}");
    }

    #[track_caller]
    fn deep_monitor_exits_with(&self, code: i32) {
        let ran = self.call("monitor", 10);
        assert_eq!(ran.code, Some(code), "{ran}");
    }
}

fn write_rules(text: &str) {
    fs::write("/etc/ipvsadm.rules", text).unwrap();
}

fn rules() -> String {
    ok("ipvsadm-save -n")
}

/// Runs `ocf-tester` of the resource-agents package. It validates the meta-data, if xmllint is installed.
fn passes_ocf_tester() {
    Table::new(&[]);
    write_rules(&format!("{WEB}{DNS}"));
    // The time limit is long, because the tester starts several hundred programs.
    let mut tester = Command::new("ocf-tester");
    tester.args(["-n", "table", "-o", "rules=/etc/ipvsadm.rules", under_test::AGENT]);
    let ran = run_command(&mut tester, Duration::from_secs(200)).expect("ocf-tester runs");
    assert!(ran.code == Some(0) && ran.stdout.contains("passed all tests"), "{ran}");
}

fn leaves_other_services_alone() {
    let table = Table::new(&[]);
    shell("ipvsadm -A -t 198.51.100.1:80").ok();
    write_rules(&format!("--start-daemon backup --mcast-interface lo\n{WEB}{DNS}"));
    table.exits_with("validate-all", SUCCESS);
    table.exits_with("monitor", NOT_RUNNING);
    table.exits_with("stop", SUCCESS);
    for _ in 0..2 {
        table.exits_with("start", SUCCESS);
        assert_eq!(rules(), format!("{WEB}{THEIRS}{DNS}"));
        table.exits_with("monitor", SUCCESS);
        table.deep_monitor_exits_with(SUCCESS);
    }
    assert!(ok("ipvsadm -L --daemon").starts_with("backup "));
    for _ in 0..2 {
        table.exits_with("stop", SUCCESS);
        assert_eq!((rules().as_str(), ok("ipvsadm -L --daemon").as_str()), (THEIRS, ""));
        table.exits_with("monitor", NOT_RUNNING);
    }
}

/// pcs makes an operation of every action of the meta-data that has an interval.
fn default_operations_do_not_compare() {
    let meta_data = Table::new(&[]).call("meta-data", 0).ok();
    let monitors: Vec<&str> = meta_data.lines().filter(|line| line.contains("<action name=\"monitor\"")).collect();
    assert!(matches!(monitors[..], [one] if one.contains("depth=\"0\"")), "{monitors:?}");
}

fn difference_is_degraded_and_no_failure() {
    let table = Table::new(&[]);
    write_rules(&format!("{WEB}{DNS}"));
    table.exits_with("start", SUCCESS);

    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    table.exits_with("monitor", SUCCESS);
    table.deep_monitor_exits_with(SUCCESS);
    for (change, needed) in [
        ("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:80", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1"),
        ("ipvsadm -E -t 192.0.2.1:80 -s wlc", "-E -t 192.0.2.1:80 -s rr"),
    ] {
        ok(change);
        let changed = rules();
        table.exits_with("monitor", SUCCESS);
        let ran = table.call("monitor", 10);
        assert_eq!(ran.code, Some(DEGRADED), "{ran}");
        let reason = ran.stderr.lines().find(|line| line.starts_with("ocf-exit-reason:"));
        assert!(reason.is_some_and(|line| line.ends_with(&format!("first change needed: {needed}"))), "{ran}");
        assert!(ran.stderr.contains("WARNING") && !ran.stderr.contains("ERROR"), "{ran}");
        assert_eq!(rules(), changed);
        table.exits_with("reload", SUCCESS);
        table.deep_monitor_exits_with(SUCCESS);
    }

    ok("ipvsadm -C");
    table.exits_with("monitor", NOT_RUNNING);
    table.exits_with("start", SUCCESS);
    table.deep_monitor_exits_with(SUCCESS);
}

const INTERVAL: Duration = Duration::from_secs(10);

/// A missing service was once a failure. Pacemaker then deleted all other services as well, with their connections.
fn monitor_adds_missing_services() {
    let table = Table::new(&[]);
    let marks = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1:0 -m -w 1\n-A -f 7 -6 -s rr\n";
    write_rules(&format!("{WEB}{DNS}{marks}"));
    table.exits_with("start", SUCCESS);
    // Changes of a person, which are not repaired.
    ok("ipvsadm -E -t 192.0.2.1:80 -s wlc");
    ok("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 0");
    ok("ipvsadm -e -f 7 -r 10.0.0.1:0 -m -w 0");
    let changed = rules();
    for (missing, services) in [(1, &["-u 192.0.2.1:53"][..]), (2, &["-u 192.0.2.1:53", "-f 7 -6"])] {
        services.iter().for_each(|service| drop(ok(&format!("ipvsadm -D {service}"))));
        let left = rules();
        table.probe_is_degraded(&format!("services are missing: {missing}, services exist: {}", 4 - missing));
        assert_eq!(rules(), left, "a probe changes nothing");
        let ran = table.call_every(INTERVAL, "monitor", 0);
        assert_eq!(ran.code, Some(SUCCESS), "{ran}");
        assert!(ran.stderr.contains("The missing ones were added."), "{ran}");
        assert_eq!(rules(), changed);
    }
    // A service comes back with its servers.
    ok("ipvsadm -D -f 7");
    assert_eq!(table.call_every(INTERVAL, "monitor", 0).code, Some(SUCCESS));
    assert_eq!(rules(), changed.replace("10.0.0.1:0 -m -w 0", "10.0.0.1:0 -m -w 1"));
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), "");
}

/// A person tries a table without one of the services. The monitor must not end that.
fn pending_plan_keeps_services_missing() {
    let table = Table::new(&[]);
    write_rules(&format!("{WEB}{DNS}"));
    table.exits_with("start", SUCCESS);
    fs::write("other", WEB).unwrap();
    ok("ipvsadm-rs apply other --confirm-within 60s");
    let ran = table.call_every(INTERVAL, "monitor", 0);
    assert_eq!((ran.code, rules().as_str()), (Some(DEGRADED), WEB), "{ran}");
    ok("ipvsadm-rs undo --pending");
    let ran = table.call_every(INTERVAL, "monitor", 0);
    assert_eq!((ran.code, rules()), (Some(SUCCESS), format!("{WEB}{DNS}")), "{ran}");
}

/// On a node where the resource was not started, the cluster has to stop it.
fn services_of_others_are_not_added() {
    let table = Table::new(&[]);
    write_rules(&format!("{WEB}{DNS}"));
    ok("ipvsadm -A -u 192.0.2.1:53 -s rr");
    for interval in [Duration::ZERO, INTERVAL] {
        let ran = table.call_every(interval, "monitor", 0);
        assert_eq!(ran.code, Some(GENERIC), "{ran}");
        assert!(ran.stderr.contains("services are missing: 1, services exist: 1"), "{ran}");
        assert_eq!(rules(), DNS);
    }
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), "");
}

/// A start once gave drained servers their weight again.
fn keeps_weights_unless_told() {
    let table = Table::new(&[]);
    write_rules(WEB);
    table.exits_with("start", SUCCESS);
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    let drained = WEB.replace("-w 1", "-w 0");
    let added = "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 5\n";
    write_rules(&format!("{WEB}{added}"));
    for action in ["start", "reload"] {
        let ran = table.call(action, 0);
        assert_eq!(ran.code, Some(SUCCESS), "{ran}");
        assert!(ran.stderr.contains("weights that differ from /etc/ipvsadm.rules were kept: 1"), "{ran}");
        assert_eq!(rules(), format!("{drained}{added}"), "{action}");
    }
    ok("ipvsadm-rs apply /etc/ipvsadm.rules --listed-only");
    assert_eq!(rules(), format!("{WEB}{added}"));
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    let sets = Table::new(&[("keep_weights", "false")]);
    sets.exits_with("start", SUCCESS);
    assert_eq!(rules(), format!("{WEB}{added}"));
}

/// It once loaded the rules on a node where the cluster had stopped them.
fn reload_does_not_start() {
    let table = Table::new(&[]);
    write_rules(WEB);
    for action in ["reload", "reload-agent"] {
        table.exits_with(action, NOT_RUNNING);
    }
    table.exits_with("start", SUCCESS);
    ok("ipvsadm -C");
    table.exits_with("reload", NOT_RUNNING);
    table.exits_with("stop", SUCCESS);
    table.exits_with("reload", NOT_RUNNING);
    assert_eq!(rules(), "");
}

/// The table is complete and then empty. The agent must not report a partial table, which is another failure.
fn monitor_detects_a_table_cleared_meanwhile() {
    let table = Table::new(&[]);
    write_rules(&format!("{WEB}{DNS}"));
    table.exits_with("start", SUCCESS);
    let clears = "/usr/sbin/clears";
    install_script(clears, "#!/bin/sh\nipvsadm-rs \"$@\"\ncode=$?\nipvsadm -C\nexit $code\n").unwrap();
    Table::new(&[("binary", clears)]).exits_with("monitor", SUCCESS);
    table.exits_with("monitor", NOT_RUNNING);
}

fn reload_applies_an_edited_file() {
    let table = Table::new(&[]);
    shell("ipvsadm -A -t 198.51.100.1:80").ok();
    write_rules(&format!("{WEB}{DNS}"));
    table.exits_with("start", SUCCESS);
    write_rules(WEB);
    table.deep_monitor_exits_with(SUCCESS);
    for action in ["reload", "reload-agent"] {
        table.exits_with(action, SUCCESS);
        assert_eq!(rules(), format!("{WEB}{THEIRS}"));
        table.deep_monitor_exits_with(SUCCESS);
    }
    write_rules(DNS);
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), THEIRS);

    write_rules(WEB);
    table.exits_with("start", SUCCESS);
    fs::remove_file("/etc/ipvsadm.rules").unwrap();
    table.exits_with("monitor", SUCCESS);
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), THEIRS);
}

fn owns_services_of_its_scope() {
    let table = Table::new(&[("only", "192.0.2.0/24 fwmark")]);
    write_rules(WEB);
    for service in ["-t 192.0.2.9:80", "-t 198.51.100.1:80", "-f 7"] {
        ok(&format!("ipvsadm -A {service}"));
    }
    table.exits_with("start", SUCCESS);
    assert_eq!(rules(), format!("{WEB}{THEIRS}"));
    table.deep_monitor_exits_with(SUCCESS);
    ok("ipvsadm -A -f 8");
    table.deep_monitor_exits_with(DEGRADED);
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), THEIRS);

    let whole = Table::new(&[("exclusive", "yes")]);
    whole.exits_with("start", SUCCESS);
    assert_eq!(rules(), WEB);
    ok("ipvsadm -A -f 8");
    whole.deep_monitor_exits_with(DEGRADED);
    whole.exits_with("stop", SUCCESS);
    assert_eq!(rules(), "");
}

fn stop_undoes_a_pending_plan() {
    let table = Table::new(&[]);
    write_rules(WEB);
    table.exits_with("start", SUCCESS);
    fs::write("other", format!("{}{DNS}", WEB.replace("rr", "wlc"))).unwrap();
    ok("ipvsadm-rs apply other --confirm-within 60s");
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), "");
    let list = ok("ipvsadm-rs undo --list");
    assert!(list.lines().nth(2).is_some_and(|line| line.contains("  undone")), "{list}");
}

/// The lock was once held through a whole drain. The agent's `stop` then failed, and Pacemaker fenced the node.
fn stop_ends_a_drain() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let served = director.ok("ipvsadm-save -n");
    write_rules(&served);
    director.ok("ipvsadm -A -t 198.51.100.1:80");
    let table = Table::new(&[]);
    for options in ["", "--confirm-within 60s"] {
        director.enter(|| table.exits_with("start", SUCCESS));
        assert_eq!(director.ok("ipvsadm-save -n"), format!("{served}{THEIRS}"));
        // Stop and start of the agent do not end the connections, so the second drain waits for the same ones.
        let mut apply = director.start(&format!("ipvsadm-rs apply wanted --listed-only --drain 60s {options}"));
        wait_for_the_drain(director);
        director.enter(|| table.exits_with("monitor", SUCCESS));
        director.enter(|| table.exits_with("stop", SUCCESS));
        assert_eq!(director.ok("ipvsadm-save -n"), THEIRS);
        wait::until(Duration::from_secs(30), || if apply.is_running() { Err(apply.output()) } else { Ok(()) });
        let timers = "for p in /proc/[0-9]*; do grep -qs rollback[-]timer $p/cmdline && echo $p; done; true";
        wait::until(Duration::from_secs(30), || match director.shell(timers).ok() {
            none if none.is_empty() => Ok(()),
            left => Err(left),
        });
        assert_eq!(director.ok("ipvsadm-save -n"), THEIRS);
        let list = director.ok("ipvsadm-rs undo --list");
        assert!(!list.contains("draining") && !list.contains("pending") && !list.contains("interrupted"), "{list}");
    }
    director.enter(|| table.exits_with("start", SUCCESS));
    assert_eq!(director.ok("ipvsadm-save -n"), format!("{served}{THEIRS}"));
}

/// With a full or read-only disk. A failed stop would fence the node.
fn stop_needs_no_journal() {
    let table = Table::new(&[]);
    write_rules(WEB);
    for options in ["size=4k", "size=4k,ro"] {
        table.exits_with("start", SUCCESS);
        ok(&format!("mount -t tmpfs -o mode=700,{options} full /var/lib/ipvsadm-rs"));
        shell("head -c 8k /dev/zero > /var/lib/ipvsadm-rs/all; true");
        table.exits_with("stop", SUCCESS);
        assert_eq!(rules(), "");
        ok("umount /var/lib/ipvsadm-rs");
    }
}

/// Logging is slow: a stop that logged every change would exceed its time limit.
fn logs_few_lines_of_a_large_table() {
    let table = Table::new(&[]);
    write_rules(&(1000..1500).map(|port| format!("-A -t 192.0.2.1:{port} -s rr\n")).collect::<String>());
    for action in ["start", "stop"] {
        let ran = table.call(action, 0);
        assert_eq!(ran.code, Some(SUCCESS), "{ran}");
        assert!(ran.stderr.lines().count() < 25 && ran.stderr.contains("500 changes made"), "{ran}");
    }
}

/// The directory of the agent's copies.
const COPIES: &str = "/run/resource-agents/ipvsadm-rs";

/// The formats are only certain from the extensions.
const TOML: &str = "'services' = [{ protocol = 'tcp', address = '192.0.2.1', port = 80, scheduler = 'rr' }]\n";
const JSON: &str =
    "\n{\"services\": [{\"protocol\": \"tcp\", \"address\": \"192.0.2.1\", \"port\": 80, \"scheduler\": \"rr\"}]}\n";

/// The copy once lost the extension of the name, and `rules=-x` was read as an option.
fn copies_files_of_any_name_and_format() {
    let service = "-A -t 192.0.2.1:80 -s rr\n";
    shell("ipvsadm -A -t 198.51.100.1:80").ok();
    fs::create_dir("/etc/rules").unwrap();
    let folder = Path::new("/etc/rules");
    let mut last = None;
    for (name, text) in [
        (&b"web.toml"[..], TOML),
        (b"-x.toml", TOML),
        (b"-x", service),
        (b"two words.json", JSON),
        (b"two\nlines.toml", TOML),
        (b"\"'`id`$(id)*?[a]\\n.json", JSON),
        (b"\xff\xfe.toml", TOML),
        (b".toml", service),
        (b"web.rules", service),
    ] {
        let path = folder.join(OsStr::from_bytes(name));
        fs::write(&path, text).unwrap();
        let table = Table::of_file(&path);
        table.exits_with("validate-all", SUCCESS);
        table.exits_with("monitor", if last.is_some() { SUCCESS } else { NOT_RUNNING });
        // A start of a resource that runs is a reload: the rules file is another one.
        table.exits_with("start", SUCCESS);
        assert_eq!(rules(), format!("{service}{THEIRS}"), "{path:?}");
        table.deep_monitor_exits_with(SUCCESS);
        let copies: Vec<_> = fs::read_dir(COPIES).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        last = Some(table);
    }
    last.unwrap().exits_with("stop", SUCCESS);
    assert_eq!(rules(), THEIRS);
    assert_eq!(fs::read_dir(COPIES).unwrap().count(), 0);

    fs::write("web.rules", service).unwrap();
    for path in ["-x", "web.rules"] {
        let table = Table::of_file(Path::new(path));
        table.exits_with("validate-all", CONFIGURED);
        table.exits_with("start", CONFIGURED);
        table.exits_with("monitor", NOT_RUNNING);
        table.exits_with("stop", SUCCESS);
    }
    // A message has the name of the rules file, and not that of a copy.
    fs::write("/etc/rules/x.toml", "services = 1\n").unwrap();
    let ran = Table::of_file(Path::new("/etc/rules/x.toml")).call("start", 0);
    assert!(ran.code == Some(ARGS) && ran.stderr.contains("ocf-exit-reason:/etc/rules/x.toml:1:"), "{ran}");
    assert!(!ran.stderr.contains(COPIES), "{ran}");
}

fn copies_only_into_a_directory_of_root() {
    let table = Table::new(&[]);
    write_rules(WEB);
    fs::create_dir_all("/run/resource-agents").unwrap();
    fs::create_dir("/victim").unwrap();
    symlink("/victim", COPIES).unwrap();
    table.exits_with("start", GENERIC);
    assert_eq!(fs::read_dir("/victim").unwrap().count(), 0);
    fs::remove_file(COPIES).unwrap();
    fs::create_dir(COPIES).unwrap();
    for prepare in ["chown 1000 ", "chmod 1777 "] {
        ok(&format!("{prepare}{COPIES}"));
        table.exits_with("start", GENERIC);
        ok(&format!("chown 0 {COPIES}"));
    }
    assert_eq!(rules(), "");
    fs::remove_dir(COPIES).unwrap();
    table.exits_with("start", SUCCESS);
}

/// Without PATH and other variables, without a working directory and standard input, with any umask.
fn runs_in_any_environment() {
    Table::new(&[]);
    write_rules(WEB);
    fs::create_dir_all("/run/resource-agents").unwrap();
    for umask in ["0", "077"] {
        let action = |name: &str| {
            let environment =
                "env -i OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=table OCF_RESKEY_rules=/etc/ipvsadm.rules";
            let there = format!("mkdir -p gone && cd gone && rmdir ../gone && umask {umask}");
            shell(&format!("{there} && exec {environment} {} {name} <&-", under_test::AGENT)).code
        };
        assert_eq!(action("validate-all"), Some(SUCCESS));
        assert_eq!(action("monitor"), Some(NOT_RUNNING));
        assert_eq!(action("start"), Some(SUCCESS));
        assert_eq!((action("monitor"), rules().as_str()), (Some(SUCCESS), WEB));
        let mode = |path: &str| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(COPIES), mode(&format!("{COPIES}/table.rules"))), (0o700, 0o600), "umask {umask}");
        assert_eq!(mode("/var/lib/ipvsadm-rs"), 0o700, "umask {umask}");
        assert_eq!(action("reload"), Some(SUCCESS));
        assert_eq!((action("stop"), rules().as_str()), (Some(SUCCESS), ""));
        fs::remove_dir_all("/run/resource-agents").unwrap();
    }
}

/// A failed stop would fence a node on which nothing runs.
fn invalid_rules_that_were_never_applied_are_not_running() {
    let table = Table::new(&[]);
    shell("ipvsadm -A -t 198.51.100.1:80").ok();
    write_rules("-A -t nowhere\n");
    table.exits_with("monitor", NOT_RUNNING);
    table.exits_with("stop", SUCCESS);
    table.exits_with("start", ARGS);
    write_rules(WEB);
    table.exits_with("start", SUCCESS);
    write_rules("-A -t nowhere\n");
    table.exits_with("monitor", SUCCESS);
    table.exits_with("start", ARGS);
    assert_eq!(rules(), format!("{WEB}{THEIRS}"));
    table.exits_with("stop", SUCCESS);
    assert_eq!(rules(), THEIRS);
}

fn reports_errors() {
    let table = Table::new(&[]);
    // With IPVS_KERNEL=host, Debian's ipvsadm may have left a file.
    let _ = fs::remove_file("/etc/ipvsadm.rules");
    for action in ["start", "validate-all"] {
        table.exits_with(action, INSTALLED);
    }
    table.exits_with("monitor", NOT_RUNNING);
    table.exits_with("stop", SUCCESS);
    write_rules("-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r nowhere\n");
    for action in ["start", "validate-all"] {
        table.exits_with(action, ARGS);
    }
    write_rules(WEB);
    Table::new(&[("binary", "/nonexistent")]).exits_with("start", INSTALLED);
    Table::new(&[("only", "everything")]).exits_with("validate-all", CONFIGURED);
    Table::new(&[("only", "tcp"), ("exclusive", "true")]).exits_with("validate-all", CONFIGURED);
    table.exits_with("dance", 3);
    let nobody = "setpriv --reuid 65534 --clear-groups env OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=table";
    let ran = shell(&format!("{nobody} {} start", under_test::AGENT));
    assert_eq!(ran.code, Some(PERM), "{ran}");
    assert_eq!(rules(), "");
}
