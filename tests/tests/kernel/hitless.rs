//! Restores on a busy director: no connection is lost, no client gets another server, no counter is reset.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;

use crate::under_test;

ipvs_tests::tests! {
    identical_restore_under_load_loses_nothing, seconds = 180;
    restore_of_reference_save_remaps_no_client;
}

const SERVICES: u16 = 500;
const SERVERS: u16 = 8;
/// The first service of the file, one in the middle, and the last. Each with its own address of the client: the services
/// share their servers, where connections of two services from one address and port would be the same connection.
const TARGETS: [(&str, &str); 3] =
    [("10.1.0.20", "10.1.0.100:1"), ("10.1.0.21", "10.1.0.100:250"), ("10.1.0.22", "10.1.0.100:500")];

/// Returns rules for 500 services with 8 servers each, on the two hosts.
fn rules() -> String {
    let mut rules = String::new();
    for service in 1..=SERVICES {
        writeln!(rules, "-A -t 10.1.0.100:{service} -s rr").unwrap();
        for server in 0..SERVERS {
            let (host, port) = (11 + server % 2, 9000 + server / 2);
            writeln!(rules, "-a -t 10.1.0.100:{service} -r 10.2.0.{host}:{port} -m -w 1 -x 100000 -y 50000").unwrap();
        }
    }
    rules
}

fn busy_lab() -> Nat {
    let lab = Nat::new().unwrap();
    for (host, address) in [(&lab.web1, "10.2.0.11"), (&lab.web2, "10.2.0.12")] {
        for port in 9000..9000 + SERVERS / 2 {
            host.serve(Tcp, &format!("{address}:{port}")).unwrap();
        }
    }
    for (address, _) in TARGETS {
        lab.client.address("eth0", &format!("{address}/24")).unwrap();
    }
    under_test::install();
    lab.director.ok("ipvsadm --set 901 121 301");
    restore(&lab.director, &rules());
    lab
}

fn restore(director: &Host, rules: &str) {
    fs::write("rules", rules).unwrap();
    director.shell("ipvsadm-restore < rules").ok();
}

/// The effect of an action on the clients.
#[derive(Debug, Default)]
struct Damage {
    /// Number of new connections by the server's name, or by the error.
    new: BTreeMap<String, usize>,
    /// Connections that were open before the action and failed afterwards.
    cut: usize,
    /// Duration of the action.
    took: Duration,
}

impl Damage {
    fn lost(&self) -> usize {
        self.new.iter().filter(|(server, _)| !server.starts_with("web")).map(|(_, count)| count).sum::<usize>()
            + self.cut
    }
}

/// Runs an action while clients open new connections to each target, and exchange data over one connection that stays
/// open.
fn under_load(lab: &Nat, act: impl FnOnce()) -> Damage {
    let stop = AtomicBool::new(false);
    let continues = || !stop.load(Ordering::Relaxed);
    let new = Mutex::new(BTreeMap::new());
    let connect = |(address, target): (&str, &str)| {
        while continues() {
            let replies = lab.client.client().from(address).patience(Duration::from_secs(5)).hold(1, target);
            *new.lock().unwrap().entry(replies.to_string()).or_insert(0) += 1;
        }
    };
    let talk = |(address, target): (&str, &str)| -> std::io::Result<()> {
        let held = lab.client.client().from(address).hold(1, target);
        let mut stream = &held.open[0];
        let mut replies = BufReader::new(stream);
        while continues() {
            stream.write_all(b"still there?\n")?;
            if replies.read_line(&mut String::new())? == 0 {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    let (cut, took) = std::thread::scope(|scope| {
        let talking = TARGETS.map(|target| scope.spawn(move || talk(target)));
        let _connecting = TARGETS.map(|target| scope.spawn(move || connect(target)));
        std::thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        act();
        let took = start.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        (talking.into_iter().filter_map(|talk| talk.join().unwrap().err()).count(), took)
    });
    Damage { new: new.into_inner().unwrap(), cut, took }
}

/// Returns the sum of the connection counters of all services.
fn counted(director: &Host) -> u64 {
    let table: serde_json::Value = serde_json::from_str(&director.ok("ipvsadm-rs --json show")).unwrap();
    table["services"].as_array().unwrap().iter().map(|service| service["stats"]["connections"].as_u64().unwrap()).sum()
}

fn identical_restore_under_load_loses_nothing() {
    let lab = busy_lab();
    let director = &lab.director;
    under_load(&lab, || std::thread::sleep(Duration::from_millis(2500)));
    let before = counted(director);
    assert!(before > 0, "the kernel has counted the connections so far");
    let rules = director.ok("ipvsadm-save -n");
    fs::write("saved", &rules).unwrap();

    let ours = under_load(&lab, || drop(director.shell("ipvsadm-restore < saved").ok()));
    assert_eq!(ours.lost(), 0, "{ours:?}");
    assert!(counted(director) >= before, "a counter went backwards");
    assert_eq!(director.ok("ipvsadm-save -n"), rules, "thresholds changed");
    assert_eq!(director.ok("ipvsadm -L --timeout"), "Timeout (tcp tcpfin udp): 901 121 301\n");

    Ipvsadm::get().install().unwrap();
    let theirs = under_load(&lab, || drop(director.shell("ipvsadm-restore < saved")));
    println!("restoring the identical table of {SERVICES} services of {SERVERS} servers under load:");
    for (program, damage) in [("ipvsadm-rs", &ours), ("ipvsadm 1.31", &theirs)] {
        let Damage { new, cut, took } = damage;
        println!("  {program:<12} {took:>4.1?}: {:>4} lost, {cut} of 3 open ones cut: {new:?}", damage.lost());
    }
    assert!(theirs.lost() > 0, "the load is too small to show losses: {theirs:?}");
}

/// `ipvsadm -S` sorts the servers, but hashing schedulers depend on their order in the kernel.
fn restore_of_reference_save_remaps_no_client() {
    let lab = Nat::new().unwrap();
    for (host, address) in [(&lab.web1, "10.2.0.11"), (&lab.web2, "10.2.0.12")] {
        host.serve(Tcp, &format!("{address}:9000")).unwrap();
    }
    for client in 0..40 {
        lab.client.address("eth0", &format!("10.1.0.{}/24", 20 + client)).unwrap();
    }
    under_test::install();
    let services = [("sh", "10.1.0.100:1"), ("mh", "10.1.0.100:2"), ("dh", "10.1.0.100:3")];
    for (scheduler, service) in services {
        lab.director.ok(&format!("ipvsadm -A -t {service} -s {scheduler}"));
        // The reverse of the order in which they are saved.
        lab.director.ok(&format!("ipvsadm -a -t {service} -r 10.2.0.12:9000 -m"));
        lab.director.ok(&format!("ipvsadm -a -t {service} -r 10.2.0.11:9000 -m"));
    }
    let servers = || -> Vec<String> {
        let server = |(service, client): (&str, u8)| {
            lab.client.client().from(&format!("10.1.0.{}", 20 + client)).hold(1, service).to_string()
        };
        services.iter().flat_map(|(_, service)| (0..40).map(|client| (*service, client))).map(server).collect()
    };
    let before = servers();
    assert!(before.contains(&"web1=1".into()) && before.contains(&"web2=1".into()), "{before:?}");
    fs::write("saved", lab.director.enter(|| Ipvsadm::get().run("-Sn")).ok()).unwrap();
    lab.director.shell("ipvsadm-restore < saved").ok();
    assert_eq!(servers(), before);
    assert_eq!(lab.director.ok("ipvsadm-rs apply saved"), "nothing to change\n");
}
