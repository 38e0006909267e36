//! The differences of a table that failed checks explain.

use std::collections::HashMap;
use std::fmt;

use ipvs::convert::{CheckedServer, Managed};
use ipvs::{Config, Destination, DestinationKey, ServiceKey, ServiceState, State};
use serde::Serialize;

use crate::plan::report::{ServerName, ServiceName};

/// A server whose state a failed check may explain.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct MaybeDown {
    #[serde(serialize_with = "as_service")]
    service: ServiceKey,
    #[serde(serialize_with = "as_server")]
    server: DestinationKey,
    seen: Seen,
    /// The weight in the file. `null` for a sorry or fallback server.
    expected_weight: Option<u32>,
    /// The weight in the table. `null` if the server is missing.
    weight: Option<u32>,
}

/// The difference from the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Missing,
    WeightZero,
    /// A check sets the weight.
    OtherWeight,
    /// The sorry or fallback server is in the table.
    FallbackPresent,
}

fn as_service<S: serde::Serializer>(service: &ServiceKey, serializer: S) -> Result<S::Ok, S::Error> {
    ServiceName::from(*service).serialize(serializer)
}

fn as_server<S: serde::Serializer>(server: &DestinationKey, serializer: S) -> Result<S::Ok, S::Error> {
    ServerName::from(*server).serialize(serializer)
}

impl fmt::Display for MaybeDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, server, seen, expected_weight, weight } = self;
        let (expected, weight) = (expected_weight.unwrap_or_default(), weight.unwrap_or_default());
        match seen {
            Seen::Missing => write!(f, "{service}: {server} is missing"),
            Seen::WeightZero => write!(f, "{service}: {server} has weight 0 instead of {expected}"),
            Seen::OtherWeight => {
                write!(f, "{service}: {server} has weight {weight} instead of {expected}, which a check sets")
            }
            Seen::FallbackPresent => write!(f, "{service}: the fallback {server} is present"),
        }
    }
}

/// Returns the table of the file with the differences that failed checks explain, and these differences.
pub(super) fn explain(mut config: Config, managed: &[Managed], state: &State) -> (Config, Vec<MaybeDown>) {
    let states: HashMap<ServiceKey, &ServiceState> =
        state.services.iter().map(|service| (service.service.key, service)).collect();
    let managed: HashMap<ServiceKey, &Managed> = managed.iter().map(|managed| (managed.service, managed)).collect();
    let mut found = Vec::new();
    for service in &mut config.services {
        let key = service.service.key;
        if let (Some(managed), Some(state)) = (managed.get(&key), states.get(&key)) {
            let live: HashMap<DestinationKey, Destination> =
                state.destinations.iter().map(|server| (server.destination.key, server.destination)).collect();
            explain_service(&mut service.destinations, managed, &live, &mut found);
        }
    }
    (config, found)
}

fn explain_service(
    servers: &mut Vec<Destination>,
    managed: &Managed,
    live: &HashMap<DestinationKey, Destination>,
    found: &mut Vec<MaybeDown>,
) {
    let service = managed.service;
    // Without a check, no server fails, and the fallback is not added.
    let is_used = |server: &Destination| servers.iter().any(|other| other.key == server.key && other.weight > 0);
    let fallback = managed.fallback.filter(|fallback| !managed.checked.is_empty() && !is_used(fallback));
    let fallback_weight = fallback.and_then(|fallback| live.get(&fallback.key)).map(|server| server.weight);
    let is_fallback_up = fallback_weight.is_some_and(|weight| weight > 0);
    if let Some(fallback) = fallback.filter(|_| is_fallback_up) {
        // With sorry_server_inhibit, it is in the table with weight 0 while it is not used.
        servers.retain(|server| server.key != fallback.key);
    }
    let checked: HashMap<DestinationKey, &CheckedServer> =
        managed.checked.iter().map(|checked| (checked.server, checked)).collect();
    servers.retain_mut(|server| {
        let check = checked.get(&server.key);
        if check.is_none() && !is_fallback_up {
            return true;
        }
        let (weight, expected_weight) = (live.get(&server.key).map(|server| server.weight), Some(server.weight));
        let seen = match weight {
            None => Seen::Missing,
            Some(weight) if weight == server.weight => return true,
            Some(0) => Seen::WeightZero,
            Some(_) if check.is_some_and(|check| check.sets_weight) => Seen::OtherWeight,
            Some(_) => return true,
        };
        found.push(MaybeDown { service, server: server.key, seen, expected_weight, weight });
        server.weight = weight.unwrap_or_default();
        weight.is_some()
    });
    if let (Some(fallback), true) = (fallback, is_fallback_up) {
        let (server, seen, weight) = (fallback.key, Seen::FallbackPresent, fallback_weight);
        found.push(MaybeDown { service, server, seen, expected_weight: None, weight });
        servers.push(Destination { weight: weight.unwrap_or_default(), ..fallback });
    }
}

#[cfg(test)]
mod tests {
    use ipvs::keepalived::{NoIncludes, Options, read};
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model, apply, plan};

    use super::*;

    const FILE: &[u8] = b"
        virtual_server 192.0.2.1 80 {
            lvs_sched rr
            protocol TCP
            sorry_server 127.0.0.1 80
            real_server 10.0.0.1 80 { TCP_CHECK { } }
            real_server 10.0.0.2 80 { weight 2
                MISC_CHECK { misc_dynamic } }
            real_server 10.0.0.3 80 { }
        }";

    /// Returns the servers that may be down, and the changes that would remove the differences.
    fn compare(rules: &str) -> (Vec<String>, Vec<String>) {
        let converted = read("f", FILE, &Options::default(), &mut NoIncludes).expect("reads");
        let mut director = Model::new();
        let live = read_config(rules.as_bytes(), &mut Numeric).expect("reads").config;
        apply(&mut director, &live, &plan::Options::default()).expect("applies");
        let state = director.state().expect("a model");
        let (expected, found) = explain(converted.config, &converted.managed, &state);
        let plan = plan(&expected, &state, &plan::Options::default());
        (found.iter().map(ToString::to_string).collect(), plan.changes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn failed_checks_are_no_differences() {
        const SERVICE: &str = "-A -t 192.0.2.1:80 -s rr\n";
        let line = |server: &str, weight| format!("-a -t 192.0.2.1:80 -r {server}:80 -m -w {weight}\n");
        let down = |text: &str| format!("TCP 192.0.2.1:80: {text}");
        type Case = (&'static [(&'static str, u32)], &'static [&'static str], &'static [&'static str]);
        let cases: &[Case] = &[
            (&[("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 1)], &[], &[]),
            (
                &[("10.0.0.1", 0), ("10.0.0.3", 1)],
                &["10.0.0.1:80 has weight 0 instead of 1", "10.0.0.2:80 is missing"],
                &[],
            ),
            (
                &[("10.0.0.1", 1), ("10.0.0.2", 9), ("10.0.0.3", 1)],
                &["10.0.0.2:80 has weight 9 instead of 2, which a check sets"],
                &[],
            ),
            // A server without a check fails only together with the others.
            (&[("10.0.0.1", 1), ("10.0.0.2", 2)], &[], &["-a -t 192.0.2.1:80 -r 10.0.0.3:80 -m -w 1"]),
            (
                &[("127.0.0.1", 1)],
                &[
                    "10.0.0.1:80 is missing",
                    "10.0.0.2:80 is missing",
                    "10.0.0.3:80 is missing",
                    "the fallback 127.0.0.1:80 is present",
                ],
                &[],
            ),
            (
                &[("10.0.0.1", 7), ("10.0.0.2", 2), ("10.0.0.3", 1), ("10.0.0.4", 1)],
                &[],
                &["-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1", "-d -t 192.0.2.1:80 -r 10.0.0.4:80"],
            ),
        ];
        for (servers, found, changes) in cases {
            let lines: String = servers.iter().map(|(server, weight)| line(server, *weight)).collect();
            let found: Vec<String> = found.iter().map(|text| down(text)).collect();
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            assert_eq!(compare(&format!("{SERVICE}{lines}")), (found, changes), "{lines}");
        }
    }
}
