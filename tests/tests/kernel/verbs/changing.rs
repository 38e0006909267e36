//! The verbs that show a running director, while other programs change its table all the time.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use ipvs::{Change, Client, Destination, Forwarding, Scheduler, Service, ServiceKey};
use ipvs_tests::command::{Running, ok, run, start};
use ipvs_tests::net::netns::Netns;
use ipvs_tests::repeat::repeat_while;
use ipvs_tests::wait;
use serde_json::Value;

use super::metrics::{numbers, values};
use super::{director, write};

ipvs_tests::tests! {
    readings_have_each_item_once, seconds = 300;
    events_lead_from_one_table_to_the_other, seconds = 300;
    services_stay_while_those_of_another_namespace_are_deleted, seconds = 300;
    rates_of_services_that_come_and_go, seconds = 300;
}

const LIMIT: Duration = Duration::from_secs(60);

/// The number of services that nobody changes. Their list does not fit into one datagram of the kernel.
const KEPT: u8 = 200;

fn key(network: u8, last: u8) -> ServiceKey {
    ServiceKey::tcp([192, 0, network, last], 80)
}

fn service(key: ServiceKey) -> Change {
    Change::AddService(Service::new(key, Scheduler::RR))
}

fn server(last: u8) -> Destination {
    Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade)
}

fn submit(writer: &mut Client, changes: &[Change]) {
    writer.submit(changes).unwrap().into_result().unwrap();
}

/// Adds the services that nobody changes, with two servers each.
fn add_kept(writer: &mut Client) {
    let of = |last| {
        let key = key(2, last);
        [service(key), Change::AddDestination(key, server(1)), Change::AddDestination(key, server(2))]
    };
    submit(writer, &(0..KEPT).flat_map(of).collect::<Vec<_>>());
}

/// Adds, edits and deletes services and servers. At the end, only those that were there before are left.
fn change(writer: &mut Client, round: u32) {
    for network in [3, 4] {
        for last in 0..50 {
            let key = key(network, last);
            submit(writer, &[service(key), Change::AddDestination(key, server(1))]);
        }
    }
    for last in 0..50 {
        let key = key(3, last);
        let edited = Destination { weight: 1 + round % 9, ..server(1) };
        submit(writer, &[Change::EditDestination(key, edited), Change::AddDestination(key, server(2))]);
        submit(writer, &[Change::DeleteDestination(key, server(1).key), Change::DeleteService(key)]);
        // The same key again, at once.
        submit(writer, &[service(key), Change::AddDestination(key, server(3))]);
    }
    let keys = [3, 4].into_iter().flat_map(|network| (0..50).map(move |last| key(network, last)));
    submit(writer, &keys.map(Change::DeleteService).collect::<Vec<_>>());
}

/// Runs a function while the table changes.
fn while_it_changes<T>(act: impl FnOnce() -> T) -> T {
    let mut writer = Client::open().unwrap();
    let mut rounds = 1..;
    repeat_while(|| change(&mut writer, rounds.next().unwrap()), act)
}

/// Fails if one of the names occurs twice, or if a service that nobody changes is missing.
fn check_names<'n>(names: impl Iterator<Item = &'n str>, kept: impl Fn(&str) -> bool, context: &str) {
    let mut found = HashSet::new();
    let mut number = 0;
    for name in names {
        assert!(found.insert(name), "{name} is there twice: {context}");
        number += usize::from(kept(name));
    }
    assert_eq!(number, usize::from(KEPT), "{context}");
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Nothing is sent, so each rate is 0, or unknown.
fn check_rates(rates: &Value, context: &Value) {
    for rate in rates.as_object().into_iter().flat_map(|rates| rates.values()) {
        assert_eq!(rate.as_f64(), Some(0.0), "{context}");
    }
}

fn readings_have_each_item_once() {
    director("");
    add_kept(&mut Client::open().unwrap());
    let is_kept = |name: &str| name.contains("192.0.2.");
    while_it_changes(|| {
        for _ in 0..3 {
            let rows = ok("ipvsadm-rs show --services");
            check_names(rows.lines().filter_map(|line| line.strip_prefix("TCP ")?.split(' ').next()), is_kept, &rows);
            let table = ok("ipvsadm-rs show");
            check_names(table.lines().filter_map(|line| line.strip_prefix("TCP ")?.split(' ').next()), is_kept, &table);
            for line in json_lines(&ok("ipvsadm-rs show --json-lines")) {
                let servers = line["destinations"].as_array().unwrap();
                let unique: HashSet<String> = servers.iter().map(|server| server["address"].to_string()).collect();
                assert_eq!(unique.len(), servers.len(), "{line}");
                let is_kept = is_kept(line["address"].as_str().unwrap());
                assert!(!is_kept || servers.len() == 2 && line["problem"].is_null(), "{line}");
            }
            let metrics = ok("ipvsadm-rs metrics");
            let weights = metrics.lines().filter_map(|line| line.strip_prefix("ipvs_service_weight{"));
            check_names(weights.filter_map(|line| line.split(' ').next()), is_kept, &metrics);
            let series = metrics.lines().filter(|line| !line.starts_with('#'));
            let series: Vec<&str> = series.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
            assert_eq!(series.iter().collect::<HashSet<_>>().len(), series.len(), "{metrics}");
            let checked = run("ipvsadm-rs check --live --problems --only 192.0.2.0/24");
            assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), CHECKED), "{checked}");
            assert_eq!(ok("ipvsadm-rs connections --by service"), NO_CONNECTIONS);
        }
        let once: Value = serde_json::from_str(&ok("ipvsadm-rs top --once --json-lines")).unwrap();
        let rows = once["services"].as_array().unwrap();
        let names: Vec<String> = rows.iter().map(|row| row["service"].to_string()).collect();
        check_names(names.iter().map(String::as_str), is_kept, "top");
        rows.iter().for_each(|row| check_rates(&row["per_second"], row));
        for line in json_lines(&ok("ipvsadm-rs show --traffic --interval 2s --json-lines")) {
            check_rates(&line["per_second"], &line);
            line["servers_per_second"].as_array().unwrap().iter().for_each(|rates| check_rates(rates, &line));
        }
    });
}

const NO_CONNECTIONS: &str = "0 connections, 0 persistence templates\n";

const CHECKED: &str = "ok: 200 services and 400 servers checked\n";

/// The table of a monitor: the rule of each item that exists.
type Table = BTreeMap<String, String>;

/// Returns the name of the item of a line: the service, and the server if there is one.
fn item(line: &Value) -> String {
    format!("{} {}", line["service"], line["server"])
}

/// Returns the table of a snapshot as the events describe it: the settings of each item.
fn table_of_snapshot(table: &Value) -> Table {
    let mut items = Table::new();
    for service in table["services"].as_array().unwrap() {
        let name = serde_json::json!({ "protocol": "tcp", "address": service["address"], "port": service["port"] });
        items.insert(format!("{name} null"), String::new());
        for server in service["destinations"].as_array().into_iter().flatten() {
            let weight = server.get("weight").cloned().unwrap_or(1.into()).to_string();
            let server = serde_json::json!({ "address": server["address"], "port": 80 });
            items.insert(format!("{name} {server}"), weight);
        }
    }
    items
}

/// Applies the lines of a monitor. Fails if an event contradicts the lines before it.
fn replay(output: &str) -> Table {
    let mut table: Option<Table> = None;
    let complete = output.rfind('\n').map_or("", |end| &output[..end]);
    for line in json_lines(complete) {
        match line["event"].as_str().unwrap() {
            "snapshot" => {
                let snapshot = table_of_snapshot(&line["table"]);
                assert!(table.is_none_or(|table| table == snapshot), "the events lead to another table than {line}");
                table = Some(snapshot);
            }
            "change" => {
                assert_ne!(line["service"]["address"].as_str().unwrap().find("192.0.2."), Some(0), "{line}");
                let table = table.as_mut().expect("a snapshot first");
                let weight = line["new"].get("weight").map(Value::to_string).unwrap_or_default();
                let before = match line["action"].as_str().unwrap() {
                    "add" => table.insert(item(&line), weight).map_or(Ok(()), Err),
                    "edit" => table.insert(item(&line), weight).map(|_| ()).ok_or_else(String::new),
                    _ => table.remove(&item(&line)).map(|_| ()).ok_or_else(String::new),
                };
                assert_eq!(before, Ok(()), "contradicts the table: {line}");
            }
            "lost" => {}
            other => panic!("{other}"),
        }
    }
    table.unwrap_or_default()
}

fn wait_for_snapshot(monitor: &Running) {
    wait::until(LIMIT, || {
        let output = monitor.output();
        if output.contains("\"event\":\"snapshot\"") { Ok(()) } else { Err(output) }
    });
}

fn events_lead_from_one_table_to_the_other() {
    director("");
    let mut writer = Client::open().unwrap();
    add_kept(&mut writer);
    let mut monitor = start("ipvsadm-rs monitor --json-lines --interval 1ms");
    wait_for_snapshot(&monitor);
    while_it_changes(|| {
        wait::until(LIMIT, || {
            let events = monitor.output().matches("\"event\":\"change\"").count();
            if events > 200 { Ok(()) } else { Err(format!("{events} events")) }
        });
    });
    // A change that nothing follows.
    submit(&mut writer, &[service(key(5, 1))]);
    let expected: HashSet<String> = writer
        .state()
        .unwrap()
        .services
        .iter()
        .flat_map(|state| {
            let name = state.service.key.to_string();
            let servers = state.destinations.iter().map(|server| server.destination.key.to_string());
            std::iter::once("null".to_owned()).chain(servers).map(move |server| format!("{name} {server}"))
        })
        .collect();
    let table = wait::until(LIMIT, || {
        let output = monitor.output();
        let table = replay(&output);
        if table.len() == expected.len() { Ok(table) } else { Err(format!("{} {}", table.len(), expected.len())) }
    });
    assert_eq!(table.len(), usize::from(KEPT) * 3 + 1);
    assert!(monitor.is_running(), "{}", monitor.output());
}

/// Before Linux 7.1, the kernel leaves out services of a list while those of any namespace are deleted.
fn services_stay_while_those_of_another_namespace_are_deleted() {
    director("");
    let mut own = Client::open().unwrap();
    add_kept(&mut own);
    write("wanted", &ok("ipvsadm-save -n"));
    let mut other = Netns::new("other").unwrap().enter(|| Client::open().unwrap());
    let busy: Vec<Change> =
        (3..10).flat_map(|network| (0..KEPT).map(move |last| service(key(network, last)))).collect();
    let monitor = start("ipvsadm-rs monitor --json-lines --interval 1ms");
    wait_for_snapshot(&monitor);
    let change = || {
        submit(&mut other, &busy);
        other.flush().unwrap();
    };
    repeat_while(change, || {
        for _ in 0..4 {
            let rows = ok("ipvsadm-rs show --services");
            assert!(rows.contains("\n200 services, 400 servers: 400 up\n"), "{rows}");
            let metrics = values(&ok("ipvsadm-rs metrics"));
            assert_eq!(numbers(&metrics, ["ipvs_services"], ""), [200]);
            let checked = run("ipvsadm-rs check --live --problems wanted");
            assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), CHECKED), "{checked}");
        }
        let once: Value = serde_json::from_str(&ok("ipvsadm-rs top --once --json-lines")).unwrap();
        let rows = once["services"].as_array().unwrap();
        assert!(rows.len() == 200 && rows.iter().all(|row| !row["per_second"].is_null()), "{once}");
    });
    assert_eq!(monitor.output().matches("\"event\":\"change\"").count(), 0, "{}", monitor.output());
}

/// Services that are deleted or added between the two readings.
fn rates_of_services_that_come_and_go() {
    director("");
    let mut writer = Client::open().unwrap();
    add_kept(&mut writer);
    let [gone, new] = [key(3, 1), key(3, 2)];
    wait::until(Duration::from_secs(120), || {
        let present: Vec<ServiceKey> = writer.services().unwrap().iter().map(|state| state.service.key).collect();
        let changes = [
            present.contains(&new).then_some(Change::DeleteService(new)),
            (!present.contains(&gone)).then_some(service(gone)),
        ];
        submit(&mut writer, &changes.into_iter().flatten().collect::<Vec<_>>());
        let shown = std::thread::scope(|scope| {
            let show = scope.spawn(|| run("ipvsadm-rs show --traffic --interval 4s --json-lines"));
            // The first reading is over now, unless the machine is very slow.
            std::thread::sleep(Duration::from_secs(1));
            submit(&mut writer, &[Change::DeleteService(gone), service(new)]);
            show.join().unwrap()
        });
        let lines = json_lines(&shown.ok());
        let find = |address: &str| lines.iter().find(|line| line["address"] == address);
        lines.iter().for_each(|line| check_rates(&line["per_second"], line));
        match (find("192.0.3.1"), find("192.0.3.2")) {
            (None, Some(new)) if new.get("per_second").is_none() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // The only service that was named is gone.
    let missing = run("ipvsadm-rs show --traffic --interval 2s -t 192.0.3.1:80");
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""), "{missing}");
    assert!(missing.stderr.starts_with("error: no service tcp:192.0.3.1:80\n"), "{missing}");
}
