//! The comparison of two directors, for `which --compare` and `diff --director`.

mod difference;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use ipvs::document::SCHEMA;
use ipvs::estimate::{Alike, differences, differing_clients};
use ipvs::hash::{LookupTable, TableSizes};
use ipvs::{Config, Order, Selector, ServiceConfig, ServiceKey};
use serde::Serialize;

use crate::context::{Context, code};
use crate::file::{self, DaemonOptions, Format};
use crate::plan::clients::rounded;
use crate::plan::report::ServiceName;
use crate::sight::reading;
use crate::terminal::plural::count;
use crate::terminal::width::Size;
use difference::{Described, Value, write_folded};

/// The maximum time to compute shares of clients. Shares of further services are not computed.
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
    let here = Config::from(&reading::read(&mut context.open()?)?);
    let compared = Compared::new(&here, &there, name, only, sizes)?;
    if context.json {
        context.write_json(&compared)?;
    } else {
        let width = Size::of_stdout().map(|size| size.columns);
        context.write(|out| compared.write_text(out, width))?;
    }
    Ok(if compared.alike { code::DONE } else { code::CHANGES })
}

/// The result for all services.
#[derive(Debug, Serialize)]
struct Compared {
    schema: u32,
    file: String,
    alike: bool,
    services: Vec<Row>,
    /// Aspects that could not be compared.
    notes: Vec<String>,
}

/// The result for one service.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(skip)]
    key: ServiceKey,
    service: ServiceName,
    alike: bool,
    /// The share of new clients that get another server, 0 to 1. The maximum if it is a range. Absent unless both
    /// schedulers hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// The minimum, if the share depends on values that the kernel does not report.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_share: Option<f64>,
    /// Servers of weight 0 whose weight before is unknown and used by mh.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_last_weights: Vec<String>,
    differences: Vec<Described>,
}

impl Compared {
    fn new(here: &Config, there: &Config, file: String, only: &[Selector], sizes: TableSizes) -> anyhow::Result<Self> {
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
        let by_key = |config: &'_ Config| -> HashMap<ServiceKey, usize> {
            config.services.iter().enumerate().map(|(place, service)| (service.service.key, place)).collect()
        };
        let (places_here, places_there) = (by_key(here), by_key(there));
        let mut notes = Vec::new();
        let mut services = Vec::with_capacity(keys.len());
        let deadline = Instant::now() + TIME;
        let mut not_computed: u64 = 0;
        let mut needs_order = false;
        let mut has_thresholds = false;
        for key in keys {
            let one = places_here.get(&key).and_then(|place| here.services.get(*place));
            let other = places_there.get(&key).and_then(|place| there.services.get(*place));
            for side in [one, other].into_iter().flatten() {
                needs_order |= side.service.scheduler.depends_on_order() && side.destinations.len() > 1;
                has_thresholds |= side.destinations.iter().any(|server| server.upper_threshold > 0);
            }
            let mut row = Row::new(key, one, other, sizes);
            if let (Some(one), Some(other)) = (one, other) {
                let is_late = Instant::now() >= deadline;
                not_computed += u64::from(is_late && row.needs_share());
                if !is_late && row.needs_share() {
                    row.compute_share(one, other, sizes);
                }
            }
            services.push(row);
        }
        if not_computed > 0 {
            let services = count(not_computed, "service");
            notes.push(format!("not computed for {services}, because there are too many: the share of clients"));
        }
        if needs_order && there.order == Order::Any {
            notes.push(format!(
                "{file} does not state that its servers are in the kernel's order: they were compared as if the first \
                 one was added first"
            ));
        }
        if has_thresholds {
            notes.push("not compared: whether servers have as many connections as their thresholds".into());
        }
        if services.iter().any(|row| row.share.is_some()) {
            notes.push("not compared: the sizes of the hash tables, which are build options of the kernels".into());
        }
        let alike = services.iter().all(|row| row.alike);
        Ok(Self { schema: SCHEMA, file, alike, services, notes })
    }

    fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        for row in &self.services {
            row.write_text(out, width)?;
        }
        let differ = self.services.iter().filter(|row| !row.alike).count();
        let same = self.services.len() - differ;
        let verb = |number: usize| if number == 1 { "is" } else { "are" };
        let mut summary = format!("{} {} alike", count(same, "service"), verb(same));
        if differ > 0 {
            summary += &format!(", {differ} {} not", verb(differ));
        }
        writeln!(out, "{summary}")?;
        for note in &self.notes {
            write_folded(out, width, "", &format!("note: {note}"))?;
        }
        Ok(())
    }
}

impl Row {
    fn new(key: ServiceKey, here: Option<&ServiceConfig>, there: Option<&ServiceConfig>, sizes: TableSizes) -> Self {
        let service = key.into();
        let (Some(one), Some(other)) = (here, there) else {
            let present = |side: Option<&ServiceConfig>| side.map(|_| Value::Text(key.to_string()));
            let missing = Described { what: "service", server: None, here: present(here), there: present(there) };
            return Self {
                key,
                service,
                alike: false,
                share: None,
                min_share: None,
                unknown_last_weights: Vec::new(),
                differences: vec![missing],
            };
        };
        let Alike { is_alike, differences, unknown_last_weights, .. } = differences(one, other, sizes);
        let schedulers = (one.service.scheduler, other.service.scheduler);
        Self {
            key,
            service,
            alike: is_alike,
            share: (is_alike && LookupTable::exists_for(&one.service)).then_some(0.0),
            min_share: None,
            unknown_last_weights: unknown_last_weights.iter().map(ToString::to_string).collect(),
            differences: differences.iter().map(|difference| Described::new(difference, schedulers)).collect(),
        }
    }

    /// Returns whether the share of clients is not known to be 0.
    fn needs_share(&self) -> bool {
        !self.alike || !self.unknown_last_weights.is_empty()
    }

    fn compute_share(&mut self, here: &ServiceConfig, there: &ServiceConfig, sizes: TableSizes) {
        let range = differing_clients(here, there, sizes).map(|effect| effect.differing());
        self.share = range.map(|(_, most)| most);
        self.min_share = range.and_then(|(least, most)| (least < most).then_some(least));
    }

    fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let verdict = if self.alike { "alike" } else { "not alike" };
        let share = match (self.share, self.min_share) {
            (Some(most), None) if most > 0.0 => Some(format!("{} %", rounded(most * 100.0, 1))),
            (Some(most), Some(least)) if !self.alike => {
                Some(format!("{} to {} %", rounded(least * 100.0, 1), rounded(most * 100.0, 1)))
            }
            _ => None,
        };
        let share = share.map(|share| format!(": {share} of new clients get another server")).unwrap_or_default();
        let although = if self.alike && !self.differences.is_empty() { ", although settings differ" } else { "" };
        writeln!(out, "{}: {verdict}{share}{although}", self.key)?;
        for difference in &self.differences {
            difference.write_text(out, width)?;
        }
        if !self.unknown_last_weights.is_empty() {
            let servers = match self.unknown_last_weights.as_slice() {
                [one] => one.clone(),
                several => count(several.len(), "server"),
            };
            let most = self.share.map(|share| format!("up to {} % of ", rounded(share * 100.0, 1)));
            let text = format!(
                "the kernels do not report the weight of {servers} before weight 0: if it differs, {}new clients get \
                 another server",
                most.unwrap_or_default()
            );
            write_folded(out, width, "  ", &text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::config;

    fn text(here: &str, there: &str) -> (bool, String) {
        let compared = Compared::new(&config(here), &config(there), "other".into(), &[], TableSizes::default())
            .expect("comparable");
        let mut out = Vec::new();
        compared.write_text(&mut out, Some(80)).expect("memory takes all");
        (compared.alike, String::from_utf8(out).expect("text"))
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
        let (alike, text) = text(
            &(rules("-s wrr", &[(1, 1), (2, 1)]) + "-A -u 192.0.2.1:53 -s rr\n"),
            &(rules("-s wrr -p 60", &[(1, 5), (3, 1)]) + "-A -f 7 -s rr\n"),
        );
        assert!(!alike);
        for line in [
            "TCP 192.0.2.1:80: not alike\n",
            "  persistence: none here, 60 s there\n",
            "  weight of 10.0.0.1:80: 1 here, 5 there\n",
            "  server only here: 10.0.0.2:80\n",
            "  server only there: 10.0.0.3:80\n",
            "UDP 192.0.2.1:53: not alike\n  service only here: UDP 192.0.2.1:53\n",
            "FWM 7: not alike\n  service only there: FWM 7\n",
            "0 services are alike, 3 are not\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
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
    fn selectors_must_select() {
        let config = config(&rules("-s sh", &[(1, 1)]));
        let only = ["udp".parse().expect("a selector")];
        let error = Compared::new(&config, &config, "other".into(), &only, TableSizes::default()).expect_err("none");
        assert_eq!(error.to_string(), "no service udp, neither here nor in other");
    }
}
