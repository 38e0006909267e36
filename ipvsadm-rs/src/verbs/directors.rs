//! The comparison of two directors, for `which --compare`, `diff --director` and `fleet`.

mod difference;
mod service;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use ipvs::document::SCHEMA;
use ipvs::hash::TableSizes;
use ipvs::{Config, Order, Selector, ServiceConfig, ServiceKey};
use serde::Serialize;

use crate::context::{Context, code};
use crate::file::{self, DaemonOptions, Format};
use crate::sight::reading;
use crate::terminal::plural::count;
use crate::terminal::width::Size;
use difference::write_folded;
use service::{Compared, Verdict};

/// The maximum time to compute hash tables and shares of clients. The computation for one service, which is completed in
/// any case, takes at most 2 seconds with the largest tables.
const TIME: Duration = Duration::from_secs(5);

/// Compares this director with the table of another one in a file, and prints the result. Without selectors, all
/// services are compared. Returns the exit code: 0 if both send clients to the same servers, and 2 if not.
///
/// Fails if the table or the file cannot be read, if the file has errors, or if a selector selects no service of either.
pub(super) fn compare(
    context: &Context,
    path: &Path,
    format: Option<Format>,
    options: &DaemonOptions,
    only: &[Selector],
    sizes: TableSizes,
) -> anyhow::Result<u8> {
    let input = file::read(path, format, options)?;
    let (name, is_blank) = (input.name.clone(), input.is_blank);
    input.print_diagnostics();
    input.print_left();
    let there = input.config.map_err(|errors| anyhow::anyhow!("{name}: {}", count(errors.len(), "error")))?;
    if is_blank {
        bail!("{name}: the file contains no rules");
    }
    let here = Config::from(&reading::read(&mut context.open_loaded()?)?);
    let comparison = Comparison::new(&here, &there, name, only, sizes, TIME)?;
    if context.json {
        context.write_json(&comparison.document())?;
    } else {
        let width = Size::of_stdout().map(|size| size.columns);
        context.write(|out| comparison.write_text(out, width))?;
    }
    Ok(if comparison.is_alike() == Some(true) { code::DONE } else { code::CHANGES })
}

/// Returns whether two tables are known to send the same clients to the same servers.
pub(super) fn are_alike(one: &Config, other: &Config, sizes: TableSizes) -> bool {
    let compared = Comparison::new(one, other, String::new(), &[], sizes, TIME);
    compared.is_ok_and(|compared| compared.is_alike() == Some(true))
}

/// The result for all services.
struct Comparison<'c> {
    file: String,
    services: Vec<Compared<'c>>,
    /// Aspects that could not be compared.
    notes: Vec<String>,
}

/// The result as JSON.
#[derive(Serialize)]
struct Document<'c> {
    schema: u32,
    file: &'c str,
    /// `null`: no service is known to differ, and some could not be compared.
    alike: Option<bool>,
    services: Vec<service::Row>,
    notes: &'c [String],
}

impl<'c> Comparison<'c> {
    fn new(
        here: &'c Config,
        there: &'c Config,
        file: String,
        only: &[Selector],
        sizes: TableSizes,
        time: Duration,
    ) -> anyhow::Result<Self> {
        let all = || here.services.iter().chain(&there.services).map(|service| service.service.key);
        for selector in only {
            if !all().any(|key| selector.selects(&key)) {
                bail!("no service {selector}, neither here nor in {file}");
            }
        }
        let mut keys: Vec<ServiceKey> =
            all().filter(|key| only.is_empty() || only.iter().any(|selector| selector.selects(key))).collect();
        keys.sort_unstable();
        keys.dedup();
        let (services_here, services_there) = (by_key(here), by_key(there));
        let of = |key| Compared::new(key, services_here.get(&key).copied(), services_there.get(&key).copied());
        let mut services: Vec<Compared<'_>> = keys.into_iter().map(of).collect();
        let mut notes = compute(&mut services, sizes, time);
        notes.extend(limits_of(&services, there.order, &file));
        Ok(Self { file, services, notes })
    }

    /// Returns whether all services are alike. `None`: some could not be compared, and the others are alike.
    fn is_alike(&self) -> Option<bool> {
        let has = |verdict| self.services.iter().any(|service| service.verdict == verdict);
        match (has(Verdict::NotAlike), has(Verdict::NotKnown)) {
            (true, _) => Some(false),
            (false, true) => None,
            (false, false) => Some(true),
        }
    }

    fn document(&self) -> Document<'_> {
        let services = self.services.iter().map(Compared::row).collect();
        Document { schema: SCHEMA, file: &self.file, alike: self.is_alike(), services, notes: &self.notes }
    }

    fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        for service in &self.services {
            service.write_text(out, width)?;
        }
        let number = |verdict| self.services.iter().filter(|service| service.verdict == verdict).count();
        let verb = |number: usize| if number == 1 { "is" } else { "are" };
        let same = number(Verdict::Alike);
        let mut summary = format!("{} {} alike", count(same, "service"), verb(same));
        for (number, what) in [(number(Verdict::NotAlike), "not"), (number(Verdict::NotKnown), "not known")] {
            if number > 0 {
                summary += &format!(", {number} {} {what}", verb(number));
            }
        }
        writeln!(out, "{summary}")?;
        for note in &self.notes {
            write_folded(out, width, "", &format!("note: {note}"))?;
        }
        Ok(())
    }
}

fn by_key(config: &Config) -> HashMap<ServiceKey, &ServiceConfig> {
    config.services.iter().map(|service| (service.service.key, service)).collect()
}

/// Compares hash tables, and then computes the shares of clients, until the time is over. Returns notes on the services
/// that are left.
fn compute(services: &mut [Compared<'_>], sizes: TableSizes, time: Duration) -> Vec<String> {
    let deadline = Instant::now() + time;
    let seconds = time.as_secs();
    let mut notes = Vec::new();
    let mut left = 0_usize;
    for service in services.iter_mut().filter(|service| service.needs_tables()) {
        if Instant::now() < deadline {
            service.compare_tables(sizes);
        } else {
            left += 1;
            service.skip_tables();
        }
    }
    if left > 0 {
        notes.push(format!(
            "not compared: the hash tables of {}, because {seconds} s were not enough. Select fewer services",
            count(left, "service")
        ));
    }
    left = 0;
    for service in services.iter_mut().filter(|service| service.needs_share()) {
        if Instant::now() < deadline {
            service.compute_share(sizes);
        } else {
            left += 1;
        }
    }
    if left > 0 {
        notes.push(format!(
            "not computed: the share of clients for {}, because {seconds} s were not enough. Select fewer services",
            count(left, "service")
        ));
    }
    notes
}

/// Returns notes on the aspects that are compared for no service.
fn limits_of(services: &[Compared<'_>], order_there: Order, file: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let sides = || services.iter().flat_map(Compared::sides);
    let needs_order = |side: &ServiceConfig| side.service.scheduler.depends_on_order() && side.destinations.len() > 1;
    if order_there == Order::Any && sides().any(needs_order) {
        notes.push(format!(
            "{file} does not state that its servers are in the kernel's order: they were compared as if the first one \
             was added first"
        ));
    }
    if sides().any(|side| side.destinations.iter().any(|server| server.upper_threshold > 0)) {
        notes.push("not compared: whether servers have as many connections as their thresholds".into());
    }
    if services.iter().any(Compared::used_tables) {
        notes.push("not compared: the sizes of the hash tables, which are build options of the kernels".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::config;

    fn with<T>(here: &str, there: &str, time: Duration, act: impl FnOnce(&Comparison<'_>) -> T) -> T {
        let (here, there) = (config(here), config(there));
        let sizes = TableSizes::default();
        act(&Comparison::new(&here, &there, "other".into(), &[], sizes, time).expect("comparable"))
    }

    fn text_in(here: &str, there: &str, time: Duration) -> (Option<bool>, String) {
        with(here, there, time, |comparison| {
            let mut out = Vec::new();
            comparison.write_text(&mut out, Some(80)).expect("memory takes all");
            let text = String::from_utf8(out).expect("text");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            (comparison.is_alike(), text)
        })
    }

    fn text(here: &str, there: &str) -> (bool, String) {
        let (is_alike, text) = text_in(here, there, Duration::from_secs(1000));
        (is_alike.expect("known"), text)
    }

    fn json(here: &str, there: &str) -> serde_json::Value {
        with(here, there, TIME, |comparison| serde_json::to_value(comparison.document()).expect("JSON"))
    }

    const ORDER: &str = "# ipvsadm-rs: order=kernel\n";

    fn rules(service: &str, servers: &[(u8, u32)]) -> String {
        let server = |(last, weight): &(u8, u32)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last} -m -w {weight}\n");
        format!("{ORDER}-A -t 192.0.2.1:80 {service}\n{}", servers.iter().map(server).collect::<String>())
    }

    #[test]
    fn order_decides_for_hashes() {
        let (here, there) = (rules("-s sh", &[(1, 1), (2, 1)]), rules("-s sh", &[(2, 1), (1, 1)]));
        let sizes = "note: not compared: the sizes of the hash tables, which are build options of\n  the kernels\n";
        assert_eq!(text(&here, &here), (true, format!("TCP 192.0.2.1:80: alike\n1 service is alike\n{sizes}")));
        assert_eq!(
            text(&here, &there),
            (
                false,
                format!(
                    "TCP 192.0.2.1:80: not alike: 100.0 % of new clients get another server\n  \
                     order of servers, the oldest first\n    here: 10.0.0.1:80, 10.0.0.2:80\n    \
                     there: 10.0.0.2:80, 10.0.0.1:80\n0 services are alike, 1 is not\n{sizes}"
                )
            )
        );
        let (alike, text) = text(&here, there.trim_start_matches(ORDER));
        assert!(!alike && text.contains("note: other does not state that"), "{text}");
    }

    #[test]
    fn settings_and_missing_services() {
        let here = rules("-s wrr", &[(1, 1), (2, 1)]) + "-A -u 192.0.2.1:53 -s rr\n";
        let there = rules("-s wrr -p 60", &[(1, 5), (3, 1)]) + "-A -f 7 -s rr\n";
        let (alike, text) = text(&here, &there);
        assert!(!alike);
        for line in [
            "TCP 192.0.2.1:80: not alike\n",
            "  persistence: none here, 60 s there\n",
            "  weight of 10.0.0.1:80: 1 here, 5 there\n",
            "  server only here: 10.0.0.2:80\n",
            "  server only there: 10.0.0.3:80\n",
            "UDP 192.0.2.1:53: not alike\n  service only here\n",
            "FWM 7: not alike\n  service only there\n",
            "0 services are alike, 3 are not\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let json = json(&here, &there);
        let [web, dns, _] = json["services"].as_array().expect("services").as_slice() else { panic!("three") };
        assert_eq!((&web["alike"], &web["service"]["port"]), (&false.into(), &80.into()));
        let weight = web["differences"].as_array().expect("a list").iter().find(|found| found["setting"] == "weight");
        let server = serde_json::json!({"address": "10.0.0.1", "port": 80});
        let expected = serde_json::json!({"setting": "weight", "server": server, "here": 1, "there": 5});
        assert_eq!(weight, Some(&expected));
        let missing = serde_json::json!([{"setting": "service", "here": true, "there": false}]);
        assert_eq!(dns["differences"], missing);
    }

    #[test]
    fn weights_that_do_not_matter() {
        let (alike, text) = text(&rules("-s mh", &[(1, 1), (2, 1)]), &rules("-s mh", &[(1, 2), (2, 2)]));
        assert!(alike && text.starts_with("TCP 192.0.2.1:80: alike, although settings differ\n"), "{text}");
    }

    #[test]
    fn weights_before_0_are_not_known() {
        let mh = rules("-s mh", &[(1, 1), (2, 1), (3, 0)]);
        let (alike, text) = text(&mh, &mh);
        assert!(alike && text.starts_with("TCP 192.0.2.1:80: alike\n"), "{text}");
        assert!(text.contains("do not report the weight of 10.0.0.3:80"), "{text}");
    }

    #[test]
    fn services_that_were_not_compared_are_reported() {
        let (here, there) = (rules("-s mh", &[(1, 1), (2, 1)]), rules("-s mh", &[(1, 2), (2, 2)]));
        let (alike, text) = text_in(&here, &there, Duration::ZERO);
        assert_eq!(alike, None);
        for part in [
            "TCP 192.0.2.1:80: not known: there was no time to compare the hash tables\n",
            "  weight of 10.0.0.1:80: 1 here, 2 there\n",
            "0 services are alike, 1 is not known\n",
            "note: not compared: the hash tables of 1 service, because 0 s were not enough.\n",
        ] {
            assert!(text.contains(part), "{part}{text}");
        }
        let json = with(&here, &there, Duration::ZERO, |comparison| serde_json::to_value(comparison.document()));
        let json = json.expect("JSON");
        assert_eq!((&json["alike"], &json["services"][0]["alike"]), (&().into(), &().into()));
        assert!(json["services"][0]["reason"].as_str().expect("a reason").contains("no time"));
        // Settings that no table decides about are compared in any case.
        let (alike, text) = text_in(&here, &rules("-s mh -p 60", &[(1, 1), (2, 1)]), Duration::ZERO);
        assert_eq!(alike, Some(false));
        assert!(text.contains("note: not computed: the share of clients for 1 service"), "{text}");
    }

    /// Each of the services has two tables for the largest kernel, which takes 20 ms and more.
    #[test]
    fn many_large_tables_take_limited_time() {
        let service = |n: u32, weight: u32| {
            let key = format!("10.1.{}.{}:80", n >> 8, n & 255);
            format!("-A -t {key} -s mh\n-a -t {key} -r 10.0.0.1 -m -w {weight}\n-a -t {key} -r 10.0.0.2 -m -w 1\n")
        };
        let table = |weight| config(&(0..1000).map(|n| service(n, weight)).collect::<String>());
        let sizes = TableSizes { mh_index: 17, ..TableSizes::default() };
        let time = Duration::from_millis(300);
        let (here, there) = (table(1), table(2));
        let start = Instant::now();
        let comparison = Comparison::new(&here, &there, "other".into(), &[], sizes, time).expect("comparable");
        assert!(start.elapsed() < time + Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(comparison.services.iter().any(|service| service.verdict == Verdict::NotKnown));
    }

    #[test]
    fn selectors_must_select() {
        let config = config(&rules("-s sh", &[(1, 1)]));
        let only = ["udp".parse().expect("a selector")];
        let compared = Comparison::new(&config, &config, "other".into(), &only, TableSizes::default(), TIME);
        assert_eq!(compared.err().expect("none").to_string(), "no service udp, neither here nor in other");
    }
}
