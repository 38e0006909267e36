//! Followers that are killed at random moments, while the source changes. `IPVS_KILLS` is the number of kills (default
//! 200).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipvs::{Client, Config, Counters, rules};
use ipvs_tests::command::{Running, ok, run, start};
use ipvs_tests::oracle::rng::Rng;
use ipvs_tests::property::number;
use ipvs_tests::wait;

use super::{SOON, replace, status};
use crate::verbs::director;

ipvs_tests::tests! {
    the_next_start_reaches_the_wanted_table, seconds = 60 + 2 * kills();
    reading_the_state_stops_no_start;
}

fn kills() -> u64 {
    number("IPVS_KILLS", 200)
}

const SERVICES: u16 = 60;

/// Returns one of many tables. Each two successive ones differ in servers, weights, schedulers and services.
fn table(number: u64) -> String {
    let mut rules = String::new();
    let is_odd = number % 2 == 1;
    for service in 0..SERVICES {
        let port = if service % 5 == 0 && is_odd { 2000 + service } else { 1000 + service };
        let scheduler = if service % 2 == 0 && is_odd { "rr" } else { "wrr" };
        writeln!(rules, "-A -t 192.0.2.1:{port} -s {scheduler}").unwrap();
        for server in 0..4 {
            let (address, weight) = (server + 2 * u16::from(is_odd), 1 + number % 50);
            writeln!(rules, "-a -t 192.0.2.1:{port} -r 10.0.0.{}:80 -m -w {weight}", 1 + address).unwrap();
        }
    }
    rules
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// Returns the rules of the kernel. Without a program, because this is done very often.
fn found() -> BTreeSet<String> {
    let state = Client::open().unwrap().state_with(Counters::Skip).unwrap();
    let mut text = Vec::new();
    rules::write_config(&mut text, &Config::from(&state));
    // Without timeouts and comments.
    let mut found = lines(&String::from_utf8(text).unwrap());
    found.retain(|line| line.starts_with("-A ") || line.starts_with("-a "));
    found
}

/// The director, and all revisions of which parts may be in its table.
struct Test {
    rng: Rng,
    number: u64,
    possible: Vec<String>,
    /// The kills after which the table was neither the first nor the last of these.
    mixed: u64,
    /// The kills after which it was not the last one.
    unfinished: u64,
    /// The time in which a kill is likely to come before the end of the change, for each moment.
    within: [Duration; 2],
}

/// The event before a kill.
#[derive(Clone, Copy)]
enum Moment {
    Start,
    Change,
}

impl Test {
    fn wanted(&self) -> &str {
        self.possible.last().unwrap()
    }

    /// Writes the next revision.
    fn change(&mut self) {
        self.number += 1;
        self.possible.push(table(self.number));
        replace("wanted", self.wanted());
    }

    /// Kills a follower at a random moment. Checks the table.
    fn kill(&mut self, follower: Running, moment: Moment) {
        let within = self.within[moment as usize];
        thread::sleep(within.mul_f64(self.rng.below(1100) as f64 / 1000.0));
        drop(follower);
        let found = found();
        let revisions: Vec<BTreeSet<String>> = self.possible.iter().map(|rules| lines(rules)).collect();
        let all: BTreeSet<String> = revisions.iter().flatten().cloned().collect();
        let strange: Vec<_> = found.difference(&all).collect();
        assert!(strange.is_empty(), "of no revision: {strange:?}");
        // A service that all revisions have was there all the time, with a server.
        for port in (1000..1000 + SERVICES).filter(|port| port % 5 != 0) {
            let service = format!("-t 192.0.2.1:{port} ");
            for begin in ["-A ", "-a "] {
                let is_there = found.iter().any(|line| line.starts_with(&format!("{begin}{service}")));
                assert!(is_there, "no {begin}{service}in {found:?}");
            }
        }
        self.mixed += u64::from(!revisions.contains(&found));
        // The load of the machine varies. After a kill that was too late, later ones are earlier.
        let is_late = revisions.last() == Some(&found);
        self.unfinished += u64::from(!is_late);
        self.within[moment as usize] = within.mul_f64(if is_late { 0.8 } else { 1.1 }).min(Duration::from_secs(2));
    }

    /// Starts a follower, and waits until the table is the wanted one.
    fn complete(&mut self) -> Running {
        let mut follower = follow("");
        let wanted = lines(self.wanted());
        wait::until(SOON, || {
            assert!(follower.is_running(), "{}", follower.output());
            if found() == wanted { Ok(()) } else { Err(follower.output()) }
        });
        self.possible = vec![self.wanted().to_owned()];
        follower
    }
}

fn follow(options: &str) -> Running {
    // Without waiting, so that a change is made at once.
    start(&format!("ipvsadm-rs follow --quiet 0s --drain 0s --max-change 100% {options} wanted"))
}

fn the_next_start_reaches_the_wanted_table() {
    let seed = number("IPVS_SEED", 16);
    println!("IPVS_SEED={seed}");
    let mut test = Test {
        rng: Rng::new(seed),
        number: 0,
        possible: vec![table(0)],
        mixed: 0,
        unfinished: 0,
        within: [Duration::from_millis(200); 2],
    };
    director(&table(0));
    replace("wanted", test.wanted());
    let kills = kills();
    for round in 0..kills / 2 {
        // During a start, often with a change.
        if !test.rng.once_in(4) {
            test.change();
        }
        let follower = follow("");
        test.kill(follower, Moment::Start);
        let follower = test.complete();
        // After a change.
        test.change();
        test.kill(follower, Moment::Change);
        // The journal is readable after each. It has at least one entry.
        let history = run("ipvsadm-rs history");
        assert!(history.code == Some(0) && history.stderr.is_empty(), "{history}");
        if round % 10 == 0 {
            let ended = run("ipvsadm-rs follow status");
            assert!(ended.stdout.lines().next().is_some_and(|line| line.ends_with("/wanted (not running)")), "{ended}");
            // No lock is left.
            ok("ipvsadm-rs save");
        }
        if round % 20 == 0 {
            without_the_source(&mut test);
        }
    }
    let _follower = test.complete();
    wait::until(SOON, || {
        let shown = run("ipvsadm-rs follow status");
        if shown.code == Some(0) { Ok(()) } else { Err(shown.to_string()) }
    });
    let Test { unfinished, mixed, .. } = test;
    println!("of {kills} kills, {unfinished} came before the end of a change, {mixed} of them in its midst");
    assert!(unfinished >= kills / 5, "too few followers were killed before the end of a change");
}

/// Starts a follower while the source is away. It completes the last good revision.
fn without_the_source(test: &mut Test) {
    fs::rename("wanted", "elsewhere").unwrap();
    let follower = follow("--start-within 0s");
    let revisions: Vec<BTreeSet<String>> = test.possible.iter().map(|rules| lines(rules)).collect();
    wait::until(SOON, || {
        let output = follower.output();
        let is_used = output.contains("using the last good revision");
        if is_used && revisions.contains(&found()) { Ok(()) } else { Err(output) }
    });
    drop(follower);
    fs::rename("elsewhere", "wanted").unwrap();
}

fn reading_the_state_stops_no_start() {
    director(&table(0));
    replace("wanted", &table(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    status();
                }
            });
        }
        let failed = (0..10).find_map(|_| {
            let mut follower = follow("");
            thread::sleep(Duration::from_millis(700));
            (!follower.is_running()).then(|| follower.output())
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, None);
    });
}
