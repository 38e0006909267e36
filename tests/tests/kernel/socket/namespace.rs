//! Sockets in other network namespaces than the caller's.

use std::path::PathBuf;

use ipvs_sys::{Error, Namespace, Socket};
use ipvs_tests::lab::topology::Lab;

use super::{add_services, assert_no_reply_left, ports};

ipvs_tests::tests! {
    opened_by_name;
    opened_by_path;
    opened_by_process_id;
    missing_namespace_is_an_error;
    other_file_is_an_error;
    socket_works_in_another_thread;
    many_namespaces_at_once;
}

fn own() -> PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

/// Opens a socket in a namespace with three services and checks that the caller's namespace has none.
#[track_caller]
fn holds_three(namespace: &Namespace) {
    let before = own();
    let mut there = Socket::open_in(namespace).unwrap();
    assert_eq!(own(), before);
    assert_eq!(ports(&mut there), [1, 2, 3]);
    assert_eq!(ports(&mut Socket::open().unwrap()), vec![0; 0]);
}

fn opened_by_name() {
    let blue = Lab::new().unwrap().host("blue").unwrap();
    blue.enter(|| add_services(&mut Socket::open().unwrap(), 3));
    holds_three(&Namespace::Name("blue".to_owned()));
}

fn opened_by_path() {
    let blue = Lab::new().unwrap().host("blue").unwrap();
    blue.enter(|| add_services(&mut Socket::open().unwrap(), 3));
    holds_three(&Namespace::Path("/run/netns/blue".into()));
}

fn opened_by_process_id() {
    let blue = Lab::new().unwrap().host("blue").unwrap();
    blue.enter(|| add_services(&mut Socket::open().unwrap(), 3));
    let process = blue.start("sleep 60");
    holds_three(&Namespace::Pid(process.pid().as_raw_nonzero().get().try_into().unwrap()));
}

#[track_caller]
fn cannot_be_entered(namespace: Namespace, why: &str) {
    let before = own();
    let error = Socket::open_in(&namespace).unwrap_err();
    assert!(matches!(error, Error::Namespace { .. }), "{error:?}");
    assert_eq!(error.to_string(), why);
    assert_eq!(own(), before);
    assert_no_reply_left(&mut Socket::open().unwrap());
}

fn missing_namespace_is_an_error() {
    let missing = "No such file or directory (os error 2)";
    cannot_be_entered(Namespace::Name("green".to_owned()), &format!("network namespace green: {missing}"));
    cannot_be_entered(Namespace::Path("/run/x".into()), &format!("network namespace /run/x: {missing}"));
    cannot_be_entered(Namespace::Pid(999_999), &format!("network namespace 999999: {missing}"));
}

fn other_file_is_an_error() {
    let wrong = "Invalid argument (os error 22)";
    cannot_be_entered(
        Namespace::Path("/proc/self/ns/uts".into()),
        &format!("network namespace /proc/self/ns/uts: {wrong}"),
    );
    cannot_be_entered(Namespace::Path("/etc/passwd".into()), &format!("network namespace /etc/passwd: {wrong}"));
}

/// A socket belongs to the namespace in which it was opened, and any thread may use it.
fn socket_works_in_another_thread() {
    let blue = Lab::new().unwrap().host("blue").unwrap();
    let mut there = Socket::open_in(&Namespace::Name("blue".to_owned())).unwrap();
    let mut there = std::thread::spawn(move || {
        add_services(&mut there, 3);
        there
    })
    .join()
    .unwrap();
    assert_eq!(ports(&mut there), [1, 2, 3]);
    assert_eq!(blue.enter(|| ports(&mut Socket::open().unwrap())), [1, 2, 3]);
    assert_eq!(ports(&mut Socket::open().unwrap()), vec![0; 0]);
}

fn many_namespaces_at_once() {
    let lab = Lab::new().unwrap();
    let names = ["red", "green", "blue"];
    let _hosts = lab.hosts(names).unwrap();
    let mut directors = names.map(|name| Socket::open_in(&Namespace::Name(name.to_owned())).unwrap());
    for (count, director) in (1..).zip(&mut directors) {
        add_services(director, count);
    }
    assert_eq!(directors.each_mut().map(ports), [vec![1], vec![1, 2], vec![1, 2, 3]]);
}
