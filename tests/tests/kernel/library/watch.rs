//! `Watch` on a real kernel, while another client writes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvs::{
    Change, Client, Destination, DestinationKey, Event, Forwarding, Observation, Scheduler, Service, ServiceKey, State,
    Watch,
};

use crate::model::empty;

ipvs_tests::tests! {
    begins_with_a_snapshot_and_reports_writes_of_others;
    never_reports_an_event_that_did_not_happen, seconds = 120;
    servers_are_not_lost_while_others_are_deleted, seconds = 120;
}

fn service(port: u16) -> Service {
    Service::new(ServiceKey::tcp([192, 0, 2, 1], port), Scheduler::RR)
}

/// Returns the next events. Skips the readings during which the kernel resizes its table (since Linux 7.1).
fn next_events(watch: &mut Watch<Client>) -> Vec<Event> {
    loop {
        match watch.next() {
            Some(Observation::Events(events)) => return events,
            Some(Observation::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn begins_with_a_snapshot_and_reports_writes_of_others() {
    let mut writer = empty();
    writer.add_service(&service(1)).unwrap();
    let mut watch = Watch::new(Client::open().unwrap(), Duration::from_millis(5));
    let snapshot = loop {
        match watch.next() {
            Some(Observation::Snapshot(state)) => break state,
            Some(Observation::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ports(&snapshot), HashSet::from([1]));

    let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    let key = service(1).key;
    writer.add_destination(&key, &server).unwrap();
    assert_eq!(next_events(&mut watch), [Event::DestinationAdded(key, server)]);
    let new = Destination { weight: 0, ..server };
    writer.edit_destination(&key, &new).unwrap();
    assert_eq!(next_events(&mut watch), [Event::DestinationEdited { service: key, old: server, new }]);
    writer.delete_service(&key).unwrap();
    let deleted = [Event::DestinationDeleted(key, new), Event::ServiceDeleted(service(1))];
    assert_eq!(next_events(&mut watch), deleted);
}

fn ports(state: &State) -> HashSet<u16> {
    let port = |key: &ServiceKey| match key {
        ServiceKey::Address { port, .. } => *port,
        ServiceKey::Fwmark { .. } => 0,
    };
    state.services.iter().map(|state| port(&state.service.key)).collect()
}

/// The writer adds and deletes many services, so that the kernel resizes its table. Others are never touched, so no
/// event may name them, and every event must be consistent with the ones before it.
fn never_reports_an_event_that_did_not_happen() {
    const KEPT: u16 = 200;
    const BUSY: u16 = 1500;
    let mut writer = empty();
    let kept: Vec<Change> = (1..=KEPT).map(|port| Change::AddService(service(port))).collect();
    writer.submit(&kept).unwrap().into_result().unwrap();
    let mut watch = Watch::new(Client::open().unwrap(), Duration::ZERO);
    while !matches!(watch.next(), Some(Observation::Snapshot(_))) {}
    let mut known = ports(watch.state().unwrap());
    assert_eq!(known.len(), usize::from(KEPT));

    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                for make in [Change::AddService, |service: Service| Change::DeleteService(service.key)] {
                    for first in (0..BUSY).step_by(50) {
                        let changes: Vec<_> = (first..first + 50).map(|port| make(service(10_000 + port))).collect();
                        writer.submit(&changes).unwrap().into_result().unwrap();
                    }
                }
            }
            is_done.store(true, Ordering::SeqCst);
        });
        let mut is_last = false;
        while !is_last {
            is_last = is_done.load(Ordering::SeqCst);
            let Some(Observation::Events(events)) = watch.poll() else { continue };
            for event in events {
                let (Event::ServiceAdded(changed) | Event::ServiceDeleted(changed)) = event else {
                    panic!("{event:?}")
                };
                let ServiceKey::Address { port, .. } = changed.key else { panic!("{event:?}") };
                assert!(port >= 10_000, "not touched: {event:?}");
                let is_new =
                    if matches!(event, Event::ServiceAdded(_)) { known.insert(port) } else { known.remove(&port) };
                assert!(is_new, "reported twice: {event:?}");
            }
        }
    });
    // A reading may still be uncertain just after the last write.
    while known.len() > usize::from(KEPT) {
        for event in next_events(&mut watch) {
            let Event::ServiceDeleted(deleted) = event else { panic!("{event:?}") };
            let ServiceKey::Address { port, .. } = deleted.key else { panic!("{event:?}") };
            assert!(port >= 10_000 && known.remove(&port), "{event:?}");
        }
    }
}

/// The kernel sends a long list in several datagrams, and counts entries to find the next one. If entries that it has
/// sent are deleted meanwhile, the same number of later entries is missing, and nothing reports it.
fn servers_are_not_lost_while_others_are_deleted() {
    const KEPT: u16 = 1000;
    const BUSY: u16 = 50;
    const ROUNDS: usize = 150;
    let key = service(1).key;
    let server = |port| Destination::new(([10, 0, 0, 1], port), Forwarding::Masquerade);
    let mut writer = empty();
    writer.add_service(&service(1)).unwrap();
    let kept: Vec<Change> = (1..=KEPT).map(|port| Change::AddDestination(key, server(port))).collect();
    writer.submit(&kept).unwrap().into_result().unwrap();
    let mut watch = Watch::new(Client::open().unwrap(), Duration::ZERO);
    while !matches!(watch.poll(), Some(Observation::Snapshot(_))) {}

    let is_done = AtomicBool::new(false);
    let mut known: HashSet<DestinationKey> = (1..=KEPT).map(|port| server(port).key).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                // The newest are sent first.
                let busy = |make: fn(ServiceKey, Destination) -> Change| -> Vec<_> {
                    (0..BUSY).map(|port| make(key, server(10_000 + port))).collect()
                };
                writer.submit(&busy(Change::AddDestination)).unwrap().into_result().unwrap();
                let delete = |service, server: Destination| Change::DeleteDestination(service, server.key);
                writer.submit(&busy(delete)).unwrap().into_result().unwrap();
            }
            is_done.store(true, Ordering::SeqCst);
        });
        let mut is_last = false;
        while !is_last {
            is_last = is_done.load(Ordering::SeqCst);
            let Some(Observation::Events(events)) = watch.poll() else { continue };
            for event in events {
                let (Event::DestinationAdded(_, changed) | Event::DestinationDeleted(_, changed)) = event else {
                    panic!("{event:?}")
                };
                assert!(changed.key.port >= 10_000, "not touched: {event:?}");
                let is_new = match event {
                    Event::DestinationAdded(..) => known.insert(changed.key),
                    _ => known.remove(&changed.key),
                };
                assert!(is_new, "reported twice: {event:?}");
            }
        }
    });
    // The deletion of the last ones may not have been certain yet.
    while known.len() > usize::from(KEPT) {
        for event in next_events(&mut watch) {
            let Event::DestinationDeleted(_, deleted) = event else { panic!("{event:?}") };
            assert!(deleted.key.port >= 10_000 && known.remove(&deleted.key), "{event:?}");
        }
    }
    assert_eq!(watch.state().unwrap().services[0].destinations.len(), usize::from(KEPT));
}
