//! `Drain` and `refuses_clients` with real connections.
//!
//! The network is [`Nat::DRAWING`].

use std::time::Duration;

use ipvs::drain::{Drain, Step, Waiting, refuses_clients};
use ipvs::{Change, Client, Destination, DestinationKey, Forwarding, Scheduler, SchedulerFlags, Service, ServiceKey};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;

ipvs_tests::tests! {
    drained_server_is_deleted_after_its_connections;
    connections_are_dropped_at_the_limit;
    templates_keep_feeding_a_drained_server;
    refused_clients_are_predicted;
}

const HOUR: Duration = Duration::from_secs(3600);

fn nat() -> (Nat, Client) {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    nat.director.send_all_icmp_errors().unwrap();
    let client = nat.director.enter(Client::open).unwrap();
    (nat, client)
}

fn web(port: u16) -> ServiceKey {
    ServiceKey::tcp([10, 1, 0, 100], port)
}

/// Returns the key of `web1` or `web2`.
fn server(number: u8) -> DestinationKey {
    DestinationKey::new([10, 2, 0, 10 + number], 80)
}

fn add(client: &mut Client, service: &Service) {
    client.add_service(service).unwrap();
    for number in [1, 2] {
        client.add_destination(&service.key, &Destination::new(server(number), Forwarding::Masquerade)).unwrap();
    }
}

fn hold(nat: &Nat, count: usize, port: u16) -> Replies {
    nat.client.client().patience(Duration::from_secs(10)).hold(count, &format!("10.1.0.100:{port}"))
}

/// Reads the table, decides, and makes the changes.
fn step(drain: &mut Drain, client: &mut Client, now: Duration) -> Step {
    let step = drain.step(&client.state().unwrap(), now);
    client.submit(&step.changes).unwrap().into_result().unwrap();
    step
}

fn counts(waiting: &Waiting) -> [u32; 3] {
    [waiting.active_connections, waiting.inactive_connections, waiting.persistent_connections]
}

fn drained_server_is_deleted_after_its_connections() {
    let (nat, mut client) = nat();
    add(&mut client, &Service::new(web(80), Scheduler::RR));
    let held = hold(&nat, 4, 80);
    assert_eq!(held.to_string(), "web1=2 web2=2");
    let mut drain = Drain::new(None);
    drain.start(web(80), server(1), Duration::ZERO);
    let first = step(&mut drain, &mut client, Duration::ZERO);
    assert!(matches!(first.changes[..], [Change::EditDestination(_, Destination { weight: 0, .. })]), "{first:?}");
    assert_eq!(hold(&nat, 4, 80).to_string(), "web2=4");
    let second = step(&mut drain, &mut client, HOUR);
    assert_eq!((second.changes.len(), second.waiting.len()), (0, 1), "there is no limit: {second:?}");
    assert_eq!(counts(&second.waiting[0]), [2, 0, 0]);
    assert!(!second.waiting[0].refuses_clients);

    drop(held);
    // The kernel keeps closed connections for two minutes, so another service shows the deletion.
    wait::until(Duration::from_secs(30), || {
        let step = step(&mut drain, &mut client, HOUR);
        assert_eq!(step.changes, [], "inactive connections are waited for");
        if counts(&step.waiting[0]) == [0, 2, 0] { Ok(()) } else { Err(format!("{step:?}")) }
    });
    add(&mut client, &Service::new(web(81), Scheduler::RR));
    drain.start(web(81), server(1), HOUR);
    let _ = step(&mut drain, &mut client, HOUR);
    assert_eq!(step(&mut drain, &mut client, HOUR).changes, [Change::DeleteDestination(web(81), server(1))]);
    let ended = step(&mut drain, &mut client, HOUR).ended;
    assert_eq!((ended.len(), ended[0].dropped_connections), (1, Some(0)));
    assert!(client.destination(&web(81), &server(1)).is_err());
}

fn connections_are_dropped_at_the_limit() {
    let (nat, mut client) = nat();
    add(&mut client, &Service::new(web(80), Scheduler::RR));
    let _held = hold(&nat, 4, 80);
    let mut drain = Drain::new(Some(HOUR));
    drain.start(web(80), server(1), Duration::ZERO);
    let _ = step(&mut drain, &mut client, Duration::ZERO);
    let before = step(&mut drain, &mut client, HOUR - Duration::from_nanos(1));
    assert_eq!((before.changes.len(), before.waiting[0].until), (0, Some(HOUR)));
    let at = step(&mut drain, &mut client, HOUR);
    assert!(matches!(at.changes[..], [Change::DeleteDestination(..)]) && at.waiting.is_empty(), "{at:?}");
    assert_eq!(step(&mut drain, &mut client, HOUR).ended[0].dropped_connections, Some(2));
}

fn templates_keep_feeding_a_drained_server() {
    let (nat, mut client) = nat();
    add(&mut client, &Service::new(web(80), Scheduler::RR).with_persistence(HOUR));
    let held = hold(&nat, 1, 80);
    let number = if held.to_string() == "web1=1" { 1 } else { 2 };
    let mut drain = Drain::new(None).wait_for_templates(true);
    drain.start(web(80), server(number), Duration::ZERO);
    let _ = step(&mut drain, &mut client, Duration::ZERO);
    assert_eq!(hold(&nat, 2, 80).to_string(), format!("web{number}=2"));
    let waiting = step(&mut drain, &mut client, Duration::ZERO).waiting;
    // The two that were closed may still be active.
    assert!(waiting[0].active_connections >= 1 && waiting[0].persistent_connections == 1, "{waiting:?}");
    drop(held);
}

/// Both servers leave in turn, because a single address is hashed to one of them. Then both leave.
///
/// The clients use UDP. A refused TCP connection takes a second on Linux 7.2: the error arrives while `connect` holds the
/// socket, and only the one for the second SYN ends it.
fn refused_clients_are_predicted() {
    let (nat, mut client) = nat();
    nat.web1.serve(Udp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Udp, "10.2.0.12:80").unwrap();
    let both = SchedulerFlags::FALLBACK | SchedulerFlags::PORT;
    let schedulers = [
        (Scheduler::RR, SchedulerFlags::empty()),
        (Scheduler::WRR, SchedulerFlags::empty()),
        (Scheduler::SH, SchedulerFlags::PORT),
        (Scheduler::SH, both),
        (Scheduler::MH, SchedulerFlags::PORT),
        (Scheduler::MH, both),
        (Scheduler::DH, SchedulerFlags::empty()),
        (Scheduler::LC, SchedulerFlags::empty()),
        (Scheduler::WLC, SchedulerFlags::empty()),
        (Scheduler::LBLC, SchedulerFlags::empty()),
        (Scheduler::LBLCR, SchedulerFlags::empty()),
        (Scheduler::SED, SchedulerFlags::empty()),
        (Scheduler::NQ, SchedulerFlags::empty()),
        (Scheduler::FO, SchedulerFlags::empty()),
        (Scheduler::OVF, SchedulerFlags::empty()),
    ];
    for (index, (scheduler, flags)) in (0_u16..).zip(schedulers) {
        let mut refused = false;
        let mut predicted = false;
        for (round, leaving) in (0_u16..).zip([&[1][..], &[2], &[1, 2]]) {
            // A port of its own: no connection of an earlier round is left.
            let port = 8000 + 10 * index + round;
            let service = Service { flags, ..Service::new(ServiceKey::udp([10, 1, 0, 100], port), scheduler) };
            add(&mut client, &service);
            let mut drain = Drain::new(None);
            leaving.iter().for_each(|number| drain.start(service.key, server(*number), Duration::ZERO));
            let state = client.state().unwrap();
            let state = state.services.iter().find(|state| state.service.key == service.key).unwrap();
            let is_predicted = refuses_clients(state, |key| drain.contains(&service.key, key));
            let changes: Vec<_> = drain.step(&client.state().unwrap(), Duration::ZERO).changes;
            // Servers without connections are deleted in the next step, so only the weights are written.
            client.submit(&changes).unwrap().into_result().unwrap();
            let replies = nat.client.client().datagrams(12, &format!("10.1.0.100:{port}"));
            let are_refused = replies.servers.iter().filter(|name| *name == "refused").count();
            if leaving.len() == 2 {
                assert!(is_predicted && are_refused == 12, "{scheduler} {flags:?}: {replies}");
            } else {
                refused |= are_refused > 0;
                predicted = is_predicted;
                assert!(is_predicted || are_refused == 0, "{scheduler} {flags:?}: {replies}");
            }
        }
        assert_eq!(refused, predicted, "{scheduler} {flags:?}");
    }
}
