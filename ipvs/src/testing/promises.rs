//! The properties of every plan, from any table to any other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::plan::{Departing, Options};
use crate::{
    Change, Config, Destination, DestinationKey, Director, Family, Netmask, Order, Plan, Role, Service, ServiceKey,
    ServiceState, State, SyncDaemon, Timeouts, plan,
};

/// A table without the order of services and servers, and with the host netmask where persistence is off.
#[derive(Clone, Debug, PartialEq)]
struct Table {
    timeouts: Timeouts,
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
}

/// Returns the service with the host netmask if persistence is off: the netmask has no effect then.
pub fn effective(service: Service) -> Service {
    match service.persistence {
        Some(_) => service,
        None => Service { netmask: Netmask::host(service.key.family()), ..service },
    }
}

fn by_key(servers: impl IntoIterator<Item = Destination>) -> BTreeMap<DestinationKey, Destination> {
    servers.into_iter().map(|server| (server.key, server)).collect()
}

impl Table {
    fn of(state: &State) -> Self {
        let services = state.services.iter().map(|state| {
            let servers = by_key(state.destinations.iter().map(|state| state.destination));
            (state.service.key, (effective(state.service), servers))
        });
        Self { timeouts: state.timeouts, services: services.collect() }
    }

    /// Returns the table that the plan should produce from `before`.
    fn wanted(before: &State, desired: &Config, options: &Options) -> Self {
        let Options { scope, keep_weights, departing, reorder: _ } = options;
        let mut table = Self::of(before);
        if scope.contains_globals() {
            table.timeouts = desired.timeouts.unwrap_or_default().over(table.timeouts);
        }
        let drained = |server: &Destination| Destination { weight: 0, ..*server };
        // The servers of a model have no connections.
        let is_left = |server: &Destination| match departing {
            Departing::Delete => false,
            Departing::Drain => true,
            Departing::DrainThenDelete => server.weight > 0,
        };
        for wanted in &desired.services {
            let key = wanted.service.key;
            if !scope.contains(&key) {
                continue;
            }
            let held = table.services.get(&key).map(|(_, servers)| servers.clone()).unwrap_or_default();
            let mut servers = by_key(wanted.destinations.iter().copied());
            for (key, held) in &held {
                match servers.get_mut(key) {
                    Some(server) if *keep_weights => server.weight = held.weight,
                    Some(_) => {}
                    None if is_left(held) => drop(servers.insert(*key, drained(held))),
                    None => {}
                }
            }
            table.services.insert(key, (effective(wanted.service), servers));
        }
        let is_asked = |key: &ServiceKey| desired.services.iter().any(|wanted| wanted.service.key == *key);
        let goes = |key: &ServiceKey| scope.deletes_unasked(key) && !is_asked(key);
        table
            .services
            .retain(|key, (_, servers)| !goes(key) || *departing == Departing::Drain || servers.values().any(is_left));
        for (_, (_, servers)) in table.services.iter_mut().filter(|(key, _)| goes(key)) {
            servers.values_mut().for_each(|server| *server = drained(server));
        }
        table
    }

    /// Returns whether a server of the service receives new connections.
    fn serves(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|(_, servers)| servers.values().any(|server| server.weight > 0))
    }

    fn has(&self, family: Family) -> bool {
        self.services.keys().any(|key| key.family() == family)
    }

    fn mixes_families(&self) -> bool {
        let mixed = |(key, (_, servers)): (&ServiceKey, &(Service, BTreeMap<DestinationKey, Destination>))| {
            servers.keys().any(|server| Family::of(server.address) != key.family())
        };
        self.services.iter().any(mixed)
    }
}

/// Returns the roles of the daemons that should run after the plan.
fn wanted_roles(before: &State, desired: &Config, options: &Options) -> BTreeSet<Role> {
    let asked = desired.daemons.as_ref().filter(|_| options.scope.contains_globals());
    asked.unwrap_or(&before.daemons).iter().map(|daemon| daemon.role).collect()
}

/// Returns whether a kernel can have the desired table: it refuses servers of the other family while a sync daemon
/// runs.
pub fn is_possible(before: &State, desired: &Config, options: &Options) -> bool {
    !Table::wanted(before, desired, options).mixes_families() || wanted_roles(before, desired, options).is_empty()
}

/// Submits the plan from the director's table to `desired`, one change at a time, and checks all properties.
///
/// # Errors
///
/// Returns the first property that is violated.
pub fn kept(director: &mut impl Director, desired: &Config, options: &Options) -> Result<(), TestCaseError> {
    let before = director.state().expect("read");
    let wanted = Table::wanted(&before, desired, options);
    let plan = plan(desired, &before, options);

    no_change_is_superfluous(&plan, &before, options)?;
    no_change_is_outside_the_scope(&plan, options)?;
    for change in &plan.changes {
        let refused = director.submit(std::slice::from_ref(change)).expect("valid");
        prop_assert!(refused.is_empty(), "{:?} of {:#?}", refused, lines(&plan));
        let state = director.state().expect("read");
        nothing_outside_the_scope_differs(&before, &state, options)?;
        let now = Table::of(&state);
        no_service_is_interrupted(&plan, &Table::of(&before), &now, &wanted)?;
    }

    let after = director.state().expect("read");
    prop_assert_eq!(&Table::of(&after), &wanted, "{:#?}", lines(&plan));
    the_desired_daemons_run(&before, &after, desired, options)?;
    the_order_is_reached_or_reported(&plan, &before, &after, desired, options)?;
    let again = crate::plan(desired, &after, &options.without_later_deletions());
    prop_assert!(again.changes.is_empty(), "{:#?}, and then {:#?}", lines(&plan), lines(&again));
    Ok(())
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(Change::to_string).collect()
}

/// Checks that no change repeats the current state or is made twice, and that nothing is deleted and added again except
/// for the order.
fn no_change_is_superfluous(plan: &Plan, before: &State, options: &Options) -> Result<(), TestCaseError> {
    let held = Table::of(before);
    let server = |service: &ServiceKey, server: &DestinationKey| {
        held.services.get(service).and_then(|(_, servers)| servers.get(server)).copied()
    };
    let (mut written, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    for change in &plan.changes {
        match change {
            Change::AddService(service) => {
                prop_assert!(!held.services.contains_key(&service.key) && written.insert((service.key, None)));
            }
            Change::EditService(service) => {
                prop_assert_ne!(held.services.get(&service.key).map(|(held, _)| *held), Some(effective(*service)));
                prop_assert!(written.insert((service.key, None)), "{}", change);
            }
            Change::DeleteService(key) => prop_assert!(deleted.insert((*key, None)), "{}", change),
            Change::AddDestination(key, new) => {
                let is_moved = deleted.contains(&(*key, Some(new.key)));
                prop_assert!(!is_moved || options.reorder, "{}", change);
                prop_assert!(is_moved || server(key, &new.key).is_none(), "{}", change);
                prop_assert!(written.insert((*key, Some(new.key))) || is_moved, "{}", change);
            }
            Change::EditDestination(key, new) => {
                // A server that is moved gets weight 0 after all have been moved.
                let is_moved = deleted.contains(&(*key, Some(new.key)));
                prop_assert!(server(key, &new.key).is_some_and(|held| held != *new), "{}", change);
                prop_assert!(written.insert((*key, Some(new.key))) || is_moved, "{}", change);
            }
            Change::DeleteDestination(key, gone) => {
                prop_assert!(options.departing != Departing::Drain || options.reorder, "{}", change);
                prop_assert!(deleted.insert((*key, Some(*gone))), "{}", change);
                prop_assert!(options.reorder || !written.contains(&(*key, Some(*gone))), "{}", change);
            }
            Change::SetTimeouts(timeouts) => prop_assert_ne!(timeouts.over(before.timeouts), before.timeouts),
            Change::StartDaemon(_) | Change::StopDaemon(_) => {}
            Change::Zero(_) | Change::Flush => prop_assert!(false, "{}", change),
        }
    }
    Ok(())
}

fn no_change_is_outside_the_scope(plan: &Plan, options: &Options) -> Result<(), TestCaseError> {
    for change in &plan.changes {
        let touches = match change.service() {
            Some(key) => options.scope.contains(&key),
            None => options.scope.contains_globals(),
        };
        prop_assert!(touches, "{}", change);
    }
    Ok(())
}

/// Checks that services, timeouts and daemons outside the scope are as before, with the order of their servers.
fn nothing_outside_the_scope_differs(before: &State, now: &State, options: &Options) -> Result<(), TestCaseError> {
    let outside = |state: &State| -> BTreeMap<ServiceKey, (Service, Vec<Destination>)> {
        let services = state.services.iter().filter(|state| !options.scope.contains(&state.service.key));
        let servers = |state: &ServiceState| state.destinations.iter().map(|state| state.destination).collect();
        services.map(|state| (state.service.key, (state.service, servers(state)))).collect()
    };
    prop_assert_eq!(outside(before), outside(now));
    if !options.scope.contains_globals() {
        prop_assert_eq!(before.timeouts, now.timeouts);
        prop_assert_eq!(&before.daemons, &now.daemons);
    }
    Ok(())
}

/// Checks that a service that receives connections before and after the plan receives them all the time. Also checks
/// that a family with services keeps at least one: when the last one is deleted, the kernel cuts the family's
/// connections.
fn no_service_is_interrupted(plan: &Plan, before: &Table, now: &Table, wanted: &Table) -> Result<(), TestCaseError> {
    for key in before.services.keys().filter(|key| before.serves(key) && wanted.serves(key)) {
        prop_assert!(now.serves(key), "{} in {:#?}", key, lines(plan));
    }
    for family in [Family::V4, Family::V6] {
        let all_the_time = before.has(family) && wanted.has(family);
        prop_assert!(!all_the_time || now.has(family), "{} in {:#?}", family, lines(plan));
    }
    Ok(())
}

/// Returns the servers of the service that are deleted and added again.
fn moved(plan: &Plan, key: &ServiceKey) -> Vec<DestinationKey> {
    let is_deleted = |server: &DestinationKey| plan.changes.contains(&Change::DeleteDestination(*key, *server));
    let added = plan.changes.iter().filter_map(|change| match change {
        Change::AddDestination(service, server) if service == key => Some(server.key),
        _ => None,
    });
    // New servers can be added twice.
    let added: BTreeSet<_> = added.filter(is_deleted).collect();
    added.into_iter().collect()
}

/// Checks that the moved servers are the last of the desired order, and that the first of them was before one that
/// stays.
fn no_more_are_moved_than_must_be(
    plan: &Plan,
    key: &ServiceKey,
    held: &[DestinationKey],
    asked: &[DestinationKey],
) -> Result<(), TestCaseError> {
    let moved = moved(plan, key);
    let (stay, go) = asked.split_at(asked.len() - moved.len());
    prop_assert!(go.iter().all(|server| moved.contains(server)), "{:?} of {:?}", moved, asked);
    // New servers come after all existing ones.
    let place = |server| held.iter().position(|held| held == server).unwrap_or(held.len());
    if let Some(first) = go.first() {
        prop_assert!(stay.last().is_some_and(|last| place(first) < place(last)), "{:?} of {:?}", moved, asked);
    }
    Ok(())
}

fn the_desired_daemons_run(
    before: &State,
    after: &State,
    desired: &Config,
    options: &Options,
) -> Result<(), TestCaseError> {
    let find = |daemons: &[SyncDaemon], role| daemons.iter().find(|daemon| daemon.role == role).copied();
    let roles: BTreeSet<Role> = after.daemons.iter().map(|daemon| daemon.role).collect();
    prop_assert_eq!(&roles, &wanted_roles(before, desired, options));
    for running in &after.daemons {
        let asked = desired.daemons.as_deref().filter(|_| options.scope.contains_globals());
        match asked.and_then(|asked| find(asked, running.role)) {
            Some(asked) => prop_assert!(asked.is_met_by(running), "{:?} {:?}", asked, running),
            None => prop_assert_eq!(find(&before.daemons, running.role), Some(*running)),
        }
    }
    Ok(())
}

fn the_order_is_reached_or_reported(
    plan: &Plan,
    before: &State,
    after: &State,
    desired: &Config,
    options: &Options,
) -> Result<(), TestCaseError> {
    let oldest_first = |state: &State, key: &ServiceKey| -> Vec<DestinationKey> {
        let found = state.services.iter().find(|state| state.service.key == *key);
        let servers = found.into_iter().flat_map(|state| state.destinations.iter().rev());
        servers.map(|state| state.destination.key).collect()
    };
    let mut kept = Vec::new();
    for wanted in desired.services.iter().filter(|wanted| options.scope.contains(&wanted.service.key)) {
        let key = wanted.service.key;
        let asked: Vec<DestinationKey> = wanted.destinations.iter().map(|server| server.key).collect();
        let only = |keys: &[DestinationKey], these: &[DestinationKey]| -> Vec<DestinationKey> {
            keys.iter().filter(|key| these.contains(key)).copied().collect()
        };
        let (held, holds) = (oldest_first(before, &key), oldest_first(after, &key));
        let is_as_asked = only(&holds, &asked) == asked;
        let is_fixed = plan.order_fixed.contains(&key);
        if is_fixed {
            let serving = |table: Table| {
                let servers = table.services.get(&key).map(|(_, servers)| servers.clone()).unwrap_or_default();
                servers.into_values().filter(|server| server.weight > 0).map(|server| server.key).collect()
            };
            let (one, other): (BTreeSet<_>, BTreeSet<_>) = (serving(Table::of(before)), serving(Table::of(after)));
            prop_assert!(one.len() == 1 && one == other, "{:?}, {:?}", one, other);
        }
        let order_decides = desired.order == Order::Kernel && wanted.service.scheduler.depends_on_order();
        if order_decides && options.reorder && !is_fixed {
            prop_assert!(is_as_asked, "{:?} became {:?}, asked was {:?}", held, holds, asked);
            no_more_are_moved_than_must_be(plan, &key, &held, &asked)?;
            continue;
        }
        // Existing servers do not move, and new ones are added in the desired order.
        let stay = only(&held, &holds);
        prop_assert_eq!(&holds[..stay.len()], &stay[..]);
        let come: Vec<DestinationKey> = asked.iter().filter(|key| !held.contains(key)).copied().collect();
        prop_assert_eq!(&holds[stay.len()..], &come[..]);
        if order_decides && !is_as_asked {
            kept.push(key);
        }
    }
    prop_assert_eq!(&plan.order_kept, &kept);
    prop_assert!(plan.order_fixed.iter().all(|key| kept.contains(key)), "{:?}", plan.order_fixed);
    Ok(())
}
