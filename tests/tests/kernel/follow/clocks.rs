//! Clocks that jump. Times are measured with a clock that nobody can set.

use std::time::{Duration, Instant, SystemTime};

use ipvs_tests::command::{Running, ok, run};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;

use super::{SOON, follow, good_status, plans, replace, status, wait_for_rules, wait_for_status, with_weight};
use crate::under_test;
use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    quiet_times_stay, own_kernel = true;
    comparisons_go_on, own_kernel = true;
    drains_end_in_time, own_kernel = true;
    checks_of_the_health_go_on, own_kernel = true;
    reports_are_fresh_again, own_kernel = true;
}

const DAY: i64 = 86_400;

/// The clock of the guest, which all of its tests share. Dropped, it is right again.
struct Clock {
    start: Instant,
    time: SystemTime,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), time: SystemTime::now() }
    }

    /// Sets the clock to the right time and a number of seconds.
    fn jump(&self, seconds: i64) {
        let right = (self.time + self.start.elapsed()).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        ok(&format!("date --utc --set=@{}", right.as_secs() as i64 + seconds));
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.jump(0);
    }
}

fn start(options: &str) -> Running {
    director(WEB);
    write("wanted", WEB);
    let follower = follow(&format!("{options} wanted"));
    wait_for_status("state     good");
    follower
}

fn quiet_times_stay() {
    let clock = Clock::new();
    let _follower = start("--quiet 4s:1h");
    for (weight, jump) in [(5, DAY), (6, -DAY)] {
        let before = (rules(), plans());
        replace("wanted", &with_weight(weight));
        wait_for_status("state     quiet");
        clock.jump(jump);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!((rules(), plans()), before, "{}", status());
        wait_for_rules(&with_weight(weight));
    }
    // The plans have the times of the clock, and the newest one is the last one.
    assert_eq!(plans(), 2);
    assert!(ok("ipvsadm-rs history show 2").contains("-w 6"));
}

fn comparisons_go_on() {
    let clock = Clock::new();
    let _follower = start("--check 2s");
    for (times, jump) in [("1 time,", -DAY), ("2 times,", DAY)] {
        clock.jump(jump);
        ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:8080");
        wait_for_status(&format!("drift     {times}"));
        wait_for_rules(WEB);
        good_status();
    }
    // A file that is older than the last one is a new revision, too.
    clock.jump(-2 * DAY);
    replace("wanted", &with_weight(8));
    wait_for_rules(&with_weight(8));
}

fn drains_end_in_time() {
    let clock = Clock::new();
    under_test::install();
    let nat = Nat::new().unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    let vip = format!("{}:80", Nat::VIP);
    let rules = |servers: &[u32]| {
        let servers = servers.iter().map(|last| format!("-a -t {vip} -r 10.2.0.{last}:80 -m -w 1\n"));
        format!("-A -t {vip} -s rr\n{}", servers.collect::<String>())
    };
    let has = |server: &str| nat.director.ok("ipvsadm -Sn").contains(server);
    let wait_until = |what: &str, condition: &dyn Fn() -> bool| {
        wait::until(SOON, || if condition() { Ok(()) } else { Err(format!("{what}\n{}", status_of(&nat))) });
    };
    write("wanted", &rules(&[11, 12]));
    let _follower = nat.director.start("ipvsadm-rs follow --quiet 200ms --drain 6s wanted");
    wait_until("no servers", &|| has("10.2.0.12:80"));
    for jump in [DAY, -DAY] {
        let held = nat.client.client().hold(2, &vip);
        replace("wanted", &rules(&[11]));
        wait_until("not drained", &|| has("10.2.0.12:80 -m -w 0"));
        let begin = Instant::now();
        clock.jump(jump);
        std::thread::sleep(Duration::from_secs(2));
        // Not judged on a machine that was too slow.
        let is_early = begin.elapsed() < Duration::from_secs(5);
        assert!(has("10.2.0.12:80 -m -w 0") || !is_early, "{}", status_of(&nat));
        wait_until("not deleted", &|| !has("10.2.0.12:80"));
        drop(held);
        replace("wanted", &rules(&[11, 12]));
        wait_until("no servers", &|| has("10.2.0.12:80 -m -w 1"));
    }
}

fn status_of(nat: &Nat) -> String {
    nat.director.run("ipvsadm-rs follow status").stdout
}

fn checks_of_the_health_go_on() {
    let clock = Clock::new();
    let _follower = start("--good-after 4s");
    for (weight, jump) in [(5, DAY), (6, -DAY)] {
        replace("wanted", &with_weight(weight));
        wait_for_status("state     checking");
        clock.jump(jump);
        std::thread::sleep(Duration::from_secs(1));
        assert!(status().contains("state     checking"), "{}", status());
        wait_for_status("state     good");
    }
}

fn reports_are_fresh_again() {
    let clock = Clock::new();
    std::fs::create_dir("reports").unwrap();
    let _follower = start("--host lb1 --report reports");
    let wait_for_fleet = || {
        wait::until(SOON, || {
            let shown = run("ipvsadm-rs fleet reports");
            if shown.code == Some(0) { Ok(()) } else { Err(shown.to_string()) }
        });
    };
    wait_for_fleet();
    clock.jump(DAY);
    // The report is a day old by the new clock, until the next one is written.
    let shown = run("ipvsadm-rs fleet reports");
    assert!(shown.code == Some(0) || shown.stdout.contains("lb1: the report is old"), "{shown}");
    wait_for_fleet();
    clock.jump(0);
    wait_for_fleet();
    good_status();
}
