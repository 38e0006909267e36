//! Options, exit codes, and machines without root or IPVS.

use std::collections::BTreeSet;

use ipvs_tests::command::{ok, run};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Nat;
use serde_json::Value;

use super::Findings;
use crate::under_test;

ipvs_tests::tests! {
    exit_codes_and_options;
    text_fits_a_terminal;
    changes_nothing;
    without_root;
    without_ipvs, own_kernel = true;
}

/// Builds a director with an error, a warning and notes.
fn broken() -> Nat {
    under_test::install();
    let nat = Nat::new().unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s wlc");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    nat.director.ok("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.vs.cache_bypass=1");
    nat
}

fn exit_codes_and_options() {
    let nat = broken();
    let code = |options: &str| {
        let codes = ["", " --json"].map(|json| nat.director.run(&format!("ipvsadm-rs doctor {options}{json}")).code);
        assert_eq!(codes[0], codes[1], "{options}");
        codes[0]
    };
    assert_eq!(code(""), Some(2));
    assert_eq!(code("--fail-on error"), Some(2));
    assert_eq!(code("--fail-on error --disable ip-forward"), Some(0));
    assert_eq!(code("--disable ip-forward"), Some(2));
    assert_eq!(code("--disable ip-forward,cache-bypass"), Some(0));
    assert_eq!(code("--disable ip-forward --disable cache-bypass"), Some(0));
    for options in ["--disable no-such-check", "--fail-on note", "--netns no-such", "--state-dir x", "x"] {
        assert_eq!(code(options), Some(1), "{options}");
    }
    let ran = nat.director.run("ipvsadm-rs doctor --disable ip-forwrad");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("ip-forwrad") && ran.stderr.contains("a similar value exists: 'ip-forward"), "{ran}");

    let ran = nat.director.run("ipvsadm-rs doctor --json --disable ip-forward");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["schema"], &report["status"]), (&1.into(), &"warning".into()));
    assert_eq!(report["disabled"], serde_json::json!(["ip-forward"]));
    let finding = &report["findings"][0];
    assert_eq!((&finding["id"], &finding["group"]), (&"cache-bypass".into(), &"forwarding".into()));
    assert_eq!(finding["seen"], serde_json::json!(["net.ipv4.vs.cache_bypass is 1."]));
    assert_eq!(finding["link"], "/usr/share/doc/ipvsadm-rs/docs/doctor.md#cache-bypass");
    assert_eq!((&finding["found_if"], &finding["default"]), (&"net.ipv4.vs.cache_bypass is not 0".into(), &"0".into()));
    let command = serde_json::json!({"on": "director", "command": "sysctl -w net.ipv4.vs.cache_bypass=0"});
    assert_eq!(finding["commands"], serde_json::json!([command]));
    // Each check is in one list.
    let lists = ["findings", "not_checked", "passed", "not_applicable", "disabled"];
    let names = |item: &Value| item["id"].as_str().or(item.as_str()).unwrap().to_owned();
    let all: Vec<String> = lists.iter().flat_map(|list| report[list].as_array().unwrap().iter().map(names)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert!(all.len() >= 40);
    let text = nat.director.run("ipvsadm-rs doctor --all --disable ip-forward").stdout;
    assert!(all.iter().all(|id| text.contains(id)), "{text}");
}

fn text_fits_a_terminal() {
    let nat = broken();
    let text = nat.director.run("ipvsadm-rs doctor --all").stdout;
    assert!(text.starts_with("Forwarding\n  error ip-forward\n    net.ipv4.ip_forward is 0.\n"), "{text}");
    assert!(text.contains("\n    # sysctl -w net.ipv4.ip_forward=1\n"), "{text}");
    assert!(text.contains("\n/usr/share/doc/ipvsadm-rs/docs/doctor.md has a section for each check.\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.lines().last().unwrap().starts_with("1 error, 1 warning, 2 notes; "), "{text}");
}

fn changes_nothing() {
    let nat = broken();
    let read = || {
        nat.director.shell(
            "ipvsadm-save -n; sysctl -a 2> /dev/null | grep -E '^net.ipv[46]' | sort; cut -d' ' -f1 /proc/modules",
        )
    };
    let before = read().ok();
    let before = without_counters(&before);
    nat.director.run("ipvsadm-rs doctor");
    assert_eq!(without_counters(&read().ok()), before);
}

/// Removes settings that the kernel changes by itself.
fn without_counters(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("random") && !line.contains("stable_secret")).collect()
}

fn without_root() {
    let nat = broken();
    let ran = nat.director.run("setpriv --bounding-set=-net_admin ipvsadm-rs doctor");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""), "{ran}");
    assert!(ran.stdout.contains("cache-bypass"), "{ran}");
    assert!(ran.stdout.contains("not checked: cannot read the table: "), "{ran}");
    assert!(ran.stdout.contains("permission denied") && !ran.stdout.contains("error ip-forward"), "{ran}");
    // Without a finding, the result is unknown.
    nat.director.ok("sysctl -qw net.ipv4.vs.cache_bypass=0");
    for options in ["", " --json"] {
        let ran = nat.director.run(&format!("setpriv --bounding-set=-net_admin ipvsadm-rs doctor{options}"));
        assert_eq!(ran.code, Some(1), "{ran}");
    }
    // As another user, with root's files closed.
    let ran = nat.director.run("setpriv --reuid=65534 --regid=65534 --clear-groups ipvsadm-rs doctor --json");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(report["not_checked"].as_array().unwrap().len() > 20, "{ran}");
    // Before Linux 6.2, the namespace of a user has no settings.
    let ran = run("unshare -Urn ipvsadm-rs doctor");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran}");
    let has_settings = !ran.stdout.contains("there are no settings net.ipv4.vs.*");
    assert_eq!(has_settings, super::kernel_is_from(6, 2), "{ran}");
}

fn without_ipvs() {
    under_test::install();
    under_test::modprobe();
    // Other tests may have loaded it.
    let unloaded = modules::unload("ip_vs").unwrap();
    assert!(!std::fs::exists("/proc/net/ip_vs").unwrap());
    for options in ["", " --fail-on error"] {
        let ran = run(&format!("ipvsadm-rs doctor{options}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stdout.starts_with("Kernel\n  error module-loaded\n"), "{ran}");
        assert!(ran.stdout.contains("\n    # modprobe ip_vs\n"), "{ran}");
        assert!(ran.stdout.lines().last().unwrap().starts_with("1 error; 0 checks passed, "), "{ran}");
    }
    assert!(!std::fs::exists("/proc/net/ip_vs").unwrap(), "the module was loaded");
    drop(unloaded);
    ok("modprobe ip_vs");
    let ran = run("ipvsadm-rs doctor --json");
    assert!(!ran.stdout.contains("\"id\": \"module-loaded\""), "{ran}");
    let nat = Nat::new().unwrap();
    assert!(Findings::of(&nat.director).ids().contains("no-services"));
}
