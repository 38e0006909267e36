//! Estimates, compared with shares that were computed from the kernel's tables.

use super::*;
use crate::change::Change;
use crate::destination::{Destination, Forwarding};
use crate::hash::TableSizes;
use crate::key::ServiceKey;
use crate::name::Scheduler;
use crate::service::{SchedulerFlags, Service};
use crate::state::{DestinationState, ServiceState};

fn key() -> ServiceKey {
    ServiceKey::fwmark(1, crate::family::Family::V4).expect("not 0")
}

fn service(scheduler: Scheduler) -> Service {
    Service::new(key(), scheduler)
}

fn servers(weights: &[u32]) -> Vec<Destination> {
    let server = |(i, weight): (usize, &u32)| Destination {
        weight: *weight,
        ..Destination::new(([10, 0, 0, i as u8 + 1], 80), Forwarding::Masquerade)
    };
    weights.iter().enumerate().map(server).collect()
}

/// Returns a reading, with the connections of each server.
fn reading(service: Service, weights: &[u32], connections: u32) -> Scheduling {
    let mut state = ServiceState::new(service);
    let server = |server| DestinationState { inactive_connections: connections, ..DestinationState::new(server) };
    state.destinations = servers(weights).into_iter().rev().map(server).collect();
    Scheduling::new(&state)
}

fn effect(before: &Scheduling, changes: &[Change]) -> Effect {
    let after = before.after(changes).expect("it is kept");
    Scenarios::new(before, &after, TableSizes::default()).expect("known").effect()
}

fn edit(number: usize, settings: impl FnOnce(&mut Destination)) -> Change {
    let mut server = servers(&[1; 9])[number - 1];
    settings(&mut server);
    Change::EditDestination(key(), server)
}

fn percent((least, most): (f64, f64)) -> (f64, f64) {
    ((least * 1000.0).round() / 10.0, (most * 1000.0).round() / 10.0)
}

#[test]
fn share_of_clients_that_move() {
    let moved = |scheduler, before: &[Destination], after: &[Destination]| {
        let side = |servers| Scheduling::of_new(service(scheduler), servers);
        let scenarios = Scenarios::new(&side(before), &side(after), TableSizes::default());
        percent(scenarios.expect("known").effect().moved()).0
    };
    let four = servers(&[1; 4]);
    let five = servers(&[1; 5]);
    let reversed: Vec<_> = four.iter().rev().copied().collect();
    for (scheduler, add, remove_newest, remove_oldest, reverse) in [
        (Scheduler::SH, 81.2, 75.4, 74.2, 100.0),
        (Scheduler::DH, 81.2, 75.4, 74.2, 100.0),
        (Scheduler::MH, 20.4, 25.3, 25.2, 0.2),
    ] {
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() <= 1.1, "{scheduler} {found} {expected}");
        close(moved(scheduler, &four, &five), add);
        close(moved(scheduler, &four, &four[..3]), remove_newest);
        close(moved(scheduler, &four, &four[1..]), remove_oldest);
        close(moved(scheduler, &four, &reversed), reverse);
    }
}

#[test]
fn clients_of_weight_0_are_refused_or_moved() {
    let weight_0 = [edit(2, |server| server.weight = 0)];
    for scheduler in [Scheduler::SH, Scheduler::DH, Scheduler::MH] {
        let plain = effect(&reading(service(scheduler), &[1; 3], 0), &weight_0);
        assert_eq!(percent(plain.moved()), (0.0, 0.0), "{scheduler}");
        assert!((plain.refused().0 - 1.0 / 3.0).abs() < 0.01, "{scheduler} {plain:?}");
        let flags = SchedulerFlags::FALLBACK;
        let fallback = effect(&reading(Service { flags, ..service(scheduler) }, &[1; 3], 0), &weight_0);
        let (changed, unchanged) = match scheduler {
            Scheduler::DH => (fallback.refused(), fallback.moved()),
            _ => (fallback.moved(), fallback.refused()),
        };
        assert!((changed.0 - 1.0 / 3.0).abs() < 0.05 && unchanged == (0.0, 0.0), "{scheduler} {fallback:?}");
    }
    let wlc = effect(&reading(service(Scheduler::WLC), &[1; 3], 0), &weight_0);
    assert_eq!((wlc.moved(), wlc.refused()), ((0.0, 0.0), (0.0, 0.0)));
}

#[test]
fn everybody_is_refused_without_available_servers() {
    let all_0: Vec<Change> = (1..=3).map(|number| edit(number, |server| server.weight = 0)).collect();
    let all_gone: Vec<Change> = servers(&[1; 3]).iter().map(|s| Change::DeleteDestination(key(), s.key)).collect();
    for (scheduler, _) in Scheduler::KNOWN {
        let before = reading(service(*scheduler), &[1; 3], 0);
        let expected = if *scheduler == Scheduler::NONE { (0.0, 0.0) } else { (1.0, 1.0) };
        for changes in [&all_0, &all_gone] {
            assert_eq!(effect(&before, changes).refused(), expected, "{scheduler}");
            assert_eq!(before.after(changes).expect("kept").refusal(Assumption::Best), Refusal::Everybody);
        }
    }
}

#[test]
fn dh_of_an_address_has_one_server() {
    let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::DH);
    let before = Scheduling::of_new(web, &servers(&[1; 3]));
    let shares: Vec<_> = servers(&[0; 3])
        .into_iter()
        .map(|server| {
            let after = before.after(&[Change::EditDestination(web.key, server)]).expect("kept");
            Scenarios::new(&before, &after, TableSizes::default()).expect("known").effect().refused().0
        })
        .collect();
    assert_eq!(shares.iter().sum::<f64>(), 1.0, "{shares:?}");
    assert!(shares.contains(&1.0), "{shares:?}");
}

#[test]
fn unknown_last_weight_is_a_range() {
    let before = reading(service(Scheduler::MH), &[1, 0, 1], 0);
    let flags = SchedulerFlags::FALLBACK;
    let served = effect(&before, &[Change::EditService(Service { flags, ..service(Scheduler::MH) })]);
    assert!(served.served().0 == 0.0 && (served.served().1 - 1.0 / 3.0).abs() < 0.05, "{served:?}");
    // A weight that was above 0 in the reading is known.
    let known = effect(&reading(service(Scheduler::MH), &[1; 3], 0), &[edit(2, |server| server.weight = 0)]);
    assert_eq!(known.refused().0, known.refused().1);
    // A server that is added with weight 0 has no slots.
    let added = Change::AddDestination(key(), servers(&[1, 1, 1, 0])[3]);
    assert_eq!(percent(effect(&reading(service(Scheduler::MH), &[1; 3], 0), &[added]).refused()), (0.0, 0.0));
}

#[test]
fn thresholds_refuse_clients() {
    let limit = |number, upper| {
        edit(number, |server| {
            server.upper_threshold = upper;
        })
    };
    let sh = reading(service(Scheduler::SH), &[1; 3], 5);
    assert!((effect(&sh, &[limit(1, 5)]).refused().0 - 1.0 / 3.0).abs() < 0.01);
    assert_eq!(effect(&sh, &[limit(1, 6)]).refused(), (0.0, 0.0), "it accepted connections before");
    let all = [limit(1, 5), limit(2, 5), limit(3, 5)];
    assert_eq!(effect(&reading(service(Scheduler::RR), &[1; 3], 5), &all).refused(), (1.0, 1.0));
    assert_eq!(effect(&reading(service(Scheduler::LBLC), &[1; 3], 5), &all).refused(), (0.0, 1.0), "its cache");
    assert_eq!(effect(&reading(service(Scheduler::RR), &[1; 3], 5), &all[..2]).refused(), (0.0, 0.0));
}

#[test]
fn between_the_thresholds_is_a_range() {
    let mut state = ServiceState::new(service(Scheduler::RR));
    let server = Destination { upper_threshold: 8, lower_threshold: 4, ..servers(&[1])[0] };
    state.destinations = vec![DestinationState { active_connections: 5, ..DestinationState::new(server) }];
    let before = Scheduling::new(&state);
    assert_eq!(
        [Assumption::Best, Assumption::Worst].map(|assumption| before.refusal(assumption)),
        [Refusal::Nobody, Refusal::Everybody]
    );
    let raised = Change::EditDestination(key(), Destination { upper_threshold: 20, lower_threshold: 10, ..server });
    assert_eq!(effect(&before, &[raised]).served(), (0.0, 1.0));
}

#[test]
fn ovf_overflows_above_the_weight() {
    let mut state = ServiceState::new(service(Scheduler::OVF));
    state.destinations = vec![DestinationState { active_connections: 2, ..DestinationState::new(servers(&[2])[0]) }];
    assert_eq!(Scheduling::new(&state).refusal(Assumption::Worst), Refusal::Nobody);
    state.destinations[0].active_connections = 3;
    assert_eq!(Scheduling::new(&state).refusal(Assumption::Best), Refusal::Everybody);
}

#[test]
fn templates_keep_clients_at_weight_0() {
    let persistent = Service { persistence: Some(300), ..service(Scheduler::RR) };
    let mut state = ServiceState::new(persistent);
    state.destinations =
        vec![DestinationState { persistent_connections: 7, ..DestinationState::new(servers(&[1])[0]) }];
    let before = Scheduling::new(&state);
    assert_eq!(before.kept_by_templates().count(), 0);
    let after = before.after(&[edit(1, |server| server.weight = 0)]).expect("kept");
    assert_eq!(after.kept_by_templates().collect::<Vec<_>>(), [(servers(&[1])[0].key, 7)]);
    let ended = after.after(&[Change::EditService(service(Scheduler::RR))]).expect("kept");
    assert_eq!(ended.kept_by_templates().count(), 0);
}

#[test]
fn a_server_that_is_added_again_keeps_its_connections() {
    let before = reading(service(Scheduler::SH), &[1; 2], 5);
    let [first, second] = [servers(&[1; 2])[0], servers(&[1; 2])[1]];
    let limited = Destination { upper_threshold: 5, ..first };
    let again = [Change::DeleteDestination(key(), first.key), Change::AddDestination(key(), limited)];
    assert!(before.after(&again).expect("kept").has_full());
    let new = [Change::DeleteDestination(key(), second.key), Change::DeleteService(key())];
    assert!(before.after(&new).is_none());
}

#[test]
fn too_many_servers_for_mh_are_unknown() {
    let many: Vec<Destination> =
        (0..252_u16).map(|n| Destination::new(([10, 0, 1, n as u8], 80), Forwarding::Masquerade)).collect();
    let sizes = TableSizes { mh_index: 8, ..TableSizes::default() };
    let of = |servers: &[Destination]| Scheduling::of_new(service(Scheduler::MH), servers);
    assert!(of(&many).selection(Assumption::Best, sizes).is_none());
    assert!(of(&many[1..]).selection(Assumption::Best, sizes).is_some());
}

#[test]
fn estimates_without_servers_are_exact() {
    let service = Service { flags: SchedulerFlags::FALLBACK, ..service(Scheduler::MH) };
    let compared = |to: &[u32]| {
        let before = Scheduling::of_new(service, &servers(&[1; 3]));
        let changes = servers(to).into_iter().map(|server| Change::EditDestination(key(), server)).collect::<Vec<_>>();
        let after = before.after(&changes).expect("kept");
        let scenarios = Scenarios::new(&before, &after, TableSizes::default()).expect("known");
        let (before, after) = scenarios.pairs().next().expect("one");
        before.compare(after).collect::<Vec<_>>()
    };
    let drained = compared(&[0; 3]);
    assert_eq!((drained.len(), drained[0].clients, drained[0].refused), (1, 4093, 4093));
    // Each part is an estimate of the whole.
    let one_less = compared(&[1, 1, 0]);
    assert_eq!(one_less.len(), 8);
    assert!(one_less.iter().all(|part| (part.moved as f64 / 2048.0 - 1.0 / 3.0).abs() < 0.05), "{one_less:?}");
}

/// The slots of a client without and with its port are independent of each other.
#[test]
fn the_port_moves_clients() {
    let with_port = Service { flags: SchedulerFlags::PORT, ..service(Scheduler::SH) };
    let four = servers(&[1; 4]);
    for (before, after, moved, refused) in [(&[1; 4], &[1; 4], 75.0, 0.0), (&[1; 4], &[0, 1, 1, 1], 56.3, 25.0)] {
        let side = |service, weights: &[u32]| {
            let servers: Vec<_> =
                four.iter().zip(weights).map(|(server, weight)| Destination { weight: *weight, ..*server }).collect();
            Scheduling::of_new(service, &servers)
        };
        let (before, after) = (side(service(Scheduler::SH), before), side(with_port, after));
        let effect = Scenarios::new(&before, &after, TableSizes::default()).expect("known").effect();
        assert_eq!((percent(effect.moved()).0, percent(effect.refused()).0), (moved, refused));
    }
}
