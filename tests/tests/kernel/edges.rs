//! Tables that are very long, and tables that change while they are listed. Unusual files and streams are in
//! `tests/cases/edges.cases`.

use std::fmt::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipvs::{Change, Client, Scheduler, Service, ServiceKey};
use ipvs_tests::command::{Ran, run_with_input};
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::net::netns::Netns;
use ipvs_tests::oracle::diff::diff;

use crate::under_test;

ipvs_tests::tests! {
    ten_thousand_services, seconds = 300;
    listing_while_services_are_added_and_deleted, seconds = 120;
}

const SERVICES: u32 = 10_000;

/// Time limit of one program. The reference is slow, because it opens a socket for each service that it lists.
const LIMIT: Duration = Duration::from_secs(90);

fn ipvsadm(words: &str, input: &str) -> Ran {
    run_with_input(Command::new("ipvsadm").args(words.split_whitespace()), input, LIMIT).unwrap()
}

fn ten_thousand_services() {
    let mut rules = String::new();
    for number in 1..=SERVICES {
        let key = match number % 4 {
            0 => format!("-f {number}"),
            1 => format!("-u 10.0.{}.{}:53", number / 256, number % 256),
            2 => format!("-t [2001:db8::{number:x}]:80"),
            _ => format!("-t 10.0.0.1:{number}"),
        };
        writeln!(rules, "-A {key} -s wrr -p 300").unwrap();
        if number % 10 == 3 {
            writeln!(rules, "-a {key} -r 10.1.0.1:8080 -m -w 1\n-a {key} -r 10.1.0.2:8080 -m -w 2").unwrap();
        }
    }
    Netns::new("many").unwrap().enter(|| {
        under_test::install();
        let begin = Instant::now();
        assert_eq!(ipvsadm("-R", &rules).ok(), "");
        println!("restored in {:.1?}", begin.elapsed());
        let listings = ["-Ln", "-Ln --stats --exact", "-Sn"];
        let shown = listings.map(|listing| ipvsadm(listing, "").ok());
        assert_eq!(shown[0].lines().filter(|line| !line.starts_with("  ->")).count(), SERVICES as usize + 2);
        // Restoring the same table changes nothing.
        let mut restore = Command::new("ipvsadm-restore");
        run_with_input(&mut restore, &shown[2], LIMIT).unwrap().ok();
        assert!(ipvsadm("-Sn", "").ok() == shown[2], "the restored table differs from the saved one");
        Ipvsadm::get().install().unwrap();
        for (listing, ours) in listings.into_iter().zip(&shown) {
            assert_eq!(
                diff(&ipvsadm(listing, "").ok(), ours),
                None,
                "{listing}: the reference (-) and our program (+)"
            );
        }
        under_test::install();
        ipvsadm("-C", "").ok();
        assert_eq!(ipvsadm("-Sn", "").ok(), "");
    });
}

/// Another thread adds and deletes services continually. Listings must be well-formed and contain only services that
/// existed. A listing of one service must show it or report that it does not exist.
fn listing_while_services_are_added_and_deleted() {
    const PORTS: u16 = 300;
    Netns::new("busy").unwrap().enter(|| {
        under_test::install();
        let stop = AtomicBool::new(false);
        let mut director = Client::open().unwrap();
        let service = |port| Service::new(ServiceKey::tcp([10, 0, 0, 1], port), Scheduler::RR);
        let toggle = || {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                let add: Vec<Change> = (1..=PORTS).map(|port| Change::AddService(service(port))).collect();
                let delete: Vec<Change> = (1..=PORTS).map(|port| Change::DeleteService(service(port).key)).collect();
                assert_eq!(director.submit(&add).unwrap().len(), 0);
                assert_eq!(director.submit(&delete).unwrap().len(), 0);
                rounds += 1;
                // Let the listings run, too.
                std::thread::sleep(Duration::from_millis(1));
            }
            rounds
        };
        std::thread::scope(|scope| {
            let busy = ipvs_tests::net::netns::Netns::own("busy").unwrap();
            let toggling = scope.spawn(move || busy.enter(toggle));
            let listing = std::panic::catch_unwind(list_repeatedly);
            stop.store(true, Ordering::Relaxed);
            let rounds = toggling.join().unwrap();
            assert!(rounds > 0);
            println!("{rounds} rounds; {}", listing.unwrap());
        });
    });
}

fn list_repeatedly() -> String {
    let (mut found, mut missing) = (0, 0);
    for _ in 0..20 {
        for listing in ["-Ln", "-Ln --stats", "-Sn", "-L --thresholds --nosort"] {
            let text = ipvsadm(listing, "").ok();
            let services = text.lines().filter(|line| line.contains("10.0.0.1:"));
            services
                .for_each(|line| assert!(line.starts_with("TCP  10.0.0.1:") || line.starts_with("-A -t "), "{line}"));
        }
        let one = ipvsadm("-Ln -t 10.0.0.1:150", "");
        match one.code {
            Some(0) => {
                assert_eq!(one.stdout.lines().count(), 3, "{one}");
                found += 1;
            }
            _ => {
                assert_eq!((one.code, one.stdout.as_str(), one.stderr.as_str()), (Some(1), "", "No such service\n"));
                missing += 1;
            }
        }
    }
    format!("found {found} times, missing {missing} times")
}
