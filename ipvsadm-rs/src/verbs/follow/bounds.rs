//! The limits of a revision. Beyond them, it is applied only after `ipvsadm-rs confirm`.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use clap::Args;
use ipvs::{Config, DestinationKey, Plan, Scope, ServiceConfig, ServiceKey, State};

use super::LIMITS;
use crate::plan::min_up::MinUp;
use crate::plan::reversal::table_after;

/// A share in percent, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percent(f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
        number
            .ok()
            .filter(|number| (0.0..=100.0).contains(number))
            .map(Self)
            .ok_or_else(|| "not a percentage from 0% to 100%".to_owned())
    }
}

impl Percent {
    pub(super) fn number(self) -> f64 {
        self.0
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct Bounds {
    /// Hold a revision that takes more than PERCENT of the servers out of service; 100% means no limit
    ///
    /// All servers with a weight above 0 count as in service. A revision takes a server out of service if it deletes it,
    /// or sets its weight to 0.
    #[arg(long, help_heading = LIMITS, value_name = "PERCENT", default_value = "50%")]
    max_change: Percent,
    /// Hold a revision that leaves a service with fewer than N servers, or N percent of them, with a weight above 0
    ///
    /// Services that have fewer now, and services that the revision deletes, are not checked. 0 means no limit.
    #[arg(long, help_heading = LIMITS, value_name = "N|N%", default_value = "1")]
    min_up: MinUp,
}

/// The servers of weight above 0, by service.
struct Up(HashMap<ServiceKey, HashSet<DestinationKey>>);

impl Up {
    fn of(config: &Config, scope: &Scope) -> Self {
        let up = |service: &ServiceConfig| {
            let servers = service.destinations.iter().filter(|server| server.weight > 0);
            (service.service.key, servers.map(|server| server.key).collect())
        };
        Self(config.services.iter().filter(|service| scope.contains(&service.service.key)).map(up).collect())
    }
}

impl Bounds {
    /// Returns the limit that a plan exceeds, in words. `None` if it exceeds none.
    pub(super) fn exceeded(&self, before: &State, plan: &Plan, wanted: &Config, scope: &Scope) -> Option<String> {
        let before = Config::from(before);
        let after = match table_after(&before, &plan.changes) {
            Ok(after) => after,
            Err(error) => return Some(format!("the effect of the plan is not known: {error:#}")),
        };
        let (up, up_after) = (Up::of(&before, scope), Up::of(&after, scope));
        self.too_much_change(&up, &up_after).or_else(|| self.too_few_up(&up, &up_after, wanted))
    }

    fn too_much_change(&self, before: &Up, after: &Up) -> Option<String> {
        let all: usize = before.0.values().map(HashSet::len).sum();
        let none = HashSet::new();
        let stays = |key: &ServiceKey, servers: &HashSet<DestinationKey>| {
            servers.intersection(after.0.get(key).unwrap_or(&none)).count()
        };
        let stay: usize = before.0.iter().map(|(key, servers)| stays(key, servers)).sum();
        let taken = all - stay;
        let share = if all == 0 { 0.0 } else { taken as f64 * 100.0 / all as f64 };
        (share > self.max_change.0).then(|| {
            format!("it takes {taken} of {all} servers out of service, and --max-change is {}%", self.max_change.0)
        })
    }

    fn too_few_up(&self, before: &Up, after: &Up, wanted: &Config) -> Option<String> {
        let mut services: Vec<&ServiceConfig> = wanted.services.iter().collect();
        services.sort_unstable_by_key(|service| service.service.key);
        services.into_iter().find_map(|service| {
            let key = service.service.key;
            let (before, after) = (before.0.get(&key)?.len(), after.0.get(&key).map_or(0, HashSet::len));
            let needed = self.min_up.of(service.destinations.len());
            (after < needed && after < before)
                .then(|| format!("it leaves {key} with {after} of {before} servers, and --min-up requires {needed}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    fn bounds(max_change: &str, min_up: &str) -> Bounds {
        Bounds { max_change: max_change.parse().expect("a share"), min_up: min_up.parse().expect("a number") }
    }

    fn table(weights: &[u32]) -> String {
        let servers = weights.iter().enumerate();
        let lines = servers.map(|(i, weight)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{} -m -w {weight}\n", i + 1));
        format!("-A -t 192.0.2.1:80 -s rr\n{}", lines.collect::<String>())
    }

    fn exceeded(bounds: &Bounds, before: &str, after: &str) -> Option<String> {
        let (before, wanted) = (state(before), config(after));
        let plan = ipvs::plan(&wanted, &before, &Default::default());
        bounds.exceeded(&before, &plan, &wanted, &Scope::default())
    }

    #[test]
    fn values_are_parsed() {
        assert_eq!("30%".parse(), Ok(Percent(30.0)));
        assert_eq!("0.5".parse(), Ok(Percent(0.5)));
        for wrong in ["", "%", "-1%", "101%", "nan", "inf"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_taken_out_of_service_count() {
        let bounds = bounds("30%", "0");
        let four = table(&[1, 1, 1, 1]);
        assert_eq!(exceeded(&bounds, &four, &table(&[1, 1, 1])), None, "25 %");
        assert_eq!(exceeded(&bounds, &four, &table(&[9, 9, 9, 9])), None, "other weights");
        assert_eq!(exceeded(&bounds, &four, &table(&[1; 9])), None, "more servers");
        let half = exceeded(&bounds, &four, &table(&[1, 1, 0, 0])).expect("50 %");
        assert!(half.contains("2 of 4 servers"), "{half}");
        assert!(exceeded(&bounds, &four, "-A -t 192.0.2.2:80 -s rr\n").is_some(), "a deleted service");
        assert_eq!(exceeded(&bounds, &table(&[0, 0]), ""), None, "no server was in service");
    }

    #[test]
    fn services_keep_servers() {
        let (one, half) = (bounds("100%", "1"), bounds("100%", "50%"));
        let four = table(&[1, 1, 1, 1]);
        assert_eq!(exceeded(&one, &four, &table(&[1])), None);
        assert!(exceeded(&one, &four, &table(&[0, 0])).expect("none is up").contains("0 of 4 servers"));
        assert!(exceeded(&half, &four, &table(&[1, 0, 0, 0])).is_some());
        assert_eq!(exceeded(&half, &four, &table(&[1, 1, 0, 0])), None);
        assert_eq!(exceeded(&one, &table(&[0]), &table(&[0, 0])), None, "no server is up now");
    }
}
