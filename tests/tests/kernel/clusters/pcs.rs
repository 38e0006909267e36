//! pcs, the shell of clusters on RHEL and its relatives.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::shell;
use ipvs_tests::lab::cluster::{Cluster, patient_shell};

use super::pair::{Pair, RULES};
use crate::operations::page::{self, Page};
use crate::operations::{OPERATIONS, README, install_curl};
use crate::under_test;

ipvs_tests::tests! {
    resource_has_one_monitor, needs = "pacemaker", needs = "pcs", seconds = 120;
    wrong_parameters_are_refused, needs = "pacemaker", needs = "pcs", seconds = 120;
    commands_of_the_readme, needs = "pacemaker", needs = "pcs", seconds = 120;
    page_about_pcs, needs = "pacemaker", needs = "pcs", seconds = 400;
}

/// The configuration that pcs writes if no cluster is running.
const CIB: &str = "/etc/cib.xml";

fn empty_configuration() {
    under_test::install();
    under_test::install_agent();
    shell(&format!("cibadmin --empty > {CIB}")).ok();
}

/// pcs makes an operation of every action in the meta-data. The deep monitor was once among them, and a drain then failed
/// it.
fn resource_has_one_monitor() {
    empty_configuration();
    patient_shell(&format!("pcs -f {CIB} resource create table ocf:ipvsadm-rs:ipvs rules=/etc/ipvsadm.rules")).ok();
    let xml = fs::read_to_string(CIB).unwrap();
    let value = |line: &str, name: &str| {
        let rest = line.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once('"')).map_or_else(String::new, |(value, _)| value.to_owned())
    };
    let operations = xml.lines().filter(|line| line.trim_start().starts_with("<op "));
    let mut operations: Vec<String> = operations
        .map(|line| format!("{} {} {}", value(line, "name"), value(line, "interval"), value(line, "timeout")))
        .collect();
    operations.sort();
    assert_eq!(operations, ["monitor 10s 20s", "reload 0s 30s", "reload-agent 0s 30s", "start 0s 30s", "stop 0s 30s"]);
    assert!(!xml.contains("OCF_CHECK_LEVEL"), "{xml}");

    patient_shell(&format!("pcs -f {CIB} resource op add table monitor interval=60s OCF_CHECK_LEVEL=10")).ok();
    let config = patient_shell(&format!("pcs -f {CIB} resource config table")).ok();
    assert!(config.contains("OCF_CHECK_LEVEL=10"), "{config}");
}

fn wrong_parameters_are_refused() {
    empty_configuration();
    let described = patient_shell("pcs resource describe ocf:ipvsadm-rs:ipvs").ok();
    for parameter in ["rules", "only", "exclusive", "keep_weights", "binary"] {
        assert!(described.contains(&format!("\n  {parameter}")), "{described}");
    }
    let ran = patient_shell(&format!("pcs -f {CIB} resource create table ocf:ipvsadm-rs:ipvs rule=/etc/ipvsadm.rules"));
    assert!(ran.code == Some(1) && ran.stderr.contains("invalid resource option 'rule'"), "{ran}");
}

fn commands_of_the_readme() {
    empty_configuration();
    let block = page::block_after(README, "With pcs:");
    for line in block.lines() {
        let command = line.strip_prefix("pcs ").unwrap_or_else(|| panic!("not a command of pcs: {line}"));
        patient_shell(&format!("pcs -f {CIB} {command}")).ok();
    }
    let config = patient_shell(&format!("pcs -f {CIB} resource config")).ok();
    let places: Vec<Option<usize>> =
        ["Group: lvs", "Resource: table", "Resource: address"].iter().map(|text| config.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{config}");
}

fn page_about_pcs() {
    let pair = Pair::new(["director1", "director2"]);
    let cluster = Cluster::start_with_pcs(&pair.nodes()).unwrap();
    install_curl();
    Page::of(OPERATIONS, "A cluster with pcs", &["client", "director1", "director2"]).run(|name, command| {
        if name == "client" { pair.client.shell(command) } else { cluster.shell_on(name, command) }
    });
    pair.serves();
    let active = "director2";
    assert_eq!(cluster.nodes_of("table"), [active]);
    assert_eq!(cluster.nodes_of("address"), [active]);
    assert_eq!(cluster.ok_on("director1", "ipvsadm-save -n"), "");
    assert_eq!(cluster.ok_on(active, "ipvsadm-save -n"), RULES);
    pair.loses_nothing(|| {
        cluster.ok_on(active, "ipvsadm-rs set -r 10.1.0.12 --weight 0");
        // The interval of the monitor is 10 s.
        std::thread::sleep(Duration::from_secs(25));
        cluster.settle();
    });
    assert_eq!(cluster.ok_on(active, "ipvsadm-save -n"), RULES.replace("12:80 -g -w 1", "12:80 -g -w 0"));
}
