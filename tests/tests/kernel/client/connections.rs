//! The connection table, as the kernel shows it.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use ipvs::{Change, Client, ConnectionEntry, Engine, Family, Namespace, Netmask, Scheduler, Service, ServiceKey};
use ipvs_tests::lab::topology::{Host, Lab, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;

use super::{add, ip, server, submit};

ipvs_tests::tests! {
    none_at_start;
    tcp_connection;
    udp_connection;
    ipv6_connections;
    persistence_templates;
    templates_of_a_mark;
    templates_of_a_persistence_engine;
    list_longer_than_a_page;
    reads_the_namespace_of_the_client;
    reads_the_namespace_of_an_ended_process;
}

/// Returns a director that is its own client: the addresses of both are on lo. The servers do not exist, but the kernel
/// creates connections to them.
fn director_that_is_its_own_client() -> (Host, Client) {
    let host = Lab::new().unwrap().host("director").unwrap();
    for address in ["192.0.2.1/32", "192.0.2.9/32", "2001:db8::1/128", "2001:db8::9/128"] {
        host.address("lo", address).unwrap();
    }
    let client = Client::open_in(&Namespace::Name("director".to_owned())).unwrap();
    (host, client)
}

/// Sends a datagram from one address to another in a director's namespace, with a firewall mark (0: none).
#[track_caller]
fn send(director: &Host, from: &str, to: &str, mark: u32, datagram: &[u8]) {
    director.enter(|| {
        let socket = UdpSocket::bind(from).unwrap();
        // SAFETY: the descriptor is open, and the pointer and length are those of a live integer.
        let marked = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MARK,
                (&raw const mark).cast(),
                size_of_val(&mark) as libc::socklen_t,
            )
        };
        assert_eq!(marked, 0);
        // The server is not reachable; some kernels report that as an error.
        let _ = socket.send_to(datagram, to);
    });
}

#[track_caller]
fn entries(client: &Client) -> Vec<ConnectionEntry> {
    client.connections().unwrap().collect::<Result<_, _>>().unwrap()
}

fn to(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns protocol and state.
fn protocol_and_state(entry: &ConnectionEntry) -> (&str, &str) {
    let word = |bytes| std::str::from_utf8(bytes).unwrap();
    (word(entry.protocol.as_bytes()), word(entry.state.as_bytes()))
}

fn none_at_start() {
    assert_eq!(Client::open().unwrap().connections().unwrap().count(), 0);
}

fn tcp_connection() {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    let mut client = Client::open_in(&Namespace::Name("director".to_owned())).unwrap();
    let key = ServiceKey::tcp(ip(Nat::VIP), 80);
    submit(&mut client, [add(key), Change::AddDestination(key, server("10.2.0.11", 9000))]);
    let _held = nat.client.client().from("10.1.0.10:40001").hold(1, "10.1.0.100:80");
    let [entry] = &entries(&client)[..] else { panic!("{:?}", entries(&client)) };
    assert_eq!(protocol_and_state(entry), ("TCP", "ESTABLISHED"));
    assert_eq!(
        (entry.client, entry.service, entry.destination),
        (to("10.1.0.10:40001"), to("10.1.0.100:80"), to("10.2.0.11:9000"))
    );
    assert!((890..=900).contains(&entry.expires), "{entry:?}");
    assert_eq!((entry.is_template(), entry.fwmark(), &entry.engine, entry.family()), (false, None, &None, Family::V4));
}

fn udp_connection() {
    let (director, mut client) = director_that_is_its_own_client();
    let key = ServiceKey::udp(ip("192.0.2.1"), 53);
    submit(&mut client, [add(key), Change::AddDestination(key, server("10.0.0.1", 5353))]);
    send(&director, "192.0.2.9:40001", "192.0.2.1:53", 0, b"?");
    let [entry] = &entries(&client)[..] else { panic!("{:?}", entries(&client)) };
    assert_eq!(protocol_and_state(entry), ("UDP", "UDP"));
    assert_eq!(
        (entry.client, entry.service, entry.destination),
        (to("192.0.2.9:40001"), to("192.0.2.1:53"), to("10.0.0.1:5353"))
    );
    assert!((290..=300).contains(&entry.expires), "{entry:?}");
}

/// The servers are of both families.
fn ipv6_connections() {
    let (director, mut client) = director_that_is_its_own_client();
    for (port, address) in [(53, "2001:db8:1::1"), (54, "10.0.0.1")] {
        let key = ServiceKey::udp(ip("2001:db8::1"), port);
        let tunnelled = ipvs::Destination { forwarding: ipvs::Forwarding::IPIP, ..server(address, port) };
        submit(&mut client, [add(key), Change::AddDestination(key, tunnelled)]);
        send(&director, "[2001:db8::9]:40001", &format!("[2001:db8::1]:{port}"), 0, b"?");
    }
    let mut entries = entries(&client);
    entries.sort_by_key(|entry| entry.service.port());
    let ends: Vec<_> = entries.iter().map(|entry| (entry.client, entry.service, entry.destination)).collect();
    assert_eq!(
        ends,
        [
            (to("[2001:db8::9]:40001"), to("[2001:db8::1]:53"), to("[2001:db8:1::1]:53")),
            (to("[2001:db8::9]:40001"), to("[2001:db8::1]:54"), to("10.0.0.1:54")),
        ]
    );
    assert!(entries.iter().all(|entry| entry.family() == Family::V6 && protocol_and_state(entry) == ("UDP", "UDP")));
}

fn persistent(key: ServiceKey) -> Service {
    Service { persistence: Some(300), ..Service::new(key, Scheduler::RR) }
}

/// A template has the client's network and port 0.
fn persistence_templates() {
    let (director, mut client) = director_that_is_its_own_client();
    let key = ServiceKey::udp(ip("192.0.2.1"), 53);
    let service = Service { netmask: Netmask::V4([255, 255, 255, 0].into()), ..persistent(key) };
    submit(&mut client, [Change::AddService(service), Change::AddDestination(key, server("10.0.0.1", 53))]);
    send(&director, "192.0.2.9:40001", "192.0.2.1:53", 0, b"?");
    let mut entries = entries(&client);
    entries.sort_by_key(|entry| entry.client.port());
    let [template, connection] = &entries[..] else { panic!("{entries:?}") };
    assert!(template.is_template() && !connection.is_template());
    assert_eq!(template.client, to("192.0.2.0:0"));
    assert_eq!((template.service, template.destination), (to("192.0.2.1:53"), to("10.0.0.1:53")));
    assert!(["NONE", "ASSURED"].contains(&protocol_and_state(template).1), "{template:?}");
    assert_eq!(connection.client, to("192.0.2.9:40001"));
}

/// A template of a firewall mark has the mark instead of the service's address.
fn templates_of_a_mark() {
    let (director, mut client) = director_that_is_its_own_client();
    const MARK: u32 = 0x7000_0009;
    for (family, address) in [(Family::V4, "10.0.0.1"), (Family::V6, "2001:db8:1::1")] {
        let key = ServiceKey::fwmark(MARK, family).unwrap();
        submit(&mut client, [Change::AddService(persistent(key)), Change::AddDestination(key, server(address, 0))]);
    }
    send(&director, "192.0.2.9:40001", "192.0.2.1:53", MARK, b"?");
    send(&director, "[2001:db8::9]:40001", "[2001:db8::1]:53", MARK, b"?");
    let entries = entries(&client);
    let templates: Vec<_> = entries.iter().filter(|entry| entry.is_template()).collect();
    assert_eq!((entries.len(), templates.len()), (4, 2), "{entries:?}");
    for template in templates {
        assert_eq!(protocol_and_state(template).0, "IP");
        assert_eq!(template.fwmark(), Some(MARK), "{template:?}");
    }
    // The connections of a template look like those of any other service.
    assert!(entries.iter().filter(|entry| !entry.is_template()).all(|entry| entry.fwmark().is_none()));
}

/// The client chooses its Call-ID: here Latin-1 letters, which are not valid UTF-8.
fn templates_of_a_persistence_engine() {
    let (director, mut client) = director_that_is_its_own_client();
    let key = ServiceKey::udp(ip("192.0.2.1"), 5060);
    let service = Service { engine: Some(Engine::new("sip").unwrap()), ..persistent(key) };
    submit(&mut client, [Change::AddService(service), Change::AddDestination(key, server("10.0.0.1", 5060))]);
    let invitation = b"INVITE sip:a@192.0.2.1 SIP/2.0\r\nCall-ID: caf\xe9-%~@192.0.2.9\r\nCSeq: 1 INVITE\r\n\r\n";
    send(&director, "192.0.2.9:5060", "192.0.2.1:5060", 0, invitation);
    let entries = entries(&client);
    let template = entries.iter().find(|entry| entry.is_template()).unwrap_or_else(|| panic!("{entries:?}"));
    let (engine, data) = template.engine.as_ref().expect("a persistence engine");
    assert_eq!(engine.as_bytes(), b"sip");
    assert_eq!(**data, *b"caf\xe9-%~@192.0.2.9");
}

/// The kernel returns at most a page for each `read`.
fn list_longer_than_a_page() {
    let (director, mut client) = director_that_is_its_own_client();
    let key = ServiceKey::udp(ip("192.0.2.1"), 53);
    submit(&mut client, [add(key), Change::AddDestination(key, server("10.0.0.1", 53))]);
    director.enter(|| {
        for port in 10_000..10_500 {
            let _ = UdpSocket::bind(("192.0.2.9", port)).unwrap().send_to(b"?", "192.0.2.1:53");
        }
    });
    let mut ports: Vec<u16> = entries(&client).iter().map(|entry| entry.client.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, (10_000..10_500).collect::<Vec<_>>());
}

/// The client reads the table of the namespace in which it was opened.
fn reads_the_namespace_of_the_client() {
    let (director, mut client) = director_that_is_its_own_client();
    let key = ServiceKey::udp(ip("192.0.2.1"), 53);
    submit(&mut client, [add(key), Change::AddDestination(key, server("10.0.0.1", 53))]);
    send(&director, "192.0.2.9:40001", "192.0.2.1:53", 0, b"?");
    let outside = Client::open().unwrap();
    let inside = director.enter(|| Client::open().unwrap());
    for (client, count) in [(&client, 1), (&inside, 1), (&outside, 0)] {
        assert_eq!(entries(client).len(), count);
        assert_eq!(director.enter(|| entries(client).len()), count);
    }
}

/// The client was opened in the namespace of a process that has since ended.
fn reads_the_namespace_of_an_ended_process() {
    let (director, _) = director_that_is_its_own_client();
    let process = director.start("sleep 60");
    let client = Client::open_in(&Namespace::Pid(process.pid().as_raw_nonzero().get() as u32)).unwrap();
    drop(process);
    assert_eq!(entries(&client), []);
}
