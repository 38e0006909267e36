//! ldirectord, which checks servers. For every change, it reads a listing and calls ipvsadm.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use ipvs_tests::command::Running;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::oracle::diff::diff;
use ipvs_tests::traffic::server::Protocol::{Http, Tcp};
use ipvs_tests::traffic::server::Server;
use ipvs_tests::wait;

use super::{Side, table_of};

ipvs_tests::tests! {
    manages_a_farm, needs = "ldirectord", needs = "libnet-inet6glue-perl", seconds = 900;
}

/// Time limit of a phase. For every change, ldirectord reads two listings, and a check of all servers takes most of a
/// second.
const PATIENCE: Duration = Duration::from_secs(120);

const HEAD: &str = "\
checktimeout = 10
negotiatetimeout = 10
checkinterval = 1
autoreload = yes
quiescent = no
";

const FARM: &str = "\
virtual = 10.1.0.100:80
\treal = 10.2.0.11:80 masq 1
\treal = 10.2.0.12:80 masq 1
\tfallback = 127.0.0.1:80 gate
\tservice = http
\trequest = \"health\"
\treceive = \"web\"
\tscheduler = rr
\tprotocol = tcp
\tchecktype = negotiate
virtual = 10.1.0.100:7
\treal = 10.2.0.11:7 masq 5
\treal = 10.2.0.12:7 masq 5
\tscheduler = wlc
\tpersistent = 60
\tnetmask = 255.255.255.0
\tprotocol = tcp
\tchecktype = connect
\tquiescent = yes
virtual = 10.1.0.100:53
\treal = 10.2.0.11:53 gate
\tscheduler = sh
\tschedflags = sh-port
\tprotocol = udp
\tops = yes
\tchecktype = on
virtual = 7
\treal = 10.2.0.12:80 ipip 2
\tscheduler = lc
\tprotocol = fwm
\tchecktype = connect
\tcheckport = 80
virtual6 = 7
\treal6 = [fd02::12]:80 masq 2
\tscheduler = dh
\tprotocol = fwm
\tchecktype = connect
\tcheckport = 80
virtual6 = [fd01::100]:80
\treal6 = [fd02::11]:80 masq 1
\treal6 = [fd02::12]:80 masq 3
\tservice = http
\trequest = \"health\"
\treceive = \"web\"
\tscheduler = wrr
\tprotocol = tcp
\tchecktype = negotiate
";

/// The rules that ipvsadm saves for [`FARM`].
const TABLE: &str = "\
-A -t 10.1.0.100:7 -s wlc -p 60 -M 255.255.255.0
-a -t 10.1.0.100:7 -r 10.2.0.11:7 -m -w 5
-a -t 10.1.0.100:7 -r 10.2.0.12:7 -m -w 5
-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 1
-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1
-A -u 10.1.0.100:53 -s sh -o -b sh-port
-a -u 10.1.0.100:53 -r 10.2.0.11:53 -g -w 1
-A -t [fd01::100]:80 -s wrr
-a -t [fd01::100]:80 -r [fd02::11]:80 -m -w 1
-a -t [fd01::100]:80 -r [fd02::12]:80 -m -w 3
-A -f 7 -s lc
-a -f 7 -r 10.2.0.12:80 -i -w 2 --tun-type ipip
-A -f 7 -6 -s dh
-a -f 7 -6 -r [fd02::12]:80 -m -w 2
";

fn manages_a_farm() {
    let [reference, ours] = Side::BOTH.map(farm);
    for ((phase, one), (_, other)) in reference.iter().zip(&ours) {
        assert_eq!(diff(one, other), None, "{phase}: the reference (-) and our program (+)");
    }
    assert_eq!(reference.len(), ours.len());
}

/// Returns the table at the end of each phase, and the log.
fn farm(side: Side) -> Vec<(&'static str, String)> {
    let lab = Nat::new().unwrap();
    let Nat { client, director, web1, web2, .. } = &lab;
    director.address("eth0", "fd01::100/64").unwrap();
    for (host, address) in [(director, "eth1 fd02::1"), (web1, "eth0 fd02::11"), (web2, "eth0 fd02::12")] {
        let (interface, address) = address.split_once(' ').unwrap();
        host.address(interface, &format!("{address}/64")).unwrap();
    }
    let [http1, http2] = [web1, web2].map(|web| web.serve(Http, "[::]:80").unwrap());
    let [echo1, _echo2] = [web1, web2].map(|web| web.serve(Tcp, "0.0.0.0:7").unwrap());
    // The fallback is by direct routing, so packets keep the virtual address.
    director.serve(Http, "10.1.0.100:80").unwrap();
    side.install();
    let mut farm = Farm { side, director, daemon: start(director), reported: 0, phases: Vec::new() };

    farm.wait_for_table("start", TABLE);
    assert_eq!(client.client().pages(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");

    http1.set_healthy(false);
    let without_web1 = without(TABLE, &["-a -t 10.1.0.100:80 -r 10.2.0.11:80 ", "-a -t [fd01::100]:80 -r [fd02::11]"]);
    farm.wait_for_table("a check that fails", &without_web1);
    assert_eq!(client.client().pages(2, "10.1.0.100:80").to_string(), "web2=2");
    http1.set_healthy(true);
    farm.wait_for_table("recovery", TABLE);
    assert_eq!(client.client().pages(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");

    echo1.stop();
    let quiescent = TABLE.replace("-r 10.2.0.11:7 -m -w 5", "-r 10.2.0.11:7 -m -w 0");
    farm.wait_for_table("quiescent", &quiescent);
    let _echo1 = web1.serve(Tcp, "0.0.0.0:7").unwrap();
    farm.wait_for_table("recovery from quiescence", TABLE);

    fallback(&mut farm, client, [&http1, &http2]);
    reload(&mut farm);
    farm.end()
}

/// Makes all servers fail their checks.
fn fallback(farm: &mut Farm<'_>, client: &Host, servers: [&Server; 2]) {
    servers.iter().for_each(|server| server.set_healthy(false));
    let none = without(TABLE, &["-a -t 10.1.0.100:80 ", "-a -t [fd01::100]:80 "]);
    let service = "-A -t 10.1.0.100:80 -s rr\n";
    let table = none.replace(service, &format!("{service}-a -t 10.1.0.100:80 -r 127.0.0.1:80 -g -w 1\n"));
    farm.wait_for_table("fallback", &table);
    assert_eq!(client.client().pages(1, "10.1.0.100:80").to_string(), "director=1");
    servers.iter().for_each(|server| server.set_healthy(true));
    farm.wait_for_table("recovery from fallback", TABLE);
    assert_eq!(client.client().pages(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");
}

/// Reloads a file with another scheduler and weight, one server and service less, and one service more.
fn reload(farm: &mut Farm<'_>) {
    let (kept, v6) = FARM.split_at(FARM.find("virtual6").unwrap());
    let farm_now = kept
        .replace("scheduler = rr", "scheduler = wlc")
        .replace("\treal = 10.2.0.11:7 masq 5\n", "")
        .replace("10.2.0.12:80 ipip 2", "10.2.0.12:80 masq 4")
        .replace("persistent = 60", "persistent = 90")
        + &v6.replace("[fd01::100]:80", "[fd01::100]:8080");
    configure(&farm_now);
    let table = without(TABLE, &["-a -t 10.1.0.100:7 -r 10.2.0.11:7 "])
        .replace("-s rr", "-s wlc")
        .replace("-i -w 2 --tun-type ipip", "-m -w 4")
        .replace("-p 60", "-p 90")
        .replace("[fd01::100]:80 ", "[fd01::100]:8080 ");
    farm.wait_for_table("reload", &table);
}

fn configure(farm: &str) {
    fs::write("farm.cf.new", format!("{HEAD}{farm}")).unwrap();
    // ldirectord compares the modification time, in seconds.
    let file = fs::File::options().write(true).open("farm.cf.new").unwrap();
    let old = fs::metadata("farm.cf").and_then(|old| old.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    file.set_modified(SystemTime::now().max(old + Duration::from_secs(2))).unwrap();
    fs::rename("farm.cf.new", "farm.cf").unwrap();
}

fn start(director: &Host) -> Running {
    let _ = fs::remove_file("farm.cf");
    configure(FARM);
    let folder = std::env::current_dir().unwrap();
    // Option -d: in the foreground, with a log of every command. The seed fixes the order of Perl's hashes.
    director
        .start(&format!("env PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0 ldirectord -d {}/farm.cf start", folder.display()))
}

/// Removes the lines with these prefixes.
fn without(table: &str, begins: &[&str]) -> String {
    let kept = table.lines().filter(|line| !begins.iter().any(|begin| line.starts_with(begin)));
    kept.map(|line| format!("{line}\n")).collect()
}

struct Farm<'a> {
    side: Side,
    director: &'a Host,
    daemon: Running,
    /// Length of the output of earlier phases.
    reported: usize,
    phases: Vec<(&'static str, String)>,
}

impl Farm<'_> {
    /// Waits until the director has this table, and ends the phase.
    #[track_caller]
    fn wait_for_table(&mut self, phase: &'static str, wanted: &str) {
        wait::until(PATIENCE, || {
            let saved = self.director.ok("ipvsadm -Sn");
            match diff(wanted, &saved) {
                None => Ok(()),
                Some(diff) => Err(format!(
                    "{:?}, {phase}: expected (-) and actual (+):\n{diff}\noutput of ldirectord:\n{}",
                    self.side,
                    last_lines(&self.daemon.output()[self.reported..])
                )),
            }
        });
        self.reported = self.daemon.output().len();
        self.phases.push((phase, sorted_lines(self.director)));
    }

    /// Stops ldirectord, which deletes its services.
    fn end(mut self) -> Vec<(&'static str, String)> {
        let output = self.daemon.stop(Duration::from_secs(30));
        assert_eq!(self.director.ok("ipvsadm -Sn"), "", "{:?}\n{}", self.side, log(&output));
        self.phases.push(("end", sorted_lines(self.director)));
        println!("{:?}\n{}", self.side, log(&output));
        // The whole log is compared at the end, since it may lag behind the table.
        self.phases.push(("log", log(&output)));
        self.phases
    }
}

/// Returns the lines of the table, sorted, because servers are in the order in which their checks succeeded.
fn sorted_lines(director: &Host) -> String {
    let table = table_of(director);
    let mut lines: Vec<&str> = table.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(200)..].join("\n")
}

/// Returns the log lines about servers and commands, sorted and without duplicates, and without the replies to checks.
/// The number and order of checks vary in each run, since checks and changes overlap.
fn log(output: &str) -> String {
    let is_action =
        |line: &&str| ["server:", "Running system", "failed", "onfiguration"].iter().any(|word| line.contains(word));
    let mut lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("DEBUG")).filter(is_action).collect();
    lines.sort_unstable();
    lines.dedup();
    // Perl repeats its warnings at every listing.
    let warnings = output.lines().filter_map(|line| line.split_once(" at /usr/sbin/ldirectord line "));
    let warnings: BTreeSet<&str> = warnings.map(|(warning, _)| warning).collect();
    lines.extend(warnings);
    lines.iter().map(|line| format!("{line}\n")).collect()
}
