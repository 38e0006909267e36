//! What a plan promises, to any director, from any table to any other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::plan::Options;
use crate::{
    Change, Config, Destination, DestinationKey, Director, Family, Netmask, Order, Plan, Role, Service, ServiceKey,
    State, SyncDaemon, Timeouts, plan,
};

/// A table whose order means nothing, and whose netmasks mean something.
#[derive(Clone, Debug, PartialEq)]
struct Table {
    timeouts: Timeouts,
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
}

/// The service without a netmask that does nothing.
pub fn meant(service: Service) -> Service {
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
            (state.service.key, (meant(state.service), servers))
        });
        Self { timeouts: state.timeouts, services: services.collect() }
    }

    /// What a director should hold in the end, that holds `before`.
    fn wanted(before: &State, desired: &Config, options: &Options) -> Self {
        let Options { scope, keep_weights, drain, reorder: _ } = options;
        let mut table = Self::of(before);
        if scope.contains_globals() {
            table.timeouts = desired.timeouts.unwrap_or_default().over(table.timeouts);
        }
        let drained = |server: &Destination| Destination { weight: 0, ..*server };
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
                    None if *drain => drop(servers.insert(*key, drained(held))),
                    None => {}
                }
            }
            table.services.insert(key, (meant(wanted.service), servers));
        }
        let is_asked = |key: &ServiceKey| desired.services.iter().any(|wanted| wanted.service.key == *key);
        let goes = |key: &ServiceKey| scope.deletes_unasked(key) && !is_asked(key);
        if *drain {
            for (_, (_, servers)) in table.services.iter_mut().filter(|(key, _)| goes(key)) {
                servers.values_mut().for_each(|server| *server = drained(server));
            }
        } else {
            table.services.retain(|key, _| !goes(key));
        }
        table
    }

    /// Whether the service takes new connections.
    fn serves(&self, key: &ServiceKey) -> bool {
        self.weighty(key) > 0
    }

    /// How many of its servers take new connections.
    fn weighty(&self, key: &ServiceKey) -> usize {
        let servers = self.services.get(key).map(|(_, servers)| servers.values());
        servers.map_or(0, |servers| servers.filter(|server| server.weight > 0).count())
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

/// The roles of the daemons that should run in the end.
fn wanted_roles(before: &State, desired: &Config, options: &Options) -> BTreeSet<Role> {
    let asked = desired.daemons.as_ref().filter(|_| options.scope.contains_globals());
    asked.unwrap_or(&before.daemons).iter().map(|daemon| daemon.role).collect()
}

/// Whether a kernel can hold what is asked for: servers of both families do not go with a sync daemon.
pub fn is_possible(before: &State, desired: &Config, options: &Options) -> bool {
    !Table::wanted(before, desired, options).mixes_families() || wanted_roles(before, desired, options).is_empty()
}

/// Goes the planned way one change at a time, and looks after each.
pub fn kept(director: &mut impl Director, desired: &Config, options: &Options) -> Result<(), TestCaseError> {
    let before = director.state().expect("read");
    let wanted = Table::wanted(&before, desired, options);
    let plan = plan(desired, &before, options);

    nothing_is_done_in_vain(&plan, &before, options)?;
    nothing_outside_the_scope_is_touched(&plan, options)?;
    for change in &plan.changes {
        let refused = director.submit(std::slice::from_ref(change)).expect("valid");
        prop_assert!(refused.is_empty(), "{:?} of {:#?}", refused, lines(&plan));
        let now = Table::of(&director.state().expect("read"));
        nobody_is_left_without(&plan, &Table::of(&before), &now, &wanted)?;
    }

    let after = director.state().expect("read");
    prop_assert_eq!(&Table::of(&after), &wanted, "{:#?}", lines(&plan));
    the_daemons_are_those_asked_for(&before, &after, desired, options)?;
    the_order_is_as_promised(&plan, &before, &after, desired, options)?;
    let again = crate::plan(desired, &after, options);
    prop_assert!(again.changes.is_empty(), "{:#?}, and then {:#?}", lines(&plan), lines(&again));
    Ok(())
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(Change::to_string).collect()
}

/// Nothing is written that is there already, nothing twice, and nothing is deleted that is to be there, but where the
/// order asks for it.
fn nothing_is_done_in_vain(plan: &Plan, before: &State, options: &Options) -> Result<(), TestCaseError> {
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
                prop_assert_ne!(held.services.get(&service.key).map(|(held, _)| *held), Some(meant(*service)));
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
                prop_assert!(server(key, &new.key).is_some_and(|held| held != *new), "{}", change);
                prop_assert!(written.insert((*key, Some(new.key))), "{}", change);
            }
            Change::DeleteDestination(key, gone) => {
                prop_assert!(!options.drain || options.reorder, "{}", change);
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

fn nothing_outside_the_scope_is_touched(plan: &Plan, options: &Options) -> Result<(), TestCaseError> {
    for change in &plan.changes {
        let touches = match change.service() {
            Some(key) => options.scope.contains(&key),
            None => options.scope.contains_globals(),
        };
        prop_assert!(touches, "{}", change);
    }
    Ok(())
}

/// Who takes connections before and after takes them all the time, and so does a family: with its last service its
/// connections would be cut.
fn nobody_is_left_without(plan: &Plan, before: &Table, now: &Table, wanted: &Table) -> Result<(), TestCaseError> {
    for key in before.services.keys().filter(|key| before.serves(key) && wanted.serves(key)) {
        // The only server that takes connections cannot be taken away and be there.
        let excused = wanted.weighty(key) == 1 && !moved(plan, key).is_empty();
        prop_assert!(now.serves(key) || excused, "{} in {:#?}", key, lines(plan));
    }
    for family in [Family::V4, Family::V6] {
        let all_the_time = before.has(family) && wanted.has(family);
        prop_assert!(!all_the_time || now.has(family), "{} in {:#?}", family, lines(plan));
    }
    Ok(())
}

/// The servers of that service that are taken away and added again.
fn moved(plan: &Plan, key: &ServiceKey) -> Vec<DestinationKey> {
    let is_deleted = |server: &DestinationKey| plan.changes.contains(&Change::DeleteDestination(*key, *server));
    let added = plan.changes.iter().filter_map(|change| match change {
        Change::AddDestination(service, server) if service == key => Some(server.key),
        _ => None,
    });
    // New ones are added twice, if at all.
    let added: BTreeSet<_> = added.filter(is_deleted).collect();
    added.into_iter().collect()
}

/// Those that are moved are the last that are asked for, and the first of them stood before one that stays.
fn no_more_are_moved_than_must_be(
    plan: &Plan,
    key: &ServiceKey,
    held: &[DestinationKey],
    asked: &[DestinationKey],
) -> Result<(), TestCaseError> {
    let moved = moved(plan, key);
    let (stay, go) = asked.split_at(asked.len() - moved.len());
    prop_assert!(go.iter().all(|server| moved.contains(server)), "{:?} of {:?}", moved, asked);
    // New ones come behind all that are there.
    let place = |server| held.iter().position(|held| held == server).unwrap_or(held.len());
    if let Some(first) = go.first() {
        prop_assert!(stay.last().is_some_and(|last| place(first) < place(last)), "{:?} of {:?}", moved, asked);
    }
    Ok(())
}

fn the_daemons_are_those_asked_for(
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

fn the_order_is_as_promised(
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
        if desired.order == Order::Kernel && options.reorder {
            prop_assert!(is_as_asked, "{:?} became {:?}, asked was {:?}", held, holds, asked);
            no_more_are_moved_than_must_be(plan, &key, &held, &asked)?;
            continue;
        }
        // Those that stay do not move, and those that come, come in their order.
        let stay = only(&held, &holds);
        prop_assert_eq!(&holds[..stay.len()], &stay[..]);
        let come: Vec<DestinationKey> = asked.iter().filter(|key| !held.contains(key)).copied().collect();
        prop_assert_eq!(&holds[stay.len()..], &come[..]);
        if desired.order == Order::Kernel && !is_as_asked {
            kept.push(key);
        }
    }
    prop_assert_eq!(&plan.order_kept, &kept);
    Ok(())
}
