//! The verbs that show a running director, on large tables.

use std::collections::HashSet;
use std::time::Duration;

use ipvs::{Change, Client, Destination, Forwarding, Scheduler, Service, ServiceKey};
use ipvs_tests::command::{ok, run, start};
use ipvs_tests::wait;
use serde_json::Value;

use super::metrics::{numbers, values};
use crate::under_test;

ipvs_tests::tests! {
    ten_thousand_services, seconds = 300;
    five_hundred_services_of_twenty_servers, seconds = 300;
}

const SERVICES: usize = 10_000;

/// Adds services to an empty table. Of each hundred, one has no servers and one has a server of weight 0. The others
/// have `servers` servers.
fn add_services(services: usize, servers: u8) {
    under_test::install();
    let mut writer = Client::open().unwrap();
    let mut changes = Vec::new();
    for number in 0..services {
        let key = ServiceKey::tcp([192, 0, (number / 200) as u8, (number % 200) as u8], 80);
        changes.push(Change::AddService(Service::new(key, Scheduler::RR)));
        let (servers, weight) = match number % 100 {
            0 => (0, 1),
            1 => (1, 0),
            _ => (servers, 1),
        };
        for last in 1..=servers {
            let address = ([10, 0, (number % 200) as u8, last], 80);
            let server = Destination { weight, ..Destination::new(address, Forwarding::Masquerade) };
            changes.push(Change::AddDestination(key, server));
        }
    }
    writer.submit(&changes).unwrap().into_result().unwrap();
}

/// Returns the number of lines that begin with a text. Fails if two are the same.
fn different_lines(text: &str, beginning: &str) -> usize {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(beginning)).collect();
    assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len(), "a row is printed twice");
    lines.len()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn length(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

fn ten_thousand_services() {
    add_services(SERVICES, 1);
    let rows = ok("ipvsadm-rs show --services");
    assert_eq!(different_lines(&rows, "TCP "), SERVICES);
    assert!(
        rows.ends_with(
            "\n10000 services, 9900 servers: 9800 up, 100 drained\n\
             0 active, 0 inactive connections, 0 connections/s\n"
        ),
        "{}",
        &rows[rows.len() - 200..]
    );
    let problems = ok("ipvsadm-rs show --problems --services --limit 150");
    assert_eq!(problems.matches("  no servers\n").count() + problems.matches("  all weight 0\n").count(), 150);
    assert!(problems.ends_with("\n50 services omitted\n"), "{problems}");
    let lines = ok("ipvsadm-rs show --json-lines");
    assert_eq!((different_lines(&lines, "{"), lines.matches("\"weight\":").count()), (SERVICES, 9900));
    let text = ok("ipvsadm-rs top --once");
    assert_eq!(different_lines(&text, "TCP "), SERVICES);
    assert!(text.contains("\n10000 services, 9900 servers: 200 problems\n"), "{}", &text[text.len() - 200..]);

    // In a debug build, a map of all series takes seconds.
    let metrics = ok("ipvsadm-rs metrics");
    let series = |metric| different_lines(&metrics, metric);
    assert_eq!((series("ipvs_service_weight{"), series("ipvs_server_weight{")), (SERVICES, 9900));
    let all = metrics.lines().filter(|line| !line.starts_with('#')).count();
    let limited = values(&ok("ipvsadm-rs metrics --max-series 5000"));
    let names = ["ipvs_services", "ipvs_omitted_series", "ipvs_omitted_servers"];
    let [services, omitted, servers] = numbers(&limited, names, "");
    assert_eq!((services, omitted as usize + limited.len(), servers), (10_000, all, 9900));
    assert!(limited.len() <= 5000, "{}", limited.len());

    let checked = run("ipvsadm-rs check --live --problems");
    assert_eq!((checked.code, different_lines(&checked.stdout, "TCP ")), (Some(2), 200));
    let summary = "100 services have no servers, 100 services have only servers of weight 0, \
                   10000 services and 9900 servers checked\n";
    assert!(checked.stdout.ends_with(&format!("critical: {summary}")), "{}", checked.stdout);

    let monitor = start("ipvsadm-rs monitor");
    let snapshot = wait::until(Duration::from_secs(60), || {
        let output = monitor.output();
        let items = output.lines().filter(|line| line.contains("  = -")).count();
        // The timeouts have a line, too.
        if items == 1 + SERVICES + 9900 { Ok(output) } else { Err(format!("{items} items")) }
    });
    assert!(snapshot.contains("  # snapshot: 10000 services, 9900 servers\n"));
    assert_eq!(ok("ipvsadm-rs connections --by service"), "0 connections, 0 persistence templates\n");
}

fn five_hundred_services_of_twenty_servers() {
    add_services(500, 20);
    let servers = 490 * 20 + 5;
    let rows = ok("ipvsadm-rs show");
    assert_eq!(different_lines(&rows, "TCP "), 500);
    assert_eq!(rows.lines().filter(|line| line.starts_with("  10.0.")).count(), servers);
    let totals = "\n500 services, 9805 servers: 9800 up, 5 drained\n";
    assert!(rows.contains(totals), "{}", &rows[rows.len() - 200..]);
    let one = ok("ipvsadm-rs show --server 10.0.7.20");
    assert!(one.contains("\n3 services, 3 servers: 3 up\n"), "{one}");
    let limited = ok("ipvsadm-rs show --sort connections --limit 2");
    assert!(limited.ends_with("\n498 services omitted\n"), "{limited}");
    let text = ok("ipvsadm-rs top --once --servers --limit 1");
    assert!(text.contains("\n9805 servers: 0 problems\n") && text.ends_with("\n9804 servers omitted\n"), "{text}");
    let once = json(&ok("ipvsadm-rs top --once --json-lines --limit 3"));
    assert_eq!((length(&once["services"]), &once["omitted"]), (3, &497.into()), "{once}");
    let metrics = values(&ok("ipvsadm-rs metrics --detail services"));
    let up = "{state=\"up\"}";
    assert_eq!((numbers(&metrics, ["ipvs_services"], ""), numbers(&metrics, ["ipvs_servers"], up)), ([500], [9800]));
    let verdict = json(&run("ipvsadm-rs check --live --json").stdout);
    assert_eq!((&verdict["services"], &verdict["servers"]["up"]), (&500.into(), &9800.into()));
}
