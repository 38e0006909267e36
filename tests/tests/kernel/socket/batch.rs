//! Many requests in one system call, and the errors of those that were refused.

use std::fs;

use ipvs_sys::uapi::{Command, ServiceAttrs};
use ipvs_sys::wire::{Name, Wire, write_attribute};
use ipvs_sys::{Error, Refusal, Request, Socket};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::{about, add_services, assert_no_reply_left, dest, errnos, master, new_service, ports, settle};

const BATCH: usize = Socket::BATCH;

ipvs_tests::tests! {
    empty_batch_does_nothing;
    requests_are_executed_in_order;
    refusal_does_not_stop_the_rest;
    refusals_have_indexes_across_batches;
    last_request_of_each_batch_length_is_refused;
    refusal_has_the_kernels_message;
    one_batch_of_refusals;
    several_batches_of_refusals;
    long_requests_are_refused;
    lost_replies_are_an_error;
}

fn empty_batch_does_nothing() {
    let mut socket = Socket::open().unwrap();
    assert!(socket.submit([] as [Request; 0]).unwrap().is_empty());
    assert_no_reply_left(&mut socket);
}

fn requests_are_executed_in_order() {
    let mut socket = Socket::open().unwrap();
    let refused = socket.submit([
        new_service(1),
        dest(Command::NewDest, 1, 7),
        dest(Command::SetDest, 1, 7),
        dest(Command::DelDest, 1, 7),
        about(Command::DelService, 1),
        new_service(1),
        about(Command::Zero, 1),
    ]);
    assert!(refused.unwrap().is_empty());
    assert_eq!(ports(&mut socket), [1]);
    assert_eq!(socket.dump(&about(Command::GetDest, 1)).unwrap().count(), 0);
}

fn refusal_does_not_stop_the_rest() {
    let mut socket = Socket::open().unwrap();
    let refused = socket.submit([
        new_service(1),
        new_service(1),
        about(Command::DelService, 9),
        new_service(2),
        dest(Command::SetDest, 2, 7),
        dest(Command::NewDest, 2, 7),
        dest(Command::NewDest, 2, 7),
        new_service(3),
    ]);
    let refused = refused.unwrap();
    assert_eq!(errnos(&refused), [(1, libc::EEXIST), (2, libc::ESRCH), (4, libc::ENOENT), (6, libc::EEXIST)]);
    assert_eq!(refused[2].1.to_string(), "IPVS_CMD_SET_DEST: No such file or directory (os error 2)");
    assert_eq!(ports(&mut socket), [1, 2, 3]);
}

/// Every seventh service already exists.
fn refusals_have_indexes_across_batches() {
    let mut socket = Socket::open().unwrap();
    let requests = (0..1000u16).map(|i| new_service(if i % 7 == 6 { 1 } else { i + 1 }));
    let refused = socket.submit(requests).unwrap();
    let expected: Vec<(usize, i32)> = (6..1000).step_by(7).map(|index| (index, libc::EEXIST)).collect();
    assert_eq!(errnos(&refused), expected);
    settle(&mut socket);
    assert_eq!(ports(&mut socket).len(), 1000 - expected.len());
}

/// Only the last request of a batch requests a reply, so this tests lengths around the limit of a batch.
fn last_request_of_each_batch_length_is_refused() {
    let mut socket = Socket::open().unwrap();
    for count in [1, 2, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 3 * BATCH + 1] {
        let requests = (1..=count).map(|port| new_service(if port == count { 1 } else { port as u16 }));
        let refused = socket.submit(requests.chain((count == 1).then(|| new_service(1)))).unwrap();
        assert_eq!(errnos(&refused), [(count.max(2) - 1, libc::EEXIST)]);
        let refused = socket.submit([Request::new(Command::Flush)]).unwrap();
        assert!(refused.is_empty(), "{count}");
    }
}

/// Returns a request whose refusal the kernel explains. Its interface name has 16 bytes, and the limit is 15.
fn explained() -> Request {
    let mut request = master(Command::NewDaemon);
    request.attributes.daemon.as_mut().unwrap().mcast_ifn = Name::new(b"interface-name-x");
    request
}

#[track_caller]
fn refusal(error: &Error) -> &Refusal {
    match error {
        Error::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

fn refusal_has_the_kernels_message() {
    let mut socket = Socket::open().unwrap();
    let refused = socket.submit([new_service(1), explained(), new_service(1)]).unwrap();
    let [(1, explained), (2, exists)] = &refused[..] else { panic!("{refused:?}") };
    // After the headers of netlink (16), generic netlink (4) and the daemon (4), and the state of the daemon (8).
    assert_eq!(
        *refusal(explained),
        Refusal {
            errno: libc::EINVAL,
            message: Some("Attribute failed policy validation".to_owned()),
            offset: Some(32)
        }
    );
    assert_eq!(
        explained.to_string(),
        "IPVS_CMD_NEW_DAEMON: Invalid argument (os error 22) (Attribute failed policy validation)"
    );
    // The kernel sends no message about attributes of services.
    assert_eq!(*refusal(exists), Refusal { errno: libc::EEXIST, message: None, offset: None });
}

fn one_batch_of_refusals() {
    all_are_refused(BATCH);
}

fn several_batches_of_refusals() {
    all_are_refused(4 * BATCH + 1);
}

/// Checks that all requests of a batch are refused. The kernel replies to each with an error message before the first
/// reply is read.
fn all_are_refused(count: usize) {
    let mut socket = Socket::open().unwrap();
    let refused = socket.submit(std::iter::repeat_with(explained).take(count)).unwrap();
    assert_eq!(errnos(&refused), (0..count).map(|index| (index, libc::EINVAL)).collect::<Vec<_>>());
    assert!(refused.iter().all(|(_, error)| refusal(error).message.is_some()));
    assert_no_reply_left(&mut socket);
}

/// Without NETLINK_CAP_ACK the kernel would include each request in its reply, and overflow the receive buffer.
fn long_requests_are_refused() {
    let mut socket = Socket::open().unwrap();
    add_services(&mut socket, 1);
    // An attribute that neither the kernel nor this library knows.
    let mut bytes = Vec::new();
    write_attribute(&mut bytes, 999, |out| out.resize(out.len() + 1200, 0));
    let unknown = ServiceAttrs::read(&bytes).unwrap().unknown;
    let long = || {
        let mut request = new_service(1);
        request.attributes.service.as_mut().unwrap().unknown = unknown.clone();
        request
    };
    let refused = socket.submit(std::iter::repeat_with(long).take(BATCH)).unwrap();
    assert_eq!(errnos(&refused), (0..BATCH).map(|index| (index, libc::EEXIST)).collect::<Vec<_>>());
}

/// The receive buffer holds only a few replies. The kernel executes all requests nevertheless.
fn lost_replies_are_an_error() {
    let mut socket = Socket::open().unwrap();
    add_services(&mut socket, 2);
    shrink_receive_buffers();
    let requests = (1..=100).map(|port| new_service(if port % 2 == 0 { port } else { 1 }));
    let error = socket.submit(requests).unwrap_err();
    assert!(matches!(error, Error::RepliesLost(Command::NewService)), "{error}");
    assert_eq!(error.to_string(), "IPVS_CMD_NEW_SERVICE: replies were lost, so it is unknown which changes were made");
    let mut other = Socket::open().unwrap();
    settle(&mut other);
    assert_eq!(ports(&mut other).len(), 51);
    // The remaining replies are still in the socket; they must not be read as replies to the next request.
    assert_no_reply_left(&mut socket);
    let refused = socket.submit([new_service(200), new_service(200), new_service(201)]).unwrap();
    assert_eq!(errnos(&refused), [(1, libc::EEXIST)]);
    assert_eq!(ports(&mut socket).len(), 53);
}

/// Gives all sockets of this process a small receive buffer. A socket that has sent a batch relies on its size.
pub(crate) fn shrink_receive_buffers() {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        if fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:")) {
            let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let socket = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).unwrap();
            set_socket_recv_buffer_size(socket, 4096).unwrap();
        }
    }
}
