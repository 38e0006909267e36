//! A hundred directors that follow one etcd, each in a namespace of its own. Prints the figures of docs/fleet.md.
//!
//! ```text
//!             store  10.7.0.250                          ┌── web1  10.2.0.11
//!               │                                        ├── web2  10.2.0.12
//!   lb1 … lb100 ┴ 10.7.0.1 … 10.7.0.100        10.2.0.1  │
//!   └── client  10.1.0.10  ─── 10.1.0.100  lb1 ──────────┘
//! ```
//!
//! `IPVS_FOLLOWERS` is the number of directors [default: as many as the memory of the guest carries, at most 100].

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipvs_tests::command::Running;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::property::number;
use ipvs_tests::traffic::server::Protocol::Http;
use ipvs_tests::wait;

use crate::under_test;
use crate::verbs::write;

ipvs_tests::tests! {
    a_hundred_directors, needs = "etcd-server etcd-client", seconds = 400;
}

/// The time in which all directors must act, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const STORE: &str = "10.7.0.250";

/// Returns the table: a service that is used, and others with as many lines as asked for.
fn table(weight: u32, lines: u32) -> String {
    let mut rules = "-A -t 10.1.0.100:80 -s wrr\n".to_owned();
    for (server, weight) in [(11, 1), (12, weight)] {
        writeln!(rules, "-a -t 10.1.0.100:80 -r 10.2.0.{server}:80 -m -w {weight}").unwrap();
    }
    for line in 0..lines {
        let (service, server) = (line / 10, line % 10);
        let port = 1000 + service;
        match server {
            0 => writeln!(rules, "-A -t 10.1.0.100:{port} -s wrr").unwrap(),
            _ => writeln!(rules, "-a -t 10.1.0.100:{port} -r 10.2.1.{server}:80 -m -w 1").unwrap(),
        }
    }
    rules
}

/// The directors and their store.
struct Farm {
    store: Host,
    directors: Vec<Host>,
    followers: Vec<Running>,
    _etcd: Running,
}

/// Requests that the store received, and bytes that it sent and received.
#[derive(Clone, Copy)]
struct Load {
    reads: u64,
    writes: u64,
    watches: u64,
    sent: u64,
    received: u64,
}

impl Farm {
    fn new(lab: &Lab, count: u64) -> Self {
        lab.segment("farm", []).unwrap();
        let store = lab.host("store").unwrap();
        lab.plug(&store, "farm", &format!("{STORE}/24")).unwrap();
        let director = |number: u64| {
            let host = lab.host(&format!("lb{number}")).unwrap();
            lab.plug(&host, "farm", &format!("10.7.0.{number}/24")).unwrap();
            host
        };
        let directors = (1..=count).map(director).collect();
        super::etcd::create_data_directory();
        let etcd = store.start(&format!(
            "etcd --data-dir etcd/1 --unsafe-no-fsync --logger zap --log-level error \
             --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://{STORE}:2379"
        ));
        Self { store, directors, followers: Vec::new(), _etcd: etcd }
    }

    /// Writes the document. Returns the time of its end.
    fn put(&self, text: &str) -> Instant {
        write("value", text);
        wait::until(PATIENCE, || {
            let put = self.store.shell("etcdctl put /lvs/edge < value");
            if put.code == Some(0) { Ok(()) } else { Err(put.to_string()) }
        });
        Instant::now()
    }

    /// Waits until all followers have printed a text so many times. Returns the time that each took, sorted.
    fn wait(&self, since: Instant, text: &str, times: usize) -> Vec<Duration> {
        let mut took = vec![None; self.followers.len()];
        wait::until(PATIENCE, || {
            for (follower, took) in self.followers.iter().zip(&mut took) {
                if took.is_none() && follower.output().matches(text).count() >= times {
                    *took = Some(since.elapsed());
                }
            }
            // More often would slow down the followers, which share a processor with this test.
            thread::sleep(Duration::from_millis(30));
            let missing = took.iter().position(Option::is_none);
            missing.map_or(Ok(()), |missing| Err(format!("lb{}: {}", missing + 1, self.followers[missing].output())))
        });
        let mut took: Vec<Duration> = took.into_iter().flatten().collect();
        took.sort();
        took
    }

    fn load(&self) -> Load {
        let metrics = self.store.client().get("127.0.0.1:2379", "/metrics").unwrap();
        let started = |method: &str| {
            let wanted = format!("grpc_method=\"{method}\"");
            let lines =
                metrics.lines().filter(|line| line.starts_with("grpc_server_started_total{") && line.contains(&wanted));
            let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            numbers.map(|number| number as u64).sum()
        };
        let counters = self.store.ok("cat /proc/net/dev");
        let line = counters.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        let numbers: Vec<u64> = line.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
        Load {
            reads: started("Range") + started("Txn"),
            writes: started("Put"),
            watches: started("Watch"),
            received: numbers[0],
            sent: numbers[8],
        }
    }

    fn assert_rules(&self, wanted: &str) {
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        for host in &self.directors {
            assert_eq!(sorted(&host.ok("ipvsadm-save -n")), sorted(wanted), "{}", host.name());
        }
    }

    /// Prints the figures of a change.
    fn print(&self, what: &str, took: &[Duration], before: Load) {
        let after = self.load();
        let seconds = |at: usize| took.get(at).map_or(0.0, Duration::as_secs_f64);
        println!(
            "{what:<28} median {:>5.1} s, last {:>5.1} s; store: {} reads, {} writes, {} watches, {} kB out, {} kB in",
            seconds(took.len() / 2),
            seconds(took.len().saturating_sub(1)),
            after.reads - before.reads,
            after.writes - before.writes,
            after.watches - before.watches,
            (after.sent - before.sent) / 1000,
            (after.received - before.received) / 1000
        );
    }
}

/// Returns the number of directors for which the guest has memory, 100 at most.
fn room() -> u64 {
    /// With the program as cargo builds it for tests.
    const EACH: u64 = 14_000;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.split_ascii_whitespace().nth(1).and_then(|total| total.parse::<u64>().ok()).unwrap();
    (total / EACH).min(100)
}

fn a_hundred_directors() {
    let count = number("IPVS_FOLLOWERS", room()).clamp(1, 200);
    under_test::install();
    let lab = Lab::new().unwrap();
    let mut farm = Farm::new(&lab, count);
    let [client, web1, web2] = lab.hosts(["client", "web1", "web2"]).unwrap();
    let first = &farm.directors[0];
    lab.segment("outside", [(&client, "10.1.0.10/24"), (first, "10.1.0.1/24 10.1.0.100/24")]).unwrap();
    let inside = [(first, "10.2.0.1/24"), (&web1, "10.2.0.11/24"), (&web2, "10.2.0.12/24")];
    lab.segment("inside", inside).unwrap();
    first.sysctl("net/ipv4/ip_forward", "1").unwrap();
    for web in [&web1, &web2] {
        web.gateway("10.2.0.1").unwrap();
        web.serve(Http, "[::]:80").unwrap();
    }

    farm.put(&table(1, 0));
    let (start, before) = (Instant::now(), farm.load());
    let location = format!("etcd://{STORE}/lvs");
    // Each with a directory of state of its own, as on different machines.
    farm.followers = farm
        .directors
        .iter()
        .map(|host| {
            host.start(&format!(
                "ipvsadm-rs --state-dir state-{name} follow --host {name} --report {location}/reports {location}/edge",
                name = host.name()
            ))
        })
        .collect();
    let took = farm.wait(start, " is applied", 1);
    println!("{count} directors");
    farm.print("start", &took, before);

    let done = AtomicBool::new(false);
    let replies = thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut replies = Vec::new();
            while !done.load(Ordering::Relaxed) {
                replies.extend(client.client().pages(1, "10.1.0.100:80").servers);
                thread::sleep(Duration::from_millis(20));
            }
            replies
        });
        // A panic must end the traffic, too.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(&farm)));
        done.store(true, Ordering::Relaxed);
        let replies = traffic.join().unwrap();
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        replies
    });
    let lost: Vec<&String> = replies.iter().filter(|name| !["web1", "web2"].contains(&name.as_str())).collect();
    println!("{} connections by lb1 meanwhile, {} lost", replies.len(), lost.len());
    assert!(lost.is_empty() && replies.len() > 20, "{lost:?}");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    println!("{}", memory.lines().take(3).collect::<Vec<_>>().join(", "));
}

/// Makes all changes.
fn change(farm: &Farm) {
    let before = farm.load();
    thread::sleep(Duration::from_secs(10));
    farm.print("10 s without a change", &[], before);

    let before = farm.load();
    let took = farm.wait(farm.put(&table(3, 0)), " is applied", 2);
    farm.print("one weight", &took, before);
    farm.assert_rules(&table(3, 0));

    let large = table(3, 1000);
    let before = farm.load();
    let took = farm.wait(farm.put(&large), " is applied", 3);
    farm.print("1,000 lines more", &took, before);

    let before = farm.load();
    let took = farm.wait(farm.put(&format!("{large}-A no address\n")), " is not applied", 1);
    farm.print("a document with an error", &took, before);
    farm.assert_rules(&large);
    wait::until(PATIENCE, || {
        let shown = farm.store.run("ipvsadm-rs fleet etcd://127.0.0.1/lvs/reports");
        let invalid = shown.stdout.matches(": invalid: ").count();
        let one_group = !shown.stdout.contains("groups of directors");
        if invalid == farm.directors.len() && one_group && shown.code == Some(2) {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    });
}
