//! The way back from changes: a table in which the things that they changed have their old settings, and all others
//! their present ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use anyhow::Context as _;
use ipvs::plan::Options;
use ipvs::{
    Change, Config, Destination, DestinationKey, Director, Model, Role, ServiceConfig, ServiceKey, State, SyncDaemon,
};

/// The table that a reversal leads to, and the conflicts with later changes.
pub(crate) struct Reversal {
    /// The present table, with the old settings of everything that was changed.
    pub(crate) wanted: Config,
    /// Things that were changed again later. `wanted` has their old settings, too.
    pub(crate) conflicts: Vec<Conflict>,
}

/// A thing that is not as the changes left it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Conflict {
    Timeouts,
    Daemon(Role),
    Service(ServiceKey),
    Server(ServiceKey, DestinationKey),
}

/// Formats as `TCP 192.0.2.1:80, server 10.0.0.1:80`.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeouts => f.write_str("the timeouts"),
            Self::Daemon(role) => write!(f, "the {role} sync daemon"),
            Self::Service(service) => service.fmt(f),
            Self::Server(service, server) => write!(f, "{service}, server {server}"),
        }
    }
}

impl Conflict {
    /// Returns whether a change is about this thing.
    pub(crate) fn is_about(&self, change: &Change) -> bool {
        match (self, change) {
            (_, Change::Flush) => matches!(self, Self::Service(_) | Self::Server(..)),
            (Self::Timeouts, Change::SetTimeouts(_)) => true,
            (Self::Daemon(role), Change::StopDaemon(stopped)) => role == stopped,
            (Self::Daemon(role), Change::StartDaemon(started)) => *role == started.role,
            (Self::Service(key), change) => change.service() == Some(*key),
            (Self::Server(key, _), Change::DeleteService(service)) => service == key,
            (Self::Server(key, server), change) => {
                change.service() == Some(*key) && change.destination() == Some(*server)
            }
            _ => false,
        }
    }
}

/// The things that changes touch.
#[derive(Default)]
struct Touched {
    services: BTreeMap<ServiceKey, TouchedService>,
    timeouts: bool,
    daemons: BTreeSet<Role>,
}

#[derive(Default)]
struct TouchedService {
    /// Whether the service itself was added, edited or deleted.
    is_itself: bool,
    servers: BTreeSet<DestinationKey>,
}

impl Touched {
    fn of(changes: &[Change], before: &Config) -> Self {
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::AddService(service) | Change::EditService(service) => touched.service(service.key),
                Change::DeleteService(key) => touched.whole(before, |service| service.service.key == *key),
                Change::Flush => touched.whole(before, |_| true),
                Change::AddDestination(key, server) | Change::EditDestination(key, server) => {
                    touched.server(*key, server.key);
                }
                Change::DeleteDestination(key, server) => touched.server(*key, *server),
                Change::SetTimeouts(_) => touched.timeouts = true,
                Change::StartDaemon(daemon) => _ = touched.daemons.insert(daemon.role),
                Change::StopDaemon(role) => _ = touched.daemons.insert(*role),
                _ => {}
            }
        }
        touched
    }

    fn service(&mut self, key: ServiceKey) {
        self.services.entry(key).or_default().is_itself = true;
    }

    fn server(&mut self, key: ServiceKey, server: DestinationKey) {
        self.services.entry(key).or_default().servers.insert(server);
    }

    /// Adds services with all their servers.
    fn whole(&mut self, before: &Config, is_meant: impl Fn(&ServiceConfig) -> bool) {
        for service in before.services.iter().filter(|service| is_meant(service)) {
            let key = service.service.key;
            self.service(key);
            service.destinations.iter().for_each(|server| self.server(key, server.key));
        }
    }
}

/// Returns a table as if it had been read.
pub(crate) fn state_of(config: &Config) -> anyhow::Result<State> {
    let mut director = Model::new();
    ipvs::apply(&mut director, config, &Options::default())?;
    Ok(director.state()?)
}

/// Returns the table after the changes. Changes that the table before does not allow are skipped.
pub(crate) fn table_after(before: &Config, changes: &[Change]) -> anyhow::Result<Config> {
    let before = state_of(before).context("the table from before the plan is not valid")?;
    let mut director = Model::with_state(before);
    director.submit(changes)?.iter().for_each(drop);
    Ok(Config::from(&director.state()?))
}

/// Returns the way back from changes that were made to the table `before`. If they cannot be reversed one by one, the
/// table has changed since: see [`Reversal::conflicts`].
pub(crate) fn reversal(before: &Config, changes: &[Change], now: &State) -> anyhow::Result<Reversal> {
    let after = table_after(before, changes)?;
    let touched = Touched::of(changes, before);
    let mut way = Way { wanted: Config::from(now), conflicts: Vec::new() };
    if touched.timeouts {
        way.timeouts(before, &after);
    }
    for role in touched.daemons {
        way.daemon(role, before, &after);
    }
    let tables = [before, &after].map(by_key);
    for (key, touched) in touched.services {
        let [before, after] = [0, 1].map(|table| tables[table].get(&key).copied());
        way.service(key, &touched, before, after);
    }
    Ok(Reversal { wanted: way.wanted, conflicts: way.conflicts })
}

fn by_key(config: &Config) -> HashMap<ServiceKey, &ServiceConfig> {
    config.services.iter().map(|service| (service.service.key, service)).collect()
}

struct Way {
    /// The present table, until a thing gets its old settings.
    wanted: Config,
    conflicts: Vec<Conflict>,
}

impl Way {
    fn timeouts(&mut self, before: &Config, after: &Config) {
        if self.wanted.timeouts != after.timeouts {
            self.conflicts.push(Conflict::Timeouts);
        }
        self.wanted.timeouts = before.timeouts.or(self.wanted.timeouts);
    }

    fn daemon(&mut self, role: Role, before: &Config, after: &Config) {
        let of = |config: &Config| config.daemons.iter().flatten().find(|daemon| daemon.role == role).copied();
        let is_as_left = |now: Option<SyncDaemon>, left: Option<SyncDaemon>| match (now, left) {
            (Some(now), Some(left)) => left.is_met_by(&now),
            (now, left) => now.is_none() && left.is_none(),
        };
        if !is_as_left(of(&self.wanted), of(after)) {
            self.conflicts.push(Conflict::Daemon(role));
        }
        let daemons = self.wanted.daemons.get_or_insert_default();
        daemons.retain(|daemon| daemon.role != role);
        daemons.extend(of(before));
    }

    fn service(
        &mut self,
        key: ServiceKey,
        touched: &TouchedService,
        before: Option<&ServiceConfig>,
        after: Option<&ServiceConfig>,
    ) {
        let place = self.wanted.services.iter().position(|service| service.service.key == key);
        let (Some(place), is_itself) = (place, touched.is_itself) else {
            // It is not there now.
            if after.is_some() && before.is_some() {
                self.conflicts.push(Conflict::Service(key));
            }
            self.wanted.services.extend(before.cloned());
            return;
        };
        if is_itself {
            let now = self.wanted.services[place].service;
            let was_deleted = after.is_none();
            if after.is_some_and(|after| after.service != now)
                || was_deleted && before.is_some_and(|old| old.service != now)
            {
                self.conflicts.push(Conflict::Service(key));
            }
            match before {
                Some(before) => self.wanted.services[place].service = before.service,
                None => return self.delete(place, key, after),
            }
        }
        for server in &touched.servers {
            let of = |service: Option<&ServiceConfig>| {
                service?.destinations.iter().find(|destination| destination.key == *server).copied()
            };
            self.server(place, *server, of(before), of(after));
        }
    }

    /// Deletes a service that the changes added. Servers that were added to it later are conflicts.
    fn delete(&mut self, place: usize, key: ServiceKey, after: Option<&ServiceConfig>) {
        let service = self.wanted.services.remove(place);
        let known: BTreeSet<DestinationKey> =
            after.into_iter().flat_map(|service| &service.destinations).map(|server| server.key).collect();
        let unknown = service.destinations.iter().filter(|server| !known.contains(&server.key));
        self.conflicts.extend(unknown.map(|server| Conflict::Server(key, server.key)));
    }

    /// Gives a server its old settings. Its weight stays if the changes did not set it, because health checkers change
    /// weights.
    fn server(&mut self, place: usize, key: DestinationKey, before: Option<Destination>, after: Option<Destination>) {
        let service = &mut self.wanted.services[place];
        let now = service.destinations.iter().position(|server| server.key == key);
        let weight_counts = before.zip(after).is_some_and(|(before, after)| before.weight != after.weight);
        let differs = |one: &Destination, other: &Destination| {
            let other_weight = if weight_counts { other.weight } else { one.weight };
            *one != Destination { weight: other_weight, ..*other }
        };
        let is_in_the_way = match (before, after, now.map(|place| service.destinations[place])) {
            (_, Some(after), Some(now)) => differs(&after, &now),
            (Some(before), None, Some(now)) => differs(&before, &now),
            (Some(_), Some(_), None) => true,
            _ => false,
        };
        match (before, now) {
            (Some(before), Some(now)) => {
                let now = &mut service.destinations[now];
                let weight = if weight_counts { before.weight } else { now.weight };
                *now = Destination { weight, ..before };
            }
            (Some(before), None) => service.destinations.push(before),
            (None, Some(now)) => _ = service.destinations.remove(now),
            (None, None) => {}
        }
        if is_in_the_way {
            self.conflicts.push(Conflict::Server(service.service.key, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    /// Makes the changes from one table to another, then those to a third one, and reverts the first. Returns the
    /// changes of the way back, and the conflicts.
    fn back(before: &str, after: &str, now: &str) -> (Vec<String>, Vec<String>) {
        let changes = ipvs::plan(&config(after), &state(before), &Options::default()).changes;
        let now = state(now);
        let before = Config::from(&state(before));
        let Reversal { wanted, conflicts } = reversal(&before, &changes, &now).expect("valid");
        let plan = ipvs::plan(&wanted, &now, &Options::default());
        let text = |change: &Change| change.to_string();
        (plan.changes.iter().map(text).collect(), conflicts.iter().map(ToString::to_string).collect())
    }

    const ONE: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n";
    const MORE: &str = "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1\n";
    const OTHER: &str = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.7:80 -m -w 1\n";

    fn none() -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn later_changes_of_other_things_stay() {
        let after = format!("{ONE}{MORE}");
        let now = format!("{ONE}{MORE}{OTHER}--set 1000 0 0\n");
        assert_eq!(back(ONE, &after, &now), (vec!["-d -t 192.0.2.1:80 -r 10.0.0.2:80".into()], none()));
        let after = ONE.replace("-s rr", "-s wrr");
        let now = after.replace("-w 3", "-w 0");
        assert_eq!(back(ONE, &after, &now), (vec!["-E -t 192.0.2.1:80 -s rr".into()], none()));
    }

    #[test]
    fn weights_of_health_checkers_stay() {
        // The plan changed the method, and a health checker the weight.
        let after = ONE.replace("-m", "-g");
        let now = after.replace("-w 3", "-w 0");
        assert_eq!(back(ONE, &after, &now), (vec!["-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0".into()], none()));
        // The plan added the server.
        let after = format!("{ONE}{MORE}");
        let now = after.replace("-w 1", "-w 0");
        assert_eq!(back(ONE, &after, &now), (vec!["-d -t 192.0.2.1:80 -r 10.0.0.2:80".into()], none()));
        // The plan set the weight itself.
        let (after, now) = (ONE.replace("-w 3", "-w 0"), ONE.replace("-w 3", "-w 9"));
        assert_eq!(back(ONE, &after, &now).1, ["TCP 192.0.2.1:80, server 10.0.0.1:80"]);
    }

    #[test]
    fn a_flush_is_reverted() {
        let before = format!("{ONE}{OTHER}");
        let lines = |rules: &str| rules.lines().map(str::to_owned).collect::<Vec<_>>();
        let now = state(OTHER);
        let Reversal { wanted, conflicts } =
            reversal(&Config::from(&state(&before)), &[Change::Flush], &now).expect("valid");
        assert_eq!(conflicts, [], "the other service is as it was");
        let plan = ipvs::plan(&wanted, &now, &Options::default());
        assert_eq!(plan.changes.iter().map(ToString::to_string).collect::<Vec<_>>(), lines(ONE));
    }

    #[test]
    fn things_that_changed_again_are_conflicts() {
        for (before, after, now, conflict) in [
            // The scheduler was changed again.
            (ONE.to_owned(), ONE.replace("-s rr", "-s wrr"), ONE.replace("-s rr", "-s lc"), "TCP 192.0.2.1:80"),
            // The service was deleted by the plan, and is there with another scheduler.
            (ONE.to_owned(), String::new(), ONE.replace("-s rr", "-s lc"), "TCP 192.0.2.1:80"),
            // The service was added by the plan, and has got another server.
            (String::new(), ONE.to_owned(), format!("{ONE}{MORE}"), "TCP 192.0.2.1:80, server 10.0.0.2:80"),
            // The server was edited by the plan, and was deleted.
            (
                ONE.to_owned(),
                ONE.replace("-m", "-g"),
                "-A -t 192.0.2.1:80 -s rr\n".to_owned(),
                "TCP 192.0.2.1:80, server 10.0.0.1:80",
            ),
            // The service was edited by the plan, and was deleted.
            (ONE.to_owned(), ONE.replace("-s rr", "-s wrr"), String::new(), "TCP 192.0.2.1:80"),
            (
                "--set 900 120 300\n".to_owned(),
                "--set 901 0 0\n".to_owned(),
                "--set 902 0 0\n".to_owned(),
                "the timeouts",
            ),
            (
                String::new(),
                "--start-daemon backup --mcast-interface lo\n".to_owned(),
                "--start-daemon backup --mcast-interface eth0\n".to_owned(),
                "the backup sync daemon",
            ),
        ] {
            assert_eq!(back(&before, &after, &now).1, [conflict], "{before}{after}{now}");
        }
    }

    #[test]
    fn restored_settings_are_no_conflict() {
        // The plan deleted a server, and somebody added it again. The plan added one, and somebody deleted it.
        let (before, after) = (format!("{ONE}{MORE}"), ONE.to_owned());
        assert_eq!(back(&before, &after, &before), (none(), none()));
        assert_eq!(back(&after, &before, &after), (none(), none()));
        assert_eq!(back(ONE, "", ONE), (none(), none()));
        assert_eq!(back("", ONE, ""), (none(), none()));
    }

    #[test]
    fn conflicts_name_the_changes_they_are_about() {
        let change = |line: &str| ipvs::plan(&config(line), &State::default(), &Options::default()).changes;
        let server = Conflict::Server(ServiceKey::tcp([192, 0, 2, 1], 80), DestinationKey::from(([10, 0, 0, 1], 80)));
        let about: Vec<bool> = change(ONE).iter().map(|change| server.is_about(change)).collect();
        assert_eq!(about, [false, true]);
        assert!(server.is_about(&Change::Flush) && !Conflict::Timeouts.is_about(&Change::Flush));
    }
}
