//! Clients in other network namespaces, and the list of all namespaces.

use std::fs::{self, File};

use ipvs::{Client, ErrorKind, FoundNamespace, Namespace, NamespaceFd, Scheduler, Service, ServiceKey};
use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::Lab;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

ipvs_tests::tests! {
    every_name_opens_the_same_table;
    descriptor_needs_no_proc;
    every_kind_is_found;
    ended_namespaces_are_not_found;
    failures_have_kinds;
    entering_needs_a_capability;
    client_holds_three_descriptors;
    thread_stays_in_its_namespace;
}

/// Adds a namespace `blue` with a service.
fn blue(lab: &Lab) -> ipvs_tests::lab::topology::Host {
    let blue = lab.host("blue").unwrap();
    let mut client = Client::open_in(&Namespace::Name("blue".into())).unwrap();
    client.add_service(&web()).unwrap();
    blue
}

fn web() -> Service {
    Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR)
}

fn services(namespace: &Namespace) -> Vec<Service> {
    let states = Client::open_in(namespace).unwrap().services().unwrap();
    states.into_iter().map(|state| state.service).collect()
}

fn every_name_opens_the_same_table() {
    let lab = Lab::new().unwrap();
    let blue = blue(&lab);
    let process = blue.start("sleep 60");
    let open = Namespace::from(File::open("/run/netns/blue").unwrap());
    for namespace in [
        Namespace::Name("blue".into()),
        Namespace::Path("/run/netns/blue".into()),
        Namespace::Pid(process.pid().as_raw_nonzero().get().cast_unsigned()),
        open.clone(),
        open,
    ] {
        assert_eq!(services(&namespace), [web()], "{namespace}");
    }
    assert_eq!(Client::open().unwrap().services().unwrap(), []);
}

/// A tmpfs hides /proc. Servers are read, which needs a second socket in the namespace.
fn descriptor_needs_no_proc() {
    let lab = Lab::new().unwrap();
    let _blue = blue(&lab);
    let server = "-t 192.0.2.1:80 -r 10.0.0.1 -m";
    shell(&format!("ip netns exec blue ipvsadm -a {server}")).ok();
    let namespace = Namespace::from(File::open("/run/netns/blue").unwrap());
    let mut before = Client::open().unwrap();
    before.add_service(&web()).unwrap();
    ok("mount -t tmpfs none /proc");
    assert!(fs::metadata("/proc/self").is_err());
    let state = Client::open_in(&namespace).unwrap().state().unwrap();
    let own = (before.state().unwrap(), Client::open().unwrap().state().unwrap());
    ok("umount /proc");
    assert_eq!(state.services[0].destinations.len(), 1);
    for own in [own.0, own.1] {
        assert_eq!((own.services.len(), own.services[0].destinations.len()), (1, 0));
    }
}

fn found(name: &Namespace) -> Option<FoundNamespace> {
    Namespace::find_all().unwrap().into_iter().find(|found| found.names.contains(name))
}

fn every_kind_is_found() {
    let lab = Lab::new().unwrap();
    let blue = blue(&lab);
    let process = blue.start("sleep 60");
    let pid = Namespace::Pid(process.pid().as_raw_nonzero().get().cast_unsigned());
    // As Docker does, with a blank.
    shell("mkdir -p /run/docker/netns && touch '/run/docker/netns/a b' && mount --bind /run/netns/blue '/run/docker/netns/a b'").ok();
    fs::write("/run/netns/leftover", "").unwrap();

    let all = Namespace::find_all().unwrap();
    assert!(all.unreadable.is_empty(), "{:?}", all.unreadable);
    assert!(all.namespaces[0].is_own);
    assert!(all.namespaces[0].names.contains(&Namespace::Pid(std::process::id())));
    assert_eq!(all.namespaces.iter().filter(|found| found.is_own).count(), 1);
    let found = found(&pid).unwrap();
    assert_eq!(found.names, [Namespace::Name("blue".into()), Namespace::Path("/run/docker/netns/a b".into()), pid]);
    assert_eq!(found.name().to_string(), "blue");
    for name in &found.names {
        assert_eq!(services(name), [web()], "{name}");
    }
    let leftover = |found: &FoundNamespace| found.names.iter().any(|name| name.to_string().contains("leftover"));
    assert!(!all.namespaces.iter().any(leftover));
    shell("umount '/run/docker/netns/a b'").ok();
    fs::remove_file("/run/netns/leftover").unwrap();

    super::examples::install();
    let printed = run("example-namespaces");
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""), "{printed}");
    assert!(printed.stdout.lines().next().unwrap().ends_with(", services: 0, this one"), "{printed}");
    let line = format!("blue {}, services: 1\n", process.pid().as_raw_nonzero());
    assert!(printed.stdout.contains(&line), "{printed}");
}

fn ended_namespaces_are_not_found() {
    let blue = Namespace::Name("blue".into());
    ok("ip netns add blue");
    assert!(found(&blue).is_some());
    ok("ip netns del blue");
    assert_eq!(found(&blue), None);
}

fn failures_have_kinds() {
    let path = |path: &str| Namespace::Path(path.into());
    let name = |name: &str| Namespace::Name(name.into());
    ok("mkfifo pipe");
    let missing = "No such file or directory (os error 2)";
    let wrong = "Invalid argument (os error 22)";
    for (namespace, why) in [
        (name("nowhere"), missing),
        (Namespace::Pid(999_999), missing),
        (path("/run/netns/nowhere"), missing),
        (path("/etc/passwd"), wrong),
        (path("/proc/self/ns/uts"), wrong),
        // Nothing writes to it.
        (path("pipe"), wrong),
        (Namespace::from(File::open("/etc/passwd").unwrap()), wrong),
        (name("../../proc/1/ns/net"), "not the name of a namespace"),
        (name(""), "not the name of a namespace"),
        (name(".."), "not the name of a namespace"),
    ] {
        let error = Client::open_in(&namespace).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoSuchNamespace), "{error}");
        assert_eq!(error.to_string(), format!("open the table: network namespace {namespace}: {why}"));
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }
}

fn entering_needs_a_capability() {
    let lab = Lab::new().unwrap();
    let _blue = blue(&lab);
    // A thread cannot get the capability back.
    let thread = std::thread::spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_ADMIN);
        sets.permitted.remove(CapabilitySet::SYS_ADMIN);
        set_capabilities(None, sets).unwrap();
        let error = Client::open_in(&Namespace::Name("blue".into())).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NamespacePermission), "{error}");
        assert_eq!(
            error.to_string(),
            "open the table: permission denied: entering a network namespace requires CAP_SYS_ADMIN (network namespace \
             blue: Operation not permitted (os error 1))"
        );
    });
    thread.join().unwrap();
}

fn client_holds_three_descriptors() {
    let lab = Lab::new().unwrap();
    let _blue = blue(&lab);
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut own = Client::open().unwrap();
    assert_eq!(open(), before + 1);
    own.state().unwrap();
    own.add_service(&web()).unwrap();
    own.state().unwrap();
    assert_eq!(open(), before + 2);
    drop(own);
    let mut other = Client::open_in(&Namespace::Name("blue".into())).unwrap();
    other.state().unwrap();
    assert_eq!(open(), before + 3);
    let connections = other.connections().unwrap();
    assert_eq!(open(), before + 4);
    drop((other, connections));
    Namespace::find_all().unwrap();
    assert_eq!(open(), before);
    let descriptor = NamespaceFd::from(std::os::fd::OwnedFd::from(File::open("/run/netns/blue").unwrap()));
    let (one, two) = (Namespace::Open(descriptor.clone()), Namespace::Open(descriptor));
    assert_eq!(one, two);
    assert_eq!(open(), before + 1);
    drop((one, two));
    assert_eq!(open(), before);
}

fn thread_stays_in_its_namespace() {
    let lab = Lab::new().unwrap();
    let _blue = blue(&lab);
    let own = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    let mut client = Client::open_in(&Namespace::Name("blue".into())).unwrap();
    assert_eq!(own(), before);
    let client = std::thread::spawn(move || {
        assert_eq!(client.state().unwrap().services.len(), 1);
        client
    });
    let mut client = client.join().unwrap();
    assert_eq!(client.services().unwrap().len(), 1);
    assert_eq!(own(), before);
}
