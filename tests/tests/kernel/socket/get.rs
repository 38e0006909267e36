//! Requests with one reply.

use ipvs_sys::uapi::{Command, CommandAttrs, InfoAttrs};
use ipvs_sys::{Error, Request, Socket};

use super::{about, add_services, assert_no_reply_left};

ipvs_tests::tests! {
    returns_kernel_info;
    returns_timeouts;
    returns_one_service;
    missing_service_is_esrch;
    refuses_get_of_dump_only_commands;
}

fn returns_kernel_info() {
    let mut socket = Socket::open().unwrap();
    let info: InfoAttrs = socket.get(&Request::new(Command::GetInfo)).unwrap();
    assert_eq!(info.version, Some(0x01_02_01));
    assert!(info.conn_tab_size.is_some() && info.unknown.is_empty(), "{info:?}");
}

fn returns_timeouts() {
    let mut socket = Socket::open().unwrap();
    let timeouts: CommandAttrs = socket.get(&Request::new(Command::GetConfig)).unwrap();
    assert_eq!(
        timeouts,
        CommandAttrs {
            timeout_tcp: Some(900),
            timeout_tcp_fin: Some(120),
            timeout_udp: Some(300),
            ..CommandAttrs::default()
        }
    );
}

fn returns_one_service() {
    let mut socket = Socket::open().unwrap();
    add_services(&mut socket, 3);
    let reply: CommandAttrs = socket.get(&about(Command::GetService, 2)).unwrap();
    let service = reply.service.unwrap();
    assert_eq!(service.port.unwrap().0, 2);
    assert_eq!(service.sched_name.unwrap().as_bytes(), b"rr");
    // The library knows every attribute that the kernel sends.
    assert!(service.unknown.is_empty(), "{service:?}");
}

fn missing_service_is_esrch() {
    let mut socket = Socket::open().unwrap();
    let error = socket.get::<CommandAttrs>(&about(Command::GetService, 1)).unwrap_err();
    assert_eq!(error.to_string(), "IPVS_CMD_GET_SERVICE: No such process (os error 3)");
    assert_eq!(error.errno(), Some(libc::ESRCH));
    assert_no_reply_left(&mut socket);
}

fn refuses_get_of_dump_only_commands() {
    let mut socket = Socket::open().unwrap();
    for command in [Command::GetDest, Command::GetDaemon] {
        let error = socket.get::<CommandAttrs>(&about(command, 1)).unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{error}");
    }
    assert_no_reply_left(&mut socket);
}
