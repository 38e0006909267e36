//! Virtual services: each field is read as it was written.

use ipvs::{Change, Client, Engine, Family, Netmask, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey};

use super::{add, ip, server, servers, services, submit, web, web6};

ipvs_tests::tests! {
    keys_by_address_and_mark;
    every_scheduler;
    service_without_scheduler;
    scheduler_flags;
    unnamed_flags_are_kept;
    persistence_timeouts;
    persistence_netmasks;
    persistence_engine;
    one_packet_scheduling;
    edit_replaces_every_setting;
    edit_keeps_the_servers;
    delete_and_flush;
    reads_one_service;
    list_is_complete_while_the_kernel_resizes;
}

/// Writes services and checks that they are read back the same, each alone and all together.
#[track_caller]
fn read_as_written(mut written: Vec<Service>) {
    let mut client = Client::open().unwrap();
    submit(&mut client, written.iter().copied().map(Change::AddService).collect::<Vec<_>>());
    for service in &written {
        assert_eq!(client.service(&service.key).unwrap().service, *service);
    }
    written.sort_by_key(|service| service.key);
    assert_eq!(services(&mut client), written);
    submit(&mut client, [Change::Flush]);
}

/// Returns the same service at ports 1, 2, 3, …, each changed by a function.
fn each<T>(values: impl IntoIterator<Item = T>, change: impl Fn(&mut Service, T)) -> Vec<Service> {
    let numbered = (1..).zip(values).map(|(port, value)| {
        let mut service = Service::new(ServiceKey::udp(ip("192.0.2.1"), port), Scheduler::RR);
        change(&mut service, value);
        service
    });
    numbered.collect()
}

fn mark(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::fwmark(mark, family).unwrap()
}

fn keys_by_address_and_mark() {
    let keys = [
        web(),
        ServiceKey::tcp(ip("192.0.2.1"), 65535),
        ServiceKey::udp(ip("192.0.2.1"), 80),
        ServiceKey::sctp(ip("192.0.2.1"), 80),
        ServiceKey::new(Protocol::Other(99), ip("192.0.2.1"), 80),
        ServiceKey::tcp(ip("0.0.0.0"), 80),
        ServiceKey::tcp(ip("224.0.0.1"), 80),
        web6(),
        ServiceKey::udp(ip("2001:db8::1"), 80),
        ServiceKey::sctp(ip("::ffff:192.0.2.1"), 80),
        mark(1, Family::V4),
        mark(1, Family::V6),
        mark(u32::MAX, Family::V4),
    ];
    read_as_written(keys.map(|key| Service::new(key, Scheduler::RR)).to_vec());
}

fn every_scheduler() {
    let built = Scheduler::KNOWN.iter().map(|(scheduler, _)| *scheduler);
    // Debian builds its kernels without twos.
    let built = built.filter(|scheduler| *scheduler != Scheduler::TWOS);
    let written = each(built, |service, scheduler| service.scheduler = scheduler);
    assert_eq!(written.len(), 14);
    read_as_written(written);
}

fn service_without_scheduler() {
    read_as_written(vec![Service::new(web(), Scheduler::NONE), Service::new(web6(), Scheduler::NONE)]);
}

fn scheduler_flags() {
    let flags = (0..8).map(|bits| SchedulerFlags::from_bits_retain(bits << 3));
    read_as_written(each(flags, |service, flags| {
        (service.scheduler, service.flags) = (Scheduler::SH, flags);
    }));
}

fn unnamed_flags_are_kept() {
    let flags = [0x40, 0x8000_0000, 0xffff_fff8].map(SchedulerFlags::from_bits_retain);
    read_as_written(each(flags, |service, flags| {
        service.flags = flags;
        // The kernel keeps persistence in a bit of the same word.
        service.persistence = Some(60);
    }));
}

fn persistence_timeouts() {
    let seconds = [None, Some(1), Some(360), Some(Service::MAX_PERSISTENCE)];
    read_as_written(each(seconds, |service, seconds| service.persistence = seconds));
    // Port 0: every port that has no service of its own.
    read_as_written(vec![Service {
        persistence: Some(360),
        ..Service::new(ServiceKey::tcp(ip("192.0.2.2"), 0), Scheduler::RR)
    }]);
}

fn persistence_netmasks() {
    let masks = ["255.255.255.255", "255.255.255.0", "128.0.0.0", "0.0.0.0", "255.0.255.0"];
    read_as_written(each(masks, |service, mask| {
        service.persistence = Some(360);
        service.netmask = Netmask::V4(mask.parse().unwrap());
    }));
    let prefixes = [1, 64, 127, 128].map(|prefix| Service {
        persistence: Some(360),
        netmask: Netmask::V6(prefix),
        ..Service::new(ServiceKey::tcp(ip("2001:db8::1"), prefix.into()), Scheduler::RR)
    });
    read_as_written(prefixes.to_vec());
}

fn persistence_engine() {
    let sip = Engine::new("sip").unwrap();
    read_as_written(each([None, Some(sip)], |service, engine| {
        (service.persistence, service.engine) = (Some(360), engine);
    }));
    // The kernel accepts the engine for each packet, too, with and without persistence.
    read_as_written(each([None, Some(360)], |service, seconds| {
        (service.persistence, service.engine, service.one_packet) = (seconds, Some(sip), true);
    }));
}

fn one_packet_scheduling() {
    read_as_written(each([false, true], |service, one_packet| service.one_packet = one_packet));
}

fn edit_replaces_every_setting() {
    let plain = Service::new(ServiceKey::udp(ip("2001:db8::1"), 5060), Scheduler::RR);
    let full = Service {
        key: plain.key,
        scheduler: Scheduler::MH,
        flags: SchedulerFlags::PORT | SchedulerFlags::from_bits_retain(0x4000),
        persistence: Some(60),
        netmask: Netmask::V6(48),
        engine: Some(Engine::new("sip").unwrap()),
        one_packet: true,
    };
    let mut client = Client::open().unwrap();
    submit(&mut client, [Change::AddService(plain)]);
    for service in [full, Service { engine: None, ..full }, plain, full] {
        submit(&mut client, [Change::EditService(service)]);
        assert_eq!(services(&mut client), [service]);
    }
}

fn edit_keeps_the_servers() {
    let mut client = Client::open().unwrap();
    let one = server("10.0.0.1", 8080);
    submit(&mut client, [add(web()), Change::AddDestination(web(), one)]);
    submit(&mut client, [Change::EditService(Service::new(web(), Scheduler::WLC))]);
    assert_eq!(servers(&mut client, &web()), [one]);
}

fn delete_and_flush() {
    let mut client = Client::open().unwrap();
    let both = [add(web()), add(web6()), add(mark(7, Family::V4)), add(mark(7, Family::V6))];
    submit(&mut client, both);
    submit(&mut client, [Change::DeleteService(web()), Change::DeleteService(mark(7, Family::V6))]);
    let left: Vec<ServiceKey> = services(&mut client).iter().map(|service| service.key).collect();
    assert_eq!(left, [web6(), mark(7, Family::V4)]);
    submit(&mut client, [Change::Flush]);
    assert_eq!(services(&mut client), []);
    // Flushing an empty table is not an error.
    submit(&mut client, [Change::Flush]);
}

fn reads_one_service() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web()), add(web6()), Change::AddDestination(web6(), server("2001:db8:1::1", 80))]);
    let state = client.service(&web6()).unwrap();
    assert_eq!(state.service, Service::new(web6(), Scheduler::RR));
    assert_eq!(state.destinations, []);
    let error = client.service(&ServiceKey::tcp(ip("192.0.2.1"), 81)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "read service TCP 192.0.2.1:81: no such service (IPVS_CMD_GET_SERVICE: No such process (os error 3))"
    );
}

/// Since 7.1 the kernel resizes its table a moment after services were added. A list that is read meanwhile lacks some
/// services, so the client reads it again.
fn list_is_complete_while_the_kernel_resizes() {
    let mut client = Client::open().unwrap();
    for _ in 0..4 {
        let key = |port| ServiceKey::tcp(ip("192.0.2.1"), port);
        submit(&mut client, (1..=1000).map(|port| add(key(port))).collect::<Vec<_>>());
        for _ in 0..3 {
            let keys: Vec<ServiceKey> = services(&mut client).iter().map(|service| service.key).collect();
            assert_eq!(keys, (1..=1000).map(key).collect::<Vec<_>>());
        }
        submit(&mut client, [Change::Flush]);
    }
}
