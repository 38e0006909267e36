//! The comparison of two directors: whether both select the same servers for the same clients.

use std::collections::{HashMap, HashSet};

use super::{Assumption, Effect, Scheduling, Selection};
use crate::destination::Destination;
use crate::hash::TableSizes;
use crate::key::DestinationKey;
use crate::name::{Engine, Scheduler};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{DestinationState, ServiceConfig, ServiceState};

/// A setting that affects the selection of servers, and that differs between two directors. The first value is that of
/// the first director.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The schedulers.
    Scheduler(Scheduler, Scheduler),
    /// The flags of a hashing scheduler.
    Flags(SchedulerFlags, SchedulerFlags),
    /// The persistence timeouts in seconds. `None`: no persistence.
    Persistence(Option<u32>, Option<u32>),
    /// The networks that persistence treats as one client.
    Netmask(Netmask, Netmask),
    /// The persistence engines.
    Engine(Option<Engine>, Option<Engine>),
    /// One-packet scheduling: a server is selected for each UDP packet.
    OnePacket(bool, bool),
    /// A server that only the first director has.
    OnlyFirst(DestinationKey),
    /// A server that only the second director has.
    OnlySecond(DestinationKey),
    /// The weights of a server.
    Weight(DestinationKey, u32, u32),
    /// The upper and lower thresholds of a server, in connections. 0: none.
    Thresholds(DestinationKey, (u32, u32), (u32, u32)),
    /// The order of the servers that both directors have, the oldest first. It is compared only if a scheduler depends
    /// on it.
    Order(Vec<DestinationKey>, Vec<DestinationKey>),
}

/// The settings of one service that differ between two directors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Differences {
    /// The settings that affect the selection of servers. Without any, the services are alike.
    pub settings: Vec<Difference>,
    /// True if the services can be alike although settings differ: both hash, and only the inputs of their tables differ.
    /// Then [`tables_alike`] decides. Otherwise services with different settings are not alike.
    pub tables_decide: bool,
    /// Servers of weight 0 whose last weight is unknown and used by mh. Services are alike only if these weights are, too.
    pub unknown_last_weights: Vec<DestinationKey>,
}

/// Compares the settings of one service on two directors. The destinations are the oldest first, as in the kernel.
///
/// The services are *alike* if both directors send the same clients to the same servers. Connections are not compared:
/// servers are assumed to be below their thresholds. [`tables_alike`] and [`differing_clients`] compare hash tables,
/// which takes longer.
///
/// ```
/// use ipvs::estimate::{Difference, differences, differing_clients, tables_alike};
/// use ipvs::hash::TableSizes;
/// use ipvs::{Destination, Forwarding, Scheduler, Service, ServiceConfig, ServiceKey};
///
/// let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::SH);
/// let server = |last| Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade);
/// let here = ServiceConfig { service, destinations: vec![server(1), server(2)] };
/// let there = ServiceConfig { service, destinations: vec![server(2), server(1)] };
///
/// let found = differences(&here, &there);
/// assert!(found.tables_decide && matches!(found.settings[..], [Difference::Order(..)]));
/// assert_eq!(tables_alike(&here, &there, TableSizes::default()), Some(false));
/// let effect = differing_clients(&here, &there, TableSizes::default()).unwrap();
/// assert_eq!(effect.differing(), (1.0, 1.0));
/// ```
pub fn differences(first: &ServiceConfig, second: &ServiceConfig) -> Differences {
    let sides = [first, second];
    let settings = settings(first, second);
    let both_hash = sides.iter().all(|side| hashes(&side.service));
    let mut unknown_last_weights: Vec<DestinationKey> =
        sides.iter().filter(|side| side.service.scheduler == Scheduler::MH).flat_map(|side| weight_0(side)).collect();
    let mut seen = HashSet::new();
    unknown_last_weights.retain(|key| seen.insert(*key));
    let tables_decide = !settings.is_empty() && both_hash && settings.iter().all(is_input_of_table);
    Differences { settings, tables_decide, unknown_last_weights }
}

/// Returns whether the hash tables of one service are the same on two directors. Computes a table for each.
///
/// Returns `None` unless both schedulers hash, and if a kernel's table is unknown. [`differences`] has the other
/// settings, which are not compared here.
pub fn tables_alike(first: &ServiceConfig, second: &ServiceConfig, sizes: TableSizes) -> Option<bool> {
    if ![first, second].iter().all(|side| hashes(&side.service)) {
        return None;
    }
    let [first, second] = [first, second].map(scheduling);
    let mut is_alike = true;
    for assumption in [Assumption::Best, Assumption::Worst] {
        let sides = (first.selection(assumption, sizes)?, second.selection(assumption, sizes)?);
        is_alike &= match sides {
            (Selection::Table(first), Selection::Table(second)) => first.maps_like(&second),
            (Selection::One(first), Selection::One(second)) => first == second,
            (Selection::Nothing, Selection::Nothing) => true,
            _ => false,
        };
    }
    Some(is_alike)
}

/// Compares the servers of all new clients of a service on two directors. [`Effect::differing`] is the share of those
/// that get another server. It is a range if mh has servers of weight 0, because their last weights are not known.
///
/// Returns `None` unless both schedulers hash, and if the kernel's table is unknown.
pub fn differing_clients(first: &ServiceConfig, second: &ServiceConfig, sizes: TableSizes) -> Option<Effect> {
    if [first, second].iter().all(|side| hashes(&side.service)) {
        effect(&[first, second].map(scheduling), sizes)
    } else {
        None
    }
}

fn hashes(service: &Service) -> bool {
    crate::hash::LookupTable::exists_for(service)
}

/// Returns the service as if it had been read, without connections. The last weight of a server of weight 0 is unknown.
fn scheduling(config: &ServiceConfig) -> Scheduling {
    let mut state = ServiceState::new(config.service);
    state.destinations = config.destinations.iter().rev().copied().map(DestinationState::new).collect();
    Scheduling::new(&state)
}

/// Returns the servers of weight 0.
fn weight_0(config: &ServiceConfig) -> impl Iterator<Item = DestinationKey> {
    config.destinations.iter().filter(|server| server.weight == 0).map(|server| server.key)
}

/// Returns whether a setting is an input of the hash tables.
fn is_input_of_table(difference: &Difference) -> bool {
    use Difference::{Flags, OnlyFirst, OnlySecond, Order, Scheduler, Weight};
    matches!(difference, Scheduler(..) | Flags(..) | OnlyFirst(_) | OnlySecond(_) | Weight(..) | Order(..))
}

/// Compares the tables under all combinations of the assumptions. The two directors can have different last weights.
fn effect([first, second]: &[Scheduling; 2], sizes: TableSizes) -> Option<Effect> {
    let selections = |side: &Scheduling| {
        let best = side.selection(Assumption::Best, sizes)?;
        let worst = side.has_unknown().then(|| side.selection(Assumption::Worst, sizes)).flatten();
        Some(std::iter::once(best).chain(worst).collect::<Vec<_>>())
    };
    let (first, second) = (selections(first)?, selections(second)?);
    let pairs = first.iter().flat_map(|first| second.iter().map(move |second| (first, second)));
    Some(Effect::of(pairs.map(|(first, second)| first.compare(second).sum())))
}

/// Returns the settings that differ.
fn settings(first: &ServiceConfig, second: &ServiceConfig) -> Vec<Difference> {
    let (one, other) = (&first.service, &second.service);
    let mut found = Vec::new();
    let mut check = |differs: bool, difference: Difference| {
        if differs {
            found.push(difference);
        }
    };
    check(one.scheduler != other.scheduler, Difference::Scheduler(one.scheduler, other.scheduler));
    let uses_flags = [one, other].iter().any(|service| hashes(service) && service.scheduler != Scheduler::DH);
    check(uses_flags && one.flags != other.flags, Difference::Flags(one.flags, other.flags));
    check(one.persistence != other.persistence, Difference::Persistence(one.persistence, other.persistence));
    let both_persist = one.persistence.is_some() && other.persistence.is_some();
    check(both_persist && one.netmask != other.netmask, Difference::Netmask(one.netmask, other.netmask));
    check(both_persist && one.engine != other.engine, Difference::Engine(one.engine, other.engine));
    check(one.one_packet != other.one_packet, Difference::OnePacket(one.one_packet, other.one_packet));
    let uses_weights = [one, other].iter().any(|service| !ignores_weights(service.scheduler));
    found.extend(servers(&first.destinations, &second.destinations, uses_weights));
    if [one, other].iter().any(|service| service.scheduler.depends_on_order()) {
        found.extend(order(&first.destinations, &second.destinations));
    }
    found
}

/// Returns whether a scheduler only distinguishes weight 0 from other weights. See `ip_vs_rr_schedule` and
/// `ip_vs_lc_schedule`. dh is not one of them here, because its table is compared.
fn ignores_weights(scheduler: Scheduler) -> bool {
    [Scheduler::RR, Scheduler::LC].contains(&scheduler)
}

fn servers(first: &[Destination], second: &[Destination], uses_weights: bool) -> Vec<Difference> {
    let by_key = |side: &[Destination]| side.iter().map(|server| (server.key, *server)).collect::<HashMap<_, _>>();
    let (of_first, of_second) = (by_key(first), by_key(second));
    let mut found = Vec::new();
    for one in first {
        let key = one.key;
        let Some(other) = of_second.get(&key) else {
            found.push(Difference::OnlyFirst(key));
            continue;
        };
        let is_same = one.weight == other.weight || !uses_weights && (one.weight == 0) == (other.weight == 0);
        if !is_same {
            found.push(Difference::Weight(key, one.weight, other.weight));
        }
        let thresholds = |server: &Destination| (server.upper_threshold, server.lower_threshold);
        if thresholds(one) != thresholds(other) {
            found.push(Difference::Thresholds(key, thresholds(one), thresholds(other)));
        }
    }
    let only_second = second.iter().filter(|server| !of_first.contains_key(&server.key));
    found.extend(only_second.map(|server| Difference::OnlySecond(server.key)));
    found
}

/// Returns the order of the servers that both have, if it differs.
fn order(first: &[Destination], second: &[Destination]) -> Option<Difference> {
    let keys = |side: &[Destination]| side.iter().map(|server| server.key).collect::<HashSet<_>>();
    let (of_first, of_second) = (keys(first), keys(second));
    let common = |side: &[Destination], others: &HashSet<DestinationKey>| {
        side.iter().map(|server| server.key).filter(|key| others.contains(key)).collect::<Vec<_>>()
    };
    let (one, other) = (common(first, &of_second), common(second, &of_first));
    (one != other).then_some(Difference::Order(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Forwarding;
    use crate::key::ServiceKey;

    fn table(scheduler: Scheduler, servers: &[(u8, u32)]) -> ServiceConfig {
        let server = |(last, weight): &(u8, u32)| Destination {
            weight: *weight,
            ..Destination::new(([10, 0, 0, *last], 80), Forwarding::Masquerade)
        };
        ServiceConfig {
            service: Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), scheduler),
            destinations: servers.iter().map(server).collect(),
        }
    }

    /// Returns whether they are alike, the number of differences, and the share in percent.
    fn compare(first: &ServiceConfig, second: &ServiceConfig) -> (bool, usize, Option<(f64, f64)>) {
        let sizes = TableSizes::default();
        let Differences { settings, tables_decide, .. } = differences(first, second);
        let is_alike = settings.is_empty() || tables_decide && tables_alike(first, second, sizes) == Some(true);
        let effect = differing_clients(first, second, sizes);
        let percent = |share: f64| (share * 1000.0).round() / 10.0;
        let share = effect.map(|effect| effect.differing()).map(|(least, most)| (percent(least), percent(most)));
        (is_alike, settings.len(), share)
    }

    #[test]
    fn hash_tables_decide() {
        let of = |scheduler, servers: &[(u8, u32)]| table(scheduler, servers);
        let four = [(1, 1), (2, 1), (3, 1), (4, 1)];
        let reversed = [(4, 1), (3, 1), (2, 1), (1, 1)];
        let doubled = [(1, 2), (2, 2), (3, 2), (4, 2)];
        for (scheduler, second, expected) in [
            (Scheduler::SH, &four[..], (true, 0, Some((0.0, 0.0)))),
            (Scheduler::SH, &reversed, (false, 1, Some((100.0, 100.0)))),
            (Scheduler::MH, &reversed, (false, 1, Some((0.2, 0.2)))),
            (Scheduler::SH, &four[..3], (false, 1, Some((75.4, 75.4)))),
            (Scheduler::SH, &doubled, (false, 4, Some((75.0, 75.0)))),
            // mh divides weights by their common divisor, and dh does not use them.
            (Scheduler::MH, &doubled, (true, 4, Some((0.0, 0.0)))),
            (Scheduler::DH, &doubled, (true, 4, Some((0.0, 0.0)))),
            (Scheduler::RR, &four, (true, 0, None)),
            (Scheduler::RR, &reversed, (true, 0, None)),
            (Scheduler::WRR, &doubled, (false, 4, None)),
            (Scheduler::RR, &doubled, (true, 0, None)),
            (Scheduler::RR, &[(1, 0), (2, 1), (3, 1), (4, 1)], (false, 1, None)),
        ] {
            assert_eq!(compare(&of(scheduler, &four), &of(scheduler, second)), expected, "{scheduler} {second:?}");
        }
        assert_eq!(compare(&of(Scheduler::SH, &four), &of(Scheduler::RR, &four)), (false, 1, None));
    }

    #[test]
    fn settings_of_the_service() {
        let first = table(Scheduler::SH, &[(1, 1), (2, 1)]);
        let mut second = first.clone();
        second.service.persistence = Some(300);
        assert_eq!(compare(&first, &second), (false, 1, Some((0.0, 0.0))));
        let mut second = first.clone();
        second.service.flags = SchedulerFlags::PORT;
        assert_eq!(compare(&first, &second), (false, 1, Some((50.0, 50.0))), "the port changes the slot");
        second.service.scheduler = Scheduler::RR;
        let rr =
            ServiceConfig { service: Service { flags: SchedulerFlags::empty(), ..second.service }, ..second.clone() };
        assert_eq!(compare(&rr, &second), (true, 0, None), "rr has no flags");
        let mut second = first.clone();
        second.destinations[0].upper_threshold = 100;
        assert_eq!(compare(&first, &second), (false, 1, Some((0.0, 0.0))));
    }

    #[test]
    fn unknown_last_weights_are_a_range() {
        let mh = table(Scheduler::MH, &[(1, 1), (2, 1), (3, 0)]);
        let found = differences(&mh, &mh);
        assert_eq!((found.settings.len(), found.tables_decide, found.unknown_last_weights.len()), (0, false, 1));
        let (least, most) = differing_clients(&mh, &mh, TableSizes::default()).expect("hashes").differing();
        assert_eq!((least, (most * 100.0).round()), (0.0, 33.0));
    }

    #[test]
    fn tables_of_too_many_servers_are_unknown() {
        let sizes = TableSizes { mh_index: 8, ..TableSizes::default() };
        let one = table(Scheduler::MH, &[(1, 1)]);
        let mut many = one.clone();
        many.destinations = (0..=250)
            .map(|last| Destination::new(([10, 0, 1, last], 80), Forwarding::Masquerade))
            .chain(one.destinations.iter().copied())
            .collect();
        assert_eq!(tables_alike(&one, &many, sizes), None, "252 servers and 251 slots");
        assert_eq!(tables_alike(&one, &many, TableSizes::default()), Some(false));
        assert_eq!(tables_alike(&one, &table(Scheduler::RR, &[(1, 1)]), sizes), None);
    }
}
