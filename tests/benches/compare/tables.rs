//! Restores a table, lists it in three ways, and flushes it, with each program.

use anyhow::{Result, ensure};
use ipvs_sys::Socket;
use ipvs_tests::harness::Test;
use ipvs_tests::oracle::table::table;

use crate::guests::{QUICK, Ruler};
use crate::programs::Program;
use crate::rules::{self, Size};
use crate::{namespace, profile, time};

const SIZES: [Size; 4] = [
    Size { services: 100, servers: 5 },
    Size { services: 1000, servers: 10 },
    Size { services: 10_000, servers: 5 },
    Size { services: 1, servers: 10_000 },
];
const QUICK_SIZES: [Size; 2] = [Size { services: 100, servers: 5 }, Size { services: 1, servers: 2000 }];

/// The steps, in this order.
const STEPS: [(&str, &[&str]); 5] = [
    ("restore", &["-R"]),
    ("-Ln", &["-Ln"]),
    ("-Ln --stats --exact", &["-Ln", "--stats", "--exact"]),
    ("-Sn", &["-Sn"]),
    ("flush", &["-C"]),
];

pub(crate) fn jobs() -> Vec<Test> {
    let job = |name: &str, size: Size| Test::new(format!("{name}table {size}"), move || measure(size));
    let full = SIZES.iter().map(|size| job("", *size));
    full.chain(QUICK_SIZES.iter().map(|size| job(QUICK, *size))).collect()
}

fn measure(size: Size) -> Result<()> {
    let text = rules::text(size);
    let lines = text.lines().count();
    let rounds = match Ruler::here() {
        Ruler::Time if lines > 5000 => 3,
        Ruler::Time => 7,
        Ruler::Instructions if lines > 5000 => 1,
        Ruler::Instructions if lines > 1000 => 3,
        Ruler::Instructions => 6,
    };
    for round in 0..rounds {
        ensure_same_results(size, round, |program| run_steps(program, size, &text))?;
    }
    if Ruler::here() == Ruler::Time {
        ensure_same_results(size, 0, |program| table_after_restore(program, &text))?;
    }
    for program in Program::ALL {
        // Tracing the million system calls of the reference would take minutes.
        if program != Program::Reference || lines < 2000 {
            profile_steps(program, size, &text)?;
        }
    }
    Ok(())
}

/// Runs all steps with a program and returns the output of each.
fn run_steps(program: Program, size: Size, text: &str) -> Result<Vec<Vec<u8>>> {
    namespace::fresh(|| {
        STEPS.iter().map(|step| time::run(&name(step, size), program, step.1, input(step, text))).collect()
    })
}

/// Profiles each step.
fn profile_steps(program: Program, size: Size, text: &str) -> Result<()> {
    namespace::fresh(|| {
        STEPS.iter().try_for_each(|step| profile::run(&name(step, size), program, step.1, input(step, text)))
    })
}

/// Returns the table after a restore.
fn table_after_restore(program: Program, text: &str) -> Result<String> {
    namespace::fresh(|| {
        time::take_time(program.command().arg("-R"), text)?;
        table(&mut Socket::open()?)
    })
}

/// Runs a function for each program and checks that all results are the same.
fn ensure_same_results<T: PartialEq>(size: Size, round: usize, run: impl Fn(Program) -> Result<T>) -> Result<()> {
    let [reference, floor, ours] = Program::each(round, run);
    let reference = reference?;
    ensure!(reference == floor?, "{size}: the result of the floor differs");
    ensure!(reference == ours?, "{size}: the result of our program differs");
    Ok(())
}

fn name(step: &(&str, &[&str]), size: Size) -> String {
    format!("{} {size}", step.0)
}

fn input<'a>(step: &(&str, &[&str]), text: &'a str) -> &'a str {
    if step.0 == "restore" { text } else { "" }
}
