//! Lists many connections, and counts them by state.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_tests::harness::Test;
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::traffic::synced;

use crate::figures::{self, Kind};
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
        (0..rounds).try_for_each(|_| count_by_state(count))
    })
}

/// Counts the connections by state, with our program and with the reference and awk.
fn count_by_state(count: u32) -> Result<()> {
    let task = format!("connections --by state {count}");
    let mut ours = Program::Ours.command();
    ours.args(["connections", "--by", "state"]);
    // CONNECTIONS TEMPLATES SHARE STATE
    let ours = counts(&task, Program::Ours, &mut ours, |words| match words {
        [connections, templates, _, state] => {
            Some(((*state).to_owned(), connections.parse::<u64>().ok()? + templates.parse::<u64>().ok()?))
        }
        _ => None,
    })?;
    let script = "\"$0\" -Lnc | awk 'NR > 2 { n[$3]++ } END { for (state in n) print state, n[state] }'";
    let ipvsadm = Ipvsadm::get();
    let mut reference = Command::new("/bin/sh");
    reference.arg("-c").arg(script).arg(ipvsadm.dir.join("ipvsadm")).env("LD_LIBRARY_PATH", &ipvsadm.library_path);
    let reference = counts(&task, Program::Reference, &mut reference, |words| match words {
        [state, number] => Some(((*state).to_owned(), number.parse().ok()?)),
        _ => None,
    })?;
    ensure!(reference.values().sum::<u64>() == u64::from(count), "{reference:?}");
    ensure!(ours == reference, "{ours:?}\n{reference:?}");
    Ok(())
}

/// Measures a command, and reads the numbers that it prints. Lines that `read` does not accept are skipped.
fn counts(
    task: &str,
    program: Program,
    command: &mut Command,
    read: impl Fn(&[&str]) -> Option<(String, u64)>,
) -> Result<BTreeMap<String, u64>> {
    let (took, output) = time::take_time(command, "")?;
    figures::print(Kind::Whole, task, program, took.as_nanos() as u64);
    let text = String::from_utf8(output).context("the output is not text")?;
    Ok(text.lines().filter_map(|line| read(&line.split_whitespace().collect::<Vec<_>>())).collect())
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
