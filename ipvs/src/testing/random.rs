//! Random services, servers, changes and tables.
//!
//! There are few keys, so that changes collide: a service that is added may exist, and one that is edited may not. The
//! settings are any that a kernel accepts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use proptest::collection::{hash_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use crate::{
    Change, Config, Destination, DestinationKey, Director, Engine, Family, Forwarding, GueChecksum, Interface, Netmask,
    Order, Protocol, Role, Scheduler, SchedulerFlags, Scope, Service, ServiceConfig, ServiceKey, SyncDaemon, Timeouts,
    Tunnel, plan,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Generates one of 22 keys of services.
pub fn service_key() -> impl Strategy<Value = ServiceKey> {
    let addresses = select(vec![ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")]);
    let protocols = select(vec![Protocol::Tcp, Protocol::Udp]);
    let by_address = (protocols, addresses, select(vec![80, 443, 0]))
        .prop_map(|(protocol, address, port)| ServiceKey::new(protocol, address, port));
    let by_mark =
        (1..=2u32, family()).prop_map(|(mark, family)| ServiceKey::fwmark(mark, family).expect("a mark is not 0"));
    prop_oneof![3 => by_address, 1 => by_mark]
}

fn family() -> impl Strategy<Value = Family> {
    select(vec![Family::V4, Family::V6])
}

/// Generates one of 16 keys of servers, 8 of each family.
pub fn server_key() -> impl Strategy<Value = DestinationKey> {
    prop_oneof![server_key_of(Family::V4), server_key_of(Family::V6)]
}

fn server_key_of(family: Family) -> impl Strategy<Value = DestinationKey> {
    (1..=4u16, select(vec![80, 8080])).prop_map(move |(number, port)| match family {
        Family::V4 => DestinationKey::new([10, 0, 0, number as u8], port),
        Family::V6 => DestinationKey::new([0x2001, 0xdb8, 1, 0, 0, 0, 0, number], port),
    })
}

/// Generates a scheduler that Debian's kernels have.
pub fn scheduler() -> impl Strategy<Value = Scheduler> {
    let built = Scheduler::KNOWN.iter().map(|(scheduler, _)| *scheduler).filter(|it| *it != Scheduler::TWOS);
    select(built.collect::<Vec<_>>())
}

fn netmask(family: Family) -> BoxedStrategy<Netmask> {
    match family {
        Family::V4 => prop_oneof![
            Just(Netmask::host(family)),
            Just(Netmask::V4(Ipv4Addr::new(255, 255, 255, 0))),
            any::<[u8; 4]>().prop_map(|mask| Netmask::V4(mask.into())),
        ]
        .boxed(),
        Family::V6 => prop_oneof![Just(Netmask::host(family)), (1..=128u8).prop_map(Netmask::V6)].boxed(),
    }
}

/// Generates a service with any settings that a kernel accepts.
pub fn service() -> impl Strategy<Value = Service> {
    service_key().prop_flat_map(service_with)
}

/// Generates the service `key` with any settings that a kernel accepts.
pub fn service_with(key: ServiceKey) -> impl Strategy<Value = Service> {
    let flags = prop_oneof![3 => Just(0), 2 => (0..8u32).prop_map(|bits| bits << 3), 1 => any::<u32>()]
        // Three bits of the word are not flags of the scheduler.
        .prop_map(|bits| SchedulerFlags::from_bits_retain(bits & !7));
    let persistence = option::of(prop_oneof![1..1000u32, 1..=Service::MAX_PERSISTENCE]);
    let engine = option::weighted(0.2, Just(Engine::new("sip").expect("a name")));
    (scheduler(), flags, persistence, netmask(key.family()), engine, any::<bool>()).prop_map(
        move |(scheduler, flags, persistence, netmask, engine, one_packet)| Service {
            key,
            scheduler,
            flags,
            persistence,
            netmask,
            engine,
            one_packet,
        },
    )
}

fn port() -> impl Strategy<Value = NonZeroU16> {
    (1..=u16::MAX).prop_map(|port| NonZeroU16::new(port).expect("not 0"))
}

/// Generates a tunnel of any type that has a name.
pub fn tunnel() -> impl Strategy<Value = Tunnel> {
    let checksums = select(vec![GueChecksum::None, GueChecksum::Full, GueChecksum::Remote]);
    prop_oneof![
        Just(Tunnel::Ipip),
        (port(), checksums).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum }),
        any::<bool>().prop_map(|checksum| Tunnel::Gre { checksum }),
    ]
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    prop_oneof![
        4 => Just(Forwarding::Masquerade),
        2 => Just(Forwarding::DirectRoute),
        3 => tunnel().prop_map(Forwarding::Tunnel),
        1 => select(vec![Forwarding::Local, Forwarding::Bypass, Forwarding::Other(5), Forwarding::Other(7)]),
    ]
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 4 => 1..=3u32, 1 => 0..=Destination::MAX]
}

/// Generates a server with any settings that a kernel accepts in a service of that family. Most are of the same family;
/// the others are tunnelled.
pub fn server(service: Family) -> impl Strategy<Value = Destination> {
    let other = if service == Family::V4 { Family::V6 } else { Family::V4 };
    let same = (server_key_of(service), forwarding());
    let crossing = (server_key_of(other), tunnel().prop_map(Forwarding::Tunnel));
    server_by(prop_oneof![6 => same.boxed(), 1 => crossing.boxed()])
}

/// Generates a server of the service's family, with any settings that a kernel accepts.
pub fn server_of_the_same_family(service: Family) -> impl Strategy<Value = Destination> {
    server_by((server_key_of(service), forwarding()))
}

fn server_by(how: impl Strategy<Value = (DestinationKey, Forwarding)>) -> impl Strategy<Value = Destination> {
    let thresholds = prop_oneof![
        2 => Just((0, 0)),
        1 => (1..=Destination::MAX).prop_flat_map(|upper| (Just(upper), 0..=upper)),
    ];
    (how, weight(), thresholds).prop_map(|((key, forwarding), weight, (upper_threshold, lower_threshold))| {
        Destination { key, forwarding, weight, upper_threshold, lower_threshold }
    })
}

/// Generates timeouts in seconds, some of them 0.
pub fn timeouts() -> impl Strategy<Value = Timeouts> {
    let seconds = || prop_oneof![Just(0), 1..100_000u32];
    (seconds(), seconds(), seconds()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

/// The interface of [`daemon`].
pub const INTERFACE: &str = "eth0";

/// Generates a sync daemon on [`INTERFACE`].
pub fn daemon(role: Role) -> impl Strategy<Value = SyncDaemon> {
    let group = option::of(select(vec![ip("224.0.0.81"), ip("239.1.2.3"), ip("ff02::5")]));
    let max_length = option::of(prop_oneof![0..3000u16, 0..=u16::MAX]);
    let port = option::of(prop_oneof![1 => Just(0), 5 => 1..=u16::MAX]);
    let ttl = option::of(prop_oneof![1 => Just(0), 5 => 1..=u8::MAX]);
    (0..=SyncDaemon::MAX_SYNC_ID, max_length, group, port, ttl).prop_map(
        move |(sync_id, max_length, group, port, ttl)| SyncDaemon {
            role,
            interface: Interface::new(INTERFACE).expect("a name"),
            sync_id,
            max_length,
            group,
            port,
            ttl,
        },
    )
}

/// Generates one of the two roles.
pub fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Master, Role::Backup])
}

/// Generates any change, including those with schedulers and engines that the kernel does not have.
pub fn change() -> impl Strategy<Value = Change> {
    let unknown = || (service(), any::<bool>()).prop_map(|(service, scheduler)| unknown(service, scheduler)).boxed();
    let services = || service().boxed();
    let with_server =
        || service_key().prop_flat_map(|key| server(key.family()).prop_map(move |server| (key, server))).boxed();
    Union::new_weighted(vec![
        (120, services().prop_map(Change::AddService).boxed()),
        (60, services().prop_map(Change::EditService).boxed()),
        (20, service_key().prop_map(Change::DeleteService).boxed()),
        (300, with_server().prop_map(|(key, server)| Change::AddDestination(key, server)).boxed()),
        (150, with_server().prop_map(|(key, server)| Change::EditDestination(key, server)).boxed()),
        (100, (service_key(), server_key()).prop_map(|(key, server)| Change::DeleteDestination(key, server)).boxed()),
        (20, timeouts().prop_map(Change::SetTimeouts).boxed()),
        (20, role().prop_flat_map(daemon).prop_map(Change::StartDaemon).boxed()),
        (40, role().prop_map(Change::StopDaemon).boxed()),
        (20, option::of(service_key()).prop_map(Change::Zero).boxed()),
        (4, Just(Change::Flush).boxed()),
        (6, unknown().prop_map(Change::AddService).boxed()),
        (6, unknown().prop_map(Change::EditService).boxed()),
    ])
}

/// Returns the service with a scheduler or engine that no kernel has. Such services are rare, because the kernel runs
/// `modprobe` for each.
fn unknown(service: Service, scheduler: bool) -> Service {
    if scheduler {
        Service { scheduler: Scheduler::new("nonesuch").expect("a name"), ..service }
    } else {
        Service { engine: Some(Engine::new("nonesuch").expect("a name")), ..service }
    }
}

/// Generates a table: services with servers, and sometimes timeouts and daemons.
pub fn config() -> impl Strategy<Value = Config> {
    let service = service_key().prop_flat_map(|key| {
        let servers = prop_oneof![
            5 => vec(server_of_the_same_family(key.family()).boxed(), 0..6),
            1 => vec(server(key.family()).boxed(), 0..6),
        ];
        (service_with(key), servers)
    });
    let daemons = (option::of(daemon(Role::Master)), option::of(daemon(Role::Backup)))
        .prop_map(|(master, backup)| master.into_iter().chain(backup).collect::<Vec<_>>());
    let order = select(vec![Order::Any, Order::Kernel]);
    (option::of(timeouts()), option::weighted(0.3, daemons), vec(service, 0..8), order).prop_map(
        |(timeouts, daemons, services, order)| {
            let services = one_of_each(services, |(service, _)| service.key);
            let services = services.into_iter().map(|(service, servers)| ServiceConfig {
                service,
                destinations: one_of_each(servers, |server| server.key),
            });
            Config { timeouts, daemons, services: services.collect(), order }
        },
    )
}

/// Generates two tables. The second shares services and servers with the first.
pub fn two_tables() -> impl Strategy<Value = (Config, Config)> {
    (config(), config(), vec(0..6u8, 8)).prop_map(|(one, mut other, choices)| {
        for (wanted, choice) in other.services.iter_mut().zip(choices) {
            let Some(held) = one.services.iter().find(|held| held.service.key == wanted.service.key) else { continue };
            match choice {
                0 => *wanted = held.clone(),
                1 => wanted.service = held.service,
                2 => wanted.service = Service { netmask: wanted.service.netmask, ..held.service },
                3 => wanted.destinations = held.destinations.clone(),
                4 => wanted.destinations = held.destinations.iter().rev().copied().collect(),
                _ => {}
            }
        }
        (one, other)
    })
}

/// Returns the first item of each key, in the given order.
fn one_of_each<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(key(item))).collect()
}

/// Generates options of a plan.
pub fn options() -> impl Strategy<Value = plan::Options> {
    let rarely = || proptest::bool::weighted(0.2);
    (scope(), rarely(), departing(), rarely()).prop_map(|(scope, keep_weights, departing, reorder)| plan::Options {
        scope,
        keep_weights,
        departing,
        reorder,
    })
}

/// Generates treatments of servers that are not in a desired table.
pub fn departing() -> impl Strategy<Value = plan::Departing> {
    prop_oneof![
        8 => Just(plan::Departing::Delete),
        1 => Just(plan::Departing::Drain),
        1 => Just(plan::Departing::DrainThenDelete),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    let selectors = ["tcp", "udp", "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "fwmark", "fwmark:1"];
    let selectors = || vec(select(selectors.to_vec()), 0..3);
    let some = (selectors(), selectors(), any::<bool>(), hash_set(service_key(), 0..4)).prop_map(
        |(only, protect, listed, former)| {
            let read = |texts: Vec<&str>| texts.into_iter().map(|text| text.parse().expect("a selector")).collect();
            Scope { only: read(only), protect: read(protect), listed, former }
        },
    );
    prop_oneof![2 => Just(Scope::default()), 1 => some]
}

/// Fills an empty table. What the director refuses is not part of the table then.
///
/// # Panics
///
/// Panics if the table cannot be written.
pub fn fill(director: &mut impl Director, config: &Config) {
    let _refused = director.submit(&steps(config)).expect("writes");
}

/// Returns the changes that turn an empty table into this one.
pub fn steps(config: &Config) -> Vec<Change> {
    let services = config.services.iter().flat_map(|ServiceConfig { service, destinations }| {
        let servers = destinations.iter().map(|server| Change::AddDestination(service.key, *server));
        std::iter::once(Change::AddService(*service)).chain(servers)
    });
    let daemons = config.daemons.iter().flatten().map(|daemon| Change::StartDaemon(*daemon));
    config.timeouts.map(Change::SetTimeouts).into_iter().chain(daemons).chain(services).collect()
}
