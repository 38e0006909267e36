//! Errors and their messages. Those of sync daemons and timeouts are in their own files. A kernel without IPv6 is not
//! tested, because all kernels of the guests have it.

use ipvs::{
    Change, Client, Destination, DestinationKey, Engine, ErrorKind, Forwarding, Namespace, Role, Scheduler, Service,
    SyncDaemon,
};
use ipvs_tests::guest::modules;
use ipvs_tests::net::rtnl;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{add, ip, refused, refused_with, server, submit, web};
use crate::socket::batch::shrink_receive_buffers;
use crate::socket::permission::without_net_admin;

ipvs_tests::tests! {
    error_names_the_change_and_the_errno;
    service_exists;
    no_such_service;
    server_exists;
    no_such_server;
    scheduler_not_found;
    engine_not_found;
    address_is_not_unicast;
    loopback_was_never_up;
    edit_while_a_sync_daemon_runs;
    several_refusals_by_index;
    no_permission;
    module_not_loaded, own_kernel = true;
    no_such_namespace;
    lost_replies;
}

fn error_names_the_change_and_the_errno() {
    let error = refused(&mut Client::open().unwrap(), Change::DeleteService(web()));
    assert_eq!(error.operation(), "delete service TCP 192.0.2.1:80");
    assert_eq!(error.errno(), Some(libc::ESRCH));
    let cause = error.cause().expect("the kernel's reply");
    assert_eq!(cause.to_string(), "IPVS_CMD_DEL_SERVICE: No such process (os error 3)");
}

fn service_exists() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web())]);
    refused_with(
        &mut client,
        Change::AddService(Service::new(web(), Scheduler::WLC)),
        "add service TCP 192.0.2.1:80: service already exists (IPVS_CMD_NEW_SERVICE: File exists (os error 17))",
        |kind| matches!(kind, ErrorKind::ServiceExists),
    );
}

fn no_such_service() {
    let mut client = Client::open().unwrap();
    for (change, message) in [
        (Change::EditService(Service::new(web(), Scheduler::RR)), "edit service TCP 192.0.2.1:80: no such service"),
        (Change::DeleteService(web()), "delete service TCP 192.0.2.1:80: no such service"),
        (
            Change::AddDestination(web(), server("10.0.0.1", 80)),
            "add server 10.0.0.1:80 to TCP 192.0.2.1:80: no such service",
        ),
        (
            Change::EditDestination(web(), server("10.0.0.1", 80)),
            "edit server 10.0.0.1:80 of TCP 192.0.2.1:80: no such service",
        ),
        (
            Change::DeleteDestination(web(), server("10.0.0.1", 80).key),
            "delete server 10.0.0.1:80 of TCP 192.0.2.1:80: no such service",
        ),
        (Change::Zero(Some(web())), "zero the counters of TCP 192.0.2.1:80: no such service"),
    ] {
        let message = format!("{message} ({}: No such process (os error 3))", change.command_name());
        refused_with(&mut client, change, &message, |kind| matches!(kind, ErrorKind::NoSuchService));
    }
}

fn server_exists() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web()), Change::AddDestination(web(), server("10.0.0.1", 80))]);
    refused_with(
        &mut client,
        Change::AddDestination(web(), Destination { weight: 7, ..server("10.0.0.1", 80) }),
        "add server 10.0.0.1:80 to TCP 192.0.2.1:80: server already exists \
         (IPVS_CMD_NEW_DEST: File exists (os error 17))",
        |kind| matches!(kind, ErrorKind::DestinationExists),
    );
}

fn no_such_server() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web()), Change::AddDestination(web(), server("10.0.0.1", 80))]);
    refused_with(
        &mut client,
        Change::EditDestination(web(), server("10.0.0.1", 81)),
        "edit server 10.0.0.1:81 of TCP 192.0.2.1:80: no such server \
         (IPVS_CMD_SET_DEST: No such file or directory (os error 2))",
        |kind| matches!(kind, ErrorKind::NoSuchDestination),
    );
    refused_with(
        &mut client,
        Change::DeleteDestination(web(), server("10.0.0.2", 80).key),
        "delete server 10.0.0.2:80 of TCP 192.0.2.1:80: no such server \
         (IPVS_CMD_DEL_DEST: No such file or directory (os error 2))",
        |kind| matches!(kind, ErrorKind::NoSuchDestination),
    );
    // The family is part of the address: this one begins with the four bytes of 10.0.0.1.
    let error = refused(&mut client, Change::DeleteDestination(web(), DestinationKey::new(ip("a00:1::"), 80)));
    assert!(matches!(error.kind(), ErrorKind::NoSuchDestination), "{error}");
}

fn scheduler_not_found() {
    let mut client = Client::open().unwrap();
    let service = Service::new(web(), "nonesuch".parse().unwrap());
    let not_found = "the kernel has no scheduler nonesuch";
    refused_with(
        &mut client,
        Change::AddService(service),
        &format!(
            "add service TCP 192.0.2.1:80: {not_found} (IPVS_CMD_NEW_SERVICE: No such file or directory (os error 2))"
        ),
        |kind| matches!(kind, ErrorKind::SchedulerNotFound { scheduler, engine } if scheduler.as_bytes() == b"nonesuch" && engine.is_none()),
    );
    submit(&mut client, [add(web())]);
    refused_with(
        &mut client,
        Change::EditService(service),
        &format!(
            "edit service TCP 192.0.2.1:80: {not_found} (IPVS_CMD_SET_SERVICE: No such file or directory (os error 2))"
        ),
        |kind| matches!(kind, ErrorKind::SchedulerNotFound { .. }),
    );
    // The service is unchanged.
    assert_eq!(client.service(&web()).unwrap().service.scheduler, Scheduler::RR);
}

fn engine_not_found() {
    let service = Service { engine: Some(Engine::new("nonesuch").unwrap()), ..Service::new(web(), Scheduler::RR) };
    refused_with(
        &mut Client::open().unwrap(),
        Change::AddService(service),
        "add service TCP 192.0.2.1:80: the kernel has no scheduler rr or no persistence engine nonesuch \
         (IPVS_CMD_NEW_SERVICE: No such file or directory (os error 2))",
        |kind| matches!(kind, ErrorKind::SchedulerNotFound { .. }),
    );
}

const NO_SERVER: &str = "the kernel refuses these values: a server's address must be unicast, lo must be up, \
                         and servers of both families cannot be mixed while a sync daemon runs \
                         (IPVS_CMD_NEW_DEST: Invalid argument (os error 22))";

/// Only the routing table knows which addresses are broadcast addresses.
fn address_is_not_unicast() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web())]);
    refused_with(
        &mut client,
        Change::AddDestination(web(), server("127.255.255.255", 80)),
        &format!("add server 127.255.255.255:80 to TCP 192.0.2.1:80: {NO_SERVER}"),
        |kind| matches!(kind, ErrorKind::NotAccepted(_)),
    );
}

/// In a new namespace every address lookup fails until lo has been up.
fn loopback_was_never_up() {
    let in_a_new_namespace = || {
        // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is not
        // set.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let mut client = Client::open().unwrap();
        submit(&mut client, [add(web())]);
        refused_with(
            &mut client,
            Change::AddDestination(web(), server("10.0.0.1", 80)),
            &format!("add server 10.0.0.1:80 to TCP 192.0.2.1:80: {NO_SERVER}"),
            |kind| matches!(kind, ErrorKind::NotAccepted(_)),
        );
        rtnl::Socket::open().unwrap().set_up("lo").unwrap();
        submit(&mut client, [Change::AddDestination(web(), server("10.0.0.1", 80))]);
    };
    std::thread::spawn(in_a_new_namespace).join().unwrap();
}

fn edit_while_a_sync_daemon_runs() {
    let mut client = Client::open().unwrap();
    submit(&mut client, [add(web()), Change::StartDaemon(SyncDaemon::new(Role::Backup, "lo".parse().unwrap(), 7))]);
    refused_with(
        &mut client,
        Change::EditDestination(web(), Destination::new((ip("2001:db8:1::1"), 80), Forwarding::IPIP)),
        "edit server [2001:db8:1::1]:80 of TCP 192.0.2.1:80: the kernel refuses these values \
         (IPVS_CMD_SET_DEST: Invalid argument (os error 22))",
        |kind| matches!(kind, ErrorKind::NotAccepted(None)),
    );
}

fn several_refusals_by_index() {
    let mut client = Client::open().unwrap();
    let changes = [
        add(web()),
        add(web()),
        Change::AddDestination(web(), server("10.0.0.1", 80)),
        Change::DeleteDestination(web(), server("10.0.0.2", 80).key),
        Change::StopDaemon(Role::Master),
        Change::EditDestination(web(), Destination { weight: 7, ..server("10.0.0.1", 80) }),
    ];
    let refused = client.submit(&changes).unwrap();
    let operations: Vec<(usize, &str)> = refused.iter().map(|(index, error)| (*index, error.operation())).collect();
    assert_eq!(
        operations,
        [
            (1, "add service TCP 192.0.2.1:80"),
            (3, "delete server 10.0.0.2:80 of TCP 192.0.2.1:80"),
            (4, "stop the master sync daemon"),
        ]
    );
    assert_eq!(client.destinations(&web()).unwrap()[0].destination.weight, 7);
}

fn no_permission() {
    without_net_admin(|| {
        let mut client = Client::open().unwrap();
        let message = "permission denied: IPVS requires CAP_NET_ADMIN in the initial user namespace";
        assert_eq!(
            client.state().unwrap_err().to_string(),
            format!("read the IPVS version: {message} (IPVS_CMD_GET_INFO: Operation not permitted (os error 1))")
        );
        refused_with(
            &mut client,
            add(web()),
            &format!(
                "add service TCP 192.0.2.1:80: {message} (IPVS_CMD_NEW_SERVICE: Operation not permitted (os error 1))"
            ),
            |kind| matches!(kind, ErrorKind::NoPermission),
        );
        for error in [client.timeouts().unwrap_err(), client.services().unwrap_err(), client.daemons().unwrap_err()] {
            assert!(matches!(error.kind(), ErrorKind::NoPermission), "{error}");
        }
        // The connection table needs no permission.
        assert_eq!(client.connections().unwrap().count(), 0);
    });
}

fn module_not_loaded() {
    let _unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    let mut client = Client::open().unwrap();
    let message = "the kernel has no IPVS: cannot load the module ip_vs";
    let error = client.submit(&[add(web())]).unwrap_err();
    assert_eq!(error.to_string(), format!("submit 1 change: {message}"));
    for error in [client.state().unwrap_err(), error, client.connections().unwrap_err()] {
        assert!(matches!(error.kind(), ErrorKind::NotLoaded), "{error}");
    }
}

fn no_such_namespace() {
    let error = Client::open_in(&Namespace::Name("nowhere".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "open the table: network namespace nowhere: No such file or directory (os error 2)");
    assert!(matches!(error.kind(), ErrorKind::NoSuchNamespace));
}

/// The changes may have been made.
fn lost_replies() {
    let mut client = Client::open().unwrap();
    assert_eq!(client.submit(&[add(web()), add(web())]).unwrap().len(), 1);
    shrink_receive_buffers();
    let again: Vec<Change> = std::iter::repeat_n(add(web()), 100).collect();
    let error = client.submit(&again).unwrap_err();
    assert_eq!(
        error.to_string(),
        "submit 100 changes: no usable reply from the kernel (IPVS_CMD_NEW_SERVICE: replies were lost, so it is \
         unknown which changes were made)"
    );
    assert!(matches!(error.kind(), ErrorKind::NoReply));
    assert_eq!(client.state().unwrap().services.len(), 1);
}
