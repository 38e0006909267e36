//! `ipvs_sys::Socket`: requests are executed, refusals are returned, and no reply is left in the socket.

pub(crate) mod batch;
mod daemon;
mod dump;
mod get;
mod namespace;
pub(crate) mod permission;
mod reload;
mod unsendable;

use std::mem::replace;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipvs_sys::uapi::{Command, CommandAttrs, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs};
use ipvs_sys::wire::{Be16, FlagsMask, Name};
use ipvs_sys::{Error, Request, Socket};
use ipvs_tests::harness::Test;
use ipvs_tests::host::kernel::running;
use ipvs_tests::wait;

pub(crate) fn tests() -> Vec<Test> {
    [
        get::tests(),
        dump::tests(),
        batch::tests(),
        daemon::tests(),
        namespace::tests(),
        permission::tests(),
        reload::tests(),
        unsendable::tests(),
    ]
    .concat()
}

/// Returns the attributes that identify the TCP service 192.0.2.1 at a port.
pub(crate) fn id(port: u16) -> ServiceAttrs {
    ServiceAttrs {
        af: Some(2),
        protocol: Some(6),
        addr: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        port: Some(Be16(port)),
        ..ServiceAttrs::default()
    }
}

/// Returns a request about the service of [`id`].
pub(crate) fn about(command: Command, port: u16) -> Request {
    Request { command, attributes: CommandAttrs { service: Some(id(port)), ..CommandAttrs::default() } }
}

/// Returns a request that adds it with the scheduler rr.
pub(crate) fn new_service(port: u16) -> Request {
    let service = ServiceAttrs {
        sched_name: Name::new(b"rr"),
        flags: Some(FlagsMask { flags: 0, mask: u32::MAX }),
        timeout: Some(0),
        netmask: Some(u32::MAX),
        ..id(port)
    };
    Request {
        command: Command::NewService,
        attributes: CommandAttrs { service: Some(service), ..CommandAttrs::default() },
    }
}

/// Returns a request that adds, edits or deletes its server 10.0.x.y:80, where `number` is x * 256 + y.
pub(crate) fn dest(command: Command, port: u16, number: u16) -> Request {
    let [high, low] = number.to_be_bytes();
    let mut request = about(command, port);
    request.attributes.dest = Some(DestAttrs {
        addr: Some(Ipv4Addr::new(10, 0, high, low).into()),
        port: Some(Be16(80)),
        fwd_method: Some(0),
        weight: Some(1),
        u_thresh: Some(0),
        l_thresh: Some(0),
        ..DestAttrs::default()
    });
    request
}

/// Returns a request that starts or stops the master sync daemon on lo.
pub(crate) fn master(command: Command) -> Request {
    let daemon =
        DaemonAttrs { state: Some(1), mcast_ifn: Name::new(b"lo"), sync_id: Some(7), ..DaemonAttrs::default() };
    Request { command, attributes: CommandAttrs { daemon: Some(daemon), ..CommandAttrs::default() } }
}

/// Submits requests; panics if one is refused.
#[track_caller]
fn submit(socket: &mut Socket, requests: impl IntoIterator<Item = Request>) {
    let refused = socket.submit(requests).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Adds services at ports 1, 2, 3, … of 192.0.2.1.
#[track_caller]
fn add_services(socket: &mut Socket, count: u16) {
    submit(socket, (1..=count).map(new_service));
    settle(socket);
}

/// Waits until the kernel has resized its service table. Since 7.1 it does so a moment after services were added or
/// deleted. A list that is read meanwhile lacks some services and has others twice.
#[track_caller]
fn settle(socket: &mut Socket) {
    if running() < (7, 1) {
        return;
    }
    let mut before = Vec::new();
    wait::until(Duration::from_secs(30), || {
        std::thread::sleep(Duration::from_millis(50));
        let now = unsorted_ports(socket);
        if now == before {
            Ok(())
        } else {
            Err(format!("{} services, then {}", replace(&mut before, now).len(), before.len()))
        }
    });
}

#[track_caller]
fn unsorted_ports(socket: &mut Socket) -> Vec<u16> {
    let dump = socket.dump(&Request::new(Command::GetService)).unwrap();
    dump.map(|reply| reply.unwrap().service.unwrap().port.unwrap().0).collect()
}

/// Returns the ports of all services, sorted.
#[track_caller]
fn ports(socket: &mut Socket) -> Vec<u16> {
    let mut ports = unsorted_ports(socket);
    ports.sort_unstable();
    ports
}

/// Checks with a request that no reply of an earlier one is left in the socket.
#[track_caller]
fn assert_no_reply_left(socket: &mut Socket) {
    let info: InfoAttrs = socket.get(&Request::new(Command::GetInfo)).unwrap();
    assert_eq!(info.version, Some(0x01_02_01));
}

/// Returns index and errno of each refusal.
pub(crate) fn errnos(refused: &[(usize, Error)]) -> Vec<(usize, i32)> {
    refused.iter().map(|(index, error)| (*index, error.errno().expect("an errno of the kernel"))).collect()
}
