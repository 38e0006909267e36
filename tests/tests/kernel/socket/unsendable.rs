//! Requests that cannot be sent, and sizes that cannot be used. Nothing reaches the kernel.

use ipvs_sys::uapi::{Command, CommandAttrs};
use ipvs_sys::{Error, Request, Socket};

use super::{about, add_services, assert_no_reply_left, new_service};

ipvs_tests::tests! {
    commands_of_another_kind_change_nothing;
    requests_that_are_too_long_change_nothing;
    any_size_of_datagrams;
}

fn services(socket: &mut Socket) -> usize {
    let replies: Result<Vec<_>, _> = socket.dump(&Request::new(Command::GetService)).unwrap().collect();
    replies.unwrap().len()
}

#[track_caller]
fn is_not_sent<T: std::fmt::Debug>(result: Result<T, Error>, why: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }) && error.to_string().ends_with(why), "{error}");
}

fn commands_of_another_kind_change_nothing() {
    let mut socket = Socket::open().unwrap();
    add_services(&mut socket, 3);
    let flush = Request::new(Command::Flush);
    is_not_sent(socket.get::<CommandAttrs>(&flush), ": it gets no item");
    is_not_sent(socket.dump(&flush), ": it dumps no list");
    for command in [Command::GetService, Command::GetConfig, Command::SetInfo] {
        is_not_sent(socket.change(&Request::new(command)), ": it changes nothing");
    }
    // The flush is in the same batch, and is not sent either.
    is_not_sent(socket.submit([flush, Request::new(Command::GetInfo)]), ": it changes nothing");
    assert_eq!(services(&mut socket), 3);
    assert_no_reply_left(&mut socket);
}

/// The length of an attribute has 16 bits. 65,532 bytes and the header would be 0, so the kernel would see no attribute.
fn requests_that_are_too_long_change_nothing() {
    let mut socket = Socket::open().unwrap();
    for length in [65_509, 65_531, 65_532, 65_536, 1 << 20] {
        let mut request = new_service(1);
        request.attributes.unknown.push(99, &vec![0; length]);
        is_not_sent(socket.change(&request), ": it has more than 65,535 bytes");
        let mut request = about(Command::GetService, 1);
        request.attributes.unknown.push(99, &vec![0; length]);
        is_not_sent(socket.get::<CommandAttrs>(&request), ": it has more than 65,535 bytes");
        is_not_sent(socket.dump(&request), ": it has more than 65,535 bytes");
    }
    assert_eq!(services(&mut socket), 0);
    assert_no_reply_left(&mut socket);
}

/// A size outside of 1 to 32 KiB is replaced by the nearest.
fn any_size_of_datagrams() {
    add_services(&mut Socket::open().unwrap(), 100);
    for (bytes, fits) in
        [(0, false), (1, false), (32 * 1024, true), (262_144, true), (262_145, true), (usize::MAX, true)]
    {
        let mut socket = Socket::open_with_datagram_size(bytes).unwrap();
        let info = socket.get::<ipvs_sys::uapi::InfoAttrs>(&Request::new(Command::GetInfo));
        assert_eq!(info.is_ok(), fits, "{bytes}: {info:?}");
        if !fits {
            assert!(matches!(info, Err(Error::Decode { .. })), "{bytes}: {info:?}");
        }
        assert_eq!(services(&mut socket), 100, "{bytes}");
    }
}
