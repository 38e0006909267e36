//! Tests of the guest itself. Every other test relies on them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ipvs_tests::command::{ok, run};
use ipvs_tests::guest::modules;
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::container::Container;
use ipvs_tests::lab::topology::Lab;
use ipvs_tests::net::netns::Netns;
use ipvs_tests::wait;

ipvs_tests::tests! {
    loopback_is_up;
    namespace_is_fresh;
    namespace_is_fresh_in_the_next_test;
    working_directory_is_empty;
    files_can_be_written_anywhere;
    files_are_gone_in_the_next_test;
    reference_lists_an_empty_table;
    every_scheduler_loads;
    kernel_loads_modules_on_demand;
    modprobe_loads_modules;
    missing_module_is_an_error;
    module_is_unloaded_and_loaded_again, own_kernel = true;
    host_has_its_own_namespace;
    container_has_its_own_processes_and_folders;
    program_runs_in_the_background;
    ipvs_variables_are_passed_from_the_host;
}

const SCHEDULERS: [&str; 13] = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"];

fn reference(line: &str) -> ipvs_tests::command::Ran {
    Ipvsadm::get().run(line)
}

fn loopback_is_up() {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9").unwrap();
}

/// Two tests call this. The second must not see any change of the first.
fn namespace_is_fresh() {
    let interfaces: Vec<_> = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!interfaces.iter().any(|name| name == "dummy7"), "{interfaces:?}");
    assert_eq!(reference("-Sn").ok(), "");
    reference("-A -t 192.0.2.1:80 -s rr").ok();
    ipvs_tests::net::rtnl::Socket::open().unwrap().add_link("dummy7", "dummy").unwrap();
    assert!(Path::new("/sys/class/net/dummy7").exists());
}

fn namespace_is_fresh_in_the_next_test() {
    namespace_is_fresh();
}

fn working_directory_is_empty() {
    assert_eq!(fs::read_dir(".").unwrap().count(), 0);
    fs::write("file", "of this test").unwrap();
}

const PATHS: [&str; 3] = ["/ipvs-lab-was-here", "/etc/ipvs-lab-was-here", "/tmp/ipvs-lab-was-here"];

fn files_can_be_written_anywhere() {
    for path in PATHS {
        assert!(!Path::new(path).exists(), "{path} already exists");
        fs::write(path, "by a test").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "by a test");
    }
}

/// These files exist neither on the host nor after the previous test.
fn files_are_gone_in_the_next_test() {
    files_can_be_written_anywhere();
}

fn reference_lists_an_empty_table() {
    let list = reference("-Ln").ok();
    let lines: Vec<&str> = list.lines().collect();
    // The size of the connection table is not compared, because it is 4096 in 6.1, and 0 before the first service in
    // 7.2.
    assert!(lines[0].starts_with("IP Virtual Server version 1.2.1 (size="), "{list}");
    assert_eq!(
        lines[1..],
        [
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
        ]
    );
}

fn every_scheduler_loads() {
    for (number, scheduler) in SCHEDULERS.iter().enumerate() {
        reference(&format!("-A -t 192.0.2.1:{} -s {scheduler}", number + 1)).ok();
    }
    assert_eq!(ok("cat /proc/net/ip_vs").matches("TCP").count(), SCHEDULERS.len());
    // Debian builds its kernels without this one.
    let twos = reference("-A -t 192.0.2.1:99 -s twos");
    assert_ne!(twos.code, Some(0), "{twos}");
}

/// The test does not load this module. The kernel calls the guest's modprobe.
fn kernel_loads_modules_on_demand() {
    assert!(!modules::loaded().unwrap().contains("ipvlan"));
    let error = ipvs_tests::net::rtnl::Socket::open().unwrap().add_link("x", "ipvlan").unwrap_err();
    // An ipvlan link needs a parent device, so this fails, but after the kernel has loaded the module.
    assert!(modules::loaded().unwrap().contains("ipvlan"), "{error:#}");
}

fn modprobe_loads_modules() {
    ok("modprobe ip_vs_ftp");
    assert!(modules::loaded().unwrap().contains("ip_vs_ftp"));
    assert_ne!(run("modprobe ip_vs_nonesuch").code, Some(0));
}

fn missing_module_is_an_error() {
    let error = modules::load("ip_vs_nonesuch").unwrap_err();
    assert!(error.to_string().contains("ip_vs_nonesuch"), "{error}");
}

/// Unloads ip_vs and the modules that need it, although a namespace that used it has just ended.
fn module_is_unloaded_and_loaded_again() {
    let lab = Lab::new().unwrap();
    lab.host("gone").unwrap().enter(|| reference("-A -t 192.0.2.1:80 -s wrr").ok());
    ok("umount /run/netns/gone");
    let before = modules::loaded().unwrap();
    let unloaded = modules::unload("ip_vs").unwrap();
    assert!(!modules::loaded().unwrap().iter().any(|name| name.starts_with("ip_vs")));
    drop(unloaded);
    assert_eq!(modules::loaded().unwrap(), before);
}

fn host_has_its_own_namespace() {
    reference("-A -t 192.0.2.1:80 -s rr").ok();
    let host = Netns::new("elsewhere").unwrap();
    assert_eq!(host.enter(|| reference("-Sn").ok()), "");
    assert_eq!(reference("-Sn").ok(), "-A -t 192.0.2.1:80 -s rr\n");
}

/// The tests of Pacemaker rely on it, but they need packages that few machines have.
fn container_has_its_own_processes_and_folders() {
    let lab = Lab::new().unwrap();
    let host = lab.host("boxed").unwrap();
    fs::write("/run/outside", "").unwrap();
    let container = Container::start(&host, &[]).unwrap();
    let (name, processes, run) = container.enter(|| (ok("hostname"), ok("ls /proc"), ok("ls /run")));
    assert_eq!(name, "boxed\n");
    assert!(processes.lines().filter_map(|line| line.parse::<u32>().ok()).all(|pid| pid < 10), "{processes}");
    assert!(!run.contains("outside"), "{run}");
    drop(container);
    assert!(fs::exists("/run/outside").unwrap());
}

fn program_runs_in_the_background() {
    let lab = Lab::new().unwrap();
    let host = lab.host("aside").unwrap();
    let mut monitor = host.start("ip monitor link");
    wait::until(Duration::from_secs(30), || {
        // Repeated, because the monitor misses changes that are made before it listens.
        host.run("ip link add dummy0 type dummy");
        host.run("ip link del dummy0");
        if monitor.output().contains("dummy0") { Ok(()) } else { Err(monitor.output()) }
    });
    assert!(monitor.is_running());
    assert!(monitor.stop(Duration::from_secs(5)).contains("dummy0"));
}

/// The guest has the `IPVS_…` variables of the host program, and no others.
fn ipvs_variables_are_passed_from_the_host() {
    assert!(std::env::var_os("IPVS_REFERENCE").is_some() || std::env::var_os("IPVS_REFERENCE_MISSING").is_some());
    assert!(std::env::var_os("CARGO_PKG_NAME").is_none());
    assert!(ipvs_tests::host::kernel::running() >= (5, 0));
}
