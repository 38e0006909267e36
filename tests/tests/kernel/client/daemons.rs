//! Sync daemons.

use ipvs::{Change, Client, Destination, ErrorKind, Forwarding, Interface, Role, SyncDaemon};

use super::{add, ethernet, ip, refused_with, submit, web};

ipvs_tests::tests! {
    none_at_start;
    every_setting;
    kernel_defaults;
    ipv6_multicast_group;
    backup_on_loopback;
    length_is_clamped;
    master_and_backup_at_once;
    second_start_is_refused;
    stop_without_start_is_refused;
    missing_interface_is_refused;
    start_is_refused_with_mixed_families;
    mixed_families_are_refused_while_one_runs;
}

fn director() -> Client {
    ethernet();
    Client::open().unwrap()
}

fn daemon(role: Role) -> SyncDaemon {
    SyncDaemon::new(role, Interface::new("eth0").unwrap(), 7)
}

/// Returns the settings of a daemon that was started without any: the kernel's defaults.
fn by_default(role: Role) -> SyncDaemon {
    SyncDaemon { max_length: Some(1472), group: Some(ip("224.0.0.81")), port: Some(8848), ttl: Some(1), ..daemon(role) }
}

#[track_caller]
fn starts_as(client: &mut Client, requested: SyncDaemon, expected: SyncDaemon) {
    submit(client, [Change::StartDaemon(requested)]);
    assert_eq!(client.daemons().unwrap(), [expected]);
    submit(client, [Change::StopDaemon(requested.role)]);
    assert_eq!(client.daemons().unwrap(), []);
}

fn none_at_start() {
    assert_eq!(Client::open().unwrap().daemons().unwrap(), []);
}

fn every_setting() {
    let mut client = director();
    for role in [Role::Master, Role::Backup] {
        for sync_id in [0, 1, SyncDaemon::MAX_SYNC_ID] {
            let full = SyncDaemon {
                role,
                interface: Interface::new("eth0").unwrap(),
                sync_id,
                max_length: Some(9000),
                group: Some(ip("239.1.2.3")),
                port: Some(12345),
                ttl: Some(255),
            };
            starts_as(&mut client, full, full);
        }
    }
}

fn kernel_defaults() {
    let mut client = director();
    for role in [Role::Master, Role::Backup] {
        starts_as(&mut client, daemon(role), by_default(role));
    }
}

fn ipv6_multicast_group() {
    let mut client = director();
    let full = SyncDaemon {
        max_length: Some(1234),
        group: Some(ip("ff02::5")),
        port: Some(1),
        ttl: Some(8),
        ..daemon(Role::Master)
    };
    starts_as(&mut client, full, full);
    let backup = SyncDaemon { role: Role::Backup, ..full };
    starts_as(&mut client, backup, backup);
    let requested = SyncDaemon { group: full.group, ..daemon(Role::Master) };
    starts_as(
        &mut client,
        requested,
        SyncDaemon { group: full.group, max_length: Some(1452), ..by_default(Role::Master) },
    );
}

/// The default length of a backup is the MTU of its interface. The MTU of lo is 65536, of which the kernel uses 65507,
/// because no more fits into a UDP datagram.
fn backup_on_loopback() {
    let mut client = Client::open().unwrap();
    let on_lo = |daemon| SyncDaemon { interface: Interface::new("lo").unwrap(), ..daemon };
    let expected = SyncDaemon { max_length: Some(65507), ..by_default(Role::Backup) };
    starts_as(&mut client, on_lo(daemon(Role::Backup)), on_lo(expected));
}

/// The kernel adjusts lengths out of range instead of refusing them.
fn length_is_clamped() {
    let mut client = director();
    let long = |role| SyncDaemon { max_length: Some(u16::MAX), ..daemon(role) };
    for role in [Role::Master, Role::Backup] {
        starts_as(&mut client, long(role), SyncDaemon { max_length: Some(65507), ..by_default(role) });
    }
    let short = |role| SyncDaemon { max_length: Some(100), ..daemon(role) };
    starts_as(&mut client, short(Role::Backup), SyncDaemon { max_length: Some(1024), ..by_default(Role::Backup) });
}

fn master_and_backup_at_once() {
    let mut client = director();
    submit(&mut client, [Role::Backup, Role::Master].map(daemon).map(Change::StartDaemon));
    assert_eq!(client.daemons().unwrap(), [Role::Master, Role::Backup].map(by_default));
    submit(&mut client, [Change::StopDaemon(Role::Master)]);
    assert_eq!(client.daemons().unwrap(), [by_default(Role::Backup)]);
}

fn second_start_is_refused() {
    let mut client = director();
    submit(&mut client, [Change::StartDaemon(daemon(Role::Master))]);
    refused_with(
        &mut client,
        Change::StartDaemon(SyncDaemon { sync_id: 8, ..daemon(Role::Master) }),
        "start the master sync daemon: already running (IPVS_CMD_NEW_DAEMON: File exists (os error 17))",
        |kind| matches!(kind, ErrorKind::DaemonRuns),
    );
    assert_eq!(client.daemons().unwrap(), [by_default(Role::Master)]);
}

fn stop_without_start_is_refused() {
    let mut client = director();
    submit(&mut client, [Change::StartDaemon(daemon(Role::Master))]);
    refused_with(
        &mut client,
        Change::StopDaemon(Role::Backup),
        "stop the backup sync daemon: not running (IPVS_CMD_DEL_DAEMON: No such process (os error 3))",
        |kind| matches!(kind, ErrorKind::NoDaemon),
    );
}

fn missing_interface_is_refused() {
    let requested = SyncDaemon { interface: Interface::new("eth7").unwrap(), ..daemon(Role::Master) };
    refused_with(
        &mut director(),
        Change::StartDaemon(requested),
        "start the master sync daemon: no such interface (IPVS_CMD_NEW_DAEMON: No such device (os error 19))",
        |kind| matches!(kind, ErrorKind::NoSuchInterface),
    );
}

fn add_server_of_the_other_family() -> Change {
    Change::AddDestination(web(), Destination::new((ip("2001:db8:1::1"), 80), Forwarding::IPIP))
}

fn start_is_refused_with_mixed_families() {
    let mut client = director();
    submit(&mut client, [add(web()), add_server_of_the_other_family()]);
    refused_with(
        &mut client,
        Change::StartDaemon(daemon(Role::Master)),
        "start the master sync daemon: the kernel refuses these values: a sync daemon cannot run while a service \
         has servers of both families (IPVS_CMD_NEW_DAEMON: Invalid argument (os error 22))",
        |kind| matches!(kind, ErrorKind::NotAccepted(_)),
    );
}

fn mixed_families_are_refused_while_one_runs() {
    let mut client = director();
    submit(&mut client, [add(web()), Change::StartDaemon(daemon(Role::Backup))]);
    refused_with(
        &mut client,
        add_server_of_the_other_family(),
        "add server [2001:db8:1::1]:80 to TCP 192.0.2.1:80: the kernel refuses these values: a server's address must be \
         unicast, lo must be up, and servers of both families cannot be mixed while a sync daemon runs \
         (IPVS_CMD_NEW_DEST: Invalid argument (os error 22))",
        |kind| matches!(kind, ErrorKind::NotAccepted(_)),
    );
}
