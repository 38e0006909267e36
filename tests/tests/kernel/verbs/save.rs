//! `ipvsadm-rs save`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::host::reference::Ipvsadm;

use super::{WEB, director, write};
use crate::under_test;

ipvs_tests::tests! {
    output_restores_the_whole_table;
    output_can_be_restored_by_the_reference;
    replaces_a_file_atomically;
    writes_to_devices_and_pipes;
    follows_a_dangling_symlink;
    refuses_directories;
    runs_at_the_same_time_for_the_same_file;
    warns_if_rules_cannot_express_a_service;
}

fn output_restores_the_whole_table() {
    director(&format!("--set 901 121 301\n--start-daemon master --mcast-interface lo --syncid 3\n{WEB}"));
    let rules = ok("ipvsadm-rs save");
    assert!(rules.starts_with("# ipvsadm-rs: order=kernel\n--set 901 121 301\n--start-daemon master --mcast-interface lo --syncid 3 --sync-maxlen "), "{rules}");
    let show = shell("ipvsadm-rs save --format json").ok();
    write("saved", &rules);
    shell("ipvsadm -C && ipvsadm --set 900 120 300 && ipvsadm --stop-daemon master").ok();
    shell("ipvsadm-restore < saved").ok();
    assert_eq!(ok("ipvsadm-rs save"), rules);
    assert_eq!(ok("ipvsadm-rs --json save"), show);
}

fn output_can_be_restored_by_the_reference() {
    director(&format!("--set 901 121 301\n{WEB}-A -f 7 -6 -s mh -b mh-port\n"));
    let saved = ok("ipvsadm-rs save");
    write("saved", &saved);
    shell("ipvsadm -C && ipvsadm --set 900 120 300").ok();
    Ipvsadm::get().install().unwrap();
    shell("ipvsadm-restore < saved").ok();
    under_test::install();
    assert_eq!(ok("ipvsadm-rs save"), saved);
}

fn replaces_a_file_atomically() {
    director(WEB);
    write("file", "old");
    fs::set_permissions("file", fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown("file", Some(7), Some(8)).unwrap();
    std::os::unix::fs::symlink("file", "link").unwrap();
    ok("ipvsadm-rs save -o link");
    assert_eq!(fs::read_to_string("file").unwrap(), ok("ipvsadm-rs save"));
    assert!(fs::symlink_metadata("link").unwrap().is_symlink());
    let file = fs::metadata("file").unwrap();
    assert_eq!((file.mode() & 0o777, file.uid(), file.gid()), (0o640, 7, 8));
    let names: Vec<_> = fs::read_dir(".").unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("new")), "{names:?}");
    let ran = run("ipvsadm-rs save -o nowhere/file");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: cannot write nowhere/file: "), "{ran}");
    let full = shell("ipvsadm-rs save > /dev/full");
    assert_eq!(
        (full.code, full.stderr.as_str()),
        (Some(1), "cannot write to standard output: No space left on device (os error 28)\n")
    );
}

fn writes_to_devices_and_pipes() {
    use std::os::unix::fs::FileTypeExt;
    director(WEB);
    let rules = ok("ipvsadm-rs save");
    assert_eq!(shell("ipvsadm-rs save -o /proc/self/fd/1 | cat").ok(), rules);
    assert_eq!(ok("ipvsadm-rs save -o /proc/self/fd/1"), rules, "a file without a name");
    assert_eq!(shell("mkfifo pipe; cat pipe & ipvsadm-rs save -o pipe; wait").ok(), rules);
    ok("ipvsadm-rs save -o /dev/null");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let full = run("ipvsadm-rs save -o /dev/full");
    assert_eq!((full.code, full.stderr.contains("/dev/full: No space left")), (Some(1), true), "{full}");
}

fn follows_a_dangling_symlink() {
    director(WEB);
    fs::create_dir("folder").unwrap();
    std::os::unix::fs::symlink("folder/second", "first").unwrap();
    std::os::unix::fs::symlink("file", "folder/second").unwrap();
    ok("ipvsadm-rs save -o first");
    assert_eq!(fs::read_to_string("folder/file").unwrap(), ok("ipvsadm-rs save"));
    std::os::unix::fs::symlink("round", "round").unwrap();
    assert_eq!(run("ipvsadm-rs save -o round").code, Some(1));
}

fn refuses_directories() {
    director(WEB);
    fs::create_dir("directory").unwrap();
    for path in ["directory", "directory/", ".", "new/", "directory/."] {
        let ran = run(&format!("ipvsadm-rs save -o {path}"));
        assert_eq!((ran.code, ran.stderr.contains("directory")), (Some(1), true), "{ran}");
    }
    assert!(!Path::new("new").exists());
    assert_eq!(fs::read_dir("directory").unwrap().count(), 0);
}

fn runs_at_the_same_time_for_the_same_file() {
    director(WEB);
    let one = "for i in 1 2 3 4 5 6 7 8 9 10; do ipvsadm-rs save -o directory/file || echo failed; done";
    fs::create_dir("directory").unwrap();
    write("directory/file", "");
    assert_eq!(shell(&format!("({one}) & ({one}) & ({one}); wait")).ok(), "");
    assert_eq!(fs::read_to_string("directory/file").unwrap(), ok("ipvsadm-rs save"));
    assert_eq!(fs::read_dir("directory").unwrap().count(), 1);
}

fn warns_if_rules_cannot_express_a_service() {
    use ipvs::{Change, Client, Destination, Forwarding, Protocol, Scheduler, Service, ServiceKey};
    director(WEB);
    let odd = Service::new(ServiceKey::new(Protocol::Other(99), [192, 0, 2, 1], 80), Scheduler::RR);
    // Without the service's line, the line of its server would belong to the previous service.
    let server = Destination::new(([10, 0, 0, 9], 80), Forwarding::Masquerade);
    let changes = [Change::AddService(odd), Change::AddDestination(odd.key, server)];
    assert!(Client::open().unwrap().submit(&changes).unwrap().is_empty());
    let ran = run("ipvsadm-rs save");
    assert_eq!(ran.code, Some(0));
    let note = "note: the rules format cannot fully express protocol 99 192.0.2.1:80\nUse --format json.\n";
    assert_eq!(ran.stderr, note, "{ran}");
    assert!(!ran.stdout.contains("-r 10.0.0.9"), "{ran}");
    assert!(ran.stdout.contains("# ipvsadm cannot express: protocol 99 192.0.2.1:80\n"), "{ran}");
    shell("ipvsadm-rs save --format json > all && ipvsadm -C && ipvsadm-rs apply all").ok();
    assert_eq!(run("ipvsadm-rs save").stdout, ran.stdout);
}
