//! The methods of `Director` have the same results on the kernel and on the table in memory.

use std::fmt::Debug;

use ipvs::{
    Change, Destination, DestinationKey, Director, Ensured, Error, Family, Forwarding, Interface, Model, Role,
    Scheduler, Service, ServiceKey, SyncDaemon, Timeouts, Tunnel,
};

use crate::client::ethernet;
use crate::model::empty;

ipvs_tests::tests! {
    client_and_model_have_equal_results;
    client_and_model_have_equal_daemons;
    client_and_model_refuse_the_same_values;
}

fn client_and_model_have_equal_results() {
    assert_equal(scenario(&mut empty()), scenario(&mut Model::new()));
}

fn client_and_model_have_equal_daemons() {
    ethernet();
    assert_equal(daemons(&mut empty()), daemons(&mut Model::new()));
}

fn client_and_model_refuse_the_same_values() {
    assert_equal(invalid_values(&mut empty()), invalid_values(&mut Model::new()));
}

fn assert_equal(kernel: Vec<String>, model: Vec<String>) {
    for (kernel, model) in kernel.iter().zip(&model) {
        assert_eq!(kernel, model);
    }
    assert_eq!(kernel.len(), model.len());
}

/// Returns a line for each call: its result, or the kind and the operation of its error.
fn scenario(director: &mut impl Director) -> Vec<String> {
    let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
    let mark = Service::new(ServiceKey::fwmark(7, Family::V4).unwrap(), Scheduler::WLC);
    let one = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    let two = Destination { weight: 5, ..Destination::new(([10, 0, 0, 2], 80), Forwarding::Masquerade) };
    let mut lines = Vec::new();
    let log = &mut lines;

    record(log, "service, missing", director.service(&web.key));
    record(log, "destinations, missing service", director.destinations(&web.key));
    record(log, "destination, missing service", director.destination(&web.key, &one.key));
    record(log, "edit, missing", director.edit_service(&web));
    record(log, "delete, missing", director.delete_service(&web.key));
    record(log, "zero, missing", director.zero(Some(&web.key)));
    record(log, "update, missing", director.update_service(&web.key, |_| {}));
    assert!(!record(log, "remove, missing", director.remove_service(&web.key)).unwrap());
    assert!(!record(log, "remove, no service", director.remove_destination(&web.key, &one.key)).unwrap());
    record(log, "ensure, no service", director.ensure_destination(&web.key, &one));

    let changed = Service { scheduler: Scheduler::SH, ..web };
    for (service, expected) in
        [(web, Ensured::Added), (web, Ensured::Unchanged), (changed, Ensured::Edited), (mark, Ensured::Added)]
    {
        assert_eq!(record(log, "ensure service", director.ensure_service(&service)), Some(expected));
    }
    let weighted = Destination { weight: 9, ..one };
    for (server, expected) in
        [(one, Ensured::Added), (one, Ensured::Unchanged), (weighted, Ensured::Edited), (two, Ensured::Added)]
    {
        assert_eq!(record(log, "ensure", director.ensure_destination(&web.key, &server)), Some(expected));
    }
    record(log, "add, exists", director.add_service(&web));
    record(log, "add server, exists", director.add_destination(&web.key, &one));
    read(log, director, &web.key, &one.key);

    let unchanged = record(log, "update", director.update_destination(&web.key, &one.key, |_| {}));
    assert_eq!(unchanged, Some(Ensured::Unchanged));
    let edited = record(log, "update", director.update_destination(&web.key, &one.key, |server| server.weight = 0));
    assert_eq!(edited, Some(Ensured::Edited));
    let edited = record(log, "update", director.update_service(&web.key, |service| service.persistence = Some(60)));
    assert_eq!(edited, Some(Ensured::Edited));
    record(log, "update key", director.update_service(&web.key, |service| service.key = mark.key));
    record(log, "update key", director.update_destination(&web.key, &one.key, |server| server.key = two.key));
    record(log, "timeouts", director.set_timeouts(&Timeouts { tcp: 77, ..Timeouts::default() }));
    record(log, "zero", director.zero(None));
    record(log, "zero", director.zero(Some(&web.key)));
    read(log, director, &web.key, &one.key);

    let changes = [Change::AddService(web), Change::DeleteDestination(web.key, two.key), Change::AddService(mark)];
    let refused = director.submit(&changes).unwrap();
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
    for (_, error) in refused {
        record::<()>(log, "submit", Err(error));
    }
    assert!(!record(log, "remove", director.remove_destination(&web.key, &two.key)).unwrap());
    assert!(record(log, "remove", director.remove_destination(&web.key, &one.key)).unwrap());
    record(log, "delete, missing", director.delete_destination(&web.key, &one.key));
    assert!(record(log, "remove", director.remove_service(&mark.key)).unwrap());
    read(log, director, &web.key, &one.key);
    record(log, "flush", director.flush());
    read(log, director, &web.key, &one.key);
    lines
}

/// Starts and stops daemons. While one runs, the kernel refuses servers of the other family.
fn daemons(director: &mut impl Director) -> Vec<String> {
    let [master, backup] =
        [Role::Master, Role::Backup].map(|role| SyncDaemon::new(role, Interface::new("eth0").unwrap(), 7));
    let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
    let mixed = Destination::new((std::net::Ipv6Addr::LOCALHOST, 80), Forwarding::Tunnel(Tunnel::Ipip));
    let mut lines = Vec::new();
    let log = &mut lines;
    record(log, "daemons", director.daemons());
    record(log, "stop, none", director.stop_daemon(Role::Master));
    record(log, "start", director.start_daemon(&backup)).unwrap();
    record(log, "start", director.start_daemon(&master)).unwrap();
    record(log, "start twice", director.start_daemon(&master));
    assert_eq!(record(log, "daemons", director.daemons()).unwrap().len(), 2);
    record(log, "add service", director.add_service(&web)).unwrap();
    assert!(record(log, "add mixed", director.add_destination(&web.key, &mixed)).is_none());
    assert!(record(log, "ensure mixed", director.ensure_destination(&web.key, &mixed)).is_none());
    record(log, "stop", director.stop_daemon(Role::Master)).unwrap();
    record(log, "daemons", director.daemons());
    record(log, "stop", director.stop_daemon(Role::Backup)).unwrap();
    let added = record(log, "ensure mixed", director.ensure_destination(&web.key, &mixed));
    assert_eq!(added, Some(Ensured::Added));
    assert!(record(log, "start with mixed", director.start_daemon(&master)).is_none());
    record(log, "daemons", director.daemons());
    lines
}

/// Requests values that are refused before they are sent. The table must not change.
fn invalid_values(director: &mut impl Director) -> Vec<String> {
    let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
    let one = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    let heavy = Destination { weight: u32::MAX, ..one };
    let long = Service { persistence: Some(u32::MAX), ..web };
    let unknown = Service { scheduler: Scheduler::new("nonesuch").unwrap(), ..web };
    let daemon = SyncDaemon::new(Role::Master, Interface::new("eth0").unwrap(), 256);
    let mut lines = Vec::new();
    let log = &mut lines;
    director.add_service(&web).unwrap();
    director.add_destination(&web.key, &one).unwrap();
    record(log, "add", director.add_service(&long));
    record(log, "ensure", director.ensure_service(&long));
    record(log, "update", director.update_service(&web.key, |service| service.persistence = Some(0)));
    record(log, "ensure unknown", director.ensure_service(&unknown));
    record(log, "update unknown", director.update_service(&web.key, |service| *service = unknown));
    record(log, "add", director.add_destination(&web.key, &heavy));
    record(log, "ensure", director.ensure_destination(&web.key, &heavy));
    record(log, "update", director.update_destination(&web.key, &one.key, |server| *server = heavy));
    record(log, "start", director.start_daemon(&daemon));
    record(log, "change", director.change(Change::EditService(long)));
    // The invalid one is last, and the first is not made either.
    record(log, "submit", director.submit(&[Change::Flush, Change::AddDestination(web.key, heavy)]));
    assert!(log.iter().all(|line| line.contains("Invalid") || line.contains("SchedulerNotFound")), "{log:#?}");
    read(log, director, &web.key, &one.key);
    assert_eq!(director.destination(&web.key, &one.key).unwrap().destination, one);
    lines
}

/// Records every reading. The order of services has no meaning, so they are sorted.
fn read(log: &mut Vec<String>, director: &mut impl Director, service: &ServiceKey, server: &DestinationKey) {
    let mut services = director.services().unwrap();
    services.sort_by_key(|state| state.service.key);
    record(log, "services", Ok(services));
    record(log, "service", director.service(service));
    record(log, "destinations", director.destinations(service));
    record(log, "destination", director.destination(service, server));
    record(log, "timeouts", director.timeouts());
    record(log, "daemons", director.daemons());
}

fn record<T: Debug>(log: &mut Vec<String>, call: &str, result: Result<T, Error>) -> Option<T> {
    log.push(match &result {
        Ok(value) => format!("{call}: {value:?}"),
        // Only an error of the kernel has a cause, so texts of readings differ.
        Err(error) => format!("{call}: {:?}: {}", error.kind(), error.operation()),
    });
    result.ok()
}
