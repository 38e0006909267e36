//! ldirectord's table is the one of `convert`, for its sample and for written configurations.

use std::fs;
use std::time::Duration;

use ipvs_tests::command::{Running, start};

use super::daemons::compare;
use crate::under_test;

ipvs_tests::tests! {
    samples_have_the_table_of_ldirectord, needs = "ldirectord", seconds = 900;
    written_files_have_the_table_of_ldirectord, needs = "ldirectord", seconds = 900;
}

const SAMPLE: &str = "/usr/share/doc/ldirectord/examples/ldirectord.cf";

fn ldirectord() -> Running {
    let folder = std::env::current_dir().unwrap();
    // In the foreground, with a log of every command.
    start(&format!("ldirectord -d {}/ldirectord.cf start", folder.display()))
}

#[track_caller]
fn same_table(text: &str) {
    fs::write("ldirectord.cf", text).unwrap();
    // It would delete its services for as long as the start takes.
    compare("ldirectord.cf", "", Duration::from_millis(0), ldirectord);
    let _ = fs::remove_file("/var/run/ldirectord.ldirectord.pid");
}

fn install() {
    under_test::install();
    under_test::modprobe();
}

/// The sample has most of its services as comments. Those that resolve names, and one with a typing error, are left out.
fn samples_have_the_table_of_ldirectord() {
    install();
    let text = fs::read_to_string(SAMPLE).unwrap();
    let mut head = String::new();
    let mut sections: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with("virtual") {
            sections.push(format!("{line}\n"));
        } else if let Some(section) = sections.last_mut().filter(|_| line.starts_with('\t')) {
            let line = if line.trim_start().starts_with("checktype") { "\tchecktype=on" } else { line };
            *section += &format!("{line}\n");
        } else if sections.is_empty() && line.contains('=') && !line.contains("\"") && !line.starts_with("fallback") {
            head += &format!("{line}\n");
        }
    }
    sections.retain(|section| !section.contains("sql0") && !section.contains("::5060"));
    assert!(sections.len() >= 12, "{sections:#?}");
    // Services with the same address are in different files.
    let mut files: Vec<Vec<String>> = Vec::new();
    for section in sections {
        let first = |section: &str| section.lines().next().unwrap_or_default().to_owned();
        let place =
            files.iter_mut().find(|file| file.len() < 6 && file.iter().all(|other| first(other) != first(&section)));
        match place {
            Some(file) => file.push(section),
            None => files.push(vec![section]),
        }
    }
    for sections in files {
        same_table(&format!("{head}supervised=yes\n{}", sections.join("\n")));
    }
}

fn written_files_have_the_table_of_ldirectord() {
    install();
    for text in [
        "virtual = 192.0.2.1:80\n\treal = 10.0.0.1->10.0.0.3:8080 masq 5\n\treal = 10.0.0.9:80 gate 0\n\tchecktype = on\n\
         virtual = 192.0.2.1:53\n    real = 10.0.0.1 ipip 2 l:10 u:20\n    ops = yes\n    checktype = on\n\
         virtual = 192.0.2.1:http\n\treal = 10.0.0.1:8080 masq 1 \"/a\", \"b\"\n\tchecktype = on\n\tscheduler = sh\n\
         \tschedflags = sh-port,sh-fallback\n",
        "fallback = 127.0.0.1:80\nquiescent = yes\nvirtual = 7\n\treal = 10.0.0.1 gate\n\treal = 10.0.0.2:80 masq 3\n\
         \tchecktype = on\n\tpersistent = 600\n\tnetmask = 255.255.255.0\n\
         virtual6 = 7\n\treal6 = [2001:db8::1]:80 masq\n\tchecktype = on\n\
         virtual6 = [2001:db8::9]:80\n\treal6 = [2001:db8::1]:80 gate\n\tchecktype = on\n\tpersistent = 5\n\tnetmask = 64\n",
        "virtual = 192.0.2.1:80\n\treal = 10.0.0.1:80 gate\n\treal = 10.0.0.2:8080 masq 2\n\tfallback = 10.0.0.9\n\
         \tchecktype = off\n",
        "quiescent = yes\nvirtual = 192.0.2.1:80\n\treal = 10.0.0.1:80 gate 3\n\tfallback = 10.0.0.9:81 masq\n\
         \tchecktype = off\n",
        "virtual = 192.0.2.1:80\n\tfallback = 10.0.0.9:80 gate\n\tservice = none\n\
         virtual = 192.0.2.1:8000\n\treal = 10.0.0.1:80 masq\n\tscheduler = wlc\n",
    ] {
        same_table(&format!("supervised = yes\n{}", text.replace("192.0.2.1:http", "192.0.2.2:http")));
    }
}
