//! The whole state of a table, in one call.

use std::net::Ipv4Addr;

use ipvs::{
    Change, Client, Config, Destination, Engine, Family, Forwarding, Info, Interface, Namespace, Netmask, Role,
    Scheduler, Service, ServiceConfig, ServiceKey, SyncDaemon, Timeouts, Version,
};
use ipvs_tests::host::kernel::running;
use ipvs_tests::lab::topology::Lab;
use ipvs_tests::random::steps;

use super::{add, ip, server, submit, web, web6};

ipvs_tests::tests! {
    empty_table;
    read_as_configured;
    converts_to_config;
    namespaces_are_independent;
    documented_example_works;
}

fn empty_table() {
    let mut client = Client::open().unwrap();
    let state = client.state().unwrap();
    // Since 7.1 the kernel creates the connection table with the first service.
    let connection_table_size = if running() < (7, 1) { 4096 } else { 0 };
    assert_eq!(state.info, Info::new(Version(1, 2, 1), connection_table_size));
    assert_eq!(state.info.version.to_string(), "1.2.1");
    assert_eq!(state.timeouts, Timeouts::KERNEL_DEFAULT);
    assert_eq!((state.daemons, state.services), (vec![], vec![]));
    submit(&mut client, [add(web())]);
    assert!(client.info().unwrap().connection_table_size >= 256);
}

/// Returns a config with every setting.
fn everything() -> Config {
    let sip = Service {
        persistence: Some(300),
        netmask: Netmask::V6(64),
        engine: Some(Engine::new("sip").unwrap()),
        one_packet: true,
        ..Service::new(ServiceKey::udp(ip("2001:db8::1"), 5060), Scheduler::MH)
    };
    let marked = Service::new(ServiceKey::fwmark(7, Family::V4).unwrap(), Scheduler::WRR);
    let direct = |address: &str, weight| Destination {
        forwarding: Forwarding::DirectRoute,
        weight,
        upper_threshold: 100,
        lower_threshold: 50,
        ..server(address, 0)
    };
    Config {
        timeouts: Some(Timeouts { tcp: 7200, tcp_fin: 60, udp: 30 }),
        daemons: Some(vec![SyncDaemon {
            role: Role::Master,
            interface: Interface::new("lo").unwrap(),
            sync_id: 7,
            max_length: Some(1400),
            group: Some(ip("239.1.2.3")),
            port: Some(8849),
            ttl: Some(2),
        }]),
        services: vec![
            ServiceConfig { service: Service::new(web(), Scheduler::RR), destinations: vec![server("10.0.0.1", 8080)] },
            ServiceConfig { service: Service::new(web6(), Scheduler::WLC), destinations: vec![] },
            ServiceConfig { service: sip, destinations: (1..=20).map(|port| server("2001:db8:1::1", port)).collect() },
            ServiceConfig { service: marked, destinations: vec![direct("10.0.0.1", 1), direct("10.0.0.2", 0)] },
        ],
        order: ipvs::Order::Kernel,
    }
}

fn read_as_configured() {
    let mut client = Client::open().unwrap();
    let configured = everything();
    submit(&mut client, steps(&configured));
    let mut state = client.state().unwrap();
    assert_eq!(Some(state.timeouts), configured.timeouts);
    assert_eq!(Some(&state.daemons), configured.daemons.as_ref());
    state.services.sort_by_key(|state| state.service.key);
    let mut expected = configured.services;
    expected.sort_by_key(|config| config.service.key);
    assert_eq!(state.services.len(), expected.len());
    for (state, config) in state.services.iter().zip(expected) {
        assert_eq!(state.service, config.service);
        let oldest_first: Vec<Destination> = state.destinations.iter().rev().map(|state| state.destination).collect();
        assert_eq!(oldest_first, config.destinations);
        // There was no traffic, and the library knows every attribute that the kernel sends.
        assert_eq!(state.stats, ipvs::Stats::default());
        assert!(state.unknown.is_empty(), "{:?}", state.unknown);
        for server in &state.destinations {
            assert_eq!(*server, ipvs::DestinationState::new(server.destination));
        }
    }
}

fn converts_to_config() {
    let mut client = Client::open().unwrap();
    submit(&mut client, steps(&everything()));
    let mut read = Config::from(&client.state().unwrap());
    read.services.sort_by_key(|config| config.service.key);
    let mut configured = everything();
    configured.services.sort_by_key(|config| config.service.key);
    assert_eq!(read, configured);
}

fn namespaces_are_independent() {
    let _hosts = Lab::new().unwrap().hosts(["red", "blue"]).unwrap();
    let open = |name: &str| Client::open_in(&Namespace::Name(name.to_owned())).unwrap();
    let (mut own, mut red, mut blue) = (Client::open().unwrap(), open("red"), open("blue"));
    submit(&mut red, [add(web()), Change::AddDestination(web(), server("10.0.0.1", 80))]);
    submit(&mut blue, [add(web6()), Change::SetTimeouts(Timeouts { tcp: 1, tcp_fin: 1, udp: 1 })]);
    let keys = |client: &mut Client| -> Vec<ServiceKey> {
        client.state().unwrap().services.iter().map(|state| state.service.key).collect()
    };
    assert_eq!([&mut own, &mut red, &mut blue].map(keys), [vec![], vec![web()], vec![web6()]]);
    assert_eq!(red.destinations(&web()).unwrap().len(), 1);
    assert_eq!(red.timeouts().unwrap(), Timeouts::KERNEL_DEFAULT);
}

/// Runs the example of `Client`'s documentation, which the doctest only compiles.
fn documented_example_works() {
    let documented = || -> Result<(), ipvs::Error> {
        let mut director = Client::open()?;
        let service = Service::new(ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 80), Scheduler::RR);
        let server = Destination::new((Ipv4Addr::new(10, 0, 0, 1), 8080), Forwarding::Masquerade);
        for (index, refusal) in
            director.submit(&[Change::AddService(service), Change::AddDestination(service.key, server)])?
        {
            eprintln!("change {index}: {refusal}");
        }
        Ok(())
    };
    documented().unwrap();
    let state = Client::open().unwrap().state().unwrap();
    assert_eq!(state.services.len(), 1);
    assert_eq!(state.services[0].destinations.len(), 1);
}
