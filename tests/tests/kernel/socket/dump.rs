//! Dumps: lists in one datagram and in many, and lists that are not read to the end.

use ipvs_sys::uapi::Command;
use ipvs_sys::{Error, Request, Socket};

use ipvs_tests::host::kernel::running;
use ipvs_tests::net::netns::Netns;

use super::{about, add_services, assert_no_reply_left, dest, new_service, ports, submit};

ipvs_tests::tests! {
    empty_list;
    list_in_many_datagrams;
    list_in_small_datagrams;
    truncated_datagram_is_an_error;
    servers_of_a_service;
    missing_service_has_no_servers;
    refuses_dump_of_get_only_commands;
    unread_list_does_not_block_the_next;
    unread_list_does_not_block_the_next_in_small_datagrams;
    two_sockets_list_at_once;
    change_while_reading_ends_the_list;
    deletions_in_another_namespace_shorten_the_list;
}

/// A receive buffer that is smaller than the usual one.
const SMALL: usize = 4096;

fn empty_list() {
    let mut socket = Socket::open().unwrap();
    assert_eq!(ports(&mut socket), vec![0; 0]);
    assert_no_reply_left(&mut socket);
}

fn list_in_many_datagrams() {
    lists_all_services(Socket::open().unwrap());
}

fn list_in_small_datagrams() {
    lists_all_services(Socket::open_with_datagram_size(SMALL).unwrap());
}

/// No known kernel sends a datagram larger than the buffer, so this uses a tiny buffer.
fn truncated_datagram_is_an_error() {
    add_services(&mut Socket::open().unwrap(), 100);
    let mut socket = Socket::open_with_datagram_size(1024).unwrap();
    let list = |socket: &mut Socket| -> Result<Vec<_>, _> {
        socket.dump(&Request::new(Command::GetService)).unwrap().collect()
    };
    let error = list(&mut socket).unwrap_err();
    assert!(error.to_string().ends_with("datagram larger than the buffer"), "{error}");
    assert!(socket.expects_large_datagrams());
    assert_eq!(list(&mut socket).unwrap().len(), 100);
}

/// Lists 1000 services: more than 300 KB.
fn lists_all_services(mut socket: Socket) {
    add_services(&mut socket, 1000);
    let expected: Vec<u16> = (1..=1000).collect();
    assert_eq!(ports(&mut socket), expected);
    // Twice, because the kernel sends the first list of a socket in smaller datagrams than later ones.
    assert_eq!(ports(&mut socket), expected);
}

fn servers_of_a_service() {
    let mut socket = Socket::open().unwrap();
    add_services(&mut socket, 2);
    submit(&mut socket, (1..=1000).map(|number| dest(Command::NewDest, 1, number)));
    submit(&mut socket, [dest(Command::NewDest, 2, 7)]);
    let servers = |socket: &mut Socket, port| -> Vec<[u8; 4]> {
        let dump = socket.dump(&about(Command::GetDest, port)).unwrap();
        dump.map(|reply| reply.unwrap().dest.unwrap().addr.unwrap().v4().octets()).collect()
    };
    // The kernel lists the newest server first.
    let expected: Vec<[u8; 4]> = (1..=1000u16).rev().map(|number| [10, 0, (number >> 8) as u8, number as u8]).collect();
    assert_eq!(servers(&mut socket, 1), expected);
    assert_eq!(servers(&mut socket, 2), [[10, 0, 0, 7]]);
}

/// The kernel sends an empty list instead of an error. Only a GET of the service reports that it does not exist.
fn missing_service_has_no_servers() {
    let mut socket = Socket::open().unwrap();
    assert_eq!(socket.dump(&about(Command::GetDest, 1)).unwrap().count(), 0);
    assert_no_reply_left(&mut socket);
}

fn refuses_dump_of_get_only_commands() {
    let mut socket = Socket::open().unwrap();
    for command in [Command::GetInfo, Command::GetConfig] {
        let error = socket.dump(&Request::new(command)).unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{error}");
    }
    assert_no_reply_left(&mut socket);
}

fn unread_list_does_not_block_the_next() {
    unread_list_is_discarded(Socket::open().unwrap());
}

fn unread_list_does_not_block_the_next_in_small_datagrams() {
    unread_list_is_discarded(Socket::open_with_datagram_size(SMALL).unwrap());
}

/// Starts a list after another was dropped half-read. The kernel refuses a second dump while one is being read.
fn unread_list_is_discarded(mut socket: Socket) {
    add_services(&mut socket, 400);
    submit(&mut socket, (1..=400).map(|number| dest(Command::NewDest, 1, number)));
    for list in [Request::new(Command::GetService), about(Command::GetDest, 1)] {
        for read in [0, 1, 13, 200, 399, 400] {
            let mut dump = socket.dump(&list).unwrap();
            assert!(dump.by_ref().take(read).all(|reply| reply.is_ok()));
            drop(dump);
            assert_eq!(socket.dump(&list).unwrap().count(), 400, "after {read} entries of the previous list");
        }
    }
    drop(socket.dump(&Request::new(Command::GetService)).unwrap());
    assert_no_reply_left(&mut socket);
    drop(socket.dump(&about(Command::GetDest, 1)).unwrap());
    submit(&mut socket, [new_service(401)]);
    assert_eq!(ports(&mut socket).len(), 401);
}

fn two_sockets_list_at_once() {
    let (mut one, mut other) = (Socket::open().unwrap(), Socket::open().unwrap());
    add_services(&mut one, 400);
    let (request, mut pairs) = (Request::new(Command::GetService), 0);
    for (a, b) in one.dump(&request).unwrap().zip(other.dump(&request).unwrap()) {
        assert_eq!(a.unwrap(), b.unwrap());
        pairs += 1;
    }
    assert_eq!(pairs, 400);
}

fn change_while_reading_ends_the_list() {
    let (mut one, mut other) = (Socket::open().unwrap(), Socket::open().unwrap());
    // More than one system call receives.
    add_services(&mut one, 2000);
    let request = Request::new(Command::GetService);
    let mut dump = one.dump(&request).unwrap();
    assert!(dump.next().unwrap().is_ok());
    submit(&mut other, [Request::new(Command::Flush)]);
    // The received part is returned and then the list ends, because the kernel does not report that it is incomplete.
    let rest: Vec<_> = dump.collect::<Result<_, _>>().unwrap();
    assert!(rest.len() < 1999, "{}", rest.len());
    assert_eq!(ports(&mut one), vec![0; 0]);
}

/// Before Linux 7.1 a list continues at the number of services that it has passed, and those of all namespaces count.
fn deletions_in_another_namespace_shorten_the_list() {
    const SERVICES: u16 = 2000;
    let mut own = Socket::open().unwrap();
    let mut other = Netns::new("other").unwrap().enter(|| Socket::open().unwrap());
    add_services(&mut other, SERVICES);
    add_services(&mut own, SERVICES);
    let request = Request::new(Command::GetService);
    let mut dump = own.dump(&request).unwrap();
    assert!(dump.by_ref().take(1000).all(|reply| reply.is_ok()));
    submit(&mut other, [Request::new(Command::Flush)]);
    let listed = 1000 + dump.collect::<Result<Vec<_>, _>>().unwrap().len();
    let is_short = listed < usize::from(SERVICES);
    assert_eq!(is_short, running() < (7, 1), "{listed}");
    assert_eq!(ports(&mut own).len(), usize::from(SERVICES));
}
