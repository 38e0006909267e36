//! Faults of earlier versions of the library, on a real kernel.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipvs::plan::Options;
use ipvs::{
    ApplyError, Change, Client, Config, Counters, Destination, DestinationKey, ErrorKind, Family, Forwarding, Netmask,
    Scheduler, SchedulerFlags, Service, ServiceConfig, ServiceKey, Tunnel, apply,
};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;

use crate::socket::permission::without_net_admin;

ipvs_tests::tests! {
    refusals_without_privilege_are_seen;
    shared_client_reads_counters_as_asked;
    invalid_values_are_refused_before_sending;
    validate_and_apply_agree;
}

fn web() -> Service {
    Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR)
}

/// A caller that reads only `Ok` or `Err` of `submit` takes a refused flush for a success. A single change is an `Err`.
fn refusals_without_privilege_are_seen() {
    Client::open().unwrap().add_service(&web()).unwrap();
    without_net_admin(|| {
        let mut client = Client::open().unwrap();
        let refused = client.submit(&[Change::Flush]).unwrap();
        assert!(matches!(&*refused, [(0, error)] if matches!(error.kind(), ErrorKind::NoPermission)), "{refused:?}");
        for error in [
            refused.into_result().unwrap_err(),
            client.change(Change::Flush).unwrap_err(),
            client.flush().unwrap_err(),
            client.ensure_service(&web()).unwrap_err(),
            client.remove_service(&web().key).unwrap_err(),
            client.state().unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::NoPermission), "{error}");
        }
    });
    assert_eq!(Client::open().unwrap().services().unwrap().len(), 1);
}

/// Reading without counters is an argument of each reading, so it does not affect other users of the client.
fn shared_client_reads_counters_as_asked() {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    let mut client = nat.director.enter(Client::open).unwrap();
    let web = Service::new(ServiceKey::tcp([10, 1, 0, 100], 80), Scheduler::RR);
    client.add_service(&web).unwrap();
    let server = Destination::new(([10, 2, 0, 11], 80), Forwarding::Masquerade);
    client.add_destination(&web.key, &server).unwrap();
    assert_eq!(nat.client.client().hold(3, "10.1.0.100:80").to_string(), "web1=3");
    // The kernel updates the counters every 2 s.
    wait::until(Duration::from_secs(30), || match client.state().unwrap().services[0].stats.connections {
        3 => Ok(()),
        other => Err(other.to_string()),
    });
    let client = std::sync::Mutex::new(client);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                client.lock().unwrap().state_with(Counters::Skip).unwrap();
            }
        });
        for _ in 0..200 {
            let mut client = client.lock().unwrap();
            let state = client.state().unwrap();
            assert_eq!(state.services[0].stats.connections, 3);
            assert_eq!(state.services[0].destinations[0].stats.connections, 3);
            assert_eq!(client.service(&web.key).unwrap().stats.connections, 3);
        }
    });
}

/// `validate` and `apply` refuse the same configuration for the same reason.
fn invalid_values_are_refused_before_sending() {
    let mut client = Client::open().unwrap();
    let mut server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    for (weight, is_valid) in [(0, true), (i32::MAX as u32, true), (i32::MAX as u32 + 1, false), (u32::MAX, false)] {
        server.weight = weight;
        let config = Config {
            services: vec![ServiceConfig { service: web(), destinations: vec![server] }],
            ..Config::default()
        };
        assert_eq!(config.validate().is_ok(), is_valid, "{weight}");
        let change = [Change::AddService(web()), Change::AddDestination(web().key, server)];
        match client.submit(&change) {
            Ok(refused) => assert!(is_valid && refused.is_empty(), "{weight}: {refused:?}"),
            Err(error) => assert!(!is_valid && matches!(error.kind(), ErrorKind::Invalid(_)), "{weight}: {error}"),
        }
        assert_eq!(client.services().unwrap().len(), usize::from(is_valid), "{weight}");
        client.flush().unwrap();
    }
}

/// A configuration that `validate` accepts is applied. One that it refuses is refused by `apply` for the same reason, and
/// nothing of it is sent.
fn validate_and_apply_agree() {
    let mut client = Client::open().unwrap();
    let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    let longest = Service::MAX_PERSISTENCE;
    let with = |service: Service, server: Destination| Config {
        services: vec![ServiceConfig { service, destinations: vec![server] }],
        ..Config::default()
    };
    let persistent = |persistence| with(Service { persistence: Some(persistence), ..web() }, server);
    let limited =
        |lower_threshold, upper_threshold| with(web(), Destination { lower_threshold, upper_threshold, ..server });
    let address = |key: DestinationKey| with(web(), Destination { key, ..server });
    let forwarded = |forwarding| with(web(), Destination { forwarding, ..server });
    let mixed = |forwarding| {
        with(web(), Destination { forwarding, key: DestinationKey::new(Ipv6Addr::LOCALHOST, 80), ..server })
    };
    let twice = |mut config: Config| {
        config.services.extend(config.services.clone());
        config
    };
    let cases = [
        (true, with(web(), server)),
        (true, persistent(1)),
        (true, persistent(longest)),
        (false, persistent(0)),
        (false, persistent(longest + 1)),
        (true, limited(0, 0)),
        (true, limited(5, 5)),
        (true, limited(0, i32::MAX as u32)),
        (false, limited(0, i32::MAX as u32 + 1)),
        (false, limited(5, 0)),
        (false, limited(6, 5)),
        (false, address(DestinationKey::new([224, 0, 0, 1], 80))),
        (false, address(DestinationKey::new([0, 0, 0, 0], 80))),
        (true, forwarded(Forwarding::DirectRoute)),
        (false, forwarded(Forwarding::Other(200))),
        (true, mixed(Forwarding::Tunnel(Tunnel::Ipip))),
        (false, mixed(Forwarding::Masquerade)),
        (false, with(Service { netmask: Netmask::host(Family::V6), ..web() }, server)),
        (false, with(Service { flags: SchedulerFlags::from_bits_retain(1), ..web() }, server)),
        (false, with(Service { scheduler: Scheduler::new("r r").unwrap(), ..web() }, server)),
        (false, twice(with(web(), server))),
    ];
    for (is_valid, config) in cases {
        let validated = config.validate();
        assert_eq!(validated.is_ok(), is_valid, "{config:?}: {validated:?}");
        match apply(&mut client, &config, &Options::default()) {
            Ok(_) => assert!(is_valid, "{config:?}"),
            Err(ApplyError::Invalid(why)) => assert_eq!(validated, Err(why), "{config:?}"),
            Err(error) => panic!("{config:?}: {error}"),
        }
        assert_eq!(client.services().unwrap().len(), usize::from(is_valid), "{config:?}");
        client.flush().unwrap();
    }
}
