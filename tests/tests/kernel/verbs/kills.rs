//! `ipvsadm-rs apply`, killed at random moments. `IPVS_KILLS` is the number of kills (default 50).

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ipvs_tests::command::{ok, run, start};
use ipvs_tests::property::{holds, number};

use super::{director, rules, write};

ipvs_tests::tests! {
    apply_after_a_kill_reaches_the_wanted_table, seconds = 6 * kills();
}

fn kills() -> u64 {
    number("IPVS_KILLS", 50)
}

/// A service outside the scope, written as the kernel lists it.
const THEIRS: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.9.0.1:80 -m -w 7\n";

/// Returns one of two large tables that differ in every kind of setting.
fn table(second: bool) -> String {
    let mut rules = String::new();
    for service in 0..80 {
        // A third of the services is in only one of the tables.
        let port = if service % 3 == 0 { 1000 + service + 500 * u16::from(second) } else { 1000 + service };
        let scheduler = if service % 2 == 0 || second { "wrr" } else { "rr" };
        writeln!(rules, "-A -t 192.0.2.1:{port} -s {scheduler}").unwrap();
        for server in 0..4 {
            let address = server + 2 * u16::from(second);
            writeln!(rules, "-a -t 192.0.2.1:{port} -r 10.0.0.{}:80 -m -w {}", 1 + address, 1 + server).unwrap();
        }
    }
    rules
}

fn apply_after_a_kill_reaches_the_wanted_table() {
    director(THEIRS);
    write("first", &table(false));
    write("second", &table(true));
    const APPLY: &str = "ipvsadm-rs apply --only 192.0.2.0/24";
    // The duration without a kill.
    ok(&format!("{APPLY} first"));
    let begun = Instant::now();
    ok(&format!("{APPLY} second"));
    // The load of the machine varies. After a kill that was too late, later kills are therefore earlier.
    let whole = Cell::new(begun.elapsed());
    let cut_off = Cell::new(0u64);
    let second = Cell::new(true);
    let kills = kills();
    holds(u32::try_from(kills).expect("a small number"), 0.0..1.1, |share: f64| {
        let wanted = if second.replace(!second.get()) { "first" } else { "second" };
        let apply = start(&format!("{APPLY} {wanted}"));
        std::thread::sleep(whole.get().mul_f64(share).min(Duration::from_secs(10)));
        // Sends SIGKILL, unless the process has ended.
        drop(apply);
        let left = run(&format!("{APPLY} --dry-run {wanted}"));
        let in_time = left.code == Some(2);
        cut_off.set(cut_off.get() + u64::from(in_time));
        whole.set(whole.get().mul_f64(if in_time { 1.1 } else { 0.8 }));
        assert!(rules().ends_with(THEIRS), "services outside the scope are unchanged");
        ok(&format!("{APPLY} {wanted}"));
        assert_eq!(run(&format!("{APPLY} --dry-run {wanted}")).code, Some(0));
        assert!(rules().ends_with(THEIRS), "services outside the scope are unchanged");
        Ok(())
    });
    println!("of {kills} applies that were killed, {} had something left to do", cut_off.get());
    assert!(cut_off.get() >= kills / 5, "too few applies were killed before their end");
}
