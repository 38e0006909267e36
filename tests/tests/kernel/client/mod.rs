//! `ipvs::Client`: submitted changes reach the kernel, and the client reads the same values from the kernel.

mod connections;
mod daemons;
mod destinations;
mod invalid;
mod refusals;

mod services;
mod state;
mod statistics;

mod timeouts;

use std::net::IpAddr;

use ipvs::{Change, Client, Destination, DestinationKey, ErrorKind, Forwarding, Scheduler, Service, ServiceKey};
use ipvs_tests::harness::Test;
use ipvs_tests::net::rtnl;

pub(crate) fn tests() -> Vec<Test> {
    [
        services::tests(),
        destinations::tests(),
        timeouts::tests(),
        daemons::tests(),
        state::tests(),
        statistics::tests(),
        connections::tests(),
        refusals::tests(),
        invalid::tests(),
    ]
    .concat()
}

/// Makes an Ethernet interface, eth0, for sync daemons.
pub(crate) fn ethernet() {
    let socket = rtnl::Socket::open().unwrap();
    socket.add_link("eth0", "dummy").unwrap();
    socket.set_up("eth0").unwrap();
    // A source address for daemons, because the link-local address that the kernel adds is usable only some time later.
    socket.add_address("eth0", "fd00::1/64").unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Returns the key TCP 192.0.2.1:80.
fn web() -> ServiceKey {
    ServiceKey::tcp(ip("192.0.2.1"), 80)
}

/// Returns the key TCP [2001:db8::1]:80.
fn web6() -> ServiceKey {
    ServiceKey::tcp(ip("2001:db8::1"), 80)
}

/// Returns a change that adds a service with the scheduler rr.
fn add(key: ServiceKey) -> Change {
    Change::AddService(Service::new(key, Scheduler::RR))
}

/// Returns a masquerading server of weight 1.
fn server(address: &str, port: u16) -> Destination {
    Destination::new(DestinationKey::new(ip(address), port), Forwarding::Masquerade)
}

/// Submits changes; panics if one is refused.
#[track_caller]
fn submit(client: &mut Client, changes: impl AsRef<[Change]>) {
    let refused = client.submit(changes.as_ref()).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Submits a change and returns its refusal; panics if it is not refused.
#[track_caller]
fn refused(client: &mut Client, change: Change) -> ipvs::Error {
    let refused = client.submit(&[change]).unwrap();
    assert_eq!(refused.len(), 1, "{change} was not refused");
    refused.into_result().unwrap_err()
}

/// Checks that a change is refused with this message and kind.
#[track_caller]
fn refused_with(client: &mut Client, change: Change, message: &str, kind: impl FnOnce(&ErrorKind) -> bool) {
    let error = refused(client, change);
    assert_eq!(error.to_string(), message);
    assert!(kind(error.kind()), "{error:?}");
}

/// Returns all services, sorted by key because the kernel's order has no meaning.
#[track_caller]
fn services(client: &mut Client) -> Vec<Service> {
    let mut services: Vec<Service> = client.services().unwrap().iter().map(|state| state.service).collect();
    services.sort_by_key(|service| service.key);
    services
}

/// Returns the servers of a service, the newest first.
#[track_caller]
fn servers(client: &mut Client, key: &ServiceKey) -> Vec<Destination> {
    client.destinations(key).unwrap().iter().map(|state| state.destination).collect()
}
