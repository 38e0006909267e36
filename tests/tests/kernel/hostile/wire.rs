//! The netlink socket with small receive buffers (`net.core.rmem_default`).

use std::fmt::Write;
use std::fs;

use ipvs_sys::uapi::Command::{DelDaemon, NewService};
use ipvs_sys::{Namespace, Request, Socket};
use ipvs_tests::command::{ok, run, shell};

use super::super::verbs::{director, rules, write};
use crate::socket::permission::without_net_admin;
use crate::under_test;

ipvs_tests::tests! {
    restore_of_existing_rules, own_kernel = true;
    every_classic_command, own_kernel = true;
    listing_of_a_large_table, own_kernel = true, seconds = 120;
    refused_changes_are_rolled_back, own_kernel = true;
    batches_without_permission, own_kernel = true;
}

/// The smallest default that the kernel accepts (`SOCK_MIN_RCVBUF`), and larger ones.
const SIZES: [u32; 5] = [2304, 4096, 20_000, 60_000, 212_992];

/// Runs a function with another size of new receive buffers. The setting belongs to the initial network namespace and
/// is valid for all.
fn with_buffers<T>(bytes: u32, act: impl FnOnce() -> T) -> T {
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            set(&self.0);
        }
    }
    const DEFAULT: &str = "/proc/sys/net/core/rmem_default";
    fn set(bytes: &str) {
        Namespace::Pid(1).within(|| fs::write(DEFAULT, bytes)).unwrap().unwrap();
    }
    let _restore = Restore(Namespace::Pid(1).within(|| fs::read_to_string(DEFAULT)).unwrap().unwrap());
    set(&bytes.to_string());
    act()
}

/// Returns the rules of this number of services with two servers each.
fn many(services: u32) -> String {
    let mut rules = String::new();
    for number in 0..services {
        let service = format!("-t 10.9.{}.{}:80", number / 250, number % 250 + 1);
        writeln!(rules, "-A {service} -s rr").unwrap();
        for last in 1..=2 {
            writeln!(rules, "-a {service} -r 10.0.0.{last}:80 -m -w 1").unwrap();
        }
    }
    rules
}

/// The refusals of 1050 lines need room in the receive buffer. Other lines are new, and none of them is lost.
fn restore_of_existing_rules() {
    director(&many(350));
    let before = ok("ipvsadm-rs save");
    write("more", &many(380));
    for bytes in SIZES {
        let ran = with_buffers(bytes, || shell("ipvsadm -R < more"));
        let refused: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("line ")).collect();
        assert_eq!(refused.len(), 1050, "{bytes}: {}", ran.stderr);
        for (line, refusal) in refused.into_iter().enumerate() {
            let what = if line % 3 == 0 { "Service" } else { "Destination" };
            let start = format!("line {}: {what} already exists: -", line + 1);
            assert!(refusal.starts_with(&start), "{bytes}: {refusal}");
        }
        assert_eq!(rules().lines().count(), 380 * 3, "{bytes}");
        shell("ipvsadm -C && ipvsadm-restore < rules").ok();
        assert_eq!(ok("ipvsadm-rs save"), before, "{bytes}");
    }
}

fn every_classic_command() {
    under_test::install();
    shell("ip link set lo up").ok();
    let session = || {
        let mut said = String::new();
        for line in [
            "-A -t 192.0.2.1:80 -s wrr",
            "-A -t 192.0.2.1:80 -s wrr",
            "-E -t 192.0.2.1:80 -s rr -p 300",
            "-A -f 7 -s rr",
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -m",
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -m",
            "-e -t 192.0.2.1:80 -r 10.0.0.1 -m -w 5",
            "-d -t 192.0.2.1:80 -r 10.0.0.9",
            "--set 901 121 301",
            "--start-daemon master --mcast-interface lo",
            "--start-daemon master --mcast-interface lo",
            "-L -n --daemon",
            "--stop-daemon master",
            "--stop-daemon master",
            "-L -n",
            "-L -n --stats",
            "-L -n --rate",
            "-L -n --thresholds",
            "-L -n --persistent-conn",
            "-L -n --connection",
            "-L --timeout",
            "-L -n -t 192.0.2.1:80",
            "-S -n",
            "-Z",
            "-Z -t 192.0.2.1:80",
            "-d -t 192.0.2.1:80 -r 10.0.0.1",
            "-D -t 192.0.2.1:80",
            "-D -t 192.0.2.1:80",
            "-C",
            "-L -n",
        ] {
            let ran = run(&format!("ipvsadm {line}"));
            writeln!(said, "{line}: {:?} {}{}", ran.code, ran.stdout, ran.stderr).unwrap();
        }
        said
    };
    let usual = session();
    assert!(!usual.contains("no usable reply"), "{usual}");
    for bytes in SIZES {
        assert_eq!(with_buffers(bytes, session), usual, "{bytes}");
    }
}

fn listing_of_a_large_table() {
    director(&many(2000));
    let listings = || ["ipvsadm -Ln", "ipvsadm -Sn", "ipvsadm-rs --json show"].map(ok);
    let usual = listings();
    for bytes in SIZES {
        assert!(with_buffers(bytes, listings) == usual, "{bytes}");
    }
    write("empty", "");
    for bytes in SIZES {
        let restored = with_buffers(bytes, || {
            ok("ipvsadm-rs apply --allow-empty empty");
            ok("ipvsadm-rs apply rules");
            rules()
        });
        assert!(restored == usual[1], "{bytes}");
    }
}

/// No refused change is taken for one that was made.
fn refused_changes_are_rolled_back() {
    director(&many(10));
    let before = rules();
    let mut wanted = before.clone();
    // The kernel looks for a module after each of them, which takes time.
    for port in 1..=20 {
        writeln!(wanted, "-A -t 192.0.2.9:{port} -s nosuch").unwrap();
    }
    write("wanted", &wanted);
    for bytes in [2304, 4096, 8192] {
        let ran = with_buffers(bytes, || run("ipvsadm-rs apply wanted"));
        assert_eq!(ran.code, Some(1), "{bytes}: {ran}");
        assert!(ran.stderr.ends_with("error: 20 changes refused: all changes were rolled back\n"), "{bytes}: {ran}");
        assert_eq!(rules(), before, "{bytes}");
    }
}

/// Without permission the buffer cannot be enlarged, and batches are smaller.
fn batches_without_permission() {
    let mut socket = Socket::open().unwrap();
    assert_eq!(socket.submit([Request::new(NewService), Request::new(NewService)]).unwrap().len(), 2);
    for bytes in SIZES {
        let refused = with_buffers(bytes, || {
            without_net_admin(|| {
                let requests = (0..300).map(|n| Request::new(if n % 3 == 0 { DelDaemon } else { NewService }));
                Socket::open().unwrap().submit(requests).unwrap()
            })
        });
        let errnos: Vec<_> = refused.iter().map(|(index, error)| (*index, error.errno())).collect();
        assert_eq!(errnos, (0..300).map(|index| (index, Some(libc::EPERM))).collect::<Vec<_>>(), "{bytes}");
    }
}
