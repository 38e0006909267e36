//! Real servers: each field is read as it was written.

use std::num::NonZeroU16;

use ipvs::{Change, Client, Destination, DestinationKey, Forwarding, GueChecksum, ServiceKey, Tunnel};

use super::{add, ip, server, servers, submit, web, web6};

ipvs_tests::tests! {
    keys_by_address_and_port;
    every_forwarding_method;
    every_tunnel;
    tunnels_across_families;
    weights;
    thresholds;
    edit_replaces_every_setting;
    edit_keeps_the_position;
    delete_removes_one_server;
    added_again_has_the_new_settings;
    servers_of_a_mark;
    missing_service_has_no_servers;
    thousand_servers;
}

/// Writes servers and checks that they are read back the same, the newest first.
#[track_caller]
fn read_as_written(key: ServiceKey, written: &[Destination]) {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(key)]);
    submit(&mut client, written.iter().map(|server| Change::AddDestination(key, *server)).collect::<Vec<_>>());
    assert_eq!(servers(&mut client, &key), written.iter().rev().copied().collect::<Vec<_>>());
    submit(&mut client, [Change::Flush]);
}

/// Returns servers at ports 1, 2, 3, … of 10.0.0.1, each changed by a function.
fn each<T>(values: impl IntoIterator<Item = T>, change: impl Fn(&mut Destination, T)) -> Vec<Destination> {
    let numbered = (1..).zip(values).map(|(port, value)| {
        let mut server = server("10.0.0.1", port);
        change(&mut server, value);
        server
    });
    numbered.collect()
}

fn all_tunnels() -> Vec<Tunnel> {
    let port = NonZeroU16::new(6080).unwrap();
    vec![
        Tunnel::Ipip,
        Tunnel::Gue { port, checksum: GueChecksum::None },
        Tunnel::Gue { port, checksum: GueChecksum::Full },
        Tunnel::Gue { port: NonZeroU16::MAX, checksum: GueChecksum::Remote },
        Tunnel::Gre { checksum: false },
        Tunnel::Gre { checksum: true },
    ]
}

fn keys_by_address_and_port() {
    read_as_written(
        web(),
        &[server("10.0.0.1", 80), server("10.0.0.1", 81), server("10.0.0.1", 0), server("240.0.0.1", 80)],
    );
    read_as_written(web6(), &[server("2001:db8:1::1", 80), server("2001:db8:1::1", 65535), server("::1", 80)]);
}

fn every_forwarding_method() {
    let methods = [
        Forwarding::Masquerade,
        Forwarding::Local,
        Forwarding::IPIP,
        Forwarding::DirectRoute,
        Forwarding::Bypass,
        Forwarding::Other(5),
        Forwarding::Other(6),
        Forwarding::Other(7),
    ];
    read_as_written(web(), &each(methods, |server, method| server.forwarding = method));
}

fn every_tunnel() {
    // The library has no variant for these combinations. They are read unchanged, and can be written back.
    let strange = [
        Tunnel::Other { kind: 1, port: 6080, flags: 3 },
        Tunnel::Other { kind: 2, port: 6080, flags: 0 },
        Tunnel::Other { kind: 0, port: 0, flags: 1 },
        Tunnel::Other { kind: 9, port: 1, flags: 0xff00 },
    ];
    let all = all_tunnels().into_iter().chain(strange);
    read_as_written(web(), &each(all, |server, tunnel| server.forwarding = Forwarding::Tunnel(tunnel)));
}

fn tunnels_across_families() {
    let to = |address: &str| -> Vec<Destination> {
        (1..)
            .zip(all_tunnels())
            .map(|(port, tunnel)| Destination::new((ip(address), port), Forwarding::Tunnel(tunnel)))
            .collect()
    };
    read_as_written(web(), &to("2001:db8:1::1"));
    read_as_written(web6(), &to("10.0.0.1"));
    // Both addresses begin with the same four bytes, so the family must be part of the key.
    read_as_written(web(), &[to("10.0.0.1")[0], to("a00:1::")[0]]);
}

fn weights() {
    read_as_written(web(), &each([0, 1, 65535, 65536, Destination::MAX], |server, weight| server.weight = weight));
}

fn thresholds() {
    let thresholds = [(0, 0), (100, 0), (100, 50), (100, 100), (Destination::MAX, Destination::MAX)];
    read_as_written(
        web(),
        &each(thresholds, |server, (upper, lower)| {
            (server.upper_threshold, server.lower_threshold) = (upper, lower);
        }),
    );
}

fn edit_replaces_every_setting() {
    let plain = server("10.0.0.1", 8080);
    let full = Destination {
        key: plain.key,
        forwarding: Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::MIN, checksum: GueChecksum::Full }),
        weight: 7,
        upper_threshold: 100,
        lower_threshold: 50,
    };
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web()), Change::AddDestination(web(), plain)]);
    for server in [full, Destination { forwarding: Forwarding::IPIP, ..full }, plain, full] {
        submit(&mut client, [Change::EditDestination(web(), server)]);
        assert_eq!(servers(&mut client, &web()), [server]);
    }
}

fn edit_keeps_the_position() {
    let mut client = Client::open().unwrap();
    let three = [server("10.0.0.3", 80), server("10.0.0.2", 80), server("10.0.0.1", 80)];
    submit(&mut client, [add(web())]);
    submit(&mut client, three.iter().rev().map(|server| Change::AddDestination(web(), *server)).collect::<Vec<_>>());
    let heavy = Destination { weight: 9, ..three[1] };
    submit(&mut client, [Change::EditDestination(web(), heavy)]);
    assert_eq!(servers(&mut client, &web()), [three[0], heavy, three[2]]);
}

fn delete_removes_one_server() {
    let mut client = Client::open().unwrap();
    let [one, two] = [server("10.0.0.1", 80), server("10.0.0.1", 81)];
    submit(&mut client, [add(web()), Change::AddDestination(web(), one), Change::AddDestination(web(), two)]);
    submit(&mut client, [Change::DeleteDestination(web(), one.key)]);
    assert_eq!(servers(&mut client, &web()), [two]);
    submit(&mut client, [Change::DeleteService(web())]);
    assert_eq!(servers(&mut client, &web()), []);
}

/// The kernel keeps deleted servers for some minutes with their counters. If such a server is added again, the settings
/// must be the new ones.
fn added_again_has_the_new_settings() {
    let mut client = Client::open().unwrap();
    let one = Destination { weight: 5, upper_threshold: 10, ..server("10.0.0.1", 80) };
    let again = Destination { forwarding: Forwarding::DirectRoute, ..server("10.0.0.1", 80) };
    submit(&mut client, [add(web()), Change::AddDestination(web(), one)]);
    submit(&mut client, [Change::DeleteDestination(web(), one.key), Change::AddDestination(web(), again)]);
    assert_eq!(servers(&mut client, &web()), [again]);
    submit(&mut client, [Change::Flush, add(web()), Change::AddDestination(web(), one)]);
    assert_eq!(servers(&mut client, &web()), [one]);
}

fn servers_of_a_mark() {
    let mark = |family| ServiceKey::fwmark(7, family).unwrap();
    read_as_written(mark(ipvs::Family::V4), &[server("10.0.0.1", 0), server("10.0.0.2", 80)]);
    read_as_written(mark(ipvs::Family::V6), &[server("2001:db8:1::1", 0), server("2001:db8:1::2", 80)]);
}

fn missing_service_has_no_servers() {
    assert_eq!(servers(&mut Client::open().unwrap(), &web()), []);
}

fn thousand_servers() {
    let all: Vec<Destination> = (0..1000u16)
        .map(|number| Destination {
            key: DestinationKey::new([10, 0, (number >> 8) as u8, number as u8], 80),
            weight: number.into(),
            ..server("10.0.0.1", 80)
        })
        .collect();
    read_as_written(web(), &all);
}
