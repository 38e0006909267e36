//! Tasks of programs that manage a director, written with the library alone.
//!
//! They come from the tests of other libraries (cloudflare/ipvs), and from programs that edit tables.

use std::net::Ipv6Addr;

use ipvs::rules::{Numeric, read_config};
use ipvs::{
    Applied, ApplyError, Client, Destination, Error, ErrorKind, Family, Forwarding, GueChecksum, Invalid, Netmask,
    Scheduler, Scope, Service, ServiceKey, Timeouts, Tunnel, apply, plan,
};

ipvs_tests::tests! {
    services_are_read_as_they_were_added;
    every_scheduler_is_changed;
    tunnelled_destinations;
    timeouts_are_set;
    one_weight_of_a_file_is_changed_in_a_scope;
    refusals_of_a_file_are_listed;
}

fn persistent() -> [Service; 2] {
    let four = Service {
        persistence: Some(360),
        netmask: Netmask::from_prefix(Family::V4, 31).unwrap(),
        ..Service::new(ServiceKey::tcp([127, 0, 1, 1], 80), Scheduler::WLC)
    };
    let six = Service::new(ServiceKey::tcp("ff00::".parse::<Ipv6Addr>().unwrap(), 80), Scheduler::WLC);
    [four, Service { persistence: Some(360), ..six }]
}

fn services_are_read_as_they_were_added() -> Result<(), Error> {
    let mut client = Client::open()?;
    assert!(client.services()?.is_empty());
    for service in persistent() {
        client.add_service(&service)?;
        assert_eq!(client.service(&service.key)?.service, service);
        let error = client.add_service(&service).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ServiceExists), "{error}");
    }
    let mut services: Vec<Service> = client.services()?.iter().map(|state| state.service).collect();
    services.sort_by_key(|service| service.key);
    assert_eq!(services, persistent());
    for service in persistent() {
        assert!(client.remove_service(&service.key)?);
        assert!(!client.remove_service(&service.key)?);
    }
    Ok(())
}

fn every_scheduler_is_changed() -> Result<(), Error> {
    let mut client = Client::open()?;
    for service in persistent() {
        client.add_service(&service)?;
    }
    for state in client.services()? {
        client.update_service(&state.service.key, |service| service.scheduler = Scheduler::RR)?;
    }
    assert!(client.services()?.iter().all(|state| state.service.scheduler == "rr"));
    assert!(client.services()?.iter().all(|state| state.service.persistence == Some(360)), "the rest stays");
    Ok(())
}

fn tunnelled_destinations() -> Result<(), Error> {
    let mut client = Client::open()?;
    let [four, _] = persistent();
    client.add_service(&four)?;
    let gue = Tunnel::Gue { port: 5580.try_into().unwrap(), checksum: GueChecksum::Remote };
    let destinations = [
        Destination::new(([127, 0, 1, 1], 80), Forwarding::DirectRoute),
        Destination::new(([127, 0, 1, 2], 80), Forwarding::Tunnel(gue)),
        Destination::new(([127, 0, 1, 3], 80), Forwarding::Tunnel(Tunnel::Gre { checksum: true })),
    ];
    for destination in destinations {
        client.add_destination(&four.key, &destination)?;
        assert_eq!(client.destination(&four.key, &destination.key)?.destination, destination);
    }
    let other = Destination::new(("2004:db8::3".parse::<Ipv6Addr>().unwrap(), 80), Forwarding::DirectRoute);
    let error = client.add_destination(&four.key, &other).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(Invalid::MixedFamily { .. })), "{error}");
    assert_eq!(client.destinations(&four.key)?.len(), 3);
    Ok(())
}

fn timeouts_are_set() -> Result<(), Error> {
    let mut client = Client::open()?;
    let timeouts = Timeouts { tcp: 900, tcp_fin: 901, udp: 902 };
    client.set_timeouts(&timeouts)?;
    assert_eq!(client.timeouts()?, timeouts);
    Ok(())
}

const RULES: &str = "\
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1
-A -t 198.51.100.1:80 -s rr
";

fn one_weight_of_a_file_is_changed_in_a_scope() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = read_config(RULES.as_bytes(), &mut Numeric)?.config;
    let mut client = Client::open()?;
    let options = plan::Options::default();
    apply(&mut client, &config, &options)?;
    config.services.retain(|service| service.service.key == ServiceKey::tcp([192, 0, 2, 1], 80));
    config.services[0].destinations[1].weight = 42;
    let scope = Scope { only: vec!["192.0.2.0/24".parse()?], ..Scope::default() };
    let Applied { plan, after, .. } = apply(&mut client, &config, &options.scope(scope))?;
    assert_eq!(plan.to_string(), "-e -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 42\n");
    assert_eq!(after.services.len(), 2, "the service outside of the scope stays");
    Ok(())
}

fn refusals_of_a_file_are_listed() -> Result<(), Box<dyn std::error::Error>> {
    let config = read_config(format!("{RULES}-A -f 7 -s nosuch\n").as_bytes(), &mut Numeric)?.config;
    let error = apply(&mut Client::open()?, &config, &plan::Options::default()).unwrap_err();
    let ApplyError::NotReached { refused, remaining } = error else { panic!("{error}") };
    assert!(matches!(refused[0].1.kind(), ErrorKind::SchedulerNotFound { .. }), "{refused:?}");
    assert_eq!(remaining, [refused[0].0]);
    Ok(())
}
