//! Lists many connections.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_tests::harness::Test;
use ipvs_tests::traffic::synced;

use crate::guests::{QUICK, Ruler};
use crate::programs::Program;
use crate::{namespace, profile, time};

const SIZES: [u32; 2] = [10_000, 100_000];
const QUICK_SIZE: u32 = 4000;

/// The time after which a busy machine has created the last connections.
const AFTERWARDS: Duration = Duration::from_secs(2);

pub(crate) fn jobs() -> Vec<Test> {
    let job = |name: &str, count: u32| Test::new(format!("{name}connections {count}"), move || measure(count));
    SIZES.iter().map(|count| job("", *count)).chain([job(QUICK, QUICK_SIZE)]).collect()
}

fn measure(count: u32) -> Result<()> {
    let task = format!("-Lnc {count}");
    let rounds = match Ruler::here() {
        // The reference needs half a minute.
        _ if count > 50_000 => 1,
        Ruler::Time => 3,
        Ruler::Instructions => 2,
    };
    namespace::fresh(|| {
        synced::create(count, |interface| {
            let arguments = ["--start-daemon", "backup", "--mcast-interface", interface];
            time::take_time(Program::Ours.command().args(arguments), "").map(drop)
        })?;
        std::thread::sleep(AFTERWARDS);
        for round in 0..rounds {
            let [reference, floor, ours] = Program::each(round, |program| time::run(&task, program, &["-Lnc"], ""));
            let reference = without_expiry(&reference?);
            ensure!(reference.len() == count as usize + 2, "{} lines", reference.len());
            ensure!(reference == without_expiry(&floor?), "the list of the floor differs");
            ensure!(reference == without_expiry(&ours?), "the list of our program differs");
        }
        for program in Program::ALL {
            profile::run(&task, program, &["-Lnc"], "")?;
        }
        Ok(())
    })
}

/// Returns the lines without the expiry time, which changes.
fn without_expiry(text: &[u8]) -> Vec<Vec<u8>> {
    const PROTOCOL: usize = 4;
    const EXPIRY_END: usize = 11;
    let without = |line: &[u8]| match line.split_at_checked(EXPIRY_END) {
        Some((start, rest)) => [&start[..PROTOCOL], rest].concat(),
        None => line.to_vec(),
    };
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(without).collect()
}
