//! A sync daemon that is stopped before its thread has run. The kernel then stops it without a reply.

use ipvs_sys::uapi::Command;
use ipvs_sys::{Request, Socket};

use super::{assert_no_reply_left, errnos, master, new_service, ports, submit};

ipvs_tests::tests! {
    stop_in_the_same_batch;
    stop_in_the_next_batch;
    stop_within_a_longer_batch;
    second_stop_is_refused;
}

/// Number of attempts. In some of them the thread has already run, and the kernel replies.
const ATTEMPTS: usize = 50;

#[track_caller]
fn assert_none_runs(socket: &mut Socket) {
    assert_eq!(socket.dump(&Request::new(Command::GetDaemon)).unwrap().count(), 0);
}

fn stop_in_the_same_batch() {
    let mut socket = Socket::open().unwrap();
    for _ in 0..ATTEMPTS {
        submit(&mut socket, [master(Command::NewDaemon), master(Command::DelDaemon)]);
        assert_none_runs(&mut socket);
    }
}

fn stop_in_the_next_batch() {
    let mut socket = Socket::open().unwrap();
    for _ in 0..ATTEMPTS {
        submit(&mut socket, [master(Command::NewDaemon)]);
        submit(&mut socket, [master(Command::DelDaemon)]);
        assert_none_runs(&mut socket);
    }
}

fn stop_within_a_longer_batch() {
    let mut socket = Socket::open().unwrap();
    for _ in 0..ATTEMPTS {
        submit(
            &mut socket,
            [master(Command::NewDaemon), master(Command::DelDaemon), new_service(1), Request::new(Command::Flush)],
        );
        assert_none_runs(&mut socket);
    }
    assert_eq!(ports(&mut socket), vec![0; 0]);
}

/// The second stop is refused, whether it is the last of its batch or not.
fn second_stop_is_refused() {
    let mut socket = Socket::open().unwrap();
    let stop = || master(Command::DelDaemon);
    let refused = socket.submit([master(Command::NewDaemon), stop(), stop()]).unwrap();
    assert_eq!(errnos(&refused), [(2, libc::ESRCH)]);
    let refused = socket.submit([stop(), new_service(1)]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::ESRCH)]);
    assert_no_reply_left(&mut socket);
}
