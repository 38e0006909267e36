//! Missing permission. Every command, even one that reads, needs CAP_NET_ADMIN in the initial user namespace.

use std::fs;

use ipvs_sys::uapi::{Command, CommandAttrs, InfoAttrs};
use ipvs_sys::{Request, Socket};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, set_capabilities, unshare_unsafe};

use super::{assert_no_reply_left, errnos, new_service};

ipvs_tests::tests! {
    every_command_needs_the_capability;
    capability_is_checked_for_each_message;
    root_of_a_user_namespace_is_refused;
}

/// Runs a function in a thread without the capability. A thread cannot get it back.
pub(crate) fn without_net_admin<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let act = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        sets.permitted.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

#[track_caller]
fn refuses_everything(socket: &mut Socket) {
    let error = socket.get::<InfoAttrs>(&Request::new(Command::GetInfo)).unwrap_err();
    assert_eq!(error.to_string(), "IPVS_CMD_GET_INFO: Operation not permitted (os error 1)");
    let error = socket.get::<CommandAttrs>(&Request::new(Command::GetConfig)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EPERM));
    for list in [Command::GetService, Command::GetDest, Command::GetDaemon] {
        let mut dump = socket.dump(&Request::new(list)).unwrap();
        assert_eq!(dump.next().unwrap().unwrap_err().errno(), Some(libc::EPERM));
        assert!(dump.next().is_none());
    }
    let refused = socket.submit([new_service(1), Request::new(Command::DelDaemon), new_service(2)]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::EPERM), (1, libc::EPERM), (2, libc::EPERM)]);
    // After a batch that ends with DelDaemon, the library sends a fence, which is not refused.
    let refused = socket.submit([new_service(1), Request::new(Command::DelDaemon)]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::EPERM), (1, libc::EPERM)]);
}

fn every_command_needs_the_capability() {
    without_net_admin(|| refuses_everything(&mut Socket::open().unwrap()));
    assert_no_reply_left(&mut Socket::open().unwrap());
}

/// The kernel checks the sender of each message, not the process that opened the socket.
fn capability_is_checked_for_each_message() {
    let mut socket = Socket::open().unwrap();
    assert_no_reply_left(&mut socket);
    without_net_admin(|| refuses_everything(&mut socket));
    assert_no_reply_left(&mut socket);
}

fn root_of_a_user_namespace_is_refused() {
    // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is not
    // set.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }.unwrap();
    fs::write("/proc/self/uid_map", "0 0 1").unwrap();
    assert!(capabilities(None).unwrap().effective.contains(CapabilitySet::NET_ADMIN));
    refuses_everything(&mut Socket::open().unwrap());
}
