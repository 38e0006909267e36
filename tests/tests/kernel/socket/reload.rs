//! The module ip_vs is unloaded and loaded again: its generic netlink family then has another id.

use std::time::{Duration, Instant};

use ipvs_sys::uapi::{Command, CommandAttrs, InfoAttrs};
use ipvs_sys::{Error, Request, Socket};
use ipvs_tests::guest::modules;

use super::{about, add_services, assert_no_reply_left, errnos, master, new_service, ports, settle, submit};

ipvs_tests::tests! {
    get_finds_the_new_family_id, own_kernel = true;
    dump_finds_the_new_family_id, own_kernel = true;
    batch_finds_the_new_family_id, own_kernel = true;
    refused_batch_finds_the_new_family_id, own_kernel = true;
    stop_finds_the_new_family_id, own_kernel = true;
    kernel_loads_the_module_on_demand, own_kernel = true;
    module_that_cannot_be_loaded_is_an_error, own_kernel = true;
}

/// Returns a socket with an outdated family id.
fn stale() -> Socket {
    let mut socket = Socket::open().unwrap();
    assert_no_reply_left(&mut socket);
    let family = format!("{socket:?}");
    modules::unload("ip_vs").unwrap().load().unwrap();
    assert_eq!(format!("{socket:?}"), family);
    socket
}

fn get_finds_the_new_family_id() {
    let mut socket = stale();
    assert_no_reply_left(&mut socket);
    assert_no_reply_left(&mut socket);
}

fn dump_finds_the_new_family_id() {
    let mut socket = stale();
    add_services(&mut Socket::open().unwrap(), 400);
    assert_eq!(ports(&mut socket).len(), 400);
    submit(&mut socket, [Request::new(Command::Flush)]);

    let mut socket = stale();
    // Dropped before the first reply shows that the id is outdated.
    drop(socket.dump(&Request::new(Command::GetService)).unwrap());
    assert_eq!(ports(&mut socket), vec![0; 0]);
}

fn batch_finds_the_new_family_id() {
    let mut socket = stale();
    let refused = socket.submit((0..300).map(|i| new_service(if i == 200 { 1 } else { i + 1 }))).unwrap();
    assert_eq!(errnos(&refused), [(200, libc::EEXIST)]);
    settle(&mut socket);
    assert_eq!(ports(&mut socket).len(), 299);
}

/// The fence after the stop of a daemon has no family.
fn stop_finds_the_new_family_id() {
    let mut socket = stale();
    let refused = socket.submit([master(Command::NewDaemon), master(Command::DelDaemon)]).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    let mut socket = stale();
    let refused = socket.submit([master(Command::DelDaemon)]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::ESRCH)]);
    assert_no_reply_left(&mut socket);
}

/// The kernel returns `ENOENT` both for an unknown family id and for an unknown scheduler.
fn refused_batch_finds_the_new_family_id() {
    let unknown = || {
        let mut request = new_service(1);
        request.attributes.service.as_mut().unwrap().sched_name = ipvs_sys::wire::Name::new(b"nonesuch");
        request
    };
    let mut socket = stale();
    let refused = socket.submit([unknown(), unknown()]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::ENOENT), (1, libc::ENOENT)]);
    let refused = socket.submit([unknown(), new_service(1)]).unwrap();
    assert_eq!(errnos(&refused), [(0, libc::ENOENT)]);
    let error = socket.get::<CommandAttrs>(&about(Command::GetService, 2)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ESRCH));
}

fn kernel_loads_the_module_on_demand() {
    let unloaded = modules::unload("ip_vs").unwrap();
    assert!(!modules::loaded().unwrap().contains("ip_vs"));
    // Opening sends no request.
    let mut socket = Socket::open().unwrap();
    assert!(!modules::loaded().unwrap().contains("ip_vs"));
    assert_no_reply_left(&mut socket);
    assert!(modules::loaded().unwrap().contains("ip_vs"));
    drop(unloaded);
}

fn module_that_cannot_be_loaded_is_an_error() {
    let mut known = Socket::open().unwrap();
    assert_no_reply_left(&mut known);
    let unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    let started = Instant::now();
    for socket in [&mut known, &mut Socket::open().unwrap()] {
        let error = socket.get::<InfoAttrs>(&Request::new(Command::GetInfo)).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no IPVS: module ip_vs is not loaded");
        let error = socket.submit([new_service(1)]).unwrap_err();
        assert!(matches!(error, Error::NoFamily), "{error}");
        let listed = socket.dump(&Request::new(Command::GetService)).and_then(|mut dump| dump.next().transpose());
        assert!(matches!(listed, Err(Error::NoFamily)), "{listed:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "waited for a reply that the kernel does not send");
    unloaded.load().unwrap();
    assert_no_reply_left(&mut known);
}
