//! Changes that the client refuses before it sends anything. For each reason, a test also sends the same request to the
//! kernel and checks the result.

use std::net::IpAddr;
use std::num::NonZeroU16;

use ipvs::{
    Change, Client, Destination, ErrorKind, Family, Forwarding, GueChecksum, Invalid, Netmask, Role, Scheduler,
    Service, ServiceKey, SyncDaemon, Tunnel, Warning,
};
use ipvs_sys::uapi::{Command, DaemonAttrs, DestAttrs, IP_VS_SVC_F_PERSISTENT, ServiceAttrs};
use ipvs_sys::wire::{Address, Be16, FlagsMask};
use ipvs_sys::{Request, Socket};
use ipvs_tests::command::ok;
use ipvs_tests::host::kernel::running;
use ipvs_tests::oracle::rng::Rng;

use super::{add, ip, server, services, web, web6};
use crate::socket::{dest, errnos, master, new_service};

ipvs_tests::tests! {
    sends_nothing;
    zero_persistence;
    too_long_persistence;
    netmask_of_the_other_family;
    invalid_prefix_length;
    too_large_weight;
    too_large_threshold;
    lower_threshold_without_upper;
    lower_threshold_above_upper;
    other_family_without_tunnel;
    gue_tunnel_without_port;
    server_address_not_unicast;
    server_addresses_refused_unless_local;
    too_large_sync_id;
    group_not_multicast;
}

/// Checks that the client refuses a change for this reason, and sends none of the other changes of the batch.
#[track_caller]
fn invalid(change: Change, why: Invalid) {
    assert_eq!(change.validate(), Err(why));
    let mut client = Client::open().unwrap();
    let before = services(&mut client);
    let error = client.submit(&[add(ServiceKey::udp(ip("192.0.2.9"), 9)), change]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(reason) if *reason == why), "{error}");
    assert_eq!(services(&mut client), before);
}

#[track_caller]
fn refusal_errno(request: Request) -> Option<i32> {
    let mut socket = Socket::open().unwrap();
    let refused = socket.submit([request]).unwrap();
    errnos(&refused).first().map(|(_, errno)| *errno)
}

#[track_caller]
fn kernel_refuses(request: Request, errno: i32) {
    let printed = format!("{request:?}");
    assert_eq!(refusal_errno(request), Some(errno), "{printed}");
}

#[track_caller]
fn kernel_accepts(request: Request) {
    let printed = format!("{request:?}");
    assert_eq!(refusal_errno(request), None, "{printed}");
}

/// Returns a request that adds TCP 192.0.2.1:1, its attributes changed by a function.
fn new_service_with(change: impl FnOnce(&mut ServiceAttrs)) -> Request {
    let mut request = new_service(1);
    change(request.attributes.service.as_mut().unwrap());
    request
}

/// Returns a request that adds a masquerading server to that service, its attributes changed by a function.
fn new_dest_with(change: impl FnOnce(&mut DestAttrs)) -> Request {
    let mut request = dest(Command::NewDest, 1, 1);
    change(request.attributes.dest.as_mut().unwrap());
    request
}

fn wire(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(four) => four.into(),
        IpAddr::V6(six) => six.into(),
    }
}

fn persistent(seconds: u32) -> Request {
    new_service_with(|service| {
        service.flags = Some(FlagsMask { flags: IP_VS_SVC_F_PERSISTENT, mask: u32::MAX });
        service.timeout = Some(seconds);
    })
}

fn sends_nothing() {
    let mut client = Client::open().unwrap();
    let changes =
        [add(web()), Change::AddDestination(web(), Destination { weight: u32::MAX, ..server("10.0.0.1", 80) })];
    let error = client.submit(&changes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "add server 10.0.0.1:80 to TCP 192.0.2.1:80: a weight must be 0 to 2147483647, not 4294967295"
    );
    assert_eq!(error.errno(), None);
    assert_eq!(services(&mut client), []);
}

/// The kernel accepts a persistence of 0, and forgets each client immediately.
fn zero_persistence() {
    invalid(
        Change::AddService(Service { persistence: Some(0), ..Service::new(web(), Scheduler::RR) }),
        Invalid::Persistence(0),
    );
    kernel_accepts(persistent(0));
    assert_eq!(services(&mut Client::open().unwrap())[0].persistence, Some(0));
}

/// The kernel accepts such a persistence, and multiplies it by its clock rate (HZ) in 32 bits.
fn too_long_persistence() {
    let too_much = Service::MAX_PERSISTENCE + 1;
    invalid(
        Change::EditService(Service { persistence: Some(too_much), ..Service::new(web(), Scheduler::RR) }),
        Invalid::Persistence(too_much),
    );
    // Too long for every clock rate. The lowest invalid value depends on the rate.
    kernel_accepts(persistent(u32::MAX));
    assert_ne!(services(&mut Client::open().unwrap())[0].persistence, Some(u32::MAX));
}

/// The kernel has one field for the masks of both families. It refuses one of these masks, and misinterprets the other.
fn netmask_of_the_other_family() {
    let (four, six) = (Netmask::V4([255, 255, 255, 0].into()), Netmask::V6(64));
    invalid(
        Change::AddService(Service { netmask: four, ..Service::new(web6(), Scheduler::RR) }),
        Invalid::NetmaskFamily { service: Family::V6, mask: Family::V4 },
    );
    kernel_refuses(
        new_service_with(|service| {
            (service.af, service.netmask) = (Some(10), Some(u32::from_ne_bytes([255, 255, 255, 0])))
        }),
        libc::EINVAL,
    );
    invalid(
        Change::AddService(Service { netmask: six, ..Service::new(web(), Scheduler::RR) }),
        Invalid::NetmaskFamily { service: Family::V4, mask: Family::V6 },
    );
    kernel_accepts(new_service_with(|service| service.netmask = Some(64)));
    let mask = Netmask::V4(64u32.to_ne_bytes().into());
    assert_eq!(services(&mut Client::open().unwrap())[0].netmask, mask);
}

fn invalid_prefix_length() {
    for prefix in [0, 129, 255] {
        invalid(
            Change::AddService(Service { netmask: Netmask::V6(prefix), ..Service::new(web6(), Scheduler::RR) }),
            Invalid::Prefix(prefix),
        );
        kernel_refuses(
            new_service_with(|service| (service.af, service.netmask) = (Some(10), Some(prefix.into()))),
            libc::EINVAL,
        );
    }
}

fn too_large_weight() {
    kernel_accepts(new_service(1));
    for weight in [Destination::MAX + 1, u32::MAX] {
        let heavy = Destination { weight, ..server("10.0.0.1", 80) };
        invalid(Change::AddDestination(web(), heavy), Invalid::Weight(weight));
        invalid(Change::EditDestination(web(), heavy), Invalid::Weight(weight));
        kernel_refuses(new_dest_with(|dest| dest.weight = Some(weight)), libc::ERANGE);
    }
}

/// Kernels up to 7.1 accept such a threshold, except the latest releases of some series. The server is then never full.
fn too_large_threshold() {
    kernel_accepts(new_service(1));
    for (port, upper) in [(1, Destination::MAX + 1), (2, u32::MAX)] {
        invalid(
            Change::AddDestination(web(), Destination { upper_threshold: upper, ..server("10.0.0.1", 80) }),
            Invalid::Threshold(upper),
        );
        let errno = refusal_errno(new_dest_with(|dest| (dest.port, dest.u_thresh) = (Some(Be16(port)), Some(upper))));
        assert!(errno == Some(libc::EINVAL) || (errno.is_none() && running() < (7, 2)), "{errno:?}");
        kernel_refuses(new_dest_with(|dest| dest.l_thresh = Some(upper)), libc::ERANGE);
    }
    let both = Destination { lower_threshold: u32::MAX, upper_threshold: 5, ..server("10.0.0.1", 80) };
    invalid(Change::AddDestination(web(), both), Invalid::Threshold(u32::MAX));
}

fn lower_threshold_without_upper() {
    kernel_accepts(new_service(1));
    invalid(
        Change::AddDestination(web(), Destination { lower_threshold: 5, ..server("10.0.0.1", 80) }),
        Invalid::LowerAlone(5),
    );
    kernel_refuses(new_dest_with(|dest| dest.l_thresh = Some(5)), libc::ERANGE);
}

fn lower_threshold_above_upper() {
    kernel_accepts(new_service(1));
    invalid(
        Change::AddDestination(web(), Destination { lower_threshold: 5, upper_threshold: 4, ..server("10.0.0.1", 80) }),
        Invalid::LowerAboveUpper { lower: 5, upper: 4 },
    );
    kernel_refuses(new_dest_with(|dest| (dest.l_thresh, dest.u_thresh) = (Some(5), Some(4))), libc::ERANGE);
}

fn other_family_without_tunnel() {
    kernel_accepts(new_service(1));
    let methods = [
        (0, Forwarding::Masquerade),
        (1, Forwarding::Local),
        (3, Forwarding::DirectRoute),
        (4, Forwarding::Bypass),
        (7, Forwarding::Other(7)),
    ];
    for (number, forwarding) in methods {
        invalid(
            Change::AddDestination(web(), Destination { forwarding, ..server("2001:db8:1::1", 80) }),
            Invalid::MixedFamily { service: Family::V4, server: Family::V6 },
        );
        kernel_refuses(
            new_dest_with(|dest| {
                (dest.addr, dest.addr_family) = (Some(wire(ip("2001:db8:1::1"))), Some(10));
                dest.fwd_method = Some(number);
            }),
            libc::EINVAL,
        );
    }
    invalid(
        Change::AddDestination(web6(), server("10.0.0.1", 80)),
        Invalid::MixedFamily { service: Family::V6, server: Family::V4 },
    );
}

fn gue_tunnel_without_port() {
    kernel_accepts(new_service(1));
    let without = Tunnel::Other { kind: 1, port: 0, flags: 0 };
    invalid(
        Change::AddDestination(
            web(),
            Destination { forwarding: Forwarding::Tunnel(without), ..server("10.0.0.1", 80) },
        ),
        Invalid::GuePort,
    );
    kernel_refuses(new_dest_with(|dest| (dest.fwd_method, dest.tun_type) = (Some(2), Some(1))), libc::EINVAL);
    // The type requires a port that is not 0, so a GUE tunnel without one cannot be built.
    let with = Tunnel::Gue { port: NonZeroU16::MIN, checksum: GueChecksum::None };
    let server = Destination { forwarding: Forwarding::Tunnel(with), ..server("10.0.0.1", 80) };
    assert_eq!(Change::AddDestination(web(), server).validate(), Ok(()));
}

fn server_address_not_unicast() {
    kernel_accepts(new_service(1));
    for address in ["0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255"] {
        invalid(Change::AddDestination(web(), server(address, 80)), Invalid::NotUnicast(ip(address)));
        kernel_refuses(new_dest_with(|dest| dest.addr = Some(wire(ip(address)))), libc::EINVAL);
    }
    kernel_accepts(new_service_with(|service| (service.af, service.netmask) = (Some(10), Some(128))));
    for address in ["::", "ff02::1"] {
        invalid(Change::AddDestination(web6(), server(address, 80)), Invalid::NotUnicast(ip(address)));
        let mut request = new_dest_with(|dest| (dest.addr, dest.addr_family) = (Some(wire(ip(address))), Some(10)));
        request.attributes.service.as_mut().unwrap().af = Some(10);
        kernel_refuses(request, libc::EINVAL);
    }
}

/// Compares `Change::validate` and `Change::warnings` with the kernel, for random addresses of every kind.
fn server_addresses_refused_unless_local() {
    kernel_accepts(new_service(1));
    kernel_accepts(new_service_with(|service| (service.af, service.netmask) = (Some(10), Some(128))));
    let errno_of = |address: IpAddr, port: u16| {
        let family = if address.is_ipv4() { 2 } else { 10 };
        let mut request = new_dest_with(|dest| {
            (dest.addr, dest.addr_family, dest.port) = (Some(wire(address)), Some(family), Some(Be16(port)));
        });
        request.attributes.service.as_mut().unwrap().af = Some(family);
        refusal_errno(request)
    };
    let mut rng = Rng::new(1);
    let mut some = |start: u128, fixed: u32| {
        let random = (rng.below(usize::MAX) as u128) << 64 | rng.below(usize::MAX) as u128;
        let random = if fixed == 128 { 0 } else { random >> fixed };
        IpAddr::V6((start << (128 - fixed) | random).into())
    };
    // The start of each kind of IPv6 address, and its length in bits.
    let kinds: [(u128, u32); 9] = [
        (0xffff, 96),
        (0xfe80 >> 6, 10),
        (0xfec0 >> 6, 10),
        (0xfc >> 1, 7),
        (0xff, 8),
        (0, 96),
        (0x0064_ff9b, 32),
        (0b001, 3),
        (0b110, 3),
    ];
    let mut addresses: Vec<IpAddr> =
        kinds.iter().flat_map(|kind| [some(kind.0, kind.1), some(kind.0, kind.1)]).collect();
    addresses.extend(["10.9.8.7", "127.0.0.2", "0.0.0.9", "169.254.1.1", "240.0.0.9", "224.9.9.9", "::1"].map(ip));
    let mut refused = Vec::new();
    for (port, address) in (1..).zip(addresses) {
        let service = if address.is_ipv4() { web() } else { web6() };
        let change = Change::AddDestination(service, Destination::new((address, 80), Forwarding::Masquerade));
        let warns = change.warnings().contains(&Warning::RefusedUnlessLocal(address));
        let is_refused = change.validate().is_err() || warns;
        assert_eq!(errno_of(address, port), is_refused.then_some(libc::EINVAL), "{address}");
        refused.extend(warns.then_some(address));
    }
    assert_eq!(refused.len(), 4, "{refused:?}");
    // With a local route to it, an address is one of the director's own.
    ok("ip -6 route add local ::ffff:0:0/96 dev lo");
    ok("ip -6 route add local fe80::/10 dev lo");
    for (port, address) in (1..).zip(refused) {
        assert_eq!(errno_of(address, port), None, "{address}");
    }
}

fn new_daemon_with(change: impl FnOnce(&mut DaemonAttrs)) -> Request {
    let mut request = master(Command::NewDaemon);
    change(request.attributes.daemon.as_mut().unwrap());
    request
}

fn daemon() -> SyncDaemon {
    SyncDaemon::new(Role::Master, "lo".parse().unwrap(), 7)
}

/// The kernel accepts and shows such a number, but sends only its low 8 bits. A backup with the same number therefore
/// ignores the messages.
fn too_large_sync_id() {
    invalid(Change::StartDaemon(SyncDaemon { sync_id: 256, ..daemon() }), Invalid::SyncId(256));
    kernel_accepts(new_daemon_with(|daemon| daemon.sync_id = Some(256)));
    assert_eq!(Client::open().unwrap().daemons().unwrap()[0].sync_id, 256);
}

fn group_not_multicast() {
    for address in ["192.0.2.1", "2001:db8::1"] {
        let group = ip(address);
        invalid(Change::StartDaemon(SyncDaemon { group: Some(group), ..daemon() }), Invalid::NotMulticast(group));
        kernel_refuses(
            new_daemon_with(|daemon| match group {
                IpAddr::V4(four) => daemon.mcast_group = Some(four),
                IpAddr::V6(six) => daemon.mcast_group6 = Some(six),
            }),
            libc::EINVAL,
        );
    }
}
